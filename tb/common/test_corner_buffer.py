# SPDX-License-Identifier: Apache-2.0
"""sofa_corner_buffer against a Python array: every lane, beat and buffer, both ports at
full rate."""

import random

import cocotb
import pytest
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge

from tb.common.scoreboard import same
from tb.runner import CLOCK_PERIOD_NS, BuildError, build, parameters, run


class TB:
    """Drives both ports at the falling edge; ``mem[buf][lane][elem]`` is the expected content."""

    def __init__(self, dut):
        self.dut, p = dut, parameters()
        self.lanes, self.elems, self.width = p["LANES"], p["ELEMS"], p["WIDTH"]
        self.beat, self.bufs, self.rotate = p["BEAT"], p["BUFS"], p["ROTATE"]
        self.mem = [[[None] * self.elems for _ in range(self.lanes)] for _ in range(self.bufs)]
        self.expect = None
        self.compared = self.reads = self.writes = self.holds = 0
        cocotb.start_soon(Clock(dut.clk, CLOCK_PERIOD_NS, unit="ns").start())

    async def step(self, write=None, read=None):
        """One cycle: ``write`` is (buf, lane, beat), ``read`` (buf, elem); None is no access."""
        dut, mask = self.dut, (1 << self.width) - 1
        data = random.getrandbits(self.width * self.beat)
        dut.wr_valid.value, dut.rd_en.value = write is not None, read is not None
        buf, lane, beat = write or (0, 0, 0)
        dut.wr_buf.value, dut.wr_lane.value, dut.wr_beat.value = buf, lane, beat
        dut.wr_data.value = data
        dut.rd_buf.value, dut.rd_elem.value = read or (0, 0)
        if read:
            # A read sees the contents before the write of the same cycle.
            shift = 0 if self.rotate else read[1]
            self.expect = [self.mem[read[0]][(k - shift) % self.lanes][read[1]]
                           for k in range(self.lanes)]
        for j in range(self.beat if write else 0):
            elem = beat * self.beat + j
            if elem < self.elems:
                self.mem[buf][lane][elem] = data >> (j * self.width) & mask
        await FallingEdge(dut.clk)
        self.writes += write is not None
        if self.expect:
            self.reads += read is not None
            self.holds += read is None
            # Elements that were never written are undefined.
            text = str(dut.rd_data.value)
            for k, want in enumerate(self.expect):
                if want is not None:
                    end = len(text) - k * self.width
                    got = int(text[end - self.width:end], 2)
                    same("corner_buffer", want, got, slice=k, read=read)
                    self.compared += 1

    def beats(self):
        """Every beat number of a vector, and some that lie past its end where there are any."""
        past = -(-self.elems // self.beat)
        return [*range(past), *(n for n in (past, 85, 170, 255) if past <= n < 256)]


@cocotb.test()
async def every_place(dut):
    tb = TB(dut)
    await FallingEdge(dut.clk)
    places = [(u, n, t) for u in range(tb.bufs) for n in range(tb.lanes) for t in tb.beats()]
    random.shuffle(places)
    for place in places:
        await tb.step(write=place)
    for buf in range(tb.bufs):
        for elem in range(tb.elems):
            await tb.step(read=(buf, elem))
    assert tb.compared == tb.bufs * tb.elems * tb.lanes


@cocotb.test()
async def random_traffic(dut):
    tb = TB(dut)
    await FallingEdge(dut.clk)
    for _ in range(1500):
        write = (random.randrange(tb.bufs), random.randrange(tb.lanes),
                 random.choice(tb.beats())) if random.random() < 0.8 else None
        read = (random.randrange(tb.bufs), random.randrange(tb.elems))
        await tb.step(write, read if random.random() < 0.8 else None)
    assert tb.reads > 1000 and tb.writes > 1000 and tb.holds > 100 and tb.compared > 1000


# A build for Verilator takes far longer than the test.
BUILT_SELDOM = pytest.mark.slow_on("verilator")


@pytest.mark.parametrize("lanes,elems,width,beat,bufs,rotate", [
    pytest.param(4, 16, 4, 4, 2, 1, marks=BUILT_SELDOM),
    pytest.param(16, 16, 8, 8, 2, 1, marks=BUILT_SELDOM),
    pytest.param(16, 16, 8, 8, 2, 0, marks=BUILT_SELDOM),
    (8, 13, 5, 2, 3, 1),
    pytest.param(16, 5, 3, 1, 1, 1, marks=BUILT_SELDOM),
    pytest.param(2, 20, 16, 2, 4, 0, marks=BUILT_SELDOM),
    pytest.param(32, 64, 2, 32, 2, 1, marks=BUILT_SELDOM),
])
def test_corner_buffer(sim, seed, lanes, elems, width, beat, bufs, rotate):
    run("sofa_corner_buffer", __name__,
        {"LANES": lanes, "ELEMS": elems, "WIDTH": width, "BEAT": beat, "BUFS": bufs,
         "ROTATE": rotate}, sim, seed=seed)


@pytest.mark.parametrize("bad", [{"LANES": 12}, {"BEAT": 32}, {"BUFS": 5}, {"ELEMS": 1}])
def test_illegal_parameters_are_refused(sim, bad):
    with pytest.raises(BuildError, match="illegal_parameter_sofa_corner_buffer"):
        build("sofa_corner_buffer", bad, sim)
