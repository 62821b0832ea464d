# SPDX-License-Identifier: Apache-2.0
"""sofa_dlzs_cell against the model: every term, and sums with pauses and restarts."""

import random

import cocotb
import numpy as np
import pytest
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge

from models import dlzs
from models.config import Config
from tb.common.scoreboard import same
from tb.common.signals import reader, writer
from tb.runner import CLOCK_PERIOD_NS, parameters, run

TERMS = 16


class TB:
    """Feeds the cell one operand pair a cycle; ``step`` returns acc after it, a signed int."""

    def __init__(self, dut):
        p = parameters()
        self.cfg = Config.from_name("tiny").replace(SC_FRAC=p["SC_FRAC"], TWO_TERM=p["TWO_TERM"])
        assert self.cfg.SC_W == len(dut.acc)
        self.put = [writer(s) for s in (dut.en, dut.first, dut.k8, dut.k8x3, dut.code)]
        self.widths = (1, 1, 8, 10, self.cfg.CODE_W)
        self.get = reader(dut.acc)
        self.edge = FallingEdge(dut.clk)
        cocotb.start_soon(Clock(dut.clk, CLOCK_PERIOD_NS, unit="ns").start())

    def codes(self):
        """Every code that the encoder can make, int64."""
        rules = dlzs.SNAPS if self.cfg.TWO_TERM else (dlzs.FLOOR, dlzs.NEAREST)
        numbers = np.arange(-32768, 32768)
        return np.unique(np.concatenate([dlzs.encode(numbers, r) for r in rules]))

    async def step(self, en, first, k8, code):
        values = (en, first, k8 & 255, 3 * k8 & 1023, code)
        for put, value, width in zip(self.put, values, self.widths, strict=True):
            put(format(value, f"0{width}b"))
        await self.edge
        text = self.get()
        return int(text, 2) - (int(text[0]) << len(text))


@cocotb.test()
async def every_term(dut):
    tb = TB(dut)
    await tb.edge
    k8 = np.arange(-128, 128)
    compared = 0
    for code in tb.codes():
        want = dlzs.term(code, k8, tb.cfg)
        got = [await tb.step(1, 1, int(k), int(code)) for k in k8]
        same("dlzs_cell term", want.tolist(), got, code=f"{code:#x}")
        compared += len(got)
    assert compared >= 30 * 256


@cocotb.test()
async def sums(dut):
    """Includes the extreme sums: the same largest or smallest term every time."""
    tb = TB(dut)
    await tb.edge
    codes = tb.codes()
    extreme = [(k, int(c)) for k in (-128, 127) for c in codes if c & 15 >= 14]
    compared, pauses, last = 0, 0, None
    for turn in range(150 + len(extreme)):
        want = 0
        for i in range(TERMS):
            k8, code = random.randrange(-128, 128), int(random.choice(codes))
            if turn < len(extreme):
                k8, code = extreme[turn]
            while random.random() < 0.2 and (i or turn):
                junk = random.randrange(-128, 128), int(random.choice(codes))
                got = await tb.step(0, random.getrandbits(1), *junk)
                same("dlzs_cell without enable", last, got, sum=turn, term=i)
                pauses += 1
            want += int(dlzs.term(code, k8, tb.cfg))
            last = await tb.step(1, int(i == 0), k8, code)
            same("dlzs_cell sum", want, last, sum=turn, term=i)
            compared += 1
    assert compared == TERMS * (150 + len(extreme)) and pauses > 100


@pytest.mark.parametrize("two_term", [0, 1])
@pytest.mark.parametrize("frac", [
    pytest.param(0, marks=pytest.mark.slow_on("verilator")), 3,
    pytest.param(8, marks=pytest.mark.slow_on("verilator"))])
def test_dlzs_cell(sim, seed, frac, two_term):
    run("sofa_dlzs_cell", __name__, {"SC_FRAC": frac, "TWO_TERM": two_term, "SC_W": 8 + frac + 4},
        sim,
        seed=seed)
