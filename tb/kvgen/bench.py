# SPDX-License-Identifier: Apache-2.0
"""Bench of the KVGEN stage: memory, stand-ins of fetch and store, and the
units, which compare every beat with the model."""

from __future__ import annotations

import random
from collections import Counter, deque
from dataclasses import dataclass, field

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge

from models import kvgen, rope, sufa
from models.config import Config
from models.head import KeySource
from tb.common import samples
from tb.common.address_map import AddressMap, Places
from tb.common.scoreboard import Scoreboard, same
from tb.common.signals import KnownReader, reader, writer
from tb.common.stream import StreamSource, pattern
from tb.runner import CLOCK_PERIOD_NS, parameters

KEY, END, BEGIN, FINISH = range(4)
FIELDS = ("kind", "key", "kbase", "vbase", "mask", "place", "rows", "maddr", "oaddr", "shift_k",
          "shift_v")


@dataclass
class Speed:
    """Chances per cycle that a neighbour acts (1: always) and ranges of its delays in cycles."""

    item: float = 1.0
    command: float = 1.0
    beat: float = 1.0
    latency: tuple = (1, 1)
    write: float = 1.0
    answer: tuple = (1, 1)
    # fetch: takes a request, writes a beat; delay of a vector's first beat
    gather: float = 1.0
    fill: float = 1.0
    gather_latency: tuple = (2, 2)
    # The units take a beat
    take: float = 1.0
    # Store, and the units, pause that long, now and then
    pause: int = 0
    hold: int = 0

    @classmethod
    def slow(cls):
        """Random delays everywhere, chosen anew for each bench."""
        def chance():
            return random.choice([1.0, 0.8, 0.3])

        return cls(item=chance(), command=chance(), beat=chance(),
                   latency=(1, random.choice([1, 20])), write=chance(),
                   answer=(1, random.choice([1, 60])), gather=chance(), fill=chance(),
                   gather_latency=random.choice([(2, 2), (2, 40), (30, 30)]), take=chance(),
                   pause=random.choice([0, 0, 400]), hold=random.choice([0, 0, 200]))


@dataclass
class Job:
    """Configuration of a job and where its buffers lie; strides in bytes."""

    d: int
    h: int
    mode: int
    keys: int
    heads: int
    blocks: int
    # Of K and of V, of each head
    shifts: list
    generate: bool = True
    mean: bool = True
    vb_load: bool = False
    at: dict = field(default_factory=dict)
    # Per head, int16: K, V [keys, d] as the units must get them, means [blocks, d]
    k: list = field(default_factory=list)
    v: list = field(default_factory=list)
    means: list = field(default_factory=list)
    # Per head: keys that exist, bool [keys]; keys made in this job, in order
    have: list = field(default_factory=list)
    made: list = field(default_factory=list)


@dataclass
class Item:
    """What the units must get for a key or an end: its vectors, and the fields with the first."""

    vectors: np.ndarray
    fields: dict
    name: str


class Gather:
    """Stand-in of fetch: reads vectors into landing places, in any order, a beat a cycle."""

    def __init__(self, tb):
        self.tb = tb
        dut = tb.dut
        self.u_valid, self.put_ready = reader(dut.u_valid), writer(dut.u_ready)
        self.u = {f: KnownReader(getattr(dut, f"u_{f}"))
                  for f in ("land", "mean", "key", "kbase", "vbase")}
        self.put = {n: {f: (writer(getattr(dut, f"{n}_wr_{f}")), len(getattr(dut, f"{n}_wr_{f}")))
                        for f in ("land", "beat", "last")} for n in "kv"}
        self.put_valid = {n: writer(getattr(dut, f"{n}_wr_valid")) for n in "kv"}
        self.put_data = writer(dut.kv_wr_data)
        self.clear()

    def clear(self):
        self.ready = False
        # Vectors under way: [due, "k" or "v", place, number of the next beat, its bytes]
        self.open = []
        self.asked = deque()
        self.taken = 0
        self.first = self.last = 0
        self.put_ready("0")
        for put in self.put_valid.values():
            put("0")

    def step(self, cycle):
        tb = self.tb
        if self.ready and self.u_valid() == "1":
            self._take(cycle, **{f: get() for f, get in self.u.items()})
        for put in self.put_valid.values():
            put("0")
        due = [i for i, one in enumerate(self.open) if one[0] <= cycle]
        if due and random.random() < tb.speed.fill:
            one = self.open[due[0] if tb.in_order else random.choice(due)]
            _, name, land, beat, raw = one
            data = int.from_bytes(raw[beat * tb.bus : (beat + 1) * tb.bus], "little")
            last = beat == tb.beats - 1
            for f, value in (("land", land), ("beat", beat), ("last", int(last))):
                put, width = self.put[name][f]
                put(format(value, f"0{width}b"))
            self.put_data(format(data, f"0{8 * tb.bus}b"))
            self.put_valid[name]("1")
            one[3] += 1
            self.last = cycle
            if last:
                self.open.remove(one)
        self.ready = random.random() < tb.speed.gather
        self.put_ready("1" if self.ready else "0")

    def _take(self, cycle, land, mean, key, kbase, vbase):
        tb, strides = self.tb, {n: self.tb.job.at[n]["stride"] for n in "kv"}
        assert self.asked, "request to fetch without a key to read"
        want = self.asked.popleft()
        got = {"mean": mean, "vbase": vbase, **({} if mean else {"key": key, "kbase": kbase})}
        tb.board.compare_fields("request", want, got, where={"request": self.taken})
        self.taken += 1
        places = tb.places
        assert land < places, f"place {land} of {places}"
        read = {"v": vbase} if mean else {"k": kbase + key * strides["k"],
                                          "v": vbase + key * strides["v"]}
        for name, addr in read.items():
            # What memory holds at the request counts: a vector may not be asked for too early.
            size = tb.beats * tb.bus
            at = tb.offset(addr, size)
            raw = tb.mem[at : at + size].tobytes()
            due = cycle + random.randint(*tb.speed.gather_latency)
            self.open.append([due, name, land, 0, raw])


class Units:
    """Takes beats and compares them with the items in order."""

    def __init__(self, tb):
        self.tb = tb
        dut = tb.dut
        self.valid, self.put_ready = reader(dut.kv_valid), writer(dut.kv_ready)
        self.first, self.data = reader(dut.kv_first), KnownReader(dut.kv_data)
        names = ("mask", "end", "end_place", "end_rows", "end_addr")
        self.get = {f: KnownReader(getattr(dut, f"kv_{f}")) for f in names}
        self.raw = [reader(getattr(dut, f"kv_{f}")) for f in ("first", "data", *names)]
        self.clear()

    def clear(self):
        self.ready = False
        self.expect = deque()
        self.beats = []
        self.held = None
        self.closed = 0
        self.blocked = False
        # Cycles of the beats taken
        self.at = []
        self.put_ready("0")

    def step(self, cycle):
        tb = self.tb
        valid = self.valid()
        assert valid in "01", "kv_valid is unknown"
        if valid == "1":
            shown = [get() for get in self.raw]
            assert self.held in (None, shown), "kv_* changed while it waited"
            self.held = None if self.ready else shown
            if self.ready:
                self.at.append(cycle)
                self._beat()
        else:
            assert self.held is None, "kv_valid fell while it waited"
        if tb.speed.hold and cycle >= self.closed and random.random() < 0.02:
            self.closed = cycle + random.randint(1, tb.speed.hold)
        self.ready = (not self.blocked and cycle >= self.closed
                      and random.random() < tb.speed.take)
        self.put_ready("1" if self.ready else "0")

    def _beat(self):
        tb = self.tb
        assert self.expect, "a beat that no item has"
        item = self.expect[0]
        assert self.first() == ("0" if self.beats else "1"), f"{item.name}: first"
        if not self.beats:
            fields = {f: get() for f, get in self.get.items()}
            tb.board.compare_fields("item", item.fields, {f: fields[f] for f in item.fields},
                                    where={"item": item.name})
        self.beats.append(self.data())
        if len(self.beats) == len(item.vectors) * tb.beats:
            raw = b"".join(b.to_bytes(tb.bus, "little") for b in self.beats)
            got = np.frombuffer(raw, "<i2").reshape(len(item.vectors), -1)[:, : tb.job.d]
            tb.board.compare("vectors", item.vectors, got, axes=("vector", "element"), width=16,
                             where={"item": item.name})
            self.expect.popleft()
            self.beats = []


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
            assert beats and addr % tb.bus == 0, f"x command: {beats} beats from {addr:#x}"
            due = cycle + random.randint(*tb.speed.latency)
            self.beats.extend((due, addr + i * tb.bus) for i in range(beats))
            self.count += beats
        if self.valid and self.d_ready() == "1":
            self.beats.popleft()
            self.valid = False
        if not self.valid and self.beats and self.beats[0][0] <= cycle \
                and random.random() < tb.speed.beat:
            self.valid = True
            at = tb.offset(self.beats[0][1], tb.bus)
            data = int.from_bytes(tb.mem[at : at + tb.bus].tobytes(), "little")
            self.put_data(format(data, f"0{8 * tb.bus}b"))
        self.put_valid("1" if self.valid else "0")
        self.ready = random.random() < tb.speed.command
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
            assert addr % tb.bus == 0 and strb, f"write to {addr:#x} with strobes {strb:#x}"
            self.seen[addr] += 1
            due = cycle + random.randint(*tb.speed.answer)
            self.open.append((max(due, self.open[-1][0] + 1 if self.open else 0), addr, data, strb))
        done = bool(self.open) and self.open[0][0] <= cycle
        if done:
            _, addr, data, strb = self.open.popleft()
            raw = np.frombuffer(data.to_bytes(tb.bus, "little"), np.uint8)
            keep = np.array([strb >> i & 1 for i in range(tb.bus)], bool)
            at = tb.offset(addr, tb.bus)
            tb.mem[at : at + tb.bus][keep] = raw[keep]
        self.put_done("1" if done else "0")
        if cycle >= self.paused and tb.speed.pause and random.random() < 0.01:
            self.paused = cycle + random.randint(1, tb.speed.pause)
        self.ready = cycle >= self.paused and random.random() < tb.speed.write
        self.put_ready("1" if self.ready else "0")


class TB:
    """Clock, memory, neighbours of the stage. One coroutine does all of them, cycle by cycle."""

    EVENTS = ("busy", "stall", "starve", "gen", "reused")

    def __init__(self, dut, speed=None):
        self.dut, self.clk = dut, dut.clk
        self.p = parameters()
        names = ("ROWS", "D_MAX", "BUS_BYTES", "KEYS_MAX", "H_MAX", "KG_TOK", "WGT_WORDS")
        self.cfg = Config.from_parameters(
            {"COLS": 4, "BC_MAX": 64, **{n: self.p[n] for n in names},
             "VM_W": self.p.get("VM_W", 8)})
        self.bus = self.p["BUS_BYTES"]
        self.map = AddressMap(0, 1 << 24)
        self.buffers = Places(self.map, self.p.get("ADDR_W", 40), self.bus, random)
        self.speed = speed or Speed()
        # Fetch delivers vectors in the order of the requests, K before V
        self.in_order = False
        cocotb.start_soon(Clock(dut.clk, CLOCK_PERIOD_NS, unit="ns").start())
        dut.rst.value = 1
        self.rng = np.random.default_rng(random.getrandbits(32))
        self.job, self.mem = None, np.zeros(0, np.uint8)
        idle = 1 - self.speed.item
        self.source = StreamSource(dut, "p", dut.clk, dut.rst, fields=FIELDS,
                                   idle=pattern(idle, random.getrandbits(32)) if idle else None)
        self.board = Scoreboard(dut._log)
        self.cycle = 0
        self.gather, self.reads, self.writes = Gather(self), Reads(self), Writes(self)
        self.units = Units(self)
        self.parts = (self.gather, self.reads, self.writes, self.units)
        self.events = {n: reader(getattr(dut, f"ev_{n}")) for n in self.EVENTS}
        self.kv_done, self.idle = reader(dut.kv_done), reader(dut.idle)
        self.restart()
        cocotb.start_soon(self._run())

    def restart(self):
        """Forget what the jobs before have counted."""
        self.heads_done = self.heads_asked = self.reads.count = self.gather.taken = 0
        self.mean_tokens = self.read_keys = 0
        self.writes.seen.clear()
        # Cycles of each event; items so far
        self.at = {name: [] for name in self.events}
        self.units.at = []
        self.items = 0

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
        self.configure()
        await RisingEdge(self.clk)

    async def start(self, first):
        """Begin the job, with or without rst."""
        if first:
            self.configure()
            await self.reset()
        else:
            await self.next_job()

    async def _run(self):
        edge, rst = RisingEdge(self.clk), reader(self.dut.rst)
        while True:
            await edge
            self.cycle += 1
            if rst() != "0":
                self.restart()
                for part in self.parts:
                    part.clear()
                continue
            for name, read in self.events.items():
                text = read()
                assert text in "01", f"ev_{name} is {text}"
                if text == "1":
                    self.at[name].append(self.cycle)
            if self.idle() != "0":
                assert not self.writes.open and not self.reads.beats and not self.gather.open, \
                    "idle too early"
                assert not self.units.beats, "idle within an item"
            if self.kv_done() != "0":
                assert not self.writes.open, "kv_done before the answers"
                self.heads_done += 1
                self.check_memory(self.heads_done, "memory at kv_done")
            for part in self.parts:
                part.step(self.cycle)

    # -----------------------------------------------------------------------------------------
    # Jobs
    # -----------------------------------------------------------------------------------------
    def new_job(self, d, h, mode, keys, heads=1, blocks=4, *, generate=True, mean=True,
                vb_load=False, shift=None, have=0.0, extreme=False):
        """Make the buffers of a job in a fresh memory.

        have: share of the keys whose vectors are in memory before the job (with vb_load).
        extreme: numbers of X, XM and W are the largest and smallest there are, long runs of them.
        """
        n, rng = self.bus, self.rng

        def room(size):
            return -(-size // n) * n + n * random.randrange(3)

        at, top = {}, 0
        self.buffers.clear()

        def place(name, rows, stride, hstride=0, count=1):
            nonlocal top
            total = max(hstride * count, hstride * (count - 1) + stride * rows)
            low = n * random.randrange(4096 // n)
            if random.random() < 0.5:
                base = self.buffers.place(top, total, low)
            else:
                base, stride, far = self.buffers.spread(top, count if hstride else 1, rows, stride,
                                                        stride, hstride, low)
                hstride = far if hstride else 0
            at[name] = {"base": base, "stride": stride, "hstride": hstride}
            top += total

        passes = -(-2 * d // self.cfg.ROWS)
        w_size, vb_size = room(passes * h * self.cfg.ROWS * 2), room(-(-keys // 8))
        for name in random.sample(["k", "v", "x", "w", "rt", "vb", "m"], 7):
            if name in "kv":
                stride = room(2 * d)
                place(name, keys, stride, room(stride * keys), heads)
            elif name == "m":
                # XM is one for all heads, VM one for each.
                stride = room(2 * (h if generate else d))
                place(name, blocks, stride, 0 if generate else room(stride * blocks), heads)
            elif name == "x":
                place(name, keys, room(2 * h))
            elif name == "rt":
                place(name, keys, room(2 * d))
            else:
                size = w_size if name == "w" else vb_size
                place(name, 1, size, size, heads)
        self.mem = rng.integers(0, 256, top, dtype=np.uint8)
        shifts = []
        for _ in range(heads):
            own = random.randrange(10, 20) if shift is None else shift
            shifts.append((own, max(own - random.randrange(3), 0)))
        job = Job(d=d, h=h, mode=mode, keys=keys, heads=heads, blocks=blocks, shifts=shifts,
                  generate=generate, mean=mean, vb_load=vb_load, at=at)
        self.job = job
        x, xm = (rng.integers(-32768, 32768, (rows, h)).astype(np.int16)
                 for rows in (keys, blocks))
        if extreme:
            x, xm = (np.where(rng.random((rows, 1)) < 0.5, -32768, 32767).repeat(h, 1)
                     .astype(np.int16) for rows in (keys, blocks))
        # Rows of a real table and rows of anything, which overflow more often.
        rt = rope.table(keys, d, 10000.0)
        wild = rng.random(keys) < 0.3
        rt[wild] = rng.integers(-32768, 32768, (int(wild.sum()), d)).astype(np.int16)
        for name, rows in (("x", x), ("rt", rt), *([("m", xm)] if generate else [])):
            for i, row in enumerate(rows):
                self._store(at[name]["base"] + i * at[name]["stride"], row)
        for head in range(heads):
            wk, wv = (rng.integers(-32768, 32768, (h, d)) >> rng.integers(0, 15, (h, d))
                      for _ in range(2))
            if extreme:
                wk, wv = (np.broadcast_to(rng.choice([-32768, 32767], (1, d)), (h, d))
                          for _ in range(2))
            image = kvgen.pack_weights(wk.astype(np.int16), wv.astype(np.int16), self.cfg, mode)
            self._store(at["w"]["base"] + head * at["w"]["hstride"], image)
            k, v = kvgen.project(x, wk, wv, *shifts[head], mode, rt)
            known = rng.random(keys) < (have if generate else 1)
            for key in np.flatnonzero(known):
                # What is in memory counts, whatever it is.
                k[key], v[key] = (self._vector(name, head, key) for name in "kv")
            job.k.append(k)
            job.v.append(v)
            if generate:
                narrow = kvgen.narrow(kvgen.sums(xm, wv), shifts[head][1])
                cut = sufa.cut(narrow, self.cfg.VM_W).astype(np.int64) << 16 - self.cfg.VM_W
                job.means.append(cut)
            else:
                job.means.append(np.stack([self._vector("m", head, b) for b in range(blocks)]))
            job.have.append(known if vb_load or not generate else np.zeros(keys, bool))
            job.made.append([])
            if vb_load:
                self._save_bits(head, known, self.mem, junk=True)
        self.before = self.mem.copy()

    def continue_job(self):
        """The same buffers once more: a job that loads what the one before has saved."""
        self.job.vb_load = True
        self.job.made = [[] for _ in range(self.job.heads)]
        self.before = self.mem.copy()

    def configure(self):
        """Drive cfg_*."""
        dut, job, at = self.dut, self.job, self.job.at
        for name, value in (("generate", job.generate), ("mean", job.mean), ("d", job.d),
                            ("h", job.h), ("rope", job.mode), ("keys", job.keys),
                            ("k_stride", at["k"]["stride"]), ("v_stride", at["v"]["stride"]),
                            ("x_base", at["x"]["base"]), ("x_stride", at["x"]["stride"]),
                            ("w_base", at["w"]["base"]), ("w_hstride", at["w"]["hstride"]),
                            ("rt_base", at["rt"]["base"]), ("rt_stride", at["rt"]["stride"]),
                            ("vb_base", at["vb"]["base"]), ("vb_hstride", at["vb"]["hstride"]),
                            ("vb_load", job.vb_load)):
            getattr(dut, f"cfg_{name}").value = int(value)

    def _store(self, addr, array):
        raw = np.ascontiguousarray(array, "<i2").reshape(-1).view(np.uint8)
        at = self.offset(addr, len(raw))
        self.mem[at : at + len(raw)] = raw

    def offset(self, address, count):
        """Where in the memory so many bytes at an address are; they must be in one buffer."""
        at = self.map.offset(address, count)
        assert at is not None, f"{count} bytes at {address:#x} are in no buffer"
        return at

    def address(self, name, head, row):
        """Address of a row of a buffer."""
        at = self.job.at[name]
        return at["base"] + head * at["hstride"] + row * at["stride"]

    def _vector(self, name, head, row, mem=None):
        mem = self.mem if mem is None else mem
        start = self.offset(self.address(name, head, row), 2 * self.job.d)
        return mem[start : start + 2 * self.job.d].view("<i2")

    def _save_bits(self, head, known, mem, junk=False):
        """Write the bitmap of a head; junk: bits of no key keep what they are."""
        keys = self.job.keys
        size = -(-keys // (8 * self.bus)) * self.bus
        start = self.offset(self.address("vb", head, 0), size)
        bits = np.unpackbits(mem[start : start + size], bitorder="little")
        if not junk:
            bits[:] = 0
        bits[:keys] = known
        mem[start : start + size] = np.packbits(bits, bitorder="little")

    # -----------------------------------------------------------------------------------------
    # Items
    # -----------------------------------------------------------------------------------------
    def _item(self, kind, **fields):
        """Queue an item; fields without meaning are random."""
        widths = {f: len(getattr(self.dut, f"p_{f}")) for f in FIELDS}
        junk = {f: random.getrandbits(w) for f, w in widths.items()}
        self.source.append({**junk, "kind": kind, **{f: int(v) for f, v in fields.items()}})
        self.items += 1

    def begin(self, head=0):
        """A KV head begins."""
        shift_k, shift_v = self.job.shifts[head]
        self._item(BEGIN, shift_k=shift_k, shift_v=shift_v)

    def ask(self, head, keys):
        """Queue keys of a turn; the model says which of them are made."""
        job = self.job
        source = KeySource(job.k[head], job.v[head], job.have[head])
        made, read = source.claim(np.array(keys, int))
        job.made[head] += made.tolist()
        self.read_keys += len(read)
        kbase, vbase = self.address("k", head, 0), self.address("v", head, 0)
        for key in keys:
            mask = random.getrandbits(self.p["PLACES"] * self.p["ROWS"]) or 1
            self._item(KEY, key=key, kbase=kbase, vbase=vbase, mask=mask)
            self.units.expect.append(Item(np.stack([job.k[head][key], job.v[head][key]]),
                                          {"mask": mask, "end": 0}, f"key {key} of head {head}"))
            if key in read:
                self.gather.asked.append({"mean": 0, "vbase": vbase, "key": int(key),
                                          "kbase": kbase})

    def end(self, head, block):
        """Queue the end of a block."""
        job = self.job
        place = random.randrange(self.p["PLACES"])
        rows = random.randint(0, self.p["ROWS"])
        oaddr = random.getrandbits(self.p.get("ADDR_W", 40))
        maddr = self.address("m", head, block)
        self._item(END, place=place, rows=rows, maddr=maddr, oaddr=oaddr)
        mean = job.means[head][block] if job.mean else np.zeros(job.d, np.int64)
        self.units.expect.append(Item(mean[None], {
            "end": 1, "mask": 0, "end_place": place, "end_rows": rows, "end_addr": oaddr},
            f"end of block {block} of head {head}"))
        if job.mean and job.generate:
            self.mean_tokens += 1
        elif job.mean:
            self.gather.asked.append({"mean": 1, "vbase": maddr})

    def finish_head(self):
        """A KV head ends."""
        self._item(FINISH)
        self.heads_asked += self.job.generate

    def ask_random(self, parts, share=None):
        """Queue random parts of each KV head: turns of some keys, and ends of blocks."""
        job = self.job
        for head in range(job.heads):
            self.begin(head)
            for _ in range(parts):
                order = list(range(job.keys))
                step = random.choice([4, 8, 16])
                if random.random() < 0.5:
                    order = [k for j in range(step) for k in range(j, job.keys, step)]
                for first in range(0, job.keys, step):
                    part = random.choice([0.0, 0.2, 0.6, 1.0]) if share is None else share
                    self.ask(head, [k for k in order[first : first + step]
                                    if random.random() < part])
                for block in random.sample(range(job.blocks), random.randint(1, job.blocks)):
                    self.end(head, block)
            self.finish_head()

    async def finish(self, limit=200000):
        """Wait until all items are through, and check what is left behind."""
        start, job = self.cycle, self.job
        while self.units.expect or self.heads_done < self.heads_asked or not self.source.empty:
            assert self.cycle - start < limit, \
                f"waits for {len(self.units.expect)} items, {self.heads_done} heads are done"
            await RisingEdge(self.clk)
        for _ in range(5):
            await RisingEdge(self.clk)
        same("kvgen", "1", self.idle(), field="idle")
        same("kvgen", 0, len(self.gather.asked), field="requests left")
        same("kvgen", self.heads_asked, self.heads_done, field="heads done")
        made = sum(len(m) for m in job.made)
        busy, tokens = len(self.at["busy"]), made + self.mean_tokens
        same("kvgen", made, len(self.at["gen"]), field="ev_gen")
        same("kvgen", self.read_keys, len(self.at["reused"]), field="ev_reused")
        work = self.passes * job.h
        least = -(-tokens // self.group) * work
        assert least <= busy <= tokens * work, \
            f"kvgen ev_busy: expected {least}..{tokens * work}, got {busy}"
        same("kvgen", self.expected_reads(made), self.reads.count, field="beats of x")
        if self.heads_done == job.heads:
            self.check_memory(job.heads, "memory")
            for k, v, keys in zip(job.k, job.v, job.made, strict=True):
                samples.vectors(k[keys], v[keys])
            bits = job.heads * -(-job.keys // (8 * self.bus))
            written = bits + 2 * made * self.beats
            same("kvgen", written, len(self.writes.seen), field="words written")
            same("kvgen", {1}, set(self.writes.seen.values()), field="writes of a word")
        elif not job.generate:
            same("kvgen", [0, 0, 0], [self.reads.count, len(self.writes.seen), made],
                 field="beats read, written, keys made")
            self.board.compare("memory", self.before, self.mem, axes=("byte",))

    def expected_reads(self, made):
        """Beats of the x stream: bitmaps, weights, rows of X and of the table, mean rows."""
        job = self.job
        heads = self.heads_done
        x = self.cfg.beats16(job.h)
        weights = self.passes * job.h * 2 * self.cfg.ROWS // self.bus
        bits = -(-job.keys // (8 * self.bus)) if job.vb_load else 0
        return (heads * (weights + bits) + made * (x + (self.beats if job.mode else 0))
                + self.mean_tokens * x)

    @property
    def beats(self):
        """Beats of a vector."""
        return self.cfg.beats16(self.job.d)

    @property
    def places(self):
        """Landing places in use."""
        return min(self.p["LAND"], self.p["LAND_BEATS"] // (2 * self.beats))

    @property
    def passes(self):
        """Passes of a group."""
        return -(-2 * self.job.d // self.cfg.ROWS)

    @property
    def group(self):
        """Tokens of a whole group."""
        return kvgen.group_tokens(self.job.h, self.job.d, self.cfg)

    def check_memory(self, heads, what):
        """Everything of the first heads, and nothing of later ones, is in memory."""
        job, mem = self.job, self.before.copy()
        for head in range(heads):
            for key in job.made[head]:
                self._vector("k", head, key, mem)[:] = job.k[head][key]
                self._vector("v", head, key, mem)[:] = job.v[head][key]
            self._save_bits(head, job.have[head], mem)
        self.board.compare(what, mem, self.mem, axes=("byte",))
