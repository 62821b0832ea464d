# SPDX-License-Identifier: Apache-2.0
"""``make mutate``: faults planted in every module of rtl/, and which test finds each.

    .venv/bin/python scripts/mutate.py [--quick] [--jobs 2] [MODULE ...]

Of each module 12 mutants are drawn (scripts/verify/mutants.py). The tests of the smallest bench
that contains the module look for them first, then those of the whole machine for what these left
and what is not known to be equivalent, on Verilator at `tiny`; a test counts after it has passed
without a fault on the very file that holds the faults. Verdicts are kept, with a hash of the
Verilog, tests and models that they depend on, in build/mutate and in docs/mutation.json: a run that
was interrupted goes on, and a change reruns what it touches. The bugs of docs/bugs.json are planted
again, each before the test that must find it.

    --quick   a sample, without what is kept: ten minutes
    --unit    stop after the unit tests: what they do not find stays pending
    --list    print the mutants and run nothing
    --bugs    only the bugs of docs/bugs.json

A mutant that no test can find, since the module computes the same, stands in
scripts/verify/equivalent.toml with the reason. Exit code 1: a stage has less than 98 % of the other
mutants found, a survivor has no sentence there, or a bug comes back unnoticed.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from scripts import entry  # noqa: E402 (needs the repository on the search path)

entry.install()

from scripts.verify import ledger, mutants, mutation_page, trials, verdicts  # noqa: E402
from tb import runner  # noqa: E402

QUICK_S = 420
"""Seconds after which --quick begins no other module."""

QUICK_MUTANTS = 4
"""Mutants of a module with --quick."""


def chosen_of(module: str, seed: int) -> list[mutants.Mutant]:
    """The mutants of a module that are tried."""
    return mutants.choose(mutants.find(module), verdicts.A_MODULE, seed)


def sample(chosen, store, seed):
    """Module -> some of its mutants that unit tests found before or that were not tried yet, the
    modules in an order by lot."""
    lot = random.Random(seed)
    found = {}
    for module in lot.sample(sorted(chosen), len(chosen)):
        these = [m for m in chosen[module] if module != verdicts.TOP
                 and store.get(m).get("level", "unit") == "unit"]
        found[module] = lot.sample(these, min(QUICK_MUTANTS, len(these)))
    return found


def work(level, todo, benches, store, jobs=1):
    """Look for mutants; what went wrong."""
    try:
        verdicts.hunt(level, todo, benches, store, jobs)
        return ""
    except (trials.TrialError, runner.BuildError) as error:
        return str(error)


def run(tasks, benches, jobs, store, seconds=None):
    """Do the tasks (top level -> mutants), ``jobs`` at a time; ``seconds``: begin no other after so
    many. Returns what went wrong."""
    faults = []
    every = [("unit", todo, benches, store) for todo in tasks.values()]
    for (_, todo, *_), fault in trials.completed(work, every, jobs, seconds):
        if fault:
            faults.append(fault)
            print(fault)
        store.read()
        ends = [store.get(m).get("level", "not tried") for m in todo]
        print(f"{benches[todo[0].module].top}: " + ", ".join(
            f"{ends.count(k)} {k}" for k in dict.fromkeys(ends)), flush=True)
    return faults


def main(arguments: list[str] | None = None) -> int:
    """Exit code: 0, 1 where a fault stays unnoticed, 2 for wrong arguments."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("modules", nargs="*", help="of rtl/; default: all of them")
    parser.add_argument("--quick", action="store_true", help="a sample, ten minutes")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--seed", type=int, default=1, help="of the draw")
    parser.add_argument("--list", action="store_true", help="print the mutants, run nothing")
    parser.add_argument("--unit", action="store_true", help="only unit tests, none of the machine")
    parser.add_argument("--bugs", action="store_true", help="only the bugs of docs/bugs.json")
    options = parser.parse_args(arguments)
    if options.jobs < 1:
        parser.error(f"--jobs is {options.jobs}, legal: 1 or more")
    known = sorted(p.stem for p in (ROOT / "rtl").rglob("*.v"))
    for name in options.modules:
        if name not in known:
            parser.error(f"no module {name} in rtl/")
    names = options.modules or known
    if options.list:
        for module in names:
            for mutant in chosen_of(module, options.seed):
                print(f"{mutant.name} {mutant}")
        return 0

    # Numerical libraries start threads, which no fork may have.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    log = verdicts.LOG.with_name("quick.jsonl") if options.quick else verdicts.LOG
    if options.quick:
        log.unlink(missing_ok=True)
    store = verdicts.Store(log)
    tops = trials.tops_of_tests(verdicts.FOLDER / "tests.log")
    machine = tuple(trials.system_tests(verdicts.FOLDER / "tests.log"))
    benches = {m: verdicts.Bench(m, *trials.bench_of(m, tops), machine) for m in known}
    chosen = {module: chosen_of(module, options.seed) for module in known}
    faults = []
    if not options.bugs:
        if options.quick:
            todo = sample({m: chosen[m] for m in names}, store, options.seed)
        else:
            faults += verdicts.stale_reasons(chosen)
            todo = {m: [x for x in chosen[m] if benches[m].top and not store.holds(x, benches[m])]
                    for m in names}
        tasks = {}
        for module, these in todo.items():
            tasks.setdefault(benches[module].top, []).extend(these)
        tasks = {top: these for top, these in tasks.items() if these}
        if not options.quick:
            tasks = dict(sorted(tasks.items(), key=lambda t: len(trials.sources(t[0]))))
        faults += run(tasks, benches, options.jobs, store, QUICK_S if options.quick else None)
        left = [x for m in names for x in chosen[m] if not store.settled(x, benches[m])
                and x.name not in verdicts.equivalent()]
        if left and not options.unit and not options.quick:
            faults += filter(None, [work("system", left, benches, store, options.jobs)])
        tried = {m: [x for x in these if x.name in store.fresh] for m, these in todo.items()}
        data = verdicts.gathered(tried if options.quick else chosen, benches, store, options.seed)
        if not options.quick:
            verdicts.write(data)
            mutation_page.write_document()
        data["modules"] = {m: entry for m, entry in data["modules"].items() if m in names}
        print(mutation_page.text(mutation_page.stage_table(data)))
        faults += verdicts.complaints(data)
    faults += ledger.unnoticed(QUICK_S / 4 if options.quick else None)
    print("\n".join(faults))
    print(f"mutate: {'FAILED' if faults else 'passed'}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
