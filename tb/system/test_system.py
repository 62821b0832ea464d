# SPDX-License-Identifier: Apache-2.0
"""Whole jobs through the core, scored at every tap and output against the reference model."""

from __future__ import annotations

import numpy as np
import pytest

from models import oracle, workloads
from models.bounds import job_bound
from models.config import Config
from models.head import Job
from tb.system.simulate import JobSpec, Options, simulate

ROUGH_MEMORY = {"read_latency": (1, 60), "write_latency": (1, 30), "ar_stall": 0.2,
                "aw_stall": 0.2, "w_stall": 0.2, "r_gap": 0.2, "b_gap": 0.2,
                "reorder": True, "interleave": True}


def random_spec(cfg: Config, rng, number, size):
    """A random legal job on random integers; ``size`` scales rows and keys."""
    d = 8 * int(rng.integers(1, cfg.D_MAX // 8 + 1))
    rows = int(rng.integers(1, size * cfg.ROWS + 1))
    keys = int(rng.integers(1, min(size * 2 * cfg.BC_MAX, cfg.KEYS_MAX) + 1))
    kv_heads = int(rng.integers(1, 3))
    heads = kv_heads * int(rng.integers(1, 3))
    low = max(cfg.COLS, 4).bit_length() - 1
    spread = float(rng.choice([0.3, 2.0, 12.0]))
    q = rng.normal(size=(heads, rows, d)) * spread
    k = rng.normal(size=(kv_heads, keys, d))
    v = rng.normal(size=(kv_heads, keys, d))
    bc = 1 << int(rng.integers(low, cfg.SLOT_W + 1))
    return JobSpec.planned(
        f"random {number}", q, k, v, cfg, causal=bool(rng.integers(2)), bc=bc,
        offset=int(rng.integers(0, min(cfg.KEYS_MAX, 2 * keys))),
        quota=int(rng.integers(1, bc + 1)),
        radius_nats=None if rng.random() < 0.4 else float(rng.uniform(0, 10)),
        snap=int(rng.integers(0, 3 if cfg.TWO_TERM else 2)), dense=bool(rng.random() < 0.2),
        interleaved=bool(rng.random() < 0.7))


@pytest.mark.configs("tiny", "small")
def test_random_jobs(sim, config, seed):
    """Random settings and sizes over a memory with stalls, latency and reordering."""
    cfg = Config.from_name(config.name)
    rng = np.random.default_rng(seed)
    few = config.name == "small" and sim == "icarus"
    counts = {"verilator": 40, "icarus": 12}
    count, size = (3, 1) if few else (counts[sim], 3) if config.name == "tiny" else (12, 3)
    specs = [random_spec(cfg, rng, i, size) for i in range(count)]
    outcomes = simulate(specs, config.name, sim, seed=seed,
                        options=Options(memory=ROUGH_MEMORY, padding=1, axil_gap=2))
    assert len(outcomes) == count and all(o.compared["output"] for o in outcomes)


def hostile_specs(cfg: Config, rng):
    """Jobs whose keys arrive in orders that a running maximum dislikes.

    With d = 8 and q = (1, 0, ...) scaled up, the score of key j is its first element. The quota
    is the tile, the radius infinite, so every key is used, in predicted order or, dense, in
    slot order.
    """
    keys, d = 2 * cfg.BC_MAX, 8
    ramp = np.linspace(-1, 1, keys)
    jumps = np.where(np.arange(keys) % 7 == 6, 1.0, -1.0) * np.linspace(0.1, 1, keys)
    orders = {
        "ascending": ramp,
        "descending": -ramp,
        "maximum last": np.where(np.arange(keys) == keys - 1, 1.0, -0.9),
        "all equal": np.full(keys, 0.5),
        "extremes": np.where(rng.random(keys) < 0.5, 1.0, -1.0),
        "jumps": jumps,
        "zeros": np.zeros(keys),
    }
    for name, first in orders.items():
        # Beside the usual sizes: scores that all saturate, and those of the largest shift.
        spans = {"all equal": (6.0, 1e6), "extremes": (6.0, 2500.0, 1e6, 1e-9)}
        for span in spans.get(name, (6.0, 60.0, 2500.0)):
            q = np.zeros((1, cfg.ROWS, d))
            q[0, :, 0] = np.linspace(0.3, 1, cfg.ROWS) * span
            k = np.zeros((1, keys, d))
            k[0, :, 0] = first * np.sqrt(d)
            v = rng.normal(size=(1, keys, d))
            for dense in (True, False):
                yield JobSpec.planned(f"{name}, span {span:g}{', dense' if dense else ''}",
                                      q, k, v, cfg, quota=cfg.BC_MAX, dense=dense,
                                      interleaved=False)


@pytest.mark.slow_on("icarus", "small")
@pytest.mark.configs("tiny", "small")
def test_hostile_orders(sim, config, seed):
    """Any order of arrival gives softmax over the selected keys, in RTL and against float64."""
    cfg = Config.from_name(config.name)
    specs = list(hostile_specs(cfg, np.random.default_rng(seed)))
    if config.name == "small" and sim == "icarus":
        specs = specs[::5]
    outcomes = simulate(specs, config.name, sim, seed=seed)
    updates = 0
    for spec, done in zip(specs, outcomes, strict=True):
        n = spec.numbers
        q, k, v = (x[0].astype(np.float64) * s for x, s in ((n.q, n.sq), (n.k, n.sk), (n.v, n.sv)))
        want = oracle.attention(q, k, v, spec.reference(cfg).heads[0].selected)
        assert oracle.relative_error(done.out[0] * n.sv, want) < 0.002, spec.name
        updates += done.counters["MAX_UPDATES"]
    assert updates > 0


def head_specs(cfg: Config, names, rows=0, **settings):
    """One job for each KV head of the named cases, with the query heads that share it.

    rows: only the last query rows; 0: all.
    """
    for name in names:
        case = workloads.load_case(name)
        for kv in range(len(case.k)):
            q = case.q[kv * case.group : (kv + 1) * case.group, -rows:]
            yield JobSpec.planned(f"{name} kv {kv}", q, case.k[kv : kv + 1],
                                  case.v[kv : kv + 1], cfg, causal=case.causal, **settings)


@pytest.mark.parametrize("rows", [16, pytest.param(0, marks=pytest.mark.slow, id="all")])
@pytest.mark.configs("small")
@pytest.mark.sims("verilator")
def test_real_heads(sim, config, seed, rows):
    """Every committed head of the trained models, all taps; its last query rows, or all."""
    cfg = Config.from_name(config.name)
    specs = list(head_specs(cfg, workloads.list_cases(), rows, quota=cfg.BC_MAX // 4,
                            radius_nats=6.0))
    outcomes = simulate(specs, config.name, sim, seed=seed)
    assert sum(len(s.numbers.q) for s in specs) >= 24
    assert all(o.compared["output"] == s.numbers.q.size
               for o, s in zip(outcomes, specs, strict=True))


@pytest.mark.configs("small")
@pytest.mark.sims("icarus")
def test_real_heads_subset(sim, config, seed):
    """A short head of each model, all taps, on the event-driven simulator."""
    cfg = Config.from_name(config.name)
    shortest = {}
    for name in workloads.list_cases():
        case = workloads.load_case(name)
        if case.model not in shortest or case.length < shortest[case.model][0]:
            shortest[case.model] = (case.length, name)
    specs = []
    for _, name in shortest.values():
        specs.append(next(head_specs(cfg, [name], rows=cfg.ROWS, quota=4, radius_nats=6.0)))
    assert len(specs) == 2
    assert simulate(specs, config.name, sim, seed=seed)


@pytest.mark.configs("paper")
@pytest.mark.sims("verilator")
def test_paper_jobs(sim, config, seed):
    """512 causal query rows x 1024 keys of d = 64, and 256 x 512 of d = 128, all taps.

    The jobs of four blocks take at most 1.1 times their bound (models/bounds.py).
    """
    cfg = Config.from_name(config.name)
    case = max((workloads.load_case(n) for n in workloads.list_cases()),
               key=lambda c: (c.causal, c.length))
    q, k, v = case.head(0)
    specs = []
    for quota, radius in ((4, None), (8, None), (16, None), (16, 6.0)):
        specs.append(JobSpec.planned(f"512 x {len(k)}, quota {quota}, radius {radius}",
                                     q[None, -512:], k[None], v[None], cfg, causal=True,
                                     quota=quota, radius_nats=radius))
    assert q.shape == (1024, 64)
    wide = [np.concatenate([x[:512], x[512:]], axis=1) for x in (q, k, v)]
    specs.append(JobSpec.planned("256 x 512, d 128", wide[0][None, -256:], wide[1][None],
                                 wide[2][None], cfg, causal=True, quota=8))
    outcomes = simulate(specs, config.name, sim, seed=seed)
    assert [o.compared["output"] for o in outcomes] == [512 * 64] * 4 + [256 * 128]
    for spec, done in list(zip(specs, outcomes, strict=True))[:4]:
        bound = job_bound(done.stats, spec.job, cfg).measured
        cycles = done.counters["CYCLES"]
        assert bound <= cycles <= 1.1 * bound, f"{spec.name}: {cycles} cycles, bound {bound}"


def test_job_must_move_data():
    """A simulation without jobs is an error, not a pass."""
    with pytest.raises(Exception, match="no jobs|failed"):
        simulate([], "tiny", "verilator")


def test_illegal_job_is_refused_by_the_model():
    """The model refuses what the core refuses."""
    from models.config import ConfigError

    cfg = Config.from_name("tiny")
    with pytest.raises(ConfigError, match="quota"):
        Job(d=8, scale_m=1, scale_shift=0, bc=16, quota=17).checked(cfg)
