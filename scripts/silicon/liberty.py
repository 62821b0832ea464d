# SPDX-License-Identifier: Apache-2.0
"""Reads of a Liberty file what area and static timing need.

Units are those of the file (Nangate45: ns, fF, um2). Power, noise and hold are left out.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

TOKEN = re.compile(r'"[^"]*"|[A-Za-z0-9_.+\-*!&|\[\]]+|[(){}:;,]')
RISE, FALL = 0, 1
EDGES = ("rise", "fall")
# Groups without which a tenth of the file is left.
SKIPPED = frozenset({"internal_power", "leakage_power", "receiver_capacitance",
                     "operating_conditions", "pg_pin", "test_cell"})


class LibertyError(ValueError):
    """The file is not what this reader knows."""


@dataclass
class Group:
    """A group of the file: ``name(args) { ... }``."""

    name: str
    args: list[str]
    attributes: dict[str, list[str]] = field(default_factory=dict)
    groups: list[Group] = field(default_factory=list)

    def get(self, name: str, default: str | None = None) -> str:
        """The first value of an attribute; LibertyError where it is missing and has no default."""
        if name in self.attributes:
            return self.attributes[name][0]
        if default is None:
            raise LibertyError(f"{self.name}({', '.join(self.args)}) has no {name}")
        return default

    def all(self, name: str) -> list[Group]:
        """The groups of this name in it."""
        return [g for g in self.groups if g.name == name]


class Table:
    """Values over two axes, between which it is linear, and beyond which it goes on straight."""

    __slots__ = ("one", "two", "values")

    def __init__(self, one: list[float], two: list[float], values: list[list[float]]):
        self.one, self.two, self.values = one, two, values

    def __call__(self, x: float, y: float) -> float:
        """The value at x of the first and y of the second axis."""
        one, two = self.one, self.two
        i = min(max(bisect_right(one, x) - 1, 0), len(one) - 2)
        j = min(max(bisect_right(two, y) - 1, 0), len(two) - 2)
        s = (x - one[i]) / (one[i + 1] - one[i])
        t = (y - two[j]) / (two[j + 1] - two[j])
        low, high = self.values[i], self.values[i + 1]
        a = low[j] + t * (low[j + 1] - low[j])
        return a + s * (high[j] + t * (high[j + 1] - high[j]) - a)


@dataclass
class Arc:
    """From an input pin to an output: for each edge of the output the edges of the input that
    cause it, and tables of delay and slew over (slew of the input, load)."""

    pin: str
    causes: tuple[tuple[int, ...], tuple[int, ...]]
    delay: tuple[Table | None, Table | None]
    slew: tuple[Table | None, Table | None]
    clocked: bool


@dataclass
class Pin:
    """A pin of a cell; ``setup`` are tables over (slew of the data, slew of the clock) by edge."""

    name: str
    output: bool
    clock: bool
    cap: float
    max_cap: float
    arcs: list[Arc] = field(default_factory=list)
    setup: tuple[Table | None, Table | None] | None = None


@dataclass
class Cell:
    """A cell; ``kind`` is gate, register, clock gate or latch."""

    name: str
    area: float
    kind: str
    strength: float
    pins: dict[str, Pin]


@dataclass
class Library:
    """Cells by name, and the capacitance of a wire by its fan-out."""

    cells: dict[str, Cell]
    wire: list[float]
    wire_more: float

    def wire_cap(self, fanout: int) -> float:
        """Capacitance of a wire with this many sinks."""
        if fanout < len(self.wire):
            return self.wire[fanout]
        return self.wire[-1] + (fanout - len(self.wire) + 1) * self.wire_more


def parse(text: str, skipped: frozenset[str] = SKIPPED) -> Group:
    """The outermost group of a Liberty text, without groups of the names ``skipped``."""
    text = re.sub(r"/\*.*?\*/", " ", text, flags=re.S).replace("\\\n", " ")
    tokens = iter(TOKEN.findall(text))
    root = Group("", [])
    stack = [root]
    skip = 0
    name = None
    args: list[str] = []
    for token in tokens:
        if skip:
            skip += (token == "{") - (token == "}")
        elif token == ":":
            value = next(tokens)
            stack[-1].attributes.setdefault(name, []).append(value.strip('"'))
            name = None
        elif token == "(":
            args = []
            for inner in tokens:
                if inner == ")":
                    break
                if inner != ",":
                    args.append(inner.strip('"'))
        elif token == "{":
            if name in skipped:
                skip = 1
            else:
                group = Group(name, args)
                stack[-1].groups.append(group)
                stack.append(group)
            name = None
        elif token == "}":
            # A complex attribute may end without a semicolon.
            if name is not None:
                stack[-1].attributes.setdefault(name, []).extend(args)
                name = None
            stack.pop()
        elif token == ";":
            if name is not None:
                stack[-1].attributes.setdefault(name, []).extend(args)
                name = None
        else:
            if name is not None:
                stack[-1].attributes.setdefault(name, []).extend(args)
            name, args = token, []
    if len(stack) != 1 or len(root.groups) != 1:
        raise LibertyError("brackets of the file do not match")
    return root.groups[0]


def numbers(values: list[str]) -> list[float]:
    """The numbers of a list of texts, each of which may hold several."""
    return [float(v) for text in values for v in re.split(r"[\s,]+", text.strip()) if v]


def table(group: Group | None, axes: dict[str, list[str]], first: tuple[str, ...]) -> Table | None:
    """The table of a group with the axis ``first`` first, whatever its template says."""
    if group is None:
        return None
    one = numbers(group.attributes["index_1"])
    two = numbers(group.attributes.get("index_2", ["0 1"]))
    flat = numbers(group.attributes["values"])
    if "index_2" not in group.attributes:
        flat = [v for v in flat for _ in (0, 1)]
    if len(one) < 2:
        one, flat = [one[0], one[0] + 1], flat * 2
    rows = [flat[i * len(two):(i + 1) * len(two)] for i in range(len(one))]
    if len(flat) != len(one) * len(two):
        raise LibertyError(f"{group.name}: {len(flat)} values for {len(one)} x {len(two)}")
    names = axes.get(group.args[0], []) if group.args else []
    if names and names[0] not in first:
        one, two, rows = two, one, [list(c) for c in zip(*rows, strict=True)]
    return Table(one, two, rows)


def arc_of(timing: Group, axes: dict[str, list[str]]) -> Arc | None:
    """The delay arc of a timing group; None for checks."""
    kind = timing.get("timing_type", "combinational")
    sense = timing.get("timing_sense", "non_unate")
    if kind in ("rising_edge", "falling_edge"):
        edge = RISE if kind == "rising_edge" else FALL
        causes = ((edge,), (edge,))
    elif kind == "combinational":
        causes = {"positive_unate": ((RISE,), (FALL,)), "negative_unate": ((FALL,), (RISE,)),
                  "non_unate": ((RISE, FALL), (RISE, FALL))}[sense]
    else:
        return None
    groups = {g.name: g for g in timing.groups}
    slews = ("input_net_transition", "input_transition_time")
    return Arc(timing.get("related_pin"), causes,
               tuple(table(groups.get(f"cell_{e}"), axes, slews) for e in EDGES),
               tuple(table(groups.get(f"{e}_transition"), axes, slews) for e in EDGES),
               kind != "combinational")


def pin_of(group: Group, axes: dict[str, list[str]]) -> Pin:
    """A pin with its arcs and its set-up."""
    pin = Pin(group.args[0], group.get("direction") == "output",
              group.get("clock", "false") == "true",
              float(group.get("capacitance", "0")), float(group.get("max_capacitance", "0")))
    for timing in group.all("timing"):
        if timing.get("timing_type", "") == "setup_rising":
            groups = {g.name: g for g in timing.groups}
            pin.setup = tuple(table(groups.get(f"{e}_constraint"), axes,
                                    ("constrained_pin_transition",)) for e in EDGES)
        elif pin.output:
            arc = arc_of(timing, axes)
            if arc:
                pin.arcs.append(arc)
    return pin


def library_of(text: str) -> Library:
    """The library of a Liberty text."""
    root = parse(text)
    axes = {g.args[0]: [g.get("variable_1", ""), g.get("variable_2", "")]
            for g in root.all("lu_table_template")}
    cells = {}
    for group in root.all("cell"):
        kind = "gate"
        if "clock_gating_integrated_cell" in group.attributes:
            kind = "clock gate"
        elif group.all("ff"):
            kind = "register"
        elif group.all("latch"):
            kind = "latch"
        pins = {p.args[0]: pin_of(p, axes) for p in group.all("pin")}
        cells[group.args[0]] = Cell(group.args[0], float(group.get("area")), kind,
                                    float(group.get("drive_strength", "1")), pins)
    wire, more = [0.0], 0.0
    chosen = root.get("default_wire_load", "")
    for group in root.all("wire_load"):
        if group.args[0] == chosen:
            unit = float(group.get("capacitance"))
            pairs = numbers(group.attributes["fanout_length"])
            wire += [unit * length for length in pairs[1::2]]
            more = unit * float(group.get("slope"))
    return Library(cells, wire, more)


@cache
def read(path: Path) -> Library:
    """The library of a file, read once by a process."""
    return library_of(path.read_text())
