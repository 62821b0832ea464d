# SPDX-License-Identifier: Apache-2.0
"""What is shown of a bench that fails: its first failure, in one line, with cycle and time."""

import cocotb
import pytest
from cocotb.triggers import Timer

from tb.common.scoreboard import Scoreboard
from tb.common.signals import moment
from tb.runner import CLOCK_PERIOD_NS, RECORDS, SimulationError, run


async def cycles(count):
    await Timer(count * CLOCK_PERIOD_NS, unit="ns")


@cocotb.test()
async def passes(dut):
    await cycles(100)
    assert moment() == "cycle 100 (1000 ns)"


@cocotb.test()
async def wrong_field(dut):
    """The task that finds the wrong value ends the test, not what goes wrong after it."""
    async def watch():
        await cycles(20)
        Scoreboard().compare_fields("exp", {"za": 1, "pa": 6}, {"za": 1, "pa": 2},
                                    where={"block": 3, "step": 4, "row": 5})

    cocotb.start_soon(watch())
    await cycles(21)
    raise AssertionError("a later consequence")


@cocotb.test()
async def old_value(dut):
    """A value that is compared long after it came keeps the time at which it came."""
    when = moment()
    await cycles(50)
    Scoreboard().compare("scores", [[1, 2]], [[1, 3]], axes=("row", "key"), when=when)


@cocotb.test()
async def plain_assertion(dut):
    await cycles(30)
    assert dut.bits.value == 77, "bits: expected 77"


def first_line(sim, testcase):
    with pytest.raises(SimulationError) as caught:
        run("sofa_popcount", __name__, {"WIDTH": 7}, sim, testcase=testcase)
    return str(caught.value).split("\n")


@pytest.mark.sims("verilator")
def test_first_failure_is_shown(sim):
    line, *more = first_line(sim, None)
    assert line.startswith("wrong_field: exp: cycle 120 (1200.001 ns), query row 5, block 3, "
                           "step 4, field pa: bit 2 is the lowest to differ: expected 6 (0x6), "
                           "got 2 (0x2) (1 of 2 values differ) (sofa_popcount, verilator, "
                           "seed"), line
    assert "the first of 3 failures" in line
    assert "later consequence" not in "".join(more)
    assert round(RECORDS[-1]["failed_ns"]) == 1200 and RECORDS[-1]["failed"] == 3

    line = first_line(sim, ["passes", "old_value"])[0]
    assert line.startswith("old_value: scores: cycle 100 (1000"), line
    assert "query row 0, key 1: bit 0 " in line and RECORDS[-1]["failed_ns"] < 1001
    line = first_line(sim, "plain_assertion")[0]
    assert line.startswith("plain_assertion: cycle 30 (300 ns): bits: expected 77"), line
    assert RECORDS[-1]["failed_ns"] == 300
