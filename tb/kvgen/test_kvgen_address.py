# SPDX-License-Identifier: Apache-2.0
"""sofa_kvgen_address: addresses over the whole ranges, the cycle of each, new starts and resets
while it works."""

import random

import cocotb
import pytest
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge

from tb.common.scoreboard import same, same_signals
from tb.runner import CLOCK_PERIOD_NS, parameters, run


def some(bits):
    """A random number, or one at an end of the range, or a single bit."""
    top = (1 << bits) - 1
    return random.choice((0, top, 1 << random.randrange(bits), *3 * (random.getrandbits(bits),)))


@cocotb.test()
async def addresses(dut):
    """Each is there ceil(KEY_W / 2) + 1 cycles after its start and stays; what a start or a reset
    of one cycle cuts off is not seen."""
    p = parameters()
    key_w, addr_w = p["KEY_W"], p["ADDR_W"]
    latency, edge = -(-key_w // 2) + 1, FallingEdge(dut.clk)
    cocotb.start_soon(Clock(dut.clk, CLOCK_PERIOD_NS, unit="ns").start())
    dut.rst.value, dut.start.value = 1, 0
    await edge
    dut.rst.value = 0
    compared = cut = resets = 0
    for _ in range(1500):
        key, base, stride = some(key_w), some(addr_w), some(32)
        dut.start.value, dut.key.value, dut.base.value = 1, key, base
        dut.stride.value = random.getrandbits(32)
        await edge
        dut.start.value, dut.key.value, dut.base.value = 0, some(key_w), some(addr_w)
        dut.stride.value = stride
        stop = random.randint(1, latency) if random.random() < 0.3 else None
        for cycle in range(1, latency + 2):
            same("kvgen_address", int(cycle > latency), int(dut.done.value), field="done",
                 cycles=cycle)
            if cycle in (stop, latency + 1):
                break
            await edge
        if stop is not None:
            cut += 1
            if random.random() < 0.5:
                dut.rst.value = 1
                await edge
                dut.rst.value = 0
                same_signals("kvgen_address", dut, done=1)
                resets += 1
            continue
        dut.stride.value = random.getrandbits(32)
        for _ in range(random.choice((1, 3))):
            same_signals("kvgen_address", dut, done=1, addr=base + key * stride & (1 << addr_w) - 1)
            compared += 1
            await edge
    assert compared > 1000 and cut - resets > 100 and resets > 100


@pytest.mark.parametrize("key_w, addr_w", [
    # A build for Verilator takes longer than the test.
    (9, 40), *(pytest.param(*p, marks=pytest.mark.slow_on("verilator"))
               for p in ((6, 32), (16, 48)))])
def test_kvgen_address(sim, seed, key_w, addr_w):
    run("sofa_kvgen_address", __name__, {"KEY_W": key_w, "ADDR_W": addr_w}, sim, seed=seed)
