# SPDX-License-Identifier: Apache-2.0
"""A core that hangs is reported after a small multiple of the job's bound, with its situation."""

from __future__ import annotations

import random

import cocotb
import numpy as np
import pytest

from models.config import Config
from models.driver.accelerator import AcceleratorTimeout
from models.driver.limits import job_limit, layer_limit
from models.layer import plan_layer
from models.plan import plan
from tb.driver.accelerator import Accelerator, speed_of
from tb.runner import parameters, run

SLOW = {"read_latency": (1, 400), "write_latency": 200, "ar_stall": 0.9, "aw_stall": 0.9,
        "w_stall": 0.5, "r_gap": 0.5, "b_gap": 0.5}
FAST = {"read_latency": 100, "write_latency": 20}


def numbers(cfg, rng, rows, keys, **settings):
    """A planned job: (Numbers, Job)."""
    q, kv = rng.normal(size=(1, rows, 16)), rng.normal(size=(2, 1, keys, 16))
    return plan(q, *kv, cfg, **settings)


def start(dut):
    seed = random.getrandbits(30)
    acc = Accelerator(dut, Config.from_parameters(parameters()), memory_bytes=1 << 17, seed=seed)
    return acc, np.random.default_rng(seed)


@cocotb.test()
async def memory_that_never_answers(dut):
    """Jobs and layers whose reads, or whose writes, are never taken: the message has the limit,
    the bound, what memory owes, the states and the counters."""
    acc, rng = start(dut)
    for direction in ("max_reads", "max_writes"):
        await acc.reset()
        acc.free_all()
        acc.memory.max_reads = acc.memory.max_writes = 256
        setattr(acc.memory, direction, 0)
        n, job = numbers(acc.cfg, rng, 3, 20)
        limit, reads = acc.job_limit(n, job), direction == "max_reads"
        with pytest.raises(AcceleratorTimeout) as caught:
            await acc.run(n, job)
        text = str(caught.value)
        for part in (str(limit), f"bus: {'ar' if reads else 'aw'} waits",
                     "memory owes 0 reads, 0 writes", "states: sofa_seq S_", "STATUS 0x1",
                     "ERROR 0x0", "JOBS 0x0", f"CYCLES {limit.cycles // 1000}",
                     *([] if reads else ["TILES 3", "UNION"])):
            assert part in text, (part, text)
        assert limit.cycles < 60_000 and reads == ("BEATS_K" not in text), text
        await acc.reset()
        acc.free_all()
        layer = plan_layer(rng.normal(size=(5, 8)), *rng.normal(size=(2, 1, 8, 16)),
                           rng.normal(size=(1, 2, 16)), acc.cfg)
        with pytest.raises(AcceleratorTimeout) as caught:
            await acc.run_layer(layer)
        for part in (str(acc.layer_limit(layer)), "JOBS 0x0", *([] if reads else ["PREDICT"])):
            assert part in str(caught.value), (part, str(caught.value))


@pytest.mark.configs("tiny")
@pytest.mark.sims("verilator")
def test_hang_is_reported(sim, config, seed):
    run("sofa", __name__, dict(config), sim, seed=seed)


@pytest.mark.parametrize("name", ["tiny", "paper"])
def test_limits_follow_the_work(name):
    """A limit grows with the work and with what slows the memory down."""
    cfg, rng = Config.from_name(name), np.random.default_rng(1)
    last = 0
    for blocks in (1, 4, 16):
        rows, keys = blocks * cfg.ROWS, min(blocks * cfg.BC_MAX, cfg.KEYS_MAX)
        job = numbers(cfg, rng, rows, keys, causal=True)[1]
        limit = job_limit(1, 1, rows, keys, job, cfg, speed_of(FAST))
        assert max(last, 3 * limit.bound) < limit.cycles
        slow = job_limit(1, 1, rows, keys, job, cfg, speed_of(SLOW))
        assert slow.cycles > 1.2 * limit.cycles
        last = limit.cycles
    x, w = rng.normal(size=(cfg.BC_MAX, 16)), rng.normal(size=(2, 1, 16, 16))
    layer = plan_layer(x, *w, rng.normal(size=(1, 4, 16)), cfg)
    limits = [layer_limit(layer, cfg, speed_of(memory)) for memory in (FAST, SLOW)]
    assert 3 * limits[0].bound < limits[0].cycles < limits[1].cycles / 1.2
