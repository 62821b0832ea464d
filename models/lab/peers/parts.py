# SPDX-License-Identifier: Apache-2.0
"""What several peers share: quantisation, probabilities, pruning schedules."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from ..methods.method import Call

SELECT_COMPARISONS = 3
"""Comparisons a quick-select makes per element, on average (between 2 at the ends and 3.4 at the
median; Knuth, The Art of Computer Programming, volume 3)."""


def check_range(name: str, value: float, low: float, high: float) -> None:
    """ValueError unless low <= value <= high."""
    if not low <= value <= high:
        raise ValueError(f"{name} = {value}, legal: {low}..{high}")


def symmetric(x: np.ndarray, bits: int, axes: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Integers -(2**(bits-1)-1) .. 2**(bits-1)-1, held in float32, and the scale to multiply them
    with; one scale for everything along ``axes``, 1 where that is zero or too small for a scale."""
    top = (1 << (bits - 1)) - 1
    scale = np.abs(x).max(axis=axes, keepdims=True) / np.float32(top)
    scale = np.where(scale > 0, scale, np.float32(1))
    return np.clip(np.rint(x / scale), -top, top), scale


def probabilities(score: np.ndarray, allowed: np.ndarray) -> np.ndarray:
    """Softmax of score [.., S] over the allowed entries, 0 elsewhere and in rows without any."""
    low = np.where(allowed, score, -np.inf)
    peak = low.max(axis=-1, keepdims=True)
    p = np.exp(low - np.where(np.isfinite(peak), peak, 0))
    total = p.sum(axis=-1, keepdims=True)
    return p / np.where(total > 0, total, 1)


def per_head(call: Call) -> Iterator[Call]:
    """A Call of each query head alone."""
    for h in range(len(call.q)):
        kv = slice(h // call.group, h // call.group + 1)
        yield replace(call, q=call.q[h : h + 1], k=call.k[kv], v=call.v[kv], projection=None)


def own_keys(call: Call) -> np.ndarray:
    """int [R]: the key that each row's own token is; rows of another sequence than the keys (R and
    S differ and nothing is masked) are spread over them evenly."""
    rows, keys = call.q.shape[1], call.k.shape[1]
    if call.causal or rows == keys:
        return np.arange(keys - rows, keys)
    return np.arange(rows) * keys // rows


def ramp(call: Call, front: float, final: float) -> float:
    """Share that a layer keeps: 1 in the first ceil(front * layers), then falling by equal steps
    to ``final`` in the last layer."""
    layer, layers = call.place()
    free = math.ceil(front * layers)
    if layer < free:
        return 1.0
    return 1 - (1 - final) * (layer - free + 1) / max(layers - free, 1)


def part(share: float, number: int) -> int:
    """floor(share * number), whatever the rounding of the share."""
    return int(share * number + 1e-9)


def check_shape(shape: tuple, call: Call, name: str) -> None:
    """ValueError unless a layer has the (query heads, keys) that the pass began with."""
    found = (len(call.q), call.k.shape[1])
    if found != shape:
        raise ValueError(
            f"{name}: layer {call.layer} has (heads, keys) = {found}, legal: {shape}, as in the "
            "layers before; a pass follows one sequence"
        )
