# SPDX-License-Identifier: Apache-2.0
"""sofa_sads_sum_limit against models.sads: sums, ratios and thresholds at both ends, in every
lane."""

from __future__ import annotations

import random
from types import SimpleNamespace

import cocotb
import numpy as np
import pytest
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge

from models import sads
from tb.common.scoreboard import same
from tb.runner import CLOCK_PERIOD_NS, BuildError, build, parameters, run

TOP = "sofa_sads_sum_limit"
ROWS = 4000


def some(bits):
    """A random number of up to so many bits, a small one as often as a large one."""
    return random.getrandbits(random.randint(1, bits))


def row(p):
    """(totals of the lanes, ratio, tau), for which the extrapolated sum fits SUM_W bits."""
    one, end = 1 << p["SUM_FRAC"], (1 << p["SUM_W"]) - 1
    widest = p["RATIO_W"]
    ratio = random.choice((0, 1 << p["RATIO_FRAC"], 1 << widest - 1, (1 << widest) - 1,
                           (1 << widest - 1) + some(widest - 1), some(widest), some(widest)))
    room = end - one
    most = min(room, ((room + 1 << p["RATIO_FRAC"]) - 1) // ratio) if ratio else room
    totals = [one + random.choice((0, most, most >> 1, random.randint(0, most),
                                   min(most, some(p["SUM_W"])))) for _ in range(p["LANES"])]
    scale = p["LOG_FRAC"]
    # Of any size; such that a lane's limit is near the peak
    x = ((random.choice(totals) - one) * ratio >> p["RATIO_FRAC"]) + one
    near = (p["SUM_FRAC"] << scale) - int(sads.log2_fixed(x, scale))
    near -= random.randint(-1, 3 << scale)
    far = 64 << scale
    return totals, ratio, random.choice((-far, far - 1, random.randrange(-far, far),
                                         -random.randrange(far), *4 * (near,)))


@cocotb.test()
async def limits(dut):
    """A row a cycle; what it asks for is there LATENCY cycles later."""
    p = parameters()
    lanes, width = p["LANES"], p["SUM_W"]
    latency = 5 + -(-p["RATIO_W"] // 4)
    cfg = SimpleNamespace(**p)
    cocotb.start_soon(Clock(dut.clk, CLOCK_PERIOD_NS, unit="ns").start())
    wants, largest = [], 0
    await FallingEdge(dut.clk)
    for number in range(ROWS + latency - 1):
        totals, ratio, tau = row(p)
        dut.in_total.value = sum(t << i * width for i, t in enumerate(totals))
        dut.in_ratio.value, dut.in_tau.value = ratio, tau % (1 << 7 + p["LOG_FRAC"])
        sums = SimpleNamespace(peak=np.zeros(lanes, np.int64), total=np.array(totals, np.int64))
        wants.append((-sads.limit(sums, ratio, tau, cfg)).tolist())
        largest += ratio >> p["RATIO_W"] - 1
        await FallingEdge(dut.clk)
        if len(wants) == latency:
            got = int(dut.out_reach.value)
            same("sads_sum_limit", wants.pop(0), [got >> 7 * i & 127 for i in range(lanes)],
                 row=number - latency + 1)
    assert number > ROWS and largest > ROWS // 10


# A build for Verilator takes far longer than the test.
SELDOM = pytest.mark.slow_on("verilator")


@pytest.mark.parametrize("shape", [
    {"LANES": 3, "SUM_FRAC": 12, "SUM_W": 25, "LOG_FRAC": 4, "RATIO_FRAC": 8, "RATIO_W": 16},
    pytest.param({"LANES": 2, "SUM_FRAC": 16, "SUM_W": 33, "LOG_FRAC": 6, "RATIO_FRAC": 12,
                  "RATIO_W": 27}, marks=SELDOM),
    pytest.param({"LANES": 1, "SUM_FRAC": 6, "SUM_W": 13, "LOG_FRAC": 0, "RATIO_FRAC": 4,
                  "RATIO_W": 5}, marks=SELDOM),
], ids=["sofa", "widest", "narrowest"])
def test_sads_sum_limit(sim, seed, shape):
    run(TOP, __name__, shape, sim, seed=seed)


@pytest.mark.parametrize("bad", [
    {"LANES": 33}, {"SUM_FRAC": 5}, {"SUM_W": 18}, {"LOG_FRAC": 7}, {"RATIO_FRAC": 3},
    {"RATIO_W": 24}], ids=lambda bad: next(iter(bad)))
def test_illegal_parameters_are_refused(sim, bad):
    [name] = bad
    with pytest.raises(BuildError, match=f"illegal_parameter_{name}_needs"):
        build(TOP, bad, sim)
