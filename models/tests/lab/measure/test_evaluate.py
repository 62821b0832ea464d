# SPDX-License-Identifier: Apache-2.0
"""Evaluation: definitions by hand-worked examples, the store, the processes, the command line."""

import dataclasses
import json
import math
import os
import signal
from pathlib import Path

import numpy as np
import pytest

from models.lab.measure import evaluate, store, subjects
from models.lab.measure.curves import Reach, front, keep_at, percent, pool, standard_error
from models.lab.measure.evaluate import Bench, Meter, Task, row_quality
from models.lab.measure.grid import Series
from models.lab.measure.pool import Failure, run
from models.lab.measure.store import Store, StoreError, code_digest, describe
from models.lab.measure.subjects import Case, Subject
from models.lab.methods.counts import Counts
from models.lab.methods.method import Attended, Call, Method, softmax_over
from models.lab.report.tables import gather, keep_table
from models.nets.common import dense
from scripts import evaluate as command

CASE = Case("fake", "none", 64)


@dataclasses.dataclass(frozen=True)
class Nearest(Method):
    """The ``width`` keys up to the row's own position; layers in ``full`` are dense."""

    width: int = 4
    full: tuple = ()

    name = "nearest"

    def attend(self, call):
        mask = call.mask()
        rows, keys = mask.shape
        back = np.arange(keys - rows, keys)[:, None] - np.arange(keys)
        chosen = mask if call.layer in self.full else mask & (back < self.width)
        chosen = np.broadcast_to(chosen, (len(call.q), rows, keys)).copy()
        counts = Counts(visible=int(mask.sum()) * len(call.q), selected=int(chosen.sum()))
        counts.add("compute", "mul16x16", chosen.sum())
        return Attended(softmax_over(call.logits(), chosen, call.shared(call.v)), chosen, counts)


@dataclasses.dataclass(frozen=True)
class Learner(Nearest):
    """Takes its width from the number of calibration calls, and remembers their first value."""

    def fit(self, calls):
        calls = list(calls)
        SEEN.append(float(calls[0].q[0, 0, 0]))
        return dataclasses.replace(self, width=len(calls))


SEEN = []


class Fake(Subject):
    """Two layers of random projections, causal; outputs are the last states of a pass."""

    name = "fake"
    unit = "nat"
    modules = ("models.lab.methods.counts",)
    measured = 0

    @classmethod
    def source(cls, case):
        return {"net": "1", "text": case.text}

    def inputs(self, case):
        rng = np.random.default_rng(case.part)
        return [rng.normal(size=(case.length, 8)).astype(np.float32)]

    def calibration(self, case):
        rng = np.random.default_rng(case.part + 1000)
        return [rng.normal(size=(case.length, 8)).astype(np.float32)]

    def run(self, inputs, start):
        Fake.measured += 1
        out = []
        for x in inputs:
            attend = start() if start else dense
            for layer in range(2):
                call = Call(np.stack([x, x * 2]), x[None], x[None], True, layer, 2)
                x = x + attend(call).sum(axis=0)
            out.append(x)
        return {"x": np.concatenate(out)}

    def compare(self, dense, got):
        return subjects.measured(np.abs(got["x"] - dense["x"]).mean(axis=1))


def bench(path):
    return Bench(path, Store(path), {"fake": Fake})


def task(width, **fields):
    return Task("nearest", Nearest(width, **fields), CASE, str(width))


# ---- Definitions -----------------------------------------------------------------------------


def small_call(layer, rows=4, heads=2):
    rng = np.random.default_rng(layer)
    q, k = rng.normal(size=(heads, rows, 8)), rng.normal(size=(1, rows, 8))
    return Call(*(x.astype(np.float32) for x in (q, k, k)), True, layer, 2)


def test_keep_is_selected_over_visible_of_all_layers_and_heads():
    meter = Meter(Nearest(1, full=(0,)))
    for layer in (0, 1):
        meter(small_call(layer))
    # 4 causal rows see 1 + 2 + 3 + 4 = 10 keys, twice for the heads; layer 1 takes one each.
    assert meter.visible == {0: 20, 1: 20} and meter.selected == {0: 20, 1: 8}
    assert meter.counts.keep == 28 / 40


class Wrong(Nearest):
    """Breaks one promise."""

    def attend(self, call):
        done = super().attend(call)
        if self.width == 1:
            done.selected[0, 0, -1] = True
        elif self.width == 2:
            done.counts.selected += 1
        else:
            done.out[0, 0, 0] = np.nan
        return done


@pytest.mark.parametrize("width, message", [
    (1, "masked pair"), (2, "counts say"), (3, "not finite")])
def test_a_method_that_breaks_its_promises_is_refused(width, message):
    with pytest.raises(ValueError, match=f"layer 1: .*{message}"):
        Meter(Wrong(width))(small_call(1))


def test_recall_and_mass_against_plain_python():
    rng = np.random.default_rng(3)
    q, k = (rng.normal(size=(n, 70, 8)).astype(np.float32) for n in (2, 1))
    call = Call(q, k, k, True)
    chosen = (rng.random((2, 70, 70)) < 0.3) & call.mask()
    chosen[1, 47] = False
    recall, some, mass, rows = row_quality(call, chosen)
    recalls, masses = [], []
    for h in range(2):
        for i in (31, 47, 63):  # every 16th row, from 32 visible keys on
            score = [float(q[h, i] @ k[0, j]) / math.sqrt(8) for j in range(i + 1)]
            picked = [j for j in range(i + 1) if chosen[h, i, j]]
            best = sorted(range(i + 1), key=lambda j: -score[j])[:len(picked)]
            if picked:
                recalls.append(len(set(picked) & set(best)) / len(picked))
            masses.append(sum(math.exp(score[j]) for j in picked) / sum(map(math.exp, score)))
    assert (some, rows) == (5, 6) == (len(recalls), len(masses))
    assert recall == pytest.approx(sum(recalls)) and mass == pytest.approx(sum(masses), rel=1e-5)


def test_losses_of_the_real_subjects_by_hand():
    language = object.__new__(subjects.Language)
    got = language.compare({"losses": np.zeros(130)}, {"losses": np.repeat([0.1, 0.3], 65)})
    assert got["samples"] == pytest.approx([0.1, 0.3]) and got["loss"] == pytest.approx(0.2)
    text = object.__new__(subjects.Embedding)
    a = np.array([[1, 0], [0.8, 0.6], [0, 1], [-1, 0]], float)
    b = a[[0, 1, 1, 3]]  # the third moved onto the second
    got = text.compare({"vectors": a}, {"vectors": b})
    # The nearest of the four: dense 1 0 1 2, moved 1 2 1 (2 and 1 tie, the first) 1.
    assert got["samples"] == pytest.approx([0, 0, 0.4, 0])
    assert got["extra"]["neighbour"] == 0.5
    vision = object.__new__(subjects.Vision)
    got = vision.compare({"matches": np.array([[0, 1], [2, 3]])},
                         {"matches": np.array([[2, 3], [4, 4], [5, 5]])})
    assert got["loss"] == 3 / 4 and got["extra"] == {"precision": 1 / 3, "recall": 1 / 2}


# ---- Curves ----------------------------------------------------------------------------------


@pytest.mark.parametrize("limit, keep, bound", [
    (1.0, 0.2 + 0.1 * 2 / 3, False),  # between (.2, 3) and (.3, 0)
    (3.0, 0.2, False), (5.0, 0.1 + 0.1 * 2 / 4, False), (7.0, 0.1, True), (-1.0, None, False)])
def test_keep_at_a_loss_is_interpolated(limit, keep, bound):
    got = keep_at([(0.3, 0.0), (0.1, 7.0), (0.2, 3.0), (0.9, 0.0)], limit)
    assert got.bound is bound
    assert got.keep is None if keep is None else got.keep == pytest.approx(keep)


def test_reach_says_what_it_is():
    assert [str(Reach(k, b)) for k, b in ((0.1234, False), (0.1, True), (None, False))] == [
        "12.3 %", "<= 10.0 %", "not reached"]


def test_front_drops_what_is_beaten():
    assert front([(0.3, 1.0), (0.2, 2.0), (0.25, 2.5), (0.4, 1.0), (0.1, 9.0)]) == [
        (0.1, 9.0), (0.2, 2.0), (0.3, 1.0)]


def test_points_pool_pairs_and_samples():
    one = {"samples": [1.0, 2.0], "selected_layers": [1, 2], "visible_layers": [10, 10],
           "selected": 3, "visible": 20, "recall": 0.5, "mass": None, "extra": {"a": 1.0},
           "ops": {"predict": {}, "select": {}, "compute": {"mul8x8": 2}}, "bytes": {"q": 5},
           "case": {"text": "novel", "part": 1}, "setting": {"class": "x"}}
    other = {**one, "samples": [6.0], "selected_layers": [30, 40], "visible_layers": [40, 40],
             "selected": 70, "visible": 80, "recall": 0.7, "extra": {"a": 3.0},
             "case": {"text": "/texts/other.txt", "part": 0}}
    p = pool([one, other])
    assert p.loss == 3.0 and p.keep == 73 / 100 and p.layers == (31 / 50, 42 / 50)
    assert p.error == pytest.approx(np.std([1, 2, 6], ddof=1) / math.sqrt(3))
    assert p.recall == pytest.approx(0.6) and p.mass is None and p.extra == {"a": 2.0}
    # 2 products of 64 bits and 5 bytes each, of 100 visible pairs.
    assert p.cost == {"predict": 0, "select": 0, "compute": 4 * 64 / 100}
    assert p.bytes == {"q": 10 / 100} and p.setting == {"class": "x"}
    assert p.texts == {"novel:1": (1.5, pytest.approx(0.5), 3 / 20),
                       "other.txt": (6.0, math.inf, 70 / 80)}
    assert standard_error([1.0]) == math.inf and percent(math.log(1.5)) == pytest.approx(50)


# ---- Store -----------------------------------------------------------------------------------


def test_a_stored_result_is_not_measured_again(tmp_path):
    Fake.measured = 0
    first = bench(tmp_path).result(task(4))
    assert Fake.measured == 2  # dense, and with the method
    again = bench(tmp_path).result(task(4))
    assert Fake.measured == 2 and again == json.loads(json.dumps(first))
    bench(tmp_path).result(task(5))
    assert Fake.measured == 3  # the dense outputs were stored
    assert first["keep"] == first["selected"] / first["visible"]
    assert first["loss"] > 0 and first["setting"]["fields"] == {"width": 4, "full": []}
    assert bench(tmp_path).result(task(64))["loss"] == pytest.approx(0, abs=1e-6)


def test_keys_know_the_setting_the_case_and_the_text(tmp_path):
    b = bench(tmp_path)
    keys = {b.key(t) for t in (
        task(4), task(5), task(4, full=(1,)), Task("x", Nearest(4), Case("fake", "other", 64)),
        Task("x", Nearest(4), Case("fake", "none", 32)),
        Task("x", Nearest(4), Case("fake", "none", 64, 1)), Task("x", Learner(4), CASE),
        evaluate.RowTask(CASE))}
    assert len(keys) == 8 and b.key(task(4)) == b.key(Task("named otherwise", Nearest(4), CASE))


def test_keys_know_the_libraries(monkeypatch, tmp_path):
    b = bench(tmp_path)
    assert evaluate.libraries()["numpy"] == np.__version__
    keys = {b.key(task(4)), store.digest(b.case_key(CASE))}
    for name in evaluate.LIBRARIES:
        other = {**evaluate.libraries(), name: "99"}
        with monkeypatch.context() as patch:
            patch.setattr(evaluate, "libraries", lambda other=other: other)
            keys |= {b.key(task(4)), store.digest(b.case_key(CASE))}
    assert len(keys) == 2 * (1 + len(evaluate.LIBRARIES))


@pytest.mark.parametrize("spoil", [
    lambda text: text[: len(text) // 2], lambda text: "", lambda text: "[]",
    lambda text: text.replace('"visible": ', '"visible": 1'),
    lambda text: text.replace('"key": "', '"key": "0')])
def test_a_corrupt_file_is_named(tmp_path, spoil):
    b = bench(tmp_path)
    b.result(task(4))
    path = b.store.path(b.key(task(4)))
    path.write_text(spoil(path.read_text()))
    with pytest.raises(StoreError) as error:
        bench(tmp_path).result(task(4))
    assert str(path) in str(error.value) and "remove it and run again" in str(error.value)
    assert "\n" not in str(error.value)
    path.unlink()
    bench(tmp_path).result(task(4))


def test_corrupt_dense_outputs_are_named(tmp_path):
    b = bench(tmp_path)
    b.result(task(4))
    [path] = tmp_path.glob("*.npz")
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(StoreError, match=f"{path.name} is not a whole result"):
        bench(tmp_path).result(task(5))


def test_a_failed_write_leaves_nothing(tmp_path):
    def broken(file):
        file.write(b"half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        store.write_whole(tmp_path / "x.json", broken)
    assert not list(tmp_path.iterdir())


def test_methods_learn_from_what_is_not_evaluated(tmp_path):
    SEEN.clear()
    result = bench(tmp_path).result(Task("learner", Learner(64), CASE))
    fake = Fake(tmp_path)
    assert SEEN == [float(fake.calibration(CASE)[0][0, 0])]
    assert SEEN != [float(fake.inputs(CASE)[0][0, 0])]
    # Two calls were seen, so the rows took two keys each; the setting is the one before.
    assert result["selected"] == 2 * 2 * (1 + 63 * 2)
    assert result["setting"]["fields"]["width"] == 64


def test_code_counts_and_comments_do_not(tmp_path, monkeypatch):
    def digest_of(name, **files):
        root = tmp_path / name
        (root / "pack").mkdir(parents=True)
        base = {"__init__": "from pack import c", "a": "from pack import b\nX = 1",
                "b": "def f():\n    import pack.d", "c": "Y = 1", "d": "Z = 1"}
        for module, text in {**base, **files}.items():
            (root / "pack" / f"{module}.py").write_text(text)
        monkeypatch.setattr(store, "ROOT", root)
        return code_digest("pack.a")

    plain = digest_of("1")
    assert digest_of("2", a='"""Why."""\nfrom pack import b  # that\nX = 1') == plain
    assert digest_of("3", c="Y = 2") == plain  # only the package's list of all imports it
    assert digest_of("4", a="from pack import b\nX = 2") != plain
    assert digest_of("5", d="Z = 2") != plain  # imported inside a function of an import
    assert digest_of("6", a="from pack import b, c\nX = 1") != plain
    assert digest_of("7", a="from . import b\nX = 1") == plain
    assert digest_of("8", a="from . import b\nX = 1", d="Z = 2") != plain


def test_settings_that_have_no_name_are_refused():
    assert describe(Nearest(2, full=(np.int64(3),)))["fields"] == {"width": 2, "full": [3]}
    assert describe(np.zeros(2)) != describe(np.zeros(3)) != describe(np.ones(3))
    with pytest.raises(ValueError, match="type object cannot be named"):
        describe({"a": object()})


# ---- Processes -------------------------------------------------------------------------------


def fragile(job):
    """Store a result; number 1 dies the first time, number 2 always, number 3 raises."""
    number, folder = job
    mark = folder / f"tried-{number}"
    if number == 2 or (number == 1 and not mark.exists()):
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if number == 3:
        raise ValueError("no such thing")
    Store(folder).put(store.digest(number), {"number": number})
    return number * 10


def test_killed_processes_lose_nothing(tmp_path):
    got = {job[0]: outcome for job, outcome in run(fragile, [(n, tmp_path) for n in range(6)], 2)}
    assert sorted(got) == list(range(6))
    assert [got[n] for n in (0, 1, 4, 5)] == [0, 10, 40, 50]
    assert isinstance(got[2], Failure) and got[2].died and "exit code -9" in got[2].reason
    assert isinstance(got[3], Failure) and got[3].reason == "ValueError: no such thing"
    assert sorted(f["number"] for n in range(6) if (f := Store(tmp_path).get(store.digest(n)))) == [
        0, 1, 4, 5]
    assert not list(tmp_path.glob(".part-*"))


def test_processes_have_one_blas_thread_and_the_caller_keeps_its_own(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert [o for _, o in run(threads, [None])] == ["1"]
    assert os.environ["OMP_NUM_THREADS"] == "7"
    with pytest.raises(ValueError, match="workers 0: 1 or more"):
        list(run(threads, [], 0))


def threads(_):
    return os.environ["OMP_NUM_THREADS"]


# ---- Tables, command line --------------------------------------------------------------------


def test_a_grid_gathers_what_is_there(tmp_path):
    cases = (CASE, Case("fake", "other", 64))
    grid = [Series("nearest", "rule", tuple((str(w), Nearest(w)) for w in (64, 8, 1)), cases)]
    b = bench(tmp_path)
    for case, width in ((0, 64), (0, 8), (0, 1), (1, 64)):
        b.result(Task("any", Nearest(width), cases[case]))
    got = gather(b, grid)
    assert got.done == 4 and [(t.case.text, t.label) for t in got.missing] == [
        ("other", "8"), ("other", "1")]
    # Only the first setting has both texts.
    [point] = got.curves["fake", 64]["nearest"]
    assert point.label == "64" and point.keep == 1.0 and len(point.texts) == 2
    header, rows = keep_table(got, "fake")
    assert header[:2] == ["rule", "S = 64: +0.5 %"]
    assert rows == [["nearest", "<= 100.0 %", "<= 100.0 %", "<= 100.0 %"]]


def test_a_grid_goes_on_where_the_loss_is_passed(tmp_path):
    """Begins with the dense end and the middle, then halves the gaps around the losses."""
    grid = [Series("nearest", "rule", tuple((str(w), Nearest(w)) for w in range(64, 0, -1)),
                   (CASE,), start=3, refine=True)]
    b, rounds = bench(tmp_path), []
    while (got := gather(b, grid)).missing:
        rounds.append([int(t.label) for t in got.missing])
        for t in got.missing:
            b.result(t)
    assert rounds[0] == [64, 32] and rounds[1] == [48] and len(rounds) > 3
    whole = [Series("whole", "width", grid[0].settings[:9], (CASE,), refine=True)]
    assert len(gather(bench(tmp_path / "other"), whole).missing) == 9
    points = got.curves["fake", 64]["nearest"]
    loss = {int(p.label): percent(p.loss) for p in points}
    for limit in (0.5, 1, 2):
        # The widths beside each loss are neighbours, so no other setting could say more.
        assert min(w for w in loss if loss[w] <= limit) - 1 in loss
    assert got.done == len(points) == sum(map(len, rounds)) < 30


@pytest.mark.parametrize("arguments, message", [
    (["--method", "nothing"], "no method 'nothing', legal: sofa, sofa-first, "),
    (["--method", "sofa", "--set", "quota=65"], "quota = 65, legal: integer 1..64"),
    (["--method", "sofa", "--set", "depth=3"], "sofa has the fields config, widths, snap"),
    (["--method", "rule", "--set", "share=2"], "share = 2, legal: above 0, up to 1"),
    (["--method", "rule", "--set", "share=[]"], "rule: "),
    (["--net", "bert"], "no net 'bert', legal: smollm2"),
    (["--only", "nonsense"], "nothing of the grid is left"),
    (["--method", "sofa", "--set", "tau=0.1", "--set", "tau=0.2"], "tau is given twice"),
    (["--method", "sofa", "--set", "blend=no"], "blend = 'no', legal: True, False"),
    (["--method", "sofa", "--text", "/nowhere"], "no text '/nowhere'")])
def test_wrong_settings_give_one_sentence(arguments, message, capsys, tmp_path):
    assert command.main([*arguments, "--out", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1 and error.startswith("evaluate.py: ")


@pytest.mark.parametrize("arguments, message", [
    (["--method", "sofa", "--length", "0"], "--length 0: give 1 or more"),
    (["--text", "code"], "--set and --text go with --method"),
    (["--method", "sofa", "--only", "SOFA"], "--only goes without --method")])
def test_options_without_effect_are_refused(arguments, message, capsys):
    with pytest.raises(SystemExit):
        command.main([*arguments, "--list"])
    assert message in capsys.readouterr().err


def test_one_setting_of_a_net_with_a_window_is_no_longer_than_it():
    (series,), _ = command.wanted(command.parse(["--method", "dense", "--net", "gemma3"]))
    assert [case.length for case in series.cases] == [512]


def test_missing_packages_give_one_sentence_with_the_pip_line(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(command, "IMPORTS", ("gguf_that_nobody_has",))
    assert command.main(["--method", "dense", "--out", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert "missing packages: gguf_that_nobody_has" in error and error.count("\n") == 1
    assert "Install with: scripts/setup.sh lab" in error
    assert (Path(__file__).parents[4] / "scripts" / "requirements-lab.txt").is_file()


def test_a_corrupt_cache_stops_the_command(capsys, tmp_path):
    arguments = ["--method", "dense", "--out", str(tmp_path)]
    method = command.one_method("dense", [])
    b = Bench(tmp_path, Store(tmp_path / "results"))
    path = b.store.path(b.key(Task("dense", method, Case("smollm2", "novel", 1024))))
    path.parent.mkdir()
    path.write_text("{")
    assert command.main([*arguments, "--list"]) == 2
    error = capsys.readouterr().err
    assert str(path) in error and error.count("\n") == 1
