# SPDX-License-Identifier: Apache-2.0
"""Predictors and selection rules against plain Python, and the row types by hand-made rows."""

import math

import numpy as np
import pytest

from models import dlzs
from models.lab import rowtypes
from models.lab.method import Call
from models.lab.rules import COSTS, PREDICTORS, Rule, best, predict
from models.lab.store import describe
from models.nets.common import dense
from models.quantise import SHRINK


def call(seed=1, heads=2, kv=1, rows=20, keys=24, d=8, causal=True):
    rng = np.random.default_rng(seed)
    q, k, v = (rng.normal(size=(n, m, d)) for n, m in ((heads, rows), (kv, keys), (kv, keys)))
    return Call(*(x.astype(np.float32) for x in (q, k, v)), causal)


def floor2(x):
    """Towards zero to a power of two."""
    return 0.0 if x == 0 else math.copysign(2.0 ** math.floor(math.log2(abs(x))), x)


def integers(x, bits):
    scale = float(np.abs(x).max()) / (2 ** (bits - 1) - 1)
    return [round(float(a) / scale) for a in x.ravel()], scale


@pytest.mark.parametrize("predictor", PREDICTORS)
def test_predicted_scores_against_plain_python(predictor):
    c = call()
    # A scale for each head: a large one takes nothing from another.
    c.q[1] *= 500
    got = predict(predictor, c)
    q_bits = 8 if predictor in ("int8", "msb4") else 16
    k, sk = integers(c.k, 8)
    shrink = SHRINK[dlzs.FLOOR]
    for h, i, j in ((0, 0, 0), (1, 7, 13), (0, 19, 23)):
        total = 0.0
        q, sq = integers(c.q[h], q_bits)
        for e in range(c.d):
            a, b = q[i * c.d + e], k[j * c.d + e]
            if predictor == "exact":
                total += float(c.q[h, i, e]) * float(c.k[0, j, e])
                continue
            if predictor in ("floor", "both"):
                a = floor2(a if abs(a) > 1 else 0) / shrink
            if predictor == "nearest":
                low = floor2(a if abs(a) > 1 else 0)
                a = (2 * low if abs(a) >= 1.5 * abs(low) else low) / SHRINK[dlzs.NEAREST]
            if predictor == "two-term":
                low = floor2(a if abs(a) > 1 else 0)
                a = (1.5 * low if abs(a) >= 1.5 * abs(low) else low) / SHRINK[dlzs.TWO_TERM]
            if predictor in ("k-floor", "both"):
                b = floor2(b) / shrink
            if predictor == "msb4":
                a, b = a // 16 * 16, b // 16 * 16
            total += a * b * sq * sk
        assert got[h, i, j] == pytest.approx(total / math.sqrt(c.d), rel=1e-4, abs=1e-5)


def test_best_takes_the_largest_and_of_equals_the_first():
    score = np.array([[3, 1, 3, 2, 3], [1, 1, 1, 1, 1], [5, 4, -np.inf, 9, -np.inf],
                      [-np.inf] * 5, [1, 2, 3, 4, 5]], np.float32)
    got = best(score, np.array([2, 3, 4, 1, 0]))
    assert got.astype(int).tolist() == [
        [1, 0, 1, 0, 0], [1, 1, 1, 0, 0], [1, 1, 0, 1, 0], [0] * 5, [0] * 5]


@pytest.mark.parametrize("interleaved", [True, False])
@pytest.mark.parametrize("segments", [1, 3])
def test_shares_of_segments_against_plain_python(segments, interleaved):
    c = call(keys=24, rows=20)
    rule = Rule("int8", share=0.25, segments=segments, interleaved=interleaved)
    got, score = rule.select(c), predict("int8", c)
    for h in range(2):
        for i in range(20):
            wanted = set()
            for s in range(segments):
                mine = [j for j in range(24) if j <= 4 + i
                        and (j % segments if interleaved else j * segments // 24) == s]
                order = sorted(mine, key=lambda j: (-score[h, i, j], j))
                wanted |= set(order[:math.ceil(len(mine) / 4)])
            assert set(np.flatnonzero(got[h, i])) == wanted


def test_radius_and_least_number():
    c = call()
    score = np.where(c.mask(), predict("floor", c), -np.inf)
    peak = score.max(axis=-1, keepdims=True)
    near = score >= peak - 0.5
    assert (Rule("floor", radius_nats=0.5).select(c) == near).all()
    got = Rule("floor", radius_nats=0.5, min_keys=6).select(c)
    assert (got & near).sum() == near.sum()
    assert (got.sum(axis=-1) == np.maximum(near.sum(axis=-1), np.minimum(
        6, c.mask().sum(axis=-1)))).all()


@pytest.mark.parametrize("threshold", [0.02, 0.1, 0.6])
def test_threshold_against_plain_python(threshold):
    c = call()
    got, score = Rule("int8", threshold=threshold).select(c), predict("int8", c)
    alone = 0
    for h in range(2):
        for i in range(20):
            seen = [math.exp(score[h, i, j]) for j in range(i + 5)]
            wanted = {j for j, e in enumerate(seen) if e >= threshold * sum(seen)}
            alone += not wanted
            wanted.add(seen.index(max(seen)))
            assert set(np.flatnonzero(got[h, i])) == wanted
    assert bool(alone) == (threshold > 0.05)


def test_everything_selected_is_dense_and_is_counted():
    c = call(causal=False)
    done = Rule("both").attend(c)
    assert np.allclose(done.out, dense(c), atol=1e-6)
    pairs = 2 * 20 * 24
    assert done.counts.visible == done.counts.selected == pairs
    assert done.counts.ops["predict"] == {"add4": pairs * 8, "add16": pairs * 8,
                                          "lz16": 2 * 20 * 8}
    assert done.counts.ops["select"] == {} and set(COSTS) == set(PREDICTORS)
    # One block of rows, a key is 8 codes of 5 bits: 2 heads read 24 keys each.
    assert done.counts.bytes["k predicted"] == 2 * 24 * 8 * 5 // 8


@pytest.mark.parametrize("settings, message", [
    (dict(predictor="guess"), "predictor = 'guess', legal: exact, int8"),
    (dict(share=0.0), "share = 0.0"), (dict(segments=0), "segments = 0"),
    (dict(radius_nats=-1.0), "radius_nats = -1.0"), (dict(threshold=1.0), "threshold = 1.0"),
    (dict(min_keys=-1), "min_keys = -1")])
def test_bad_settings_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        Rule(**settings)


def test_every_setting_has_a_name_of_its_own():
    assert len({str(describe(m)) for m in Rule.sweep()}) == len(Rule.sweep())


# ---- Row types -------------------------------------------------------------------------------


def test_row_types_by_hand():
    n = 256
    rng = np.random.default_rng(0)
    dominant = np.zeros(n)
    dominant[7] = 10  # e^10 = 22026 of 22026 + 255
    flat = np.arange(n) * 1e-3
    rng.shuffle(flat)
    spread = flat.copy()
    crowded = np.sort(flat)  # the top quarter is the last of four segments
    score = np.stack([dominant, spread, crowded])
    assert rowtypes.row_types(score).tolist() == [0, 1, 2]
    # Every fourth key is as good as any: interleaved segments do not care.
    assert rowtypes.row_types(score, interleaved=True).tolist() == [0, 1, 1]
    assert rowtypes.covered(score[2:], 4, 0.25, False) == [0.25]
    assert rowtypes.covered(score[2:], 4, 0.25, True) == [1.0]


def test_type_meter_counts_sampled_rows_and_stays_dense():
    c = call(rows=48, keys=288, heads=3)
    meter = rowtypes.TypeMeter(dense)
    assert np.array_equal(meter(c), dense(c))
    # Rows 15, 31, 47 of the 48 see 256, 272, 288 keys; three heads.
    assert [sum(meter.types[way][0]) for way in (0, 1)] == [9, 9]
    score = [(c.q[h, i] @ c.k[0, :241 + i].T) / math.sqrt(8) for i in (15, 31, 47)
             for h in range(3)]
    want = np.bincount([rowtypes.row_types(s[None])[0] for s in score], minlength=3)
    assert meter.types[0] == [want.tolist()]
    assert meter.found[0][0] == pytest.approx(sum(
        rowtypes.covered(s[None], 4, 0.25, False)[0] for s in score))
