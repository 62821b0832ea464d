# SPDX-License-Identifier: Apache-2.0
"""Chains: jobs of all kinds, chunked prefill, counters over a chain, and errors in its middle."""

from __future__ import annotations

import dataclasses
import random

import cocotb
import numpy as np
import pytest

from models import head, rope
from models.driver.images import DESCRIPTOR_BYTES
from models.head import means_of
from models.layer import run_layer
from models.spec import registers as regs
from tb.common.scoreboard import Scoreboard, same, same_signals
from tb.runner import run
from tb.system.simulate import JobSpec, LayerSpec, Placed, check_memory
from tb.system.test_errors import expect_error, good_job, setup, small_layer


def check(sb: Scoreboard, name, want, got):
    """Compare [head, row, element]."""
    sb.compare(name, want, got, axes=("head", "row", "element"))


def job_spec(cfg, rng, name, d, heads=2, kv_heads=1, rows=0, keys=0, **settings):
    """A job of random numbers, by default of more rows and keys than a block and a tile."""
    rows, keys = rows or 2 * cfg.ROWS + 1, keys or 2 * cfg.BC_MAX + 3
    return JobSpec.planned(name, 2 * rng.normal(size=(heads, rows, d)),
                           *rng.normal(size=(2, kv_heads, keys, d)), cfg, **settings)


def beats_of(acc, jobs):
    """Beats of so many descriptors."""
    return jobs * DESCRIPTOR_BYTES // acc.cfg.BUS_BYTES


@cocotb.test()
async def jobs_of_all_kinds(dut):
    """Dense, sort and sum in turn with d of 8 and 16, so that other places exist in each, heads
    that share blocks, windows with and without sinks among jobs that have none, layers with and
    without RoPE: outputs, what layers leave, and the counters of the whole chain; the same chain
    twice, and in the order of a shuffle."""
    acc, rng = setup(dut)
    await acc.reset()
    cfg, sb = acc.cfg, Scoreboard()
    sort = {"select": head.SORT, "quota": 3, "radius_nats": 6.0}
    specs = [
        job_spec(cfg, rng, "dense", 16, select=head.DENSE), job_spec(cfg, rng, "sort", 8, **sort),
        job_spec(cfg, rng, "sum", 16, causal=True),
        job_spec(cfg, rng, "one key", 8, rows=1, keys=1),
        job_spec(cfg, rng, "dense, d 8", 8, select=head.DENSE, causal=True),
        job_spec(cfg, rng, "sum, d 8", 8, heads=3, rows=3 * cfg.ROWS, blend=False),
        job_spec(cfg, rng, "shared", 16, heads=4, kv_heads=2, rows=2, share=True),
        small_layer(cfg, rng, kv_heads=2), small_layer(cfg, rng, rope_theta=0.0, **sort),
        job_spec(cfg, rng, "window", 8, causal=True, window=cfg.BC_MAX + 1, sinks=2),
        job_spec(cfg, rng, "sort, d 16", 16, **sort),
        job_spec(cfg, rng, "sort, window", 16, causal=True, window=3, **sort),
        job_spec(cfg, rng, "shared, window", 8, heads=4, kv_heads=2, rows=2, share=True,
                 causal=True, offset=2 * cfg.BC_MAX, window=5, sinks=cfg.COLS),
        small_layer(cfg, rng, window=2 * cfg.COLS, sinks=1),
        small_layer(cfg, rng, mode=rope.HALF, select=head.DENSE), job_spec(cfg, rng, "last", 8)]
    for turn in range(3):
        if turn != 1:
            acc.free_all()
            placed = [Placed(acc, spec) for spec in specs]
            random.shuffle(specs)
        jobs = [job for one in placed for job in one.jobs]
        counters = await acc.run_chain(acc.chain(jobs), len(jobs), 2_000_000)
        for one in placed:
            check(sb, f"output of {one.spec.name}", one.want.out, one.output())
            one.forget()
            if isinstance(one.spec, LayerSpec):
                check_memory(sb, one.done(counters), one.want, cfg)
        every = [one.counts()[1] for one in placed]
        expected = {name: sum(own.get(name, 0) for own in every) for name in set().union(*every)}
        expected["BEATS_D"] += beats_of(acc, len(jobs))
        sb.compare_fields("counters", expected, counters)
        assert counters["PREDICT"] and counters["CYCLES"]
    sb.finish("output of dense", "output of window", "output of last", "counters")


@cocotb.test()
async def chunked_prefill(dut):
    """One prediction, then the queries in three attention jobs; each makes only the K and V which
    those before did not leave."""
    acc, rng = setup(dut, reorder=True)
    await acc.reset()
    cfg, sb = acc.cfg, Scoreboard()
    made = small_layer(cfg, rng, mode=rope.HALF).plan
    made = dataclasses.replace(made, q=np.tile(made.q, (1, 9, 1))[:, :made.keys].copy())
    placed = acc.place_layer(made)
    predict, attend = acc.describe_layer(made, placed)
    load = acc.describe_layer(made, placed, load=True)[1]["MODE"]
    jobs, want, valid = [predict], [], None
    for rows in np.array_split(np.arange(made.q.shape[1]), 3):
        first = int(rows[0])
        job = dataclasses.replace(made.job, offset=first)
        xm = means_of(made.x[None], len(rows), job, cfg, 16)
        part = dataclasses.replace(made, q=made.q[:, rows].copy(), job=job, xm=xm[0])
        want.append(run_layer(part, cfg, valid))
        valid = want[-1].valid
        address, row, _ = acc.place(xm)
        fields = {**attend, "QUERY_ROWS": len(rows), "CAUSAL_OFFSET": first,
                  "Q_BASE_LO": attend["Q_BASE_LO"] + first * attend["Q_ROW_STRIDE"],
                  "O_BASE_LO": attend["O_BASE_LO"] + first * attend["O_ROW_STRIDE"],
                  "VM_BASE_LO": address, "VM_ROW_STRIDE": row}
        jobs.append(fields if first == 0 else {**fields, "MODE": load})
    counters = await acc.run_chain(acc.chain(jobs), 4, 800_000)
    check(sb, "output", np.concatenate([w.out for w in want], axis=1),
          acc.gather(*placed["o"], made.q.shape))
    shape = (1, made.keys, made.d)
    check(sb, "predicted keys", want[0].k8, acc.gather(*placed["k8"], shape, np.int8))
    for name in ("k", "v"):
        got = acc.gather(*placed[name], shape)
        check(sb, f"generated {name}", np.where(valid[:, :, None], getattr(want[0], name), got),
              got)
    assert counters["GENERATED"] == sum(sum(w.stats.generated) for w in want) == int(valid.sum())
    assert sum(any(w.stats.generated) for w in want) > 1 and counters["REUSED"]


@cocotb.test()
async def starts_and_ends(dut):
    """START runs the job of the registers, then the chain at NEXT; START_CHAIN begins at NEXT; one
    interrupt, at the end of all."""
    acc, rng = setup(dut)
    await acc.reset()
    placed = [Placed(acc, job_spec(acc.cfg, rng, name, d)) for name, d in zip("abc", (8, 16, 8),
                                                                              strict=True)]
    rest = acc.chain([one.jobs[0] for one in placed[1:]])
    for begin in (0, 1):
        for name, value in {**placed[0].jobs[0], "NEXT_LO": rest}.items():
            await acc.write(name, value)
        await acc.write("CTRL", 1 << regs.lsb("CTRL", "START_CHAIN" if begin else "START"))
        await acc.wait(200_000)
        same("JOBS", 3 - begin, await acc.read("JOBS"))
        same_signals("sofa", dut, irq=0)
        for i, one in enumerate(placed):
            ran = i >= begin
            assert np.array_equal(one.output(), one.want.out) == ran, (begin, i)
            one.forget()
        counters, ran = await acc.counters(), [one.counts()[1] for one in placed[begin:]]
        assert counters["SELECTED"] == sum(own["SELECTED"] for own in ran) > 0
        # The job of the registers has no descriptor to be read.
        assert counters["BEATS_D"] == sum(own["BEATS_D"] for own in ran) + beats_of(acc, 2)


@cocotb.test()
async def errors_in_a_chain(dut):
    """A fault in the third of four jobs: two are whole and counted, the others write nothing. Every
    kind of fault, NEXT among them."""
    acc, rng = setup(dut)
    await acc.reset()
    cfg = acc.cfg
    placed = [Placed(acc, job_spec(cfg, rng, str(i), (8, 16)[i % 2])) for i in range(4)]
    expected = [one.counts()[1] for one in placed]
    good = [one.jobs[0] for one in placed]
    outside = acc.memory.base + len(acc.memory.data)
    third = DESCRIPTOR_BYTES * 2 + regs.OFFSETS["NEXT_LO"] - regs.OFFSETS["MODE"]
    cases = [  # what changes in the third job, code, INFO, jobs that are whole
        ({"KEYS": 0}, regs.Err.KEYS, 0, 2), ({"BAND": 9}, regs.Err.BAND, 0, 2),
        ({"K_BASE_LO": 1}, regs.Err.BASE_ALIGN, 2, 2),
        ({"Q_BASE_LO": outside}, regs.Err.READ_DECERR, 0, 2),
        ({"O_BASE_LO": outside}, regs.Err.WRITE_DECERR, 0, 2),
        ({"NEXT_LO": 128}, regs.Err.NEXT, 0, 2),
        ({"NEXT_HI": 1 << cfg.ADDR_W - 32}, regs.Err.NEXT, 0, 2),
        # NEXT is legal, and nothing is there: the job that has it is whole.
        ({"NEXT_LO": outside}, regs.Err.READ_DECERR, 7, 3),
    ]
    kept = acc._free
    for changes, code, info, whole in cases:
        acc._free = kept
        first = acc.chain([*good[:2], {**good[2], **changes}, good[3]])
        following = {name: changes[name] for name in ("NEXT_LO", "NEXT_HI") if name in changes}
        for name, value in following.items():
            acc.memory.load(first + third + (4 if name == "NEXT_HI" else 0),
                            np.array([value], "<u4"))
        await acc.start_chain(first)
        await expect_error(acc, code, info, changes, 400_000)
        assert await acc.read("JOBS") == whole, changes
        for i, one in enumerate(placed):
            assert np.array_equal(one.output(), one.want.out) == (i < whole), (changes, i)
            one.forget()
        counters = await acc.counters()
        if code not in (regs.Err.READ_DECERR, regs.Err.WRITE_DECERR):
            for name in ("SELECTED", "UNION", "TILES", "BLOCKS", "BEATS_O", "BEATS_K"):
                assert counters[name] == sum(own[name] for own in expected[:whole]), name
    assert await good_job(acc, rng)


@pytest.mark.slow_on("icarus")
@pytest.mark.slow_on("verilator", "small")
@pytest.mark.configs("tiny", "small")
def test_chains(sim, config, seed):
    run("sofa", __name__, dict(config), sim, seed=seed)
