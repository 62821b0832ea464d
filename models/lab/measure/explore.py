# SPDX-License-Identifier: Apache-2.0
"""Design-space exploration: threshold, its fall, tile and codes of every layer, by Bayesian
optimisation.

    space = Space.of(layers=30, groups=6)
    study = open_study(folder, Goal("ours"), space, about, seed=1)
    run(study, space, goal, client, measure, trials=200)

Source: SOFA paper, section on exploration (Gaussian process, 200 trials, a tile count and a keep
ratio for every layer); our decisions: layers form groups that share their settings, since 200
trials cannot tell 120 numbers apart; tiles are powers of two, as the machine has them; the keep
ratio is what the threshold leaves.

Trials live in an Optuna journal file, results in a Store by content. Each trial is one task of a
Dask cluster. A worker that dies gives its task to another one. A driver that dies leaves the
finished trials in the journal; the next one puts the unfinished back into the queue.

``.venv/bin/python -m models.lab.measure.explore`` prints the cycles of a whole SmolLM2 on both
machines.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import functools
import json
import math
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from ...first.head import Job
from ...nets.sources import CACHE
from ...plan import default_quota
from ..cost import bands
from ..cost.cycles import layer_cycles, work_of
from ..methods.first import FirstSofa
from ..methods.machine import Machine
from ..methods.method import Attended, Call, Method
from ..methods.sofa import Sofa
from .evaluate import Bench, Meter
from .store import ROOT, Store, StoreError, code_digest, describe, digest
from .subjects import Case

TILES = (32, 64)
"""Keys in a tile; the least and the largest that the configuration `paper` can do."""

TAUS = (-12.0, -5.0)
"""log2 of the threshold at 1024 visible keys: least, largest."""

FALLS = (0.0, 0.7)
"""Exponent with which it falls with the visible length: least, largest."""

SNAPS = ("two-term", "floor")
"""How Q is coded."""

MOST_TILES = 32
"""Largest tile count of the paper's search, Tc in 2..32."""


@dataclass(frozen=True)
class Layered(Method):
    """A method for every layer; layers: one for each layer of the model."""

    layers: tuple[Sofa, ...]

    name = "layered"

    def attend(self, call: Call) -> Attended:
        """One layer."""
        return self.of(call).attend(call)

    def of(self, call: Call) -> Sofa:
        """The method of the layer of a call."""
        layer, layers = call.place()
        if layers != len(self.layers):
            raise ValueError(f"{len(self.layers)} methods, legal: one for each of {layers} layers")
        return self.layers[layer]


@dataclass(frozen=True)
class Goal:
    """What a search makes small.

    kind     "ours": (rise of the loss in nats, cycles of all layers), a Pareto front
             "paper": L + alpha * sum(Bc_i k_i) / sum(S k_i) + beta * mean(Tc_i) / MOST_TILES, L the
             loss itself, k_i the share of its visible pairs that layer i kept. The paper prints the
             last sum without a divisor; as printed it is a hundred times the loss, so it is taken
             relative to its largest value.
    alpha, beta   the paper's weights; it gives none for SmolLM2, these are its GPT-2's
    """

    kind: str = "ours"
    alpha: float = 0.40
    beta: float = 0.42

    def __post_init__(self) -> None:
        if self.kind not in ("ours", "paper"):
            raise ValueError(f"goal {self.kind!r}, legal: ours, paper")

    @property
    def directions(self) -> list[str]:
        """One "minimize" for each value."""
        return ["minimize"] * (2 if self.kind == "ours" else 1)

    def values(self, result: dict, setting: Layered, keys: int) -> list[float]:
        """The values of a trial from its result (see measure)."""
        if self.kind == "ours":
            return [result["loss"], float(result["cycles"])]
        tile = [one.bc for one in setting.layers]
        tiles = sum(b * k for b, k in zip(tile, result["keeps"], strict=True))
        count = sum(math.ceil(keys / b) for b in tile) / len(tile)
        return [result["dense"] + result["loss"] + self.alpha * tiles
                / (keys * sum(result["keeps"])) + self.beta * count / MOST_TILES]


@dataclass(frozen=True)
class Space:
    """groups: layers that share their settings, consecutive, together all layers of a model."""

    groups: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, layers: int, groups: int) -> Space:
        """Layer 0 alone, since it is flatter than all others, and the rest in equal runs; one
        group: all layers together."""
        if not 1 <= groups <= layers:
            raise ValueError(f"groups = {groups}, legal: 1..{layers}, the layers of the model")
        if groups == 1:
            return cls((tuple(range(layers)),))
        edges = [1 + round(i * (layers - 1) / (groups - 1)) for i in range(groups)]
        parts = zip(edges, edges[1:], strict=False)
        return cls(((0,), *(tuple(range(a, b)) for a, b in parts)))

    def suggest(self, trial) -> None:
        """Let an Optuna trial choose all parameters; they are in trial.params then."""
        for g in range(len(self.groups)):
            trial.suggest_categorical(f"tile{g}", TILES)
            trial.suggest_float(f"tau{g}", *TAUS)
            trial.suggest_float(f"fall{g}", *FALLS)
            trial.suggest_categorical(f"snap{g}", SNAPS)

    def same(self, tile: int, tau: float, fall: float, snap: str) -> dict:
        """Parameters with the same settings in every group."""
        one = {"tile": tile, "tau": tau, "fall": fall, "snap": snap}
        return {f"{k}{g}": v for g in range(len(self.groups)) for k, v in one.items()}

    def setting(self, params: dict) -> Layered:
        """The method of these parameters."""
        layers: list[Sofa | None] = [None] * sum(map(len, self.groups))
        for g, group in enumerate(self.groups):
            one = Sofa(bc=params[f"tile{g}"], tau=2.0 ** params[f"tau{g}"],
                       fall=params[f"fall{g}"], snap=params[f"snap{g}"])
            for layer in group:
                layers[layer] = one
        return Layered(tuple(layers))


STARTS = (
    (64, -8.69, 0.35, "two-term"), (64, -9.19, 0.0, "floor"), (64, -9.69, 0.35, "two-term"),
    (64, -7.69, 0.35, "two-term"), (32, -8.69, 0.35, "two-term"), (64, -10.5, 0.35, "two-term"))
"""(tile, log2 of the threshold, fall, codes) of the first trials, the same in every group; the
first two are the defaults of the machine."""


# ---- one trial ----------------------------------------------------------------------------------


class CycleMeter(Meter):
    """A Meter that adds up what a machine takes for each layer, sparse and dense."""

    def __init__(self, method: Layered | Machine):
        super().__init__(method)
        self.cycles, self.dense = 0, 0
        inner = self.session

        def session(call: Call):
            done = inner(call)
            own = method.of(call) if isinstance(method, Layered) else method
            self.cycles += call_cycles(call, done.selected, own, own.dense(call))
            self.dense += dense_cycles(type(own), call.q.shape, call.k.shape, call.causal,
                                       own.config)
            return done

        self.session = session


def call_cycles(call: Call, selected: np.ndarray, method: Machine, dense: bool) -> int:
    """Cycles of the attention job of a layer, K and V in memory."""
    cfg = method.machine()
    if isinstance(method, Sofa):
        job = bands.job_of(call, method, dense)
        return bands.cycles(bands.work_of(selected, job, cfg, len(call.k)), job, cfg).total
    bc = cfg.BC_MAX if dense else method.setting("bc", call)
    quota = bc if dense else method.setting("quota", call)
    job = Job(d=call.d, scale_m=0, scale_shift=0, bc=bc,
              quota=default_quota(bc) if quota is None else quota, causal=call.causal,
              offset=call.k.shape[1] - call.q.shape[1] if call.causal else 0, dense=dense,
              interleaved=method.interleaved)
    return layer_cycles(work_of(selected, job, cfg, len(call.k)), job, cfg).total


@functools.lru_cache(4)
def dense_cycles(kind: type[Machine], q: tuple, k: tuple, causal: bool, config: str) -> int:
    """Cycles of a layer of these shapes when every pair is kept."""
    call = Call(np.empty(q, np.float32), np.empty(k, np.float32), np.empty(k, np.float32), causal)
    everything = np.broadcast_to(call.mask(), (q[0], q[1], k[1]))
    return call_cycles(call, everything, kind(config=config), True)


@dataclass(frozen=True)
class Lab:
    """Where trials are measured: a case of the evaluation, its packages and results."""

    case: Case
    cache: str
    results: str

    def about(self) -> dict:
        """What the results depend on beside the setting."""
        bench = lab_bench(self.cache, self.results)
        return {**bench.case_key(self.case), "rule": code_digest(__name__)}


@functools.cache
def lab_bench(cache: str, results: str) -> Bench:
    """The bench of this process."""
    return Bench(Path(cache), Store(Path(results)))


def prepare(lab: Lab) -> None:
    """Fetch the packages and make the dense pass of the case."""
    lab_bench(lab.cache, lab.results).reference(lab.case)


def measure(setting: Layered | Machine, lab: Lab) -> dict:
    """A whole pass of the model: {"loss" (rise, nats), "error" (its standard error), "dense" (loss
    of the dense model), "keep", "keeps" (of each layer), "cycles", "dense_cycles", "seconds"};
    stored by content, so it is measured once."""
    bench = lab_bench(lab.cache, lab.results)
    key = digest({**lab.about(), "method": describe(setting)})
    known = bench.store.get(key)
    if known is not None:
        return known
    began = time.perf_counter()
    subject, reference = bench.subject(lab.case.net), bench.reference(lab.case)
    meters: list[CycleMeter] = []

    def start() -> CycleMeter:
        meters.append(CycleMeter(setting))
        return meters[-1]

    compared = subject.compare(reference, subject.run(bench.inputs(lab.case), start))
    samples = np.array(compared["samples"])
    layers = sorted(meters[0].visible)
    selected = [sum(m.selected[i] for m in meters) for i in layers]
    visible = [sum(m.visible[i] for m in meters) for i in layers]
    result = {
        "loss": compared["loss"],
        "error": float(samples.std(ddof=1) / math.sqrt(len(samples))) if len(samples) > 1 else 0.0,
        "dense": compared["extra"].get("dense", 0.0),
        "keep": sum(selected) / sum(visible),
        "keeps": [s / v for s, v in zip(selected, visible, strict=True)],
        "cycles": sum(m.cycles for m in meters),
        "dense_cycles": sum(m.dense for m in meters),
        "seconds": round(time.perf_counter() - began, 2),
    }
    bench.store.put(key, result)
    return result


# ---- the study ----------------------------------------------------------------------------------


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a study for this process; StoreError when another one has it."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "lock", "w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise StoreError(f"another search works on the study in {folder}: wait for it, or give "
                             "another --study") from None
        yield


def open_study(folder: Path, goal: Goal, space: Space, about: dict, seed: int):
    """The study of a folder, made or continued; StoreError for one with another purpose, or whose
    journal cannot be read. Trials that a dead driver left running are queued again."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    folder.mkdir(parents=True, exist_ok=True)
    journal = folder / "journal.log"
    purpose = digest({"goal": asdict(goal), "groups": describe(space.groups), "about": about})
    try:
        storage = optuna.storages.JournalStorage(
            optuna.storages.journal.JournalFileBackend(str(journal)))
        study = optuna.create_study(study_name="dse", storage=storage, load_if_exists=True,
                                    directions=goal.directions)
        had = len(study.trials)
    except (ValueError, KeyError, TypeError, json.JSONDecodeError) as error:
        raise StoreError(f"{journal} is not a whole journal ({type(error).__name__}: {error}): "
                         "remove it and start again") from None
    known = study.user_attrs.get("purpose")
    if known not in (None, purpose):
        raise StoreError(f"the study in {folder} was begun with other settings, inputs or code: "
                         "give another --study, or remove the folder")
    if known is None:
        study.set_user_attr("purpose", purpose)
        for start in STARTS:
            study.enqueue_trial(space.same(*start))
    # A sampler that goes on where an earlier one stopped must not repeat its random numbers.
    study.sampler = optuna.samplers.GPSampler(seed=seed + had, n_startup_trials=20)
    for trial in study.get_trials(deepcopy=False, states=[optuna.trial.TrialState.RUNNING]):
        study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
        study.enqueue_trial(trial.params)
    return study


def complete(study) -> list:
    """Its finished trials, by number."""
    import optuna

    return study.get_trials(deepcopy=False, states=[optuna.trial.TrialState.COMPLETE])


def run(
    study, space: Space, goal: Goal, client, measure: Callable[[Layered, object], dict],
    lab: object, keys: int, trials: int, progress: Callable[[int], None] = lambda n: None,
) -> list[str]:
    """Go on until the study has ``trials`` finished trials; returns why some failed.

    client: a Dask client; measure(setting, lab), a function of a module, runs on its workers and
    must give the same for the same arguments, because a task may run again when its worker dies.
    At most as many trials run at a time as there are workers. After as many failures in a row as
    there are workers, at least 3, the search ends.
    """
    import optuna
    from distributed import wait

    running, failures, in_a_row = {}, [], 0
    done = len(complete(study))
    progress(done)
    try:
        while done < trials:
            workers = max(sum(client.nthreads().values()), 1)
            while len(running) < min(workers, trials - done):
                trial = study.ask()
                space.suggest(trial)
                setting = space.setting(trial.params)
                future = client.submit(measure, setting, lab, pure=False,
                                       key=f"trial-{trial.number}")
                running[future] = trial, setting
            for future in wait(list(running), return_when="FIRST_COMPLETED").done:
                trial, setting = running.pop(future)
                if future.status == "finished":
                    result = future.result()
                    for name, value in result.items():
                        trial.set_user_attr(name, value)
                    study.tell(trial, goal.values(result, setting, keys))
                    done, in_a_row = done + 1, 0
                else:
                    study.tell(trial, state=optuna.trial.TrialState.FAIL)
                    failures.append(f"trial {trial.number}: {future.exception()!r}")
                    in_a_row += 1
                progress(done)
            if in_a_row >= max(3, workers):
                break
    finally:
        for future in running:
            future.cancel()
    return failures


# ---- what it found ------------------------------------------------------------------------------


def front(points: list[tuple[float, float]]) -> list[int]:
    """Indices of the points that no other point beats in both values, by the first value."""
    best, lowest = [], math.inf
    for i in sorted(range(len(points)), key=lambda i: points[i]):
        if points[i][1] < lowest:
            best.append(i)
            lowest = points[i][1]
    return best


def fastest(study, bounds: tuple[float, ...]) -> dict[float, object]:
    """Trial with the fewest cycles whose perplexity is at most so many percent above the dense
    model's, for each bound; None where there is none."""
    found = {}
    for bound in bounds:
        fine = [t for t in complete(study)
                if math.expm1(t.user_attrs["loss"]) * 100 <= bound]
        found[bound] = min(fine, key=lambda t: t.user_attrs["cycles"], default=None)
    return found


def summary(study, command: str) -> dict:
    """The study for models.lab.report.report, plain JSON."""
    trials = complete(study)
    points = [(math.expm1(t.user_attrs["loss"]) * 100,
               t.user_attrs["dense_cycles"] / t.user_attrs["cycles"]) for t in trials]
    best = front([(x, -y) for x, y in points])
    return {"command": command, "x": "perplexity increase, %",
            "y": "cycles of dense attention / cycles",
            "trials": points, "front": [points[i] for i in best],
            "settings": [trials[i].params for i in best]}


# ---- both machines on a whole model --------------------------------------------------------------

BOTH: dict[str, Machine] = {
    **{f"second machine, two-term, 2^{t}": Sofa(tau=2.0**t) for t in (-8.69, -9.19, -8.19)},
    "second machine, floor, 2^-9.25": Sofa(snap="floor", tau=2.0**-9.25),
    **{f"first machine, quota {q}, radius {r}": FirstSofa(quota=q, radius_nats=r, dense_layers=(0,))
       for q, r in ((16, 6.0), (24, 7.0), (16, 7.0), (12, 6.0))},
}
"""What main compares: title -> setting."""


def main(argv: list[str] | None = None) -> int:
    """Print loss, keep and cycles of SmolLM2 on both machines; 0."""
    parser = argparse.ArgumentParser(description=main.__doc__.split(";")[0])
    parser.add_argument("--text", default="novel")
    parser.add_argument("--length", type=int, default=1024)
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "lab")
    parser.add_argument("--cache", type=Path, default=CACHE)
    args = parser.parse_args(argv)
    lab = Lab(Case("smollm2", args.text, args.length), str(args.cache.resolve()),
              str((args.out / "results").resolve()))
    for title, setting in BOTH.items():
        print(f"{title}: {row(measure(setting, lab))}", flush=True)
    return 0


def row(found: dict) -> str:
    """A result of measure in words."""
    return (f"perplexity {math.expm1(found['loss']) * 100:+.2f} +- {found['error'] * 100:.2f} %, "
            f"keep {found['keep'] * 100:.2f} %, {found['cycles']} cycles, dense "
            f"{found['dense_cycles']}, {found['dense_cycles'] / found['cycles']:.2f} times")


if __name__ == "__main__":
    sys.exit(main())
