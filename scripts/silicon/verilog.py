# SPDX-License-Identifier: Apache-2.0
"""Mapped netlists and their cells as Verilog without delays, for simulation.

Cells come from the Liberty file: what `function`, `ff`, `latch` and the description of a clock gate
say. A netlist has the module and the ports of its RTL, so that a test bench takes it in its place;
memories in it are the RTL's own.
"""

from __future__ import annotations

import re

from scripts.silicon.liberty import Group, LibertyError

HEAD = ("// Written by scripts/silicon/verilog.py.\n/* verilator lint_off DECLFILENAME */\n"
        "/* verilator lint_off UNUSED */\n/* verilator lint_off UNOPTFLAT */\n"
        "/* verilator lint_off LATCH */\n/* verilator lint_off PINCONNECTEMPTY */\n"
        "`timescale 1ns / 1ps\n")
FUNCTION = re.compile(r"[\w!&|^*+() ]+")


def expression(text: str) -> str:
    """A Boolean expression of Liberty as one of Verilog. In Nangate45 every pair has parentheses,
    so that the order of operators, which differs, does not matter; and * is &, + is |."""
    if not FUNCTION.fullmatch(text):
        raise LibertyError(f"function {text!r}: not of names and ! & | ^ * + ( )")
    return text.replace("*", "&").replace("+", "|")


def register(group: Group) -> list[str]:
    """The state of a flip-flop or a latch: (IQ, IQN) of its ff or latch group."""
    state, inverse = group.args
    if group.name == "ff":
        trigger, to = [f"posedge {group.get('clocked_on')}"], "<="
        data = f"{state} <= {expression(group.get('next_state'))};"
    else:
        trigger, to = [], "="
        data = (f"if ({expression(group.get('enable'))}) "
                f"{state} = {expression(group.get('data_in'))};")
    lines = []
    for name, value in (("clear", 0), ("preset", 1)):
        when = expression(group.get(name, "0"))
        if when == "0":
            continue
        lines.append(f"    if ({when}) {state} {to} 1'b{value}; else")
        edge = re.fullmatch(r"!\(?(\w+)\)?", when)
        trigger.append(f"negedge {edge[1]}" if edge else f"posedge {when}")
    if any("!" in t for t in trigger):
        raise LibertyError(f"clock {trigger[0]!r} is not a pin")
    sensitive = " or ".join(trigger) if group.name == "ff" else "*"
    return [f"  reg {state};", f"  wire {inverse} = ~{state};", f"  always @({sensitive})", *lines,
            f"    {data}"]


def clock_gate(cell: Group, state: str) -> list[str]:
    """The latch of a clock gate, which holds its enable while the clock is high."""
    kind = cell.get("clock_gating_integrated_cell")
    if not kind.startswith("latch_posedge"):
        raise LibertyError(f"cell {cell.args[0]}: clock gate of kind {kind}")
    pins = {name: p.args[0] for p in cell.all("pin")
            for name in ("clock", "enable", "test") if f"clock_gate_{name}_pin" in p.attributes}
    enable = " | ".join(pins[n] for n in ("enable", "test") if n in pins)
    return [f"  reg {state};", f"  always @* if (!{pins['clock']}) {state} = {enable};"]


def cell_model(cell: Group) -> str:
    """A cell of the library as a Verilog module."""
    ways = {p.args[0]: p.get("direction") for p in cell.all("pin")}
    ports = [f"{way} {pin}" for pin, way in ways.items() if way != "internal"]
    lines = [f"module {cell.args[0]} ({', '.join(ports)});"]
    for group in cell.all("ff") + cell.all("latch"):
        lines += register(group)
    if "clock_gating_integrated_cell" in cell.attributes:
        lines += clock_gate(cell, next(p for p, way in ways.items() if way == "internal"))
    for pin in cell.all("pin"):
        function = pin.get("function", pin.get("state_function", ""))
        if function:
            value = expression(function)
            if "three_state" in pin.attributes:
                value = f"({expression(pin.get('three_state'))}) ? 1'bz : ({value})"
            lines.append(f"  assign {pin.args[0]} = {value};")
    return "\n".join([*lines, "endmodule", ""])


def cell_models(library: Group) -> str:
    """All cells of a library."""
    models = "".join(map(cell_model, library.all("cell")))
    return f"{HEAD}`celldefine\n{models}`endcelldefine\n"


def memory(name: str, words: int, bits: int) -> str:
    """The module that stands for a memory of these sizes in netlists."""
    address = max(0, (words - 1).bit_length() - 1)
    return (f"module {name} (input clk, input wr_en, input [{address}:0] wr_addr,\n"
            f"  input [{bits - 1}:0] wr_data, input rd_en, input [{address}:0] rd_addr,\n"
            f"  output [{bits - 1}:0] rd_data);\n"
            f"  sofa_ram_1r1w #(.WIDTH({bits}), .DEPTH({words})) ram (.clk(clk), .wr_en(wr_en),\n"
            "    .wr_addr(wr_addr), .wr_data(wr_data), .rd_en(rd_en), .rd_addr(rd_addr),\n"
            "    .rd_data(rd_data));\nendmodule\n")


def bits_of(bits: list[int | str]) -> str:
    """Nets, lowest bit first, as an expression."""
    names = [f"n{b}" if isinstance(b, int) else f"1'b{'1' if b == '1' else '0'}" for b in bits]
    return names[0] if len(names) == 1 else "{" + ", ".join(reversed(names)) + "}"


def module(design: dict, name: str, rename: str = "") -> str:
    """Module ``name`` of a design that Yosys wrote by write_json, one port a line; ``rename``: its
    name in Verilog."""
    netlist = design["modules"][name]
    ports, lines, nets = [], [], set()
    for port, about in netlist["ports"].items():
        bits = about["bits"]
        width = f"[{len(bits) - 1}:0] " if len(bits) > 1 else ""
        ports.append(f"  {about['direction']} wire {width}{port}")
        if about["direction"] == "input":
            for i, bit in enumerate(bits):
                lines.append(f"  assign n{bit} = {port}{f'[{i}]' if width else ''};")
        else:
            lines.append(f"  assign {port} = {bits_of(bits)};")
        nets.update(b for b in bits if isinstance(b, int))
    for number, cell in enumerate(netlist["cells"].values()):
        pins = []
        for pin, bits in cell["connections"].items():
            pins.append(f".{pin}({bits_of(bits)})")
            nets.update(b for b in bits if isinstance(b, int))
        lines.append(f"  {cell['type']} u{number} ({', '.join(pins)});")
    declared = [f"  wire n{n};" for n in sorted(nets)]
    # Instances of a block share the code that Verilator makes of it.
    hint = [] if rename else ["  /* verilator no_inline_module */"]
    return "\n".join([f"module {rename or name} (", ",\n".join(ports), ");", *hint, *declared,
                      *lines, "endmodule", ""])
