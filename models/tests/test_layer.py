# SPDX-License-Identifier: Apache-2.0
"""Layers from X: means from mean rows, which keys are made and when, counts, errors."""

from dataclasses import replace

import numpy as np
import pytest

from models import head, oracle, rope, workloads
from models import layer as first
from models.config import Config, ConfigError
from models.layer import plan_layer, project_means, run_layer
from models.tiling import bands, mean_span

TINY = Config.from_name("tiny")
SMALL = Config.from_name("small").replace(TWO_TERM=1)


def make(keys=70, rows=24, h=32, d=8, heads=4, kv_heads=2, seed=1):
    """Random float x, wk, wv, q; a few channels of x are much larger than the others."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(keys, h)) * np.where(rng.random(h) < 0.1, 8, 1)
    wk, wv = rng.normal(size=(2, kv_heads, h, d)) / np.sqrt(h)
    return x, wk, wv, rng.normal(size=(heads, rows, d)) * 1.5


def plan(sizes=None, **settings):
    """A sparse causal plan for make(**sizes), 24 rows at the end of 70 keys."""
    return plan_layer(*make(**(sizes or {})), TINY,
                      **{"bc": 16, "causal": True, "tau": 0.06, "fall": 0.0, "rope_theta": 50.0,
                         **settings})


# ---- means --------------------------------------------------------------------------------------


def test_a_mean_row_by_hand():
    """The example of docs/second.md, and halves, signs and the upper end."""
    z = plan(sizes=dict(keys=3, rows=3, heads=1, kv_heads=1), causal=False)
    x = np.zeros((1, 3, 32), np.int16)
    x[0, :, 0], x[0, :, 1], x[0, :, 2] = [100, 101, 101], [-1, -2, -2], [2, 2, 3]
    xm = head.means_of(x, 3, z.job, TINY, 16)[0]
    assert xm[0, :4].tolist() == [101, -2, 2, 0]
    halves = head.means_of(np.array([[[1, -1, 32767], [2, -2, 32767]]], np.int16), 2, z.job, TINY,
                           16)
    assert halves.tolist() == [[[2, -1, 32767]]]
    wv = np.zeros((1, 32, 8), np.int16)
    wv[0, :2, 0], wv[0, 0, 1], wv[0, 0, 2], wv[0, 0, 3] = [300, 50], 10, -10, 32767
    # 101*300 - 2*50 = 30200, in eighths 3775, in units of 256 14.7; 1010 / 8 is 126 and rounds to
    # 0, -126 as well; 3309467 / 8 saturates.
    got = project_means(replace(z, xm=xm, wv=wv, kg_shift_v=np.array([3])), TINY)
    assert got.tolist() == [[[15, 0, 0, 127, 0, 0, 0, 0]]]
    # 3775 in units of 16; VM_W = 16 keeps V as it is.
    fine = project_means(replace(z, xm=xm, wv=wv, kg_shift_v=np.array([3])), TINY.replace(VM_W=12))
    assert fine[0, 0, :3].tolist() == [236, 8, -8]
    whole = project_means(replace(z, xm=xm, wv=wv, kg_shift_v=np.array([3])), TINY.replace(VM_W=16))
    assert whole[0, 0, :4].tolist() == [3775, 126, -126, 32767]


def assert_means_close(z, got, cfg):
    """V of the mean of X against the mean of V of the keys. X is off by half a unit in each
    channel, both V by half of one, and both are then rounded to VM_W bits."""
    unit = 2.0 ** (16 - cfg.VM_W)
    of_v = head.means_of(got.v, z.q.shape[1], z.job, cfg).astype(int)
    for kv, shift in enumerate(z.kg_shift_v):
        weight = np.abs(z.wv[kv].astype(float)).sum(axis=0).max()
        bound = 1 + (1 + weight / 2.0 ** (shift + 1)) / unit
        assert np.abs(got.means[kv] - of_v[kv]).max() <= bound
    # The bound is far off.
    assert np.abs(got.means - of_v).max() <= (1 if cfg.VM_W == 8 else 2) and got.means.any()


@pytest.mark.parametrize("causal", [True, False])
def test_the_mean_of_x_gives_the_mean_of_v(causal):
    z = plan(dict(keys=120, rows=100), causal=causal, q_peaks=(4.0,) * 4)
    assert z.xm.shape == (25, 32) and z.xm.dtype == np.int16
    for row in (0, 60, 96):
        _, g = mean_span(row, 120, causal, z.job.offset)
        assert np.abs(z.xm[row // 4] - z.x[:g].mean(axis=0)).max() <= 0.5
    assert_means_close(z, run_layer(z, TINY), TINY)


# ---- keys ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("band, select", [(1, head.SUM), (2, head.SUM), (4, head.SUM),
                                          (2, head.SORT), (1, head.DENSE)])
def test_keys_are_made_once_and_only_when_wanted(band, select):
    """tiny has places for 4 blocks of d = 8: both heads of a group go together in bands of up to
    2, one after the other in bands of 4."""
    z = plan(band=band, select=select, quota=1)
    got = run_layer(z, TINY)
    turns, known = iter(got.turns), [[], []]
    for kv in range(2):
        own = (2 * kv, 2 * kv + 1)
        for split in bands(24, 70, 16, band, TINY, causal=True, offset=46):
            for heads in ([own] if band < 4 else [own[:1], own[1:]]):
                numbers = range(len(split.tiles))
                for t in ([*numbers[1:], 0] if select == head.SUM else numbers):
                    rows = slice(split.row, split.row + split.n)
                    wanted = [key for key in split.tiles[t].keys.tolist()
                              if got.selected[list(heads), rows, key].any()]
                    turn = next(turns)
                    assert (turn.part.kv, turn.part.band.row, turn.tile) == (kv, split.row, t)
                    assert tuple(turn.part.heads) == tuple(heads)
                    assert turn.made.tolist() == [k for k in wanted if k not in known[kv]]
                    assert turn.read.tolist() == [k for k in wanted if k in known[kv]]
                    known[kv] += turn.made.tolist()
    assert next(turns, None) is None
    for kv in range(2):
        used = got.selected[2 * kv : 2 * kv + 2].any(axis=(0, 1))
        assert sorted(known[kv]) == np.flatnonzero(used).tolist()
        assert (got.valid[kv] == used).all() and got.order[kv].tolist() == known[kv]
    stats = got.stats
    assert sum(stats.generated) == len(known[0]) + len(known[1]) < (141 if select else 130)
    assert sum(stats.union) == sum(stats.generated) + sum(stats.reused)
    assert stats.selected == got.selected.sum() and stats.visible == 4 * sum(range(47, 71))


@pytest.mark.parametrize("blend", [True, False])
def test_what_is_not_made_is_not_needed(blend):
    """Outputs are those of run_job on K and V in which only made keys lie."""
    z = plan(blend=blend)
    got = run_layer(z, TINY)
    k, v = (np.where(got.valid[..., None], x, 0x5A5A).astype(np.int16) for x in (got.k, got.v))
    assert not got.valid.all()
    same = head.run_job(z.q, k, v, got.k8, got.means, z.job, TINY)
    assert (same.out == got.out).all() and (same.selected == got.selected).all()
    assert (same.f == got.f).all() and bool((got.f < 256).any()) == blend
    # 4 rows to a block, 6 blocks, 2 KV heads: a mean row of 64 bytes each.
    plain = run_layer(replace(z, job=replace(z.job, select=head.DENSE)), TINY).stats
    tokens = sum(got.stats.generated) - sum(plain.generated)
    assert got.stats.bytes["x"] - plain.bytes["x"] == tokens * (64 + 16) + 64 * 12 * blend


def test_a_later_job_takes_over_the_valid_bits():
    z = plan()
    done = run_layer(z, TINY)
    again = run_layer(z, TINY, valid=done.valid)
    assert sum(again.stats.generated) == 0 and (again.out == done.out).all()
    assert (again.valid == done.valid).all() and done.valid.any() and not done.valid.all()
    # 70 bits: two beats a KV head, read in addition.
    assert again.stats.bytes["x"] == done.stats.bytes["x"] - 80 * sum(done.stats.generated) + 32
    some = done.valid.copy()
    some[0, done.order[0][-1]] = False
    less = run_layer(z, TINY, valid=some)
    assert sum(less.stats.generated) == 1 and less.order[0].tolist() == [done.order[0][-1]]
    assert some.sum() == done.valid.sum() - 1
    with pytest.raises(ConfigError, match=r"valid has shape \(2, 69\), legal: \(2, 70\)"):
        run_layer(z, TINY, valid=some[:, 1:])


def test_counts_by_hand():
    """5 keys and rows, H = 16, d = 8, one head, flat scores, so that all is kept; tiny: blocks of
    4 rows, a bus of 8 bytes."""
    x, wk, wv, q = make(keys=5, rows=5, h=16, heads=1, kv_heads=1)
    z = plan_layer(x, wk, wv, q * 0, TINY, bc=16, band=1, rope_theta=9.0, mode=rope.HALF)
    got = run_layer(z, TINY)
    stats = got.stats
    # Two bands, one tile of 5 keys each, which is scored twice.
    assert (stats.slots, stats.union) == ([5] * 4, [5, 5])
    assert (stats.generated, stats.reused) == ([5, 0], [0, 5])
    weights = 4 * 16 * 8  # 2d = 16 outputs in 4 passes
    assert stats.bytes["x"] == 5 * (32 + 16) + weights + 2 * 32
    assert stats.bytes["wb"] == 5 * 32 + 8 and stats.bytes["k"] == stats.bytes["v"] == 80
    assert stats.bytes["q"] == stats.bytes["o"] == 80 and stats.bytes["k8"] == 20 * 8
    assert got.predict == first.prediction_stats(5, 1, 16, 8, rope.HALF, TINY)


# ---- planning -----------------------------------------------------------------------------------


def test_heads_have_scales_of_their_own():
    x, wk, wv, q = make()
    settings = dict(bc=16, causal=True, tau=0.06, fall=0.0, rope_theta=50.0)
    a = plan_layer(x, wk, wv, q, TINY, **settings)
    wk[1], wv[1] = wk[1] * 2, wv[1] * 1024
    b = plan_layer(x, wk, wv, q, TINY, **settings)
    for name in ("x8", "x", "codes", "wk", "wv", "xm", "kp_exp", "kp_bias", "kp_shift",
                 "kg_shift_k", "kg_shift_v", "q"):
        assert (getattr(a, name) == getattr(b, name)).all(), name
    assert a.job.table[:2] == b.job.table[:2] and a.job.table[2:] != b.job.table[2:]
    for name, factor in (("sv", 1024), ("sk", 2), ("sk8", 2)):
        assert (getattr(b, name) / getattr(a, name)).tolist() == [1, factor], name
    # Peaks of Q that are given count instead of the data's.
    c = plan_layer(x, wk, wv, q, TINY, q_peaks=tuple(2 * np.abs(q).max(axis=(1, 2))), **settings)
    assert (c.sq == 2 * a.sq).all()
    with pytest.raises(ConfigError, match="peaks of q has 3 entries, legal: one for each of 4"):
        plan_layer(x, wk, wv, q, TINY, q_peaks=(1.0,) * 3, **settings)


@pytest.mark.parametrize("sizes, settings, message", [
    (dict(h=36), {}, "model dimension = 36"), (dict(heads=3), {}, "heads = 3, legal: multiple"),
    ({}, dict(tau=2.0), "tau = 2.0, legal"), ({}, dict(band=9), "band = 9"),
    ({}, dict(rope_theta=0.0, mode=1), "rope_theta = 0"),
    ({}, dict(coarse=0.01), "coarse = 0.01, legal: None where V is made"),
])
def test_bad_plans(sizes, settings, message):
    with pytest.raises(ConfigError, match=message):
        plan(sizes, **settings)


# ---- captured layers ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", workloads.list_layers())
def test_error_of_a_real_layer(name):
    """96 tokens, against float64 softmax over the same keys with the same blend: of the integers K
    and V and their means, and of float64 projections, with means of 8 and of 16 bits."""
    case, n = workloads.load_layer(name), 96
    p = case.projection
    z = plan_layer(p.x[:n], p.wk, p.wv, case.q[:, :n], SMALL, rope_theta=case.rope_theta,
                   causal=case.causal, snap=2)
    x, wk, wv = (a.astype(np.float64) for a in (p.x[:n], p.wk, p.wv))
    k, v = x @ wk, x @ wv
    if case.rope_theta:
        k = workloads.rope(k, case.rope_theta)
    span = [mean_span(row, n, case.causal, 0)[1] for row in range(0, n, SMALL.ROWS)]
    for bits, most in ((8, 1e-2), (16, 1e-3)):
        cfg = SMALL.replace(VM_W=bits)
        got = run_layer(z, cfg)
        assert_means_close(z, got, cfg)
        alone, whole = [], []
        for h in range(case.n_heads):
            kv, chosen, f = h // case.group, got.selected[h], got.f[h][:, None] / 256

            def blended(exact, mean, f=f):
                return f * exact + (1 - f) * np.repeat(mean, SMALL.ROWS, axis=0)

            alone.append(oracle.relative_error(got.out[h], blended(
                oracle.attention(z.q[h] * z.sq[h], got.k[kv] * z.sk[kv], got.v[kv], chosen),
                got.means[kv] * 2.0 ** (16 - bits))))
            whole.append(oracle.relative_error(got.out[h] * z.sv[kv], blended(
                oracle.attention(case.q[h, :n], k[kv], v[kv], chosen),
                np.stack([v[kv, :g].mean(axis=0) for g in span]))))
        assert max(alone) < 2e-3 and max(whole) < most
    assert oracle.relative_error(got.k * z.sk[:, None, None], k) < 2e-4
    assert oracle.relative_error(got.v * z.sv[:, None, None], v) < 2e-4
    assert oracle.relative_error(got.k8 * z.sk8[:, None, None], k) < 0.215
    assert 0.05 < got.stats.keep < 0.8


@pytest.mark.parametrize("window, sinks", [(20, 0), (33, 5)])
def test_a_window_from_x(window, sinks):
    """24 rows at the positions 46 .. 69."""
    z = plan(window=window, sinks=sinks)
    got = run_layer(z, TINY)
    assert_means_close(z, got, TINY)
    at, key = np.arange(46, 70)[:, None], np.arange(70)
    sees = (key <= at) & ((key > at - window) | (key < sinks))
    assert got.selected.any(axis=2).all() and not (got.selected & ~sees).any()
    stats = got.stats
    assert stats.visible == len(z.q) * 24 * (window + sinks) and stats.visible == (
        len(z.q) * sees.sum())
    # Tiles of the first band of two blocks: keys of the window in tiles of 16, and the sinks.
    [first, *_] = z.job.bands(24, 70, TINY)
    assert [t.keys.min() for t in first.tiles][0] == max(46 - window + 1, sinks)
    assert got.selected.sum() < stats.visible
