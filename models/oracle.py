# SPDX-License-Identifier: Apache-2.0
"""Float64 attention and the measures that the integer models are judged by."""

from __future__ import annotations

import math

import numpy as np


def causal_mask(rows: int, keys: int, causal: bool, offset: int = 0) -> np.ndarray:
    """bool [rows, keys]: pairs that may be used; row r sits at position offset + r."""
    if not causal:
        return np.ones((rows, keys), bool)
    return np.arange(keys)[None, :] <= offset + np.arange(rows)[:, None]


def logits(q: np.ndarray, k: np.ndarray) -> np.ndarray:
    """Scaled scores in nats, float64 [rows, keys], of q [rows, d] and k [keys, d]."""
    q, k = np.asarray(q, np.float64), np.asarray(k, np.float64)
    return q @ k.T / math.sqrt(q.shape[1])


def softmax(scores: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Softmax over the pairs of mask, float64; 0 elsewhere and in rows without any pair."""
    scores = np.where(mask, scores, -np.inf)
    top = scores.max(axis=1, keepdims=True)
    weights = np.exp(scores - np.where(np.isfinite(top), top, 0.0))
    total = weights.sum(axis=1, keepdims=True)
    return weights / np.where(total > 0, total, 1.0)


def attention(q: np.ndarray, k: np.ndarray, v: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Softmax attention over the pairs of mask (selected or merely visible), float64 [rows, d].

    To judge the integer path alone, pass integers times their scales.
    """
    return softmax(logits(q, k), mask) @ np.asarray(v, np.float64)


def dense_attention(q, k, v, causal: bool = False, offset: int = 0) -> np.ndarray:
    """Attention over every visible key, float64 [rows, d]."""
    return attention(q, k, v, causal_mask(len(q), len(k), causal, offset))


def relative_error(out: np.ndarray, reference: np.ndarray) -> float:
    """Relative L2 error over the whole array."""
    reference = np.asarray(reference, np.float64)
    norm = float(np.linalg.norm(reference))
    error = float(np.linalg.norm(np.asarray(out, np.float64) - reference))
    if norm == 0.0:
        return 0.0 if error == 0.0 else math.inf
    return error / norm


def row_topk(mask: np.ndarray, keep: float) -> np.ndarray:
    """k of every row: round(keep * visible keys), int64 [rows]."""
    if not 0 < keep <= 1:
        raise ValueError(f"keep = {keep}, legal: above 0, up to 1")
    return np.rint(keep * mask.sum(axis=1)).astype(np.int64)


def topk(scores: np.ndarray, mask: np.ndarray, k: np.ndarray) -> np.ndarray:
    """bool [rows, keys]: the k[row] best pairs of each row; equal scores: lower key first."""
    lowered = np.where(mask, -np.asarray(scores, np.float64), np.inf)
    order = np.argsort(lowered, axis=1, kind="stable")
    take = np.arange(scores.shape[1])[None, :] < np.minimum(k, mask.sum(axis=1))[:, None]
    chosen = np.zeros(scores.shape, bool)
    np.put_along_axis(chosen, order, take, axis=1)
    return chosen


def recall(chosen: np.ndarray, truth: np.ndarray) -> float:
    """Share of the true pairs that were chosen, mean over the rows that have any."""
    size = truth.sum(axis=1)
    rows = size > 0
    if not rows.any():
        raise ValueError("no row has a key to find")
    return float(((chosen & truth).sum(axis=1)[rows] / size[rows]).mean())


def retained_mass(scores: np.ndarray, mask: np.ndarray, chosen: np.ndarray) -> float:
    """Softmax mass of the visible keys that the chosen ones hold, mean over rows, 0..1."""
    probability = softmax(scores, mask)
    return float((probability * chosen).sum(axis=1).mean())
