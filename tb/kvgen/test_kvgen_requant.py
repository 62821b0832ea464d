# SPDX-License-Identifier: Apache-2.0
"""sofa_kvgen_requant against the model: rounding and saturation of sums."""

import random
from collections import deque

import cocotb
import numpy as np
import pytest
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge

from models import kvgen
from tb.common.scoreboard import same
from tb.common.signals import KnownReader, writer
from tb.runner import CLOCK_PERIOD_NS, parameters, run


@cocotb.test()
async def rounding(dut):
    """All shifts on sums around every power of two, the edges of 16 bits and random ones."""
    width = parameters()["ACC_W"]
    cocotb.start_soon(Clock(dut.clk, CLOCK_PERIOD_NS, unit="ns").start())
    top = 1 << width - 1
    sums = {s * (1 << b) + o for b in range(width - 1) for s in (1, -1) for o in (-1, 0, 1)}
    sums |= {-top, top - 1, 0}
    cases = []
    for shift in range(41):
        edge = [v << shift for v in (32767, -32768)]
        half = (1 << shift) >> 1
        near = [e + s * half + o for e in edge for s in (-1, 0, 1) for o in (-1, 0, 1)]
        some = random.sample(sorted(sums), 40) + near
        some += [random.randrange(-top, top) >> random.randrange(width) for _ in range(20)]
        cases += [(a, shift) for a in some if -top <= a < top]
    random.shuffle(cases)
    put_acc, put_shift, get = writer(dut.acc), writer(dut.shift), KnownReader(dut.y)
    edge, want = FallingEdge(dut.clk), deque()
    await edge
    for acc, shift in [*cases, (0, 0), (0, 0)]:
        put_acc(format(acc % (1 << width), f"0{width}b"))
        put_shift(format(shift, "06b"))
        want.append((int(kvgen.narrow(np.int64(acc), shift)), acc, shift))
        await edge
        if len(want) == 2:
            y, acc, shift = want.popleft()
            same("kvgen_requant", y % 65536, get(), acc=acc, shift=shift)
    assert len(cases) > 2000


@pytest.mark.parametrize("acc_w", [38, 44])
def test_requant(sim, seed, acc_w):
    run("sofa_kvgen_requant", __name__, {"ACC_W": acc_w}, sim, seed=seed)
