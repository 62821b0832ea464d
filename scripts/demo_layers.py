# SPDX-License-Identifier: Apache-2.0
"""The layers of ``make demo``: keys predicted from X, K and V made only where a row selected them.

Of every captured layer the first tokens run, with the query heads of its first KV heads. Each runs
three times: with all query rows, as in prefill; with the last few, as in chunked prefill or
speculative decoding, where generation on demand has something to save; and with all rows dense.

Columns:
    exact     output, predicted keys, K, V and valid bits in memory equal the model's, bit for bit
    keep      share of the visible pairs that were used
    recall    share of each row's true best keys (as many as the row used) that were used
    error     relative L2 error of the output against float64 dense attention from the float X
    seen      keys that the rows may look at, summed over KV heads
    made      keys whose K and V were generated; again: keys read back instead of made again
    saved     share of the seen keys that no row selected, so that nobody made or read them
    predict   clock cycles of the jobs that predict keys; a dense layer would do without
    attend    clock cycles of the attention jobs
    bound     the least that their busiest resource takes (models/lab/cost/bands.py)
    KiB       memory traffic, read and written
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models import oracle, workloads
from models.config import Config
from models.head import DENSE
from models.lab.cost.bands import Machine, bound_of, work_of
from models.layer import LayerResult
from models.workloads import Case

FEW_ROWS = 16
FEW_HEADS = 3
"""Query heads of a cut layer: as many whole groups as reach them."""

HEADER = ("layer", "H", "rows x keys", "way", "exact", "keep", "recall", "error", "seen", "made",
          "again", "saved", "predict", "attend", "bound", "KiB")
FORMAT = ("{:<26} {:>2} {:>11} {:>5} {:>5} {:>6} {:>6} {:>7} {:>6} {:>6} {:>6} {:>6} {:>8} {:>8} "
          "{:>8} {:>6}")


@dataclass(frozen=True)
class LayerRun:
    """One run of a layer: its case, the job and the reference."""

    case: Case
    spec: object
    want: LayerResult

    @property
    def rows(self) -> int:
        """Query rows, the last ones."""
        return self.spec.plan.q.shape[1]

    @property
    def dense(self) -> bool:
        """Whether every visible pair is used."""
        return self.spec.job.dense


def cut(case: Case, tokens: int) -> tuple[np.ndarray, ...]:
    """(x [tokens, H], wk, wv [kv_heads, H, d], q [heads, tokens, d]) of the first tokens and the
    first heads; 0: all."""
    made = case.projection
    groups = -(-FEW_HEADS // case.group) if tokens else len(made.wk)
    tokens = tokens or case.length
    return (made.x[:tokens], made.wk[:groups], made.wv[:groups],
            case.q[: groups * case.group, :tokens])


def layer_runs(cfg: Config, only: str, tokens: int, selecting: dict) -> list[LayerRun]:
    """The runs of every layer whose name contains ``only``; selecting: settings of
    models.plan.job_of."""
    from tb.system.simulate import LayerSpec

    runs = []
    for name in workloads.list_layers():
        if only not in name:
            continue
        case = workloads.load_layer(name)
        x, wk, wv, q = cut(case, tokens)
        for rows, way in ((0, selecting), (FEW_ROWS, selecting), (0, {"select": DENSE})):
            spec = LayerSpec.planned(name, x, wk, wv, q[:, -rows:], cfg, causal=case.causal,
                                     rope_theta=case.rope_theta, **way)
            runs.append(LayerRun(case, spec, spec.reference(cfg)))
    return runs


def judge(run: LayerRun, out: np.ndarray) -> tuple[float, float]:
    """(mean over heads: share of the true best keys, as many as a row used, among those used;
    error against dense attention) of an output [heads, rows, d]."""
    case, plan, want = run.case, run.spec.plan, run.want
    recall, exact = [], []
    offset = plan.keys - run.rows if case.causal else 0
    mask = oracle.causal_mask(run.rows, plan.keys, case.causal, offset)
    for h, chosen in enumerate(want.selected):
        q, k, v = (a[: plan.keys] for a in case.head(h))
        # A bias of V adds to every output; the machine leaves it to the host (models/layer.py).
        v = v - case.projection.bv[h // case.group]
        truth = oracle.topk(oracle.logits(q[-run.rows:], k), mask, chosen.sum(axis=1))
        recall.append(oracle.recall(chosen, truth))
        exact.append(oracle.attention(q[-run.rows:], k, v, mask))
    scale = np.repeat(plan.sv, case.group)[:, None, None]
    return float(np.mean(recall)), oracle.relative_error(out * scale, np.stack(exact))


def is_exact(run: LayerRun, done, cfg: Config) -> bool:
    """The simulated layer left exactly what the model says; done: a LayerDone."""
    want = run.want
    there = want.valid[:, :, None]
    return bool(np.array_equal(done.out, want.out)
                and np.array_equal(done.k8, want.k8)
                and np.array_equal(done.k, np.where(there, want.k, done.untouched))
                and np.array_equal(done.v, np.where(there, want.v, done.untouched))
                and np.array_equal(done.valid, want.valid_image(cfg)))


def least_cycles(spec, selected: np.ndarray, kv_heads: int, cfg: Config, source=None) -> int:
    """Least cycles of the busiest resource of the attention of a job, or of a layer: source, its
    plan."""
    machine = Machine(packed=spec.job.share)
    work = work_of(selected, spec.job, cfg, kv_heads, machine, makes=source is not None)
    return max(bound_of(work, spec.job, cfg, machine, source).values())


def traffic(counters: dict[str, int], cfg: Config) -> int:
    """Memory traffic of a run, read and written, KiB."""
    beats = sum(n for name, n in counters.items() if name.startswith("BEATS_"))
    return beats * cfg.BUS_BYTES // 1024


def report(runs: list[LayerRun], outcomes, cfg: Config) -> int:
    """Print the table and what generation on demand saved; returns the number of wrong runs."""
    if not runs:
        return 0
    print("\n" + FORMAT.format(*HEADER))
    wrong, remarks = 0, []
    for run, done in zip(runs, outcomes, strict=True):
        plan, want, count = run.spec.plan, run.want, done.counters
        exact = is_exact(run, done.layer, cfg)
        wrong += not exact
        recall, error = judge(run, done.layer.out)
        seen, made = plan.kv_heads * plan.keys, count["GENERATED"]
        cells = (
            run.case.name, plan.heads, f"{run.rows} x {plan.keys}",
            "dense" if run.dense else "sum", "yes" if exact else "NO", f"{want.stats.keep:.3f}",
            f"{recall:.3f}", f"{error:.2%}", seen, made, count["REUSED"], f"{1 - made / seen:.1%}",
            count["PREDICT"], count["CYCLES"] - count["PREDICT"],
            least_cycles(run.spec, want.selected, plan.kv_heads, cfg, plan),
            traffic(count, cfg))
        print(FORMAT.format(*cells))
        if not run.dense:
            remarks.append(f"{run.case.name}, {run.rows} rows want {made / seen:.1%} of the keys: "
                           f"{seen - made} of {seen} were never made or read")
    print("\n".join(remarks))
    return wrong
