# SPDX-License-Identifier: Apache-2.0
"""What a coarse tail costs: beats of coarse V, units beside lanes, area."""

import numpy as np
import pytest

from models import fast, head, workloads
from models.config import Config
from models.lab.measure import tail

TINY = Config.from_name("tiny")
PAPER = Config.from_name("paper").replace(TWO_TERM=1)
CASE = next(c for c in workloads.list_cases() if "_s0100_" in c)

needs_numba = pytest.mark.skipif(not fast.available(), reason="numba is not installed")


def test_beats_of_coarse_v_by_hand():
    """Two heads share V; bands of 4 rows of both; d = 16 at 4 bits is a beat of 8 bytes."""
    coarse = np.zeros((2, 6, 10), bool)
    coarse[0, 0, 2] = coarse[1, 3, 2] = coarse[1, 3, 7] = coarse[0, 5, 2] = True
    none = np.zeros((2, 6), np.int64)
    got = head.JobResult(np.zeros((2, 6, 16)), ~coarse, coarse, none, none, 0, 0)
    job = head.Job(16, 8, (head.HeadTable(1, 0),) * 2)
    assert tail.coarse_beats(got, job, TINY, 1) == 3
    # As many keys with 8 bits are two beats each; heads on V of their own share nothing.
    assert tail.coarse_beats(got, job, TINY.replace(VC_W=8), 1) == 6
    assert tail.coarse_beats(got, job, TINY, 2) == 4


def test_area_by_hand():
    """tiny: 4 rows, 4 elements a beat, 256 keys; sums of 12 fraction bits."""
    cfg = TINY
    assert cfg.places(16) == 2 and (cfg.CV_W, cfg.CW_W, cfg.SUM_W, cfg.LEVEL_W) == (23, 19, 21, 10)
    parts = tail.tail_area(cfg, 10, 16, tail.Machine(mask_tiles=2))
    assert parts["sums"] == pytest.approx(2 * 4 * (16 * 23 + 19) / 10)
    assert parts["codes"] == pytest.approx(3 * 2 * 4 * 16 / 10)
    assert parts["SADS"] == pytest.approx(4 * (40 + 21 + 7 * np.log2(21)))
    assert parts["lanes"] == pytest.approx(10 * (16 / 3 * 4 + 23 / 3 * np.log2(23) + 23))
    # 4 elements: two products, the tree, shift and addition of O; exp; 16 keys of 64 elements.
    wide = cfg.O_W
    assert tail.unit_area(cfg) == pytest.approx(
        4 * (512 + 32 + wide / 3 * np.log2(wide) + wide) + 256 + 16 * 2 * 64 * 16 / 10)


@needs_numba
def test_a_captured_head():
    case = workloads.load_case(CASE)
    args = case.q, case.k, case.v, case.causal, PAPER
    plain, with_tail = (dict(zip(("visible", *tail.COLUMNS), tail.figures(*args, **t), strict=True))
                        for t in ({"tau": 2.0**-8}, {"tau": 2.0**-6, "coarse": 2.0**-10}))
    visible = 5050 if case.causal else 10000
    assert plain["visible"] == with_tail["visible"] == visible * len(case.q)
    assert plain["coarse"] == plain["lanes"] == 0
    assert with_tail["lanes"] == with_tail["coarse"] * case.q.shape[2] / tail.LANES > 0
    assert 0 < with_tail["exact"] < 0.7 * plain["exact"]
    for done in (plain, with_tail):
        assert done["bound of 4 units"] == pytest.approx(2 * done["bound of 8 units"], abs=2)
        assert done["cycles of 4 units"] >= done["cycles of 8 units"] >= done["DLZS"]


@needs_numba
@pytest.mark.parametrize("given, words", [
    (["nosuch"], "no case 'nosuch'"), (["--tau", "5", CASE], "tau = 5.0, legal: "),
    (["--tau", "0.001", "--coarse", "0.1", CASE], "coarse = 0.1, legal: up to tau = 0.001"),
])
def test_wrong_arguments_give_one_sentence(given, words, capsys):
    assert tail.main(given) == 2
    error = capsys.readouterr().err
    assert error.startswith("tail: ") and words in error and error.count("\n") == 1


def test_a_net_needs_tokens(capsys):
    with pytest.raises(SystemExit):
        tail.main(["--net", "0"])
    assert "--net 0: give 2 tokens or more" in capsys.readouterr().err
