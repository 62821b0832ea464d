# SPDX-License-Identifier: Apache-2.0
"""Reference models of the accelerator, written in integer numpy from docs/architecture.md.

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
exp2        tables of the base-2 exponential, and the Verilog header made from them
sufa        the formal path, one key at a time, and the flush with the mean of V; a coarse tail,
            which the RTL does not have
head        whole heads and jobs out of the parts above
layer       whole layers from X: planning, both jobs, what other ways would cost
bounds      least cycles of prediction and generation
oracle      float64 attention, error and recall measures
workloads   captured Q, K, V of trained models
fast        whole jobs compiled, the same integers (optional: numba)

first       the first machine, with which the laboratory compares
nets, peers, lab   trained models, the systems that SOFA is compared with, and what all of them do
            to the models (docs/lab.md)
"""

import os

# The matrix products here are small: a second BLAS thread gains little, and on a busy machine the
# threads wait for each other and lose a factor of ten. Works only when numpy is not yet loaded.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
