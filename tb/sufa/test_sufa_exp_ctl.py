# SPDX-License-Identifier: Apache-2.0
"""sufa_exp_ctl: rows in order, no weight overwritten before it was taken, one scan per block."""

import random
from collections import deque

import cocotb
import pytest

from tb.runner import BuildError, build, parameters, run
from tb.sufa.control import Pins

# Cycles from the issue of score b to the row's weights, and of the divider with its input.
EXP_LATENCY, DIV_LATENCY = 11, 11


@cocotb.test()
async def random_blocks(dut):
    p = parameters()
    rows, div_rows = p["EXP_ROWS"], p["DIV_ROWS"]
    pins = Pins(dut, ("rst", "cap", "cap_end", "end_only", "div_valid", "w_start", "w_taken"),
                ("hold_take", "hold_soon", "end_ok", "ex_en", "ex_valid", "ex_b", "ex_row",
                 "ex_first", "scan_en", "scan_row", "scan_valid", "scan_empty", "div_row",
                 "w_ready"))
    await pins.reset()
    for eager in (1.0, 0.3):
        await _job(pins, rows, div_rows, eager)


async def _job(pins, rows, div_rows, eager):
    # Blocks with their numbers of steps; 0 ends by end_only. An event list in order.
    blocks = [random.choice((0, 1, 2, 5)) for _ in range(30)] + [3]
    todo = deque()
    for steps in blocks:
        todo.extend(("step", i == steps - 1) for i in range(steps))
        if not steps:
            todo.append(("end", True))
    issued, issue_want = 0, deque()      # (row, b, first) still to be issued
    pipe = deque([None] * EXP_LATENCY)   # rows on their way through the exp units
    div = deque([False] * DIV_LATENCY)
    out = deque()                        # complete sets of weights: ("step" or "flush")
    filling = 0                          # rows of the current set already written
    scans = taken = 0
    first = True
    started_at = None
    promise = None
    cap = end_only = w_taken = div_valid = False
    scan_rows = 0
    while todo or issue_want or taken < len(blocks) + sum(blocks):
        await pins.edge()
        assert pins.number < 40000, f"stuck: {len(todo)} to do, {taken} taken"
        v = {n: pins.one(n) for n in ("hold_take", "hold_soon", "end_ok", "ex_en", "ex_valid",
                                      "scan_en", "scan_valid", "w_ready")}
        if promise is not None:
            promise = None if v["hold_take"] else promise - 1
            assert promise is None or promise >= 0, "hold_soon promised too much"
        if v["hold_soon"] and not v["hold_take"] and promise is None:
            promise = 4
        # Issue and the way through the units.
        if v["ex_valid"]:
            assert v["ex_en"]
            got = tuple(pins.known("ex_row", "ex_b", "ex_first"))
            assert got == issue_want.popleft(), f"issue {issued}"
            issued += 1
        if v["ex_en"]:
            row = pipe.popleft()
            pipe.append(pins.one("ex_row") if v["ex_valid"] and pins.one("ex_b") else None)
            if row is not None:
                if row == 0:
                    # The set before must be taken, in this cycle at the latest.
                    assert (not out and started_at is None) or w_taken, "weights overwritten"
                filling += 1
                if filling == rows:
                    filling = 0
                    out.append("step")
        # Scan.
        if v["scan_en"]:
            assert not any(r is not None for r in pipe), "scan before the sums were complete"
            assert not out and started_at is None, "results would overwrite weights"
            assert pins.one("scan_row") == scan_rows
            scan_rows = (scan_rows + 1) % div_rows
        if v["scan_valid"]:
            # A cycle behind scan_en, as the memory is.
            assert pins.one("scan_empty") == (blocks[scans // div_rows] == 0)
            scans += 1
        if div_valid:
            assert pins.one("div_row") == filling
            filling += 1
            if filling == div_rows:
                filling = 0
                out.append("flush")
        # w_ready was seen in the cycle just over; SV may have started.
        if started_at is not None and w_taken:
            started_at, taken = None, taken + 1
            out.popleft()
        # ---- drive the next cycle ----
        div.append(bool(v["scan_en"]))
        div_valid = div.popleft()
        pins.put("div_valid", div_valid)
        start = bool(v["w_ready"]) and started_at is None and random.random() < eager
        # w_ready holds until w_start, so that starting a cycle later is allowed as well.
        pins.put("w_start", start)
        if start:
            started_at = pins.number
        w_taken = started_at is not None and pins.number == started_at + 3
        pins.put("w_taken", w_taken)
        # What happened in the cycle just over is not in its outputs yet.
        quiet = not cap and not end_only
        cap = end_only = False
        if todo and quiet and not issue_want:
            kind, end = todo[0]
            # Nothing was captured since, so that what the last cycle showed still holds.
            if kind == "step" and v["hold_take"] and not v["ex_valid"]:
                cap = True
                pins.put("cap_end", end)
                issue_want.extend((r, b, int(first)) for r in range(rows) for b in range(2))
                first = end
                todo.popleft()
            elif kind == "end" and v["end_ok"] and not v["ex_valid"]:
                end_only = True
                first = True
                todo.popleft()
        pins.put("cap", cap)
        pins.put("end_only", end_only)
    assert scans == len(blocks) * div_rows and issued == 2 * rows * sum(blocks) > 0


@pytest.mark.parametrize("rows,div_rows", [(2, 2), (4, 8), (16, 32)])
def test_sufa_exp_ctl(sim, seed, rows, div_rows):
    run("sufa_exp_ctl", __name__, {"EXP_ROWS": rows, "DIV_ROWS": div_rows}, sim, seed=seed)


@pytest.mark.parametrize("bad", [{"EXP_ROWS": 1}, {"DIV_ROWS": 2}])
def test_illegal_parameters_are_refused(sim, bad):
    with pytest.raises(BuildError, match="illegal_parameter_sufa_exp_ctl"):
        build("sufa_exp_ctl", {"EXP_ROWS": 4, "DIV_ROWS": 4, **bad}, sim)
