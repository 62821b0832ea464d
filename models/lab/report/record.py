# SPDX-License-Identifier: Apache-2.0
"""Results as small data that is committed, and the tables that the documents quote from it.

    save(got, RESULTS)            # scripts/report.py --save
    write_documents()             # scripts/report.py --documents

A document has a table between two comments, `<!-- table: NAME -->` and `<!-- end of table -->`;
NAME is one of TABLES. What stands between them is written anew, the rest is left alone.

The file holds, for every series, net and length, its points: see models.lab.measure.curves.Point.
Floats have five digits. Not in it: the keep ratio of each layer, and settings beyond what their
labels say.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path

from ..measure.curves import LOSSES, Point
from ..measure.grid import DENSE, FIRST, FLOOR, FROM_X, LM, OURS
from ..measure.store import ROOT, StoreError, write_whole
from . import published
from .tables import (
    SYSTEMS,
    Gathered,
    Table,
    keep_table,
    length_table,
    markdown,
    reach,
    same_tensors,
    setting_table,
)

RESULTS = ROOT / "models" / "data" / "lab" / "results.json"
DOCUMENTS = (ROOT / "docs" / "results.md", ROOT / "docs" / "second.md", ROOT / "docs" / "lab.md")
"""Documents that quote tables."""

MARK = re.compile(r"(<!-- table: ([\w-]+) -->\n)(.*?)(<!-- end of table -->)", re.S)

TITLES = {
    OURS: f"__{OURS}__", "a3": "A3", "spatten": "SpAtten", "elsa": "ELSA",
    "ibert": "I-BERT softmax", "sanger": "Sanger", "isscc22": "ISSCC 2022", "dota": "DOTA",
    "energon": "Energon", "flash": "FlashAttention-2", "dtatrans": "DTATrans", "fact": "FACT",
    "twilight": "Twilight", "xattention": "XAttention", "pade": "PADE"}
"""Series -> name in the documents, where it is another one."""

MAIN = (LM, 1024)
"""Net and length of the tables that have one."""


# ---- Data ------------------------------------------------------------------------------------


def short(value: object) -> object:
    """Plain JSON with floats of five digits."""
    if isinstance(value, float):
        return float(f"{value:.5g}")
    if isinstance(value, dict):
        return {k: short(v) for k, v in value.items()}
    return [short(v) for v in value] if isinstance(value, list | tuple) else value


def save(got: Gathered, path: Path) -> None:
    """Write the points of a grid, a line each; StoreError where there are none."""
    blocks = []
    for (net, length), curves in got.curves.items():
        for name, points in curves.items():
            if not points:
                continue
            head = {"series": name, "group": got.groups[name], "net": net, "length": length}
            lines = [json.dumps(short({
                "label": p.label, "loss": p.loss, "error": p.error, "keep": p.keep,
                "recall": p.recall, "mass": p.mass, "cost": p.cost, "bytes": p.bytes,
                "extra": p.extra, "texts": p.texts}), separators=(",", ":")) for p in points]
            blocks.append(json.dumps(head)[:-1] + ', "points": [\n' + ",\n".join(lines) + "]}")
    if not blocks:
        raise StoreError(f"{path} is not written, there are no results: measure them with "
                         f"scripts/evaluate.py")
    text = '{"curves": [\n' + ",\n".join(blocks) + "\n]}\n"
    write_whole(path, lambda file: file.write(text.encode()))


def load(path: Path = RESULTS) -> Gathered:
    """What ``save`` wrote; StoreError for a file that is not that."""
    got = Gathered()
    try:
        for curve in json.loads(path.read_text(encoding="utf-8"))["curves"]:
            got.groups.setdefault(curve["series"], curve["group"])
            points = [Point(layers=(), **{**p, "texts": {
                text: tuple(three) for text, three in p["texts"].items()}})
                for p in curve["points"]]
            got.curves.setdefault((curve["net"], curve["length"]), {})[curve["series"]] = points
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{path} is not a record of results ({type(error).__name__}: {error}): "
                         f"write it with scripts/report.py --save") from None
    return got


# ---- Tables ----------------------------------------------------------------------------------


def titled(table: Table) -> Table:
    """The first column with the names that the documents use."""
    header, rows = table
    return header, [[TITLES.get(row[0], row[0]), *row[1:]] for row in rows]


def sorted_keeps(got: Gathered) -> Table:
    """Keep ratio at each loss of every rule and system at MAIN, fewest pairs at +1 % first."""
    def place(row: list[str]) -> float:
        found = [reach(got.curves[MAIN][row[0]], limit).keep for limit in (1.0, max(LOSSES))]
        return found[0] or 1 + (found[1] or 1)

    header, rows = keep_table(got, groups=("rule", "peer"), lengths=(MAIN[1],))
    return titled((header, sorted(rows, key=place)))


def rivals(got: Gathered) -> Table:
    """The same at the other lengths, for the series that have them."""
    lengths = [n for net, n in got.wheres(LM) if n != MAIN[1] and got.group((net, n), *SYSTEMS)]
    return titled(keep_table(got, groups=("rule", "peer"), lengths=lengths))


def systems(got: Gathered) -> Table:
    """Every system on the same tensors, beside the paper's Table II."""
    names = [OURS, FLOOR, FROM_X, FIRST, DENSE, *(
        n for n in got.group(MAIN, "peer", "reference") if n != DENSE)]
    table = same_tensors(got, MAIN, names, DENSE)
    drop = [table[0].index("recall"), table[0].index("setting")]
    paper = {p.peer or FIRST: (f"{p.loss:g} %", f"{p.saved:g} %") for p in published.TABLE_II}

    def chosen(row: list[str]) -> list[str]:
        return [cell for i, cell in enumerate(row) if i not in drop]

    rows = [[*chosen(row), *paper.get(row[0], ("-", "-"))] for row in table[1]]
    return titled(([*chosen(table[0]), "paper: loss", "paper: saved"], rows))


TABLES: dict[str, Callable[[Gathered], Table]] = {
    "keep": sorted_keeps,
    "rivals": rivals,
    "systems": systems,
    "options": lambda got: setting_table(got, MAIN, ("option",), OURS),
    "widths": lambda got: setting_table(got, MAIN, ("width",), OURS),
    "lengths": length_table,
}
"""Name in a document -> the table made of a record."""


# ---- Documents -------------------------------------------------------------------------------


def rendered(text: str, got: Gathered) -> str:
    """A document with the tables of a record; ValueError for a name that is not in TABLES."""
    def table(match: re.Match) -> str:
        if match[2] not in TABLES:
            raise ValueError(f"table {match[2]!r}, legal: {', '.join(TABLES)}")
        return f"{match[1]}{markdown(TABLES[match[2]](got))}\n{match[4]}"

    return MARK.sub(table, text)


def write_documents(results: Path = RESULTS, documents: Iterable[Path] = DOCUMENTS) -> list[Path]:
    """Write the tables of the documents anew; those that changed."""
    got, changed = load(results), []
    for path in documents:
        text = path.read_text(encoding="utf-8")
        fresh = rendered(text, got)
        if fresh != text:
            write_whole(path, lambda file, fresh=fresh: file.write(fresh.encode()))
            changed.append(path)
    return changed
