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
import functools
import math
import re
import shutil
import sys
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from scripts import entry  # noqa: E402 (needs the repository on the search path)

entry.install()

from models.config import Config  # noqa: E402
from tb import runner  # noqa: E402
from tb.common.states import is_port, module_of, places, state_names  # noqa: E402
from tb.common.turns import SIGNED as SIGNED_FIELDS  # noqa: E402
from tb.common.turns import TURN  # noqa: E402
from tb.common.words import ADDRESS_W, fields_of  # noqa: E402

WAVES = runner.BUILD / "waves"
# Stages in the order of the data flow; other signals come behind them. "between stages" are the
# wires of the core that connect them.
BETWEEN = "between stages"
STAGES = ("csr", "seq", "fetch", "dlzs", "rope", "sads", "rass", "kvgen", "sufa", "store", "common")
# What a reader wants to see first inside a stage: never cut.
HANDSHAKE = (r"(^clk|^rst|^irq|valid|ready|start|busy|done|halt|commit|release(_(dlzs|sufa))?)"
             r"(_reg)?$")
# Other signals of a stage; twice as many between the stages, which show what is handed over.
MAX_OTHERS = 60
# Rows of the values inside a stage of which all instances are shown; of more the first one.
MAX_VALUES = 96
# Bits and fields of what a handshake hands over that stand beside it.
MAX_BITS, MAX_FIELDS = 64, 8
# Cycles that a view shows before and behind the place where it opens: at the start of a job; at a
# failure, whose cause lies before it; at one in a unit, which has other numbers in every cycle.
AT_START, AT_FAILURE, AT_UNIT = (20, 60), (60, 20), (20, 6)
# Cycles before and behind those that the dump for Surfer has.
AROUND = 2000
# Pixels of its waves.
PIXELS = 900
# The story of a job, from order to output: wires of the core; of a turn these fields.
STORY = ("tc_valid", "tc_ready", "tc_n", "tn_valid", "tn_ready", "tn_turn", "t_valid", "t_ready",
         "s_valid", "s_ready", "s_last", "m_valid", "m_ready", "m_first", "m_last", "m_turn",
         "m_mask", "p_valid", "p_ready", "p_kind", "p_key", "p_place", "p_mask", "kv_valid",
         "kv_ready", "kv_first", "kv_end", "kv_mask", "ev_sufa_busy", "o_valid", "o_ready",
         "o_first", "o_last", "o_block_last", "o_addr")
TURN_FIELDS = ("k0", "n", "kstep", "rows", "place", "start", "final", "count")
# Ends of names of numbers, beside the fields of turns.
NUMBERS = {"kind", "key", "word", "beat", "beats", "row", "slot", "idx", "land", "busy", "dm",
           "addr"}
# Numbers with a binary point: full name, signed, fraction bits (models/config.py has the
# formats).
FIXED_POINT = (
    (r"cell(_inst)?\.acc_reg$", True, Config.SC_FRAC),
    (r"row(_inst)?\.((limit|peak)_reg|g_keep\[\d+\]\.level)$", True, 0),
    (r"row(_inst)?\.max_reg$", True, Config.SC_FRAC),
    (r"row(_inst)?\.(total|kept)_reg$", False, Config.SUM_FRAC),
    (r"exp(_inst)?\.z_\d_reg$", True, Config.Z_FRAC),
    (r"exp(_inst)?\.[em]_\d_reg$", True, 0),
    (r"exp(_inst)?\.(mant_9_reg|p_1\d_reg|l_rd|l_11_reg|l_new)$", False, 16 - Config.GUARD),
    (r"lane(_inst)?\.(o_sh_reg|o_new)$", True, Config.O_FRAC),
    (r"div(_inst)?\.g_lane\[\d+\]\.f_reg$", False, Config.F_FRAC),
    (r"rope(_inst)?\..*\.(c_reg|s_reg)$", True, 14),
    (r"rope(_inst)?\..*\.(x0_reg|x1_reg)$", True, 0),
    (r"mac(_inst)?\.(acc_reg|sum_reg)$", True, 0),
)
# What decides inside a stage, beside those numbers.
VALUES = (r"(row(_inst)?\.(s1_seen_reg|s1_keep)|exp(_inst)?\.(idx_11|dm_10_reg|upd_reg)"
          r"|rass(_inst)?\.(wr_half_reg|wr_word|full_reg|half_reg|word_reg|lane|places"
          r"|g_place\[\d+\]\.mask_inst\.(wr_en|wr_addr|rd_en|rd_addr)))$")
# Bits of GTKWave's display flags.
DECIMAL, SIGNED, POINT, BY_FILE = 0x24, 0x400, 0x40000000, 0x2000
OPEN_GROUP, CLOSED_GROUP, END_GROUP, END_CLOSED_GROUP = "@800200", "@c00200", "@1000200", "@1401200"
# All but the first of the many rows, cells and units.
INSTANCE = r"\[0*[1-9]\d*\]\."
NS_PER_UNIT = {"fs": 1e-6, "ps": 1e-3, "ns": 1.0, "us": 1e3, "ms": 1e6, "s": 1e9}


@dataclass(frozen=True)
class Row:
    """A signal of a dump, or bits of it (low to low+bits-1 of width), as a view shows it. base:
    "hex" or "dec"; point: fraction bits; states: value -> name."""

    label: str
    name: str
    width: int
    low: int
    bits: int
    base: str = "hex"
    signed: bool = False
    point: int = 0
    states: dict[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Place:
    """What a message says of the place of a failure: stage, query row and unit of SU-FA, None where
    it does not."""

    stage: str | None = None
    row: int | None = None
    unit: int | None = None


NOWHERE = Place()


@dataclass(frozen=True)
class Group:
    """Rows below a title; closed: shown after a click only."""

    title: str
    rows: list[Row]
    closed: bool


def open_dump(path: Path):
    """Return (signals, ns per time step): signals maps the full name to a pywellen variable."""
    import pywellen

    wave = pywellen.Waveform(str(path))
    match = re.match(r"(\d+)\s*(\w+)", str(wave.timescale))
    step_ns = int(match[1]) * NS_PER_UNIT[match[2]] if match else 1e-3
    signals = {}
    for var in wave.all_vars():
        # Verilator repeats the top level's ports below this scope.
        if not var.full_name.startswith("$rootio"):
            signals.setdefault(var.full_name, var)
    return signals, step_ns


def stage_of(name: str) -> str:
    """Return the stage a signal belongs to: the outermost instance of a module of that stage."""
    scopes = name.split(".")[:-1]
    for scope in scopes:
        plain = re.sub(r"^sofa_|_inst$|\[\d+\]$", "", scope)
        stage = module_folders().get(f"sofa_{plain}")
        if stage in STAGES:
            return stage
        for stage in STAGES[:-1]:
            if re.match(rf"{stage}(_|\d|$)", plain):
                return stage
    if len(scopes) == 2 and scopes[1] == "g_core":
        return BETWEEN
    return "top" if len(scopes) == 1 else "other"


@functools.cache
def module_folders() -> dict[str, str]:
    """Return the stage folder of every module of the design."""
    return {p.stem: p.parent.name for p in (ROOT / "rtl").rglob("*.v")}


def _rank(name: str) -> tuple:
    scope, _, leaf = name.rpartition(".")
    settings = leaf.startswith(("job_", "cfg_", "ev_"))
    # As the Verilog declares them, a handshake and what it hands over stand together.
    place = places(module_of(name)).get(leaf, math.inf)
    return (name.count("."), scope, leaf not in ("clk", "rst"), settings, place)


def _of_place(names: list[str], where: Place) -> list[str]:
    """Return the names without those of other rows or units; rows count on from block to block."""
    for kind, number in (("row", where.row), ("unit", where.unit)):
        found = {n: re.search(rf"\.g_{kind}\[(\d+)\]\.", n) for n in names}
        count = 1 + max((int(m[1]) for m in found.values() if m), default=0)
        names = [n for n, m in found.items()
                 if number is None or not m or int(m[1]) == number % count]
    return names


def _by_instance(name: str) -> list[tuple]:
    """Order in which all of an instance, with its generate blocks, stands together."""
    return [tuple(int(p) if p.isdigit() else p for p in re.split(r"(\d+)", scope))
            for scope in name.split(".")[:-1]]


def is_handshake(name: str, signals) -> bool:
    """Whether a signal belongs to a handshake; not a register behind a wire of the same name, nor
    the inside of a FIFO or another common part, which shows on its wires."""
    scope, _, leaf = name.rpartition(".")
    if leaf.startswith("ev_") or not re.search(HANDSHAKE, leaf):
        return False
    if leaf.endswith("_reg") and f"{scope}.{leaf.removesuffix('_reg')}" in signals:
        return False
    return name.count(".") == 1 or module_folders().get(module_of(name)) != "common"


def fixed_point(name: str) -> tuple[bool, int] | None:
    """Return (signed, fraction bits) of a signal with a binary point, else None."""
    found = (f for f in FIXED_POINT if re.search(f[0], name))
    return next((f[1:] for f in found), None)


def states_of(name: str) -> dict[int, str]:
    """Return the names of the states (value -> name) of a state register, {} for others."""
    scope, _, leaf = name.rpartition(".")
    return state_names().get(module_of(f"{scope}.x"), {}).get(leaf, {})


def _known(value) -> int | None:
    """Return a value of a dump as an int; None when it has unknown bits."""
    if isinstance(value, str):
        return int(value, 2) if re.fullmatch("[01]+", value) else None
    return int(value)


def _first_change(variable, after: float) -> float | None:
    """Return when a signal first changes to a known value after ``after`` (time steps)."""
    before = None
    for time, value in variable.tv:
        value = _known(value)
        if time > after and before is not None and value is not None and value != before:
            return time
        before = value
    return None


def opening(signals: dict) -> float:
    """Return when there is first something to see (time steps): after the reset, the first change
    of a state, or of a handshake of the top level where no state changes; 0 without any."""
    top = [n for n in signals if n.count(".") == 1]
    resets = [t for n in top if n.endswith(".rst") for t, v in signals[n].tv if _known(v) == 0]
    after = min(resets, default=0)
    handshakes = [n for n in top if re.search(r"(valid|start|busy)$", n)]
    for names in ([n for n in signals if states_of(n)], handshakes):
        found = [t for n in names if (t := _first_change(signals[n], after)) is not None]
        if found:
            return min(found)
    return after


def cycles_of(at_ns: float | None, where: Place) -> tuple[int, int]:
    """Return the cycles that a view shows before and behind the place where it opens."""
    if at_ns is None:
        return AT_START
    return AT_FAILURE if where.unit is None else AT_UNIT


def _end(signals: dict) -> float:
    """Return the time of the last change of the top level, whose clock runs to the end, or of a
    state (time steps)."""
    return max((t for n, v in signals.items() if n.count(".") == 1 or states_of(n)
                for t, _ in list(v.tv)[-1:]), default=0)


def _short(name: str) -> str:
    """Return a name for the list of signals: without the top level and the marks of instances."""
    # GTKWave shows what stands behind the last dot only.
    inner = re.sub(r"^g_core\.", "", name.split(".", 1)[1])
    plain = re.sub(r"_inst(?=\.|$)", "", inner)
    return re.sub(r"\bg_(\w+)(\[\d+\])/\1(?=/)", r"\1\2", plain.replace(".", "/"))


def rows_of(name: str, widths: dict[str, int]) -> list[Row]:
    """Return what a view shows of a signal: one row, or one for each field of a packed word.
    widths: full name -> bits of all signals."""
    width, leaf = widths[name], name.rpartition(".")[2]
    fields = fields_of(name, widths)
    if leaf.endswith("_turn"):
        fields = sorted((f for f in fields if f.name in TURN_FIELDS),
                        key=lambda f: TURN_FIELDS.index(f.name))
    if fields:
        return [Row(f"{_short(name)}/{f.name}", name, width, f.low, f.bits,
                    "dec" if f.number else "hex", f.signed, f.point) for f in fields]
    row = Row(_short(name), name, width, 0, width)
    states, fixed = states_of(name), fixed_point(name)
    if states:
        return [replace(row, base="dec", states=states)]
    if fixed:
        return [replace(row, base="dec", signed=fixed[0], point=fixed[1])]
    kind = re.sub(r"(_\d+)?(_reg)?$", "", leaf).rpartition("_")[2]
    if 1 < width < ADDRESS_W and (kind in TURN or kind in NUMBERS):
        return [replace(row, base="dec", signed=kind in SIGNED_FIELDS)]
    return [row]


def _is_small(name: str, widths: dict[str, int]) -> bool:
    """Whether a signal stands beside the handshake that hands it over."""
    rows = rows_of(name, widths)
    return len(rows) <= MAX_FIELDS and max(r.bits for r in rows) <= MAX_BITS


def groups_of(signals: dict, where: Place = NOWHERE) -> list[Group]:
    """Return the groups of a view in the order in which it shows them; see the head."""
    widths = {n: v.bitwidth or 1 for n, v in signals.items()}
    stages: dict[str, list[str]] = {}
    for name in signals:
        leaf = name.rsplit(".", 1)[-1]
        # Constants, inputs of registers and what nobody reads would only fill the view.
        if not (leaf.isupper() or leaf.endswith("_next") or leaf.startswith("unused")):
            stages.setdefault(stage_of(name), []).append(name)
    groups = []

    def add(title, names, closed=False):
        if names:
            own = f"{title.partition(':')[0]}/"
            rows = [replace(r, label=r.label.removeprefix(own)) for n in names
                    for r in rows_of(n, widths)]
            groups.append(Group(title, rows, closed))

    order = ("top", BETWEEN, *STAGES, "other")
    found = [stage for stage in STAGES[:-1] if stage in stages]
    failed = found[0] if len(found) == 1 else where.stage
    add("states", [n for stage in order for n in sorted(stages.get(stage, []), key=_rank)
                   if states_of(n)])
    add("story", [n for leaf in STORY if (n := f"sofa.g_core.{leaf}") in signals])
    for stage in order:
        seen, ports, values, inside, others = set(), [], [], [], []
        names = sorted(stages.get(stage, []), key=_rank)
        level = names[0].count(".") if names else 0
        handed = tuple(re.sub("(valid|ready)$", "", n) for n in names
                       if n.count(".") == level and re.search(r"_\w*(valid|ready)$", n)
                       and (stage == BETWEEN or is_port(n)))
        most = 2 * MAX_OTHERS if stage == BETWEEN else MAX_OTHERS
        for name in names:
            # A port and the wire connected to it are one signal; of the many rows, cells and
            # units, the first shows its handshakes.
            if signals[name].signal_id in seen or states_of(name):
                continue
            seen.add(signals[name].signal_id)
            if name.count(".") > 1 and name.endswith((".clk", ".rst")):
                continue
            outside = name.count(".") == level
            if is_handshake(name, signals) and not re.search(INSTANCE, name):
                (ports if outside else inside).append(name)
            elif outside and name.startswith(handed) and _is_small(name, widths):
                ports.append(name)
            elif fixed_point(name) or re.search(VALUES, name):
                values.append(name)
            else:
                others.append(name)
        values = _of_place(values, where)
        if sum(len(rows_of(n, widths)) for n in values) > MAX_VALUES:
            values = [n for n in values if not re.search(INSTANCE, n)]
        values.sort(key=_by_instance)
        add(f"{stage}: values", values)
        add(stage, ports)
        add(f"{stage}: handshakes inside", inside, closed=True)
        add(f"{stage}: other signals", others[:most], closed=True)
    # The failing stage first: what decides there and what it got and gave.
    return sorted(groups, key=lambda g: g.title not in (failed, f"{failed}: values"))


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
    first = max(0, round(min(first, _end(signals) - span)))
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


def place_of(text: str) -> Place:
    """Return what the first message of a wrong value in ``text`` says."""
    first = re.search(r"^.*bit \d+ is the lowest to differ.*$", text, re.M)
    line = first[0] if first else ""
    stage = re.search(rf": ({'|'.join(STAGES)}) [\w ]+: cycle ", line)
    row, unit = (re.search(rf"\b{kind} (\d+)", line) for kind in ("query row", "unit"))
    return Place(stage and stage[1], row and int(row[1]), unit and int(unit[1]))


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


def select(signals: dict, patterns: str) -> list[str]:
    """Return the names matching any of the comma-separated regular expressions, in that order."""
    names = []
    for pattern in patterns.split(","):
        names += [n for n in sorted(signals, key=_rank)
                  if re.search(pattern.strip(), n) and n not in names]
    return names


def text_of(row: Row, value) -> str:
    """Return a value of a row's signal (int, or bits with unknown ones) as the row shows it."""
    known = _known(value)
    if known is None:
        return "x"
    number = known >> row.low & (1 << row.bits) - 1
    if row.states:
        return row.states.get(number, str(number))
    if row.base == "hex":
        return f"{number:x}"
    if row.signed:
        number -= number >> row.bits - 1 << row.bits
    return f"{number / (1 << row.point):g}" if row.point else str(number)


def _picked(signals: dict, patterns: str | None, where: Place) -> list[Row]:
    """Return the rows of the signals that match; without patterns those of the open groups, of the
    whole machine up to the story, as more make no picture."""
    if patterns is None:
        groups = [g for g in groups_of(signals, where) if not g.closed]
        titles = [g.title for g in groups]
        if "story" in titles:
            groups = groups[:titles.index("story") + 1]
        return [r for group in groups for r in group.rows]
    widths = {n: v.bitwidth or 1 for n, v in signals.items()}
    return [r for n in select(signals, patterns) for r in rows_of(n, widths)]


def draw(dump: Path, out: Path, patterns: str | None, start_ns: float | None,
         stop_ns: float | None, at_ns: float | None, where: Place) -> None:
    """Draw signals between two times as a PNG; None: what the view of ``dump`` opens with, and
    the time around ``at_ns``, where a line stands (None: see ``opening``)."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    signals, step_ns = open_dump(dump)
    rows = _picked(signals, patterns, where)
    if not rows:
        raise SystemExit(f"no signal of {dump} matches {patterns!r}")
    before, behind = cycles_of(at_ns, where)
    if at_ns is None and start_ns is None:
        at_ns = opening(signals) * step_ns
    if start_ns is None:
        start_ns = max(0.0, at_ns - before * runner.CLOCK_PERIOD_NS)
    if stop_ns is None:
        stop_ns = start_ns + (before + behind) * runner.CLOCK_PERIOD_NS
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
