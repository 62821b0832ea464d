# SPDX-License-Identifier: Apache-2.0
"""Layers from X through the core: key prediction, on-demand K and V, chains; scored at every tap,
output and memory against the reference model."""

from __future__ import annotations

import numpy as np
import pytest

from models import kvgen, rope, workloads
from models.bounds import layer_bounds, ordered_bound, published_bound
from models.config import Config
from scripts.configs import CONFIGS
from tb.system.simulate import JobSpec, LayerSpec, Options, simulate
from tb.system.test_system import ROUGH_MEMORY, random_spec


def random_layer(cfg: Config, rng, number, size, packed=False):
    """A random legal layer on random numbers with d up to 64; ``size`` scales rows and keys;
    packed: one in whose attention job two tokens share a column of KVGEN's array."""
    d = h = 0
    while h == 0 or packed and not kvgen.packed(h, d, cfg):
        d = 8 * int(rng.integers(1, min(cfg.D_MAX, 64) // 8 + 1))
        most = min(cfg.H_MAX, cfg.WGT_WORDS // -(-2 * d // cfg.ROWS), 16 * size)
        if most >= 8:
            h = 8 * int(rng.integers(1, most // 8 + 1))
    keys = int(rng.integers(1, min(size * cfg.BC_MAX, cfg.KEYS_MAX) + 1))
    rows = int(rng.integers(1, size * cfg.ROWS + 1))
    kv_heads = int(rng.integers(1, 4))
    heads = kv_heads * int(rng.integers(1, 3))
    mode = int(rng.integers(3))
    low = max(cfg.COLS, 4).bit_length() - 1
    bc = 1 << int(rng.integers(low, cfg.SLOT_W + 1))
    spec = LayerSpec.planned(
        f"random layer {number}", rng.normal(size=(keys, h)),
        rng.normal(size=(kv_heads, h, d)), rng.normal(size=(kv_heads, h, d)),
        rng.normal(size=(heads, rows, d)) * float(rng.choice([0.3, 2.0])), cfg, mode=mode,
        rope_theta=float(rng.choice([1e2, 1e5])) if mode else 0.0, causal=bool(rng.integers(2)),
        bc=bc, quota=int(rng.integers(1, bc + 1)),
        radius_nats=None if rng.random() < 0.4 else float(rng.uniform(0, 10)),
        dense=bool(rng.random() < 0.15), interleaved=bool(rng.random() < 0.7))
    if rng.random() < 0.3:
        spec.valid = rng.random((kv_heads, keys)) < rng.random()
    return spec


@pytest.mark.configs("tiny", "small")
def test_random_layers(sim, config, seed):
    """Random shapes, settings and RoPE modes over a memory with stalls and reordering; some go on
    where an earlier job stopped."""
    cfg = Config.from_name(config.name)
    rng = np.random.default_rng(seed)
    few = config.name == "small" and sim == "icarus"
    counts = {"verilator": 20, "icarus": 6}
    count, size = (2, 1) if few else (counts[sim], 3) if config.name == "tiny" else (8, 2)
    specs = [random_layer(cfg, rng, i, size) for i in range(count)]
    outcomes = simulate(specs, config.name, sim, seed=seed,
                        options=Options(memory=ROUGH_MEMORY, padding=1, axil_gap=2))
    assert len(outcomes) == count
    assert all(o.compared[s] for o in outcomes
               for s in ("output", "predicted keys", "generated K", "generated V", "valid bits"))


def plain_layer(cfg: Config, rng, keys, h, d, *, kv_heads=2, rows=1, **settings):
    """A layer on random numbers with one query head for each KV head, quota 1 by default."""
    return LayerSpec.planned(
        f"{keys} keys, H {h}, d {d}", rng.normal(size=(keys, h)),
        *rng.normal(size=(2, kv_heads, h, d)), rng.normal(size=(kv_heads, rows, d)), cfg,
        **{"quota": 1, **settings})


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
        plain_layer(cfg, rng, keys, 8, 8, rows=rows, rope_theta=1e3, causal=True, quota=2),
        plain_layer(cfg, rng, cfg.BC_MAX + 1, cfg.H_MAX, cfg.D_MAX, rows=rows, rope_theta=1e3,
                    mode=rope.HALF, quota=4),
        JobSpec.planned("all keys, all seen", rng.normal(size=(1, rows, 8)),
                        *rng.normal(size=(2, 1, keys, 8)), cfg, causal=True, offset=keys - 1,
                        quota=3)]
    assert simulate(specs, config.name, sim, seed=seed)


@pytest.mark.configs("tiny")
@pytest.mark.sims("verilator")
def test_write_outages(sim, config, seed):
    """Layers whose write addresses are taken once in 30 cycles: predicted keys, and K and V that
    are made, come faster than they leave, so both wait at the store."""
    cfg = Config.from_name(config.name)
    rng = np.random.default_rng(seed)
    specs = [plain_layer(cfg, rng, cfg.BC_MAX + 5, 8, cfg.D_MAX),
             plain_layer(cfg, rng, 8, 8, cfg.D_MAX, rows=cfg.ROWS, quota=8)]
    outcomes = simulate(specs, config.name, sim, seed=seed,
                        options=Options(memory={"aw_stall": 29 / 30}))
    assert all(o.counters["STORE_STALL"] > o.counters["CYCLES"] // 2 for o in outcomes)


# Each set is a build of its own, most of a minute: some are left to `make regress`.
@pytest.mark.parametrize("changes", [
    {"ROWS": 32, "COLS": 16, "BC_MAX": 64, "BUS_BYTES": 32, "KG_TOK": 4, "ROPE_PAIRS": 4,
     "D_MAX": 32, "KV_SLOTS": 32, "TWO_TERM": 1, "SC_FRAC": 4},
    {"ROWS": 16, "BUS_BYTES": 8, "KG_TOK": 2, "KV_BUFS": 4, "K8_BUFS": 4, "D_MAX": 256,
     "WGT_WORDS": 4100, "H_MAX": 4096, "KEYS_MAX": 1024, "EXP_ROWS": 2, "DIV_ROWS": 2},
    pytest.param({"COLS": 16, "D_MAX": 32, "KEYS_MAX": 1024, "ADDR_W": 48},
                 marks=pytest.mark.slow),
    pytest.param({"KG_TOK": 1, "BUS_BYTES": 8, "ROWS": 8, "ROPE_PAIRS": 2, "SC_FRAC": 1},
                 marks=pytest.mark.slow),
    pytest.param({"ROWS": 16, "BUS_BYTES": 16, "KG_TOK": 2, "KV_SLOTS": 8, "BC_MAX": 32,
                  "ROPE_PAIRS": 8}, marks=pytest.mark.slow),
    pytest.param({"ROWS": 32, "COLS": 8, "BC_MAX": 32, "BUS_BYTES": 16, "KG_TOK": 4,
                  "ROPE_PAIRS": 4, "D_MAX": 32, "KV_SLOTS": 32, "K8_BUFS": 3, "KV_BUFS": 4},
                 marks=pytest.mark.slow)],
    ids=lambda c: "-".join(f"{k}{v}" for k, v in c.items()))
@pytest.mark.sims("verilator")
def test_other_parameters(sim, seed, changes):
    """Legal parameter sets besides the named configurations: random jobs and layers on each, and
    where the set allows them the widest heads and the widest models that there are."""
    cfg = Config.from_parameters({**CONFIGS["tiny"], **changes})
    rng = np.random.default_rng(seed)
    packs = kvgen.packed(8, 8, cfg)
    specs = [random_layer(cfg, rng, i, 3, packed=packs and i % 4 == 1) for i in range(8)]
    specs += [random_spec(cfg, rng, i, 3) for i in range(10)]
    if cfg.D_MAX == 256 and cfg.H_MAX == 4096:
        specs += [plain_layer(cfg, rng, 5, 8, 256), plain_layer(cfg, rng, 1, 4096, 8, kv_heads=1)]
    assert simulate(specs, "tiny", sim, seed=seed, changes=changes,
                    options=Options(memory=ROUGH_MEMORY, padding=1))


SETTINGS = ({"quota": 4}, {"quota": 16, "radius_nats": 6.0})
"""Two sparsities for tiles of 64 keys: few keys for every row; more, but only near its best."""


def captured(name, cfg: Config, tokens=0, rows=0, groups=0, **settings):
    """A captured layer, bit-exact as a whole or cut: its first tokens, of these the last query
    rows, its first KV heads with their query heads; 0: all. The quota is for tiles of 64 keys."""
    case = workloads.load_layer(name)
    made = case.projection
    tokens, groups = tokens or case.length, groups or len(made.wk)
    q = case.q[: groups * case.group, :tokens][:, -(rows or tokens):]
    quota = max(settings.pop("quota") * cfg.BC_MAX // 64, 1)
    return LayerSpec.planned(f"{name} {tokens} tokens {settings}", made.x[:tokens],
                             made.wk[:groups], made.wv[:groups], q, cfg, quota=quota,
                             rope_theta=case.rope_theta, causal=case.causal, **settings)


@pytest.mark.configs("small")
@pytest.mark.sims("verilator")
def test_captured_layers(sim, config, seed):
    """All heads of SmolLM2's and of MiniLM's layer from the first 96 rows of X."""
    cfg = Config.from_name(config.name)
    specs = [captured(name, cfg, tokens=96, **settings)
             for name, settings in zip(workloads.list_layers(), SETTINGS, strict=True)]
    assert sorted(s.plan.heads for s in specs) == [9, 12]
    assert simulate(specs, config.name, sim, seed=seed)


@pytest.mark.slow
@pytest.mark.configs("small")
@pytest.mark.parametrize("settings", SETTINGS, ids=lambda s: f"quota{s['quota']}")
@pytest.mark.parametrize("name", workloads.list_layers())
def test_whole_layers(sim, config, seed, name, settings):
    """Whole layers at S = 512; on Icarus the first KV head with its query heads' last 16 rows."""
    cfg = Config.from_name(config.name)
    cut = {"groups": 1, "rows": 16} if sim == "icarus" else {}
    spec = captured(name, cfg, **cut, **settings)
    assert spec.plan.keys == 512
    assert simulate([spec], config.name, sim, seed=seed)


@pytest.mark.configs("paper")
@pytest.mark.sims("verilator")
@pytest.mark.parametrize("settings", [
    pytest.param(SETTINGS[0], id="quota4"),
    pytest.param(SETTINGS[1], id="quota16", marks=pytest.mark.slow)])
def test_paper_layers(sim, config, seed, settings):
    """Whole layers of SmolLM2 (9 heads, 3 KV heads, RoPE) and MiniLM (12 heads) at S = 512, all
    taps.

    A layer takes at most 1.15 times the bound of blocks that follow each other, and no more than
    the largest bound of the published machine (models/bounds.py).
    """
    cfg = Config.from_name(config.name)
    specs = [captured(name, cfg, **settings) for name in workloads.list_layers()]
    assert len(specs) == 2 and all(s.plan.keys == 512 for s in specs)
    assert {s.plan.mode for s in specs} == {rope.OFF, rope.INTERLEAVED}
    outcomes = simulate(specs, config.name, sim, seed=seed)
    for spec, done in zip(specs, outcomes, strict=True):
        result = spec.reference(cfg)
        predict, attend = layer_bounds(spec.plan, result, cfg)
        bound, cycles = ordered_bound(spec.plan, result, cfg), done.counters["CYCLES"]
        assert predict + attend.measured <= cycles <= 1.15 * bound, f"{spec.name}: {cycles} cycles"
        assert cycles <= published_bound(spec.plan, result, cfg), spec.name
        assert predict <= done.counters["PREDICT"] <= 1.25 * predict, spec.name
