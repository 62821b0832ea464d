# SPDX-License-Identifier: Apache-2.0
"""The ISSCC 2022 processor by hand, against plain Python, and what must hold for any input."""

import math

import numpy as np
import pytest

from models.lab.methods.method import Call
from models.lab.peers.isscc22 import Isscc22
from models.lab.peers.parts import own_keys
from models.tests.lab.peers.calls import SHAPES, dense, dot, make, softmax, visible, whole


def two_bits(x, small):
    """Integers below 2**small with their two leading bits, ties to even."""
    if abs(x) >= 2**small or abs(x) < 4:
        return x
    step = 2 ** (abs(x).bit_length() - 2)
    return round(x / step) * step


def slow(call, s):
    """Pairs computed and selected, and the output."""
    heads, rows, keys = len(call.q), call.q.shape[1], call.k.shape[1]
    computed, selected = (np.zeros((heads, rows, keys), bool) for _ in range(2))
    out = np.zeros(call.q.shape)
    for h in range(heads):
        kv = h // call.group
        (q, sq), (k, sk) = whole(call.q[h], 12), whole(call.k[kv], 12)
        v, sv = whole(call.v[kv], 12)
        q, k, v = ([[two_bits(x, s.small) for x in row] for row in m] for m in (q, k, v))
        for r, own in enumerate(own_keys(call)):
            score = {}
            for side in (range(own, -1, -1), range(own, keys)):
                peak, zeros = -math.inf, 0
                for j in side:
                    if not visible(call, r, j):
                        continue
                    score[j] = dot(q[r], k[j]) * sq * sk / math.sqrt(call.d)
                    peak = max(peak, score[j])
                    zeros = zeros + 1 if score[j] < peak - s.cutoff else 0
                    if zeros == s.run:
                        break
            left = [j for j in sorted(score) if score[j] >= max(score.values()) - s.cutoff]
            computed[h, r, list(score)] = True
            selected[h, r, left] = True
            p = [two_bits(round(x * 4096), s.small) for x in softmax([score[j] for j in left])]
            out[h, r] = [dot(p, [v[j][e] * sv for j in left]) / 4096 for e in range(call.d)]
    return computed, selected, out


def one_row(scores, own, **settings):
    """Selection of a single row with the given scores (its visited, its selected keys)."""
    method = Isscc22(**settings)
    x = np.array(scores, np.float32)[None, None]
    visited = method.speculate(x, np.ones(x.shape[1:], bool), np.array([own]))
    return np.flatnonzero(visited[0, 0]).tolist()


def test_speculation_by_hand():
    # From key 4 to the left: 9, 3 (zero: 6 below), 8, 2, 7; to the right: 5, 1, 9.
    scores = [7, 2, 8, 3, 9, 5, 1, 9]
    # One zero ends a side: left at key 3, right at key 6 (8 below 9); key 5 is only 4 below.
    assert one_row(scores, 4, cutoff=5, run=1) == [3, 4, 5, 6]
    # Two in succession never happen.
    assert one_row(scores, 4, cutoff=5, run=2) == list(range(8))
    # From key 3 the left side begins at 3 and rises to 8: its zeros are 2 (6 below 8) and no other.
    assert one_row(scores, 3, cutoff=5, run=1) == [1, 2, 3, 4, 5, 6]


def test_two_leading_bits():
    method = Isscc22(small=6)
    x = np.array([0, 1, 3, 5, 6, 7, 11, -45, 63, 64, 100], np.float32)
    # 5 = 101b to 4 (tie to even), 7 to 8, 11 = 1011b to 12, 45 = 101101b to 48, 63 to 64.
    assert method.rounded(x).tolist() == [0, 1, 3, 4, 6, 8, 12, -48, 64, 64, 100]
    assert method.rounded(x).tolist() == [two_bits(int(v), 6) for v in x]
    assert Isscc22(small=0).rounded(x).tolist() == x.tolist()


def test_products_by_hand():
    # q = 2047, 10; k = 2047, 10 and 10, 10 (one scale, largest 2047): products of the first key
    # are big x big and small x small, of the second big x small and small x small.
    q = np.array([[[2047.0, 10.0]]], np.float32)
    k = np.array([[[2047.0, 10.0], [10.0, 10.0]]], np.float32)
    # V: one large, three small operands.
    v = np.array([[[2047.0, 1.0], [1.0, 1.0]]], np.float32)
    got = Isscc22(cutoff=math.inf).attend(Call(q * 1e-3, k * 1e-3, v))
    ops = got.counts.ops["compute"]
    # Scores 2.97, 0.01: P is 3892 and 204 of 4096, both large. With V: big x big once, big x
    # small three times.
    assert ops["mul12x12"] == 1 + 1
    # One mixed product of scores, two small ones on one multiplier, three mixed with V.
    assert ops["mul12x2"] == 1 + 1 + 3
    assert ops["add24"] == 4 + 4 + 2
    assert got.counts.bytes == {"q": 3, "k": 6, "v": 6, "o": 3}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("settings", [
    Isscc22(), Isscc22(cutoff=1.5, run=1), Isscc22(cutoff=2, run=3, small=0),
    Isscc22(cutoff=0.5, run=2, small=9)])
def test_equals_plain_python(shape, settings):
    call = make(11, *shape, sharp=2)
    computed, selected, out = slow(call, settings)
    got = settings.attend(call)
    assert (got.selected == selected).all()
    # A probability next to the middle of two steps may fall on either side.
    assert np.abs(got.out - out).max() < 2e-3
    counts = got.counts
    assert counts.selected == selected.sum()
    assert counts.ops["predict"]["cmp12"] == 2 * computed.sum()
    assert counts.ops["predict"]["add24"] == (computed & ~selected).sum() * call.d


@pytest.mark.parametrize("shape", SHAPES)
def test_everything_kept_is_dense(shape):
    call = make(12, *shape)
    got = Isscc22(cutoff=math.inf, small=0).attend(call)
    assert (got.selected == call.mask()).all() and got.counts.keep == 1
    exact = dense(call)
    assert np.abs(got.out - exact).max() < 5e-3
    approximate = Isscc22(cutoff=math.inf).attend(call).out
    assert 0 < np.linalg.norm(approximate - exact) < 0.05 * np.linalg.norm(exact)


@pytest.mark.parametrize("knob", ["cutoff", "run"])
@pytest.mark.parametrize("causal", [False, True])
def test_more_kept_is_more(knob, causal):
    # Scores computed; a smaller maximum among fewer of them may let others through.
    call, before = make(13, causal, 4, 2, 40, 40, sharp=2), None
    for value in (9, 5, 3, 2, 1):
        method = Isscc22(**{"cutoff": 2.0, "run": 2, knob: value})
        visited = method.speculate(call.logits(), call.mask(), own_keys(call))
        got = method.attend(call)
        assert not ((visited | got.selected) & ~call.mask()).any()
        assert got.selected.any(axis=-1).all()
        assert before is None or not (visited & ~before).any()
        before = visited
    assert before.sum() < 0.7 * call.mask().sum() * 4


def test_bad_settings():
    with pytest.raises(ValueError, match="run = 0, legal: integer 1..65536"):
        Isscc22(run=0)
    with pytest.raises(ValueError, match="cutoff = -1, legal: 0..inf"):
        Isscc22(cutoff=-1)
