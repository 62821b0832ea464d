# SPDX-License-Identifier: Apache-2.0
"""The DLZS stage against the model: scores, order of the words, rings, exact cycles."""

import random

import cocotb
import numpy as np
import pytest
from cocotb.triggers import ClockCycles

from models import dlzs
from tb.common.stream import Willing
from tb.dlzs.bench import dimensions, score_bench
from tb.runner import BuildError, build, run


@cocotb.test()
@cocotb.parametrize(idle=[0.0, 0.4], backpressure=[0.0, 0.3, 0.8])
async def scores(dut, idle, backpressure):
    tb = await score_bench(dut, backpressure=backpressure)
    # full_rate goes through all of them.
    for d in random.sample(dimensions(tb.cfg), 2):
        tb.configure(d, random.choice([0, 1, 2] if tb.cfg.TWO_TERM else [0, 1]), 0)
        await tb.run_job(tb.plan(d, 2), idle)
    assert tb.board.finish("DLZS") > 30
    # At 0.3 the few words of a short run may all be taken at once.
    assert tb.stalled == 0 if backpressure == 0 else tb.stalled or backpressure < 0.5


@cocotb.test()
async def full_rate(dut):
    """Passes follow each other every d cycles, across tiles and blocks; words leave in a row."""
    tb = await score_bench(dut)
    cfg, steady = tb.cfg, 0
    per_tile = cfg.BC_MAX // cfg.COLS
    for d in dimensions(cfg):
        tb.configure(d, 1, 0)
        time = per_tile * d
        # So many full tiles that the next block's Q is written while they are predicted.
        work = tb.plan(d, 3, sizes=[cfg.BC_MAX], tiles=2 + cfg.ROWS * cfg.beats16(d) // time)
        tb.busy = 0
        cycles = await tb.run_job(work, q_last=True)
        passes = per_tile * sum(len(b.tiles) for b in work)
        cycles = np.reshape(cycles, (passes, tb.words))
        assert (np.diff(cycles, axis=1) == 1).all(), "words of a pass do not follow each other"
        assert tb.busy == passes * d, f"{tb.busy} busy cycles for {passes} passes of {d}"
        gaps = np.diff(cycles[:, 0])
        # All K8 buffers were full at the start; later ones only if the writes can keep up.
        if cfg.BC_MAX * cfg.beats8(d) + 8 > time:
            gaps = gaps[: cfg.K8_BUFS * per_tile - 1]
        assert (gaps == d).all(), f"d = {d}: passes start {gaps} cycles apart"
        steady += len(gaps)
    assert steady >= len(dimensions(cfg)) and tb.board.finish("DLZS")


@cocotb.test()
async def latency(dut):
    """Cycles from the tile's transfer to its first word, with an idle array."""
    tb = await score_bench(dut)
    for d in dimensions(tb.cfg):
        tb.configure(d, 0, 0)
        work = tb.plan(d, 1, sizes=[1])
        work[0].tiles = work[0].tiles[:1]
        # First and last tile of its block.
        work[0].tiles[0].td |= 3 << 16
        await tb.fill(tb.q, "q", work[0].q[: work[0].rows], 16, Willing(None))
        await ClockCycles(tb.clk, 4)
        tb.taken = []
        start = tb.sink.count
        await tb.fill(tb.k8, "k8", work[0].tiles[0].k8, 8, Willing(None))
        tb.td.append(work[0].tiles[0].td,
                     callback=lambda _: tb.taken.append(tb.cycle.now()))
        await tb.sink.wait(start + tb.words, timeout=2000)
        assert tb.sink.cycles[start] - tb.taken[0] == d + 3
        codes = dlzs.encode(work[0].q[: work[0].rows], 0)
        tb.check_tile(codes, work[0].tiles[0], 0, iter(range(start, tb.sink.count)))
    assert tb.board.finish("DLZS")


@cocotb.test()
@cocotb.parametrize(backpressure=[0.0, 0.5])
async def dense(dut, backpressure):
    tb = await score_bench(dut, backpressure=backpressure)
    for idle in (0.0, 0.5):
        tb.configure(tb.cfg.D_MAX, 0, 1)
        await tb.run_job(tb.plan(tb.cfg.D_MAX, 4), idle)
        # The next job predicts again.
        tb.configure(8, 0, 0)
        await tb.run_job(tb.plan(8, 1), idle)
    assert tb.checked >= 8 and tb.board.finish("DLZS")


@cocotb.test()
async def abort(dut):
    """A reset at any moment empties the stage; the next job finds it as after power-up."""
    tb = await score_bench(dut, backpressure=0.3)
    for _ in range(6):
        d = random.choice(dimensions(tb.cfg))
        tb.configure(d, 0, 0)
        work = tb.plan(d, 2)
        tasks = [cocotb.start_soon(tb.feed_q(work, 0.2)), cocotb.start_soon(tb.feed_k8(work, 0.2))]
        await ClockCycles(tb.clk, random.randint(1, 20 * d))
        for task in tasks:
            task.cancel()
        await tb.reset()
        await tb.run_job(tb.plan(d, 1))
    assert tb.board.finish("DLZS")


NAMES = ("ROWS", "COLS", "D_MAX", "BC_MAX", "BUS_BYTES")


@pytest.mark.slow_on("icarus", "small")
@pytest.mark.configs("tiny", "small")
def test_dlzs(sim, config, seed):
    run("dlzs", __name__, config.pick(*NAMES), sim, seed=seed)


@pytest.mark.configs("tiny")
def test_dlzs_two_term(sim, config, seed):
    run("dlzs", __name__, config.pick(*NAMES, TWO_TERM=1), sim, seed=seed)


@pytest.mark.slow
@pytest.mark.sims("verilator")
@pytest.mark.configs("small")
def test_dlzs_two_term_small(sim, config, seed):
    run("dlzs", __name__, config.pick(*NAMES, TWO_TERM=1), sim, seed=seed)


@pytest.mark.slow
@pytest.mark.sims("verilator")
@pytest.mark.configs("paper")
def test_dlzs_paper(sim, config, seed):
    run("dlzs", __name__, config.pick(*NAMES), sim, seed=seed)


@pytest.mark.parametrize("shape", [
    {"ROWS": 4, "COLS": 32, "D_MAX": 16, "BC_MAX": 64, "BUS_BYTES": 8},
    pytest.param({"ROWS": 4, "COLS": 64, "D_MAX": 16, "BC_MAX": 64, "BUS_BYTES": 8, "SC_FRAC": 0},
                 marks=pytest.mark.slow_on("verilator")),
    pytest.param({"ROWS": 8, "COLS": 16, "D_MAX": 16, "BC_MAX": 16, "BUS_BYTES": 16, "SC_FRAC": 8,
                  "K8_BUFS": 3}, marks=pytest.mark.slow_on("icarus")),
], ids=["3groups", "6groups", "1pass"])
def test_dlzs_shapes(sim, seed, shape):
    run("dlzs", __name__, shape, sim, seed=seed)


@pytest.mark.parametrize("bad", [{"ROWS": 2}, {"COLS": 32}, {"D_MAX": 24}, {"BUS_BYTES": 128},
                                 {"K8_BUFS": 5}, {"ROPE_PAIRS": 3}, {"ROPE_PAIRS": 4}])
def test_illegal_parameters_are_refused(sim, bad):
    # Which of the stage's modules refuses first is up to the tool.
    with pytest.raises(BuildError, match="illegal_parameter_dlzs"):
        build("dlzs", bad, sim)
