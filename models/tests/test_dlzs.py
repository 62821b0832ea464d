# SPDX-License-Identifier: Apache-2.0
"""Q codes and predicted scores."""

import math

import numpy as np
import pytest

from models import dlzs
from models.config import Config
from models.dlzs import FLOOR, NEAREST, TWO_TERM

SMALL = Config.from_name("small").replace(TWO_TERM=1)
ALL = np.arange(-32768, 32768)


def test_example_of_the_paper():
    # 24 * 6 = 144; only 6 snapped to 4: 96; both snapped: 16 * 4 = 64.
    assert 24 * dlzs.decode(dlzs.encode(6, FLOOR)) == 96
    assert dlzs.scores_both(np.array([[6]]), np.array([[24]])).item() == 64
    # In the hardware the product is scaled by 2**(SC_FRAC-15); 24 << 10 keeps it whole.
    code = dlzs.encode(np.array([[6 << 10]]), FLOOR)
    score = dlzs.scores(code, np.array([[24]]), SMALL.replace(SC_FRAC=8))
    assert score.item() == (96 << 10 << 8) >> 15 == 768


@pytest.mark.parametrize("q, floor, nearest, two_term", [
    (0, 0, 0, 0), (1, 0, 0, 0), (-1, 0, 0, 0), (2, 1, 1, 1), (3, 1, 2, 0x21),
    (-2, 0x11, 0x11, 0x11), (5, 2, 2, 2), (6, 2, 3, 0x22), (7, 2, 3, 0x22), (-6, 0x12, 0x13, 0x32),
    (24575, 14, 14, 14), (24576, 14, 15, 0x2E), (32767, 14, 15, 0x2E), (-32768, 0x1F, 0x1F, 0x1F),
])
def test_codes_by_hand(q, floor, nearest, two_term):
    got = [int(dlzs.encode(q, snap)) for snap in (FLOOR, NEAREST, TWO_TERM)]
    assert got == [floor, nearest, two_term]


def test_codes_of_every_value_against_logarithms():
    for snap in dlzs.SNAPS:
        value = dlzs.decode(dlzs.encode(ALL, snap))
        for q, got in zip(ALL[::7], value[::7], strict=True):
            a = abs(int(q))
            if a < 2:
                want = 0.0
            else:
                e = int(math.floor(math.log2(a)))
                half_up = a >= 1.5 * 2**e
                want = {FLOOR: 2.0**e, NEAREST: 2.0 ** min(15, e + half_up),
                        TWO_TERM: 2.0**e * (1.5 if half_up else 1.0)}[snap]
            assert got == math.copysign(want, q) or (got == 0 and want == 0)


def test_mean_errors_exhaustive_8_bit():
    """Mean relative error of a product, over all pairs of 8-bit magnitudes 1..255."""
    x = np.arange(1, 256)
    exact = x[:, None] * x[None, :]

    def error(a, b):
        return float((np.abs(a[:, None] * b[None, :] - exact) / exact).mean())

    floor = dlzs.decode_small(x, FLOOR)
    nearest = dlzs.decode_small(x, NEAREST)
    assert error(x, floor) == pytest.approx(0.299, abs=0.001)
    assert error(x, nearest) == pytest.approx(0.169, abs=0.001)
    assert error(floor, floor) == pytest.approx(0.508, abs=0.001)


def slow_score(q, k8, snap, frac):
    """One score straight from the words of the contract, in Python integers."""
    total = 0
    for a, b in zip(q, k8, strict=True):
        code = int(dlzs.encode(int(a), snap))
        exp, sign, follow = code & 15, code >> 4 & 1, code >> 5
        if exp == 0:
            continue
        term = (3 if follow else 2) * int(b) * 2**frac // 2 ** (16 - exp)
        total += -term - 1 if sign else term
    return total


@pytest.mark.parametrize("snap", [FLOOR, NEAREST, TWO_TERM])
@pytest.mark.parametrize("frac", [0, 3, 8])
def test_scores_equal_the_cell_by_cell_sum(snap, frac):
    rng = np.random.default_rng(17 + snap + frac)
    cfg = SMALL.replace(SC_FRAC=frac)
    q = rng.integers(-32768, 32768, (9, 24)) >> rng.integers(0, 16, (9, 24))
    q[0], q[1, ::2] = 0, -32768
    k8 = rng.integers(-128, 128, (7, 24))
    codes = dlzs.encode(q, snap)
    got = dlzs.scores(codes, k8, cfg)
    assert (got == dlzs.term(codes[:, None, :], k8[None], cfg).sum(axis=2)).all()
    want = [[slow_score(a, b, snap, frac) for b in k8] for a in q]
    assert (got == np.array(want)).all() and got.size == 63
    assert (got[0] == 0).all()


def test_scores_never_overflow():
    for frac in (0, 3, 8):
        cfg = Config.from_name("paper", SC_FRAC=frac, D_MAX=256)
        k8 = np.array([[-128] * 256, [127] * 256, [-127] * 256])
        low = high = 0
        for q in (-32768, -32767, -24576, 24576, 32767):
            for snap in dlzs.SNAPS:
                got = dlzs.scores(dlzs.encode(np.full((1, 256), q), snap), k8, cfg)
                low, high = min(low, got.min()), max(high, got.max())
        top = 1 << (cfg.SC_W - 1)
        assert -top <= low < -top / 2 and top / 2 < high < top


def test_ranks_ignore_the_missing_plus_one():
    """Ones' complement shifts all keys of a row equally: no score difference changes."""
    rng = np.random.default_rng(3)
    q = rng.integers(-32767, 32768, (5, 32))
    k8 = rng.integers(-127, 128, (20, 32))
    cfg = SMALL.replace(SC_FRAC=8)
    codes = dlzs.encode(q, FLOOR)
    planes = k8[None] * 256 >> (15 - (codes & 15))[:, None, :]
    exact = np.where((codes >> 4 & 1)[:, None, :] == 1, -planes, planes)
    exact = np.where((codes & 15)[:, None, :] == 0, 0, exact).sum(axis=2)
    difference = exact - dlzs.scores(codes, k8, cfg)
    assert (difference == difference[:, :1]).all()


def test_exact_scores():
    q = np.full((1, 256), -32768)
    assert dlzs.scores_exact(q, q).item() == 256 * 2**30


def test_bad_arguments():
    with pytest.raises(ValueError, match="snap = 3"):
        dlzs.encode(5, 3)
    with pytest.raises(ValueError, match="legal: -32768..32767"):
        dlzs.encode(40000, FLOOR)
    with pytest.raises(ValueError, match="expected"):
        dlzs.scores(np.zeros((2, 8)), np.zeros((2, 16)), SMALL)
