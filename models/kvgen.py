# SPDX-License-Identifier: Apache-2.0
"""KVGEN: exact K and V of chosen tokens from X and the weights, bit-exact.

Source: docs/architecture.md sections 10.1 and 10.2.
"""

from __future__ import annotations

import numpy as np

from . import rope
from .config import Config, check


def sums(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Exact x @ w, int64 [n, d], of int16 x [n, H] and w [H, d]; 32 + clog2(H_MAX) bits."""
    # H * 2**30 < 2**53: exact in float64, and far faster than integer products.
    return (np.asarray(x, np.float64) @ np.asarray(w, np.float64)).astype(np.int64)


def narrow(acc: np.ndarray, shift: int) -> np.ndarray:
    """sat16((acc + half) >>> shift), half = 2**(shift-1), 0 where shift is 0; int64."""
    check("shift", shift, 0, 40)
    half = (1 << shift) >> 1
    return rope.sat16((np.asarray(acc, np.int64) + half) >> shift)


def project(
    x: np.ndarray,
    wk: np.ndarray,
    wv: np.ndarray,
    shift_k: int,
    shift_v: int,
    mode: int = rope.OFF,
    rt: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """K and V, int16 [n, d] each, of tokens x int16 [n, H]; weights int16 [H, d], natural order.

    rt: RoPE table rows of these tokens, int16 [n, d], pair order; unused in mode OFF.
    """
    k = rope.rotate_natural(narrow(sums(x, wk), shift_k), rt, mode)
    v = narrow(sums(x, wv), shift_v)
    return k.astype(np.int16), v.astype(np.int16)


def packed(h: int, d: int, cfg: Config) -> bool:
    """A job in which the outputs of a token fill at most half of the lanes, and half of X's memory
    holds its row: two tokens share a column of the array."""
    return 4 * d <= cfg.ROWS and 2 * h <= cfg.H_MAX


def group_tokens(h: int, d: int, cfg: Config) -> int:
    """Tokens that are projected together."""
    return 2 * cfg.KG_TOK if packed(h, d, cfg) else cfg.KG_TOK


def pack_weights(wk: np.ndarray, wv: np.ndarray, cfg: Config, mode: int = rope.OFF) -> np.ndarray:
    """Memory image W of one KV head, int16 [P, H, ROWS], of weights [H, d] in natural order.

    P = ceil(2d/ROWS) passes; output o = pass*ROWS + lane is K in pair order, then V in natural
    order, then 0. In a packed job the upper half of the lanes is a copy of the lower one.
    """
    h, d = wk.shape
    passes = -(-2 * d // cfg.ROWS)
    flat = np.zeros((h, passes * cfg.ROWS), np.int16)
    flat[:, :d] = wk[:, rope.pair_dims(d, mode)]
    flat[:, d : 2 * d] = wv
    if packed(h, d, cfg):
        flat[:, cfg.ROWS // 2 :] = flat[:, : cfg.ROWS // 2]
    return np.ascontiguousarray(flat.reshape(h, passes, cfg.ROWS).transpose(1, 0, 2))
