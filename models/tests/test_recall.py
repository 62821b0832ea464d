# SPDX-License-Identifier: Apache-2.0
"""The measurement script: its measures on known data, its output files, its complaints."""

import csv

import numpy as np
import pytest

from models import workloads
from models.first.config import Config
from scripts import recall

PAPER = Config.from_name("paper")
CASE = "minilm_novel_s0100_l00"
LAYER = "smollm2_novel_s0512_l19"


def test_perfect_and_reversed_predictions():
    rng = np.random.default_rng(1)
    q, k = rng.normal(size=(20, 8)), rng.normal(size=(40, 8))
    truth = recall.Truth(q, k, False, [0.1, 0.5])
    assert truth.recalls(q @ k.T) == {0.1: 1.0, 0.5: 1.0}
    assert truth.recalls(-(q @ k.T)) == {0.1: 0.0, 0.5: 0.0}


def test_schemes_rank_as_expected():
    rows = recall.measure_recall(["smollm2_code_s0128_l26"], [0.1], PAPER, with_frac=True)
    mean = {
        scheme: np.mean([r[5] for r in rows if r[2] == scheme and r[3] in (-1, 8)])
        for scheme in recall.SCHEMES
    }
    assert 1 >= mean["exact-int8"] > mean["two-term"] > mean["floor"] > mean["both"] > 0.5
    losses = [recall.frac_losses(rows, "floor", f).mean() for f in recall.FRACS]
    assert losses[0] > 0.05 > 0.002 > losses[-1]
    assert 1 <= recall.pick_frac(rows, "floor") <= 6


def test_command_line(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(recall, "FORMATS", ({}, {"GUARD": 1}))
    asked = ["--cases", CASE, "--tables", "recall,frac,formats", "--keep", "10"]
    assert recall.main([*asked, "--out", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert (tmp_path / "recall.md").read_text() == text
    for words in ("| exact-int8 |", "| SC_FRAC |", "| as built |", "| GUARD=1 |"):
        assert words in text
    with open(tmp_path / "recall.csv", newline="") as handle:
        rows = list(csv.DictReader(handle))
    heads = workloads.load_case(CASE).n_heads
    assert len(rows) == heads * (2 + 3 * 8)
    assert all(0 <= float(r["recall"]) <= 1 for r in rows)
    with open(tmp_path / "recall_formats.csv", newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert len(rows) == 2 * heads * 3 and all(float(r["error"]) < 0.002 for r in rows)


def test_predicted_keys_rank_as_expected(tmp_path, capsys):
    out = ["--tables", "keys", "--keep", "20", "--out", str(tmp_path)]
    assert recall.main(["--layers", LAYER, *out]) == 0
    assert "| K^ of 16 bits |" in capsys.readouterr().out
    with open(tmp_path / "recall_keys.csv", newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert len(rows) == len(recall.KEY_SCHEMES) * workloads.load_layer(LAYER).n_heads
    mean = {
        scheme: np.mean([float(r["recall"]) for r in rows if r["scheme"] == scheme])
        for scheme in recall.KEY_SCHEMES
    }
    exact, one, two, *_ = mean.values()
    assert exact > one + 0.03 > two + 0.05 > 0.85
    assert two > mean["no smoothing"] + 0.003 and two > mean["no bias correction"] + 0.1
    assert mean["K^ of 4 bits"] < mean["K^ of 6 bits"] < two < mean["K^ of 16 bits"]
    assert abs(mean["K^ with exact weights"] - one) < 0.005
    assert abs(mean["planned from the first half of the tokens"] - two) < 0.005


def test_cut_keys():
    t = np.array([-3000, -5, 0, 7, 9, 24, 3000])
    assert (recall.cut_keys(t, 16) == t).all()
    cut = recall.cut_keys(t, 8)
    assert np.abs(cut).max() <= 127 and (cut == [-94, 0, 0, 0, 0, 1, 94]).all()


def test_complaints(tmp_path, capsys):
    out = ["--out", str(tmp_path)]
    assert recall.main(["--cases", "nowhere", *out]) == 1
    assert "no case 'nowhere'" in capsys.readouterr().err
    assert recall.main(["--tables", "keys", "--layers", "nowhere", *out]) == 1
    assert "no case 'nowhere'" in capsys.readouterr().err
    assert recall.main(["--config", "huge", *out]) == 1
    assert "no configuration 'huge'" in capsys.readouterr().err
    for bad in (["--keep", "x"], ["--keep", "0"], ["--tables", "y"]):
        with pytest.raises(SystemExit):
            recall.main(bad)
