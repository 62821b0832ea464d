# SPDX-License-Identifier: Apache-2.0
"""The plots of the report, drawn with matplotlib, as PNG and SVG files.

Each function takes plain numbers and returns a matplotlib figure; ``write`` makes the files and
``inline`` the SVG text that an HTML page can hold: black becomes the colour of the page's text, and
ids carry the name of the figure, so that several figures can share a page.

Figures are small enough for a phone: FIGURE_INCHES wide, one set of axes each, legend below.
"""

from __future__ import annotations

import io
import itertools
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot  # noqa: E402 (the backend comes first)
from matplotlib.figure import Figure  # noqa: E402
from matplotlib.ticker import NullLocator  # noqa: E402

from ..measure.curves import LOSSES, Point, percent  # noqa: E402

FIGURE_INCHES = 5.2
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6BB1", "#7F7F7F")
MARKERS = "osD^vPX*"
DASHES = ("-", "--", ":", "-.")
"""A curve is told apart by colour, marker and dashes, also where colours cannot be."""

LEAST, MOST = 1e-6, 1000

STYLE = {
    "svg.fonttype": "none", "font.family": "sans-serif", "font.size": 10, "axes.grid": True,
    "grid.color": "#808080", "grid.alpha": 0.3, "grid.linewidth": 0.6, "axes.spines.top": False,
    "axes.spines.right": False, "legend.frameon": False, "figure.constrained_layout.use": True,
    "lines.linewidth": 1.5, "lines.markersize": 4.5, "legend.fontsize": 9,
}


def looks(number: int) -> dict:
    """Colour, marker and dashes of a curve."""
    n = len(COLOURS)
    return {"color": COLOURS[number % n], "marker": MARKERS[number % n],
            "linestyle": DASHES[number // n % len(DASHES)]}


def start(height: float = 3.6):
    """A figure and its axes."""
    figure, axes = pyplot.subplots(figsize=(FIGURE_INCHES, height))
    axes.set_axisbelow(True)
    return figure, axes


def legend(figure: Figure, axes) -> None:
    """The legend below the axes, where it hides nothing; the figure grows by its rows."""
    handles, labels = axes.get_legend_handles_labels()
    longest = max(map(len, labels), default=0)
    columns = 3 if longest <= 13 else 2 if longest <= 24 else 1
    rows = -(-len(labels) // columns)
    width, height = figure.get_size_inches()
    figure.set_size_inches(width, height + 0.2 * rows)
    figure.legend(handles, labels, loc="outside lower center", ncols=columns)


def keep_axis(axes, least: float) -> None:
    """Keep ratio in percent on a logarithmic axis that begins at or below ``least``."""
    axes.set_xscale("log")
    ticks = [t for t in (20, 10, 5, 2, 1, 0.5, 0.2, 0.1) if t > least]
    ticks = (*ticks, next((t for t in (20, 10, 5, 2, 1, 0.5, 0.2) if t <= least), 0.1), 50, 100)
    axes.set_xlim(min(ticks), 112)
    axes.set_xticks(ticks, [f"{t:g}" for t in ticks])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("keep ratio, % of visible pairs")


def drawn(figure_of):
    """Draw with the style of the report, wherever a function is called from."""
    def inner(*args, **kwargs) -> Figure:
        with matplotlib.rc_context(STYLE):
            return figure_of(*args, **kwargs)
    inner.__doc__, inner.__name__ = figure_of.__doc__, figure_of.__name__
    return inner


def increase_axis(axes) -> None:
    """Perplexity increase in percent up to MOST, logarithmic beyond 1, with lines at LOSSES."""
    axes.set_yscale("symlog", linthresh=1)
    top = min(axes.get_ylim()[1], MOST)
    axes.set_ylim(max(min(axes.get_ylim()[0], -0.1), -1), top)
    ticks = (-0.5, 0, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
    ticks = [t for t in ticks if t <= top]
    axes.set_yticks(ticks, [f"{t:g}" for t in ticks])
    for limit in LOSSES:
        axes.axhline(limit, color="#808080", linewidth=0.8)
    axes.set_ylabel("perplexity increase, %")


@drawn
def loss_against_keep(curves: Mapping[str, Sequence[Point]], unit: str) -> Figure:
    """Curves of loss against keep ratio, with bars of one standard error. unit "nat" is drawn as
    perplexity increase in percent, up to MOST, with lines at the increases that the tables compare;
    other losses on a logarithmic axis from LEAST on."""
    figure, axes = start()
    language = unit == "nat"
    for number, (name, points) in enumerate(curves.items()):
        points = sorted(points, key=lambda p: p.keep)
        loss = [percent(p.loss) if language else max(p.loss, LEAST) for p in points]
        error = [100 * p.error if language else p.error for p in points]
        axes.errorbar([100 * p.keep for p in points], loss, yerr=error, label=name,
                      elinewidth=0.8, **looks(number))
    if language:
        increase_axis(axes)
    else:
        axes.set_yscale("log")
        axes.set_ylabel(f"loss, {unit}")
    axes.yaxis.set_minor_locator(NullLocator())
    keep_axis(axes, min((100 * p.keep for ps in curves.values() for p in ps), default=1))
    legend(figure, axes)
    return figure


@drawn
def loss_against_width(curves: Mapping[str, Sequence[tuple[float, float]]]) -> Figure:
    """Curves of (bits, perplexity increase in percent)."""
    figure, axes = start(3.0)
    for number, (name, points) in enumerate(curves.items()):
        x, y = zip(*sorted(points), strict=True)
        axes.plot(x, y, label=name, **looks(number))
    increase_axis(axes)
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("bits")
    axes.xaxis.get_major_locator().set_params(integer=True)
    legend(figure, axes)
    return figure


@drawn
def stacked_bars(bars: Mapping[str, Mapping[str, float]], xlabel: str,
                 line: tuple[float, str] | None = None) -> Figure:
    """A horizontal bar a row, made of named parts; line: (place, text) of a mark across them."""
    figure, axes = start(0.6 + 0.3 * len(bars))
    names = list(bars)
    parts = list(dict.fromkeys(itertools.chain.from_iterable(bars.values())))
    left = [0.0] * len(names)
    for number, part in enumerate(parts):
        size = [bars[name].get(part, 0.0) for name in names]
        axes.barh(names, size, left=left, label=part, height=0.7,
                  color=COLOURS[number % len(COLOURS)])
        left = [a + b for a, b in zip(left, size, strict=True)]
    if line:
        axes.axvline(line[0], color="#000000", linewidth=1, linestyle="--", label=line[1])
    axes.grid(axis="y", visible=False)
    axes.invert_yaxis()
    axes.set_xlabel(xlabel)
    legend(figure, axes)
    return figure


@drawn
def keep_of_layers(curves: Mapping[str, Sequence[float]]) -> Figure:
    """Keep ratio of every layer."""
    figure, axes = start(3.0)
    for number, (name, keep) in enumerate(curves.items()):
        axes.plot(range(len(keep)), [100 * k for k in keep], label=name, **looks(number))
    axes.set_ylim(bottom=0)
    axes.set_xlabel("layer")
    axes.set_ylabel("keep ratio, %")
    axes.xaxis.get_major_locator().set_params(integer=True)
    legend(figure, axes)
    return figure


@drawn
def cloud_and_front(trials: Sequence[tuple[float, float]], best: Sequence[tuple[float, float]],
                    xlabel: str, ylabel: str) -> Figure:
    """All trials of a search as points and the ones that none beats as a line; the x axis is
    logarithmic beyond 1, where most trials of a wide search lie far from what is of use."""
    figure, axes = start()
    axes.set_xscale("symlog", linthresh=1)
    if trials:
        axes.scatter(*zip(*trials, strict=True), s=14, color=COLOURS[7], label="trials")
    if best:
        axes.plot(*zip(*sorted(best), strict=True), label="Pareto front", **looks(0))
    ticks = [t for t in (-1, 0, 1, 2, 5, 10, 20, 50, 100) if t <= axes.get_xlim()[1]]
    axes.set_xticks(ticks, [f"{t:g}" for t in ticks])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    legend(figure, axes)
    return figure


def write(figure: Figure, name: str, folder: Path) -> str:
    """Write name.png (white) and name.svg (transparent) and return the SVG to put into a page."""
    folder.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": name}):
        figure.savefig(folder / f"{name}.png", dpi=160, facecolor="white")
        text = io.StringIO()
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    pyplot.close(figure)
    (folder / f"{name}.svg").write_text(text.getvalue(), encoding="utf-8")
    return inline(text.getvalue(), name)


def inline(svg: str, name: str) -> str:
    """An SVG file as part of a page: no XML head, sized by the page, ids of its own."""
    body = svg[svg.index("<svg"):]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.S)
    body = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", body, count=1)
    body = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", body, count=1)
    body = re.sub(r'\bid="', f'id="{name}-', body)
    body = re.sub(r'href="#', f'href="#{name}-', body)
    body = body.replace("url(#", f"url(#{name}-")
    body = body.replace("#000000", "currentColor")
    return body.replace("<svg", f'<svg role="img" aria-label="{name}"', 1)
