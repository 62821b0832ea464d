# SPDX-License-Identifier: Apache-2.0
"""Jobs made for one case each: rows that keep one key or all, work of one unit alone, bands of
every size, the smallest and the largest shapes; every tap, output and counter."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from models import head, rope
from models.config import Config
from models.spec.configs import CONFIGS
from tb.system.simulate import JobSpec, LayerSpec, Options, simulate
from tb.system.test_system import ROUGH


def peaked(cfg: Config, rng, wants, keys, d=8, heads=1, **settings):
    """A job in which row r wants key wants[r] alone; all keys are alike to it where that is -1."""
    q, k = np.zeros((heads, len(wants), d)), np.zeros((1, keys, d))
    # Keys on the corners of a cube: their own products are the largest by far.
    signs = np.array([[1 if i >> b & 1 else -1 for b in range(d)] for i in range(keys)])
    k[0] = signs + rng.normal(size=(keys, d)) * 1e-3
    for r, key in enumerate(wants):
        if key >= 0:
            q[:, r] = 20 * signs[key]
    v = rng.normal(size=(1, keys, d))
    return JobSpec.planned(settings.pop("name"), q, k, v, cfg, **{"fall": 0.0, **settings})


def kept(spec, cfg):
    """int [heads, rows], keys that each row keeps by the model."""
    return spec.reference(cfg).selected.sum(axis=2)


def little(cfg, rng):
    """All rows want one and the same key: nothing is kept in any other tile, band after band, in
    the tile that is scored first and last, in one between, in the last slot of all; then bands and
    blocks in turn whose rows want little and everything."""
    rows, keys = 4 * cfg.ROWS, 3 * cfg.BC_MAX
    for key in (0, cfg.BC_MAX + 1, keys - 1):
        for way in ({"tau": 1.0}, {"tau": 0.5, "blend": False, "interleaved": False},
                    {"select": head.SORT, "quota": 1, "interleaved": False}):
            spec = peaked(cfg, rng, [key] * rows, keys, name=f"key {key} alone, {way}", **way)
            selected = spec.reference(cfg).selected
            # Until its tile comes, a row keeps what was the largest so far.
            assert selected[..., key].all()
            assert key or way.get("quota") or selected.sum() == rows
            yield spec
    few = np.arange(rows) // cfg.ROWS
    for name, full in (("bands", few // 2 == 0), ("blocks", few % 2 == 1)):
        spec = peaked(cfg, rng, np.where(full, -1, 1), keys, tau=2.0**-9, band=2,
                      name=f"{name} with little and with everything")
        got = kept(spec, cfg)[0]
        assert (got[full] == keys).all() and got[~full].max() < keys // 4
        yield spec


def everything(cfg, rng):
    """One row wants every key, the others one each; all work is in the rows of one unit."""
    rows, keys, units = 2 * cfg.ROWS, 3 * cfg.BC_MAX, 2 * cfg.ROWS // cfg.QE
    for one in (0, cfg.ROWS - 1, rows - 1):
        wants = np.where(np.arange(rows) == one, -1, np.arange(rows))
        spec = peaked(cfg, rng, wants, keys, tau=2.0**-9, name=f"row {one} wants every key")
        got = kept(spec, cfg)[0]
        assert got[one] == keys and np.delete(got, one).max() < keys // 4
        yield spec
    for unit in (0, units - 1):
        mine = np.arange(rows) % cfg.ROWS % units == unit
        spec = peaked(cfg, rng, np.where(mine, -1, 5), keys, tau=2.0**-9, heads=2,
                      name=f"all work in unit {unit}")
        got = kept(spec, cfg)
        assert (got[:, mine] == keys).all() and got[:, ~mine].max() < keys // 4
        yield spec
    yield peaked(cfg, rng, [-1], keys, select=head.DENSE, name="a single row, dense")


def banded(cfg, rng):
    """Bands of every size, the last one short, its last block too; the causal edge inside."""
    for d in (8, cfg.D_MAX):
        for band in range(1, cfg.places(d) + 1):
            rows = (2 * band + (band > 1)) * cfg.ROWS + 1 + cfg.ROWS // 4
            for n, (causal, select) in enumerate(((True, head.SUM), (False, head.SUM),
                                                  (True, head.SORT), (True, head.DENSE))):
                keys = rows - cfg.ROWS - 1 if causal else cfg.BC_MAX + 3
                spec = JobSpec.planned(
                    f"bands of {band}, d {d}, way {n}", 2 * rng.normal(size=(2, rows, d)),
                    *rng.normal(size=(2, 1, keys, d)), cfg, causal=causal, band=band,
                    # Rows see from a key on: the edge lies inside each band.
                    offset=0, select=select, quota=3)
                parts = head.parts(2, 1, rows, keys, spec.job, cfg)
                assert parts[-1].band.n < band * cfg.ROWS <= parts[0].band.n
                yield spec


def small_shapes(cfg, rng):
    """One row, one key, d = 8, and both sides of a tile and of a block."""
    ways = ({}, {"blend": False}, {"causal": True}, {"select": head.SORT, "quota": 1},
            {"select": head.DENSE})
    for way in ways:
        for rows, keys in ((1, 1), (1, cfg.BC_MAX), (cfg.ROWS, 1), (1, cfg.BC_MAX + 1),
                           (cfg.ROWS + 1, cfg.BC_MAX - 1)):
            yield JobSpec.planned(f"{rows} x {keys} {way}", rng.normal(size=(1, rows, 8)),
                                  *rng.normal(size=(2, 1, keys, 8)), cfg, **way)


def scaled(cfg, rng):
    """Heads with scales of their own: Q, K and V of each head 1000 times those of the one before;
    jobs in turn with other d, so that the places are counted anew."""
    for n, way in enumerate(({}, {"causal": True}, {"select": head.SORT, "radius_nats": 5.0},
                             {"select": head.DENSE})):
        d = (8, cfg.D_MAX)[n % 2]
        factor = 1000.0 ** np.arange(3)[:, None, None]
        spec = JobSpec.planned(
            f"scales {way}, d {d}", rng.normal(size=(6, cfg.ROWS + 1, d))
            / np.repeat(factor, 2, axis=0), rng.normal(size=(3, 40, d)) * factor,
            rng.normal(size=(3, 40, d)) * factor, cfg, **way)
        assert max(spec.numbers.sv) > 1e5 * min(spec.numbers.sv)
        yield spec


def windowed(cfg, rng):
    """Sliding windows: of one key, less than a tile, some tiles, more than all keys; without sinks,
    with one, with a tile of them, and first bands that see nothing else; decoding behind a long
    prefix; positions beyond the keys; heads that share blocks; jobs without a window between."""
    ways = ({}, {"select": head.SORT, "quota": 2}, {"select": head.DENSE}, {"blend": False})
    places, bc = cfg.places(8), cfg.BC_MAX
    shapes = [(2 * cfg.ROWS + 1, 2 * cfg.ROWS + 1, 0, 1, 0, bc, 1),
              (3 * cfg.ROWS, 3 * cfg.ROWS, 0, bc // 2, bc // 2, bc, places),
              (2 * cfg.ROWS, 5 * bc, 5 * bc - 2 * cfg.ROWS, 2 * bc + 3, 1, bc, 2),
              (cfg.ROWS + 1, 3 * bc + 1, 3 * bc - 2, bc + cfg.ROWS, 3, bc, 2),
              (5, 4 * bc, 4 * bc - 5, cfg.KEYS_MAX, 4, bc, 1),
              (4 * cfg.ROWS, 4 * cfg.ROWS, 0, 3, bc, bc, 1)]
    for n, (rows, keys, offset, window, sinks, tile, band) in enumerate(shapes):
        for m, way in enumerate(ways):
            spec = JobSpec.planned(
                f"window {window}, {sinks} sinks, {way}", 2 * rng.normal(size=(4, rows, 8)),
                *rng.normal(size=(2, 2, keys, 8)), cfg, causal=True, offset=offset, window=window,
                sinks=sinks, bc=tile, band=band, interleaved=bool((n + m) % 3), **way)
            got = spec.reference(cfg).selected
            pos = offset + np.arange(rows)[:, None]
            hidden = (np.arange(keys) > pos) | (
                (np.arange(keys) <= pos - window) & (np.arange(keys) >= sinks))
            assert got.any(axis=2).all() and not (got & hidden).any()
            yield spec
    yield JobSpec.planned("no window", rng.normal(size=(1, 3, 8)), *rng.normal(size=(2, 1, 30, 8)),
                          cfg, causal=True)


CASES = {f.__name__: f for f in (little, everything, banded, small_shapes, scaled, windowed)}


@pytest.mark.configs("tiny", "small")
@pytest.mark.slow_on("verilator", "small")
@pytest.mark.slow_on("icarus")
def test_cases(sim, config, seed):
    """All of them, one after another, over a memory with stalls."""
    cfg = Config.from_name(config.name)
    rng = np.random.default_rng(seed)
    specs = [spec for case in CASES.values() for spec in case(cfg, rng)]
    outcomes = simulate(specs, config.name, sim, seed=seed, options=ROUGH)
    assert len(outcomes) > 60 and all(o.compared["output"] for o in outcomes)


@pytest.mark.configs("tiny")
@pytest.mark.sims("icarus")
@pytest.mark.parametrize("case", [
    "everything", *(pytest.param(name, marks=pytest.mark.slow)
                    for name in ("small_shapes", "windowed"))])
def test_cases_on_icarus(sim, config, seed, case):
    """A few of them where unknown bits show."""
    cfg = Config.from_name(config.name)
    specs = list(CASES[case](cfg, np.random.default_rng(seed)))
    assert simulate(specs, config.name, sim, seed=seed)


def kinds(cfg, rng):
    """The smallest job of each kind: way x mask x heads x K and V in memory or made, two tiles and
    more of the smallest size, Q, K and V that are 0 among others."""
    rows, keys, d = 2, 2 * cfg.COLS + 1, 8
    ways = ({"blend": False}, {}, {"select": head.SORT, "quota": 2}, {"select": head.DENSE})
    masks = ({}, {"causal": True}, {"causal": True, "window": 3},
             {"causal": True, "window": 3, "sinks": 1})
    groups = ((1, False), (2, False), (2, True))
    for way, mask, (heads, share), made in itertools.product(ways, masks, groups, (False, True)):
        settings = {**way, **mask, "share": share, "bc": max(cfg.COLS, 4)}
        name, q = f"{settings}, {heads} heads, made {made}", rng.normal(size=(heads, rows, d))
        if made:
            yield LayerSpec.planned(name, rng.normal(size=(keys, 8)),
                                    *rng.normal(size=(2, 1, 8, d)), q, cfg, **settings)
            continue
        k, v = rng.normal(size=(2, 1, keys, d))
        q[0, 0] = k[0, 1] = v[0, 2] = 0
        yield JobSpec.planned(name, q, k, v, cfg, **settings)


@pytest.mark.configs("tiny")
@pytest.mark.sims("verilator")
def test_every_kind(sim, config, seed):
    """Every kind of attention job, the smallest of each."""
    cfg = Config.from_name(config.name)
    specs = list(kinds(cfg, np.random.default_rng(seed)))
    outcomes = simulate(specs, config.name, sim, seed=seed,
                        options=Options(memory={"read_latency": 4}))
    assert len(outcomes) == 4 * 4 * 3 * 2 and all(o.compared["output"] for o in outcomes)


def built(changes):
    """(Config, Verilog parameters that differ from tiny's) of tiny with some changed."""
    parameters = Config.changed(CONFIGS["tiny"], changes)
    return Config.from_parameters(parameters), parameters


@pytest.mark.sims("verilator")
def test_largest_vectors(sim, seed):
    """D_MAX = 256, 48 address bits: jobs of d = 256, 248 and 8 in turn, all ways, and layers."""
    cfg, parameters = built({"D_MAX": 256, "WGT_WORDS": 2048, "ADDR_W": 48})
    rng, specs = np.random.default_rng(seed), []
    for d in (256, 8, 248):
        for way in ({"causal": True}, {"select": head.SORT, "quota": 3}, {"select": head.DENSE}):
            specs.append(JobSpec.planned(
                f"d {d} {way}", rng.normal(size=(2, cfg.ROWS + 1, d)),
                *rng.normal(size=(2, 1, 20, d)), cfg, **way))
    for d, mode in ((256, rope.INTERLEAVED), (256, rope.HALF), (8, rope.HALF), (136, rope.HALF)):
        specs.append(LayerSpec.planned(
            f"layer d {d}", rng.normal(size=(9, 16)), *rng.normal(size=(2, 1, 16, d)),
            rng.normal(size=(1, cfg.ROWS, d)), cfg, mode=mode, rope_theta=1e3))
    assert cfg.places(256) == 2 and cfg.places(8) == cfg.PLACES
    assert simulate(specs, "tiny", sim, seed=seed, changes=parameters,
                    options=Options(scatter=True))


@pytest.mark.sims("verilator")
def test_most_keys(sim, seed):
    """KEYS_MAX = 65536: two rows that see all keys but one, and all, by the sum; one on keys that
    all have the weight of the largest, so that sums reach their full width, dense."""
    cfg, parameters = built({"KEYS_MAX": 65536})
    rng = np.random.default_rng(seed)
    q, k, v = rng.normal(size=(1, 2, 8)), *rng.normal(size=(2, 1, 65536, 8))
    specs = [JobSpec.planned("sum", q, k, v, cfg, causal=True),
             JobSpec.planned("dense", 0 * q[:, :1], k, v, cfg, select=head.DENSE)]
    outcomes = simulate(specs, "tiny", sim, seed=seed, changes=parameters,
                        options=Options(taps=False, memory={"read_latency": 4}))
    sums, dense = outcomes
    assert dense.counters["SELECTED"] == 65536 > sums.counters["SELECTED"] > 0
    assert np.abs(dense.out).max() < 1000
