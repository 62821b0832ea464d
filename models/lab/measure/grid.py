# SPDX-License-Identifier: Apache-2.0
"""What is evaluated: rules, predictors, options and peers, on which nets, texts and lengths.

    series, rows = grids(GRIDS["default"])

quick     a few settings of every group on short inputs: minutes, to see that all works
default   an hour or two on two cores: every rule, peer and option on SmolLM2 with S = 1024, on four
          texts on which no setting was chosen; SOFA and its next rivals also with S = 512 and 2048;
          rules and peers on the other nets
long      SOFA by length: the texts from which the threshold's rule is fitted, and thresholds around
          that rule with S = 2048 to 8192
full      all sweeps whole, six texts, S = 512 to 2048
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace

from ...config import Config
from ...length import tau_of
from ...nets.sources import TEXTS
from ...nets.whisper import SECONDS
from ..methods.dense import Dense
from ..methods.first import FirstSofa
from ..methods.machine import SNAPS
from ..methods.method import Method
from ..methods.rules import PREDICTORS, Rule
from ..methods.sofa import Sofa
from ..methods.twopass import TwoPass
from ..peers import PEERS
from ..peers.twilight import EXACT, Twilight
from .evaluate import RowTask
from .subjects import FRAMES, Case

METHODS: dict[str, type[Method]] = {
    "sofa": Sofa, "sofa-first": FirstSofa, "sofa-two-pass": TwoPass, "rule": Rule, "dense": Dense,
    **PEERS}
"""Name on the command line -> class."""

DENSE = "dense"
"""The series whose operations and bytes are the measure of all."""

OURS = "SOFA"
"""The series that stands for SOFA beside other systems: the second machine (docs/second.md),
two-term codes, every layer sparse."""

FLOOR = f"{OURS}, floor codes"
FROM_X = f"{OURS}, keys from X"
FIRST = f"{OURS}, first machine"
"""The machine in the RTL: one phase, Q coded by floor, quota and radius, layer 0 dense."""

FRAMED = Case("whisper", "voice", FRAMES * SECONDS)
"""The case of whisper."""

DENSE_PEERS = ("flash", "ibert")
"""Systems that use every visible pair."""

RIVALS = (OURS, FLOOR, FROM_X, FIRST, "threshold, exact", "sanger", "twilight", "pade", DENSE)
"""Series that are run first, and at other lengths as well."""

FAR = ("a3", "isscc22", "spatten", "dtatrans", "energon", "elsa", "fact", "dota")
"""Peers that keep more than 40 % of the pairs at +2 % perplexity: run last."""

BLIND = ("lightglue",)
"""Nets whose Calls do not say where keys come from: no prediction from X."""

RULE, ABLATION, SLOW = 1, 2, 3
"""Rank of a Series that is not among RIVALS, of which it is 0."""


@dataclass(frozen=True)
class Series:
    """One rule with its settings, from nearly dense to very sparse, and what it is run on.

    group     figure that it belongs to
    settings  (label, method)
    cases     results of one net and length are pooled over the texts
    start     settings to begin with, spread over all; None: all
    refine    for nets whose loss is in nats: begin without the sparsest of start, go on with the
              middle of every gap in which a loss of LOSSES is passed, and to sparser settings
              only while all of LOSSES are kept
    rank      series of a lower rank are run first
    """

    name: str
    group: str
    settings: tuple[tuple[str, Method], ...]
    cases: tuple[Case, ...]
    start: int | None = None
    refine: bool = False
    rank: int = 0


@dataclass(frozen=True)
class Scale:
    """How much of everything a grid has.

    points     settings of a sweep to begin with, see Series.start; refine: go on from them
    main       cases of all rules and peers; rivals: more of those in RIVALS
    options    cases of options and widths; predictors: of the predictors; rows: of the row types
    fit        cases of the sweeps from which the threshold's rule is fitted; long: of the
               thresholds around that rule
    """

    points: int | None = None
    refine: bool = False
    main: tuple[Case, ...] = ()
    rivals: tuple[Case, ...] = ()
    options: tuple[Case, ...] = ()
    predictors: tuple[Case, ...] = ()
    rows: tuple[Case, ...] = ()
    fit: tuple[Case, ...] = ()
    long: tuple[Case, ...] = ()


LM = "smollm2"
GLUE = Case("lightglue", "photos", 1024)
UNSEEN = (("novel", 1), ("code", 1), ("speech", 0), ("drama", 0))
"""(text, part) on which no setting was chosen."""
SECOND = UNSEEN[:2]
"""Those that are long enough for S = 2048 and more."""


def stretch_of(text: str) -> tuple[str, int]:
    """(NAME, PART) of a text NAME:PART, or of NAME, whose first stretch it is."""
    name, colon, part = text.rpartition(":")
    return (name, int(part)) if colon and part.isdecimal() else (text, 0)


def cases(net: str, texts: Iterable[str | tuple[str, int]], *lengths: int) -> tuple[Case, ...]:
    """Every text, or (text, part), at every length."""
    parts = [(t, 0) if isinstance(t, str) else t for t in texts]
    return tuple(Case(net, text, length, part) for length in lengths for text, part in parts)


SHORT = cases(LM, ("novel",), 256)
GRIDS = {
    "quick": Scale(2, main=SHORT + cases("minilm", ("novel",), 128), options=SHORT,
                   predictors=SHORT, rows=cases(LM, ("novel",), 512)),
    "default": Scale(3, True, main=cases(LM, UNSEEN, 1024) + cases("minilm", ("novel",), 256)
                     + (FRAMED, GLUE),
                     rivals=cases(LM, UNSEEN, 512) + cases(LM, SECOND, 2048),
                     options=cases(LM, UNSEEN, 1024), predictors=cases(LM, SECOND[:1], 1024),
                     rows=cases(LM, SECOND, 1024) + cases(LM, SECOND[:1], 2048)
                     + (FRAMED, GLUE)),
    "long": Scale(3, True, fit=cases(LM, ("novel",), 512, 1024, 2048, 4096),
                  long=cases(LM, SECOND, 2048, 4096, 8192)),
    "full": Scale(main=cases(LM, (*TEXTS, *SECOND), 512, 1024, 2048)
                  + cases("minilm", TEXTS, 128, 256, 512)
                  + (FRAMED, Case("lightglue", "photos", 2048)),
                  options=cases(LM, UNSEEN, 1024), predictors=cases(LM, UNSEEN, 1024, 2048),
                  rows=cases(LM, (*TEXTS, *SECOND), 512, 1024, 2048) + cases("minilm", TEXTS, 512)
                  + (FRAMED, Case("lightglue", "photos", 2048))),
}


def label(method: Method) -> str:
    """The fields of a method that are not at their defaults."""
    plain = type(method)()
    changed = [(f.name, getattr(method, f.name)) for f in fields(method)
               if getattr(method, f.name) != getattr(plain, f.name)]
    return ", ".join(f"{name}={text(value)}" for name, value in changed) or "defaults"


def text(value: object) -> str:
    """A setting: numbers with four digits."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def firsts(pairs, **others) -> list[Method]:
    """FirstSofa, layer 0 dense, with (quota, radius) pairs and other settings alike."""
    return [FirstSofa(quota=quota, radius_nats=radius, dense_layers=(0,), **others)
            for quota, radius in pairs]


BOTH = ((32, 8.0), (24, 7.0), (20, 7.0), (16, 7.0), (16, 6.0), (12, 6.0), (12, 5.0), (8, 5.0),
        (6, 5.0))
"""(quota of 64, radius in nats) from dense to sparse."""

SHARES = (1e-4, 2e-4, 3e-4, 5e-4, 7e-4, 1e-3, 1.4e-3, 2e-3, 3e-3)
"""Least share of the row's softmax, from dense to sparse."""

OCTAVES = (-10.69, -10.19, -9.69, -9.19, -8.69, -8.19, -7.69, -7.19)
"""The same for the second machine, as powers of two; the defaults at 1024 keys are among them."""


def at(snap: str, keys: int = 1024, octaves: float = 0.0, **others) -> Sofa:
    """Sofa with the threshold of the rule from length, or octaves above it."""
    return Sofa(snap=snap, tau=tau_of(SNAPS[snap], keys) * 2.0**octaves, **others)


def sums(octaves=OCTAVES, **others) -> list[Method]:
    """Sofa with thresholds, powers of two."""
    return [Sofa(tau=2.0**t, **others) for t in octaves]


def rules() -> dict[str, list[Method]]:
    """Selection rules: SOFA, the first machine, and rules on whole rows."""
    return {
        OURS: sums(),
        FLOOR: sums(snap="floor"),
        FROM_X: sums(phases=2),
        FIRST: firsts(BOTH),
        f"{FIRST}, two-term": firsts(BOTH, snap="two-term"),
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
    """SOFA with one setting changed: two-term codes and the default threshold unless said."""
    shares = [2.0**t for t in (-9.69, -9.19, -8.69, -8.19)]
    two = "two-term"
    return {
        "sum without the mean of V": sums((-12.69, -11.69, -10.69, -9.69), blend=False),
        "mean of V without the sum: radius": [
            Rule(predictor=two, radius_nats=r, mean=True) for r in (6.0, 5.0, 4.0, 3.0)],
        "whole-row sum and mean": [Rule(predictor=two, threshold=t, mean=True) for t in shares],
        "whole-row sum and mean, exact scores": [Rule(threshold=t, mean=True) for t in shares],
        "two passes over a tile": [TwoPass(tau=at(two).tau)],
        "quota and radius": [Sofa(quota=q, radius_nats=r) for q, r in (
            (24, 7.0), (16, 6.0), (12, 5.0), (8, 5.0))],
        "nearest codes": sums((-9.69, -9.19, -8.69), snap="nearest", fall=0.0),
        "bands": [at(two, band=band) for band in (1, 2, 4)],
        "contiguous tiles": [at(two, interleaved=False)],
        "smaller tiles": [at(two, bc=32), at(two, bc=16, widths={"COLS": 16})],
        "threshold by block": [at(two, fall=fall) for fall in (0.0, 0.35, 0.8)],
        "floor codes, threshold by block": [at("floor", fall=fall) for fall in (0.35, 0.8)],
    }


WIDTHS = {"F_FRAC": (4, 6, 10, 12), "SUM_FRAC": (6, 8, 10, 14, 16), "VM_W": (4, 6, 12, 16),
          "LOG_FRAC": (0, 1, 2, 3, 6), "RATIO_FRAC": (4, 6, 12), "SC_FRAC": (0, 1, 2, 5)}
"""Field of the configuration -> values beside the default."""


def widths() -> dict[str, list[tuple[str, Method]]]:
    """SOFA with one width changed; the label is the width. The default one is the machine itself,
    so it is in OURS as well."""
    plain, found = Config.from_name("paper"), {}
    for name, values in WIDTHS.items():
        for snap in ("two-term", "floor") if name == "SC_FRAC" else ("two-term",):
            own = getattr(plain, name)
            found[f"{name}, {snap}"] = [
                (str(bits), at(snap, widths={} if bits == own else {name: bits}))
                for bits in sorted({own, *values})]
    return found


def by_length(keys: int) -> dict[str, list[Method]]:
    """SOFA with thresholds around the rule from length."""
    stores = {"KEYS_MAX": keys} if keys > Config.from_name("paper").KEYS_MAX else {}
    return {f"{name}, by length": [at(snap, keys, octaves, widths=stores)
                                   for octaves in (-0.5, 0.0, 0.5)]
            for name, snap in ((OURS, "two-term"), (FLOOR, "floor"))}


def needs_x(method: Method) -> bool:
    """True for methods that predict from the input of the projections."""
    return method.name == "fact" or getattr(method, "phases", 1) == 2


def grids(scale: Scale) -> tuple[list[Series], list[RowTask]]:
    """Series of all groups, those to run first at the head of their rank, and the row types."""
    made = []

    def add(name: str, group: str, settings: list, where: tuple[Case, ...], rank: int,
            whole: bool = False) -> None:
        settings = [s if isinstance(s, tuple) else (label(s), s) for s in settings]
        where = tuple(c for c in where
                      if c.net not in BLIND or not any(needs_x(m) for _, m in settings))
        if where:
            made.append(Series(name, group, tuple(settings), where, None if whole else scale.points,
                               scale.refine and not whole, rank))

    def system(name: str, group: str, settings: list) -> None:
        rank = 0 if name in RIVALS else SLOW if name in FAR else RULE
        add(name, group, settings, scale.main + (scale.rivals if name in RIVALS else ()), rank)

    for name, settings in rules().items():
        system(name, "rule", settings)
    system(DENSE, "reference", [Dense()])
    for name, kind in PEERS.items():
        system(name, "reference" if name in DENSE_PEERS else "peer", kind.sweep())
    quick = scale.points == 2
    for name, settings in options().items():
        add(name, "option", settings, scale.options, ABLATION, whole=not quick)
    for name, settings in widths().items():
        add(name, "width", settings, scale.options, ABLATION, whole=not quick)
    for name, settings in predictors().items():
        add(name, "predictor", settings, scale.predictors, SLOW)
    for name in (OURS, FLOOR):
        add(f"{name}, fit", "fit", rules()[name], scale.fit, 0)
    for length in dict.fromkeys(case.length for case in scale.long):
        for name, settings in by_length(length).items():
            add(name, "length", settings, tuple(c for c in scale.long if c.length == length), RULE,
                whole=True)
    return made, [RowTask(case) for case in scale.rows]
