# SPDX-License-Identifier: Apache-2.0
"""Bench of the fetch stage: memory, commands, consumers which check every
place, buffer and stream."""

from __future__ import annotations

import random
from collections import deque

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge

from tb.common.axi_memory import AxiMemory
from tb.common.ring import Ring
from tb.common.scoreboard import same, same_signals
from tb.common.signals import KnownReader, reader, writer
from tb.common.stream import StreamSource, Willing, pattern
from tb.runner import CLOCK_PERIOD_NS, parameters

VECTORS = ("q", "k8", "k", "v")
STREAMS = ("w", "r", "x", "d")
# Index = AXI ID.
CLIENTS = (*VECTORS, *STREAMS)
BASE = 0x5A_8765_0000 & ~0xFFF
# Stands for the response of a beat that breaks AXI4.
PROTOCOL = "protocol"
# Every client has its own part of the memory.
SIZE = 1 << 21
PART = SIZE // len(CLIENTS)


class Store:
    """What holds blocks of Q or tiles of K8: checks places, their owners and their contents.

    Filled in the order of the commands, so every beat belongs to the oldest one that is not
    complete. ``hold(c)`` gives the cycles from a commit to the release by consumer c, or None to
    keep the place. With ``check`` off, contents are not compared.
    """

    def __init__(self, tb, name, consumers):
        self.tb, self.name = tb, name
        dut, q = tb.dut, name == "q"
        fields = ("place", "row", "beat") if q else ("buf", "slot", "beat")
        self.valid = reader(getattr(dut, f"{name}_wr_valid"))
        self.get = [KnownReader(getattr(dut, f"{name}_wr_{f}")) for f in fields]
        self.data = reader(getattr(dut, f"{name}_wr_data"))
        self.commit_valid = reader(getattr(dut, f"{name}_commit"))
        fields = ("place", "scale_m", "scale_shift") if q else ()
        self.side = [KnownReader(getattr(dut, f"q_commit_{f}")) for f in fields]
        self.give = [writer(getattr(dut, signal)) for signal in consumers]
        self.hold = lambda c: random.randrange(40)
        self.check = True
        self.given = [None] * len(self.give)
        self.ring = Ring(name, readers=len(self.give))
        self.clear()

    def clear(self):
        # Of each block or tile to come: {lane: address}, beats of a vector, fields of its commit.
        self.expect = deque()
        self.content = {}
        self.due = [deque() for _ in self.give]
        self.ring.clear()
        # Cycle of the latest beat, cycle of each commit.
        self.write_cycle, self.commit_cycles = None, []

    def step(self, cycle):
        """One cycle: a commit, a beat, the releases of the next cycle."""
        text = self.commit_valid()
        assert text in ("0", "1"), f"{self.name}_commit is unknown"
        if text == "1":
            self._commit(cycle)
        if self.valid() == "1":
            self._write(cycle)
        for c, due in enumerate(self.due):
            pulse = bool(due) and due[0] <= cycle
            if pulse:
                due.popleft()
                self.ring.release(c)
            if pulse != self.given[c]:
                self.given[c] = pulse
                self.give[c]("1" if pulse else "0")

    def _write(self, cycle):
        place, lane, beat = (get() for get in self.get)
        ring = self.ring
        where = f"{self.name} {ring.filled} place {place} lane {lane} beat {beat}"
        assert self.expect, f"{where}: nobody asked for it"
        assert place == ring.slot, f"{where}: expected place {ring.slot}, got {place}"
        assert ring.free, f"{where}: no place is free"
        assert (lane, beat) not in self.content, f"{where}: written twice"
        self.content[lane, beat] = int(self.data(), 2)
        self.write_cycle = cycle

    def _commit(self, cycle):
        assert self.expect, f"{self.name}: commit without a command"
        lanes, beats, side = self.expect.popleft()
        got = [get() for get in self.side]
        want = [self.ring.slot, *side] if side else []
        tb, width, where = self.tb, self.tb.bus_bytes, f"{self.name} {self.ring.filled}"
        assert got == want, f"{where}: place and scale: expected {want}, got {got}"
        keys = {(lane, beat) for lane in lanes for beat in range(beats)}
        assert set(self.content) == keys, f"{where}: {set(self.content) ^ keys} missing or extra"
        for (lane, beat), data in self.content.items() if self.check else ():
            at = lanes[lane] + beat * width - BASE
            want = int.from_bytes(tb.bytes[at : at + width], "little")
            assert data == want, (f"{where} lane {lane} beat {beat}: expected {want:#x}, "
                                  f"got {data:#x}")
        tb.compared += len(keys)
        self.content = {}
        self.ring.fill()
        self.commit_cycles.append(cycle)
        for c, due in enumerate(self.due):
            hold = self.hold(c)
            if hold is not None:
                due.append(max(cycle + hold, due[-1] + 1 if due else 0))


class Landing:
    """The landing buffer: gives keys that are wanted to free places, checks every beat.

    ``hold()`` gives the cycles for which a place stays taken after the last beat of its key.
    """

    def __init__(self, tb, source):
        self.tb, self.source = tb, source
        dut = tb.dut
        self.ports = [(n, reader(getattr(dut, f"{n}_wr_valid")),
                       [KnownReader(getattr(dut, f"{n}_wr_{f}"))
                        for f in ("land", "beat", "last")]) for n in ("k", "v")]
        self.data = reader(dut.kv_wr_data)
        self.hold = lambda: random.randrange(60)
        self.check = True
        self.places = tb.land
        self.clear()

    def clear(self):
        self.wanted = deque()
        self.free = list(range(self.tb.land))
        # Place -> {"k" or "v": address}, and the beats of each that have come.
        self.expect, self.got = {}, {}
        # Cycle, place of those that become free.
        self.due = deque()
        self.done = 0

    def ask(self, item, addresses):
        """Queue a key: fields of u but for the place; addresses of its vectors."""
        self.wanted.append((item, addresses))

    def step(self, cycle):
        """One cycle of both write ports; requests of the next cycles."""
        for name, valid, get in self.ports:
            text = valid()
            assert text in ("0", "1"), f"{name}_wr_valid is unknown"
            if text == "1":
                self._write(name, *(g() for g in get), cycle)
        while self.due and self.due[0][0] <= cycle:
            self.free.append(self.due.popleft()[1])
        while self.wanted and len(self.expect) + len(self.due) < self.places:
            item, addresses = self.wanted.popleft()
            place = self.free.pop(random.randrange(len(self.free)))
            self.expect[place], self.got[place] = addresses, dict.fromkeys(addresses, 0)
            self.source.append({"land": place, **item})

    def _write(self, name, place, beat, last, cycle):
        tb, where = self.tb, f"{name} place {place} beat {beat}"
        assert name in self.expect.get(place, ()), f"{where}: nobody asked for it"
        assert beat == self.got[place][name] < tb.wide, f"{where}: not the next one"
        assert last == (beat == tb.wide - 1), f"{where}: last is {last}"
        self.got[place][name] += 1
        at = self.expect[place][name] + beat * tb.bus_bytes - BASE
        want = int.from_bytes(tb.bytes[at : at + tb.bus_bytes], "little")
        data = int(self.data(), 2)
        assert not self.check or data == want, f"{where}: expected {want:#x}, got {data:#x}"
        tb.compared += 1
        if all(n == tb.wide for n in self.got[place].values()):
            del self.expect[place], self.got[place]
            self.done += 1
            until = max(cycle + self.hold(), self.due[-1][0] if self.due else 0)
            self.due.append((until, place))


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
    """Clock, memory, command sources, Q's places, the K8 ring, the landing buffer, the streams.

    Args:
        dut: sofa_fetch.
        idle: share of cycles in which no new command is offered.
        backpressure: share of cycles in which a word of a stream is not taken.
        memory: options of AxiMemory.
    """

    def __init__(self, dut, idle=0.0, backpressure=0.0, **memory):
        self.dut, self.clk = dut, dut.clk
        self.p = parameters()
        self.bus_bytes, self.rows = self.p["BUS_BYTES"], self.p["ROWS"]
        self.bc, self.d_max, self.land = self.p["BC_MAX"], self.p["D_MAX"], self.p["LAND"]
        # FIFO words of the streams; the defaults of sofa_fetch.v.
        self.depths = {n: self.p.get(f"{n.upper()}_DEPTH", depth)
                       for n, depth in zip(STREAMS, (128, 64, 128, 8), strict=True)}
        cocotb.start_soon(Clock(dut.clk, CLOCK_PERIOD_NS, unit="ns").start())
        dut.rst.value = 1
        dut.halt.value = 0
        dut.job_done.value = 0
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
        self.qs = source("qs", ("scale_m", "scale_shift"))
        self.tc = source("tc", ("addr", "inc", "n"))
        self.q = Store(self, "q", ["q_release_dlzs", "q_release_sufa"])
        self.k8 = Store(self, "k8", ["k8_release"])
        self.kv = Landing(self, source("u", ("land", "mean", "key", "kbase", "vbase")))
        self.streams = {n: Stream(self, n, source(f"{n}_c", ("addr", "beats")), backpressure)
                        for n in STREAMS}
        self.users = [self.q, self.k8, self.kv, *self.streams.values()]
        self.config(8)
        self.compared = 0
        # Beats which arrived since reset, by client.
        self.arrived = dict.fromkeys(CLIENTS, 0)
        self.cycle = 0
        self.errors = []
        # Cycles in which a beat arrived.
        self.beat_cycles = []
        cocotb.start_soon(self._run())

    async def reset(self, cycles=3):
        """Pulse rst and forget what was asked for; return whether a beat came in its last cycle,
        which can only be if that is the first one."""
        self.dut.rst.value = 1
        for _ in range(cycles):
            await RisingEdge(self.clk)
        beat = str(self.dut.m_axi_rvalid.value) == "1"
        self.dut.rst.value = 0
        self.dut.halt.value = 0
        self.memory.reads.clear()
        self.errors.clear()
        self.beat_cycles.clear()
        await RisingEdge(self.clk)
        return beat

    async def _run(self):
        """All consumers, one wake-up per cycle."""
        dut, edge = self.dut, RisingEdge(self.clk)
        rst = reader(dut.rst)
        err, err_protocol, err_stream, err_resp = (
            KnownReader(getattr(dut, f"err_{n}")) for n in ("valid", "protocol", "stream", "resp"))
        events = KnownReader(dut.ev_beat)
        writes = [reader(getattr(dut, f"{n}_wr_valid")) for n in VECTORS]
        wait, move = KnownReader(dut.bus_wait), reader(dut.bus_move)
        ar, ar_ready, ar_id, ar_len = (reader(getattr(dut, f"m_axi_ar{n}"))
                                       for n in ("valid", "ready", "id", "len"))
        r, r_id = reader(dut.m_axi_rvalid), reader(dut.m_axi_rid)
        # Beats that the memory owes, by ID.
        owed = [0] * len(CLIENTS)
        while True:
            await edge
            self.cycle += 1
            cycle = self.cycle
            if rst() != "0":
                for user in self.users:
                    user.clear()
                for store in (self.q, self.k8):
                    for put in store.give:
                        put("0")
                    store.given = [False] * len(store.give)
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
            for i, valid in enumerate(writes):
                assert valid() == str(beat >> i & 1), \
                    f"{VECTORS[i]}_wr_valid: expected {beat >> i & 1}, got {valid()}"
            for user in self.users:
                user.step(cycle)

    # -----------------------------------------------------------------------------------------
    # Jobs
    # -----------------------------------------------------------------------------------------
    def place(self, client, lanes, size):
        """Return random (address, stride) of ``lanes`` vectors of ``size`` bytes."""
        n = self.bus_bytes
        room = -(-size // n) * n
        top = (PART - room) // max(lanes - 1, 1) // n * n
        stride = random.choice([room, random.randrange(room, min(top, 4 * room) + 1, n),
                                random.randrange(0, top + 1, n)])
        first = random.randrange(0, PART - room - stride * (lanes - 1) + 1, n)
        return BASE + CLIENTS.index(client) * PART + first, stride

    def config(self, d, predict=False):
        """Set up a job, the strides among it, because they are static."""
        dut = self.dut
        self.d = d
        self.wide = -(-2 * d // self.bus_bytes)
        self.narrow = 1 if predict else -(-d // self.bus_bytes)
        self.q.ring.slots = min(self.p["PLACES"], self.p["STORE_BEATS"] // (self.rows * self.wide))
        self.k8.ring.slots = self.p.get("K8_BUFS", 2)
        self.q_addr, self.q_stride = self.place("q", self.rows, 2 * d)
        self.strides = [random.choice([2 * d, random.getrandbits(12), random.getrandbits(32)])
                        & -self.bus_bytes for _ in "kv"]
        dut.cfg_d.value, dut.cfg_predict.value = d, int(predict)
        # Rows of several heads, which lie between each other, at the addresses of those of one.
        heads = random.choice([1, 1, 2, 3, self.rows])
        dut.cfg_q_heads.value, dut.cfg_q_hstride.value = heads, self.q_stride
        dut.cfg_q_stride.value = self.q_stride * heads
        dut.cfg_k_stride.value, dut.cfg_v_stride.value = self.strides

    async def next_job(self, d, predict=False):
        """Tell the stage that the job is over, and set up the next one."""
        self.dut.job_done.value = 1
        await RisingEdge(self.clk)
        self.dut.job_done.value = 0
        self.q.ring.restart()
        self.config(d, predict)
        for _ in range(3):
            await RisingEdge(self.clk)

    def load_q(self, rows):
        """Ask for a block of Q, the last ``rows`` rows of its place."""
        addr = self.q_addr + self.q_stride * (self.rows - rows)
        scale = {"scale_m": random.getrandbits(16), "scale_shift": random.getrandbits(6)}
        self.q.expect.append(({r: addr + r * self.q_stride for r in range(rows)}, self.wide,
                              list(scale.values())))
        self.qc.append({"addr": self.junk(addr), "rows": rows})
        self.qs.append(scale)

    def load_k8(self, n):
        """Ask for a K8 tile of ``n`` slots."""
        addr, inc = self.place("k8", n, self.narrow * self.bus_bytes)
        self.k8.expect.append(({b: addr + b * inc for b in range(n)}, self.narrow, []))
        self.tc.append({"addr": self.junk(addr), "inc": inc, "n": n})

    def read_key(self, mean=False, key=None):
        """Ask for K and V of a key (default: any) at random places; mean: for a vector alone."""
        at = [self.place(n, 1, 2 * self.d)[0] for n in "kv"]
        key = random.choice([random.getrandbits(17), random.getrandbits(6)]) if key is None else key
        bases = [(a - key * s) % (1 << 40) for a, s in zip(at, self.strides, strict=True)]
        if mean:
            bases = [random.getrandbits(40), at[1]]
        self.kv.ask({"mean": int(mean), "key": key, "kbase": self.junk(bases[0]),
                     "vbase": self.junk(bases[1])},
                    {"v": at[1]} if mean else dict(zip("kv", at, strict=True)))

    def junk(self, addr):
        """Return ``addr`` with random bits above those of the bus."""
        return addr | random.getrandbits(8) << 40

    def random_work(self, blocks, tiles, keys=30):
        """Ask for blocks, tiles, keys with a mean between, and words of every stream."""
        for _ in range(blocks):
            self.load_q(random.choice([self.rows, 1, random.randint(1, self.rows)]))
        for _ in range(tiles):
            self.load_k8(random.choice([self.bc, 1, random.randint(1, self.bc)]))
        for _ in range(keys):
            self.read_key(mean=random.random() < 0.1)
        for stream in self.streams.values():
            for _ in range(random.choice([1, 4])):
                stream.ask(random.choice([1, 1, 2, random.randint(1, 60)]))

    @property
    def pending(self):
        """Blocks, tiles and keys not complete and words not taken."""
        return {"q": len(self.q.expect), "k8": len(self.k8.expect),
                "kv": len(self.kv.wanted) + len(self.kv.expect),
                **{n: len(s.expect) for n, s in self.streams.items()}}

    def checks(self, on):
        """Compare contents, or not."""
        for user in self.users:
            user.check = on

    async def finish(self, limit=20000):
        """Wait until everything asked for is there and released, then check that all is quiet."""
        start = self.cycle
        while any(self.pending.values()) or any(self.q.due) or any(self.k8.due) or self.kv.due:
            assert self.cycle - start < limit, f"waits for {self.pending}"
            await RisingEdge(self.clk)
        for _ in range(5):
            await RisingEdge(self.clk)
        same_signals("fetch", self.dut, idle=1)
        assert self.memory.idle, "fetch is idle, its memory is not"
        same("fetch errors", [], self.errors)
        for i, name in enumerate(CLIENTS):
            asked = sum(beats for _, beats, c in self.memory.reads if c == i)
            assert asked == self.arrived[name], f"{name}: {asked} read, {self.arrived[name]} came"
        for name, stream in self.streams.items():
            same("fetch", self.arrived[name], len(stream.taken), stream=name, field="words taken")
