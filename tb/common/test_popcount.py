# SPDX-License-Identifier: Apache-2.0
"""popcount: counts of random, sparse and extreme vectors."""

from __future__ import annotations

import random

import cocotb
import pytest
from cocotb.triggers import Timer

from tb.common.scoreboard import same
from tb.runner import parameters, run


@cocotb.test()
async def counts(dut):
    width = parameters()["WIDTH"]
    top = (1 << width) - 1
    vectors = [0, top, *(1 << i for i in range(width)), *(top ^ 1 << i for i in range(width))]
    vectors += [random.getrandbits(width) for _ in range(500)]
    for vector in vectors:
        dut.bits.value = vector
        await Timer(1, unit="ns")
        same("popcount", vector.bit_count(), int(dut.count.value), bits=hex(vector))
    assert len(vectors) > 500


# A build for Verilator takes far longer than the test.
BUILT_SELDOM = pytest.mark.slow_on("verilator")


@pytest.mark.parametrize("width", [
    *(pytest.param(n, marks=BUILT_SELDOM) for n in (1, 7, 16, 64)), 63])
def test_popcount(sim, seed, width):
    run("sofa_popcount", __name__, {"WIDTH": width}, sim, seed=seed)
