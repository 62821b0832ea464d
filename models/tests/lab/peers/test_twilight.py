# SPDX-License-Identifier: Apache-2.0
"""Twilight: the fewest keys whose estimated mass reaches p."""

import math

import numpy as np
import pytest

from models.lab.methods.method import Call
from models.lab.peers.mass import least_set
from models.lab.peers.twilight import EXACT, Twilight, min_max
from models.tests.lab.peers.calls import SHAPES, dense, dot, make, softmax, visible


def test_least_set_by_hand():
    mass = np.array([[0.25, 0.5, 0, 0.25]])
    for need, expected in ((-1, []), (0, []), (0.1, [1]), (0.5, [1]), (0.6, [0, 1]),
                           (0.75, [0, 1]), (0.76, [0, 1, 3]), (2, [0, 1, 3])):
        got = least_set(mass, np.array([[need]]))
        assert np.flatnonzero(got[0]).tolist() == expected
        assert (least_set(mass[None], np.array([[[need]]])) == got[None]).all()


def hand() -> Call:
    """Keys from 0 to 15, so that a step is 1; a score is ln 2 times the last element."""
    q = np.array([[[0, 0, math.log(2) * math.sqrt(3)]]], np.float32)
    k = np.array([[[0, 15, 7.4], [0, 15, 6.3], [0, 15, 6.4], [0, 15, 4.4]]], np.float32)
    return Call(q, k, np.eye(4, 3, dtype=np.float32)[None])


def test_by_hand():
    """Codes 7, 6, 6, 4: mass 8, 4, 4, 1 of 17, sums .471, .706, .941, 1. The true mass is 1, .467,
    .5, .125 of 2.092: the third key comes before the second."""
    call = hand()
    assert min_max(call.k, 4)[0, :, 2].tolist() == [7, 6, 6, 4]
    for p, keys in ((0.47, [0]), (0.48, [0, 1]), (0.7, [0, 1]), (0.72, [0, 1, 2]),
                    (0.94, [0, 1, 2]), (0.95, [0, 1, 2, 3])):
        assert np.flatnonzero(Twilight(p).select(call)).tolist() == keys
    for p, keys in ((0.47, [0]), (0.48, [0, 2]), (0.7, [0, 2]), (0.72, [0, 1, 2])):
        assert np.flatnonzero(Twilight(p, EXACT).select(call)).tolist() == keys
    assert Twilight(0.3).attend(call).out[0, 0].tolist() == [1, 0, 0]


def test_least_value_and_scale_of_each_vector():
    x = np.array([[[-1, 0.4, 2], [3, 3, 3]]], np.float32)
    # 2 bits: steps of 1 from -1; equal elements have no step.
    assert min_max(x, 2).tolist() == [[[-1, 0, 2], [3, 3, 3]]]


def reference(call, p, bits):
    """The rule, a pair at a time."""
    chosen = np.zeros((len(call.q), call.q.shape[1], call.k.shape[1]), bool)
    for h, r in np.ndindex(chosen.shape[:2]):
        k = call.k[h // call.group].tolist()
        if bits != EXACT:
            steps = [(max(x) - min(x)) / (2**bits - 1) for x in k]
            k = [[round((e - min(x)) / s) * s + min(x) for e in x]
                 for x, s in zip(k, steps, strict=True)]
        keys = [j for j in range(len(k)) if visible(call, r, j)]
        mass = softmax([dot(call.q[h, r].tolist(), k[j]) / math.sqrt(call.d) for j in keys])
        total = 0
        for share, j in sorted(zip(mass, keys, strict=True), reverse=True):
            if total >= p:
                break
            total += share
            chosen[h, r, j] = True
    return chosen


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("p, bits", [(0.6, 4), (0.93, 3), (0.8, EXACT)])
def test_against_plain_python(shape, p, bits):
    call = make(SHAPES.index(shape), *shape)
    assert (Twilight(p, bits).select(call) == reference(call, p, bits)).all()


@pytest.mark.parametrize("shape", SHAPES)
def test_p_nests_and_bounds_the_mass(shape):
    call = make(5, *shape)
    before = np.broadcast_to(call.mask(), (len(call.q), *call.mask().shape))
    scores = np.where(before, call.logits().astype(float), -np.inf)
    mass = np.exp(scores - scores.max(axis=-1, keepdims=True))
    mass /= mass.sum(axis=-1, keepdims=True)
    for p in (0.999, 0.9, 0.6, 0.2):
        selected = Twilight(p, EXACT).select(call)
        held = np.where(selected, mass, 0)
        assert (held.sum(axis=-1) > p - 1e-6).all()
        least = np.where(selected, mass, np.inf).min(axis=-1)
        assert (held.sum(axis=-1) - least < p + 1e-6).all()
        assert not (selected & ~before).any() and selected.any(axis=-1).all()
        before = selected
    assert np.abs(Twilight(1 - 1e-12, EXACT).attend(call).out - dense(call)).max() < 1e-5


def test_counts_by_hand():
    """4 visible pairs of 3 elements; keys of 1.5 bytes with 4 bytes of scale and least value."""
    counts = Twilight(0.6).attend(hand()).counts
    assert counts.ops["predict"] == {"mul16x4": 12, "add22": 12, "add16": 3 + 4 + 4,
                                     "mul16x16": 8, "cmp16": 4, "exp16": 4}
    assert counts.ops["select"] == {"cmp16": 64, "add16": 64, "mul16x16": 1}
    assert counts.ops["compute"]["mul16x16"] == 2 * 2 * 3
    assert (counts.visible, counts.selected) == (4, 2)
    assert counts.bytes == {"q": 6, "k": 12, "v": 12, "o": 6, "k predicted, written": 22,
                            "k predicted": 22}
    exact = Twilight(0.6, EXACT).attend(hand()).counts
    assert exact.ops["predict"] == {"mul16x16": 12, "add34": 12, "cmp16": 4, "exp16": 4,
                                    "add16": 4}
    assert exact.bytes == {"q": 6, "k": 12, "v": 12, "o": 6, "k predicted": 24}


@pytest.mark.parametrize("settings", [{"p": 0}, {"p": 1}, {"bits": 1}, {"bits": 9}])
def test_illegal_settings(settings):
    with pytest.raises(ValueError, match=f"{next(iter(settings))} = .*legal"):
        Twilight(**settings)
