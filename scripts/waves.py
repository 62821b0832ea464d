# SPDX-License-Identifier: Apache-2.0
"""Waves: rerun a test with them, make a view for GTKWave and Surfer, or draw a picture of a window.

    .venv/bin/python scripts/waves.py COMMAND ...

    run NODEID --seed K     rerun one pytest test and keep its waves in build/waves
    view FILE [--at NS] [PLACE]
                            write the GTKWave save file and the Surfer commands of a dump
    list FILE [PATTERN]     list the signals of a dump
    png FILE -o OUT.png [--at NS] [PLACE] [--signals 'valid$,ready$'] [--start NS] [--stop NS]
                            draw what a view opens with, or signals between two times

FILE is FST or VCD. Times are nanoseconds. WAVE_DEPTH=N dumps only N levels of hierarchy.
PLACE is --stage NAME, --row N and --unit N, as the message of a failure names them; run takes them
from it.

A view opens at the failure when the test failed (or at NS), else where the first state machine, or
in a module without one the first handshake, moves after the reset. The failing stage stands first:
the values inside it that decide, of the failing row or unit alone when the message names one, and
the handshakes of its ports with what they hand over. Then come all states, with the names that the
Verilog gives them; of the whole machine the story: what the sequencer orders, tiles, masks, keys
and rows as they pass from stage to stage, packed words in fields; the top level, what is between
the stages, and the other stages in the order of the data. Handshakes inside a stage, and up to
MAX_OTHERS other signals, are in groups that open with a click.

Beside a view (``.gtkw``) lie the commands with which Surfer shows the same (``.sucl``) of a dump of
their own, AROUND cycles around it: Surfer has no rows for bits of a signal and no binary point.
"""

from __future__ import annotations

import argparse
import math
import shutil
import sys
from dataclasses import asdict
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from scripts import entry  # noqa: E402 (needs the repository on the search path)

entry.install()

from tb import runner  # noqa: E402
from tb.common.states import module_of  # noqa: E402
from tb.common.views import (  # noqa: E402
    NOWHERE,
    STAGES,
    Group,
    Place,
    Row,
    cycles_of,
    end_of,
    groups_of,
    open_dump,
    opening,
    picked,
    place_of,
    select,
    stage_of,
    text_of,
)

WAVES = runner.BUILD / "waves"
# Cycles before and behind those that the dump for Surfer has.
AROUND = 2000
# Pixels of its waves.
PIXELS = 900
# Bits of GTKWave's display flags.
DECIMAL, SIGNED, POINT, BY_FILE = 0x24, 0x400, 0x40000000, 0x2000
OPEN_GROUP, CLOSED_GROUP, END_GROUP, END_CLOSED_GROUP = "@800200", "@c00200", "@1000200", "@1401200"
def _gtkwave_row(row: Row, states: Path) -> list[str]:
    """Return the lines of a save file that show a row; names of states come from a file."""
    whole = row.name if row.width == 1 else f"{row.name}[{row.width - 1}:0]"
    if row.states:
        # GTKWave looks up the number as it would show it.
        table = states / f"{_table(row)}.txt"
        table.parent.mkdir(parents=True, exist_ok=True)
        table.write_text("".join(f"{v} {n}\n" for v, n in sorted(row.states.items())))
        head = [f"@{DECIMAL | BY_FILE:x}", f"^1 {table}"]
    elif row.base == "dec":
        flags = DECIMAL | (SIGNED if row.signed else 0) | (POINT if row.point else 0)
        head = [f"@{flags:x}"] + ([f"[fpshift_count] {row.point}"] if row.point else [])
    else:
        head = ["@28" if row.bits == 1 else "@22"]
    if row.bits == row.width:
        return [*head, f"+{{{row.label}}} {whole}"]
    # A bit of a vector goes by its number from the left.
    picked = " ".join(f"({row.width - 1 - bit}){whole}"
                      for bit in reversed(range(row.low, row.low + row.bits)))
    return [*head, f"#{{{row.label}}} {picked}"]


def _table(row: Row) -> str:
    """Return the name of the table of a state register's states."""
    return f"{module_of(row.name)}.{row.name.rsplit('.', 1)[1]}"


def _surfer_name(row: Row) -> str:
    """Return the name of a row in the dump for Surfer, where a word's fields stand below it."""
    return row.name if row.bits == row.width else f"{row.name}.{row.label.rpartition('/')[2]}"


def _surfer_row(row: Row, mappings: Path) -> list[str]:
    """Return the commands that show a row; names of states come from a file."""
    lines = [f"variable_add {_surfer_name(row)}"]
    if row.point:
        return lines
    if row.states:
        mappings.mkdir(parents=True, exist_ok=True)
        table = [f"Name = {_table(row)}", f"Bits = {row.width}",
                 *(f"{v} {n}" for v, n in sorted(row.states.items()))]
        (mappings / f"{_table(row)}.txt").write_text("\n".join(table) + "\n")
        shown = _table(row)
    elif row.base == "dec":
        shown = "Signed" if row.signed else "Unsigned"
    else:
        shown = "Bit" if row.bits == 1 else "Hexadecimal"
    return [*lines, f"item_set_format {shown}"]


def _vcd_value(row: Row, value) -> str:
    """Return a value of a row's signal as a VCD has it."""
    if row.point:
        text = text_of(row, value)
        return f"r{'NaN' if text == 'x' else text} "
    bits = value if isinstance(value, str) else f"{int(value):b}"
    bits = bits.rjust(row.width, "0")[row.width - row.low - row.bits : row.width - row.low]
    return f"b{bits} "


def write_surfer_dump(signals: dict, step_ns: float, groups: list[Group], path: Path,
                      start: float, stop: float) -> None:
    """Write a VCD of what a view shows from ``start`` to ``stop`` (time steps), as Surfer shows
    neither bits of a word nor a binary point: each field a signal, such numbers real."""
    rows = {_surfer_name(r): r for group in groups for r in group.rows}
    tree: dict = {}
    changes: dict[int, list[str]] = {}
    for number, (name, row) in enumerate(rows.items()):
        scope = tree
        *scopes, leaf = name.split(".")
        for part in scopes:
            scope = scope.setdefault(part, {})
        kind = "real 64" if row.point else f"wire {row.bits}"
        scope[leaf, number] = f"$var {kind} v{number} {leaf} $end"
        inside = [(max(t, round(start)), v) for t, v in signals[row.name].tv if t <= stop]
        last = None
        for i, (time, value) in enumerate(inside):
            text = _vcd_value(row, value)
            # The value at the start is the last change before it.
            if (i + 1 == len(inside) or inside[i + 1][0] > time) and text != last:
                changes.setdefault(time, []).append(f"{text}v{number}")
                last = text

    def declare(scope):
        for name, inner in scope.items():
            if isinstance(inner, str):
                yield inner
            else:
                yield f"$scope module {name} $end"
                yield from declare(inner)
                yield "$upscope $end"

    lines = [f"$timescale {round(step_ns * 1000)} ps $end", *declare(tree),
             "$enddefinitions $end"]
    for time in sorted(changes):
        lines += [f"#{time}", *changes[time]]
    path.write_text("\n".join(lines) + "\n")


def write_view(dump: Path, view: Path, at_ns: float | None = None,
               where: Place = NOWHERE) -> Path:
    """Write a GTKWave save file of ``dump`` and, beside it, the same as commands for Surfer
    (``.sucl``) with a dump of its own (``-surfer.vcd``); ``at_ns``: where they open, None: see
    ``opening``.

    The names of states lie beside them in the folders ``states`` and ``.surfer/mappings``.
    """
    signals, step_ns = open_dump(dump)
    groups = groups_of(signals, where)
    at = opening(signals) if at_ns is None else at_ns / step_ns
    cycle = runner.CLOCK_PERIOD_NS / step_ns
    before, behind = cycles_of(at_ns, where)
    span = (before + behind) * cycle
    first = at - before * cycle
    # GTKWave goes to the start of a dump that ends before the window does.
    first = max(0, round(min(first, end_of(signals) - span)))
    # The power of two time steps that 200 pixels show.
    zoom = -math.log2(span * 200 / PIXELS)
    lines = [f'[dumpfile] "{dump}"', f'[savefile] "{view}"', f"[timestart] {first}",
             "[size] 1600 1000", f"*{zoom:.6f} {round(at)}" + 26 * " -1", "[sst_width] 200",
             "[signals_width] 520"]
    copy = view.with_name(f"{view.stem}-surfer.vcd")
    commands = [f"load_file {copy}"]
    for group in groups:
        begin, end = ((CLOSED_GROUP, END_CLOSED_GROUP) if group.closed
                      else (OPEN_GROUP, END_GROUP))
        lines += [begin, f"-{group.title}"]
        # The name of a divider is one word.
        commands.append(f"divider_add {group.title.replace(' ', '_')}")
        for row in group.rows:
            lines += _gtkwave_row(row, view.parent / "states")
            commands += _surfer_row(row, view.parent / ".surfer" / "mappings")
        lines += [end, f"-{group.title}"]
    commands += [f"zoom_to {first} {first + round(span)}",
                 f"cursor_set {round(at)}", f"marker_set start {round(at)}"]
    view.parent.mkdir(parents=True, exist_ok=True)
    write_surfer_dump(signals, step_ns, groups, copy, max(0, first - AROUND * cycle),
                      first + span + AROUND * cycle)
    view.write_text("\n".join(lines) + "\n")
    view.with_suffix(".sucl").write_text("\n".join(commands) + "\n")
    return view


def run_test(nodeid: str, seed: int) -> int:
    """Rerun one test with waves; return pytest's exit code."""
    import pytest

    folders, places = [], []

    class Collector:
        def pytest_runtest_logreport(self, report):
            if report.failed:
                places.append(place_of(report.longreprtext))
            if report.when == "teardown":
                for key, value in report.user_properties:
                    if key == "simulations":
                        folders.extend((s["results_dir"], s["failed_ns"]) for s in value)

    args = [nodeid, "--waves", "--slow", "--seed", str(seed), "-v"]
    if "[" in nodeid:
        # The brackets choose the variant; every variant must exist to be chosen.
        args += ["--sim", "both", "--config", "all"]
    code = int(pytest.main(args, plugins=[Collector()]))
    WAVES.mkdir(parents=True, exist_ok=True)
    where = places[0] if places else NOWHERE
    for folder, failed_ns in folders:
        for dump in sorted((ROOT / folder).glob("dump.*")):
            if dump.suffix not in (".fst", ".vcd"):
                continue
            kept = WAVES / f"{Path(folder).name}{dump.suffix}"
            shutil.copy(dump, kept)
            view = write_view(kept, kept.with_suffix(".gtkw"), failed_ns, where)
            at = "" if failed_ns is None else f" --at {failed_ns:g}"
            at += "".join(f" --{kind} {value}" for kind, value in asdict(where).items()
                          if value is not None)
            print(f"waves:   {kept.relative_to(ROOT)}\nview:    gtkwave {view.relative_to(ROOT)}\n"
                  f"or:      cd {WAVES.relative_to(ROOT)} && "
                  f"surfer --command-file {view.with_suffix('.sucl').name}\n"
                  f"picture: .venv/bin/python scripts/waves.py png {kept.relative_to(ROOT)}{at} "
                  f"-o {kept.with_suffix('.png').relative_to(ROOT)}")
    if not folders:
        print(f"no simulation ran: is {nodeid!r} the name of a test? (make list shows them)")
        return code or 1
    return code


def draw(dump: Path, out: Path, patterns: str | None, start_ns: float | None,
         stop_ns: float | None, at_ns: float | None, where: Place) -> None:
    """Draw signals between two times as a PNG; None: what the view of ``dump`` opens with, and
    the time around ``at_ns``, where a line stands (None: see ``opening``)."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    signals, step_ns = open_dump(dump)
    rows = picked(signals, patterns, where)
    if not rows:
        raise SystemExit(f"no signal of {dump} matches {patterns!r}")
    before, behind = cycles_of(at_ns, where)
    if at_ns is None and start_ns is None:
        at_ns = opening(signals) * step_ns
    if start_ns is None:
        start_ns = max(0.0, at_ns - before * runner.CLOCK_PERIOD_NS)
    if stop_ns is None:
        stop_ns = min(start_ns + (before + behind) * runner.CLOCK_PERIOD_NS,
                      end_of(signals) * step_ns)
    if stop_ns <= start_ns:
        raise SystemExit("the window is empty: --stop must be larger than --start")

    traces = {n: [(t * step_ns, v) for t, v in signals[n].tv] for n in {r.name for r in rows}}
    fig, axes = plt.subplots(figsize=(16, 0.2 * len(rows) + 0.9))
    for place, row in enumerate(rows):
        # The value at the start of the window is the last change before it. Bits of a word change
        # less often than the word.
        inside = [(max(t, start_ns), text_of(row, v)) for t, v in traces[row.name] if t <= stop_ns]
        inside = [c for i, c in enumerate(inside)
                  if i + 1 == len(inside) or inside[i + 1][0] > c[0]]
        inside = [c for i, c in enumerate(inside) if not i or inside[i - 1][1] != c[1]]
        for (begin, text), end in zip(inside, [t for t, _ in inside[1:]] + [stop_ns],
                                      strict=True):
            colour = "tab:red" if text == "x" else "tab:green" if row.bits == 1 else "tab:blue"
            if row.bits == 1 and text != "x":
                level = 0.6 * (text != "0") - place
                axes.plot([begin, begin, end], [0.6 * (text == "0") - place, level, level],
                          color=colour, lw=1)
            else:
                axes.fill_between([begin, end], -place, 0.6 - place, facecolor=colour, alpha=0.15,
                                  edgecolor=colour, lw=0.8)
                # A character needs about 1/220 of the picture's width.
                room = int((end - begin) / (stop_ns - start_ns) * 220)
                if room >= 1:
                    axes.text((begin + end) / 2, 0.3 - place, text[:room], fontsize=6,
                              ha="center", va="center")
    if at_ns is not None:
        axes.axvline(at_ns, color="tab:red", lw=1, ls="--")
    axes.set_yticks([0.3 - r for r in range(len(rows))], [r.label for r in rows], fontsize=6,
                    family="monospace")
    axes.set_xlim(start_ns, stop_ns)
    axes.set_ylim(-len(rows) + 0.8, 0.8)
    axes.set_xlabel("ns")
    axes.grid(axis="x", alpha=0.3)
    out.parent.mkdir(parents=True, exist_ok=True)
    fig.savefig(out, dpi=120, bbox_inches="tight")
    print(out)


def _add_place(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--stage", choices=STAGES[:-1], help="stage that stands first")
    parser.add_argument("--row", type=int, help="query row of which the values are shown")
    parser.add_argument("--unit", type=int, help="unit of SU-FA of which the values are shown")


def _place(args: argparse.Namespace) -> Place:
    return Place(args.stage, args.row, args.unit)


def main() -> int:
    """Command line; see the head of this file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    sub = commands.add_parser("run", help="rerun one test with waves")
    sub.add_argument("nodeid")
    sub.add_argument("--seed", type=int, default=1)
    sub = commands.add_parser("view", help="write a GTKWave save file")
    sub.add_argument("dump", type=Path)
    sub.add_argument("--at", type=float, metavar="NS", help="where it opens")
    _add_place(sub)
    sub = commands.add_parser("list", help="list signals")
    sub.add_argument("dump", type=Path)
    sub.add_argument("pattern", nargs="?", default="")
    sub = commands.add_parser("png", help="draw a window")
    sub.add_argument("dump", type=Path)
    sub.add_argument("-o", "--out", type=Path, required=True)
    sub.add_argument("--signals",
                     help="comma-separated regular expressions (default: the view's open groups)")
    sub.add_argument("--at", type=float, metavar="NS", help="where a line stands")
    _add_place(sub)
    sub.add_argument("--start", type=float, metavar="NS")
    sub.add_argument("--stop", type=float, metavar="NS")
    args = parser.parse_args()

    if args.command == "run":
        if not args.nodeid:
            parser.error("name a test: make waves TEST='tb/<stage>/test_x.py::test_x[...]'")
        return run_test(args.nodeid, args.seed)
    if args.command == "view":
        dump = args.dump.resolve()
        print(write_view(dump, dump.with_suffix(".gtkw"), args.at, _place(args)))
    elif args.command == "list":
        signals, _ = open_dump(args.dump)
        for name in select(signals, args.pattern):
            print(f"{signals[name].bitwidth or 1:5}  {stage_of(name):7} {name}")
    else:
        draw(args.dump, args.out, args.signals, args.start, args.stop, args.at,
             _place(args))
    return 0


if __name__ == "__main__":
    sys.exit(main())
