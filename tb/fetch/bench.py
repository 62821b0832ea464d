# SPDX-License-Identifier: Apache-2.0
"""Bench of the fetch stage: memory, commands, consumers which check every ring and stream."""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass, field

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge

from models.tiling import TD_FIELDS
from tb.common.axi_memory import AxiMemory
from tb.common.signals import KnownReader, reader, writer
from tb.common.stream import StreamSource, Willing, pattern
from tb.runner import CLOCK_PERIOD_NS, parameters

RINGS = ("q", "k8", "k", "v")
STREAMS = ("w", "r", "x", "d")
# Index = AXI ID.
CLIENTS = (*RINGS, *STREAMS)
BASE = 0x5A_8765_0000 & ~0xFFF
# Stands for the response of a beat that breaks AXI4.
PROTOCOL = "protocol"
# Every client has its own part of the memory.
SIZE = 1 << 21
PART = SIZE // len(CLIENTS)


@dataclass
class Expect:
    """Content of one buffer: vectors of ``beats`` bus words, lane -> byte address."""

    lanes: dict
    beats: int
    sideband: dict = field(default_factory=dict)


class Ring:
    """The consumers' ring of one stream: checks order, ownership and content of its buffers.

    ``hold(c)`` gives the cycles from a commit to the release by consumer c, or None to keep the
    buffer. With ``check`` off, contents are not compared.
    """

    def __init__(self, tb, name, bufs, consumers):
        self.tb, self.name, self.bufs = tb, name, bufs
        dut = tb.dut
        index = "row" if name == "q" else "slot"
        self.valid = reader(getattr(dut, f"{name}_wr_valid"))
        self.get = [KnownReader(getattr(dut, f"{name}_wr_{f}"))
                    for f in ("buf", index, "beat")]
        self.data = reader(getattr(dut, f"{name}_wr_data"))
        self.give = [writer(getattr(dut, signal)) for signal in consumers]
        self.hold = lambda c: random.randrange(40)
        self.check = True
        self.clear()

    def clear(self):
        self.expect = deque()
        self.content = [{} for _ in range(self.bufs)]
        self.due = [deque() for _ in self.give]
        self.given = [None] * len(self.give)
        self.released = [0] * len(self.give)
        self.committed = self.freed = self.beats = 0
        # Cycle of the latest beat, cycle of each commit.
        self.write_cycle, self.commit_cycles = None, []

    def write(self):
        """Take the beat on the write port."""
        buf, lane, beat = (get() for get in self.get)
        where = f"{self.name} buffer {buf} lane {lane} beat {beat}"
        owned = [i % self.bufs for i in range(self.freed, self.committed)]
        assert buf < self.bufs and buf not in owned, f"{where}: not a free buffer"
        assert (lane, beat) not in self.content[buf], f"{where}: written twice"
        self.content[buf][lane, beat] = int(self.data(), 2)
        self.beats += 1
        self.write_cycle = self.tb.cycle

    def commit(self, cycle, sideband):
        """Compare the next buffer with what was asked for."""
        assert self.expect, f"{self.name}: commit without a command"
        assert self.committed - self.freed < self.bufs, f"{self.name}: no buffer was free"
        want, buf = self.expect.popleft(), self.committed % self.bufs
        assert sideband == want.sideband, (f"{self.name} tile {self.committed}: sideband: "
                                           f"expected {want.sideband}, got {sideband}")
        if self.check:
            self._compare(want, self.content[buf])
        self.committed += 1
        self.commit_cycles.append(cycle)
        for c, due in enumerate(self.due):
            hold = self.hold(c)
            if hold is not None:
                due.append(max(cycle + hold, due[-1] + 1 if due else 0))

    def _compare(self, want, got):
        tb, width, where = self.tb, self.tb.bus_bytes, f"{self.name} tile {self.committed}"
        keys = {(lane, beat) for lane in want.lanes for beat in range(want.beats)}
        assert set(got) == keys, f"{where}: beats {set(got) ^ keys} missing or too many"
        for lane, beat in sorted(keys):
            at = want.lanes[lane] + beat * width - BASE
            data = int.from_bytes(tb.bytes[at : at + width], "little")
            assert got[lane, beat] == data, (f"{where} lane {lane} beat {beat}: expected "
                                             f"{data:#x}, got {got[lane, beat]:#x}")
        tb.compared += len(keys)

    def step(self, cycle):
        """Drive the release signals of the next cycle."""
        for c, due in enumerate(self.due):
            pulse = bool(due) and due[0] <= cycle
            if pulse:
                due.popleft()
                self.released[c] += 1
                if min(self.released) > self.freed:
                    self.content[self.freed % self.bufs] = {}
                    self.freed += 1
            if pulse != self.given[c]:
                self.given[c] = pulse
                self.give[c]("1" if pulse else "0")


class Stream:
    """The user of one stream: checks every word, takes them in the cycles of a pattern.

    With ``check`` off, contents are not compared.
    """

    def __init__(self, tb, name, source, backpressure):
        self.tb, self.name, self.commands = tb, name, source
        dut = tb.dut
        self.valid, self.data = (reader(getattr(dut, f"{name}_d_valid")),
                                 reader(getattr(dut, f"{name}_d_data")))
        self.put = writer(getattr(dut, f"{name}_d_ready"))
        self.backpressure = backpressure
        self.check = True
        self.put("0")
        self.clear()

    def clear(self):
        share = self.backpressure
        self.willing = Willing(pattern(share, random.getrandbits(32)) if share else None)
        self.ready, self.held = None, None
        # Addresses of the words still to come.
        self.expect = deque()
        self.taken = []

    def step(self, cycle):
        """One cycle of the output."""
        valid = self.valid()
        assert valid in ("0", "1"), f"{self.name}_d_valid is unknown"
        if valid == "1":
            data = self.data()
            assert self.held in (None, data), f"{self.name}: an offered word changed"
            self.held = None if self.ready else data
            if self.ready:
                self._take(data, cycle)
        else:
            assert self.held is None, f"{self.name}: an offered word vanished"
        ready = self.willing.step()
        if ready != self.ready:
            self.put("1" if ready else "0")
        self.ready = ready

    def _take(self, data, cycle):
        tb = self.tb
        assert self.expect, f"{self.name}: a word which nobody asked for"
        at = self.expect.popleft() - BASE
        self.taken.append(cycle)
        if self.check:
            want = int.from_bytes(tb.bytes[at : at + tb.bus_bytes], "little")
            assert int(data, 2) == want, \
                f"{self.name} word {len(self.taken) - 1}: expected {want:#x}, got {int(data, 2):#x}"
            tb.compared += 1

    def ask(self, beats, addr=None):
        """Ask for ``beats`` words, at a random place of this stream's part of the memory."""
        n = self.tb.bus_bytes
        if addr is None:
            addr = (BASE + CLIENTS.index(self.name) * PART
                    + random.randrange(0, PART - beats * n + 1, n))
        self.expect.extend(addr + i * n for i in range(beats))
        self.commands.append({"addr": addr, "beats": beats})


class TB:
    """Clock, memory, command sources, the four rings and the four streams.

    Args:
        dut: fetch.
        idle: share of cycles in which no new command is offered.
        backpressure: share of cycles in which a commit, or a word of a stream, is not taken.
        memory: options of AxiMemory.
    """

    def __init__(self, dut, idle=0.0, backpressure=0.0, **memory):
        self.dut, self.clk = dut, dut.clk
        self.p = parameters()
        self.bus_bytes, self.rows = self.p["BUS_BYTES"], self.p["ROWS"]
        self.bc, self.d_max = self.p["BC_MAX"], self.p["D_MAX"]
        self.kv_bufs, self.kv_slots = self.p.get("KV_BUFS", 2), self.p["KV_SLOTS"]
        # FIFO words of the streams; the defaults of fetch.v.
        self.depths = {n: self.p.get(f"{n.upper()}_DEPTH", depth)
                       for n, depth in zip(STREAMS, (128, 64, 128, 8), strict=True)}
        cocotb.start_soon(Clock(dut.clk, CLOCK_PERIOD_NS, unit="ns").start())
        dut.rst.value = 1
        dut.halt.value = 0
        self.config(8)
        rng = np.random.default_rng(random.getrandbits(32))
        data = rng.integers(0, 256, SIZE, dtype=np.uint8)
        self.bytes = data.tobytes()
        self.memory = AxiMemory(dut, "m_axi", dut.clk, dut.rst, base=BASE, data=data,
                                seed=random.getrandbits(32), record=True, max_reads=2048,
                                **memory)

        def source(name, fields):
            willing = pattern(idle, random.getrandbits(32)) if idle else None
            return StreamSource(dut, name, dut.clk, dut.rst, fields=fields, idle=willing)

        self.qc = source("qc", ("addr", "rows"))
        self.tc = source("tc", ("k8addr", "k8inc", "td"))
        self.u = source("u", ("td", "slots", "mask", "nsteps"))
        self.backpressure = backpressure
        self.rings = {
            "q": Ring(self, "q", 2, ["q_release_dlzs", "q_release_sufa"]),
            "k8": Ring(self, "k8", self.p.get("K8_BUFS", 2), ["k8_release"]),
            "k": Ring(self, "k", self.kv_bufs, ["k_release"]),
            "v": Ring(self, "v", self.kv_bufs, ["v_release"]),
        }
        self.streams = {n: Stream(self, n, source(f"{n}_c", ("addr", "beats")), backpressure)
                        for n in STREAMS}
        self.compared = 0
        # Beats which arrived since reset, by client.
        self.arrived = dict.fromkeys(CLIENTS, 0)
        self.cycle = 0
        self.errors = []
        # Cycles in which a beat arrived.
        self.beat_cycles = []
        cocotb.start_soon(self._run())

    async def reset(self):
        """Pulse rst and forget all that was asked for."""
        self.dut.rst.value = 1
        for _ in range(3):
            await RisingEdge(self.clk)
        self.dut.rst.value = 0
        self.dut.halt.value = 0
        self.memory.reads.clear()
        self.errors.clear()
        self.beat_cycles.clear()
        await RisingEdge(self.clk)

    async def _run(self):
        """All consumers, one wake-up per cycle."""
        dut, edge, rings = self.dut, RisingEdge(self.clk), self.rings
        rst = reader(dut.rst)
        q_commit = reader(dut.q_commit)
        err, err_protocol, err_stream, err_resp = (
            KnownReader(getattr(dut, f"err_{n}")) for n in ("valid", "protocol", "stream", "resp"))
        events = KnownReader(dut.ev_beat)
        wait, move = KnownReader(dut.bus_wait), reader(dut.bus_move)
        ar, ar_ready, ar_id, ar_len = (reader(getattr(dut, f"m_axi_ar{n}"))
                                       for n in ("valid", "ready", "id", "len"))
        r, r_id = reader(dut.m_axi_rvalid), reader(dut.m_axi_rid)
        # Beats that the memory owes, by ID.
        owed = [0] * len(CLIENTS)
        tiles = {"k8": (dut.k8_t_valid, dut.k8_t_ready, {"td": dut.k8_t_td}),
                 "k": (dut.k_t_valid, dut.k_t_ready,
                       {"td": dut.k_t_td, "nsteps": dut.k_t_nsteps}),
                 "v": (dut.v_t_valid, dut.v_t_ready, {})}
        tiles = {n: (reader(v), writer(r), {f: KnownReader(h) for f, h in s.items()})
                 for n, (v, r, s) in tiles.items()}
        ready = dict.fromkeys(tiles, False)
        for _, put, _ in tiles.values():
            put("0")
        while True:
            await edge
            self.cycle += 1
            cycle = self.cycle
            if rst() != "0":
                for ring in rings.values():
                    ring.clear()
                    ring.step(cycle)
                for stream in self.streams.values():
                    stream.clear()
                self.arrived = dict.fromkeys(CLIENTS, 0)
                owed = [0] * len(CLIENTS)
                continue
            assert wait() == (2 * any(owed) | (ar() == "1")), f"bus_wait with {owed} owed"
            moved = False
            if r() == "1" and owed[int(r_id(), 2)]:
                owed[int(r_id(), 2)] -= 1
                moved = True
            if ar() == "1" and ar_ready() == "1":
                owed[int(ar_id(), 2)] += int(ar_len(), 2) + 1
                moved = True
            assert move() == str(int(moved)), "bus_move"
            if err():
                self.errors.append((err_stream(), PROTOCOL if err_protocol() else err_resp()))
            beat = events()
            assert beat & (beat - 1) == 0, "two beats in one cycle"
            if beat:
                self.arrived[CLIENTS[beat.bit_length() - 1]] += 1
                self.beat_cycles.append(cycle)
            for i, (n, ring) in enumerate(rings.items()):
                valid = ring.valid()
                assert valid in ("0", "1"), f"{n}_wr_valid is unknown"
                assert (valid == "1") == (beat >> i & 1)
                if valid == "1":
                    ring.write()
            if q_commit() == "1":
                rings["q"].commit(cycle, {})
            for n, (valid, put, side) in tiles.items():
                if ready[n] and valid() == "1":
                    rings[n].commit(cycle, {f: get() for f, get in side.items()})
                ready[n] = not self.backpressure or random.random() >= self.backpressure
                put("1" if ready[n] else "0")
            for ring in rings.values():
                ring.step(cycle)
            for stream in self.streams.values():
                stream.step(cycle)

    # -----------------------------------------------------------------------------------------
    # Jobs
    # -----------------------------------------------------------------------------------------
    def place(self, stream, lanes, size):
        """Return random (address, stride) of ``lanes`` vectors of ``size`` bytes."""
        n = self.bus_bytes
        room = -(-size // n) * n
        top = (PART - room) // max(lanes - 1, 1) // n * n
        stride = random.choice([room, random.randrange(room, min(top, 4 * room) + 1, n),
                                random.randrange(0, top + 1, n)])
        first = random.randrange(0, PART - room - stride * (lanes - 1) + 1, n)
        return BASE + CLIENTS.index(stream) * PART + first, stride

    def config(self, d, dense=False, predict=False):
        """Set up a job; Q's place is chosen here, because its stride is static."""
        self.d, self.dense = d, dense
        self.wide = -(-2 * d // self.bus_bytes)
        self.narrow = 1 if predict else -(-d // self.bus_bytes)
        self.dut.cfg_predict.value = int(predict)
        self.q_addr, self.q_stride = self.place("q", self.rows, 2 * d)
        self.dut.cfg_d.value, self.dut.cfg_dense.value = d, int(dense)
        self.dut.cfg_q_stride.value = self.q_stride

    def load_q(self, rows):
        """Ask for a block of Q, the last ``rows`` rows of its place."""
        addr = self.q_addr + self.q_stride * (self.rows - rows)
        self.rings["q"].expect.append(Expect({r: addr + r * self.q_stride for r in range(rows)},
                                             self.wide))
        self.qc.append({"addr": addr, "rows": rows})

    def load_k8(self, n, first=False):
        """Ask for a K8 tile of ``n`` slots."""
        addr, inc = self.place("k8", n, self.narrow * self.bus_bytes)
        td = self.junk_td(n=n, first=int(first))
        lanes = {} if self.dense else {b: addr + b * inc for b in range(n)}
        self.rings["k8"].expect.append(Expect(lanes, self.narrow, {"td": td}))
        self.tc.append({"k8addr": addr, "k8inc": inc, "td": td})

    def gather(self, chosen):
        """Ask for K and V of the tile slots ``chosen``, into as many random buffer slots."""
        kaddr, kinc = self.place("k", self.bc, 2 * self.d)
        vaddr, vinc = self.place("v", self.bc, 2 * self.d)
        td = self.junk_td(kaddr=kaddr, kinc=kinc, vaddr=vaddr, vinc=vinc)
        nsteps = random.getrandbits(8)
        width = (self.bc - 1).bit_length()
        chosen = list(chosen)
        where = dict(zip(random.sample(range(self.kv_slots), len(chosen)), chosen, strict=True))
        slots = sum(where.get(s, random.randrange(self.bc)) << s * width
                    for s in range(self.kv_slots))
        self.rings["k"].expect.append(Expect({s: kaddr + b * kinc for s, b in where.items()},
                                             self.wide, {"td": td, "nsteps": nsteps}))
        self.rings["v"].expect.append(Expect({s: vaddr + b * vinc for s, b in where.items()},
                                             self.wide))
        self.u.append({"td": td, "slots": slots, "mask": sum(1 << s for s in where),
                       "nsteps": nsteps})

    def junk_td(self, **fields):
        """Return a descriptor with random contents except for ``fields``."""
        td = random.getrandbits(len(self.dut.tc_td))
        for name, value in fields.items():
            low, width = TD_FIELDS[name]
            td = td & ~((1 << width) - 1 << low) | value << low
        return td

    def random_work(self, blocks, tiles):
        """Ask for ``blocks`` blocks of 1..``tiles`` tiles each, and words of every stream."""
        for _ in range(blocks):
            self.load_q(random.choice([self.rows, 1, random.randint(1, self.rows)]))
            for t in range(random.randint(1, tiles)):
                n = random.choice([self.bc, 1, random.randint(1, self.bc)])
                self.load_k8(n, first=t == 0)
                share = random.choice([0.0, 0.1, 0.5, 1.0])
                count = sum(random.random() < share for _ in range(self.kv_slots))
                self.gather(random.choices(range(self.bc), k=count))
                for stream in self.streams.values():
                    for _ in range(random.choice([0, 1, 4])):
                        stream.ask(random.choice([1, 1, 2, random.randint(1, 60)]))

    @property
    def pending(self):
        """Buffers not yet committed and words not yet taken, by client."""
        return {n: len(c.expect) for n, c in (self.rings | self.streams).items()}

    async def finish(self, limit=20000):
        """Wait until everything asked for is there and released, then check that all is quiet."""
        start = self.cycle
        while any(self.pending.values()) or any(any(r.due) for r in self.rings.values()):
            assert self.cycle - start < limit, f"waits for {self.pending}"
            await RisingEdge(self.clk)
        for _ in range(5):
            await RisingEdge(self.clk)
        assert int(self.dut.idle.value) == 1 and self.memory.idle
        assert not self.errors
        asked = sum(beats for _, beats, _ in self.memory.reads)
        got = sum(self.arrived.values())
        assert asked == got, f"{asked} beats were read, {got} were written"
        for i, name in enumerate(CLIENTS):
            assert sum(beats for _, beats, c in self.memory.reads if c == i) == self.arrived[name]
        for name, stream in self.streams.items():
            assert len(stream.taken) == self.arrived[name]
