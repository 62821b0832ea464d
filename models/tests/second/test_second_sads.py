# SPDX-License-Identifier: Apache-2.0
"""Selection by the row's sum: a row worked by hand, the definition key by key, and its bounds."""

import math

import numpy as np
import pytest

from models.config import ConfigError
from models.second import sads
from models.second.config import Config

TINY = Config.from_name("tiny")
ONE = np.zeros(1, bool)


def levels(*values):
    """A tile of one row, all of it visible."""
    return np.array([values]), np.ones((1, len(values)), bool)


def test_a_row_by_hand():
    """docs/second.md works this row: the peak rises, the sums shift, a key lies at the limit."""
    tau = -3 << TINY.LOG_FRAC
    sums = sads.start(1)
    first = levels(3, 1, 0, -2)
    sads.count(sums, *first, np.zeros((1, 4), bool), TINY)
    assert (sums.peak[0], sums.total[0], sums.kept[0]) == (3, 4096 + 1024 + 512 + 128, 0)

    assert sads.extrapolation(3, 1, TINY) == 768
    least = sads.limit(sums, 768, tau, TINY)
    # (5760 - 4096) * 3 + 4096 = 9088: log2 is 13 + 1/16, so lim = 13 + 1/16 - 3 - 12 + 3
    assert least[0] == 2
    tile, seen = levels(2, 1, 5, -9)
    kept = seen & (tile >= least[:, None])
    assert kept.tolist() == [[True, False, True, False]]
    sads.count(sums, tile, seen, kept, TINY)
    assert (sums.peak[0], sums.total[0], sums.kept[0]) == (5, 1440 + 512 + 256 + 4096, 4608)

    assert sads.extrapolation(3, 2, TINY) == 384
    least = sads.limit(sums, 384, tau, TINY)
    # (6304 - 4096) * 1.5 + 4096 = 7408: log2 is 12 + 12/16, so lim = 2 + 3/4
    assert least[0] == 3
    tile, seen = levels(3, 2, 4, 5)
    kept = seen & (tile >= least[:, None])
    assert kept.tolist() == [[True, False, True, True]]
    sads.count(sums, tile, seen, kept, TINY)
    assert (sums.peak[0], sums.total[0], sums.kept[0]) == (5, 6304 + 7680, 4608 + 7168)

    # 13984: log2 is 13 + 11/16, so lim = 3 + 11/16 and nothing of tile 0 reaches it
    assert sads.keep_last(sums, *first, tau, ONE, TINY).tolist() == [[False] * 4]
    assert sads.share(sums, ONE, TINY)[0] == 215


def test_what_reaches_the_limit_of_tile_0_enters_the_kept_sum():
    sums = sads.start(1)
    tile = levels(3, 2, -20, 3)
    sads.count(sums, *tile, np.zeros((1, 4), bool), TINY)
    kept = sads.keep_last(sums, *tile, -2 << TINY.LOG_FRAC, ONE, TINY)
    # P = 2.5, a quarter of it is 0.625: the whole octave that reaches it is the peak's
    assert kept.tolist() == [[True, False, False, True]]
    assert (sums.total[0], sums.kept[0]) == (10240, 8192)
    assert sads.share(sums, ONE, TINY)[0] == 204


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


def one_row(tiles, seen, tau, cfg):
    """(kept per tile, f) by the definition, key by key, in Python's integers."""
    peak, total, kept_sum, out = None, 0, 0, {}
    for turn in range(len(tiles) + 1):
        t = turn % len(tiles)
        least = None
        if turn and peak is not None:
            ratio = Config.RATIO_FRAC
            scale = 2**ratio if turn == len(tiles) else (len(tiles) * 2**ratio) // turn
            one = 2**cfg.SUM_FRAC
            x = (total - one) * scale // 2**ratio + one
            log = math.floor(2**cfg.LOG_FRAC * (x / 2 ** (x.bit_length() - 1) - 1))
            log += 2**cfg.LOG_FRAC * (x.bit_length() - 1)
            least = min(peak + math.ceil((log + tau) / 2**cfg.LOG_FRAC - cfg.SUM_FRAC), peak)
        keep = [bool(s) and turn > 0 and (least is None or e >= least)
                for e, s in zip(tiles[t], seen[t], strict=True)]
        if turn == len(tiles):
            kept_sum += sum(2**cfg.SUM_FRAC >> (peak - e)
                            for e, k in zip(tiles[t], keep, strict=True) if k)
        else:
            for first in range(0, len(keep), 4):
                word = [b for b in range(first, min(first + 4, len(keep))) if seen[t][b]]
                if not word:
                    continue
                top = max(tiles[t][b] for b in word)
                risen = top if peak is None else max(peak, top)
                if peak is not None:
                    total, kept_sum = total >> (risen - peak), kept_sum >> (risen - peak)
                peak = risen
                for b in word:
                    weight = 2**cfg.SUM_FRAC >> (peak - tiles[t][b])
                    total += weight
                    kept_sum += weight if keep[b] else 0
        if turn:
            out[t] = keep
    f = 2**cfg.F_FRAC if not total else 2**cfg.F_FRAC * kept_sum // total
    return [out[t] for t in range(len(tiles))], f, total, kept_sum, peak


def select_rows(tiles, seen, tau, cfg):
    """The stage's selection of [R, n] tiles, as models.second.head walks them."""
    everything = np.zeros(len(tiles[0]), bool)
    sums = sads.start(len(tiles[0]))
    sads.count(sums, tiles[0], seen[0], np.zeros_like(seen[0]), cfg)
    masks = [None] * len(tiles)
    for t in range(1, len(tiles)):
        least = sads.limit(sums, sads.extrapolation(len(tiles), t, cfg), tau, cfg)
        masks[t] = seen[t] & (tiles[t] >= least[:, None])
        sads.count(sums, tiles[t], seen[t], masks[t], cfg)
    masks[0] = sads.keep_last(sums, tiles[0], seen[0], tau, everything, cfg)
    return masks, sads.share(sums, everything, cfg), sums


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
    masks, f, sums = select_rows(list(level), list(seen), tau, TINY)
    for r in range(rows):
        want, share, total, kept, peak = one_row(
            level[:, r].tolist(), seen[:, r].tolist(), tau, TINY)
        assert [m[r].tolist() for m in masks] == want
        assert (f[r], sums.total[r], sums.kept[r]) == (share, total, kept)
        assert peak is None or sums.peak[r] == peak
    # What makes the widths enough, and f a share.
    assert (sums.kept <= sums.total).all()
    assert (sums.total <= seen.sum(axis=(0, 2)) << TINY.SUM_FRAC).all()
    some = seen.any(axis=(0, 2))
    assert (sums.kept[some] > 0).all() and not sums.total[~some].any()
    assert (f >= 0).all() and (f <= 256).all()


def test_the_sum_reaches_its_width_and_no_further():
    """All keys at the peak: P is keys * 1.0, which is one more than SUM_W - 1 bits hold."""
    sums = sads.start(1)
    level, seen = levels(*[0] * 16)
    for _ in range(TINY.KEYS_MAX // 16):
        sads.count(sums, level, seen, seen, TINY)
    assert sums.total[0] == sums.kept[0] == 1 << (TINY.SUM_W - 1)
    assert sads.limit(sums, 1 << TINY.RATIO_FRAC, 0, TINY)[0] == 0


@pytest.mark.parametrize("field, value", [
    ("SUM_FRAC", 5), ("SUM_FRAC", 17), ("LOG_FRAC", 7), ("RATIO_FRAC", 3), ("F_FRAC", 13),
    ("VM_W", 3), ("VM_W", 17), ("STORE_BEATS", 1),
])
def test_widths_outside_their_range_are_refused(field, value):
    with pytest.raises(ConfigError, match=f"{field} = {value}, legal: "):
        TINY.replace(**{field: value})
