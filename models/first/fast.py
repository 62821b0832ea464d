# SPDX-License-Identifier: Apache-2.0
"""The reference's integers, compiled: whole heads, jobs and layers for studies on whole models.

    got = fast.run_job(q, k, v, k8, job, cfg)      # arguments of models.first.head.run_job
    got.out, got.selected, got.stats               # equal to the reference's, bit for bit

Scores, lists, phases and the formal path of models.dlzs and of sads, rass, sufa here, row by row
instead of step by step. The loops need numba, an optional extra. Intermediates are not kept:
models.first.head has them. ``.venv/bin/python -m models.first.fast`` measures both paths on a
captured head, alone and repeated to twice its length.

The reference checks in every tile that l and o fit their widths. They cannot leave them: no row
uses a key twice, keys are at most KEYS_MAX, a weight is below 2**16, and |v| at most 2**15.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass

import numpy as np

from .. import dlzs, sads, workloads
from ..config import ConfigError, clog2
from ..fast import formal_settings, kernels, linear_keys, tile_arrays
from ..head import KeySource, Stats, check_shapes
from ..layer import count_generation, predict_layer, project_layer
from ..sufa import State
from ..tiling import Tile, block_tiles, blocks, prefixes
from . import head, layer, plan, sufa
from .config import Config
from .head import Job


@dataclass
class FastResult:
    """All heads of a job.

    out        int16 [heads, rows, d]
    selected   bool [heads, rows, keys], pairs used
    stats      counts, as in JobResult
    row_steps  pair steps that rows used, the sum over rows (a lockstep machine pays
               stats.nsteps for every row)
    """

    out: np.ndarray
    selected: np.ndarray
    stats: Stats
    row_steps: int


@dataclass
class FastLayer:
    """As models.layer.LayerResult, with selected bool [heads, rows, keys] in place of heads."""

    k8: np.ndarray
    k: np.ndarray
    v: np.ndarray
    valid: np.ndarray
    order: list[np.ndarray]
    out: np.ndarray
    selected: np.ndarray
    predict: Stats
    stats: Stats


def _finish(o: np.ndarray, l: np.ndarray, cfg: Config) -> np.ndarray:
    """sufa.finish of sums o int64 [R, d] and l int64 [R]."""
    return sufa.finish(State(np.zeros_like(l), l, o, l > 0), cfg)


@dataclass
class _Shape:
    """Tiles of a head, the same for all heads of a job."""

    tiles: list[Tile]
    block_rows: np.ndarray
    block_tiles: np.ndarray
    limits: np.ndarray


def _tiles(rows: int, keys: int, job: Job, cfg: Config) -> _Shape:
    """All tiles of a head and the keys that each row may see."""
    tiles, row_edges, tile_edges = [], [0], [0]
    for row, n in blocks(rows, cfg):
        tiles += block_tiles(row, n, keys, job.bc, causal=job.causal, offset=job.offset,
                             interleaved=job.interleaved)
        row_edges.append(row + n)
        tile_edges.append(len(tiles))
    limits = prefixes(rows, keys, job.causal, job.offset)
    return _Shape(tiles, np.array(row_edges), np.array(tile_edges), limits)


class _Heads:
    """Runs the heads of one job; collects their Stats."""

    def __init__(self, rows: int, keys: int, job: Job, cfg: Config):
        self.job, self.cfg = job, cfg
        self.shape = _tiles(rows, keys, job, cfg)
        self.tile_k0, self.tile_step, self.tile_n = tile_arrays(self.shape.tiles)
        self.stats, self.row_steps = Stats(), 0

    def run(self, q, source: KeySource, linear, selected) -> tuple[np.ndarray, list[np.ndarray]]:
        """One head: (out, keys made, in order); selected bool [rows, keys] is written. linear:
        what linear_keys gives, None when dense."""
        job, cfg, shape = self.job, self.cfg, self.shape
        capacity = 0 if cfg.KV_SLOTS == cfg.BC_MAX else cfg.KV_SLOTS
        tiles, width = len(shape.tiles), int(self.tile_n.max())
        most = -(-width // capacity) if capacity else 1
        o, l = np.empty(q.shape, np.int64), np.empty(len(q), np.int64)
        updates = np.zeros(len(shape.block_rows) - 1, np.int64)
        pairs = np.zeros((len(updates), 2), np.int64)
        union, phases = np.zeros(tiles, np.int64), np.zeros(tiles, np.int64)
        nsteps, sizes = np.zeros((tiles, most), np.int32), np.zeros((tiles, most), np.int32)
        loaded = np.zeros((tiles, width), np.int16)
        x, chunk = linear or (np.zeros((1, 1), np.int16), 0)
        codes = np.zeros((1, 1), np.int64) if job.dense else dlzs.encode(q, job.snap)
        kernels().head(
            q=np.ascontiguousarray(q), k=source.k, v=source.v, codes=codes, x=x, chunk=chunk,
            limits=shape.limits, block_rows=shape.block_rows, block_tiles=shape.block_tiles,
            tile_k0=self.tile_k0, tile_step=self.tile_step, tile_n=self.tile_n, dense=job.dense,
            quota=job.quota, radius=sads.reach(job.radius, cfg), capacity=capacity,
            level_shift=max(0, clog2(cfg.ROWS) - 4),
            **formal_settings(job.scale_m, job.scale_shift, cfg), o=o, l=l, selected=selected,
            updates=updates, pairs=pairs, union=union, phases=phases, nsteps=nsteps, loaded=loaded,
            sizes=sizes)
        used = np.arange(most) < phases[:, None]
        loads = sizes[used]
        fresh, made = np.zeros(len(loads), np.int64), []
        if not source.claimed.all():
            edges = np.concatenate([[0], np.cumsum(loads)])
            tile = np.repeat(np.arange(tiles), union)
            keys = loaded[np.arange(width) < union[:, None]] * self.tile_step[tile]
            keys += self.tile_k0[tile]
            for i in range(len(loads)):
                new, _ = source.claim(keys[edges[i] : edges[i + 1]])
                fresh[i] = len(new)
                made.append(new)
        self._count(q, updates, pairs, union, phases, nsteps[used], fresh, loads - fresh)
        return _finish(o, l, cfg), made

    def _count(self, q, updates, pairs, union, phases, nsteps, fresh, reused) -> None:
        """Add a head to the Stats, as models.head.run_block does block by block."""
        job, cfg, shape = self.job, self.cfg, self.shape
        stats = Stats(
            selected=int(pairs[:, 0].sum()), visible=int(shape.limits.sum()),
            slots=self.tile_n.tolist(), union=union.tolist(), phases=phases.tolist(),
            nsteps=nsteps.tolist(), generated=fresh.tolist(), reused=reused.tolist(),
            tiles_per_block=np.diff(shape.block_tiles).tolist(),
            rows_per_block=np.diff(shape.block_rows).tolist(), max_updates=int(updates.sum()))
        d = q.shape[1]
        stats.move("q", len(q), cfg.beats16(d), cfg)
        stats.move("k8", 0 if job.dense else int(self.tile_n.sum()), cfg.beats8(d), cfg)
        stats.move("k", int(reused.sum()), cfg.beats16(d), cfg)
        stats.move("v", int(reused.sum()), cfg.beats16(d), cfg)
        stats.move("o", len(q), cfg.beats16(d), cfg)
        self.stats += stats
        self.row_steps += int(pairs[:, 1].sum())

    def run_all(self, q, sources: list[KeySource], k8) -> tuple[np.ndarray, np.ndarray, list]:
        """All heads: out, selected, and for every KV head the keys that were made, in order."""
        selected = np.zeros((*q.shape[:2], len(sources[0].k)), bool)
        out, made = [], [[] for _ in sources]
        group = len(q) // len(sources)
        for h in range(len(q)):
            kv = h // group
            if h % group == 0:
                linear = None
                if not self.job.dense:
                    linear = linear_keys(k8[kv], self.job.snap == 2, self.cfg)
            done, new = self.run(q[h], sources[kv], linear, selected[h])
            out.append(done)
            made[kv] += new
        return np.stack(out), selected, made


def run_job(
    q: np.ndarray, k: np.ndarray, v: np.ndarray, k8: np.ndarray | None, job: Job, cfg: Config
) -> FastResult:
    """models.head.run_job: q int16 [heads, rows, d]; k, v int16, k8 int8 [kv_heads, keys, d]."""
    check_shapes(q, k, v, k8, job.checked(cfg), cfg, 1)
    if not len(k) or len(q) % len(k):
        raise ConfigError(f"heads = {len(q)}, legal: multiple of kv_heads = {len(k)}")
    heads = _Heads(q.shape[1], k.shape[1], job, cfg)
    sources = [KeySource(*map(np.ascontiguousarray, pair)) for pair in zip(k, v, strict=True)]
    out, selected, _ = heads.run_all(q, sources, k8)
    return FastResult(out, selected, heads.stats, heads.row_steps)


def run_layer(plan: layer.LayerPlan, cfg: Config, valid: np.ndarray | None = None) -> FastLayer:
    """models.layer.run_layer: both jobs; valid bool [kv_heads, keys]: K and V that exist."""
    k8, predict = predict_layer(plan, cfg)
    k, v = project_layer(plan)
    load = valid is not None
    valid = np.array(valid, bool) if load else np.zeros(k.shape[:2], bool)
    sources = [KeySource(*parts) for parts in zip(k, v, valid, strict=True)]
    heads = _Heads(plan.q.shape[1], plan.keys, plan.job, cfg)
    out, selected, made = heads.run_all(plan.q, sources, k8)
    count_generation(heads.stats, plan, load, cfg)
    none = np.empty(0, np.int64)
    order = [np.concatenate([none, *new]) for new in made]
    return FastLayer(k8=k8, k=k, v=v, valid=valid, order=order, out=out, selected=selected,
                     predict=predict, stats=heads.stats)


def main(arguments: list[str]) -> int:
    """Print the time of both paths on a captured head, and whether they agree; 1 if not."""
    case = workloads.load_case(arguments[0] if arguments else "smollm2_novel_s1024_l05")
    cfg = Config.from_name("paper")
    agree = True
    for times in (1, 2):
        q, k, v = (np.tile(a[:1], (1, times, 1)) for a in (case.q, case.k, case.v))
        numbers, job = plan.plan(q, k, v, cfg, causal=case.causal, quota=16, radius_nats=6.0)
        z = (numbers.q, numbers.k, numbers.v, numbers.k8, job, cfg)
        run_job(*z)
        seconds, results = [], []
        for path, repeats in ((head.run_job, 1), (run_job, 10)):
            start = time.process_time()
            for _ in range(repeats):
                result = path(*z)
            seconds.append((time.process_time() - start) / repeats)
            results.append(result)
        want, got = results
        same = bool((want.out == got.out).all() and (want.heads[0].selected == got.selected).all()
                    and want.stats == got.stats)
        agree &= same
        print(f"S = {q.shape[1]}, d = {case.d}, keep {got.stats.keep:.3f}, ms of a core per head: "
              f"reference {1e3 * seconds[0]:.1f}, compiled {1e3 * seconds[1]:.2f}; "
              f"{'equal' if same else 'DIFFERENT'} outputs, selections and counts")
    return 0 if agree else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
