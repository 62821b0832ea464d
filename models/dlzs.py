# SPDX-License-Identifier: Apache-2.0
"""DLZS prediction: Q codes and predicted scores, bit-exact.

Only Q loses its mantissa ("differential"); K8 stays linear. Source: docs/architecture.md
sections 5.1 and 5.2; the scheme is that of the SOFA paper, DLZS phase 1.2.
"""

from __future__ import annotations

import numpy as np

from models.config import Config

FLOOR, NEAREST, TWO_TERM = 0, 1, 2
SNAPS = {FLOOR: "floor", NEAREST: "nearest", TWO_TERM: "two-term"}
"""Rules that turn a number into a code: snap register value -> name."""


def _log2_floor(a: np.ndarray) -> np.ndarray:
    """floor(log2 a) of integers 1..2**20, exact; 0 for a = 0."""
    exponent = np.zeros(a.shape, np.int64)
    for bit in range(1, 21):
        exponent += a >= 1 << bit
    return exponent


def encode(q: np.ndarray, snap: int) -> np.ndarray:
    """Codes {next, sign, exp[3:0]} of int16 values of any shape, int64.

    exp 0 means zero, else the value is +-2**exp (next set: +-1.5*2**exp, only snap = TWO_TERM).
    |q| < 2 becomes zero. q = -32768 is allowed.
    """
    if snap not in SNAPS:
        raise ValueError(f"snap = {snap}, legal: 0 (floor), 1 (nearest), 2 (two-term)")
    q = np.asarray(q, np.int64)
    if q.size and (q.min() < -32768 or q.max() > 32767):
        raise ValueError(f"q reaches from {q.min()} to {q.max()}, legal: -32768..32767")
    a = np.abs(q)
    exp = _log2_floor(a)
    below = np.where(exp > 0, (a >> np.maximum(exp - 1, 0)) & 1, 0)
    follow = np.zeros_like(exp)
    if snap == NEAREST:
        exp = np.where(exp > 0, np.minimum(exp + below, 15), 0)
    elif snap == TWO_TERM:
        follow = below
    sign = (q < 0) & (exp > 0)
    return (follow << 5) | (sign.astype(np.int64) << 4) | exp


def decode(codes: np.ndarray) -> np.ndarray:
    """Values the codes stand for, float64 (1.5*2**1 = 3 and up are all integers)."""
    codes = np.asarray(codes, np.int64)
    exp = codes & 15
    value = np.where(exp > 0, 2.0**exp, 0.0) * np.where(codes >> 5 & 1, 1.5, 1.0)
    return np.where(codes >> 4 & 1, -value, value)


def term(code: np.ndarray, k8: np.ndarray, cfg: Config) -> np.ndarray:
    """One cell's addend for each pair (code, k8) of broadcast shape, int64."""
    code, k8 = np.asarray(code, np.int64), np.asarray(k8, np.int64)
    x = k8 << cfg.SC_FRAC
    exp = code & 15
    value = x >> (15 - exp)
    value = value + np.where(code >> 5 & 1, x >> (16 - exp), 0)
    value = np.where(code >> 4 & 1, ~value, value)
    return np.where(exp > 0, value, 0)


def scores(codes: np.ndarray, k8: np.ndarray, cfg: Config) -> np.ndarray:
    """Predicted scores, int64 [R, n], of codes [R, d] against K8 int8 [n, d].

    Equals the sum of term() over the elements. Grouped by code: all elements with the same
    exponent see the same shifted K8, so a row is a sum of signed selections of those planes,
    each an exact floating-point matrix product, minus one for each negative element (the ones'
    complement).
    """
    codes, k8 = np.asarray(codes, np.int64), np.asarray(k8, np.int64)
    if codes.ndim != 2 or k8.ndim != 2 or codes.shape[1] != k8.shape[1]:
        raise ValueError(f"codes {codes.shape} and k8 {k8.shape}, expected [R, d] and [n, d]")
    exp, negative, follow = codes & 15, codes >> 4 & 1, codes >> 5 & 1
    x = k8 << cfg.SC_FRAC
    # Partial sums stay below 2**SC_W <= 2**24, exact in float32.
    total = np.zeros((codes.shape[0], k8.shape[0]), np.float32)
    signed = np.where(negative == 1, -1, 1).astype(np.float32)
    for e in range(1, 16):
        hit = exp == e
        if not hit.any():
            continue
        plane = (x >> (15 - e)).astype(np.float32)
        total += np.where(hit, signed, np.float32(0)) @ plane.T
        hit &= follow == 1
        if hit.any():
            plane = (x >> (16 - e)).astype(np.float32)
            total += np.where(hit, signed, np.float32(0)) @ plane.T
    negatives = ((negative == 1) & (exp > 0)).sum(axis=1)
    return total.astype(np.int64) - negatives[:, None]


def scores_both(q: np.ndarray, k8: np.ndarray, snap: int = FLOOR) -> np.ndarray:
    """The older scheme in which both operands are snapped, float64 [R, n] (not in the RTL).

    q int16 [R, d], k8 int8 [n, d]. In units of q * k8.
    """
    return decode(encode(q, snap)) @ decode_small(k8, snap).T


def decode_small(x: np.ndarray, snap: int = FLOOR) -> np.ndarray:
    """Values of 8-bit numbers snapped to powers of two, 2**0 included, float64."""
    # Twice the number keeps +-1 out of the zero code.
    return decode(encode(2 * np.asarray(x, np.int64), snap)) / 2.0


def scores_exact(q: np.ndarray, k: np.ndarray) -> np.ndarray:
    """Exact integer dot products, int64 [R, n], of q [R, d] and k [n, d] (16 bits or fewer)."""
    # d * 2**30 < 2**53: exact in float64, and far faster than integer products.
    return (np.asarray(q, np.float64) @ np.asarray(k, np.float64).T).astype(np.int64)
