# SPDX-License-Identifier: Apache-2.0
"""Organisations of selection and lanes: against the reference, worked examples, invariants."""

from __future__ import annotations

import dataclasses
import itertools
import math

import numpy as np
import pytest

from models import dlzs, oracle, workloads
from models.config import Config, ConfigError
from models.head import run_job
from models.lab import organisations
from models.lab.cycles import Work
from models.lab.method import Call
from models.lab.organisations import (
    BLOCK,
    Measured,
    Organisation,
    Truth,
    choose,
    hardware,
    measure,
    paid_steps,
    predict,
)
from models.lab.sofa import Sofa
from models.plan import plan

PAPER = Config.from_name("paper")


@pytest.fixture(scope="module")
def call():
    """Three query heads on one KV head, 260 tokens: three blocks, the last one short."""
    case = workloads.load_case("smollm2_novel_s1024_l05")
    return Call(case.q[:3, :260], case.k[:1, :260], case.v[:1, :260], True)


@pytest.fixture(scope="module")
def guess(call):
    return predict(call, dlzs.FLOOR, PAPER)


@pytest.fixture(scope="module")
def counts(guess):
    """Keys that rows take in tiles, of the last full block of head 0; radius only."""
    return choose(guess, Organisation(quota=64, radius=5.0), PAPER).blocks[1].counts


@pytest.mark.parametrize("layout", ["interleaved", "contiguous"])
@pytest.mark.parametrize("quota, radius", [(16, 6.0), (8, None), (64, 4.0)])
def test_selection_of_the_reference(call, guess, layout, quota, radius):
    """Lockstep organisations select, and pay, what the bit-exact model of the machine does."""
    org = Organisation(quota=quota, radius=radius, layout=layout)
    picked = choose(guess, org, PAPER)
    numbers, job = plan(call.q, call.k, call.v, PAPER, causal=True, quota=quota,
                        radius_nats=radius, interleaved=layout == "interleaved")
    done = run_job(numbers.q, numbers.k, numbers.v, numbers.k8, job, PAPER)
    assert (picked.selected == np.stack([h.selected for h in done.heads])).all()
    work = organisations.work_of_blocks(picked, org, 1)
    assert work == Work.from_stats(done.stats, heads=3)


def test_radius_from_the_sum_is_sofa_s_threshold(call):
    """The same keys as models.lab.sofa, whose tests have the rule itself; more keys with more nats,
    and fewer than a radius from the maximum keeps. Of one head: Sofa gives each its own scale."""
    seen, call = [], dataclasses.replace(call, q=call.q[:1])
    for snap, name in ((dlzs.FLOOR, "floor"), (dlzs.TWO_TERM, "two-term")):
        guess = predict(call, snap, PAPER)
        for radius in (4.0, 7.0):
            org = Organisation(quota=24, radius=radius, anchor="sum", snap=snap)
            got = choose(guess, org, PAPER)
            want = Sofa(quota=24, radius_nats=None, threshold=math.exp(-radius), snap=name)
            assert (got.selected == want.attend(call).selected).all()
            assert sum(int(b.counts.sum()) for b in got.blocks) == got.selected.sum()
            other = choose(guess, dataclasses.replace(org, anchor="max"), PAPER).selected
            assert got.selected.sum() < other.sum()
            seen.append(int(got.selected.sum()))
    assert seen[0] < seen[1] and seen[2] < seen[3]


def test_general_path_equals_the_reference(guess):
    """One radius given for each head, or nothing to exchange: the same selection."""
    org = Organisation(quota=8, radius=5.0)
    want = choose(guess, org, PAPER).selected
    # Radii that differ by nothing but their last head leave the other heads alone.
    other = choose(guess, dataclasses.replace(org, radius=(5.0, 5.0, 9.0)), PAPER).selected
    assert (other[:2] == want[:2]).all()
    assert other[2].sum() > want[2].sum() and (other[2] >= want[2]).all()


def test_steps_by_hand():
    """Two groups of two rows, three tiles."""
    counts = np.array([[4, 0, 2], [1, 1, 2], [0, 4, 2], [0, 0, 2]])
    # Lockstep: the longest list, in pairs.
    assert paid_steps(counts).tolist() == [2, 2, 1]
    # Pairs of rows share four places a step: 5, 1, 4 and 0, 4, 4 keys.
    assert paid_steps(counts, share=2).tolist() == [2, 1, 1]
    # Row 0 finishes tile 0 in the two steps of tile 1, which row 2 needs; row 1 too.
    assert paid_steps(counts, carry=1).tolist() == [0, 2, 1]
    # 10 and 8 keys of the pairs in all, four places a step.
    assert paid_steps(counts, share=2, carry=BLOCK).sum() == 3
    assert paid_steps(np.array([[1], [1], [1]]), share=2).tolist() == [1]


def fewest_steps(counts, carry):
    """Fewest steps by trying all: rows alone, work in its tile or up to ``carry`` later."""
    rows, tiles = counts.shape
    most = int(counts.sum(axis=1).max() + 1) // 2
    for total in range(most * tiles + 1):
        for steps in itertools.product(range(most + 1), repeat=tiles):
            if sum(steps) == total and all(fits(row, steps, carry) for row in counts):
                return total
    raise AssertionError("no schedule")


def fits(row, steps, carry):
    """Earliest deadline first serves a row in time."""
    left = list(row)
    for t, n in enumerate(steps):
        room = 2 * n
        for u in range(max(0, t - carry), t + 1):
            done = min(room, left[u])
            left[u] -= done
            room -= done
        if t - carry >= 0 and left[t - carry]:
            return False
    return not any(left)


@pytest.mark.parametrize("number", range(6))
@pytest.mark.parametrize("carry", [0, 1, 2, BLOCK])
def test_carrying_pays_the_least(number, carry):
    """The steps with carry are the fewest there are, on small random counts."""
    counts = np.random.default_rng(number).integers(0, 4, (3, 4))
    steps = paid_steps(counts, carry=carry)
    assert int(steps.sum()) == fewest_steps(counts, carry)
    assert all(fits(row, steps, carry) for row in counts)


def test_lanes_are_never_overfull_nor_worse(counts):
    """No organisation pays less than all work over all lanes; sharing and carrying never more."""
    rows = len(counts)
    lockstep = int(paid_steps(counts).sum())
    assert lockstep == int((-(-counts // 2)).max(axis=0).sum())
    last = lockstep
    for share in (2, 4, 8, 16, 32, 128):
        steps = int(paid_steps(counts, share).sum())
        assert counts.sum() / (2 * rows) <= steps <= last
        last = steps
    for share in (1, 8):
        paid = [int(paid_steps(counts, share, carry).sum()) for carry in (0, 1, 2, BLOCK)]
        assert paid == sorted(paid, reverse=True)
        assert paid[-1] >= counts.sum() / (2 * rows)
    assert last < lockstep


def test_exchange_by_hand():
    """A key that its own tile has no place for is taken in the next one."""
    org = Organisation(quota=2, exchange=1)
    tile, none = np.array([10, 11, 12]), np.full((1, 1), organisations.sads.NO_MAX)
    low = np.array([-1000])
    good, key, waiting = organisations._take_best(
        np.array([[7, 9, 8]]), tile, (none, np.zeros((1, 1), int)), low, org)
    assert key[good].tolist() == [11, 12] and (waiting[0][0, 0], waiting[1][0, 0]) == (7, 10)
    good, key, waiting = organisations._take_best(
        np.array([[1, 6, 3]]), np.array([20, 21, 22]), waiting, low, org)
    assert key[good].tolist() == [10, 21] and waiting[1][0, 0] == 22
    # The radius drops 6 where the least allowed score is 7.
    good, key, _ = organisations._take_best(
        np.array([[1, 6, 7]]), np.array([20, 21, 22]), (none, waiting[1]), low + 1007, org)
    assert key[good].tolist() == [22]


def test_exchange_finds_more(call, guess):
    """With contiguous tiles, which cluster the best keys, exchanged keys retain more of the mass
    than a larger quota does with more pairs."""
    truth = Truth.of(call)
    swapped, larger = (
        truth.quality(choose(guess, Organisation(layout="contiguous", **changes), PAPER).selected)
        for changes in ({"quota": 4, "exchange": 8}, {"quota": 5}))
    assert swapped.lost < larger.lost
    assert swapped.selected < larger.selected


def test_layouts_hold_every_key_once(guess):
    """Tiles of every layout are a partition of the visible prefix; the first ones of "recent" hold
    the block's own keys and the first of the text."""
    for layout in organisations.LAYOUTS:
        org = Organisation(layout=layout)
        for row, n in ((0, 128), (128, 128), (256, 4)):
            tiles = organisations.layout_tiles(org, row, n, guess.mask)
            assert np.sort(np.concatenate(tiles)).tolist() == list(range(row + n))
            assert all(1 <= len(t) <= 64 for t in tiles)
    first = np.concatenate(organisations.layout_tiles(Organisation(layout="recent"), 128, 128,
                                                      guess.mask)[:3])
    assert set(first) >= {0, 1, 2, 3, *range(128, 256)}


def test_blocks_of_a_group(call, guess):
    """Blocks of three heads hold 42 rows of each and read a key once for all of them."""
    org = Organisation(quota=8, radius=6.0, heads=3)
    picked = choose(guess, org, PAPER)
    assert [len(b.counts) for b in picked.blocks] == [126] * 6 + [24]
    assert sum(int(b.counts.sum()) for b in picked.blocks) == picked.selected.sum()
    first = picked.selected[:, :42]
    assert picked.blocks[0].union.sum() == first.any(axis=(0, 1)).sum()
    # Row 5 of head 2 is row 3*5 + 2 of the block.
    assert picked.blocks[0].counts[17].sum() == first[2, 5].sum()
    with pytest.raises(ConfigError, match="heads = 2, legal: a divisor of the 3"):
        choose(guess, Organisation(heads=2), PAPER)


def test_quality_and_measures(call, guess):
    """Mass and error against the oracle, one head at a time; totals add up."""
    org = Organisation(quota=4, radius=5.0)
    picked = choose(guess, org, PAPER)
    kept = Truth.of(call).quality(picked.selected)
    mask = call.mask()
    mass, error, power = [], 0.0, 0.0
    for h in range(3):
        mass.append(oracle.retained_mass(oracle.logits(call.q[h], call.k[0]), mask,
                                         picked.selected[h]))
        dense = oracle.attention(call.q[h], call.k[0], call.v[0], mask)
        sparse = oracle.attention(call.q[h], call.k[0], call.v[0], picked.selected[h])
        error, power = error + ((dense - sparse) ** 2).sum(), power + (dense**2).sum()
    assert kept.lost == pytest.approx(1 - np.mean(mass), abs=1e-5)
    assert kept.relative_error == pytest.approx((error / power) ** 0.5, rel=1e-4)
    got = measure(call, picked, org, PAPER, kept)
    assert got.useful == got.selected / (got.steps * 256) <= 1
    assert got.cycles > got.steps * call.d
    both = got + got
    assert (both.keep, both.lost, both.steps) == (got.keep, got.lost, 2 * got.steps)
    assert Measured() + got == got
    everything = Truth.of(call).quality(np.broadcast_to(mask, picked.selected.shape))
    assert everything.keep == 1 and everything.lost == pytest.approx(0, abs=1e-6)


def test_organisation_is_a_method(call, guess):
    """Its mask is the selection, its output exact attention over it."""
    org = Organisation(quota=8, radius=6.0, share=8)
    done = org.start()(call)
    assert (done.selected == choose(guess, org, PAPER).selected).all()
    want = oracle.attention(call.q[1], call.k[0], call.v[0], done.selected[1])
    assert oracle.relative_error(done.out[1], want) < 1e-5
    assert done.counts.selected == done.selected.sum()


def test_hardware_by_hand():
    """Multiplexers of four lanes a row, and what every change adds."""
    base = hardware(Organisation(), PAPER)
    assert base.mux == 128 * 4 * 16 * 63 + 4096 * 11 * 4
    assert base.buffer == 6 * 64 * 128 * 16 + 4 * 128 * 64 * 7
    shared = hardware(Organisation(share=8), PAPER)
    assert shared.mux - base.mux == 256 * 16 * 7 + 128 * 26 * 16
    assert shared.logic - base.logic == 128 * 26 * 14
    carried = hardware(Organisation(carry=1), PAPER)
    assert carried.mux - base.mux == 128 * 4 * 16 * 64 and carried.logic == base.logic
    two = hardware(Organisation(snap=dlzs.TWO_TERM), PAPER)
    assert two.logic - base.logic == 4096 * 18 and two.mux == base.mux
    swapped = hardware(Organisation(exchange=4), PAPER)
    assert swapped.buffer - base.buffer == 128 * 4 * (18 + 12)
    summed = hardware(Organisation(anchor="sum"), PAPER)
    assert summed.logic - base.logic == 128 * (5 * 18 + 25) and summed.mux == base.mux
    assert summed.buffer - base.buffer == 128 * 64 * 18


@pytest.mark.parametrize("changes, message", [
    ({"quota": 65}, r"quota = 65, legal: integer 1\.\.64"),
    ({"share": 6}, "share = 6, legal: power of two"),
    ({"anchor": "top"}, "anchor = 'top', legal: max, sum"),
    ({"anchor": "sum", "radius": (6.0, 7.0)}, "legal with anchor sum: one for all heads"),
    ({"layout": "random"}, "layout = 'random', legal: interleaved, contiguous, recent")])
def test_illegal_settings(changes, message):
    with pytest.raises(ConfigError, match=message):
        Organisation(**changes)
