# SPDX-License-Identifier: Apache-2.0
"""Q and K turned so that the prediction errs less; a pass of the host before it quantises.

    scales = balance_of(q, k)
    q, k = balanced(q, k, scales)             # the same scores

A score is a sum over channels, and a code of Q errs by a share of each addend: a few channels
where both Q and K are large decide the error, and a large channel of K alone takes the bits of
K8. Scales `s` of the channels, `q*s` and `k/s`, make Q and K equally large in each; the same
Hadamard rotation of both then gives every channel a part of all. Scores stay what they are.

Source: our decision. Known by themselves: scales moved between the operands of a product from
SmoothQuant (ICML 2023), Hadamard rotation of Q and K before they are quantised from QuaRot
(NeurIPS 2024).
"""

from __future__ import annotations

import math

import numpy as np

from .config import ConfigError

REACH = 2.0**10
"""A scale is at most so many times, and at least that part of, the median of its head."""

STEADY = 1 / 16
"""A channel of K counts as varying by at least that part of its root mean square: divided by a
smaller scale, a channel that is all but constant would take the bits of K8."""


def check_heads(q: np.ndarray, k: np.ndarray) -> None:
    """ConfigError where heads of q are no multiple of those of k."""
    if not len(k) or len(q) % len(k):
        raise ConfigError(f"heads = {len(q)}, legal: multiple of kv_heads = {len(k)}")


def additions(d: int) -> int:
    """Additions of an element in rotate: log2 of the largest power of two that divides d."""
    return (d & -d).bit_length() - 1


def rotate(x: np.ndarray) -> np.ndarray:
    """Rows of float x [.., d] times the Hadamard matrix (Sylvester's) of the largest power of two
    that divides d, block by block, over its square root: float64.

    The matrix is symmetric and orthogonal, so that scalar products stay and a second turn undoes
    the first.
    """
    x = np.array(x, np.float64)
    shape = x.shape
    for step in range(additions(shape[-1])):
        pairs = x.reshape(*shape[:-1], shape[-1] >> step + 1, 2, 1 << step)
        x = np.stack([pairs[..., 0, :] + pairs[..., 1, :], pairs[..., 0, :] - pairs[..., 1, :]],
                     axis=-2)
    return x.reshape(shape) / math.sqrt(1 << additions(shape[-1]))


def balance_of(q: np.ndarray, k: np.ndarray) -> np.ndarray:
    """Scales [kv_heads, d] of the channels for float q [heads, rows, d] and k [kv_heads, keys, d]:
    the root of the ratio of K's deviation from its mean over the keys, but STEADY, to the root mean
    square of Q over the rows and query heads of the group.

    The mean of K moves all scores of a row alike, which no softmax sees, so that it does not count.
    A channel in which K, or Q, is zero gets the end of REACH; a head in which all are such gets
    scales of 1. ConfigError where heads are no multiple of kv_heads.
    """
    kv_heads, keys, d = k.shape
    check_heads(q, k)
    grouped = np.asarray(q, np.float64).reshape(kv_heads, -1, d)
    if not keys or not grouped.shape[1]:
        return np.ones((kv_heads, d))
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        of_q = np.sqrt((grouped**2).mean(axis=1))
        k = np.asarray(k, np.float64)
        of_k = np.maximum(k.std(axis=1), STEADY * np.sqrt((k**2).mean(axis=1)))
        scales = np.sqrt(of_k / of_q)
    for own in scales:
        known = own[np.isfinite(own) & (own > 0)]
        middle = np.median(known) if len(known) else 1.0
        own[np.isnan(own)] = middle
        own[:] = np.clip(own, middle / REACH, middle * REACH) if len(known) else 1.0
    return scales


def checked(scales, kv_heads: int, d: int) -> np.ndarray:
    """Scales as float64 [kv_heads, d]; ConfigError unless all are finite and above 0."""
    scales = np.asarray(scales, np.float64)
    if scales.shape != (kv_heads, d) or not (np.isfinite(scales) & (scales > 0)).all():
        raise ConfigError(f"balance has shape {list(scales.shape)}, legal: [{kv_heads}, {d}], a "
                          f"scale for each channel of each KV head, finite and above 0")
    return scales


def turned_q(q: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """Float64 of q [heads, rows, d], heads a multiple of those of scales [kv_heads, d]."""
    return rotate(q * np.repeat(scales, len(q) // len(scales), axis=0)[:, None])


def turned_k(k: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """Float64 of k [kv_heads, keys, d]."""
    return rotate(k / scales[:, None])


def balanced(q, k, scales) -> tuple[np.ndarray, np.ndarray]:
    """Float64 q [heads, rows, d] and k [kv_heads, keys, d], scaled with scales [kv_heads, d] and
    rotated. ConfigError for heads or scales that do not fit."""
    q, k = np.asarray(q, np.float64), np.asarray(k, np.float64)
    check_heads(q, k)
    scales = checked(scales, len(k), k.shape[-1])
    return turned_q(q, scales), turned_k(k, scales)
