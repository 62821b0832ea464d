# SPDX-License-Identifier: Apache-2.0
"""Cycle model of the second machine: the work it counts, its bounds, what it cannot beat, and that
no layer from X waits for ever."""

from dataclasses import replace

import numpy as np
import pytest

from models import fast, head, layer, plan, workloads
from models import fast as second
from models.config import Config, ConfigError
from models.lab.cost import bands
from models.lab.cost.bands import Machine, bound_of, cycles, work_of
from models.lab.cost.cycles import Memory
from models.lab.methods.method import Call
from models.lab.methods.sofa import Sofa

needs_numba = pytest.mark.skipif(not fast.available(), reason="numba is not installed")

TINY = Config.from_name("tiny")
"""4 rows, 2 units of 4 elements, 4 columns, 8 bytes a beat."""

GROUPS = Config.from_name("small").replace(KG_TOK=4)
"""16 rows, 4 units of 8 elements, groups of 4 tokens, of 8 in packed jobs."""


def job(heads, **changes):
    """A job of d = 8 and tiles of 8 keys with so many query heads."""
    return head.Job(**{"d": 8, "bc": 8, "table": (head.HeadTable(1, 0),) * heads, **changes})


def from_x(keys=70, rows=24, heads=4, kv_heads=2, cfg=TINY, seed=1, **settings):
    """A random causal layer from X, its last rows, and its result."""
    rng = np.random.default_rng(seed)
    h, d = 32, 8
    x = rng.normal(size=(keys, h))
    wk, wv = rng.normal(size=(2, kv_heads, h, d)) / np.sqrt(h)
    q = rng.normal(size=(heads, rows, d)) * 2
    z = layer.plan_layer(x, wk, wv, q, cfg, **{"causal": True, "bc": 16, "tau": 0.06, "fall": 0.0,
                                               "rope_theta": 50.0, **settings})
    return z, layer.run_layer(z, cfg)


def test_work_by_hand():
    """Two heads share K; 6 rows are blocks of 4 and 2; 10 keys are interleaved tiles of 5."""
    selected = np.zeros((2, 6, 10), bool)
    selected[0, 0, 2] = selected[0, 2, 2] = selected[1, 3, 2] = True  # even rows: unit 0
    selected[1, 5, 9] = True
    work = work_of(selected, job(2), TINY, kv_heads=1)
    # Bands of one row block of both heads; tiles 0, 1 and again 0.
    assert (work.band_turn, work.band_block) == ([0, 3, 6], [0, 2, 4])
    assert work.block_rows == [4, 4, 2, 2] and work.turn_slots == [5] * 6
    assert work.turn_selects == [False, True, True] * 2
    assert work.turn_key == [0, 0, 0, 1, 1, 2, 2]
    assert work.want.tolist() == [[2, 1], [0, 1]] and work.pairs == 4
    # Unit 0 has rows 0, 2 of head 0 and of head 1, unit 1 rows 1, 3 of either: 3 is its fourth.
    assert work.first[0].tolist() == [0, 3] and work.last[0].tolist() == [1, 3]
    assert work.first[1, 1] == work.last[1, 1] == 1  # row 5 of head 1
    # d = 8: 2 beats of 16 bits, 1 of 8; 2 groups of 4 columns take 8 cycles each; SADS takes 2
    # words of 4 and the limit; each band reads one mean of V.
    assert bound_of(work, job(2), TINY) == {
        "dlzs": 2 * 3 * 16 + 2 * 3 * 16,
        "sads": 12 * (2 + bands.LIMIT),
        "units": int((4 * 2 + 2.5 * 12 * 2) / 2),
        "read": 6 * 5 + (2 * 2 + 12) * 2 + 2,
        "write": 12 * 2,
    }


def test_jobs_that_do_not_sum_score_once():
    selected = np.ones((1, 4, 10), bool)
    one = job(1, select=head.SORT, quota=8)
    sort = work_of(selected, one, TINY)
    assert sort.turn_selects == [True, True] and sort.turn_key == [0, 5, 10]
    assert bound_of(sort, one, TINY)["dlzs"] == 2 * 16
    # 5 of 5 keys taken: 2 passes over 2 words of one group of columns.
    assert sort.sads == [2 * (2 + 6) + 4] * 2
    dense = job(1, select=head.DENSE)
    assert bound_of(work_of(selected, dense, TINY), dense, TINY)["dlzs"] == 0


def test_rows_of_a_group_share_a_block_where_they_fit():
    """Three heads with one row each: rows 0, 1, 2 of one block, units 0, 1, 0."""
    selected = np.zeros((3, 1, 10), bool)
    selected[0, 0, 4] = selected[2, 0, 4] = selected[1, 0, 5] = True
    together = work_of(selected, job(3), TINY)
    assert together.block_rows == [3] and together.want.tolist() == [[0, 1], [2, 0]]
    apart = work_of(selected, job(3), TINY, machine=Machine(packed=False))
    assert apart.block_rows == [1, 1, 1] and apart.want.tolist() == [[1, 0], [2, 0]]
    two = np.zeros((6, 1, 10), bool)
    assert work_of(two, job(6), TINY, kv_heads=2).block_rows == [3, 3]


def test_job_of_a_call_is_that_of_the_machine():
    rng = np.random.default_rng(1)
    call = Call(*rng.normal(size=(3, 4, 300, 64)).astype(np.float32), True)
    call = replace(call, k=call.k[:2], v=call.v[:2])
    for method, settings in ((Sofa(), {"snap": 2}),
                             (Sofa(quota=4, snap="floor"), {"select": head.SORT, "quota": 4}),
                             (Sofa(bc=32, band=1, blend=False), {"bc": 32, "band": 1, "snap": 2,
                                                                "blend": False})):
        _, want = plan.plan(call.q, call.k, call.v, method.machine(), causal=True, **settings)
        got = bands.job_of(call, method, False)
        for name in ("d", "bc", "band", "select", "quota", "causal", "offset", "interleaved",
                     "blend"):
            assert getattr(got, name) == getattr(want, name), name


@needs_numba
@pytest.mark.parametrize("select", [head.SUM, head.SORT, head.DENSE])
@pytest.mark.parametrize("machine", [
    Machine(), Machine(landing=1, fifo=1, k8_bufs=1, mask_tiles=2, least=1),
    Machine(q_stores=9, o_stores=9, fifo=64, in_place=True),
], ids=["default", "least", "large"])
def test_no_job_beats_its_bounds_or_never_ends(select, machine, seed):
    rng = np.random.default_rng([seed, select])
    for _ in range(10):
        kv, group = int(rng.integers(1, 3)), int(rng.integers(1, 3))
        rows, keys = int(rng.integers(1, 30)), int(rng.integers(1, 60))
        keep = rng.choice([0.0, 0.05, 0.5, 1.0])
        selected = rng.random((kv * group, rows, keys)) < keep
        one = job(kv * group, select=select, band=int(rng.integers(1, 3)))
        work = work_of(selected, one, TINY, kv, machine)
        done = cycles(work, one, TINY, machine, Memory(int(rng.integers(1, 50)), 5))
        assert done.total >= max(done.bound.values())
        for name in ("read", "write", "sads"):
            assert done.busy[name] == done.bound[name], name
        if select != head.DENSE:
            assert done.busy["dlzs"] == done.bound["dlzs"]
        assert done.busy["units"] + done.starved + done.hazard <= done.total


@needs_numba
def test_a_long_job_comes_near_its_largest_bound():
    """Every row takes the same quarter of the keys, two blocks share them: prediction binds."""
    machine = Machine(q_stores=1.5, o_stores=1.5)
    selected = np.zeros((1, 64, 256), bool)
    selected[:, :, ::4] = True
    one = job(1, select=head.SORT, d=16, bc=16, band=2)
    done = cycles(work_of(selected, one, TINY), one, TINY, machine, Memory(10, 10))
    assert done.binds == "dlzs" and done.bound["dlzs"] == 16 * 16 * 64
    assert done.total < 1.02 * done.bound["dlzs"]


@needs_numba
def test_sads_holds_prediction_up_where_it_takes_longer():
    """Tiles of 4 keys take DLZS 8 cycles and SADS 13."""
    selected = np.zeros((1, 4, 256), bool)
    one = job(1, bc=4)
    done = cycles(work_of(selected, one, TINY), one, TINY, memory=Memory(1, 1))
    assert done.binds == "sads" and done.bound == {**done.bound, "dlzs": 65 * 8, "sads": 65 * 13}
    assert done.bound["sads"] < done.total < done.bound["sads"] + 150


@needs_numba
@pytest.mark.parametrize("sizes, words", [
    ({"landing": 0}, "landing = 0, legal: "), ({"fifo": 0}, "fifo = 0, legal: "),
    ({"k8_bufs": 0}, "k8_bufs = 0, legal: "), ({"lanes": 0}, "lanes = 0, legal: "),
    ({"hazard": 1000}, "hazard = 1000, legal: integer 1..64"), ({"least": 0}, "least = 0, legal: "),
    ({"q_stores": 0}, "q_stores = 0, legal: "), ({"o_stores": np.nan}, "o_stores = nan, legal: "),
])
def test_sizes_that_stop_a_machine_are_refused(sizes, words):
    with pytest.raises(ConfigError, match=words):
        Machine(**sizes)


def test_a_unit_is_no_wider_than_the_machine():
    with pytest.raises(ConfigError, match="unit_mults = 16, legal: integer 0..8"):
        Machine(unit_mults=16).units(Config.from_name("tiny"))


@needs_numba
def test_a_row_waits_for_itself():
    """Rows 0 and 2 of unit 0 want the even keys, row 2 alone the odd ones: a pair takes 2 cycles,
    the next one of the same row starts 4 after it: up to 2 are lost for each of 32 even keys."""
    selected = np.zeros((1, 4, 64), bool)
    selected[0, 2] = True
    selected[0, 0, ::2] = True
    one = job(1, select=head.DENSE, bc=16, interleaved=False)
    quick = Machine(least=1)
    done = cycles(work_of(selected, one, TINY), one, TINY, quick, Memory(1, 1))
    free = cycles(work_of(selected, one, TINY), one, TINY, replace(quick, hazard=1), Memory(1, 1))
    # A mean of two units.
    assert free.hazard == 0 and 16 <= done.hazard <= 32
    assert free.total <= done.total


# ---- from X -------------------------------------------------------------------------------------


@pytest.mark.parametrize("changes", [{}, {"select": head.SORT, "quota": 2}, {"blend": False},
                                     {"rope_theta": 0.0, "band": 2}])
def test_bytes_and_tokens_are_those_of_the_reference(changes):
    z, got = from_x(**changes)
    work = work_of(got.selected, z.job, TINY, 2, makes=True)
    bound, stats = bound_of(work, z.job, TINY, source=z), got.stats
    assert bound["read"] * TINY.BUS_BYTES == stats.bytes_read
    assert bound["write"] * TINY.BUS_BYTES == stats.bytes_written
    assert work.made.sum() == sum(stats.generated) > 0
    means = layer.mean_tokens(head.parts(4, 2, 24, 70, z.job, TINY), z.job)
    assert work.tokens == work.made.sum() + means and (means > 0) == (not changes.get("select")
                                                                     and changes.get("blend", True))
    # P = 4 passes of 32 cycles a token; ROWS * KG_TOK / 2 are fewer.
    assert bound["kvgen"] == work.tokens * 4 * 32
    # What is read and exists was made by a key before it.
    reads = np.flatnonzero(~work.made)
    assert (work.after[reads] >= 0).all() and (work.after[reads] < reads).all()
    assert work.made[work.after[reads]].all() and (work.after[work.made] == -1).all()


@needs_numba
def test_layers_from_x_do_all_their_work(seed):
    for cfg in (TINY, GROUPS):
        z, got = from_x(cfg=cfg, seed=seed)
        work = work_of(got.selected, z.job, cfg, 2, makes=True)
        done = cycles(work, z.job, cfg, source=z)
        for name in ("dlzs", "sads", "read", "write"):
            assert done.busy[name] == done.bound[name], name
        assert done.busy["kvgen"] >= done.bound["kvgen"] and done.predict > 0
        assert done.total - done.predict >= max(done.bound.values())
        assert -(-work.tokens // (1 if cfg is TINY else 4)) <= done.groups <= work.tokens


@needs_numba
def test_a_blocked_front_releases_the_group(seed):
    """Landing buffers too small for a group of tokens: every job ends, whatever the sizes; a
    machine whose groups wait for a front that is blocked does not."""
    stuck = 0
    for few in range(4):
        z, got = from_x(rows=16 + 8 * few, cfg=GROUPS, seed=seed + few, band=1 + few % 2)
        work = work_of(got.selected, z.job, GROUPS, 2, makes=True)
        for landing in (1, 2, 3, 5):
            for fifo, masks, latency in ((1, 1, 1), (2, 1, 60), (16, 8, 7)):
                size = Machine(landing=landing, fifo=fifo, mask_tiles=masks, k8_bufs=1)
                memory = Memory(latency, latency)
                done = cycles(work, z.job, GROUPS, size, memory, z)
                assert done.busy["write"] == done.bound["write"]
                try:
                    cycles(work, z.job, GROUPS, replace(size, released=False), memory, z)
                except RuntimeError as error:
                    assert "waits for ever" in str(error)
                    stuck += 1
    assert stuck


@needs_numba
def test_a_vector_is_read_after_its_write_back():
    """Rows of one head, all keys wanted by all: what a band makes the next one reads. The later
    memory answers, the longer the front waits."""
    z, got = from_x(rows=24, heads=1, kv_heads=1, keys=24, tau=1e-6)
    work = work_of(got.selected, z.job, TINY, 1, makes=True)
    assert (work.after >= 0).any()
    times = [cycles(work, z.job, TINY, memory=Memory(1, late), source=z) for late in (1, 2000)]
    assert times[0].unwritten < times[1].unwritten > 500
    assert times[1].total > times[0].total + 1000


# ---- captured heads -----------------------------------------------------------------------------


@needs_numba
def test_goals_on_a_group_of_captured_heads():
    """SmolLM2 layer 5, three heads, causal 1024 x 1024: cycles and bounds."""
    cfg = Config.from_name("paper").replace(TWO_TERM=1)
    limits = {"sum, two-term": 40_000, "quota 16, radius 6": 56_000, "dense": 405_389}
    for one in bands.captured(cfg, [bands.GROUP]):
        done = one.cycles(cfg)
        assert done.total <= limits.pop(one.mode)
        assert done.total <= 1.2 * max(done.bound.values()) + 1000
        if one.job.dense:
            assert done.ratio <= 1.03
    assert limits == {}


@needs_numba
def test_one_token_of_three_heads_reads_k8_once():
    cfg = Config.from_name("paper")
    selected = np.random.default_rng(1).random((3, 1, 4096)) < 0.04
    one = job(3, d=64, bc=64, causal=True, offset=4095)
    done = cycles(work_of(selected, one, cfg), one, cfg)
    assert done.bound["dlzs"] == 65 * 128 and done.ratio <= 1.10
    apart = Machine(packed=False)
    assert cycles(work_of(selected, one, cfg, machine=apart), one, cfg, apart).ratio < 1.10
    assert bound_of(work_of(selected, one, cfg, machine=apart), one, cfg)["dlzs"] == 3 * 65 * 128


@needs_numba
def test_a_layer_from_x_comes_near_kvgen():
    cfg = Config.from_name("paper").replace(TWO_TERM=1)
    case = workloads.load_layer("smollm2_novel_s0512_l19")
    z = bands.of_layer(case, cfg, snap=2)
    got = layer.run_layer(z, cfg, run=second.run_job)
    done = cycles(work_of(got.selected, z.job, cfg, z.kv_heads, makes=True), z.job, cfg, source=z)
    assert done.binds == "kvgen" and done.ratio < 1.1


@needs_numba
def test_a_window_bounds_the_tiles():
    """A layer of 96 rows in a window of 16: each band of two blocks scores the tiles of 23 keys at
    most and the sinks, however long the sequence; no job beats its bounds."""
    z, done = from_x(keys=96, rows=96, window=16, sinks=2, bc=8, band=2, interleaved=False)
    work = work_of(done.selected, z.job, TINY, kv_heads=2)
    tiles = np.diff(work.band_turn) - 1
    assert tiles.max() == 4 and len(tiles) == 2 * 12
    assert max(work.turn_slots) == 8
    for source in (None, z):
        own = work_of(done.selected, z.job, TINY, kv_heads=2, makes=source is not None)
        took = cycles(own, z.job, TINY, source=source)
        assert took.total - took.predict >= max(took.bound.values())
    wide, whole = from_x(keys=96, rows=96, bc=8, band=2, interleaved=False)
    other = work_of(whole.selected, wide.job, TINY, kv_heads=2)
    assert bound_of(work, z.job, TINY)["dlzs"] < 0.6 * bound_of(other, wide.job, TINY)["dlzs"]


def test_job_of_a_call_in_a_window():
    x = np.zeros((1, 30, 8), np.float32)
    call = Call(x, x[:, :25], x[:, :25], True, window=9, sinks=2, past=5)
    got = bands.job_of(call, Sofa(config="tiny", bc=8), False)
    assert (got.window, got.sinks, got.offset) == (9, 2, 0)
