# SPDX-License-Identifier: Apache-2.0
"""Jobs on the compiled Verilog, each compared with what the reference models say of it.

Sofa(engine="rtl") does every attention so. A configuration is compiled once
(models/driver/compiled.py); one machine of each serves the process.
"""

from __future__ import annotations

import functools
from threading import Lock

import numpy as np

from ...config import Config
from ...driver import Accelerator, CompiledTransport
from ...head import Job, JobResult
from ...layer import LayerPlan, LayerResult
from ...plan import Numbers

MEMORY = 1 << 28
"""Bytes of its memory; what a job does not touch costs nothing."""

_LOCK = Lock()


class RtlError(RuntimeError):
    """The Verilog gave another result than the models."""


@functools.cache
def machine(cfg: Config) -> Accelerator:
    """The machine of a configuration."""
    return Accelerator(CompiledTransport(cfg, memory_bytes=MEMORY))


def run_job(numbers: Numbers, job: Job, cfg: Config, want: JobResult) -> tuple[np.ndarray, int]:
    """(output int16 [heads, rows, d], cycles) of a job; RtlError where it is not that of the
    models."""
    with _LOCK:
        acc = machine(cfg)
        acc.free_all()
        done = acc.run(numbers, job)
    compare("output", ("head", "row", "element"), done.out, want.out)
    return done.out, done.counters["CYCLES"]


def run_layer(plan: LayerPlan, cfg: Config, want: LayerResult) -> tuple[np.ndarray, int]:
    """The same of a layer, whose predicted keys are compared, too."""
    with _LOCK:
        acc = machine(cfg)
        acc.free_all()
        done = acc.run_layer(plan)
    compare("predicted key", ("KV head", "key", "element"), done.k8, want.k8)
    compare("output", ("head", "row", "element"), done.out, want.out)
    return done.out, done.counters["CYCLES"]


def compare(what: str, axes: tuple[str, ...], got: np.ndarray, want: np.ndarray) -> None:
    """RtlError that names the first element that differs."""
    wrong = np.argwhere(got != want)
    if len(wrong):
        where = tuple(wrong[0].tolist())
        place = ", ".join(f"{axis} {i}" for axis, i in zip(axes, where, strict=True))
        raise RtlError(f"{what} of {place}: the Verilog gives {got[where]}, the model "
                       f"{want[where]}; {len(wrong)} of {got.size} elements differ")
