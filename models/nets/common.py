# SPDX-License-Identifier: Apache-2.0
"""What the forward passes share: the attention hook and the small layers of transformers.

An attention hook is a function of one models.lab.methods.method.Call that returns the attended
values, float32 [Hq, R, d]. Every forward pass takes one and calls it once for each attention, in
order.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable

import numpy as np

from ..lab.methods.method import Call
from .sources import NetError

Hook = Callable[[Call], np.ndarray]

ROWS = 128
"""Rows of dense attention worked on at a time: the scores stay in the cache, and blocks of a
causal model skip the keys that none of their rows sees."""

LOGITS = 3 << 22
"""Logits made at a time, each 4 bytes: 256 rows of SmolLM2, 48 of Gemma 3."""

NEEDS = "scripts/setup.sh capture"
"""What installs the packages that the nets need beside numpy."""


def need(package: str, net: str):
    """Import an optional package; NetError says which net needs it and how to get it."""
    try:
        return importlib.import_module(package)
    except ImportError as exc:
        raise NetError(
            f"{net} needs the package {package.split('.')[0]}, which cannot be imported ({exc}): "
            f"{NEEDS} installs it"
        ) from exc


def dense(call: Call) -> np.ndarray:
    """Exact attention over all visible pairs, the hook of an unchanged model."""
    scale = np.float32(math.sqrt(call.d))
    rows, keys = call.q.shape[1], call.k.shape[1]
    out = np.empty((*call.q.shape[:2], call.v.shape[2]), np.float32)
    for first in range(0, rows, ROWS):
        some = slice(first, min(first + ROWS, rows))
        last = keys - rows + np.arange(rows)[some]  # last key that each row sees
        seen = last[-1] + 1 if call.causal else keys
        for h, q in enumerate(call.q):
            kv = h // call.group
            p = q[some] @ call.k[kv, :seen].T
            p /= scale
            if call.causal:
                p[np.arange(seen) > last[:, None]] = -np.inf
            p -= p.max(axis=1, keepdims=True)
            np.exp(p, out=p)
            p /= p.sum(axis=1, keepdims=True)
            out[h, some] = p @ call.v[kv, :seen]
    return out


def apply(attend: Hook | None, call: Call) -> np.ndarray:
    """Attended values with the heads side by side, [R, Hq * d]; None is the dense hook."""
    out = np.asarray((attend or dense)(call))
    want = (*call.q.shape[:2], call.v.shape[2])
    if out.shape != want:
        raise ValueError(
            f"layer {call.layer}: attend returned shape {list(out.shape)}, legal: {list(want)}"
        )
    return np.ascontiguousarray(out.transpose(1, 0, 2), np.float32).reshape(want[1], -1)


def split_heads(x: np.ndarray, n: int) -> np.ndarray:
    """[S, n * d] -> [n, S, d]."""
    return np.ascontiguousarray(x.reshape(x.shape[0], n, -1).transpose(1, 0, 2))


def head_weights(w: np.ndarray, n: int) -> np.ndarray:
    """Weights [n * d, H] as checkpoints store them -> [n, H, d]."""
    return np.ascontiguousarray(w.reshape(n, -1, w.shape[1]).transpose(0, 2, 1))


def layer_norm(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, eps: float) -> np.ndarray:
    """LayerNorm over the last axis."""
    x = x - x.mean(axis=-1, keepdims=True)
    x = x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + np.float32(eps))
    return x * weight + bias


def rms_norm(x: np.ndarray, weight: np.ndarray, eps: float) -> np.ndarray:
    """RMSNorm over the last axis."""
    return x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + np.float32(eps)) * weight


def gelu(x: np.ndarray) -> np.ndarray:
    """x * Phi(x) with the exact error function, to float32.

    numpy has no erf; the series of Abramowitz and Stegun 7.1.26 is good to 1.5e-7.
    """
    z = np.abs(x) / np.float32(math.sqrt(2))
    t = 1 / (1 + np.float32(0.3275911) * z)
    poly = t * (
        0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429)))
    )
    erf = np.sign(x) * (1 - poly * np.exp(-z * z))
    return (x * (1 + erf) / 2).astype(np.float32)


def log_softmax_at(logits: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Log-probability of targets [N] under logits [N, V], [N]."""
    peak = logits.max(axis=1)
    total = peak + np.log(np.exp(logits - peak[:, None]).sum(axis=1))
    return logits[np.arange(len(logits)), targets] - total


class LanguageModel:
    """A causal model whose embedding [V, D] doubles as the output matrix: what forward makes of
    tokens predicts the next ones."""

    embedding: np.ndarray

    def forward(self, tokens: np.ndarray, attend: Hook | None = None) -> np.ndarray:
        """Hidden states [S, D] after the last norm, of tokens [S]; attend: None is dense."""
        raise NotImplementedError

    def losses(self, tokens: np.ndarray, attend: Hook | None = None) -> np.ndarray:
        """Next-token cross-entropy in nats, float64 [S - 1]: entry i is that of token i + 1."""
        hidden = self.forward(tokens, attend)[:-1]
        rows = max(LOGITS // len(self.embedding), 1)
        return -np.concatenate([
            log_softmax_at(
                hidden[i : i + rows] @ self.embedding.T, tokens[i + 1 : i + 1 + rows]
            ).astype(np.float64)
            for i in range(0, len(hidden), rows)
        ])

    def loss(self, tokens: np.ndarray, attend: Hook | None = None, start: int = 0) -> float:
        """Mean of losses[start:]: start leaves out the first rows, which see few keys."""
        if not 0 <= start < len(tokens) - 1:
            raise ValueError(f"start = {start}, legal: 0..{len(tokens) - 2}")
        return float(self.losses(tokens, attend)[start:].mean())


def cut(ids: list[int], offset: int, length: int) -> np.ndarray:
    """ids[offset : offset + length], refusing a text that is too short."""
    if offset < 0:
        raise NetError(f"offset {offset}: give 0 or more")
    if len(ids) < offset + length:
        raise NetError(f"the text has {len(ids)} tokens, {offset + length} are wanted")
    return np.array(ids[offset : offset + length])


def check_length(net, length: int) -> None:
    """Refuse inputs longer than the positions that a net knows."""
    if not 1 <= length <= net.max_length:
        raise ValueError(f"{net.name}: {length} tokens, legal: 1..{net.max_length}")


def fidelity(out: np.ndarray, reference: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Relative L2 error and cosine of each row of out [N, D] against reference [N, D], [N] each."""
    out, reference = out.astype(np.float64), reference.astype(np.float64)
    size, norm = np.linalg.norm(out, axis=1), np.linalg.norm(reference, axis=1)
    error = np.linalg.norm(out - reference, axis=1) / norm
    return error, (out * reference).sum(axis=1) / np.where(size > 0, size * norm, 1)
