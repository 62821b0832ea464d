# SPDX-License-Identifier: Apache-2.0
"""The table of the peers on the captured heads."""

import numpy as np
import pytest

from models import workloads
from models.lab.peers import __main__ as look
from models.lab.peers.flash import FlashAttention2
from models.lab.peers.spatten import SpAtten

LAYERS = workloads.list_layers()


@pytest.mark.parametrize("name", LAYERS)
def test_projections_give_the_queries_back(name):
    case = workloads.load_layer(name)
    call = look.call_of(case)
    p = call.projection
    q = workloads.rope(p.x @ p.wq + p.bq[:, None], p.rope_theta)
    assert np.linalg.norm(q - case.q) < 0.01 * np.linalg.norm(case.q)
    assert bool(p.rope_mode) == case.causal


def test_figures_of_dense_and_pruned():
    call = look.call_of(workloads.load_case("smollm2_novel_s0100_l04"))
    keep, recall, mass, error, predict, select, *_ = look.run(FlashAttention2(), call)
    assert (keep, recall, predict, select) == (1, 1, 0, 0)
    assert mass == pytest.approx(1) and error < 1e-5
    # Layer 4 of 30 is still free of pruning; the last is not.
    assert look.run(SpAtten(head_keep=1), call)[0] == 1
    last = look.replace(call, layer=29)
    keep, recall, mass, error, *_ = look.run(SpAtten(head_keep=1), last)
    assert 0.2 < keep < 0.5 and keep < mass < 1 and 0 < recall < 1 and error > 0.05


def test_command_line(capsys):
    assert look.main(["nobody"]) == 2
    assert "no peer 'nobody'; know " in capsys.readouterr().err
    assert look.main(["flash"]) == 0
    assert capsys.readouterr().out.count("| flash | 1.000 | 1.000 | 1.000 | 0.000 |") == 2
