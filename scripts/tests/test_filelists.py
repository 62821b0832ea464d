# SPDX-License-Identifier: Apache-2.0
"""File lists: as the Verilog says, each complete by itself; the packages made from them; the block
lifted in examples/sufa_unit and the instance printed in docs/integration.md."""

import importlib.util
import os
import re
import subprocess
import sys

import numpy as np
import pytest

from models import sufa
from models.config import Config
from models.spec.configs import CONFIGS
from scripts import filelists
from scripts.silicon.jobs import INSTEAD
from tb import runner

ROOT = filelists.ROOT
CHIP_ONLY = {f"{name}.v" for name in INSTEAD.values()}
"""What stands in the place of other files in a chip, so in no list."""

LISTS = sorted(p for p in filelists.outputs() if p.suffix == ".f")
PAGE = ROOT / "docs" / "integration.md"


def entries(path):
    """Verilog files that a list names, in its order."""
    return [path.parent / line for line in path.read_text().splitlines()
            if line and not line.startswith(("//", "+"))]


def elaborate(folder, arguments, top):
    """Elaborate ``top`` from exactly the files given, read in ``folder``: (exit code, output)."""
    if runner.have("iverilog"):
        command = ["iverilog", "-g2005", "-t", "null", "-Wall", "-s", top, *arguments]
    else:
        command = ["verilator", "--lint-only", "--quiet", "--timescale", "1ns/1ps", "-Wno-fatal",
                   "--language", "1364-2005", "--top-module", top, *arguments]
    done = subprocess.run(command, cwd=folder, text=True, capture_output=True)
    return done.returncode, done.stdout + done.stderr


def test_written_files_are_those_of_the_verilog():
    for path, text in filelists.outputs().items():
        assert path.read_text() == text, f"{path.name} is stale: run scripts/filelists.py"
    assert sorted((ROOT / "rtl").rglob("*.f")) == LISTS


def test_stale_list_is_told(tmp_path, monkeypatch, capsys):
    stale = tmp_path / "rass.f"
    stale.write_text("sofa_rass.v\n")
    monkeypatch.setattr(filelists, "outputs", lambda: {stale: "sofa_rass.v\nmore.v\n"})
    monkeypatch.setattr(filelists, "relative", lambda p: p.name)
    monkeypatch.setattr(sys, "argv", ["filelists.py", "--check"])
    assert filelists.main() == 1
    told = capsys.readouterr().out
    assert "rass.f differs: run scripts/filelists.py" in told and "+more.v" in told
    assert f"{LISTS[0].name}: no stage has this list" in told
    assert stale.read_text() == "sofa_rass.v\n"


@pytest.mark.parametrize("path", LISTS, ids=lambda p: p.stem)
def test_list_is_complete(path):
    top = "sofa" if path.stem == "sofa" else f"sofa_{path.stem}"
    assert elaborate(path.parent, ["-f", path.name], top) == (0, "")
    assert len(set(entries(path))) == len(entries(path))


def test_every_file_of_the_top_is_needed_by_it():
    files = {p.resolve() for p in entries(ROOT / "rtl" / "sofa.f")}
    assert files == {f for f in (ROOT / "rtl").rglob("*.v") if f.name not in CHIP_ONLY}


@pytest.mark.parametrize("name", ["rass", "sufa"])
def test_list_without_one_of_its_files_is_not(name, tmp_path):
    """No file of a list could be left out."""
    path = ROOT / "rtl" / name / f"{name}.f"
    include = f"+incdir+{runner.INCLUDE_DIR}\n"
    for left_out in entries(path):
        short = tmp_path / "short.f"
        short.write_text(include + "".join(f"{p}\n" for p in entries(path) if p != left_out))
        code, _ = elaborate(tmp_path, ["-f", "short.f"], f"sofa_{name}")
        assert code, left_out


def test_bender_names_every_file_once():
    text = (ROOT / "Bender.yml").read_text()
    files = re.findall(r"^ +- (\S+\.s?v)$", text, re.M)
    assert len(set(files)) == len(files) and all((ROOT / f).is_file() for f in files)
    assert {ROOT / f for f in files if f.endswith(".v")} == {
        f for f in (ROOT / "rtl").rglob("*.v") if f.name not in CHIP_ONLY}


# -- FuseSoC --------------------------------------------------------------------------------------
@pytest.mark.skipif(importlib.util.find_spec("fusesoc") is None,
                    reason="FuseSoC is not installed: scripts/setup.sh fusesoc")
@pytest.mark.parametrize(("target", "tool", "last"), [
    ("lint", "verilator", r"V e r i l a t i o n"), ("sim", "iverilog", r"passed at \d+ ns")])
def test_targets_of_the_core_file(target, tool, last, tmp_path):
    if not runner.have(tool):
        pytest.skip(f"{tool} is not installed")
    command = [sys.executable, "-m", "fusesoc.main", "--config", str(tmp_path / "fusesoc.conf"),
               "--cores-root", str(ROOT), "run", "--target", target,
               "--work-root", str(tmp_path / "work"), "open-sofa:accelerator:sofa"]
    (tmp_path / "fusesoc.conf").write_text("[main]\n")
    done = subprocess.run(command, cwd=tmp_path, text=True, capture_output=True)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said[-3000:]
    assert re.search(last, said) and "%Warning" not in said, said[-3000:]


# -- Block lifted alone ---------------------------------------------------------------------------
EXAMPLE = [str(ROOT / f) for f in filelists.EXAMPLE]


def test_wrapper_of_the_unit_lints():
    command = ["verilator", "--lint-only", "--quiet", "-Wall", "--language", "1800-2017",
               "--top-module", "attention_row", str(runner.WAIVERS), "-F",
               str(ROOT / "rtl/sufa/sufa.f"), EXAMPLE[0]]
    done = subprocess.run(command, text=True, capture_output=True)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def vector(text):
    """int16 elements of a printed vector, element 0 first."""
    return np.frombuffer(bytes.fromhex(text)[::-1], "<i2")


@pytest.mark.skipif(not runner.have("iverilog"), reason="Icarus Verilog is not installed")
def test_unit_alone_against_the_model(tmp_path):
    """What the bench prints is what the model makes of its inputs, bit for bit."""
    build = ["iverilog", "-g2012", "-Wall", "-s", "attention_row_tb", "-o",
             str(tmp_path / "row.vvp"), "-f", "sufa.f", *EXAMPLE]
    done = subprocess.run(build, cwd=ROOT / "rtl" / "sufa", text=True, capture_output=True)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    done = subprocess.run(["vvp", "-n", str(tmp_path / "row.vvp")], text=True, capture_output=True)
    assert done.returncode == 0 and "passed at" in done.stdout, done.stdout + done.stderr

    bench = (ROOT / filelists.EXAMPLE[1]).read_text()
    scales = [int(re.search(rf"{name} = \d+'d(\d+)", bench)[1])
              for name in ("SCALE_M", "SCALE_SHIFT")]
    cfg = Config(ROWS=4, COLS=4, D_MAX=16, BC_MAX=8, BUS_BYTES=8, KEYS_MAX=4096)
    rows, keys = 0, []
    for line in done.stdout.splitlines():
        kind, *values = line.split()
        if kind == "q":
            q, keys = vector(values[0]), []
        elif kind == "key":
            keys.append([vector(v) for v in values])
        elif kind == "o":
            k, v = (np.array(x) for x in zip(*keys, strict=True))
            state = sufa.start(1, len(q))
            sufa.keys(state, q[None], k, v, np.ones((1, len(keys)), bool), *scales, cfg)
            want = sufa.finish(state, np.array([1 << cfg.F_FRAC]), np.zeros(len(q), np.int64), cfg)
            assert (vector(values[0]) == want[0]).all(), line
            rows += 1
    assert rows == 2


# -- docs/integration.md --------------------------------------------------------------------------
def fences(language):
    """Code of the page in ``language``."""
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text(), re.M | re.S)


def test_instance_of_the_page_lints(tmp_path):
    (text,) = fences("verilog")
    module = re.search(r"^module (\w+)", text, re.M)[1]
    path = tmp_path / f"{module}.v"
    path.write_text(text)
    command = ["verilator", "--lint-only", "--quiet", "-Wall", "--language", "1364-2005",
               "--timescale", "1ns/1ps", "--top-module", module, str(runner.WAIVERS),
               "-F", os.path.relpath(ROOT / "rtl" / "sofa.f", tmp_path), str(path)]
    done = subprocess.run(command, cwd=tmp_path, text=True, capture_output=True)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.skipif(not runner.have("iverilog"), reason="Icarus Verilog is not installed")
def test_commands_of_the_page_work():
    """As they stand there; those of FuseSoC run above."""
    commands = [text for text in fences("sh") if "fusesoc" not in text]
    assert len(commands) == 2
    for text in commands:
        done = subprocess.run(["bash", "-e", "-c", text], cwd=ROOT, text=True, capture_output=True)
        assert done.returncode == 0 and "arning" not in done.stdout + done.stderr, text
    ends = re.search(r"^It ends with `(.*?)`", PAGE.read_text(), re.M)[1]
    assert ends in done.stdout.splitlines(), done.stdout


def test_instance_of_the_page_has_every_parameter():
    (text,) = fences("verilog")
    given = {name: int(value) for name, value in re.findall(r"\.([A-Z]\w+) *\((\d+)\)", text)}
    assert given == dict(CONFIGS["small"])
