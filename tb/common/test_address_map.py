# SPDX-License-Identifier: Apache-2.0
"""Which addresses a memory model has."""

from __future__ import annotations

import random

import pytest

from tb.common.address_map import AddressMap, Places


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


@pytest.mark.parametrize("addr_w, bus", [(32, 8), (40, 16), (48, 64)])
def test_places(addr_w, bus):
    """Vectors of buffers that lie far apart are there, and nothing between them; no buffer lies
    within another's addresses."""
    rng, ends, widest = random.Random(1), [], 0
    there = AddressMap(0, 1 << 20)
    places = Places(there, addr_w, bus, rng)
    for number in range(40):
        heads, rows, size = rng.randrange(1, 4), rng.randrange(1, 9), bus * rng.randrange(1, 5)
        offset, row, low = 8192 * number, size + bus, bus * rng.randrange(4096 // bus)
        head = rows * row
        if number % 4 == 0:
            first = places.place(offset, heads * head, low)
            assert there.offset(first, heads * head) == offset
            last = first + heads * head
        else:
            first, r, h = places.spread(offset, heads, rows, size, row, head, low)
            assert r % bus == h % bus == 0 and size <= r < 1 << 32 and h < 1 << 32
            assert rows * r <= 1 << 32 and (heads == 1 or h >= r * rows)
            for i in range(heads * rows):
                at = first + i // rows * h + i % rows * r
                assert there.offset(at, size) == offset + i // rows * head + i % rows * row
                assert there.offset(at, size + 1) is None
                assert r == size or there.offset(at + size, 1) is None
            last, widest = at + size, max(widest, r)
        assert first % 4096 == low and last <= 1 << addr_w
        assert all(last <= one or first >= other for one, other in ends)
        ends.append((first, last))
    assert widest > 1 << min(addr_w - 14, 28)
    places.clear()
    assert there.offset(5, 1) == 5
