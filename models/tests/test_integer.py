# SPDX-License-Identifier: Apache-2.0
"""Integer arithmetic around attention: by hand, against Python's integers, and at the extremes."""

import math

import numpy as np
import pytest

from models.integer import (
    LEAST_GELU_SCALE,
    NORM_WIDTH,
    int_gelu,
    int_normalise,
    int_sqrt,
    multiplier,
    norm_unit,
    requantise,
)

RNG = np.random.default_rng(10)


# ---- steps between scales ---------------------------------------------------------------------


def test_multiplier_by_hand():
    # 0.75 has the fraction 0.75 and no exponent; 3 the fraction 0.75 and exponent 2; 2**-40 is
    # shifted by 62 at most; a fraction that rounds to 1 becomes a half and one shift less.
    m, e = multiplier(np.array([0.75, 3, -0.5, 0, 2.0**-40, 1 - 2.0**-40]))
    assert m.tolist() == [3 << 29, 3 << 29, -(1 << 30), 0, 1 << 22, 1 << 30]
    assert e.tolist() == [31, 29, 31, 31, 62, 30]


@pytest.mark.parametrize("ratio", [2.0**30, -(2.0**30), 2.0**30 - 2.0**-3, math.inf, math.nan])
def test_multiplier_refuses_what_it_cannot_hold(ratio):
    with pytest.raises(ValueError, match=r"ratio.*legal: below"):
        multiplier(np.array([0.5, ratio]))


def test_requantise_by_hand():
    # 7.5 and -7.5 round up, 2.25 down; 8 bits end at 127.
    m, e = multiplier(0.75)
    assert requantise(np.array([10, -10, 3, -200, 200]), m, e).tolist() == [8, -7, 2, -150, 150]
    assert requantise(np.array([-200, 200]), m, e, 8).tolist() == [-127, 127]


def test_requantise_equals_python_integers_up_to_the_extremes():
    ratios = np.array([2.0**30 - 1, -(2.0**30 - 1), 1 - 2.0**-40, 0.3, 2.0**-31, 1e-9, 0])
    m, e = multiplier(ratios)
    x = np.concatenate([[-(1 << 31), (1 << 31), 0, 1, -1], RNG.integers(-(1 << 31), 1 << 31, 20)])
    got = requantise(x[:, None], m, e)
    for row, value in zip(got, x.tolist(), strict=True):
        want = [(value * a + (1 << (b - 1))) >> b
                for a, b in zip(m.tolist(), e.tolist(), strict=True)]
        assert row.tolist() == want
    with pytest.raises(ValueError, match=r"x holds 0\.\.2147483649, legal: -2147483648\.\."):
        requantise(np.array([0, (1 << 31) + 1]), m[0], e[0])


# ---- square root ------------------------------------------------------------------------------


def test_sqrt_by_hand():
    # 10 has 4 bits: from 4 to (4 + 2) / 2 = 3, then (3 + 3) / 2 = 3 again.
    assert int_sqrt(np.array([10, 0, 1, 2, 3, 4, 15, 16, 17])).tolist() == [3, 0, 1, 1, 1, 2, 3, 4,
                                                                           4]


def test_sqrt_is_the_floor_of_the_root():
    root = np.concatenate([[1, 2, (1 << 31) - 1], RNG.integers(1, 1 << 31, 50)])
    n = np.concatenate([root**2 - 1, root**2, root**2 + 1, [(1 << 62) - 1],
                        RNG.integers(0, 1 << 62, 50) >> RNG.integers(0, 62, 50)])
    assert int_sqrt(n).tolist() == [math.isqrt(value) for value in n.tolist()]
    for bad in (-1, 1 << 62):
        with pytest.raises(ValueError, match=r"legal: 0..2\*\*62-1"):
            int_sqrt(np.array([bad]))


# ---- GELU -------------------------------------------------------------------------------------


def test_gelu_by_hand():
    # scale / sqrt(2) = 1/8 (a little more): b = floor(1.769 * 8) = 14, 1 is
    # floor(64 / 0.2888) = 221. At 8, erf is 221 - (8 - 14)**2 = 185: 8 * (221 + 185) = 3248; at -8
    # -8 * (221 - 185); beyond 14 all or nothing.
    scale = math.sqrt(2) / 8 * (1 + 1e-12)
    y, unit = int_gelu(np.array([8, -8, 20, -20, 0, 1]), scale)
    assert y.tolist() == [3248, -288, 8840, 0, 0, 273]
    assert unit == pytest.approx(scale * 0.2888 / 64 / 2)
    # sqrt(2) (1 + erf(1)) / 2
    assert y[0] * unit == pytest.approx(math.sqrt(2) * (1 + math.erf(1)) / 2, abs=0.02)


@pytest.mark.parametrize("scale", [LEAST_GELU_SCALE, 2.0**-12, 3e-4, 1.0])
def test_gelu_stays_in_32_bits_and_near_the_function(scale):
    x = np.unique(np.concatenate([[-32767, -1, 0, 1, 32767], RNG.integers(-32767, 32768, 2000)]))
    y, unit = int_gelu(x, scale)
    assert np.abs(y).max() < 1 << 31
    b, one = math.floor(1.769 / (scale / math.sqrt(2))), math.floor(2 / (0.2888 * scale**2))
    drop = max(one.bit_length() - 15, 0)
    for value, got in zip(x.tolist(), y.tolist(), strict=True):
        sign = (value > 0) - (value < 0)
        assert got == value * ((one + sign * (one - (min(abs(value), b) - b) ** 2)) >> drop)
    if scale < 0.1:
        value = x * scale
        want = np.array([v * (1 + math.erf(v / math.sqrt(2))) / 2 for v in value])
        assert np.abs(y * unit - want).max() < 0.02 + 2e-4 * np.abs(want).max()


def test_gelu_refuses_other_ranges():
    with pytest.raises(ValueError, match=r"x holds 0\.\.32768, legal: -32767\.\.32767"):
        int_gelu(np.array([0, 32768]), 0.01)
    for scale in (0.0, LEAST_GELU_SCALE / 2, 1.5, math.nan):
        with pytest.raises(ValueError, match=r"scale = .*, legal: "):
            int_gelu(np.array([0]), scale)


# ---- LayerNorm --------------------------------------------------------------------------------


def test_normalise_by_hand():
    # Mean 3, root of 4 + 1 + 0 + 9 = 14 is 3, 2**31 / 3 = 715827882 and a bit, halved downwards.
    z = int_normalise(np.array([[1, 2, 3, 6], [7, 7, 7, 7]]))
    assert z.tolist() == [[-715827882, -357913941, 0, 1073741823], [0, 0, 0, 0]]
    assert norm_unit(4) == 2.0**-29
    np.testing.assert_allclose(z[0] * norm_unit(4), [-4 / 3, -2 / 3, 0, 2], atol=1e-8)
    # A mean of -1/2 rounds up, one of -3/4 down: 2 * -1 + 2 over 4 is 0, 2 * -3 + 4 over 8 is -1.
    assert int_normalise(np.array([0, -1])).tolist() == [0, -(1 << 30)]
    assert int_normalise(np.array([0, -1, -1, -1])).tolist() == [1 << 30, 0, 0, 0]


@pytest.mark.parametrize("width", [1, 7, 384, NORM_WIDTH])
def test_normalise_within_its_range_and_error(width):
    rows = RNG.integers(-32767, 32768, (6, width))
    rows[1] = 32767 * np.where(np.arange(width) % 2, -1, 1)
    rows[2] = -32767
    rows[2, 0] = 32767
    rows[3] = RNG.integers(-300, 301, width)
    rows[4:] >>= 4
    z = int_normalise(rows)
    assert np.abs(z).max() <= 1 << 30
    x = rows - rows.mean(axis=1, keepdims=True)
    deviation = rows.std(axis=1, keepdims=True)
    want = x / np.where(deviation > 0, deviation, 1)
    root = deviation * math.sqrt(width)
    # Half a unit of the mean, and what the root and the quotient lose.
    slack = 0.5 / np.maximum(deviation, 1) + np.abs(want) * (2 / np.maximum(root, 1)
                                                             + (root + 1) / 2**31)
    assert (np.abs(z * norm_unit(width) - want) <= slack + 1e-6).all()


def test_normalise_refuses_other_ranges():
    with pytest.raises(ValueError, match=r"legal: -32767\.\.32767"):
        int_normalise(np.array([1, -32768]))
    for width in (0, NORM_WIDTH + 1):
        with pytest.raises(ValueError, match=f"row of {width} elements, legal: 1..{NORM_WIDTH}"):
            int_normalise(np.zeros(width, int))
