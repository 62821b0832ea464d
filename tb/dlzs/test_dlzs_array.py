# SPDX-License-Identifier: Apache-2.0
"""sofa_dlzs_array alone: gaps anywhere in a pass, freezes, passes as short as the skew allows."""

import random

import cocotb
import numpy as np
import pytest
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, Timer

from models import dlzs
from models.config import Config
from tb.common.scoreboard import pack, same, same_signals, unpack
from tb.runner import CLOCK_PERIOD_NS, parameters, run

LANES = 4


def schedule(cfg, rng, turns, shortest):
    """Passes of random turns, each (codes [R, d], k8 [C, d], last of its turn, last group)."""
    passes, groups = [], cfg.COLS // LANES
    for _ in range(turns):
        count = random.randint(1, 3)
        for i in range(count):
            d = random.randint(shortest, cfg.D_MAX)
            q = rng.integers(-32768, 32768, (cfg.ROWS, d))
            k8 = rng.integers(-128, 128, (cfg.COLS, d))
            last = i == count - 1
            group = random.randrange(groups) if last else groups - 1
            snap = dlzs.TWO_TERM if cfg.TWO_TERM else dlzs.FLOOR
            passes.append((dlzs.encode(q, snap), k8, last, group))
    return passes


@cocotb.test()
@cocotb.parametrize(gap=[0.0, 0.3], freeze=[0.0, 0.5])
async def passes(dut, gap, freeze):
    p = parameters()
    # The model needs a legal configuration only for the widths.
    cfg = Config.from_name("tiny", ROWS=p["ROWS"], COLS=p["COLS"], BC_MAX=64,
                           TWO_TERM=p["TWO_TERM"])
    groups = cfg.COLS // LANES
    rng = np.random.default_rng(random.getrandbits(32))
    work = schedule(cfg, rng, 12, groups)
    terms = []
    for c, k, last, group in work:
        for e in range(c.shape[1]):
            end = e == c.shape[1] - 1
            # What comes with in_last means nothing before.
            flags = (last, group) if end else (random.getrandbits(1), random.randrange(groups))
            terms.append((c[:, e], k[:, e], e == 0, end, *flags))
    edge = FallingEdge(dut.clk)
    clock = cocotb.start_soon(Clock(dut.clk, CLOCK_PERIOD_NS, unit="ns").start())
    dut.rst.value, dut.en.value, dut.in_valid.value = 1, 1, 0
    await edge
    await edge
    dut.rst.value = 0
    words, frozen, quiet = [], 0, 0
    while quiet < groups + 2:
        valid = bool(terms) and random.random() >= gap
        # Junk operands without valid.
        code, k8 = rng.integers(0, 1 << cfg.CODE_W, cfg.ROWS), rng.integers(-128, 128, cfg.COLS)
        flags = [*(random.getrandbits(1) for _ in range(3)), random.randrange(groups)]
        if valid:
            code, k8, *flags = terms[0]
        dut.in_valid.value = valid
        dut.in_code.value, dut.in_k8.value = pack(code, cfg.CODE_W), pack(k8, 8)
        dut.in_k8x3.value = pack(3 * np.asarray(k8[:4], int), 10)
        for port, flag in zip((dut.in_first, dut.in_last, dut.in_turn_last, dut.in_group),
                              flags, strict=True):
            port.value = int(flag)
        en = random.random() >= freeze
        dut.en.value = en
        frozen += not en
        # Outputs of this cycle, seen before its edge.
        await Timer(1, "ns")
        if en and int(dut.word_valid.value):
            words.append((int(dut.word_last.value), int(dut.word_scores.value)))
        elif not int(dut.word_valid.value):
            same_signals("dlzs_array without a word", dut, word_scores=0)
        if en and valid:
            terms.pop(0)
        quiet = quiet + 1 if en and not terms and not valid else 0
        await edge
    same("dlzs_array words", sum(group + 1 for *_, group in work), len(words))
    compared, got_words = 0, iter(words)
    for number, (codes, k8, last, group) in enumerate(work):
        want = dlzs.scores(codes, k8, cfg)
        for g in range(group + 1):
            got_last, value = next(got_words)
            where = {"pass": number, "group": g}
            same("dlzs_array last", last and g == group, bool(got_last), **where)
            got = unpack(value, cfg.ROWS * LANES, cfg.SC_W, signed=True).reshape(-1, LANES)
            part = want[:, g * LANES : (g + 1) * LANES]
            same("dlzs_array", part.tolist(), got.tolist(), **where)
            compared += part.size
    clock.cancel()
    assert compared == len(words) * cfg.ROWS * LANES and (frozen > 0) == (freeze > 0)


@pytest.mark.parametrize("rows,cols,two_term", [
    pytest.param(4, 4, 1, marks=pytest.mark.slow_on("verilator")), (8, 16, 1),
    pytest.param(4, 32, 0, marks=pytest.mark.slow_on("icarus"))])
def test_sofa_dlzs_array(sim, seed, rows, cols, two_term):
    run("sofa_dlzs_array", __name__,
        {"ROWS": rows, "COLS": cols, "TWO_TERM": two_term, "SC_W": 14}, sim, seed=seed)
