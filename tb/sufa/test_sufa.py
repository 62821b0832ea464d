# SPDX-License-Identifier: Apache-2.0
"""sofa_sufa: all units of SU-FA against models/sufa.py, and its rates.

Every value is compared: pairs of each unit in their order, l, R' and o' of the flush, the rows of O
with address and flags; the events of every cycle are counted.
"""

from __future__ import annotations

import cocotb
import numpy as np
import pytest
from cocotb.triggers import RisingEdge

from models.spec.configs import CONFIGS
from tb.runner import BuildError, build, parameters, run
from tb.runner import seed as sim_seed
from tb.sufa.bench import Bench, End

NAMES = ("ROWS", "D_MAX", "BUS_BYTES", "KEYS_MAX", "PLACES", "STORE_BEATS", "FIFO")


def wanted(bench, live, kind):
    """Rows bool [PLACES, ROWS] that want a key, none beyond those of the live blocks."""
    wants = bench.no_rows()
    for block in live:
        row = np.arange(bench.rows)
        if kind == "unit":
            share = row % bench.units == bench.units - 1
        elif kind == "row":
            share = row == 0
        else:
            share = bench.np_rng.random(bench.rows) < kind
        wants[block.place] = share & (row < block.rows)
    return wants


def random_program(bench, d, parts, keys):
    """Parts of some blocks in the next places, their keys, their ends. Some blocks have few rows,
    some keys nobody who wants them, some rows and blocks no key."""
    rng, program = bench.rng, []
    for _ in range(parts):
        live = []
        for _ in range(rng.randint(1, bench.cfg.places(d))):
            rows = bench.rows if rng.random() < 0.6 else rng.randint(1, bench.rows)
            live.append(bench.block(d, rows))
        program += live
        silent = bench.np_rng.random((bench.cfg.PLACES, bench.rows)) < 0.1
        some = [b for b in live if rng.random() < 0.9]
        for _ in range(rng.randint(keys // 2, keys)):
            kind = rng.choice([0, 0.02, 0.1, 0.5, 1, 1, "unit", "row"])
            program.append(bench.key(d, wanted(bench, some, kind) & ~silent))
        program += [End(block) for block in live]
    return program


def finish(bench):
    assert bench.board.finish("pairs", "l", "r", "o'", "flags", "addr", "out") > 100


@cocotb.test()
async def one_pair(dut):
    """The last row of a block, one key."""
    bench = Bench(dut, sim_seed())
    await bench.reset()
    block = bench.block(8)
    wants = bench.no_rows()
    wants[0, -1] = True
    await bench.run([block, bench.key(8, wants), End(block)], 8)
    finish(bench)


@cocotb.test()
async def random_programs(dut):
    """All sizes of d, random masks, parts one after the other in places that are used again; gaps
    in every stream, f that is late, a slow receiver."""
    bench = Bench(dut, sim_seed())
    sizes = range(8, bench.d_max + 1, 8)
    if len(sizes) > 4:
        sizes = sorted({8, bench.w, 2 * bench.w, bench.d_max, *bench.rng.sample(sizes, 2)})
    places = set()
    for d in sizes:
        for idle, hold, late in ((0, 0, 0), (0.5, 0, 0), (0, 0.8, 0), (0.2, 0.5, 400)):
            await bench.reset()
            program = random_program(bench, d, 4, 12 if d < bench.d_max else 6)
            await bench.run(program, d, idle=idle, hold=hold, late=late)
            places.add(bench.cfg.places(d))
    assert len(places) > 1 or places == {bench.cfg.PLACES}, f"places: {places}"
    finish(bench)


@cocotb.test()
async def full_masks(dut):
    """All rows of one block, and of all places, want all keys: every unit works in 99 cycles of
    100; the broadcast of a key that few want takes 2c."""
    bench = Bench(dut, sim_seed())
    for d in sorted({8, 2 * bench.w, bench.d_max}):
        for count in sorted({1, bench.cfg.places(d)}):
            await bench.reset()
            blocks = [bench.block(d) for _ in range(count)]
            keys = [bench.key(d, wanted(bench, blocks, 1)) for _ in range(24)]
            stats = await bench.run([*blocks, *keys, *(End(b) for b in blocks)], d)
            busy = np.flatnonzero(stats["busy"])
            share = sum(stats["busy"]) / (bench.units * (busy[-1] - busy[0] + 1))
            # A row takes no key before the third cycle of its last one.
            most = min(1, bench.rows_u * count * bench.c(d) / 3)
            dut._log.info("d %d, blocks %d: use of the units %.4f", d, count, share)
            assert share >= 0.99 * most
        await bench.reset()
        block, n = bench.block(d), 40
        keys = [bench.key(d, wanted(bench, [block], 0)) for _ in range(n)]
        for i, key in enumerate(keys):
            key.wants[0, i % bench.rows] = True
        stats = await bench.run([block, *keys, End(block)], d)
        busy = np.flatnonzero(stats["busy"])
        # From the first read of the first key to the last read of the last one.
        assert busy[-1] - busy[0] + 1 == (n - 1) * 2 * bench.c(d) + bench.c(d)
    finish(bench)


@cocotb.test()
async def flush_rate(dut):
    """Rows leave at a beat a cycle once units are ahead; a place is released before its last beat
    has left to a slow receiver; many small blocks."""
    bench = Bench(dut, sim_seed())
    for d in sorted({8, 2 * bench.w, bench.d_max}):
        await bench.reset()
        blocks = [bench.block(d) for _ in range(bench.cfg.places(d))]
        keys = [bench.key(d, wanted(bench, blocks, 1)) for _ in range(2)]
        stats = await bench.run([*blocks, *keys, *(End(b) for b in blocks)], d)
        beats, span = len(stats["out"]), stats["out"][-1] - stats["out"][0] + 1
        dut._log.info("d %d, c %d: %d beats of %d blocks in %d cycles, first release %d after the "
                      "first beat", d, bench.c(d), beats, len(blocks), span,
                      stats["released"][0] - stats["out"][0])
        # A unit takes 2c cycles a row, or a quarter of the way of a row through the flush.
        tree = bench.w.bit_length() // 2
        least = max(beats, len(blocks) * bench.rows_u * max(7 + 2 * tree, 2 * bench.c(d)))
        assert span <= 1.1 * least + 24
        await bench.reset()
        program = []
        for n in range(4 * bench.cfg.PLACES):
            block = bench.block(d, 1 + n % 2)
            program += [block, bench.key(d, wanted(bench, [block], 1)), End(block)]
        stats = await bench.run(program, d, hold=0.9)
        # Beats of the block that were behind the release of its place.
        ahead = sum(released < out for released, out in zip(
            stats["released"], stats["out"][bench.c(d) - 1:], strict=False))
        assert ahead > 0, "no place was released before its beats had left"
    finish(bench)


@cocotb.test()
async def one_slow_unit(dut):
    """The broadcast waits for a unit that is full although the others have room."""
    bench = Bench(dut, sim_seed())
    for d in sorted({8, bench.d_max}):
        await bench.reset()
        blocks = [bench.block(d) for _ in range(bench.cfg.places(d))]
        keys = []
        for n in range(4 * parameters()["FIFO"]):
            wants = wanted(bench, blocks, "unit")
            if n % 3 == 0:
                wants[0, 0] = True
            keys.append(bench.key(d, wants))
        stats = await bench.run([*blocks, *keys, *(End(b) for b in blocks)], d)
        busy = np.flatnonzero(stats["busy"])
        most = bench.rows_u * len(blocks) * bench.c(d) * len(keys)
        assert busy[-1] - busy[0] + 1 <= 1.02 * most + 8
    finish(bench)


@cocotb.test()
async def reset_in_the_middle(dut):
    """A program that is dropped by rst at any time leaves nothing behind."""
    bench = Bench(dut, sim_seed())
    for _ in range(4):
        await bench.reset()
        task = cocotb.start_soon(bench.run(random_program(bench, 16, 4, 8), 16))
        for _ in range(bench.rng.randint(60, 600)):
            if task.done():
                break
            await RisingEdge(dut.clk)
        for each in (task, *bench.tasks):
            each.cancel()
        await bench.reset()
        await bench.run(random_program(bench, 16, 1, 6), 16)
    finish(bench)


def stage_parameters(name, **extra):
    """Parameters of the stage in a configuration of models/spec/configs.py."""
    return CONFIGS[name].pick(*NAMES, **extra)


@pytest.mark.configs("tiny", "small")
@pytest.mark.slow_on("icarus", "small")
def test_stage(sim, config, seed):
    run("sofa_sufa", __name__, stage_parameters(config.name), sim, seed=seed)


@pytest.mark.slow_on("icarus")
@pytest.mark.slow_on("verilator")
@pytest.mark.parametrize("extra", [
    # More units than rows in a word of f; two places in a store that does not divide by them.
    {"ROWS": 16, "PLACES": 4, "STORE_BEATS": 130, "F_FRAC": 12},
    # A store larger than the places, where vectors are short.
    {"PLACES": 8, "STORE_BEATS": 100},
    # Beats that d does not fill.
    {"ROWS": 16, "BUS_BYTES": 32, "D_MAX": 64, "STORE_BEATS": 192, "PLACES": 8, "F_FRAC": 4}])
def test_other_widths(sim, seed, extra):
    run("sofa_sufa", __name__, stage_parameters("tiny", **extra), sim, seed=seed,
        testcase=["one_pair", "random_programs", "one_slow_unit"])


@pytest.mark.slow
@pytest.mark.configs("paper")
@pytest.mark.sims("verilator")
def test_stage_paper(sim, config, seed):
    run("sofa_sufa", __name__, stage_parameters(config.name), sim, seed=seed,
        testcase=["one_pair", "full_masks", "flush_rate"])


def test_builds_without_taps(sim):
    build("sofa_sufa", stage_parameters("tiny", TAPS=0), sim)


@pytest.mark.parametrize("bad", [{"ROWS": 24}, {"ROWS": 2}, {"BUS_BYTES": 4}, {"D_MAX": 24},
                                 {"PLACES": 16}, {"STORE_BEATS": 31}, {"F_FRAC": 3},
                                 {"KEYS_MAX": 100}, {"FIFO": 1}])
def test_illegal_parameters_are_refused(sim, bad):
    # Verilator stops at those of the parts first.
    name = "illegal_parameter_sofa_" + ("sufa_see" if sim == "icarus" else "")
    with pytest.raises(BuildError, match=name):
        build("sofa_sufa", stage_parameters("tiny", **bad), sim)
