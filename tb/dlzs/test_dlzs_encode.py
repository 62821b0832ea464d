# SPDX-License-Identifier: Apache-2.0
"""sofa_dlzs_encode against the model: all 65536 numbers with every snap rule."""

import cocotb
import numpy as np
import pytest
from cocotb.triggers import Timer

from models import dlzs
from tb.common.scoreboard import same
from tb.common.signals import reader, writer
from tb.runner import parameters, run


@cocotb.test()
@cocotb.parametrize(snap=[dlzs.FLOOR, dlzs.NEAREST, dlzs.TWO_TERM])
async def every_number(dut, snap):
    # Without the second term, its rule falls back to floor.
    rule = snap if parameters()["TWO_TERM"] else {dlzs.TWO_TERM: dlzs.FLOOR}.get(snap, snap)
    numbers = np.arange(-32768, 32768)
    want = [format(c, f"0{len(dut.code)}b") for c in dlzs.encode(numbers, rule)]
    step, put, get = Timer(1, "ns"), writer(dut.q), reader(dut.code)
    dut.snap.value = snap
    got = []
    for number in numbers:
        put(format(number & 0xFFFF, "016b"))
        await step
        got.append(get())
    same("dlzs_encode codes from -32768 on", want, got)
    assert len(got) == 65536, f"only {len(got)} numbers"


@pytest.mark.parametrize("two_term", [0, 1])
def test_dlzs_encode(sim, seed, two_term):
    run("sofa_dlzs_encode", __name__, {"TWO_TERM": two_term}, sim, seed=seed)
