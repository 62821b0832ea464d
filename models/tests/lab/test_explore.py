# SPDX-License-Identifier: Apache-2.0
"""Search: parameters, goals, front; and that killing workers or the driver loses no trial."""

import math
import os
import signal
import subprocess
import sys
import time

import pytest

from models.config import ConfigError
from models.lab import explore
from models.lab.store import StoreError

optuna = pytest.importorskip("optuna", reason="the search needs scripts/setup.sh lab torch dse")
distributed = pytest.importorskip("distributed",
                                  reason="the search needs scripts/setup.sh lab torch dse")
pytest.importorskip("torch", reason="the search needs scripts/setup.sh lab torch dse")

from models.tests.lab import explore_driver as driver  # noqa: E402


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
    params = {"tile0": 64, "share0": 100, "radius0": 9.0, "tile1": 32, "share1": 5, "radius1": 2.5}
    method = space.setting(params)
    # 5 % of 32 keys are 1.6, so 2.
    assert method.bc == (64, 32, 32) and method.quota == (64, 2, 2)
    assert method.radius_nats == (9.0, 2.5, 2.5)


def test_goal_of_the_paper_by_hand():
    """Two layers, tiles of 64 and 32 of 512 keys, shares 1/4 and 1/2: sum(Bc k) = 16 + 16,
    sum(S k) = 512 * 0.75 = 384; tile counts 8 and 16, mean 12 of 32."""
    space = explore.Space.of(2, 2)
    setting = space.setting({"tile0": 64, "share0": 25, "radius0": 5.0,
                             "tile1": 32, "share1": 50, "radius1": 5.0})
    result = {"loss": 0.1, "dense": 3.0, "cycles": 7}
    got = explore.Goal("paper", alpha=2.0, beta=3.0).values(result, setting, 512)
    assert got == [pytest.approx(3.1 + 2 * 32 / 384 + 3 * 12 / 32)]
    assert explore.Goal("ours").values(result, setting, 512) == [0.1, 7.0]
    with pytest.raises(ValueError, match="goal 'best', legal: ours, paper"):
        explore.Goal("best")


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
        driver.SPACE.suggest(trial, driver.GOAL)
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
    with pytest.raises(ConfigError, match="quota = 0"):
        explore.FirstSofa(quota=(0, 1))
