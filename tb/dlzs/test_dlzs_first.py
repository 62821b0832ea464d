# SPDX-License-Identifier: Apache-2.0
"""sofa_dlzs_first: every bank as the first, every element, three times it."""

from __future__ import annotations

import random

import cocotb
import numpy as np
import pytest
from cocotb.triggers import Timer

from tb.common.scoreboard import pack, same, unpack
from tb.runner import BuildError, build, parameters, run

TOP = "sofa_dlzs_first"


@cocotb.test()
async def every_bank_and_element(dut):
    lanes = parameters()["LANES"]
    rng = np.random.default_rng(random.getrandbits(32))
    firsts, elements = set(), set()
    for value in range(-128, 128):
        for first in range(lanes) if value % 16 == 0 else rng.integers(0, lanes, 2).tolist():
            banks = rng.integers(-128, 128, lanes)
            banks[first] = value
            dut.banks.value, dut.hot.value = pack(banks, 8), 1 << first
            await Timer(1, "ns")
            want = np.take(banks, range(first, first + 4), mode="wrap")
            where = {"bank": first}
            same("dlzs_first k8", want.tolist(),
                 unpack(int(dut.k8.value), 4, 8, signed=True).tolist(), **where)
            same("dlzs_first k8x3", (3 * want).tolist(),
                 unpack(int(dut.k8x3.value), 4, 10, signed=True).tolist(), **where)
            firsts.add(first)
            elements.add(int(want[0]))
    assert firsts == set(range(lanes))
    assert elements == set(range(-128, 128))


@pytest.mark.parametrize("lanes", [4, 16, 64])
def test_dlzs_first(sim, seed, lanes):
    run(TOP, __name__, {"LANES": lanes}, sim, seed=seed)


@pytest.mark.parametrize("lanes", [2, 12, 128])
def test_illegal_parameters_are_refused(sim, lanes):
    with pytest.raises(BuildError, match="illegal_parameter_LANES"):
        build(TOP, {"LANES": lanes}, sim)
