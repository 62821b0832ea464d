# SPDX-License-Identifier: Apache-2.0
"""Timelines: what they show is what the counters count, and a trace reads back."""

from __future__ import annotations

import numpy as np
import pytest

from models.config import Config
from tb import runner
from tb.common import timeline
from tb.common.timeline import Slice, TimelineError, Track
from tb.system.simulate import JobSpec, Options, simulate


def cycles(tracks, track, name):
    """Cycles of all slices of this name on the tracks whose name begins so."""
    return sum(s.end - s.begin for t in tracks if t.name.startswith(track) for s in t.slices
               if s.name == name)


@pytest.mark.sims("verilator")
@pytest.mark.configs("tiny")
def test_against_counters(sim, config, seed, monkeypatch):
    monkeypatch.setattr(runner.DEFAULTS, "timeline", True)
    rng = np.random.default_rng(seed)
    q, k, v = (rng.normal(size=(2, n, 16)) for n in (9, 40, 40))
    spec = JobSpec.planned("a job", q, k, v, Config.from_name(config.name), causal=False)
    [done] = simulate([spec], config.name, sim, seed=seed, options=Options(taps=False))
    folder = runner.ROOT / runner.RECORDS[-1]["results_dir"]
    tracks, count = timeline.load(folder / timeline.TRACE), done.counters
    assert not list(folder.glob(timeline.PATTERN))
    for stream in ("Q", "K8", "K", "V"):
        assert cycles(tracks, "read words", stream) == count[f"BEATS_{stream}"] > 0
    assert cycles(tracks, "write words", "O") == count["BEATS_O"] > 0
    for stage in ("dlzs", "sads", "rass"):
        assert cycles(tracks, stage, "stall") == count[f"{stage.upper()}_STALL"]
    units = [t for t in tracks if t.name.startswith("unit")]
    assert [t.name for t in units] == ["unit 0", "unit 1"]
    assert cycles(tracks, "unit", "stall") == count["SUFA_STALL"]
    [(first, last)] = timeline.jobs(tracks)
    assert 0 < count["CYCLES"] - (last - first) < 200
    pieces = [s for t in tracks if t.name == "sads masks" for s in t.slices]
    # One tile of every block comes twice, the first time only to be counted.
    assert len(pieces) == count["TILES"] - count["BLOCKS"]
    assert {(s.about["first key"], s.about["key step"]) for s in pieces} == {(0, 3), (1, 3), (2, 3)}
    assert sum(s.about["keys"] for s in pieces) == count["BLOCKS"] * k.shape[1]
    assert max(s.about["rows"] for s in pieces) == config["ROWS"]
    rows = [s for t in tracks if t.name == "sufa rows" for s in t.slices]
    assert len(rows) == 2 * 9 and sum(s.about["last of block"] for s in rows) == count["BLOCKS"]
    picture = (folder / timeline.PICTURE).read_text()
    assert all(f">{t.name}</text>" in picture for t in tracks)


def test_states_and_work(tmp_path):
    """The lowest bit counts; work without a beginning is none; an index names a unit."""
    (tmp_path / "timeline.top.g_unit[10].x.txt").write_text(
        "state;unit;flush,busy\n20 2\n40 3\n50 0\n70 2\n")
    (tmp_path / "timeline.top.g_unit__BRA__2__KET__.x.txt").write_text("state;unit;flush,busy\n")
    (tmp_path / "timeline.top.rows.txt").write_text(
        "work;sufa rows;address:48,last of block:1\n10 2\n30 1\n50 4000000001fe\n60 3\n")
    tracks = timeline.read(tmp_path)
    assert [t.name for t in tracks] == ["unit 2", "unit 10", "sufa rows"]
    assert tracks[0].slices == []
    assert tracks[1].slices == [Slice("busy", 2, 4), Slice("flush", 4, 5)]
    assert tracks[2].slices == [
        Slice("0", 3, 6, {"address": 0x10000000007F, "last of block": 0}),
        Slice("1", 6, 7, {"address": 0, "last of block": 0})]


def test_a_cut_line_counts_for_nothing(tmp_path):
    (tmp_path / "timeline.top.txt").write_text("state;seq;load,run\n10 2\n70 0\n80 ")
    assert timeline.read(tmp_path) == [Track("seq", [Slice("run", 1, 7)])]


@pytest.mark.sims("verilator")
def test_what_has_no_timeline_keeps_its_verdict(sim, seed, monkeypatch, capsys):
    """A module without tracks passes or fails as it would have."""
    monkeypatch.setattr(runner.DEFAULTS, "timeline", True)
    values = {"WIDTH": 8}
    runner.run("sofa_popcount", "tb.common.test_popcount", values, sim, seed=seed)
    assert "no timeline: no timeline.*.txt" in capsys.readouterr().out


def test_trace_reads_back(tmp_path):
    tracks = [Track("seq", [Slice("check", 3, 5), Slice("run", 5, 90), Slice("run", 95, 97)]),
              Track("sufa rows", [Slice("0", 70, 81, {"address": 64})])]
    timeline.write_trace(tracks, tmp_path / "t.json.gz")
    assert timeline.load(tmp_path / "t.json.gz") == tracks
    assert timeline.jobs(tracks) == [(5, 90), (95, 97)]
    assert timeline.shares(tracks[0], 0, 10) == {"run": .5, "check": .2}


def test_picture():
    """Each column is filled by the shares of its cycles; what lies outside is left out."""
    tracks = [Track("dlzs", [Slice("busy", 0, 50), Slice("stall", 50, 100),
                             Slice("busy", 100, 900)])]
    text = timeline.picture(tracks, 0, 100, "a < b")
    assert "a &lt; b" in text and "busy 50.0%, stall 50.0%" in text
    assert text.count(f'fill="{timeline.COLOURS["busy"]}"') == 50 + 1
    assert text.count(f'fill="{timeline.COLOURS["stall"]}"') == 50 + 1
    with pytest.raises(TimelineError, match=r"cycles 5\.\.5, legal: at least one"):
        timeline.picture(tracks, 5, 5)


def test_faults(tmp_path):
    with pytest.raises(TimelineError, match="no timeline"):
        timeline.read(tmp_path)
    (tmp_path / "timeline.a.txt").write_text("state;seq;load,run\n10 x\n")
    with pytest.raises(TimelineError, match=r"timeline\.a\.txt"):
        timeline.read(tmp_path)
