# SPDX-License-Identifier: Apache-2.0
"""The formal path: bit-exact against Python integers, accurate for any order of the keys."""

import itertools

import numpy as np
import pytest

from models import oracle
from models.config import ConfigError
from models.first import sufa
from models.first.config import Config
from models.first.sads import dense_tile
from models.sads import Selection
from models.spec.exp2 import fit
from models.sufa import start

CFG = Config.from_name("small")
SCALE = (50000, 28)


def run(q, k, v, tiles, cfg=CFG, scale=SCALE, trace=None):
    """Output of a block whose tiles are (keys, Selection)."""
    state = start(len(q), q.shape[1])
    for keys, lists in tiles:
        sufa.tile(state, q, k[keys], v[keys], lists, *scale, cfg, trace)
    return sufa.finish(state, cfg, trace), state


def in_order(n, rows, width=32):
    """All n keys in order, in dense tiles."""
    return [
        (np.arange(a, min(a + width, n)), dense_tile(np.ones((rows, min(width, n - a)), bool)))
        for a in range(0, n, width)
    ]


def reference(q, k, v, mask, cfg=CFG, scale=SCALE):
    """Float softmax with the score scale of the registers, and its weights."""
    z = (q.astype(float) @ k.astype(float).T) / 2.0**cfg.S_DROP * scale[0] / 2.0 ** scale[1]
    weights = oracle.softmax(z / 2.0**cfg.Z_FRAC * np.log(2), mask)
    return weights @ v.astype(float), weights


def slow_row(q, k, v, steps, scale, cfg):
    """One row in Python integers, word by word from the contract. steps: list of lists of up
    to two (position, key); returns (out, m, l, o', R, updates)."""
    base, slope = (t.tolist() for t in fit())
    scale_m, shift = scale
    m, l, updates = None, 0, 0
    o = [0] * len(q)
    for step in steps:
        if not step:
            continue
        z = []
        for key in step:
            s = sum(int(a) * int(b) for a, b in zip(q, k[key], strict=True))
            value = ((s >> 8) * scale_m) >> shift
            z.append(max(-(2**25), min(2**25 - 1, value)))
        e, dm = (max(z) >> 10) + 1, 0
        if m is None:
            m = e
        elif e > m + cfg.GUARD:
            dm, m = e - m, e
            updates += 1
        p = []
        for value in z:
            diff = value - m * 1024
            i, f = diff >> 10, diff & 1023
            mant = base[f >> 4] + ((slope[f >> 4] * (f & 15) + 8) >> 4)
            sh = cfg.GUARD - 1 - i
            assert sh >= 0
            p.append(mant if sh == 0 else 0 if sh >= 17 else (mant + (1 << (sh - 1))) >> sh)
        assert all(0 <= x < 65536 for x in p)
        down = min(dm, 63)
        l = (l >> down) + sum(p)
        drop = 16 - cfg.GUARD - cfg.O_FRAC
        for c in range(len(q)):
            total = sum(w * int(v[key][c]) for w, key in zip(p, step, strict=True))
            o[c] = (o[c] >> down) + ((total + (1 << (drop - 1))) >> drop)
    if l == 0:
        return [0] * len(q), m, 0, [0] * len(q), 0, updates
    bits = l.bit_length()
    l16 = l >> (bits - 16) if bits > 16 else l << (16 - bits)
    r = min(65535, 2**31 // l16)

    def sat(x):
        return max(-32768, min(32767, x))

    flush = [sat(((x >> (bits - (17 - cfg.GUARD - cfg.O_FRAC))) + 1) >> 1) for x in o]
    return [sat((x * r + 16384) >> 15) for x in flush], m, l, flush, r, updates


@pytest.mark.parametrize("guard", [0, 1, 2])
@pytest.mark.parametrize("number", range(4))
def test_bit_exact_against_python_integers(number, guard):
    rng = np.random.default_rng(number)
    cfg = CFG.replace(GUARD=guard)
    rows, d, n = 5, 16, 30
    size = int(rng.choice([300, 6000, 32767]))
    q = rng.integers(-size, size + 1, (rows, d)).astype(np.int16)
    k = rng.integers(-32768, 32768, (n, d)).astype(np.int16)
    v = rng.integers(-32768, 32768, (n, d)).astype(np.int16)
    tiles, steps = [], [[] for _ in range(rows)]
    for at in range(0, n, 10):
        slots = np.stack([rng.permutation(10)[:7] for _ in range(rows)])
        valid = rng.random((rows, 7)) < 0.7
        valid[4] = False
        lists = Selection(np.where(valid, slots, 0), valid, 10)
        tiles.append((np.arange(at, at + 10), lists))
        for r in range(rows):
            for i in range(lists.nsteps):
                pair = range(2 * i, min(2 * i + 2, 7))
                steps[r].append([at + slots[r, j] for j in pair if valid[r, j]])
    scale = (int(rng.integers(32768, 65536)), int(rng.integers(20, 32)))
    trace = sufa.Trace()
    out, state = run(q, k, v, tiles, cfg, scale, trace)
    updates = 0
    for r in range(rows):
        want, m, total, flush, recip, ups = slow_row(q[r], k, v, steps[r], scale, cfg)
        assert out[r].tolist() == want
        assert trace.o_final[r].tolist() == flush
        assert (state.l[r], trace.l_final[r], trace.r_final[r]) == (total, total, recip)
        assert m is None or state.m[r] == m
        updates += ups
    assert state.updates == updates
    assert len(trace.z) == len(trace.p) == len(trace.m) == sum(t[1].nsteps for t in tiles)
    assert not out[4].any()


def hostile(name, rng, n, d):
    """Scores of n keys in an unkind order, in octaves (log2 units)."""
    if name == "ascending":
        return np.linspace(-30, 30, n)
    if name == "descending":
        return np.linspace(30, -30, n)
    if name == "max last":
        return np.r_[rng.uniform(-12, -8, n - 1), 10.0]
    if name == "all equal":
        return np.full(n, -3.3)
    if name == "jumps":
        return np.repeat(rng.permutation(np.arange(-24, 24, 3)), n // 16)[:n].astype(float)
    if name == "steps of the guard":
        return np.floor(np.arange(n) / 8) * 3.01
    if name == "far apart":
        return np.where(np.arange(n) % 2, 15000.0, -15000.0)
    return np.where(rng.random(n) < 0.5, 3.0, -3.0) * rng.random(n)


ORDERS = ("ascending", "descending", "max last", "all equal", "jumps", "steps of the guard",
          "far apart", "flat")


@pytest.mark.parametrize("guard", [0, 1, 2])
@pytest.mark.parametrize("order", ORDERS)
def test_any_order_of_arrival_equals_softmax(order, guard):
    """q is one-hot in element 0, so that K carries the wished scores there."""
    rng = np.random.default_rng(ORDERS.index(order))
    cfg = CFG.replace(GUARD=guard)
    n, d, rows = 128, 64, 3
    octaves = hostile(order, rng, n, d)
    peak = np.abs(octaves).max()
    k = np.zeros((n, d), np.int16)
    k[:, 0] = np.rint(octaves / peak * 32767)
    q = np.zeros((rows, d), np.int16)
    q[:, 0] = 32767
    q[1, 0] = 20000
    # One unit of k is peak/32767 octaves: fold that into the multiplier.
    unit = peak / 32767 / 32767 * 2.0 ** (cfg.S_DROP + cfg.Z_FRAC)
    fraction, exponent = np.frexp(unit)
    scale = (int(fraction * 65536), int(16 - exponent))
    v = rng.integers(-32767, 32768, (n, d)).astype(np.int16)
    out, state = run(q, k, v, in_order(n, rows), cfg, scale)
    want, weights = reference(q, k, v, np.ones((rows, n), bool), cfg, scale)
    # Each weight is off by at most half a unit of p plus 2**-10 octave of its score.
    octave_error = 2.0 ** (1 - cfg.Z_FRAC) * np.log(2)
    unit_p = 2.0 ** (cfg.GUARD - 16) * n / 8
    assert np.abs(out - want).max() <= 32767 * (octave_error + unit_p) + 2
    assert oracle.relative_error(out, want) < 0.004
    if order in ("all equal", "descending"):
        assert state.updates == 0
    if order in ("ascending", "max last", "steps of the guard"):
        assert state.updates >= rows


@pytest.mark.parametrize("sign_q, sign_k", list(itertools.product((-32768, 32767), repeat=2)))
def test_extreme_numbers(sign_q, sign_k):
    """Largest numbers everywhere: score saturation, l and o widths, output saturation."""
    cfg = Config.from_name("tiny")
    n, d, rows = cfg.KEYS_MAX, 16, 2
    q = np.full((rows, d), sign_q, np.int16)
    k = np.full((n, d), sign_k, np.int16)
    for value in (-32768, 32767):
        v = np.full((n, d), value, np.int16)
        for shift in (0, 20, 47):
            out, state = run(q, k, v, in_order(n, rows, 16), cfg, (65535, shift))
            # Equal weights: the output is V itself up to the rounding of the division.
            assert np.abs(out.astype(int) - value).max() <= 2
            assert (state.l >= n << (15 - cfg.GUARD)).all()


def test_guard_excess_is_absorbed_without_an_update():
    """A later key up to GUARD octaves above the reference changes nothing but its weight."""
    d, cfg = 8, CFG.replace(GUARD=2, O_FRAC=6)
    q = np.zeros((1, d), np.int16)
    q[0, 0] = 256
    scale = (32768, 15)  # z = s >> 8 = k[0]
    k = np.zeros((2, d), np.int16)
    v = np.full((2, d), 1000, np.int16)
    pair = Selection(np.array([[0]]), np.array([[True]]), 1)
    for second, updates, weight in (
        (3 * 1024 - 1, 0, 65491), (3 * 1024, 1, 8192), (2 * 1024, 0, 32768), (1023, 0, 16373)
    ):
        k[:, 0] = [1023, second]
        trace = sufa.Trace()
        out, state = run(q, k, v, [([0], pair), ([1], pair)], cfg, scale, trace)
        assert (state.updates, int(trace.p[1][0, 0])) == (updates, weight)
        assert np.abs(out - 1000).max() <= 1


def test_update_by_hand():
    """First key at 2**0, then one 10 octaves above: l shifts by the rise of the reference."""
    d, cfg = 8, CFG.replace(GUARD=2, O_FRAC=6)
    q = np.zeros((1, d), np.int16)
    q[0, 0] = 256
    k = np.zeros((2, d), np.int16)
    k[:, 0] = [0, 10 * 1024]
    v = np.array([[-20000] * d, [20000] * d], np.int16)
    one = Selection(np.array([[0]]), np.array([[True]]), 1)
    trace = sufa.Trace()
    out, state = run(q, k, v, [([0], one), ([1], one)], cfg, (32768, 15), trace)
    # z = 0: m = 1, p = 2**13; then z = 10240: m = 11, dm = 10, p = 2**13, l = 8192/1024 + 8192.
    assert [int(x[0]) for x in trace.m] == [1, 11]
    assert [int(x[0]) for x in trace.dm] == [0, 10]
    assert [int(x[0, 0]) for x in trace.p] == [8192, 8192]
    assert state.l.tolist() == [8200]
    want = 20000 * (1024 - 1) / 1025
    assert np.abs(out - want).max() <= 2


def test_odd_list_and_empty_tiles():
    rng = np.random.default_rng(8)
    q, k, v = (rng.integers(-9000, 9000, (n, 8)).astype(np.int16) for n in (3, 9, 9))
    none = Selection(np.zeros((3, 4), int), np.zeros((3, 4), bool), 9)
    three = dense_tile(np.ones((3, 3), bool))
    out, _ = run(q, k, v, [([0, 1, 2], three)])
    again, _ = run(q, k, v, [(np.arange(9), none), ([0, 1, 2], three), (np.arange(9), none)])
    assert (out == again).all() and out.any()
    nothing, state = run(q, k, v, [(np.arange(9), none)])
    assert not nothing.any() and not state.seen.any()


def test_unused_slots_do_not_matter():
    rng = np.random.default_rng(4)
    q, k, v = (rng.integers(-9000, 9000, (n, 8)).astype(np.int16) for n in (2, 6, 6))
    lists = Selection(np.array([[4, 1], [1, 0]]), np.array([[True, True], [True, False]]), 6)
    out, _ = run(q, k, v, [(np.arange(6), lists)])
    other_k, other_v = k.copy(), v.copy()
    other_k[[0, 2, 3, 5]] = 32767
    other_v[[0, 2, 3, 5]] = -32768
    again, _ = run(q, other_k, other_v, [(np.arange(6), lists)])
    assert (out == again).all()


def test_bad_settings_and_too_many_keys():
    q = k = v = np.full((1, 8), 5, np.int16)
    one = dense_tile(np.ones((1, 1), bool))
    for scale, field in (((65536, 0), "scale_m"), ((1, 48), "scale_shift"), ((-1, 0), "scale_m")):
        with pytest.raises(ConfigError, match=f"{field} = "):
            run(q, k, v, [([0], one)], scale=scale)
    cfg = Config.from_name("tiny")
    many = np.zeros(4096, int)
    v = np.full((1, 8), 32767, np.int16)
    with pytest.raises(ConfigError, match="more keys used than KEYS_MAX = 256"):
        run(q, k, v, [(many, dense_tile(np.ones((1, len(many)), bool)))], cfg, (32768, 47))
