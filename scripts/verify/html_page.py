# SPDX-License-Identifier: Apache-2.0
"""The frame of the pages that checks of the test environment write: a file each, no script."""

from __future__ import annotations

import html

STYLE = """
body { font: 15px/1.4 sans-serif; margin: 1em auto; max-width: 75em; padding: 0 1em; }
table { border-collapse: collapse; }
td, th { padding: .15em .6em; text-align: left; vertical-align: top; }
td.n { text-align: right; } td.code { font-family: monospace; white-space: pre; }
tr:nth-child(even) { background: #f4f4f4; }
.met { background: #cfe8cf; } .not { background: #f6c1b8; } .out { background: #e4e4e4; }
.scroll { overflow-x: auto; } nav a { margin-right: 1em; display: inline-block; }
h2 { font-size: 1.1em; margin: 1.2em 0 .2em; } summary { cursor: pointer; }
ul.missed { margin: .1em 0 .4em 2em; padding: 0; white-space: normal; color: #8a1f11; }
"""
"""Classes: n a number, code a line of source, met and not of a goal, out of what is excluded,
scroll around what may be wider than the page."""


def page(title: str, body: str) -> str:
    """A whole page; ``title`` is text, ``body`` HTML."""
    return ("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
            "<meta name=\"viewport\" content=\"width=device-width\">"
            f"<title>{html.escape(title)}</title><style>{STYLE}</style></head>\n"
            f"<body><h1>{html.escape(title)}</h1>\n{body}\n</body></html>\n")
