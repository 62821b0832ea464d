# SPDX-License-Identifier: Apache-2.0
"""Items of tb.system.random_jobs on the simulated machine, many in one simulation.

    outcome = run_items([random_item(cfg, seed) for seed in range(50)], "tiny")
    outcome.passed                  # what was compared in each item, in order
    outcome.failure                 # None, or the text of what went wrong in the next one

Everything of an item is compared bit for bit, as in tb.system.simulate. The machine and what lies
in its memories go on from one item to the next. ``check`` is what a failing item becomes a test
with.
"""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import time
from dataclasses import dataclass, field
from pathlib import Path

import cocotb

from models.config import Config
from models.spec.configs import CONFIGS
from tb.common.scoreboard import Scoreboard
from tb.driver.accelerator import Accelerator
from tb.runner import ROOT, SimulationError, parameters, run
from tb.system.random_jobs import Item
from tb.system.simulate import run_specs
from tb.system.taps import TapScorer

MEMORY_BYTES = 1 << 24


@dataclass
class Outcome:
    """passed: of each item that was right, its cycles, values compared and seconds; failure: why
    the one after these is wrong, None: all are right."""

    passed: list[dict] = field(default_factory=list)
    failure: str | None = None


def run_items(items, config, sim="verilator", *, seed=1, name="soak", fresh=False, sources=None,
              keep=False, timeout_s=3600) -> Outcome:
    """Run items one after another; the first wrong one ends it.

    Args:
        items: list of Item.
        config: name in models/spec/configs.py, CONFIGS.
        seed: of the simulator's random start values and of the memory.
        name: folder of the simulation below build/results; not two at a time with the same.
        fresh: reset the machine before each item.
        sources: as of tb.runner.run.
        keep: leave log and results of a simulation in which all was right.
        timeout_s: seconds after which the simulation is stopped.

    Raises tb.runner.BuildError where the machine cannot be built, SimulationError where the
    simulation ends outside an item.
    """
    folder = ROOT / "build" / "soak" / "running"
    folder.mkdir(parents=True, exist_ok=True)
    stem = folder / f"{os.getpid()}-{time.monotonic_ns()}"
    given, taken = stem.with_suffix(".items"), stem.with_suffix(".done")
    given.write_bytes(pickle.dumps((items, fresh, str(taken))))
    taken.touch()
    failure = None
    try:
        results = run("sofa", __name__, CONFIGS[config], sim, seed=seed, testcase="run_them",
                      env={"SOFA_JOBS": str(given)}, defines={"SOFA_TAPS": 1}, sources=sources,
                      name=name, timeout_s=timeout_s)
        if not keep:
            for path in results.iterdir():
                path.unlink()
            results.rmdir()
    except SimulationError as error:
        failure = str(error)
    finally:
        passed = [json.loads(line) for line in taken.read_text().splitlines()]
        for path in (given, taken):
            with contextlib.suppress(OSError):
                path.unlink()
    begun = [one for one in passed if "begin" in one]
    passed = [one for one in passed if "begin" not in one]
    if failure is not None and len(begun) == len(passed):
        raise SimulationError(failure)
    assert failure is not None or len(passed) == len(items), \
        f"soak: expected {len(items)} items, got {len(passed)}"
    return Outcome(passed, failure)


def check(items, config, sim="verilator", seed=1):
    """Run items as a test: raises with the first that is wrong."""
    outcome = run_items(items, config, sim, seed=seed, keep=True)
    assert outcome.failure is None, outcome.failure
    assert len(outcome.passed) == len(items) and all(one["values"] for one in outcome.passed), \
        f"soak: {len(outcome.passed)} of {len(items)} items compared something"


@cocotb.test()
async def run_them(dut):
    """Run the items of the file named by SOFA_JOBS and tell of each when it begins and ends."""
    items, fresh, target = pickle.loads(Path(os.environ["SOFA_JOBS"]).read_bytes())
    assert items, "no items"
    cfg = Config.from_parameters(parameters())
    acc = Accelerator(dut, cfg, memory_bytes=MEMORY_BYTES, scatter=True,
                      seed=int(os.environ["COCOTB_RANDOM_SEED"]))
    await acc.reset()
    board = Scoreboard(dut._log)
    taps = TapScorer(dut, cfg, board)

    def tell(**what):
        with open(target, "a") as handle:
            handle.write(json.dumps(what) + "\n")

    for number, item in enumerate(items):
        if fresh and number:
            await acc.reset()
        tell(begin=number)
        begin, before = time.process_time(), dict(board.compared)
        cycles = await run_item(acc, item, board, taps)
        compared = {k: n - before.get(k, 0) for k, n in board.compared.items()}
        taps.finish()
        assert not (quiet := taps.silent(compared)), f"nothing compared at {quiet}"
        tell(cycles=cycles, values=sum(compared.values()),
             seconds=round(time.process_time() - begin, 3))
    board.finish("output")


async def run_item(acc, item: Item, board, taps) -> int:
    """Run and score an item; returns its cycles."""
    acc.behave(item.memory, item.padding, item.gap, item.seed)
    acc.free_all(item.first)
    done, _, _ = await run_specs(acc, item.specs(acc.cfg), board, taps, True, item.registers)
    assert acc.memory.idle, "the memory has something outstanding"
    return done[0].counters["CYCLES"]
