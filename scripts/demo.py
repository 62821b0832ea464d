# SPDX-License-Identifier: Apache-2.0
"""``make demo``: attention of trained models, head by head and from X, on the simulated core.

First whole layers from X (scripts/demo_layers.py explains their columns). Then single heads with
K and V in memory: each head runs twice, sparse (predict, sort, compute) and dense (every visible
key on the same SU-FA array). The outputs are compared bit for bit with the reference model, and
the tables say what the sparsity cost and saved. Exit code 1 when anything differs.

Columns of the heads:
    exact     the outputs of both runs equal the reference model's, bit for bit
    keep      share of the visible pairs that were used
    recall    share of each row's true best keys (as many as the row used) that were used
    mass      share of the dense softmax mass on the used keys
    err.sel   relative L2 error against float64 softmax over the same keys: the number formats
    err.dense relative L2 error against float64 dense attention: number formats and sparsity
    cycles    clock cycles of the sparse run
    bound     the least that its busiest resource takes (models/bounds.py)
    speed-up  cycles of the dense run over cycles of the sparse run
    KiB       memory traffic of the sparse run, read and written; dense: of the dense run
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from scripts import entry  # noqa: E402 (needs the repository on the search path)

entry.install()

import numpy as np  # noqa: E402
from tqdm import tqdm  # noqa: E402

from models import oracle, workloads  # noqa: E402
from models.bounds import job_bound  # noqa: E402
from models.config import Config, ConfigError  # noqa: E402
from models.dlzs import SNAPS  # noqa: E402
from models.head import STREAMS  # noqa: E402
from scripts import demo_layers  # noqa: E402
from scripts.configs import CONFIGS  # noqa: E402

HEADER = ("head", "S", "d", "exact", "keep", "recall", "mass", "err.sel", "err.dense", "cycles",
          "bound", "speed-up", "KiB", "dense")
FORMAT = "{:<30} {:>5} {:>3} {:>5} {:>6} {:>6} {:>6} {:>7} {:>9} {:>8} {:>8} {:>8} {:>6} {:>6}"


def parse(argv):
    text = __doc__.split("\n", 1)
    parser = argparse.ArgumentParser(description=text[0] + text[1],
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default="paper", choices=list(CONFIGS))
    parser.add_argument("--sim", default="verilator", choices=("verilator", "icarus"))
    parser.add_argument("--quota", type=int, help="keys a row may take from a tile "
                        "(default: a quarter of the tile)")
    parser.add_argument("--radius", type=float, default=6.0,
                        help="nats below a row's best at which keys are dropped (default 6)")
    parser.add_argument("--snap", default="floor", choices=list(SNAPS.values()))
    parser.add_argument("--cases", default="",
                        help="only cases and layers whose name contains this text")
    return parser.parse_args(argv)


def heads(cases):
    """Yield (label, q [1, S, d], k, v, causal) of every query head of the named cases."""
    for name in cases:
        case = workloads.load_case(name)
        for h in range(case.n_heads):
            q, k, v = case.head(h)
            yield f"{name}/h{case.heads[h]}", q[None], k[None], v[None], case.causal


def judge(q, k, v, causal, numbers, result):
    """Recall, mass, error on the same keys, error against dense; q, k, v float [S, d]."""
    mask = oracle.causal_mask(len(q), len(k), causal)
    scores = oracle.logits(q, k)
    chosen = result.heads[0].selected
    truth = oracle.topk(scores, mask, chosen.sum(axis=1))
    out = result.out[0] * numbers.sv
    return (oracle.recall(chosen, truth), oracle.retained_mass(scores, mask, chosen),
            oracle.relative_error(out, oracle.attention(q, k, v, chosen)),
            oracle.relative_error(out, oracle.dense_attention(q, k, v, causal)))


def watched(function, path, total, what):
    """Run ``function`` while a bar follows the lines of the file ``path``."""
    box = {}

    def work():
        try:
            box["value"] = function()
        except BaseException as exc:  # handed to the caller's thread
            box["error"] = exc

    thread = threading.Thread(target=work)
    with tqdm(total=total, desc=what, unit="job", leave=False) as bar:
        thread.start()
        while thread.is_alive():
            thread.join(0.5)
            done = path.read_text().count("\n") if path.exists() else 0
            bar.update(done - bar.n)
    if "error" in box:
        raise box["error"]
    return box["value"]


def main(argv=None):
    args = parse(argv)
    from tb.runner import BuildError, SimulationError, build
    from tb.system.simulate import JobSpec, Options, simulate

    cfg = Config.from_name(args.config)
    snap = next(s for s, name in SNAPS.items() if name == args.snap)
    names = [n for n in workloads.list_cases() if args.cases in n]
    known = [*workloads.list_cases(), *workloads.list_layers()]
    if not any(args.cases in n for n in known):
        sys.exit(f"no case contains {args.cases!r}; there are {', '.join(known)}")
    work = list(heads(names))
    too_wide = [label for label, q, *_ in work if q.shape[2] > cfg.D_MAX]
    if too_wide:
        sys.exit(f"{too_wide[0]} has a head dimension above D_MAX = {cfg.D_MAX} of {args.config}")

    print(f"SOFA, configuration {args.config}: {cfg.ROWS} query rows in parallel, {cfg.ROWS}x"
          f"{cfg.COLS} prediction cells, bus {cfg.BUS_BYTES} bytes, memory latency 100 cycles")
    print(f"snap {args.snap}, radius {args.radius:g} nats; simulator {args.sim}")
    settings = {"quota": args.quota, "radius_nats": args.radius, "snap": snap}
    specs, expected = [], []
    try:
        layers = demo_layers.layer_runs(cfg, args.cases, settings)
        for label, q, k, v, causal in tqdm(work, desc="reference model", unit="head",
                                           leave=False):
            for dense in (False, True):
                specs.append(JobSpec.planned(
                    f"{label}{' dense' if dense else ''}", q, k, v, cfg, causal=causal,
                    dense=dense, **settings))
                expected.append(specs[-1].reference(cfg))
        print("building the simulator ...", flush=True)
        start = time.monotonic()
        build("sofa_top", dict(CONFIGS[args.config]), args.sim)
        print(f"built in {time.monotonic() - start:.0f} s")
        with tempfile.TemporaryDirectory() as folder:
            progress = Path(folder) / "progress"
            outcomes = watched(
                lambda: simulate([*(run.spec for run in layers), *specs], args.config, args.sim,
                                 progress=str(progress),
                                 options=Options(taps=False, score=False)),
                progress, len(layers) + len(specs), "simulating")
    except (BuildError, SimulationError, ConfigError) as exc:
        sys.exit(f"demo: {exc}")

    wrong_layers = demo_layers.report(layers, outcomes[: len(layers)], cfg, settings)
    outcomes = outcomes[len(layers) :]
    if work:
        print("\n" + FORMAT.format(*HEADER))
    wrong, cycles, dense_cycles = 0, 0, 0
    for i, (label, q, k, v, causal) in enumerate(work):
        sparse, dense = outcomes[2 * i : 2 * i + 2]
        want, want_dense = expected[2 * i : 2 * i + 2]
        spec = specs[2 * i]
        exact = (np.array_equal(sparse.out, want.out)
                 and np.array_equal(dense.out, want_dense.out))
        wrong += not exact
        recall, mass, err_sel, err_dense = judge(q[0], k[0], v[0], causal, spec.numbers, want)
        took, took_dense = sparse.counters["CYCLES"], dense.counters["CYCLES"]
        cycles, dense_cycles = cycles + took, dense_cycles + took_dense
        bound = job_bound(want.stats, spec.job, cfg).measured
        kib, kib_dense = (sum(o.counters[f"BEATS_{s.upper()}"] for s in STREAMS)
                          * cfg.BUS_BYTES // 1024 for o in (sparse, dense))
        print(FORMAT.format(
            label, q.shape[1], q.shape[2], "yes" if exact else "NO", f"{want.stats.keep:.3f}",
            f"{recall:.3f}", f"{mass:.3f}", f"{err_sel:.2%}", f"{err_dense:.2%}", took, bound,
            f"{took_dense / took:.2f}", kib, kib_dense))
    if work:
        wall = sum(o.wall_s for o in outcomes)
        print(f"all heads: {cycles} cycles sparse, {dense_cycles} dense, speed-up "
              f"{dense_cycles / cycles:.2f}; simulated "
              f"{(cycles + dense_cycles) / wall:.0f} cycles/s")
    if wrong or wrong_layers:
        print(f"{wrong_layers} of {len(layers)} layers and {wrong} of {len(work)} heads differ "
              "from the reference model")
        return 1
    print(f"all {len(layers)} layers from X are bit-exact, and all {len(work)} heads, sparse and "
          "dense")
    return 0


if __name__ == "__main__":
    sys.exit(main())
