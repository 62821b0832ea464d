# SPDX-License-Identifier: Apache-2.0
"""``make power``: energy of a real head on the machine, block by block (docs/silicon.md, Power).

    .venv/bin/python scripts/power.py [--config lean] [--ways sum,dense] [block ...]
    .venv/bin/python scripts/power.py --save          also keep its figures in docs/power.json and
                                                      write the tables of docs/silicon.md
    .venv/bin/python scripts/power.py --documents     only write the tables

The RTL runs the job and its ports are recorded; the netlists of `make synth` run again with them,
gate by gate with delays; their outputs must be those of the RTL. Results: build/power/CONFIG.json.
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

from models import workloads  # noqa: E402
from models.config import Config  # noqa: E402
from models.spec.configs import CONFIGS  # noqa: E402
from scripts.bench import WAYS  # noqa: E402
from scripts.silicon import activity, energy, machine, power_report, toggle  # noqa: E402
from scripts.silicon.jobs import JobError  # noqa: E402
from scripts.silicon.netlist import NetlistError  # noqa: E402
from scripts.silicon.recipe import SynthError  # noqa: E402

BUILD = ROOT / "build" / "power"
CASE, HEAD, ROWS = "smollm2_novel_s1024_l05", 0, 256
"""The head: its last ROWS rows against all keys that they see."""
CYCLES = 12000
"""Cycles of a job that the netlists run; what is left of it counts as much a cycle."""
PARTS = ("gates", "registers", "clock", "memory", "leak")


def spec_of(way: str, config: str):
    """The job of a way to select; on a machine for less, a corner of the head."""
    from tb.system.simulate import JobSpec

    cfg = Config.from_parameters(CONFIGS[config], config)
    q, k, v = workloads.load_case(CASE).head(HEAD)
    keys = min(len(k), cfg.KEYS_MAX // 2)
    rows, d = min(ROWS, 2 * cfg.ROWS), min(q.shape[1], cfg.D_MAX)
    return JobSpec.planned(way, q[None, keys - rows : keys, :d], k[None, :keys, :d],
                           v[None, :keys, :d], cfg, causal=True, **WAYS[way])


def record(config: str, way: str, rules: Path):
    """Run the job on the RTL; returns (Outcome, Waves)."""
    from tb import runner
    from tb.system.simulate import Options, simulate

    [done] = simulate([spec_of(way, config)], config, waves=True, options=Options(taps=False),
                      sources=[runner.find_module("sofa"), rules],
                      plusargs=["+verilator+rand+reset+0"])
    folder = runner.ROOT / runner.RECORDS[-1]["results_dir"]
    return done, activity.Waves(folder / runner.wave_file("verilator"))


def measure(sample, designs, whole, costs, waves) -> dict:
    """Energy of a sample at 28 nm, pJ, and what says how good it is."""
    first, last = waves.window()
    end = min(last, first + CYCLES)
    given, seen = activity.stimulus(sample, designs, whole, waves)
    counts = toggle.Simulation(whole, costs).run(given, seen, end, first, end)
    got = energy.logic(whole, costs, counts.toggles, counts.clocks)
    more = (last - first) / (end - first)
    memory = sum((r + w) * energy.memory_energy(words, bits)
                 for words, bits, r, w in counts.accesses)
    gates = [n for n, (i, *_) in whole.driver.items() if i >= 0 and n not in counts.clocks]
    settled, toggles = counts.settled[gates].sum(), counts.toggles[gates].sum()
    return {
        **{part: got[part] * energy.SCALE_28 * more / 1000
           for part in ("gates", "registers", "clock")},
        "memory": memory * more / 1000,
        "leak": got["leak"] * energy.LEAK_28 * (last - first) / energy.CLOCK_GHZ / 1e6,
        "glitches": float(1 - settled / toggles) if toggles else 0.0,
        "wrong": int((counts.wrong > 0).sum()),
    }


def say(text: str) -> None:
    """A line at once."""
    print(text, flush=True)


def run(config: str, ways: list[str], only: set[str], jobs: int) -> dict:
    """The results of all blocks, or of ``only`` some; ``jobs`` processes synthesise."""
    blocks = machine.machine(CONFIGS[config], jobs, say)["blocks"]
    todo = machine.elaborate(CONFIGS[config])
    designs = activity.designs_of(todo, {n: b["variant"] for n, b in blocks.items()})
    time_key = machine.time_keys(todo, machine.net_keys(todo))
    costs = energy.costs(machine.cells())
    found = activity.samples(todo, designs)
    BUILD.mkdir(parents=True, exist_ok=True)
    rules = BUILD / f"record-{config}.vlt"
    rules.write_text(activity.rules(found, designs))
    got = {"config": config, "case": CASE, "ways": {}}
    for way in ways:
        done, waves = record(config, way, rules)
        result = {"cycles": done.counters["CYCLES"], "kept": done.stats.selected,
                  "visible": done.stats.visible, "rows": done.out.shape[1],
                  "d": done.out.shape[2], "blocks": {}}
        got["ways"][way] = result
        for job in todo:
            if only and job.name not in only:
                continue
            begin = time.monotonic()
            whole = machine.mapped(job, designs[job.name], time_key, machine.cells())
            each = [measure(s, designs, whole, costs, waves) for s in found
                    if s.block == job.name]
            block = {key: sum(e[key] for e in each) / len(each) for key in each[0]}
            for part in PARTS:
                block[part] *= job.instances
            result["blocks"][job.name] = {"module": job.module, "instances": job.instances,
                                          "samples": len(each), **block}
            say(f"{way} {job.name}: {sum(block[p] for p in PARTS) / 1000:.1f} nJ, glitches "
                f"{block['glitches']:.0%}, wrong {block['wrong']:.0f}, "
                f"{time.monotonic() - begin:.0f} s")
    return got


def main(arguments: list[str] | None = None) -> int:
    """Exit code: 0 done, 2 it cannot be done."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", choices=list(CONFIGS), default="lean")
    parser.add_argument("--ways", default="sum,dense", help=f"some of {', '.join(WAYS)}")
    parser.add_argument("--jobs", type=int, default=2, help="processes that synthesise")
    parser.add_argument("blocks", nargs="*", help="only these")
    parser.add_argument("--save", action="store_true", help="keep the figures in docs/power.json")
    parser.add_argument("--documents", action="store_true", help="write the tables of the document")
    options = parser.parse_args(arguments)
    ways = options.ways.split(",")
    if set(ways) - set(WAYS):
        parser.error(f"--ways {options.ways}, legal: some of {', '.join(WAYS)} with commas")
    if options.jobs < 1:
        parser.error(f"--jobs is {options.jobs}, legal: 1 or more")
    if options.blocks and options.save:
        parser.error("--save goes without blocks")
    if options.documents:
        power_report.write_document()
        return 0
    try:
        got = run(options.config, ways, set(options.blocks), options.jobs)
    except (SynthError, JobError, NetlistError, KeyError) as error:
        print(f"power.py: {error}", file=sys.stderr)
        return 2
    print(power_report.text(got))
    if not options.blocks:
        out = BUILD / f"{options.config}.json"
        out.write_text(json.dumps(got, indent=1) + "\n")
    if options.save:
        power_report.save(got)
        power_report.write_document()
    return 0


if __name__ == "__main__":
    sys.exit(main())
