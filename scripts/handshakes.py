# SPDX-License-Identifier: Apache-2.0
"""Timing diagrams of the handshakes, drawn from a simulation.

    .venv/bin/python scripts/handshakes.py [--check]

runs the job of docs/integration.md (tb/system/page_job.py) at configuration tiny in Icarus and
writes docs/timing/<picture>.svg; with --check it only compares, and ends with exit code 1 where a
committed picture differs. Where a picture leaves out cycles it has a dashed line.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from scripts import entry  # noqa: E402 (needs the repository on the search path)

entry.install()

from models.spec.configs import CONFIGS  # noqa: E402
from tb import runner  # noqa: E402
from tb.system import page_job  # noqa: E402

ROOT = runner.ROOT
FOLDER = ROOT / "docs" / "timing"
NAMES, CELL, LANE, HEAD = 150, 40, 26, 26
"""Pixels: names on the left, a cycle, a net, the line of cycle numbers."""

EDGE = 4
"""Pixels of a slope."""


def holds(trace: dict[str, list], condition: str, t: int) -> bool:
    """Whether a condition of a picture holds in cycle ``t``."""
    pairs = (term.partition("=") for term in condition.split("&"))
    return all(trace[net][t] == int(value or 1) for net, _, value in pairs)


def chosen(trace: dict[str, list], shows) -> list[int]:
    """Cycles that a picture shows."""
    length = min(len(values) for values in trace.values())
    cycles = set()
    for condition, after in shows:
        first = next((t for t in range(length) if holds(trace, condition, t)), None)
        if first is None:
            raise ValueError(f"{condition} never holds in the run")
        cycles |= set(range(max(first - 1, 0), min(first + after + 1, length)))
    return sorted(cycles)


def number(value: int) -> str:
    """A value as it stands in a bus: decimal below 10, else hexadecimal."""
    return str(value) if value < 10 else f"{value:X}h"


def lane_of_control(values: list[int], x0: int, y: int) -> str:
    """Path of a net of one bit."""
    level = [y + 5 + (0 if v else LANE - 12) for v in values]
    points = [(x0, level[0])]
    for i, (this, before) in enumerate(zip(level[1:], level, strict=False), 1):
        if this != before:
            points += [(x0 + i * CELL, before), (x0 + i * CELL + EDGE, this)]
    points.append((x0 + len(values) * CELL, level[-1]))
    return f'<path d="M{" L".join(f"{x} {p}" for x, p in points)}" class="w"/>'


def lane_of_bus(values: list[int | None], breaks: set[int], x0: int, y: int) -> list[str]:
    """Boxes of a bus; None: it means nothing there."""
    parts, start = [], 0
    top, bottom, middle = y + 5, y + LANE - 7, y + LANE // 2 - 1
    for i in range(1, len(values) + 1):
        if i < len(values) and values[i] == values[start] and i not in breaks:
            continue
        left, right = x0 + start * CELL, x0 + i * CELL
        if values[start] is None:
            parts.append(f'<path d="M{left} {middle}H{right}" class="n"/>')
        else:
            parts.append(f'<path d="M{left} {middle}L{left + EDGE} {top}H{right - EDGE}L{right} '
                         f'{middle}L{right - EDGE} {bottom}H{left + EDGE}Z" class="b"/>')
            text = number(values[start])
            small = ' style="font-size:9px"' if len(text) > 5 and right - left == CELL else ""
            parts.append(f'<text x="{(left + right) // 2}" y="{middle + 4}" class="v"{small}>'
                         f"{text}</text>")
        start = i
    return parts


def draw(trace: dict[str, list], figure: page_job.Figure) -> str:
    """The SVG of a picture."""
    names = figure.nets
    cycles = chosen(trace, figure.shows)
    breaks = {i for i in range(1, len(cycles)) if cycles[i] != cycles[i - 1] + 1}
    width = NAMES + CELL * len(cycles) + 10
    height = HEAD + LANE * len(names) + 8
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" font-family="Helvetica, Arial, sans-serif" font-size="12">',
        "<!-- SPDX-License-Identifier: Apache-2.0. Written by scripts/handshakes.py. -->",
        "<style>.w{fill:none;stroke:#1c4f8a;stroke-width:1.6}.b{fill:#e8eef8;stroke:#1c4f8a}"
        ".n{stroke:#999;stroke-dasharray:2 3}.g{stroke:#ddd}.k{stroke:#c33;stroke-dasharray:4 3}"
        ".v{text-anchor:middle;font-size:11px}.c{text-anchor:middle;fill:#666;font-size:10px}"
        "</style>",
        f'<rect width="{width}" height="{height}" fill="#fff"/>']
    for i, cycle in enumerate(cycles):
        x = NAMES + i * CELL
        style = "k" if i in breaks else "g"
        parts.append(f'<path d="M{x} {HEAD - 8}V{height - 6}" class="{style}"/>')
        parts.append(f'<text x="{x + CELL // 2}" y="{HEAD - 10}" class="c">'
                     f'{cycle - cycles[0]}</text>')
    for lane, name in enumerate(names):
        y = HEAD + lane * LANE
        net, _, valid = name.partition(":")
        parts.append(f'<text x="8" y="{y + LANE // 2 + 3}">{net}</text>')
        values = [trace[net][t] for t in cycles]
        if valid:
            known = [v if holds(trace, valid, t) else None
                     for v, t in zip(values, cycles, strict=True)]
            parts += lane_of_bus(known, breaks, NAMES, y)
        else:
            parts.append(lane_of_control(values, NAMES, y))
    return "\n".join([*parts, "</svg>"]) + "\n"


def pictures(folder: Path) -> dict[Path, str]:
    """Every picture with its text, from the folder of a run in Icarus."""
    trace = json.loads((folder / "handshakes.json").read_text())
    return {FOLDER / f"{name}.svg": draw(trace, figure)
            for name, figure in page_job.FIGURES.items()}


def main() -> int:
    """Write the pictures, or compare them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare only")
    check = parser.parse_args().check
    if not runner.have("iverilog"):
        print("handshakes: Icarus Verilog is not installed, and the pictures are drawn from it")
        return 1
    texts = pictures(runner.run("sofa", page_job.__name__, CONFIGS["tiny"], "icarus"))
    stale = [p for p, text in texts.items() if not p.is_file() or p.read_text() != text]
    for path in stale:
        if check:
            print(f"{path.relative_to(ROOT)} differs: run scripts/handshakes.py")
        else:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text := texts[path])
            print(f"{path.relative_to(ROOT)}: {len(text)} bytes")
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
