# SPDX-License-Identifier: Apache-2.0
"""dlzs_codes against the model: both buffers written and read at the same time."""

import random

import cocotb
import numpy as np
import pytest
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge

from models import dlzs
from tb.common.scoreboard import pack, unpack
from tb.runner import CLOCK_PERIOD_NS, parameters, run

RULES = {0: (dlzs.FLOOR, dlzs.NEAREST), 1: (dlzs.FLOOR, dlzs.NEAREST, dlzs.TWO_TERM)}


@cocotb.test()
async def write_and_read(dut):
    """While one block is read element by element, with pauses, the next one is written."""
    p = parameters()
    rows, qe, elems, two_term = p["ROWS"], p["QE"], p["D_MAX"], p["TWO_TERM"]
    rng = np.random.default_rng(random.getrandbits(32))
    edge, compared, held = FallingEdge(dut.clk), 0, 0
    cocotb.start_soon(Clock(dut.clk, CLOCK_PERIOD_NS, unit="ns").start())
    dut.rst.value, dut.wr_valid.value, dut.rd_en.value = 1, 0, 0
    await edge
    await edge
    dut.rst.value = 0
    codes = [None, None]
    for block in range(9):
        buf, other = block % 2, 1 - block % 2
        # The rule belongs to the writes only.
        rule = random.choice(RULES[two_term])
        dut.cfg_snap.value = rule
        q = rng.integers(-32768, 32768, (rows, elems)) >> rng.integers(0, 16, (rows, elems))
        beats = [(r, t) for r in range(rows) for t in range(elems // qe)]
        random.shuffle(beats)
        order = list(range(elems)) if codes[other] is not None else []
        want = None
        while beats or order:
            write, read = beats and random.random() < 0.8, order and random.random() < 0.7
            dut.wr_valid.value, dut.wr_buf.value = int(bool(write)), buf
            row, beat = beats.pop() if write else (random.randrange(rows), 0)
            dut.wr_row.value, dut.wr_beat.value = row, beat
            dut.wr_data.value = pack(q[row, beat * qe : (beat + 1) * qe], 16)
            dut.rd_en.value, dut.rd_buf.value = int(bool(read)), other
            dut.rd_elem.value = order[0] if read else random.randrange(elems)
            if read:
                want = codes[other][:, order.pop(0)]
            await edge
            if want is not None:
                got = unpack(int(dut.rd_code.value), rows, 5 + two_term)
                assert np.array_equal(got, want), f"block {block - 1}"
                compared += rows * bool(read)
                held += not read
        # The last beat is written one cycle late and can be read after that.
        dut.wr_valid.value, dut.rd_en.value = 0, 0
        await edge
        codes[buf] = dlzs.encode(q, rule)
    assert compared == 8 * rows * elems and held > 10


@pytest.mark.parametrize("rows,qe,d_max,two_term", [(4, 4, 16, 0), (16, 4, 32, 1), (8, 8, 16, 1)])
def test_dlzs_codes(sim, seed, rows, qe, d_max, two_term):
    run("dlzs_codes", __name__, {"ROWS": rows, "QE": qe, "D_MAX": d_max, "TWO_TERM": two_term},
        sim, seed=seed)
