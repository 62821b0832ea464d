# SPDX-License-Identifier: Apache-2.0
"""The committed whole layers: complete, in budget, and with the keys and values of the model."""

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from models import workloads
from scripts import capture

NAMES = workloads.list_layers()
DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "workloads.md"

SHAPES = {  # query heads, KV heads, d, D, causal, base of the rotary embedding
    "smollm2": (9, 3, 64, 576, True, 1e5),
    "minilm": (12, 12, 32, 384, False, 0.0),
}

FLOAT16_STEP = 2.0**-11
"""Largest relative rounding error of a normal float16."""


@pytest.fixture(params=NAMES)
def layer(request):
    """Every committed layer in turn."""
    return workloads.load_layer(request.param)


def stored(name, folder=workloads.LAYER_DIR):
    """All arrays of a file as they lie in it."""
    with np.load(folder / f"{name}.npz", allow_pickle=False) as archive:
        return {label: archive[label] for label in archive.files}


@pytest.fixture
def toy(tmp_path):
    """Folder with one small valid layer, toy.npz, without k and v."""
    save_toy(tmp_path)
    return tmp_path


def save_toy(folder, v_shift=0.0, drop=None):
    """Write a small layer; v_shift spoils one value of one KV head, drop leaves an array out."""
    rng = np.random.default_rng(4)
    extra = {
        "x": rng.standard_normal((40, 12)),
        "wk": rng.standard_normal((2, 12, 8)),
        "wv": rng.standard_normal((2, 12, 8)),
        "bk": rng.standard_normal((2, 8)),
        "bv": rng.standard_normal((2, 8)),
    }
    k, v = workloads.derive_kv(extra, 1e4)
    v[1, 20, 3] += v_shift  # row 20 is none of kept_rows(40)
    workloads.save_case(
        folder / "toy.npz",
        rng.standard_normal((6, 40, 8)),
        k,
        v,
        extra={name: array for name, array in extra.items() if name != drop},
        keep_kv=False,
        model="toy",
        text="noise",
        offset=0,
        layer=3,
        heads=list(range(6)),
        kv_heads=[0, 1],
        rope_theta=1e4,
        causal=True,
    )


def test_one_layer_of_each_model():
    assert sorted(workloads.load_layer(name).model for name in NAMES) == sorted(SHAPES)
    texts = {workloads.load_layer(name).model: workloads.load_layer(name).text for name in NAMES}
    assert texts == {"smollm2": "novel", "minilm": "speech"}


def test_every_head_is_there(layer):
    n_q, n_kv, d, width, causal, theta = SHAPES[layer.model]
    assert layer.heads == tuple(range(n_q)) and layer.kv_heads == tuple(range(n_kv))
    assert layer.q.shape == (n_q, 512, d)
    assert layer.k.shape == layer.v.shape == (n_kv, 512, d)
    assert layer.causal is causal
    assert layer.rope_theta == theta
    made = layer.projection
    assert made.x.shape == (512, width)
    assert made.wk.shape == made.wv.shape == (n_kv, width, d)
    assert made.bk.shape == made.bv.shape == (n_kv, d)
    arrays = (layer.q, layer.k, layer.v, made.x, made.wk, made.wv, made.bk, made.bv)
    assert {array.dtype for array in arrays} == {np.dtype(np.float32)}
    assert made.bk.any() == made.bv.any() == (layer.model == "minilm")
    for array in (layer.q, layer.k, layer.v, made.wk, made.wv):
        assert (array.std(axis=(1, 2)) > 1e-3).all()
        assert len(np.unique(array.reshape(len(array), -1), axis=0)) == len(array)
    assert layer.layer > 0
    assert layer.name == f"{layer.model}_{layer.text}_s0512_l{layer.layer:02d}"


def test_files():
    sizes = [(workloads.LAYER_DIR / f"{name}.npz").stat().st_size for name in NAMES]
    assert sum(sizes) <= 3_200_000
    for name in NAMES:
        content = stored(name)
        assert not {"k", "v"} & set(content)
        assert {content[label].dtype for label in set(content) - {"meta"}} == {np.dtype(np.float16)}


def test_layers_are_no_cases():
    assert not set(NAMES) & set(workloads.list_cases())
    for name in NAMES:
        with pytest.raises(workloads.WorkloadError, match=f"no case '{name}'"):
            workloads.load_case(name)


def test_document_shows_the_tables():
    document = DOCUMENT.read_text(encoding="utf-8")
    for table in workloads.markdown_tables(workloads.LAYER_DIR).split("\n\n"):
        assert table.strip() in document


def test_keys_and_values_are_those_of_the_model(layer):
    content = stored(layer.name)
    rows = workloads.kept_rows(layer.length)
    assert rows[0] == 0 and rows[-1] == layer.length - 1 and len(np.unique(rows)) == len(rows)
    for derived, label in ((layer.k, "k_rows"), (layer.v, "v_rows")):
        model = content[label].astype(np.float64)
        assert model.shape == (len(layer.kv_heads), len(rows), layer.d)
        error = derived[:, rows] - model
        assert np.abs(error).max() <= 2 * FLOAT16_STEP * np.abs(model).max()
        for head in range(len(model)):
            assert error[head].std() <= FLOAT16_STEP * model[head].std()


def test_keys_and_values_by_the_formula(layer):
    made = layer.projection
    position = np.arange(layer.length)
    for kv in range(len(layer.kv_heads)):
        v = made.x @ made.wv[kv] + made.bv[kv]
        np.testing.assert_allclose(layer.v[kv], v, atol=1e-5 * np.abs(v).max())
        k = made.x @ made.wk[kv] + made.bk[kv]
        if layer.rope_theta:
            # A pair of neighbours is a complex number, turned by its frequency per position.
            pairs = k[:, 0::2] + 1j * k[:, 1::2]
            speed = layer.rope_theta ** (-np.arange(layer.d // 2) * 2 / layer.d)
            pairs = pairs * np.exp(1j * np.outer(position, speed))
            k = np.stack([pairs.real, pairs.imag], axis=2).reshape(k.shape)
        np.testing.assert_allclose(layer.k[kv], k, atol=1e-5 * np.abs(k).max())


def test_sharpness_recomputes(layer):
    for h, recorded in enumerate(layer.sharpness):
        q, k, _ = layer.head(h)
        measured = workloads.measure_sharpness(q, k, layer.causal)
        assert measured.rel_entropy == pytest.approx(recorded.rel_entropy, abs=1e-4)
        assert measured.top10_mass == pytest.approx(recorded.top10_mass, abs=1e-4)


def test_rule_takes_the_median_of_the_layers_after_the_first():
    flatness = np.array([0.05, 0.9, 0.3, 0.5, 0.7, 0.1])
    rel = flatness[:, None] + np.array([-0.02, 0.02])
    assert capture.choose_layer(rel) == 3
    assert capture.choose_layer(rel[::-1]) == 2
    assert {(pick.model, pick.text, pick.length) for pick in capture.LAYER_SAMPLE} == {
        (layer.model, layer.text, layer.length) for layer in map(workloads.load_layer, NAMES)
    }


def test_save_and_load_without_k_and_v(toy):
    content = stored("toy", toy)
    layer = workloads.load_layer("toy", toy)
    parts = {name: content[name] for name in workloads.PROJECTION_FIELDS}
    k, v = workloads.derive_kv(parts, 1e4)
    assert np.array_equal(layer.k, k) and np.array_equal(layer.v, v)
    for name, array in parts.items():
        assert np.array_equal(getattr(layer.projection, name), array)
    for label, array in (("k_rows", k), ("v_rows", v)):
        kept = array[:, workloads.kept_rows(40)]
        assert np.abs(content[label] - kept).max() < 5e-3 * np.abs(kept).max()
    measured = workloads.measure_sharpness(layer.q[4], k[1], True)
    assert layer.sharpness[4].entropy == pytest.approx(measured.entropy, abs=1e-4)


def test_save_refuses_what_the_projection_does_not_make(tmp_path):
    with pytest.raises(workloads.WorkloadError, match="x and the weights do not make v:"):
        save_toy(tmp_path, v_shift=0.5)
    with pytest.raises(workloads.WorkloadError, match="missing bv$"):
        save_toy(tmp_path, drop="bv")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("label", "value", "message"),
    [
        *((name, None, f"missing {name}$") for name in ("q", *workloads.PROJECTION_FIELDS)),
        *((name, None, f"missing {name}$") for name in workloads.ROW_FIELDS.values()),
        ("k", np.zeros((2, 40, 8), np.float16), "missing v$"),
        ("v", np.zeros((2, 40, 8), np.float16), "missing k$"),
        ("wk", np.zeros((2, 12, 8)), "wk is float64, expected float16"),
        ("x", np.full((40, 12), np.inf, np.float16), "x holds infinities"),
        ("x", np.zeros((39, 12), np.float16), r"x has shape \(39, 12\), expected \[40, D\]"),
        ("x", np.zeros((40, 11), np.float16), r"wk has shape .*, expected \[2, 11, 8\]"),
        ("wv", np.zeros((2, 12), np.float16), r"wv has shape \(2, 12\), expected \[2, 12, 8\]"),
        ("bk", np.zeros((2, 8, 1), np.float16), r"bk has shape .*, expected \[2, 8\]"),
        ("v_rows", np.zeros((2, 7, 8), np.float16), r"v_rows has shape .*, expected \[2, 8, 8\]"),
        ("wk", np.zeros((2, 12, 8), np.float16), "x and the weights do not make k_rows"),
        ("bv", np.zeros((2, 8), np.float16), "x and the weights do not make v_rows"),
        ("rope_theta", 0.0, "x and the weights do not make k_rows"),
        ("kv_heads", [0, 1, 2], r"wk has shape|k_rows has shape"),
        ("kv_heads", [], "no multiple of 0 kv_heads"),
    ],
)
def test_refuses_bad_files(toy, label, value, message):
    content = stored("toy", toy)
    if label in workloads.META_FIELDS:
        meta = {**json.loads(str(content["meta"])), label: value}
        content["meta"] = np.array(json.dumps(meta))
    elif value is None:
        del content[label]
    else:
        content[label] = value
    np.savez(toy / "toy.npz", **content)
    with pytest.raises(workloads.WorkloadError, match=message) as caught:
        workloads.load_layer("toy", toy)
    assert str(toy / "toy.npz") in str(caught.value)


@pytest.mark.parametrize("label", ["q", "meta", *workloads.PROJECTION_FIELDS, "k_rows", "v_rows"])
def test_names_the_damaged_array(toy, label):
    path = toy / "toy.npz"
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        entry = archive.getinfo(f"{label}.npy")
        middle = archive.infolist().index(entry)
        following = archive.infolist()[middle + 1 : middle + 2]
    end = following[0].header_offset if following else entry.header_offset + entry.compress_size
    content[(entry.header_offset + end) // 2 + 20] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(workloads.WorkloadError, match=f"not a readable case: {label}: ."):
        workloads.load_layer("toy", toy)


def test_refuses_cut_and_foreign_files(toy):
    whole = (toy / "toy.npz").read_bytes()
    for content in (b"", whole[:30], whole[: len(whole) // 2], b"not an archive"):
        (toy / "cut.npz").write_bytes(content)
        with pytest.raises(workloads.WorkloadError, match="not a readable case: archive: ."):
            workloads.load_layer("cut", toy)
    with pytest.raises(workloads.WorkloadError, match="no case 'absent'.*there are: cut, toy"):
        workloads.load_layer("absent", toy)


def test_a_layer_needs_its_projection():
    name = "smollm2_novel_s0257_l00"
    assert workloads.load_case(name).projection is None
    with pytest.raises(workloads.WorkloadError, match="missing x, wk, wv, bk, bv"):
        workloads.load_layer(name, workloads.DATA_DIR)


def test_a_case_with_a_projection_reads_as_a_layer():
    name = "smollm2_novel_s0100_l04"
    case = workloads.load_layer(name, workloads.DATA_DIR)
    derived = workloads.derive_kv(vars(case.projection), case.rope_theta)
    content = stored(name, workloads.DATA_DIR)
    for got, label, made in zip((case.k, case.v), "kv", derived, strict=True):
        assert np.array_equal(got, content[label].astype(np.float32))  # stored ones come first
        assert np.abs(made - got).max() < workloads.DERIVED_TOLERANCE * np.abs(got).max()
