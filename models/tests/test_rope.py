# SPDX-License-Identifier: Apache-2.0
"""Rotation of pairs, pair order and the table of cosines and sines."""

import math

import numpy as np
import pytest

from models import rope, workloads


def slow(x0, x1, c, s):
    """The contract's two lines in Python integers."""
    def sat(v):
        return max(-32768, min(32767, v))

    return sat((x0 * c - x1 * s + 8192) >> 14), sat((x0 * s + x1 * c + 8192) >> 14)


def test_rotate_follows_the_contract():
    rng = np.random.default_rng(5)
    x = rng.integers(-32768, 32768, (400, 2))
    x[:6] = [[-32768, -32768], [-32768, 32767], [32767, 32767], [1, -1], [0, 0], [-1, 1]]
    cs = rng.integers(-16384, 16385, (400, 2))
    cs[:6] = [[11585, 11585], [16384, 0], [11585, -11585], [8192, 8192], [0, 16384], [-16384, 0]]
    got = np.stack(rope.rotate(x[:, 0], x[:, 1], cs[:, 0], cs[:, 1]), 1)
    want = [slow(*map(int, (*a, *b))) for a, b in zip(x, cs, strict=True)]
    assert (got == want).all() and got.dtype == np.int64
    # Both saturations and both signs of rounding were met.
    assert got.max() == 32767 and got.min() == -32768
    assert slow(1, 0, 8192, 0)[0] == 1 and slow(-1, 0, 8192, 0)[0] == 0


def test_pair_order():
    assert rope.pair_dims(8, rope.HALF).tolist() == [0, 4, 1, 5, 2, 6, 3, 7]
    for mode in (rope.OFF, rope.INTERLEAVED):
        assert rope.pair_dims(8, mode).tolist() == list(range(8))
    with pytest.raises(ValueError, match="mode = 3"):
        rope.pair_dims(8, 3)


def test_table():
    rt = rope.table(300, 16, 1e4)
    assert rt.dtype == np.int16 and rt.shape == (300, 16)
    assert (rt[0] == [16384, 0] * 8).all()
    for j, i in ((1, 0), (7, 3), (299, 7), (250, 0)):
        angle = j * 1e4 ** (-2 * i / 16)
        assert rt[j, 2 * i] == round(math.cos(angle) * 16384)
        assert rt[j, 2 * i + 1] == round(math.sin(angle) * 16384)
    assert (rope.table(50, 16, 1e4, start=250) == rt[250:]).all()


@pytest.mark.parametrize("mode, pairs", [(rope.INTERLEAVED, "interleaved"), (rope.HALF, "half")])
def test_error_against_float(mode, pairs):
    """Half a unit of rounding and the table's half unit of 2**-14 on each of two products."""
    rng = np.random.default_rng(6)
    x = rng.integers(-23000, 23001, (2048, 64))
    got = rope.rotate_natural(x, rope.table(2048, 64, 1e5), mode)
    error = np.abs(got - workloads.rope(x.astype(float), 1e5, pairs))
    assert 0.5 < error.max() <= 0.5 + 2 * 23000 * 0.5 / 16384
    assert np.linalg.norm(error) / np.linalg.norm(x) < 5e-5
    other = workloads.rope(x.astype(float), 1e5, "half" if mode == rope.INTERLEAVED else
                           "interleaved")
    assert np.abs(got - other).max() > 1000


def test_mode_off_and_missing_table():
    x = np.arange(16)
    assert (rope.rotate_natural(x, None, rope.OFF) == x).all()
    with pytest.raises(ValueError, match="needs a table"):
        rope.rotate_natural(x, None, rope.HALF)
