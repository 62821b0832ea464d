# SPDX-License-Identifier: Apache-2.0
"""What every way to do attention has in common: ours, dense, and the systems it is compared with.

    session = Sofa(tau=2**-9).start()          # state of one pass through a model
    done = session(call)                       # one Call a layer, in the order of the layers
    done.out, done.selected, done.counts

Trained models (models/nets) make the Calls; peers (models/lab/peers) and SOFA
(models/lab/methods/sofa.py) are Methods.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np

from ...tiling import sees
from .counts import Counts

BLOCK = 128
"""Query rows that a machine works on at a time, for DRAM counts: K and V that a block needs are
read once for the block. The SOFA paper's number, used for all systems alike."""


@dataclass(frozen=True)
class Projection:
    """Where q, k and v come from, float32: head h of w has x @ w[h] + b[h] before RoPE.

    x [S, H], the input of the projections; wq [Hq, H, d], wk and wv [Hkv, H, d]; biases [.., d]
    rope_theta  base of the rotary embedding of q and k, 0 without one; pairs as in models.rope:
                mode rope.INTERLEAVED or rope.HALF, rope.OFF without
    """

    x: np.ndarray
    wq: np.ndarray
    wk: np.ndarray
    wv: np.ndarray
    bq: np.ndarray
    bk: np.ndarray
    bv: np.ndarray
    rope_theta: float = 0.0
    rope_mode: int = 0


@dataclass(frozen=True)
class Call:
    """One attention of one layer, float32 and after RoPE. Query head h reads KV head
    h // (Hq / Hkv); a score is q . k / sqrt(d).

    q [Hq, R, d]; k, v [Hkv, S, d]
    causal      row i sees the keys up to its position, S - R + i, else all
    window      newest keys that a causal row sees, that at its position among them; 0: all
    sinks       first keys that it sees beside its window
    past        with a window: rows are at positions larger by so much, the last ones past the keys
    layer       number of the layer in its model, from 0; layers: how many there are; None, both,
                where they are not known
    projection  None where unknown (cross attention)
    """

    q: np.ndarray
    k: np.ndarray
    v: np.ndarray
    causal: bool = False
    layer: int | None = 0
    layers: int | None = 1
    projection: Projection | None = None
    window: int = 0
    sinks: int = 0
    past: int = 0

    @property
    def first(self) -> int:
        """Position of row 0 of a causal call."""
        return self.k.shape[1] - self.q.shape[1] + self.past

    @property
    def group(self) -> int:
        """Query heads that share a KV head."""
        return len(self.q) // len(self.k)

    @property
    def d(self) -> int:
        """Head dimension."""
        return self.q.shape[-1]

    def place(self) -> tuple[int, int]:
        """(layer, layers) for a Method that cannot do without; ValueError where not known."""
        if self.layer is None or self.layers is None:
            raise ValueError(
                "the number of this attention's layer is not known and the method needs it, legal: "
                "layer = 0 .. layers - 1 and layers with the call, or a model whose attentions "
                "each have a layer_idx or are called once in a forward (models.lab.measure.stacks)")
        return self.layer, self.layers

    def mask(self) -> np.ndarray:
        """bool [R, S], the pairs that may be used."""
        rows, keys = self.q.shape[1], self.k.shape[1]
        if not self.causal:
            return np.ones((rows, keys), bool)
        return sees(self.first + np.arange(rows), keys, self.window, self.sinks)

    def shared(self, x: np.ndarray) -> np.ndarray:
        """An array with one entry per KV head, repeated for every query head."""
        return np.repeat(x, self.group, axis=0)

    def logits(self) -> np.ndarray:
        """Exact scores in nats, float32 [Hq, R, S]; masked pairs are not marked."""
        return np.matmul(self.q, self.shared(self.k).swapaxes(1, 2)) / np.float32(math.sqrt(self.d))


@dataclass
class Attended:
    """out float32 [Hq, R, d]; selected bool [Hq, R, S], pairs whose exact score was used."""

    out: np.ndarray
    selected: np.ndarray
    counts: Counts = field(default_factory=Counts)


class Method:
    """A way to do attention with fixed settings. Subclasses are frozen dataclasses whose fields
    are the settings; stateless ones define ``attend``, others ``start``."""

    name = ""
    """Short name in tables and on command lines."""

    windows = False
    """Whether calls may have a window."""

    def attend(self, call: Call) -> Attended:
        """One layer."""
        raise NotImplementedError

    def start(self) -> Callable[[Call], Attended]:
        """A function for one pass through a model, layer after layer."""
        return self.attend

    def fit(self, calls: Iterable[Call]) -> Method:
        """A copy that has learnt its thresholds or weights from the layers of calibration passes;
        methods that learn nothing return themselves."""
        return self

    @classmethod
    def sweep(cls) -> list[Method]:
        """Settings from nearly dense to very sparse, for curves of loss against keep ratio."""
        return [cls()]


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


def softmax_over(logits: np.ndarray, selected: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Exact attention over the selected pairs: logits [H, R, S], selected bool, v [H, S, d];
    rows without a key give 0. float32 [H, R, d]."""
    score = np.where(selected, logits, -np.inf)
    peak = score.max(axis=-1, keepdims=True)
    p = np.exp(score - np.where(np.isfinite(peak), peak, 0))
    total = p.sum(axis=-1, keepdims=True)
    return np.matmul(p / np.where(total > 0, total, 1), v).astype(np.float32)


def attended(call: Call, selected: np.ndarray, counts: Counts) -> Attended:
    """Exact attention over the selected pairs, with what it counted."""
    return Attended(softmax_over(call.logits(), selected, call.shared(call.v)), selected, counts)


def union_bytes(call: Call, selected: np.ndarray, element: int = 2) -> tuple[int, int, int]:
    """(bytes of Q and O each, of K and V each, vectors of K) when a block of BLOCK rows of a query
    head reads each key that it uses once. element: bytes of an element."""
    rows = selected.shape[1]
    edges = np.arange(0, rows, BLOCK)
    vectors = int(np.logical_or.reduceat(selected, edges, axis=1).sum())
    return call.q.size * element, vectors * call.d * element, vectors


def count_pairs(counts: Counts, call: Call, selected: np.ndarray, bits: int = 16) -> None:
    """Add the operations of exact attention in plain order over the selected pairs to ``counts``:
    products, one exp and comparison a pair, one division an output element; visible, selected."""
    pairs, d = int(selected.sum()), call.d
    rows = selected.shape[0] * selected.shape[1]
    counts.visible += int(call.mask().sum()) * len(call.q)
    counts.selected += pairs
    counts.add("compute", f"mul{bits}x{bits}", 2 * pairs * d)
    counts.add("compute", f"add{2 * bits}", 2 * pairs * d)
    counts.add("compute", f"cmp{bits}", pairs)
    counts.add("compute", f"exp{bits}", pairs)
    counts.add("compute", f"div{bits}", rows * d)


def count_formal(counts: Counts, call: Call, selected: np.ndarray, bits: int = 16) -> None:
    """count_pairs and the DRAM bytes of 16-bit vectors that union_bytes gives."""
    count_pairs(counts, call, selected, bits)
    vectors, keys, _ = union_bytes(call, selected)
    for stream, size in (("q", vectors), ("k", keys), ("v", keys), ("o", vectors)):
        counts.move(stream, size)
