# SPDX-License-Identifier: Apache-2.0
"""Verdicts on mutants: found by trials, kept, judged.

A verdict is a dict: module, name (of the mutant), level (who found it: "build", "unit", "system";
"survived"), test (its node ID) and message, cpu_s (processor seconds of its trials), unit and
system: hashes of what the tests of either level depended on.
"""

from __future__ import annotations

import json
import shutil
import time
import tomllib
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from scripts.verify import depends, mutants, trials
from tb import runner

ROOT = runner.ROOT
FOLDER = runner.BUILD / "mutate"
LOG = FOLDER / "verdicts.jsonl"
DATA = ROOT / "docs" / "mutation.json"
BUGS = ROOT / "docs" / "bugs.json"
REASONS = Path(__file__).with_name("equivalent.toml")

A_MODULE = 12
"""Mutants of a module."""

LEVELS = ("unit", "system")
"""Who looks for a mutant, one after the other."""

LEAST = 0.98
"""Least share of the mutants of a stage, equivalent ones aside, that tests find."""

TOP = "sofa"

LONGEST_S = 100
"""Seconds of a simulation without a fault, at most, for the limit of planted bugs."""


def stage_of(module: str) -> str:
    """Folder of rtl/ in which a module lies; "top" for the machine itself."""
    folder = runner.find_module(module).parent.name
    return "top" if folder == "rtl" else folder


@dataclass(frozen=True)
class Bench:
    """What looks for the mutants of a module: ``tests`` (node IDs) of the smallest top level
    ``top`` with a bench, "" where there is none, then ``machine``, those of the whole machine."""

    module: str
    top: str
    tests: tuple[str, ...]
    machine: tuple[str, ...]

    def of(self, level: str) -> tuple[str, ...]:
        """The tests of a level."""
        return self.tests if level == "unit" else self.machine

    @cached_property
    def unit(self) -> str:
        """Hash of what ``tests`` depend on."""
        return depends.key(self.top, self.tests) if self.top else ""

    @cached_property
    def system(self) -> str:
        """Hash of what ``machine`` depends on."""
        return depends.key(TOP, self.machine)


class Store:
    """Verdicts of earlier runs, the latest of each mutant; those of this one go to ``log``."""

    def __init__(self, log: Path = LOG):
        self.log, self.kept, self.fresh = log, {}, set()
        if DATA.is_file():
            for module, entry in json.loads(DATA.read_text())["modules"].items():
                for verdict in entry["mutants"]:
                    self.kept[module, verdict["name"]] = {
                        "module": module, "unit": entry["unit"], "system": entry["system"],
                        **verdict}
        for path in {LOG, log}:
            self.read(path)

    def read(self, path: Path | None = None) -> None:
        """Take over what other processes have written."""
        path = path or self.log
        if path.is_file():
            for line in path.read_text().splitlines():
                verdict = json.loads(line)
                self.kept[verdict["module"], verdict["name"]] = verdict
                if path == self.log:
                    self.fresh.add(verdict["name"])

    def add(self, verdict: dict) -> None:
        """Keep it, here and in the file."""
        self.kept[verdict["module"], verdict["name"]] = verdict
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with open(self.log, "a") as handle:
            handle.write(json.dumps(verdict) + "\n")

    def get(self, mutant: mutants.Mutant) -> dict:
        """The verdict on a mutant, {} without one."""
        return self.kept.get((mutant.module, mutant.name), {})

    def holds(self, mutant: mutants.Mutant, bench: Bench) -> bool:
        """Whether there is a verdict, and all that it depends on is as it was."""
        verdict = self.get(mutant)
        return bool(verdict) and bench.unit == verdict["unit"] and (
            verdict["level"] in ("build", "unit")
            or verdict["level"] != "pending" and bench.system == verdict["system"])

    def pending(self, mutant: mutants.Mutant, bench: Bench) -> bool:
        """Whether the unit tests, as they are, have not found the mutant."""
        verdict = self.get(mutant)
        return bench.unit == verdict.get("unit") and verdict["level"] not in ("build", "unit")


def _replacement(mutant: mutants.Mutant, text: str) -> Path:
    """A file with this mutant alone."""
    path = FOLDER / mutant.module / mutant.name / f"{mutant.module}.v"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(mutants.single(text, mutant))
    return path


def hunt(bench: Bench, chosen: list[mutants.Mutant], todo: list[mutants.Mutant], store: Store,
         levels: tuple[str, ...] = LEVELS) -> None:
    """Try the mutants ``todo``, each until a test finds it, and keep the verdicts in ``store``. All
    ``chosen`` are in one build, but for those alone. Without the second of
    ``levels`` what the first does not find is "pending". Raises trials.TrialError where a test does
    not pass without a fault."""
    module = bench.module
    folder = FOLDER / module
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    # Builds go when the module is done, but for the objects which all of them share.
    shared = runner.BUILD / "sim" / ".runtime"
    shared.mkdir(parents=True, exist_ok=True)
    runner.SIM_DIR = folder / "sim"
    runner.SIM_DIR.mkdir()
    (runner.SIM_DIR / ".runtime").symlink_to(shared)
    text = runner.find_module(module).read_text()
    together = [m for m in chosen if not m.alone]
    combined = folder / f"{module}.v"
    combined.write_text(mutants.combined(text, together))
    files = {m.name: (combined, together.index(m) + 1) if m in together
             else (_replacement(m, text), 0) for m in todo}
    alive = {m.name: m for m in todo}
    spent = dict.fromkeys(alive, 0.0)

    def keep(name, level, test="", message=""):
        store.add({"module": module, "name": name, "level": level, "test": test,
                   "message": message, "cpu_s": round(spent[name], 1), "unit": bench.unit,
                   "system": bench.system})

    likely = Counter(store.get(m).get("test") for m in todo)
    for level in levels:
        tried = not bench.top and level == "unit"
        waiting = list(alive)
        if level == "unit":
            waiting = [n for n in alive if not store.pending(alive[n], bench)]
        for test in sorted(bench.of(level), key=lambda t: -likely[t]):
            waiting = [n for n in waiting if n in alive]
            if not waiting:
                tried = True
                break
            control = trials.trial(test, folder / "control", combined)
            if control.failed:
                raise trials.TrialError(f"{test} fails without a fault: {control.message}")
            if not control.simulations:
                continue
            tried = True
            for name in waiting:
                file, number = files[name]
                outcome = trials.trial(test, folder / "trial", file, number, control.sim_s)
                spent[name] += outcome.cpu_s
                if outcome.failed:
                    refused = outcome.message.startswith("tb.runner.BuildError")
                    keep(alive.pop(name).name, "build" if refused else level, test,
                         outcome.message)
        if not tried:
            raise trials.TrialError(f"no test simulates {module}")
        for name in list(alive):
            keep(name, "pending" if level == "unit" else "survived")
    shutil.rmtree(folder)


def reasons() -> dict[str, dict]:
    """Name of a mutant -> module, change, verdict ("equivalent" or "open") and reason."""
    return {entry["name"]: entry for entry in tomllib.loads(REASONS.read_text()).get("mutant", [])}


def verdict_of(mutant: mutants.Mutant, store: Store, known: dict[str, dict]) -> str:
    """"unit", "system", "build", "pending", "survived", "equivalent"; "" for one that was not
    tried."""
    level = store.get(mutant).get("level", "")
    equivalent = known.get(mutant.name, {}).get("verdict") == "equivalent"
    return "equivalent" if equivalent and level in ("survived", "pending") else level


def stale_reasons(chosen: dict[str, list[mutants.Mutant]]) -> list[str]:
    """Sentences of these modules for mutants that there are not."""
    return [f"{REASONS.name}: {entry['module']} has no mutant {name}"
            for name, entry in reasons().items() if entry["module"] in chosen
            and name not in {m.name for m in chosen[entry["module"]]}]


def complaints(chosen: dict[str, list[mutants.Mutant]], store: Store) -> list[str]:
    """What is wrong with the verdicts on the mutants of some modules: survivors without a sentence,
    sentences for what was found, stages below LEAST."""
    known, found = reasons(), []
    counts: dict[str, Counter] = {}
    for module, these in chosen.items():
        for mutant in these:
            verdict = verdict_of(mutant, store, known)
            counts.setdefault(stage_of(module), Counter())[verdict] += 1
            if verdict in ("survived", "pending") and mutant.name not in known:
                found.append(f"{verdict} without a sentence: {mutant.name} {mutant}")
            elif verdict in ("build", "unit", "system") and mutant.name in known:
                found.append(f"{REASONS.name}: {mutant.name} is found by "
                             f"{store.get(mutant)['test']}")
    for stage, count in counts.items():
        if (share := score(count)) < LEAST:
            found.append(f"{stage}: {100 * share:.1f} % found, at least {100 * LEAST:.0f} % wanted")
    return found


def score(count: Counter) -> float:
    """Share of mutants found, of those tried that are not equivalent; 1 without any."""
    caught = count["build"] + count["unit"] + count["system"]
    tried = caught + count["survived"] + count["pending"]
    return caught / tried if tried else 1.0


def table(chosen: dict[str, list[mutants.Mutant]], store: Store) -> list[list[str]]:
    """Rows of what was found, a stage each and the sum."""
    known = reasons()
    counts: dict[str, Counter] = {}
    for module, these in chosen.items():
        for mutant in these:
            for row in (stage_of(module), "all"):
                count = counts.setdefault(row, Counter())
                count[verdict_of(mutant, store, known)] += 1
                count["modules"] += mutant is these[0]
                count["cpu"] += store.get(mutant).get("cpu_s", 0)
    rows = [["stage", "modules", "mutants", "found by unit tests", "by system tests", "at build",
             "equivalent", "survive", "not tried", "score", "CPU s a mutant"]]
    for stage, count in sorted(counts.items(), key=lambda x: (x[0] == "all", x[0])):
        survive = count["survived"] + count["pending"]
        found = count["unit"] + count["system"] + count["build"]
        tried = found + count["equivalent"] + survive
        rows.append([stage, *(str(n) for n in (
            count["modules"], tried + count[""], count["unit"], count["system"], count["build"],
            count["equivalent"], survive, count[""])), f"{100 * score(count):.1f} %",
            f"{count['cpu'] / tried:.1f}" if tried else "-"])
    return rows


def write(chosen: dict[str, list[mutants.Mutant]], store: Store, benches: dict[str, Bench],
          seed: int) -> None:
    """Write docs/mutation.json: the verdicts that hold, by module."""
    known, modules = reasons(), {}
    for module, these in sorted(chosen.items()):
        bench = benches[module]
        entries = []
        for mutant in these:
            if not store.holds(mutant, bench):
                continue
            verdict = store.get(mutant)
            entries.append({"name": mutant.name, "kind": mutant.kind,
                            "change": str(mutant).partition(f"{mutant.kind}: ")[2][:160],
                            "level": verdict["level"], "test": verdict["test"],
                            "cpu_s": verdict["cpu_s"]}
                           | ({"reason": known[mutant.name]["reason"]} if mutant.name in known
                              else {}))
        modules[module] = {"stage": stage_of(module), "bench": bench.top or TOP,
                           "unit": bench.unit, "system": bench.system, "mutants": entries}
    head = json.dumps({"seed": seed, "table": table(chosen, store)}, indent=1)[:-2]
    lines = [f' {json.dumps(m)}: {{"stage": {json.dumps(e["stage"])}, "bench": '
             f'{json.dumps(e["bench"])}, "unit": "{e["unit"]}", "system": "{e["system"]}",'
             '\n  "mutants": [' + ",".join("\n   " + json.dumps(x) for x in e["mutants"]) + "]}"
             for m, e in modules.items()]
    DATA.write_text(head + ',\n "modules": {\n' + ",\n".join(lines) + "}}\n")


def bugs() -> list[dict]:
    """The ledger: what was wrong, how it was found, module, test (node ID), and, where the text is
    still there, old and new: the lines as they are and with the bug."""
    return json.loads(BUGS.read_text())["bugs"]


def bugs_unnoticed(seconds: float | None = None) -> list[str]:
    """Plant each bug of the ledger again and run its test; those that it does not find.
    ``seconds``: begin no other after so many."""
    begin, found = time.monotonic(), []
    runner.SIM_DIR = runner.BUILD / "sim"
    for number, bug in enumerate(bugs()):
        if "old" not in bug or (seconds and time.monotonic() - begin > seconds):
            continue
        module = bug["module"]
        text = runner.find_module(module).read_text()
        if text.count(bug["old"]) != 1:
            found.append(f"{BUGS.name}: {module} has {text.count(bug['old'])} times: {bug['old']}")
            continue
        path = FOLDER / f"bug{number}" / f"{module}.v"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.replace(bug["old"], bug["new"]))
        outcome = trials.trial(bug["test"], path.with_name("trial"), path, 0, LONGEST_S)
        print(f"bug in {module}: {'found' if outcome.failed else 'NOT FOUND'} by {bug['test']}, "
              f"{outcome.cpu_s:.0f} s", flush=True)
        if not outcome.failed:
            found.append(f"{module}: {bug['test']} does not find: {bug['what']}")
    return found
