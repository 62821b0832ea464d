# SPDX-License-Identifier: Apache-2.0
"""I-BERT's integers against plain Python integers, and its output against dense attention."""

import math

import numpy as np
import pytest

from models.lab.methods.method import Call
from models.lab.peers.ibert import IBert, int_exp, int_softmax
from models.tests.lab.peers.calls import SHAPES, dense, dot, make, visible, whole


def slow_softmax(scores, scale, out_bits):
    """The published steps on a list of integers, with Python's unbounded ones."""
    x0 = math.floor(-0.6931 / scale)
    b = math.floor(0.96963238 / 0.35815147 / scale)
    c = math.floor(1 / 0.35815147 / scale**2)
    e16 = []
    for score in scores:
        x = max(score - max(scores), 30 * x0)
        q = x // x0
        r = x - x0 * q
        e = ((r + b) * r + c) * 2 ** (30 - q)
        # Dyadic multiplier of 31 bits for the step from one scale to the other.
        mantissa, exponent = math.frexp(0.35815147 * scale**2 / 2**30 * 32767)
        m, shift = round(mantissa * 2**31), 31 - exponent
        e16.append(min((e * m + 2 ** (shift - 1)) // 2**shift, 32766))
    factor = 2**32 // sum(e16)
    return [e * factor // 2 ** (32 - out_bits) for e in e16]


def test_exp_by_hand():
    # scale 0.01: u = ceil(69.31) = 70, b = floor(270.73) = 270, c = floor(27921.1) = 27921.
    # x = 0: c. x = -75: one halving, r = -5, (-5 + 270) * -5 + 27921 = 26596.
    z, halvings = int_exp(np.array([0, -75]), 0.01)
    assert z.tolist() == [27921, 26596] and halvings.tolist() == [0, 1]
    value = z * 0.5**halvings * 0.35815147 * 0.01**2
    assert np.abs(value - np.exp([0, -0.75])).max() < 0.02


def test_softmax_by_hand():
    # Two equal scores: both e16 are 32766, the largest, factor floor(2^32 / 65532) = 65540,
    # 32766 * 65540 = 2147483640, 8 short of 128 * 2^24: 127 of 256 each.
    got = int_softmax(np.array([[5, 5, 9]]), np.array([[True, True, False]]), 0.01, 8)
    assert got.tolist() == [[127, 127, 0]]


@pytest.mark.parametrize("scale", [2.0**-14, 0.0007, 0.01, 0.2, 1.0])
@pytest.mark.parametrize("out_bits", [8, 16])
def test_softmax_equals_plain_integers(scale, out_bits):
    rng = np.random.default_rng(int(scale * 1e6))
    x = rng.integers(-int(12 / scale), int(12 / scale) + 1, (4, 17))
    allowed = rng.random((4, 17)) < 0.6
    allowed[:, 3] = True
    got = int_softmax(x, allowed, scale, out_bits)
    for r in range(4):
        keys = np.flatnonzero(allowed[r])
        assert got[r, keys].tolist() == slow_softmax(x[r, keys].tolist(), scale, out_bits)
        assert not got[r][~allowed[r]].any()


@pytest.mark.parametrize("shape", SHAPES)
def test_equals_plain_integers(shape):
    call = make(6, *shape, sharp=3)
    (q, sq), (k, sk), (v, sv) = (whole(x, 8) for x in (call.q, call.k, call.v))
    expected = np.zeros(call.q.shape)
    for h in range(len(q)):
        kv = h // call.group
        for r in range(call.q.shape[1]):
            keys = [j for j in range(call.k.shape[1]) if visible(call, r, j)]
            scores = [dot(q[h][r], k[kv][j]) for j in keys]
            p = slow_softmax(scores, sq * sk / math.sqrt(call.d), 8)
            for e in range(call.d):
                expected[h, r, e] = dot(p, [v[kv][j][e] for j in keys]) * sv / 256
    got = IBert().attend(call)
    assert np.abs(got.out - expected).max() < 1e-5
    assert (got.selected == call.mask()).all() and got.counts.keep == 1


@pytest.mark.parametrize("shape", SHAPES)
def test_near_dense(shape):
    call = make(7, *shape)
    exact = dense(call)
    error = [np.linalg.norm(IBert(b).attend(call).out - exact) / np.linalg.norm(exact)
             for b in (16, 8)]
    assert error[0] < 0.03 and error[0] <= error[1] < 0.1


def test_small_scores_and_zeros():
    call = make(8, True, 2, 1, 9, 9, sharp=1e-6)
    error = np.abs(IBert(16).attend(call).out - dense(call)).max()
    assert error < 0.03
    zero = np.zeros((1, 3, 4), np.float32)
    assert not IBert().attend(Call(zero, zero, zero)).out.any()


def test_counts():
    call = make(9, True, 4, 2, 10, 10, d=8)
    counts, pairs = IBert().attend(call).counts, 4 * 55
    assert counts.ops["compute"]["mul8x8"] == 2 * pairs * 8
    assert counts.ops["compute"]["div32"] == 40
    assert counts.bytes == {"q": 4 * 10 * 8, "k": 4 * 10 * 8, "v": 4 * 10 * 8, "o": 4 * 10 * 8}


def test_bad_settings():
    with pytest.raises(ValueError, match="out_bits = 17, legal: integer 2..16"):
        IBert(17)
    with pytest.raises(ValueError, match="scale of the scores, nats = 2"):
        int_exp(np.array([0]), 2)
