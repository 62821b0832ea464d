# SPDX-License-Identifier: Apache-2.0
"""Least cycles of a block, of a job and of a layer: what no schedule of the stages can beat.

A job's bound is the largest of the stages' sums over its blocks, since the stages work at the
same time on different tiles. Latencies, bus latency and sorting (hidden behind prediction) are
not part of it. Source: docs/architecture.md section 10.8 for the stages before attention.
"""

from __future__ import annotations

from ..bounds import Bound, generation_bound, prediction_bound, weight_bound
from ..head import Stats
from ..layer import valid_beats
from ..tiling import Tile, block_tiles, blocks
from .config import Config
from .head import Job
from .layer import LayerPlan, LayerResult


def tile_bound(n: int, read: int, nsteps: int, job: Job, cfg: Config) -> Bound:
    """One tile of n slots of which ``read`` come from memory as K and V, in ``nsteps`` pair steps
    over all its phases."""
    return Bound(
        dlzs=0 if job.dense else -(-n // cfg.COLS) * job.d,
        sufa=-(-job.most(n) // 2) * job.d,
        steps=nsteps * job.d,
        dram=(0 if job.dense else n * cfg.beats8(job.d)) + 2 * read * cfg.beats16(job.d),
    )


def block_bounds(
    stats: Stats, job: Job, cfg: Config, plan: LayerPlan | None = None
) -> list[Bound]:
    """Bounds of every block, in order, from the Stats of a head or a job. plan: the layer's, when
    the job makes K and V (weights and valid bits are not in it, see layer_bounds)."""
    bounds, tile, phase = [], 0, 0
    for count, rows in zip(stats.tiles_per_block, stats.rows_per_block, strict=True):
        vectors = rows * cfg.beats16(job.d)
        total = Bound(dram=vectors, write=vectors)
        for t in range(tile, tile + count):
            own = slice(phase, phase + stats.phases[t])
            total += tile_bound(
                stats.slots[t], sum(stats.reused[own]), sum(stats.nsteps[own]), job, cfg
            )
            if plan is not None:
                total += generation_bound(sum(stats.generated[own]), plan, cfg)
            phase = own.stop
        bounds.append(total)
        tile += count
    return bounds


def job_bound(stats: Stats, job: Job, cfg: Config, plan: LayerPlan | None = None) -> Bound:
    """Sums over all blocks of a job; ``planned`` and ``measured`` are the largest of them."""
    return sum(block_bounds(stats, job, cfg, plan), Bound())


def layer_bounds(plan: LayerPlan, result: LayerResult, cfg: Config) -> tuple[int, Bound]:
    """(cycles of the prediction job, Bound of the attention job) of a run without VB_LOAD."""
    attention = job_bound(result.stats, plan.job, cfg, plan) + Bound(
        dram=plan.kv_heads * weight_bound(plan, cfg),
        write=plan.kv_heads * valid_beats(plan.keys, cfg),
    )
    return prediction_bound(plan, cfg), attention


def ordered_bound(plan: LayerPlan, result: LayerResult, cfg: Config) -> int:
    """Cycles of both jobs when stages overlap within a block only: the largest part of each block,
    one block after the other, and the weights of each KV head before its first block.

    The rings hold a few tiles, so a head whose first block waits for generation cannot overlap
    with the blocks after it, which wait for the formal path. layer_bounds takes it that they can.
    """
    blocks_ = block_bounds(result.stats, plan.job, cfg, plan)
    return (prediction_bound(plan, cfg) + plan.kv_heads * weight_bound(plan, cfg)
            + sum(b.measured for b in blocks_))


def published_bound(plan: LayerPlan, result: LayerResult, cfg: Config) -> int:
    """Largest of the cycles that the SOFA paper's machine needs in each of its phases: keys of one
    head at a time, S/COLS * H; H/2 for K and V of a token on ROWS x 4 multipliers whatever the
    head dimension; scores, steps and memory as in the Bound of the attention job."""
    attend = layer_bounds(plan, result, cfg)[1]
    keys = plan.kv_heads * -(-plan.keys // cfg.COLS) * plan.h
    generation = sum(result.stats.generated) * plan.h // 2
    return max(keys, generation, attend.dlzs, attend.steps, attend.dram)


def planned_bound(rows: int, keys: int, job: Job, cfg: Config, heads: int = 1) -> Bound:
    """Bound without data: every row takes its quota and every key is fetched.

    The dram part is then the most that can be needed, not the least.
    """
    total = Bound()
    for row, n in blocks(rows, cfg):
        tiles: list[Tile] = block_tiles(
            row, n, keys, job.bc, causal=job.causal, offset=job.offset, interleaved=job.interleaved
        )
        total += Bound(dram=n * cfg.beats16(job.d), write=n * cfg.beats16(job.d))
        for tile in tiles:
            total += tile_bound(tile.n, tile.n, -(-job.most(tile.n) // 2), job, cfg)
    return sum([total] * heads, Bound())
