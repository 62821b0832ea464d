# SPDX-License-Identifier: Apache-2.0
"""SADS: which keys a row takes, one bit for each row and key, bit-exact and vectorised over rows.

Selection by the row's sum. A key is kept when its share of the row's predicted softmax reaches a
threshold. The level of a key is e = floor(score / 2**octave), in octaves (factors of 2),
saturated to LEVEL_W bits. A row has

    R  peak, the largest level so far
    P  sum of the weights 2**(e - R) of all visible keys scored so far, SUM_FRAC fraction bits
    T  sum of those that are kept

and P, T are shifted right when R rises. Tile 0 is scored at first for R and P alone (`count`). When
one of the tiles 1, 2 .. begins, t tiles having been counted, a limit is fixed for it,

    lim = log2((P - 1) * tiles/t + 1) + log2(tau) + R        (`limit`)

the row's sum extrapolated to all tiles, except for the peak's own weight of 1; the keys with
e >= lim or e >= R are kept, and the tile's words of 4 slots are counted one after the other. At
the end tile 0 is scored again and selected with the whole sum. The share T/P that was kept
is a row's f; (1 - f) of its output is the mean of V.

With a coarse tail, dropped keys that reach a second limit, lim with a lower threshold in place of
tau, add V of few bits with their predicted weights (`tail`, and models.sufa). Their sum C is
counted as T is; g = C/P is their share of the output, and 1 - f - g that of the mean.

T + C <= P, and T > 0 where P > 0: a weight enters T or C and P, or P alone, at the same R but for
tile 0, whose keys enter T and C at the last R; shifts round down, and rounded parts of a sum do not
add up to more than the rounded sum. The largest level is kept whatever the limit, so its weight is
in T. P <= keys * 2**SUM_FRAC.

Quota and radius select by sorting (`select_tile`), over the same tiles; f = 1.
Source: our decision; thresholds on the share of the predicted softmax are known from Sanger (MICRO
2021) and top-p rules (Twilight, NeurIPS 2025).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .config import Config, check

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

WORD = 4
"""Slots that are counted at a time."""

NO_PEAK = -(1 << 40)
"""R of a row that has seen no key."""

EVERY = -(1 << 41)
"""A limit that every key reaches."""


def levels(score, octave: int, bits: int) -> np.ndarray:
    """Levels of scores of any shape, int64; bits: LEVEL_W."""
    top = 1 << (bits - 1)
    return np.clip(np.asarray(score, np.int64) >> octave, -top, top - 1)


@dataclass
class Sums:
    """State of the rows of a block, int64 [R] each: peak R, total P, kept T, coarse C."""

    peak: np.ndarray
    total: np.ndarray
    kept: np.ndarray
    coarse: np.ndarray


def start(rows: int) -> Sums:
    """No key seen."""
    return Sums(np.full(rows, NO_PEAK), *np.zeros((3, rows), np.int64))


def log2_fixed(x, bits: int) -> np.ndarray:
    """log2 of integers from 1 on with ``bits`` fraction bits, int64: the leading one, and as the
    fraction the bits after it (Mitchell, IRE Trans. 1962), the rest dropped."""
    x = np.asarray(x, np.int64)
    lead = np.frexp(x.astype(np.float64))[1].astype(np.int64) - 1
    below = (x << bits) >> lead
    return (lead << bits) + (below & ((1 << bits) - 1))


def block_threshold(tau: int, fall: int, length: int, cfg: Config) -> int:
    """log2(tau * (length / 1024)**-(fall/256)) with LOG_FRAC fraction bits: the threshold of a
    block whose last row sees ``length`` keys; tau likewise a logarithm with LOG_FRAC bits."""
    over = int(log2_fixed(length, cfg.LOG_FRAC)) - (10 << cfg.LOG_FRAC)
    return tau - ((fall * over + 128) >> 8)


def extrapolation(tiles: int, counted: int, cfg: Config) -> int:
    """tiles / counted with RATIO_FRAC fraction bits, rounded down."""
    return (tiles << cfg.RATIO_FRAC) // counted


def limit(sums: Sums, ratio: int, tau: int, cfg: Config) -> np.ndarray:
    """Least level that is kept in a tile, int64 [R]; ratio: extrapolation, tau: block_threshold.

    The whole number of octaves that reaches lim, R at most; EVERY for a row that has seen no key.
    """
    some = sums.peak > NO_PEAK
    one = 1 << cfg.SUM_FRAC
    more = np.where(some, sums.total - one, 0) * ratio >> cfg.RATIO_FRAC
    lim = log2_fixed(more + one, cfg.LOG_FRAC) + tau - (cfg.SUM_FRAC << cfg.LOG_FRAC)
    level = sums.peak - (-lim >> cfg.LOG_FRAC)
    return np.where(some, np.minimum(level, sums.peak), EVERY)


def weights(level: np.ndarray, seen: np.ndarray, peak: np.ndarray, cfg: Config) -> np.ndarray:
    """2**(level - peak) with SUM_FRAC fraction bits, rounded down; 0 where not seen."""
    below = np.where(seen, peak[:, None] - level, 0)
    weight = (1 << cfg.SUM_FRAC) >> np.minimum(below, cfg.SUM_FRAC + 1)
    return np.where(seen, weight, 0)


def tail(
    sums: Sums, level: np.ndarray, dropped: np.ndarray, ratio: int, tau: int, cfg: Config
) -> np.ndarray:
    """Coarse weights of a tile, int64 [R, n], 2**(level - R) with CV_FRAC fraction bits; 0: not
    coarse. dropped: bool [R, n], visible and not kept, so below R; tau: of the second limit."""
    least = np.maximum(limit(sums, ratio, tau, cfg), sums.peak - cfg.CV_FRAC)
    coarse = dropped & (level >= least[:, None])
    below = np.where(coarse, sums.peak[:, None] - level, 0)
    return np.where(coarse, (1 << cfg.CV_FRAC) >> below, 0)


def count(
    sums: Sums, level: np.ndarray, allowed: np.ndarray, kept: np.ndarray, coarse: np.ndarray,
    cfg: Config,
) -> None:
    """Add a tile, [R, n] each, to the sums, word by word; kept and coarse: within allowed."""
    for first in range(0, level.shape[1], WORD):
        part = slice(first, first + WORD)
        word, seen = level[:, part], allowed[:, part]
        risen = np.maximum(sums.peak, np.where(seen, word, NO_PEAK).max(axis=1))
        # A row without a peak has sums of 0, whatever the shift.
        shift = np.minimum(risen - sums.peak, 63)
        sums.peak = risen
        weight = weights(word, seen, risen, cfg)
        sums.total = (sums.total >> shift) + weight.sum(axis=1)
        sums.kept = (sums.kept >> shift) + np.where(kept[:, part], weight, 0).sum(axis=1)
        sums.coarse = (sums.coarse >> shift) + np.where(coarse[:, part], weight, 0).sum(axis=1)


def count_last(
    sums: Sums, level: np.ndarray, kept: np.ndarray, coarse: np.ndarray, cfg: Config
) -> None:
    """Add what is selected from tile 0 at the end to T and C; P has it already."""
    sums.kept = sums.kept + weights(level, kept, sums.peak, cfg).sum(axis=1)
    sums.coarse = sums.coarse + weights(level, coarse, sums.peak, cfg).sum(axis=1)


def shares(sums: Sums, everything: np.ndarray, cfg: Config) -> tuple[np.ndarray, np.ndarray]:
    """(f, g) of each row, int64 [R], F_FRAC fraction bits: floor(T/P) and floor(C/P); 1 and 0 for
    rows that keep everything and for rows without a key. f + g <= 1, since T + C <= P."""
    whole = everything | (sums.total == 0)
    f, g = ((part << cfg.F_FRAC) // np.where(whole, 1, sums.total)
            for part in (sums.kept, sums.coarse))
    return np.where(whole, 1 << cfg.F_FRAC, f), np.where(whole, 0, g)
