# SPDX-License-Identifier: Apache-2.0
"""Tables of the results of scripts/power.py. docs/power.json keeps them by configuration;
docs/silicon.md quotes tables of the one of DOCUMENTED. pJ at 28 nm."""

from __future__ import annotations

import json
from pathlib import Path

from models.lab.report.record import MARK
from models.lab.report.tables import Table, markdown
from scripts.silicon.energy import CLOCK_GHZ
from scripts.silicon.recipe import ROOT
from scripts.silicon.report import DOCUMENT, stage

SAVED = ROOT / "docs" / "power.json"
DOCUMENTED = "lean"
PARTS = ("gates", "registers", "clock", "memory", "leak")
NAMES = {"sum": "sums select", "sort": "sort cores select", "dense": "dense"}


def total(block: dict) -> float:
    """Energy of all instances of a block."""
    return sum(block[part] for part in PARTS)


def whole(result: dict) -> float:
    """Energy of a job."""
    return sum(map(total, result["blocks"].values()))


def stages(result: dict) -> dict[str, dict[str, float]]:
    """Energy of every stage by part."""
    found: dict[str, dict[str, float]] = {}
    for block in result["blocks"].values():
        parts = found.setdefault(stage(block), dict.fromkeys(PARTS, 0.0))
        for part in PARTS:
            parts[part] += block[part]
    return found


def text(got: dict) -> str:
    """What is printed."""
    lines = []
    for way, result in got["ways"].items():
        lines += ["", f"{NAMES[way]}, nJ of all instances:", f"{'block':16} {'inst':>5} "
                  + " ".join(f"{p:>10}" for p in PARTS) + f" {'glitches':>9} {'wrong':>6}"]
        for name, block in sorted(result["blocks"].items(), key=lambda b: -total(b[1])):
            lines.append(f"{name:16} {block['instances']:5} " + " ".join(
                f"{block[p] / 1000:10.1f}" for p in PARTS)
                + f" {block['glitches']:9.0%} {block['wrong']:6.2f}")
        energy = whole(result)
        lines.append(f"{result['cycles']} cycles, {result['kept']} of {result['visible']} pairs: "
                     f"{energy / 1e6:.2f} uJ, {energy / result['kept']:.0f} pJ a kept pair, "
                     f"{energy / result['cycles'] * CLOCK_GHZ:.0f} mW at {CLOCK_GHZ:g} GHz")
    return "\n".join(lines)


def number(value: float) -> str:
    """Three digits or so."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 1 else f"{value:.2f}"


def head_table(got: dict) -> Table:
    """Energy of the head in every way."""
    rows = []
    for way, result in got["ways"].items():
        energy = whole(result)
        rows.append([NAMES[way], f"{result['kept']:,} of {result['visible']:,}",
                     f"{result['cycles']:,}", number(energy / 1e6),
                     number(energy / result["kept"]), number(energy / result["visible"]),
                     number(energy / result["cycles"] * CLOCK_GHZ)])
    return ["way", "pairs kept", "cycles", "uJ", "pJ a kept pair", "pJ a visible pair",
            f"mW at {CLOCK_GHZ:g} GHz"], rows


def stage_table(got: dict) -> Table:
    """Energy of every stage in every way, by part."""
    rows = []
    for way, result in got["ways"].items():
        energy = whole(result)
        found = stages(result)
        for name, parts in sorted(found.items(), key=lambda s: -sum(s[1].values())):
            rows.append([NAMES[way], name, *(number(parts[p] / 1e6) for p in PARTS),
                         number(sum(parts.values()) / 1e6), f"{sum(parts.values()) / energy:.1%}"])
        every = [sum(s[p] for s in found.values()) / 1e6 for p in PARTS]
        rows.append([NAMES[way], "all", *map(number, every), number(sum(every)), ""])
    return ["way", "stage", *PARTS, "uJ", "share"], rows


def block_table(got: dict) -> Table:
    """Energy of every block in every way, all instances."""
    ways = got["ways"]
    first = next(iter(ways.values()))["blocks"]
    order = sorted(first, key=lambda n: -sum(total(r["blocks"][n]) for r in ways.values()))
    rows = [[name, str(first[name]["instances"]),
             *(number(total(r["blocks"][name]) / 1000) for r in ways.values()),
             *(number(total(r["blocks"][name]) / r["cycles"] / first[name]["instances"])
               for r in ways.values()),
             *(f"{r['blocks'][name]['glitches']:.0%}" for r in ways.values())] for name in order]
    return ["block", "instances", *(f"nJ, {NAMES[w]}" for w in ways),
            *(f"pJ a cycle of one, {NAMES[w]}" for w in ways),
            *(f"glitches, {NAMES[w]}" for w in ways)], rows


TABLES = {"power-head": head_table, "power-stages": stage_table, "power-blocks": block_table}
"""Name in the document -> its table."""


def load(path: Path = SAVED) -> dict[str, dict]:
    """The saved results by configuration."""
    return json.loads(path.read_text()) if path.exists() else {}


def rounded(value):
    """Numbers with six digits."""
    if isinstance(value, dict):
        return {k: rounded(v) for k, v in value.items()}
    return float(f"{value:.6g}") if isinstance(value, float) else value


def save(got: dict, path: Path = SAVED) -> None:
    """Keep the results of a configuration."""
    path.write_text(json.dumps({**load(path), got["config"]: rounded(got)}, indent=1) + "\n")


def document(page: str, every: dict[str, dict]) -> str:
    """A page with the tables of this file made of the saved results."""
    return MARK.sub(lambda m: f"{m[1]}{markdown(TABLES[m[2]](every[DOCUMENTED]))}\n{m[4]}"
                    if m[2] in TABLES else m[0], page)


def write_document(page: Path = DOCUMENT, saved: Path = SAVED) -> None:
    """Write the tables of the page anew."""
    page.write_text(document(page.read_text(), load(saved)))
