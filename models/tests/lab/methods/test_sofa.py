# SPDX-License-Identifier: Apache-2.0
"""The second machine as a Method."""

import numpy as np
import pytest

from models import head, layer, plan, workloads
from models.config import Config, ConfigError
from models.lab.measure.grid import METHODS
from models.lab.methods.dense import Calibration, Dense
from models.lab.methods.first import FirstSofa
from models.lab.methods.machine import SNAPS
from models.lab.methods.method import Call, Projection
from models.lab.methods.sofa import Sofa
from models.oracle import relative_error
from models.quantise import Peaks


def call_of(name="smollm2_novel_s0100_l04", **others):
    """A captured layer as a Call."""
    case = workloads.load_case(name)
    arrays = (np.asarray(x, np.float32) for x in (case.q, case.k, case.v))
    return Call(*arrays, causal=case.causal, **others)


def test_integers_are_those_of_the_reference():
    call = call_of()
    done = Sofa().attend(call)
    cfg = Config.from_name("paper").replace(TWO_TERM=1)
    numbers, job = plan.plan(call.q, call.k, call.v, cfg, causal=True, snap=2)
    want = head.run_job(numbers.q, numbers.k, numbers.v, numbers.k8, numbers.means, job, cfg)
    assert (done.selected == want.selected).all()
    assert np.array_equal(done.out, (want.out * numbers.out_scale).astype(np.float32))
    assert done.counts.selected == want.selected.sum()
    assert done.counts.visible == len(call.q) * 5050


def test_heads_of_256_elements():
    """The largest that is legal; the stores grow with it."""
    rng = np.random.default_rng(1)
    q, k, v = (rng.normal(size=(n, 150, 256)).astype(np.float32) for n in (4, 1, 1))
    method = Sofa(widths={"D_MAX": 256})
    cfg = method.machine()
    assert cfg.STORE_BEATS == 3 * 128 * 8 and cfg.SC_W == 18
    call = Call(3 * q, k, v, causal=True)
    done = method.attend(call)
    numbers, job = plan.plan(call.q, call.k, call.v, cfg, causal=True, snap=2)
    want = head.run_job(numbers.q, numbers.k, numbers.v, numbers.k8, numbers.means, job, cfg)
    assert (done.selected == want.selected).all() and done.counts.keep < 0.6
    assert np.array_equal(done.out, (want.out * numbers.out_scale).astype(np.float32))
    full = Sofa(widths={"D_MAX": 256}, dense_layers=(0,)).attend(call)
    assert relative_error(full.out, Dense().attend(call).out) < 1e-3
    with pytest.raises(ConfigError, match="d = 256, legal: integer 8..128"):
        Sofa().attend(call)


def test_the_mean_of_v_halves_the_error():
    call = call_of()
    dense = Dense().attend(call).out
    blend, bare = (relative_error(Sofa(tau=2.0**-6, blend=b).attend(call).out, dense)
                   for b in (True, False))
    assert 0 < blend < 0.7 * bare


def test_dense_layers_keep_all():
    call = call_of(layer=3, layers=4)
    done = Sofa(dense_layers=(3,)).attend(call)
    assert done.counts.keep == 1.0 and "k8" not in {k for k, n in done.counts.bytes.items() if n}
    assert relative_error(done.out, Dense().attend(call).out) < 1e-3
    assert Sofa(dense_layers=(2,)).attend(call).counts.keep < 0.5


def test_counts_by_hand():
    """Two query heads of one KV head, 2 rows, 3 keys, not causal; every key of a flat row is
    kept. tiny: 8 bytes a beat, vectors of d = 8 are 2 beats, of 8 bits 1."""
    q, k = np.ones((2, 2, 8), np.float32), np.ones((1, 3, 8), np.float32)
    counts = Sofa(config="tiny", snap="floor", bc=4).attend(Call(q, k, k)).counts
    assert counts.visible == counts.selected == 12
    # One tile, scored twice.
    assert counts.ops["predict"] == {"lz16": 32, "shift10": 2 * 12 * 8, "add14": 2 * 12 * 8}
    assert counts.ops["select"]["shift13"] == 24 and counts.ops["select"]["mul21x8"] == 8
    assert counts.ops["compute"]["mul16x16"] == 2 * 12 * 8 + 2 * 4 * 8
    assert counts.ops["compute"]["exp16"] == 12
    assert counts.bytes == {"q": 64, "k": 48, "v": 48, "o": 64, "k8": 48, "mean": 8}


def test_the_coarse_tail_is_counted_apart():
    call = call_of()
    plain, tail = (Sofa(tau=2.0**-6, coarse=c).attend(call) for c in (None, 2.0**-10))
    assert (plain.selected == tail.selected).all()
    assert tail.counts.keep == plain.counts.keep
    cfg = Config.from_name("paper").replace(TWO_TERM=1)
    numbers, job = plan.plan(call.q, call.k, call.v, cfg, causal=True, snap=2, tau=2.0**-6,
                             coarse=2.0**-10)
    want = head.run_job(numbers.q, numbers.k, numbers.v, numbers.k8, numbers.means, job, cfg)
    assert np.array_equal(tail.out, (want.out * numbers.out_scale).astype(np.float32))
    heads, rows, d = call.q.shape
    pairs, outputs = want.coarse.sum(), heads * rows * d
    old, new = plain.counts.ops, tail.counts.ops
    # A second comparison, a third sum.
    for kind, ratio in (("cmp10", 2), ("add25", 1.5), ("shift25", 1.5), ("shift13", 1)):
        assert new["select"][kind] == ratio * old["select"][kind] > 0
    # 12 fraction bits, weights of up to 1/2, 4096 keys, 4 bits of V.
    assert new["compute"] == {
        **old["compute"], "add23": pairs, "shift16": pairs * d, "add27": pairs * d,
        "shift27": want.rises * (d + 1),
        "mul16x16": old["compute"]["mul16x16"] + outputs,
        "add32": old["compute"]["add32"] + outputs, "div32": 2 * heads * rows}
    method = Sofa(coarse=2.0**-12)
    assert (method.coarse_pairs(new), method.coarse_pairs(old)) == (pairs, 0) and pairs > 0
    # One band of all heads of a group; a vector of d * 4 bits is a beat of 64 bytes.
    union = want.coarse.reshape(len(call.k), -1, 100).any(axis=1).sum()
    assert tail.counts.bytes == {**plain.counts.bytes, "v_coarse": union * 64} and union > 50


def test_counts_of_a_sort_job_by_hand():
    """The same tensors with quota 2: one tile, scored once; nothing is summed, no mean is read."""
    q, k = np.ones((2, 2, 8), np.float32), np.ones((1, 3, 8), np.float32)
    counts = Sofa(config="tiny", snap="floor", bc=4, quota=2).attend(Call(q, k, k)).counts
    assert counts.visible == 12 and counts.selected == 8
    assert counts.ops["predict"] == {"lz16": 32, "shift10": 12 * 8, "add14": 12 * 8}
    # Four rows, each one pass of one run of the core, with its 5 comparisons beside it.
    assert counts.ops["select"] == {"cmp14": 4 * (42 + 5)}
    # Equal scores: every row takes the first two keys. One product for each output element.
    assert counts.ops["compute"] == {"mul16x16": 2 * 8 * 8 + 4 * 8, "add32": 2 * 8 * 8, "cmp16": 8,
                                     "exp16": 8, "shift32": 0, "div32": 4}
    assert {k: n for k, n in counts.bytes.items() if n} == {
        "q": 64, "k": 32, "v": 32, "o": 64, "k8": 24}


@pytest.mark.parametrize("settings", [
    dict(quota=5, radius_nats=3.0), dict(quota=None, radius_nats=4.0, snap="two-term"),
    dict(quota=3, radius_nats=None, interleaved=False, bc=32)])
@pytest.mark.parametrize("name", ["smollm2_novel_s0257_l00", "minilm_novel_s0100_l00"])
def test_quota_and_radius_select_as_the_first_machine(name, settings):
    """With bands of one block the tiles are those of the first machine, which has its own SC_FRAC.
    Q's scale is larger by the factor, below 2, that makes an octave a power of two of score units;
    given that scale, the first machine selects the same pairs, and predicts and sorts at the same
    cost."""
    call = call_of(name)
    peaks = [tuple(float(np.abs(head).max()) for head in x) for x in (call.q, call.k, call.v)]
    cfg = Config.from_name("paper").replace(TWO_TERM=1, SC_FRAC=3)
    snap = SNAPS[settings.get("snap", "floor")]
    wider = tuple(plan.octave_of(peak, peaks[1][h // call.group] / 127, call.d, snap, cfg)[1]
                  for h, peak in enumerate(peaks[0]))
    assert all(1 <= b / a < 2 for a, b in zip(peaks[0], wider, strict=True))
    own = FirstSofa(**settings)
    first = FirstSofa(**settings, peaks={0: Peaks(wider, *peaks[1:])})
    want = first.attend(call)
    same = {"snap": "floor", "widths": (("SC_FRAC", 3),), **settings}
    got = Sofa(**same, band=1).attend(call)
    assert np.array_equal(got.selected, want.selected) and 0 < got.counts.keep < 0.9
    assert got.counts.ops["predict"] == want.counts.ops["predict"]
    assert got.counts.ops["select"] == want.counts.ops["select"]
    # One key a step in place of two: other roundings of the same sums.
    assert relative_error(got.out, want.out) < 1e-3
    # Codes of Q do not follow its scale, so with the data's own scale some pairs are others.
    other = own.attend(call).selected
    assert 0.85 < (other & got.selected).sum() / other.sum() < 1


def test_thresholds_and_sweep_go_from_dense_to_sparse():
    call = call_of()
    keep = [method.attend(call).counts.keep for method in Sofa.sweep()]
    assert keep == sorted(keep, reverse=True) and keep[0] > 2 * keep[-1]
    assert METHODS["sofa"] is Sofa


def test_keys_predicted_from_x():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 48)).astype(np.float32)
    wq, wk, wv = rng.normal(size=(3, 1, 48, 16)).astype(np.float32) / 5
    none, bv = np.zeros((1, 16), np.float32), np.full((1, 16), 3, np.float32)
    q, k, v = (np.einsum("sh,nhd->nsd", x, w) for w in (wq, wk, wv))
    call = Call(q, k, v + bv[:, None], causal=True,
                projection=Projection(x, wq, wk, wv, none, none, bv))
    two, one = (Sofa(phases=p).attend(call) for p in (2, 1))
    assert (two.selected != one.selected).any() and two.counts.bytes["x8"] > 0
    dense = Dense().attend(call).out
    assert relative_error(two.out, dense) < 0.5
    # K, V and means are made from X; the bias of V is added at the end.
    cfg = Config.from_name("paper").replace(TWO_TERM=1)
    made = layer.plan_layer(x, wk, wv, q, cfg, causal=True, snap=2)
    want = layer.run_layer(made, cfg)
    assert (two.selected == want.selected).all()
    assert np.array_equal(two.out, (want.out * made.out_scale + bv).astype(np.float32))
    # One block: a mean row of 48 channels is 2 beats of 64 bytes, and 48 x 16 products; one more
    # for each output blends it in.
    assert two.counts.bytes["mean"] == 128 and one.counts.bytes["mean"] == 64
    same = Sofa(phases=2, blend=False).attend(call).counts
    more = two.counts.ops["compute"]["mul16x16"] - same.ops["compute"]["mul16x16"]
    assert more == 48 * 16 + two.out.size
    peaks = Peaks((2 * float(np.abs(q).max()),), (1.0,), (1.0,))
    wider = Sofa(phases=2, peaks={0: peaks}).attend(call)
    assert relative_error(wider.out, two.out) < 1e-2
    with pytest.raises(ConfigError, match="phases = 2 needs what keys are made of"):
        Sofa(phases=2).attend(Call(q, k, v))


def test_peaks_keep_heads_and_tokens_apart():
    call = call_of(layer=0, layers=1)
    learn = Calibration()
    learn.attend(call)
    method = Sofa(peaks=learn.peaks())
    v = call.v.copy()
    v[:, -1] *= 1e4
    later = Call(call.q, call.k, v, causal=True, layer=0, layers=1)
    assert np.array_equal(method.attend(later).out[:, :-1], method.attend(call).out[:, :-1])
    with pytest.raises(ConfigError, match="peaks has no layer 1, legal: 0"):
        method.attend(call_of(layer=1, layers=2))


def test_balance():
    """Turned by the data's scales, or with scales and peaks from Calibration, which are those of
    the data when it has seen the call alone; and what the turn costs."""
    call = call_of(layer=0, layers=1)
    plain, turned = Sofa().attend(call), Sofa(balance=True).attend(call)
    assert not np.array_equal(plain.out, turned.out)
    first = Calibration()
    first.attend(call)
    second = Calibration(balance=first.balance_seen())
    second.attend(call)
    method = Sofa(peaks=second.peaks(), balance=first.balance_seen())
    assert hash(method) == hash(Sofa(peaks=second.peaks(), balance=dict(method.balance)))
    given = method.attend(call)
    assert np.array_equal(turned.selected, given.selected)
    assert relative_error(given.out, turned.out) < 1e-3
    want = Dense().attend(call).out
    assert relative_error(turned.out, want) < relative_error(plain.out, want)
    full = Sofa(balance=True, dense_layers=(0,)).attend(call)
    assert relative_error(full.out, want) < 1e-3
    # A product and six additions for each of 64 elements of 3 heads of Q and 1 of K, 100 tokens.
    ops, before = turned.counts.ops["predict"], plain.counts.ops["predict"]
    assert ops["mul16x16"] == 4 * 100 * 64 and "mul16x16" not in before
    assert ops["add32"] - before.get("add32", 0) == 6 * 4 * 100 * 64
    later = call_of(layer=1, layers=2)
    with pytest.raises(ConfigError, match="balance has no layer 1, legal: 0"):
        Sofa(balance=first.balance_seen()).attend(later)
    with pytest.raises(ConfigError, match="balance has no layer 1, legal: 0"):
        Calibration(balance=first.balance_seen()).attend(later)


@pytest.mark.parametrize("settings, words", [
    ({"snap": "ceil"}, "snap = 'ceil', legal: "), ({"tau": 0.0}, "tau = 0.0, legal: 2"),
    ({"tau": 2.0}, "tau = 2.0, legal: "), ({"fall": 1.0}, "fall = 1.0, legal: "),
    ({"bc": 48}, "bc = 48, legal: "), ({"phases": 3}, "phases = 3"),
    ({"widths": {"SUM": 1}}, "widths: no field 'SUM', legal: .*SUM_FRAC"),
    ({"dense_layers": (-1,)}, "dense_layers = -1"),
    ({"coarse": 0.0}, "coarse = 0.0, legal: 2"),
    ({"tau": (0.1, 2.0**-33)}, r"tau = 1.16.*e-10, legal: 2\*\*-32 .. 1"),
    ({"fall": 0.999}, "fall = 0.999, legal: 0 .. 255/256"),
    ({"band": 0}, "band = 0, legal: integer 1..8"), ({"band": 9}, "band = 9, legal: "),
    ({"blend": "no"}, "blend = 'no', legal: True, False"),
    ({"interleaved": "no"}, "interleaved = 'no', legal: True, False"),
    ({"coarse": 0.01, "blend": False}, "coarse = 0.01, legal: None without blend"),
    ({"coarse": 0.01, "phases": 2}, "coarse = 0.01, legal: None with phases = 2"),
    ({"balance": True, "phases": 2}, "balance with phases = 2, legal: False"),
    ({"balance": True, "peaks": {0: Peaks((1,), (1,), (1,))}}, "balance = True with peaks, legal"),
    ({"balance": 0.5}, "balance = 0.5, legal: True, False"),
    ({"balance": {-1: [[1.0]]}}, "layer of balance = -1"),
])
def test_settings_out_of_range_are_refused(settings, words):
    with pytest.raises(ConfigError, match=words):
        Sofa(**settings)


def test_a_snap_rule_without_a_default_wants_a_threshold():
    with pytest.raises(ConfigError, match="snap = 1 has no default threshold"):
        Sofa(snap="nearest").attend(call_of())
    assert Sofa(snap="nearest", tau=0.01, fall=0.0).attend(call_of()).selected.any()
