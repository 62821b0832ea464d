# SPDX-License-Identifier: Apache-2.0
"""Tiles partition the visible keys, and their masks are the causal mask."""

import itertools

import numpy as np
import pytest

from models.config import Config, ConfigError
from models.tiling import Tile, block_tiles, blocks, pack_td, prefixes, unpack_td, visible

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


def test_descriptor_round_trip():
    tile = block_tiles(128, 100, 4096, 64, causal=True, offset=5)[2]
    fields = unpack_td(tile.descriptor(kaddr=0x123456789ABC, vaddr=1 << 47, kinc=4096, vinc=64,
                                       oaddr=0xFFFFFFFFFFC0, kvlast=True))
    assert fields == dict(n=tile.n, rows=100, first=0, last=0, causal=1, rel=tile.rel,
                          kstep=tile.kstep, kaddr=0x123456789ABC, vaddr=1 << 47, kinc=4096,
                          vinc=64, oaddr=0xFFFFFFFFFFC0, k0=tile.k0, kvnew=0, kvlast=1)
    assert tile.rel < 0
    # Bit ranges by hand: n is bits 7:0, rows 15:8, kstep 53:37.
    assert pack_td(n=5, rows=3) == 0x305
    assert pack_td(kstep=1) == 1 << 37
    assert pack_td(rel=-1) == (2**18 - 1) << 19
    assert pack_td(kvnew=1) == 1 << 279


def test_descriptor_agrees_with_the_verilog_header():
    import re
    from pathlib import Path

    from models.tiling import TD_FIELDS, TD_W

    text = (Path(__file__).parents[2] / "rtl/include/sofa_td.vh").read_text()
    ranges = re.findall(r"`define TD_(\w+) +(\d+)(?::(\d+))?", text)
    found = {n.lower(): (int(low or high), int(high) - int(low or high) + 1)
             for n, high, low in ranges if n != "W"}
    assert found == TD_FIELDS
    assert f"`define TD_W       {TD_W}" in text


@pytest.mark.parametrize("arguments, field", [
    (dict(n=0), "n"), (dict(keys=0), "keys"), (dict(offset=-1), "offset"), (dict(bc=6), "bc"),
    (dict(bc=128), "bc"),
])
def test_bad_arguments(arguments, field):
    good = dict(block_row=0, n=4, keys=10, bc=4)
    with pytest.raises(ConfigError, match=f"{field} = "):
        block_tiles(**{**good, **arguments})


def test_descriptor_field_out_of_range():
    with pytest.raises(ConfigError, match="td field rel = 131072"):
        pack_td(rel=1 << 17)
    with pytest.raises(ConfigError, match="no td field 'x'"):
        pack_td(x=1)
    assert isinstance(block_tiles(0, 1, 1, 4)[0], Tile)
