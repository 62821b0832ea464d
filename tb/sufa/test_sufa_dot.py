# SPDX-License-Identifier: Apache-2.0
"""sofa_sufa_dot: s in every cycle, with gaps between beats and resets in the middle.

s is the sum of the beats of a vector up to the last one that is done, and holds until the next one
is; what was under way at a reset changes it no more.
"""

import cocotb
import numpy as np
import pytest
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge

from tb.common.scoreboard import pack, same
from tb.common.signals import reader, writer
from tb.runner import CLOCK_PERIOD_NS, BuildError, build, parameters, run
from tb.runner import seed as sim_seed

TOP = "sofa_sufa_dot"


class Dot:
    """Drives beats and knows s of each cycle."""

    def __init__(self, dut):
        p = parameters()
        self.w, self.s_w = p["W"], p["S_W"]
        self.dut, self.rng = dut, np.random.default_rng(sim_seed())
        self.names = ("rst", "in_valid", "in_first", "in_q", "in_k")
        self.put = {n: (writer(getattr(dut, n)), len(getattr(dut, n))) for n in self.names}
        self.get = reader(dut.s)
        # Sums that come with the beats under way, the oldest one last.
        self.pipe = [None] * (2 + ((self.w - 1).bit_length() + 1) // 2)
        self.total, self.s, self.compared, self.dropped = 0, None, 0, 0
        cocotb.start_soon(Clock(dut.clk, CLOCK_PERIOD_NS, unit="ns").start())

    async def cycle(self, beat=None, first=False, rst=0):
        """A cycle with a beat (q, k) or none, whose other inputs are random."""
        q, k = self.vectors() if beat is None else beat
        first = first if beat is not None else self.rng.integers(2)
        values = rst, beat is not None, first, pack(q, 16), pack(k, 16)
        for name, value in zip(self.names, values, strict=True):
            write, width = self.put[name]
            write(format(int(value), f"0{width}b"))
        if beat is not None:
            self.total = (0 if first else self.total) + int(q.astype(np.int64) @ k)
        await RisingEdge(self.dut.clk)
        if self.s is not None:
            same("sufa_dot", self.s, self.signed(), field="s")
            self.compared += 1
        self.pipe = [None if beat is None else self.total, *self.pipe]
        done = self.pipe.pop()
        self.s = self.s if done is None else done
        if rst:
            self.dropped += sum(x is not None for x in self.pipe)
            self.pipe = [None] * len(self.pipe)

    def signed(self):
        value = int(self.get(), 2)
        return value - (1 << self.s_w) if value >> (self.s_w - 1) else value

    def vectors(self):
        """q, k of a beat: random, of any size, or at the ends of their range."""
        ends = self.rng.choice([-32768, 32767], (2, self.w))
        reach = 1 << int(self.rng.integers(1, 16))
        other = self.rng.integers(-reach, reach, (2, self.w))
        return ends if self.rng.random() < 0.1 else other

    async def vector(self, beats, gap=0.0, break_off=0.0):
        """Send beats, with gaps in that share of cycles; a beat is the last one, with a reset, in
        that share of beats."""
        for n, beat in enumerate(beats):
            while self.rng.random() < gap:
                await self.cycle()
            rst = self.rng.random() < break_off
            await self.cycle(beat, n == 0, rst)
            if rst:
                return

    async def start(self):
        for _ in range(2):
            await self.cycle(rst=1)


@cocotb.test()
async def vectors(dut):
    """Vectors of all lengths, one behind the other and with gaps; the largest and smallest sum."""
    dot = Dot(dut)
    await dot.start()
    most = (1 << (dot.s_w - 32)) // dot.w
    for k in (-32768, 32767):
        ends = np.full(dot.w, -32768), np.full(dot.w, k)
        await dot.vector([ends] * min(most, 16))
    for gap in (0.0, 0.5):
        for _ in range(100):
            count = int(dot.rng.integers(1, 1 + min(most, 8)))
            await dot.vector([dot.vectors() for _ in range(count)], gap)
    for _ in range(len(dot.pipe)):
        await dot.cycle()
    assert dot.compared > 400


@cocotb.test()
async def resets(dut):
    """A reset of one cycle with beats at every stage: none of them reaches s."""
    dot = Dot(dut)
    await dot.start()
    most = min((1 << (dot.s_w - 32)) // dot.w, 4)
    for _ in range(60):
        for _ in range(3):
            await dot.vector([dot.vectors() for _ in range(most)], 0.3, 0.1)
        await dot.cycle(rst=1)
        for _ in range(int(dot.rng.integers(0, len(dot.pipe) + 2))):
            await dot.cycle()
    assert dot.dropped > 60 and dot.compared > 400


# A build for Verilator takes longer than the test.
SELDOM = pytest.mark.slow_on("verilator")


@pytest.mark.parametrize("w, s_w", [
    pytest.param(4, 36, marks=SELDOM), (8, 48), pytest.param(16, 38, marks=SELDOM), (32, 40)])
def test_sufa_dot(sim, seed, w, s_w):
    run(TOP, __name__, {"W": w, "S_W": s_w}, sim, seed=seed)


@pytest.mark.parametrize("bad", [{"W": 2}, {"W": 12}, {"W": 64}, {"S_W": 34}, {"S_W": 49}])
def test_illegal_parameters_are_refused(sim, bad):
    with pytest.raises(BuildError, match=f"illegal_parameter_{TOP}"):
        build(TOP, {"W": 8, "S_W": 40, **bad}, sim)
