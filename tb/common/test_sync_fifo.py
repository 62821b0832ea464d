# SPDX-License-Identifier: Apache-2.0
"""sofa_sync_fifo: order, levels, stability and throughput under every mix of idles.

sofa_skid_buffer has the same stream ports and is driven by the same bench (test_skid_buffer.py).
"""

import itertools
import random
from collections import deque

import cocotb
import pytest
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, ReadOnly, RisingEdge

from tb.common.scoreboard import same_signals
from tb.runner import CLOCK_PERIOD_NS, BuildError, build, parameters, run

WORDS = 300


class TB:
    """Drives at falling edges, samples just before rising edges; words are ints."""

    def __init__(self, dut):
        self.dut = dut
        self.width = parameters()["WIDTH"]
        # A skid buffer is a FIFO of two words.
        self.depth = parameters().get("DEPTH", 2)
        self.is_fifo = "DEPTH" in parameters()
        self.stored = deque()
        self.taken = 0
        self.full_seen = self.empty_seen = 0
        self.offered = None
        cocotb.start_soon(Clock(dut.clk, CLOCK_PERIOD_NS, unit="ns").start())

    async def reset(self, cycles=3):
        dut = self.dut
        dut.s_valid.value = dut.m_ready.value = dut.s_data.value = 0
        if self.is_fifo:
            dut.clear.value = 0
        dut.rst.value = 1
        for _ in range(cycles):
            await FallingEdge(dut.clk)
        same_signals("FIFO in reset", dut, m_valid=0, s_ready=0)
        dut.rst.value = 0
        self.stored.clear()
        await FallingEdge(dut.clk)

    async def step(self, word=None, ready=False, clear=False):
        """One cycle; returns True when ``word`` was accepted."""
        dut = self.dut
        dut.s_valid.value = word is not None
        # A word which is not offered must not matter.
        dut.s_data.value = random.getrandbits(self.width) if word is None else word
        before = int(dut.s_ready.value), int(dut.m_valid.value)
        dut.m_ready.value = int(ready)
        if self.is_fifo:
            dut.clear.value = int(clear)
        await ReadOnly()
        s_ready, m_valid = int(dut.s_ready.value), int(dut.m_valid.value)
        assert (s_ready, m_valid) == before, "handshake outputs depend on this cycle's inputs"
        assert m_valid == bool(self.stored)
        assert s_ready == (len(self.stored) < self.depth)
        if self.is_fifo:
            same_signals("FIFO", dut, level=len(self.stored))
        if m_valid:
            same_signals("FIFO", dut, m_data=self.stored[0])
        self.full_seen += not s_ready
        self.empty_seen += not m_valid
        accepted = word is not None and bool(s_ready)
        if m_valid and ready:
            self.stored.popleft()
            self.taken += 1
        if accepted:
            self.stored.append(word)
        if clear:
            self.stored.clear()
        await RisingEdge(dut.clk)
        await FallingEdge(dut.clk)
        return accepted


@cocotb.test()
async def idle_and_backpressure(dut):
    """All mixes of offered and taken rates; every word comes out once and in order."""
    tb = TB(dut)
    await tb.reset()
    for offer, take in itertools.product((0.15, 0.5, 1.0), repeat=2):
        sent, start = 0, tb.taken
        word = random.getrandbits(tb.width)
        while tb.taken - start < WORDS:
            offering = sent < WORDS and random.random() < offer
            if await tb.step(word if offering else None, random.random() < take):
                sent += 1
                word = random.getrandbits(tb.width)
        assert not tb.stored
    assert tb.taken == 9 * WORDS and tb.full_seen > 50 and tb.empty_seen > 50


@cocotb.test()
async def full_rate(dut):
    """With both sides always willing a word moves every cycle."""
    tb = TB(dut)
    await tb.reset()
    for n in range(WORDS):
        assert await tb.step(n % (1 << tb.width), True)
    assert tb.taken == WORDS - 1


@cocotb.test()
async def flush(dut):
    """clear empties the FIFO from every level, whatever moves in the same cycle."""
    tb = TB(dut)
    await tb.reset()
    flushed = 0
    for level, offer, take in itertools.product(range(tb.depth + 1), (0, 1), (0, 1)):
        while len(tb.stored) < level:
            await tb.step(random.getrandbits(tb.width))
        await tb.step(random.getrandbits(tb.width) if offer else None, take, clear=True)
        assert not tb.stored
        flushed += 1
        for _ in range(2 * tb.depth + 3):
            await tb.step(random.getrandbits(tb.width), random.random() < 0.5)
        while tb.stored:
            await tb.step(None, True)
    assert flushed == 4 * (tb.depth + 1)


@cocotb.test()
async def reset_from_every_level(dut):
    """A reset of one cycle empties it."""
    tb = TB(dut)
    await tb.reset()
    for level in (*range(tb.depth + 1), tb.depth):
        while len(tb.stored) < level:
            await tb.step(random.getrandbits(tb.width))
        await tb.step()
        await tb.reset(1)
        for _ in range(tb.depth + 3):
            await tb.step(random.getrandbits(tb.width), random.random() < 0.5)
        while tb.stored:
            await tb.step(None, True)
    assert tb.full_seen > 1


@pytest.mark.parametrize("width,depth", [(1, 2), (32, 5), (130, 16)])
def test_sync_fifo(sim, seed, width, depth):
    run("sofa_sync_fifo", __name__, {"WIDTH": width, "DEPTH": depth}, sim, seed=seed)


@pytest.mark.parametrize("parameters", [{"DEPTH": 1}, {"WIDTH": 0}, {"LEVEL_W": 2}])
def test_illegal_parameters_are_refused(sim, parameters):
    with pytest.raises(BuildError, match="illegal_parameter_sofa_sync_fifo"):
        build("sofa_sync_fifo", parameters, sim)
