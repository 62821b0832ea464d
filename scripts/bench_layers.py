# SPDX-License-Identifier: Apache-2.0
"""Second part of ``make bench``: layers from X against their bounds and other ways to K and V.

Each captured layer runs as a chain of two jobs (key prediction; attention with K and V made on
demand) on a configuration, with a memory of one bus word a cycle and 100 cycles latency. Tables:
cycles and bounds; keys made and read, work and bytes against three baselines (models/layer.py);
phases and balance of the schedule for several numbers of buffer slots, from the reference model on
the same selections. They go to the terminal and to build/bench/layers-<config>.md.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from scripts import entry  # noqa: E402 (needs the repository on the search path)

entry.install()

from models import rass, workloads  # noqa: E402
from models.bounds import layer_bounds, ordered_bound, published_bound  # noqa: E402
from models.lab.cycles import job_cycles  # noqa: E402
from models.layer import traffic  # noqa: E402
from scripts.bench import guarded, machine, parser_of, table  # noqa: E402

SETTINGS = (("quota 4", {"quota": 4}), ("quota 16, radius 6", {"quota": 16, "radius_nats": 6.0}))
"""Two sparsities: few keys a tile for every row; more, but only near the row's best, in nats."""

FEW_ROWS = 16
"""Query rows of the runs that show generation for few queries and many keys."""

CYCLES = ("layer", "rows", "setting", "cycles", "bound", "ratio", "in order", "ratio", "published",
          "ratio", "model", "error", "K^", "dlzs", "steps", "dram", "kvgen", "write", "KVGEN busy",
          "starve", "stall", "bus")
WORK = ("layer", "rows", "setting", "keep", "keys made", "of seen", "read again",
        *(f"{what} {way}" for way in ("on-demand", "all", "per-block", "per-row")
          for what in ("MMAC", "MB")))
SCHEDULE = ("layer", "rows", "setting", "slots", "phases/tile", "balance", "left to right",
            "steps", "left to right", "one phase")


def layers(cfg, only=""):
    """Yield (name, rows, setting, LayerSpec): whole layers, and their last few query rows."""
    from tb.system.simulate import LayerSpec

    for name in workloads.list_layers():
        if only not in name:
            continue
        case = workloads.load_layer(name)
        made = case.projection
        for rows in (case.length, FEW_ROWS):
            for text, settings in SETTINGS:
                settings = {**settings, "quota": min(settings["quota"], cfg.BC_MAX)}
                yield name, rows, text, LayerSpec.planned(
                    f"{name}, {rows} rows, {text}", made.x, made.wk, made.wv, case.q[:, -rows:],
                    cfg, rope_theta=case.rope_theta, causal=case.causal, **settings)


def seen(plan, result):
    """Keys that some row may see, summed over KV heads."""
    group = plan.heads // plan.kv_heads
    tiles = [t for head in result.heads[::group] for t in head.blocks[-1].tiles]
    return sum(t.n for t in tiles)


def schedules(result, cfg, slots):
    """(phases a tile, balance, that of left to right, steps, those of left to right) with a K,V
    buffer of so many slots, over all tiles."""
    # The width of the bus, which bounds the slots from below, does not matter to the schedule.
    other = cfg.replace(KV_SLOTS=slots, BUS_BYTES=8)
    tiles = [t for head in result.heads for block in head.blocks for t in block.lists]
    ours = [rass.schedule(t, other) for t in tiles]
    plain = [rass.left_to_right(t, other) for t in tiles]

    def total(phases):
        return sum(p.nsteps for tile in phases for p in tile)

    return (sum(map(len, ours)) / len(tiles), rass.balance([p for t in ours for p in t]),
            rass.balance([p for t in plain for p in t]), total(ours), total(plain))


def main(argv=None):
    parser = parser_of(__doc__)
    parser.add_argument("--layers", default="", help="only layers whose name contains this text")
    args = parser.parse_args(argv)
    from tb.system.simulate import Options, simulate

    cfg, changes = machine(args)
    runs = list(layers(cfg, args.layers))
    specs = [spec for *_, spec in runs]
    results = [spec.reference(cfg) for spec in specs]
    outcomes = simulate(specs, args.config, changes=changes, options=Options(taps=False))

    cycles, work, schedule = [], [], []
    for (name, rows, setting, spec), result, done in zip(runs, results, outcomes, strict=True):
        count, plan, stats = done.counters, spec.plan, result.stats
        key = (name, rows, setting)
        predict, bound = layer_bounds(plan, result, cfg)
        took, least = count["CYCLES"], predict + bound.measured
        model = job_cycles(stats, plan.job, cfg, plan=plan).total
        beats = sum(n for counter, n in count.items() if counter.startswith("BEATS_"))
        bounds = (least, ordered_bound(plan, result, cfg), published_bound(plan, result, cfg))
        cycles.append((*key, took, *(x for b in bounds for x in (b, f"{took / b:.3f}")), model,
                       f"{model / took - 1:+.1%}", predict, bound.dlzs, bound.steps, bound.dram,
                       bound.kvgen, bound.write,
                       *(f"{count[c] / took:.1%}" for c in ("KVGEN_BUSY", "KVGEN_STARVE",
                                                            "KVGEN_STALL")),
                       f"{beats / took:.1%}"))
        ways = traffic(plan, result, cfg)
        visible = seen(plan, result)
        work.append((*key, f"{stats.keep:.3f}", count["GENERATED"],
                     f"{count['GENERATED'] / visible:.1%}", count["REUSED"],
                     *(f"{x:.1f}" for way in ("on-demand", "all", "per-block", "per-row")
                       for x in (ways[way].macs / 1e6,
                                 (ways[way].read + ways[way].written) / 1e6))))
        for slots in (8, 16, 32):
            if slots < cfg.BC_MAX:
                phases, ours, plain, steps, other = schedules(result, cfg, slots)
                one = sum(t.nsteps for h in result.heads for b in h.blocks for t in b.lists)
                schedule.append((*key, slots, f"{phases:.2f}", f"{ours:.3f}", f"{plain:.3f}",
                                 steps, other, one))
    total = sum(o.counters["CYCLES"] for o in outcomes)
    wall = sum(o.wall_s for o in outcomes)
    text = "\n\n".join((
        f"# Layers from X, configuration {' '.join([args.config, *args.set])}",
        "Cycles of the chain from start to interrupt. bound: the prediction job (K^) and the "
        "largest part of the attention job, one after the other, since the second job needs the "
        "whole K^ of the first. in order: the largest part of each block, one block after the "
        "other. published: the largest phase of the SOFA paper's machine, H/2 cycles for a token. "
        "model, error: the cycle model against cycles.",
        table(CYCLES, cycles),
        "Keys whose K and V were made, as a share of the keys that the query rows see, and read "
        "again later, from the counters; 16-bit multiply-adds and bytes that K and V cost on "
        "demand and by three other ways: all keys made at first; unions made anew in every block "
        "and not written; every row reads its own keys.",
        table(WORK, work),
        "Schedule: phases a tile, balance (mean over largest number of keys that a row uses in a "
        "phase), pair steps of SU-FA; against the keys in slot order, and a buffer that holds "
        "the tile.",
        table(SCHEDULE, schedule),
        f"Simulation: {total} cycles in {wall:.1f} s, {total / wall:.0f} cycles/s. Outputs, "
        "predicted keys, generated K and V and valid bits are bit-exact."))
    print(text)
    target = Path("build/bench")
    target.mkdir(parents=True, exist_ok=True)
    (target / f"layers-{'-'.join([args.config, *args.set])}.md").write_text(text + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(guarded(main))
