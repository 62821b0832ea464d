# SPDX-License-Identifier: Apache-2.0
"""What the peers share: quantisation, best keys of a row, schedules, the register of peers."""

import dataclasses

import numpy as np
import pytest

from models.lab.methods.method import Call, Method, top_k
from models.lab.peers import PEERS, parts
from models.lab.report.published import TABLE_II
from models.tests.lab.peers.calls import best, make, whole


def test_top_k_by_hand():
    score = np.array([[3.0, 1.0, 3.0, 2.0]])
    allowed = np.array([[True, True, True, False]])
    # Allowed are 3, 1, 3: the first 3, then the other, then 1; a masked key never.
    for k, expected in ((0, []), (1, [0]), (2, [0, 2]), (3, [0, 1, 2]), (9, [0, 1, 2])):
        assert np.flatnonzero(top_k(score, allowed, k)[0]).tolist() == expected


@pytest.mark.parametrize("case", range(5))
def test_top_k_of_many_equal_scores(case):
    rng = np.random.default_rng(case)
    score = rng.integers(-2, 3, (3, 7, 20)).astype(np.float32)
    allowed = rng.random((7, 20)) < 0.7
    allowed[0] = False
    k = rng.integers(0, 12, (3, 7))
    chosen = top_k(score, allowed, k)
    for h, r in np.ndindex(3, 7):
        row = {j: score[h, r, j] for j in range(20) if allowed[r, j]}
        assert set(np.flatnonzero(chosen[h, r])) == best(row, k[h, r])


def test_symmetric():
    x = np.array([[[0.0, -6.0, 2.9], [3.1, 1.0, 0.4]]], np.float32)
    # Top 7, scale 6/7: 2.9 is 3.38, 3.1 is 3.62, 1.0 is 1.17, 0.4 is 0.47 steps.
    got, scale = parts.symmetric(x, 4, (1, 2))
    assert got.tolist() == [[[0, -7, 3], [4, 1, 0]]] and scale.item() == pytest.approx(6 / 7)
    assert got[0].tolist() == whole(x[0], 4)[0]
    for nearly in (0.0, 1e-45):
        got, scale = parts.symmetric(np.full((1, 2, 2), nearly, np.float32), 8, (1, 2))
        assert not got.any() and scale.item() == 1


def test_ramp():
    def shares(layers):
        return [parts.ramp(Call(None, None, None, layer=i, layers=layers), 0.3, 0.4)
                for i in range(layers)]

    # 0.3 * 5 = 1.5: two layers are free, then 1 - 0.6 / 3, 1 - 1.2 / 3, 0.4.
    assert shares(5) == pytest.approx([1, 1, 0.8, 0.6, 0.4])
    assert shares(1) == [1]
    assert parts.part(1 - (1 - 0.7), 10) == 7 and parts.part(0.9, 1024) == 921


def test_own_keys():
    assert parts.own_keys(make(0, True, 1, 1, 3, 8)).tolist() == [5, 6, 7]
    assert parts.own_keys(make(0, False, 1, 1, 4, 4)).tolist() == [0, 1, 2, 3]
    assert parts.own_keys(make(0, False, 1, 1, 3, 9)).tolist() == [0, 3, 6]


def test_register():
    for name, peer in PEERS.items():
        assert name == peer.name and issubclass(peer, Method) and dataclasses.is_dataclass(peer)
        sweep = peer.sweep()
        assert len(set(sweep)) == len(sweep) > 0
        assert all(type(method) is peer for method in sweep)
    with pytest.raises(dataclasses.FrozenInstanceError):
        PEERS["spatten"]().token_keep = 1


def test_published_table():
    rows = {row.name: row for row in TABLE_II}
    assert len(rows) == len(TABLE_II) == 9
    sofa = rows["SOFA"]
    # The paper's power of core, memory interface and DRAM, and its area.
    assert round(sofa.gops / (0.95 + 0.53 + 1.92)) == sofa.gops_w
    assert round(sofa.gops / 5.69) == sofa.gops_mm2
    for row in TABLE_II:
        assert row is sofa or (row.gops < sofa.gops and row.llama_ms > 5 * sofa.llama_ms
                               and row.saved < sofa.saved and row.loss >= sofa.loss)
