# SPDX-License-Identifier: Apache-2.0
"""out_buffer against a numpy matrix: corner turn, hold, both ports at once."""

import random

import cocotb
import numpy as np
import pytest
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge

from tb.common.scoreboard import Scoreboard, pack, unpack
from tb.runner import CLOCK_PERIOD_NS, BuildError, build, parameters, run


@cocotb.test()
async def corner_turn(dut):
    p = parameters()
    rows, d_max, beat = p["ROWS"], p["D_MAX"], p["BEAT"]
    rng, board = np.random.default_rng(random.getrandbits(32)), Scoreboard(dut._log)
    cocotb.start_soon(Clock(dut.clk, CLOCK_PERIOD_NS, unit="ns").start())
    matrix = rng.integers(-32768, 32768, (rows, d_max))
    dut.rd_en.value = 0
    dut.rd_row.value = dut.rd_beat.value = 0
    await FallingEdge(dut.clk)
    for e in random.sample(range(d_max), d_max):
        dut.wr_en.value, dut.wr_elem.value = 1, e
        dut.wr_data.value = pack(matrix[:, e], 16)
        await FallingEdge(dut.clk)
    dut.wr_en.value = 0
    where = [(r, b) for r in range(rows) for b in range(d_max // beat)]
    random.shuffle(where)
    shown = None
    for r, b in where[:400] + [(rows - 1, d_max // beat - 1)]:
        idle = random.random() < 0.3
        dut.rd_en.value = not idle
        dut.rd_row.value, dut.rd_beat.value = r, b
        # A write of another element disturbs no read of what is there; it is read later.
        e = random.randrange(d_max)
        write = random.random() < 0.5 and e // beat != b
        dut.wr_en.value, dut.wr_elem.value = write, e
        if not idle:
            shown = matrix[r, b * beat : (b + 1) * beat].copy()
        if write:
            matrix[:, e] = rng.integers(-32768, 32768, rows)
            dut.wr_data.value = pack(matrix[:, e], 16)
        await FallingEdge(dut.clk)
        if shown is not None:
            got = unpack(int(dut.rd_data.value), beat, 16, signed=True)
            board.compare("beat", shown, got, axes=("elem",), where={"row": r, "beat": b})
    assert board.finish("beat") > rows * beat


@pytest.mark.parametrize("rows,d_max,beat", [(4, 16, 4), (16, 64, 8), (128, 128, 32)])
def test_out_buffer(sim, seed, rows, d_max, beat):
    run("out_buffer", __name__, {"ROWS": rows, "D_MAX": d_max, "BEAT": beat}, sim, seed=seed)


@pytest.mark.parametrize("parameters", [{"BEAT": 2}, {"ROWS": 4, "BEAT": 8}, {"D_MAX": 8},
                                        {"D_MAX": 512}, {"ROWS": 20, "BEAT": 4}])
def test_illegal_parameters_are_refused(sim, parameters):
    with pytest.raises(BuildError, match="illegal_parameter_"):
        build("out_buffer", parameters, sim)
