# SPDX-License-Identifier: Apache-2.0
"""Search: parameters, goals, front; and that killing workers or the driver loses no trial."""

import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest

from models import fast
from models.config import ConfigError
from models.lab.cost import bands
from models.lab.measure import explore
from models.lab.measure.store import StoreError
from models.lab.methods.machine import SNAPS
from models.lab.methods.method import Call
from models.plan import TAU

optuna = pytest.importorskip("optuna", reason="the search needs scripts/setup.sh lab torch dse")
distributed = pytest.importorskip("distributed",
                                  reason="the search needs scripts/setup.sh lab torch dse")
pytest.importorskip("torch", reason="the search needs scripts/setup.sh lab torch dse")

from models.tests.lab.measure import explore_driver as driver  # noqa: E402


def test_groups_cover_all_layers_once():
    assert explore.Space.of(30, 1).groups == (tuple(range(30)),)
    for groups in (2, 6, 7, 30):
        space = explore.Space.of(30, groups)
        assert len(space.groups) == groups and space.groups[0] == (0,)
        assert [i for g in space.groups for i in g] == list(range(30))
    with pytest.raises(ValueError, match="groups = 31, legal: 1..30"):
        explore.Space.of(30, 31)


def test_setting_of_parameters():
    space = explore.Space.of(3, 2)
    params = {"tile0": 64, "tau0": -9.0, "fall0": 0.0, "snap0": "floor",
              "tile1": 32, "tau1": -7.5, "fall1": 0.5, "snap1": "two-term"}
    layers = space.setting(params).layers
    assert layers == (explore.Sofa(bc=64, tau=2.0**-9, fall=0.0, snap="floor"),
                      *(explore.Sofa(bc=32, tau=2.0**-7.5, fall=0.5, snap="two-term"),) * 2)
    # The first two trials are the machine's defaults.
    for start, snap in zip(explore.STARTS, ("two-term", "floor"), strict=False):
        one = space.setting(space.same(*start)).layers[1]
        tau, fall = TAU[SNAPS[snap]]
        assert (one.snap, one.bc, one.tau, one.fall) == (snap, 64, tau, fall)


def test_goal_of_the_paper_by_hand():
    """Two layers, tiles of 64 and 32 of 512 keys, keep 1/4 and 1/2: sum(Bc k) = 16 + 16,
    sum(S k) = 512 * 0.75 = 384; tile counts 8 and 16, mean 12 of 32."""
    setting = explore.Layered((explore.Sofa(bc=64), explore.Sofa(bc=32)))
    result = {"loss": 0.1, "dense": 3.0, "cycles": 7, "keeps": [0.25, 0.5]}
    got = explore.Goal("paper", alpha=2.0, beta=3.0).values(result, setting, 512)
    assert got == [pytest.approx(3.1 + 2 * 32 / 384 + 3 * 12 / 32)]
    assert explore.Goal("ours").values(result, setting, 512) == [0.1, 7.0]
    with pytest.raises(ValueError, match="goal 'best', legal: ours, paper"):
        explore.Goal("best")


def call(layer, rows=140, keys=140):
    """A random causal call of one of two layers."""
    q, k, v = np.random.default_rng(layer).normal(size=(3, 3, keys, 64)).astype(np.float32)
    return Call(q[:, :rows], k[:1], v[:1], True, layer, 2)


@pytest.mark.skipif(not fast.available(), reason="numba is not installed")
def test_a_meter_adds_the_layers_up():
    """Cycles, sparse and dense, of two layers with settings of their own; the first machine."""
    layered = explore.Layered((explore.Sofa(), explore.Sofa(bc=32, tau=0.1, snap="floor")))
    meter, want, dense = explore.CycleMeter(layered), 0, 0
    for layer, one in enumerate(layered.layers):
        meter(call(layer))
        job, cfg = bands.job_of(call(layer), one, False), one.machine()
        done = one.attend(call(layer)).selected
        want += bands.cycles(bands.work_of(done, job, cfg), job, cfg).total
        job = bands.job_of(call(layer), one, True)
        full = np.broadcast_to(call(layer).mask(), done.shape)
        dense += bands.cycles(bands.work_of(full, job, cfg), job, cfg).total
    assert (meter.cycles, meter.dense) == (want, dense) and want < dense
    old = explore.CycleMeter(explore.FirstSofa(quota=8))
    old(call(0))
    assert 0 < old.cycles < old.dense and old.dense > dense / 2
    with pytest.raises(ValueError, match="2 methods, legal: one for each of 3 layers"):
        layered.of(replace(call(0), layers=3))


def test_front_by_hand():
    points = [(1, 5), (2, 3), (2, 4), (3, 3), (4, 1), (0, 9)]
    assert [points[i] for i in explore.front(points)] == [(0, 9), (1, 5), (2, 3), (4, 1)]


def check(study, folder, trials):
    """All trials are there once, with the value that their parameters have."""
    done = explore.complete(study)
    assert len(done) == trials and len({t.number for t in done}) == trials
    for trial in done:
        want = driver.value(driver.SPACE.setting(trial.params))
        assert trial.values == [1 / want, float(round(want))]
    assert len(list((folder / "calls").iterdir())) >= trials
    return done


def test_killed_workers(tmp_path):
    """Both workers are killed in the middle: every trial ends once, none is lost or failed."""
    killed = []

    def kill(done):
        if done in (3, 7) and len(killed) < 2:
            pids = client.run(os.getpid)
            pid = next(p for p in pids.values() if p not in killed)
            killed.append(pid)
            os.kill(pid, signal.SIGKILL)

    with driver.cluster() as client:
        study, failures = driver.search(tmp_path, 14, client, kill)
        client.cluster.close()
    assert len(killed) == 2 and failures == []
    done = check(study, tmp_path, 14)
    # The first ones are those that every study begins with.
    first = sorted(done, key=lambda t: t.number)[: len(explore.STARTS)]
    assert [t.params for t in first] == [driver.SPACE.same(*s) for s in explore.STARTS]


def test_killed_driver(tmp_path):
    """The driver dies; the next one keeps what is finished and ends what was begun."""
    calls = tmp_path / "calls"
    process = subprocess.Popen([sys.executable, driver.__file__, str(tmp_path), "30"],
                               env={**os.environ, "PYTHONPATH": str(driver.ROOT)})
    limit = time.monotonic() + 90
    while not calls.is_dir() or len(list(calls.iterdir())) < 6:
        assert process.poll() is None and time.monotonic() < limit
        time.sleep(0.02)
    process.kill()
    process.wait()
    with explore.locked(tmp_path / "study"):
        study = explore.open_study(tmp_path / "study", driver.GOAL, driver.SPACE, driver.ABOUT, 1)
    before = {t.number: (t.params, t.values) for t in explore.complete(study)}
    assert 3 <= len(before) < 30
    with driver.cluster() as client:
        study, failures = driver.search(tmp_path, 14, client)
        client.cluster.close()
    after = {t.number: (t.params, t.values) for t in check(study, tmp_path, 14)}
    assert failures == [] and before.items() <= after.items()
    with pytest.raises(StoreError, match="begun with other settings"):
        explore.open_study(tmp_path / "study", driver.GOAL, driver.SPACE, {"case": "else"}, 1)


def test_two_drivers_of_one_study(tmp_path):
    with explore.locked(tmp_path), pytest.raises(StoreError, match="another search works"):
        with explore.locked(tmp_path):
            pass


def test_damaged_journal(tmp_path):
    (tmp_path / "journal.log").write_text("no journal\nat all\n")
    with pytest.raises(StoreError, match="not a whole journal"):
        explore.open_study(tmp_path, driver.GOAL, driver.SPACE, driver.ABOUT, 1)


def test_summary_and_fastest(tmp_path):
    study = explore.open_study(tmp_path, driver.GOAL, driver.SPACE, driver.ABOUT, 1)
    for loss, cycles in ((0.001, 500), (0.004, 400), (0.05, 100)):
        trial = study.ask()
        driver.SPACE.suggest(trial)
        for name, number in (("loss", loss), ("cycles", cycles), ("dense_cycles", 1000)):
            trial.set_user_attr(name, number)
        study.tell(trial, [loss, cycles])
    best = explore.fastest(study, (0.05, 0.5, 10))
    assert [best[b] and best[b].user_attrs["cycles"] for b in best] == [None, 400, 100]
    got = explore.summary(study, "test")
    assert [y for _, y in got["trials"]] == [2.0, 2.5, 10.0]
    assert got["trials"][1][0] == pytest.approx(100 * math.expm1(0.004))
    assert len(got["front"]) == len(got["settings"]) == 3


def test_bad_settings_are_named():
    with pytest.raises(ConfigError, match="tau = 2.0, legal: 2"):
        driver.SPACE.setting(driver.SPACE.same(64, 1.0, 0.0, "floor"))
