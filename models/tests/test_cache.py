# SPDX-License-Identifier: Apache-2.0
"""The host's KV cache in integers: those of the plan, whatever comes in one piece or in many."""

import numpy as np
import pytest

from models import cache as module
from models import head, quantise
from models.cache import KVCache
from models.config import Config, ConfigError
from models.plan import plan
from models.quantise import Peaks

TINY = Config.from_name("tiny").replace(TWO_TERM=1)
D = 8
PEAKS = Peaks((2.0, 3.0, 0.5, 1.0), (2.5, 0.7), (1.5, 0.0))
"""Some values saturate; 0 counts as 1."""


def tensors(keys, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(heads, keys, D)) for heads in (4, 2, 2)]


def same(got, want):
    """Integers, scales and job."""
    assert got[1] == want[1]
    for name, x in vars(want[0]).items():
        y = getattr(got[0], name)
        assert np.array_equal(x, y) and x.dtype == y.dtype, name


@pytest.mark.parametrize("sizes", [
    (1,) * 70, (31, 1, 1, 30, 1, 2), (32, 32), (33, 31, 64, 1), (5, 100, 3, 0, 1), (250,)])
@pytest.mark.parametrize("cfg", [TINY, TINY.replace(ROWS=8, STORE_BEATS=64), TINY.replace(VM_W=16)])
def test_integers_are_those_of_the_plan(sizes, cfg):
    q, k, v = tensors(sum(sizes))
    cache, first = KVCache(cfg, PEAKS, D), 0
    for size in sizes:
        last = first + size
        cache.append(k[:, first:last], v[:, first:last])
        assert cache.keys == last
        if size:
            same(cache.job(q[:, first:last], snap=2, bc=8),
                 plan(q[:, first:last], k[:, :last], v[:, :last], cfg, peaks=PEAKS, snap=2, bc=8,
                      causal=True))
        first = last
    # Rows of the end, however they came: blocks begin at the first of them.
    for rows in {1, min(37, last), last}:
        same(cache.job(q[:, last - rows : last], tau=0.01, fall=0.5, band=1),
             plan(q[:, last - rows : last], k, v, cfg, peaks=PEAKS, causal=True, tau=0.01,
                  fall=0.5, band=1))


def test_means_by_hand():
    """V of key i is i in every element, peak 32767: an integer of V is its value. Blocks of 4 rows
    at 70, 74 .. of 81 keys; the mean of keys 0..63 is 31.5, in units of 1/1 with VM_W = 16."""
    cfg = TINY.replace(VM_W=16)
    cache = KVCache(cfg, Peaks((1.0,), (1.0,), (32767.0,)), D)
    v = np.repeat(np.arange(81.0), D).reshape(1, 81, D)
    cache.append(v, v)
    assert (cache.means(11) == 32).all() and cache.means(11).shape == (1, 3, D)
    # Before 64 it is 15.5 over 32 keys, and that of all where there are fewer.
    assert cache.means(18)[0, :, 0].tolist() == [16, 32, 32, 32, 32]
    cache.crop(5)
    assert (cache.means(1) == 2).all()


def test_a_refused_draft_leaves_nothing():
    q, k, v = tensors(100)
    _, wrong, other = tensors(100, seed=1)
    cache = KVCache(TINY, PEAKS, D)
    cache.append(k[:, :60], v[:, :60])
    for keep in (60, 31, 64, 32, 0, 1):
        cache.append(wrong[:, cache.keys : 90], other[:, cache.keys : 90])
        cache.crop(min(keep, 60))
        cache.append(k[:, cache.keys : 70], v[:, cache.keys : 70])
        want = plan(q[:, 69:70], k[:, :70], v[:, :70], TINY, peaks=PEAKS, causal=True)
        same(cache.job(q[:, 69:70]), want)


def test_a_step_quantises_and_adds_what_is_new(monkeypatch):
    """Elements that are quantised: one token of Q, K, K8 and V."""
    q, k, v = tensors(200)
    cache = KVCache(TINY, PEAKS, D)
    cache.append(k[:, :199], v[:, :199])
    sizes = []

    def counted(x, *others):
        sizes.append(np.asarray(x).size)
        return quantise.quantise(x, *others)

    monkeypatch.setattr(module, "quantise", counted)
    before = cache._sums[:, : 192 // 32 + 1].copy()
    cache.append(k[:, 199:], v[:, 199:])
    numbers, _ = cache.job(q[:, 199:])
    assert sum(sizes) == (4 + 3 * 2) * D
    assert (cache._sums[:, : 192 // 32 + 1] == before).all() and before[:, 1:].any()
    assert numbers.k.base is not None and numbers.k.shape == (2, 200, D)


def test_later_tokens_change_nothing():
    """A job's arrays stay as they are when the cache goes on, also into new memory."""
    q, k, v = tensors(250)
    cache = KVCache(TINY, PEAKS, D)
    cache.append(k[:, :50], v[:, :50])
    numbers, job = cache.job(q[:, 49:50])
    want = head.run_job(numbers.q, numbers.k, numbers.v, numbers.k8, numbers.means, job, TINY)
    cache.append(k[:, 50:] * 100, v[:, 50:] * 100)
    got = head.run_job(numbers.q, numbers.k, numbers.v, numbers.k8, numbers.means, job, TINY)
    assert (want.out == got.out).all() and want.out.any()


def test_refusals():
    q, k, v = tensors(10)
    with pytest.raises(ConfigError, match="peaks of 4 query heads, 3 heads of K and 3 of V, legal"):
        KVCache(TINY, Peaks((1,) * 4, (1,) * 3, (1,) * 3), D)
    with pytest.raises(ConfigError, match="peaks of 4 query heads, 2 heads of K and 1 of V, legal"):
        KVCache(TINY, Peaks((1,) * 4, (1,) * 2, (1,)), D)
    with pytest.raises(ConfigError, match="peaks of 0 query heads, 2 heads of K and 2 of V, legal"):
        KVCache(TINY, Peaks((), (1,) * 2, (1,) * 2), D)
    with pytest.raises(ConfigError, match="d = 12, legal: multiple of 8"):
        KVCache(TINY, PEAKS, 12)
    cache = KVCache(TINY, PEAKS, D)
    with pytest.raises(ConfigError, match=r"k has shape \[1, 10, 8\], legal: \[2, n, 8\], n the"):
        cache.append(k[:1], v)
    with pytest.raises(ConfigError, match=r"v has shape \[2, 9, 8\], legal: \[2, n, 8\], n the"):
        cache.append(k, v[:, :9])
    with pytest.raises(ConfigError, match="KV head 1: v holds infinities or NaN"):
        cache.append(k, np.where(np.arange(2)[:, None, None] == 1, np.nan, v))
    with pytest.raises(ConfigError, match=r"q has shape \[4, 1, 8\], legal: \[4, 1..0, 8\]"):
        cache.job(q[:, :1])
    with pytest.raises(ConfigError, match="keys = 300, legal: integer 0..256"):
        cache.append(*np.zeros((2, 2, 300, D)))
    assert cache.keys == 0
    cache.append(k, v)
    with pytest.raises(ConfigError, match=r"q has shape \[3, 1, 8\], legal: \[4, 1..10, 8\]"):
        cache.job(q[:3, :1])
    with pytest.raises(ConfigError, match="keys = 11, legal: integer 0..10"):
        cache.crop(11)
    with pytest.raises(ConfigError, match="rows = 11, legal: integer 0..10"):
        cache.means(11)


@pytest.mark.parametrize("window, sinks", [(1, 0), (20, 3), (64, 0), (77, 8)])
def test_integers_in_a_window_are_those_of_the_plan(window, sinks):
    q, k, v = tensors(150)
    cache, settings = KVCache(TINY, PEAKS, D), dict(window=window, sinks=sinks, bc=8)
    for last in (1, 33, 34, 90, 150):
        cache.append(k[:, cache.keys : last], v[:, cache.keys : last])
        for rows in {1, min(last, 21)}:
            got = cache.job(q[:, last - rows : last], **settings)
            same(got, plan(q[:, last - rows : last], k[:, :last], v[:, :last], TINY, peaks=PEAKS,
                           causal=True, **settings))
            first = max(32, (last - rows) // 32 * 32)
            span = got[0].v[:, max(0, min(first - window, last - 1)) : first]
            mean = np.clip(span.mean(axis=1) / 256, -128, 127)
            assert (np.abs(got[0].means[:, 0] - mean) <= 0.5).all()
