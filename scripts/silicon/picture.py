# SPDX-License-Identifier: Apache-2.0
"""The picture of a result: area by block as a treemap, longest paths as bars with the limit."""

from __future__ import annotations

from html import escape

from scripts.silicon.recipe import LIMIT_FO4
from scripts.silicon.report import fo4, longest, stage, total

WIDTH, MAP, LINE, LEFT = 1000, 560, 18, 150
COLOURS = ("#4e79a7", "#f28e2b", "#59a14f", "#e15759", "#76b7b2", "#edc948", "#b07aa1", "#9c755f",
           "#bab0ac", "#8cd17d", "#d37295")


def squares(values: list[float], x: float, y: float, w: float, h: float) -> list[tuple]:
    """Rectangles (x, y, w, h) of areas in proportion to values, largest first, near to squares."""
    if not values:
        return []
    scale = w * h / sum(values)

    def worst(row):
        side, area = min(w, h), sum(row) * scale
        return max(max(side * side * v * scale / area ** 2, area ** 2 / (side * side * v * scale))
                   for v in row)

    row = [values[0]]
    while len(row) < len(values) and worst(row + [values[len(row)]]) <= worst(row):
        row.append(values[len(row)])
    part = sum(row) * scale
    rest = values[len(row):]
    found, at = [], 0.0
    thick = part / min(w, h)
    for value in row:
        long = value * scale / thick
        found.append((x, y + at, thick, long) if w >= h else (x + at, y, long, thick))
        at += long
    return found + (squares(rest, x + thick, y, w - thick, h) if w >= h else
                    squares(rest, x, y + thick, w, h - thick))


def picture(got: dict) -> str:
    """The SVG of a result."""
    blocks = {n: b for n, b in got["blocks"].items() if total(b) > 0}
    colour = {s: COLOURS[i % len(COLOURS)] for i, s in
              enumerate(dict.fromkeys(stage(b) for b in blocks.values()))}
    order = sorted(blocks, key=lambda n: -total(blocks[n]))
    area = sum(map(total, blocks.values()))
    bars = sorted((n for n in blocks if longest(blocks[n])),
                  key=lambda n: -fo4(got, longest(blocks[n])))
    height = MAP + 90 + LINE * len(bars)
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
           'font-family="sans-serif" font-size="11">',
           f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
           f'<text x="4" y="16" font-size="14">{got["config"]}: {area:,.0f} um2 of cells by block '
           "(all instances), Nangate45</text>"]
    boxes = squares([total(blocks[n]) for n in order], 0, 24, WIDTH, MAP)
    for name, (x, y, w, h) in zip(order, boxes, strict=True):
        block = blocks[name]
        title = f"{name}: {block['instances']} x {block['area']:,.0f} um2"
        out.append(f'<g><title>{escape(title)}</title><rect x="{x:.1f}" y="{y:.1f}" '
                   f'width="{w:.1f}" height="{h:.1f}" fill="{colour[stage(block)]}" '
                   'stroke="white"/>')
        if w > 6.2 * len(name) and h > 14:
            out.append(f'<text x="{x + 4:.1f}" y="{y + 13:.1f}" fill="black">{name}</text>')
            if h > 28 and w > 80:
                out.append(f'<text x="{x + 4:.1f}" y="{y + 26:.1f}">{total(block) / area:.1%} '
                           "</text>")
        out.append("</g>")
    top = MAP + 66
    longer = max([fo4(got, longest(blocks[n])) for n in bars] + [LIMIT_FO4])
    unit = (WIDTH - LEFT - 60) / longer
    out.append(f'<text x="4" y="{top - 12}" font-size="14">longest path from register to register, '
               f"FO4 of {got['fo4_ns'] * 1000:.1f} ps</text>")
    for i, name in enumerate(bars):
        y, long = top + i * LINE, fo4(got, longest(blocks[name]))
        out.append(f'<text x="{LEFT - 6}" y="{y + 12}" text-anchor="end">{name}</text>'
                   f'<rect x="{LEFT}" y="{y + 2}" width="{long * unit:.1f}" height="{LINE - 5}" '
                   f'fill="{colour[stage(blocks[name])]}"/>'
                   f'<text x="{LEFT + long * unit + 4:.1f}" y="{y + 12}">{long:.1f}</text>')
    at = LEFT + LIMIT_FO4 * unit
    out.append(f'<line x1="{at:.1f}" y1="{top - 4}" x2="{at:.1f}" y2="{height - 20}" '
               f'stroke="black" stroke-dasharray="4 3"/><text x="{at + 3:.1f}" '
               f'y="{height - 8}">limit {LIMIT_FO4:g}</text></svg>')
    return "\n".join(out) + "\n"
