# SPDX-License-Identifier: Apache-2.0
"""Scores every value that one stage hands to the next against the reference
model.

The taps of ``sofa`` (built with SOFA_TAPS) show scores (DLZS), turns and masks and kept shares
(SADS), keys and ends of blocks (RASS), reads and beats of keys (KVGEN), and pairs and flush of
every unit (SU-FA); what they carry stands in docs/architecture.md. The first wrong value raises an
AssertionError which names stage, tile, block, row, key and bit, so the stage that made it is known.

``expectation`` turns the traced result of an attention job into what each tap has to show, in
order; ``TapScorer`` compares.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from models import sads, sufa
from models.config import Config, clog2
from models.head import (
    SUM,
    BlockResult,
    HeadResult,
    Job,
    KeySource,
    Part,
    Selected,
    order,
    parts,
    turns,
)
from models.sads import reach
from models.spec import registers as regs
from models.tiling import Tile, exact_rows
from tb.common.scoreboard import Scoreboard, unpack
from tb.common.stream import StreamMonitor
from tb.common.turns import unpack_turn

KEY, END, HEAD_BEGINS, HEAD_ENDS = 0, 1, 2, 3
"""Kinds of items from rass to kvgen."""

STAGES = ("dlzs scores", "sads turn", "sads mask", "sads f", "rass item", "kvgen read",
          "kvgen beat", "sufa pair", "sufa l", "sufa o")
"""What is compared."""


# ---- what the taps have to show -----------------------------------------------------------------


@dataclass(frozen=True)
class Block:
    """A block of an attention job; number: in the order of the job, place: where it is resident,
    kv: its KV head, mean: int [d], the mean of V in VM_W bits, all 0 where there is none; heads:
    from ``head`` on so many share it, row r is row r // heads of head r mod heads."""

    number: int
    place: int
    head: int
    kv: int
    result: BlockResult
    mean: np.ndarray
    heads: int = 1

    @property
    def row(self) -> int:
        """First row in the head."""
        return self.result.block.row

    @property
    def rows(self) -> int:
        """Rows of the block."""
        return self.result.block.n

    def where(self) -> dict[str, int]:
        """What names it in messages."""
        return {"block": self.number, "head": self.head, "place": self.place}


@dataclass(frozen=True)
class TurnOf:
    """A turn of a block: tile number and tile, whether it is selected from, and the fields of its
    descriptor that have a meaning in the job."""

    block: Block
    number: int
    tile: Tile
    selects: bool
    final: bool
    fields: dict[str, int]

    def where(self) -> dict[str, int]:
        """What names it in messages."""
        return {"tile": self.number, **self.block.where()}

    @property
    def words(self) -> int:
        """Words of four slots."""
        return -(-self.tile.n // sads.WORD)


@dataclass(frozen=True)
class Item:
    """From rass to kvgen. key: -1 with an end; mask: bit place*ROWS + r; made: K and V are made and
    not read; block: that ends."""

    kind: int
    tile: int = -1
    key: int = -1
    kv: int = 0
    mask: int = 0
    made: bool = False
    block: Block | None = None

    def where(self) -> dict[str, int]:
        """What names it in messages."""
        if self.block is not None:
            return self.block.where()
        return {} if self.key < 0 else {"tile": self.tile, "key": self.key}


@dataclass
class Unit:
    """What a unit of SU-FA shows. pairs int64 [n, 6]: row, z, p, m, dm, l; at int64 [n, 4]: tile,
    head, row, key of each. ends: (block, row of it) in the order of the flush."""

    pairs: np.ndarray
    at: np.ndarray
    ends: list[tuple[Block, int]]


@dataclass
class Expectation:
    """An attention job: what its taps have to show, in order. k, v int16 [kv_heads, keys, d]."""

    job: Job
    cfg: Config
    k: np.ndarray
    v: np.ndarray
    generates: bool
    turns: list[TurnOf] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)
    items: list[Item] = field(default_factory=list)
    units: list[Unit] = field(default_factory=list)

    @property
    def dense(self) -> bool:
        """Nothing is predicted."""
        return self.job.dense

    @property
    def blends(self) -> bool:
        """The mean of V stands in."""
        return self.job.select == SUM and self.job.blend

    @cached_property
    def reads(self) -> list[tuple[int, int, Item]]:
        """(whether a mean is read, key or 0, item) of each read, in order."""
        found = []
        for item in self.items:
            if item.kind == KEY and not item.made:
                found.append((0, item.key, item))
            elif item.kind == END and self.blends and not self.generates:
                found.append((1, 0, item))
        return found

    @cached_property
    def passes(self) -> list[Item]:
        """Items that go to sufa."""
        return [item for item in self.items if item.kind in (KEY, END)]


def expectation(
    heads: list[HeadResult], kv_heads: int, k: np.ndarray, v: np.ndarray, means: np.ndarray,
    job: Job, cfg: Config, fields: dict[str, int], exists: np.ndarray | None = None,
    shifts: list[tuple[int, int]] | None = None,
) -> Expectation:
    """What the taps show of an attention job.

    heads: traced results of its query heads; k, v int16 [kv_heads, keys, d]; means int [kv_heads,
    blocks, d]; fields: its registers; exists: bool [kv_heads, keys], where keys are made those
    that exist before the job, and changes; shifts: of K and V, of each KV head.
    """
    generates = bool(fields["MODE"] >> regs.lsb("MODE", "GENERATE") & 1)
    want = Expectation(job, cfg, k, v, generates)
    rows, keys = len(heads[0].out), k.shape[1]
    sources = [KeySource(k[kv], v[kv], exists[kv] if generates else None)
               for kv in range(kv_heads)]
    walk = parts(len(heads), kv_heads, rows, keys, job, cfg)
    results = [{b.block.row: b for b in head.blocks} for head in heads]
    found = [[] for _ in range(2 * cfg.ROWS // cfg.QE)]
    for p, part in enumerate(walk):
        blocks = []
        shared = len(part.heads) if job.share else 1
        for head in part.heads[::shared]:
            for block in part.band.blocks:
                number = len(want.blocks) + len(blocks)
                mean = means[part.kv, block.row // cfg.ROWS] if want.blends else np.zeros(
                    job.d, np.int64)
                own = [results[h][block.row] for h in part.heads[:shared]] if job.share else [
                    results[head][block.row]]
                blocks.append(Block(number, number % cfg.places(job.d), head, part.kv,
                                    own[0] if len(own) == 1 else _together(own, job),
                                    np.asarray(mean, np.int64), shared))
        begins = p == 0 or walk[p - 1].kv != part.kv
        ends = p + 1 == len(walk) or walk[p + 1].kv != part.kv
        want.turns += _turns(part, blocks, begins, ends, job, cfg, fields,
                             shifts[part.kv] if shifts else (0, 0))
        want.items += _items(part, blocks, begins, ends, sources[part.kv], job, cfg)
        for unit, own in zip(found, _pairs(part, blocks, job, cfg), strict=True):
            unit.append(own)
        want.blocks += blocks
    for u, own in enumerate(found):
        pairs, at = (np.concatenate(arrays) for arrays in zip(*own, strict=True))
        rows_of = [(block, r) for block in want.blocks
                   for r in range(u, block.rows, len(found))]
        want.units.append(Unit(pairs, at, rows_of))
    return want


def _together(results: list[BlockResult], job: Job) -> BlockResult:
    """The result of the block that heads share, of theirs: row r is row r // heads of head r mod
    heads."""
    group, tiles = len(results), len(results[0].chosen.masks)

    def rows(arrays):
        return np.stack(arrays, axis=1).reshape(-1, *arrays[0].shape[1:])

    chosen = Selected([rows([r.chosen.masks[t] for r in results]) for t in range(tiles)],
                      rows([r.chosen.f for r in results]), rows([r.chosen.g for r in results]))
    trace, steps = sufa.Trace(), [0] * group
    names = ("rows", "z", "p", "m", "dm", "l")
    for t in order(tiles, job):
        for slot in np.flatnonzero(chosen.masks[t].any(axis=0)):
            own = {name: [] for name in names}
            for h, result in enumerate(results):
                if result.chosen.masks[t][:, slot].any():
                    for name in names:
                        value = getattr(result.trace, name)[steps[h]]
                        own[name].append(value * group + h if name == "rows" else value)
                    steps[h] += 1
            for name in names:
                getattr(trace, name).append(np.concatenate(own[name]))
    for name in ("o_final", "l_final", "r_final"):
        setattr(trace, name, rows([getattr(r.trace, name) for r in results]))
    block = results[0].block
    scores = [rows([r.scores[t] for r in results]) for t in range(len(results[0].scores))]
    return BlockResult(replace(block, n=block.n * group), rows([r.out for r in results]), chosen,
                       scores, trace)


def _address(fields, name, head=0, row=0):
    return ((fields[f"{name}_BASE_LO"] | fields[f"{name}_BASE_HI"] << 32)
            + head * fields[f"{name}_HEAD_STRIDE"] + row * fields[f"{name}_ROW_STRIDE"])


def _turns(part: Part, blocks, begins, ends, job: Job, cfg: Config, fields,
           shifts) -> list[TurnOf]:
    """The turns of a part, block after block; begins, ends: first, last part of its KV head."""
    made = []
    tiles = part.band.tiles
    walk = turns(len(tiles), job)
    generates = fields["MODE"] >> regs.lsb("MODE", "GENERATE") & 1
    for i, (t, selects) in enumerate(walk):
        tile, final = tiles[t], i + 1 == len(walk)
        for b, block in enumerate(blocks):
            entry, shift = job.table[block.head], block.row - part.band.row
            last = b + 1 == len(blocks)
            group = block.heads
            exact = group * exact_rows(block.row, block.rows // group, job.causal,
                                       job.offset).sum()
            values = {
                "n": tile.n, "rows": block.rows, "causal": int(tile.causal), "kstep": tile.kstep,
                "mstep": tile.kstep * group, "window": tile.window * group, "k0": tile.k0,
                "place": block.place, "start": int(i == 0), "final": int(final),
                "count": int(not selects), "tile_last": int(last),
                "kvnew": int(begins and i == 0 and b == 0), "kvlast": int(ends and final and last),
                "exact": int(exact) if job.select == SUM else 0,
                "octave": entry.octave, "radius": reach(entry.radius, cfg),
                "kbase": _address(fields, "K", block.kv), "vbase": _address(fields, "V", block.kv),
                "oaddr": _address(fields, "O", block.head, block.row),
                "kg_shift_k": shifts[0], "kg_shift_v": shifts[1],
            }
            if tile.causal:
                values["rel"] = (tile.rel - shift) * group
            if job.select == SUM:
                values["ratio"] = sads.extrapolation(len(tiles), min(i + 1, len(tiles)), cfg)
                values["tau"] = sads.block_threshold(entry.tau, job.fall,
                                                     block.result.block.length, cfg)
                if job.blend:
                    values["maddr"] = _address(fields, "VM", 0 if generates else block.kv,
                                               block.row // cfg.ROWS)
            made.append(TurnOf(block, t, tile, selects, final, values))
    return made


def _items(part: Part, blocks, begins, ends, source: KeySource, job: Job,
           cfg: Config) -> list[Item]:
    """What rass hands on of a part."""
    made = [Item(HEAD_BEGINS)] if begins else []
    for t in order(len(part.band.tiles), job):
        tile = part.band.tiles[t]
        wants = np.zeros((tile.n, cfg.PLACES, cfg.ROWS), np.uint8)
        for block in blocks:
            wants[:, block.place, : block.rows] |= block.result.chosen.masks[t].T
        flat = wants.reshape(tile.n, -1)
        slots = np.flatnonzero(flat.any(axis=1))
        fresh, _ = source.claim(tile.keys[slots])
        packed = np.packbits(flat, axis=1, bitorder="little")
        for slot in slots:
            key = int(tile.keys[slot])
            made.append(Item(KEY, t, key, part.kv, int.from_bytes(packed[slot].tobytes(), "little"),
                             bool((fresh == key).any())))
    made += [Item(END, kv=part.kv, block=block) for block in blocks]
    return made + ([Item(HEAD_ENDS)] if ends else [])


def _pairs(part: Part, blocks, job: Job, cfg: Config):
    """Of each unit the pairs of a part and where they belong, in the unit's order."""
    units, tiles = 2 * cfg.ROWS // cfg.QE, part.band.tiles
    inside = cfg.ROWS // units
    walk = order(len(tiles), job)
    first = dict(zip(walk, np.cumsum([0] + [tiles[t].n for t in walk]).tolist(), strict=False))
    seq, pairs, at = [np.zeros(0, np.int64)], [np.zeros((0, 6), np.int64)], [
        np.zeros((0, 4), np.int64)]
    unit = [np.zeros(0, np.int64)]
    for block in blocks:
        trace, step = block.result.trace, 0
        for t in walk:
            for slot in np.flatnonzero(block.result.chosen.masks[t].any(axis=0)):
                row = trace.rows[step]
                values = [row // units + block.place * inside, trace.z[step], trace.p[step],
                          trace.m[step], np.minimum(trace.dm[step], 63), trace.l[step]]
                pairs.append(np.stack(values, axis=1))
                seq.append(np.full(len(row), first[t] + slot))
                unit.append(row % units)
                key = tiles[t].keys[slot]
                at.append(np.stack([np.full(len(row), t), np.full(len(row), block.head),
                                    block.row + row, np.full(len(row), key)], axis=1))
                step += 1
    seq, pairs, at, unit = map(np.concatenate, (seq, pairs, at, unit))
    for u in range(units):
        own = np.flatnonzero(unit == u)
        own = own[np.lexsort((pairs[own, 0], seq[own]))]
        yield pairs[own], at[own]


# ---- comparing ----------------------------------------------------------------------------------

FIELDS = {
    "t": ("turn",), "s": ("last", "scores"), "m": ("turn", "mask", "last"),
    "f": ("place", "word", "data"), "p": ("kind", "key", "mask", "place"), "u": ("key", "mean"),
    "kv": ("first", "end", "mask", "data"), "e": ("valid", "row", "z", "p", "m", "dm", "l"),
    "l": ("valid", "row", "sum"), "o": ("valid", "row", "beat", "data", "rcp"),
}
"""Tap -> its fields; those with a valid for each unit have it among them."""


class TapScorer:
    """Watches the taps of ``sofa`` and compares them with what ``expect()`` was given.

    Args:
        dut: handle of sofa, or None: items come by ``feed()``.
        cfg: its configuration.
        scoreboard: where comparisons are counted.
    """

    def __init__(self, dut, cfg: Config, scoreboard: Scoreboard):
        self._cfg, self._sb = cfg, scoreboard
        self.units = 2 * cfg.ROWS // cfg.QE
        self._jobs: list[Expectation] = []
        self._score = {"t": self._turn, "s": self._scores, "m": self._mask, "f": self._share,
                       "p": self._item, "u": self._read, "kv": self._beat, "e": self._pair,
                       "l": self._sum, "o": self._flush}
        self.expect()
        for name, fields in FIELDS.items() if dut is not None else ():
            # Scores of slots beyond a tile and elements beyond d are unknown in Icarus.
            StreamMonitor(dut, f"tap_{name}", dut.clk, dut.rst, fields=fields,
                          callback=lambda item, name=name: self.feed(name, item),
                          unknown_as=random)

    def feed(self, name, item):
        """Score an item of the tap: field -> unsigned value, or the value of an only field."""
        self._score[name](item if isinstance(item, dict) else {FIELDS[name][0]: item})

    def expect(self, *jobs: Expectation):
        """The attention jobs that come next."""
        self._jobs = list(jobs)
        self._turns = [(job, turn) for job in jobs for turn in job.turns]
        self._scored = [(job, turn) for job, turn in self._turns if not job.dense]
        self._masked = [(job, turn) for job, turn in self._turns if turn.selects]
        self._blocks = [(job, block) for job in jobs for block in job.blocks]
        self._items = [(job, item) for job in jobs for item in job.items]
        self._passes = [(job, item) for job in jobs for item in job.passes]
        self._reads = [(job, *read) for job in jobs for read in job.reads]
        self._pairs = [[np.concatenate([getattr(job.units[u], name) for job in jobs])
                        if jobs else np.zeros((0, 6)) for name in ("pairs", "at")]
                       for u in range(self.units)]
        self._ends = [[(job, *end) for job in jobs for end in job.units[u].ends]
                      for u in range(self.units)]
        self._at = dict.fromkeys(("t", "s", "m", "f", "p", "u", "kv"), 0)
        self._in = dict.fromkeys(("s", "m", "f", "kv", "words"), 0)
        self._unit = {name: [0] * self.units for name in ("e", "l", "o", "beat")}

    def finish(self):
        """Check that every expected value has been seen."""
        left = {
            "turns": len(self._turns) - self._at["t"], "scores": len(self._scored) - self._at["s"],
            "masks": len(self._masked) - self._at["m"], "f": len(self._blocks) - self._at["f"],
            "items": len(self._items) - self._at["p"], "reads": len(self._reads) - self._at["u"],
            "keys": len(self._passes) - self._at["kv"],
            "pairs": sum(len(own[0]) for own in self._pairs) - sum(self._unit["e"]),
            "sums": sum(map(len, self._ends)) - sum(self._unit["l"]),
            "rows of the flush": sum(map(len, self._ends)) - sum(self._unit["o"]),
        }
        assert not any(left.values()), f"taps ended early, still expected: {left}"

    def silent(self, compared: dict[str, int]) -> list[str]:
        """Stages of which nothing was compared although these jobs have something of them."""
        counts = {"dlzs scores": len(self._scored), "kvgen read": len(self._reads),
                  "sufa pair": sum(len(own[0]) for own in self._pairs)}
        return [s for s in STAGES if not compared.get(s) and counts.get(s, 1)]

    # ---------------------------------------------------------------------------------------------
    def _next(self, stage, name, expected):
        at = self._at[name]
        assert at < len(expected), f"{stage}: item {at} came, {len(expected)} expected"
        return expected[at]

    def _fields(self, stage, want, got, where):
        self._sb.compare_fields(stage, want, got, where=where)

    def _turn(self, item):
        job, turn = self._next("sads turn", "t", self._turns)
        self._fields("sads turn", turn.fields, unpack_turn(item["turn"]), turn.where())
        self._at["t"] += 1

    def _scores(self, item):
        cfg = self._cfg
        job, turn = self._next("dlzs scores", "s", self._scored)
        word, block = self._in["s"], turn.block
        first = sads.WORD * word
        n = min(sads.WORD, turn.tile.n - first)
        got = unpack(item["scores"], cfg.ROWS * sads.WORD, cfg.SC_W, True)
        got = got.reshape(cfg.ROWS, sads.WORD)[: block.rows, :n]
        want = block.result.scores[turn.number][:, first : first + n]
        last = word + 1 == turn.words
        where = {**turn.where(), "row": block.row}
        self._sb.compare("dlzs scores", want, got, axes=("row", "key"), width=cfg.SC_W,
                         where={**where, "key": turn.tile.keys[first : first + n]})
        self._fields("dlzs scores", {"last": last}, item, {**where, "word": word})
        self._step("s", last)

    def _step(self, name, last):
        self._in[name] = 0 if last else self._in[name] + 1
        self._at[name] += last

    def _mask(self, item):
        cfg = self._cfg
        job, turn = self._next("sads mask", "m", self._masked)
        word, block = self._in["m"], turn.block
        first = sads.WORD * word
        n = min(sads.WORD, turn.tile.n - first)
        want = np.zeros((cfg.ROWS, sads.WORD), np.int64)
        want[: block.rows, :n] = block.result.chosen.masks[turn.number][:, first : first + n]
        got = unpack(item["mask"], sads.WORD * cfg.ROWS, 1).reshape(sads.WORD, cfg.ROWS).T
        last = word + 1 == turn.words
        keys = [*turn.tile.keys[first : first + n].tolist(), *("no key",) * (sads.WORD - n)]
        where = {**turn.where(), "row": block.row}
        self._sb.compare("sads mask", want, got, axes=("row", "key"), where={**where, "key": keys})
        self._fields("sads mask", turn.fields, unpack_turn(item["turn"]), where)
        self._fields("sads mask", {"last": last}, item, {**where, "word": word})
        self._step("m", last)

    def _share(self, item):
        cfg = self._cfg
        job, block = self._next("sads f", "f", self._blocks)
        words = max(4, cfg.QE // 2)
        rows, word = cfg.ROWS // words, self._in["f"]
        where = {**block.where(), "row": block.row + word * rows}
        self._fields("sads f", {"place": block.place, "word": word}, item, where)
        want = block.result.chosen.f[word * rows : (word + 1) * rows]
        got = unpack(item["data"], rows, cfg.F_FRAC + 1)[: len(want)]
        self._sb.compare("sads f", want, got, axes=("row",), where=where)
        self._step("f", word + 1 == words)

    def _item(self, item):
        job, want = self._next("rass item", "p", self._items)
        values = {"kind": want.kind}
        if want.kind == KEY:
            values |= {"key": want.key, "mask": want.mask}
        elif want.kind == END:
            values["place"] = want.block.place
        self._fields("rass item", values, item, {**want.where(), "item": self._at["p"]})
        self._at["p"] += 1

    def _read(self, item):
        job, mean, key, want = self._next("kvgen read", "u", self._reads)
        values = {"mean": mean} if mean else {"mean": 0, "key": key}
        self._fields("kvgen read", values, item, want.where())
        self._at["u"] += 1

    def _beat(self, item):
        cfg = self._cfg
        job, want = self._next("kvgen beat", "kv", self._passes)
        beat, c = self._in["kv"], cfg.beats16(job.job.d)
        where = {**want.where(), "beat": beat}
        values = {"first": int(beat == 0)}
        if beat == 0:
            values["end"] = int(want.kind == END)
            if want.kind == KEY:
                values["mask"] = want.mask
        self._fields("kvgen beat", values, item, where)
        if want.kind == END:
            vector, last = want.block.mean << (16 - cfg.VM_W), c
        else:
            vector, last = (job.k, job.v)[beat // c][want.kv, want.key], 2 * c
        low = beat % c * cfg.QE
        part = np.asarray(vector[low : low + cfg.QE], np.int64)
        got = unpack(item["data"], cfg.QE, 16, True)[: len(part)]
        self._sb.compare("kvgen beat", part, got, axes=("element",), width=16,
                         where={**where, "element": low})
        self._step("kv", beat + 1 == last)

    # ---------------------------------------------------------------------------------------------
    def _of_units(self, item, widths):
        """Yield each unit with a valid and the values of its fields: name -> (bits, signed)."""
        for unit in range(self.units):
            if item["valid"] >> unit & 1:
                values = []
                for name, (width, signed) in widths.items():
                    value = item[name] >> unit * width & ((1 << width) - 1)
                    values.append(value - (value >> (width - 1) << width) if signed else value)
                yield unit, values

    @property
    def _row_w(self):
        cfg = self._cfg
        return clog2(cfg.PLACES) + clog2(cfg.ROWS // self.units)

    def _pair(self, item):
        cfg = self._cfg
        widths = {"row": (self._row_w, False), "z": (cfg.Z_W, True), "p": (16, False),
                  "m": (17, True), "dm": (6, False), "l": (cfg.L_W, False)}
        count = 0
        for unit, values in self._of_units(item, widths):
            pairs, at = self._pairs[unit]
            n = self._unit["e"][unit]
            assert n < len(pairs), f"sufa pair: unit {unit}: {n} pairs expected, one more came"
            count += len(values)
            if pairs[n].tolist() != values:
                tile, head, row, key = at[n].tolist()
                self._sb.compare(
                    "sufa pair", pairs[n], values, axes=("field",),
                    where={"tile": tile, "head": head, "row": row, "key": key, "unit": unit,
                           "pair": n, "field": ("row", "z", "p", "m", "dm", "l")})
            self._unit["e"][unit] += 1
        # Most of the values of a job are pairs: the scoreboard is asked where one is wrong.
        self._sb.compared["sufa pair"] = self._sb.compared.get("sufa pair", 0) + count

    def _end(self, stage, name, unit):
        n = self._unit[name][unit]
        assert n < len(self._ends[unit]), f"{stage}: unit {unit}: {n} rows expected, one more came"
        job, block, row = self._ends[unit][n]
        inside = self._cfg.ROWS // self.units
        where = {**block.where(), "row": block.row + row, "unit": unit}
        return job, block.result.trace, row, block.place * inside + row // self.units, where

    def _sum(self, item):
        widths = {"row": (self._row_w, False), "sum": (self._cfg.L_W, False)}
        for unit, values in self._of_units(item, widths):
            _, trace, row, index, where = self._end("sufa l", "l", unit)
            self._sb.compare("sufa l", [index, trace.l_final[row]], values, axes=("field",),
                             where={**where, "field": ("row", "l")})
            self._unit["l"][unit] += 1

    def _flush(self, item):
        cfg = self._cfg
        beat_w = clog2(cfg.D_MAX // cfg.QE + 1)
        widths = {"row": (self._row_w, False), "beat": (beat_w, False), "rcp": (16, False)}
        data = unpack(item["data"], self.units * cfg.QE, 16, True).reshape(self.units, cfg.QE)
        for unit, values in self._of_units(item, widths):
            job, trace, row, index, where = self._end("sufa o", "o", unit)
            beat = self._unit["beat"][unit]
            self._sb.compare("sufa o", [index, beat, trace.r_final[row]], values, axes=("field",),
                             where={**where, "field": ("row", "beat", "R'")})
            want = trace.o_final[row, beat * cfg.QE : (beat + 1) * cfg.QE]
            self._sb.compare("sufa o", want, data[unit][: len(want)], axes=("element",), width=16,
                             where={**where, "element": beat * cfg.QE})
            last = beat + 1 == cfg.beats16(job.job.d)
            self._unit["beat"][unit] = 0 if last else beat + 1
            self._unit["o"][unit] += last

