# SPDX-License-Identifier: Apache-2.0
"""Random jobs, layers and chains, one seed each, through the simulated machine (``make soak``).

    .venv/bin/python scripts/soak.py                              8000 tiny, 2000 small, 200 paper
    .venv/bin/python scripts/soak.py --config tiny --seeds 500    seeds 1 to 500
    .venv/bin/python scripts/soak.py --config small --only 1234   one seed again
    .venv/bin/python scripts/soak.py --quick                      what ten minutes allow
    .venv/bin/python scripts/soak.py --scheduler tcp://10.0.0.5:8786    on Dask's workers
    .venv/bin/python scripts/soak.py --save                       and keep docs/soak.json

Every value between the stages, every output, all that is left in memory and the counters are
compared bit for bit with the models. --seeds N runs N seeds on tiny, a quarter of that on small, a
fortieth on paper. Results are in build/soak/<config>.jsonl, and seeds that ran on the sources as
they are do not run again, so that a stopped run goes on where it was. A seed that fails is made
as small as it fails and printed as a test for tb/system/test_soak.py.

Workers of a Dask scheduler need this repository in the same state as here on their path, its .venv
and the package distributed (scripts/setup.sh dse). The exit code is the verdict.
"""

from __future__ import annotations

import argparse
import importlib.util
import io
import os
import sys
import time
from contextlib import redirect_stdout
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from scripts import entry  # noqa: E402 (needs the repository on the search path)

entry.install()

from models.config import Config  # noqa: E402
from models.lab.measure import pool  # noqa: E402
from models.spec.configs import CONFIGS  # noqa: E402
from scripts.verify import shrink, soak_results  # noqa: E402
from scripts.verify.soak_work import Batch, run_batch  # noqa: E402
from tb.runner import SIMULATORS, BuildError, SimulationError, build  # noqa: E402
from tb.system.random_jobs import random_item  # noqa: E402
from tb.system.soak import run_items  # noqa: E402

SHARE = {"tiny": 1, "small": 4, "paper": 40, "lean": 40}
"""Configuration -> how many seeds of tiny come to one of its own."""

BATCH = {"tiny": 50, "small": 25, "paper": 5, "lean": 5}
"""Configuration -> seeds in one simulation."""

QUICK = ("tiny", "small")
QUICK_SEEDS, QUICK_MINUTES = 600, 6
"""Configurations, seeds of tiny, and minutes after which no batch begins, of --quick."""


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", help="some of tiny, small, paper, lean, with commas between")
    parser.add_argument("--seeds", type=int, help="seeds on tiny (default 8000)")
    parser.add_argument("--first", type=int, default=1, help="the first of them")
    parser.add_argument("--only", type=int, metavar="SEED", help="this one, anew")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--sim", choices=SIMULATORS, default="verilator")
    parser.add_argument("--quick", action="store_true", help="what ten minutes allow")
    parser.add_argument("--minutes", type=float, help="begin nothing later")
    parser.add_argument("--save", action="store_true", help="write docs/soak.json and the page")
    parser.add_argument("--scheduler", help="address of a Dask scheduler, or its scheduler file")
    args = parser.parse_args(argv)
    args.config = (args.config.split(",") if args.config else list(QUICK) if args.quick
                   else ["tiny", "small", "paper"])
    for name in args.config:
        if name not in CONFIGS:
            parser.error(f"--config {name}: know {', '.join(CONFIGS)}")
    if args.seeds is None:
        args.seeds = QUICK_SEEDS if args.quick else 8000
    if args.minutes is None and args.quick:
        args.minutes = QUICK_MINUTES
    for name, least in (("seeds", 1), ("first", 0), ("jobs", 1)):
        if getattr(args, name) < least:
            parser.error(f"--{name} {getattr(args, name)}: give {least} or more")
    return args


def seeds_of(config: str, args: argparse.Namespace) -> list[int]:
    """Seeds of a configuration."""
    if args.only is not None:
        return [args.only]
    return list(range(args.first, args.first + max(args.seeds // SHARE[config], 1)))


def batches(config: str, args: argparse.Namespace, done) -> list[Batch]:
    """What is left to run."""
    left = [seed for seed in seeds_of(config, args) if seed not in done]
    size = BATCH[config]
    return [Batch(config, args.sim, tuple(left[at : at + size]))
            for at in range(0, len(left), size)]


def connect(scheduler: str):
    """A client of a Dask scheduler; SystemExit where there is none."""
    if importlib.util.find_spec("distributed") is None:
        sys.exit("soak: --scheduler needs the package distributed. Install with: scripts/setup.sh "
                 "dse")
    from distributed import Client

    where = {"scheduler_file": scheduler} if Path(scheduler).is_file() else {"address": scheduler}
    try:
        return Client(**where, timeout=10)
    except (OSError, ValueError) as error:
        sys.exit(f"soak: no Dask scheduler at {scheduler} ({error})")


def remote(batch: Batch, wanted: str):
    """A batch on another machine, whose sources have to be those with this hash."""
    here = soak_results.sources()
    if here != wanted:
        return pool.Failure(f"sources there are {here}, here {wanted}")
    return run_batch(batch)


def on_dask(tasks: list[Batch], client, wanted: str):
    """Yield (task, outcome) as they finish on the workers of a Dask scheduler."""
    from distributed import as_completed

    futures = {client.submit(remote, task, wanted, pure=False, retries=1): task for task in tasks}
    for future in as_completed(futures):
        error = future.exception()
        yield futures[future], (future.result() if error is None
                                else pool.Failure(f"{type(error).__name__}: {error}"))


def locally(tasks: list[Batch], args: argparse.Namespace, end: float | None):
    """Yield (task, outcome) as they finish in processes of this machine; none begins long after
    ``end``, time.monotonic()."""
    some = len(tasks) if end is None else 4 * args.jobs
    for at in range(0, len(tasks), some or 1):
        if end is not None and time.monotonic() > end:
            return
        yield from pool.run(run_batch, tasks[at : at + some], args.jobs)


def soak(config: str, args: argparse.Namespace, about: dict, client, end) -> tuple[dict, list[str]]:
    """Run what is left of a configuration; returns its records by seed, and what went wrong outside
    of the items."""
    from tqdm import tqdm

    done = {} if args.only is not None else soak_results.load(config, about)
    tasks, faults = batches(config, args, done), []
    if tasks and client is None:
        # Once, and not by several processes that wait for each other.
        build("sofa", CONFIGS[config], args.sim, defines={"SOFA_TAPS": 1})
    outcomes = (on_dask(tasks, client, about["sources"]) if client
                else locally(tasks, args, end))
    with tqdm(total=sum(len(t.seeds) for t in tasks), desc=config, unit="seed",
              disable=None) as bar:
        for task, outcome in outcomes:
            if isinstance(outcome, pool.Failure):
                faults.append(f"seeds {task.seeds[0]} to {task.seeds[-1]}: {outcome.reason}")
                continue
            soak_results.append(config, about, outcome)
            done |= {record["seed"]: record for record in outcome}
            for record in outcome:
                if "failure" in record:
                    bar.write(f"{config} seed {record['seed']}: {first_line(record)}")
            bar.update(len(task.seeds))
    wanted = set(seeds_of(config, args))
    return {seed: record for seed, record in done.items() if seed in wanted}, faults


def first_line(record: dict) -> str:
    """What was wrong, in one line."""
    return record["failure"].splitlines()[0]


def reduced(config: str, sim: str, record: dict) -> str:
    """The failing seed of a record as a test, as small as it fails."""
    cfg, seed = Config.from_name(config), record["seed"]
    item = random_item(cfg, seed)

    def run(items, **options):
        with redirect_stdout(io.StringIO()):
            return run_items(items, config, sim, name=f"shrink-{config}-{os.getpid()}", **options)

    def fails(before):
        done = run([*before, item])
        return done.failure is not None and len(done.passed) == len(before)

    before = shrink.shortest([random_item(cfg, other) for other in record["after"]], fails)
    if before and not fails(before):
        return f"{config} seed {seed} fails after {record['after']}, not always"

    def first_failing(items):
        if before:
            # What runs before matters: each of them in a simulation of its own.
            return next((n for n, one in enumerate(items)
                         if run([*before, one]).failure), None)
        done = run(items, fresh=True)
        return None if done.failure is None else len(done.passed)

    item = shrink.smallest(item, cfg, first_failing)
    done = run([*before, item])
    why = (done.failure or "does not fail alone").splitlines()[0].split(" (sofa,")[0]
    return shrink.as_test([*before, item], config, sim, seed, why)


def main(argv: list[str] | None = None) -> int | str:
    """Exit status; 2 for what the user can mend."""
    args = parse(argv)
    client = connect(args.scheduler) if args.scheduler else None
    about = {"sources": soak_results.sources(), "sim": args.sim}
    end = None if args.minutes is None else time.monotonic() + 60 * args.minutes
    bad, made = False, {}
    for config in args.config:
        try:
            records, faults = soak(config, args, about, client, end)
        except (BuildError, SimulationError) as error:
            print(f"soak: {error}", file=sys.stderr)
            return 2
        if records:
            made[config] = soak_results.summary(records, about)
        wrong = [one for one in records.values() if "failure" in one]
        missing = len(seeds_of(config, args)) - len(records)
        of = made.get(config, {"jobs": 0, "cycles": 0, "values": 0})
        print(f"{config}: {len(records)} seeds, {of['jobs']} jobs, {of['cycles']} cycles, "
              f"{of['values']} values compared, {len(wrong)} wrong"
              + (f", {missing} not run" if missing else ""), flush=True)
        for text in faults:
            print(f"soak: {config}: {text}", file=sys.stderr)
        for record in wrong[:3]:
            print(f"\n{config} seed {record['seed']}: {record['failure']}\n\n"
                  f"{reduced(config, args.sim, record)}", flush=True)
        # Without time nothing more was promised.
        bad |= bool(wrong or faults or missing and (end is None or not records))
    if args.save and args.only is None:
        soak_results.save(made)
    return int(bad)


if __name__ == "__main__":
    sys.exit(main())
