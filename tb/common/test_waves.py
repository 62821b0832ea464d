# SPDX-License-Identifier: Apache-2.0
"""The views of a dump: where they open, what stands first, names of states, fields of words."""

import math
import os
import re

import pytest

from models.config import Config
from models.spec.configs import CONFIGS
from scripts import waves
from tb.common import views
from tb.common.states import is_port, module_of, state_names
from tb.common.turns import TURN, TURN_W
from tb.common.words import fields_of
from tb.runner import ROOT, run


def vcd(path, signals, changes):
    """Write a VCD: signals full name -> width, changes {time ps: {name: value}}."""
    lines, scope, ids = ["$timescale 1ps $end"], [], {}
    for number, (name, width) in enumerate(signals.items()):
        ids[name] = f"s{number}"
        *scopes, leaf = name.split(".")
        same = len(os.path.commonprefix([scope, scopes]))
        lines += ["$upscope $end"] * (len(scope) - same)
        lines += [f"$scope module {s} $end" for s in scopes[same:]]
        lines.append(f"$var wire {width} {ids[name]} {leaf} $end")
        scope = scopes
    lines += ["$upscope $end"] * len(scope) + ["$enddefinitions $end"]
    for time, values in changes.items():
        lines.append(f"#{time}")
        lines += [f"b{v:b} {ids[n]}" if isinstance(v, int) else f"b{v} {ids[n]}"
                  for n, v in values.items()]
    path.write_text("\n".join(lines) + "\n")
    return path


def view_of(dump, **options):
    """(lines before the signals, [(group, [signals])]) of a dump's view."""
    lines = waves.write_view(dump, dump.with_suffix(".gtkw"), **options).read_text().split("\n")
    start = next(i for i, line in enumerate(lines) if line == waves.OPEN_GROUP)
    groups, depth = [], 0
    for before, line in zip(lines[start:], lines[start + 1:], strict=False):
        if before in (waves.OPEN_GROUP, waves.CLOSED_GROUP):
            groups.append((line[1:], []))
            depth += 1
        elif before in (waves.END_GROUP, waves.END_CLOSED_GROUP):
            depth -= 1
        elif line.startswith("+{"):
            groups[-1][1].append(line.rsplit(" ", 1)[1])
        elif line.startswith("#{"):
            name = line.rsplit(")", 1)[1]
            if name not in groups[-1][1]:
                groups[-1][1].append(name)
    assert depth == 0 and all(names for _, names in groups)
    return lines[:start], groups


def window(head):
    """(first, last, marker) of a view in time steps."""
    at = next(int(line.split()[1]) for line in head if line.startswith("[timestart]"))
    zoom, marker = next(line for line in head if line[0] == "*").split()[:2]
    per_pixel = 2 ** -float(zoom[1:]) / 200
    return at, at + per_pixel * waves.PIXELS, int(marker)


@pytest.fixture
def core(tmp_path):
    """A dump of the core with many signals above and beside its states."""
    seq, deep = (f"sofa.g_core.{n}" for n in ("seq_inst", "sads_inst.sum_inst.ctl_inst"))
    signals = {"sofa.clk": 1, "sofa.rst": 1, "sofa.m_axi_arvalid": 1, "sofa.g_core.job_keys": 32,
               "sofa.g_core.kv_valid": 1, "sofa.g_core.kv_data": 64}
    signals |= {f"{seq}.a{i}": 8 for i in range(100)}
    signals |= {f"{seq}.state_reg": 3, f"{seq}.chain_inst.state_reg": 2, f"{seq}.z_ready": 1,
                f"{seq}.z_ready_reg": 1, f"{seq}.unused_valid": 1}
    signals |= {f"sofa.g_core.sads_inst.b{i}": 8 for i in range(100)}
    signals |= {"sofa.g_core.sads_inst.m_valid": 1, "sofa.g_core.sads_inst.turn_inst.m_valid": 1,
                f"{deep}.state_reg": 2, f"{deep}.t_valid": 1}
    signals |= {f"{deep}.g[{i}].p_valid": 1 for i in range(3)}
    return vcd(tmp_path / "dump.vcd", signals, {
        0: dict.fromkeys(signals, 0) | {f"{seq}.state_reg": "x", "sofa.rst": 1},
        30_000: {f"{seq}.state_reg": 0}, 40_000: {"sofa.rst": 0},
        # A request before the job is no state yet.
        50_000: {"sofa.m_axi_arvalid": 1},
        2_000_000: {f"{seq}.state_reg": 2}, 2_100_000: {f"{deep}.state_reg": 3},
        9_000_000: {f"{seq}.state_reg": 0}})


def test_a_view_opens_where_the_job_starts(core):
    first, last, marker = window(view_of(core)[0])
    before, behind = views.AT_START
    assert marker == 2_000_000 and first == marker - before * 10_000
    assert math.isclose(last, marker + behind * 10_000, rel_tol=1e-3)


def test_a_view_opens_at_the_failure(core):
    first, last, marker = window(view_of(core, at_ns=5432.0)[0])
    assert marker == 5_432_000 and first < marker < last and last - first < 1e6
    assert window(view_of(core, at_ns=3.0)[0])[0] == 0
    # More before it than behind it, of numbers fewer cycles.
    assert marker - first == views.AT_FAILURE[0] * 10_000
    first, _, marker = window(view_of(core, at_ns=5432.0, where=views.Place("sufa", 0, 1))[0])
    assert marker - first == views.AT_NUMBERS[0] * 10_000


def test_a_window_lies_inside_the_dump(tmp_path):
    """GTKWave goes to the start of a dump that ends before the window does."""
    dump = vcd(tmp_path / "dump.vcd", {"sofa.clk": 1},
               {t * 5_000: {"sofa.clk": t % 2} for t in range(1000)})
    first, last, marker = window(view_of(dump, at_ns=4995.0)[0])
    assert first < marker == 4_995_000 and last <= 4_996_000


def test_states_and_handshakes_come_first_and_are_never_cut(core):
    groups = view_of(core)[1]
    shown = dict(groups)
    assert [name for name, _ in groups] == [
        "states", "story", "top", "between stages", "between stages: other signals", "seq",
        "seq: other signals", "sads", "sads: handshakes inside", "sads: other signals"]
    assert [n.removeprefix("sofa.g_core.") for n in shown["states"]] == [
        "seq_inst.state_reg[2:0]", "seq_inst.chain_inst.state_reg[1:0]",
        "sads_inst.sum_inst.ctl_inst.state_reg[1:0]"]
    assert shown["top"] == ["sofa.clk", "sofa.rst", "sofa.m_axi_arvalid"]
    assert shown["story"] == ["sofa.g_core.kv_valid"]
    # With what it hands over
    assert shown["between stages"] == ["sofa.g_core.kv_valid", "sofa.g_core.kv_data[63:0]"]
    assert shown["between stages: other signals"] == ["sofa.g_core.job_keys[31:0]"]
    assert shown["seq"] == ["sofa.g_core.seq_inst.z_ready"]
    assert shown["sads"] == ["sofa.g_core.sads_inst.m_valid"]
    assert [n.rsplit("ctl_inst.", 1)[1] for n in shown["sads: handshakes inside"]] == [
        "t_valid", "g[0].p_valid"]
    assert len(shown["seq: other signals"]) == views.MAX_OTHERS
    assert not any("unused" in name for _, names in groups for name in names)


def test_fields_of_a_turn(tmp_path):
    """The story shows each field of a turn by the bits that the header gives it."""
    dump = vcd(tmp_path / "dump.vcd", {"sofa.clk": 1, "sofa.g_core.tn_turn": TURN_W,
                                       "sofa.g_core.p_key": 17}, {0: {"sofa.clk": 0}})
    lines = waves.write_view(dump, dump.with_suffix(".gtkw")).read_text().split("\n")
    found = {}
    for line in lines:
        if match := re.fullmatch(r"#\{tn_turn/(\w+)\} (.*)", line):
            picked = re.findall(rf"\((\d+)\)sofa\.g_core\.tn_turn\[{TURN_W - 1}:0\]", match[2])
            found[match[1]] = [TURN_W - 1 - int(n) for n in picked]
    assert list(found) == list(views.TURN_FIELDS)
    for name, bits in found.items():
        low, width = TURN[name]
        assert bits == list(range(low + width - 1, low - 1, -1)), name
    assert lines[lines.index("+{p_key} sofa.g_core.p_key[16:0]") - 1] == f"@{waves.DECIMAL:x}"


def test_fields_of_words():
    """Of tiny: 4 rows, 4 places, scores of 14 bits; a word without its sizes stays whole."""
    bits = Config.F_FRAC + 1
    widths = {f"x.{n}": w for n, w in {
        "m_mask": 16, "p_mask": 16, "p_place": 2, "kv_mask": 16, "s_scores": 224,
        "f_data": 2 * bits, "m_turn": TURN_W, "tap_e_valid": 2, "tap_e_z": 52,
        "tap_m_mask": 16, "other": 16}.items()}
    found = {n: [(f.name, f.low, f.bits) for f in fields_of(n, widths)] for n in widths}
    assert found["x.m_mask"] == [(f"slot{i}", 4 * i, 4) for i in range(4)]
    assert found["x.p_mask"] == [(f"place{i}", 4 * i, 4) for i in range(4)]
    assert found["x.s_scores"][5] == ("row1_slot1", 70, 14) and len(found["x.s_scores"]) == 16
    assert found["x.m_turn"] == [(n, low, bits) for n, (low, bits) in TURN.items()]
    assert found["x.f_data"] == [("share0", 0, bits), ("share1", bits, bits)]
    assert found["x.tap_m_mask"] == found["x.m_mask"]
    assert found["x.tap_e_z"] == [("unit0", 0, 26), ("unit1", 26, 26)]
    assert found["x.kv_mask"] == found["x.p_mask"] and not found["x.other"]
    assert not fields_of("y.p_mask", {"y.p_mask": 16})


@pytest.mark.parametrize("row, value, text", [
    ({"bits": 8}, 0x3A5, "a5"), ({"bits": 8, "low": 4}, 0x3A5, "3a"), ({"bits": 8}, "0x01", "x"),
    ({"bits": 8, "base": "dec"}, 0xFE, "254"), ({"bits": 8, "base": "dec", "signed": True}, 0xFE,
                                                "-2"),
    ({"bits": 8, "base": "dec", "signed": True, "point": 2}, 0xFE, "-0.5"),
    ({"bits": 2, "base": "dec", "states": {2: "S_RUN"}}, 2, "S_RUN")])
def test_text_of_a_picture(row, value, text):
    assert views.text_of(views.Row("l", "x.n", 10, **{"low": 0, **row}), value) == text


def test_picture_of_a_window(core):
    """Of what the view opens with, and of chosen signals; a window without time is refused."""
    out = core.with_suffix(".png")
    waves.draw(core, out, None, None, None, 5432.0, views.Place("sads", 0))
    assert out.read_bytes().startswith(b"\x89PNG")
    waves.draw(core, out, "valid$,state_reg", 10.0, 90.0, None, views.NOWHERE)
    for start, stop, names in ((9.0, 9.0, "valid$"), (0.0, 9.0, "nothing")):
        with pytest.raises(SystemExit, match="window is empty|no signal"):
            waves.draw(core, out, names, start, stop, None, views.NOWHERE)


def test_place_of_a_failure():
    line = ("E  tb.runner.SimulationError: run_jobs: sufa pair: cycle 493 (4930 ns), tile 0, query "
            "row 3, key 1, head 0, unit 1, pair 3, field l: bit 2 is the lowest to differ: ")
    assert views.place_of(f"first\n{line}\n{line}") == views.Place("sufa", 3, 1)
    assert views.place_of("masks: cycle 3 (30 ns), query row 2: bit 0 is the lowest to differ: "
                          ) == views.Place(None, 2, None)
    assert views.place_of("no interrupt within 3 cycles") == views.Place()


def test_the_failing_stage_stands_first(tmp_path):
    """Its values are those of the failing row, modulo the rows of a block."""
    row = "sofa.g_core.sads_inst.sum_inst.g_row[{}].row_inst.limit_reg"
    signals = {"sofa.clk": 1, "sofa.g_core.seq_inst.state_reg": 3,
               "sofa.g_core.sads_inst.m_valid": 1, "sofa.g_core.rass_inst.m_valid": 1,
               **{row.format(i): 10 for i in range(4)}}
    dump = vcd(tmp_path / "dump.vcd", signals, {0: dict.fromkeys(signals, 0)})
    groups = view_of(dump, at_ns=1.0, where=views.Place("sads", 6))[1]
    assert [name for name, _ in groups] == ["sads: values", "sads", "states", "top", "rass"]
    assert groups[0][1] == [f"{row.format(2)}[9:0]"]
    assert len(dict(view_of(dump)[1])["sads: values"]) == 4


def test_surfer_shows_the_same(core):
    """The commands name the groups and signals of the GTKWave view in its order, only signals of
    the dump, the same time, and translators that are built in or written beside them."""
    groups = view_of(core, at_ns=5432.0)[1]
    commands = [line.split(" ", 1) for line in
                core.with_suffix(".sucl").read_text().splitlines()]
    found, formats = [], set()
    for command, value in commands:
        if command == "divider_add":
            found.append((value, []))
        elif command == "variable_add":
            found[-1][1].append(value)
        elif command == "item_set_format":
            formats.add(value)
    assert found == [(name.replace(" ", "_"), [re.sub(r"\[\d+:0\]$", "", n) for n in names])
                     for name, names in groups]
    copy = core.with_name("dump-surfer.vcd")
    signals, _ = views.open_dump(copy)
    assert {n for _, names in found for n in names} <= set(signals)
    written = {}
    for path in (core.parent / ".surfer" / "mappings").iterdir():
        name, bits, *states = path.read_text().splitlines()
        written[name.removeprefix("Name = ")] = (bits, states)
    assert formats == {"Bit", "Hexadecimal"} | set(written)
    assert written["sofa_seq.state_reg"][0] == "Bits = 3"
    assert "3 S_RUN" in written["sofa_seq.state_reg"][1]
    head = view_of(core, at_ns=5432.0)[0]
    assert ["cursor_set", str(window(head)[2])] in commands
    assert commands[0] == ["load_file", str(copy)]
    start, stop = next(map(int, v.split()) for c, v in commands if c == "zoom_to")
    assert (start, stop) == (window(head)[0], round(window(head)[1]))


def test_dump_for_surfer(tmp_path):
    """Fields are signals, numbers with a binary point real ones, unknown bits stay unknown."""
    limit, mask = "sofa.g_core.sads_inst.g_row[0].row_inst.max_reg", "sofa.g_core.m_mask"
    dump = vcd(tmp_path / "dump.vcd", {"sofa.clk": 1, limit: 8, mask: 16}, {
        0: {"sofa.clk": 0, limit: "x", mask: "x"}, 10_000: {limit: 0xFE, mask: 0x0120},
        20_000: {mask: 0x0150}, 30_000: {"sofa.clk": 1}})
    view_of(dump, at_ns=10.0)
    signals, step_ns = views.open_dump(tmp_path / "dump-surfer.vcd")
    assert step_ns == 1e-3 and mask not in signals
    point = 1 << Config.SC_FRAC
    times = [t for t, _ in signals[limit].tv]
    assert times == [0, 10_000] and list(signals[limit].tv)[1][1] == -2 / point
    assert list(signals[f"{mask}.slot1"].tv)[1:] == [(10_000, 2), (20_000, 5)]
    assert [t for t, _ in signals[f"{mask}.slot2"].tv] == [0, 10_000]


def test_states_have_names(core):
    text = waves.write_view(core, core.with_suffix(".gtkw")).read_text()
    found = re.findall(r"@2024\n\^1 (\S+)\n\+\{(\S+)\} \S+state_reg\[\d:0\]\n", text)
    assert [name for _, name in found] == ["seq/state_reg", "seq/chain/state_reg",
                                           "sads/sum/ctl/state_reg"]
    tables = [open(path).read().split("\n") for path, _ in found]
    assert "3 S_RUN" in tables[0] and "3 S_DONE" in tables[1] and "2 S_HELD" in tables[2]


def test_every_state_machine_is_known():
    """Each has states, numbered from 0; instances are found in generate blocks."""
    declared = {(path.stem, name) for path in (ROOT / "rtl").rglob("*.v")
                for name in re.findall(r"^\s*reg\b.*?\b(\w*state_reg),", path.read_text(), re.M)}
    known = {(m, r): states for m, found in state_names().items() for r, states in found.items()}
    assert declared == set(known) and len(known) >= 12
    for place, states in known.items():
        assert sorted(states) == list(range(len(states))) and len(states) > 1, place
    assert module_of("sofa.g_core.sads_inst.g_sort.sort_inst.x") == "sofa_sads_sort"
    assert module_of("sofa.g_core.kvgen_inst.front_inst.x") == "sofa_kvgen_front"
    assert is_port("sofa_rass.m_valid") and not is_port("sofa_rass.state_reg")


@pytest.mark.configs("tiny")
@pytest.mark.sims("icarus")
def test_view_of_a_simulation(sim, config, seed):
    """An FST of a bench: it opens at the first tile, after the reset, with its only state first."""
    folder = run("sofa_sads_sum", "tb.sads.test_sads_sum",
                 CONFIGS["tiny"].pick("ROWS", "BC_MAX", "KEYS_MAX", BC_MIN=4, PLACES=6, SHARE=4,
                                      USER_W=9, SC_W=Config.from_name("tiny").SC_W),
                 sim, testcase="cycles", seed=seed, waves=True)
    head, groups = view_of(folder / "dump.fst")
    first, last, marker = window(head)
    assert 20_000 < marker < 500_000 and 0 <= first < marker < last < marker + 1e6
    top = "sofa_sads_sum"
    assert [name for name, _ in groups[:3]] == ["sads: values", "sads", "states"]
    assert f"{top}.g_row[0].row_inst.limit_reg[9:0]" in groups[0][1]
    assert groups[1][1][:2] == [f"{top}.clk", f"{top}.rst"]
    # A handshake and what it hands over, in the order of the ports.
    at = groups[1][1].index(f"{top}.m_valid")
    assert groups[1][1][at : at + 5] == [f"{top}.m_{n}" for n in (
        "valid", "ready", "first", "last", "mask[15:0]")]
    assert groups[2][1] == [f"{top}.ctl_inst.state_reg[1:0]"]
