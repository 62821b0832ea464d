# SPDX-License-Identifier: Apache-2.0
"""sofa_sufa_unit: pairs, flush and output of a unit against models/second/sufa.py, and its rates.

Every value is compared: z, p, m, dm and l of each pair in the order of issue; l, R', o' of the flush;
the beats of the output with their tags.
"""

from __future__ import annotations

import cocotb
import numpy as np
import pytest
from cocotb.triggers import RisingEdge

from tb.runner import BuildError, build, run
from tb.runner import seed as sim_seed
from tb.sufa.unit_bench import Bench, Block, End, Key

SCALE = (23170, 21)


def vectors(bench, shape, spread=None):
    """Random int16, small or spread over the whole range, some of them at its ends."""
    rng = bench.np_rng
    spread = spread or int(rng.choice([300, 5000, 32767]))
    x = rng.integers(-spread, spread + 1, shape)
    ends = rng.random(shape) < 0.02
    return np.where(ends, rng.choice([-32768, 32767], shape), x)


def new_block(bench, d, place, q_place, rows=None, **options):
    """A block with random Q, scale, f and mean; f is 1 for some rows."""
    rng, one = bench.np_rng, 1 << bench.f_frac
    rows = bench.rows_u if rows is None else rows
    f = rng.integers(0, one + 1, bench.rows_u)
    f = np.where(rng.random(bench.rows_u) < 0.3, one, f)
    vm_w = int(rng.choice([4, 8, 8, 16]))
    top = 1 << (vm_w - 1)
    values = {
        "q": vectors(bench, (bench.rows_u, d)), "rows": rows,
        "scale": (int(rng.integers(1 << 14, 1 << 16)), int(rng.integers(14, 26))), "f": f,
        "mean": rng.integers(-top, top, d), "vm_w": vm_w, **options}
    return Block(place=place, q_place=q_place, **values)


def new_key(bench, d, wants, **options):
    """A random key that the rows of ``wants`` [PLACES_O, ROWS_U] want."""
    values = {"k": vectors(bench, d), "v": vectors(bench, d), **options}
    return Key(wants=np.asarray(wants, bool), **values)


def no_rows(bench):
    return np.zeros((bench.places_o, bench.rows_u), bool)


def random_program(bench, d, parts, keys, density=None):
    """Parts of some blocks in the next places, with keys for them; ends in the order of blocks, the
    last ones behind keys of the next part where places are left. Some blocks have few rows or
    none, some rows no key."""
    rng = bench.rng
    nq, no = bench.places(d)
    program, serial, late = [], 0, []
    for _ in range(parts):
        count = rng.randint(1, max(1, min(no, nq) - len(late)))
        live = []
        for _ in range(count):
            rows = bench.rows_u if rng.random() < 0.6 else rng.randint(0, bench.rows_u)
            live.append(new_block(bench, d, serial % no, serial % nq, rows))
            serial += 1
        program += live
        silent = bench.np_rng.random((bench.places_o, bench.rows_u)) < 0.1
        for n in range(rng.randint(keys // 2, keys)):
            wants, share = no_rows(bench), density or rng.choice([0.0, 0.1, 0.5, 0.9, 1.0])
            for block in live:
                row = bench.np_rng.random(bench.rows_u) < share
                wants[block.place] = row & (np.arange(bench.rows_u) < block.rows)
            program.append(new_key(bench, d, wants & ~silent))
            if late and n == keys // 4:
                program += late
                late = []
        program += late
        ends = [End(block) for block in live]
        cut = rng.randint(0, len(ends)) if len(live) < min(no, nq) else len(ends)
        program += ends[:cut]
        late = ends[cut:]
    return program + late


def finish(bench):
    assert bench.board.finish("pairs", "l", "r", "o'", "out") > 100


@cocotb.test()
async def one_pair(dut):
    """One row, one key, one beat."""
    bench = Bench(dut, sim_seed())
    await bench.reset()
    d = max(8, bench.w)
    block = new_block(bench, d, 0, 1, 1)
    wants = no_rows(bench)
    wants[0, 0] = True
    stats = await bench.run([block, new_key(bench, d, wants), End(block)], d)
    dut._log.info("pair %s, output %s", stats["busy"], stats["out"])
    assert bench.board.finish("pairs", "l", "r", "o'", "out") >= 10 + 2 * d


@cocotb.test()
async def random_programs(dut):
    """Random d, keys, masks, several bands in the same places; idle writers, slow receiver."""
    bench = Bench(dut, sim_seed())
    await bench.reset()
    sizes = sorted({8, 16, bench.w, bench.d_max, *(bench.rng.randrange(8, bench.d_max + 1, 8)
                                                  for _ in range(2))} - {4})
    overlap = 0
    for d in sizes:
        for idle, hold in ((0, 0), (0.5, 0), (0, 0.7), (0.3, 0.9)):
            program = random_program(bench, d, 4, 12)
            stats = await bench.run(program, d, idle=idle, hold=hold)
            overlap += stats["overlap"]
    assert overlap > 0, "no pair was computed beside a flush"
    finish(bench)


def unit_parameters(config, **extra):
    """Parameters of the unit in a configuration of scripts/configs.py."""
    w = config["BUS_BYTES"] // 2
    rows_u, c_max = w // 2, config["D_MAX"] // w
    p = {"W": w, "ROWS_U": rows_u, "PLACES_Q": 6, "PLACES_O": 4, "D_MAX": config["D_MAX"],
         "Q_WORDS": 3 * rows_u * c_max, "O_WORDS": 2 * rows_u * c_max,
         "KEYS_MAX": config["KEYS_MAX"], "FIFO": 4 if w == 4 else 16,
         "KV_WORDS": 16 if w == 4 else 64, "CREDITS": 2 * c_max}
    return {**p, **extra}


@pytest.mark.configs("tiny", "small")
def test_unit(sim, config, seed):
    run("sofa_sufa_unit", __name__, unit_parameters(config), sim, seed=seed)
