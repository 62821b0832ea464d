# SPDX-License-Identifier: Apache-2.0
"""The picture of scripts/bench.py: cycles of every job as a bar, the bound of each resource a mark
on it."""

from __future__ import annotations

from html import escape

WIDTH, LEFT, LINE = 1000, 330, 20
COLOURS = {"dlzs": "#f28e2b", "sads": "#59a14f", "units": "#4e79a7", "read": "#e15759",
           "write": "#b07aa1", "kvgen": "#9c755f"}


def bars(rows: list[tuple[str, int, dict[str, int]]], title: str) -> str:
    """SVG of (job, cycles, resource -> least cycles); bars are of one length, so that short jobs
    show as much as long ones."""
    height = 70 + LINE * len(rows)
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
           'font-family="sans-serif" font-size="11">',
           f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
           f'<text x="4" y="16" font-size="13">{escape(title)}</text>']
    room = WIDTH - LEFT - 90
    for i, (name, cycles, bounds) in enumerate(rows):
        top = 28 + i * LINE
        out.append(f'<g><title>{escape(name)}: {cycles:,} cycles; '
                   + ", ".join(f"{n} {b:,}" for n, b in bounds.items()) + "</title>"
                   f'<text x="{LEFT - 6}" y="{top + 12}" text-anchor="end">{escape(name)}</text>'
                   f'<rect x="{LEFT}" y="{top}" width="{room}" height="{LINE - 5}" '
                   'fill="#dddddd"/>'
                   f'<text x="{LEFT + room + 6}" y="{top + 12}">{cycles:,}</text>')
        out += [f'<rect x="{LEFT + room * least / cycles - 1.5:.1f}" y="{top - 1}" width="3" '
                f'height="{LINE - 3}" fill="{COLOURS[what]}"/>'
                for what, least in bounds.items() if least]
        out.append("</g>")
    top, x = 40 + LINE * len(rows), LEFT
    for name, colour in COLOURS.items():
        out.append(f'<rect x="{x}" y="{top}" width="9" height="9" fill="{colour}"/>'
                   f'<text x="{x + 12}" y="{top + 9}">{name}</text>')
        x += 24 + 7 * len(name)
    out.append(f'<text x="{LEFT}" y="{top + 24}" fill="#555">grey: cycles of the job, all bars of '
               "one length; marks: least cycles that each resource alone allows</text>")
    return "\n".join([*out, "</svg>", ""])
