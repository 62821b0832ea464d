# SPDX-License-Identifier: Apache-2.0
"""Packing of wide buses, and comparison of what a design gave with what was expected."""

from __future__ import annotations

from collections import deque

import numpy as np

from tb.common.signals import moment, reader


def _container(width):
    """Return the bits of the smallest integer type which holds ``width`` bits."""
    if not 1 <= width <= 64:
        raise ValueError(f"width {width} is not 1..64")
    return next(c for c in (8, 16, 32, 64) if c >= width)


def unpack(value, count, width, signed=False):
    """Split a packed bus into its elements.

    Args:
        value: unsigned int; element i is in bits ``[i*width +: width]``.
        count: number of elements.
        width: bits of an element, 1..64.
        signed: elements are two's complement.

    Returns:
        int64 array of shape (count,), uint64 for unsigned elements of 64 bits.

    Raises:
        ValueError: ``value`` is negative or has more than ``count * width`` bits.
    """
    box = _container(width)
    try:
        raw = np.frombuffer(value.to_bytes((count * width + 7) // 8, "little"), np.uint8)
    except OverflowError:
        raise ValueError(f"value does not fit {count} x {width} bits") from None
    if width == box:
        words = raw.view(f"<u{box // 8}")
    else:
        bits = np.unpackbits(raw, bitorder="little")
        if bits[count * width :].any():
            raise ValueError(f"value does not fit {count} x {width} bits")
        wide = np.zeros((count, box), np.uint8)
        wide[:, :width] = bits[: count * width].reshape(count, width)
        words = np.packbits(wide, axis=1, bitorder="little").view(f"<u{box // 8}")[:, 0]
    if signed:
        # The sign moves to the top of the container and is shifted back arithmetically.
        words = (words << (box - width)).view(f"<i{box // 8}") >> (box - width)
    return words.astype(np.uint64 if box == width == 64 and not signed else np.int64)


def pack(array, width):
    """Return the unsigned int of a packed bus; element i in bits ``[i*width +: width]``.

    Args:
        array: integers of any shape, taken in C order.
        width: bits of an element, 1..64.

    Raises:
        ValueError: an element is not in ``-2^(width-1) .. 2^width - 1``.
        TypeError: ``array`` has other elements than integers.
    """
    box = _container(width)
    array = np.asarray(array).reshape(-1)
    if not array.size:
        return 0
    if array.dtype == bool:
        array = array.astype(np.uint8)
    if array.dtype.kind not in "iu":
        raise TypeError(f"elements are {array.dtype}, not integers")
    low, high = int(array.min()), int(array.max())
    if low < -(1 << (width - 1)) or high >> width > 0:
        raise ValueError(f"elements {low}..{high} do not fit {width} bits")
    words = np.ascontiguousarray(array.astype(np.int64 if low < 0 else np.uint64)
                                 .astype(f"<u{box // 8}"))
    if width == box:
        return int.from_bytes(words.tobytes(), "little")
    bits = np.unpackbits(words.view(np.uint8), bitorder="little").reshape(-1, box)[:, :width]
    return int.from_bytes(np.packbits(bits, bitorder="little").tobytes(), "little")


def same(what, expected, got, **where):
    """Compare what a test has of the design: counts, cycles, codes, anything that has ``==``.

    Args:
        what: stage and value, e.g. "fetch places".
        expected: the value; a dict: the values of these fields, ``got`` may have others.
        got: the same; of two lists of one length the first entry that differs is named.
        where: name -> position, e.g. tile=3.

    Raises:
        AssertionError: they differ. The text is one line: what, cycle and time, where, both values.
    """
    if isinstance(expected, dict):
        for field, value in expected.items():
            same(what, value, got[field], **where, field=field)
        return
    if expected == got:
        return
    if isinstance(expected, list) and isinstance(got, list) and len(expected) == len(got):
        at = next(i for i, pair in enumerate(zip(expected, got, strict=True)) if pair[0] != pair[1])
        where, expected, got = {**where, "entry": at}, expected[at], got[at]
    raise AssertionError(f"{what}: {_place(moment(), where, (), ())}expected {expected}, got {got}")


def same_signals(what, dut, **expected):
    """Compare signals of ``dut``, name -> unsigned int, as ``same()`` does; unknown bits differ."""
    texts = {name: reader(getattr(dut, name))() for name in expected}
    same(what, expected, {name: text if text.strip("01") else int(text, 2)
                          for name, text in texts.items()})


class Scoreboard:
    """Compares integer arrays exactly and counts what was compared.

    ``compared`` maps a stage to the number of values compared so far.
    """

    def __init__(self, log=None):
        self.log = log
        self.compared = {}
        self._expected = {}

    @property
    def total(self):
        """Number of values compared in all stages."""
        return sum(self.compared.values())

    def compare(self, stage, expected, got, *, axes=(), where=None, width=None, when=None):
        """Compare ``got`` with ``expected``.

        Args:
            stage: name used for counting and in messages, e.g. "DLZS".
            expected: integer array or scalar.
            got: the same shape.
            axes: name of each axis, e.g. ("row", "key"); none for a scalar.
            where: dict of name -> position. For the name of an axis it is the position of
                index 0 or a sequence with the position, or the name, of each index; other
                names, e.g. "tile", are shown as given.
            width: bits of a value, to show both as hexadecimal of that many bits.
            when: cycle and time of the value, from ``moment()``; default: now.

        Raises:
            AssertionError: shapes differ, elements are no integers, or a value differs. The
                text is one line: stage, cycle and time, tile, row, key and so on, the lowest
                differing bit, and both values.
        """
        expected, got = _integers(stage, "expected", expected), _integers(stage, "got", got)
        where, when = dict(where or {}), moment() if when is None else when
        if expected.shape != got.shape:
            raise AssertionError(f"{stage}: {_place(when, where, (), ())}expected shape "
                                 f"{expected.shape}, got {got.shape}")
        if len(axes) != expected.ndim:
            raise ValueError(f"{stage}: axes {axes} do not name {expected.ndim} axes")
        differs = expected != got
        if differs.any():
            index = tuple(int(i) for i in np.argwhere(differs)[0])
            want, have = int(expected[index]), int(got[index])
            bit = ((want ^ have) & -(want ^ have)).bit_length() - 1
            raise AssertionError(
                f"{stage}: {_place(when, where, axes, index)}bit {bit} is the lowest to differ: "
                f"expected {_shown(want, width)}, got {_shown(have, width)} "
                f"({int(differs.sum())} of {differs.size} values differ)")
        self.compared[stage] = self.compared.get(stage, 0) + expected.size

    def compare_fields(self, stage, expected, got, **options):
        """Compare the fields of ``got``, name -> integer, that ``expected`` has; a message names
        the field. ``options`` are ``where`` and ``when`` of ``compare()``."""
        where = {**(options.pop("where", None) or {}), "field": list(expected)}
        # Fields of 64 bits and signed ones have no common type but Python's.
        values = [np.array([int(of[name]) for name in expected], object) for of in (expected, got)]
        self.compare(stage, *values, axes=("field",), where=where, **options)

    def expect(self, stage, expected, **options):
        """Queue an expectation for the next ``receive()`` of ``stage``.

        ``options`` are those of ``compare()``.
        """
        self._expected.setdefault(stage, deque()).append((expected, options))

    def receive(self, stage, got):
        """Compare ``got`` with the oldest queued expectation of ``stage``.

        Raises:
            AssertionError: nothing is expected, or as ``compare()``.
        """
        queue = self._expected.get(stage)
        if not queue:
            raise AssertionError(f"{stage}: got data, but nothing more is expected")
        expected, options = queue.popleft()
        self.compare(stage, expected, got, **options)

    def pending(self, stage):
        """Return the number of queued expectations of ``stage``."""
        return len(self._expected.get(stage, ()))

    def finish(self, *stages):
        """Check that the test compared something; call it last.

        Args:
            stages: names which must each have compared at least one value.

        Returns:
            The number of values compared.

        Raises:
            AssertionError: nothing was compared, or nothing in one of ``stages``, or an
                expectation is left over.
        """
        left = {stage: len(queue) for stage, queue in self._expected.items() if queue}
        if left:
            raise AssertionError(f"expected data never came (stage: number): {left}")
        silent = [stage for stage in stages if not self.compared.get(stage)]
        if silent or not self.total:
            raise AssertionError(f"nothing was compared{' in ' if silent else ''}"
                                 f"{', '.join(silent)}; counts: {self.compared}")
        if self.log:
            self.log.info("compared %d values: %s", self.total, self.compared)
        return self.total


def _integers(stage, name, values):
    """Return ``values`` as an integer array; ints beyond 64 bits become dtype object."""
    array = np.asarray(values)
    if array.dtype == bool:
        array = array.astype(np.uint8)
    if array.dtype == object and all(isinstance(v, (int, np.integer)) for v in array.flat):
        return array
    if array.dtype.kind not in "iu" and array.size:
        raise AssertionError(f"{stage}: {name} values are {array.dtype}, not integers")
    # Mixed int64 and uint64 would be compared as rounded doubles.
    return array.astype(object) if array.dtype == np.uint64 else array.astype(np.int64)


def _place(when, where, axes, index):
    """Return e.g. "cycle 80 (800 ns), tile 3, query row 5, key 70: ", "" when nothing is known."""
    position = {}
    for axis, i in zip(axes, index, strict=True):
        base = where.get(axis, 0)
        position[axis] = base + i if np.ndim(base) == 0 else base[i]
    for name in where:
        if name not in position:
            position[name] = where[name]
    first = [name for name in ("tile", "row", "key") if name in position]
    parts = [when] if when else []
    for name in dict.fromkeys([*first, *where, *axes]):
        parts.append(f"{'query row' if name == 'row' else name} {position[name]}")
    return ", ".join(parts) + ": " if parts else ""


def _shown(value, width):
    if width is None:
        return f"{value} ({'-' if value < 0 else ''}{abs(value):#x})"
    return f"{value} (0x{value & ((1 << width) - 1):0{(width + 3) // 4}x})"
