# SPDX-License-Identifier: Apache-2.0
"""The folder as the installed package `sofa`."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from email.parser import BytesParser
from importlib.metadata import version
from pathlib import Path

import pytest

import models
from models.spec import registers as regs

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "models"
FILES = sorted(p for p in FOLDER.rglob("*.py") if "tests" not in p.relative_to(FOLDER).parts)
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
OWN = {"models", "scripts", "tb", "sofa", "conftest"}


def test_imports_are_relative():
    """So that the package works under another name, and without the repository."""
    found = 0
    for path in FILES:
        depth = len(path.relative_to(ROOT).parts) - 1
        for node in ast.walk(ast.parse(path.read_text())):
            where = f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}"
            if isinstance(node, ast.Import):
                assert not {a.name.split(".")[0] for a in node.names} & OWN, where
            elif isinstance(node, ast.ImportFrom):
                assert node.level or node.module.split(".")[0] not in OWN, where
                assert node.level <= depth, where
                found += node.level > 0
    assert found > 400


def test_wings_of_the_laboratory():
    """Each imports only itself and those above it in the list of models/lab/__init__.py."""
    lab = FOLDER / "lab"
    wings = re.findall(r"^(\w+)   +", (lab / "__init__.py").read_text(), re.M)
    assert sorted(wings) == sorted(p.name for p in lab.iterdir() if (p / "__init__.py").is_file())
    found = 0
    for path in lab.glob("*/*.py"):
        above = wings[: wings.index(path.parent.name) + 1]
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.level == 2:
                names = [node.module.split(".")[0]] if node.module else [a.name for a in node.names]
                assert {*names} <= {*above}, f"{path.relative_to(ROOT)}:{node.lineno}"
                found += 1
    assert found > 80


def test_names():
    assert models.__version__ == f"{regs.VERSION_VALUE >> 16}.{regs.VERSION_VALUE & 0xFFFF}.0"
    with pytest.raises(AttributeError, match="module 'models' has no attribute 'nothing'"):
        _ = models.nothing


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The package as pip makes it."""
    pinned = PROJECT["build-system"]["requires"]
    assert pinned == [f"setuptools=={version('setuptools')}"]
    copy, out = (tmp_path_factory.mktemp(name) for name in ("source", "wheel"))
    for name in ("models", "rtl"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    (copy / "scripts").mkdir()
    for path in [ROOT / "pyproject.toml", *(ROOT / "scripts").glob("requirements-*.txt")]:
        shutil.copy(path, copy / path.relative_to(ROOT))
    done = subprocess.run(
        [sys.executable, "-c", "import sys; from setuptools import build_meta as b; "
                               "b.build_wheel(sys.argv[1])", str(out)],
        cwd=copy, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert not done.returncode, done.stdout
    [path] = out.glob("*.whl")
    return path


def test_wheel_is_complete(wheel):
    """Every module, the Verilog, the data; no tests."""
    want = {f"sofa/{p.relative_to(FOLDER)}" for p in FILES}
    want |= {f"sofa/{p.relative_to(FOLDER)}" for p in (FOLDER / "data").rglob("*")
             if p.is_file() and p.suffix != ".md"} | {"sofa/driver/machine.cpp"}
    want |= {f"sofa/{p.relative_to(ROOT)}" for p in (ROOT / "rtl").rglob("*") if p.is_file()}
    with zipfile.ZipFile(wheel) as archive:
        names = {n for n in archive.namelist() if ".dist-info/" not in n}
        [metadata] = (n for n in archive.namelist() if n.endswith("/METADATA"))
        about = BytesParser().parsebytes(archive.read(metadata))
    assert names == want and len(names) > 150
    torch = [line for line in about.get_all("Requires-Dist") if "extra == \"torch\"" in line]
    pins = [line for name in ("lab", "torch")
            for line in (ROOT / f"scripts/requirements-{name}.txt").read_text().splitlines()
            if not line.startswith("#")]
    assert sorted(line.split(";")[0].strip() for line in torch) == sorted(pins)
    assert about["Version"] == models.__version__


PROGRAM = """
import numpy, sofa
from sofa.driver import compiled
from sofa.lab.methods.sofa import Sofa

assert compiled.rtl().parts[-2:] == ("sofa", "rtl")
assert sofa.folders.cache("x").parts[-3:] == (".cache", "sofa", "x")
acc = sofa.Accelerator(sofa.ModelTransport(sofa.Config.from_name("tiny")))
q, k, v = numpy.random.default_rng(1).normal(size=(3, 1, 9, 8))
done = acc.attention(q, k, v, causal=True)
numbers, job = sofa.plan.plan(q, k, v, acc.cfg, causal=True)
want = sofa.head.run_job(numbers.q, numbers.k, numbers.v, numbers.k8, numbers.means, job, acc.cfg)
assert (done.out == want.out * numbers.out_scale).all() and done.counters["SELECTED"] > 8
assert len(sofa.workloads.list_cases()) == 12
print(sofa.__file__, Sofa().machine().name)
"""


def test_installed(wheel, tmp_path):
    """The installed package by itself, far from the repository."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    environment = {n: v for n, v in os.environ.items() if n not in ("PYTHONPATH", "XDG_CACHE_HOME")}
    done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=tmp_path, text=True,
                          env={**environment, "PYTHONPATH": str(tmp_path / "site")},
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert done.stdout.split() == [str(tmp_path / "site/sofa/__init__.py"), "paper"], done.stdout
