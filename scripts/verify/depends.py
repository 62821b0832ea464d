# SPDX-License-Identifier: Apache-2.0
"""Hashes of what a test's verdict depends on: the Verilog below its top level, and the Python that
its file imports. Comments, docstrings and layout count for nothing."""

from __future__ import annotations

import functools
import hashlib
import re
from pathlib import Path

from models.lab.measure.store import ROOT, parsed
from models.lab.measure.store import sources as modules
from scripts.filelists import headers, sources

# It starts simulations; what a test finds does not depend on it.
MACHINERY = ("tb.runner",)
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


def files(path: Path) -> dict[str, str]:
    """The files of the project that one imports, itself among them: name -> program as text."""
    module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    return {file.relative_to(ROOT).as_posix(): parsed(file)[0]
            for file in modules(module, MACHINERY).values()}


@functools.cache
def python(path: Path) -> str:
    """Hash of a test file and of all of the project that it imports."""
    return sha(*(f"{name} {value}" for name, value in sorted(files(path).items())))


def key(top: str, tests: tuple[str, ...]) -> str:
    """Hash of what the tests (node IDs) of a top level depend on."""
    files = sorted({test.split("::")[0] for test in tests})
    return sha(design(top), *sorted(tests), *(python(ROOT / f) for f in files))
