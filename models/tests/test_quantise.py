# SPDX-License-Identifier: Apache-2.0
"""Quantisation and register values."""

import math

import numpy as np
import pytest

from models import dlzs, quantise
from models.config import Config, ConfigError
from models.sufa import log2_score

PAPER = Config.from_name("paper").replace(TWO_TERM=1)


def test_symmetric_and_by_hand():
    ints, scale = quantise.quantise([[-2.0, 1.0, 0.5, 0.0]], 8)
    assert ints.dtype == np.int8 and ints.tolist() == [[-127, 64, 32, 0]]
    assert scale == 2 / 127
    ints, scale = quantise.quantise(np.array([1.0, -0.5]), 16)
    assert ints.dtype == np.int16 and ints.tolist() == [32767, -16384]


def test_error_is_at_most_half_a_step():
    x = np.random.default_rng(2).normal(size=(50, 8))
    for bits in (8, 16):
        ints, scale = quantise.quantise(x, bits)
        assert np.abs(ints * scale - x).max() <= scale * 0.5000001
        assert np.abs(ints.astype(int)).max() == 2 ** (bits - 1) - 1


def test_zeros_and_bad_tensors():
    ints, scale = quantise.quantise(np.zeros((2, 3)), 16)
    assert scale == 1 / 32767 and not ints.any()
    for bad in (np.inf, np.nan):
        with pytest.raises(ConfigError, match="^w holds infinities or NaN, legal: finite numbers"):
            quantise.quantise([1.0, bad], 8, "w")
    with pytest.raises(ConfigError, match="bits = 12"):
        quantise.quantise([1.0], 12)


@pytest.mark.parametrize("peak", [1e-320, 1e-307, 1e-45, 1e-3, 3e38, 1.7e308])
def test_any_magnitude(peak):
    for bits, top in ((8, 127), (16, 32767)):
        ints, scale = quantise.quantise([peak, -peak / 4, 0.0], bits)
        assert np.abs(ints * scale - [peak, -peak / 4, 0]).max() <= max(scale / 1.99, 2.3e-308)
        assert ints[0] == top or peak < 1e-303


def test_given_peak_saturates():
    ints, scale = quantise.quantise([3.0, -2.0, 1.0, 0.25, -1e300], 8, peak=1.0)
    assert ints.tolist() == [127, -127, 127, 32, -127] and scale == 1 / 127
    assert quantise.quantise([-1e300, 0.5], 16, peak=5e-324)[0].tolist() == [-32767, 32767]
    assert quantise.quantise([7.0, 0.5], 8, peak=0.0)[0].tolist() == [127, 64]
    for bad in (-1.0, np.nan, np.inf):
        with pytest.raises(ConfigError, match=f"peak of w = {bad}, legal: finite, 0 and above"):
            quantise.quantise([1.0], 8, "w", bad)


@pytest.mark.parametrize("d", [8, 64, 128])
@pytest.mark.parametrize("size", [1e-6, 1e-5, 1e-4])
def test_multiplier(d, size):
    sq, sk = size, 1.7e-4
    scale_m, shift = quantise.log2_multiplier(sq, sk, d, PAPER)
    assert 2**15 <= scale_m < 2**16 and 0 <= shift <= 47
    exact = sq * sk * math.log2(math.e) / math.sqrt(d) * 2**18
    assert scale_m / 2**shift == pytest.approx(exact, rel=2**-16)
    # The whole step: one unit of z is 2**-10 in log2 units.
    s = np.array([d * 32767**2, -d * 32767**2, 12345678])
    want = s * sq * sk / math.sqrt(d) * math.log2(math.e) * 1024
    got = log2_score(s, scale_m, shift, PAPER)
    assert np.abs(got - want).max() <= 1.2 + np.abs(want).max() * 2**-16


def test_multiplier_that_rounds_up_to_a_power_of_two():
    unit = math.log2(math.e) / math.sqrt(64) * 2**18
    scale_m, shift = quantise.log2_multiplier(2.0**-20 * (1 - 2**-20) / unit, 1.0, 64, PAPER)
    assert (scale_m, shift) == (32768, 35)


@pytest.mark.parametrize("sq, sk, text", [
    (0.0, 1.0, "sq = 0"), (1.0, -1.0, "sk = -1"), (math.nan, 1.0, "sq = nan"),
    (1.0, math.inf, "sk = inf")])
def test_multiplier_refuses_what_is_no_scale(sq, sk, text):
    with pytest.raises(ConfigError, match=text):
        quantise.log2_multiplier(sq, sk, 64, PAPER)


def test_multiplier_at_both_ends():
    unit = math.log2(math.e) / 8 * 2**18
    for product, want in (
        (2.0**-32, 32768), (2.0**-33, 16384), (2.0**-45, 4), (2.9 * 2.0**-47, 3), (2.0**-49, 1),
        (1e-300, 1),
    ):
        scale_m, shift = quantise.log2_multiplier(product / unit, 1.0, 64, PAPER)
        assert shift == 47 and scale_m == want
        # No score reaches a unit of z.
        s = np.array([64 * 2**30, -64 * 2**30])
        assert np.abs(log2_score(s, scale_m, shift, PAPER)).max() <= 1
    for product in (65535.9, 65536.0, 1e300):
        assert quantise.log2_multiplier(product / unit, 1.0, 64, PAPER) == (65535, 0)
    # No product of the scales, only of their fractions, is ever made.
    assert quantise.log2_multiplier(1e-300, 1e-300, 64, PAPER) == (1, 47)
    assert quantise.log2_multiplier(1e300, 1e300, 64, PAPER) == (65535, 0)
    assert quantise.log2_multiplier(1e300, 1e-306, 64, PAPER) == quantise.log2_multiplier(
        1e-3, 1e-3, 64, PAPER)


@pytest.mark.parametrize("snap, digits", [(0, 0.7213), (1, 0.9618), (2, 0.8416)])
def test_shrink_is_the_mean_of_snapped_over_true(snap, digits):
    assert quantise.SHRINK[snap] == pytest.approx(digits, abs=1e-4)
    spread = np.rint(2 ** np.linspace(9, 14, 50001)[:-1]).astype(np.int64)
    ratio = dlzs.decode(dlzs.encode(spread, snap)) / spread
    assert ratio.mean() == pytest.approx(quantise.SHRINK[snap], abs=1e-3)


@pytest.mark.parametrize("snap", [0, 1, 2])
def test_radius_matches_predicted_distances(snap):
    """Predicted score differences, turned to nats, regress on the true ones with slope 1."""
    rng = np.random.default_rng(9)
    cfg = PAPER.replace(SC_FRAC=8)
    q, k = rng.normal(size=(40, 64)), rng.normal(size=(200, 64))
    z = quantise.quantise_attention(q, k, k, cfg)
    score = dlzs.scores(dlzs.encode(z.q, snap), z.k8, cfg)
    nats = score * quantise.score_unit(z.sq, z.sk8, 64, snap, cfg)
    true = q @ k.T / 8
    a, b = nats - nats.mean(1, keepdims=True), true - true.mean(1, keepdims=True)
    assert (a * b).sum() / (b * b).sum() == pytest.approx(1.0, abs=0.04)
    radius = z.radius(3.0, snap, cfg)
    assert radius == round(3.0 / quantise.score_unit(z.sq, z.sk8, 64, snap, cfg)) > 100


def test_radius_limits():
    cfg = PAPER
    inf = (1 << cfg.SC_W) - 1
    assert quantise.radius_to_int(None, 1e-4, 1e-2, 64, 0, cfg) == inf
    assert quantise.radius_to_int(0.0, 1e-4, 1e-2, 64, 0, cfg) == 0
    assert quantise.radius_to_int(1e9, 1e-4, 1e-2, 64, 0, cfg) == inf
    assert quantise.radius_to_int(math.inf, 1e-4, 1e-2, 64, 0, cfg) == inf
    # Units too small or too large for a float.
    assert quantise.radius_to_int(6.0, 1e-200, 1e-200, 64, 0, cfg) == inf
    assert quantise.radius_to_int(0.0, 1e-200, 1e-200, 64, 0, cfg) == 0
    assert quantise.radius_to_int(6.0, 1e200, 1e200, 64, 0, cfg) == 0
    assert quantise.radius_to_int(math.inf, 1e200, 1e200, 64, 0, cfg) == inf
    for bad in (-1.0, math.nan):
        with pytest.raises(ConfigError, match="nats = "):
            quantise.radius_to_int(bad, 1e-4, 1e-2, 64, 0, cfg)
    with pytest.raises(ConfigError, match="snap = 3"):
        quantise.radius_to_int(1.0, 1e-4, 1e-2, 64, 3, cfg)
