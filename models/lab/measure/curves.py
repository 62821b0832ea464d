# SPDX-License-Identifier: Apache-2.0
"""From results to figures: pooling over texts, standard errors, and the keep ratio at a loss.

A point is one setting of a method on all texts of a net and length; a curve is the points of one
series (one rule whose settings are swept).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..methods.counts import STAGES, Counts

LOSSES = (0.5, 1.0, 2.0)
"""Perplexity increases, in percent, at which keep ratios are compared."""


@dataclass(frozen=True)
class Point:
    """A setting pooled over its results.

    loss, error   mean of all samples and its standard error, in the unit of the net's measure
    keep          selected / visible pairs of all layers, heads and texts together
    layers        the same for each layer
    recall, mass  see models.lab.measure.evaluate; None where not measured
    cost          stage -> full-adder bits, bytes: DRAM stream -> bytes, both for each visible pair
                  (models.lab.methods.counts); empty where the method does not count
    extra         further measures of the net, means over the results
    texts         text (NAME, or NAME:PART for a later stretch) -> (loss, error, keep) of it alone
    setting       class and fields of the method (models.lab.measure.store.describe)
    """

    label: str
    loss: float
    error: float
    keep: float
    layers: tuple[float, ...]
    recall: float | None
    mass: float | None
    cost: dict[str, float]
    bytes: dict[str, float]
    extra: dict[str, float]
    texts: dict[str, tuple[float, float, float]]
    setting: object = None


def standard_error(samples: Iterable[float]) -> float:
    """Standard error of the mean of independent samples; infinite for fewer than two."""
    values = np.asarray(list(samples), float)
    return float(values.std(ddof=1) / math.sqrt(len(values))) if len(values) > 1 else math.inf


def counts_of(result: dict) -> Counts:
    """The operations and bytes of a result."""
    return Counts({s: dict(k) for s, k in result["ops"].items()}, dict(result["bytes"]),
                  result["visible"], result["selected"])


def text_of(case: dict) -> str:
    """What a text is called: NAME, or NAME:PART for a later stretch."""
    return Path(case["text"]).name + (f":{case['part']}" if case.get("part") else "")


def pool(results: list[dict], label: str = "") -> Point:
    """One point from the results of a setting on several texts."""
    if not results:
        raise ValueError("results: at least one is needed")
    samples = [x for r in results for x in r["samples"]]
    selected, visible = (np.sum([r[f"{n}_layers"] for r in results], axis=0)
                         for n in ("selected", "visible"))
    counts = sum((counts_of(r) for r in results), Counts())

    def mean(name: str) -> float | None:
        known = [r[name] for r in results if r.get(name) is not None]
        return float(np.mean(known)) if known else None

    extra = {name: float(np.mean([r["extra"][name] for r in results]))
             for name in results[0]["extra"]}
    cost, moved = {}, {}
    if counts.visible:
        cost = {stage: counts.cost(stage) / counts.visible for stage in STAGES}
        moved = {stream: size / counts.visible for stream, size in counts.bytes.items()}
    texts = {text_of(r["case"]): (float(np.mean(r["samples"])), standard_error(r["samples"]),
                                  r["selected"] / r["visible"]) for r in results}
    return Point(label=label, loss=float(np.mean(samples)), error=standard_error(samples),
                 keep=float(selected.sum() / visible.sum()),
                 layers=tuple((selected / visible).tolist()), recall=mean("recall"),
                 mass=mean("mass"), cost=cost, bytes=moved, extra=extra, texts=texts,
                 setting=results[0].get("setting"))


def percent(nats: float) -> float:
    """Perplexity increase in percent of a rise of the loss in nats."""
    return 100 * math.expm1(nats)


@dataclass(frozen=True)
class Reach:
    """The smallest keep ratio at a loss. bound: the sparsest setting is still below the loss, so
    the true value is at most ``keep``; keep None: no setting loses so little."""

    keep: float | None
    bound: bool = False

    def __str__(self) -> str:
        if self.keep is None:
            return "not reached"
        return f"{'<= ' if self.bound else ''}{100 * self.keep:.1f} %"


def keep_at(points: Iterable[tuple[float, float]], limit: float) -> Reach:
    """Smallest keep ratio with a loss of at most ``limit`` on a curve of (keep, loss) points.

    Linear interpolation between the sparsest point within the limit and its sparser neighbour,
    which is beyond the limit. The curves are convex there, so that the chord lies above the curve
    and the figure errs towards a larger keep ratio.
    """
    ordered = sorted(points)
    within = next((i for i, (_, loss) in enumerate(ordered) if loss <= limit), None)
    if within is None:
        return Reach(None)
    keep, loss = ordered[within]
    if within == 0:
        return Reach(keep, bound=True)
    sparse, worse = ordered[within - 1]
    return Reach(sparse + (keep - sparse) * (worse - limit) / (worse - loss))


def front(points: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """The points that no other beats in both keep ratio and loss, by rising keep ratio."""
    best: list[tuple[float, float]] = []
    for keep, loss in sorted(set(points)):
        if not best or loss < best[-1][1]:
            best.append((keep, loss))
    return best
