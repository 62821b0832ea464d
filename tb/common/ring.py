# SPDX-License-Identifier: Apache-2.0
"""The ring of slots between two neighbours: filled in turn, released in turn."""

from __future__ import annotations


class Ring:
    """Counts the slots of a ring and checks both of its ends.

    slots: how many there are; changes only while all of them are free. filled: slots filled so far.
    What fills them is a driver of the bench or the design; the other of the two releases them.

    Args:
        name: of what lies in a slot, for messages.
        slots: as above.
        readers: who release each slot, every one of them in turn; it is free after the last.
    """

    def __init__(self, name, slots=1, readers=1):
        self.name, self.slots = name, slots
        self._released = [0] * readers
        self.clear()

    def clear(self):
        """Forget everything, as a reset does."""
        self.filled = self._first = 0
        self._released = [0] * len(self._released)

    def restart(self):
        """Fill slot 0 next. All are free."""
        assert self.released == self.filled, \
            f"{self.name}: expected {self.filled} released, got {self.released}"
        self._first = self.filled

    @property
    def released(self):
        """Slots that every reader has released so far."""
        return min(self._released)

    @property
    def free(self):
        """How many slots are free."""
        return self.slots - (self.filled - self.released)

    @property
    def slot(self):
        """Number of the slot that is filled next."""
        return (self.filled - self._first) % self.slots

    def fill(self):
        """The next slot is filled.

        Raises:
            AssertionError: none is free.
        """
        assert self.free > 0, f"{self.name} {self.filled}: none of {self.slots} slots is free"
        self.filled += 1

    def release(self, reader=0):
        """``reader`` is done with the oldest slot that it has not released.

        Raises:
            AssertionError: that slot is not filled yet.
        """
        assert self._released[reader] < self.filled, (
            f"{self.name}: released what has not come: expected at most {self.filled}, got "
            f"{self._released[reader] + 1}")
        self._released[reader] += 1
