# SPDX-License-Identifier: Apache-2.0
"""Which addresses a memory model has."""

from __future__ import annotations

import random

import pytest

from tb.common.address_map import AddressMap


def test_without_windows():
    there = AddressMap(0x1000, 64)
    assert there.offset(0x1000, 64) == 0 and there.offset(0x103F, 1) == 63
    assert there.offset(0x1001, 64) is None and there.offset(0xFFF, 2) is None
    assert str(there) == "0x1000..0x103f"


def test_windows():
    """Byte by byte against a dict of all addresses; what ends outside is not there."""
    rng = random.Random(1)
    for _ in range(200):
        there, known, used = AddressMap(0, 1 << 12), {}, 0
        for _ in range(rng.randrange(1, 9)):
            address, count = rng.randrange(0, 1 << 10), rng.randrange(1, 1 << 7)
            taken = any(a in known for a in range(address, address + count))
            assert there.free(address, count) != taken
            if taken:
                with pytest.raises(ValueError, match="meets another one"):
                    there.window(address, count, used)
                continue
            there.window(address, count, used)
            known |= {address + i: used + i for i in range(count)}
            used += count
        for address in range(0, 1 << 10, 3):
            count = rng.randrange(1, 20)
            found = [known.get(address + i) for i in range(count)]
            # Two windows side by side are two pieces of memory.
            whole = all(f == (found[0] or 0) + i for i, f in enumerate(found))
            got = there.offset(address, count)
            assert got is None or (whole and got == found[0])
            assert got is not None or not whole or any(
                address < first <= address + count - 1 for first, _, _ in there._windows)
        there.clear()
        assert there.offset(5, 1) == 5


def test_windows_lie_within_the_memory():
    there = AddressMap(0, 100)
    for count, offset in ((101, 0), (1, 100), (0, 0), (1, -1)):
        with pytest.raises(ValueError, match="legal: within the memory's 100"):
            there.window(0x1000, count, offset)
