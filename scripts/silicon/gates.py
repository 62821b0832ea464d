# SPDX-License-Identifier: Apache-2.0
"""A module as the netlist that synthesis makes of it, in Verilog under build/gates.

Cut into the same blocks as the machine (scripts/silicon/jobs.py), by the same recipe and with the
same cache, so that where the parameters are the machine's, the netlists are those of `make synth`.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from scripts.silicon import liberty, machine, verilog

BUILD = machine.ROOT / "build" / "gates"


def write(path: Path, text: str) -> Path:
    """A file that appears whole, unless it is there; files of this folder are named by their
    contents."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(f".{os.getpid()}")
        part.write_text(text)
        part.replace(path)
    return path


def cells() -> Path:
    """The cell models."""
    text = machine.cells().read_text()
    key = machine.sha(text, Path(verilog.__file__).read_bytes())
    path = BUILD / f"cells-{key}.v"
    return path if path.exists() else write(path, verilog.cell_models(liberty.parse(text)))


def sources(top: str, parameters: dict[str, int]) -> list[Path]:
    """Verilog files that stand for module ``top`` with these parameters, the one with ``top``
    first; beside them only the RTL of the memories is needed."""
    BUILD.mkdir(parents=True, exist_ok=True)
    with open(BUILD / "lock", "w") as lock:
        # Parallel tests have blocks in common.
        fcntl.flock(lock, fcntl.LOCK_EX)
        return [_netlist(top, parameters), cells()]


def netlist(key: str) -> dict:
    """A block's netlist, that with the most kinds of cells where there are several."""
    return machine.netlist_json(key, machine.variants(key)[-1])


def _netlist(top: str, parameters: dict[str, int]) -> Path:
    """The file of a module and all blocks in it."""
    todo = machine.elaborate(parameters, top)
    keys = machine.net_keys(todo)
    name = todo[-1].name
    key = machine.sha(*keys.values(), *(Path(f).read_bytes() for f in (__file__, verilog.__file__)))
    path = BUILD / key / f"{top}.v"
    if not path.exists():
        memories = {n: shape for job in todo for n, shape in job.memories.items()}
        text = [verilog.HEAD]
        # The bench finds the ports in the first module of the file.
        for job in reversed(todo):
            if not machine.has_netlists(keys[job.name]):
                machine.synthesise(job.name, job.text, keys[job.name], machine.cells())
            text.append(verilog.module(netlist(keys[job.name]), job.name,
                                       top if job.name == name else ""))
        text += [verilog.memory(n, *shape) for n, shape in sorted(memories.items())]
        write(path, "".join(text))
    return path
