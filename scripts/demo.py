# SPDX-License-Identifier: Apache-2.0
"""``make demo``: attention of trained models, from X and from K and V, on the simulated core.

First layers from X (scripts/demo_layers.py explains their columns), then heads with K and V in
memory: every captured case is a job with all its heads, of which the last query rows run
(--rows). Each job runs twice: where sums select, and dense, every visible pair in the same units.
The outputs are compared bit for bit with the reference model; the tables say what the selection
cost and saved. Last a whole model, each attention of which is a job (scripts/demo_model.py). Exit
code 1 when anything differs.

Columns of the heads:
    exact     the outputs of both runs equal the reference model's, bit for bit
    keep      share of the visible pairs that were used; the mean of V stands in for the others
    recall    share of each row's true best keys (as many as the row used) that were used
    mass      share of the dense softmax mass on the used keys
    error     relative L2 error of the output against float64 dense attention
    dense     the same of the dense run: the number formats alone
    cycles    clock cycles of the run that selects
    bound     the least that its busiest resource takes (models/lab/cost/bands.py)
    speed-up  cycles of the dense run over these cycles
    KiB       memory traffic, read and written; dense: of the dense run
"""

from __future__ import annotations

import argparse
import contextlib
import io
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from scripts import entry  # noqa: E402 (needs the repository on the search path)

entry.install()

import numpy as np  # noqa: E402
from tqdm import tqdm  # noqa: E402

from models import oracle, workloads  # noqa: E402
from models.config import Config, ConfigError  # noqa: E402
from models.dlzs import SNAPS  # noqa: E402
from models.head import DENSE  # noqa: E402
from models.spec.configs import CONFIGS  # noqa: E402
from scripts import demo_layers, demo_model  # noqa: E402

HEADER = ("heads", "H", "rows x keys", "d", "exact", "keep", "recall", "mass", "error", "dense",
          "cycles", "bound", "speed-up", "KiB", "dense")
FORMAT = ("{:<26} {:>2} {:>11} {:>3} {:>5} {:>6} {:>6} {:>6} {:>7} {:>6} {:>8} {:>8} {:>8} {:>6} "
          "{:>6}")


def parse(argv):
    text = __doc__.split("\n", 1)
    parser = argparse.ArgumentParser(description=text[0] + text[1],
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default="small", choices=list(CONFIGS))
    parser.add_argument("--sim", default="verilator", choices=("verilator", "icarus"))
    parser.add_argument("--snap", default="two-term", choices=list(SNAPS.values()))
    parser.add_argument("--tau", type=float,
                        help="least share of a key's weight in its row's sum (default: that of the "
                             "snap rule, models/plan.py)")
    parser.add_argument("--fall", type=float,
                        help="exponent with which tau falls with the length (default likewise)")
    parser.add_argument("--rows", type=int, default=64,
                        help="last query rows of a case that run (default 64; 0: all)")
    parser.add_argument("--tokens", type=int, default=128,
                        help="first tokens of a layer that run, with as many heads as share "
                             "their keys (default 128; 0: whole layers)")
    parser.add_argument("--cases", default="",
                        help="only cases and layers whose name contains this text, or \"model\"")
    args = parser.parse_args(argv)
    for name in ("rows", "tokens"):
        if getattr(args, name) < 0:
            parser.error(f"--{name} {getattr(args, name)}, legal: 0 or more")
    return args


def judge(case, rows, selected):
    """(recall, mass, float64 dense output [heads, rows, d]) of a case's last rows."""
    offset = case.length - rows if case.causal else 0
    recall, mass, exact = [], [], []
    for h, chosen in enumerate(selected):
        q, k, v = case.head(h)
        scores = oracle.logits(q[-rows:], k)
        mask = oracle.causal_mask(rows, len(k), case.causal, offset)
        truth = oracle.topk(scores, mask, chosen.sum(axis=1))
        recall.append(oracle.recall(chosen, truth))
        mass.append(oracle.retained_mass(scores, mask, chosen))
        exact.append(oracle.attention(q[-rows:], k, v, mask))
    return float(np.mean(recall)), float(np.mean(mass)), np.stack(exact)


def simulate_all(batches, args):
    """Outcomes of every batch of specs, a simulation process each, under one bar."""
    from tb.system.simulate import Options, simulate

    with (tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(len(batches)) as pool,
          contextlib.redirect_stdout(io.StringIO()),
          tqdm(total=sum(map(len, batches)), desc="simulating", unit="job", leave=False) as bar):
        paths = [Path(folder) / str(i) for i in range(len(batches))]
        # The folder of a simulation's results has the name of its seed.
        runs = [pool.submit(simulate, batch, args.config, args.sim, seed=i, progress=str(path),
                            options=Options(taps=False, score=False)) if batch else None
                for i, (batch, path) in enumerate(zip(batches, paths, strict=True), 1)]
        while not all(run is None or run.done() for run in runs):
            time.sleep(0.5)
            done = sum(path.read_text().count("\n") for path in paths if path.exists())
            bar.update(done - bar.n)
        return [run.result() if run else [] for run in runs]


def report(cases, specs, wants, outcomes, cfg):
    """Print the table of the heads; returns the number of cases that differ."""
    if not cases:
        return 0
    print("\n" + FORMAT.format(*HEADER))
    wrong, cycles, dense_cycles = 0, 0, 0
    for i, case in enumerate(cases):
        spec, want = specs[2 * i], wants[2 * i]
        (done, dense), both = outcomes[2 * i : 2 * i + 2], wants[2 * i : 2 * i + 2]
        exact = all(np.array_equal(o.out, w.out) for o, w in zip((done, dense), both, strict=True))
        wrong += not exact
        heads, rows, d = spec.numbers.q.shape
        recall, mass, true = judge(case, rows, want.selected)
        error, formats = (oracle.relative_error(o.out * s.numbers.out_scale, true)
                          for o, s in zip((done, dense), specs[2 * i : 2 * i + 2], strict=True))
        took, took_dense = done.counters["CYCLES"], dense.counters["CYCLES"]
        cycles, dense_cycles = cycles + took, dense_cycles + took_dense
        kept = done.counters["SELECTED"] / dense.counters["SELECTED"]
        cells = (
            case.name, heads, f"{rows} x {case.length}", d, "yes" if exact else "NO",
            f"{kept:.3f}", f"{recall:.3f}", f"{mass:.3f}", f"{error:.2%}", f"{formats:.2%}", took,
            demo_layers.least_cycles(spec, want.selected, len(spec.numbers.k), cfg),
            f"{took_dense / took:.2f}", demo_layers.traffic(done.counters, cfg),
            demo_layers.traffic(dense.counters, cfg))
        print(FORMAT.format(*cells))
    print(f"all cases: {cycles} cycles, {dense_cycles} dense, speed-up {dense_cycles / cycles:.2f}")
    return wrong


def measured(args, cfg):
    """Run layers and heads and print their tables; returns the exit code."""
    from tb.runner import BuildError, SimulationError, build
    from tb.system.simulate import JobSpec

    snap = next(s for s, name in SNAPS.items() if name == args.snap)
    cases = [workloads.load_case(n) for n in workloads.list_cases() if args.cases in n]
    too_wide = [case.name for case in cases if case.d > cfg.D_MAX]
    if too_wide:
        sys.exit(f"{too_wide[0]} has a head dimension above D_MAX = {cfg.D_MAX} of {args.config}")

    selecting = {"snap": snap, "tau": args.tau, "fall": args.fall}
    specs = []
    try:
        layers = demo_layers.layer_runs(cfg, args.cases, args.tokens, selecting)
        for case in cases:
            for way in (selecting, {"select": DENSE}):
                specs.append(JobSpec.planned(case.name, case.q[:, -args.rows:], case.k, case.v, cfg,
                                             causal=case.causal, **way))
        wants = [spec.reference(cfg) for spec in tqdm(specs, desc="reference model", unit="job",
                                                      leave=False)]
        print("building the simulator ...", flush=True)
        start = time.monotonic()
        build("sofa", dict(CONFIGS[args.config]), args.sim)
        built = time.monotonic()
        made, outcomes = simulate_all([[run.spec for run in layers], specs], args)
        print(f"built in {built - start:.0f} s, simulated in {time.monotonic() - built:.0f} s")
    except (BuildError, SimulationError, ConfigError) as exc:
        sys.exit(f"demo: {exc}")

    wrong_layers = demo_layers.report(layers, made, cfg)
    wrong = report(cases, specs, wants, outcomes, cfg)
    ran = [*made, *outcomes]
    cycles, cpu = sum(o.counters["CYCLES"] for o in ran), sum(o.cpu_s for o in ran)
    print(f"{cycles} cycles simulated, {cycles / cpu:.0f} in a second of processor time")
    if wrong or wrong_layers:
        print(f"{wrong_layers} of {len(layers)} runs of layers and {wrong} of {len(cases)} cases "
              "differ from the reference model")
        return 1
    print(f"all {len(layers)} runs of layers from X are bit-exact, and all {len(cases)} cases, "
          "selected and dense")
    return 0


def main(argv=None):
    args = parse(argv)
    cfg = Config.from_name(args.config)
    captured = [*workloads.list_cases(), *workloads.list_layers()]
    if not any(args.cases in n for n in (*captured, demo_model.NAME)):
        sys.exit(f"no case contains {args.cases!r}; there are {', '.join(captured)} and "
                 f"{demo_model.NAME}")
    print(f"SOFA, configuration {args.config}: {cfg.ROWS} query rows in parallel, {cfg.ROWS}x"
          f"{cfg.COLS} prediction cells, bus {cfg.BUS_BYTES} bytes, memory latency 100 cycles; "
          f"simulator {args.sim}", flush=True)
    code = measured(args, cfg) if any(args.cases in n for n in captured) else 0
    if args.cases in demo_model.NAME:
        try:
            demo_model.run(args.config, tau=args.tau, fall=args.fall, snap=args.snap)
        except demo_model.DemoError as exc:
            print(f"demo: {exc}")
            code = 1
    return code


if __name__ == "__main__":
    sys.exit(main())
