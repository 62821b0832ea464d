# SPDX-License-Identifier: Apache-2.0
"""SpAtten by hand, against a plain-Python cascade, and what must hold for any input."""

import math
from dataclasses import replace

import numpy as np
import pytest

from models.lab.methods.method import Call
from models.lab.peers.parts import own_keys
from models.lab.peers.spatten import SpAtten
from models.tests.lab.peers.calls import SHAPES, best, dense, dot, make, softmax, visible, whole

ALL = SpAtten(token_keep=1, head_keep=1, value_keep=1)


def layers(shape, number=5, seed=0, sharp=1.5):
    """Calls of a model whose layers have different q, k and v."""
    return [replace(make(seed + i, *shape, sharp=sharp), layer=i, layers=number)
            for i in range(number)]


def slow(calls, s):
    """Selected keys [layer][head][row], outputs [layer], number of pairs computed twice."""
    heads, keys = len(calls[0].q), calls[0].k.shape[1]
    alive, live = set(range(keys)), set(range(heads))
    token, head = dict.fromkeys(range(keys), 0.0), dict.fromkeys(range(heads), 0.0)
    chosen, outs, twice = [], [], 0
    for i, call in enumerate(calls):
        for front, final, score, left in ((s.token_front, s.token_keep, token, alive),
                                          (s.head_front, s.head_keep, head, live)):
            free = math.ceil(front * call.layers)
            fall = 0 if i < free else (i - free + 1) / (call.layers - free)
            number = max(1, math.floor((1 - (1 - final) * fall) * len(score) + 1e-9))
            if i and number < len(left):
                left &= best({j: score[j] for j in left}, number)
        bits = s.msb + s.lsb
        out = np.zeros(call.q.shape)
        picked = [[set() for _ in range(call.q.shape[1])] for _ in range(heads)]
        for h in sorted(live):
            kv = h // call.group
            (q, sq), (k, sk) = whole(call.q[h], bits), whole(call.k[kv], bits)
            v, sv = whole(call.v[kv], s.value_bits)
            for r, own in enumerate(own_keys(call)):
                sees = [j for j in range(keys) if visible(call, r, j)
                        and (j in alive or (call.causal and j == own))]
                for cut in (1 << s.lsb, 1):
                    upper = [[x // cut * cut for x in k[j]] for j in sees]
                    p = softmax([dot(q[r], u) * sq * sk / math.sqrt(call.d) for u in upper])
                    if max(p) >= s.refetch:
                        break
                    twice += len(sees) * (cut > 1)
                picked[h][r] = set(sees)
                meets = best(dict(zip(sees, p, strict=True)),
                             max(1, math.floor(s.value_keep * len(sees) + 1e-9)))
                for j, x in zip(sees, p, strict=True):
                    token[j] += x
                    if j in meets:
                        out[h, r] += [x * y * sv for y in v[j]]
            head[h] += np.abs(out[h]).sum()
        chosen.append(picked)
        outs.append(out)
    return chosen, outs, twice


def test_by_hand():
    # One row of probabilities 1/7, 2/7, 4/7.
    k = np.log(np.array([[[1.0], [2.0], [4.0]]], np.float32))
    v = np.array([[[9.0], [3.0], [6.0]]], np.float32)
    call = Call(np.ones((1, 1, 1), np.float32), k, v, layers=2)
    step = SpAtten(token_keep=0.7, value_keep=0.7, head_keep=1).start()
    # floor(0.7 * 3) = 2 values, of tokens 1 and 2: (2 * 3 + 4 * 6) / 7, not normalised again.
    one = step(call)
    assert one.out.item() == pytest.approx(30 / 7, abs=0.04) and one.selected.all()
    # 3 scores and 2 products with V, all of 12 x 8 bits; 12-bit q, upper 8 bits of 3 keys.
    assert one.counts.ops["compute"]["mul12x8"] == 5
    assert one.counts.bytes == {"q": 1, "k": 3, "k_lsb": 0, "v": 2, "o": 2}
    # Layer 1 is the last: floor(0.7 * 3) = 2 tokens, 1 and 2, are left; of 2 values floor(1.4)
    # = 1, that of token 2 with 2/3: 4.
    two = step(replace(call, layer=1))
    assert two.selected.tolist() == [[[False, True, True]]]
    assert two.out.item() == pytest.approx(4, abs=0.04) and two.counts.keep == 2 / 3


def test_flat_rows_fetch_the_lower_bits():
    # 16 equal keys: probabilities 1/16 < 0.1. A row of 2 keys has 1/2.
    zero = np.zeros((1, 1, 4), np.float32)
    keys = np.ones((1, 16, 4), np.float32)
    flat = ALL.attend(Call(zero, keys, keys)).counts
    assert flat.bytes["k"] == 16 * 4 and flat.bytes["k_lsb"] == 16 * 4 // 2
    assert flat.ops["compute"]["mul12x12"] == 16 * 4
    sharp = ALL.attend(Call(zero, keys[:, :2], keys[:, :2])).counts
    assert sharp.bytes["k_lsb"] == 0 and sharp.ops["compute"]["mul12x12"] == 0


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("settings", [
    SpAtten(), SpAtten(0.5, 0.5, 0.5, refetch=0.4), SpAtten(1, 1, 0.4, msb=4, refetch=0.6),
    SpAtten(0.1, 0.3, 0.2, token_front=0, head_front=0.1),
])
def test_equals_plain_cascade(shape, settings):
    calls = layers(shape)
    chosen, outs, twice = slow(calls, settings)
    step, again = settings.start(), 0
    for call, picked, out in zip(calls, chosen, outs, strict=True):
        got = step(call)
        for h, r in np.ndindex(got.selected.shape[:2]):
            assert set(np.flatnonzero(got.selected[h, r])) == picked[h][r]
        assert np.abs(got.out - out).max() < 2e-3
        assert got.counts.selected == got.selected.sum()
        again += got.counts.ops["compute"].get("mul12x12", 0)
    if settings.msb == 8:
        assert again == twice * calls[0].d


@pytest.mark.parametrize("shape", SHAPES)
def test_cascade(shape):
    heads, rows = shape[1], shape[3]
    step, before = SpAtten(0.3, 0.5).start(), None
    for call in layers(shape, 8, seed=20):
        got = step(call)
        assert not (got.selected & ~call.mask()).any()
        if call.causal:
            # A row's own key is always there, in the heads that are.
            own = got.selected[:, np.arange(rows), own_keys(call)]
            assert (own.all(axis=1) | ~got.selected.any(axis=(1, 2))).all()
            got.selected[:, np.arange(rows), own_keys(call)] = False
        if before is not None:
            assert not (got.selected & ~before).any()
        before = got.selected
        gone = ~got.selected.any(axis=(1, 2))
        if not call.causal:
            assert not got.out[gone].any()
    assert (step.tokens.sum(), step.heads.sum()) == (max(1, int(0.3 * shape[4])), heads // 2)


def test_gone_is_gone_however_important():
    calls = layers((True, 4, 2, 12, 12), 6)
    step = SpAtten(0.2, 0.3).start()
    for call in calls[:4]:
        step(call)
    tokens, heads = ~step.tokens, ~step.heads
    assert tokens.any() and heads.any()
    step.token_score[tokens] = step.head_score[heads] = 1e9
    step(calls[4])
    assert not (step.tokens & tokens).any() and not (step.heads & heads).any()


@pytest.mark.parametrize("shape", SHAPES)
def test_everything_kept_is_dense(shape):
    step = SpAtten(1, 1, 1, value_bits=12, refetch=1).start()
    for call in layers(shape):
        got = step(call)
        assert (got.selected == call.mask()).all()
        assert np.abs(got.out - dense(call)).max() < 5e-3


def test_more_kept_is_more():
    calls = layers((False, 4, 2, 12, 12), 6)
    kept = []
    for share in (1, 0.7, 0.4, 0.1):
        step = SpAtten(share, share).start()
        kept.append([step(call).counts.selected for call in calls])
    assert (np.diff(kept, axis=0) <= 0).all() and (np.diff(kept, axis=1) <= 0).all()
    assert kept[0][-1] > kept[1][-1] > kept[2][-1] > kept[3][-1]


def test_counts_of_blocks():
    # 130 rows are two blocks: K and V are read twice.
    call = make(30, False, 2, 2, 130, 20)
    counts = ALL.attend(call).counts
    assert counts.bytes["k"] == counts.bytes["v"] == 2 * 2 * 20 * 8
    assert counts.ops["select"] == {"add16": 2 * 130 * 20 + 2 * 130 * 8}


def test_bad_settings_and_calls():
    with pytest.raises(ValueError, match="token_keep = 1.2, legal: 0..1"):
        SpAtten(1.2)
    step = SpAtten().start()
    step(make(0, True, 2, 1, 8, 8))
    with pytest.raises(ValueError, match=r"layer 3 has .* = \(2, 9\), legal: \(2, 8\)"):
        step(replace(make(0, True, 2, 1, 8, 9), layer=3))
