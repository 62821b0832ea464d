# SPDX-License-Identifier: Apache-2.0
"""Selection by quota and radius."""

import numpy as np
import pytest

from models.config import ConfigError
from models.first.config import Config
from models.first.sads import dense_tile
from models.sads import NO_MAX, select_tile

TINY = Config.from_name("tiny")
INF = TINY.RADIUS_INF


def picked(selection, row):
    """Slots of a row in list order."""
    return selection.slots[row][selection.valid[row]].tolist()


def test_order_ties_and_quota():
    scores = np.array([[5, 9, 9, -3, 5], [0, 0, 0, 0, 0], [-7, -9, -8, -7, -1]])
    allowed = np.ones_like(scores, bool)
    got, run_max = select_tile(scores, allowed, None, 3, INF, TINY)
    assert [picked(got, r) for r in range(3)] == [[1, 2, 0], [0, 1, 2], [4, 0, 3]]
    assert run_max.tolist() == [9, 0, -1]
    assert (got.nsteps, got.nsel) == (2, 9)
    assert got.union.tolist() == [True, True, True, True, True]
    assert got.union_word == 0b11111


def test_radius_uses_the_maximum_of_the_tile_and_before():
    scores = np.array([[10, 8, 7, 2]])
    allowed = np.ones_like(scores, bool)
    got, run_max = select_tile(scores, allowed, None, 4, 2, TINY)
    assert picked(got, 0) == [0, 1]  # 8 is not below 10 - 2
    got, run_max = select_tile(scores, allowed, np.array([13]), 4, 3, TINY)
    assert picked(got, 0) == [0] and run_max.tolist() == [13]
    got, run_max = select_tile(scores, allowed, np.array([100]), 4, 3, TINY)
    assert got.nsel == got.nsteps == got.union_word == 0
    got, _ = select_tile(scores, allowed, np.array([10]), 4, 0, TINY)
    assert picked(got, 0) == [0]


def test_masked_slots_neither_count_nor_raise_the_maximum():
    scores = np.array([[99, 1, 2], [99, 1, 2]])
    allowed = np.array([[False, True, True], [False, False, False]])
    got, run_max = select_tile(scores, allowed, None, 4, 1, TINY)
    assert picked(got, 0) == [2, 1] and picked(got, 1) == []
    assert run_max.tolist() == [2, NO_MAX]
    # The row that saw nothing starts afresh in the next tile.
    got, run_max = select_tile(scores, ~allowed, run_max, 4, 0, TINY)
    assert picked(got, 1) == [0] and run_max.tolist() == [99, 99]


def test_quota_first_radius_after():
    """Keys within the radius but past the quota are not taken."""
    scores = np.array([[4, 4, 4, 4]])
    got, _ = select_tile(scores, np.ones((1, 4), bool), None, 2, 100, TINY)
    assert picked(got, 0) == [0, 1]


def test_against_plain_python():
    rng = np.random.default_rng(5)
    compared = 0
    for _ in range(200):
        n, rows = int(rng.integers(1, 17)), int(rng.integers(1, 5))
        scores = rng.integers(-6, 7, (rows, n)) * int(rng.integers(1, 900))
        allowed = rng.random((rows, n)) < 0.8
        before = np.where(rng.random(rows) < 0.5, NO_MAX, rng.integers(-9, 3000, rows))
        quota = int(rng.integers(1, 17))
        radius = int(rng.choice([0, 1, 5, 600, 4000, INF]))
        got, run_max = select_tile(scores, allowed, before, quota, radius, TINY)
        for r in range(rows):
            open_slots = [b for b in range(n) if allowed[r, b]]
            top = max([int(before[r])] + [int(scores[r, b]) for b in open_slots])
            best = sorted(open_slots, key=lambda b: (-scores[r, b], b))[:quota]
            want = [b for b in best if scores[r, b] >= top - radius]
            assert picked(got, r) == want
            assert got.valid[r, : len(want)].all() and not got.valid[r, len(want) :].any()
            assert run_max[r] == top
            compared += 1
        lengths = [len(picked(got, r)) for r in range(rows)]
        assert got.nsteps == -(-max(lengths) // 2)
    assert compared > 300


def test_infinite_radius_never_clips():
    """The widest possible distance still lies within 2**SC_W - 1."""
    top = 1 << (TINY.SC_W - 1)
    got, _ = select_tile(np.array([[top - 1, -top]]), np.ones((1, 2), bool), None, 2, INF, TINY)
    assert got.nsel == 2


def test_dense():
    allowed = np.array([[True, False, True, False, False], [True, True, False, False, False]])
    got = dense_tile(allowed)
    assert got.valid.tolist() == allowed.tolist()
    assert [picked(got, r) for r in range(2)] == [[0, 2], [0, 1]]
    assert (got.nsteps, got.nsel, got.union_word) == (2, 4, 0b111)
    assert dense_tile(np.zeros((2, 4), bool)).nsteps == 0


@pytest.mark.parametrize("quota, radius, field", [
    (0, 1, "quota"), (17, 1, "quota"), (1, -1, "radius"), (1, INF + 1, "radius")])
def test_bad_settings(quota, radius, field):
    with pytest.raises(ConfigError, match=f"{field} = "):
        select_tile(np.zeros((1, 2)), np.ones((1, 2), bool), None, quota, radius, TINY)


def test_bad_shapes():
    with pytest.raises(ValueError, match="expected equal shapes"):
        select_tile(np.zeros((1, 2)), np.ones((1, 3), bool), None, 1, 1, TINY)
    with pytest.raises(ValueError, match="1..16"):
        select_tile(np.zeros((1, 17)), np.ones((1, 17), bool), None, 1, 1, TINY)
