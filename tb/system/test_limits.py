# SPDX-License-Identifier: Apache-2.0
"""A core that hangs is reported after a small multiple of the job's bound, with its
situation; a job that it refuses ends with its error, and the next one runs."""

from __future__ import annotations

import random
from dataclasses import replace

import cocotb
import numpy as np
import pytest

from models import regs
from models.second import head
from models.second.config import Config
from models.second.layer import plan_layer
from models.second.plan import plan
from tb.common.accelerator import Accelerator, AcceleratorError, AcceleratorTimeout
from tb.common.limits import job_limit, layer_limit
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


ILLEGAL = {
    "BAND": {"BAND": 0}, "FALL": {"FALL": 256},
    "QUOTA": {"QUOTA": 0, "MODE": 1 << regs.MODE_SORT_LSB},
    "TILE_KEYS": {"TILE_KEYS": 3}, "MODE": {"MODE": 1 << 13}, "HEAD_DIM": {"HEAD_DIM": 12},
    "KV_HEADS": {"KV_HEADS": 2}, "BASE_ALIGN": {"HT_BASE_LO": 4},
    "HEAD_STRIDE_ALIGN": {"K_HEAD_STRIDE": 12},
}
"""Error -> registers that are changed."""


@cocotb.test()
async def refused_jobs(dut):
    """A register and an entry of the table of heads that are not legal: the error is named, no
    output is written, and the job as it should be runs right after."""
    acc, rng = start(dut)
    await acc.reset()
    cfg = acc.cfg
    n, job = numbers(cfg, rng, cfg.ROWS + 1, 20, causal=True)
    want = head.run_job(n.q, n.k, n.v, n.k8, n.means, job, cfg)
    one = acc.describe(n, job)
    where = (one.fields["O_BASE_LO"], one.fields["O_ROW_STRIDE"], one.fields["O_HEAD_STRIDE"])

    async def refused(name):
        with pytest.raises(AcceleratorError) as caught:
            await acc.wait(10_000)
        error = caught.value
        assert regs.ERRORS[error.code][0] == name, (name, str(error))
        untouched = acc.gather(*where, n.q.shape)
        assert (untouched == untouched.flat[0]).all(), name
        await acc.start(one)
        await acc.wait(100_000)
        assert np.array_equal(acc.gather(*where, n.q.shape), want.out), name
        acc.memory.load(where[0], np.full(where[2], 0xA5, np.uint8))

    for name, changes in ILLEGAL.items():
        dut._log.info("refused: %s", name)
        await acc.start(replace(one, fields={**one.fields, **changes}))
        await refused(name)
    table = one.fields["HT_BASE_LO"]
    for byte, value in ((2, 48), (3, cfg.SC_W), (5, 0x7F), (10, 1)):
        before = acc.memory.dump(table + byte, 1)
        acc.memory.load(table + byte, np.array([value], np.uint8))
        await acc.start(one)
        with pytest.raises(AcceleratorError) as caught:
            await acc.wait(10_000)
        assert regs.ERRORS[caught.value.code][0] == "HEAD_ENTRY", (byte, str(caught.value))
        assert caught.value.info == 0
        acc.memory.load(table + byte, before)
        await acc.start(one)
        await acc.wait(100_000)
        assert np.array_equal(acc.gather(*where, n.q.shape), want.out), byte


@pytest.mark.configs("tiny")
def test_hangs_and_errors(sim, config, seed):
    run("sofa", __name__, dict(config), sim, seed=seed)


@pytest.mark.parametrize("name", ["tiny", "paper"])
def test_limits_follow_the_work(name):
    """A limit grows with the work and with what slows the memory down."""
    cfg, rng = Config.from_name(name), np.random.default_rng(1)
    last = 0
    for blocks in (1, 4, 16):
        rows, keys = blocks * cfg.ROWS, min(blocks * cfg.BC_MAX, cfg.KEYS_MAX)
        job = numbers(cfg, rng, rows, keys, causal=True)[1]
        limit = job_limit(1, 1, rows, keys, job, cfg, FAST)
        assert max(last, 3 * limit.bound) < limit.cycles
        assert job_limit(1, 1, rows, keys, job, cfg, SLOW).cycles > 1.2 * limit.cycles
        last = limit.cycles
    x, w = rng.normal(size=(cfg.BC_MAX, 16)), rng.normal(size=(2, 1, 16, 16))
    layer = plan_layer(x, *w, rng.normal(size=(1, 4, 16)), cfg)
    limits = [layer_limit(layer, cfg, memory) for memory in (FAST, SLOW)]
    assert 3 * limits[0].bound < limits[0].cycles < limits[1].cycles / 1.2
