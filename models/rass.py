# SPDX-License-Identifier: Apache-2.0
"""RASS: the order in which keys are issued. Each key that some row of a part wants goes once, tile
after tile, in slot order, to all rows that want it.

Source: docs/architecture.md section 10.3.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from . import head
from .head import KeySource, Part, turns


@dataclass(frozen=True)
class Turn:
    """Tile ``tile`` of a part's band, as its keys are issued: those made and those read, keys (not
    slots) in slot order, int64."""

    part: Part
    tile: int
    made: np.ndarray
    read: np.ndarray


def issue(
    selected: np.ndarray, walk: list[Part], sources: list[KeySource], job: head.Job
) -> list[Turn]:
    """The turns of the parts for selections bool [heads, rows, keys]; claims from the sources of
    the KV heads, which change."""
    out = []
    for part in walk:
        wanted = part.wanted(selected)
        for t, selects in turns(len(part.band.tiles), job):
            if selects:
                slots = part.band.tiles[t].keys
                out.append(Turn(part, t, *sources[part.kv].claim(slots[wanted[slots]])))
    return out
