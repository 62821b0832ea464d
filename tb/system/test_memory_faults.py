# SPDX-License-Identifier: Apache-2.0
"""A memory that falls silent or breaks AXI4: the job ends with a code, the next one is right."""

from __future__ import annotations

import os
import random

import cocotb
import numpy as np
import pytest
from cocotb.triggers import ClockCycles, RisingEdge

from models.driver.accelerator import AcceleratorError, AcceleratorTimeout
from models.spec import registers as regs
from tb.common.axi_memory import AxiMemory
from tb.common.scoreboard import Scoreboard, same, same_signals
from tb.runner import run
from tb.system import random_jobs
from tb.system.simulate import Placed, check_memory
from tb.system.test_errors import (
    good_job,
    good_layer,
    output_of,
    random_job,
    setup,
    small_layer,
)

TIMEOUT = 300
"""Cycles; the memory's latency is at most 40."""

READ, WRITE = 1, 2
"""Bits of what was lost."""

SILENT = {"ar": (regs.Err.READ_TIMEOUT, 1, READ), "r": (regs.Err.READ_TIMEOUT, 2, READ),
          "aw": (regs.Err.WRITE_TIMEOUT, 1, WRITE), "w": (regs.Err.WRITE_TIMEOUT, 2, WRITE),
          "b": (regs.Err.WRITE_TIMEOUT, 4, WRITE)}
"""Channel that is dead -> code, INFO, what is lost."""

ATTENTION = (0, 1, 2, 3, 7)
"""Streams that an attention job reads: Q, K8, K, V, and D for its table of heads."""


async def prepare(dut, timeout=TIMEOUT, **memory):
    acc, rng = setup(dut, **memory)
    await acc.reset()
    assert await acc.read("TIMEOUT") == 1 << 20
    await acc.write("TIMEOUT", timeout)
    return acc, rng


async def start_job(acc, rng):
    """Start a job on given K and V; returns its descriptor and its output."""
    acc.free_all()
    n, job = random_job(acc.cfg, rng)
    descriptor = acc.describe(n, job)
    await acc.start(descriptor)
    return descriptor, output_of(n, job, acc.cfg)


async def start_layer(acc, rng):
    """Start a layer from X, as a chain of two jobs."""
    acc.free_all()
    plan = small_layer(acc.cfg, rng).plan
    jobs = acc.describe_layer(plan, acc.place_layer(plan))
    await acc.start_chain(acc.chain(jobs))


async def ended(acc, limit=40_000):
    """Wait for the end of a job that fails; returns (code, INFO, what was lost)."""
    with pytest.raises(AcceleratorError) as caught:
        await acc.wait(limit)
    return caught.value.code, caught.value.info, caught.value.lost


async def abort(acc):
    await acc.write("CTRL", 1 << regs.lsb("CTRL", "SOFT_RESET"))


def transfers(stats):
    """Transfers of each channel so far. Bursts of O may be split: AW is counted by its answers."""
    return {"ar": stats.read_bursts, "r": stats.read_beats, "aw": stats.write_bursts,
            "w": stats.write_beats, "b": stats.write_bursts}


@cocotb.test()
@cocotb.parametrize(kind=["job", "layer"])
async def silent_channels(dut, kind):
    """Each channel dead from the start or after some transfers, in a job and in a chain."""
    start, good = {"job": (start_job, good_job), "layer": (start_layer, good_layer)}[kind]
    acc, rng = await prepare(dut)
    assert await good(acc, rng)
    # Other inputs may need less.
    total = {name: count * 3 // 4 for name, count in transfers(acc.memory.stats).items()}
    for channel, want in SILENT.items():
        for made in (0, random.randrange(1, total[channel])) if kind == "job" else (
                random.randrange(total[channel]),):
            acc.memory.dead = {channel: made}
            await start(acc, rng)
            assert await ended(acc) == want, (channel, made)
            assert not await acc.read("STATUS") >> regs.lsb("STATUS", "BUSY") & 1
            acc.memory.restart()
            assert await good(acc, rng)
    # No data and no answer from a time on at which both are owed.
    await start(acc, rng)
    while not (acc.memory.outstanding_reads and acc.memory.outstanding_writes):
        await ClockCycles(dut.clk, 1)
    acc.memory.dead = {"r": 0, "b": 0}
    code, info, lost = await ended(acc)
    assert (code, lost) in ((regs.Err.READ_TIMEOUT, READ | WRITE),
                            (regs.Err.WRITE_TIMEOUT, READ | WRITE)) and info
    acc.memory.restart()
    assert await good(acc, rng)
    assert await acc.read("TIMEOUT") == TIMEOUT


@cocotb.test()
async def dead_writes_behind_busy_reads(dut):
    """Reads that drip in do not hide that no write is answered; those that come are drained."""
    acc, rng = await prepare(dut, timeout=100, r_gap=0.9)
    acc.memory.dead = {"b": 0}
    await start_layer(acc, rng)
    code, info, lost = await ended(acc)
    assert (code, lost) == (regs.Err.WRITE_TIMEOUT, WRITE) and info & 4
    assert acc.memory.outstanding_reads == 0 and acc.memory.outstanding_writes > 0
    acc.memory.restart()
    acc.memory.r_gap = 0.0
    assert await good_layer(acc, rng)


@cocotb.test()
async def slow_is_not_silent(dut):
    """A time-out above the memory's latency never comes, however long the core computes; one below
    it does, and TIMEOUT = 0 waits."""
    acc, rng = await prepare(dut, timeout=12, read_latency=8, write_latency=8)
    assert await good_layer(acc, rng)
    assert await acc.read("CNT_CYCLES") > acc.memory.stats.busy_cycles + 100
    await acc.write("TIMEOUT", 5)
    await start_job(acc, rng)
    assert (await ended(acc))[0] in (regs.Err.READ_TIMEOUT, regs.Err.WRITE_TIMEOUT)
    acc.memory.restart()
    await acc.write("TIMEOUT", 0)
    acc.memory.dead = {"r": 40}
    descriptor, out = await start_job(acc, rng)
    with pytest.raises(AcceleratorTimeout):
        await acc.wait(5000)
    acc.memory.dead.clear()
    done = await acc.finish(descriptor)
    assert np.array_equal(done.out, out) and out.size > 0


@cocotb.test()
async def aborts(dut):
    """A soft reset of a core whose memory is silent: the time-out or a second one ends it."""
    acc, rng = await prepare(dut)
    for channel in ("ar", "r", "w", "b"):
        lost = SILENT[channel][2]
        for timeout in (0, TIMEOUT):
            await acc.write("TIMEOUT", 0)
            acc.memory.dead = {channel: random.randrange(4)}
            await start_job(acc, rng)
            # Until nothing moves any more.
            with pytest.raises(AcceleratorTimeout):
                await acc.wait(3000)
            await abort(acc)
            with pytest.raises(AcceleratorTimeout):
                await acc.wait(500)
            if timeout:
                await acc.write("TIMEOUT", timeout)
            else:
                await abort(acc)
            assert await ended(acc, timeout + 100) == (regs.Err.ABORTED, 0, lost), channel
            acc.memory.restart()
            assert await good_job(acc, rng)


@cocotb.test()
async def wrong_last(dut):
    """RLAST never or always: the first beat that shows it ends the job. A soft reset meanwhile
    comes back as well, and the memory is at rest."""
    acc, rng = await prepare(dut, reorder=True, interleave=True)
    for rlast in ("never", "always"):
        for start, streams in ((start_job, ATTENTION), (start_layer, range(8))):
            acc.memory.rlast = rlast
            await start(acc, rng)
            code, info, lost = await ended(acc)
            assert (code, lost) == (regs.Err.READ_PROTOCOL, 0) and info in streams
            assert acc.memory.idle
            acc.memory.rlast = "right"
            assert await good_job(acc, rng)
        for _ in range(3):
            await start_job(acc, rng)
            await ClockCycles(dut.clk, random.randrange(30, 300))
            acc.memory.rlast = rlast
            await abort(acc)
            code, _, lost = await ended(acc)
            assert code in (regs.Err.ABORTED, regs.Err.READ_PROTOCOL) and not lost
            assert acc.memory.idle
            acc.memory.rlast = "right"
            assert await good_job(acc, rng)


@cocotb.test()
async def strays_at_rest(dut):
    """While no job runs, beats and answers that nobody asked for do nothing, whatever their ID, and
    faults of the next job are still seen."""
    acc, rng = await prepare(dut)
    for number in range(8):
        acc.memory.stray_read(number)
        acc.memory.stray_write(number)
    await ClockCycles(dut.clk, 40)
    for name in ("ERROR", "IRQ_STATUS"):
        same(name, 0, await acc.read(name))
    same_signals("sofa", dut, irq=0)
    assert await good_layer(acc, rng) and await good_job(acc, rng)
    acc.memory.stray_read(1)
    await ClockCycles(dut.clk, 40)
    acc.memory.faults.append((0, len(acc.memory.data) - 1, "read", "DECERR"))
    await start_job(acc, rng)
    assert (await ended(acc))[0] == regs.Err.READ_DECERR
    acc.memory.faults.clear()
    assert await good_job(acc, rng)


@cocotb.test()
async def strays_in_a_job(dut):
    """A beat or an answer with an ID that has nothing outstanding, early or late in a job, ends it
    with code and ID."""
    acc, rng = await prepare(dut)
    # A job on given K and V asks for entries of the table (ID 7), and has neither the other streams
    # nor x; at its start nothing is outstanding at all.
    reads = [(i, 0) for i in (0, 1, 2, 3, 7)] + [(i, 400) for i in range(4, 7)]
    writes = [(0, 0)] + [(i, 400) for i in range(1, 8)]
    cases = [(AxiMemory.stray_read, regs.Err.READ_PROTOCOL, *case) for case in reads]
    cases += [(AxiMemory.stray_write, regs.Err.WRITE_PROTOCOL, *case) for case in writes]
    for send, code, number, late in cases:
        await start_job(acc, rng)
        await ClockCycles(dut.clk, random.randrange(late // 2, late) if late else 1)
        send(acc.memory, number)
        assert await ended(acc) == (code, number, 0)
        assert acc.memory.idle
        assert await good_job(acc, rng)


@cocotb.test()
async def strays_anywhere(dut):
    """Also where its ID has something outstanding, a beat too many ends a layer with an error; only
    an answer can come so late that all is right before."""
    acc, rng = await prepare(dut)
    acc.free_all()
    length = (await acc.run_layer(small_layer(acc.cfg, rng).plan)).counters["CYCLES"]
    failed = 0
    # Of the answers, those of IDs that exist.
    cases = [(True, number) for number in range(8)] + [(False, 0), (False, 1)]
    for read, number in cases:
        spec = small_layer(acc.cfg, rng)
        acc.free_all()
        task = cocotb.start_soon(acc.run_layer(spec.plan, limit=40_000))
        while not await acc.read("STATUS") >> regs.lsb("STATUS", "BUSY") & 1:
            pass
        await ClockCycles(dut.clk, random.randrange(length * 3 // 4))
        (AxiMemory.stray_read if read else AxiMemory.stray_write)(acc.memory, number)
        try:
            done = await task
        except AcceleratorError as error:
            code = regs.Err.READ_PROTOCOL if read else regs.Err.WRITE_PROTOCOL
            assert (error.code, error.info) == (code, number)
            failed += 1
        else:
            assert not read
            want, board = spec.reference(acc.cfg), Scoreboard()
            check_memory(board, done, want, acc.cfg)
            board.compare("output", want.out, done.out)
        assert await good_job(acc, rng)
    assert failed >= 8


LATE = TIMEOUT // 2
"""Cycles that the memory may be late with a transfer, its latency included."""

SPOILED = {  # channel and how one of its transfers is spoiled -> codes with which the job may end
    ("r", "SLVERR", 0): {regs.Err.READ_SLVERR}, ("r", "DECERR", 0): {regs.Err.READ_DECERR},
    ("r", "last", 0): {regs.Err.READ_PROTOCOL},
    # It may be taken for a descriptor or an entry of the table of heads.
    ("r", "id", None): set(regs.ERRORS) - {0},
    ("b", "SLVERR", 0): {regs.Err.WRITE_SLVERR}, ("b", "DECERR", 0): {regs.Err.WRITE_DECERR},
    ("b", "id", None): {regs.Err.WRITE_PROTOCOL, regs.Err.WRITE_TIMEOUT},
    **{(channel, "late", LATE): set() for channel in ("ar", "r", "aw", "w", "b")},
    # Others of its side may come meanwhile, so that the time-out never does.
    **{(channel, "late", 2 * TIMEOUT): {code, None} for channel, (code, _, _) in SILENT.items()},
}


def victims(cfg, rng):
    """A job, a layer and a chain of three, each of any kind."""
    job, layer = random_jobs.random_job, random_jobs.random_layer
    return [[make(cfg, rng, 1).spec(cfg, f"part {i}") for i, make in enumerate(kinds)]
            for kinds in ((job,), (layer,), (job, layer, job))]


async def start_chain_of(acc, specs):
    """Start jobs and layers as a chain; returns what they have to leave."""
    acc.free_all()
    placed = [Placed(acc, spec) for spec in specs]
    await acc.start_chain(acc.chain([fields for one in placed for fields in one.jobs]))
    return placed


async def outcome_of(acc, placed, limit=60_000):
    """The error with which a chain ends, or None after all that it left was compared."""
    try:
        await acc.wait(limit)
    except AcceleratorError as error:
        return error
    board = Scoreboard()
    for one in placed:
        one.check(board, one.done(None))
    board.finish("output")
    return None


@cocotb.test()
async def every_beat(dut):
    """One transfer of a job, layer or chain is spoiled, on each channel in each way, at positions
    from the first to the last: the code of that fault, and the next job right. What is late but
    within the time-out changes nothing; data and answers that are later are swallowed at rest."""
    acc, rng = await prepare(dut)
    tries, seen = int(os.environ["POSITIONS"]), dict.fromkeys(SPOILED, 0)
    for specs in victims(acc.cfg, rng):
        acc.memory.stats.reset()
        assert await outcome_of(acc, await start_chain_of(acc, specs)) is None
        total = transfers(acc.memory.stats)
        for fault, codes in SPOILED.items():
            channel, kind, value = fault
            last = total[channel] - 1
            for after in sorted({0, last, *(random.randrange(last + 1) for _ in range(tries))}):
                what = f"{channel} {kind} {value} after {after} of {last}"
                wrong = random.randrange(8) if kind == "id" else value
                acc.memory.upset(channel, after, kind, wrong)
                error = await outcome_of(acc, await start_chain_of(acc, specs))
                assert not acc.memory.upsets, what
                # The ID may be the right one.
                hit = kind != "id" or wrong != acc.memory.spoiled
                code, lost = (error.code, error.lost) if error else (None, 0)
                assert code in (codes or {None}) if hit else code is None, f"{what}: {error}"
                if hit and kind in ("SLVERR", "DECERR", "last"):
                    assert (error.info, lost) == (acc.memory.spoiled, 0), f"{what}: {error}"
                elif error and kind == "late":
                    # Nothing is lost where it comes while the other side is waited for.
                    assert error.info & SILENT[channel][1], f"{what}: {error}"
                if lost and kind == "late" and channel in ("r", "b"):
                    await at_rest(acc)
                elif lost or not hit:
                    # What is owed never comes, or was taken back.
                    acc.memory.restart()
                assert acc.memory.idle, what
                seen[fault] += bool(error) == bool(codes)
                assert await good_job(acc, rng, rows=acc.cfg.ROWS + 1, keys=acc.cfg.BC_MAX), what
    assert all(seen.values()), seen


async def at_rest(acc, limit=5000):
    """Wait until the memory has sent all that it owes."""
    for _ in range(limit):
        if acc.memory.idle:
            break
        await RisingEdge(acc.dut.clk)
    # The last one is on its way.
    await ClockCycles(acc.dut.clk, 4)


@cocotb.test()
async def attributes(dut):
    """Constant attributes of all transfers, and IDs of one width."""
    acc, rng = await prepare(dut)
    seen, names = set(), ("lock", "cache", "prot", "qos")

    async def watch():
        while True:
            await RisingEdge(dut.clk)
            seen.add(tuple(str(getattr(dut, f"m_axi_{channel}{name}").value)
                           for channel in ("ar", "aw") for name in names))

    cocotb.start_soon(watch())
    assert await good_job(acc, rng)
    assert seen == {("0", "0011", "010", "0000") * 2}
    assert {len(getattr(dut, f"m_axi_{n}")) for n in ("arid", "rid", "awid", "bid")} == {3}


@pytest.mark.parametrize("positions", [0, pytest.param(30, marks=pytest.mark.slow)])
@pytest.mark.configs("tiny")
@pytest.mark.sims("verilator")
def test_memory_faults(sim, config, seed, positions):
    """positions: random ones of each fault in each chain, beside the first and the last."""
    run("sofa", __name__, dict(config), sim, seed=seed, env={"POSITIONS": str(positions)},
        testcase="every_beat" if positions else None)
