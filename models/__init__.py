# SPDX-License-Identifier: Apache-2.0
"""Reference models of the accelerator, written in integer numpy from docs/architecture.md, and
what drives it. `pip install .` installs this folder under the name `sofa`, rtl/ as sofa/rtl.

    import sofa
    acc = sofa.Accelerator(sofa.CompiledTransport(sofa.Config.from_name("tiny")))

config      the parameter sets and their derived widths
quantise    float tensors to integers, score scale and radius to register values
plan        float tensors to the integers and the table of a job; balance: turned Q and K; length:
            the threshold from the length alone; cache: K, K8 and V of a growing sequence
tiling      bands, blocks and tiles, masks
rope        rotary embedding on integers, its table, pair order
dlzs        Q codes and predicted scores, weight codes and predicted keys
sads        which keys a row takes: the share of the row's sum, or quota and radius
rass        the order in which keys are issued
kvgen       exact K and V of chosen tokens
sufa        the formal path, one key at a time, and the flush with the mean of V; a coarse tail,
            which the RTL does not have
head        whole heads and jobs out of the parts above
layer       whole layers from X: planning, both jobs, what other ways would cost
bounds      least cycles of prediction and generation
oracle      float64 attention, error and recall measures
workloads   captured Q, K, V of trained models
fast        whole jobs compiled, the same integers (optional: numba)

driver      host driver over the models, the compiled Verilog or any other transport
folders     where what is fetched or made once is kept
spec        what stands once: the supported parameter sets, the register map, tables of 2**f
first       the first machine, with which the laboratory compares
nets, lab   trained models, and what SOFA and the systems it is compared with do to them
            (docs/lab.md)
"""

import importlib
import importlib.util
import os

__version__ = "4.0.0"
"""Of the register map."""

# The matrix products here are small: a second BLAS thread gains little, and on a busy machine the
# threads wait for each other and lose a factor of ten. Works only when numpy is not yet loaded.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

_DRIVER = ("Accelerator", "AsyncAccelerator", "CompiledTransport", "ModelTransport")


def __getattr__(name: str):
    """What this package shows beside its modules, and its modules, when first asked for."""
    if name == "Config" or name in _DRIVER:
        module = importlib.import_module(".config" if name == "Config" else ".driver", __name__)
        return getattr(module, name)
    if not name.startswith("_") and importlib.util.find_spec(f"{__name__}.{name}"):
        return importlib.import_module(f".{name}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
