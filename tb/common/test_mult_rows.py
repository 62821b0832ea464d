# SPDX-License-Identifier: Apache-2.0
"""Products and sums as rows: each pair of modules, one for simulators and one for chips, gives the
sum that it has to give. Small ones: all operands; others: corners and random ones."""

from __future__ import annotations

import itertools
import random

import cocotb
import pytest
from cocotb.triggers import Timer

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
        assert [(d >> 2 * i & 3) * (-1 if m >> 2 * i & 1 else 1) for i in range(count)] \
            == digits(b, count), b
        assert m & int("01" * count, 2) == m >> 1 & int("01" * count, 2)


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
        assert int(dut.s.value) + int(dut.c.value) == a * b + bias, (a, b)


@cocotb.test()
async def sums(dut):
    count, width, out = (parameters()[k] for k in ("IN", "W", "OUT"))
    full = (1 << width) - 1
    top = full // count
    for turn in range(300 + count):
        rows = [top if turn == 0 else random.randint(0, top) for _ in range(count)]
        if turn >= 300:
            # All that the sum may be, in one number or in all of them.
            rows = [full if i == turn - 300 else 0 for i in range(count)]
        elif turn % 2:
            cuts = sorted(random.randint(0, full) for _ in range(count))
            rows = [b - a for a, b in itertools.pairwise([0, *cuts])]
        dut.rows.value = sum(x << i * width for i, x in enumerate(rows))
        await Timer(1, unit="ns")
        got = int(dut.sums.value)
        assert sum(got >> i * width & ((1 << width) - 1) for i in range(out)) == sum(rows)


# A build for Verilator takes far longer than the test.
SELDOM = pytest.mark.slow_on("verilator")


@pytest.mark.parametrize("width, signed", [
    (16, 1), *(pytest.param(*p, marks=SELDOM) for p in ((16, 0), (6, 1), (6, 0), (4, 1)))])
def test_digits(sim, seed, width, signed):
    run("sofa_mult_digits", __name__, {"B_W": width, "B_SIGNED": signed}, sim,
        testcase="digits_of_numbers", seed=seed)


@pytest.mark.parametrize("module", ["sofa_mult_rows", "sofa_mult_tree"])
@pytest.mark.parametrize("width, count, half", [
    (16, 8, 1), *(pytest.param(*p, marks=SELDOM) for p in (
        (16, 8, 0), (16, 9, 0), (6, 3, 0), (6, 3, 1), (4, 3, 0), (5, 4, 1), (31, 5, 0)))])
def test_products(sim, seed, module, width, count, half):
    run(module, __name__, {"A_W": width, "DIGITS": count, "HALF": half}, sim,
        testcase="products", seed=seed)


@pytest.mark.parametrize("module", ["sofa_add_rows", "sofa_add_tree"])
@pytest.mark.parametrize("count, out", [
    (64, 10), *(pytest.param(*p, marks=SELDOM) for p in ((3, 2), (4, 3), (10, 2), (9, 4)))])
def test_sums(sim, seed, module, count, out):
    run(module, __name__, {"IN": count, "W": 37, "OUT": out}, sim, testcase="sums", seed=seed)
