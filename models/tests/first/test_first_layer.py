# SPDX-License-Identifier: Apache-2.0
"""Layers from X: planning, prediction and generation together, counts, bounds, errors."""

import numpy as np
import pytest

from models import dlzs, kvgen, layer, oracle, rope, workloads
from models.bounds import generation_bound, prediction_bound
from models.config import ConfigError
from models.first import bounds
from models.first.config import Config
from models.first.head import run_job
from models.first.layer import plan_layer, run_layer
from models.layer import Traffic

TINY = Config.from_name("tiny")
SMALL = Config.from_name("small")
PAPER = Config.from_name("paper")


def make(keys=40, h=32, d=16, heads=4, kv_heads=2, rows=None, seed=1):
    """Random float x, wk, wv, q; a few channels of x are much larger than the others."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(keys, h)) * np.where(rng.random(h) < 0.1, 8, 1)
    wk, wv = rng.normal(size=(2, kv_heads, h, d)) / np.sqrt(h)
    q = rng.normal(size=(heads, keys if rows is None else rows, d)) * 1.5
    return x, wk, wv, q


def plan(cfg=TINY, sizes=None, **settings):
    """A plan for make(**sizes) with tiles of 8 keys and a quota of 2."""
    return plan_layer(*make(**(sizes or {})), cfg, **{"bc": 8, "quota": 2, **settings})


# ---- planning -----------------------------------------------------------------------------------


def test_smoothing_keeps_the_product_and_brings_the_channels_together():
    x, wk, wv, q = make(h=64)
    a = layer.smooth(x, wk, 0.5)
    assert np.allclose((x * a) @ (wk[0] / a[:, None]), x @ wk[0])
    before, after = (np.abs(y).max(axis=0) for y in (x, x * a))
    assert after.max() / np.median(after) < 0.5 * before.max() / np.median(before)
    # A channel that is never used keeps its scale.
    x[:, 3], wk[:, 5] = 0, 0
    assert (layer.smooth(x, wk, 0.5)[[3, 5]] == 1).all()
    off = plan(smoothing=None)
    assert (off.smooth == 1).all() and (off.smooth8 == 1).all()


def test_exponent_is_the_largest_that_cannot_wrap():
    rng = np.random.default_rng(4)
    seen = set()
    for size in range(1, 8):
        codes = rng.integers(0, 8, (64, 16)) * (rng.random((64, 16)) < 0.1)
        codes[:, 0] = size
        codes = codes | rng.integers(0, 2, codes.shape) << 3
        x8 = np.full((1, 64), 127)
        exp = layer.choose_exp(x8, codes, TINY)
        top = 1 << (TINY.SC_W - 1)
        # The worst signs for output 0.
        worst = np.where(codes[:, 0] >> 3, -127, 127)[None]
        for sign in (1, -1):
            sums = dlzs.predict_sums(sign * worst, codes, TINY, exp)
            assert np.abs(sums).max() <= layer.largest_sums(x8, codes, TINY, exp) < top
        if exp < 8:
            sums = dlzs.predict_sums(-worst, codes, TINY, exp + 1)
            assert np.abs(sums).max() >= 0.9 * top
        seen.add(exp)
    assert seen == {6, 7, 8}
    with pytest.raises(ConfigError, match="SC_W = 15"):
        layer.choose_exp(np.full((1, 4096), 127), np.full((4096, 8), 7), TINY)


def test_bias_is_the_mean_loss_of_truncation():
    rng = np.random.default_rng(8)
    x8 = rng.integers(-127, 128, (2000, 128))
    codes = rng.integers(0, 16, (128, 32))
    for exp in (8, 4, 0):
        sums = dlzs.predict_sums(x8, codes, SMALL, exp)
        exact = x8 @ dlzs.decode_weights(codes) * 2.0 ** (SMALL.SC_FRAC + exp - 8)
        half = 1 if SMALL.SC_W > 16 else 0
        loss = (exact - sums).mean()
        assert loss > 20 and abs(layer.expected_bias(codes, SMALL, exp) - half - loss) < 1


def test_shifts_use_the_range_without_saturation():
    for theta in (0.0, 1e3):
        z = plan(sizes=dict(h=64, seed=3), rope_theta=theta)
        k, v = kvgen.project(z.x, z.wk[0], z.wv[0], z.kg_shift_k, z.kg_shift_v, z.mode, z.rt)
        result = run_layer(z, TINY)
        for y in (result.k, result.v):
            # With RoPE a pair may grow by sqrt(2), but not to the rails.
            assert 32767 / 2 / 1.5 < np.abs(y.astype(int)).max() < 32767
        assert (result.k[0] == k).all() and (result.v[0] == v).all()
    acc = np.full((1, 2), 30000 << 3)
    eighth = np.array([[11585, 11585]])
    assert layer.choose_shift(acc, rope.OFF, None) == 3
    assert layer.choose_shift(acc, rope.INTERLEAVED, eighth) == 4
    t = np.random.default_rng(1).normal(size=100_000) * 1000
    # 127 << 4 is 2 sigma, 127 << 5 is 4: the second costs less.
    assert layer.choose_shift8(np.rint(t).astype(int)) == 5


def test_scales_give_back_the_floats():
    x, wk, wv, q = make(h=64, d=16)
    for theta, mode, pairs in ((0.0, 0, ""), (500.0, 1, "interleaved"), (500.0, 2, "half")):
        z = plan_layer(x, wk, wv, q, TINY, rope_theta=theta, mode=mode, bc=8)
        result = run_layer(z, TINY)
        k = x @ wk if not mode else workloads.rope(x @ wk, theta, pairs)
        assert oracle.relative_error(result.k * z.sk, k) < 1e-3
        assert oracle.relative_error(result.v * z.sv, x @ wv) < 1e-3
        # 4-bit codes: 15 to 20 % of error, and no more than noise in the scale.
        k8 = result.k8.astype(float)
        assert 0.05 < oracle.relative_error(k8 * z.sk8, k) < 0.25
        assert abs((k8 * k).sum() / np.square(k8).sum() / z.sk8 - 1) < 0.05


def test_biases_in_the_weights():
    x, wk, wv, q = make(h=24, d=16)
    bk, bv = np.random.default_rng(9).normal(size=(2, 2, 16))
    wide = layer.with_bias(x, wk, wv, bk, bv)
    assert wide[0].shape == (40, 32)
    assert np.allclose(wide[0] @ wide[1], x @ wk + bk[:, None])
    assert np.allclose(wide[0] @ wide[2], x @ wv + bv[:, None])
    z = plan_layer(*wide, q, TINY, rope_theta=100.0, bc=8)
    result = run_layer(z, TINY)
    k = workloads.rope(x @ wk + bk[:, None], 100.0)
    assert oracle.relative_error(result.k * z.sk, k) < 1e-3
    # Without RoPE the bias of K is invisible to softmax, and that of V is added afterwards.
    mask = np.ones((40, 40), bool)
    plain = oracle.attention(q[0], x @ wk[0], x @ wv[0], mask)
    biased = oracle.attention(q[0], x @ wk[0] + bk[0], x @ wv[0] + bv[0], mask)
    assert np.allclose(plain + bv[0], biased)
    assert not np.allclose(oracle.attention(q[0], k[0], x @ wv[0], mask), plain, atol=1e-3)


@pytest.mark.parametrize("sizes, settings, message", [
    (dict(h=36), {}, "model dimension = 36"), (dict(h=72), {}, "model dimension = 72"),
    (dict(d=12), {}, "d = 12"), (dict(heads=3), {}, "heads = 3, legal: multiple of kv_heads = 2"),
    (dict(keys=257), {}, "keys = 257"), ({}, dict(quota=99), "quota = 99"),
    ({}, dict(mode=1), "rope_theta = 0"), ({}, dict(mode=3, rope_theta=9.0), "mode = 3"),
    (dict(h=64), dict(cfg=TINY.replace(WGT_WORDS=256)), "512 words, legal: 256"),
])
def test_bad_plans(sizes, settings, message):
    with pytest.raises(ConfigError, match=message):
        plan(sizes=sizes, **settings)


def test_magnitudes():
    x, wk, wv, q = make(keys=12, d=8)
    for factor in (1e-9, 1e-150):
        z = plan_layer(x * factor, wk, wv * 1e9, q, TINY, bc=8, dense=True)
        assert z.job.scale_shift == 47 and z.job.scale_m < 1 << 15
        got, v = run_layer(z, TINY), x @ wv
        # Every weight is the same.
        want = v.mean(axis=1, keepdims=True) * factor * 1e9
        assert np.abs(got.out * z.sv - np.repeat(want, 2, axis=0)).max() < 2e-3 * np.abs(
            v).max() * factor * 1e9
    with pytest.raises(ConfigError, match=r"q.k of row \d+ of head \d: scores .* legal: within"):
        plan_layer(x, wk, wv, q * 1e6, TINY, bc=8)
    for i, name in enumerate(("x", "wk", "wv", "q")):
        parts = list(make())
        parts[i][0, 0] = np.nan
        with pytest.raises(ConfigError, match=f"^{name} holds infinities or NaN, legal: finite"):
            plan_layer(*parts, TINY)


def test_bad_weights():
    x, wk, wv, q = make()
    with pytest.raises(ConfigError, match="wv has shape"):
        plan_layer(x, wk, wv[:1], q, TINY)
    with pytest.raises(ConfigError, match="x has shape"):
        plan_layer(x[None], wk, wv, q, TINY)


# ---- running ------------------------------------------------------------------------------------


@pytest.mark.parametrize("cfg, causal, dense", [
    (TINY, True, False), (TINY, False, False), (TINY, True, True), (SMALL, True, False),
    (TINY.replace(KV_SLOTS=16), True, False),
])
def test_keys_are_made_once_and_only_when_wanted(cfg, causal, dense):
    z = plan(cfg, dict(keys=70, seed=5), causal=causal, dense=dense, bc=16, quota=5,
             radius_nats=1.0, rope_theta=50.0, mode=rope.HALF)
    got = run_layer(z, cfg)
    made_total = 0
    for kv in range(2):
        known, order = set(), []
        for h in (2 * kv, 2 * kv + 1):
            for block in got.heads[h].blocks:
                at = 0
                for tile, phases, made in zip(block.tiles, block.phases, block.made, strict=True):
                    for phase, new in zip(phases, made, strict=True):
                        wanted = tile.keys[phase.loaded].tolist()
                        assert new.tolist() == [k for k in wanted if k not in known]
                        assert block.stats.reused[at] == len(wanted) - len(new)
                        assert block.stats.generated[at] == len(new)
                        known.update(wanted)
                        order += new.tolist()
                        at += 1
        used = np.zeros(70, bool)
        for h in (2 * kv, 2 * kv + 1):
            used |= got.heads[h].selected.any(axis=0)
        assert known == set(order) == set(np.flatnonzero(used)) and len(order) == len(known)
        assert (got.valid[kv] == used).all() and got.order[kv].tolist() == order
        made_total += len(order)
    stats = got.stats
    assert sum(stats.generated) == made_total
    assert sum(stats.generated) + sum(stats.reused) == sum(stats.union)
    if not dense:
        assert made_total < 140
    # The attention itself: the same as that of given K, V and K8.
    same = run_job(z.q, got.k, got.v, got.k8, z.job, cfg)
    assert (same.out == got.out).all() and same.stats.nsteps == stats.nsteps


def test_a_later_job_takes_over_the_valid_bits():
    z = plan(sizes=dict(keys=64, rows=8), causal=True)
    first = run_layer(z, TINY)
    again = run_layer(z, TINY, valid=first.valid)
    assert sum(again.stats.generated) == 0 and (again.out == first.out).all()
    assert (again.valid == first.valid).all() and first.valid.any() and not first.valid.all()
    # 64 bits: one beat a KV head, read in addition.
    assert again.stats.bytes["x"] == first.stats.bytes["x"] - 8 * sum(first.stats.generated) * 8 \
        + 2 * 8
    some = first.valid.copy()
    some[0, first.order[0][-1]] = False
    assert sum(run_layer(z, TINY, valid=some).stats.generated) == 1


def test_valid_image():
    bits = np.zeros((2, 70), bool)
    bits[0, [0, 9, 69]], bits[1, 63] = True, True
    image = layer.pack_valid(bits, TINY)
    assert image.shape == (2, 16) and image.dtype == np.uint8
    assert image[0].tolist() == [1, 2, 0, 0, 0, 0, 0, 0, 32] + [0] * 7
    assert image[1].tolist() == [0] * 7 + [128] + [0] * 8


def test_counts_and_bounds_by_hand():
    """5 keys, H = 16, d = 8, one head, dense, tiny: ROWS 4, COLS 4, bus of 8 bytes."""
    z = plan(sizes=dict(keys=5, h=16, d=8, heads=1, kv_heads=1), dense=True, rope_theta=9.0,
             mode=rope.HALF)
    got = run_layer(z, TINY)
    # Chunks of 4 places: pairs 0, 1 are dims 0 4 1 5, pairs 2, 3 dims 2 6 3 7: one bus word each.
    # Two groups of 4 and 1 tokens; a word of codes is 2 bytes.
    assert got.predict.bytes == {**dict.fromkeys(got.predict.bytes, 0), "w": 2 * 2 * 32,
                                 "k8": 2 * 5 * 16, "r": 2 * 5 * 16, "wb": 2 * 5 * 8}
    assert prediction_bound(z, TINY) == 2 * (max(16, 4 + 4 * 4) + max(16, 4 + 4))
    # Two blocks (4 rows and 1), one tile of 5 keys each: made once, read once.
    stats = got.stats
    assert (stats.generated, stats.reused) == ([5, 0], [0, 5])
    weights = 4 * 16 * 8  # 2d = 16 outputs in 4 passes
    assert stats.bytes["x"] == 5 * (32 + 16) + weights
    assert stats.bytes["wb"] == 5 * 32 + 8 and stats.bytes["k"] == stats.bytes["v"] == 80
    assert stats.bytes["q"] == stats.bytes["o"] == 80 and stats.bytes["k8"] == 0
    cycles, bound = bounds.layer_bounds(z, got, TINY)
    assert cycles == prediction_bound(z, TINY)
    # 3 pair steps of 8; Q 10, K and V 20, X and RT 30, weights 64 beats; 4 passes of 16 a token.
    assert bound.parts() == (0, 48, 48, 10 + 20 + 30 + 64, 5 * 4 * 16, 10 + 20 + 1)
    assert bound.measured == 320
    # Weights, then the first block, which generates, then 3 steps of the second.
    assert bounds.ordered_bound(z, got, TINY) == cycles + 64 + 320 + 24
    # X and RT 48 bytes a token, K and V 32, MACs 2 * 16 * 8 a token.
    assert layer.traffic(z, got, TINY) == {
        "on-demand": Traffic(5 * 256, weights + 5 * 48 + 5 * 32, 5 * 32 + 8),
        "all": Traffic(5 * 256, weights + 5 * 48 + 10 * 32, 5 * 32),
        "per-block": Traffic(10 * 256, weights + 10 * 48, 0),
        "per-row": Traffic(5 * 256, weights + 5 * 48 + 25 * 32, 5 * 32),
    }


@pytest.mark.parametrize("h, cycles", [(16, 8 // 4 * 32), (40, 8 // 2 * 40)])
def test_bound_of_generation_counts_packed_groups(h, cycles):
    """8 tokens in groups of 4, drained in 32 cycles, while X fits half its memory, else of 2."""
    cfg = Config.from_parameters({"ROWS": 32, "COLS": 4, "D_MAX": 16, "BC_MAX": 16, "BUS_BYTES": 8,
                                  "KEYS_MAX": 64, "H_MAX": 64, "KG_TOK": 2})
    z = plan(sizes=dict(keys=5, h=h, d=8, heads=1, kv_heads=1), dense=True)
    assert generation_bound(8, z, cfg).kvgen == cycles


@pytest.mark.parametrize("kv_heads, d, chunk_words", [
    # (chunks) x (bus words a token writes): heads of 8 pack two to a chunk of 16 rows.
    (3, 8, [2, 1]), (2, 16, [1, 1]), (1, 40, [2, 2, 1]), (1, 64, [2, 2, 2, 2]),
])
def test_writes_of_predicted_keys(kv_heads, d, chunk_words):
    """small: ROWS 16, bus of 16 bytes; half-split pairs lie d/2 bytes apart."""
    parts = dlzs.chunks(kv_heads, d, SMALL)
    got = [layer.chunk_beats(p, 32, d, rope.HALF, SMALL)[2] for p in parts]
    if d == 40:
        # Places 0..15: dims 0..7 and 20..27; 16..31: 8..15, 28..35; 32..39: 16..19, 36..39.
        chunk_words = [2, 3, 2]
    assert got == chunk_words
    assert [layer.chunk_beats(p, 32, d, rope.OFF, SMALL)[1] for p in parts] == [0] * len(parts)


@pytest.mark.parametrize("name", workloads.list_layers())
def test_error_of_a_real_layer(name):
    """Against float64 attention over the same keys, with K and V of float64 projections."""
    case = workloads.load_layer(name)
    p = case.projection
    z = plan_layer(p.x, p.wk, p.wv, case.q, PAPER, rope_theta=case.rope_theta, causal=case.causal,
                   quota=8, radius_nats=6.0)
    got = run_layer(z, PAPER)
    x, wk, wv = (a.astype(np.float64) for a in (p.x, p.wk, p.wv))
    k, v = workloads.rope(x @ wk, case.rope_theta), x @ wv
    assert oracle.relative_error(got.k * z.sk, k) < 2e-4
    assert oracle.relative_error(got.v * z.sv, v) < 2e-4
    assert oracle.relative_error(got.k8 * z.sk8, k) < 0.19
    whole, alone = [], []
    for h in range(case.n_heads):
        kv, chosen = h // case.group, got.heads[h].selected
        whole.append(oracle.relative_error(
            got.out[h] * z.sv, oracle.attention(case.q[h], k[kv], v[kv], chosen)))
        alone.append(oracle.relative_error(got.out[h] * z.sv, oracle.attention(
            z.q[h] * z.sq, got.k[kv] * z.sk, got.v[kv] * z.sv, chosen)))
    assert max(alone) < 6e-4 and max(whole) < 9e-4 < 0.002
    assert 0.05 < got.stats.keep < 0.2
