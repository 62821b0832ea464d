# SPDX-License-Identifier: Apache-2.0
"""Faults of the host and of the bus: each has its code, and the core works on afterwards."""

from __future__ import annotations

import random

import cocotb
import numpy as np
import pytest
from cocotb.triggers import RisingEdge

from models import regs
from models.head import run_job
from models.layer import plan_layer
from models.plan import plan
from tb.common.accelerator import Accelerator, AcceleratorError
from tb.common.axil_master import AxiLiteError
from tb.common.scoreboard import Scoreboard
from tb.runner import run
from tb.system.simulate import LayerSpec, check_memory

CACHED = ("Q", "K8", "K", "V", "O")
"""Buffers of an attention job whose K and V lie in memory."""

READ_STREAM = {"Q": 0, "K8": 1, "X8": 1, "K": 2, "V": 3, "WC": 4, "RT": 5, "X": 6, "W": 6, "VB": 6,
               "descriptor": 7}
"""INFO of a read error in the buffer; RT: of the prediction job."""


def random_job(cfg, rng, rows=None, keys=None, **settings):
    """Quantised random tensors and a causal job of two heads on one KV head."""
    rows, keys = rows or 2 * cfg.ROWS + 1, keys or 3 * cfg.BC_MAX - 1
    q = rng.normal(size=(2, rows, 16)) * 3
    k, v = rng.normal(size=(1, keys, 16)), rng.normal(size=(1, keys, 16))
    return plan(q, k, v, cfg, causal=True, quota=4, **settings)


async def good_job(acc, rng):
    """Run a job and check its output; returns the number of values compared."""
    acc.free_all()
    n, job = random_job(acc.cfg, rng)
    done = await acc.run(n.q, n.k, n.v, n.k8, job, limit=200_000)
    want = run_job(n.q, n.k, n.v, n.k8, job, acc.cfg)
    assert np.array_equal(done.out, want.out)
    return want.out.size


async def expect_error(acc, descriptor, code, info, what):
    """Start a job which must end with an error, whose registers must hold it."""
    await acc.start(descriptor)
    with pytest.raises(AcceleratorError) as caught:
        await acc.wait(limit=100_000)
    assert (caught.value.code, caught.value.info) == (code, info), (
        f"{what}: wanted {regs.error_text(code)} info {info}, got {caught.value}")
    assert not await acc.read("STATUS") >> regs.STATUS_BUSY_LSB & 1, what


def setup(dut, **memory):
    seed = random.getrandbits(30)
    acc = Accelerator(dut, memory_bytes=1 << 20, memory={"read_latency": (1, 40), **memory},
                      seed=seed)
    return acc, np.random.default_rng(seed)


@cocotb.test()
async def illegal_descriptors(dut):
    """Every register field out of range, through the bus, with a good job in between."""
    acc, rng = setup(dut)
    await acc.reset()
    cfg, bus = acc.cfg, acc.cfg.BUS_BYTES
    n, job = random_job(cfg, rng)
    good = acc.describe(n.q, n.k, n.v, n.k8, job)
    cases = [
        ("HEAD_DIM", cfg.D_MAX + 8, regs.ERR_HEAD_DIM), ("HEAD_DIM", 12, regs.ERR_HEAD_DIM),
        ("HEAD_DIM", 0, regs.ERR_HEAD_DIM),
        ("QUERY_ROWS", 0, regs.ERR_QUERY_ROWS), ("QUERY_ROWS", cfg.KEYS_MAX + 1,
                                                 regs.ERR_QUERY_ROWS),
        ("KEYS", 0, regs.ERR_KEYS), ("KEYS", cfg.KEYS_MAX + 1, regs.ERR_KEYS),
        ("HEADS", 0, regs.ERR_HEADS), ("HEADS", 1025, regs.ERR_HEADS),
        ("KV_HEADS", 0, regs.ERR_KV_HEADS), ("KV_HEADS", 3, regs.ERR_KV_HEADS),
        ("CAUSAL_OFFSET", cfg.KEYS_MAX, regs.ERR_CAUSAL_OFFSET),
        ("TILE_KEYS", cfg.BC_MAX * 2, regs.ERR_TILE_KEYS), ("TILE_KEYS", 0, regs.ERR_TILE_KEYS),
        ("QUOTA", 0, regs.ERR_QUOTA), ("QUOTA", cfg.BC_MAX + 1, regs.ERR_QUOTA),
        ("RADIUS", cfg.RADIUS_INF + 1, regs.ERR_RADIUS),
        ("SCALE_SHIFT", 48, regs.ERR_SCALE_SHIFT), ("SCALE_MULT", 0, regs.ERR_SCALE_MULT),
        ("MODE", 3 << regs.MODE_SNAP_LSB, regs.ERR_SNAP),
    ]
    cases = [(name, value, code, 0) for name, value, code in cases]
    for name in CACHED:
        stream, old = regs.BUFFERS.index(name), good.fields
        cases += [
            (f"{name}_BASE_LO", old[f"{name}_BASE_LO"] + bus // 2, regs.ERR_BASE_ALIGN, stream),
            (f"{name}_ROW_STRIDE", old[f"{name}_ROW_STRIDE"] + 4, regs.ERR_STRIDE_ALIGN, stream),
            (f"{name}_ROW_STRIDE", 0, regs.ERR_STRIDE_SMALL, stream),
            (f"{name}_HEAD_STRIDE", old[f"{name}_HEAD_STRIDE"] + 4, regs.ERR_HEAD_STRIDE_ALIGN,
             stream),
            (f"{name}_BASE_HI", 1 << (cfg.ADDR_W - 32), regs.ERR_ADDR_RANGE, stream),
        ]
        if name in "QO":
            cases.append((f"{name}_HEAD_STRIDE", 0, regs.ERR_HEAD_STRIDE_SMALL, stream))
        if name != "O":
            cases.append((f"{name}_BASE_LO", old["O_BASE_LO"], regs.ERR_OVERLAP, stream))
    tried = 0
    for name, value, code, info in cases:
        before = acc.memory.stats.read_bursts + acc.memory.stats.write_bursts
        good.fields[name], kept = value, good.fields[name]
        await expect_error(acc, good, code, info, f"{name} = {value:#x}")
        good.fields[name] = kept
        assert before == acc.memory.stats.read_bursts + acc.memory.stats.write_bursts
        tried += 1
    assert tried > 40
    assert await good_job(acc, rng)


@cocotb.test()
async def bus_errors(dut):
    """SLVERR and DECERR on each stream, early and late in the job."""
    acc, rng = setup(dut, reorder=True, interleave=True)
    await acc.reset()
    codes = {("read", "SLVERR"): regs.ERR_READ_SLVERR, ("read", "DECERR"): regs.ERR_READ_DECERR,
             ("write", "SLVERR"): regs.ERR_WRITE_SLVERR,
             ("write", "DECERR"): regs.ERR_WRITE_DECERR}
    tried = 0
    for name in CACHED:
        stream = 0 if name == "O" else READ_STREAM[name]
        for response in ("SLVERR", "DECERR"):
            for late in (False, True):
                acc.free_all()
                n, job = random_job(acc.cfg, rng, radius_nats=None)
                descriptor = acc.describe(n.q, n.k, n.v, n.k8, job)
                fields = descriptor.fields
                count = job_vectors(name, n)
                # every key is not in every union, so for K and V all vectors are bad
                first = fields[f"{name}_BASE_LO"]
                stride = fields[f"{name}_ROW_STRIDE"]
                low = first + (count // 2 if late and name not in "KV" else 0) * stride
                direction = "write" if name == "O" else "read"
                acc.memory.faults.append((low, first + count * stride - 1, direction, response))
                await expect_error(acc, descriptor, codes[direction, response], stream,
                                   f"{response} on {name}, late {late}")
                acc.memory.faults.clear()
                assert acc.memory.idle
                assert await good_job(acc, rng)
                tried += 1
    assert tried == 20


def job_vectors(name, numbers):
    """Vectors of one head in the buffer."""
    return numbers.q.shape[1] if name in "QO" else numbers.k.shape[1]


@cocotb.test()
async def soft_reset(dut):
    """Soft reset at many points of a job: error ABORTED, memory at rest, next job right."""
    acc, rng = setup(dut)
    await acc.reset()
    for delay in (0, 1, 5, 20, 50, 100, 200, 400, 700, 1000, 1500):
        acc.free_all()
        n, job = random_job(acc.cfg, rng)
        await acc.start(acc.describe(n.q, n.k, n.v, n.k8, job))
        for _ in range(delay):
            await RisingEdge(dut.clk)
        await acc.write("CTRL", 1 << regs.CTRL_SOFT_RESET_LSB)
        with pytest.raises(AcceleratorError) as caught:
            await acc.wait(limit=10_000)
        assert caught.value.code == regs.ERR_ABORTED
        assert acc.memory.idle
        assert await good_job(acc, rng)


@cocotb.test()
async def hard_reset(dut):
    """Reset in the middle of a job: nothing is left over, next job right."""
    acc, rng = setup(dut)
    await acc.reset()
    for delay in (1, 30, 150, 333, 800, 1300):
        acc.free_all()
        n, job = random_job(acc.cfg, rng)
        await acc.start(acc.describe(n.q, n.k, n.v, n.k8, job))
        for _ in range(delay):
            await RisingEdge(dut.clk)
        await acc.reset()
        assert await acc.read("STATUS") == 0
        assert dut.irq.value == 0
        assert await good_job(acc, rng)


@cocotb.test()
async def busy_core_is_protected(dut):
    """While a job runs, its registers cannot be written and no job can be started."""
    acc, rng = setup(dut)
    await acc.reset()
    n, job = random_job(acc.cfg, rng)
    descriptor = acc.describe(n.q, n.k, n.v, n.k8, job)
    await acc.start(descriptor)
    for name, value in (("KEYS", 3), ("O_BASE_LO", 0), ("CTRL", 1 << regs.CTRL_START_LSB)):
        with pytest.raises(AxiLiteError, match="SLVERR"):
            await acc.write(name, value)
    done = await acc.finish(descriptor, limit=200_000)
    assert np.array_equal(done.out, run_job(n.q, n.k, n.v, n.k8, job, acc.cfg).out)
    assert done.out.size > 0


def slow():
    """Whether this is a simulator at some thousand cycles a second."""
    return "icarus" in cocotb.SIM_NAME.lower()


def small_layer(cfg, rng, valid=None, **settings):
    """A causal layer with RoPE: two query heads on each of two KV heads."""
    keys, h, d = 2 * cfg.BC_MAX + 3, 24, 16
    plan = plan_layer(rng.normal(size=(keys, h)), *rng.normal(size=(2, 2, h, d)),
                      rng.normal(size=(4, cfg.ROWS + 1, d)), cfg, rope_theta=1e3, causal=True,
                      quota=4, **settings)
    return LayerSpec(plan, "layer", valid)


async def good_layer(acc, rng):
    """Run a layer and check everything it leaves; returns the number of values compared."""
    acc.free_all()
    spec = small_layer(acc.cfg, rng)
    want, sb = spec.reference(acc.cfg), Scoreboard()
    done = await acc.run_layer(spec.plan, limit=400_000)
    check_memory(sb, done, want, acc.cfg)
    sb.compare("output", want.out, done.out, axes=("head", "row", "element"))
    return sb.total


async def expect_chain_error(acc, address, code, info, jobs, what):
    """Start a chain which must end with an error after so many good jobs."""
    await acc.start_chain(address)
    with pytest.raises(AcceleratorError) as caught:
        await acc.wait(limit=200_000)
    assert (caught.value.code, caught.value.info) == (code, info), (
        f"{what}: wanted {regs.error_text(code)} info {info}, got {caught.value}")
    assert await acc.read("JOBS") == jobs, what


@cocotb.test()
async def illegal_layers(dut):
    """Every new field of both kinds of job out of range, as descriptors of a chain."""
    acc, rng = setup(dut)
    await acc.reset()
    cfg, bus = acc.cfg, acc.cfg.BUS_BYTES
    plan = small_layer(cfg, rng).plan
    placed = acc.place_layer(plan)
    jobs = acc.describe_layer(plan, placed)
    mode = [job["MODE"] for job in jobs]
    cases = [  # job, field, value, code
        *((j, "MODEL_DIM", v, regs.ERR_MODEL_DIM) for j in (0, 1)
          for v in (0, 12, cfg.H_MAX + 8)),
        (0, "KP_EXP", 9, regs.ERR_KP_EXP), (0, "KP_BIAS", 32768, regs.ERR_KP_BIAS),
        (0, "KP_SHIFT", 16, regs.ERR_KP_SHIFT), (1, "KG_SHIFT_K", 41, regs.ERR_KG_SHIFT_K),
        (1, "KG_SHIFT_V", 41, regs.ERR_KG_SHIFT_V),
        *((j, "MODE", mode[j] | 3 << regs.MODE_ROPE_LSB, regs.ERR_ROPE) for j in (0, 1)),
        (0, "MODE", mode[0] | 1 << regs.MODE_DENSE_LSB, regs.ERR_KIND),
        (0, "MODE", mode[0] | 1 << regs.MODE_GENERATE_LSB, regs.ERR_KIND),
        (0, "MODE", mode[0] | 1 << regs.MODE_VB_LOAD_LSB, regs.ERR_KIND),
        (0, "KEYS", 0, regs.ERR_KEYS), (1, "QUOTA", 0, regs.ERR_QUOTA),
    ]
    cases = [(j, name, value, code, 0) for j, name, value, code in cases]
    used = ("X8", "WC", "RT", "K8"), ("Q", "K8", "K", "V", "O", "X", "W", "RT", "VB")
    for j, names in enumerate(used):
        for name in names:
            base, number = jobs[j][f"{name}_BASE_LO"], regs.BUFFERS.index(name)
            cases.append((j, f"{name}_BASE_LO", base + bus // 2, regs.ERR_BASE_ALIGN, number))
            cases.append((j, f"{name}_BASE_HI", 1 << (cfg.ADDR_W - 32), regs.ERR_ADDR_RANGE,
                          number))
    for name in ("X8", "WC", "RT"):
        cases.append((0, f"{name}_BASE_LO", jobs[0]["K8_BASE_LO"], regs.ERR_OVERLAP,
                      regs.BUFFERS.index(name)))
    for name in ("Q", "K8", "X", "W", "RT"):
        cases.append((1, f"{name}_BASE_LO", jobs[1]["V_BASE_LO"], regs.ERR_OVERLAP,
                      regs.BUFFERS.index(name)))
    kept = acc._free
    for j, name, value, code, info in cases:
        acc._free = kept
        wrong = [dict(job) for job in jobs]
        wrong[j][name] = value
        await expect_chain_error(acc, acc.chain(wrong), code, info, j,
                                 f"job {j}, {name} = {value:#x}")
    for address in (0, 128, 1 << cfg.ADDR_W):
        await expect_chain_error(acc, address, regs.ERR_NEXT, 0, 0, f"NEXT = {address:#x}")
    assert len(cases) > 50
    assert await good_layer(acc, rng)


@cocotb.test()
async def layer_bus_errors(dut):
    """SLVERR and DECERR in every buffer of both jobs and in the descriptors; on Icarus, which is
    slow, one of the two in every third buffer, chosen by the seed."""
    acc, rng = setup(dut, reorder=True, interleave=True)
    await acc.reset()
    codes = {("read", "SLVERR"): regs.ERR_READ_SLVERR, ("read", "DECERR"): regs.ERR_READ_DECERR,
             ("write", "SLVERR"): regs.ERR_WRITE_SLVERR,
             ("write", "DECERR"): regs.ERR_WRITE_DECERR}
    faults = [  # buffer, direction, INFO, good jobs before
        *((name, "read", READ_STREAM[name], 0) for name in ("X8", "WC", "RT", "descriptor")),
        ("K8", "write", 1, 0),
        *((name, "read", READ_STREAM[name], 1) for name in ("Q", "K8", "X", "W", "K", "V", "VB")),
        *((name, "write", 1, 1) for name in ("K", "V", "VB")), ("O", "write", 0, 1),
    ]
    tried, responses = 0, ("SLVERR", "DECERR")
    if slow():
        faults, responses = faults[random.randrange(3)::3], (random.choice(responses),)
    for name, direction, info, jobs in faults:
        for response in responses:
            acc.free_all()
            spec = small_layer(acc.cfg, rng)
            # K and V are read early, and VB at all, only where an earlier job left some.
            there = None
            if name in ("K", "V", "VB") and direction == "read":
                want = spec.reference(acc.cfg)
                there = want.k, want.v, np.ones(want.valid.shape, bool)
            placed = acc.place_layer(spec.plan, there)
            chain = acc.chain(acc.describe_layer(spec.plan, placed, load=there is not None))
            low, size = chain, 256
            if name != "descriptor":
                low, _, head = placed[name.lower()]
                size = head
            acc.memory.faults.append((low, low + size - 1, direction, response))
            await expect_chain_error(acc, chain, codes[direction, response], info, jobs,
                                     f"{response} on {direction} of {name}")
            acc.memory.faults.clear()
            assert acc.memory.idle
            assert await good_layer(acc, rng)
            tried += 1
    assert tried == len(faults) * len(responses)


@cocotb.test()
async def layer_resets(dut):
    """Soft and hard reset at many points of a layer: memory at rest, next layer and job right; on
    Icarus each at every fourth point."""
    acc, rng = setup(dut)
    await acc.reset()
    acc.free_all()
    done = await acc.run_layer(small_layer(acc.cfg, rng).plan, limit=400_000)
    length, predict = done.counters["CYCLES"], done.counters["PREDICT"]
    assert 0 < predict < length
    points = [0, 3, 40, 90, predict // 2, predict, predict + 60,
              *(int(x) for x in np.linspace(predict + 100, 0.8 * length, 6))]
    for hard in (False, True):
        for delay in points[2 * hard::4] if slow() else points:
            acc.free_all()
            plan = small_layer(acc.cfg, rng).plan
            jobs = acc.describe_layer(plan, acc.place_layer(plan))
            await acc.start_chain(acc.chain(jobs))
            for _ in range(delay):
                await RisingEdge(dut.clk)
            if hard:
                await acc.reset()
                assert await acc.read("STATUS") == 0
            else:
                await acc.write("CTRL", 1 << regs.CTRL_SOFT_RESET_LSB)
                with pytest.raises(AcceleratorError) as caught:
                    await acc.wait(limit=10_000)
                assert caught.value.code == regs.ERR_ABORTED
                assert acc.memory.idle
            assert await good_layer(acc, rng)
    assert await good_job(acc, rng)


@pytest.mark.slow_on("icarus")
@pytest.mark.slow_on("verilator", "small")
@pytest.mark.configs("tiny", "small")
def test_errors(sim, config, seed):
    run("sofa_top", __name__, dict(config), sim, seed=seed)

