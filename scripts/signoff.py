# SPDX-License-Identifier: Apache-2.0
"""``make signoff``: how good the verification is, on one page.

    .venv/bin/python scripts/signoff.py [--save]

Reads what `make plan`, `coverage`, `prove`, `mutate` and `soak` keep as data and the last
`make test` of this folder, and writes build/signoff/index.html. It runs nothing. Where Chromium is
installed the page is looked at in it, at the widths of a phone and of a desk.
    --save   also write the table of README.md
Exit code: 0 the page is made (goals that are missed are shown as missed), 1 the browser finds
something wrong with it.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from scripts import browser, entry  # noqa: E402 (needs the repository on the search path)

entry.install()

from models.lab.report.record import MARK  # noqa: E402
from scripts.verify import signoff  # noqa: E402

PAGE = ROOT / "build" / "signoff" / "index.html"
README = ROOT / "README.md"
WIDTHS = (390, 1280)


def document(text: str, sections: list[signoff.Section]) -> str:
    """A document with the table between its marks made anew."""
    return MARK.sub(lambda m: m[1] + signoff.table(sections) + m[4] if m[2] == "signoff" else m[0],
                    text)


def revision() -> str:
    """Commit of this folder, with a plus where files differ from it; "unknown" outside of git."""
    try:
        done = subprocess.run(["git", "describe", "--always", "--dirty=+"], cwd=ROOT, text=True,
                              capture_output=True)
    except OSError:
        return "unknown"
    return done.stdout.strip() or "unknown"


def main(arguments: list[str] | None = None) -> int:
    """Write, look, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--save", action="store_true")
    options = parser.parse_args(arguments)
    sections = signoff.gather()
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(signoff.page(sections, revision()))
    if options.save:
        README.write_text(document(README.read_text(), sections))
    for section in sections:
        for line in section.lines:
            print(f"{'met   ' if line.met else 'missed'}  {line.what}: {line.figure} "
                  f"(goal: {line.goal})")
    faults = []
    if browser.find():
        for width in WIDTHS:
            view = browser.look(PAGE, width=width, png=PAGE.with_name(f"{width}.png"))
            faults += [f"at {width} pixels: {problem}" for problem in view.problems]
    print("\n".join([*faults, f"page: {PAGE.relative_to(ROOT)}"]))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
