# SPDX-License-Identifier: Apache-2.0
"""Whole jobs on the simulated machine, from plain Python.

    spec = JobSpec.planned("one head", q, k, v, cfg, causal=True)          # float arrays
    layer = LayerSpec.planned("a layer", x, wk, wv, q, cfg, rope_theta=1e4, causal=True)
    outcomes = simulate([spec, layer], "small", "verilator")

builds the machine, runs every job one after another in one simulation through the host driver, and
scores the output of each, its counters, and with ``taps`` every value between the stages, bit for
bit against models. A layer is a chain of two jobs; what it leaves in memory is scored, too. The
cocotb side of it is ``run_jobs`` below.
"""

from __future__ import annotations

import functools
import os
import pickle
import time
from dataclasses import dataclass, field
from pathlib import Path

import cocotb
import numpy as np

from models import fast, head
from models.config import Config
from models.driver.accelerator import FILLER, Done, LayerDone
from models.driver.counters import job_counters, layer_counters
from models.driver.images import DESCRIPTOR_BYTES, blends
from models.head import Job, JobResult, Stats
from models.layer import (
    LayerPlan,
    LayerResult,
    plan_layer,
    project_layer,
    run_layer,
)
from models.plan import Numbers, plan
from models.spec.configs import CONFIGS
from tb.common import samples
from tb.common.scoreboard import Scoreboard
from tb.driver.accelerator import Accelerator
from tb.runner import ROOT, parameters, run
from tb.system.taps import KEY, TapScorer, expectation


def runner(trace):
    """models.head.run_job, compiled where nothing has to be traced."""
    if trace or not fast.available():
        return functools.partial(head.run_job, trace=trace)
    return fast.run_job


@dataclass
class JobSpec:
    """One job: its integer tensors and their scales, and its settings. ``name`` appears in
    messages."""

    numbers: Numbers
    job: Job
    name: str = ""

    @classmethod
    def planned(cls, name, q, k, v, cfg, **settings):
        """The job for float arrays q [heads, rows, d], k, v [kv_heads, keys, d]; ``settings``
        are those of models.plan.plan."""
        return cls(*plan(q, k, v, cfg, **settings), name)

    def reference(self, cfg, trace=False) -> JobResult:
        """The reference model's result of this job."""
        n = self.numbers
        return runner(trace)(n.q, n.k, n.v, n.k8, n.means, self.job, cfg)


@dataclass
class LayerSpec:
    """A layer from X. valid: bool [kv_heads, keys], K and V that an earlier job has left (VB_LOAD),
    None: there are none. ``name`` appears in messages."""

    plan: LayerPlan
    name: str = ""
    valid: np.ndarray | None = None

    @classmethod
    def planned(cls, name, x, wk, wv, q, cfg, **settings):
        """The layer for float arrays x [keys, H], wk, wv [kv_heads, H, d], q [heads, rows, d];
        ``settings`` are those of models.layer.plan_layer."""
        return cls(plan_layer(x, wk, wv, q, cfg, **settings), name)

    @property
    def job(self) -> Job:
        """Settings of the attention job."""
        return self.plan.job

    def reference(self, cfg, trace=False) -> LayerResult:
        """The reference model's result of this layer."""
        return run_layer(self.plan, cfg, self.valid, runner(trace))


@dataclass
class Options:
    """How to simulate. ``memory``: arguments of AxiMemory; ``padding``: bus words between
    vectors; ``scatter``: as of Accelerator; ``taps``: score between the stages too; ``score``:
    compare with the model at all."""

    taps: bool = True
    score: bool = True
    padding: int = 0
    scatter: bool = False
    axil_gap: int = 0
    memory: dict = field(default_factory=dict)
    memory_bytes: int = 1 << 24


@dataclass
class Outcome:
    """Result of one job: output int16 [heads, rows, d], counters, number of values compared in
    each stage, CPU seconds of the simulation from start to the last counter read back (no model, no
    scoring of outputs), the reference model's counts (None when not scored), and all that a layer
    left in memory (None for a job)."""

    name: str
    out: np.ndarray
    counters: dict[str, int]
    compared: dict[str, int]
    cpu_s: float
    stats: Stats | None
    layer: LayerDone | None = None


def simulate(specs, config, sim="verilator", *, seed=1, waves=None, options=None,
             changes=None, progress=None, sources=None, plusargs=()):
    """Run the jobs and return their Outcomes; raises when anything differs from the model.

    Args:
        specs: list of JobSpec and LayerSpec.
        config: name in models/spec/configs.py, CONFIGS.
        sim: "verilator" or "icarus".
        options: Options.
        changes: Verilog parameters that override the configuration's.
        progress: path of a file which gets one line a finished job, or None.
        sources, plusargs: as of tb.runner.run.
    """
    options = options or Options()
    return launch(specs, options, "sofa", "tb.system.simulate",
                  {**CONFIGS[config], **(changes or {})}, sim, seed=seed, waves=waves,
                  progress=progress, defines={"SOFA_TAPS": 1} if options.taps else None,
                  sources=sources, plusargs=plusargs)


def launch(specs, options, toplevel, module, values, sim, *, seed, waves, progress, defines=None,
           sources=None, plusargs=()):
    """Run the cocotb test run_jobs of ``module`` on the jobs and return what it leaves; values,
    defines: Verilog parameters and macros."""
    folder = ROOT / "build" / "jobs"
    folder.mkdir(parents=True, exist_ok=True)
    stem = folder / f"{os.getpid()}-{time.monotonic_ns()}"
    jobs, outcomes = stem.with_suffix(".jobs"), stem.with_suffix(".outcomes")
    jobs.write_bytes(pickle.dumps((specs, options, str(outcomes), progress)))
    try:
        run(toplevel, module, values, sim, seed=seed, waves=waves, testcase="run_jobs",
            env={"SOFA_JOBS": str(jobs)}, defines=defines, sources=sources, plusargs=plusargs)
        return pickle.loads(outcomes.read_bytes())
    finally:
        jobs.unlink(missing_ok=True)
        outcomes.unlink(missing_ok=True)


@cocotb.test()
async def run_jobs(dut):
    """Run the jobs of the file named by SOFA_JOBS and write their outcomes."""
    specs, options, target, progress = pickle.loads(Path(os.environ["SOFA_JOBS"]).read_bytes())
    assert specs, "no jobs"
    cfg = Config.from_parameters(parameters())
    acc = Accelerator(dut, cfg, memory=options.memory, memory_bytes=options.memory_bytes,
                      axil_gap=options.axil_gap, padding=options.padding, scatter=options.scatter,
                      seed=int(os.environ["COCOTB_RANDOM_SEED"]))
    await acc.reset()
    scoreboard = Scoreboard(dut._log)
    taps = TapScorer(dut, cfg, scoreboard) if options.taps else None
    outcomes = []
    for spec in specs:
        acc.free_all()
        before = dict(scoreboard.compared)
        (done,), (stats,), cpu = await run_specs(acc, [spec], scoreboard, taps, options.score)
        compared = {k: n - before.get(k, 0) for k, n in scoreboard.compared.items()}
        if taps and options.score:
            taps.finish()
            assert not (quiet := taps.silent(compared)), f"{spec.name}: nothing compared at {quiet}"
        outcomes.append(Outcome(spec.name, done.out, done.counters, compared, cpu, stats,
                                done if isinstance(spec, LayerSpec) else None))
        dut._log.info("job %s: %d cycles, %.1f CPU s", spec.name, done.counters["CYCLES"], cpu)
        if progress:
            with open(progress, "a") as handle:
                handle.write(f"{spec.name}\n")
    if options.score:
        scoreboard.finish("output")
    Path(target).write_bytes(pickle.dumps(outcomes))


class Placed:
    """A job or layer with its buffers in memory.

    jobs: registers of its jobs, name -> value each; want: the model's result, None without
    ``score``; limit: cycles that it may take.
    """

    def __init__(self, acc, spec, score=True, trace=False):
        self.acc, self.spec = acc, spec
        self.is_layer = isinstance(spec, LayerSpec)
        self.want = spec.reference(acc.cfg, trace) if score else None
        if self.is_layer:
            there = None
            if spec.valid is not None:
                there = (*project_layer(spec.plan), spec.valid)
            self.buffers = acc.place_layer(spec.plan, there)
            self.jobs = acc.describe_layer(spec.plan, self.buffers, load=there is not None)
            self.limit, self.shape = acc.layer_limit(spec.plan), spec.plan.q.shape
            self.where = self.buffers["o"]
        else:
            numbers = spec.numbers
            self.descriptor = acc.describe(numbers, spec.job)
            fields = self.descriptor.fields
            self.jobs = [fields]
            self.limit, self.shape = acc.job_limit(numbers, spec.job), numbers.q.shape
            self.where = (fields["O_BASE_LO"] | fields["O_BASE_HI"] << 32,
                          fields["O_ROW_STRIDE"], fields["O_HEAD_STRIDE"])

    def expectation(self):
        """What the taps show in its attention."""
        spec, want, cfg = self.spec, self.want, self.acc.cfg
        if self.is_layer:
            return layer_expectation(spec, want, self.jobs[1], cfg)
        n = spec.numbers
        return expectation(want.heads, len(n.k), n.k, n.v, n.means, spec.job, cfg, self.jobs[0])

    def counts(self) -> tuple[Stats, dict[str, int]]:
        """(Stats, counters that the model predicts exactly without those of descriptors)."""
        spec, want, cfg = self.spec, self.want, self.acc.cfg
        if self.is_layer:
            return want.stats, layer_counters(spec.plan, want, cfg)
        return job_counters(want.selected, want.updates, len(spec.numbers.k), spec.job, cfg)

    def output(self):
        """What is in the memory of O, int16 [heads, rows, d]."""
        return self.acc.gather(*self.where, self.shape)

    def done(self, counters):
        """All that it has left in memory, a Done or LayerDone with these counters."""
        if self.is_layer:
            return self.acc.gather_layer(self.spec.plan, self.buffers, counters)
        return Done(self.output(), counters)

    def forget(self):
        """Overwrite the output."""
        base, _, stride = self.where
        self.acc.memory.load(base, np.full(stride * self.shape[0], FILLER, np.uint8))

    def check(self, scoreboard, done):
        """Compare what it has left with the model, and what lies around it with what was there."""
        compare_output(scoreboard, self.want, done)
        if not self.is_layer:
            check_outside(scoreboard, self.acc, "O", self.where, self.shape)
            return
        made = self.spec.plan
        check_memory(scoreboard, done, self.want, self.acc.cfg)
        shape = (made.kv_heads, made.keys, made.d)
        for name, of, kind in (("o", made.q.shape, np.int16), ("k", shape, np.int16),
                               ("v", shape, np.int16), ("k8", shape, np.int8)):
            check_outside(scoreboard, self.acc, name.upper(), self.buffers[name], of, kind)

    def sample(self):
        """Answer the points of coverage about what it has left, which was compared."""
        want = self.want
        if self.is_layer:
            samples.layer(want.k8, want.k, want.v, want.valid)

    def sample_taps(self, stats, expect):
        """Answer the points of coverage about values that were compared with the taps; stats and
        expect: what ``counts`` and ``expectation`` gave."""
        spec, want, cfg = self.spec, self.want, self.acc.cfg
        if self.is_layer:
            numbers = (spec.plan.q, want.k, want.v, want.k8)
        else:
            n = spec.numbers
            numbers = (n.q, n.k, n.v, n.k8)
        samples.job(want.heads, *numbers, spec.job, stats, cfg)
        items = ((i.kv, i.key, i.mask, i.made) for i in expect.items if i.kind == KEY)
        samples.items(items, cfg.ROWS)


async def run_specs(acc, specs, scoreboard, taps, score, registers=True):
    """Run jobs and layers, one after another as one chain, and score them.

    registers: the first one, where it is a job, comes by the registers; the others, and layers, by
    descriptors. Returns ([Done or LayerDone of each], [Stats of each, None without ``score``], CPU
    seconds); the counters of each are those of the whole chain.
    """
    placed = [Placed(acc, spec, score, taps is not None) for spec in specs]
    if taps and score:
        expected_taps = [one.expectation() for one in placed]
        taps.expect(*expected_taps)
    registers = registers and not placed[0].is_layer
    jobs = [fields for one in placed for fields in one.jobs]
    limit = sum((one.limit for one in placed[1:]), placed[0].limit)
    following = acc.chain(jobs[registers:]) if jobs[registers:] else 0
    start = time.process_time()
    if registers:
        first = placed[0].descriptor
        first.fields |= {"NEXT_LO": following & 0xFFFFFFFF, "NEXT_HI": following >> 32}
        await acc.start(first)
        found = await acc.completed(len(jobs), limit)
    else:
        found = await acc.run_chain(following, len(jobs), limit)
    cpu = time.process_time() - start
    dones = [one.done(found) for one in placed]
    if not score:
        return dones, [None] * len(specs), cpu
    # The job of the registers has no descriptor to be read.
    expected = {"BEATS_D": (len(jobs) - registers) * DESCRIPTOR_BYTES // acc.cfg.BUS_BYTES}
    every = []
    for one, done in zip(placed, dones, strict=True):
        one.check(scoreboard, done)
        stats, own = one.counts()
        every.append(stats)
        for name, n in own.items():
            expected[name] = expected.get(name, 0) + n
    compare_counters(scoreboard, expected, found, specs)
    for one in placed:
        one.sample()
    if taps:
        for one, stats, expect in zip(placed, every, expected_taps, strict=True):
            one.sample_taps(stats, expect)
    return dones, every, cpu


def layer_expectation(spec: LayerSpec, want: LayerResult, fields, cfg: Config):
    """What the taps show in the attention job of a layer; fields: its registers."""
    start = np.zeros(want.k.shape[:2], bool) if spec.valid is None else np.array(spec.valid, bool)
    return expectation(heads=want.heads, kv_heads=len(want.k), k=want.k, v=want.v, means=want.means,
                       job=spec.job, cfg=cfg, fields=fields, exists=start, shifts=spec.plan.shifts)


def compare_output(scoreboard: Scoreboard, want, done):
    """Compare the output of a job or layer."""
    scoreboard.compare("output", want.out, done.out, axes=("head", "row", "element"), width=16)


def check_outside(scoreboard: Scoreboard, acc, name, where, shape, kind=np.int16):
    """Compare what lies between the vectors of a buffer that is written with what was there."""
    outside = acc.outside(*where, shape, kind)
    if len(outside):
        untouched = np.full(len(outside), FILLER)
        scoreboard.compare(f"around {name}", untouched, outside, axes=("byte",), width=8)


def check_memory(scoreboard: Scoreboard, done, want: LayerResult, cfg):
    """Compare what a layer leaves in memory: predicted keys; K and V of the keys that exist, the
    others untouched; the bits that say which exist."""
    axes = ("kv head", "key", "element")
    scoreboard.compare("predicted keys", want.k8, done.k8, axes=axes, width=8)
    for name, made, got in (("generated K", want.k, done.k), ("generated V", want.v, done.v)):
        there = np.where(want.valid[:, :, None], made, done.untouched)
        scoreboard.compare(name, there, got, axes=axes, width=16)
    scoreboard.compare("valid bits", want.valid_image(cfg), done.valid, axes=("kv head", "byte"),
                       width=8)


def compare_counters(scoreboard: Scoreboard, expected, counters, specs):
    """Compare the counters of a chain of jobs and layers that the model predicts exactly, and check
    those of cycles."""
    names = ", ".join(spec.name for spec in specs)
    scoreboard.compare_fields("counters", expected, counters, where={"job": names})
    layers, cycles = [s for s in specs if isinstance(s, LayerSpec)], counters["CYCLES"]
    for group in (("DLZS_BUSY", "DLZS_STALL"), ("SADS_BUSY", "SADS_STALL"), ("RASS_STALL",),
                  ("KVGEN_BUSY", "KVGEN_STALL"), ("PREDICT",), ("FETCH_STALL",),
                  ("STORE_STALL",)):
        total = sum(counters[name] for name in group)
        assert total <= cycles, f"{' + '.join(group)} = {total} cycles of {cycles}"
    assert counters["SADS_BUSY"] or all(spec.job.dense for spec in specs), counters
    assert (counters["PREDICT"] > 0) == bool(layers), counters
    makes = counters["GENERATED"] or any(blends(spec.job) for spec in layers)
    assert (counters["KVGEN_BUSY"] > 0) == bool(makes), counters
