# SPDX-License-Identifier: Apache-2.0
"""sofa_sads_sum against models.sads: masks, shares, cycles; turns of blocks interleave."""

import copy
import random

import cocotb
import numpy as np
import pytest
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge

from models import sads
from models.config import Config, clog2
from models.head import HeadTable, Job, select, turns
from models.tiling import EXACT, Tile, allowed
from tb.common import samples
from tb.common.scoreboard import Scoreboard, pack, same, unpack
from tb.common.signals import KnownReader
from tb.common.stream import StreamMonitor, StreamSink, StreamSource, Willing, pattern
from tb.common.windows import with_window
from tb.runner import CLOCK_PERIOD_NS, BuildError, build, parameters, run

DEFAULTS = {"SUM_FRAC": 12, "LEVEL_W": 10, "LOG_FRAC": 4, "RATIO_FRAC": 8, "F_FRAC": 8, "BC_MIN": 4}
"""Parameters that not every simulation sets."""

TURN = ("place", "start", "count", "final", "n", "rows", "causal", "rel", "kstep", "window",
        "exact", "ratio", "tau", "octave", "user")


def value(name):
    """A Verilog parameter of this simulation."""
    return parameters().get(name, DEFAULTS.get(name))


def make_config():
    """The model's Config for the parameters of this simulation; its other fields do not matter."""
    widths = {n: value(n) for n in ("SUM_FRAC", "LEVEL_W", "LOG_FRAC", "RATIO_FRAC", "F_FRAC")}
    return Config(ROWS=value("ROWS"), COLS=4, D_MAX=16, BC_MAX=value("BC_MAX"), BUS_BYTES=8,
                  KEYS_MAX=value("KEYS_MAX"), **widths)


class Block:
    """Rows of a block, turn after turn, as models.sads computes them.

    tau, octave of the block; exact: first rows that keep everything. What has happened is counted:
    keys at the limit, rises beyond all octaves that count, rows that saw no key.
    """

    def __init__(self, cfg, tau, octave, exact):
        self.cfg, self.tau, self.octave = cfg, tau, octave
        self.everything = np.arange(cfg.ROWS) < exact
        self.exact = exact
        self.sums = sads.start(cfg.ROWS)
        self.ratio = 1 << cfg.RATIO_FRAC
        self.fresh = True
        self.at_limit = self.risen = 0

    @property
    def least(self):
        """Limit of the next turn, int64 [ROWS]; EVERY where all is kept."""
        least = sads.limit(self.sums, self.ratio, self.tau, self.cfg)
        return np.where(self.everything | self.fresh, sads.EVERY, least)

    def turn(self, score, seen, count, final, ratio):
        """Masks bool [ROWS, n] of a turn, score int and seen bool [ROWS, n]; ratio: for the turn
        that comes next."""
        cfg, level = self.cfg, sads.levels(score, self.octave, self.cfg.LEVEL_W)
        least, before = self.least, self.sums.peak.copy()
        self.at_limit += int((seen & (level == least[:, None])).sum())
        mask, none = seen & (level >= least[:, None]) & (not count), np.zeros_like(seen)
        if final:
            assert self.ratio == 1 << cfg.RATIO_FRAC
            sads.count_last(self.sums, level, mask, none, cfg)
        else:
            sads.count(self.sums, level, seen, mask, none, cfg)
        rise = self.sums.peak - before
        self.risen += int(((rise > cfg.SUM_FRAC) & (before > sads.NO_PEAK)).sum())
        self.ratio, self.fresh = ratio, False
        return mask

    def scores(self, n):
        """Scores int [ROWS, n] of a tile, of any kind: wide, tied, around the peak and the limit,
        rising by a little or beyond all that counts, at the ends of the range and of the
        levels."""
        cfg, shape = self.cfg, (self.cfg.ROWS, n)
        top = 1 << value("SC_W") - 1
        low, high = -top >> self.octave, (top - 1) >> self.octave
        end = 1 << cfg.LEVEL_W - 1
        middle = np.where(self.sums.peak > sads.NO_PEAK, self.sums.peak,
                          np.random.randint(max(low, -end - 2), min(high, end + 2) + 1, cfg.ROWS)
                          )[:, None]
        below = np.random.randint(0, cfg.SUM_FRAC + 4, shape)
        kind = np.random.choice(7, shape[:1], p=[.3, .2, .15, .1, .1, .05, .1])[:, None]
        limit = self.least[:, None]
        limit = np.where((limit < low) | (limit > high), middle, limit)
        level = np.select(
            [kind == k for k in range(7)],
            [middle - below,
             limit + np.random.randint(-1, 2, shape),
             middle + 1 - below,
             np.broadcast_to(middle - np.random.randint(0, 3, shape[:1])[:, None], shape),
             np.random.randint(low, high + 1, shape),
             np.random.choice(
                 [low, low + 1, -end - 1, -end, 0, end - 1, end, high - 1, high], shape),
             middle - below + (np.random.random(shape) < 1 / 8)
             * np.random.randint(1, cfg.SUM_FRAC + 8, shape)])
        level = np.clip(level, low, high)
        return (level << self.octave) + np.random.randint(0, 1 << self.octave, shape)


class TB:
    """Sends turns and words, and compares masks and shares.

    Args:
        idle: share of cycles without a word, and of those without a turn.
        backpressure: share of cycles in which masks, and in which shares are not taken.
    """

    def __init__(self, dut, idle=0.0, backpressure=0.0):
        self.dut, self.cfg = dut, make_config()
        self.share = value("SHARE")
        self.groups = self.cfg.ROWS // self.share
        self.board = Scoreboard(dut._log)

        def willing(share):
            return pattern(share, random.getrandbits(32))

        reset = dut.rst
        self.turns = StreamSource(dut, "t", dut.clk, reset, fields=TURN, idle=willing(idle / 2),
                                  seed=random.getrandbits(32))
        self.words = StreamSource(dut, "s", dut.clk, reset, fields=("last", "scores"),
                                  idle=willing(idle), seed=random.getrandbits(32))
        self.masks = StreamSink(dut, "m", dut.clk, reset, callback=self.on_masks,
                                fields=("first", "last", "mask", "user"),
                                backpressure=willing(backpressure))
        self.shares = StreamSink(dut, "f", dut.clk, reset, callback=self.on_share,
                                 fields=("last", "word", "place", "data", "user"),
                                 backpressure=willing(backpressure))
        self.expected_masks, self.expected_shares = [], []
        self.sent = self.tiles = 0
        self.at_limit = self.risen = 0
        self.busy, self.stall = KnownReader(dut.ev_busy), KnownReader(dut.ev_stall)
        self.ev_busy = self.ev_stall = 0
        cocotb.start_soon(Clock(dut.clk, CLOCK_PERIOD_NS, unit="ns").start())
        cocotb.start_soon(self.count_events())

    async def reset(self):
        """Empty the block and forget what was expected of it."""
        self.dut.rst.value = 1
        for _ in range(3):
            await RisingEdge(self.dut.clk)
        self.expected_masks, self.expected_shares = [], []
        self.dut.rst.value = 0

    async def count_events(self):
        """Sums of events: busy where a word is taken, a stall only where one waits."""
        valid, ready = KnownReader(self.dut.s_valid), KnownReader(self.dut.s_ready)
        while True:
            await RisingEdge(self.dut.clk)
            if not int(self.dut.rst.value):
                busy, stall = self.busy(), self.stall()
                same("sads_sum", bool(valid() and ready()), bool(busy), field="ev_busy")
                assert not stall or valid() and not ready(), "a stall, and no word waits"
                self.ev_busy += busy
                self.ev_stall += stall

    def send(self, block, tile, place, *, start=False, count=False, final=False, ratio=0,
             score=None):
        """Queue a turn of ``block`` and what must come out; returns (score, masks) [rows, n].

        ratio: for the turn that comes next.
        """
        cfg, n = self.cfg, tile.n
        user = random.getrandbits(value("USER_W"))
        score = block.scores(n) if score is None else score
        seen = tile.allowed(cfg.ROWS)
        mask = block.turn(score, seen, count, final, ratio)
        self.turns.append({
            "place": place, "start": start, "count": count, "final": final, "n": n,
            "rows": tile.rows, "causal": tile.causal, "rel": tile.rel & 0x1FFFFFF,
            "kstep": tile.kstep, "window": tile.window, "exact": block.exact, "ratio": ratio,
            "tau": block.tau & (1 << 7 + cfg.LOG_FRAC) - 1, "octave": block.octave, "user": user})
        words = -(-n // 4)
        # Slots and rows that do not exist have any score.
        wide = np.random.randint(-(1 << value("SC_W") - 1), 1 << value("SC_W") - 1,
                                 (cfg.ROWS, 4 * words))
        wide[:tile.rows, :n] = score[:tile.rows]
        bits = np.zeros((cfg.ROWS, 4 * words), bool)
        bits[:, :n] = mask
        for w in range(words):
            part = slice(4 * w, 4 * w + 4)
            self.words.append({"last": w == words - 1,
                               "scores": pack(wide[:, part], value("SC_W"))})
            if not count:
                self.expected_masks.append((self.sent, w, w == 0, w == words - 1, user,
                                            bits[:, part].T))
        if final:
            f, _ = sads.shares(block.sums, block.everything, cfg)
            for w in range(self.share):
                self.expected_shares.append((self.sent, w, place, user,
                                             f[w * self.groups : (w + 1) * self.groups]))
            self.at_limit += block.at_limit
            self.risen += block.risen
        self.sent += 1
        return score[:tile.rows], mask[:tile.rows]

    def on_masks(self, item):
        assert self.expected_masks, "masks of no tile"
        tile, word, first, last, user, mask = self.expected_masks.pop(0)
        where = {"tile": tile, "word": word}
        self.board.compare_fields("tile", {"first": first, "last": last, "user": user}, item,
                                  where=where)
        got = unpack(item["mask"], mask.size, 1).reshape(mask.shape)
        self.board.compare("masks", mask, got, axes=("lane", "row"), where=where)
        self.tiles += last

    def on_share(self, item):
        assert self.expected_shares, "shares of no block"
        tile, word, place, user, f = self.expected_shares.pop(0)
        where = {"tile": tile}
        self.board.compare_fields("block", {"word": word, "place": place, "user": user,
                                            "last": word == self.share - 1}, item, where=where)
        got = unpack(item["data"], self.groups, self.cfg.F_FRAC + 1)
        self.board.compare("f", f, got, axes=("row",), where={**where, "row": word * self.groups})

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
        self.dut._log.info("%d turns, %d keys at the limit, %d rises beyond all octaves", self.sent,
                           self.at_limit, self.risen)
        self.board.finish("tile", "masks", "block", "f")


async def prepare(dut, **options):
    np.random.seed(random.getrandbits(32))
    dut.rst.value = 1
    tb = TB(dut, **options)
    await tb.reset()
    return tb


# ---------------------------------------------------------------------------------------------
# Blocks of heads
# ---------------------------------------------------------------------------------------------
def random_job(cfg):
    """Settings of a job with one head: Job, query rows, keys."""
    sizes = [bc for bc in (4, 8, 16, 32, 64) if value("BC_MIN") <= bc <= cfg.BC_MAX]
    causal, bc = random.random() < 0.7, random.choice(sizes)
    octave = random.choice([0, 1, 3, random.randrange(value("SC_W"))])
    frac = 1 << cfg.LOG_FRAC
    tau = -random.choice([0, 32 * frac, random.randint(0, 14 * frac), random.randint(0, 5 * frac)])
    keys = random.randint(1, min(random.choice([1, 3, 6]) * bc, cfg.KEYS_MAX))
    rows = random.randint(1, 3 * cfg.ROWS)
    offset = random.choice([0, max(keys - rows, 0), random.randint(0, 40), 65000])
    if not causal:
        offset = 0
    job = Job(d=8, bc=bc, table=(HeadTable(0, 0, octave, tau),), band=random.randint(1, 3),
              fall=random.choice([0, random.randint(0, 255)]), causal=causal, offset=offset,
              interleaved=random.random() < 0.5)
    return with_window(job, rows, keys, cfg), rows, keys


def block_turns(tb, place, job, band, block):
    """Send the turns of a block one by one, as a generator; at the end its scores, tile by tile,
    are given to the model's own walk over the tiles."""
    cfg, entry = tb.cfg, job.table[0]
    tau = sads.block_threshold(entry.tau, job.fall, block.length, cfg)
    exact = min(max(EXACT - job.offset - block.row, 0), block.n) if job.causal else 0
    state = Block(cfg, tau, entry.octave, exact)
    shift, tiles = block.row - band.row, len(band.tiles)
    score, masks = [None] * tiles, [None] * tiles
    counted = 0
    for t, chosen in turns(tiles, job):
        of = band.tiles[t]
        tile = Tile(n=of.n, rows=block.n, first=False, last=False, causal=of.causal,
                    rel=of.rel - shift, kstep=of.kstep, k0=0, window=of.window)
        final = score[t] is not None
        counted += not final
        ratio = random.getrandbits(cfg.RATIO_FRAC) if final else sads.extrapolation(
            tiles, counted, cfg)
        again = None
        if final:
            again = np.zeros((cfg.ROWS, of.n), np.int64)
            again[: block.n] = score[t]
        score[t], masks[t] = tb.send(state, tile, place, start=counted == 1 and not final,
                                     count=not chosen, final=final, ratio=ratio, score=again)
        yield
    seen = [allowed(tile, band, block) for tile in band.tiles]
    want = select(score, seen, block, entry, job, cfg)
    for t in range(tiles):
        tb.board.compare("select", want.masks[t], masks[t], axes=("row", "slot"), where={"tile": t})
    got = sads.shares(state.sums, state.everything, cfg)[0][: block.n]
    tb.board.compare("select", want.f, got, axes=("row",))
    samples.selection(score, seen, want, block, entry, job, cfg)


def random_blocks(tb, number):
    """Send ``number`` blocks of heads, so many at a time as there are places, their turns in turn,
    in any order, or block after block."""
    cfg, places = tb.cfg, value("PLACES")
    waiting, running = [], {}
    while number or running:
        free = [p for p in range(places) if p not in running]
        while free and number:
            if not waiting:
                job, rows, keys = random_job(cfg)
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


BLOCKS = 40
"""Blocks of one test of blocks_of_heads."""


@cocotb.test()
@cocotb.parametrize(idle=[0.0, 0.5], backpressure=[0.0, 0.7])
async def blocks_of_heads(dut, idle, backpressure):
    """Blocks of random jobs under every mix of idle input and slow output."""
    tb = await prepare(dut, idle=idle, backpressure=backpressure)
    random_blocks(tb, BLOCKS)
    words = sum(1 for _ in tb.words._sendQ)
    await tb.drain(20 * words + 60 * tb.sent + 40 * BLOCKS * tb.share)
    tb.finish()
    same("sads_sum", words, tb.ev_busy, field="ev_busy")
    assert tb.at_limit >= 20 and tb.risen, (tb.at_limit, tb.risen)


# ---------------------------------------------------------------------------------------------
# Fields at the ends of their ranges
# ---------------------------------------------------------------------------------------------
def hostile_tile(cfg):
    """Any visibility, also what no sequencer makes; of ten tiles one with the largest position."""
    if random.random() < 0.1:
        end = (1 << 24) - 1
        return Tile(n=cfg.BC_MAX, rows=cfg.ROWS, first=False, last=False, causal=False, k0=0,
                    rel=end, kstep=end, window=end)
    n = random.choice([1, 4, cfg.BC_MAX, random.randint(1, cfg.BC_MAX)])
    return Tile(n=n, rows=random.choice([0, 1, cfg.ROWS, random.randint(0, cfg.ROWS)]),
                first=False, last=False, causal=random.random() < 0.6, k0=0,
                rel=random.choice([-1 << 24, (1 << 24) - 1, random.randint(-1 << 24, (1 << 24) - 1),
                                   random.randint(-2 * n, cfg.ROWS), 0]),
                kstep=random.choice([0, 1, 2, (1 << 24) - 1, random.randrange(1 << 24)]),
                window=random.choice([0, 0, 1, cfg.ROWS, random.randrange(1 << 24)]))


def most_ratio(block, score, seen, most):
    """The largest ratio, ``most`` at most, with which the sum of every row still fits when it has
    counted a tile."""
    cfg, sums = block.cfg, block.sums
    after, none = copy.deepcopy(sums), np.zeros_like(seen)
    sads.count(after, sads.levels(score, block.octave, cfg.LEVEL_W), seen, none, none, cfg)
    more = int(after.total.max()) - (1 << cfg.SUM_FRAC)
    room = (1 << cfg.SUM_W) - 1 - (1 << cfg.SUM_FRAC)
    return most if more <= 0 else min(most, (room << cfg.RATIO_FRAC) // more)


def hostile_block(tb, place):
    """Turns of a block with thresholds, ratios and octaves of any size, one by one. Some begin with
    a turn that selects, or count more than one; these end without a final turn."""
    cfg = tb.cfg
    far, one = 64 << cfg.LOG_FRAC, 1 << cfg.RATIO_FRAC
    most = one * (cfg.KEYS_MAX // value("BC_MIN"))
    tau = random.choice([-far, far - 1, random.randrange(-far, far), 0, -(3 << cfg.LOG_FRAC)])
    exact = random.choice([0, 0, 1, cfg.ROWS, random.randint(0, cfg.ROWS)])
    octave = random.choice([0, value("SC_W") - 1, random.randrange(value("SC_W"))])
    block = Block(cfg, tau, octave, exact)
    counts = [random.random() < 0.8, *(random.random() < 0.3 for _ in range(random.randint(0, 5)))]
    first = None
    for i, count in enumerate(counts):
        tile = hostile_tile(cfg)
        score = block.scores(tile.n)
        first = first or (tile, score)
        top = most_ratio(block, score, tile.allowed(cfg.ROWS), most)
        ratio = random.choice([0, top, random.randint(0, top)])
        if i + 1 == len(counts) and counts[0]:
            ratio = one
        tb.send(block, tile, place, start=i == 0, count=count, ratio=ratio, score=score)
        yield
    if counts[0]:
        tb.send(block, first[0], place, final=True, ratio=random.randrange(most), score=first[1])
        yield


@cocotb.test()
async def hostile_turns(dut):
    """Positions, thresholds, ratios, octaves and kinds of turns at the ends of their ranges."""
    tb = await prepare(dut, idle=0.1)
    running = {}
    for _ in range(200):
        place = random.randrange(value("PLACES"))
        running.setdefault(place, hostile_block(tb, place))
        if next(running[place], tb) is tb:
            del running[place]
    for turn in running.values():
        for _ in turn:
            pass
    words = len(tb.words._sendQ)
    await tb.drain(20 * words + 60 * tb.sent + 1000 + 200 * 10 * tb.share)
    tb.finish()


@cocotb.test()
async def places_started_again(dut):
    """Blocks that end early: what a place held, and limits that are still on their way to it, are
    forgotten."""
    tb = await prepare(dut)
    cfg, one = tb.cfg, 1 << tb.cfg.RATIO_FRAC
    for number in range(16):
        tile = Tile(n=random.randint(1, 4), rows=cfg.ROWS, first=True, last=True, causal=False,
                    rel=0, kstep=1, k0=0)
        for tau in (0, -(60 << cfg.LOG_FRAC), -(3 << cfg.LOG_FRAC))[number % 3 :]:
            block = Block(cfg, tau, 0, 0)
            score, _ = tb.send(block, tile, 0, start=True, count=True, ratio=one)
        tb.send(block, tile, 0, ratio=one)
        tb.send(block, tile, 0, final=True, score=score)
    await tb.drain(16 * 60 * tb.share)
    tb.finish()


@cocotb.test()
async def most_keys(dut):
    """As many keys as there may be, all at the peak: the largest sums, which are kept while the
    next block is loaded."""
    tb = await prepare(dut)
    cfg, one = tb.cfg, 1 << tb.cfg.RATIO_FRAC
    if cfg.KEYS_MAX > 4096:
        return

    def tile(n):
        return Tile(n=n, rows=cfg.ROWS, first=True, last=True, causal=False, rel=0, kstep=1, k0=0)

    def peaks(n):
        return np.full((cfg.ROWS, n), 5)

    # The last turn is one word, which is there before the states of the next block are.
    block, other = (Block(cfg, -(4 << cfg.LOG_FRAC), 0, 0) for _ in range(2))
    tb.send(block, tile(4), 0, start=True, count=True, ratio=one, score=peaks(4))
    for n in [cfg.BC_MAX - 4] + [cfg.BC_MAX] * (cfg.KEYS_MAX // cfg.BC_MAX - 1):
        tb.send(block, tile(n), 0, ratio=one, score=peaks(n))
    tb.send(block, tile(4), 0, final=True, score=peaks(4))
    assert (block.sums.kept == cfg.KEYS_MAX << cfg.SUM_FRAC).all()
    score, _ = tb.send(other, tile(cfg.BC_MAX), 1, start=True, count=True, ratio=one)
    tb.send(other, tile(cfg.BC_MAX), 1, final=True, score=score)
    await tb.drain(100 * tb.sent * tb.share + 40 * cfg.KEYS_MAX)
    tb.finish()


@cocotb.test()
async def shares_wait(dut):
    """Blocks of one tile, whose shares are taken late: nothing is lost, in any order."""
    tb = await prepare(dut, backpressure=0.95)
    cfg = tb.cfg
    for number in range(12):
        block = Block(cfg, -(2 << cfg.LOG_FRAC), 0, random.choice([0, 1]))
        tile = Tile(n=cfg.BC_MAX, rows=cfg.ROWS, first=True, last=True, causal=False, rel=0,
                    kstep=1, k0=0)
        score, _ = tb.send(block, tile, number % value("PLACES"), start=True, count=True,
                           ratio=1 << cfg.RATIO_FRAC)
        tb.send(block, tile, number % value("PLACES"), final=True, score=score)
    await tb.drain(12 * 60 * (tb.share + cfg.BC_MAX))
    tb.finish()
    assert tb.ev_stall or cfg.BC_MAX < 16, "masks never waited"


@cocotb.test()
async def counting_does_not_wait(dut):
    """A tile that is only counted needs no room for masks."""
    tb = await prepare(dut)
    cfg = tb.cfg
    tb.masks._willing = Willing(iter([(0, 100 * tb.share)]))
    key = Tile(n=1, rows=cfg.ROWS, first=True, last=True, causal=False, rel=0, kstep=1, k0=0)
    one = 1 << cfg.RATIO_FRAC
    blocks = [Block(cfg, 0, 0, 0) for _ in range(3)]
    tb.send(blocks[2], key, 1, start=True, count=True, ratio=one)
    tb.send(blocks[0], key, 0, start=True, count=True, ratio=one)
    # As many words as have room.
    for _ in range(4):
        tb.send(blocks[0], key, 0, ratio=one)
    tile = Tile(n=cfg.BC_MAX, rows=cfg.ROWS, first=True, last=True, causal=False, rel=0, kstep=1,
                k0=0)
    score, _ = tb.send(blocks[1], tile, value("PLACES") - 1, start=True, count=True, ratio=one)
    # One more, which has none, of a place whose states are loaded meanwhile.
    tb.send(blocks[2], key, 1, ratio=one)
    while tb.words.sent < 6 + cfg.BC_MAX // 4:
        await RisingEdge(dut.clk)
    for _ in range(2 * tb.share):
        await RisingEdge(dut.clk)
    assert not tb.tiles, "masks were taken too early"
    assert tb.words.sent == 6 + cfg.BC_MAX // 4, "a word has no room for its masks"
    tb.send(blocks[1], tile, value("PLACES") - 1, final=True, score=score)
    await tb.drain(200 * tb.share)
    same("sads_sum tiles", 6, tb.tiles)
    tb.finish()


@cocotb.test()
async def reset_in_the_middle(dut):
    """After a reset at any time it is as new."""
    tb = await prepare(dut, backpressure=0.3)
    for wait in (2, 5, 11, 23, 40, 70, 111, 160):
        random_blocks(tb, 6)
        for _ in range(wait):
            await RisingEdge(dut.clk)
        await tb.reset()
        random_blocks(tb, 3)
        words = len(tb.words._sendQ)
        await tb.drain(20 * words + 10000)
    tb.finish()


# ---------------------------------------------------------------------------------------------
# Cycles
# ---------------------------------------------------------------------------------------------
@cocotb.test()
async def cycles(dut):
    """Latencies and the rate of the header."""
    tb = await prepare(dut)
    cfg, share, places = tb.cfg, tb.share, value("PLACES")
    words, quotient = cfg.BC_MAX // 4, -(-cfg.F_FRAC // 2)
    div = max(quotient, 4)
    ratio_w = cfg.RATIO_FRAC + clog2(cfg.KEYS_MAX) - clog2(value("BC_MIN")) + 1
    limit = 10 + -(-ratio_w // 4)
    one = 1 << cfg.RATIO_FRAC
    whole = Tile(n=cfg.BC_MAX, rows=cfg.ROWS, first=True, last=True, causal=False, rel=0, kstep=1,
                 k0=0)
    ends = {n: StreamMonitor(dut, n, dut.clk, dut.rst, fields=fields, use_ready=True)
            for n, fields in (("t", ("place",)), ("s", ("last",)), ("m", ("last",)),
                              ("f", ("last",)))}

    def seen(name):
        """Cycles of all transfers of a stream since this was last asked."""
        monitor = ends[name]
        got = monitor.cycles
        monitor.times.clear()
        return got

    def block():
        return Block(cfg, -(4 << cfg.LOG_FRAC), 2, 0)

    # A block of one tile, alone.
    state = block()
    score, _ = tb.send(state, whole, 0, start=True, count=True, ratio=one)
    tb.send(state, whole, 0, final=True, score=score)
    await tb.drain(2000)
    t, s, m, f = (seen(n) for n in "tsmf")
    same("sads_sum cycles to the word", share + 1, s[0] - t[0])
    same("sads_sum cycles of a tile", [words - 1] * 2,
         [s[words - 1] - s[0], s[-1] - s[words]])
    same("sads_sum cycles to the next tile", share + max(share, limit) + 1,
         s[words] - s[words - 1])
    same("sads_sum cycles of masks", [c + 3 for c in s[words:]], m)
    same("sads_sum cycles to f", 6 + quotient, f[0] - s[-1])
    same("sads_sum cycles between f", [div + 1] * (share - 1),
         [b - a for a, b in zip(f, f[1:], strict=False)])
    # A block that starts waits for nothing of its place.
    tb.send(state, whole, 0, ratio=one)
    tb.send(block(), whole, 0, start=True, count=True, ratio=one)
    await tb.drain(2000)
    s = seen("s")
    same("sads_sum cycles to the next block", max(words, share), s[words] - s[0])
    seen("t"), seen("m")
    # Its store, of which nothing is seen.
    for _ in range(share + limit):
        await RisingEdge(dut.clk)

    # Blocks in turn: as many as it takes that a place's limits are written when it comes again.
    period = max(words, share)
    number = max(3, 2 + -(-limit // period))
    assert number <= places, "too few places for this test"
    blocks = [block() for _ in range(number)]
    tiles = 5
    for i in range(tiles):
        for place, state in enumerate(blocks):
            tb.send(state, whole, place, start=i == 0, count=i == 0, ratio=one)
    await tb.drain(4000)
    t, s, m, f = (seen(n) for n in "tsmf")
    same("sads_sum words of f, s", [0, tiles * number * words], [len(f), len(s)])
    first = s[::words]
    same("sads_sum cycles between tiles", {period},
         {b - a for a, b in zip(first, first[1:], strict=False)})
    same("sads_sum cycles of masks", [c + 3 for c in s[number * words:]], m)
    same("sads_sum", 0, tb.ev_stall, field="ev_stall")
    # Their ends, of one word each: a store with f takes longer than a tile.
    score = np.full((cfg.ROWS, 1), -1 << value("SC_W") - 1)
    key = Tile(n=1, rows=cfg.ROWS, first=True, last=True, causal=False, rel=0, kstep=1, k0=0)
    for place, state in enumerate(blocks):
        tb.send(state, key, place, final=True, score=score)
    await tb.drain(4000)
    s, f = seen("s"), seen("f")
    store = (share - 1) * (div + 1) + 1
    gaps = [b - a for a, b in zip(s, s[1:], strict=False)]
    assert gaps[1:] == [store, *[store + quotient + 5] * (number - 3)], (gaps, store)
    same("sads_sum words of f", number * share, len(f))
    tb.finish()


def simulate(sim, seed, **given):
    run("sofa_sads_sum", __name__, {"USER_W": 9, **given}, sim, seed=seed)


@pytest.mark.configs("tiny", "small")
@pytest.mark.slow_on("icarus", "small")
def test_sads_sum(sim, seed, config):
    from models.config import Config as Model

    share = {"tiny": 4, "small": 8}[config.name]
    simulate(sim, seed, **config.pick("ROWS", "BC_MAX", "KEYS_MAX"), BC_MIN=config["COLS"],
             SC_W=Model.from_name(config.name).SC_W, PLACES=6, SHARE=share)


@pytest.mark.slow
@pytest.mark.sims("verilator")
@pytest.mark.configs("paper")
def test_sads_sum_paper(sim, seed, config):
    from models.config import Config as Model

    simulate(sim, seed, **config.pick("ROWS", "BC_MAX", "KEYS_MAX"), BC_MIN=config["COLS"],
             SC_W=Model.from_name(config.name).SC_W, PLACES=12, SHARE=16)


# Every width at one end of its range; one group; a place that no address bit is needed for. The
# widest has divisions that take longer than a row takes to the divider.
@pytest.mark.slow_on("verilator")
@pytest.mark.parametrize("given", [
    {"ROWS": 8, "SC_W": 32, "LEVEL_W": 12, "SUM_FRAC": 16, "LOG_FRAC": 6, "RATIO_FRAC": 12,
     "F_FRAC": 12, "KEYS_MAX": 65536, "BC_MAX": 16, "PLACES": 7, "SHARE": 4},
    {"ROWS": 8, "SC_W": 8, "LEVEL_W": 8, "SUM_FRAC": 6, "LOG_FRAC": 0, "RATIO_FRAC": 4,
     "F_FRAC": 5, "KEYS_MAX": 64, "BC_MAX": 8, "BC_MIN": 8, "PLACES": 6, "SHARE": 8,
     "USER_W": 1},
], ids=["widest", "narrowest"])
def test_sads_sum_ends(sim, seed, given):
    simulate(sim, seed, **given)


@pytest.mark.parametrize("bad", [
    {"ROWS": 6}, {"SC_W": 7}, {"LEVEL_W": 7}, {"LEVEL_W": 19}, {"SUM_FRAC": 5}, {"LOG_FRAC": 7},
    {"RATIO_FRAC": 3}, {"F_FRAC": 13}, {"KEYS_MAX": 100}, {"BC_MAX": 128},
    {"BC_MIN": 2}, {"PLACES": 65}, {"SHARE": 2}, {"USER_W": 0},
], ids=lambda bad: next(iter(bad)))
def test_illegal_parameters_are_refused(sim, bad):
    [name] = bad
    with pytest.raises(BuildError, match=f"illegal_parameter_{name}_needs"):
        build("sofa_sads_sum", bad, sim)
