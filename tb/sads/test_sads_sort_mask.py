# SPDX-License-Identifier: Apache-2.0
"""sofa_sads_sort_mask: masks of random tiles, word after word and pass after pass, against the
rule."""

from __future__ import annotations

import random

import cocotb
import pytest
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge

from tb.common.scoreboard import same, same_signals
from tb.runner import CLOCK_PERIOD_NS, parameters, run

LANES = 12
TILES = 150


def any_of(bits):
    """A random number of up to so many bits, a small one as often as a large one."""
    return random.getrandbits(random.randint(1, bits))


def allowed(rows, slot, tile):
    """The rows that may use a slot of a tile, a bit each."""
    pos = tile["rel"] + slot * tile["kstep"]
    return sum(1 << r for r in range(min(rows, tile["rows"]))
               if slot < tile["n"] and (not tile["causal"] or pos <= r)
               and (not tile["window"] or pos + tile["window"] > r))


@cocotb.test()
async def words_of_tiles(dut):
    rows, slots = parameters()["ROWS"], 1 << parameters()["SLOT_W"]
    cocotb.start_soon(Clock(dut.clk, CLOCK_PERIOD_NS, unit="ns").start())
    dut.step.value = dut.load.value = dut.wrap.value = 0
    await FallingEdge(dut.clk)
    partial = 0
    for number in range(TILES):
        kstep = random.choice((1, 1, any_of(4), any_of(24)))
        near = -kstep * random.randrange(slots) + random.randint(-rows, rows)
        tile = {"n": random.choice((slots, random.randint(1, slots))),
                "rows": random.choice((rows, random.randint(1, rows))),
                "causal": random.randrange(2), "kstep": kstep,
                "rel": max(near, -(1 << 24)) if random.random() < 0.8 else -any_of(24),
                "window": random.choice((0, any_of(7), any_of(24)))}
        dut.load.value = 1
        for name, value in tile.items():
            getattr(dut, f"load_{name}").value = value % (1 << 25) if name == "rel" else value
        await FallingEdge(dut.clk)
        dut.load.value, word = 0, 0
        words = -(-tile["n"] // LANES)
        for _ in range(2 * words + 1):
            same_signals("sads_sort_mask", dut, base=LANES * word)
            wrap = word + 1 == words
            dut.step.value, dut.wrap.value = 1, int(wrap)
            await FallingEdge(dut.clk)
            dut.step.value = 0
            got = int(dut.allow.value)
            for lane in range(LANES):
                want = allowed(rows, LANES * word + lane, tile)
                partial += 0 < want < (1 << tile["rows"]) - 1
                same("sads_sort_mask", want, got >> lane * rows & (1 << rows) - 1, tile=number,
                     lane=lane, word=word)
            word = 0 if wrap else word + 1
            for _ in range(random.choice((0, 0, 2))):
                await FallingEdge(dut.clk)
    assert partial > 100


@pytest.mark.parametrize("rows, slot_w", [
    (4, 3), pytest.param(128, 6, marks=pytest.mark.slow_on("verilator"))])
def test_mask(sim, seed, rows, slot_w):
    run("sofa_sads_sort_mask", __name__, {"ROWS": rows, "SLOT_W": slot_w}, sim, seed=seed)
