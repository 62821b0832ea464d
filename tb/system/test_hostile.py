# SPDX-License-Identifier: Apache-2.0
"""Hosts that mean harm or err: descriptors with wild fields, at the end of the address space, in
chains that come back, or written over while the chain runs; writes to every register; resets at
any cycle. Nothing hangs, nothing is written that no descriptor allows, and the next job is
right."""

from __future__ import annotations

import os
import random

import cocotb
import numpy as np
import pytest
from cocotb.triggers import ClockCycles, RisingEdge

from models import dlzs
from models.config import Config
from models.driver.accelerator import AcceleratorError, AcceleratorTimeout
from models.driver.images import DESCRIPTOR_BYTES, ENTRY_BYTES, descriptor_image
from models.driver.model import Machine
from models.driver.transport import Memory
from models.layer import valid_beats, weight_words
from models.spec import registers as regs
from tb.common.axil_master import AxiLiteError
from tb.common.scoreboard import Scoreboard, same, same_signals
from tb.driver.accelerator import Accelerator
from tb.runner import parameters, run
from tb.system import random_jobs
from tb.system.simulate import Placed
from tb.system.test_errors import (
    RESPONSES,
    WRITTEN,
    expect_chain_error,
    good_job,
    good_layer,
    number,
    setup,
)

START, CHAIN, SOFT_RESET = (1 << lsb for lsb in (
    regs.lsb("CTRL", "START"), regs.lsb("CTRL", "START_CHAIN"), regs.lsb("CTRL", "SOFT_RESET")))

FREE = ("TIMEOUT", "IRQ_ENABLE", "IRQ_STATUS")
"""Registers that may be written while a job runs, beside CTRL."""


def tries() -> int:
    """How often what is random below is repeated."""
    return int(os.environ["TRIES"])


def place(acc, rng, *kinds):
    """Jobs and layers with random settings in memory: (what they are, registers of all jobs)."""
    acc.free_all()
    makers = {"job": random_jobs.random_job, "layer": random_jobs.random_layer}
    placed = [Placed(acc, makers[kind](acc.cfg, rng, 1).spec(acc.cfg, f"part {i}"))
              for i, kind in enumerate(kinds)]
    return placed, [fields for one in placed for fields in one.jobs]


def check(placed):
    """Compare what jobs and layers have left; returns the number of values."""
    board = Scoreboard()
    for one in placed:
        one.check(board, one.done(None))
    return board.finish("output")


def after(acc, address) -> np.ndarray:
    """The whole memory as the chain at an address has to leave it."""
    memory = Memory(acc.memory.data.copy(), acc.memory.base)
    Machine(memory, acc.cfg).run(address)
    return memory.data


async def ended(acc, limit=20_000):
    """The code with which a chain ends, 0 without an error; one that takes longer is ended by a
    soft reset."""
    try:
        await acc.wait(limit)
    except AcceleratorError as error:
        assert not error.lost
        return error.code
    except AcceleratorTimeout:
        await acc.write("CTRL", SOFT_RESET)
        with pytest.raises(AcceleratorError) as caught:
            await acc.wait(5000)
        assert (caught.value.code, caught.value.lost) == (regs.Err.ABORTED, 0)
        return regs.Err.ABORTED
    return 0


def buffers(fields, cfg) -> dict[str, tuple[int, int]]:
    """Buffer that a job uses -> (address, bytes up to the end of its last vector)."""
    def bit(name):
        return fields["MODE"] >> regs.lsb("MODE", name) & 1

    fields = {**dict.fromkeys(regs.OFFSETS, 0), **fields}
    bus = cfg.BUS_BYTES
    d, keys, kv_heads = (fields[name] for name in ("HEAD_DIM", "KEYS", "KV_HEADS"))
    rope, h = fields["MODE"] >> regs.lsb("MODE", "ROPE") & 3, fields["MODEL_DIM"]
    wide, narrow = cfg.beats16(d) * bus, cfg.beats8(d) * bus
    if bit("PREDICT"):
        chunks = len(dlzs.chunks(kv_heads, d, cfg))
        shapes = {"X8": (1, keys, cfg.beats8(h) * bus), "WC": (chunks, 1, cfg.code_beats(h) * bus),
                  "K8": (kv_heads, keys, narrow)}
    else:
        heads, rows = fields["HEADS"], fields["QUERY_ROWS"]
        blocks = -(-rows // cfg.ROWS)
        shapes = {"Q": (heads, rows, wide), "K": (kv_heads, keys, wide),
                  "V": (kv_heads, keys, wide), "O": (heads, rows, wide),
                  "HT": (heads, 1, -(-ENTRY_BYTES // bus) * bus)}
        if not bit("DENSE"):
            shapes["K8"] = (kv_heads, keys, narrow)
        if bit("BLEND"):
            shapes["VM"] = ((1, blocks, cfg.beats16(h) * bus) if bit("GENERATE")
                            else (kv_heads, blocks, wide))
        if bit("GENERATE"):
            shapes |= {"X": (1, keys, cfg.beats16(h) * bus),
                       "W": (kv_heads, 1, 2 * cfg.ROWS * weight_words(h, d, cfg)),
                       "VB": (kv_heads, 1, valid_beats(keys, cfg) * bus)}
    if rope and (bit("PREDICT") or bit("GENERATE")):
        shapes["RT"] = (1, keys, wide)
    return {name: (fields[f"{name}_BASE_LO"] | fields[f"{name}_BASE_HI"] << 32,
                   (heads - 1) * fields[f"{name}_HEAD_STRIDE"]
                   + (rows - 1) * fields[f"{name}_ROW_STRIDE"] + vector)
            for name, (heads, rows, vector) in shapes.items()}


def written(fields) -> tuple[str, ...]:
    """Buffers that a job writes."""
    if fields["MODE"] >> regs.lsb("MODE", "PREDICT") & 1:
        return WRITTEN[0]
    return WRITTEN[1] if fields["MODE"] >> regs.lsb("MODE", "GENERATE") & 1 else ("O",)


# ---- descriptors --------------------------------------------------------------------------------


@cocotb.test()
async def end_of_the_address_space(dut):
    """Each buffer of a job and of a layer ends with the last byte that there is: all of the memory
    is as the model leaves it. A word higher, or where its addresses wrap around at 2^48, it is
    refused."""
    seed = random.getrandbits(30)
    cfg, size = Config.from_parameters(parameters()), 1 << 20
    top, rng = 1 << cfg.ADDR_W, np.random.default_rng(seed)
    acc = Accelerator(dut, cfg, memory_bytes=size, memory={"base": top - size, "read_latency": 9},
                      seed=seed)
    await acc.reset()
    good = bad = 0
    for kind in ("job", "layer"):
        _, jobs = place(acc, rng, kind)
        kept = acc._free
        for j, fields in enumerate(jobs):
            for name, (base, length) in buffers(fields, cfg).items():
                acc._free = kept

                def moved(address, fields=fields, name=name):
                    return {**fields, f"{name}_BASE_LO": address & 0xFFFFFFFF,
                            f"{name}_BASE_HI": address >> 32}

                acc.memory.load(top - length, acc.memory.dump(base, length))
                first = acc.chain([*jobs[:j], moved(top - length), *jobs[j + 1 :]])
                want = after(acc, first)
                await acc.run_chain(first, len(jobs), 100_000)
                assert np.array_equal(acc.memory.data, want), (kind, j, name)
                good += 1
                for address in {top - length + cfg.BUS_BYTES, (1 << 48) - length,
                                (1 << 48) - cfg.BUS_BYTES}:
                    acc._free = kept
                    await expect_chain_error(acc, acc.chain([moved(address)]), regs.Err.ADDR_RANGE,
                                             number(name), 0, f"{name} at {address:#x}")
                    bad += 1
            for name in written(fields):
                stride = f"{name}_HEAD_STRIDE"
                if fields["HEADS" if name == "O" else "KV_HEADS"] > 1:
                    acc._free = kept
                    wrong = {**fields, stride: (1 << 32) - cfg.BUS_BYTES}
                    await expect_chain_error(acc, acc.chain([wrong]), regs.Err.ADDR_RANGE,
                                             number(name), 0, f"{stride} of almost 4 GiB")
                    bad += 1
    assert good > 15 and bad > 30 and await good_layer(acc, rng) and await good_job(acc, rng)


def wild(fields, cfg):
    """Registers of a job with one to three of them changed, and which."""
    changed, made = random.sample(sorted(fields), random.choice((1, 1, 2, 3))), dict(fields)
    for name in changed:
        was = fields[name]
        made[name] = random.choice((
            0, 1, was + 1, was - 1, was + cfg.BUS_BYTES, was - cfg.BUS_BYTES, 2 * was, was // 2,
            was ^ 1 << random.randrange(32), random.getrandbits(32), random.getrandbits(8),
            random.choice(list(fields.values())), 1 << 31, 0xFFFFFFFF)) & 0xFFFFFFFF
        if name.endswith("_HI"):
            # More bits these registers do not have.
            made[name] &= 0xFFFF
    # The address of the next descriptor is chain()'s.
    return {**made, "NEXT_LO": 0, "NEXT_HI": 0}, changed


@cocotb.test()
async def wild_descriptors(dut):
    """Descriptors with wild fields in a chain behind others: each runs as the model does, byte by
    byte of the whole memory, or ends with an error and has written nothing but its own buffers."""
    acc, rng = setup(dut)
    await acc.reset()
    cfg, codes = acc.cfg, []
    for n in range(20 * tries()):
        _, jobs = place(acc, rng, random.choice(("job", "layer")))
        fields, changed = wild(jobs[-1], cfg)
        first = acc.chain([*jobs[:-1], fields])
        before = acc.memory.data.copy()
        await acc.start_chain(first)
        codes.append(await ended(acc))
        what = f"{n}: {dict((name, hex(fields[name])) for name in changed)}, code {codes[-1]}"
        # The stand-in wants the host's numbers in tables; heads that overlap come in any order.
        strides = [name for name in changed if name.endswith("HEAD_STRIDE")]
        compared = not any(name.startswith(("HT", "WC")) for name in changed) and not any(
            name.startswith(written(fields)) for name in strides)
        got = acc.memory.data
        if codes[-1] == 0 and compared:
            acc.memory._data = before
            want = after(acc, first)
            acc.memory._data = got
            assert np.array_equal(got, want), what
        else:
            allowed = np.zeros(len(got), bool)
            # A job that the check refuses may write nothing at all.
            legal = codes[-1] in (0, regs.Err.ABORTED, regs.Err.HEAD_ENTRY, *RESPONSES.values())
            for one in (*jobs[:-1], *([fields] if legal else [])):
                for name, (base, length) in buffers(one, cfg).items():
                    if name in written(one):
                        allowed[base : base + length] = True
            assert not (got != before)[~allowed].any(), what
        assert acc.memory.idle and await acc.read("JOBS") in (len(jobs) - 1, len(jobs)), what
        if n % 4 == 3:
            assert await good_job(acc, rng, rows=cfg.ROWS + 1, keys=cfg.BC_MAX), what
    assert 0 in codes and len(set(codes)) > 3 and await good_layer(acc, rng)


@cocotb.test()
async def chains_that_come_back(dut):
    """A job followed by itself, a chain that comes back to its first and one to its second job:
    they run until a soft or hard reset, every pass is right, and so is the next job."""
    acc, rng = setup(dut)
    await acc.reset()
    for kinds, back in ((["job"], 0), (["job", "layer", "job"], 0), (["job", "job"], 1)):
        for hard in (False, True):
            placed, jobs = place(acc, rng, *kinds)
            first = acc.chain(jobs)
            last = first + (len(jobs) - 1) * DESCRIPTOR_BYTES
            at = last + regs.OFFSETS["NEXT_LO"] - regs.OFFSETS["MODE"]
            acc.memory.load(at, np.array([first + back * DESCRIPTOR_BYTES], "<u4"))
            await acc.start_chain(first)
            while (ran := await acc.read("JOBS")) < 2 * len(jobs) + 1:
                await ClockCycles(dut.clk, 50)
            assert check(placed[:-1] if len(kinds) > 1 else placed)
            with pytest.raises(AcceleratorTimeout):
                await acc.wait(random.randrange(500))
            assert await acc.read("JOBS") >= ran
            if hard:
                await acc.reset()
                assert await acc.read("STATUS") == 0
            else:
                await acc.write("CTRL", SOFT_RESET)
                with pytest.raises(AcceleratorError, match="ABORTED"):
                    await acc.wait(5000)
                assert acc.memory.idle
            assert await good_job(acc, rng)


@cocotb.test()
async def descriptors_written_over(dut):
    """A descriptor of a running chain is written over at any cycle: one that was read makes no
    difference, one that was not counts as it is then, of one that is being read any part may. A
    chain ends or goes on until a soft reset, and the next job is right."""
    acc, rng = setup(dut)
    await acc.reset()
    seen = {"read": 0, "wrong": 0, "other": 0, "any": 0}
    for _ in range(8 * tries()):
        placed, jobs = place(acc, rng, "job", "layer", "job", "job")
        first, last = acc.chain(jobs), len(jobs) - 1
        images = [acc.memory.dump(first + i * DESCRIPTOR_BYTES, DESCRIPTOR_BYTES)
                  for i in range(len(jobs))]
        await acc.start_chain(first)
        stop = random.randrange(len(jobs))
        while await acc.read("JOBS") < stop:
            await ClockCycles(dut.clk, random.randrange(1, 60))
        await ClockCycles(dut.clk, random.randrange(200))
        done, victim = await acc.read("JOBS"), random.randrange(len(jobs))
        way = random.choice(("wrong", "noise", "other"))
        image = {"wrong": descriptor_image({**jobs[victim], "KEYS": 0}), "other": images[last],
                 "noise": rng.integers(0, 256, DESCRIPTOR_BYTES).astype(np.uint8)}[way]
        acc.memory.load(first + victim * DESCRIPTOR_BYTES, image)
        code = await ended(acc)
        jobs_done = await acc.read("JOBS")
        if victim < done or done > last:
            # The job after it has begun.
            assert code == 0 and jobs_done == len(jobs) and check(placed)
            seen["read"] += 1
        elif victim > done + 1 and way == "wrong":
            assert (code, jobs_done) == (regs.Err.KEYS, victim)
            seen["wrong"] += 1
        elif victim > done + 1 and way == "other":
            # The last job instead of this one, and the end.
            assert (code, jobs_done) == (0, victim + 1) and check([placed[0], placed[-1]])
            seen["other"] += 1
        else:
            seen["any"] += 1
        assert acc.memory.idle and await good_job(acc, rng)
    if tries() > 3:
        assert all(seen.values()), seen
    assert sum(seen.values()) and await good_layer(acc, rng)


# ---- registers and resets -----------------------------------------------------------------------


@cocotb.test()
async def any_register_while_a_job_runs(dut):
    """Random words to every offset while a chain runs: refused, but for those that may be written,
    and the chain is right; its last descriptor is in the registers."""
    acc, rng = setup(dut)
    await acc.reset()
    refused = taken = 0
    for _ in range(2 * tries()):
        placed, jobs = place(acc, rng, "job", "layer", "job")
        await acc.start_chain(acc.chain(jobs))
        offsets = [4 * i for i in range(1024)]
        random.shuffle(offsets)
        for offset in offsets:
            word = random.getrandbits(32)
            if offset in (regs.OFFSETS[name] for name in FREE):
                continue
            if offset == regs.OFFSETS["CTRL"]:
                word &= ~SOFT_RESET
            if not await acc.read("STATUS") >> regs.lsb("STATUS", "BUSY") & 1:
                break
            legal = offset == regs.OFFSETS["CTRL"] and not word & (START | CHAIN)
            try:
                await acc.registers.write(offset, word)
                # The end may have come between.
                busy = await acc.read("STATUS") >> regs.lsb("STATUS", "BUSY") & 1
                assert legal or not busy, hex(offset)
                taken += 1
            except AxiLiteError as error:
                assert error.response == "SLVERR" and not legal, hex(offset)
                refused += 1
        assert await acc.completed(len(jobs), 100_000) and check(placed)
    assert refused > 100 * tries() > taken and await good_job(acc, rng)


@cocotb.test()
async def any_register_at_rest(dut):
    """Random words to every offset while nothing runs, starts and resets in all combinations among
    them: what starts ends, and the next job is right."""
    acc, rng = setup(dut)
    await acc.reset()
    for _ in range(tries()):
        offsets = [4 * i for i in range(1024)] + 8 * [regs.OFFSETS["CTRL"]]
        random.shuffle(offsets)
        known = set(regs.OFFSETS.values())
        for offset in offsets:
            word = random.choice((0, 0xFFFFFFFF, random.getrandbits(32)))
            if offset == regs.OFFSETS["CTRL"]:
                word = random.randrange(8)
            try:
                await acc.registers.write(offset, word)
                assert offset in known
            except AxiLiteError as error:
                assert error.response == "SLVERR"
                bits = bin(word & (START | CHAIN | SOFT_RESET)).count("1")
                assert offset != regs.OFFSETS["CTRL"] or bits > 1
            for _ in range(2000):
                if not await acc.read("STATUS") >> regs.lsb("STATUS", "BUSY") & 1:
                    break
            else:
                raise AssertionError(await acc.situation())
        await acc.write("IRQ_STATUS", 3)
        await acc.write("IRQ_ENABLE", 3)
        await acc.write("TIMEOUT", 1 << 20)
        assert await good_job(acc, rng) and await good_layer(acc, rng)


@cocotb.test()
async def resets_at_any_cycle(dut):
    """Resets of all kinds at any cycle of a chain, descriptors, predictions and ends of jobs among
    them: the pin for one cycle or four, a soft reset, two of them, one whose memory is late, one
    that the pin overtakes."""
    acc, rng = setup(dut)
    await acc.reset()
    ways = ("one cycle", "pin", "soft", "twice", "late", "overtaken")
    length = {}
    for n in range(len(ways) * tries()):
        way = ways[n % len(ways)]
        placed, jobs = place(acc, rng, *random.choice((("job", "layer", "job"), ("layer",))))
        first = acc.chain(jobs)
        await acc.run_chain(first, len(jobs), 100_000)
        assert check(placed)
        length = await acc.read("CNT_CYCLES")
        await acc.start_chain(first)
        await ClockCycles(dut.clk, random.randrange(length))
        running = await acc.read("STATUS") >> regs.lsb("STATUS", "BUSY") & 1
        if way == "late":
            acc.memory.upset("r", random.randrange(3), "late", 300)
        if way in ("soft", "twice", "late", "overtaken"):
            await acc.write("CTRL", SOFT_RESET)
            await ClockCycles(dut.clk, random.randrange(40))
        if way == "twice":
            await acc.write("CTRL", SOFT_RESET)
        if way in ("soft", "twice", "late"):
            try:
                await acc.wait(5000)
                # It was at its end.
                assert check(placed)
            except AcceleratorError as error:
                assert error.code == regs.Err.ABORTED and (way == "twice" or not error.lost)
                if error.lost:
                    acc.memory.restart()
            assert acc.memory.idle or not running
        if way == "one cycle":
            dut.rst.value = 1
            await RisingEdge(dut.clk)
            dut.rst.value = 0
            await RisingEdge(dut.clk)
            await acc.write("IRQ_ENABLE", 3)
        elif way in ("pin", "overtaken"):
            await acc.reset()
        if way in ("one cycle", "pin", "overtaken"):
            for name in ("STATUS", "ERROR"):
                same(name, 0, await acc.read(name))
            same_signals("sofa", dut, irq=0)
        acc.memory._upsets.clear()
        assert await good_job(acc, rng, rows=acc.cfg.ROWS + 1, keys=acc.cfg.BC_MAX), way
    assert await good_layer(acc, rng)


@pytest.mark.parametrize("tries", [1, pytest.param(12, marks=pytest.mark.slow)])
@pytest.mark.configs("tiny")
@pytest.mark.sims("verilator")
def test_hostile(sim, config, seed, tries):
    run("sofa", __name__, dict(config), sim, seed=seed, env={"TRIES": str(tries)})
