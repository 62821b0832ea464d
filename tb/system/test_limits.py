# SPDX-License-Identifier: Apache-2.0
"""A core that hangs is reported after a small multiple of the job's bound, with its situation."""

from __future__ import annotations

import random

import cocotb
import numpy as np
import pytest

from models.config import Config
from models.layer import plan_layer
from models.plan import plan
from tb.common.accelerator import Accelerator, AcceleratorTimeout
from tb.common.limits import Limit, job_limit, layer_limit
from tb.runner import run

SLOW = {"read_latency": (1, 400), "write_latency": 200, "ar_stall": 0.9, "aw_stall": 0.9,
        "w_stall": 0.5, "r_gap": 0.5, "b_gap": 0.5}
FAST = {"read_latency": 100, "write_latency": 20}


def numbers(cfg, rng, rows, keys, **settings):
    """A planned job: (numbers, Job)."""
    q, kv = rng.normal(size=(1, rows, 16)), rng.normal(size=(2, 1, keys, 16))
    return plan(q, *kv, cfg, **settings)


@cocotb.test()
async def memory_that_never_answers(dut):
    """Jobs and layers whose reads, or whose writes, are never taken: the message has the limit,
    the bound, what memory owes, the states and the counters."""
    seed = random.getrandbits(30)
    acc, rng = Accelerator(dut, memory_bytes=1 << 16, seed=seed), np.random.default_rng(seed)
    for direction in ("max_reads", "max_writes"):
        await acc.reset()
        acc.free_all()
        acc.memory.max_reads = acc.memory.max_writes = 256
        setattr(acc.memory, direction, 0)
        n, job = numbers(acc.cfg, rng, 3, 20, quota=4)
        limit = job_limit(3, 20, 1, job, acc.cfg, FAST)
        with pytest.raises(AcceleratorTimeout) as caught:
            await acc.run(n.q, n.k, n.v, n.k8, job)
        text, reads = str(caught.value), direction == "max_reads"
        for part in (str(limit), f"bound of {limit.bound}", f"bus: {'ar' if reads else 'aw'} waits",
                     "memory owes 0 reads, 0 writes", "seq S_RUN", "sofa_seq_chain S_IDLE",
                     "STATUS 0x1", "ERROR 0x0", "JOBS 0x0", f"CYCLES {limit.cycles // 1000}",
                     *([] if reads else ["TILES 2", "UNION"])):
            assert part in text, (part, text)
        assert limit.cycles < 30_000 and reads == ("BEATS_K" not in text), text

        await acc.reset()
        acc.free_all()
        x, w = rng.normal(size=(5, 8)), rng.normal(size=(2, 1, 8, 16))
        layer = plan_layer(x, *w, rng.normal(size=(1, 2, 16)), acc.cfg, quota=2)
        limit = layer_limit(layer, acc.cfg, FAST)
        with pytest.raises(AcceleratorTimeout) as caught:
            await acc.run_layer(layer)
        text = str(caught.value)
        # The chain's own descriptor is read first, the predicted keys are written first.
        for part in (str(limit), "sofa_seq_chain S_WORDS" if reads else "seq S_RUN", "JOBS 0x0",
                     *([] if reads else ["PREDICT", "BEATS_D"])):
            assert part in text, (part, text)
        assert limit.cycles < 60_000, text


@pytest.mark.configs("tiny")
@pytest.mark.sims("verilator")
def test_hang_is_reported(sim, config, seed):
    run("sofa_top", __name__, dict(config), sim, seed=seed)


@pytest.mark.parametrize("name", ["tiny", "paper"])
def test_limits_follow_the_bound(name):
    """A limit stays within a factor of the bound once a job is longer than its latencies, and
    grows with the work and with what slows the memory down."""
    cfg, rng = Config.from_name(name), np.random.default_rng(1)
    last = Limit(0, 0)
    for blocks in (1, 4, 16):
        rows, keys = blocks * cfg.ROWS, min(blocks * cfg.BC_MAX, cfg.KEYS_MAX)
        job = numbers(cfg, rng, rows, keys, causal=True, quota=4)[1]
        limit = job_limit(rows, keys, 1, job, cfg, FAST)
        assert last.cycles < limit.cycles and last.bound < limit.bound < limit.cycles / 3
        assert blocks < 16 or limit.cycles < 30 * limit.bound, limit
        slow = job_limit(rows, keys, 1, job, cfg, SLOW)
        assert slow.bound == limit.bound and slow.cycles > 1.5 * limit.cycles
        assert job_limit(rows, keys, 2, job, cfg, FAST).bound == 2 * limit.bound
        last = limit
    x, w = rng.normal(size=(cfg.BC_MAX, 16)), rng.normal(size=(2, 1, 16, 16))
    layer = plan_layer(x, *w, rng.normal(size=(1, 4, 16)), cfg, quota=2)
    limits = [layer_limit(layer, cfg, memory) for memory in (FAST, SLOW)]
    assert 3 * limits[0].bound < limits[0].cycles < limits[1].cycles / 1.5
