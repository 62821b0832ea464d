# SPDX-License-Identifier: Apache-2.0
"""What several peers share: quantisation, best keys of a row, probabilities, pruning schedules."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from models.lab.method import Call

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


def top_k(score: np.ndarray, allowed: np.ndarray, k: np.ndarray | int) -> np.ndarray:
    """bool like score [.., S]: the k best allowed entries of each row, the lower index first among
    equals; allowed broadcasts to score, k (also above the number allowed) to its leading axes."""
    if score.ndim > 2:
        # One head at a time stays in the cache.
        allowed = np.broadcast_to(allowed, score.shape)
        k = np.broadcast_to(k, score.shape[:-1])
        return np.stack([top_k(*head) for head in zip(score, allowed, k, strict=True)])
    low = np.where(allowed, score, -np.inf)
    k = np.minimum(np.broadcast_to(k, low.shape[:-1]), (low > -np.inf).sum(axis=-1))[..., None]
    place = np.minimum(low.shape[-1] - k, low.shape[-1] - 1)
    kth = np.take_along_axis(np.sort(low, axis=-1), place, axis=-1)
    kth = np.where(k > 0, kth, np.inf)
    chosen, equal = low > kth, (low == kth) & (low > -np.inf)
    spare = k - chosen.sum(axis=-1, keepdims=True)
    crowded = (equal.sum(axis=-1, keepdims=True) > spare)[..., 0]
    equal[crowded] &= np.cumsum(equal[crowded], axis=-1) <= spare[crowded]
    return chosen | equal


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
