# SPDX-License-Identifier: Apache-2.0
"""sofa_mult17x32: both halves of products of corners and random numbers; each stage moves only when
it is enabled."""

from __future__ import annotations

import itertools
import random

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge

from tb.common.scoreboard import same_signals
from tb.runner import CLOCK_PERIOD_NS, run

RANDOM = 1000


def corners(bits):
    """Numbers of one or all bits, and those beside them."""
    top = (1 << bits) - 1
    return [0, top, top - 1, *(1 << i for i in range(bits)), *(top ^ 1 << i for i in range(bits))]


@cocotb.test()
async def halves(dut):
    cocotb.start_soon(Clock(dut.clk, CLOCK_PERIOD_NS, unit="ns").start())
    pairs = list(itertools.product(corners(17), corners(32)))
    pairs += [(random.getrandbits(random.randint(1, 17)), random.getrandbits(random.randint(1, 32)))
              for _ in range(RANDOM)]
    random.shuffle(pairs)
    dut.part_en.value = dut.half_en.value = 0
    await FallingEdge(dut.clk)
    part = half = None
    held = 0
    for a, b in pairs:
        part_en, half_en = random.random() < 0.8, random.random() < 0.8
        dut.a.value, dut.b.value = a, b
        dut.part_en.value, dut.half_en.value = int(part_en), int(half_en)
        await FallingEdge(dut.clk)
        half = part if half_en else half
        part = (a, b) if part_en else part
        held += not half_en and part_en
        if half is not None:
            x, y = half
            same_signals("mult17x32", dut, low=x * (y & 0xFFFF), high=x * (y >> 16))
    assert held > 100


def test_mult17x32(sim, seed):
    run("sofa_mult17x32", __name__, {}, sim, seed=seed)
