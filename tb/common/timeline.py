# SPDX-License-Identifier: Apache-2.0
"""Timelines: what stages, units and bus did in every cycle of a run, for a trace viewer and as SVG.

A simulation of a build with ``--timeline`` leaves a file for each track (tb/hdl/timeline.sv). Of
them

    tracks = read(folder)
    write_trace(tracks, path)          # timeline.json.gz: Perfetto, chrome://tracing
    picture(tracks, first, last)       # SVG of a window of cycles

make what people look at. Times are cycles of the test bench's clock from the start of the
simulation; the trace calls a cycle a nanosecond, as at 1 GHz.
"""

from __future__ import annotations

import gzip
import json
import re
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

from tb.runner import CLOCK_PERIOD_NS

PATTERN = "timeline.*.txt"
TRACE, PICTURE = "timeline.json.gz", "timeline.svg"

ORDER = ("seq", "read requests", "read words", "dlzs", "sads", "sads masks", "rass", "kvgen",
         "unit", "sufa rows", "write words")
"""Tracks as data flows; units by their number."""

COLOURS = {"busy": "#4e79a7", "key": "#4e79a7", "run": "#4e79a7", "request": "#4e79a7",
           "flush": "#76b7b2", "stall": "#e15759", "wait": "#e15759", "error": "#e15759",
           "starve": "#edc948", "work": "#59a14f"}
OTHERS = ("#f28e2b", "#4e9a9a", "#b07aa1", "#9c755f", "#8cd17d", "#d37295", "#86bcb6", "#bab0ac")

_UNIT = re.compile(r"g_unit\[(\d+)\]|g_unit__BRA__(\d+)__KET__")


class TimelineError(Exception):
    """A folder has no timeline, or a file of it is cut."""


@dataclass(frozen=True)
class Slice:
    """From cycle ``begin`` up to but not with ``end``; about: field -> value."""

    name: str
    begin: int
    end: int
    about: dict[str, int] = field(default_factory=dict)


@dataclass
class Track:
    """Slices in the order of time, none over another."""

    name: str
    slices: list[Slice]


def _states(lines, names: list[str]) -> list[Slice]:
    """Slices of a state track; what never ends does not count."""
    found, since, now = [], 0, None
    for line in lines:
        time, bits = line.split()
        at, word = int(time) // CLOCK_PERIOD_NS, int(bits, 16)
        after = next((n for i, n in enumerate(names) if word >> i & 1), None)
        if after == now:
            continue
        if now is not None:
            found.append(Slice(now, since, at))
        since, now = at, after
    return found


def _pieces(lines, fields: list[tuple[str, int]]) -> list[Slice]:
    """Slices of a work track, named by their number."""
    found, begin = [], None
    for line in lines:
        time, bits = line.split()
        at, word = int(time) // CLOCK_PERIOD_NS, int(bits, 16)
        if word & 1:
            begin = at
        if word & 2 and begin is not None:
            about, word = {}, word >> 2
            for name, bits in fields:
                about[name], word = word & (1 << bits) - 1, word >> bits
            found.append(Slice(str(len(found)), begin, at + 1, about))
            begin = None
    return found


def _track(path: Path) -> Track:
    # A simulation that is stopped leaves a part of a line.
    head, *lines = path.read_text().rpartition("\n")[0].split("\n")
    try:
        kind, name, names = head.split(";")
        unit = _UNIT.search(path.name)
        if unit:
            name += f" {unit[1] or unit[2]}"
        if kind == "state":
            return Track(name, _states(lines, names.split(",")))
        fields = [(n, int(bits)) for n, bits in (f.split(":") for f in names.split(","))]
        return Track(name, _pieces(lines, fields))
    except ValueError as error:
        raise TimelineError(f"{path}: {error}") from None


def read(folder: Path) -> list[Track]:
    """The tracks that a simulation left in ``folder``, in the order of ORDER."""
    def place(track):
        name, _, number = track.name.rpartition(" ")
        return (ORDER.index(name), int(number)) if number.isdigit() else (
            ORDER.index(track.name), 0)

    tracks = sorted(map(_track, folder.glob(PATTERN)), key=place)
    if not tracks:
        raise TimelineError(f"no {PATTERN} in {folder}: a build with --timeline leaves them, on "
                            f"Verilator, where it has a stage or unit")
    return tracks


def write_trace(tracks: list[Track], path: Path) -> None:
    """Write the tracks as trace events, compressed; times in microseconds, as the format has it."""
    events = [{"ph": "M", "pid": 1, "name": "process_name", "args": {"name": "sofa"}}]
    for tid, track in enumerate(tracks, 1):
        about = {"ph": "M", "pid": 1, "tid": tid}
        events += [{**about, "name": "thread_name", "args": {"name": track.name}},
                   {**about, "name": "thread_sort_index", "args": {"sort_index": tid}}]
        events += [{"ph": "X", "pid": 1, "tid": tid, "name": s.name, "ts": s.begin / 1000,
                    "dur": (s.end - s.begin) / 1000, "args": {**s.about, "cycle": s.begin}}
                   for s in track.slices]
    with gzip.open(path, "wt") as file:
        json.dump({"displayTimeUnit": "ns", "traceEvents": events}, file, separators=(",", ":"))


def shares(track: Track, first: int, last: int) -> dict[str, float]:
    """Name -> share of the cycles first..last-1 in which a track was in it, largest first; pieces
    of work count as one name."""
    found: dict[str, int] = {}
    for s in track.slices:
        name = "work" if s.about else s.name
        found[name] = found.get(name, 0) + max(0, min(s.end, last) - max(s.begin, first))
    return {n: c / (last - first) for n, c in sorted(found.items(), key=lambda i: -i[1]) if c}


WIDTH, LEFT, LINE, COLUMNS = 1000, 120, 22, 400


def _columns(track: Track, first: int, last: int) -> list[dict[str, float]]:
    """Name -> share, for each of at most COLUMNS columns of a window."""
    n = min(COLUMNS, last - first)
    found: list[dict[str, float]] = [{} for _ in range(n)]
    width = (last - first) / n
    for number, s in enumerate(track.slices):
        name = f"work {number % 2}" if s.about else s.name
        low, high = max(s.begin, first) - first, min(s.end, last) - first
        for i in range(int(low / width), min(n, int(-(-high // width)))):
            part = min(high, (i + 1) * width) - max(low, i * width)
            if part > 0:
                found[i][name] = found[i].get(name, 0.0) + part / width
    return found


def picture(tracks: list[Track], first: int, last: int, title: str = "") -> str:
    """SVG of cycles first..last-1: a line a track, each column stacked by the shares of its cycles,
    and the shares of the whole window beside its name."""
    if last <= first:
        raise TimelineError(f"cycles {first}..{last}, legal: at least one")
    colours, others = dict(COLOURS), list(OTHERS)
    for name in dict.fromkeys("work" if s.about else s.name for t in tracks for s in t.slices):
        if name not in colours:
            colours[name] = others[len(colours) % len(others)]
    colours["work 0"], colours["work 1"] = colours["work"], "#a9d0a0"
    scale = (WIDTH - LEFT - 4) / (last - first)
    height = 60 + LINE * len(tracks)
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
           'font-family="sans-serif" font-size="11">',
           f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
           f'<text x="4" y="15" font-size="13">{escape(title)}</text>']
    used: dict[str, None] = {}
    for line, track in enumerate(tracks):
        top = 28 + line * LINE
        there = shares(track, first, last)
        used.update(dict.fromkeys(there))
        said = ", ".join(f"{n} {share:.1%}" for n, share in there.items())
        out.append(f'<g><title>{escape(track.name)}: {escape(said) or "nothing"}</title>'
                   f'<rect x="{LEFT}" y="{top}" width="{WIDTH - LEFT - 4}" height="{LINE - 4}" '
                   'fill="#f4f4f4"/>'
                   f'<text x="4" y="{top + 13}">{escape(track.name)}</text>')
        columns = _columns(track, first, last)
        wide = (last - first) / len(columns) * scale
        for i, column in enumerate(columns):
            low = 0.0
            for name in sorted(column, key=list(colours).index):
                tall = column[name] * (LINE - 4)
                out.append(f'<rect x="{LEFT + i * wide:.2f}" y="{top + LINE - 4 - low - tall:.2f}" '
                           f'width="{wide + .1:.2f}" height="{tall:.2f}" '
                           f'fill="{colours[name]}"/>')
                low += tall
        out.append("</g>")
    top, x = 28 + LINE * len(tracks), LEFT
    out += [f'<text x="{LEFT}" y="{top + 10}" fill="#555">cycle {first:,}</text>',
            f'<text x="{WIDTH - 4}" y="{top + 10}" text-anchor="end" fill="#555">{last:,}</text>']
    for name in used:
        out.append(f'<rect x="{x}" y="{top + 16}" width="9" height="9" fill="{colours[name]}"/>'
                   f'<text x="{x + 12}" y="{top + 25}">{escape(name)}</text>')
        x += 22 + 7 * len(name)
    return "\n".join([*out, "</svg>", ""])


def load(path: Path) -> list[Track]:
    """The tracks of a trace that write_trace wrote."""
    with gzip.open(path, "rt") as file:
        events = json.load(file)["traceEvents"]
    tracks = {e["tid"]: Track(e["args"]["name"], []) for e in events if e["name"] == "thread_name"}
    for e in events:
        if e["ph"] == "X":
            about = dict(e["args"])
            begin = about.pop("cycle")
            tracks[e["tid"]].slices.append(
                Slice(e["name"], begin, begin + round(e["dur"] * 1000), about))
    return list(tracks.values())


def jobs(tracks: list[Track]) -> list[tuple[int, int]]:
    """(first cycle, cycle behind the last) of each job that the sequencer ran."""
    return [(s.begin, s.end) for t in tracks if t.name == "seq" for s in t.slices
            if s.name == "run"]


def finish(folder: Path, title: str) -> None:
    """Make a trace of what a simulation left in a folder, and a picture of its longest job, or of
    all where there is no sequencer, in its place."""
    tracks = read(folder)
    write_trace(tracks, folder / TRACE)
    ends = [end for t in tracks for s in t.slices for end in (s.begin, s.end)]
    window = max(jobs(tracks), key=lambda job: job[1] - job[0], default=None)
    if window or ends:
        first, last = window or (min(ends), max(ends))
        (folder / PICTURE).write_text(picture(tracks, first, last, title))
    for path in folder.glob(PATTERN):
        path.unlink()
