# SPDX-License-Identifier: Apache-2.0
"""sofa_rass: the keys of a part and their rows, straight from the masks; order of items, cycles."""

import random
from itertools import chain, pairwise

import cocotb
import numpy as np
import pytest
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge

from tb.common import coverage
from tb.common.scoreboard import Scoreboard, pack, same, unpack
from tb.common.signals import KnownReader
from tb.common.stream import StreamMonitor, StreamSink, StreamSource, pattern
from tb.common.turns import any_turn
from tb.runner import CLOCK_PERIOD_NS, BuildError, build, parameters, run

KEY, END, HEAD, TAIL = range(4)
FIELDS = {KEY: ("key", "kbase", "vbase", "mask"), END: ("place", "rows", "maddr", "oaddr"),
          HEAD: (), TAIL: ()}
"""Fields of an item of each kind beside its kind; others are 0 but for the addresses."""
ALL = ("kind", *FIELDS[KEY], *FIELDS[END], "shift_k", "shift_v")
ALIAS = {"kbase": "maddr", "vbase": "oaddr"}


class TB:
    """Sends masks, part by part, and compares all items.

    Args:
        idle: share of cycles without a word.
        backpressure: share of cycles in which no item is taken.
        late: no item is taken in so many cycles at the start.
    """

    def __init__(self, dut, idle=0.0, backpressure=0.0, late=0):
        self.dut = dut
        self.rows, self.bc, self.places = (parameters()[n] for n in ("ROWS", "BC_MAX", "PLACES"))
        self.board = Scoreboard(dut._log)
        self.words = StreamSource(dut, "m", dut.clk, dut.rst, seed=random.getrandbits(32),
                                  fields=("first", "last", "mask", "turn"),
                                  idle=pattern(idle, random.getrandbits(32)))
        taken = pattern(backpressure, random.getrandbits(32))
        self.items = StreamSink(dut, "p", dut.clk, dut.rst, callback=self.on_item, fields=ALL,
                                backpressure=chain([(0, late)] if late else [], taken))
        # Every transfer again, for its cycle
        self.came = StreamMonitor(dut, "m", dut.clk, dut.rst, fields=("last",), use_ready=True)
        self.went = StreamMonitor(dut, "p", dut.clk, dut.rst, fields=("kind",), use_ready=True)
        self.counts = dict.fromkeys((KEY, END, HEAD, TAIL), 0)
        self.empty_turns = self.empty_parts = self.lone = 0
        self.ev_key = self.ev_stall = self.waits = self.keys_gone = 0
        self.forget()
        cocotb.start_soon(Clock(dut.clk, CLOCK_PERIOD_NS, unit="ns").start())
        cocotb.start_soon(self.count_events())

    def forget(self):
        self.expected = []
        # Blocks of the job so far; the next item is the first of a KV head
        self.block, self.fresh = 0, True
        self.part_number = 0

    async def reset(self, cycles=3):
        """Empty the block and forget what was expected of it."""
        self.dut.rst.value = 1
        for _ in range(cycles):
            await RisingEdge(self.dut.clk)
        self.forget()
        self.dut.rst.value = 0
        # Sources drop what is queued at an edge of the reset.
        await RisingEdge(self.dut.clk)

    async def count_events(self):
        dut = self.dut
        rst, key, stall, valid, ready = (
            KnownReader(h) for h in (dut.rst, dut.ev_key, dut.ev_stall, dut.p_valid, dut.p_ready))
        while True:
            await RisingEdge(dut.clk)
            if not rst():
                self.ev_key += key()
                self.ev_stall += stall()
                self.waits += valid() and not ready()

    def part(self, tiles, masks, in_turn=None, kvlast=False):
        """Queue the turns of a part and what must come out.

        tiles: (n, k0, kstep) of each turn. masks: bool [blocks, ROWS, n] of each turn; rows of a
        block are as many as its last row that wants anything needs, or more. in_turn: places that
        are taken in turn. kvlast: the last part of a KV head.
        """
        blocks = len(masks[0])
        in_turn = in_turn or self.places
        place = [(self.block + i) % in_turn for i in range(blocks)]
        self.block += blocks
        used = np.stack([m.any(axis=2) for m in masks]).any(axis=0)
        least = [int(np.flatnonzero(u).max(initial=0)) + 1 for u in used]
        rows = [random.choice([n, random.randint(n, self.rows)]) for n in least]
        base = {n: random.getrandbits(48) for n in ("kbase", "vbase")}
        own = [{n: random.getrandbits(48) for n in ("maddr", "oaddr")} for _ in range(blocks)]
        shift_k, shift_v = random.getrandbits(6), random.getrandbits(6)
        if self.fresh:
            self.expect(HEAD, key=shift_v << 6 | shift_k)
        for t, ((n, k0, kstep), mask) in enumerate(zip(tiles, masks, strict=True)):
            assert mask.shape == (blocks, self.rows, n)
            final = t == len(tiles) - 1
            for b in range(blocks):
                last = b == blocks - 1
                turn = any_turn(n=n, rows=rows[b], k0=k0, kstep=kstep, place=place[b],
                                start=not t, final=final, count=0, tile_last=last,
                                kvlast=kvlast and final and last, kg_shift_k=shift_k,
                                kg_shift_v=shift_v, **base, **own[b])
                self.send(mask[b], turn)
            union = np.zeros((n, self.places, self.rows), bool)
            union[:, place] = mask.transpose(2, 0, 1)
            wanted = np.flatnonzero(union.any(axis=(1, 2)))
            self.empty_turns += not len(wanted)
            for slot in wanted:
                self.lone += union[slot].sum() == 1
                self.expect(KEY, key=k0 + int(slot) * kstep, kbase=base["kbase"],
                            vbase=base["vbase"], mask=union[slot])
        self.empty_parts += not used.any()
        coverage.hit("rass.part", "some key" if used.any() else "no key")
        for b in range(blocks):
            self.expect(END, place=place[b], rows=rows[b], maddr=own[b]["maddr"],
                        oaddr=own[b]["oaddr"])
        if kvlast:
            self.expect(TAIL)
        self.fresh = kvlast
        self.part_number += 1

    def send(self, mask, turn):
        """Queue the words of a block, mask bool [ROWS, n]."""
        n = mask.shape[1]
        words = -(-n // 4)
        bits = np.zeros((self.rows, 4 * words), bool)
        bits[:, :n] = mask
        for w in range(words):
            self.words.append({"first": not w, "last": w == words - 1, "turn": turn,
                               "mask": pack(bits[:, 4 * w : 4 * w + 4].T, 1)})

    def expect(self, kind, **fields):
        self.expected.append((self.part_number, kind, fields))

    def on_item(self, item):
        assert self.expected, f"an item of kind {item['kind']} too many"
        number, kind, fields = self.expected.pop(0)
        where = {"part": number}
        mask = item.pop("mask")
        got = unpack(mask, self.places * self.rows, 1).reshape(self.places, self.rows)
        want = {"kind": kind, **{n: fields.get(n, 0) for n in ALL if n not in ("kind", "mask")}}
        for a, b in ALIAS.items():
            want[a] = want[b] = want[a] | want[b]
        want |= {"shift_k": want["key"] & 63, "shift_v": want["key"] >> 6 & 63}
        self.board.compare_fields("item", want, item, where=where)
        self.board.compare("mask", fields.get("mask", np.zeros_like(got, bool)), got,
                           axes=("place", "row"), where=where)
        self.counts[kind] += 1

    async def drain(self, limit):
        """Wait for everything that is expected; fail after ``limit`` cycles."""
        for _ in range(limit):
            await RisingEdge(self.dut.clk)
            if not self.expected and self.words.empty:
                break
        else:
            raise AssertionError(f"{len(self.expected)} items never came")
        # Nothing more may come.
        for _ in range(10):
            await RisingEdge(self.dut.clk)

    def cycles(self):
        """Cycles of all words and of all items since this was last asked."""
        got = self.came.cycles, self.went.cycles
        for monitor in (self.came, self.went):
            monitor.times.clear()
        return got

    def finish(self):
        self.dut._log.info("%d keys, %d of one row; %d ends; %d heads; %d empty turns, %d parts",
                           self.counts[KEY], self.lone, self.counts[END], self.counts[HEAD],
                           self.empty_turns, self.empty_parts)
        same("rass", self.counts[KEY], self.ev_key, field="ev_key")
        same("rass", self.waits, self.ev_stall, field="ev_stall")
        self.board.finish("item", "mask")


async def prepare(dut, **options):
    np.random.seed(random.getrandbits(32))
    dut.rst.value = 1
    tb = TB(dut, **options)
    await tb.reset()
    return tb


# ---------------------------------------------------------------------------------------------
# Parts
# ---------------------------------------------------------------------------------------------
def random_tile(tb):
    """(n, k0, kstep), a tile of any size."""
    n = random.choice([tb.bc, random.randint(1, tb.bc), random.randint(1, min(9, tb.bc))])
    kstep = random.choice([1, random.randint(1, 100), 65536 // n])
    return n, random.randint(0, 131071 - (n - 1) * kstep), kstep


def random_masks(tb, blocks, n):
    """bool [blocks, ROWS, n]: dense, sparse, empty; a lone pair; some blocks or slots alone."""
    shape = (blocks, tb.rows, n)
    share = random.choice([0, 0, 1, 0.5, 1 / n, 0.5 / (blocks * tb.rows)])
    mask = np.random.random(shape) < share
    kind = random.randrange(6)
    if kind == 0:
        mask[:] = False
        mask[random.randrange(blocks), random.randrange(tb.rows), random.randrange(n)] = True
    elif kind == 1:
        mask &= (np.random.random(blocks) < 0.5)[:, None, None]
    elif kind == 2:
        mask &= np.random.random(n) < 0.3
    return mask


def random_job(tb, parts):
    """Queue ``parts`` parts of a job, which ends with that of a KV head."""
    tb.block = 0
    in_turn = random.randint(2, tb.places)
    for last in range(parts - 1, -1, -1):
        blocks = random.randint(1, in_turn)
        tiles = [random_tile(tb) for _ in range(random.choice([1, 1, 2, 3, 6]))]
        masks = [random_masks(tb, blocks, n) for n, _, _ in tiles]
        if random.random() < 0.15:
            masks = [np.zeros_like(m) for m in masks]
        tb.part(tiles, masks, in_turn, kvlast=not last or random.random() < 0.3)


def slowest(tb):
    """Limit of the cycles of what is queued, whatever the gaps."""
    return 20 * (len(tb.words._sendQ) + len(tb.expected)) + 1000


@cocotb.test()
@cocotb.parametrize(idle=[0.0, 0.6], backpressure=[0.0, 0.7])
async def parts(dut, idle, backpressure):
    """Jobs of several KV heads and parts, one after the other."""
    tb = await prepare(dut, idle=idle, backpressure=backpressure)
    for _ in range(6 if tb.rows > 64 else 12):
        random_job(tb, random.randint(1, 6))
    await tb.drain(slowest(tb))
    assert tb.empty_turns and tb.empty_parts and tb.lone and tb.counts[HEAD] > 5
    assert bool(tb.waits) == bool(backpressure)
    tb.finish()


@cocotb.test()
async def by_hand(dut):
    """Two blocks, two turns of five and three slots: the items, written down."""
    tb = await prepare(dut)
    one = np.zeros((2, tb.rows, 5), bool)
    two = np.zeros((2, tb.rows, 3), bool)
    one[0, 1, [0, 4]] = True
    one[1, [0, 3], 4] = True
    two[1, 2, 1] = True
    tb.part([(5, 100, 7), (3, 2, 10)], [one, two], kvlast=True)
    assert [kind for _, kind, _ in tb.expected] == [HEAD, KEY, KEY, KEY, END, END, TAIL]
    assert [f["key"] for _, kind, f in tb.expected if kind == KEY] == [100, 128, 12]
    pairs = [[tuple(map(int, p)) for p in np.argwhere(f["mask"])]
             for _, kind, f in tb.expected if kind == KEY]
    assert pairs == [[(0, 1)], [(0, 1), (1, 0), (1, 3)], [(1, 2)]]
    await tb.drain(200)
    tb.finish()


@cocotb.test()
async def nothing(dut):
    """Parts in which nobody wants anything: only ends come, of one block up to all places."""
    tb = await prepare(dut, backpressure=0.5)
    for blocks in range(1, tb.places + 1):
        tiles = [random_tile(tb) for _ in range(random.randint(1, 3))]
        tb.part(tiles, [np.zeros((blocks, tb.rows, n), bool) for n, _, _ in tiles],
                kvlast=blocks == tb.places)
    await tb.drain(slowest(tb))
    assert not tb.counts[KEY] and tb.counts[END] == tb.places * (tb.places + 1) // 2
    assert tb.counts[HEAD] == tb.counts[TAIL] == 1
    tb.finish()


@cocotb.test()
async def empty_words_do_not_wait(dut):
    """Words that nobody wants pass while an item waits."""
    turns = 6
    tb = await prepare(dut, late=60 + turns * parameters()["BC_MAX"] // 4)
    masks = [np.zeros((1, tb.rows, tb.bc), bool) for _ in range(turns)]
    masks[0][0, 0, 0] = True
    tb.part([(tb.bc, 0, 1)] * turns, masks)
    for _ in range(40 + turns * tb.bc // 4):
        await RisingEdge(dut.clk)
    assert tb.words.empty and not tb.counts[HEAD]
    await tb.drain(200)
    tb.finish()


@cocotb.test()
async def reset_in_the_middle(dut):
    """After a reset at any time it is as new."""
    tb = await prepare(dut, backpressure=0.3)
    for wait in (2, 5, 9, 14, 23, 40, 70, 111):
        random_job(tb, 6)
        for _ in range(wait):
            await RisingEdge(dut.clk)
        await tb.reset()
        random_job(tb, 2)
        await tb.drain(slowest(tb))
    tb.board.finish("item", "mask")


@cocotb.test()
@cocotb.parametrize(cycles=[1, 3])
async def reset_at_every_moment(dut, cycles):
    """A reset, of so many cycles, in each cycle of a part with all kinds of items."""
    tb = await prepare(dut)
    tile = (4, 100, 7)
    for wait in range(200):
        tb.part([tile], [np.ones((tb.places, tb.rows, 4), bool)], kvlast=True)
        for _ in range(wait):
            await RisingEdge(dut.clk)
        over = not tb.expected
        await tb.reset(cycles)
        tb.part([tile] * 2, [random_masks(tb, 2, 4) for _ in range(2)], kvlast=True)
        await tb.drain(200)
        if over:
            break
    # Words, keys, ends, and one each at either end.
    assert over and wait > tb.places + 4 + tb.places + 2
    tb.board.finish("item", "mask")


# ---------------------------------------------------------------------------------------------
# Cycles
# ---------------------------------------------------------------------------------------------
def reading(counts):
    """Cycles to read words of which so many slots are wanted: an item is read when the one before
    moves on, leaves two cycles later, or two behind that one, and a word that nobody wants passes
    in a cycle."""
    now = left = 0
    for wanted in counts:
        for _ in range(wanted):
            now = max(now + 1, left - 1)
            left = max(now + 2, left + 2)
        now += not wanted
    return now


@cocotb.test()
async def cycles(dut):
    """Latency and rates of the header."""
    tb = await prepare(dut)
    bc, words = tb.bc, tb.bc // 4
    whole = (bc, 5, 3)

    def ones(blocks, *slots):
        """A turn in which every row wants all, or these slots."""
        mask = np.zeros((blocks, tb.rows, bc), bool)
        mask[:, :, list(slots) or slice(None)] = True
        return mask

    # One key in the first word: HEAD, key; then without HEAD.
    for first in (True, False):
        tb.part([whole], [ones(1, 2)], kvlast=not first)
        await tb.drain(200)
        came, went = tb.cycles()
        same("rass cycles to the first item", 4, went[0] - came[-1])
        # HEAD, the key; the other words, beside it and behind; the end
        want = 2 + max(2, words - 1) if first else max(2, words) + 2
        same("rass cycles of the items", want, went[-1] - went[0])

    # Dense parts, one behind the other, of so few blocks that the ends of two parts find room: an
    # item every other cycle.
    for blocks in {1, min(2, tb.places // 2)}:
        for kvlast in (False, True, False, True):
            tb.part([whole] * 3, [ones(blocks)] * 3, kvlast=kvlast)
        number = len(tb.expected)
        assert number == 12 * bc + 4 * blocks + 4
        await tb.drain(3 * number)
        _, went = tb.cycles()
        same("rass items, their cycles", [number, 2 * number - 2],
             [len(went), went[-1] - went[0]])

    # Words that nobody wants, read behind a dense turn: a cycle each, the first beside an item.
    tb.part([whole] * 2, [ones(1), ones(1, bc - 1)])
    await tb.drain(200 + 3 * bc)
    _, went = tb.cycles()
    gaps = [b - a for a, b in pairwise(went)]
    # HEAD and the keys of the dense turn; the key of the other; the end
    same("rass cycles between items", [2] * bc + [max(2, words - 1), 2], gaps)
    # Turns in a steady state, from few wanted slots to all, from one block to all places.
    turns = 12
    for blocks in range(1, tb.places + 1):
        for wanted in (1, words, bc // 2, bc):
            slots = sorted(random.sample(range(bc), wanted))
            tb.part([whole] * turns, [ones(blocks, *slots)] * turns)
            await tb.drain(2000 + 2 * turns * (bc + blocks * words))
            _, went = tb.cycles()
            counts = [sum(s // 4 == w for s in slots) for w in range(words)]
            read, alone = reading(4 * counts) - reading(3 * counts), reading(counts)
            write = blocks * words
            # The first cycles of the part, HEAD among them, may take what they want.
            went = went[-(turns * wanted + blocks):]
            half, all_of_it = went[turns // 2 * wanted], went[(turns - 2) * wanted]
            period = max(2 * write, 2 * read, write + alone + 2)
            assert all_of_it - half == period * (turns - 2 - turns // 2) // 2, (blocks, wanted)
    same("rass", 0, tb.ev_stall, field="ev_stall")
    tb.finish()


def simulate(sim, seed, config):
    run("sofa_rass", __name__, config.pick("ROWS", "BC_MAX", "PLACES"), sim, seed=seed)


@pytest.mark.configs("tiny", "small")
def test_sofa_rass(sim, seed, config):

    simulate(sim, seed, config)


@pytest.mark.slow
@pytest.mark.sims("verilator")
@pytest.mark.configs("paper")
def test_sofa_rass_paper(sim, seed, config):

    simulate(sim, seed, config)


# Fewest places and slots; most places of few rows.
@pytest.mark.sims("icarus")
@pytest.mark.parametrize("given", [{"ROWS": 4, "BC_MAX": 8, "PLACES": 2},
                                   {"ROWS": 8, "BC_MAX": 64, "PLACES": 8}], ids=["least", "most"])
def test_sofa_rass_ends(sim, seed, given):
    run("sofa_rass", __name__, given, sim, seed=seed)


@pytest.mark.parametrize("bad", [{"ROWS": 6}, {"ROWS": 256}, {"BC_MAX": 4}, {"BC_MAX": 48},
                                 {"PLACES": 16}, {"PLACES": 6}],
                         ids=lambda bad: "-".join(map(str, *bad.items())))
def test_illegal_parameters_are_refused(sim, bad):
    [name] = bad
    with pytest.raises(BuildError, match=f"illegal_parameter_{name}_needs"):
        build("sofa_rass", bad, sim)
