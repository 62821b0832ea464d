# SPDX-License-Identifier: Apache-2.0
"""Tests on a design with a changed module: which tests there are, and how one of them ends.

A trial is one pytest test in a fork of this process, which has read tests and models once, so that
hundreds of trials cost little more than their simulations. Tests run on Verilator at ``tiny``.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import math
import multiprocessing
import multiprocessing.connection
import os
import resource
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from scripts.filelists import sources
from tb import runner

CONFIG = "tiny"
ARGUMENTS = ["-q", "-x", "--sim", "verilator", "--config", CONFIG]
SLOWER = 5
"""A simulation with a fault may use so many times the processor time of the one without, and
SPARE_S seconds; what uses more hangs."""

SPARE_S = 4
COMPILER_S = 150
"""Processor seconds of a compiler, for trials that build."""

BUILD_S = 900
"""Most wall-clock seconds of a test with its build."""

SYSTEM = "tb/system"
# Builds of their own for one test each, which cost more than they find.
LEFT_OUT = ("test_largest_vectors", "test_most_keys", "test_other_parameters", "test_corner",
            "test_largest_layers")


class TrialError(RuntimeError):
    """A test that did not run as it should: it cannot be told what it finds."""


@dataclass(frozen=True)
class Outcome:
    """How a trial ended: ``failed``; ``message``: first line of the failure; ``simulations``: how
    many ran, ``sim_s``: their wall-clock seconds; ``cpu_s``: processor seconds of everything."""

    failed: bool
    message: str
    simulations: int
    sim_s: float
    cpu_s: float


class _Notes:
    """A pytest plugin that notes what the table of conftest.py is made from."""

    def __init__(self):
        self.simulations, self.message = [], ""

    def pytest_runtest_logreport(self, report):
        for key, value in report.user_properties:
            if key == "simulations" and report.when == "teardown":
                self.simulations += value
        if report.failed:
            crash = getattr(report.longrepr, "reprcrash", None)
            self.message = str(crash.message if crash else report.longrepr).split("\n")[0][:300]


class _Probe:
    """A pytest plugin under which a test ends where it would build: ``tops`` tells the top level
    of each test, ``size`` the product of its parameters, ``slow`` those that `make test` leaves
    out."""

    def __init__(self):
        self.tops: dict[str, str] = {}
        self.size: dict[str, int] = {}
        self.slow: set[str] = set()
        self.test = ""

    def pytest_runtest_setup(self, item):
        self.test = item.nodeid
        if item.get_closest_marker("slow") or any(
                sim == "verilator" and (not names or CONFIG in names)
                for sim, *names in (m.args for m in item.iter_markers("slow_on"))):
            self.slow.add(item.nodeid)

    def build(self, toplevel, params=None, sim="verilator", **_):
        self.tops.setdefault(self.test, toplevel)
        self.size.setdefault(self.test, math.prod(v or 1 for v in (params or {}).values()))
        pytest.skip("only asked for its top level")


@contextlib.contextmanager
def _quiet(log: Path):
    """Everything that this process and its children print goes to ``log``."""
    log.parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    kept = os.dup(1), os.dup(2)
    with open(log, "w") as handle:
        os.dup2(handle.fileno(), 1)
        os.dup2(handle.fileno(), 2)
        try:
            yield
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for number, copy in enumerate(kept, 1):
                os.dup2(copy, number)
                os.close(copy)


def end_with_parent() -> None:
    """Make a group of this process, all of which ends when its parent does."""
    os.setpgid(0, 0)
    signal.signal(signal.SIGTERM, lambda *_: os.killpg(0, signal.SIGKILL))
    # PR_SET_PDEATHSIG
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)


def _send(pipe, function, task) -> None:
    """The process of a task."""
    end_with_parent()
    pipe.send(function(*task))


def completed(function, tasks, jobs: int, seconds: float | None = None):
    """Yield (task, function(*task)) as they end, ``jobs`` at a time, each in a process of its
    own. ``seconds``: begin no other after so many. Raises TrialError where a process
    ended early."""
    begin, waiting, running = time.monotonic(), list(tasks), {}
    context = multiprocessing.get_context("fork")
    while waiting or running:
        if seconds and time.monotonic() - begin > seconds:
            waiting.clear()
        while waiting and len(running) < jobs:
            task = waiting.pop(0)
            ours, theirs = context.Pipe(duplex=False)
            process = context.Process(target=_send, args=(theirs, function, task))
            process.start()
            theirs.close()
            running[ours] = task, process
        for ours in multiprocessing.connection.wait(list(running)):
            task, process = running.pop(ours)
            try:
                result = ours.recv()
            except EOFError:
                raise TrialError("a process of trials ended early") from None
            process.join()
            yield task, result


def tops_of_tests(log: Path) -> dict[str, str]:
    """Node ID -> top level of every test on Verilator that builds one, tb/system aside, slow ones
    last, and before them those of the largest parameters. The modules of tests and models stay in
    this process for trial()."""
    probe = _Probe()
    kept, runner.build = runner.build, probe.build
    try:
        with _quiet(log):
            pytest.main([*(a for a in ARGUMENTS if a != "-x"), "--slow", "tb", f"--ignore={SYSTEM}",
                         "-k", "not illegal and not without_taps and not waves"], [probe])
    finally:
        runner.build = kept
    return dict(sorted(probe.tops.items(), key=lambda t: (t[0] in probe.slow, probe.size[t[0]])))


def system_tests(log: Path) -> list[str]:
    """Node IDs of the tests of the whole machine, the shortest first."""
    class Collect:
        found: list[str] = []

        def pytest_collection_finish(self, session):
            self.found = [i.nodeid for i in session.items
                          if {"sim", "config"} <= set(getattr(i, "fixturenames", ()))]

    collect = Collect()
    with _quiet(log):
        pytest.main([*ARGUMENTS, "--collect-only", SYSTEM, "-k",
                     " and ".join(f"not {name}" for name in LEFT_OUT)], [collect])
    first = ("attributes", "first", "random", "share", "outage")
    return sorted(collect.found, key=lambda n: next(
        (i for i, word in enumerate(first) if word in n), len(first)))


def bench_of(module: str, tops: dict[str, str]) -> tuple[str, list[str]]:
    """The smallest top level with tests that contains ``module``, and these tests; "" and none
    where only the whole machine does."""
    def modules(top):
        return {f.stem for f in sources(top)}

    holding = {top for top in set(tops.values()) if module in modules(top)}
    if not holding:
        return "", []
    top = min(holding, key=lambda t: (t != module, len(modules(t)), t))
    return top, [test for test, its in tops.items() if its == top]


def trial(test: str, log: Path, files: list[Path], number: int = 0, sim_s: float = 0,
          sim: str = "verilator") -> Outcome:
    """Run one test with ``files`` for the modules of their names and +mutant=``number``. ``log``:
    of this trial alone. ``sim_s``: what its simulations take without a fault, the base of the
    limit; 0: no limit. With a number the build has to be there. Raises TrialError where pytest
    could not run it."""
    notes = log.with_suffix(".json")
    notes.unlink(missing_ok=True)
    begin = time.monotonic()
    child = os.fork()
    if not child:
        code = 3
        try:
            end_with_parent()
            if sim_s:
                limit = int(SLOWER * sim_s + SPARE_S) + (0 if number else COMPILER_S)
                resource.setrlimit(resource.RLIMIT_CPU, (limit, limit + 5))
            # One process' results do not meet another's.
            runner.RESULTS_DIR = log.with_suffix(".results")
            seen = _Notes()
            with _quiet(log):
                replace = [f"--replace={f}" for f in files]
                code = int(pytest.main([*ARGUMENTS, "--slow", "--sim", sim, *replace,
                                        f"--plusarg=+mutant={number}", test], [seen]))
            notes.write_text(json.dumps([seen.simulations, seen.message]))
        finally:
            os._exit(code)
    status, usage, late = None, None, False
    most = BUILD_S + (SLOWER * sim_s + SPARE_S) * 4
    while status is None:
        done, value, usage = os.wait4(child, os.WNOHANG)
        if done:
            status = value
        elif time.monotonic() - begin > most:
            late = True
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child, signal.SIGKILL)
            time.sleep(0.05)
        else:
            time.sleep(0.02)
    cpu_s = usage.ru_utime + usage.ru_stime
    if os.WIFSIGNALED(status) or late:
        return Outcome(True, "stopped at the limit of its time", 0, 0, cpu_s)
    code = os.waitstatus_to_exitcode(status)
    if code not in (0, 1):
        raise TrialError(f"{test}: pytest ended with {code}; see {log}")
    simulations, message = json.loads(notes.read_text())
    return Outcome(code == 1, message, len(simulations), sum(s["sim_s"] for s in simulations),
                   cpu_s)
