# SPDX-License-Identifier: Apache-2.0
"""Write build/lab/report.html from the results of scripts/evaluate.py; nothing is measured here.

    .venv/bin/python scripts/report.py             page, figures/*.png and figures/*.svg
    .venv/bin/python scripts/report.py --check     also look at it in headless Chromium
    .venv/bin/python scripts/report.py --save      also write models/data/lab/results.json
    .venv/bin/python scripts/report.py --documents only write the documents' tables from that file

Results of the grid "long" that are there are shown with those of the default grid.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from scripts import entry  # noqa: E402 (needs the repository on the search path)

entry.install()

from models.lab.measure.evaluate import Bench  # noqa: E402
from models.lab.measure.grid import GRIDS, grids  # noqa: E402
from models.lab.measure.store import Store, StoreError  # noqa: E402
from models.lab.report.record import RESULTS, save, write_documents  # noqa: E402
from models.lab.report.report import build  # noqa: E402
from models.lab.report.tables import gather  # noqa: E402
from scripts import browser  # noqa: E402

WIDTHS = (390, 1280)
"""Widths of a phone and of a desktop window, CSS pixels."""


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--grid", choices=list(GRIDS), default="default")
    parser.add_argument("--check", action="store_true", help="render the page and report faults")
    parser.add_argument("--save", type=Path, nargs="?", const=RESULTS, metavar="FILE",
                        help="write the results as small data")
    parser.add_argument("--documents", action="store_true",
                        help="write the tables between the marks in docs")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "lab")
    parser.add_argument("--cache", type=Path, default=ROOT / "build" / "capture",
                        help="folder of fetched packages")
    options = parser.parse_args(arguments)
    if options.documents and (options.save or options.check):
        parser.error("--documents goes without --save and --check")
    return options


def check(page: Path) -> list[str]:
    """Faults of the page at all WIDTHS, light and dark; pictures go beside it."""
    faults = []
    for width in WIDTHS:
        for dark in (False, True):
            png = page.with_name(f"report-{width}{'-dark' if dark else ''}.png")
            faults += browser.look(page, width, dark=dark, png=png).problems
    return faults


def main(arguments: list[str] | None = None) -> int:
    """Exit code: 0 done, 1 the page has faults, 2 it cannot be made."""
    options = parse(arguments)
    if options.documents:
        try:
            changed = write_documents()
        except (StoreError, ValueError) as error:
            print(f"report.py: {error}", file=sys.stderr)
            return 2
        print("written: " + (", ".join(p.name for p in changed) or "nothing, all is as it was"))
        return 0
    command = "make evaluate" if options.grid == "default" else \
        f".venv/bin/python scripts/evaluate.py --grid {options.grid}"
    try:
        bench = Bench(options.cache, Store(options.out / "results"))
        got = gather(bench, *grids(GRIDS[options.grid]))
        if options.grid == "default":
            got.join(gather(bench, *grids(GRIDS["long"])))
        if options.save:
            save(got, options.save)
            print(f"{options.save}: {options.save.stat().st_size} bytes")
        page = build(got, options.out, command)
        print(f"{page}: {got.done} results, {len(got.missing)} missing")
        if not options.check:
            return 0
        faults = check(page)
    except (StoreError, browser.BrowserError) as error:
        print(f"report.py: {error}", file=sys.stderr)
        return 2
    for fault in faults:
        print(f"report.py: {fault}", file=sys.stderr)
    print("checked in Chromium: " + (f"{len(faults)} faults" if faults else "no fault"))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
