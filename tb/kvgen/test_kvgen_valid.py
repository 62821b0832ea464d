# SPDX-License-Identifier: Apache-2.0
"""sofa_kvgen_valid: the bitmap of the keys that are made, looked up, marked, saved and loaded."""

import random

import cocotb
import pytest
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge

from tb.common.scoreboard import same, same_signals
from tb.runner import CLOCK_PERIOD_NS, parameters, run


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
            same_signals("kvgen_valid", dut, c_valid=1, c_addr=address, c_beats=beats)
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
                same("kvgen_valid cycles of a mark", 1, cycles, key=key)
                same_signals("kvgen_valid", dut, look_ready=0)
                await edge
                # An answer stays until the next look-up is taken.
                same_signals("kvgen_valid", dut, look_done=done)
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
            same("kvgen_valid cycles of a look-up", 2, cycles, key=key)
            same("kvgen_valid", {"claimed": key in claimed, "written": key in written},
                 {"claimed": bool(dut.look_claimed.value), "written": bool(dut.look_written.value)},
                 key=key)
            polled += key in claimed and key not in written
            claimed.add(key)
        dut.save.value = 1
        await edge
        dut.save.value = 0
        got = 0
        for b in range(beats):
            while int(dut.m_valid.value) == 0:
                await edge
            same_signals("kvgen_valid", dut, m_addr=address + b * bus)
            got |= int(dut.m_data.value) << 8 * bus * b
            for _ in range(random.randrange(3)):
                await edge
            dut.m_ready.value = 1
            await edge
            dut.m_ready.value = 0
        same_signals("kvgen_valid", dut, busy=0)
        saved = sum(1 << k for k in written)
        same("kvgen_valid bitmap", f"{saved:#x}", f"{got:#x}", keys=keys)
    assert polled > 10


@pytest.mark.parametrize("keys,bus", [(64, 64), (256, 8), (512, 16), (65536, 32)])
def test_valid(sim, seed, keys, bus):
    run("sofa_kvgen_valid", __name__, {"KEYS_MAX": keys, "BUS_BYTES": bus, "ADDR_W": 40}, sim,
        seed=seed)
