# SPDX-License-Identifier: Apache-2.0
"""Predictors and selection rules in any combination, also those that no machine has.

    Rule(predictor="both", share=0.1, min_keys=32)

They part what a predictor costs from what a rule costs. Scores are computed in float32 from the
rounded operands, without the widths of the machine, and attention over the selected pairs is exact;
models.lab.methods.sofa and models.lab.methods.first are the machines.

Predictors, from Q in 16 bits and K in 8 bits unless said otherwise (zero stays zero):
    exact       the true scores
    int8        Q and K in 8 bits
    floor, nearest   Q as a power of two: DLZS (SOFA paper)
    two-term    Q as its leading one and the bit after it
    k-floor     K as a power of two, Q in 16 bits
    both        Q and K as powers of two, the older scheme (FACT)
    msb4        the four upper bits of 8-bit Q and K (SpAtten's and Energon's first look)

Powers of two make scores smaller on average; they are scaled back by quantise.SHRINK before a
radius is applied.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ... import dlzs
from ...quantise import SHRINK, quantise
from ...tiling import exact_rows, mean_span
from .counts import Counts
from .method import (
    BLOCK,
    Attended,
    Call,
    Method,
    count_formal,
    softmax_over,
    top_k,
    union_bytes,
)

SNAPS = {"floor": dlzs.FLOOR, "nearest": dlzs.NEAREST, "two-term": dlzs.TWO_TERM}
PREDICTORS = ("exact", "int8", *SNAPS, "k-floor", "both", "msb4")

COSTS: dict[str, tuple[tuple[str, int], ...]] = {
    "exact": (("mul16x16", 1), ("add32", 1)),
    "int8": (("mul8x8", 1), ("add16", 1)),
    "floor": (("shift8", 1), ("add16", 1)),
    "nearest": (("shift8", 1), ("add16", 1)),
    "two-term": (("shift8", 2), ("add16", 2)),
    "k-floor": (("shift16", 1), ("add32", 1)),
    "both": (("add4", 1), ("add16", 1)),
    "msb4": (("mul4x4", 1), ("add8", 1)),
}
"""Operations for each pair and element."""

KEY_BYTES = {"exact": 2, "msb4": 0.5, "k-floor": 0.625, "both": 0.625}
"""Bytes of an element of K for the prediction where it is not 1; codes of a power of two are sign
and exponent, 5 bits."""


def snapped(x: np.ndarray, bits: int, snap: int) -> np.ndarray:
    """Powers of two in the place of an array's integers, scaled to the array's mean size."""
    integers, scale = quantise(x, bits)
    # encode takes 1 as zero; shifted up, every integer keeps its leading one.
    up = 0 if bits == 16 else 7
    value = dlzs.decode(dlzs.encode(integers.astype(np.int64) << up, snap)) / (1 << up)
    return (value * (scale / SHRINK[snap])).astype(np.float32)


def upper_bits(x: np.ndarray, bits: int) -> np.ndarray:
    """8-bit values with all but the upper ``bits`` bits cut off, towards minus infinity."""
    integers, scale = quantise(x, 8)
    drop = 8 - bits
    return ((integers.astype(np.int64) >> drop) * ((1 << drop) * scale)).astype(np.float32)


def rounded(x: np.ndarray, bits: int) -> np.ndarray:
    """Values after symmetric quantisation."""
    integers, scale = quantise(x, bits)
    return (integers * scale).astype(np.float32)


def predict(predictor: str, call: Call) -> np.ndarray:
    """Predicted scores in nats, float32 [Hq, R, S]; scales are those of each head alone."""
    def heads(change, x, *settings):
        return np.stack([change(head, *settings) for head in x])

    q, k = call.q, call.k
    if predictor == "int8":
        q, k = heads(rounded, q, 8), heads(rounded, k, 8)
    elif predictor in SNAPS:
        q, k = heads(snapped, q, 16, SNAPS[predictor]), heads(rounded, k, 8)
    elif predictor == "k-floor":
        q, k = heads(rounded, q, 16), heads(snapped, k, 8, dlzs.FLOOR)
    elif predictor == "both":
        q, k = heads(snapped, q, 16, dlzs.FLOOR), heads(snapped, k, 8, dlzs.FLOOR)
    elif predictor == "msb4":
        q, k = heads(upper_bits, q, 4), heads(upper_bits, k, 4)
    return np.matmul(q, call.shared(k).swapaxes(1, 2)) / np.float32(math.sqrt(call.d))


def blended(
    call: Call, out: np.ndarray, f: np.ndarray, means: np.ndarray | None = None,
    block: int = BLOCK,
) -> np.ndarray:
    """f * out + (1 - f) * the mean of V that a row's block has (models.tiling.mean_span),
    float32 [Hq, R, d]: out [Hq, R, d], f [Hq, R]; means [Hkv, blocks, d], None: exact ones; block:
    rows of a block."""
    rows, keys = call.q.shape[1], call.k.shape[1]
    first = np.arange(0, rows, block)
    if means is None:
        spans = [mean_span(row, keys, call.causal, call.first, call.window) for row in first]
        means = np.stack([call.v[:, f:g].mean(axis=1) for f, g in spans], axis=1)
    of_rows = np.repeat(call.shared(means), np.diff([*first, rows]), axis=1)
    return (f[..., None] * out + (1 - f)[..., None] * of_rows).astype(np.float32)


def keeps_everything(call: Call) -> np.ndarray:
    """bool [R], models.tiling.exact_rows of a Call: rows that the mean of V leaves alone."""
    return exact_rows(0, call.q.shape[1], call.causal, call.first)


@dataclass(frozen=True)
class Rule(Method):
    """A predictor and a rule; what both allow is selected, and min_keys in any case.

    share        of the row's visible keys, 0..1, rounded up: the best of them; None: all
    segments     the row is cut into so many, each of which gives its ``share``
    interleaved  a segment is every segments-th key instead of neighbours
    radius_nats  keys further below the best predicted score of the row are dropped; None: none
    threshold    least share of the row's predicted softmax over all its visible keys, above 0,
                 below 1; None: none. The best key of a row stays in any case
    min_keys     the best of a row that are taken whatever share and radius say
    mean         the mean of V stands in for what is dropped, weighted with its share of the row's
                 predicted softmax; rows at positions 0..31 of a causal call keep everything. Over
                 which keys the mean goes: models.tiling.mean_span, in blocks of BLOCK rows
    """

    predictor: str = "exact"
    share: float | None = None
    segments: int = 1
    interleaved: bool = True
    radius_nats: float | None = None
    threshold: float | None = None
    min_keys: int = 0
    mean: bool = False

    name = "rule"
    windows = True

    def __post_init__(self) -> None:
        if self.predictor not in PREDICTORS:
            raise ValueError(f"predictor = {self.predictor!r}, legal: {', '.join(PREDICTORS)}")
        if self.share is not None and not 0 < self.share <= 1:
            raise ValueError(f"share = {self.share}, legal: above 0, up to 1, or None")
        if not 1 <= self.segments <= 4096:
            raise ValueError(f"segments = {self.segments}, legal: 1..4096")
        if self.radius_nats is not None and not self.radius_nats >= 0:
            raise ValueError(f"radius_nats = {self.radius_nats}, legal: 0 and above, or None")
        if self.threshold is not None and not 0 < self.threshold < 1:
            raise ValueError(f"threshold = {self.threshold}, legal: above 0, below 1, or None")
        if self.min_keys < 0:
            raise ValueError(f"min_keys = {self.min_keys}, legal: 0 and above")

    def select(self, call: Call) -> np.ndarray:
        """bool [Hq, R, S]."""
        return self._select(call, self._score(call))

    def _score(self, call: Call) -> np.ndarray:
        """Predicted scores, -inf where masked."""
        return np.where(call.mask(), predict(self.predictor, call), -np.inf)

    def _select(self, call: Call, score: np.ndarray) -> np.ndarray:
        mask = call.mask()
        chosen = np.broadcast_to(mask, score.shape)
        if self.share is not None:
            chosen = self._shares(score, mask)
        if self.radius_nats is not None:
            chosen = chosen & (score >= score.max(axis=-1, keepdims=True) - self.radius_nats)
        if self.threshold is not None:
            e = np.exp(score - score.max(axis=-1, keepdims=True))
            # e is 1 for the best key, and 0 for masked ones.
            chosen = chosen & (e >= np.minimum(
                self.threshold * e.sum(axis=-1, keepdims=True), 1))
        if self.min_keys:
            chosen = chosen | top_k(score, mask, self.min_keys)
        if self.mean:
            chosen = chosen | mask & keeps_everything(call)[:, None]
        return np.array(chosen)

    def _shares(self, score: np.ndarray, mask: np.ndarray) -> np.ndarray:
        chosen = np.zeros(score.shape, bool)
        keys = np.arange(score.shape[-1])
        place = keys % self.segments if self.interleaved else keys * self.segments // len(keys)
        for segment in range(self.segments):
            mine = np.flatnonzero(place == segment)
            number = np.ceil(self.share * mask[:, mine].sum(axis=-1) - 1e-9).astype(int)
            chosen[..., mine] = top_k(score[..., mine], mask[:, mine], number)
        return chosen

    def attend(self, call: Call) -> Attended:
        """One layer."""
        score = self._score(call)
        selected = self._select(call, score)
        out = softmax_over(call.logits(), selected, call.shared(call.v))
        if self.mean:
            e = np.exp(score - score.max(axis=-1, keepdims=True))
            out = blended(call, out, np.where(selected, e, 0).sum(axis=-1) / e.sum(axis=-1))
        return Attended(out, selected, self.count(call, selected))

    def count(self, call: Call, selected: np.ndarray) -> Counts:
        """Prediction as in COSTS; a share costs the comparisons of a full sort of each segment, a
        radius two comparisons a pair, a threshold a comparison, an exp and an addition a pair and
        a product a row; K of the prediction is read once for each block of rows. The mean costs an
        exp and two additions a pair (with a threshold one more addition), a division a row, and a
        product and an addition an output element; its bytes are those of one V a block."""
        counts = Counts()
        count_formal(counts, call, selected)
        visible, d, bits = counts.visible, call.d, 16
        for kind, times in COSTS[self.predictor]:
            counts.add("predict", kind, times * visible * d)
        if self.predictor not in ("exact", "int8", "msb4"):
            counts.add("predict", "lz16", call.q.size)
        if self.share is not None or self.min_keys:
            length = max(2, selected.shape[-1] // self.segments)
            counts.add("select", f"cmp{bits}", visible * math.log2(length))
        if self.radius_nats is not None:
            counts.add("select", f"cmp{bits}", 2 * visible)
        if self.threshold is not None:
            for kind in ("cmp16", "exp16", "add16"):
                counts.add("select", kind, visible)
            counts.add("select", "mul16x16", call.q.shape[0] * call.q.shape[1])
        if self.mean:
            rows = call.q.shape[0] * call.q.shape[1]
            if self.threshold is None:
                counts.add("select", "exp16", visible)
                counts.add("select", "add16", visible)
            counts.add("select", "add16", visible)
            counts.add("select", "div16", rows)
            counts.add("compute", "mul16x16", rows * d)
            counts.add("compute", "add32", rows * d)
            counts.move("mean", len(call.k) * -(-call.q.shape[1] // BLOCK) * d * 2)
        seen = np.broadcast_to(call.mask(), selected.shape)
        _, _, vectors = union_bytes(call, seen)
        counts.move("k predicted", vectors * d * KEY_BYTES.get(self.predictor, 1))
        return counts

    @classmethod
    def sweep(cls) -> list[Method]:
        """Radii over exact scores."""
        return [cls(radius_nats=r) for r in (9.0, 8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0)]
