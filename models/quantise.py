# SPDX-License-Identifier: Apache-2.0
"""Float tensors to the integers of the machine, and job settings in nats to register values.

A job has one scale for all its heads, so a tensor is quantised as a whole; to give every head
a scale of its own, run it as a job of its own. Source: docs/architecture.md sections 3 and 5;
"nats" are units of the scaled score q.k/sqrt(d).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from models.config import Config, ConfigError
from models.dlzs import FLOOR, NEAREST, TWO_TERM

SHRINK = {
    FLOOR: 0.5 / math.log(2),
    NEAREST: (2 / 3) / math.log(2),
    TWO_TERM: (7 / 12) / math.log(2),
}
"""Mean of (snapped value) / (value) for each snap rule; see radius_to_int."""


def quantise(x: np.ndarray, bits: int) -> tuple[np.ndarray, float]:
    """Symmetric quantisation of a whole tensor: (integers, scale), x about integers * scale.

    bits 16 or 8; integers int16 in +-32767 or int8 in +-127, so -2**(bits-1) never occurs. A
    tensor of zeros gets the scale of a peak of 1.
    """
    if bits not in (8, 16):
        raise ConfigError(f"bits = {bits}, legal: 8, 16")
    x = np.asarray(x, np.float64)
    if not np.isfinite(x).all():
        raise ConfigError("the tensor holds infinities or NaN, legal: finite numbers")
    top = (1 << (bits - 1)) - 1
    peak = float(np.abs(x).max()) if x.size else 0.0
    scale = (peak or 1.0) / top
    return np.rint(x / scale).astype(np.int16 if bits == 16 else np.int8), scale


def log2_multiplier(sq: float, sk: float, d: int, cfg: Config) -> tuple[int, int]:
    """Registers (scale_m, scale_shift) that turn q.k of integers into log2 units.

    (s >> S_DROP) * scale_m >> scale_shift = s * sq*sk * log2(e)/sqrt(d) with Z_FRAC fraction
    bits; sq, sk: scales of Q and K. scale_m keeps 16 significant bits, 2**15..2**16-1.
    """
    for name, value in (("sq", sq), ("sk", sk)):
        if not (math.isfinite(value) and value > 0):
            raise ConfigError(f"{name} = {value}, legal: finite and above 0")
    cfg.check_d(d)
    per_unit = sq * sk * math.log2(math.e) / math.sqrt(d) * 2.0**cfg.Z_FRAC
    largest = d * 32767.0**2 * per_unit
    if largest >= 2.0 ** (cfg.Z_W - 1):
        raise ConfigError(
            f"scales sq = {sq:g}, sk = {sk:g}: the largest score would be "
            f"{largest / 2**cfg.Z_FRAC:.0f} in log2 units, legal: below "
            f"{2 ** (cfg.Z_W - 1 - cfg.Z_FRAC)}"
        )
    fraction, exponent = math.frexp(per_unit * 2.0**cfg.S_DROP)
    scale_m, shift = round(fraction * 65536), 16 - exponent
    if scale_m == 65536:
        scale_m, shift = 32768, shift - 1
    if not 0 <= shift <= 47:
        raise ConfigError(
            f"scales sq = {sq:g}, sk = {sk:g} need scale_shift = {shift}, legal: 0..47"
        )
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
    if nats is None:
        return cfg.RADIUS_INF
    if math.isnan(nats) or nats < 0:
        raise ConfigError(f"nats = {nats}, legal: 0 and above, or None")
    value = nats / score_unit(sq, sk8, d, snap, cfg)
    return cfg.RADIUS_INF if value >= cfg.RADIUS_INF else round(value)


@dataclass(frozen=True)
class Quantised:
    """Integer tensors of a job with their scales and score registers.

    q, k, v int16; k8 int8 copy of K; value = integer * scale (sq, sk, sv, sk8).
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


def quantise_attention(q: np.ndarray, k: np.ndarray, v: np.ndarray, cfg: Config) -> Quantised:
    """Quantise float Q, K, V of any leading shape [..., d]."""
    q16, sq = quantise(q, 16)
    k16, sk = quantise(k, 16)
    v16, sv = quantise(v, 16)
    k8, sk8 = quantise(k, 8)
    scale_m, shift = log2_multiplier(sq, sk, q16.shape[-1], cfg)
    return Quantised(q16, k16, v16, k8, sq, sk, sv, sk8, scale_m, shift)
