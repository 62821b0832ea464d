# SPDX-License-Identifier: Apache-2.0
"""PADE: keys dropped while they are read bit by bit (Wang et al., HPCA 2026, arXiv 2512.14322).

Rule, from the publication:
- there is no predictor: Q has 8 bits, K is read by its 8 bit-planes in two's complement, the most
  significant first, and each plane adds to the product of the planes before it;
- after a plane with weight `w = 2^left`, the planes not read can add to the score at most
  `(w - 1) * sum(q > 0)` and at least `(w - 1) * sum(q < 0)`: an interval around the partial sum;
- the threshold of a row is `max(lower bounds) - alpha * radius` with radius = 5, renewed with every
  plane; a key goes on to its next plane while its upper bound is above it and is dropped otherwise,
  and a key that survives all planes has its exact score;
- a plane is summed over its ones or over its zeros, whichever are fewer (bidirectional sparsity).

No key within alpha * radius of the row's largest 8-bit score can be dropped, so the selection is
that of a radius over exact 8-bit scores; the planes only save work.

Assumptions (second-hand or ours): the formula of the threshold and the radius, which is in nats,
are quoted from the publication by others; alpha is 1 by default, the most careful of its range,
where the publication tunes it to a loss of 0 or 1 %; symmetric words with one scale a head, values
of 8 bits too; all keys of a row read a plane before the next one, so that the threshold knows the
whole row, where the publication goes by tiles, first and last ones in turn, and reads some planes
more; softmax in full precision.

Causal masks and grouped-query attention: masked pairs read nothing and do not count for the
threshold; every query head reads its KV head by itself.

Operations: for each plane that a pair reads, one addition of an element of q for each of the
fewer bits (one more from the row's sum when these are the zeros), one addition to the score, two
for the bounds, two comparisons (largest lower bound, threshold); for each row the sums of positive
and of negative elements. The planes of keys that are dropped count as computation.

DRAM: 8-bit Q and O once; a plane of a key, d / 8 bytes, once for each block of rows in which some
row reads it; 8-bit V of the keys that a block selected.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..methods.counts import Counts
from ..methods.method import Attended, Call, Method, attended, union_bytes
from .arith import narrowed, sum_bits
from .parts import symmetric

PLANES = 8
"""Bits of a word."""


@dataclass(frozen=True)
class Pade(Method):
    """alpha: share of the radius, above 0 (the publication: up to 1); radius: in nats, above 0."""

    alpha: float = 1.0
    radius: float = 5.0

    name = "pade"

    def __post_init__(self):
        for field in ("alpha", "radius"):
            if not 0 < getattr(self, field) < math.inf:
                raise ValueError(f"{field} = {getattr(self, field)}, legal: above 0, finite")

    def read(self, call: Call) -> tuple[np.ndarray, np.ndarray]:
        """(planes of each key that a row reads, uint8 [Hq, R, S], 0 where masked; bool alike, the
        pairs that survive them all)."""
        q, q_scale = symmetric(call.q, PLANES, (1, 2))
        k, k_scale = symmetric(call.k, PLANES, (1, 2))
        # Codes and sums of their products are integers that float32 holds exactly up to d = 1024.
        above = np.maximum(q, 0).sum(axis=-1, keepdims=True)
        below = np.minimum(q, 0).sum(axis=-1, keepdims=True)
        mask = call.mask()
        planes = np.zeros((len(q), *mask.shape), np.uint8)
        live = np.repeat(mask[None], len(q), axis=0)
        for h in range(len(q)):
            kv = h // call.group
            step = q_scale[h].item() * k_scale[kv].item() / math.sqrt(call.d)
            margin = self.alpha * self.radius / step
            for left in reversed(range(PLANES)):
                planes[h] += live[h]
                weight = np.float32(1 << left)
                part = q[h] @ (np.floor(k[kv] / weight) * weight).T
                low = np.where(live[h], part + (weight - 1) * below[h], -np.inf)
                least = low.max(axis=-1, keepdims=True).astype(np.float64) - margin
                live[h] &= part + (weight - 1) * above[h] > least
        return planes, live

    def attend(self, call: Call) -> Attended:
        planes, selected = self.read(call)
        low = narrowed(call, PLANES)
        return attended(low, selected, self.count(call, planes, selected))

    def count(self, call: Call, planes: np.ndarray, selected: np.ndarray) -> Counts:
        """Operations and bytes; see the head of this file."""
        heads, rows, _ = selected.shape
        d, pairs, taken = call.d, int(selected.sum()), int(planes.sum())
        counts = Counts(visible=int(call.mask().sum()) * heads, selected=pairs)
        words = symmetric(call.k, PLANES, (1, 2))[0].astype(np.int8).view(np.uint8)
        additions, read = 0, 0
        for plane in range(PLANES):
            ones = (words >> (PLANES - 1 - plane) & 1).sum(axis=-1)
            reads = planes > plane
            fewer = call.shared(np.minimum(ones, d - ones + 1))
            additions += int((reads.sum(axis=1) * fewer).sum())
            read += union_bytes(call, reads)[2]
        narrow, wide = sum_bits(PLANES, 0, d), sum_bits(PLANES, PLANES, d)
        counts.add("select", f"add{narrow}", heads * rows * d)
        counts.add("select", f"add{wide}", 2 * taken)
        counts.add("select", f"cmp{wide}", 2 * taken)
        counts.add("compute", f"add{narrow}", additions)
        counts.add("compute", f"add{wide}", taken)
        counts.add("compute", "exp8", pairs)
        counts.add("compute", "mul8x8", pairs * d)
        counts.add("compute", "add16", pairs * d)
        counts.add("compute", "div8", heads * rows * d)
        counts.move("q", call.q.size)
        counts.move("k", read * d / 8)
        counts.move("v", union_bytes(call, selected)[2] * d)
        counts.move("o", call.q.size)
        return counts

    @classmethod
    def sweep(cls) -> list[Method]:
        return [cls(a) for a in (2.0, 1.6, 1.3, 1.0, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2)]
