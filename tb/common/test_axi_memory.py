# SPDX-License-Identifier: Apache-2.0
"""AxiMemory under a clocked master: data, order, timing, faults, reset, bad masters, speed."""

import random
import time

import cocotb
import numpy as np
import pytest
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, RisingEdge, Timer

from tb import runner
from tb.common.axi_memory import AxiMemory, AxiProtocolError
from tb.common.scoreboard import Scoreboard
from tb.common.stream import StreamMonitor
from tb.runner import CLOCK_PERIOD_NS, run

BASE = 0x8_0000_0000
SIZE = 1 << 20
STEP = 0x9E3779B9

# Each profile is one way to set up the memory.
PROFILES = {
    "plain": {},
    "latency": {"read_latency": (1, 30), "write_latency": (1, 30)},
    "stalls": {"ar_stall": 0.5, "aw_stall": 0.5, "w_stall": 0.4, "r_gap": 0.4, "b_gap": 0.4},
    "reorder": {"reorder": True, "read_latency": (5, 50), "write_latency": (5, 50)},
    "interleave": {"reorder": True, "interleave": True, "read_latency": (5, 50),
                   "write_latency": (5, 50), "r_gap": 0.1},
    "late_w": {"early_w": False, "aw_stall": 0.3},
    "one_at_a_time": {"max_reads": 1, "max_writes": 1, "read_latency": 3},
    "everything": {"reorder": True, "interleave": True, "read_latency": (1, 40),
                   "write_latency": (1, 40), "ar_stall": 0.3, "aw_stall": 0.3, "w_stall": 0.3,
                   "r_gap": 0.3, "b_gap": 0.3, "max_reads": 5, "max_writes": 5},
}


class TB:
    """Master, memory with random contents, and the expected contents."""

    def __init__(self, dut, **options):
        self.dut = dut
        cocotb.start_soon(Clock(dut.clk, CLOCK_PERIOD_NS, unit="ns").start())
        self.edge = RisingEdge(dut.clk)
        self.rng = random.Random(runner.seed())
        self.width = len(dut.m_axi_rdata)
        self.n = self.width // 8
        self.mem = AxiMemory(dut, "m_axi", dut.clk, dut.rst,
                             **{"size": SIZE, "base": BASE, "seed": runner.seed(), **options})
        self.mem.data[:] = np.frombuffer(self.rng.randbytes(SIZE), np.uint8)
        self.expected = self.mem.data.copy()
        self.board = Scoreboard(dut._log)
        self.word = STEP
        for handle in (dut.rd_start, dut.wr_start, dut.bursts, dut.len, dut.rd_base, dut.wr_base,
                       dut.id_mask, dut.ready_mode, dut.random_strb, dut.aw_delay, dut.manual,
                       dut.t_arvalid, dut.t_awvalid, dut.t_wvalid, dut.t_rready, dut.t_bready):
            handle.value = 0

    async def reset(self):
        self.dut.rst.value = 1
        await ClockCycles(self.dut.clk, 4)
        self.dut.rst.value = 0
        await self.edge
        self.word = STEP

    def watch_reads(self):
        """Return a monitor of the read beats."""
        return StreamMonitor(self.dut, "tap_r", self.dut.clk, self.dut.rst,
                             fields=("id", "data", "resp", "last"))

    async def start(self, *, bursts, beats, read=None, write=None, id_mask=3, ready_mode=0,
                    random_strb=0, aw_delay=0, expect=True):
        """Start runs at the byte offsets ``read`` and ``write`` of the memory."""
        dut = self.dut
        dut.bursts.value, dut.len.value, dut.id_mask.value = bursts, beats - 1, id_mask
        dut.rd_base.value, dut.wr_base.value = BASE + (read or 0), BASE + (write or 0)
        dut.ready_mode.value, dut.random_strb.value = ready_mode, random_strb
        dut.aw_delay.value = aw_delay
        dut.rd_start.value, dut.wr_start.value = read is not None, write is not None
        await self.edge
        dut.rd_start.value = dut.wr_start.value = 0
        if write is not None and expect:
            self._expect_write(write, bursts * beats, random_strb)
        await self.edge
        await self.edge

    async def done(self, limit=200_000):
        dut = self.dut
        for _ in range(limit):
            await self.edge
            if int(dut.rd_done.value) and int(dut.wr_done.value):
                return
        raise AssertionError(f"not done after {limit} cycles")

    def _expect_write(self, offset, beats, random_strb):
        """Repeat on ``expected`` what axi_traffic writes."""
        for beat in range(beats):
            data = np.frombuffer(self.word.to_bytes(4, "little") * (self.n // 4), np.uint8)
            strobe = self.word >> 28 if random_strb else 15
            mask = np.array([strobe >> (i % 4) & 1 for i in range(self.n)], bool)
            at = offset + beat * self.n
            self.expected[at : at + self.n][mask] = data[mask]
            self.word = (self.word + STEP) & 0xFFFFFFFF

    def check_memory(self):
        self.board.compare("memory", self.expected, self.mem.data, axes=("byte",), width=8)

    def check_reads(self, items, *, offset, bursts, beats, id_mask=3):
        """Check data and LAST of all beats, in order within each ID; return the order of IDs."""
        words = self.expected[offset : offset + bursts * beats * self.n].reshape(-1, self.n)
        todo = {}
        for burst in range(bursts):
            for beat in range(beats):
                todo.setdefault(burst & id_mask, []).append((burst * beats + beat,
                                                             beat == beats - 1))
        got, want = [], []
        for item in items:
            index, last = todo[item["id"]].pop(0)
            assert item["last"] == last, f"LAST at beat {index}"
            assert item["resp"] == 0
            got.append(np.frombuffer(item["data"].to_bytes(self.n, "little"), np.uint8))
            want.append(words[index])
        assert not any(todo.values()), "beats are missing"
        self.board.compare("read", np.array(want), np.array(got), axes=("beat", "byte"), width=8)
        return [item["id"] for item in items]


# ---------------------------------------------------------------------------------------------
# Good masters
# ---------------------------------------------------------------------------------------------
@cocotb.test()
@cocotb.parametrize(profile=list(PROFILES), ready_mode=[0, 1, 2])
async def traffic(dut, profile, ready_mode):
    """Reads and writes at once: every beat right, order as asked, statistics exact."""
    options = PROFILES[profile]
    tb = TB(dut, record=True, **options)
    taps = tb.watch_reads()
    await tb.reset()
    total = 0
    longest = min(256, 4096 // tb.n)
    for bursts, beats in ((1, 1), (40, 1), (17, 4), (12, 8), (1, longest)):
        read, write = tb.rng.randrange(0, 64) * 4096, tb.rng.randrange(64, 128) * 4096
        before, stats = len(taps.items), tb.mem.stats
        stats.reset()
        tb.mem.reads.clear()
        expect = list(range(bursts))
        await tb.start(bursts=bursts, beats=beats, read=read, write=write, ready_mode=ready_mode,
                       random_strb=beats == 4, aw_delay=tb.rng.choice((0, 0, 7)))
        await tb.done()
        await ClockCycles(dut.clk, 2)
        ids = tb.check_reads(taps.items[before:], offset=read, bursts=bursts, beats=beats)
        tb.check_memory()
        in_order = [b & 3 for b in expect for _ in range(beats)]
        if not options.get("reorder"):
            assert ids == in_order
        elif bursts > 20:
            assert ids != in_order, "nothing was reordered"
        if not options.get("interleave"):
            assert all(len(set(ids[b * beats : (b + 1) * beats])) == 1 for b in expect)
        elif bursts > 10 and beats > 1:
            runs = 1 + sum(a != b for a, b in zip(ids, ids[1:], strict=False))
            assert runs > bursts, "no beats were interleaved"
        assert tb.mem.reads == [(BASE + read + b * beats * tb.n, beats, b & 3) for b in expect]
        assert stats.read_bursts == stats.write_bursts == bursts
        assert stats.read_beats == stats.write_beats == bursts * beats
        assert stats.read_bytes == bursts * beats * tb.n == sum(stats.read_bytes_by_id.values())
        assert stats.write_bytes == sum(stats.write_bytes_by_id.values())
        assert stats.write_bursts_by_id == {i: ids_of(bursts, i) for i in range(min(4, bursts))}
        assert 1 <= stats.max_reads <= tb.mem.max_reads
        assert stats.busy_cycles >= bursts * beats
        assert tb.mem.idle and not tb.mem.errors
        total += bursts * beats
    assert len(taps.items) == total and tb.board.finish("read", "memory") > total * tb.n


def ids_of(bursts, index):
    """Return how many of ``bursts`` have the ID ``index`` of 4."""
    return len(range(index, bursts, 4))


@cocotb.test()
@cocotb.parametrize(latency=[1, 2, 7, 40])
async def read_latency_is_exact(dut, latency):
    tb = TB(dut, read_latency=latency)
    requests = StreamMonitor(dut, "m_axi_ar", dut.clk, dut.rst, fields=("addr",), use_ready=True,
                             bus_separator="")
    beats = StreamMonitor(dut, "m_axi_r", dut.clk, dut.rst, fields=("data",), bus_separator="")
    await tb.reset()
    for pause in (1, 5, 60):
        await tb.start(bursts=1, beats=1, read=0)
        await tb.done()
        await ClockCycles(dut.clk, pause)
    took = [r - a for a, r in zip(requests.cycles, beats.cycles, strict=True)]
    assert took == [latency] * 3, took


@cocotb.test()
async def full_bandwidth(dut):
    """One beat a cycle in each direction at once, whatever the latency."""
    tb = TB(dut, read_latency=30, write_latency=30)
    reads = StreamMonitor(dut, "tap_r", dut.clk, dut.rst, fields=("id",))
    writes = StreamMonitor(dut, "tap_w", dut.clk, dut.rst, fields=("strb",))
    await tb.reset()
    await tb.start(bursts=100, beats=8, read=0, write=SIZE // 2)
    await tb.done()
    for monitor in (reads, writes):
        assert monitor.cycles == list(range(monitor.cycles[0], monitor.cycles[0] + 800))
    tb.check_memory()
    assert tb.mem.stats.max_reads >= 30 // 8
    tb.board.finish()


@cocotb.test()
@cocotb.parametrize(early_w=[True, False])
async def data_before_address(dut, early_w):
    """With early_w all data of a burst goes ahead of its address, without it none does."""
    tb = TB(dut, early_w=early_w)
    requests = StreamMonitor(dut, "m_axi_aw", dut.clk, dut.rst, fields=("addr",), use_ready=True,
                             bus_separator="")
    data = StreamMonitor(dut, "tap_w", dut.clk, dut.rst, fields=("data",))
    await tb.reset()
    for run_number in range(4):
        # Long idle before, so that write data alone must wake the memory.
        await ClockCycles(dut.clk, 60)
        await tb.start(bursts=1, beats=4, write=4096 * run_number, aw_delay=40)
        await tb.done()
        first, last = data.cycles[-4], data.cycles[-1]
        assert last < requests.cycles[-1] if early_w else first > requests.cycles[-1]
    tb.check_memory()
    assert data.count == 16 and not tb.mem.errors
    tb.board.finish()


@cocotb.test()
async def sleeps_and_keeps_time(dut):
    """After long idle times the next burst is served as before and cycles are counted right."""
    tb = TB(dut)
    # Callbacks run inside the memory's own wake-up, where both counts must agree.
    times = []
    tb.mem.add_callback(lambda _: times.append((tb.mem.cycle, tb.mem._counter.now())))
    await tb.reset()
    for pause in (10, 25, 26, 27, 28, 1000):
        await ClockCycles(dut.clk, pause)
        await tb.start(bursts=2, beats=2, read=0, write=4096)
        await tb.done()
        tb.check_memory()
    for read, write in ((None, 0), (0, None), (None, 4096)):
        await ClockCycles(dut.clk, 60)
        await tb.start(bursts=1, beats=1, read=read, write=write)
        await tb.done(20)
    await ClockCycles(dut.clk, 2)
    tb.check_memory()
    assert len(times) == 27 and all(a == b for a, b in times), times
    assert times[-1][0] > 1100
    assert not tb.mem.errors
    tb.board.finish()


@cocotb.test()
async def reset_flushes(dut):
    """Reset in the middle of traffic forgets every burst; the next run is clean."""
    tb = TB(dut, read_latency=(5, 60), write_latency=(5, 60), reorder=True, interleave=True)
    taps = tb.watch_reads()
    await tb.reset()
    for _ in range(5):
        await tb.start(bursts=30, beats=4, read=0, write=SIZE // 2)
        await ClockCycles(dut.clk, tb.rng.randrange(10, 90))
        dut.rst.value = 1
        await tb.edge
        await tb.edge
        await tb.edge
        for signal in (dut.m_axi_rvalid, dut.m_axi_bvalid, dut.m_axi_arready, dut.m_axi_awready,
                       dut.m_axi_wready):
            assert int(signal.value) == 0, signal._name
        assert tb.mem.idle
        await tb.reset()
        # What the aborted run did not write is unknown to the model.
        tb.expected[:] = tb.mem.data
        before = len(taps.items)
        await tb.start(bursts=9, beats=4, read=4096, write=SIZE // 2)
        await tb.done()
        tb.check_reads(taps.items[before:], offset=4096, bursts=9, beats=4)
        tb.check_memory()
    assert not tb.mem.errors
    tb.board.finish("read", "memory")


@cocotb.test()
async def only_windows_are_memory(dut):
    """With windows, beats in one have its bytes, all others are answered with DECERR."""
    tb = TB(dut)
    taps = tb.watch_reads()
    await tb.reset()
    n, before = tb.n, tb.mem.data.copy()
    tb.mem.map.window(BASE + 0x40000, 2 * n, 3 * n)
    tb.mem.map.window(BASE + 0x80000 + n, n, 0)
    for at, beats in ((0x40000, 4), (0x80000, 3), (0, 1)):
        await tb.start(bursts=1, beats=beats, read=at)
        await tb.done()
    words = [int.from_bytes(before[i * n :][:n].tobytes(), "little") for i in range(5)]
    bad = int.from_bytes(b"\xe7" * n, "little")
    assert [(item["resp"], item["data"]) for item in taps.items] == [
        (0, words[3]), (0, words[4]), (3, bad), (3, bad), (3, bad), (0, words[0]), (3, bad),
        (3, bad)]
    assert tb.mem.dump(BASE + 0x40000, n).tolist() == before[3 * n : 4 * n].tolist()
    with pytest.raises(IndexError, match="outside the memory"):
        tb.mem.dump(BASE, 1)


@cocotb.test()
async def faults_answer_errors(dut):
    """Injected faults and addresses outside give the right response beat by beat."""
    tb = TB(dut)
    tb.mem.add_fault(BASE + 4096 + tb.n, BASE + 4096 + 2 * tb.n - 1, "read", "SLVERR")
    tb.mem.add_fault(BASE + 8192, BASE + 8192, "write", "SLVERR")
    tb.mem.add_fault(BASE + 8192 + tb.n, BASE + 8192 + tb.n, "write", "DECERR")
    answers = []
    tb.mem.add_callback(answers.append)
    taps = tb.watch_reads()
    await tb.reset()
    await tb.start(bursts=1, beats=4, read=4096)
    await tb.done()
    await tb.start(bursts=1, beats=2, read=SIZE)
    await tb.done()
    await tb.start(bursts=1, beats=2, read=-4096)
    await tb.done()
    assert [item["resp"] for item in taps.items] == [0, 2, 0, 0, 3, 3, 3, 3]
    bad = int.from_bytes(b"\xe7" * tb.n, "little")
    assert [item["data"] == bad for item in taps.items] == [r != 0 for r in
                                                             (0, 2, 0, 0, 3, 3, 3, 3)]

    old = tb.expected.copy()
    await tb.start(bursts=3, beats=1, write=8192)
    await tb.done()
    # The faulty beats must not have reached the memory.
    tb.expected[8192 : 8192 + 2 * tb.n] = old[8192 : 8192 + 2 * tb.n]
    tb.check_memory()
    # A burst answers with its worst beat, be that the first or the last of them.
    tb.mem.add_fault(BASE + 8192 + 2 * tb.n, BASE + 8192 + 2 * tb.n, "write", "SLVERR")
    for at in (8192, 8192 + tb.n):
        tb.expected[:] = tb.mem.data
        await tb.start(bursts=1, beats=2, write=at)
        await tb.done()
        assert answers.pop() == ("write", BASE + at, 2, 0, 3)
    assert answers == [
        ("read", BASE + 4096, 4, 0, 2), ("read", BASE + SIZE, 2, 0, 3),
        ("read", BASE - 4096, 2, 0, 3), ("write", BASE + 8192, 1, 0, 2),
        ("write", BASE + 8192 + tb.n, 1, 1, 3), ("write", BASE + 8192 + 2 * tb.n, 1, 2, 0)]
    for wrong in ((1, 0, "read", "SLVERR"), (0, 1, "both", "SLVERR"), (0, 1, "read", "OKAY")):
        with pytest.raises(ValueError):
            tb.mem.add_fault(*wrong)
    tb.board.finish()


@cocotb.test()
async def dead_channels(dut):
    """Each channel makes so many transfers and then none; alive again, all goes on rightly."""
    tb = TB(dut)
    beats = StreamMonitor(dut, "tap_r", dut.clk, dut.rst, fields=("last",))
    await tb.reset()
    left = {"ar": lambda s: 4 - s.read_bursts, "r": lambda s: 12 - s.read_beats,
            "aw": lambda s: 4 - s.write_bursts, "w": lambda s: 12 - s.write_beats,
            "b": lambda s: 4 - s.write_bursts}
    for channel, count in left.items():
        stats, side = tb.mem.stats, "read" if channel in ("ar", "r") else "write"
        for made in (0, 2):
            stats.reset()
            tb.mem.dead = {channel: made}
            await ClockCycles(dut.clk, 2)
            await tb.start(bursts=4, beats=3, **{side: 4096})
            await ClockCycles(dut.clk, 60)
            full = 12 if channel in ("r", "w") else 4
            assert count(stats) == full - made, (channel, made, count(stats))
            tb.mem.dead.clear()
            await tb.done()
            assert count(stats) == 0
            tb.check_memory()
    assert beats.items == [0, 0, 1] * 4 * 4
    # What a dead memory does not take may be taken back, and restart forgets the rest.
    tb.mem.dead = {"ar": 1, "b": 0}
    await ClockCycles(dut.clk, 2)
    await tb.start(bursts=4, beats=1, read=0, write=4096)
    await ClockCycles(dut.clk, 40)
    assert tb.mem.outstanding_writes == 4
    dut.manual.value = 1
    await ClockCycles(dut.clk, 3)
    tb.mem.restart()
    assert tb.mem.idle and not tb.mem.errors and not tb.mem.dead
    for wrong in ({"dead": {"x": 0}}, {"dead": {"r": -1}}, {"rlast": "late"}):
        with pytest.raises(ValueError):
            AxiMemory(dut, "m_axi", dut.clk, dut.rst, **wrong)
    tb.board.finish()


@cocotb.test()
async def broken_responses(dut):
    """RLAST never or always; beats and responses that nobody asked for, also out of sleep."""
    tb = TB(dut)
    taps = tb.watch_reads()
    answers = StreamMonitor(dut, "m_axi_b", dut.clk, dut.rst, fields=("id", "resp"),
                            bus_separator="")
    await tb.reset()
    for rlast, want in (("never", [0] * 6), ("always", [1] * 6), ("right", [0, 0, 1] * 2)):
        taps.items.clear()
        tb.mem.rlast = rlast
        await tb.start(bursts=2, beats=3, read=0)
        await ClockCycles(dut.clk, 30)
        assert [item["last"] for item in taps.items] == want, rlast
        dut.rst.value = 1
        await ClockCycles(dut.clk, 2)
        await tb.reset()
    taps.items.clear()
    await ClockCycles(dut.clk, 60)
    tb.mem.stray_read(3)
    await ClockCycles(dut.clk, 60)
    tb.mem.stray_read(2, last=False)
    tb.mem.stray_write(1)
    tb.mem.stray_write(3)
    dut.manual.value = dut.t_bready.value = dut.t_rready.value = 1
    await ClockCycles(dut.clk, 10)
    poison = int.from_bytes(b"\xe7" * tb.n, "little")
    assert [tuple(item.values()) for item in taps.items] == [(3, poison, 0, 1), (2, poison, 0, 0)]
    assert [tuple(item.values()) for item in answers.items] == [(1, 0), (3, 0)]
    assert tb.mem.stats.write_bursts == 0 and tb.mem.idle


@cocotb.test()
async def spoiled_transfers(dut):
    """One beat or answer with another response, ID or RLAST, all others as they should be; one
    transfer of each channel late, and all data right."""
    tb = TB(dut)
    taps = tb.watch_reads()
    answers = StreamMonitor(dut, "m_axi_b", dut.clk, dut.rst, fields=("id", "resp"),
                            bus_separator="")
    await tb.reset()
    cases = [("r", "SLVERR", 0, "resp", 2), ("r", "DECERR", 0, "resp", 3), ("r", "last", 0,
             "last", None), ("r", "id", 3, "id", 3), ("b", "SLVERR", 0, "resp", 2),
             ("b", "DECERR", 0, "resp", 3), ("b", "id", 3, "id", 3)]
    for channel, kind, value, field, want in cases:
        for after in (0, 4):
            seen, side = (taps, "read") if channel == "r" else (answers, "write")
            items = []
            for spoiled in (False, True):
                seen.items.clear()
                if spoiled:
                    tb.mem.upset(channel, after, kind, value)
                await tb.start(bursts=6, beats=3, expect=False, **{side: 4096})
                await tb.done()
                await ClockCycles(dut.clk, 3)
                items.append([dict(item) for item in seen.items])
            assert not tb.mem.upsets
            right, wrong = items
            assert len(right) == (18 if channel == "r" else 6)
            wanted = 1 - right[after][field] if want is None else want
            assert wrong[after][field] == wanted != right[after][field], (channel, kind)
            if kind in ("SLVERR", "DECERR") and channel == "r":
                assert wrong[after]["data"] == int.from_bytes(b"\xe7" * tb.n, "little")
                right[after]["data"] = wrong[after]["data"]
            right[after][field] = wrong[after][field]
            assert right == wrong, (channel, kind)
    for channel in ("ar", "r", "aw", "w", "b"):
        side, took = "read" if channel in ("ar", "r") else "write", []
        for late in (0, 200):
            await ClockCycles(dut.clk, 2)
            tb.mem.upset(channel, 3, "late", late)
            begin = tb.mem._counter.now()
            await tb.start(bursts=6, beats=3, expect=False, **{side: 4096})
            await tb.done()
            took.append(tb.mem._counter.now() - begin)
        assert 180 < took[1] - took[0] < 220 and not tb.mem.upsets, (channel, took)
    for wrong in (("x", 0, "late"), ("r", -1, "late"), ("b", 0, "last"), ("ar", 0, "SLVERR")):
        with pytest.raises(ValueError):
            tb.mem.upset(*wrong)
    # The same memory in another way: nothing of the old one is left.
    tb.mem.behave(read_latency=50, max_reads=1)
    assert tb.mem.w_stall == 0 and tb.mem.max_reads == 1
    taps.items.clear()
    await tb.start(bursts=2, beats=3, read=0)
    await tb.done()
    assert len(taps.items) == 6


@cocotb.test()
async def double_reads_are_found(dut):
    tb = TB(dut, detect_double_reads=True)
    await tb.reset()
    for read in (0, 4096, 4096 + 3 * tb.n):
        await tb.start(bursts=1, beats=4, read=read, id_mask=0)
        await tb.done()
    assert tb.mem.double_reads == [(BASE + 4096 + 3 * tb.n, 0)]
    tb.mem.forget_reads()
    await tb.start(bursts=1, beats=4, read=0)
    await tb.done()
    assert tb.mem.double_reads == []


@cocotb.test()
async def load_and_dump(dut):
    tb = TB(dut)
    values = np.array([-2, 300, -32768, 32767], np.int16)
    tb.mem.load(BASE + 6, values)
    assert (tb.mem.dump(BASE + 6, 4, np.int16) == values).all()
    assert bytes(tb.mem.data[6:8]) == b"\xfe\xff"
    for address, count in ((BASE - 1, 1), (BASE + SIZE, 1), (BASE + SIZE - 1, 2)):
        with pytest.raises(IndexError):
            tb.mem.dump(address, count)
    for wrong in ({"base": 64}, {"read_latency": 0}, {"r_gap": 1.0}, {"interleave": True},
                  {"size": 9}, {"faults": [(0, 1, "read", "ERR")]}):
        with pytest.raises(ValueError):
            AxiMemory(dut, "m_axi", dut.clk, dut.rst, **wrong)
    with pytest.raises(ValueError):
        AxiMemory(dut, "no_such", dut.clk, dut.rst)


# ---------------------------------------------------------------------------------------------
# Bad masters
# ---------------------------------------------------------------------------------------------
class Manual(TB):
    """The test bench is the master."""

    async def begin(self):
        await self.reset()
        size = self.n.bit_length() - 1
        self.put(arid=1, araddr=BASE, arlen=0, arsize=size, arburst=1, awid=1, awaddr=BASE,
                 awlen=0, awsize=size, awburst=1, wdata=5, wstrb=(1 << self.n) - 1, wlast=1,
                 rready=1, bready=1)
        self.dut.manual.value = 1
        await ClockCycles(self.dut.clk, 3)

    def put(self, **signals):
        for name, value in signals.items():
            getattr(self.dut, f"t_{name}").value = value

    async def cycle(self, **signals):
        """Drive signals for one cycle."""
        self.put(**signals)
        await self.edge

    async def request(self, channel, **signals):
        """Offer one request for as long as it takes."""
        self.put(**signals, **{f"{channel}valid": 1})
        await self.edge
        while not int(getattr(self.dut, f"m_axi_{channel}ready").value):
            await self.edge
        self.put(**{f"{channel}valid": 0})


async def _dropped(tb, channel):
    await tb.cycle(**{f"{channel}valid": 1})
    await tb.cycle(**{f"{channel}valid": 0})


async def _changed(tb, channel, field, value):
    await tb.cycle(**{f"{channel}valid": 1})
    await tb.cycle(**{field: value})
    tb.mem.ar_stall = tb.mem.aw_stall = tb.mem.w_stall = 0.0
    await tb.cycle()


async def _early_last(tb):
    await tb.request("aw", awlen=1)
    await tb.request("w", wlast=1)
    await tb.request("w", wlast=1)


async def _missing_last(tb):
    await tb.request("aw", awlen=1)
    await tb.request("w", wlast=0)
    await tb.request("w", wlast=0)


async def _write_below_start(tb):
    await tb.request("aw", awaddr=BASE + 1)
    await tb.request("w")


# name -> (what the master does, options of the memory, words every message must have)
BLOCKED = {"ar_stall": 0.999999, "aw_stall": 0.999999, "w_stall": 0.999999}
BAD = {
    "read crosses 4K": (lambda tb: tb.request("ar", araddr=BASE + 4096 - tb.n, arlen=1), {},
                        "m_axi_araddr=0x800000f 4 KiB"),
    "write crosses 4K": (lambda tb: tb.request("aw", awaddr=BASE + 8192 - tb.n, awlen=1), {},
                         "m_axi_awaddr=0x800001f 4 KiB"),
    "size": (lambda tb: tb.request("ar", arsize=0), {}, "m_axi_araddr=0x800000000 size 0"),
    "write size": (lambda tb: tb.request("aw", awsize=1), {}, "m_axi_awaddr=0x800000000 size 1"),
    "fixed burst": (lambda tb: tb.request("ar", arburst=0), {}, "m_axi_araddr burst type 0"),
    "wrap burst": (lambda tb: tb.request("aw", awburst=2), {}, "m_axi_awaddr burst type 2"),
    "unaligned": (lambda tb: tb.request("ar", araddr=BASE + 4), {}, "0x800000004 aligned"),
    "early last": (_early_last, {}, "m_axi_wlast is 1 at beat 0 0x800000000"),
    "missing last": (_missing_last, {}, "m_axi_wlast is 0 at beat 1 0x800000000"),
    "write below start": (_write_below_start, {"allow_unaligned": True}, "m_axi_wstrb 0x800000001"),
    "ar dropped": (lambda tb: _dropped(tb, "ar"), BLOCKED, "m_axi_arvalid dropped 0x800000000"),
    "aw dropped": (lambda tb: _dropped(tb, "aw"), BLOCKED, "m_axi_awvalid dropped 0x800000000"),
    "w dropped": (lambda tb: _dropped(tb, "w"), BLOCKED, "m_axi_wvalid dropped"),
    "araddr changed": (lambda tb: _changed(tb, "ar", "araddr", BASE + 4096), BLOCKED,
                       "m_axi_araddr changed 0x800001000"),
    "arid changed": (lambda tb: _changed(tb, "ar", "arid", 2), BLOCKED, "m_axi_arid changed"),
    "awlen changed": (lambda tb: _changed(tb, "aw", "awlen", 2), BLOCKED, "m_axi_awlen changed"),
    "wdata changed": (lambda tb: _changed(tb, "w", "wdata", 6), BLOCKED, "m_axi_wdata changed 0x5"),
    "wstrb changed": (lambda tb: _changed(tb, "w", "wstrb", 1), BLOCKED, "m_axi_wstrb changed"),
}


@cocotb.test()
async def bad_masters_are_named(dut):
    """Each broken rule gives an error which names signal and address, and nothing else does."""
    tb = Manual(dut, strict=False)
    await tb.begin()
    mem, dead = tb.mem, []
    for name, (behave, options, words) in BAD.items():
        for option in ("ar_stall", "aw_stall", "w_stall"):
            setattr(mem, option, options.get(option, 0.0))
        mem.allow_unaligned = options.get("allow_unaligned", False)
        await tb.begin()
        mem.errors.clear()
        await behave(tb)
        tb.put(arvalid=0, awvalid=0, wvalid=0)
        await ClockCycles(dut.clk, 3)
        text = mem.errors[0] if mem.errors else "(no error)"
        dut._log.info("%s: %s", name, text)
        if not mem.errors or not all(w in text for w in words.split()):
            dead.append(f"{name}: {text}")
    assert not dead, dead
    # The same hands behaving well raise nothing.
    mem.ar_stall = mem.aw_stall = mem.w_stall = 0.6
    mem.allow_unaligned = True
    await tb.begin()
    mem.errors.clear()
    for _ in range(20):
        await tb.request("ar", araddr=BASE + 4096 - tb.n, arlen=0)
        await tb.request("aw", awaddr=BASE, awlen=1)
        await tb.request("w", wlast=0)
        await tb.request("w", wlast=1)
    await tb.request("aw", awaddr=BASE + 1, awlen=0)
    await tb.request("w", wstrb=((1 << tb.n) - 1) ^ 1)
    await ClockCycles(dut.clk, 10)
    assert not mem.errors and mem.stats.write_bursts >= 21 and mem.stats.read_bursts >= 20


# The error is wanted: the request below has a burst type which AxiMemory refuses, and strict (the
# default) must end the test although the test itself looks at nothing. Only an AxiProtocolError
# with this message counts as a pass.
@cocotb.test(expect_error=(pytest.RaisesExc(
    AxiProtocolError, match="m_axi_araddr=0x800000000 len=0: burst type 0 is not INCR"),))
async def bad_master_fails_the_test(dut):
    """A broken rule fails the test even where the test itself does not look."""
    tb = Manual(dut)
    await tb.begin()
    await tb.request("ar", arburst=0)
    await ClockCycles(dut.clk, 5)


@cocotb.test(skip=getattr(cocotb, "SIM_NAME", "").lower().startswith("verilator"))
async def unknown_values_are_named(dut):
    """Only a simulator with X can show this."""
    tb = Manual(dut, strict=False)
    width = {name: len(getattr(dut, f"t_{name}")) for name in
             ("araddr", "arvalid", "awlen", "wdata", "wstrb", "wvalid", "rready", "bready")}
    await tb.begin()
    cases = {
        "arvalid": [("cycle", {"arvalid": "X"})],
        "araddr": [("request", "ar", {"araddr": "X" * width["araddr"]})],
        "awlen": [("request", "aw", {"awlen": "X" + "0" * (width["awlen"] - 1)})],
        "wvalid": [("cycle", {"wvalid": "X"})],
        "wdata": [("request", "aw", {}), ("request", "w", {"wdata": "X" * width["wdata"]})],
        "wstrb": [("request", "aw", {}), ("request", "w", {"wstrb": "X" * width["wstrb"]})],
        "rready": [("request", "ar", {}), ("cycle", {"rready": "X"})],
        "bready": [("request", "aw", {}), ("request", "w", {}), ("cycle", {"bready": "X"})],
    }
    for signal, steps in cases.items():
        await tb.begin()
        tb.mem.errors.clear()
        for kind, *args in steps:
            if kind == "cycle":
                await tb.cycle(**args[0])
            else:
                await tb.request(args[0], **args[1])
        await ClockCycles(dut.clk, 3)
        tb.put(arvalid=0, wvalid=0, rready=1, bready=1)
        assert any(f"m_axi_{signal} is unknown" in e for e in tb.mem.errors), (signal,
                                                                               tb.mem.errors)
    # Lanes without strobe may carry anything.
    await tb.begin()
    tb.mem.errors.clear()
    await tb.request("aw")
    await tb.request("w", wdata="X" * (width["wdata"] - 8) + "00001111", wstrb=1)
    await ClockCycles(dut.clk, 3)
    assert not tb.mem.errors and tb.mem.data[0] == 15


# ---------------------------------------------------------------------------------------------
# Speed
# ---------------------------------------------------------------------------------------------
async def _cost(dut, cycles):
    """Return microseconds of CPU for each of ``cycles`` cycles, without waking in between."""
    start = time.process_time()
    await Timer(cycles * CLOCK_PERIOD_NS, unit="ns")
    spent = time.process_time() - start
    # The timer ended at the time of an edge, before or after it: go on from a clear place.
    await RisingEdge(dut.clk)
    return spent / cycles * 1e6


@cocotb.test(skip=runner.parameters().get("DATA_W") != 512)
async def speed(dut):
    """Logs the CPU time of a cycle. The limit only catches a change of the order of magnitude."""
    tb = TB(dut, read_latency=20)
    await tb.reset()
    await ClockCycles(dut.clk, 50)
    cycles, beats = 8000, 4096 // tb.n
    result = {"asleep": await _cost(dut, cycles)}
    # A response nobody takes keeps the memory awake without work.
    dut.manual.value = 1
    dut.t_rready.value = 0
    dut.t_araddr.value, dut.t_arlen.value, dut.t_arburst.value = BASE, 0, 1
    dut.t_arsize.value, dut.t_arid.value, dut.t_arvalid.value = tb.n.bit_length() - 1, 0, 1
    await tb.edge
    dut.t_arvalid.value = 0
    await ClockCycles(dut.clk, 50)
    assert tb.mem.outstanding_reads == 1
    result["awake, no beats"] = await _cost(dut, cycles)
    dut.t_rready.value = 1
    await ClockCycles(dut.clk, 2)
    dut.manual.value = 0
    for name, read, write in (("reading", 0, None), ("writing", None, SIZE // 2),
                              ("reading and writing", 0, SIZE // 2)):
        # A run covers half of the memory.
        bursts = SIZE // 2 // (beats * tb.n)
        spent = moved = 0
        while moved < cycles:
            await tb.start(bursts=bursts, beats=beats, read=read, write=write, expect=False)
            count = bursts * beats - 100
            spent += await _cost(dut, count) * count
            moved += count
            await tb.done()
        result[name] = spent / moved
    for name, cost in result.items():
        dut._log.info("%d-bit bus, %-20s %6.2f us per cycle", tb.width, name, cost)
    assert max(result.values()) < 500


@pytest.mark.parametrize("width", [64, 512])
def test_axi_memory(sim, seed, width):
    results = run("axi_traffic", __name__, {"DATA_W": width}, sim, seed=seed)
    for line in (results / "sim.log").read_text().splitlines():
        if "us per cycle" in line:
            print(line.split("axi_traffic", 1)[-1].strip())
