# SPDX-License-Identifier: Apache-2.0
"""The integers of models.head, compiled: jobs for studies on whole models.

    got = fast.run_job(q, k, v, k8, means, job, cfg)      # arguments of models.head.run_job
    got.out, got.selected, got.f                          # equal to the reference's, bit for bit

The loops need numba, an optional extra; `models.fast.available` says whether it is there. The sums
l and o fit their widths: no row uses a key twice, keys are at most KEYS_MAX, a weight is below
2**16 and |v| at most 2**15.
"""

from __future__ import annotations

import functools
import importlib.util

import numpy as np

from . import dlzs, sads, sufa
from .config import Config, check
from .head import SUM, Job, JobResult, check_arrays
from .spec.exp2 import mantissa
from .tiling import Tile, exact_rows, oldest, prefixes


@functools.cache
def available() -> bool:
    """True where numba is installed."""
    return importlib.util.find_spec("numba") is not None


def kernels():
    """models.fast_kernels; ImportError that says what to install."""
    if not available():
        raise ImportError(
            "the compiled path needs numba: scripts/setup.sh lab (models.head gives the same "
            "integers with numpy alone)"
        )
    from . import fast_kernels

    return fast_kernels


@functools.cache
def _mantissas(z_frac: int) -> np.ndarray:
    """mantissa() of every fraction, int64 [2**z_frac]."""
    return mantissa(np.arange(1 << z_frac), z_frac)


def linear_keys(k8: np.ndarray, two_term: bool, cfg: Config) -> tuple[np.ndarray, int]:
    """K8 [keys, d] as the cells see it, int16 or int32, keys along the rows: d rows of 2 * K8 with
    its fraction bits, with ``two_term`` d rows of 3 * K8 and at last zeros; and how many terms may
    be added in its width."""
    unroll = kernels().UNROLL
    d = k8.shape[1]
    x = np.zeros(((1 + two_term) * d + 1, len(k8)), np.int32)
    x[:d] = k8.T.astype(np.int32) << cfg.SC_FRAC + 1
    if two_term:
        x[d:-1] = 3 * k8.T.astype(np.int32) << cfg.SC_FRAC
    # Twice a number is shifted by one place at least, three times by two; a complement is one more
    # than the value.
    chunk = 32767 // (int(np.abs(x[:d]).max(initial=0)) // 2 + 1) // unroll * unroll
    if chunk and int(np.abs(x).max(initial=0)) < 32768:
        return x.astype(np.int16), chunk
    return x, d + unroll


def formal_settings(scale_m: int, scale_shift: int, cfg: Config) -> dict:
    """Arguments of the kernels for the formal path, by name."""
    check("scale_m", scale_m, 0, 65535)
    check("scale_shift", scale_shift, 0, 47)
    half = 16 - cfg.GUARD - cfg.O_FRAC
    return {"multiplier": scale_m, "shift": scale_shift, "drop": cfg.S_DROP, "guard": cfg.GUARD,
            "z_frac": cfg.Z_FRAC, "half": half, "mantissa": _mantissas(cfg.Z_FRAC)}


def tile_arrays(tiles: list[Tile]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(k0, kstep, n) of every tile, as the kernels take them."""
    return tuple(np.array([getattr(t, name) for t in tiles]) for name in ("k0", "kstep", "n"))


def run_job(
    q: np.ndarray, k: np.ndarray, v: np.ndarray, k8: np.ndarray | None, means: np.ndarray,
    job: Job, cfg: Config,
) -> JobResult:
    """models.head.run_job; the result's list of heads stays empty."""
    check_arrays(q, k, v, k8, means, job.checked(cfg), cfg)
    kernel = kernels().head_of_bands
    heads, rows, d = q.shape
    group, keys = heads // len(k), k.shape[1]
    split = job.bands(rows, keys, cfg)
    tile_k0, tile_step, tile_n = tile_arrays([tile for band in split for tile in band.tiles])
    band_rows = np.array([band.row for band in split] + [rows])
    band_tiles = np.cumsum([0] + [len(band.tiles) for band in split])
    parts = [block for band in split for block in band.blocks]
    block_of = np.repeat(np.arange(len(parts)), [block.n for block in parts])
    limits = prefixes(rows, keys, job.causal, job.offset)
    lows = oldest(job.offset + np.arange(rows), job.window)
    everything = exact_rows(0, rows, job.causal, job.offset)

    out, f = np.empty(q.shape, np.int16), np.empty((heads, rows), np.int64)
    g = np.empty_like(f)
    selected, coarse = np.zeros((2, heads, rows, keys), bool)
    x, chunk = np.zeros((1, 1), np.int16), 0
    updates = rises = 0
    q, k, v = (np.ascontiguousarray(a) for a in (q, k, v))
    for h, entry in enumerate(job.table):
        kv = h // group
        codes = np.zeros((1, 1), np.int64)
        if not job.dense:
            codes = dlzs.encode(q[h], job.snap)
            if h % group == 0:
                x, chunk = linear_keys(k8[kv], job.snap == dlzs.TWO_TERM, cfg)
        has_tail = entry.coarse is not None
        taus, lower = (
            np.array([sads.block_threshold(least, job.fall, block.length, cfg)
                      for block in parts])[block_of]
            for least in (entry.tau, entry.coarse if has_tail else entry.tau))
        sums = sads.start(rows)
        state = sufa.start(rows, d)
        tail = sufa.start_tail(rows, d)
        new, shifted = kernel(
            q=q[h], k=k[kv], v=v[kv], codes=codes, x=x, chunk=chunk, limits=limits, lows=lows,
            sinks=job.sinks, band_rows=band_rows, band_tiles=band_tiles, tile_k0=tile_k0,
            tile_step=tile_step, tile_n=tile_n, select=job.select, octave=entry.octave,
            top=1 << (cfg.LEVEL_W - 1), taus=taus, everything=everything, sum_frac=cfg.SUM_FRAC,
            log_frac=cfg.LOG_FRAC, ratio_frac=cfg.RATIO_FRAC, quota=job.quota,
            radius=sads.reach(entry.radius, cfg),
            **formal_settings(entry.scale_m, entry.scale_shift, cfg), o=state.o, l=state.l,
            total=sums.total, kept=sums.kept, selected=selected[h], has_tail=has_tail,
            coarse_taus=lower, cv_frac=cfg.CV_FRAC,
            v_cut=sufa.cut(v[kv], cfg.VC_W) if has_tail else v[kv], tail=sums.coarse, w=tail.w,
            cv=tail.v, coarse=coarse[h])
        updates, rises = updates + new, rises + shifted
        whole = everything if job.select == SUM and job.blend else np.ones(rows, bool)
        f[h], g[h] = sads.shares(sums, whole, cfg)
        for block in parts:
            part = slice(block.row, block.row + block.n)
            done = sufa.State(state.m[part], state.l[part], state.o[part], state.l[part] > 0)
            blend = f[h, part], means[kv, block.row // cfg.ROWS], cfg
            if has_tail:
                sums_of = sufa.Tail(tail.peak[part], tail.w[part], tail.v[part])
                out[h, part] = sufa.finish(done, *blend, tail=sums_of, g=g[h, part])
            else:
                out[h, part] = sufa.finish(done, *blend)
    return JobResult(out, selected, coarse, f, g, updates, rises)
