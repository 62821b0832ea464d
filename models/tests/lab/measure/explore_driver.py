# SPDX-License-Identifier: Apache-2.0
"""A search with a cheap measure, for test_explore.py: run as a process that can be killed."""

import os
import sys
import time
from pathlib import Path

from models.lab.measure import explore
from models.lab.measure.pool import THREADS

ROOT = Path(__file__).resolve().parents[4]
SPACE = explore.Space.of(4, 2)
GOAL = explore.Goal("ours")
ABOUT = {"case": "test"}


def value(setting) -> float:
    """What the cheap measure says."""
    return sum(1000 * one.tau + one.bc * one.fall for one in setting.layers)


def measure(setting, folder: str) -> dict:
    """Takes a tenth of a second and leaves a file for every time that it is called."""
    time.sleep(0.1)
    Path(folder, f"{time.monotonic_ns()}-{os.getpid()}").touch()
    return {"loss": 1 / value(setting), "dense": 3.0, "keep": 0.5,
            "cycles": round(value(setting)), "dense_cycles": 10_000}


def cluster():
    """A client of two worker processes that can import this file."""
    from distributed import Client, LocalCluster

    os.environ.update(dict.fromkeys(THREADS, "1"))
    os.environ["PYTHONPATH"] = str(ROOT)
    return Client(LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None,
                               silence_logs=50))


def search(folder: Path, trials: int, client, progress=lambda n: None):
    """(study, failures) of a search that goes on to so many finished trials."""
    calls = folder / "calls"
    calls.mkdir(parents=True, exist_ok=True)
    with explore.locked(folder / "study"):
        study = explore.open_study(folder / "study", GOAL, SPACE, ABOUT, seed=1)
        failures = explore.run(study=study, space=SPACE, goal=GOAL, client=client, measure=measure,
                               lab=str(calls), keys=512, trials=trials, progress=progress)
    return study, failures


if __name__ == "__main__":
    with cluster() as client:
        search(Path(sys.argv[1]), int(sys.argv[2]), client)
