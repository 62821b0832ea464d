# SPDX-License-Identifier: Apache-2.0
"""Whole heads and jobs: the stage models put together in the order of the machine.

Source: docs/models.md, the first machine; docs/architecture.md sections 3, 4 and 10.7.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from .. import dlzs
from ..config import ConfigError, check
from ..head import KeySource, Stats, check_shapes
from ..sads import Selection, select_tile
from ..sufa import start
from ..tiling import Tile, block_tiles, blocks
from . import rass, sads, sufa
from .config import Config


@dataclass(frozen=True)
class Job:
    """Run-time settings; the names are those of the configuration ports (cfg_*).

    quota   keys a row may take from a tile, 1..BC_MAX (unused when dense)
    radius  register value, 2**SC_W - 1 never clips (unused when dense); None means that
    offset  position of query row 0 among the keys (causal)
    """

    d: int
    scale_m: int
    scale_shift: int
    bc: int
    quota: int = 1
    radius: int | None = None
    snap: int = dlzs.FLOOR
    dense: bool = False
    causal: bool = False
    offset: int = 0
    interleaved: bool = True

    def checked(self, cfg: Config) -> Job:
        """This job when every field is legal for the configuration, else ConfigError."""
        cfg.check_d(self.d)
        cfg.check_bc(self.bc)
        cfg.check_snap(self.snap)
        check("scale_m", self.scale_m, 0, 65535)
        check("scale_shift", self.scale_shift, 0, 47)
        check("quota", self.quota, 1, cfg.BC_MAX)
        if self.radius is not None:
            check("radius", self.radius, 0, cfg.RADIUS_INF)
        check("offset", self.offset, 0, 65535)
        return self

    def most(self, n: int) -> int:
        """Keys that a row may take from a tile of n."""
        return n if self.dense else min(self.quota, n)


@dataclass
class BlockResult:
    """One block: what each stage hands on. Lists have one entry per tile.

    out       int16 [n, d]
    tiles     the tiles; lists: the Selections; scores: predicted scores [n, tile.n], empty when
              dense; trace: intermediates of the formal path, one step after the other over all
              phases, when asked for
    phases    the schedule: a list of Phases per tile; made: keys (not slots) generated in each of
              these phases, in buffer order, int64 arrays
    """

    row: int
    out: np.ndarray
    tiles: list[Tile]
    lists: list[Selection]
    scores: list[np.ndarray]
    stats: Stats
    trace: sufa.Trace | None = None
    phases: list[list[rass.Phase]] = field(default_factory=list)
    made: list[list[np.ndarray]] = field(default_factory=list)


@dataclass
class HeadResult:
    """One head. out int16 [rows, d]; selected bool [rows, keys]: pairs used."""

    out: np.ndarray
    selected: np.ndarray
    stats: Stats
    blocks: list[BlockResult]

    def keys_of_row(self, row: int) -> np.ndarray:
        """Sorted indices of the keys that a row used."""
        return np.flatnonzero(self.selected[row])


@dataclass
class JobResult:
    """All heads of a job. out int16 [heads, rows, d]."""

    out: np.ndarray
    stats: Stats
    heads: list[HeadResult]


def run_block(
    q: np.ndarray,
    source: KeySource,
    k8: np.ndarray | None,
    row: int,
    job: Job,
    cfg: Config,
    trace: bool = False,
) -> BlockResult:
    """One block: q int16 [n, d] are the query rows row .. row+n-1 of the head; source: the KV
    head's K and V; k8 int8 [keys, d] its keys for the prediction (may be None when dense)."""
    n, d = q.shape
    tiles = block_tiles(
        row, n, len(source.k), job.bc, causal=job.causal, offset=job.offset,
        interleaved=job.interleaved,
    )
    codes = None if job.dense else dlzs.encode(q, job.snap)
    state, record = start(n, d), sufa.Trace() if trace else None
    stats = Stats(tiles_per_block=[len(tiles)], rows_per_block=[n])
    result = BlockResult(row, np.empty(0), tiles, [], [], stats, record)
    run_max = None
    for tile in tiles:
        keys, allowed = tile.keys, tile.allowed()
        if job.dense:
            chosen = sads.dense_tile(allowed)
        else:
            score = dlzs.scores(codes, k8[keys], cfg)
            result.scores.append(score)
            chosen, run_max = select_tile(score, allowed, run_max, job.quota, job.radius,
                                               cfg)
        phases, made = rass.schedule(chosen, cfg), []
        for phase in phases:
            new, old = source.claim(keys[phase.loaded])
            made.append(new)
            # To the formal path a phase is a tile.
            used = keys[phase.keys]
            sufa.tile(state=state, q=q, k=source.k[used], v=source.v[used], lists=phase.lists,
                      scale_m=job.scale_m, scale_shift=job.scale_shift, cfg=cfg, trace=record)
            stats.nsteps.append(phase.nsteps)
            stats.generated.append(len(new))
            stats.reused.append(len(old))
        result.lists.append(chosen)
        result.phases.append(phases)
        result.made.append(made)
        stats.selected += chosen.nsel
        stats.visible += int(allowed.sum())
        stats.slots.append(tile.n)
        stats.union.append(int(chosen.union.sum()))
        stats.phases.append(len(phases))
    stats.max_updates = state.updates
    stats.move("q", n, cfg.beats16(d), cfg)
    stats.move("k8", 0 if job.dense else sum(stats.slots), cfg.beats8(d), cfg)
    stats.move("k", sum(stats.reused), cfg.beats16(d), cfg)
    stats.move("v", sum(stats.reused), cfg.beats16(d), cfg)
    stats.move("o", n, cfg.beats16(d), cfg)
    result.out = sufa.finish(state, cfg, record)
    return result


def run_head(
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    k8: np.ndarray | None,
    job: Job,
    cfg: Config,
    trace: bool = False,
) -> HeadResult:
    """One head: q int16 [rows, d], k and v int16 and k8 int8 [keys, d].

    trace: keep the intermediates of the formal path in every block.
    """
    check_shapes(q, k, v, k8, job.checked(cfg), cfg, 0)
    return head_of_blocks(q, KeySource(k, v), k8, job, cfg, trace)


def head_of_blocks(
    q: np.ndarray,
    source: KeySource,
    k8: np.ndarray | None,
    job: Job,
    cfg: Config,
    trace: bool = False,
) -> HeadResult:
    """run_head with K and V from a source that may have to make them, arguments unchecked."""
    done = [run_block(q[r : r + n], source, k8, r, job, cfg, trace) for r, n in blocks(len(q), cfg)]
    selected = np.zeros((len(q), len(source.k)), bool)
    stats = Stats()
    for block in done:
        stats += block.stats
        for tile, chosen in zip(block.tiles, block.lists, strict=True):
            selected[block.row : block.row + tile.rows, tile.keys] = chosen.mask
    return HeadResult(np.concatenate([b.out for b in done]), selected, stats, done)


def run_job(
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    k8: np.ndarray | None,
    job: Job,
    cfg: Config,
    trace: bool = False,
) -> JobResult:
    """All heads: q [heads, rows, d], k, v, k8 [kv_heads, keys, d].

    Query head h reads KV head h // (heads/kv_heads); heads must be a multiple of kv_heads.
    """
    check_shapes(q, k, v, k8, job.checked(cfg), cfg, 1)
    if not len(k) or len(q) % len(k):
        raise ConfigError(f"heads = {len(q)}, legal: multiple of kv_heads = {len(k)}")
    group = len(q) // len(k)
    heads = [
        run_head(q[h], k[h // group], v[h // group], None if k8 is None else k8[h // group], job,
                 cfg, trace)
        for h in range(len(q))
    ]
    stats = Stats()
    for head in heads:
        stats += head.stats
    return JobResult(np.stack([head.out for head in heads]), stats, heads)
