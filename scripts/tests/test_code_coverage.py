# SPDX-License-Identifier: Apache-2.0
"""scripts/verify/code_coverage.py on small coverage files and sources."""

from collections import Counter

import pytest

from scripts.verify import code_coverage as cc
from scripts.verify import constants

SOURCE = """module sofa_x (input wire a, input wire b, output wire [1:0] y);
    // unreached toggle: the upper bit
    // is nought
    wire [1:0] z;
    assign y = a && b;  // unreached expr: b is one
endmodule
"""


def point(line, kind, what, file="rtl/x/sofa_x.v", column=5):
    """As Verilator writes a point, without its count."""
    fields = {"f": file, "l": line, "n": column, "t": kind, "page": "v/x__W3", "o": what, "h": "t"}
    return "C '" + "".join(f"\x01{k}\x02{v}" for k, v in fields.items()) + "'"


def dat(*lines):
    """A coverage file of ``lines``."""
    return "\n".join(["# SystemC::Coverage-3", *lines, ""])


@pytest.fixture(name="root")
def a_repository(tmp_path):
    """A folder with one module."""
    (tmp_path / "rtl" / "x").mkdir(parents=True)
    (tmp_path / "rtl" / "x" / "sofa_x.v").write_text(SOURCE)
    return tmp_path


def test_points_of_instances_and_parameters_are_one(root):
    file = root / "rtl/x/sofa_x.v"
    text = dat(point(4, "toggle", "z[1]:0->1", file) + " 2", point(4, "toggle", "z[1]:0->1", file)
               + " 3", point(5, "expr", "(a[3:0][1]==0) => 0", file) + " 1",
               point(5, "expr", "(a[7:0][2]==0) => 0", file) + " 0",
               point(6, "branch", "else", file) + " 0",
               point(9, "line", "block", "/tb/hdl/y.v") + " 4")
    assert cc.read(text, root) == Counter({
        cc.Point("rtl/x/sofa_x.v", 4, 5, "toggle", "z[1]:0->1"): 5,
        cc.Point("rtl/x/sofa_x.v", 5, 5, "expr", "(a[][]==0) => 0"): 1,
        cc.Point("rtl/x/sofa_x.v", 6, 5, "line", "else"): 0})
    assert len(cc.read(text, root)) == 3


def test_merging_keeps_what_was_never_reached(root, tmp_path):
    files = []
    for number, counts in enumerate(((0, 1), (0, 4))):
        files.append(tmp_path / f"{number}.dat")
        files[-1].write_text(dat(*(point(line, "line", "block", cc.ROOT / "rtl/x/sofa_x.v")
                                   + f" {n}" for line, n in zip((1, 2), counts, strict=True))))
    assert [(p.line, n) for p, n in sorted(cc.merge(files).items())] == [(1, 0), (2, 5)]


@pytest.mark.parametrize("text", ["", "# SystemC::Coverage-2\n", dat("C 'x' many")])
def test_other_files_are_refused(tmp_path, text):
    file = tmp_path / "coverage.dat"
    file.write_text(text)
    with pytest.raises(cc.CoverageError, match=str(file)):
        cc.merge([file])


def test_exclusions_belong_to_a_line_and_a_kind():
    assert cc.exclusions(SOURCE) == {(4, "toggle"): "the upper bit is nought",
                                     (5, "expr"): "b is one"}


def counts(*points):
    """Counter of (line, kind, what, count) in sofa_x."""
    return Counter({cc.Point("rtl/x/sofa_x.v", line, 5, kind, what): n
                    for line, kind, what, n in points})


def test_figures_goals_and_what_is_missed(root):
    [module] = cc.modules(counts((4, "toggle", "z[0]:0->1", 3), (4, "toggle", "z[1]:0->1", 0),
                                 (5, "expr", "(b==0) => 0", 0), (5, "expr", "(a==0) => 0", 2),
                                 (6, "line", "block", 1), (6, "line", "else", 0)), root)
    assert [module.figures(kind) for kind in cc.KINDS] == [(1, 2, 0), (1, 1, 1), (1, 1, 1)]
    assert [module.percent(kind) for kind in cc.KINDS] == [50, 100, 100]
    assert [(p.line, p.what) for p in module.missed()] == [(6, "else")]
    assert module.below() == ["rtl/x/sofa_x.v: line 50.0 %, goal 100 %"]


def test_an_exclusion_of_what_was_reached_fails(root):
    [module] = cc.modules(
        counts((4, "toggle", "z[1]:0->1", 1), (5, "expr", "(b==0) => 0", 0)), root)
    assert module.below() == [
        "rtl/x/sofa_x.v:4: nothing of kind toggle is left unreached there"]


def test_modules_without_a_run_are_named(root):
    assert cc.unbuilt([], root) == ["rtl/x/sofa_x.v"]


def test_pages_show_lines_points_and_reasons(root, tmp_path):
    found = cc.modules(counts((4, "toggle", "z[1]:0->1", 0), (5, "expr", "(b==0) => 0", 0),
                              (6, "line", "a < b", 0)), root)
    index = cc.write_pages(found, tmp_path / "pages", "Two runs.", root)
    assert "sofa_x.html" in index.read_text() and "Two runs." in index.read_text()
    page = (tmp_path / "pages" / "sofa_x.html").read_text()
    assert "line: a &lt; b" in page and "the upper bit" in page
    assert page.count("<tr id=") == len(SOURCE.splitlines())


def test_what_no_test_could_reach():
    """Functions, sinks, terms of constants and constant bits are no points; what was reached is."""
    source = """module sofa_x (input wire a);
    wire unused_low = &{1'b0, a};
    function integer f;
        f = 1;
    endfunction
    wire [1:0] z = {1'b0, a};
endmodule
"""
    def at(line, kind, what):
        return cc.Point("rtl/x/sofa_x.v", line, 5, kind, what)

    kept = [at(2, "line", "block"), at(4, "expr", "(a==0) => 0"), at(6, "toggle", "z[0]:0->1"),
            at(6, "expr", "(a==1 && b[]==0) => 1"), at(6, "toggle", "g_x[0].z[1]:0->1")]
    dropped = [at(2, "expr", "({32'h1{{1'h0, a}}}[]==1) => 1"), at(2, "toggle", "unused_low:0->1"),
               at(3, "line", "block"), at(4, "line", "block"), at(6, "toggle", "z[1]:1->0"),
               at(6, "expr", "((32'sh1 < PLACES)==0) => 0"),
               at(6, "expr", "(snap==1 && (TWO_TERM == 32'sh0)==1) => 1")]
    reached = at(3, "line", "else")
    constant = {("rtl/x/sofa_x.v", "z", 1)}
    points = {**dict.fromkeys(kept + dropped, 0), reached: 2}
    assert set(cc.reachable(points, source, constant)) == {*kept, reached}


def test_constant_bits(monkeypatch):
    """Through hierarchy, for each turn of a loop; one build in which a bit moves is enough."""
    both = [("sofa_popcount", {"WIDTH": n}, ()) for n in (40, 64)]
    found = []
    for some in (both[:1], both):
        monkeypatch.setattr(constants, "builds", lambda some=some: some)
        found.append(constants.constants(1))
    assert found[1] < found[0]
    padding = ("rtl/common/sofa_popcount.v", "x", 50)
    assert padding in found[0] and padding not in found[1]
