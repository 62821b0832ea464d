# SPDX-License-Identifier: Apache-2.0
"""The second machine as a Method."""

import numpy as np
import pytest

from models import workloads
from models.config import ConfigError
from models.lab.dense import Calibration, Dense
from models.lab.grid import METHODS
from models.lab.method import Call, Projection
from models.lab.sofa import Sofa
from models.oracle import relative_error
from models.quantise import Peaks
from models.second import head, layer, plan
from models.second.config import Config


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
    assert cfg.STORE_BEATS == 2 * 128 * 8 and cfg.SC_W == 19
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
    assert counts.ops["predict"] == {"lz16": 32, "shift11": 2 * 12 * 8, "add15": 2 * 12 * 8}
    assert counts.ops["select"]["shift13"] == 24 and counts.ops["select"]["mul21x8"] == 8
    assert counts.ops["compute"]["mul16x16"] == 2 * 12 * 8 + 2 * 4 * 8
    assert counts.ops["compute"]["exp16"] == 12
    assert counts.bytes == {"q": 64, "k": 48, "v": 48, "o": 64, "k8": 48, "mean": 8}


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
    # One block: a mean row of 48 channels is 2 beats of 64 bytes, and 48 x 16 products.
    assert two.counts.bytes["mean"] == 128 and one.counts.bytes["mean"] == 64
    same = Sofa(phases=2, blend=False).attend(call).counts
    assert two.counts.ops["compute"]["mul16x16"] == same.ops["compute"]["mul16x16"] + 48 * 16
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


@pytest.mark.parametrize("settings, words", [
    ({"snap": "ceil"}, "snap = 'ceil', legal: "), ({"tau": 0.0}, "tau = 0.0, legal: above 0"),
    ({"tau": 2.0}, "tau = 2.0, legal: "), ({"fall": 1.0}, "fall = 1.0, legal: "),
    ({"bc": 48}, "bc = 48, legal: "), ({"phases": 3}, "phases = 3"),
    ({"widths": {"SUM": 1}}, "widths: no field 'SUM', legal: .*SUM_FRAC"),
    ({"dense_layers": (-1,)}, "dense_layers = -1"),
])
def test_settings_out_of_range_are_refused(settings, words):
    with pytest.raises(ConfigError, match=words):
        Sofa(**settings)


def test_a_snap_rule_without_a_default_wants_a_threshold():
    with pytest.raises(ConfigError, match="snap = 1 has no default threshold"):
        Sofa(snap="nearest").attend(call_of())
    assert Sofa(snap="nearest", tau=0.01, fall=0.0).attend(call_of()).selected.any()
