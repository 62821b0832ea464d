# SPDX-License-Identifier: Apache-2.0
"""all-MiniLM-L6-v2 in integers, with one of four attentions inside, and what that costs it.

    .venv/bin/python -m models.nets.minilm_int [--text novel] [--length 512] [--cache FOLDER]

Weights have 8 bits and a scale for each output, activations that a dense layer reads 8 or 16 bits,
the residual stream and what GELU and LayerNorm read and write 16. All scales are constants found on
calibration paragraphs; larger values saturate. GELU, LayerNorm and the steps between scales are
models.integer's. The embedding leaves as a sum of integers; only its length is taken in float.

Attentions take integers with a scale a head and give such:

    Exact         softmax in float64 over the values of the integers, rounded to 16 bits
    SofaAttention the machine (models.lab.methods.sofa), 16 bits
    IBertSoftmax  I-BERT's integer softmax, 8 bits, one scale a tensor, probabilities of 8 bits;
    IBertWide     with probabilities of 16 bits
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..config import ConfigError
from ..integer import int_gelu, int_normalise, multiplier, norm_unit, requantise, top
from ..lab.measure.subjects import PARAGRAPHS, Case, Embedding
from ..lab.methods.machine import SNAPS
from ..lab.methods.method import Call
from ..lab.methods.sofa import Sofa
from ..lab.peers.ibert import IBert, int_softmax
from ..oracle import dense_attention
from ..plan import octave_of
from ..quantise import Peaks
from .common import check_length, split_heads
from .minilm import PARTS, MiniLM
from .sources import CACHE, TEXTS, NetError

STREAM = 16
"""Bits of the residual stream and of what GELU and LayerNorm read and write."""

WEIGHT = 8
"""Bits of weights."""


# ---- calibration ------------------------------------------------------------------------------


class Watch(MiniLM):
    """A MiniLM that notes the largest magnitude of each channel that its layers read and write.

    peaks  "<name of the layer> in" or "<name> out" -> float32 [channels]
    """

    def __init__(self, net: MiniLM):
        config = {"num_hidden_layers": net.n_layers, "num_attention_heads": net.n_heads,
                  "layer_norm_eps": net.eps}
        super().__init__(parts=(config, net.weights, net.tokenizer))
        self.peaks: dict[str, np.ndarray] = {}

    def _note(self, name: str, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        for side, array in (("in", x), ("out", y)):
            key = f"{name} {side}"
            self.peaks[key] = np.maximum(self.peaks.get(key, 0), np.abs(array).max(axis=0))
        return y

    def linear(self, name: str, x: np.ndarray) -> np.ndarray:
        return self._note(name, x, super().linear(name, x))

    def norm(self, name: str, x: np.ndarray) -> np.ndarray:
        return self._note(name, x, super().norm(name, x))


def calibrate(net: MiniLM, passes: list[np.ndarray]) -> dict[str, np.ndarray]:
    """Peaks of a net with exact attention over passes of tokens, see Watch."""
    watch = Watch(net)
    for tokens in passes:
        watch.forward(tokens)
    return watch.peaks


def scale_of(peak: np.ndarray, bits: int) -> float:
    """Scale with which the largest of peaks becomes the largest integer."""
    return (float(np.max(peak)) or 1.0) / top(bits)


# ---- integer layers ---------------------------------------------------------------------------


class Rescale:
    """Integers of one scale to ``bits`` bits of another; scales are numbers or one a channel."""

    def __init__(self, have: np.ndarray | float, want: np.ndarray | float, bits: int):
        self.m, self.e = multiplier(np.asarray(have) / want)
        self.bits = bits

    def __call__(self, x: np.ndarray) -> np.ndarray:
        return requantise(x, self.m, self.e, self.bits)


class Linear:
    """A dense layer of integers, x W + b and the step to the scale of its output.

    weight [out, into], bias [out], float; scale: of the input, integers of ``bits`` bits; want,
    out_bits: scale (a number or [out]) and bits of the output. ValueError where a sum could leave
    32 bits.
    """

    def __init__(self, weight: np.ndarray, bias: np.ndarray, scale: float, bits: int,
                 want: np.ndarray | float, out_bits: int = STREAM):
        peak = np.abs(weight).max(axis=1).astype(np.float64)
        each = np.where(peak > 0, peak, 1.0) / top(WEIGHT)
        whole = np.rint(weight / each[:, None])
        self.bias = np.rint(bias / (each * scale)).astype(np.int64)
        most = int((np.abs(whole).sum(axis=1) * top(bits) + np.abs(self.bias)).max())
        if most >= 1 << 31:
            raise ValueError(f"sums of a dense layer reach {most}, legal: below 2**31")
        # Integers below 2**53, held in float64 for the sake of the matrix product: exact.
        self.weight = np.ascontiguousarray(whole.T)
        self.rescale = Rescale(each * scale, want, out_bits)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        return self.rescale((x.astype(np.float64) @ self.weight).astype(np.int64) + self.bias)


class Norm:
    """LayerNorm of STREAM-bit integers of any scale to STREAM bits of scale ``want``."""

    def __init__(self, gain: np.ndarray, bias: np.ndarray, want: float):
        self.m, self.e = multiplier(gain * norm_unit(len(gain)) / want)
        self.bias = np.rint(bias / want).astype(np.int64)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        return saturate(requantise(int_normalise(x), self.m, self.e) + self.bias)


def saturate(x: np.ndarray) -> np.ndarray:
    """Cut to STREAM bits."""
    return np.clip(x, -top(STREAM), top(STREAM))


# ---- attentions -------------------------------------------------------------------------------


class Exact:
    """Exact attention, in float64 inside. peaks: one Peaks a layer; d: head dimension."""

    bits = 16

    def __init__(self, peaks: list[Peaks], d: int):
        self.scales = [self.layer_scales(each, d) for each in peaks]

    def layer_scales(self, peaks: Peaks, d: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Scales of Q, K and V of each head, [heads] each."""
        q, k, v = (np.array([scale_of(p, self.bits) for p in getattr(peaks, n)]) for n in "qkv")
        return q, k, v

    def out_scale(self, layer: int) -> np.ndarray:
        """Scale of each head of the output, [heads]."""
        return self.scales[layer][2]

    def call(self, layer: int, q: np.ndarray, k: np.ndarray, v: np.ndarray) -> Call:
        """The values of integers [heads, S, d], float32: off by less than 2**-8 of a unit."""
        arrays = ((x * s[:, None, None]).astype(np.float32)
                  for x, s in zip((q, k, v), self.scales[layer], strict=True))
        return Call(*arrays, layer=layer, layers=len(self.scales))

    def values(self, call: Call) -> np.ndarray:
        """Attended values, [heads, S, d]."""
        return np.stack([dense_attention(*head) for head in zip(call.q, call.k, call.v,
                                                                strict=True)])

    def __call__(self, layer: int, q: np.ndarray, k: np.ndarray, v: np.ndarray) -> np.ndarray:
        """Integers [heads, S, d] of out_scale, from those of scales[layer]."""
        out = self.values(self.call(layer, q, k, v))
        return np.rint(out / self.out_scale(layer)[:, None, None]).astype(np.int64)


class SofaAttention(Exact):
    """The machine, bit-exact. Its Method takes and gives float32 values of integers; with
    these scales and peaks its quantisation finds the same integers again, so the boundary changes
    nothing. Q has the scale that models.plan gives it for its octave."""

    def __init__(self, peaks: list[Peaks], d: int, method: Sofa | None = None):
        self.method = replace(method or Sofa(), peaks=dict(enumerate(peaks)))
        super().__init__(peaks, d)

    def layer_scales(self, peaks: Peaks, d: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        _, k, v = super().layer_scales(peaks, d)
        cfg, snap = self.method.machine(), SNAPS[self.method.snap]
        wider = [octave_of(pq, scale_of(pk, 8), d, snap, cfg)[1]
                 for pq, pk in zip(peaks.q, peaks.k, strict=True)]
        return np.array([scale_of(peak, self.bits) for peak in wider]), k, v

    def values(self, call: Call) -> np.ndarray:
        return self.method.attend(call).out


class IBertSoftmax(Exact):
    """I-BERT: Q, K, V of 8 bits with one scale a tensor, and probabilities of 8 bits."""

    bits = 8
    out_bits = IBert.out_bits

    def layer_scales(self, peaks: Peaks, d: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        q, k, v = (np.full(len(peaks.q), scale_of(getattr(peaks, n), self.bits)) for n in "qkv")
        return q, k, v

    def out_scale(self, layer: int) -> np.ndarray:
        return self.scales[layer][2] / 2.0**self.out_bits

    def __call__(self, layer: int, q: np.ndarray, k: np.ndarray, v: np.ndarray) -> np.ndarray:
        sq, sk, _ = self.scales[layer]
        scale = float(sq[0] * sk[0]) / math.sqrt(q.shape[-1])
        out = []
        for one, keys, values in zip(*(x.astype(np.float64) for x in (q, k, v)), strict=True):
            score = (one @ keys.T).astype(np.int64)
            p = int_softmax(score, np.ones(score.shape, bool), scale, self.out_bits)
            out.append((p @ values).astype(np.int64))
        return np.stack(out)


class IBertWide(IBertSoftmax):
    """I-BERT with probabilities of 16 bits, which lose 256 times less to its floor."""

    out_bits = 16


ATTENTIONS = {"exact": Exact, "sofa": SofaAttention, "ibert": IBertSoftmax, "ibert p16": IBertWide}
"""Name in the table -> class."""


# ---- the net ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Layer:
    """One encoder layer; see IntMiniLM.forward."""

    narrow: Rescale
    parts: list[Linear]
    mixed: Rescale
    mix: Linear
    carry: Rescale
    norm: Norm
    narrow_mid: Rescale
    up: Linear
    up_scale: float
    activated: Rescale
    down: Linear
    carry_mid: Rescale
    norm_out: Norm


class IntMiniLM:
    """MiniLM in integers, made of the weights of a float one.

    peaks      of ``calibrate``
    attention  a class of ATTENTIONS, or what makes one of peaks and d
    bits       of the activations that dense layers read, 8 or 16
    """

    def __init__(self, net: MiniLM, peaks: dict[str, np.ndarray], attention: Callable[..., Exact],
                 bits: int = 16):
        if bits not in (8, 16):
            raise ValueError(f"bits = {bits}, legal: 8, 16")
        self.net, self.peaks, self.bits = net, peaks, bits
        w = net.weights
        heads = net.n_heads
        by_head = [
            Peaks(*(peaks[f"encoder.layer.{number}.attention.self.{long} out"]
                    .reshape(heads, -1).max(axis=1) for _, long in PARTS))
            for number in range(net.n_layers)
        ]
        d = len(w["embeddings.LayerNorm.weight"]) // heads
        self.attention = attention(by_head, d)
        names = ("word_embeddings", "position_embeddings", "token_type_embeddings")
        tables = [w[f"embeddings.{name}.weight"] for name in names]
        tables[2] = tables[2][:1]
        want = self._scale("embeddings.LayerNorm in")
        self.tables = []
        for table in tables:
            scale = scale_of(np.abs(table), WEIGHT)
            whole = np.rint(table / scale).astype(np.int8)
            self.tables.append((whole, Rescale(scale, want, STREAM)))
        self.norm = self._norm("embeddings.LayerNorm")
        before = "embeddings.LayerNorm"
        self.layers = []
        for number in range(net.n_layers):
            self.layers.append(self._layer(number, before, d))
            before = f"encoder.layer.{number}.output.LayerNorm"
        self.scale = self._scale(f"{before} out")

    def _scale(self, key: str, bits: int = STREAM) -> float:
        return scale_of(self.peaks[key], bits)

    def _norm(self, name: str) -> Norm:
        w = self.net.weights
        return Norm(w[f"{name}.weight"], w[f"{name}.bias"], self._scale(f"{name} out"))

    def _linear(self, name: str, want: np.ndarray | float, out_bits: int = STREAM) -> Linear:
        w = self.net.weights
        return Linear(w[f"{name}.weight"], w[f"{name}.bias"], self._scale(f"{name} in", self.bits),
                      self.bits, want, out_bits)

    def _layer(self, number: int, before: str, d: int) -> Layer:
        """before: name of the LayerNorm whose output the layer reads."""
        base = f"encoder.layer.{number}"
        own, norm, last = f"{base}.attention.self", f"{base}.attention.output", f"{base}.output"
        up = f"{base}.intermediate.dense"
        stream = self._scale(f"{before} out")
        mid = self._scale(f"{norm}.LayerNorm out")
        sum_in, sum_out = (self._scale(f"{name}.LayerNorm in") for name in (norm, last))
        up_scale = self._scale(f"{up} out")
        activated = self._scale(f"{last}.dense in", self.bits)
        _, after_gelu = int_gelu(np.zeros(1), up_scale)
        return Layer(
            narrow=Rescale(stream, self._scale(f"{own}.query in", self.bits), self.bits),
            parts=[self._linear(f"{own}.{long}", np.repeat(scale, d), self.attention.bits)
                   for (_, long), scale in zip(PARTS, self.attention.scales[number], strict=True)],
            mixed=Rescale(np.repeat(self.attention.out_scale(number), d),
                          self._scale(f"{norm}.dense in", self.bits), self.bits),
            mix=self._linear(f"{norm}.dense", sum_in),
            carry=Rescale(stream, sum_in, STREAM),
            norm=self._norm(f"{norm}.LayerNorm"),
            narrow_mid=Rescale(mid, self._scale(f"{up} in", self.bits), self.bits),
            up=self._linear(up, up_scale),
            up_scale=up_scale,
            activated=Rescale(after_gelu, activated, self.bits),
            down=self._linear(f"{last}.dense", sum_out),
            carry_mid=Rescale(mid, sum_out, STREAM),
            norm_out=self._norm(f"{last}.LayerNorm"),
        )

    def forward(self, tokens: np.ndarray) -> np.ndarray:
        """Hidden states of the last layer, int64 [S, D] of ``scale``, of tokens [S]."""
        check_length(self.net, len(tokens))
        rows = (tokens, slice(len(tokens)), slice(1))
        h = sum(rescale(table[row]) for (table, rescale), row in zip(self.tables, rows,
                                                                     strict=True))
        h = self.norm(saturate(h))
        heads = self.net.n_heads
        for number, layer in enumerate(self.layers):
            x = layer.narrow(h)
            out = self.attention(number, *(split_heads(part(x), heads) for part in layer.parts))
            mixed = layer.mixed(out.transpose(1, 0, 2).reshape(len(h), -1))
            h = layer.norm(saturate(layer.mix(mixed) + layer.carry(h)))
            x, _ = int_gelu(layer.up(layer.narrow_mid(h)), layer.up_scale)
            x = layer.down(layer.activated(x))
            h = layer.norm_out(saturate(x + layer.carry_mid(h)))
        return h

    def embed(self, tokens: np.ndarray) -> np.ndarray:
        """Unit vector [D] of tokens [S], float32."""
        total = self.forward(tokens).sum(axis=0).astype(np.float64)
        return (total / (np.linalg.norm(total) or 1.0)).astype(np.float32)


# ---- the table --------------------------------------------------------------------------------


def measure(subject: Embedding, case: Case) -> Iterator[tuple[str, dict]]:
    """(row name, dict of Embedding.compare) of every way to run the net."""
    inputs = subject.inputs(case)
    float_out = subject.run(inputs, None)
    yield "float, exact", subject.compare(float_out, float_out)
    methods = {"sofa": Sofa(), "ibert": IBert(), "ibert p16": IBert(IBertWide.out_bits)}
    for name, method in methods.items():
        got = subject.run(inputs, lambda method=method: lambda call: method.attend(call).out)
        yield f"float, {name}", subject.compare(float_out, got)
    peaks = calibrate(subject.net, subject.calibration(case))
    for bits in (16, 8):
        for name, attention in ATTENTIONS.items():
            net = IntMiniLM(subject.net, peaks, attention, bits)
            got = {"vectors": np.stack([net.embed(tokens) for tokens in inputs])}
            yield f"{bits}-bit, {name}", subject.compare(float_out, got)


def main(argv: list[str] | None = None) -> int:
    """Print the table; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--text", choices=TEXTS, default="novel")
    parser.add_argument("--length", type=int, default=512, help="tokens of a paragraph, 3..512")
    parser.add_argument("--cache", type=Path, default=CACHE, help="folder of downloaded packages")
    args = parser.parse_args(argv)
    if not 3 <= args.length <= MiniLM.max_length:
        parser.error(f"--length {args.length}: legal 3..{MiniLM.max_length}")
    case = Case("minilm", args.text, args.length)
    print(f"{case}: {PARAGRAPHS} paragraphs, compared with float and exact attention")
    print(f"{'layers, attention':20s} {'1 - cosine':>22s} {'largest':>9s} {'same neighbour':>15s}")
    try:
        for name, result in measure(Embedding(args.cache), case):
            samples = np.array(result["samples"])
            error = samples.std(ddof=1) / math.sqrt(len(samples))
            print(f"{name:20s} {result['loss']:11.2e} +- {error:7.1e} {samples.max():9.2e} "
                  f"{result['extra']['neighbour']:15.3f}", flush=True)
    except (NetError, ConfigError, OSError) as exc:
        print(f"models.nets.minilm_int: {exc}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
