# SPDX-License-Identifier: Apache-2.0
"""Cycle model of the second machine: the work it counts, its bounds, and what it cannot beat."""

import numpy as np
import pytest

from models import fast
from models.lab.bands import Machine, bound_of, cycles, work_of
from models.lab.cycles import Memory
from models.second import head
from models.second.config import Config

needs_numba = pytest.mark.skipif(not fast.available(), reason="numba is not installed")

TINY = Config.from_name("tiny")
"""4 rows, 2 units of 4 elements, 4 columns, 8 bytes a beat."""


def job(heads, **changes):
    """A job of d = 8 and tiles of 8 keys with so many query heads."""
    return head.Job(**{"d": 8, "bc": 8, "table": (head.HeadTable(1, 0),) * heads, **changes})


def test_work_by_hand():
    """Two heads share K; 6 rows are blocks of 4 and 2; 10 keys are interleaved tiles of 5."""
    selected = np.zeros((2, 6, 10), bool)
    selected[0, 0, 2] = selected[0, 2, 2] = selected[1, 3, 2] = True  # even rows: unit 0
    selected[1, 5, 9] = True
    work = work_of(selected, job(2), TINY, kv_heads=1)
    # Bands of one row block of both heads; tiles 0, 1 and again 0.
    assert (work.band_turn, work.band_block) == ([0, 3, 6], [0, 2, 4])
    assert work.block_rows == [4, 4, 2, 2] and work.turn_slots == [5] * 6
    assert work.turn_selects == [False, True, True] * 2
    assert work.turn_key == [0, 0, 0, 1, 1, 2, 2]
    assert work.want.tolist() == [[2, 1], [0, 1]] and work.pairs == 4
    # d = 8: 2 beats of 16 bits, 1 of 8; 2 groups of 4 columns take 8 cycles each.
    assert bound_of(work, job(2), TINY) == {
        "dlzs": 2 * 3 * 16 + 2 * 3 * 16,
        "units": int((4 * 2 + 2.5 * 12 * 2) / 2),
        "read": 6 * 5 + (2 * 2 + 12) * 2,
        "write": 12 * 2,
    }


def test_jobs_that_do_not_sum_score_once():
    selected = np.ones((1, 4, 10), bool)
    sort = work_of(selected, job(1, select=head.SORT), TINY)
    assert sort.turn_selects == [True, True] and sort.turn_key == [0, 5, 10]
    assert bound_of(sort, job(1, select=head.SORT), TINY)["dlzs"] == 2 * 16
    dense = job(1, select=head.DENSE)
    assert bound_of(work_of(selected, dense, TINY), dense, TINY)["dlzs"] == 0


@needs_numba
@pytest.mark.parametrize("select", [head.SUM, head.SORT, head.DENSE])
@pytest.mark.parametrize("machine", [
    Machine(), Machine(landing=1, fifo=1, k8_bufs=1, mask_tiles=2, least=1),
    Machine(q_places=9, o_places=9, fifo=64),
], ids=["default", "least", "large"])
def test_no_job_beats_its_bounds_or_never_ends(select, machine, seed):
    rng = np.random.default_rng([seed, select])
    for _ in range(10):
        kv, group = int(rng.integers(1, 3)), int(rng.integers(1, 3))
        rows, keys = int(rng.integers(1, 30)), int(rng.integers(1, 60))
        keep = rng.choice([0.0, 0.05, 0.5, 1.0])
        selected = rng.random((kv * group, rows, keys)) < keep
        one = job(kv * group, select=select, band=int(rng.integers(1, 3)))
        work = work_of(selected, one, TINY, kv, machine)
        done = cycles(work, one, TINY, machine, Memory(int(rng.integers(1, 50)), 5))
        assert done.total >= max(done.bound.values())
        assert done.busy["read"] == done.bound["read"] and done.busy["write"] == done.bound["write"]
        if select != head.DENSE:
            assert done.busy["dlzs"] == done.bound["dlzs"]
        assert done.busy["units"] + done.starved <= done.total


@needs_numba
def test_a_long_job_comes_near_its_largest_bound():
    """Every row takes the same quarter of the keys, two blocks share them: prediction binds."""
    selected = np.zeros((1, 64, 256), bool)
    selected[:, :, ::4] = True
    one = job(1, select=head.SORT, d=16, bc=16, band=2)
    done = cycles(work_of(selected, one, TINY), one, TINY, memory=Memory(10, 10))
    assert max(done.bound.values()) == done.bound["dlzs"] == 16 * 16 * 64
    assert done.total < 1.02 * done.bound["dlzs"]
