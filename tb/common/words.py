# SPDX-License-Identifier: Apache-2.0
"""Fields of the words that stages hand to each other, by the name of their signal.

Sizes come from the signals of the same scope: ROWS from a word of masks (four slots of ROWS bits),
PLACES from the number of a place.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from models.config import Config
from tb.common.turns import SIGNED, TURN, TURN_W

SLOTS = 4
"""Slots of a tile that a word of scores or masks holds."""
PLACE_OF = {"p_mask": ("p_place",), "kv_mask": ("kv_end_place", "p_place")}
"""Mask of all places -> signals with the number of a place."""

TAPS = {"row": (False, 0), "z": (True, Config.Z_FRAC), "p": (False, 16 - Config.GUARD),
        "m": (True, 0), "dm": (False, 0), "l": (False, 16 - Config.GUARD),
        "sum": (False, 16 - Config.GUARD), "beat": (False, 0)}
"""Taps of SU-FA, a field a unit -> (signed, fraction bits)."""
ADDRESS_W = 48


@dataclass(frozen=True)
class Field:
    """Bits low to low+bits-1 of a word. number: shown in decimal, of ``point`` fraction bits."""

    name: str
    low: int
    bits: int
    number: bool = False
    signed: bool = False
    point: int = 0


def fields_of(name: str, widths: dict[str, int]) -> list[Field]:
    """The fields of a signal by its full name, [] of one that is no packed word. widths: full name
    -> bits of all signals.

    Turns have those of rtl/include/sofa_turn.vh; words of masks the rows of a slot each, words of
    scores a row and slot each, masks of keys the rows of a place each, kept shares a row each,
    taps of SU-FA a unit each.
    """
    scope, _, leaf = name.rpartition(".")
    width = widths[name]
    # Taps of words between stages are called as they are, with this before it.
    before = "tap_" if leaf.startswith("tap_") else ""
    leaf = leaf.removeprefix(before)

    def beside(*others):
        return next((w for n in others if (w := widths.get(f"{scope}.{before}{n}"))), 0)

    def equal(title, count, **options):
        bits = width // count if count else 0
        return [Field(title(i), i * bits, bits, **options) for i in range(count)
                if bits * count == width]

    if leaf.endswith("_turn") and width == TURN_W:
        return [Field(field, low, bits, bits < ADDRESS_W, field in SIGNED)
                for field, (low, bits) in TURN.items()]
    if leaf == "m_mask":
        return equal(lambda i: f"slot{i}", SLOTS)
    if leaf in PLACE_OF and beside(*PLACE_OF[leaf]):
        return equal(lambda i: f"place{i}", 1 << beside(*PLACE_OF[leaf]))
    if leaf == "s_scores" and beside("m_mask"):
        rows = beside("m_mask") // SLOTS
        return equal(lambda i: f"row{i // SLOTS}_slot{i % SLOTS}", SLOTS * rows, number=True,
                     signed=True, point=Config.SC_FRAC)
    if before and (tap := re.fullmatch(r"([elo]_)(\w+)", leaf)) and tap[2] in TAPS:
        signed, point = TAPS[tap[2]]
        return equal(lambda i: f"unit{i}", beside(f"{tap[1]}valid"), number=True, signed=signed,
                     point=point)
    if leaf == "f_data":
        return equal(lambda i: f"share{i}", width // (Config.F_FRAC + 1), number=True,
                     point=Config.F_FRAC)
    return []
