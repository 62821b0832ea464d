# SPDX-License-Identifier: Apache-2.0
"""Float tensors and settings in natural units to the integers and the table of a job.

Every head has scales of its own: Q for each query head, K and V for each KV head. Q's is chosen so
that an octave, a factor of 2 in the softmax, is a power of two of predicted score units; that
costs up to one bit of Q's 16.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from models import head as first
from models.config import ConfigError
from models.dlzs import FLOOR, TWO_TERM
from models.plan import check_scores
from models.quantise import (
    Peaks,
    Quantised,
    check_finite,
    quantise_heads,
    radius_to_int,
    score_unit,
)
from models.second.config import Config
from models.second.head import SORT, SUM, HeadTable, Job, means_of

TAU = {FLOOR: (2.0**-9.25, 0.0), TWO_TERM: (2.0**-8.69, 0.35)}
"""Snap rule -> (threshold, exponent of its fall with the visible length)."""


@dataclass(frozen=True)
class Numbers:
    """Integers of a job, value = integer * scale: q int16 [heads, rows, d]; k, v int16, k8 int8
    [kv_heads, keys, d]; means int16 [kv_heads, blocks, d]; sq [heads], sk, sv, sk8 [kv_heads]."""

    q: np.ndarray
    k: np.ndarray
    v: np.ndarray
    k8: np.ndarray
    means: np.ndarray
    sq: np.ndarray
    sk: np.ndarray
    sv: np.ndarray
    sk8: np.ndarray

    @property
    def out_scale(self) -> np.ndarray:
        """Scale of the output of each query head, [heads, 1, 1]."""
        return np.repeat(self.sv, len(self.q) // len(self.k))[:, None, None]


def octave_of(peak: float, sk8: float, d: int, snap: int, cfg: Config) -> tuple[int, float]:
    """(log2 of the score units of an octave, the peak of Q with which it is that): ``peak``, or up
    to twice as much. sk8: scale of the 8-bit keys. Where the units of an octave are below 1 or do
    not fit a score, the peak stays and the octave is the nearest that there is."""
    with np.errstate(over="ignore", divide="ignore"):
        units = math.log(2) / np.float64(
            score_unit(max(peak or 1.0, 1e-300) / 32767, sk8, d, snap, cfg))
    if not units >= 1.0:
        return 0, peak
    if units >= 2.0**cfg.SC_W:
        return cfg.SC_W - 1, peak
    octave = min(math.floor(math.log2(units)), cfg.SC_W - 1)
    return octave, peak * float(units) / 2.0**octave


def plan(
    q, k, v, cfg: Config, *, peaks: Peaks | None = None,
    predicted: tuple[np.ndarray, np.ndarray] | None = None, causal: bool = False,
    offset: int | None = None, bc: int | None = None, band: int | None = None, select: int = SUM,
    tau: float | None = None, fall: float | None = None, quota: int | None = None,
    radius_nats: float | None = None, snap: int = FLOOR, interleaved: bool = True,
    blend: bool = True,
) -> tuple[Numbers, Job]:
    """Quantise float q [heads, rows, d], k, v [kv_heads, keys, d] and make the job for them.

    Args:
        peaks: values that become the largest integers (models.quantise); default: the data's.
        predicted: (K8 int8 [kv_heads, keys, d], its scales [kv_heads]) in place of K rounded.
        offset: position of query row 0; default: the last query sees every key.
        bc: keys in a tile; default BC_MAX.
        band: row blocks of a band; default: as many as the stores hold beside each other with all
            query heads of a group, at least 1, no more than there are.
        tau, fall: threshold and the exponent of its fall; default TAU of the snap rule.
        quota, radius_nats: of a job that sorts; default a quarter of a tile, and no radius.
        blend: the mean of V stands in for what is dropped.

    ConfigError for what the machine cannot compute; see models.plan.check_scores.
    """
    q, k, v = (np.asarray(x, np.float64) for x in (q, k, v))
    rows, d = q.shape[1:]
    cfg.check_d(d)
    if tau is None or fall is None:
        if select == SUM and snap not in TAU:
            raise ConfigError(f"snap = {snap} has no default threshold, legal: tau and fall given")
        default = TAU.get(snap, (1.0, 0.0))
        tau, fall = default[0] if tau is None else tau, default[1] if fall is None else fall
    if not 0 < tau <= 1:
        raise ConfigError(f"tau = {tau}, legal: above 0, up to 1")
    if peaks is None:
        for name, x in (("q", q), ("k", k), ("v", v)):
            check_finite(name, x)
        peaks = Peaks(*(tuple(np.abs(x).max(axis=(1, 2), initial=0)) for x in (q, k, v)))
    group = len(q) // max(len(k), 1)
    octaves, wider = [], []
    for h, peak in enumerate(peaks.q):
        sk8 = (peaks.k[h // group] or 1.0) / 127 if predicted is None else predicted[1][h // group]
        octave, peak = octave_of(peak, sk8, d, snap, cfg)
        octaves.append(octave)
        wider.append(peak)
    heads = quantise_heads(q, k, v, cfg, Peaks(tuple(wider), peaks.k, peaks.v))
    if offset is None:
        offset = max(k.shape[1] - rows, 0) if causal else 0
    bc = cfg.BC_MAX if bc is None else bc
    if band is None:
        band = min(max(cfg.places(d) // group, 1), -(-rows // cfg.ROWS))
    table = []
    for h, numbers in enumerate(heads):
        sk8 = numbers.sk8 if predicted is None else predicted[1][h // group]
        radius = None
        if select == SORT:
            radius = radius_to_int(radius_nats, numbers.sq, sk8, d, snap, cfg)
        table.append(HeadTable(numbers.scale_m, numbers.scale_shift, octaves[h],
                               round(math.log2(tau) * 2**cfg.LOG_FRAC), radius))
        check_scores(numbers.q, numbers.k, numbers.sq, numbers.sk,
                     first.Job(d, numbers.scale_m, numbers.scale_shift, bc, causal=causal,
                               offset=offset), cfg, f"query head {h}: ")
    job = Job(d=d, bc=bc, table=tuple(table), band=band, select=select,
              quota=max(bc // 4, 1) if quota is None else quota, fall=round(fall * 256),
              snap=snap, causal=causal, offset=offset, interleaved=interleaved,
              blend=blend).checked(cfg)
    return _gathered(heads, group, predicted, rows, job, cfg), job


def _gathered(
    heads: list[Quantised], group: int, predicted, rows: int, job: Job, cfg: Config
) -> Numbers:
    """The heads' integers as arrays of all heads."""
    of_kv = heads[::group]
    k, v, k8 = (np.concatenate([getattr(n, name) for n in of_kv]) for name in ("k", "v", "k8"))
    sk, sv, sk8 = (np.array([getattr(n, name) for n in of_kv]) for name in ("sk", "sv", "sk8"))
    if predicted is not None:
        k8, sk8 = predicted
    return Numbers(np.concatenate([n.q for n in heads]), k, v, k8, means_of(v, rows, job, cfg),
                   np.array([n.sq for n in heads]), sk, sv, sk8)
