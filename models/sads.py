# SPDX-License-Identifier: Apache-2.0
"""SADS: which keys of a tile each row takes, best first, bit-exact.

Source: docs/architecture.md section 5.3.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.config import Config, check

NO_MAX = -(1 << 62)
"""Running maximum of a row that has not seen a key yet in its block."""


@dataclass(frozen=True)
class Selection:
    """Lists of one tile.

    slots  int64 [R, P], slot of list position p (0 where invalid)
    valid  bool [R, P]
    n      slots in the tile
    """

    slots: np.ndarray
    valid: np.ndarray
    n: int

    @property
    def mask(self) -> np.ndarray:
        """bool [R, n]: which row takes which slot."""
        hit = np.zeros((len(self.slots), self.n), bool)
        row, position = np.nonzero(self.valid)
        hit[row, self.slots[row, position]] = True
        return hit

    @property
    def union(self) -> np.ndarray:
        """bool [n]: slot selected by some row."""
        hit = np.zeros(self.n, bool)
        hit[self.slots[self.valid]] = True
        return hit

    @property
    def union_word(self) -> int:
        """The union as the hardware's bit vector, bit b = slot b."""
        return sum(1 << int(b) for b in np.flatnonzero(self.union))

    @property
    def nsel(self) -> int:
        """Selected (row, key) pairs."""
        return int(self.valid.sum())

    @property
    def nsteps(self) -> int:
        """Pair steps of the tile: half of the longest list, rounded up."""
        used = np.flatnonzero(self.valid.any(axis=0))
        return int(used[-1] // 2 + 1) if used.size else 0

    def words(self, cfg: Config) -> list[int]:
        """The list as LIST_WORDS words of ROWS*4*(SLOT_W+1) bits, see pack_words."""
        return pack_words(self, cfg)


def reach(radius: int | None, cfg: Config) -> int:
    """Register value of a radius in predicted score units; None: the one that never clips."""
    return cfg.RADIUS_INF if radius is None else radius


def select_tile(
    scores: np.ndarray,
    allowed: np.ndarray,
    run_max: np.ndarray | None,
    quota: int,
    radius: int | None,
    cfg: Config,
) -> tuple[Selection, np.ndarray]:
    """Select from scores int [R, n] where allowed bool [R, n].

    run_max: int64 [R], largest allowed score of each row in the block's earlier tiles (None in
    the first tile). quota 1..BC_MAX keys; radius as in ``reach``, below the running maximum.
    Returns the Selection, min(quota, n) positions, and the new run_max.
    """
    check("quota", quota, 1, cfg.BC_MAX)
    radius = check("radius", reach(radius, cfg), 0, cfg.RADIUS_INF)
    scores, allowed = np.asarray(scores, np.int64), np.asarray(allowed, bool)
    rows, n = scores.shape
    if allowed.shape != scores.shape or not 1 <= n <= cfg.BC_MAX:
        raise ValueError(
            f"scores {scores.shape}, allowed {allowed.shape}: expected equal shapes [R, n], "
            f"n 1..{cfg.BC_MAX}"
        )
    if run_max is None:
        run_max = np.full(rows, NO_MAX, np.int64)
    masked = np.where(allowed, scores, NO_MAX)
    run_max = np.maximum(run_max, masked.max(axis=1))
    # A stable sort of the negated scores puts the lower slot first among equals.
    slots = np.argsort(-masked, axis=1, kind="stable")[:, : min(quota, n)]
    best = np.take_along_axis(masked, slots, axis=1)
    valid = (best > NO_MAX) & (best >= run_max[:, None] - radius)
    return Selection(np.where(valid, slots, 0), valid, n), run_max


def dense_tile(allowed: np.ndarray) -> Selection:
    """All allowed slots in slot order, list position = slot; allowed bool [R, n]."""
    allowed = np.asarray(allowed, bool)
    slots = np.broadcast_to(np.arange(allowed.shape[1]), allowed.shape)
    return Selection(np.where(allowed, slots, 0), allowed.copy(), allowed.shape[1])


def pack_words(selection: Selection, cfg: Config) -> list[int]:
    """List words as the hardware writes them, LIST_WORDS integers, word 0 first.

    Entry j of row r of a word sits at bit (4*r + j)*(SLOT_W+1): {valid, slot}; invalid entries
    are 0 here, while the slot field of an invalid entry has no meaning in the hardware.
    """
    rows, positions = selection.slots.shape
    if rows > cfg.ROWS or positions > cfg.BC_MAX:
        raise ValueError(f"list of {rows} rows x {positions}, most: {cfg.ROWS} x {cfg.BC_MAX}")
    entry = np.zeros((cfg.ROWS, cfg.BC_MAX), np.int64)
    entry[:rows, :positions] = np.where(
        selection.valid, selection.slots | 1 << cfg.SLOT_W, 0
    )
    words = []
    for w in range(cfg.LIST_WORDS):
        bits = (entry[:, 4 * w : 4 * w + 4, None] >> np.arange(cfg.SLOT_W + 1)) & 1
        packed = np.packbits(bits.astype(np.uint8).reshape(-1), bitorder="little")
        words.append(int.from_bytes(packed.tobytes(), "little"))
    return words


def unpack_words(words: list[int], n: int, cfg: Config) -> Selection:
    """The Selection (ROWS rows, 4 positions a word) that list words hold; slots of invalid
    entries become 0."""
    width = 4 * cfg.ROWS * (cfg.SLOT_W + 1)
    slots = np.zeros((cfg.ROWS, 4 * len(words)), np.int64)
    valid = np.zeros((cfg.ROWS, 4 * len(words)), bool)
    for w, word in enumerate(words):
        raw = np.frombuffer(int(word).to_bytes(-(-width // 8), "little"), np.uint8)
        bits = np.unpackbits(raw, bitorder="little")[:width]
        bits = bits.reshape(cfg.ROWS, 4, cfg.SLOT_W + 1).astype(np.int64)
        slots[:, 4 * w : 4 * w + 4] = bits[:, :, :-1] @ (1 << np.arange(cfg.SLOT_W))
        valid[:, 4 * w : 4 * w + 4] = bits[:, :, -1] == 1
    return Selection(np.where(valid, slots, 0), valid, n)
