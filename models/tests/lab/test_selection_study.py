# SPDX-License-Identifier: Apache-2.0
"""Selection study: one small layer through the script's own functions, ranking by hand."""

from __future__ import annotations

import re

import pytest

from models import workloads
from models.config import Config
from models.lab.method import Call
from models.lab.organisations import Measured, Organisation
from scripts import selection_study as study

PAPER = Config.from_name("paper")


def point(mass, cycles):
    """100 rows that retain so much mass at so many cycles."""
    return Measured(visible=1000, selected=100, rows=100, mass=mass, power=1.0, steps=10,
                    slots=2560, cycles=cycles)


def test_ranking_by_hand(monkeypatch):
    """Interpolated at the lost mass of the base; rules that do not reach it are left out."""
    monkeypatch.setattr(study, "RADII", (6.0, 8.0))
    monkeypatch.setattr(study, "LANES", {"lockstep": {}, "groups of 4": {"share": 4}})
    monkeypatch.setattr(study, "RULES", {name: Organisation(quota=q) for name, q in (
        ("quota 16", 16), ("quota 8", 8), ("quota 4", 4))})
    total = {("quota 16", 6.0, "lockstep"): point(96, 1000),
             ("quota 16", 8.0, "lockstep"): point(98, 1200),
             ("quota 8", 6.0, "lockstep"): point(94, 600),
             ("quota 8", 8.0, "lockstep"): point(97, 900),
             ("quota 4", 6.0, "lockstep"): point(90, 300),
             ("quota 4", 8.0, "lockstep"): point(92, 400),
             ("quota 8", 6.0, "groups of 4"): point(94, 300)}
    # 4 % lost lies two thirds of the way from 6 to 3 %: 800 cycles.
    ranked = study.ranking(total, PAPER, 0.04)
    assert [(r[0], r[1]) for r in ranked] == [("quota 8", "lockstep"), ("quota 16", "lockstep")]
    assert ranked[0][3:] == pytest.approx((0.8, 1.0, 0.8))
    assert ranked[1][3] == pytest.approx(1.0)
    text = study.recommendation(ranked)
    assert text.startswith("Recommended: quota 8, lockstep: 0.80 of the cycles at 1.00")
    assert study.at_loss([point(90, 1), point(92, 2)], 0.04, lambda m: m.cycles) is None


def test_a_layer():
    """Every organisation on 140 tokens of a captured layer, and the report of them."""
    case = workloads.load_case("smollm2_novel_s1024_l05")
    call = Call(case.q[:3, :140], case.k[:1, :140], case.v[:1, :140], True)
    calls = []
    total = study.layer_results(call, PAPER, lambda: calls.append(1))
    assert len(calls) == len(study.RULES)
    base = total[study.BASE]
    shared = total["quota 16", 6.0, "groups of 8"]
    assert (shared.selected, shared.mass) == (base.selected, base.mass)
    assert shared.steps < base.steps
    own = total["quota 16, radius per head", 0.0, "lockstep"]
    assert own.lost == pytest.approx(base.lost, abs=0.01)
    text = study.report(140, total, PAPER, call.d)
    assert text.count("\n| quota 16 | 6.0 |") == 1
    assert len([line for line in text.splitlines() if line.startswith("| quota 12, 6.0 nats")]) == \
        len(study.LANES)
    assert text.count("Recommended: ") == len(study.TARGETS)


@pytest.mark.parametrize("arguments, message", [
    (["--layers", "0"], r"--layers 0, legal: a list of numbers 1\.\.29"),
    (["--lengths", "1024,long"], r"--lengths 1024,long, legal: a list of numbers 128\.\.8192")])
def test_illegal_options(arguments, message, capsys):
    with pytest.raises(SystemExit):
        study.main(arguments)
    assert re.search(message, capsys.readouterr().err)
