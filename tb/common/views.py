# SPDX-License-Identifier: Apache-2.0
"""What a view of a dump shows: groups of rows, their order and format, and where it opens. All
viewers and pictures of scripts/waves.py take it from here; see its head.
"""

from __future__ import annotations

import functools
import math
import re
from dataclasses import dataclass, field, replace
from pathlib import Path

from models.config import Config
from tb.common.states import is_port, module_of, places, state_names
from tb.common.turns import SIGNED as SIGNED_FIELDS
from tb.common.turns import TURN
from tb.common.words import ADDRESS_W, fields_of
from tb.runner import ROOT

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
# failure, whose cause lies before it; at one in a stage whose numbers change every cycle.
AT_START, AT_FAILURE, AT_NUMBERS = (20, 60), (60, 20), (20, 6)
OF_NUMBERS = ("dlzs", "rope", "kvgen", "sufa")
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
    (r"cell(_inst)?\.k8$", True, 0),
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
VALUES = (r"(cell(_inst)?\.(en|first|code)|row(_inst)?\.(s2_seen_reg|s2_keep)"
          r"|exp(_inst)?\.(idx_11|dm_10_reg|upd_reg)"
          r"|rass(_inst)?\.(wr_half_reg|wr_word|full_reg|half_reg|word_reg|lane|places"
          r"|g_place\[\d+\]\.mask_inst\.(wr_en|wr_addr|rd_en|rd_addr)))$")
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
    return AT_NUMBERS if where.stage in OF_NUMBERS else AT_FAILURE


def end_of(signals: dict) -> float:
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


def select(signals: dict, patterns: str) -> list[str]:
    """Return the names matching any of the comma-separated regular expressions, in that order."""
    names = []
    for pattern in patterns.split(","):
        names += [n for n in sorted(signals, key=_rank)
                  if re.search(pattern.strip(), n) and n not in names]
    return names


def picked(signals: dict, patterns: str | None, where: Place) -> list[Row]:
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


def place_of(text: str) -> Place:
    """Return what the first message of a wrong value in ``text`` says."""
    first = re.search(r"^.*bit \d+ is the lowest to differ.*$", text, re.M)
    line = first[0] if first else ""
    stage = re.search(rf": ({'|'.join(STAGES)}) [\w ]+: cycle ", line)
    row, unit = (re.search(rf"\b{kind} (\d+)", line) for kind in ("query row", "unit"))
    return Place(stage and stage[1], row and int(row[1]), unit and int(unit[1]))
