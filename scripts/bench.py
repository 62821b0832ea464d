# SPDX-License-Identifier: Apache-2.0
"""``make bench``: cycles and bytes of the machine against its bounds, and simulation speed.

Jobs on captured heads and layers run on a configuration (paper by default) with a memory of one bus
word a cycle and 100 cycles latency, each in three ways: sums select, sort cores select, dense. For
each job: cycles, the bound of each resource (models/lab/cost/bands.py), cycles over the largest of
them, the cycle model's figure and its error (with numba, scripts/setup.sh lab), and from the
counters what kept the stages busy or waiting; for layers from X, what K and V cost on demand and by
other ways. The tables go to the terminal and to build/bench/<config>.md; build/bench/<config>.svg
draws cycles against bounds. --timeline adds a picture of each job, what every stage did when, and a
trace of all for Perfetto or chrome://tracing (tb/common/timeline.py).

    scripts/bench.py --jobs bench                   jobs of four query blocks or more
    scripts/bench.py --jobs heads,layers            every committed case; layers from X
    scripts/bench.py --ways sum,dense --only s1024
    scripts/bench.py --jobs few                     a token of three heads over 4096 keys
    scripts/bench.py --jobs llama                   attention of Llama-7B, in ms
    scripts/bench.py --jobs long --set KEYS_MAX=16384 --ways sum
                                                    the last 256 of 16384 rows
"""

from __future__ import annotations

import argparse
import shutil
import sys
from dataclasses import replace
from itertools import combinations
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from scripts import entry  # noqa: E402 (needs the repository on the search path)

entry.install()

import numpy as np  # noqa: E402

from models import workloads  # noqa: E402
from models.config import Config, ConfigError  # noqa: E402
from models.fast import available  # noqa: E402
from models.lab.cost.bands import MODES, Captured, Machine, bound_of, of_layer  # noqa: E402
from models.layer import traffic  # noqa: E402
from models.spec.configs import CONFIGS  # noqa: E402
from scripts.bench_picture import bars  # noqa: E402

WAYS = dict(zip(("sum", "sort", "dense"), MODES.values(), strict=True))
"""Ways to select: name -> settings of models.plan.plan."""

CHOICES = ("bench", "heads", "few", "long", "window", "layers", "llama")
DEFAULT = ("bench", "heads", "few", "window", "layers")
FEW_KEYS, LONG_KEYS, LONG_ROWS = 4096, 16384, 256
WINDOW, SINKS = 256, 4
"""Of the jobs with a sliding window."""

LLAMA_CASES = ("smollm2_code_s0512_l23", "smollm2_novel_s1024_l05")
LLAMA_ROWS = 512
LLAMA_HEADS = 32 * 32
"""Heads of Llama-7B: 32 layers of 32, with keys of their own."""

LLAMA_MULTIPLIERS = 128
"""To which the SOFA paper scales its table of peers, at 1 GHz."""

FEW_ROWS = 16
"""Query rows of the runs that show generation for few queries and many keys."""

PAPER_CELLS = 128 * 32
"""Prediction cells of the SOFA paper's machine; cycles of smaller ones are not compared with it."""

COLUMNS = ("job", "way", "cycles", "bound", "by", "ratio", "model", "error", "dlzs", "sads",
           "units", "read", "write", "kvgen", "keep", "union", "DRAM MB")
STALLS = ("job", "way", "DLZS busy", "DLZS stall", "SADS busy", "SADS stall", "RASS stall",
          "units busy", "units flush", "units stall", "units starve", "KVGEN busy", "KVGEN starve",
          "KVGEN stall", "fetch stall", "store stall", "bus")
KV_WAYS = ("on-demand", "all", "per-block", "per-row")
WORK = ("layer", "way", "keys made", "of seen", "read again", "paper's phases", "ratio",
        *(f"{what} {way}" for way in KV_WAYS for what in ("MMAC", "MB")))


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
    rows = group.length
    yield (f"GQA {group.group} heads, causal {rows} x {rows}, d {group.d}",
           group.q[: group.group], group.k[:1], group.v[:1], True)
    q, k, v = lm.head(0)
    rows = min(len(q), 4 * cfg.ROWS)
    size = f"{rows} x {len(k)}"
    yield f"causal {size}, d {lm.d}", q[None, -rows:], k[None], v[None], True
    yield f"causal {len(q)} x {len(k)}, d {lm.d}", q[None], k[None], v[None], True
    q, k, v = encoder.head(0)
    yield f"full {len(q)} x {len(k)}, d {encoder.d}", q[None], k[None], v[None], False
    if cfg.D_MAX >= 128:
        rows = group.length
        two = [np.concatenate([group.head(0)[i], group.head(1)[i]], axis=1)[None]
               for i in range(3)]
        yield f"causal {rows} x {rows}, d {2 * group.d}", *two, True


def llama():
    """Heads of Llama-7B's shape with keys of their own, as jobs() gives them, causal and full: 128
    elements are two captured heads side by side."""
    parts = []
    for case in map(workloads.load_case, LLAMA_CASES):
        heads = [[x[-LLAMA_ROWS:] for x in case.head(h)] for h in range(case.n_heads)]
        parts += [[np.concatenate(both, axis=1) for both in zip(a, b, strict=True)]
                  for a, b in combinations(heads, 2)]
    q, k, v = (np.stack(x) for x in zip(*parts, strict=True))
    for causal in (True, False):
        name = f"Llama-7B {len(q)} heads, {'causal' if causal else 'full'} {q.shape[1]}, d 128"
        yield name, q, k, v, causal


def heads():
    """Every committed case as one job, as jobs() gives them."""
    for name in workloads.list_cases():
        case = workloads.load_case(name)
        yield name, case.q, case.k, case.v, case.causal


def longer(x, keys, rng):
    """``x`` [heads, n, d], rows of the context, over and over up to ``keys``; the copies with noise
    of a third of the channels' spread."""
    copies = [x + 0.33 * x.std(axis=1, keepdims=True) * rng.normal(size=x.shape)
              for _ in range(-(-keys // x.shape[1]) - 1)]
    return np.concatenate([*copies, x], axis=1)[:, -keys:]


def few(ways, cfg):
    """(way, JobSpec) of the last token of the group of jobs() over FEW_KEYS keys: all its heads, in
    blocks of their own and in one, and one head."""
    from tb.system.simulate import JobSpec

    name, q, k, v, _ = next(jobs(cfg))
    rng = np.random.default_rng(1)
    k, v, q = longer(k, FEW_KEYS, rng), longer(v, FEW_KEYS, rng), q[:, -1:]
    for heads, share in ((len(q), True), (len(q), False), (1, False)):
        title = (f"1 token, {heads} heads" + (" in a block" if share else "")
                 + f", {FEW_KEYS} keys, d {q.shape[2]}")
        for way in ways:
            yield way, JobSpec.planned(title, q[:heads], k, v, cfg, causal=True, share=share,
                                       **WAYS[way])


def long(ways, cfg):
    """(way, JobSpec) of the last LONG_ROWS rows of one head over LONG_KEYS keys."""
    from tb.system.simulate import JobSpec

    name, q, k, v, _ = next(jobs(cfg))
    rng = np.random.default_rng(1)
    k, v = longer(k, LONG_KEYS, rng), longer(v, LONG_KEYS, rng)
    for way in ways:
        yield way, JobSpec.planned(f"causal {LONG_ROWS} x {LONG_KEYS}, d {q.shape[2]}",
                                   q[:1, -LONG_ROWS:], k, v, cfg, causal=True, **WAYS[way])


def window(ways, cfg):
    """(way, JobSpec) of the group of jobs() with a sliding window, and of as many rows behind
    FEW_KEYS keys."""
    from tb.system.simulate import JobSpec

    name, q, k, v, _ = next(jobs(cfg))
    rng = np.random.default_rng(1)
    for keys in (k.shape[1], FEW_KEYS):
        for way in ways:
            yield way, JobSpec.planned(
                f"window {WINDOW}, {SINKS} sinks: {len(q)} heads, {q.shape[1]} x {keys}, d "
                f"{q.shape[2]}", q, longer(k, keys, rng), longer(v, keys, rng), cfg, causal=True,
                window=WINDOW, sinks=SINKS, **WAYS[way])


def layers(ways, cfg):
    """(way, LayerSpec) of the layers from X: all rows in each way, the last few where sums select,
    if that is one of the ways."""
    from tb.system.simulate import LayerSpec

    for name in workloads.list_layers():
        case = workloads.load_layer(name)
        runs = [(way, case.length) for way in ways]
        runs += [("sum", FEW_ROWS)] if "sum" in ways else []
        for way, rows in runs:
            cut = replace(case, q=case.q[:, -rows:])
            yield way, LayerSpec(of_layer(cut, cfg, **WAYS[way]), f"{name} from X, {rows} rows")


def specs_of(chosen, ways, cfg):
    """(way, JobSpec or LayerSpec) of the chosen jobs."""
    from tb.system.simulate import JobSpec

    found = [*(jobs(cfg) if "bench" in chosen else ()), *(heads() if "heads" in chosen else ()),
             *(llama() if "llama" in chosen else ())]
    for name, q, k, v, causal in found:
        for way in ways:
            yield way, JobSpec.planned(name, q, k, v, cfg, causal=causal, **WAYS[way])
    for name, made in (("few", few), ("long", long), ("window", window), ("layers", layers)):
        if name in chosen:
            yield from made(ways, cfg)


def table(columns, rows):
    """A markdown table."""
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    return "\n".join(lines + ["| " + " | ".join(map(str, r)) + " |" for r in rows])


def measured(way, spec, done, cfg):
    """The lines of a job in the tables of cycles and of stalls, and in the picture."""
    count, stats = done.counters, done.stats
    source = spec.plan if done.layer is not None else None
    kv_heads = spec.plan.kv_heads if source else len(spec.numbers.k)
    one = Captured(spec.name, way, spec.reference(cfg).selected, spec.job, kv_heads, source)
    machine = Machine(packed=spec.job.share)
    model, predict = None, count["PREDICT"]
    bound = bound_of(one.work(cfg, machine), spec.job, cfg, machine, source)
    if available():
        model = one.cycles(cfg, machine).total
    cycles, by = count["CYCLES"], max(bound, key=bound.__getitem__)
    least = bound[by] + predict
    read = sum(count[f"BEATS_{s}"] for s in ("Q", "K8", "K", "V", "W", "R", "X", "D"))
    moved = read + count["BEATS_O"] + count["BEATS_WB"]
    units = 2 * cfg.ROWS // cfg.QE
    row = (spec.name, way, cycles, least, by, f"{cycles / least:.3f}",
           model or "-", f"{model / cycles - 1:+.1%}" if model else "-",
           *(bound.get(name, 0) for name in ("dlzs", "sads", "units", "read", "write", "kvgen")),
           f"{stats.keep:.3f}", f"{sum(stats.union) / sum(stats.slots):.2f}",
           f"{moved * cfg.BUS_BYTES / 1e6:.2f}")
    share = [f"{count[name] / cycles:.1%}" for name in (
        "DLZS_BUSY", "DLZS_STALL", "SADS_BUSY", "SADS_STALL", "RASS_STALL")]
    share += [f"{count[f'SUFA_{name}'] / cycles / units:.1%}"
              for name in ("BUSY", "FLUSH", "STALL", "STARVE")]
    share += [f"{count[name] / cycles:.1%}" for name in (
        "KVGEN_BUSY", "KVGEN_STARVE", "KVGEN_STALL", "FETCH_STALL", "STORE_STALL")]
    drawn = {name: least + predict for name, least in bound.items() if least}
    return (row, (spec.name, way, *share, f"{read / cycles:.1%}"),
            (f"{spec.name}, {way}", cycles, drawn))


def generated(way, spec, done, cfg):
    """The line of a layer in the table of what K and V cost."""
    plan, count = spec.plan, done.counters
    seen = plan.kv_heads * plan.keys
    phases = ("-", "-")
    if cfg.ROWS * cfg.COLS == PAPER_CELLS:
        least = max(plan.kv_heads * -(-plan.keys // cfg.COLS) * plan.h,
                    count["GENERATED"] * plan.h // 2)
        phases = (least, f"{count['CYCLES'] / least:.3f}")
    costs = traffic(plan, spec.reference(cfg), cfg)
    return (spec.name, way, count["GENERATED"], f"{count['GENERATED'] / seen:.1%}",
            count["REUSED"], *phases,
            *(f"{x:.1f}" for name in KV_WAYS for x in (
                costs[name].macs / 1e6, (costs[name].read + costs[name].written) / 1e6)))


def llama_time(way, spec, done, cfg):
    """The line of a job of llama() in its table; None for another job."""
    if not spec.name.startswith("Llama"):
        return None
    ms = done.counters["CYCLES"] / len(spec.numbers.q) * LLAMA_HEADS / 1e6
    # A beat of Q times K and one of p times V in each of 2*ROWS/QE units
    multipliers = 4 * cfg.ROWS
    return (spec.name, way, f"{done.stats.keep:.3f}", f"{ms:.2f}",
            f"{ms * multipliers / LLAMA_MULTIPLIERS:.1f}")


def timelines(pairs, folder, target, name):
    """Write the picture of every job, and copy the trace; returns their part of the report. A layer
    is two jobs."""
    from tb.common import timeline
    from tb.system.simulate import LayerSpec

    trace = target / f"{name}.json.gz"
    shutil.copy(folder / timeline.TRACE, trace)
    tracks = timeline.load(trace)
    ran = iter(timeline.jobs(tracks))
    parts = [f"Trace of all, for Perfetto or chrome://tracing: {trace}"]
    for i, (way, spec, _) in enumerate(pairs):
        first, last = next(ran)
        if isinstance(spec, LayerSpec):
            _, last = next(ran)
        picture = target / f"{name}-{i}.svg"
        picture.write_text(timeline.picture(tracks, first, last, f"{spec.name}, {way}"))
        parts.append(f"![{spec.name}, {way}]({picture.name})")
    return "\n\n".join(parts)


def listed(text, known, option):
    """The names of a list with commas; ConfigError for one that is not known."""
    names = [name for name in text.split(",") if name]
    if not names or set(names) - set(known):
        raise ConfigError(f"{option} {text}, legal: some of {', '.join(known)} with commas")
    return names


def parser_of(text):
    """The arguments that choose the machine, for a script whose docstring is ``text``."""
    parser = argparse.ArgumentParser(description=text.split("\n")[0])
    parser.add_argument("--config", default="paper", choices=list(CONFIGS))
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE",
                        help="override a Verilog parameter of the configuration")
    return parser


def machine_of(args):
    """(Config, changed Verilog parameters) of these arguments; ConfigError when not legal."""
    changes = {}
    for text in args.set:
        name, _, value = text.partition("=")
        if not value.isdigit():
            raise ConfigError(f"--set {text}, legal: NAME=VALUE with a number as VALUE")
        changes[name] = int(value)
    return Config.from_parameters({**CONFIGS[args.config], **changes}, args.config), changes


def guarded(main):
    """Exit status of main(); a failure of set-up, build or simulation becomes one message."""
    from tb.runner import BuildError, SimulationError

    try:
        return main()
    except (BuildError, SimulationError, ConfigError) as exc:
        return f"bench: {exc}"


def main(argv=None):
    parser = parser_of(__doc__)
    parser.add_argument("--jobs", default=",".join(DEFAULT), help=f"some of {', '.join(CHOICES)}")
    parser.add_argument("--ways", default=",".join(WAYS), help=f"some of {', '.join(WAYS)}")
    parser.add_argument("--only", default="", help="jobs whose name has this text")
    parser.add_argument("--timeline", action="store_true", help="what every stage did when")
    args = parser.parse_args(argv)
    from tb import runner
    from tb.system.simulate import LayerSpec, Options, simulate

    runner.DEFAULTS.timeline = args.timeline
    cfg, changes = machine_of(args)
    chosen, ways = listed(args.jobs, CHOICES, "--jobs"), listed(args.ways, WAYS, "--ways")
    if "sort" in ways and not {**CONFIGS[args.config], **changes}["SORT"]:
        if args.ways != parser.get_default("ways"):
            raise ConfigError(f"--ways {args.ways}, legal: no sort where SORT = 0")
        ways.remove("sort")
    made = [(way, spec) for way, spec in specs_of(chosen, ways, cfg) if args.only in spec.name]
    if not made:
        raise ConfigError(f"--only {args.only!r}, legal: text in the name of a job")
    outcomes = simulate([spec for _, spec in made], args.config, changes=changes,
                        options=Options(taps=False))
    pairs = [(way, spec, done) for (way, spec), done in zip(made, outcomes, strict=True)]
    rows, stalls, drawn = zip(*(measured(*pair, cfg) for pair in pairs), strict=True)
    work = [generated(*pair, cfg) for pair in pairs if isinstance(pair[1], LayerSpec)]
    cycles, cpu = sum(o.counters["CYCLES"] for o in outcomes), sum(o.cpu_s for o in outcomes)
    title, name = " ".join([args.config, *args.set]), "-".join([args.config, *args.set])
    target = Path("build/bench")
    target.mkdir(parents=True, exist_ok=True)
    (target / f"{name}.svg").write_text(bars(drawn, f"Cycles and bounds, configuration {title}"))
    parts = [
        f"# Bench, configuration {title}",
        "Cycles of whole jobs from start to interrupt, and the bound of each resource alone "
        "(models/lab/cost/bands.py; of layers from X with the cycles of the jobs that predict K8). "
        "model, error: the cycle model against cycles. keep: share of visible pairs used; union: "
        "keys issued for a slot of a tile that was scored.",
        table(COLUMNS, rows),
        "Share of the cycles in which a stage worked, was blocked by the next one (stall), or "
        "had no keys (starve); units: mean of all; bus: read beats a cycle.",
        table(STALLS, stalls),
        f"![cycles against bounds]({name}.svg)"]
    if args.timeline:
        parts.append(timelines(pairs, Path(runner.RECORDS[-1]["results_dir"]), target, name))
    if work:
        parts += [
            "Keys whose K and V were made, as a share of those that the query rows see, and keys "
            "read again; the longer one of the phases of the SOFA paper's machine for keys (S/COLS "
            "x H cycles a head) and for K and V (H/2 a token), and cycles over it; 16-bit "
            "multiply-adds and bytes that K and V cost on demand and by three other ways: all keys "
            "made at first; unions made anew in every band and not written; every row reads its "
            "own keys. The mean rows of X are left out.",
            table(WORK, work)]
    if "llama" in chosen:
        parts += [f"Attention of Llama-7B, {LLAMA_HEADS} heads, at 1 GHz, and as the SOFA paper "
                  f"scales it, to {LLAMA_MULTIPLIERS} multipliers of SU-FA:",
                  table(("job", "way", "keep", "ms", "ms, scaled"),
                        [line for pair in pairs if (line := llama_time(*pair, cfg))])]
    parts += [f"Simulation, cocotb and memory model included: {cycles} cycles in {cpu:.1f} CPU s, "
              f"{cycles / cpu:.0f} cycles/s. Every output is bit-exact, and all that layers leave "
              f"in memory."]
    text = "\n\n".join(parts)
    print(text)
    (target / f"{name}.md").write_text(text + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(guarded(main))
