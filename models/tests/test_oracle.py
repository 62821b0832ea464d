# SPDX-License-Identifier: Apache-2.0
"""The float64 reference and the measures."""

import math

import numpy as np
import pytest

from models import oracle


def test_attention_by_hand():
    # d = 4, so scores are q.k / 2: ln 3 and 0, weights 3/4 and 1/4.
    q = np.array([[2 * math.log(3), 0, 0, 0]])
    k = np.array([[1.0, 0, 0, 0], [0, 1, 0, 0], [5, 5, 5, 5]])
    v = np.array([[4.0, 0], [0, 8], [100, 100]])
    mask = np.array([[True, True, False]])
    assert oracle.attention(q, k, v, mask) == pytest.approx(np.array([[3.0, 2.0]]))
    assert not oracle.attention(q, k, v, np.zeros((1, 3), bool)).any()


def test_softmax_of_large_scores():
    got = oracle.softmax(np.array([[1e6, 1e6, -1e6]]), np.ones((1, 3), bool))
    assert got.tolist() == [[0.5, 0.5, 0.0]]


def test_causal_mask_with_offset():
    assert oracle.causal_mask(2, 4, True, 1).tolist() == [
        [True, True, False, False], [True, True, True, False]]
    assert oracle.causal_mask(2, 3, False).all()
    x = np.eye(4)
    assert oracle.dense_attention(x, x, x, causal=True)[0].tolist() == [1, 0, 0, 0]


def test_relative_error():
    assert oracle.relative_error([3.0, 4.4], [3.0, 4.0]) == pytest.approx(0.08)
    assert oracle.relative_error([0.0], [0.0]) == 0.0
    assert oracle.relative_error([1.0], [0.0]) == math.inf


def test_topk_and_recall():
    scores = np.array([[1.0, 5, 5, 0], [9, 8, 7, 6]])
    mask = np.array([[True] * 4, [False, True, True, False]])
    assert oracle.row_topk(mask, 0.5).tolist() == [2, 1]
    best = oracle.topk(scores, mask, np.array([1, 3]))
    assert best.tolist() == [[False, True, False, False], [False, True, True, False]]
    truth = np.array([[True, True, False, False], [False, True, False, False]])
    assert oracle.recall(best, truth) == pytest.approx((0.5 + 1.0) / 2)
    assert oracle.recall(best[:1], np.vstack([truth[:1]])) == 0.5
    with pytest.raises(ValueError, match="no row"):
        oracle.recall(best, np.zeros_like(truth))
    for keep in (0, -0.1, 1.1):
        with pytest.raises(ValueError, match="keep = "):
            oracle.row_topk(mask, keep)


def test_rows_without_a_key_to_find_are_left_out():
    truth = np.array([[True, False], [False, False]])
    assert oracle.recall(truth, truth) == 1.0


def test_retained_mass():
    scores = np.log(np.array([[1.0, 2.0, 5.0, 2.0]]))
    mask = np.ones((1, 4), bool)
    chosen = np.array([[False, True, True, False]])
    assert oracle.retained_mass(scores, mask, chosen) == pytest.approx(0.7)
    assert oracle.retained_mass(scores, mask, mask) == pytest.approx(1.0)
