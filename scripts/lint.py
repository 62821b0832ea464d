# SPDX-License-Identifier: Apache-2.0
"""Checks every Verilog module alone, the rules of style, the Python code and the documents.

    .venv/bin/python scripts/lint.py [--no-yosys] [module ...]

Columns of the table:
    style      licence line, nettype, resetall, one module per file, line length, file length
    verilator  --lint-only -Wall with the waivers of tb/lint.vlt
    icarus     the language gate: Verilog-2005, -Wall
    sv         read as SystemVerilog as well (Verilator 1800-2017, Icarus -g2012, Yosys -sv), which
               reserves more words: a user's flow may read all files in that language
    yosys      elaboration for synthesis: hierarchy, processes, drivers, combinational loops
    formal     the same with the assertions under `ifdef FORMAL
Modules are checked with their default parameters. The top level is also checked by Verilator at
tiny, there without sort cores and with its taps as well; the tests that build the larger
configurations fail at a warning, too. Documents: scripts/pages.py. A warning is an error; the exit
code is the verdict.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from scripts import entry  # noqa: E402 (needs the repository on the search path)

entry.install()

from models.spec.configs import CONFIGS  # noqa: E402
from scripts import pages  # noqa: E402
from scripts import yosys as yosys_tool  # noqa: E402
from tb import runner  # noqa: E402

MAX_COLUMNS = 100
MAX_LINES = 700
# The top level is instances and the wires between them, one connection a line. Another level of
# hierarchy would make no part of it shorter: it would repeat the ports.
MAX_LINES_OF = {"sofa": 1250}
COLUMNS = ("style", "verilator", "icarus", "sv", "yosys", "formal")
# What else the top level, which contains everything else, is checked with: parameters, option.
# Verilator takes a minute for a configuration as large as paper, which tests build anyway.
TINY = CONFIGS["tiny"]
BUILDS = {"sofa": {"tiny": (TINY, ""), "tiny, SORT=0": ({**TINY, "SORT": 0}, ""),
                   "tiny, taps": (TINY, "-DSOFA_TAPS")}}
# Ctrl-C reaches the main thread only.
INTERRUPTED = threading.Event()
RUNNING: list[subprocess.Popen] = []


def modules() -> list[Path]:
    """Return the Verilog files of the design and of the test wrappers."""
    return sorted((ROOT / "rtl").rglob("*.v")) + sorted((ROOT / "tb" / "hdl").glob("*.v"))


def property_sets() -> list[Path]:
    """Return the files of rules that modules check under `ifdef FORMAL: read by Yosys only."""
    return sorted((ROOT / "tb" / "formal").glob("*.v"))


def command(cmd: list[str], cwd: Path = ROOT) -> tuple[int, str]:
    """Run ``cmd`` in ``cwd`` and return (exit code, all output)."""
    with subprocess.Popen(cmd, cwd=cwd, text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT) as process:
        RUNNING.append(process)
        text = process.communicate()[0]
        RUNNING.remove(process)
    if INTERRUPTED.is_set():
        raise KeyboardInterrupt
    return process.returncode, text


def check_text(path: Path) -> list[str]:
    """Return the faults of a Verilog file or header as readable lines."""
    text = path.read_text()
    lines = text.splitlines()
    faults = []
    if not lines or not lines[0].startswith("// SPDX-License-Identifier: Apache-2.0"):
        faults.append("1: the first line is not the SPDX licence line")
    # A table in a generated header is one long constant.
    free_width = path.suffix == ".vh" and re.search(r"(Written|Generated) by", text)
    for number, line in enumerate(lines, 1):
        if len(line) > MAX_COLUMNS and not free_width:
            faults.append(f"{number}: {len(line)} columns, at most {MAX_COLUMNS} allowed")
        if "\t" in line:
            faults.append(f"{number}: tab")
        if line != line.rstrip():
            faults.append(f"{number}: blanks at the end of the line")
    if path.suffix == ".v":
        most = MAX_LINES_OF.get(path.stem, MAX_LINES)
        # The properties at the end are the module's specification, not its length.
        design = len(text.partition("`ifdef FORMAL")[0].splitlines())
        if design > most:
            faults.append(f"{design} lines, at most {most} allowed: split the module")
        if not re.search(r"^`default_nettype none", text, re.M):
            faults.append("no `default_nettype none")
        if len(re.findall(r"^`resetall", text, re.M)) < 2:
            faults.append("no `resetall at the head and the foot")
        names = re.findall(r"^\s*module\s+(\w+)", text, re.M)
        if names != [path.stem]:
            faults.append(f"holds the modules {names}, must be exactly {path.stem}")
    return [f"{path.relative_to(ROOT)}:{fault}" for fault in faults]


def check_waivers() -> list[str]:
    """Return the waivers which have no comment with a reason above them."""
    faults, reason = [], False
    for number, line in enumerate(runner.WAIVERS.read_text().splitlines(), 1):
        if line.startswith("lint_off") and not reason:
            faults.append(f"{runner.WAIVERS.relative_to(ROOT)}:{number}: waiver without a reason")
        # Several waivers may share the reason above them; a blank line ends its reach.
        reason = line.startswith("//") or (reason and line.startswith("lint_off"))
    return faults


def verilator(path: Path, params: dict | None = None, option: str = "") -> list[str]:
    """Return Verilator's complaints about a module at ``params`` (default: its own)."""
    cmd = ["verilator", "--lint-only", "--quiet", *runner.verilator_args(path.stem)]
    cmd += [f"-G{k}={v}" for k, v in (params or {}).items()] + [option] * bool(option)
    code, text = command([*cmd, str(path)])
    return text.splitlines() if code or text.strip() else []


def verilator_all(path: Path) -> list[str]:
    """Return Verilator's complaints at the default parameters and at those of BUILDS."""
    faults = verilator(path)
    for name, (params, option) in BUILDS.get(path.stem, {}).items():
        faults += [f"[{name}] {line}" for line in verilator(path, params, option)]
    return faults


def icarus(path: Path) -> list[str]:
    """Return Icarus's complaints about a module."""
    code, text = command(["iverilog", "-t", "null", *runner.icarus_args(path.stem), str(path)])
    return text.splitlines() if code or text.strip() else []


def systemverilog(paths: list[Path]) -> dict[str, list[str]]:
    """Return what Verilator and Icarus, one process each, say about files read as SystemVerilog.

    The answer is {module: lines}; lines that name no file of ``paths`` belong to module "".
    """
    files = [str(p) for p in paths]
    include = f"-I{runner.INCLUDE_DIR}"
    tools = [["verilator", "--lint-only", "--quiet", "--language", "1800-2017", "-Wall",
              "-Wno-MULTITOP", "--timescale", "/".join(runner.TIMESCALE), include,
              str(runner.WAIVERS), *files]]
    if runner.have("iverilog"):
        tools.append(["iverilog", "-t", "null", "-g2012", "-Wall", include, *files])
    faults: dict[str, list[str]] = {}
    for cmd in tools:
        code, text = command(cmd)
        lines = text.splitlines() or ([f"{cmd[0]}: exit code {code}"] if code else [])
        name = ""
        for line in lines:
            # Lines that show the source follow the one that names the file.
            name = next((p.stem for p in paths if f"{p}:" in line), name)
            faults.setdefault(name, []).append(line)
    return faults


def yosys(paths: list[Path]) -> dict[tuple[str, str], list[str]]:
    """Return Yosys's complaints as {(column, module): lines}, from as few processes as possible.

    Starting Yosys takes far longer than checking a module, so one process checks all of them;
    only an error, which ends the process, makes another one necessary. Column sv only reads.
    """
    include = f"-I{runner.INCLUDE_DIR.relative_to(ROOT)}"
    files = {p.stem: p.relative_to(ROOT) for p in paths}
    faults = {}
    for column, options in (("yosys", ""), ("formal", "-formal -DFORMAL"), ("sv", "-sv")):
        readable = list(files)
        todo = [n for n, f in files.items()
                if ("`ifdef FORMAL" in (ROOT / f).read_text() if column == "formal"
                    else (ROOT / f) not in property_sets())]
        while todo:
            script = ["design -reset"]
            for name in readable:
                script += [f"log @@ read {name}",
                           f"read_verilog -defer {options} {include} {files[name]}"]
            script += ["design -save all"]
            # Only the module itself is checked: its children have their own turn, and looking for
            # loops through wide shifters again below every parent takes minutes.
            for name in todo if column != "sv" else ():
                script += [f"log @@ check {name}", "design -load all",
                           f"hierarchy -check -top {name}", "proc", "opt_clean",
                           f"check -assert {name}"]
            code, text = run_yosys(script)
            step, current = "read", None
            for line in text.splitlines():
                if line.startswith("@@ "):
                    step, current = line.split()[1:3]
                elif re.match(r"(Warning|ERROR|.*: (Warning|ERROR|syntax error))", line):
                    lines = faults.setdefault((column, current), [])
                    lines += [line] if line not in lines else []
            if code == 0:
                break
            faults.setdefault((column, current), [text[-500:]])
            if current is None:
                break
            # Go on without the file which cannot be read, or after the module which failed.
            if step == "read":
                readable.remove(current)
                todo = [n for n in todo if n != current]
            else:
                todo = todo[todo.index(current) + 1:]
    return faults


def run_yosys(script: list[str]) -> tuple[int, str]:
    """Run a Yosys script and return (exit code, output)."""
    path = runner.BUILD / "lint.ys"
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join(script) + "\n")
    return command(yosys_tool.command(path))


def main() -> int:
    """Run all checks, print the table and the complaints; 0 when there are none."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--no-yosys", action="store_true", help="leave the slow part out")
    parser.add_argument("modules", nargs="*", help="only these modules (default: all)")
    args = parser.parse_args()
    files = modules()
    chosen = [f for f in files if not args.modules or f.stem in args.modules]
    sets = [f for f in property_sets() if not args.modules or f.stem in args.modules]
    if args.modules and len(chosen) + len(sets) != len(set(args.modules)):
        parser.error(f"no such module among {args.modules}")

    runner.drop_inherited()
    verdict: dict[tuple[str, str], str] = {}
    complaints: list[str] = []

    def note(column, name, lines):
        verdict[column, name] = "FAIL" if lines else "ok"
        if lines:
            complaints.append(f"--- {name} ({column})")
            complaints.extend(lines[:20])

    begin = time.monotonic()
    for path in chosen:
        note("style", path.stem, check_text(path))
    for path in sets:
        note("style", path.stem, check_text(path))
    synth = [] if args.no_yosys else [f for f in files if f.is_relative_to(ROOT / "rtl")]
    synth += property_sets() if synth else []
    pool = ThreadPoolExecutor(2)
    try:
        # Yosys is one long process; the short ones of the others go beside it.
        found = pool.submit(yosys, synth)
        for path, lines in zip(chosen, pool.map(verilator_all, chosen), strict=True):
            note("verilator", path.stem, lines)
        if runner.have("iverilog"):
            for path, lines in zip(chosen, pool.map(icarus, chosen), strict=True):
                note("icarus", path.stem, lines)
        as_sv = systemverilog(files)
        for path in chosen:
            note("sv", path.stem, as_sv.get(path.stem, [])
                 + found.result().get(("sv", path.stem), []))
        if as_sv.get(""):
            note("sv", "all files", as_sv[""])
        for path in synth:
            if path in chosen or path in sets:
                if path in chosen:
                    note("yosys", path.stem, found.result().get(("yosys", path.stem), []))
                if "`ifdef FORMAL" in path.read_text():
                    note("formal", path.stem, found.result().get(("formal", path.stem), []))
    except KeyboardInterrupt:
        INTERRUPTED.set()
        for process in list(RUNNING):
            process.kill()
        raise
    finally:
        pool.shutdown(cancel_futures=True)
    seconds = time.monotonic() - begin

    chosen += sets
    width = max([len(f.stem) for f in chosen] + [8])
    print(f"{'module':{width}}  lines  " + "  ".join(f"{c:9}" for c in COLUMNS))
    for path in chosen:
        cells = [verdict.get((c, path.stem), "-") for c in COLUMNS]
        lines = len(path.read_text().splitlines())
        print(f"{path.stem:{width}}  {lines:5}  " + "  ".join(f"{c:9}" for c in cells).rstrip())

    if not args.modules:
        headers = [f for p in [*sorted((ROOT / "rtl").rglob("*.vh")), runner.BINS]
                   for f in check_text(p)]
        note("style", "headers", headers)
        note("reasons", "waivers", check_waivers())
        code, text = command([sys.executable, "-m", "ruff", "check", "--quiet", "."])
        note("ruff", "python", text.splitlines() if code else [])
        note("pages", "documents", [f for p in pages.pages() for f in pages.check_page(p)])
        for column, name in (("style", "headers"), ("reasons", "waivers"), ("ruff", "python"),
                             ("pages", "documents")):
            print(f"{name}: {verdict[column, name]}")
    if not runner.have("iverilog"):
        print("Icarus Verilog is not installed: its column did NOT run.")
    print(f"{seconds:.1f} s")
    if complaints:
        print("\n" + "\n".join(complaints))
        print(f"\nlint: FAILED ({sum(v == 'FAIL' for v in verdict.values())} checks)")
        return 1
    print(f"lint: passed ({len(chosen)} modules)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
