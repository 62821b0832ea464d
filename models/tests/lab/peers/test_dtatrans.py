# SPDX-License-Identifier: Apache-2.0
"""DTATrans by hand, against a plain-Python pass, and what must hold for any input."""

import math
from dataclasses import replace

import numpy as np
import pytest

from models.lab.methods.method import Call
from models.lab.peers.dtatrans import DTATrans, coarse
from models.lab.peers.parts import own_keys
from models.tests.lab.peers.calls import SHAPES, best, dense, dot, make, softmax, visible, whole


def layers(shape, number=5, seed=0):
    """Calls of a model whose layers have different q, k and v."""
    return [replace(make(seed + i, *shape), layer=i, layers=number) for i in range(number)]


def slow(calls, s):
    """Bits of the tokens and outputs of every layer."""
    keys = calls[0].k.shape[1]
    bits, score = [8] * keys, dict.fromkeys(range(keys), 0.0)
    history, outs = [], []
    for i, call in enumerate(calls):
        free = math.ceil(s.front * call.layers)
        fall = 0 if i < free else (i - free + 1) / (call.layers - free)
        high = math.floor((1 - (1 - s.high) * fall) * keys + 1e-9)
        total = math.floor((1 - (1 - s.high - s.low) * fall) * keys + 1e-9)
        if i and high < keys:
            eight = best({j: score[j] for j in score if bits[j] == 8}, high)
            four = best({j: score[j] for j in score if bits[j] and j not in eight}, total - high)
            bits = [8 if j in eight else 4 if j in four else 0 for j in range(keys)]
        history.append(bits)
        gained, out = dict.fromkeys(range(keys), 0.0), np.zeros(call.q.shape)

        def vector(x, b):
            values, scale = whole(x, b)
            return [y * scale for y in values]

        for h, r in np.ndindex(call.q.shape[:2]):
            own, kv = own_keys(call)[r], h // call.group
            same = call.causal or call.q.shape[1] == keys
            q = vector(call.q[h, r], 8 if not same or bits[own] == 8 else 4)
            k = [vector(x, b or 4) for x, b in zip(call.k[kv], bits, strict=True)]
            v = [vector(x, b or 4) for x, b in zip(call.v[kv], bits, strict=True)]
            sees = [j for j in range(keys) if visible(call, r, j)]
            used, lost = [j for j in sees if bits[j]], [j for j in sees if not bits[j]]
            scores = [dot(q, k[j]) / math.sqrt(call.d) for j in used]
            values = [v[j] for j in used]
            if lost:
                mean = [sum(k[j][e] for j in lost) / len(lost) for e in range(call.d)]
                scores.append(dot(q, mean) / math.sqrt(call.d) + math.log(len(lost)))
                values.append([sum(v[j][e] for j in lost) / len(lost) for e in range(call.d)])
            p = softmax(scores)
            for j, x in zip(used, p, strict=False):
                gained[j] += x
            out[h, r] = [dot(p, [y[e] for y in values]) for e in range(call.d)]
        score = {j: score[j] + gained[j] for j in score}
        outs.append(out)
    return history, outs


def test_by_hand():
    # Probabilities 1/8, 1/8, 2/8, 4/8 of one row; d = 1, so a scale a vector is exact.
    k = np.log(np.array([[[1.0], [1.0], [2.0], [4.0]]], np.float32))
    v = np.array([[[8.0], [0.0], [2.0], [1.0]]], np.float32)
    call = Call(np.ones((1, 1, 1), np.float32), k, v, layers=2)
    step = DTATrans(high=0.25, low=0.25, front=0.5).start()
    # (8 + 0 + 4 + 4) / 8.
    assert step(call).out.item() == pytest.approx(2, rel=1e-6)
    # Token 3 keeps 8 bits, token 2 gets 4, tokens 0 and 1 none. Their mean key ln 1 counts twice
    # with the mean value 4: (2 * 4 + 2 * 2 + 4 * 1) / 8 = 2; they are equal, nothing is lost.
    got = step(replace(call, layer=1))
    assert step.bits.tolist() == [0, 0, 4, 8]
    assert got.selected.tolist() == [[[False, False, True, True]]]
    assert got.out.item() == pytest.approx(2, rel=1e-6)
    # q has 8 bits: one 8 x 8 and one 8 x 4 product, one 8 x 8 with the mean.
    ops = got.counts.ops["compute"]
    assert (ops["mul8x8"], ops["mul8x4"], ops["mul16x8"], ops["mul16x4"]) == (2, 1, 2, 1)
    # K: one byte and one half (whole bytes a level), the mean key and value one byte each.
    assert got.counts.bytes == {"k": 1, "v": 1, "q": 1, "o": 2, "aggregate": 2}


def test_coarse():
    x = np.array([[[7.0, 3.4, -1.6], [7.0, 3.4, -1.6]]], np.float32)
    got = coarse(x, np.array([4, 8]))
    assert got[0, 0].tolist() == [7, 3, -2]
    assert np.abs(got[0, 1] - x[0, 1]).max() <= 7 / 127 / 2


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("settings", [DTATrans(), DTATrans(0.5, 0.5), DTATrans(0.1, 0.1, 0),
                                      DTATrans(0, 0, 0.3)])
def test_equals_plain_pass(shape, settings):
    calls = layers(shape)
    history, outs = slow(calls, settings)
    step = settings.start()
    for call, bits, out in zip(calls, history, outs, strict=True):
        got = step(call)
        assert step.bits.tolist() == bits
        assert (got.selected == (call.mask() & (np.array(bits) > 0))).all()
        assert np.abs(got.out - out).max() < 2e-3
        assert got.counts.selected == got.selected.sum()


@pytest.mark.parametrize("shape", SHAPES)
def test_bits_only_fall(shape):
    step, before = DTATrans(0.2, 0.3).start(), None
    for call in layers(shape, 8, seed=20):
        got = step(call)
        assert not (got.selected & ~call.mask()).any() and np.isfinite(got.out).all()
        assert before is None or (step.bits <= before).all()
        before = step.bits.copy()
    keys = shape[4]
    assert ((before == 8).sum(), (before > 0).sum()) == (int(0.2 * keys), int(0.5 * keys))


def test_gone_is_gone_however_important():
    calls = layers((True, 4, 2, 12, 12), 6)
    step = DTATrans(0.1, 0.2).start()
    for call in calls[:4]:
        step(call)
    none, four = step.bits == 0, step.bits == 4
    assert none.any() and four.any()
    step.score[none | four] = 1e9
    step(calls[4])
    assert (step.bits[none] == 0).all() and (step.bits[four] <= 4).all()


@pytest.mark.parametrize("shape", SHAPES)
def test_all_bits_kept_is_dense(shape):
    step = DTATrans(1, 0).start()
    for call in layers(shape):
        got = step(call)
        assert (got.selected == call.mask()).all()
        assert np.abs(got.out - dense(call)).max() < 0.06
        assert got.counts.bytes["aggregate"] == 0


def test_the_aggregate_is_worth_something():
    exact, with_it, without = [], [], []
    for call in layers((False, 4, 4, 40, 40), 2, seed=40):
        step = DTATrans(0.25, 0.25, 0.5).start()
        step(replace(call, layer=0))
        got = step(replace(call, layer=1))
        exact.append(dense(call))
        with_it.append(got.out)
        score = np.where(got.selected, call.logits(), -np.inf)
        p = np.exp(score - score.max(axis=-1, keepdims=True))
        without.append(p / p.sum(axis=-1, keepdims=True) @ call.shared(call.v))
    exact = np.array(exact)
    assert np.linalg.norm(with_it - exact) < 0.8 * np.linalg.norm(without - exact)


def test_more_kept_is_more():
    calls = layers((True, 4, 2, 12, 12), 6)
    kept = []
    for high, low in ((1, 0), (0.5, 0.4), (0.2, 0.3), (0.1, 0)):
        step = DTATrans(high, low).start()
        total = 0
        for call in calls:
            step(call)
            total += int((step.bits > 0).sum())
        kept.append(total)
    assert kept == sorted(kept, reverse=True) and len(set(kept)) == 4


def test_bad_settings():
    with pytest.raises(ValueError, match=r"high \+ low = 1.1"):
        DTATrans(0.6, 0.5)
