# SPDX-License-Identifier: Apache-2.0
"""Blocks and tiles of a job: which keys, in which slots, seen by which rows.

Source: docs/architecture.md section 4.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.config import Config, check


@dataclass(frozen=True)
class Tile:
    """One tile of one block. Slot b holds key k0 + b*kstep, b = 0..n-1.

    rows    query rows of the block, 1..ROWS
    rel     k0 minus the position of row 0 (causal: row r may use slot b iff rel + b*kstep <= r)
    """

    n: int
    rows: int
    first: bool
    last: bool
    causal: bool
    rel: int
    kstep: int
    k0: int

    @property
    def keys(self) -> np.ndarray:
        """Key index of every slot, int64 [n]."""
        return self.k0 + self.kstep * np.arange(self.n, dtype=np.int64)

    def allowed(self, rows: int | None = None) -> np.ndarray:
        """Which row may use which slot, bool [rows, n]; rows default to those of the block."""
        r = np.arange(self.rows if rows is None else rows)[:, None]
        mask = np.broadcast_to(r < self.rows, (len(r), self.n)).copy()
        if self.causal:
            mask &= self.rel + self.kstep * np.arange(self.n)[None, :] <= r
        return mask


def blocks(rows: int, cfg: Config) -> list[tuple[int, int]]:
    """The blocks of a head with ``rows`` query rows: list of (first row, number of rows)."""
    check("rows", rows, 1, 1 << 30)
    return [(r, min(cfg.ROWS, rows - r)) for r in range(0, rows, cfg.ROWS)]


def visible(block_row: int, n: int, keys: int, causal: bool, offset: int) -> int:
    """Length of the key prefix that some row of the block may see, L."""
    return min(keys, offset + block_row + n) if causal else keys


def prefixes(rows: int, keys: int, causal: bool, offset: int) -> np.ndarray:
    """Keys 0 .. n-1 that each of ``rows`` query rows may see, int64 [rows]."""
    return np.minimum(keys, offset + 1 + np.arange(rows)) if causal else np.full(rows, keys)


def block_tiles(
    block_row: int,
    n: int,
    keys: int,
    bc: int,
    *,
    causal: bool = False,
    offset: int = 0,
    interleaved: bool = True,
) -> list[Tile]:
    """The tiles of the block of n rows that starts at query row ``block_row`` of the head.

    keys: keys of the head; bc: keys in a tile; offset: position of query row 0.
    """
    check("n", n, 1, 1 << 30)
    check("keys", keys, 1, 65536)
    check("offset", offset, 0, 65536)
    check("bc", bc, 4, 64, pow2=True)
    length = visible(block_row, n, keys, causal, offset)
    count = -(-length // bc)
    tiles = []
    for t in range(count):
        if interleaved:
            k0, kstep, slots = t, count, -(-(length - t) // count)
        else:
            k0, kstep, slots = t * bc, 1, min(bc, length - t * bc)
        tiles.append(
            Tile(
                n=slots,
                rows=n,
                first=t == 0,
                last=t == count - 1,
                causal=bool(causal),
                rel=k0 - (offset + block_row),
                kstep=kstep,
                k0=k0,
            )
        )
    return tiles
