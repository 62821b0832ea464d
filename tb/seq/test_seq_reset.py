# SPDX-License-Identifier: Apache-2.0
"""sofa_seq: a reset of one cycle around the end of a job, and while the heads of a large one are
counted; nothing of the job is reported afterwards, and the next one is exact."""

from __future__ import annotations

import random

import cocotb
from cocotb.triggers import RisingEdge

from tb.common.scoreboard import same, same_signals
from tb.runner import run
from tb.seq.bench import KINDS, TB, legal_job, used
from tb.seq.test_seq import NAMES, second_config


async def hard_reset(tb):
    """rst for one cycle. The stages forget what they owe."""
    await tb.pulse("rst")
    tb.waiting.update(dict.fromkeys(tb.waiting, 0))


@cocotb.test()
async def around_the_end(dut):
    """In each of the last cycles of a job: it has ended or not, and no end comes later."""
    tb = TB(dut)
    await tb.reset()
    ends = []
    for kind in KINDS:
        job = legal_job(tb.cfg, random, kind, small=True)
        length = await tb.length(job)
        for early in range(8):
            tb.load(job)
            tb.jobs = 0
            await tb.pulse("start")
            for _ in range(length - early):
                await RisingEdge(dut.clk)
            await hard_reset(tb)
            # The pulse of an end in the reset's own cycle is not one of after it.
            await RisingEdge(dut.clk)
            ends.append(tb.jobs)
            for _ in range(20):
                same_signals("seq", dut, busy=0, done=0, job_done=0, err_valid=0)
                await RisingEdge(dut.clk)
        await tb.run(legal_job(tb.cfg, random, kind, small=True))
    assert 0 < sum(ends) < len(ends), ends


@cocotb.test()
async def while_heads_are_counted(dut):
    """The count of 1,000 heads goes on for longer than the check of the next job takes."""
    tb = TB(dut)
    await tb.reset()
    compared = 0
    for _ in range(4):
        job = legal_job(tb.cfg, random, "predict", kv_heads=1000)
        tb.load(job)
        await tb.pulse("start")
        for _ in range(30 + 7 * len(used(job)) + random.randint(20, 60)):
            await RisingEdge(dut.clk)
        same("seq commands before the reset", 0, tb.issued())
        await hard_reset(tb)
        await RisingEdge(dut.clk)
        compared += await tb.run(legal_job(tb.cfg, random, "predict", small=True, kv_heads=3))
        for sink in tb.kinds.values():
            sink.items.clear()
        tb.loads.clear()
        tb.asked.clear()
    assert compared > 4


def test_seq_reset(sim, seed):
    cfg = second_config("tiny")
    run("sofa_seq", __name__, {**{n: getattr(cfg, n) for n in NAMES}, "BC_MIN": max(cfg.COLS, 4),
                               "WGT_WORDS": cfg.WGT_WORDS - 1, "SC_W": cfg.SC_W, "SORT": 1}, sim,
        seed=seed)
