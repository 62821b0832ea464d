# SPDX-License-Identifier: Apache-2.0
"""FlashAttention-2 (T. Dao, arXiv 2307.08691): dense, exact, tiled attention.

A block of query rows passes over the tiles of keys. With m' and l' from the tiles before,

    m = max(m', rowmax S)    P = exp(S - m)    l = e^(m'-m) l' + rowsum P
    O = e^(m'-m) O' + P V    and at the end O / l

Causal: tiles wholly above the diagonal are skipped, the ones it crosses are computed whole and
masked. Grouped-query attention: each query head passes over its own copy of K and V.

Counts, per block and tile computed: 2 * rows * cols * d products and sums, one comparison, one
exp and one sum a pair; per row and tile one exp, one product and comparison for m and l, and d
products for O; at the end d divisions a row. DRAM, 2 bytes an element: Q and O once, K and V of
every tile computed once for the block.

Assumptions: operands of 16 bits in the counts; the model computes in float32. The default tile
is one of those the public code uses at d = 64.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...config import check
from ..methods.counts import Counts
from ..methods.method import BLOCK, Attended, Call, Method


@dataclass(frozen=True)
class FlashAttention2(Method):
    """rows, cols: query rows of a block and keys of a tile."""

    name = "flash"
    rows: int = BLOCK
    cols: int = 64

    def __post_init__(self) -> None:
        check("rows", self.rows, 1, 65536)
        check("cols", self.cols, 1, 65536)

    def attend(self, call: Call) -> Attended:
        """One layer; every pair that the mask allows is selected."""
        heads, rows, d = call.q.shape
        mask, keys = call.mask(), call.k.shape[1]
        k, v = call.shared(call.k), call.shared(call.v)
        out = np.empty_like(call.q, dtype=np.float32)
        counts = Counts(visible=int(mask.sum()) * heads, selected=int(mask.sum()) * heads)
        pairs = row_tiles = vectors = 0
        for r in range(0, rows, self.rows):
            q = call.q[:, r : r + self.rows] / np.float32(np.sqrt(d))
            n = q.shape[1]
            peak = np.full((heads, n, 1), -np.inf, np.float32)
            total = np.zeros((heads, n, 1), np.float32)
            acc = np.zeros((heads, n, d), np.float32)
            for c in range(0, keys, self.cols):
                tile = np.s_[c : c + self.cols]
                allowed = mask[r : r + n, tile]
                if not allowed.any():
                    continue
                score = np.where(allowed, q @ k[:, tile].swapaxes(1, 2), -np.inf)
                new = np.maximum(peak, score.max(axis=-1, keepdims=True))
                # A row that has not seen a key yet has nothing to weigh.
                base = np.where(np.isfinite(new), new, 0)
                p, fade = np.exp(score - base), np.exp(peak - base)
                total = fade * total + p.sum(axis=-1, keepdims=True)
                acc = fade * acc + p @ v[:, tile]
                peak = new
                pairs += allowed.size
                row_tiles += n
                vectors += allowed.shape[1]
            out[:, r : r + n] = acc / np.where(total > 0, total, 1)
        self._count(counts, call, heads * pairs, heads * row_tiles, heads * vectors)
        return Attended(out, np.broadcast_to(mask, (heads, *mask.shape)).copy(), counts)

    def _count(self, counts: Counts, call: Call, pairs: int, row_tiles: int, vectors: int) -> None:
        """Add operations and bytes: pairs computed, rows times tiles, keys times blocks."""
        d = call.d
        counts.add("compute", "mul16x16", 2 * pairs * d + row_tiles * (d + 1))
        counts.add("compute", "add32", 2 * pairs * d + pairs + row_tiles)
        counts.add("compute", "cmp16", pairs + row_tiles)
        counts.add("compute", "exp16", pairs + row_tiles)
        counts.add("compute", "div16", call.q.size)
        for stream, size in (("q", call.q.size), ("k", vectors * d), ("v", vectors * d),
                             ("o", call.q.size)):
            counts.move(stream, 2 * size)

    @classmethod
    def sweep(cls) -> list[Method]:
        """Dense has no knob of sparsity: one setting."""
        return [cls()]
