# SPDX-License-Identifier: Apache-2.0
"""tb.runner: which builds are used again, and what a build or a simulation inherits or leaves."""

import os
import signal
import subprocess
import time

import pytest

from tb import runner

on_icarus = pytest.mark.sims("icarus")
TOP, BENCH = "sofa_popcount", "tb.common.test_popcount"
PARAMETERS = {"WIDTH": 7}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder of builds of its own."""
    monkeypatch.setattr(runner, "SIM_DIR", tmp_path / "sim")
    return tmp_path / "sim"


def built():
    """Folder of an Icarus build of TOP, and the inode of what it made, new for each build."""
    path = runner.build(TOP, PARAMETERS, "icarus")
    product = path / "sim.vvp"
    assert product.read_text().startswith("#!") and "popcount" in product.read_text()
    return path, product.stat().st_ino, product.stat().st_mtime_ns


@on_icarus
def test_a_whole_build_is_used_again(sim, folder):
    assert built() == built()


def half_a_build(path):
    (path / "stamp.json").unlink()
    (path / "sim.vvp").write_text("")


@on_icarus
@pytest.mark.parametrize("spoil", [
    lambda path: (path / "stamp.json").write_text(""),
    lambda path: (path / "stamp.json").write_text('{"fingerprint": 1}'),
    lambda path: (path / "sim.vvp").write_text(""),
    lambda path: (path / "sim.vvp").unlink(),
    half_a_build,
], ids=["empty stamp", "other stamp", "empty product", "no product", "no stamp"])
def test_a_broken_build_is_made_anew(sim, folder, spoil):
    path, *first = built()
    (path / "left").touch()
    spoil(path)
    again, *second = built()
    assert again == path and second != first
    assert not (path / "left").exists()
    assert built() == (path, *second)
    assert not [p for p in path.iterdir() if p.name.startswith(".stamp")]


@pytest.mark.parametrize("simulator", runner.SIMULATORS)
def test_every_tool_is_part_of_the_key(tmp_path, monkeypatch, simulator):
    """Another version of a program, or another program in its place, makes another key."""
    tools = runner.tools.__wrapped__
    known = {tools(simulator)}
    programs = {"verilator": ("verilator", "g++", "make", "ld"), "icarus": ("iverilog", "vvp")}
    for name in programs[simulator]:
        program = tmp_path / name
        program.write_text("#!/bin/sh\necho version 99\n")
        program.chmod(0o755)
        with monkeypatch.context() as patch:
            patch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
            assert tools(simulator) not in known
            known.add(tools(simulator))
        program.unlink()
    for package in ("cocotb", *(["verilator"] if simulator == "verilator" else [])):
        with monkeypatch.context() as patch:
            patch.setattr(runner, "version",
                          lambda name, other=package: "99" if name == other else "1")
            assert tools(simulator) not in known
            known.add(tools(simulator))


@on_icarus
def test_another_tool_makes_another_build(sim, folder, monkeypatch):
    first = built()
    monkeypatch.setattr(runner, "tools", lambda sim: (sim, "another version"))
    assert built() != first


def test_run_time_objects(folder, tmp_path, monkeypatch):
    """The cache of Verilator's objects: made once for each set of tools, checked when used."""
    build = tmp_path / "build"
    build.mkdir()
    (build / "Vtop_classes.mk").write_text(
        "VM_TRACE = 0\nVM_GLOBAL_FAST += \\\n    verilated \\\n    verilated_vpi \\\n")
    made = []

    def command(cmd, cwd, log):
        made.append([a for a in cmd if a.endswith(".o")])
        for name in made[-1]:
            (cwd / name).write_text(f"object {len(made)}")

    def objects():
        runner._use_runtime_cache(build, ["make", "A=1"], False, tmp_path / "log")
        return [(build / n).read_text() for n in ("verilated.o", "verilated_vpi.o")]

    monkeypatch.setattr(runner, "_command", command)
    assert objects() == ["object 1"] * 2 == objects()
    assert made == [["verilated.o", "verilated_vpi.o"]]
    [cached] = (folder / ".runtime").glob("*/verilated.o")
    cached.write_text("")
    assert objects() == ["object 2"] * 2
    (cached.parent / "stamp.json").unlink()
    assert objects() == ["object 3"] * 2
    monkeypatch.setattr(runner, "tools", lambda sim: (sim, "another version"))
    assert objects() == ["object 4"] * 2 == objects()


def test_a_folder_that_cannot_be_written(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(runner, "SIM_DIR", tmp_path / "file" / "sim")
    with pytest.raises(runner.BuildError, match="^cannot write .*/file/sim.*: Not a directory$"):
        runner.build(TOP, PARAMETERS, "icarus")


INHERITED = {
    "COCOTB_TEST_FILTER": "nothing", "COCOTB_RANDOM_SEED": "77", "COCOTB_TEST_MODULES": "os",
    "COCOTB_RESOLVE_X": "ZEROS", "COCOTB_TOPLEVEL": "no", "COCOTB_RESULTS_FILE": "/nowhere",
    "COCOTB_TRUST_INERTIAL_WRITES": "1", "GPI_USERS": "/no.so", "PYGPI_USERS": "no",
    "TESTCASE": "no", "MODULE": "os", "TOPLEVEL": "no", "RANDOM_SEED": "77", "PLUSARGS": "+no",
    "WAVES": "1", "GUI": "1", "SIM_CMD_PREFIX": "false", "COVERAGE": "1", "TB_PARAMETERS": "{}",
    "CXXFLAGS": "-no", "CPPFLAGS": "-no", "LDFLAGS": "-no", "LDLIBS": "-no", "OPT": "-no",
    "USER_CPPFLAGS": "-no", "VM_PREFIX": "no", "OBJCACHE": "false", "MAKEFLAGS": "n",
    "VERILATOR_BIN": "no", "VERILATOR_ROOT": "/no", "IVERILOG_VPI_MODULE_PATH": "/no",
}


@on_icarus
def test_exported_variables_reach_no_simulation(sim, monkeypatch):
    """Each would stop the run below, or change its seed, its tests or its parameters."""
    for name, value in INHERITED.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("COCOTB_LOG_LEVEL", "INFO")
    path = runner.run(TOP, BENCH, PARAMETERS, sim, seed=5)
    left = set(INHERITED) & set(os.environ)
    assert not left and os.environ["COCOTB_LOG_LEVEL"] == "INFO"
    assert runner.RECORDS[-1]["tests"] and not runner.RECORDS[-1]["failed"]
    assert 'name="random_seed" value="5"' in (path / "results.xml").read_text()
    assert not (path / "dump.fst").exists()


def alive(pid):
    """Whether a process runs; a dead one may wait to be collected by process 1."""
    try:
        with open(f"/proc/{pid}/stat") as status:
            return status.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("how", ["terminal", "parent"])
def test_a_simulation_ends_with_what_started_it(tmp_path, monkeypatch, how):
    """Ctrl-C goes to all processes of a terminal; a test that is killed takes its simulation along,
    also one that would rather go on."""
    simulation = tmp_path / "sim"
    simulation.write_text("#!/bin/bash\ntrap : INT TERM\necho $$ >pid\n"
                          "while :; do sleep 0.1; done\n")
    simulation.chmod(0o755)
    made = runner._runner("verilator", 60)
    made.build_dir, made.waves, made.plusargs = tmp_path, False, []
    [command] = made._test_command()
    process = subprocess.Popen(command, cwd=tmp_path, start_new_session=True)
    pid = tmp_path / "pid"
    while not (pid.exists() and pid.read_text()):
        time.sleep(0.02)
    if how == "terminal":
        os.killpg(process.pid, signal.SIGINT)
    else:
        process.kill()
    process.wait(timeout=10)
    number, limit = int(pid.read_text()), time.monotonic() + 10
    while alive(number):
        assert time.monotonic() < limit
        time.sleep(0.02)
