# SPDX-License-Identifier: Apache-2.0
"""Parts of KVGEN alone: rounding, the array, the bitmap, the count that holds commits back."""

import random
from collections import deque

import cocotb
import numpy as np
import pytest
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge

from models import kvgen
from tb.common.scoreboard import pack, unpack
from tb.common.signals import KnownReader, writer
from tb.runner import CLOCK_PERIOD_NS, BuildError, build, parameters, run


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
            assert get() == y % 65536, f"acc {acc} shift {shift}: expected {y}"
    assert len(cases) > 2000


@pytest.mark.parametrize("acc_w", [38, 44])
def test_requant(sim, seed, acc_w):
    run("sofa_kvgen_requant", __name__, {"ACC_W": acc_w}, sim, testcase="rounding", seed=seed)


@cocotb.test()
async def projection(dut):
    """Sums of groups of all sizes; a copy that is held back freezes the array and loses nothing."""
    await project(dut, packed=False)


@cocotb.test()
async def projection_packed(dut):
    """Two tokens a column: each half of the lanes works on a number of its own."""
    await project(dut, packed=True)


async def project(dut, packed):
    """Random groups; packed: twice as many places, in the lower and the upper half of the lanes."""
    p = parameters()
    rows, columns, acc_w = p["ROWS"], p["KG_TOK"], 32 + (p["H_MAX"] - 1).bit_length()
    parts, tok = (2 if rows >= 32 else 1), columns * (2 if packed else 1)
    d, h = rows // 4 if packed else -(-3 * rows // 32) * 8, 16
    passes = -(-2 * d // rows)
    cocotb.start_soon(Clock(dut.clk, CLOCK_PERIOD_NS, unit="ns").start())
    edge = FallingEdge(dut.clk)
    rng = np.random.default_rng(random.getrandbits(32))
    dut.rst.value, dut.cfg_d.value, dut.cfg_h.value = 1, d, h
    dut.cfg_packed.value = int(packed)
    dut.g_valid.value = dut.s_done.value = dut.w_wr_valid.value = 0
    await edge
    await edge
    dut.rst.value = 0
    weights = rng.integers(-32768, 32768, (passes * h, rows))
    if packed:
        weights[:, rows // 2 :] = weights[:, : rows // 2]
    for address, word in enumerate(weights):
        dut.w_wr_valid.value, dut.w_wr_addr.value = 1, address
        dut.w_wr_data.value = pack(word, 16)
        await edge
    dut.w_wr_valid.value = 0
    weights = weights.reshape(passes, h, rows)
    groups = [(rng.integers(-32768, 32768, (n, h)), n) for n in
              [tok] * 3 + [random.randint(1, tok) for _ in range(12)]]
    want = [(g % 4, n, i, x @ weights[i]) for g, (x, n) in enumerate(groups)
            for i in range(passes)]
    taken, freed, starts, at, cycle, frozen = 0, 0, [], [], 0, 0
    read = None
    while want:
        offer = taken < len(groups) and (taken < 3 or random.random() < 0.5)
        dut.g_valid.value = offer
        dut.g_num.value, dut.g_n.value = taken % 4, groups[min(taken, len(groups) - 1)][1]
        if read is not None:
            x = groups[read[0]][0][:, read[1]]
            x = np.concatenate([x, rng.integers(-32768, 32768, tok - len(x))])
            # [part, column] -> column by column, {upper, lower}
            x = x.reshape(2, columns) if packed else np.stack([x] * parts)
            dut.x_data.value = pack(x.T.reshape(-1), 16)
        # The first groups are drained at once.
        hold = len(at) >= 3 * passes and random.random() < 0.97
        dut.s_done.value = int(dut.s_valid.value) and not hold
        await cocotb.triggers.Timer(1, "ns")
        if int(dut.g_take.value):
            starts.append(cycle)
            taken += 1
        if int(dut.x_en.value):
            num, elem = int(dut.x_num.value), int(dut.x_elem.value)
            group = next(g for g in (taken - 1, taken - 2) if g % 4 == num)
            read = (group, elem)
        frozen += int(dut.ev_stall.value)
        if int(dut.g_free.value):
            assert int(dut.g_free_num.value) == freed % 4
            freed += 1
        if int(dut.s_valid.value) and int(dut.s_done.value):
            num, n, i, sums = want.pop(0)
            at.append(cycle)
            got = unpack(int(dut.s_sums.value), columns * rows, acc_w, signed=True)
            got = got.reshape(columns, rows)
            if packed:
                got = np.concatenate([got[:, : rows // 2], got[:, rows // 2 :]])
            assert np.array_equal(got[:n], sums[:, : got.shape[1]])
            assert (int(dut.s_num.value), int(dut.s_n.value)) == (num, n)
            assert int(dut.s_last.value) == (i == passes - 1)
        await edge
        cycle += 1
        assert cycle < 40000, "no progress"
    assert at[: 3 * passes] == [starts[0] + h + 5 + h * i for i in range(3 * passes)]
    assert freed == len(groups) and frozen > 100


# From 64 rows on half of the lanes have digits of their own.
@pytest.mark.parametrize("rows,tok", [(16, 2), (32, 1), (16, 4), (64, 1)])
def test_array(sim, seed, rows, tok):
    run("sofa_kvgen_array", __name__, {"ROWS": rows, "KG_TOK": tok, "H_MAX": 64, "WGT_WORDS": 256},
        sim, testcase="projection", seed=seed)


@pytest.mark.parametrize("rows,tok", [(32, 1), (32, 4), (64, 1)])
def test_array_packed(sim, seed, rows, tok):
    run("sofa_kvgen_array", __name__, {"ROWS": rows, "KG_TOK": tok, "H_MAX": 64, "WGT_WORDS": 256},
        sim, testcase="projection_packed", seed=seed)


@cocotb.test()
async def bitmap(dut):
    """Look-ups and marks in random order, then save; a load of what was saved gives it back."""
    p = parameters()
    bus = p["BUS_BYTES"]
    cocotb.start_soon(Clock(dut.clk, CLOCK_PERIOD_NS, unit="ns").start())
    edge = FallingEdge(dut.clk)
    for name in ("clear", "load", "save", "c_ready", "d_valid", "m_ready", "look_valid",
                 "mark_valid"):
        getattr(dut, name).value = 0
    dut.rst.value = 1
    await edge
    await edge
    dut.rst.value = 0
    saved = polled = 0
    for turn, keys in enumerate([p["KEYS_MAX"], 1, 37, 37, 32, p["KEYS_MAX"] - 1, 33, 33]):
        dut.cfg_keys.value = keys
        beats = -(-keys // (8 * bus))
        address = random.getrandbits(30) * bus
        dut.addr.value = address
        load = turn > 0
        # Bits of no key are not taken over; bytes are.
        saved &= (1 << keys) - 1
        image = saved | random.getrandbits(64) << keys
        written = {k for k in range(keys) if load and saved >> k & 1}
        claimed = set(written)
        if load:
            dut.load.value = 1
            await edge
            dut.load.value = 0
            for _ in range(random.randrange(3)):
                await edge
            assert int(dut.c_valid.value) == 1 and int(dut.c_addr.value) == address
            assert int(dut.c_beats.value) == beats
            dut.c_ready.value = 1
            await edge
            dut.c_ready.value = 0
            for b in range(beats):
                dut.d_data.value = image >> 8 * bus * b & (1 << 8 * bus) - 1
                dut.d_valid.value = 1
                while int(dut.d_ready.value) == 0:
                    await edge
                await edge
                dut.d_valid.value = 0
        else:
            dut.clear.value = 1
            await edge
            dut.clear.value = 0
        while int(dut.busy.value):
            await edge
        for _ in range(150):
            # A mark goes first; a look-up of the same key behind it sees it.
            marks = sorted(claimed - written)
            if marks and random.random() < 0.4:
                key = random.choice(marks)
                dut.mark_key.value, dut.mark_valid.value = key, 1
                dut.look_key.value, dut.look_valid.value = key, int(random.random() < 0.5)
                written.add(key)
                done, cycles = int(dut.look_done.value), 0
                while int(dut.mark_ready.value) == 0:
                    await edge
                    cycles += 1
                assert cycles == 1 and int(dut.look_ready.value) == 0
                await edge
                # An answer stays until the next look-up is taken.
                assert int(dut.look_done.value) == done
                dut.mark_valid.value = dut.look_valid.value = 0
            key = random.choice([random.randrange(keys), keys - 1,
                                 random.choice(sorted(claimed - written) or [0])])
            dut.look_key.value, dut.look_valid.value = key, 1
            await edge
            dut.look_valid.value = 0
            cycles = 1
            while int(dut.look_done.value) == 0:
                await edge
                cycles += 1
            assert cycles == 2
            assert int(dut.look_claimed.value) == (key in claimed), f"key {key}"
            assert int(dut.look_written.value) == (key in written), f"key {key}"
            polled += key in claimed and key not in written
            claimed.add(key)
        dut.save.value = 1
        await edge
        dut.save.value = 0
        got = 0
        for b in range(beats):
            while int(dut.m_valid.value) == 0:
                await edge
            assert int(dut.m_addr.value) == address + b * bus
            got |= int(dut.m_data.value) << 8 * bus * b
            for _ in range(random.randrange(3)):
                await edge
            dut.m_ready.value = 1
            await edge
            dut.m_ready.value = 0
        assert int(dut.busy.value) == 0
        saved = sum(1 << k for k in written)
        assert got == saved
    assert polled > 10


@pytest.mark.parametrize("keys,bus", [(64, 64), (256, 8), (512, 16), (65536, 32)])
def test_valid(sim, seed, keys, bus):
    run("sofa_kvgen_valid", __name__, {"KEYS_MAX": keys, "BUS_BYTES": bus, "ADDR_W": 40}, sim,
        testcase="bitmap", seed=seed)


@pytest.mark.parametrize("module,change", [
    ("mac", {"ACC_W": 32}), ("requant", {"ACC_W": 46}), ("array", {"ROWS": 12}),
    ("load", {"KG_TOK": 3}), ("load", {"KG_TOK": 2, "PLACES": 8}), ("drain", {"D_MAX": 24}),
    ("order", {"PLACES": 6}), ("out", {"ADDR_W": 20}), ("wb", {"OPEN": 300}),
    ("valid", {"KEYS_MAX": 32}), ("wload", {"ROWS": 4}), ("address", {"KEY_W": 5})])
def test_illegal_parameters_are_refused(sim, module, change):
    with pytest.raises(BuildError, match=f"illegal_parameter_sofa_kvgen_{module}"):
        build(f"sofa_kvgen_{module}", change, sim)
