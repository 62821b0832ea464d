# SPDX-License-Identifier: Apache-2.0
"""sofa_mult_digits: the digits of a number. Small ones: all numbers; others: corners and random
ones."""

from __future__ import annotations

import random

import cocotb
import pytest
from cocotb.triggers import Timer

from tb.common.scoreboard import same
from tb.runner import parameters, run


def digits(b: int, count: int) -> list[int]:
    """Digits -2..2 in base 4, by the definition: the three bits around digit i."""
    bits = b << 1
    return [(bits >> 2 * i & 1) + (bits >> 2 * i + 1 & 1) - 2 * (bits >> 2 * i + 2 & 1)
            for i in range(count)]


def operands(width: int, signed: bool) -> list[int]:
    """All of them where they are few, corners otherwise."""
    low, high = (-(1 << width - 1), (1 << width - 1) - 1) if signed else (0, (1 << width) - 1)
    if width <= 6:
        return list(range(low, high + 1))
    return sorted({low, low + 1, high - 1, high, high // 2, high // 3, 0, 1, 2, max(low, -1)}
                  | {1 << i for i in range(width - 1)})


@cocotb.test()
async def digits_of_numbers(dut):
    width, signed = parameters()["B_W"], bool(parameters()["B_SIGNED"])
    count = len(dut.d) // 2
    numbers = operands(width, signed) + [random.getrandbits(width - 1) for _ in range(500)]
    for b in numbers:
        dut.b.value = b % (1 << width)
        await Timer(1, unit="ns")
        d, m = int(dut.d.value), int(dut.m.value)
        got = [(d >> 2 * i & 3) * (-1 if m >> 2 * i & 1 else 1) for i in range(count)]
        same("mult_digits", digits(b, count), got, b=b)
        pairs = int("01" * count, 2)
        same("mult_digits signs", m >> 1 & pairs, m & pairs, b=b)


# A build for Verilator takes far longer than the test.
SELDOM = pytest.mark.slow_on("verilator")


@pytest.mark.parametrize("width, signed", [
    (16, 1), *(pytest.param(*p, marks=SELDOM) for p in ((16, 0), (24, 1), (6, 1), (6, 0), (4, 1)))])
def test_digits(sim, seed, width, signed):
    run("sofa_mult_digits", __name__, {"B_W": width, "B_SIGNED": signed}, sim,
        seed=seed)
