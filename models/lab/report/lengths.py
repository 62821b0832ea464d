# SPDX-License-Identifier: Apache-2.0
"""The threshold from length alone: fitted on one text, tested on the others.

    .venv/bin/python scripts/evaluate.py --grid long
    .venv/bin/python -m models.lab.report.lengths [RECORD]

RECORD is what scripts/report.py --save wrote (default: models/data/lab/results.json). For each rule
that codes Q: the thresholds at which the sweep of the first stretch of the novel loses LIMIT at its
lengths, a straight line through them in the logarithms of length and threshold (least squares),
and what the line costs on the texts that it was not fitted on, interpolated linearly between the
two nearest measured thresholds; so are the standard errors. models.length holds the line
that is used.
"""

from __future__ import annotations

import argparse
import math
import re
import sys
from pathlib import Path

import numpy as np

from ..measure.curves import Point, percent
from ..measure.grid import FLOOR, LM, OURS
from ..measure.store import StoreError
from .record import RESULTS, load
from .tables import Gathered, Table, markdown, signed

LIMIT = 1.0
"""Perplexity increase, percent."""


def log_tau(point: Point) -> float:
    """log2 of the threshold in a point's label."""
    return math.log2(float(re.search(r"\btau=([\d.e-]+)", point.label)[1]))


def crossing(points: list[tuple[float, float]], limit: float) -> float | None:
    """log2 of the threshold at which the loss is ``limit``: (log2 of threshold, loss) points.
    Linear between the largest threshold within the limit and the next larger one; None where
    there is none of either."""
    ordered = sorted(points, reverse=True)
    within = next((i for i, (_, loss) in enumerate(ordered) if loss <= limit), 0)
    if not within:
        return None
    (tau, loss), (larger, worse) = ordered[within], ordered[within - 1]
    return tau + (larger - tau) * (limit - loss) / (worse - loss)


def fit(got: Gathered, name: str) -> tuple[dict[int, float], tuple[float, float] | None]:
    """({length: log2 of the threshold at LIMIT}, (log2 at 1024 keys, slope)) of a series of the
    group "fit"; None for the line with fewer than two lengths."""
    found = {}
    for net, length in got.wheres(LM):
        points = got.curves[net, length].get(f"{name}, fit", [])
        tau = crossing([(log_tau(p), percent(p.loss)) for p in points], LIMIT)
        if tau is not None:
            found[length] = tau
    if len(found) < 2:
        return found, None
    slope, offset = np.polyfit([math.log2(n / 1024) for n in found], list(found.values()), 1)
    return found, (float(offset), float(slope))


def test(got: Gathered, name: str, line: tuple[float, float]) -> list[list[str]]:
    """Rows of length, text, threshold, keep and loss at the line, for all texts but the fitted."""
    rows = []
    for net, length in got.wheres(LM):
        curves = got.curves[net, length]
        points = sorted((curves.get(name) or []) + (curves.get(f"{name}, by length") or []),
                        key=log_tau)
        tau = line[0] + line[1] * math.log2(length / 1024)
        below = [p for p in points if log_tau(p) <= tau]
        above = [p for p in points if log_tau(p) > tau]
        if not below or not above:
            continue
        low, high = below[-1], above[0]
        part = (tau - log_tau(low)) / (log_tau(high) - log_tau(low))
        for text in low.texts:
            if text not in high.texts:
                continue
            loss, error, keep = ((1 - part) * a + part * b for a, b in zip(
                low.texts[text], high.texts[text], strict=True))
            rows.append([str(length), text, f"{tau:.2f}", f"{100 * keep:.2f} %",
                         f"{signed(percent(loss))} ± {100 * error:.2f} %"])
    return rows


def tables(got: Gathered, name: str) -> tuple[str, Table]:
    """(a sentence on the fit, what the line costs elsewhere)."""
    found, line = fit(got, name)
    at = ", ".join(f"{n}: {t:.2f}" for n, t in found.items()) or "none"
    header = ["S", "text", "log2 tau", "keep", "perplexity"]
    if line is None:
        return f"{name}: log2 tau at +{LIMIT:g} % {at}; two lengths are needed", (header, [])
    return (f"{name}: log2 tau at +{LIMIT:g} % {at}; line {line[0]:.2f} {line[1]:+.2f} "
            f"log2(S/1024)", (header, test(got, name, line)))


def main(arguments: list[str] | None = None) -> int:
    """Exit code: 0 done, 2 there is no record."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("record", nargs="?", type=Path, default=RESULTS)
    try:
        got = load(parser.parse_args(arguments).record)
    except StoreError as error:
        print(f"lengths: {error}", file=sys.stderr)
        return 2
    for name in (OURS, FLOOR):
        sentence, table = tables(got, name)
        print(f"{sentence}\n\n{markdown(table)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
