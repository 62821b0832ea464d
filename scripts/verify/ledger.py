# SPDX-License-Identifier: Apache-2.0
"""Every bug of the RTL that was mended, planted again before the test that must find it.

A bug of docs/bugs.json is a dict: what was wrong, how it was found, the commit that mended it,
module, test (its node ID), and ``old`` and ``new``, text of the module as it is and with the bug;
or ``gone``: why it cannot be planted.
"""

from __future__ import annotations

import json
import time

from scripts.verify import trials
from scripts.verify.verdicts import FOLDER
from tb import runner

BUGS = runner.ROOT / "docs" / "bugs.json"

LONGEST_S = 100
"""Seconds of a simulation, at most, for the limit of a planted bug."""


def bugs() -> list[dict]:
    """The bugs, the newest last."""
    return json.loads(BUGS.read_text())["bugs"]


def unnoticed(seconds: float | None = None) -> list[str]:
    """What is wrong with those that can be planted: not found, or not planted. ``seconds``: begin
    no other after so many."""
    begin, found = time.monotonic(), []
    for number, bug in enumerate(bugs()):
        if "old" not in bug or (seconds and time.monotonic() - begin > seconds):
            continue
        module, test = bug["module"], bug["test"]
        text = runner.find_module(module).read_text()
        if text.count(bug["old"]) != 1:
            found.append(f"{BUGS.name}: {module} has {text.count(bug['old'])} times: {bug['old']}")
            continue
        path = FOLDER / f"bug{number}" / f"{module}.v"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.replace(bug["old"], bug["new"]))
        outcome = trials.trial(test, path.with_name("trial"), [path], 0, LONGEST_S, "both")
        if outcome.message.startswith("tb.runner.BuildError"):
            end = "is not built"
        else:
            end = "found" if outcome.failed else "NOT FOUND"
        print(f"bug in {module}: {end}, {test}, {outcome.cpu_s:.0f} s", flush=True)
        if end != "found":
            found.append(f"bug in {module}: {end} by {test}: {bug['what']}")
    return found
