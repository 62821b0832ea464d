# SPDX-License-Identifier: Apache-2.0
"""Mutants of a toy module, alone and in one build; what verdicts depend on; the two lists."""

import json
import os
import subprocess
from collections import Counter

import pytest

from models.lab.measure import store as programs
from scripts.verify import depends, ledger, mutants, mutation_page, trials, verdicts
from tb import runner

TOY = """\
`resetall
`default_nettype none
`include "sofa_regs.vh"
module toy #(
    parameter W = 4
) (
    input  wire         clk,
    input  wire         rst,
    input  wire         valid,
    input  wire         ready,
    input  wire [W-1:0] a,
    input  wire signed [W-1:0] b,
    output wire [W-1:0] y,
    output reg  [W:0]   sum_reg,
    output reg  [1:0]   state_reg,
    output wire         bad
);
    generate
        if (W < 2) begin : g_illegal
            illegal_parameter stop ();
        end
    endgenerate
    localparam LAST = W + 2;
    localparam [1:0] IDLE = 2'd0;
    localparam [1:0] WORK = 2'd1;
    localparam [1:0] REST = 2'd2;
    function integer twice;
        input integer x;
        twice = x + x;
    endfunction
    function automatic [W-1:0] least;
        input [W-1:0] p;
        input [W-1:0] q;
        least = p < q ? p : q;
    endfunction
    wire                take = valid && ready; // a && b
    wire signed [W:0]   far = b >>> 1;
    wire signed [2*W-1:0] wide = b;
    wire [twice(2)-1:0] part = {a[2:1], &a, !a[0]};
    assign y = least(a, part) ^ (wide[W:1] + far[W:1]);
    assign bad = a == LAST;
    always @(posedge clk) begin
        if (take) begin
            sum_reg <= sum_reg + {1'b0, a};
        end
        case (state_reg)
            IDLE: if (take) state_reg <= WORK;
            WORK: state_reg <= a[W-1] ? REST : IDLE;
            default: state_reg <= IDLE;
        endcase
        if (rst) begin
            sum_reg <= 5'd3;
            state_reg <= IDLE;
        end
    end
`ifdef FORMAL
    always @* assert (!(a < b));
`endif
endmodule
`resetall
"""
BENCH = """
module bench;
    reg clk = 0, rst = 1, valid = 0, ready = 0; reg [3:0] a = 0; reg signed [3:0] b = 0;
    wire [3:0] y; wire [4:0] sum; wire [1:0] state; wire bad; integer i;
    toy dut (clk, rst, valid, ready, a, b, y, sum, state, bad);
    initial for (i = 0; i < 300; i = i + 1) begin
        #1 clk = 0; rst = i < 3 || i == 150; a = i * 7 + i / 16; b = i * 5 - i / 9;
        {valid, ready} = i / 3 + i / 7; #1 clk = 1; #1 $write("%b%b%b%b ", y, sum, state, bad);
    end
endmodule
"""
needs_icarus = pytest.mark.skipif(not runner.have("iverilog"), reason="needs Icarus")


@pytest.fixture
def toy(tmp_path):
    path = tmp_path / "toy.v"
    path.write_text(TOY)
    return path


def changes(found):
    return {(m.kind, " ".join(m.old.split()), m.new) for m in found}


def test_operators(toy):
    """Each operator where it applies, by hand; nothing in what is not mutated."""
    found = mutants.find("toy", toy)
    got = changes(found)
    assert {
        ("stall", "valid", "1'b1"), ("stall", "ready", "1'b1"),
        ("logic", "valid && ready", "valid || ready"), ("logic", "&a", "|(a)"),
        ("logic", "!a[0]", "1'b1 && (a[0])"), ("logic", "least(a, part) ^ (wide[W:1] + far[W:1])",
                                               "least(a, part) | (wide[W:1] + far[W:1])"),
        ("signed", "b >>> 1", "b >> 1"), ("signed", "b", "$signed({1'b0, b})"),
        ("constant", "1", "2"), ("constant", "1'b0", "1'd1"), ("constant", "0", "1"),
        ("comparison", "p < q", "p <= q"), ("ternary", "p < q ? p : q", "(p < q) ? (q) : (p)"),
        ("select", "a[2:1]", "a[(1) + 1 +: (2) - (1) + 1]"),
        ("comparison", "a == LAST", "a != LAST"), ("name", "LAST", "(LAST + 1'sb1)"),
        ("parameter", "W + 2", "(W + 2) + 1"), ("condition", "take", "!(take)"),
        ("arithmetic", "sum_reg + {1'b0, a}", "sum_reg - {1'b0, a}"),
        ("width", "sum_reg + {1'b0, a}",
         "(sum_reg + {1'b0, a}) & $signed({1'b0, {(W){1'b1}}})"),
        ("update", "sum_reg <= sum_reg + {1'b0, a};", ";"),
        ("arc", "state_reg <= WORK;", ";"), ("arc", "WORK", "IDLE"), ("arc", "WORK", "REST"),
        ("reset", "sum_reg <= 5'd3;", ";"), ("reset", "state_reg <= IDLE;", ";"),
    } <= got
    assert {m.kind for m in found} == set(mutants.KINDS)
    for text in ("W < 2", "x + x", "a < b", "a && b", "twice(2)-1", "5'd3", "rst", "2'd1"):
        assert text not in {m.old for m in found}
    assert all(TOY[m.start:m.end] == m.old for m in found)
    assert TOY.splitlines()[next(m for m in found if m.old == "p < q").line - 1].endswith("p : q;")


def test_choice_stays_when_the_module_changes_elsewhere(toy):
    found = mutants.find("toy", toy)
    chosen = mutants.choose(found, 14, 1)
    assert len(chosen) == 14 and len({m.kind for m in chosen}) == 14
    alone = Counter(m.kind for m in found if m.alone)
    assert set(alone) == {"parameter", "signed"}
    assert len(mutants.choose(found, 1000, 1)) == len(found) - sum(alone.values()) + 2
    assert {m.name for m in mutants.choose(found, 14, 2)} != {m.name for m in chosen}
    assert len({m.name for m in found}) == len(found)
    toy.write_text(TOY.replace("    localparam LAST", "    // More\n    localparam LAST"))
    assert {m.name for m in mutants.choose(mutants.find("toy", toy), 14, 1)} == {
        m.name for m in chosen}


@needs_icarus
def test_all_mutants_in_one_build_are_the_mutants(toy, tmp_path):
    """With +mutant=N the combined module does what the module with mutant N does, without what the
    module does; most mutants are seen."""
    def build(name, text):
        source = tmp_path / f"{name}.v"
        source.write_text(text + BENCH)
        subprocess.run(["iverilog", "-g2005", "-s", "bench", "-I", str(runner.INCLUDE_DIR), "-o",
                        str(tmp_path / name), str(source)], check=True, capture_output=True)
        return tmp_path / name

    def run(binary, number=0):
        return subprocess.run(["vvp", "-n", str(binary), f"+mutant={number}"], check=True,
                              text=True, capture_output=True).stdout

    found = [m for m in mutants.find("toy", toy) if not m.alone]
    combined = build("combined", mutants.combined(TOY, found))
    good = run(build("good", TOY))
    assert run(combined) == good and "1" in good and "x" not in good[500:]
    seen = 0
    # Of the many with the same operator a sample.
    for mutant in mutants.choose(found, 40, 3):
        alone = run(build("alone", mutants.single(TOY, mutant)))
        assert run(combined, found.index(mutant) + 1) == alone, str(mutant)
        seen += alone != good
    assert seen > 25


def test_a_file_that_cannot_be_read(tmp_path):
    path = tmp_path / "toy.v"
    path.write_text("module toy (input wire a; endmodule")
    with pytest.raises(mutants.MutantError, match="toy.v: not read"):
        mutants.find("toy", path)


def test_what_a_verdict_depends_on(tmp_path, monkeypatch):
    path = tmp_path / "toy.v"
    path.write_text(TOY)
    before = depends.verilog(path)
    for changed, same in ((TOY.replace("// a && b", "// c"), True),
                          (TOY.replace("    wire ", "  wire "), True),
                          (TOY.replace("assert (!(a < b))", "assert (a)"), True),
                          (TOY.replace("valid && ready;", "valid;"), False)):
        path.write_text(changed)
        depends.verilog.cache_clear()
        assert (depends.verilog(path) == before) == same
    for module in (depends, programs):
        monkeypatch.setattr(module, "ROOT", tmp_path)
    (tmp_path / "tb").mkdir()
    test, used = tmp_path / "tb" / "test_toy.py", tmp_path / "tb" / "used.py"
    test.write_text('"""A."""\nfrom tb import used\nX = used.X\n')
    body = "X = 1\n\n\nasync def f():\n    {}return 2\n"
    used.write_text(body.format(""))
    before = depends.python(test)
    for file, text, same in ((test, '"""B."""\nfrom tb import used  # b\nX = used.X\n', True),
                             (test, '"""A."""\nfrom . import used\nX = used.X\n', True),
                             (used, body.format("") + "# one\n", True),
                             (used, body.format('"""B."""\n    '), True),
                             (used, "X = 2\n", False)):
        file.write_text(text)
        programs.parsed.cache_clear()
        depends.python.cache_clear()
        assert (depends.python(test) == before) == same


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setattr(verdicts, "DATA", tmp_path / "mutation.json")
    monkeypatch.setattr(verdicts, "REASONS", tmp_path / "equivalent.toml")
    monkeypatch.setattr(verdicts, "LOG", tmp_path / "verdicts.jsonl")
    verdicts.REASONS.write_text("")
    return verdicts.Store(tmp_path / "verdicts.jsonl")


class Bench(verdicts.Bench):
    """Keys without files."""

    unit, system = "u", "s"

    def key(self, level, test):
        return f"{level} {test}"


def verdict(mutant, level, test="t"):
    return {"module": mutant.module, "name": mutant.name, "level": level, "test": test,
            "message": "", "cpu_s": 2.0, "key": f"{level} {test}"}


def test_kept_verdicts(store):
    """What holds, what is tried again, and what comes back from the file of results."""
    chosen = {"sofa_popcount": mutants.choose(mutants.find("sofa_popcount"), 12, 1)}
    one, two, three, four, five, *_ = chosen["sofa_popcount"]
    bench = Bench("sofa_popcount", "sofa_popcount", ("t",), ("m",))
    store.add(verdict(one, "unit"))
    store.add(verdict(two, "system", test="gone"))
    store.add(verdict(three, "unit") | {"key": "another"})
    store.add(verdict(four, "pending", test=""))
    store.add(verdict(five, "survived", test=""))
    known = (one, two, three, four, five)
    assert [store.holds(m, bench) for m in known] == [True, False, False, True, True]
    assert [store.settled(m, bench) for m in known] == [True, False, False, False, True]
    data = verdicts.gathered(chosen, {"sofa_popcount": bench}, store, 1)
    assert [m["name"] for m in data["modules"]["sofa_popcount"]["mutants"]] == [
        one.name, four.name, five.name]
    verdicts.write(data, verdicts.DATA)
    assert json.loads(verdicts.DATA.read_text()) == data
    store.log.unlink()
    again = verdicts.Store(store.log)
    assert [again.holds(m, bench) for m in known] == [True, False, False, True, True]


def test_keys():
    """A verdict of a test depends on that one alone; one of no test on all of them."""
    tests = ("tb/common/test_popcount.py::a", "tb/common/test_ram_1r1w.py::b")
    bench = verdicts.Bench("sofa_popcount", "sofa_popcount", tests, ("tb/csr/test_csr.py::c",))
    other = verdicts.Bench("sofa_popcount", "sofa_popcount", tests[:1], bench.machine)
    assert bench.key("unit", tests[0]) == other.key("unit", tests[0])
    assert len({bench.key("unit", t) for t in tests}) == 2
    for level in ("pending", "survived"):
        assert bench.key(level, "") != other.key(level, "")
    assert bench.key("system", bench.machine[0]) == depends.key("sofa", bench.machine)


def test_survivors_need_a_sentence(store):
    chosen = {"sofa_popcount": mutants.choose(mutants.find("sofa_popcount"), 12, 1)}
    bench = {"sofa_popcount": Bench("sofa_popcount", "sofa_popcount", ("t",), ("m",))}
    *found, untried, equivalent, survivor = chosen["sofa_popcount"]
    for mutant in found:
        store.add(verdict(mutant, "unit"))
    for mutant in (equivalent, survivor):
        store.add(verdict(mutant, "survived", test=""))
    entry = '[[mutant]]\nname = "{}"\nmodule = "sofa_popcount"\nverdict = "{}"\nreason = "x"\n'

    def gathered():
        return verdicts.gathered(chosen, bench, store, 1)

    verdicts.REASONS.write_text(entry.format(equivalent.name, "equivalent"))
    complaints = verdicts.complaints(gathered())
    assert len(complaints) == 2 and f"survived without a sentence: {survivor.name}" in complaints[0]
    assert complaints[1] == "common: 90.0 % found, at least 98 % wanted"
    rows = mutation_page.survivor_table(gathered())[1]
    assert [row[3:] for row in rows] == [["equivalent", "x"], ["survived", ""]]
    store.add(verdict(survivor, "system", test="m"))
    assert verdicts.complaints(gathered()) == []
    row = ["1", "12", "9", "1", "0", "1", "0", "1", "100.0 %", "2.0"]
    assert mutation_page.stage_table(gathered())[1] == [["common", *row], ["all", *row]]
    store.add(verdict(equivalent, "unit"))
    assert "is found by t" in verdicts.complaints(gathered())[0]
    verdicts.REASONS.write_text(entry.format("0123456789", "equivalent"))
    assert verdicts.stale_reasons(chosen) == [
        "equivalent.toml: sofa_popcount has no mutant 0123456789"]


def test_processes():
    """All results, with their tasks; a process that ends early is told."""
    got = dict(trials.completed(pow, [(2, n) for n in range(7)], 3))
    assert got == {(2, n): 2**n for n in range(7)}
    with pytest.raises(trials.TrialError, match="ended early"):
        list(trials.completed(os._exit, [(3,)], 1))


def test_bench_of_a_module():
    tops = {"a": "sofa_sads_sum", "b": "sofa_sads", "c": "sofa_sads_core", "d": "sofa_sads"}
    assert trials.bench_of("sofa_sads_core", tops) == ("sofa_sads_core", ["c"])
    assert trials.bench_of("sofa_sads_sum_div", tops) == ("sofa_sads_sum", ["a"])
    assert trials.bench_of("sofa_sads_sort", tops) == ("sofa_sads", ["b", "d"])
    assert trials.bench_of("sofa_csr", tops) == ("", [])


@pytest.mark.skipif(not runner.have("verilator"), reason="needs Verilator")
def test_trials(tmp_path, store, monkeypatch):
    """Two mutants of a small module: its test finds one in the common build and one of a build of
    its own; one that changes nothing is pending."""
    monkeypatch.setattr(verdicts, "FOLDER", runner.BUILD / "mutate" / "test")
    monkeypatch.setattr(runner, "SIM_DIR", runner.SIM_DIR)
    found = mutants.find("sofa_popcount")
    by_kind = {kind: next(m for m in found if m.kind == kind) for kind in ("arithmetic", "logic")}
    same = by_kind["logic"]
    same = mutants.Mutant(**{**same.__dict__, "new": f"({same.old})"})
    chosen = [by_kind["arithmetic"], same]
    bench = verdicts.Bench("sofa_popcount", "sofa_popcount",
                           ("tb/common/test_popcount.py::test_popcount[verilator-s1-63]",), ())
    verdicts.hunt("unit", chosen, {"sofa_popcount": bench}, store)
    assert [store.get(m)["level"] for m in chosen] == ["unit", "pending"]
    assert "SimulationError" in store.get(chosen[0])["message"]


def test_machine(store, monkeypatch):
    """Trials of two modules in one build of the machine, without their simulations: each mutant has
    a number of its own, what a test has passed is not run again, what no test finds survives."""
    modules = ("sofa_popcount", "sofa_find_first")
    chosen = [m for name in modules for m in mutants.find(name) if not m.alone][::9]
    benches = {name: Bench(name, name, ("t",), ("a", "b")) for name in modules}
    one, two, *others = chosen
    for mutant in chosen:
        past = {"past": ["a"] if mutant is two else [], "machine": "s"}
        store.add(verdict(mutant, "pending", test="") | past)
    seen = []

    def at_once(function, tasks, jobs):
        return [(task, function(*task)) for task in tasks]

    def trial(test, log, files, number=0, sim_s=0.0):
        texts = [f.read_text() for f in files]
        assert [f"module {name}" in text for name, text in zip(modules, texts, strict=True)] == [
            True, True]
        assert number == 0 or sum(f"mutant_of_all == {number})" in t for t in texts) == 1
        seen.append((test, number))
        return trials.Outcome(test == "a" and number == 1, "", 1, 1.0, 2.0)

    monkeypatch.setattr(trials, "trial", trial)
    monkeypatch.setattr(trials, "completed", at_once)
    monkeypatch.setattr(verdicts, "FOLDER", runner.BUILD / "mutate" / "test")
    monkeypatch.setattr(runner, "SIM_DIR", runner.SIM_DIR)

    verdicts.hunt("system", chosen, benches, store)
    assert [store.get(m)["level"] for m in chosen] == ["system"] + ["survived"] * (len(chosen) - 1)
    assert len(others) > 2 and store.get(others[0])["cpu_s"] == 6.0
    assert seen == [("a", 0), ("a", 1), *(("a", n + 3) for n in range(len(others))),
                    ("b", 0), *(("b", n + 2) for n in range(len(chosen) - 1))]


def test_ledger():
    """Every bug has its test; one that can be planted again has its place in the module once."""
    assert len(ledger.bugs()) > 5
    for bug in ledger.bugs():
        assert set(bug) >= {"what", "how", "commit", "module", "test"}
        file, _, name = bug["test"].partition("::")
        assert f"def {name.split('[')[0]}(" in (runner.ROOT / file).read_text()
        if "old" in bug:
            assert runner.find_module(bug["module"]).read_text().count(bug["old"]) == 1
            assert bug["new"] != bug["old"]
        else:
            assert bug["gone"]


def test_the_page_is_up_to_date():
    page = mutation_page.DOCUMENT.read_text()
    assert all(f"table: {name} " in page for name in mutation_page.TABLES)
    assert mutation_page.document(page, json.loads(verdicts.DATA.read_text())) == page


def test_every_sentence_is_whole():
    for entry in verdicts.reasons().values():
        assert set(entry) == {"name", "module", "change", "verdict", "reason"}
        assert entry["verdict"] in ("equivalent", "open") and entry["reason"].endswith(".")
    assert verdicts.stale_reasons({m: mutants.choose(mutants.find(m), verdicts.A_MODULE, 1)
                                   for m in {e["module"] for e in verdicts.reasons().values()}}
                                  ) == []
