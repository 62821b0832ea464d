# SPDX-License-Identifier: Apache-2.0
"""Bands: row blocks of a head that walk the same tiles together.

A band of a head is `blocks` successive blocks of ROWS query rows. Its tiles follow from the prefix
that its last row may see, and every block of it works on each of them. models.tiling has the tiles
of a given stretch of rows; a band is such a stretch.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.config import Config, check
from models.tiling import Tile, block_tiles, visible

EXACT = 32
"""Positions 0 .. EXACT-1 of a causal job keep every key that they see."""


@dataclass(frozen=True)
class Block:
    """Rows row .. row+n-1 of the head; length: keys that its last row may see."""

    row: int
    n: int
    length: int


@dataclass(frozen=True)
class Band:
    """Rows row .. row+n-1 of the head, their blocks, and the tiles of all of them, in slot order
    of the keys. Tile 0 is the one that is scored twice."""

    row: int
    n: int
    blocks: list[Block]
    tiles: list[Tile]


def bands(
    rows: int, keys: int, bc: int, blocks: int, cfg: Config, *, causal: bool = False,
    offset: int = 0, interleaved: bool = True,
) -> list[Band]:
    """The bands of a head: rows query rows over keys, bc keys in a tile, blocks in a band."""
    check("blocks", blocks, 1, cfg.STORE_BEATS)
    out = []
    for first in range(0, rows, blocks * cfg.ROWS):
        n = min(blocks * cfg.ROWS, rows - first)
        parts = []
        for row in range(first, first + n, cfg.ROWS):
            size = min(cfg.ROWS, first + n - row)
            parts.append(Block(row, size, visible(row, size, keys, causal, offset)))
        tiles = block_tiles(first, n, keys, bc, causal=causal, offset=offset,
                            interleaved=interleaved)
        out.append(Band(first, n, parts, tiles))
    return out


def exact_rows(row: int, n: int, causal: bool, offset: int) -> np.ndarray:
    """bool [n]: which of the rows row .. row+n-1 of a head keep every key that they see."""
    return (offset + row + np.arange(n) < EXACT) & causal


def mean_span(row: int, keys: int, causal: bool, offset: int) -> int:
    """Keys 0 .. g-1 whose mean of V stands in for what the block at ``row`` drops.

    Not causal: all. Causal: up to the block's first position, rounded down to a multiple of EXACT,
    at least EXACT; a row that could not see all of them is one of those that drop nothing."""
    if not causal:
        return keys
    return min(keys, max(EXACT, (offset + row) // EXACT * EXACT))


def allowed(tile: Tile, band: Band, block: Block) -> np.ndarray:
    """bool [block.n, tile.n]: which row of a block may use which slot."""
    if not tile.causal:
        return np.ones((block.n, tile.n), bool)
    shift = block.row - band.row
    return tile.allowed(shift + block.n)[shift:]
