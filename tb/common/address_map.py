# SPDX-License-Identifier: Apache-2.0
"""Which addresses stand for which bytes of a memory model.

At first all of them from ``base`` on, one after the other. With windows only what lies in one of
them is there, so buffers can lie far apart in an address space of terabytes, and what a master
reads or writes beyond the end of a buffer is no memory.
"""

from __future__ import annotations

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
