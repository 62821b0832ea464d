# SPDX-License-Identifier: Apache-2.0
"""Calls, exact attention over a selection, and the counts that all methods share."""

import math
from dataclasses import dataclass, replace

import numpy as np
import pytest

from models import oracle
from models.lab.methods.counts import Counts
from models.lab.methods.first import FirstSofa
from models.lab.methods.method import (
    BLOCK,
    Attended,
    Call,
    Method,
    count_formal,
    count_pairs,
    softmax_over,
    union_bytes,
)
from models.lab.peers.dota import Dota
from models.lab.peers.dtatrans import DTATrans
from models.lab.peers.elsa import Elsa
from models.lab.peers.spatten import SpAtten
from models.tests.lab.peers.calls import SHAPES, dense, make, visible


@pytest.mark.parametrize("shape", SHAPES)
def test_mask(shape):
    call = make(0, *shape)
    mask = call.mask()
    assert mask.dtype == bool and mask.shape == (call.q.shape[1], call.k.shape[1])
    for r, j in np.ndindex(mask.shape):
        assert mask[r, j] == visible(call, r, j)


def test_mask_of_the_last_rows_by_hand():
    """Rows 0 and 1 of two sit at positions 2 and 3 of four keys."""
    call = Call(np.zeros((1, 2, 1)), np.zeros((1, 4, 1)), np.zeros((1, 4, 1)), causal=True)
    assert call.mask().tolist() == [[True, True, True, False], [True] * 4]


def test_heads_share_keys():
    """Heads 0 and 1 read KV head 0, 2 and 3 KV head 1."""
    q = np.ones((4, 1, 4), np.float32)
    k = np.array([[[1, 2, 3, 4]], [[5, 6, 7, 8]]], np.float32)
    call = Call(q, k, k)
    assert (call.group, call.d) == (2, 4)
    assert call.shared(np.array([7, 8])).tolist() == [7, 7, 8, 8]
    # Sums 10 and 26 over sqrt(4).
    assert call.logits()[:, 0, 0].tolist() == [5, 5, 13, 13]


@pytest.mark.parametrize("shape", SHAPES)
def test_softmax_over_all_visible_pairs_is_dense(shape):
    call = make(1, *shape)
    selected = np.broadcast_to(call.mask(), (len(call.q), *call.mask().shape))
    out = softmax_over(call.logits(), selected, call.shared(call.v))
    assert out.dtype == np.float32
    assert np.abs(out - dense(call)).max() < 1e-5


def test_softmax_over_a_selection():
    rng = np.random.default_rng(2)
    logits = rng.normal(size=(2, 5, 9)).astype(np.float32) * 30
    v = rng.normal(size=(2, 9, 4)).astype(np.float32)
    selected = rng.random((2, 5, 9)) < 0.4
    selected[0, 3] = False
    out = softmax_over(logits, selected, v)
    for h in range(2):
        want = oracle.softmax(logits[h], selected[h]) @ v[h]
        assert np.abs(out[h] - want).max() < 1e-5
    assert not out[0, 3].any() and np.isfinite(out).all()
    # Pairs that are not selected have no say, whatever they hold.
    assert (softmax_over(np.where(selected, logits, np.nan), selected, v) == out).all()


def test_softmax_by_hand():
    """Weights 1 : 3 of values 0 and 8."""
    out = softmax_over(np.array([[[0, math.log(3), 50]]], np.float32),
                       np.array([[[True, True, False]]]), np.array([[[0], [8], [99]]], np.float32))
    assert out.item() == pytest.approx(6)


def test_union_bytes_by_hand():
    """Two heads of BLOCK + 1 rows, d = 4: head 0 uses keys 0 and 2 in its first block and key 2 in
    its second; head 1 uses key 1 in the first only. Vectors: 2 + 1 + 1."""
    q, k = np.zeros((2, BLOCK + 1, 4)), np.zeros((1, 3, 4))
    call = Call(q, k, k)
    selected = np.zeros((2, BLOCK + 1, 3), bool)
    selected[0, 5, 0] = selected[0, 6:, 2] = selected[1, BLOCK - 1, 1] = True
    assert union_bytes(call, selected) == (2 * (BLOCK + 1) * 4 * 2, 4 * 4 * 2, 4)
    assert union_bytes(call, selected, 1) == ((BLOCK + 1) * 4 * 2, 4 * 4, 4)
    assert union_bytes(call, np.zeros_like(selected))[1:] == (0, 0)


def test_counts_of_exact_attention_by_hand():
    """2 heads on 1 KV head, 2 rows, 3 keys, causal: rows see 2 and 3 keys. 3 pairs selected, d 4:
    12 products for the scores and 12 for the output."""
    q, k = np.zeros((2, 2, 4)), np.zeros((1, 3, 4))
    call = Call(q, k, k, causal=True)
    selected = np.zeros((2, 2, 3), bool)
    selected[0, 0, 1] = selected[0, 1, 1] = selected[1, 1, 2] = True
    counts = Counts()
    count_pairs(counts, call, selected, 9)
    assert counts.ops["compute"] == {"mul9x9": 24, "add18": 24, "cmp9": 3, "exp9": 3, "div9": 16}
    assert (counts.visible, counts.selected, counts.dram) == (10, 3, 0)
    whole = Counts()
    count_formal(whole, call, selected)
    assert whole.ops["compute"] == {"mul16x16": 24, "add32": 24, "cmp16": 3, "exp16": 3,
                                    "div16": 16}
    # Head 0 reads key 1 once for both rows, head 1 key 2: 2 vectors of 4 elements of 2 bytes.
    assert whole.bytes == {"q": 32, "k": 16, "v": 16, "o": 32}


def test_a_method_that_defines_attend():
    @dataclass(frozen=True)
    class Zero(Method):
        keep: float = 0.5

        def attend(self, call):
            return Attended(np.zeros_like(call.q), np.zeros(1, bool))

    method = Zero()
    call = make(0, *SHAPES[0])
    assert method.fit([call]) is method and Zero.sweep() == [method]
    done = method.start()(call)
    assert not done.out.any() and done.counts == Counts()
    with pytest.raises(NotImplementedError):
        Method().start()(call)


@pytest.mark.parametrize("use", [
    SpAtten().attend, DTATrans().attend, FirstSofa(dense_layers=(0,)).attend,
    FirstSofa(bc=(64, 32)).attend,
    lambda call: Dota().fit([call]), lambda call: Elsa().fit([call])],
    ids=["spatten", "dtatrans", "dense_layers", "bc", "dota", "elsa"])
def test_methods_that_need_the_number_of_a_layer(use):
    call = replace(make(0, *SHAPES[0]), layer=None, layers=None)
    with pytest.raises(ValueError, match="number of this attention's layer is not known and the m"):
        use(call)
