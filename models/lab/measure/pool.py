# SPDX-License-Identifier: Apache-2.0
"""Worker processes of which any may be killed: what is finished stays, the rest goes on.

    for task, outcome in run(work, tasks, workers=2):
        ...                                   # outcome: what work(task) returned, or a Failure

Each process takes one task at a time. A task whose process dies gets a fresh process and is tried
once more; if that one dies too, or the task raises, its outcome is a Failure and the others go on.
"""

from __future__ import annotations

import multiprocessing
import os
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import wait

TRIES = 2
"""Processes that a task may cost before it counts as failed."""

THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


@dataclass(frozen=True)
class Failure:
    """Why a task has no result. died: its process ended, for example for want of memory."""

    reason: str
    died: bool = False
    details: str = ""


def serve(work: Callable, pipe) -> None:
    """Body of a worker process: tasks come in, (True, result) or (False, Failure) goes out."""
    while True:
        try:
            task = pipe.recv()
            try:
                answer = (True, work(task))
            except Exception as error:
                answer = (False, Failure(f"{type(error).__name__}: {error}",
                                         details=traceback.format_exc()))
            pipe.send(answer)
        except (EOFError, OSError, KeyboardInterrupt):
            return  # the process that asks is gone, or stops


class Worker:
    """One process and the number of the task that it works on, None when idle."""

    def __init__(self, work: Callable):
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=serve, args=(work, theirs), daemon=True)
        self.process.start()
        theirs.close()
        self.number: int | None = None

    def send(self, number: int, task: object) -> None:
        """Start a task."""
        self.number = number
        try:
            self.pipe.send(task)
        except OSError:
            pass  # it is dead: the next receive tells

    def receive(self) -> tuple[bool, object] | None:
        """Its answer, None when the process has died."""
        try:
            return self.pipe.recv()
        except (EOFError, OSError):
            return None

    def stop(self) -> None:
        """End the process."""
        self.pipe.close()
        self.process.terminate()
        self.process.join()


def run(work: Callable, tasks: Iterable, workers: int = 2) -> Iterator[tuple[object, object]]:
    """Yield (task, outcome) as they finish, in any order. work and the tasks must be picklable;
    work is a function of a module, and each process uses one BLAS thread."""
    if workers < 1:
        raise ValueError(f"workers {workers}: 1 or more")
    tasks = list(tasks)
    left = deque(range(len(tasks)))
    deaths = [0] * len(tasks)
    before = {name: os.environ.get(name) for name in THREADS}
    os.environ.update(dict.fromkeys(THREADS, "1"))  # inherited by the processes
    crew: list[Worker] = []
    try:
        while left or any(w.number is not None for w in crew):
            while left and len(crew) < workers:
                crew.append(Worker(work))
            for worker in crew:
                if worker.number is None and left:
                    number = left.popleft()
                    worker.send(number, tasks[number])
            busy = {w.pipe: w for w in crew if w.number is not None}
            for pipe in wait(list(busy)):
                worker = busy[pipe]
                number, answer = worker.number, worker.receive()
                worker.number = None
                if answer is not None:
                    yield tasks[number], answer[1]
                    continue
                worker.stop()
                crew.remove(worker)
                deaths[number] += 1
                if deaths[number] < TRIES:
                    left.append(number)
                else:
                    code = worker.process.exitcode
                    yield tasks[number], Failure(f"its process died {TRIES} times (exit code "
                                                 f"{code}; -9 is often want of memory)", died=True)
    finally:
        for worker in crew:
            worker.stop()
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
