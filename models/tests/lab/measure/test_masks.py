# SPDX-License-Identifier: Apache-2.0
"""Masks taken apart: the row sets see exactly what the mask shows."""

import numpy as np
import pytest

from models.lab.measure.masks import MaskError, Seen, row_sets
from models.lab.methods.method import Call


def rebuilt(sets, shape):
    """The mask that row sets stand for; no row in two of them."""
    mask = np.zeros(shape, bool)
    rows = np.concatenate([part.rows for part in sets]) if sets else []
    assert len(set(rows)) == len(rows)
    for part in sets:
        r, s = len(part.rows), len(part.keys)
        for i in range(r):
            at = s - r + i + part.past
            low = max(at + 1 - part.window, 0) if part.window else 0
            mask[part.rows[i], part.keys[low : at + 1 if part.causal else s]] = True
            mask[part.rows[i], part.keys[: min(part.sinks, at + 1)]] = True
    return mask


def causal(rows, keys, offset=0):
    return np.arange(keys) <= np.arange(rows)[:, None] + offset


def window(rows, keys, size, offset=0):
    return causal(rows, keys, offset) & ~causal(rows, keys, offset - size)


BLOCKS = np.kron(np.eye(2, dtype=bool), np.ones((7, 7), bool))

CASES = {
    "none": (np.ones((4, 6), bool), 1),
    "causal": (causal(5, 5), 1),
    "continued": (causal(3, 8, offset=5), 1),
    "upper left": (causal(3, 8), 1),
    "more rows than keys": (causal(8, 3), 2),
    "one row": (np.ones((1, 3), bool), 1),
    "padded right": (np.ones((4, 6), bool) & (np.arange(6) < 4), 1),
    "padded right, causal": (causal(6, 6) & (np.arange(6) < 4), 2),
    "padded left, causal": (causal(6, 6) & (np.arange(6) >= 2), 1),
    "padded within": (causal(6, 6) & (np.arange(6) != 2), 2),
    "prefix": (causal(6, 6) | (np.arange(6) < 3), 2),
    "nothing": (np.zeros((3, 4), bool), 0),
    "packed": (np.kron(np.eye(2, dtype=bool), np.ones((3, 3), bool)) & causal(6, 6), 2),
    "window": (window(9, 9, 3), 1),
    "window of two": (window(5, 5, 2), 1),
    "window, continued": (window(4, 12, 5, offset=8), 1),
    "window, sinks": (window(9, 9, 3) | causal(9, 9) & (np.arange(9) < 2), 1),
    "window, sinks, continued": (window(3, 14, 4, offset=11) | (np.arange(14) < 2), 1),
    "window, padded right": (window(9, 9, 3) & (np.arange(9) < 6), 1),
    "window, padded left": (window(9, 9, 3) & (np.arange(9) >= 4), 1),
    "window, sinks, padded": (
        (window(9, 9, 3) | causal(9, 9) & (np.arange(9) < 4)) & (np.arange(9) >= 2), 1),
    "windows, packed": (window(14, 14, 3) & BLOCKS, 2),
    "window around rows": (window(9, 9, 5, offset=2), 1),
    "window over all": (window(6, 6, 6), 1),
}


@pytest.mark.parametrize("name", CASES)
def test_row_sets(name):
    mask, number = CASES[name]
    sets = row_sets(mask)
    assert (rebuilt(sets, mask.shape) == mask).all()
    assert len(sets) == number


@pytest.mark.parametrize("name", CASES)
def test_rows_by_themselves_are_causal_in_a_sequence(name):
    """Beside them nothing changes."""
    mask, _ = CASES[name]
    plain, placed = row_sets(mask), row_sets(mask, in_sequence=True)
    assert (rebuilt(placed, mask.shape) == mask).all()
    for a, b in zip(plain, placed, strict=True):
        assert (a.rows == b.rows).all() and (a.keys == b.keys).all()
        assert b.causal == (a.causal or len(a.rows) == 1) and a.causal <= (len(a.rows) > 1)


def test_a_step_with_padding():
    """One row, keys 2 .. 5 of 8: the last row of these four."""
    mask = np.isin(np.arange(8), np.arange(2, 6))[None]
    for in_sequence in (False, True):
        [one] = Seen.boolean(mask).sets(in_sequence)
        assert one.keys.tolist() == [2, 3, 4, 5] and one.causal == in_sequence
    # Where numbers hide every key no position is known.
    [one] = Seen.additive(np.full((1, 8), -1e9, np.float32)).sets(in_sequence=True)
    assert not one.causal


def test_random_prefixes():
    rng = np.random.default_rng(1)
    for _ in range(100):
        keys = rng.permutation(9) < rng.integers(1, 10)
        lengths = np.sort(rng.integers(0, 10, 7))
        mask = (np.arange(9) < lengths[:, None]) & keys
        assert (rebuilt(row_sets(mask), mask.shape) == mask).all()


def test_other_masks_are_refused():
    bands = [window(6, 6, 3) for _ in range(4)]
    bands[0][4, 2] = False              # a row with a shorter window
    bands[1] = bands[1][[0, 1, 2, 4]]   # a row that is missing
    bands[2] = bands[2][::-1]           # rows in another order
    bands[3][2] = False                 # a row that sees nothing within others
    for band in bands:
        with pytest.raises(MaskError, match="overlapping windows, legal masks: none, causal, a s"):
            row_sets(band)
    holes = np.ones((3, 5), bool)
    holes[1, 2] = False
    for mask in (holes, window(9, 9, 3) | (np.arange(9) == 2)):
        with pytest.raises(MaskError, match="with gaps, legal masks: none, causal"):
            row_sets(mask)


LEAST = np.finfo(np.float32).min


def test_additive_masks():
    """Rows: plain, hidden by -inf, by a number, by two numbers, by the least number."""
    mask = np.array([[0, -1e4, 0], [-np.inf] * 3, [-1e4] * 3, [-1e4, -2e4, -np.inf], [LEAST] * 3],
                    np.float32)
    seen = Seen.additive(mask)
    assert seen.visible.tolist() == [[True, False, True], [False] * 3, [True] * 3,
                                     [True, False, False], [True] * 3]
    assert seen.peak.tolist() == [0, -np.inf, -1e4, -1e4, LEAST]
    assert [part.rows.tolist() for part in seen.sets()] == [[0], [2], [3], [4]]
    q = np.ones((2, 5, 4), np.float32)
    queries = seen.queries(Call(q, q[:1, :3], q[:1, :3]))
    # The scores of row 4 are lost in the sum, its softmax is flat.
    assert (queries[:, 4] == 0).all() and (queries[:, :4] == 1).all() and (q == 1).all()


@pytest.mark.parametrize("row", [[0, -9e3], [0.5, 0.5], [-5e3, -5e3], [-1e4, -1.5e4], [0, np.nan],
                                 [np.inf, 0]])
def test_biases_are_refused(row):
    with pytest.raises(MaskError, match="adds biases to scores, legal entries: 0, and -10000 or l"):
        Seen.additive(np.array([[0, 0], row], np.float32))


def test_the_bound_of_a_row_that_is_a_mean():
    """At -2**30 float32 has steps of 64 above and 128 below: a score below 32 is lost."""
    k = np.ones((1, 1, 1), np.float32)
    for score, lost in ((31.9, True), (-31.9, True), (32, False), (-32, False)):
        call = Call(np.full((1, 1, 1), score, np.float32), k, k)
        seen = Seen.additive(np.full((1, 1), -(2.0**30), np.float32))
        if lost:
            assert (np.float32(score) + seen.peak == seen.peak).all()
            assert (seen.queries(call) == 0).all()
        else:
            with pytest.raises(MaskError, match="hides every key of row 0 by -1.07374e"):
                seen.queries(call)
