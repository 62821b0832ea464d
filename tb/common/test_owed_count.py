# SPDX-License-Identifier: Apache-2.0
"""owed_count: some is high exactly while more was added than taken, up to the largest count."""

from __future__ import annotations

import random

import cocotb
import pytest
from cocotb.clock import Clock
from cocotb.triggers import ReadOnly, RisingEdge

from tb.common.scoreboard import same
from tb.runner import CLOCK_PERIOD_NS, BuildError, build, parameters, run


class TB:
    """Sets the inputs of a cycle, compares its output; keeps the count."""

    def __init__(self, dut):
        self.dut = dut
        self.top = (1 << parameters()["WIDTH"]) - 1
        self.owed = self.compared = 0
        cocotb.start_soon(Clock(dut.clk, CLOCK_PERIOD_NS, unit="ns").start())

    async def step(self, add=0, take=False, rst=0):
        """Add so many, take one or not; what goes beyond the limits of both is left out."""
        dut, add = self.dut, min(add, self.top - self.owed + bool(take and self.owed))
        take = take and self.owed > 0
        dut.rst.value, dut.add.value, dut.take.value = rst, add > 0, take
        # Without add it means nothing.
        dut.extra.value = add - 1 if add else random.randint(0, self.top)
        await ReadOnly()
        if self.compared or not rst:
            same("owed_count some", int(self.owed > 0), int(dut.some.value), owed=self.owed)
            self.compared += 1
        await RisingEdge(dut.clk)
        self.owed = 0 if rst else self.owed + add - take


@cocotb.test()
async def full_and_empty(dut):
    """Up to the largest count, at once, one by one and with one taken beside, and down to 0."""
    tb = TB(dut)
    await tb.step(rst=1)
    for most, beside in ((tb.top, False), (1, False), (1, True), (3, True)):
        while tb.owed < tb.top:
            await tb.step(add=most, take=beside and random.random() < 0.5)
        for _ in range(4):
            await tb.step(add=1, take=True)
        for left in range(tb.top, -1, -1):
            same("owed_count", left, tb.owed)
            await tb.step(take=True)
        await tb.step()
    assert tb.compared > 4 * tb.top


@cocotb.test()
async def random_traffic(dut):
    """Random amounts, near either end for a while, and resets of one cycle."""
    tb, ends = TB(dut), [0, 0]
    await tb.step(rst=1)
    for number in range(4000):
        much = number // 200 % 2
        add = random.choice((0, 0, 0, 1, 2, random.randint(1, tb.top if much else 3)))
        await tb.step(add, take=random.random() < (0.3 if much else 0.8),
                      rst=random.random() < 0.005)
        ends[0] += tb.owed == 0
        ends[1] += tb.owed == tb.top
    assert tb.compared > 3900 and min(ends) > 20


# A build for Verilator takes far longer than the test.
BUILT_SELDOM = pytest.mark.slow_on("verilator")


@pytest.mark.parametrize("width", [*(pytest.param(n, marks=BUILT_SELDOM) for n in (1, 2)), 9])
def test_owed_count(sim, seed, width):
    run("sofa_owed_count", __name__, {"WIDTH": width}, sim, seed=seed)


def test_illegal_parameters_are_refused(sim):
    with pytest.raises(BuildError, match="illegal_parameter_"):
        build("sofa_owed_count", {"WIDTH": 0}, sim)
