# SPDX-License-Identifier: Apache-2.0
"""Whole jobs on the simulated core, from plain Python.

    spec = JobSpec.planned("one head", q, k, v, cfg, causal=True, quota=8)   # float arrays
    layer = LayerSpec.planned("a layer", x, wk, wv, q, cfg, rope_theta=1e4, causal=True, quota=8)
    outcomes = simulate([spec, layer], "small", "verilator")

builds the core, runs every job one after another in one simulation through the host driver, and
scores the output of each, and with ``taps`` every value between the stages, bit for bit against
the reference model. A layer is a chain of two jobs: it predicts the keys, then makes K and V where
attention needs them; what it leaves in memory is scored, too. The cocotb side of it is
``run_jobs`` below.
"""

from __future__ import annotations

import os
import pickle
import time
from dataclasses import dataclass, field
from pathlib import Path

import cocotb
import numpy as np

from models import dlzs
from models.config import Config
from models.head import Job, JobResult, Stats, run_job
from models.layer import LayerPlan, LayerResult, plan_layer, run_layer
from models.plan import plan
from models.quantise import Quantised
from tb.common.accelerator import DESCRIPTOR_BYTES, Accelerator, LayerDone
from tb.common.scoreboard import Scoreboard
from tb.runner import ROOT, parameters, run
from tb.system.taps import STAGES, TapScorer


@dataclass
class JobSpec:
    """One job: its integer tensors and their scales, and its settings. ``name`` appears in
    messages."""

    numbers: Quantised
    job: Job
    name: str = ""

    @classmethod
    def planned(cls, name, q, k, v, cfg, **settings):
        """The job for float arrays q [heads, rows, d], k, v [kv_heads, keys, d]; ``settings``
        are those of ``models.plan.plan``."""
        return cls(*plan(q, k, v, cfg, **settings), name)

    def reference(self, cfg, trace=False) -> JobResult:
        """The reference model's result of this job."""
        n = self.numbers
        return run_job(n.q, n.k, n.v, n.k8, self.job, cfg, trace)


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
        ``settings`` are those of ``models.layer.plan_layer``."""
        return cls(plan_layer(x, wk, wv, q, cfg, **settings), name)

    @property
    def job(self) -> Job:
        """Settings of the attention job."""
        return self.plan.job

    def reference(self, cfg, trace=False) -> LayerResult:
        """The reference model's result of this layer."""
        return run_layer(self.plan, cfg, self.valid, trace)


@dataclass
class Options:
    """How to simulate. ``memory``: arguments of AxiMemory; ``padding``: bus words between
    vectors; ``taps``: score between the stages too; ``score``: compare with the model at all."""

    taps: bool = True
    score: bool = True
    padding: int = 0
    axil_gap: int = 0
    memory: dict = field(default_factory=dict)
    memory_bytes: int = 1 << 24


@dataclass
class Outcome:
    """Result of one job: output int16 [heads, rows, d], counters, number of values compared in
    each stage, wall seconds of the job, the reference model's counts (None when not scored), and
    all that a layer left in memory (None for a job)."""

    name: str
    out: np.ndarray
    counters: dict[str, int]
    compared: dict[str, int]
    wall_s: float
    stats: Stats | None
    layer: LayerDone | None = None


def simulate(specs, config, sim="verilator", *, seed=1, waves=None, options=None,
             changes=None, progress=None):
    """Run the jobs and return their Outcomes; raises when anything differs from the model.

    Args:
        specs: list of JobSpec.
        config: name in scripts/configs.py.
        sim: "verilator" or "icarus".
        options: Options.
        changes: Verilog parameters that override the configuration's.
        progress: path of a file which gets one line a finished job, or None.
    """
    from scripts.configs import CONFIGS

    options = options or Options()
    return launch(specs, options, "sofa_tb" if options.taps else "sofa_top", "tb.system.simulate",
                  {**CONFIGS[config], **(changes or {})}, sim, seed=seed, waves=waves,
                  progress=progress)


def launch(specs, options, toplevel, module, values, sim, *, seed, waves, progress, defines=None):
    """Run the cocotb test run_jobs of ``module`` on the jobs and return what it leaves; values,
    defines: Verilog parameters and macros."""
    folder = ROOT / "build" / "jobs"
    folder.mkdir(parents=True, exist_ok=True)
    stem = folder / f"{os.getpid()}-{time.monotonic_ns()}"
    jobs, outcomes = stem.with_suffix(".jobs"), stem.with_suffix(".outcomes")
    jobs.write_bytes(pickle.dumps((specs, options, str(outcomes), progress)))
    try:
        run(toplevel, module, values, sim, seed=seed, waves=waves, testcase="run_jobs",
            env={"SOFA_JOBS": str(jobs)}, defines=defines)
        return pickle.loads(outcomes.read_bytes())
    finally:
        jobs.unlink(missing_ok=True)
        outcomes.unlink(missing_ok=True)


@cocotb.test()
async def run_jobs(dut):
    """Run the jobs of the file named by SOFA_JOBS and write their outcomes."""
    specs, options, target, progress = pickle.loads(Path(os.environ["SOFA_JOBS"]).read_bytes())
    assert specs, "no jobs"
    acc = Accelerator(dut, memory=options.memory, memory_bytes=options.memory_bytes,
                      axil_gap=options.axil_gap, padding=options.padding,
                      seed=int(os.environ["COCOTB_RANDOM_SEED"]))
    await acc.reset()
    scoreboard = Scoreboard(dut._log)
    # The capability registers do not tell how many rows share an exp unit.
    built = Config.from_parameters(parameters())
    taps = TapScorer(dut, built, scoreboard) if options.taps else None
    outcomes = []
    for spec in specs:
        acc.free_all()
        before = dict(scoreboard.compared)
        want = None
        if options.score:
            want = spec.reference(acc.cfg, trace=taps is not None)
        if taps:
            taps.expect(spec.job, want.heads)
        start = time.monotonic()
        if isinstance(spec, LayerSpec):
            done = await acc.run_layer(spec.plan, full(spec, acc.cfg))
            if want is not None:
                check_memory(scoreboard, done, want, acc.cfg)
        else:
            n = spec.numbers
            done = await acc.run(n.q, n.k, n.v, n.k8, spec.job)
        wall = time.monotonic() - start
        if want is not None:
            scoreboard.compare("output", want.out, done.out, axes=("head", "row", "element"),
                               width=16)
            check_counters(scoreboard, done.counters, spec, want, acc.cfg)
        if taps:
            taps.finish()
        compared = {k: n - before.get(k, 0) for k, n in scoreboard.compared.items()}
        if taps:
            quiet = [s for s in STAGES if not compared.get(s)
                     and not (spec.job.dense and s.startswith("dlzs"))]
            assert not quiet, f"{spec.name}: nothing compared at {quiet}"
        outcomes.append(Outcome(spec.name, done.out, done.counters, compared, wall,
                                want.stats if want else None,
                                done if isinstance(spec, LayerSpec) else None))
        dut._log.info("job %s: %d cycles, %.1f s", spec.name, done.counters["CYCLES"], wall)
        if progress:
            with open(progress, "a") as handle:
                handle.write(f"{spec.name}\n")
    if options.score:
        scoreboard.finish("output")
    Path(target).write_bytes(pickle.dumps(outcomes))


def full(spec: LayerSpec, cfg):
    """K and V of every key and the valid ones, what an earlier job left; None when nothing."""
    if spec.valid is None:
        return None
    made = spec.reference(cfg)
    return made.k, made.v, spec.valid


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


def check_counters(scoreboard: Scoreboard, counters: dict, spec: JobSpec | LayerSpec,
                   want: JobResult | LayerResult, cfg: Config):
    """Compare the counters that the model predicts exactly."""
    stats, job = want.stats, spec.job
    layer = isinstance(spec, LayerSpec)
    # Elements of the array; a dense tile passes it as one word.
    predicted = sum(1 if job.dense else -(-n // cfg.COLS) * job.d for n in stats.slots)
    expected = {
        "TILES": len(stats.slots), "BLOCKS": len(stats.rows_per_block),
        "PHASES": len(stats.nsteps), "SELECTED": stats.selected, "UNION": sum(stats.union),
        "STEPS": sum(stats.nsteps), "SUFA_BUSY": sum(stats.nsteps) * job.d,
        "GENERATED": sum(stats.generated), "REUSED": sum(stats.reused),
        "MAX_UPDATES": stats.max_updates,
        "BEATS_D": 2 * DESCRIPTOR_BYTES // cfg.BUS_BYTES if layer else 0,
    }
    if layer:
        plan = spec.plan
        chunks = len(dlzs.chunks(plan.kv_heads, plan.d, cfg))
        predicted += chunks * -(-plan.keys // cfg.COLS) * plan.h
        stats = want.predict + stats
    expected |= {"DLZS_BUSY": predicted,
                 **{f"BEATS_{name.upper()}": count // cfg.BUS_BYTES
                    for name, count in stats.bytes.items()}}
    scoreboard.compare_fields("counters", expected, counters, where={"job": spec.name})
    check_busy(counters, layer)


def check_busy(counters: dict, layer: bool):
    """What holds of the counters of cycles in every job: a stage never works and waits at once,
    and only a layer predicts keys and makes K and V."""
    for group in (("DLZS_BUSY", "DLZS_STALL"), ("SADS_BUSY", "SADS_STALL"),
                  ("RASS_BUSY", "RASS_STALL"), ("KVGEN_BUSY", "KVGEN_STALL"),
                  ("SUFA_BUSY", "SUFA_STALL", "SUFA_STARVE"), ("PREDICT",), ("FETCH_STALL",),
                  ("STORE_STALL",)):
        total = sum(counters[name] for name in group)
        assert total <= counters["CYCLES"], f"{' + '.join(group)} = {total} cycles"
    assert counters["SADS_BUSY"] and counters["RASS_BUSY"], counters
    assert (counters["PREDICT"] > 0) == layer, counters
    assert (counters["KVGEN_BUSY"] > 0) == (counters["GENERATED"] > 0), counters
