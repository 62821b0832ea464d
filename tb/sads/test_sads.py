# SPDX-License-Identifier: Apache-2.0
"""sofa_sads against models.sads: masks, shares, cycles of its three ways of selecting; blocks
interleave turn by turn."""

import random
from collections import deque
from functools import cache

import cocotb
import numpy as np
import pytest
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge

from models import sads
from models.config import Config, clog2
from models.head import DENSE, SORT, SUM, HeadTable, Job, select, turns
from models.tiling import EXACT, allowed
from tb.common import samples
from tb.common.scoreboard import Scoreboard, same, unpack
from tb.common.signals import KnownReader
from tb.common.stream import StreamMonitor, StreamSink, StreamSource, pattern
from tb.common.turns import any_turn
from tb.common.windows import with_window
from tb.runner import CLOCK_PERIOD_NS, BuildError, build, parameters, run

NAMES = {SUM: "sum", SORT: "sort", DENSE: "dense"}


@cache
def value(name):
    """A Verilog parameter of this simulation."""
    return parameters().get(name, {"SC_FRAC": 2, "SORT": 1}.get(name))


def make_config():
    """The model's Config for the parameters of this simulation."""
    names = ("ROWS", "COLS", "D_MAX", "BC_MAX", "BUS_BYTES", "KEYS_MAX", "SC_FRAC", "PLACES")
    return Config(**{n: value(n) for n in names})


def ways():
    """The ways of selecting that this build has."""
    return [SUM, DENSE] + [SORT] * value("SORT")


# ---------------------------------------------------------------------------------------------
# Test bench
# ---------------------------------------------------------------------------------------------
class WordSource(StreamSource):
    """Words of scores as text, so that some may be unknown."""

    def _texts(self, item):
        return [str(int(item["last"])), item["scores"]]

    def unknown(self):
        """Show unknown scores until the next word."""
        self._show(["0", "x" * self._widths[1]], False)


class Gate:
    """Back-pressure by hand: takes items while ``open``."""

    always = False

    def __init__(self):
        self.open = True

    def step(self):
        return self.open


def score_text(score, n, rows, width):
    """Words of 4 slots as text, MSB first; score int [ROWS, 4*words]. What does not exist, slots
    from n and rows from ``rows`` on, is unknown where the simulator can say that, else random."""
    icarus = "icarus" in cocotb.SIM_NAME.lower()
    words, mask = [], (1 << width) - 1
    for first in range(0, score.shape[1], 4):
        bits = []
        for r, line in enumerate(score[:, first : first + 4].tolist()):
            for j, number in enumerate(line):
                exists = r < rows and first + j < n
                bits.append("x" * width if icarus and not exists
                            else format((number if exists else random.getrandbits(width)) & mask,
                                        f"0{width}b"))
        words.append("".join(reversed(bits)))
    return words


class TB:
    """Sends turns and words, and compares masks, shares and the count of pairs.

    Args:
        idle: share of cycles without a word; half of it, of those without a turn.
        backpressure: share of cycles in which masks, and in which shares are not taken; "gate":
            masks are taken while gate.open, which ends when close_at words are left to come.
    """

    def __init__(self, dut, idle=0.0, backpressure=0.0):
        self.dut, self.cfg = dut, make_config()
        self.share = max(4, value("BUS_BYTES") // 4)
        self.groups = self.cfg.ROWS // self.share
        self.board = Scoreboard(dut._log)
        self.gate, self.close_at = Gate(), None

        def willing(share):
            return pattern(share, random.getrandbits(32))

        gated = backpressure == "gate"
        reset = dut.rst
        self.turns = StreamSource(dut, "t", dut.clk, reset, fields=("turn",),
                                  idle=willing(idle / 2), seed=random.getrandbits(32))
        self.words = WordSource(dut, "s", dut.clk, reset, fields=("last", "scores"),
                                idle=willing(idle), seed=random.getrandbits(32))
        self.masks = StreamSink(dut, "m", dut.clk, reset, callback=self.on_masks,
                                fields=("first", "last", "mask", "turn"),
                                backpressure=None if gated else willing(backpressure))
        if gated:
            self.masks._willing = self.gate
        self.shares = StreamSink(dut, "f", dut.clk, reset, callback=self.on_share,
                                 fields=("last", "word", "place", "data"),
                                 backpressure=willing(0 if gated else backpressure))
        self.expected_masks, self.expected_shares = deque(), deque()
        self.sent = self.tiles = self.clipped = 0
        self.busy, self.stall = KnownReader(dut.ev_busy), KnownReader(dut.ev_stall)
        self.ev_busy = self.ev_stall = self.pairs = 0
        self.way, self.quota = SUM, 1
        self.configure(SUM)
        cocotb.start_soon(Clock(dut.clk, CLOCK_PERIOD_NS, unit="ns").start())
        cocotb.start_soon(self.count_events())

    def configure(self, way, blend=True, quota=1):
        """Way of selecting of the next job."""
        dut = self.dut
        self.way, self.blend, self.quota = way, blend, quota
        dut.cfg_dense.value, dut.cfg_sort.value = way == DENSE, way == SORT
        dut.cfg_blend.value, dut.cfg_quota.value = blend, quota
        if way == DENSE and "icarus" in cocotb.SIM_NAME.lower():
            self.words.unknown()

    async def reset(self):
        """Empty the stage and forget what was expected of it."""
        self.dut.rst.value = 1
        for _ in range(3):
            await RisingEdge(self.dut.clk)
        self.expected_masks.clear()
        self.expected_shares.clear()
        self.dut.rst.value = 0

    async def count_events(self):
        """Sums of events; each cycle's count of pairs against the word of two cycles before."""
        dut = self.dut
        pairs, mask = KnownReader(dut.ev_pairs), KnownReader(dut.m_mask)
        valid, ready = KnownReader(dut.m_valid), KnownReader(dut.m_ready)
        passed = [0, 0]
        while True:
            await RisingEdge(dut.clk)
            if int(dut.rst.value):
                passed = [0, 0]
                continue
            busy, stall = self.busy(), self.stall()
            assert not (busy and stall), "sads is busy and waits in one cycle"
            self.ev_busy += busy
            self.ev_stall += stall
            self.board.compare("pairs", passed[0], pairs())
            self.pairs += passed[0]
            passed = [passed[1], mask().bit_count() if valid() and ready() else 0]

    def send(self, tile, rows, place, score, mask, **fields):
        """Queue a turn and what must come out: score int and mask bool [rows, n], None without;
        fields: of the turn, beside those of the tile."""
        cfg, n, words = self.cfg, tile.n, -(-tile.n // 4)
        turn = any_turn(n=n, rows=rows, causal=tile.causal, rel=tile.rel, kstep=tile.kstep,
                         mstep=tile.kstep, window=tile.window, k0=tile.k0, place=place, **fields)
        self.turns.append(turn)
        if score is not None:
            wide = np.zeros((cfg.ROWS, 4 * words), np.int64)
            wide[:rows, :n] = score
            for w, text in enumerate(score_text(wide, n, rows, cfg.SC_W)):
                self.words.append({"last": w == words - 1, "scores": text})
        if mask is not None:
            bits = np.zeros((cfg.ROWS, 4 * words), bool)
            bits[:rows, :n] = mask
            for w in range(words):
                self.expected_masks.append((self.sent, w, w == 0, w == words - 1, turn,
                                            bits[:, 4 * w : 4 * w + 4].T))
        self.sent += 1

    def send_shares(self, place, f):
        """Expect the shares f int [rows] of a block; 1 behind them."""
        wide = np.full(self.cfg.ROWS, 1 << self.cfg.F_FRAC)
        wide[: len(f)] = f
        for w in range(self.share):
            self.expected_shares.append((w, place, wide[w * self.groups : (w + 1) * self.groups]))

    def on_masks(self, item):
        assert self.expected_masks, "masks of no tile"
        tile, word, first, last, turn, mask = self.expected_masks.popleft()
        where = {"tile": tile, "word": word}
        self.board.compare_fields("tile", {"first": first, "last": last, "turn": turn}, item,
                                  where=where)
        got = unpack(item["mask"], mask.size, 1).reshape(mask.shape)
        self.board.compare("masks", mask, got, axes=("lane", "row"), where=where)
        self.tiles += last
        if len(self.expected_masks) == self.close_at:
            self.gate.open = False

    def on_share(self, item):
        assert self.expected_shares, "shares of no block"
        word, place, f = self.expected_shares.popleft()
        self.board.compare_fields("block", {"word": word, "place": place,
                                            "last": word == self.share - 1}, item)
        got = unpack(item["data"], self.groups, self.cfg.F_FRAC + 1)
        self.board.compare("f", f, got, axes=("row",), where={"row": word * self.groups})

    async def drain(self, limit):
        """Wait for everything that is expected; fail after ``limit`` cycles."""
        for _ in range(limit):
            await RisingEdge(self.dut.clk)
            if not self.expected_masks and not self.expected_shares and self.words.empty:
                break
        else:
            raise AssertionError(f"{len(self.expected_masks)} words of masks, "
                                 f"{len(self.expected_shares)} of shares never came")
        # Nothing more may come.
        for _ in range(10):
            await RisingEdge(self.dut.clk)

    def finish(self):
        self.board.finish("tile", "masks", "block", "f", "pairs")


async def prepare(dut, **options):
    np.random.seed(random.getrandbits(32))
    dut.rst.value = 1
    tb = TB(dut, **options)
    await tb.reset()
    return tb


# ---------------------------------------------------------------------------------------------
# Jobs
# ---------------------------------------------------------------------------------------------
def random_scores(rows, n, octave, cfg):
    """Scores int [rows, n] of one of several kinds a row: any, tied, or some octaves below what is
    the row's peak."""
    top = 1 << cfg.SC_W - 1
    shape = (rows, n)
    peak = np.random.randint(-top, top, (rows, 1))
    below = np.random.exponential(np.random.choice([1, 4, 10], (rows, 1)), shape)
    kind = np.random.choice(4, (rows, 1))
    score = np.select([kind == 0, kind == 1, kind == 2, kind == 3], [
        np.random.randint(-top, top, shape),
        peak + np.random.randint(-1, 2, shape),
        peak - (below * (1 << octave)).astype(np.int64),
        np.random.choice([-top, -top + 1, 0, top - 2, top - 1], shape)])
    return np.clip(score, -top, top - 1)


def random_job(tb):
    """A job of the bench's way with one head, and its query rows and keys."""
    cfg = tb.cfg
    bc = random.choice([b for b in (4, 8, 16, 32, 64) if cfg.COLS <= b <= cfg.BC_MAX])
    causal = random.random() < 0.7
    keys = random.randint(1, min(random.choice([1, 3, 6]) * bc, cfg.KEYS_MAX))
    rows = random.randint(1, 3 * cfg.ROWS)
    offset = random.choice([0, max(keys - rows, 0), random.randint(0, 40)]) if causal else 0
    octave = random.choice([1, 4, 5, 6])
    radius = random.choice([0, 1, None, cfg.RADIUS_INF - 1, random.randrange(1 << 6),
                            random.randrange(1 << cfg.SC_W)])
    tau = -random.randint(0, 12 << cfg.LOG_FRAC)
    job = Job(d=8, bc=bc, table=(HeadTable(0, 0, octave, tau, radius),), band=random.randint(1, 3),
              select=tb.way, quota=tb.quota, fall=random.choice([0, random.randint(0, 255)]),
              causal=causal, offset=offset, interleaved=random.random() < 0.5, blend=tb.blend)
    return with_window(job, rows, keys, cfg), rows, keys


def block_turns(tb, place, job, band, block, score=None):
    """Send the turns of a block one by one, as a generator. score: of each tile, or random."""
    cfg, entry, count = tb.cfg, job.table[0], len(band.tiles)
    seen = [allowed(tile, band, block) for tile in band.tiles]
    if score is None:
        score = [random_scores(block.n, tile.n, entry.octave, cfg) for tile in band.tiles]
    chosen = select(score, seen, block, entry, job, cfg)
    samples.selection(score, seen, chosen, block, entry, job, cfg)
    if job.select == SORT:
        # What is dropped for an earlier tile alone
        alone = [sads.select_tile(*pair, None, job.quota, entry.radius, cfg)[0].mask
                 for pair in zip(score, seen, strict=True)]
        tb.clipped += sum(int((a & ~m).sum()) for a, m in zip(alone, chosen.masks, strict=True))
    order = turns(count, job)
    for i, (t, taken) in enumerate(order):
        of, final = band.tiles[t], i == len(order) - 1
        tile = type(of)(n=of.n, rows=block.n, first=False, last=False, causal=of.causal,
                        rel=of.rel - (block.row - band.row), kstep=of.kstep, k0=of.k0,
                        window=of.window)
        fields = {"start": i == 0, "final": final, "count": not taken}
        # Of the other ways any value may come.
        if job.select == SUM:
            exact = min(max(EXACT - job.offset - block.row, 0), block.n) if job.causal else 0
            fields |= {
                "exact": exact, "octave": entry.octave,
                "ratio": sads.extrapolation(count, count if final else min(i + 1, count), cfg),
                "tau": sads.block_threshold(entry.tau, job.fall, block.length, cfg)}
        elif job.select == SORT:
            fields["radius"] = sads.reach(entry.radius, cfg)
        tb.send(tile, block.n, place, None if job.dense else score[t],
                chosen.masks[t] if taken else None, **fields)
        if final:
            tb.send_shares(place, chosen.f)
        yield


def random_blocks(tb, number):
    """Send ``number`` blocks of heads, so many at a time as there are places, their turns in turn,
    in any order, or block after block."""
    cfg = tb.cfg
    waiting, running = [], {}
    while number or running:
        free = [p for p in range(cfg.PLACES) if p not in running]
        while free and number:
            if not waiting:
                job, rows, keys = random_job(tb)
                waiting = [(job, band, block) for band in job.bands(rows, keys, cfg)
                           for block in band.blocks]
                random.shuffle(waiting)
                waiting = waiting[:3]
            place = free.pop(random.randrange(len(free)))
            running[place] = block_turns(tb, place, *waiting.pop())
            number -= 1
        place = random.choice(list(running))
        for _ in range(random.choice([1, 1, 2, 20])):
            try:
                next(running[place])
            except StopIteration:
                del running[place]
                break


def whole_block(tb, place, tiles, rows=None, radius=None, score=None, n=None):
    """Generator of the turns of a block that sees all of ``tiles`` tiles of n slots."""
    cfg = tb.cfg
    rows, n = rows or cfg.ROWS, n or cfg.BC_MAX
    job = Job(d=8, bc=cfg.BC_MAX if n > cfg.BC_MAX // 2 else n,
              table=(HeadTable(0, 0, 2, -(4 << cfg.LOG_FRAC), radius),),
              select=tb.way, quota=tb.quota, blend=tb.blend, interleaved=False)
    band = job.bands(rows, tiles * n, cfg)[0]
    assert [tile.n for tile in band.tiles] == [n] * tiles
    return block_turns(tb, place, job, band, band.blocks[0], score)


def patience(tb):
    """Cycles in which everything that is queued must come out."""
    return (40 * len(tb.words._sendQ) + 20 * len(tb.expected_masks)
            + tb.sent * (100 + 40 * tb.share + 4 * tb.cfg.BC_MAX))


@cocotb.test()
@cocotb.parametrize(idle=[0.0, 0.5], backpressure=[0.0, 0.7])
async def jobs(dut, idle, backpressure):
    """Jobs of every way one after the other, under every mix of idle input and slow output."""
    tb = await prepare(dut, idle=idle, backpressure=backpressure)
    most = tb.cfg.BC_MAX
    order = ways() * 3
    random.shuffle(order)
    for way in order:
        quota = random.choice([1, 4, most, random.randint(1, most)])
        tb.configure(way, random.random() < 0.7, quota)
        before = tb.ev_busy
        random_blocks(tb, 8)
        words = len(tb.words._sendQ) if way == SUM else len(tb.expected_masks)
        await tb.drain(patience(tb))
        # Sorting is busy for as long as it takes.
        assert tb.ev_busy - before == words or way == SORT and tb.ev_busy > before
    tb.finish()
    assert tb.pairs


@cocotb.test()
async def quotas(dut):
    """Sort: every quota, with tiles of every size."""
    if not value("SORT"):
        return
    tb = await prepare(dut)
    cfg = tb.cfg
    for quota in range(1, cfg.BC_MAX + 1):
        tb.configure(SORT, quota=quota)
        job = Job(d=8, bc=cfg.BC_MAX, table=(HeadTable(0, 0, 2, 0),), select=SORT, quota=quota,
                  interleaved=False)
        band = job.bands(cfg.ROWS, cfg.BC_MAX + quota, cfg)[0]
        for _ in block_turns(tb, quota % cfg.PLACES, job, band, band.blocks[0]):
            pass
        await tb.drain(patience(tb))
    tb.finish()


@cocotb.test()
async def maxima_stay_with_their_places(dut):
    """Sort: a row's maximum is that of its own block, whatever works in between, and a new block
    knows nothing of the one that had its place."""
    if not value("SORT"):
        return
    tb = await prepare(dut)
    cfg = tb.cfg
    tb.configure(SORT, quota=4)
    for _ in range(3):
        blocks = []
        for place in range(cfg.PLACES):
            # Tiles lie one below the other, in any order: of the last ones little is near enough.
            peak = np.random.randint(-500, 500, (cfg.ROWS, 1))
            score = [peak - 9 * t - np.random.randint(0, 20, (cfg.ROWS, cfg.BC_MAX))
                     for t in random.sample(range(4), 4)]
            blocks.append(whole_block(tb, place, 4, radius=20, score=score))
        for _ in range(4):
            random.shuffle(blocks)
            for block in blocks:
                next(block)
        for block in blocks:
            assert next(block, None) is None
        await tb.drain(patience(tb))
    tb.finish()
    assert tb.clipped, "no maximum of an earlier tile mattered"


@cocotb.test()
async def shares_wait_for_no_masks(dut):
    """f of a block comes while masks of later turns are not taken."""
    tb = await prepare(dut, backpressure="gate")
    for way in ways():
        tb.configure(way, quota=4)
        tb.gate.open = True
        for _ in whole_block(tb, 0, 2):
            pass
        later, total = len(tb.expected_masks), len(tb.expected_shares)
        assert total == tb.share
        # Turns of other blocks, more than the stage can hold
        interleave([whole_block(tb, p, 6) for p in range(1, tb.cfg.PLACES)])
        later = tb.close_at = len(tb.expected_masks) - later
        total = len(tb.expected_shares) - total
        for _ in range(400 + 60 * tb.share):
            await RisingEdge(dut.clk)
        assert len(tb.expected_masks) == later, "masks were taken behind a closed gate"
        assert not tb.words.empty or way == DENSE, "nothing waited"
        assert len(tb.expected_shares) <= total, f"f waits: {NAMES[way]}"
        tb.gate.open, tb.close_at = True, None
        await tb.drain(patience(tb))
    tb.finish()
    assert tb.ev_stall


@cocotb.test()
async def reset_in_the_middle(dut):
    """After a reset at any time it is as new."""
    tb = await prepare(dut, backpressure=0.3)
    for wait in (2, 5, 11, 23, 40, 70, 111, 160):
        for way in ways():
            tb.configure(way, quota=random.randint(1, tb.cfg.BC_MAX))
            random_blocks(tb, 6)
            for _ in range(wait):
                await RisingEdge(dut.clk)
            await tb.reset()
        tb.configure(random.choice(ways()), quota=5)
        random_blocks(tb, 3)
        await tb.drain(patience(tb))
    tb.finish()


# ---------------------------------------------------------------------------------------------
# Cycles
# ---------------------------------------------------------------------------------------------
def monitors(dut):
    """Cycles of all transfers of a stream since it was last asked: name -> list."""
    ends = {n: StreamMonitor(dut, n, dut.clk, dut.rst, fields=fields, use_ready=True)
            for n, fields in (("t", ("turn",)), ("s", ("last",)), ("m", ("last",)),
                              ("f", ("last",)))}

    def seen():
        got = {name: monitor.cycles for name, monitor in ends.items()}
        for monitor in ends.values():
            monitor.times.clear()
        return got
    return seen


def interleave(blocks):
    """All turns of blocks, tile by tile."""
    while blocks:
        blocks = [block for block in blocks if next(block, blocks) is not blocks]


@cocotb.test()
async def cycles_of_sum_and_dense(dut):
    """A word a cycle; tiles of enough places, or those that start blocks, follow each other in
    max(words, SHARE) cycles."""
    tb = await prepare(dut)
    cfg, words, seen = tb.cfg, tb.cfg.BC_MAX // 4, monitors(dut)
    ratio_w = cfg.RATIO_FRAC + clog2(cfg.KEYS_MAX) - clog2(cfg.COLS) + 1
    limit, period = 10 + -(-ratio_w // 4), max(words, tb.share)
    enough = 2 + -(-limit // period) <= cfg.PLACES
    tiles = 5
    for way in (SUM, DENSE):
        tb.configure(way)
        interleave([whole_block(tb, p, tiles) for p in range(cfg.PLACES)])
        await tb.drain(patience(tb))
        got = seen()
        first = got["m"][::words]
        same("sads tiles", tiles * cfg.PLACES, len(first), way=NAMES[way])
        assert all(got["m"][i * words : (i + 1) * words] == list(range(c, c + words))
                   for i, c in enumerate(first)), "a gap within a tile"
        gaps = [b - a for a, b in zip(first, first[1:], strict=False)]
        # The blocks' ends wait for the division of f.
        steady = gaps[: (tiles - 1) * cfg.PLACES - 1]
        if way == SUM:
            same("sads cycles of masks", [c + 3 for c in got["s"][words * cfg.PLACES :]], got["m"])
            gaps = [b - a for a, b in zip(got["s"][::words], got["s"][words::words], strict=False)]
            steady = gaps[: tiles * cfg.PLACES - 1]
        else:
            same("sads words of scores", [], got["s"])
            # Turn to the first word of masks, empty
            same("sads cycles to the masks", tb.share + 4, first[0] - got["t"][0])
        same("sads cycles between tiles", [period] * (cfg.PLACES - 1), steady[: cfg.PLACES - 1],
             way=NAMES[way])
        assert not enough or steady == [period] * len(steady), steady
        same("sads words of f", cfg.PLACES * tb.share, len(got["f"]), way=NAMES[way])
        same("sads", 0, tb.ev_stall, field="ev_stall")
    tb.finish()


@cocotb.test()
async def passes_of_sort(dut):
    """Passes end with the first that finds no row four keys within the radius."""
    if not value("SORT"):
        return
    tb = await prepare(dut)
    cfg, seen = tb.cfg, monitors(dut)
    full, radius = cfg.BC_MAX, 20
    words = full // 4
    tb.configure(SORT, quota=full)
    for most in (*range(1, 10), full - 1, full):
        # Rows with so many keys within the radius of their best one, and with fewer
        near = np.random.randint(1, most + 1, (cfg.ROWS, 1))
        near[random.randrange(cfg.ROWS)] = most
        place = np.random.random((cfg.ROWS, full)).argsort(axis=1)
        score = np.where(place < near, np.random.randint(100, 101 + radius, place.shape),
                         np.random.randint(-500, 100 - radius, place.shape))
        for _ in whole_block(tb, 0, 1, radius=radius, score=[score]):
            pass
        await tb.drain(patience(tb))
        got = seen()
        passes = min(most // 4 + 1, full // 4)
        same("sads cycles to the masks", passes * (-(-full // 12) + 6) + 4,
             got["m"][0] - got["s"][words - 1], near=most)
    tb.finish()


@cocotb.test()
async def cycles_of_sort(dut):
    """Tile to tile P*(W+6) + 3 cycles, last word of scores to masks one more."""
    if not value("SORT"):
        return
    tb = await prepare(dut)
    cfg, seen = tb.cfg, monitors(dut)
    full = cfg.BC_MAX
    for n, quota in {(full, 1), (full, 4), (full, 5), (full, min(16, full)), (full, full), (4, 4)}:
        if n < cfg.COLS:
            continue
        tb.configure(SORT, quota=quota)
        interleave([whole_block(tb, p, 3, n=n) for p in range(2)])
        await tb.drain(patience(tb))
        got, words = seen(), -(-n // 4)
        passes = -(-min(quota, n) // 4)
        sort = passes * (-(-n // 12) + 6) + 3
        first, last = got["m"][::words], got["s"][words - 1 :: words]
        same("sads tiles, words of f", [6, 2 * tb.share], [len(first), len(got["f"])], quota=quota)
        same("sads cycles to the masks", sort + 1, first[0] - last[0], quota=quota)
        same("sads cycles between tiles", [max(sort, words)] * 5,
             [b - a for a, b in zip(first, first[1:], strict=False)], quota=quota)
        assert all(got["m"][i * words : (i + 1) * words] == list(range(c, c + words))
                   for i, c in enumerate(first)), "a gap within a tile"
        assert quota > 16 or sort < 128
        same("sads cycles of f", list(range(first[4], first[4] + tb.share)), got["f"][: tb.share],
             quota=quota)
    same("sads", 0, tb.ev_stall, field="ev_stall")
    tb.finish()


def simulate(sim, seed, **given):
    run("sofa_sads", __name__, given, sim, seed=seed)


PARAMETERS = ("ROWS", "COLS", "D_MAX", "BC_MAX", "BUS_BYTES", "KEYS_MAX", "PLACES", "SORT")


@pytest.mark.configs("tiny", "small")
@pytest.mark.slow_on("icarus", "small")
def test_sofa_sads(sim, seed, config):
    simulate(sim, seed, **config.pick(*PARAMETERS))


@pytest.mark.configs("tiny")
def test_sofa_sads_without_sort(sim, seed, config):
    simulate(sim, seed, **{**config.pick(*PARAMETERS), "SORT": 0})


@pytest.mark.slow
@pytest.mark.sims("verilator")
@pytest.mark.configs("paper")
def test_sofa_sads_paper(sim, seed, config):
    simulate(sim, seed, **config.pick(*PARAMETERS))


# The smallest tile: one word of 12 slots; one place's number is a bit.
@pytest.mark.sims("icarus")
def test_sofa_sads_smallest(sim, seed):
    simulate(sim, seed, ROWS=8, COLS=8, D_MAX=16, BC_MAX=8, BUS_BYTES=8, KEYS_MAX=64, PLACES=2)


@pytest.mark.parametrize("bad", [
    {"ROWS": 6}, {"COLS": 2}, {"D_MAX": 24}, {"BC_MAX": 128}, {"BUS_BYTES": 128}, {"KEYS_MAX": 100},
    {"SC_FRAC": 9}, {"PLACES": 3}, {"SORT": 2}, {"SUM_FRAC": 5}, {"LEVEL_W": 13}, {"LOG_FRAC": 7},
    {"RATIO_FRAC": 3}, {"F_FRAC": 13},
], ids=lambda bad: next(iter(bad)))
def test_illegal_parameters_are_refused(sim, bad):
    [name] = bad
    with pytest.raises(BuildError, match=f"illegal_parameter_{name}_needs"):
        # With bins Verilator reports what lies below before the module itself.
        build("sofa_sads", bad, sim, bins=False)
