# SPDX-License-Identifier: Apache-2.0
"""Divider: every normalised sum, every position of the leading one, gaps in the stream."""

import random
from collections import deque

import cocotb
import pytest
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge

from tb.common.scoreboard import same
from tb.common.signals import reader, writer
from tb.runner import CLOCK_PERIOD_NS, BuildError, build, parameters, run

LATENCY = 18
TOP = "sofa_sufa_div"


def expected(total):
    """(R, shift of o) of a sum of weights, docs/architecture.md section 5.4 step 7."""
    if total == 0:
        return 0, None
    bits = total.bit_length()
    l16 = total >> (bits - 16) if bits >= 16 else total << (16 - bits)
    return min(65535, (1 << 31) // l16), bits - 9


async def check(dut, sums, gap):
    """Send all sums, with gaps in that share of cycles; returns the number compared."""
    width = parameters()["L_W"]
    get = {n: reader(getattr(dut, n)) for n in ("out_valid", "out_r", "out_shift")}
    put_valid, put_l = writer(dut.in_valid), writer(dut.in_l)
    cocotb.start_soon(Clock(dut.clk, CLOCK_PERIOD_NS, unit="ns").start())
    put_valid("0")
    dut.rst.value = 1
    for _ in range(2):
        await RisingEdge(dut.clk)
    dut.rst.value = 0
    await RisingEdge(dut.clk)
    waiting, sums = deque(), deque(sums)
    cycle = compared = 0
    while sums or waiting:
        await RisingEdge(dut.clk)
        cycle += 1
        due = waiting and waiting[0][0] == cycle
        same("sufa_div", bool(due), get["out_valid"]() == "1", field="out_valid")
        if due:
            _, total = waiting.popleft()
            r, shift = expected(total)
            same("sufa_div", r, int(get["out_r"](), 2), l=total, field="out_r")
            if shift is not None:
                same("sufa_div", shift, int(get["out_shift"](), 2), l=total, field="out_shift")
            compared += 1
        send = bool(sums) and random.random() >= gap
        put_valid("1" if send else "0")
        if send:
            total = sums.popleft()
            # Driven after this edge, taken at the next one.
            waiting.append((cycle + 1 + LATENCY, total))
            put_l(format(total, f"0{width}b"))
    return compared


@cocotb.test()
async def every_normalised_sum(dut):
    """All 32768 values of l16, each with a random position and random dropped bits."""
    width = parameters()["L_W"]
    sums = []
    for l16 in range(32768, 65536):
        bits = random.randint(14, width)
        total = l16 << (bits - 16) if bits >= 16 else l16 >> (16 - bits)
        sums.append(total | random.getrandbits(max(0, bits - 16)) if bits > 16 else total)
    assert await check(dut, sums, 0) == 32768


@cocotb.test()
async def edges_and_gaps(dut):
    """Sums around every power of two, zero, and idle cycles between them."""
    width = parameters()["L_W"]
    sums = [0]
    for bits in range(14, width + 1):
        low = 1 << (bits - 1)
        sums += [low, low + 1, 2 * low - 1, 0, low | random.getrandbits(bits - 1)]
    assert await check(dut, sums, 0.5) == len(sums) > 50


@pytest.mark.parametrize("width", [24, 28, 32])
def test_sufa_div(sim, seed, width):
    names = ["edges_and_gaps"] + (["every_normalised_sum"] if width == 28 else [])
    run(TOP, __name__, {"L_W": width}, sim, seed=seed, testcase=names)


@pytest.mark.parametrize("width", [15, 33])
def test_illegal_parameters_are_refused(sim, width):
    with pytest.raises(BuildError, match=f"illegal_parameter_{TOP}"):
        build(TOP, {"L_W": width}, sim)
