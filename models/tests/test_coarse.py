# SPDX-License-Identifier: Apache-2.0
"""The coarse tail: a row worked by hand, the sums key by key, softmax and blend in float64."""

import numpy as np
import pytest

from models import dlzs, head, oracle, plan, sads, sufa, workloads
from models.config import Config, ConfigError

TINY = Config.from_name("tiny")
PAPER = Config.from_name("paper").replace(TWO_TERM=1)
CAUSAL = next(c for c in workloads.list_cases() if "smollm2" in c and "_s0128_" in c)


def test_a_row_by_hand():
    """The row of docs/second.md, tau = -3 and coarse = -5 octaves, two elements of V."""
    tau, lower = -3 << TINY.LOG_FRAC, -5 << TINY.LOG_FRAC
    level = [np.array([x]) for x in ([3, 1, 0, -2], [2, 1, 5, -9], [3, 2, 4, 5])]
    v = [np.array(x, np.int16) for x in (
        [[0, 1], [7, 2], [-8, 3], [1, 4]], [[1, 5], [-3, 6], [2, 7], [5, 0]],
        [[4, 1], [6, 2], [-1, 3], [3, 4]])]
    none = np.zeros((1, 4), bool)
    sums, tail = sads.start(1), sufa.start_tail(1, 2)
    sads.count(sums, level[0], ~none, none, none, TINY)
    got = []
    for t, ratio in ((1, 768), (2, 384), (0, 256)):
        kept = level[t] >= sads.limit(sums, ratio, tau, TINY)[:, None]
        weight = sads.tail(sums, level[t], ~kept, ratio, lower, TINY)
        sufa.coarse(tail, sums.peak, weight, v[t], TINY)
        got.append((kept[0].tolist(), weight[0].tolist(), tail.w[0], tail.v[0].tolist()))
        if t:
            sads.count(sums, level[t], ~none, kept, weight > 0, TINY)
        else:
            sads.count_last(sums, level[t], kept, weight > 0, TINY)
    # Tile 1, R = 3: key 1 is coarse with 2**(1 - 3). Tile 2, R = 5: shift by 2; key 1 with 2**-3.
    # Tile 0, R = 5: its first two keys with 2**-2 and 2**-4; key 2 lies below ceil(1 11/16).
    assert got == [
        ([True, False, True, False], [0, 1024, 0, 0], 1024, [-3072, 6144]),
        ([True, False, True, True], [0, 512, 0, 0], 768, [-768 + 3072, 1536 + 1024]),
        ([False] * 4, [1024, 0, 0, 0], 1792, [2304, 2560 + 1024]),
    ]
    # T, C and P as docs/second.md has them.
    assert (sums.kept[0], sums.coarse[0], sums.total[0]) == (11776, 1792, 13984)
    f, g = sads.shares(sums, np.zeros(1, bool), TINY)
    assert (f[0], g[0]) == (215, 32)

    # One exact key of 1000 and a mean of -20, as in the example of the blend.
    state = sufa.start(1, 2)
    sufa.keys(state, np.zeros((1, 2), np.int16), np.zeros((1, 2), np.int16),
              np.array([[1000, 0]], np.int16), np.ones((1, 1), bool), 32768, 20, TINY)
    out = sufa.finish(state, f, np.array([-20, 3]), TINY, tail=tail, g=g)
    # w has 11 bits: Rc = 2**31 / 57344 = 37449, Rc' = 4681, c' = 2 * 2304 and 2 * 3584.
    assert out.tolist() == [[840 + 658 - 180, 1024 + 27]]
    # Without the tail its share is the mean's.
    assert sufa.finish(state, f, np.array([-20, 3]), TINY).tolist() == [[840 - 820, 123]]


@pytest.mark.parametrize("bits, values, want", [
    (4, [2047, 2048, -2048, -2049, 32767, -32768], [0, 1, 0, -1, 7, -8]),
    (8, [127, 128, -128, -129, 32767, -32768], [0, 1, 0, -1, 127, -128]),
    (16, [5, -5], [5, -5]),
])
def test_v_is_cut_to_the_nearest(bits, values, want):
    assert sufa.cut(np.array(values, np.int16), bits).tolist() == want


@pytest.mark.parametrize("frac, bits", [(4, 2), (12, 8)])
def test_the_sums_reach_their_widths_and_no_further(frac, bits):
    """All keys but one coarse at a weight of 1/2 with the least and the largest V, then shifts."""
    cfg = TINY.replace(CV_FRAC=frac, VC_W=bits)
    low, high = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    tail, top = sufa.start_tail(1, 2), 1 << (frac - 1)
    v = np.array([[low, high]], np.int16)
    for _ in range(cfg.KEYS_MAX - 1):
        sufa.coarse(tail, np.zeros(1, np.int64), np.array([[top]]), v, cfg)
    assert 1 << (cfg.CW_W - 1) < tail.w[0] < 1 << cfg.CW_W
    assert -(1 << (cfg.CV_W - 1)) <= tail.v[0, 0] < -(1 << (cfg.CV_W - 2))
    assert (1 << (cfg.CV_W - 3)) < tail.v[0, 1] < 1 << (cfg.CV_W - 1)
    w, f = tail.w[0], np.zeros(1, np.int64)
    state = sufa.State(f, f + 32768, np.zeros((1, 2), np.int64), np.ones(1, bool))
    # The mean of equal V is V, up to the rounding of c' and Rc'.
    out = sufa.finish(state, f, np.zeros(2), cfg, tail=tail, g=f + 256)[0]
    assert np.abs(out - (v[0].astype(int) << (16 - bits))).max() <= 3
    sufa.coarse(tail, np.full(1, 99), np.array([[1]]), v, cfg)
    # All shifted out, but for the -1 that rounding down leaves of a negative sum.
    assert (tail.w[0], tail.v[0].tolist(), tail.rises) == (1, [low - 1, high], 1) and w > 1


def captured(name, cfg, **settings):
    """(Numbers, Job, JobResult) of a captured head."""
    case = workloads.load_case(name)
    numbers, job = plan.plan(case.q, case.k, case.v, cfg, causal=case.causal, snap=2, **settings)
    arrays = numbers.q, numbers.k, numbers.v, numbers.k8, numbers.means
    return numbers, job, head.run_job(*arrays, job, cfg)


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("name", [c for c in workloads.list_cases()
                                  if "_s0100_" in c or "_s0128_" in c])
def test_the_integers_follow_softmax_tail_and_blend(name, bits):
    """Float64: f of softmax over the kept keys, g of the coarse ones with weights 2**level."""
    cfg = PAPER.replace(VC_W=bits)
    z, job, got = captured(name, cfg, tau=2.0**-6, coarse=2.0**-9)
    group, errors = len(z.q) // len(z.k), []
    assert got.coarse.any() and not (got.coarse & got.selected).any()
    for h, entry in enumerate(job.table):
        kv = h // group
        score = dlzs.scores(dlzs.encode(z.q[h], 2), z.k8[kv], cfg)
        level = sads.levels(score, entry.octave, cfg.LEVEL_W)
        tail = oracle.softmax(level * np.log(2), got.coarse[h]) @ (
            sufa.cut(z.v[kv], bits) * 2.0 ** (16 - bits))
        exact = oracle.attention(z.q[h] * z.sq[h], z.k[kv] * z.sk[kv], z.v[kv], got.selected[h])
        mean = np.repeat(z.means[kv], cfg.ROWS, axis=0)[: len(exact)] * 256.0
        f, g = got.f[h][:, None] / 256, got.g[h][:, None] / 256
        errors.append(oracle.relative_error(got.out[h], f * exact + g * tail + (1 - f - g) * mean))
    assert max(errors) < 2e-3


def test_the_tail_halves_the_error_of_a_sparse_selection():
    """Against dense, with the same exact keys."""
    error = []
    for coarse in (None, 2.0**-10):
        z, _, got = captured(CAUSAL, PAPER.replace(VC_W=8), tau=2.0**-5, coarse=coarse)
        _, _, dense = captured(CAUSAL, PAPER, select=head.DENSE)
        error.append(oracle.relative_error(got.out, dense.out))
    assert 0 < error[1] < 0.7 * error[0]


def test_without_coarse_keys_nothing_changes():
    """A second threshold equal to the first leaves none, as no second threshold does."""
    _, _, plain = captured(CAUSAL, PAPER, tau=2.0**-7)
    _, _, same = captured(CAUSAL, PAPER, tau=2.0**-7, coarse=2.0**-7)
    assert not same.coarse.any() and not same.g.any() and not plain.coarse.any()
    assert (same.out == plain.out).all() and (same.f == plain.f).all()
    _, _, some = captured(CAUSAL, PAPER, tau=2.0**-7, coarse=2.0**-8)
    assert (some.selected == plain.selected).all() and (some.f == plain.f).all()
    # Rows that keep all they see have no tail.
    assert not some.coarse[:, :32].any() and some.coarse[:, 32:].any()
    assert (some.out[:, :32] == plain.out[:, :32]).all() and (some.out != plain.out).any()


def test_an_output_depends_on_what_its_row_sees_only(seed):
    """For given integers: other rows, other heads and hidden keys change nothing."""
    rng = np.random.default_rng(seed)
    rows, keys, d = 11, 49, 8
    q = rng.integers(-3000, 3000, (2, rows, d)).astype(np.int16)
    k, v = rng.integers(-30000, 30000, (2, 2, keys, d)).astype(np.int16)
    k8 = (k >> 8).astype(np.int8)
    means = rng.integers(-99, 99, (2, 3, d)).astype(np.int16)
    entry = head.HeadTable(40000, 32, octave=5, tau=-30, coarse=-100)
    job = head.Job(d, 16, (entry, entry), band=2, causal=True, offset=keys - rows)
    want = head.run_job(q, k, v, k8, means, job, TINY)
    row, seen = 5, keys - rows + 6
    assert want.coarse[0, row].any() and (want.f + want.g <= 256).all() and want.g[0, row] > 0
    for x in (q[:, :row], q[:, row + 1 :], q[1], k[:, seen:], v[:, seen:], k8[:, seen:], k[1],
              v[1], k8[1], means[1]):
        x[...] = rng.integers(-127, 127, x.shape)
    got = head.run_job(q, k, v, k8, means, job, TINY)
    for name in ("out", "selected", "coarse", "f", "g"):
        assert (getattr(got, name)[0, row] == getattr(want, name)[0, row]).all(), name
    assert (got.out[0, row + 1 :] != want.out[0, row + 1 :]).any()


@pytest.mark.parametrize("coarse, blend, words", [
    (-20, True, "coarse = -20, legal: integer -512..-30"), (-600, True, "coarse = -600, legal: "),
    (-40, False, "coarse = -40, legal: None without blend"),
])
def test_illegal_limits_are_refused(coarse, blend, words):
    job = head.Job(8, 16, (head.HeadTable(1, 0, tau=-30, coarse=coarse),), blend=blend)
    with pytest.raises(ConfigError, match=words):
        job.checked(TINY)


def test_a_share_above_the_threshold_is_refused():
    with pytest.raises(ConfigError, match="coarse = 0.5, legal: up to tau = 0.25, or"):
        captured(CAUSAL, PAPER, tau=0.25, coarse=0.5)
