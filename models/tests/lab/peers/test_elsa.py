# SPDX-License-Identifier: Apache-2.0
"""ELSA: hashes of signs, learnt thresholds."""

import math
from dataclasses import replace

import numpy as np
import pytest

from models.lab.methods.method import Call
from models.lab.peers import elsa
from models.lab.peers.elsa import Elsa
from models.tests.lab.peers.calls import SHAPES, dense, dot, make, softmax, visible, whole


def hand() -> Call:
    """|k| = sqrt 5, sqrt 10, sqrt 5."""
    q = np.array([[[1, 1]]], np.float32)
    k = np.array([[[2, 1], [3, -1], [-1, -2]]], np.float32)
    return Call(q, k, np.array([[[1, 0], [0, 1], [4, 4]]], np.float32))


def test_by_hand(monkeypatch):
    """With R = 1 a hash is the signs: Hamming distances 0, 1, 2 of 2 bits, angles 0 (-.127 cut
    off), pi/2 - .127, pi - .127; similarities 2.236, 3.162 sin .127 = .4005, -2.236 cos .127
    = -2.218. The longest key is 3.162."""
    monkeypatch.setattr(elsa, "projection", lambda d, seed: np.eye(d))
    call = hand()
    m = Elsa(bits=16)
    assert m.similarity(call)[0, 0].tolist() == pytest.approx([2.23607, 0.40051, -2.21807], 1e-4)
    # Levels t * 3.162: 1.581, .316, -2.846; 2.846 leaves none, so the best stays.
    for t, keys in ((0.5, [0]), (0.1, [0, 1]), (-0.9, [0, 1, 2]), (0.9, [0])):
        done = replace(m, thresholds=((0, t),)).attend(call)
        assert np.flatnonzero(done.selected).tolist() == keys
    assert done.out[0, 0].tolist() == pytest.approx([1, 0], abs=1e-4)


@pytest.mark.parametrize("p, t", [(1, 1), (0.5, 0), (0.1, -1), (3, 1)])
def test_learnt_threshold_by_hand(p, t):
    """q = (2, 0) and keys at 1, 0, -1 along it: scores 1.414, 0, -1.414, probabilities .768, .187,
    .045; p / n is .333, .167, .033 or 1. The least that passes has q . k / (2 * 1) = 1, 0 or -1;
    where none passes it is the best."""
    k = np.array([[[1, 0], [0, 1], [-1, 0]]], np.float32)
    call = Call(np.array([[[2, 0]]], np.float32), k, k)
    fitted = Elsa(p=p, bits=16).fit([replace(call, layer=4)])
    assert fitted.thresholds == ((4, pytest.approx(t, abs=1e-4)),)


def test_learnt_threshold_is_a_mean_of_rows_heads_and_calls():
    calls = [make(i, *SHAPES[2], layer=i % 2, layers=2) for i in range(4)]
    m = Elsa(p=0.7)
    rows = [m.row_thresholds(call) for call in calls]
    assert [len(r) for r in rows] == [20] * 4
    got = dict(m.fit(calls).thresholds)
    assert got == {i: pytest.approx(np.concatenate(rows[i::2]).mean()) for i in (0, 1)}
    assert m.thresholds == () and m.fit(iter(calls)) == m.fit(calls)


def reference_threshold(call, m):
    """The learnt threshold in plain Python."""
    found = []
    for h in range(len(call.q)):
        (q, qs), (k, ks) = whole(call.q[h], m.bits), whole(call.k[h // call.group], m.bits)
        for r in range(len(q)):
            keys = [j for j in range(len(k)) if visible(call, r, j)]
            raw = [dot(q[r], k[j]) * qs * ks for j in keys]
            p = softmax([x / math.sqrt(call.d) for x in raw])
            passed = [x for x, pj in zip(raw, p, strict=True) if pj > m.p / len(keys)]
            longest = max(math.sqrt(dot(k[j], k[j])) for j in keys) * ks
            least = min(passed) if passed else max(raw)
            found.append(least / (math.sqrt(dot(q[r], q[r])) * qs * longest))
    return sum(found) / len(found)


def reference(call, m, t):
    """The selection in plain Python."""
    r = elsa.projection(call.d, m.seed).tolist()
    chosen = np.zeros((len(call.q), call.q.shape[1], call.k.shape[1]), bool)
    for h in range(len(call.q)):
        (q, _), (k, _) = whole(call.q[h], m.bits), whole(call.k[h // call.group], m.bits)
        hq, hk = ([[dot(line, x) >= 0 for line in r] for x in head] for head in (q, k))
        norms = [math.sqrt(dot(x, x)) for x in k]
        for i in range(len(q)):
            keys = [j for j in range(len(k)) if visible(call, i, j)]
            near = {}
            for j in keys:
                ham = sum(a != b for a, b in zip(hq[i], hk[j], strict=True))
                theta = max(0, math.pi / len(r) * ham - m.correction)
                near[j] = norms[j] * math.cos(theta)
            level = t * max(norms[j] for j in keys)
            passed = [j for j in keys if near[j] > level]
            chosen[h, i, passed or max(keys, key=lambda j: (near[j], -j))] = True
    return chosen


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("m", [Elsa(), Elsa(p=4, seed=3), Elsa(p=0.3, bits=16, correction=0)])
def test_against_plain_python(shape, m):
    call = make(SHAPES.index(shape), *shape)
    fitted = m.fit([make(9, *shape)])
    t = fitted.threshold(0)
    assert t == pytest.approx(reference_threshold(make(9, *shape), m), abs=1e-6)
    assert (fitted.attend(call).selected == reference(call, m, t)).all()


@pytest.mark.parametrize("d, sizes", [(64, [4, 4, 4]), (32, [4, 4, 2]), (8, [4, 2]), (12, [4, 4]),
                                      (2, [2]), (1, [2])])
def test_projection_is_orthogonal(d, sizes):
    assert elsa.factors(d) == sizes
    r = elsa.projection(d, 0)
    assert r.shape == (math.prod(sizes), d)
    assert np.abs(r.T @ r - np.eye(d)).max() < 1e-12
    assert np.abs(elsa.projection(d, 1) - r).max() > 0.01


def test_angles_are_estimated_well():
    """Sign projections at 64 bits: mean error of the angle near 0, within a few degrees."""
    rng = np.random.default_rng(0)
    q, k = (rng.normal(size=(1, 300, 64)).astype(np.float32) for _ in range(2))
    k += q * rng.uniform(-2, 2, (1, 300, 1)).astype(np.float32)
    near = Elsa(correction=0).similarity(Call(q, k, k))[0]
    norms = np.linalg.norm(k[0], axis=-1)
    got = np.arccos(np.clip(np.diagonal(near) / norms, -1, 1))
    true = np.arccos((q[0] * k[0]).sum(axis=-1) / norms / np.linalg.norm(q[0], axis=-1))
    assert abs((got - true).mean()) < 0.03 and (got - true).std() < 0.25


@pytest.mark.parametrize("shape", SHAPES)
def test_masked_pairs_and_nesting(shape):
    call = make(5, *shape)
    before, last = None, -math.inf
    for p in (0, 0.3, 1, 2, 5):
        fitted = Elsa(p=p).fit([call])
        selected = fitted.attend(call).selected
        assert not (selected & ~call.mask()).any() and selected.any(axis=-1).all()
        assert fitted.threshold(0) >= last
        assert before is None or not (selected & ~before).any()
        before, last = selected, fitted.threshold(0)
    assert before.sum() < call.mask().sum() * len(call.q)


@pytest.mark.parametrize("shape", SHAPES)
def test_everything_kept_is_dense(shape):
    call = make(6, *shape)
    done = Elsa(bits=16, thresholds=((0, -2.0),)).attend(call)
    assert (done.selected == call.mask()).all()
    assert np.abs(done.out - dense(call)).max() < 1e-3
    nine = Elsa(thresholds=((0, -2.0),)).attend(call)
    assert 1e-4 < np.abs(nine.out - dense(call)).max() < 0.2


def test_permuted_keys():
    call = make(7, *SHAPES[0])
    order = np.random.default_rng(3).permutation(call.k.shape[1])
    m = Elsa(thresholds=((0, 0.1),))
    one, two = m.attend(call), m.attend(Call(call.q, call.k[:, order], call.v[:, order]))
    assert (one.selected[..., order] == two.selected).all() and not one.selected.all()
    assert np.abs(one.out - two.out).max() < 1e-5


def test_keys_that_a_row_does_not_see_change_nothing():
    """Neither through the longest key; the first value sets the scale of the words."""
    call = make(8, True, 2, 1, 12, 12)
    call.q[:, 0, 0] = call.k[:, 0, 0] = call.v[:, 0, 0] = 9
    m = Elsa(thresholds=((0, 0.2),))
    short = Call(call.q[:, :7], call.k[:, :7], call.v[:, :7], True)
    assert (m.attend(call).selected[:, :7, :7] == m.attend(short).selected).all()
    assert (m.row_thresholds(call).reshape(2, 12)[:, :7].ravel() == m.row_thresholds(short)).all()


def test_calls_before_fit():
    call = make(0, *SHAPES[0])
    for use in (Elsa().attend, lambda call: Elsa().start()):
        with pytest.raises(ValueError, match="no threshold for layer 0.*call fit first"):
            use(call)
    fitted = Elsa().fit([replace(call, layer=layer) for layer in (0, 2)])
    with pytest.raises(ValueError, match="no threshold for layer 1.*0, 2"):
        fitted.start()(replace(call, layer=1))
    assert fitted.start()(replace(call, layer=2)).counts.selected > 0


def test_counts():
    """d 64: 768 multiplications a hash. 2 heads on 1 KV head, 2 rows, 3 keys, causal: 10 pairs,
    7 hashes, 3 norms."""
    call = make(0, True, 2, 1, 2, 3, d=64)
    counts = Elsa(thresholds=((0, -2.0),)).attend(call).counts
    assert counts.ops["predict"] == {
        "mul9x9": 7 * 768 + 3 * 64 + 10, "add18": 7 * 576, "add24": 3 * 64, "div18": 3,
        "xor64": 10, "add64": 10}
    assert counts.ops["select"] == {"mul9x9": 4, "cmp9": 13}
    assert counts.ops["compute"]["mul9x9"] == 2 * 10 * 64
    assert (counts.visible, counts.selected) == (10, 10)
    assert counts.bytes == {"q": 4 * 128, "k": 3 * 128, "v": 3 * 128, "o": 4 * 128}


@pytest.mark.parametrize("settings", [{"p": -1}, {"p": math.nan}, {"bits": 1}, {"correction": 4}])
def test_illegal_settings(settings):
    with pytest.raises(ValueError, match=f"{next(iter(settings))} = .*legal"):
        Elsa(**settings)
