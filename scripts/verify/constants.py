# SPDX-License-Identifier: Apache-2.0
"""Bits that no test can move: those that are constant by the structure of the design.

A bus of 48 address bits carries 40 in a machine with ADDR_W = 40, a count of keys has bits above
the largest one: such bits are driven by constants, through whatever hierarchy and logic. Yosys
knows: it elaborates every build that counted code coverage, flattens it and propagates constants
(``opt -full``). A bit of a declaration, in each turn of a generate loop for itself, counts as
constant where it is so in all instances of all builds; one that a single build could move is left
to the tests.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from concurrent.futures import ThreadPoolExecutor

from scripts import yosys
from scripts.filelists import sources
from scripts.verify import depends
from tb.runner import BUILD, INCLUDE_DIR, ROOT, SIM_DIR

CACHE = BUILD / "coverage" / "constants"
_OUTSIDE = re.compile(r".*_inst\.|genblk\d+\.")
"""What a name of Yosys has more than one of Verilator: instances, unnamed branches."""
_SRC = re.compile(r"([^:|]+):")

Bit = tuple[str, str, int]
"""File below the repository, signal with the generate blocks of its module that it stands in, bit.
Yosys counts lines otherwise than Verilator."""


class ConstantsError(Exception):
    """Yosys refused a build."""


def builds() -> list[tuple[str, dict[str, int], tuple[str, ...]]]:
    """(top level, parameters, macros) of every build that counts, from the command that made it."""
    found = {}
    for log in sorted((SIM_DIR / "verilator").glob("*/*-coverage/build.log")):
        if not (log.parent / "sim").is_file():
            # Parameters that it must refuse
            continue
        words = shlex.split(log.read_text().splitlines()[0].removeprefix("$ "))
        top = words[words.index("--top-module") + 1]
        values = {n: int(v) for n, v in (w[2:].split("=") for w in words if w.startswith("-G"))}
        macros = tuple(sorted(w[2:] for w in words if w.startswith("-D")))
        found[top, tuple(sorted(values.items())), macros] = (top, values, macros)
    return list(found.values())


def _split(top: str, values: dict[str, int], macros: tuple[str, ...]) -> tuple[list, list]:
    """Bits of a build that are constant, and bits that are not."""
    files = sources(top)
    key = depends.sha(str((Bit, top, sorted(values.items()), macros)), depends.design(top))
    path = CACHE / f"{key}.json"
    if not path.is_file():
        CACHE.mkdir(parents=True, exist_ok=True)
        netlist = path.with_suffix(".netlist")
        names = " ".join(str(f.relative_to(ROOT)) for f in files)
        sets = " ".join(f"-set {n} {v}" for n, v in values.items())
        script = path.with_suffix(".ys")
        script.write_text("\n".join([
            f"read_verilog {' '.join(f'-D{m}' for m in macros)} -I{INCLUDE_DIR.relative_to(ROOT)} "
            f"{names}", *([f"chparam {sets} {top}"] if values else []), f"hierarchy -top {top}",
            # These say much.
            *(f"tee -q {step}" for step in ("proc", "flatten", "opt -full")),
            f"write_json {netlist.relative_to(ROOT)}", ""]))
        done = subprocess.run(yosys.command(script), cwd=ROOT, text=True, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT)
        if done.returncode:
            raise ConstantsError(f"{top} {values}: {done.stdout[-400:]}")
        constant, other = set(), set()
        for name, net in json.loads(netlist.read_text())["modules"][top]["netnames"].items():
            where = _SRC.match(net["attributes"].get("src", ""))
            if where:
                for i, bit in enumerate(net["bits"], net.get("offset", 0)):
                    (constant if isinstance(bit, str) else other).add(
                        (where[1], _OUTSIDE.sub("", name), i))
        path.write_text(json.dumps([sorted(constant - other), sorted(other)]))
        netlist.unlink()
        script.unlink()
    return json.loads(path.read_text())


def constants(jobs: int = 2) -> set[Bit]:
    """The bits that are constant in all builds; ConstantsError."""
    with ThreadPoolExecutor(jobs) as pool:
        parts = list(pool.map(lambda build: _split(*build), builds()))
    other = {tuple(bit) for _, others in parts for bit in others}
    return {tuple(bit) for constant, _ in parts for bit in constant} - other
