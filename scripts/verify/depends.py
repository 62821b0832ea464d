# SPDX-License-Identifier: Apache-2.0
"""Hashes of what a test's verdict depends on: the Verilog below its top level, and the Python that
its file imports. Comments, docstrings and layout count for nothing."""

from __future__ import annotations

import ast
import functools
import hashlib
import re
from pathlib import Path

from models.lab.measure.store import absolute
from scripts.filelists import headers, sources
from tb.runner import ROOT

# They start simulations; what a test finds does not depend on them.
MACHINERY = ("tb/runner.py", "conftest.py")
_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.S)
_FORMAL = re.compile(r"^`ifdef FORMAL$.*?^`endif$", re.M | re.S)


def sha(*parts: str) -> str:
    """A short hash of texts."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


@functools.cache
def verilog(path: Path) -> str:
    """Hash of a Verilog file or header without comments, properties and layout."""
    return sha(*_COMMENT.sub("", _FORMAL.sub("", path.read_text())).split())


@functools.cache
def design(top: str) -> str:
    """Hash of all Verilog of a top level."""
    files = sources(top)
    return sha(*(f"{f.name} {verilog(f)}" for f in (*files, *headers(files))))


@functools.cache
def _module(path: Path) -> tuple[str, tuple[Path, ...]]:
    """Hash of a Python file without comments and docstrings, and the project's files it imports."""
    tree = ast.parse(path.read_text())
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            absolute(node, path.relative_to(ROOT).parent.parts)
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and isinstance(body[0], ast.Expr) and isinstance(
                body[0].value, ast.Constant) and isinstance(body[0].value.value, str):
            body[0].value.value = ""
    found = [ROOT / (name.replace(".", "/") + ".py") for name in sorted(names)]
    return sha(ast.dump(tree)), tuple(f for f in found if f.is_file())


def files(path: Path) -> dict[str, str]:
    """The files of the project that one imports, itself among them: name -> hash."""
    found, todo = {}, [path]
    while todo:
        file = todo.pop()
        name = file.relative_to(ROOT).as_posix()
        if name not in found and name not in MACHINERY:
            found[name], more = _module(file)
            todo += more
    return found


@functools.cache
def python(path: Path) -> str:
    """Hash of a test file and of all of the project that it imports."""
    return sha(*(f"{name} {value}" for name, value in sorted(files(path).items())))


def key(top: str, tests: tuple[str, ...]) -> str:
    """Hash of what the tests (node IDs) of a top level depend on."""
    files = sorted({test.split("::")[0] for test in tests})
    return sha(design(top), *sorted(tests), *(python(ROOT / f) for f in files))
