# SPDX-License-Identifier: Apache-2.0
"""The compiled machine beside its jobs, which tb/driver/test_driver.py runs."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from models.config import Config, ConfigError
from models.driver import (
    Accelerator,
    AcceleratorTimeout,
    CompiledTransport,
    TransportError,
    compiled,
)
from models.plan import plan
from models.spec import registers as regs

CFG = Config.from_name("tiny")


def test_parameters():
    given = compiled.parameters(CFG)
    assert Config.from_parameters(given, "tiny") == CFG
    assert "GUARD" not in given and given["STORE_BEATS"] == 32
    for name, value in (("Z_FRAC", 9), ("VC_W", 5)):
        with pytest.raises(ConfigError, match=f"{name} = {value}, legal in the Verilog: "):
            compiled.parameters(CFG.replace(**{name: value}))
    with pytest.raises(ConfigError, match="PLACES = 0, legal in the Verilog"):
        compiled.parameters(CFG.replace(PLACES=0))


def test_arguments():
    for name, value in (("read_latency", 0), ("write_latency", -1), ("memory_bytes", 12),
                        ("memory_bytes", 0)):
        with pytest.raises(ConfigError, match=f"{name} = {value}, legal: "):
            CompiledTransport(CFG, **{name: value})


def program(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def test_missing_programs(tmp_path, monkeypatch):
    with pytest.raises(TransportError, match="no program no-such: install Verilator 5 "):
        compiled.compile_machine(CFG, "no-such", tmp_path)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bin" / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(TransportError, match="no program verilator: install Verilator 5"):
        compiled.compile_machine(CFG, cache=tmp_path)
    verilator = program(tmp_path, "verilator", "exit 0")
    with pytest.raises(TransportError, match=r"no program g\+\+: .*apt-get install g\+\+"):
        compiled.compile_machine(CFG, cache=tmp_path)
    program(tmp_path, "g++", "exit 0")
    with pytest.raises(TransportError, match="no program make: "):
        compiled.compile_machine(CFG, cache=tmp_path)
    program(tmp_path, "make", "echo it is full; exit 3")
    with pytest.raises(TransportError, match="make failed:\nit is full"):
        compiled.compile_machine(CFG, cache=tmp_path / "a")
    program(tmp_path, verilator.name, "[ $1 = --version ] || { echo no such thing; exit 1; }")
    with pytest.raises(TransportError, match="verilator failed:\nno such thing"):
        compiled.compile_machine(CFG, cache=tmp_path / "b")
    assert not [p for p in (tmp_path / "a").iterdir() if p.suffix != ".lock"]


def test_what_a_library_depends_on(tmp_path, monkeypatch):
    """Verilog, wrapper, parameters and tools; nothing that the caller has exported."""
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bin" / "python"))
    monkeypatch.setenv("PATH", os.pathsep.join([str(tmp_path), "/usr/bin", "/bin"]))
    calls = tmp_path / "calls"
    program(tmp_path, "verilator", f'[ $1 = --version ] && echo 5 || {{ echo $MAKEFLAGS$CXXFLAGS>>'
                                   f'{calls}; while [ $1 != -Mdir ]; do shift; done; '
                                   f'touch $2/machine.so; }}')
    for name in ("g++", "make"):
        program(tmp_path, name, "echo 1")
    folder = tmp_path / "rtl"
    shutil.copytree(compiled.rtl(), folder)
    monkeypatch.setattr(compiled, "rtl", lambda: folder)
    monkeypatch.setenv("CXXFLAGS", "-O0")

    def made(cfg=CFG):
        return compiled.compile_machine(cfg, cache=tmp_path / "cache")

    first = made()
    assert first.is_file() and made() == first and calls.read_text() == "\n"
    assert made(CFG.replace(FIFO=9)) != first
    file = folder / "csr" / "sofa_csr.v"
    file.write_text(file.read_text() + "\n")
    second = made()
    assert second != first
    program(tmp_path, "g++", "echo 2")
    assert made() != second and len(calls.read_text()) == 4


def test_machines_are_independent(capfd):
    """Two machines at once, each with its memory; a library that is there is not compiled again."""
    rng = np.random.default_rng(1)
    made = [plan(*rng.normal(size=(3, 1, 20, 8)), CFG, causal=causal) for causal in (False, True)]
    machines = [Accelerator(CompiledTransport(CFG, memory_bytes=1 << 16)) for _ in made]
    capfd.readouterr()
    Accelerator(CompiledTransport(CFG, memory_bytes=1 << 16))
    assert "compiling" not in capfd.readouterr().err
    placed = [acc.describe(*one) for acc, one in zip(machines, made, strict=True)]
    for acc, one in zip(machines, placed, strict=True):
        acc.start(one)
    done = [acc.finish(one) for acc, one in zip(machines, placed, strict=True)]
    for (numbers, job), got in zip(made, done, strict=True):
        alone = Accelerator(CompiledTransport(CFG, memory_bytes=1 << 16)).run(numbers, job)
        assert np.array_equal(got.out, alone.out) and got.counters == alone.counters
    assert done[0].counters["SELECTED"] != done[1].counters["SELECTED"]


def test_time_out_and_reset():
    acc = Accelerator(CompiledTransport(CFG, memory_bytes=1 << 16, read_latency=2000))
    made = plan(*np.random.default_rng(1).normal(size=(3, 1, 20, 8)), CFG)
    one = acc.describe(*made)
    acc.start(one)
    before = acc.transport.cycles
    text = (r"no interrupt within 500 cycles; cycle \d+, memory owes [1-9]\d* reads, 0 writes; "
            r"STATUS 0x1; .*CYCLES 5")
    with pytest.raises(AcceleratorTimeout, match=text):
        acc.wait(500)
    assert 500 <= acc.transport.cycles - before < 1000
    # A running machine refuses what would change its job.
    with pytest.raises(TransportError, match=f"register {regs.OFFSETS['KEYS']:#x}: SLVERR"):
        acc.write("KEYS", 1)
    again = Accelerator(acc.transport)
    done = again.run(*made)
    assert done.counters["CYCLES"] > 4000 and "run_layer" in dir(again)
