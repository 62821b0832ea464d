# SPDX-License-Identifier: Apache-2.0
"""Approximate-computing Transformer processor (Y. Wang et al., ISSCC 2022 29.2, JSSC 58(1), 2023).

Three means against weakly related tokens, 12-bit integers throughout:
- bidirectional asymptotic speculation: scores are computed outward from the diagonal, on either
  side; where they have sunk so far below the maximum that their probabilities quantise to zero,
  the rest of that side is declared zero;
- big exact, small approximate: products of large operands are exact, others approximate, since a
  change dX of a score moves its probability by about dX 2 P (1 - P);
- out-of-order pairing: two products of near-zero operands share one multiplier.

Causal: one side only. Grouped-query attention: query heads read their shared K and V. Rows that
have no diagonal (R and S differ, nothing masked) begin at the key at the same share of the way.

Selected are the pairs whose probability is not declared zero; a score that was computed and then
found too small counts in the predict stage.

Assumptions: a side ends after ``run`` scores in succession that are more than ``cutoff`` nats
below the largest score of that side so far; the default is where a probability of 12 bits rounds
to zero, 13 ln 2; scores below the row's largest by as much are zero in the end; an operand is
small below 2**small of 2047 and is then rounded to its two leading bits; one scale a head and
tensor; P has 12 fraction bits.

Counts: of the d products of a score, and of a probability with V, those of two large operands are
mul12x12; those of one small operand mul12x2, and of two small ones half as many (pairing). One
exp a pair selected; one comparison a score with the maximum and one with the threshold; a
division a pair selected (P is quantised before it meets V). DRAM, 12 bits an element: Q and O; K
of the scores computed and V of the pairs selected, once for BLOCK rows of a query head.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ...config import check
from ..methods.counts import Counts
from ..methods.method import Attended, Call, Method, union_bytes
from .parts import check_range, own_keys, per_head, probabilities, symmetric

BITS = 12
"""Bits of all operands."""


@dataclass(frozen=True)
class Isscc22(Method):
    """cutoff: nats below the maximum at which a probability is zero; run: such scores in
    succession that end a side; small: operands below 2**small are approximate, 0: none is."""

    name = "isscc22"
    cutoff: float = round((BITS + 1) * math.log(2), 2)
    run: int = 16
    small: int = 6

    def __post_init__(self) -> None:
        check_range("cutoff", self.cutoff, 0, math.inf)
        check("run", self.run, 1, 65536)
        check("small", self.small, 0, BITS - 1)

    def attend(self, call: Call) -> Attended:
        """One layer, head by head."""
        done = [self._head(one) for one in per_head(call)]
        counts = sum((x.counts for x in done), Counts())
        return Attended(np.concatenate([x.out for x in done]),
                        np.concatenate([x.selected for x in done]), counts)

    def _head(self, call: Call) -> Attended:
        """One query head."""
        mask = call.mask()
        (q, sq), (k, sk), (v, sv) = (symmetric(x, BITS, (1, 2)) for x in (call.q, call.k, call.v))
        scale = sq * sk / np.float32(math.sqrt(call.d))
        score = (self.rounded(q) @ self.rounded(k).swapaxes(1, 2)) * scale
        visited = self.speculate(score, mask, own_keys(call))
        peak = np.where(visited, score, -np.inf).max(axis=-1, keepdims=True)
        selected = visited & (score >= peak - np.float32(self.cutoff))
        p = np.rint(probabilities(score, selected) * (1 << BITS))
        weights = self.rounded(np.arange((1 << BITS) + 1, dtype=np.float32))[p.astype(np.uint16)]
        out = (weights @ (self.rounded(v) * sv)) / np.float32(1 << BITS)
        counts = self._count(call, mask, visited, selected, (q, k, p, v))
        return Attended(out.astype(np.float32), selected, counts)

    def speculate(self, score: np.ndarray, mask: np.ndarray, own: np.ndarray) -> np.ndarray:
        """bool [H, R, S]: pairs whose score is computed, of score and mask [R, S]; own [R]: the
        key at which a row begins."""
        keys = np.arange(score.shape[-1])
        left = self._side(score[..., ::-1], (mask & (keys <= own[:, None]))[:, ::-1])[..., ::-1]
        if not (mask & (keys > own[:, None])).any():
            return left
        return left | self._side(score, mask & (keys >= own[:, None]))

    def _side(self, score: np.ndarray, allowed: np.ndarray) -> np.ndarray:
        """Pairs computed when each row goes through its allowed keys in ascending order."""
        low = np.where(allowed, score, -np.inf)
        best = np.maximum.accumulate(low, axis=-1)
        zero = allowed & (low < best - np.float32(self.cutoff))
        count = np.cumsum(zero, axis=-1, dtype=np.int32)
        count[..., self.run :] -= count[..., : -self.run].copy()
        ended = np.logical_or.accumulate(count == self.run, axis=-1)
        visited = np.broadcast_to(allowed, score.shape).copy()
        visited[..., 1:] &= ~ended[..., :-1]
        return visited

    def rounded(self, x: np.ndarray) -> np.ndarray:
        """Integers as the multipliers take them: small ones with their two leading bits."""
        step = np.ldexp(np.float32(1), np.maximum(np.frexp(x)[1] - 2, 0))
        return np.where(np.abs(x) < 1 << self.small, np.rint(x / step) * step, x)

    def _count(self, call: Call, mask, visited, selected, integers) -> Counts:
        """Operations and bytes of a head: q, k, p and v as integers [1, .., ..]."""
        d, pairs, tried = call.d, int(selected.sum()), int(visited.sum())
        counts = Counts(visible=int(mask.sum()), selected=pairs)
        # Large operands; all sums of them below are whole numbers, rows stay below 2**24.
        q, k, p, v = (np.float32(np.abs(x[0]) >= 1 << self.small) for x in integers)
        both = q @ k.T
        for stage, chosen in (("predict", (visited & ~selected)[0]), ("compute", selected[0])):
            big = (both * chosen).sum(axis=1).sum(dtype=np.float64)
            touched = chosen.sum(axis=1) @ q.sum(axis=1) + chosen.sum(axis=0) @ k.sum(axis=1) - big
            self._products(counts, stage, int(chosen.sum()) * d, big, touched)
        big = p.sum(axis=0, dtype=np.float64) @ v.sum(axis=1)
        touched = p.sum(dtype=np.float64) * d + selected[0].sum(axis=0) @ v.sum(axis=1) - big
        self._products(counts, "compute", pairs * d, big, touched)
        counts.add("predict", f"cmp{BITS}", 2 * tried)
        counts.add("compute", f"exp{BITS}", pairs)
        counts.add("compute", f"div{BITS}", pairs)
        counts.add("compute", f"add{2 * BITS}", pairs)
        for stream, size in (("q", call.q.size), ("k", union_bytes(call, visited)[2] * d),
                             ("v", union_bytes(call, selected)[2] * d), ("o", call.q.size)):
            counts.move(stream, size * BITS / 8)
        return counts

    def _products(self, counts: Counts, stage: str, number: int, big: float, touched: float):
        """Add products of which ``big`` have two large operands and ``touched`` at least one."""
        big, touched = round(big), round(touched)
        counts.add(stage, f"mul{BITS}x{BITS}", big)
        counts.add(stage, f"mul{BITS}x2", touched - big + -(-(number - touched) // 2))
        counts.add(stage, f"add{2 * BITS}", number)

    @classmethod
    def sweep(cls) -> list[Method]:
        """The cut-off, with two lengths of the run that ends a side."""
        return [cls(cutoff=c, run=r) for r in (64, 16) for c in (14.0, 9.01, 7.0, 5.0, 4.0, 3.0)]
