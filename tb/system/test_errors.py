# SPDX-License-Identifier: Apache-2.0
"""Faults of the host and of the bus: each has its code, and the core works on afterwards."""

from __future__ import annotations

import random
from dataclasses import replace

import cocotb
import numpy as np
import pytest
from cocotb.triggers import ClockCycles

from models import head
from models.config import Config
from models.driver.accelerator import AcceleratorError
from models.driver.images import ENTRY_BYTES
from models.driver.transport import TransportError
from models.layer import plan_layer
from models.plan import plan
from models.spec import registers as regs
from tb.common.scoreboard import Scoreboard, same, same_signals
from tb.driver.accelerator import Accelerator
from tb.runner import parameters, run
from tb.system.simulate import LayerSpec, check_memory

READ_STREAM = {"Q": 0, "K8": 1, "X8": 1, "K": 2, "V": 3, "VM": 3, "WC": 4, "RT": 5, "X": 6, "W": 6,
               "VB": 6, "XM": 6, "HT": 7, "descriptor": 7}
"""INFO of a read error in the buffer; RT: of the prediction job."""

PREDICT, ATTEND = 0, 1
"""Jobs of a layer of one KV head."""

USED = {PREDICT: ("X8", "WC", "RT", "K8"),
        ATTEND: ("Q", "K8", "K", "V", "O", "HT", "VM", "X", "W", "RT", "VB")}
"""Buffers of each job of a layer that sums, blends and rotates."""

WRITTEN = {PREDICT: ("K8",), ATTEND: ("K", "V", "O", "VB")}
"""Buffers that it writes."""

NO_ROWS = ("HT", "WC", "W", "VB")
"""Buffers without a row stride."""

NO_HEADS = ("X8", "X", "RT")
"""Buffers without a head stride; with GENERATE also VM."""

RESPONSES = {("read", "SLVERR"): regs.Err.READ_SLVERR, ("read", "DECERR"): regs.Err.READ_DECERR,
             ("write", "SLVERR"): regs.Err.WRITE_SLVERR,
             ("write", "DECERR"): regs.Err.WRITE_DECERR}


def number(name):
    """Number of a buffer."""
    return regs.BUFFERS.index(regs.SHARED.get(name, name))


def random_job(cfg, rng, rows=None, keys=None, **settings):
    """Quantised random tensors and a job of two heads on one KV head."""
    rows, keys = rows or 2 * cfg.ROWS + 1, keys or 3 * cfg.BC_MAX - 1
    q = rng.normal(size=(2, rows, 16)) * 3
    k, v = rng.normal(size=(2, 1, keys, 16))
    return plan(q, k, v, cfg, **{"causal": True, **settings})


def output_of(numbers, job, cfg):
    """What the job has to write."""
    return head.run_job(numbers.q, numbers.k, numbers.v, numbers.k8, numbers.means, job, cfg).out


async def good_job(acc, rng, **settings):
    """Run a job and check its output; returns the number of values compared."""
    acc.free_all()
    n, job = random_job(acc.cfg, rng, **settings)
    done = await acc.run(n, job)
    want = output_of(n, job, acc.cfg)
    assert np.array_equal(done.out, want)
    return want.size


def small_layer(cfg, rng, valid=None, kv_heads=1, **settings):
    """A causal layer with RoPE: two query heads on each KV head."""
    keys, h, d = 2 * cfg.BC_MAX + 3, 24, 16
    made = plan_layer(rng.normal(size=(keys, h)), *rng.normal(size=(2, kv_heads, h, d)),
                      rng.normal(size=(2 * kv_heads, cfg.ROWS + 1, d)), cfg,
                      **{"rope_theta": 1e3, "causal": True, **settings})
    return LayerSpec(made, "layer", valid)


async def good_layer(acc, rng, **settings):
    """Run a layer and check everything it leaves; returns the number of values compared."""
    acc.free_all()
    spec = small_layer(acc.cfg, rng, **settings)
    want, sb = spec.reference(acc.cfg), Scoreboard()
    done = await acc.run_layer(spec.plan)
    check_memory(sb, done, want, acc.cfg)
    sb.compare("output", want.out, done.out, axes=("head", "row", "element"))
    return sb.total


def setup(dut, **memory):
    """(Accelerator, generator) of a random seed."""
    seed = random.getrandbits(30)
    acc = Accelerator(dut, Config.from_parameters(parameters()), memory_bytes=1 << 20,
                      memory={"read_latency": (1, 40), **memory}, seed=seed)
    return acc, np.random.default_rng(seed)


async def expect_error(acc, code, info, what, limit=100_000):
    """Wait for a job that must end with an error, whose registers must hold it."""
    with pytest.raises(AcceleratorError) as caught:
        await acc.wait(limit)
    assert (caught.value.code, caught.value.info) == (code, info), (
        f"{what}: wanted {regs.error_text(code)} info {info}, got {caught.value}")
    assert not await acc.read("STATUS") >> regs.lsb("STATUS", "BUSY") & 1, what


async def expect_chain_error(acc, address, code, info, jobs, what):
    """Start a chain which must end with an error after so many good jobs."""
    await acc.start_chain(address)
    await expect_error(acc, code, info, what)
    assert await acc.read("JOBS") == jobs, what


def bursts(acc):
    """Bursts that the memory has seen."""
    return acc.memory.stats.read_bursts + acc.memory.stats.write_bursts


def field_cases(cfg):
    """(field, bits of MODE that it needs, illegal values, code) of an attention job."""
    sort = 1 << regs.lsb("MODE", "SORT")
    most = cfg.places(16)
    yield from (
        ("HEAD_DIM", 0, (0, 4, 12, cfg.D_MAX + 8, 1 << 31), regs.Err.HEAD_DIM),
        ("QUERY_ROWS", 0, (0, cfg.KEYS_MAX + 1, 1 << 31), regs.Err.QUERY_ROWS),
        ("KEYS", 0, (0, cfg.KEYS_MAX + 1, 1 << 31), regs.Err.KEYS),
        ("HEADS", 0, (0, 1025, 1 << 16), regs.Err.HEADS),
        ("KV_HEADS", 0, (0, 3, 1 << 16), regs.Err.KV_HEADS),
        ("CAUSAL_OFFSET", 0, (cfg.KEYS_MAX, 1 << 31), regs.Err.CAUSAL_OFFSET),
        ("TILE_KEYS", 0, (0, max(cfg.COLS, 4) // 2, 3 * cfg.BC_MAX // 4, 2 * cfg.BC_MAX),
         regs.Err.TILE_KEYS),
        ("BAND", 0, (0, most + 1, 1 << 31), regs.Err.BAND),
        ("FALL", 0, (256, 1 << 31), regs.Err.FALL),
        # A window without CAUSAL; too wide, or sinks without one, with it.
        ("WINDOW", 1 << regs.lsb("MODE", "CONTIGUOUS"), (1, cfg.KEYS_MAX), regs.Err.WINDOW),
        ("WINDOW", 1 << regs.lsb("MODE", "CAUSAL"),
         (cfg.KEYS_MAX + 1, 1 << regs.lsb("WINDOW", "SINKS"), 1 << 23, 1 << 31), regs.Err.WINDOW),
        ("QUOTA", sort, (0, cfg.BC_MAX + 1, 1 << 31), regs.Err.QUOTA),
        ("NEXT_LO", 0, (128, 4), regs.Err.NEXT),
        ("NEXT_HI", 0, (1 << cfg.ADDR_W - 32,), regs.Err.NEXT),
    )
    snap = [regs.word("MODE", SNAP=n) for n in ((3,) if cfg.TWO_TERM else (3, 2))]
    bits = {name: 1 << regs.lsb("MODE", name)
            for name in ("DENSE", "SORT", "BLEND", "VB_LOAD", "PREDICT", "GENERATE", "SHARE")}
    yield "MODE", 0, (1 << 13, 1 << 31), regs.Err.MODE
    yield "MODE", 0, snap, regs.Err.SNAP
    yield "MODE", 0, (3 << regs.lsb("MODE", "ROPE"),), regs.Err.ROPE
    # With more rows of a KV head than a block has.
    yield "MODE", 0, (bits["SHARE"],), regs.Err.SHARE
    yield "MODE", 0, (bits["DENSE"] | bits["SORT"], bits["DENSE"] | bits["BLEND"],
                      bits["SORT"] | bits["BLEND"], bits["VB_LOAD"],
                      bits["PREDICT"] | bits["DENSE"], bits["PREDICT"] | bits["GENERATE"],
                      bits["PREDICT"] | bits["SHARE"]), regs.Err.KIND


@cocotb.test()
async def illegal_fields(dut):
    """Every field of an attention job below and above its range: its code, no access to memory;
    a good job after every kind of fault."""
    acc, rng = setup(dut)
    await acc.reset()
    n, job = random_job(acc.cfg, rng)
    good, tried = acc.describe(n, job), 0
    where = (good.fields["O_BASE_LO"], good.fields["O_ROW_STRIDE"], good.fields["O_HEAD_STRIDE"])
    want = output_of(n, job, acc.cfg)
    for name, mode, values, code in field_cases(acc.cfg):
        for value in values:
            fields = {**good.fields, name: value}
            if mode:
                fields["MODE"] = mode
            before = bursts(acc)
            await acc.start(replace(good, fields=fields))
            await expect_error(acc, code, 0, f"{name} = {value:#x}")
            assert bursts(acc) == before, name
            tried += 1
        await acc.start(good)
        await acc.wait(200_000)
        assert np.array_equal(acc.gather(*where, n.q.shape), want), name
        acc.memory.load(where[0], np.full(2 * where[2], 0xA5, np.uint8))
    assert tried > 40


@cocotb.test()
async def ends_of_legal_ranges(dut):
    """Values at both ends of each range run, and give what the model gives."""
    acc, rng = setup(dut)
    await acc.reset()
    cfg = acc.cfg
    bc = max(cfg.COLS, 4)
    shapes = [  # rows, keys, settings
        (1, 1, {"bc": bc}), (1, 1, {"causal": True}), (1, cfg.KEYS_MAX, {"causal": True, "bc": bc}),
        (3, 9, {"band": 1, "fall": 0.0}), (9 * cfg.ROWS, 40, {"band": cfg.places(8)}),
        (3, 70, {"fall": 255 / 256, "tau": 2.0**-32}), (3, 70, {"tau": 1.0}),
        (3, 70, {"causal": True, "offset": 0}),
        (3, 70, {"causal": True, "offset": cfg.KEYS_MAX - 1}),
        (3, 70, {"select": head.SORT, "quota": 1, "radius_nats": 0.0}),
        (3, 70, {"select": head.SORT, "quota": cfg.BC_MAX}), (5, 20, {"snap": 0}),
        (5, 20, {"snap": 2 if cfg.TWO_TERM else 1}),
    ]
    for rows, keys, settings in shapes:
        for d in (8, cfg.D_MAX):
            acc.free_all()
            settings = {**settings, **({"band": cfg.places(d)} if settings.get("band", 0) > 1
                                       else {})}
            n, job = plan(rng.normal(size=(2, rows, d)), *rng.normal(size=(2, 1, keys, d)), cfg,
                          **settings)
            done = await acc.run(n, job)
            assert np.array_equal(done.out, output_of(n, job, cfg)), (rows, keys, d, settings)
    # Rows up to KEYS_MAX, as many heads as there are KV heads, in one head of one key.
    acc.free_all()
    n, job = plan(rng.normal(size=(1, cfg.KEYS_MAX, 8)), *rng.normal(size=(2, 1, 1, 8)), cfg)
    if cfg.KEYS_MAX <= 256:
        assert np.array_equal((await acc.run(n, job)).out, output_of(n, job, cfg))
    acc.free_all()
    n, job = plan(rng.normal(size=(1024, 1, 8)), *rng.normal(size=(2, 1024, 1, 8)), cfg)
    if cfg.ROWS <= 4:
        assert np.array_equal((await acc.run(n, job)).out, output_of(n, job, cfg))


@cocotb.test()
async def illegal_entries(dut):
    """Each field of the table of heads beyond its range, in the first and in a later head: the
    number of the head, and a good job afterwards; values at the ends run."""
    acc, rng = setup(dut)
    await acc.reset()
    cfg = acc.cfg
    for byte, bad in ((2, 48), (3, cfg.SC_W), (5, 0x7F), (6, 1), (7, 1),
                      (10, 1 << (cfg.SC_W - 16) if cfg.SC_W > 16 else 1)):
        for entry in (0, 1):
            acc.free_all()
            n, job = random_job(cfg, rng)
            descriptor = acc.describe(n, job)
            table = descriptor.fields["HT_BASE_LO"]
            stride = descriptor.fields["HT_HEAD_STRIDE"]
            acc.memory.load(table + entry * stride + byte, np.array([bad], np.uint8))
            await acc.start(descriptor)
            await expect_error(acc, regs.Err.HEAD_ENTRY, entry, f"byte {byte} = {bad}")
            assert acc.memory.idle and await good_job(acc, rng)
    n, job = random_job(cfg, rng)
    least = -(head.LEAST_TAU << cfg.LOG_FRAC)
    for ends in ({"scale_shift": 47}, {"scale_shift": 0, "scale_m": 1}, {"octave": cfg.SC_W - 1},
                 {"octave": 0}, {"tau": 0}, {"tau": least}, {"scale_m": 0}, {"scale_m": 65535}):
        acc.free_all()
        one = replace(job, table=tuple(replace(entry, **ends) for entry in job.table))
        assert np.array_equal((await acc.run(n, one)).out, output_of(n, one, cfg)), ends


def buffer_cases(job, fields, cfg):
    """(register, value, code) of every buffer of a job of a layer, each illegal."""
    bus = cfg.BUS_BYTES
    for name in USED[job]:
        base = fields[f"{name}_BASE_LO"]
        yield name, f"{name}_BASE_LO", base + bus // 2, regs.Err.BASE_ALIGN
        yield name, f"{name}_BASE_LO", base + 1, regs.Err.BASE_ALIGN
        yield name, f"{name}_BASE_HI", 1 << (cfg.ADDR_W - 32), regs.Err.ADDR_RANGE
        if name not in NO_ROWS:
            stride = f"{name}_ROW_STRIDE"
            yield name, stride, fields[stride] + 4, regs.Err.STRIDE_ALIGN
            yield name, stride, 0, regs.Err.STRIDE_SMALL
            # A head is larger than 4 GiB; VM has two vectors.
            if name != "VM":
                yield name, stride, 0xFFFF_FFC0, regs.Err.ADDR_RANGE
        if name not in NO_HEADS and not (name == "VM" and job == ATTEND):
            yield name, f"{name}_HEAD_STRIDE", base + 4, regs.Err.HEAD_STRIDE_ALIGN
        if name in ("Q", "O", "HT"):
            yield name, f"{name}_HEAD_STRIDE", 0, regs.Err.HEAD_STRIDE_SMALL
        # Of two written buffers the later one is told, of a read and a written one the read one.
        for other in WRITTEN[job]:
            if name not in WRITTEN[job] or number(other) < number(name):
                yield name, f"{name}_BASE_LO", fields[f"{other}_BASE_LO"], regs.Err.OVERLAP


@cocotb.test()
async def illegal_buffers(dut):
    """Every buffer of both kinds of job: alignment, strides, range, overlap, one fault at a time;
    the chain ends at the job that has it."""
    acc, rng = setup(dut)
    await acc.reset()
    cfg, made = acc.cfg, small_layer(acc.cfg, rng).plan
    jobs = acc.describe_layer(made, acc.place_layer(made))
    assert len(jobs) == 2
    kept, tried = acc._free, 0
    for j in (PREDICT, ATTEND):
        for name, field, value, code in buffer_cases(j, jobs[j], cfg):
            acc._free = kept
            wrong = {**jobs[j], field: value}
            # Only the job with the fault: it is found before anything of it is read.
            await expect_chain_error(acc, acc.chain([wrong]), code, number(name), 0,
                                     f"job {j}, {field} = {value:#x}")
            tried += 1
    assert tried > 90
    # In the second job of a chain.
    for name in ("Q", "VM", "VB"):
        acc._free = kept
        wrong = {**jobs[1], f"{name}_BASE_LO": jobs[1][f"{name}_BASE_LO"] + 1}
        await expect_chain_error(acc, acc.chain([jobs[0], wrong]), regs.Err.BASE_ALIGN,
                                 number(name), 1, name)
    assert await good_layer(acc, rng) and await good_job(acc, rng)


@cocotb.test()
async def illegal_layers(dut):
    """Every field that only layers have, at and beyond its ends, as descriptors of a chain."""
    acc, rng = setup(dut)
    await acc.reset()
    cfg, made = acc.cfg, small_layer(acc.cfg, rng).plan
    jobs = acc.describe_layer(made, acc.place_layer(made))
    mode = [job["MODE"] for job in jobs]
    cases = [  # job, field, value, code
        *((j, "MODEL_DIM", v, regs.Err.MODEL_DIM) for j in (0, 1)
          for v in (0, 4, 12, cfg.H_MAX + 8, 1 << 31)),
        *((j, "MODE", mode[j] | 3 << regs.lsb("MODE", "ROPE"), regs.Err.ROPE) for j in (0, 1)),
        *((0, "MODE", mode[0] | 1 << regs.lsb("MODE", name), regs.Err.KIND)
          for name in ("DENSE", "GENERATE", "VB_LOAD", "SHARE")),
        (0, "KEYS", 0, regs.Err.KEYS), (0, "KV_HEADS", 0, regs.Err.KV_HEADS),
        (0, "KV_HEADS", 1025, regs.Err.KV_HEADS), (1, "BAND", 0, regs.Err.BAND),
    ]
    words = -(-2 * 16 // cfg.ROWS) * cfg.H_MAX
    if words > cfg.WGT_WORDS:
        cases.append((1, "MODEL_DIM", cfg.H_MAX, regs.Err.WEIGHTS))
    kept = acc._free
    for j, name, value, code in cases:
        acc._free = kept
        await expect_chain_error(acc, acc.chain([{**jobs[j], name: value}]), code, 0, 0,
                                 f"job {j}, {name} = {value:#x}")
    for entry, byte in ((0, 6), (1, 7)):
        acc._free = kept
        at = jobs[1]["HT_BASE_LO"] + entry * jobs[1]["HT_HEAD_STRIDE"] + byte
        before = acc.memory.dump(at, 1)
        acc.memory.load(at, np.array([41], np.uint8))
        await expect_chain_error(acc, acc.chain(jobs), regs.Err.HEAD_ENTRY, entry, 1,
                                 f"byte {byte} = 41")
        acc.memory.load(at, before)
    for address in (0, 128, 1 << cfg.ADDR_W):
        await expect_chain_error(acc, address, regs.Err.NEXT, 0, 0, f"NEXT = {address:#x}")
    assert len(cases) >= 20 and await good_layer(acc, rng)


@cocotb.test()
async def bus_errors(dut):
    """SLVERR and DECERR in each buffer of a job on given K and V, in its first or in its last
    bytes."""
    acc, rng = setup(dut, reorder=True, interleave=True)
    await acc.reset()
    tried = 0
    for name in ("Q", "K8", "K", "V", "HT", "VM", "O"):
        for response, late in (("SLVERR", False), ("DECERR", True)):
            acc.free_all()
            # Everything is kept, so every key is read.
            n, job = random_job(acc.cfg, rng, tau=2.0**-32)
            descriptor = acc.describe(n, job)
            fields = descriptor.fields
            first, stride = fields[f"{name}_BASE_LO"], fields[f"{name}_ROW_STRIDE"]
            vectors = {"Q": n.q.shape[1], "O": n.q.shape[1], "HT": 1, "VM": n.means.shape[1]}
            last = vectors.get(name, n.k.shape[1]) - 1
            low = first + (last * stride if late else 0)
            direction = "write" if name == "O" else "read"
            acc.memory.faults.append((low, low + ENTRY_BYTES - 1, direction, response))
            await acc.start(descriptor)
            await expect_error(acc, RESPONSES[direction, response],
                               0 if name == "O" else READ_STREAM[name],
                               f"{response} on {name}, late {late}")
            acc.memory.faults.clear()
            assert acc.memory.idle and await good_job(acc, rng)
            tried += 1
    assert tried == 14


@cocotb.test()
async def layer_bus_errors(dut):
    """SLVERR or DECERR in every buffer of both jobs of a layer and in the descriptors, both in each
    stream that only layers have."""
    acc, rng = setup(dut, reorder=True, interleave=True)
    await acc.reset()
    faults = [  # buffer, direction, INFO, good jobs before
        *((name, "read", READ_STREAM[name], 0) for name in ("X8", "WC", "RT", "descriptor")),
        ("K8", "write", 1, 0),
        *((name, "read", READ_STREAM[name], 1)
          for name in ("Q", "K8", "X", "W", "K", "V", "VB", "HT", "XM")),
        *((name, "write", 1, 1) for name in ("K", "V", "VB")), ("O", "write", 0, 1),
    ]
    responses, tried = ("SLVERR", "DECERR"), 0
    cases = [(fault, responses[i % 2]) for i, fault in enumerate(faults)]
    # The buffers above of one stream are met by both; these two are alone in theirs.
    cases += [(fault, responses[1 - i % 2]) for i, fault in enumerate(faults)
              if fault[0] in ("WC", "RT")]
    for (name, direction, info, jobs), response in cases:
        acc.free_all()
        spec, there = small_layer(acc.cfg, rng), None
        # K and V are read, and VB at all, only where an earlier job left some.
        if name in ("K", "V", "VB") and direction == "read":
            want = spec.reference(acc.cfg)
            there = want.k, want.v, np.ones(want.valid.shape, bool)
        placed = acc.place_layer(spec.plan, there)
        chain = acc.chain(acc.describe_layer(spec.plan, placed, load=there is not None))
        low, size = chain, 256
        if name != "descriptor":
            low, _, size = placed["vm" if name == "XM" else name.lower()]
        acc.memory.faults.append((low, low + size - 1, direction, response))
        await expect_chain_error(acc, chain, RESPONSES[direction, response], info, jobs,
                                 f"{response} on {direction} of {name}")
        acc.memory.faults.clear()
        assert acc.memory.idle and await good_job(acc, rng)
        tried += 1
    assert tried == len(cases) and await good_layer(acc, rng)


async def reset_at(acc, rng, delay, hard):
    """Reset the core so many cycles after its start, and run a good job."""
    await ClockCycles(acc.dut.clk, delay)
    if hard:
        await acc.reset()
        same("STATUS", 0, await acc.read("STATUS"))
        same_signals("sofa", acc.dut, irq=0)
    else:
        await acc.write("CTRL", 1 << regs.lsb("CTRL", "SOFT_RESET"))
        await expect_error(acc, regs.Err.ABORTED, 0, f"after {delay} cycles", 20_000)
        assert acc.memory.idle
    assert await good_job(acc, rng)


@cocotb.test()
@cocotb.parametrize(hard=[False, True])
async def resets(dut, hard):
    """Soft and hard reset at random moments of a job, every way to select, and of a layer: memory
    at rest after a soft one, the next job right."""
    acc, rng = setup(dut)
    await acc.reset()
    ways = [{"tau": 2.0**-32}, {"select": head.SORT, "quota": 4}, {"select": head.DENSE}]
    for way in ways:
        n, job = random_job(acc.cfg, rng, **way)
        length = (await acc.run(n, job)).counters["CYCLES"]
        for part in range(5):
            acc.free_all()
            n, job = random_job(acc.cfg, rng, **way)
            await acc.start(acc.describe(n, job))
            await reset_at(acc, rng, random.randrange(part * length // 6,
                                                      (part + 1) * length // 6), hard)
    acc.free_all()
    length = (await acc.run_layer(small_layer(acc.cfg, rng).plan)).counters["CYCLES"]
    for part in range(8):
        acc.free_all()
        made = small_layer(acc.cfg, rng).plan
        await acc.start_chain(acc.chain(acc.describe_layer(made, acc.place_layer(made))))
        await reset_at(acc, rng, random.randrange(part * length // 10,
                                                  (part + 1) * length // 10), hard)
    assert await good_layer(acc, rng)


@cocotb.test()
async def busy_core_is_protected(dut):
    """While a job runs, its registers cannot be written and no job can be started."""
    acc, rng = setup(dut)
    await acc.reset()
    n, job = random_job(acc.cfg, rng)
    descriptor = acc.describe(n, job)
    await acc.start(descriptor)
    for name, value in (("KEYS", 3), ("O_BASE_LO", 0), ("CTRL", 1 << regs.lsb("CTRL", "START")),
                        ("CTRL", 1 << regs.lsb("CTRL", "START_CHAIN"))):
        with pytest.raises(TransportError, match="SLVERR"):
            await acc.write(name, value)
    done = await acc.finish(descriptor, limit=200_000)
    want = output_of(n, job, acc.cfg)
    assert np.array_equal(done.out, want) and want.size


@cocotb.test()
async def every_bit_of_the_registers(dut):
    """All registers of a job, and the time limit, hold what is written, each bit 0 and 1; the next
    job is right."""
    acc, rng = setup(dut)
    await acc.reset()
    names = ("TIMEOUT", *regs.JOB)
    limit = await acc.read("TIMEOUT")
    for word in (0, 0xFFFFFFFF, 0x55555555, 0xAAAAAAAA, 0):
        for name in names:
            await acc.write(name, word)
        for name in names:
            kept = word & (1 << regs.BY_NAME[name].width) - 1
            same("register", kept, await acc.read(name), field=name)
    await acc.write("TIMEOUT", limit)
    assert await good_job(acc, rng)


@cocotb.test()
async def bus_attributes(dut):
    """What the bus master asks for beside each address (docs/integration.md, Memory side)."""
    acc, rng = setup(dut)
    await acc.reset()
    assert await good_job(acc, rng)
    for way in ("aw", "ar"):
        same_signals("sofa", dut, **{f"m_axi_{way}cache": 0b0011, f"m_axi_{way}prot": 0b010,
                                     f"m_axi_{way}qos": 0, f"m_axi_{way}lock": 0})


@pytest.mark.slow_on("icarus")
@pytest.mark.slow_on("verilator", "small")
@pytest.mark.configs("tiny", "small")
def test_errors(sim, config, seed):
    run("sofa", __name__, dict(config), sim, seed=seed)
