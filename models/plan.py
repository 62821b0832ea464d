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

from .balance import balance_of, balanced
from .config import Config, ConfigError, check
from .dlzs import FLOOR, TWO_TERM
from .head import LEAST_TAU, MOST_FALL, SORT, SUM, HeadTable, Job, means_of
from .length import tau_of
from .quantise import (
    Peaks,
    check_finite,
    check_heads,
    log2_factor,
    log2_multiplier,
    quantise,
    quantise_heads,
    radius_to_int,
    score_unit,
)
from .sufa import log2_score
from .tiling import sees

TOLERANCE = 0.125
"""Largest error of a difference of two scores that matter, binary orders: 9 % of a weight."""


REACH = 17
"""Binary orders below its row's best at which a key has no weight (16 bits and a guard bit)."""


CHUNK = 1 << 18
"""Scores that check_scores looks at together."""


def default_quota(bc: int) -> int:
    """Keys that a row may take from a tile where nothing is said: a quarter, at least 1."""
    return max(bc // 4, 1)


def check_scores(
    q: np.ndarray, k: np.ndarray, sq: float, sk: float, scale_m: int, scale_shift: int, job,
    cfg: Config, name: str = "", window: int = 0, sinks: int = 0,
) -> None:
    """ConfigError where the machine's scores would not give a row's softmax; name begins it.

    q int16 [heads, rows, d], k int16 [kv_heads, keys, d] with their scales, registers scale_m and
    scale_shift; job with d, causal and offset; window, sinks: of a causal one. The machine drops
    the S_DROP lowest bits of q.k and saturates scores beyond 2**(Z_W-1-Z_FRAC) binary orders. That
    changes nothing where the differences between the keys that matter, in truth or to the machine
    (those less than REACH below the best of the keys that the row sees), stay right to TOLERANCE;
    so this alone is refused. All pairs are looked at only where the scales allow such scores.
    """
    fraction, exponent = log2_factor(sq, sk, job.d, cfg)
    # More is as far out of range as this is.
    unit = math.ldexp(fraction, min(exponent, 200))
    order, limit = 1 << cfg.Z_FRAC, 1 << (cfg.Z_W - 1)
    step = unit * (1 << cfg.S_DROP)
    if not k.size or step <= TOLERANCE * order and job.d * 2.0**30 * unit + step + 1 < limit:
        return
    keys = k.shape[1]
    rows = max(CHUNK // keys, 1)
    for h in range(len(q)):
        columns = k[h // (len(q) // len(k))].astype(np.float64).T
        for first in range(0, q.shape[1], rows):
            # d * 2**30 < 2**53, so the products are exact.
            s = q[h, first : first + rows].astype(np.float64) @ columns
            true, got = s * unit, log2_score(s, scale_m, scale_shift, cfg)
            error = got - true
            if job.causal:
                last = job.offset + np.arange(first, first + len(s))
                hidden = ~sees(last, keys, window, sinks)
            else:
                hidden = np.zeros(s.shape, bool)
            matters = np.zeros(s.shape, bool)
            for z in (true, got.astype(np.float64)):
                z = np.where(hidden, -np.inf, z)
                matters |= z > z.max(axis=1, keepdims=True) - REACH * order
            spread = (np.where(matters, error, -np.inf).max(axis=1)
                      - np.where(matters, error, np.inf).min(axis=1)) / order
            worst = int(spread.argmax())
            if spread[worst] > TOLERANCE:
                seen = true[worst, ~hidden[worst]] / order
                raise ConfigError(
                    f"{name}q.k of row {first + worst}{'' if len(q) == 1 else f' of head {h}'}: "
                    f"scores {seen.min():.4g} to {seen.max():.4g} binary orders in steps of "
                    f"{step / order:.2g} (scales sq = {sq:g}, sk = {sk:g}), legal: within "
                    f"+-{limit // order - 1} in steps up to {TOLERANCE}, or beyond where no "
                    f"difference that matters changes (here one is off by {spread[worst]:.2g})")

TAU = {FLOOR: (tau_of(FLOOR, 1024), 0.0), TWO_TERM: (tau_of(TWO_TERM, 1024), 0.35)}
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


def octaves_of(
    peaks, sk8, d: int, snap: int, cfg: Config
) -> tuple[list[int], tuple[float, ...]]:
    """(octaves, peaks) of octave_of for every query head; sk8: of every KV head."""
    group = max(len(peaks) // max(len(sk8), 1), 1)
    fitted = [octave_of(peak, scale, d, snap, cfg)
              for peak, scale in zip(peaks, np.repeat(sk8, group), strict=False)]
    return [octave for octave, _ in fitted], tuple(peak for _, peak in fitted)


def group_peaks(peaks, group: int) -> tuple[float, ...]:
    """The largest peak of each group of heads, for all of it: one scale for heads that share
    blocks."""
    most = np.asarray(peaks, np.float64).reshape(-1, group).max(axis=1)
    return tuple(np.repeat(most, group))


def default_band(rows: int, d: int, group: int, cfg: Config) -> int:
    """Row blocks of a band where nothing is said: as many as fit, with all query heads of a group,
    into half of the places, so that the next band comes while this one is worked on; at least 1, no
    more than there are."""
    return min(max(cfg.places(d) // 2 // group, 1), -(-rows // cfg.ROWS))


def check_share(name: str, share: float) -> None:
    """ConfigError for a threshold beyond the table of a job."""
    if not 2.0**-LEAST_TAU <= share <= 1:
        raise ConfigError(f"{name} = {share}, legal: 2**-{LEAST_TAU} .. 1")


def check_fall(fall: float) -> None:
    """ConfigError for an exponent beyond the field of a job."""
    if not 0 <= fall <= MOST_FALL / 256:
        raise ConfigError(f"fall = {fall}, legal: 0 .. {MOST_FALL}/256")


def check_tensors(q: np.ndarray, k: np.ndarray, v: np.ndarray, cfg: Config) -> None:
    """ConfigError where q [heads, rows, d], k and v [kv_heads, keys, d] are not the shapes of a
    job."""
    for name, x in (("q", q), ("k", k), ("v", v)):
        if x.ndim != 3:
            raise ConfigError(f"{name} has shape {x.shape}, legal: 3 axes")
    d = cfg.check_d(q.shape[2])
    if k.shape != v.shape or k.shape[2] != d:
        raise ConfigError(f"k has shape {k.shape}, v {v.shape}, legal: [kv_heads, keys, {d}] both")
    check("query rows", q.shape[1], 1, 65536)
    check("keys", k.shape[1], 1, cfg.KEYS_MAX)


def plan(
    q, k, v, cfg: Config, *, peaks: Peaks | None = None, balance=None, snap: int = FLOOR,
    **settings,
) -> tuple[Numbers, Job]:
    """Quantise float q [heads, rows, d], k, v [kv_heads, keys, d] and make the job for them.

    Args:
        peaks: values that become the largest integers (models.quantise); default: the data's.
        balance: scales [kv_heads, d] of the channels with which Q and K are turned first
            (models.balance), and peaks are those of the turned ones; True: those of the
            data, for which peaks must be the data's as well; None or False: Q and K stay.
        snap, settings: those of job_of.

    ConfigError for what the machine cannot compute; see models.plan.check_scores.
    """
    q, k, v = (np.asarray(x, np.float64) for x in (q, k, v))
    check_tensors(q, k, v, cfg)
    check_heads(q, k, v, peaks)
    rows, d = q.shape[1:]
    if peaks is None:
        for name, x in (("q", q), ("k", k), ("v", v)):
            check_finite(name, x)
    if balance is True and peaks is not None:
        raise ConfigError("balance = True with peaks, legal: scales of the channels beside peaks")
    if balance is not None and balance is not False:
        q, k = balanced(q, k, balance_of(q, k) if balance is True else balance)
    if peaks is None:
        peaks = Peaks(*(tuple(np.abs(x).max(axis=(1, 2), initial=0)) for x in (q, k, v)))
    group = len(q) // len(k)
    scales = [quantise((), 8, f"KV head {h}: k", peak)[1] for h, peak in enumerate(peaks.k)]
    peaks_q = group_peaks(peaks.q, group) if settings.get("share") else peaks.q
    octaves, wider = octaves_of(peaks_q, scales, d, snap, cfg)
    heads = quantise_heads(q, k, v, cfg, Peaks(wider, peaks.k, peaks.v))
    of_kv = heads[::group]
    q, k, v, k8 = (np.concatenate([getattr(n, name) for n in of])
                   for name, of in (("q", heads), ("k", of_kv), ("v", of_kv), ("k8", of_kv)))
    sq, sk, sv, sk8 = (np.array([getattr(n, name) for n in of]) for name, of in
                       (("sq", heads), ("sk", of_kv), ("sv", of_kv), ("sk8", of_kv)))
    job = job_of(q, k, sq, sk, sk8, octaves, cfg, snap=snap, **settings)
    return Numbers(q=q, k=k, v=v, k8=k8, means=means_of(v, rows, job, cfg), sq=sq, sk=sk, sv=sv,
                   sk8=sk8), job


def job_of(
    q: np.ndarray, k: np.ndarray, sq, sk, sk8, octaves, cfg: Config, *, causal: bool = False,
    offset: int | None = None, bc: int | None = None, band: int | None = None, select: int = SUM,
    tau: float | None = None, coarse: float | None = None, fall: float | None = None,
    quota: int | None = None, radius_nats: float | None = None, snap: int = FLOOR,
    interleaved: bool = True, blend: bool = True, share: bool = False, window: int = 0,
    sinks: int = 0,
) -> Job:
    """The checked job of q int16 [heads, rows, d] and k int16 [kv_heads, keys, d].

    sq [heads], sk [kv_heads]: their scales; sk8: those of the keys of the prediction; octaves: of
    each query head (octave_of).

    Args:
        offset: position of query row 0; default: the last query sees every key.
        bc: keys in a tile; default BC_MAX.
        band: row blocks of a band; default: default_band.
        tau, fall: threshold and the exponent of its fall; default TAU of the snap rule.
        coarse: least share of a coarse key, up to tau; None: there are none.
        quota, radius_nats: of a job that sorts; default a quarter of a tile, and no radius.
        blend: the mean of V stands in for what is dropped.
        share: heads of a group share blocks and have one scale of Q; for few query rows.
        window, sinks: newest keys that a causal row sees, 0: all; and first ones beside them.

    ConfigError for what the machine cannot compute; see models.plan.check_scores.
    """
    heads, rows, d = q.shape
    group = heads // len(k)
    if tau is None or fall is None:
        if select == SUM and snap not in TAU:
            raise ConfigError(f"snap = {snap} has no default threshold, legal: tau and fall given")
        default = TAU.get(snap, (1.0, 0.0))
        tau, fall = default[0] if tau is None else tau, default[1] if fall is None else fall
    check_share("tau", tau)
    check_fall(fall)
    if coarse is not None:
        check_share("coarse", coarse)
        if coarse > tau:
            raise ConfigError(f"coarse = {coarse}, legal: up to tau = {tau}, or None")
    if offset is None:
        offset = max(k.shape[1] - rows, 0) if causal else 0
    bc = cfg.BC_MAX if bc is None else bc
    if band is None:
        band = 1 if share else default_band(rows, d, group, cfg)
    table = []
    for h in range(heads):
        kv = h // group
        scale_m, scale_shift = log2_multiplier(sq[h], sk[kv], d, cfg)
        radius = None
        if select == SORT:
            radius = radius_to_int(radius_nats, sq[h], sk8[kv], d, snap, cfg)
        least, lower = (None if share is None else round(math.log2(share) * 2**cfg.LOG_FRAC)
                        for share in (tau, coarse))
        table.append(HeadTable(scale_m, scale_shift, octaves[h], least, radius, lower))
    job = Job(d=d, bc=bc, table=tuple(table), band=band, select=select,
               quota=default_quota(bc) if quota is None else quota, fall=round(fall * 256),
               snap=snap, causal=causal, offset=offset, interleaved=interleaved,
               blend=blend, share=share, window=window, sinks=sinks).checked(cfg)
    for h, entry in enumerate(table):
        kv = h // group
        check_scores(q=q[h : h + 1], k=k[kv : kv + 1], sq=sq[h], sk=sk[kv], scale_m=entry.scale_m,
                     scale_shift=entry.scale_shift, job=job, cfg=cfg, name=f"query head {h}: ",
                     window=window, sinks=sinks)
    return job
