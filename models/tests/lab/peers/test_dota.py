# SPDX-License-Identifier: Apache-2.0
"""DOTA: low-rank detector, equal k per row."""

import math
from dataclasses import replace

import numpy as np
import pytest

from models import rope, workloads
from models.lab.methods.method import Call
from models.lab.peers.dota import Detector, Dota, rotate
from models.tests.lab.peers.calls import SHAPES, best, dense, make, projected, visible

MODES = [rope.OFF, rope.INTERLEAVED, rope.HALF]


def test_by_hand(monkeypatch):
    """With P and W~ = 1 the codes are q and k themselves (peaks of 7): S~ = 49, 14, 27, -31.
    keep .5 of 4 keys is 2 keys."""
    monkeypatch.setattr(Dota, "project", lambda self, x: x)
    eye = np.eye(2, dtype=np.float32)[None]
    q = np.array([[[7, 2]]], np.float32)
    k = np.array([[[7, 0], [0, 7], [3, 3], [-5, 2]]], np.float32)
    m = Dota(keep=0.5, rank=2, detectors={0: Detector(eye, eye)})
    call = Call(q, k, k)
    assert m.detect(call)[0, 0].tolist() == [49, 14, 27, -31]
    assert np.flatnonzero(m.attend(call).selected).tolist() == [0, 2]
    for keep, keys in ((0.01, [0]), (0.75, [0, 1, 2]), (1, [0, 1, 2, 3])):
        assert np.flatnonzero(replace(m, keep=keep).attend(call).selected).tolist() == keys


def test_sparse_projection():
    """Shares 1/6, 2/3, 1/6 of -s, 0, s with s = sqrt(3 / rank); lengths keep their mean square."""
    p = Dota(rank=48).project(np.eye(500, dtype=np.float32))
    size = math.sqrt(3 / 48)
    assert sorted(set(np.round(p.ravel() / size, 5))) == [-1, 0, 1]
    shares = [(np.sign(p) == s).mean() for s in (-1, 0, 1)]
    assert shares == pytest.approx([1 / 6, 2 / 3, 1 / 6], abs=0.01)
    assert (p * p).sum(axis=1).mean() == pytest.approx(1, abs=0.05)
    assert (p != Dota(rank=48, seed=1).project(np.eye(500, dtype=np.float32))).any()


def codes(x, bits):
    """Symmetric codes of a nested list of float32 numbers, by float32 arithmetic, one by one."""
    x = np.asarray(x, np.float32)
    scale = np.abs(x).max() / np.float32(2 ** (bits - 1) - 1)
    return np.reshape([float(round(float(e / scale))) for e in x.ravel()], x.shape).tolist()


def product(a, b):
    """Matrix product of nested lists."""
    return [[sum(x * y for x, y in zip(row, col, strict=True)) for col in zip(*b, strict=True)]
            for row in a]


def turned(rows, call, first):
    """RoPE of rows that start at position ``first``."""
    at = call.projection
    if at is None or at.rope_mode == rope.OFF:
        return rows
    d = len(rows[0])
    pairs = [(2 * i, 2 * i + 1) if at.rope_mode == rope.INTERLEAVED else (i, i + d // 2)
             for i in range(d // 2)]
    out = [list(row) for row in rows]
    for n, row in enumerate(rows):
        for i, (a, b) in enumerate(pairs):
            angle = (first + n) * at.rope_theta ** (-2 * i / d)
            out[n][a] = row[a] * math.cos(angle) - row[b] * math.sin(angle)
            out[n][b] = row[a] * math.sin(angle) + row[b] * math.cos(angle)
    return out


def reference(call, m):
    """The selection from the fitted weights, in plain Python."""
    w = m.detectors[call.layer]
    heads, rows, keys = len(call.q), call.q.shape[1], call.k.shape[1]
    chosen = np.zeros((heads, rows, keys), bool)
    if call.projection is None:
        seen = call.q, call.k
    else:
        seen = call.projection.x[None, keys - rows :], call.projection.x[None]
    # X P has one scale, whatever the number of heads.
    zq, zk = (codes(m.project(x), m.bits) for x in seen)
    for h in range(heads):
        g = h * len(w.wk) // heads
        q = turned(product(zq[h * len(zq) // heads], w.wq[h].tolist()), call, keys - rows)
        k = turned(product(zk[h * len(zk) // heads], w.wk[g].tolist()), call, 0)
        scores = product(codes(q, m.bits), list(zip(*codes(k, m.bits), strict=True)))
        for r in range(rows):
            row = {j: scores[r][j] for j in range(keys) if visible(call, r, j)}
            chosen[h, r, list(best(row, max(1, round(m.keep * keys))))] = True
    return chosen


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("m", [Dota(0.3, 8), Dota(0.3, 5), Dota(0.2, 20, bits=3)])
def test_against_plain_python_without_projection(shape, m):
    call = make(SHAPES.index(shape), *shape)
    fitted = m.fit([make(9, *shape)])
    assert (fitted.attend(call).selected == reference(call, fitted)).all()


@pytest.mark.parametrize("shape", SHAPES[:3])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("rank", [5, 12])
def test_against_plain_python_with_projection(shape, mode, rank):
    call = projected(SHAPES.index(shape), *shape, mode=mode)
    fitted = Dota(0.3, rank).fit([projected(9, *shape, mode=mode)])
    assert (fitted.attend(call).selected == reference(call, fitted)).all()


@pytest.mark.parametrize("mode", MODES)
def test_rotation(mode):
    call = projected(0, True, 1, 1, 5, 12, mode=mode)
    x = np.random.default_rng(0).normal(size=(2, 12, 8)).astype(np.float32)
    pairs = "half" if mode == rope.HALF else "interleaved"
    want = workloads.rope(x, call.projection.rope_theta, pairs)
    assert np.abs(rotate(x, call) - want).max() < 1e-5
    # Fewer rows are the last ones; the other sense is the inverse.
    assert np.abs(rotate(x[:, 7:], call) - want[:, 7:]).max() < 1e-5
    assert np.abs(rotate(rotate(x, call), call, -1) - x).max() < 1e-5


@pytest.mark.parametrize("mode", MODES)
def test_fit_finds_the_projection(mode):
    """With more columns than X has channels and many bits the detector is the layer itself, also
    on data that it was not fitted to."""
    call, rank = projected(1, True, 4, 2, 150, 150, mode=mode), 96
    known = 100
    early = Call(call.q[:, :known], call.k[:, :known], call.v[:, :known], True,
                 projection=replace(call.projection, x=call.projection.x[:known]))
    fitted = Dota(0.1, rank, bits=8).fit([early])
    assert fitted.detectors[0].wq.shape == (4, rank, 8)
    assert fitted.detectors[0].wk.shape == (2, rank, 8)
    score, exact, mask = fitted.detect(call), call.logits(), call.mask()
    mask[:known] = False
    for h in range(4):
        assert np.corrcoef(score[h][mask], exact[h][mask])[0, 1] > 0.95


def test_split_detector_is_the_best_of_its_rank():
    """Rank 3 of d = 8: W~q W~k^T per query head has the least mean square error to S on the
    calibration data among all 3 x 3 matrices A of S~ = X P A (X P)^T."""
    call = projected(2, False, 2, 1, 40, 40)
    m = Dota(rank=3, bits=8)
    w = m.fit([call]).detectors[0]
    assert w.wq.shape == w.wk.shape == (2, 3, 3)
    z = m.project(call.projection.x).astype(np.float64)
    inverse = np.linalg.pinv(z)
    for h in range(2):
        a = inverse @ (call.q[h] @ call.k[0].T) @ inverse.T
        got = w.wq[h] @ w.wk[h].T
        assert np.corrcoef(got.ravel(), a.ravel())[0, 1] > 0.99


def test_fit_pools_calls():
    calls = [projected(i, True, 4, 2, 30, 30) for i in range(3)]
    assert len(Dota(rank=8).fit(iter(calls)).detectors) == 1
    both = Dota(rank=8).fit(calls).detectors[0]
    one = Dota(rank=8).fit(calls[:1]).detectors[0]
    assert (both.wq != one.wq).any()
    # The same data twice teach nothing new.
    twice = Dota(rank=8).fit([calls[0], calls[0]]).detectors[0]
    assert (twice.wq == one.wq).all() and (twice.wk == one.wk).all()


@pytest.mark.parametrize("shape", SHAPES)
def test_equal_k_masked_pairs_and_nesting(shape):
    call = make(3, *shape)
    fitted = Dota(rank=8).fit([call])
    mask, keys, before = call.mask(), call.k.shape[1], None
    for keep in (0.05, 0.2, 0.5, 1):
        selected = replace(fitted, keep=keep).attend(call).selected
        k = np.minimum(max(1, round(keep * keys)), mask.sum(axis=1))
        assert (selected.sum(axis=-1) == k).all() and not (selected & ~mask).any()
        assert before is None or not (before & ~selected).any()
        before = selected
    done = replace(fitted, keep=1).attend(call)
    assert (done.selected == mask).all() and np.abs(done.out - dense(call)).max() < 1e-5


def test_permuted_keys():
    """Where equal scores do not decide."""
    call = make(4, *SHAPES[0])
    fitted = Dota(0.3, 8, bits=8).fit([call])
    order = np.random.default_rng(0).permutation(call.k.shape[1])
    one = fitted.attend(call)
    two = fitted.attend(Call(call.q, call.k[:, order], call.v[:, order]))
    assert (one.selected[..., order] == two.selected).all()
    assert np.abs(one.out - two.out).max() < 1e-5


def test_calls_before_fit():
    call = make(0, *SHAPES[0])
    for use in (Dota().attend, lambda call: Dota().start()):
        with pytest.raises(ValueError, match="no detector for layer 0.*call fit first"):
            use(call)
    fitted = Dota(rank=4).fit([replace(call, layer=layer) for layer in (0, 2)])
    with pytest.raises(ValueError, match="no detector for layer 1.*0, 2"):
        fitted.start()(replace(call, layer=1))
    assert fitted.start()(replace(call, layer=2)).counts.selected > 0


@pytest.mark.parametrize("mode, rank, size, sets", [
    # Without RoPE and below d = 8: rank x rank, W~k for each of 2 query heads; else rank x d.
    (rope.OFF, 4, 4, 2), (rope.OFF, 8, 8, 1), (rope.HALF, 4, 8, 1)])
def test_counts_by_hand(mode, rank, size, sets):
    """2 heads on 1 KV head, 2 rows, 3 keys, causal: 10 visible pairs; X has 24 channels. keep .7
    of 3 keys is 2: both rows of both heads keep 2."""
    call = projected(0, True, 2, 1, 2, 3, mode=mode)
    counts = Dota(0.7, rank).fit([call]).attend(call).counts
    made = 2 * 2 + sets * 3
    ops = {"add16": 3 * 24 * rank // 3, "mul4x4": made * size * rank + 10 * size}
    for number, terms in ((made * size, rank), (10, size)):
        kind = f"add{8 + terms.bit_length() - 1}"
        ops[kind] = ops.get(kind, 0) + number * terms
    if mode:
        ops["mul16x16"] = made * size * 2
        ops["add16"] += made * size
    assert counts.ops["predict"] == ops
    assert counts.ops["select"] == {f"cmp{8 + size.bit_length() - 1}": 10}
    assert (counts.visible, counts.selected) == (10, 8)
    weights = (2 + sets) * rank * size / 2
    assert counts.bytes["x"] == 3 * 24 * 2 and counts.bytes["detector"] == 6 * rank + weights


@pytest.mark.parametrize("settings", [{"keep": 0}, {"keep": 1.1}, {"rank": 0}, {"bits": 1}])
def test_illegal_settings(settings):
    with pytest.raises(ValueError, match=f"{next(iter(settings))} = .*legal"):
        Dota(**settings)
