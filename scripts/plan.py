# SPDX-License-Identifier: Apache-2.0
"""``make plan``: the test plan against the tests and coverage points that there are; its page.

    .venv/bin/python scripts/plan.py [--check]

Reads tb/<stage>/testplan.toml (fields and states: scripts/verify/testplan.py) and fails where a row
names a test or a coverage point that does not exist, where a test below tb/ or a coverage point
belongs to no row, and where two rows of a stage have one name. Writes docs/testplan.md, with the
bins of docs/coverage.json; with --check it only compares that page. The exit code is the verdict.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from scripts import entry  # noqa: E402 (needs the repository on the search path)

entry.install()

from scripts.verify import testplan  # noqa: E402
from tb.common.coverage import points  # noqa: E402


def main() -> int:
    """Check the plan and write its page; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="do not write, only compare the page")
    check = parser.parse_args().check
    known, reached = points(), testplan.figures()
    try:
        plan = testplan.load()
    except testplan.PlanError as error:
        print(f"plan: {error}", file=sys.stderr)
        return 1
    said = testplan.faults(plan, testplan.tests(), known) + testplan.left_out()
    text = testplan.page(plan, known, reached)
    if check and (not testplan.PAGE.is_file() or testplan.PAGE.read_text() != text):
        said.append("docs/testplan.md is not what the plan gives: run scripts/plan.py")
    elif not check:
        testplan.PAGE.write_text(text)
    for sentence in said:
        print(sentence, file=sys.stderr)
    rows = [row for rows in plan.values() for row in rows]
    states = [testplan.state_of(row, known, reached) for row in rows]
    counts = ", ".join(f"{states.count(state)} {state}" for state in sorted(set(states)))
    print(f"plan: {len(rows)} rows, {counts}, {len(said) or 'no'} fault{'s' * (len(said) > 1)}")
    return 1 if said else 0


if __name__ == "__main__":
    sys.exit(main())
