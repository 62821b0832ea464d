# SPDX-License-Identifier: Apache-2.0
"""sofa_store against the expected memory image: data, strobes, errors, rates."""

import itertools
import random

import cocotb
import pytest
from cocotb.triggers import RisingEdge

from tb.common.scoreboard import same, same_signals
from tb.runner import BuildError, build, run
from tb.store.bench import BASE, HALF, O_ID, PROTOCOL, TB, X_ID

MEMORIES = {
    "fast": {},
    "slow": {"write_latency": (20, 60), "aw_stall": 0.4, "w_stall": 0.3, "b_gap": 0.3},
    "late_w": {"early_w": False, "write_latency": (1, 30), "aw_stall": 0.7},
    "late_aw": {"aw_stall": 0.9, "w_stall": 0.5, "max_writes": 4},
    "mixed": {"write_latency": (1, 80), "reorder": True, "b_gap": 0.2},
}


async def settle(dut, cycles):
    for _ in range(cycles):
        await RisingEdge(dut.clk)


@cocotb.test()
@cocotb.parametrize(memory=list(MEMORIES), idle=[0.0, 0.5])
async def random_blocks(dut, memory, idle):
    """Blocks of every shape, back to back, among beats of x; the whole memory is compared."""
    tb = TB(dut, idle=idle, **MEMORIES[memory])
    await tb.reset()
    for number, d in enumerate((8, tb.d_max, tb.d_max - 8, random.randrange(8, tb.d_max + 1, 8))):
        tb.config(d)
        for rows in (tb.rows, 1, random.randint(1, tb.rows)):
            # One job has O alone.
            for _ in range(random.randint(1, 80) if number else 0):
                tb.write()
            await tb.block(rows)
        await tb.finish()
    for client, name in ((O_ID, "O"), (X_ID, "x")):
        written = sum(b for _, b, i in tb.memory.writes if i == client)
        assert written == len(tb.w_cycles[client]) > 8, name
    assert tb.blocks == 12 and tb.board.finish("memory") > 0


@cocotb.test()
@cocotb.parametrize(memory=list(MEMORIES), idle=[0.0, 0.5])
async def x_alone(dut, memory, idle):
    """Beats of x with no block: any strobes, the same word again and again, neighbours."""
    tb = TB(dut, idle=idle, **MEMORIES[memory])
    await tb.reset()
    n = tb.bus_bytes
    for i in range(300):
        tb.write(random.choice([None, BASE + HALF, BASE + HALF + i * n]))
    await tb.finish()
    assert tb.memory.stats.max_writes <= tb.x_outstanding
    assert tb.x_done == 300 and all(b == 1 and i == X_ID for _, b, i in tb.memory.writes)
    assert tb.board.finish("memory") > 0


@cocotb.test()
async def page_crossings(dut):
    """Rows across a 4 KiB boundary, the cut before every beat, while x wants the bus."""
    tb = TB(dut, **MEMORIES["late_w"])
    await tb.reset()
    tb.config(tb.d_max, stride=4096)
    rows = min(tb.rows, 4)
    for cut in range(tb.beats + 1):
        for _ in range(4 * tb.d):
            tb.write()
        await tb.block(rows, BASE + 4096 - cut * tb.bus_bytes)
    await tb.finish()
    split = [a for a, b, i in tb.memory.writes if b < tb.beats and i == O_ID]
    assert len(split) == 2 * (tb.beats - 1) * rows


@cocotb.test()
@cocotb.parametrize(response=["SLVERR", "DECERR"], memory=["fast", "mixed"], client=[O_ID, X_ID])
async def faults(dut, response, memory, client):
    """Errors are reported, with their ID; nothing is done after one; reset mends all."""
    tb = TB(dut, **MEMORIES[memory])
    await tb.reset()
    tb.config(tb.d_max)
    await tb.block(tb.rows)
    tb.write()
    await tb.finish()
    addr = tb.room(tb.rows)
    if client == O_ID:
        for r in range(tb.rows // 2, tb.rows):
            at = addr + r * tb.stride
            tb.memory.add_fault(at, at, "write", response)
    else:
        tb.memory.add_fault(BASE + HALF + 4096, BASE + HALF + 8191, "write", response)
    for i in range(40):
        tb.write(BASE + HALF + (4096 if client == X_ID and i in (20, 30) else 0))
    await tb.block(tb.rows, addr)
    for _ in range(5000):
        await RisingEdge(dut.clk)
        if tb.errors:
            break
    expected = [(client, {"SLVERR": 2, "DECERR": 3}[response])]
    await settle(dut, 200)
    assert tb.errors and set(tb.errors) == set(expected)
    assert tb.x_done <= 41 if client == O_ID else tb.x_done == 21
    done = tb.done, tb.x_done
    dut.halt.value = 1
    await drained(dut, tb)
    same("store errors", set(expected), set(tb.errors))
    same("store blocks, x beats done", done, (tb.done, tb.x_done))

    tb.memory.faults.clear()
    tb.want = tb.memory.data.copy()
    await tb.reset()
    tb.config(8)
    tb.write()
    await tb.block(tb.rows)
    await tb.finish()
    assert tb.board.finish("memory") > 0


def stray(tb, number):
    """Send a response that nobody waits for."""
    tb.stray.append(number)
    tb.memory.stray_write(number)


@cocotb.test()
async def stray_answers(dut):
    """A response that nobody waits for is reported and changes nothing: at rest, with a BID that
    does not exist, of the other client, before AW or the last W beat is taken; no reset is
    needed."""
    tb = TB(dut, write_latency=20)
    await tb.reset()
    tb.config(tb.d_max)
    for number in range(8):
        stray(tb, number)
    await settle(dut, 40)
    same("store errors", [(number, PROTOCOL) for number in range(8)], tb.errors)
    tried = 0
    for client, channel in itertools.product((O_ID, X_ID), ("aw", "w", "b")):
        tb.errors.clear()
        # One row is never complete.
        tb.memory.dead[channel] = tb.beats - 1 if (client, channel) == (O_ID, "w") else 0
        await settle(dut, 3)
        if client == O_ID:
            await tb.block(1)
        else:
            tb.write()
        await settle(dut, 20 + tb.beats)
        # Each BID that is not owed; one that is would count as its answer.
        numbers = [n for n in range(8) if channel != "b" or n != client]
        for number in numbers:
            stray(tb, number)
        await settle(dut, 10)
        assert tb.errors == [(number, PROTOCOL) for number in numbers], (client, channel)
        tb.memory.dead.clear()
        tb.errors.clear()
        await tb.finish()
        tried += 1
    assert tried == 6 and tb.board.finish("memory") > 0


async def drained(dut, tb):
    """Wait for idle and check that it stays."""
    for _ in range(3000):
        await RisingEdge(dut.clk)
        if int(dut.idle.value):
            break
    for _ in range(20):
        same_signals("store", dut, idle=1, m_axi_awvalid=0, m_axi_wvalid=0)
        assert tb.memory.idle, "store is idle, its memory is not"
        await RisingEdge(dut.clk)


@cocotb.test()
@cocotb.parametrize(memory=["fast", "slow", "late_aw", "mixed"])
async def halt_anywhere(dut, memory):
    """halt at any time: no new AW, owed beats without strobes, then idle; a new job is clean."""
    tb = TB(dut, **MEMORIES[memory])
    empty = tries = 0
    # Halts between bursts owe no beats, so more tries until some did.
    while tries < 10 or (not empty and tries < 100):
        tries += 1
        await tb.reset()
        tb.config(tb.d_max)
        old = tb.memory.data.copy()
        # Each word once, so that a byte has only an old and a new value.
        for i in range(random.choice([0, 60])):
            tb.write(BASE + HALF + i * tb.bus_bytes)
        task = cocotb.start_soon(tb.block(tb.rows))
        await settle(dut, random.randrange(0, tb.rows * tb.beats))
        dut.halt.value = 1
        await settle(dut, 2)
        x_done = tb.x_done
        bursts, held = len(tb.memory.writes), int(dut.m_axi_awvalid.value)
        if int(dut.m_axi_wvalid.value) and not int(dut.m_axi_wready.value):
            await RisingEdge(dut.clk)
        before = len(tb.beat_cycles)
        for _ in range(3000):
            await RisingEdge(dut.clk)
            if int(dut.idle.value):
                break
            if len(tb.beat_cycles) > before + 1 and int(dut.m_axi_wvalid.value):
                same_signals("store in halt", dut, m_axi_wstrb=0)
                empty += 1
        await drained(dut, tb)
        assert len(tb.memory.writes) - bursts <= held, "AW started during halt"
        # Every byte is either as before or as wanted.
        now = tb.memory.data
        assert ((now == old) | (now == tb.want)).all()
        tb.want = now.copy()
        same("store blocks, x beats done", [0, x_done], [tb.done, tb.x_done])
        task.cancel()
    await tb.reset()
    tb.config(tb.d_max)
    await tb.block(tb.rows)
    await tb.finish()
    assert empty > 0 and tb.board.finish("memory") > 0


@cocotb.test()
@cocotb.parametrize(memory=["fast", "slow", "late_aw"])
async def reset_anywhere(dut, memory):
    """rst, also for one cycle, at any time: nothing of before is offered any more, a new job is
    exact."""
    tb = TB(dut, **MEMORIES[memory])
    await tb.reset()
    caught = tries = 0
    # Until some resets of one cycle met data that waits; a fast memory lets none wait.
    while tries < 10 or (memory != "fast" and caught < 5 and tries < 100):
        tries += 1
        tb.config(tb.d_max)
        old = tb.memory.data.copy()
        # Each word once, so that a byte has only an old and a new value.
        for i in range(random.choice([0, 60])):
            tb.write(BASE + HALF + i * tb.bus_bytes)
        tb.hand_over(tb.rows)
        await settle(dut, random.randrange(0, tb.rows * tb.beats))
        caught += await tb.reset(random.choice((1, 1, 2)))
        await drained(dut, tb)
        now = tb.memory.data
        assert ((now == old) | (now == tb.want)).all()
        tb.want = now.copy()
        tb.config(random.randrange(8, tb.d_max + 1, 8))
        for _ in range(4):
            tb.write()
        await tb.block(2)
        await tb.finish()
    assert (memory == "fast" or caught >= 5) and tb.board.finish("memory") > 0


# Rows that wait for their burst (sofa_store.v).
ROWS_WAIT = 8
# Cycles from the edge which takes the last beat of a row to those which can take AW and W.
AW_LATENCY, W_LATENCY = 2, 4


@cocotb.test()
async def exact_cycles(dut):
    """O alone, rows of two beats and up: a beat in and a beat out in every cycle, across rows and
    blocks; latencies as stated."""
    tb = TB(dut, write_latency=100)
    await tb.reset()
    for d in sorted({tb.bus_bytes, tb.d_max}):
        tb.config(d, stride=512)
        start, aw, w = len(tb.o_cycles), len(tb.aw_cycles), len(tb.beat_cycles)
        for n in range(2):
            tb.hand_over(tb.rows, BASE + n * 512 * tb.rows)
        await tb.finish()
        taken, sent = tb.o_cycles[start:], tb.beat_cycles[w:]
        assert len(taken) == len(sent) == 2 * tb.rows * tb.beats
        assert taken[-1] - taken[0] + 1 == len(taken), "o_ready fell"
        assert sent[-1] - sent[0] + 1 == len(sent), "W paused"
        row = taken[tb.beats - 1]
        same("store cycles to AW, W", [AW_LATENCY, W_LATENCY],
             [tb.aw_cycles[aw] - row, sent[0] - row])


@cocotb.test()
async def backpressure(dut):
    """A memory that takes nothing: the stage takes beats until its memory or its rows are full,
    and loses none."""
    tb = TB(dut)
    await tb.reset()
    for d in sorted({8, tb.bus_bytes, tb.d_max}):
        tb.config(d)
        tb.memory.aw_stall, tb.memory.w_stall = 1.0, 1.0
        start = len(tb.o_cycles)
        for _ in range(4):
            tb.hand_over(tb.rows)
        await settle(dut, 4 * tb.words + 40)
        taken, ready = len(tb.o_cycles) - start, int(dut.o_ready.value)
        # Beats in the memory and, up to two, on their way to W.
        most = min(tb.words + 2, (ROWS_WAIT + 2) * tb.beats)
        assert not ready and most - 2 * tb.beats <= taken <= most, f"d {d}: {taken} of {most}"
        tb.memory.aw_stall = tb.memory.w_stall = 0.0
        await tb.finish()
    assert tb.board.finish("memory") > 0


@cocotb.test()
async def exact_cycles_of_x(dut):
    """x alone: a beat is taken and leaves in every cycle, latencies are as stated."""
    tb = TB(dut, write_latency=100)
    await tb.reset()
    for _ in range(400):
        tb.write()
    await tb.finish()
    beats = tb.w_cycles[X_ID]
    assert len(beats) == len(tb.x_cycles) == 400
    for cycles in (beats, tb.x_cycles):
        assert cycles[-1] - cycles[0] == 399, "x paused"
    same("store cycles to AW", AW_LATENCY, tb.aw_cycles[0] - tb.x_cycles[0])
    same("store cycles to W", W_LATENCY, beats[0] - tb.x_cycles[0])


@cocotb.test()
async def shares(dut):
    """Both at once: W never pauses, each gets half of it, and neither waits long."""
    tb = TB(dut, write_latency=100)
    await tb.reset()
    tb.config(tb.d_max, stride=512)
    for _ in range(3 * tb.rows * tb.beats):
        tb.write()
    await settle(dut, 10)
    for n in range(2):
        tb.hand_over(tb.rows, BASE + n * 512 * tb.rows)
    await tb.finish()
    # From the first to the last beat of O.
    beats = tb.w_cycles[O_ID]
    inside = [c for c in tb.w_cycles[X_ID] if beats[0] < c < beats[-1]]
    assert len(beats) == 2 * tb.rows * tb.beats
    assert beats[-1] - beats[0] + 1 == len(beats) + len(inside), "W paused"
    # Each row but the last is followed by its count of x.
    assert len(inside) == (2 * tb.rows - 1) * tb.beats
    between = [b - a for a, b in zip(inside, inside[1:], strict=False)]
    assert max(between) <= tb.beats + 1, "x waits for more than a row"


@cocotb.test()
@cocotb.parametrize(client=[O_ID, X_ID])
async def stalls(dut, client):
    """ev_stall: memory takes no AW although something waits, in every cycle and not longer."""
    tb = TB(dut)
    await tb.reset()
    tb.config(tb.d_max)
    tb.memory.aw_stall = 1.0
    if client == O_ID:
        tb.hand_over(tb.rows)
    else:
        for _ in range(20):
            tb.write()
    # The data of the one burst that is up goes ahead of it.
    await settle(dut, 20 + tb.beats)
    for _ in range(20):
        same_signals("store", dut, ev_stall=1)
        await RisingEdge(dut.clk)
    tb.memory.aw_stall = 0.0
    await tb.finish()
    for _ in range(20):
        same_signals("store", dut, ev_stall=0)
        await RisingEdge(dut.clk)


@pytest.mark.slow_on("icarus", "small")
@pytest.mark.configs("tiny", "small")
def test_store(sim, config, seed):
    run("sofa_store", __name__, config.pick("D_MAX", "BUS_BYTES"), sim, seed=seed)


@pytest.mark.parametrize("outstanding", [2, pytest.param(32, marks=pytest.mark.slow)])
def test_store_wide(sim, seed, outstanding):
    """A bus on which d is not a multiple of a beat; also with few unanswered bursts."""
    run("sofa_store", __name__, {"D_MAX": 64, "BUS_BYTES": 32, "OUTSTANDING": outstanding,
                                 "X_OUTSTANDING": 2 * outstanding, "WORDS": 8}, sim, seed=seed,
        testcase=[*(f"random_blocks/memory={m}/idle=0.0" for m in MEMORIES), "page_crossings",
                  *(f"halt_anywhere/memory={m}" for m in ("fast", "slow", "late_aw", "mixed")),
                  *(f"x_alone/memory={m}/idle=0.0" for m in MEMORIES)])


@pytest.mark.configs("paper")
@pytest.mark.sims("verilator")
def test_store_paper(sim, config, seed):
    run("sofa_store", __name__, config.pick("D_MAX", "BUS_BYTES"), sim, seed=seed,
        testcase=["exact_cycles", "exact_cycles_of_x", "shares", "backpressure",
                  "random_blocks/memory=slow/idle=0.5"])


@pytest.mark.parametrize("parameters", [
    {"D_MAX": 8, "BUS_BYTES": 8}, {"D_MAX": 512}, {"D_MAX": 48}, {"BUS_BYTES": 128},
    {"ADDR_W": 31}, {"OUTSTANDING": 1}, {"X_OUTSTANDING": 257}, {"WORDS": 24},
    {"WORDS": 8, "D_MAX": 128}])
def test_illegal_parameters_are_refused(sim, parameters):
    with pytest.raises(BuildError, match="illegal_parameter_"):
        build("sofa_store", parameters, sim)
