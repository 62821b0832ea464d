# SPDX-License-Identifier: Apache-2.0
"""Real attention heads as test cases: Q, K, V captured from trained models on real text.

The cases lie in `models/data/*.npz`; `scripts/capture.py sample` makes them and
`docs/workloads.md` lists them. Only numpy is needed to read them.

One case is one layer of one model on one stretch of text, with some of its heads:

    q  float16 [Hq, S, d]    queries, after the rotary embedding where the model has one
    k  float16 [Hkv, S, d]   keys, likewise
    v  float16 [Hkv, S, d]   values
    meta  one JSON text      see META_FIELDS

and, in some cases, what the keys and values were made of (all float16):

    x   [S, D]               input of the projections, after the layer's norm
    wk, wv  [Hkv, D, d]      projection weights; bk, bv [Hkv, d] their biases

so that v[h] = x @ wv[h] + bv[h] and k[h] = rope(x @ wk[h] + bk[h], rope_theta).

Query head h of the file uses KV head h // (Hq // Hkv) of the file. Scores are
q . k * scale in nats, with scale = 1 / sqrt(d).
"""

from __future__ import annotations

import json
import math
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from models import oracle

DATA_DIR = Path(__file__).resolve().parent / "data"

FORMAT = 1
"""Version of the file layout; a reader refuses any other."""

MIN_VISIBLE = 32
"""Rows that see fewer keys than this are left out of the sharpness measures: a tenth of a
handful of keys, or the entropy over it, says nothing about the head."""

META_FIELDS = {
    "format": int,  # FORMAT
    "model": str,  # short name of the model: smollm2 or minilm
    "text": str,  # short name of the text: novel, speech, code, or a file name
    "offset": int,  # first token of the stretch, counted in the tokenised text
    "layer": int,  # layer number in the model, from 0
    "heads": list,  # query head numbers in the layer, in the order of q
    "kv_heads": list,  # KV head numbers in the layer, in the order of k and v
    "rope_theta": float,  # base of the rotary embedding, interleaved pairs; 0: there is none
    "causal": bool,  # True: query i sees keys 0..i; False: every key
    "scale": float,  # 1 / sqrt(d)
    "entropy": list,  # per query head, nats: mean row entropy of the attention
    "eff_keys": list,  # per query head: exp(entropy)
    "rel_entropy": list,  # per query head, 0..1: mean of row entropy / log(visible keys)
    "top10_mass": list,  # per query head, 0..1: mean mass on the best tenth of visible keys
}
"""Names and types of the metadata of a case."""


PROJECTION_FIELDS = ("x", "wk", "wv", "bk", "bv")
"""Arrays that a case holds either all or not at all."""


class WorkloadError(ValueError):
    """A case that does not exist, or a file that is not a valid case."""


@dataclass(frozen=True)
class Sharpness:
    """How concentrated the attention of one head is, as means over its rows.

    entropy      nats, mean over rows of -sum(p log p)
    eff_keys     exp(entropy): the number of equally weighted keys with that entropy
    rel_entropy  mean over rows of entropy / log(visible keys): 1 is flat, 0 one-hot
    top10_mass   mean share of the probability on the ceil(10 %) largest of the visible keys
    """

    entropy: float
    eff_keys: float
    rel_entropy: float
    top10_mass: float


@dataclass(frozen=True)
class Projection:
    """What the keys and values of a case were made of, float32.

    x [S, D]; wk and wv [Hkv, D, d]; bk and bv [Hkv, d] (zero where the model has no biases).
    """

    x: np.ndarray
    wk: np.ndarray
    wv: np.ndarray
    bk: np.ndarray
    bv: np.ndarray


@dataclass(frozen=True, eq=False)
class Case:
    """One workload. Arrays are float32 copies of the stored float16 values.

    q [Hq, S, d], k and v [Hkv, S, d]; heads and kv_heads are the numbers the heads have in the
    layer of the model, everything else indexes heads by their place in the arrays. projection is
    None where the case does not hold x and the weights; rope_theta is 0 where there is no RoPE.
    """

    name: str
    q: np.ndarray
    k: np.ndarray
    v: np.ndarray
    causal: bool
    model: str
    layer: int
    heads: tuple[int, ...]
    kv_heads: tuple[int, ...]
    text: str
    offset: int
    rope_theta: float
    sharpness: tuple[Sharpness, ...]
    projection: Projection | None = None

    @property
    def n_heads(self) -> int:
        """Number of query heads, Hq."""
        return self.q.shape[0]

    @property
    def length(self) -> int:
        """Number of tokens, S: both the queries and the keys."""
        return self.q.shape[1]

    @property
    def d(self) -> int:
        """Head dimension."""
        return self.q.shape[2]

    @property
    def group(self) -> int:
        """Query heads that share one KV head (1: no grouped-query attention)."""
        return self.q.shape[0] // self.k.shape[0]

    @property
    def scale(self) -> float:
        """Factor from q . k to nats."""
        return 1.0 / math.sqrt(self.d)

    def head(self, h: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Query head h (its place in q) with its KV head: q, k, v, each [S, d]."""
        if not 0 <= h < self.n_heads:
            raise IndexError(f"{self.name}: query head {h} outside 0..{self.n_heads - 1}")
        kv = h // self.group
        return self.q[h], self.k[kv], self.v[kv]


def rope(x: np.ndarray, theta: float, pairs: str = "interleaved") -> np.ndarray:
    """Rotary position embedding (Su et al., arXiv 2104.09864) of x [..., S, d], position = row.

    theta: base of the frequencies; 0 returns x as it is. pairs: "interleaved" rotates elements
    (2i, 2i+1), "half" rotates (i, i + d/2); which one belongs to a model depends on the order
    its weights are stored in.
    """
    if not theta:
        return x
    length, d = x.shape[-2:]
    angle = np.outer(np.arange(length), theta ** (-np.arange(0, d, 2) / d))
    cos, sin = np.cos(angle).astype(x.dtype), np.sin(angle).astype(x.dtype)
    if pairs == "interleaved":
        first, second = np.s_[..., 0::2], np.s_[..., 1::2]
    elif pairs == "half":
        first, second = np.s_[..., : d // 2], np.s_[..., d // 2 :]
    else:
        raise ValueError(f"pairs {pairs!r}: interleaved or half")
    out = np.empty_like(x)
    out[first] = x[first] * cos - x[second] * sin
    out[second] = x[first] * sin + x[second] * cos
    return out


def attention_probs(q: np.ndarray, k: np.ndarray, causal: bool) -> np.ndarray:
    """Softmax of q . k / sqrt(d) over the visible keys: q [S, d], k [S, d] -> float64 [S, S].

    Masked pairs come out as exactly 0.
    """
    mask = oracle.causal_mask(len(q), len(k), causal)
    return oracle.softmax(oracle.logits(q, k), mask)


def measure_sharpness(q: np.ndarray, k: np.ndarray, causal: bool) -> Sharpness:
    """Sharpness of one head, q and k [S, d], over the rows with at least MIN_VISIBLE keys."""
    length = q.shape[0]
    visible = np.arange(1, length + 1) if causal else np.full(length, length)
    rows = visible >= MIN_VISIBLE
    if not rows.any():
        raise WorkloadError(f"sharpness needs at least {MIN_VISIBLE} tokens, got {length}")
    probs = attention_probs(q, k, causal)[rows]
    visible = visible[rows]
    entropy = -(probs * np.log(np.where(probs > 0, probs, 1.0))).sum(axis=1)
    # Masked pairs are 0 and sort last, so the best tenth never touches them.
    cumulative = np.cumsum(-np.sort(-probs, axis=1), axis=1)
    best = np.ceil(0.1 * visible).astype(int)
    top10 = cumulative[np.arange(len(best)), best - 1]
    return Sharpness(
        entropy=float(entropy.mean()),
        eff_keys=float(np.exp(entropy.mean())),
        rel_entropy=float((entropy / np.log(visible)).mean()),
        top10_mass=float(top10.mean()),
    )


def list_cases(data_dir: Path | str = DATA_DIR) -> list[str]:
    """Names of all cases in the folder, sorted; never empty."""
    folder = Path(data_dir)
    names = sorted(path.stem for path in folder.glob("*.npz"))
    if not names:
        raise WorkloadError(f"no cases (*.npz) in {folder}")
    return names


def load_case(name: str, data_dir: Path | str = DATA_DIR) -> Case:
    """Read and validate one case.

    name: one of list_cases(). Raises WorkloadError, which names the file and what is wrong.
    """
    path = Path(data_dir) / f"{name}.npz"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in Path(data_dir).glob("*.npz"))) or "none"
        raise WorkloadError(f"no case {name!r} in {data_dir}; there are: {known}")
    try:
        with np.load(path, allow_pickle=False) as archive:
            missing = {"q", "k", "v", "meta"} - set(archive.files)
            if missing:
                raise WorkloadError(f"{path}: missing {', '.join(sorted(missing))}")
            q, k, v = archive["q"], archive["k"], archive["v"]
            meta = json.loads(str(archive["meta"]))
            parts = {name: archive[name] for name in PROJECTION_FIELDS if name in archive.files}
    except (OSError, EOFError, zipfile.BadZipFile, json.JSONDecodeError) as exc:
        raise WorkloadError(f"{path}: not a readable case: {exc}") from exc
    except WorkloadError:
        raise
    except ValueError as exc:  # numpy's word for a damaged or pickled array
        raise WorkloadError(f"{path}: not a readable case: {exc}") from exc
    _validate(path, q, k, v, meta, parts)
    return Case(
        name=name,
        q=q.astype(np.float32),
        k=k.astype(np.float32),
        v=v.astype(np.float32),
        causal=meta["causal"],
        model=meta["model"],
        layer=meta["layer"],
        heads=tuple(meta["heads"]),
        kv_heads=tuple(meta["kv_heads"]),
        text=meta["text"],
        offset=meta["offset"],
        rope_theta=meta["rope_theta"],
        projection=(
            Projection(**{name: array.astype(np.float32) for name, array in parts.items()})
            if parts
            else None
        ),
        sharpness=tuple(
            Sharpness(*values)
            for values in zip(
                meta["entropy"],
                meta["eff_keys"],
                meta["rel_entropy"],
                meta["top10_mass"],
                strict=True,
            )
        ),
    )


def save_case(
    path: Path,
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    extra: dict[str, np.ndarray] | None = None,
    **fields,
) -> None:
    """Write one case, adding format, scale and the sharpness measured on the stored values.

    q [Hq, S, d], k and v [Hkv, S, d] in any float type; fields: model, text, offset, layer,
    heads, kv_heads, rope_theta, causal. extra: the arrays of PROJECTION_FIELDS, and any others,
    which load_case passes over.
    """
    with np.errstate(over="ignore"):  # what does not fit becomes infinite, and is refused below
        q, k, v = (np.asarray(array, dtype=np.float16) for array in (q, k, v))
        extra = {name: np.asarray(a, dtype=np.float16) for name, a in (extra or {}).items()}
    for label, array in (("q", q), ("k", k), ("v", v), *extra.items()):
        if not np.isfinite(array).all():
            raise WorkloadError(f"{path}: {label} does not fit float16")
    group = q.shape[0] // k.shape[0]
    sharp = [measure_sharpness(q[h], k[h // group], fields["causal"]) for h in range(len(q))]
    meta = {
        "format": FORMAT,
        **fields,
        "scale": 1.0 / math.sqrt(q.shape[2]),
        "entropy": [round(s.entropy, 4) for s in sharp],
        "eff_keys": [round(s.eff_keys, 2) for s in sharp],
        "rel_entropy": [round(s.rel_entropy, 4) for s in sharp],
        "top10_mass": [round(s.top10_mass, 4) for s in sharp],
    }
    parts = {name: extra[name] for name in PROJECTION_FIELDS if name in extra}
    _validate(path, q, k, v, meta, parts)
    np.savez_compressed(path, q=q, k=k, v=v, meta=np.array(json.dumps(meta)), **extra)


def markdown_tables(data_dir: Path | str = DATA_DIR) -> str:
    """The two tables of docs/workloads.md, made from the files: the cases, then their heads.

    `python -m models.workloads` prints them.
    """

    def spread(values: list[float], digits: int) -> str:
        low, high = f"{min(values):.{digits}f}", f"{max(values):.{digits}f}"
        return low if low == high else f"{low} to {high}"

    cases = [load_case(name, data_dir) for name in list_cases(data_dir)]
    lines = [
        "| case | S | d | query heads | KV heads | causal | x, weights | entropy, nats "
        "| effective keys | mass in top 10 % |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for case in cases:
        sharp = case.sharpness
        lines.append(
            f"| {case.name} | {case.length} | {case.d} | {case.n_heads} | {len(case.kv_heads)} "
            f"| {'yes' if case.causal else 'no'} | {'yes' if case.projection else 'no'} "
            f"| {spread([s.entropy for s in sharp], 2)} "
            f"| {spread([s.eff_keys for s in sharp], 1)} "
            f"| {spread([s.top10_mass for s in sharp], 2)} |"
        )
    lines += [
        "",
        "| case | layer | query head | KV head | entropy, nats | effective keys "
        "| relative entropy | mass in top 10 % |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for case in cases:
        for h, sharp in enumerate(case.sharpness):
            lines.append(
                f"| {case.name} | {case.layer} | {case.heads[h]} "
                f"| {case.kv_heads[h // case.group]} | {sharp.entropy:.2f} "
                f"| {sharp.eff_keys:.1f} | {sharp.rel_entropy:.2f} | {sharp.top10_mass:.2f} |"
            )
    return "\n".join(lines) + "\n"


def _validate(
    path: Path,
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    meta: dict,
    parts: dict[str, np.ndarray],
) -> None:
    """Raise WorkloadError unless arrays and metadata agree with the layout of this module."""

    def fail(what: str) -> None:
        raise WorkloadError(f"{path}: {what}")

    if not isinstance(meta, dict):
        fail("meta is not a JSON object")
    for key, kind in META_FIELDS.items():
        if key not in meta:
            fail(f"meta lacks {key!r}")
        # bool is a subclass of int, so an exact comparison is wanted here.
        if type(meta[key]) is not kind:
            fail(f"meta {key!r} is {type(meta[key]).__name__}, expected {kind.__name__}")
    if meta["format"] != FORMAT:
        fail(f"format {meta['format']}, this reader knows {FORMAT}")
    for label, array in (("q", q), ("k", k), ("v", v)):
        if array.dtype != np.float16:
            fail(f"{label} is {array.dtype}, expected float16")
        if array.ndim != 3 or 0 in array.shape:
            fail(f"{label} has shape {array.shape}, expected [heads, S, d]")
        if not np.isfinite(array).all():
            fail(f"{label} holds infinities or NaN")
    if k.shape != v.shape:
        fail(f"k {k.shape} and v {v.shape} differ in shape")
    if q.shape[1:] != k.shape[1:]:
        fail(f"q {q.shape} and k {k.shape} differ in S or d")
    if q.shape[0] % k.shape[0]:
        fail(f"{q.shape[0]} query heads are no multiple of {k.shape[0]} KV heads")
    if len(meta["kv_heads"]) != k.shape[0]:
        fail(f"{len(meta['kv_heads'])} kv_heads named, {k.shape[0]} stored")
    for key in ("heads", "entropy", "eff_keys", "rel_entropy", "top10_mass"):
        if len(meta[key]) != q.shape[0]:
            fail(f"{len(meta[key])} entries in {key!r}, {q.shape[0]} query heads stored")
    if parts:
        _validate_projection(fail, k, parts)
    if not math.isclose(meta["scale"], 1.0 / math.sqrt(q.shape[2]), rel_tol=1e-6):
        fail(f"scale {meta['scale']} is not 1 / sqrt({q.shape[2]})")


def _validate_projection(
    fail: Callable[[str], None], k: np.ndarray, parts: dict[str, np.ndarray]
) -> None:
    """Call fail unless the arrays of PROJECTION_FIELDS are complete and fit the keys."""
    missing = [name for name in PROJECTION_FIELDS if name not in parts]
    if missing:
        fail(f"holds {', '.join(parts)} but not {', '.join(missing)}")
    n_kv, length, d = k.shape
    if parts["x"].ndim != 2 or parts["x"].shape[0] != length:
        fail(f"x has shape {parts['x'].shape}, expected [{length}, D]")
    width = parts["x"].shape[1]
    for name, shape in (
        ("wk", (n_kv, width, d)),
        ("wv", (n_kv, width, d)),
        ("bk", (n_kv, d)),
        ("bv", (n_kv, d)),
    ):
        if parts[name].shape != shape:
            fail(f"{name} has shape {parts[name].shape}, expected {shape}")
    for name, array in parts.items():
        if array.dtype != np.float16 or not np.isfinite(array).all():
            fail(f"{name} is not finite float16")


if __name__ == "__main__":
    print(markdown_tables(), end="")
