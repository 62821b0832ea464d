# SPDX-License-Identifier: Apache-2.0
"""One HTML file without network access, scripts or other files: text, tables and inline SVG.

It follows the colour scheme of the reader, and wide tables scroll inside their own frame, so that
the page itself never does so sideways.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape

from .tables import Table

CSS = """
:root { color-scheme: light dark; --back: #ffffff; --text: #1b1f24; --soft: #57606a;
  --line: #d0d7de; --card: #f6f8fa; --link: #0a58a8; }
@media (prefers-color-scheme: dark) {
  :root { --back: #14171c; --text: #e3e7ec; --soft: #9aa5b1; --line: #363d47; --card: #1c2128;
    --link: #79b4f2; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem; max-width: 74rem; background: var(--back);
  color: var(--text); font: 16px/1.55 system-ui, sans-serif; overflow-wrap: break-word; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: .5rem 0; }
h2 { font-size: 1.25rem; margin: 2.2rem 0 .6rem; padding-top: .4rem;
  border-top: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 0 0 .5rem; }
p, li { max-width: 46rem; }
a { color: var(--link); }
nav { background: var(--card); border: 1px solid var(--line); border-radius: .5rem;
  padding: .6rem 1rem; }
nav ol { margin: .2rem 0; padding-left: 1.4rem; columns: 18rem; }
.figures { display: grid; gap: 1rem;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 30rem), 1fr)); }
figure { margin: 0; padding: .8rem; border: 1px solid var(--line); border-radius: .5rem;
  min-width: 0; }
figure svg { display: block; width: 100%; max-width: 36rem; height: auto; margin: 0 auto; }
figure svg text { fill: currentColor; }
figcaption { font-size: .9rem; color: var(--soft); margin-top: .5rem; }
.scroll { overflow-x: auto; margin: .6rem 0; }
table { border-collapse: collapse; font-size: .88rem; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .6rem; border-bottom: 1px solid var(--line); text-align: right;
  white-space: nowrap; }
th:first-child, td:first-child { text-align: left; position: sticky; left: 0;
  background: var(--back); }
@media (max-width: 40rem) { th:first-child, td:first-child { white-space: normal;
  min-width: 7rem; } }
td.text { text-align: left; white-space: normal; min-width: 12rem; }
thead th { background: var(--card); vertical-align: bottom; }
thead th:first-child { background: var(--card); }
code, pre { font: .85em ui-monospace, monospace; }
pre { background: var(--card); padding: .6rem; border-radius: .4rem; overflow-x: auto; }
details { font-size: .9rem; margin-top: .4rem; }
.note { border-left: 3px solid #d97706; padding-left: .8rem; }
"""


LONG = 24
"""Characters of a cell that is a text rather than a number."""


def table_html(table: Table) -> str:
    """A table in a frame of its own that scrolls sideways; long cells are set as text."""
    header, rows = table
    head = "".join(f"<th scope='col'>{escape(c)}</th>" for c in header)
    body = "".join("<tr>" + "".join(
        f"<td{' class=text' if i and len(c) > LONG else ''}>{escape(c)}</td>"
        for i, c in enumerate(row)) + "</tr>" for row in rows)
    return (f"<div class='scroll' tabindex='0'><table><thead><tr>{head}</tr></thead>"
            f"<tbody>{body}</tbody></table></div>")


@dataclass(frozen=True)
class Plot:
    """A figure: its SVG, what it shows, the command that makes it, and the numbers behind it as
    (name, table, settings) of each curve."""

    name: str
    title: str
    caption: str
    svg: str
    command: str
    data: tuple[tuple[str, Table, str], ...] = ()

    def html(self) -> str:
        """The figure with its caption, command and numbers."""
        parts = [f"<figure id='{self.name}'><h3>{escape(self.title)}</h3>{self.svg}",
                 f"<figcaption>{escape(self.caption)}</figcaption>",
                 f"<details><summary>Command, settings and numbers</summary>"
                 f"<pre>{escape(self.command)}</pre>"]
        for name, table, settings in self.data:
            parts.append(f"<p>{escape(name)}</p>{table_html(table)}")
            if settings:
                parts.append(f"<pre>{escape(settings)}</pre>")
        return "".join([*parts, "</details></figure>"])


@dataclass
class Page:
    """Sections in order; each has an anchor and stands in the table of contents."""

    title: str
    lead: str
    sections: list[tuple[str, str, str]] = field(default_factory=list)

    def add(self, anchor: str, heading: str, *parts: str | Table | Plot) -> None:
        """A section of HTML pieces, tables and figures; figures in a row stand side by side."""
        body, plots = [], []

        def flush() -> None:
            if plots:
                body.append(f"<div class='figures'>{''.join(plots)}</div>")
                plots.clear()

        for part in parts:
            if isinstance(part, Plot):
                plots.append(part.html())
                continue
            flush()
            body.append(table_html(part) if isinstance(part, tuple) else part)
        flush()
        self.sections.append((anchor, heading, "".join(body)))

    def html(self) -> str:
        """The whole file."""
        contents = "".join(f"<li><a href='#{a}'>{escape(h)}</a></li>" for a, h, _ in self.sections)
        body = "".join(f"<section id='{a}'><h2>{escape(h)}</h2>{b}</section>"
                       for a, h, b in self.sections)
        return (
            "<!DOCTYPE html>\n<html lang='en'><head><meta charset='utf-8'>"
            "<meta name='viewport' content='width=device-width, initial-scale=1'>"
            f"<title>{escape(self.title)}</title><link rel='icon' href='data:,'>"
            f"<style>{CSS}</style></head><body><h1>{escape(self.title)}</h1>{self.lead}"
            f"<nav aria-label='Contents'><strong>Contents</strong><ol>{contents}</ol></nav>"
            f"{body}</body></html>\n")
