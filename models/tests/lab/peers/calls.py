# SPDX-License-Identifier: Apache-2.0
"""Random attention calls and plain-Python attention, for the tests of the peers."""

from __future__ import annotations

import math

import numpy as np

from models import rope, workloads
from models.lab.methods.method import Call, Projection

SHAPES = [
    # causal, query heads, KV heads, rows, keys
    (False, 3, 3, 11, 11),
    (True, 4, 2, 13, 13),
    (True, 4, 1, 5, 12),
    (False, 2, 1, 6, 9),
]
"""Self and cross attention, with and without grouped queries, the last rows of a prefill."""


def make(seed, causal, heads, kv_heads, rows, keys, d=8, sharp=1.5, layer=0, layers=1) -> Call:
    """Normal q, k and v; a larger ``sharp`` makes softmax more peaked."""
    rng = np.random.default_rng(seed)
    q, k, v = (rng.normal(size=(h, n, d)).astype(np.float32)
               for h, n in ((heads, rows), (kv_heads, keys), (kv_heads, keys)))
    return Call(q * np.float32(sharp), k, v, causal, layer, layers)


def projected(seed, causal, heads, kv_heads, rows, keys, d=8, width=24, mode=rope.OFF) -> Call:
    """A call whose q, k and v come from X."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(keys, width)).astype(np.float32)
    w = [rng.normal(size=(h, width, d)).astype(np.float32) / 3 for h in (heads, kv_heads, kv_heads)]
    b = [rng.normal(size=(h, d)).astype(np.float32) / 4 for h in (heads, kv_heads, kv_heads)]
    theta = 100.0 if mode else 0.0
    pairs = "half" if mode == rope.HALF else "interleaved"
    q, k, v = (x @ wi + bi[:, None] for wi, bi in zip(w, b, strict=True))
    q, k = (workloads.rope(y, theta, pairs) for y in (q, k))
    return Call(q[:, keys - rows :], k, v, causal, projection=Projection(x, *w, *b, theta, mode))


def visible(call, row, key) -> bool:
    """The mask, pair by pair."""
    return not call.causal or key <= call.k.shape[1] - call.q.shape[1] + row


def softmax(scores) -> list[float]:
    """Softmax of a list, largest first subtracted."""
    peak = max(scores)
    e = [math.exp(s - peak) for s in scores]
    return [x / sum(e) for x in e]


def dense(call) -> np.ndarray:
    """Exact attention, a pair at a time, float64 [Hq, R, d]."""
    out = np.zeros(call.q.shape)
    for h in range(len(call.q)):
        k, v = call.k[h // call.group], call.v[h // call.group]
        for r in range(call.q.shape[1]):
            keys = [j for j in range(len(k)) if visible(call, r, j)]
            scores = [sum(float(a) * float(b) for a, b in zip(call.q[h, r], k[j], strict=True))
                      / math.sqrt(call.d) for j in keys]
            for p, j in zip(softmax(scores), keys, strict=True):
                out[h, r] += p * v[j].astype(float)
    return out


def whole(values, bits) -> tuple[list, float]:
    """Symmetric integers (nested lists like values) and their scale, in plain Python."""
    flat = [abs(float(x)) for x in np.asarray(values).ravel()]
    top = 2 ** (bits - 1) - 1
    scale = max(flat) / top or 1.0
    rounded = [round(float(x) / scale) for x in np.asarray(values).ravel()]
    return np.reshape(rounded, np.shape(values)).tolist(), scale


def dot(a, b):
    """Sum of products."""
    return sum(x * y for x, y in zip(a, b, strict=True))


def best(scores, number) -> set[int]:
    """Keys (of a dict key -> score) with the ``number`` largest scores, the lower key first."""
    return set(sorted(scores, key=lambda j: (-scores[j], j))[:number])
