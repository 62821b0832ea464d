# SPDX-License-Identifier: Apache-2.0
"""Results of a grid gathered into curves, and the tables made of them.

A table is (header, rows) of strings; ``markdown`` prints one, the report turns it into HTML.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field

from ..measure.curves import LOSSES, Point, Reach, front, keep_at, percent, pool
from ..measure.evaluate import Bench, RowTask, Task
from ..measure.grid import Series
from ..methods.counts import STAGES
from . import published

Table = tuple[list[str], list[list[str]]]


Where = tuple[str, int]
"""Net and length."""


@dataclass
class Gathered:
    """Points of the results that are there.

    curves   (net, length) -> series -> points; a point is left out until all its texts are there
    groups   series -> group
    rows     results of models.lab.measure.evaluate.RowTask
    missing  tasks of the grid without a result: the settings to begin with, or the next ones
    done     results that are there
    """

    curves: dict[Where, dict[str, list[Point]]] = field(default_factory=dict)
    groups: dict[str, str] = field(default_factory=dict)
    rows: list[dict] = field(default_factory=list)
    missing: list[Task | RowTask] = field(default_factory=list)
    done: int = 0

    def join(self, other: Gathered) -> None:
        """Add the curves of another grid that have a point; what it misses does not count."""
        for where, curves in other.curves.items():
            for name, points in curves.items():
                if points:
                    self.curves.setdefault(where, {}).setdefault(name, points)
                    self.groups.setdefault(name, other.groups[name])
        self.done += other.done

    def group(self, where: Where, *groups: str) -> dict[str, list[Point]]:
        """Curves of some groups that have a point."""
        return {name: points for name, points in self.curves.get(where, {}).items()
                if points and self.groups[name] in groups}

    def wheres(self, net: str) -> list[Where]:
        """Lengths at which a net has results."""
        return sorted(w for w in self.curves if w[0] == net and any(self.curves[w].values()))


def spread(number: int, points: int | None) -> list[int]:
    """That many of 0 .. number - 1, the ends among them, as evenly as can be; None: all."""
    if points is None or points >= number:
        return list(range(number))
    return [round(i * (number - 1) / (points - 1)) for i in range(points)]


def between(losses: dict[int, float], number: int, limits: Iterable[float] = LOSSES) -> list[int]:
    """Settings to look at next: the middle of each gap in which the loss passes a limit, and of
    the gap behind the sparsest known setting when that is still within all limits. losses: place
    of a setting, from dense to sparse -> loss, in the unit of the limits; number: of settings."""
    known = sorted(losses)
    found = set()
    if losses[known[-1]] <= max(limits) and known[-1] < number - 1:
        found.add((known[-1] + number) // 2)
    for limit in limits:
        within = [i for i in known if losses[i] <= limit]
        beyond = [i for i in known if within and i > within[-1]]
        if beyond and beyond[0] - within[-1] > 1:
            found.add((within[-1] + beyond[0]) // 2)
    return sorted(found)


def gather(bench: Bench, grid: Iterable[Series], rows: Iterable[RowTask] = ()) -> Gathered:
    """Read what the store holds of a grid, and say what is missing."""
    got = Gathered()
    for series in grid:
        got.groups[series.name] = series.group
        for where in dict.fromkeys((c.net, c.length) for c in series.cases):
            points = got.curves.setdefault(where, {}).setdefault(series.name, [])
            points += gather_curve(bench, series, where, got)
    for task in rows:
        found = bench.store.get(bench.key(task))
        if found is None:
            got.missing.append(task)
        else:
            got.done += 1
            got.rows.append(found)
    return got


def gather_curve(bench: Bench, series: Series, where: Where, got: Gathered) -> list[Point]:
    """Points of a series; adds to got.done and got.missing."""
    cases = [c for c in series.cases if (c.net, c.length) == where]
    points: dict[int, Point] = {}
    number = len(series.settings)
    wanted = spread(number, series.start)
    adaptive = series.refine and bench.subjects[where[0]].unit == "nat"
    if adaptive and series.start is not None and len(wanted) > 2:
        wanted.pop()
    while wanted:
        complete = True
        for place in wanted:
            label, method = series.settings[place]
            tasks = [Task(series.name, method, case, label) for case in cases]
            found = [bench.store.get(bench.key(task)) for task in tasks]
            lacking = [t for t, f in zip(tasks, found, strict=True) if f is None]
            got.missing += lacking
            got.done += len(tasks) - len(lacking)
            if lacking:
                complete = False
            else:
                points[place] = pool(found, label)
        wanted = []
        if complete and adaptive:
            wanted = between({i: percent(p.loss) for i, p in points.items()}, number)
    return [points[i] for i in sorted(points)]


def markdown(table: Table) -> str:
    """A Markdown table."""
    header, rows = table
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def reach(points: list[Point], limit: float) -> Reach:
    """Smallest keep ratio of a language curve at a perplexity increase in percent."""
    return keep_at(front((p.keep, percent(p.loss)) for p in points), limit)


SYSTEMS = ("rule", "reference", "peer")
"""Groups of whole rules and systems, which are compared at the same loss."""


def keep_table(got: Gathered, net: str = "smollm2", groups: Iterable[str] = SYSTEMS,
               lengths: Iterable[int] | None = None) -> Table:
    """Smallest mean keep ratio at each perplexity increase for every series of some groups, by
    length; lengths: None: all."""
    groups, lengths = tuple(groups), None if lengths is None else tuple(lengths)
    wheres = [w for w in got.wheres(net)
              if got.group(w, *groups) and (lengths is None or w[1] in lengths)]
    header = ["rule"] + [f"S = {length}: +{limit:g} %" for _, length in wheres for limit in LOSSES]
    rows = []
    for name in (n for n, group in got.groups.items() if group in groups):
        cells = [str(reach(points, limit)) if (points := got.curves[w].get(name)) else "-"
                 for w in wheres for limit in LOSSES]
        if set(cells) != {"-"}:
            rows.append([name, *cells])
    return header, rows


def at_loss(points: list[Point], limit: float) -> tuple[Point, bool]:
    """(the sparsest measured point with a perplexity increase of at most ``limit`` percent, True),
    or (the point that loses least, False) where there is none."""
    within = [p for p in points if percent(p.loss) <= limit]
    if within:
        return min(within, key=lambda p: p.keep), True
    return min(points, key=lambda p: p.loss), False


def signed(value: float) -> str:
    """Two decimals with a sign; no minus before zero."""
    return f"{round(value, 2) + 0.0:+.2f}"


def rise(point: Point) -> str:
    """Perplexity increase of a language point with its standard error."""
    return f"{signed(percent(point.loss))} ± {100 * point.error:.2f} %"


def same_tensors(got: Gathered, where: Where, names: Iterable[str], dense: str,
                 limit: float = 1.0) -> Table:
    """Every system on the same tensors at about the same loss: accuracy, keep ratio, cost of each
    stage and bytes.

    Costs are full-adder bits for each visible pair (models.lab.methods.counts); the sum and the
    bytes also as a share of those of the series ``dense``.
    """
    header = ["system", "perplexity", "keep", "recall", "prediction", "selection", "formal",
              "all, of dense", "DRAM, of dense", "setting"]
    curves, rows = got.curves.get(where, {}), []
    base = curves[dense][0] if curves.get(dense) else None
    for name in names:
        if not curves.get(name):
            continue
        point, reached = at_loss(curves[name], limit)
        per_pair = [point.cost.get(stage, 0.0) for stage in STAGES]
        shares = ["-", "-"]
        if base and point.cost:
            shares = [f"{100 * sum(per_pair) / sum(base.cost.values()):.0f} %",
                      f"{100 * sum(point.bytes.values()) / sum(base.bytes.values()):.0f} %"]
        rows.append([
            name, rise(point) + ("" if reached else " (!)"),
            f"{100 * point.keep:.1f} %", "-" if point.recall is None else f"{point.recall:.3f}",
            *(f"{value:.0f}" for value in per_pair), *shares, point.label])
    return header, rows


def published_table() -> Table:
    """The paper's Table II."""
    def text(value: float | None, unit: str = "") -> str:
        return "-" if value is None else f"{value:g}{unit}"

    header = ["design", "accuracy loss", "saved computation", "GOPS", "GOPS/W", "GOPS/mm2",
              "Llama-7B attention"]
    return header, [[p.name, text(p.loss, " %"), text(p.saved, " %"), text(p.gops),
                     text(p.gops_w), text(p.gops_mm2), text(p.llama_ms, " ms")]
                    for p in published.TABLE_II]


def setting_table(got: Gathered, where: Where, groups: Iterable[str], first: str) -> Table:
    """Every measured setting of the series of some groups, that of ``first`` nearest to a rise of
    1 % at the head: keep, perplexity, recall and mass."""
    header = ["changed", "setting", "keep", "perplexity", "recall", "mass"]
    rows, curves = [], dict(got.group(where, *groups))
    if ours := got.curves.get(where, {}).get(first):
        curves = {first: [min(ours, key=lambda p: abs(percent(p.loss) - 1))], **curves}
    for name, points in curves.items():
        for number, p in enumerate(points):
            optional = ["-" if x is None else f"{x:.3f}" for x in (p.recall, p.mass)]
            rows.append(["" if number else name, p.label, f"{100 * p.keep:.2f} %", rise(p),
                         *optional])
    return header, rows


def length_table(got: Gathered, net: str = "smollm2") -> Table:
    """Settings of the group "length" at every length, each text apart."""
    header, rows = ["S", "rule", "setting", "text", "keep", "perplexity"], []
    for where in got.wheres(net):
        for name, points in got.group(where, "length").items():
            for p in points:
                for place, (text, (loss, error, keep)) in enumerate(p.texts.items()):
                    head = [str(where[1]), name, p.label] if not place else ["", "", ""]
                    rows.append([*head, text, f"{100 * keep:.2f} %",
                                 f"{signed(percent(loss))} ± {100 * error:.2f} %"])
    return header, rows


def settings_table(points: Iterable[Point]) -> Table:
    """The numbers behind a curve."""
    header = ["setting", "loss", "standard error", "keep", "recall", "mass"]
    rows = []
    for p in points:
        optional = ["-" if x is None else f"{x:.4f}" for x in (p.recall, p.mass)]
        rows.append([p.label, f"{p.loss:.5f}", f"{p.error:.5f}", f"{p.keep:.4f}", *optional])
    return header, rows


def setting_text(point: Point) -> str:
    """Class and fields of a point's method as JSON."""
    return json.dumps(point.setting, sort_keys=True)
