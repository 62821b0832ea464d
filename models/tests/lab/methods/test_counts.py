# SPDX-License-Identifier: Apache-2.0
"""Prices and sums of counted operations and bytes."""

import pytest

from models.lab.methods.counts import STAGES, Counts, price


@pytest.mark.parametrize("kind, bits", [
    ("add32", 32), ("cmp9", 9), ("lz16", 16), ("shift8", 8), ("shift64", 128), ("shift1", 1 / 3),
    ("mul4x2", 8), ("mul16x16", 256), ("exp16", 256), ("div9", 81), ("xor64", 16),
])
def test_price(kind, bits):
    """One operation of each kind, from the table at the head of the module."""
    assert price(kind) == pytest.approx(bits)


@pytest.mark.parametrize("kind", ["mul16", "add", "sub8", "add8x8", "Add8", "add8 ", ""])
def test_unknown_operation_is_refused(kind):
    with pytest.raises(ValueError, match="no operation"):
        price(kind)
    counts = Counts()
    with pytest.raises(ValueError, match="no operation"):
        counts.add("predict", kind, 1)
    assert counts == Counts()


def test_unknown_stage_is_refused():
    with pytest.raises(KeyError):
        Counts().add("sort", "add8", 1)


def test_cost_by_stage():
    counts = Counts()
    counts.add("predict", "mul4x4", 10)
    counts.add("predict", "mul4x4", 5)
    counts.add("predict", "add8", 15)
    counts.add("select", "cmp8", 3)
    counts.add("compute", "exp16", 2)
    assert counts.ops["predict"] == {"mul4x4": 15, "add8": 15}
    # 15 * 16 + 15 * 8; 3 * 8; 2 * 256.
    assert [counts.cost(stage) for stage in STAGES] == [360, 24, 512]
    assert counts.cost() == 896


def test_bytes_and_keep():
    counts = Counts(visible=40, selected=10)
    counts.move("k", 100)
    counts.move("k", 28)
    counts.move("v", 2)
    assert counts.bytes == {"k": 128, "v": 2} and counts.dram == 130
    assert counts.keep == 0.25
    assert Counts().keep == 0.0 and Counts().dram == 0 and Counts().cost() == 0


def test_sum():
    one, two = Counts(visible=4, selected=1), Counts(visible=6, selected=5)
    one.add("predict", "add8", 3)
    two.add("predict", "add8", 4)
    two.add("compute", "div16", 1)
    one.move("q", 8)
    two.move("q", 1)
    two.move("o", 2)
    both = one + two
    assert both.ops == {"predict": {"add8": 7}, "select": {}, "compute": {"div16": 1}}
    assert both.bytes == {"q": 9, "o": 2}
    assert (both.visible, both.selected) == (10, 6)
    # The parts are as before.
    assert one.ops["predict"] == {"add8": 3} and one.bytes == {"q": 8}
    assert two.ops["predict"] == {"add8": 4} and two.bytes == {"q": 1, "o": 2}
    assert sum([one, two], Counts()) == both
