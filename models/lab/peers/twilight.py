# SPDX-License-Identifier: Apache-2.0
"""Twilight: the fewest keys that hold a share p of the mass (Lin et al., NeurIPS 2025).

arXiv 2502.02770.

Rule, from the publication and its public code (tsinghua-ideal/Twilight):
- a base method takes a generous number of keys; a pruner estimates their scores from the query and
  keys of 4 bits (a scale and a least value for each vector of K), and softmax over them;
- of these, the fewest keys are kept whose estimated probabilities reach p, found by a binary search
  for the least probability; exact attention over them, the estimate is not used again;
- p = 0.85 in the public configuration.

Exact scores in the place of the estimate (bits = 16) bound what any threshold on shares of the mass
can do: no smaller set has the same true mass in every row.

Assumptions (recalled or ours): the base method takes all visible keys, as the code's budget of 8192
does for texts up to that length; p = 0.95 by default, recalled as that of the publication's newer
models; of equal probabilities the lower key comes first, where a search for a least
probability takes all; the search has 16 steps; every layer is pruned, where the code leaves
the first two dense; every row of a prefill is treated as the one query of the publication's
decoding; every query head selects by itself.

Operations: a product of 16 x 4 bits and an addition for each visible pair and element, for each
pair the two products and the addition of scale and least value; softmax a comparison, an
exponential and an addition a pair; the search a comparison and an addition a pair and step.
With exact scores the product has 16 x 16 bits, and it is made again in the exact stage.

DRAM: the low-bit copies of K, with scale and least value of 16 bits, are written once where K is
made and read once for every block of rows; then the 16-bit K and V that the block's rows kept.
Exact scores read the 16-bit K for every block.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..methods.counts import Counts
from ..methods.method import Attended, Call, Method, attended, count_formal
from .arith import block_keys, count_products
from .mass import least_set

EXACT = 16
"""bits of the estimate that stand for exact scores."""
STEPS = 16
"""Steps of the search for the least probability: one for each bit of it."""


def min_max(x: np.ndarray, bits: int) -> np.ndarray:
    """x with every vector rounded to 2**bits even steps from its least to its largest element."""
    low = x.min(axis=-1, keepdims=True)
    step = (x.max(axis=-1, keepdims=True) - low) / np.float32((1 << bits) - 1)
    step = np.where(step > 0, step, np.float32(1))
    return np.rint((x - low) / step) * step + low


@dataclass(frozen=True)
class Twilight(Method):
    """p: share of a row's estimated mass that its keys reach, above 0, below 1; bits: of an element
    of K in the estimate, 2 to 8, or 16: exact scores."""

    p: float = 0.95
    bits: int = 4

    name = "twilight"

    def __post_init__(self):
        if not 0 < self.p < 1:
            raise ValueError(f"p = {self.p}, legal: above 0, below 1")
        if not (2 <= self.bits <= 8 or self.bits == EXACT):
            raise ValueError(f"bits = {self.bits}, legal: 2 to 8, or {EXACT}")

    def select(self, call: Call) -> np.ndarray:
        """bool [Hq, R, S], the pairs that exact attention uses."""
        k = call.k if self.bits == EXACT else min_max(call.k, self.bits)
        score = np.where(call.mask(), replace(call, k=k).logits(), -np.inf)
        mass = np.exp(score - score.max(axis=-1, keepdims=True))
        return least_set(mass, self.p * mass.sum(axis=-1, keepdims=True, dtype=np.float64))

    def attend(self, call: Call) -> Attended:
        selected = self.select(call)
        return attended(call, selected, self.count(call, selected))

    def count(self, call: Call, selected: np.ndarray) -> Counts:
        """Operations and bytes; see the head of this file."""
        counts, d = Counts(), call.d
        heads, rows, keys = selected.shape
        visible = int(call.mask().sum()) * heads
        count_products(counts, "predict", 16, self.bits, visible, d)
        vector = 2 * d
        if self.bits != EXACT:
            # The least value of a key meets the sum of the row's query.
            counts.add("predict", "add16", heads * rows * d + visible)
            counts.add("predict", "mul16x16", 2 * visible)
            vector = d * self.bits / 8 + 4
            counts.move("k predicted, written", len(call.k) * keys * vector)
        counts.move("k predicted", heads * block_keys(call) * vector)
        for kind in ("cmp16", "exp16", "add16"):
            counts.add("predict", kind, visible)
        counts.add("select", "cmp16", STEPS * visible)
        counts.add("select", "add16", STEPS * visible)
        counts.add("select", "mul16x16", heads * rows)
        count_formal(counts, call, selected)
        return counts

    @classmethod
    def sweep(cls) -> list[Method]:
        return [cls(p) for p in (
            0.999, 0.995, 0.99, 0.98, 0.97, 0.95, 0.92, 0.9, 0.85, 0.8, 0.7, 0.5)]
