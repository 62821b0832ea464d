# SPDX-License-Identifier: Apache-2.0
"""Checks that every Markdown page of the repository shows what its author wrote.

Usage: pages.py [page ...]

Pages are read by the rules of CommonMark with GitHub's tables. A fault is whatever a reader would
not see as it stands in the file:
    text     a character of markup outside code (asterisk, backslash, dollar, tilde, raw HTML):
             formulas belong into code spans or fences
    emphasis written otherwise than _words_ or __words__
    table    a row with more or fewer cells than its header; a table that is not shown as one
    fence    one that is not closed, or not shown as one
    link     a relative link without its file, or without its heading
The exit code is the verdict.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections import Counter
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).resolve().parent.parent
RULES = MarkdownIt("commonmark").enable(["table", "strikethrough"])
MARKUP = {"*": "asterisk", "\\": "backslash", "$": "dollar", "~": "tilde"}
EMPHASIS = re.compile(r"[^=+*/^<>|(){}\[\]_]+")
COMMENT = re.compile(r"<!--.*?-->", re.S)


def pages() -> list[Path]:
    """All Markdown pages of the repository."""
    folders = ("docs", "models", "rtl", "scripts", "tb")
    return sorted([*ROOT.glob("*.md"), *(p for f in folders for p in (ROOT / f).rglob("*.md"))])


def slug(heading: str) -> str:
    """GitHub's anchor of a heading, given as its text."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def text_of(inline: Token) -> str:
    """The text of a heading as it is shown."""
    return "".join(t.content for t in inline.children if t.type in ("text", "code_inline"))


@cache
def anchors(page: Path) -> frozenset[str]:
    """The anchors of a page's headings; a repeated one gets -1, -2 ..."""
    tokens = RULES.parse(page.read_text())
    seen: Counter[str] = Counter()
    found = set()
    for opening, inline in zip(tokens, tokens[1:], strict=False):
        if opening.type == "heading_open":
            name = slug(text_of(inline))
            found.add(f"{name}-{seen[name]}" if seen[name] else name)
            seen[name] += 1
    return frozenset(found)


def link_fault(page: Path, target: str) -> str | None:
    """What is wrong with a link of ``page``, or None; links to other machines are not followed."""
    parts = urlsplit(target)
    if parts.scheme:
        return None
    path = (page.parent / unquote(parts.path)).resolve() if parts.path else page
    if not path.is_relative_to(ROOT if page.is_relative_to(ROOT) else page.parent):
        return f"link {target} leaves the repository"
    if not path.exists():
        return f"link {target}: no such file"
    if parts.fragment and path.suffix == ".md" and parts.fragment not in anchors(path):
        return f"link {target}: no such heading"
    return None


def inline_faults(page: Path, children: list[Token]) -> list[str]:
    """Faults of the text, emphasis and links of one paragraph, heading or cell."""
    faults, opened = [], []
    for i, token in enumerate(children):
        if token.type == "text":
            faults += [f"{name} outside code: {token.content.strip()[:60]!r}"
                       for char, name in MARKUP.items() if char in token.content]
        elif token.type == "html_inline":
            faults.append(f"markup that is not shown: {token.content!r}")
        elif token.type in ("em_open", "strong_open", "s_open"):
            opened.append(i)
        elif token.type in ("em_close", "strong_close", "s_close"):
            text = "".join(t.content for t in children[opened.pop() + 1:i])
            if token.markup not in ("_", "__") or not EMPHASIS.fullmatch(text):
                faults.append(f"emphasis by {token.markup} of {text[:60]!r}")
        elif token.type in ("link_open", "image"):
            fault = link_fault(page, token.attrs.get("href") or token.attrs.get("src") or "")
            faults += [fault] if fault else []
    return faults


def cells(row: str) -> int:
    """Number of cells in the source of a table's row: bars split it, in code spans too."""
    return len(re.split(r"(?<!\\)\|", row.strip().removeprefix("|").removesuffix("|")))


def check_page(page: Path) -> list[str]:
    """Return the faults of a page as lines "page:line: fault"."""
    text = page.read_text()
    lines = text.splitlines()
    faults: list[tuple[int, str]] = []
    line = columns = 0
    fenced: set[int] = set()
    for token in RULES.parse(text):
        if token.map:
            line = token.map[0] + 1
        if token.type == "inline":
            faults += [(line, f) for f in inline_faults(page, token.children)]
            faults += [(line + i, "a table that is not shown as one")
                       for i, part in enumerate(token.content.splitlines())
                       if part.startswith("|") and token.level == 1]
        elif token.type == "table_open":
            columns = cells(lines[line - 1])
        elif token.type == "tr_open" and cells(lines[line - 1]) != columns:
            faults.append((line, f"{cells(lines[line - 1])} cells, the header has {columns}"))
        elif token.type == "html_block" and not COMMENT.fullmatch(token.content.strip()):
            faults.append((line, f"HTML: {token.content.strip()[:60]!r}"))
        elif token.type == "fence":
            fenced.update(range(*token.map))
            if not re.fullmatch(r" *(```+|~~~+)", lines[token.map[1] - 1]):
                faults.append((line, "fence that is not closed"))
    faults += [(i + 1, "fence that is not shown as one") for i, part in enumerate(lines)
               if i not in fenced and re.match(r" *(```|~~~)", part)]
    name = page.relative_to(ROOT) if page.is_relative_to(ROOT) else page
    return [f"{name}:{number}: {fault}" for number, fault in sorted(faults)]


def main() -> int:
    """Check all pages, or those given; print the faults."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pages", nargs="*", type=Path, help="only these (default: all)")
    chosen = [p.resolve() for p in parser.parse_args().pages] or pages()
    faults = [fault for page in chosen for fault in check_page(page)]
    print("\n".join([*faults, f"pages: {len(chosen)} read, {len(faults)} faults"]))
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main())
