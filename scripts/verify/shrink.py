# SPDX-License-Identifier: Apache-2.0
"""Makes a failing item of the soak test as small as it can be, and prints it as a test.

    item = smallest(item, cfg, first_failing)

``first_failing(items)`` gives the number of the first of these items that still fails, or None.
Only one change is made at a time, the boldest first, and kept where the item still fails: jobs out
of the chain, rows, keys, elements and heads halved or taken from either end, settings left to their
defaults, plain numbers, a memory that does nothing but answer.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator
from dataclasses import replace

from models.config import Config, ConfigError
from tb.system.random_jobs import Item, Recipe

FAST = {"read_latency": 4, "write_latency": 4}
"""A memory that does nothing but answer."""

STEP = {"d": 8, "h": 8}
"""Sizes that are multiples of more than 1."""

FIRST = {"rows": "first_row", "keys": "first_key"}
"""Size -> field of where its rows begin."""

TOGETHER = {"causal": ("causal", "offset", "window", "sinks"), "window": ("window", "sinks"),
            "select": ("select", "quota", "radius_nats")}
"""Setting -> those that go with it."""

NUMBERS = {"band", "bc", "offset", "quota", "sinks", "window"}
"""Settings that can be less."""


def sizes(n: int, step: int) -> list[int]:
    """Smaller sizes of ``n``, the smallest first, each a multiple of ``step``."""
    tried = {step, n // 2 // step * step, 3 * n // 4 // step * step, n - step}
    return sorted(m for m in tried if step <= m < n)


def recipes(recipe: Recipe) -> Iterator[Recipe]:
    """Recipes with less in them, legal or not."""
    for name in ("rows", "keys", "kv_heads", "group", "d", "h"):
        now = getattr(recipe, name)
        for less in sizes(now, STEP.get(name, 1)) if now else ():
            yield replace(recipe, **{name: less})
            if name in FIRST:
                # The last ones instead of the first ones; those that are left see the same.
                first = FIRST[name]
                moved = {**recipe.settings}
                if name == "rows" and recipe.settings.get("offset") is not None:
                    moved["offset"] += now - less
                yield replace(recipe, settings=moved, **{
                    name: less, first: getattr(recipe, first) + now - less})
    if recipe.h:
        yield replace(recipe, h=0, mode=0, left=None)
    for name in sorted(NUMBERS & recipe.settings.keys()):
        for less in sizes(recipe.settings[name] or 0, 1):
            yield replace(recipe, settings={**recipe.settings, name: less})
    for name in recipe.settings:
        gone = TOGETHER.get(name, (name,))
        yield replace(recipe, settings={k: v for k, v in recipe.settings.items() if k not in gone})
    for name, plain in (("wild", False), ("q_kind", "normal"), ("kind", "normal"), ("spread", 1.0),
                        ("left", None), ("mode", 0), ("theta", 1e3), ("first_row", 0),
                        ("first_key", 0)):
        if getattr(recipe, name) != plain:
            yield replace(recipe, **{name: plain})


def items(item: Item) -> Iterator[Item]:
    """Items with less in them, legal or not, the boldest change first."""
    chain = item.recipes
    if len(chain) > 1:
        for i in range(len(chain)):
            yield replace(item, recipes=chain[i : i + 1])
        for i in range(len(chain)):
            yield replace(item, recipes=chain[:i] + chain[i + 1 :])
    if item.memory != FAST:
        yield replace(item, memory=dict(FAST))
    for name in item.memory:
        gone = ("reorder", "interleave") if name == "reorder" else (name,)
        less = {k: FAST.get(k, v) if k == name else v for k, v in item.memory.items()
                if k not in gone or name in FAST}
        if less != item.memory:
            yield replace(item, memory=less)
    for name, plain in (("padding", 0), ("gap", 0), ("first", 0), ("registers", True), ("seed", 0)):
        if getattr(item, name) != plain:
            yield replace(item, **{name: plain})
    for i, recipe in enumerate(chain):
        for less in recipes(recipe):
            yield replace(item, recipes=(*chain[:i], less, *chain[i + 1 :]))


def smaller(item: Item, cfg: Config) -> list[Item]:
    """Legal items with less in them, the boldest change first."""
    found = []
    for less in items(item):
        try:
            less.specs(cfg)
        except ConfigError:
            continue
        found.append(less)
    return found


def smallest(item: Item, cfg: Config, first_failing: Callable[[list[Item]], int | None],
             tell: Callable[[Item], None] = lambda item: None) -> Item:
    """The item with as little in it as fails; tell: hears of each step."""
    while True:
        tried = smaller(item, cfg)
        number = first_failing(tried) if tried else None
        if number is None:
            return item
        item = tried[number]
        tell(item)


def shortest(before: list[Item], fails: Callable[[list[Item]], bool]) -> list[Item]:
    """The items that have to run before a failing one for it to fail; fails(items): whether it does
    after these."""
    if fails([]):
        return []
    step = max(len(before) // 2, 1)
    while True:
        for at in range(0, len(before), step):
            rest = before[:at] + before[at + step :]
            if fails(rest):
                before = rest
                break
        else:
            if step == 1:
                return before
            step //= 2


def as_test(found: list[Item], config: str, sim: str, seed: int, why: str) -> str:
    """Python of a test that runs the items; why: the first line of its docstring."""
    def wrapped(item):
        return textwrap.indent(textwrap.fill(repr(item), 88, break_long_words=False,
                                             break_on_hyphens=False), " " * 8)

    body = ",\n".join(map(wrapped, found))
    why = why.replace("\\", "/").replace('"', "'")
    text = "\n    ".join(textwrap.wrap(f'"""{why}."""', 92))
    return (f'@pytest.mark.configs("{config}")\n@pytest.mark.sims("{sim}")\n'
            f"def test_seed_{seed}(sim, config):\n    {text}\n"
            f"    check([\n{body}],\n        config.name, sim)\n")
