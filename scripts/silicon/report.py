# SPDX-License-Identifier: Apache-2.0
"""Tables and budgets from the results of a configuration (scripts/silicon/machine.py).

What is kept of each configuration in docs/silicon.json are its figures without the long lists of
paths; docs/silicon.md quotes tables of it, and the one of tiny is its budget.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from models.lab.report.record import MARK
from models.lab.report.tables import Table, markdown
from scripts.silicon.recipe import LIMIT_FO4, ROOT

SAVED = ROOT / "docs" / "silicon.json"
DOCUMENT = ROOT / "docs" / "silicon.md"
BUDGET = "tiny"
"""The configuration whose figures are budgets."""
GROWTH = 0.03
"""How much of a figure a block may gain."""
QUIET = 20.0
"""Paths up to this length are not held to a budget, FO4."""
FAIR = 0.614
"""Area in 28 nm for one in Nangate45: that of NAND2, .49 over .798 um2."""
KINDS = {"reg-reg": "register to register", "in": "from an input", "out": "to an output",
         "in-out": "through"}
SHOWN = 40
"""Paths in the document."""


# ---- Figures ---------------------------------------------------------------------------------


def total(block: dict) -> float:
    """Area of all instances of a block, um2."""
    return block["area"] * block["instances"]


def stage(block: dict) -> str:
    """The stage to which a block belongs: the second word of its module's name."""
    words = block["module"].split("_")
    if len(words) == 1:
        return "top"
    return "fetch" if words[1] == "axi" else words[1]


def fo4(got: dict, path: dict | None) -> float:
    """Length of a path in FO4; 0 for none."""
    return path["ns"] / got["fo4_ns"] if path else 0.0


def longest(block: dict, kind: str = "reg-reg") -> dict | None:
    """The worst path of a kind."""
    paths = block["paths"].get(kind)
    return paths[0] if paths else None


def kept(got: dict) -> dict:
    """A result with the worst path of each kind only."""
    blocks = {n: {**b, "paths": {k: v[:1] for k, v in b["paths"].items()}}
              for n, b in got["blocks"].items()}
    return {**got, "blocks": blocks}


def stages(got: dict) -> dict[str, float]:
    """Area by stage, um2, largest first."""
    sums: Counter[str] = Counter()
    for block in got["blocks"].values():
        sums[stage(block)] += total(block)
    return dict(sums.most_common())


def memories(got: dict) -> dict[tuple[int, int], Counter]:
    """(words, bits) -> how many in which block, all instances."""
    shapes: dict[tuple[int, int], Counter] = {}
    for name, block in got["blocks"].items():
        for words, bits, count in block["memories"]:
            shapes.setdefault((words, bits), Counter())[name] += count * block["instances"]
    return shapes


def kib(got: dict) -> float:
    """Memory of the machine, KiB."""
    return sum(w * b * sum(c.values()) for (w, b), c in memories(got).items()) / 8192


def name_of(path: dict) -> str:
    """From and to of a path, with the places in the source."""
    def end(which):
        src = path[f"{which}_src"].split("/")[-1]
        return f"`{path[which]}`" + (f" ({src})" if src else "")
    return f"{end('start')} -> {end('end')}"


# ---- What is printed -------------------------------------------------------------------------


def text(got: dict) -> str:
    """The tables that are printed."""
    lines = [f"{'block':18} {'inst':>5} {'um2 each':>10} {'um2 all':>10} {'regs':>6} "
             f"{'reg-reg':>7} {'in':>5} {'out':>5} {'thru':>5}"]
    for name, block in sorted(got["blocks"].items(), key=lambda b: -total(b[1])):
        paths = "".join(f"{f'{fo4(got, p):.1f}' if p else '-':>{w}} " for p, w in (
            (longest(block, k), 8 if k == "reg-reg" else 5) for k in KINDS))
        lines.append(f"{name:18} {block['instances']:5} {block['area']:10.0f} {total(block):10.0f} "
                     f"{block['registers']:6} {paths.rstrip()}")
    lines += ["", f"paths from register to register over {LIMIT_FO4:g} FO4, the worst of each "
                  "block:"]
    for name, block in sorted(got["blocks"].items(), key=lambda b: -fo4(got, longest(b[1]))):
        path = longest(block)
        if path and fo4(got, path) > LIMIT_FO4:
            lines.append(f"  {fo4(got, path):5.1f}  {name}: {name_of(path).replace('`', '')}")
    area = sum(map(total, got["blocks"].values()))
    lines += ["", "memories: " + ", ".join(f"{sum(c.values())} x {w} x {b}" for (w, b), c in
                                           sorted(memories(got).items()))]
    lines += ["stages, um2: " + ", ".join(f"{n} {a:.0f}" for n, a in stages(got).items()),
              f"logic {area:.0f} um2, {area * FAIR / 1e6:.3f} mm2 at 28 nm; memories "
              f"{kib(got):.1f} KiB; FO4 {got['fo4_ns'] * 1000:.1f} ps"]
    return "\n".join(lines)


# ---- Budgets ---------------------------------------------------------------------------------


def over(got: dict, saved: dict) -> list[str]:
    """What exceeds the budget: block, figure, limit; sentences."""
    faults = []
    for name, block in got["blocks"].items():
        budget = saved["blocks"].get(name)
        if budget is None:
            faults.append(f"{name}: no budget")
            continue
        limit = budget["area"] * (1 + GROWTH)
        if block["area"] > limit:
            faults.append(f"{name}: area {block['area']:.0f} um2, limit {limit:.0f}")
        for kind, words in KINDS.items():
            limit = max(QUIET, fo4(saved, longest(budget, kind)) * (1 + GROWTH))
            found = fo4(got, longest(block, kind))
            if found > limit:
                faults.append(f"{name}: path {words} {found:.1f} FO4, limit {limit:.1f}")
    return faults


def load(path: Path = SAVED) -> dict[str, dict]:
    """The saved figures by configuration; none where there is no file."""
    return json.loads(path.read_text()) if path.exists() else {}


def save(got: dict, path: Path = SAVED) -> None:
    """Put the figures of a configuration into the file, a line for each block."""
    every = {**load(path), got["config"]: kept(got)}
    lines = []
    for name in sorted(every):
        head = {k: v for k, v in every[name].items() if k != "blocks"}
        blocks = ",\n".join(f"  {json.dumps(n)}: {json.dumps(b)}"
                            for n, b in every[name]["blocks"].items())
        lines.append(f'{json.dumps(name)}: {json.dumps(head)[:-1]}, "blocks": {{\n{blocks}}}}}')
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n")


# ---- Tables of the document ------------------------------------------------------------------


def configs(every: dict[str, dict]) -> list[str]:
    """The configurations that the document shows, of those that are there; the last is the one of
    tables that have only one."""
    return [n for n in ("tiny", "lean", "paper") if n in every]


def stage_table(every: dict[str, dict]) -> Table:
    """Area by stage at every configuration, um2 and mm2 at 28 nm."""
    names = configs(every)
    sums = {n: stages(every[n]) for n in names}
    order = list(max(sums.values(), key=len)) if sums else []

    def cells(values):
        return [c for v in values for c in (f"{v:,.0f}", f"{v * FAIR / 1e6:.3f}")]

    rows = [[s, *cells(sums[n].get(s, 0.0) for n in names)] for s in order]
    rows.append(["logic", *cells(sum(sums[n].values()) for n in names)])
    rows.append(["memories, KiB", *(c for n in names for c in (f"{kib(every[n]):.1f}", ""))])
    return ["stage", *(f"{n}{u}" for n in names for u in (", um2", ", mm2 at 28 nm"))], rows


def block_table(every: dict[str, dict]) -> Table:
    """Every block at every configuration: instances, area of one; all together at the last."""
    names = configs(every)
    last = every[names[-1]]["blocks"]
    rows = []
    for name, block in sorted(last.items(), key=lambda b: -total(b[1])):
        row = [name]
        for n in names:
            found = every[n]["blocks"].get(name)
            row.append(f"{found['instances']} x {found['area']:,.0f}" if found else "-")
        rows.append([*row, f"{total(block):,.0f}", f"{total(block) * FAIR / 1e6:.3f}",
                     str(block["registers"] * block["instances"])])
    return ["block", *(f"{n}, um2" for n in names), f"{names[-1]}, um2", "mm2 at 28 nm",
            "flip-flops"], rows


def path_table(every: dict[str, dict]) -> Table:
    """The longest path of every block at the last configuration, worst first."""
    got = every[configs(every)[-1]]
    rows = []
    blocks = sorted(got["blocks"].items(), key=lambda b: -fo4(got, longest(b[1])))
    for name, block in blocks[:SHOWN]:
        path = longest(block)
        if path:
            rows.append([name, f"{fo4(got, path):.1f}", f"{path['ns']:.3f}", name_of(path)])
    return ["block", "FO4", "ns", "from and to"], rows


def memory_table(every: dict[str, dict]) -> Table:
    """Shapes of memories at the last configuration, largest first."""
    got = every[configs(every)[-1]]
    rows = []
    for (words, bits), where in sorted(memories(got).items(),
                                       key=lambda s: -s[0][0] * s[0][1] * sum(s[1].values())):
        count = sum(where.values())
        rows.append([str(words), str(bits), str(count), f"{words * bits * count / 8192:.1f}",
                     ", ".join(where), "yes" if words >= 16 and bits <= 1152 else "no"])
    return ["words", "bits", "count", "KiB", "in", "shape of a compiler"], rows


TABLES = {"silicon-stages": stage_table, "silicon-blocks": block_table,
          "silicon-paths": path_table, "silicon-memories": memory_table}
"""Name in the document -> its table."""


def document(page: str, every: dict[str, dict]) -> str:
    """A page with the tables of this file made of the saved figures."""
    return MARK.sub(lambda m: f"{m[1]}{markdown(TABLES[m[2]](every))}\n{m[4]}"
                    if m[2] in TABLES else m[0], page)


def write_document(page: Path = DOCUMENT, saved: Path = SAVED) -> bool:
    """Write the tables of the page anew; whether it changed."""
    old = page.read_text()
    new = document(old, load(saved))
    page.write_text(new)
    return new != old
