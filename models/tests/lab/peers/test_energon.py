# SPDX-License-Identifier: Apache-2.0
"""Energon: two rounds of low-bit scores against row statistics."""

from fractions import Fraction

import numpy as np
import pytest

from models.lab.methods.method import Call
from models.lab.peers.energon import Energon
from models.tests.lab.peers.calls import SHAPES, dense, dot, make, visible, whole


def hand() -> Call:
    """Peaks of 7, so the values are their own INT4 codes."""
    q = np.array([[[7, -1]]], np.float32)
    k = np.array([[[7, 2], [3, 1], [-5, 3], [1, -7]]], np.float32)
    return Call(q, k, np.eye(4, 2, dtype=np.float32)[None])


@pytest.mark.parametrize("alpha0, alpha1, first, last", [
    # Upper two bits of the keys: (4, 0), (0, 0), (-8, 0), (0, -8). Scores 28, 0, -56, 8; mean -5,
    # so a = 0 keeps those from -5 up.
    (0, 0, [0, 1, 3], [0]),
    # Round 1: 47, 20, 14, mean 27. a = -.5 asks for .5 * 14 + .5 * 27 = 20.5,
    # a = -.6 for .6 * 14 + .4 * 27 = 19.2.
    (0, -0.5, [0, 1, 3], [0]),
    (0, -0.6, [0, 1, 3], [0, 1]),
    # a = .3 asks for .3 * 28 - .7 * 5 = 4.9 in round 0; then 47 and 14 have the mean 30.5.
    (0.3, 0, [0, 3], [0]),
    # a = -.9 asks for -.9 * 56 - .1 * 5 = -50.9 in round 0.
    (-0.9, -0.9, [0, 1, 3], [0, 1]),
])
def test_by_hand(alpha0, alpha1, first, last):
    rounds = Energon(alpha0, alpha1).rounds(hand())
    assert [np.flatnonzero(chosen).tolist() for chosen in rounds] == [first, last]


def reference(call, alpha0, alpha1):
    """The rule in exact fractions, a pair at a time: (round 0, round 1)."""
    rounds = np.zeros((2, len(call.q), call.q.shape[1], call.k.shape[1]), bool)
    alphas = [Fraction(a).limit_denominator(1000) for a in (alpha0, alpha1)]
    for h in range(len(call.q)):
        q, k = whole(call.q[h], 4)[0], whole(call.k[h // call.group], 4)[0]
        upper = [[4 * (int(e) // 4) for e in row] for row in k]
        for r in range(len(q)):
            keys = [j for j in range(len(k)) if visible(call, r, j)]
            for turn, (alpha, low) in enumerate(zip(alphas, (upper, k), strict=True)):
                scores = [int(dot(q[r], low[j])) for j in keys]
                mean = Fraction(sum(scores), len(scores))
                if alpha >= 0:
                    level = alpha * max(scores) + (1 - alpha) * mean
                else:
                    level = -alpha * min(scores) + (1 + alpha) * mean
                keys = [j for j, s in zip(keys, scores, strict=True) if s >= level]
                rounds[turn, h, r, keys] = True
    return rounds


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("alphas", [(0, 0), (-0.37, 0.21), (0.13, -0.77)])
def test_against_plain_python(shape, alphas):
    call = make(SHAPES.index(shape), *shape)
    assert (np.array(Energon(*alphas).rounds(call)) == reference(call, *alphas)).all()


@pytest.mark.parametrize("shape", SHAPES)
def test_rounds_and_knobs_nest(shape):
    call = make(8, *shape)
    before = None
    for alpha in (-0.9, -0.5, 0, 0.4, 0.8):
        first, last = Energon(-0.2, alpha).rounds(call)
        assert not (first & ~call.mask()).any() and not (last & ~first).any()
        assert last.any(axis=-1).all()
        assert before is None or not (last & ~before).any()
        before = last
    loose, tight = Energon(-0.5, 0).rounds(call)[0], Energon(0.3, 0).rounds(call)[0]
    assert not (tight & ~loose).any() and tight.sum() < loose.sum()


def test_equal_scores_keep_all_and_equal_dense():
    """The threshold of a row of equal scores is their value."""
    call = make(9, True, 4, 2, 7, 7)
    call = Call(call.q, np.ones_like(call.k), call.v, True)
    for alphas in ((0.9, 0.9), (0.3, -0.3)):
        done = Energon(*alphas).attend(call)
        assert (done.selected == call.mask()).all()
        assert np.abs(done.out - dense(call)).max() < 1e-5


def test_permuted_keys():
    call = make(10, *SHAPES[0])
    order = np.random.default_rng(1).permutation(call.k.shape[1])
    one = Energon().attend(call)
    two = Energon().attend(Call(call.q, call.k[:, order], call.v[:, order]))
    assert (one.selected[..., order] == two.selected).all()
    assert np.abs(one.out - two.out).max() < 1e-5


def test_counts_by_hand():
    """4 visible pairs, 3 after round 0, 1 after round 1; d 2: scores of 7 and 9 bits."""
    counts = Energon().attend(hand()).counts
    assert counts.ops["predict"] == {"mul4x2": 8 + 6, "add7": 8, "add9": 6}
    assert counts.ops["select"] == {"add7": 4, "cmp7": 8, "div7": 1, "mul7x7": 1,
                                    "add9": 3, "cmp9": 6, "div9": 1, "mul9x9": 1}
    assert counts.ops["compute"]["mul16x16"] == 4
    assert (counts.visible, counts.selected) == (4, 1)
    # A vector has 1 byte in 4 bits and half a byte in 2.
    assert counts.bytes == {"q": 4, "k": 4, "v": 4, "o": 4, "low bits written": 5,
                            "low bits of q": 1, "upper bits of k": 2, "lower bits of k": 1}


@pytest.mark.parametrize("settings", [{"alpha0": -1}, {"alpha0": 1}, {"alpha1": 1.5}])
def test_illegal_settings(settings):
    with pytest.raises(ValueError, match=f"{next(iter(settings))} = .*legal"):
        Energon(**settings)
