# SPDX-License-Identifier: Apache-2.0
"""Names of the states of the design's state machines, taken from its Verilog.

A state machine is a register called ``*state_reg``; its states are the module's constants that the
source assigns to it or compares it with.
"""

from __future__ import annotations

import functools
import re

from tb.runner import ROOT

_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.S)
_CONSTANT = re.compile(r"\b(\w+)\s*=\s*\d+'d(\d+)\s*[,;]")


@functools.cache
def state_names() -> dict[str, dict[str, dict[int, str]]]:
    """Module -> state register -> value -> name, of every module that has a state machine."""
    found = {}
    for path in sorted((ROOT / "rtl").rglob("*.v")):
        text = _COMMENT.sub("", path.read_text())
        values = {name: int(value) for constants in re.findall(r"\blocalparam\b[^;]*;", text)
                  for name, value in _CONSTANT.findall(constants)}
        machines = {}
        for register in sorted(set(re.findall(r"\breg\b[^;]*?\b(\w*state_reg)\b", text))):
            stem = register.removesuffix("_reg")
            uses = re.findall(rf"\b{stem}_(?:next|reg)\s*(?:<?=|==|!=)\s*([^;]*)", text)
            names = {n for use in uses for n in re.findall(r"\w+", use) if n in values}
            machines[register] = {values[n]: n for n in names}
        if machines:
            found[path.stem] = machines
    return found
