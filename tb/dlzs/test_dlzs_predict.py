# SPDX-License-Identifier: Apache-2.0
"""Predict jobs of the DLZS stage against the model: every byte of memory, rates, stalls, aborts."""

import itertools
import random
from collections import deque
from types import SimpleNamespace

import cocotb
import numpy as np
import pytest
from cocotb.triggers import ClockCycles

from models import dlzs, rope
from models.spec.configs import CONFIGS
from tb.common.scoreboard import pack, same, unpack
from tb.common.signals import reader, writer
from tb.common.stream import StreamSink, StreamSource, Willing
from tb.common.turns import TURN, any_turn
from tb.dlzs.bench import NAMES, TB, some
from tb.runner import parameters, run

# Where the RoPE table and K8 lie in the memory that the bench plays.
RT_BASE, K8_BASE = 0x1_0000_0000, 0xFE_0000_0000
JUNK = 0x55


def ceil(a, b):
    return -(-a // b)


class Predict(TB):
    """Plays the X8 ring, both streams and the store: a memory that answers after a while."""

    def __init__(self, dut, idle=0.0, backpressure=0.0, late_rows=0):
        super().__init__(dut, idle)
        self.pairs = parameters().get("ROPE_PAIRS", 1)
        self.w = StreamSource(dut, "w_d", dut.clk, dut.rst, idle=some(idle))
        self.r = StreamSource(dut, "r_d", dut.clk, dut.rst, idle=some(idle))
        late = itertools.repeat((1, late_rows)) if late_rows else some(backpressure)
        self.commands = StreamSink(dut, "r_c", dut.clk, dut.rst, fields=("addr", "beats"),
                                   backpressure=late, callback=self._command)
        self.x = StreamSink(dut, "x", dut.clk, dut.rst, fields=("addr", "data", "strb"),
                            backpressure=some(backpressure), callback=self._write)
        self.answer = writer(dut.x_done)
        self.answer("0")
        # Cycles from a beat to its answer, at least and at most.
        self.least = self.delay = 0
        self.done_cycles = []
        self.forget()
        cocotb.start_soon(self._answers())

    def forget(self):
        self.owed, self.rows, self.beats = deque(), [], 0
        self.k8_at = self.answered = 0

    async def reset(self):
        await super().reset()
        self.forget()

    def _command(self, item):
        job, size = self.job, self.cfg.BUS_BYTES
        token, rest = divmod(item["addr"] - RT_BASE, job.rt_stride)
        assert rest == 0 and item["beats"] == ceil(2 * job.d, size)
        self.rows.append(token)
        row = self.np.integers(0, 256, item["beats"] * size)
        row[: 2 * job.d] = np.frombuffer(job.rt[token].astype("<i2").tobytes(), np.uint8)
        self.r.extend(pack(beat, 8) for beat in row.reshape(-1, size))

    def _write(self, item):
        size = self.cfg.BUS_BYTES
        at = item["addr"] - K8_BASE
        assert at % size == 0 and 0 <= at and at + size <= len(self.job.memory), hex(at)
        assert item["strb"], "a beat without bytes"
        strobes = unpack(item["strb"], size, 1).astype(bool)
        where = at + np.flatnonzero(strobes)
        data = unpack(item["data"], size, 8)
        assert not data[~strobes].any(), "bytes without a strobe must be 0"
        self.job.memory[where] = data[strobes]
        self.job.writes[where] += 1
        self.beats += 1
        self.owed.append(self.cycle.now() + random.randint(self.least, self.delay))

    async def _answers(self):
        """Answer the beats in order; note when a chunk is reported done."""
        done, in_reset = reader(self.dut.kp_done), reader(self.dut.rst)
        while True:
            await self.edge
            if in_reset() != "0":
                self.owed.clear()
                self.answer("0")
                continue
            if done() == "1":
                self.done_cycles.append(self.cycle.now())
                self.chunk_done()
            ready = self.owed and self.owed[0] <= self.cycle.now()
            self.answer("1" if ready else "0")
            if ready:
                self.owed.popleft()
                self.answered += 1

    def chunk_done(self):
        """Every byte of this chunk, and the answer of its last beat, must be there."""
        where = self.job.places[self.k8_at]
        self.k8_at += 1
        assert (self.job.writes[where] == 1).all(), "done before all bytes were written"
        assert self.answered >= self.job.beats[: self.k8_at].sum(), "done before the answers"

    def plan(self, d, heads, h, tokens, mode, spread=True):
        """A job: X8, codes, table, strides, numbers; the chunks of every group of tokens."""
        cfg, size = self.cfg, self.cfg.BUS_BYTES
        job = SimpleNamespace(d=d, h=h, mode=mode)
        job.x8 = self.np.integers(-128, 128, (tokens, h)).astype(np.int8)
        codes = self.np.integers(0, 16, (heads, h, d))
        zero = self.np.random((heads, h, d)) < 0.2
        job.codes = np.where(zero, codes & 8, codes).astype(np.uint8)
        job.rt = self.np.integers(-16384, 16385, (tokens, d)).astype(np.int16)
        job.numbers = [self.numbers_of(job, codes, spread) for codes in job.codes]
        beats = ceil(d, size)
        job.stride = size * random.choice([beats, beats + 1, heads * beats + 1])
        if job.stride >= size * heads * beats:
            job.hstride = size * beats
        else:
            job.hstride = job.stride * tokens + size * random.randrange(2)
        job.rt_stride = size * (ceil(2 * d, size) + random.randrange(2))
        length = job.hstride * (heads - 1) + job.stride * (tokens - 1) + size * beats
        job.memory = np.full(length, JUNK, np.uint8)
        job.writes = np.zeros(length, np.int64)
        self.write_codes(job)
        job.tiles, job.places, beat_counts = [], [], []
        for first in range(0, tokens, cfg.COLS):
            n = min(cfg.COLS, tokens - first)
            for rows in dlzs.chunks(heads, d, cfg):
                self._add_chunk(job, first, n, rows)
                beat_counts.append(len(np.unique(job.places[-1] // size)))
        job.beats = np.array(beat_counts)
        return job

    def numbers_of(self, job, codes, spread):
        """(exp, bias, shift) of a head."""
        exp, shift = random.randrange(9), random.randrange(16)
        bias = random.choice([-32768, 32767, 0, random.randrange(-32768, 32768)])
        if spread:
            # The largest keys just pass the end of 8 bits.
            sums = dlzs.predict_sums(job.x8, codes, self.cfg, exp)
            bias = random.choice([-1, 1]) * min(32767, int(np.abs(sums).max()) // 8)
            t = dlzs.predict_t(sums, self.cfg, bias)
            shift = max(0, int(np.abs(t).max()).bit_length() - 8)
        return exp, bias, shift

    def write_codes(self, job):
        """The beats of weight codes of all chunks of all groups. What nobody may look at is random;
        an exponent of 8 is written as 8 or more."""
        size = self.cfg.BUS_BYTES
        entries = [dlzs.pack_entry(exp, bias, shift) | random.randrange(256) << 8
                   | (random.randrange(8) if exp == 8 else 0) for exp, bias, shift in job.numbers]
        image = dlzs.pack_codes(job.codes, entries, self.cfg, job.mode)
        unused = image[:, 4 * max(1, self.cfg.ROWS // 8) : self.cfg.header_bytes]
        unused[:] = self.np.integers(0, 256, unused.shape)
        beats = [pack(beat, 8) for beat in image.reshape(-1, size)]
        job.words = beats * ceil(len(job.x8), self.cfg.COLS)

    def _add_chunk(self, job, first, n, rows):
        size, (head, place) = self.cfg.BUS_BYTES, np.array(rows).T
        kaddr = K8_BASE + job.stride * first + job.hstride * int(head[0])
        parts = range(0, job.h, size)
        for e in parts:
            x8 = job.x8[first : first + n, e : e + size]
            turn = any_turn(n=n, rows=len(rows), start=e == 0, final=e == parts[-1],
                             rel=x8.shape[1], kstep=int(place[0]) // self.cfg.ROWS, kbase=kaddr,
                             vbase=RT_BASE + job.rt_stride * first, tile_last=1)
            job.tiles.append((turn, x8))
        dims = rope.pair_dims(job.d, job.mode)[place]
        token = np.arange(first, first + n)[:, None]
        job.places.append((head * job.hstride + dims + token * job.stride).reshape(-1))

    def configure(self, job):
        self.job = job
        self.beats, self.k8_at, self.answered, self.rows = 0, 0, 0, []
        self.dense = 0
        values = {"d": job.d, "dense": random.getrandbits(1), "snap": random.randrange(2),
                  "predict": 1, "rope": job.mode, "k8_stride": job.stride,
                  "k8_hstride": job.hstride, "rt_stride": job.rt_stride}
        for name, value in values.items():
            getattr(self.dut, f"cfg_{name}").value = value

    async def feed_parts(self, job):
        willing = Willing(some(self.idle))
        self.turns.extend(turn for turn, _ in job.tiles)
        for _, x8 in job.tiles:
            await self.fill(self.k8, "k8", x8, 8, willing)

    async def predict(self, job, timeout=40_000):
        """Do ``job`` and check memory; returns the cycles in which its chunks were done."""
        self.configure(job)
        start, busy, begin = len(self.done_cycles), self.busy, (self.sink.count, self.t.count)
        self.w.extend(job.words)
        cocotb.start_soon(self.feed_parts(job))
        limit = self.cycle.now() + timeout
        while len(self.done_cycles) < start + len(job.places):
            await ClockCycles(self.clk, 8)
            assert self.cycle.now() < limit, f"{len(self.done_cycles) - start} chunks done"
        await ClockCycles(self.clk, 40)
        self.check(job)
        assert self.w.empty and self.r.empty, "beats that nobody took"
        same("dlzs", len(job.places) * job.h, self.busy - busy, field="ev_busy")
        same("dlzs chunks", len(job.places), len(self.done_cycles) - start)
        assert (self.sink.count, self.t.count) == begin, "words or turns for sads"
        assert self.turns.empty, "turns that nobody took"
        return np.array(self.done_cycles[start:])

    def check(self, job):
        tokens, heads = len(job.x8), len(job.codes)
        want = np.full_like(job.memory, JUNK)
        count = np.zeros_like(job.writes)
        values = []
        for head in range(heads):
            k8 = dlzs.predict_keys(job.x8, job.codes[head], self.cfg, *job.numbers[head], job.mode,
                                   job.rt)
            where = (np.arange(tokens)[:, None] * job.stride + head * job.hstride
                     + np.arange(job.d))
            want[where] = k8.view(np.uint8)
            count[where] = 1
            values.append(k8)
        assert np.array_equal(job.writes, count), "bytes not written once"
        self.board.compare("K8", want.view(np.int8), job.memory.view(np.int8), axes=("byte",),
                           where={"d": job.d, "mode": job.mode}, width=8)
        self.values = np.stack(values)
        same("dlzs beats", int(job.beats.sum()), self.beats)
        groups = len(job.places) // len(dlzs.chunks(heads, job.d, self.cfg))
        cols, per_group = self.cfg.COLS, len(job.places) // groups
        expected = [j for first in range(0, tokens, cols) for _ in range(per_group)
                    for j in range(first, min(first + cols, tokens))]
        assert self.rows == (expected if job.mode else []), "wrong table rows"
        ring = self.rings["k8"]
        self.board.compare_fields("k8", {"released": ring.filled}, {"released": ring.released})

    def drain_cycles(self, d, rows):
        """Cycles a token takes behind the word buffer, after dlzs_khat's header."""
        cfg = self.cfg
        outputs = min(d, rows)
        beats = ceil(outputs, cfg.BUS_BYTES)
        if d > cfg.ROWS or outputs % cfg.BUS_BYTES:
            # A half of a part may touch a beat more at each end.
            beats = 2 * ceil(outputs // 2, cfg.BUS_BYTES) + 2 if d > cfg.ROWS else beats
        head = max(ceil(outputs, 2 * min(self.pairs, cfg.D_MAX // 2)), beats)
        return max(rows // outputs * head, ceil(2 * d, cfg.BUS_BYTES))


def shapes(cfg):
    """Head dimensions: the smallest, at and above ROWS, an odd multiple of 8, the largest."""
    return [d for d in sorted({8, 24, cfg.ROWS, 2 * cfg.ROWS, cfg.D_MAX})
            if d % 8 == 0 and d <= cfg.D_MAX]


def random_job(tb, **fixed):
    """Random sizes; a few chunks of a few groups."""
    cfg = tb.cfg
    d = fixed.pop("d", None) or random.choice(shapes(cfg))
    per_chunk = max(1, cfg.ROWS // d)
    heads = fixed.pop("heads", None) or random.choice([1, per_chunk, per_chunk + 1])
    values = {"h": 8 * random.randint(1, 4), "tokens": random.randint(1, cfg.COLS + 4),
              "mode": random.randrange(3), **fixed}
    return tb.plan(d, heads, **values)


async def start(dut, **options):
    tb = Predict(dut, **options)
    await tb.reset()
    return tb


@cocotb.test()
@cocotb.parametrize(mode=[rope.OFF, rope.INTERLEAVED, rope.HALF])
async def every_dimension(dut, mode):
    tb = await start(dut)
    ends = inner = 0
    # Small jobs may miss the ends, or meet nothing else: then there are more of them.
    dims = shapes(tb.cfg)
    for number in range(30):
        if number >= max(4, len(dims)) and ends and inner > 50 and tb.board.total > 100:
            break
        d = dims[number % len(dims)]
        await tb.predict(random_job(tb, d=d, mode=mode))
        ends += int(np.isin(tb.values, (-127, 127)).sum())
        inner += len(np.unique(tb.values))
    assert tb.board.finish("K8") > 100 and ends and inner > 50


@cocotb.test()
async def least_key(dut):
    """A sum that would give -128 gives -127."""
    tb = await start(dut)
    cfg = tb.cfg
    job = tb.plan(8, 1, 16, cfg.COLS, rope.OFF)
    exp, shift = 0, 3
    sums = dlzs.predict_sums(job.x8, job.codes[0], cfg, exp)
    bias = -(128 << shift + max(cfg.SC_W - 16, 0)) - int(sums.min())
    assert dlzs.predict_t(sums, cfg, bias).min() == -128 << shift
    job.numbers = [(exp, bias, shift)]
    tb.write_codes(job)
    await tb.predict(job)
    assert tb.board.finish("K8") and tb.values.min() == -127


@cocotb.test()
@cocotb.parametrize(idle=[0.0, 0.4], backpressure=[0.3, 0.8])
async def stalls(dut, idle, backpressure):
    """Every stream pauses on its own; answers come late, but in order."""
    tb = await start(dut, idle=idle, backpressure=backpressure)
    tb.delay = 30
    for number in range(30):
        # Three may be very small ones.
        if number >= 3 and tb.board.total > 40:
            break
        await tb.predict(random_job(tb, spread=False))
    assert tb.board.finish("K8") > 40


@cocotb.test()
async def late_rows(dut):
    """Chunks of one token pile up as far as they can before the first row of the table comes."""
    tb = await start(dut, late_rows=150)
    heads = ceil(9, ceil(8, tb.cfg.ROWS)) * max(1, tb.cfg.ROWS // 8)
    await tb.predict(tb.plan(8, heads, 8, 1, rope.HALF))
    assert tb.stalled > 100
    assert tb.board.finish("K8")


@cocotb.test()
async def late_answers(dut):
    """Far more chunks than can wait for their answers: the stage waits and reports each once."""
    tb = await start(dut)
    tb.least = tb.delay = 400
    heads = ceil(20, ceil(8, tb.cfg.ROWS)) * max(1, tb.cfg.ROWS // 8)
    await tb.predict(tb.plan(8, heads, 8, 1, rope.OFF))
    assert tb.stalled > 100
    assert tb.board.finish("K8")


@cocotb.test()
async def full_rate(dut):
    """A chunk every H cycles, or as its keys can leave; the array never waits for the buffer."""
    tb = await start(dut)
    cfg, steady = tb.cfg, 0
    for mode in (rope.OFF, rope.HALF):
        for d in shapes(cfg)[-3:]:
            heads = max(1, cfg.ROWS // d)
            rows = min(d, cfg.ROWS) * heads
            keys = cfg.COLS * tb.drain_cycles(d, rows) + 4
            codes = ceil(cfg.ROWS, 2 * cfg.BUS_BYTES)
            h = 8 * ceil(max(keys, 24), 8)
            # A short part would be read faster than the next one is written.
            h = ceil(h, cfg.BUS_BYTES) * cfg.BUS_BYTES
            job = tb.plan(d, heads, h, 3 * cfg.COLS, mode)
            before, begin, tb.release_cycles = tb.stalled, tb.cycle.now(), []
            done = await tb.predict(job)
            tb.dut._log.info("d %d mode %d H %d: %d chunks in %d cycles, last %d after the array",
                             d, mode, h, len(done), done[-1] - begin,
                             done[-1] - tb.release_cycles[-1])
            assert tb.stalled == before, "the array waited for the word buffer"
            assert done[-1] - tb.release_cycles[-1] <= keys + 20
            if cfg.COLS < cfg.BUS_BYTES:
                # The ring is written faster than read: no cycle without an element, a code, or a
                # beat of a header, before the first part of a chunk.
                gaps = np.diff(tb.release_cycles)
                header, first = codes, TURN["start"][0]
                want = [codes * x8.shape[1] + header * (turn >> first & 1)
                        for turn, x8 in job.tiles][1:]
                assert (gaps == want).all(), f"d = {d}: parts take {gaps} cycles, not {want}"
                steady += len(gaps)
    assert tb.board.finish("K8") and (steady > 20 or cfg.COLS >= cfg.BUS_BYTES)


@cocotb.test()
async def latency(dut):
    """From the read of a chunk's last element to its first beat, with an idle stage."""
    tb = await start(dut)
    for d in shapes(tb.cfg):
        for mode in (rope.OFF, rope.HALF):
            before = tb.x.count
            await tb.predict(tb.plan(d, 1, 16, 1, mode))
            chunk = ceil(16, tb.cfg.BUS_BYTES) - 1
            first, chunks = tb.x.cycles[before], len(tb.job.places)
            read = tb.release_cycles[-(chunk + 1) * chunks :][chunk] - 1
            steps = ceil(min(d, tb.cfg.ROWS), 2 * min(tb.pairs, tb.cfg.D_MAX // 2))
            assert first - read == 13 + steps, f"d = {d}"
    tb.board.finish("K8")


@cocotb.test()
async def short_sums(dut):
    """The keys take longer than the sums: the array waits, and the rate is that of the keys."""
    tb = await start(dut)
    d = tb.cfg.D_MAX
    heads = max(1, tb.cfg.ROWS // d)
    job = tb.plan(d, heads, 8, 8 * tb.cfg.COLS, rope.INTERLEAVED)
    begin = tb.cycle.now()
    cycles = await tb.predict(job)
    keys = tb.cfg.COLS * tb.drain_cycles(d, min(d, tb.cfg.ROWS) * heads)
    # The array's own time: codes, and the writes of the ring, one token a cycle.
    sums = max(tb.cfg.COLS + 4, 9 * ceil(tb.cfg.ROWS, 2 * tb.cfg.BUS_BYTES))
    assert cycles[-1] - begin <= len(cycles) * (max(keys, sums) + 2) + keys + 60
    assert tb.stalled or keys < sums + 8
    tb.board.finish("K8")


@cocotb.test()
async def score_job_after_predict(dut):
    """Predict, abort in the middle, predict, then a score job; each finds the stage empty."""
    tb = await start(dut, idle=0.2, backpressure=0.2)
    for _ in range(3):
        job = random_job(tb)
        tb.configure(job)
        tb.w.extend(job.words)
        task = cocotb.start_soon(tb.feed_parts(job))
        await ClockCycles(tb.clk, random.randint(1, 6 * job.h))
        task.cancel()
        await tb.reset()
        await tb.predict(random_job(tb))
    assert tb.board.finish("K8")


@cocotb.test()
async def score_job(dut):
    """A score job after a predict job and a reset, on the same stage."""
    tb = await start(dut)
    await tb.predict(random_job(tb))
    await tb.reset()
    tb.dut.cfg_predict.value = 0
    await TB.scrub(tb)
    TB.configure(tb, tb.cfg.D_MAX, 0, 0)
    await tb.run_job(TB.plan(tb, tb.cfg.D_MAX, 2))
    assert tb.board.finish("DLZS", "K8")


@pytest.mark.parametrize("pairs", [1, 2])
@pytest.mark.configs("tiny")
def test_sofa_predict_tiny(sim, config, seed, pairs):
    run("sofa_dlzs", __name__, config.pick(*NAMES, ROPE_PAIRS=pairs), sim, seed=seed)


@pytest.mark.slow_on("icarus", "small")
@pytest.mark.configs("small")
def test_sofa_predict_small(sim, config, seed):
    run("sofa_dlzs", __name__, config.pick(*NAMES, ROPE_PAIRS=1), sim, seed=seed)


@pytest.mark.slow
@pytest.mark.sims("verilator")
@pytest.mark.configs("small")
def test_sofa_predict_small_pairs(sim, config, seed):
    run("sofa_dlzs", __name__, config.pick(*NAMES, ROPE_PAIRS=8), sim, seed=seed)


TINY = CONFIGS["tiny"].pick(*NAMES)

SHAPES = {
    # Eight words a chunk.
    "8groups": {"COLS": 32, "BC_MAX": 64},
    # A code word is several beats; a table word too; more pairs than the smallest heads have.
    "long_words": {"ROWS": 32, "D_MAX": 32, "BC_MAX": 8, "STORE_BEATS": 512, "ROPE_PAIRS": 16,
                   "TWO_TERM": 1},
}


@pytest.mark.slow_on("icarus")
@pytest.mark.parametrize("shape", SHAPES)
def test_sofa_predict_shapes(sim, seed, shape):
    run("sofa_dlzs", __name__, {**TINY, **SHAPES[shape]}, sim, seed=seed)


LARGE_SHAPES = {
    # More pairs than half the largest head; eight heads in a chunk.
    "wide": {"ROWS": 64, "BUS_BYTES": 16, "STORE_BEATS": 256, "ROPE_PAIRS": 32, "SC_FRAC": 8},
    # Two heads of 32, or two of 24 with rows left over, in a chunk; four words a chunk.
    "several_heads": {"ROWS": 64, "COLS": 16, "D_MAX": 64, "BC_MAX": 32, "BUS_BYTES": 32,
                      "STORE_BEATS": 512, "ROPE_PAIRS": 4},
    # Parts of one head that are shorter than a beat's elements; three buffers.
    "parts": {"ROWS": 8, "COLS": 32, "D_MAX": 32, "BC_MAX": 64, "BUS_BYTES": 16,
              "STORE_BEATS": 64, "ROPE_PAIRS": 4, "K8_BUFS": 3},
}


@pytest.mark.sims("verilator")
@pytest.mark.parametrize("shape", [
    pytest.param(name, marks=[pytest.mark.slow] * (name != "parts")) for name in LARGE_SHAPES])
def test_sofa_predict_large_shapes(sim, seed, shape):
    run("sofa_dlzs", __name__, {**TINY, **LARGE_SHAPES[shape]}, sim, seed=seed)
