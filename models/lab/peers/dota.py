# SPDX-License-Identifier: Apache-2.0
"""DOTA: a low-rank, low-precision detector and equal k per row (Qu et al., ASPLOS 2022).

Rule, from the publication: S~ = (X P W~q)(X P W~k)^T with a sparse random projection P in
sqrt(3 / rank) * {-1, 0, 1}, probabilities 1/6, 2/3, 1/6, and small weights W~; all in low precision
(INT4, INT2); every row keeps the k largest of its S~, the same k in all rows for balance.
Keys are loaded out of order, so that rows that are worked on together share them.

The publication trains W~ with the model on the task's loss + lambda * MSE(S, S~). This is its
untrained stand-in: W~ is the least-squares fit of X P W~q to Q and of X P W~k to K on calibration
data; of all detectors of this form it has the least MSE(S, S~) on one unmasked sequence. A
trained detector, and a model trained to live with it, are better: figures of this stand-in are a
lower bound on DOTA.

Assumptions (recalled or ours):
- default rank 64: an untrained detector of the publication's smaller ranks (about d / 4)
  finds far fewer keys; k = max(1, round(keep * S)), default keep 0.1;
- without RoPE and with rank < d, W~q W~k^T is split by its singular values into two rank x rank
  matrices a query head, so that a pair costs rank products; else W~ is rank x d and a pair costs d;
- codes are symmetric, with one scale for X P and one for each matrix W~ and factor X P W~;
- the fit is regularised by 1 % of the mean energy of X P.

RoPE, causal masks, grouped-query attention and cross attention are not treated. With RoPE the fit
aims at Q and K before the rotation, and the detector rotates its own two factors; without that it
could not see positions. Masked pairs are never selected, and rows that see fewer than k keys keep
all. The detector of K of a KV head serves all its query heads unless it is split by head. A call
without its projection is detected from Q and K of each head in place of X.

Operations: X P, two thirds of whose terms are absent, rank * H / 3 16-bit additions a token; X P W~
and S~ in low precision; RoPE of the factors, 4 products and 2 additions a pair of elements; the k
largest, ceil(log2 k) comparisons a visible pair (a heap). Exact attention in 16-bit
fixed point (its error is too small to matter: computed exactly).

DRAM: X (16 bits) and the weights of the detector once; its factors stay on chip; then the 16-bit K
and V that a block's rows kept, once a block; Q and O once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

import numpy as np

from ... import rope
from ..methods.counts import Counts
from ..methods.method import Attended, Call, Method, attended, count_formal, top_k
from .arith import count_products, sum_bits, transposed
from .parts import symmetric

RIDGE = 1e-2
"""Regularisation of the fit, in units of the mean energy of a column of X P."""


@dataclass(frozen=True)
class Detector:
    """Codes of W~ of a layer, float32: wq [Hq, rank, n]; wk [Hkv, rank, n] or, split by head,
    [Hq, rank, n]."""

    wq: np.ndarray
    wk: np.ndarray


def seen_vectors(call: Call) -> tuple[np.ndarray, np.ndarray]:
    """What the detector sees of the rows and of the keys: X [1, R, H] and [1, S, H], or q and k
    where the projection is unknown."""
    if call.projection is None:
        return call.q, call.k
    x = call.projection.x[None]
    return x[:, -call.q.shape[1]:], x


def rotates(call: Call) -> bool:
    """Whether the detector rotates its factors."""
    return call.projection is not None and call.projection.rope_mode != rope.OFF


def rotate(x: np.ndarray, call: Call, sense: int = 1) -> np.ndarray:
    """RoPE of the call's model on x [.., N, d], the last N positions of its sequence; sense -1
    takes it back. Calls without RoPE return x."""
    if not rotates(call):
        return x
    at, d, keys = call.projection, x.shape[-1], call.k.shape[1]
    angle = sense * np.outer(np.arange(keys - x.shape[-2], keys),
                             at.rope_theta ** (-np.arange(0, d, 2) / d))
    cos, sin = np.cos(angle).astype(np.float32), np.sin(angle).astype(np.float32)
    first, second = rope.pair_dims(d, at.rope_mode).reshape(-1, 2).T
    out = np.empty_like(x)
    out[..., first] = x[..., first] * cos - x[..., second] * sin
    out[..., second] = x[..., first] * sin + x[..., second] * cos
    return out


@dataclass(frozen=True)
class Dota(Method):
    """keep: share of S that every row keeps; rank: columns of P, 1 or more; bits: of the detector,
    2 to 8; seed: of P; detectors: layer -> W~ of the layers seen by fit."""

    keep: float = 0.1
    rank: int = 64
    bits: int = 4
    seed: int = 0
    detectors: dict[int, Detector] = field(default_factory=dict, repr=False, compare=False)

    name = "dota"

    def __post_init__(self):
        if not 0 < self.keep <= 1:
            raise ValueError(f"keep = {self.keep}, legal: above 0, up to 1")
        if self.rank < 1:
            raise ValueError(f"rank = {self.rank}, legal: 1 or more")
        if not 2 <= self.bits <= 8:
            raise ValueError(f"bits = {self.bits}, legal: 2 to 8")

    def project(self, x: np.ndarray) -> np.ndarray:
        """X P, float32 [.., N, rank]."""
        rng = np.random.default_rng(self.seed)
        p = rng.choice(6, size=(x.shape[-1], self.rank))
        p = np.where(p == 0, -1, np.where(p == 5, 1, 0)) * math.sqrt(3 / self.rank)
        return np.matmul(x, p.astype(np.float32))

    def fit(self, calls: Iterable[Call]) -> Dota:
        """The copy that has a detector for every layer among ``calls``."""
        sums: dict[int, list[np.ndarray]] = {}
        split: dict[int, bool] = {}
        for call in calls:
            parts, layer = [], call.place()[0]
            for x, target in zip(seen_vectors(call), (call.q, call.k), strict=True):
                codes, scale = symmetric(self.project(x), self.bits, (0, 1, 2))
                z = codes.astype(np.float64) * scale
                parts += [np.matmul(transposed(z), z),
                          np.matmul(transposed(z), rotate(target, call, -1))]
            before = sums.setdefault(layer, parts)
            if before is not parts:
                sums[layer] = [a + b for a, b in zip(before, parts, strict=True)]
            split[layer] = self.rank < call.d and not rotates(call)
        return replace(self, detectors={
            layer: self.solve(*sums[layer], split[layer]) for layer in sorted(sums)})

    def solve(self, gram_q, with_q, gram_k, with_k, split: bool) -> Detector:
        """W~ of the sums Z^T Z and Z^T Q, Z^T Z and Z^T K of a layer."""
        w = []
        for gram, right in ((gram_q, with_q), (gram_k, with_k)):
            energy = np.trace(gram, axis1=-2, axis2=-1)[..., None, None] / self.rank
            w.append(np.linalg.solve(gram + (RIDGE * energy + 1e-30) * np.eye(self.rank), right))
        if split:
            k = np.repeat(w[1], len(w[0]) // len(w[1]), axis=0)
            left, size, right = np.linalg.svd(np.matmul(w[0], transposed(k)))
            root = np.sqrt(size)[:, None]
            w = [left * root, transposed(right) * root]
        return Detector(*(symmetric(part.astype(np.float32), self.bits, (1, 2))[0] for part in w))

    def detector(self, layer: int) -> Detector:
        """W~ of a layer; ValueError for one that fit has not seen."""
        if layer not in self.detectors:
            raise ValueError(f"DOTA has no detector for layer {layer}, fit saw layers: "
                             f"{', '.join(map(str, self.detectors)) or 'none, call fit first'}")
        return self.detectors[layer]

    def detect(self, call: Call) -> np.ndarray:
        """S~ of codes, float32 [Hq, R, S]; masked pairs are not marked."""
        w = self.detector(call.place()[0])
        factors = []
        for x, part in zip(seen_vectors(call), (w.wq, w.wk), strict=True):
            z, _ = symmetric(self.project(x), self.bits, (0, 1, 2))
            z = np.repeat(z, len(part) // len(z), axis=0)
            factors.append(symmetric(rotate(np.matmul(z, part), call), self.bits, (1, 2))[0])
        q, k = factors
        return np.matmul(q, transposed(np.repeat(k, len(q) // len(k), axis=0)))

    def attend(self, call: Call) -> Attended:
        mask, keys = call.mask(), call.k.shape[1]
        k = max(1, round(self.keep * keys))
        selected = top_k(self.detect(call), mask, k)
        return attended(call, selected, self.count(call, selected, k))

    def start(self) -> Callable[[Call], Attended]:
        if not self.detectors:
            self.detector(0)
        return self.attend

    def count(self, call: Call, selected: np.ndarray, k: int) -> Counts:
        """Operations and bytes, see the head of this file; k: keys a row."""
        counts, w, bits = Counts(), self.detector(call.place()[0]), self.bits
        heads, rows, keys = selected.shape
        visible = int(call.mask().sum()) * heads
        if call.projection is None:
            seen, width = heads * rows + len(call.k) * keys, call.d
        else:
            seen, width = keys, call.projection.x.shape[1]
        counts.add("predict", "add16", seen * width * self.rank / 3)
        size = w.wq.shape[-1]
        made = heads * rows + len(w.wk) * keys
        count_products(counts, "predict", bits, bits, made * size, self.rank)
        if rotates(call):
            counts.add("predict", "mul16x16", made * size * 2)
            counts.add("predict", "add16", made * size)
        count_products(counts, "predict", bits, bits, visible, size)
        counts.add("select", f"cmp{sum_bits(bits, bits, size)}",
                   visible * math.ceil(math.log2(max(k, 2))))
        count_formal(counts, call, selected)
        counts.move("x", seen * width * 2)
        # An element of P is one of three values: two bits.
        counts.move("detector", width * self.rank / 4 + (w.wq.size + w.wk.size) * bits / 8)
        return counts

    @classmethod
    def sweep(cls) -> list[Method]:
        return [cls(keep=k) for k in (0.8, 0.6, 0.4, 0.3, 0.2, 0.15, 0.1, 0.05, 0.03)]
