# SPDX-License-Identifier: Apache-2.0
"""Counters of a job that do not hang on time, from what the reference models say of it."""

from __future__ import annotations

import numpy as np

from ..config import Config
from ..head import Job, KeySource, Stats, parts, turns
from ..layer import LayerPlan, LayerResult, mean_tokens
from ..rass import issue
from .images import ENTRY_BYTES, blends


def job_counters(selected, updates, kv_heads, job: Job,
                 cfg: Config) -> tuple[Stats, dict[str, int]]:
    """(Stats, counters) of an attention job on K and V in memory, for selections bool [heads, rows,
    keys] and so many references raised."""
    heads, rows, keys = selected.shape
    walk = parts(heads, kv_heads, rows, keys, job, cfg)
    empty = np.zeros((keys, 0))
    issued = issue(selected, walk, [KeySource(empty, empty) for _ in range(kv_heads)], job)
    stats = Stats(selected=int(np.count_nonzero(selected)),
                  visible=job.visible(rows, keys) * heads,
                  slots=[part.band.tiles[t].n for part in walk
                         for t, _ in turns(len(part.band.tiles), job)],
                  union=[len(turn.read) for turn in issued],
                  reused=[len(turn.read) for turn in issued])
    vector = cfg.beats16(job.d)
    stats.move("q", heads * rows, vector, cfg)
    stats.move("k8", 0 if job.dense else sum(stats.slots), cfg.beats8(job.d), cfg)
    stats.move("k", sum(stats.reused), vector, cfg)
    stats.move("v", sum(stats.reused) + mean_count(walk, job), vector, cfg)
    stats.move("o", heads * rows, vector, cfg)
    return stats, _attention(stats, walk, heads, rows, updates, job, cfg)


def mean_count(walk, job: Job) -> int:
    """Means of V that are read or made: one for each block that ends, where they blend in."""
    return sum(part.blocks(job) for part in walk) if blends(job) else 0


def _attention(stats: Stats, walk, heads, rows, updates, job: Job, cfg: Config) -> dict[str, int]:
    c, units = cfg.beats16(job.d), 2 * cfg.ROWS // cfg.QE
    # Heads that share blocks are one, with the rows of all of them.
    walked = len({part.kv for part in walk}) if job.share else heads
    together = rows * heads // walked
    sizes = [min(cfg.ROWS, together - row) for row in range(0, together, cfg.ROWS)]
    ended = walked * sum(min(units, n) for n in sizes)
    blocks = walked * len(sizes)
    return {
        "TILES": sum(part.blocks(job) * len(turns(len(part.band.tiles), job)) for part in walk),
        "BLOCKS": blocks, "SELECTED": stats.selected, "UNION": sum(stats.union),
        "GENERATED": sum(stats.generated), "REUSED": sum(stats.reused), "MAX_UPDATES": updates,
        "SUFA_BUSY": stats.selected * c,
        # Two cycles for a beat of output, one for a beat of the mean in each unit with a row.
        "SUFA_FLUSH": 2 * heads * rows * c + ended * c,
        "BEATS_D": blocks * -(-ENTRY_BYTES // cfg.BUS_BYTES), **beats(stats, cfg),
    }


def beats(stats: Stats, cfg: Config) -> dict[str, int]:
    """Counters of the streams of a Stats."""
    return {f"BEATS_{name.upper()}": n // cfg.BUS_BYTES for name, n in stats.bytes.items()}


def generate_counters(plan: LayerPlan, stats: Stats, updates, cfg: Config) -> dict[str, int]:
    """Counters of the attention job of a layer."""
    job, (heads, rows) = plan.job, plan.q.shape[:2]
    walk = parts(heads, plan.kv_heads, rows, plan.keys, job, cfg)
    counters = _attention(stats, walk, heads, rows, updates, job, cfg)
    # The model has a mean row for each block of a part, the machine for each of its query heads.
    counters["BEATS_X"] += cfg.beats16(plan.h) * (mean_count(walk, job) - mean_tokens(walk, job))
    return counters


def layer_counters(plan: LayerPlan, want: LayerResult, cfg: Config) -> dict[str, int]:
    """Counters of the chain of a layer without its descriptors."""
    counters = generate_counters(plan, want.stats, want.updates, cfg)
    for name, n in beats(want.predict, cfg).items():
        counters[name] += n
    return counters
