# SPDX-License-Identifier: Apache-2.0
"""Predictors and selection rules against plain Python, and the row types by hand-made rows."""

import math

import numpy as np
import pytest

from models import dlzs, plan
from models.lab.measure import rowtypes
from models.lab.measure.store import describe
from models.lab.methods.method import Call
from models.lab.methods.rules import COSTS, PREDICTORS, Rule, predict
from models.lab.methods.twopass import TwoPass
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


@pytest.mark.parametrize("causal", [True, False])
def test_the_mean_of_v_stands_in_for_what_is_dropped(causal):
    """Rows at positions 28 .. 199 of 200 keys: two blocks of 128 and 44 rows when causal."""
    c = call(rows=172, keys=200, causal=causal)
    rule = Rule("int8", threshold=0.01, mean=True)
    done, score = rule.attend(c), predict("int8", c)
    bare = Rule("int8", threshold=0.01)
    for h in range(2):
        for i in (0, 3, 4, 127, 128, 171):
            keys = 29 + i if causal else 200
            e = np.exp(score[h, i, :keys] - score[h, i, :keys].max())
            chosen = e >= 0.01 * e.sum()
            if causal and 28 + i < 32:
                chosen[:] = True  # and so the mean has no part
            # Block 0 begins at position 28, block 1 at 156, whose last multiple of 32 is 128.
            g = (32 if i < 128 else 128) if causal else 200
            exact = np.exp(c.logits()[h, i, :keys][chosen])
            f = e[chosen].sum() / e.sum()
            want = f * (exact @ c.v[0, :keys][chosen]) / exact.sum() + (1 - f) * c.v[0, :g].mean(0)
            assert done.out[h, i] == pytest.approx(want, abs=1e-5)
            assert (done.selected[h, i, :keys] == chosen).all()
    more, less = rule.count(c, done.selected), bare.count(c, done.selected)
    assert more.cost() > less.cost() and more.bytes["mean"] == 2 * 8 * 2  # 2 blocks, d, bytes
    assert not np.allclose(done.out, bare.attend(c).out)


@pytest.mark.parametrize("blend", [True, False])
def test_two_passes_over_a_tile_against_plain_python(blend):
    """The limit of a tile knows the tile; the share that is kept weighs the mean of V."""
    c = call(rows=96, keys=96)
    method = TwoPass(tau=2.0**-4, bc=16, widths={"COLS": 16, "VM_W": 16}, fall=0.0, blend=blend)
    done, cfg = method.attend(c), method.machine()
    numbers, job = plan.plan(c.q, c.k, c.v, cfg, causal=True, bc=16, tau=2.0**-4, fall=0.0,
                             snap=dlzs.TWO_TERM)
    dropped = 0
    for h, i in ((0, 31), (0, 32), (1, 60), (1, 95)):
        # One block, so 6 interleaved tiles of 16.
        score = dlzs.scores(dlzs.encode(numbers.q[h], dlzs.TWO_TERM), numbers.k8[0], cfg)[i]
        level = score >> job.table[h].octave
        peak = total = kept = None
        chosen = set()
        for t in range(6):
            keys = [j for j in range(t, 96, 6) if j <= i]
            for at in range(0, 16, 4):
                word = [j for j in range(t, 96, 6)[at : at + 4] if j <= i]
                if not word:
                    continue
                top = max(int(level[j]) for j in word)
                if peak is None:
                    peak, total, kept = top, 0, 0
                if top > peak:
                    total, kept, peak = total >> top - peak, kept >> top - peak, top
                total += sum(4096 >> min(13, peak - int(level[j])) for j in word)
            if peak is None:
                continue
            x = ((total - 4096) * (256 * 6 // (t + 1)) >> 8) + 4096
            lead = x.bit_length() - 1
            log16 = 16 * lead + ((x << 4 >> lead) & 15)
            least = min(peak, math.ceil((log16 - 64 - 12 * 16) / 16 + peak))
            mine = [j for j in keys if i < 32 or level[j] >= least]
            kept += sum(4096 >> min(13, peak - int(level[j])) for j in mine)
            chosen |= set(mine)
        assert set(np.flatnonzero(done.selected[h, i])) == chosen
        f = 1.0 if i < 32 or not blend else (256 * kept // total) / 256
        own = sorted(chosen)
        exact = np.exp(c.logits()[h, i, own])
        want = f * (exact @ c.v[0, own]) / exact.sum() + (1 - f) * c.v[0, :32].mean(axis=0)
        assert done.out[h, i] == pytest.approx(want, abs=1e-3)
        dropped += i + 1 - len(chosen)
    assert dropped > 20 and done.counts.selected == done.selected.sum()
    with pytest.raises(ValueError, match="phases, coarse, quota, radius_nats or dense"):
        TwoPass(phases=2)


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
