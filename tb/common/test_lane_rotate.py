# SPDX-License-Identifier: Apache-2.0
"""sofa_lane_rotate against list rotation: every amount, full and shortened output."""

import random

import cocotb
import pytest
from cocotb.triggers import Timer

from tb.common.scoreboard import pack, same, unpack
from tb.runner import parameters, run


@cocotb.test()
async def every_amount(dut):
    p = parameters()
    lanes, out, width = p["LANES"], p["OUT"], p["WIDTH"]
    sign = -1 if p["LEFT"] else 1
    compared = 0
    for amount in [*range(lanes)] * 3:
        row = [random.getrandbits(width) for _ in range(lanes)]
        dut.amount.value, dut.in_data.value = amount, pack(row, width)
        await Timer(1, "ns")
        got = unpack(int(dut.out_data.value), out, width)
        want = [row[(b + sign * amount) % lanes] for b in range(out)]
        same("lane_rotate", want, list(got), amount=amount)
        compared += out
    assert compared == 3 * lanes * out


# A build for Verilator takes far longer than the test.
BUILT_SELDOM = pytest.mark.slow_on("verilator")


@pytest.mark.parametrize("lanes,out,width,left", [
    *(pytest.param(*p, marks=BUILT_SELDOM)
      for p in ((2, 2, 5, 0), (2, 1, 5, 1), (16, 16, 3, 0), (64, 32, 8, 0))),
    (16, 5, 8, 0), (32, 9, 8, 1)])
def test_lane_rotate(sim, seed, lanes, out, width, left):
    parameters = {"LANES": lanes, "OUT": out, "WIDTH": width, "LEFT": left}
    run("sofa_lane_rotate", __name__, parameters, sim, seed=seed)
