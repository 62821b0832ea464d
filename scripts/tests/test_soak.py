# SPDX-License-Identifier: Apache-2.0
"""scripts/soak.py: seeds, results, what is made of a seed that fails; a bug that is planted in the
RTL."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.config import Config
from scripts import soak
from scripts.verify import depends, shrink, soak_results, soak_work
from tb.runner import find_module
from tb.system.random_jobs import Item, Recipe, random_item
from tb.system.soak import run_items

TINY = Config.from_name("tiny")
ROOT = Path(__file__).resolve().parents[2]


def test_a_seed_is_one_item():
    """The same every time, the same from its own text, another one for another seed or
    configuration."""
    items = [random_item(TINY, seed) for seed in range(60)]
    for seed, item in enumerate(items):
        assert item == random_item(TINY, seed) == eval(repr(item))
        assert item.specs(TINY)
    assert len(set(map(repr, items))) == len(items)
    assert random_item(Config.from_name("small"), 1) != items[1]
    found = {name for item in items for name in soak_work.features(item)}
    assert {"chain", "layer", "job", "sum", "sort", "dense", "causal", "window", "sinks", "mean",
            "shared blocks", "grouped heads", "wild", "RoPE", "keys of before", "reorder",
            "stalls"} <= found


@pytest.mark.parametrize("wild", [False, True])
def test_less_has_the_first_numbers(wild):
    """A recipe with fewer rows, keys, elements, heads has the same integers where it has any."""
    whole = Recipe(seed=7, rows=6, keys=20, d=16, kv_heads=2, group=2, wild=wild)
    less = replace(whole, rows=3, keys=9, d=8, kv_heads=1, group=1)
    last = replace(whole, rows=3, keys=9, first_row=3, first_key=11)
    for name in "qk":
        a, b, c = (one.tensor(name, 1, one.first_row if name == "q" else one.first_key, 3, 8, 16)
                   for one in (whole, less, last))
        assert np.array_equal(a, b) and not np.array_equal(a, c)
    n, m = (one.spec(TINY).numbers for one in (whole, last))
    if wild:
        assert np.array_equal(n.q[:, 3:], m.q) and np.array_equal(n.k8[:, 11:], m.k8)
        assert -32768 in n.q or 32767 in n.q


def smallest(item, fails):
    """What is left of an item, and how often it was asked whether one fails."""
    asked = []

    def first_failing(items):
        for number, one in enumerate(items):
            asked.append(one)
            if fails(one):
                return number
        return None

    return shrink.smallest(item, TINY, first_failing), asked


def test_smallest():
    """Down to the shape and the settings that are needed, through every step legal."""
    def fails(item):
        return any(r.rows >= 3 and r.keys >= 5 and r.settings.get("causal") and r.d == 16
                   for r in item.recipes) and item.memory.get("r_gap")

    seed = next(s for s in range(500) if fails(random_item(TINY, s))
                and len(random_item(TINY, s).recipes) > 1)
    left, asked = smallest(random_item(TINY, seed), fails)
    one, = left.recipes
    assert (one.rows, one.keys, one.d, one.heads, one.h) == (3, 5, 16, 1, 0)
    assert one.settings == {"causal": True} and (one.kind, one.q_kind) == ("normal", "normal")
    assert set(left.memory) == {"r_gap", *shrink.FAST} and (left.padding, left.gap) == (0, 0)
    assert all(item.specs(TINY) for item in asked)
    text = shrink.as_test([left], "tiny", "verilator", 1, "x")
    assert eval(text.partition("check([")[2].partition("],\n        config")[0].strip()) == left
    assert max(map(len, text.splitlines())) <= 100


def test_shortest():
    """Of what ran before, only what it takes to fail."""
    def fails(before):
        return 3 in before and 11 in before

    assert shrink.shortest(list(range(16)), fails) == [3, 11]
    assert shrink.shortest([1, 2], lambda before: True) == []


def test_results(tmp_path):
    """Only what holds for the sources counts; a line that was cut does not; a summary adds up."""
    about = {"sources": "a", "sim": "verilator"}
    good = {"jobs": 2, "with": ["job"], "cycles": 10, "values": 7, "seconds": 0.25}
    soak_results.append("tiny", about, [{"seed": s, **good} for s in (1, 2, 3, 7)], tmp_path)
    soak_results.append("tiny", {**about, "sources": "b"}, [{"seed": 4, **good}], tmp_path)
    soak_results.append("tiny", about, [{"seed": 5, "jobs": 1, "with": ["job", "sum"],
                                         "failure": "output: x", "after": [3]}], tmp_path)
    with open(soak_results.path_of("tiny", tmp_path), "a") as handle:
        handle.write(json.dumps({**about, "seed": 9, **good})[:-9])
    found = soak_results.load("tiny", about, tmp_path)
    assert sorted(found) == [1, 2, 3, 5, 7]
    made = soak_results.summary(found, about)
    assert made["seeds"] == [[1, 3], [5, 5], [7, 7]] and made["mismatches"] == [5]
    assert (made["items"], made["jobs"], made["cycles"], made["values"]) == (5, 9, 40, 28)
    assert made["with"] == {"job": 5, "sum": 1} and made["sources"] == "a"
    page, saved = tmp_path / "page.md", tmp_path / "soak.json"
    page.write_text("a\n<!-- table: soak -->\nold\n<!-- end of table -->\nb\n")
    soak_results.save({"tiny": made}, saved, page)
    assert "| tiny | 5 | 9 | 40 | 28 | 1 | a |\n<!-- end of table -->\nb\n" in page.read_text()
    assert soak_results.read(saved) == {"tiny": made}


def test_the_page_is_up_to_date():
    page = soak_results.DOCUMENT.read_text()
    assert "<!-- table: soak -->" in page
    assert soak_results.document(page, soak_results.read()) == page


def test_sources():
    """RTL, models, benches and configurations are in it, once."""
    files = depends.files(ROOT / "tb" / "system" / "soak.py")
    assert {"models/head.py", "models/sads.py", "tb/common/axi_memory.py", "tb/system/taps.py",
            "tb/system/random_jobs.py", "models/spec/configs.py"} <= {*files}
    assert soak_results.sources() == soak_results.sources()


def test_batches():
    """What ran is left out; small and paper have fewer."""
    args = soak.parse(["--seeds", "120"])
    made = soak.batches("tiny", args, {1, 2, 119})
    assert [seed for batch in made for seed in batch.seeds] == [*range(3, 119), 120]
    assert max(len(batch.seeds) for batch in made) == soak.BATCH["tiny"]
    assert [len(soak.seeds_of(c, args)) for c in args.config] == [120, 30, 3]
    assert soak.parse(["--quick"]).config == ["tiny", "small"]


@pytest.mark.parametrize(("arguments", "sentence"), [
    (["--config", "huge"], "--config huge: know tiny, small, paper, lean"),
    (["--seeds", "-3"], "--seeds -3: give 1 or more"),
    (["--scheduler", "tcp://nowhere:1"], "soak: "),
])
def test_wrong_options(arguments, sentence):
    done = subprocess.run([sys.executable, "scripts/soak.py", *arguments], cwd=ROOT, text=True,
                          capture_output=True)
    assert done.returncode and sentence in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


class Future:
    """A task of a scheduler that has ended."""

    def __init__(self, work, *arguments):
        self.outcome, self.error = None, None
        try:
            self.outcome = work(*arguments)
        except ValueError as error:
            self.error = error

    def exception(self):
        return self.error

    def result(self):
        return self.outcome


def test_dask(monkeypatch):
    """Batches go to the workers of a scheduler, which refuse them where their sources are others;
    one that raises spoils no other."""
    def run_batch(batch):
        if 2 in batch.seeds:
            raise ValueError("no simulator")
        return [{"seed": seed} for seed in batch.seeds]

    class Client:
        def submit(self, work, *arguments, **options):
            return Future(work, *arguments)

    monkeypatch.setitem(sys.modules, "distributed", type(sys)("distributed"))
    sys.modules["distributed"].as_completed = list
    monkeypatch.setattr(soak, "run_batch", run_batch)
    tasks = [soak_work.Batch("tiny", "verilator", (s, s + 10)) for s in range(4)]
    for wanted, right in ((soak_results.sources(), 3), ("others", 0)):
        done = dict(soak.on_dask(tasks, Client(), wanted))
        assert set(done) == set(tasks)
        good = [outcome for outcome in done.values() if isinstance(outcome, list)]
        assert len(good) == right and all(len(outcome) == 2 for outcome in good)
        assert ("no simulator" if right else "sources there are") in done[tasks[2]].reason


def planted(tmp_path):
    """Verilog in which the end of a window is one key too far."""
    text = find_module("sofa_sads_sum_mask").read_text()
    line = "end0_reg  <= start + {{POS_W-24{1'b0}}, next_window};"
    assert text.count(line) == 1
    made = tmp_path / "sofa_sads_sum_mask.v"
    made.write_text(text.replace(line, line.replace("next_window}", "next_window} + 1'b1")))
    return [find_module("sofa"), made]


CAUSAL = {"causal": True, "bc": 8}


@pytest.mark.parametrize("whole", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.sims("icarus")
def test_planted_bug(sim, tmp_path, monkeypatch, whole):
    """A bug of the RTL ends the item that shows it, those before it are counted, and, ``whole``,
    the item is made as small as it can be."""
    sources = planted(tmp_path)
    big = Recipe(3, rows=7, keys=13, group=2, settings={**CAUSAL, "window": 5, "band": 2})
    items = [Item((replace(big, settings=CAUSAL),)), Item((big,), {"r_gap": 0.2}, padding=1),
             Item((big,))]
    monkeypatch.setattr(soak_work, "random_item", lambda cfg, seed: items[seed])
    found = {one["seed"]: one for one in soak_work.records(
        soak_work.Batch("tiny", sim, (0, 1)), sources=sources)}
    assert found[0]["cycles"] > 100 and found[0]["values"] > 100
    assert found[1]["failure"].startswith("run_them: sads mask: cycle") and found[1]["after"] == [0]
    if not whole:
        return

    def first_failing(some):
        done = run_items(some, "tiny", sim, name="planted", fresh=True, sources=sources)
        return None if done.failure is None else len(done.passed)

    left = shrink.smallest(items[1], TINY, first_failing)
    one, = left.recipes
    assert left.memory == shrink.FAST and left.padding == 0
    assert one.settings.keys() <= {"causal", "window", "bc"} and one.heads == 1
    # Two keys are the least of which one can be outside.
    assert one.rows <= 2 <= one.keys <= 3 and one.d == 8
    assert run_items([left], "tiny", sim, name="planted").failure is None
