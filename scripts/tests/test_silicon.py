# SPDX-License-Identifier: Apache-2.0
"""Liberty reader, timing, cuts and budgets of scripts/silicon on toys computed by hand."""

import copy
import subprocess

import pytest

from scripts.silicon import jobs, liberty, machine, netlist, picture, recipe, report, timing

# Delays: inverter rise 1 + load/10, fall 2 + slew + load/10; register 5 + load/10, set-up 1; every
# slew .5. Loads in fF, times in ns.
GATE = """
  cell ({name}) {{ area : {area}; drive_strength : {drive};
    pin ({a}) {{ direction : input; capacitance : 2; }}
    pin ({z}) {{ direction : output; max_capacitance : 60;
      timing () {{ related_pin : "{a}"; timing_sense : {sense};
        cell_rise (t) {{ index_1 ("0, 1"); index_2 ("0, 10"); values ("1, 2", "1, 2"); }}
        cell_fall (t) {{ index_1 ("0, 1"); index_2 ("0, 10"); values ("2, 3", "3, 4"); }}
        rise_transition (t) {{ index_1 ("0, 1"); index_2 ("0, 10"); values (".5, .5", ".5, .5"); }}
        fall_transition (t) {{ index_1 ("0, 1"); index_2 ("0, 10"); values (".5, .5", ".5, .5"); }}
  }} }} }}"""
REGISTER = """
  cell ({name}) {{ area : 4; ff (IQ, IQN) {{ clocked_on : "CK"; }}
    pin (CK) {{ direction : input; clock : true; capacitance : 1; }}
    pin (D) {{ direction : input; capacitance : 1;
      timing () {{ related_pin : "CK"; timing_type : hold_rising;
        rise_constraint (c) {{ index_1 ("0, 1"); index_2 ("0, 1"); values ("9, 9", "9, 9"); }} }}
      timing () {{ related_pin : "CK"; timing_type : setup_rising;
        rise_constraint (c) {{ index_1 ("0, 1"); index_2 ("0, 1"); values ("1, 1", "1, 1"); }}
        fall_constraint (c) {{ index_1 ("0, 1"); index_2 ("0, 1"); values ("1, 1", "1, 1"); }} }} }}
    pin (Q) {{ direction : output; internal_power () {{ x : 1; }}
      timing () {{ related_pin : "CK"; timing_type : rising_edge;
        cell_rise (t) {{ index_1 ("0, 1"); index_2 ("0, 10"); values ("5, 6", "5, 6"); }}
        cell_fall (t) {{ index_1 ("0, 1"); index_2 ("0, 10"); values ("5, 6", "5, 6"); }}
        rise_transition (t) {{ index_1 ("0, 1"); index_2 ("0, 10"); values (".5, .5", ".5, .5"); }}
        fall_transition (t) {{ index_1 ("0, 1"); index_2 ("0, 10"); values (".5, .5", ".5, .5"); }}
  }} }} }}"""
LIBRARY = """/* toy */ library (toy) {
  lu_table_template (t) { variable_1 : input_net_transition;
    variable_2 : total_output_net_capacitance; }
  lu_table_template (c) { variable_1 : related_pin_transition;
    variable_2 : constrained_pin_transition; }""" + "".join([
    GATE.format(name="INV_X1", area=1, drive=1, a="A", z="ZN", sense="negative_unate"),
    GATE.format(name="BUF_X2", area=2, drive=2, a="A", z="Z", sense="positive_unate"),
    GATE.format(name="BUF_X4", area=3, drive=4, a="A", z="Z", sense="positive_unate"),
    REGISTER.format(name="DFF_X1"), REGISTER.format(name="DFF_X2")]) + "\n}\n"


def inverter(a, z):
    return {"type": "INV_X1", "attributes": {}, "connections": {"A": [a], "ZN": [z]}}


def register(d, q):
    return {"type": "DFF_X1", "attributes": {"src": "toy.v:7.1-7.9"},
            "connections": {"CK": [2], "D": [d], "Q": [q]}}


def toy(cells, ports, names=()):
    """A design of Yosys's JSON: ports are (name, direction, net), names (net -> name)."""
    return {"modules": {"toy": {
        "cells": cells,
        "ports": {n: {"direction": d, "bits": [b]} for n, d, b in (("clk", "input", 2), *ports)},
        "netnames": {n: {"bits": [b], "attributes": {"src": f"toy.v:{b}.1-{b}.2"}}
                     for b, n in dict(names).items()}}}}


def loaded(design, leaves=None, memories=None):
    return netlist.load_json(design, "toy", LIB, leaves or {}, memories or {})


LIB = liberty.library_of(LIBRARY)
CHAIN = toy({"a": register(10, 3), "i1": inverter(3, 4), "i2": inverter(4, 5), "b": register(5, 6),
             "i3": inverter(7, 8), "c": register(8, 9)},
            [("d", "input", 10), ("x", "input", 7), ("cfg_x", "input", 11), ("y", "output", 4)],
            {3: "a_reg", 6: "b_reg", 9: "c_reg"})


def test_liberty():
    inv = LIB.cells["INV_X1"]
    assert (inv.area, inv.kind, inv.pins["A"].cap, LIB.cells["DFF_X1"].kind) == (1, "gate", 2,
                                                                                 "register")
    arc = inv.pins["ZN"].arcs[0]
    assert arc.delay[liberty.FALL](0.25, 5.0) == pytest.approx(2.75)
    assert arc.causes == ((liberty.FALL,), (liberty.RISE,))
    # 20 fF: beyond the table, straight on.
    assert arc.delay[liberty.RISE](0.0, 20.0) == pytest.approx(3.0)
    # Four inverters of 2 fF at a slew of .5: (1.8 + 3.3) / 2.
    assert timing.fo4(LIB) == pytest.approx(2.55)
    with pytest.raises(liberty.LibertyError, match="brackets"):
        liberty.library_of(LIBRARY + "}")


def test_arrival_times():
    mapped = loaded(CHAIN)
    assert (mapped.area(), mapped.registers(), mapped.buffers) == (15, 3, 0)
    paths = timing.analyse(mapped).paths
    # a 5.2; i1 with 2 fF and 3 of the port: rise 5.2+1.5, fall 5.2+2.5+.5; i2 rise 8.2+1.1, fall
    # 6.7+2.6; set-up 1.
    [inner] = paths["reg-reg"]
    assert inner.ns == pytest.approx(10.3)
    assert (inner.start, inner.start_src, inner.end, inner.gates) == ("a_reg", "toy.v:3", "b_reg",
                                                                      2)
    assert [(p.ns, p.start, p.end) for p in paths["out"]] == [(pytest.approx(8.2), "a_reg", "y")]
    # Fall of i3: 2 + .5 + .1, set-up 1; d only has the set-up.
    assert [(p.ns, p.start, p.end) for p in paths["in"]] == [
        (pytest.approx(3.6), "x", "c_reg"), (pytest.approx(1.0), "d", "a_reg")]
    assert "in-out" not in paths


def test_static_inputs_and_registers_are_false_paths():
    design = copy.deepcopy(CHAIN)
    module = design["modules"]["toy"]
    module["netnames"]["job_d"] = module["netnames"].pop("a_reg")
    module["ports"]["cfg_d"] = module["ports"].pop("x")
    paths = timing.analyse(loaded(design)).paths
    assert "reg-reg" not in paths and [p.start for p in paths["in"]] == ["d"]


def test_paths_through_a_cut_block():
    """As long as in one piece."""
    inside = toy({"i2": inverter(4, 5), "b": register(5, 6), "i4": inverter(6, 12),
                  "i5": inverter(4, 13)},
                 [("in", "input", 4), ("q", "output", 12), ("z", "output", 13)], {6: "b_reg"})
    model = timing.analyse(loaded(inside)).model
    # b 5.2, fall 2 + .5 with the 3 fF of a port.
    assert max(model["outputs"]["q"][0]["time"]) == pytest.approx(8.0)
    cells = {"a": register(10, 3), "i1": inverter(3, 4), "c": register(5, 9), "d": register(6, 8),
             "leaf": {"type": "block", "attributes": {},
                      "connections": {"clk": [2], "in": [4], "q": [5], "z": [6]}}}
    paths = timing.analyse(loaded(
        toy(cells, [("d", "input", 10)], {3: "a_reg", 9: "c_reg", 8: "d_reg"}),
        {"block": model})).paths["reg-reg"]
    found = {p.end: p for p in paths}
    # i1 with the 4 fF of two inverters: rise 6.6, fall 8.1. i2 1 fF: rise 9.2, fall 9.2.
    assert found["leaf/b_reg"].ns == pytest.approx(10.2)
    # 8.0 with 1 fF in place of 3: 7.8; and i5: 8.1 + 1.1 or 6.6 + 2.6 (one figure for both edges:
    # 8.1 + 2.6).
    assert (found["c_reg"].ns, found["c_reg"].start) == (pytest.approx(8.8), "leaf/b_reg")
    assert found["d_reg"].ns == pytest.approx(8.1 + 2.6 + 1)


def test_memories():
    cells = {"m": {"type": "ram_16x1", "attributes": {},
                   "connections": {"clk": [2], "wr_data": [4], "rd_data": [5]}},
             "a": register(7, 3), "i1": inverter(3, 4), "i2": inverter(5, 6), "b": register(6, 8)}
    paths = timing.analyse(loaded(toy(cells, [("d", "input", 7)], {3: "a_reg", 8: "b_reg"}), {},
                                  {"ram_16x1": netlist.Memory(16, 1)})).paths["reg-reg"]
    # a 5.2, fall 2 + .5 + .3 with a pin of 3 fF, set-up .05; .25, fall 2 + .03 + .1, set-up 1.
    assert [(p.ns, p.start, p.end) for p in paths] == [
        (pytest.approx(8.05), "a_reg", "m.wr_data[0]"),
        (pytest.approx(3.38), "m.rd_data[0]", "b_reg")]


def test_broadcast_gets_a_tree():
    """100 registers of 1 fF on one inverter: three buffers of at most 40 fF."""
    cells = {"i": inverter(3, 4), **{f"r{k}": register(4, 10 + k) for k in range(100)}}
    mapped = loaded(toy(cells, [("d", "input", 3)]))
    assert mapped.buffers == 3
    assert mapped.load(4) == 6 and max(map(mapped.load, mapped.sinks)) == 100
    assert sorted(len(s) for s in mapped.sinks.values())[-4:] == [20, 40, 40, 100]


def test_faults_of_a_netlist():
    with pytest.raises(netlist.NetlistError, match="net 99 is used but has no driver"):
        loaded(toy({"i": inverter(99, 4)}, [("y", "output", 4)]))
    with pytest.raises(netlist.NetlistError, match="net 4 has two drivers"):
        loaded(toy({"i": inverter(3, 4), "j": inverter(3, 4)}, [("d", "input", 3)]))
    with pytest.raises(netlist.NetlistError, match="m is a sofa_stub, which is no cell"):
        loaded(toy({"m": {"type": "sofa_stub", "attributes": {}, "connections": {}}}, []))
    with pytest.raises(netlist.NetlistError, match="combinational loop"):
        timing.analyse(loaded(toy({"i": inverter(3, 4), "j": inverter(4, 3)}, [])))


HALF = """\
attribute \\src "x.v:1.1-2.2"
module {name}
  parameter \\WIDTH 32
  parameter \\DEPTH 16
  attribute \\src "x.v:3.1-3.4"
  wire width 7 input 1 \\a
  wire width 9 output 2 \\b
  wire \\inner$12
{cells}end
"""


def test_cuts():
    """A block that was cut out is a stub with the ports that it has in the machine."""
    leaf = "$paramod$1234\\sofa_leaf"
    text = "autoidx 5\n" + HALF.format(name=leaf, cells="") \
        + HALF.format(name="$paramod$77\\sofa_ram_1r1w", cells="") \
        + HALF.format(name="\\sofa_mid", cells=f"  cell {leaf} \\l1\n  end\n  cell {leaf} \\l2\n"
                      "  end\n  cell $paramod$77\\sofa_ram_1r1w \\m\n  end\n") \
        + HALF.format(name="\\sofa", cells="  cell \\sofa_mid \\x\n  end\n"
                      "  cell \\sofa_mid \\y\n  end\n")
    found = {j.name: j for j in jobs.cut(jobs.parse(text), ("sofa", "sofa_leaf"))}
    assert list(found) == ["leaf", "sofa"]
    assert (found["leaf"].instances, found["sofa"].leaves) == (4, ["leaf"])
    assert found["sofa"].memories == {"ram_16x32": (16, 32)}
    assert ("attribute \\blackbox 1\nmodule \\leaf\n  attribute \\src \"x.v:3.1-3.4\"\n"
            "  wire width 7 input 1 \\a\n  wire width 9 output 2 \\b\nend\n") in found["sofa"].text
    assert "cell \\mid \\x" in found["sofa"].text and "cell \\leaf \\l1" in found["sofa"].text
    with pytest.raises(jobs.JobError, match="not in the machine: sofa_gone"):
        jobs.cut(jobs.parse(text), ("sofa", "sofa_gone"))


@pytest.mark.parametrize(("line", "fault"), [
    ("wire [3:0] lost; assign y = a ^ lost;", "toy.\\lost [3] is used but has no driver"),
    ("assign y = a; assign y = ~a;", "multiple conflicting drivers for toy."),
    ("assign y = a + 4'd1;", "")])
def test_what_the_check_of_yosys_finds(tmp_path, line, fault):
    source = tmp_path / "toy.v"
    source.write_text(f"module toy(input [3:0] a, output [3:0] y); {line} endmodule\n")
    log = recipe.run([f"read_verilog {source}", "proc", "log @@ check", "check",
                      "log @@ checked"], tmp_path)
    assert (fault in "\n".join(recipe.undriven(log))) if fault else recipe.undriven(log) == []
    with pytest.raises(recipe.SynthError, match="Yosys ended with"):
        recipe.run(["read_verilog nothing.v"], tmp_path)


def test_gates_of_static_inputs_alone():
    """A gate counts as static where every path to it begins at a static port or a constant."""
    def gate(a, b, y):
        return {"type": "$_AND_", "port_directions": {"A": "input", "B": "input", "Y": "output"},
                "connections": {"A": [a], "B": [b], "Y": [y]}}
    module = {"ports": {"cfg_d": {"direction": "input", "bits": [2, 3]},
                        "x": {"direction": "input", "bits": [4]},
                        "job_y": {"direction": "output", "bits": [9]}},
              "cells": {"far": gate(5, 3, 6), "near": gate(2, "1", 5), "mixed": gate(6, 4, 7),
                        "behind": gate(7, 2, 8), "last": gate(8, 8, 9),
                        "reg": {"type": "$_DFF_P_", "port_directions": {"D": "input",
                                                                       "Q": "output"},
                                "connections": {"D": [6], "Q": [10]}},
                        "after": gate(10, 2, 11)}}
    assert sorted(recipe.static_cells(module)) == ["far", "near"]


@pytest.mark.parametrize("found, taken", [
    ([(0.7, 9.0), (0.75, 8.0), (1.2, 5.0)], 1),
    ([(0.9, 9.0), (0.92, 8.0), (1.2, 5.0)], 1),
    ([(0.9, 9.0)], 0),
    ([(0.79, 9.0), (0.82, 8.0)], 0),
    ([(0.5, 7.0), (0.5, 7.0)], 0),
])
def test_the_netlist_that_is_taken(found, taken):
    """The smallest that keeps the limit, or that is as fast as the fastest."""
    assert machine.choose(found, 0.8) == taken


def block(area, ns):
    return {"module": "sofa_dlzs_cell", "instances": 3, "parameters": {}, "area": area,
            "registers": 8, "cells": 9, "buffers": 0, "leaves": {}, "memories": [[16, 32, 2]],
            "paths": {"reg-reg": [{"kind": "reg-reg", "ns": ns, "start": "a_reg",
                                   "start_src": "rtl/dlzs/x.v:3", "end": "b_reg", "end_src": "",
                                   "gates": 4}], "out": []}}


def result(area=1000.0, ns=0.8, config="tiny"):
    return {"config": config, "parameters": {}, "tools": {}, "fo4_ns": 0.02,
            "blocks": {"dlzs_cell": block(area, ns), "rass": block(10.0, 0.2)}}


def test_budgets():
    """A block 5 % larger or slower fails, by name, with figure and limit; 3 % do not."""
    assert report.over(result(), result()) == []
    assert report.over(result(1029.0, 0.823), result()) == []
    assert report.over(result(1050.0), result()) == ["dlzs_cell: area 1050 um2, limit 1030"]
    assert report.over(result(ns=0.84), result()) == [
        "dlzs_cell: path register to register 42.0 FO4, limit 41.2"]
    # Short paths are free to grow.
    short = result()
    short["blocks"]["rass"]["paths"]["reg-reg"][0]["ns"] = 0.39
    assert report.over(short, result()) == []
    more = result()
    more["blocks"]["new"] = block(1.0, 0.1)
    assert report.over(more, result()) == ["new: no budget"]


def test_saved_figures_and_tables(tmp_path):
    saved, page = tmp_path / "s.json", tmp_path / "s.md"
    report.save(result(), saved)
    report.save(result(2000.0, config="paper"), saved)
    every = report.load(saved)
    assert every == {"tiny": report.kept(result()),
                     "paper": report.kept(result(2000.0, config="paper"))}
    page.write_text("a\n" + "".join(f"<!-- table: {t} -->\nold\n<!-- end of table -->\n"
                                    for t in report.TABLES))
    assert report.write_document(page, saved) and not report.write_document(page, saved)
    text = page.read_text()
    assert "| dlzs | 3,030 | 0.002 | 6,030 | 0.004 |" in text
    assert "| dlzs_cell | 3 x 1,000 | 3 x 2,000 | 6,000 | 0.004 | 24 |" in text
    assert "| dlzs_cell | 40.0 | 0.800 | `a_reg` (x.v:3) -> `b_reg` |" in text
    assert "| 16 | 32 | 12 | 0.8 | dlzs_cell, rass | yes |" in text
    assert "40.0  dlzs_cell: a_reg (x.v:3) -> b_reg" in report.text(result())


def test_picture():
    boxes = picture.squares([6.0, 3.0, 2.0, 1.0], 0, 0, 6, 2)
    assert [w * h for _, _, w, h in boxes] == pytest.approx([6, 3, 2, 1])
    assert picture.picture(result()).count("<title>") == 2


def test_the_page_is_up_to_date():
    page = report.DOCUMENT.read_text()
    assert report.document(page, report.load()) == page


def test_the_command_refuses():
    done = subprocess.run([".venv/bin/python", "scripts/synth.py", "--jobs", "0"], cwd=recipe.ROOT,
                          text=True, capture_output=True)
    assert done.returncode == 2 and "--jobs is 0, legal: 1 or more" in done.stderr
