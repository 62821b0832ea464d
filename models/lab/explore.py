# SPDX-License-Identifier: Apache-2.0
"""Design-space exploration: tile, quota and radius of every layer, by Bayesian optimisation.

    space = Space.of(layers=30, groups=6)
    study = open_study(folder, Goal("ours"), space, about, seed=1)
    run(study, space, goal, client, measure, trials=200)

Source: SOFA paper, section on exploration (Gaussian process, 200 trials, a tile count and a keep
ratio for every layer); our decisions: layers form groups that share their settings, since 200
trials cannot tell 90 numbers apart; tiles are powers of two, as the machine has them.

Trials live in an Optuna journal file, results in a Store by content. Each trial is one task of a
Dask cluster. A worker that dies gives its task to another one. A driver that dies leaves the
finished trials in the journal; the next one puts the unfinished back into the queue.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from models.head import Job
from models.lab.cycles import layer_cycles, work_of
from models.lab.evaluate import Bench, Meter
from models.lab.first import FirstSofa
from models.lab.method import Call
from models.lab.store import Store, StoreError, code_digest, describe, digest
from models.lab.subjects import Case

TILES = (32, 64)
"""Keys in a tile; the least and the largest that the configuration `paper` can do."""

RADII = (2.0, 9.0, 0.5)
"""Radius in nats: least, largest, step."""

MOST_TILES = 32
"""Largest tile count of the paper's search, Tc in 2..32."""


@dataclass(frozen=True)
class Goal:
    """What a search makes small.

    kind     "ours": (rise of the loss in nats, cycles of all layers), a Pareto front
             "paper": L + alpha * sum(Bc_i k_i) / sum(S k_i) + beta * mean(Tc_i) / MOST_TILES, L the
             loss itself. The paper prints the last sum without a divisor; as printed it is a
             hundred times the loss, so it is taken relative to its largest value.
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

    @property
    def largest_share(self) -> int:
        """Largest quota in percent of a tile: 50 in the paper, ours may keep all."""
        return 100 if self.kind == "ours" else 50

    def values(self, result: dict, setting: FirstSofa, keys: int) -> list[float]:
        """The values of a trial from its result (see measure)."""
        if self.kind == "ours":
            return [result["loss"], float(result["cycles"])]
        shares = [q / b for q, b in zip(setting.quota, setting.bc, strict=True)]
        tiles = sum(b * s for b, s in zip(setting.bc, shares, strict=True)) / (keys * sum(shares))
        count = sum(math.ceil(keys / b) for b in setting.bc) / len(setting.bc)
        return [result["dense"] + result["loss"] + self.alpha * tiles
                + self.beta * count / MOST_TILES]


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

    def suggest(self, trial, goal: Goal) -> None:
        """Let an Optuna trial choose all parameters; they are in trial.params then."""
        for g in range(len(self.groups)):
            trial.suggest_categorical(f"tile{g}", TILES)
            trial.suggest_int(f"share{g}", 5, goal.largest_share, step=5)
            trial.suggest_float(f"radius{g}", RADII[0], RADII[1], step=RADII[2])

    def same(self, tile: int, share: int, radius: float) -> dict:
        """Parameters with the same settings in every group."""
        one = {"tile": tile, "share": share, "radius": radius}
        return {f"{k}{g}": v for g in range(len(self.groups)) for k, v in one.items()}

    def setting(self, params: dict) -> FirstSofa:
        """The method of these parameters. share: quota in percent of the tile."""
        layers = sum(map(len, self.groups))
        bc, quota, radius = [0] * layers, [0] * layers, [0.0] * layers
        for g, group in enumerate(self.groups):
            for layer in group:
                bc[layer] = params[f"tile{g}"]
                quota[layer] = max(round(params[f"share{g}"] * bc[layer] / 100), 1)
                radius[layer] = params[f"radius{g}"]
        return FirstSofa(bc=tuple(bc), quota=tuple(quota), radius_nats=tuple(radius))


STARTS = ((64, 50, 8.0), (64, 25, 6.0), (64, 20, 5.0), (64, 10, 5.0), (32, 25, 6.0))
"""(tile, share, radius) of the first trials, the same in every group."""


# ---- one trial ----------------------------------------------------------------------------------


class CycleMeter(Meter):
    """A Meter that adds up what the machine takes for each layer, sparse and dense."""

    def __init__(self, method: FirstSofa):
        super().__init__(method)
        self.method, self.cycles, self.dense = method, 0, 0
        inner = self.session

        def session(call: Call):
            done = inner(call)
            self.cycles += call_cycles(call, done.selected, method, False)
            self.dense += dense_cycles(call.q.shape, call.k.shape, call.causal, method.config)
            return done

        self.session = session


def call_cycles(call: Call, selected, method: FirstSofa, dense: bool) -> int:
    """Cycles of the attention job of a layer (models/lab/cycles.py), K and V in memory."""
    cfg = method.machine()
    bc = cfg.BC_MAX if dense else method.setting("bc", call)
    quota = bc if dense else method.setting("quota", call)
    job = Job(d=call.d, scale_m=0, scale_shift=0, bc=bc,
              quota=max(bc // 4, 1) if quota is None else quota, causal=call.causal,
              offset=call.k.shape[1] - call.q.shape[1] if call.causal else 0, dense=dense,
              interleaved=method.interleaved)
    return layer_cycles(work_of(selected, job, cfg, len(call.k)), job, cfg).total


@functools.lru_cache(4)
def dense_cycles(q: tuple, k: tuple, causal: bool, config: str) -> int:
    """Cycles of a layer of these shapes when every pair is kept."""
    import numpy as np

    call = Call(np.empty(q, np.float32), np.empty(k, np.float32), np.empty(k, np.float32), causal)
    everything = np.broadcast_to(call.mask(), (q[0], q[1], k[1]))
    return call_cycles(call, everything, FirstSofa(config=config), True)


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


def measure(setting: FirstSofa, lab: Lab) -> dict:
    """A whole pass of the model: {"loss" (rise, nats), "dense" (loss of the dense model), "keep",
    "cycles", "dense_cycles", "seconds"}; stored by content, so it is measured once."""
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
    result = {
        "loss": compared["loss"], "dense": compared["extra"].get("dense", 0.0),
        "keep": sum(sum(m.selected.values()) for m in meters)
        / sum(sum(m.visible.values()) for m in meters),
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
    study, space: Space, goal: Goal, client, measure: Callable[[FirstSofa, object], dict],
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
                space.suggest(trial, goal)
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
    """The study for models.lab.report, plain JSON."""
    trials = complete(study)
    points = [(math.expm1(t.user_attrs["loss"]) * 100,
               t.user_attrs["dense_cycles"] / t.user_attrs["cycles"]) for t in trials]
    best = front([(x, -y) for x, y in points])
    return {"command": command, "x": "perplexity increase, %",
            "y": "cycles of dense attention / cycles",
            "trials": points, "front": [points[i] for i in best],
            "settings": [trials[i].params for i in best]}
