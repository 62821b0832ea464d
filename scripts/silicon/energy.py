# SPDX-License-Identifier: Apache-2.0
"""Energy of a netlist from its toggles, and of memories from their accesses.

Cells and wires: the Liberty file's tables at 1.1 V. A net that toggles costs C V^2 / 2 with the
pins and the wire of its load, and the internal energy of the cell that drives it. A register costs
the energy of its clock pin in every cycle in which its clock is on. Nets from input ports are left
to the block that drives them. fJ throughout, nW of leakage.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from statistics import mean

from scripts.silicon import liberty
from scripts.silicon.liberty import EDGES, Group, Table
from scripts.silicon.netlist import BUFFER, BUFFER_LOAD, PORT, Netlist

VOLTAGE = 1.1
SLEW = 0.03
"""Slew of all inputs, ns."""

SCALE_28 = (28 / 45) * (0.9 / VOLTAGE) ** 2
"""Energy of logic at 28 nm and 0.9 V: capacitance goes with the feature size, energy with the
square of the voltage."""
LEAK_28 = (28 / 45) * (0.9 / VOLTAGE)
"""Leakage: width of the transistors and voltage; the current of a micrometre taken as equal."""

CLOCK_GHZ = 1.0
"""Clock for leakage and for power."""

# Memories, at 45 nm and 0.9 V: 10 pJ for 64 bits out of 8 KiB, 20 pJ out of 32 KiB, 100 pJ out of
# 1 MiB (M. Horowitz, "Computing's energy problem", ISSCC 2014, figure 1.1.9), which is 10 pJ times
# the root of the words over 1024 within 13 %. Reads and writes alike.
MEMORY_FJ, MEMORY_BITS, MEMORY_WORDS = 10_000.0, 64, 1024
MEMORY_LEAST = 64
"""Words below which a memory costs no less."""
MEMORY_28 = 28 / 45


def memory_energy(words: int, bits: int) -> float:
    """Energy of an access at 28 nm and 0.9 V, fJ."""
    share = (max(words, MEMORY_LEAST) / MEMORY_WORDS) ** 0.5
    return MEMORY_FJ * bits / MEMORY_BITS * share * MEMORY_28


@dataclass
class Costs:
    """Energies of a cell: ``inner`` of a toggle of an output, tables over (slew, load); ``hidden``
    of a rise and a fall of an input that changes no output; ``leak`` in nW; ``functions`` of
    outputs."""

    leak: float
    functions: dict[str, str]
    inner: dict[str, list[Table]] = field(default_factory=dict)
    hidden: dict[str, tuple[float, float]] = field(default_factory=dict)

    def toggle(self, pin: str, load: float) -> float:
        """Mean internal energy of a toggle of an output."""
        tables = self.inner.get(pin)
        return mean(t(SLEW, load) for t in tables) if tables else 0.0


def costs_of(cell: Group, axes: dict[str, list[str]]) -> Costs:
    """The energies of a cell of the file."""
    found = Costs(float(cell.get("cell_leakage_power", "0")), {})
    for pin in cell.all("pin"):
        name = pin.args[0]
        function = pin.get("function", pin.get("state_function", ""))
        if function:
            found.functions[name] = function
        edges: list[list[Table]] = [[], []]
        for power in pin.all("internal_power"):
            for i, edge in enumerate(EDGES):
                for group in power.all(f"{edge}_power"):
                    # A scalar 0 stands where the edge does change the output.
                    if "index_1" in group.attributes:
                        edges[i].append(liberty.table(group, axes, ("input_transition_time",)))
        if pin.get("direction") == "output":
            found.inner[name] = edges[0] + edges[1]
        elif edges[0] or edges[1]:
            found.hidden[name] = tuple(mean(t(SLEW, 0.0) for t in e) if e else 0.0 for e in edges)
    return found


@cache
def costs(path: Path) -> dict[str, Costs]:
    """The energies of all cells of a library."""
    root = liberty.parse(path.read_text(), liberty.SKIPPED - {"internal_power"})
    axes = {g.args[0]: [g.get("variable_1", ""), g.get("variable_2", "")]
            for g in root.all("power_lut_template")}
    return {g.args[0]: costs_of(g, axes) for g in root.all("cell")}


def charge(capacitance: float) -> float:
    """Energy of a toggle of a capacitance in fF."""
    return capacitance * VOLTAGE ** 2 / 2


def clock_tree(netlist: Netlist, load: float, cell: Costs) -> float:
    """Energy of an edge of a clock with this load: itself and one level of buffers, which synthesis
    does not make."""
    buffers = load / BUFFER_LOAD
    pin = netlist.lib.cells[BUFFER].pins["A"].cap
    return charge(load + buffers * pin) + buffers * cell.toggle("Z", BUFFER_LOAD)


def logic(netlist: Netlist, cells: dict[str, Costs], toggles,
          clocks: dict[int, int]) -> dict[str, float]:
    """Energy of a block at 1.1 V, fJ: gates (with nets), registers, clock, and leak in nW.
    toggles: by net; clocks: cycles in which a clock net is on."""
    total = {"gates": 0.0, "registers": 0.0, "clock": 0.0, "leak": 0.0}
    for net, (index, pin, _) in netlist.driver.items():
        if index == PORT or net in clocks:
            continue
        count = int(toggles[net])
        if not count:
            continue
        kind = netlist.cells[index].type
        load = netlist.load(net)
        each = charge(load)
        if kind in cells:
            each += cells[kind].toggle(pin, load)
        register = kind in cells and netlist.lib.cells[kind].kind == "register"
        total["registers" if register else "gates"] += count * each
    for cell in netlist.cells:
        known = cells.get(cell.type)
        if not known:
            continue
        total["leak"] += known.leak
        kind = netlist.lib.cells[cell.type].kind
        if kind == "gate":
            continue
        on = clocks[cell.nets["CK"][0]]
        rise, fall = known.hidden["CK"]
        if kind == "register":
            out = next(n[0] for p in ("Q", "QN") for n in [cell.nets.get(p)] if n and n[0])
            moved = int(toggles[out])
            total["clock"] += (on - moved) * rise + on * fall
        else:
            through = clocks[cell.nets["GCK"][0]]
            total["clock"] += (on - through) * (rise + fall) \
                + 2 * through * known.toggle("GCK", netlist.load(cell.nets["GCK"][0]))
        for pin in ("D", "E"):
            net = cell.nets.get(pin, [None])[0]
            if net is not None and pin in known.hidden:
                total["registers"] += int(toggles[net]) * mean(known.hidden[pin])
    for net, on in clocks.items():
        total["clock"] += 2 * on * clock_tree(netlist, netlist.load(net), cells[BUFFER])
    return total
