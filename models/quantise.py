# SPDX-License-Identifier: Apache-2.0
"""Float tensors to the integers of the machine, and job settings in nats to register values.

A job has one scale for each of Q, K, K8 and V. `quantise_attention` takes them from all heads of a
job together, so the error of every head is relative to the largest peak of any head;
`quantise_heads` gives each query head, and K and V of each KV head, scales of their own, for a job
a head. Source: docs/architecture.md sections 3 and 5; "nats" are units of the scaled score
q.k/sqrt(d), a "binary order" is ln 2 of them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .config import Config, ConfigError
from .dlzs import FLOOR, NEAREST, TWO_TERM

SHRINK = {
    FLOOR: 0.5 / math.log(2),
    NEAREST: (2 / 3) / math.log(2),
    TWO_TERM: (7 / 12) / math.log(2),
}
"""Mean of (snapped value) / (value) for each snap rule; see radius_to_int."""


LEAST_SCALE = float(np.finfo(np.float64).tiny)
"""Least scale; tensors with a peak below 2**15 of it keep fewer bits."""


def check_finite(name: str, x: np.ndarray) -> None:
    """ConfigError where x holds infinities or NaN."""
    if not np.isfinite(x).all():
        raise ConfigError(f"{name} holds infinities or NaN, legal: finite numbers")


def quantise(
    x: np.ndarray, bits: int, name: str = "the tensor", peak: float | None = None
) -> tuple[np.ndarray, float]:
    """Symmetric quantisation of a whole tensor: (integers, scale), x about integers * scale.

    bits 16 or 8; integers int16 in +-32767 or int8 in +-127, so -2**(bits-1) never occurs. peak:
    the value that becomes the largest integer, larger ones saturate; None: the largest of x. A
    tensor of zeros gets the scale of a peak of 1. name: of the tensor, in errors.
    """
    if bits not in (8, 16):
        raise ConfigError(f"bits = {bits}, legal: 8, 16")
    x = np.asarray(x, np.float64)
    check_finite(name, x)
    top = (1 << (bits - 1)) - 1
    if peak is None:
        peak = float(np.abs(x).max(initial=0))
    elif not (math.isfinite(peak) and peak >= 0):
        raise ConfigError(f"peak of {name} = {peak}, legal: finite, 0 and above")
    scale = max((peak or 1.0) / top, LEAST_SCALE)
    with np.errstate(over="ignore"):
        whole = np.rint(x / scale)
    return np.clip(whole, -top, top).astype(np.int16 if bits == 16 else np.int8), scale


def log2_factor(sq: float, sk: float, d: int, cfg: Config) -> tuple[float, int]:
    """(f, e): q.k of integers times f * 2**e is the score in log2 units with Z_FRAC fraction bits;
    sq, sk: scales of Q and K. f is 0.5 or more and below 1."""
    for name, value in (("sq", sq), ("sk", sk)):
        if not (math.isfinite(value) and value > 0):
            raise ConfigError(f"{name} = {value}, legal: finite and above 0")
    cfg.check_d(d)
    # Fractions alone, so that no product leaves the range of a float.
    (fq, eq), (fk, ek) = math.frexp(sq), math.frexp(sk)
    fraction, exponent = math.frexp(fq * fk * math.log2(math.e) / math.sqrt(d))
    return fraction, exponent + eq + ek + cfg.Z_FRAC


def log2_multiplier(sq: float, sk: float, d: int, cfg: Config) -> tuple[int, int]:
    """Registers (scale_m, scale_shift) that turn q.k of integers into log2 units.

    (s >> S_DROP) * scale_m >> scale_shift = s * sq*sk * log2(e)/sqrt(d) with Z_FRAC fraction
    bits; sq, sk: scales of Q and K. scale_m keeps 16 significant bits, 2**15..2**16-1. Smaller
    products than shift 47 allows keep fewer, down to 1 of scale_m: then no score reaches a unit of
    2**-Z_FRAC, so that nothing is lost. Larger ones than shift 0 allows get 65535 and 0, which is
    less than they ask for: models.plan.check_scores says whether a job bears that.
    """
    fraction, exponent = log2_factor(sq, sk, d, cfg)
    exponent += cfg.S_DROP
    scale_m, shift = round(fraction * 65536), 16 - exponent
    if scale_m == 65536:
        scale_m, shift = 32768, shift - 1
    if shift > 47:
        scale_m, shift = max(round(math.ldexp(fraction, exponent + 47)), 1), 47
    if shift < 0:
        scale_m, shift = 65535, 0
    return scale_m, shift


def score_unit(sq: float, sk8: float, d: int, snap: int, cfg: Config) -> float:
    """Nats that one unit of the predicted score stands for, on average (see radius_to_int)."""
    if snap not in SHRINK:
        raise ConfigError(f"snap = {snap}, legal: 0, 1, 2")
    return sq * sk8 / math.sqrt(d) / (SHRINK[snap] * 2.0 ** (cfg.SC_FRAC - 15))


def radius_to_int(
    nats: float | None, sq: float, sk8: float, d: int, snap: int, cfg: Config
) -> int:
    """Radius register for a radius in nats; None: never clip (2**SC_W - 1).

    A predicted score is sum(pow2(q)*k8) * 2**(SC_FRAC-15), and snapping makes it smaller than
    the true one by a mean factor. With the mantissa x of |q| spread evenly in log2 over 1..2
    (density 1/(x ln 2)), the mean of snapped/true is
        floor     int_1^2 (1/x) dx/(x ln2)                             = (1/2)/ln2  = .7213
        nearest   int_1^1.5 (1/x) .. + int_1.5^2 (2/x) ..              = (2/3)/ln2  = .9618
        two-term  int_1^1.5 (1/x) .. + int_1.5^2 (1.5/x) ..            = (7/12)/ln2 = .8416
    so a distance of r nats appears as r * sqrt(d)/(sq*sk8) * factor * 2**(SC_FRAC-15). A radius
    beyond the register's range becomes the one that never clips.
    """
    if nats is None or nats == math.inf:
        return cfg.RADIUS_INF
    if math.isnan(nats) or nats < 0:
        raise ConfigError(f"nats = {nats}, legal: 0 and above, or None")
    unit = score_unit(sq, sk8, d, snap, cfg)
    # A unit may be too small for a float.
    value = nats / unit if unit else (math.inf if nats else 0)
    return cfg.RADIUS_INF if value >= cfg.RADIUS_INF else round(value)


@dataclass(frozen=True)
class Quantised:
    """Integer tensors of a job with their scales and score registers.

    q, k, v int16; k8 int8 copy of K; value = integer * scale (sq, sk, sv, sk8); a value is off by
    half a scale at most where it does not saturate.
    """

    q: np.ndarray
    k: np.ndarray
    v: np.ndarray
    k8: np.ndarray
    sq: float
    sk: float
    sv: float
    sk8: float
    scale_m: int
    scale_shift: int

    def radius(self, nats: float | None, snap: int, cfg: Config) -> int:
        """Radius register for these tensors."""
        return radius_to_int(nats, self.sq, self.sk8, self.q.shape[-1], snap, cfg)


@dataclass(frozen=True)
class Peaks:
    """Values that become the largest integers, larger ones saturate: q one for each query head, k
    (K and K8) and v one for each KV head. 0 counts as 1."""

    q: tuple[float, ...]
    k: tuple[float, ...]
    v: tuple[float, ...]

    def __post_init__(self) -> None:
        for name in "qkv":
            given = getattr(self, name)
            try:
                peaks = tuple(map(float, given))
            except (TypeError, ValueError):
                peaks = (math.nan,)
            if not all(math.isfinite(peak) and peak >= 0 for peak in peaks):
                raise ConfigError(f"peaks of {name} = {given!r}, legal: a number for each head, "
                                  f"finite, 0 and above")
            object.__setattr__(self, name, peaks)


def check_heads(q: np.ndarray, k: np.ndarray, v: np.ndarray, peaks: Peaks | None) -> None:
    """ConfigError where query heads, KV heads and peaks do not fit each other."""
    if not len(k) or not len(q) or len(q) % len(k):
        raise ConfigError(f"heads = {len(q)}, legal: multiple of kv_heads = {len(k)}")
    if peaks is not None:
        for name, given, heads in (("q", peaks.q, q), ("k", peaks.k, k), ("v", peaks.v, v)):
            if len(given) != len(heads):
                raise ConfigError(f"peaks of {name} has {len(given)} entries, legal: one for each "
                                  f"of {len(heads)} heads")


def _quantise_keys(
    k: np.ndarray, v: np.ndarray, name: str = "", peak_k: float | None = None,
    peak_v: float | None = None,
) -> dict:
    """Fields of Quantised that K and V give."""
    k16, sk = quantise(k, 16, f"{name}k", peak_k)
    k8, sk8 = quantise(k, 8, f"{name}k", peak_k)
    v16, sv = quantise(v, 16, f"{name}v", peak_v)
    return {"k": k16, "sk": sk, "k8": k8, "sk8": sk8, "v": v16, "sv": sv}


def _with_queries(q: np.ndarray, sq: float, keys: dict, cfg: Config) -> Quantised:
    """All fields of Quantised, from integers q with their scale and _quantise_keys."""
    scale_m, shift = log2_multiplier(sq, keys["sk"], q.shape[-1], cfg)
    return Quantised(q=q, sq=sq, scale_m=scale_m, scale_shift=shift, **keys)


def quantise_attention(q: np.ndarray, k: np.ndarray, v: np.ndarray, cfg: Config) -> Quantised:
    """Quantise float Q, K, V of any leading shape [..., d], with one scale for each."""
    return _with_queries(*quantise(q, 16, "q"), _quantise_keys(k, v), cfg)


def quantise_heads(
    q: np.ndarray, k: np.ndarray, v: np.ndarray, cfg: Config, peaks: Peaks | None = None
) -> list[Quantised]:
    """A Quantised of each query head, arrays [1, rows, d] and [1, keys, d]; those of a KV head are
    shared by its group. q [heads, rows, d], k, v [kv_heads, keys, d].

    No head has a part in the integers or scales of another. peaks: None takes them from the
    tensors, and then every token has a part in the scale of its head, a later one too.
    """
    check_heads(q, k, v, peaks)
    group, done = len(q) // len(k), []
    for h in range(len(q)):
        kv = h // group
        at_q, at_k, at_v = (peaks.q[h], peaks.k[kv], peaks.v[kv]) if peaks else (None,) * 3
        if h % group == 0:
            keys = _quantise_keys(k[kv : kv + 1], v[kv : kv + 1], f"KV head {kv}: ", at_k, at_v)
        done.append(_with_queries(*quantise(q[h : h + 1], 16, f"query head {h}: q", at_q), keys,
                                  cfg))
    return done
