# SPDX-License-Identifier: Apache-2.0
"""PADE: keys read plane by plane against the row's best lower bound."""

import math

import numpy as np
import pytest

from models.lab.methods.method import BLOCK, Call
from models.lab.peers.pade import Pade
from models.tests.lab.peers.calls import SHAPES, dense, dot, make, visible, whole


def hand() -> Call:
    """q codes are 127 (1, -1); the keys are their own codes: scores 127, 96, -120, 0 times 127."""
    q = np.array([[[1, -1]]], np.float32)
    k = np.array([[[127, 0], [64, -32], [-100, 20], [100, 100]]], np.float32)
    return Call(q, k, np.array([[[1, 0], [0, 1], [5, 5], [9, 9]]], np.float32))


def below(score: float) -> Pade:
    """A threshold so far below the best lower bound, in the unit of the scores above."""
    return Pade(alpha=1, radius=score / 2**0.5)


def test_by_hand():
    """Sums over the planes so far, and intervals of the rest, 127, 63, 31, 15, 7, 3, 1, 0 each way:
    plane 1: 0, 128, -128, 0: best lower bound 1, threshold -39; -1 is the least upper bound.
    plane 2: 64, 128, -128, 0: threshold 65 - 40 = 25; the third ends at -65 and is dropped.
    plane 3: 96, 96, -, 0: threshold 65 - 40 = 25; the fourth may still reach 31.
    plane 4: 112, 96, -, 0: threshold 97 - 40 = 57; the fourth ends at 15 and is dropped.
    plane 8: 127, 96: threshold 87."""
    call = hand()
    planes, selected = below(40).read(call)
    assert planes[0, 0].tolist() == [8, 8, 2, 4]
    assert np.flatnonzero(selected).tolist() == [0, 1]
    # 96 against 127 - 31.5 and 127 - 30.5; plane 7 still allows 97 where 125 is sure.
    for margin, keys in ((31.5, [0, 1]), (30.5, [0])):
        planes, selected = below(margin).read(call)
        assert planes[0, 0, :2].tolist() == [8, 8]
        assert np.flatnonzero(selected).tolist() == keys
    # One key alone gives its value: 1 is 14.1 steps of 9 / 127.
    assert below(30.5).attend(call).out[0, 0].tolist() == pytest.approx([14 * 9 / 127, 0])


def reference(call, method):
    """The rule on lists of bits, a pair at a time: (planes, selected)."""
    shape = len(call.q), call.q.shape[1], call.k.shape[1]
    planes, chosen = np.zeros(shape, int), np.zeros(shape, bool)
    weights = [-128, 64, 32, 16, 8, 4, 2, 1]
    for h, r in np.ndindex(shape[:2]):
        q, q_scale = whole(call.q[h], 8)
        k, k_scale = whole(call.k[h // call.group], 8)
        margin = method.alpha * method.radius * math.sqrt(call.d) / q_scale / k_scale
        live = [j for j in range(shape[2]) if visible(call, r, j)]
        for n in range(1, 9):
            bounds = {}
            for j in live:
                planes[h, r, j] = n
                low = high = 0
                for a, b in zip(q[r], k[j], strict=True):
                    bits = f"{int(b) % 256:08b}"
                    known = sum(w for w, bit in zip(weights[:n], bits, strict=False) if bit == "1")
                    ends = a * known, a * (known + sum(weights[n:]))
                    low, high = low + min(ends), high + max(ends)
                bounds[j] = low, high
            best = max(low for low, _ in bounds.values())
            live = [j for j in live if bounds[j][1] > best - margin]
        chosen[h, r, live] = True
    return planes, chosen


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("alpha", [0.2, 0.8])
def test_against_plain_python(shape, alpha):
    call, method = make(SHAPES.index(shape), *shape), Pade(alpha)
    want = reference(call, method)
    got = method.read(call)
    assert (got[0] == want[0]).all() and (got[1] == want[1]).all()
    assert 2 < got[0][got[0] > 0].mean() < 8


@pytest.mark.parametrize("shape", SHAPES)
def test_planes_only_save_work(shape):
    """The selection is that of complete 8-bit scores; a wide radius is dense up to 8 bits."""
    call = make(3, *shape)
    for alpha in (0.1, 0.5, 1):
        planes, selected = Pade(alpha).read(call)
        for h in range(len(call.q)):
            q, q_scale = whole(call.q[h], 8)
            k, k_scale = whole(call.k[h // call.group], 8)
            for r in range(call.q.shape[1]):
                score = {j: dot(q[r], k[j]) * q_scale * k_scale / math.sqrt(call.d)
                         for j in range(len(k)) if visible(call, r, j)}
                near = {j for j, s in score.items() if s > max(score.values()) - 5 * alpha}
                assert set(np.flatnonzero(selected[h, r])) == near
        assert (planes[selected] == 8).all()
        assert ((planes > 0) == call.mask()).all()
    done = Pade(alpha=100).attend(call)
    assert (done.selected == call.mask()).all()
    assert np.abs(done.out - dense(call)).max() < 0.1


def test_counts_by_hand():
    """22 planes read. Ones in the planes of the keys, each of the two elements: 0, then 1 seven
    times; 1, 2, 1, then 0; 1, 0; 0, 2, 2, 0. One addition where there is a one: two ones are no
    zero, so the row's sum is added."""
    counts = below(40).attend(hand()).counts
    assert counts.ops["predict"] == {}
    assert counts.ops["select"] == {"add9": 2, "add17": 44, "cmp17": 44}
    assert counts.ops["compute"] == {"add9": 7 + 3 + 1 + 2, "add17": 22, "exp8": 2, "mul8x8": 4,
                                     "add16": 4, "div8": 2}
    assert (counts.visible, counts.selected) == (4, 2)
    # A plane of a key is a quarter of a byte.
    assert counts.bytes == {"q": 2, "k": 5, "v": 4, "o": 2}


def test_planes_are_read_once_for_a_block():
    """Every row of a block asks for the same planes; two blocks read them twice."""
    call = hand()
    many = Call(np.repeat(call.q, BLOCK + 1, axis=1), call.k, call.v)
    assert below(40).attend(many).counts.bytes["k"] == 2 * 22 // 4


@pytest.mark.parametrize("settings", [{"alpha": 0}, {"radius": -1}, {"radius": math.inf}])
def test_illegal_settings(settings):
    with pytest.raises(ValueError, match=f"{next(iter(settings))} = .*legal"):
        Pade(**settings)
