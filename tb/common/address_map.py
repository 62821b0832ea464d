# SPDX-License-Identifier: Apache-2.0
"""Which addresses stand for which bytes of a memory model.

At first all of them from ``base`` on, one after the other. With windows only what lies in one of
them is there, so buffers can lie far apart in an address space of terabytes, and what a master
reads or writes beyond the end of a buffer is no memory.
"""

from __future__ import annotations

import random
from bisect import bisect_right, insort


class AddressMap:
    """Addresses of ``size`` bytes from ``base`` on, or of windows of them."""

    def __init__(self, base: int, size: int):
        self.base, self.size = base, size
        self._windows: list[tuple[int, int, int]] = []

    def window(self, address: int, count: int, offset: int) -> None:
        """Let the bytes ``offset`` .. ``offset + count`` of the memory stand at ``address``, and
        nothing where no window is. ValueError: another window is there, or the memory has no such
        bytes."""
        if not 0 < count <= self.size - offset or offset < 0:
            raise ValueError(f"window of {count} bytes at byte {offset}, legal: within the "
                             f"memory's {self.size}")
        if not self.free(address, count):
            raise ValueError(f"window {address:#x}..{address + count - 1:#x} meets another one")
        insort(self._windows, (address, count, offset))

    def free(self, address: int, count: int) -> bool:
        """Whether no window has any of these addresses."""
        at = bisect_right(self._windows, (address + count,))
        return not any(first + n > address for first, n, _ in self._windows[max(0, at - 1) : at])

    def clear(self) -> None:
        """Forget all windows: everything is there again from ``base`` on."""
        self._windows.clear()

    def offset(self, address: int, count: int) -> int | None:
        """The byte of the memory at an address; None unless all ``count`` bytes from there on are
        there."""
        if not self._windows:
            start = address - self.base
            return start if 0 <= start and start + count <= self.size else None
        at = bisect_right(self._windows, (address, self.size + 1, 0)) - 1
        if at < 0:
            return None
        first, n, offset = self._windows[at]
        return offset + address - first if address + count <= first + n else None

    def __str__(self):
        if not self._windows:
            return f"{self.base:#x}..{self.base + self.size - 1:#x}"
        return ", ".join(f"{first:#x}..{first + n - 1:#x}" for first, n, _ in self._windows)


class Places:
    """Random places for buffers in 2^addr_w bytes, behind each other in a memory or not.

    Args:
        addresses: AddressMap that gets a window for what is there.
        addr_w: bits of an address.
        bus: bytes of a beat; strides are multiples of it.
        rng: random.Random.
    """

    def __init__(self, addresses: AddressMap, addr_w: int, bus: int, rng: random.Random):
        self.addresses, self.addr_w, self.bus, self.rng = addresses, addr_w, bus, rng
        # From the first to the last byte of each buffer
        self._extents = AddressMap(0, 1 << addr_w)

    def clear(self) -> None:
        """Forget all buffers, and all windows."""
        self.addresses.clear()
        self._extents.clear()

    def _somewhere(self, count, low):
        pages = (1 << self.addr_w) - count >> 12
        while True:
            far = (self.rng.randrange(1, pages) << 12) + low
            if far + count <= 1 << self.addr_w and self._extents.free(far, count):
                self._extents.window(far, count, 0)
                return far

    def place(self, offset: int, count: int, low: int) -> int:
        """The address of the bytes ``offset`` .. ``offset + count`` of the memory; low: its place
        within a page."""
        far = self._somewhere(count, low)
        self.addresses.window(far, count, offset)
        return far

    def spread(self, offset: int, heads: int, rows: int, size: int, row: int, head: int,
               low: int) -> tuple[int, int, int]:
        """The same for vectors of ``size`` bytes, a multiple of the bus width, which lie in the
        memory every ``row`` bytes, and those of a head every ``head`` bytes: far apart, with no
        memory between. Returns (address, row stride, head stride); strides and the vectors of
        a head span less than 4 GiB."""
        # A 256th of the addresses at most, so that all buffers of a chain find room.
        span = min(size << self.rng.randrange(1, 32), 1 << self.addr_w - 8)
        most = min(span // heads, 1 << 32)
        far_row = self.rng.randrange(size, max(most // rows, size + 1), self.bus)
        least = far_row * rows if heads > 1 else 0
        far_head = self.rng.randrange(least, max(most, least + 1), self.bus)
        far = self._somewhere((heads - 1) * far_head + (rows - 1) * far_row + size, low)
        for h in range(heads):
            for r in range(rows):
                self.addresses.window(far + h * far_head + r * far_row, size,
                                      offset + h * head + r * row)
        return far, far_row, far_head
