# SPDX-License-Identifier: Apache-2.0
"""Runs seeds of the soak test, many in one simulation; of each comes a record that JSON can hold.

    for record in run_batch(Batch("tiny", "verilator", (1, 2, 3))):
        ...

A record has ``seed``, ``jobs``, ``with`` (what is in the item), and, where all was right,
``cycles``, ``values`` compared and ``seconds``; else ``failure``, what was wrong, and ``after``,
the seeds that ran before in the same simulation.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass

from models import head
from models.config import Config
from tb.system.random_jobs import Item, random_item
from tb.system.soak import run_items


@dataclass(frozen=True)
class Batch:
    """Seeds that run in one simulation, of a configuration on a simulator."""

    config: str
    sim: str
    seeds: tuple[int, ...]


def features(item: Item) -> list[str]:
    """What is in an item, for the counts of the summary."""
    ways = {head.SUM: "sum", head.SORT: "sort", head.DENSE: "dense"}
    found = {"chain"} if len(item.recipes) > 1 else set()
    for recipe in item.recipes:
        of = recipe.settings.get
        way = of("select", head.SUM)
        found |= {"layer" if recipe.h else "job", ways[way], f"Q {recipe.q_kind}",
                  f"K {recipe.kind}"}
        found |= {name for name, there in (
            ("causal", of("causal")), ("window", of("window")), ("sinks", of("sinks")),
            ("shared blocks", of("share")), ("grouped heads", recipe.group > 1),
            ("mean", of("blend", True) and way == head.SUM), ("wild", recipe.wild),
            ("RoPE", recipe.h and recipe.mode), ("keys of before", recipe.left is not None),
        ) if there}
    found |= {name for name in ("reorder", "interleave") if item.memory.get(name)}
    found |= {"stalls"} if any(n.endswith(("stall", "gap")) for n in item.memory) else set()
    return sorted(found)


def run_batch(batch: Batch) -> list[dict]:
    """A record of each seed of a batch. A wrong one ends its simulation; the next ones get
    another."""
    return list(records(batch))


def records(batch: Batch, **options) -> Iterator[dict]:
    """As run_batch, one after another; options: those of tb.system.soak.run_items."""
    cfg = Config.from_name(batch.config)
    left = list(batch.seeds)
    while left:
        items = [random_item(cfg, seed) for seed in left]
        with redirect_stdout(io.StringIO()):
            outcome = run_items(items, batch.config, batch.sim, seed=left[0],
                                name=f"soak-{batch.config}-{os.getpid()}", **options)
        ran = len(outcome.passed) + (outcome.failure is not None)
        for number, (seed, item) in enumerate(zip(left[:ran], items, strict=False)):
            record = {"seed": seed, "jobs": item.jobs, "with": features(item)}
            if number < len(outcome.passed):
                yield record | outcome.passed[number]
            else:
                yield record | {"failure": outcome.failure, "after": left[:number]}
        left = left[ran:]
