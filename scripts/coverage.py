# SPDX-License-Identifier: Apache-2.0
"""``make coverage``: what the tests reach of the design and of the points of functional coverage.

    .venv/bin/python scripts/coverage.py [--quick] [--merge] [--functional] [--jobs N]

Runs the hardware tests of `make test`, merges what each simulation left in build/results, and
writes build/coverage/*.html and docs/coverage.json.
    --quick       only `tiny` on Verilator; the committed figures stay as they are
    --merge       no tests: what build/results holds from an earlier run
    --functional  only the functional half, on the builds of `make test`
    --jobs N      processes
Fails where a test fails, a bin is not reached (but with --quick), or one that is said to be out of
reach is reached. The exit code is the verdict.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from scripts import entry  # noqa: E402 (needs the repository on the search path)

entry.install()

from scripts.verify import bins, testplan  # noqa: E402
from tb.runner import BUILD, RESULTS_DIR  # noqa: E402

PAGES = BUILD / "coverage"
SLICES = {True: ["--sim", "verilator", "--config", "tiny"], False: ["--config", "all"]}
"""Whether --quick -> options of pytest."""


def run_tests(quick: bool, jobs: int) -> int:
    """Run the hardware tests anew; returns the exit code of pytest."""
    shutil.rmtree(RESULTS_DIR, ignore_errors=True)
    return subprocess.run([sys.executable, "-m", "pytest", "tb", "-q", "-n", str(jobs),
                           "--maxschedchunk", "1", *SLICES[quick]], cwd=ROOT).returncode


def functional(quick: bool, about: str) -> list[str]:
    """Merge and show the functional half; returns what fails, one sentence each."""
    merged = bins.merge(RESULTS_DIR)
    page = PAGES / "functional.html"
    bins.write_page(merged, page, about)
    missed = [f"{name}, {bin_}: not reached" for name, bin_ in merged.missed()]
    print(f"{bins.summary(merged)}; page: {page}")
    if not merged.simulations:
        return [f"no simulation in {RESULTS_DIR} that passed"]
    if quick:
        print("\n".join(missed))
        return merged.faults
    bins.keep(testplan.FIGURES, "functional", bins.table(merged, about))
    return merged.faults + missed


def main() -> int:
    """Run, merge, show; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--merge", action="store_true")
    parser.add_argument("--functional", action="store_true")
    parser.add_argument("--jobs", type=int, default=2)
    given = parser.parse_args()
    if given.jobs < 1:
        parser.error("--jobs must be 1 or more")
    said = []
    if not given.merge and run_tests(given.quick, given.jobs):
        said.append("tests failed")
    about = ("What build/results held." if given.merge
             else "Hardware tests of `tiny` on Verilator." if given.quick
             else "Hardware tests of `make test`.")
    said += functional(given.quick, about)
    for sentence in said:
        print(sentence, file=sys.stderr)
    return 1 if said else 0


if __name__ == "__main__":
    sys.exit(main())
