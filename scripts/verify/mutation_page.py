# SPDX-License-Identifier: Apache-2.0
"""Tables of docs/mutation.json in docs/verification.md."""

from __future__ import annotations

import json

from models.lab.report.record import MARK
from models.lab.report.tables import Table, markdown
from scripts.verify import verdicts

DOCUMENT = verdicts.ROOT / "docs" / "verification.md"


def stage_table(data: dict) -> Table:
    """What was found of the mutants of each stage, and of all."""
    stages: dict[str, list] = {}
    for entry in data["modules"].values():
        stages.setdefault(entry["stage"], []).append(entry)
    rows = []
    for stage, entries in [*sorted(stages.items()), ("all", list(data["modules"].values()))]:
        count = verdicts.ends(entries)
        alive = count["survived"] + count["pending"]
        drawn = sum(e["drawn"] for e in entries)
        tried = drawn - count[""]
        rows.append([stage, *(str(n) for n in (
            len(entries), drawn, count["unit"], count["system"], count["build"],
            count["equivalent"], alive, count[""])), f"{100 * verdicts.score(count):.1f} %",
            f"{count['cpu_s'] / tried:.1f}" if tried else "-"])
    return ["stage", "modules", "mutants", "found by unit tests", "by system tests", "at the build",
            "equivalent", "survive", "not tried", "found", "CPU s each"], rows


def survivor_table(data: dict) -> Table:
    """Mutants that no test finds, with the reason."""
    rows = [[module, mutant["kind"], f"`{mutant['change'].replace('|', chr(92) + '|')}`",
             mutant.get("verdict", mutant["level"]), mutant.get("reason", "")]
            for module, entry in data["modules"].items() for mutant in entry["mutants"]
            if mutant["level"] in ("survived", "pending")]
    return ["module", "operator", "change", "verdict", "reason"], rows


TABLES = {"mutation-stages": stage_table, "mutation-survivors": survivor_table}
"""Name in the document -> its table."""


def text(table: Table) -> str:
    """The table for a terminal."""
    rows = [table[0], *table[1]]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(cell.rjust(w) for cell, w in zip(row, widths, strict=True))
                     for row in rows)


def document(page: str, data: dict) -> str:
    """A page with the tables of this file made of ``data``."""
    return MARK.sub(lambda m: f"{m[1]}{markdown(TABLES[m[2]](data))}\n{m[4]}"
                    if m[2] in TABLES else m[0], page)


def write_document() -> None:
    """Write the tables of the page anew."""
    data = json.loads(verdicts.DATA.read_text())
    DOCUMENT.write_text(document(DOCUMENT.read_text(), data))
