# SPDX-License-Identifier: Apache-2.0
"""The compiled path against the reference: outputs, selections and counts, bit for bit."""

import sys

import numpy as np
import pytest

from models import dlzs, quantise, workloads
from models.config import ConfigError
from models.fast import available, kernels, linear_keys
from models.first import fast, head, layer, plan
from models.first.config import Config
from models.first.head import Job

compiled = pytest.mark.skipif(not available(), reason="numba is not installed")
TINY = Config.from_name("tiny")
SMALL = Config.from_name("small")
PAPER = Config.from_name("paper")


def compare(q, k, v, k8, job, cfg):
    """Both paths on a job; what they computed alike."""
    want, got = head.run_job(q, k, v, k8, job, cfg), fast.run_job(q, k, v, k8, job, cfg)
    assert (got.out == want.out).all() and got.out.dtype == np.int16
    assert (got.selected == np.stack([h.selected for h in want.heads])).all()
    assert got.stats == want.stats
    steps = 0
    for block in (b for h in want.heads for b in h.blocks):
        for phase in (p for phases in block.phases for p in phases):
            steps += int((-(-phase.counts // 2)).sum())
    assert got.row_steps == steps
    return got


def random_job(seed):
    """(q, k, v, k8, job, cfg) with everything drawn at random, integers of the full range too."""
    rng = np.random.default_rng(seed)
    cfg = [TINY, SMALL, PAPER, SMALL.replace(TWO_TERM=1), TINY.replace(SC_FRAC=8, TWO_TERM=1),
           SMALL.replace(GUARD=3, Z_FRAC=7, O_FRAC=4, S_DROP=5), TINY.replace(GUARD=0),
           PAPER.replace(KV_SLOTS=32), SMALL.replace(SC_FRAC=0)][seed % 9]
    d = int(rng.choice([x for x in (8, 16, 40, 64) if x <= cfg.D_MAX]))
    kv, group = int(rng.integers(1, 3)), int(rng.integers(1, 3))
    rows, keys = int(rng.integers(1, 2 * cfg.ROWS)), int(rng.integers(1, min(250, cfg.KEYS_MAX)))
    bc = int(rng.choice([b for b in (4, 8, 16, 32, 64) if max(cfg.COLS, 4) <= b <= cfg.BC_MAX]))
    q = rng.normal(size=(kv * group, rows, d)) * rng.choice([0.3, 1.5, 6])
    k, v = rng.normal(size=(2, kv, keys, d))
    z = quantise.quantise_attention(q, k, v, cfg)
    q, k, v, k8 = z.q, z.k, z.v, z.k8
    if seed % 4 == 3:
        q, k, v = (rng.integers(-32768, 32768, x.shape).astype(np.int16) for x in (q, k, v))
        k8 = rng.integers(-128, 128, k.shape).astype(np.int8)
    snap = int(rng.integers(0, 2 + cfg.TWO_TERM))
    radius = [None, 0, z.radius(2.0, snap, cfg), int(rng.integers(0, 1 << cfg.SC_W))][
        int(rng.integers(4))]
    job = Job(d=d, scale_m=z.scale_m, scale_shift=z.scale_shift, bc=bc,
              quota=int(rng.integers(1, cfg.BC_MAX + 1)), radius=radius, snap=snap,
              dense=bool(rng.random() < 0.2), causal=bool(rng.random() < 0.6),
              offset=int(rng.integers(0, 40)), interleaved=bool(rng.random() < 0.6))
    return q, k, v, k8, job, cfg


@compiled
def test_random_jobs():
    jobs = [random_job(seed) for seed in range(72)]
    results = [compare(*job) for job in jobs]
    # All kinds must have been drawn, or the test says little.
    for kind in (lambda j: j.dense, lambda j: j.causal, lambda j: j.interleaved,
                 lambda j: j.radius is None, lambda j: j.radius == 0, lambda j: j.snap == 2):
        share = sum(bool(kind(job[4])) for job in jobs)
        assert 4 <= share <= 68
    assert any(max(r.stats.phases) > 1 for r in results)
    assert sum(r.stats.max_updates for r in results) > 1000
    assert sum(r.out.size for r in results) > 100000


@pytest.mark.parametrize("path", [head.run_job, pytest.param(fast.run_job, marks=compiled)])
@pytest.mark.parametrize("dense, interleaved, radius", [
    (True, True, None), (False, False, None), (False, True, 900)])
def test_nothing_depends_on_what_a_row_does_not_see(dense, interleaved, radius, path):
    rng = np.random.default_rng(8)
    shapes = (4, 13, 8), (2, 29, 8), (2, 29, 8), (2, 29, 8)
    kinds = (np.int16,) * 3 + (np.int8,)

    def drawn(size):
        return [rng.integers(-np.iinfo(t).max // size - 1, np.iinfo(t).max // size, s).astype(t)
                for s, t in zip(shapes, kinds, strict=True)]

    job = Job(d=8, scale_m=40000, scale_shift=22, bc=16, quota=3, radius=radius, dense=dense,
              causal=True, offset=16, interleaved=interleaved)

    def results(cfg, tensors):
        got = path(*tensors, job, cfg)
        return got.out, got.selected if path is fast.run_job else np.stack(
            [h.selected for h in got.heads])

    base, row, changed = drawn(8), 6, 0
    # Phases of a tile follow all rows of the block: they change the order of a row's sums.
    cases = [(cfg, bound, *results(cfg, base))
             for cfg, bound in ((TINY.replace(KV_SLOTS=16), 0), (TINY, 3))]
    for part in ("rows", "heads", "keys"):
        # Extremes as well as more of the same.
        for other in (drawn(1), drawn(8)):
            tensors = [x.copy() for x in base]
            own = np.zeros((4, 13), bool)
            if part == "rows":
                tensors[0], own[:, row] = other[0], True
                tensors[0][:, row] = base[0][:, row]
            elif part == "heads":
                own[2:] = True
                for x, y in zip(tensors, other, strict=True):
                    x[: len(x) // 2] = y[: len(x) // 2]
            else:
                own[:, : row + 1] = True
                for x, y in zip(tensors[1:], other[1:], strict=True):
                    x[:, 16 + row + 1 :] = y[:, 16 + row + 1 :]
            for cfg, bound, want, same in cases:
                out, used = results(cfg, tensors)
                assert (used[own] == same[own]).all()
                assert np.abs(out[own].astype(int) - want[own]).max() <= bound
                changed += int((out != want).sum())
    assert changed > 1000


@compiled
def test_partial_blocks_and_masks():
    rng = np.random.default_rng(5)
    compared = 0
    for rows, keys, offset in [(1, 1, 0), (3, 40, 0), (4, 7, 3), (5, 16, 60), (9, 33, 24)]:
        z = quantise.quantise_attention(*(rng.normal(size=(1, n, 8)) for n in (rows, keys, keys)),
                                        TINY)
        for causal, interleaved, dense in np.ndindex(2, 2, 2):
            job = Job(d=8, scale_m=z.scale_m, scale_shift=z.scale_shift, bc=16, quota=5,
                      causal=bool(causal), interleaved=bool(interleaved), dense=bool(dense),
                      offset=offset)
            compared += compare(z.q, z.k, z.v, z.k8, job, TINY).out.size
    assert compared == 8 * (1 + 3 + 4 + 5 + 9) * 8


@compiled
def test_hostile_order_raises_the_reference():
    # Keys get better one after the other while their predictions are all alike.
    d, keys = 16, 64
    q = np.full((1, 2, d), 8000, np.int16)
    k = np.repeat(np.arange(keys)[None, :, None] * 120 - 3000, d, axis=2).astype(np.int16)
    v = np.random.default_rng(1).integers(-32767, 32768, k.shape).astype(np.int16)
    k8 = np.full(k.shape, 3, np.int8)
    for scale_shift in (10, 13, 16, 20):
        job = Job(d=d, scale_m=60000, scale_shift=scale_shift, bc=16, quota=16, interleaved=False)
        got = compare(q, k, v, k8, job, TINY.replace(KV_SLOTS=16))
        assert got.selected.all()
        if scale_shift < 20:
            assert got.stats.max_updates >= 20


@compiled
@pytest.mark.parametrize("name", workloads.list_cases())
def test_captured_heads(name):
    case = workloads.load_case(name)
    # The longest cases take the reference seconds; two blocks of their last rows will do.
    rows, heads = 130, 2 * case.group
    q, k, v = case.q[:heads, -rows:], case.k[:2], case.v[:2]
    for cfg, quota, radius in ((PAPER, 16, 6.0), (SMALL, 8, None)):
        z, job = plan.plan(q[: len(k) * case.group], k, v, cfg, causal=case.causal, quota=quota,
                           radius_nats=radius)
        got = compare(z.q, z.k, z.v, z.k8, job, cfg)
        assert 0.02 < got.stats.keep < 0.5


@compiled
@pytest.mark.parametrize("name", workloads.list_layers())
def test_layers_from_x(name):
    case = workloads.load_layer(name)
    p = case.projection
    x, q = p.x[:130], case.q[: 2 * case.group, 40:130]
    for cfg in (SMALL, PAPER.replace(KV_SLOTS=32)):
        planned = layer.plan_layer(x, p.wk[:2], p.wv[:2], q, cfg, rope_theta=case.rope_theta,
                                   causal=case.causal, quota=5, radius_nats=5.0)
        want, got = layer.run_layer(planned, cfg), fast.run_layer(planned, cfg)
        for field in ("k8", "k", "v", "valid", "out"):
            assert (getattr(got, field) == getattr(want, field)).all(), field
        assert (got.selected == np.stack([h.selected for h in want.heads])).all()
        assert got.stats == want.stats and got.predict == want.predict
        assert all((a == b).all() for a, b in zip(got.order, want.order, strict=True))
        # What was made is read by a second run, which must not change the first one's bits.
        kept = want.valid.copy()
        kept[:, ::3] = False
        again = fast.run_layer(planned, cfg, kept)
        assert (again.out == got.out).all()
        assert again.stats == layer.run_layer(planned, cfg, kept).stats
        assert not kept[:, ::3].any()


@compiled
def test_scores_equal_those_of_the_cells():
    rng = np.random.default_rng(2)
    for cfg in (TINY, PAPER.replace(TWO_TERM=1), SMALL.replace(SC_FRAC=8)):
        d = cfg.D_MAX
        k8 = rng.integers(-128, 128, (70, d)).astype(np.int8)
        codes = rng.integers(0, 64 if cfg.TWO_TERM else 32, (9, d))
        want = dlzs.term(codes[:, None], k8[None], cfg).sum(axis=2)
        loops = kernels()
        x, chunk = linear_keys(k8, True, cfg)
        work = np.empty((3, 2 * d + loops.UNROLL), np.int64)
        for row, code in enumerate(codes):
            for limit in (70, 8 * row):
                got = np.zeros(70, np.int32)
                loops.predict_row(code, x, limit, chunk, *work, np.empty_like(x[0]), got)
                assert (got == np.where(np.arange(70) < limit, want[row], 0)).all()


def numbers():
    """Integers of 6 rows over 40 keys, d = 16."""
    rng = np.random.default_rng(3)
    return quantise.quantise_attention(*(rng.normal(size=(n, 16)) * 3 for n in (6, 40, 40)), TINY)


def test_without_numba(monkeypatch):
    z = numbers()
    monkeypatch.setattr("models.fast.available", lambda: False)
    job = Job(d=16, scale_m=z.scale_m, scale_shift=z.scale_shift, bc=8)
    with pytest.raises(ImportError, match="needs numba: scripts/setup.sh lab"):
        fast.run_job(z.q[None], z.k[None], z.v[None], z.k8[None], job, TINY)
    assert "numba" not in vars(sys.modules["models.fast"])


def test_bad_arguments():
    z = numbers()
    job = Job(d=16, scale_m=z.scale_m, scale_shift=z.scale_shift, bc=8, quota=99)
    with pytest.raises(ConfigError, match="quota = 99, legal: integer 1..16"):
        fast.run_job(z.q[None], z.k[None], z.v[None], z.k8[None], job, TINY)
    three, two = np.stack([z.q] * 3), np.stack([z.k] * 2)
    with pytest.raises(ConfigError, match="heads = 3, legal: multiple of kv_heads = 2"):
        fast.run_job(three, two, two, np.stack([z.k8] * 2), Job(
            **{**vars(job), "quota": 4}), TINY)
