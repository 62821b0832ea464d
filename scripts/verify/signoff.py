# SPDX-License-Identifier: Apache-2.0
"""How good the verification is, from the data that its targets keep: one page and one table.

The test plan (tb/<stage>/testplan.toml), docs/coverage.json, docs/mutation.json, docs/proofs.json,
docs/soak.json and docs/bugs.json are read, and build/results/test.xml of the last `make test` where
it is there. A figure stands beside its goal; one that is missing is shown as missing.
"""

from __future__ import annotations

import html
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from markdown_it import MarkdownIt

from scripts.verify import code_coverage, html_page, soak_results, verdicts

ROOT = Path(__file__).resolve().parents[2]
MUTANTS = 1000
SOAK_ITEMS = {"tiny and small": 10_000, "paper": 200}
"""Goals: mutants tried, random items without a mismatch."""


@dataclass(frozen=True)
class Line:
    """A line of the table: what, its figure, its goal, whether it is met."""

    what: str
    figure: str
    goal: str
    met: bool


@dataclass(frozen=True)
class Section:
    """A part of the page: its lines of the table, and a table of its own with a sentence above."""

    name: str
    title: str
    about: str
    lines: list[Line]
    head: list[str]
    rows: list[list[str]]


def _load(root: Path, name: str) -> dict:
    path = root / "docs" / f"{name}.json"
    return json.loads(path.read_text()) if path.is_file() else {}


def _percent(part: float, whole: float) -> float:
    return 100.0 * part / whole if whole else 0.0


def tests(root: Path) -> Section:
    """The last run of `make test` in this folder."""
    path = root / "build" / "results" / "test.xml"
    counts: Counter = Counter()
    if path.is_file():
        for case in ElementTree.parse(path).getroot().iter("testcase"):
            stage = case.get("classname", "").rsplit(".", 1)[0].replace(".", "/")
            bad = case.find("failure") is not None or case.find("error") is not None
            kind = "failed" if bad else "skipped" if case.find("skipped") is not None else "passed"
            counts[stage, kind] += 1
    rows = [[stage, *(str(counts[stage, k]) for k in ("passed", "skipped", "failed"))]
            for stage in sorted({s for s, _ in counts})]
    total = {k: sum(n for (_, kind), n in counts.items() if kind == k)
             for k in ("passed", "skipped", "failed")}
    figure = ", ".join(f"{n:,} {k}" for k, n in total.items()) if counts else "not run here"
    return Section("tests", "Tests", "The last `make test` in this folder, by folder.",
                   [Line("tests of `make test`", figure, "none fails",
                         bool(counts) and not total["failed"])],
                   ["folder", "passed", "skipped", "failed"], rows)


def plan(root: Path, figures: dict[str, list[int]]) -> Section:
    """The test plan; ``figures``: point -> [reached bins, bins]."""
    from scripts.verify import testplan
    from tb.common import coverage

    known = coverage.points()
    rows, states = [], Counter()
    for stage, of in testplan.load(root).items():
        for row in of:
            state = testplan.state_of(row, known, figures)
            states[state] += 1
            rows.append([stage, row.feature, row.check, str(len(row.tests)), state, row.missing])
    return Section("plan", "Test plan", "Every row, its tests and its state (docs/testplan.md).",
                   [Line("rows of the test plan", ", ".join(f"{n} in {s}" for s, n in
                                                           sorted(states.items())),
                         "all in V2 or V3", bool(rows) and not states["V1"])],
                   ["stage", "feature", "what is compared", "tests", "state", "missing"], rows)


def functional(data: dict) -> Section:
    """Bins that the tests reach."""
    found = data.get("functional", {})
    reached, bins = found.get("reached", 0), found.get("bins", 0)
    rows = [[name, str(got), str(of)] for name, (got, of) in found.get("points", {}).items()]
    return Section("bins", "Functional coverage", found.get("about", "Not measured."),
                   [Line("bins of functional coverage", f"{reached:,} of {bins:,}", "all",
                         bool(bins) and reached == bins)], ["point", "reached", "bins"], rows)


def code(data: dict) -> Section:
    """Lines, expressions and toggles of every module."""
    found = data.get("code", {})
    rows, below, lines = [], Counter(), []
    for module in found.get("modules", []):
        cells = []
        for kind in code_coverage.KINDS:
            reached, points, out = module[kind]
            share = 100.0 if not points else _percent(reached, points)
            below[kind] += share < code_coverage.GOALS[kind]
            cells += [f"{share:.1f}", str(out or "")]
        rows.append([module["file"], *cells])
    for kind in code_coverage.KINDS:
        reached, points = (sum(m[kind][i] for m in found.get("modules", [])) for i in (0, 1))
        share = _percent(reached, points)
        lines.append(Line(f"{kind} coverage",
                          f"{share:.2f} %; {below[kind]} of {len(rows)} modules below"
                          if rows else "not measured",
                          f"{code_coverage.GOALS[kind]:.0f} % of every module",
                          bool(rows) and not below[kind]))
    head = ["module", *(f for kind in code_coverage.KINDS for f in (f"{kind}, %", "excluded"))]
    return Section("code", "Code coverage", found.get("about", "Not measured."), lines, head, rows)


def mutation(data: dict) -> Section:
    """Mutants by stage."""
    modules = data.get("modules", {})
    count = verdicts.ends(modules.values())
    caught = count["unit"] + count["system"] + count["build"]
    tried = caught + count["survived"] + count["pending"]
    rows = [[module, mutant["change"], mutant.get("verdict", mutant["level"]),
             mutant.get("reason", "")]
            for module, entry in modules.items() for mutant in entry["mutants"]
            if mutant["level"] in ("survived", "pending")]
    figure = (f"{caught:,} of {tried:,}, {100 * verdicts.score(count):.1f} %; "
              f"{count['equivalent']} equivalent, {count['']} not tried" if modules else "not run")
    return Section("mutants", "Mutation",
                   f"{count['unit']:,} found by tests of the block, {count['system']:,} by those "
                   "of the machine. Those that nothing found:",
                   [Line("mutants found", figure, f"{100 * verdicts.LEAST:.0f} % of {MUTANTS:,} "
                         "or more", tried >= MUTANTS and verdicts.score(count) >= verdicts.LEAST)],
                   ["module", "change", "verdict", "why it survives"], rows)


def proofs(data: dict) -> Section:
    """What is proved."""
    found = data.get("proofs", {})
    rows = [[name, p["mode"], str(p["asserts"]), str(p["covers"]), str(len(p["bugs"])),
             f"{p['all_seconds']:.0f}"] for name, p in sorted(found.items())]
    asserts, bugs = (sum(len(p[k]) if isinstance(p[k], list) else p[k] for p in found.values())
                     for k in ("asserts", "bugs"))
    return Section("proofs", "Proofs", "Each with a trace to every cover statement and with "
                   "planted bugs that break it. By induction (`prove`), or in all runs of a length "
                   "(`bmc`).",
                   [Line("proofs", f"{len(found)}, {asserts} properties, {bugs} planted bugs found"
                         if found else "not run", "all pass", bool(found))],
                   ["proof", "mode", "properties", "covers", "bugs", "s"], rows)


def soak(data: dict, sources: str = "") -> Section:
    """Random jobs, layers and chains; sources: hash of those that are here."""
    rows = [[config, f"{of['items']:,}", f"{of['jobs']:,}", f"{of['cycles']:,}",
             f"{of['values']:,}", str(len(of["mismatches"]))] for config, of in data.items()]
    lines = []
    for goal, least in SOAK_ITEMS.items():
        of = [data[c] for c in goal.split(" and ") if c in data]
        items = sum(d["items"] for d in of)
        wrong = sum(len(d["mismatches"]) for d in of)
        lines.append(Line(f"random items on {goal}", f"{items:,}, {wrong} wrong" if of
                          else "not run", f"{least:,}, none wrong", items >= least and not wrong))
    old = [config for config, of in data.items() if of.get("sources") != sources]
    return Section("soak", "Soak", "An item is a job, a layer or a chain of jobs from one seed; "
                   "every value is compared."
                   + (f" Of other sources than those here: {', '.join(old)}." if old else ""),
                   lines,
                   ["configuration", "items", "jobs", "cycles", "values compared", "wrong"], rows)


def bugs(data: dict) -> Section:
    """The ledger."""
    found = data.get("bugs", [])
    planted = sum("old" in bug for bug in found)
    rows = [[bug.get("module", ""), bug["what"], bug["how"], bug.get("test", "")]
            for bug in found]
    return Section("bugs", "Ledger of bugs", "What was wrong in the machine, how it was found, and "
                   "the test that finds it.",
                   [Line("bugs in the ledger", f"{len(found)}, {planted} kept as mutants", "each "
                         "with its test", bool(found) and all(bug.get("test") for bug in found))],
                   ["module", "what", "found by", "test"], rows)


def gather(root: Path = ROOT) -> list[Section]:
    """All sections, in the order of the page."""
    coverage = _load(root, "coverage")
    return [tests(root), plan(root, coverage.get("functional", {}).get("points", {})),
            functional(coverage), code(coverage), mutation(_load(root, "mutation")),
            proofs(_load(root, "proofs")),
            soak(_load(root, "soak"), soak_results.sources()), bugs(_load(root, "bugs"))]


def table(sections: Iterable[Section]) -> str:
    """The table of README.md: what is kept as data, so nothing that only this folder knows."""
    lines = ["| | figure | goal |", "|---|---|---|"]
    lines += [f"| {line.what} | {line.figure} | {line.goal}{'' if line.met else ' (missed)'} |"
              for s in sections if s.name != "tests" for line in s.lines]
    return "\n".join(lines) + "\n"


# ---------------------------------------------------------------------------------------------
# Page
# ---------------------------------------------------------------------------------------------
def _cell(text: str) -> str:
    """HTML of a cell, in which backquotes mean code."""
    parts = html.escape(text).split("`")
    return "".join(f"<code>{p}</code>" if i % 2 else p for i, p in enumerate(parts))


def _table(head: list[str], rows: list[list[str]]) -> str:
    body = "".join("<tr>" + "".join(f"<td>{_cell(c)}</td>" for c in row) + "</tr>" for row in rows)
    return ("<div class=scroll><table><tr>" + "".join(f"<th>{_cell(h)}</th>" for h in head)
            + f"</tr>{body}</table></div>")


def _limits(root: Path) -> str:
    """What the documents do not claim, as HTML."""
    found = []
    for name, title in (("results.md", "What is not claimed"), ("verification.md", "Not covered")):
        text = (root / "docs" / name).read_text()
        part = text.partition(f"## {title}\n")[2].partition("\n## ")[0]
        found.append(part)
    made = MarkdownIt().render("\n".join(found))
    # Links of the documents lead nowhere from here.
    return made.replace("<a href=", "<a data-page=")


def page(sections: list[Section], revision: str, root: Path = ROOT) -> str:
    """The page; revision: of the repository, as text."""
    rows = "".join(
        f"<tr><td><a href=#{s.name}>{_cell(line.what)}</a></td><td>{_cell(line.figure)}</td>"
        f"<td>{_cell(line.goal)}</td><td class={'met' if line.met else 'not'}>"
        f"{'met' if line.met else 'missed'}</td></tr>" for s in sections for line in s.lines)
    parts = [f"<p>Revision {html.escape(revision)}.</p>", "<nav>",
             *(f"<a href=#{s.name}>{s.title}</a>" for s in sections),
             "<a href=#limits>Known limitations</a>", "</nav>",
             "<div class=scroll><table><tr><th></th><th>figure</th><th>goal</th><th></th></tr>"
             f"{rows}</table></div>"]
    for s in sections:
        body = _table(s.head, s.rows) if s.rows else "<p>Nothing.</p>"
        if len(s.rows) > 20:
            body = f"<details><summary>{len(s.rows)} lines</summary>{body}</details>"
        parts.append(f"<h2 id={s.name}>{s.title}</h2><p>{_cell(s.about)}</p>{body}")
    parts.append(f"<h2 id=limits>Known limitations</h2>{_limits(root)}")
    return html_page.page("Sign-off of the verification", "\n".join(parts))
