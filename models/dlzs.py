# SPDX-License-Identifier: Apache-2.0
"""DLZS prediction: Q codes and predicted scores, weight codes and predicted keys, bit-exact.

Only one operand of a product loses its mantissa ("differential"): Q in the scores, the weights
in the keys. K8 and X8 stay linear. Source: docs/architecture.md sections 5.1, 5.2, 10.1 and
10.2; the scheme is that of the SOFA paper, DLZS phases 1.2 and 1.1.
"""

from __future__ import annotations

import numpy as np

from . import rope
from .config import Config, check

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

    exp 0 means zero, else the value is +-2**exp (next set: +-1.5*2**exp, only snap = TWO_TERM, with
    exp 14 or less). |q| < 2 becomes zero. q = -32768 is allowed.
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
    # 1.5 * k8 as 3 * k8 with one more fraction bit, so that each term is cut once.
    value = np.where(code >> 5 & 1, 3 * k8, 2 * k8) << cfg.SC_FRAC
    exp = code & 15
    value = value >> (16 - exp)
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
    return _sums(codes, k8 << cfg.SC_FRAC)


def _sums(codes: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Exact sums of the cells' terms, int64 [R, n], of codes [R, e] and linear values x [n, e]
    with their fraction bits."""
    exp, negative, follow = codes & 15, codes >> 4 & 1, codes >> 5 & 1
    # Partial sums must stay below 2**24 to be exact in float32, which is twice as fast.
    bound = 2 * codes.shape[1] * int(np.abs(x).max(initial=0))
    kind = np.float32 if bound < 1 << 24 else np.float64
    total = np.zeros((codes.shape[0], x.shape[0]), kind)
    signed = np.where(negative == 1, -1, 1).astype(kind)
    for e in range(1, 16):
        for more in (0, 1):
            hit = (exp == e) & (follow == more)
            if hit.any():
                plane = ((2 + more) * x >> (16 - e)).astype(kind)
                total += np.where(hit, signed, kind(0)) @ plane.T
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


# ---- phase 1.1: keys from X and weight codes ----------------------------------------------------


def code_weights(w: np.ndarray, snap: int = NEAREST) -> tuple[np.ndarray, float]:
    """4-bit codes {sign, e[2:0]} of float weights of any shape, uint8, and their scale.

    e = 0 is zero, else the weight is about +-2**(e-7) * scale. snap FLOOR or NEAREST says how a
    weight becomes a power of two of the reference, which is the least one that codes the largest
    weight as e = 7 (floor: peak/2, nearest: peak/1.5); the middle between two powers goes up.
    Below half the smallest power (floor: below the smallest power) is zero. The scale returned is
    the one with the least squared error of the coded weights, so it holds the mean shrink of the
    rule.
    """
    if snap not in (FLOOR, NEAREST):
        raise ValueError(f"snap = {snap}, legal: 0 (floor), 1 (nearest)")
    w = np.asarray(w, np.float64)
    if not np.isfinite(w).all():
        raise ValueError("the weights hold infinities or NaN, legal: finite numbers")
    a = np.abs(w)
    peak = float(a.max()) if a.size else 0.0
    if peak == 0.0:
        return np.zeros(w.shape, np.uint8), 1.0
    # fraction * 2**exponent with fraction in 0.5..1: its floor is 2**(exponent-1).
    fraction, exponent = np.frexp(a / peak * (2.0 if snap == FLOOR else 1.5))
    e = exponent - 1 + 7
    if snap == NEAREST:
        # Below the smallest power, 2**-6, the middle is that between it and 0.
        e = np.where(e == 0, 1, e + (fraction >= 0.75))
    # The largest weight is just past the middle to 2**1 and stays at 2**0.
    e = np.where(a > 0, np.clip(e, 0, 7), 0)
    codes = (e | ((w < 0) & (e > 0)) << 3).astype(np.uint8)
    value = decode_weights(codes)
    return codes, float((value * w).sum() / (value * value).sum())


def decode_weights(codes: np.ndarray) -> np.ndarray:
    """Values of 4-bit weight codes in units of their scale, float64."""
    e = np.asarray(codes, np.int64) & 7
    value = np.where(e > 0, 2.0 ** (e - 7), 0.0)
    return np.where(np.asarray(codes) & 8, -value, value)


def array_codes(codes: np.ndarray, exp: int) -> np.ndarray:
    """What the array works with for 4-bit weight codes: {sign, e + exp}, 0 stays 0; int64."""
    check("exp", exp, 0, 8)
    codes = np.asarray(codes, np.int64)
    e, sign = codes & 7, codes >> 3 & 1
    return np.where(e > 0, sign << 4 | (e + exp), 0)


def predict_sums(x8: np.ndarray, codes: np.ndarray, cfg: Config, exp: int) -> np.ndarray:
    """Accumulators before they wrap, int64 [n, d], of X8 int8 [n, H] and weight codes [H, d]."""
    return _sums(array_codes(codes, exp).T, np.asarray(x8, np.int64) << cfg.SC_FRAC).T


def wrap(acc: np.ndarray, cfg: Config) -> np.ndarray:
    """Accumulators modulo 2**SC_W, signed."""
    half = 1 << (cfg.SC_W - 1)
    return ((np.asarray(acc, np.int64) + half) & (2 * half - 1)) - half


def predict_t(acc: np.ndarray, cfg: Config, bias: int) -> np.ndarray:
    """t before RoPE, 16 bits in int64: sat16((acc + bias) >>> max(SC_W-16, 0)), acc wrapped."""
    check("bias", bias, -32768, 32767)
    return rope.sat16((wrap(acc, cfg) + bias) >> max(cfg.SC_W - 16, 0))


def key8(t: np.ndarray, shift: int) -> np.ndarray:
    """int8 keys -127..127 of t (16 bits, after RoPE): clamp((t + half) >>> shift)."""
    check("shift", shift, 0, 15)
    half = (1 << shift) >> 1
    return np.clip((np.asarray(t, np.int64) + half) >> shift, -127, 127).astype(np.int8)


def predict_keys(
    x8: np.ndarray,
    codes: np.ndarray,
    cfg: Config,
    exp: int,
    bias: int,
    shift: int,
    mode: int = rope.OFF,
    rt: np.ndarray | None = None,
) -> np.ndarray:
    """Predicted keys K8 of one KV head, int8 [n, d], natural order.

    x8 int8 [n, H]; codes uint8 [H, d], natural order; exp, bias, shift: KP_EXP, KP_BIAS,
    KP_SHIFT; rt: RoPE table rows of these tokens, int16 [n, d], pair order, unused in mode OFF.
    """
    t = predict_t(predict_sums(x8, codes, cfg, exp), cfg, bias)
    return key8(rope.rotate_natural(t, rt, mode), shift)


def chunks(kv_heads: int, d: int, cfg: Config) -> list[list[tuple[int, int]]]:
    """Which output each row of every chunk of ROWS outputs predicts.

    A list of (KV head, place in pair order) per chunk, row 0 first; rows past its end are unused.
    """
    if d <= cfg.ROWS:
        per = cfg.ROWS // d
        groups = [range(h, min(h + per, kv_heads)) for h in range(0, kv_heads, per)]
        return [[(h, o) for h in group for o in range(d)] for group in groups]
    return [
        [(h, o) for o in range(first, min(first + cfg.ROWS, d))]
        for h in range(kv_heads)
        for first in range(0, d, cfg.ROWS)
    ]


ENTRY_ROWS = 8
"""Rows of a chunk that an entry of its header is for."""


def pack_entry(exp: int, bias: int, shift: int) -> int:
    """An entry of the header of a chunk, 32 bits."""
    check("exp", exp, 0, 8)
    check("bias", bias, -32768, 32767)
    check("shift", shift, 0, 15)
    return (bias & 0xFFFF) << 16 | shift << 4 | exp


def pack_codes(
    codes: np.ndarray, entries: list[int], cfg: Config, mode: int = rope.OFF
) -> np.ndarray:
    """Memory image WC, uint8 [chunks, bytes], of codes uint8 [kv_heads, H, d] in natural order;
    entries: pack_entry of each KV head. A chunk is its header, an entry for each 8 rows, and H
    words: the code of row r sits at bits 4r+3..4r of one, row 0 in the low nibble of byte 0."""
    kv_heads, h, d = codes.shape
    ordered = np.asarray(codes, np.uint8)[:, :, rope.pair_dims(d, mode)]
    parts = chunks(kv_heads, d, cfg)
    headers = np.zeros((len(parts), cfg.header_bytes // 4), "<u4")
    words = np.zeros((len(parts), h, cfg.ROWS), np.uint8)
    for c, rows in enumerate(parts):
        head, place = np.array(rows).T
        own = head[::ENTRY_ROWS]
        headers[c, : len(own)] = np.array(entries, np.uint32)[own]
        words[c, :, : len(rows)] = ordered[head, :, place].T
    packed = (words[:, :, 0::2] | words[:, :, 1::2] << 4).reshape(len(parts), -1)
    return np.concatenate([headers.view(np.uint8), packed], axis=1)
