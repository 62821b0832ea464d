# SPDX-License-Identifier: Apache-2.0
"""Code coverage of rtl/: what Verilator counted in all runs, merged, and the pages that show it.

A run of ``pytest --coverage`` leaves a coverage.dat in its results folder. Three kinds of points
are in it: *line* (blocks and branches), *expr* (every way in which one term decides an expression)
and *toggle* (a bit of a signal rises, falls). Points of one place in one source file are the same
point, whatever instance, parameters or turn of a generate loop they belong to; bits of a signal are
points of their own, as many as the widest build has. Verilator leaves out toggles of arrays and of
signals above 256 bits, and expressions with more than 32 ways.

What no test could reach is no point: functions, which only the compiler runs, as sizes of the
design; wires called unused, which take what nobody reads; ways of an expression that hang on a term
of constants and parameters alone; bits that are constant by structure (constants.py).

A point that cannot be reached is excluded beside the code, with the reason:

    wire [1:0] mode;   // unreached toggle: mode 3 is refused by the job check

or alone on the line above it. Kinds: line, expr, toggle. An exclusion of something that was reached
is an error.
"""

from __future__ import annotations

import functools
import html
import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from scripts.verify.html_page import page

ROOT = Path(__file__).resolve().parents[2]
KINDS = ("line", "expr", "toggle")
GOALS = {"line": 100.0, "expr": 98.0, "toggle": 98.0}
"""Least percentage of every module."""
_KIND = {"line": "line", "branch": "line", "expr": "expr", "toggle": "toggle"}
_EXCLUDED = re.compile(r"//\s*unreached (line|expr|toggle): (.*\S)")
_INDEX = re.compile(r"\[[0-9:]+\]|(?<=\{)32'h[0-9a-f]+(?=\{)")
_UNUSED = re.compile(r"\bwire\b.*\bunused\w*\s*=")
_TERM = re.compile(r"(.*)==[01]")
_BIT = re.compile(r"(.*?\w(?:\[\d+\])*?)(?:\[(\d+)\])?:\d->\d")
_NUMBER = re.compile(r"\d+'s?[bdh][0-9a-fx]+|%25")


@dataclass(frozen=True, order=True)
class Point:
    """A place that a test can reach: file below the repository, line, column, kind, what of it."""

    file: str
    line: int
    column: int
    kind: str
    what: str


class CoverageError(Exception):
    """A file is not what Verilator writes, or an exclusion is wrong."""


@functools.cache
def _point(key: str, root: Path) -> Point | None:
    """The point of a key of Verilator without its instance; None outside of rtl/."""
    values = dict(part.split("\x02", 1) for part in key.split("\x01") if part)
    try:
        file = Path(values["f"]).relative_to(root / "rtl")
    except ValueError:
        return None
    kind = _KIND[values["t"]]
    # Turns of a loop, and widths that parameters give, are one expression.
    what = _INDEX.sub("[]", values["o"]) if kind == "expr" else values["o"]
    return Point(f"rtl/{file}", int(values["l"]), int(values["n"]), kind, what)


def read(text: str, root: Path = ROOT) -> Counter:
    """Points below rtl/ of a coverage.dat -> how often they were reached."""
    if not text.startswith("# SystemC::Coverage-3"):
        raise CoverageError("not a coverage file of Verilator: its first line is "
                            f"{text.splitlines()[0] if text else ''!r}")
    counts: Counter = Counter()
    for line in text.splitlines()[1:]:
        head, _, count = line.rpartition("' ")
        if not (head.startswith("C '") and count.isdecimal()):
            raise CoverageError(f"not a point of Verilator: {line[:80]!r}")
        # Instances of a module differ in the last part alone: millions of lines, few points.
        counts[head[3:].partition("\x01h\x02")[0]] += int(count)
    found: Counter = Counter()
    for key, count in counts.items():
        point = _point(key, root)
        if point:
            found[point] += count
    return found


def merge(files) -> Counter:
    """All of ``files`` together."""
    counts: Counter = Counter()
    for file in files:
        try:
            # Counter.update keeps points that were never reached.
            counts.update(read(file.read_text()))
        except CoverageError as error:
            raise CoverageError(f"{file}: {error}") from None
    return counts


def exclusions(source: str) -> dict[tuple[int, str], str]:
    """(line, kind) -> reason, from the comments of a Verilog source."""
    found: dict[tuple[int, str], str] = {}
    waiting: list[tuple[str, str]] = []
    for number, line in enumerate(source.splitlines(), 1):
        marks = _EXCLUDED.findall(line)
        comment = line.strip()
        if comment.startswith("//"):
            if waiting and not marks:
                # The sentence goes on.
                kind, reason = waiting.pop()
                marks = [(kind, f"{reason} {comment.lstrip('/ ')}")]
            waiting += marks
            continue
        for kind, reason in [*waiting, *marks]:
            found[number, kind] = reason
        waiting = []
    return found


def _constant(what: str) -> bool:
    """Whether a way of an expression has a term without a signal; names of parameters are in
    capitals."""
    terms, _, _ = what.rpartition(" => ")
    found = (_TERM.fullmatch(term.strip("() ")) for term in terms.split(" && "))
    return any(term and not re.search("[a-z]", _NUMBER.sub("", term[1])) for term in found)


def _functions(lines: list[str]) -> set[int]:
    """Numbers of the lines in functions."""
    found, inside = set(), False
    for number, line in enumerate(lines, 1):
        inside |= bool(re.match(r"\s*function\b", line))
        if inside:
            found.add(number)
        inside &= not re.match(r"\s*endfunction\b", line)
    return found


def reachable(points: dict[Point, int], source: str, constant=frozenset()) -> dict[Point, int]:
    """The points of a file without those that no test could reach; constant: see constants.py."""
    lines = source.splitlines()
    functions = _functions(lines)

    def counts(point):
        if point.kind == "line":
            return point.line not in functions
        if point.kind == "expr":
            return not (_UNUSED.search(lines[point.line - 1]) or _constant(point.what))
        name, index = _BIT.fullmatch(point.what).groups()
        bit = (point.file, name, int(index or 0))
        return not (name.rpartition(".")[2].startswith("unused") or bit in constant)

    return {point: n for point, n in points.items() if n or counts(point)}


@dataclass
class Module:
    """Coverage of one source file."""

    file: str
    counts: dict[Point, int]
    excluded: dict[tuple[int, str], str]
    stale: list[str] = field(default_factory=list)

    def __post_init__(self):
        missed = {(p.line, p.kind) for p, n in self.counts.items() if not n}
        self.stale = [f"{self.file}:{line}: nothing of kind {kind} is left unreached there"
                      for line, kind in self.excluded if (line, kind) not in missed]

    def figures(self, kind: str) -> tuple[int, int, int]:
        """(reached, to be reached, excluded) points of ``kind``."""
        points = [(p, n) for p, n in self.counts.items() if p.kind == kind]
        out = sum(not n and (p.line, kind) in self.excluded for p, n in points)
        return sum(n > 0 for _, n in points), len(points) - out, out

    def percent(self, kind: str) -> float:
        """Reached of what is to be reached, in percent; 100 where there is nothing."""
        reached, points, _ = self.figures(kind)
        return 100.0 * reached / points if points else 100.0

    def missed(self) -> list[Point]:
        """Points that are neither reached nor excluded, in the order of the file."""
        return sorted(p for p, n in self.counts.items()
                      if not n and (p.line, p.kind) not in self.excluded)

    def below(self) -> list[str]:
        """What fails, one sentence each."""
        return [f"{self.file}: {kind} {self.percent(kind):.1f} %, goal {GOALS[kind]:.0f} %"
                for kind in KINDS if self.percent(kind) < GOALS[kind]] + self.stale


def modules(counts: Counter, root: Path = ROOT, constant=frozenset()) -> list[Module]:
    """A Module for each file that has points, in the order of their names; constant: bits that
    cannot move."""
    by_file: dict[str, dict[Point, int]] = defaultdict(dict)
    for point, count in counts.items():
        by_file[point.file][point] = count
    found = []
    for file, points in sorted(by_file.items()):
        source = (root / file).read_text()
        found.append(Module(file, reachable(points, source, constant), exclusions(source)))
    return found


def unbuilt(found: list[Module], root: Path = ROOT) -> list[str]:
    """Files below rtl/ that no run contained."""
    have = {m.file for m in found}
    files = (str(f.relative_to(root)) for f in sorted((root / "rtl").rglob("*.v")))
    return [f for f in files if f not in have]


def whole(found: list[Module], kind: str) -> float:
    """Percentage of ``kind`` over all modules."""
    reached, points = (sum(m.figures(kind)[i] for m in found) for i in (0, 1))
    return 100.0 * reached / points if points else 100.0


def table(found: list[Module]) -> list[dict]:
    """What is committed of every module: kind -> [reached, to be reached, excluded]."""
    return [{"file": m.file, **{kind: list(m.figures(kind)) for kind in KINDS}} for m in found]


# ---------------------------------------------------------------------------------------------
# Pages
# ---------------------------------------------------------------------------------------------
def _cells(module: Module) -> str:
    cells = ""
    for kind in KINDS:
        reached, points, out = module.figures(kind)
        percent = module.percent(kind)
        colour = "met" if percent >= GOALS[kind] else "not"
        cells += (f"<td class={colour}>{percent:.1f}</td><td>{reached:,} of {points:,}</td>"
                  f"<td>{out or ''}</td>")
    return cells


def _source(module: Module, root: Path) -> str:
    by_line: dict[int, list[tuple[Point, int]]] = defaultdict(list)
    for point, count in module.counts.items():
        by_line[point.line].append((point, count))
    rows = []
    for number, text in enumerate((root / module.file).read_text().splitlines(), 1):
        points = by_line.get(number, [])
        missed = sorted(p for p, n in points if not n)
        left = [p for p in missed if (number, p.kind) not in module.excluded]
        colour = "" if not points else "not" if left else "out" if missed else "met"
        listed = "".join(f"<li>{p.kind}: {html.escape(p.what)}</li>" for p in left[:20])
        if len(left) > 20:
            listed += f"<li>and {len(left) - 20} more</li>"
        below = f"<ul class=missed>{listed}</ul>" if left else ""
        most = max((n for _, n in points), default="")
        rows.append(f"<tr id=l{number}><td class=n>{number}</td><td class=n>{most}</td>"
                    f"<td class=\"code {colour}\">{html.escape(text)}{below}</td></tr>")
    return f"<div class=scroll><table>{''.join(rows)}</table></div>"


def write_pages(found: list[Module], folder: Path, about: str, root: Path = ROOT) -> Path:
    """index.html, which it returns, and a page a module in ``folder``; ``about`` says what ran."""
    folder.mkdir(parents=True, exist_ok=True)
    head = "".join(f"<th>{kind}, %</th><th>points</th><th>excluded</th>" for kind in KINDS)
    rows = []
    for module in found:
        name = Path(module.file).stem
        rows.append(f"<tr><td><a href={name}.html>{module.file}</a></td>{_cells(module)}</tr>")
        reasons = "".join(f"<li>line {line}, {kind}: {html.escape(reason)}</li>"
                          for (line, kind), reason in sorted(module.excluded.items()))
        (folder / f"{name}.html").write_text(page(
            module.file, f"<p><a href=index.html>all modules</a></p><table><tr><th></th>{head}</tr>"
            f"<tr><td></td>{_cells(module)}</tr></table>"
            + (f"<h2>Excluded</h2><ul>{reasons}</ul>" if reasons else "")
            + _source(module, root)))
    goals = ", ".join(f"{kind} {GOALS[kind]:.0f} %" for kind in KINDS)
    index = folder / "index.html"
    index.write_text(page("Code coverage", f"<p>{html.escape(about)} Goals: {goals}. "
                           "<a href=functional.html>Functional coverage</a>.</p>"
                           f"<div class=scroll><table><tr><th>module</th>{head}</tr>"
                           f"{''.join(rows)}</table></div>"))
    return index
