# SPDX-License-Identifier: Apache-2.0
"""Bench of the store stage: sources of rows of O and of x beats, memory, the expected image."""

from __future__ import annotations

import random

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge

from tb.common.axi_memory import AxiMemory
from tb.common.scoreboard import Scoreboard, same, same_signals
from tb.common.signals import KnownReader, reader
from tb.common.stream import StreamSource, pattern
from tb.runner import CLOCK_PERIOD_NS, parameters

BASE = 0x5A_8765_0000 & ~0xFFF
# O lies in the lower half, x in the upper one: between IDs no order is promised.
SIZE = 1 << 19
HALF = SIZE // 2
O_ID, X_ID = 0, 1
# Stands for the code of an answer that breaks AXI4.
PROTOCOL = "protocol"


class TB:
    """Clock, memory and the two sources.

    ``want`` is the expected memory: what was there before, with all that was stored so far.
    Completion is checked in every cycle: ``blk_done`` comes one cycle after the last answer of its
    block, ``x_done`` one cycle after each answer of ID 1, and neither after an error or halt. A
    response that ``AxiMemory.stray_write`` sent changes nothing.

    Args:
        dut: sofa_store.
        idle: share of cycles in which a source offers nothing.
        memory: options of AxiMemory.
    """

    def __init__(self, dut, idle=0.0, **memory):
        self.dut, self.clk, self.idle = dut, dut.clk, idle
        self.p = parameters()
        self.d_max, self.bus_bytes = self.p["D_MAX"], self.p["BUS_BYTES"]
        # Rows of the largest blocks.
        self.rows = 2 * self.bus_bytes
        # The defaults of sofa_store.v.
        self.outstanding = self.p.get("OUTSTANDING", 64)
        self.words = self.p.get("WORDS", max(16, 8 * self.d_max // self.bus_bytes))
        self.x_outstanding = self.p.get("X_OUTSTANDING", 128)
        cocotb.start_soon(Clock(dut.clk, CLOCK_PERIOD_NS, unit="ns").start())
        self.rng = np.random.default_rng(random.getrandbits(32))
        self.want = self.rng.integers(0, 256, SIZE, dtype=np.uint8)
        self.memory = AxiMemory(dut, "m_axi", dut.clk, dut.rst, base=BASE, data=self.want.copy(),
                                seed=random.getrandbits(32), record=True, **memory)
        self.board = Scoreboard(dut._log)
        willing = [pattern(idle, random.getrandbits(32)) if idle else None for _ in range(2)]
        self.x = StreamSource(dut, "x", dut.clk, dut.rst, fields=("addr", "data", "strb"),
                              idle=willing[0])
        self.o = StreamSource(dut, "o", dut.clk, dut.rst, idle=willing[1],
                              fields=("data", "first", "addr", "last", "block_last"))
        dut.rst.value = 1
        dut.halt.value = 0
        self.config(8)
        self.cycle = 0
        # (err_id, err_resp) of each report.
        self.errors = []
        # BIDs of responses which nobody asked for and which are on their way.
        self.stray = []
        # Cycles of accepted beats of O and x, of W beats by ID, and of those with AWVALID.
        self.o_cycles, self.x_cycles, self.aw_cycles = [], [], []
        self.w_cycles = [[], []]
        self._forget()
        cocotb.start_soon(self._watch())

    def _forget(self):
        self.done = self.x_done = self.blocks = self.beats_x = 0
        # Answers of ID 0 after which each block is done.
        self.needed = []
        self.answered = [0, 0]
        self.due = [False, False]

    @property
    def beat_cycles(self):
        """Cycles of all W beats, in order."""
        return sorted(self.w_cycles[0] + self.w_cycles[1])

    async def reset(self, cycles=3):
        """Pulse rst; return whether W waited for memory in its last cycle, which can only be if
        that is the first one."""
        self.dut.rst.value = 1
        for _ in range(cycles):
            await RisingEdge(self.clk)
        waited = str(self.dut.m_axi_wvalid.value), str(self.dut.m_axi_wready.value)
        self.dut.rst.value = 0
        self.dut.halt.value = 0
        self._forget()
        self.errors.clear()
        self.memory.writes.clear()
        await RisingEdge(self.clk)
        return waited == ("1", "0")

    async def _watch(self):
        dut, edge = self.dut, RisingEdge(self.clk)
        rst, halt, done = reader(dut.rst), reader(dut.halt), reader(dut.blk_done)
        x_done = reader(dut.x_done)
        err, protocol, err_id, resp = (
            KnownReader(getattr(dut, f"err_{n}")) for n in ("valid", "protocol", "id", "resp"))
        valid, ready = reader(dut.m_axi_wvalid), reader(dut.m_axi_wready)
        events = [reader(dut.ev_beat), reader(dut.ev_beat_x)]
        b_valid, b_id, b_resp = (reader(dut.m_axi_bvalid), KnownReader(dut.m_axi_bid),
                                 reader(dut.m_axi_bresp))
        data, strobes = KnownReader(dut.m_axi_wdata), reader(dut.m_axi_wstrb)
        stall = reader(dut.ev_stall)
        wait, move, last = KnownReader(dut.bus_wait), reader(dut.bus_move), reader(dut.m_axi_wlast)
        aw_ready = reader(dut.m_axi_awready)
        # Bursts of which AW, and of which all W, was taken; those answered.
        addressed = sent = answered = 0
        aw, o_valid, o_ready = (reader(dut.m_axi_awvalid), reader(dut.o_valid),
                                reader(dut.o_ready))
        x_valid, x_ready = reader(dut.x_valid), reader(dut.x_ready)
        while True:
            await edge
            self.cycle += 1
            if rst() != "0":
                self.due, failed = [False, False], False
                addressed = sent = answered = 0
                continue
            assert [done(), x_done()] == [str(int(due)) for due in self.due], \
                f"done: expected {self.due}, answers {self.answered}"
            self.done += self.due[0]
            self.x_done += self.due[1]
            self.due = [False, False]
            owed = min(addressed, sent) > answered
            assert wait() == 4 * owed | 2 * (valid() == "1") | (aw() == "1"), "bus_wait"
            took = aw() == "1" and aw_ready() == "1", valid() == "1" and ready() == "1"
            addressed += took[0]
            sent += took[1] and last() == "1"
            stray = bool(self.stray) and b_valid() == "1" and b_id() == self.stray[0]
            answers = b_valid() == "1" and not stray
            answered += answers
            assert move() == str(int(any(took) or answers)), "bus_move"
            if b_valid() == "1":
                answer = b_id()
                if stray:
                    self.stray.pop(0)
                else:
                    assert answer in (O_ID, X_ID), f"store: answer of ID {answer}"
                    self.answered[answer] += 1
                    failed |= b_resp() != "00"
                    ends = answer == X_ID or self.answered[O_ID] in self.needed
                    self.due[answer] = ends and not failed and halt() == "0"
            if err():
                self.errors.append((err_id(), PROTOCOL if protocol() else resp()))
            if valid() == "1":
                open_bits = int("".join("00000000" if s == "1" else "11111111"
                                        for s in strobes()), 2)
                assert not data() & open_bits, "a byte without strobe is not 0"
                assert stall() != ready(), "ev_stall is not that of W"
            moved = valid() == "1" and ready() == "1"
            beats = [read() == "1" for read in events]
            assert sum(beats) == moved, f"store ev_beat: expected {moved:d}, got {sum(beats)}"
            if moved:
                self.w_cycles[beats.index(True)].append(self.cycle)
            if aw() == "1":
                self.aw_cycles.append(self.cycle)
            if o_valid() == "1" and o_ready() == "1":
                self.o_cycles.append(self.cycle)
            if x_valid() == "1" and x_ready() == "1":
                self.x_cycles.append(self.cycle)

    # -----------------------------------------------------------------------------------------
    # O
    # -----------------------------------------------------------------------------------------
    def config(self, d, stride=None):
        """Set up a job of head dimension ``d``; rows are at most two rows of beats apart."""
        self.d, n = d, self.bus_bytes
        self.beats = -(-2 * d // n)
        self.stride = stride or n * random.randint(self.beats, 2 * self.beats)
        self.dut.cfg_d.value = d

    def room(self, rows):
        """Return a random address for a block."""
        n = self.bus_bytes
        span = self.stride * (rows - 1) + self.beats * n
        return BASE + random.randrange(0, HALF - span + 1, n)

    async def block(self, rows, addr=None):
        """Hand over one block; returns after its last beat was taken."""
        self.hand_over(rows, addr)
        await self.o.drain()

    def hand_over(self, rows, addr=None):
        """Queue one block and expect it in memory."""
        addr, n = self.room(rows) if addr is None else addr, self.bus_bytes
        data = self.rng.integers(0, 256, (rows, self.beats * n), dtype=np.uint8)
        bursts = self.needed[-1] if self.needed else 0
        for r in range(rows):
            at = addr + r * self.stride - BASE
            self.want[at : at + 2 * self.d] = data[r, : 2 * self.d]
            bursts += 2 if at % 4096 + self.beats * n > 4096 else 1
        self.needed.append(bursts)
        self.blocks += 1
        for r in range(rows):
            for beat in range(self.beats):
                last = beat == self.beats - 1
                self.o.append({
                    "data": int.from_bytes(data[r, beat * n : (beat + 1) * n].tobytes(), "little"),
                    "first": beat == 0, "last": last, "block_last": last and r == rows - 1,
                    "addr": addr + r * self.stride if beat == 0 else random.getrandbits(48)})

    # -----------------------------------------------------------------------------------------
    # x
    # -----------------------------------------------------------------------------------------
    def write(self, addr=None, strb=None):
        """Queue one beat of x and expect it in memory."""
        n = self.bus_bytes
        addr = BASE + HALF + random.randrange(0, HALF, n) if addr is None else addr
        full = (1 << n) - 1
        strb = random.choice([full, full, random.getrandbits(n), 0]) if strb is None else strb
        data = random.randbytes(n)
        for i in range(n):
            if strb >> i & 1:
                self.want[addr - BASE + i] = data[i]
        self.beats_x += 1
        self.x.append({"addr": addr, "data": int.from_bytes(data, "little"), "strb": strb})

    # -----------------------------------------------------------------------------------------
    # End
    # -----------------------------------------------------------------------------------------
    async def finish(self, limit=20000):
        """Wait for everything, then compare the whole memory."""
        start = self.cycle
        while self.done < self.blocks or self.x_done < self.beats_x:
            assert self.cycle - start < limit, \
                f"{self.done} of {self.blocks} blocks, {self.x_done} of {self.beats_x} beats done"
            await RisingEdge(self.clk)
        for _ in range(3):
            await RisingEdge(self.clk)
        same_signals("store", self.dut, idle=1)
        assert self.memory.idle, "store is idle, its memory is not"
        same("store errors", [], self.errors)
        most = self.outstanding + self.x_outstanding
        assert self.memory.stats.max_writes <= most, \
            f"store bursts in flight: expected at most {most}, got {self.memory.stats.max_writes}"
        same("store answers of O, x", [self.needed[-1] if self.needed else 0, self.beats_x],
             self.answered)
        self.board.compare("memory", self.want, self.memory.data, axes=("byte",))
