# SPDX-License-Identifier: Apache-2.0
"""The report page: built from a small made-up set of results, and looked at in a real browser."""

import dataclasses
import json
import math
import re
import xml.etree.ElementTree as tree

import pytest

from models import dlzs
from models.config import ConfigError
from models.lab.measure.curves import pool
from models.lab.measure.grid import (
    DENSE,
    FAR,
    FIRST,
    FLOOR,
    FROM_X,
    GRIDS,
    METHODS,
    OURS,
    RIVALS,
    SNAPS,
    UNSEEN,
    at,
    grids,
    label,
)
from models.lab.measure.store import StoreError
from models.lab.methods.first import FirstSofa
from models.lab.report import figures, lengths, record, report
from models.lab.report.page import Page, table_html
from models.lab.report.tables import (
    Gathered,
    between,
    keep_table,
    published_table,
    same_tensors,
    spread,
)
from models.length import TAU_LINE, tau_of
from scripts import browser
from scripts import report as command

WHERE = ("smollm2", 1024)


def point(label, loss, keep, predict=10, recall=0.9, net="smollm2"):
    """A setting whose prediction costs ``predict`` 8-bit additions a pair, of 100 pairs."""
    result = {"case": {"net": net, "text": "novel", "length": 1024}, "setting": {"class": "a<b>"},
              "samples": [loss - 0.001, loss + 0.001], "recall": recall, "mass": 0.95, "extra": {},
              "visible": 100, "selected": round(100 * keep), "visible_layers": [50, 50],
              "selected_layers": [60 * keep, 40 * keep],
              "ops": {"predict": {"add8": 100 * predict}, "select": {},
                      "compute": {"mul16x16": 100 * keep}}, "bytes": {"k": 1000 * keep}}
    return pool([result], label)


def curve(shift=0.0, **fields):
    return [point(f"k={k}", loss + shift, k, **fields)
            for k, loss in ((0.5, 0.0), (0.3, 0.004), (0.2, 0.012), (0.1, 0.08))]


@pytest.fixture(scope="module")
def got():
    names = {OURS: "rule", "another rule": "rule", DENSE: "reference", "elsa": "peer",
             "spatten": "peer", "two-term": "predictor", "contiguous": "option", "width": "width"}
    curves = {name: curve(0.001 * i, predict=i) for i, name in enumerate(names)}
    curves[DENSE] = [point("", 0.0, 1.0, predict=0)]
    curves["spatten"] = [point("t=1", 0.5, 0.7)]
    curves["width"] = [point(str(n), 0.01, 0.2, recall=0.6 + 0.05 * n) for n in (0, 3, 5)]
    rows = [{"case": {"net": "smollm2", "length": 1024, "text": "novel"},
             "types": [[[60, 30, 10], [20, 70, 10]], [[60, 35, 5], [20, 80, 0]]],
             "found": [[90.0, 95.0], [96.0, 98.0]]}]
    other = {OURS: curve(net="minilm")}
    return Gathered({WHERE: curves, ("minilm", 256): other}, names, rows, [None] * 2, 40)


@pytest.fixture(scope="module")
def page(got, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    (folder / "dse").mkdir()
    (folder / report.STUDY).write_text(json.dumps({
        "command": "make dse", "x": "loss, nats", "y": "cycles", "trials": [[1, 2], [2, 1], [3, 3]],
        "front": [[1, 2], [2, 1]]}))
    return report.build(got, folder, "make evaluate")


# ---- Tables ----------------------------------------------------------------------------------


def test_keep_table_interpolates(got):
    header, rows = keep_table(got)
    assert header == ["rule", "S = 1024: +0.5 %", "S = 1024: +1 %", "S = 1024: +2 %"]
    # +1 % is ln 1.01 = .00995 nats, between (.3, +.401 %) and (.2, +1.207 %).
    assert rows[0] == [OURS, "28.8 %", "22.6 %", "18.9 %"]
    assert ["spatten", "not reached", "not reached", "not reached"] in rows
    assert [DENSE, "<= 100.0 %", "<= 100.0 %", "<= 100.0 %"] in rows


def test_same_tensors_takes_the_sparsest_setting_within_the_loss(got):
    header, rows = same_tensors(got, WHERE, [OURS, "elsa", "spatten", "absent", DENSE], DENSE)
    assert [r[0] for r in rows] == [OURS, "elsa", "spatten", DENSE]
    ours, elsa, spatten, dense = (dict(zip(header, r, strict=True)) for r in rows)
    assert (ours["setting"], ours["keep"]) == ("k=0.3", "30.0 %")
    assert ours["perplexity"] == "+0.40 ± 0.10 %"
    assert (elsa["prediction"], elsa["formal"]) == ("24", "77")  # 3 adds of 8 bits; .3 * 256
    assert spatten["perplexity"].endswith("(!)")
    # 30 of 100 pairs cost 256 each; dense costs 256 a pair.
    assert (ours["all, of dense"], ours["DRAM, of dense"]) == ("30 %", "30 %")
    assert dense["all, of dense"] == "100 %"


def test_the_papers_table_is_beside_ours():
    header, rows = published_table()
    assert [r[0] for r in rows][-1] == "SOFA" and len(rows) == 9
    assert dict(zip(header, rows[0], strict=True))["accuracy loss"] == "5.3 %"


# ---- Page ------------------------------------------------------------------------------------


def test_page_holds_every_figure_with_its_command_and_settings(page):
    text = page.read_text()
    names = re.findall(r"<figure id='([^']+)'", text)
    assert {"rules-smollm2-1024", "predictors-smollm2-1024", "systems-smollm2-1024",
            "options-smollm2-1024", "widths-smollm2-1024", "row-types", "layers-1024",
            "operations", "bytes", "front"} <= set(names)
    assert len(names) == len(set(names))
    for name in names:
        figure = text[text.index(f"<figure id='{name}'"):]
        figure = figure[:figure.index("</figure>")]
        assert ("make dse" if name == "front" else "make evaluate") in figure
        assert (page.parent / "figures" / f"{name}.png").stat().st_size > 1000
        tree.parse(page.parent / "figures" / f"{name}.svg")
        tree.fromstring(figure[figure.index("<svg"):figure.index("</svg>") + 6])
    assert "2 results of this grid are missing" in text
    assert '{&quot;class&quot;: &quot;a&lt;b&gt;&quot;}' in text
    assert "http" not in re.sub(r'xmlns(:xlink)?="[^"]*"', "", text)
    assert text.count("<script") == 0


def test_ids_are_unique_and_references_lead_somewhere(page):
    text = page.read_text()
    ids = re.findall(r"""\bid=["']([^"']+)["']""", text)
    assert len(ids) == len(set(ids))
    wanted = set(re.findall(r"""href=["']#([^"']+)["']|url\(#([^)]+)\)""", text))
    assert {a or b for a, b in wanted} <= set(ids)


def test_an_empty_grid_makes_a_page(tmp_path):
    text = report.build(Gathered(missing=[None] * 5), tmp_path, "make evaluate").read_text()
    assert "5 results of this grid" in text and text.count("No results yet.") == 9


@pytest.mark.parametrize("content", ["{", "[]", '{"trials": [], "front": [], "x": "a"}'])
def test_a_broken_study_is_named(tmp_path, content):
    (tmp_path / "dse").mkdir()
    (tmp_path / report.STUDY).write_text(content)
    with pytest.raises(StoreError, match="front.json is not a whole study .*remove it"):
        report.build(Gathered(), tmp_path, "make evaluate")


def test_inline_svg_follows_the_page():
    svg = ('<?xml version="1.0"?><svg width="9pt" height="8pt" viewBox="0 0 9 8"><defs>'
           '<path id="m1"/></defs><use href="#m1" style="fill: #000000"/>'
           '<g clip-path="url(#m1)"/></svg>')
    assert figures.inline(svg, "n") == (
        '<svg role="img" aria-label="n" viewBox="0 0 9 8"><defs><path id="n-m1"/></defs>'
        '<use href="#n-m1" style="fill: currentColor"/><g clip-path="url(#n-m1)"/></svg>')


# ---- Browser ---------------------------------------------------------------------------------

NO_BROWSER = "no Chromium on PATH (apt-get install chromium): the page was NOT looked at"


@pytest.mark.skipif(browser.find() is None, reason=NO_BROWSER)
@pytest.mark.parametrize("width, dark", [(390, False), (390, True), (1280, False)])
def test_page_in_a_real_browser(page, tmp_path, width, dark):
    view = browser.look(page, width, dark=dark, png=tmp_path / "shot.png")
    assert view.problems == []
    assert len(view.figures) == page.read_text().count("<figure") >= 10
    assert all(0 < w <= width and h > 50 and parts > 5 for _, w, h, parts in view.figures)
    assert (tmp_path / "shot.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.skipif(browser.find() is None, reason=NO_BROWSER)
def test_the_browser_sees_faults(tmp_path):
    path = tmp_path / "bad.html"
    path.write_text(
        "<!DOCTYPE html><meta name='viewport' content='width=device-width'><nav>"
        "<a href='#nothing'>x</a></nav><div style='width:700px'>wide</div><figure id='f'>"
        "<img src='none.png'></figure><figure id='g'><svg width='99' height='99'></svg></figure>"
        "<script>console.error('bad'); undefined_name()</script>")
    problems = " | ".join(browser.look(path, 390).problems)
    for part in ("console at 390 px: bad", "Uncaught", "px too wide at 390 px (DIV)",
                 "figure f is empty", "figure g is empty", "#nothing, which does not exist",
                 "the page loads file://"):
        assert part in problems


def test_tables_and_texts_are_escaped():
    html = table_html((["a<b"], [["<script>"]]))
    assert "a&lt;b" in html and "&lt;script&gt;" in html
    page = Page("t & t", "<p>lead</p>")
    page.add("x", "h < h", "<p>body</p>")
    assert "<title>t &amp; t</title>" in page.html() and "h &lt; h</a>" in page.html()


# ---- Grid ------------------------------------------------------------------------------------


def test_spread_keeps_the_ends():
    assert spread(9, 5) == [0, 2, 4, 6, 8]
    assert spread(2, 5) == spread(2, None) == [0, 1]


def test_between_halves_the_gaps_in_which_a_loss_is_passed():
    # 0.5 and 1 % are passed between 0 and 4, 2 % between 4 and 8.
    assert between({0: 0.1, 4: 1.5, 8: 30.0}, 9) == [2, 6]
    assert between({0: 0.1, 2: 0.7, 3: 1.1, 4: 1.5, 6: 4.0, 8: 30.0}, 9) == [1, 5]
    assert between({0: 0.1, 1: 1.0, 2: 2.1, 8: 30.0}, 9) == []  # neighbours already
    assert between({0: 3.0, 8: 30.0}, 9) == between({0: 0.0, 8: 0.4}, 9) == []  # never, always
    # Within all limits so far: on, by halves, to the sparsest.
    assert between({0: 0.1, 4: 0.4}, 9) == [6] and between({0: 0.1, 6: 0.3}, 9) == [7]
    assert between({0: 0.1, 7: 2.0}, 9) == [3, 8]
    assert between({0: 0.1}, 1) == []


def test_labels_name_what_differs():
    assert label(FirstSofa()) == "defaults"
    assert label(FirstSofa(quota=8, dense_layers=(0,))) == "dense_layers=(0,), quota=8"


@pytest.mark.parametrize("name", ["quick", "default", "full"])
def test_grids_hold_everything_that_must_be_shown(name):
    series, rows = grids(GRIDS[name])
    names = [s.name for s in series]
    assert len(names) == len(set(names)) and {OURS, FLOOR, FROM_X, FIRST, DENSE} <= set(names)
    assert {method for method in METHODS if not method.startswith(("sofa", "rule"))} <= set(names)
    assert set(RIVALS) | set(FAR) <= set(names) and rows
    assert {s.group for s in series} == {
        "rule", "reference", "peer", "predictor", "option", "width"}
    for s in series:
        assert len(set(s.settings)) == len(s.settings) and s.cases
        assert len({text for text, _ in s.settings}) == len(s.settings)
    found = {c.length for c in series[0].cases if c.net == "smollm2"}
    assert found == {256} if name == "quick" else {512, 1024, 2048}


def test_the_default_grid_is_on_texts_on_which_nothing_was_chosen():
    series, _ = grids(GRIDS["default"])
    for s in series:
        texts = {(c.text, c.part) for c in s.cases if c.net == "smollm2" and c.length == 1024}
        assert texts == set(UNSEEN[:1] if s.group == "predictor" else UNSEEN)
        lengths_of = {c.length for c in s.cases if c.net == "smollm2"}
        assert lengths_of == ({512, 1024, 2048} if s.name in RIVALS else {1024})
        # Those that the table is about come first, those that are far behind last.
        assert (s.rank == 0) == (s.name in RIVALS) and (s.name not in FAR or s.rank == 3)


def test_ablations_share_the_default_setting_with_the_sweeps():
    series = {s.name: [m for _, m in s.settings] for s in grids(GRIDS["default"])[0]}
    assert at("two-term") in series[OURS] and at("floor") in series[FLOOR]
    for name in ("F_FRAC, two-term", "VM_W, two-term", "SC_FRAC, two-term"):
        assert at("two-term") in series[name]
    assert at("floor") in series["SC_FRAC, floor"]


def test_the_long_grid_has_thresholds_around_the_rule():
    series, rows = grids(GRIDS["long"])
    assert not rows and {s.group for s in series} == {"fit", "length"}
    for s in series:
        [*where] = {c.length for c in s.cases}
        if s.group == "fit":
            assert {(c.text, c.part) for c in s.cases} == {("novel", 0)}
            continue
        [keys] = where
        assert len(s.settings) == 3 and {(c.text, c.part) for c in s.cases} == set(UNSEEN[:2])
        assert {dict(m.widths).get("KEYS_MAX") for _, m in s.settings} == {
            8192 if keys == 8192 else None}
        taus = [m.tau for _, m in s.settings]
        assert taus[1] == tau_of(SNAPS[s.settings[0][1].snap], keys)
        assert taus[2] / taus[1] == pytest.approx(math.sqrt(2))


def test_the_threshold_by_length():
    assert math.log2(tau_of(dlzs.TWO_TERM, 2048)) == pytest.approx(
        math.log2(tau_of(dlzs.TWO_TERM, 1024)) + TAU_LINE[dlzs.TWO_TERM][1])
    assert tau_of(dlzs.FLOOR, 1024) == 2.0 ** TAU_LINE[dlzs.FLOOR][0]
    assert tau_of(dlzs.TWO_TERM, 1) <= 1.0
    with pytest.raises(ConfigError, match="keys = 0, legal: 1 and above"):
        tau_of(dlzs.FLOOR, 0)
    for keys in (math.nan, math.inf):
        with pytest.raises(ConfigError, match="legal: 1 and above"):
            tau_of(dlzs.FLOOR, keys)
    with pytest.raises(ConfigError, match="snap = 1 has no threshold by length, legal: 0, 2"):
        tau_of(dlzs.NEAREST, 1024)


# ---- Committed results -----------------------------------------------------------------------


def tau_point(octave, loss, keep):
    return dataclasses.replace(point(f"tau={2.0**octave:.4g}", math.log1p(loss / 100), keep),
                               texts={"speech": (math.log1p(loss / 100), 0.002, keep)})


def test_a_record_gives_the_tables_of_the_results_it_was_made_of(got, tmp_path):
    record.save(got, tmp_path / "r.json")
    again = record.load(tmp_path / "r.json")
    assert keep_table(again) == keep_table(got)
    assert record.systems(again) == record.systems(got)
    assert record.sorted_keeps(again)[1][0] == ["__SOFA__", "28.8 %", "22.6 %", "18.9 %"]
    assert [row[0] for row in record.sorted_keeps(again)[1]] == [
        "__SOFA__", "another rule", "ELSA", "SpAtten"]
    for make in record.TABLES.values():
        header, rows = make(again)
        assert all(len(row) == len(header) for row in rows)
    (tmp_path / "r.json").write_text("{}")
    with pytest.raises(StoreError, match="r.json is not a record of results .*--save"):
        record.load(tmp_path / "r.json")
    # Nothing takes the place of a record.
    with pytest.raises(StoreError, match="r.json is not written, there are no results"):
        record.save(Gathered(), tmp_path / "r.json")
    assert (tmp_path / "r.json").read_text() == "{}"


@pytest.mark.parametrize("more", [["--save", "x"], ["--check"]])
def test_documents_are_written_alone(more, capsys):
    with pytest.raises(SystemExit):
        command.main(["--documents", *more])
    assert "--documents goes without --save and --check" in capsys.readouterr().err


def test_lengths_takes_one_record(capsys):
    with pytest.raises(SystemExit, match="2"):
        lengths.main(["a", "b"])
    assert "unrecognized arguments: b" in capsys.readouterr().err


def test_documents_get_tables_between_their_marks(got):
    text = "a\n<!-- table: keep -->\nold\n<!-- end of table -->\nb\n"
    fresh = record.rendered(text, got)
    assert fresh.startswith("a\n<!-- table: keep -->\n| rule |") and fresh.endswith("-->\nb\n")
    assert "| __SOFA__ | 28.8 % |" in fresh and "old" not in fresh
    assert record.rendered(fresh, got) == fresh
    with pytest.raises(ValueError, match="table 'x', legal: keep, rivals"):
        record.rendered(text.replace("keep", "x"), got)


def test_the_documents_hold_what_the_committed_results_give():
    got, marks = record.load(), 0
    for path in record.DOCUMENTS:
        text = path.read_text()
        marks += len(record.MARK.findall(text))
        assert record.rendered(text, got) == text, f"{path}: run scripts/report.py --documents"
        assert text.count("<!-- table: ") == text.count("<!-- end of table -->")
    assert marks >= 4
    assert record.RESULTS.stat().st_size < 300_000


def test_the_line_of_the_threshold_is_fitted_and_tested():
    curves, groups = {}, {f"{OURS}, fit": "fit", OURS: "rule"}
    for length, shift in ((512, 0.5), (1024, 0.0), (2048, -0.5)):
        # 1 % is passed half-way between -9 and -8 at 1024 keys.
        sweep = [tau_point(o + shift, loss, 0.1 * o + 1) for o, loss in ((-9, 0.5), (-8, 1.5))]
        curves["smollm2", length] = {f"{OURS}, fit": sweep, OURS: sweep}
    found, line = lengths.fit(Gathered(curves, groups), OURS)
    assert found == pytest.approx({512: -8.0, 1024: -8.5, 2048: -9.0}, abs=1e-3)
    assert line == pytest.approx((-8.5, -0.5), abs=1e-3)
    rows = lengths.test(Gathered(curves, groups), OURS, line)
    assert rows[1] == ["1024", "speech", "-8.50", "15.00 %", "+1.00 ± 0.20 %"] and len(rows) == 3
    assert lengths.crossing([(-9, 0.1), (-8, 0.9)], 1.0) is None  # never passed
    assert lengths.crossing([(-9, 1.1), (-8, 2)], 1.0) is None  # never reached
