# SPDX-License-Identifier: Apache-2.0
"""Q and K turned before they are quantised: the scores stay, the prediction errs less."""

import numpy as np
import pytest

from models import head, workloads
from models.balance import REACH, additions, balance_of, balanced, rotate
from models.cache import KVCache
from models.config import Config, ConfigError
from models.dlzs import decode, encode
from models.plan import plan
from models.quantise import Peaks

CFG = Config.from_name("tiny").replace(TWO_TERM=1)


def tensors(heads=4, kv_heads=2, rows=40, d=8, seed=0):
    """Q, K, V with a channel of K that is large."""
    rng = np.random.default_rng(seed)
    q, k, v = (rng.normal(size=(n, rows, d)) for n in (heads, kv_heads, kv_heads))
    k[..., 3] *= 50
    return q, k, v


def test_rotation_by_hand():
    """Of 4: rows of signs, ++++ +-+- ++-- +--+, halves. Of 6: three pairs. Of 3: nothing."""
    assert rotate([1.0, 2.0, 3.0, 10.0]).tolist() == [8.0, -4.0, -5.0, 3.0]
    assert np.allclose(rotate([1.0, 2, 3, 5, 0, 4]) * 2**0.5, [3, -1, 8, -2, 4, -4])
    assert rotate([1.0, 2.0, 3.0]).tolist() == [1.0, 2.0, 3.0]
    assert rotate(np.zeros((2, 0, 8))).shape == (2, 0, 8)
    assert [additions(d) for d in (3, 6, 8, 96, 256)] == [0, 1, 3, 5, 8]


@pytest.mark.parametrize("d", [8, 24, 64, 256])
def test_rotation_is_its_own_inverse_and_keeps_products(d):
    rng = np.random.default_rng(d)
    a, b = rng.normal(size=(2, 5, d))
    assert np.allclose(rotate(rotate(a)), a, rtol=0, atol=1e-12)
    assert np.allclose(rotate(a) @ rotate(b).T, a @ b.T, rtol=0, atol=1e-11)
    assert not np.allclose(rotate(a), a)


def test_scales_by_hand():
    """Deviation of K 3, 0, 48; root mean square of Q over both heads 12, 5, 3: the roots of the
    ratios are 1/2, 0 and 4. The mean of K, 4 and 52, does not count. 0 becomes the least scale,
    1/REACH of the median of 1/2 and 4."""
    k = np.array([[[7.0, 0, 100], [1.0, 0, 4]]])
    q = np.array([[[12.0, 3, 3]], [[-12.0, 41**0.5, -3]]])
    assert np.allclose(balance_of(q, k), [[0.5, 2.25 / REACH, 4.0]], rtol=1e-12)
    # A constant 320 counts as varying by 20.
    k[..., 1] = 320
    assert np.allclose(balance_of(q, k), [[0.5, 2.0, 4.0]], rtol=1e-12)
    # Q that is zero: the largest scale. Both: the median.
    q, k = np.array([[[0.0, 1, 0]]]), np.array([[[1.0, 4, 0], [-1.0, -4, 0]]])
    assert np.allclose(balance_of(q, k), [[2 * REACH, 2.0, 2.0]], rtol=1e-12)
    assert (balance_of(q, 0 * k) == 1).all() and (balance_of(q[:, :0], k) == 1).all()


def test_scores_stay():
    q, k, _ = tensors()
    scales = balance_of(q, k)
    turned_q, turned_k = balanced(q, k, scales)
    for h in range(4):
        assert np.allclose(turned_q[h] @ turned_k[h // 2].T, q[h] @ k[h // 2].T, rtol=0, atol=1e-11)
    # The channels are alike, the large one too.
    for x in (turned_k.std(axis=1), turned_q.reshape(2, -1, 8).std(axis=1)):
        assert x.max() < 4 * x.min()
    assert k.std(axis=1).max() > 40 * k.std(axis=1).min()


def test_integers_by_hand():
    """Scales 2 and 1/2 and the rotation of 2 (over sqrt 2). Q = 1, 2 -> 2, 1 -> 3, 1; K = 2, 1 ->
    1, 2 -> 3, -1. Peaks of 3 / sqrt 2 for K: 32767, -10922; 127, -42."""
    d, cfg = 8, CFG
    scales = np.full((1, d), 1.0)
    scales[0, :2] = 2.0, 0.5
    q, k = np.zeros((1, 1, d)), np.zeros((1, 1, d))
    q[0, 0, :2], k[0, 0, :2] = (1, 2), (2, 1)
    # Channels 0 and 1 alone: of 8, sums and differences come four times over.
    peaks = Peaks((3 / 8**0.5,), (3 / 8**0.5,), (1.0,))
    numbers, _ = plan(q, k, k, cfg, peaks=peaks, balance=scales, snap=0)
    assert numbers.k[0, 0].tolist() == [32767, -10922] * 4
    assert numbers.k8[0, 0].tolist() == [127, -42] * 4
    three, one = numbers.q[0, 0, :2].tolist()
    assert numbers.q[0, 0].tolist() == [three, one] * 4 and abs(three - 3 * one) <= 2
    assert 16383 <= three <= 32767
    assert np.isclose(float(numbers.q[0, 0] @ numbers.k[0, 0].astype(float))
                      * numbers.sq[0] * numbers.sk[0], q[0, 0] @ k[0, 0], rtol=1e-4)


def test_the_prediction_of_a_captured_layer_errs_less():
    """Root mean square of (predicted - exact) scores within a row, in shares of what the scores of
    a row vary, a mean factor taken out."""
    case = workloads.load_case("smollm2_novel_s0100_l04")
    cfg = Config.from_name("paper").replace(TWO_TERM=1)
    errors = []
    for balance in (False, True):
        numbers, _ = plan(case.q, case.k, case.v, cfg, balance=balance, snap=2, causal=True)
        error = []
        for h in range(len(case.q)):
            kv = h * len(case.k) // len(case.q)
            got = decode(encode(numbers.q[h], 2)) @ numbers.k8[kv].T.astype(float)
            want = case.q[h].astype(float) @ case.k[kv].T.astype(float)
            got, want = (x - x.mean(axis=1, keepdims=True) for x in (got, want))
            got *= (got * want).sum() / (got * got).sum()
            error.append(np.sqrt(((got - want) ** 2).sum() / (want**2).sum()))
        errors.append(np.mean(error))
    assert errors[1] < 0.8 * errors[0]


def test_no_output_hangs_on_a_later_token():
    q, k, v = tensors()
    scales = balance_of(q, k)
    peaks = Peaks(*(tuple(np.abs(x).max(axis=(1, 2))) for x in (*balanced(q, k, scales), v)))
    outs = []
    for factor in (1.0, 1e3):
        last = np.ones((1, 40, 1))
        last[0, -1] = factor
        numbers, job = plan(q * last, k * last, v * last, CFG, peaks=peaks, balance=scales, snap=2,
                            bc=8, causal=True)
        outs.append(head.run_job(numbers.q, numbers.k, numbers.v, numbers.k8, numbers.means, job,
                                 CFG).out)
    assert np.array_equal(outs[0][:, :-1], outs[1][:, :-1])
    assert not np.array_equal(outs[0], outs[1])


def test_the_cache_has_the_integers_of_the_plan():
    q, k, v = tensors()
    scales = balance_of(q, k)
    peaks = Peaks(*(tuple(np.abs(x).max(axis=(1, 2))) for x in (*balanced(q, k, scales), v)))
    cache = KVCache(CFG, peaks, 8, balance=scales)
    for part in (slice(0, 33), slice(33, 40)):
        cache.append(k[:, part], v[:, part])
    got, job = cache.job(q[:, 33:], snap=2, bc=8)
    want, same = plan(q[:, 33:], k, v, CFG, peaks=peaks, balance=scales, snap=2, bc=8, causal=True)
    plain, _ = plan(q[:, 33:], k, v, CFG, peaks=peaks, snap=2, bc=8, causal=True)
    assert job == same and not np.array_equal(want.k, plain.k)
    for name, x in vars(want).items():
        assert np.array_equal(x, getattr(got, name)), name


@pytest.mark.parametrize("scales", [np.ones((2, 7)), np.ones(8), np.zeros((2, 8)),
                                    np.full((2, 8), np.nan), np.full((2, 8), -1.0)])
def test_scales_that_do_not_fit_are_refused(scales):
    q, k, v = tensors()
    with pytest.raises(ConfigError, match=r"balance has shape .*legal: \[2, 8\], a scale"):
        plan(q, k, v, CFG, balance=scales)
    with pytest.raises(ConfigError, match=r"balance has shape .*legal: \[2, 8\], a scale"):
        KVCache(CFG, Peaks((1,) * 4, (1, 1), (1, 1)), 8, balance=scales)


def test_what_cannot_be_balanced_is_refused():
    q, k, v = tensors()
    peaks = Peaks((1,) * 4, (1, 1), (1, 1))
    with pytest.raises(ConfigError, match="balance = True with peaks, legal: scales"):
        plan(q, k, v, CFG, peaks=peaks, balance=True)
    with pytest.raises(ConfigError, match="heads = 3, legal: multiple of kv_heads = 2"):
        plan(q[:3], k, v, CFG, balance=True)
