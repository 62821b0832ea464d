# SPDX-License-Identifier: Apache-2.0
"""DTATrans (T. Yang et al., TCAD 42(2), 2023; its forerunner DTQAtten, DATE 2022).

Tokens carry 8, 4 or 0 bits, by the importance that they have gathered in the layers before; a
variable-speed systolic array makes use of the mixture; a cheap computation over the tokens of 0
bits makes up for their loss. So much is published; the rest are assumptions:

- importance is the probability a token received, summed over heads, rows and layers;
- the shares of the tokens with 8 bits and with 8 or 4 bits fall by equal steps from 1 in the
  first ``front`` of the layers to ``high`` and ``high + low`` in the last; a token's bits only
  fall (cascade); all tokens have 8 bits in the first layer of a pass;
- Q, K and V of a token have its bits, with a scale a vector and head; queries of tokens with 0
  bits are computed with 4, so that every next-token loss is defined;
- the aggregate: all tokens of 0 bits that a row may see are one more key, the mean of their K
  (of 4 bits) with the mean of their V, and weigh as many times as they are;
- weights of the softmax have 16 bits; the model computes them in float32.

Causal, which the publication does not treat: bits are those of all rows, so later rows have a
say in what earlier rows see; the mean runs over the tokens up to the row's own, so a row without
any selected key still has an output. Grouped-query attention: bits are the same in
all heads.

Selected are the pairs whose key has 8 or 4 bits.

Counts: compute has products and sums by the bits of both operands, softmax, one division an
output element, and for the aggregate a score, exp and d products of V a row, the sums of K and V
of every token that fell, and a division an element of every mean; select has the importance
sums, one a pair, and the quick-selects. DRAM: K and V by their bits, once for BLOCK rows of a
query head; Q by its bits; O 2 bytes; the aggregate 2 vectors of 8 bits for a row where causal,
else for a block.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..methods.counts import Counts
from ..methods.method import BLOCK, Attended, Call, Method, top_k, union_bytes
from .parts import (
    SELECT_COMPARISONS,
    check_range,
    check_shape,
    own_keys,
    part,
    ramp,
    symmetric,
)

HIGH, LOW = 8, 4
"""Bits of the important and of the less important tokens."""


@dataclass(frozen=True)
class DTATrans(Method):
    """high, low: shares of the tokens with 8 and with 4 bits in the last layer; front: share of
    the layers in which all tokens have 8."""

    name = "dtatrans"
    high: float = 0.2
    low: float = 0.3
    front: float = 0.15

    def __post_init__(self) -> None:
        for field in ("high", "low", "front"):
            check_range(field, getattr(self, field), 0, 1)
        check_range("high + low", self.high + self.low, 0, 1)

    def start(self) -> Callable[[Call], Attended]:
        """One pass: the layers of one sequence, in their order."""
        return _Pass(self)

    def attend(self, call: Call) -> Attended:
        """One layer by itself: all tokens have 8 bits."""
        return self.start()(call)

    @classmethod
    def sweep(cls) -> list[Method]:
        """Shares of the tokens with 8 and 4 bits."""
        return [cls(high, low) for high, low in ((1.0, 0.0), (0.8, 0.2), (0.5, 0.4), (0.3, 0.4),
                                                 (0.2, 0.3), (0.1, 0.2), (0.05, 0.1),
                                                 (0.02, 0.05))]


class _Pass:
    """Importance and bits of the tokens of one pass."""

    def __init__(self, settings: DTATrans) -> None:
        self.settings = settings
        self.shape: tuple[int, int] | None = None

    def __call__(self, call: Call) -> Attended:
        call.place()  # Refuses a call that does not say where in the schedule it is.
        counts, mask = Counts(), call.mask()
        self._assign(call, counts)
        allowed = mask & (self.bits > 0)
        heads, rows, keys = len(call.q), call.q.shape[1], call.k.shape[1]
        # Rows of another sequence than the keys have no bits of their own.
        same = call.causal or rows == keys
        row_bits = np.where(self.bits[own_keys(call)] == HIGH, HIGH, LOW) if same else HIGH
        row_bits = np.broadcast_to(row_bits, rows)
        key_bits = np.where(self.bits == HIGH, HIGH, LOW)
        q, k, v = coarse(call.q, row_bits), coarse(call.k, key_bits), coarse(call.v, key_bits)
        mean_k, mean_v, number = self._aggregate(call, k, v)
        scale = np.float32(1 / np.sqrt(call.d))
        score = np.where(allowed, (q @ call.shared(k).swapaxes(1, 2)) * scale, -np.inf)
        with np.errstate(divide="ignore"):
            extra = (q * call.shared(mean_k)).sum(axis=-1) * scale + np.log(number)
        peak = np.maximum(score.max(axis=-1), extra)[..., None]
        p, rest = np.exp(score - peak), np.exp(extra[..., None] - peak)
        total = p.sum(axis=-1, keepdims=True) + rest
        out = (p @ call.shared(v) + rest * call.shared(mean_v)) / total
        p /= total
        self.score += p.sum(axis=(0, 1), dtype=np.float64)
        selected = np.broadcast_to(allowed, (heads, *allowed.shape)).copy()
        counts.visible = int(mask.sum()) * heads
        counts.selected = int(allowed.sum()) * heads
        self._count(counts, call, selected, row_bits, number)
        return Attended(out.astype(np.float32), selected, counts)

    def _assign(self, call: Call, counts: Counts) -> None:
        """Bits of the tokens in this layer."""
        s, shape = self.settings, (len(call.q), call.k.shape[1])
        if self.shape is None:
            self.shape = shape
            self.bits = np.full(shape[1], HIGH)
            self.score = np.zeros(shape[1])
            return
        check_shape(self.shape, call, s.name)
        number_high = part(ramp(call, s.front, s.high), shape[1])
        number = part(ramp(call, s.front, s.high + s.low), shape[1])
        if number_high >= shape[1]:
            return
        best = top_k(self.score, self.bits == HIGH, number_high)
        left = top_k(self.score, (self.bits > 0) & ~best, max(0, number - number_high))
        self.bits = np.where(best, HIGH, np.where(left, LOW, 0))
        counts.add("select", "cmp16", 2 * SELECT_COMPARISONS * shape[1])

    def _aggregate(self, call: Call, k: np.ndarray, v: np.ndarray):
        """Mean K and V [Hkv, R, d] of the tokens of 0 bits that each row sees, and their number
        [R] as float32."""
        gone = (self.bits == 0).astype(np.float32)
        rows, keys = call.q.shape[1], call.k.shape[1]
        at = own_keys(call) if call.causal else np.full(rows, keys - 1)
        number = np.cumsum(gone)[at]
        share = np.maximum(number, 1)[:, None]
        means = [np.cumsum(x * gone[:, None], axis=1, dtype=np.float32)[:, at] / share
                 for x in (k, v)]
        return (*means, number)

    def _count(self, counts: Counts, call: Call, selected, row_bits, number) -> None:
        """Add operations and bytes; number [R]: tokens of 0 bits that each row sees."""
        d, heads, rows = call.d, len(call.q), call.q.shape[1]
        pairs = int(selected.sum())
        compute = "compute"
        for kb in (HIGH, LOW):
            of_key = selected & (self.bits == kb)
            for qb in (HIGH, LOW):
                products = int(of_key[:, row_bits == qb].sum()) * d
                counts.add(compute, f"mul{max(qb, kb)}x{min(qb, kb)}", products)
                counts.add(compute, f"add{qb + kb}", products)
            weighted = int(of_key.sum()) * d
            counts.add(compute, f"mul16x{kb}", weighted)
            counts.add(compute, f"add{16 + kb}", weighted)
            vectors = union_bytes(call, of_key)[2]
            counts.move("k", vectors * d * kb / 8)
            counts.move("v", vectors * d * kb / 8)
        extra = int((number > 0).sum()) * heads
        gone = int((self.bits == 0).sum()) * len(call.k)
        means = gone if call.causal else len(call.k) * (gone > 0)
        counts.add(compute, "mul8x8", extra * d)
        counts.add(compute, "mul16x8", extra * d)
        counts.add(compute, "add16", extra * d + 2 * gone * d)
        counts.add(compute, "add24", extra * d)
        counts.add(compute, "div16", heads * rows * d + 2 * means * d)
        for kind in ("cmp16", "exp16"):
            counts.add(compute, kind, pairs + extra)
        counts.add(compute, "add32", pairs + extra)
        counts.add("select", "add16", pairs)
        counts.move("q", heads * d * int(row_bits.sum()) / 8)
        counts.move("o", heads * rows * d * 2)
        blocks = -(-rows // BLOCK) * heads
        counts.move("aggregate", 2 * d * (extra if call.causal else blocks * (gone > 0)))


def coarse(x: np.ndarray, bits: np.ndarray) -> np.ndarray:
    """x [H, n, d] with vector i rounded to bits[i] (HIGH or LOW), a scale a vector and head."""
    fine, low = (np.multiply(*symmetric(x, b, (2,))) for b in (HIGH, LOW))
    return np.where((bits == HIGH)[:, None], fine, low)
