# SPDX-License-Identifier: Apache-2.0
"""sofa_ring_credit: a buffer is offered exactly while the ring has a free one."""

import random

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ReadOnly, RisingEdge

from tb.common.scoreboard import same
from tb.runner import CLOCK_PERIOD_NS, run


class TB:
    """Sets the inputs of a cycle, compares its output; keeps the number of buffers in use."""

    def __init__(self, dut):
        self.dut, self.used, self.compared = dut, None, 0
        cocotb.start_soon(Clock(dut.clk, CLOCK_PERIOD_NS, unit="ns").start())

    async def ring(self, buffers):
        """Another ring, all free: reset with it."""
        self.buffers, self.used = buffers, None
        self.dut.last.value = buffers - 1
        await self.step(rst=1)

    async def step(self, take=False, free=False, rst=0):
        """Take one if one is free, free one if one is in use."""
        dut, used = self.dut, self.used or 0
        take, free = take and used < self.buffers, free and used > 0
        dut.rst.value, dut.take.value, dut.free.value = rst, take, free
        await ReadOnly()
        if self.used is not None:
            same("ring_credit avail", int(used < self.buffers), int(dut.avail.value),
                 buffers=self.buffers, used=used)
            self.compared += 1
        await RisingEdge(dut.clk)
        self.used = 0 if rst else used + take - free


@cocotb.test()
async def every_ring(dut):
    """All taken at once and freed at once, one taken as one is freed, at every number in use;
    resets of one cycle."""
    tb = TB(dut)
    for buffers in range(1, 9):
        await tb.ring(buffers)
        for in_use in range(buffers + 1):
            # Without a pause up to here, a pause, both at once, a pause; then all back.
            for _ in range(in_use):
                await tb.step(take=True)
            for both in (0, 1, 1, 0):
                await tb.step(take=both, free=both)
            while tb.used:
                await tb.step(free=True)
            await tb.step()
            for _ in range(in_use):
                await tb.step(take=True)
            await tb.step(rst=1)
            await tb.step()
    assert tb.compared > 500


@cocotb.test()
async def random_traffic(dut):
    """Rings of all sizes, filled and emptied at random, and resets of one cycle."""
    tb, full = TB(dut), 0
    for buffers in 5 * list(range(1, 9)):
        await tb.ring(buffers)
        for number in range(160):
            much = number // 20 % 2
            await tb.step(take=random.random() < (0.8 if much else 0.4),
                          free=random.random() < (0.4 if much else 0.8),
                          rst=random.random() < 0.02)
            full += tb.used == tb.buffers
    assert full > 300 and tb.compared > 6000


def test_sofa_ring_credit(sim, seed):
    run("sofa_ring_credit", __name__, {}, sim, seed=seed)
