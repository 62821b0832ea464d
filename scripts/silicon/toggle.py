# SPDX-License-Identifier: Apache-2.0
"""Toggles of every net of a netlist under recorded inputs: the Python side of toggle.c."""

from __future__ import annotations

import ctypes
import subprocess
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

import numpy as np

from scripts.silicon import machine
from scripts.silicon.energy import SLEW, Costs
from scripts.silicon.liberty import FALL, RISE
from scripts.silicon.netlist import Inst, Netlist, NetlistError
from scripts.silicon.timing import MEMORY_OUT
from scripts.silicon.verilog import expression

INPUT_DELAY = 0.15
"""When inputs of a block change after the clock, ns."""
LONGEST = 8000
"""Delay of a gate in ps that toggle.c takes."""
PINS = 6
GATE = np.dtype([("out", "i4"), ("pins", "i4"), ("in", "i4", PINS), ("delay", "i4", 2),
                 ("table", "u8")], align=True)
REGISTER = np.dtype([("d", "i4"), ("domain", "i4"), ("q", "i4", 2), ("delay", "i4", 2)])
MEMORY = np.dtype([(n, "i4") for n in ("words", "bits", "address", "wr_en", "rd_en", "wr_addr",
                                       "wr_data", "rd_addr", "rd_data")])


@dataclass
class Counts:
    """What a simulation counts. By net: ``toggles``, ``settled`` (toggles that a cycle keeps) and
    ``wrong`` (cycles in which an output was not as expected); ``clocks``: clock net -> cycles in
    which it is on; ``accesses``: (words, bits, reads, writes) of memories."""

    toggles: np.ndarray
    settled: np.ndarray
    wrong: np.ndarray
    clocks: dict[int, int]
    accesses: list[tuple[int, int, int, int]]


def library() -> ctypes.CDLL:
    """toggle.c, compiled."""
    source = Path(__file__).with_suffix(".c")
    out = machine.BUILD / f"toggle-{machine.sha(source.read_bytes())}.so"
    if not out.exists():
        out.parent.mkdir(parents=True, exist_ok=True)
        part = out.with_suffix(".part")
        subprocess.run(["gcc", "-O3", "-shared", "-fPIC", "-o", str(part), str(source)], check=True)
        part.rename(out)
    return ctypes.CDLL(str(out))


def table_of(function: str, pins: list[str]) -> int:
    """Truth table of a function: bit i is its value where pin k is bit k of i."""
    text = expression(function).replace("!", "~")
    every = np.arange(1 << len(pins))
    values = eval(text, {"__builtins__": {}}, {p: every >> k & 1 for k, p in enumerate(pins)})
    return int(sum(1 << int(i) for i in np.flatnonzero(np.broadcast_to(values & 1, every.shape))))


class Simulation:
    """A netlist as the arrays of toggle.c."""

    def __init__(self, netlist: Netlist, cells: dict[str, Costs]):
        self.netlist, self.costs = netlist, cells
        self.nets = max(netlist.driver, default=1) + 1
        self.domain = self.domains()
        self.gates, self.registers, self.memories, self.pins = [], [], [], []
        tables: dict[str, tuple[list[str], dict[str, int]]] = {}
        for cell in netlist.cells:
            kind = netlist.lib.cells.get(cell.type)
            if kind is None:
                if cell.type in netlist.memories:
                    self.add_memory(cell)
            elif kind.kind == "gate":
                if cell.type not in tables:
                    ins = [p for p, about in kind.pins.items() if not about.output]
                    tables[cell.type] = ins, {p: table_of(f, ins) for p, f in
                                              cells[cell.type].functions.items()}
                self.add_gate(cell, *tables[cell.type])
            elif kind.kind == "register":
                self.add_register(cell)
            elif kind.kind != "clock gate":
                raise NetlistError(f"{netlist.name}: {cell.name} is a {cell.type}")

    def net(self, cell: Inst, pin: str, bit: int = 0) -> int:
        """The net of an input; constants are nets 0 and 1."""
        net = cell.nets[pin][bit]
        return net if net is not None else int((pin, bit) in cell.ones)

    def domains(self) -> dict[int, int]:
        """Clock net -> number: 0 is the clock, clock gates follow what feeds them."""
        found = {self.netlist.ports["clk"][1][0]: 0} if "clk" in self.netlist.ports else {}
        self.parent, self.enable = [0], [1]
        left = [c for c in self.netlist.cells if c.type in self.netlist.lib.cells
                and self.netlist.lib.cells[c.type].kind == "clock gate"]
        while left:
            ready = [c for c in left if c.nets["CK"][0] in found]
            if not ready:
                raise NetlistError(f"{self.netlist.name}: clock of {left[0].name} is no clock")
            for cell in ready:
                self.parent.append(found[cell.nets["CK"][0]])
                self.enable.append(self.net(cell, "E"))
                found[cell.nets["GCK"][0]] = len(self.parent) - 1
            left = [c for c in left if c not in ready]
        return found

    def delays(self, cell: Inst, pin: str, net: int) -> tuple[int, int]:
        """Delay to a fall and to a rise of an output, ps."""
        load = self.netlist.load(net)
        arcs = self.netlist.lib.cells[cell.type].pins[pin].arcs
        both = []
        for edge in (FALL, RISE):
            times = [a.delay[edge](SLEW, load) for a in arcs if a.delay[edge]]
            both.append(min(LONGEST, max(1, round(1000 * mean(times)))) if times else 1)
        return both[0], both[1]

    def add_gate(self, cell: Inst, ins: list[str], tables: dict[str, int]) -> None:
        """A gate for every output of a cell."""
        for pin, table in tables.items():
            out = cell.nets.get(pin, [None])[0]
            if out is not None:
                nets = [self.net(cell, p) for p in ins]
                self.gates.append((out, len(ins), nets + [0] * (PINS - len(ins)),
                                   self.delays(cell, pin, out), table))

    def add_register(self, cell: Inst) -> None:
        """A flip-flop without set and reset."""
        outs, delay = [-1, -1], (1, 1)
        if set(cell.nets) - {"D", "CK", "Q", "QN"}:
            raise NetlistError(f"{self.netlist.name}: {cell.name} is a {cell.type}")
        for i, pin in enumerate(("Q", "QN")):
            net = cell.nets.get(pin, [None])[0]
            if net is not None:
                outs[i], delay = net, self.delays(cell, pin, net)
        self.registers.append((self.net(cell, "D"), self.domain[cell.nets["CK"][0]], outs, delay))

    def add_memory(self, cell: Inst) -> None:
        """A memory; its pins go to the list of all of them."""
        about = self.netlist.memories[cell.type]
        place = {}
        for pin in ("wr_en", "rd_en", "wr_addr", "wr_data", "rd_addr", "rd_data"):
            place[pin] = len(self.pins)
            for bit, net in enumerate(cell.nets[pin]):
                self.pins.append(self.net(cell, pin, bit) if pin != "rd_data"
                                 else -1 if net is None else net)
        self.memories.append((about.words, about.bits, len(cell.nets["rd_addr"]),
                              *(place[n] for n in MEMORY.names[3:])))

    def run(self, changes: np.ndarray, expect: np.ndarray, cycles: int, first: int,
            last: int) -> Counts:
        """Simulate; changes, expect: rows (cycle, net, value) that come in a cycle, and are seen at
        outputs at its end; counted are cycles from first to last."""
        gates = np.array(self.gates, GATE)
        users = [(n, i) for i, g in enumerate(self.gates) for n in set(g[2][:g[1]])]
        order = np.array(sorted(users), np.int32).reshape(-1, 2)
        start = np.searchsorted(order[:, 0], np.arange(self.nets + 1)).astype(np.int32)
        compare = np.unique(expect[:, 1]).astype(np.int32)
        keep = []

        def array(values, kind):
            keep.append(np.ascontiguousarray(values, kind))
            return keep[-1].ctypes.data_as(ctypes.c_void_p)

        def stream(rows):
            rows = rows[np.argsort(rows[:, 0], kind="stable")]
            return (array(np.searchsorted(rows[:, 0], np.arange(cycles + 1)), np.int64),
                    array(rows[:, 1:], np.int32))

        results = [np.zeros(n, np.uint64) for n in (
            self.nets, self.nets, self.nets, len(self.parent), len(self.memories) + 1,
            len(self.memories) + 1)]
        number = ctypes.c_int32
        # In the order of the function in toggle.c.
        arguments = (
            number(self.nets), number(len(gates)), array(gates, GATE), array(start, np.int32),
            array(order[:, 1], np.int32), number(len(self.registers)),
            array(np.array(self.registers, REGISTER), REGISTER), number(len(self.parent)),
            array(self.parent, np.int32), array(self.enable, np.int32),
            number(len(self.memories)), array(np.array(self.memories, MEMORY), MEMORY),
            array(self.pins, np.int32), number(round(1000 * MEMORY_OUT)),
            number(round(1000 * INPUT_DELAY)), number(cycles), *stream(changes), *stream(expect),
            number(len(compare)), array(compare, np.int32), number(first), number(last),
            *(r.ctypes.data_as(ctypes.c_void_p) for r in results))
        if library().simulate(*arguments):
            raise NetlistError(f"{self.netlist.name}: the gates do not come to rest")
        toggles, settled, wrong, clocks, reads, writes = results
        return Counts(toggles, settled, wrong, {n: int(clocks[d]) for n, d in self.domain.items()},
                      [(m[0], m[1], int(r), int(w)) for m, r, w in
                       zip(self.memories, reads, writes, strict=False)])
