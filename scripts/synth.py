# SPDX-License-Identifier: Apache-2.0
"""Area and longest paths of the machine in Nangate45, block by block (docs/silicon.md).

    .venv/bin/python scripts/synth.py [--config tiny] [--jobs 2] [block ...]
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

from scripts.configs import CONFIGS  # noqa: E402
from scripts.silicon import report  # noqa: E402
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
    options = parser.parse_args(arguments)
    begin = time.monotonic()
    try:
        got = machine(CONFIGS[options.config], options.jobs, lambda text: print(text, flush=True),
                      frozenset(options.blocks))
    except (SynthError, JobError, NetlistError) as error:
        print(f"synth.py: {error}", file=sys.stderr)
        return 2
    print(report.text(got))
    if options.blocks:
        return 0
    out = BUILD / f"{options.config}.json"
    out.write_text(json.dumps(got, indent=1) + "\n")
    print(f"{out.relative_to(ROOT)}: {time.monotonic() - begin:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
