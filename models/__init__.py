# SPDX-License-Identifier: Apache-2.0
"""Reference models of the accelerator, written in integer numpy from docs/architecture.md.

config      the parameter sets and their derived widths
quantise    float tensors to int16 / int8, score scale and radius to register values
tiling      blocks and tiles of a job, masks, tile descriptors
rope        rotary embedding on integers, its table, pair order
dlzs        Q codes and predicted scores, weight codes and predicted keys
kvgen       exact K and V of chosen tokens
sads        selection of keys by quota and radius
rass        phases of a tile: which keys share a K and V buffer
exp2        tables of the base-2 exponential, and the Verilog header made from them
sufa        the formal path: softmax over the selected keys
head        whole heads and jobs out of the parts above
layer       whole layers from X: planning, both jobs, what other ways would cost
bounds      least cycles of a block, a job and a layer
oracle      float64 attention, error and recall measures
workloads   captured Q, K, V of trained models
fast        whole heads, jobs and layers compiled, the same integers (optional: numba)
second      a machine that selects by the row's sum; not in the RTL (docs/second.md)

nets, peers, lab   trained models, the systems that SOFA is compared with, and what all of them do
            to the models (docs/lab.md)
"""

import os

# The matrix products here are small: a second BLAS thread gains little, and on a busy machine the
# threads wait for each other and lose a factor of ten. Works only when numpy is not yet loaded.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
