# SPDX-License-Identifier: Apache-2.0
"""How many cycles a job may take before it counts as hung, from the model's bound of it.

The bound is that of a job of which no data are known: every row takes every key of its tiles, every
key is read, and in a layer made. A limit lets the parts of the bound follow each other instead of
overlap, on memory as slow as it is said to be, and adds for each block, tile and token what
the stages wait for. It is wide, 3 to 30 times what a job takes, so that only a job that has stopped
reaches it.
"""

from __future__ import annotations

from dataclasses import dataclass

from .. import dlzs
from ..bounds import Bound, generation_bound, prediction_bound, weight_bound
from ..config import Config
from ..head import Job, parts, turns
from ..layer import LayerPlan, chunk_beats, mean_tokens, valid_beats

SLACK = 3
"""How many times the work and the traffic may take."""
OPEN = 64
"""Bursts whose latencies overlap at least, where the memory takes as many."""
TILE, TOKEN, START = 150, 50, 5000
"""Cycles beside work and traffic: for a tile or a block, for a token whose keys are predicted or
made, for a job."""


@dataclass(frozen=True)
class Speed:
    """How slow a memory is.

    latency     longest cycles of a read and of a write, together
    ar_stall, aw_stall, w_stall   share of the cycles in which it takes no address, no data
    r_gap, b_gap                  share of the cycles in which it gives no data, no answer
    max_reads, max_writes         bursts that it takes before it answers
    """

    latency: int = 120
    ar_stall: float = 0.0
    aw_stall: float = 0.0
    w_stall: float = 0.0
    r_gap: float = 0.0
    b_gap: float = 0.0
    max_reads: int = OPEN
    max_writes: int = OPEN

    def cycles(self, beats, bursts, write):
        """Cycles of so much traffic in one direction, in bursts that overlap OPEN at a time."""
        request = 1 / (1 - (self.aw_stall if write else self.ar_stall))
        beat = 1 / (1 - (self.w_stall if write else self.r_gap))
        answer = 1 / (1 - self.b_gap) if write else 0.0
        together = min(OPEN, self.max_writes if write else self.max_reads)
        return beats * beat + bursts * (request + answer + self.latency / together)


@dataclass(frozen=True)
class Limit:
    """``cycles`` a job may take; ``bound``: the model's least, of the same work."""

    cycles: int
    bound: int

    def __add__(self, other: Limit) -> Limit:
        """That of two jobs, one after the other."""
        return Limit(self.cycles + other.cycles, self.bound + other.bound)

    def __str__(self):
        return f"{self.cycles} cycles, the limit of a job with a bound of {self.bound}"


def limit_of(bound: Bound, waits, read, written, speed: Speed, least, before=0):
    """Limit of work and traffic one after the other; waits: cycles beside them, before: cycles of a
    job before."""
    work = bound.dlzs + bound.sufa + bound.kvgen + before
    traffic = (speed.cycles(bound.dram, read, False) + speed.cycles(bound.write, written, True))
    waits += START
    return Limit(int(SLACK * (work + traffic) + waits), least)


def attention_bound(heads, kv_heads, rows, keys, job: Job, cfg: Config) -> tuple[Bound, int, int]:
    """(bound when every row takes every key of its tiles and every key is read, turns and blocks,
    vectors read)."""
    c, units = cfg.beats16(job.d), 2 * cfg.ROWS // cfg.QE
    dlzs_cycles = work = beats = steps = vectors = 0
    walk = parts(heads, kv_heads, rows, keys, job, cfg)
    for part in walk:
        blocks, own = len(part.heads) * len(part.band.blocks), len(part.heads) * part.band.n
        for t, selects in turns(len(part.band.tiles), job):
            n = part.band.tiles[t].n
            steps += blocks
            if not job.dense:
                dlzs_cycles += blocks * -(-n // cfg.COLS) * job.d
                beats += n * cfg.beats8(job.d)
                vectors += n
            if selects:
                # A key takes a unit some cycles whatever its rows.
                work += n * (own * c // units + 8 * blocks)
                beats += 2 * n * c
                vectors += 2 * n
        steps += blocks
    vectors += heads * rows + mean_tokens(walk, job)
    beats += (heads * rows + mean_tokens(walk, job)) * c
    # The flush of a row takes a few cycles for each beat.
    work += 4 * heads * rows * c
    return (Bound(dlzs=dlzs_cycles, sufa=work, dram=beats, write=heads * rows * c), steps,
            vectors)


def job_limit(heads, kv_heads, rows, keys, job: Job, cfg: Config, speed: Speed) -> Limit:
    """Limit of an attention job on memory of this speed."""
    bound, steps, vectors = attention_bound(heads, kv_heads, rows, keys, job, cfg)
    return limit_of(bound, steps * TILE + vectors * (4 + speed.latency // 16), vectors,
                    heads * rows, speed, max(bound.dlzs, bound.write))


def layer_limit(plan: LayerPlan, cfg: Config, speed: Speed) -> Limit:
    """Limit of the chain of a layer on memory of this speed."""
    job, rows = plan.job, plan.q.shape[1]
    bound, steps, vectors = attention_bound(plan.heads, plan.kv_heads, rows, plan.keys, job, cfg)
    tokens = plan.kv_heads * plan.keys + mean_tokens(
        parts(plan.heads, plan.kv_heads, rows, plan.keys, job, cfg), job)
    bound += generation_bound(tokens, plan, cfg) + Bound(
        dram=plan.kv_heads * weight_bound(plan, cfg),
        write=plan.kv_heads * valid_beats(plan.keys, cfg))
    groups, predict = -(-plan.keys // cfg.COLS), prediction_bound(plan, cfg)
    chunks = dlzs.chunks(plan.kv_heads, plan.d, cfg)
    for rows_ in chunks:
        codes, table, out = chunk_beats(rows_, plan.h, plan.d, plan.mode, cfg)
        bound += Bound(dram=groups * codes + plan.keys * (cfg.beats8(plan.h) + table),
                       write=plan.keys * out)
    read = vectors + bound.dram // 16 + 4 * tokens + 2 * len(chunks) * plan.keys
    waits = (steps + groups * len(chunks)) * (TILE + 2 * speed.latency) + (
        tokens + len(chunks) * plan.keys) * (TOKEN + speed.latency)
    return limit_of(bound, waits, read, bound.write, speed, predict + bound.dlzs, predict)
