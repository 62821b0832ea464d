# SPDX-License-Identifier: Apache-2.0
"""A block through Yosys and abc, each run in a process of its own.

    .venv/bin/python -m scripts.silicon.recipe SCRIPT    runs the Yosys commands of a file
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TARGET = 560
"""Delay of logic that abc works for, ps: 30 FO4 less what a register takes, and less the wires that
abc does not see."""
ABC = ("strash;ifraig;scorr;dch,-f;map,-B,0.9,-D,{d};topo;buffer,-c,-p;"
       "upsize,-D,{d};dnsize,-D,{d};stime,-p")
CONSTRAINTS = "set_driving_cell BUF_X2\nset_load 3.0\n"
GATED = 4
"""Fewest flip-flops with a common enable that get a clock gate; fewer get multiplexers."""


class SynthError(RuntimeError):
    """Yosys failed, or said what must not be."""


def script(name: str, text: Path, liberty: Path, folder: Path) -> list[str]:
    """The commands for block ``name``, whose RTLIL lies in ``text``; the netlist goes to
    ``folder``/netlist.json."""
    constraints = folder / "abc.constr"
    constraints.write_text(CONSTRAINTS)
    return [
        f"read_rtlil {text}",
        f"hierarchy -check -top {name}",
        "proc",
        "flatten",
        "opt_clean",
        "log @@ check",
        "check",
        "log @@ checked",
        f"synth -noabc -top {name} -booth",
        "opt_clean -purge",
        f"clockgate -liberty {liberty} -min_net_size {GATED}",
        "rename -wire",
        f"dfflibmap -liberty {liberty}",
        "opt_clean",
        f"abc -liberty {liberty} -constr {constraints} -script +{ABC.format(d=TARGET)}",
        "setundef -zero",
        "opt_clean -purge",
        f"write_json {folder / 'netlist.json'}",
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


def main() -> int:
    """Run the file of commands that the command line names."""
    from pyosys import libyosys

    design = libyosys.Design()
    for line in Path(sys.argv[1]).read_text().splitlines():
        libyosys.run_pass(line, design)
    return 0


if __name__ == "__main__":
    sys.exit(main())
