# SPDX-License-Identifier: Apache-2.0
"""pytest options, fixtures and the result table.

Options:   --sim verilator|icarus|both   --config tiny,small|all   --seed K   --seeds N
           --waves   --slow   --gates   --coverage   --timeline   --replace FILE   --plusarg TEXT
Fixtures:  sim (name), config (models.spec.configs.Config), seed (int)
Markers:   configs("tiny", ...)  the configurations a test can run on
           sims("verilator")     the simulators a test can run on
           slow                  left out unless --slow is given
           slow_on("icarus", "small")   slow on this simulator only, at these configurations or,
           without their names, at all
"""

import inspect
import os
from pathlib import Path

import pytest

from models.spec.configs import CONFIGS
from scripts import entry
from tb import runner

# What is interrupted while the processes of a run end, pytest does not catch.
entry.install("pytest")

# Parallel test processes would fight over the cores with BLAS threads of their own.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

RESULTS = pytest.StashKey()
LEFT_OUT = pytest.StashKey()
# The hook which receives reports gets no config argument.
_CONFIG = []
RERUN = "make waves TEST='{nodeid}' SEED={seed}"


def _number(option, least):
    """Return the conversion of an option's text to an int from ``least`` on."""
    def convert(text):
        if not text.isdecimal() or int(text) < least:
            raise pytest.UsageError(f"{option} is {text!r}, legal: a whole number from {least} on")
        return int(text)
    return convert


def pytest_addoption(parser):
    """Add the options named at the head of this file."""
    group = parser.getgroup("hardware")
    group.addoption("--sim", default="both", help="verilator, icarus or both")
    group.addoption("--config", dest="hw_config", default="tiny",
                    help="comma-separated configurations of models/spec/configs.py, or all")
    group.addoption("--seed", type=_number("--seed", 0), default=1, help="first (or only) seed")
    group.addoption("--seeds", type=_number("--seeds", 1), default=1,
                    help="number of consecutive seeds")
    group.addoption("--waves", action="store_true", help="record waves")
    group.addoption("--gates", action="store_true",
                    help="netlists of synthesis in place of the RTL")
    group.addoption("--coverage", action="store_true",
                    help="runs with Verilator leave coverage.dat in their folders")
    group.addoption("--timeline", action="store_true",
                    help="runs with Verilator leave a trace and a picture of what every stage did")
    group.addoption("--replace", action="append", default=[], metavar="FILE",
                    help="a Verilog file in place of the module of its name")
    group.addoption("--plusarg", action="append", default=[], metavar="TEXT",
                    help="an argument of the simulator")
    group.addoption("--slow", action="store_true", help="include tests marked slow")


def pytest_configure(config):
    """Register the markers and tell the runner its defaults."""
    config.addinivalue_line("markers", "configs(*names): configurations a test can run on")
    config.addinivalue_line("markers", "sims(*names): simulators a test can run on")
    config.addinivalue_line("markers", "slow: left out unless --slow is given")
    config.addinivalue_line("markers", "slow_on(sim, *names): slow on a simulator, at these "
                                       "configurations or at all")
    runner.DEFAULTS.seed = config.getoption("seed")
    runner.DEFAULTS.waves = config.getoption("waves")
    runner.DEFAULTS.gates = config.getoption("gates")
    runner.DEFAULTS.coverage = config.getoption("coverage")
    runner.DEFAULTS.timeline = config.getoption("timeline")
    runner.DEFAULTS.replace = tuple(Path(f).resolve() for f in config.getoption("replace"))
    runner.DEFAULTS.plusargs = tuple(config.getoption("plusarg"))
    runner.DEFAULTS.most_failures = config.getoption("maxfail") or 0
    if config.getoption("sim") not in (*runner.SIMULATORS, "both"):
        raise pytest.UsageError(f"--sim is {config.getoption('sim')!r}, legal: "
                                f"{', '.join(runner.SIMULATORS)} or both")
    names = _asked_configs(config)
    if not names or not set(names) <= set(CONFIGS):
        raise pytest.UsageError(f"--config is {config.getoption('hw_config')!r}, legal: all, or "
                                f"some of {', '.join(CONFIGS)} with commas between them")
    if not __debug__:
        raise pytest.UsageError("python -O and PYTHONOPTIMIZE leave out the assertions, which are "
                                "the tests")
    config.stash[RESULTS] = []
    config.stash[LEFT_OUT] = {}


def _asked_configs(config):
    """Return the names given to --config."""
    text = config.getoption("hw_config")
    if text == "all":
        return list(CONFIGS)
    return list(dict.fromkeys(n.strip() for n in text.split(",") if n.strip()))


def _allowed(metafunc, marker):
    """Return the names given to ``marker`` on this test, or None without such a marker."""
    found = metafunc.definition.get_closest_marker(marker)
    return found.args if found else None


def pytest_generate_tests(metafunc):
    """Run each test on every simulator, configuration and seed it allows."""
    config = metafunc.config
    if "sim" in metafunc.fixturenames:
        asked = config.getoption("sim")
        sims = runner.SIMULATORS if asked == "both" else (asked,)
        allowed = _allowed(metafunc, "sims")
        sims = [s for s in sims if not allowed or s in allowed]
        metafunc.parametrize("sim", sims or [None], ids=None if sims else ["none"])
    if "config" in metafunc.fixturenames:
        allowed = _allowed(metafunc, "configs")
        names = [n for n in _asked_configs(config) if not allowed or n in allowed]
        metafunc.parametrize("config", [CONFIGS[n] for n in names] or [None],
                             ids=names or ["none"])
    if "seed" in metafunc.fixturenames:
        first = config.getoption("seed")
        seeds = range(first, first + config.getoption("seeds"))
        metafunc.parametrize("seed", seeds, ids=[f"s{s}" for s in seeds])


def pytest_pycollect_makeitem(collector, name, obj):
    """Leave cocotb's tests, which live in the same files, to the simulation."""
    if inspect.iscoroutinefunction(obj) or type(obj).__module__.startswith("cocotb"):
        return []
    return None


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(session, config, items):
    """Deselect what was not asked for or cannot run here; what is left out is counted. Refuse a
    choice which leaves nothing."""
    keep, drop = [], []
    missing = {
        "icarus": not (runner.have("iverilog") and runner.have("vvp")),
        "verilator": not (runner.have("verilator") and runner.have("g++")),
    }
    left_out = config.stash[LEFT_OUT]
    for item in items:
        params = item.callspec.params if hasattr(item, "callspec") else {}
        # None stands for a test which runs on nothing of what was asked for.
        if None in (params.get("sim", ""), params.get("config", "")):
            drop.append(item)
            continue
        if missing.get(params.get("sim")):
            left_out[params["sim"]] = left_out.get(params["sim"], 0) + 1
            drop.append(item)
        elif _is_slow(item, params) and not config.getoption("slow"):
            left_out["slow"] = left_out.get("slow", 0) + 1
            drop.append(item)
        else:
            keep.append(item)
    if drop:
        config.hook.pytest_deselected(items=drop)
    items[:] = sorted(keep, key=_shortness)
    # The workers all leave out the same; the process which started them tells.
    if not items and not session.testsfailed and not hasattr(config, "workerinput"):
        chosen = [f"{name} {config.getoption(key)!r}" for name, key in (
            ("-k", "keyword"), ("-m", "markexpr"), ("--sim", "sim"), ("--config", "hw_config"))
            if config.getoption(key)]
        raise pytest.UsageError(f"no test is left of {', '.join(chosen)}"
                                + ("" if config.getoption("slow") else " without --slow"))


def _is_slow(item, params):
    """Whether a test belongs to `make regress` only."""
    if item.get_closest_marker("slow"):
        return True
    name = getattr(params.get("config"), "name", "")
    return any(params.get("sim") == sim and (not names or name in names)
               for sim, *names in (m.args for m in item.iter_markers("slow_on")))


def _shortness(item):
    """Sort key: the longest tests first, so that parallel processes end together. The whole core,
    on paper, on Icarus."""
    params = item.callspec.params if hasattr(item, "callspec") else {}
    return ("tb/system" not in item.nodeid,
            getattr(params.get("config"), "name", "") != "paper", params.get("sim") != "icarus")


@pytest.fixture(autouse=True)
def _simulation_records(request):
    """Hand the simulations of this test to the report (also across xdist processes)."""
    runner.RECORDS.clear()
    yield
    request.node.user_properties.append(("simulations", [dict(r) for r in runner.RECORDS]))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Put configuration, simulator and seed of the test into its reports."""
    outcome = yield
    report = outcome.get_result()
    if call.when == "setup":
        params = item.callspec.params if hasattr(item, "callspec") else {}
        report.hw = {"config": getattr(params.get("config"), "name", ""),
                     "sim": params.get("sim", ""),
                     "seed": params.get("seed", item.config.getoption("seed"))}
        item.stash[RESULTS] = report.hw
    else:
        report.hw = item.stash[RESULTS]


def pytest_runtest_logreport(report):
    """Collect the reports of all processes."""
    if _CONFIG and hasattr(report, "hw"):
        _CONFIG[0].stash[RESULTS].append(report)


def pytest_sessionstart(session):
    """Start with no reports."""
    _CONFIG[:] = [session.config]
    session.config.stash[RESULTS] = []


def _rows(reports):
    """Return {nodeid: what the table shows}, merged from the phases of each test."""
    tests = {}
    for report in reports:
        entry = tests.setdefault(report.nodeid, {"hw": report.hw, "s": 0.0, "verdict": "passed",
                                                 "simulations": []})
        entry["s"] += report.duration
        if report.failed:
            entry["verdict"] = "FAILED"
        elif report.skipped:
            entry["verdict"] = "skipped"
        for key, value in report.user_properties:
            if key == "simulations":
                entry["simulations"] = value
    return tests


def pytest_terminal_summary(terminalreporter, config):
    """Print the result table, the rerun commands and what was left out."""
    if hasattr(config, "workerinput"):
        return
    write = terminalreporter.write_line
    tests = _rows(config.stash[RESULTS])
    if any(t["simulations"] or t["hw"].get("sim") for t in tests.values()):
        terminalreporter.section("simulations")
        rows = [("test", "config", "sim", "seed", "verdict", "cycles", "wall s")]
        for nodeid, t in sorted(tests.items()):
            if not (t["simulations"] or t["hw"].get("sim")):
                continue
            name = nodeid.replace("tb/", "", 1)
            cycles = sum(s["cycles"] for s in t["simulations"])
            seeds = sorted({s["seed"] for s in t["simulations"]}) or [t["hw"]["seed"]]
            sims = sorted({s["sim"] for s in t["simulations"]}) or [t["hw"]["sim"]]
            rows.append((name, t["hw"]["config"] or "-", "+".join(sims),
                         ",".join(map(str, seeds)), t["verdict"], str(cycles), f"{t['s']:.1f}"))
        widths = [max(len(r[i]) for r in rows) for i in range(7)]
        for row in rows:
            cells = [c.rjust(w) if i > 4 else c.ljust(w)
                     for i, (c, w) in enumerate(zip(row, widths, strict=True))]
            write("  ".join(cells), red=row[4] == "FAILED")
    failed = [(n, t) for n, t in sorted(tests.items())
              if t["verdict"] == "FAILED" and (t["simulations"] or t["hw"].get("sim"))]
    if failed:
        terminalreporter.section("rerun one failure with waves")
        for nodeid, t in failed:
            seeds = [s["seed"] for s in t["simulations"]] or [t["hw"]["seed"]]
            write(RERUN.format(nodeid=nodeid, seed=seeds[-1]))
    left_out = _left_out(config)
    for sim in runner.SIMULATORS:
        if left_out.get(sim):
            write(f"{sim} is not installed: {left_out[sim]} tests on it did NOT run.", yellow=True)
    if left_out.get("slow"):
        write(f"{left_out['slow']} slow tests were left out (make regress, or --slow).")


def _left_out(config):
    """Counts of deselected tests: collected here, or by the first xdist worker."""
    return config.stash[LEFT_OUT] or _WORKER_LEFT_OUT


_WORKER_LEFT_OUT = {}


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node, error):
    """Take over what an xdist worker left out; all workers collect the same."""
    _WORKER_LEFT_OUT.update(getattr(node, "workeroutput", {}).get("left_out", {}))


def pytest_sessionfinish(session, exitstatus):
    """Hand what was left out to the process which prints the summary."""
    if hasattr(session.config, "workerinput"):
        session.config.workeroutput["left_out"] = dict(session.config.stash[LEFT_OUT])
