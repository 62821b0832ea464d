# SPDX-License-Identifier: Apache-2.0
"""ELSA: candidates by sign random projection (Ham et al., ISCA 2021).

Rule, from the publication:
- h(x) = sign(R x), R orthogonal, as many bits as elements (64 at d = 64); R is the Kronecker
  product of three 4 x 4 orthogonal matrices, so a hash takes 768 multiplications instead of 4096;
- theta = max(0, pi / bits * Hamming(h(q), h(k)) - 0.127), the 80th-percentile correction;
- key j is a candidate where |k_j| cos(theta) > t * |K_max|, K_max the longest key;
- t is learnt for each layer from training data and one knob p of the user.

Assumptions (recalled or ours):
- learning t: in each row the keys with a softmax probability above p / n are taken; the least of
  their q . k / (|q| |K_max|) is the row's t; the layer's t is the mean over rows, heads and
  calls. In a row where no key passes (p > 1) the best key is taken. Default p = 1;
- d that is not a power of 4: factors of 4 and one of 2, x padded with zeros to a power of 2;
  other numbers of bits keep the correction 0.127, which was found for 64;
- words of 9 bits (sign, 5 integer, 3 fraction bits); the binary point was chosen for the models of
  the publication, so here Q, K and V have one symmetric scale a head and tensor, in hash, norm
  and exact stage, where such words cost visible accuracy; norms, cosines, sums and exp are exact;
- sign(0) is positive; a row without a candidate takes the key of the largest |k| cos(theta).

Causal masks and grouped-query attention are not treated: here n and K_max are those of the keys
that the row sees, and the hashes and norms of a KV head serve all its query heads.

Operations: 4 (or 2) multiplications and one fewer additions for each element and factor of a hash;
d products and a root (a division) a norm; per visible pair the exclusive or of the hashes, their
population count (one addition as wide as the hash), a product of |k| with the cosine (from a table
of bits + 1 entries) and a comparison; per row t * |K_max| and, for its K_max, comparisons of norms.

DRAM: K and V of a head are read once into memories on chip (the publication's hold n = 512; here
any n fits), Q and O once; hashes and norms are made and kept on chip. Words take whole bytes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import numpy as np

from ..methods.counts import Counts
from ..methods.method import Attended, Call, Method, attended, count_pairs
from .arith import at_least_best, count_products, element_bytes, narrowed, transposed


def factors(d: int) -> list[int]:
    """Sizes of the Kronecker factors of the projection of vectors of d elements."""
    bits = max(1, (d - 1).bit_length())
    return [4] * (bits // 2) + [2] * (bits % 2)


def projection(d: int, seed: int) -> np.ndarray:
    """R, float64 [bits, d]: orthogonal, of random factors, without the columns of the padding."""
    rng = np.random.default_rng(seed)
    whole = np.ones((1, 1))
    for size in factors(d):
        whole = np.kron(whole, np.linalg.qr(rng.standard_normal((size, size)))[0])
    return whole[:, :d]


def longest(k: np.ndarray, rows: int, causal: bool) -> np.ndarray:
    """Length of the longest key that each row sees, [H, R, 1], of k [H, S, d]."""
    norm = np.linalg.norm(k, axis=-1)
    peak = np.maximum.accumulate(norm, axis=-1)
    return (peak[:, -rows:] if causal else np.repeat(peak[:, -1:], rows, axis=1))[..., None]


@dataclass(frozen=True)
class Elsa(Method):
    """p: how far above the mean probability a key must be, 0 or more; bits: of a word, 2 to 16;
    correction: subtracted from the angle, radians; seed: of the projection; thresholds: (layer, t)
    of the layers seen by fit."""

    p: float = 1.0
    bits: int = 9
    correction: float = 0.127
    seed: int = 0
    thresholds: tuple[tuple[int, float], ...] = ()

    name = "elsa"

    def __post_init__(self):
        if not self.p >= 0:
            raise ValueError(f"p = {self.p}, legal: 0 or more")
        if not 2 <= self.bits <= 16:
            raise ValueError(f"bits = {self.bits}, legal: 2 to 16")
        if not 0 <= self.correction < math.pi:
            raise ValueError(f"correction = {self.correction}, legal: 0 up to below pi")

    def fit(self, calls: Iterable[Call]) -> Elsa:
        """The copy that knows t of every layer among ``calls``."""
        seen: dict[int, list[np.ndarray]] = {}
        for call in calls:
            seen.setdefault(call.place()[0], []).append(self.row_thresholds(call))
        return replace(self, thresholds=tuple(
            (layer, float(np.concatenate(seen[layer]).mean())) for layer in sorted(seen)))

    def row_thresholds(self, call: Call) -> np.ndarray:
        """t of every row of a call, float64 [N]; rows of zeros and rows that see nothing but zeros
        are left out."""
        low = narrowed(call, self.bits)
        mask = call.mask()
        logits = np.where(mask, low.logits(), -np.inf)
        top = logits.max(axis=-1, keepdims=True)
        e = np.exp(logits - top)
        level = self.p * e.sum(axis=-1, keepdims=True) / mask.sum(axis=-1, keepdims=True)
        least = np.where((e > level) & mask, logits, np.inf).min(axis=-1, keepdims=True)
        least = np.minimum(least, top) * math.sqrt(call.d)
        size = np.linalg.norm(low.q, axis=-1, keepdims=True) * call.shared(
            longest(low.k, call.q.shape[1], call.causal))
        return (least[size > 0] / size[size > 0]).astype(np.float64)

    def threshold(self, layer: int) -> float:
        """t of a layer; ValueError for one that fit has not seen."""
        known = dict(self.thresholds)
        if layer not in known:
            raise ValueError(f"ELSA has no threshold for layer {layer}, fit saw layers: "
                             f"{', '.join(map(str, known)) or 'none, call fit first'}")
        return known[layer]

    def similarity(self, call: Call) -> np.ndarray:
        """|k| cos(theta), float32 [Hq, R, S]; call already narrowed."""
        r = projection(call.d, self.seed)
        q, k = (np.where(np.matmul(x.astype(np.float64), r.T) >= 0, 1, -1).astype(np.float32)
                for x in (call.q, call.k))
        bits = len(r)
        hamming = (bits - np.matmul(q, transposed(call.shared(k)))).astype(np.int32) // 2
        angle = np.maximum(0, np.pi / bits * np.arange(bits + 1) - self.correction)
        norm = np.linalg.norm(call.shared(call.k), axis=-1)[:, None]
        return np.cos(angle).astype(np.float32)[hamming] * norm

    def attend(self, call: Call) -> Attended:
        t = np.float32(self.threshold(call.place()[0]))
        low, mask = narrowed(call, self.bits), call.mask()
        near = self.similarity(low)
        level = t * low.shared(longest(low.k, call.q.shape[1], call.causal))
        selected = at_least_best((near > level) & mask, near, mask)
        return attended(low, selected, self.count(call, selected))

    def start(self) -> Callable[[Call], Attended]:
        if not self.thresholds:
            self.threshold(0)
        return self.attend

    def count(self, call: Call, selected: np.ndarray) -> Counts:
        """Operations and bytes; see the head of this file."""
        counts, d, bits = Counts(), call.d, self.bits
        heads, rows, keys = selected.shape
        visible = int(call.mask().sum()) * heads
        hashed = heads * rows + len(call.k) * keys
        width = math.prod(factors(d))
        for size in factors(d):
            counts.add("predict", f"mul{bits}x{bits}", hashed * width * size)
            counts.add("predict", f"add{2 * bits}", hashed * width * (size - 1))
        count_products(counts, "predict", bits, bits, len(call.k) * keys, d)
        counts.add("predict", f"div{2 * bits}", len(call.k) * keys)
        counts.add("predict", f"xor{width}", visible)
        counts.add("predict", f"add{width}", visible)
        counts.add("predict", f"mul{bits}x{bits}", visible)
        counts.add("select", f"mul{bits}x{bits}", heads * rows)
        counts.add("select", f"cmp{bits}", visible + len(call.k) * keys)
        count_pairs(counts, call, selected, bits)
        for stream, vectors in (("q", call.q), ("k", call.k), ("v", call.v), ("o", call.q)):
            counts.move(stream, vectors.size * element_bytes(bits))
        return counts

    @classmethod
    def sweep(cls) -> list[Method]:
        return [cls(p=p) for p in (0.0, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 64.0)]
