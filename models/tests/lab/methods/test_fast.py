# SPDX-License-Identifier: Apache-2.0
"""The compiled path of the second machine equals its reference."""

from dataclasses import replace

import numpy as np
import pytest

from models import fast, head, layer, oracle, plan, workloads
from models.config import Config

pytestmark = pytest.mark.skipif(not fast.available(), reason="numba is not installed")

PAPER = Config.from_name("paper").replace(TWO_TERM=1)
SMALL = Config.from_name("small")


def agree(arrays, job, cfg):
    """Run both paths and compare everything they share; returns the reference's result."""
    want, got = head.run_job(*arrays, job, cfg), fast.run_job(*arrays, job, cfg)
    for name in ("out", "selected", "coarse", "f", "g"):
        assert (getattr(want, name) == getattr(got, name)).all(), name
    assert want.updates == got.updates and want.rises == got.rises
    return want


@pytest.mark.parametrize("name", ["smollm2_code_s0128_l26", "minilm_novel_s0100_l00"])
@pytest.mark.parametrize("settings", [
    {}, {"snap": 2}, {"select": head.SORT, "quota": 8, "radius_nats": 4.0},
    {"select": head.DENSE}, {"interleaved": False}, {"tau": 0.05, "fall": 0.9},
    {"tau": 0.03, "coarse": 0.001, "snap": 2},
], ids=["floor", "two-term", "sort", "dense", "contiguous", "sparse", "coarse"])
def test_captured_heads(name, settings):
    case = workloads.load_case(name)
    for cfg, more in ((PAPER, {}), (SMALL, {"bc": 16})):
        if cfg is SMALL and settings.get("snap") == 2:
            continue
        numbers, job = plan.plan(case.q, case.k, case.v, cfg, causal=case.causal,
                                 **{**settings, **more})
        done = agree((numbers.q, numbers.k, numbers.v, numbers.k8, numbers.means), job, cfg)
        assert done.selected.any() and done.coarse.any() == ("coarse" in settings)


@pytest.mark.parametrize("snap", [0, 2])
def test_every_captured_head_follows_softmax_and_blend(snap):
    """Relative L2 of a head's integers against float64 over the same keys with the same blend."""
    heads = 0
    for name in workloads.list_cases():
        case = workloads.load_case(name)
        z, job = plan.plan(case.q, case.k, case.v, PAPER, causal=case.causal, snap=snap)
        got = fast.run_job(z.q, z.k, z.v, z.k8, z.means, job, PAPER)
        for h in range(len(z.q)):
            kv, f = h // case.group, got.f[h][:, None] / 2.0**PAPER.F_FRAC
            exact = oracle.attention(z.q[h] * z.sq[h], z.k[kv] * z.sk[kv], z.v[kv],
                                     got.selected[h])
            mean = np.repeat(z.means[kv], PAPER.ROWS, axis=0)[: len(exact)] * 256.0
            assert oracle.relative_error(got.out[h], f * exact + (1 - f) * mean) < 2e-3, (name, h)
            heads += 1
    assert heads == 49


@pytest.mark.parametrize("select", [head.SUM, head.SORT, head.DENSE])
def test_random_integers(select, seed):
    """Full ranges, ties, rows that see little, bands of every size."""
    rng = np.random.default_rng([seed, select])
    tails = rises = 0
    for _ in range(12):
        cfg = SMALL.replace(VC_W=int(rng.integers(2, 9)), CV_FRAC=int(rng.integers(4, 17)))
        kv, group, d = int(rng.integers(1, 3)), int(rng.integers(1, 4)), 8 * int(rng.integers(1, 5))
        rows, keys = int(rng.integers(1, 70)), int(rng.integers(1, 200))
        top = int(rng.choice([3, 500, 32767]))
        q = rng.integers(-top, top + 1, (kv * group, rows, d)).astype(np.int16)
        k, v = rng.integers(-top, top + 1, (2, kv, keys, d)).astype(np.int16)
        k8 = rng.integers(-127, 128, (kv, keys, d)).astype(np.int8)
        means = rng.integers(-128, 128, (kv, -(-rows // SMALL.ROWS), d)).astype(np.int16)
        table = tuple(
            head.HeadTable(int(rng.integers(1, 65536)), int(rng.integers(16, 40)),
                           int(rng.integers(0, SMALL.SC_W)), -int(rng.integers(0, 250)),
                           int(rng.integers(0, 1 << SMALL.SC_W)))
            for _ in range(kv * group))
        table = tuple(replace(entry, coarse=entry.tau - int(rng.integers(0, 100)))
                      if rng.integers(2) else entry for entry in table)
        causal = bool(rng.integers(2))
        job = head.Job(d, int(rng.choice([8, 16, 32])), table,
                       band=int(rng.integers(1, min(SMALL.places(d), 4) + 1)), select=select,
                       quota=int(rng.integers(1, 33)), fall=int(rng.integers(0, 256)),
                       snap=int(rng.integers(0, 2)), causal=causal,
                       offset=int(rng.integers(0, 100)) if causal else 0,
                       interleaved=bool(rng.integers(2)))
        if causal and rng.integers(2):
            window = int(rng.integers(max(1, job.offset + rows - keys + 1), cfg.KEYS_MAX))
            job = replace(job, window=min(window, int(rng.choice([window, 20 + window // 50]))),
                          sinks=int(rng.integers(0, job.bc + 1)))
            if job.offset + rows - job.window >= keys:
                job = replace(job, window=window)
        done = agree((q, k, v, k8, means), job, cfg)
        assert (done.f + done.g <= 1 << cfg.F_FRAC).all()
        tails, rises = tails + done.coarse.sum(), rises + done.rises
    assert (tails > 0) == (rises > 0) == (select == head.SUM)


@pytest.mark.parametrize("name", workloads.list_layers())
def test_a_layer_from_x(name):
    """128 tokens; what is made follows from the selections, which are the reference's."""
    case, n = workloads.load_layer(name), 128
    p = case.projection
    z = layer.plan_layer(p.x[:n], p.wk, p.wv, case.q[:, :n], SMALL, rope_theta=case.rope_theta,
                         causal=case.causal)
    want, got = layer.run_layer(z, SMALL), layer.run_layer(z, SMALL, run=fast.run_job)
    assert (want.out == got.out).all() and (want.valid == got.valid).all()
    assert want.stats == got.stats and not got.heads and got.updates == want.updates
    for a, b in zip(want.order, got.order, strict=True):
        assert a.tolist() == b.tolist()
