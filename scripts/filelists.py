# SPDX-License-Identifier: Apache-2.0
"""File lists of the top and of each stage, FuseSoC core file and Bender manifest, from one graph.

    .venv/bin/python scripts/filelists.py [--check]

writes rtl/sofa.f, rtl/<stage>/<stage>.f, sofa.core and Bender.yml; with --check it only compares
them, and ends with exit code 1 where a committed file differs. What a list needs follows from which
module has an instance of which, and from the headers that the files include: a file is named once,
before those that use it. Paths in a list begin at the folder of the list, so it is read with -F, or
with -f from that folder.
"""

from __future__ import annotations

import argparse
import difflib
import functools
import os
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from scripts import entry  # noqa: E402 (needs the repository on the search path)

entry.install()

from models.spec.configs import CONFIGS  # noqa: E402
from models.spec.registers import VERSION_VALUE  # noqa: E402
from tb.common.states import instances  # noqa: E402
from tb.runner import INCLUDE_DIR, WAIVERS, find_module  # noqa: E402

WRITTEN_BY = "Written by scripts/filelists.py: change the Verilog or that script, not this file."
VERSION = f"{VERSION_VALUE >> 16}.{VERSION_VALUE & 0xFFFF}.0"
"""Version of the packages: that of the register map."""

TOP = "sofa"
EXAMPLE = ("examples/sufa_unit/attention_row.sv", "examples/sufa_unit/attention_row_tb.sv")
"""The example of one lifted block: its wrapper and its bench."""

EXAMPLE_UNIT = "sofa_sufa_unit"
LINTED = "tiny"
"""Configuration of the lint target."""


def stages() -> list[str]:
    """Folders of rtl/ that have a top module of their own."""
    return sorted(p.parent.name for p in (ROOT / "rtl").glob("*/*.v")
                  if p.stem == f"sofa_{p.parent.name}")


@functools.cache
def sources(top: str) -> tuple[Path, ...]:
    """Files of ``top`` and of all below it, each after those whose modules it has instances of."""
    found: dict[Path, None] = {}
    for module in dict.fromkeys(instances(top).values()):
        found |= dict.fromkeys(sources(module))
    return (*found, find_module(top))


@functools.cache
def headers(files: tuple[Path, ...]) -> tuple[Path, ...]:
    """Headers that the files, and headers among them, include, in the order of their names."""
    found: set[Path] = set()
    todo = list(files)
    while todo:
        names = re.findall(r'^\s*`include "(\S+)"', todo.pop().read_text(), re.M)
        new = {INCLUDE_DIR / name for name in names} - found
        found |= new
        todo += new
    return tuple(sorted(found))


def file_list(top: str, folder: Path) -> str:
    """Text of the list of ``top`` in ``folder``."""
    files = sources(top)
    lines = ["// SPDX-License-Identifier: Apache-2.0", f"// {WRITTEN_BY}",
             f"// Top module {top}, Verilog-2005. Paths begin at the folder of this list: read it",
             "// with -F, or with -f from here."]
    if headers(files):
        lines.append(f"+incdir+{os.path.relpath(INCLUDE_DIR, folder)}")
    lines += [os.path.relpath(f, folder) for f in files]
    return "\n".join(lines) + "\n"


def grouped() -> dict[str, list[Path]]:
    """Files of the machine by folder of rtl/, "" for the top itself; folders in the order in which
    their files first appear."""
    groups: dict[str, list[Path]] = {}
    for path in sources(TOP):
        folder = path.parent.name if path.parent != ROOT / "rtl" else ""
        groups.setdefault(folder, []).append(path)
    return groups


def relative(path: Path) -> str:
    """A path from the root of the repository."""
    return path.relative_to(ROOT).as_posix()


def core_file() -> str:
    """Text of the FuseSoC core file."""
    def fileset(name, files, kind, extra=()):
        return [f"  {name}:", f"    file_type: {kind}", "    files:", *extra,
                *(f"      - {f}" for f in files)]

    include = relative(INCLUDE_DIR)
    header_lines = [f"      - {relative(h)}: {{is_include_file: true, include_path: {include}}}"
                    for h in headers(sources(TOP))]
    params = CONFIGS[LINTED]
    lines = [
        "CAPI=2:", "# SPDX-License-Identifier: Apache-2.0", f"# {WRITTEN_BY}",
        f"name: open-sofa:accelerator:sofa:{VERSION}",
        "description: SOFA, sparse attention from memory to memory",
        "", "filesets:",
        *fileset("rtl", map(relative, sources(TOP)), "verilogSource-2005", header_lines),
        *fileset("waivers", [relative(WAIVERS)], "vlt"),
        *fileset("sufa_unit", map(relative, sources(EXAMPLE_UNIT)), "verilogSource-2005",
                 [line for h, line in zip(headers(sources(TOP)), header_lines, strict=True)
                  if h in headers(sources(EXAMPLE_UNIT))]),
        *fileset("example", EXAMPLE, "systemVerilogSource"),
        "", "targets:",
        "  default:",
        "    filesets: [rtl]",
        f"    toplevel: {TOP}",
        f"    parameters: [{', '.join(params)}]",
        "  lint:",
        "    description: Verilator on the whole machine",
        "    filesets: [rtl, waivers]",
        f"    toplevel: {TOP}",
        "    flow: lint",
        "    flow_options:",
        "      tool: verilator",
        "      verilator_options: [-Wall, --timescale, 1ns/1ps]",
        f"    parameters: [{', '.join(params)}]",
        "  sim:",
        "    description: query rows and keys through a unit of SU-FA, in Icarus",
        "    filesets: [sufa_unit, example]",
        "    toplevel: attention_row_tb",
        "    flow: sim",
        "    flow_options:",
        "      tool: icarus",
        "      iverilog_options: [-g2012, -Wall]",
        "", "parameters:",
    ]
    for name, value in params.items():
        lines += [f"  {name}: {{datatype: int, paramtype: vlogparam, default: {value}}}"]
    return "\n".join(lines) + "\n"


def bender() -> str:
    """Text of the Bender manifest."""
    lines = [f"# {WRITTEN_BY}", "# SPDX-License-Identifier: Apache-2.0", "package:",
             "  name: sofa", '  authors: ["The open SOFA project"]', "",
             f"export_include_dirs: [{relative(INCLUDE_DIR)}]", "", "sources:"]
    for folder, files in grouped().items():
        lines += [f"  # {folder or 'top'}", "  - files:",
                  *(f"      - {relative(f)}" for f in files)]
    lines += ["  # one unit of SU-FA alone", "  - target: sofa_example", "    files:",
              *(f"      - {f}" for f in EXAMPLE)]
    return "\n".join(lines) + "\n"


def outputs() -> dict[Path, str]:
    """Every written file with its text."""
    rtl = ROOT / "rtl"
    texts = {rtl / f"{TOP}.f": file_list(TOP, rtl)}
    for stage in stages():
        texts[rtl / stage / f"{stage}.f"] = file_list(f"sofa_{stage}", rtl / stage)
    return texts | {ROOT / "sofa.core": core_file(), ROOT / "Bender.yml": bender()}


def main() -> int:
    """Write the files, or compare them; 0 when all are as the Verilog says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare only")
    check = parser.parse_args().check
    texts = outputs()
    stale = {p for p in (ROOT / "rtl").rglob("*.f")} - set(texts)
    faults = [f"{relative(p)}: no stage has this list" for p in sorted(stale)]
    for path, text in texts.items():
        old = path.read_text() if path.is_file() else ""
        if check and old != text:
            faults += [f"{relative(path)} differs: run scripts/filelists.py",
                       *difflib.unified_diff(old.splitlines(), text.splitlines(), lineterm="",
                                             n=0)]
        elif old != text:
            path.write_text(text)
    for path in () if check else stale:
        path.unlink()
    if check and faults:
        print("\n".join(faults))
    return int(check and bool(faults))


if __name__ == "__main__":
    sys.exit(main())
