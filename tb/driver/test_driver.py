# SPDX-License-Identifier: Apache-2.0
"""The host driver over every transport: the same jobs, chain, layer and errors on the bit-accurate
model, the compiled Verilog and simulations by cocotb, with the same results and, where there are
cycles, in the same cycles."""

from __future__ import annotations

import json

import cocotb
import numpy as np
import pytest

from models import fast, head, rope, workloads
from models.config import Config
from models.driver.accelerator import AcceleratorError, AsyncAccelerator
from models.driver.compiled import CompiledTransport
from models.driver.counters import job_counters, layer_counters
from models.driver.model import ModelTransport
from models.driver.transport import TransportError
from models.driver.transport import run as finish
from models.head import DENSE, SORT
from models.lab.cost.bands import of_layer
from models.layer import plan_layer, run_layer
from models.plan import plan
from models.spec import registers as regs
from tb.driver.accelerator import Accelerator
from tb.runner import parameters, run

JOBS = {
    "sum": {}, "causal": {"causal": True}, "without the mean": {"blend": False},
    "sort": {"select": SORT, "quota": 3, "radius_nats": 5.0}, "dense": {"select": DENSE},
    "dense causal": {"select": DENSE, "causal": True},
    "window": {"causal": True, "window": 9, "sinks": 2},
    "neighbours": {"interleaved": False, "snap": 2, "causal": True},
}
"""Name -> settings of models.plan.plan."""

LATENCIES = ((100, 20), (7, 3), (1, 1))
"""(of reads, of writes), cycles; Icarus takes the first."""




def tensors(cfg, rng, heads=4, kv_heads=2):
    """Q, K and V with more rows than a block and an end of a tile that is not full."""
    rows, keys, d = cfg.ROWS + 3, 2 * cfg.BC_MAX + 5, 16
    return rng.normal(size=(heads, rows, d)), *rng.normal(size=(2, kv_heads, keys, d))


def reference(numbers, job, cfg):
    """The reference model's result of a job."""
    of = fast.run_job if fast.available() else head.run_job
    return of(numbers.q, numbers.k, numbers.v, numbers.k8, numbers.means, job, cfg)


def check(found, predicted, descriptors, cfg):
    """Compare counters that the models predict."""
    assert predicted["SELECTED"] and predicted["BEATS_O"]
    predicted = {**predicted, "BEATS_D": predicted["BEATS_D"] + descriptors * 256 // cfg.BUS_BYTES}
    assert {name: found[name] for name in predicted} == predicted


async def jobs(acc, rng):
    """Yield (name, counters) of single jobs by registers."""
    for name, settings in JOBS.items():
        acc.free_all()
        numbers, job = plan(*tensors(acc.cfg, rng), acc.cfg, **settings)
        want, done = reference(numbers, job, acc.cfg), await acc.run(numbers, job)
        np.testing.assert_array_equal(done.out, want.out, name)
        check(done.counters, job_counters(want.selected, want.updates, 2, job, acc.cfg)[1], 0,
              acc.cfg)
        yield name, done.counters
    acc.free_all()
    q, k, v = tensors(acc.cfg, rng)
    numbers, job = plan(q, k, v, acc.cfg, causal=True)
    done = await acc.attention(q, k, v, causal=True)
    want = reference(numbers, job, acc.cfg).out * numbers.out_scale
    np.testing.assert_array_equal(done.out, want)
    yield "floats", done.counters


async def chain(acc, rng):
    """Three jobs as one chain."""
    acc.free_all()
    planned = [plan(*tensors(acc.cfg, rng), acc.cfg, **JOBS[name])
               for name in ("causal", "sort", "dense")]
    placed = [acc.describe(*one) for one in planned]
    counters = await acc.run_chain(acc.chain([one.fields for one in placed]), 3)
    total = {}
    for (numbers, job), one in zip(planned, placed, strict=True):
        want, f = reference(numbers, job, acc.cfg), one.fields
        out = acc.gather(f["O_BASE_LO"] | f["O_BASE_HI"] << 32, f["O_ROW_STRIDE"],
                         f["O_HEAD_STRIDE"], want.out.shape)
        np.testing.assert_array_equal(out, want.out)
        for name, n in job_counters(want.selected, want.updates, 2, job, acc.cfg)[1].items():
            total[name] = total.get(name, 0) + n
    check(counters, total, 3, acc.cfg)
    return counters


async def layers(acc, rng):
    """Yield (name, counters) of layers from X: with every RoPE, and one of which K and V exist in
    part."""
    cfg, d, h, keys = acc.cfg, 8, 24, 2 * acc.cfg.BC_MAX + 5
    for mode, there in ((rope.OFF, False), (rope.INTERLEAVED, True), (rope.HALF, False)):
        acc.free_all()
        layer = plan_layer(rng.normal(size=(keys, h)), *rng.normal(size=(2, 2, h, d)),
                           rng.normal(size=(4, cfg.ROWS + 2, d)), cfg, mode=mode, causal=True,
                           rope_theta=1e3 if mode else 0.0)
        valid = rng.random((2, keys)) < 0.3 if there else None
        want = run_layer(layer, cfg, valid)
        done = await acc.run_layer(layer, (want.k, want.v, valid) if there else None)
        np.testing.assert_array_equal(done.out, want.out)
        np.testing.assert_array_equal(done.k8, want.k8)
        np.testing.assert_array_equal(done.valid, want.valid_image(cfg))
        for made, got in ((want.k, done.k), (want.v, done.v)):
            np.testing.assert_array_equal(
                got, np.where(want.valid[:, :, None], made, done.untouched))
        check(done.counters, layer_counters(layer, want, cfg), 2, cfg)
        yield f"layer {mode}", done.counters


async def outside(acc, rng):
    """Buffers behind the end of the memory, a descriptor there, and a register that is not: errors
    of their own, after which the next job is right."""
    acc.free_all()
    end = acc.memory.base + len(acc.memory.data)
    numbers, job = plan(*tensors(acc.cfg, rng), acc.cfg)
    for name, code in (("Q", regs.Err.READ_DECERR), ("O", regs.Err.WRITE_DECERR)):
        one = acc.describe(numbers, job)
        one.fields |= {f"{name}_BASE_LO": end & 0xFFFFFFFF, f"{name}_BASE_HI": end >> 32}
        await acc.start(one)
        with pytest.raises(AcceleratorError) as caught:
            await acc.finish(one)
        assert (caught.value.code, caught.value.info) == (code, 0)
    with pytest.raises(AcceleratorError) as caught:
        await acc.run_chain(end, 1)
    assert (caught.value.code, caught.value.info) == (regs.Err.READ_DECERR, 7)
    with pytest.raises(TransportError, match="SLVERR"):
        await acc.transport.read(0xFFC)
    done = await acc.run(numbers, job)
    np.testing.assert_array_equal(done.out, reference(numbers, job, acc.cfg).out)


async def drive(acc):
    """All of the above on a machine after reset; name -> counters."""
    rng, found = np.random.default_rng(5), {}
    await acc.reset()
    async for name, counters in jobs(acc, rng):
        found[name] = counters
    found["chain"] = await chain(acc, rng)
    async for name, counters in layers(acc, rng):
        found[name] = counters
    await outside(acc, rng)
    assert len(found) == len(JOBS) + 5
    return found


@cocotb.test()
async def drives(dut):
    """The same by cocotb; leaves its counters."""
    acc, found = Accelerator(dut, Config.from_parameters(parameters()), memory_bytes=1 << 20), []
    for latency in LATENCIES[: 1 if "icarus" in cocotb.SIM_NAME.lower() else None]:
        acc.behave(dict(zip(("read_latency", "write_latency"), latency, strict=True)))
        found.append(await drive(acc))
    with open("counters.json", "w") as handle:
        json.dump(found, handle)


def compiled(cfg, latency=LATENCIES[0], **options):
    """The compiled machine with this memory."""
    return CompiledTransport(cfg, **dict(zip(("read_latency", "write_latency"), latency,
                                             strict=True)), **options)


@pytest.mark.slow_on("icarus")
@pytest.mark.configs("tiny")
def test_sofa_drives(sim, config, seed):
    """Every counter of the simulation, those of cycles among them, is that of the compiled
    machine."""
    folder = run("sofa", __name__, dict(config), sim, seed=seed)
    found = json.loads((folder / "counters.json").read_text())
    cfg = Config.from_name(config.name)
    assert len(found) == (1 if sim == "icarus" else len(LATENCIES))
    for latency, of_cocotb in zip(LATENCIES, found, strict=False):
        mine = finish(drive(AsyncAccelerator(compiled(cfg, latency, memory_bytes=1 << 20))))
        assert mine == of_cocotb, latency
        assert min(counters["CYCLES"] for counters in mine.values()) > 1000


def test_model():
    """The model has no cycles; its other counters were compared."""
    found = finish(drive(AsyncAccelerator(ModelTransport(Config.from_name("tiny")))))
    assert {counters["CYCLES"] for counters in found.values()} == {0}


@pytest.mark.slow
@pytest.mark.configs("small", "paper")
@pytest.mark.parametrize("kind", ["compiled", "model"])
def test_workloads(config, kind):
    """Every committed head, and both layers whole."""
    cfg, size = Config.from_name(config.name), 1 << 25
    acc = AsyncAccelerator(ModelTransport(cfg, memory_bytes=size) if kind == "model"
                           else compiled(cfg, memory_bytes=size))
    finish(acc.reset())
    heads = 0
    for case in map(workloads.load_case, workloads.list_cases()):
        acc.free_all()
        numbers, job = plan(case.q, case.k, case.v, cfg, causal=case.causal)
        done = finish(acc.run(numbers, job))
        np.testing.assert_array_equal(done.out, reference(numbers, job, cfg).out, case.name)
        heads += len(case.q)
    for case in map(workloads.load_layer, workloads.list_layers()):
        acc.free_all()
        layer = of_layer(case, cfg)
        done = finish(acc.run_layer(layer))
        want = run_layer(layer, cfg, run=fast.run_job if fast.available() else head.run_job)
        np.testing.assert_array_equal(done.out, want.out, case.name)
        np.testing.assert_array_equal(done.k8, want.k8, case.name)
    assert heads == 49
