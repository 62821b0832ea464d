# SPDX-License-Identifier: Apache-2.0
"""The report page: every table and figure made from the results that the store holds.

    path, problems = build(gather(bench, grid, rows), Path("build/lab"), "make evaluate")

Writes report.html, and figures/*.png and *.svg beside it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from html import escape
from pathlib import Path

import numpy as np

from ..measure import rowtypes
from ..measure.curves import LOSSES, Point, percent
from ..measure.evaluate import MIN_VISIBLE, SAMPLE_ROWS
from ..measure.grid import DENSE, FIRST, FLOOR, FROM_X, OURS
from ..measure.store import StoreError, write_whole
from ..measure.subjects import SE_TOKENS, SUBJECTS
from . import figures
from .page import Page, Plot
from .tables import (
    Gathered,
    Table,
    Where,
    at_loss,
    keep_table,
    length_table,
    published_table,
    same_tensors,
    setting_table,
    setting_text,
    settings_table,
)

STUDY = "dse/front.json"
"""Result of a search: {"command", "x", "y" (axis labels), "trials": [[x, y]..], "front": ..}."""

SOFAS = (OURS, FLOOR, FROM_X, FIRST)
"""Series of ours that stand beside other systems."""

PEERS_AT = 1.0
"""Perplexity increase, in percent, at which systems are compared on the same tensors."""


STREAMS = {"q": "Q and O", "o": "Q and O", "k": "K and V", "v": "K and V", "mean": "K and V"}
PREDICTION = "for the prediction"
"""Parts of the DRAM bytes; streams of other names serve the prediction."""


class Report:
    """Draws figures into a folder and remembers how each was made."""

    def __init__(self, got: Gathered, folder: Path, command: str):
        self.got, self.folder, self.command = got, folder, command

    def plot(self, name: str, title: str, caption: str, figure, data=(),
             command: str | None = None) -> Plot:
        """Write a figure and wrap it for the page."""
        svg = figures.write(figure, name, self.folder / "figures")
        return Plot(name, title, caption, svg, command or self.command, tuple(data))

    def curves(self, where: Where, name: str, title: str, chosen: dict[str, list[Point]]) -> Plot:
        """Loss against keep ratio of some series."""
        unit = SUBJECTS[where[0]].unit
        texts = sorted({text for points in chosen.values() for p in points for text in p.texts})
        caption = (f"{where[0]}, S = {where[1]}, {', '.join(texts)}. Every "
                   "marker is one setting in all layers; bars: one standard error.")
        data = [(series, settings_table(points), "\n".join(map(setting_text, points)))
                for series, points in chosen.items()]
        return self.plot(f"{name}-{where[0]}-{where[1]}", title, caption,
                         figures.loss_against_keep(chosen, unit), data)

    # -- sections ------------------------------------------------------------------------------

    def losses(self) -> list[Plot]:
        """Rules, predictors and systems, for every net and length."""
        got, plots = self.got, []
        for net in SUBJECTS:
            for where in got.wheres(net):
                curves = got.curves[where]
                for name, title, first, group in (
                    ("rules", "Selection rules", (OURS,), "rule"),
                    ("predictors", "Predictors", (OURS,), "predictor"),
                    ("systems", "SOFA and its peers", SOFAS, "peer"),
                    ("options", "SOFA with one thing changed", (OURS,), "option"),
                ):
                    ours = {n: p for n in first if (p := curves.get(n))}
                    chosen = got.group(where, group)
                    if chosen:
                        plots.append(self.curves(
                            where, name, f"{title}: {net}, S = {where[1]}", {**ours, **chosen}))
        return plots

    def widths(self) -> list[Plot]:
        """Loss against the width that each series of the group "width" sweeps."""
        plots = []
        for where in self.got.curves:
            chosen = {name: [(float(p.label), percent(p.loss)) for p in points]
                      for name, points in self.got.group(where, "width").items()}
            if not chosen:
                continue
            data = [(name, settings_table(self.got.curves[where][name]),
                     "\n".join(map(setting_text, self.got.curves[where][name])))
                    for name in chosen]
            plots.append(self.plot(
                f"widths-{where[0]}-{where[1]}", f"Loss against width: {where[0]}, "
                f"S = {where[1]}", "One width of the machine changed, all layers; standard errors "
                "are in the table.", figures.loss_against_width(chosen), data))
        return plots

    def rows(self) -> list[str | Plot]:
        """Row types on the real models beside the paper's statement."""
        bars: dict[str, dict[str, float]] = {}
        header = ["model", "segments", *rowtypes.TYPES, "I or II", "of the top quarter found"]
        table: Table = (header, [])
        merged: dict[tuple[str, int], list[dict]] = {}
        for result in self.got.rows:
            merged.setdefault((result["case"]["net"], result["case"]["length"]), []).append(result)
        for (net, length), results in merged.items():
            for way, word in enumerate(("contiguous", "interleaved")):
                number = np.sum([np.sum(r["types"][way], axis=0) for r in results], axis=0)
                total = max(1, number.sum())
                found = sum(sum(r["found"][way]) for r in results) / total
                share = number / total
                bars[f"{net} {length}, {word}"] = dict(
                    zip(rowtypes.TYPES, (100 * share).tolist(), strict=True))
                table[1].append([f"{net}, S = {length}", word,
                                 *(f"{100 * s:.1f} %" for s in share),
                                 f"{100 * (share[0] + share[1]):.1f} %", f"{100 * found:.1f} %"])
        if not bars:
            return []
        about = paragraphs(
            f"Our test of a row's type, for rows with at least {rowtypes.MIN_KEYS} visible keys, "
            f"cut into {rowtypes.SEGMENTS} segments. I: the largest 1/{rowtypes.DOMINANT} of the "
            "row's keys hold half of its softmax. II: not I, and when each segment gives its "
            f"largest {rowtypes.SHARE:.0%} of keys, at least {rowtypes.EVEN:.0%} of the row's "
            f"largest {rowtypes.SHARE:.0%} are among them. III: the others. The paper names the "
            "types without a test; segments and share are those of its example.")
        plot = self.plot(
            "row-types", "Row types", "Rows of all layers and heads of the dense models; the line "
            "is the paper's share of types I and II.",
            figures.stacked_bars(bars, "share of rows, %", (95, "paper: I and II above 95 %")),
            [("shares", table, "")])
        return [about, plot, table]

    def costs(self, where: Where) -> list[Plot]:
        """Operations and bytes of every system at about PEERS_AT percent."""
        ops, moved = {}, {}
        curves = self.got.curves[where]
        for name in (*SOFAS, *self.got.group(where, "peer", "reference")):
            points = curves.get(name)
            if not points:
                continue
            point = at_loss(points, PEERS_AT)[0]
            if not point.cost:
                continue
            ops[name] = {label: point.cost[stage] for stage, label in (
                ("predict", "prediction"), ("select", "selection"), ("compute", "formal"))}
            moved[name] = dict.fromkeys(STREAMS.values(), 0.0) | {PREDICTION: 0.0}
            for stream, size in point.bytes.items():
                moved[name][STREAMS.get(stream, PREDICTION)] += size
        if not ops:
            return []
        caption = (f"{where[0]}, S = {where[1]}, the sparsest measured setting with at most "
                   f"{PEERS_AT:g} % perplexity increase, or the best there is.")
        return [
            self.plot("operations", "Operations", caption, figures.stacked_bars(
                ops, "full-adder bits for each visible pair")),
            self.plot("bytes", "DRAM bytes", caption, figures.stacked_bars(
                moved, "bytes for each visible pair")),
        ]

    def layers(self) -> list[Plot]:
        """Keep ratio of every layer at about one percent."""
        plots = []
        for where in self.got.wheres("smollm2"):
            chosen = {}
            for name, points in self.got.group(where, "rule", "peer").items():
                point, reached = at_loss(points, PEERS_AT)
                if reached:
                    chosen[f"{name} ({100 * point.keep:.0f} %)"] = point.layers
            if chosen:
                plots.append(self.plot(
                    f"layers-{where[1]}", f"Keep ratio of every layer, S = {where[1]}",
                    f"The sparsest measured setting with at most {PEERS_AT:g} % perplexity "
                    "increase; in brackets the keep ratio of all layers.",
                    figures.keep_of_layers(chosen)))
        return plots

    def search(self) -> list[Plot]:
        """Pareto front of the design-space exploration, where it has been run."""
        path = self.folder / STUDY
        if not path.is_file():
            return []
        try:
            study = json.loads(path.read_text(encoding="utf-8"))
            trials, best = ([tuple(map(float, p)) for p in study[k]] for k in ("trials", "front"))
            labels = str(study["x"]), str(study["y"])
            command = str(study["command"])
        except (ValueError, KeyError, TypeError) as error:
            raise StoreError(f"{path} is not a whole study ({type(error).__name__}: {error}): "
                             "remove it and run the search again") from None
        return [self.plot("front", "Design-space exploration",
                          f"{len(trials)} trials, {len(best)} on the front.",
                          figures.cloud_and_front(trials, best, *labels), command=command)]


def paragraphs(*texts: str) -> str:
    """Plain texts as HTML paragraphs."""
    return "".join(f"<p>{escape(t)}</p>" for t in texts)


def definitions() -> str:
    """How the figures are to be read."""
    return "<ul>" + "".join(f"<li><b>{escape(a)}</b>: {escape(b)}</li>" for a, b in (
        (OURS, "the second machine (docs/second.md), bit-exact: two-term codes of Q, interleaved "
         "tiles of 64 keys, every layer sparse; a key stays when its share of the row's predicted "
         "softmax, as far as the row is known when its tile comes, reaches a threshold, and the "
         "mean of V stands in for the rest. Its sweeps sweep the threshold. \"SOFA, x\" differs "
         "from it in x only. Rules without SOFA in their name are computed in float32 on whole "
         "rows and are no machine"),
        (FIRST, "the machine whose RTL there is, bit-exact: Q coded by floor, radius and quota in "
         "every tile, layer 0 dense"),
        ("dense", "the same model with exact float32 attention over all visible pairs"),
        ("keep ratio", "selected pairs / visible pairs, each summed over all layers, query heads "
         "and texts; selected: the exact score was used; visible: the mask allows the pair"),
        ("perplexity increase", "exp(mean rise of the next-token cross-entropy) - 1, over all "
         "tokens of all texts; no fine-tuning. ±: one standard error of the mean over blocks of "
         f"about {SE_TOKENS} tokens, of the difference to dense on the same tokens"),
        ("keep ratio at a loss", "interpolated linearly between the sparsest measured setting "
         "within the loss and its sparser neighbour; <=: the sparsest setting measured is still "
         "within it"),
        ("recall", "of the n keys that a row selected, the share that is among its n largest exact "
         f"scores; every {SAMPLE_ROWS}th row with at least {MIN_VISIBLE} visible keys"),
        ("mass", "share of the row's exact softmax that its selected keys hold; same rows"),
        ("cost", "one-bit full adders of the plainest circuit for each operation "
         "(models/lab/methods/counts.py); the same prices for all systems"),
        ("calibration", "methods that learn thresholds or weights do so on the stretch of the "
         "same text that follows the evaluated one"),
    )) + "</ul>"


def build(got: Gathered, folder: Path, command: str) -> Path:
    """Write the page and its figures into a folder; the path of the page."""
    report = Report(got, folder, command)
    lead = paragraphs(
        "Trained models run with SOFA's arithmetic, and with that of the systems it is compared "
        "with, in every attention of every layer. Nothing is fine-tuned.")
    if got.missing:
        lead += (f"<p class='note'>At least {len(got.missing)} results of this grid are missing: "
                 f"<code>{escape(command)}</code> measures them.</p>")
    page = Page("What the algorithm is worth", lead)

    def section(anchor: str, heading: str, make: Callable[[], list]) -> None:
        parts = make()
        page.add(anchor, heading, *(parts or [paragraphs("No results yet.")]))

    def keeps() -> list:
        table = keep_table(got)
        return [paragraphs(
            "Smallest mean keep ratio of SmolLM2 at a perplexity increase of "
            f"{', '.join(f'{x:g}' for x in LOSSES)} %, without fine-tuning, for every rule; "
            "interpolated between measured settings."), table] if table[1] else []

    def systems() -> list:
        parts: list = []
        for where in got.wheres("smollm2"):
            names = [*SOFAS, *got.group(where, "peer", "reference")]
            table = same_tensors(got, where, names, DENSE, PEERS_AT)
            if table[1]:
                parts += [paragraphs(
                    f"SmolLM2, S = {where[1]}: the sparsest measured setting of each system with "
                    f"at most {PEERS_AT:g} % perplexity increase; (!) marks systems that never "
                    "lose so little. Costs in full-adder bits for each visible pair."), table]
        if parts:
            parts += [paragraphs("The paper's Table II, for its own models and tasks, with "
                                 "fine-tuning where the systems use it:"), published_table()]
        for where in got.wheres("smollm2")[:1]:
            parts += report.costs(where)
        return parts

    def options() -> list:
        parts: list = []
        for where in got.wheres("smollm2"):
            table = setting_table(got, where, ("option", "width"), OURS)
            if got.group(where, "option", "width"):
                parts += [paragraphs(
                    f"SmolLM2, S = {where[1]}. At the head the setting of SOFA that is nearest to "
                    "+1 %; below it what differs from the default in one thing. Of a width, "
                    "\"setting\" is its bits."), table]
        return parts

    def lengths() -> list:
        table = length_table(got)
        return [paragraphs(
            "SOFA with thresholds around the rule from length (models/length.py), each text "
            "apart."), table] if table[1] else []

    section("keep", "Keep ratio at a loss", keeps)
    section("systems", "SOFA and its peers on the same tensors", systems)
    section("losses", "Loss against keep ratio", report.losses)
    section("options", "One thing changed", options)
    section("widths", "Loss against width", report.widths)
    section("lengths", "Longer texts", lengths)
    section("rows", "Row types", report.rows)
    section("layers", "Layers", report.layers)
    section("search", "Design-space exploration", report.search)
    page.add("definitions", "Definitions", definitions())
    path = folder / "report.html"
    write_whole(path, lambda file: file.write(page.html().encode()))
    return path
