# SPDX-License-Identifier: Apache-2.0
"""Bands, the one-key step, the blend, and what an output may depend on."""

import numpy as np
import pytest

from models import head, oracle, plan, sufa, workloads
from models.config import Config, ConfigError
from models.quantise import Peaks
from models.tiling import allowed, bands, mean_span

TINY = Config.from_name("tiny")
PAPER = Config.from_name("paper").replace(TWO_TERM=1)
SMALL = [case for case in workloads.list_cases() if "_s0100_" in case or "_s0128_" in case]


def test_the_stores_hold_the_places_of_the_machine():
    assert [PAPER.places(d) for d in (32, 64, 128)] == [8, 6, 3]


def test_parameters_of_the_machine():
    """The stores grow with a block, the landing buffer with a key."""
    assert (TINY.PLACES, TINY.STORE_BEATS, TINY.TWO_TERM) == (4, 32, 1)
    assert [TINY.places(d) for d in (8, 16)] == [4, 2]
    wide = Config.from_name("tiny", D_MAX=32, FIFO=4)
    assert (wide.STORE_BEATS, wide.places(32), wide.LAND_BEATS, wide.FIFO) == (64, 2, 64, 4)
    assert Config.from_name("tiny", STORE_BEATS=40).STORE_BEATS == 40
    with pytest.raises(ConfigError, match="no parameter 'NO_SUCH'"):
        Config.from_name("tiny", NO_SUCH=1)
    with pytest.raises(ConfigError, match="no configuration 'none'; know tiny, small, paper"):
        Config.from_name("none")


@pytest.mark.parametrize("d, group, band", [(64, 1, 3), (64, 3, 1), (32, 1, 4), (128, 1, 1)])
def test_the_default_band_leaves_places_to_the_next(d, group, band):
    assert plan.default_band(4096, d, group, PAPER) == band


def test_tiles_belong_to_the_band():
    split = bands(10, 18, 16, 2, TINY, causal=True, offset=8)
    assert [(b.row, b.n, len(b.tiles)) for b in split] == [(0, 8, 1), (8, 2, 2)]
    assert [(b.row, b.n, b.length) for b in split[0].blocks] == [(0, 4, 12), (4, 4, 16)]
    assert split[0].tiles[0].n == 16 and split[1].tiles[1].keys.tolist() == list(range(1, 18, 2))


@pytest.mark.parametrize("row, keys, causal, offset, span", [
    (0, 500, True, 0, 32), (0, 20, True, 0, 20), (128, 500, True, 0, 128), (4, 500, True, 60, 64),
    (4, 500, True, 59, 32), (0, 500, False, 0, 500),
])
def test_keys_of_the_mean(row, keys, causal, offset, span):
    assert mean_span(row, keys, causal, offset) == (0, span)


@pytest.mark.parametrize("row, keys, window, span", [
    (128, 500, 48, (80, 128)), (128, 500, 128, (0, 128)), (128, 500, 200, (0, 128)),
    (8, 500, 20, (12, 32)), (128, 100, 48, (80, 100)), (128, 81, 48, (80, 81)),
    (128, 80, 49, (79, 80)), (128, 70, 100, (28, 70)),
])
def test_keys_of_the_mean_of_a_window(row, keys, window, span):
    assert mean_span(row, keys, True, 0, window) == span


# ---- windows ------------------------------------------------------------------------------------


def test_tiles_of_a_window_by_hand():
    """Blocks of 4 rows, bands of 2; a row sees 5 keys and the keys 0 and 1."""
    split = bands(20, 18, 4, 2, TINY, causal=True, window=5, sinks=2)
    tiles = [[(t.keys.tolist(), t.rel, t.window) for t in band.tiles] for band in split]
    # Rows 0..7: keys 2..7 in two tiles, then the sinks.
    assert tiles[0] == [([2, 4, 6], 2, 5), ([3, 5, 7], 3, 5), ([0, 1], 0, 0)]
    # Rows 8..15 see the keys from 4 on, rows 16..19 those from 12 on.
    assert [keys for keys, _, _ in tiles[1]] == [[4, 7, 10, 13], [5, 8, 11, 14], [6, 9, 12, 15],
                                                 [0, 1]]
    assert tiles[2] == [([12, 14, 16], -4, 5), ([13, 15, 17], -3, 5), ([0, 1], -16, 0)]
    assert [[b.length for b in band.blocks] for band in split] == [[4, 7], [7, 7], [5]]
    last = [allowed(t, split[2], split[2].blocks[0]) for t in split[2].tiles]
    assert last[0].tolist() == [[1, 1, 1], [0, 1, 1], [0, 1, 1], [0, 0, 1]]
    assert last[1].tolist() == [[1, 1, 0], [1, 1, 1], [0, 1, 1], [0, 1, 1]] and last[2].all()
    for interleaved in (True, False):
        few = bands(4, 18, 4, 1, TINY, causal=True, window=5, sinks=4, interleaved=interleaved)
        assert [(t.keys.tolist(), t.first, t.last) for t in few[0].tiles] == [
            ([0, 1, 2, 3], True, True)]
    plain = bands(8, 18, 4, 2, TINY, causal=True, offset=6, window=5, interleaved=False)
    assert [t.keys.tolist() for t in plain[0].tiles] == [[2, 3, 4, 5], [6, 7, 8, 9],
                                                        [10, 11, 12, 13]]


def windowed(rows, keys, offset, window, sinks):
    """bool [rows, keys]: what each row may see, from the definition."""
    pos, key = offset + np.arange(rows)[:, None], np.arange(keys)
    return (key <= pos) & ((key > pos - window) | (key < sinks))


@pytest.mark.parametrize("rows, keys, offset, window, sinks, bc, band", [
    (40, 40, 0, 1, 0, 4, 1), (40, 40, 0, 7, 0, 8, 2), (40, 40, 0, 7, 3, 8, 4),
    (9, 60, 51, 16, 4, 4, 3), (40, 33, 0, 9, 16, 16, 2), (12, 30, 25, 8, 0, 16, 2),
    (40, 40, 0, 256, 5, 8, 2), (3, 200, 190, 100, 1, 16, 1),
])
@pytest.mark.parametrize("interleaved", [True, False])
def test_a_window_hides_what_it_should(rows, keys, offset, window, sinks, bc, band, interleaved):
    """Dense: the pairs are those of the definition; the integers follow float64. Sum and sort: no
    hidden key is taken, and none of those changes a bit."""
    rng = np.random.default_rng(rows + keys)
    q, k, v = (rng.normal(size=(1, n, 8)) for n in (rows, keys, keys))
    sees = windowed(rows, keys, offset, window, sinks)
    settings = dict(causal=True, offset=offset, bc=bc, band=band, window=window, sinks=sinks,
                    interleaved=interleaved, snap=2)
    z, job = plan.plan(q, k, v, TINY, select=head.DENSE, **settings)
    got = head.run_job(z.q, z.k, z.v, z.k8, z.means, job, TINY)
    assert (got.selected[0] == sees).all()
    assert [b.length for band in got.heads[0].bands for b in band.blocks] == [
        sees[min(r + 3, rows - 1)].sum() for r in range(0, rows, 4)]
    want = oracle.attention(z.q[0] * z.sq[0], z.k[0] * z.sk[0], z.v[0] * z.sv[0], sees)
    assert oracle.relative_error(got.out[0] * z.sv[0], want) < 2e-3
    for more in (dict(select=head.SUM, tau=.05), dict(select=head.SORT, quota=2)):
        z, job = plan.plan(q, k, v, TINY, **more, **settings)
        got = head.run_job(z.q, z.k, z.v, z.k8, z.means, job, TINY)
        assert not (got.selected[0] & ~sees).any() and got.selected[0].any(axis=1).all()
        for row in {0, rows // 2, rows - 1}:
            other = [a.copy() for a in (z.k, z.v, z.k8)]
            for a in other:
                a[0, ~sees[row]] = rng.integers(-99, 99, (int((~sees[row]).sum()), 8))
            again = head.run_job(z.q, *other, z.means, job, TINY)
            assert (again.selected[0, row] == got.selected[0, row]).all()
            assert (again.out[0, row] == got.out[0, row]).all()


def test_a_wide_window_changes_nothing():
    rng = np.random.default_rng(5)
    q, k, v = (rng.normal(size=(2, n, 8)) for n in (20, 60, 60))
    z, job = plan.plan(q, k, v, TINY, causal=True, tau=.05, bc=8)
    wide, other = plan.plan(q, k, v, TINY, causal=True, tau=.05, bc=8, window=60)
    assert other.window == 60 and (wide.means == z.means).all()
    a, b = (head.run_job(z.q, z.k, z.v, z.k8, z.means, j, TINY) for j in (job, other))
    assert (a.out == b.out).all() and (a.f == b.f).all()


@pytest.mark.parametrize("settings, text", [
    (dict(window=-1, causal=True), "window = -1, legal: integer 0..256"),
    (dict(window=257, causal=True), "window = 257, legal: integer 0..256"),
    (dict(window=4), "window = 4, legal: integer 0..0"),
    (dict(sinks=1, causal=True), "sinks = 1, legal: integer 0..0"),
    (dict(window=4, sinks=9, causal=True, bc=8), "sinks = 9, legal: integer 0..8"),
])
def test_illegal_windows(settings, text):
    x = np.ones((1, 20, 8))
    with pytest.raises(ConfigError, match=text):
        plan.plan(x, x, x, TINY, **settings)


def test_the_last_row_sees_a_key():
    x = np.ones((1, 8, 8))
    z, job = plan.plan(x, x, x, TINY, causal=True, offset=4, window=4)
    with pytest.raises(ConfigError, match="window = 4, legal: 12 - keys . 1 and above"):
        head.run_job(z.q, z.k, z.v, z.k8, z.means, job, TINY)
    z, job = plan.plan(x, x, x, TINY, causal=True, offset=4, window=5, select=head.DENSE)
    got = head.run_job(z.q, z.k, z.v, z.k8, z.means, job, TINY)
    assert got.selected[0].sum(axis=1).tolist() == [5, 5, 5, 5, 4, 3, 2, 1][:8]


def test_means_round_to_the_nearest():
    v = np.zeros((1, 40, 8), np.int16)
    v[0, :32, 0], v[0, 32:, 1], v[0, :, 2] = 384, 32000, -32768
    v[0, 0, 3], v[0, 0, 4], v[0, :, 5] = 256 * 16, 256 * 16 - 1, 32767
    job = head.Job(8, 16, (), causal=True)
    got = head.means_of(v, 4, job, TINY)
    assert got.shape == (1, 1, 8)
    # 1.5 rounds up; 0.5 and just below; the top saturates
    assert got[0, 0].tolist() == [2, 0, -128, 1, 0, 127, 0, 0]


def test_one_key_and_the_mean_by_hand():
    """The example of docs/second.md: f = 215/256 of 1000, the rest of a mean of -20 * 256."""
    state = sufa.start(1, 8)
    q, k, v = np.zeros((1, 8), np.int16), np.zeros((1, 8), np.int16), np.zeros((1, 8), np.int16)
    v[0, 0] = 1000
    sufa.keys(state, q, k, v, np.ones((1, 1), bool), 32768, 20, TINY)
    # z = 0: the reference is 1, the weight 1/2
    assert (state.m[0], state.l[0], state.o[0, 0]) == (1, 16384, 64000)
    mean = np.array([-20, 3, 0, 0, 0, 0, 0, 0])
    out = sufa.finish(state, np.array([215]), mean, TINY)
    assert out[0].tolist() == [840 - 820, 123, 0, 0, 0, 0, 0, 0]
    assert sufa.finish(state, np.array([256]), mean, TINY)[0, 0] == 1000
    empty = sufa.start(1, 8)
    assert not sufa.finish(empty, np.array([256]), mean, TINY).any()


def captured(name, cfg, flatter=1.0, **settings):
    """(Numbers, Job, JobResult, case) of a captured head, its scores divided by ``flatter``."""
    case = workloads.load_case(name)
    numbers, job = plan.plan(case.q / flatter, case.k, case.v, cfg, causal=case.causal, **settings)
    arrays = numbers.q, numbers.k, numbers.v, numbers.k8, numbers.means
    return numbers, job, head.run_job(*arrays, job, cfg), case


def oracle_error(numbers, job, result, cfg, h):
    """Relative L2 error of a head's integers against float64 softmax over the same keys with the
    same blend."""
    kv = h // (len(numbers.q) // len(numbers.k))
    exact = oracle.attention(numbers.q[h] * numbers.sq[h], numbers.k[kv] * numbers.sk[kv],
                             numbers.v[kv], result.selected[h])
    f = result.f[h][:, None] / 2.0**cfg.F_FRAC
    mean = np.repeat(numbers.means[kv], cfg.ROWS, axis=0)[: len(exact)] * 2.0 ** (16 - cfg.VM_W)
    return oracle.relative_error(result.out[h], f * exact + (1 - f) * mean)


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("snap", [0, 2])
def test_the_integers_follow_softmax_and_blend(name, snap):
    numbers, job, result, _ = captured(name, PAPER, snap=snap)
    assert max(oracle_error(numbers, job, result, PAPER, h) for h in range(len(numbers.q))) < 2e-3
    assert 0 < result.selected.mean() < 0.8


def test_a_threshold_of_nothing_is_dense():
    """tau far below every share keeps all, f is 1 or next to it (P has lost less to its shifts)."""
    numbers, job, low, case = captured(SMALL[0], PAPER, 4.0, tau=2.0**-30)
    everything = np.broadcast_to(oracle.causal_mask(100, 100, case.causal), low.selected.shape)
    assert (low.selected == everything).all()
    _, _, dense, _ = captured(SMALL[0], PAPER, 4.0, select=head.DENSE)
    assert (dense.selected == everything).all() and (dense.f == 256).all()
    assert (low.f >= 254).all() and oracle.relative_error(low.out, dense.out) < 5e-3


def test_first_positions_keep_everything():
    _, _, result, case = captured(SMALL[-1], PAPER, tau=0.5)
    assert case.causal
    assert (result.selected[:, :32, :32] == np.tril(np.ones((32, 32), bool))).all()
    assert (result.f[:, :32] == 256).all() and (result.f[:, 32:] < 256).any()


def test_quota_and_radius_take_what_the_first_machine_takes():
    """A band of one block has the tiles of models.head."""
    from models.first import head as first
    from models.first.config import Config as First

    numbers, job, result, case = captured(
        "smollm2_novel_s0257_l00", PAPER.replace(TWO_TERM=0, SC_FRAC=3), select=head.SORT, quota=8,
        radius_nats=3.0, band=1)
    entry = job.table[0]
    old = first.Job(d=job.d, scale_m=entry.scale_m, scale_shift=entry.scale_shift, bc=job.bc,
                    quota=8, radius=entry.radius, causal=True)
    got = first.run_head(numbers.q[0], numbers.k[0], numbers.v[0], numbers.k8[0], old,
                         First.from_name("paper"))
    assert (result.selected[0] == got.selected).all() and (result.f == 256).all()
    assert oracle.relative_error(result.out[0], got.out) < 1e-3


@pytest.mark.parametrize("select", [head.SUM, head.SORT, head.DENSE])
def test_an_output_depends_on_what_its_row_sees_only(select, seed):
    """For given integers: other rows, other heads and hidden keys change nothing."""
    rng = np.random.default_rng(seed)
    rows, keys, d = 11, 37, 8
    q = rng.integers(-3000, 3000, (2, rows, d)).astype(np.int16)
    k, v = rng.integers(-3000, 3000, (2, 2, keys, d)).astype(np.int16)
    k8 = (k >> 5).astype(np.int8)
    means = rng.integers(-99, 99, (2, 3, d)).astype(np.int16)
    entry = head.HeadTable(40000, 30, octave=1, tau=-70, radius=9)
    job = head.Job(d, 16, (entry, entry), band=2, select=select, quota=3, causal=True,
                   offset=keys - rows)
    want = head.run_job(q, k, v, k8, means, job, TINY)
    row, seen = 5, keys - rows + 6
    for x in (q[:, :row], q[:, row + 1 :], q[1], k[:, seen:], v[:, seen:], k8[:, seen:], k[1],
              v[1], k8[1], means[1]):
        x[...] = rng.integers(-127, 127, x.shape)
    got = head.run_job(q, k, v, k8, means, job, TINY)
    assert (got.out[0, row] == want.out[0, row]).all() and got.f[0, row] == want.f[0, row]
    assert (got.selected[0, row] == want.selected[0, row]).all()
    assert (got.out[0, row + 1 :] != want.out[0, row + 1 :]).any()


def test_heads_have_scales_of_their_own():
    case = workloads.load_case(SMALL[-1])
    q, k, v = (np.concatenate([x, x[::-1]]).astype(np.float64) for x in (case.q, case.k, case.v))
    numbers, job = plan.plan(q, k, v, PAPER, causal=True, snap=2)
    v[-1] *= 1000
    other, _ = plan.plan(q, k, v, PAPER, causal=True, snap=2)
    assert (other.v[0] == numbers.v[0]).all() and other.sv[0] == numbers.sv[0]
    # An octave is 2**octave predicted units, up to the rounding of Q.
    for h, entry in enumerate(job.table):
        kv = h // (len(numbers.q) // len(numbers.k))
        unit = plan.score_unit(numbers.sq[h], numbers.sk8[kv], job.d, 2, PAPER)
        assert np.log(2) / unit == pytest.approx(2.0**entry.octave)


@pytest.mark.parametrize("changes, words", [
    ({"select": 3}, "select = 3, legal: "), ({"band": 9}, "band = 9, legal: integer 1..4"),
    ({"fall": 256}, "fall = 256"), ({"quota": 0}, "quota = 0"),
    ({"table": (head.HeadTable(1, 0, tau=1),)}, "tau = 1, legal: "),
    ({"table": (head.HeadTable(1, 0, octave=99),)}, "octave = 99, legal: "),
])
def test_illegal_jobs_are_refused(changes, words):
    job = head.Job(**{"d": 8, "bc": 16, "table": (head.HeadTable(1, 0),), **changes})
    with pytest.raises(ConfigError, match=words):
        job.checked(TINY)


@pytest.mark.parametrize("q, k, v, peaks, words", [
    ((3, 2, 8), (2, 4, 8), (2, 4, 8), None, "heads = 3, legal: multiple of kv_heads = 2"),
    ((1, 2, 8), (2, 4, 8), (2, 4, 8), None, "heads = 1, legal: multiple of kv_heads = 2"),
    ((0, 2, 8), (1, 4, 8), (1, 4, 8), None, "heads = 0, legal: multiple of kv_heads = 1"),
    ((1, 2, 8), (0, 4, 8), (0, 4, 8), None, "heads = 1, legal: multiple of kv_heads = 0"),
    ((2, 8), (1, 4, 8), (1, 4, 8), None, r"q has shape \(2, 8\), legal: 3 axes"),
    ((1, 2, 8), (1, 4, 16), (1, 4, 16), None, r"k has shape \(1, 4, 16\), .*keys, 8\] both"),
    ((1, 2, 8), (1, 4, 8), (1, 5, 8), None, r"v \(1, 5, 8\), legal: "),
    ((1, 0, 8), (1, 4, 8), (1, 4, 8), None, "query rows = 0, legal: integer 1.."),
    ((1, 2, 8), (1, 0, 8), (1, 0, 8), None, "keys = 0, legal: integer 1..256"),
    ((1, 2, 8), (1, 257, 8), (1, 257, 8), None, "keys = 257, legal: integer 1..256"),
    ((1, 2, 8), (1, 4, 8), (1, 4, 8), (2, 1, 1), "peaks of q has 2 entries, legal: one for each"),
    ((2, 2, 8), (2, 4, 8), (2, 4, 8), (2, 1, 2), "peaks of k has 1 entries, legal: one for each"),
])
def test_tensors_that_are_no_job_are_refused(q, k, v, peaks, words):
    given = peaks and Peaks(*((1.0,) * n for n in peaks))
    with pytest.raises(ConfigError, match=words):
        plan.plan(np.ones(q), np.ones(k), np.ones(v), TINY, peaks=given)


def test_stores_of_very_many_blocks():
    """The default band is all row blocks of a job where half of the places hold them."""
    cfg = TINY.replace(STORE_BEATS=1 << 12, PLACES=0)
    x = np.random.default_rng(1).standard_normal((1, 70 * cfg.ROWS, 8))
    z, job = plan.plan(x, x[:, :9], x[:, :9], cfg)
    assert job.band == len(job.bands(x.shape[1], 9, cfg)[0].blocks) > 64


def test_the_least_fraction_bits_of_an_output():
    """A single key's weight is half of 1, or little more: V comes back all the same."""
    cfg = TINY.replace(O_FRAC=1)
    q, k, v = (np.full((1, 1, 8), x) for x in (1.0, 0.0, 3.0))
    z, job = plan.plan(q, k, v, cfg)
    done = head.run_job(z.q, z.k, z.v, z.k8, z.means, job, cfg)
    assert np.allclose(done.out * z.out_scale, 3.0, atol=3e-4)
    with pytest.raises(ConfigError, match="O_FRAC = 0, legal: integer 1..13"):
        TINY.replace(O_FRAC=0)
