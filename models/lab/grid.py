# SPDX-License-Identifier: Apache-2.0
"""What is evaluated: rules, predictors, options and peers, on which nets, texts and lengths.

    series, rows = grids(GRIDS["default"])

quick     a few settings of every group on short inputs: minutes, to see that all works
default   within an hour on two cores: every rule, peer and option on SmolLM2 with S = 1024, peers
          and some rules also with S = 2048, rules and peers on the other nets
full      all sweeps whole, four texts, S = 512 to 2048
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace

from models.lab.dense import Dense
from models.lab.evaluate import RowTask
from models.lab.first import FirstSofa
from models.lab.method import Method
from models.lab.rules import PREDICTORS, Rule
from models.lab.sofa import Sofa
from models.lab.subjects import FRAMES, Case
from models.lab.tables import Series
from models.nets.sources import TEXTS
from models.nets.whisper import SECONDS
from models.peers import PEERS
from models.peers.twilight import EXACT, Twilight

METHODS: dict[str, type[Method]] = {
    "sofa": Sofa, "sofa-first": FirstSofa, "rule": Rule, "dense": Dense, **PEERS}
"""Name on the command line -> class."""

DENSE = "dense"
"""The series whose operations and bytes are the measure of all."""

OURS = "SOFA"
"""The series that stands for SOFA beside other systems: one phase, Q coded by floor, interleaved
tiles of 64 keys, radius and quota, layer 0 dense."""

FRAMED = Case("whisper", "voice", FRAMES * SECONDS)
"""The case of whisper."""

SUM = "SOFA, sum"
"""The second machine, two-term codes; neither is it in the RTL (docs/second.md)."""

DENSE_PEERS = ("flash", "ibert")
"""Systems that use every visible pair."""

LONG = (OURS, SUM, "SOFA, two phases", "SOFA, two-term", "threshold, DLZS",
        "threshold, exact", "radius, exact")
"""Rules that the default grid also runs on the longest inputs."""

BLIND = ("lightglue",)
"""Nets whose Calls do not say where keys come from: no prediction from X."""


@dataclass(frozen=True)
class Scale:
    """How much of everything a grid has.

    points     settings of a sweep to begin with, see Series.start; refine: go on from them
    main       cases of all rules and peers; long: of peers and of the rules in LONG
    side       cases of predictors and options; rows: of the row types
    """

    points: int | None
    refine: bool
    main: tuple[Case, ...]
    long: tuple[Case, ...]
    side: tuple[Case, ...]
    rows: tuple[Case, ...]


def cases(net: str, texts: Iterable[str], *lengths: int) -> tuple[Case, ...]:
    """Every text at every length."""
    return tuple(Case(net, text, length) for length in lengths for text in texts)


LM = "smollm2"
GLUE = Case("lightglue", "photos", 1024)
GRIDS = {
    "quick": Scale(2, False, cases(LM, ("novel",), 256) + cases("minilm", ("novel",), 128), (),
                   cases(LM, ("novel",), 256), cases(LM, ("novel",), 512)),
    "default": Scale(3, True, cases(LM, ("novel", "code"), 1024)
                     + cases("minilm", ("novel",), 256) + (FRAMED, GLUE),
                     cases(LM, ("novel",), 2048), cases(LM, ("novel",), 1024),
                     cases(LM, ("novel", "code"), 1024) + cases(LM, ("novel",), 2048)
                     + (FRAMED, GLUE)),
    "full": Scale(None, False, cases(LM, TEXTS, 512, 1024, 2048)
                  + cases("minilm", TEXTS, 128, 256, 512)
                  + (FRAMED, Case("lightglue", "photos", 2048)), (),
                  cases(LM, TEXTS, 1024, 2048) + cases("minilm", TEXTS, 256) + (FRAMED, GLUE),
                  cases(LM, TEXTS, 512, 1024, 2048) + cases("minilm", TEXTS, 512)
                  + (FRAMED, Case("lightglue", "photos", 2048))),
}


def label(method: Method) -> str:
    """The fields of a method that are not at their defaults."""
    plain = type(method)()
    changed = [(f.name, getattr(method, f.name)) for f in fields(method)
               if getattr(method, f.name) != getattr(plain, f.name)]
    return ", ".join(f"{name}={value}" for name, value in changed) or "defaults"


def sofas(pairs, **others) -> list[Method]:
    """FirstSofa with (quota, radius) pairs and other settings alike."""
    return [FirstSofa(quota=quota, radius_nats=radius, **others) for quota, radius in pairs]


BOTH = ((32, 8.0), (24, 7.0), (20, 7.0), (16, 7.0), (16, 6.0), (12, 6.0), (12, 5.0), (8, 5.0),
        (6, 5.0))
"""(quota of 64, radius in nats) from dense to sparse."""
FEW = ((24, 7.0), (16, 6.0), (12, 5.0), (8, 5.0))

SHARES = (1e-4, 2e-4, 3e-4, 5e-4, 7e-4, 1e-3, 1.4e-3, 2e-3, 3e-3)
"""Least share of the row's softmax, from dense to sparse."""


OCTAVES = (-10.5, -10.0, -9.5, -9.0, -8.5, -8.0, -7.5, -7.0)
"""The same at 1024 keys, as powers of two, for the second machine."""


def rules() -> dict[str, list[Method]]:
    """Selection rules: SOFA, SOFA with another rule, and rules on whole rows."""
    first = {"dense_layers": (0,)}
    return {
        OURS: sofas(BOTH, **first),
        "SOFA, two phases": sofas(BOTH, phases=2, **first),
        "SOFA, two-term": sofas(BOTH, snap="two-term", **first),
        "SOFA, radius only": sofas(((64, r) for r in (8.0, 7.0, 6.0, 5.5, 5.0, 4.0)),
                                   **first),
        "SOFA, quota only": sofas(((q, None) for q in (32, 24, 20, 16, 12, 8, 6)),
                                  **first),
        SUM: [Sofa(tau=2.0**t) for t in OCTAVES],
        f"{SUM}, floor": [Sofa(snap="floor", tau=2.0**t) for t in OCTAVES],
        "threshold, DLZS": [Rule(predictor="floor", threshold=t) for t in SHARES],
        "threshold, exact": [Rule(threshold=t) for t in SHARES],
        "top-p, exact": [replace(method, bits=EXACT) for method in Twilight.sweep()],
        "top-k, exact": [Rule(share=s) for s in (0.6, 0.5, 0.4, 0.3, 0.2, 0.1)],
        "top-k, exact, 32+ keys": [
            Rule(share=s, min_keys=32) for s in (0.4, 0.3, 0.2, 0.15, 0.1, 0.07, 0.05, 0.02)],
        "radius, exact": [Rule(radius_nats=r) for r in (8.0, 7.0, 6.0, 5.5, 5.0, 4.5, 4.0)],
    }


def predictors() -> dict[str, list[Method]]:
    """Every predictor with the same rule, a radius below the row's best score."""
    return {f"{name}, radius": [
        Rule(predictor=name, radius_nats=r) for r in (8.0, 7.0, 6.0, 5.0, 4.0)]
        for name in PREDICTORS if name != "exact"}


def options() -> dict[str, list[Method]]:
    """SOFA with one setting of the machine changed."""
    first = {"dense_layers": (0,)}

    def tiles(size: int) -> list[Method]:
        columns = {"COLS": min(size, 32)}  # no more than the keys of a tile
        return sofas(((q * size // 64, r) for q, r in FEW), bc=size, widths=columns, **first)

    return {
        "SOFA, nearest": sofas(FEW, snap="nearest", **first),
        f"{SUM}, no mean": [Sofa(tau=2.0**t, blend=False) for t in (-12, -11, -10, -9)],
        f"{SUM}, two phases": [Sofa(tau=2.0**t, phases=2) for t in (-10, -9, -8)],
        "SOFA, tiles of 32": tiles(32),
        "SOFA, tiles of 16": tiles(16),
        "SOFA, contiguous": sofas(FEW, interleaved=False, **first),
        "SOFA, layer 0 sparse": sofas(FEW),
        "SOFA, layer 1 dense too": sofas(FEW, dense_layers=(0, 1)),
    }


def widths() -> dict[str, list[tuple[str, Method]]]:
    """Fraction bits of a prediction term; the label is the width."""
    return {f"SC_FRAC, {snap}": [
        (str(bits), FirstSofa(snap=snap, dense_layers=(0,), widths={"SC_FRAC": bits}))
        for bits in (0, 1, 2, 3, 5, 8)] for snap in ("floor", "two-term")}


def needs_x(method: Method) -> bool:
    """True for methods that predict from the input of the projections."""
    return method.name == "fact" or getattr(method, "phases", 1) == 2


def grids(scale: Scale) -> tuple[list[Series], list[RowTask]]:
    """Series of all groups, and the row types."""
    made = []

    def add(name: str, group: str, settings: list, where: tuple[Case, ...],
            whole: bool = False) -> None:
        settings = [s if isinstance(s, tuple) else (label(s), s) for s in settings]
        where = tuple(c for c in where
                      if c.net not in BLIND or not any(needs_x(m) for _, m in settings))
        made.append(Series(name, group, tuple(settings), where,
                           None if whole else scale.points, scale.refine))

    for name, settings in rules().items():
        add(name, "rule", settings, scale.main + (scale.long if name in LONG else ()))
    add(DENSE, "reference", [Dense()], scale.main + scale.long)
    for name, kind in PEERS.items():
        group = "reference" if name in DENSE_PEERS else "peer"
        add(name, group, kind.sweep(), scale.main + (scale.long if name != "ibert" else ()))
    for name, settings in predictors().items():
        add(name, "predictor", settings, scale.side)
    for name, settings in options().items():
        add(name, "option", settings, scale.side)
    for name, settings in widths().items():
        language = tuple(c for c in scale.side if c.net == LM)
        add(name, "width", settings, language[:1], whole=scale.points != 2)
    return made, [RowTask(case) for case in scale.rows]
