# SPDX-License-Identifier: Apache-2.0
"""Whole layers from X through the machine, scored at every tap, output, counter and what is left in
memory against the reference model."""

from __future__ import annotations

import numpy as np
import pytest

from models import head, kvgen, rope, workloads
from models.config import Config
from models.lab.cost.bands import of_layer
from models.spec.configs import CONFIGS
from tb.system.random_jobs import random_job, random_layer
from tb.system.simulate import JobSpec, LayerSpec, Options, simulate
from tb.system.test_system import REAL, ROUGH


@pytest.mark.slow_on("icarus")
@pytest.mark.configs("tiny", "small")
def test_random_layers(sim, config, seed):
    """Random shapes, settings and RoPE modes over a memory with stalls and reordering; some go on
    where an earlier job stopped."""
    cfg = Config.from_name(config.name)
    rng = np.random.default_rng(seed)
    few = config.name == "small" and sim == "icarus"
    counts = {"verilator": 20, "icarus": 6}
    count, size = (2, 1) if few else (counts[sim], 3) if config.name == "tiny" else (8, 2)
    specs = [random_layer(cfg, rng, size).spec(cfg, f"random layer {i}") for i in range(count)]
    outcomes = simulate(specs, config.name, sim, seed=seed, options=ROUGH)
    assert len(outcomes) == count
    assert all(o.compared[s] for o in outcomes
               for s in ("output", "predicted keys", "generated K", "generated V", "valid bits"))


def plain_layer(cfg: Config, rng, keys, h, d, *, kv_heads=2, rows=1, **settings):
    """A layer on random numbers with one query head for each KV head."""
    return LayerSpec.planned(
        f"{keys} keys, H {h}, d {d}", rng.normal(size=(keys, h)),
        *rng.normal(size=(2, kv_heads, h, d)), rng.normal(size=(kv_heads, rows, d)), cfg,
        **settings)


@pytest.mark.configs("tiny")
def test_first_layers(sim, config, seed):
    """Layers as small as they can be: dense, sum with and without the mean."""
    cfg = Config.from_name(config.name)
    rng = np.random.default_rng(seed)
    specs = [plain_layer(cfg, rng, 9, 8, 8, kv_heads=1, rows=cfg.ROWS, **settings)
             for settings in ({"select": head.DENSE}, {"blend": False}, {}, {"causal": True})]
    simulate(specs, config.name, sim, seed=seed, options=Options(memory={"read_latency": 4}))


@pytest.mark.slow_on("icarus")
@pytest.mark.configs("tiny")
def test_largest_layers(sim, config, seed):
    """As many keys as there can be, in a layer and in a job; the widest vectors, whose weights fill
    their memory."""
    cfg = Config.from_name(config.name)
    rng = np.random.default_rng(seed)
    keys, rows = cfg.KEYS_MAX, cfg.ROWS + 1
    assert cfg.H_MAX * -(-2 * cfg.D_MAX // cfg.ROWS) == cfg.WGT_WORDS
    specs = [
        plain_layer(cfg, rng, keys, 8, 8, rows=rows, rope_theta=1e3, causal=True),
        plain_layer(cfg, rng, cfg.BC_MAX + 1, cfg.H_MAX, cfg.D_MAX, rows=rows, rope_theta=1e3,
                    mode=rope.HALF),
        JobSpec.planned("all keys, all seen", rng.normal(size=(1, rows, 8)),
                        *rng.normal(size=(2, 1, keys, 8)), cfg, causal=True, offset=keys - 1)]
    assert simulate(specs, config.name, sim, seed=seed)


@pytest.mark.configs("tiny")
@pytest.mark.sims("verilator")
def test_write_outages(sim, config, seed):
    """Layers whose write addresses are taken once in 30 cycles: predicted keys, and K and V that
    are made, come faster than they leave, so both wait at the store."""
    cfg = Config.from_name(config.name)
    rng = np.random.default_rng(seed)
    specs = [plain_layer(cfg, rng, cfg.BC_MAX + 5, 8, cfg.D_MAX),
             plain_layer(cfg, rng, 8, 8, cfg.D_MAX, rows=cfg.ROWS, tau=2.0**-32)]
    outcomes = simulate(specs, config.name, sim, seed=seed,
                        options=Options(memory={"aw_stall": 29 / 30}))
    assert all(o.counters["STORE_STALL"] > o.counters["CYCLES"] // 2 for o in outcomes)


@pytest.mark.configs("tiny")
@pytest.mark.sims("verilator")
def test_late_answers(sim, config, seed):
    """A layer whose writes are answered 600 cycles late: more beats are made meanwhile than can
    wait for their answers."""
    cfg = Config.from_name(config.name)
    spec = plain_layer(cfg, np.random.default_rng(seed), 8, 8, cfg.D_MAX, rows=cfg.ROWS,
                       tau=2.0**-32)
    done, = simulate([spec], config.name, sim, seed=seed,
                     options=Options(memory={"read_latency": 4, "write_latency": 600}))
    assert done.counters["GENERATED"] == 16 and done.counters["KVGEN_STALL"] > 0


def captured(name, cfg: Config, tokens=0, rows=0, groups=0, **settings):
    """A captured layer, bit-exact as a whole or cut: its first tokens, of these the last query
    rows, its first KV heads with their query heads; 0: all."""
    case = workloads.load_layer(name)
    if not (tokens or rows or groups):
        return LayerSpec(of_layer(case, cfg, **settings), f"{name} {settings}")
    made = case.projection
    tokens, groups = tokens or case.length, groups or len(made.wk)
    q = case.q[: groups * case.group, :tokens][:, -(rows or tokens):]
    return LayerSpec.planned(f"{name} {tokens} tokens {settings}", made.x[:tokens],
                             made.wk[:groups], made.wv[:groups], q, cfg,
                             rope_theta=case.rope_theta, causal=case.causal, **settings)


@pytest.mark.configs("small")
@pytest.mark.sims("verilator")
def test_captured_layers(sim, config, seed):
    """All heads of SmolLM2's and of MiniLM's layer from the first 48 rows of X."""
    cfg = Config.from_name(config.name)
    specs = [captured(name, cfg, tokens=48, **REAL[way])
             for name, way in zip(workloads.list_layers(), ("sum", "sum"), strict=True)]
    assert sorted(s.plan.heads for s in specs) == [9, 12]
    assert simulate(specs, config.name, sim, seed=seed)


@pytest.mark.slow
@pytest.mark.configs("paper")
@pytest.mark.sims("verilator")
@pytest.mark.parametrize("way", ["sum", "sort"])
def test_paper_layers(sim, config, seed, way):
    """Whole layers of SmolLM2 (9 heads, 3 KV heads, RoPE) and MiniLM (12 heads) at S = 512, all
    taps."""
    cfg = Config.from_name(config.name)
    specs = [captured(name, cfg, **REAL[way]) for name in workloads.list_layers()]
    assert len(specs) == 2 and all(s.plan.keys == 512 for s in specs)
    assert simulate(specs, config.name, sim, seed=seed)


# Each set is a build of its own, most of a minute: some are left to `make regress`.
@pytest.mark.parametrize("changes", [
    {"ROWS": 16, "COLS": 16, "BC_MAX": 32, "BUS_BYTES": 16, "KG_TOK": 4, "ROPE_PAIRS": 4,
     "D_MAX": 32, "SC_FRAC": 4, "STORE_BEATS": 128, "LAND": 16, "LAND_BEATS": 64},
    pytest.param({"ROWS": 32, "COLS": 16, "BC_MAX": 64, "BUS_BYTES": 32, "KG_TOK": 4,
                  "ROPE_PAIRS": 4, "D_MAX": 32, "SC_FRAC": 4, "STORE_BEATS": 128, "LAND": 16,
                  "LAND_BEATS": 64}, marks=pytest.mark.slow),
    pytest.param({"ROWS": 16, "KG_TOK": 2, "K8_BUFS": 4, "PLACES": 2, "STORE_BEATS": 128,
                  "SORT": 0}, marks=pytest.mark.slow),
    pytest.param({"KG_TOK": 1, "ROWS": 8, "ROPE_PAIRS": 2, "SC_FRAC": 1, "PLACES": 8,
                  "STORE_BEATS": 128, "FIFO": 4, "LAND": 4}, marks=pytest.mark.slow)],
    ids=lambda c: "-".join(f"{k}{v}" for k, v in c.items()))
@pytest.mark.sims("verilator")
def test_other_parameters(sim, seed, changes):
    """Legal parameter sets besides the named configurations: random jobs and layers on each."""
    cfg = Config.from_parameters({**CONFIGS["tiny"], **changes})
    rng = np.random.default_rng(seed)
    packs = kvgen.packed(8, 8, cfg)
    recipes = [random_layer(cfg, rng, packed=packs and i % 4 == 1) for i in range(6)]
    recipes += [random_job(cfg, rng) for _ in range(10)]
    specs = [recipe.spec(cfg, str(recipe)) for recipe in recipes]
    assert simulate(specs, "tiny", sim, seed=seed, changes=changes, options=ROUGH)
