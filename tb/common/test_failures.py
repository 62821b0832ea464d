# SPDX-License-Identifier: Apache-2.0
"""What is shown of a bench that fails: its first failure, in one line, with cycle and time."""

import ast

import cocotb
import pytest
from cocotb.triggers import Timer

from tb.common.scoreboard import Scoreboard, same, same_signals
from tb.common.signals import moment
from tb.runner import CLOCK_PERIOD_NS, RECORDS, ROOT, SimulationError, run

READERS = ("reader", "KnownReader")
"""What they return reads a signal when it is called."""


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
async def wrong_signal(dut):
    dut.bits.value = 5
    await cycles(40)
    same_signals("popcount", dut, bits=5)
    same_signals("popcount", dut, bits=7)


@cocotb.test()
async def wrong_cycles(dut):
    await cycles(50)
    same("popcount cycles", [1, 2, 3], [1, 4, 3], block=2)


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
    assert "the first of 5 failures" in line
    assert "later consequence" not in "".join(more)
    assert round(RECORDS[-1]["failed_ns"]) == 1200 and RECORDS[-1]["failed"] == 5

    line = first_line(sim, ["passes", "old_value"])[0]
    assert line.startswith("old_value: scores: cycle 100 (1000"), line
    assert "query row 0, key 1: bit 0 " in line and RECORDS[-1]["failed_ns"] < 1001
    line = first_line(sim, "wrong_signal")[0]
    assert line.startswith("wrong_signal: popcount: cycle 40 (400 ns), field bits: expected 7, "
                           "got 5 (sofa"), line
    line = first_line(sim, "wrong_cycles")[0]
    assert line.startswith("wrong_cycles: popcount cycles: cycle 50 (500 ns), block 2, entry 1: "
                           "expected 2, got 4 (sofa"), line
    line = first_line(sim, "plain_assertion")[0]
    assert line.startswith("plain_assertion: cycle 30 (300 ns): bits: expected 77"), line
    assert RECORDS[-1]["failed_ns"] == 300


def names(target):
    """What an assignment gives a value to."""
    if isinstance(target, ast.Tuple | ast.List):
        return [name for part in target.elts for name in names(part)]
    return [ast.unparse(target)]


def bare(text, bench):
    """Lines of the assertions without a message in a file: all of a bench; of a test those that
    look at a signal, by ``handle.name.value`` or what READERS return."""
    tree, readers = ast.parse(text), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and any(
                isinstance(call, ast.Call) and ast.unparse(call.func) in READERS
                for call in ast.walk(node.value)):
            readers |= {name for target in node.targets for name in names(target)}

    def reads(node):
        if isinstance(node, ast.Attribute):
            return node.attr == "value" and isinstance(node.value, ast.Attribute)
        return isinstance(node, ast.Call) and ast.unparse(node.func) in readers

    return [node.lineno for node in ast.walk(tree)
            if isinstance(node, ast.Assert) and node.msg is None
            and (bench or any(map(reads, ast.walk(node.test))))]


def test_every_message_has_a_name():
    """No assertion on a value of the design is without its name: same(), same_signals(), a
    scoreboard or a message say it."""
    found = [f"{path.relative_to(ROOT)}:{line}" for path in sorted((ROOT / "tb").rglob("*.py"))
             for line in bare(path.read_text(), not path.name.startswith("test_"))]
    assert not found, f"assertions without a message: {', '.join(found)}"


@pytest.mark.parametrize("text, lines", [
    ("assert dut.idle.value == 1", [1]), ("assert int(tb.dut.idle.value) == 1", [1]),
    ("stall, x = reader(dut.ev_stall), 1\nassert stall() == '1'", [2]),
    ("assert dut.idle.value == 1, 'idle'", []), ("assert count > 100", []),
    ("x = stall()\nassert stall()", []), ("assert Way.value", [])])
def test_what_is_bare(text, lines):
    assert bare(text, bench=False) == lines
    assert len(bare(text, bench=True)) == ("'idle'" not in text)
