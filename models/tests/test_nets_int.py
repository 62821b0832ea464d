# SPDX-License-Identifier: Apache-2.0
"""MiniLM in integers, on tiny random weights: its layers by hand, its attentions, the whole."""

import functools

import numpy as np
import pytest

from models.lab.measure.subjects import Case, Embedding
from models.lab.methods import sofa
from models.lab.methods.method import Call
from models.lab.methods.sofa import Sofa
from models.lab.peers.ibert import IBert
from models.nets import minilm_int
from models.nets.minilm_int import (
    ATTENTIONS,
    Exact,
    IBertSoftmax,
    IBertWide,
    IntMiniLM,
    Linear,
    Norm,
    Rescale,
    SofaAttention,
    Watch,
    calibrate,
)
from models.quantise import Peaks, quantise
from models.tests.test_nets import TOKENS, tiny_minilm

OTHER = (TOKENS * 7 + 2) % 20
SMALL = functools.partial(SofaAttention, method=Sofa(config="tiny", bc=4))
"""The machine in the size of these nets."""


@pytest.fixture(scope="module")
def net():
    """A float net with heads of d = 8."""
    return tiny_minilm(16)


@pytest.fixture(scope="module")
def peaks(net):
    return calibrate(net, [TOKENS, OTHER])


# ---- layers by hand ---------------------------------------------------------------------------


def test_rescale_by_hand():
    # A quarter of 10 and of -10 is 2.5 and -2.5, halves go up; 600 / 4 is more than 8 bits hold.
    assert Rescale(0.25, 1.0, 8)(np.array([10, -10, 600])).tolist() == [3, -2, 127]
    each = Rescale(np.array([1.0, 0.5]), 0.25, 16)
    assert each(np.array([[3, 3], [10000, -10000]])).tolist() == [[12, 6], [32767, -20000]]


def test_linear_by_hand():
    # Weights 127 and -64 of 1/127; the bias is 63.5 units of 0.5/127, rounded to 64.
    # 2 * 127 - 64 + 64 = 254 units are 1.0, 4 units of the output; 127 * 191 + 64 are 383 of them.
    layer = Linear(np.array([[1.0, -0.5]]), np.array([0.25]), 0.5, 8, 0.25, 8)
    assert layer.weight.ravel().tolist() == [127, -64] and layer.bias.tolist() == [64]
    assert layer(np.array([[2, 1], [127, -127]])).tolist() == [[4], [127]]
    wide = Linear(np.array([[1.0, -0.5]]), np.array([0.25]), 0.5, 16, 0.25, 16)
    assert wide(np.array([[127, -127]])).tolist() == [[383]]


def test_linear_refuses_sums_beyond_32_bits():
    # 127 * 32767 * 516 is the last below 2**31.
    Linear(np.ones((1, 516)), np.zeros(1), 1.0, 16, 1.0)
    for weight, bias in ((np.ones((1, 517)), 0.0), (np.ones((1, 516)), 1e9)):
        with pytest.raises(ValueError, match=r"sums of a dense layer reach \d+, legal: below 2"):
            Linear(weight, np.full(1, bias), 1.0, 16, 1.0)


def test_norm_by_hand():
    # Normalised by a root of 3 for 3.74: -4/3, -2/3, 0, 2; in sixteenths with gain and bias.
    layer = Norm(np.array([1.0, 2, 0, -1]), np.array([0, 0, 1, 0.5]), 1 / 16)
    assert layer(np.array([1, 2, 3, 6])).tolist() == [-21, -21, 16, -24]
    assert layer(np.full(4, 9)).tolist() == [0, 0, 16, 8]


# ---- calibration ------------------------------------------------------------------------------


def test_watching_changes_nothing_and_keeps_the_largest(net, peaks):
    watch = Watch(net)
    assert np.array_equal(watch.forward(TOKENS), net.forward(TOKENS))
    last = "encoder.layer.1.output.LayerNorm out"
    assert np.array_equal(watch.peaks[last], np.abs(net.forward(TOKENS)).max(axis=0))
    alone = calibrate(net, [OTHER])
    assert set(peaks) == set(watch.peaks) == set(alone)
    for key, value in peaks.items():
        assert np.array_equal(value, np.maximum(watch.peaks[key], alone[key]))


# ---- attentions -------------------------------------------------------------------------------


def test_sofa_finds_the_same_integers_again(net, peaks, monkeypatch):
    """What the machine quantises from float32 values are the integers that the net made, and what
    comes back are its outputs."""
    seen, jobs = [], []

    class Spy(SofaAttention):
        def __call__(self, layer, *integers):
            out = super().__call__(layer, *integers)
            seen.append((*integers, out))
            return out

    def run_job(q, k, v, *others):
        done = reference(q, k, v, *others)
        jobs.append((q, k, v, done.out))
        return done

    reference = sofa.head.run_job
    monkeypatch.setattr(sofa.head, "run_job", run_job)
    monkeypatch.setattr(sofa.fast, "available", lambda: False)
    whole = IntMiniLM(net, peaks, functools.partial(Spy, method=SMALL.keywords["method"]))
    whole.forward(OTHER)
    assert len(seen) == len(jobs) == 2
    for given, used in zip(seen, jobs, strict=True):
        for a, b in zip(given, used, strict=True):
            assert a.shape == (2, 11, 8) and np.abs(a).max() > 1000
            assert np.array_equal(a, b)


@pytest.mark.parametrize("peak", [1.0, 0.1, 3.3333333, 1e-3 / 7, 29.7])
def test_every_integer_survives_the_boundary(peak):
    """All integers of 16 bits at awkward scales, as models.quantise reads them again; K8 is the
    integer nearest to 127 k / 32767, which is never half way between two."""
    x = np.arange(-32767, 32768)
    exact = Exact([Peaks((peak,), (peak,), (peak,))], 8)
    values = exact.call(0, *(x.reshape(1, -1, 1),) * 3).k.ravel()
    again, scale = quantise(values, 16, peak=peak)
    assert np.array_equal(again, x) and scale == exact.scales[0][1][0]
    assert np.array_equal(quantise(values, 8, peak=peak)[0], (2 * 127 * x + 32767) // (2 * 32767))


@pytest.mark.parametrize("kind", [IBertSoftmax, IBertWide])
def test_ibert_equals_its_method(kind):
    rng = np.random.default_rng(4)
    q, k, v = rng.integers(-127, 128, (3, 2, 9, 8))
    q[0, 0, 0] = k[1, 2, 3] = v[1, 8, 7] = 127
    given = Peaks(*(((127 / 32, 1.0),) * 3))
    inside = kind([given], 8)
    assert [s.tolist() for s in inside.scales[0]] == [[1 / 32, 1 / 32]] * 3
    want = IBert(kind.out_bits).attend(Call(*((x / 32).astype(np.float32) for x in (q, k, v)))).out
    out = inside(0, q, k, v)
    assert np.array_equal(out * inside.out_scale(0)[:, None, None], want) and np.abs(out).max() > 99


# ---- the whole --------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "bits", "error"), [
    (Exact, 16, 0.02), (Exact, 8, 0.03), (SMALL, 16, 0.1), (IBertSoftmax, 16, 0.05),
])
def test_whole_net_is_near_the_float_one(net, peaks, kind, bits, error):
    whole = IntMiniLM(net, peaks, kind, bits)
    out, want = whole.forward(TOKENS), net.forward(TOKENS)
    assert out.dtype == np.int64 and np.abs(out).max() <= 32767
    assert np.linalg.norm(out * whole.scale - want) < error * np.linalg.norm(want)
    vector = whole.embed(TOKENS)
    assert vector @ net.embed(TOKENS) > 1 - error and np.linalg.norm(vector) == pytest.approx(1)


def test_values_beyond_the_calibration_saturate(net, peaks):
    low = {key: value / 4 for key, value in peaks.items()}
    for kind in (Exact, IBertSoftmax):
        out = IntMiniLM(net, low, kind, 8).forward(TOKENS)
        assert np.abs(out).max() == 32767


def test_wrong_arguments_are_refused(net, peaks):
    with pytest.raises(ValueError, match="bits = 12, legal: 8, 16"):
        IntMiniLM(net, peaks, Exact, 12)
    with pytest.raises(ValueError, match="513 tokens, legal: 1..512"):
        IntMiniLM(net, peaks, Exact).forward(np.zeros(513, int))
    with pytest.raises(SystemExit):
        minilm_int.main(["--length", "2"])


def test_table_has_a_row_for_every_way(net, monkeypatch, capsys):
    class Small(Embedding):
        def __init__(self, cache):
            self.net = net

        def inputs(self, case):
            return [TOKENS, OTHER, TOKENS[::-1]]

        def calibration(self, case):
            return [TOKENS, OTHER]

    monkeypatch.setitem(ATTENTIONS, "sofa", SMALL)
    monkeypatch.setattr(minilm_int, "Sofa", lambda: SMALL.keywords["method"])
    rows = dict(minilm_int.measure(Small(None), Case("minilm", "novel", 11)))
    assert list(rows) == [f"{layers}, {name}" for layers in ("float", "16-bit", "8-bit")
                          for name in ("exact", "sofa", "ibert", "ibert p16")]
    assert abs(rows["float, exact"]["loss"]) < 1e-6
    for row in rows.values():
        assert -1e-6 < row["loss"] < 0.1 and len(row["samples"]) == 3
    monkeypatch.setattr(minilm_int, "Embedding", Small)
    assert minilm_int.main([]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 14
