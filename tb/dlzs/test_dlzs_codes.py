# SPDX-License-Identifier: Apache-2.0
"""sofa_dlzs_codes against the model: blocks in all places, written and read at the same time."""

import random

import cocotb
import numpy as np
import pytest
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge

from models import dlzs
from tb.common.scoreboard import pack, same, unpack
from tb.runner import CLOCK_PERIOD_NS, parameters, run

RULES = {0: (dlzs.FLOOR, dlzs.NEAREST), 1: (dlzs.FLOOR, dlzs.NEAREST, dlzs.TWO_TERM)}


@cocotb.test()
async def write_and_read(dut):
    """A place is written while others are read, at every number of beats; a last beat is whole."""
    p = parameters()
    rows, qe, elems, two_term = p["ROWS"], p["QE"], p["D_MAX"], p["TWO_TERM"]
    rng = np.random.default_rng(random.getrandbits(32))
    edge, compared, held, used = FallingEdge(dut.clk), 0, 0, set()
    cocotb.start_soon(Clock(dut.clk, CLOCK_PERIOD_NS, unit="ns").start())
    dut.rst.value, dut.wr_valid.value, dut.rd_en.value = 1, 0, 0
    await edge
    await edge
    dut.rst.value = 0
    for beats in range(1, elems // qe + 1):
        places = min(p["PLACES"], p["BEATS"] // beats)
        dut.cfg_beats.value = beats
        codes = [None] * places
        for block in range(3 * places):
            place = block % places
            # The rule belongs to the writes only.
            rule = random.choice(RULES[two_term])
            dut.cfg_snap.value = rule
            q = rng.integers(-32768, 32768, (rows, beats * qe))
            q = q >> rng.integers(0, 16, q.shape)
            writes = [(r, t) for r in range(rows) for t in range(beats)]
            random.shuffle(writes)
            ready = [n for n in range(places) if n != place and codes[n] is not None]
            reads = [(n, e) for n in ready for e in range(beats * qe)]
            random.shuffle(reads)
            want = None
            while writes or reads:
                write, read = writes and random.random() < 0.8, reads and random.random() < 0.7
                row, beat = writes.pop() if write else (random.randrange(rows), 0)
                dut.wr_valid.value, dut.wr_place.value = int(bool(write)), place
                dut.wr_row.value, dut.wr_beat.value = row, beat
                dut.wr_data.value = pack(q[row, beat * qe : (beat + 1) * qe], 16)
                at, elem = reads[0] if read else (0, random.randrange(elems))
                dut.rd_en.value = int(bool(read))
                dut.rd_base.value, dut.rd_elem.value = at * beats, elem
                if read:
                    reads.pop(0)
                    want = codes[at][:, elem]
                    used.add(at)
                await edge
                if want is not None:
                    got = unpack(int(dut.rd_code.value), rows, 5 + two_term)
                    same("dlzs_codes", want.tolist(), got.tolist(), beats=beats, block=block)
                    compared += rows * bool(read)
                    held += not read
            # The last beat is written one cycle late and can be read after that.
            dut.wr_valid.value, dut.rd_en.value = 0, 0
            await edge
            codes[place] = dlzs.encode(q, rule)
    assert compared > 1000 and held > 10 and used == set(range(p["PLACES"]))


@cocotb.test()
async def reset_drops_a_beat(dut):
    """A beat that comes in a reset's only cycle is not written; the one before it is."""
    p = parameters()
    rows, qe, elems, two_term = p["ROWS"], p["QE"], p["D_MAX"], p["TWO_TERM"]
    beats = elems // qe
    places = min(p["PLACES"], p["BEATS"] // beats)
    rng = np.random.default_rng(random.getrandbits(32))
    edge, compared = FallingEdge(dut.clk), 0
    cocotb.start_soon(Clock(dut.clk, CLOCK_PERIOD_NS, unit="ns").start())
    dut.rst.value, dut.wr_valid.value, dut.rd_en.value = 1, 0, 0
    dut.cfg_beats.value, dut.cfg_snap.value = beats, dlzs.FLOOR
    await edge
    for _ in range(20):
        dut.rst.value, dut.wr_valid.value = 0, 1
        dut.wr_place.value = place = random.randrange(places)
        q = rng.integers(-32768, 32768, (rows, beats * qe))
        for row in range(rows):
            for beat in range(beats):
                dut.wr_row.value, dut.wr_beat.value = row, beat
                dut.wr_data.value = pack(q[row, beat * qe : (beat + 1) * qe], 16)
                await edge
        # Other numbers for that beat, or another one
        dut.rst.value, dut.wr_beat.value = 1, random.choice((beats - 1, 0))
        dut.wr_data.value = pack(-1 - q[random.randrange(rows), :qe], 16)
        await edge
        dut.rst.value, dut.wr_valid.value, dut.rd_en.value = 0, 0, 1
        await edge
        want = dlzs.encode(q, dlzs.FLOOR)
        for elem in range(beats * qe):
            dut.rd_base.value, dut.rd_elem.value = place * beats, elem
            await edge
            got = unpack(int(dut.rd_code.value), rows, 5 + two_term)
            same("dlzs_codes", want[:, elem].tolist(), got.tolist(), element=elem)
            compared += rows
        dut.rd_en.value = 0
    same("dlzs_codes", 20 * rows * beats * qe, compared, field="compared")


@pytest.mark.parametrize("shape", [
    {"ROWS": 4, "QE": 4, "D_MAX": 16, "PLACES": 4, "BEATS": 8, "TWO_TERM": 1},
    # Twelve beats: not a power of two; two groups of rows.
    {"ROWS": 16, "QE": 8, "D_MAX": 32, "PLACES": 8, "BEATS": 12, "TWO_TERM": 0},
    # The most beats: places far within them.
    {"ROWS": 4, "QE": 4, "D_MAX": 8, "PLACES": 8, "BEATS": 256, "TWO_TERM": 0},
], ids=["tiny", "groups", "beats"])
def test_sofa_dlzs_codes(sim, seed, shape):
    run("sofa_dlzs_codes", __name__, shape, sim, seed=seed)
