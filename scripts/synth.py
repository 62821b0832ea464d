# SPDX-License-Identifier: Apache-2.0
"""Area and longest paths of the machine in Nangate45, block by block (docs/silicon.md).

    .venv/bin/python scripts/synth.py [--config tiny] [--jobs 2] [block ...]
    .venv/bin/python scripts/synth.py --save          also keep its figures in docs/silicon.json:
                                                      those of tiny are the budgets
    .venv/bin/python scripts/synth.py --documents     only write the tables of docs/silicon.md

Results: build/synth/CONFIG.json and .svg. Blocks are kept in build/synth/cache.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from scripts import entry  # noqa: E402 (needs the repository on the search path)

entry.install()

from models.spec.configs import CONFIGS  # noqa: E402
from scripts.silicon import picture, report  # noqa: E402
from scripts.silicon.jobs import JobError  # noqa: E402
from scripts.silicon.machine import BUILD, machine  # noqa: E402
from scripts.silicon.netlist import NetlistError  # noqa: E402
from scripts.silicon.recipe import SynthError  # noqa: E402


def main(arguments: list[str] | None = None) -> int:
    """Exit code: 0 done and within the budgets, 1 over one of them, 2 it cannot be done."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", choices=list(CONFIGS), default="tiny")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("blocks", nargs="*", help="only these and what they contain")
    parser.add_argument("--save", action="store_true", help="keep the figures in docs/silicon.json")
    parser.add_argument("--documents", action="store_true", help="write the tables of the document")
    options = parser.parse_args(arguments)
    if options.jobs < 1:
        parser.error(f"--jobs is {options.jobs}, legal: 1 or more")
    if options.blocks and options.save:
        parser.error("--save goes without blocks")
    if options.documents:
        print("docs/silicon.md: " + ("written" if report.write_document() else "as it was"))
        return 0
    begin = time.monotonic()
    try:
        got = machine(CONFIGS[options.config], options.jobs, lambda text: print(text, flush=True),
                      frozenset(options.blocks))
    except (SynthError, JobError, NetlistError) as error:
        print(f"synth.py: {error}", file=sys.stderr)
        return 2
    print(report.text(got))
    if not options.blocks:
        out = BUILD / f"{options.config}.json"
        out.write_text(json.dumps(got, indent=1) + "\n")
        out.with_suffix(".svg").write_text(picture.picture(got))
        print(f"{out.relative_to(ROOT)}, .svg: {time.monotonic() - begin:.0f} s")
    if options.save:
        report.save(got)
        report.write_document()
    saved = report.load().get(options.config)
    if options.config != report.BUDGET or not saved:
        return 0
    faults = report.over(got, saved)
    for fault in faults:
        print(f"synth.py: {fault}", file=sys.stderr)
    if faults:
        print("synth.py: over the budget of docs/silicon.json; where that is meant, make it the "
              "new one: .venv/bin/python scripts/synth.py --save", file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
