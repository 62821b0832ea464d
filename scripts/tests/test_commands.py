# SPDX-License-Identifier: Apache-2.0
"""Command lines: wrong options, Ctrl-C and full disks end in one sentence; commands that documents,
docstrings and messages tell work as pasted."""

import os
import re
import signal
import subprocess
import sys
import time
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FEW = "tb/common/test_popcount.py"


@pytest.mark.parametrize(("arguments", "sentence"), [
    (["--sim", "questa"], "--sim is 'questa', legal: verilator, icarus or both"),
    (["--config", "tiny,huge"], "--config is 'tiny,huge', legal: all, or some of tiny, small, "
                                "paper, lean with commas between them"),
    (["--config", ""], "--config is '', legal: all, or some of tiny, small, paper, lean with "
                       "commas between them"),
    (["--seed", "-1"], "--seed is '-1', legal: a whole number from 0 on"),
    (["--seeds", "0"], "--seeds is '0', legal: a whole number from 1 on"),
    (["--sim", "icarus", "-k", "verilator"], "no test is left of -k 'verilator', --sim 'icarus', "
                                             "--config 'tiny' without --slow"),
    (["-k", "it's"], "Wrong expression passed to '-k': it's: at column 3: closing quote \"'\" is "
                     "missing"),
    ([f"{FEW}::test_nothing"], f"not found: {ROOT / FEW}::test_nothing"),
])
def test_wrong_options_of_pytest(arguments, sentence):
    files = [] if arguments[0].startswith(FEW) else [FEW]
    command = [sys.executable, "-m", "pytest", *files, "--collect-only", "-qq", *arguments]
    done = subprocess.run(command, cwd=ROOT, text=True, capture_output=True)
    assert done.returncode == 4
    assert done.stderr.splitlines()[0] == f"ERROR: {sentence}"
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("fault", "sentence", "code"), [
    ("raise KeyboardInterrupt", "\ntool: interrupted\n", -signal.SIGINT),
    ("raise PermissionError(13, 'Permission denied', 'build/x')",
     "tool: build/x: Permission denied\n", 1),
    ("open('/dev/full', 'w').write('x' * 9999)", "tool: cannot write: No space left on device\n",
     1),
])
def test_ends_of_commands(fault, sentence, code):
    program = f"from scripts import entry\nentry.install('tool')\n{fault}"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, text=True,
                          capture_output=True)
    assert (done.stderr, done.returncode) == (sentence, code)


def test_every_command_line_installs_them():
    """Before it imports anything that takes long."""
    for path in sorted((ROOT / "scripts").glob("*.py")):
        text = path.read_text()
        if "sys.path.insert" in text and path.name != "regmap.py":
            before = text[: text.index("entry.install()")]
            assert not re.search(r"^(import|from) (numpy|tqdm|models|tb)", before, re.M), path


def children(pid):
    """Processes that a process has started."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if fields[1] == str(pid):
            found.append(path.parent.name)
    return found


def test_lint_stops_with_its_programs():
    process = subprocess.Popen([sys.executable, "scripts/lint.py", "sofa_popcount"], cwd=ROOT,
                               text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               start_new_session=True)
    while not children(process.pid):
        assert process.poll() is None
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (out, err, process.returncode) == ("", "\nlint.py: interrupted\n", -signal.SIGINT)


TEXTS = sorted({p for pattern in ("*.md", "*.py", "*/**/*.md", "*/**/*.py", "*/**/*.sh", "Makefile")
                for p in ROOT.glob(pattern)
                if not {".venv", "build"} & set(p.relative_to(ROOT).parts)})
# Commands stand in code spans, in indented lines, or are joined to what Python prints.
BARE = re.compile(r"(?<![\w./-])(python3? (-m|-c|scripts/)|pip install -r|pytest tb/)")


def test_documents_tell_commands_that_work():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    seen = 0
    for path in TEXTS:
        if path == Path(__file__):
            continue
        for number, line in enumerate(path.read_text().splitlines(), 1):
            where = f"{path.relative_to(ROOT)}:{number}: {line}"
            assert not BARE.search(line), where
            for script in re.findall(r"\.venv/bin/python (scripts/\S+?\.py)", line):
                seen += 1
                assert (ROOT / script).is_file(), where
            for module in re.findall(r"\.venv/bin/python -m (models[\w.]*\w)", line):
                seen += 1
                file = ROOT.joinpath(*module.split("."))
                assert file.with_suffix(".py").is_file() or (file / "__main__.py").is_file(), where
            for target in re.findall(r"`make ([a-z-]+)[^`]*`", line):
                seen += 1
                assert target in targets, where
            for extras in re.findall(r"scripts/setup\.sh((?: [a-z]+)+)(?=[`;\".)]|$)", line):
                seen += 1
                known = {e for e in extras.split()
                         if (ROOT / f"scripts/requirements-{e}.txt").is_file()}
                assert extras.split()[0] in known, where
    assert seen > 60


def test_no_script_stands_in_the_way_of_a_package():
    """Python looks for packages beside a script first; numba, for one, asks for coverage."""
    names = {path.stem for path in (ROOT / "scripts").glob("*.py")} - {"__init__"}
    wanted = {"coverage", *sys.stdlib_module_names, *packages_distributions()}
    assert not names & wanted
