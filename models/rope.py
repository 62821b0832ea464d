# SPDX-License-Identifier: Apache-2.0
"""Rotary position embedding on integers, bit-exact, and the table of its cosines and sines.

Source: docs/architecture.md sections 10.1 and 10.2; the method is that of Su et al.,
arXiv 2104.09864.
"""

from __future__ import annotations

import numpy as np

OFF, INTERLEAVED, HALF = 0, 1, 2
MODES = {OFF: "off", INTERLEAVED: "interleaved", HALF: "half-split"}
"""Which two dimensions rotate together: ROPE field of MODE -> name."""

FRAC = 14
"""Fraction bits of a cosine or sine; 1.0 is 16384."""


def sat16(x: np.ndarray) -> np.ndarray:
    """Saturate to -32768..32767."""
    return np.clip(x, -32768, 32767)


def rotate(x0, x1, c, s) -> tuple[np.ndarray, np.ndarray]:
    """The pair (x0, x1), 16 bits each, turned by the angle of (c, s), Q2.14; int64, saturated."""
    x0, x1, c, s = (np.asarray(a, np.int64) for a in (x0, x1, c, s))
    half = 1 << (FRAC - 1)
    return sat16((x0 * c - x1 * s + half) >> FRAC), sat16((x0 * s + x1 * c + half) >> FRAC)


def pair_dims(d: int, mode: int) -> np.ndarray:
    """int64 [d]: the dimension that stands at place o of the pair order.

    Places 2i and 2i+1 rotate together: dimensions i and i + d/2 when half-split, else 2i and 2i+1.
    """
    if mode not in MODES:
        raise ValueError(f"mode = {mode}, legal: 0 (off), 1 (interleaved), 2 (half-split)")
    if mode == HALF:
        return np.arange(d).reshape(2, d // 2).T.reshape(d)
    return np.arange(d)


def table(keys: int, d: int, theta: float, start: int = 0) -> np.ndarray:
    """int16 [keys, d], Q2.14: row j is c0 s0 c1 s1 ... of position start + j.

    The angle of pair i is position * theta**(-2i/d).
    """
    angle = np.outer(np.arange(start, start + keys), theta ** (-np.arange(0, d, 2) / d))
    out = np.empty((keys, d), np.int16)
    out[:, 0::2] = np.rint(np.cos(angle) * (1 << FRAC))
    out[:, 1::2] = np.rint(np.sin(angle) * (1 << FRAC))
    return out


def rotate_pairs(x: np.ndarray, rt: np.ndarray) -> np.ndarray:
    """x [..., d] in pair order, 16 bits, rotated by table rows rt [..., d]; int64, pair order."""
    y0, y1 = rotate(x[..., 0::2], x[..., 1::2], rt[..., 0::2], rt[..., 1::2])
    return np.stack([y0, y1], axis=-1).reshape(*y0.shape[:-1], -1)


def rotate_natural(x: np.ndarray, rt: np.ndarray | None, mode: int) -> np.ndarray:
    """x [..., d] in natural order, 16 bits, rotated by table rows rt [..., d]; int64, natural
    order. mode OFF: unchanged (rt may be None)."""
    x = np.asarray(x, np.int64)
    if mode == OFF:
        return x
    if rt is None:
        raise ValueError(f"mode = {mode} needs a table, rt is None")
    dims = pair_dims(x.shape[-1], mode)
    y = np.empty_like(x)
    y[..., dims] = rotate_pairs(x[..., dims], rt)
    return y
