# SPDX-License-Identifier: Apache-2.0
"""The DLZS stage against the model: scores, order of turns and words, places, exact cycles."""

import random

import cocotb
import numpy as np
import pytest
from cocotb.triggers import ClockCycles

from models.spec.configs import CONFIGS
from tb.common.scoreboard import same
from tb.common.stream import Willing
from tb.dlzs.bench import LANES, NAMES, dimensions, score_bench
from tb.runner import BuildError, build, parameters, run


def snaps():
    """Rules that the simulated stage knows."""
    return [0, 1, 2] if parameters().get("TWO_TERM") else [0, 1]


@cocotb.test()
@cocotb.parametrize(idle=[0.0, 0.4], backpressure=[0.0, 0.3, 0.8])
async def scores(dut, idle, backpressure):
    """Random parts, with pauses of every stream."""
    tb = await score_bench(dut, idle=idle, backpressure=backpressure,
                           t_backpressure=random.choice([0.0, backpressure]))
    stalled = 0
    for d in random.sample(dimensions(tb.cfg), 2):
        tb.configure(d, random.choice(snaps()), 0)
        await tb.run_job(tb.plan(d, 3))
        stalled += tb.stalled
    assert tb.board.finish("DLZS", "turn", "last") > 30
    # At 0.3 the few words of a short run may all be taken at once.
    assert stalled == 0 if backpressure == 0 else stalled or backpressure < 0.5


@cocotb.test()
async def every_size(dut):
    """Tiles of every size, one after the other, for all blocks that fit."""
    tb = await score_bench(dut)
    cfg = tb.cfg
    for d in dimensions(cfg):
        tb.configure(d, random.choice(snaps()), 0)
        sizes = random.sample(range(1, cfg.BC_MAX + 1), min(cfg.BC_MAX, 2 * cfg.COLS))
        job = tb.plan(d, 1, sizes=[cfg.BC_MAX], tiles=len(sizes), blocks=min(2, cfg.places(d)))
        for n, tile in zip(sizes, job.tiles, strict=True):
            tile.n, tile.k8 = n, tile.k8[:n]
        for turn in job.turns:
            turn.word += turn.tile.n - (turn.word & 0xFF)
        await tb.run_job(job, full_first=True)
    same("dlzs remainders", set(range(cfg.COLS)), tb.remainders)
    assert tb.board.finish("DLZS")


@cocotb.test()
async def full_rate(dut):
    """A turn takes ceil(n/COLS)*d cycles, across turns, tiles, blocks and parts."""
    tb = await score_bench(dut)
    cfg = tb.cfg
    per_turn, groups = cfg.BC_MAX // cfg.COLS, cfg.COLS // LANES
    for d in dimensions(cfg):
        tb.configure(d, 1, 0)
        blocks, time = cfg.places(d), per_turn * d
        # So many tiles of a part that the Q of the next part is written meanwhile; if tiles are
        # written more slowly than used, only as many as the ring holds.
        slow = cfg.BC_MAX * cfg.beats8(d) + 4 > blocks * time
        tiles = cfg.K8_BUFS if slow else 2 + cfg.ROWS * cfg.beats16(d) // time
        work = tb.plan(d, 1 if slow else 2, sizes=[cfg.BC_MAX], tiles=tiles, blocks=blocks)
        cycles = np.reshape(await tb.run_job(work, full_first=True), (-1, groups))
        same("dlzs words", per_turn * len(work.turns), len(cycles))
        assert (np.diff(cycles, axis=1) == 1).all(), "words of a pass do not follow each other"
        gaps = np.diff(cycles[:, 0])
        if not slow and cfg.ROWS * cfg.beats16(d) + 4 > time:
            # Q of the second part comes later than it could be used.
            gaps = np.delete(gaps, slice(len(gaps) // 2 - blocks * per_turn, len(gaps) // 2
                                         + blocks * per_turn))
        assert (gaps == d).all(), f"d = {d}: passes start {gaps} cycles apart"
        dut._log.info("d %d: %d turns of %d cycles, %d words of %d", d, len(work.turns), time,
                      cycles.size, cycles[-1, -1] - cycles[0, 0] + 1)
    assert tb.board.finish("DLZS")


@cocotb.test()
async def short_tiles(dut):
    """Also tiles that end within a pass take ceil(n/COLS)*d cycles, words or not."""
    tb = await score_bench(dut)
    cfg = tb.cfg
    for d in (8, cfg.D_MAX):
        tb.configure(d, 0, 0)
        job = tb.plan(d, 1, sizes=range(1, cfg.BC_MAX), tiles=cfg.K8_BUFS, blocks=cfg.places(d))
        cycles = await tb.run_job(job, full_first=True)
        first, at = [], 0
        for turn in job.turns:
            first.append(cycles[at])
            at += -(-turn.tile.n // LANES)
        want = [-(-turn.tile.n // cfg.COLS) * d for turn in job.turns]
        same("dlzs cycles between words", want[:-1], np.diff(first).tolist())
    assert tb.board.finish("DLZS")


@cocotb.test()
async def latency(dut):
    """From a turn, from the commit of its tile and of its Q to the first word, idle array."""
    tb = await score_bench(dut)
    for d in dimensions(tb.cfg):
        tb.configure(d, 0, 0)
        for last in ("turn", "k8", "q"):
            await tb.reset()
            job = tb.plan(d, 1, sizes=[1], tiles=1, blocks=1)
            start, ahead, taken = tb.sink.count, tb.t.count, []
            turn = {"callback": lambda _, taken=taken: taken.append(tb.cycle.now())}
            if last != "turn":
                tb.turns.append(job.turns[0].word, **turn)
            if last == "q":
                await tb.fill(tb.k8, "k8", job.tiles[0].k8, 8, Willing(None))
            await tb.fill(tb.q, "q", job.blocks[0].q[: job.blocks[0].rows], 16, Willing(None))
            if last != "q":
                await tb.fill(tb.k8, "k8", job.tiles[0].k8, 8, Willing(None))
            now = tb.cycle.now()
            if last == "turn":
                await ClockCycles(tb.clk, 4)
                tb.turns.append(job.turns[0].word, **turn)
            await tb.sink.wait(start + 1, timeout=2000)
            begin = taken[0] if last == "turn" else now
            delay = {"turn": d + 4, "k8": d + 4, "q": d + 5}[last]
            assert tb.sink.cycles[start] - begin == delay, f"d = {d}, {last} last"
            same("dlzs cycles of a turn", 1, tb.t.cycles[ahead] - taken[0])
            await ClockCycles(tb.clk, 4)
            tb.check_turns(job, start, ahead)
    assert tb.board.finish("DLZS")


@cocotb.test()
async def turns_run_ahead(dut):
    """While the first turn waits for its Q, sads gets the turns that follow."""
    tb = await score_bench(dut)
    tb.configure(8, 0, 0)
    job = tb.plan(8, 1, tiles=4, blocks=2)
    ahead = tb.t.count
    tb.turns.extend(turn.word for turn in job.turns)
    await ClockCycles(tb.clk, 12)
    same("dlzs turns", [turn.word for turn in job.turns[:4]], tb.t.items[ahead:])
    same("dlzs", [0, 0], [tb.sink.count, tb.busy], field="words, ev_busy")


@cocotb.test()
@cocotb.parametrize(backpressure=[0.0, 0.5])
async def dense(dut, backpressure):
    """Turns pass with the Q of their blocks; nothing else happens."""
    tb = await score_bench(dut, idle=backpressure, t_backpressure=backpressure)
    cfg = tb.cfg
    for _ in range(2):
        tb.configure(cfg.D_MAX, 0, 1)
        before = tb.t.count
        await tb.run_job(tb.plan(cfg.D_MAX, 4))
        if backpressure == 0:
            # All but those that wait for Q follow each other.
            gaps = np.diff(tb.t.cycles[before:])
            assert (gaps == 1).sum() >= len(gaps) - tb.rings["q"].filled
        # The next job predicts again.
        tb.configure(8, 0, 0)
        await tb.run_job(tb.plan(8, 1))
    assert tb.board.finish("DLZS", "turn")


@cocotb.test()
async def abort(dut):
    """A reset at any moment empties the stage; the next job finds it as after power-up."""
    tb = await score_bench(dut, idle=0.2, backpressure=0.3)
    for _ in range(6):
        d = random.choice(dimensions(tb.cfg))
        tb.configure(d, 0, random.getrandbits(1))
        job = tb.plan(d, 2)
        await tb.reset()
        tasks = [cocotb.start_soon(tb.feed_q(job)), cocotb.start_soon(tb.feed_k8(job))]
        tb.turns.extend(turn.word for turn in job.turns)
        await ClockCycles(tb.clk, random.randint(1, 20 * d))
        for task in tasks:
            task.cancel()
        tb.configure(d, 0, 0)
        await tb.run_job(tb.plan(d, 1))
    assert tb.board.finish("DLZS")


@pytest.mark.slow_on("icarus", "small")
@pytest.mark.configs("tiny", "small")
def test_sofa_dlzs(sim, config, seed):
    run("sofa_dlzs", __name__, config.pick(*NAMES, "TWO_TERM"), sim, seed=seed)


@pytest.mark.slow
@pytest.mark.sims("verilator")
@pytest.mark.configs("paper")
def test_sofa_dlzs_paper(sim, config, seed):
    run("sofa_dlzs", __name__, config.pick(*NAMES, "TWO_TERM"), sim, seed=seed)


TINY = CONFIGS["tiny"].pick(*NAMES)


@pytest.mark.parametrize("shape", [
    # Eight words a pass of eight terms; beats a row that are no power of two.
    pytest.param({"COLS": 32, "BC_MAX": 64, "PLACES": 8, "STORE_BEATS": 44},
                 marks=pytest.mark.slow_on("icarus")),
    pytest.param({"ROWS": 16, "COLS": 16, "BC_MAX": 16, "D_MAX": 32, "BUS_BYTES": 16, "PLACES": 2,
                  "STORE_BEATS": 16 * 8, "SC_FRAC": 8, "K8_BUFS": 3},
                 marks=pytest.mark.slow_on("icarus")),
], ids=["8groups", "1pass"])
def test_sofa_dlzs_shapes(sim, seed, shape):
    run("sofa_dlzs", __name__, {**TINY, **shape}, sim, seed=seed)


@pytest.mark.parametrize("bad", [{"ROWS": 2}, {"COLS": 32}, {"COLS": 64, "BC_MAX": 64},
                                 {"D_MAX": 24}, {"BUS_BYTES": 128}, {"K8_BUFS": 5}, {"PLACES": 16},
                                 {"STORE_BEATS": 31}, {"ROPE_PAIRS": 3}, {"ROPE_PAIRS": 4}])
def test_illegal_parameters_are_refused(sim, bad):
    # Which of the stage's modules refuses first is up to the tool.
    with pytest.raises(BuildError, match="illegal_parameter_"):
        build("sofa_dlzs", {**TINY, **bad}, sim)
