# SPDX-License-Identifier: Apache-2.0
"""Blocks, bands and tiles of a job: which keys, in which slots, seen by which rows.

A band of a head is successive blocks of ROWS query rows that walk the same tiles together: the
tiles follow from the prefix that its last row may see. Source: docs/architecture.md section 4.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .config import Config, check


@dataclass(frozen=True)
class Tile:
    """One tile of one block. Slot b holds key k0 + b*kstep, b = 0..n-1.

    rows    query rows of the block, 1..ROWS
    rel     k0 minus the position of row 0 (causal: row r may use slot b iff rel + b*kstep <= r)
    window  row r may use slot b only if rel + b*kstep + window > r; 0: no such bound
    """

    n: int
    rows: int
    first: bool
    last: bool
    causal: bool
    rel: int
    kstep: int
    k0: int
    window: int = 0

    @property
    def keys(self) -> np.ndarray:
        """Key index of every slot, int64 [n]."""
        return self.k0 + self.kstep * np.arange(self.n, dtype=np.int64)

    def allowed(self, rows: int | None = None) -> np.ndarray:
        """Which row may use which slot, bool [rows, n]; rows default to those of the block."""
        r = np.arange(self.rows if rows is None else rows)[:, None]
        mask = np.broadcast_to(r < self.rows, (len(r), self.n)).copy()
        at = self.rel + self.kstep * np.arange(self.n)[None, :]
        if self.causal:
            mask &= at <= r
        if self.window:
            mask &= at + self.window > r
        return mask


def blocks(rows: int, cfg: Config) -> list[tuple[int, int]]:
    """The blocks of a head with ``rows`` query rows: list of (first row, number of rows)."""
    check("rows", rows, 1, 1 << 30)
    return [(r, min(cfg.ROWS, rows - r)) for r in range(0, rows, cfg.ROWS)]


def visible(block_row: int, n: int, keys: int, causal: bool, offset: int) -> int:
    """Length of the key prefix that some row of the block may see, L."""
    return min(keys, offset + block_row + n) if causal else keys


def oldest(position, window: int):
    """First key in the window of a row at a position, or of rows at positions; 0 without a window.
    Sinks are not in it."""
    return np.maximum(0, position - window + 1) if window else np.zeros_like(position)


def sees(position: np.ndarray, keys: int, window: int = 0, sinks: int = 0) -> np.ndarray:
    """bool [n, keys]: what causal rows at positions int [n] see."""
    at, last = np.arange(keys), np.asarray(position)[:, None]
    return (at <= last) & ((at > last - window) | (at < sinks) | (window == 0))


def seen_keys(position, keys: int, window: int, sinks: int):
    """How many keys a causal row at a position sees, or rows at positions."""
    newest = np.minimum(keys, position + 1)
    return (np.minimum(sinks, newest)
            + np.maximum(0, newest - np.maximum(oldest(position, window), sinks)))


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
    window: int = 0,
    sinks: int = 0,
) -> list[Tile]:
    """The tiles of the n rows, a block or a band, that start at query row ``block_row`` of the
    head.

    keys: keys of the head; bc: keys in a tile; offset: position of query row 0; window: newest
    keys that a row sees, 0: all; sinks: first keys, which it sees as well, in a tile of their own,
    the last one.
    """
    check("n", n, 1, 1 << 30)
    check("keys", keys, 1, 65536)
    check("offset", offset, 0, 65536)
    check("bc", bc, 4, 64, pow2=True)
    prefix = visible(block_row, n, keys, causal, offset)
    start = max(int(oldest(offset + block_row, window)), sinks)
    length = max(0, prefix - start)
    count = -(-length // bc)
    last = count - 1 + (sinks > 0)
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
                last=t == last,
                causal=bool(causal),
                rel=start + k0 - (offset + block_row),
                kstep=kstep,
                k0=start + k0,
                window=window,
            )
        )
    if sinks:
        tiles.append(Tile(min(sinks, prefix), n, last == 0, True, bool(causal),
                          -(offset + block_row), 1, 0))
    return tiles


EXACT = 32
"""Positions 0 .. EXACT-1 of a causal job keep every key that they see."""


@dataclass(frozen=True)
class Block:
    """Rows row .. row+n-1 of the head; length: how many keys its last row may see."""

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
    offset: int = 0, interleaved: bool = True, window: int = 0, sinks: int = 0,
) -> list[Band]:
    """The bands of a head: rows query rows over keys, bc keys in a tile, blocks in a band."""
    check("blocks", blocks, 1, cfg.STORE_BEATS)
    out = []
    for first in range(0, rows, blocks * cfg.ROWS):
        n = min(blocks * cfg.ROWS, rows - first)
        parts = []
        for row in range(first, first + n, cfg.ROWS):
            size = min(cfg.ROWS, first + n - row)
            length = keys
            if causal:
                length = int(seen_keys(offset + row + size - 1, keys, window, sinks))
            parts.append(Block(row, size, length))
        tiles = block_tiles(first, n, keys, bc, causal=causal, offset=offset,
                            interleaved=interleaved, window=window, sinks=sinks)
        out.append(Band(first, n, parts, tiles))
    return out


def exact_rows(row: int, n: int, causal: bool, offset: int) -> np.ndarray:
    """bool [n]: which of the rows row .. row+n-1 of a head keep every key that they see."""
    return (offset + row + np.arange(n) < EXACT) & causal


def mean_span(
    row: int, keys: int, causal: bool, offset: int, window: int = 0
) -> tuple[int, int]:
    """(f, g): the mean of V over the keys f .. g-1 stands in for what the block at ``row`` drops.

    Not causal: all. Causal: up to the block's first position, rounded down to a multiple of EXACT,
    at least EXACT; a row that could not see all of them is one of those that drop nothing. With a
    window as many of them, the last ones, as it has."""
    if not causal:
        return 0, keys
    before = max(EXACT, (offset + row) // EXACT * EXACT)
    first = max(0, before - window) if window else 0
    # A window may reach beyond the last key.
    return min(first, keys - 1), min(keys, before)


def allowed(tile: Tile, band: Band, block: Block) -> np.ndarray:
    """bool [block.n, tile.n]: which row of a block may use which slot."""
    if not tile.causal:
        return np.ones((block.n, tile.n), bool)
    shift = block.row - band.row
    return tile.allowed(shift + block.n)[shift:]
