# SPDX-License-Identifier: Apache-2.0
"""Ring: its counts against a plain list of slots, and what it refuses."""

import random

import pytest

from tb.common.ring import Ring


@pytest.mark.parametrize("readers", [1, 2])
def test_counts(readers):
    """Slots are filled in turn while one is free, and free when every reader has released them."""
    rng = random.Random(readers)
    ring, taken, number = Ring("q", 3, readers), [], 0
    for _ in range(500):
        held = [entry for entry in taken if entry[1]]
        assert (ring.free, ring.slot, ring.filled) == (3 - len(held), number % 3, number)
        reader = rng.randrange(readers)
        mine = [entry for entry in held if reader in entry[1]]
        if mine and rng.random() < 0.5:
            ring.release(reader)
            mine[0][1].remove(reader)
        elif len(held) < 3:
            ring.fill()
            taken.append((number, set(range(readers))))
            number += 1
    assert number > 100 and ring.released == number - len([entry for entry in taken if entry[1]])


def test_what_is_refused():
    ring = Ring("k8", 2)
    with pytest.raises(AssertionError, match="k8: released what has not come: expected at most 0"):
        ring.release()
    ring.fill()
    ring.fill()
    with pytest.raises(AssertionError, match="k8 2: none of 2 slots is free"):
        ring.fill()
    ring.release()
    with pytest.raises(AssertionError, match="k8: expected 2 released, got 1"):
        ring.restart()
    ring.release()
    ring.fill()
    ring.release()
    ring.restart()
    assert ring.slot == 0 and ring.filled == ring.released == 3
    ring.clear()
    assert ring.free == 2 and not ring.filled
