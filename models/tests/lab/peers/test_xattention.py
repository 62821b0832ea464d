# SPDX-License-Identifier: Apache-2.0
"""XAttention: blocks kept by the mass of their antidiagonals."""

import math

import numpy as np
import pytest

from models.lab.methods.method import BLOCK, Call
from models.lab.peers.xattention import XAttention
from models.tests.lab.peers.calls import SHAPES, dense, dot, make, softmax, visible

SMALL = {"block": 4, "stride": 2}


def hand(mass, causal=False) -> Call:
    """d = 1, queries 1, 0, 1, 0 ..: a group of two has the score of its keys' second, halved, and
    so each group of keys the given mass. The first key of a group is on the other diagonal."""
    n = 2 * len(mass)
    k = np.full(n, 50.0)
    k[1::2] = [2 * math.log(m) for m in mass]
    q = np.tile([1.0, 0.0], len(mass))
    return Call(*(np.float32(x).reshape(1, n, 1) for x in (q, k, np.arange(n))), causal)


def kept(call, threshold):
    """Lists of the kept blocks of keys, one for each block of rows."""
    chosen = XAttention(threshold, **SMALL).blocks(call)[1][0]
    return [np.flatnonzero(row).tolist() for row in chosen]


def test_by_hand():
    """Mass 2, 2 in block 0 and 8, 4 in block 1: shares .25 and .75, twice for two groups."""
    call = hand([2, 2, 8, 4])
    method = XAttention(0.7, **SMALL)
    assert method.scores(call)[0, 1] == pytest.approx([math.log(m) for m in (2, 2, 8, 4)])
    assert method.blocks(call)[0][0].tolist() == [pytest.approx([0.5, 1.5])] * 2
    assert kept(call, 0.7) == [[1], [1]] and kept(call, 0.8) == [[0, 1], [0, 1]]
    selected = method.select(call)[0]
    assert selected[:, 4:].all() and not selected[:, :4].any()


def test_causal_by_hand():
    """Mass 1, 1 / 2, 2 / 4, 4 in blocks of two groups. The first group of row block 2 sees 10, the
    other 14: .2 + .143, .4 + .286, .4 + .571. The first and the own block hold .657 of it."""
    call = hand([1, 1, 2, 2, 4, 4], causal=True)
    mass = XAttention(0.6, **SMALL).blocks(call)[0][0]
    assert mass[2].tolist() == pytest.approx([2 / 10 + 2 / 14, 4 / 10 + 4 / 14, 4 / 10 + 8 / 14])
    assert kept(call, 0.6) == [[0], [0, 1], [0, 2]]
    assert kept(call, 0.7) == [[0], [0, 1], [0, 1, 2]]
    selected = XAttention(0.6, **SMALL).select(call)[0]
    assert np.flatnonzero(selected[9]).tolist() == [0, 1, 2, 3, 8, 9]
    # The last rows alone give the same; their first group begins with a row that is not there.
    late = Call(call.q[:, 7:], call.k, call.v, True)
    assert (XAttention(0.6, **SMALL).select(late)[0, 1:] == selected[8:]).all()


def reference(call, threshold, block, stride):
    """The rule, a pair of positions at a time."""
    rows, keys = call.q.shape[1], call.k.shape[1]
    first = keys - rows if call.causal else 0
    chosen = np.zeros((len(call.q), rows, keys), bool)
    for h in range(len(call.q)):
        q = {first + r: call.q[h, r].tolist() for r in range(rows)}
        k = dict(enumerate(call.k[h // call.group].tolist()))
        mass = {}
        for a in sorted({i // stride for i in q}):
            seen = [b for b in sorted({j // stride for j in k}) if not call.causal or b <= a]
            scores = []
            for b in seen:
                pairs = [(a * stride + stride - 1 - i, b * stride + i) for i in range(stride)]
                scores.append(sum(dot(q[i], k[j]) for i, j in pairs if i in q and j in k)
                              / stride / math.sqrt(call.d))
            for b, share in zip(seen, softmax(scores), strict=True):
                row = mass.setdefault(a * stride // block, {})
                row[b * stride // block] = row.get(b * stride // block, 0) + share
        for y, row in mass.items():
            own = {0, y} if call.causal else set()
            total = 0
            for other, less, x in sorted((x not in own, -m, x) for x, m in row.items()):
                if other and total >= threshold * sum(row.values()):
                    break
                total -= less
                for i in range(y * block, (y + 1) * block):
                    for j in range(x * block, (x + 1) * block):
                        if i in q and j in k and visible(call, i - first, j):
                            chosen[h, i - first, j] = True
    return chosen


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("threshold, block, stride", [(0.5, 2, 2), (0.7, 3, 1), (0.8, 4, 2)])
def test_against_plain_python(shape, threshold, block, stride):
    call = make(SHAPES.index(shape), *shape, sharp=4)
    got = XAttention(threshold, block, stride).select(call)
    assert (got == reference(call, threshold, block, stride)).all()
    assert not (got & ~call.mask()).any() and got.any(axis=-1).all()


@pytest.mark.parametrize("shape", SHAPES)
def test_thresholds_nest_and_one_block_is_dense(shape):
    call = make(6, *shape, sharp=3)
    before = np.ones((len(call.q), call.q.shape[1], call.k.shape[1]), bool)
    for threshold in (0.99, 0.8, 0.5, 0.1):
        selected = XAttention(threshold, 2, 1).select(call)
        assert not (selected & ~before).any()
        before = selected
    assert before.sum() < call.mask().sum() * len(call.q)
    done = XAttention(0.01).attend(call)
    assert (done.selected == call.mask()).all()
    assert np.abs(done.out - dense(call)).max() < 1e-5


def test_counts_by_hand():
    """4 x 4 pairs of groups of 2 elements, 2 x 2 blocks, half of the 64 pairs kept."""
    counts = XAttention(0.7, **SMALL).attend(hand([2, 2, 8, 4])).counts
    assert counts.ops["predict"] == {"mul16x16": 32 + 16, "add33": 32, "cmp16": 16, "exp16": 16,
                                     "add16": 32, "div16": 4}
    assert counts.ops["select"] == {"cmp16": 4, "add16": 4}
    assert counts.ops["compute"]["mul16x16"] == 2 * 32
    assert (counts.visible, counts.selected) == (64, 32)
    assert counts.bytes == {"q": 16, "k": 8, "v": 8, "o": 16, "k predicted": 16}
    # Causal, the last 5 of 12 keys' rows: groups 3, 4, 5 see 4, 5, 6; blocks 1 and 2 of three.
    call = hand([1] * 6, causal=True)
    late = Call(call.q[:, 7:], call.k, call.v, True)
    counts = XAttention(0.7, **SMALL).attend(late).counts
    assert counts.ops["predict"]["exp16"] == 15 and counts.ops["predict"]["div16"] == 3
    assert counts.ops["select"] == {"cmp16": 2 * 3 * 2, "add16": 6}


def test_keys_are_read_again_for_every_block():
    call = make(5, True, 2, 1, 2 * BLOCK + 7, 2 * BLOCK + 7, d=2)
    counts = XAttention().attend(call).counts
    assert counts.bytes["k predicted"] == 2 * (BLOCK + 2 * BLOCK + 2 * BLOCK + 7) * 2 * 2


@pytest.mark.parametrize("settings", [{"threshold": 0}, {"threshold": 1}, {"stride": 0},
                                      {"block": 4}, {"block": 12}])
def test_illegal_settings(settings):
    with pytest.raises(ValueError, match=f"{next(iter(settings))} = .*legal"):
        XAttention(**settings)
