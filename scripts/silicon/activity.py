# SPDX-License-Identifier: Apache-2.0
"""What the ports of blocks do while the RTL runs a job, recorded by Verilator.

For every block one instance in the middle of its kind, of small blocks with many instances four.
Recorded are the ports of these and, since they are inputs of the block around them, the outputs of
the blocks inside; where those are more than WIDE bits, some instances stand for all.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from scripts.silicon import jobs, machine
from scripts.silicon.netlist import Netlist, tidy

WIDE = 30000
MANY, SAMPLES = 16, 4
"""From so many instances on, so many of them are recorded."""
TOP = "sofa"
BUSY = f"{TOP}.g_core.busy"
CLOCK = f"{TOP}.clk"


@dataclass
class Sample:
    """An instance whose ports are recorded: its path; ``leaves``: name of an instance in it ->
    path of the one whose outputs stand for it; ``whole``: every one stands for itself."""

    block: str
    path: str
    leaves: dict[str, str] = field(default_factory=dict)
    whole: bool = True


def spread(count: int, wanted: int) -> list[int]:
    """``wanted`` of ``count`` places, spread evenly but not in one column of an array."""
    return sorted({((2 * i + 1) * count // (2 * wanted) + 9 * i) % count for i in range(wanted)})


def outputs(design: dict, name: str) -> dict[str, int]:
    """Output ports of a netlist and their bits."""
    return {p: len(d["bits"]) for p, d in design["modules"][name]["ports"].items()
            if d["direction"] == "output"}


def samples(todo: list[jobs.Job], designs: dict[str, dict]) -> list[Sample]:
    """What is to be recorded of the machine."""
    by_name = {j.name: j for j in todo}
    found: list[Sample] = []

    def visit(name: str, paths: list[str]) -> None:
        instances: dict[str, list[str]] = {}
        for label, cell in designs[name]["modules"][name]["cells"].items():
            if cell["type"] in by_name:
                instances.setdefault(cell["type"], []).append(label)
        stands: dict[str, str] = {}
        whole = True
        for leaf, labels in instances.items():
            bits = sum(outputs(designs[leaf], leaf).values())
            known = range(len(labels))
            if bits * len(labels) > WIDE:
                known, whole = spread(len(labels), SAMPLES), False
            for i, label in enumerate(labels):
                stands[label] = labels[known[i % len(known)]]
        for path in paths:
            found.append(Sample(name, path, {label: f"{path}.{tidy(other)}"
                                             for label, other in stands.items()}, whole))
        for leaf, labels in instances.items():
            if not any(s.block == leaf for s in found):
                count = SAMPLES if by_name[leaf].instances >= MANY and not by_name[leaf].leaves \
                    else 1
                visit(leaf, [f"{paths[0]}.{tidy(labels[i])}"
                             for i in spread(len(labels), count)])

    visit(TOP, [TOP])
    return found


def rules(found: list[Sample], designs: dict[str, dict]) -> str:
    """A control file of Verilator that records the samples and no others. It compares every signal
    of the machine with every rule, so there are few: all signals of a sample's own level, and the
    outputs of what is in it by patterns that all instances of an array share."""
    lines = {f'tracing_on -scope "{BUSY}"', f'tracing_on -scope "{CLOCK}"'}
    for sample in found:
        lines.add(f'tracing_on -scope "{sample.path}" -levels 1')
        for label, path in sample.leaves.items():
            leaf = designs[sample.block]["modules"][sample.block]["cells"][label]["type"]
            if path not in {s.path for s in found}:
                pattern = re.sub(r"\[\d+\]", "[*]", path) if sample.whole else path
                lines.update(f'tracing_on -scope "{pattern}.{p}"'
                             for p in outputs(designs[leaf], leaf))
    return "\n".join(["`verilator_config", 'tracing_off -scope "*"', *sorted(lines), ""])


class Waves:
    """A recorded run: values of signals before every rising edge of the clock."""

    def __init__(self, path: Path):
        import pywellen

        self.wave = pywellen.Waveform(str(path))
        self.vars = {v.full_name: v for v in self.wave.all_vars()}
        edges = [t for t, v in self.changes(CLOCK) if int(v)]
        self.edges = np.array(edges, np.int64)

    def changes(self, name: str):
        """(time, value) of all changes of a signal."""
        if name not in self.vars:
            raise KeyError(f"{name} was not recorded")
        signal = self.vars[name].signal
        return [signal[i] for i in range(len(signal))]

    def window(self) -> tuple[int, int]:
        """The cycles of the job: from the first to the last one in which the machine is busy."""
        found = [(int(np.searchsorted(self.edges, t)), int(v)) for t, v in self.changes(BUSY)]
        return (next(c for c, v in found if v),
                max((c for c, v in found if not v), default=len(self.edges)))

    def bits(self, name: str, width: int) -> np.ndarray:
        """Changes of a signal as rows (cycle, bit, value): cycle n is what rising edge n sees."""
        found = self.changes(name)
        size = -(-width // 8)
        raw = np.frombuffer(b"".join(int(v).to_bytes(size, "little") for _, v in found), np.uint8)
        table = np.unpackbits(raw.reshape(-1, size), axis=1, bitorder="little")[:, :width]
        cycle = np.searchsorted(self.edges, np.array([t for t, _ in found], np.int64), "left")
        # A value that lies at the edge itself is what the edge makes: the next cycle sees it.
        at_edge = np.isin([t for t, _ in found], self.edges)
        cycle = cycle + at_edge
        # The last one of a cycle counts.
        last = np.append(cycle[1:] != cycle[:-1], True)
        cycle, table = cycle[last], table[last]
        before = np.vstack([np.zeros((1, width), np.uint8), table[:-1]])
        row, bit = np.nonzero(table != before)
        return np.stack([cycle[row], bit, table[row, bit]], axis=1)


def stimulus(sample: Sample, designs: dict[str, dict], netlist: Netlist,
             waves: Waves) -> tuple[np.ndarray, np.ndarray]:
    """Rows (cycle, net, value) of what a sample's inputs are given, and of what its outputs were,
    as the cycle before them leaves them."""
    module = designs[sample.block]["modules"][sample.block]
    given, seen = [], []

    def add(rows, name, nets):
        found = waves.bits(name, len(nets))
        number = np.array([-1 if not isinstance(n, int) else n for n in nets])
        rows.append(np.stack([np.maximum(found[:, 0] - 1, 0), number[found[:, 1]], found[:, 2]],
                             axis=1)[number[found[:, 1]] >= 0])

    for port, about in module["ports"].items():
        if about["direction"] == "output":
            add(seen, f"{sample.path}.{port}", netlist.ports[port][1])
        elif port != "clk":
            add(given, f"{sample.path}.{port}", about["bits"])
    for label, path in sample.leaves.items():
        cell = module["cells"][label]
        for port in outputs(designs[cell["type"]], cell["type"]):
            if port in cell["connections"]:
                add(given, f"{path}.{port}", cell["connections"][port])
    nothing = np.zeros((0, 3), np.int64)
    return (np.concatenate([nothing, *given]),
            np.concatenate([nothing, *seen]) if sample.whole else nothing)


def designs_of(todo: list[jobs.Job], variants: dict[str, str]) -> dict[str, dict]:
    """The netlists of jobs; variants: which of each."""
    keys = machine.net_keys(todo)
    return {j.name: machine.netlist_json(keys[j.name], variants[j.name]) for j in todo}
