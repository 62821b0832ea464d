# SPDX-License-Identifier: Apache-2.0
"""FACT (Y. Qin et al., ISCA 2023): eager prediction, before Q, K and V are made.

X, Wq and Wk become 8-bit integers, of which only sign and leading one are kept. A product is then
a sum of exponents, and products are added up one-hot (a counter for each of the 13 powers of
two). That gives Q^ and K^, which become 8-bit leading ones too and give A^. Each row keeps the
``keep`` best of its visible keys by A^, at least one. A row whose best leads the second by more
than ``margin`` counts as one-hot: it takes V of the best as it is and needs neither Q nor a
score. A token that no row selected gets no K, V. The row-wise precision of the feed-forward layer
is not part of attention and not modelled.

Needs Call.projection. Causal: masked pairs are out before the top-k. Grouped-query attention: a
token gets K, V of a KV head if any of its query heads asks. Rotary embedding, which the
publication does not treat: Q^ and K^, which are ordinary sums, are rotated before they become
leading ones.

Assumptions: keep and margin (in nats of A^); one scale for X and one a head for the weights, Q^
and K^; biases are added to Q^ and K^; the exact stage has 16 bits and K and V are made exactly;
Q^ and K^ stay on chip.

Counts: predict has leading ones of X, Q^, K^ (weights are coded beforehand), for each product the
sum of exponents, the sign and 13 counter bits, and the rotation; select 3 comparisons a pair and
one subtraction and comparison a row; compute the exact pairs, without the one-hot rows. Making
Q, K and V is left out, as for all systems: ``EagerAttended`` says which are needed. DRAM: x and
the coded weights w once for the prediction, 1 byte and 4 bits; K and V once for BLOCK rows of a
query head, Q of the rows that need it, O; 2 bytes each.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ... import rope, workloads
from ..methods.counts import Counts
from ..methods.method import Attended, Call, Method, Projection, softmax_over, top_k, union_bytes
from .parts import SELECT_COMPARISONS, check_range, symmetric

BITS = 8
"""Bits of the integers whose leading ones are taken."""

LINES = 2 * (BITS - 2) + 1
"""Powers of two that a product of two leading ones can be: 2**0 .. 2**12."""


@dataclass
class EagerAttended(Attended):
    """tokens bool [Hkv, S]: which K, V must be made; queries bool [Hq, R]: which Q."""

    tokens: np.ndarray | None = None
    queries: np.ndarray | None = None


@dataclass(frozen=True)
class Fact(Method):
    """keep: share of the visible keys of a row; margin: lead of a one-hot row, nats."""

    name = "fact"
    keep: float = 0.2
    margin: float = 3.0

    def __post_init__(self) -> None:
        check_range("keep", self.keep, 0, 1)
        check_range("margin", self.margin, 0, math.inf)

    def attend(self, call: Call) -> EagerAttended:
        """One layer; ValueError without a projection."""
        if call.projection is None:
            raise ValueError(f"fact: layer {call.layer} has projection = None, legal: a Projection "
                             "(FACT predicts from X, Wq and Wk)")
        mask = call.mask()
        score = predict(call)
        peak = np.where(mask, score, -np.inf).max(axis=-1, keepdims=True)
        one_hot = ((score >= peak - np.float32(self.margin)) & mask).sum(axis=-1) == 1
        number = np.maximum(1, np.rint(self.keep * mask.sum(axis=-1)).astype(int))
        selected = top_k(score, mask, np.where(one_hot, 1, number))
        out = softmax_over(call.logits(), selected, call.shared(call.v))
        heads, rows, keys = selected.shape
        tokens = selected.reshape(len(call.k), call.group * rows, keys).any(axis=1)
        counts = self._count(call, mask, selected, one_hot)
        return EagerAttended(out, selected, counts, tokens, ~one_hot)

    def _count(self, call: Call, mask, selected, one_hot) -> Counts:
        """Operations and bytes."""
        heads, rows, keys = selected.shape
        d, width, visible = call.d, call.projection.x.shape[1], int(mask.sum()) * heads
        scored = selected & ~one_hot[..., None]
        pairs, normal = int(scored.sum()), int((~one_hot).sum())
        counts = Counts(visible=visible, selected=int(selected.sum()))
        vectors = heads * rows + len(call.k) * keys
        products = (vectors * width + visible) * d
        counts.add("predict", f"lz{BITS}", keys * width + vectors * d)
        counts.add("predict", "add3", products)
        counts.add("predict", "xor1", products)
        counts.add("predict", f"add{LINES}", products)
        if rotates(call.projection):
            counts.add("predict", "mul16x16", 2 * vectors * d)
            counts.add("predict", "add32", vectors * d)
        counts.add("select", "cmp16", SELECT_COMPARISONS * visible + heads * rows)
        counts.add("select", "add16", heads * rows)
        counts.add("compute", "mul16x16", 2 * pairs * d)
        counts.add("compute", "add32", 2 * pairs * d)
        counts.add("compute", "cmp16", pairs)
        counts.add("compute", "exp16", pairs)
        counts.add("compute", "div16", normal * d)
        counts.move("x", keys * width * BITS / 8)
        counts.move("w", (heads + len(call.k)) * width * d / 2)
        counts.move("q", normal * d * 2)
        counts.move("k", union_bytes(call, scored)[1])
        counts.move("v", union_bytes(call, selected)[1])
        counts.move("o", call.q.size * 2)
        return counts

    @classmethod
    def sweep(cls) -> list[Method]:
        """Keys a row."""
        return [cls(keep=k) for k in (0.9, 0.7, 0.5, 0.35, 0.25, 0.2, 0.15, 0.1, 0.07, 0.05, 0.03)]


def leading_one(x: np.ndarray) -> np.ndarray:
    """Integers in float32 to sign(x) * 2**floor(log2 |x|), 0 stays 0."""
    return np.copysign(np.ldexp(np.float32(0.5), np.frexp(x)[1]), x) * (x != 0)


def snapped(x: np.ndarray, axes: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Leading ones of x as 8-bit integers and their scale."""
    whole, scale = symmetric(x, BITS, axes)
    return leading_one(whole), scale


def rotates(p: Projection) -> bool:
    """True with a rotary embedding."""
    return bool(p.rope_theta) and p.rope_mode != rope.OFF


def predict(call: Call) -> np.ndarray:
    """A^ in nats, float32 [Hq, R, S]."""
    p, rows = call.projection, call.q.shape[1]
    x, sx = snapped(np.asarray(p.x, np.float32), (0, 1))
    made = []
    for w, b in ((p.wq, p.bq), (p.wk, p.bk)):
        code, sw = snapped(np.asarray(w, np.float32), (1, 2))
        y = (x @ code) * (sx * sw) + np.asarray(b, np.float32)[:, None]
        if rotates(p):
            pairs = "half" if p.rope_mode == rope.HALF else "interleaved"
            y = workloads.rope(y, p.rope_theta, pairs)
        made.append(y)
    q, sq = snapped(made[0][:, -rows:], (1, 2))
    k, sk = snapped(made[1], (1, 2))
    return (q @ call.shared(k).swapaxes(1, 2)) * (sq * call.shared(sk) / np.float32(
        math.sqrt(call.d)))
