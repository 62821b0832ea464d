# SPDX-License-Identifier: Apache-2.0
"""``make prove``: properties of the blocks, proved.

    .venv/bin/python scripts/prove.py [--quick] [--jobs 2] [--list] [NAME ...]

A proof (scripts/verify/prove_list.py) is a module at some parameters. It passes when
    its properties hold, by induction or, where the list says so, in all runs of a length,
    a trace reaches each of its cover statements, so that nothing holds for want of a case,
    each bug that is planted in its source breaks a property in a run from reset.
NAME: only proofs whose name contains one of these. Proofs done before with the same sources,
arguments and tools are not done again (build/prove/results). What passed goes to docs/proofs.json
and to the table of docs/verification.md. Exit code 1 where anything did not end so; traces lie in
build/prove/<name>.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from scripts import entry  # noqa: E402 (needs the repository on the search path)

entry.install()

from scripts.verify import prove_run  # noqa: E402
from scripts.verify.prove_list import PROOFS  # noqa: E402

COLUMNS = "{:36} {:>6} {:>8} {:>7} {:>5} {:>6} {:>8}  {}"


def row(name: str, result: dict, fresh: bool) -> str:
    """A line of the table."""
    broken = ", ".join(bug["property"] for bug in result["bugs"])
    return COLUMNS.format(name, result["mode"], result["asserts"], result["covers"],
                          len(result["bugs"]), f"{result['seconds']:.1f}",
                          f"{result['all_seconds']:.1f}", f"bugs break {broken}"
                          + ("" if fresh else " (as before)"))


def prove(proof) -> tuple[dict, bool]:
    """Result of a proof, and whether it was made in this run."""
    found = prove_run.cached(proof)
    if found:
        return found, False
    result = prove_run.run(proof)
    prove_run.store(result)
    return result, True


def commit(results: dict[str, dict]) -> None:
    """Write what passed to docs/proofs.json; what it holds for the same sources stays as it is."""
    before = prove_run.committed()["proofs"]
    proofs = {}
    for proof in PROOFS:
        old, new = before.get(proof.name), results.get(proof.name)
        entry_of = old if new is None or (old and old["key"] == new["key"]) else new
        if entry_of:
            proofs[proof.name] = entry_of
    text = json.dumps({"tools": prove_run.tools(), "proofs": proofs}, indent=1) + "\n"
    page = prove_run.replaced(prove_run.PAGE.read_text(), prove_run.table(proofs))
    for path, new in ((prove_run.RESULTS, text), (prove_run.PAGE, page)):
        if not path.exists() or path.read_text() != new:
            path.write_text(new)


def main(arguments: list[str] | None = None) -> int:
    """0 when all chosen proofs pass, 1 when one does not, 2 without the tools."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="leave out what takes minutes")
    parser.add_argument("--jobs", type=int, default=2, help="proofs side by side")
    parser.add_argument("--list", action="store_true", help="names only")
    parser.add_argument("names", nargs="*", help="only proofs whose names contain one of these")
    options = parser.parse_args(arguments)
    if options.jobs < 1:
        parser.error(f"--jobs is {options.jobs}, legal: 1 or more")
    chosen = [p for p in PROOFS if not (options.quick and p.slow)
              and (not options.names or any(n in p.name for n in options.names))]
    if not chosen:
        parser.error(f"no proof among {len(PROOFS)} has one of these names: {options.names}")
    if options.list:
        print("\n".join(p.name for p in chosen))
        return 0
    begin = time.monotonic()
    results, faults = {}, []
    print(COLUMNS.format("proof", "mode", "asserts", "covers", "bugs", "s", "s in all", ""))
    pool = ThreadPoolExecutor(options.jobs)
    try:
        prove_run.tools()
        # The longest first.
        found = {pool.submit(prove, p): p
                 for p in sorted(chosen, key=lambda p: not p.slow)}
        for future in as_completed(found):
            name = found[future].name
            try:
                results[name], fresh = future.result()
            except prove_run.ProveError as error:
                faults.append(name)
                print(f"{name:36} FAILED", error, sep="\n  ", flush=True)
            else:
                print(row(name, results[name], fresh), flush=True)
    except prove_run.ProveError as error:
        print(f"prove.py: {error}", file=sys.stderr)
        return 2
    finally:
        pool.shutdown(cancel_futures=True)
    commit(results)
    print(f"make prove: {'FAILED' if faults else 'PASSED'}, {len(results)} of {len(chosen)} proofs"
          f" in {time.monotonic() - begin:.0f} s")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
