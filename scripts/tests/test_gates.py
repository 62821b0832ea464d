# SPDX-License-Identifier: Apache-2.0
"""Cell models, netlists as Verilog, and toggles with their energy, on toys computed by hand."""

import itertools
import json
import subprocess
import sys

import numpy as np
import pytest

from scripts.silicon import energy, gates, liberty, netlist, toggle, verilog
from tb import runner

# Nets and energies: inputs 2 fF, no wire; an output that toggles 1 fJ at a rise, 3 at a fall; delay
# 10 ps (SLOW: 50 ps). The flip-flop: clock 1 fJ a rise, 2 a fall.
GATE = """
  cell ({name}) {{ area : 1; cell_leakage_power : 5;
    {pins}
    pin (Z) {{ direction : output; function : "{function}";
      internal_power () {{ related_pin : "A";
        rise_power (p) {{ index_1 ("0, 1"); index_2 ("0, 10"); values ("1, 1", "1, 1"); }}
        fall_power (p) {{ index_1 ("0, 1"); index_2 ("0, 10"); values ("3, 3", "3, 3"); }} }}
      timing () {{ related_pin : "A"; timing_sense : non_unate;
        cell_rise (t) {{ index_1 ("0, 1"); index_2 ("0, 10"); values ("{d}, {d}", "{d}, {d}"); }}
        cell_fall (t) {{ index_1 ("0, 1"); index_2 ("0, 10"); values ("{d}, {d}", "{d}, {d}"); }}
  }} }} }}"""
PIN = "pin ({}) {{ direction : input; capacitance : 2; }}"
FUNCTIONS = {"INV_X1": "!A", "BUF_X4": "A", "SLOW": "A", "XOR2": "A ^ B", "AOI22":
             "!((A & B) | (C & D))", "MUX2": "((S & B) | (A & !S))", "SUM": "((A * B) + !C)"}
CLOCK = """internal_power () {
        rise_power (h) { index_1 ("0, 1"); values ("1, 1"); }
        fall_power (h) { index_1 ("0, 1"); values ("2, 2"); } }"""
STATE = """
  cell (DFF_X1) { area : 4; ff (IQ, IQN) { next_state : "D"; clocked_on : "CK"; }
    pin (D) { direction : input; capacitance : 1; }
    pin (CK) { direction : input; clock : true; capacitance : 1; %s }
    pin (Q) { direction : output; function : "IQ"; }
    pin (QN) { direction : output; function : "IQN"; } }
  cell (DFFR_X1) { area : 5; ff (IQ, IQN) { next_state : "D"; clocked_on : "CK"; clear : "!RN"; }
    pin (D) { direction : input; } pin (CK) { direction : input; clock : true; }
    pin (RN) { direction : input; } pin (Q) { direction : output; function : "IQ"; } }
  cell (DLH_X1) { area : 3; latch (IQ, IQN) { enable : "G"; data_in : "D"; }
    pin (D) { direction : input; } pin (G) { direction : input; }
    pin (Q) { direction : output; function : "IQ"; } }
  cell (CLKGATE_X1) { area : 3; clock_gating_integrated_cell : latch_posedge;
    pin (IQ) { direction : internal; }
    pin (CK) { direction : input; clock_gate_clock_pin : true; capacitance : 1; %s }
    pin (E) { direction : input; clock_gate_enable_pin : true; capacitance : 1; }
    pin (GCK) { direction : output; state_function : "(CK & IQ)"; } }""".replace("%s", CLOCK)
LIBRARY = """library (toy) {
  lu_table_template (t) { variable_1 : input_net_transition;
    variable_2 : total_output_net_capacitance; }
  power_lut_template (p) { variable_1 : input_transition_time;
    variable_2 : total_output_net_capacitance; }
  power_lut_template (h) { variable_1 : input_transition_time; }""" + "".join(
      GATE.format(name=name, function=function, d=0.05 if name == "SLOW" else 0.01,
                  pins=" ".join(PIN.format(p) for p in sorted(set(function) & set("ABCDS"))))
      for name, function in FUNCTIONS.items()) + STATE + "\n}\n"


def simulate_verilog(folder, text):
    """What a module `bench` prints on Icarus."""
    source = folder / "bench.v"
    source.write_text(text)
    subprocess.run(["iverilog", "-g2005", "-s", "bench", "-o", str(folder / "bench.vvp"),
                    str(source)], check=True)
    return subprocess.run(["vvp", "-n", str(folder / "bench.vvp")], check=True, text=True,
                          capture_output=True).stdout.split()


needs_icarus = pytest.mark.skipif(not runner.have("iverilog"), reason="needs Icarus")


@needs_icarus
def test_gates_against_their_truth_tables(tmp_path):
    root = liberty.parse(LIBRARY)
    want, lines = [], []
    for number, (name, function) in enumerate(FUNCTIONS.items()):
        pins = sorted(set(function) & set("ABCDS"))
        text = function.replace("!", "1-").replace("&", "*").replace("|", "+")
        for values in itertools.product((0, 1), repeat=len(pins)):
            at = dict(zip(pins, values, strict=True))
            bit = (at["A"] ^ at["B"] if "^" in text else
                   1 - min(1, at["A"] * at["B"] + at["C"] * at["D"]) if name == "AOI22" else
                   min(1, at["A"] * at["B"] + 1 - at["C"]) if name == "SUM" else
                   (at["B"] if at["S"] else at["A"]) if name == "MUX2" else
                   1 - at["A"] if name == "INV_X1" else at["A"])
            want.append(str(bit))
            index = sum(v << k for k, v in enumerate(values))
            assert toggle.table_of(function, pins) >> index & 1 == bit, (name, at)
            ports = ", ".join(f".{p}(1'b{v})" for p, v in at.items())
            lines.append(f"wire z{number}_{index}; {name} u{number}_{index} ({ports}, "
                         f".Z(z{number}_{index}));")
            lines.append(f'initial #{len(want)} $display("%b", z{number}_{index});')
    bench = "module bench;\n" + "\n".join(lines) + "\nendmodule\n"
    assert simulate_verilog(tmp_path, verilog.cell_models(root) + bench) == want


@needs_icarus
def test_registers_latches_and_clock_gates(tmp_path):
    """State after each step of a list of inputs; a clock gate takes its enable while CK is low."""
    steps = [  # CK D RN -> register, register with clear, latch open at CK, gated clock (enable D)
        ("0 1 1", "x", "x", "x", "0"), ("1 1 1", "1", "1", "1", "1"), ("1 0 1", "1", "1", "0", "1"),
        ("0 0 1", "1", "1", "0", "0"), ("0 1 1", "1", "1", "0", "0"), ("0 0 1", "1", "1", "0", "0"),
        ("1 0 1", "0", "0", "0", "0"), ("1 1 1", "0", "0", "1", "0"), ("0 1 1", "0", "0", "1", "0"),
        ("1 1 1", "1", "1", "1", "1"), ("1 1 0", "1", "0", "1", "1"), ("0 1 1", "1", "0", "1", "0")]
    lines = ["module bench; reg CK, D, RN; wire q, r, l, g;",
             "DFF_X1 a (.D(D), .CK(CK), .Q(q), .QN());",
             "DFFR_X1 b (.D(D), .CK(CK), .RN(RN), .Q(r));", "DLH_X1 c (.D(D), .G(CK), .Q(l));",
             "CLKGATE_X1 e (.CK(CK), .E(D), .GCK(g));", "initial begin"]
    for inputs, *_ in steps:
        ck, d, rn = inputs.split()
        lines.append(f"D = {d}; RN = {rn}; #1 CK = {ck}; #1 $display(\"%b%b%b%b\", q, r, l, g);")
    text = verilog.cell_models(liberty.parse(LIBRARY)) + "\n".join([*lines, "end endmodule", ""])
    assert simulate_verilog(tmp_path, text) == ["".join(want) for _, *want in steps]


def test_what_a_cell_may_not_say():
    with pytest.raises(liberty.LibertyError, match="function \"A'\""):
        verilog.expression("A'")
    with pytest.raises(liberty.LibertyError, match="clock gate of kind latch_negedge"):
        verilog.cell_models(liberty.parse(LIBRARY.replace("latch_posedge", "latch_negedge")))


def cell(kind, **pins):
    return {"type": kind, "attributes": {}, "connections": {p: [n] for p, n in pins.items()}}


def toy(cells, ports):
    return {"modules": {"toy": {"cells": cells, "netnames": {}, "ports": {
        n: {"direction": d, "bits": b} for n, (d, b) in ports.items()}}}}


@needs_icarus
def test_a_netlist_as_verilog(tmp_path):
    """A bus, a constant, a register, a memory and a block inside."""
    design = toy({"a": cell("XOR2", A=3, B="1", Z=5), "r": cell("DFF_X1", D=5, CK=2, Q=6),
                  "m": {"type": "ram_2x1", "connections": {
                      "clk": [2], "wr_en": ["1"], "wr_addr": [4], "wr_data": [6], "rd_en": ["1"],
                      "rd_addr": [4], "rd_data": [7]}},
                  "x": {"type": "inner", "connections": {"i": [3, 4], "o": [8]}}},
                 {"clk": ("input", [2]), "d": ("input", [3, 4]), "q": ("output", [8, 6, 7, "1"])})
    inner = toy({"b": cell("XOR2", A=2, B=3, Z=4)}, {"i": ("input", [2, 3]), "o": ("output", [4])})
    inner["modules"]["inner"] = inner["modules"].pop("toy")
    top = verilog.module(design, "toy", "sofa_toy")
    assert runner.ports(top) == [("input", "clk"), ("input", "d"), ("output", "q")]
    bench = """module bench; reg clk; reg [1:0] d; wire [3:0] q; sofa_toy t (clk, d, q);
      initial begin
        clk = 0; d = 2'b00; #1 clk = 1; #1 clk = 0; #1 clk = 1; #1 clk = 0; #1 clk = 1;
        #1 $display("%b", q); d = 2'b01; clk = 0; #1 clk = 1; #1 $display("%b", q);
      end endmodule\n"""
    ram = runner.find_module("sofa_ram_1r1w").read_text()
    text = (verilog.cell_models(liberty.parse(LIBRARY)) + top + verilog.module(inner, "inner")
            + verilog.memory("ram_2x1", 2, 1) + ram + bench)
    assert simulate_verilog(tmp_path, text) == ["1110", "1101"]


def loaded(design):
    library = liberty.library_of(LIBRARY)
    return netlist.load_json(design, "toy", library, {}, {"ram_4x1": netlist.Memory(4, 1)})


@pytest.fixture
def costs(tmp_path):
    path = tmp_path / "toy.lib"
    path.write_text(LIBRARY)
    return energy.costs(path)


def rows(*changes):
    return np.array(changes, np.int64).reshape(-1, 3)


def test_toggles_with_and_without_glitches(costs):
    """An input and its late copy into an exclusive or: a pulse of 50 ps for every change, longer
    than the gate's 10 ps; into a slow gate behind it, as long as its delay, it comes through."""
    design = toy({"s": cell("SLOW", A=3, Z=4), "x": cell("XOR2", A=3, B=4, Z=5),
                  "f": cell("BUF_X4", A=5, Z=6)},
                 {"clk": ("input", [2]), "a": ("input", [3]), "y": ("output", [6])})
    run = toggle.Simulation(loaded(design), costs).run
    counts = run(rows((0, 3, 1), (1, 3, 0), (3, 3, 1)), rows((0, 6, 0)), 5, 1, 5)
    # Two changes are counted: of cycles 1 and 3.
    assert counts.toggles[3:7].tolist() == [2, 2, 4, 4]
    assert counts.settled[3:7].tolist() == [2, 2, 0, 0]
    assert counts.wrong[6] == 0
    # Behind the slow one the pulse of 10 ps of a fast copy is lost.
    design["modules"]["toy"]["cells"] = {
        "s": cell("BUF_X4", A=3, Z=4), "x": cell("XOR2", A=3, B=4, Z=5),
        "f": cell("SLOW", A=5, Z=6)}
    counts = toggle.Simulation(loaded(design), costs).run(
        rows((0, 3, 1), (1, 3, 0), (3, 3, 1)), rows((0, 6, 1)), 5, 1, 5)
    assert counts.toggles[6] == 0 and counts.wrong[6] == 4


def test_clock_gates_registers_and_memories(costs):
    """An enable of two cycles clocks the register twice; the memory is written and read."""
    design = toy({"g": cell("CLKGATE_X1", CK=2, E=4, GCK=5), "r": cell("DFF_X1", D=3, CK=5, Q=6),
                  "m": {"type": "ram_4x1", "attributes": {}, "connections": {
                      "clk": [2], "wr_en": [4], "wr_addr": ["1", "0"], "wr_data": [6],
                      "rd_en": ["1"], "rd_addr": ["1", "0"], "rd_data": [7]}}},
                 {"clk": ("input", [2]), "d": ("input", [3]), "e": ("input", [4]),
                  "q": ("output", [6]), "z": ("output", [7])})
    net = loaded(design)
    counts = toggle.Simulation(net, costs).run(
        rows((0, 3, 1), (0, 4, 1), (2, 4, 0), (3, 3, 0)), rows((1, 6, 1), (3, 7, 1)), 6, 0, 6)
    assert counts.clocks == {2: 6, 5: 2} and counts.accesses == [(4, 1, 6, 2)]
    assert counts.toggles[6] == counts.toggles[7] == 1 and not counts.wrong.any()
    got = energy.logic(net, costs, counts.toggles, counts.clocks)
    # The register: 1 cycle with a rise that changes nothing, falls in both; the gate: 4 cycles off.
    # Nets: clock 1 fF of the gate and 3 of the memory, gated 1 fF; buffers 1/40 of a load, each
    # with 2 fF at its input and 2 fJ.
    edge = sum(2 * on * (energy.charge(load * (1 + 2 / 40)) + load / 40 * 2)
               for on, load in ((6, 4), (2, 1)))
    assert got["clock"] == pytest.approx(1 * 1 + 2 * 2 + 4 * 3 + edge)
    # q: the memory's 3 fF and the port's.
    assert got["registers"] == pytest.approx(energy.charge(6))
    assert got["gates"] == pytest.approx(energy.charge(3))


def test_energy_of_gates(costs):
    design = toy({"i": cell("INV_X1", A=3, Z=4), "j": cell("INV_X1", A=4, Z=5)},
                 {"clk": ("input", [2]), "a": ("input", [3]), "y": ("output", [5])})
    net = loaded(design)
    got = energy.logic(net, costs, np.array([0, 0, 0, 9, 3, 2]), {2: 0})
    # Net 3 is of whoever drives the port. 2 fJ a toggle; 2 fF, and 3 fF of a port.
    assert got["gates"] == pytest.approx(3 * (energy.charge(2) + 2) + 2 * (energy.charge(3) + 2))
    assert got["leak"] == 10 and got["clock"] == 0


def test_energy_of_memories():
    """The three figures that the rule is taken from, 64 bits at 45 nm."""
    for words, pj in ((1024, 10), (4096, 20), (131072, 100)):
        assert energy.memory_energy(words, 64) / energy.MEMORY_28 == pytest.approx(
            1000 * pj, rel=0.14)
    assert energy.memory_energy(4, 8) == energy.memory_energy(64, 8)


@pytest.mark.skipif(not list(gates.BUILD.glob("cells-*.v")), reason="needs the cells (make gates)")
@pytest.mark.skipif(not runner.have("verilator"), reason="needs Verilator")
def test_a_planted_fault():
    """The test of the cell passes on its netlist, and fails with one gate exchanged."""
    parameters = {"SC_FRAC": 3, "TWO_TERM": 1, "SC_W": 15}
    good, cells = gates.sources("sofa_dlzs_cell", parameters)
    text = good.read_text()
    assert text.count("  NAND2_X1 ") > 10
    bad = gates.BUILD / "fault" / good.name
    bad.parent.mkdir(parents=True, exist_ok=True)
    bad.write_text(text.replace("  NAND2_X1 ", "  NOR2_X1 ", 1))

    def simulate(netlist_file):
        runner.run("sofa_dlzs_cell", "tb.dlzs.test_dlzs_cell", {}, "verilator", seed=1,
                   sources=[netlist_file, cells], env={"TB_PARAMETERS": json.dumps(parameters)})

    simulate(good)
    with pytest.raises(runner.SimulationError, match="every_term: .* code 0x"):
        simulate(bad)


def test_the_tests_of_the_command_exist():
    from scripts import gates as command

    done = subprocess.run([sys.executable, "-m", "pytest", "-q", "--collect-only", "--sim",
                           "verilator", "--config", "tiny", *command.TESTS], cwd=runner.ROOT,
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
