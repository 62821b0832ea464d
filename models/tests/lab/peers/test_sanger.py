# SPDX-License-Identifier: Apache-2.0
"""Sanger: predicted probabilities against a threshold."""

import math

import numpy as np
import pytest

from models.lab.methods.method import BLOCK, Call
from models.lab.peers.sanger import Sanger
from models.tests.lab.peers.calls import SHAPES, dense, dot, make, softmax, visible, whole


def hand() -> Call:
    """|q| = 5, q' = (.6, .8); |k| = 5, 5, 1 and k' = (.8, .6), (-.6, .8), (0, 1)."""
    q = np.array([[[3, 4]]], np.float32)
    k = np.array([[[4, 3], [-3, 4], [0, 1]]], np.float32)
    return Call(q, k, np.array([[[1, 0], [0, 1], [2, 2]]], np.float32))


def test_by_hand():
    """Scale .8 / 7 for q': codes (5.25, 7) = (5, 7). Scale 1 / 7 for k': (5.6, 4.2) = (6, 4),
    (-4.2, 5.6) = (-4, 6), (0, 7). Products 58, 22, 49. Times .8 / 49 and |q||k| / sqrt 2:
    16.739, 6.349, 2.828; probabilities about 1, e^-10.39 = 3.1e-5, e^-13.91 = 9.1e-7."""
    call = hand()
    scores = [58 * .8 / 49 * 25 / 2 ** .5, 22 * .8 / 49 * 25 / 2 ** .5, 49 * .8 / 49 * 5 / 2 ** .5]
    assert Sanger().predict(call)[0, 0].tolist() == pytest.approx(scores)
    for threshold, keys in ((2e-3, [0]), (1e-5, [0, 1]), (1e-7, [0, 1, 2]), (0, [0, 1, 2])):
        done = Sanger(threshold).attend(call)
        assert np.flatnonzero(done.selected).tolist() == keys
    # Exact scores of keys 0 and 1 are 24 and 7 over sqrt 2; one key alone gives its value.
    assert Sanger().attend(call).out[0, 0].tolist() == [1, 0]


def test_a_row_without_a_pair_is_dense():
    """Four equal keys have a probability of 1/4 each."""
    k = np.ones((1, 4, 2), np.float32)
    call = Call(k[:, :1], k, np.arange(8, dtype=np.float32).reshape(1, 4, 2))
    for threshold in (0.24, 0.26):
        assert Sanger(threshold).select(call).all()
    assert Sanger(0.26).attend(call).out[0, 0].tolist() == [3, 4]


def reference(call, threshold):
    """The rule, a pair at a time."""
    units = []
    for x in (call.q, call.k):
        norms = [[math.sqrt(dot(row, row)) for row in head.tolist()] for head in x]
        codes, scale = whole([[[e / n for e in row] for row, n in zip(head, ns, strict=True)]
                              for head, ns in zip(x.tolist(), norms, strict=True)], 4)
        units.append((codes, scale, norms))
    (qc, qs, qn), (kc, ks, kn) = units
    chosen = np.zeros((len(call.q), call.q.shape[1], call.k.shape[1]), bool)
    for h in range(len(call.q)):
        g = h // call.group
        for r in range(call.q.shape[1]):
            keys = [j for j in range(call.k.shape[1]) if visible(call, r, j)]
            scores = [dot(qc[h][r], kc[g][j]) * qs * ks * qn[h][r] * kn[g][j] / math.sqrt(call.d)
                      for j in keys]
            passed = [j for j, p in zip(keys, softmax(scores), strict=True) if p > threshold]
            chosen[h, r, passed or keys] = True
    return chosen


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("threshold", [2e-3, 2e-2, 0.3])
def test_against_plain_python(shape, threshold):
    call = make(SHAPES.index(shape), *shape, sharp=3)
    want = reference(call, threshold)
    assert (Sanger(threshold).select(call) == want).all()
    assert 0 < want.sum()


@pytest.mark.parametrize("shape", SHAPES)
def test_masked_pairs_and_dense_limit(shape):
    call = make(3, *shape, sharp=4)
    before = np.broadcast_to(call.mask(), (len(call.q), *call.mask().shape))
    for threshold in (0, 1e-4, 1e-3, 1e-2):
        selected = Sanger(threshold).select(call)
        # Nothing here is so flat that a row falls back to dense.
        assert not (selected & ~before).any()
        before = selected
    assert before.sum() < call.mask().sum() * len(call.q)
    assert np.abs(Sanger(0).attend(call).out - dense(call)).max() < 1e-5


def test_permuted_keys():
    call = make(4, *SHAPES[0])
    order = np.random.default_rng(0).permutation(call.k.shape[1])
    moved = Call(call.q, call.k[:, order], call.v[:, order])
    one, two = Sanger(0.05).attend(call), Sanger(0.05).attend(moved)
    assert (one.selected[..., order] == two.selected).all() and not one.selected.all()
    assert np.abs(one.out - two.out).max() < 1e-5


def test_pack_and_split_by_hand():
    """70 keys: sub-rows of 64 and 6. Row 0 has 20 pairs in the first (2 segments) and 1 in the
    second (1 segment); row 1 none; row 2 exactly 16 in the first (1 segment)."""
    selected = np.zeros((1, 3, 70), bool)
    selected[0, 0, 10:30] = selected[0, 0, 69] = selected[0, 2, :16] = True
    assert Sanger.slots(selected) == 4 * 16
    assert Sanger.slots(np.ones((2, 3, 64), bool)) == 2 * 3 * 64


def test_counts_by_hand():
    """2 heads on 1 KV head, 2 rows, 3 keys, causal (5 visible pairs a head), d 4."""
    rng = np.random.default_rng(0)
    q, k = rng.normal(size=(2, 2, 4)), rng.normal(size=(1, 3, 4))
    counts = Sanger(0).attend(Call(np.float32(q), np.float32(k), np.float32(k), True)).counts
    # 7 vectors are normalised: 4 products each for the norm, its root and 4 divisions.
    assert counts.ops["predict"] == {
        "mul16x16": 7 * 4 + 2 * 10, "add34": 28, "div16": 35, "mul4x4": 40, "add10": 40,
        "cmp16": 10, "exp16": 10, "add16": 10}
    assert counts.ops["select"] == {"mul16x16": 4, "cmp16": 10}
    assert counts.ops["compute"]["mul16x16"] == 2 * 10 * 4
    assert (counts.visible, counts.selected) == (10, 10)
    # A 4-bit vector with its norm is 4 bytes; each head reads 2 queries and 3 keys.
    assert counts.bytes == {"q": 32, "k": 48, "v": 48, "o": 32, "prediction written": 28,
                            "prediction read": 40}


def test_keys_are_read_again_for_every_block():
    call = make(5, True, 2, 1, 2 * BLOCK + 7, 2 * BLOCK + 7, d=2)
    counts = Sanger().attend(call).counts
    reads = call.q.shape[1] + BLOCK + 2 * BLOCK + 2 * BLOCK + 7
    assert counts.bytes["prediction read"] == 2 * reads * 3


@pytest.mark.parametrize("settings", [{"threshold": -0.1}, {"threshold": 1}, {"bits": 1}])
def test_illegal_settings(settings):
    with pytest.raises(ValueError, match=f"{next(iter(settings))} = .*legal"):
        Sanger(**settings)
