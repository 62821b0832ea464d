# SPDX-License-Identifier: Apache-2.0
"""unpack, pack and Scoreboard: against plain loops, wrong use, message texts, speed."""

import random
import time
from functools import partial

import numpy as np
import pytest

from tb.common.scoreboard import Scoreboard, pack, same, unpack


def unpack_slowly(value, count, width, signed):
    out = []
    for i in range(count):
        element = value >> (i * width) & ((1 << width) - 1)
        out.append(element - (1 << width) if signed and element >> (width - 1) else element)
    return out


@pytest.mark.parametrize("signed", [False, True])
def test_unpack_and_pack_agree_with_loops(seed, signed):
    rng = random.Random(seed)
    compared = 0
    for width in range(1, 65):
        for count in (1, 2, 3, 7, 8, 33):
            for value in (0, (1 << (count * width)) - 1, rng.getrandbits(count * width)):
                got = unpack(value, count, width, signed)
                assert got.shape == (count,)
                assert got.dtype == (np.uint64 if width == 64 and not signed else np.int64)
                assert got.tolist() == unpack_slowly(value, count, width, signed)
                assert pack(got, width) == value
                compared += count
    assert compared > 10_000


def test_pack_takes_any_shape_and_small_types():
    assert pack(np.array([[1, 2], [3, -1]], np.int8), 8) == 0xFF030201
    assert pack([True, False, True], 1) == 5
    assert pack(np.array([], np.int64), 5) == 0
    assert pack(range(3), 4) == 0x210
    assert pack(np.array([(1 << 64) - 1], np.uint64), 64) == (1 << 64) - 1
    assert unpack(0, 0, 5).shape == (0,)


@pytest.mark.parametrize("call, error", [
    (lambda: pack([4], 2), ValueError), (lambda: pack([-3], 2), ValueError),
    (lambda: pack([0.5], 2), TypeError), (lambda: pack([1], 0), ValueError),
    (lambda: unpack(1, 1, 65), ValueError), (lambda: unpack(1 << 10, 2, 5), ValueError),
    (lambda: unpack(1 << 16, 2, 8), ValueError), (lambda: unpack(-1, 2, 8), ValueError),
])
def test_wrong_use_is_refused(call, error):
    with pytest.raises(error):
        call()


def test_speed():
    """A 30-kbit word must cost microseconds; the limit only catches a loop per element."""
    rng = random.Random(1)
    for count, width in ((1536, 20), (1920, 16), (128, 24)):
        value = rng.getrandbits(count * width)
        array = unpack(value, count, width, True)
        spent = []
        for call in (partial(unpack, value, count, width, True), partial(pack, array, width)):
            start = time.process_time()
            for _ in range(200):
                call()
            spent.append((time.process_time() - start) / 200 * 1e6)
        print(f"{count} x {width} bits: unpack {spent[0]:.1f} us, pack {spent[1]:.1f} us")
        assert max(spent) < 2000


def test_message_names_the_place():
    board = Scoreboard()
    expected = np.arange(12).reshape(3, 4)
    got = expected.copy()
    got[1, 2] ^= 8
    got[2, 3] = -1
    with pytest.raises(AssertionError) as caught:
        board.compare("DLZS", expected, got, axes=("row", "key"), width=12,
                      where={"tile": 3, "row": 16, "key": [5, 9, 70, 71]})
    text = str(caught.value)
    for part in ("DLZS", "tile 3", "query row 17", "key 70", "bit 3 ", "expected 6 (0x006)",
                 "got 14 (0x00e)", "2 of 12"):
        assert part in text, text
    assert "\n" not in text
    with pytest.raises(AssertionError, match="^K: query row 1, dim 2: bit 0 .*-1"):
        board.compare("K", [[0, 0, 0], [0, 0, -2]], [[0, 0, 0], [0, 0, -1]], axes=("row", "dim"))
    with pytest.raises(AssertionError, match=r"^K: cycle 7 \(70 ns\), tile 4: bit 0 "):
        board.compare("K", 2, 3, where={"tile": 4}, when="cycle 7 (70 ns)")
    with pytest.raises(AssertionError, match="^K: tile 4: expected shape"):
        board.compare("K", [1, 2], [1], axes=("key",), where={"tile": 4})
    with pytest.raises(AssertionError, match="not integers"):
        board.compare("K", [1.0], [1])
    for axes in (("row", "key"), ()):
        with pytest.raises(ValueError, match="axes"):
            board.compare("K", [1], [1], axes=axes)
    assert board.total == 0


def test_message_names_the_field():
    board = Scoreboard()
    want = {"za": -5, "pa": 6, "dm": 3, "mask": (1 << 64) - 1}
    board.compare_fields("exp", want, {**want, "more": 1})
    with pytest.raises(AssertionError, match="^exp: query row 2, step 1, field pa: bit 2 .*"
                                             "expected 6 .*, got 2 .*1 of 4"):
        board.compare_fields("exp", want, {**want, "pa": 2}, where={"step": 1, "row": 2})
    with pytest.raises(KeyError, match="dm"):
        board.compare_fields("exp", want, {"za": -5, "pa": 6})
    assert board.compared == {"exp": 4}


def test_values_beyond_63_bits():
    board = Scoreboard()
    board.compare("wide", [1 << 80, -(1 << 70)], [1 << 80, -(1 << 70)], axes=("key",))
    big = np.array([(1 << 64) - 1], np.uint64)
    with pytest.raises(AssertionError, match="bit 0 "):
        board.compare("wide", big, big - np.uint64(1), axes=("key",))
    with pytest.raises(AssertionError, match="bit 64 "):
        board.compare("wide", big, np.array([-1]), axes=("key",))
    assert board.total == 2


def test_finish_wants_comparisons():
    with pytest.raises(AssertionError, match="nothing was compared"):
        Scoreboard().finish()
    board = Scoreboard()
    board.compare("empty", [], [], axes=("key",))
    with pytest.raises(AssertionError, match="nothing was compared"):
        board.finish()
    board.compare("SADS", 3, 3)
    assert board.finish() == board.finish("SADS") == 1
    with pytest.raises(AssertionError, match="in SUFA"):
        board.finish("SADS", "SUFA")


def test_queue_of_expectations():
    board = Scoreboard()
    board.expect("SADS", [1, 2], axes=("key",), where={"tile": 0})
    board.expect("SADS", [3, 4], axes=("key",), where={"tile": 1})
    board.receive("SADS", np.array([1, 2], np.uint8))
    assert board.pending("SADS") == 1
    with pytest.raises(AssertionError, match="never came.*SADS"):
        board.finish()
    with pytest.raises(AssertionError, match="tile 1, .*key 1: bit 0 "):
        board.receive("SADS", [3, 5])
    with pytest.raises(AssertionError, match="nothing more is expected"):
        board.receive("SADS", [3, 4])
    assert board.finish() == 2


@pytest.mark.parametrize("expected, got, where, text", [
    (2, 3, {}, "places: expected 2, got 3"),
    (2, 3, {"d": 16, "tile": 1}, "places: tile 1, d 16: expected 2, got 3"),
    ({"a": 1, "b": 2}, {"a": 1, "b": 3, "c": 4}, {}, "places: field b: expected 2, got 3"),
    ([1, 2, 3], [1, 5, 4], {"d": 8}, "places: d 8, entry 1: expected 2, got 5"),
    ([1, 2], [1], {}, "places: expected [1, 2], got [1]"),
    ({1, 2}, {1}, {}, "places: expected {1, 2}, got {1}"),
    (None, 4, {}, "places: expected None, got 4"),
])
def test_counts_and_lists_are_named(expected, got, where, text):
    with pytest.raises(AssertionError) as caught:
        same("places", expected, got, **where)
    assert str(caught.value) == text
    same("places", expected, expected, **where)
