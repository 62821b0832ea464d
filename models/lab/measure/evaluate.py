# SPDX-License-Identifier: Apache-2.0
"""A whole trained model with a method of attention in every layer, against itself when dense.

    case = Case("smollm2", "novel", 1024)
    bench = Bench(cache=Path("build/capture"), store=Store(Path("build/lab/results")))
    result = bench.result(Task("quota", FirstSofa(quota=16), case))

Definitions
    dense     the same model with exact float32 attention over all visible pairs
    keep      selected pairs / visible pairs, each summed over all layers and query heads; a pair is
              selected when its exact score was used, visible when the mask allows it
    loss      what models.lab.measure.subjects says for the net, a mean over samples
    recall    of the n keys that a row selected, the share that is among its n largest exact
              scores; mean over rows that selected a key
    mass      share of the row's exact softmax that its selected keys hold; mean over rows
Recall and mass look at every SAMPLE_ROWS-th row of every layer and head, from MIN_VISIBLE visible
keys on, with the exact scores of the tensors that the layer itself saw.

A method that learns is fitted on a stretch of the same text and length that is not evaluated.
"""

from __future__ import annotations

import functools
import platform
import time
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from ...nets.common import dense
from ..methods.counts import Counts
from ..methods.method import Call, Method
from . import rowtypes
from .store import FORMAT, Store, code_digest, describe, digest
from .subjects import SUBJECTS, Case, Subject

SAMPLE_ROWS = 16
MIN_VISIBLE = 32
LIBRARIES = ("numpy", "numba", "gguf", "safetensors", "tokenizers", "pillow")
"""Packages whose versions are part of the cache keys: another one may round, or read, otherwise."""


@dataclass(frozen=True)
class Task:
    """A setting on a case. series: the curve that it belongs to, label: its place on it; neither
    is part of the cache key."""

    series: str
    method: Method
    case: Case
    label: str = ""


@dataclass(frozen=True)
class RowTask:
    """The row types (models.lab.measure.rowtypes) of a case's dense pass."""

    case: Case


def row_quality(call: Call, selected: np.ndarray) -> tuple[float, int, float, int]:
    """(sum of recall, rows with a key, sum of retained mass, rows) over the sampled rows."""
    total, keys = call.q.shape[1], call.k.shape[1]
    rows = np.arange(SAMPLE_ROWS - 1, total, SAMPLE_ROWS)
    if call.causal:
        rows = rows[keys - total + rows + 1 >= MIN_VISIBLE]
    if not len(rows) or keys < MIN_VISIBLE:
        return 0.0, 0, 0.0, 0
    score = np.matmul(call.q[:, rows], call.shared(call.k).swapaxes(1, 2))
    score /= np.float32(np.sqrt(call.d))
    score = np.where(call.mask()[rows], score, -np.inf)
    chosen = selected[:, rows]
    p = np.exp(score - score.max(axis=-1, keepdims=True))
    mass = np.where(chosen, p, 0).sum(axis=-1) / p.sum(axis=-1)
    wanted = chosen.sum(axis=-1)
    # The wanted-th largest score of each row; a row that wants none has no bound to meet.
    place = np.minimum(keys - wanted, keys - 1)[..., None]
    bound = np.take_along_axis(np.sort(score, axis=-1), place, axis=-1)
    found = np.minimum((chosen & (score >= bound)).sum(axis=-1), wanted)
    some = wanted > 0
    recall = float((found[some] / wanted[some]).sum())
    return recall, int(some.sum()), float(mass.sum()), mass.size


class Meter:
    """A method in use: stands for the attention of every layer and keeps what it did.

    ValueError where the method selects a masked pair, where its output is not finite, or where its
    counts disagree with its selection.
    """

    def __init__(self, method: Method):
        self.session = method.start()
        self.selected: dict[int, int] = {}
        self.visible: dict[int, int] = {}
        self.counts = Counts()
        self.quality = np.zeros(4)

    def __call__(self, call: Call) -> np.ndarray:
        done = self.session(call)
        mask = call.mask()
        if not np.isfinite(done.out).all():
            raise ValueError(f"layer {call.layer}: the output is not finite")
        if done.selected.shape != (len(call.q), *mask.shape):
            raise ValueError(f"layer {call.layer}: selected is {done.selected.shape}")
        count = int(done.selected.sum())
        if (done.selected & ~mask).any():
            raise ValueError(f"layer {call.layer}: a masked pair is selected")
        if done.counts.visible and done.counts.selected != count:
            raise ValueError(f"layer {call.layer}: counts say {done.counts.selected} pairs, "
                             f"the selection {count}")
        self.selected[call.layer] = self.selected.get(call.layer, 0) + count
        self.visible[call.layer] = self.visible.get(call.layer, 0) + int(mask.sum()) * len(call.q)
        self.counts += done.counts
        self.quality += row_quality(call, done.selected)
        return done.out


def learns(method: Method) -> bool:
    """True where the method has a fit of its own."""
    return type(method).fit is not Method.fit


def modules_of(method: Method) -> list[str]:
    """Modules of the method's class and of methods among its fields."""
    inner = [m for v in vars(method).values() if isinstance(v, Method) for m in modules_of(v)]
    return [type(method).__module__, *inner]


class Bench:
    """What a process keeps between settings: nets, inputs, dense outputs, calibration passes.

    cache   folder of the fetched packages
    """

    def __init__(self, cache: Path, store: Store,
                 subjects: dict[str, type[Subject]] | None = None):
        self.cache, self.store = cache, store
        self.subjects = SUBJECTS if subjects is None else subjects
        self.code = functools.cache(code_digest)
        # One net and one calibration pass at a time: both may be hundreds of megabytes.
        self.subject = functools.lru_cache(1)(self._subject)
        self.calibration = functools.lru_cache(1)(self._calibration)
        self.reference = functools.lru_cache(4)(self._reference)
        self.inputs = functools.lru_cache(4)(lambda case: self.subject(case.net).inputs(case))

    def _subject(self, net: str) -> Subject:
        return self.subjects[net](self.cache)

    # -- keys ----------------------------------------------------------------------------------

    def case_key(self, case: Case) -> dict:
        """What the dense pass of a case depends on."""
        subject = self.subjects[case.net]
        return {"format": FORMAT, "case": asdict(case), "source": subject.source(case),
                "code": self.code(*subject.modules), "libraries": libraries()}

    def key(self, task: Task | RowTask) -> str:
        """Key of a task: its setting, the code of its method, of the net and of the measuring, the
        package of the net, the text and the libraries."""
        if isinstance(task, RowTask):
            return digest({**self.case_key(task.case), "rule": self.code(rowtypes.__name__)})
        return digest({**self.case_key(task.case), "method": describe(task.method),
                       "rule": self.code(*modules_of(task.method), __name__)})

    # -- passes --------------------------------------------------------------------------------

    def _reference(self, case: Case) -> dict[str, np.ndarray]:
        """Outputs of the dense pass, stored."""
        key = digest(self.case_key(case))
        known = self.store.get_arrays(key)
        if known is None:
            subject = self.subject(case.net)
            known = subject.run(self.inputs(case), None)
            self.store.put_arrays(key, known)
        return known

    def _calibration(self, case: Case) -> list[Call]:
        """What the layers see in the dense passes that methods learn from."""
        subject, calls = self.subject(case.net), []

        def keep(call: Call) -> np.ndarray:
            calls.append(call)
            return dense(call)

        subject.run(subject.calibration(case), lambda: keep)
        return calls

    def measure(self, task: Task) -> dict:
        """Run the model; the result as plain JSON."""
        case, subject = task.case, self.subject(task.case.net)
        reference = self.reference(case)
        began = time.process_time()
        method = task.method
        if learns(method):
            method = method.fit(self.calibration(case))
        fitted = time.process_time()
        runs: list[Meter] = []

        def start() -> Meter:
            runs.append(Meter(method))
            return runs[-1]

        outputs = subject.run(self.inputs(case), start)
        layers = sorted(runs[0].visible)
        counts = sum((m.counts for m in runs), Counts())
        recall, recall_rows, mass, mass_rows = np.sum([m.quality for m in runs], axis=0)
        selected = [sum(m.selected[i] for m in runs) for i in layers]
        visible = [sum(m.visible[i] for m in runs) for i in layers]
        return {
            "case": asdict(case), "method": method.name, "setting": describe(task.method),
            **subject.compare(reference, outputs),
            "selected": sum(selected), "visible": sum(visible),
            "keep": sum(selected) / sum(visible),
            "selected_layers": selected, "visible_layers": visible,
            "recall": recall / recall_rows if recall_rows else None,
            "mass": mass / mass_rows if mass_rows else None,
            "ops": counts.ops, "bytes": counts.bytes,
            "cost": {stage: counts.cost(stage) for stage in counts.ops},
            "seconds": {"fit": round(fitted - began, 2),
                        "run": round(time.process_time() - fitted, 2)},
            "versions": {"python": platform.python_version(), **libraries()},
        }

    def measure_rows(self, task: RowTask) -> dict:
        """Rows of each type in each layer of the dense model, and the indices found, by
        ["contiguous", "interleaved"]."""
        subject, meters = self.subject(task.case.net), []

        def start() -> rowtypes.TypeMeter:
            meters.append(rowtypes.TypeMeter(dense))
            return meters[-1]

        subject.run(self.inputs(task.case), start)
        types = np.sum([m.types for m in meters], axis=0)
        found = np.sum([m.found for m in meters], axis=0)
        return {"case": asdict(task.case), "types": types.tolist(), "found": found.tolist()}

    def result(self, task: Task | RowTask) -> dict:
        """The stored result of a task; measured first where there is none."""
        key = self.key(task)
        known = self.store.get(key)
        if known is None:
            known = self.measure_rows(task) if isinstance(task, RowTask) else self.measure(task)
            self.store.put(key, known)
        return known


@functools.cache
def libraries() -> dict[str, str | None]:
    """Versions of the packages with which results are computed, None where one is missing."""
    found: dict[str, str | None] = {}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found


@functools.cache
def process_bench(cache: Path, results: Path) -> Bench:
    """The bench of this process."""
    return Bench(cache, Store(results))


def work(job: tuple[Task | RowTask | Case, Path, Path]) -> None:
    """Body of models.lab.measure.pool's processes: measure and store a task, or the dense pass of a
    case; job is (task, folder of packages, folder of results)."""
    task, cache, results = job
    bench = process_bench(cache, results)
    if isinstance(task, Case):
        bench.reference(task)
    else:
        bench.result(task)
