# SPDX-License-Identifier: Apache-2.0
"""Phases of a tile: the paper's example, the contract's rules, what a schedule must keep."""

import numpy as np
import pytest

from models.first import rass, sads
from models.first.config import Config
from models.sads import Selection

TINY = Config.from_name("tiny", KV_SLOTS=8)
# From 32 rows on, several counts share a level.
WIDE = Config(ROWS=32, COLS=8, D_MAX=64, BC_MAX=64, BUS_BYTES=8, KEYS_MAX=256, KV_SLOTS=16)


class FourSlots:
    """The paper's machine: 4 queries and 4 key slots (below the RTL's least buffer)."""

    ROWS, BC_MAX, KV_SLOTS = 4, 8, 4


EXAMPLE = Selection(
    np.array([[2, 3, 4, 7], [0, 1, 2, 3], [2, 3, 4, 7], [4, 5, 6, 7]]), np.ones((4, 4), bool), 8
)


def loads_in_row_order(selection, slots, per_phase):
    """Loads of K alone when every phase takes the next ``per_phase`` keys of each row, row after
    row, through a buffer of ``slots`` keys that replaces its oldest one."""
    buffer, loads = [], 0
    for first in range(0, selection.slots.shape[1], per_phase):
        for row in selection.slots[:, first : first + per_phase].tolist():
            for key in row:
                if key not in buffer:
                    buffer = [*buffer, key][-slots:]
                    loads += 1
    return loads


def test_example_of_the_paper():
    phases = rass.schedule(EXAMPLE, FourSlots)
    assert [sorted(p.loaded.tolist()) for p in phases] == [[2, 3, 5, 6], [0, 1, 4, 7]]
    # Two keys of every query in each phase: one pair step, no lane idle.
    assert [p.counts.tolist() for p in phases] == [[2] * 4] * 2
    assert [p.nsteps for p in phases] == [1, 1] and rass.balance(phases) == 1.0
    assert 2 * sum(len(p.loaded) for p in phases) == 16
    assert 2 * loads_in_row_order(EXAMPLE, 4, 2) == 24
    naive = rass.left_to_right(EXAMPLE, FourSlots)
    assert [p.loaded.tolist() for p in naive] == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert sum(p.nsteps for p in naive) == 4 and rass.balance(naive) == 0.5


def random_selection(rng, rows, n, quota):
    """Lists of random length, best first; popular slots as in real tiles."""
    scores = rng.normal(size=(rows, n)) + 1.5 * rng.normal(size=n)
    slots = np.argsort(-scores, axis=1)[:, :quota]
    valid = np.arange(quota)[None, :] < rng.integers(0, quota + 1, (rows, 1))
    return Selection(np.where(valid, slots, 0), valid, n)


def slow_schedule(selection, cfg):
    """Tile slots of every phase from the words of the contract, on Python sets."""
    rows = [{int(s) for s, ok in zip(*lists, strict=True) if ok}
            for lists in zip(selection.slots, selection.valid, strict=True)]
    shift = max(0, cfg.ROWS.bit_length() - 1 - 4)
    left = sorted(set().union(*rows), key=lambda b: (-(sum(b in r for r in rows) >> shift), b))
    phases = []
    while left or not phases:
        nph = -(-len(left) // cfg.KV_SLOTS)
        cap = -(-max(len(r & set(left)) for r in rows) // max(nph, 1))
        cap += cap % 2
        taken, rejected = [], 0
        for key in left:
            if len(taken) == cfg.KV_SLOTS:
                break
            barred = any(len(r & set(taken)) >= cap for r in rows if key in r)
            if not barred or rejected == (nph - 1) * cfg.KV_SLOTS:
                taken.append(key)
            else:
                rejected += 1
        left = [key for key in left if key not in taken]
        phases.append(taken)
    return phases


@pytest.mark.parametrize("cfg", [TINY, Config.from_name("small", KV_SLOTS=16), WIDE],
                         ids=["tiny", "small", "wide"])
def test_schedule_follows_the_contract(cfg):
    rng = np.random.default_rng(cfg.ROWS)
    phases_seen, waited, steps, naive_steps = set(), 0, 0, 0
    for i in range(240):
        n = int(rng.integers(1, cfg.BC_MAX + 1))
        chosen = random_selection(rng, cfg.ROWS if i % 2 else int(rng.integers(1, cfg.ROWS + 1)),
                                  n, int(rng.integers(1, n + 1)))
        phases = rass.schedule(chosen, cfg)
        assert [p.loaded.tolist() for p in phases] == slow_schedule(chosen, cfg)
        union = int(chosen.union.sum())
        assert len(phases) == max(1, -(-union // cfg.KV_SLOTS))
        loaded = np.concatenate([p.loaded for p in phases])
        assert sorted(loaded) == np.flatnonzero(chosen.union).tolist()
        for p in phases:
            assert len(p.keys) <= cfg.KV_SLOTS and p.mask.all()
            # Valid entries first; every row's keys in the order of its tile list.
            assert (np.diff(p.lists.valid.astype(int), axis=1) <= 0).all()
            assert p.nsteps == -(-p.counts.max(initial=0) // 2)
            for r in range(len(chosen.slots)):
                got = p.keys[p.lists.slots[r][p.lists.valid[r]]].tolist()
                want = [s for s, ok in zip(chosen.slots[r], chosen.valid[r], strict=True)
                        if ok and s in p.loaded]
                assert got == want
        order = rass.key_order(rass.needs(chosen), cfg).tolist()
        waited += loaded.tolist() != order
        phases_seen.add(len(phases))
        steps += sum(p.nsteps for p in phases)
        naive_steps += sum(p.nsteps for p in rass.left_to_right(chosen, cfg))
    assert {1, 2} <= phases_seen and waited > 5 and steps < naive_steps


def test_levels_are_coarse_for_many_rows():
    """32 rows: counts 3 and 2 are one level, so the lower slot goes first; 4 is the next."""
    need = np.zeros((32, 3), bool)
    need[:2, 0], need[:3, 1], need[:4, 2] = True, True, True
    assert rass.key_order(need, WIDE).tolist() == [2, 0, 1]
    assert rass.key_order(need[:16], WIDE.replace(ROWS=16, DIV_ROWS=16)).tolist() == [2, 1, 0]


def test_buffers_of_a_whole_tile_change_nothing():
    cfg = TINY.replace(KV_SLOTS=16)
    chosen = random_selection(np.random.default_rng(2), 4, 16, 5)
    (phase,) = rass.schedule(chosen, cfg)
    assert phase.lists is chosen and (phase.mask == chosen.union).all()
    assert phase.mask_word == chosen.union_word and (phase.keys == np.arange(16)).all()
    dense = sads.dense_tile(np.tril(np.ones((4, 9), bool), 3))
    assert rass.schedule(dense, cfg)[0].lists is dense


def test_empty_and_dense_tiles():
    empty = Selection(np.zeros((4, 3), int), np.zeros((4, 3), bool), 16)
    for make in (rass.schedule, rass.left_to_right):
        (phase,) = make(empty, TINY)
        assert phase.nsteps == 0 and len(phase.loaded) == 0 and rass.balance([phase]) == 1.0
    dense = sads.dense_tile(np.tril(np.ones((4, 16), bool), 12))
    phases = rass.schedule(dense, TINY)
    assert [len(p.loaded) for p in phases] == [8, 8]
    assert sum(p.lists.nsel for p in phases) == dense.nsel
