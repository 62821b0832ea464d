# SPDX-License-Identifier: Apache-2.0
"""What the tests of the DLZS stage share: the neighbours of the stage and its score jobs."""

import random
from types import SimpleNamespace

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, RisingEdge
from cocotb.utils import get_sim_time

from models import dlzs
from models.config import Config
from tb.common.ring import Ring
from tb.common.scoreboard import Scoreboard, pack, unpack
from tb.common.signals import CycleCounter, reader, writer
from tb.common.stream import StreamSink, StreamSource, Willing, pattern
from tb.common.turns import TURN, any_turn
from tb.runner import CLOCK_PERIOD_NS, parameters

LANES = 4
"""Slots of a word."""

NAMES = ("ROWS", "COLS", "D_MAX", "BC_MAX", "BUS_BYTES", "PLACES", "STORE_BEATS", "K8_BUFS")
"""Parameters that every simulation sets."""

PREDICT_INPUTS = (
    "cfg_predict", "cfg_rope", "cfg_k8_stride", "cfg_k8_hstride", "cfg_rt_stride", "w_d_valid",
    "w_d_data", "r_c_ready", "r_d_valid", "r_d_data", "x_ready", "x_done",
)
"""Inputs that only predict jobs use."""


def some(share):
    """A pattern that is off in this share of cycles; None for 0."""
    return pattern(share, random.getrandbits(32)) if share else None


class Port:
    """A write port without back-pressure; random bits while nothing is written."""

    def __init__(self, dut, name, fields):
        signals = [getattr(dut, f"{name}_{field}") for field in fields]
        self.put = [writer(s) for s in signals]
        self.widths = [len(s) for s in signals]
        self.valid = writer(getattr(dut, f"{name}_valid"))
        self.write(None)

    def write(self, values):
        """Drive the next cycle: a tuple in the order of the fields, or None."""
        self.valid("0" if values is None else "1")
        values = values or [random.getrandbits(w) for w in self.widths]
        for put, value, width in zip(self.put, values, self.widths, strict=True):
            put(format(value, f"0{width}b"))


class TB:
    """Plays seq, fetch (places of Q and the ring of tiles, with their free counts) and sads."""

    def __init__(self, dut, idle=0.0, backpressure=0.0, t_backpressure=0.0):
        self.dut, self.idle = dut, idle
        self.cfg = Config.from_parameters({**parameters(), "KEYS_MAX": 256})
        self.clk, self.edge = dut.clk, RisingEdge(dut.clk)
        # Places depend on d.
        self.rings = {"q": Ring("q", 2), "k8": Ring("k8", self.cfg.K8_BUFS)}
        self.np = np.random.default_rng(random.getrandbits(32))
        self.board = Scoreboard(dut._log)
        cocotb.start_soon(Clock(dut.clk, CLOCK_PERIOD_NS, unit="ns").start())
        self.q = Port(dut, "q_wr", ["place", "row", "beat", "data"])
        self.k8 = Port(dut, "k8_wr", ["buf", "slot", "beat", "data"])
        self.commit = {"q": writer(dut.q_commit), "k8": writer(dut.k8_commit)}
        self.rst = writer(dut.rst)
        for put in self.commit.values():
            put("0")
        for port in PREDICT_INPUTS:
            getattr(dut, port).value = 0
        self.turns = StreamSource(dut, "tn", dut.clk, dut.rst, fields=("turn",), idle=some(idle))
        self.t = StreamSink(dut, "t", dut.clk, dut.rst, fields=("turn",),
                            backpressure=some(t_backpressure))
        self.sink = StreamSink(dut, "s", dut.clk, dut.rst, backpressure=some(backpressure),
                               fields=("last", "scores"))
        self.late_turns = bool(t_backpressure)
        self.cycle = CycleCounter(dut.clk)
        self.remainders = set()
        self.clear()
        cocotb.start_soon(self._watch())

    def clear(self):
        """Forget everything, as a reset of the stage does."""
        for ring in self.rings.values():
            ring.clear()
        self.busy = self.stalled = 0
        # Cycles in which tiles were released; times at which blocks were committed.
        self.release_cycles, self.commit_times = [], []

    async def reset(self):
        self.rst("1")
        for put in self.commit.values():
            put("0")
        self.q.write(None)
        self.k8.write(None)
        await ClockCycles(self.clk, 3)
        self.rst("0")
        self.clear()
        await self.edge

    async def _watch(self):
        q, k8 = reader(self.dut.q_release_dlzs), reader(self.dut.k8_release)
        busy, stall = reader(self.dut.ev_busy), reader(self.dut.ev_stall)
        in_reset = reader(self.dut.rst)
        while True:
            await self.edge
            if in_reset() != "0":
                continue
            if q() == "1":
                self.rings["q"].release()
            if k8() == "1":
                self.rings["k8"].release()
                self.release_cycles.append(self.cycle.now())
            self.busy += busy() == "1"
            self.stalled += stall() == "1"

    async def fill(self, port, name, vectors, width, willing):
        """Write vectors (array [lane, element]) to the next place or buffer, in random order."""
        ring = self.rings[name]
        while not ring.free:
            await self.edge
        buf = ring.slot
        per_beat = 8 * self.cfg.BUS_BYTES // width
        beats = [(lane, beat) for lane in range(len(vectors))
                 for beat in range(-(-vectors.shape[1] // per_beat))]
        random.shuffle(beats)
        for lane, beat in beats:
            while not willing.step():
                port.write(None)
                await self.edge
            # What follows the vector in its last beat is junk.
            part = self.np.integers(-(1 << width - 1), 1 << width - 1, per_beat)
            data = vectors[lane, beat * per_beat :][:per_beat]
            part[: len(data)] = data
            port.write((buf, lane, beat, pack(part, width)))
            if (lane, beat) == beats[-1]:
                ring.fill()
                self.commit[name]("1")
                if name == "q":
                    self.commit_times.append(get_sim_time("step"))
            await self.edge
            self.commit[name]("0")
        port.write(None)

    async def scrub(self):
        """Write both stores completely: what a job does not write is stale then, not unknown."""
        cfg = self.cfg
        beats = cfg.STORE_BEATS // cfg.ROWS
        self.dut.cfg_d.value = 8
        for row in range(cfg.ROWS):
            for beat in range(beats):
                self.q.write((0, row, beat, random.getrandbits(8 * cfg.BUS_BYTES)))
                await self.edge
        self.q.write(None)
        for buf in range(cfg.K8_BUFS):
            for slot in range(cfg.BC_MAX):
                for beat in range(cfg.beats8(cfg.D_MAX)):
                    self.k8.write((buf, slot, beat, random.getrandbits(8 * cfg.BUS_BYTES)))
                    await self.edge
        self.k8.write(None)
        await self.reset()

    def plan(self, d, parts, sizes=None, tiles=None, blocks=None):
        """Random work of a job: parts with blocks, tiles, and turns in their order.

        sizes: choice of n; tiles, blocks: number in each part.
        """
        cfg = self.cfg
        places, number = cfg.places(d), 0
        job = SimpleNamespace(blocks=[], tiles=[], turns=[])
        for _ in range(parts):
            here = []
            for _ in range(blocks or random.randint(1, places)):
                rows = random.choice([cfg.ROWS, random.randint(1, cfg.ROWS)])
                # Wide and narrow rows, so that all exponents occur.
                scale = self.np.integers(1, 17, (cfg.ROWS, 1))
                q = self.np.integers(-32768, 32768, (cfg.ROWS, d)) >> (16 - scale)
                here.append(SimpleNamespace(q=q, rows=rows, place=number % places))
                number += 1
            job.blocks += here
            count = tiles or random.randint(1, 3)
            for t in range(count):
                n = random.choice(sizes) if sizes else random.randint(1, cfg.BC_MAX)
                tile = SimpleNamespace(n=n, k8=self.np.integers(-128, 128, (n, d)))
                job.tiles.append(tile)
                for block in here:
                    word = any_turn(n=n, rows=block.rows, place=block.place, start=t == 0,
                                     final=t == count - 1, tile_last=block is here[-1])
                    job.turns.append(SimpleNamespace(block=block, tile=tile, word=word))
        return job

    def configure(self, d, snap, dense):
        self.d, self.snap, self.dense = d, snap, dense
        self.rings["q"].slots = self.cfg.places(d)
        self.dut.cfg_d.value, self.dut.cfg_snap.value = d, snap
        self.dut.cfg_dense.value = dense

    async def feed_q(self, job):
        willing = Willing(some(self.idle))
        for block in job.blocks:
            await self.fill(self.q, "q", block.q[: block.rows], 16, willing)

    async def feed_k8(self, job):
        willing = Willing(some(self.idle))
        for tile in [] if self.dense else job.tiles:
            await self.fill(self.k8, "k8", tile.k8, 8, willing)

    async def run_job(self, job, full_first=False):
        """Do the job from reset, check every turn and word of it; return the words' cycles.

        With full_first turns come when all that fits is in the stores.
        """
        await self.reset()
        start, ahead = self.sink.count, self.t.count
        tasks = [cocotb.start_soon(self.feed_k8(job)), cocotb.start_soon(self.feed_q(job))]
        todo = {"q": len(job.blocks), "k8": 0 if self.dense else len(job.tiles)}
        while full_first and any(ring.filled < min(ring.slots, todo[name])
                                 for name, ring in self.rings.items()):
            await self.edge
        self.turns.extend(turn.word for turn in job.turns)
        words = 0 if self.dense else sum(-(-turn.tile.n // LANES) for turn in job.turns)
        await self.t.wait(ahead + len(job.turns), timeout=100_000)
        await self.sink.wait(start + words, timeout=100_000)
        for task in tasks:
            await task
        await ClockCycles(self.clk, 6 + self.cfg.BC_MAX * (self.d if self.dense else 1))
        assert self.sink.count == start + words, "words without a turn"
        assert self.t.count == ahead + len(job.turns), "turns that nobody asked for"
        for name, ring in self.rings.items():
            self.board.compare_fields(name, {"filled": todo[name], "released": todo[name]},
                                      {"filled": ring.filled, "released": ring.released})
        passes = sum(-(-turn.tile.n // self.cfg.COLS) for turn in job.turns)
        assert self.busy == (len(job.turns) if self.dense else passes * self.d), "array's cycles"
        self.check_turns(job, start, ahead)
        return self.sink.cycles[start:]

    def check_turns(self, job, start, ahead):
        at, begun = start, 0
        for number, turn in enumerate(job.turns):
            where = {"turn": number}
            self.board.compare("turn", turn.word, self.t.items[ahead + number], where=where,
                               when=self.t.moment(ahead + number))
            taken = self.t.times[ahead + number]
            if turn.word >> TURN["start"][0] & 1:
                if self.dense:
                    assert taken > self.commit_times[begun], "a turn before the Q of its block"
                begun += 1
            if self.dense:
                continue
            assert self.late_turns or taken < self.sink.times[at], "words before their turn"
            self.check_words(turn, where, at)
            at += -(-turn.tile.n // LANES)
            self.remainders.add(turn.tile.n % self.cfg.COLS)

    def check_words(self, turn, where, at):
        cfg, n, rows = self.cfg, turn.tile.n, turn.block.rows
        want = dlzs.scores(dlzs.encode(turn.block.q[:rows], self.snap), turn.tile.k8, cfg)
        words = -(-n // LANES)
        for w in range(words):
            item, when = self.sink.items[at + w], self.sink.moment(at + w)
            here = {**where, "word": w}
            self.board.compare("last", int(w == words - 1), item["last"], where=here, when=when)
            got = unpack(item["scores"], cfg.ROWS * LANES, cfg.SC_W, signed=True)
            got = got.reshape(cfg.ROWS, LANES)
            count = min(LANES, n - w * LANES)
            self.board.compare("DLZS", want[:, w * LANES : w * LANES + count], got[:rows, :count],
                               axes=("row", "slot"), where=here, width=cfg.SC_W, when=when)


def dimensions(cfg):
    """Smallest, largest and some head dimensions between."""
    return sorted({8, 16, 24, cfg.D_MAX // 2, cfg.D_MAX - 8, cfg.D_MAX}
                  & set(range(8, cfg.D_MAX + 1, 8)))


async def score_bench(dut, **options):
    """A bench of score jobs, both stores written once."""
    tb = TB(dut, **options)
    tb.configure(8, 0, 0)
    await tb.reset()
    await tb.scrub()
    return tb
