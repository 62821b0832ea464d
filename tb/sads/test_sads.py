# SPDX-License-Identifier: Apache-2.0
"""SADS stage against models.sads: lists, union, counts, order of buffers, cycles."""

import random
from dataclasses import dataclass

import cocotb
import numpy as np
import pytest
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge

from models.config import Config
from models.sads import dense_tile, select_tile, unpack_words
from models.tiling import Tile, block_tiles, unpack_td
from tb.common.scoreboard import Scoreboard, pack
from tb.common.signals import KnownReader
from tb.common.stream import StreamMonitor, StreamSink, StreamSource, pattern
from tb.runner import CLOCK_PERIOD_NS, BuildError, build, parameters, run


@dataclass
class Job:
    """Settings that are static during a job."""

    bc: int
    quota: int
    radius: int
    dense: bool = False


def make_config():
    """The model's Config for the parameters of this simulation."""
    p = parameters()
    return Config(ROWS=p["ROWS"], COLS=p["COLS"], D_MAX=1 << p["SC_W"] - 11,
                  BC_MAX=p["BC_MAX"], BUS_BYTES=8, KEYS_MAX=4096)


class TB:
    """Feeds tiles, plays the ring of list buffers and compares what comes out.

    Args:
        idle: share of cycles without a score word.
        backpressure: share of cycles in which the result is not taken.
        hold: a list buffer is kept for half of to all of so many cycles after its tile was taken.
    """

    def __init__(self, dut, idle=0.0, backpressure=0.0, hold=0):
        self.dut, self.cfg, self.hold = dut, make_config(), hold
        self.list_bufs = parameters().get("LIST_BUFS", 4)
        self.board = Scoreboard(dut._log)
        self.source = StreamSource(dut, "s", dut.clk, dut.rst, seed=random.getrandbits(32),
                                   fields=("first", "last", "td", "scores"),
                                   idle=pattern(idle, random.getrandbits(32)))
        self.sink = StreamSink(dut, "m", dut.clk, dut.rst, callback=self.on_tile,
                               fields=("td", "union", "nsteps", "nsel"),
                               backpressure=pattern(backpressure, random.getrandbits(32)))
        self.lists = StreamMonitor(dut, "l_wr", dut.clk, dut.rst, callback=self.on_list,
                                   fields=("buf", "word", "data"))
        self.expected = []
        # List words of the tiles that are not yet taken, the oldest tile first.
        self.words = [[]]
        self.tiles = self.held = self.released = self.most_held = 0
        self.passes = []
        self.releases = []
        self.cycle = 0
        self.ev_busy = self.ev_stall = 0
        cocotb.start_soon(Clock(dut.clk, CLOCK_PERIOD_NS, unit="ns").start())

    async def start(self, job):
        """Reset and set the job; may be called again when everything is taken."""
        dut = self.dut
        dut.cfg_dense.value, dut.cfg_quota.value = int(job.dense), job.quota
        dut.cfg_radius.value = job.radius
        dut.l_release.value = 0
        dut.rst.value = 1
        self.job = job
        self.words, self.tiles, self.released, self.held = [[]], 0, 0, 0
        self.run_max = None
        for _ in range(3):
            await RisingEdge(dut.clk)
        dut.rst.value = 0

    async def keep_time(self):
        """Give list buffers back in order, count cycles and events."""
        dut, ready = self.dut, 0
        busy, stall = KnownReader(dut.ev_busy), KnownReader(dut.ev_stall)
        while True:
            await RisingEdge(dut.clk)
            self.cycle += 1
            self.ev_busy += busy()
            self.ev_stall += stall()
            now = bool(self.releases) and self.releases[0] <= self.cycle
            if now:
                self.releases.pop(0)
                self.released += 1
            if now != ready:
                ready = now
                dut.l_release.value = int(now)

    def send(self, tile: Tile, scores):
        """Queue the score words of a tile, scores int [ROWS, BC_MAX], and what must come out."""
        cfg, job = self.cfg, self.job
        td = tile.descriptor(*(random.getrandbits(w) for w in (48, 48, 32, 32, 48)))
        groups = -(-cfg.COLS // 12)
        words = []
        for first in [0] if job.dense else range(0, tile.n, cfg.COLS):
            for group in range(1 if job.dense else groups):
                word = np.zeros((cfg.ROWS, 12), np.int64)
                lanes = min(12, cfg.COLS - 12 * group)
                if not job.dense:
                    slot = first + 12 * group
                    word[:, :lanes] = scores[:, slot:slot + lanes]
                words.append(pack(word, cfg.SC_W))
        for i, word in enumerate(words):
            self.source.append({"first": int(i == 0), "last": int(i == len(words) - 1),
                                "td": td, "scores": word})
        allowed = tile.allowed(cfg.ROWS)
        if job.dense:
            want = dense_tile(allowed)
        else:
            previous = None if tile.first else self.run_max
            want, self.run_max = select_tile(scores[:, :tile.n], allowed, previous, job.quota,
                                             job.radius, cfg)
        self.expected.append((td, want, len(words)))

    def on_list(self, item):
        """A list word: its tile is the oldest one whose result has not come yet."""
        assert item["buf"] == self.tiles % self.list_bufs
        assert item["word"] == len(self.words[-1]), "list words of a tile are not in order"
        # The buffer must be one that was given back (or never used).
        held = self.tiles - self.released
        assert held < self.list_bufs, "list buffer is still in use"
        self.most_held = max(self.most_held, held + 1)
        self.words[-1].append(item["data"])

    def on_tile(self, item):
        cfg, board = self.cfg, self.board
        td, want, words = self.expected.pop(0)
        where = {"tile": self.tiles}
        board.compare_fields("td", unpack_td(td), unpack_td(item["td"]), where=where)
        data = self.taken_words.pop(0)
        got = unpack_words(data, want.n, cfg)
        length = max(got.slots.shape[1], want.slots.shape[1])

        def pad(array):
            wide = np.zeros((cfg.ROWS, length), array.dtype)
            wide[:, :array.shape[1]] = array
            return wide

        axes = ("row", "position")
        board.compare("valid", pad(want.valid), pad(got.valid), axes=axes, where=where)
        board.compare("slots", pad(want.slots), pad(got.slots), axes=axes, where=where)
        board.compare_fields("tile", {"union": want.union_word, "nsteps": want.nsteps,
                                      "nsel": want.nsel}, item, where=where)
        assert len(data) == self.passes_of(want)
        self.passes.append((len(data), 1 if self.job.dense else words))
        self.releases.append(max(self.cycle + 1 + random.randint(self.hold // 2, self.hold),
                                 self.releases[-1] + 1 if self.releases else 0))

    def passes_of(self, want):
        """List words of a tile: no pass after one in which no row found four entries."""
        if self.job.dense:
            return -(-want.n // 4)
        most = -(-want.valid.shape[1] // 4)
        return next((p for p in range(1, most) if not want.valid[:, 4 * p - 1].any()), most)

    async def watch_commits(self):
        """Close a tile's list when its result is offered (not only when it is taken)."""
        dut = self.dut
        valid, ready, rst = (KnownReader(s) for s in (dut.m_valid, dut.m_ready, dut.rst))
        self.taken_words = []
        offered = False
        while True:
            await RisingEdge(dut.clk)
            if rst():
                self.taken_words, offered = [], False
                continue
            if valid() and not offered:
                self.taken_words.append(self.words[-1])
                self.words.append([])
                self.tiles += 1
            offered = bool(valid()) and not ready()

    async def drain(self):
        """Wait until all queued tiles came out and their list buffers were given back."""
        limit = self.cycle + 20000
        while self.expected or self.releases:
            await RisingEdge(self.dut.clk)
            assert self.cycle < limit, f"{len(self.expected)} tiles never came"


def random_scores(cfg):
    """Scores int [ROWS, BC_MAX] of one tile: random, tied, sorted, peaked, extreme."""
    top = 1 << cfg.SC_W - 1
    shape = (cfg.ROWS, cfg.BC_MAX)
    kind = random.choice(["wide", "ties", "equal", "up", "down", "peaks", "extreme"])
    if kind == "wide":
        return np.random.randint(-top, top, shape)
    if kind == "equal":
        return np.full(shape, random.randrange(-top, top))
    if kind == "extreme":
        return np.random.choice([-top, -top + 1, 0, top - 1], shape)
    if kind == "peaks":
        scores = np.random.randint(-20, 20, shape)
        return np.where(np.random.random(shape) < 0.1, scores + random.randrange(top // 2), scores)
    scores = np.random.randint(-3, 4, shape) + random.randrange(-top // 2, top // 2)
    order = np.arange(cfg.BC_MAX) * random.choice([1, 7])
    return scores + {"ties": 0, "up": order, "down": -order}[kind]


def random_job(cfg, dense=False):
    """A Job with random settings."""
    sizes = [b for b in (4, 8, 16, 32, 64) if max(cfg.COLS, 4) <= b <= cfg.BC_MAX]
    radius = random.choice([0, 1, random.randint(0, 40), random.getrandbits(cfg.SC_W),
                            cfg.RADIUS_INF, cfg.RADIUS_INF])
    quota = random.choice([random.randint(1, cfg.BC_MAX), random.randint(1, 8), 4, cfg.BC_MAX])
    return Job(random.choice(sizes), quota, radius, dense)


def random_block(cfg, job):
    """The tiles of one block: any place in the sequence, any number of rows."""
    rows = random.choice([cfg.ROWS, random.randint(1, cfg.ROWS)])
    causal = random.random() < 0.6
    start = cfg.ROWS * random.choice([0, 0, 1, random.randint(0, 20)])
    offset = random.choice([0, 0, 1, random.randint(0, 100), 60000])
    keys = random.randint(1, random.choice([4, 3, 1]) * job.bc)
    if causal and random.random() < 0.6:
        # Around the diagonal, where masks differ from row to row.
        keys = max(1, min(offset + start + random.randint(-2, cfg.ROWS + 2), 8 * job.bc))
    return block_tiles(start, rows, keys, job.bc, causal=causal, offset=offset,
                       interleaved=random.random() < 0.5)


def hostile_tile(cfg, job):
    """A tile with any descriptor, also those no sequencer makes: extreme steps and positions."""
    return Tile(n=random.randint(1, job.bc), rows=random.randint(1, cfg.ROWS), first=True,
                last=True, causal=random.random() < 0.9, k0=0,
                rel=random.choice([-131072, 131071, random.randint(-131072, 131071),
                                   random.randint(-40, 140)]),
                kstep=random.choice([0, 1, 2, 131071, random.randrange(131072)]))


async def run_job(tb, job, tiles):
    await tb.start(job)
    for tile in tiles:
        tb.send(tile, random_scores(tb.cfg))
    await tb.drain()


async def prepare(dut, **options):
    np.random.seed(random.getrandbits(32))
    dut.rst.value = 1
    tb = TB(dut, **options)
    await RisingEdge(dut.clk)
    await RisingEdge(dut.clk)
    cocotb.start_soon(tb.watch_commits())
    cocotb.start_soon(tb.keep_time())
    return tb


JOBS = 8
"""Jobs of one random test, two of them dense."""


@cocotb.test()
@cocotb.parametrize(idle=[0.0, 0.6], backpressure=[0.0, 0.9], hold=[0, 200])
async def random_jobs(dut, idle, backpressure, hold):
    """Sparse and dense jobs under every mix of idle input, slow output and slow list buffers."""
    tb = await prepare(dut, idle=idle, backpressure=backpressure, hold=hold)
    for number in range(JOBS):
        job = random_job(tb.cfg, dense=number % 4 == 3)
        tiles = [t for _ in range(3) for t in random_block(tb.cfg, job)[:10]]
        await run_job(tb, job, tiles)
    if hold:
        # Many tiles that are sorted faster than their list buffers come back.
        job = Job(tb.cfg.BC_MAX, 4, tb.cfg.RADIUS_INF)
        await run_job(tb, job, [t for _ in range(8) for t in random_block(tb.cfg, job)[:1]])
        assert tb.ev_stall, "list buffers never ran out"
        assert tb.most_held == tb.list_bufs, "not all list buffers were used"
    tb.board.finish("td", "tile", "valid", "slots")
    assert tb.ev_busy


@cocotb.test()
async def hostile_descriptors(dut):
    """Masks at the ends of their number ranges."""
    tb = await prepare(dut)
    for number in range(5):
        job = random_job(tb.cfg, dense=number == 4)
        await run_job(tb, job, [hostile_tile(tb.cfg, job) for _ in range(12)])
    tb.board.finish("td", "tile", "valid", "slots")


@cocotb.test()
async def nothing_selected(dut):
    """Tiles that no row sees are passed on with 0 steps, and the row maximum survives them."""
    tb = await prepare(dut)
    cfg = tb.cfg
    await tb.start(Job(cfg.BC_MAX, 4, 3))
    tile = Tile(n=cfg.BC_MAX, rows=cfg.ROWS, first=True, last=False, causal=False, rel=0, kstep=1,
                k0=0)
    hidden = Tile(n=5, rows=cfg.ROWS, first=False, last=False, causal=True, rel=cfg.ROWS, kstep=1,
                  k0=0)
    shown = Tile(n=5, rows=cfg.ROWS, first=False, last=True, causal=False, rel=0, kstep=1, k0=0)
    scores = np.random.randint(-50, 50, (cfg.ROWS, cfg.BC_MAX))
    tb.send(tile, scores)
    tb.send(hidden, scores + 100)
    tb.send(shown, scores - 1)
    assert tb.expected[1][1].nsteps == 0 and tb.expected[1][1].nsel == 0
    await tb.drain()
    tb.board.finish("td", "tile", "valid", "slots")


@cocotb.test()
async def reset_in_the_middle(dut):
    """After a reset at any time the stage is as new: credits, buffers and maxima."""
    tb = await prepare(dut, hold=30)
    for wait in (3, 9, 17, 40, 90):
        await tb.start(Job(tb.cfg.BC_MAX, tb.cfg.BC_MAX, tb.cfg.RADIUS_INF))
        for tile in random_block(tb.cfg, tb.job):
            tb.send(tile, random_scores(tb.cfg))
        for _ in range(wait):
            await RisingEdge(dut.clk)
        dut.rst.value = 1
        for _ in range(3):
            await RisingEdge(dut.clk)
        tb.expected, tb.releases = [], []
        job = random_job(tb.cfg)
        await tb.start(job)
        for tile in random_block(tb.cfg, job)[:6]:
            tb.send(tile, random_scores(tb.cfg))
        await tb.drain()
    tb.board.finish("td", "tile", "valid", "slots")


@cocotb.test()
async def cycles_of_a_tile(dut):
    """P*(W+6) + 4 cycles from tile to tile, for quotas of 1 to 5 passes and for dense tiles."""
    tb = await prepare(dut)
    cfg = tb.cfg
    times = []
    sink = StreamMonitor(dut, "m", dut.clk, dut.rst, fields=("nsel",), use_ready=True,
                         callback=lambda item: times.append(tb.cycle))
    quotas = [q for q in (1, 4, 5, 8, 16, 20) if q <= cfg.BC_MAX]
    for job in [*(Job(cfg.BC_MAX, q, cfg.RADIUS_INF) for q in quotas),
                Job(cfg.BC_MAX, 4, cfg.RADIUS_INF, dense=True)]:
        await tb.start(job)
        times.clear()
        for _ in range(6):
            tb.send(Tile(n=cfg.BC_MAX, rows=cfg.ROWS, first=True, last=True, causal=False, rel=0,
                         kstep=1, k0=0), random_scores(cfg))
        await tb.drain()
        passes, words = tb.passes[-1]
        assert passes == -(-(cfg.BC_MAX if job.dense else job.quota) // 4)
        period = max(passes * (words + 6) + 4, words)
        gaps = {b - a for a, b in zip(times[1:], times[2:], strict=False)}
        dut._log.info("quota %d%s: %s cycles per tile", job.quota, " dense" * job.dense, gaps)
        assert gaps == {period}, (gaps, period)
    assert sink.count == 6 * (len(quotas) + 1)
    tb.board.finish("td", "tile", "valid", "slots")


@pytest.mark.configs("tiny", "small")
def test_sads(sim, seed, config):
    simulate_stage(sim, seed, config)


@pytest.mark.slow
@pytest.mark.sims("verilator")
@pytest.mark.configs("paper")
def test_sads_paper(sim, seed, config):
    simulate_stage(sim, seed, config)


def simulate_stage(sim, seed, config):
    """Run the cocotb tests of this file on one configuration."""
    from models.config import Config as Model

    cfg = Model.from_name(config.name)
    run("sads", __name__, config.pick("ROWS", "COLS", "BC_MAX", SC_W=cfg.SC_W), sim, seed=seed)


# Groups of 12 lanes that do not divide the columns, one pass, one word, fewest of all.
@pytest.mark.parametrize("rows,cols,bc_max,sc_w",
                         [(4, 32, 64, 18), (8, 16, 16, 16), (4, 64, 64, 15), (4, 8, 8, 15)])
def test_sads_shapes(sim, seed, rows, cols, bc_max, sc_w):
    run("sads", __name__, {"ROWS": rows, "COLS": cols, "BC_MAX": bc_max, "SC_W": sc_w}, sim,
        seed=seed)


@pytest.mark.parametrize("bufs", [2, 3])
def test_sads_list_buffers(sim, seed, bufs):
    run("sads", __name__, {"ROWS": 4, "COLS": 4, "BC_MAX": 16, "SC_W": 15, "LIST_BUFS": bufs}, sim,
        seed=seed)


@pytest.mark.parametrize("bad", [{"ROWS": 5}, {"COLS": 128}, {"BC_MAX": 128}, {"SC_W": 2},
                                 {"LIST_BUFS": 5}])
def test_illegal_parameters_are_refused(sim, bad):
    with pytest.raises(BuildError, match="illegal_parameter_sads"):
        build("sads", bad, sim)
