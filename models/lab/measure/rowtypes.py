# SPDX-License-Identifier: Apache-2.0
"""How the large scores of a row lie: the three row types of the paper's distributed cluster effect.

The paper (section on SADS) names them and says that over 95 % of real rows are of the first two;
it gives no test. Ours, for rows with at least MIN_KEYS visible keys, cut into SEGMENTS segments:

    I    a few dominant keys: the largest 1 / DOMINANT of the row's keys hold half of its softmax
    II   not I, and evenly spread: when each segment gives its largest SHARE of keys, at least EVEN
         of the row's largest SHARE are among them
    III  the others: the large scores crowd in some segments

SHARE and SEGMENTS are those of the paper's example (1024 keys, 4 segments, top quarter), EVEN and
DOMINANT our decision. Scores that fall at random over 1024 keys reach 0.96 of the top quarter.
"""

from __future__ import annotations

import math

import numpy as np

from ..methods.method import Call

SEGMENTS, SHARE = 4, 0.25
DOMINANT, EVEN = 64, 0.9
MIN_KEYS = 256
STEP = 16
"""Every STEP-th row is looked at."""

TYPES = ("I", "II", "III")


def covered(score: np.ndarray, segments: int, share: float, interleaved: bool) -> np.ndarray:
    """Share of each row's largest ``share`` of keys that its segments find when each gives its own
    largest ``share``. score [N, n]; segments are contiguous or every segments-th key. [N]"""
    rows, keys = score.shape
    wanted = math.ceil(share * keys)
    top = np.zeros(score.shape, bool)
    best = np.argpartition(score, keys - wanted, axis=1)[:, keys - wanted:]
    np.put_along_axis(top, best, True, axis=1)
    place = np.arange(keys) % segments if interleaved else np.arange(keys) * segments // keys
    found = np.zeros(rows, int)
    for s in range(segments):
        mine = place == s
        found += np.minimum(top[:, mine].sum(axis=1), math.ceil(share * mine.sum()))
    return found / wanted


def row_types(score: np.ndarray, interleaved: bool = False) -> np.ndarray:
    """Type of each row, 0, 1 or 2 for I, II, III; score [N, n] in nats, all visible. int [N]"""
    few = math.ceil(score.shape[1] / DOMINANT)
    p = np.exp(score - score.max(axis=1, keepdims=True))
    largest = np.partition(p, -few, axis=1)[:, -few:].sum(axis=1)
    dominated = largest >= 0.5 * p.sum(axis=1)
    even = covered(score, SEGMENTS, SHARE, interleaved) >= EVEN
    return np.where(dominated, 0, np.where(even, 1, 2))


def count_types(call: Call, interleaved: bool = False) -> tuple[np.ndarray, float]:
    """(rows of each type [3], sum of what ``covered`` says of them) over the sampled rows."""
    number, found = np.zeros(3, int), 0.0
    rows, keys = call.q.shape[1], call.k.shape[1]
    scale = np.float32(math.sqrt(call.d))
    for i in range(STEP - 1, rows, STEP):
        n = keys - rows + i + 1 if call.causal else keys
        if n < MIN_KEYS:
            continue
        score = np.einsum("hd,hnd->hn", call.q[:, i], call.shared(call.k)[:, :n]) / scale
        number += np.bincount(row_types(score, interleaved), minlength=3)
        found += covered(score, SEGMENTS, SHARE, interleaved).sum()
    return number, float(found)


class TypeMeter:
    """Attention hook that leaves a model dense and counts its rows.

    types, found: of contiguous (index 0) and interleaved (1) segments, by layer
    """

    def __init__(self, dense):
        self.dense = dense
        self.types: tuple[list, list] = ([], [])
        self.found: tuple[list, list] = ([], [])

    def __call__(self, call: Call) -> np.ndarray:
        for way in (0, 1):
            number, found = count_types(call, bool(way))
            self.types[way].append(number.tolist())
            self.found[way].append(found)
        return self.dense(call)
