# SPDX-License-Identifier: Apache-2.0
"""sofa_add_rows and sofa_add_tree, one for simulators and one for chips: sums as rows."""

from __future__ import annotations

import itertools
import random

import cocotb
import pytest
from cocotb.triggers import Timer

from tb.common.scoreboard import same
from tb.runner import parameters, run


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
        total = sum(got >> i * width & ((1 << width) - 1) for i in range(out))
        same("add_rows", sum(rows), total, turn=turn)


# A build for Verilator takes far longer than the test.
SELDOM = pytest.mark.slow_on("verilator")


@pytest.mark.parametrize("module", ["sofa_add_rows", "sofa_add_tree"])
@pytest.mark.parametrize("count, out", [
    (64, 10), *(pytest.param(*p, marks=SELDOM) for p in ((3, 2), (4, 3), (10, 2), (9, 4)))])
def test_sums(sim, seed, module, count, out):
    run(module, __name__, {"IN": count, "W": 37, "OUT": out}, sim, seed=seed)
