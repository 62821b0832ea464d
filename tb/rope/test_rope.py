# SPDX-License-Identifier: Apache-2.0
"""The RoPE unit against the model: random and extreme pairs, pauses, bypass, latency."""

import random

import cocotb
import numpy as np
import pytest
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge

from models import rope
from tb.common.scoreboard import Scoreboard, pack, unpack
from tb.runner import CLOCK_PERIOD_NS, BuildError, build, parameters, run

LATENCY = 3
EXTREME = (-32768, -32767, -1, 0, 1, 32767)
UNIT = (-16384, -11585, -8192, 0, 8192, 11585, 16384)


def numbers(rng, count):
    """A third random, a third at the ends of the range, a third of small size; int64 [count]."""
    kind = rng.integers(0, 3, count)
    wide = rng.integers(-32768, 32768, count)
    return np.select([kind == 0, kind == 1], [wide, rng.choice(EXTREME, count)], wide >> 8)


def angles(rng, count):
    """Cosines and sines: of real angles, special ones, and any 16 bits; int64 [count, 2] (c, s)."""
    phi = rng.uniform(-np.pi, np.pi, count)
    real = np.rint(np.stack([np.cos(phi), np.sin(phi)], 1) * (1 << rope.FRAC)).astype(np.int64)
    kind = rng.integers(0, 4, (count, 1))
    return np.select([kind < 2, kind == 2], [real, rng.choice(UNIT, (count, 2))],
                     rng.integers(-32768, 32768, (count, 2)))


@cocotb.test()
@cocotb.parametrize(freeze=[0.0, 0.4])
async def rotates(dut, freeze):
    """Each result leaves after exactly three enabled cycles; frozen cycles change nothing."""
    pairs, steps = parameters()["PAIRS"], 400
    rng = np.random.default_rng(random.getrandbits(32))
    board, edge = Scoreboard(dut._log), FallingEdge(dut.clk)
    clock = cocotb.start_soon(Clock(dut.clk, CLOCK_PERIOD_NS, unit="ns").start())
    await edge
    queue, shown, frozen, bypassed, clipped = [], None, 0, 0, 0
    while len(queue) < steps:
        x = numbers(rng, 2 * pairs).reshape(pairs, 2)
        cs, bypass, en = angles(rng, pairs), random.random() < 0.3, random.random() >= freeze
        dut.s_x.value, dut.s_cs.value = pack(x, 16), pack(cs, 16)
        dut.s_bypass.value, dut.en.value = int(bypass), int(en)
        await edge
        if not en:
            frozen += 1
            assert shown is None or int(dut.m_y.value) == shown, "moved while frozen"
            continue
        y = np.stack(rope.rotate(x[:, 0], x[:, 1], cs[:, 0], cs[:, 1]), 1)
        clipped += int(np.isin(y, (-32768, 32767)).sum())
        queue.append(x if bypass else y)
        bypassed += bypass
        if len(queue) >= LATENCY:
            shown = int(dut.m_y.value)
            got = unpack(shown, 2 * pairs, 16, True).reshape(-1, 2)
            board.compare("RoPE", queue[-LATENCY], got,
                          axes=("pair", "y"), where={"step": len(queue)}, width=16)
    clock.cancel()
    assert board.finish("RoPE") == (steps - LATENCY + 1) * 2 * pairs
    assert bypassed > 50 and clipped > 50 and (frozen > 50) == (freeze > 0)


@pytest.mark.parametrize("pairs", [
    1, 4, pytest.param(64, marks=pytest.mark.slow_on("verilator"))])
def test_rope(sim, seed, pairs):
    run("sofa_rope", __name__, {"PAIRS": pairs}, sim, seed=seed)


@pytest.mark.parametrize("pairs", [0, 65])
def test_illegal_parameters_are_refused(sim, pairs):
    with pytest.raises(BuildError, match="illegal_parameter_sofa_rope_needs"):
        build("sofa_rope", {"PAIRS": pairs}, sim)
