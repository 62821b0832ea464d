# SPDX-License-Identifier: Apache-2.0
"""Verdicts on mutants: found by trials, kept, judged.

A verdict is a dict: module, name (of the mutant), level (who found it: "build", "unit", "system";
"pending": no unit test; "survived": none at all), test (its node ID) and message, cpu_s (processor
seconds of its trials), key: hash of what the test, or all that did not find it, depended on. A
pending one has past: tests of the machine that have not found it, machine: the hash of theirs.
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

    @cached_property
    def unit(self) -> str:
        """Hash of what ``tests`` depend on."""
        return depends.key(self.top, self.tests) if self.top else ""

    @cached_property
    def system(self) -> str:
        """Hash of what ``machine`` depends on."""
        return depends.key(TOP, self.machine)

    def key(self, level: str, test: str) -> str:
        """Hash of what a verdict depends on."""
        if level in ("build", "unit", "system"):
            return depends.key(self.top if test in self.tests else TOP, (test,))
        return self.unit if level == "pending" else depends.sha(self.unit, self.system)


class Store:
    """Verdicts of earlier runs, the latest of each mutant; those of this one go to ``log``."""

    def __init__(self, log: Path = LOG):
        self.log, self.kept, self.fresh = log, {}, set()
        if DATA.is_file():
            for module, entry in json.loads(DATA.read_text())["modules"].items():
                for verdict in entry["mutants"]:
                    self.kept[module, verdict["name"]] = {"module": module, **verdict}
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
        known = verdict.get("test") in (*bench.tests, *bench.machine, "")
        return bool(verdict) and known and verdict["key"] == bench.key(verdict["level"],
                                                                       verdict["test"])

    def settled(self, mutant: mutants.Mutant, bench: Bench) -> bool:
        """Whether a verdict holds and no test remains."""
        return self.holds(mutant, bench) and self.get(mutant)["level"] != "pending"

    def passed(self, mutant: mutants.Mutant, bench: Bench, test: str) -> bool:
        """Whether the test of the machine, as it is, has not found the mutant."""
        verdict = self.get(mutant)
        return bench.system == verdict.get("machine") and test in verdict.get("past", [])


def _simulate_in(folder: Path) -> None:
    """Keep builds in ``folder`` from here on, but for the objects which all of them share."""
    shared = runner.BUILD / "sim" / ".runtime"
    shared.mkdir(parents=True, exist_ok=True)
    runner.SIM_DIR = folder / "sim"
    runner.SIM_DIR.mkdir(parents=True, exist_ok=True)
    link = runner.SIM_DIR / ".runtime"
    if not link.exists():
        link.symlink_to(shared)


def _write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def _verdict(mutant: mutants.Mutant, bench: Bench, level: str, outcome: trials.Outcome | None,
             test: str, cpu_s: float, **more) -> dict:
    """A verdict; of a mutant that was found with the outcome."""
    if outcome and outcome.message.startswith("tb.runner.BuildError"):
        level = "build"
    return {"module": mutant.module, "name": mutant.name, "level": level, "test": test,
            "message": outcome.message if outcome else "", "cpu_s": round(cpu_s, 1),
            "key": bench.key(level, test), **more}


def hunt(level: str, todo: list[mutants.Mutant], benches: dict[str, Bench], store: Store,
         jobs: int = 1) -> None:
    """Try mutants, at level "unit" of modules with one top level, each until a test finds it, and
    keep the verdicts in ``store``; what no test finds is pending behind unit tests, survives behind
    those of the machine. All are in one build, but for those alone. ``jobs``: trials at a
    time. Raises trials.TrialError where a test does not pass without a fault."""
    bench = benches[todo[0].module]
    tests = bench.tests if level == "unit" else bench.machine
    folder = FOLDER / (bench.top if level == "unit" else "machine")
    shutil.rmtree(folder, ignore_errors=True)
    _simulate_in(folder)
    alive, together = list(todo), [m for m in todo if not m.alone]
    numbers = {mutant: n for n, mutant in enumerate(together, 1)}
    common, files = [], {}
    for module in dict.fromkeys(m.module for m in todo):
        text = runner.find_module(module).read_text()
        these = [m for m in together if m.module == module]
        common.append(_write(folder / f"{module}.v", mutants.combined(
            text, these, numbers[these[0]] if these else 0)))
        for mutant in (m for m in todo if m.module == module):
            files[mutant] = common if not mutant.alone else [
                _write(folder / mutant.name / f"{module}.v", mutants.single(text, mutant))]
    spent = {m: store.get(m).get("cpu_s", 0) if level == "system" else 0 for m in todo}
    # Unit tests come in the order of their cost; those of the machine cost alike.
    likely = Counter(store.get(m).get("test") for m in todo if level == "system")
    simulated = not tests
    for test in sorted(tests, key=lambda t: -likely[t]):
        waiting = [m for m in alive if not store.passed(m, benches[m.module], test)]
        if not waiting:
            continue
        control = trials.trial(test, folder / "control", common)
        if control.failed:
            raise trials.TrialError(f"{test} fails without a fault: {control.message}")
        if not control.simulations:
            continue
        simulated = True
        tasks = {(test, folder / f"trial-{m.name}", tuple(files[m]), numbers.get(m, 0),
                  control.sim_s): m for m in waiting}
        for task, outcome in trials.completed(trials.trial, tasks, jobs):
            mutant = tasks[task]
            bench = benches[mutant.module]
            spent[mutant] += outcome.cpu_s
            if outcome.failed:
                alive.remove(mutant)
                store.add(_verdict(mutant, bench, level, outcome, test, spent[mutant]))
            elif level == "system":
                past = [*(t for t in bench.machine if store.passed(mutant, bench, t)), test]
                store.add(_verdict(mutant, bench, "pending", None, "", spent[mutant], past=past,
                                   machine=bench.system))
    if not simulated:
        raise trials.TrialError(f"no test of {bench.top or TOP} simulates it")
    for mutant in alive:
        end = "pending" if level == "unit" else "survived"
        store.add(_verdict(mutant, benches[mutant.module], end, None, "", spent[mutant]))
    shutil.rmtree(folder)


def reasons() -> dict[str, dict]:
    """Name of a mutant -> module, change, verdict ("equivalent" or "open") and reason."""
    return {entry["name"]: entry for entry in tomllib.loads(REASONS.read_text()).get("mutant", [])}


def equivalent() -> set[str]:
    """Names of the mutants that are known to compute the same."""
    return {name for name, entry in reasons().items() if entry["verdict"] == "equivalent"}


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
    """Verdicts that hold on the mutants of some modules, as docs/mutation.json has them."""
    known, modules = reasons(), {}
    for module, these in sorted(chosen.items()):
        bench, entries = benches[module], []
        for mutant in these:
            verdict = store.get(mutant)
            if store.holds(mutant, bench):
                reason = known.get(mutant.name, {})
                entries.append({
                    "name": mutant.name, "kind": mutant.kind,
                    "change": str(mutant).partition(f"{mutant.kind}: ")[2][:160],
                    **{k: verdict[k] for k in ("level", "test", "cpu_s", "key")},
                    **{k: reason[k] for k in ("verdict", "reason") if reason}})
        modules[module] = {"stage": stage_of(module), "bench": bench.top or TOP,
                           "drawn": len(these), "mutants": entries}
    return {"seed": seed, "modules": modules}


def write(data: dict, path: Path = DATA) -> None:
    """Write what gathered() gives, a mutant a line."""
    lines = []
    for module, entry in data["modules"].items():
        head = json.dumps({k: v for k, v in entry.items() if k != "mutants"})[:-1]
        lines.append(f' "{module}": {head}, "mutants": ['
                     + ",".join("\n  " + json.dumps(m) for m in entry["mutants"]) + "]}")
    path.write_text(f'{{"seed": {data["seed"]}, "modules": {{\n' + ",\n".join(lines) + "}}\n")
