# SPDX-License-Identifier: Apache-2.0
"""sofa_mult_rows and sofa_mult_tree, one for simulators and one for chips: products as two rows.
Small ones: all operands; others: corners and random ones."""

from __future__ import annotations

import itertools
import random

import cocotb
import pytest
from cocotb.triggers import Timer

from tb.common.scoreboard import same
from tb.common.test_mult_digits import digits, operands
from tb.runner import parameters, run


@cocotb.test()
async def products(dut):
    width, count = parameters()["A_W"], parameters()["DIGITS"]
    bias = sum(1 << width + 2 * i for i in range(count))
    bias += parameters()["HALF"] << 2 * count - 3
    pairs = list(itertools.product(operands(width, True), operands(2 * count, True)))
    pairs += [(random.getrandbits(width - 1), -random.getrandbits(2 * count - 1))
              for _ in range(1000)]
    for a, b in pairs:
        chosen = digits(b, count)
        dut.a.value = a % (1 << width)
        dut.d.value = sum(abs(x) << 2 * i for i, x in enumerate(chosen))
        # A zero has either sign: who inverts all signs has the negative number.
        dut.m.value = sum(3 << 2 * i for i, x in enumerate(chosen)
                          if x < 0 or x == 0 and random.getrandbits(1))
        await Timer(1, unit="ns")
        same("mult_rows", a * b + bias, int(dut.s.value) + int(dut.c.value), a=a, b=b)


# A build for Verilator takes far longer than the test.
SELDOM = pytest.mark.slow_on("verilator")


@pytest.mark.parametrize("module", ["sofa_mult_rows", "sofa_mult_tree"])
@pytest.mark.parametrize("width, count, half", [
    (16, 8, 1), *(pytest.param(*p, marks=SELDOM) for p in (
        (16, 8, 0), (16, 9, 0), (6, 3, 0), (6, 3, 1), (4, 3, 0), (5, 4, 1), (31, 5, 0)))])
def test_products(sim, seed, module, width, count, half):
    run(module, __name__, {"A_W": width, "DIGITS": count, "HALF": half}, sim,
        seed=seed)
