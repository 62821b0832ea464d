# SPDX-License-Identifier: Apache-2.0
"""Reference of the machine with bands of resident rows and selection by the row's sum, bit-exact.

config   widths and sizes beside those of models.config
tiling   bands, blocks and tiles
sads     which keys a row takes: the share of the row's sum, or quota and radius
sufa     the formal path, one key at a time, the coarse tail, and the flush with the mean of V
head     heads and jobs
plan     float tensors to the integers and the table of a job, head by head; length: the
         threshold from the length alone; cache: K, K8 and V of a growing sequence
layer    whole layers from X: K8 predicted, K, V and the means of V made
fast     the same integers compiled (needs numba)

Scores are those of models.dlzs. rtl/ computes the same bits, but has no coarse tail. Source: our
decisions (docs/second.md).
"""
