# SPDX-License-Identifier: Apache-2.0
"""Peers on the captured heads (models/workloads): a check that they do what they should.

    python -m models.peers                  every peer with its published settings
    python -m models.peers --sweep a3       all settings of a peer

Peers that learn see the first half of each case's tokens; all are measured on the rows of the
second half. Figures are means over the cases (docs/workloads.md); a case counts once.

keep    share of the visible pairs that are used
recall  of the best keys of each row, as many as the peer selected: share that it selected
mass    softmax probability of the selected pairs
error   relative L2 error of the output against dense attention
predict, select   price of the operations before exact attention, models/lab/counts.py, as a share
        of what exact attention over all visible pairs costs in 16 bits
DRAM    bytes, as a share of what dense attention reads and writes
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from models import oracle, rope, workloads
from models.lab.counts import Counts
from models.lab.method import Attended, Call, Method, Projection, count_formal
from models.peers import PEERS

COLUMNS = ("keep", "recall", "mass", "error", "predict", "select", "DRAM")


def call_of(case: workloads.Case) -> Call:
    """A captured case as a Call. Cases hold no Wq: the call gets the least-squares map of x to
    q before RoPE, which gives q exactly where there are no more tokens than channels."""
    at, projection = case.projection, None
    if at is not None:
        q = case.q.astype(np.float64)
        if case.rope_theta:
            # Turning by the angle of position p and of -p are complex conjugates.
            pairs = workloads.rope(q * np.tile([1, -1], case.d // 2), case.rope_theta)
            q = pairs * np.tile([1, -1], case.d // 2)
        x = np.concatenate([at.x, np.ones_like(at.x[:, :1])], axis=1).astype(np.float64)
        w = np.linalg.lstsq(x, q.transpose(1, 0, 2).reshape(len(x), -1), rcond=None)[0]
        w = w.reshape(-1, case.n_heads, case.d).transpose(1, 0, 2).astype(np.float32)
        projection = Projection(at.x, w[:, :-1], at.wk, at.wv, w[:, -1], at.bk, at.bv,
                                case.rope_theta, rope.INTERLEAVED if case.rope_theta else rope.OFF)
    return Call(case.q, case.k, case.v, case.causal, projection=projection)


def halves(call: Call) -> tuple[Call, Call]:
    """(the first half of the tokens, the rows of the second half with all keys)."""
    half = call.q.shape[1] // 2
    at = call.projection
    early = replace(call, q=call.q[:, :half], k=call.k[:, :half], v=call.v[:, :half],
                    projection=at and replace(at, x=at.x[:half]))
    return early, replace(call, q=call.q[:, half:])


def measure(call: Call, done: Attended, dense: Counts) -> list[float]:
    """One number for each of COLUMNS."""
    mask = call.mask()
    found, mass, wanted = [], [], []
    for h, chosen in enumerate(done.selected):
        k, v = call.k[h // call.group], call.v[h // call.group]
        scores = oracle.logits(call.q[h], k)
        found.append(oracle.recall(chosen, oracle.topk(scores, mask, chosen.sum(axis=1))))
        mass.append(oracle.retained_mass(scores, mask, chosen))
        wanted.append(oracle.attention(call.q[h], k, v, mask))
    counts = done.counts
    return [counts.keep, np.mean(found), np.mean(mass),
            oracle.relative_error(done.out, np.array(wanted)),
            counts.cost("predict") / dense.cost(), counts.cost("select") / dense.cost(),
            counts.dram / dense.dram]


def run(method: Method, calls: Sequence[Call]) -> list[float]:
    """Mean of COLUMNS over the calls."""
    rows = []
    for call in calls:
        early, late = halves(call)
        dense = Counts()
        count_formal(dense, late, np.broadcast_to(late.mask(), (len(late.q), *late.mask().shape)))
        rows.append(measure(late, method.fit([early]).start()(late), dense))
    return np.mean(rows, axis=0).tolist()


def settings(method: Method) -> str:
    """The settings of a method that differ from its defaults, or "published"."""
    shown = {k: v for k, v in vars(method).items() if v != getattr(type(method)(), k)}
    return ", ".join(f"{k} {v:g}" for k, v in shown.items()) or "published"


def main(arguments: list[str] | None = None) -> int:
    """Print the table of the whole layers and that of the cases."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sweep", action="store_true", help="all settings, not the published ones")
    parser.add_argument("names", nargs="*", help=f"of {', '.join(PEERS)} (default: all)")
    options = parser.parse_args(arguments)
    unknown = [name for name in options.names if name not in PEERS]
    if unknown:
        parser.error(f"no peer {unknown[0]!r}, there are {', '.join(PEERS)}")
    for title, names, load in (
            ("whole layers", workloads.list_layers(), workloads.load_layer),
            ("cases", workloads.list_cases(), workloads.load_case)):
        calls = [call_of(load(name)) for name in names]
        print(f"\n{title}: {', '.join(names)}\n")
        print("| peer | settings | " + " | ".join(COLUMNS) + " |")
        print("|---|---|" + "---|" * len(COLUMNS))
        for name in options.names or PEERS:
            methods = PEERS[name].sweep() if options.sweep else [PEERS[name]()]
            for method in methods:
                cells = " | ".join(f"{value:.3f}" for value in run(method, calls))
                print(f"| {name} | {settings(method)} | {cells} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
