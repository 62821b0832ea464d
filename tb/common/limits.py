# SPDX-License-Identifier: Apache-2.0
"""How many cycles a job may take before it counts as hung, from the model's bound of it.

The bound is that of models/bounds.py where no data are known: every row takes its quota, every key
is fetched, and in a layer made. A limit lets the parts of the bound follow each other instead of
overlap, on the memory as slow as its options make it, and adds for each block, tile and token what
the stages wait for. It is wide, 3 to 30 times what a job takes, so that only a job that has stopped
reaches it.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from models import dlzs
from models.bounds import Bound, generation_bound, planned_bound, prediction_bound, weight_bound
from models.config import Config
from models.head import Job
from models.layer import LayerPlan, chunk_beats, valid_beats
from models.tiling import block_tiles, blocks

SLACK = 3
"""How many times the work and the traffic may take."""
OPEN = 64
"""Bursts whose latencies overlap at least."""
TILE, TOKEN, START = 150, 50, 5000
"""Cycles beside work and traffic: for a tile or a block, for a token whose keys are predicted or
made, for a job."""


@dataclass(frozen=True)
class Speed:
    """Options of AxiMemory that slow a job down; ``latency`` in cycles, others as named there."""

    latency: int = 120
    ar_stall: float = 0.0
    aw_stall: float = 0.0
    w_stall: float = 0.0
    r_gap: float = 0.0
    b_gap: float = 0.0

    @classmethod
    def of(cls, options: dict):
        """From arguments of AxiMemory (name -> value)."""
        def longest(name):
            value = options.get(name, 1)
            return value if isinstance(value, int) else value[1]

        known = {f.name for f in fields(cls)} & set(options)
        return cls(longest("read_latency") + longest("write_latency"),
                   **{name: options[name] for name in known})

    def cycles(self, beats, bursts, write):
        """Cycles of so much traffic in one direction, in bursts that overlap OPEN at a time."""
        request = 1 / (1 - (self.aw_stall if write else self.ar_stall))
        beat = 1 / (1 - (self.w_stall if write else self.r_gap))
        answer = 1 / (1 - self.b_gap) if write else 0.0
        return beats * beat + bursts * (request + answer + self.latency / OPEN)


@dataclass(frozen=True)
class Limit:
    """``cycles`` a job may take; ``bound``: the model's least, of the same work."""

    cycles: int
    bound: int

    def __str__(self):
        return f"{self.cycles} cycles, the limit of a job with a bound of {self.bound}"


def _attention(rows, keys, heads, job: Job, cfg: Config):
    """(tiles and blocks, vectors read, vectors written) of an attention job on K and V in
    memory."""
    steps = read = 0
    for row, n in blocks(rows, cfg):
        tiles = block_tiles(row, n, keys, job.bc, causal=job.causal, offset=job.offset,
                            interleaved=job.interleaved)
        steps += 1 + len(tiles)
        read += n + sum(tile.n for tile in tiles) * (2 if job.dense else 3)
    return steps * heads, read * heads, rows * heads


def limit_of(bound: Bound, waits, read, written, speed: Speed, least, before=0):
    """Limit of work and traffic one after the other; waits: cycles beside them, before: cycles of a
    job before."""
    work = bound.dlzs + bound.sufa + bound.kvgen + before
    traffic = (speed.cycles(bound.dram, read, False) + speed.cycles(bound.write, written, True))
    waits += START
    return Limit(int(SLACK * (work + traffic) + waits), least)


def job_limit(rows, keys, heads, job: Job, cfg: Config, memory: dict) -> Limit:
    """Limit of an attention job of ``heads`` query heads; memory: arguments of AxiMemory."""
    speed = Speed.of(memory)
    bound = planned_bound(rows, keys, job, cfg, heads)
    steps, read, written = _attention(rows, keys, heads, job, cfg)
    return limit_of(bound, steps * (TILE + 2 * speed.latency), read, written, speed, bound.planned)


def layer_limit(plan: LayerPlan, cfg: Config, memory: dict) -> Limit:
    """Limit of both jobs of a layer; memory: arguments of AxiMemory."""
    speed = Speed.of(memory)
    made = plan.kv_heads * plan.keys
    attend = planned_bound(plan.q.shape[1], plan.keys, plan.job, cfg, plan.heads)
    attend += generation_bound(made, plan, cfg) + Bound(
        dram=plan.kv_heads * weight_bound(plan, cfg),
        write=plan.kv_heads * valid_beats(plan.keys, cfg))
    steps, read, written = _attention(plan.q.shape[1], plan.keys, plan.heads, plan.job, cfg)
    predict = prediction_bound(plan, cfg)
    chunks = [chunk_beats(rows, plan.h, plan.d, plan.mode, cfg)
              for rows in dlzs.chunks(plan.kv_heads, plan.d, cfg)]
    groups = -(-plan.keys // cfg.COLS)
    beats = Bound(dram=sum(groups * codes + plan.keys * (cfg.beats8(plan.h) + table)
                           for codes, table, _ in chunks),
                  write=plan.keys * sum(out for _, _, out in chunks))
    bound = attend + beats
    # Weights and codes come in bursts, vectors one by one, everything else but O in single beats.
    read += bound.dram // 16 + 4 * made + 2 * len(chunks) * plan.keys
    written += bound.write
    tokens = made + len(chunks) * plan.keys
    waits = (steps + len(chunks) * groups) * (TILE + 2 * speed.latency) + tokens * TOKEN
    return limit_of(bound, waits, read, written, speed, predict + attend.planned, predict)
