# SPDX-License-Identifier: Apache-2.0
"""What several peers share: narrow words, rows without a key, counts of products and of keys."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from ..methods.counts import Counts
from ..methods.method import BLOCK, Call
from .parts import symmetric


def narrowed(call: Call, bits: int) -> Call:
    """The call with q, k and v rounded to ``bits``, one scale a head and tensor."""
    parts = {name: np.multiply(*symmetric(getattr(call, name), bits, (1, 2)))
             for name in ("q", "k", "v")}
    return replace(call, **parts)


def transposed(x: np.ndarray) -> np.ndarray:
    """The last two axes exchanged."""
    return x.swapaxes(-1, -2)


def at_least_best(chosen: np.ndarray, scores: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """chosen bool [H, R, S]; rows without a key get their allowed key of the largest score, equal
    scores: the lowest key."""
    empty = np.nonzero(~chosen.any(axis=-1))
    if empty[0].size:
        best = np.where(mask[empty[1]], scores[empty], -np.inf).argmax(axis=-1)
        chosen = chosen.copy()
        chosen[(*empty, best)] = True
    return chosen


def block_keys(call: Call) -> int:
    """Keys that a machine reads to predict the rows of one query head, in blocks of BLOCK rows:
    for each block those that its last row sees."""
    rows, keys = call.q.shape[1], call.k.shape[1]
    ends = np.minimum(np.arange(BLOCK, rows + BLOCK, BLOCK), rows)
    return int((keys - rows + ends).sum()) if call.causal else len(ends) * keys


def count_products(counts: Counts, stage: str, a: int, b: int, number: int, d: int) -> None:
    """Add ``number`` dot products of d elements of a and b bits, sums without overflow."""
    counts.add(stage, f"mul{a}x{b}", number * d)
    counts.add(stage, f"add{sum_bits(a, b, d)}", number * d)


def sum_bits(a: int, b: int, d: int) -> int:
    """Bits of a dot product of d elements of a and b bits."""
    return a + b + math.ceil(math.log2(d))


def element_bytes(bits: int) -> int:
    """Whole bytes that hold an element in DRAM."""
    return (bits + 7) // 8
