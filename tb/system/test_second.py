# SPDX-License-Identifier: Apache-2.0
"""Whole jobs and layers through the second machine, scored at every tap, output, counter and what
is left in memory against the reference model."""

from __future__ import annotations

import numpy as np
import pytest

from models import dlzs, kvgen, oracle, rope, workloads
from models.lab.bands import Machine, bound_of, of_layer, work_of
from models.second import head
from models.second.config import Config
from scripts.configs import CONFIGS
from tb.system.second_simulate import JobSpec, LayerSpec, simulate
from tb.system.simulate import Options
from tb.system.test_system import ROUGH_MEMORY

ROUGH = Options(memory=ROUGH_MEMORY, padding=1, axil_gap=2)


def random_settings(cfg: Config, rng, d, keys):
    """Random legal settings of models.second.plan.job_of."""
    low = max(cfg.COLS, 4).bit_length() - 1
    bc = 1 << int(rng.integers(low, cfg.SLOT_W + 1))
    select = int(rng.choice([head.SUM, head.SORT, head.DENSE], p=[0.65, 0.25, 0.1]))
    return dict(
        causal=bool(rng.integers(2)), offset=int(rng.integers(0, min(cfg.KEYS_MAX, 2 * keys))),
        bc=bc, band=int(rng.integers(1, cfg.places(d) + 1)), select=select,
        tau=float(2.0 ** -rng.uniform(1, 12)), fall=float(rng.choice([0, 0.35, 255 / 256])),
        quota=int(rng.integers(1, bc + 1)),
        radius_nats=None if rng.random() < 0.4 else float(rng.uniform(0, 10)),
        snap=int(rng.integers(0, 3 if cfg.TWO_TERM else 2)),
        interleaved=bool(rng.random() < 0.7), blend=bool(rng.random() < 0.8))


def random_spec(cfg: Config, rng, number, size):
    """A random legal job on random integers; ``size`` scales rows and keys."""
    d = 8 * int(rng.integers(1, cfg.D_MAX // 8 + 1))
    rows = int(rng.integers(1, size * cfg.ROWS + 1))
    keys = int(rng.integers(1, min(size * 2 * cfg.BC_MAX, cfg.KEYS_MAX) + 1))
    kv_heads = int(rng.integers(1, 3))
    heads = kv_heads * int(rng.integers(1, 4))
    spread = float(rng.choice([0.3, 2.0, 12.0]))
    # Scales of their own for every head.
    scale = rng.uniform(0.2, 2.0, size=(heads, 1, 1))
    return JobSpec.planned(
        f"random {number}", rng.normal(size=(heads, rows, d)) * spread * scale,
        *rng.normal(size=(2, kv_heads, keys, d)), cfg, **random_settings(cfg, rng, d, keys))


@pytest.mark.configs("tiny", "small")
def test_random_jobs(sim, config, seed):
    """Random settings and sizes over a memory with stalls, latency and reordering."""
    cfg = Config.from_name(config.name)
    rng = np.random.default_rng(seed)
    few = config.name == "small" and sim == "icarus"
    counts = {"verilator": 40, "icarus": 12}
    count, size = (3, 1) if few else (counts[sim], 3) if config.name == "tiny" else (12, 3)
    specs = [random_spec(cfg, rng, i, size) for i in range(count)]
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
    if config.name == "small" and sim == "icarus":
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
@pytest.mark.parametrize("way", REAL)
def test_paper_jobs(sim, config, seed, way):
    """The last 256 rows of three heads of a group over 1024 keys of d = 64, and 256 x 512 of
    d = 128, all taps; the first takes at most 1.5 times its largest bound (models/lab/bands.py)."""
    cfg = Config.from_name(config.name)
    case = workloads.load_case("smollm2_novel_s1024_l05")
    wide = [np.concatenate([x[:1, :512], x[:1, 512:]], axis=2) for x in (case.q, case.k, case.v)]
    specs = [
        JobSpec.planned("3 x 256 x 1024", case.q[:, -256:], case.k, case.v, cfg, causal=True,
                        **REAL[way]),
        JobSpec.planned("256 x 512, d 128", wide[0][:, -256:], *wide[1:], cfg, causal=True,
                        **REAL[way])]
    outcomes = simulate(specs, config.name, sim, seed=seed)
    assert [o.compared["output"] for o in outcomes] == [3 * 256 * 64, 256 * 128]
    spec, done = specs[0], outcomes[0]
    machine = Machine(packed=False)
    selected = spec.reference(cfg).selected
    bound = max(bound_of(work_of(selected, spec.job, cfg, 1, machine), spec.job, cfg,
                         machine).values())
    assert done.counters["CYCLES"] <= 1.5 * bound, f"bound {bound}"


# ---- layers -------------------------------------------------------------------------------------


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
    settings = random_settings(cfg, rng, d, keys)
    spec = LayerSpec.planned(
        f"random layer {number}", rng.normal(size=(keys, h)),
        *rng.normal(size=(2, kv_heads, h, d)) * rng.uniform(0.1, 3, size=(kv_heads, 1, 1)),
        rng.normal(size=(heads, rows, d)) * float(rng.choice([0.3, 2.0])), cfg, mode=mode,
        rope_theta=float(rng.choice([1e2, 1e5])) if mode else 0.0, **settings)
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
    """All heads of SmolLM2's and of MiniLM's layer from the first 96 rows of X."""
    cfg = Config.from_name(config.name)
    specs = [captured(name, cfg, tokens=96, **REAL[way])
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
    {"ROWS": 32, "COLS": 16, "BC_MAX": 64, "BUS_BYTES": 32, "KG_TOK": 4, "ROPE_PAIRS": 4,
     "D_MAX": 32, "SC_FRAC": 4, "STORE_BEATS": 128, "LAND": 16, "LAND_BEATS": 64},
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
    specs = [random_layer(cfg, rng, i, 3, packed=packs and i % 4 == 1) for i in range(6)]
    specs += [random_spec(cfg, rng, i, 3) for i in range(10)]
    if changes.get("SORT") == 0:
        specs = [s for s in specs if s.job.select != head.SORT]
    assert simulate(specs, "tiny", sim, seed=seed, changes=changes, options=ROUGH)
