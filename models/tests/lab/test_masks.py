# SPDX-License-Identifier: Apache-2.0
"""Masks taken apart: the row sets see exactly what the mask shows."""

import numpy as np
import pytest

from models.lab.masks import MaskError, row_sets


def rebuilt(sets, shape):
    """The mask that row sets stand for; no row in two of them."""
    mask = np.zeros(shape, bool)
    rows = np.concatenate([part.rows for part in sets]) if sets else []
    assert len(set(rows)) == len(rows)
    for part in sets:
        r, s = len(part.rows), len(part.keys)
        for i in range(r):
            mask[part.rows[i], part.keys[: s - r + i + 1 if part.causal else s]] = True
    return mask


def causal(rows, keys, offset=0):
    return np.arange(keys) <= np.arange(rows)[:, None] + offset


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
}


@pytest.mark.parametrize("name", CASES)
def test_row_sets(name):
    mask, number = CASES[name]
    sets = row_sets(mask)
    assert (rebuilt(sets, mask.shape) == mask).all()
    assert len(sets) == number


def test_random_prefixes():
    rng = np.random.default_rng(1)
    for _ in range(100):
        keys = rng.permutation(9) < rng.integers(1, 10)
        lengths = np.sort(rng.integers(0, 10, 7))
        mask = (np.arange(9) < lengths[:, None]) & keys
        assert (rebuilt(row_sets(mask), mask.shape) == mask).all()


def test_other_masks_are_refused():
    band = causal(6, 6) & ~causal(6, 6, offset=-3)
    with pytest.raises(MaskError, match="overlapping windows, legal masks: none, causal, padding"):
        row_sets(band)
    holes = np.ones((3, 5), bool)
    holes[1, 2] = False
    with pytest.raises(MaskError, match="with gaps, legal masks: none, causal"):
        row_sets(holes)
