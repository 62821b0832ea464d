# SPDX-License-Identifier: Apache-2.0
"""FACT by hand, against plain-Python prediction and selection, and invariants."""

import math
from dataclasses import replace

import numpy as np
import pytest

from models import rope
from models.lab.methods.method import Call, Projection
from models.lab.peers.fact import Fact, leading_one, predict
from models.tests.lab.peers.calls import best, dense, dot, make, projected, visible, whole

SHAPES = [(False, 3, 3, 11, 11), (True, 4, 2, 13, 13), (True, 4, 1, 5, 12)]


def snap(x):
    """sign * 2**floor(log2 |x|) of an integer."""
    return int(math.copysign(1 << (abs(x).bit_length() - 1), x)) if x else 0


def snapped(values):
    """Leading ones of 8-bit integers (nested lists) and their scale."""
    integers, scale = whole(values, 8)
    return [[snap(x) for x in row] for row in integers], scale


def turn(vector, position, p):
    """A vector after the rotary embedding of its position."""
    if not p.rope_mode:
        return vector
    d, out = len(vector), list(vector)
    for i in range(d // 2):
        a, b = (i, i + d // 2) if p.rope_mode == rope.HALF else (2 * i, 2 * i + 1)
        angle = position * p.rope_theta ** (-2 * i / d)
        out[a] = vector[a] * math.cos(angle) - vector[b] * math.sin(angle)
        out[b] = vector[a] * math.sin(angle) + vector[b] * math.cos(angle)
    return out


def slow_predict(call):
    """A^ as nested lists [head][row][key]."""
    p = call.projection
    x, sx = snapped(p.x)
    keys, rows = len(x), call.q.shape[1]

    def vectors(w, b):
        code, sw = snapped(w)
        columns = list(zip(*code, strict=True))
        made = [turn([dot(x[t], c) * sx * sw + float(e) for c, e in zip(columns, b, strict=True)],
                     t, p) for t in range(keys)]
        return made

    k = [snapped(vectors(w, b)) for w, b in zip(p.wk, p.bk, strict=True)]
    scores = []
    for h, (w, b) in enumerate(zip(p.wq, p.bq, strict=True)):
        q, sq = snapped(vectors(w, b)[keys - rows :])
        kh, sk = k[h // call.group]
        scores.append([[dot(a, c) * sq * sk / math.sqrt(call.d) for c in kh] for a in q])
    return scores


def test_leading_one():
    x = np.array([0, 1, -1, 2, 3, -3, 4, 127, -127, 64], np.float32)
    assert leading_one(x).tolist() == [0, 1, -1, 2, 2, -2, 4, 64, -64, 64]
    assert [snap(int(v)) for v in x] == leading_one(x).tolist()


def test_by_hand():
    # X = 127, 100, 3 in steps of 1, Wq = Wk = 127: leading ones 64, 64, 2 and 64.
    one = np.full((1, 1, 1), 127.0, np.float32)
    zero = np.zeros((1, 1), np.float32)
    x = np.array([[127.0], [100.0], [3.0]], np.float32)
    v = np.array([[[5.0], [7.0], [9.0]]], np.float32)
    p = Projection(x, one, one, one, zero, zero, zero)
    call = Call(x[None], x[None], v, projection=p)
    # Q^ = K^ = 64 * 64, 64 * 64, 2 * 64 = 4096, 4096, 128; in 8 bits 127, 127, 4 (128 / 32.25 =
    # 3.97), leading ones 64, 64, 4 in steps of 4096 / 127. A^ of row 0 is 4096, 4096, 256 steps
    # squared: nothing leads, its best half of 3 keys (rint(1.5) = 2) are keys 0 and 1.
    step = (4096 / 127) ** 2
    assert predict(call)[0, 0].tolist() == pytest.approx([4096 * step, 4096 * step, 256 * step])
    got = Fact(keep=0.5).attend(call)
    assert got.selected[0].tolist() == [[True, True, False]] * 3
    # Token 2 is asked for by nobody: no K, no V.
    assert got.tokens.tolist() == [[True, True, False]] and got.queries.all()
    # Exact scores 127 * 127 and 127 * 100: all weight on key 0 in every row.
    assert got.out[0, :, 0] == pytest.approx([5, 5, 5])
    # The projections, 6 vectors of one product, and A^, 9 products.
    assert got.counts.ops["predict"] == {"lz8": 3 + 6, "add3": 15, "xor1": 15, "add13": 15}
    assert got.counts.bytes == {"x": 3, "w": 1, "q": 6, "k": 4, "v": 4, "o": 6}


def test_one_hot_rows():
    call = projected(1, False, 2, 1, 6, 6)
    lead = np.sort(predict(call), axis=-1)
    lead = lead[..., -1] - lead[..., -2]
    margin = float(np.median(lead))
    got = Fact(keep=0.5, margin=margin).attend(call)
    sharp = lead > margin
    assert 0 < sharp.sum() < sharp.size and (got.queries == ~sharp).all()
    top = predict(call).argmax(axis=-1)
    for h, r in zip(*np.nonzero(sharp), strict=True):
        assert np.flatnonzero(got.selected[h, r]).tolist() == [top[h, r]]
        assert (got.out[h, r] == call.v[0, top[h, r]]).all()
    # Such a row needs neither q nor a score.
    normal = int((~sharp).sum())
    assert got.counts.bytes["q"] == normal * 8 * 2
    assert got.counts.ops["compute"]["exp16"] == normal * 3
    assert got.counts.ops["compute"]["mul16x16"] == 2 * normal * 3 * 8


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("mode", [rope.OFF, rope.INTERLEAVED, rope.HALF])
@pytest.mark.parametrize("settings", [Fact(), Fact(0.5, 0.2), Fact(0.05, 1e9)])
def test_equals_plain_selection(shape, mode, settings):
    call = projected(2, *shape, mode=mode)
    scores, got = slow_predict(call), settings.attend(call)
    assert np.allclose(predict(call), scores, atol=1e-4)
    asked = set()
    for h, r in np.ndindex(got.selected.shape[:2]):
        row = {j: scores[h][r][j] for j in range(call.k.shape[1]) if visible(call, r, j)}
        order = sorted(row.values(), reverse=True) + [-math.inf]
        number = max(1, round(settings.keep * len(row)))
        if order[0] - order[1] > settings.margin:
            number = 1
        chosen = best(row, number)
        assert set(np.flatnonzero(got.selected[h, r])) == chosen
        asked |= {(h // call.group, j) for j in chosen}
    assert set(zip(*np.nonzero(got.tokens), strict=True)) == asked


@pytest.mark.parametrize("shape", SHAPES)
def test_everything_kept_is_dense(shape):
    call = projected(3, *shape)
    got = Fact(1, 1e9).attend(call)
    assert (got.selected == call.mask()).all() and got.counts.keep == 1
    assert np.abs(got.out - dense(call)).max() < 1e-4


def test_more_kept_is_more():
    call, before = projected(4, True, 4, 2, 20, 20), None
    for keep in (1, 0.7, 0.4, 0.1, 0):
        got = Fact(keep).attend(call)
        assert not (got.selected & ~call.mask()).any() and got.selected.any(axis=-1).all()
        assert before is None or not (got.selected & ~before).any()
        before = got.selected


def test_bad_settings_and_calls():
    with pytest.raises(ValueError, match="keep = -1, legal: 0..1"):
        Fact(-1)
    with pytest.raises(ValueError, match="layer 7 has projection = None"):
        Fact().attend(replace(make(0, True, 1, 1, 4, 4), layer=7))
