# SPDX-License-Identifier: Apache-2.0
"""Masks of batches taken apart into attentions that a Method can do: all visible, or causal with
or without a sliding window."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from ...tiling import sees
from ..methods.method import Call

LEGAL = ("none, causal, a sliding window with or without first keys beside it, padding on either "
         "side, a visible prefix of any length, packed sequences; the same for all heads")
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
    causal, window, sinks, past: what they see, as in a models.lab.methods.method.Call."""

    rows: np.ndarray
    keys: np.ndarray
    causal: bool
    window: int = 0
    sinks: int = 0
    past: int = 0


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

    Keys that no row sees are left out first, and rows that see none (their output is 0). Rows that
    begin with a key that no row before them has reached are another sequence. Where all rows of a
    sequence see neighbouring keys from its first one on, those that see equally many are a set, and
    those of which each sees one key more than the one before are another. Else all rows of the
    sequence must be in a sliding window and are one set.
    """
    keys, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    if not len(rows):
        return []
    seen = mask[np.ix_(rows, keys)]
    start, end = seen.argmax(axis=1), len(keys) - seen[:, ::-1].argmax(axis=1)
    gaps = end - start > seen.sum(axis=1)
    new = np.flatnonzero(start[1:] >= np.maximum.accumulate(end)[:-1]) + 1
    sets = []
    for a, b in pairwise([0, *new, len(rows)]):
        own = slice(start[a:b].min(), end[a:b].max())
        if (start[a:b] == start[a]).all() and not gaps[a:b].any():
            sets += _prefixes(rows[a:b], end[a:b] - own.start, keys[own], in_sequence)
        else:
            sets.append(_window(rows[a:b], end[a] - own.start, keys[own], seen[a:b, own],
                                gaps[a:b].any()))
    return sets


def _prefixes(
    rows: np.ndarray, count: np.ndarray, keys: np.ndarray, in_sequence: bool
) -> list[RowSet]:
    """Row sets of rows that see the first ``count`` keys int64 [rows]."""
    sets, first = [], 0
    while first < len(rows):
        last, step = first, None
        while last + 1 < len(rows):
            rise = count[last + 1] - count[last]
            if rise not in (0, 1) or step not in (None, rise):
                break
            step, last = int(rise), last + 1
        sets.append(RowSet(rows[first : last + 1], keys[: count[last]],
                           step == 1 or step is None and in_sequence))
        first = last + 1
    return sets


def _window(
    rows: np.ndarray, count: int, keys: np.ndarray, seen: np.ndarray, gaps: bool
) -> RowSet:
    """The row set of rows in a sliding window: seen bool [rows, keys]; the last key that row 0 sees
    is number count-1. MaskError for other rows; gaps: their keys have some.

    A window around its rows is that of rows further on, so that is one, too."""
    position = count - 1 + np.arange(len(rows))
    hidden = ~seen & (np.arange(len(keys)) <= position[:, None])
    # The first row that does not see all keys before it.
    row = int(hidden.any(axis=1).argmax())
    low = len(keys) - int(hidden[row, ::-1].argmax())
    window, sinks = int(position[row]) + 1 - low, int(seen[row].argmin())
    if (window < 1 or (np.diff(rows) != 1).any()
            or (seen != sees(position, len(keys), window, sinks)).any()):
        what = ("a row of the mask sees keys with gaps" if gaps
                else "rows of the mask see overlapping windows")
        raise MaskError(f"{what}, legal masks: {LEGAL}")
    return RowSet(rows, keys, True, window, sinks, int(count) + len(rows) - 1 - len(keys))
