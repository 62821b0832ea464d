# SPDX-License-Identifier: Apache-2.0
"""A block through Yosys and abc, each run in a process of its own.

    .venv/bin/python -m scripts.silicon.recipe SCRIPT    runs the Yosys commands of a file
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LIMIT_FO4 = 30.0
"""Longest path that a block should have."""
TARGET = 560
"""Delay of logic that abc works for, ps: 30 FO4 less what a register takes, and less the wires that
abc does not see."""
TARGETS = {"dlzs_first": 400}
"""The same for blocks of logic between a memory and a register, of which abc sees neither."""
PIECES = 400
"""The same where full adders are cells: abc sees only the logic between them, in pieces."""
ABC = ("strash;ifraig;scorr;dch,-f;map,-B,0.9,-D,{d};topo;{buffer}"
       "upsize,-D,{d};dnsize,-D,{d};stime,-p")
BUFFER = "buffer,-c,-p;"
"""Buffers by abc. Without them netlist.py makes all trees, which is faster where abc sees no path
that would make it hurry."""
CONSTRAINTS = "set_driving_cell BUF_X2\nset_load 3.0\n"
ADDERS = """\
(* techmap_celltype = "$fa" *)
module full_adder (A, B, C, X, Y);
    parameter WIDTH = 1;
    parameter [WIDTH-1:0] _TECHMAP_CONSTMSK_A_ = 0;
    parameter [WIDTH-1:0] _TECHMAP_CONSTMSK_B_ = 0;
    parameter [WIDTH-1:0] _TECHMAP_CONSTMSK_C_ = 0;
    localparam [WIDTH-1:0] KNOWN =
        _TECHMAP_CONSTMSK_A_ | _TECHMAP_CONSTMSK_B_ | _TECHMAP_CONSTMSK_C_;
    input  [WIDTH-1:0] A, B, C;
    output [WIDTH-1:0] X, Y;
    genvar i;
    generate
        for (i = 0; i < WIDTH; i = i + 1) begin : bits
            if (KNOWN[i]) begin : gates
                assign Y[i] = A[i] ^ B[i] ^ C[i];
                assign X[i] = (A[i] & B[i]) | (C[i] & (A[i] | B[i]));
            end else begin : cell
                FA_X1 fa (.A(A[i]), .B(B[i]), .CI(C[i]), .CO(X[i]), .S(Y[i]));
            end
        end
    endgenerate
endmodule
"""
"""What becomes of full adders: cells of the library, but gates where a bit is constant."""
GATED = 4
"""Fewest flip-flops with a common enable that get a clock gate; fewer get multiplexers."""
STATIC = re.compile(r"(^|[./])(cfg_|job_)\w*(\[\d+\])?$|(^|[./])rst$")
"""False paths: what is set before a job starts and stands until it ends, and the reset."""
SELECT_STATIC = "select static "
"""Our own command: names the cells which only static inputs reach ``static``; its argument is a
folder for files. Alone, abc would take their paths for those to shorten, and let all others become
as long."""


class SynthError(RuntimeError):
    """Yosys failed, or said what must not be."""


@dataclass(frozen=True)
class Variant:
    """A way to map a block: the delay for abc, ps, and its command for buffers."""

    name: str
    target: int
    buffer: str


GATES = Variant("gates", TARGET, BUFFER)
CELLS = (Variant("adders", TARGET, BUFFER), Variant("fast_adders", PIECES, ""))
"""The block as gates only; what is tried as well where it has full adders."""


def script(name: str, text: Path, liberty: Path, folder: Path) -> list[str]:
    """The commands for block ``name``, whose RTLIL lies in ``text``; the netlist of gates goes to
    ``folder``/gates.json, and the block with its full adders found to adders.il; adders.txt lists
    them."""
    return [
        f"read_rtlil {text}",
        f"hierarchy -check -top {name}",
        "proc",
        "flatten",
        "opt_clean",
        "log @@ check",
        "check",
        "log @@ checked",
        f"synth -noabc -top {name} -booth -run begin:fine",
        "design -save front",
        "maccmap t:$macc t:$macc_v2",
        "simplemap",
        "opt_expr",
        "opt_merge",
        "opt_clean",
        "extract_fa -fa",
        "opt_clean",
        f"tee -o {folder / 'adders.txt'} select -list t:$fa",
        f"write_rtlil {folder / 'adders.il'}",
        "design -load front",
        *finish(name, replace(GATES, target=TARGETS.get(name, TARGET)), liberty, folder),
    ]


def adders(name: str, variant: Variant, liberty: Path, folder: Path) -> list[str]:
    """The commands that go on from adders.il with full adders as cells."""
    cells = folder / "adders.v"
    cells.write_text(ADDERS)
    return [
        f"read_rtlil {folder / 'adders.il'}",
        f"techmap -map {cells} t:$fa",
        f"read_liberty -lib {liberty}",
        *finish(name, variant, liberty, folder),
    ]


def finish(name: str, variant: Variant, liberty: Path, folder: Path) -> list[str]:
    """The commands from there to the netlist, ``folder``/VARIANT.json."""
    constraints = folder / "abc.constr"
    constraints.write_text(CONSTRAINTS)
    abc = (f"abc -liberty {liberty} -constr {constraints} -script +"
           + ABC.format(d=variant.target, buffer=variant.buffer))
    return [
        f"synth -noabc -top {name} -run fine:",
        "opt_clean -purge",
        f"clockgate -liberty {liberty} -min_net_size {GATED}",
        "rename -wire",
        f"dfflibmap -liberty {liberty}",
        "opt_clean",
        f"{SELECT_STATIC}{folder}",
        f"{abc} @static",
        abc,
        "setundef -zero",
        "opt_clean -purge",
        f"write_json {folder / variant.name}.json",
    ]


def run(commands: list[str], folder: Path) -> str:
    """Run Yosys commands in a process of their own and return its log; SynthError when it fails."""
    path = folder / "script.ys"
    path.write_text("\n".join(commands) + "\n")
    done = subprocess.run([sys.executable, "-m", "scripts.silicon.recipe", str(path)], cwd=ROOT,
                          text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    (folder / "yosys.log").write_text(done.stdout)
    if done.returncode:
        tail = "\n".join(done.stdout.splitlines()[-8:])
        raise SynthError(f"Yosys ended with {done.returncode}, see {folder / 'yosys.log'}:\n{tail}")
    return done.stdout


def undriven(log: str) -> list[str]:
    """What the check before synthesis complains of: wires without a driver, several drivers,
    loops of logic."""
    checked = log.split("@@ check\n")[-1].split("@@ checked")[0]
    return [line for line in checked.splitlines() if re.match(r"Warning: ", line)]


def static_cells(module: dict) -> list[str]:
    """The gates of a module, as Yosys writes it to JSON before mapping, that depend on static ports
    alone."""
    known = {"0", "1", "x"}
    for name, port in module["ports"].items():
        if port["direction"] == "input" and STATIC.search(name):
            known.update(port["bits"])
    waits: dict[str, int] = {}
    users: dict[int, list[str]] = {}
    for name, cell in module["cells"].items():
        if re.fullmatch(r"\$_\w+_", cell["type"]) and "DFF" not in cell["type"]:
            inputs = {bit for pin, bits in cell["connections"].items() for bit in bits
                      if cell["port_directions"][pin] == "input"} - known
            waits[name] = len(inputs)
            for bit in inputs:
                users.setdefault(bit, []).append(name)
    found = [name for name, count in waits.items() if not count]
    for name in found:
        cell = module["cells"][name]
        for pin, bits in cell["connections"].items():
            for bit in bits if cell["port_directions"][pin] == "output" else ():
                for user in users.get(bit, ()):
                    waits[user] -= 1
                    if not waits[user]:
                        found.append(user)
    return found


def select_static(folder: Path, run_pass) -> None:
    """What ``SELECT_STATIC`` does; ``run_pass`` runs a command of Yosys."""
    run_pass(f"write_json {folder / 'unmapped.json'}")
    (name, module), = ((n, m) for n, m in
                       json.loads((folder / "unmapped.json").read_text())["modules"].items()
                       if not int(m["attributes"].get("blackbox", "0"), 2))
    (folder / "unmapped.json").unlink()
    names = folder / "static.txt"
    names.write_text("".join(f"{name}/{cell}\n" for cell in static_cells(module)))
    run_pass("select -none")
    if names.stat().st_size:
        run_pass(f"select -read {names}")
    run_pass("select -set static %")
    run_pass("select -clear")


def main() -> int:
    """Run the file of commands that the command line names."""
    from pyosys import libyosys

    design = libyosys.Design()
    for line in Path(sys.argv[1]).read_text().splitlines():
        if line.startswith(SELECT_STATIC):
            select_static(Path(line.removeprefix(SELECT_STATIC)),
                          lambda command: libyosys.run_pass(command, design))
        else:
            libyosys.run_pass(line, design)
    return 0


if __name__ == "__main__":
    sys.exit(main())
