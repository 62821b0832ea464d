# SPDX-License-Identifier: Apache-2.0
"""Verdicts on mutants: found by trials, kept, judged.

A verdict is a dict: module, name (of the mutant), level (who found it: "build", "unit", "system";
"pending": no unit test; "survived": none at all), test (its node ID) and message, cpu_s (processor
seconds of its trials), unit and system: hashes of what the tests of either level depended on.
"""

from __future__ import annotations

import json
import shutil
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
REASONS = Path(__file__).with_name("equivalent.toml")

A_MODULE = 12
"""Mutants of a module."""

LEVELS = ("unit", "system")
"""Who looks for a mutant, one after the other."""

LEAST = 0.98
"""Least share of the mutants of a stage, equivalent ones aside, that tests find."""

TOP = "sofa"


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
    ``chosen`` are in one build, but for those alone. Without the second of ``levels`` what the
    first does not find is "pending". Raises trials.TrialError where a test does not pass without a
    fault."""
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


def stale_reasons(chosen: dict[str, list[mutants.Mutant]]) -> list[str]:
    """Sentences of these modules for mutants that there are not."""
    return [f"{REASONS.name}: {entry['module']} has no mutant {name}"
            for name, entry in reasons().items() if entry["module"] in chosen
            and name not in {m.name for m in chosen[entry["module"]]}]


def ends(modules: list[dict]) -> Counter:
    """How many mutants of some modules of gathered() ended how: found by "unit", "system" or at
    "build", "equivalent", "survived", "pending", or "" (not tried); and "cpu_s" of all of them."""
    count: Counter = Counter()
    for entry in modules:
        for mutant in entry["mutants"]:
            alive = mutant["level"] in ("survived", "pending")
            count["equivalent" if alive and mutant.get("verdict") == "equivalent"
                  else mutant["level"]] += 1
            count["cpu_s"] += mutant["cpu_s"]
        count[""] += entry["drawn"] - len(entry["mutants"])
    return count


def score(count: Counter) -> float:
    """Share of mutants found, of those tried that are not equivalent; 1 without any."""
    found = count["build"] + count["unit"] + count["system"]
    tried = found + count["survived"] + count["pending"]
    return found / tried if tried else 1.0


def complaints(data: dict) -> list[str]:
    """What is wrong with what gathered() gives: survivors without a sentence, sentences for what
    was found, stages below LEAST."""
    found, stages = [], {}
    for module, entry in data["modules"].items():
        stages.setdefault(entry["stage"], []).append(entry)
        for mutant in entry["mutants"]:
            alive = mutant["level"] in ("survived", "pending")
            if alive and "reason" not in mutant:
                found.append(f"{mutant['level']} without a sentence: {mutant['name']} {module}: "
                             f"{mutant['kind']}: {mutant['change']}")
            elif not alive and "reason" in mutant:
                found.append(f"{REASONS.name}: {mutant['name']} is found by {mutant['test']}")
    for stage, entries in sorted(stages.items()):
        share = score(ends(entries))
        if share < LEAST:
            found.append(f"{stage}: {100 * share:.1f} % found, at least {100 * LEAST:.0f} % wanted")
    return found


def gathered(chosen: dict[str, list[mutants.Mutant]], benches: dict[str, Bench], store: Store,
             seed: int) -> dict:
    """Verdicts on the mutants of some modules, as docs/mutation.json has them: those that hold, and
    those of unit tests that hold where the machine's have not run."""
    known, modules = reasons(), {}
    for module, these in sorted(chosen.items()):
        bench, entries = benches[module], []
        for mutant in these:
            verdict = store.get(mutant)
            if store.holds(mutant, bench) or (verdict and verdict["level"] == "pending"
                                              and store.pending(mutant, bench)):
                reason = known.get(mutant.name, {})
                entries.append({
                    "name": mutant.name, "kind": mutant.kind,
                    "change": str(mutant).partition(f"{mutant.kind}: ")[2][:160],
                    "level": verdict["level"], "test": verdict["test"], "cpu_s": verdict["cpu_s"],
                    **{k: reason[k] for k in ("verdict", "reason") if reason}})
        modules[module] = {"stage": stage_of(module), "bench": bench.top or TOP,
                           "unit": bench.unit, "system": bench.system, "drawn": len(these),
                           "mutants": entries}
    return {"seed": seed, "modules": modules}


def write(data: dict, path: Path = DATA) -> None:
    """Write what gathered() gives, a mutant a line."""
    lines = []
    for module, entry in data["modules"].items():
        head = json.dumps({k: v for k, v in entry.items() if k != "mutants"})[:-1]
        lines.append(f' "{module}": {head}, "mutants": ['
                     + ",".join("\n  " + json.dumps(m) for m in entry["mutants"]) + "]}")
    path.write_text(f'{{"seed": {data["seed"]}, "modules": {{\n' + ",\n".join(lines) + "}}\n")
