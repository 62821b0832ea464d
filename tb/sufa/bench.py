# SPDX-License-Identifier: Apache-2.0
"""Neighbours of the SU-FA stage: Q as fetch writes it, shares f, keys and ends in their order, a
receiver of the rows of O.

Expected values come from models/sufa.py. A program is a list of blocks, keys and ends in the
order of the broadcast. Q and f of a block come as soon as its place is free, keys without regard
to them: the stage holds back what comes too early.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge
from cocotb.utils import get_sim_time

from models import sufa
from models.config import Config
from tb.common import samples
from tb.common.ring import Ring
from tb.common.scoreboard import Scoreboard, pack, same, unpack
from tb.common.signals import KnownReader, moment, reader, to_int, writer
from tb.common.stream import StreamSink, StreamSource, Willing, pattern
from tb.runner import CLOCK_PERIOD_NS, parameters

PAIR = ("row", "z", "p", "m", "dm", "l")
O_FIELDS = ("data", "first", "addr", "last", "block_last")
KV_FIELDS = ("first", "data", "mask", "end", "end_place", "end_rows", "end_addr")

ROOM = 1 << 40
"""Addresses of O from a block's first row on: 128 steps of up to 32 bits, to tokens and heads."""


@dataclass
class Block:
    """A block of the job: q int16 [ROWS, d], scales, f [ROWS], mean [d] of VM_W bits, address of O;
    rows from ``rows`` on are not written. ``expect`` fills in the rest."""

    place: int
    rows: int
    q: np.ndarray
    scale: tuple
    f: np.ndarray
    mean: np.ndarray
    addr: int
    out: np.ndarray | None = None
    trace: sufa.Trace = field(default_factory=sufa.Trace)
    updates: int = 0


@dataclass
class Key:
    """A key of the broadcast: k, v int16 [d], wants bool [PLACES, ROWS]."""

    k: np.ndarray
    v: np.ndarray
    wants: np.ndarray


@dataclass
class End:
    """The end of a block."""

    block: Block


class Bench:
    """Runs programs; compares pairs, flush and output, and counts cycles."""

    def __init__(self, dut, seed):
        p = parameters()
        self.dut, self.rng = dut, random.Random(seed)
        self.np_rng = np.random.default_rng(seed)
        dut._log.info("seed %d", seed)
        self.board = Scoreboard(dut._log)
        self.rows, self.w, self.d_max = p["ROWS"], p["BUS_BYTES"] // 2, p["D_MAX"]
        self.units = 2 * self.rows // self.w
        self.rows_u = self.rows // self.units
        self.words = max(4, self.rows_u)
        self.cfg = Config(ROWS=self.rows, COLS=4, D_MAX=self.d_max, BC_MAX=64,
                          BUS_BYTES=p["BUS_BYTES"], KEYS_MAX=p["KEYS_MAX"],
                          F_FRAC=p.get("F_FRAC", 8), PLACES=p["PLACES"],
                          STORE_BEATS=p["STORE_BEATS"])
        self.serial = 0
        self.l_w = 16 + p["KEYS_MAX"].bit_length() - 1
        self.idx_w = (p["PLACES"] * self.rows_u).bit_length() - 1
        self.tasks = []
        self.put, self.shown = {}, {}
        for name in ("rst", "cfg_d", "cfg_o_stride", "cfg_o_hstride", "cfg_heads",
                     "q_wr_valid", "q_wr_place", "q_wr_row",
                     "q_wr_beat", "q_wr_data", "q_commit", "q_commit_place", "q_commit_scale_m",
                     "q_commit_scale_shift"):
            self.put[name] = self._putter(name)
            self.put[name](0)
        self.get = {name: KnownReader(getattr(dut, name)) for name in (
            "q_release", "ev_busy", "ev_flush", "ev_stall", "ev_starve", "ev_maxupd",
            "tap_e_valid", "tap_l_valid", "tap_o_valid")}
        self.text = {name: reader(getattr(dut, name)) for name in (
            "tap_e_row", "tap_e_z", "tap_e_p", "tap_e_m", "tap_e_dm", "tap_e_l", "tap_l_row",
            "tap_l", "tap_o_row", "tap_o_beat", "tap_o", "tap_r")}
        cocotb.start_soon(Clock(dut.clk, CLOCK_PERIOD_NS, unit="ns").start())
        self.kv = StreamSource(dut, "kv", dut.clk, dut.rst, fields=KV_FIELDS, seed=seed)
        self.f = StreamSource(dut, "f", dut.clk, dut.rst, seed=seed,
                              fields=("word", "last", "place", "data"))
        self.o = StreamSink(dut, "o", dut.clk, dut.rst, fields=O_FIELDS)

    def _putter(self, name):
        handle = getattr(self.dut, name)
        put, width = writer(handle), len(handle)
        shown = [None]

        def write(value):
            if value != shown[0]:
                shown[0] = value
                put(format(int(value), f"0{width}b"))

        return write

    def c(self, d):
        """Beats of a vector."""
        return -(-d // self.w)

    async def reset(self):
        for name in ("q_wr_valid", "q_commit"):
            self.put[name](0)
        self.put["rst"](1)
        for _ in range(3):
            await RisingEdge(self.dut.clk)
        self.put["rst"](0)
        self.serial = 0

    # -- Programs -------------------------------------------------------------------------------
    def vectors(self, shape, spread=None):
        """Random int16, small or spread over the whole range, some of them at its ends."""
        rng = self.np_rng
        spread = spread or int(rng.choice([300, 5000, 32767]))
        x = rng.integers(-spread, spread + 1, shape)
        return np.where(rng.random(shape) < 0.02, rng.choice([-32768, 32767], shape), x)

    def block(self, d, rows=None):
        """The next block of the job, with random Q, scale, f and mean."""
        rng, one = self.np_rng, 1 << self.cfg.F_FRAC
        f = np.where(rng.random(self.rows) < 0.3, one, rng.integers(0, one + 1, self.rows))
        top = 1 << (self.cfg.VM_W - 1)
        place = self.serial % self.cfg.places(d)
        self.serial += 1
        return Block(place, self.rows if rows is None else rows, self.vectors((self.rows, d)),
                     (int(rng.integers(1 << 14, 1 << 16)), int(rng.integers(14, 26))), f,
                     rng.integers(-top, top, d),
                     self.rng.randrange(0, (1 << 48) - ROOM, 2 * self.w))

    def key(self, d, wants):
        """A random key that the rows of ``wants`` [PLACES, ROWS] want."""
        return Key(self.vectors(d), self.vectors(d), np.asarray(wants, bool))

    def no_rows(self):
        return np.zeros((self.cfg.PLACES, self.rows), bool)

    # -- Expected values ------------------------------------------------------------------------
    def expect(self, program, d):
        """Run the model: pairs, rows of the flush and beats of each unit, blocks in their order."""
        lives, of, steps, ends = {}, {}, [], []
        for item in program:
            if isinstance(item, Block):
                of[item.place] = item
                lives[id(item)] = []
            elif isinstance(item, Key):
                here = []
                for place in np.flatnonzero(item.wants.any(axis=1)):
                    keys = lives[id(of[int(place)])]
                    here.append((of[int(place)], len(keys)))
                    keys.append(item)
                steps.append(here)
            else:
                ends.append(item.block)
        for block in ends:
            keys = lives[id(block)]
            state = sufa.start(self.rows, d)
            if keys:
                sufa.keys(state, block.q, np.array([x.k for x in keys]),
                          np.array([x.v for x in keys]),
                          np.array([x.wants[block.place] for x in keys]).T, *block.scale,
                          self.cfg, block.trace)
            block.out = sufa.finish(state, block.f, block.mean, self.cfg, block.trace)
            block.updates = state.updates
            samples.block(block.trace, block.f[: block.rows], block.out[: block.rows], self.cfg)
        pairs = [[] for _ in range(self.units)]
        for here in steps:
            for block, step in here:
                t = block.trace
                for i, row in enumerate(int(r) for r in t.rows[step]):
                    pairs[row % self.units].append(
                        (block.place * self.rows_u + row // self.units, int(t.z[step][i]),
                         int(t.p[step][i]), int(t.m[step][i]), min(63, int(t.dm[step][i])),
                         int(t.l[step][i])))
        return pairs, ends

    # -- Drivers --------------------------------------------------------------------------------
    def lanes(self, vector, beat):
        """Packed beat of a vector; elements beyond its end are random."""
        part = self.np_rng.integers(-32768, 32768, self.w)
        mine = vector[beat * self.w:(beat + 1) * self.w]
        part[:len(mine)] = mine
        return pack(part, 16)

    async def _fetch(self, blocks, d, idle):
        """Write Q of the blocks in turn, each when its place is free; then let its f come."""
        edge, willing, put = RisingEdge(self.dut.clk), Willing(idle), self.put
        c, rng = self.c(d), self.rng
        for block in blocks:
            while not self.ring.free:
                await edge
            beats = rng.sample(range(block.rows * c), block.rows * c)
            for n in beats:
                while not willing.step():
                    put["q_wr_valid"](0)
                    await edge
                put["q_wr_valid"](1)
                put["q_wr_place"](block.place)
                put["q_wr_row"](n // c)
                put["q_wr_beat"](n % c)
                put["q_wr_data"](self.lanes(block.q[n // c], n % c))
                await edge
            put["q_wr_valid"](0)
            self.ring.fill()
            put["q_commit"](1)
            put["q_commit_place"](block.place)
            put["q_commit_scale_m"](block.scale[0])
            put["q_commit_scale_shift"](block.scale[1])
            await edge
            put["q_commit"](0)

    async def _shares(self, blocks, late):
        """Send f of the blocks in turn, each when its place is free, often late."""
        edge, ring = RisingEdge(self.dut.clk), self.ring
        group, bits = self.rows // self.words, self.cfg.F_FRAC + 1
        for number, block in enumerate(blocks):
            while number - ring.released >= ring.slots:
                await edge
            for _ in range(self.rng.randint(0, late)):
                await edge
            for word in range(self.words):
                self.f.append({"word": word, "last": word == self.words - 1, "place": block.place,
                               "data": pack(block.f[word * group:(word + 1) * group], bits)})
            await self.f.drain()

    def _queue(self, program, d):
        """Queue keys and ends; fields that do not belong to the first beat are random."""
        rng, c = self.rng, self.c(d)
        for item in program:
            if isinstance(item, Block):
                continue
            end = item.block if isinstance(item, End) else None
            vectors = (end.mean << (16 - self.cfg.VM_W),) if end else (item.k, item.v)
            for n in range(len(vectors) * c):
                first = n == 0
                self.kv.append({
                    "first": first, "data": self.lanes(vectors[n // c], n % c),
                    "mask": pack(item.wants, 1) if first and not end
                    else rng.getrandbits(self.cfg.PLACES * self.rows),
                    "end": end is not None if first else rng.getrandbits(1),
                    "end_place": end.place if first and end else rng.randrange(self.cfg.PLACES),
                    "end_rows": end.rows if first and end else rng.getrandbits(8),
                    "end_addr": end.addr if first and end else rng.getrandbits(48)})

    async def run(self, program, d, *, idle=0.0, hold=0.0, late=0, timeout=None):
        """Run a program, whose blocks all end, on a stage without work; returns counts and cycles.

        idle, hold: share of cycles in which the sources, the receiver rest; late: most cycles
        by which f of a block is late.
        """
        pairs, ends = self.expect(program, d)
        blocks = [b for b in program if isinstance(b, Block)]
        rng, edge, get = self.rng, RisingEdge(self.dut.clk), self.get
        stride, hstride = (rng.randrange(2 * self.w, 1 << 32, 2 * self.w) for _ in range(2))
        self.put["cfg_d"](d)
        heads = rng.choice((1, 1, 2, 3, 128))
        self.put["cfg_o_stride"](stride)
        self.put["cfg_o_hstride"](hstride)
        self.put["cfg_heads"](heads)
        self.address = lambda row: row // heads * stride + row % heads * hstride
        gap = [pattern(share, rng.getrandbits(30)) if share else None
               for share in (idle, idle, idle, hold)]
        self.kv._willing, self.f._willing = Willing(gap[0]), Willing(gap[1])
        self.o._willing = Willing(gap[3])
        for _ in range(3):
            await edge
        self.o.items.clear()
        ring = self.ring = Ring("q", self.cfg.places(d))
        stats = {"busy": [], "flush": 0, "stall": 0, "starve": 0, "maxupd": 0, "cycles": 0,
                 "out": [], "released": []}
        tasks = self.tasks = [cocotb.start_soon(self._fetch(blocks, d, gap[2])),
                              cocotb.start_soon(self._shares(blocks, late))]
        self._queue(program, d)
        c = self.c(d)
        count = sum(len(p) for p in pairs)
        beats = sum(b.rows for b in ends) * c
        limit = timeout or 4000 + 40 * count * c + 60 * beats + (late + 400) * len(program)
        got, self.times = ([([], [], []) for _ in range(self.units)] for _ in range(2))
        while len(self.o.items) < beats or ring.released < len(ends) or not self.kv.empty:
            await edge
            for task in tasks:
                if task.done():
                    task.result()
            stats["cycles"] += 1
            assert stats["cycles"] < limit, (
                f"hangs: {len(self.o.items)} of {beats} beats, {ring.released} of {len(ends)} "
                f"released, {self.kv.sent} beats of the broadcast")
            self._sample(stats, got)
            if get["q_release"]():
                ring.release()
                for unit in range(self.units):
                    flushed = sum(len(range(unit, b.rows, self.units))
                                  for b in ends[:ring.released])
                    assert len(got[unit][2]) >= flushed * c, (
                        f"release {ring.released}: unit {unit} has sent {len(got[unit][2])} "
                        f"of {flushed * c} beats")
                stats["released"].append(stats["cycles"])
            while len(stats["out"]) < len(self.o.items):
                stats["out"].append(stats["cycles"])
        for _ in range(8):
            await edge
            self._sample(stats, got)
            same("sufa at rest", 0, get["q_release"](), field="q_release")
        for task in tasks:
            assert task.done(), "sufa is done, its neighbours are not"
            task.result()
        same("sufa", [beats, len(ends)], [len(self.o.items), ring.released],
             field="beats of O, places released")
        self._compare(pairs, got, ends, d)
        same("sufa", sum(b.updates for b in ends), stats["maxupd"], field="ev_maxupd")
        assert sum(stats["busy"]) == c * count, f"{sum(stats['busy'])} cycles of pairs"
        means = sum(min(b.rows, self.units) for b in ends)
        assert stats["flush"] == 2 * beats + c * means, f"{stats['flush']} cycles of the flush"
        return stats

    def _sample(self, stats, got):
        """Events and taps of a cycle."""
        get = self.get
        events = [get[f"ev_{name}"]() for name in ("busy", "flush", "stall", "starve")]
        assert sum(events) == self.units, f"events {events}"
        stats["busy"].append(events[0])
        for name, value in zip(("flush", "stall", "starve"), events[1:], strict=True):
            stats[name] += value
        stats["maxupd"] += get["ev_maxupd"]()
        for kind, valid in enumerate((get["tap_e_valid"](), get["tap_l_valid"](),
                                      get["tap_o_valid"]())):
            for unit in range(self.units):
                if valid >> unit & 1:
                    got[unit][kind].append(self._tap(kind, unit))
                    self.times[unit][kind].append(get_sim_time("step"))

    def _tap(self, kind, unit):
        w = self.idx_w
        if kind == 0:
            return (self._of("tap_e_row", unit, w), self._of("tap_e_z", unit, 26, True),
                    self._of("tap_e_p", unit, 16), self._of("tap_e_m", unit, 17, True),
                    self._of("tap_e_dm", unit, 6), self._of("tap_e_l", unit, self.l_w))
        if kind == 1:
            return self._of("tap_l_row", unit, w), self._of("tap_l", unit, self.l_w)
        beat_w = (self.d_max // self.w).bit_length()
        return (self._of("tap_o_row", unit, w), self._of("tap_o_beat", unit, beat_w),
                self._of("tap_r", unit, 16), self._of("tap_o", unit, 16 * self.w))

    def _of(self, name, unit, width, signed=False):
        """Field of a unit in a packed tap."""
        text = self.text[name]()
        value = to_int(text[len(text) - (unit + 1) * width:len(text) - unit * width])
        return value - (1 << width) if signed and value >> (width - 1) else value

    def _compare(self, pairs, got, ends, d):
        board, c = self.board, self.c(d)

        def first(want, values, times):
            """Cycle and time of the first value that is another than wanted."""
            return next((moment(t) for a, b, t in zip(want, values, times, strict=False)
                         if tuple(a) != tuple(b)), None)

        for unit, (e, l, o) in enumerate(got):
            want, (e_times, l_times, o_times) = pairs[unit], self.times[unit]
            if want or e:
                board.compare("pairs", np.array(want, np.int64).reshape(-1, 6),
                              np.array(e, np.int64).reshape(-1, 6), axes=("pair", "field"),
                              where={"unit": unit, "field": PAIR}, when=first(want, e, e_times))
            rows = [(b, r) for b in ends for r in range(unit, b.rows, self.units)]
            index = [b.place * self.rows_u + r // self.units for b, r in rows]
            lasts = [(i, b.trace.l_final[r]) for i, (b, r) in zip(index, rows, strict=True)]
            same("sufa rows, beats", [len(rows), len(rows) * c], [len(l), len(o)], unit=unit)
            if rows:
                board.compare("l", np.array(lasts), np.array(l), axes=("row", "field"),
                              where={"unit": unit, "field": ("row", "l")},
                              when=first(lasts, l, l_times))
            for n, (i, beat, r, data) in enumerate(o):
                b, row = rows[n // c]
                size = min(self.w, d - beat * self.w)
                where, when = {"unit": unit, "place": b.place, "row": row}, moment(o_times[n])
                board.compare("r", [index[n // c], n % c, b.trace.r_final[row]], [i, beat, r],
                              axes=("field",), when=when,
                              where={**where, "field": ("row", "beat", "R'")})
                board.compare("o'", b.trace.o_final[row][beat * self.w:beat * self.w + size],
                              unpack(data, self.w, 16, signed=True)[:size], axes=("element",),
                              where=where, when=when)
        items = zip(self.o.items, self.o.times[len(self.o.times) - len(self.o.items):], strict=True)
        for n, b in enumerate(ends):
            for row in range(b.rows):
                for beat in range(c):
                    item, time = next(items)
                    where = {"block": n, "place": b.place, "row": row, "beat": beat}
                    when = moment(time)
                    flags = {"first": beat == 0, "last": beat == c - 1,
                             "block_last": beat == c - 1 and row == b.rows - 1}
                    board.compare_fields("flags", flags, item, where=where, when=when)
                    if beat == 0:
                        board.compare("addr", b.addr + self.address(row), item["addr"],
                                      where=where, when=when)
                    size = min(self.w, d - beat * self.w)
                    board.compare("out", b.out[row][beat * self.w:beat * self.w + size],
                                  unpack(item["data"], self.w, 16, signed=True)[:size],
                                  axes=("element",), where=where, when=when)
