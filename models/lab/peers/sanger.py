# SPDX-License-Identifier: Apache-2.0
"""Sanger: predicted probabilities above a fixed threshold (Lu et al., MICRO 2021).

Rule, from the publication and its public code (hatsu3/Sanger):
- q' = q / |q| and k' = k / |k| are rounded to 4 bits, symmetric, scale max / 7, clamped to +-7;
- S^ = (q' . k') |q| |k| / sqrt(d); P^ = softmax(S^) over the visible keys;
- a pair is kept where P^ > threshold: 2e-3, alternative 2e-2;
- a row where nothing passes keeps all its visible keys. The code adds -10000 to each pair that did
  not pass; added to the whole row that changes nothing, and the row is dense;
- pack and split: every mask row is cut into sub-rows of 64 keys, empty ones are skipped, the others
  are split into segments of at most 16 pairs; each segment takes a row of the 64 x 16 array,
  and utilisation = used / allotted slots.

The code masks causal models before the softmax, and so does this model. It does not treat
grouped-query attention: here every query head predicts and reads its KV head by itself.

Assumptions: one scale for q' and one for k' over all heads of the call (the code tracks a moving
average of the same maximum while it trains); exact attention in 16-bit fixed point, whose error is
too small to matter, so it is computed exactly; the norms, the products with them and the
predicted softmax work on 16 bits; P^ > threshold is tested as e > threshold * sum, one
multiplication a row instead of a division a pair; a norm is d products and a root that costs a
division; packing costs nothing beyond the threshold comparison.

DRAM: 4-bit copies of q' and k' with their 16-bit norms are written once where Q and K are made and
read for prediction, K once for every block of rows; then the 16-bit K and V that the block's rows
kept, once a block; Q and O once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..methods.counts import Counts
from ..methods.method import Attended, Call, Method, attended, count_formal
from .arith import block_keys, count_products, transposed
from .parts import symmetric

SUB_ROW = 64
"""Keys of a sub-row: ports of a row of the array."""
SEGMENT = 16
"""Pairs of a segment: processing elements of a row of the array."""


@dataclass(frozen=True)
class Sanger(Method):
    """threshold: least predicted probability of a pair, 0 (dense) up to below 1; bits: of the
    predicting operands, 2 to 8 (the code offers 2, 4, 6, 8)."""

    threshold: float = 2e-3
    bits: int = 4

    name = "sanger"

    def __post_init__(self):
        if not 0 <= self.threshold < 1:
            raise ValueError(f"threshold = {self.threshold}, legal: 0 up to below 1")
        if not 2 <= self.bits <= 8:
            raise ValueError(f"bits = {self.bits}, legal: 2 to 8")

    def predict(self, call: Call) -> np.ndarray:
        """S^, float32 [Hq, R, S]; masked pairs are not marked."""
        low = {}
        for name in ("q", "k"):
            x = getattr(call, name)
            norm = np.linalg.norm(x, axis=-1, keepdims=True)
            codes, scale = symmetric(x / np.where(norm > 0, norm, 1), self.bits, (0, 1, 2))
            low[name] = codes * (scale * norm)
        return np.matmul(low["q"], transposed(call.shared(low["k"]))) / np.float32(call.d**0.5)

    def select(self, call: Call) -> np.ndarray:
        """bool [Hq, R, S], the pairs that exact attention uses."""
        mask = call.mask()
        score = np.where(mask, self.predict(call), -np.inf)
        e = np.exp(score - score.max(axis=-1, keepdims=True))
        chosen = e > self.threshold * e.sum(axis=-1, keepdims=True)
        if self.threshold == 0:
            # Probabilities that fall below the smallest float count as positive.
            chosen = np.broadcast_to(mask, chosen.shape).copy()
        return np.where(chosen.any(axis=-1, keepdims=True), chosen, mask)

    def attend(self, call: Call) -> Attended:
        selected = self.select(call)
        return attended(call, selected, self.count(call, selected))

    def count(self, call: Call, selected: np.ndarray) -> Counts:
        """Operations and bytes; see the head of this file."""
        counts, d = Counts(), call.d
        heads, rows, keys = selected.shape
        visible = int(call.mask().sum()) * heads
        vectors = heads * rows + len(call.k) * keys
        count_products(counts, "predict", 16, 16, vectors, d)
        counts.add("predict", "div16", vectors * (d + 1))
        count_products(counts, "predict", self.bits, self.bits, visible, d)
        counts.add("predict", "mul16x16", 2 * visible)
        for kind in ("cmp16", "exp16", "add16"):
            counts.add("predict", kind, visible)
        counts.add("select", "mul16x16", heads * rows)
        counts.add("select", "cmp16", visible)
        count_formal(counts, call, selected)
        low = d * self.bits / 8 + 2
        counts.move("prediction written", vectors * low)
        counts.move("prediction read", heads * (rows + block_keys(call)) * low)
        return counts

    @staticmethod
    def slots(selected: np.ndarray) -> int:
        """Slots of the array that the packed and split mask takes: SEGMENT for each segment."""
        edges = np.arange(0, selected.shape[-1], SUB_ROW)
        pairs = np.add.reduceat(selected, edges, axis=-1, dtype=np.int64)
        return int((-(-pairs // SEGMENT)).sum()) * SEGMENT

    @classmethod
    def sweep(cls) -> list[Method]:
        return [cls(threshold=t) for t in (1e-5, 1e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2)]
