# SPDX-License-Identifier: Apache-2.0
"""The committed cases: layout, budget, coverage, and that their recorded figures recompute."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from models import workloads

NAMES = workloads.list_cases()
DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "workloads.md"


@pytest.fixture(params=NAMES)
def case(request):
    """Every committed case in turn."""
    return workloads.load_case(request.param)


@pytest.fixture
def parts():
    """Arrays and fields of a small valid case, for tests that spoil one of them."""
    rng = np.random.default_rng(1)
    arrays = {
        "q": rng.standard_normal((6, 40, 8)),
        "k": rng.standard_normal((2, 40, 8)),
        "v": rng.standard_normal((2, 40, 8)),
    }
    fields = {
        "model": "toy",
        "text": "noise",
        "offset": 0,
        "layer": 3,
        "heads": [0, 1, 2, 6, 7, 8],
        "kv_heads": [0, 2],
        "rope_theta": 0.0,
        "causal": True,
    }
    return arrays, fields


def spoil(path, **changes):
    """Rewrite one saved case with some arrays or metadata replaced; None removes them."""
    with np.load(path) as archive:
        content = {name: archive[name] for name in archive.files}
    meta = json.loads(str(content["meta"]))
    for name, value in changes.items():
        place = meta if name in workloads.META_FIELDS else content
        if value is None:
            del place[name]
        else:
            place[name] = value
    if changes.get("meta", 0) is not None:
        content["meta"] = np.array(json.dumps(meta))
    np.savez(path, **content)


def test_layout(case):
    assert case.q.ndim == case.k.ndim == case.v.ndim == 3
    assert case.q.dtype == case.k.dtype == case.v.dtype == np.float32
    assert case.k.shape == case.v.shape
    assert case.q.shape[1:] == case.k.shape[1:] == (case.length, case.d)
    assert case.n_heads == case.group * len(case.kv_heads) == len(case.sharpness)
    assert case.heads == tuple(
        kv * case.group + i for kv in case.kv_heads for i in range(case.group)
    )
    expected = {"smollm2": (64, 3, True), "minilm": (32, 1, False)}
    assert (case.d, case.group, case.causal) == expected[case.model]
    assert case.name == f"{case.model}_{case.text}_s{case.length:04d}_l{case.layer:02d}"


def test_stored_as_float16():
    for name in NAMES:
        with np.load(workloads.DATA_DIR / f"{name}.npz", allow_pickle=False) as archive:
            assert {archive[key].dtype for key in archive.files if key != "meta"} == {
                np.dtype(np.float16)
            }


def test_budget():
    sizes = [(workloads.DATA_DIR / f"{name}.npz").stat().st_size for name in NAMES]
    assert max(sizes) < 1_000_000
    assert sum(sizes) < 3_000_000


def test_coverage():
    cases = [workloads.load_case(name) for name in NAMES]
    sharp = [s for case in cases for s in case.sharpness]
    assert len(sharp) >= 24
    assert {case.length for case in cases} >= {100, 128, 197, 257, 333, 512, 1024}
    assert {case.model for case in cases} == {"smollm2", "minilm"}
    assert {case.text for case in cases} == {"novel", "speech", "code"}
    assert any(case.model == "smollm2" and case.length == 1024 for case in cases)
    assert any(case.model == "smollm2" and case.length == 512 for case in cases)
    assert any(case.model == "minilm" and case.length == 512 for case in cases)
    assert any(case.group == 3 and len(case.kv_heads) > 1 for case in cases)
    assert any(case.projection is not None for case in cases)
    # Peaked, middling and flat heads are all there.
    relative = np.array([s.rel_entropy for s in sharp])
    counts = np.histogram(relative, bins=[0, 0.25, 0.5, 0.75, 1.0])[0]
    assert counts.min() >= 4, counts


def test_attention_is_finite(case):
    for h in range(case.n_heads):
        q, k, v = case.head(h)
        probs = workloads.attention_probs(q, k, case.causal)
        assert np.isfinite(probs).all()
        assert np.allclose(probs.sum(axis=1), 1)
        if case.causal:
            assert not np.triu(probs, 1).any()
        assert np.isfinite(probs @ v).all()
        assert np.abs(probs @ v).max() <= np.abs(v).max() * (1 + 1e-6)


def test_heads_are_distinct_and_alive(case):
    for array in (case.q, case.k, case.v):
        assert (array.std(axis=(1, 2)) > 1e-3).all()
        flat = array.reshape(len(array), -1)
        assert len(np.unique(flat, axis=0)) == len(array)


def test_sharpness_recomputes(case):
    for h, recorded in enumerate(case.sharpness):
        q, k, _ = case.head(h)
        measured = workloads.measure_sharpness(q, k, case.causal)
        assert measured.entropy == pytest.approx(recorded.entropy, abs=1e-4)
        assert measured.rel_entropy == pytest.approx(recorded.rel_entropy, abs=1e-4)
        assert measured.top10_mass == pytest.approx(recorded.top10_mass, abs=1e-4)
        assert measured.eff_keys == pytest.approx(recorded.eff_keys, abs=0.01)


def test_projection_makes_keys_and_values():
    compared = 0
    for name in NAMES:
        case = workloads.load_case(name)
        made = case.projection
        if made is None:
            continue
        for kv in range(len(case.kv_heads)):
            v = made.x @ made.wv[kv] + made.bv[kv]
            k = workloads.rope(made.x @ made.wk[kv] + made.bk[kv], case.rope_theta)
            for made_again, stored in ((k, case.k[kv]), (v, case.v[kv])):
                error = np.abs(made_again - stored).max() / np.abs(stored).max()
                assert error < 2e-3  # x and the weights are rounded to float16
                compared += 1
    assert compared >= 2


def test_document_shows_the_tables():
    document = DOCUMENT.read_text(encoding="utf-8")
    for table in workloads.markdown_tables().split("\n\n"):
        assert table.strip() in document


def test_sharpness_of_known_heads():
    length, d = 200, 16
    flat = workloads.measure_sharpness(np.zeros((length, d)), np.zeros((length, d)), False)
    assert flat.entropy == pytest.approx(math.log(length))
    assert flat.eff_keys == pytest.approx(length)
    assert flat.rel_entropy == pytest.approx(1)
    assert flat.top10_mass == pytest.approx(0.1)
    causal = workloads.measure_sharpness(np.zeros((length, d)), np.zeros((length, d)), True)
    visible = np.arange(workloads.MIN_VISIBLE, length + 1)
    assert causal.entropy == pytest.approx(np.log(visible).mean())
    assert causal.top10_mass == pytest.approx((np.ceil(visible / 10) / visible).mean())
    one_hot = workloads.measure_sharpness(1e3 * np.eye(64), np.eye(64), False)
    assert (one_hot.entropy, one_hot.top10_mass) == pytest.approx((0, 1))
    with pytest.raises(workloads.WorkloadError, match="at least 32"):
        workloads.measure_sharpness(np.zeros((31, d)), np.zeros((31, d)), False)


@pytest.mark.parametrize("pairs", ["interleaved", "half"])
def test_rope_keeps_relative_positions(pairs):
    rng = np.random.default_rng(2)
    q, k = (np.tile(rng.standard_normal(16), (20, 1)) for _ in range(2))
    dots = workloads.rope(q, 1e4, pairs) @ workloads.rope(k, 1e4, pairs).T
    for shift in (0, 1, 7):
        assert np.ptp(np.diagonal(dots, shift)) < 1e-9
    assert abs(dots[0, 0] - dots[0, 7]) > 1e-3
    assert workloads.rope(q, 0.0) is q


def test_save_and_load(tmp_path, parts):
    arrays, fields = parts
    rng = np.random.default_rng(3)
    extra = {
        "x": rng.standard_normal((40, 12)),
        "wk": rng.standard_normal((2, 12, 8)),
        "wv": rng.standard_normal((2, 12, 8)),
        "bk": np.zeros((2, 8)),
        "bv": np.ones((2, 8)),
        "wq": rng.standard_normal((6, 12, 8)),
    }
    workloads.save_case(tmp_path / "toy.npz", **arrays, extra=extra, **fields)
    assert workloads.list_cases(tmp_path) == ["toy"]
    case = workloads.load_case("toy", tmp_path)
    for name, array in arrays.items():
        assert np.array_equal(getattr(case, name), array.astype(np.float16))
    for name in workloads.PROJECTION_FIELDS:
        stored = getattr(case.projection, name)
        assert stored.dtype == np.float32
        assert np.array_equal(stored, extra[name].astype(np.float16))
    assert (case.heads, case.kv_heads, case.group) == ((0, 1, 2, 6, 7, 8), (0, 2), 3)
    assert case.scale == pytest.approx(8**-0.5)
    q, k, v = case.head(3)
    assert q is not None and np.array_equal(k, case.k[1]) and np.array_equal(v, case.v[1])
    with pytest.raises(IndexError, match=r"outside 0\.\.5"):
        case.head(6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"q": None}, "missing q"),
        ({"meta": None}, "missing meta"),
        ({"format": 99}, "format 99"),
        ({"causal": 1}, "'causal' is int, expected bool"),
        ({"layer": None}, "lacks 'layer'"),
        ({"heads": [0]}, "1 entries in 'heads'"),
        ({"kv_heads": [0]}, r"k has shape .*, expected \[1, 40, 8\]"),
        ({"scale": 1.0}, "scale 1.0"),
        ({"q": np.zeros((6, 40, 8))}, "q is float64"),
        ({"q": np.zeros((6, 320), np.float16)}, "q has shape"),
        ({"q": np.zeros((6, 39, 8), np.float16)}, r"k has shape .*, expected \[2, 39, 8\]"),
        ({"q": np.zeros((5, 40, 8), np.float16)}, "no multiple of 2"),
        ({"v": np.zeros((1, 40, 8), np.float16)}, r"v has shape .*, expected \[2, 40, 8\]"),
        ({"v": np.full((2, 40, 8), np.nan, np.float16)}, "v holds infinities"),
        ({"v": np.array([{}] * 2)}, "not a readable case"),
        ({"x": np.zeros((40, 12), np.float16)}, "missing wk, wv, bk, bv$"),
    ],
)
def test_refuses_bad_files(tmp_path, parts, changes, message):
    arrays, fields = parts
    workloads.save_case(tmp_path / "toy.npz", **arrays, **fields)
    spoil(tmp_path / "toy.npz", **changes)
    with pytest.raises(workloads.WorkloadError, match=message):
        workloads.load_case("toy", tmp_path)


def test_refuses_bad_requests(tmp_path, parts):
    arrays, fields = parts
    with pytest.raises(workloads.WorkloadError, match="no cases"):
        workloads.list_cases(tmp_path)
    (tmp_path / "junk.npz").write_bytes(b"not an archive")
    with pytest.raises(workloads.WorkloadError, match="not a readable case"):
        workloads.load_case("junk", tmp_path)
    with pytest.raises(workloads.WorkloadError, match=r"no case 'absent'.*there are: junk"):
        workloads.load_case("absent", tmp_path)
    arrays["v"] = arrays["v"] * 1e9
    with pytest.raises(workloads.WorkloadError, match="v does not fit float16"):
        workloads.save_case(tmp_path / "big.npz", **arrays, **fields)
