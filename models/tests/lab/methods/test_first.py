# SPDX-License-Identifier: Apache-2.0
"""The first machine as a Method: its integers, settings by layer, counts."""

import dataclasses

import numpy as np
import pytest

from models import dlzs, fast, oracle, workloads
from models.config import ConfigError
from models.first import head, layer, plan
from models.first.config import Config
from models.head import Stats
from models.lab.methods.dense import Calibration, Dense
from models.lab.methods.first import FirstSofa, predicted_keys
from models.lab.methods.machine import core_comparisons
from models.lab.methods.method import Call, Projection
from models.layer import plan_heads_keys, predict_layer
from models.quantise import quantise, radius_to_int
from models.tiling import block_tiles

TINY = Config.from_name("tiny")
PAPER = Config.from_name("paper")


def random_call(seed=1, heads=4, kv_heads=2, rows=21, keys=30, d=16, spread=2.0, **fields):
    """A Call of normal random numbers, causal unless said otherwise."""
    rng = np.random.default_rng(seed)
    shapes = ((heads, rows, d), (kv_heads, keys, d), (kv_heads, keys, d))
    q, k, v = (rng.normal(size=s).astype(np.float32) for s in shapes)
    return Call(q * spread, k, v, **{"causal": True, **fields})


def captured(name):
    """A captured layer as a Call with its projection."""
    case = workloads.load_layer(name)
    p = case.projection
    none = np.zeros((0, 0, 0), np.float32)
    mode = 1 if case.rope_theta else 0
    return Call(case.q, case.k, case.v, case.causal, case.layer, 30, Projection(x=p.x, wq=none,
                                                                                wk=p.wk, wv=p.wv,
                                                                                bq=none, bk=p.bk,
                                                                                bv=p.bv,
                                                                                rope_theta=case.rope_theta,
                                                                                rope_mode=mode))


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("settings", [
    dict(quota=3, radius_nats=2.0, bc=8), dict(quota=None, radius_nats=None, bc=16, snap="nearest"),
    dict(quota=5, bc=8, interleaved=False, snap="two-term"),
    dict(quota=2, bc=4, widths={"SC_FRAC": 0, "KV_SLOTS": 16}), dict(dense_layers=(0, 3), bc=8)])
def test_integers_are_the_machine_s(settings, compiled, monkeypatch):
    if compiled and not fast.available():
        pytest.skip("numba is not installed")
    monkeypatch.setattr("models.lab.methods.first.available", lambda: compiled)
    method = FirstSofa(config="tiny", **settings)
    for call in (random_call(), random_call(2, causal=False, rows=9)):
        cfg = TINY.replace(TWO_TERM=int(method.snap == "two-term"), **settings.get("widths", {}))
        got = method.start()(call)
        stats, steps = Stats(), 0
        for h in range(len(call.q)):
            own, kv = slice(h, h + 1), slice(h // 2, h // 2 + 1)
            numbers, job = plan.plan(
                call.q[own], call.k[kv], call.v[kv], cfg, causal=call.causal, bc=method.bc,
                quota=method.quota, radius_nats=method.radius_nats,
                snap={"floor": 0, "nearest": 1, "two-term": 2}[method.snap],
                dense="dense_layers" in settings, interleaved=method.interleaved)
            want = head.run_job(numbers.q, numbers.k, numbers.v, numbers.k8, job, cfg)
            assert (got.out[own] == (want.out * numbers.sv).astype(np.float32)).all()
            assert (got.selected[h] == want.heads[0].selected).all()
            stats += want.stats
            steps += sum(-(-int(c) // 2) for b in want.heads[0].blocks
                         for phases in b.phases for p in phases for c in p.counts)
        assert got.counts.selected == stats.selected
        assert got.counts.visible == stats.visible
        for stream in ("q", "k8", "k", "v", "o"):
            assert got.counts.bytes[stream] == stats.bytes[stream], stream
        assert got.counts.ops["compute"]["cmp16"] == 2 * steps
        assert got.counts.ops["compute"]["shift32"] == stats.max_updates * (call.d + 1)


VARIANTS = [dict(), dict(radius_nats=2.0, quota=3), dict(dense_layers=(0,)),
            dict(phases=2)]


def projected(call, seed=9):
    """A call whose keys are made of a random X of 32 channels."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(call.k.shape[1], 32)).astype(np.float32)
    wk = rng.normal(size=(len(call.k), 32, call.d)).astype(np.float32)
    none = np.zeros((0, 0, 0), np.float32)
    return dataclasses.replace(call, k=x @ wk, projection=Projection(x, none, wk, wk, none, none,
                                                                     none))


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("settings", VARIANTS)
def test_no_head_moves_another(settings, compiled, monkeypatch):
    if compiled and not fast.available():
        pytest.skip("numba is not installed")
    monkeypatch.setattr("models.lab.methods.first.available", lambda: compiled)
    method = FirstSofa(config="tiny", bc=16, **settings)
    call = projected(random_call(rows=9, keys=20, spread=0.5))
    want = method.attend(call)
    # Query heads 0 and 1 share KV head 0, whose keys follow its weights.
    for factors, others in (((100, 1, 1), [1, 2, 3]), ((1, 512, 1), [2, 3]), ((1, 1, 1e3), [2, 3]),
                            ((1e-6, 1e-6, 1e-6), [2, 3])):
        q, k, v, wk = (x.copy() for x in (call.q, call.k, call.v, call.projection.wk))
        for x, factor in zip((q, k, v, wk), (*factors, factors[1]), strict=True):
            x[0] *= factor
        got = method.attend(dataclasses.replace(
            call, q=q, k=k, v=v, projection=dataclasses.replace(call.projection, wk=wk)))
        assert (got.out[others] == want.out[others]).all()
        assert (got.selected[others] == want.selected[others]).all()
        assert (got.out[0] != want.out[0]).any()


def outlier(call, first, factor):
    """The call with all tokens from ``first`` on that much larger."""
    parts = {name: getattr(call, name).copy() for name in "qkv"}
    for x in parts.values():
        x[:, first:] *= factor
    return dataclasses.replace(call, **parts)


@pytest.mark.parametrize("settings", VARIANTS[:-1])
def test_outlier_tokens(settings):
    call = random_call(rows=30, keys=30, spread=0.5)
    watch = Calibration()
    session = watch.start()
    session(outlier(call, 3, 0.25))
    session(call)
    peaks = watch.peaks()[0]
    assert peaks.q == tuple(np.abs(call.q).max(axis=(1, 2)).tolist()) and len(peaks.v) == 2
    plain = FirstSofa(config="tiny", bc=16, widths={"KV_SLOTS": 16}, **settings)
    method = dataclasses.replace(plain, peaks=watch.peaks())
    assert hash(method) == hash(dataclasses.replace(method))
    # Nothing saturates: the peaks are those of the data.
    want = method.attend(call)
    assert (want.out == plain.attend(call).out).all()
    # Row 18 is not the last of its block; the rows before do not see the tokens from it on.
    huge = outlier(call, 18, 1e4)
    got = method.attend(huge)
    assert (got.out[:, :18] == want.out[:, :18]).all()
    assert (got.selected[:, :18] == want.selected[:, :18]).all()
    # Values saturate: no output is beyond the largest value that was expected.
    assert np.abs(got.out).max() <= max(peaks.v) * 32768 / 32767
    # With scales of the data the same tokens take up all bits, of V alone already.
    values = dataclasses.replace(call, v=huge.v)
    exact = np.where(np.arange(30)[:, None] < 18, want.out, 0)
    errors = [oracle.relative_error(m.attend(values).out[:, :18], exact[:, :18])
              for m in (plain, method)]
    assert errors[1] == 0 and errors[0] > 0.05
    step = np.abs(values.v).max(axis=(1, 2)) / 32767
    off = np.abs(plain.attend(values).out[:, :18] - exact[:, :18]).max(axis=(1, 2))
    assert (off <= 2 * np.repeat(step, 2)).all()


def test_calibration():
    watch = Calibration(percentile=50)
    calls = [random_call(seed, layer=seed % 2, layers=2) for seed in range(4)]
    for call in calls:
        assert (watch.attend(call).out == Dense().attend(call).out).all()
    for number, peaks in watch.peaks().items():
        for name in "qkv":
            want = np.max([np.median(np.abs(getattr(call, name)), axis=(1, 2))
                           for call in calls[number::2]], axis=0)
            assert getattr(peaks, name) == pytest.approx(want, rel=1e-6)
    method, bare = (FirstSofa(config="tiny", bc=8, peaks=p) for p in (watch.peaks(), ()))
    assert (method.attend(calls[0]).out != bare.attend(calls[0]).out).any()
    with pytest.raises(ConfigError, match="peaks has no layer 2, legal: 0, 1"):
        method.attend(random_call(layer=2))
    with pytest.raises(ValueError, match="layer is not known and the method needs it"):
        method.attend(random_call(layer=None))
    with pytest.raises(ConfigError, match="peaks of q has 4 entries, legal: one for each of 2 he"):
        method.attend(random_call(heads=2))
    with pytest.raises(ConfigError, match="layer 1 has 2 query and 2 KV heads, legal: 4 and 2, as"):
        watch.attend(random_call(heads=2, layer=1))
    calls[0].k[0, 0, 0] = np.nan
    with pytest.raises(ConfigError, match="^k holds infinities or NaN"):
        watch.attend(calls[0])


def test_counts_by_hand():
    # Two heads on one KV head, 4 rows over 4 keys, causal: 10 visible pairs a head. There
    # is one tile, of which every row takes its best key: 4 pairs a head.
    call = random_call(heads=2, kv_heads=1, rows=4, keys=4, d=8)
    got = FirstSofa(config="tiny", bc=4, quota=1, radius_nats=None).attend(call).counts
    assert got.visible == 20 and got.selected == 8
    assert got.ops["predict"] == {"lz16": 64, "shift11": 160, "add15": 160}
    # A pass of one row: one run of 42 comparators, 5 beside it.
    assert got.ops["select"] == {"cmp15": 8 * 47}
    updates = got.ops["compute"].pop("shift32")
    assert updates == 0
    assert got.ops["compute"] == {"mul16x16": 2 * 8 * 8 + 8 * 8, "add32": 2 * 8 * 8,
                                  "cmp16": 16, "exp16": 8, "div32": 8}
    used = FirstSofa(config="tiny", bc=4, quota=1, radius_nats=None).attend(call).selected
    union = int(used.any(axis=1).sum())
    assert got.bytes == {"q": 128, "o": 128, "k": union * 16, "v": union * 16, "k8": 64}


def test_core_passes_by_hand():
    tiles = block_tiles(0, 4, 32, 16)
    selected = np.zeros((1, 4, 32), bool)
    selected[0, 0, 0:12:2] = True  # tile 0 of two: 6 keys, the quota: two passes; tile 1: one
    selected[0, 1, 1:9:2] = True  # tile 1: 4 keys: a second pass to find no more; tile 0: one
    # Rows 2 and 3: one pass a tile. A pass over 16 scores is two runs of the core.
    passes = (2 + 1) + (1 + 2) + 2 + 2
    assert core_comparisons(selected, np.ones((4, 32), bool), tiles, 6) == passes * (2 * 42 + 5)


def test_nearly_everything_kept_is_close_to_dense():
    call = random_call(5, rows=40, keys=40)
    want = Dense().attend(call).out
    assert want.shape == (4, 40, 16)
    for h in range(4):
        exact = oracle.dense_attention(call.q[h], call.k[h // 2], call.v[h // 2], causal=True)
        assert np.allclose(want[h], exact, atol=1e-5)
    got = FirstSofa(config="tiny", bc=8, quota=8, radius_nats=None).attend(call)
    assert got.counts.keep == 1.0
    assert oracle.relative_error(got.out, want) < 2e-3
    errors = [oracle.relative_error(m.attend(call).out, want) for m in (
        FirstSofa(config="tiny", bc=8, quota=4),
        FirstSofa(config="tiny", bc=8, quota=1, radius_nats=1.0))]
    assert 2e-3 < errors[0] < errors[1] < 1


def test_settings_by_layer():
    base = dict(config="tiny", bc=8, radius_nats=None)
    method = FirstSofa(**{**base, "bc": (8, 16)}, quota=(1, 4), dense_layers=[2])
    for number, quota, bc in ((0, 1, 8), (1, 4, 16)):
        call = random_call(7, layer=number, layers=2)
        want = FirstSofa(**{**base, "bc": bc}, quota=quota).attend(call)
        assert (method.attend(call).selected == want.selected).all()
    with pytest.raises(ConfigError, match=r"bc has 2 entries, legal: one for each of the 3 layers "
                                          r"of the model \(this is layer 0\)"):
        method.attend(random_call(layer=0, layers=3))
    assert hash(method) == hash(dataclasses.replace(method))


@pytest.mark.parametrize("name", workloads.list_layers())
def test_predicted_keys_are_those_of_a_layer(name):
    call = captured(name)
    p, few = call.projection, 96
    short = dataclasses.replace(
        call, q=call.q[:, :few], k=call.k[:, :few], v=call.v[:, :few],
        projection=dataclasses.replace(p, x=p.x[:few]))
    method = FirstSofa(phases=2, quota=8, radius_nats=6.0)
    got = method.attend(short)
    planned = layer.plan_layer(p.x[:few], p.wk, p.wv, short.q, PAPER, rope_theta=p.rope_theta,
                               causal=call.causal, quota=8, radius_nats=6.0)
    _, predict = predict_layer(planned, PAPER)
    k8, sk8 = predicted_keys(short, PAPER, got.counts)
    # Two KV heads as layers of their own, with this X8 and these codes and registers.
    for kv, made in enumerate(plan_heads_keys(
            p.x[:few].astype(float), p.wk.astype(float), PAPER, planned.mode, planned.rt)):
        own = dataclasses.replace(planned, **vars(made))
        assert (predict_layer(own, PAPER)[0][0] == k8[kv]).all() and made.sk8 == sk8[kv]
        if kv < 2:
            for h in range(call.group * kv, call.group * (kv + 1)):
                q, sq = quantise(short.q[h], 16)
                job = dataclasses.replace(planned.job, radius=radius_to_int(
                    6.0, sq, sk8[kv], call.d, 0, PAPER))
                done = layer.run_layer(dataclasses.replace(
                    own, q=q[None], wk=own.wk[:1], wv=own.wv[:1], job=job), PAPER)
                # The selection depends on Q and K8 alone; K and V come from elsewhere here.
                assert (got.selected[h] == done.heads[0].selected).all()
    ops, h, kv = got.counts.ops["predict"], p.x.shape[1], len(call.k)
    one = FirstSofa(quota=8).attend(short).counts.ops["predict"]
    # predicted_keys above has counted once more.
    assert ops["shift11"] - one["shift11"] == 2 * few * h * kv * call.d
    for stream, counted in (("x8", "k8"), ("codes", "w"), ("rope", "r"), ("k8_write", "wb")):
        assert got.counts.bytes[stream] == 2 * predict.bytes[counted]


def test_key_biases_count_with_rope():
    call = captured("smollm2_novel_s0512_l19")
    p, few = call.projection, 64
    bias = np.random.default_rng(3).normal(size=p.bk.shape).astype(np.float32) * 4
    with_bias = dataclasses.replace(
        call, q=call.q[:, :few], k=call.k[:, :few], v=call.v[:, :few],
        projection=dataclasses.replace(p, x=p.x[:few], bk=bias))
    k8, sk8 = predicted_keys(with_bias, PAPER, Dense().attend(with_bias).counts)
    x, wk = p.x[:few].astype(float), p.wk.astype(float)
    flat = x @ wk + bias[:, None]
    angle = np.outer(np.arange(few), p.rope_theta ** (-np.arange(0, call.d, 2) / call.d))
    exact = np.empty_like(flat)
    exact[..., 0::2] = flat[..., 0::2] * np.cos(angle) - flat[..., 1::2] * np.sin(angle)
    exact[..., 1::2] = flat[..., 0::2] * np.sin(angle) + flat[..., 1::2] * np.cos(angle)
    assert oracle.relative_error(k8 * sk8[:, None, None], exact) < 0.25
    none = predicted_keys(dataclasses.replace(with_bias, projection=dataclasses.replace(
        p, x=p.x[:few])), PAPER, Dense().attend(with_bias).counts)
    assert oracle.relative_error(none[0] * none[1][:, None, None], exact) > 0.5


# ---- errors -------------------------------------------------------------------------------------


@pytest.mark.parametrize("settings, message", [
    (dict(config="huge"), "no configuration 'huge'; know tiny, small, paper"),
    (dict(snap="round"), "snap = 'round', legal: floor, nearest, two-term"),
    (dict(phases=3), "phases = 3, legal: integer 1..2"),
    (dict(bc=48), "bc = 48, legal: power of two 32..64"),
    (dict(quota=(4, 65)), "quota = 65, legal: integer 1..64"),
    (dict(radius_nats=-1.0), "radius_nats = -1.0, legal: 0 and above, or None"),
    (dict(peaks={-1: None}), "layer of peaks = -1, legal: integer 0..65535"),
    (dict(peaks={2: 3.5}), "peaks of layer 2 = 3.5, legal: Peaks"),
    (dict(peaks=None), "peaks = None, legal: a mapping, layer -> Peaks"),
    (dict(dense_layers=0), "dense_layers = 0, legal: numbers of layers, for instance"),
    (dict(dense_layers=(-1,)), "dense_layers = -1, legal: integer 0..65535"),
    (dict(widths={"SC_FRACS": 1}), "widths: no field 'SC_FRACS', legal: ADDR_W, BC_MAX"),
    (dict(widths={"SC_FRAC": 9}), "SC_FRAC = 9, legal: integer 0..8")])
def test_bad_settings(settings, message):
    with pytest.raises(ConfigError, match=message):
        FirstSofa(**settings)


def test_bad_calls():
    call = random_call()
    with pytest.raises(ConfigError, match="layer 0 has no projection, legal: phases = 1"):
        FirstSofa(config="tiny", bc=8, phases=2).attend(call)
    with pytest.raises(ConfigError, match="31 causal query rows over 30 keys, legal: up to 30"):
        FirstSofa(config="tiny", bc=8).attend(random_call(rows=31))
    wrong = Projection(*(np.zeros((2, 4, 16), np.float32),) * 7)
    with pytest.raises(ConfigError, match=r"projection has x .*, legal: \[30, H\], \[2, H, 16\]"):
        FirstSofa(config="tiny", bc=8, phases=2).attend(dataclasses.replace(call, projection=wrong))


def test_sweep_goes_from_dense_to_sparse():
    case = workloads.load_case("minilm_novel_s0512_l03")
    call = Call(case.q[:1], case.k[:1], case.v[:1])
    keep = [method.attend(call).counts.keep for method in FirstSofa.sweep()]
    assert keep == sorted(keep, reverse=True) and keep[0] > 0.7 and keep[-1] < 0.06
    assert dlzs.SNAPS[0] == FirstSofa().snap
