# SPDX-License-Identifier: Apache-2.0
"""A look at the peers on the captured heads and layers.

    .venv/bin/python -m models.lab.peers [name ...]

One table for the cases of models/data and one for its whole layers; a line a peer, with its
default settings, means over the query heads of all cases:

keep    share of the visible pairs selected
recall  share of a row's best keys that are among its selected ones, for as many as it selected
mass    probability of dense attention on the selected pairs
error   relative L2 error of the output against dense attention, over all heads of a case
predict, select, compute    price (methods/counts.py) relative to formal attention over all pairs
bytes   DRAM bytes relative to the same

Systems with a memory of earlier layers see each layer twice, first as layer 0 and then as what
it is. Wq, which the files do not hold, is the least-squares solution of x Wq = q.
"""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np

from ... import oracle, rope, workloads
from ..methods.counts import Counts
from ..methods.method import Attended, Call, Method, Projection, count_formal
from . import PEERS

LAYERS = {"smollm2": 30, "minilm": 6}
"""Layers of the models of the cases."""


def call_of(case: workloads.Case) -> Call:
    """The case as a Call; with a projection where it holds x and the weights of all its heads."""
    call = Call(case.q, case.k, case.v, case.causal, case.layer, LAYERS[case.model])
    p = case.projection
    if p is None:
        return call
    q, mode = case.q, rope.INTERLEAVED if case.rope_theta else rope.OFF
    if mode:
        # A pair in the other order turns the other way.
        other = np.arange(case.d) ^ 1
        q = workloads.rope(q[..., other], case.rope_theta)[..., other]
    bias = np.ones((case.length, 1), np.float32)
    both = np.linalg.lstsq(np.hstack([p.x, bias]), np.hstack(list(q)), rcond=1e-5)[0]
    w = both.reshape(-1, case.n_heads, case.d).swapaxes(0, 1).astype(np.float32)
    return replace(call, projection=Projection(
        x=p.x, wq=w[:, :-1], wk=p.wk, wv=p.wv, bq=w[:, -1], bk=p.bk, bv=p.bv,
        rope_theta=case.rope_theta, rope_mode=mode))


def halves(call: Call) -> tuple[Call, Call]:
    """(the first half of the tokens, the rows of the second half with all keys)."""
    half, p = call.q.shape[1] // 2, call.projection
    first = replace(call, q=call.q[:, :half], k=call.k[:, :half], v=call.v[:, :half],
                    projection=p and replace(p, x=p.x[:half]))
    return first, replace(call, q=call.q[:, half:])


def run(method: Method, call: Call) -> list[float]:
    """Figures of the layer after the same layer."""
    if type(method).fit is not Method.fit:
        first, call = halves(call)
        method = method.fit([replace(first, layer=0), first])
    session = method.start()
    session(replace(call, layer=0))
    return figures(call, session(call))


def figures(call: Call, got: Attended) -> list[float]:
    """keep, recall, mass, error, predict, select, compute, bytes of one layer."""
    mask, heads = call.mask(), len(call.q)
    k, v = call.shared(call.k), call.shared(call.v)
    recalls, masses, dense = [], [], []
    for h in range(heads):
        score, chosen = oracle.logits(call.q[h], k[h]), got.selected[h]
        if chosen.any():
            truth = oracle.topk(score, mask, chosen.sum(axis=1))
            recalls.append(oracle.recall(chosen, truth))
        masses.append(oracle.retained_mass(score, mask, chosen))
        dense.append(oracle.attention(call.q[h], k[h], v[h], mask))
    whole = Counts()
    count_formal(whole, call, np.broadcast_to(mask, (heads, *mask.shape)))
    costs = [got.counts.cost(s) / whole.cost() for s in ("predict", "select", "compute")]
    return [got.counts.keep, float(np.mean(recalls)), float(np.mean(masses)),
            oracle.relative_error(got.out, np.stack(dense)), *costs,
            got.counts.dram / whole.dram]


def table(names: list[str], cases: list[workloads.Case]) -> str:
    """Markdown table of means over the cases; "-" for systems that need a missing projection."""
    calls = [call_of(case) for case in cases]
    lines = ["| peer | keep | recall | mass | error | predict | select | compute | bytes |",
             "|---|---|---|---|---|---|---|---|---|"]
    for name in names:
        try:
            rows = [run(PEERS[name](), call) for call in calls]
        except ValueError as error:
            if "projection" not in str(error):
                raise
            lines.append(f"| {name} |" + " - |" * 8)
            continue
        cells = " | ".join(f"{x:.3f}" for x in np.mean(rows, axis=0))
        lines.append(f"| {name} | {cells} |")
    return "\n".join(lines)


def main(names: list[str]) -> int:
    """Print both tables of the named peers, none named: of all."""
    unknown = [name for name in names if name not in PEERS]
    if unknown:
        print(f"no peer {unknown[0]!r}; know {', '.join(PEERS)}", file=sys.stderr)
        return 2
    for title, names_of, load in (("heads", workloads.list_cases, workloads.load_case),
                                  ("layers", workloads.list_layers, workloads.load_layer)):
        cases = [load(name) for name in names_of()]
        if title == "layers":
            print()
        print(f"{title}: {', '.join(case.name for case in cases)}\n")
        # Cases of single heads hold the weights of some heads only.
        if title == "heads":
            cases = [replace(case, projection=None) for case in cases]
        print(table(names or list(PEERS), cases))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
