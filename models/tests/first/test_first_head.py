# SPDX-License-Identifier: Apache-2.0
"""Whole heads and jobs: composition, masks, odd sizes, counts, errors of the machine."""

import itertools

import numpy as np
import pytest

from models import oracle, quantise, workloads
from models.config import ConfigError
from models.first.bounds import block_bounds, job_bound, planned_bound
from models.first.config import Config
from models.first.head import Job, run_block, run_head, run_job
from models.head import STREAMS, KeySource

TINY = Config.from_name("tiny", KV_SLOTS=8, TWO_TERM=0)
SMALL = Config.from_name("small", KV_SLOTS=16)
PAPER = Config.from_name("paper")


def make(rows, keys, d, seed=1, cfg=TINY, spread=1.5, heads=()):
    """Quantised random tensors; heads: (query heads, KV heads) or none."""
    rng = np.random.default_rng(seed)
    lead = [(h,) for h in heads] or [(), ()]
    q = rng.normal(size=(*lead[0], rows, d)) * spread
    k, v = (rng.normal(size=(*lead[1], keys, d)) for _ in range(2))
    return quantise.quantise_attention(q, k, v, cfg)


def job_for(z, **settings):
    """A job with the scale of z and defaults for the rest."""
    return Job(**{**dict(d=z.q.shape[-1], scale_m=z.scale_m, scale_shift=z.scale_shift, bc=8,
                         quota=3), **settings})


def exact(z, mask):
    """Float attention on the integers' values over the pairs of mask, in units of O."""
    return oracle.attention(z.q * z.sq, z.k * z.sk, z.v.astype(float), mask)


@pytest.mark.parametrize("interleaved", [True, False])
@pytest.mark.parametrize("dense", [True, False])
@pytest.mark.parametrize("causal", [True, False])
def test_sizes_and_masks(causal, dense, interleaved):
    compared = 0
    for rows, keys, offset in itertools.product((1, 3, 4, 5, 11), (1, 2, 7, 8, 9, 40), (0, 6)):
        z = make(rows, keys, 8, seed=rows * 100 + keys)
        job = job_for(z, causal=causal, dense=dense, interleaved=interleaved, offset=offset)
        got = run_head(z.q, z.k, z.v, z.k8, job, TINY)
        visible = oracle.causal_mask(rows, keys, causal, offset)
        assert got.out.shape == (rows, 8) and got.out.dtype == np.int16
        assert not (got.selected & ~visible).any()
        if dense:
            assert (got.selected == visible).all()
        assert got.stats.visible == visible.sum() and got.stats.selected == got.selected.sum()
        # Without a radius every row with a visible key uses some.
        assert got.selected.any(axis=1).all()
        assert np.abs(got.out - exact(z, got.selected)).max() <= 40
        compared += got.out.size
    assert compared > 2000


def test_selection_is_the_best_of_each_tile():
    z = make(6, 50, 16, seed=3)
    got = run_head(z.q, z.k, z.v, z.k8, job_for(z, quota=2), TINY)
    for block in got.blocks:
        for tile, chosen, score in zip(block.tiles, block.lists, block.scores, strict=True):
            for r in range(tile.rows):
                best = sorted(range(tile.n), key=lambda b: (-score[r, b], b))[:2]
                assert chosen.slots[r][chosen.valid[r]].tolist() == best
                keys = set(got.keys_of_row(block.row + r)) & set(tile.keys)
                assert keys == {int(tile.keys[b]) for b in best}


def test_quota_of_a_whole_tile_equals_dense():
    """Same keys, another order: the results agree to the rounding of the weights."""
    z = make(9, 64, 16, seed=5)
    dense = run_head(z.q, z.k, z.v, None, job_for(z, dense=True), TINY)
    full = run_head(z.q, z.k, z.v, z.k8, job_for(z, quota=8), TINY)
    assert (dense.selected == full.selected).all()
    assert np.abs(dense.out.astype(int) - full.out).max() <= 40
    assert full.stats.nsteps == dense.stats.nsteps


def test_radius_saves_keys_and_rows_may_select_none_in_a_tile():
    z = make(8, 200, 16, seed=7, spread=6.0)
    wide = run_head(z.q, z.k, z.v, z.k8, job_for(z, quota=8), TINY)
    near = run_head(z.q, z.k, z.v, z.k8, job_for(z, quota=8, radius=z.radius(2.0, 0, TINY)), TINY)
    assert 0 < near.stats.selected < wide.stats.selected / 2
    assert not (near.selected & ~wide.selected).any()
    empty = [c for b in near.blocks for c in b.lists if not c.valid.any(axis=1).all()]
    assert empty
    assert np.abs(near.out - exact(z, near.selected)).max() <= 60


def test_blocks_do_not_depend_on_each_other():
    z = make(10, 30, 8, seed=9)
    job = job_for(z, causal=True, offset=20)
    whole = run_head(z.q, z.k, z.v, z.k8, job, TINY)
    for row, n in ((0, 4), (4, 4), (8, 2)):
        part = run_block(z.q[row : row + n], KeySource(z.k, z.v), z.k8, row, job, TINY)
        assert (part.out == whole.out[row : row + n]).all()
    # A block is also a head of its own at a shifted offset.
    alone = run_head(z.q[4:8], z.k, z.v, z.k8, job_for(z, causal=True, offset=24), TINY)
    assert (alone.out == whole.out[4:8]).all()


@pytest.mark.parametrize("heads, kv_heads", [(1, 1), (4, 4), (6, 2), (5, 1)])
def test_heads_share_kv_heads(heads, kv_heads):
    z = make(5, 20, 8, seed=heads, heads=(heads, kv_heads))
    job = job_for(z, causal=True, offset=15)
    got = run_job(z.q, z.k, z.v, z.k8, job, TINY)
    total = 0
    for h in range(heads):
        kv = h * kv_heads // heads
        one = run_head(z.q[h], z.k[kv], z.v[kv], z.k8[kv], job, TINY)
        assert (one.out == got.out[h]).all()
        total += one.stats.selected
    assert got.stats.selected == total and len(got.stats.tiles_per_block) == 2 * heads


def test_trace_follows_the_steps():
    z = make(6, 40, 8, seed=2)
    got = run_head(z.q, z.k, z.v, z.k8, job_for(z), TINY, trace=True)
    steps = 0
    for block in got.blocks:
        assert len(block.trace.p) == sum(block.stats.nsteps)
        assert block.trace.p[0].shape == (len(block.out), 2)
        assert block.trace.o_final.shape == block.out.shape
        steps += len(block.trace.p)
    assert steps == sum(got.stats.nsteps) > 0
    assert run_head(z.q, z.k, z.v, z.k8, job_for(z), TINY).blocks[0].trace is None


def test_counts_by_hand():
    """5 rows, 10 keys, d = 8, tiny (bus 8 bytes): two blocks of 4 and 1 rows, 2 tiles each."""
    z = make(5, 10, 8)
    job = job_for(z, quota=8)
    stats = run_head(z.q, z.k, z.v, z.k8, job, TINY).stats
    assert stats.slots == stats.union == [5, 5, 5, 5] and stats.nsteps == [3, 3, 3, 3]
    none = dict.fromkeys(STREAMS, 0)
    assert stats.vectors == {**none, **dict(q=5, k8=20, k=20, v=20, o=5)}
    assert stats.bytes == {**none, **dict(q=80, k8=160, k=320, v=320, o=80)}
    assert stats.bytes_read == 880 and stats.bytes_written == 80 and stats.keep == 1.0
    assert stats.phases == [1, 1, 1, 1] and stats.reused == stats.union
    assert stats.generated == [0, 0, 0, 0]
    assert (stats.rows_per_block, stats.tiles_per_block) == ([4, 1], [2, 2])
    bounds = block_bounds(stats, job, TINY)
    # 5 slots on 4 columns: 2 passes of 8; 3 pair steps of 8; beats: Q 2 a row, K8 1, K and V 2.
    assert bounds[0].parts() == (32, 48, 48, 8 + 10 + 40, 0, 8)
    assert bounds[1].parts() == (32, 48, 48, 2 + 10 + 40, 0, 2)
    total = job_bound(stats, job, TINY)
    assert total.parts() == (64, 96, 96, 110, 0, 10)
    assert (total.planned, total.measured) == (110, 110)
    assert planned_bound(5, 10, job, TINY) == total
    dense = run_head(z.q, z.k, z.v, None, job_for(z, dense=True), TINY).stats
    assert dense.vectors["k8"] == dense.bytes["k8"] == 0
    assert job_bound(dense, job_for(z, dense=True), TINY).parts() == (0, 96, 96, 90, 0, 10)


def test_bounds_use_the_quota_and_the_measured_steps():
    z = make(16, 512, 16, seed=4, spread=8.0)
    job = job_for(z, quota=3, bc=16, radius=z.radius(1.0, 0, TINY))
    got = run_head(z.q, z.k, z.v, z.k8, job, TINY.replace(KEYS_MAX=512))
    bound = job_bound(got.stats, job, TINY)
    assert bound.sufa == 4 * 32 * 2 * 16
    assert bound.steps == sum(got.stats.nsteps) * 16 < bound.sufa
    assert bound.measured <= bound.planned


@pytest.mark.parametrize("dense", [False, True])
def test_tiles_larger_than_a_buffer_run_in_phases(dense):
    """Half a tile fits a buffer of tiny: same keys, more steps, results equal to the rounding."""
    z = make(7, 60, 16, seed=8, spread=3.0)
    job = job_for(z, quota=9, bc=16, dense=dense)
    got = run_head(z.q, z.k, z.v, z.k8, job, TINY, trace=True)
    whole = run_head(z.q, z.k, z.v, z.k8, job, TINY.replace(KV_SLOTS=16))
    assert (got.selected == whole.selected).all()
    assert np.abs(got.out - exact(z, got.selected)).max() <= 60
    # Dense lists are in slot order, so both halves of a tile follow each other as before.
    assert (got.out != whole.out).any() == (not dense) and max(whole.stats.phases) == 1
    stats = got.stats
    assert stats.union == whole.stats.union and stats.slots == whole.stats.slots
    assert stats.phases == [-(-u // 8) for u in stats.union] and 2 in stats.phases
    assert len(stats.nsteps) == len(stats.reused) == len(stats.generated) == sum(stats.phases)
    assert sum(stats.nsteps) >= sum(whole.stats.nsteps)
    assert stats.bytes == whole.stats.bytes
    assert job_bound(stats, job, TINY).steps == 16 * sum(stats.nsteps)
    for block in got.blocks:
        assert len(block.trace.p) == sum(block.stats.nsteps)
        for tile, chosen, phases in zip(block.tiles, block.lists, block.phases, strict=True):
            loaded = np.concatenate([p.loaded for p in phases])
            assert sorted(loaded) == np.flatnonzero(chosen.union).tolist()
            assert (np.diff(tile.keys) == tile.kstep).all()


def test_union_counts_only_what_some_row_selected():
    z = make(4, 64, 16, seed=6, spread=4.0)
    got = run_head(z.q, z.k, z.v, z.k8, job_for(z, quota=1, bc=16), TINY)
    assert sum(got.stats.union) == got.selected.any(axis=0).sum() < 64
    assert got.stats.vectors["k"] == got.stats.vectors["v"] == sum(got.stats.union)


@pytest.mark.parametrize("change, field", [
    (dict(d=12), "d = 12"), (dict(d=32), "d = 32"), (dict(bc=2), "bc = 2"),
    (dict(bc=32), "bc = 32"), (dict(bc=12), "bc = 12"), (dict(quota=0), "quota = 0"),
    (dict(quota=17), "quota = 17"), (dict(radius=-1), "radius = -1"),
    (dict(radius=1 << TINY.SC_W), "radius = "), (dict(snap=2), "TWO_TERM"),
    (dict(snap=3), "snap = 3"), (dict(offset=-1), "offset = -1"), (dict(scale_m=65536), "scale_m"),
    (dict(scale_shift=48), "scale_shift = 48"), (dict(d=8), "q has d = 16"),
])
def test_bad_jobs(change, field):
    z = make(3, 9, 16)
    with pytest.raises(ConfigError, match=field):
        run_head(z.q, z.k, z.v, z.k8, job_for(z, **change), TINY)


def test_bad_arrays():
    z = make(3, 9, 16)
    job = job_for(z)
    with pytest.raises(ConfigError, match="q is float64"):
        run_head(z.q * 1.0, z.k, z.v, z.k8, job, TINY)
    with pytest.raises(ConfigError, match="k8 is NoneType"):
        run_head(z.q, z.k, z.v, None, job, TINY)
    with pytest.raises(ConfigError, match="k8 is int16"):
        run_head(z.q, z.k, z.v, z.k, job, TINY)
    with pytest.raises(ConfigError, match="v has shape"):
        run_head(z.q, z.k, z.v[:5], z.k8, job, TINY)
    with pytest.raises(ConfigError, match="2 axes"):
        run_head(z.q[None], z.k, z.v, z.k8, job, TINY)
    with pytest.raises(ConfigError, match="query rows = 0"):
        run_head(z.q[:0], z.k, z.v, z.k8, job, TINY)
    z = make(3, 257, 16)
    with pytest.raises(ConfigError, match="keys = 257, legal: integer 1..256"):
        run_head(z.q, z.k, z.v, z.k8, job, TINY)
    z = make(3, 9, 16, heads=(3, 2))
    with pytest.raises(ConfigError, match="heads = 3, legal: multiple of kv_heads = 2"):
        run_job(z.q, z.k, z.v, z.k8, job, TINY)


@pytest.mark.parametrize("name", workloads.list_cases())
def test_error_on_real_heads(name):
    """The integer path against float64 softmax of the float inputs over the same keys."""
    case = workloads.load_case(name)
    compared = 0
    for h in range(case.n_heads):
        q, k, v = case.head(h)
        z = quantise.quantise_attention(q, k, v, PAPER)
        # A flat head without selection has the longest tail of small, coarsely rounded weights.
        for dense, bar in ((False, 0.002), (True, 0.002 if PAPER.GUARD < 2 else 0.0022)):
            job = job_for(z, bc=64, quota=16, radius=z.radius(6.0, 0, PAPER), causal=case.causal,
                          dense=dense)
            got = run_head(z.q, z.k, z.v, z.k8, job, PAPER)
            want = oracle.attention(q, k, v, got.selected)
            assert oracle.relative_error(got.out * z.sv, want) <= bar
            compared += want.size
    assert compared >= 4 * 100 * 32
