# SPDX-License-Identifier: Apache-2.0
"""Search threshold, its fall, tile and codes of every layer of SmolLM2 (``make dse``).

    .venv/bin/python scripts/dse.py                               200 trials on this machine
    .venv/bin/python scripts/dse.py --goal paper --study paper    the paper's single figure of merit
    .venv/bin/python scripts/dse.py --scheduler tcp://10.0.0.5:8786    on a Dask scheduler's workers
    .venv/bin/python scripts/dse.py --carry code,speech           what it found, on other texts

Without --scheduler a Dask cluster of --workers local processes does the work. Any scheduler
will do, also one that a job queue (dask-jobqueue) has started; its workers need this repository
on their path, its optional packages and the same --out and --cache folders, for instance on a
network drive. A search that was stopped or killed goes on where it was when it is started again.
Trials are in build/lab/dse/<study>, what they found in build/lab/dse/<study>.json;
scripts/report.py draws the study `front`. --carry runs no trial: it measures the fastest settings
of the study and some that are the same in all layers on other texts, of --carry-length tokens.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import shlex
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from scripts import entry  # noqa: E402 (needs the repository on the search path)

entry.install()

from models.config import ConfigError  # noqa: E402
from models.lab.measure import explore  # noqa: E402
from models.lab.measure.pool import THREADS  # noqa: E402
from models.lab.measure.store import StoreError, write_whole  # noqa: E402
from models.lab.measure.subjects import Case  # noqa: E402
from models.nets.sources import NetError  # noqa: E402

PACKAGES = ("optuna", "distributed", "torch", "scipy", "gguf", "tokenizers", "numba")
LAYERS = 30
"""Layers of SmolLM2."""
BOUNDS = (0.5, 1.0, 2.0)
"""Perplexity increases, in percent, at which the fastest settings are shown."""
ONE = (("two-term", 0.35, (-9.19, -8.69, -8.19, -7.69)), ("floor", 0.0, (-9.25,)))
"""(codes, fall, log2 of thresholds) that all layers share, beside what is carried."""


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--goal", choices=("ours", "paper"), default="ours",
                        help="ours: loss and cycles; paper: its weighted sum")
    parser.add_argument("--trials", type=int, default=200, help="finished trials of the study")
    parser.add_argument("--groups", type=int, default=6,
                        help="groups of layers that share settings")
    parser.add_argument("--text", default="novel")
    parser.add_argument("--length", type=int, default=512, help="tokens")
    parser.add_argument("--carry", help="texts, with commas between them")
    parser.add_argument("--carry-length", type=int, default=1024, help="tokens of these")
    parser.add_argument("--study", default="front", help="name of the study")
    parser.add_argument("--workers", type=int, default=2, help="local processes")
    parser.add_argument("--scheduler", help="address of a Dask scheduler, or its scheduler file")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "lab")
    parser.add_argument("--cache", type=Path, default=ROOT / "build" / "capture")
    args = parser.parse_args(argv)
    for name, least in (("trials", 1), ("groups", 1), ("length", 64), ("carry_length", 64),
                        ("workers", 1)):
        if getattr(args, name) < least:
            parser.error(f"--{name.replace('_', '-')} {getattr(args, name)}: give {least} or more")
    if not args.study.replace("-", "").replace("_", "").isalnum():
        parser.error(f"--study {args.study!r}: letters, digits, - and _ only")
    return args


def connect(args: argparse.Namespace):
    """A Dask client; NetError when the scheduler does not answer."""
    from distributed import Client, LocalCluster

    if args.scheduler:
        where = ({"scheduler_file": args.scheduler} if Path(args.scheduler).is_file()
                 else {"address": args.scheduler})
        try:
            return Client(**where, timeout=10)
        except (OSError, ValueError) as error:
            raise NetError(f"no Dask scheduler at {args.scheduler} ({error})") from None
    os.environ.update(dict.fromkeys(THREADS, "1"))  # the worker processes inherit it
    os.environ["PYTHONPATH"] = os.pathsep.join(
        [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return Client(LocalCluster(n_workers=args.workers, threads_per_worker=1,
                               dashboard_address=None, silence_logs=50))


def search(args: argparse.Namespace) -> int:
    """Run the study, print what it found."""
    from tqdm import tqdm

    space, goal = explore.Space.of(LAYERS, args.groups), explore.Goal(args.goal)
    lab = explore.Lab(Case("smollm2", args.text, args.length), str(args.cache.resolve()),
                      str((args.out / "results").resolve()))
    folder = args.out / "dse" / args.study
    with explore.locked(folder):
        study = explore.open_study(folder, goal, space, lab.about(), args.seed)
        with connect(args) as client, tqdm(total=args.trials, desc="trials", unit="trial",
                                           disable=None) as bar:
            # One worker fetches the packages and makes the dense pass, the others find them.
            client.submit(explore.prepare, lab, pure=False).result()
            failures = explore.run(study=study, space=space, goal=goal, client=client,
                                   measure=explore.measure, lab=lab, keys=args.length,
                                   trials=args.trials, progress=lambda n: bar.update(n - bar.n))
            if not args.scheduler:
                client.cluster.close()
    for text in failures:
        print(f"dse: {text}", file=sys.stderr)
    command = shlex.join([".venv/bin/python", "scripts/dse.py", *sys.argv[1:]])
    text = json.dumps(explore.summary(study, command), indent=1)
    write_whole(args.out / "dse" / f"{args.study}.json", lambda file: file.write(text.encode()))
    done = len(explore.complete(study))
    print(f"{done} trials in {folder}, {args.text}, S = {args.length}, {args.groups} groups")
    for bound, trial in explore.fastest(study, BOUNDS).items():
        if trial is None:
            print(f"perplexity + {bound:g} %: no trial")
            continue
        found = trial.user_attrs
        print(f"perplexity + {bound:g} %: keep {found['keep']:.3f}, {found['cycles']} cycles, "
              f"{found['dense_cycles'] / found['cycles']:.2f} times as fast as dense "
              f"(trial {trial.number})")
        print(settings_of(space, trial.params))
    return 0 if done >= args.trials else 1


def settings_of(space: explore.Space, params: dict) -> str:
    """The settings of a trial, a line for each group."""
    lines = []
    for g, group in enumerate(space.groups):
        tile, tau, fall, snap = (params[f"{name}{g}"] for name in ("tile", "tau", "fall", "snap"))
        lines.append(f"    layers {group[0]}..{group[-1]}: {snap}, tile {tile}, tau 2^{tau:.2f}, "
                     f"fall {fall:.2f}")
    return "\n".join(lines)


def carry(args: argparse.Namespace) -> int:
    """Measure the fastest settings of a study at BOUNDS, and settings that are the same in all
    layers, on its own and on other texts."""
    space, goal = explore.Space.of(LAYERS, args.groups), explore.Goal(args.goal)
    cases = [Case("smollm2", args.text, args.length)]
    cases += [Case("smollm2", text, args.carry_length) for text in args.carry.split(",")]
    labs = [explore.Lab(case, str(args.cache.resolve()), str((args.out / "results").resolve()))
            for case in cases]
    folder = args.out / "dse" / args.study
    with explore.locked(folder):
        study = explore.open_study(folder, goal, space, labs[0].about(), args.seed)
    fastest = {t.number: t for t in explore.fastest(study, BOUNDS).values() if t is not None}
    settings = []
    for number, trial in fastest.items():
        settings.append((f"trial {number}", space.setting(trial.params)))
        print(f"trial {number}:\n{settings_of(space, trial.params)}")
    settings += [(f"all layers, {snap}, 2^{tau:.2f}, fall {fall}", space.setting(
        space.same(64, tau, fall, snap))) for snap, fall, taus in ONE for tau in taus]
    for title, setting in settings:
        for lab in labs:
            print(f"{title}: {lab.case.text} S = {lab.case.length}: "
                  f"{explore.row(explore.measure(setting, lab))}", flush=True)
    return 0


def main(argv: list[str] | None = None) -> int | str:
    """Exit status; 2 for what the user can mend."""
    args = parse(argv)
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        print(f"dse: missing packages: {', '.join(missing)}. Install with: scripts/setup.sh lab "
              "torch dse", file=sys.stderr)
        return 2
    try:
        return carry(args) if args.carry else search(args)
    except (StoreError, NetError, ConfigError, ValueError) as error:
        print(f"dse: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
