# SPDX-License-Identifier: Apache-2.0
"""Longest paths of a mapped netlist from the delay tables of its library.

Rising and falling edges apart, worst slew at every net, capacitance of wires by fan-out (their
resistance is left out), an ideal clock. One pass starts at registers, one at input ports, so that
both kinds have slews of their own. A block that was cut out is seen by its model: what its inputs
add before a register, when its outputs leave, what passes through.

Times in ns, capacitance in fF.
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import asdict, dataclass

from scripts.silicon.liberty import FALL, RISE, Cell, Library
from scripts.silicon.netlist import MACRO_PIN, PORT, Netlist, NetlistError
from scripts.silicon.recipe import STATIC

CLOCK_SLEW = 0.02
START_SLEW = 0.03
"""Slew at outputs of memories."""
INPUT_CELL = "BUF_X2"
"""What drives input ports."""
MEMORY_OUT, MEMORY_SETUP = 0.25, 0.05
"""Clock to data, and set-up, of a memory macro, ns."""
NEVER = float("-inf")
WORST = 8
"""Paths that are kept of each class."""


@dataclass
class Path:
    """A path: ``kind`` is reg-reg, in, out or in-out; ``start`` and ``end`` as names, with
    file:line of the source where it is known; ``gates`` on it; ``ns`` with clock-to-data and
    set-up."""

    kind: str
    ns: float
    start: str
    start_src: str
    end: str
    end_src: str
    gates: int


@dataclass
class Result:
    """Paths by kind, worst first, one for each register or port; and the model of the block."""

    paths: dict[str, list[Path]]
    model: dict


def fo4(library: Library, stages: int = 12, middle: int = 6) -> float:
    """Delay of an inverter that drives four of its kind, ns: mean of both edges, in a chain."""
    pin = library.cells["INV_X1"].pins
    load = 4 * pin["A"].cap + library.wire_cap(4)
    arc = pin["ZN"].arcs[0]
    slews, times, sums = [CLOCK_SLEW, CLOCK_SLEW], [], []
    for _ in range(stages):
        times = [0.0, 0.0]
        new = [0.0, 0.0]
        for edge in (RISE, FALL):
            cause = arc.causes[edge][0]
            times[edge] = arc.delay[edge](slews[cause], load)
            new[edge] = arc.slew[edge](slews[cause], load)
        slews = new
        sums.append(sum(times) / 2)
    return sums[middle]


def base(name: str) -> str:
    """A name without its bit."""
    return re.sub(r"\[\d+\]$", "", name)


class Analysis:
    """The graph of a netlist and its passes."""

    def __init__(self, netlist: Netlist):
        self.netlist = netlist
        self.cells = netlist.lib.cells
        self.clocks = netlist.clocks()
        self.loads: dict[int, float] = {}
        self.fanin: dict[int, list[tuple]] = {}
        self.ends: list[tuple[int, str, str, object]] = []
        self.build()
        self.order = self.sort()

    def load(self, net: int) -> float:
        """Load of a net, kept."""
        if net not in self.loads:
            self.loads[net] = self.netlist.load(net)
        return self.loads[net]

    def build(self) -> None:
        """Collect the arcs into every net, and the ends of paths."""
        netlist = self.netlist
        for net, (index, pin, bit) in netlist.driver.items():
            if net in self.clocks or index == PORT:
                continue
            cell = netlist.cells[index]
            kind = self.cells.get(cell.type)
            if kind and kind.kind == "gate":
                self.fanin[net] = [(arc, cell.nets[arc.pin][0]) for arc in kind.pins[pin].arcs
                                   if cell.nets.get(arc.pin, [None])[0] is not None]
            elif not kind and cell.type in netlist.leaves:
                out = netlist.leaves[cell.type]["outputs"][pin][bit]
                self.fanin[net] = [(delay, cell.nets[p][b]) for p, b, delay in out["through"]
                                   if cell.nets[p][b] is not None]
        for index, cell in enumerate(netlist.cells):
            kind = self.cells.get(cell.type)
            if kind and kind.kind == "gate":
                continue
            for pin, nets in cell.nets.items():
                if netlist.is_output(cell, pin) or STATIC.search(pin):
                    continue
                for bit, net in enumerate(nets):
                    if net is not None and net not in self.clocks:
                        self.ends.append((net, "reg", *self.end_of(index, cell, kind, pin, bit)))
        for port, (output, nets) in netlist.ports.items():
            if output:
                for bit, net in enumerate(nets):
                    if net is not None and not STATIC.search(port):
                        label = f"{port}[{bit}]" if len(nets) > 1 else port
                        self.ends.append((net, "port", (label, ""), None))

    def end_of(self, index: int, cell, kind: Cell | None, pin: str, bit: int):
        """((name, source), what is needed there before the clock) of a data pin."""
        netlist = self.netlist
        if kind:
            if kind.kind == "clock gate":
                return (f"{cell.name}.{pin}", cell.src), kind.pins[pin].setup
            out = next((n for p in ("Q", "QN") for n in cell.nets.get(p, []) if n is not None), 0)
            name, src = netlist.names.get(out, (cell.name, ""))
            return (name, src or cell.src), kind.pins[pin].setup
        label = f"{cell.name}.{pin}[{bit}]"
        if cell.type in netlist.memories:
            return (label, cell.src), MEMORY_SETUP
        bits = netlist.leaves[cell.type]["inputs"].get(pin)
        if not bits or bits[bit][1] is None:
            return (label, cell.src), None
        return (f"{cell.name}/{bits[bit][2]}", bits[bit][3]), bits[bit][1]

    def sort(self) -> list[int]:
        """Nets in an order in which every net follows those it depends on."""
        waits = {net: len(arcs) for net, arcs in self.fanin.items()}
        users: dict[int, list[int]] = {}
        for net, arcs in self.fanin.items():
            for _, source in arcs:
                users.setdefault(source, []).append(net)
        order = []
        ready = deque(n for n in self.netlist.driver if not waits.get(n))
        while ready:
            net = ready.popleft()
            order.append(net)
            for user in users.get(net, ()):
                waits[user] -= 1
                if not waits[user]:
                    ready.append(user)
        if len(order) < len(self.netlist.driver):
            left = next(n for n, w in waits.items() if w)
            raise NetlistError(f"{self.netlist.name}: combinational loop through "
                               f"{self.netlist.label(left)}")
        return order

    def start(self, net: int, inputs: bool):
        """((arrival, slew) by edge, (name, source)) where a path starts here; else None."""
        netlist = self.netlist
        index, pin, bit = netlist.driver[net]
        if net in self.clocks or (index == PORT) != inputs:
            return None
        load = self.load(net)
        if index == PORT:
            if STATIC.search(pin):
                return None
            arc = self.cells[INPUT_CELL].pins["Z"].arcs[0]
            name = f"{pin}[{bit}]" if len(netlist.ports[pin][1]) > 1 else pin
            return [(0.0, arc.slew[e](START_SLEW, load)) for e in (RISE, FALL)], (name, "")
        cell = netlist.cells[index]
        kind = self.cells.get(cell.type)
        if kind:
            if kind.kind == "gate":
                return None
            name, src = netlist.names.get(net, (cell.name, cell.src))
            if STATIC.search(name):
                return None
            arc = next(a for a in kind.pins[pin].arcs if a.clocked)
            return [(arc.delay[e](CLOCK_SLEW, load), arc.slew[e](CLOCK_SLEW, load))
                    for e in (RISE, FALL)], (name, src or cell.src)
        if cell.type in netlist.memories:
            return [(MEMORY_OUT, START_SLEW)] * 2, (f"{cell.name}.{pin}[{bit}]", cell.src)
        out = netlist.leaves[cell.type]["outputs"][pin][bit]
        if out["time"] is None or STATIC.search(pin):
            return None
        more, slew = self.leaf_drive(out, load)
        return [(t + more, slew) for t in out["time"]], (f"{cell.name}/{out['start']}", out["src"])

    def leaf_drive(self, out: dict, load: float) -> tuple[float, float]:
        """(delay more than at the model's load, slew) of a cut block's output at a load."""
        if not out["last"]:
            return 0.0, START_SLEW
        name, pin, related, slew = out["last"]
        arc = next(a for a in self.cells[name].pins[pin].arcs if a.pin == related)
        both = [(arc.delay[e](slew, load) - arc.delay[e](slew, MACRO_PIN), arc.slew[e](slew, load))
                for e in (RISE, FALL)]
        return max(b[0] for b in both), max(b[1] for b in both)

    def run(self, inputs: bool):
        """Forward pass: arrival, slew and cause of every (net, edge), and the starts by net."""
        time: dict[int, list[float]] = {}
        slew: dict[int, list[float]] = {}
        cause: dict[int, list] = {}
        starts: dict[int, tuple[str, str]] = {}
        for net in self.order:
            begin = self.start(net, inputs)
            if begin:
                both, starts[net] = begin
                time[net] = [both[0][0], both[1][0]]
                slew[net] = [both[0][1], both[1][1]]
                cause[net] = [None, None]
            arcs = self.fanin.get(net)
            if not arcs or not any(source in time for _, source in arcs):
                continue
            load = self.load(net)
            t, s, c = time.get(net, [NEVER] * 2), slew.get(net, [0.0] * 2), \
                cause.get(net, [None] * 2)
            for arc, source in arcs:
                before = time.get(source)
                if before is None:
                    continue
                if isinstance(arc, float):
                    more, edge_slew = self.through(net, load)
                    for edge in (RISE, FALL):
                        got = max(before) + arc + more
                        if got > t[edge]:
                            t[edge], c[edge] = got, (source, before.index(max(before)))
                        s[edge] = max(s[edge], edge_slew)
                    continue
                for edge in (RISE, FALL):
                    table = arc.delay[edge]
                    for e in arc.causes[edge] if table else ():
                        if before[e] == NEVER:
                            continue
                        into = slew[source][e]
                        got = before[e] + table(into, load)
                        if got > t[edge]:
                            t[edge], c[edge] = got, (source, e)
                        s[edge] = max(s[edge], arc.slew[edge](into, load))
            if max(t) > NEVER:
                time[net], slew[net], cause[net] = t, s, c
        return time, slew, cause, starts

    def through(self, net: int, load: float) -> tuple[float, float]:
        """leaf_drive of the output that drives a net."""
        index, pin, bit = self.netlist.driver[net]
        out = self.netlist.leaves[self.netlist.cells[index].type]["outputs"][pin][bit]
        return self.leaf_drive(out, load)

    def need(self, wanted, slews: list[float], edge: int) -> float:
        """Set-up at an end."""
        if isinstance(wanted, tuple):
            return wanted[edge](slews[edge], CLOCK_SLEW) if wanted[edge] else 0.0
        return wanted[edge] if isinstance(wanted, list) else wanted or 0.0

    def paths(self, passed, inputs: bool) -> dict[str, list[Path]]:
        """The worst paths of a pass by kind."""
        time, slew, cause, starts = passed
        worst: dict[str, dict[str, tuple]] = {}
        for net, where, (name, src), wanted in self.ends:
            if net not in time or (where == "reg" and wanted is None):
                continue
            kind = {(False, "reg"): "reg-reg", (False, "port"): "out",
                    (True, "reg"): "in", (True, "port"): "in-out"}[inputs, where]
            for edge in (RISE, FALL):
                if time[net][edge] == NEVER:
                    continue
                total = time[net][edge] + self.need(wanted, slew[net], edge)
                group = worst.setdefault(kind, {})
                key = base(name)
                if key not in group or total > group[key][0]:
                    group[key] = (total, net, edge, name, src)
        found = {}
        for kind, group in worst.items():
            found[kind] = []
            for total, net, edge, name, src in sorted(group.values(), key=lambda g: -g[0])[:WORST]:
                gates = 0
                at = (net, edge)
                while cause[at[0]][at[1]] is not None:
                    at = cause[at[0]][at[1]]
                    gates += 1
                start, start_src = starts[at[0]]
                found[kind].append(Path(kind, total, start, start_src, name, src, gates))
        return found

    def first(self, cause, starts, net: int, edge: int) -> tuple[str, str]:
        """Start of the worst path to (net, edge)."""
        at = (net, edge)
        while cause[at[0]][at[1]] is not None:
            at = cause[at[0]][at[1]]
        return starts[at[0]]

    def arc_times(self, arc, net: int, source: int, time, slew):
        """Delays of an arc as the pass saw it: (edge of the source, edge of the net, ns)."""
        if source not in time:
            return
        load = self.load(net)
        if isinstance(arc, float):
            for edge in (RISE, FALL):
                yield from ((e, edge, arc + self.through(net, load)[0]) for e in (RISE, FALL))
            return
        for edge in (RISE, FALL):
            for e in arc.causes[edge] if arc.delay[edge] else ():
                if time[source][e] > NEVER:
                    yield e, edge, arc.delay[edge](slew[source][e], load)

    def longest_to(self, tails: dict[int, list[float]], order: list[int], passed,
                   last: dict[int, tuple] | None = None) -> dict[int, list[float]]:
        """Longest delay by edge from every net to an end. ``tails`` has what is needed at the
        ends and is filled; ``order``: users before sources; ``last`` follows, the end's name."""
        time, slew = passed[:2]
        for net in order:
            if net not in tails:
                continue
            for arc, source in self.fanin.get(net, ()):
                for e, edge, more in self.arc_times(arc, net, source, time, slew):
                    total = tails[net][edge] + more
                    at = tails.setdefault(source, [NEVER, NEVER])
                    if total > max(at) and last is not None:
                        last[source] = last[net]
                    at[e] = max(at[e], total)
        return tails

    def model(self, regs, ins) -> dict:
        """What a parent has to know of this block (pins without timing are left out).

        inputs: port -> per bit [capacitance, times of both edges to a register with its set-up or
        None, name of that register, source]. outputs: port -> per bit {time of both edges, start,
        src: from a register; last: the driving cell, its pins and slew; through: [input, bit,
        delay] of what passes}.
        """
        time, slew = ins[:2]
        tails: dict[int, list[float]] = {}
        last: dict[int, tuple[str, str]] = {}
        for net, where, place, wanted in self.ends:
            if where == "reg" and wanted is not None and net in time:
                total = [self.need(wanted, slew[net], e) for e in (RISE, FALL)]
                if net not in tails or max(total) > max(tails[net]):
                    last[net] = place
                tails[net] = [max(t) for t in zip(total, tails.get(net, total), strict=True)]
        self.longest_to(tails, self.order[::-1], ins, last)
        inputs, outputs = {}, {}
        for port, (output, nets) in self.netlist.ports.items():
            if output:
                outputs[port] = [self.model_output(n, regs, ins) for n in nets]
            else:
                inputs[port] = [
                    [0.0, None, "", ""] if n is None or n in self.clocks else
                    [round(self.load(n), 3), tails.get(n), *last.get(n, ("", ""))]
                    for n in nets]
        return {"inputs": inputs, "outputs": outputs}

    def model_output(self, net: int | None, regs, ins) -> dict:
        """The model of one bit of an output."""
        out = {"time": None, "start": "", "src": "", "last": None, "through": []}
        if net is None or net in self.clocks:
            return out
        time, slew, cause, starts = regs
        index, pin, _ = self.netlist.driver[net]
        kind = self.cells.get(self.netlist.cells[index].type) if index != PORT else None
        if kind:
            slews = [max(s[src]) for _, src in self.fanin.get(net, ())
                     for s in (slew, ins[1]) if src in s]
            out["last"] = [kind.name, pin, kind.pins[pin].arcs[0].pin,
                           max(slews, default=CLOCK_SLEW)]
        if net in time:
            edge = time[net].index(max(time[net]))
            out["time"] = time[net]
            out["start"], out["src"] = self.first(cause, starts, net, edge)
        if net in ins[0]:
            longest = self.longest_to({net: [0.0, 0.0]}, self.cone(net, ins[0]), ins)
            for at, total in longest.items():
                cell, port, bit = self.netlist.driver[at]
                if cell == PORT and at in ins[3]:
                    out["through"].append([port, bit, max(total)])
        return out

    def cone(self, net: int, time) -> list[int]:
        """The nets on which one depends and which the inputs reach, users before sources."""
        seen, post = {net}, []
        stack = [(net, iter(self.fanin.get(net, ())))]
        while stack:
            at, arcs = stack[-1]
            for _, source in arcs:
                if source not in seen and source in time:
                    seen.add(source)
                    stack.append((source, iter(self.fanin.get(source, ()))))
                    break
            else:
                post.append(at)
                stack.pop()
        return post[::-1]


def analyse(netlist: Netlist) -> Result:
    """Longest paths and model of a netlist."""
    analysis = Analysis(netlist)
    regs, ins = analysis.run(False), analysis.run(True)
    paths = {**analysis.paths(regs, False), **analysis.paths(ins, True)}
    return Result(paths, analysis.model(regs, ins))


def as_dict(result: Result) -> dict:
    """A result as plain data, its paths with ns rounded to a tenth of a ps."""
    return {"paths": {k: [{**asdict(p), "ns": round(p.ns, 4)} for p in v]
                      for k, v in result.paths.items()}, "model": result.model}
