# SPDX-License-Identifier: Apache-2.0
"""Energon: mix-precision multi-round filtering (Zhou et al., TCAD 2022, arXiv 2110.09310).

Rule, from the publication: round 0 scores all visible pairs with INT4 queries and INT2 keys, round
1 the survivors with INT4 keys; each round keeps the pairs at or above a threshold made of the row's
statistics over the pairs that entered it, so nothing is sorted; INT16 attention over the
survivors of the last round.

Assumptions (recalled or ours): threshold = a * max + (1 - a) * mean for 0 <= a < 1 and
-a * min + (1 + a) * mean for -1 < a < 0; a = 0 in both rounds by default; "at or above" rather
than "above", so a row of equal scores keeps all; INT4 codes are symmetric, one scale a head;
the INT2 key is the upper two bits of the INT4 code, so that round 1 only multiplies the
lower two and adds the result of round 0 (result-reusing elements). Exact attention in INT16 is
off by too little to matter and is computed exactly.

Causal masks and grouped-query attention are not treated: here masked pairs enter no round and no
statistics, and every query head reads its KV head by itself.

Operations: a round multiplies 4 x 2 bits for each pair and element that enters it, adds once, and
per pair adds to the mean, compares with the extreme and compares with the threshold; per
row one division and one multiplication.

DRAM: INT4 queries once; the upper key bits of all keys that a block of rows sees, the
lower bits of those that survive round 0 in some row of the block; then on demand the 16-bit K
and V of the block's final pairs, once a block; Q and O once. The low-bit copies are slices of
the 16-bit tensors' codes that are written once where Q and K are made.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..methods.counts import Counts
from ..methods.method import Attended, Call, Method, attended, count_formal, union_bytes
from .arith import block_keys, sum_bits, transposed
from .parts import symmetric


def keep_above(scores: np.ndarray, entered: np.ndarray, alpha: float) -> np.ndarray:
    """bool [H, R, S]: pairs of ``entered`` whose score is at or above their row's threshold."""
    number = np.maximum(entered.sum(axis=-1, keepdims=True), 1)
    mean = np.where(entered, scores, 0).sum(axis=-1, keepdims=True, dtype=np.float64) / number
    # The formulas above, written so that equal scores give exactly their value.
    if alpha >= 0:
        extreme = np.where(entered, scores, -np.inf).max(axis=-1, keepdims=True)
        threshold = mean + alpha * (extreme - mean)
    else:
        extreme = np.where(entered, scores, np.inf).min(axis=-1, keepdims=True)
        threshold = mean - alpha * (extreme - mean)
    return entered & (scores >= threshold)


@dataclass(frozen=True)
class Energon(Method):
    """alpha0, alpha1: the a of the two rounds, between -1 and 1 without them; near -1 keeps all
    but the row's worst, near 1 only its best."""

    alpha0: float = 0.0
    alpha1: float = 0.0

    name = "energon"

    def __post_init__(self):
        for field in ("alpha0", "alpha1"):
            if not -1 < getattr(self, field) < 1:
                raise ValueError(f"{field} = {getattr(self, field)}, legal: between -1 and 1")

    def rounds(self, call: Call) -> tuple[np.ndarray, np.ndarray]:
        """bool [Hq, R, S] each: survivors of round 0 and of round 1."""
        q, _ = symmetric(call.q, 4, (1, 2))
        k, _ = symmetric(call.k, 4, (1, 2))
        entered = np.broadcast_to(call.mask(), (len(q), *call.mask().shape))
        upper = np.floor(k / 4) * 4
        first = keep_above(np.matmul(q, transposed(call.shared(upper))), entered, self.alpha0)
        return first, keep_above(np.matmul(q, transposed(call.shared(k))), first, self.alpha1)

    def attend(self, call: Call) -> Attended:
        first, selected = self.rounds(call)
        return attended(call, selected, self.count(call, first, selected))

    def count(self, call: Call, first: np.ndarray, selected: np.ndarray) -> Counts:
        """Operations and bytes; see the head of this file."""
        counts, d = Counts(), call.d
        heads, rows, keys = selected.shape
        visible = int(call.mask().sum()) * heads
        for pairs, key_bits in ((visible, 2), (int(first.sum()), 4)):
            width = sum_bits(4, key_bits, d)
            counts.add("predict", "mul4x2", pairs * d)
            counts.add("predict", f"add{width}", pairs * d)
            counts.add("select", f"add{width}", pairs)
            counts.add("select", f"cmp{width}", 2 * pairs)
            counts.add("select", f"div{width}", heads * rows)
            counts.add("select", f"mul{width}x{width}", heads * rows)
        count_formal(counts, call, selected)
        counts.move("low bits written", (heads * rows + len(call.k) * keys) * d / 2)
        counts.move("low bits of q", heads * rows * d / 2)
        counts.move("upper bits of k", heads * block_keys(call) * d / 4)
        counts.move("lower bits of k", union_bytes(call, first)[2] * d / 4)
        return counts

    @classmethod
    def sweep(cls) -> list[Method]:
        return [cls(a, a) for a in (-0.9, -0.6, -0.3, -0.1, 0.0, 0.1, 0.2, 0.3, 0.5, 0.7)]
