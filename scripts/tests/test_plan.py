# SPDX-License-Identifier: Apache-2.0
"""The test plan is that of the tests and points that there are, and its page is its own; what is
wrong in a plan is said; merging of functional bins."""

import dataclasses
import json

import pytest

from scripts import cover as command
from scripts.verify import bins, testplan
from tb.common import coverage

ROW = testplan.Row("sads", "Quota", "Every quota", "Masks", ("test_sads.quotas",), ("sort.*",),
                   "V2", "")
KNOWN = {"sort.ties": ("none", "at the quota"), "sort.radius": ("met",)}


def changed(**changes):
    return {"sads": [dataclasses.replace(ROW, **changes)]}


def test_the_plan_holds():
    """Every test below tb/ has a row, every row its tests and points; the page is up to date."""
    plan, known = testplan.load(), coverage.points()
    assert testplan.faults(plan, testplan.tests(), known) + testplan.left_out() == []
    assert testplan.PAGE.read_text() == testplan.page(plan, known, testplan.figures()), \
        "run scripts/plan.py"
    assert sum(map(len, plan.values())) > 100 and list(plan) == list(testplan.ORDER)


def test_figures_are_of_the_points_that_there_are():
    """docs/coverage.json knows each point, with as many bins as it has."""
    known, reached = coverage.points(), testplan.figures()
    assert {n: b for n, (_, b) in reached.items()} == {n: len(b) for n, b in known.items()}, \
        "run scripts/cover.py --functional"


@pytest.mark.parametrize("plan, said", [
    (changed(), []),
    (changed(tests=("test_sads.quotas", "test_sads.gone")), ["there is no test test_sads.gone"]),
    (changed(tests=()), ["test_sads.quotas belongs to no row"]),
    (changed(points=("sort.*", "sum.*")), ["there is no coverage point sum.*"]),
    (changed(points=("sort.ties",)), ["coverage point sort.radius belongs to no row"]),
    ({"sads": [ROW, ROW]}, ["two rows of Quota"]),
], ids=["good", "no test", "no row", "no point", "unused point", "twice"])
def test_what_is_wrong_is_said(plan, said):
    found = testplan.faults(plan, {"sads": ["test_sads.quotas"]}, KNOWN)
    assert len(found) == len(said)
    assert all(want in got for want, got in zip(said, found, strict=True))


def test_a_row_is_closed_by_its_bins():
    """V3 with all bins of all points, never without points, never from V1."""
    every = {"sort.ties": [2, 2], "sort.radius": [1, 1]}
    assert testplan.state_of(ROW, KNOWN, every) == "V3"
    assert testplan.state_of(ROW, KNOWN, {**every, "sort.ties": [1, 2]}) == "V2"
    assert testplan.state_of(ROW, KNOWN, {"sort.ties": [2, 2]}) == "V2"
    assert testplan.state_of(dataclasses.replace(ROW, points=()), KNOWN, every) == "V2"
    assert testplan.state_of(dataclasses.replace(ROW, state="V1"), KNOWN, every) == "V1"


def test_words_that_markdown_would_read_are_code():
    row = dataclasses.replace(ROW, feature="CAP_*, and 2^32 - 1; START_CHAIN.")
    assert "| `CAP_*`, and `2^32` - 1; `START_CHAIN`. |" in testplan.page({"sads": [row]}, KNOWN,
                                                                         {})


GOOD = '[[row]]\nfeature = "a"\nstimulus = "b"\ncheck = "c"\ntests = ["test_x.y"]\nstate = "V2"\n'


@pytest.mark.parametrize("text, said", [
    ("", "no row"), (GOOD + "[[row]]\n", "row 2: no feature"), ("x = 1\n" + GOOD, "unknown x"),
    (GOOD.replace("V2", "V3"), "state 'V3', legal"), (GOOD.replace("V2", "V1"), "V1 needs"),
    (GOOD + 'missing = "d"\n', "V1 needs"), (GOOD + 'note = "d"\n', "unknown field note"),
    (GOOD.replace("[[row]]", "[[row"), "at line 1")])
def test_files_that_are_no_plan(tmp_path, text, said):
    folder = tmp_path / "tb" / "sads"
    folder.mkdir(parents=True)
    (folder / "testplan.toml").write_text(text)
    with pytest.raises(testplan.PlanError, match="tb/sads/testplan.toml") as caught:
        testplan.load(tmp_path)
    assert said in str(caught.value)


def test_a_folder_with_tests_needs_a_plan(tmp_path):
    (tmp_path / "tb" / "new").mkdir(parents=True)
    (tmp_path / "tb" / "new" / "test_it.py").write_text(
        "def test_a(): ...\ndef helper(): ...\n@cocotb.test()\nasync def b(dut): ...\n")
    assert testplan.tests(tmp_path) == {"new": ["test_it.test_a", "test_it.b"]}
    with pytest.raises(testplan.PlanError, match="tb/new/testplan.toml: no such file"):
        testplan.load(tmp_path)


@pytest.mark.parametrize("second, missing", [
    ("run('x', __name__, {}, sim)", []), ("run('x', __name__, {}, sim, testcase='c/n=1')", ["b"])])
def test_tests_that_no_simulation_chooses(tmp_path, second, missing):
    (tmp_path / "tb" / "new").mkdir(parents=True)
    (tmp_path / "tb" / "new" / "test_it.py").write_text("\n".join([
        *(f"@cocotb.test()\nasync def {name}(dut):\n    pass" for name in "abc"),
        "def test_one(sim):\n    run('x', __name__, {}, sim, testcase=['a'])",
        f"def test_two(sim):\n    {second}", ""]))
    assert testplan.left_out(tmp_path) == [
        f"tb/new: no simulation chooses test_it.{name}" for name in missing]



def simulation(folder, name, found, failed=False):
    """A results folder with these bins."""
    (folder / name).mkdir()
    case = '<testcase name="t"><failure/></testcase>' if failed else '<testcase name="t"/>'
    (folder / name / "results.xml").write_text(f"<testsuites>{case}</testsuites>")
    (folder / name / coverage.FILE).write_text(json.dumps(found))


def test_simulations_are_merged(tmp_path, monkeypatch):
    """Hits add up, the layer is the highest that reached a bin, failed simulations do not count,
    bins that do not exist or are excluded are faults."""
    monkeypatch.setitem(coverage.EXCLUDED, ("job.way", "dense"), "because of this test alone")
    coverage.points.cache_clear()
    try:
        simulation(tmp_path, "sads_a", {"job.way": {"sort": 2, "sum": 1}})
        simulation(tmp_path, "system_b", {"job.way": {"sort": 3}})
        simulation(tmp_path, "system_c", {"job.mask": {"all": 1}}, failed=True)
        merged = bins.merge(tmp_path)
        assert merged.faults == [] and merged.simulations == 2
        way = merged.points["job.way"]
        assert (way["sort"].hits, way["sort"].layer, way["sort"].by) == (
            5, "system", ["sads_a", "system_b"])
        assert way["sum"].layer == "units" and way["sum+mean"].layer == ""
        assert merged.figures()["job.way"] == [2, 3] and merged.figures()["job.mask"] == [0, 4]
        assert ("job.way", "sum+mean") in merged.missed()
        assert merged.layers() == {"system": 1, "units": 1}
        table = bins.table(merged, "a test")
        assert table["reached"] == 2 and ["job.way", "dense", "because of this test alone"] in \
            table["excluded"]
        bins.write_page(merged, tmp_path / "page" / "x.html", "a test")
        assert "system_b" not in (tmp_path / "page" / "x.html").read_text()
        simulation(tmp_path, "units_d", {"job.way": {"dense": 1}, "gone": {"x": 1}})
        assert [f.split(":")[0] for f in bins.merge(tmp_path).faults] == ["job.way, dense",
                                                                         "gone, x"]
    finally:
        coverage.points.cache_clear()


def test_what_is_missed_fails(tmp_path, monkeypatch, capsys):
    """Each bin that is not reached, but with --quick, which leaves the committed figures alone; and
    results without a simulation."""
    results, figures = tmp_path / "results", tmp_path / "coverage.json"
    results.mkdir()
    for name, value in (("RESULTS_DIR", results), ("PAGES", tmp_path)):
        monkeypatch.setattr(command, name, value)
    monkeypatch.setattr(testplan, "FIGURES", figures)
    assert command.functional(False, "") == [f"no simulation in {results} that passed"]
    simulation(results, "system_a", {"job.way": {"sort": 2}})
    assert command.functional(True, "") == [] and not figures.exists()
    assert "job.way, dense: not reached" in capsys.readouterr().out.splitlines()
    said = command.functional(False, "a run")
    assert "job.way, dense: not reached" in said and "job.way, sort: not reached" not in said
    assert testplan.figures(figures)["job.way"] == [1, 4]
    assert "system_a" in (tmp_path / "functional.html").read_text()


def test_halves_of_the_figures_are_kept(tmp_path):
    path = tmp_path / "coverage.json"
    bins.keep(path, "code", {"a": 1})
    bins.keep(path, "functional", {"points": {"p": [1, 2]}})
    assert json.loads(path.read_text())["code"] == {"a": 1}
    assert testplan.figures(path) == {"p": [1, 2]}
    assert testplan.figures(tmp_path / "none.json") == {}
