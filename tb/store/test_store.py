# SPDX-License-Identifier: Apache-2.0
"""The store stage against the expected memory image: data, strobes, errors, rates."""

import random

import cocotb
import pytest
from cocotb.triggers import RisingEdge

from tb.common.signals import reader
from tb.runner import BuildError, build, run
from tb.store.bench import BASE, TB

MEMORIES = {
    "fast": {},
    "slow": {"write_latency": (20, 60), "aw_stall": 0.4, "w_stall": 0.3, "b_gap": 0.3},
    "late_w": {"early_w": False, "write_latency": (1, 30), "aw_stall": 0.7},
    "late_aw": {"aw_stall": 0.9, "w_stall": 0.5, "max_writes": 4},
}


async def settle(dut, cycles):
    for _ in range(cycles):
        await RisingEdge(dut.clk)


@cocotb.test()
@cocotb.parametrize(memory=list(MEMORIES), idle=[0.0, 0.5])
async def random_blocks(dut, memory, idle):
    """Blocks of every shape, back to back; the whole memory is compared after each job."""
    tb = TB(dut, idle=idle, **MEMORIES[memory])
    await tb.reset()
    for d in (8, tb.d_max, tb.d_max - 8, random.randrange(8, tb.d_max + 1, 8)):
        tb.config(d)
        for rows in (tb.rows, 1, random.randint(1, tb.rows)):
            await tb.block(rows)
        await tb.finish()
    written = sum(b for _, b, _ in tb.memory.writes)
    assert written == len(tb.beat_cycles) and tb.blocks == 12
    assert tb.board.finish("memory") > 0


@cocotb.test()
async def page_crossings(dut):
    """Rows across a 4 KiB boundary, the cut before every beat."""
    tb = TB(dut, **MEMORIES["slow"])
    await tb.reset()
    tb.config(tb.d_max, stride=4096)
    rows = min(tb.rows, 4)
    for cut in range(tb.beats + 1):
        await tb.block(rows, BASE + 4096 - cut * tb.bus_bytes)
    await tb.finish()
    split = [a for a, b, _ in tb.memory.writes if b < tb.beats]
    assert len(split) == 2 * (tb.beats - 1) * rows


@cocotb.test()
@cocotb.parametrize(response=["SLVERR", "DECERR"], memory=["fast", "slow"])
async def faults(dut, response, memory):
    """An error is reported once, its block is not done; after halt and reset all is well."""
    tb = TB(dut, **MEMORIES[memory])
    await tb.reset()
    tb.config(tb.d_max)
    await tb.block(tb.rows)
    await tb.finish()
    addr = tb.room(tb.rows)
    for r in range(tb.rows // 2, tb.rows):
        at = addr + r * tb.stride
        tb.memory.add_fault(at, at, "write", response)
    await tb.block(tb.rows, addr)
    for _ in range(5000):
        await RisingEdge(dut.clk)
        if tb.errors:
            break
    expected = [{"SLVERR": 2, "DECERR": 3}[response]]
    assert tb.errors == expected and tb.done == 1
    dut.halt.value = 1
    await drained(dut, tb)
    assert tb.errors == expected and tb.done == 1

    tb.memory.faults.clear()
    tb.want = tb.memory.data.copy()
    await tb.reset()
    tb.config(8)
    await tb.block(tb.rows)
    await tb.finish()
    assert tb.board.finish("memory") > 0


async def drained(dut, tb):
    """Wait for idle and check that it stays."""
    for _ in range(3000):
        await RisingEdge(dut.clk)
        if int(dut.idle.value):
            break
    for _ in range(20):
        assert int(dut.idle.value) == 1 and tb.memory.idle
        assert not int(dut.m_axi_awvalid.value) and not int(dut.m_axi_wvalid.value)
        await RisingEdge(dut.clk)


@cocotb.test()
@cocotb.parametrize(memory=["fast", "slow", "late_aw"])
async def halt_anywhere(dut, memory):
    """halt at any time: no new AW, owed beats without strobes, then idle; a new job is clean."""
    tb = TB(dut, **MEMORIES[memory])
    strobes = reader(dut.m_axi_wstrb)
    empty = tries = 0
    # Halts between bursts owe no beats, so more tries until some did.
    while tries < 10 or (not empty and tries < 100):
        tries += 1
        await tb.reset()
        tb.config(tb.d_max)
        old = tb.memory.data.copy()
        task = cocotb.start_soon(tb.block(tb.rows))
        start = tb.d + random.randrange(0, tb.rows * tb.beats)
        await settle(dut, start)
        dut.halt.value = 1
        await settle(dut, 2)
        bursts, held = len(tb.memory.writes), int(dut.m_axi_awvalid.value)
        if int(dut.m_axi_wvalid.value) and not int(dut.m_axi_wready.value):
            await RisingEdge(dut.clk)
        before = len(tb.beat_cycles)
        for _ in range(3000):
            await RisingEdge(dut.clk)
            if int(dut.idle.value):
                break
            if len(tb.beat_cycles) > before + 1 and int(dut.m_axi_wvalid.value):
                assert "1" not in strobes()
                empty += 1
        await drained(dut, tb)
        assert len(tb.memory.writes) - bursts <= held, "AW started during halt"
        # Every byte is either as before or as wanted.
        now = tb.memory.data
        assert ((now == old) | (now == tb.want)).all()
        tb.want = now.copy()
        assert tb.done == 0
        task.cancel()
    await tb.reset()
    tb.config(tb.d_max)
    await tb.block(tb.rows)
    await tb.finish()
    assert empty > 0 and tb.board.finish("memory") > 0


# Cycles from the edge which takes the last word of a block to those which can take AW and W.
AW_LATENCY, W_LATENCY = 2, 4
# Cycles from the edge which takes the last beat to the one which takes the next block's first
# word: the beat left the buffer two cycles before.
REUSE = -1


@cocotb.test()
async def exact_cycles(dut):
    """W runs at full rate, the buffer is free with its last beat, latencies are as stated."""
    tb = TB(dut, write_latency=100)
    await tb.reset()
    tb.config(tb.d_max, stride=512)
    base = BASE
    for _ in range(4):
        await tb.block(tb.rows, base)
        base += 512 * tb.rows
    await tb.finish()
    beats = tb.rows * tb.beats
    assert len(tb.beat_cycles) == 4 * beats
    for n in range(4):
        last_word = tb.word_cycles[(n + 1) * tb.d - 1]
        first, last = tb.beat_cycles[n * beats], tb.beat_cycles[(n + 1) * beats - 1]
        assert last - first + 1 == beats, "W paused"
        assert first - last_word == W_LATENCY
        if n < 3:
            assert tb.word_cycles[(n + 1) * tb.d] - last == REUSE
    assert tb.aw_cycles[0] - tb.word_cycles[tb.d - 1] == AW_LATENCY


@pytest.mark.configs("tiny", "small")
def test_store(sim, config, seed):
    run("store", __name__, config.pick("ROWS", "D_MAX", "BUS_BYTES"), sim, seed=seed)


@pytest.mark.parametrize("outstanding", [2, 32])
def test_store_wide(sim, seed, outstanding):
    """A bus on which d is not a multiple of a beat; also with few unanswered bursts."""
    run("store", __name__, {"ROWS": 16, "D_MAX": 64, "BUS_BYTES": 32,
                            "OUTSTANDING": outstanding}, sim, seed=seed,
        testcase=[*(f"random_blocks/memory={m}/idle=0.0" for m in MEMORIES), "page_crossings",
                  *(f"halt_anywhere/memory={m}" for m in ("fast", "slow", "late_aw"))])


@pytest.mark.configs("paper")
@pytest.mark.sims("verilator")
def test_store_paper(sim, config, seed):
    run("store", __name__, config.pick("ROWS", "D_MAX", "BUS_BYTES"), sim, seed=seed,
        testcase=["exact_cycles", "random_blocks/memory=slow/idle=0.5"])


@pytest.mark.parametrize("parameters", [
    {"ROWS": 4, "BUS_BYTES": 16}, {"ROWS": 24}, {"ROWS": 256}, {"D_MAX": 8, "BUS_BYTES": 8},
    {"D_MAX": 512}, {"D_MAX": 48}, {"BUS_BYTES": 128}, {"ADDR_W": 31}, {"OUTSTANDING": 1}])
def test_illegal_parameters_are_refused(sim, parameters):
    with pytest.raises(BuildError, match="illegal_parameter_"):
        build("store", parameters, sim)
