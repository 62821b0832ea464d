# SPDX-License-Identifier: Apache-2.0
"""The Makefile: what it takes from its caller, and what its targets end with. A program that notes
its arguments and environment stands in for Python, so nothing is tested, linted or measured."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PYTHON = """#!{python} -IS
import json, os, sys, time
arguments = sys.argv[1:]
with open("calls", "a") as calls:
    calls.write(json.dumps([arguments, dict(os.environ)]) + "\\n")
fails = os.environ.get("FAILS")
if fails == "sleep":
    time.sleep(60)
sys.exit(3 if fails in arguments else 0)
"""
WHOLE = ["--sim", "both", "--config", "all", "--seed", "1", "--seeds", "1"]


@pytest.fixture
def make(tmp_path):
    """A function that runs make in a copy of the Makefile, with the environment given by name, and
    returns (exit code, output lines, calls of Python as (arguments, environment))."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    for name, text in (("scripts/setup.sh", "#!/bin/sh\n"),
                       (".venv/bin/python", PYTHON.format(python=sys.executable))):
        path = tmp_path / name
        path.parent.mkdir(parents=True)
        path.write_text(text)
        path.chmod(0o755)

    def run(*arguments, **environment):
        calls = tmp_path / "calls"
        calls.unlink(missing_ok=True)
        done = subprocess.run(["make", *arguments], cwd=tmp_path, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              env={"PATH": os.environ["PATH"], **environment})
        texts = calls.read_text().splitlines() if calls.exists() else []
        return done.returncode, done.stdout.splitlines(), [json.loads(t) for t in texts]

    return run


EXPORTED = {
    "SIM": "icarus", "CONFIG": "tiny", "SEED": "7", "SEEDS": "3",
    "JOBS": "9", "FILTER": "nothing", "GRID": "quick", "TRIALS": "1", "TEST": "none",
    "PYTEST_ADDOPTS": "-x", "PYTEST_PLUGINS": "none", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    "PYTHONPATH": "/nowhere", "PYTHONHOME": "/nowhere", "PYTHONOPTIMIZE": "1", "PYTHONUTF8": "0",
    "NUMBA_DISABLE_JIT": "1", "CDPATH": "/", "BASH_ENV": "/dev/null", "SHELLOPTS": "noclobber",
}


@pytest.mark.parametrize("flags", ["", "-j8"])
def test_exported_variables_count_for_nothing(make, flags):
    code, lines, calls = make("test", **EXPORTED, MAKEFLAGS=flags)
    assert code == 0 and lines[-1] == "make test: PASSED"
    lint, tests = (arguments for arguments, _ in calls)
    assert lint == ["scripts/lint.py"]
    assert tests == ["-m", "pytest", "-n", "2", "--maxschedchunk", "1", *WHOLE,
                     "--junitxml=build/results/test.xml"]
    for _, environment in calls:
        kept = {n for n, value in EXPORTED.items() if environment.get(n) == value}
        assert not kept
    assert make("regress", **EXPORTED)[2][-1][0] == [
        "-m", "pytest", "-n", "2", "--maxschedchunk", "1", "--slow", *WHOLE,
        "--junitxml=build/results/regress.xml"]
    assert make("dse", **EXPORTED)[2][0][0] == ["scripts/dse.py", "--trials", "200",
                                                "--workers", "2"]
    assert make("report", **EXPORTED)[2][0][0] == ["scripts/report.py", "--grid", "default"]


def test_the_command_line_narrows_and_the_last_line_says_so(make):
    odd = """it's "x" and not y"""
    code, lines, calls = make("test", "SIM=icarus", f"FILTER={odd}", "CONFIG=tiny", SIM="verilator")
    assert code == 0
    assert lines[-1] == f"make test: PASSED, narrowed to SIM=icarus CONFIG=tiny FILTER='{odd}'"
    narrow = ["--sim", "icarus", "--config", "tiny", "--seed", "1", "--seeds", "1", "-k", odd]
    # The choice is tried before anything else starts.
    assert [arguments for arguments, _ in calls] == [
        ["-m", "pytest", *narrow, "--collect-only", "-qq"], ["scripts/lint.py"],
        ["-m", "pytest", "-n", "2", "--maxschedchunk", "1", *narrow,
         "--junitxml=build/results/test.xml"]]
    assert make("test", "SIM=both", "SEED=5")[1][-1] == "make test: PASSED"


def test_a_wrong_choice_starts_nothing(make):
    for target in ("test", "regress"):
        code, _, calls = make(target, "FILTER=x", FAILS="--collect-only")
        assert code and len(calls) == 1
        for jobs in ("0", "-1", "two", ""):
            code, lines, calls = make(target, f"JOBS={jobs}")
            assert code and not calls
            assert lines[0] == f"JOBS is '{jobs}', legal: a number of processes, 1 or more"


def test_the_exit_code_is_the_verdict(make):
    for what in ("scripts/lint.py", "pytest"):
        code, lines, calls = make("test", FAILS=what)
        assert code and len(calls) == 2
        assert "make test: FAILED" in lines and "make test: PASSED" not in lines
    for flags in ("i", "e"):
        code, lines, calls = make("test", MAKEFLAGS=flags, FAILS="pytest")
        assert code and not calls and "make -i ignores the exit codes" in lines[0]


def test_python_of_the_caller_reaches_set_up_only(make, tmp_path):
    (tmp_path / "scripts" / "setup.sh").write_text('#!/bin/sh\necho "set up with $PYTHON"\n')
    for arguments, environment in ((["PYTHON=/a/python3"], {}), ([], {"PYTHON": "/a/python3"})):
        code, lines, calls = make("lint", *arguments, **environment)
        assert (code, lines) == (0, ["set up with /a/python3"])
        assert calls[0][0] == ["scripts/lint.py"]


def test_interrupt(make, tmp_path):
    environment = {"PATH": os.environ["PATH"], "FAILS": "sleep"}
    process = subprocess.Popen(["make", "test"], cwd=tmp_path, text=True, env=environment,
                               stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                               start_new_session=True)
    calls = tmp_path / "calls"
    while not (calls.exists() and calls.read_text()):
        assert process.poll() is None
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)
    assert process.communicate(timeout=20)[0].splitlines() == ["make test: interrupted"]
    # GNU make 4.3 sometimes loses its own signal and exits with 2.
    assert process.returncode in (-signal.SIGINT, 2)
    assert len(calls.read_text().splitlines()) == 1
