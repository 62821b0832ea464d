# SPDX-License-Identifier: Apache-2.0
"""Module sofa accepts exactly the parameters that models.config accepts, and names the one
it refuses.

Elaboration only. Without the other modules a legal set stops at a stage, an illegal one at the
module that names the parameter, so that one process tells thousands of sets apart.
"""

import random
import re
import shutil

import pytest

from models.config import Config, ConfigError
from models.spec.configs import CONFIGS
from scripts import yosys
from scripts.lint import command
from tb import runner

TOP = runner.find_module("sofa")
MISSING = re.compile(r"illegal_parameter_([A-Z0-9_]+?)_needs_\w+|sofa_csr\b")

# Smallest and largest legal value of each parameter, over all sets.
LIMITS = {
    "BUS_BYTES": (8, 64), "ROWS": (4, 128), "BC_MAX": (8, 64), "COLS": (4, 32),
    "D_MAX": (16, 256), "KEYS_MAX": (64, 65536), "ADDR_W": (32, 48), "SC_FRAC": (0, 8),
    "TWO_TERM": (0, 1), "K8_BUFS": (2, 4), "H_MAX": (64, 4096), "KG_TOK": (1, 4),
    "WGT_WORDS": (64, 65536), "ROPE_PAIRS": (1, 64), "PLACES": (2, 8), "STORE_BEATS": (32, 32768),
    "LAND": (4, 64), "LAND_BEATS": (8, 4096), "FIFO": (2, 64), "SORT": (0, 1), "SUM_FRAC": (6, 16),
    "LEVEL_W": (8, 12), "LOG_FRAC": (0, 6), "RATIO_FRAC": (4, 12), "F_FRAC": (4, 12),
    "VM_W": (4, 16),
}
# Legal sets that reach both limits of every parameter and both sides of every relation, kept
# small where a larger one only takes longer.
CORNERS = {
    "minima": {**{name: low for name, (low, _) in LIMITS.items()}, "LAND_BEATS": 16},
    "rows": {"BUS_BYTES": 8, "ROWS": 128, "BC_MAX": 16, "COLS": 4, "D_MAX": 256,
             "KEYS_MAX": 65536, "ADDR_W": 48, "SC_FRAC": 8, "TWO_TERM": 1, "K8_BUFS": 4,
             "H_MAX": 4096, "KG_TOK": 4, "WGT_WORDS": 65536, "ROPE_PAIRS": 64, "PLACES": 2,
             "STORE_BEATS": 16384, "LAND": 4, "LAND_BEATS": 4096, "FIFO": 2, "SORT": 1,
             "SUM_FRAC": 16, "LEVEL_W": 12, "LOG_FRAC": 6, "RATIO_FRAC": 12, "F_FRAC": 12,
             "VM_W": 16},
    "bus": {"BUS_BYTES": 64, "ROWS": 32, "BC_MAX": 64, "COLS": 32, "D_MAX": 64, "KEYS_MAX": 64,
            "ADDR_W": 48, "SC_FRAC": 8, "TWO_TERM": 0, "K8_BUFS": 4, "H_MAX": 64, "KG_TOK": 1,
            "WGT_WORDS": 65536, "ROPE_PAIRS": 16, "PLACES": 8, "STORE_BEATS": 512, "LAND": 64,
            "LAND_BEATS": 8, "FIFO": 64, "SORT": 0, "SUM_FRAC": 6, "LEVEL_W": 8, "LOG_FRAC": 6,
            "RATIO_FRAC": 4, "F_FRAC": 12, "VM_W": 4},
    "mixed": {"BUS_BYTES": 16, "ROWS": 32, "BC_MAX": 64, "COLS": 16, "D_MAX": 16,
              "KEYS_MAX": 65536, "ADDR_W": 32, "SC_FRAC": 0, "TWO_TERM": 1, "K8_BUFS": 3,
              "H_MAX": 4096, "KG_TOK": 2, "WGT_WORDS": 64, "ROPE_PAIRS": 16, "PLACES": 4,
              "STORE_BEATS": 256, "LAND": 8, "LAND_BEATS": 8, "FIFO": 17, "SORT": 1,
              "SUM_FRAC": 16, "LEVEL_W": 12, "LOG_FRAC": 0, "RATIO_FRAC": 4, "F_FRAC": 4,
              "VM_W": 16},
}
SHALLOW = ("iverilog", "-t", "null", "-g2005", "-I", str(runner.INCLUDE_DIR), "-s", "wrapper")
DERIVED = ("SC_W", "UNITS", "ALL", "PLACE_W", "IDX_W", "BEAT_W", "L_W", "SHARE")
"""Parameters that nobody may change: widths of ports."""
CORNERS["stores"] = {**CORNERS["rows"], "PLACES": 8, "STORE_BEATS": 32768, "LAND_BEATS": 256}
# One illegal set for each parameter.
ILLEGAL = {name: {**CORNERS["mixed"], name: high + 1} for name, (_, high) in LIMITS.items()}


def refused(parameters):
    """The parameter that models.config refuses first, or None."""
    try:
        Config(**parameters)
    except ConfigError as error:
        return str(error).split(" = ")[0]
    return None


def values(name):
    """Values of a parameter: every power of two, each legal one's neighbours, and past both ends.

    0 is what Config takes as "what fits" in three fields; Verilog has no such value.
    """
    low, high = LIMITS[name]
    powers = [1 << n for n in range(18)]
    found = {-low, -1, 0, low - 1, low, low + 1, 3 * low, high - 1, high, high + 1, 2 * high}
    found.update(powers)
    if name in ("PLACES", "STORE_BEATS", "LAND_BEATS"):
        found.discard(0)
    return sorted(found)


def sets():
    """Every value of every parameter in every corner, then sets with random values."""
    for base in CORNERS.values():
        for name in LIMITS:
            for value in values(name):
                yield {**base, name: value}
    pick = random.Random(1)
    for _ in range(1500):
        base = pick.choice(list(CORNERS.values()))
        changed = pick.sample(list(LIMITS), pick.randint(2, 4))
        yield {**base, **{name: pick.choice(values(name)) for name in changed}}


def wrapper(all_sets):
    """A module with an instance of sofa for each set."""
    lines = ["module wrapper;"]
    for number, parameters in enumerate(all_sets):
        given = ", ".join(f".{name}({value})" for name, value in parameters.items())
        lines.append(f"sofa #({given}) top_{number} ();")
    return "\n".join([*lines, "endmodule", ""])


def test_corners_reach_every_limit():
    text = TOP.read_text()
    names = set(re.findall(r"^ +parameter (\w+) = ", text, re.M))
    assert names == {*LIMITS, *DERIVED} and set(CORNERS["rows"]) == set(LIMITS)
    assert all(set(config) <= set(LIMITS) for config in CONFIGS.values())
    for name, limits in LIMITS.items():
        reached = [corner[name] for corner in CORNERS.values()]
        assert (min(reached), max(reached)) == limits
    assert [refused(corner) for corner in CORNERS.values()] == [None] * len(CORNERS)
    assert {name: refused(bad) for name, bad in ILLEGAL.items()} == {n: n for n in LIMITS}


@pytest.mark.sims("icarus")
def test_top_and_config_refuse_the_same(sim, tmp_path):
    all_sets = list(sets())
    path = tmp_path / "wrapper.v"
    path.write_text(wrapper(all_sets))
    code, text = command([*SHALLOW, str(path), str(TOP)])
    lines = re.findall(r"error: Unknown module type: (\S+)", text)
    # Instances are elaborated in the order of the wrapper. A legal one lacks every stage.
    got = [found[1] for found in map(MISSING.fullmatch, lines) if found]
    assert code and len(got) == len(all_sets)
    expected = [refused(parameters) for parameters in all_sets]
    wrong = [(parameters, e, g) for parameters, e, g in zip(all_sets, expected, got, strict=True)
             if e != g]
    assert not wrong, f"(parameters, Config refuses, sofa refuses): {wrong[0]}"
    assert set(expected) == {*LIMITS, None} and 300 < expected.count(None) < len(got) - 300


def test_derived_parameters_cannot_be_changed(tmp_path):
    path = tmp_path / "wrapper.v"
    path.write_text(wrapper({**CORNERS["mixed"], name: 99} for name in DERIVED))
    _, text = command([*SHALLOW, str(path), str(TOP)])
    assert len(re.findall(r"illegal_parameter_SC_W_and_those_behind_it_are_derived$", text,
                          re.M)) == len(DERIVED)


def test_verilator_names_the_parameter():
    """The only error is the one of the top, whatever the leaf cells think of the value."""
    for name, bad in ILLEGAL.items():
        code, text = command(["verilator", "--lint-only", "--quiet",
                              *runner.verilator_args("sofa"),
                              *(f"-G{n}={v}" for n, v in bad.items()), str(TOP)])
        assert code and MISSING.search(text.splitlines()[0])[1] == name
        assert len(re.findall(r"^%", text, re.M)) == 1


def test_yosys_names_the_parameter(tmp_path):
    (tmp_path / "wrapper.v").write_text(wrapper(ILLEGAL.values()))
    for path in (TOP, *runner.INCLUDE_DIR.glob("*.vh")):
        shutil.copy(path, tmp_path)
    script = tmp_path / "script.ys"
    script.write_text("read_verilog -defer -I. wrapper.v sofa.v\nhierarchy -top wrapper\n"
                      "tee -o cells stat\n")
    code, text = command(yosys.command(script), tmp_path)
    assert code == 0, text
    assert {m[1] for m in MISSING.finditer((tmp_path / "cells").read_text())} == set(LIMITS)


@pytest.mark.sims("icarus")
@pytest.mark.parametrize("corner", CORNERS)
def test_corner_elaborates(sim, corner):
    cmd = ["iverilog", "-t", "null", *runner.icarus_args("sofa"),
           *(f"-Psofa.{n}={v}" for n, v in CORNERS[corner].items())]
    assert command([*cmd, str(TOP)]) == (0, "")


@pytest.mark.sims("verilator")
@pytest.mark.parametrize("corner", [
    c if c == "minima" else pytest.param(c, marks=pytest.mark.slow) for c in CORNERS])
def test_corner_has_no_warning(sim, corner):
    cmd = ["verilator", "--lint-only", "--quiet", *runner.verilator_args("sofa"),
           *(f"-G{n}={v}" for n, v in CORNERS[corner].items())]
    assert command([*cmd, str(TOP)]) == (0, "")
