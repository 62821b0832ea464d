# SPDX-License-Identifier: Apache-2.0
"""Functional coverage: the bins that all simulations of a run reached, merged, and their page.

Each simulation leaves its bins in its results folder (tb/common/coverage.py). Only those count
whose tests all passed. A bin belongs to the layer *system* where a simulation of the whole machine
reached it, else to *units*.
"""

from __future__ import annotations

import html
import json
import re
from dataclasses import dataclass, field
from pathlib import Path

from scripts.verify import html_page
from tb.common import coverage
from tb.runner import read_results

LAYERS = ("system", "units")


@dataclass
class Bin:
    """A bin of a point: hits, and the folders of the simulations that reached it, by their
    names."""

    hits: int = 0
    by: list[str] = field(default_factory=list)

    @property
    def layer(self) -> str:
        """Where it is reached, empty where it is not."""
        if not self.by:
            return ""
        return LAYERS[0] if any(name.startswith("system") for name in self.by) else LAYERS[1]


@dataclass
class Merged:
    """Point -> bin -> Bin of all points that there are; ``faults``: what no run may say, one
    sentence each; simulations: how many passed."""

    points: dict[str, dict[str, Bin]]
    faults: list[str]
    simulations: int

    def missed(self) -> list[tuple[str, str]]:
        """(point, bin) that no simulation reached."""
        return [(name, b) for name, bins in self.points.items() for b, of in bins.items()
                if not of.by]

    def figures(self) -> dict[str, list[int]]:
        """Point -> [reached bins, bins]."""
        return {name: [sum(bool(b.by) for b in bins.values()), len(bins)]
                for name, bins in self.points.items()}

    def layers(self) -> dict[str, int]:
        """Layer -> bins that it reaches; a bin of both counts as one of the first."""
        found = [b.layer for bins in self.points.values() for b in bins.values()]
        return {layer: found.count(layer) for layer in LAYERS}


def merge(results: Path) -> Merged:
    """All simulations below the folder ``results``."""
    points = {name: {b: Bin() for b in bins} for name, bins in coverage.points().items()}
    faults, simulations = [], 0
    for folder in sorted(p for p in results.glob("*") if p.is_dir()):
        tests, failed, _ = read_results(folder / "results.xml")
        if not tests or failed:
            continue
        simulations += 1
        for name, bins in coverage.read(folder).items():
            for bin_, count in bins.items():
                if (name, bin_) in coverage.EXCLUDED:
                    faults.append(f"{name}, {bin_}: excluded, and reached by {folder.name}")
                elif bin_ not in points.get(name, ()):
                    faults.append(f"{name}, {bin_}: no such bin, reached by {folder.name}")
                else:
                    points[name][bin_].hits += count
                    points[name][bin_].by.append(folder.name)
    return Merged(points, faults, simulations)


def table(merged: Merged, about: str) -> dict:
    """What is committed of a run; ``about`` says what ran."""
    figures = merged.figures()
    return {"about": about, "simulations": merged.simulations,
            "bins": sum(n for _, n in figures.values()),
            "reached": sum(n for n, _ in figures.values()), "layers": merged.layers(),
            "excluded": [[*where, why] for where, why in coverage.EXCLUDED.items()],
            "points": figures}


def summary(merged: Merged) -> str:
    """One line."""
    figures, layers = merged.figures(), merged.layers()
    reached, bins = (sum(f[i] for f in figures.values()) for i in (0, 1))
    return (f"functional: {reached} of {bins} bins of {len(figures)} points, {layers['system']} "
            f"by the whole machine, {layers['units']} by units alone; {merged.simulations} "
            f"simulations")


def write_page(merged: Merged, path: Path, about: str) -> None:
    """A page of all points and bins, each bin with its hits and a simulation that reached it."""
    parts = [f"<p>{html.escape(about)} {html.escape(summary(merged))}.</p>"]
    if coverage.EXCLUDED:
        parts.append("<h2>Excluded</h2><ul>" + "".join(
            f"<li>{html.escape(f'{name}, {bin_}: {why}')}</li>"
            for (name, bin_), why in coverage.EXCLUDED.items()) + "</ul>")
    for name, bins in merged.points.items():
        rows = "".join(
            f"<tr{'' if b.by else ' class=not'}><td>{html.escape(bin_)}</td>"
            f"<td class=n>{b.hits:,}</td><td class=n>{len(b.by)}</td><td>{b.layer}</td>"
            f"<td>{html.escape(b.by[0] if b.by else '')}</td></tr>" for bin_, b in bins.items())
        parts.append(f"<h2 id=\"{html.escape(name)}\">{html.escape(name)}</h2><table><tr><th>bin"
                     f"</th><th>hits</th><th>simulations</th><th>layer</th><th>first of them</th>"
                     f"</tr>{rows}</table>")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(html_page.page("Functional coverage", "".join(parts)))


def keep(path: Path, half: str, data: dict) -> None:
    """Put a half of the figures, "functional" or "code", into the committed file."""
    whole = json.loads(path.read_text()) if path.is_file() else {}
    text = json.dumps({**whole, half: data}, indent=1, sort_keys=True)
    # A list of numbers is one line.
    text = re.sub(r"\[[\s\d,]+\]", lambda found: " ".join(found[0].split()), text)
    path.write_text(text.replace("[ ", "[").replace(" ]", "]") + "\n")
