# SPDX-License-Identifier: Apache-2.0
"""sofa_ram_1r1w against a Python list: random traffic, collisions, hold, every address."""

import random

import cocotb
import pytest
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge

from tb.common.scoreboard import same_signals
from tb.runner import CLOCK_PERIOD_NS, parameters, run


class TB:
    """Drives both ports at the falling edge and keeps the expected contents (words as ints)."""

    def __init__(self, dut):
        self.dut = dut
        self.width, self.depth = parameters()["WIDTH"], parameters()["DEPTH"]
        self.mem = [None] * self.depth
        self.expect = None
        self.reads = self.collisions = self.holds = 0
        cocotb.start_soon(Clock(dut.clk, CLOCK_PERIOD_NS, unit="ns").start())

    async def step(self, write=None, read=None):
        """One cycle: ``write`` is (address, word) or None, ``read`` an address or None."""
        dut = self.dut
        dut.wr_en.value = write is not None
        dut.wr_addr.value, dut.wr_data.value = write if write else (0, 0)
        dut.rd_en.value = read is not None
        dut.rd_addr.value = 0 if read is None else read
        # A read sees the contents before the write of the same cycle.
        if read is not None:
            self.expect = self.mem[read]
            self.collisions += write is not None and write[0] == read
        if write is not None:
            self.mem[write[0]] = write[1]
        await FallingEdge(dut.clk)
        if self.expect is not None:
            same_signals("RAM", dut, rd_data=self.expect)
            self.reads += read is not None
            self.holds += read is None


@cocotb.test()
async def random_traffic(dut):
    tb = TB(dut)
    await FallingEdge(dut.clk)
    for address in range(tb.depth):
        await tb.step(write=(address, random.getrandbits(tb.width)))
    for address in range(tb.depth):
        await tb.step(read=address)
    for _ in range(2000):
        address = random.randrange(tb.depth)
        write = (address, random.getrandbits(tb.width)) if random.random() < 0.6 else None
        other = address if random.random() < 0.4 else random.randrange(tb.depth)
        await tb.step(write, other if random.random() < 0.6 else None)
    assert tb.reads > tb.depth + 500 and tb.collisions > 100 and tb.holds > 100


# A build for Verilator takes far longer than the test.
BUILT_SELDOM = pytest.mark.slow_on("verilator")


@pytest.mark.parametrize("width,depth", [
    *(pytest.param(*p, marks=BUILT_SELDOM) for p in ((1, 2), (8, 5), (32, 64))), (200, 17)])
def test_ram_1r1w(sim, seed, width, depth):
    run("sofa_ram_1r1w", __name__, {"WIDTH": width, "DEPTH": depth}, sim, seed=seed)


@pytest.mark.parametrize("parameters", [{"DEPTH": 1}, {"WIDTH": 0}, {"ADDR_W": 3}])
def test_illegal_parameters_are_refused(sim, parameters):
    from tb.runner import BuildError, build

    with pytest.raises(BuildError, match="illegal_parameter_sofa_ram_1r1w"):
        build("sofa_ram_1r1w", parameters, sim)
