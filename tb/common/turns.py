# SPDX-License-Identifier: Apache-2.0
"""Turn descriptors of rtl/include/sofa_turn.vh as integers."""

from __future__ import annotations

import random
import re

from tb.runner import INCLUDE_DIR

SIGNED = ("rel", "tau")
"""Fields that are two's complement."""


def layout() -> tuple[dict[str, tuple[int, int]], int]:
    """(field -> (lowest bit, bits), bits of a descriptor), from the header."""
    text = (INCLUDE_DIR / "sofa_turn.vh").read_text()
    found = {name.lower(): (int(low or high), int(high)) for name, high, low in
             re.findall(r"^`define SOFA_TURN_(\w+) +(\d+)(?::(\d+))?$", text, re.M)}
    width = found.pop("w")[0]
    return {name: (low, high - low + 1) for name, (low, high) in found.items()}, width


TURN, TURN_W = layout()


def pack_turn(rest: int = 0, **values: int) -> int:
    """A descriptor with these fields, all other bits those of ``rest``."""
    word = rest
    for name, value in values.items():
        low, bits = TURN[name]
        signed = name in SIGNED
        assert -(1 << bits - 1) * signed <= value < 1 << bits - signed, (name, value)
        mask = (1 << bits) - 1
        word = word & ~(mask << low) | (int(value) & mask) << low
    return word


def any_turn(**values: int) -> int:
    """A descriptor with these fields, the others random, as nobody may look at them."""
    return pack_turn(random.getrandbits(TURN_W), **values)


def unpack_turn(word: int) -> dict[str, int]:
    """The fields of a descriptor."""
    fields = {}
    for name, (low, bits) in TURN.items():
        value = word >> low & (1 << bits) - 1
        fields[name] = value - (value >> bits - 1 << bits) if name in SIGNED else value
    return fields
