# SPDX-License-Identifier: Apache-2.0
"""A mapped netlist as Yosys writes it to JSON: cells, nets, loads, and the buffer trees which abc
does not build (for nets that end in ports, memories and blocks that were cut out).

A net is a number. A sink is (cell, pin, bit), with cell -1 and the name of the port for an output.
Capacitance in fF, area in um2.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from scripts.silicon.liberty import Library

PORT = -1
MACRO_PIN = 3.0
"""Capacitance of an output port and of a pin of a memory, fF."""
BUFFER, BUFFER_LOAD = "BUF_X4", 40.0
"""What broadcast trees are made of, and how much each of them drives, fF, or two sinks."""
DRIVE = 30.0
"""Most load of a driver for each unit of its strength, before it gets a tree, fF."""
INPUT_STRENGTH = 2.0
"""Strength of what drives an input port."""
REGISTER_LOAD = 10.0
"""Load of a register from which on it is taken twice as strong, fF."""


class NetlistError(ValueError):
    """The netlist has something undriven, looped or not of the library."""


@dataclass
class Memory:
    """A memory macro: words x bits, one read and one write port."""

    words: int
    bits: int


@dataclass
class Inst:
    """A cell of the library, a memory or a block that was cut out.

    ``nets`` maps a pin to its nets, lowest bit first; None stands for a constant, which is 0 but
    for the (pin, bit) of ``ones``.
    """

    name: str
    type: str
    nets: dict[str, list[int | None]]
    src: str
    ones: frozenset[tuple[str, int]] = frozenset()


@dataclass
class Netlist:
    """The netlist of a block.

    ``leaves`` are the models of cut blocks (timing.Model as dict) by type, ``memories`` by type.
    ``ports``: name -> (is output, nets). ``names``: net -> (name, file:line).
    """

    name: str
    lib: Library
    leaves: dict[str, dict]
    memories: dict[str, Memory]
    cells: list[Inst]
    ports: dict[str, tuple[bool, list[int | None]]]
    names: dict[int, tuple[str, str]]
    driver: dict[int, tuple[int, str, int]] = field(default_factory=dict)
    sinks: dict[int, list[tuple[int, str, int]]] = field(default_factory=dict)
    buffers: int = 0

    def area(self) -> float:
        """Area of the cells, um2, without memories and blocks that were cut out."""
        cells = self.lib.cells
        return sum(cells[c.type].area for c in self.cells if c.type in cells)

    def registers(self) -> int:
        """Number of flip-flops."""
        cells = self.lib.cells
        return sum(c.type in cells and cells[c.type].kind == "register" for c in self.cells)

    def is_output(self, cell: Inst, pin: str) -> bool:
        """Whether a pin drives its net."""
        if cell.type in self.lib.cells:
            return self.lib.cells[cell.type].pins[pin].output
        if cell.type in self.memories:
            return pin == "rd_data"
        return pin in self.leaves[cell.type]["outputs"]

    def pin_cap(self, sink: tuple[int, str, int]) -> float:
        """Capacitance of a sink, fF."""
        cell, pin, bit = sink
        if cell == PORT:
            return MACRO_PIN
        kind = self.cells[cell].type
        if kind in self.lib.cells:
            return self.lib.cells[kind].pins[pin].cap
        if kind in self.memories:
            return MACRO_PIN
        bits = self.leaves[kind]["inputs"].get(pin)
        return bits[bit][0] if bits else MACRO_PIN

    def load(self, net: int) -> float:
        """Capacitance that the driver of a net sees, fF."""
        sinks = self.sinks.get(net, [])
        return sum(map(self.pin_cap, sinks)) + self.lib.wire_cap(len(sinks))

    def strength(self, net: int) -> float:
        """Drive strength of what drives a net."""
        cell, pin, bit = self.driver[net]
        if cell == PORT:
            return INPUT_STRENGTH
        kind = self.cells[cell].type
        if kind in self.lib.cells:
            return self.lib.cells[kind].strength
        if kind in self.memories:
            return INPUT_STRENGTH
        last = self.leaves[kind]["outputs"][pin][bit]["last"]
        return self.lib.cells[last[0]].strength if last else INPUT_STRENGTH

    def connect(self) -> None:
        """Find the driver and the sinks of every net; NetlistError for what has none or two."""
        for port, (output, nets) in self.ports.items():
            for bit, net in enumerate(nets):
                if net is None:
                    continue
                if output:
                    self.sinks.setdefault(net, []).append((PORT, port, bit))
                else:
                    self.driver[net] = (PORT, port, bit)
        for index, cell in enumerate(self.cells):
            for pin, nets in cell.nets.items():
                output = self.is_output(cell, pin)
                for bit, net in enumerate(nets):
                    if net is None:
                        continue
                    place = (index, pin, bit)
                    if not output:
                        self.sinks.setdefault(net, []).append(place)
                    elif net in self.driver:
                        raise NetlistError(f"{self.name}: {self.label(net)} has two drivers")
                    else:
                        self.driver[net] = place
        for net in self.sinks:
            if net not in self.driver:
                raise NetlistError(f"{self.name}: {self.label(net)} is used but has no driver")

    def label(self, net: int) -> str:
        """Name of a net."""
        return self.names.get(net, (f"net {net}", ""))[0]

    def clocks(self) -> set[int]:
        """Nets that carry the clock: sources of clock pins, back through clock gates."""
        cells = self.lib.cells
        found: set[int] = set()
        for cell in self.cells:
            kind = cells.get(cell.type)
            for pin, nets in cell.nets.items():
                clock = kind.pins[pin].clock or pin == "CK" if kind else pin == "clk"
                if clock:
                    found.update(n for n in nets if n is not None)
        return found

    def buffer(self) -> None:
        """Strengthen registers with much load and build a tree for every net with too much."""
        cells = self.lib.cells
        clocks = self.clocks()
        top = max(self.driver, default=0) + 1
        for net in list(self.sinks):
            if net in clocks:
                continue
            index = self.driver[net][0]
            cell = self.cells[index] if index != PORT else None
            if cell and cell.type == "DFF_X1" and self.load(net) > REGISTER_LOAD:
                cell.type = "DFF_X2"
            # Levels of the tree, from the sinks to the driver.
            while self.load(net) > DRIVE * self.strength(net):
                groups, sinks = [], self.sinks[net]
                load, group = 0.0, []
                for sink in sinks:
                    cap = self.pin_cap(sink) + self.lib.wire_more
                    if len(group) > 1 and load + cap > BUFFER_LOAD:
                        groups.append(group)
                        load, group = 0.0, []
                    group.append(sink)
                    load += cap
                groups.append(group)
                if len(groups) >= len(sinks):
                    break
                self.sinks[net] = []
                for group in groups:
                    self.cells.append(Inst(f"tree_{top}", BUFFER, {"A": [net], "Z": [top]}, ""))
                    place = len(self.cells) - 1
                    self.driver[top] = (place, "Z", 0)
                    self.sinks[net].append((place, "A", 0))
                    self.sinks[top] = group
                    for sink, pin, bit in group:
                        if sink != PORT:
                            self.cells[sink].nets[pin][bit] = top
                        else:
                            self.ports[pin][1][bit] = top
                    if net in self.names:
                        self.names[top] = self.names[net]
                    top += 1
                    self.buffers += 1
        self.check_cells(cells)

    def check_cells(self, cells: dict) -> None:
        """NetlistError where a cell is neither of the library nor a memory nor a cut block."""
        for cell in self.cells:
            if cell.type not in cells and cell.type not in self.memories \
                    and cell.type not in self.leaves:
                raise NetlistError(f"{self.name}: {cell.name} is a {cell.type}, which is no cell, "
                                   "no memory and no block of the list")


def where(src: str) -> str:
    """``file:line`` of a src attribute, the first of several."""
    found = re.match(r"([^:|]+):(\d+)", src)
    return f"{found[1]}:{found[2]}" if found else ""


def better(new: str, old: str) -> bool:
    """Whether a name of a net says more than another: from the source, registers, the shorter."""
    def rank(name):
        return ("$" in name, not re.search(r"_reg(\[|$)", name), len(name))
    return rank(new) < rank(old)


def tidy(name: str) -> str:
    """A name without the generate blocks that have none of their own."""
    return re.sub(r"(genblk\d+\.)+", "", name.removeprefix("$\\"))


def load_json(design: dict, name: str, library: Library, leaves: dict[str, dict],
              memories: dict[str, Memory]) -> Netlist:
    """The netlist of module ``name`` of a design that Yosys wrote by write_json."""
    module = design["modules"][name]

    def bits(values):
        return [b if isinstance(b, int) else None for b in values]

    names: dict[int, tuple[str, str]] = {}
    for label, net in module["netnames"].items():
        # Registers that Yosys took into a memory keep its name in a hidden one.
        if net.get("hide_name") and not label.startswith("$\\"):
            continue
        label = tidy(label)
        offset, width = net.get("offset", 0), len(net["bits"])
        for i, bit in enumerate(net["bits"]):
            if isinstance(bit, int):
                text = f"{label}[{i + offset}]" if width > 1 else label
                if bit not in names or better(text, names[bit][0]):
                    names[bit] = (text, where(net["attributes"].get("src", "")))
    cells = [Inst(tidy(label), c["type"], {p: bits(b) for p, b in c["connections"].items()},
                  where(c["attributes"].get("src", "")),
                  frozenset((p, i) for p, b in c["connections"].items()
                            for i, v in enumerate(b) if v == "1"))
             for label, c in module["cells"].items()]
    ports = {p: (d["direction"] == "output", bits(d["bits"])) for p, d in module["ports"].items()}
    netlist = Netlist(name, library, leaves, memories, cells, ports, names)
    netlist.check_cells(library.cells)
    netlist.connect()
    netlist.buffer()
    return netlist
