# SPDX-License-Identifier: Apache-2.0
"""Bench of the whole KVGEN stage: memory, a stand-in of fetch, and SU-FA's rings that check."""

from __future__ import annotations

import random
from collections import Counter, deque
from dataclasses import dataclass, field

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge

from models import kvgen, rope
from models.config import Config
from models.tiling import block_tiles, pack_td, unpack_td
from tb.common.scoreboard import Scoreboard
from tb.common.signals import KnownReader, reader, writer
from tb.common.stream import StreamSource, pattern
from tb.runner import CLOCK_PERIOD_NS, parameters

BASE = 0x5A_8765_0000


@dataclass
class Speed:
    """Chances per cycle that a neighbour acts (1: always) and ranges of its delays in cycles."""

    phase: float = 1.0
    command: float = 1.0
    beat: float = 1.0
    latency: tuple = (1, 1)
    write: float = 1.0
    answer: tuple = (1, 1)
    # fetch: takes a phase, writes a beat
    gather: float = 1.0
    fill: float = 1.0
    commit: float = 1.0
    hold: tuple = (0, 0)
    # The write-back pauses that long, now and then
    pause: int = 0
    # The write-back pauses 300 cycles behind so many beats
    pause_after: int | None = None

    @classmethod
    def slow(cls):
        """Random delays everywhere, chosen anew for each bench."""
        def chance():
            return random.choice([1.0, 0.8, 0.3])

        return cls(chance(), chance(), chance(), (1, random.choice([1, 20])), chance(),
                   (1, random.choice([1, 60])), chance(), chance(), chance(),
                   (0, random.choice([0, 150])), random.choice([0, 0, 400]))


@dataclass
class Job:
    """Configuration of a job and where its buffers lie; strides in bytes."""

    d: int
    h: int
    mode: int
    keys: int
    heads: int
    shift_k: int
    shift_v: int
    generate: bool = True
    vb_load: bool = False
    at: dict = field(default_factory=dict)
    x: np.ndarray = None
    rt: np.ndarray = None
    # [heads][keys, d]: what the rings must get, int16
    k: list = field(default_factory=list)
    v: list = field(default_factory=list)
    # Keys of each head that are in memory; keys made by this bench
    have: list = field(default_factory=list)
    made: list = field(default_factory=list)


@dataclass
class Phase:
    """One phase: buffer slot -> tile slot, and what belongs to it."""

    td: int
    head: int
    slots: dict
    keys: dict
    nsteps: int
    kaddr: int
    kinc: int
    vaddr: int
    vinc: int
    last: bool


class Ring:
    """SU-FA's ring of K or V: checks ownership, order and contents of its buffers."""

    def __init__(self, tb, name):
        self.tb, self.name = tb, name
        dut = tb.dut
        self.valid = reader(getattr(dut, f"{name}_wr_valid"))
        self.get = [KnownReader(getattr(dut, f"{name}_wr_{f}")) for f in ("buf", "slot", "beat")]
        self.data = reader(getattr(dut, f"{name}_wr_data"))
        self.t_valid = reader(getattr(dut, f"{name}_t_valid"))
        self.put_ready = writer(getattr(dut, f"{name}_t_ready"))
        self.put_release = writer(getattr(dut, f"{name}_release"))
        self.side = ([KnownReader(dut.k_t_td), KnownReader(dut.k_t_nsteps)] if name == "k" else [])
        self.clear()

    def clear(self):
        self.expect = deque()
        self.content = [{} for _ in range(self.tb.bufs)]
        self.due = deque()
        self.committed = self.freed = 0
        self.ready = False
        self.put_ready("0")
        self.put_release("0")

    def step(self, cycle):
        """Look at the edge of ``cycle`` and drive the following one."""
        tb = self.tb
        if self.valid() != "0":
            buf, slot, beat = (get() for get in self.get)
            where = f"{self.name} buffer {buf} slot {slot} beat {beat}"
            owned = [i % tb.bufs for i in range(self.freed, self.committed)]
            assert buf < tb.bufs and buf not in owned, f"{where}: not a free buffer"
            assert (slot, beat) not in self.content[buf], f"{where}: written twice"
            self.content[buf][slot, beat] = int(self.data(), 2)
        if self.ready and self.t_valid() == "1":
            self._commit()
            low, high = tb.speed.hold
            self.due.append(max(cycle + random.randint(low, high),
                                self.due[-1] + 1 if self.due else 0))
        release = bool(self.due) and self.due[0] <= cycle
        if release:
            self.due.popleft()
            self.content[self.freed % tb.bufs] = {}
            self.freed += 1
            tb.gather.released[self.name] += 1
        self.put_release("1" if release else "0")
        self.ready = random.random() < tb.speed.commit
        self.put_ready("1" if self.ready else "0")

    def _commit(self):
        tb, job = self.tb, self.tb.job
        assert self.expect, f"{self.name}: commit without a phase"
        phase, buf = self.expect.popleft(), self.committed % tb.bufs
        if self.side:
            td, nsteps = (get() for get in self.side)
            tb.board.compare_fields(
                f"{self.name} ring", {**unpack_td(phase.td), "nsteps": phase.nsteps},
                {**unpack_td(td), "nsteps": nsteps}, where={"phase": self.committed})
        content = self.content[buf]
        want = {(s, b) for s in phase.slots for b in range(tb.beats)}
        assert set(content) == want, f"{self.name} phase {self.committed}: {set(content) ^ want}"
        vectors = (job.k if self.name == "k" else job.v)[phase.head]
        for slot, key in phase.keys.items():
            raw = b"".join(content[slot, b].to_bytes(tb.bus, "little") for b in range(tb.beats))
            got = np.frombuffer(raw, "<i2")[: job.d]
            tb.board.compare(f"{self.name} ring", vectors[key], got, axes=("element",), width=16,
                             where={"key": key, "phase": self.committed, "head": phase.head,
                                    "slot": slot})
            tb.compared += 1
        self.committed += 1


class Gather:
    """Stand-in of fetch_kv: reads what u_* asks for into the rings, K and V independently."""

    def __init__(self, tb):
        self.tb = tb
        dut = tb.dut
        self.u_valid, self.put_ready = reader(dut.u_valid), writer(dut.u_ready)
        self.u = [KnownReader(getattr(dut, f"u_{f}")) for f in ("td", "slots", "mask", "nsteps")]
        self.port = {}
        for n in "kv":
            side = {"td": writer(dut.f_k_t_td), "nsteps": writer(dut.f_k_t_nsteps)}
            self.port[n] = {
                "valid": writer(getattr(dut, f"f_{n}_wr_valid")),
                **{f: (writer(getattr(dut, f"f_{n}_wr_{f}")), len(getattr(dut, f"f_{n}_wr_{f}")))
                   for f in ("buf", "slot", "beat", "data")},
                "t_valid": writer(getattr(dut, f"f_{n}_t_valid")),
                "t_ready": reader(getattr(dut, f"f_{n}_t_ready")),
                "side": side if n == "k" else {}}
        self.clear()

    def clear(self):
        self.ready = False
        self.released = dict.fromkeys("kv", 0)
        # Per ring: phases taken, phase at work, its beats, commit offered, phases begun
        self.queue = {n: deque() for n in "kv"}
        self.work = dict.fromkeys("kv")
        self.offered = dict.fromkeys("kv", False)
        self.begun = dict.fromkeys("kv", 0)
        self.put_ready("0")
        for n in "kv":
            self.port[n]["valid"]("0")
            self.port[n]["t_valid"]("0")

    def step(self):
        tb = self.tb
        if self.ready and self.u_valid() == "1":
            self._take(*(get() for get in self.u))
        for n in "kv":
            self._ring(n)
        room = len(self.queue["k"]) == 0 and len(self.queue["v"]) < tb.bufs
        self.ready = room and random.random() < tb.speed.gather
        self.put_ready("1" if self.ready else "0")

    def _take(self, td, slots, mask, nsteps):
        tb = self.tb
        phase = tb.asked.popleft()
        have = tb.job.have[phase.head]
        made = tb.job.made[phase.head]
        want = {s for s, k in phase.keys.items() if k in have or not tb.job.generate}
        tb.board.compare_fields(
            "gather order", {**unpack_td(phase.td), "nsteps": phase.nsteps,
                             "mask": sum(1 << s for s in want)},
            {**unpack_td(td), "nsteps": nsteps, "mask": mask}, where={"head": phase.head})
        loaded = [slots >> s * tb.slot_w & (1 << tb.slot_w) - 1 for s in phase.slots]
        tb.board.compare("gather order", list(phase.slots.values()), loaded, axes=("slot",),
                         where={"head": phase.head, "slot": list(phase.slots)})
        new = set(phase.keys.values()) - have if tb.job.generate else set()
        have |= new
        made |= new
        tb.reuse += bin(mask).count("1") if tb.job.generate else 0
        for n, base, inc in (("k", phase.kaddr, phase.kinc), ("v", phase.vaddr, phase.vinc)):
            beats = [(s, t, base + b * inc + t * tb.bus) for s, b in phase.slots.items()
                     if mask >> s & 1 for t in range(tb.beats)]
            self.queue[n].append((phase, beats))

    def _ring(self, n):
        tb, port = self.tb, self.port[n]
        if self.offered[n]:
            if port["t_ready"]() == "1":
                self.offered[n], self.work[n] = False, None
        if self.work[n] is None and self.queue[n] and self.begun[n] - self.released[n] < tb.bufs:
            phase, beats = self.queue[n].popleft()
            self.work[n] = (phase, deque(beats), self.begun[n] % tb.bufs)
            self.begun[n] += 1
        valid = False
        if self.work[n] is not None and not self.offered[n]:
            phase, beats, buf = self.work[n]
            if beats and random.random() < tb.speed.fill:
                slot, beat, addr = beats.popleft()
                at = addr - tb.base
                data = int.from_bytes(tb.mem[at : at + tb.bus].tobytes(), "little")
                for f, value in (("buf", buf), ("slot", slot), ("beat", beat), ("data", data)):
                    put, width = port[f]
                    put(format(value, f"0{width}b"))
                valid = True
            elif not beats:
                self.offered[n] = True
                if port["side"]:
                    port["side"]["td"](format(phase.td, f"0{tb.td_w}b"))
                    port["side"]["nsteps"](format(phase.nsteps, "08b"))
        port["valid"]("1" if valid else "0")
        port["t_valid"]("1" if self.offered[n] else "0")


class Reads:
    """Memory behind x_*: commands in order, their beats in order after a latency."""

    def __init__(self, tb):
        self.tb = tb
        dut = tb.dut
        self.c_valid, self.put_ready = reader(dut.x_c_valid), writer(dut.x_c_ready)
        self.command = [KnownReader(dut.x_c_addr), KnownReader(dut.x_c_beats)]
        self.put_valid, self.put_data = writer(dut.x_d_valid), writer(dut.x_d_data)
        self.d_ready = reader(dut.x_d_ready)
        self.clear()

    def clear(self):
        self.ready = self.valid = False
        self.beats = deque()
        self.count = 0
        self.put_ready("0")
        self.put_valid("0")

    def step(self, cycle):
        tb = self.tb
        if self.ready and self.c_valid() == "1":
            addr, beats = (get() for get in self.command)
            assert beats and addr % tb.bus == 0
            due = cycle + random.randint(*tb.speed.latency)
            self.beats.extend((due, addr + i * tb.bus) for i in range(beats))
            self.count += beats
        if self.valid and self.d_ready() == "1":
            self.beats.popleft()
            self.valid = False
        if not self.valid and self.beats and self.beats[0][0] <= cycle \
                and random.random() < tb.speed.beat:
            self.valid = True
            at = self.beats[0][1] - tb.base
            assert 0 <= at <= len(tb.mem) - tb.bus, f"read of {self.beats[0][1]:#x}"
            data = int.from_bytes(tb.mem[at : at + tb.bus].tobytes(), "little")
            self.put_data(format(data, f"0{8 * tb.bus}b"))
        self.put_valid("1" if self.valid else "0")
        self.ready = len(self.beats) < 1 << 17 and random.random() < tb.speed.command
        self.put_ready("1" if self.ready else "0")


class Writes:
    """Memory behind wb_*: a beat is in memory when it is answered, not before."""

    def __init__(self, tb):
        self.tb = tb
        dut = tb.dut
        self.w_valid, self.put_ready = reader(dut.wb_valid), writer(dut.wb_ready)
        self.get = [KnownReader(dut.wb_addr), KnownReader(dut.wb_data), KnownReader(dut.wb_strb)]
        self.put_done = writer(dut.wb_done)
        self.clear()

    def clear(self):
        self.ready = False
        self.paused = 0
        self.open = deque()
        self.seen = Counter()
        self.put_ready("0")
        self.put_done("0")

    def step(self, cycle):
        tb = self.tb
        if self.ready and self.w_valid() == "1":
            addr, data, strb = (get() for get in self.get)
            assert addr % tb.bus == 0 and strb
            self.seen[addr] += 1
            if self.seen.total() == tb.speed.pause_after:
                self.paused = cycle + 300
            due = cycle + random.randint(*tb.speed.answer)
            self.open.append((max(due, self.open[-1][0] + 1 if self.open else 0), addr, data, strb))
        done = bool(self.open) and self.open[0][0] <= cycle
        if done:
            _, addr, data, strb = self.open.popleft()
            raw = np.frombuffer(data.to_bytes(tb.bus, "little"), np.uint8)
            keep = np.array([strb >> i & 1 for i in range(tb.bus)], bool)
            tb.mem[addr - tb.base : addr - tb.base + tb.bus][keep] = raw[keep]
        self.put_done("1" if done else "0")
        if cycle >= self.paused and tb.speed.pause and random.random() < 0.01:
            self.paused = cycle + random.randint(1, tb.speed.pause)
        self.ready = cycle >= self.paused and random.random() < tb.speed.write
        self.put_ready("1" if self.ready else "0")


class TB:
    """Clock, memory, neighbours of the stage. One coroutine does all of them, cycle by cycle."""

    def __init__(self, dut, speed=None):
        self.dut, self.clk = dut, dut.clk
        self.p = parameters()
        names = ("ROWS", "D_MAX", "BC_MAX", "KV_SLOTS", "BUS_BYTES", "KEYS_MAX", "H_MAX", "KG_TOK",
                 "WGT_WORDS")
        self.cfg = Config.from_parameters({"COLS": 4, **{n: self.p[n] for n in names}})
        self.bus, self.bufs = self.p["BUS_BYTES"], self.p.get("KV_BUFS", 2)
        self.slots = self.p["KV_SLOTS"]
        self.slot_w = self.cfg.SLOT_W
        self.base = BASE & (1 << self.p.get("ADDR_W", 40)) - 1
        self.td_w = len(dut.p_td)
        self.speed = speed or Speed()
        cocotb.start_soon(Clock(dut.clk, CLOCK_PERIOD_NS, unit="ns").start())
        dut.rst.value = 1
        self.rng = np.random.default_rng(random.getrandbits(32))
        self.job, self.mem = None, np.zeros(0, np.uint8)
        idle = 1 - self.speed.phase
        self.source = StreamSource(dut, "p", dut.clk, dut.rst,
                                   fields=("td", "slots", "mask", "nsteps"),
                                   idle=pattern(idle, random.getrandbits(32)) if idle else None)
        self.asked, self.board = deque(), Scoreboard(dut._log)
        self.cycle = self.compared = 0
        self.gather, self.reads, self.writes = Gather(self), Reads(self), Writes(self)
        self.rings = [Ring(self, "k"), Ring(self, "v")]
        self.events = {n: reader(getattr(dut, f"ev_{n}"))
                       for n in ("busy", "stall", "starve", "gen")}
        self.clear()
        self.kv_done, self.idle = reader(dut.kv_done), reader(dut.idle)
        cocotb.start_soon(self._run())

    def restart(self):
        """Forget what the jobs before have counted."""
        self.reuse = self.heads_done = self.reads.count = 0
        self.writes.seen.clear()
        self.counts = Counter()
        # Cycles of each event
        self.at = {name: [] for name in self.events}

    def clear(self):
        """Forget everything under way."""
        self.asked.clear()
        self.restart()
        for part in (self.gather, self.reads, self.writes, *self.rings):
            part.clear()

    async def reset(self):
        """Pulse rst and forget all that was asked for."""
        self.dut.rst.value = 1
        for _ in range(3):
            await RisingEdge(self.clk)
        self.dut.rst.value = 0
        await RisingEdge(self.clk)

    async def next_job(self):
        """Go on without rst: one cycle without cfg_generate restarts the count of heads."""
        self.dut.cfg_generate.value = 0
        self.restart()
        await RisingEdge(self.clk)
        self.dut.cfg_generate.value = int(self.job.generate)
        await RisingEdge(self.clk)

    async def _run(self):
        edge, rst = RisingEdge(self.clk), reader(self.dut.rst)
        while True:
            await edge
            self.cycle += 1
            if rst() != "0":
                self.clear()
                continue
            for name, read in self.events.items():
                text = read()
                self.counts[name] += int(text, 2)
                if text == "1":
                    self.at[name].append(self.cycle)
            if self.idle() != "0":
                assert not self.writes.open and not self.reads.beats, "idle too early"
            done = self.kv_done() == "1"
            if done:
                assert not self.writes.open, "kv_done before the answers"
                self.check_head(self.heads_done)
                self.heads_done += 1
            self.gather.step()
            self.reads.step(self.cycle)
            self.writes.step(self.cycle)
            for ring in self.rings:
                ring.step(self.cycle)

    # -----------------------------------------------------------------------------------------
    # Jobs
    # -----------------------------------------------------------------------------------------
    def new_job(self, d, h, mode, keys, heads=1, *, generate=True, vb_load=False, shift=None,
                have=0.0, extreme=False):
        """Make the buffers of a job in a fresh memory and set the configuration.

        have: share of the keys whose vectors are in memory before the job (with vb_load).
        extreme: numbers of X and W are the largest and smallest there are, long runs of them.
        """
        n, rng = self.bus, self.rng
        self.beats = -(-2 * d // n)

        def room(size):
            return -(-size // n) * n + n * random.randrange(3)

        at, top = {}, 0

        def place(name, rows, stride, hstride=0, count=1):
            nonlocal top
            top += n * random.randrange(4)
            at[name] = {"base": self.base + top, "stride": stride, "hstride": hstride}
            top += max(hstride * count, hstride * (count - 1) + stride * rows)

        passes = -(-2 * d // self.cfg.ROWS)
        w_size, vb_size = room(passes * h * self.cfg.ROWS * 2), room(-(-keys // 8))
        for name in random.sample(["k", "v", "x", "w", "rt", "vb"], 6):
            if name in "kv":
                stride = room(2 * d)
                place(name, keys, stride, room(stride * keys), heads)
            elif name == "x":
                place(name, keys, room(2 * h))
            elif name == "rt":
                place(name, keys, room(2 * d))
            else:
                size = w_size if name == "w" else vb_size
                place(name, 1, size, size, heads)
        self.mem = rng.integers(0, 256, top + n, dtype=np.uint8)
        if shift is None:
            shift = random.randrange(10, 20)
        job = Job(d, h, mode, keys, heads, shift, max(shift - random.randrange(3), 0), generate,
                  vb_load, at)
        job.x = rng.integers(-32768, 32768, (keys, h)).astype(np.int16)
        if extreme:
            job.x = np.where(rng.random((keys, 1)) < 0.5, -32768, 32767).repeat(h, 1)
            job.x[:, h - 8 :] = rng.choice([-32768, 32767], (keys, 8))
            job.x = job.x.astype(np.int16)
        # Rows of a real table and rows of anything, which overflow more often.
        job.rt = rope.table(keys, d, 10000.0)
        wild = rng.random(keys) < 0.3
        job.rt[wild] = rng.integers(-32768, 32768, (int(wild.sum()), d)).astype(np.int16)
        for row in range(keys):
            self._store(at["x"]["base"] + row * at["x"]["stride"], job.x[row])
            self._store(at["rt"]["base"] + row * at["rt"]["stride"], job.rt[row])
        for head in range(heads):
            wk, wv = (rng.integers(-32768, 32768, (h, d)) >> rng.integers(0, 15, (h, d))
                      for _ in range(2))
            if extreme:
                wk, wv = (np.broadcast_to(rng.choice([-32768, 32767], (1, d)), (h, d))
                          for _ in range(2))
            image = kvgen.pack_weights(wk.astype(np.int16), wv.astype(np.int16), self.cfg, mode)
            self._store(at["w"]["base"] + head * at["w"]["hstride"], image)
            k, v = kvgen.project(job.x, wk, wv, job.shift_k, job.shift_v, mode, job.rt)
            known = set(np.flatnonzero(rng.random(keys) < have).tolist())
            kept = known if generate else range(keys)
            for key in kept:
                # What is in memory counts, whatever it is.
                k[key] = self._vector("k", head, key, d, at)
                v[key] = self._vector("v", head, key, d, at)
            job.k.append(k)
            job.v.append(v)
            job.have.append(set(known) if vb_load else set())
            job.made.append(set())
            if vb_load:
                self._save_bits(at, head, known, keys, junk=True)
        self.job = job
        self.before = self.mem.copy()
        self.configure()

    def continue_job(self):
        """The same buffers once more: a job that loads what the one before has saved."""
        self.job.vb_load = True
        self.job.made = [set() for _ in range(self.job.heads)]
        self.before = self.mem.copy()
        self.configure()

    def configure(self):
        """Drive cfg_*."""
        dut, job, at = self.dut, self.job, self.job.at
        for name, value in (("generate", job.generate), ("d", job.d), ("h", job.h),
                            ("rope", job.mode), ("keys", job.keys), ("kg_shift_k", job.shift_k),
                            ("kg_shift_v", job.shift_v), ("x_base", at["x"]["base"]),
                            ("x_stride", at["x"]["stride"]), ("w_base", at["w"]["base"]),
                            ("w_hstride", at["w"]["hstride"]), ("rt_base", at["rt"]["base"]),
                            ("rt_stride", at["rt"]["stride"]), ("vb_base", at["vb"]["base"]),
                            ("vb_hstride", at["vb"]["hstride"]), ("vb_load", job.vb_load)):
            getattr(dut, f"cfg_{name}").value = int(value)

    def _store(self, addr, array):
        raw = np.ascontiguousarray(array, "<i2").reshape(-1).view(np.uint8)
        self.mem[addr - self.base : addr - self.base + len(raw)] = raw

    def _vector(self, name, head, key, d, at, mem=None):
        mem = self.mem if mem is None else mem
        start = at[name]["base"] - self.base + head * at[name]["hstride"] + key * at[name]["stride"]
        return mem[start : start + 2 * d].view("<i2")

    def _save_bits(self, at, head, known, keys, junk=False, mem=None):
        """Write the bitmap of a head; junk: bits of no key keep what they are."""
        mem = self.mem if mem is None else mem
        start = at["vb"]["base"] - self.base + head * at["vb"]["hstride"]
        size = -(-keys // (8 * self.bus)) * self.bus
        bits = np.unpackbits(mem[start : start + size], bitorder="little")
        if junk:
            bits[:keys] = 0
        else:
            bits[:] = 0
        bits[sorted(known)] = 1
        mem[start : start + size] = np.packbits(bits, bitorder="little")

    def phases_of_tile(self, head, tile, chosen, new, last, whole=False):
        """Split the chosen slots of a tile into random phases, or as few as possible."""
        at = self.job.at
        chosen = list(chosen)
        random.shuffle(chosen)
        parts = []
        while chosen:
            size = self.slots if whole else random.choice([self.slots,
                                                           random.randint(1, self.slots)])
            parts.append(chosen[:size])
            chosen = chosen[size:]
        parts = parts or [[]]
        phases = []
        for i, part in enumerate(parts):
            places = random.sample(range(self.slots), len(part))
            if random.random() < 0.5:
                places = sorted(places)
            slots = dict(zip(places, part, strict=True))
            addr = {n: at[n]["base"] + head * at[n]["hstride"] + tile.k0 * at[n]["stride"]
                    for n in "kv"}
            inc = {n: at[n]["stride"] * tile.kstep for n in "kv"}
            final = i == len(parts) - 1
            fields = {"n": tile.n, "rows": tile.rows, "first": tile.first and i == 0,
                      "last": tile.last and final, "causal": tile.causal, "rel": tile.rel,
                      "kstep": tile.kstep, "kaddr": addr["k"], "vaddr": addr["v"],
                      "kinc": inc["k"], "vinc": inc["v"], "oaddr": random.getrandbits(48),
                      "k0": tile.k0, "kvnew": new and i == 0, "kvlast": last and final}
            td = pack_td(**{k: int(v) for k, v in fields.items()})
            phases.append(Phase(td, head, slots, {s: tile.k0 + b * tile.kstep
                                                  for s, b in slots.items()},
                                random.getrandbits(8), addr["k"], inc["k"], addr["v"], inc["v"],
                                last and final))
        return phases

    def ask(self, phase):
        """Queue one phase."""
        slots = random.getrandbits(self.slots * self.slot_w)
        for s, b in phase.slots.items():
            slots &= ~(((1 << self.slot_w) - 1) << s * self.slot_w)
            slots |= b << s * self.slot_w
        self.asked.append(phase)
        for ring in self.rings:
            ring.expect.append(phase)
        self.source.append({"td": phase.td, "slots": slots, "nsteps": phase.nsteps,
                            "mask": sum(1 << s for s in phase.slots)})

    def ask_random(self, blocks, share=None):
        """Queue ``blocks`` random blocks of each KV head; every head has its first and last."""
        job = self.job
        for head in range(job.heads):
            tiles = []
            for _ in range(blocks):
                bc = random.choice([b for b in (4, 8, 16, 32, 64) if b <= self.cfg.BC_MAX])
                tiles += block_tiles(0, random.randint(1, self.cfg.ROWS), job.keys, bc,
                                     interleaved=random.random() < 0.5)
            for i, tile in enumerate(tiles):
                part = random.choice([0.0, 0.2, 0.6, 1.0]) if share is None else share
                chosen = [b for b in range(tile.n) if random.random() < part]
                for phase in self.phases_of_tile(head, tile, chosen, i == 0, i == len(tiles) - 1):
                    self.ask(phase)

    @property
    def pending(self):
        """Phases not yet committed to each ring."""
        return {r.name: len(r.expect) for r in self.rings}

    async def finish(self, limit=200000):
        """Wait until all phases are committed and released, and check what is left behind."""
        start, job = self.cycle, self.job
        heads = job.heads if job.generate else 0
        while any(self.pending.values()) or any(r.due for r in self.rings) \
                or self.heads_done < heads:
            assert self.cycle - start < limit, f"waits for {self.pending}, {self.heads_done} heads"
            await RisingEdge(self.clk)
        for _ in range(5):
            await RisingEdge(self.clk)
        assert self.idle() == "1"
        assert not self.asked and self.heads_done == heads
        made = sum(len(m) for m in job.made)
        assert self.counts["gen"] == made
        assert self.counts["busy"] <= made * self.passes * job.h
        if self.group == 1:
            assert self.counts["busy"] == made * self.passes * job.h
        if heads:
            self.check_memory()
        else:
            assert not self.reads.count and not self.writes.seen and not made
            assert np.array_equal(self.mem, self.before)

    @property
    def passes(self):
        """Passes of a group."""
        return -(-2 * self.job.d // self.cfg.ROWS)

    @property
    def group(self):
        """Tokens of a whole group."""
        return kvgen.group_tokens(self.job.h, self.job.d, self.cfg)

    def expected(self, heads):
        """Memory when the first ``heads`` KV heads are complete."""
        job, mem = self.job, self.before.copy()
        for head in range(heads):
            for key in job.made[head]:
                self._vector("k", head, key, job.d, job.at, mem)[:] = job.k[head][key]
                self._vector("v", head, key, job.d, job.at, mem)[:] = job.v[head][key]
            self._save_bits(job.at, head, job.have[head], job.keys, mem=mem)
        return mem

    def check_head(self, head):
        """At kv_done: everything of this head, and nothing of later ones, is in memory."""
        self.board.compare("memory at kv_done", self.expected(head + 1), self.mem, axes=("byte",),
                           where={"head": head, "byte": self.base})

    def check_memory(self):
        """The whole memory, and every address written once."""
        self.board.compare("memory", self.expected(self.job.heads), self.mem, axes=("byte",),
                           where={"byte": self.base})
        bits = self.job.heads * -(-self.job.keys // (8 * self.bus))
        made = sum(len(m) for m in self.job.made)
        assert len(self.writes.seen) == bits + 2 * made * self.beats
        assert set(self.writes.seen.values()) == {1}
