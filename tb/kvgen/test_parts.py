# SPDX-License-Identifier: Apache-2.0
"""Parts of KVGEN alone: rounding, the bitmap, the count that holds commits back."""

import random
from collections import deque

import cocotb
import numpy as np
import pytest
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge

from models import kvgen
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
    run("kvgen_requant", __name__, {"ACC_W": acc_w}, sim, testcase="rounding", seed=seed)


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
                cycles = 0
                while int(dut.mark_ready.value) == 0:
                    await edge
                    cycles += 1
                assert cycles == 1 and int(dut.look_done.value) == 0
                await edge
                dut.mark_valid.value = dut.look_valid.value = 0
            key = random.choice([random.randrange(keys), keys - 1,
                                 random.choice(sorted(claimed - written) or [0])])
            dut.look_key.value, dut.look_valid.value = key, 1
            cycles = 0
            while int(dut.look_done.value) == 0:
                await edge
                cycles += 1
            assert cycles == 1
            assert int(dut.look_claimed.value) == (key in claimed), f"key {key}"
            assert int(dut.look_written.value) == (key in written), f"key {key}"
            polled += key in claimed and key not in written
            claimed.add(key)
            await edge
            dut.look_valid.value = 0
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


@pytest.mark.parametrize("keys,bus", [(64, 64), (256, 8), (512, 16)])
def test_valid(sim, seed, keys, bus):
    run("kvgen_valid", __name__, {"KEYS_MAX": keys, "BUS_BYTES": bus, "ADDR_W": 40}, sim,
        testcase="bitmap", seed=seed)


@cocotb.test()
async def commits(dut):
    """A commit passes when its phase's vectors are counted, and not before."""
    phases = parameters()["PHASES"]
    cocotb.start_soon(Clock(dut.clk, CLOCK_PERIOD_NS, unit="ns").start())
    edge = FallingEdge(dut.clk)
    for name in ("put", "put_count", "done", "s_valid", "m_ready"):
        getattr(dut, name).value = 0
    dut.enable.value, dut.rst.value = 1, 1
    await edge
    await edge
    dut.rst.value = 0
    await edge
    stored, owed, count, passed, held = deque(), 0, 0, 0, 0
    for _ in range(4000):
        put = len(stored) < phases and random.random() < 0.3
        n = random.choice([0, 1, 5, 64])
        valid, ready = random.random() < 0.8, random.random() < 0.7
        # Vectors come only for phases that are queued.
        done = owed > 0 and random.random() < 0.9
        dut.put.value, dut.put_count.value, dut.done.value = put, n, done
        dut.s_valid.value, dut.m_ready.value = valid, ready
        await cocotb.triggers.Timer(1, "ns")
        open_ = bool(stored) and count >= stored[0]
        assert int(dut.m_valid.value) == (valid and open_)
        assert int(dut.s_ready.value) == (ready and open_)
        held += valid and ready and bool(stored) and not open_
        if valid and ready and open_:
            count -= stored.popleft()
            passed += 1
        count, owed = count + done, owed - done
        if put:
            stored.append(n)
            owed += n
        await edge
    assert passed > 50 and held > 500
    dut.enable.value = 0
    for valid, ready in ((0, 0), (0, 1), (1, 0), (1, 1)):
        dut.s_valid.value, dut.m_ready.value = valid, ready
        await cocotb.triggers.Timer(1, "ns")
        assert (int(dut.m_valid.value), int(dut.s_ready.value)) == (valid, ready)


@pytest.mark.parametrize("phases", [2, 4])
def test_commit(sim, seed, phases):
    run("kvgen_commit", __name__, {"PHASES": phases}, sim, testcase="commits", seed=seed)


@pytest.mark.parametrize("module,change", [
    ("kvgen_mac", {"ACC_W": 32}), ("kvgen_requant", {"ACC_W": 46}), ("kvgen_array", {"ROWS": 12}),
    ("kvgen_load", {"KG_TOK": 3}), ("kvgen_drain", {"D_MAX": 24}), ("kvgen_order", {"KG_TOK": 8}),
    ("kvgen_out", {"ADDR_W": 20}), ("kvgen_commit", {"PHASES": 5}), ("kvgen_wb", {"OPEN": 300}),
    ("kvgen_valid", {"KEYS_MAX": 32}), ("kvgen_wload", {"ROWS": 4}),
    ("kvgen_front", {"KV_BUFS": 1})])
def test_illegal_parameters_are_refused(sim, module, change):
    with pytest.raises(BuildError, match=f"illegal_parameter_{module}"):
        build(module, change, sim)
