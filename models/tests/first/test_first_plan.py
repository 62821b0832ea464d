# SPDX-License-Identifier: Apache-2.0
"""Plans of attention jobs: magnitudes that are computed and refused, scales of heads."""

import re
import sys

import numpy as np
import pytest

from models import oracle, quantise
from models.config import ConfigError
from models.first import head, plan
from models.first.config import Config

TINY = Config.from_name("tiny")
PAPER = Config.from_name("paper")
ROWS, KEYS = 5, 12
TOP = sys.float_info.max


def normal(seed, rows, d):
    """One head of normal random numbers."""
    return np.random.default_rng(seed).normal(size=(1, rows, d))


def channel(size, at, rows=KEYS, d=8):
    """Vectors with one element that is not 0."""
    x = np.zeros((1, rows, d))
    x[..., at] = size
    return x


def attend(q, k, v, cfg=PAPER, **settings):
    """Output of the reference with every visible key."""
    numbers, job = plan.plan(q, k, v, cfg, dense=True, **settings)
    return head.run_job(numbers.q, numbers.k, numbers.v, None, job, cfg).out * numbers.sv


def spread(q, size):
    """q with one element of the last row set."""
    q = q.copy()
    q[0, -1, 3] = size
    return q


MAGNITUDES = {
    # The peaks of all elements multiplied are beyond the range, their largest sums are not.
    "peaks that never meet": (np.full((1, ROWS, 64), 90.0), channel(45, 0, d=64), 506),
    "peaks in different channels": (channel(6e3, 0, ROWS), channel(6e3, 1), 0),
    "far beyond the registers": (channel(1e100, 0, ROWS), channel(1e120, 1), 0),
    "one channel of all": (spread(normal(1, ROWS, 128), 20), normal(2, KEYS, 128) + channel(
        300, 3, d=128), None),
    "equal scores beyond the range": (np.full((1, ROWS, 8), 1e3), np.full((1, KEYS, 8), 1e3), None),
    "largest floats": (np.full((1, ROWS, 8), TOP), np.full((1, KEYS, 8), TOP), None),
    "one key beyond the range": (channel(1e3, 0, ROWS), np.concatenate(
        [channel(1e3, 0, 1), channel(50, 0, 1), channel(-4e2, 0, KEYS - 2)], axis=1), None),
    "small": (np.full((1, ROWS, 8), 1e-3), np.full((1, KEYS, 8), 1e-3), 2.83e-6),
    "scores of a few units": (normal(3, ROWS, 64) * 0.02, normal(4, KEYS, 64) * 0.02, None),
    "normal numbers times 1e-4": (normal(3, ROWS, 64) * 1e-4, normal(4, KEYS, 64) * 1e-4, None),
    "normal numbers times 1e-30": (normal(3, ROWS, 64) * 1e-30, normal(4, KEYS, 64), None),
    "denormal": (np.full((1, ROWS, 8), 5e-324), np.full((1, KEYS, 8), 1e-310), 0),
    "zeros": (np.zeros((1, ROWS, 8)), np.zeros((1, KEYS, 8)), 0),
    "zero keys, large queries": (np.full((1, ROWS, 8), TOP), np.zeros((1, KEYS, 8)), 0),
}


@pytest.mark.parametrize("name", MAGNITUDES)
def test_magnitudes(name):
    q, k, largest = MAGNITUDES[name]
    v = normal(5, KEYS, q.shape[-1])
    with np.errstate(over="ignore"):
        if largest is not None:
            scores = q[0] / np.sqrt(q.shape[-1]) @ k[0].T
            assert np.abs(scores).max() == pytest.approx(largest, rel=0.02, abs=1e-300)
    if name == "largest floats":
        want = np.broadcast_to(v[0].mean(axis=0), q[0].shape)
    else:
        want = oracle.dense_attention(q[0], k[0], v[0])
    for got in (attend(q, k, v)[0], attend(q, k, v * 1e-300)[0] * 1e300):
        assert np.abs(got - want).max() <= 1.5e-3 * np.abs(v).max()
    mean = v[0].mean(axis=0)
    if "times" in name or name in ("small", "denormal", "zeros"):
        assert np.abs(got - mean).max() <= 1e-3 * np.abs(v).max()


def ladder(*scores):
    """q, k of one row whose scores are these, in binary orders."""
    k = channel(1, 0, len(scores))
    k[0, :, 0] = np.array(scores) / np.log2(np.e) * np.sqrt(8) / 100
    return channel(100, 0, 1), k


@pytest.mark.parametrize("scores, legal", [
    ((32000, 31999, -32000), True), ((40000, 39000), False), ((40000, 40000, 0), True),
    ((40000, 32760), False), ((40000, 32740), True), ((0, -40000, -50000), True),
    ((-40000, -50000), False), ((-32760, -40000), False), ((-32740, -40000), True),
    ((1e9, 0), True), ((1e9, 0.5e9), False)])
def test_range_of_scores(scores, legal):
    q, k = ladder(*scores)
    v = normal(6, len(scores), 8)
    if not legal:
        with pytest.raises(ConfigError, match=r"q.k of row 0: scores .* legal: within \+-32767 in "
                                              r"steps up to 0.125, or beyond where no"):
            attend(q, k, v, TINY)
        return
    got = attend(q, k, v, TINY)[0, 0]
    want = oracle.dense_attention(q[0], k[0], v[0])[0]
    # Rounding of Q and K alone moves a score by a 32767th.
    alone = np.abs(np.diff(sorted(scores)[-2:])[0]) > 20
    assert np.abs(got - want).max() < (1e-3 if alone or scores[0] == scores[1] else 0.5)


def test_lost_bits_are_refused():
    # A step of the dot product is 12 binary orders: what the small channel says is gone.
    q = channel(1e4, 0, ROWS) + channel(1, 2, ROWS)
    k = channel(1e4, 1) + channel(1, 2) * np.arange(KEYS)[:, None]
    with pytest.raises(ConfigError, match=r"in steps of 12 \(scales"):
        attend(q, k, normal(1, KEYS, 8), TINY)
    # Saturated, nothing is lost: no score came from the large channels.
    v = normal(1, KEYS, 8)
    (numbers, job), = plan.plan_heads(q, k, v, PAPER, peaks=quantise.Peaks((1.0,), (11.0,), (4.0,)),
                                      dense=True)
    got = head.run_job(numbers.q, numbers.k, numbers.v, None, job, PAPER).out * numbers.sv
    assert np.abs(got[0] - oracle.dense_attention(q[0], k[0], v[0])).max() < 4e-3


def test_only_visible_scores_count():
    # Rows 0 and 1 of a causal job see one of the two keys beyond the range, row 2 sees both.
    q, k = ladder(1e5, 0, 2e5)
    q, v = np.repeat(q, 3, axis=1), normal(2, 3, 8)
    got = attend(q[:, :2], k, v, TINY, causal=True, offset=0)
    assert np.abs(got[0] - v[0, 0]).max() < 1e-3
    for settings in (dict(causal=True, offset=0), dict()):
        row = 2 if settings else 0
        with pytest.raises(ConfigError, match=f"q.k of row {row}: scores 0 to 2e"):
            attend(q, k, v, TINY, **settings)
    with pytest.raises(ConfigError, match="q.k of row 2 of head 1: "):
        attend(np.concatenate([q * 1e-3, q]), k, v, TINY, causal=True, offset=0)


def test_blocks_of_scores_are_all_looked_at(monkeypatch):
    q, k = ladder(*([0.0] * 20 + [1e5, 2e5]))
    q = np.concatenate([q * 0, q * 0, q * 0, q], axis=1)
    for chunk in (1, 22, 50, 1 << 18):
        monkeypatch.setattr("models.plan.CHUNK", chunk)
        with pytest.raises(ConfigError, match="q.k of row 3"):
            attend(q, k, normal(1, 22, 8), TINY)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_errors_name_the_tensor(bad):
    for name in "qkv":
        x = {n: normal(1, 4, 8) for n in "qkv"}
        x[name][0, 2, 3] = bad
        with pytest.raises(ConfigError, match=f"^{name} holds infinities or NaN, legal: finite"):
            plan.plan(**x, cfg=TINY)
        where = "query head" if name == "q" else "KV head"
        with pytest.raises(ConfigError, match=f"^{where} 0: {name} holds infinities or NaN"):
            plan.plan_heads(**x, cfg=TINY)


# ---- scales of heads ----------------------------------------------------------------------------


def test_heads_are_planned_as_if_alone():
    rng = np.random.default_rng(3)
    q = rng.normal(size=(4, 7, 8)) * np.array([1, 1e3, 1e-3, 1])[:, None, None]
    k, v = rng.normal(size=(2, 2, 9, 8)) * np.array([1, 30])[:, None, None]
    settings = dict(causal=True, quota=2, bc=8, radius_nats=2.0, snap=1, interleaved=False)
    for h, (numbers, job) in enumerate(plan.plan_heads(q, k, v, TINY, **settings)):
        kv = slice(h // 2, h // 2 + 1)
        want, want_job = plan.plan(q[h : h + 1], k[kv], v[kv], TINY, **settings)
        assert job == want_job
        for name, value in vars(want).items():
            assert np.array_equal(getattr(numbers, name), value), name


def test_given_peaks():
    q, k, v = (normal(seed, 6, 8) for seed in (1, 2, 3))
    peaks = quantise.Peaks((2.0,), (1.0,), (0.5,))
    (z, _), = plan.plan_heads(q, k, v, TINY, peaks=peaks)
    assert (z.sq, z.sk, z.sv, z.sk8) == (2 / 32767, 1 / 32767, 0.5 / 32767, 1 / 127)
    for got, x, peak, top in ((z.q, q, 2, 32767), (z.k, k, 1, 32767), (z.v, v, 0.5, 32767),
                              (z.k8, k, 1, 127)):
        assert (got == np.rint(np.clip(x, -peak, peak) / peak * top)).all()
        assert np.abs(got.astype(int)).max() == top
    for peaks, message in (
        (((1.0, 1.0), (1.0,), (1.0,)),
         "peaks of q has 2 entries, legal: one for each of 1 heads"),
        (((1.0,), (-1.0,), (1.0,)), "peaks of k = (-1.0,), legal: a number for each head, finite"),
        (((1.0,), (1.0,), (np.nan,)), "peaks of v = (nan,), legal: a number for each head, finite"),
        ((2.0, (1.0,), (1.0,)), "peaks of q = 2.0, legal: a number for each head, finite, 0 and"),
    ):
        with pytest.raises(ConfigError, match=re.escape(message)):
            plan.plan_heads(q, k, v, TINY, peaks=quantise.Peaks(*peaks))
    with pytest.raises(ConfigError, match="heads = 3, legal: multiple of kv_heads = 2"):
        plan.plan_heads(*(np.zeros((n, 4, 8)) for n in (3, 2, 2)), TINY)
