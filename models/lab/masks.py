# SPDX-License-Identifier: Apache-2.0
"""Masks of batches taken apart into attentions that a Method can do: all visible, or causal."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

LEGAL = ("none, causal, padding on either side, a visible prefix of any length, packed sequences; "
         "the same for all heads")
"""Kinds of masks that row_sets takes apart."""


class MaskError(ValueError):
    """A mask of another kind; the message says which kinds are legal."""


@dataclass(frozen=True)
class RowSet:
    """Rows that are one attention of their own: rows int64 [R], keys int64 [S], indices in order.
    causal: row i sees the keys 0 .. S - R + i of these, else all."""

    rows: np.ndarray
    keys: np.ndarray
    causal: bool


def row_sets(mask: np.ndarray) -> list[RowSet]:
    """The row sets of a mask bool [rows, keys], True: visible.

    Keys that no row sees are left out first, and rows that see none (their output is 0). Of the
    rest, every row must see neighbouring keys, and rows that do not begin with the same key must
    belong to different sequences: no key of one is seen by the other. Then rows that see equally
    many keys are a set, and rows of which each sees one key more than the one before are another.
    """
    keys, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    if not len(rows):
        return []
    seen = mask[np.ix_(rows, keys)]
    start, count = seen.argmax(axis=1), seen.sum(axis=1)
    end = start + count
    place = np.arange(len(keys))
    if not (seen == ((place >= start[:, None]) & (place < end[:, None]))).all():
        raise MaskError(f"a row of the mask sees keys with gaps, legal masks: {LEGAL}")
    new = np.flatnonzero(start[1:] != start[:-1]) + 1
    if (start[new] < np.maximum.accumulate(end)[new - 1]).any():
        raise MaskError(f"rows of the mask see overlapping windows, legal masks: {LEGAL}")
    sets, first = [], 0
    while first < len(rows):
        last = first
        step = None
        while last + 1 < len(rows) and start[last + 1] == start[first]:
            rise = end[last + 1] - end[last]
            if rise not in (0, 1) or step not in (None, rise):
                break
            step, last = rise, last + 1
        sets.append(RowSet(rows[first : last + 1], keys[start[first] : end[last]],
                           bool(step == 1)))
        first = last + 1
    return sets
