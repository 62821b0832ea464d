# SPDX-License-Identifier: Apache-2.0
"""``make coverage``: what the tests reach of the design and of the points of functional coverage.

    .venv/bin/python scripts/cover.py [--quick] [--merge] [--functional] [--jobs N]

Runs the hardware tests of `make test`, merges what each simulation left in build/results, and
writes build/coverage/*.html and docs/coverage.json.
    --quick       only `tiny` on Verilator; the committed figures stay as they are
    --merge       no tests: what build/results holds from an earlier run
    --functional  only the functional half, on the builds of `make test`
    --jobs N      processes
Fails where a test fails, something is reached that is said to be out of reach, or, but with
--quick, a bin is not reached or a module is below the goals of scripts/verify/code_coverage.py.
The exit code is the verdict.
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

from scripts.verify import bins, code_coverage, constants, testplan  # noqa: E402
from tb.runner import BUILD, RESULTS_DIR  # noqa: E402

PAGES = BUILD / "coverage"
SLICES = {True: ["--sim", "verilator", "--config", "tiny"],
          False: ["--sim", "verilator", "--config", "all"]}
"""Whether --quick -> options of pytest."""
LONG = "not test_real_heads and not test_captured_layers and not paper and not lean"
"""Without tests that reach no more of the code: with counters they would take an hour."""
MORE = [*(f"tb/system/test_system.py::test_{name}_jobs" for name in ("lean", "paper")),
        "tb/rass/test_rass.py::test_sofa_rass_paper"]
"""Tests without which a bin, or a wish of a long tile, is not reached."""
OTHER = ["--sim", "icarus", "--config", "tiny", "tb/system/test_system.py::test_first_steps"]
"""Tests of the other simulator, which counts no code, where the code counts."""
UNITS = ["tb/common", *(f"tb/{name}.py" for name in (
    "dlzs/test_dlzs_array", "dlzs/test_dlzs_cell", "sads/test_sads_pairs",
    "sads/test_sads_sort_mask"))]
"""Tests that `make test` leaves to Icarus, since a build for Verilator takes far longer."""


def run_tests(quick: bool, jobs: int, code: bool) -> int:
    """Run the hardware tests anew, code: with counters in the builds; returns the exit code of
    pytest."""
    shutil.rmtree(RESULTS_DIR, ignore_errors=True)
    command = [sys.executable, "-m", "pytest", "-q", "-n", str(jobs), "--maxschedchunk", "1",
               *SLICES[quick], *(["--coverage"] if code else [])]
    narrow = ["-k", LONG] if code else []
    if code and not quick:
        # They come below, with more of them.
        narrow += [f"--ignore={path}" for path in UNITS]
    codes = [subprocess.run([*command, *narrow, "tb"], cwd=ROOT).returncode]
    if code and not quick:
        codes.append(subprocess.run([sys.executable, "-m", "pytest", "-q", *OTHER],
                                    cwd=ROOT).returncode)
    if not quick:
        codes.append(subprocess.run([*command, "--slow", *MORE,
                                     *(UNITS if code else [])], cwd=ROOT).returncode)
    return max(codes)


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


def code(quick: bool, about: str, jobs: int) -> list[str]:
    """Merge and show the code half; returns what fails, one sentence each."""
    try:
        counts = code_coverage.merge(sorted(RESULTS_DIR.glob("*/coverage.dat")))
    except code_coverage.CoverageError as error:
        return [str(error)]
    try:
        fixed = constants.constants(jobs)
    except constants.ConstantsError as error:
        return [str(error)]
    found = code_coverage.modules(counts, constant=fixed)
    index = code_coverage.write_pages(found, PAGES, about)
    shares = ", ".join(f"{kind} {code_coverage.whole(found, kind):.2f} %"
                       for kind in code_coverage.KINDS)
    print(f"code: {shares} of {len(found)} modules; page: {index.relative_to(ROOT)}")
    if not found:
        return ["no coverage.dat in build/results"]
    stale = [sentence for module in found for sentence in module.stale]
    if quick:
        return stale
    bins.keep(testplan.FIGURES, "code", {"about": about, "modules": code_coverage.table(found)})
    return [f"{file}: no test with Verilator contains it" for file in code_coverage.unbuilt(found)
            ] + [sentence for module in found for sentence in module.below()]


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
    if not given.merge and run_tests(given.quick, given.jobs, not given.functional):
        said.append("tests failed")
    about = ("What build/results held." if given.merge
             else "Hardware tests of `tiny` on Verilator." if given.quick
             else "Hardware tests of `make test`.")
    said += functional(given.quick, about)
    if not given.functional:
        said += code(given.quick, about, given.jobs)
    for sentence in said:
        print(sentence, file=sys.stderr)
    return 1 if said else 0


if __name__ == "__main__":
    sys.exit(main())
