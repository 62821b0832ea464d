# SPDX-License-Identifier: Apache-2.0
"""Weight codes and predicted keys, word by word from the contract."""

import numpy as np
import pytest

from models import dlzs, rope
from models.config import Config, ConfigError

TINY = Config.from_name("tiny")
SMALL = Config.from_name("small")


def test_codes_by_hand():
    w = np.array([1.5, 1.49, 0.75, 0.74, 0.02, 2**-6, 2**-7, 2**-7 * 0.99, 0, -1.0, -0.001])
    codes, scale = dlzs.code_weights(w, dlzs.NEAREST)
    assert codes.tolist() == [7, 7, 7, 6, 1, 1, 1, 0, 0, 15, 0] and codes.dtype == np.uint8
    assert dlzs.decode_weights(codes)[[0, 3, 4, 8, 9]].tolist() == [1, 0.5, 2**-6, 0, -1]
    codes, _ = dlzs.code_weights(np.array([2, 1.0, 0.99, 2**-6, 2**-6.01, -1.5]), dlzs.FLOOR)
    assert codes.tolist() == [7, 7, 6, 1, 0, 15]
    # The scale is the least-squares one.
    value = dlzs.decode_weights(dlzs.code_weights(w)[0])
    error = [np.square(value * s - w).sum() for s in (scale * 0.99, scale, scale * 1.01)]
    assert error[1] == min(error)
    assert dlzs.code_weights(np.zeros((2, 3)))[0].tolist() == [[0] * 3] * 2


def test_codes_of_many_weights_are_the_nearest():
    rng = np.random.default_rng(3)
    w = rng.normal(size=4000)
    powers = np.concatenate([[0], 2.0 ** np.arange(-6, 1)])
    unit = np.abs(w).max() / 1.5
    codes, _ = dlzs.code_weights(w, dlzs.NEAREST)
    want = powers[np.abs(np.abs(w)[:, None] / unit - powers).argmin(1)] * np.sign(w)
    assert (dlzs.decode_weights(codes) == want).all()
    codes, _ = dlzs.code_weights(w, dlzs.FLOOR)
    unit = np.abs(w).max() / 2
    want = [max([p for p in powers if p <= abs(x) / unit]) * np.sign(x) for x in w]
    assert (dlzs.decode_weights(codes) == want).all()


def slow_key(x8, codes, cfg, exp, bias, shift, mode, rt):
    """One token's keys from the words of the contract, in Python integers."""
    def clamp(v, low, high):
        return max(low, min(high, v))

    t = []
    for o in range(codes.shape[1]):
        acc = 0
        for x, code in zip(x8, codes[:, o], strict=True):
            e, sign = int(code) & 7, int(code) >> 3
            if e:
                term = (int(x) * 2**cfg.SC_FRAC) >> (15 - (e + exp))
                acc += -term - 1 if sign else term
        acc = (acc + (1 << cfg.SC_W - 1)) % (1 << cfg.SC_W) - (1 << cfg.SC_W - 1)
        t.append(clamp((acc + bias) >> max(cfg.SC_W - 16, 0), -32768, 32767))
    d = len(t)
    for i in range(d // 2 if mode else 0):
        a, b = (2 * i, 2 * i + 1) if mode == rope.INTERLEAVED else (i, i + d // 2)
        c, s = int(rt[2 * i]), int(rt[2 * i + 1])
        t[a], t[b] = (clamp((t[a] * c - t[b] * s + 8192) >> 14, -32768, 32767),
                      clamp((t[a] * s + t[b] * c + 8192) >> 14, -32768, 32767))
    half = 2 ** (shift - 1) if shift else 0
    return [clamp((v + half) >> shift, -127, 127) for v in t]


@pytest.mark.parametrize("mode", [rope.OFF, rope.INTERLEAVED, rope.HALF])
@pytest.mark.parametrize("cfg, exp, bias, shift", [
    (TINY, 8, 77, 7), (TINY, 3, -32768, 0), (SMALL, 8, 32767, 8), (SMALL, 6, -5, 3),
])
def test_keys_follow_the_contract(cfg, exp, bias, shift, mode):
    rng = np.random.default_rng(exp * 10 + mode)
    n, h, d = 5, cfg.H_MAX, cfg.D_MAX
    x8 = rng.integers(-128, 128, (n, h)).astype(np.int8)
    codes = rng.integers(0, 16, (h, d)).astype(np.uint8)
    codes[:, 0], codes[:, 1] = 0, 15
    # Large sums of one sign, so that accumulators wrap.
    x8[0], codes[:, 2] = 127, 7
    rt = rope.table(n, d, 100.0, start=3)
    acc = dlzs.predict_sums(x8, codes, cfg, exp)
    got = dlzs.predict_keys(x8, codes, cfg, exp, bias, shift, mode, rt)
    want = [slow_key(x8[j], codes, cfg, exp, bias, shift, mode, rt[j]) for j in range(n)]
    assert got.dtype == np.int8 and (got == want).all()
    wraps = (dlzs.wrap(acc, cfg) != acc).any()
    assert wraps == (exp == 8 or cfg is SMALL)
    assert (acc[:, 0] == 0).all()


def test_t_is_the_value_before_rope():
    rng = np.random.default_rng(1)
    x8, codes = rng.integers(-127, 128, (9, 48)), rng.integers(0, 16, (48, 16))
    rt = rope.table(9, 16, 1e4)
    t = dlzs.predict_t(dlzs.predict_sums(x8, codes, TINY, 5), TINY, 40)
    assert (dlzs.key8(t, 4) == dlzs.predict_keys(x8, codes, TINY, 5, 40, 4)).all()
    turned = dlzs.key8(rope.rotate_natural(t, rt, rope.HALF), 4)
    assert (turned == dlzs.predict_keys(x8, codes, TINY, 5, 40, 4, rope.HALF, rt)).all()


@pytest.mark.parametrize("mode", [rope.OFF, rope.HALF])
@pytest.mark.parametrize("kv_heads, d, chunks", [
    (1, 64, 4), (3, 16, 3), (3, 8, 2), (5, 8, 3), (2, 24, 4), (1, 40, 3),
])
def test_image_of_the_codes(kv_heads, d, chunks, mode):
    cfg = SMALL
    rng = np.random.default_rng(d)
    codes = rng.integers(0, 16, (kv_heads, 10, d)).astype(np.uint8)
    numbers = [(kv % 9, 100 - 77 * kv, 15 - kv) for kv in range(kv_heads)]
    packed = dlzs.pack_codes(codes, [dlzs.pack_entry(*one) for one in numbers], cfg, mode)
    assert packed.shape == (chunks, 16 + 10 * cfg.ROWS // 2) and packed.dtype == np.uint8
    image = packed[:, 16:].reshape(chunks, 10, -1)
    entries = packed[:, :16].copy().view("<u4")
    assert not entries[:, 2:].any()
    seen = 0
    for c in range(chunks):
        for r in range(cfg.ROWS):
            nibble = image[c, :, r // 2] >> 4 * (r % 2) & 15
            if d <= cfg.ROWS:
                per = cfg.ROWS // d
                head, o = c * per + r // d, r % d
                used = r < per * d and head < kv_heads
            else:
                per = -(-d // cfg.ROWS)
                head, o = c // per, c % per * cfg.ROWS + r
                used = o < d
            if not used:
                assert not nibble.any()
                continue
            dim = o if mode == rope.OFF else o // 2 + o % 2 * (d // 2)
            assert (nibble == codes[head, :, dim]).all()
            entry = int(entries[c, r // 8])
            bias = entry >> 16 & 0xFFFF
            assert (entry & 15, bias - (bias >> 15 << 16), entry >> 4 & 15) == numbers[head]
            assert not entry >> 8 & 0xFF
            seen += 1
    assert seen == kv_heads * d


def test_bad_arguments():
    with pytest.raises(ValueError, match="snap = 2"):
        dlzs.code_weights(np.ones(3), dlzs.TWO_TERM)
    with pytest.raises(ValueError, match="infinities"):
        dlzs.code_weights(np.array([1.0, np.nan]))
    x8, codes = np.zeros((1, 8), np.int8), np.zeros((8, 8), np.uint8)
    for name, args in (("exp", (9, 0, 0)), ("bias", (0, 32768, 0)), ("shift", (0, 0, 16))):
        with pytest.raises(ConfigError, match=f"{name} = "):
            dlzs.predict_keys(x8, codes, TINY, *args)
        with pytest.raises(ConfigError, match=f"{name} = "):
            dlzs.pack_entry(*args)
