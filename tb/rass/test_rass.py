# SPDX-License-Identifier: Apache-2.0
"""RASS stage against models.rass: phases, their keys and lists, rings, cycles."""

import random
from itertools import chain
from types import SimpleNamespace

import cocotb
import numpy as np
import pytest
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge

from models.rass import key_order, needs, schedule
from models.sads import Selection
from models.tiling import unpack_td
from tb.common.scoreboard import Scoreboard, pack, unpack
from tb.common.signals import KnownReader, writer
from tb.common.stream import StreamMonitor, StreamSink, StreamSource, pattern
from tb.runner import CLOCK_PERIOD_NS, BuildError, build, parameters, run

SUFA_BUFFERS = 4
# Bits of the tile descriptor that phases change
FIRST, LAST, KVNEW, KVLAST = 16, 17, 279, 280


def make_config():
    """What the model needs to know, for the parameters of this simulation.

    KV_SLOTS = 4 is legal for the stage, not for a whole machine: no models.config.Config.
    """
    p = parameters()
    return SimpleNamespace(ROWS=p["ROWS"], BC_MAX=p["BC_MAX"], KV_SLOTS=p["KV_SLOTS"],
                           LIST_BUFS=p.get("LIST_BUFS", 4 if p["KV_SLOTS"] == p["BC_MAX"] else 2),
                           SLOT_W=(p["BC_MAX"] - 1).bit_length(),
                           KSLOT_W=(p["KV_SLOTS"] - 1).bit_length())


class TB:
    """Plays sads and its lists, sufa's list ring and the taker of phases; compares all phases.

    Args:
        idle: share of cycles without a list word, and without a new tile.
        backpressure: share of cycles in which a phase is not taken.
        late: no phase is taken in so many cycles at the start.
        hold: a list buffer is kept for half of to all of so many cycles after its phase was taken.
    """

    def __init__(self, dut, idle=0.0, backpressure=0.0, hold=0, late=0):
        self.dut, self.cfg, self.idle, self.hold = dut, make_config(), idle, hold
        self.board = Scoreboard(dut._log)
        taken = pattern(backpressure, random.getrandbits(32))
        self.source = StreamSource(dut, "s", dut.clk, dut.rst, seed=random.getrandbits(32),
                                   fields=("td", "union", "nsteps"),
                                   idle=pattern(idle, random.getrandbits(32)))
        self.sink = StreamSink(dut, "p", dut.clk, dut.rst, callback=self.on_phase,
                               fields=("td", "slots", "mask", "nsteps"),
                               backpressure=chain([(0, late)] if late else [], taken))
        self.taken_tiles = StreamMonitor(dut, "s", dut.clk, dut.rst, fields=("nsteps",),
                                         use_ready=True)
        StreamMonitor(dut, "l_wr", dut.clk, dut.rst, callback=self.on_list,
                      fields=("buf", "word", "data"),
                      unknown_as=random.Random(1) if self.wires else None)
        self.put = {f: writer(getattr(dut, f"s_l_wr_{f}"))
                    for f in ("valid", "buf", "word", "data")}
        self.list_bits = len(dut.s_l_wr_data)
        self.cycle = self.ev_busy = self.ev_stall = 0
        self.clear()
        cocotb.start_soon(Clock(dut.clk, CLOCK_PERIOD_NS, unit="ns").start())

    @property
    def wires(self):
        return self.cfg.KV_SLOTS == self.cfg.BC_MAX

    def clear(self):
        """Forget everything on its way."""
        self.tiles, self.expected, self.releases = [], [], []
        self.free = self.cfg.LIST_BUFS
        # Phases queued, tiles whose lists were written
        self.queued = self.written = 0
        # List words of sufa's buffers, and phases that were offered and taken
        self.ring = [[] for _ in range(SUFA_BUFFERS)]
        self.offered = self.taken = self.released = 0
        self.lists = []
        self.most_held = 0

    async def start(self):
        """Reset; may be called at any time."""
        dut = self.dut
        dut.rst.value = 1
        # What happens at this edge still belongs to the time before.
        await RisingEdge(dut.clk)
        dut.l_release.value = 0
        for _ in range(2):
            await RisingEdge(dut.clk)
        self.clear()
        dut.rst.value = 0

    def send(self, selection):
        """Queue a tile; returns the phases it must become."""
        self.tiles.append(selection)
        phases = schedule(selection, self.cfg)
        self.queued += len(phases)
        return phases

    def words(self, selection):
        """List words as sads writes them: what steps need, then words without valid entries."""
        cfg = self.cfg
        steps = selection.nsteps
        # Wires: what is not looked at could not be told from what is.
        most = max(1, -(-steps // 2))
        count = most if self.wires else random.randint(most, cfg.BC_MAX // 4)
        entry = np.random.randint(0, cfg.BC_MAX, (cfg.ROWS, 4 * count))
        rows, length = selection.slots.shape
        keep = min(length, 4 * count)
        valid = selection.valid[:, :keep]
        assert not selection.valid[:, keep:].any()
        part = entry[:rows, :keep]
        part[valid] = selection.slots[:, :keep][valid] | cfg.BC_MAX
        return [pack(entry[:, 4 * w:4 * w + 4], cfg.SLOT_W + 1) for w in range(count)]

    def drive(self, valid, buf=0, word=0, data=None):
        self.put["valid"](str(int(valid)))
        self.put["buf"](format(buf, "02b"))
        self.put["word"](format(word, "04b"))
        data = random.getrandbits(self.list_bits) if data is None else data
        self.put["data"](format(data, f"0{self.list_bits}b"))

    async def write_lists(self):
        """Write lists as soon as buffers are free; then offer the tile."""
        dut, cfg = self.dut, self.cfg
        rst = KnownReader(dut.rst)
        self.drive(False)
        while True:
            await RisingEdge(dut.clk)
            if rst() or not self.tiles or not self.free:
                continue
            selection = self.tiles.pop(0)
            self.free -= 1
            for number, data in enumerate(self.words(selection)):
                while random.random() < self.idle:
                    await RisingEdge(dut.clk)
                self.drive(True, self.written % cfg.LIST_BUFS, number, data)
                await RisingEdge(dut.clk)
                self.drive(False, random.getrandbits(2), random.getrandbits(4))
                if rst():
                    break
            if rst():
                continue
            self.written += 1
            td = random.getrandbits(len(dut.s_td))
            phases = schedule(selection, cfg)
            for i, phase in enumerate(phases):
                off = 0 if i == 0 else 1 << FIRST | 1 << KVNEW
                off |= 0 if i == len(phases) - 1 else 1 << LAST | 1 << KVLAST
                self.expected.append((td & ~off, phase, selection))
            self.source.append({"td": td, "union": selection.union_word,
                                "nsteps": selection.nsteps})

    def on_list(self, item):
        """A list word: its buffer must have been given back since its last phase."""
        ring = self.ring[item["buf"]]
        assert item["word"] == len(ring), "list words of a phase are not in order"
        assert self.offered - self.released < SUFA_BUFFERS, "list buffer is still in use"
        ring.append(item["data"])

    def on_phase(self, item):
        cfg, board = self.cfg, self.board
        td, phase, selection = self.expected.pop(0)
        where = {"phase": self.taken}
        board.compare_fields("td", unpack_td(td), unpack_td(item["td"]), where=where)
        board.compare_fields("phase", {"nsteps": phase.nsteps, "mask": phase.mask_word}, item,
                             where=where)
        slots = unpack(item["slots"], cfg.KV_SLOTS, cfg.SLOT_W)
        board.compare("slots", phase.loaded, slots[:len(phase.mask)][phase.mask],
                      axes=("buffer slot",), where=where)

        words = self.lists[self.taken]
        used = -(-phase.nsteps // 2)
        if self.wires:
            assert len(words) == max(1, used)
        else:
            assert len(words) == used, f"{len(words)} list words, {used} expected"
        got = np.array([unpack(w, 4 * cfg.ROWS, cfg.KSLOT_W + 1) for w in words], np.int64)
        got = got.reshape(-1, cfg.ROWS, 4).swapaxes(0, 1).reshape(cfg.ROWS, -1)[:, :4 * used]
        want = np.zeros((cfg.ROWS, 4 * used), np.int64)
        rows, length = phase.lists.slots.shape
        length = min(length, 4 * used)
        want[:rows, :length] = np.where(phase.lists.valid,
                                        phase.lists.slots | cfg.KV_SLOTS, 0)[:, :length]
        axes = ("row", "position")
        board.compare("valid", want >> cfg.KSLOT_W, got >> cfg.KSLOT_W, axes=axes, where=where)
        board.compare("entries", want, np.where(want > 0, got, 0), axes=axes, where=where)
        self.taken += 1
        self.releases.append(max(self.cycle + 1 + random.randint(self.hold // 2, self.hold),
                                 self.releases[-1] + 1 if self.releases else 0))

    async def keep_time(self):
        """See offered phases, give list buffers back in order, count cycles, events, credits."""
        dut, now = self.dut, False
        busy, stall, rst, valid, ready, free = (KnownReader(s) for s in (
            dut.ev_busy, dut.ev_stall, dut.rst, dut.p_valid, dut.p_ready, dut.s_l_release))
        waiting = False
        while True:
            await RisingEdge(dut.clk)
            self.cycle += 1
            if rst():
                now, waiting = False, False
                continue
            self.ev_busy += busy()
            self.ev_stall += stall()
            assert not (busy() and stall())
            if valid() and not waiting:
                # Its list must be complete by now.
                self.lists.append(self.ring[self.offered % SUFA_BUFFERS])
                self.offered += 1
                self.most_held = max(self.most_held, self.offered - self.released)
            waiting = bool(valid()) and not ready()
            if now:
                self.ring[self.released % SUFA_BUFFERS] = []
                self.released += 1
            was, now = now, bool(self.releases) and self.releases[0] <= self.cycle
            if now:
                self.releases.pop(0)
            if now != was:
                dut.l_release.value = int(now)
            if free():
                self.free += 1
                assert self.free <= self.cfg.LIST_BUFS, "too many releases"

    async def drain(self):
        """Wait until all queued tiles came out and all list buffers were given back."""
        seen, since = None, self.cycle
        while (self.taken < self.queued or self.released < self.queued
               or self.free < self.cfg.LIST_BUFS):
            await RisingEdge(self.dut.clk)
            now = (self.taken, self.released, self.written, self.free)
            if now != seen:
                seen, since = now, self.cycle
            assert self.cycle < since + 2000 + self.hold, (
                f"{self.taken} of {self.queued} phases came, then nothing")


def from_needs(need, shuffle=True):
    """The Selection of bool [R, n]: every row's keys in random order (or all in slot order)."""
    rows, n = need.shape
    slots, valid = np.zeros((rows, n), np.int64), np.zeros((rows, n), bool)
    for r in range(rows):
        keys = np.flatnonzero(need[r])
        if shuffle:
            np.random.shuffle(keys)
        slots[r, :len(keys)], valid[r, :len(keys)] = keys, True
    return Selection(slots, valid, n)


def dense(need):
    """Dense mode: position j holds slot j, with invalid entries in between."""
    return Selection(np.where(need, np.arange(need.shape[1]), 0), need, need.shape[1])


KINDS = ("quota", "quota", "random", "mixed", "shared", "apart", "pairs", "dense", "causal",
         "holes", "empty", "one row", "one key")


def random_tile(cfg, kind=None):
    """A Selection of one kind; all shapes that lists can have."""
    rows, n = cfg.ROWS, random.choice([cfg.BC_MAX, cfg.BC_MAX, random.randint(1, cfg.BC_MAX)])
    kind = kind or random.choice(KINDS)
    need = np.zeros((rows, n), bool)
    if kind == "quota":
        quota = random.randint(1, max(1, n // random.choice([1, 2, 4, 8])))
        liked = np.random.random(n) ** random.choice([0, 1, 4])
        for r in range(rows):
            order = np.argsort(-liked * np.random.random(n))
            need[r, order[:quota]] = True
    elif kind == "random":
        need = np.random.random((rows, n)) < random.random()
    elif kind == "mixed":
        need = np.random.random((rows, n)) < np.random.random((rows, 1)) * np.random.random(n)
    elif kind == "shared":
        need = np.broadcast_to(np.random.random(n) < random.random(), (rows, n)).copy()
    elif kind == "apart":
        # Every key belongs to one row, and rows have very different numbers of keys.
        owner = (np.random.random(n) ** 2 * rows).astype(int)
        need[owner, np.arange(n)] = True
    elif kind == "pairs":
        # One step a phase, and many phases.
        for r in range(rows):
            need[r, [2 * r % n, (2 * r + 1) % n]] = True
    elif kind in ("dense", "holes"):
        need[:random.choice([rows, random.randint(1, rows)])] = True
        if kind == "holes":
            need &= np.random.random((rows, n)) < random.random()
        return dense(need)
    elif kind == "causal":
        need = np.arange(n)[None, :] * random.choice([1, 2]) <= (
            np.arange(rows)[:, None] + random.randint(-rows, n))
        return dense(need) if random.random() < 0.5 else from_needs(need)
    elif kind == "one row":
        need[random.randrange(rows)] = np.random.random(n) < random.random()
    elif kind == "one key":
        need[:, random.randrange(n)] = np.random.random(rows) < 0.5
    return from_needs(need)


async def prepare(dut, **options):
    np.random.seed(random.getrandbits(32))
    dut.rst.value = 1
    tb = TB(dut, **options)
    await RisingEdge(dut.clk)
    await RisingEdge(dut.clk)
    cocotb.start_soon(tb.keep_time())
    cocotb.start_soon(tb.write_lists())
    await tb.start()
    return tb


def check_cover(selection, phases, cfg):
    """Every key of the union is in exactly one phase, and there are no more phases than needed.

    Returns the number of phases.
    """
    loaded = np.concatenate([p.loaded for p in phases])
    assert sorted(loaded) == list(np.flatnonzero(selection.union))
    assert len(phases) <= max(1, -(-len(loaded) // cfg.KV_SLOTS))
    return len(phases)


STAGES = ("td", "phase", "slots", "valid", "entries")
TILES = 40
"""Tiles of one random test."""


@cocotb.test()
@cocotb.parametrize(idle=[0.0, 0.6], backpressure=[0.0, 0.9], hold=[0, 600])
async def random_tiles(dut, idle, backpressure, hold):
    """All kinds of tiles under every mix of idle input, slow phases and slow list buffers."""
    tb = await prepare(dut, idle=idle, backpressure=backpressure, hold=hold)
    phases = least = most = 0
    for number in range(TILES):
        tile = random_tile(tb.cfg, KINDS[number] if number < len(KINDS) else None)
        planned = tb.send(tile)
        phases += check_cover(tile, planned, tb.cfg)
        exact, _, hidden = (1, 1, 0) if tb.wires else cycles(tile, planned, tb.cfg)
        least, most = least + exact - hidden, most + exact
    await tb.drain()
    tb.board.finish(*STAGES)
    assert tb.taken == phases and (tb.wires or phases > TILES)
    # Stalls are not work, but the shares of the next phase may be made meanwhile.
    assert least <= tb.ev_busy <= most
    if hold and not tb.wires:
        assert tb.most_held == SUFA_BUFFERS, "not all list buffers were used"
        assert tb.ev_stall


@cocotb.test()
async def stalls(dut):
    """ev_stall: in every cycle in which a phase is ready and the one before was not taken."""
    tb = await prepare(dut, late=600)
    tiles = [random_tile(tb.cfg, "shared") for _ in range(3)]
    phases = sum(len(tb.send(tile)) for tile in tiles)
    for _ in range(500):
        await RisingEdge(dut.clk)
    stall, busy = tb.ev_stall, tb.ev_busy
    for _ in range(50):
        await RisingEdge(dut.clk)
    assert (tb.ev_stall - stall, tb.ev_busy - busy, tb.taken) == (50, 0, 0)
    await tb.drain()
    stall = tb.ev_stall
    for _ in range(20):
        await RisingEdge(dut.clk)
    assert tb.ev_stall == stall and tb.taken == phases
    tb.board.finish(*STAGES)


@cocotb.test()
async def example_of_the_paper(dut):
    """Four queries: keys 2, 3, 5, 6 first, then 0, 1, 4, 7 (buffers of 4 slots)."""
    tb = await prepare(dut)
    cfg = tb.cfg
    need = np.zeros((cfg.ROWS, 8), bool)
    for row, keys in enumerate([(2, 3, 4, 7), (0, 1, 2, 3), (2, 3, 4, 7), (4, 5, 6, 7)]):
        need[row, list(keys)] = True
    phases = tb.send(from_needs(need))
    if (cfg.ROWS, cfg.KV_SLOTS) == (4, 4):
        assert [set(p.loaded) for p in phases] == [{2, 3, 5, 6}, {0, 1, 4, 7}]
        assert all((p.counts == 2).all() for p in phases)
    await tb.drain()
    tb.board.finish(*STAGES)


@cocotb.test()
async def reset_in_the_middle(dut):
    """After a reset at any time the stage is as new."""
    tb = await prepare(dut, hold=30)
    for wait in (5, 12, 25, 50, 90, 140):
        for _ in range(6):
            tb.send(random_tile(tb.cfg, "random"))
        for _ in range(wait):
            await RisingEdge(dut.clk)
        await tb.start()
        for _ in range(4):
            tb.send(random_tile(tb.cfg, random.choice(["quota", "holes"])))
        await tb.drain()
    tb.board.finish(*STAGES)


def cycles(selection, phases, cfg):
    """(exact, bound): cycles from a tile to the next, as the header of rass.v has them; and how
    many of them wait for the shares of a phase."""
    if not selection.nsteps:
        return 4, 4, 0
    need = needs(selection)
    waiting = key_order(need, cfg)
    log = cfg.SLOT_W
    exact = bound = -(-selection.nsteps // 2) + len(waiting) + log + 5
    hidden = 0
    for i, phase in enumerate(phases):
        seen = len(waiting)
        bound += seen
        if len(phase.loaded) == cfg.KV_SLOTS:
            seen = int(np.flatnonzero(np.isin(waiting, phase.loaded)).max()) + 1
        rest = 2 * selection.nsteps + -(-int(phase.counts.max()) // 4) + 8
        if i < len(phases) - 1:
            hidden += max(0, log + 6 - rest)
            rest = max(rest, log + 6)
        exact += seen + rest
        bound += rest
        waiting = waiting[~np.isin(waiting, phase.loaded)]
    return exact, bound, hidden


@cocotb.test()
async def cycles_of_a_tile(dut):
    """Tiles take exactly the cycles of the formula when nothing waits."""
    tb = await prepare(dut)
    cfg = tb.cfg
    if tb.wires:
        for _ in range(10):
            tb.send(random_tile(cfg))
        await tb.drain()
        tb.board.finish(*STAGES)
        return
    checked = 0
    for kind in [*dict.fromkeys(KINDS), "quota", "random"]:
        tile = random_tile(cfg, kind)
        want, bound, _ = cycles(tile, schedule(tile, cfg), cfg)
        # List words of a tile are written while the one before is worked on, as long as that
        # takes longer: then the same tile comes again and again at the pace of the stage.
        if want < cfg.BC_MAX // 4 + 4:
            continue
        before, busy = tb.taken_tiles.count, tb.ev_busy
        for _ in range(4):
            tb.send(tile)
        await tb.drain()
        at = tb.taken_tiles.cycles[before:]
        gaps = {b - a for a, b in zip(at[1:], at[2:], strict=False)}
        dut._log.info("%s: %s cycles per tile, formula %d, bound %d, %d phases", kind, gaps, want,
                      bound, len(schedule(tile, cfg)))
        assert gaps == {want}, (kind, gaps, want)
        assert tb.ev_busy - busy == 4 * want
        assert want <= bound
        checked += 1
    assert checked > 6 and not tb.ev_stall
    tb.board.finish(*STAGES)


@pytest.mark.configs("tiny", "small")
def test_rass(sim, seed, config):
    run("rass", __name__, config.pick("ROWS", "BC_MAX", "KV_SLOTS"), sim, seed=seed)


# The paper's example, three list buffers, wires.
@pytest.mark.parametrize("rows,bc_max,slots,bufs", [
    (4, 8, 4, 2), (8, 16, 4, 3), (4, 16, 16, 4), (16, 32, 32, 4)])
def test_rass_shapes(sim, seed, rows, bc_max, slots, bufs):
    run("rass", __name__, {"ROWS": rows, "BC_MAX": bc_max, "KV_SLOTS": slots, "LIST_BUFS": bufs},
        sim, seed=seed)


# Large tiles with few to many slots, most rows.
@pytest.mark.sims("verilator")
@pytest.mark.parametrize("rows,bc_max,slots,bufs", [
    (32, 64, 8, 2), (32, 64, 16, 4), (32, 64, 32, 2), (128, 16, 8, 2)])
def test_rass_large(sim, seed, rows, bc_max, slots, bufs):
    run("rass", __name__, {"ROWS": rows, "BC_MAX": bc_max, "KV_SLOTS": slots, "LIST_BUFS": bufs},
        sim, seed=seed)


@pytest.mark.parametrize("bad", [{"ROWS": 5}, {"KV_SLOTS": 2}, {"KV_SLOTS": 64}, {"LIST_BUFS": 1},
                                 {"KV_SLOTS": 32, "LIST_BUFS": 2}])
def test_illegal_parameters_are_refused(sim, bad):
    with pytest.raises(BuildError, match="illegal_parameter_rass"):
        build("rass", bad, sim)
