# SPDX-License-Identifier: Apache-2.0
"""A3: greedy search in sorted columns, post-scoring."""

import math

import numpy as np
import pytest

from models.lab.methods.method import Call
from models.lab.peers.a3 import A3, row_blocks, sorted_columns
from models.tests.lab.peers.calls import SHAPES, dense, dot, make, visible, whole


def hand(q, k, causal=False) -> Call:
    """One head whose largest values are 7, so that 4-bit words hold them as they are."""
    k = np.array([k], np.float32)
    return Call(np.array([q], np.float32), k, k, causal)


def test_by_hand():
    """Products of column 0: 49, 21, -28; of column 1: -2, 4, -10. M = ceil(.5 * 3) = 2.
    Turn 1: 49 to key 0 (sum 49), -28 to key 2 (sum 21). Turn 2: 21 to key 1 (sum 42), -10 to
    key 2 (sum 32). Candidates 0 and 1, exact scores 47 and 25 over sqrt 2: 33.2 and 17.7."""
    call = hand([[7, -2]], [[7, 1], [3, -2], [-4, 5]])
    greedy, taken = A3(bits=4).search(call)
    assert greedy[0, 0].tolist() == [49, 21, -38] and taken.item() == 4
    # ln .05 = -3.0 leaves key 0; the difference of 15.6 needs ln T below it.
    assert np.flatnonzero(A3(bits=4).attend(call).selected).tolist() == [0]
    for t, keys in ((math.exp(-15.5), [0]), (math.exp(-15.6), [0, 1]), (0, [0, 1])):
        assert np.flatnonzero(A3(threshold=t, bits=4).attend(call).selected).tolist() == keys
    assert A3(bits=4).attend(call).out[0, 0].tolist() == pytest.approx([7, 1])


def test_smallest_product_is_skipped_below_zero():
    """Products of column 0: -49, -21; of column 1: -1, 2. M = 2. Turn 1: 2 to key 1 (sum 2), -49
    to key 0 (sum -47). Turn 2: -1 to key 0 (sum -48), and -21 to key 1 is skipped, which would
    have taken its score to -19."""
    call = hand([[7, 1]], [[-7, -1], [-3, 2]])
    greedy, taken = A3(iterations=1, bits=4).search(call)
    assert greedy[0, 0].tolist() == [-50, 2] and taken.item() == 3


def test_row_without_candidates_takes_the_best_score():
    """M = 1: 1 to key 1, then -49 to it; key 0 has nothing."""
    call = hand([[7, 1]], [[-6, -7], [-7, 1]])
    greedy, _ = A3(bits=4).search(call)
    assert greedy[0, 0].tolist() == [0, -48]
    assert np.flatnonzero(A3(bits=4).attend(call).selected).tolist() == [0]


def test_ties_take_the_lower_column_and_key():
    """Products 7 in both columns of both keys, M = 1: column 0, key 0; the smallest likewise."""
    call = hand([[7, 7]], [[1, 1], [1, 1], [7, -7]])
    greedy, _ = A3(iterations=0.5, bits=4).search(call)
    # Turn 1: 49 and -49 to key 2. Turn 2: 7 to key 0 of column 0; smallest 7 to key 0 of column 1.
    assert greedy[0, 0].tolist() == [14, 0, 0]


def reference(call, m):
    """The loop of the publication in plain Python: greedy scores [Hq, R, S], products taken."""
    greedy = np.zeros((len(call.q), call.q.shape[1], call.k.shape[1]))
    taken = np.zeros(greedy.shape[:2], int)
    d = call.d
    for h in range(len(call.q)):
        q, k = whole(call.q[h], m.bits)[0], whole(call.k[h // call.group], m.bits)[0]
        for r in range(len(q)):
            keys = [j for j in range(len(k)) if visible(call, r, j)]
            left = {}
            for sign in (1, -1):
                for c in range(d):
                    left[sign, c] = sorted((-sign * q[r][c] * k[j][c], j) for j in keys)
            total = 0
            for _ in range(min(math.ceil(m.iterations * len(keys)), len(keys) * d)):
                for sign in (1, -1):
                    if sign < 0 and total < 0:
                        continue
                    heads = [(left[sign, c][0][0], c) for c in range(d) if left[sign, c]]
                    _, c = min(heads)
                    value, j = left[sign, c].pop(0)
                    total -= sign * value
                    greedy[h, r, j] -= sign * value
                    taken[h, r] += 1
    return greedy, taken


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("m", [A3(), A3(0.125), A3(3, bits=4), A3(99, bits=3), A3(1, bits=14)])
def test_search_against_plain_python(shape, m):
    call = make(SHAPES.index(shape), *shape)
    got, want = m.search(call), reference(call, m)
    assert (got[0] == want[0]).all() and (got[1] == want[1]).all()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("m", [A3(), A3(1, 0.3), A3(0.125, 0.1)])
def test_selection_against_plain_python(shape, m):
    call = make(7, *shape)
    done = m.attend(call)
    greedy, taken = reference(call, m)
    found = 0
    for h, r in np.ndindex(done.selected.shape[:2]):
        g = h // call.group
        (q, qs), (k, ks) = whole(call.q[h], m.bits), whole(call.k[g], m.bits)
        keys = [j for j in range(len(k)) if visible(call, r, j)]
        candidates = [j for j in keys if greedy[h, r, j] > 0]
        if not candidates:
            candidates = [max(keys, key=lambda j: (greedy[h, r, j], -j))]
        found += len(candidates)
        scores = {j: dot(q[r], k[j]) * qs * ks / math.sqrt(call.d) for j in candidates}
        level = max(scores.values()) + math.log(m.threshold)
        assert np.flatnonzero(done.selected[h, r]).tolist() == [
            j for j in candidates if scores[j] >= level]
    ops, pairs, d = done.counts.ops, int(done.selected.sum()), call.d
    assert ops["compute"]["mul9x9"] == found * d + pairs * d
    assert ops["compute"]["cmp9"] == found and ops["compute"]["exp9"] == pairs
    assert ops["predict"]["add18"] == 2 * taken.sum()


@pytest.mark.parametrize("causal, rows, keys", [(True, 300, 300), (True, 300, 420),
                                                (False, 280, 30)])
def test_blocks_of_rows(causal, rows, keys):
    """Rows at the edges of the blocks, in sequences of more than one."""
    call = make(2, causal, 1, 1, rows, keys, d=4)
    greedy, taken = A3().search(call)
    edges = {r for start, end, _ in row_blocks(rows, keys, causal) for r in (start, end - 1)}
    assert len(edges) > 3 and max(edges) == rows - 1
    for r in edges:
        n = keys - rows + r + 1 if causal else keys
        # One row alone, with its own quantisation replaced by that of the whole head.
        scale = 255 / np.abs(call.k).max()
        k = np.rint(call.k[:, :n] * scale)
        q = np.rint(call.q[:, r : r + 1] * (255 / np.abs(call.q).max()))
        steps = math.ceil(n / 2)
        large = sorted((q[0, 0] * k[0]).ravel().tolist())[::-1][:steps]
        small = sorted((q[0, 0] * k[0]).ravel().tolist())[:steps]
        total, added, used = 0, 0, 0
        for value in large:
            total += value
            if total >= 0:
                total += small[used]
                used += 1
            added += 1
        assert taken[0, r] == added + used
        assert greedy[0, r].sum() == total and not greedy[0, r, n:].any()


def test_row_blocks_cover_all_rows_once():
    for causal in (False, True):
        for rows, keys in ((1, 1), (7, 7), (600, 600), (5, 900), (300, 301)):
            blocks = list(row_blocks(rows, keys, causal))
            assert [r for s, e, _ in blocks for r in range(s, e)] == list(range(rows))
            for start, end, n in blocks:
                assert n == (keys - rows + end if causal else keys) and start < end


def test_sorted_columns():
    k = np.array([[[3, 1], [5, 1], [3, -1]]])
    assert sorted_columns(k).tolist() == [[[[1, 0, 2], [0, 1, 2]]], [[[0, 2, 1], [2, 0, 1]]]]


@pytest.mark.parametrize("shape", SHAPES)
def test_masked_pairs_and_nesting(shape):
    call = make(4, *shape)
    mask = call.mask()
    before = None
    for threshold in (0, 0.01, 0.2, 0.7, 1):
        selected = A3(threshold=threshold).attend(call).selected
        assert not (selected & ~mask).any() and selected.any(axis=-1).all()
        assert before is None or not (selected & ~before).any()
        before = selected
    assert (before.sum(axis=-1) == 1).all()


def test_keys_that_a_row_does_not_see_change_nothing():
    """The search of a causal row is that of its prefix alone; the first value sets the scale."""
    call = make(5, True, 2, 1, 12, 12)
    call.q[:, 0, 0] = call.k[:, 0, 0] = 9
    greedy, _ = A3().search(call)
    short = Call(call.q[:, :7], call.k[:, :7], call.v[:, :7], True)
    assert (greedy[:, :7, :7] == A3().search(short)[0]).all()


def test_permuted_keys():
    """Words of 16 bits leave no equal values."""
    call = make(6, *SHAPES[0])
    order = np.random.default_rng(2).permutation(call.k.shape[1])
    m = A3(0.7, 0.1, bits=16)
    one, two = m.attend(call), m.attend(Call(call.q, call.k[:, order], call.v[:, order]))
    assert (one.selected[..., order] == two.selected).all()
    assert np.abs(one.out - two.out).max() < 1e-5


@pytest.mark.parametrize("shape", SHAPES)
def test_positive_keys_all_kept_are_dense(shape):
    """All products positive and all taken, T = 0: every key is a candidate."""
    call = make(7, *shape)
    call = Call(np.abs(call.q), np.abs(call.k), call.v, call.causal)
    done = A3(call.d, 0, bits=16).attend(call)
    assert (done.selected == call.mask()).all()
    assert np.abs(done.out - dense(call)).max() < 1e-3
    # Nine bits are visible.
    assert 1e-4 < np.abs(A3(call.d, 0).attend(call).out - dense(call)).max() < 0.1


def test_counts_by_hand():
    """The first example: 1 head, 1 row, 3 keys, d 2; 4 products taken, 2 candidates, 1 pair."""
    call = hand([[7, -2]], [[7, 1], [3, -2], [-4, 5]])
    counts = A3(bits=4).attend(call).counts
    # 2 columns of 3 keys at 2 comparisons; 4 products taken and 4 at the heads of the columns;
    # 4 steps in a tournament of 2 and 2 first ones; 2 additions a product.
    assert counts.ops["predict"] == {"cmp4": 12, "mul4x4": 8, "cmp8": 6, "add8": 8}
    assert counts.ops["select"] == {"cmp8": 5}
    assert counts.ops["compute"] == {"mul4x4": 2 * 2 + 2, "add8": 2 * 2 + 2, "cmp4": 2, "exp4": 1,
                                     "div4": 2}
    assert (counts.visible, counts.selected) == (3, 1)
    assert counts.bytes == {"q": 2, "k": 6, "v": 6, "o": 2, "sorted written": 18,
                            "sorted read": 18}
    # 9 bits take 2 bytes.
    assert A3().attend(call).counts.bytes["k"] == 12


@pytest.mark.parametrize("settings", [{"iterations": 0}, {"threshold": 1.5}, {"bits": 17}])
def test_illegal_settings(settings):
    with pytest.raises(ValueError, match=f"{next(iter(settings))} = .*legal"):
        A3(**settings)
