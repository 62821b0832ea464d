# SPDX-License-Identifier: Apache-2.0
"""A whole layer from X: its integers and registers, and the reference result of its two jobs.

    plan = plan_layer(x, wk, wv, q, cfg, rope_theta=1e4, causal=True)     # float arrays
    result = run_layer(plan, cfg)                                         # bit-exact

The first job predicts K8, as that of models.layer does, with codes and registers for each KV head.
The second selects by K8, makes K and V of a key when the first band wants it and reads them for the
bands after; the mean of V that stands in for the rest is V of a mean row of X, so that V of a key
that no row takes is never made. Biases are handled as in models.layer; that of V shifts what
stands in too, since f and 1 - f sum to 1. Source: docs/second.md, From X.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models import dlzs, kvgen, layer, rope
from models.config import ConfigError
from models.head import KeySource, Stats
from models.quantise import quantise
from models.second import head, sufa
from models.second.config import Config
from models.second.head import Part, means_of, parts, turns
from models.second.plan import group_peaks, job_of, octaves_of


@dataclass(frozen=True)
class LayerPlan(layer.LayerPlan):
    """models.layer.LayerPlan, in which what belongs to a head is an array: sq [heads]; kp_exp,
    kp_bias, kp_shift, kg_shift_k, kg_shift_v, sk8, sk, sv [kv_heads]. job: of models.second.head.

    xm   int16 [blocks, H], mean row of x for each block of query rows, in x's scale
    """

    xm: np.ndarray

    @property
    def out_scale(self) -> np.ndarray:
        """Scale of the output of each query head, [heads, 1, 1]."""
        return np.repeat(self.sv, self.heads // self.kv_heads)[:, None, None]


@dataclass(frozen=True)
class Turn:
    """Tile ``tile`` of a part's band, as its keys are issued: those made and those read, keys (not
    slots) in slot order, int64."""

    part: Part
    tile: int
    made: np.ndarray
    read: np.ndarray


@dataclass
class LayerResult(layer.LayerResult):
    """models.layer.LayerResult: heads are those of models.second.head, none of the compiled path;
    of stats, slots has an entry for each tile scored, union, generated and reused one for each
    Turn, and nothing is said of phases and steps.

    means    int16 [kv_heads, blocks, d]; selected bool [heads, rows, keys]; f int64 [heads, rows]
    turns    every tile of every part that is selected from, in the order of issue
    updates  references raised
    """

    means: np.ndarray
    selected: np.ndarray
    f: np.ndarray
    turns: list[Turn]
    updates: int


# ---- planning ---------------------------------------------------------------------------------


def plan_layer(
    x: np.ndarray, wk: np.ndarray, wv: np.ndarray, q: np.ndarray, cfg: Config, *,
    rope_theta: float = 0.0, mode: int | None = None, q_peaks: tuple[float, ...] | None = None,
    snap: int = dlzs.FLOOR, **settings,
) -> LayerPlan:
    """Integers and registers for float x [keys, H], wk and wv [kv_heads, H, d], q [heads, rows, d].

    Args:
        rope_theta, mode: as in models.layer.plan_layer; q comes rotated.
        q_peaks: values of each query head that become the largest integers, larger ones saturate;
            default: the data's.
        snap, settings: those of models.second.plan.job_of; no coarse keys, whose V would have to
            be made.
    """
    if settings.get("coarse") is not None:
        raise ConfigError(f"coarse = {settings['coarse']}, legal: None where V is made from X")
    x, wk, wv, q = (np.asarray(a, np.float64) for a in (x, wk, wv, q))
    if mode is None:
        mode = rope.INTERLEAVED if rope_theta else rope.OFF
    layer.check_layer(x, wk, wv, q, rope_theta, mode, cfg)
    heads, rows, d = q.shape
    rt = rope.table(len(x), d, rope_theta) if mode else None
    predicted = layer.plan_heads_keys(x, wk, cfg, mode, rt)
    smooth = layer.smooth_heads(x, np.concatenate([wk, wv]))
    x16, sx = quantise(x * smooth, 16, "x")
    wk16, k, shift_k, sk = _projected(x16, sx, wk / smooth[:, None], mode, rt)
    wv16, _, shift_v, sv = _projected(x16, sx, wv / smooth[:, None], rope.OFF, None)
    sk8 = np.array([one.sk8 for one in predicted])
    if q_peaks is None:
        q_peaks = tuple(np.abs(q).max(axis=(1, 2)))
    elif len(q_peaks) != heads:
        raise ConfigError(f"peaks of q has {len(q_peaks)} entries, legal: one for each of {heads} "
                          f"heads")
    if settings.get("share"):
        q_peaks = group_peaks(q_peaks, heads // len(wk))
    octaves, q_peaks = octaves_of(q_peaks, sk8, d, snap, cfg)
    both = [quantise(q[h], 16, f"query head {h}: q", peak) for h, peak in enumerate(q_peaks)]
    q16, sq = np.stack([part[0] for part in both]), np.array([part[1] for part in both])
    job = job_of(q16, k, sq, sk, sk8, octaves, cfg, snap=snap, **settings)
    return LayerPlan(
        q=q16, x8=predicted[0].x8, x=x16, codes=np.concatenate([one.codes for one in predicted]),
        wk=wk16, wv=wv16, rt=rt, mode=mode, kg_shift_k=shift_k, kg_shift_v=shift_v, job=job,
        smooth8=predicted[0].smooth8, smooth=smooth, sq=sq, sx8=predicted[0].sx8, sx=sx, sk8=sk8,
        sk=sk, sv=sv, xm=means_of(x16[None], rows, job, cfg, 16)[0],
        **{name: np.array([getattr(one, name) for one in predicted])
           for name in ("kp_exp", "kp_bias", "kp_shift")})


def _projected(
    x16: np.ndarray, sx: float, w: np.ndarray, mode: int, rt: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(weights int16 [kv_heads, H, d], what they make of x16 [kv_heads, keys, d], its shifts and
    its scales [kv_heads]) of float w."""
    done = []
    for one in w:
        w16, scale = quantise(one, 16)
        acc = kvgen.sums(x16, w16)
        shift = layer.choose_shift(acc, mode, rt)
        made = rope.rotate_natural(kvgen.narrow(acc, shift), rt, mode).astype(np.int16)
        done.append((w16, made, shift, sx * scale * 2.0**shift))
    return tuple(map(np.array, zip(*done, strict=True)))


# ---- running ----------------------------------------------------------------------------------


def project_means(plan: LayerPlan, cfg: Config) -> np.ndarray:
    """V of the mean rows, int16 [kv_heads, blocks, d], VM_W bits: 16 bits as of a key, then cut to
    VM_W with halves rounded up, saturated."""
    shifts = layer.of_each(plan.kg_shift_v, plan)
    v = np.stack([kvgen.narrow(kvgen.sums(plan.xm, wv), shift)
                  for wv, shift in zip(plan.wv, shifts, strict=True)])
    return sufa.cut(v, cfg.VM_W)


def run_layer(
    plan: LayerPlan, cfg: Config, valid: np.ndarray | None = None, run=head.run_job
) -> LayerResult:
    """Both jobs.

    valid: bool [kv_heads, keys], K and V that an earlier job has left in memory (VB_LOAD); None:
    there are none. run: models.second.head.run_job, or that of models.second.fast.
    """
    k8, predict = layer.predict_layer(plan, cfg)
    k, v = layer.project_layer(plan)
    load = valid is not None
    valid = np.array(valid, bool) if load else np.zeros(k.shape[:2], bool)
    if valid.shape != k.shape[:2]:
        raise ConfigError(f"valid has shape {valid.shape}, legal: {k.shape[:2]}")
    means = project_means(plan, cfg)
    done = run(plan.q, k, v, k8, means, plan.job, cfg)
    walk = parts(plan.heads, plan.kv_heads, plan.q.shape[1], plan.keys, plan.job, cfg)
    issued = issue(done.selected, walk, [KeySource(*one) for one in zip(k, v, valid, strict=True)],
                   plan.job)
    stats = count(plan, done, walk, issued, load, cfg)
    order = [
        np.concatenate([turn.made for turn in issued if turn.part.kv == kv])
        for kv in range(plan.kv_heads)
    ]
    return LayerResult(k8, k, v, valid, order, done.out, done.heads, predict, stats, means,
                       done.selected, done.f, issued, done.updates)


def issue(
    selected: np.ndarray, walk: list[Part], sources: list[KeySource], job: head.Job
) -> list[Turn]:
    """The turns of the parts for selections bool [heads, rows, keys]; claims from the sources of
    the KV heads, which change."""
    out = []
    for part in walk:
        wanted = part.wanted(selected)
        for t, selects in turns(len(part.band.tiles), job):
            if selects:
                slots = part.band.tiles[t].keys
                out.append(Turn(part, t, *sources[part.kv].claim(slots[wanted[slots]])))
    return out


def count(
    plan: LayerPlan, done: head.JobResult, walk: list[Part], issued: list[Turn], load: bool,
    cfg: Config,
) -> Stats:
    """Counts of the second job. K8 of a band is read once, tile 0 twice in a sum job; mean rows of
    X once for each block of a part."""
    job = plan.job
    rows = plan.q.shape[1]
    sees = np.minimum(job.offset + np.arange(rows) + 1, plan.keys) if job.causal else plan.keys
    stats = Stats(
        selected=int(np.count_nonzero(done.selected)),
        visible=int(np.broadcast_to(sees, rows).sum()) * plan.heads,
        slots=[part.band.tiles[t].n for part in walk for t, _ in turns(len(part.band.tiles), job)],
        union=[len(turn.made) + len(turn.read) for turn in issued],
        generated=[len(turn.made) for turn in issued],
        reused=[len(turn.read) for turn in issued])
    vector = cfg.beats16(plan.d)
    dense = job.dense
    stats.move("q", plan.heads * rows, vector, cfg)
    stats.move("k8", 0 if dense else sum(stats.slots), cfg.beats8(plan.d), cfg)
    stats.move("k", sum(stats.reused), vector, cfg)
    stats.move("v", sum(stats.reused), vector, cfg)
    stats.move("o", plan.heads * rows, vector, cfg)
    layer.count_generation(stats, plan, load, cfg)
    stats.move("x", mean_tokens(walk, job), cfg.beats16(plan.h), cfg)
    return stats


def mean_tokens(walk: list[Part], job: head.Job) -> int:
    """Mean rows that a job projects: one for each block of a part where the mean blends in."""
    blends = job.select == head.SUM and job.blend
    return sum(len(part.band.blocks) for part in walk) if blends else 0
