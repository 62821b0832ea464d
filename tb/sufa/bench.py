# SPDX-License-Identifier: Apache-2.0
"""Neighbours of the SU-FA stage: rings filled as fetch and sads do, a store that takes blocks.

Expected values come from models/sufa.py. Numbers: q, k, v int16; z, p, l, o'
as docs/architecture.md section 5.4 has them.
"""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass, field

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge

from models import sufa
from models.config import Config
from models.sads import Selection
from models.tiling import TD_FIELDS
from tb.common.scoreboard import Scoreboard, pack, unpack
from tb.common.signals import reader, writer
from tb.runner import CLOCK_PERIOD_NS, parameters


@dataclass
class TileJob:
    """A tile: k, v int16 [n, d] by slot, and the lists of all ROWS rows."""

    k: np.ndarray
    v: np.ndarray
    lists: Selection


@dataclass
class BlockJob:
    """A block: q int16 [rows, d] and its tiles; what the stage must give is filled in."""

    q: np.ndarray
    tiles: list
    oaddr: int = 0
    trace: sufa.Trace = field(default_factory=sufa.Trace)
    out: np.ndarray | None = None
    updates: int = 0

    def expect(self, cfg, scale_m, scale_shift):
        """Run the model on all ROWS rows; rows past the block's have no entries."""
        rows, d = self.q.shape
        q = np.zeros((cfg.ROWS, d), np.int64)
        q[:rows] = self.q
        state = sufa.start(cfg.ROWS, d)
        for tile in self.tiles:
            sufa.tile(state, q, tile.k, tile.v, tile.lists, scale_m, scale_shift, cfg, self.trace)
        self.out = sufa.finish(state, cfg, self.trace)
        self.updates = state.updates


def lists_from(slots, valid, n):
    """A Selection from slots and validity [R, P]; slots of invalid entries become 0."""
    return Selection(np.where(valid, slots, 0), np.asarray(valid, bool), n)


def random_lists(rng, rows, total_rows, n, quota, density=1.0):
    """Random lists: up to quota distinct slots of n for each row, valid ones first."""
    quota = min(quota, n)
    slots = np.zeros((total_rows, max(quota, 1)), np.int64)
    valid = np.zeros(slots.shape, bool)
    for r in range(rows):
        length = sum(rng.random() < density for _ in range(quota))
        slots[r, :length] = rng.sample(range(n), length)
        valid[r, :length] = True
    return lists_from(slots, valid, n)


class Bench:
    """Drives one job through the stage and compares everything it shows.

    Options of ``run``: ``late_v`` cycles a V commit lags its last beat; ``idle`` share of cycles
    in which a write port rests; ``hold`` share of cycles with o_ready low before element 0.
    """

    def __init__(self, dut, seed):
        p = parameters()
        taps = {k: v for k, v in p.items() if k != "TAPS"}
        self.cfg = Config.from_parameters({"COLS": 4, **taps})
        self.dut, self.rng = dut, random.Random(seed)
        self.np_rng = np.random.default_rng(seed)
        self.board = Scoreboard(dut._log)
        cfg = self.cfg
        self.nexp = cfg.ROWS // cfg.EXP_ROWS
        self.k_shown = self.v_shown = self.o_ready = False
        self.put, self.get = {}, {}
        for name in ("rst", "cfg_d", "cfg_scale_m", "cfg_scale_shift", "q_wr_valid", "q_wr_buf",
                     "q_wr_row", "q_wr_beat", "q_wr_data", "q_commit", "l_wr_valid", "l_wr_buf",
                     "l_wr_word", "l_wr_data", "k_wr_valid", "k_wr_buf", "k_wr_slot", "k_wr_beat",
                     "k_wr_data", "k_t_valid", "k_t_td", "k_t_nsteps", "v_wr_valid", "v_wr_buf",
                     "v_wr_slot", "v_wr_beat", "v_wr_data", "v_t_valid", "o_ready"):
            self.put[name] = self._putter(name)
            self.put[name](0)
        for name in ("q_release", "l_release", "k_t_ready", "k_release", "v_t_ready", "v_release",
                     "o_valid", "o_elem", "o_data", "o_last", "o_addr", "o_rows", "ev_busy",
                     "ev_stall", "ev_starve", "ev_maxupd", "tap_e_valid", "tap_e_row",
                     "tap_e_za", "tap_e_zb", "tap_e_pa", "tap_e_pb", "tap_e_va", "tap_e_vb",
                     "tap_e_m", "tap_e_dm", "tap_o_valid", "tap_o_elem", "tap_o", "tap_l",
                     "tap_r"):
            self.get[name] = reader(getattr(dut, name))
        cocotb.start_soon(Clock(dut.clk, CLOCK_PERIOD_NS, unit="ns").start())

    def _putter(self, name):
        handle = getattr(self.dut, name)
        put, width = writer(handle), len(handle)
        shown = [None]

        def write(value):
            if value != shown[0]:
                shown[0] = value
                put(format(int(value), f"0{width}b"))

        return write

    def known(self, name):
        """Value of an output as an unsigned int; unknown bits fail."""
        text = self.get[name]()
        assert not text.strip("01"), f"{name} is unknown: {text[:80]}"
        return int(text, 2)

    async def reset(self):
        """Reset for 3 cycles; the rings start at buffer 0 again."""
        self.blocks_before = self.tiles_before = 0
        self.put["rst"](1)
        for _ in range(3):
            await RisingEdge(self.dut.clk)
        self.put["rst"](0)

    async def run(self, blocks, d, scale_m, scale_shift, *, late_v=0, idle=0.0, hold=0.0,
                  timeout=None):
        """Run all blocks; returns a dict of cycle numbers and counts."""
        cfg = self.cfg
        for block in blocks:
            block.expect(cfg, scale_m, scale_shift)
        self.put["cfg_d"](d)
        self.put["cfg_scale_m"](scale_m)
        self.put["cfg_scale_shift"](scale_shift)
        self._plan(blocks, d)
        self._check = _Checker(self, blocks, d)
        steps = sum(t.lists.nsteps for b in blocks for t in b.tiles)
        beats = sum(len(t.lists.union) for b in blocks for t in b.tiles) * cfg.beats16(d)
        limit = timeout or (3000 + (6 * d + 4 * cfg.EXP_ROWS + 60) * (steps + 4 * len(blocks))
                            + int((4 * beats + 40 * late_v) / (1 - idle) / (1 - hold)))
        stats = {"busy": [], "stall": 0, "starve": 0, "out": [], "maxupd": 0, "steps": steps}
        self.stats = stats
        self._late_v, self._idle, self._hold = late_v, idle, hold
        cycle = 0
        while not self._check.done:
            await RisingEdge(self.dut.clk)
            cycle += 1
            assert cycle < limit, f"no end within {limit} cycles: {self._check.state()}"
            self._sample(cycle)
            self._drive(cycle)
        for _ in range(20):
            await RisingEdge(self.dut.clk)
            cycle += 1
            self._sample(cycle)
            self._drive(cycle)
        assert self._check.done and not self._credits_missing(), self._check.state()
        assert stats["maxupd"] == sum(b.updates for b in blocks)
        stats["cycles"] = cycle
        return stats

    # ---- what the neighbours send -------------------------------------------------------------
    def _plan(self, blocks, d):
        cfg = self.cfg
        self.q_jobs, self.l_jobs = deque(), deque()
        self.k_jobs, self.v_jobs = deque(), deque()
        beats, qe = cfg.beats16(d), cfg.QE
        # The rings go on from job to job.
        number = 0
        for block in blocks:
            writes = self._vectors(block.q, range(len(block.q)), beats, qe)
            self.q_jobs.append((self.blocks_before % 2, writes))
            self.blocks_before += 1
            for t, tile in enumerate(block.tiles):
                words = self._list_words(tile.lists)
                self.l_jobs.append((self.tiles_before % 4, list(enumerate(words))))
                slots = np.flatnonzero(tile.lists.union).tolist()
                td = {"n": len(tile.k), "rows": len(block.q), "first": t == 0,
                      "last": t == len(block.tiles) - 1, "oaddr": block.oaddr,
                      "kstep": self.rng.getrandbits(17), "kaddr": self.rng.getrandbits(48)}
                word = sum(int(v) << TD_FIELDS[f][0] for f, v in td.items())
                buffer = self.tiles_before % cfg.KV_BUFS
                self.k_jobs.append((buffer, self._vectors(tile.k, slots, beats, qe),
                                    (word, tile.lists.nsteps), number))
                self.v_jobs.append((buffer, self._vectors(tile.v, slots, beats, qe)))
                number, self.tiles_before = number + 1, self.tiles_before + 1
        self.free = {"q": 2, "l": 4, "k": cfg.KV_BUFS, "v": cfg.KV_BUFS}
        self.size = dict(self.free)
        self.lists_done = 0
        self.current = {"q": None, "l": None, "k": None, "v": None}
        self.k_wait, self.v_wait = deque(), deque()
        self.in_block = False

    def _list_words(self, lists):
        """List words of a tile; the slot field of an invalid entry is random: it means nothing."""
        cfg = self.cfg
        entry = self.np_rng.integers(0, cfg.BC_MAX, (cfg.ROWS, cfg.BC_MAX))
        part = entry[:, : lists.slots.shape[1]]
        part[lists.valid] = lists.slots[lists.valid] + cfg.BC_MAX
        used = -(-lists.nsteps // 2)
        return [pack(entry[:, 4 * w:4 * w + 4], cfg.SLOT_W + 1) for w in range(used)]

    def _vectors(self, data, lanes, beats, qe):
        """Beats (lane, beat, word) of some vectors int16 [lanes, d]; past d random."""
        writes = []
        for lane in lanes:
            row = np.zeros(beats * qe, np.int64)
            row[:] = self.np_rng.integers(-32768, 32768, row.shape)
            row[: data.shape[1]] = data[lane]
            for b in range(beats):
                writes.append((int(lane), b, pack(row[b * qe:(b + 1) * qe] & 0xFFFF, 16)))
        return writes

    def _credits_missing(self):
        return {n: (self.free[n], self.size[n]) for n in self.free if self.free[n] != self.size[n]}

    def _rest(self):
        return self._idle and self.rng.random() < self._idle

    # ---- one cycle ----------------------------------------------------------------------------
    def _sample(self, cycle):
        """Look at the outputs as they were before this edge."""
        for name in "qlkv":
            if self.known(f"{name}_release"):
                self.free[name] += 1
                assert self.free[name] <= self.size[name], f"{name}_release without a buffer"
        if self.k_wait and self.k_shown and self.known("k_t_ready"):
            self.k_wait.popleft()
        if self.v_wait and self.v_shown and self.known("v_t_ready"):
            self.v_wait.popleft()
        if self.known("ev_busy"):
            self.stats["busy"].append(cycle)
        self.stats["stall"] += self.known("ev_stall")
        self.stats["starve"] += self.known("ev_starve")
        self.stats["maxupd"] += self.known("ev_maxupd")
        self._check.sample(cycle)

    def _drive(self, cycle):
        """Drive the cycle that begins at this edge."""
        self._ring("q", self.q_jobs, "row")
        self._ring("k", self.k_jobs, "slot")
        self._ring("v", self.v_jobs, "slot", cycle)
        # A tile's lists are complete in the cycle before its K commit, or earlier.
        self.k_shown = bool(self.k_wait) and self.k_wait[0][1] < self.lists_done
        self._list()
        self.put["k_t_valid"](self.k_shown)
        if self.k_shown:
            self.put["k_t_td"](self.k_wait[0][0][0])
            self.put["k_t_nsteps"](self.k_wait[0][0][1])
        self.v_shown = bool(self.v_wait) and self.v_wait[0] <= cycle
        self.put["v_t_valid"](self.v_shown)
        ready = self.in_block or not (self._hold and self.rng.random() < self._hold)
        self.o_ready = ready
        self.put["o_ready"](ready)

    def _ring(self, name, jobs, lane_name, cycle=0):
        job = self.current[name]
        if job is None and jobs and self.free[name]:
            job = self.current[name] = jobs.popleft()
            self.free[name] -= 1
        wrote = False
        commit = False
        if job is not None and not self._rest():
            if job[1]:
                lane, beat, word = job[1].pop(0)
                self.put[f"{name}_wr_buf"](job[0])
                self.put[f"{name}_wr_{lane_name}"](lane)
                self.put[f"{name}_wr_beat"](beat)
                self.put[f"{name}_wr_data"](word)
                wrote = True
            if not job[1]:
                if name == "q":
                    # The last beat is written in this cycle; it is readable in the next.
                    commit = True
                elif name == "k":
                    self.k_wait.append((job[2], job[3]))
                else:
                    self.v_wait.append(cycle + self._late_v)
                self.current[name] = None
        self.put[f"{name}_wr_valid"](wrote)
        if name == "q":
            self.put["q_commit"](commit)

    def _list(self):
        job = self.current["l"]
        if job is None and self.l_jobs and self.free["l"]:
            job = self.current["l"] = self.l_jobs.popleft()
            self.free["l"] -= 1
        wrote = False
        if job is not None and not self._rest():
            if job[1]:
                word, value = job[1].pop(0)
                self.put["l_wr_buf"](job[0])
                self.put["l_wr_word"](word)
                self.put["l_wr_data"](value)
                wrote = True
            if not job[1]:
                self.lists_done += 1
                self.current["l"] = None
        self.put["l_wr_valid"](wrote)


class _Checker:
    """Compares taps and outputs, in order, with the traces of the blocks."""

    def __init__(self, bench, blocks, d):
        self.b, self.blocks, self.d = bench, blocks, d
        cfg = bench.cfg
        self.steps = [(i, s) for i, block in enumerate(blocks)
                      for s in range(len(block.trace.z))]
        self.e_pos = [0] * bench.nexp
        self.tap_block, self.tap_elem = 0, 0
        self.out_block, self.out_elem = 0, 0
        self.waiting = None
        self.rows = cfg.ROWS

    @property
    def done(self):
        return (self.out_block == len(self.blocks) and self.tap_block == len(self.blocks)
                and all(p == len(self.steps) * self.b.cfg.EXP_ROWS for p in self.e_pos))

    def state(self):
        return (f"out block {self.out_block} elem {self.out_elem}, tap block {self.tap_block}, "
                f"exp {self.e_pos} of {len(self.steps) * self.b.cfg.EXP_ROWS}, "
                f"buffers (free, all) {self.b._credits_missing()}")

    def sample(self, cycle):
        self._exp()
        self._flush()
        self._out(cycle)

    def _exp(self):
        b = self.b
        valid = b.known("tap_e_valid")
        if not valid:
            return
        cfg, n = b.cfg, b.nexp
        field_ = {name: unpack(b.known(f"tap_e_{name}"), n, width, signed)
                  for name, width, signed in (("row", 8, False), ("za", cfg.Z_W, True),
                                              ("zb", cfg.Z_W, True), ("pa", 16, False),
                                              ("pb", 16, False), ("va", 1, False),
                                              ("vb", 1, False), ("m", 17, True),
                                              ("dm", 6, False))}
        for u in range(n):
            if not valid >> u & 1:
                continue
            step, row = divmod(self.e_pos[u], cfg.EXP_ROWS)
            self.e_pos[u] += 1
            assert step < len(self.steps), f"exp unit {u}: a step too many"
            assert field_["row"][u] == row, f"exp unit {u}: row {field_['row'][u]}, want {row}"
            block, s = self.steps[step]
            trace, r = self.blocks[block].trace, u * cfg.EXP_ROWS + row
            ok = trace.valid[s][r]
            z = np.where(ok, trace.z[s][r], 0)
            want = [*ok.astype(int), *z, *trace.p[s][r], trace.m[s][r], min(63, trace.dm[s][r])]
            got = [field_["va"][u], field_["vb"][u],
                   *(np.where(ok, [field_["za"][u], field_["zb"][u]], 0)),
                   *(field_[x][u] for x in ("pa", "pb", "m", "dm"))]
            if want != got:
                b.board.compare("exp", want, got, axes=("field",), where={
                    "block": block, "step": s, "row": r,
                    "field": ["va", "vb", "za", "zb", "pa", "pb", "m", "dm"]})
            b.board.compared["exp"] = b.board.compared.get("exp", 0) + len(want)

    def _flush(self):
        b = self.b
        if not b.known("tap_o_valid"):
            return
        assert self.tap_block < len(self.blocks), "a flush too many"
        trace = self.blocks[self.tap_block].trace
        assert b.known("tap_o_elem") == self.tap_elem
        where = {"block": self.tap_block, "element": self.tap_elem}
        b.board.compare("o'", trace.o_final[:, self.tap_elem],
                        unpack(b.known("tap_o"), self.rows, 16, True), axes=("row",), where=where)
        if self.tap_elem == 0:
            b.board.compare("l", trace.l_final, unpack(b.known("tap_l"), self.rows, b.cfg.L_W),
                            axes=("row",), where=where)
        b.board.compare("r", trace.r_final, unpack(b.known("tap_r"), self.rows, 16),
                        axes=("row",), where=where)
        self.tap_elem += 1
        if self.tap_elem == self.d:
            self.tap_block, self.tap_elem = self.tap_block + 1, 0

    def _out(self, cycle):
        b = self.b
        if not b.known("o_valid"):
            assert self.waiting is None, "o_valid dropped before o_ready"
            return
        now = tuple(b.known(f"o_{x}") for x in ("elem", "data", "last", "addr", "rows"))
        assert self.waiting in (None, now), "payload changed while o_valid waited"
        self.waiting = None if b.o_ready else now
        if not b.o_ready:
            return
        assert self.out_block < len(self.blocks), "a block too many"
        block = self.blocks[self.out_block]
        elem, data, last, addr, rows = now
        b.board.compare_fields(
            "out word", {"elem": self.out_elem, "addr": block.oaddr, "rows": len(block.q),
                         "last": self.out_elem == self.d - 1},
            {"elem": elem, "addr": addr, "rows": rows, "last": last},
            where={"block": self.out_block})
        b.board.compare("out", block.out[:, elem], unpack(data, self.rows, 16, True),
                        axes=("row",), where={"block": self.out_block, "element": elem})
        b.in_block = not last
        self.out_elem += 1
        if last:
            b.stats["out"].append(cycle)
            self.out_block, self.out_elem = self.out_block + 1, 0
