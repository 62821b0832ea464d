# SPDX-License-Identifier: Apache-2.0
"""Rules of the Python sources that ruff does not know."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("models", "scripts", "tb")

MOST = 8
"""Positional arguments of a call."""


def crowded(text: str) -> list[int]:
    """Lines of the calls with more positional arguments; ``*values`` is one."""
    return [node.lineno for node in ast.walk(ast.parse(text))
            if isinstance(node, ast.Call) and len(node.args) > MOST]


def test_long_calls_name_their_arguments():
    files = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]
    found = [f"{path.relative_to(ROOT)}:{line}" for path in files
             for line in crowded(path.read_text())]
    assert len(files) > 200 and not found, f"more than {MOST} by position: {', '.join(found)}"


@pytest.mark.parametrize("call, lines", [
    ("f(1, 2, 3, 4, 5, 6, 7, 8)", []), ("f(1, 2, 3, 4, 5, 6, 7, 8, 9)", [1]),
    ("f(1, 2, 3, 4, 5, 6, 7, 8, x=9)", []), ("f(*values, 9)", [])])
def test_what_is_crowded(call, lines):
    assert crowded(call) == lines
