# SPDX-License-Identifier: Apache-2.0
"""Results of the soak test: a line for each seed in build/soak/<config>.jsonl, and the summary of
the seeds that hold for the sources as they are, docs/soak.json and a table of
docs/verification.md.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from models.lab.report.record import MARK
from scripts.verify import depends

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "build" / "soak"
SUMMARY = ROOT / "docs" / "soak.json"
DOCUMENT = ROOT / "docs" / "verification.md"


def sources() -> str:
    """Hash of all that a result depends on: RTL, models, test bench, configurations."""
    return depends.sha(depends.design("sofa"), depends.python(ROOT / "tb" / "system" / "soak.py"))


def path_of(config: str, folder: Path = RESULTS) -> Path:
    """The file of a configuration's results."""
    return folder / f"{config}.jsonl"


def append(config: str, about: dict, records, folder: Path = RESULTS) -> None:
    """Add records; about: hash of the sources and simulator that they hold for."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(path_of(config, folder), "a") as handle:
        handle.write("".join(json.dumps(about | one) + "\n" for one in records))


def load(config: str, about: dict, folder: Path = RESULTS) -> dict[int, dict]:
    """Seed -> record of those that hold for ``about``. A line that a kill has cut is passed
    over."""
    found = {}
    path = path_of(config, folder)
    for line in path.read_text().splitlines() if path.exists() else ():
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if record.items() >= about.items():
            found[record["seed"]] = record
    return found


def spans(seeds) -> list[list[int]]:
    """[first, last] of each run of neighbouring numbers."""
    found: list[list[int]] = []
    for seed in sorted(seeds):
        if found and found[-1][1] == seed - 1:
            found[-1][1] = seed
        else:
            found.append([seed, seed])
    return found


def summary(records: dict[int, dict], about: dict) -> dict:
    """What docs/soak.json says of a configuration."""
    right = [one for one in records.values() if "failure" not in one]
    counts = Counter(name for one in records.values() for name in one["with"])
    return {
        **about, "seeds": spans(records), "items": len(records),
        "jobs": sum(one["jobs"] for one in records.values()),
        "cycles": sum(one["cycles"] for one in right),
        "values": sum(one["values"] for one in right),
        "seconds": round(sum(one["seconds"] for one in right)),
        "mismatches": sorted(set(records) - {one["seed"] for one in right}),
        "with": dict(sorted(counts.items())),
    }


def read(path: Path = SUMMARY) -> dict[str, dict]:
    """The saved summaries, configuration -> summary."""
    return json.loads(path.read_text()) if path.exists() else {}


def save(made: dict[str, dict], path: Path = SUMMARY, page: Path = DOCUMENT) -> None:
    """Keep the summaries of some configurations, and write the table of the page."""
    every = {**read(path), **made}
    path.write_text(json.dumps(every, indent=1) + "\n")
    page.write_text(document(page.read_text(), every))


def table(every: dict[str, dict]) -> str:
    """The table of the page, Markdown."""
    lines = ["| configuration | seeds | jobs | cycles | values compared | wrong | sources |",
             "|---|---|---|---|---|---|---|"]
    for config, of in every.items():
        lines.append(f"| {config} | {of['items']:,} | {of['jobs']:,} | {of['cycles']:,} | "
                     f"{of['values']:,} | {len(of['mismatches'])} | {of['sources']} |")
    return "\n".join(lines) + "\n"


def document(page: str, every: dict[str, dict]) -> str:
    """A page with the table made of the summaries."""
    return MARK.sub(lambda m: m[1] + table(every) + m[4] if m[2] == "soak" else m[0], page)
