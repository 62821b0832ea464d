# SPDX-License-Identifier: Apache-2.0
"""Cycles of a job: the bounds of models/bounds.py plus what real selections add to them.

    done = job_cycles(result.stats, job, cfg)           # attention over given K and V
    done = layer_cycles(work_of(selected, job, cfg), job, cfg)      # no reference run needed
    done.total, done.busy["sufa"], done.bound_by

The rows of a block are in lockstep, so a tile costs what its greediest row costs; tiles wait for
each other in finite rings; pipelines fill and drain. pipeline.py simulates this tile by
tile. docs/costs.md says how far it is from the RTL's counters.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ... import dlzs
from ...bounds import Bound, prediction_bound, weight_bound
from ...config import check
from ...first.bounds import job_bound
from ...first.config import Config
from ...first.head import Job
from ...first.layer import LayerPlan
from ...head import Stats
from ...layer import chunk_beats, valid_beats
from ...tiling import block_tiles, blocks
from .pipeline import FRONT, Pipeline


@dataclass(frozen=True)
class Memory:
    """Memory of one bus word a cycle. latency, write_latency: cycles from an address (write: the
    last data) to the first answer. The defaults are those of ``make bench``."""

    latency: int = 100
    write_latency: int = 20


@dataclass
class Work:
    """What a job asks of the machine.

    rows, tiles          per block, all heads in job order: query rows, tiles
    slots, phases        per tile: keys in it, fillings of the K and V buffers
    nsteps, made, read   per phase: pair steps, keys generated, keys read from memory
    heads, kv_heads      of the job
    """

    rows: list[int]
    tiles: list[int]
    slots: list[int]
    phases: list[int]
    nsteps: list[int]
    made: list[int]
    read: list[int]
    heads: int = 1
    kv_heads: int = 1

    @classmethod
    def from_stats(cls, stats: Stats, heads: int = 1, kv_heads: int = 1) -> Work:
        """The counts of a reference run; heads, kv_heads: those of the job."""
        return cls(rows=stats.rows_per_block, tiles=stats.tiles_per_block, slots=stats.slots,
                   phases=stats.phases, nsteps=stats.nsteps, made=stats.generated,
                   read=stats.reused, heads=heads, kv_heads=kv_heads)

    def bound(self, job: Job, cfg: Config, plan: LayerPlan | None = None) -> Bound:
        """Least cycles of each resource (models/bounds.py)."""
        stats = Stats(slots=self.slots, phases=self.phases, nsteps=self.nsteps,
                      generated=self.made, reused=self.read, tiles_per_block=self.tiles,
                      rows_per_block=self.rows)
        least = job_bound(stats, job, cfg, plan)
        if plan:
            least += Bound(dram=self.kv_heads * weight_bound(plan, cfg),
                           write=self.kv_heads * valid_beats(plan.keys, cfg))
        return least


@dataclass
class Cycles:
    """total: cycles from start to interrupt. busy: cycles in which a stage worked (dlzs, sads,
    rass, kvgen, sufa; store, bus: words written by O and read). bound: the job's Bound. predict:
    those of ``total`` that a job before it, which predicts the keys, takes."""

    total: int
    busy: dict[str, int]
    bound: Bound
    predict: int = 0

    @property
    def bound_by(self) -> str:
        """The stage that works most."""
        return max(self.busy, key=self.busy.__getitem__)

    @property
    def waits(self) -> dict[str, int]:
        """Cycles in which each stage did not work."""
        return {name: self.total - n for name, n in self.busy.items()}


def layer_cycles(
    work: Work, job: Job, cfg: Config, memory: Memory | None = None, plan: LayerPlan | None = None
) -> Cycles:
    """Cycles of the attention job that does this work; with a plan, of the chain of both jobs of
    a layer from X."""
    done = Pipeline(work, job, cfg, memory or Memory(), plan).run()
    predict = prediction_cycles(plan, cfg, memory) if plan else 0
    busy = {name: round(n) for name, n in done.busy.items()}
    return Cycles(round(done.total) + predict, busy, work.bound(job, cfg, plan), predict)


def job_cycles(
    stats: Stats, job: Job, cfg: Config, memory: Memory | None = None, heads: int = 1,
    kv_heads: int = 1, plan: LayerPlan | None = None,
) -> Cycles:
    """layer_cycles of a reference run's counts."""
    if plan:
        heads, kv_heads = plan.heads, plan.kv_heads
    return layer_cycles(Work.from_stats(stats, heads, kv_heads), job, cfg, memory, plan)


def prediction_cycles(plan: LayerPlan, cfg: Config, memory: Memory | None = None) -> int:
    """Cycles of the job that predicts K8, from the start to the check of the next job.

    A part of X8 holds its buffer from the request to its last element; where that takes longer than
    K8_BUFS parts, the ring is the limit.
    """
    memory = memory or Memory()
    chunks = dlzs.chunks(plan.kv_heads, plan.d, cfg)
    ring = 0
    for first in range(0, plan.keys, cfg.COLS):
        n = min(cfg.COLS, plan.keys - first)
        held = [memory.latency + FRONT + n + min(cfg.BUS_BYTES, plan.h - at)
                for at in range(0, plan.h, cfg.BUS_BYTES)]
        ring += len(chunks) * sum(held) // cfg.K8_BUFS
    rows, n = chunks[-1], min(cfg.COLS, plan.keys)
    _, table, out = chunk_beats(rows, plan.h, plan.d, plan.mode, cfg)
    start = 30 + 5 * (4 if plan.mode else 3) + 2 * len(chunks)
    fill = memory.latency + FRONT + n
    drain = max(-(-len(rows) // (2 * cfg.ROPE_PAIRS)), out, table) * n
    drain += 12 + memory.write_latency
    following = 67 + 256 // cfg.BUS_BYTES + memory.latency
    return start + fill + max(prediction_bound(plan, cfg), ring) + drain + following


def work_of(selected: np.ndarray, job: Job, cfg: Config, kv_heads: int = 1) -> Work:
    """The work of selections bool [heads, rows, keys], without a reference run.

    Only where a K or V buffer holds a whole tile (KV_SLOTS = BC_MAX), so that a tile is one phase
    and no schedule is needed; keys are read, none is made. ValueError otherwise.
    """
    if cfg.KV_SLOTS != cfg.BC_MAX:
        raise ValueError(f"KV_SLOTS = {cfg.KV_SLOTS}, legal: BC_MAX = {cfg.BC_MAX}; with fewer "
                         "slots the schedule needs the lists, see Work.from_stats")
    selected = np.asarray(selected, bool)
    heads, rows, keys = selected.shape
    check("heads", heads, 1, 65536)
    work = Work(rows=[], tiles=[], slots=[], phases=[], nsteps=[], made=[], read=[], heads=heads,
                kv_heads=kv_heads)
    sizes, slots, steps, union = [], [], [], []
    for row, n in blocks(rows, cfg):
        tiles = block_tiles(row, n, keys, job.bc, causal=job.causal, offset=job.offset,
                            interleaved=job.interleaved)
        slots.append([tile.n for tile in tiles])
        taken = [selected[:, row : row + n, tile.keys] for tile in tiles]
        steps.append([-(-part.sum(axis=2).max(axis=1) // 2) for part in taken])
        union.append([part.any(axis=1).sum(axis=1) for part in taken])
        sizes.append(n)
    for h in range(heads):
        work.rows += sizes
        work.tiles += [len(s) for s in slots]
        work.slots += [n for s in slots for n in s]
        work.nsteps += [int(n[h]) for s in steps for n in s]
        work.read += [int(n[h]) for u in union for n in u]
    work.phases = [1] * len(work.slots)
    work.made = [0] * len(work.slots)
    return work
