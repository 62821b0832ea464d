# SPDX-License-Identifier: Apache-2.0
"""sofa_axi_read_track: which request each beat belongs to, and when there is no room for more."""

import random
from collections import deque

import cocotb
import pytest
from cocotb.clock import Clock
from cocotb.triggers import ReadOnly, RisingEdge

from tb.common.scoreboard import same_signals
from tb.runner import CLOCK_PERIOD_NS, parameters, run


class TB:
    """Sets the inputs of a cycle, compares all outputs; keeps the requests in a queue."""

    def __init__(self, dut):
        self.dut, self.most = dut, parameters()["OUTSTANDING"]
        self.compared = 0
        self.clear()
        cocotb.start_soon(Clock(dut.clk, CLOCK_PERIOD_NS, unit="ns").start())

    def clear(self):
        # Numbers of the requests that are outstanding; requests so far; beats of the oldest one.
        self.open, self.number, self.beat = deque(), 0, 0

    async def reset(self, beats):
        """For one cycle; vectors have another number of beats from then on."""
        dut = self.dut
        dut.rst.value, dut.push.value, dut.beat_valid.value = 1, 0, 0
        await RisingEdge(dut.clk)
        self.beats = dut.beats.value = beats
        self.clear()

    async def step(self, push, beat):
        """A request starts, if there is room; a beat comes, if one is owed."""
        dut, oldest = self.dut, (self.open[0] if self.open else self.number) % self.most
        push, beat = push and len(self.open) < self.most, bool(beat and self.open)
        dut.rst.value, dut.push.value, dut.beat_valid.value = 0, push, beat
        await ReadOnly()
        last = self.beat == self.beats - 1
        same_signals("axi_read_track", dut, full=int(len(self.open) == self.most), last=int(last),
                     wr_ptr=self.number % self.most, rd_ptr=oldest, beat=self.beat)
        self.compared += 1
        await RisingEdge(dut.clk)
        if push:
            self.open.append(self.number)
            self.number += 1
        if beat:
            self.beat = 0 if last else self.beat + 1
            if last:
                self.open.popleft()


@cocotb.test()
async def random_traffic(dut):
    """Requests and beats at random, full and empty for a while, vectors of any length; resets of
    one cycle in the middle."""
    tb, full = TB(dut), 0
    lengths = [1, 2, 255, *(random.choice((1, 3, 4, 8, random.randint(1, 255))) for _ in range(20))]
    for beats in lengths:
        await tb.reset(beats)
        # Full, down to nothing and full again, but for the longest vectors.
        for share in (1, 0.7, 0.3, 1, 0.5, 1):
            for _ in range(random.randint(2, 4 * tb.most)):
                await tb.step(random.random() < share, random.random() < 1.2 - share)
                full += len(tb.open) == tb.most
        # The reset finds all of them outstanding, or any number.
        while beats % 2 and len(tb.open) < tb.most:
            await tb.step(True, False)
    assert full > 100 and tb.compared > 1000


@cocotb.test()
async def full_and_empty(dut):
    """Full with single beats and longer vectors, a request as soon as there is room, all back."""
    tb = TB(dut)
    for beats in (1, 2, 5):
        await tb.reset(beats)
        for push, beat, count in ((1, 0, tb.most + 2), (1, 1, 3 * beats * tb.most),
                                  (0, 1, beats * tb.most + 2), (0, 0, 2)):
            for _ in range(count):
                await tb.step(push, beat)
        assert not tb.open and tb.number > 3 * tb.most
    assert tb.compared > 24 * tb.most


# A build for Verilator takes longer than the test.
@pytest.mark.parametrize("outstanding", [
    pytest.param(4, marks=pytest.mark.slow_on("verilator")), 8])
def test_sofa_axi_read_track(sim, seed, outstanding):
    run("sofa_axi_read_track", __name__, {"OUTSTANDING": outstanding}, sim, seed=seed)
