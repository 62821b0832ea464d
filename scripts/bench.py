# SPDX-License-Identifier: Apache-2.0
"""``make bench``: cycles and bytes of the machine against its bounds, and simulation speed.

Jobs on captured heads run on a configuration (paper by default) with a memory of one bus word a
cycle and 100 cycles latency. For each job: cycles, the bounds of the stages (models/bounds.py),
cycles over the largest of them, the cycle model's figure (models/lab/cycles.py) and its error, and
from the counters what kept each stage busy or waiting. The tables go to the terminal and to
build/bench/<config>.md.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from scripts import entry  # noqa: E402 (needs the repository on the search path)

entry.install()

import numpy as np  # noqa: E402

from models import workloads  # noqa: E402
from models.bounds import job_bound  # noqa: E402
from models.config import Config, ConfigError  # noqa: E402
from models.lab.cycles import job_cycles  # noqa: E402
from scripts.configs import CONFIGS  # noqa: E402

COLUMNS = ("job", "quota", "cycles", "bound", "by", "ratio", "model", "error", "dlzs", "sufa",
           "dram", "keep", "union", "fill", "DRAM MB")
STALLS = ("job", "quota", "DLZS busy", "DLZS stall", "SADS busy", "SADS stall", "SU-FA busy",
          "SU-FA stall", "SU-FA starve", "fetch stall", "store stall", "bus")


def jobs(cfg):
    """Yield (name, q [H, R, d], k, v [Hkv, S, d], causal): four query blocks or more each.

    Taken from the longest committed cases; d = 128 is made of two heads side by side, since the
    captured models have none.
    """
    longest = sorted((workloads.load_case(n) for n in workloads.list_cases()),
                     key=lambda c: (c.length, c.name), reverse=True)
    lm = next(c for c in longest if c.causal)
    encoder = next(c for c in longest if not c.causal)
    group = next(c for c in longest if c.causal and c.group > 1)
    q, k, v = lm.head(0)
    rows = min(len(q), 4 * cfg.ROWS)
    size = f"{rows} x {len(k)}"
    yield f"causal {size}, d {lm.d}", q[None, -rows:], k[None], v[None], True
    yield f"causal {len(q)} x {len(k)}, d {lm.d}", q[None], k[None], v[None], True
    q, k, v = encoder.head(0)
    yield f"full {len(q)} x {len(k)}, d {encoder.d}", q[None], k[None], v[None], False
    rows = group.length
    yield (f"GQA {group.group} heads, causal {rows} x {rows}, d {group.d}",
           group.q[: group.group], group.k[:1], group.v[:1], True)
    if cfg.D_MAX >= 128:
        two = [np.concatenate([group.head(0)[i], group.head(1)[i]], axis=1)[None]
               for i in range(3)]
        yield f"causal {rows} x {rows}, d {2 * group.d}", *two, True


def table(columns, rows):
    """A markdown table."""
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    return "\n".join(lines + ["| " + " | ".join(map(str, r)) + " |" for r in rows])


def parser_of(text):
    """The arguments that choose the machine, for a script whose docstring is ``text``."""
    parser = argparse.ArgumentParser(description=text.split("\n")[0])
    parser.add_argument("--config", default="paper", choices=list(CONFIGS))
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE",
                        help="override a Verilog parameter of the configuration")
    return parser


def machine(args):
    """(Config, changed Verilog parameters) of these arguments; ConfigError when not legal."""
    changes = {}
    for text in args.set:
        name, _, value = text.partition("=")
        if not value.isdigit():
            raise ConfigError(f"--set {text}, legal: NAME=VALUE with a number as VALUE")
        changes[name] = int(value)
    return Config.from_parameters({**CONFIGS[args.config], **changes}), changes


def guarded(main):
    """Exit status of main(); a failure of set-up, build or simulation becomes one message."""
    from tb.runner import BuildError, SimulationError

    try:
        return main()
    except (BuildError, SimulationError, ConfigError) as exc:
        return f"bench: {exc}"


def main(argv=None):
    parser = parser_of(__doc__)
    parser.add_argument("--quotas", default="4,8,16,64", help="keys a row takes from a tile")
    parser.add_argument("--radius", type=float, help="nats; default: none")
    parser.add_argument("--no-dense", action="store_true", help="leave out the dense runs")
    args = parser.parse_args(argv)
    from tb.system.simulate import JobSpec, Options, simulate

    cfg, changes = machine(args)
    quotas = sorted({min(int(x), cfg.BC_MAX) for x in args.quotas.split(",")})
    specs = []
    for name, q, k, v, causal in jobs(cfg):
        for quota in quotas if args.no_dense else [*quotas, None]:
            specs.append(JobSpec.planned(name, q, k, v, cfg, causal=causal, quota=quota or 1,
                                         radius_nats=args.radius, dense=quota is None))
    outcomes = simulate(specs, args.config, changes=changes, options=Options(taps=False))

    rows, stalls = [], []
    for spec, done in zip(specs, outcomes, strict=True):
        name, count, stats = spec.name, done.counters, done.stats
        quota = "dense" if spec.job.dense else spec.job.quota
        bound = job_bound(stats, spec.job, cfg)
        cycles = count["CYCLES"]
        by = max(("dlzs", bound.dlzs), ("sufa", bound.sufa), ("dram", bound.dram),
                 key=lambda p: p[1])[0]
        model = job_cycles(stats, spec.job, cfg, heads=len(spec.numbers.q),
                           kv_heads=len(spec.numbers.k)).total
        beats = sum(count[f"BEATS_{s}"] for s in ("Q", "K8", "K", "V"))
        rows.append((name, quota, cycles, bound.planned, by, f"{cycles / bound.planned:.3f}",
                     model, f"{model / cycles - 1:+.1%}", bound.dlzs, bound.sufa, bound.dram,
                     f"{stats.keep:.3f}",
                     f"{sum(stats.union) / sum(stats.slots):.2f}",
                     f"{stats.selected / (2 * sum(stats.nsteps) * cfg.ROWS):.2f}",
                     f"{(beats + count['BEATS_O']) * cfg.BUS_BYTES / 1e6:.2f}"))
        share = [f"{count[c] / cycles:.1%}" for c in (
            "DLZS_BUSY", "DLZS_STALL", "SADS_BUSY", "SADS_STALL", "SUFA_BUSY", "SUFA_STALL",
            "SUFA_STARVE", "FETCH_STALL", "STORE_STALL")]
        stalls.append((name, quota, *share, f"{beats / cycles:.1%}"))
    speeds = []
    for mode, wanted in (("sparse", False), ("dense", True)):
        part = [o for o, s in zip(outcomes, specs, strict=True) if s.job.dense == wanted]
        if part:
            total = sum(o.counters["CYCLES"] for o in part)
            wall = sum(o.wall_s for o in part)
            speeds.append(f"{mode} {total} cycles in {wall:.1f} s, {total / wall:.0f} cycles/s")
    text = "\n\n".join((
        f"# Bench, configuration {' '.join([args.config, *args.set])}",
        "Cycles of whole jobs from start to interrupt and the bounds of DLZS, SU-FA (every row "
        "takes its quota) and memory. model, error: the cycle model against cycles. keep: share "
        "of visible pairs used; union: share of the tile slots some row used; fill: useful share "
        "of the SU-FA lanes' key slots.",
        table(COLUMNS, rows),
        "Share of the cycles in which a stage worked, was blocked by the next one (stall), or "
        "had no keys (starve); bus: read beats a cycle.",
        table(STALLS, stalls),
        f"Simulation, cocotb and memory model included: {'; '.join(speeds)}. Every output is "
        "bit-exact."))
    print(text)
    target = Path("build/bench")
    target.mkdir(parents=True, exist_ok=True)
    (target / f"{'-'.join([args.config, *args.set])}.md").write_text(text + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(guarded(main))
