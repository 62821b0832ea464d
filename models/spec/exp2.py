# SPDX-License-Identifier: Apache-2.0
"""Piecewise linear 2**f for f in 0..1: the tables that the RTL reads, too, and what they give.

scripts/regmap.py writes the tables to rtl/include/sofa_exp2.vh. Source of the format:
docs/architecture.md section 5.4, step 4.
"""

from __future__ import annotations

import functools

import numpy as np

SEGMENTS = 64
BASE_W = 16
"""Width of a base: 2**f in 1.15, 32768..65535."""
SLOPE_W = 10
"""Width of a slope: rise over one segment of 1/64, in units of 2**-15."""


@functools.cache
def fit() -> tuple[np.ndarray, np.ndarray]:
    """Tables (base, slope), int64 [64]: the least largest error at the 16 points of a segment.

    A search over the few integers around the chord; among equals the smallest base, then the
    smallest slope. base >= 32768 keeps the leading one of the mantissa in place.
    """
    base, slope = np.zeros(SEGMENTS, np.int64), np.zeros(SEGMENTS, np.int64)
    for i in range(SEGMENTS):
        exact = 2.0 ** ((i + np.arange(16) / 16) / SEGMENTS + 15)
        rise = round(2.0 ** ((i + 1) / SEGMENTS + 15) - exact[0])
        best = None
        for b in range(max(32768, round(exact[0]) - 3), round(exact[0]) + 4):
            for s in range(rise - 6, rise + 7):
                got = b + ((s * np.arange(16) + 8) >> 4)
                # Rounded, so that the choice does not hang on the last bit of a platform's pow.
                worst = round(float(np.abs(got - exact).max()), 6)
                if best is None or worst < best[0]:
                    best = (worst, b, s)
        _, base[i], slope[i] = best
    base.flags.writeable = slope.flags.writeable = False
    return base, slope


def mantissa(f: np.ndarray, z_frac: int = 10) -> np.ndarray:
    """2**f in 1.15 (32768..65535), int64, for fractions f of z_frac >= 6 bits."""
    base, slope = fit()
    f = np.asarray(f, np.int64)
    low = z_frac - 6
    segment, rest = f >> low, f & ((1 << low) - 1)
    half = 1 << (low - 1) if low else 0
    return base[segment] + ((slope[segment] * rest + half) >> low)
