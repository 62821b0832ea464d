# SPDX-License-Identifier: Apache-2.0
"""The layers of ``make demo``: keys predicted from X, K and V made only where a row selected them.

Every captured layer runs twice: with all its query rows, as in prefill, and with its last few, as
in chunked prefill or speculative decoding, where on-demand generation has something to save.

Columns:
    exact     output, predicted keys, K, V and valid bits in memory equal the model's, bit for bit
    keep      share of the visible pairs that were used
    recall    share of each row's true best keys (as many as the row used) that were used
    1-phase   the same when the prediction has the true keys instead of predicted ones
    err.sel   relative L2 error against float64 softmax over the same keys, from the float X
    seen      keys that the rows may look at, summed over KV heads
    made      keys whose K and V were generated; again: vectors read back instead of made again
    saved     share of the seen keys that no row selected, so that nobody made or read them
    cycles, bound   clock cycles of both jobs, and the least they can take (models/bounds.py)
    KiB       K and V traffic on demand; every key: when all keys are made at first
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models import oracle, workloads
from models.bounds import layer_bounds
from models.config import Config
from models.head import run_head
from models.layer import LayerResult, traffic
from models.plan import plan
from models.workloads import Case

FEW_ROWS = 16

HEADER = ("layer", "rows", "exact", "keep", "recall", "1-phase", "err.sel", "seen", "made",
          "again", "saved", "cycles", "bound", "KiB", "every key")
FORMAT = ("{:<28} {:>4} {:>5} {:>6} {:>6} {:>7} {:>7} {:>6} {:>6} {:>6} {:>6} {:>8} {:>8} {:>6} "
          "{:>9}")


@dataclass(frozen=True)
class LayerRun:
    """One run of a layer: its case, its last ``rows`` query rows, the job and the reference."""

    case: Case
    rows: int
    spec: object
    want: LayerResult


def layer_runs(cfg: Config, only: str, settings: dict) -> list[LayerRun]:
    """The runs of every layer whose name contains ``only``; settings: quota, radius_nats, snap."""
    from tb.system.simulate import LayerSpec

    runs = []
    for name in workloads.list_layers():
        if only not in name:
            continue
        case = workloads.load_layer(name)
        made = case.projection
        for rows in (case.length, FEW_ROWS):
            spec = LayerSpec.planned(f"{name}, {rows} rows", made.x, made.wk, made.wv,
                                     case.q[:, -rows:], cfg, rope_theta=case.rope_theta,
                                     causal=case.causal, **settings)
            runs.append(LayerRun(case, rows, spec, spec.reference(cfg)))
    return runs


def recall_of(run: LayerRun, selections: list[np.ndarray]) -> float:
    """Mean over heads: share of the true best keys, as many as a row used, among those used;
    selections: bool [rows, keys] per query head."""
    values = []
    for h, chosen in enumerate(selections):
        q, k, _ = run.case.head(h)
        offset = len(k) - run.rows if run.case.causal else 0
        mask = oracle.causal_mask(run.rows, len(k), run.case.causal, offset)
        scores = oracle.logits(q[-run.rows:], k)
        truth = oracle.topk(scores, mask, chosen.sum(axis=1))
        values.append(oracle.recall(chosen, truth))
    return float(np.mean(values))


def judge(run: LayerRun, cfg: Config, settings: dict) -> tuple[float, float, float]:
    """(recall, recall with one phase, error on the same keys) of the reference result, which the
    hardware's equals."""
    case, want = run.case, run.want
    mine = [head.selected for head in want.heads]
    numbers, job = plan(case.q[:, -run.rows:], case.k, case.v, cfg, causal=case.causal, **settings)
    one = [run_head(numbers.q[h], numbers.k[h // case.group], numbers.v[h // case.group],
                    numbers.k8[h // case.group], job, cfg).selected for h in range(case.n_heads)]
    bias = case.projection.bv
    errors = []
    for h in range(case.n_heads):
        q, k, v = case.head(h)
        kv = h // case.group
        # A bias of V adds to every output; the machine leaves it to the host (models/layer.py).
        exact = oracle.attention(q[-run.rows:], k, v - bias[kv], want.heads[h].selected)
        errors.append(oracle.relative_error(want.out[h] * run.spec.plan.sv, exact))
    return recall_of(run, mine), recall_of(run, one), float(np.mean(errors))


def is_exact(run: LayerRun, done, cfg: Config) -> bool:
    """The simulated layer left exactly what the model says; done: a LayerDone."""
    want = run.want
    there = want.valid[:, :, None]
    return bool(np.array_equal(done.out, want.out)
                and np.array_equal(done.k8, want.k8)
                and np.array_equal(done.k, np.where(there, want.k, done.untouched))
                and np.array_equal(done.v, np.where(there, want.v, done.untouched))
                and np.array_equal(done.valid, want.valid_image(cfg)))


def report(runs: list[LayerRun], outcomes, cfg: Config, settings: dict) -> int:
    """Print the table and what generation on demand saved; returns the number of wrong runs."""
    print(FORMAT.format(*HEADER))
    wrong, remarks = 0, []
    for run, done in zip(runs, outcomes, strict=True):
        plan_, want, count = run.spec.plan, run.want, done.counters
        exact = is_exact(run, done.layer, cfg)
        wrong += not exact
        recall, one, error = judge(run, cfg, settings)
        seen = plan_.kv_heads * len(run.case.q[0])
        made = count["GENERATED"]
        saved = 1 - made / seen
        predict, bound = layer_bounds(plan_, want, cfg)
        ways = traffic(plan_, want, cfg)
        kib = [(ways[w].read + ways[w].written) // 1024 for w in ("on-demand", "all")]
        print(FORMAT.format(run.case.name, run.rows, "yes" if exact else "NO",
                            f"{want.stats.keep:.3f}", f"{recall:.3f}", f"{one:.3f}",
                            f"{error:.2%}", seen, made, count["REUSED"], f"{saved:.1%}",
                            count["CYCLES"], predict + bound.measured, *kib))
        if saved < 0.05:
            text = (f"the union of {run.rows} rows is {made / seen:.1%} of the keys, nearly "
                    f"everything: on-demand generation saves next to nothing here")
        else:
            text = (f"{saved:.1%} of the keys were never made or read: "
                    f"{(ways['all'].macs - ways['on-demand'].macs) / 1e6:.0f} of "
                    f"{ways['all'].macs / 1e6:.0f} million multiply-adds of the projection saved")
        remarks.append(f"{run.case.name}, {run.rows} rows: {text}")
    print("\n".join(remarks))
    return wrong
