# SPDX-License-Identifier: Apache-2.0
"""scripts/signoff.py and its sections, on data made here and on what is kept."""

import pytest

from scripts import signoff as entry
from scripts.verify import signoff


def lines(section):
    """(figure, met) of a section's lines."""
    return [(line.figure, line.met) for line in section.lines]


def test_without_data_every_figure_is_missed(tmp_path):
    sections = [signoff.tests(tmp_path), signoff.functional({}), signoff.code({}),
                signoff.mutation({}), signoff.proofs({}), signoff.soak({}), signoff.bugs({})]
    assert not any(line.met for s in sections for line in s.lines)
    assert lines(sections[0]) == [("not run here", False)]
    assert [line.figure for line in sections[5].lines] == ["not run", "not run"]


@pytest.mark.parametrize(("unit", "system", "survived", "drawn", "figure", "met"), [
    (900, 80, 20, 1012, "980 of 1,000, 98.0 %; 12 equivalent, 0 not tried", True),
    (900, 79, 21, 1012, "979 of 1,000, 97.9 %; 12 equivalent, 0 not tried", False),
    (899, 100, 0, 1018, "999 of 999, 100.0 %; 12 equivalent, 7 not tried", False)])
def test_mutants_need_their_number_and_their_share(unit, system, survived, drawn, figure, met):
    def mutants(level, count, **more):
        return [{"name": "a", "change": "x", "level": level, "cpu_s": 1.0, **more}] * count

    entry = {"drawn": drawn, "mutants": [
        *mutants("unit", unit), *mutants("system", system), *mutants("survived", survived),
        *mutants("pending", 12, verdict="equivalent", reason="same")]}
    found = signoff.mutation({"modules": {"sofa_x": entry}})
    assert lines(found) == [(figure, met)]
    assert found.rows[-1] == ["sofa_x", "x", "equivalent", "same"]


def test_code_coverage_counts_modules_below_their_goals():
    whole = {"line": [2, 2, 0], "expr": [0, 0, 0], "toggle": [98, 100, 3]}
    part = {"line": [199, 200, 0], "expr": [1, 1, 0], "toggle": [1, 1, 0]}
    found = signoff.code({"code": {"about": "A run.", "modules": [
        {"file": "rtl/a.v", **whole}, {"file": "rtl/b.v", **part}]}})
    assert lines(found) == [("99.50 %; 1 of 2 modules below", False),
                            ("100.00 %; 0 of 2 modules below", True),
                            ("98.02 %; 0 of 2 modules below", True)]


@pytest.mark.parametrize(("items", "wrong", "met"), [(6000, [], True), (6000, [7], False),
                                                     (4000, [], False)])
def test_soak_needs_its_items_and_no_mismatch(items, wrong, met):
    of = {"items": items, "jobs": 1, "cycles": 2, "values": 3, "mismatches": wrong}
    found = signoff.soak({"tiny": {**of, "sources": "a"},
                          "small": {**of, "sources": "a", "items": 4000, "mismatches": []}}, "a")
    assert [line.met for line in found.lines] == [met, False]
    assert "Of other sources" not in found.about


def test_results_of_other_sources_are_named():
    of = {"items": 1, "jobs": 1, "cycles": 2, "values": 3, "mismatches": []}
    found = signoff.soak({"tiny": {**of, "sources": "a"}, "small": {**of, "sources": "b"}}, "a")
    assert found.about.endswith("Of other sources than those here: small.")


def test_the_last_run_is_read_by_folder(tmp_path):
    path = tmp_path / "build" / "results" / "test.xml"
    path.parent.mkdir(parents=True)
    path.write_text('<testsuites><testsuite><testcase classname="tb.sads.test_sads"/>'
                    '<testcase classname="tb.sads.test_sads"><skipped/></testcase>'
                    '<testcase classname="tb.csr.test_csr"><failure/></testcase>'
                    '</testsuite></testsuites>')
    found = signoff.tests(tmp_path)
    assert found.rows == [["tb/csr", "0", "0", "1"], ["tb/sads", "1", "1", "0"]]
    assert lines(found) == [("1 passed, 1 skipped, 1 failed", False)]


def test_page_shows_every_line_and_escapes():
    section = signoff.Section("x", "Title", "About `code`.",
                              [signoff.Line("what", "1 < 2", "all", False)], ["a"], [["<b>"]])
    page = signoff.page([section], "abc+")
    assert "1 &lt; 2" in page and "<code>code</code>" in page and "&lt;b&gt;" in page
    assert "missed" in page and "abc+" in page and "Known limitations" in page


def test_table_of_the_readme_is_that_of_the_data():
    text = entry.README.read_text()
    assert "<!-- table: signoff -->" in text
    assert entry.document(text, signoff.gather()) == text, "scripts/signoff.py --save"
