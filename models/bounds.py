# SPDX-License-Identifier: Apache-2.0
"""Least cycles of a block and of a job: what no schedule of the stages can beat.

A job's bound is the largest of the stages' sums over its blocks, since the stages work at the
same time on different tiles. Latencies, bus latency and sorting (hidden behind prediction) are
not part of it.
"""

from __future__ import annotations

from dataclasses import dataclass

from models.config import Config
from models.head import Job, Stats
from models.tiling import Tile, block_tiles, blocks


@dataclass(frozen=True)
class Bound:
    """Cycles of each resource; Bounds add up with ``+``.

    dlzs   prediction, ceil(n/COLS) * d for each tile
    sufa   formal path, ceil(min(quota, n)/2) * d for each tile (dense: ceil(n/2) * d)
    steps  formal path with the pair steps that a run really took, nsteps * d
    dram   beats read: Q, K8 of every slot, K and V of the union
    """

    dlzs: int = 0
    sufa: int = 0
    steps: int = 0
    dram: int = 0

    def __add__(self, other: Bound) -> Bound:
        return Bound(*(a + b for a, b in zip(self.parts(), other.parts(), strict=True)))

    def parts(self) -> tuple[int, int, int, int]:
        """(dlzs, sufa, steps, dram)."""
        return self.dlzs, self.sufa, self.steps, self.dram

    @property
    def planned(self) -> int:
        """Cycles when every row uses its whole quota: the largest of dlzs, sufa and dram."""
        return max(self.dlzs, self.sufa, self.dram)

    @property
    def measured(self) -> int:
        """Cycles with the steps really taken: the largest of dlzs, steps and dram."""
        return max(self.dlzs, self.steps, self.dram)


def tile_bound(n: int, union: int, nsteps: int, job: Job, cfg: Config) -> Bound:
    """One tile of n slots of which ``union`` are used, in ``nsteps`` pair steps."""
    taken = n if job.dense else min(job.quota, n)
    return Bound(
        dlzs=0 if job.dense else -(-n // cfg.COLS) * job.d,
        sufa=-(-taken // 2) * job.d,
        steps=nsteps * job.d,
        dram=(0 if job.dense else n * cfg.beats8(job.d)) + 2 * union * cfg.beats16(job.d),
    )


def block_bounds(stats: Stats, job: Job, cfg: Config) -> list[Bound]:
    """Bounds of every block, in order, from the Stats of a head or a job."""
    bounds, at = [], 0
    for count, rows in zip(stats.tiles_per_block, stats.rows_per_block, strict=True):
        total = Bound(dram=rows * cfg.beats16(job.d))
        for t in range(at, at + count):
            total += tile_bound(stats.slots[t], stats.union[t], stats.nsteps[t], job, cfg)
        bounds.append(total)
        at += count
    return bounds


def job_bound(stats: Stats, job: Job, cfg: Config) -> Bound:
    """Sums over all blocks of a job; ``planned`` and ``measured`` are the largest of them."""
    return sum(block_bounds(stats, job, cfg), Bound())


def planned_bound(rows: int, keys: int, job: Job, cfg: Config, heads: int = 1) -> Bound:
    """Bound without data: every row takes its quota and every key is fetched.

    The dram part is then the most that can be needed, not the least.
    """
    total = Bound()
    for row, n in blocks(rows, cfg):
        tiles: list[Tile] = block_tiles(
            row, n, keys, job.bc, causal=job.causal, offset=job.offset, interleaved=job.interleaved
        )
        total += Bound(dram=n * cfg.beats16(job.d))
        for tile in tiles:
            taken = tile.n if job.dense else min(job.quota, tile.n)
            total += tile_bound(tile.n, tile.n, -(-taken // 2), job, cfg)
    return sum([total] * heads, Bound())
