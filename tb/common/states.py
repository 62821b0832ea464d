# SPDX-License-Identifier: Apache-2.0
"""Names of the states of the design's state machines, which module an instance is of, and in which
order a module names its signals, taken from its Verilog.

A state machine is a register called ``*state_reg``; its states are the module's constants that the
source assigns to it or compares it with.
"""

from __future__ import annotations

import functools
import re

from tb.runner import ROOT, find_module, library_dirs

_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.S)
_CONSTANT = re.compile(r"\b(\w+)\s*=\s*\d+'(?:d(\d+)|b([01]+))\s*[,;]")


@functools.cache
def _source(module: str) -> str:
    """The Verilog of a module without its comments."""
    return _COMMENT.sub("", find_module(module).read_text())


@functools.cache
def instances(module: str) -> dict[str, str]:
    """Instance -> module of what a module is made of, generate blocks included."""
    names = {path.stem for folder in library_dirs() for path in folder.glob("*.v")}
    parameters = r"#\s*\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\)"
    found = re.findall(rf"\b({'|'.join(names)})\b\s*(?:{parameters})?\s*(\w+)\s*\(",
                       _source(module))
    return {instance: name for name, instance in found}


def module_of(path: str) -> str:
    """Module of the innermost instance of a hierarchical name, whose first part is the top level,
    its last one a signal; generate blocks count as part of the instance they stand in."""
    module, *scopes = path.split(".")[:-1]
    for scope in scopes:
        module = instances(module).get(scope, module)
    return module


@functools.cache
def places(module: str) -> dict[str, int]:
    """Word -> where the Verilog of a module has it first, {} of what is no module."""
    try:
        text = _source(module)
    except FileNotFoundError:
        return {}
    found: dict[str, int] = {}
    for match in re.finditer(r"\w+", text):
        found.setdefault(match[0], match.start())
    return found


def is_port(path: str) -> bool:
    """Whether a hierarchical name is that of a port of its module."""
    module, leaf = module_of(path), path.rpartition(".")[2]
    return leaf in places(module) and places(module)[leaf] < _source(module).index(");")


@functools.cache
def state_names() -> dict[str, dict[str, dict[int, str]]]:
    """Module -> state register -> value -> name, of every module that has a state machine."""
    found = {}
    for path in sorted((ROOT / "rtl").rglob("*.v")):
        text = _source(path.stem)
        values = {name: int(decimal or binary, 10 if decimal else 2)
                  for constants in re.findall(r"\blocalparam\b[^;]*;", text)
                  for name, decimal, binary in _CONSTANT.findall(constants)}
        machines = {}
        for register in sorted(set(re.findall(r"\breg\b[^;]*?\b(\w*state_reg)\b", text))):
            stem = register.removesuffix("_reg")
            uses = re.findall(rf"\b{stem}_(?:next|reg)\s*(?:<?=|==|!=)\s*([^;]*)", text)
            names = {n for use in uses for n in re.findall(r"\w+", use) if n in values}
            machines[register] = {values[n]: n for n in names}
        if machines:
            found[path.stem] = machines
    return found
