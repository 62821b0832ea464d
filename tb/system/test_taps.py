# SPDX-License-Identifier: Apache-2.0
"""The scorer of the taps against a stand-in that emits what the machine shows; what it says when a
bit is wrong."""

from __future__ import annotations

import functools

import numpy as np
import pytest

from models import head, rope
from models import sufa as formal
from models.config import Config
from models.driver.accelerator import AsyncAccelerator
from models.driver.model import ModelTransport
from models.head import KeySource
from models.layer import plan_layer, run_layer
from models.plan import plan
from tb.common.scoreboard import Scoreboard, pack
from tb.common.turns import TURN
from tb.system.taps import STAGES, TapScorer, expectation

TINY, SMALL = (Config.from_name(name) for name in ("tiny", "small"))


class Emitter:
    """Steps through an attention job row by row and keeps what the taps show, as (tap, item)."""

    def __init__(self, cfg, job, q, k, v, means, result, fields, exists=None, shifts=None):
        self.cfg, self.job, self.fields = cfg, job, fields
        self.q, self.k, self.v, self.means, self.result = q, k, v, means, result
        self.units = 2 * cfg.ROWS // cfg.QE
        self.inside = cfg.ROWS // self.units
        self.blends = job.select == head.SUM and job.blend
        self.generates = exists is not None
        self.items, self.serial, self.shifts = [], 0, shifts or [(0, 0)] * len(k)
        kv_heads = len(k)
        exists = exists if self.generates else np.ones(k.shape[:2], bool)
        self.sources = [KeySource(k[h], v[h], exists[h]) for h in range(kv_heads)]
        walk = head.parts(len(q), kv_heads, q.shape[1], k.shape[1], job, cfg)
        for i, part in enumerate(walk):
            self.part(part, i == 0 or walk[i - 1].kv != part.kv,
                      i + 1 == len(walk) or walk[i + 1].kv != part.kv)

    def emit(self, tap, **item):
        self.items.append((tap, {name: int(value) for name, value in item.items()}))

    def address(self, name, h=0, r=0):
        f = self.fields
        return (f[f"{name}_BASE_LO"] + h * f[f"{name}_HEAD_STRIDE"] + r * f[f"{name}_ROW_STRIDE"])

    def turn(self, **values):
        word = 0
        for name, value in values.items():
            low, width = TURN[name]
            assert -(1 << width - 1) <= value < 1 << width, name
            word |= (value & ((1 << width) - 1)) << low
        return word

    def part(self, part, begins, ends):
        cfg, job, tiles = self.cfg, self.job, part.band.tiles
        blocks = []
        for h in part.heads:
            for block in part.band.blocks:
                result = next(b for b in self.result.heads[h].blocks if b.block.row == block.row)
                blocks.append((self.serial % cfg.places(job.d), h, result))
                self.serial += 1
        sums = job.select == head.SUM
        walk = ([0] if sums else []) + (list(range(1, len(tiles))) + [0] if sums
                                        else list(range(len(tiles))))
        if begins:
            self.emit("p", kind=2, key=0, mask=0, place=0)
        states = {(p, r): formal.start(1, job.d) for p, _, b in blocks for r in range(b.block.n)}
        for i, t in enumerate(walk):
            tile, counts = tiles[t], sums and i == 0
            for place, h, result in blocks:
                block, entry = result.block, job.table[h]
                last = (place, h, result) == blocks[-1]
                word = self.turn(
                    n=tile.n, rows=block.n, causal=int(job.causal),
                    rel=int(tile.k0) - job.offset - block.row if job.causal else 7,
                    kstep=tile.kstep, mstep=tile.kstep,
                    window=tile.window, k0=tile.k0, place=place, start=int(i == 0),
                    final=int(i == len(walk) - 1), count=int(counts), tile_last=int(last),
                    kvnew=int(begins and i == 0 and (place, h, result) == blocks[0]),
                    kvlast=int(ends and last and i == len(walk) - 1),
                    exact=max(0, min(block.n, 32 - job.offset - block.row))
                    if job.causal and sums else 0,
                    ratio=256 * len(tiles) // min(i + 1, len(tiles)) if sums else 99,
                    tau=head.sads.block_threshold(entry.tau, job.fall, block.length, cfg)
                    if sums else -3,
                    octave=entry.octave,
                    radius=cfg.RADIUS_INF if entry.radius is None else entry.radius,
                    kbase=self.address("K", part.kv), vbase=self.address("V", part.kv),
                    maddr=self.address("VM", 0 if self.generates else part.kv,
                                       block.row // cfg.ROWS) if self.blends else 5,
                    oaddr=self.address("O", h, block.row),
                    **dict(zip(("kg_shift_k", "kg_shift_v"), self.shifts[part.kv], strict=True)))
                self.emit("t", turn=word)
                for w in range(0, tile.n, 4):
                    ended = w + 4 >= tile.n
                    if job.select != head.DENSE:
                        score = np.full((cfg.ROWS, 4), -1)
                        part_of = result.scores[t][:, w : w + 4]
                        score[: block.n, : part_of.shape[1]] = part_of
                        self.emit("s", last=ended, scores=pack(score, cfg.SC_W))
                    if not counts:
                        mask = 0
                        for r, slot in np.argwhere(result.chosen.masks[t][:, w : w + 4]):
                            mask |= 1 << int(slot) * cfg.ROWS + int(r)
                        self.emit("m", turn=word, mask=mask, last=ended)
                if i == len(walk) - 1:
                    share = np.full(cfg.ROWS, 3)
                    share[: block.n] = result.chosen.f
                    words = max(4, cfg.QE // 2)
                    for w, line in enumerate(share.reshape(words, -1)):
                        self.emit("f", place=place, word=w, data=pack(line, cfg.F_FRAC + 1))
            if not counts:
                for slot in range(tile.n):
                    self.key(part.kv, int(tile.keys[slot]), [
                        (place, h, r, result) for place, h, result in blocks
                        for r in range(result.block.n) if result.chosen.masks[t][r, slot]], states)
        for place, h, result in blocks:
            self.end(part.kv, place, h, result, states)
        if ends:
            self.emit("p", kind=3, key=0, mask=0, place=0)

    def beats(self, vector, first, **fields):
        cfg = self.cfg
        for beat in range(cfg.beats16(self.job.d)):
            data = np.full(cfg.QE, 77)
            part = vector[beat * cfg.QE : (beat + 1) * cfg.QE]
            data[: len(part)] = part
            self.emit("kv", first=first and beat == 0, data=pack(data, 16), **fields)

    def key(self, kv, key, wants, states):
        if not wants:
            return
        cfg, mask = self.cfg, 0
        for place, _, r, _ in wants:
            mask |= 1 << place * cfg.ROWS + r
        self.emit("p", kind=0, key=key, mask=mask, place=0)
        if len(self.sources[kv].claim(np.array([key]))[1]):
            self.emit("u", key=key, mean=0)
        self.beats(self.k[kv, key], True, end=0, mask=mask)
        self.beats(self.v[kv, key], False, end=0, mask=mask)
        for place, h, r, result in sorted(wants, key=lambda want: want[::2]):
            state, entry = states[place, r], self.job.table[h]
            dot = int(self.q[h, result.block.row + r].astype(np.int64) @ self.k[kv, key].astype(
                np.int64))
            z = int(formal.log2_score(np.array(dot), entry.scale_m, entry.scale_shift, cfg))
            m, dm, _ = formal.reference(state.m, state.seen, (np.array([z]) >> cfg.Z_FRAC) + 1,
                                        cfg)
            p = int(formal.weight(np.array([z]), m, cfg)[0])
            state.m, state.seen = m, np.ones(1, bool)
            state.l = (state.l >> min(int(dm[0]), 63)) + p
            self.unit("e", r, place, z=(z, 26), p=(p, 16), m=(int(m[0]), 17),
                      dm=(min(int(dm[0]), 63), 6), l=(int(state.l[0]), cfg.L_W))

    def unit(self, tap, r, place, **fields):
        """An item of one unit."""
        unit = r % self.units
        row_w = (self.cfg.PLACES - 1).bit_length() + (self.inside - 1).bit_length()
        fields["row"] = (place * self.inside + r // self.units, row_w)
        item = {name: (value & ((1 << width) - 1)) << unit * width
                for name, (value, width) in fields.items()}
        self.emit(tap, valid=1 << unit, **item)

    def end(self, kv, place, h, result, states):
        cfg, d = self.cfg, self.job.d
        mean = np.zeros(d, np.int64)
        self.emit("p", kind=1, key=0, mask=0, place=place)
        if self.blends:
            mean = self.means[kv, result.block.row // cfg.ROWS].astype(np.int64) * 256
            if not self.generates:
                self.emit("u", key=0, mean=1)
        self.beats(mean, True, end=1, mask=0)
        beat_w = (cfg.D_MAX // cfg.QE).bit_length()
        trace = result.trace
        for r in range(result.block.n):
            self.unit("l", r, place, sum=(int(states[place, r].l[0]), cfg.L_W))
            for beat in range(cfg.beats16(d)):
                data = np.full(cfg.QE, 55)
                part = trace.o_final[r, beat * cfg.QE : (beat + 1) * cfg.QE]
                data[: len(part)] = part
                self.unit("o", r, place, beat=(beat, beat_w), rcp=(int(trace.r_final[r]), 16),
                          data=(pack(data, 16), cfg.BUS_BYTES * 8))


def driver(cfg):
    return AsyncAccelerator(ModelTransport(cfg, memory_bytes=1 << 22), padding=1)


@functools.cache
def of_job(cfg, seed=1, rows=11, keys=40, d=8, **settings):
    """(expectation, items) of a random job."""
    rng = np.random.default_rng(seed)
    rows += cfg.ROWS - 4
    numbers, job = plan(2 * rng.normal(size=(4, rows, d)), *rng.normal(size=(2, 2, keys, d)), cfg,
                        **settings)
    fields = driver(cfg).describe(numbers, job).fields
    fields = {**dict.fromkeys(("VM_BASE_LO", "VM_BASE_HI", "VM_ROW_STRIDE", "VM_HEAD_STRIDE"), 0),
              **fields}
    result = head.run_job(numbers.q, numbers.k, numbers.v, numbers.k8, numbers.means, job, cfg,
                          trace=True)
    want = expectation(result.heads, 2, numbers.k, numbers.v, numbers.means, job, cfg, fields)
    return want, Emitter(cfg, job, numbers.q, numbers.k, numbers.v, numbers.means, result,
                         fields).items


def of_layer(cfg, there=False, **settings):
    """(expectation, items) of a random layer."""
    rng = np.random.default_rng(5)
    made = plan_layer(rng.normal(size=(40, 24)), *rng.normal(size=(2, 2, 24, 8)),
                      2 * rng.normal(size=(4, cfg.ROWS + 5, 8)), cfg, mode=rope.HALF,
                      rope_theta=1e3, **settings)
    exists = rng.random((2, 40)) < (0.4 if there else 0)
    run = functools.partial(head.run_job, trace=True)
    result = run_layer(made, cfg, exists.copy() if there else None, run)
    acc = driver(cfg)
    fields = acc.describe_layer(made, acc.place_layer(made), load=there)[1]
    fields = {**dict.fromkeys(("VM_BASE_LO", "VM_BASE_HI", "VM_ROW_STRIDE", "VM_HEAD_STRIDE"), 0),
              **fields}
    arrays = (result.k, result.v, result.means)
    want = expectation(result.heads, 2, *arrays, made.job, cfg, fields, exists.copy(),
                       made.shifts)
    whole = head.JobResult(None, None, None, None, None, 0, 0, result.heads)
    return want, Emitter(cfg, made.job, made.q, *arrays, whole, fields, exists.copy(),
                         made.shifts).items


WAYS = [{}, {"causal": True}, {"blend": False, "bc": 8}, {"causal": True, "offset": 60},
        {"select": head.SORT, "quota": 3}, {"select": head.DENSE, "causal": True},
        {"interleaved": False, "snap": 2, "causal": True, "band": 1}]


def score(cfg, wants, items):
    board = Scoreboard()
    scorer = TapScorer(None, cfg, board)
    scorer.expect(*wants)
    for tap, item in items:
        scorer.feed(tap, item)
    scorer.finish()
    assert not scorer.silent(board.compared)
    return board


@pytest.mark.parametrize("cfg", [TINY, SMALL], ids=lambda c: c.name)
@pytest.mark.parametrize("settings", WAYS, ids=str)
def test_jobs(cfg, settings):
    for d in (8, 16) if settings.get("causal") else (16,):
        want, items = of_job(cfg, d=d, **settings)
        board = score(cfg, [want], items)
        assert set(board.compared) | {"dlzs scores"} == set(STAGES)
        assert len(want.blocks) > cfg.places(d)


@pytest.mark.parametrize("there", [False, True])
@pytest.mark.parametrize("settings", [{}, {"causal": True}, {"select": head.SORT},
                                      {"select": head.DENSE}], ids=str)
def test_layers(there, settings):
    want, items = of_layer(TINY, there, **settings)
    assert score(TINY, [want], items).compared["kvgen read"]


FLIPS = {
    "t": ("turn", TURN["tau"][0], "sads turn: "), "s": ("scores", 0, "dlzs scores: "),
    "m": ("mask", 1, "sads mask: "), "f": ("data", 0, "sads f: "), "p": ("mask", 2, "rass item: "),
    "u": ("key", 0, "kvgen read: "), "kv": ("data", 3, "kvgen beat: "),
    "e": ("z", 0, r"sufa pair: tile \d+, query row \d+, key \d+, head \d, unit \d, pair \d+, field "
                  "z: bit 0 "),
    "l": ("sum", 0, "sufa l: "), "o": ("data", 0, "sufa o: "),
}
"""Tap -> field and bit to change, what the message begins with."""


@pytest.mark.parametrize("tap", FLIPS)
def test_a_wrong_bit_is_named(tap):
    """Every tap: a bit, a missing item, an item too many."""
    want, items = of_job(TINY, causal=True)
    # Not those in which the field means nothing: ends, means, f of rows that there are not.
    own = [i for i, (name, item) in enumerate(items) if name == tap
           and not (item.get("kind") or item.get("mean") or tap == "f" and item["word"])]
    name, bit, text = FLIPS[tap]
    at = own[len(own) // 2]
    item = dict(items[at][1])
    if "valid" in item:
        width = {"z": TINY.Z_W, "sum": TINY.L_W, "data": TINY.BUS_BYTES * 8}[name]
        bit = width * (item["valid"].bit_length() - 1)
    item[name] ^= 1 << bit
    with pytest.raises(AssertionError, match=f"^{text}") as failure:
        score(TINY, [want], [*items[:at], (tap, item), *items[at + 1 :]])
    assert {"row", "key", "block"} & set(str(failure.value).replace(",", "").split())
    with pytest.raises(AssertionError):
        score(TINY, [want], items[: own[-1]] + items[own[-1] + 1 :])
    last = next(entry for entry in reversed(items) if entry[0] == tap)
    with pytest.raises(AssertionError, match="expected"):
        score(TINY, [want], [*items, last])
