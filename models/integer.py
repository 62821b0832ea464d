# SPDX-License-Identifier: Apache-2.0
"""The integer arithmetic around attention: requantisation, square root, GELU and LayerNorm.

Polynomials and iteration are those of I-BERT (S. Kim et al., ICML 2021), whose integer softmax is
models.lab.peers.ibert. value = integer * scale; every function says which integers it takes,
refuses others, and needs 64 bits at most for what it takes.

    erf(x) is about sgn(x) (1 - 0.2888 (min(|x|, 1.769) - 1.769)**2)
    GELU(x) = x (1 + erf(x / sqrt(2))) / 2
"""

from __future__ import annotations

import math

import numpy as np

M_BITS = 31
"""Bits of a multiplier."""

E_MAX = 62
"""Largest shift of a multiplier."""

ERF_A, ERF_B = 0.2888, 1.769
"""erf of x in 0..ERF_B is about 1 - ERF_A (x - ERF_B)**2, beyond it 1."""

LEAST_GELU_SCALE = 2.0**-20
"""Least scale of int_gelu's input."""

NORM_BITS = 31
"""int_normalise divides 2**NORM_BITS by the standard deviation."""

NORM_WIDTH = 4096
"""Most elements of a row of int_normalise."""


def top(bits: int) -> int:
    """Largest integer of a symmetric range: -top..top."""
    return (1 << (bits - 1)) - 1


def _check_peak(name: str, x: np.ndarray, peak: int) -> np.ndarray:
    """x as int64; ValueError where it leaves -peak..peak."""
    x = np.asarray(x, np.int64)
    if x.size and (x.max() > peak or x.min() < -peak):
        raise ValueError(f"{name} holds {x.min()}..{x.max()}, legal: {-peak}..{peak}")
    return x


def multiplier(ratio: np.ndarray | float) -> tuple[np.ndarray, np.ndarray]:
    """(m, e), int64: m / 2**e is the ratio to M_BITS bits, |m| below 2**M_BITS, e in 1..E_MAX.

    Ratios below 2**-31 keep fewer bits. ValueError for one of 2**30 and above, or not finite.
    """
    ratio = np.asarray(ratio, np.float64)
    if not (np.abs(ratio) < 1 << (M_BITS - 1)).all():
        raise ValueError(f"ratio = {ratio[~(np.abs(ratio) < 1 << (M_BITS - 1))].flat[0]}, legal: "
                         f"below 2**{M_BITS - 1} in size")
    _, exponent = np.frexp(ratio)
    e = np.minimum(M_BITS - exponent.astype(np.int64), E_MAX)
    m = np.rint(np.ldexp(ratio, e)).astype(np.int64)
    # A fraction that rounds to 1.
    over = np.abs(m) >> M_BITS
    m, e = m >> over, e - over
    if (e < 1).any():
        raise ValueError(f"ratio rounds to 2**{M_BITS - 1}, legal: below")
    return m, e


def requantise(x: np.ndarray, m: np.ndarray, e: np.ndarray, bits: int | None = None) -> np.ndarray:
    """x m / 2**e rounded, halves up, int64; with bits, saturated to -top(bits)..top(bits).

    x -2**31..2**31; m, e of ``multiplier``, of the shape of x or of its last axes.
    """
    x = _check_peak("x", x, 1 << 31)
    y = (x * m + (np.int64(1) << (e - 1))) >> e
    return y if bits is None else np.clip(y, -top(bits), top(bits))


def int_sqrt(n: np.ndarray) -> np.ndarray:
    """floor(sqrt(n)), int64, of n 0..2**62-1, by Newton's method from a power of two above it."""
    n = np.asarray(n, np.int64)
    if n.size and (n.min() < 0 or n.max() >> 62):
        raise ValueError(f"n holds {n.min()}..{n.max()}, legal: 0..2**62-1")
    x = np.ones_like(n)
    while (low := x * x <= n).any():
        x = np.where(low, x << 1, x)
    # n = 0 begins at 1 and ends at 0.
    while (lower := (y := (x + n // np.maximum(x, 1)) >> 1) < x).any():
        x = np.where(lower, y, x)
    return x


def int_gelu(x: np.ndarray, scale: float) -> tuple[np.ndarray, float]:
    """(integers, their scale): GELU of x -32767..32767 with ``scale`` LEAST_GELU_SCALE..1.

    The result stays within 2**31. Off by up to 0.02 from GELU, the error of the polynomial, and
    for coarse scales by the rounding of its two coefficients.
    """
    if not LEAST_GELU_SCALE <= scale <= 1:
        raise ValueError(f"scale = {scale}, legal: {LEAST_GELU_SCALE}..1")
    x = _check_peak("x", x, top(16))
    inner = scale / math.sqrt(2)
    unit = ERF_A * inner**2
    b, one = math.floor(ERF_B / inner), math.floor(1 / unit)
    erf = np.sign(x) * (one - (np.minimum(np.abs(x), b) - b) ** 2)
    # 1 + erf in 16 bits.
    drop = max(one.bit_length() - 15, 0)
    return x * ((erf + one) >> drop), scale * unit * 2.0**drop / 2


def int_normalise(x: np.ndarray) -> np.ndarray:
    """Rows of x less their mean over their standard deviation, int64, unit norm_unit(n).

    x [.., n] -32767..32767, n up to NORM_WIDTH. Mean and root are whole units of x, the quotient
    2**NORM_BITS / root is cut to a whole number: with root that of the sum of squares around the
    rounded mean, the result is too large by up to 1 / root and too small by up to
    root / 2**NORM_BITS of itself. Within -2**30..2**30. A constant row gives 0.
    """
    x = _check_peak("x", x, top(16))
    n = x.shape[-1]
    if not 1 <= n <= NORM_WIDTH:
        raise ValueError(f"row of {n} elements, legal: 1..{NORM_WIDTH}")
    mean = (2 * x.sum(axis=-1, keepdims=True) + n) // (2 * n)
    y = x - mean
    root = int_sqrt((y * y).sum(axis=-1, keepdims=True))
    return (y * ((1 << NORM_BITS) // np.maximum(root, 1))) >> 1


def norm_unit(n: int) -> float:
    """Scale of what int_normalise gives for rows of n elements."""
    return math.sqrt(n) / 2.0 ** (NORM_BITS - 1)
