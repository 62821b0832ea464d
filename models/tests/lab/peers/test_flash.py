# SPDX-License-Identifier: Apache-2.0
"""FlashAttention-2 against plain attention, its counts against counted tiles."""

import math

import numpy as np
import pytest

from models.lab.methods.method import Call
from models.lab.peers.flash import FlashAttention2
from models.tests.lab.peers.calls import SHAPES, dense, make


def test_two_tiles_by_hand():
    # Scores ln 1, ln 2 | ln 4 in tiles of two keys; d = 1, so nothing is scaled.
    k = np.log(np.array([[[1.0], [2.0], [4.0]]], np.float32))
    v = np.array([[[8.0], [1.0], [3.0]]], np.float32)
    got = FlashAttention2(rows=1, cols=2).attend(Call(np.ones((1, 1, 1), np.float32), k, v))
    # Tile 1: m = ln 2, P = 1/2, 1, l = 3/2, O = 4 + 1 = 5.
    # Tile 2: m = ln 4, e^(m'-m) = 1/2, P = 1, l = 3/4 + 1 = 7/4, O = 5/2 + 3 = 11/2.
    # O / l = 22/7, which is (8 + 2 + 12) / 7.
    assert got.out.item() == pytest.approx(22 / 7, rel=1e-6)
    # 3 pairs with two products each; in both tiles one product for l and one for O.
    assert got.counts.ops["compute"] == {
        "mul16x16": 6 + 2 * 2, "add32": 6 + 3 + 2, "cmp16": 5, "exp16": 5, "div16": 1}
    assert got.counts.bytes == {"q": 2, "k": 6, "v": 6, "o": 2}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("tile", [(1, 1), (4, 3), (128, 64)])
def test_equals_dense(shape, tile):
    call = make(3, *shape, sharp=6)
    got = FlashAttention2(*tile).attend(call)
    assert got.out.dtype == np.float32
    assert np.abs(got.out - dense(call)).max() < 1e-5
    assert (got.selected == call.mask()).all() and got.counts.keep == 1


def test_hidden_tiles_are_skipped():
    call = make(4, True, 2, 1, 16, 16, d=4)
    counts = FlashAttention2(4, 4).attend(call).counts
    # 4 + 3 + 2 + 1 tiles of 16 pairs, of 4 rows and of 4 keys; 2 heads, d = 4.
    tiles = 10 * 2
    assert counts.ops["compute"]["exp16"] == tiles * (16 + 4)
    assert counts.ops["compute"]["mul16x16"] == tiles * (2 * 16 * 4 + 4 * 5)
    assert counts.bytes["k"] == counts.bytes["v"] == tiles * 4 * 4 * 2
    assert FlashAttention2(4, 4).attend(make(4, False, 2, 1, 16, 16, d=4)).counts.bytes["k"] \
        == 16 * 2 * 4 * 4 * 2


def test_large_scores_do_not_overflow():
    call = make(5, True, 1, 1, 8, 8, sharp=1000)
    got = FlashAttention2(2, 2).attend(call).out
    assert np.isfinite(got).all() and math.isclose(got[0, 0, 0], call.v[0, 0, 0], rel_tol=1e-6)


def test_bad_tile():
    with pytest.raises(ValueError, match="cols = 0, legal: integer 1..65536"):
        FlashAttention2(cols=0)
