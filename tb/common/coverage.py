# SPDX-License-Identifier: Apache-2.0
"""Functional coverage: which points there are, and the database of a simulation.

A point is a question about what happened, its bins are the answers; a bin is reached when some
simulation that passed gave it. Two sources:

    PYTHON      points that monitors, scoreboards and the host driver answer by ``hit()``, from what
                they have of a job when it is over (tb/common/samples.py), at no cost in a cycle
    rtl_bins()  points behind no port of the design, answered by tb/hdl/coverage.sv on Verilator:
                fifo.<module>.<instance>, wait.<module>, cause.<module>, state.<module>.<register>

In a simulation the first hit opens the database of cocotb-coverage, and its end leaves bins.json
in the working folder, that of the results: point -> bin -> hits. Outside one nothing is counted.
scripts/cover.py merges all folders. ``EXCLUDED`` has the bins that cannot be reached, each with
its reason; a run that reaches one is an error.
"""

from __future__ import annotations

import atexit
import functools
import itertools
import json
import re
from pathlib import Path

import cocotb

from models.spec import registers as regs
from models.spec.configs import CONFIGS
from tb.common.states import instances, module_of, state_names
from tb.runner import BINS as RTL
from tb.runner import ROOT

FILE, RTL_FILE = "bins.json", "rtl_bins.txt"
"""What a simulation leaves in its folder."""

WAYS = ("sum", "sum+mean", "sort", "dense")
MASKS = ("all", "causal", "window", "window+sinks")
HEADS = ("one", "group", "shared")
SOURCES = ("memory", "made")
MODES = ("off", "interleaved", "half-split")
READS = ("Q", "K8", "K", "V", "W", "R", "X", "D")
WRITES = ("O", "X")
BUFFERS = tuple({of: f"{of} or {name}" for name, of in regs.SHARED.items()}.get(b, b)
                for b in regs.BUFFERS)
"""Buffers by their numbers; two may have one number."""

OFTEN = 3
"""From how many times on something happened often."""

_RAISED = ("never", "once", "often")
_ENDS = ("smallest", "between", "largest")

PYTHON: dict[str, tuple[str, ...]] = {
    # Jobs that ended without an error, from their registers
    "job.kind": ("attention", "made", "predict"),
    "job.way": WAYS,
    "job.mask": MASKS,
    "job.heads": HEADS,
    "job.source": SOURCES,
    "job.cross": tuple(map(" x ".join, itertools.product(WAYS, MASKS, HEADS, SOURCES))),
    "job.tiles": ("interleaved", "contiguous"),
    "job.codes": ("floor", "nearest", "two-term"),
    "job.rope": tuple(f"{kind} {mode}" for kind in ("predict", "made") for mode in MODES),
    "job.d": ("8", "between", "largest"),
    "job.tile": _ENDS,
    "job.band": ("one block", "between", "all places"),
    "job.chain": ("alone", "first", "middle", "last"),
    "job.loads": ("no", "yes"),
    "job.rows": ("one", "less than a block", "whole blocks", "part of the last block"),
    "job.keys": ("one", "less than a tile", "whole tiles", "part of the last tile"),
    # The machine, its bus (whose RREADY and BREADY are always high), its counters
    "machine.config": (*CONFIGS, "other"),
    "machine.simulator": ("verilator", "icarus"),
    "counter.moved": tuple(regs.COUNTERS),
    "bus.id": (*(f"read {s}" for s in READS), *(f"write {s}" for s in WRITES)),
    "bus.waits": ("ar", "aw", "w"),
    # Jobs that ended with an error
    "error.code": tuple(e.name for e in regs.ERRORS.values() if e.name != "NONE"),
    "error.stream": (
        *(f"READ_{e} {s}" for e in ("SLVERR", "DECERR", "PROTOCOL") for s in READS),
        *(f"WRITE_{e} {s}" for e in ("SLVERR", "DECERR", "PROTOCOL") for s in WRITES)),
    "error.buffer": (
        *(f"{e} {b}" for e in ("BASE_ALIGN", "ADDR_RANGE", "OVERLAP") for b in BUFFERS),
        # W and VB have no row stride, X and RT no head stride.
        *(f"{e} {b}" for e in ("STRIDE_ALIGN", "STRIDE_SMALL") for b in BUFFERS
          if b not in ("W", "VB")),
        *(f"{e} {b}" for e in ("HEAD_STRIDE_ALIGN", "HEAD_STRIDE_SMALL") for b in BUFFERS
          if b not in ("X", "RT"))),
    "error.lost": ("nothing", "reads", "writes", "both"),
    # Turns of a block: what its rows may take of the tile, and take; keys of the tile that some row
    # of the part takes; rows that take a key
    "tile.seen": ("nothing", "some", "all"),
    "tile.taken": ("nothing", "some", "all"),
    "part.union": ("nothing", "some", "all"),
    "union.rows": ("one row", "rows of a block", "rows of blocks"),
    "band.blocks": ("one", "several", "short last one"),
    # Predicted scores of a row: the largest of all, its running maximum from tile to tile
    "score.ties": ("none", "two largest", "all"),
    "maximum.tile": ("first", "between", "last"),
    "maximum.raised": _RAISED,
    # The row's sum: least level of a tile against levels of its keys; levels; shares
    "sum.limit": ("below every key", "met", "missed by one", "the peak"),
    "sum.level": _ENDS,
    "sum.peak": ("stays", "rises", "rises beyond the fraction"),
    "share.f": ("none", "part", "whole"),
    # Sort: scores at the quota; scores around the radius
    "sort.ties": ("none", "at the quota"),
    "sort.radius": ("never clips", "met", "missed by one"),
    # SU-FA: pairs, rows
    "z.ends": _ENDS,
    "weight.p": ("0", "between", "1/2", "largest"),
    "reference.guard": ("below", "at", "within", "exceeded"),
    "reference.raised": _RAISED,
    "reference.rise": ("1 to 15", "16 to 62", "63 and more"),
    "out.ends": (*_ENDS, "0"),
    # A row of a job always takes the largest of its scores, so only the stages alone meet rows and
    # parts (rass.part) without a key
    "sufa.row": ("no key", "one key", "several keys"),
    "operand.zero": ("code of Q", "row of Q", "K8", "key of K8", "K", "V"),
    # Keys and values from X
    "made.source": ("made", "read", "read after it was made"),
    "made.k8": _ENDS,
    "made.k": _ENDS,
    "made.v": _ENDS,
    # RASS alone
    "rass.part": ("some key", "no key"),
}

QUEUES = ("sofa_sync_fifo", "sofa_skid_buffer", "sofa_ring_credit", "sofa_fetch_stream",
          "sofa_kvgen_land", "sofa_sufa_keys")
"""Modules with a point fifo.<module>.<instance> wherever they stand below another one."""

_BIND = re.compile(r'^bind (\w+) coverage #\(\.N\(\d+\), \.POINT\("(\w+)"\),\s*'
                   r'\.NAMES\("([^"]*)"\)\)', re.M)

EXCLUDED: dict[tuple[str, str], str] = {}
"""(point, bin) -> why nothing can reach it."""


@functools.cache
def rtl_bins() -> dict[str, tuple[str, ...]]:
    """Points of tb/hdl/coverage.sv in the modules of rtl/."""
    found: dict[str, tuple[str, ...]] = {}
    bound = _BIND.findall(RTL.read_text())
    queues = {module: tuple(names.split(",")) for module, kind, names in bound if kind == "fifo"}
    for path in sorted((ROOT / "rtl").rglob("*.v")):
        for instance, module in sorted(instances(path.stem).items()):
            if module in QUEUES:
                found[f"fifo.{path.stem}.{instance}"] = queues[module]
    for module, kind, names in bound:
        if kind == "state":
            states = state_names()[module][names]
            found[f"state.{module}.{names}"] = tuple(states[v] for v in sorted(states))
        elif kind != "fifo":
            found[f"{kind}.{module}"] = tuple(names.split(","))
    return found


@functools.cache
def points() -> dict[str, tuple[str, ...]]:
    """All points -> bins that can be reached."""
    return {name: tuple(b for b in bins if (name, b) not in EXCLUDED)
            for name, bins in {**PYTHON, **rtl_bins()}.items()}


# ---------------------------------------------------------------------------------------------
# Inside a simulation
# ---------------------------------------------------------------------------------------------
_open: dict[str, dict] = {}
_at_end: list = []


@functools.cache
def _database():
    """cocotb-coverage; its first use has the file written at the end."""
    from cocotb_coverage import coverage

    atexit.register(write, Path.cwd())
    return coverage


def hit(point: str, bin_: str, count: int = 1) -> None:
    """Count ``bin_`` of ``point``, unless ``count`` is 0; nothing outside a simulation.

    Raises:
        KeyError: there is no such point, or no such bin.
    """
    if not count or not cocotb.is_simulation:
        return
    if point not in _open:
        bins = list(PYTHON[point])
        _open[point] = _database().CoverPoint(f"sofa.{point}", bins=bins).detailed_coverage
    _open[point][bin_] += int(count)


def hits(point: str, counts: dict[str, int]) -> None:
    """Count several bins of a point: bin -> how often."""
    for bin_, count in counts.items():
        hit(point, bin_, count)


def at_end(sample) -> None:
    """Call ``sample()`` at the end of the simulation, before the bins are written."""
    if cocotb.is_simulation:
        _database()
        _at_end.append(sample)


def write(folder: Path) -> None:
    """Leave the bins that were reached in ``folder``."""
    for sample in _at_end:
        sample()
    found = {name: {b: n for b, n in bins.items() if n} for name, bins in _open.items()}
    (folder / FILE).write_text(json.dumps({name: bins for name, bins in found.items() if bins}))


# ---------------------------------------------------------------------------------------------
# What simulations left
# ---------------------------------------------------------------------------------------------
def read(folder: Path) -> dict[str, dict[str, int]]:
    """Point -> bin -> hits of the simulation with this results folder. Bins of the RTL count once
    for each instance that reached them."""
    found: dict[str, dict[str, int]] = {}
    if (folder / FILE).is_file():
        found = json.loads((folder / FILE).read_text())
    if (folder / RTL_FILE).is_file():
        for line in (folder / RTL_FILE).read_text().splitlines():
            name, bins = parse(line)
            if name:
                of = found.setdefault(name, {})
                for bin_ in bins:
                    of[bin_] = of.get(bin_, 0) + 1
    return found


def parse(line: str) -> tuple[str | None, list[str]]:
    """(point, bins reached) of a line of tb/hdl/coverage.sv; None: of a queue that is the top
    level."""
    path, kind, rest = line.split(" ", 2)
    names, _, bits = rest.rpartition(" ")
    reached = [i for i, bit in enumerate(reversed(bits)) if bit == "1"]
    # The last part is the instance of coverage, the one before it that of the module it looks at.
    scope = path.rpartition(".")[0]
    if kind == "fifo":
        outer, _, instance = scope.rpartition(".")
        name = f"fifo.{module_of(scope)}.{instance}" if outer else None
    else:
        name = f"{kind}.{module_of(path)}" + (f".{names}" if kind == "state" else "")
    if kind == "state":
        states = state_names()[module_of(path)][names]
        return name, [states[i] for i in reached if i in states]
    of = names.split(",")
    return name, [of[i] for i in reached]
