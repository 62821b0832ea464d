# SPDX-License-Identifier: Apache-2.0
"""Bench of the store stage: a source of blocks, memory, and the expected memory image."""

from __future__ import annotations

import random

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge

from tb.common.axi_memory import AxiMemory
from tb.common.scoreboard import Scoreboard, pack
from tb.common.signals import KnownReader, reader, writer
from tb.runner import CLOCK_PERIOD_NS, parameters

BASE = 0x5A_8765_0000 & ~0xFFF
SIZE = 1 << 18


class TB:
    """Clock, memory and source of element words.

    ``want`` is the expected memory: what was there before, with the blocks stored so far.

    Args:
        dut: store.
        idle: share of cycles in which no word is offered.
        memory: options of AxiMemory.
    """

    def __init__(self, dut, idle=0.0, **memory):
        self.dut, self.clk, self.idle = dut, dut.clk, idle
        self.p = parameters()
        self.rows, self.d_max = self.p["ROWS"], self.p["D_MAX"]
        self.bus_bytes = self.p["BUS_BYTES"]
        cocotb.start_soon(Clock(dut.clk, CLOCK_PERIOD_NS, unit="ns").start())
        self.rng = np.random.default_rng(random.getrandbits(32))
        self.want = self.rng.integers(0, 256, SIZE, dtype=np.uint8)
        self.memory = AxiMemory(dut, "m_axi", dut.clk, dut.rst, base=BASE, data=self.want.copy(),
                                seed=random.getrandbits(32), record=True, **memory)
        self.board = Scoreboard(dut._log)
        self.put = {n: writer(getattr(dut, f"o_{n}"))
                    for n in ("valid", "elem", "data", "last", "addr", "rows")}
        self.widths = {n: len(getattr(dut, f"o_{n}")) for n in self.put}
        self.ready = reader(dut.o_ready)
        self.offer(None)
        dut.rst.value = 1
        dut.halt.value = 0
        self.config(8)
        self.cycle = self.done = self.blocks = 0
        self.errors = []
        # Cycles of accepted words and W beats, and of those with AWVALID.
        self.word_cycles, self.beat_cycles, self.aw_cycles = [], [], []
        cocotb.start_soon(self._watch())

    async def reset(self):
        """Pulse rst."""
        self.offer(None)
        self.dut.rst.value = 1
        for _ in range(3):
            await RisingEdge(self.clk)
        self.dut.rst.value = 0
        self.dut.halt.value = 0
        self.done = self.blocks = 0
        self.errors.clear()
        self.memory.writes.clear()
        await RisingEdge(self.clk)

    async def _watch(self):
        dut, edge = self.dut, RisingEdge(self.clk)
        rst, done = reader(dut.rst), reader(dut.blk_done)
        err, resp = KnownReader(dut.err_valid), KnownReader(dut.err_resp)
        valid, ready = reader(dut.m_axi_wvalid), reader(dut.m_axi_wready)
        beat, aw, word = reader(dut.ev_beat), reader(dut.m_axi_awvalid), reader(dut.o_valid)
        while True:
            await edge
            self.cycle += 1
            if rst() != "0":
                continue
            if done() == "1":
                self.done += 1
                assert self.done <= self.blocks, "blk_done without a block"
            if err():
                self.errors.append(resp())
            moved = valid() == "1" and ready() == "1"
            assert (beat() == "1") == moved
            if moved:
                self.beat_cycles.append(self.cycle)
            if aw() == "1":
                self.aw_cycles.append(self.cycle)
            if word() == "1" and self.ready() == "1":
                self.word_cycles.append(self.cycle)

    def offer(self, item):
        """Drive a word (dict), or random bits without valid."""
        junk = {n: random.getrandbits(w) for n, w in self.widths.items() if n != "valid"}
        for name, value in {**junk, **(item or {}), "valid": item is not None}.items():
            self.put[name](format(int(value), f"0{self.widths[name]}b"))

    def config(self, d, stride=None):
        """Set up a job of head dimension ``d``; rows are at most two rows of beats apart."""
        self.d, n = d, self.bus_bytes
        self.beats = -(-2 * d // n)
        self.stride = stride or n * random.randint(self.beats, 2 * self.beats)
        self.dut.cfg_d.value, self.dut.cfg_o_stride.value = d, self.stride

    def room(self, rows):
        """Return a random address for a block."""
        n = self.bus_bytes
        span = self.stride * (rows - 1) + self.beats * n
        return BASE + random.randrange(0, SIZE - span + 1, n)

    async def block(self, rows, addr=None):
        """Hand over one block and expect it in memory; returns after its last word."""
        addr = self.room(rows) if addr is None else addr
        data = self.rng.integers(-32768, 32768, (self.rows, self.d))
        for r in range(rows):
            at = addr + r * self.stride - BASE
            self.want[at : at + 2 * self.d] = data[r].astype("<i2").view(np.uint8)
        self.blocks += 1
        await self.words(data, rows, addr)

    async def words(self, data, rows, addr):
        """Offer the words of a block; ready must stay high once the first one was taken."""
        edge = RisingEdge(self.clk)
        for e in range(self.d):
            while random.random() < self.idle:
                self.offer(None)
                await edge
                assert e == 0 or self.ready() == "1", f"ready fell at element {e}"
            self.offer({"elem": e, "data": pack(data[:, e], 16), "last": e == self.d - 1,
                        "addr": addr, "rows": rows})
            await edge
            start = self.cycle
            while self.ready() != "1":
                assert e == 0, f"ready fell at element {e}"
                assert self.cycle - start < 20000, "the buffer never becomes free"
                await edge
        self.offer(None)

    async def finish(self, limit=20000):
        """Wait for all blocks, then compare the whole memory."""
        start = self.cycle
        while self.done < self.blocks:
            assert self.cycle - start < limit, f"{self.done} of {self.blocks} blocks done"
            await RisingEdge(self.clk)
        for _ in range(3):
            await RisingEdge(self.clk)
        assert int(self.dut.idle.value) == 1 and self.memory.idle and not self.errors
        self.board.compare("memory", self.want, self.memory.data, axes=("byte",))
