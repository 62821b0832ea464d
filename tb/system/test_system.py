# SPDX-License-Identifier: Apache-2.0
"""Whole jobs through the machine, scored at every tap, output and counter against the reference
model."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from models import dlzs, head, oracle, workloads
from models.config import Config
from models.lab.cost.bands import Machine, bound_of, work_of
from models.spec.configs import CONFIGS
from scripts import bench
from tb.system.random_jobs import ROUGH_MEMORY, random_job
from tb.system.simulate import JobSpec, Options, simulate

ROUGH = Options(memory=ROUGH_MEMORY, padding=1, axil_gap=2, scatter=True)


@pytest.mark.slow_on("icarus", "small")
@pytest.mark.configs("tiny", "small")
def test_random_jobs(sim, config, seed):
    """Random settings and sizes over a memory with stalls, latency and reordering."""
    cfg = Config.from_name(config.name)
    rng = np.random.default_rng(seed)
    few = config.name == "small" and sim == "icarus"
    counts = {"verilator": 40, "icarus": 5}
    count, size = (3, 1) if few else (counts[sim], 3) if config.name == "tiny" else (12, 3)
    specs = [random_job(cfg, rng, size).spec(cfg, f"random {i}") for i in range(count)]
    outcomes = simulate(specs, config.name, sim, seed=seed, options=ROUGH)
    assert len(outcomes) == count and all(o.compared["output"] for o in outcomes)


@pytest.mark.configs("tiny")
@pytest.mark.parametrize("settings", [
    {"select": head.DENSE}, {"select": head.SORT, "quota": 2}, {}, {"blend": False}], ids=str)
def test_first_steps(sim, config, seed, settings):
    """Two jobs as small as they can be for each way to select, on a fast memory: one block and one
    tile; two heads of two blocks over several tiles."""
    cfg = Config.from_name(config.name)
    rng = np.random.default_rng(seed)
    specs = [JobSpec.planned(f"{heads} x {rows} x {keys}", rng.normal(size=(heads, rows, 8)),
                             *rng.normal(size=(2, 1, keys, 8)), cfg, causal=causal, **settings)
             for heads, rows, keys, causal in ((1, cfg.ROWS, 5, False),
                                               (2, 2 * cfg.ROWS, 40, True))]
    simulate(specs, config.name, sim, seed=seed, options=Options(memory={"read_latency": 4}))


@pytest.mark.configs("tiny", "small")
@pytest.mark.sims("verilator")
def test_heads_that_share_blocks(sim, config, seed):
    """Jobs with few rows whose heads share blocks: taps, outputs and counters, same outputs as
    with blocks of their own; jobs of both kinds in turn."""
    cfg = Config.from_name(config.name)
    rng = np.random.default_rng(seed)
    specs = []
    for i in range(24 if config.name == "tiny" else 8):
        one = random_job(cfg, rng, share=True).spec(cfg, f"shared {i}")
        specs += [one, JobSpec(one.numbers, dataclasses.replace(one.job, share=False),
                               one.name + " apart")]
    outcomes = simulate(specs, config.name, sim, seed=seed, options=ROUGH)
    for one, apart in zip(outcomes[::2], outcomes[1::2], strict=True):
        assert np.array_equal(one.out, apart.out)
    assert any(one.counters["TILES"] < apart.counters["TILES"]
               for one, apart in zip(outcomes[::2], outcomes[1::2], strict=True))


def ordered_specs(cfg: Config, rng):
    """Jobs whose keys arrive in orders that a running maximum dislikes: the score of key j is its
    first element, with d = 8 and q = (1, 0, ...) scaled up."""
    keys, d = 2 * cfg.BC_MAX, 8
    ramp = np.linspace(-1, 1, keys)
    jumps = np.where(np.arange(keys) % 7 == 6, 1.0, -1.0) * np.linspace(0.1, 1, keys)
    orders = {
        "ascending": ramp, "descending": -ramp,
        "maximum last": np.where(np.arange(keys) == keys - 1, 1.0, -0.9),
        "all equal": np.full(keys, 0.5),
        "extremes": np.where(rng.random(keys) < 0.5, 1.0, -1.0),
        "jumps": jumps, "zeros": np.zeros(keys),
    }
    ways = ({"select": head.DENSE}, {"select": head.SORT, "quota": cfg.BC_MAX},
            {"tau": 2.0**-32, "fall": 0.0}, {})
    for name, first in orders.items():
        # Beside the usual sizes: scores that all saturate, and those of the largest shift.
        spans = {"all equal": (6.0, 1e6), "extremes": (6.0, 2500.0, 1e6, 1e-9)}
        for i, span in enumerate(spans.get(name, (6.0, 60.0, 2500.0))):
            q = np.zeros((1, cfg.ROWS, d))
            q[0, :, 0] = np.linspace(0.3, 1, cfg.ROWS) * span
            k = np.zeros((1, keys, d))
            k[0, :, 0] = first * np.sqrt(d)
            v = rng.normal(size=(1, keys, d))
            for settings in (ways[0], ways[1 + i % 3]):
                yield JobSpec.planned(f"{name}, span {span:g}, {settings}", q, k, v, cfg,
                                      interleaved=False, **settings)


@pytest.mark.slow_on("icarus", "small")
@pytest.mark.configs("tiny", "small")
def test_hostile_orders(sim, config, seed):
    """Any order of arrival gives softmax over the selected keys, blended with the mean."""
    cfg = Config.from_name(config.name)
    specs = list(ordered_specs(cfg, np.random.default_rng(seed)))
    if sim == "icarus":
        specs = specs[::5]
    outcomes = simulate(specs, config.name, sim, seed=seed)
    for spec, done in zip(specs, outcomes, strict=True):
        n = spec.numbers
        q, k, v = (x[0].astype(np.float64) * s[0]
                   for x, s in ((n.q, n.sq), (n.k, n.sk), (n.v, n.sv)))
        want = spec.reference(cfg)
        exact = oracle.attention(q, k, v, want.selected[0])
        f = want.f[0][:, None] / 2.0**cfg.F_FRAC
        mean = n.means[0, 0] * 2.0 ** (16 - cfg.VM_W) * n.sv[0]
        blended = f * exact + (1 - f) * mean
        assert oracle.relative_error(done.out[0] * n.sv[0], blended) < 0.01, spec.name
    assert sum(done.counters["MAX_UPDATES"] for done in outcomes) > 0


def head_specs(cfg: Config, names, rows=0, **settings):
    """One job for each named case, all its heads.

    rows: only the last query rows; 0: all.
    """
    for name in names:
        case = workloads.load_case(name)
        q = case.q[:, -rows:] if rows else case.q
        yield JobSpec.planned(name, q, case.k, case.v, cfg, causal=case.causal, **settings)


REAL = {"sum": {"snap": dlzs.TWO_TERM}, "sort": {"select": head.SORT, "radius_nats": 6.0},
        "dense": {"select": head.DENSE}}
"""Ways to select for captured heads."""


@pytest.mark.parametrize("rows", [16, pytest.param(0, marks=pytest.mark.slow, id="all")])
@pytest.mark.parametrize("way", ["sum", "sort"])
@pytest.mark.configs("small")
@pytest.mark.sims("verilator")
def test_real_heads(sim, config, seed, way, rows):
    """Every committed head of the trained models, all taps; its last query rows, or all."""
    cfg = Config.from_name(config.name)
    specs = list(head_specs(cfg, workloads.list_cases(), rows, **REAL[way]))
    outcomes = simulate(specs, config.name, sim, seed=seed)
    assert sum(len(s.numbers.q) for s in specs) >= 24
    assert all(o.compared["output"] == s.numbers.q.size
               for o, s in zip(outcomes, specs, strict=True))


@pytest.mark.slow
@pytest.mark.configs("small")
@pytest.mark.sims("icarus")
def test_real_heads_subset(sim, config, seed):
    """A short head of each model, all taps, on the event-driven simulator."""
    cfg = Config.from_name(config.name)
    names = ("minilm_novel_s0100_l00", "smollm2_novel_s0100_l04")
    specs = list(head_specs(cfg, names, rows=cfg.ROWS, **REAL["sum"]))
    assert simulate(specs, config.name, sim, seed=seed)


@pytest.mark.configs("paper")
@pytest.mark.sims("verilator")
def test_paper_jobs(sim, config, seed):
    """Each way to select, all taps: the last 256 rows of three heads of a group over 1024 keys of
    d = 64, in at most 1.5 times the largest bound (models/lab/cost/bands.py), and 256 x 512 of
    d = 128."""
    cfg = Config.from_name(config.name)
    case = workloads.load_case("smollm2_novel_s1024_l05")
    wide = [np.concatenate([x[:1, :512], x[:1, 512:]], axis=2) for x in (case.q, case.k, case.v)]
    specs = []
    for way, settings in REAL.items():
        specs += [
            JobSpec.planned(f"3 x 256 x 1024, {way}", case.q[:, -256:], case.k, case.v, cfg,
                            causal=True, **settings),
            JobSpec.planned(f"256 x 512, d 128, {way}", wide[0][:, -256:], *wide[1:], cfg,
                            causal=True, **settings)]
    outcomes = simulate(specs, config.name, sim, seed=seed)
    assert [o.compared["output"] for o in outcomes] == [3 * 256 * 64, 256 * 128] * len(REAL)
    machine = Machine(packed=False)
    for spec, done in zip(specs[::2], outcomes[::2], strict=True):
        selected = spec.reference(cfg).selected
        bound = max(bound_of(work_of(selected, spec.job, cfg, 1, machine), spec.job, cfg,
                             machine).values())
        assert done.counters["CYCLES"] <= 1.5 * bound, f"{spec.name}: bound {bound}"


@pytest.mark.slow
@pytest.mark.configs("lean")
@pytest.mark.sims("verilator")
def test_lean_jobs(sim, config, seed):
    """Without sort cores: the last 128 rows of a head of d = 64 over 512 keys by the sum, and
    dense, all taps."""
    cfg = Config.from_name(config.name)
    case = workloads.load_case("smollm2_novel_s1024_l05")
    specs = [JobSpec.planned(way, case.q[:1, 384:512], case.k[:1, :512], case.v[:1, :512], cfg,
                             causal=True, **REAL[way]) for way in ("sum", "dense")]
    assert not cfg.SORT
    outcomes = simulate(specs, config.name, sim, seed=seed)
    assert [o.compared["output"] for o in outcomes] == [128 * 64] * 2


@pytest.mark.slow
@pytest.mark.configs("paper")
@pytest.mark.sims("verilator")
def test_long_context(sim, config, seed):
    """The last 256 of 16384 rows (scripts/bench.py, long) in at most 1.2 times the largest bound
    and 1,000 cycles."""
    changes = {"KEYS_MAX": bench.LONG_KEYS}
    cfg = Config.from_parameters({**CONFIGS[config.name], **changes}, config.name)
    (_, spec), = bench.specs_of(["long"], ["sum"], cfg)
    done, = simulate([spec], config.name, sim, seed=seed, changes=changes,
                     options=Options(taps=False))
    assert done.compared["output"] == 256 * 64
    selected = spec.reference(cfg).selected
    bound = max(bound_of(work_of(selected, spec.job, cfg, 1), spec.job, cfg).values())
    assert done.counters["CYCLES"] <= 1.2 * bound + 1000, f"bound {bound}"
