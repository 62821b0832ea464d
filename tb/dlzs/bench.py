# SPDX-License-Identifier: Apache-2.0
"""What the tests of the DLZS stage share: the neighbours of the stage and its score jobs."""

import random
from types import SimpleNamespace

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, RisingEdge

from models import dlzs
from models.config import Config
from models.tiling import pack_td, unpack_td
from tb.common.scoreboard import Scoreboard, pack, unpack
from tb.common.signals import CycleCounter, reader, writer
from tb.common.stream import StreamSink, StreamSource, Willing, pattern
from tb.runner import CLOCK_PERIOD_NS, parameters

LANES = 12
# Inputs that only predict jobs use.
PREDICT_INPUTS = (
    "cfg_predict", "cfg_rope", "cfg_kp_exp", "cfg_kp_bias", "cfg_kp_shift",
    "cfg_k8_stride", "cfg_k8_hstride", "cfg_rt_stride", "w_d_valid", "w_d_data", "r_c_ready",
    "r_d_valid", "r_d_data", "x_ready", "x_done",
)


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
    """Plays fetch (both rings, with their free counts) and sads (a sink)."""

    def __init__(self, dut, backpressure=0.0):
        self.dut = dut
        self.cfg = Config.from_parameters({**parameters(), "KEYS_MAX": 256})
        self.clk, self.edge = dut.clk, RisingEdge(dut.clk)
        self.ring = {"q": 2, "k8": self.cfg.K8_BUFS}
        self.words = -(-self.cfg.COLS // LANES)
        self.np = np.random.default_rng(random.getrandbits(32))
        self.board = Scoreboard(dut._log)
        cocotb.start_soon(Clock(dut.clk, CLOCK_PERIOD_NS, unit="ns").start())
        self.q = Port(dut, "q_wr", ["buf", "row", "beat", "data"])
        self.k8 = Port(dut, "k8_wr", ["buf", "slot", "beat", "data"])
        self.commit = writer(dut.q_commit)
        self.commit("0")
        self.rst = writer(dut.rst)
        for port in PREDICT_INPUTS:
            getattr(dut, port).value = 0
        self.td = StreamSource(dut, "k8_t", dut.clk, dut.rst, fields=("td",))
        willing = pattern(backpressure, random.getrandbits(32)) if backpressure else None
        self.sink = StreamSink(dut, "m", dut.clk, dut.rst, backpressure=willing,
                               fields=("first", "last", "td", "scores"))
        self.cycle = CycleCounter(dut.clk)
        self.checked = 0
        self.clear()
        self.watch = cocotb.start_soon(self._watch())

    def clear(self):
        """Forget everything, as a reset of the stage does."""
        self.released = {"q": 0, "k8": 0}
        self.filled = {"q": 0, "k8": 0}
        self.busy = self.stalled = 0
        # Cycles in which K8 buffers were released.
        self.release_cycles = []

    async def reset(self):
        self.rst("1")
        self.commit("0")
        self.q.write(None)
        self.k8.write(None)
        await ClockCycles(self.clk, 3)
        self.rst("0")
        self.clear()
        await self.edge

    async def _watch(self):
        q, k8 = reader(self.dut.q_release), reader(self.dut.k8_release)
        busy, stall = reader(self.dut.ev_busy), reader(self.dut.ev_stall)
        in_reset = reader(self.dut.rst)
        while True:
            await self.edge
            if in_reset() != "0":
                continue
            self.released["q"] += q() == "1"
            if k8() == "1":
                self.released["k8"] += 1
                self.release_cycles.append(self.cycle.now())
            self.busy += busy() == "1"
            self.stalled += stall() == "1"
            for ring, count in self.released.items():
                assert count <= self.filled[ring], f"{ring} released a buffer it did not have"

    async def fill(self, port, ring, vectors, width, willing):
        """Write vectors (array [lane, element]) into the ring's next buffer, in random order."""
        while self.filled[ring] - self.released[ring] >= self.ring[ring]:
            await self.edge
        buf = self.filled[ring] % self.ring[ring]
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
                self.filled[ring] += 1
                if ring == "q":
                    self.commit("1")
            await self.edge
        port.write(None)
        self.commit("0") if ring == "q" else None

    async def scrub(self):
        """Fill both rings completely: later, what a tile does not write is stale, not unknown."""
        cfg = self.cfg
        for port, ring, lanes, width in ((self.q, "q", cfg.ROWS, 16),
                                         (self.k8, "k8", cfg.BC_MAX, 8)):
            limit = 1 << width - 1
            for _ in range(self.ring[ring]):
                vectors = self.np.integers(-limit, limit, (lanes, cfg.D_MAX))
                await self.fill(port, ring, vectors, width, Willing(None))
        await self.reset()

    def plan(self, d, blocks, sizes=None, tiles=None):
        """Random work: a list of blocks. ``sizes``: choice of n; ``tiles``: number per block."""
        cfg, work = self.cfg, []
        for _ in range(blocks):
            count = tiles or random.randint(1, 4)
            rows = random.choice([cfg.ROWS, random.randint(1, cfg.ROWS)])
            # Wide and narrow rows, so that all exponents occur.
            scale = self.np.integers(1, 17, (cfg.ROWS, 1))
            q = self.np.integers(-32768, 32768, (cfg.ROWS, d)) >> (16 - scale)
            block = SimpleNamespace(q=q, rows=rows, tiles=[])
            for t in range(count):
                n = random.choice(sizes) if sizes else random.randint(1, cfg.BC_MAX)
                td = pack_td(n=n, rows=rows, first=t == 0, last=t == count - 1,
                             causal=random.getrandbits(1), rel=random.randrange(-999, 999),
                             kstep=random.randrange(9), kaddr=random.getrandbits(48),
                             vaddr=random.getrandbits(48), kinc=random.getrandbits(32),
                             vinc=random.getrandbits(32), oaddr=random.getrandbits(48))
                k8 = self.np.integers(-128, 128, (n, d))
                block.tiles.append(SimpleNamespace(n=n, td=td, k8=k8))
            work.append(block)
        return work

    def configure(self, d, snap, dense):
        self.d, self.snap, self.dense = d, snap, dense
        self.dut.cfg_d.value, self.dut.cfg_snap.value = d, snap
        self.dut.cfg_dense.value = dense

    async def feed_q(self, work, idle):
        willing = Willing(pattern(idle, random.getrandbits(32)) if idle else None)
        for block in work:
            await self.fill(self.q, "q", block.q[: block.rows], 16, willing)

    async def feed_k8(self, work, idle):
        willing = Willing(pattern(idle, random.getrandbits(32)) if idle else None)
        for block in work:
            for tile in block.tiles:
                vectors = tile.k8[:0] if self.dense else tile.k8
                await self.fill(self.k8, "k8", vectors, 8, willing)
                if self.dense:
                    self.filled["k8"] += 1
                self.td.append(tile.td)

    async def run_job(self, work, idle=0.0, q_last=False):
        """Do ``work``, check every word of it, return the cycle numbers of the words.

        With ``q_last`` no Q is committed before all K8 buffers are full.
        """
        start = self.sink.count
        tiles = [t for block in work for t in block.tiles]
        before = self.filled["k8"]
        cocotb.start_soon(self.feed_k8(work, idle))
        while q_last and self.filled["k8"] < before + self.ring["k8"]:
            await self.edge
        cocotb.start_soon(self.feed_q(work, idle))
        passes = sum(1 if self.dense else -(-t.n // self.cfg.COLS) * self.words for t in tiles)
        await self.sink.wait(start + passes, timeout=100_000)
        await ClockCycles(self.clk, 4)
        assert self.sink.count == start + passes, "words without a tile"
        assert self.released == self.filled, "buffers that were not released"
        items = iter(range(start, self.sink.count))
        for block in work:
            codes = dlzs.encode(block.q[: block.rows], self.snap)
            for number, tile in enumerate(block.tiles):
                self.check_tile(codes, tile, number, items)
        return self.sink.cycles[start:]

    def check_tile(self, codes, tile, number, items):
        cfg, rows = self.cfg, len(codes)
        want = dlzs.scores(codes, tile.k8, cfg)
        words = 1 if self.dense else -(-tile.n // cfg.COLS) * self.words
        for w in range(words):
            at = next(items)
            item, when = self.sink.items[at], self.sink.moment(at)
            where = {"tile": number, "word": w}
            self.board.compare_fields("td", unpack_td(tile.td), unpack_td(item["td"]),
                                      where=where, when=when)
            self.board.compare_fields("word", {"first": w == 0, "last": w == words - 1}, item,
                                      where=where, when=when)
            if self.dense:
                self.board.compare("dense word", 0, item["scores"], where=where, when=when)
                self.checked += 1
                continue
            got = unpack(item["scores"], cfg.ROWS * LANES, cfg.SC_W, signed=True)
            got = got.reshape(cfg.ROWS, LANES)
            group = w % self.words * LANES
            slot = w // self.words * cfg.COLS + group
            assert not got[:, max(0, cfg.COLS - group):].any(), "lanes past COLS are not zero"
            count = min(LANES, cfg.COLS - group, tile.n - slot)
            if count > 0:
                self.board.compare("DLZS", want[:, slot : slot + count], got[:rows, :count],
                                   axes=("row", "key"), where={"tile": number, "key": slot},
                                   width=cfg.SC_W, when=when)


def dimensions(cfg):
    """Smallest, largest and some head dimensions between."""
    return sorted({8, 16, cfg.D_MAX // 2, cfg.D_MAX - 8, cfg.D_MAX} & set(range(8, 257, 8)))


async def score_bench(dut, **options):
    """A bench of score jobs, both rings written once."""
    tb = TB(dut, **options)
    tb.configure(8, 0, 0)
    await tb.reset()
    await tb.scrub()
    return tb
