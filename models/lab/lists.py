# SPDX-License-Identifier: Apache-2.0
"""Selections that the machine cannot make yet: a threshold relative to the row's sum, exchange
between tiles, a least number of keys.

All start from the machine's selection and its integer scores and work on each row by itself.
Order of keys: higher score first, equal scores: lower key first. All of it is our decision.

Threshold. A selected key stays when its share of the row's predicted softmax is at least
``threshold``; the largest score so far always stays. Tile after tile, as SADS works, with integers
a sorter could keep: an octave is the score difference of a factor 2 (the host can choose the scale
of Q so that it is a power of two; no such scale is assumed here), a key adds
2**(WEIGHT_BITS - floor(distance below the maximum / octave)) to the row's sum, a risen maximum
shifts the sum down by whole octaves, the tiles to come are taken to be like those seen, and
logarithms are those of Mitchell (IRE Trans. 1962) with 4 fraction bits.

Exchange pass. Of every tile of the row, the 4 best rejected keys (visible, and within the radius
of the row's maximum over all tiles) are offers, and the 4 worst selected keys are places. All
offers and places of the row are put in order, and as many as there are places are selected. So a
row keeps its number of keys, and a tile may end with more than the quota. The next pass starts
from the new selection. 4 is what a pass of the sort core returns.

Least number of keys. After the passes, a row with fewer than min_keys selected keys takes the best
rejected ones, of any tile and whatever the radius, until it has min_keys or all that it sees.

The formal path takes the lists of all tiles, best first, one tile after the other, in one phase
each.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from models import dlzs, fast
from models.config import Config, clog2
from models.head import Job
from models.lab.counts import Counts
from models.quantise import Quantised, score_unit
from models.tiling import blocks, visible

OFFERS = 4
"""Keys that a tile offers, and puts at stake, in an exchange pass."""

CORE = 12
"""New scores that a 16-to-4 core takes beside the four best so far (SOFA paper, SADS)."""

CORE_COMPARISONS = 42
"""Comparators of a core: three sorters of 4, then merges that keep 4 (docs/sads.md)."""

CLIP_COMPARISONS = 5
"""Comparisons of a pass beside the core: its four results with the radius, the row maximum."""

WEIGHT_BITS = 12
"""Fraction bits of a row's sum of weights: a key further below the maximum than so many octaves
adds nothing."""

LOST_OCTAVES = 8
"""Sixteenths of an octave that rounding the distance down adds to the logarithm of a sum: the mean
of 2**x over 0..1 is 1 / ln 2, an excess of 0.53 octaves."""

MOST_OCTAVE = 1 << 40
"""An octave that no two scores are apart by."""

KEY_BITS = 17
"""Bits of a key number in a ranking word."""

LOW, HIGH = -(1 << 62), 1 << 62
"""Ranking words beyond all keys."""


def tile_keys(row: int, n: int, keys: int, job: Job) -> np.ndarray:
    """Key of every slot of every tile of a block, int64 [tiles, slots], -1 where there is none."""
    length = visible(row, n, keys, job.causal, job.offset)
    count = -(-length // job.bc)
    if job.interleaved:
        slots = -(-length // count)
        index = np.arange(count)[:, None] + count * np.arange(slots)
    else:
        index = np.arange(count)[:, None] * job.bc + np.arange(min(job.bc, length))
    return np.where(index < length, index, -1)


def _by_tile(x: np.ndarray, index: np.ndarray) -> np.ndarray:
    """bool [rows, keys] as [rows, tiles, slots], False where there is no key."""
    return x[:, index] & (index >= 0)


def _allowed(row: int, n: int, keys: int, job: Job) -> np.ndarray:
    """bool [n, keys]: what the rows of a block may see."""
    if not job.causal:
        return np.ones((n, keys), bool)
    return np.arange(keys) <= job.offset + row + np.arange(n)[:, None]


def ranking(score: np.ndarray) -> np.ndarray:
    """Words that order keys, int64 [rows, keys]: the best has the largest, no two are equal."""
    keys = np.arange(score.shape[1], dtype=np.int64)
    return (score.astype(np.int64) << KEY_BITS) + ((1 << KEY_BITS) - 1 - keys)


def _kth(words: np.ndarray, k: np.ndarray) -> np.ndarray:
    """The k-th largest word of each row, [rows, n] and int [rows]; HIGH where k is 0."""
    ordered = np.sort(words, axis=1)[:, ::-1]
    place = np.maximum(k - 1, 0)[:, None]
    return np.where(k > 0, np.take_along_axis(ordered, place, axis=1)[:, 0], HIGH)


def log2_sixteenths(x: np.ndarray) -> np.ndarray:
    """Mitchell's logarithm of integers from 1 on, in sixteenths: the leading one and, as the
    fraction, the four bits after it. int64, x's shape"""
    x = np.asarray(x, np.int64)
    lead = np.frexp(x.astype(np.float64))[1].astype(np.int64) - 1
    return 16 * lead + (((x << 4) >> lead) & 15)


def octave_units(sq: float, sk8: float, d: int, snap: int, cfg: Config) -> int:
    """Predicted score units of a factor 2 in the softmax, 1..MOST_OCTAVE; sq, sk8: scales of Q and
    of the 8-bit keys."""
    unit = score_unit(sq, sk8, d, snap, cfg)
    # No two scores are further apart than MOST_OCTAVE; a unit may be too small for a float.
    return max(round(min(math.log(2) / unit, MOST_OCTAVE)), 1) if unit else MOST_OCTAVE


def above_threshold(
    score: np.ndarray, allowed: np.ndarray, index: np.ndarray, octave: int, threshold: float
) -> np.ndarray:
    """bool [n, keys]: keys whose predicted share is at least ``threshold`` when their tile comes;
    score int [n, keys], allowed bool [n, keys], index: tile_keys; octave: score units, 1 or more.
    """
    keep = np.zeros(allowed.shape, bool)
    peak = np.full(len(score), LOW, np.int64)
    total = np.zeros(len(score), np.int64)
    reach = round(-16 * math.log2(threshold)) + 16 * WEIGHT_BITS + LOST_OCTAVES
    reach -= int(log2_sixteenths(len(index)))
    for number, line in enumerate(index, 1):
        keys = line[line >= 0]
        seen = allowed[:, keys]
        word = np.where(seen, score[:, keys].astype(np.int64), LOW)
        risen = np.maximum(peak, word.max(axis=1))
        total >>= np.minimum((risen - peak) // octave, 62)
        peak, below = risen, risen[:, None] - word
        weight = (1 << WEIGHT_BITS) >> np.minimum(below // octave, WEIGHT_BITS + 1)
        total += np.where(seen, weight, 0).sum(axis=1)
        bound = reach + int(log2_sixteenths(number)) - log2_sixteenths(np.maximum(total, 1))
        limit = octave * bound >> 4
        keep[:, keys] = seen & (below <= np.maximum(limit, 0)[:, None])
    return keep


def exchange_pass(word: np.ndarray, chosen: np.ndarray, offered: np.ndarray) -> np.ndarray:
    """One pass: bool [rows, tiles, slots] selected after it. word int64, chosen and offered (may
    be offered, if not chosen) bool, all of that shape."""
    rows = len(word)
    keep = min(OFFERS, word.shape[2])
    offers = np.where(offered & ~chosen, word, LOW)
    places = np.where(chosen, word, HIGH)
    best = np.sort(offers, axis=2)[:, :, -keep:]
    worst = np.sort(places, axis=2)[:, :, :keep]
    offer = (offers >= best[:, :, :1]) & (offers > LOW)
    place = (places <= worst[:, :, -1:]) & (places < HIGH)
    number = place.sum(axis=(1, 2))
    pool = np.concatenate([best, np.where(worst == HIGH, LOW, worst)], axis=2).reshape(rows, -1)
    bound = _kth(pool, number)[:, None, None]
    return (chosen & ~place) | ((place | offer) & (word >= bound))


def add_keys(word: np.ndarray, chosen: np.ndarray, allowed: np.ndarray, least: int) -> np.ndarray:
    """bool [rows, keys]: chosen, and the best of the allowed until a row has ``least`` keys."""
    wanted = np.minimum(least, allowed.sum(axis=1)) - chosen.sum(axis=1)
    short = wanted > 0
    if not short.any():
        return chosen
    chosen = chosen.copy()
    rest = np.where(allowed[short] & ~chosen[short], word[short], LOW)
    chosen[short] |= rest >= _kth(rest, wanted[short])[:, None]
    return chosen


def change(
    score: np.ndarray, chosen: np.ndarray, row: int, job: Job, radius: int, passes: int,
    least: int,
) -> np.ndarray:
    """The changed selection of a block, bool [n, keys]; score int [n, keys], chosen likewise."""
    n, keys = score.shape
    word, allowed = ranking(score), _allowed(row, n, keys, job)
    index = tile_keys(row, n, keys, job)
    if passes:
        peak = np.where(allowed, score.astype(np.int64), LOW).max(axis=1, keepdims=True)
        near = _by_tile(allowed & (score >= peak - radius), index)
        by_tile, tiles = word[:, index], _by_tile(chosen, index)
        for _ in range(passes):
            tiles = exchange_pass(by_tile, tiles, near)
        chosen = np.zeros_like(chosen)
        chosen[:, index[index >= 0]] = tiles[:, index >= 0]
    return add_keys(word, chosen, allowed, least)


def order(word: np.ndarray, chosen: np.ndarray, index: np.ndarray) -> tuple[np.ndarray, int]:
    """(lists for models.fast.formal int64 [n, P], pair steps used): tile after tile, best first,
    a tile with an odd number of keys ends with half a step. word, chosen [n, keys]."""
    n, keys = word.shape
    tile = np.zeros(keys, np.int64)
    tile[index[index >= 0]] = np.nonzero(index >= 0)[0]
    counts = _by_tile(chosen, index).sum(axis=2)
    steps = -(-counts // 2)
    width = 2 * int(steps.sum(axis=1).max())
    out = np.full((n, width), -1, np.int64)
    row, key = np.nonzero(chosen)
    # By row, then tile, then best first.
    by = np.lexsort((-word[row, key], tile[key], row))
    row, key = row[by], key[by]
    first = np.cumsum(counts, axis=1) - counts
    start = 2 * (np.cumsum(steps, axis=1) - steps)
    within = np.arange(len(row)) - (np.cumsum(counts.sum(axis=1)) - counts.sum(axis=1))[row]
    out[row, start[row, tile[key]] + within - first[row, tile[key]]] = key
    return out, int(steps.sum())


def run(
    numbers: Quantised, k8: np.ndarray, job: Job, cfg: Config, selected: np.ndarray, passes: int,
    least: int,
) -> tuple[np.ndarray, np.ndarray, int, int]:
    """The job with a changed selection: (out int16 [heads, rows, d], selected bool [heads, rows,
    keys], pair steps that rows used, max updates). selected: the machine's."""
    q, k, v = numbers.q, numbers.k, numbers.v
    keys = k.shape[1]
    radius = cfg.RADIUS_INF if job.radius is None else job.radius
    out, result = np.empty_like(q), np.empty_like(selected)
    steps = updates = 0
    for h, kv, row, score in _scored_blocks(numbers, k8, job, cfg):
        rows = slice(row, row + len(score))
        chosen = change(score, selected[h, rows], row, job, radius, passes, least)
        lists, used = order(ranking(score), chosen, tile_keys(row, len(score), keys, job))
        out[h, rows], raised = fast.formal(q[h, rows], k[kv], v[kv], lists, job.scale_m,
                                           job.scale_shift, cfg)
        result[h, rows] = chosen
        steps += used
        updates += raised
    return out, result, steps, updates


def thresholded(
    numbers: Quantised, k8: np.ndarray, job: Job, cfg: Config, selected: np.ndarray, octave: int,
    threshold: float,
) -> np.ndarray:
    """The machine's selection bool [heads, rows, keys] without the keys below the threshold."""
    keys, result = selected.shape[2], selected.copy()
    for h, _, row, score in _scored_blocks(numbers, k8, job, cfg):
        n = len(score)
        result[h, row : row + n] &= above_threshold(
            score, _allowed(row, n, keys, job), tile_keys(row, n, keys, job), octave, threshold)
    return result


def _scored_blocks(
    numbers: Quantised, k8: np.ndarray, job: Job, cfg: Config
) -> Iterator[tuple[int, int, int, np.ndarray]]:
    """(query head, KV head, first row, predicted scores int [n, keys]) of every block, by the
    compiled path where there is one."""
    q, group = numbers.q, len(numbers.q) // len(numbers.k)
    predictor = fast if fast.available() else dlzs
    for h in range(len(q)):
        codes, kv = dlzs.encode(q[h], job.snap), h // group
        for row, n in blocks(q.shape[1], cfg):
            yield h, kv, row, predictor.scores(codes[row : row + n], k8[kv], cfg)


def _tile_counts(
    selected: np.ndarray, job: Job, cfg: Config
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """For every head and block: selected and visible keys of its rows in its tiles, [n, tiles]."""
    _, rows, keys = selected.shape
    for row, n in blocks(rows, cfg):
        index = tile_keys(row, n, keys, job)
        seen = _by_tile(_allowed(row, n, keys, job), index).sum(axis=2)
        for chosen in selected[:, row : row + n]:
            # A tile has up to 64 keys.
            yield _by_tile(chosen, index).sum(axis=2, dtype=np.uint8).astype(np.int64), seen


def core_comparisons(selected: np.ndarray, job: Job, cfg: Config) -> int:
    """Comparisons of sorting for the machine's selection bool [heads, rows, keys].

    A row needs, in every tile, passes of 4 keys until the quota is reached or a pass finds fewer
    than 4; a pass goes over all visible scores of the tile."""
    total = 0
    for taken, seen in _tile_counts(selected, job, cfg):
        passes = np.minimum(-(-np.minimum(job.quota, seen) // 4), taken // 4 + 1)
        total += int((passes * (-(-seen // CORE) * CORE_COMPARISONS + CLIP_COMPARISONS)).sum())
    return total


def exchange_comparisons(selected: np.ndarray, job: Job, cfg: Config) -> int:
    """Comparisons of one exchange pass: offers and places of a tile are found by a pass of the
    core each, over its rejected and its selected keys; the bound of a row is found by log2(pool)
    rounds in which all of its 2 * OFFERS keys a tile are compared with a guess."""
    total = 0
    for taken, seen in _tile_counts(selected, job, cfg):
        runs = -(-(seen - taken) // CORE) + -(-taken // CORE)
        pool = 2 * OFFERS * (seen > 0).sum(axis=1)
        rounds = np.ceil(np.log2(np.maximum(pool, 1)))
        total += int(runs.sum()) * CORE_COMPARISONS + int((pool * rounds).sum())
    return total


def count_threshold(counts: Counts, selected: np.ndarray, job: Job, cfg: Config) -> None:
    """Add what above_threshold costs for a selection bool [heads, rows, keys]: a decoder (priced as
    a shift of 1) and an addition for each visible pair; a shift, a leading one and four additions
    for each row and tile."""
    bits = WEIGHT_BITS + 1 + clog2(cfg.KEYS_MAX)
    pairs = tiles = 0
    for _, seen in _tile_counts(selected, job, cfg):
        pairs += int(seen.sum())
        tiles += seen.size
    counts.add("select", f"shift{WEIGHT_BITS + 1}", pairs)
    counts.add("select", f"add{bits}", pairs)
    counts.add("select", f"shift{bits}", tiles)
    counts.add("select", f"lz{bits}", tiles)
    counts.add("select", f"add{cfg.SC_W}", 4 * tiles)
