# SPDX-License-Identifier: Apache-2.0
"""Shapes of the memories of the machine: every instance of sofa_ram_1r1w that Verilator elaborates.

    .venv/bin/python scripts/memories.py [--config tiny] [--save | --check]

prints the table of a configuration of models/spec/configs.py. --save writes that of ``paper`` into
docs/integration.md, --check ends with exit code 1 where the page has another one.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections import Counter
from functools import cache
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from scripts import entry  # noqa: E402 (needs the repository on the search path)

entry.install()

from models.spec.configs import CONFIGS  # noqa: E402
from tb import runner  # noqa: E402

ROOT = runner.ROOT
PAGE = ROOT / "docs" / "integration.md"
DOCUMENTED = "paper"
MEMORY = "sofa_ram_1r1w"
BEGIN, END = "<!-- table: memories -->\n", "<!-- end of table -->"


def elaborated(params: dict[str, int]) -> dict:
    """Verilator's syntax tree of the machine at ``params``."""
    with tempfile.TemporaryDirectory() as folder:
        command = ["verilator", "--json-only", "--quiet", "--language", "1364-2005",
                   "--timescale", "1ns/1ps", "--top-module", "sofa", "--Mdir", folder,
                   str(runner.WAIVERS),
                   *(f"-G{k}={v}" for k, v in params.items()), "-F", str(ROOT / "rtl" / "sofa.f")]
        done = subprocess.run(command, text=True, capture_output=True)
        if done.returncode:
            raise runner.BuildError(done.stdout + done.stderr)
        return json.loads((Path(folder) / "Vsofa.tree.json").read_text())


def cells(node: dict) -> list[str]:
    """Addresses of the modules that a node of the tree has instances of, one for each."""
    found = [node["modp"]] if node.get("type") == "CELL" else []
    for child in node.values():
        if isinstance(child, list):
            found += [address for part in child for address in cells(part)]
    return found


def parameter(module: dict, name: str) -> int:
    """Value of a parameter of an elaborated module."""
    variable = next(s for s in module["stmtsp"] if s.get("name") == name)
    return int(variable["valuep"][0]["name"].partition("h")[2], 16)


def shapes(tree: dict) -> Counter[tuple[int, int, str]]:
    """(words, bits, module that has the instance) -> instances in the whole machine."""
    modules = {m["addr"]: m for m in tree["modulesp"]}

    @cache
    def below(address: str) -> tuple:
        counts: Counter = Counter()
        owner = modules[address]
        for child in cells(owner):
            module = modules[child]
            if module["origName"] == MEMORY:
                size = parameter(module, "DEPTH"), parameter(module, "WIDTH")
                counts[(*size, owner["origName"])] += 1
            else:
                counts.update(dict(below(child)))
        return tuple(counts.items())

    top = next(m for m in modules.values() if m["origName"] == "sofa")
    return Counter(dict(below(top["addr"])))


def table(counts: Counter[tuple[int, int, str]]) -> str:
    """The table, a line for each shape, the largest together first."""
    modules: dict[tuple[int, int], Counter[str]] = {}
    for (words, bits, owner), count in counts.items():
        modules.setdefault((words, bits), Counter())[owner] += count
    lines = ["| words x bits | instances | KiB | in |", "|---|---|---|---|"]
    total = sum(w * b * n for (w, b, _), n in counts.items())

    def size(item):
        (words, bits), owners = item
        return -words * bits * owners.total(), words, bits

    for (words, bits), owners in sorted(modules.items(), key=size):
        kib = words * bits * owners.total() / 8192
        names = ", ".join(f"{n} `{m}`" if len(owners) > 1 else f"`{m}`"
                          for m, n in sorted(owners.items()))
        lines.append(f"| {words} x {bits} | {owners.total()} | {kib:.3g} | {names} |")
    lines.append(f"| together | {counts.total()} | {total / 8192:.0f} | {len(modules)} shapes |")
    return "\n".join(lines) + "\n"


def replaced(text: str, new: str) -> str:
    """The page with the table ``new``."""
    return re.sub(re.escape(BEGIN) + ".*?" + re.escape(END), lambda _: BEGIN + new + END, text,
                  flags=re.S)


def main() -> int:
    """Print the table, or write or compare that of the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", choices=CONFIGS, default=DOCUMENTED)
    parser.add_argument("--save", action="store_true", help="write the page's table")
    parser.add_argument("--check", action="store_true", help="compare the page's table")
    args = parser.parse_args()
    if (args.save or args.check) and args.config != DOCUMENTED:
        parser.error(f"--config is {args.config!r}, legal with --save and --check: {DOCUMENTED}")
    text = table(shapes(elaborated(CONFIGS[args.config])))
    if not (args.save or args.check):
        print(text, end="")
        return 0
    old = PAGE.read_text()
    if args.save:
        PAGE.write_text(replaced(old, text))
    elif old != replaced(old, text):
        print(f"{PAGE.relative_to(ROOT)} has other memories: run scripts/memories.py --save")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
