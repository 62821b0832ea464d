# SPDX-License-Identifier: Apache-2.0
"""I-BERT (S. Kim et al., ICML 2021; public code kssteven418/I-BERT): integer softmax, dense.

q, k and v are 8-bit integers, symmetric, with one scale a tensor. Scores are exact sums with the
scale s = s_q s_k / sqrt(d). Then, as the public code does it,

    i-exp(x <= 0)   u = ceil(ln2 / s); x no less than -30 u; z = floor(-x / u); r = x + z u;
                    ((r + b) r + c) << (30 - z) with b = floor(0.96963238 / 0.35815147 / s)
                    and c = floor(1 / 0.35815147 / s^2); its scale is 0.35815147 s^2 / 2^30
    requantise      to 16 bits by m / 2^e, m of 31 bits, range that of i-exp(0)
    i-softmax       factor = floor(2^32 / sum); p = floor(e * factor / 2^(32 - out_bits))

and the output is p V times s_v / 2^out_bits. floor loses up to one unit of every p: long flat
rows lose most of their mass, which is the published rule and not an error here.

Causal: masked pairs get p = 0. Grouped-query attention: query heads read their shared K and V.
The publication trains with these integers and keeps ranges of activations from training.

Assumptions: ranges are those of the tensors at hand; scores finer than MIN_SCALE nats are
rounded to it, which keeps i-exp in 64 bits.

Counts: 2 d products of 8 x 8 (scores) and 8 x out_bits (output) a pair with sums of 32 bits; per
pair one comparison, i-exp (two products of 32 x 32, two sums, a shift, and a product for z),
requantisation (32 x 32 and a shift), sum, scaling (16 x 32 and a shift); one division of 32 bits
a row. DRAM: 1 byte an element of Q, K, V and O, K and V once for BLOCK rows of a query head.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ...config import check
from ...integer import multiplier
from ..methods.counts import Counts
from ..methods.method import Attended, Call, Method, union_bytes
from .parts import check_range, symmetric

A, B, C = 0.35815147, 0.96963238, 1.0
"""exp(r) is about A r^2 + B r + C for -ln 2 < r <= 0."""

LN2 = 0.6931
"""ln 2 as the public code has it."""

SHIFTS = 30
"""Most halvings of i-exp."""

MIN_SCALE = 2.0**-14
"""Least scale of scores, nats."""


def int_exp(x: np.ndarray, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """(polynomial, halvings), int64, of integers x <= 0 with ``scale`` MIN_SCALE..1: exp is
    polynomial * 2**-halvings * A * scale**2."""
    check_range("scale of the scores, nats", scale, MIN_SCALE, 1)
    unit = math.ceil(LN2 / scale)
    b, c = math.floor(B / A / scale), math.floor(C / A / scale**2)
    x = np.maximum(np.asarray(x, np.int64), -SHIFTS * unit)
    halvings = -x // unit
    r = x + halvings * unit
    return np.maximum((r + b) * r + c, 0), halvings


def int_softmax(x: np.ndarray, allowed: np.ndarray, scale: float, out_bits: int) -> np.ndarray:
    """Probabilities in units of 2**-out_bits, int64, of integer scores x [.., S] with ``scale``
    over the allowed entries; 0 elsewhere and in rows without any."""
    x = np.where(allowed, x, np.iinfo(np.int32).min).astype(np.int64)
    z, halvings = int_exp(x - x.max(axis=-1, keepdims=True), scale)
    # m / 2**e takes the value of exp to 16 bits of the range 0..1.
    m, e = multiplier(A * scale**2 * 32767)
    # Above 62 places nothing is left of a product below 2**61.
    shift = np.minimum(e + halvings, 62)
    e16 = np.minimum((z * m + (np.int64(1) << (shift - 1))) >> shift, 32766)
    e16 = np.where(allowed, e16, 0)
    total = e16.sum(axis=-1, keepdims=True)
    factor = (1 << 32) // np.maximum(total, 1)
    return (e16 * factor) >> (32 - out_bits)


@dataclass(frozen=True)
class IBert(Method):
    """out_bits: bits of a probability, 2..16 (published: 8)."""

    name = "ibert"
    out_bits: int = 8

    def __post_init__(self) -> None:
        check("out_bits", self.out_bits, 2, 16)

    def attend(self, call: Call) -> Attended:
        """One layer; every pair that the mask allows is selected."""
        mask, heads = call.mask(), len(call.q)
        (q, sq), (k, sk), (v, sv) = (symmetric(x, 8, (0, 1, 2)) for x in (call.q, call.k, call.v))
        scale = float(sq.item()) * float(sk.item()) / math.sqrt(call.d)
        # d * 127**2 < 2**24 up to d = 1024: exact in float32.
        score = q @ call.shared(k).swapaxes(1, 2)
        if scale < MIN_SCALE:
            score, scale = np.rint(score * np.float32(scale / MIN_SCALE)), MIN_SCALE
        # One head at a time stays in the cache.
        p = [int_softmax(x, mask, scale, self.out_bits).astype(np.float32) for x in score]
        out = (np.stack(p) @ call.shared(v)) * (sv / np.float32(1 << self.out_bits))
        selected = np.broadcast_to(mask, (heads, *mask.shape)).copy()
        return Attended(out.astype(np.float32), selected, self._count(call, selected))

    def _count(self, call: Call, selected: np.ndarray) -> Counts:
        """Operations and bytes over the visible pairs."""
        pairs, d = int(selected.sum()), call.d
        counts = Counts(visible=pairs, selected=pairs)
        counts.add("compute", "mul8x8", pairs * d)
        counts.add("compute", f"mul{self.out_bits}x8", pairs * d)
        counts.add("compute", "add32", 2 * pairs * d + 4 * pairs)
        counts.add("compute", "cmp32", pairs)
        counts.add("compute", "mul32x32", 4 * pairs)
        counts.add("compute", "mul16x32", pairs)
        counts.add("compute", "shift32", 3 * pairs)
        counts.add("compute", "div32", selected.shape[0] * selected.shape[1])
        vectors, keys, _ = union_bytes(call, selected, 1)
        for stream, size in (("q", vectors), ("k", keys), ("v", keys), ("o", vectors)):
            counts.move(stream, size)
        return counts

    @classmethod
    def sweep(cls) -> list[Method]:
        """Dense has no knob of sparsity: bits of a probability."""
        return [cls(out_bits=b) for b in (16, 12, 8)]
