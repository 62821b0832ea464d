# SPDX-License-Identifier: Apache-2.0
"""XAttention: blocks scored by their antidiagonals (Xu et al., 2025, arXiv 2503.16428).

Rule, from the publication and its public code (mit-han-lab/x-attention):
- `stride` neighbouring queries and keys form a group; the score of a pair of groups is the mean of
  `q . k / sqrt(d)` over its antidiagonal, the first query with the last key and so on, which is
  one product of vectors of stride * d elements;
- softmax over the groups of keys, on a causal model those up to the queries' own group, whole;
- the probabilities of the groups are added up over blocks of `block` queries and keys;
- for each block of queries the blocks of keys are kept, the largest first, until they hold
  `threshold` of the mass; on a causal model the first block and the queries' own come before;
- exact attention over all visible pairs of the kept blocks. Nothing is trained.

Blocks of 128, stride 8 and threshold 0.9 are those of the code. An incomplete group at the end
counts the missing queries and keys as zero, as in the code.

Assumptions: groups and blocks count from position 0 of the sequence, also when the call holds only
its last rows, and rows of another sequence than the keys begin at 0; smaller blocks, which the
publication does not use, serve for the sparse end of the sweep, because two blocks a row are
already a third of the pairs at 1024 tokens; one threshold serves all heads, where the
publication can also search one for each; every query head selects by itself.

The kept blocks of a causal call depend on later tokens: those of the queries' own block.

Operations: for each pair of groups a product of stride * d elements, a comparison, an exponential,
an addition, a product with the inverse of the sum and an addition to its block; for each group of
queries a division; for each row of blocks a sort and a sum.

DRAM: K once for every block of rows for the scores; then K and V of what the block's rows kept,
once a block; Q and O once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..methods.counts import Counts
from ..methods.method import Attended, Call, Method, attended, count_formal
from .arith import block_keys, count_products, transposed
from .mass import least_set
from .parts import check_range, probabilities


def gathered(x: np.ndarray, before: int, stride: int, order: int) -> np.ndarray:
    """[H, G, stride * d]: groups of neighbours of x [H, n, d] end to end, with ``before`` zero
    vectors ahead and as many behind as are missing; order -1: within a group the last first."""
    heads, n, d = x.shape
    x = np.pad(x, ((0, 0), (before, -(before + n) % stride), (0, 0)))
    return x.reshape(heads, -1, stride, d)[:, :, ::order].reshape(heads, -1, stride * d)


@dataclass(frozen=True)
class XAttention(Method):
    """threshold: share of the mass that the kept blocks hold, above 0, below 1; block: rows and
    keys of a block, a multiple of stride; stride: rows and keys of a group."""

    threshold: float = 0.9
    block: int = 128
    stride: int = 8

    name = "xattention"

    def __post_init__(self):
        if not 0 < self.threshold < 1:
            raise ValueError(f"threshold = {self.threshold}, legal: above 0, below 1")
        check_range("stride", self.stride, 1, 4096)
        check_range("block", self.block, self.stride, 65536)
        if self.block % self.stride:
            raise ValueError(
                f"block = {self.block}, legal: a multiple of stride = {self.stride}")

    def seen(self, call: Call) -> tuple[np.ndarray, int]:
        """(pairs of groups that count, bool [Gq, Gk]; number of the first group of rows)."""
        rows, keys = call.q.shape[1], call.k.shape[1]
        first = keys - rows if call.causal else 0
        start, end = first // self.stride, -(-(first + rows) // self.stride)
        columns = np.arange(-(-keys // self.stride))
        last = np.arange(start, end) if call.causal else np.full(end - start, len(columns))
        return columns <= last[:, None], start

    def scores(self, call: Call) -> np.ndarray:
        """Scores of the pairs of groups in nats, float32 [Hq, Gq, Gk]."""
        first = call.k.shape[1] - call.q.shape[1] if call.causal else 0
        q = gathered(call.q, first % self.stride, self.stride, -1)
        k = gathered(call.k, 0, self.stride, 1)
        scale = np.float32(self.stride * math.sqrt(call.d))
        return np.matmul(q, transposed(call.shared(k))) / scale

    def blocks(self, call: Call) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(estimated mass of each block, float32 [Hq, Bq, Bk]; bool alike, the kept ones; int [Bq],
        numbers of the blocks of rows)."""
        seen, start = self.seen(call)
        per = self.block // self.stride
        numbers, edges = np.unique(np.arange(start, start + len(seen)) // per, return_index=True)
        mass = probabilities(self.scores(call), seen)
        mass = np.add.reduceat(mass, np.arange(0, seen.shape[1], per), axis=2)
        mass = np.add.reduceat(mass, edges, axis=1)
        forced = np.zeros(mass.shape, bool)
        if call.causal:
            forced[:, :, 0] = forced[:, np.arange(len(numbers)), numbers] = True
        need = self.threshold * mass.sum(axis=-1) - np.where(forced, mass, 0).sum(axis=-1)
        kept = forced | least_set(np.where(forced, 0, mass), need[..., None])
        return mass, kept, numbers

    def select(self, call: Call) -> np.ndarray:
        """bool [Hq, R, S], the pairs that exact attention uses."""
        rows, keys = call.q.shape[1], call.k.shape[1]
        _, kept, numbers = self.blocks(call)
        first = keys - rows if call.causal else 0
        row = (first + np.arange(rows)) // self.block - numbers[0]
        return kept[:, row[:, None], np.arange(keys) // self.block] & call.mask()

    def attend(self, call: Call) -> Attended:
        selected = self.select(call)
        return attended(call, selected, self.count(call, selected))

    def count(self, call: Call, selected: np.ndarray) -> Counts:
        """Operations and bytes; see the head of this file."""
        counts, heads = Counts(), len(selected)
        seen, start = self.seen(call)
        pairs, per = heads * int(seen.sum()), self.block // self.stride
        across = -(-seen.shape[1] // per)
        blocks = heads * across * (-(-(start + len(seen)) // per) - start // per)
        count_products(counts, "predict", 16, 16, pairs, self.stride * call.d)
        for kind in ("cmp16", "exp16", "mul16x16"):
            counts.add("predict", kind, pairs)
        counts.add("predict", "add16", 2 * pairs)
        counts.add("predict", "div16", heads * len(seen))
        counts.add("select", "cmp16", blocks * math.ceil(math.log2(max(across, 2))))
        counts.add("select", "add16", blocks)
        count_formal(counts, call, selected)
        counts.move("k predicted", 2 * heads * block_keys(call) * call.d)
        return counts

    @classmethod
    def sweep(cls) -> list[Method]:
        return [cls(t, b) for t, b in (
            (0.99, 128), (0.95, 128), (0.9, 128), (0.9, 64), (0.9, 32), (0.8, 32), (0.7, 32),
            (0.6, 16), (0.5, 16), (0.3, 16))]
