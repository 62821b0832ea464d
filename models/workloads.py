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

A file that holds these may leave out k and v, which the reader then derives. In their place it
keeps a few rows of what the model itself computed, which the derived ones must meet:

    k_rows, v_rows  [Hkv, KEPT_ROWS, d]    rows kept_rows(S) of k and v

The files of whole layers, in `models/data/layers`, are of this kind: every head of one layer.
`list_layers` and `load_layer` read them; the case functions do not see them.

Query head h of the file uses KV head h // (Hq // Hkv) of the file. Scores are
q . k * scale in nats, with scale = 1 / sqrt(d).
"""

from __future__ import annotations

import json
import math
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from . import oracle

DATA_DIR = Path(__file__).resolve().parent / "data"

LAYER_DIR = DATA_DIR / "layers"

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

MEASURES = {"entropy": 4, "eff_keys": 2, "rel_entropy": 4, "top10_mass": 4}
"""Metadata that records sharpness, with the digits after the point that are kept."""

PROJECTION_FIELDS = ("x", "wk", "wv", "bk", "bv")
"""Arrays that a case holds either all or not at all."""

ROW_FIELDS = {"k": "k_rows", "v": "v_rows"}
"""Where a file without k and v keeps rows of the model's own."""

KEPT_ROWS = 8
"""Number of those rows."""

DERIVED_TOLERANCE = 2e-3
"""Largest difference of derived and model-made keys or values, as a share of the largest
magnitude in them: x and the weights, of which sums of D products are formed, are float16."""


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
    """One workload. Arrays are float32 copies of the stored float16 values, k and v of a file
    without them what `derive_kv` makes.

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


def kept_rows(length: int) -> np.ndarray:
    """Row numbers that k_rows and v_rows hold: evenly spaced, first and last row included."""
    return np.arange(KEPT_ROWS) * (length - 1) // (KEPT_ROWS - 1)


def derive_kv(parts: Mapping[str, np.ndarray], theta: float) -> tuple[np.ndarray, np.ndarray]:
    """Keys and values [Hkv, S, d], float32, of the arrays of PROJECTION_FIELDS.

    Sums are formed in float64 and rounded once, so that the order in which a machine's BLAS adds
    shows only where a sum all but meets a rounding boundary.
    """
    x, wk, wv, bk, bv = (parts[name].astype(np.float64) for name in PROJECTION_FIELDS)
    k = rope(x @ wk + bk[:, None], theta)
    v = x @ wv + bv[:, None]
    return k.astype(np.float32), v.astype(np.float32)


def list_cases(data_dir: Path | str = DATA_DIR) -> list[str]:
    """Names of all cases in the folder, sorted; never empty."""
    folder = Path(data_dir)
    names = sorted(path.stem for path in folder.glob("*.npz"))
    if not names:
        raise WorkloadError(f"no cases (*.npz) in {folder}")
    return names


def list_layers(data_dir: Path | str = LAYER_DIR) -> list[str]:
    """Names of all whole layers in the folder, sorted; never empty."""
    return list_cases(data_dir)


def load_layer(name: str, data_dir: Path | str = LAYER_DIR) -> Case:
    """Read and validate one whole layer: a case whose projection is never None.

    name: one of list_layers(). Raises WorkloadError, as load_case does.
    """
    case = load_case(name, data_dir)
    if case.projection is None:
        missing = ", ".join(PROJECTION_FIELDS)
        raise WorkloadError(f"{Path(data_dir) / name}.npz: a layer, but missing {missing}")
    return case


def load_case(name: str, data_dir: Path | str = DATA_DIR) -> Case:
    """Read and validate one case.

    name: one of list_cases(). Raises WorkloadError, which names the file and what is wrong.
    """
    path = Path(data_dir) / f"{name}.npz"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in Path(data_dir).glob("*.npz"))) or "none"
        raise WorkloadError(f"no case {name!r} in {data_dir}; there are: {known}")
    arrays, meta = _read(path)
    _validate(path, arrays, meta)
    parts = {name: arrays[name] for name in PROJECTION_FIELDS if name in arrays}
    if "k" in arrays:
        k, v = arrays["k"].astype(np.float32), arrays["v"].astype(np.float32)
    else:
        k, v = _derive_checked(path, arrays, meta["rope_theta"])
    return Case(
        name=name,
        q=arrays["q"].astype(np.float32),
        k=k,
        v=v,
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
            Sharpness(*values) for values in zip(*(meta[name] for name in MEASURES), strict=True)
        ),
    )


def save_case(
    path: Path,
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    extra: dict[str, np.ndarray] | None = None,
    keep_kv: bool = True,
    **fields,
) -> None:
    """Write one case, adding format, scale and the sharpness measured on the values it gives.

    q [Hq, S, d], k and v [Hkv, S, d] in any float type; fields: model, text, offset, layer,
    heads, kv_heads, rope_theta, causal. extra: the arrays of PROJECTION_FIELDS, and any others,
    which load_case passes over. keep_kv=False leaves k and v out but for the rows of ROW_FIELDS,
    and refuses to if the projection does not make them.
    """
    arrays = {"q": q, "k": k, "v": v, **(extra or {})}
    if not keep_kv:
        rows = kept_rows(q.shape[1])
        for label, kept in ROW_FIELDS.items():
            arrays[kept] = arrays.pop(label)[:, rows]
    with np.errstate(over="ignore"):  # what does not fit becomes infinite, and is refused below
        arrays = {label: np.asarray(array, dtype=np.float16) for label, array in arrays.items()}
    for label, array in arrays.items():
        if not np.isfinite(array).all():
            raise WorkloadError(f"{path}: {label} does not fit float16")
    q = arrays["q"]
    meta = {
        "format": FORMAT,
        **fields,
        "scale": 1.0 / math.sqrt(q.shape[2]),
        **{name: [0.0] * len(q) for name in MEASURES},
    }
    _validate(path, arrays, meta)
    if keep_kv:
        k = arrays["k"]
    else:
        made = _derive_checked(path, arrays, meta["rope_theta"])
        for label, derived, given in (("k", made[0], k), ("v", made[1], v)):
            _compare(path, label, derived, given)
        k = made[0]
    group = q.shape[0] // k.shape[0]
    sharp = [measure_sharpness(q[h], k[h // group], fields["causal"]) for h in range(len(q))]
    for name, digits in MEASURES.items():
        meta[name] = [round(getattr(s, name), digits) for s in sharp]
    heads = {label: arrays.pop(label) for label in ("q", "k", "v") if label in arrays}
    np.savez_compressed(path, **heads, meta=np.array(json.dumps(meta)), **arrays)


def markdown_tables(data_dir: Path | str = DATA_DIR) -> str:
    """Two tables of docs/workloads.md, made from the files: the cases, then their heads.

    `.venv/bin/python -m models.workloads` prints them, for the cases and for the whole layers.
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


def _read(path: Path) -> tuple[dict[str, np.ndarray], dict]:
    """The arrays of the layout that a file holds, and its metadata."""
    arrays = {}
    label = "archive"
    try:
        with np.load(path, allow_pickle=False) as archive:
            label = "meta"
            if label not in archive.files:
                raise WorkloadError(f"{path}: missing {label}")
            meta = json.loads(str(archive[label]))
            for label in ("q", "k", "v", *PROJECTION_FIELDS, *ROW_FIELDS.values()):
                if label in archive.files:
                    arrays[label] = archive[label]
    except WorkloadError:
        raise
    # ValueError is numpy's word for a damaged or pickled array and json's for a damaged text,
    # RuntimeError zipfile's for a header that asks for what it cannot do.
    except (OSError, EOFError, ValueError, RuntimeError, zipfile.BadZipFile, zlib.error) as exc:
        what = str(exc) or type(exc).__name__
        raise WorkloadError(f"{path}: not a readable case: {label}: {what}") from exc
    return arrays, meta


def _validate(path: Path, arrays: dict[str, np.ndarray], meta: dict) -> None:
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

    parts = [name for name in PROJECTION_FIELDS if name in arrays]
    wanted = ["q", "k", "v"]
    if parts:
        wanted += PROJECTION_FIELDS
        if not {"k", "v"} & set(arrays):
            wanted = ["q", *PROJECTION_FIELDS, *ROW_FIELDS.values()]
    missing = [label for label in wanted if label not in arrays]
    if missing:
        fail(f"missing {', '.join(missing)}")
    for label in wanted:
        array = arrays[label]
        if array.dtype != np.float16:
            fail(f"{label} is {array.dtype}, expected float16")
        if 0 in array.shape:
            fail(f"{label} has shape {array.shape}, which holds nothing")
        if not np.isfinite(array).all():
            fail(f"{label} holds infinities or NaN")

    def expect(label: str, *shape: int | str) -> None:
        """Compare a shape; a word stands for any number."""
        got = arrays[label].shape
        agree = [isinstance(w, str) or w == g for w, g in zip(shape, got, strict=False)]
        if len(got) != len(shape) or not all(agree):
            fail(f"{label} has shape {got}, expected [{', '.join(map(str, shape))}]")

    n_kv = len(meta["kv_heads"])
    expect("q", "heads", "S", "d")
    n_q, length, d = arrays["q"].shape
    if not n_kv or n_q % n_kv:
        fail(f"{n_q} query heads are no multiple of {n_kv} kv_heads")
    for label in ("k", "v"):
        if label in wanted:
            expect(label, n_kv, length, d)
        if ROW_FIELDS[label] in wanted:
            expect(ROW_FIELDS[label], n_kv, KEPT_ROWS, d)
    if parts:
        expect("x", length, "D")
        width = arrays["x"].shape[1]
        for label in ("k", "v"):
            expect(f"w{label}", n_kv, width, d)
            expect(f"b{label}", n_kv, d)
    for key in ("heads", *MEASURES):
        if len(meta[key]) != n_q:
            fail(f"{len(meta[key])} entries in {key!r}, {n_q} query heads stored")
    if not math.isclose(meta["scale"], 1.0 / math.sqrt(d), rel_tol=1e-6):
        fail(f"scale {meta['scale']} is not 1 / sqrt({d})")


def _derive_checked(
    path: Path, arrays: dict[str, np.ndarray], theta: float
) -> tuple[np.ndarray, np.ndarray]:
    """derive_kv of a file without k and v, compared with the rows that it keeps."""
    k, v = derive_kv(arrays, theta)
    rows = kept_rows(k.shape[1])
    for label, derived in (("k", k), ("v", v)):
        _compare(path, ROW_FIELDS[label], derived[:, rows], arrays[ROW_FIELDS[label]])
    return k, v


def _compare(path: Path, label: str, derived: np.ndarray, given: np.ndarray) -> None:
    """Raise WorkloadError unless derived keys or values meet the model's own."""
    error = np.abs(derived - given).max()
    rounding = DERIVED_TOLERANCE * np.abs(given).max()
    if not error <= rounding:  # NaN is refused too
        raise WorkloadError(
            f"{path}: x and the weights do not make {label}: off by {error:.2g}, "
            f"of which {rounding:.2g} may be rounding"
        )


if __name__ == "__main__":
    print(markdown_tables(), markdown_tables(LAYER_DIR), sep="\n", end="")
