# SPDX-License-Identifier: Apache-2.0
"""What scripts/power.py records, how it reads that, and its tables."""

import re
from types import SimpleNamespace

import numpy as np
import pytest

from scripts.silicon import activity, jobs, netlist, power_report


def design(name, cells, **ports):
    """A netlist: ports are name -> (direction, bits); cells name -> (type, connections)."""
    return {"modules": {name: {
        "ports": {p: {"direction": d, "bits": b} for p, (d, b) in ports.items()},
        "cells": {c: {"type": t, "connections": n} for c, (t, n) in cells.items()}}}}


LEAF = design("leaf", {}, clk=("input", [2]), a=("input", [3]), y=("output", [4, 5]))
CELLS = {f"g[{i}].x": ("leaf", {"clk": [2], "a": [3], "y": [10 + 2 * i, 11 + 2 * i]})
         for i in range(20)}
DESIGNS = {"leaf": LEAF, "sofa": design("sofa", CELLS, clk=("input", [2]), a=("input", [3]),
                                        q=("output", [10]))}
JOBS = [jobs.Job("leaf", "sofa_leaf", "", [], {}, 20, {}),
        jobs.Job("sofa", "sofa", "", ["leaf"], {}, 1, {})]


def test_what_is_recorded(monkeypatch):
    """Of twenty instances four, and outputs of all; where those are too many bits, of the four."""
    top, *leaves = activity.samples(JOBS, DESIGNS)
    assert (top.path, top.whole, top.leaves["g[7].x"]) == ("sofa", True, "sofa.g[7].x")
    assert [s.path for s in leaves] == [f"sofa.g[{i}].x" for i in (2, 4, 10, 16)]
    text = activity.rules([top, *leaves], DESIGNS)
    assert 'tracing_on -scope "sofa.g[2].x" -levels 1' in text
    assert text.count('"sofa.g[*].x.y"') == 1
    monkeypatch.setattr(activity, "WIDE", 39)
    top, *leaves = activity.samples(JOBS, DESIGNS)
    assert not top.whole and set(top.leaves.values()) == {s.path for s in leaves}
    assert "*]" not in activity.rules([top, *leaves], DESIGNS)


class Recorded(activity.Waves):
    """Waves of a dict: name -> [(time, value)]; rising edges at 10, 20, ..."""

    def __init__(self, values):
        self.values, self.edges = values, np.arange(10, 100, 10)

    def changes(self, name):
        return self.values[name]


def test_values_are_those_before_an_edge():
    """What changes at an edge is seen by the next one; what comes and goes between two is not."""
    waves = Recorded({"x": [(0, 0), (10, 3), (25, 1), (27, 2)], activity.BUSY: [(0, 0), (20, 1),
                                                                               (70, 0)]})
    assert waves.bits("x", 2).tolist() == [[1, 0, 1], [1, 1, 1], [2, 0, 0]]
    assert waves.window() == (1, 6)


def test_stimulus():
    """Inputs come a cycle before the edge that sees them; constants and the clock not at all."""
    [top, *_] = activity.samples(JOBS, DESIGNS)
    values = {"sofa.a": [(0, 0), (30, 1)], "sofa.q": [(0, 0), (50, 1)],
              **{f"sofa.g[{i}].x.y": [(0, 0), *([(20, 2)] if i == 4 else [])] for i in range(20)}}
    given, seen = activity.stimulus(top, DESIGNS, SimpleNamespace(ports={"q": (True, [99])}),
                                    Recorded(values))
    assert given.tolist() == [[2, 3, 1], [1, 19, 1]] and seen.tolist() == [[4, 99, 1]]
    del values["sofa.a"]
    with pytest.raises(KeyError):
        activity.stimulus(top, DESIGNS, SimpleNamespace(ports={"q": (True, [99])}),
                          Recorded(values))


def result():
    """Two ways of a machine of two blocks."""
    def block(module, *parts):
        return {"module": module, "instances": 4, "samples": 1, "glitches": 0.25, "wrong": 0.0,
                **dict(zip(power_report.PARTS, parts, strict=True))}
    blocks = {"dlzs_cell": block("sofa_dlzs_cell", 2e6, 1e6, 1e6, 0.0, 1e5),
              "rass": block("sofa_rass", 1e5, 0.0, 2e5, 6e5, 0.0)}
    one = {"cycles": 1000, "kept": 100, "visible": 5000, "rows": 8, "d": 64, "blocks": blocks}
    return {"config": "lean", "case": "x", "ways": {"sum": one, "dense": {**one, "kept": 5000}}}


def test_tables(tmp_path):
    saved, page = tmp_path / "p.json", tmp_path / "p.md"
    power_report.save(result(), saved)
    page.write_text("<!-- table: other -->\nkept\n<!-- end of table -->\n" + "".join(
        f"<!-- table: {t} -->\nold\n<!-- end of table -->\n" for t in power_report.TABLES))
    power_report.write_document(page, saved)
    text = page.read_text()
    assert "kept" in text and "old" not in text
    assert "| sums select | 100 of 5,000 | 1,000 | 5.0 | 50,000 | 1,000 | 5,000 |" in text
    assert "| dense | dlzs | 2.0 | 1.0 | 1.0 | 0.00 | 0.10 | 4.1 | 82.0% |" in text
    assert "| sums select | all | 2.1 | 1.0 | 1.2 | 0.60 | 0.10 | 5.0 |  |" in text
    assert "| rass | 4 | 900 | 900 | 225 | 225 | 25% | 25% |" in text
    assert "100 of 5000 pairs: 5.00 uJ, 50000 pJ a kept pair, 5000 mW" in \
        power_report.text(result())


def test_the_page_is_up_to_date():
    page = power_report.DOCUMENT.read_text()
    assert re.search("table: power-head", page)
    assert power_report.document(page, power_report.load()) == page


def test_names_are_those_of_verilator():
    assert netlist.tidy("genblk1.genblk1.g_core.x") == "g_core.x"
