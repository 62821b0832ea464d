# SPDX-License-Identifier: Apache-2.0
"""AxiLiteMaster against a register file: data, strobes, responses, timeouts, bad slaves."""

import random

import cocotb
import pytest
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles

from tb import runner
from tb.common.axil_master import AxiLiteError, AxiLiteMaster, AxiLiteTimeout
from tb.runner import CLOCK_PERIOD_NS, run


async def setup(dut, **options):
    """Return a master after reset."""
    cocotb.start_soon(Clock(dut.clk, CLOCK_PERIOD_NS, unit="ns").start())
    master = AxiLiteMaster(dut, "s_axil", dut.clk, dut.rst, seed=runner.seed(), **options)
    dut.delay.value = dut.drop_valid.value = dut.change_data.value = 0
    await reset(dut)
    return master


async def reset(dut):
    dut.rst.value = 1
    await ClockCycles(dut.clk, 3)
    dut.rst.value = 0


@cocotb.test()
@cocotb.parametrize(gap=[0, 6], delay=[0, 5])
async def registers(dut, gap, delay):
    """Random writes with all strobes, and reads, against a list."""
    master = await setup(dut, gap=gap)
    dut.delay.value = delay
    rng = random.Random(runner.seed())
    model = [rng.getrandbits(32) for _ in range(16)]
    for i, value in enumerate(model):
        await master.write(4 * i, value)
    compared = 0
    for _ in range(200):
        i = rng.randrange(16)
        if rng.random() < 0.5:
            value, strb = rng.getrandbits(32), rng.randrange(16)
            await master.write(4 * i, value, strb)
            mask = sum(0xFF << (8 * b) for b in range(4) if strb >> b & 1)
            model[i] = (model[i] & ~mask) | (value & mask)
        else:
            assert await master.read(4 * i) == model[i]
            compared += 1
    assert compared > 50


@cocotb.test()
async def concurrent_callers(dut):
    """Callers at the same time take turns; reads and writes overlap."""
    master = await setup(dut, gap=2)

    async def work(i):
        await master.write(4 * i, 1000 + i)
        assert await master.read(4 * i) == 1000 + i

    tasks = [cocotb.start_soon(work(i)) for i in range(16)]
    for task in tasks:
        await task


@cocotb.test()
async def error_responses(dut):
    master = await setup(dut)
    await master.write(0, 7)
    for address, name in ((0x40, "SLVERR"), (0x80, "DECERR")):
        for call in (master.write(address, 1), master.read(address)):
            with pytest.raises(AxiLiteError, match=name) as caught:
                await call
            assert caught.value.response == name
    assert await master.read(0) == 7


@cocotb.test()
async def no_answer(dut):
    """A slave which never answers raises instead of hanging."""
    master = await setup(dut, timeout=50)
    with pytest.raises(AxiLiteTimeout, match="write 0xc0: no bvalid within 50"):
        await master.write(0xC0, 1)
    with pytest.raises(AxiLiteTimeout, match="no awready, wready"):
        await master.write(0xC0, 1)
    with pytest.raises(AxiLiteTimeout, match="read 0xc0: no rvalid"):
        await master.read(0xC0)
    with pytest.raises(AxiLiteTimeout, match="no arready"):
        await master.read(0xC0)
    await reset(dut)
    await master.write(4, 9)
    assert await master.read(4) == 9


@cocotb.test()
async def reset_ends_a_transfer(dut):
    master = await setup(dut)

    async def read():
        with pytest.raises(AxiLiteError, match="reset"):
            await master.read(0xC0)

    task = cocotb.start_soon(read())
    await ClockCycles(dut.clk, 10)
    assert not task.done()
    await reset(dut)
    await task
    await master.write(0, 3)
    assert await master.read(0) == 3


@cocotb.test()
async def bad_slaves(dut):
    """A response which drops or changes before ready is an error."""
    master = await setup(dut, gap=20)
    for signal in (dut.drop_valid, dut.change_data):
        signal.value = 1
        found = 0
        for _ in range(60):
            try:
                await master.read(0)
            except AssertionError as error:
                assert "changed or dropped" in str(error)
                found += 1
                await reset(dut)
        assert found > 5
        signal.value = 0


def test_axil_master(sim, seed):
    run("axil_regfile", __name__, {}, sim, seed=seed)
