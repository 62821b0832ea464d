# SPDX-License-Identifier: Apache-2.0
"""sofa_sads_sum_div: quotients at both ends of the sums, rows that wait for f, resets; the cycle of
each."""

from __future__ import annotations

import random

import cocotb
import pytest
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, Timer

from tb.common.scoreboard import same
from tb.runner import CLOCK_PERIOD_NS, BuildError, build, parameters, run

TOP = "sofa_sads_sum_div"
CYCLES = 6000


def sums(width):
    """A row's (total, kept), kept no larger than total: any sizes, equal, one apart, none, at the
    end of the range."""
    top = (1 << width) - 1
    total = random.choice((0, 1, top, top - random.getrandbits(4), 1 << random.randrange(width),
                           random.getrandbits(width), random.getrandbits(random.randint(1, width))))
    kept = random.choice((0, total, total - 1, total >> 1, random.randint(0, total),
                          random.randint(0, total), total >> random.randrange(width)))
    return total, max(kept, 0)


def share(total, kept, whole, frac):
    """f of a row."""
    return 1 << frac if whole or kept >= total else (kept << frac) // total


@cocotb.test()
async def shares_of_rows(dut):
    """Rows come as soon as they may, and late; f is taken at once, late, and hardly ever. A
    finished row follows the one before it in the cycle after that is taken."""
    lanes, width, frac = (parameters()[k] for k in ("LANES", "SUM_W", "F_FRAC"))
    latency = -(-frac // 2) + 1
    cocotb.start_soon(Clock(dut.clk, CLOCK_PERIOD_NS, unit="ns").start())
    dut.rst.value, dut.in_valid.value, dut.f_ready.value = 1, 0, 0
    for _ in range(2):
        await FallingEdge(dut.clk)
    # What is divided: f, and the cycle in which it is there; what waits in f
    row = waiting = None
    sent = compared = waited = resets = 0
    last, pace, taken = -latency, 1.0, 1.0
    for cycle in range(CYCLES):
        if cycle % 100 == 0:
            pace, taken = random.choice((1.0, 0.3)), random.choice((1.0, 0.5, 0.1))
        rst = random.random() < 0.01
        send = row is None and cycle - last >= latency and random.random() < pace
        rows = [(*sums(width), random.random() < 0.1) for _ in range(lanes)]
        ready = random.random() < taken
        dut.rst.value, dut.in_valid.value, dut.f_ready.value = int(rst), int(send), int(ready)
        dut.in_total.value = sum(r[0] << i * width for i, r in enumerate(rows))
        dut.in_kept.value = sum(r[1] << i * width for i, r in enumerate(rows))
        dut.in_whole.value = sum(r[2] << i for i, r in enumerate(rows))
        await Timer(1, unit="ns")
        same("sads_sum_div", waiting is not None, bool(int(dut.f_valid.value)), field="f_valid",
             cycles=cycle - last)
        if waiting is not None:
            got = int(dut.f_data.value)
            same("sads_sum_div f", waiting,
                 [got >> i * (frac + 1) & ((1 << frac + 1) - 1) for i in range(lanes)])
            if ready:
                compared += 1
                waiting = None
        if row is not None and cycle + 1 >= row[1]:
            if waiting is None:
                waiting, row = row[0], None
            else:
                waited += 1
        if send:
            row, last = ([share(*r, frac) for r in rows], cycle + latency), cycle
            sent += 1
        if rst:
            resets += row is not None or waiting is not None
            row = waiting = None
        await FallingEdge(dut.clk)
    assert compared > 100 and waited > 100 and resets > 20, (sent, compared, waited, resets)


# A build for Verilator takes far longer than the test.
SELDOM = pytest.mark.slow_on("verilator")


@pytest.mark.parametrize("lanes, sum_w, f_frac", [
    (2, 25, 8), pytest.param(1, 13, 5, marks=SELDOM), pytest.param(3, 33, 12, marks=SELDOM),
    pytest.param(1, 20, 4, marks=SELDOM)])
def test_sads_sum_div(sim, seed, lanes, sum_w, f_frac):
    run(TOP, __name__, {"LANES": lanes, "SUM_W": sum_w, "F_FRAC": f_frac}, sim, seed=seed)


@pytest.mark.parametrize("bad", [{"LANES": 33}, {"SUM_W": 12}, {"F_FRAC": 13}],
                         ids=lambda bad: next(iter(bad)))
def test_illegal_parameters_are_refused(sim, bad):
    [name] = bad
    with pytest.raises(BuildError, match=f"illegal_parameter_{name}_needs"):
        build(TOP, bad, sim)
