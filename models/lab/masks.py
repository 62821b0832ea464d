# SPDX-License-Identifier: Apache-2.0
"""Masks of batches taken apart into attentions that a Method can do: all visible, or causal."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from models.lab.method import Call

LEGAL = ("none, causal, padding on either side, a visible prefix of any length, packed sequences; "
         "the same for all heads")
"""Kinds of masks that row_sets takes apart."""

MASKED = -1e4
"""An entry of an additive mask that is this or less hides its pair."""

FINE = 2.0**-7
"""Error of a score in nats that a sum in float32 may bring."""


class MaskError(ValueError):
    """A mask of another kind; the message says which kinds are legal."""


@dataclass(frozen=True)
class RowSet:
    """Rows that are one attention of their own: rows int64 [R], keys int64 [S], indices in order.
    causal: row i sees the keys 0 .. S - R + i of these, else all."""

    rows: np.ndarray
    keys: np.ndarray
    causal: bool


@dataclass(frozen=True)
class Seen:
    """What the rows of one sequence see.

    visible bool [R, S]; peak float32 [R]: what a mask adds to the scores of the visible keys, 0 or,
    in a row whose keys are all hidden by finite numbers, the largest of these. Softmax is the same
    for every peak, up to the float32 sum of score and peak: from about -1e5 down it loses part of
    the score, in the end all of it, and the row is the mean of its visible keys.
    """

    visible: np.ndarray
    peak: np.ndarray

    @classmethod
    def boolean(cls, mask: np.ndarray) -> Seen:
        """Of a mask bool [R, S], True: visible."""
        return cls(mask, np.zeros(len(mask), np.float32))

    @classmethod
    def additive(cls, mask: np.ndarray, masked: float = MASKED) -> Seen:
        """Of a mask float32 [R, S] that is added to scores: the largest entries of a row are
        visible, the others must lie ``masked`` or more below, -inf included. masked: MASKED as
        the mask's type rounds it."""
        peak = mask.max(axis=1)
        with np.errstate(invalid="ignore"):
            visible = (mask == peak[:, None]) & (peak > -np.inf)[:, None]
            hidden = (mask == -np.inf) | (mask - peak[:, None] <= masked)
        if not ((visible | hidden).all() and ((peak == 0) | (peak <= masked)).all()):
            raise MaskError(f"attn_mask adds biases to scores, legal entries: 0, and {masked:g} or "
                            f"less to hide a pair")
        return cls(visible, peak)

    def sets(self, in_sequence: bool = False) -> list[RowSet]:
        """Row sets of the rows with peak 0, then of the others, which no position is known of;
        in_sequence as in row_sets."""
        plain = (self.peak == 0)[:, None]
        return row_sets(self.visible & plain, in_sequence) + row_sets(self.visible & ~plain)

    def queries(self, call: Call) -> np.ndarray:
        """call.q, 0 in rows that are the mean of what they see. MaskError for a row whose scores
        the sum with its peak would round in part."""
        rows = np.flatnonzero((self.peak < 0) & (self.peak > -np.inf))
        unit = np.spacing(np.nextafter(np.abs(self.peak[rows]), np.float32(0)))
        rows, unit = rows[unit > FINE], unit[unit > FINE]
        if not len(rows):
            return call.q
        score = np.abs(replace(call, q=call.q[:, rows]).logits()).max(axis=0)
        partly = np.where(self.visible[rows], score, 0).max(axis=1) >= unit / 2
        if partly.any():
            row = rows[partly][0]
            raise MaskError(f"attn_mask hides every key of row {row} by {self.peak[row]:g}, which "
                            f"rounds its scores, legal: -1e5 or more, -inf (the row gives 0), or "
                            f"the least number of the type (the mean of the keys)")
        q = call.q.copy()
        q[:, rows] = 0
        return q


def row_sets(mask: np.ndarray, in_sequence: bool = False) -> list[RowSet]:
    """The row sets of a mask bool [rows, keys], True: visible.

    in_sequence: the rows are tokens of the sequence of the keys. A row that is a set by itself is
    then the last one of what it sees, as in a decoding step, and so causal; the mask of one row
    does not say.

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
            step, last = int(rise), last + 1
        sets.append(RowSet(rows[first : last + 1], keys[start[first] : end[last]],
                           step == 1 or step is None and in_sequence))
        first = last + 1
    return sets
