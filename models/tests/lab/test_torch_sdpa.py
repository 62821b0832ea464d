# SPDX-License-Identifier: Apache-2.0
"""Methods behind PyTorch's attention and in models of transformers."""

from dataclasses import dataclass

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed (requirements-lab.txt)")
transformers = pytest.importorskip(
    "transformers", reason="transformers is not installed (requirements-lab.txt)")

from models.lab.method import Method  # noqa: E402
from models.lab.sofa import Dense, Sofa  # noqa: E402
from models.lab.torch_sdpa import (  # noqa: E402
    Record,
    register,
    scaled_dot_product_attention,
)

SDPA = torch.nn.functional.scaled_dot_product_attention
KEPT = Sofa(quota=64, radius_nats=None)
"""Every pair is selected, in the machine's arithmetic."""
ERROR = 2e-3
"""Relative error of the machine with every pair kept."""


def tensors(batch=2, heads=4, kv_heads=2, rows=20, keys=20, d=16, seed=1, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    shapes = ((batch, heads, rows, d), (batch, kv_heads, keys, d), (batch, kv_heads, keys, d))
    return [torch.randn(s, generator=generator).to(dtype) for s in shapes]


def error(got, want):
    return float((got.double() - want.double()).norm() / want.double().norm())


def padding(left, rows=20):
    """[2, 1, rows, rows]: causal, the first sequence full, the second with ``left`` padded keys."""
    mask = torch.ones(rows, rows, dtype=torch.bool).tril()[None, None].repeat(2, 1, 1, 1)
    mask[1, :, :, :left] = False
    return mask


@pytest.mark.parametrize("arguments", [
    {}, {"is_causal": True}, {"scale": 0.1}, {"attn_mask": padding(6)},
    {"attn_mask": torch.arange(20)[None, :] < torch.full((20, 1), 13)},
    {"attn_mask": torch.where(torch.arange(20) < 15, 0.0, torch.finfo(torch.float32).min)[None]},
    {"attn_mask": torch.where(padding(3), 0.0, -torch.inf)}])
def test_equals_torch(arguments):
    q, k, v = tensors()
    want = SDPA(q, k, v, enable_gqa=True, **arguments)
    dense = scaled_dot_product_attention(q, k, v, enable_gqa=True, method=Dense(), **arguments)
    assert torch.allclose(dense, want, atol=2e-6) and dense.dtype == want.dtype
    kept = scaled_dot_product_attention(q, k, v, enable_gqa=True, method=KEPT, **arguments)
    assert 0 < error(kept, want) < ERROR


def test_shapes_of_torch():
    q, k, v = tensors(kv_heads=4, rows=7, keys=12)
    for part in (lambda x: x, lambda x: x[0], lambda x: x.reshape(2, 1, *x.shape[1:])):
        for causal in (True, False):
            want = SDPA(part(q), part(k), part(v), is_causal=causal)
            got = scaled_dot_product_attention(part(q), part(k), part(v), is_causal=causal,
                                               method=Dense())
            assert got.shape == want.shape and torch.allclose(got, want, atol=2e-6)


@pytest.mark.parametrize("dtype, bound", [(torch.float16, 2e-3), (torch.bfloat16, 1e-2)])
def test_half_precision(dtype, bound):
    q, k, v = tensors(dtype=dtype)
    want = SDPA(q.float(), k.float(), v.float(), is_causal=True, enable_gqa=True)
    got = scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True, method=KEPT)
    assert got.dtype == dtype and error(got, want) < bound


def test_default_is_the_machine():
    q, k, v = tensors(rows=90, keys=90, kv_heads=4)
    got = scaled_dot_product_attention(3 * q, k, v, is_causal=True)
    record = Record(Sofa())
    again = scaled_dot_product_attention(3 * q, k, v, is_causal=True, method=record)
    assert (got == again).all()
    assert 0.05 < record.counts.keep < 0.6
    assert record.counts.visible == 2 * 4 * 90 * 91 // 2


@pytest.mark.parametrize("change, message", [
    (dict(dropout_p=0.1), r"dropout_p = 0.1, legal: 0"),
    (dict(enable_gqa=False), "key has 2 heads, legal: 4 as the query or a divisor"),
    (dict(is_causal=True, attn_mask=padding(0)), "is_causal with an attn_mask, legal: one"),
    (dict(attn_mask=torch.full((20, 20), 0.5)), "adds biases to scores, legal entries: 0, and -1"),
    (dict(attn_mask=torch.ones(3, 20, dtype=torch.bool)), r"shape \(3, 20\), legal: what broad"),
    (dict(attn_mask=torch.rand(4, 20, 20) < 0.5), "differs between heads, legal masks: none"),
    (dict(attn_mask=torch.eye(20, dtype=torch.bool).flip(0)), "overlapping windows, legal masks"),
])
def test_refusals(change, message):
    q, k, v = tensors()
    with pytest.raises(ValueError, match=message):
        scaled_dot_product_attention(q, k, v, **{"enable_gqa": True, **change})


def test_refused_tensors():
    q, k, v = tensors(kv_heads=4)
    with pytest.raises(ValueError, match="query has dtype torch.float64, legal: float32, float16"):
        scaled_dot_product_attention(q.double(), k, v)
    with pytest.raises(ValueError, match="query wants a gradient, legal: a call under torch.no"):
        scaled_dot_product_attention(q.requires_grad_(), k, v)
    with torch.no_grad():
        scaled_dot_product_attention(q, k, v, method=Dense())
        with pytest.raises(ValueError, match="legal: equal shapes, d = 16 as the query"):
            scaled_dot_product_attention(q, k, v[..., :8])
        with pytest.raises(ValueError, match="legal: the same batch axes"):
            scaled_dot_product_attention(q[:1], k, v)
        with pytest.raises(ValueError, match="legal: 3 axes or more"):
            scaled_dot_product_attention(q[0, 0], k[0, 0], v[0, 0])


# ---- transformers -------------------------------------------------------------------------------


def llama(attention):
    torch.manual_seed(3)
    config = transformers.LlamaConfig(
        vocab_size=50, hidden_size=64, intermediate_size=96, num_hidden_layers=3,
        num_attention_heads=4, num_key_value_heads=2, initializer_range=0.3,
        attn_implementation=attention)
    return transformers.LlamaForCausalLM(config).eval()


def bert(attention):
    torch.manual_seed(4)
    config = transformers.BertConfig(
        vocab_size=50, hidden_size=64, intermediate_size=96, num_hidden_layers=2,
        num_attention_heads=4, initializer_range=0.3, attn_implementation=attention)
    return transformers.BertModel(config).eval()


def last_state(model, ids, mask=None):
    """Hidden states of the last layer."""
    with torch.no_grad():
        return model(ids, attention_mask=mask, output_hidden_states=True).hidden_states[-1]


def batch(seed=5):
    return torch.randint(0, 50, (2, 40), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("make", [llama, bert])
@pytest.mark.parametrize("side", [None, "left", "right"])
def test_models_equal_their_own_attention(make, side):
    ids, mask, used = batch(), None, torch.ones(2, 40, dtype=torch.bool)
    if side:
        used[1, slice(0, 11) if side == "left" else slice(29, 40)] = False
        mask = used.long()
    want = last_state(make("sdpa"), ids, mask)[used]
    register(Dense(), "dense-test")
    dense = last_state(make("dense-test"), ids, mask)[used]
    assert torch.allclose(dense, want, atol=1e-4 * float(want.abs().max()))
    record = register(KEPT, "kept-test")
    kept = last_state(make("kept-test"), ids, mask)[used]
    assert 0 < error(kept, want) < 5 * ERROR
    assert record.counts.keep == 1.0
    # Without its masks the result would be far off, and sparse attention is not dense.
    register(Sofa(quota=1, radius_nats=0.5), "sparse-test")
    assert error(last_state(make("sparse-test"), ids, mask)[used], want) > 10 * error(kept, want)


def test_generation_with_a_cache():
    register(Dense(), "dense-test")
    register(KEPT, "sofa")
    ids = batch()[:1, :9]
    with torch.no_grad():
        done = [llama(name).generate(ids, max_new_tokens=6, do_sample=False, pad_token_id=0)
                for name in ("sdpa", "dense-test", "sofa")]
    assert done[0].shape == (1, 15)
    assert (done[0] == done[1]).all() and (done[0] == done[2]).all()


@dataclass(frozen=True)
class Tally(Method):
    """Notes the layers that each session sees."""

    seen: list

    def start(self):
        layers = []
        self.seen.append(layers)

        def run(call):
            layers.append((call.layer, call.layers))
            return Dense().attend(call)

        return run


def test_a_session_is_a_pass_of_a_sequence():
    tally = Tally([])
    register(tally, "tally-test")
    model = llama("tally-test")
    for _ in range(2):
        last_state(model, batch())
    assert tally.seen == [[(0, 3), (1, 3), (2, 3)]] * 4


def test_settings_by_layer_reach_the_layers():
    record = register(Sofa(quota=(64, 1, 1), radius_nats=None, dense_layers=(2,)), "layers-test")
    last_state(llama("layers-test"), batch())
    pairs, rows = 2 * 4 * 40 * 41 // 2, 2 * 4 * 40
    # Layers 0 and 2 use every pair, layer 1 one key a row (there is one tile).
    assert record.counts.selected == 2 * pairs + rows
    assert isinstance(record.counts.keep, float) and np.isfinite(record.counts.cost())


def test_refusals_of_models():
    register(Dense(), "dense-test")
    model = llama("dense-test")
    with pytest.raises(ValueError, match="wants a gradient, legal: a call under torch.no_grad"):
        model(batch())
    forward = transformers.AttentionInterface()["dense-test"]
    q, k, v = tensors()
    with pytest.raises(ValueError, match="dense-test: this model's attention uses softcap"):
        forward(torch.nn.Module(), q, k, v, None, softcap=30.0)
