# SPDX-License-Identifier: Apache-2.0
"""Cycle model: bounds, counts of stages that are exact, and the RTL's own counters."""

from __future__ import annotations

import numpy as np
import pytest

from models import workloads
from models.first.bounds import layer_bounds, planned_bound
from models.first.config import Config
from models.first.head import Job, run_job
from models.first.layer import plan_layer, run_layer
from models.first.plan import plan
from models.lab.cost import cycles
from models.lab.cost.cycles import Memory, Work, job_cycles, layer_cycles

PAPER = Config.from_name("paper")
CASE = "smollm2_speech_s0333_l02"


def job(**changes) -> Job:
    """A causal job of d = 64 on full tiles."""
    return Job(**{"d": 64, "scale_m": 1, "scale_shift": 0, "bc": 64, "quota": 16, "causal": True,
                  **changes})


def even_work(blocks, tiles, slots, nsteps, read, rows=128) -> Work:
    """Blocks of equal tiles, one phase each."""
    n = blocks * tiles
    return Work([rows] * blocks, [tiles] * blocks, [slots] * n, [1] * n, [nsteps] * n, [0] * n,
                [read] * n)


@pytest.mark.parametrize("number", range(12))
def test_never_below_the_bound(number):
    """Random work on random machines, cached K and V."""
    rng = np.random.default_rng(number)
    cfg = Config.from_name(["tiny", "small", "paper"][number % 3])
    d = 8 * int(rng.integers(1, cfg.D_MAX // 8 + 1))
    tiles = rng.integers(1, 6, int(rng.integers(1, 5))).tolist()
    rows = rng.integers(1, cfg.ROWS + 1, len(tiles)).tolist()
    slots = rng.integers(1, cfg.BC_MAX + 1, sum(tiles)).tolist()
    quota = int(rng.integers(1, cfg.BC_MAX + 1))
    phases, nsteps, read = [], [], []
    for n in slots:
        union = int(rng.integers(0, n + 1))
        parts = [min(cfg.KV_SLOTS, union - at) for at in range(0, union, cfg.KV_SLOTS)] or [0]
        phases.append(len(parts))
        read += parts
        nsteps += [-(-min(int(rng.integers(1, quota + 1)), m) // 2) for m in parts]
    work = Work(rows, tiles, slots, phases, nsteps, [0] * len(read), read)
    spec = Job(d=d, scale_m=1, scale_shift=0, bc=cfg.BC_MAX, quota=quota)
    done = layer_cycles(work, spec, cfg, Memory(latency=int(rng.integers(1, 200))))
    assert done.total > done.bound.measured > 0
    assert done.busy["sufa"] >= done.bound.steps and done.busy["dlzs"] == done.bound.dlzs
    assert all(n <= done.total for n in done.busy.values())
    assert done.busy["bus"] == pytest.approx(done.bound.dram, rel=1e-3, abs=2)


@pytest.mark.parametrize("number", range(6))
def test_layers_are_never_below_the_bound(number):
    """Random layers from X: both jobs; later blocks and heads find keys made, some never do."""
    rng = np.random.default_rng(number)
    cfg = Config.from_name(["tiny", "small"][number % 2])
    h, d = 8 * int(rng.integers(1, 9)), 8 * int(rng.integers(1, 3))
    keys, heads = int(rng.integers(1, 90)), 2 * int(rng.integers(1, 3))
    layer = plan_layer(rng.normal(size=(keys, h)), rng.normal(size=(2, h, d)),
                       rng.normal(size=(2, h, d)), rng.normal(size=(heads, 40, d)), cfg,
                       mode=int(rng.integers(2)), rope_theta=1e4, causal=bool(rng.integers(2)),
                       offset=0, quota=int(rng.integers(1, 9)))
    result = run_layer(layer, cfg)
    predict, bound = layer_bounds(layer, result, cfg)
    done = job_cycles(result.stats, layer.job, cfg, plan=layer)
    assert done.predict > predict
    assert done.total - done.predict > bound.measured == done.bound.measured
    # Groups of tokens that are not full cost as much as full ones.
    assert done.busy["kvgen"] >= sum(result.stats.generated) * h // (4 * cfg.KG_TOK)


@pytest.mark.parametrize("name, nsteps, read, quota, part, most", [
    ("sufa", 8, 30, 16, "steps", 1.04), ("bus", 1, 64, 4, "dram", 1.04),
    ("dlzs", 1, 8, 2, "dlzs", 1.1)])
def test_one_stage_dominates(name, nsteps, read, quota, part, most):
    """A long job costs what its busiest stage costs, little more; DLZS waits for K8 that comes
    behind a burst of Q once a block."""
    work = even_work(8, 20, 64, nsteps, read)
    done = layer_cycles(work, job(quota=quota), PAPER)
    assert done.bound_by == name
    assert done.bound.measured == getattr(done.bound, part)
    assert 1 < done.total / done.bound.measured < most


def test_fill_of_one_tile():
    """One tile alone: the latencies of all stages, one after the other, by hand."""
    done = layer_cycles(even_work(1, 1, 32, 1, 10, rows=16), job(quota=4), PAPER)
    k8 = 29 + 5 * 5 + 1 + 9 + 16 + 32 + 8 + 100  # start, commands, Q takes turns, data
    scores = 64 + 3 + 3  # a pass, its pipeline, three words
    lists = 1 * (3 + 6) + 4
    gather = 4 + 10 * 2 + 8 + 100  # K is complete; V is on its way
    formal = 64 + 32 + 14 + 64  # QK to SV, SV
    flush = 64 + 12
    store = 16 * 2 + 20 + 6
    assert done.total == pytest.approx(k8 + scores + lists + gather + formal + flush + store,
                                       rel=0.06)


def test_slower_memory_is_not_faster():
    """Latency shows in the fill at least: the first keys, then the first K."""
    work = even_work(3, 6, 64, 4, 40)
    times = [layer_cycles(work, job(), PAPER, Memory(latency)).total for latency in (1, 50, 400)]
    assert times == sorted(times) and times[2] > times[0] + 1.5 * 399


def test_more_buffers_are_not_slower():
    """Rings of four hide what rings of two do not."""
    rng = np.random.default_rng(4)
    work = even_work(4, 10, 64, 0, 0)
    work.nsteps = rng.integers(0, 9, 40).tolist()
    work.read = rng.integers(1, 65, 40).tolist()
    few = layer_cycles(work, job(), PAPER).total
    many = layer_cycles(work, job(), PAPER.replace(KV_BUFS=4, K8_BUFS=4)).total
    assert many <= few


@pytest.mark.parametrize("interleaved", [True, False])
@pytest.mark.parametrize("causal", [True, False])
def test_work_of_selections(causal, interleaved):
    """The quick way from a selection to work gives the counts of the reference."""
    case = workloads.load_case(CASE)
    q, k, v = case.q[:2, :300], case.k[:1, :300], case.v[:1, :300]
    numbers, spec = plan(q, k, v, PAPER, causal=causal, quota=7, radius_nats=5.0,
                         interleaved=interleaved)
    done = run_job(numbers.q, numbers.k, numbers.v, numbers.k8, spec, PAPER)
    selected = np.stack([head.selected for head in done.heads])
    work = cycles.work_of(selected, spec, PAPER)
    assert work == Work.from_stats(done.stats, heads=2)
    assert layer_cycles(work, spec, PAPER) == job_cycles(done.stats, spec, PAPER, heads=2)


def test_work_needs_whole_tiles():
    with pytest.raises(ValueError, match="KV_SLOTS = 16, legal: BC_MAX = 32"):
        cycles.work_of(np.ones((1, 4, 4), bool), job(), Config.from_name("small", KV_SLOTS=16))


def test_dense_mode_meets_its_bound():
    """Every key kept: SU-FA alone decides."""
    spec = job(dense=True, causal=False)
    work = even_work(4, 8, 64, 32, 64)
    done = layer_cycles(work, spec, PAPER)
    assert done.bound.measured == planned_bound(512, 512, spec, PAPER).sufa == 4 * 8 * 32 * 64
    assert done.total / done.bound.measured < 1.03
