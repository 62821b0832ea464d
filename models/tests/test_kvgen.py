# SPDX-License-Identifier: Apache-2.0
"""Exact projections of tokens and the weight image."""

import numpy as np
import pytest

from models import kvgen, rope
from models.config import Config, ConfigError

SMALL = Config.from_name("small")


@pytest.mark.parametrize("mode", [rope.OFF, rope.INTERLEAVED, rope.HALF])
@pytest.mark.parametrize("shift_k, shift_v", [(0, 40), (17, 20), (21, 15)])
def test_projection_follows_the_contract(shift_k, shift_v, mode):
    rng = np.random.default_rng(shift_k)
    n, h, d = 4, 48, 16
    x = rng.integers(-32768, 32768, (n, h)).astype(np.int16)
    wk, wv = rng.integers(-32768, 32768, (2, h, d)).astype(np.int16)
    x[0], wk[:, 0], wv[:, 0] = -32768, -32768, 32767
    rt = rope.table(n, d, 50.0, start=9)
    k, v = kvgen.project(x, wk, wv, shift_k, shift_v, mode, rt)
    assert k.dtype == v.dtype == np.int16

    def narrow(row, w, o, shift):
        acc = sum(int(a) * int(b) for a, b in zip(x[row], w[:, o], strict=True))
        return max(-32768, min(32767, (acc + (1 << shift) // 2) >> shift))

    for j in range(n):
        want = [narrow(j, wk, o, shift_k) for o in range(d)]
        for i in range(d // 2 if mode else 0):
            a, b = (2 * i, 2 * i + 1) if mode == rope.INTERLEAVED else (i, i + d // 2)
            want[a], want[b] = (int(y) for y in rope.rotate(want[a], want[b], *rt[j, 2*i:2*i+2]))
        assert k[j].tolist() == want
        assert v[j].tolist() == [narrow(j, wv, o, shift_v) for o in range(d)]


def test_largest_sums_are_exact():
    """4096 products of 2**30 keep every bit."""
    x, w = np.full((1, 4096), -32768, np.int16), np.full((4096, 1), -32768, np.int16)
    assert kvgen.sums(x, w).item() == 2**42
    w[0, 0] = 32767
    assert kvgen.sums(x, w).item() == 2**42 - 2**30 - 2**15 * 32767
    with pytest.raises(ConfigError, match="shift = 41"):
        kvgen.narrow(np.zeros(1), 41)


@pytest.mark.parametrize("mode", [rope.OFF, rope.HALF])
@pytest.mark.parametrize("d, passes", [(64, 8), (16, 2), (8, 1), (24, 3), (40, 5)])
def test_image_of_the_weights(d, passes, mode):
    rng = np.random.default_rng(d)
    wk, wv = rng.integers(-32768, 32768, (2, 12, d)).astype(np.int16)
    image = kvgen.pack_weights(wk, wv, SMALL, mode)
    assert image.shape == (passes, 12, SMALL.ROWS) and image.dtype == np.int16
    for o in range(passes * SMALL.ROWS):
        lane = image[o // SMALL.ROWS, :, o % SMALL.ROWS]
        if o < d:
            dim = o if mode == rope.OFF else o // 2 + o % 2 * (d // 2)
            assert (lane == wk[:, dim]).all()
        elif o < 2 * d:
            assert (lane == wv[:, o - d]).all()
        else:
            assert not lane.any()


PACKS = Config.from_parameters(
    {"ROWS": 32, "COLS": 4, "D_MAX": 16, "BC_MAX": 16, "BUS_BYTES": 16, "KEYS_MAX": 64,
     "H_MAX": 64, "KG_TOK": 2})


@pytest.mark.parametrize("mode", [rope.OFF, rope.HALF])
@pytest.mark.parametrize("h, d, packed", [(32, 8, True), (40, 8, False), (32, 16, False)])
def test_image_of_the_weights_of_a_packed_job(h, d, packed, mode):
    """Both halves of the lanes hold the outputs when they fit twice and so do the rows of X."""
    assert kvgen.packed(h, d, PACKS) == packed
    assert kvgen.group_tokens(h, d, PACKS) == (4 if packed else 2)
    wk, wv = np.random.default_rng(d).integers(1, 32768, (2, h, d)).astype(np.int16)
    image = kvgen.pack_weights(wk, wv, PACKS, mode)
    assert image.shape == (1, h, 32)
    want = np.concatenate([wk[:, rope.pair_dims(d, mode)], wv], 1)
    assert (image[0, :, : 2 * d] == want).all()
    if packed:
        assert (image[0, :, 16:] == want).all()
    else:
        assert not image[0, :, 2 * d :].any()
