# SPDX-License-Identifier: Apache-2.0
"""Selection study: organisations of selection and pair lanes on captured layers of SmolLM2.

    .venv/bin/python scripts/selection_study.py                  # S = 1024 and 2048, some layers
    .venv/bin/python scripts/selection_study.py --lengths 1024 --layers 4,12

For each length: which keys each rule keeps and what it loses, what every organisation of the lanes
pays on the same selections, the hardware each needs, and a ranking at equal loss. Tables go to the
terminal and to build/study/selection.md, all numbers to selection.json beside it. Layer 0 is left
out: it is nearly flat and stays dense. Needs scripts/requirements-lab.txt; models and texts are
fetched into build/capture once.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from scripts import entry  # noqa: E402 (needs the repository on the search path)

entry.install()

import numpy as np  # noqa: E402

from models import dlzs  # noqa: E402
from models.config import Config  # noqa: E402
from models.lab import organisations  # noqa: E402
from models.lab.method import Call  # noqa: E402
from models.lab.organisations import BLOCK, Measured, Organisation, Truth  # noqa: E402
from models.nets.common import dense  # noqa: E402
from models.nets.smollm2 import SmolLM2  # noqa: E402
from models.nets.sources import NetError, read_text  # noqa: E402
from scripts.bench import table  # noqa: E402

RADII = (4.5, 6.0, 7.0, 8.0, 11.0)
"""Nats; the curve of every rule."""

RULES = {
    "no quota": Organisation(quota=64),
    "quota 24": Organisation(quota=24),
    "quota 16": Organisation(quota=16),
    "quota 12": Organisation(quota=12),
    "quota 8": Organisation(quota=8),
    "quota 16, contiguous": Organisation(quota=16, layout="contiguous"),
    "quota 16, likely maximum first": Organisation(quota=16, layout="recent"),
    "quota 8, exchange 4": Organisation(quota=8, exchange=4),
    "quota 16, two-term": Organisation(quota=16, snap=dlzs.TWO_TERM),
    "quota 12, two-term": Organisation(quota=12, snap=dlzs.TWO_TERM),
    "quota 16, from the sum": Organisation(quota=16, anchor="sum"),
    "quota 24, from the sum": Organisation(quota=24, anchor="sum"),
    "quota 32, from the sum": Organisation(quota=32, anchor="sum"),
    "quota 24, from the sum, two-term": Organisation(quota=24, anchor="sum", snap=dlzs.TWO_TERM),
    "quota 16, GQA blocks": Organisation(quota=16, heads=3),
}

LANES = {
    "lockstep": {},
    "groups of 4": {"share": 4},
    "groups of 8": {"share": 8},
    "groups of 16": {"share": 16},
    "groups of 32": {"share": 32},
    "carry 1 tile": {"carry": 1},
    "groups of 8, carry 1 tile": {"share": 8, "carry": 1},
    "rows decoupled over the block": {"carry": BLOCK},
}

BASE = ("quota 16", 6.0, "lockstep")
"""The machine as built: its cycles and area are 1 everywhere."""

TARGETS = (6.0, 8.0)
"""Radii of the base rule whose lost mass is what the rankings compare at."""

BEST = 12
"""Rows of a ranking that are shown."""

SHOWN = (("no quota", 4.5), ("quota 16", 6.0), ("quota 12", 6.0))
"""Selections on which the lanes are shown one by one."""


def captured(length: int, layers: list[int], cache: Path) -> list[Call]:
    """The attention of some layers on the first ``length`` tokens of the novel."""
    model, calls = SmolLM2(cache), []

    def attend(call: Call) -> np.ndarray:
        if call.layer in layers:
            calls.append(call)
        return dense(call)

    model.forward(model.encode(read_text("novel", cache), 0, length), attend)
    return calls


def layer_results(call: Call, cfg: Config, done) -> dict[tuple[str, float, str], Measured]:
    """(rule, radius, lanes) -> Measured of one layer; done(): called after each rule."""
    truth, results, guesses = Truth.of(call), {}, {}
    for rule, base in RULES.items():
        if base.snap not in guesses:
            guesses[base.snap] = organisations.predict(call, base.snap, cfg)
        for radius in RADII:
            org = dataclasses.replace(base, radius=radius)
            picked = organisations.choose(guesses[base.snap], org, cfg)
            kept = truth.quality(picked.selected)
            for lanes, changes in LANES.items():
                if changes.get("carry") == BLOCK and (rule, radius) not in SHOWN:
                    continue
                shared = dataclasses.replace(org, **changes)
                results[rule, radius, lanes] = organisations.measure(
                    call, picked, shared, cfg, kept)
        done()
    results |= per_head(call, guesses[dlzs.FLOOR], truth, cfg)
    return results


def per_head(call: Call, guess, truth: Truth, cfg: Config) -> dict:
    """The base rule with a radius for each head that equalises the lost mass of the heads."""
    rule, radius, lanes = BASE
    base = RULES[rule]
    picks = {r: organisations.choose(guess, dataclasses.replace(base, radius=r), cfg).selected
             for r in RADII}
    lost = {r: [1 - float((p * s).sum() / len(p)) for p, s in zip(truth.p, picks[r], strict=True)]
            for r in RADII}
    # The heads' radii whose mean loss is nearest to that of the one radius.
    target = np.mean(lost[radius])
    grid = np.linspace(min(RADII), max(RADII), 27)
    curves = [np.interp(grid, RADII, [lost[r][h] for r in RADII]) for h in range(len(call.q))]
    best = None
    for bar in np.linspace(target / 4, 2 * target, 60):
        index = [min(np.searchsorted(-c, -bar), len(grid) - 1) for c in curves]
        mean = np.mean([c[i] for c, i in zip(curves, index, strict=True)])
        if best is None or abs(mean - target) < abs(best[0] - target):
            best = mean, tuple(float(grid[i]) for i in index)
    org = dataclasses.replace(base, radius=best[1])
    picked = organisations.choose(guess, org, cfg)
    kept = truth.quality(picked.selected)
    return {("quota 16, radius per head", 0.0, lanes):
            organisations.measure(call, picked, org, cfg, kept)}


def quality_columns(m: Measured) -> tuple[str, ...]:
    """Keep, lost mass, output error."""
    return f"{m.keep:.1%}", f"{m.lost:.2%}", f"{m.relative_error:.1%}"


def at_loss(curve: list[Measured], target: float, what) -> float | None:
    """what(Measured) where the lost mass equals the target, None outside the curve."""
    points = sorted((m.lost, what(m)) for m in curve)
    x, y = zip(*points, strict=True)
    if not x[0] <= target <= x[-1]:
        return None
    return float(np.interp(target, x, y))


def report(length: int, total: dict, cfg: Config, d: int) -> str:
    """The tables of one length."""
    base = total[BASE]
    rules = [(rule, radius or "own", *quality_columns(m), m.steps, f"{m.useful:.0%}",
              f"{m.vectors * 4 * d / 1e6:.1f}", f"{m.cycles / base.cycles:.2f}")
             for (rule, radius, lanes), m in total.items() if lanes == "lockstep"]
    rows = []
    for rule, radius in SHOWN:
        first = total[rule, radius, "lockstep"]
        for lanes, changes in LANES.items():
            m = total[rule, radius, lanes]
            need = organisations.hardware(dataclasses.replace(RULES[rule], **changes), cfg)
            rows.append((f"{rule}, {radius} nats", lanes, m.steps, f"{m.useful:.0%}",
                         f"{m.cycles / first.cycles:.2f}", f"{need.mux / 1e3:.0f}",
                         f"{need.logic / 1e3:.0f}", f"{need.buffer / 8192:.0f}"))
    parts = [
        f"## S = {length}",
        "Rules, lanes in lockstep. keep: share of the visible pairs; lost: softmax mass not "
        "retained, mean over rows; error: relative L2 error of the output; steps: pair steps "
        "paid; useful: share of their key places with a key; MB: K and V read; cycles: of the "
        f"cycle model, {', '.join(map(str, BASE))} = 1.",
        table(("rule", "radius", "keep", "lost", "error", "steps", "useful", "MB", "cycles"),
              rules),
        "Organisations of the lanes on the same selections. cycles: lockstep = 1; mux: thousand "
        "two-way multiplexer bits; logic: thousand full-adder bits; buffer: KiB (lists, K, V).",
        table(("selection", "lanes", "steps", "useful", "cycles", "mux", "logic", "buffer"), rows)]
    for radius in TARGETS:
        lost = total[BASE[0], radius, BASE[2]].lost
        ranked = ranking(total, cfg, lost)
        parts += [
            f"The best {BEST} of {len(ranked)} at a lost mass of {lost:.2%}, as {BASE[0]} with "
            f"{radius} nats has: cycles and area over those of {', '.join(map(str, BASE))}, "
            "ordered by their product.",
            table(("rank", "rule", "lanes", "keep", "cycles", "area", "product"),
                  [(i + 1, r[0], r[1], f"{r[2]:.1%}", *(f"{x:.2f}" for x in r[3:]))
                   for i, r in enumerate(ranked[:BEST])]),
            recommendation(ranked)]
    return "\n\n".join(parts)


def ranking(total: dict, cfg: Config, lost: float) -> list[tuple]:
    """(rule, lanes, keep, cycles, area, their product) at a lost mass, best first; rules whose
    curve does not reach it are left out."""
    base = total[BASE]
    room = organisations.hardware(RULES[BASE[0]], cfg).area
    ranked = []
    for rule, org in RULES.items():
        for lanes, changes in LANES.items():
            curve = [total[rule, r, lanes] for r in RADII if (rule, r, lanes) in total]
            if len(curve) < len(RADII):
                continue
            cycles = at_loss(curve, lost, lambda m: m.cycles)
            if cycles is None:
                continue
            keep = at_loss(curve, lost, lambda m: m.keep)
            area = organisations.hardware(dataclasses.replace(org, **changes), cfg).area / room
            cycles /= base.cycles
            ranked.append((rule, lanes, keep, cycles, area, cycles * area))
    return sorted(ranked, key=lambda r: r[-1])


def recommendation(ranked: list[tuple]) -> str:
    """A ranking in sentences: the best whole, then what each single change of BASE is worth."""
    rule, lanes, keep, cycles, area, product = ranked[0]
    lines = [f"Recommended: {rule}, {lanes}: {cycles:.2f} of the cycles at {area:.2f} of the area "
             f"(product {product:.2f}), keep {keep:.1%}."]
    rules = sorted((r for r in ranked if r[1] == "lockstep"), key=lambda r: r[3])
    named = [f"{r[0]} {r[3]:.2f}" for r in rules]
    lines.append(f"Rules alone, in lockstep, cycles: {', '.join(named)}.")
    single = sorted((r for r in ranked if r[0] == BASE[0]), key=lambda r: r[5])
    named = [f"{r[1]} {r[3]:.2f} (area {r[4]:.2f})" for r in single]
    lines.append(f"Lanes alone, with {BASE[0]}, cycles: {', '.join(named)}.")
    return " ".join(lines)


def numbers(parser, option: str, text: str, low: int, high: int) -> list[int]:
    """The numbers of an option such as 4,11; ends the program when one is not legal."""
    parts = text.split(",")
    if not all(x.strip().isdigit() and low <= int(x) <= high for x in parts):
        parser.error(f"{option} {text}, legal: a list of numbers {low}..{high}")
    return [int(x) for x in parts]


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--lengths", default="1024,2048", help="tokens")
    parser.add_argument("--layers", default="4,11,18,25", help="layers of SmolLM2, 1..29")
    parser.add_argument("--cache", type=Path, default=ROOT / "build" / "capture")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "study")
    args = parser.parse_args(argv)
    lengths = numbers(parser, "--lengths", args.lengths, 128, 8192)
    layers = numbers(parser, "--layers", args.layers, 1, 29)
    cfg = Config.from_name("paper")
    args.cache.mkdir(parents=True, exist_ok=True)
    args.out.mkdir(parents=True, exist_ok=True)
    texts, saved = ["# Selection study, SmolLM2 on a novel"], {}
    for length in lengths:
        try:
            total, calls = {}, captured(length, layers, args.cache)
        except NetError as error:
            parser.error(str(error))
        count = [0]

        def done(length=length, count=count, calls=calls) -> None:
            count[0] += 1
            print(f"\rS = {length}: rule {count[0]} of {len(calls) * len(RULES)}", end="",
                  file=sys.stderr, flush=True)

        for call in calls:
            for key, m in layer_results(call, cfg, done).items():
                total[key] = total.get(key, Measured()) + m
        print(file=sys.stderr)
        texts.append(report(length, total, cfg, calls[0].d))
        saved[length] = [{"rule": rule, "radius": radius, "lanes": lanes, **vars(m)}
                         for (rule, radius, lanes), m in total.items()]
    text = "\n\n".join(texts) + "\n"
    print(text)
    (args.out / "selection.md").write_text(text)
    (args.out / "selection.json").write_text(json.dumps(saved, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
