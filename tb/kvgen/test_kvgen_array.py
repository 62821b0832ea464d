# SPDX-License-Identifier: Apache-2.0
"""sofa_kvgen_array: sums of groups of tokens, a copy that is held back, two tokens a column."""

import itertools
import random

import cocotb
import numpy as np
import pytest
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge

from tb.common.scoreboard import Scoreboard, pack, same, same_signals, unpack
from tb.runner import CLOCK_PERIOD_NS, parameters, run


@cocotb.test()
async def projection(dut):
    """Sums of groups of all sizes; a copy that is held back freezes the array and loses nothing."""
    await project(dut, packed=False)


@cocotb.test()
async def projection_packed(dut):
    """Two tokens a column: each half of the lanes works on a number of its own."""
    await project(dut, packed=True)


async def project(dut, packed):
    """Random groups; packed: twice as many places, in the lower and the upper half of the lanes."""
    p = parameters()
    rows, columns, acc_w = p["ROWS"], p["KG_TOK"], 32 + (p["H_MAX"] - 1).bit_length()
    parts, tok = (2 if rows >= 32 else 1), columns * (2 if packed else 1)
    d, h = rows // 4 if packed else -(-3 * rows // 32) * 8, 16
    passes = -(-2 * d // rows)
    board = Scoreboard(dut._log)
    cocotb.start_soon(Clock(dut.clk, CLOCK_PERIOD_NS, unit="ns").start())
    edge = FallingEdge(dut.clk)
    rng = np.random.default_rng(random.getrandbits(32))
    dut.rst.value, dut.cfg_d.value, dut.cfg_h.value = 1, d, h
    dut.cfg_packed.value = int(packed)
    dut.g_valid.value = dut.s_done.value = dut.w_wr_valid.value = 0
    await edge
    await edge
    dut.rst.value = 0
    weights = rng.integers(-32768, 32768, (passes * h, rows))
    if packed:
        weights[:, rows // 2 :] = weights[:, : rows // 2]
    for address, word in enumerate(weights):
        dut.w_wr_valid.value, dut.w_wr_addr.value = 1, address
        dut.w_wr_data.value = pack(word, 16)
        await edge
    dut.w_wr_valid.value = 0
    weights = weights.reshape(passes, h, rows)
    groups = [(rng.integers(-32768, 32768, (n, h)), n) for n in
              [tok] * 3 + [random.randint(1, tok) for _ in range(12)]]
    want = [(g % 4, n, i, x @ weights[i]) for g, (x, n) in enumerate(groups)
            for i in range(passes)]
    taken, freed, starts, at, cycle, frozen = 0, 0, [], [], 0, 0
    read = None
    while want:
        offer = taken < len(groups) and (taken < 3 or random.random() < 0.5)
        dut.g_valid.value = offer
        dut.g_num.value, dut.g_n.value = taken % 4, groups[min(taken, len(groups) - 1)][1]
        if read is not None:
            x = groups[read[0]][0][:, read[1]]
            x = np.concatenate([x, rng.integers(-32768, 32768, tok - len(x))])
            # [part, column] -> column by column, {upper, lower}
            x = x.reshape(2, columns) if packed else np.stack([x] * parts)
            dut.x_data.value = pack(x.T.reshape(-1), 16)
        # The first groups are drained at once.
        hold = len(at) >= 3 * passes and random.random() < 0.97
        dut.s_done.value = int(dut.s_valid.value) and not hold
        await cocotb.triggers.Timer(1, "ns")
        if int(dut.g_take.value):
            starts.append(cycle)
            taken += 1
        if int(dut.x_en.value):
            num, elem = int(dut.x_num.value), int(dut.x_elem.value)
            group = next(g for g in (taken - 1, taken - 2) if g % 4 == num)
            read = (group, elem)
        frozen += int(dut.ev_stall.value)
        if int(dut.g_free.value):
            same_signals("kvgen_array", dut, g_free_num=freed % 4)
            freed += 1
        if int(dut.s_valid.value) and int(dut.s_done.value):
            num, n, i, sums = want.pop(0)
            at.append(cycle)
            got = unpack(int(dut.s_sums.value), columns * rows, acc_w, signed=True)
            got = got.reshape(columns, rows)
            if packed:
                got = np.concatenate([got[:, : rows // 2], got[:, rows // 2 :]])
            board.compare("kvgen_array sums", sums[:, : got.shape[1]], got[:n],
                          axes=("token", "lane"), where={"group": num, "pass": i})
            same_signals("kvgen_array", dut, s_num=num, s_n=n, s_last=i == passes - 1)
        await edge
        cycle += 1
        assert cycle < 40000, "no progress"
    same("kvgen_array cycles", [starts[0] + h + 5 + h * i for i in range(3 * passes)],
         at[: 3 * passes])
    same("kvgen_array groups freed", len(groups), freed)
    assert frozen > 100, f"only {frozen} cycles frozen"
    board.finish()


@cocotb.test()
async def reset_in_a_pass(dut):
    """After a reset of one cycle at any time of a pass nothing comes of it, and the next group is
    right."""
    p = parameters()
    rows, columns, acc_w = p["ROWS"], p["KG_TOK"], 32 + (p["H_MAX"] - 1).bit_length()
    parts, h = (2 if rows >= 32 else 1), 8
    board = Scoreboard(dut._log)
    cocotb.start_soon(Clock(dut.clk, CLOCK_PERIOD_NS, unit="ns").start())
    edge = FallingEdge(dut.clk)
    rng = np.random.default_rng(random.getrandbits(32))
    dut.rst.value, dut.cfg_d.value, dut.cfg_h.value, dut.cfg_packed.value = 1, rows // 2, h, 0
    dut.g_valid.value = dut.s_done.value = dut.w_wr_valid.value = dut.x_data.value = 0
    await edge
    await edge
    dut.rst.value = 0
    weights = rng.integers(-32768, 32768, (h, rows))
    for address, word in enumerate(weights):
        dut.w_wr_valid.value, dut.w_wr_addr.value = 1, address
        dut.w_wr_data.value = pack(word, 16)
        await edge
    dut.w_wr_valid.value = 0

    async def group(cycles):
        """Work on a group of all columns for so many cycles; its numbers."""
        x = rng.integers(-32768, 32768, (columns, h))
        dut.g_valid.value, dut.g_n.value, dut.g_num.value = 1, columns, random.getrandbits(2)
        for cycle in range(cycles):
            # The first element is asked for in cycle 1, and is there a cycle later.
            dut.x_data.value = pack(np.repeat(x[:, (cycle - 2) % h], parts), 16)
            await edge
            dut.g_valid.value = 0
        return x

    # The sums are there in cycle h + 5.
    for cycles, quiet in itertools.product(range(1, h + 8), (0, 8)):
        await group(cycles)
        dut.rst.value = 1
        await edge
        dut.rst.value = 0
        for _ in range(quiet):
            same_signals("kvgen_array", dut, s_valid=0, rest=1)
            await edge
        x = await group(h + 4)
        same_signals("kvgen_array", dut, s_valid=0)
        await edge
        same_signals("kvgen_array", dut, s_valid=1, s_n=columns, s_last=1)
        got = unpack(int(dut.s_sums.value), columns * rows, acc_w, signed=True)
        board.compare("kvgen_array sums", x @ weights, got.reshape(columns, rows),
                      axes=("token", "lane"), where={"pass": cycles})
        dut.s_done.value = 1
        await edge
        dut.s_done.value = 0
        same_signals("kvgen_array", dut, s_valid=0, rest=1)
    board.finish()


# From 64 rows on half of the lanes have digits of their own.
@pytest.mark.parametrize("rows,tok", [(16, 2), (32, 1), (16, 4), (64, 2)])
def test_array(sim, seed, rows, tok):
    run("sofa_kvgen_array", __name__, {"ROWS": rows, "KG_TOK": tok, "H_MAX": 64, "WGT_WORDS": 256},
        sim, testcase=["projection", "reset_in_a_pass"], seed=seed)


@pytest.mark.parametrize("rows,tok", [(32, 1), (32, 4), (64, 1)])
def test_array_packed(sim, seed, rows, tok):
    run("sofa_kvgen_array", __name__, {"ROWS": rows, "KG_TOK": tok, "H_MAX": 64, "WGT_WORDS": 256},
        sim, testcase="projection_packed", seed=seed)
