# SPDX-License-Identifier: Apache-2.0
"""Selection by the row's sum: a row worked by hand, the definition key by key, and its bounds."""

import math

import numpy as np
import pytest

from models import head, sads
from models.config import Config, ConfigError
from models.tiling import Block

TINY = Config.from_name("tiny")
ONE = np.zeros(1, bool)
WHOLE = 1 << TINY.RATIO_FRAC
"""Extrapolation of a sum that has all tiles."""


def levels(*values):
    """A tile of one row, all of it visible."""
    return np.array([values]), np.ones((1, len(values)), bool)


def test_a_row_by_hand():
    """docs/second.md works this row: the peak rises, the sums shift, a key lies at the limit."""
    tau = -3 << TINY.LOG_FRAC
    sums = sads.start(1)
    first = levels(3, 1, 0, -2)
    none = np.zeros((1, 4), bool)
    sads.count(sums, *first, none, none, TINY)
    assert (sums.peak[0], sums.total[0], sums.kept[0]) == (3, 4096 + 1024 + 512 + 128, 0)

    assert sads.extrapolation(3, 1, TINY) == 768
    least = sads.limit(sums, 768, tau, TINY)
    # (5760 - 4096) * 3 + 4096 = 9088: log2 is 13 + 1/16, so lim = 13 + 1/16 - 3 - 12 + 3
    assert least[0] == 2
    tile, seen = levels(2, 1, 5, -9)
    kept = seen & (tile >= least[:, None])
    assert kept.tolist() == [[True, False, True, False]]
    sads.count(sums, tile, seen, kept, none, TINY)
    assert (sums.peak[0], sums.total[0], sums.kept[0]) == (5, 1440 + 512 + 256 + 4096, 4608)

    assert sads.extrapolation(3, 2, TINY) == 384
    least = sads.limit(sums, 384, tau, TINY)
    # (6304 - 4096) * 1.5 + 4096 = 7408: log2 is 12 + 12/16, so lim = 2 + 3/4
    assert least[0] == 3
    tile, seen = levels(3, 2, 4, 5)
    kept = seen & (tile >= least[:, None])
    assert kept.tolist() == [[True, False, True, True]]
    sads.count(sums, tile, seen, kept, none, TINY)
    assert (sums.peak[0], sums.total[0], sums.kept[0]) == (5, 6304 + 7680, 4608 + 7168)

    # 13984: log2 is 13 + 11/16, so lim = 3 + 11/16 and nothing of tile 0 reaches it
    assert sads.limit(sums, WHOLE, tau, TINY)[0] == 4
    sads.count_last(sums, first[0], none, none, TINY)
    assert sads.shares(sums, ONE, TINY) == (215, 0)


def test_what_reaches_the_limit_of_tile_0_enters_the_kept_sum():
    sums = sads.start(1)
    tile = levels(3, 2, -20, 3)
    none = np.zeros((1, 4), bool)
    sads.count(sums, *tile, none, none, TINY)
    kept = tile[0] >= sads.limit(sums, WHOLE, -2 << TINY.LOG_FRAC, TINY)[:, None]
    sads.count_last(sums, tile[0], kept, none, TINY)
    # P = 2.5, a quarter of it is 0.625: the whole octave that reaches it is the peak's
    assert kept.tolist() == [[True, False, False, True]]
    assert (sums.total[0], sums.kept[0]) == (10240, 8192)
    assert sads.shares(sums, ONE, TINY) == (204, 0)


@pytest.mark.parametrize("x", [1, 2, 3, 15, 16, 17, 1023, 1024, 4096, 9088, (1 << 28) - 1])
def test_log2_drops_what_is_below_its_fraction(x):
    got = int(sads.log2_fixed(x, 4))
    lead = x.bit_length() - 1
    assert got == 16 * lead + math.floor(16 * (x / 2**lead - 1))
    assert 0 <= math.log2(x) - got / 16 < 0.0861 + 1 / 16


def test_the_threshold_falls_with_the_visible_length():
    assert sads.block_threshold(-139, 90, 1024, TINY) == -139
    assert sads.block_threshold(-139, 90, 2048, TINY) == -145  # 16 * .35 = 5.6, rounded
    assert sads.block_threshold(-139, 90, 128, TINY) == -122
    assert sads.block_threshold(-139, 0, 65536, TINY) == -139


def one_row(tiles, seen, tau, lower, cfg):
    """(kept and coarse weights per tile, f, g, P, T, C, R) by the definition, key by key, in
    Python's integers."""
    peak, total, kept_sum, coarse_sum, out = None, 0, 0, 0, {}
    end = 2 ** (cfg.LEVEL_W - 1)
    tiles = [[min(max(e, -end), end - 1) for e in tile] for tile in tiles]
    for turn in range(len(tiles) + 1):
        t = turn % len(tiles)
        least = second = None
        if turn and peak is not None:
            ratio = Config.RATIO_FRAC
            scale = 2**ratio if turn == len(tiles) else (len(tiles) * 2**ratio) // turn
            one = 2**cfg.SUM_FRAC
            x = (total - one) * scale // 2**ratio + one
            log = math.floor(2**cfg.LOG_FRAC * (x / 2 ** (x.bit_length() - 1) - 1))
            log += 2**cfg.LOG_FRAC * (x.bit_length() - 1)
            least, second = (
                min(peak + math.ceil((log + tau) / 2**cfg.LOG_FRAC - cfg.SUM_FRAC), peak)
                for tau in (tau, lower))
        keep = [bool(s) and turn > 0 and (least is None or e >= least)
                for e, s in zip(tiles[t], seen[t], strict=True)]
        tail = [2**cfg.CV_FRAC >> (peak - e) if turn and s and not k and e >= second else 0
                for e, s, k in zip(tiles[t], seen[t], keep, strict=True)]
        if turn == len(tiles):
            kept_sum += sum(2**cfg.SUM_FRAC >> (peak - e)
                            for e, k in zip(tiles[t], keep, strict=True) if k)
            coarse_sum += sum(2**cfg.SUM_FRAC >> (peak - e)
                              for e, w in zip(tiles[t], tail, strict=True) if w)
        else:
            for first in range(0, len(keep), 4):
                word = [b for b in range(first, min(first + 4, len(keep))) if seen[t][b]]
                if not word:
                    continue
                top = max(tiles[t][b] for b in word)
                risen = top if peak is None else max(peak, top)
                if peak is not None:
                    total, kept_sum, coarse_sum = (
                        x >> (risen - peak) for x in (total, kept_sum, coarse_sum))
                peak = risen
                for b in word:
                    weight = 2**cfg.SUM_FRAC >> (peak - tiles[t][b])
                    total += weight
                    kept_sum += weight if keep[b] else 0
                    coarse_sum += weight if tail[b] else 0
        if turn:
            out[t] = keep, tail
    f = 2**cfg.F_FRAC if not total else 2**cfg.F_FRAC * kept_sum // total
    g = 0 if not total else 2**cfg.F_FRAC * coarse_sum // total
    return [out[t] for t in range(len(tiles))], (f, g, total, kept_sum, coarse_sum, peak)


def select_rows(tiles, seen, tau, lower, cfg):
    """models.head.select of [R, n] tiles."""
    entry = head.HeadTable(1, 0, tau=tau, coarse=lower)
    job = head.Job(8, 16, (entry,))
    return head.select(tiles, seen, Block(0, len(tiles[0]), 1024), entry, job, cfg)


def streams(kind, rng, rows, tiles, n):
    """Levels of [R, n] tiles of a kind that strains the sums."""
    shape = (tiles, rows, n)
    top = 1 << (TINY.SC_W - 1)
    if kind == "random":
        return rng.integers(-8, 8, shape)
    if kind == "rising":
        return np.arange(tiles * n).reshape(tiles, n).repeat(rows, 0).reshape(shape) - 30
    if kind == "falling":
        return -np.arange(tiles * n).reshape(tiles, n).repeat(rows, 0).reshape(shape)
    if kind == "equal":
        return np.full(shape, rng.integers(-top, top))
    if kind == "extremes":
        return rng.choice([-top, top - 1], shape)
    return np.floor(rng.normal(0, 4, shape)).astype(np.int64) + 3 * np.arange(tiles)[:, None, None]


@pytest.mark.parametrize("kind", ["random", "rising", "falling", "equal", "extremes", "drift"])
@pytest.mark.parametrize("tiles", [1, 2, 7])
def test_every_row_follows_the_definition(kind, tiles, seed):
    rng = np.random.default_rng([seed, tiles, len(kind)])
    rows, n = 12, 10
    level = streams(kind, rng, rows, tiles, n)
    seen = rng.random(level.shape) < rng.choice([0.1, 0.6, 1.0], (1, rows, 1))
    tau = int(rng.integers(-200, 1))
    lower = int(rng.integers(-300, tau + 1))
    cfg = TINY.replace(CV_FRAC=int(rng.choice([4, 8, 12, 16])))
    got = select_rows(list(level), list(seen), tau, lower, cfg)
    sums = got.sums
    for r in range(rows):
        want, (f, g, total, kept, coarse, peak) = one_row(
            level[:, r].tolist(), seen[:, r].tolist(), tau, lower, cfg)
        assert [m[r].tolist() for m in got.masks] == [keep for keep, _ in want]
        assert [w[r].tolist() for w in got.weights] == [tail for _, tail in want]
        assert (got.f[r], got.g[r], sums.total[r], sums.kept[r], sums.coarse[r]) == (
            f, g, total, kept, coarse)
        assert peak is None or sums.peak[r] == peak
    # What makes the widths enough, and f and g shares.
    assert (sums.kept + sums.coarse <= sums.total).all()
    assert (sums.total <= seen.sum(axis=(0, 2)) << cfg.SUM_FRAC).all()
    some = seen.any(axis=(0, 2))
    assert (sums.kept[some] > 0).all() and not sums.total[~some].any()
    assert (got.f >= 0).all() and (got.g >= 0).all() and (got.f + got.g <= 256).all()
    weights = np.stack(got.weights)
    assert ((weights == 0) | (weights <= 1 << (cfg.CV_FRAC - 1))).all() and not weights[~seen].any()
    # The tail leaves what is kept, and its share, as they are.
    alone = select_rows(list(level), list(seen), tau, None, cfg)
    assert (np.stack(alone.masks) == np.stack(got.masks)).all() and (alone.f == got.f).all()
    assert not alone.g.any() and not alone.weights


def test_the_sum_reaches_its_width_and_no_further():
    """All keys at the peak: P is keys * 1.0, which is one more than SUM_W - 1 bits hold."""
    sums = sads.start(1)
    level, seen = levels(*[0] * 16)
    for _ in range(TINY.KEYS_MAX // 16):
        sads.count(sums, level, seen, seen, np.zeros_like(seen), TINY)
    assert sums.total[0] == sums.kept[0] == 1 << (TINY.SUM_W - 1)
    assert sads.limit(sums, 1 << TINY.RATIO_FRAC, 0, TINY)[0] == 0


@pytest.mark.parametrize("field, value", [
    ("SUM_FRAC", 5), ("SUM_FRAC", 17), ("LOG_FRAC", 7), ("RATIO_FRAC", 3), ("F_FRAC", 13),
    ("VM_W", 3), ("VM_W", 17), ("STORE_BEATS", 1), ("VC_W", 1), ("VC_W", 9), ("CV_FRAC", 3),
    ("CV_FRAC", 17), ("STORE_BEATS", 31), ("PLACES", 3), ("PLACES", 16), ("LAND", 2), ("LAND", 128),
    ("LAND_BEATS", 8), ("LAND_BEATS", 24), ("LAND_BEATS", 8192), ("FIFO", 1), ("FIFO", 65),
    ("SORT", 2), ("COLS", 64),
])
def test_widths_outside_their_range_are_refused(field, value):
    with pytest.raises(ConfigError, match=f"{field} = {value}, legal: "):
        TINY.replace(**{field: value})
