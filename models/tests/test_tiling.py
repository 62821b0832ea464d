# SPDX-License-Identifier: Apache-2.0
"""Tiles partition the visible keys, and their masks are the causal mask."""

import itertools

import numpy as np
import pytest

from models.config import Config, ConfigError
from models.tiling import block_tiles, blocks, prefixes, visible

TINY = Config.from_name("tiny")


def test_by_hand():
    # 4 rows at positions 10..13 see 14 keys: 4 tiles of up to 4.
    tiles = block_tiles(8, 4, 100, 4, causal=True, offset=2)
    assert [list(t.keys) for t in tiles] == [[0, 4, 8, 12], [1, 5, 9, 13], [2, 6, 10], [3, 7, 11]]
    assert [(t.first, t.last, t.rel, t.kstep) for t in tiles] == [
        (True, False, -10, 4), (False, False, -9, 4), (False, False, -8, 4), (False, True, -7, 4)]
    # Key 12 is seen by rows 2 and 3 (positions 12 and 13) only.
    assert tiles[0].allowed()[:, 3].tolist() == [False, False, True, True]
    tiles = block_tiles(8, 4, 100, 4, causal=True, offset=2, interleaved=False)
    assert [list(t.keys) for t in tiles] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11], [12, 13]]


@pytest.mark.parametrize("interleaved", [True, False])
@pytest.mark.parametrize("causal", [True, False])
def test_tiles_partition_the_visible_keys(interleaved, causal):
    compared = 0
    for keys, rows, offset, bc in itertools.product(
        (1, 3, 4, 5, 15, 16, 17, 63, 64, 65, 100), (1, 3, 4, 9), (0, 1, 37), (4, 8, 16)
    ):
        covered = np.zeros((rows, keys), int)
        for row, n in blocks(rows, TINY):
            tiles = block_tiles(row, n, keys, bc, causal=causal, offset=offset,
                                interleaved=interleaved)
            length = visible(row, n, keys, causal, offset)
            seen = np.concatenate([t.keys for t in tiles])
            assert sorted(seen) == list(range(length))
            assert len(tiles) == -(-length // bc)
            assert all(1 <= t.n <= bc for t in tiles)
            assert [t.first for t in tiles] == [i == 0 for i in range(len(tiles))]
            assert [t.last for t in tiles] == [i == len(tiles) - 1 for i in range(len(tiles))]
            for t in tiles:
                covered[row : row + n, t.keys] += t.allowed()
        position = offset + np.arange(rows)[:, None]
        want = np.arange(keys)[None, :] <= position if causal else np.ones((rows, keys), bool)
        assert (covered == want).all()
        assert (prefixes(rows, keys, causal, offset) == want.sum(axis=1)).all()
        compared += covered.size
    assert compared > 10000


def test_rows_past_the_block_see_nothing():
    tile = block_tiles(8, 2, 20, 8)[0]
    mask = tile.allowed(4)
    assert mask[:2].all() and not mask[2:].any()


@pytest.mark.parametrize("arguments, field", [
    (dict(n=0), "n"), (dict(keys=0), "keys"), (dict(offset=-1), "offset"), (dict(bc=6), "bc"),
    (dict(bc=128), "bc"),
])
def test_bad_arguments(arguments, field):
    good = dict(block_row=0, n=4, keys=10, bc=4)
    with pytest.raises(ConfigError, match=f"{field} = "):
        block_tiles(**{**good, **arguments})
