# SPDX-License-Identifier: Apache-2.0
"""Cycles and bytes of the second machine against its bounds, and simulation speed.

Jobs on captured heads run on a configuration (paper by default) with a memory of one bus word a
cycle and 100 cycles latency, each in the ways to select of models/lab/bands.py and dense. For each
job: cycles, the bound of each resource (models/lab/bands.py), cycles over the largest of them, the
cycle model's figure and its error, and from the counters what kept the stages busy or waiting. The
tables go to the terminal and to build/bench/second-<config>.md.

    scripts/bench_second.py                         the GQA job and the heads of scripts/bench.py
    scripts/bench_second.py --jobs heads,layers     every committed head; layers from X
    scripts/bench_second.py --ways sum,dense
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from scripts import entry  # noqa: E402 (needs the repository on the search path)

entry.install()

from models import workloads  # noqa: E402
from models.config import ConfigError  # noqa: E402
from models.fast import available  # noqa: E402
from models.lab.bands import MODES, Captured, Machine, of_layer  # noqa: E402
from models.second.config import Config  # noqa: E402
from scripts.bench import guarded, jobs, parser_of, table  # noqa: E402
from scripts.configs import CONFIGS  # noqa: E402

WAYS = dict(zip(("sum", "sort", "dense"), MODES.values(), strict=True))
"""Ways to select: name -> settings of models.second.plan.plan."""

COLUMNS = ("job", "way", "cycles", "bound", "by", "ratio", "model", "error", "dlzs", "sads",
           "units", "read", "write", "kvgen", "keep", "union", "DRAM MB")
STALLS = ("job", "way", "DLZS busy", "DLZS stall", "SADS busy", "SADS stall", "RASS stall",
          "units busy", "units flush", "units stall", "units starve", "KVGEN busy", "KVGEN stall",
          "fetch stall", "store stall", "bus")
CHOICES = ("bench", "heads", "layers")


def gqa(cfg):
    """The heads of scripts/bench.py, the job of three heads on one KV head first."""
    return sorted(jobs(cfg), key=lambda job: not job[0].startswith("GQA"))


def heads():
    """Every committed case as one job."""
    for name in workloads.list_cases():
        case = workloads.load_case(name)
        yield name, case.q, case.k, case.v, case.causal


def specs_of(chosen, ways, cfg):
    """(way, JobSpec or LayerSpec) of the chosen jobs."""
    from tb.system.second_simulate import JobSpec, LayerSpec

    found = [*(gqa(cfg) if "bench" in chosen else ()), *(heads() if "heads" in chosen else ())]
    for name, q, k, v, causal in found:
        for way in ways:
            yield way, JobSpec.planned(name, q, k, v, cfg, causal=causal, **WAYS[way])
    for name in workloads.list_layers() if "layers" in chosen else ():
        for way in ways:
            yield way, LayerSpec(of_layer(workloads.load_layer(name), cfg, **WAYS[way]),
                                 f"{name} from X")


def measured(way, spec, done, cfg):
    """The lines of a job in both tables."""
    layer, count = done.layer is not None, done.counters
    source = spec.plan if layer else None
    kv_heads = spec.plan.kv_heads if layer else len(spec.numbers.k)
    one = Captured(spec.name, way, spec.reference(cfg).selected, spec.job, kv_heads, source)
    machine = Machine(packed=False)
    if available():
        model = one.cycles(cfg, machine)
        bound, expected = model.bound, model.total
        predict = model.predict
    else:
        from models.lab.bands import bound_of

        bound, expected, predict = bound_of(one.work(cfg, machine), spec.job, cfg, machine,
                                            source), None, 0
    cycles, by = count["CYCLES"], max(bound, key=bound.__getitem__)
    read = sum(count[f"BEATS_{s}"] for s in ("Q", "K8", "K", "V", "W", "R", "X", "D"))
    moved = read + count["BEATS_O"] + count["BEATS_WB"]
    units = 2 * cfg.ROWS // cfg.QE
    stats = done.stats
    row = (spec.name, way, cycles, bound[by] + predict, by, f"{cycles / (bound[by] + predict):.3f}",
           expected or "-", f"{expected / cycles - 1:+.1%}" if expected else "-",
           *(bound.get(name, 0) for name in ("dlzs", "sads", "units", "read", "write", "kvgen")),
           f"{stats.keep:.3f}", f"{sum(stats.union) / sum(stats.slots):.2f}",
           f"{moved * cfg.BUS_BYTES / 1e6:.2f}")
    share = [f"{count[name] / cycles:.1%}" for name in (
        "DLZS_BUSY", "DLZS_STALL", "SADS_BUSY", "SADS_STALL", "RASS_STALL")]
    share += [f"{count[f'SUFA_{name}'] / cycles / units:.1%}"
              for name in ("BUSY", "FLUSH", "STALL", "STARVE")]
    share += [f"{count[name] / cycles:.1%}"
              for name in ("KVGEN_BUSY", "KVGEN_STALL", "FETCH_STALL", "STORE_STALL")]
    return row, (spec.name, way, *share, f"{read / cycles:.1%}")


def listed(text, known, option):
    """The names of a list with commas; ConfigError for one that is not known."""
    names = [name for name in text.split(",") if name]
    if not names or set(names) - set(known):
        raise ConfigError(f"{option} {text}, legal: some of {', '.join(known)} with commas")
    return names


def main(argv=None):
    parser = parser_of(__doc__)
    parser.add_argument("--jobs", default="bench", help=f"some of {', '.join(CHOICES)}")
    parser.add_argument("--ways", default=",".join(WAYS), help=f"some of {', '.join(WAYS)}")
    parser.add_argument("--only", default="", help="jobs whose name has this text")
    args = parser.parse_args(argv)
    from tb.system.second_simulate import simulate
    from tb.system.simulate import Options

    changes = {}
    for text in args.set:
        name, _, value = text.partition("=")
        if not value.isdigit():
            raise ConfigError(f"--set {text}, legal: NAME=VALUE with a number as VALUE")
        changes[name] = int(value)
    cfg = Config.from_parameters({**CONFIGS[args.config], **changes}, args.config)
    chosen, ways = listed(args.jobs, CHOICES, "--jobs"), listed(args.ways, WAYS, "--ways")
    made = [(way, spec) for way, spec in specs_of(chosen, ways, cfg) if args.only in spec.name]
    if not made:
        raise ConfigError(f"--only {args.only!r}, legal: text in the name of a job")
    outcomes = simulate([spec for _, spec in made], args.config, changes=changes,
                        options=Options(taps=False))
    rows, stalls = zip(*(measured(way, spec, done, cfg)
                         for (way, spec), done in zip(made, outcomes, strict=True)), strict=True)
    cycles, wall = sum(o.counters["CYCLES"] for o in outcomes), sum(o.wall_s for o in outcomes)
    text = "\n\n".join((
        f"# Bench of the second machine, configuration {' '.join([args.config, *args.set])}",
        "Cycles of whole jobs from start to interrupt and the bound of each resource alone "
        "(models/lab/bands.py; of layers from X with the cycles of the jobs that predict K8). "
        "model, error: the cycle model against cycles. keep: share of visible pairs used; union: "
        "keys issued for a slot of a tile that was scored.",
        table(COLUMNS, rows),
        "Share of the cycles in which a stage worked, was blocked by the next one (stall), or "
        "had no keys (starve), units: mean of all; bus: read beats a cycle.",
        table(STALLS, stalls),
        f"Simulation, cocotb and memory model included: {cycles} cycles in {wall:.1f} s, "
        f"{cycles / wall:.0f} cycles/s. Every output is bit-exact."))
    print(text)
    target = Path("build/bench")
    target.mkdir(parents=True, exist_ok=True)
    (target / f"second-{'-'.join([args.config, *args.set])}.md").write_text(text + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(guarded(main))
