# SPDX-License-Identifier: Apache-2.0
"""Neighbours of a SU-FA unit: tables and Q as fetch writes them, keys as they are broadcast, a
receiver of beats with room that it gives back.

Expected values come from models/sufa.py. A program is a list of blocks and keys in the order
of the broadcast; the bench writes Q of a block as soon as its place of Q is free, and starts the
block when that of O is.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge

from models import sufa
from models.config import Config
from tb.common import samples
from tb.common.scoreboard import Scoreboard, pack, same, unpack
from tb.common.signals import reader, to_int, writer
from tb.common.stream import Willing, pattern
from tb.runner import CLOCK_PERIOD_NS, parameters

PAIR = ("row", "z", "p", "m", "dm", "l")


@dataclass
class Block:
    """A block in places of Q and O: q int16 [ROWS_U, d] (rows beyond ``rows`` are not written),
    scales, f [ROWS_U], mean [d] of vm_w bits. ``expect`` fills in the rest."""

    place: int
    q_place: int
    q: np.ndarray
    rows: int
    scale: tuple
    f: np.ndarray
    mean: np.ndarray
    vm_w: int = 8
    started: bool = False
    has_f: bool = False
    out: np.ndarray | None = None
    trace: sufa.Trace = field(default_factory=sufa.Trace)
    updates: int = 0


@dataclass
class Key:
    """A key of the broadcast: k, v int16 [d], wants bool [PLACES_O, ROWS_U]."""

    k: np.ndarray
    v: np.ndarray
    wants: np.ndarray


@dataclass
class End:
    """The end of a block."""

    block: Block


class Bench:
    """Runs programs; compares pairs, flush and output, and counts cycles.

    A program is a list of Block (from here on its place has this block), Key and End.
    """

    def __init__(self, dut, seed):
        p = parameters()
        self.dut, self.rng = dut, random.Random(seed)
        self.np_rng = np.random.default_rng(seed)
        dut._log.info("seed %d", seed)
        self.board = Scoreboard(dut._log)
        self.w, self.rows_u, self.d_max = p["W"], p["ROWS_U"], p["D_MAX"]
        self.places_q, self.places_o = p["PLACES_Q"], p["PLACES_O"]
        self.q_words, self.o_words = p["Q_WORDS"], p["O_WORDS"]
        self.keys_max, self.f_frac = p["KEYS_MAX"], p.get("F_FRAC", 8)
        self.fifo, self.kv_words, self.credits = p["FIFO"], p["KV_WORDS"], p["CREDITS"]
        self.all = self.places_o * self.rows_u
        self.l_w = 16 + self.keys_max.bit_length() - 1
        self.cfg = self.config(8)
        self.put, self.get, self.width, self.tasks = {}, {}, {}, []
        # Blocks whose Q came before their place of O was free.
        self.early = 0
        for name in ("rst", "cfg_d", "t_wr_valid", "t_wr_place", "t_wr_q_place", "t_wr_scale_m",
                     "t_wr_scale_shift", "q_wr_valid", "q_wr_place", "q_wr_row", "q_wr_beat",
                     "q_wr_data", "f_wr_valid", "f_wr_place", "f_wr_row", "f_wr_data", "kv_valid",
                     "kv_data", "kv_some", "kv_mask", "kv_end", "kv_end_place", "kv_end_rows",
                     "o_credit"):
            self.put[name] = self._putter(name)
            self.put[name](0)
        for name in ("kv_ready", "q_done_valid", "q_done_place", "o_valid", "o_data", "o_place",
                     "o_row", "o_beat", "o_last", "ev_busy", "ev_flush", "ev_stall", "ev_starve",
                     "ev_maxupd", "tap_e_valid", "tap_e_row", "tap_e_z", "tap_e_p", "tap_e_m",
                     "tap_e_dm", "tap_e_l", "tap_l_valid", "tap_l_row", "tap_l", "tap_o_valid",
                     "tap_o_row", "tap_o_beat", "tap_o", "tap_r"):
            self.get[name] = reader(getattr(dut, name))
        cocotb.start_soon(Clock(dut.clk, CLOCK_PERIOD_NS, unit="ns").start())

    def config(self, vm_w):
        """The model's configuration with the widths of the unit."""
        return Config(ROWS=max(4, self.w), COLS=4, D_MAX=max(self.d_max, 2 * self.w), BC_MAX=64,
                      BUS_BYTES=2 * self.w, KEYS_MAX=self.keys_max, F_FRAC=self.f_frac,
                      VM_W=vm_w)

    def _putter(self, name):
        handle = getattr(self.dut, name)
        put, width = writer(handle), len(handle)
        shown, self.width[name] = [None], width

        def write(value):
            if value != shown[0]:
                shown[0] = value
                put(format(int(value), f"0{width}b"))

        return write

    def known(self, name):
        """Value of an output as an unsigned int; unknown bits fail."""
        text = self.get[name]()
        try:
            return to_int(text)
        except ValueError:
            raise AssertionError(f"{name} is unknown: {text[:80]}") from None

    def signed(self, name, width):
        """Value of an output as a signed int."""
        value = self.known(name)
        return value - (1 << width) if value >> (width - 1) else value

    def c(self, d):
        """Beats of a vector."""
        return -(-d // self.w)

    def places(self, d):
        """Places of Q, places of O that the memories hold at d."""
        block = self.rows_u * self.c(d)
        return (min(self.places_q, self.q_words // block),
                min(self.places_o, self.o_words // block))

    async def reset(self, cycles=3):
        for name, put in self.put.items():
            if name.endswith("valid") or name == "o_credit":
                put(0)
        self.put["rst"](1)
        for _ in range(cycles):
            await RisingEdge(self.dut.clk)
        self.put["rst"](0)

    # -- Expected values ------------------------------------------------------------------------
    def expect(self, program, d):
        """Run the model: pairs in the unit's order [(PAIR)], rows of the flush, beats."""
        lives, ended = {}, []
        of = {}
        pairs = []
        for item in program:
            if isinstance(item, Block):
                of[item.place] = item
                lives[id(item)] = []
            elif isinstance(item, Key):
                here = {}
                for place in np.flatnonzero(item.wants.any(axis=1)):
                    block = of[int(place)]
                    here[int(place)] = (block, len(lives[id(block)]))
                    lives[id(block)].append(item)
                pairs.append(here)
            else:
                ended.append(item.block)
        steps = {}
        for block in {id(b): b for b in program if isinstance(b, Block)}.values():
            keys = lives[id(block)]
            state = sufa.start(self.rows_u, d)
            if keys:
                sufa.keys(state, block.q, np.array([x.k for x in keys]),
                          np.array([x.v for x in keys]),
                          np.array([x.wants[block.place] for x in keys]).T, *block.scale,
                          self.cfg, block.trace)
            block.out = sufa.finish(state, block.f, block.mean, self.config(block.vm_w),
                                    block.trace)
            block.updates = state.updates
            samples.block(block.trace, block.f[: block.rows], block.out[: block.rows], self.cfg)
            # An entry per key, as every key here is wanted by some row of the block.
            steps[id(block)] = block.trace
        want = []
        for here in pairs:
            for place in sorted(here):
                block, step = here[place]
                t = steps[id(block)]
                for i, row in enumerate(t.rows[step]):
                    want.append((place * self.rows_u + int(row), int(t.z[step][i]),
                                 int(t.p[step][i]), int(t.m[step][i]),
                                 min(63, int(t.dm[step][i])), int(t.l[step][i])))
        return want, [b for b in ended if b.rows]

    # -- Drivers --------------------------------------------------------------------------------
    def lanes(self, vector, beat, d):
        """Packed beat of a vector; elements beyond d are random."""
        part = self.np_rng.integers(-32768, 32768, self.w)
        mine = vector[beat * self.w:(beat + 1) * self.w]
        part[:len(mine)] = mine
        return pack(part, 16)

    def rest(self, port):
        """Nothing is offered at a port; what stands beside its valid is random."""
        for name, put in self.put.items():
            if name.startswith(f"{port}_"):
                put(0 if name == f"{port}_valid" else self.rng.getrandbits(self.width[name]))

    async def _setup(self, program, d, idle):
        """Write tables, Q and f of the blocks in turn, each when its places are free."""
        edge, willing = RisingEdge(self.dut.clk), Willing(idle)
        put = self.put
        for block in (b for b in program if isinstance(b, Block)):
            while self.q_used.get(block.q_place):
                await edge
            self.q_used[block.q_place] = block
            for n in self.rng.sample(range(block.rows * self.c(d)), block.rows * self.c(d)):
                row, beat = divmod(n, self.c(d))
                while not willing.step():
                    self.rest("q_wr")
                    await edge
                put["q_wr_valid"](1)
                put["q_wr_place"](block.q_place)
                put["q_wr_row"](row)
                put["q_wr_beat"](beat)
                put["q_wr_data"](self.lanes(block.q[row], beat, d))
                await edge
            self.rest("q_wr")
            self.early += block.place in self.place_used
            while self.place_used.get(block.place):
                await edge
            self.place_used[block.place] = block
            put["t_wr_valid"](1)
            put["t_wr_place"](block.place)
            put["t_wr_q_place"](block.q_place)
            put["t_wr_scale_m"](block.scale[0])
            put["t_wr_scale_shift"](block.scale[1])
            await edge
            self.rest("t_wr")
            block.started = True
            for row in range(block.rows):
                put["f_wr_valid"](1)
                put["f_wr_place"](block.place)
                put["f_wr_row"](row)
                put["f_wr_data"](int(block.f[row]))
                await edge
            self.rest("f_wr")
            block.has_f = True

    async def _broadcast(self, program, d, idle, stats):
        """Send keys and ends in their order."""
        edge, willing = RisingEdge(self.dut.clk), Willing(idle)
        c, put, of = self.c(d), self.put, {}

        async def rest():
            self.rest("kv")
            await edge

        for item in program:
            if isinstance(item, Block):
                of[item.place] = item
                continue
            if isinstance(item, Key):
                vectors = (item.k, item.v)
                mask = pack(item.wants, 1)
                wanted = bool(mask)
                blocks = [of[int(p)] for p in np.flatnonzero(item.wants.any(axis=1))]
                end = None
            else:
                end = item.block
                vectors = (end.mean << (16 - end.vm_w),)
                mask, wanted, blocks = self.rng.getrandbits(self.all), end.rows > 0, [end]
            while not all(b.started and (end is None or b.has_f) for b in blocks):
                await rest()
            while wanted and not self.known("kv_ready"):
                stats["full"] += 1
                await rest()
            if wanted:
                stats["taken"].append(stats["cycles"])
            for n in range(len(vectors) * c):
                while not willing.step():
                    await rest()
                put["kv_valid"](1)
                put["kv_data"](self.lanes(vectors[n // c], n % c, d))
                # Looked at with the first beat only.
                put["kv_some"](bool(wanted) if n == 0 else self.rng.getrandbits(1))
                put["kv_mask"](mask if n == 0 else self.rng.getrandbits(self.all))
                put["kv_end"](end is not None if n == 0 else self.rng.getrandbits(1))
                put["kv_end_place"](end.place if end else self.rng.randrange(self.places_o))
                put["kv_end_rows"](end.rows if end else self.rng.randrange(self.rows_u + 1))
                await edge
            if len(vectors) * c < 2:
                # kv_ready, as seen at this edge, does not know of this beat.
                await rest()
            if end is not None and not end.rows:
                self.place_used.pop(end.place)
                self.q_used.pop(end.q_place)
        self.rest("kv")
        stats["all_sent"] = True

    async def run(self, program, d, *, idle=0.0, hold=0.0, timeout=None):
        """Run a program on a unit without work; returns counts and cycles.

        idle: share of cycles in which the writers rest; hold: share of cycles in which the receiver
        does not give room back.
        """
        want, ended = self.expect(program, d)
        rng = self.rng
        self.put["cfg_d"](d)
        for _ in range(2):
            await RisingEdge(self.dut.clk)
        self.place_used, self.q_used = {}, {}
        stats = {"full": 0, "busy": [], "flush": 0, "stall": 0, "starve": 0, "maxupd": 0,
                 "out": [], "cycles": 0, "all_sent": False, "taken": [], "overlap": 0}
        gaps = [pattern(idle, rng.getrandbits(30)) if idle else None for _ in range(2)]
        tasks = self.tasks = [cocotb.start_soon(self._setup(program, d, gaps[0])),
                              cocotb.start_soon(self._broadcast(program, d, gaps[1], stats))]
        c = self.c(d)
        beats = [(b, row, beat) for b in ended for row in range(b.rows) for beat in range(c)]
        rows = [(b, row) for b in ended for row in range(b.rows)]
        got, got_l, got_o, got_out = [], [], [], []
        timeout = timeout or 3000 + 40 * len(want) * c + 400 * len(beats) + 200 * len(program)
        willing = Willing(pattern(hold, rng.getrandbits(30)) if hold else None)
        room, held, open_flush = self.credits, 0, 0
        known, signed = self.known, self.signed
        while len(got) < len(want) or len(got_out) < len(beats) or not stats["all_sent"]:
            await RisingEdge(self.dut.clk)
            for task in tasks:
                if task.done():
                    task.result()
            stats["cycles"] += 1
            assert stats["cycles"] < timeout, (
                f"hangs: {len(got)} of {len(want)} pairs, {len(got_out)} of {len(beats)} beats")
            busy, flush = known("ev_busy"), known("ev_flush")
            events = busy, flush, known("ev_stall"), known("ev_starve")
            assert sum(events) == 1, f"events {events}"
            if busy:
                stats["busy"].append(stats["cycles"])
                stats["overlap"] += open_flush > 0
            stats["flush"] += flush
            stats["stall"] += events[2]
            stats["starve"] += events[3]
            stats["maxupd"] += known("ev_maxupd")
            if known("q_done_valid"):
                self.q_used.pop(self.place_used[known("q_done_place")].q_place)
            if known("tap_e_valid"):
                got.append((known("tap_e_row"), signed("tap_e_z", 26), known("tap_e_p"),
                            signed("tap_e_m", 17), known("tap_e_dm"), known("tap_e_l")))
            if known("tap_l_valid"):
                got_l.append((known("tap_l_row"), known("tap_l")))
                open_flush += 1
            if known("tap_o_valid"):
                got_o.append((known("tap_o_row"), known("tap_o_beat"), known("tap_r"),
                              self.get["tap_o"]()))
            if known("o_valid"):
                room -= 1
                assert room >= 0, "a beat for which the receiver has no room"
                held += 1
                last = known("o_last")
                got_out.append((known("o_place"), known("o_row"), known("o_beat"), last,
                                self.get["o_data"]()))
                stats["out"].append(stats["cycles"])
                if known("o_beat") == c - 1:
                    open_flush -= 1
                if last:
                    self.place_used.pop(known("o_place"))
            give = held > 0 and willing.step()
            self.put["o_credit"](give)
            held -= give
            room += give
        for _ in range(4):
            await RisingEdge(self.dut.clk)
            self.put["o_credit"](0)
            same("sufa_unit at rest", {"o_valid": 0, "tap_e_valid": 0},
                 {name: known(name) for name in ("o_valid", "tap_e_valid")})
        for task in tasks:
            task.result() if task.done() else task.cancel()
        # The receiver gives back all its room.
        while held:
            self.put["o_credit"](1)
            held -= 1
            await RisingEdge(self.dut.clk)
        self.put["o_credit"](0)
        await RisingEdge(self.dut.clk)
        self._compare(want, got, rows, got_l, beats, got_o, got_out, d)
        same("sufa_unit", sum(b.updates for b in program if isinstance(b, Block)), stats["maxupd"],
             field="ev_maxupd")
        assert len(stats["busy"]) == c * len(want), f"{len(stats['busy'])} cycles of pairs"
        mean_beats = c * len(ended)
        assert stats["flush"] == 2 * len(beats) + mean_beats, f"{stats['flush']} of the flush"
        return stats

    def _compare(self, want, got, rows, got_l, beats, got_o, got_out, d):
        board, c = self.board, self.c(d)
        if want or got:
            board.compare("pairs", np.array(want, np.int64).reshape(-1, 6),
                          np.array(got, np.int64).reshape(-1, 6), axes=("pair", "field"),
                          where={"field": PAIR})
        if not beats:
            same("sufa_unit without beats", [0, 0], [len(got_out), len(got_l)], field="out, l")
            return
        idx = [b.place * self.rows_u + r for b, r in rows]
        board.compare("l", np.array([(i, b.trace.l_final[r]) for i, (b, r)
                                     in zip(idx, rows, strict=True)]),
                      np.array(got_l), axes=("row", "field"), where={"field": ("row", "l")})
        for n, (b, r, beat) in enumerate(beats):
            at = {"place": b.place, "row": r, "beat": beat}
            row, o_beat, rr, text = got_o[n]
            size = min(self.w, d - beat * self.w)
            part = slice(beat * self.w, beat * self.w + size)
            board.compare("r", [b.place * self.rows_u + r, beat, b.trace.r_final[r]],
                          [row, o_beat, rr], axes=("field",),
                          where={**at, "field": ("row", "beat", "R'")})
            board.compare("o'", b.trace.o_final[r][part], self._elements(text, size),
                          axes=("element",), where=at)
            place, o_row, o_beat, last, text = got_out[n]
            is_last = r == b.rows - 1 and beat == c - 1
            board.compare("tag", [b.place, r, beat, is_last], [place, o_row, o_beat, last],
                          axes=("field",), where={**at, "field": ("place", "row", "beat", "last")})
            board.compare("out", b.out[r][part], self._elements(text, size), axes=("element",),
                          where=at)
        same("sufa_unit beats of o', out", [len(beats)] * 2, [len(got_o), len(got_out)])

    def _elements(self, text, size):
        """The first elements of a beat; those beyond d may be unknown."""
        part = text[len(text) - 16 * size:]
        assert not part.strip("01"), f"unknown: {part[:80]}"
        return unpack(to_int(part), size, 16, signed=True)
