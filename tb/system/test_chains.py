# SPDX-License-Identifier: Apache-2.0
"""Chains of more than one layer's two jobs: chunked prefill, several layers, jobs of all kinds."""

from __future__ import annotations

import dataclasses
import random

import cocotb
import numpy as np
import pytest

from models import regs, rope
from models.config import Config
from models.layer import LayerPlan, plan_layer, run_layer
from tb.common.accelerator import Accelerator
from tb.common.scoreboard import Scoreboard
from tb.runner import run


def planned(cfg: Config, rng, rows=0, **settings) -> LayerPlan:
    """A layer of two KV heads with two query heads each; its tokens are its queries."""
    keys, h, d = 2 * cfg.BC_MAX + 5, 32, 16
    return plan_layer(rng.normal(size=(keys, h)), *rng.normal(size=(2, 2, h, d)),
                      rng.normal(size=(4, rows or keys, d)), cfg, quota=3, **settings)


def check(sb: Scoreboard, name, want, got):
    sb.compare(name, want, got, axes=("head", "row", "element"))


def start(dut, **memory):
    seed = random.getrandbits(30)
    acc = Accelerator(dut, memory_bytes=1 << 20, memory={"read_latency": (1, 40), **memory},
                      seed=seed)
    return acc, np.random.default_rng(seed), Scoreboard()


@cocotb.test()
async def chunked_prefill(dut):
    """One prediction, then the queries in three attention jobs; each makes only the K and V which
    those before did not leave. The outputs are those of a run at once with as many blocks."""
    acc, rng, sb = start(dut, reorder=True)
    await acc.reset()
    cfg = acc.cfg
    plan = planned(cfg, rng, rope_theta=1e3, mode=rope.HALF, causal=True)
    placed = acc.place_layer(plan)
    predict, attend = acc.describe_layer(plan, placed)
    load = acc.describe_layer(plan, placed, load=True)[1]["MODE"]
    chunks = np.array_split(np.arange(plan.keys), 3)
    jobs, want, valid = [predict], [], None
    for rows in chunks:
        part = dataclasses.replace(plan, q=np.ascontiguousarray(plan.q[:, rows]),
                                   job=dataclasses.replace(plan.job, offset=int(rows[0])))
        want.append(run_layer(part, cfg, valid))
        valid = want[-1].valid
        first = int(rows[0])
        fields = {**attend, "QUERY_ROWS": len(rows), "CAUSAL_OFFSET": first,
                  "Q_BASE_LO": attend["Q_BASE_LO"] + first * attend["Q_ROW_STRIDE"],
                  "O_BASE_LO": attend["O_BASE_LO"] + first * attend["O_ROW_STRIDE"]}
        jobs.append(fields if first == 0 else {**fields, "MODE": load})
    await acc.start_chain(acc.chain(jobs))
    await acc.wait(400_000)
    assert await acc.read("JOBS") == 4
    counters = await acc.counters()
    check(sb, "output", np.concatenate([w.out for w in want], axis=1),
          acc.gather(*placed["o"], plan.q.shape))
    shape = (plan.kv_heads, plan.keys, plan.d)
    check(sb, "predicted keys", want[0].k8, acc.gather(*placed["k8"], shape, np.int8))
    there = valid[:, :, None]
    for name in ("k", "v"):
        got = acc.gather(*placed[name], shape)
        check(sb, f"generated {name}", np.where(there, getattr(want[0], name), got), got)
    made = sum(sum(w.stats.generated) for w in want)
    assert counters["GENERATED"] == made == int(valid.sum())
    assert sum(w.stats.generated != [0] * len(w.stats.generated) for w in want) > 1


@cocotb.test()
async def layers_and_jobs(dut):
    """Three layers of different kinds and one job on the K and V that the first left, in one
    chain of seven descriptors; then the same layers again without the host's registers reset."""
    acc, rng, sb = start(dut)
    await acc.reset()
    cfg = acc.cfg
    plans = [planned(cfg, rng, rows=cfg.ROWS + 1, dense=True),
             planned(cfg, rng, rows=3, rope_theta=1e4, causal=True),
             planned(cfg, rng, rope_theta=1e2, mode=rope.HALF, interleaved=False)]
    places = [acc.place_layer(plan) for plan in plans]
    jobs = [job for plan, placed in zip(plans, places, strict=True)
            for job in acc.describe_layer(plan, placed)]
    # Every key is visible and dense, so the first layer leaves all of K and V.
    again = acc.reserve(plans[0].q.shape)
    cached = {**jobs[1], "MODE": jobs[1]["MODE"] & ~(1 << regs.MODE_GENERATE_LSB)
              & ~(3 << regs.MODE_ROPE_LSB),
              "O_BASE_LO": again[0] & 0xFFFFFFFF, "O_BASE_HI": again[0] >> 32}
    chain = acc.chain([*jobs, cached])
    for _ in range(2):
        await acc.start_chain(chain)
        await acc.wait(800_000)
        assert await acc.read("JOBS") == 7
        for plan, placed in zip(plans, places, strict=True):
            want = run_layer(plan, cfg)
            check(sb, "output", want.out, acc.gather(*placed["o"], plan.q.shape))
        check(sb, "cached", run_layer(plans[0], cfg).out, acc.gather(*again, plans[0].q.shape))
    assert sb.compared["cached"] == 2 * plans[0].q.size


@pytest.mark.slow_on("icarus")
@pytest.mark.slow_on("verilator", "small")
@pytest.mark.configs("tiny", "small")
def test_chains(sim, config, seed):
    few = config.name == "small" and sim == "icarus"
    run("sofa_top", __name__, dict(config), sim, seed=seed,
        testcase="chunked_prefill" if few else None)
