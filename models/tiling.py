# SPDX-License-Identifier: Apache-2.0
"""Blocks and tiles of a job: which keys, in which slots, seen by which rows.

Source: docs/architecture.md sections 4, 6 and 10.4.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.config import Config, ConfigError, check

# Field name -> (least significant bit, width) of the tile descriptor.
TD_FIELDS = {
    "n": (0, 8),
    "rows": (8, 8),
    "first": (16, 1),
    "last": (17, 1),
    "causal": (18, 1),
    "rel": (19, 18),
    "kstep": (37, 17),
    "kaddr": (54, 48),
    "vaddr": (102, 48),
    "kinc": (150, 32),
    "vinc": (182, 32),
    "oaddr": (214, 48),
    "k0": (262, 17),
    "kvnew": (279, 1),
    "kvlast": (280, 1),
}
TD_W = 281


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

    def descriptor(
        self, kaddr=0, vaddr=0, kinc=0, vinc=0, oaddr=0, kvnew=False, kvlast=False
    ) -> int:
        """The packed tile descriptor ``td``; kinc, vinc: bytes between neighbouring slots;
        kvnew, kvlast: first and last tile of a KV head."""
        values = {
            "n": self.n,
            "rows": self.rows,
            "first": int(self.first),
            "last": int(self.last),
            "causal": int(self.causal),
            "rel": self.rel,
            "kstep": self.kstep,
            "kaddr": kaddr,
            "vaddr": vaddr,
            "kinc": kinc,
            "vinc": vinc,
            "oaddr": oaddr,
            "k0": self.k0,
            "kvnew": int(kvnew),
            "kvlast": int(kvlast),
        }
        return pack_td(**values)


def pack_td(**values: int) -> int:
    """Pack descriptor fields (name -> value, rel may be negative) into one integer."""
    word = 0
    for name, (low, width) in TD_FIELDS.items():
        value = int(values.get(name, 0))
        lowest = -(1 << (width - 1)) if name == "rel" else 0
        highest = (1 << (width - 1)) - 1 if name == "rel" else (1 << width) - 1
        if not lowest <= value <= highest:
            raise ConfigError(f"td field {name} = {value}, legal: {lowest}..{highest}")
        word |= (value & ((1 << width) - 1)) << low
    unknown = sorted(set(values) - set(TD_FIELDS))
    if unknown:
        raise ConfigError(f"no td field {unknown[0]!r}")
    return word


def unpack_td(word: int) -> dict[str, int]:
    """The fields of a packed descriptor (name -> value)."""
    fields = {}
    for name, (low, width) in TD_FIELDS.items():
        value = (int(word) >> low) & ((1 << width) - 1)
        if name == "rel" and value >> (width - 1):
            value -= 1 << width
        fields[name] = value
    return fields


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
