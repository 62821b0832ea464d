# SPDX-License-Identifier: Apache-2.0
"""SU-FA, the formal path: softmax over the selected keys, one key of a row at a time; the coarse
tail; and the flush that blends both with the mean of V.

Bit-exact, vectorised over rows. A row's keys come in the order of issue: tiles as they are
selected, slots in order. Source: the SOFA paper, SU-FA; order of issue, formats and blend are our
decision.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from .config import Config, ConfigError, check
from .sads import NO_PEAK
from .spec.exp2 import mantissa


@dataclass
class State:
    """What a block keeps between tiles. R rows, head dimension d.

    m     int64 [R], reference exponent, an integer power of two
    l     int64 [R], sum of weights, 16 - GUARD fraction bits
    o     int64 [R, d], weighted sum of V, O_FRAC fraction bits
    seen  bool [R], m is set (some key was used)
    """

    m: np.ndarray
    l: np.ndarray  # noqa: E741  (the name in the paper and in the RTL)
    o: np.ndarray
    seen: np.ndarray
    updates: int = 0


def start(rows: int, d: int) -> State:
    """State at the start of a block."""
    return State(
        m=np.zeros(rows, np.int64),
        l=np.zeros(rows, np.int64),
        o=np.zeros((rows, d), np.int64),
        seen=np.zeros(rows, bool),
    )


def log2_score(s: np.ndarray, scale_m: int, scale_shift: int, cfg: Config) -> np.ndarray:
    """Exact dot products s to log2 units with Z_FRAC fraction bits, saturated to Z_W bits."""
    top = 1 << (cfg.Z_W - 1)
    z = ((np.asarray(s, np.int64) >> cfg.S_DROP) * scale_m) >> scale_shift
    return np.clip(z, -top, top - 1)


def weight(z: np.ndarray, m: np.ndarray, cfg: Config) -> np.ndarray:
    """2**(z - m) with 16 - GUARD fraction bits, 16 bits; z - m < GUARD."""
    diff = z - (m << cfg.Z_FRAC)
    whole = diff >> cfg.Z_FRAC
    mant = mantissa(diff & ((1 << cfg.Z_FRAC) - 1), cfg.Z_FRAC)
    shift = cfg.GUARD - 1 - whole
    kept = np.clip(shift, 1, 17)
    rounded = (mant + (1 << (kept - 1))) >> kept
    return np.where(shift == 0, mant, np.where(shift >= 17, 0, rounded))


def reference(
    m: np.ndarray, seen: np.ndarray, e: np.ndarray, cfg: Config
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(reference, its rise dm, bool: raised) of rows after a step whose largest score z has
    e = floor(z) + 1: the first step sets it to e, a later one does where e > m + GUARD."""
    raised = seen & (e > m + cfg.GUARD)
    return np.where(raised | ~seen, e, m), np.where(raised, e - m, 0), raised


def _check_ranges(state: State, cfg: Config) -> None:
    """Fail when l or o no longer fit the widths of the hardware."""
    top = 1 << (cfg.O_W - 1)
    if (state.l >> cfg.L_W).any() or state.o.min() < -top or state.o.max() >= top:
        raise ConfigError(
            f"l or o left its {cfg.L_W} / {cfg.O_W} bits: more keys used than KEYS_MAX = "
            f"{cfg.KEYS_MAX}"
        )


def reciprocal(total: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(bits, r) of sums from 1 on: their bit lengths, and 2**(15 + bits) / total, 16 bits."""
    # Below 2**53 an integer is exact in float64, so frexp gives its true bit length.
    bits = np.frexp(total.astype(np.float64))[1].astype(np.int64)
    top = np.where(bits >= 16, total >> np.maximum(bits - 16, 0), total << np.maximum(16 - bits, 0))
    return bits, np.minimum(65535, (1 << 31) // top)


def normalised(state: State, cfg: Config) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(bool [R] rows that used a key, o' int64 [R, d], reciprocal R int64 [R]): o'*R / 2**15 is the
    output. o' and R of a row without a key have no meaning."""
    some = state.l > 0
    bits, r = reciprocal(np.where(some, state.l, 1 << 15))
    drop = bits - (16 - cfg.GUARD - cfg.O_FRAC) - 1
    # A row's last reference came with a weight of 1/2 at least, so that bits >= 16 - GUARD.
    assert (drop >= 0).all(), "O_FRAC + GUARD leave no bit to round away"
    return some, sat16(((state.o >> drop[:, None]) + 1) >> 1), r


def sat16(x: np.ndarray) -> np.ndarray:
    """x within -32768..32767."""
    return np.clip(x, -32768, 32767)


@dataclass
class Steps:
    """Intermediates of a block, an entry of the lists for each step: z score in log2 units, p
    weight, m reference and dm its rise, l sum of weights after the step; of the flush o_final o'
    [R, d], l_final l [R], r_final the reciprocal [R]."""

    z: list = field(default_factory=list)
    p: list = field(default_factory=list)
    m: list = field(default_factory=list)
    dm: list = field(default_factory=list)
    l: list = field(default_factory=list)  # noqa: E741
    o_final: np.ndarray | None = None
    l_final: np.ndarray | None = None
    r_final: np.ndarray | None = None


@dataclass
class Trace(Steps):
    """A step for each key that some row wants, in order of issue.

    rows  int64 [W], rows that want the key; z, p, m, dm, l belong to them. r_final is times f.
    """

    rows: list = field(default_factory=list)


def keys(
    state: State, q: np.ndarray, k: np.ndarray, v: np.ndarray, wanted: np.ndarray, scale_m: int,
    scale_shift: int, cfg: Config, trace: Trace | None = None,
) -> None:
    """Run the keys of a tile, in their order; updates state in place.

    q int16 [R, d]; k, v int16 [n, d]; wanted bool [R, n]. For each key and row that wants it:
    z = score; e = floor(z) + 1; no reference yet: m = e; e > m + GUARD: the reference rises to e,
    by dm; p = 2**(z - m); l = (l >> dm) + p; o = (o >> dm) + p*v, rounded to O_FRAC bits.
    """
    check("scale_m", scale_m, 0, 65535)
    check("scale_shift", scale_shift, 0, 47)
    # d * 2**30 < 2**53, so the product is exact in float64.
    exact = (q.astype(np.float64) @ k.astype(np.float64).T).astype(np.int64)
    score = log2_score(exact, scale_m, scale_shift, cfg)
    half = 16 - cfg.GUARD - cfg.O_FRAC
    rounding = (1 << half) >> 1
    v = v.astype(np.int64)
    for key in np.flatnonzero(wanted.any(axis=0)):
        rows = np.flatnonzero(wanted[:, key])
        z = score[rows, key]
        m, dm, rise = reference(state.m[rows], state.seen[rows], (z >> cfg.Z_FRAC) + 1, cfg)
        p = weight(z, m, cfg)
        shift = np.minimum(dm, 63)
        total = (state.l[rows] >> shift) + p
        state.o[rows] = (state.o[rows] >> shift[:, None]) + (
            (p[:, None] * v[key] + rounding) >> half)
        state.m[rows], state.l[rows], state.seen[rows] = m, total, True
        state.updates += int(rise.sum())
        if trace is not None:
            for name, value in (("rows", rows), ("z", z), ("p", p), ("m", m), ("dm", dm),
                                ("l", total)):
                getattr(trace, name).append(value)


@dataclass
class Tail:
    """Coarse sums of the rows of a block.

    peak   int64 [R], the row's peak to which the sums are relative
    w      int64 [R], sum of weights; v int64 [R, d], of weights times V: CV_FRAC fraction bits, V
           in units of 2**(16 - VC_W)
    rises  how often a row's sums were shifted
    """

    peak: np.ndarray
    w: np.ndarray
    v: np.ndarray
    rises: int = 0


def start_tail(rows: int, d: int) -> Tail:
    """No coarse key yet."""
    return Tail(np.full(rows, NO_PEAK), np.zeros(rows, np.int64), np.zeros((rows, d), np.int64))


def cut(v: np.ndarray, bits: int) -> np.ndarray:
    """16-bit values in units of 2**(16 - bits), int16, halves rounded up, saturated."""
    lift, top = 16 - bits, 1 << (bits - 1)
    return np.clip((np.asarray(v, np.int64) + (1 << lift >> 1)) >> lift, -top,
                   top - 1).astype(np.int16)


def coarse(
    sums: Tail, peak: np.ndarray, weights: np.ndarray, v: np.ndarray, cfg: Config
) -> None:
    """Add the coarse keys of a tile: peak int64 [R] as its limits were fixed, weights int64 [R, n]
    of models.sads.tail, v int16 [n, d] in VC_W bits (`cut`).

    A weight is a power of two, at most 1/2, so |w| and |v| stay within CW_W and CV_W bits; shifts
    bring no sum of whole numbers further from 0.
    """
    rows = np.flatnonzero(weights.any(axis=1))
    shift = np.minimum(peak[rows] - sums.peak[rows], 63)
    sums.rises += int(((shift > 0) & (sums.w[rows] > 0)).sum())
    sums.peak[rows] = peak[rows]
    sums.w[rows] = (sums.w[rows] >> shift) + weights[rows].sum(axis=1)
    sums.v[rows] = (sums.v[rows] >> shift[:, None]) + weights[rows] @ v.astype(np.int64)


def finish(
    state: State, f: np.ndarray, mean: np.ndarray, cfg: Config, trace: Trace | None = None,
    tail: Tail | None = None, g: np.ndarray | None = None,
) -> np.ndarray:
    """Normalise and blend: int16 [R, d]; rows that used no key give 0.

    f and g int64 [R], 0 .. 2**F_FRAC, f + g within it; mean int [d], VM_W bits. o' and R are those
    of models.sufa.normalised, c' and Rc likewise of the tail, R' = R*f and Rc' = Rc*g rounded, and

        out = sat16(round(o' * R' / 2**15 + c' * Rc' / 2**15 + (1 - f - g) * mean * 2**(16 - VM_W)))

    Without a tail g is 0. Where g > 0 the row has coarse keys and w > 0, since w is shifted only
    when a weight is added, and a weight is at least 1.
    """
    some, o, r = normalised(state, cfg)
    one = 1 << cfg.F_FRAC
    r = (r * f + (one >> 1)) >> cfg.F_FRAC
    blended, left = o * r[:, None], one - f
    if tail is not None:
        bits, rc = reciprocal(np.maximum(tail.w, 1))
        rc = (rc * g + (one >> 1)) >> cfg.F_FRAC
        drop = (bits - (16 - cfg.VC_W))[:, None]
        up = np.maximum(1 - drop, 0)
        c = sat16((((tail.v << up) >> np.maximum(drop - 1, 0)) + 1) >> 1)
        blended, left = blended + c * rc[:, None], left - g
    # One shift for all products: the mean's has fraction bits only where F_FRAC > 16 - VM_W.
    lift, fine = 16 - cfg.VM_W, cfg.F_FRAC
    rest = left[:, None] * np.asarray(mean, np.int64) << 15
    rest = rest << (lift - fine) if lift >= fine else rest >> (fine - lift)
    out = sat16((blended + rest + 16384) >> 15)
    o, r = np.where(some[:, None], o, 0), np.where(some, r, 0)
    if trace is not None:
        trace.o_final, trace.l_final, trace.r_final = o, state.l.copy(), r
    return np.where(some[:, None], out, 0).astype(np.int16)
