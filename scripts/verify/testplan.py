# SPDX-License-Identifier: Apache-2.0
"""The test plan: tb/<stage>/testplan.toml, read, checked against tests and coverage points, shown.

A file holds rows, in the order of the page:

    [[row]]
    feature = "Quota and radius"          what of the design
    stimulus = "Every quota ..."          how it is brought about
    check = "Masks; ..."                  what is compared, and with what
    tests = ["test_sads.quotas", ...]     file and function: cocotb tests, or functions of pytest
    points = ["sort.*"]                   points of tb/common/coverage.py which show that it
                                          happened; patterns of the shell; may be missing
    state = "V2"                          V1: the tests exist and compare, something is missing
                                          V2: whatever the documents promise of it is compared
    missing = "..."                       with V1: what

V3 is not written but found: a V2 row of which every bin of its points was reached in the run that
docs/coverage.json holds. Every test below tb/ belongs to a row of its folder's file, and may belong
to several; a simulation chooses each cocotb test.
"""

from __future__ import annotations

import ast
import fnmatch
import json
import tomllib
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "testplan.md"
FIGURES = ROOT / "docs" / "coverage.json"
ORDER = ("system", "driver", "csr", "seq", "fetch", "dlzs", "rope", "sads", "rass", "kvgen", "sufa",
         "store", "common")
"""Stages in the order of the page."""

TEXTS = ("feature", "stimulus", "check")
STATES = ("V1", "V2")


class PlanError(Exception):
    """A file of the plan cannot be read as one."""


@dataclass(frozen=True)
class Row:
    """A row of a stage's plan; ``missing`` is empty but with state V1."""

    stage: str
    feature: str
    stimulus: str
    check: str
    tests: tuple[str, ...]
    points: tuple[str, ...]
    state: str
    missing: str


def load(root: Path = ROOT) -> dict[str, list[Row]]:
    """Stage -> its rows, stages in the order of the page; PlanError names a file and what is wrong
    with it."""
    folders = {p.parent.name for p in (root / "tb").glob("*/test_*.py")}
    folders |= {p.parent.name for p in (root / "tb").glob("*/testplan.toml")}
    known = [s for s in ORDER if s in folders] + sorted(folders - set(ORDER))
    return {stage: _rows(root / "tb" / stage / "testplan.toml", stage) for stage in known}


def _rows(path: Path, stage: str) -> list[Row]:
    name = f"tb/{stage}/{path.name}"
    try:
        data = tomllib.loads(path.read_text())
    except FileNotFoundError:
        raise PlanError(f"{name}: no such file, but the folder has tests") from None
    except tomllib.TOMLDecodeError as error:
        raise PlanError(f"{name}: {error}") from None
    rows = []
    for number, given in enumerate(data.pop("row", []), 1):
        where = f"{name}, row {number}"
        legal = {*TEXTS, "tests", "points", "state", "missing"}
        if wrong := sorted(set(given) - legal):
            raise PlanError(f"{where}: unknown field {wrong[0]}")
        if lacks := [f for f in (*TEXTS, "tests", "state") if not given.get(f)]:
            raise PlanError(f"{where}: no {lacks[0]}")
        if given["state"] not in STATES:
            raise PlanError(f"{where}: state {given['state']!r}, legal: {', '.join(STATES)}")
        if (given["state"] == "V1") != bool(given.get("missing")):
            raise PlanError(f"{where}: V1 needs `missing`, which V2 does not have")
        rows.append(Row(stage, *(given[f].strip() for f in TEXTS), tuple(given["tests"]),
                        tuple(given.get("points", ())), given["state"],
                        given.get("missing", "").strip()))
    if data or not rows:
        raise PlanError(f"{name}: {'unknown ' + next(iter(data)) if data else 'no row'}")
    return rows


def tests(root: Path = ROOT) -> dict[str, list[str]]:
    """Stage -> the tests of its folder, "file.function": functions of pytest and cocotb tests."""
    found: dict[str, list[str]] = {}
    for path in sorted((root / "tb").glob("*/test_*.py")):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and (
                    node.name.startswith("test_") or any("cocotb.test" in ast.unparse(d)
                                                         for d in node.decorator_list)):
                found.setdefault(path.parent.name, []).append(f"{path.stem}.{node.name}")
    return found


def _choice(call: ast.Call) -> str:
    """What a call says of the tests that run, as text; "None": all of them."""
    return next((ast.unparse(k.value) for k in call.keywords if k.arg == "testcase"), "None")


def left_out(root: Path = ROOT) -> list[str]:
    """cocotb tests that no simulation of their file chooses, one sentence each: all of them name
    the tests that run."""
    said = []
    for path in sorted((root / "tb").glob("*/test_*.py")):
        tree = ast.parse(path.read_text())
        choices = [(_choice(call), [a.arg for a in function.args.args])
                   for function in tree.body if isinstance(function, ast.FunctionDef)
                   for call in ast.walk(function) if isinstance(call, ast.Call)
                   and any(isinstance(a, ast.Name) and a.id == "__name__" for a in call.args)]
        # A caller may choose all of them.
        if any("None" in choice or choice in arguments for choice, arguments in choices):
            continue
        chosen = {node.value.partition("/")[0] for node in ast.walk(tree)
                  if isinstance(node, ast.Constant) and isinstance(node.value, str)}
        said += [f"tb/{path.parent.name}: no simulation chooses {path.stem}.{node.name}"
                 for node in tree.body if isinstance(node, ast.AsyncFunctionDef)
                 and any("cocotb.test" in ast.unparse(d) for d in node.decorator_list)
                 and node.name not in chosen]
    return said


def points_of(row: Row, known) -> list[str]:
    """Names of ``known`` points that the patterns of a row stand for."""
    return [name for name in known if any(fnmatch.fnmatchcase(name, p) for p in row.points)]


def faults(plan: dict[str, list[Row]], there: dict[str, list[str]], known) -> list[str]:
    """What a plan claims that is not so, and which tests it leaves out, one sentence each; there:
    ``tests()``, known: names of coverage points."""
    said = []
    for stage, rows in plan.items():
        named = {test for row in rows for test in row.tests}
        for row in rows:
            where = f"tb/{stage}/testplan.toml, {row.feature}"
            said += [f"{where}: there is no test {test}" for test in row.tests
                     if test not in there.get(stage, ())]
            said += [f"{where}: there is no coverage point {pattern}" for pattern in row.points
                     if not fnmatch.filter(known, pattern)]
        said += [f"tb/{stage}: {test} belongs to no row of its testplan.toml"
                 for test in there.get(stage, ()) if test not in named]
        twice = [row.feature for row in rows]
        said += [f"tb/{stage}/testplan.toml: two rows of {name}"
                 for name in sorted({n for n in twice if twice.count(n) > 1})]
    used = {name for rows in plan.values() for row in rows for name in points_of(row, known)}
    return said + [f"coverage point {name} belongs to no row" for name in known if name not in used]


def closed(row: Row, known, reached: dict[str, list[int]]) -> bool:
    """Whether a row has points and all bins of them were reached; reached: point -> [reached bins,
    bins]."""
    names = points_of(row, known)
    return bool(names) and all(reached.get(n, [0, 1])[0] == reached.get(n, [0, 1])[1]
                               for n in names)


def figures(path: Path = FIGURES) -> dict[str, list[int]]:
    """Point -> [reached bins, bins] of the committed run, empty where there is none."""
    return json.loads(path.read_text()).get("functional", {}).get("points", {}) \
        if path.is_file() else {}


def state_of(row: Row, known, reached) -> str:
    """V1, V2 or V3."""
    return "V3" if row.state == "V2" and closed(row, known, reached) else row.state


def page(plan: dict[str, list[Row]], known, reached: dict[str, list[int]]) -> str:
    """docs/testplan.md."""
    count = {s: sum(state_of(r, known, reached) == s for rows in plan.values() for r in rows)
             for s in (*STATES, "V3")}
    number = sum(len({t for r in rows for t in r.tests}) for rows in plan.values())
    lines = [
        "<!-- SPDX-License-Identifier: Apache-2.0 -->", "# Test plan", "",
        "Written by scripts/plan.py from `tb/<stage>/testplan.toml`: change these files, not this "
        "page.", "",
        "States: V1, the tests exist and compare, and the last column says what is missing; V2, "
        "whatever the documents promise of the feature is compared; V3, besides, every bin of its "
        "coverage points was reached by the tests ([verification.md](verification.md)). Behind a "
        "point: bins reached, of all.", "",
        f"{sum(map(len, plan.values()))} rows, {number} tests; " + ", ".join(
            f"{count[s]} in {s}" for s in count) + ".", ""]
    for stage, rows in plan.items():
        lines += [f"## {stage}", "",
                  "| feature | stimulus | check | tests | coverage points | state |",
                  "|---|---|---|---|---|---|"]
        for row in rows:
            names = points_of(row, known)
            bins = [sum(reached.get(n, [0, len(known[n])])[i] for n in names) for i in (0, 1)]
            shown = ", ".join(f"`{p}`" for p in row.points)
            shown += f": {bins[0]} of {bins[1]}" if names else ""
            state = state_of(row, known, reached) + (f"; missing: {row.missing}" if row.missing
                                                     else "")
            cells = [*(_cell(getattr(row, t)) for t in TEXTS),
                     ", ".join(f"`{t}`" for t in row.tests), shown, _cell(state)]
            lines.append("| " + " | ".join(cells) + " |")
        lines.append("")
    return "\n".join(lines)


def _cell(text: str) -> str:
    """Text of a cell, in which words that Markdown would read are code."""
    words = []
    for word in text.split():
        stem = word.rstrip(",;:.")
        code = set(stem) & set("*_^<>[]\\$~|")
        words.append(f"`{stem}`{word[len(stem):]}" if code else word)
    return " ".join(words)
