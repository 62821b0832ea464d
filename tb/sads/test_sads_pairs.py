# SPDX-License-Identifier: Apache-2.0
"""sofa_sads_pairs: bits of random, empty and full words, with pauses."""

from __future__ import annotations

import random

import cocotb
import pytest
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge

from tb.common.scoreboard import same
from tb.runner import CLOCK_PERIOD_NS, parameters, run

WORDS = 400


@cocotb.test()
async def pairs_of_words(dut):
    width = parameters()["BITS"]
    top = (1 << width) - 1
    cocotb.start_soon(Clock(dut.clk, CLOCK_PERIOD_NS, unit="ns").start())
    # What comes during the reset is not counted.
    dut.rst.value, dut.en.value, dut.bits.value = 1, 1, top
    await FallingEdge(dut.clk)
    for _ in range(2):
        await FallingEdge(dut.clk)
        same("sads_pairs in reset", 0, int(dut.pairs.value))
    dut.rst.value = 0
    want = [0, 0]
    for number in range(WORDS):
        one = 1 << random.randrange(width)
        word = random.choice((0, top, top ^ one, one, random.getrandbits(width)))
        used = random.random() < 0.8
        dut.en.value, dut.bits.value = int(used), word
        want.append(word.bit_count() if used else 0)
        await FallingEdge(dut.clk)
        # The counts stand in the cycle after the register of the groups.
        same("sads_pairs", want[number + 1], int(dut.pairs.value), word=number)
    assert max(want) == width


# A build for Verilator takes far longer than the test.
@pytest.mark.parametrize("bits", [16, 512])
@pytest.mark.slow_on("verilator")
def test_pairs(sim, seed, bits):
    run("sofa_sads_pairs", __name__, {"BITS": bits}, sim, seed=seed)
