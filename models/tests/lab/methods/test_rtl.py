# SPDX-License-Identifier: Apache-2.0
"""Attention on the compiled Verilog behind Sofa, and whole passes through small models."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from models import fast, head
from models.config import ConfigError
from models.lab.measure import forward
from models.lab.measure.progress import Progress
from models.lab.methods import rtl
from models.lab.methods.method import Call, Projection
from models.lab.methods.sofa import Sofa
from models.nets import smollm2

TINY = Sofa("tiny", bc=16)


def call_of(rows=20, keys=40, d=16, h=24, **others):
    rng = np.random.default_rng(1)
    x, wk, wv = rng.normal(size=(keys, h)), *rng.normal(size=(2, 2, h, d))
    zero = np.zeros((2, d))
    q, k, v = rng.normal(size=(4, rows, d)), np.einsum("sh,nhd->nsd", x, wk) / 5, x @ wv
    made = Projection(*(np.float32(a) for a in (x, np.zeros((4, h, d)), wk, wv, np.zeros((4, d)),
                                                zero, zero)))
    return Call(*(np.float32(a) for a in (q, k, v)), projection=made, **others)


@pytest.mark.parametrize("method, others", [
    (TINY, {}), (TINY, {"causal": True}), (replace(TINY, quota=3), {"causal": True}),
    (replace(TINY, dense_layers=(0,)), {"layer": 0, "layers": 1}),
    (replace(TINY, phases=2), {"causal": True}), (replace(TINY, blend=False, tau=0.1), {}),
    (TINY, {"causal": True, "window": 7, "sinks": 1})], ids=str)
def test_equals_the_model(method, others):
    call = call_of(**others)
    want = method.attend(call)
    got = replace(method, engine="rtl").attend(call)
    assert np.array_equal(got.out, want.out) and np.array_equal(got.selected, want.selected)
    assert got.counts.cycles > 1000 and want.counts.cycles == 0
    assert replace(got.counts, cycles=0) == want.counts
    assert (got.counts + got.counts).cycles == 2 * got.counts.cycles


def spoil(monkeypatch):
    """Make the model's output of head 1, row 2, element 3 wrong."""
    module = fast if fast.available() else head
    right = module.run_job

    def wrong(*arguments):
        done = right(*arguments)
        done.out[1, 2, 3] += 1
        return done

    monkeypatch.setattr(module, "run_job", wrong)


def test_what_differs_is_named(monkeypatch):
    spoil(monkeypatch)
    text = (r"output of head 1, row 2, element 3: the Verilog gives (-?\d+), the model -?\d+; 1 of "
            r"1280 elements differ")
    for phases in (1, 2):
        with pytest.raises(rtl.RtlError, match=text):
            replace(TINY, engine="rtl", phases=phases).attend(call_of())


def test_illegal_settings():
    for settings, text in (({"engine": "fpga"}, "engine = 'fpga', legal: model, rtl"),
                           ({"coarse": 0.001}, "coarse = 0.001 with engine = 'rtl', legal: None"),
                           ({"widths": {"Z_FRAC": 8}}, "Z_FRAC = 8, legal in the Verilog: 10")):
        with pytest.raises(ConfigError, match=text):
            Sofa(**{"engine": "rtl", **settings})


def test_progress(capsys):
    bar, counts = Progress("sofa"), Sofa("tiny", bc=16).attend(call_of()).counts
    counts.cycles = 1234
    bar.tell(call_of(layer=None, layers=None), counts)
    assert not capsys.readouterr().err
    for layer in (0, 0, 1, 2, 2):
        bar.tell(call_of(layer=layer, layers=3), counts)
    first = capsys.readouterr().err
    assert "sofa: 100%" in first and "3/3" in first and "1234 cycles" in first
    bar.tell(call_of(layer=0, layers=3), counts)
    assert "0/3" in capsys.readouterr().err


def small_net():
    """Two layers, width 16, 4 query heads and 2 KV heads of d = 8, 30 tokens."""
    rng, weights = np.random.default_rng(1), {}
    shapes = {"token_embd": (30, 16), "output_norm": (16,)}
    for i in range(2):
        for name, shape in (("attn_norm", (16,)), ("attn_q", (32, 16)), ("attn_k", (16, 16)),
                            ("attn_v", (16, 16)), ("attn_output", (16, 32)), ("ffn_norm", (16,)),
                            ("ffn_gate", (24, 16)), ("ffn_up", (24, 16)), ("ffn_down", (16, 24))):
            shapes[f"blk.{i}.{name}"] = shape
    for name, shape in shapes.items():
        weights[name] = rng.standard_normal(shape).astype(np.float32)
    return smollm2.SmolLM2(parts=(smollm2.Config(2, 4, 2, 100.0, 1e-5), weights, None))


def test_forward(capsys):
    """The command's work on a small net: equal logits, and a wrong one is seen."""
    net, tokens = small_net(), np.random.default_rng(2).integers(0, 30, 24)
    run, built = forward.numpy_pass(net, tokens), []
    assert forward.compared(run, TINY, tokens, lambda: built.append(1)) and built == [1]
    captured = capsys.readouterr()
    assert "logits equal, 720 of them" in captured.out and "2/2" in captured.err

    def spoilt(method):
        logits, counts = run(method)
        logits[3, 4] += np.float32(method.engine == "rtl")
        return logits, counts

    assert not forward.compared(spoilt, TINY, tokens, lambda: None)
    assert "logits DIFFER" in capsys.readouterr().out


def test_forward_in_transformers(capsys):
    """The same weights in transformers: logits of the numpy net but for float32's order of sums,
    and equal on the Verilog."""
    pytest.importorskip("torch", reason="torch is not installed (requirements-torch.txt)")
    net, tokens = small_net(), np.random.default_rng(2).integers(0, 30, 24)
    method = replace(TINY, dense_layers=(0, 1))
    run = forward.torch_pass(net, tokens)
    want, got = (of(method)[0] for of in (forward.numpy_pass(net, tokens), run))
    np.testing.assert_allclose(got, want, atol=1e-3 * np.abs(want).max())
    assert forward.compared(run, method, tokens, lambda: None)
    assert "logits equal, 720 of them" in capsys.readouterr().out


def test_command_line(capsys, tmp_path):
    for arguments, text in ((["--tokens", "1"], "--tokens 1, legal: 2 or more"),
                            (["--layers", "0"], "--layers 0, legal: 1 or more")):
        with pytest.raises(SystemExit) as stopped:
            forward.main(arguments)
        assert stopped.value.code == 2 and text in capsys.readouterr().err
    assert forward.main(["--config", "huge", "--cache", str(tmp_path)]) == 2
    assert "forward: no configuration 'huge'" in capsys.readouterr().err
