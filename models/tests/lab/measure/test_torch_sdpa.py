# SPDX-License-Identifier: Apache-2.0
"""Methods behind PyTorch's attention and in models of transformers."""

from dataclasses import dataclass, replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed (requirements-torch.txt)")
transformers = pytest.importorskip(
    "transformers", reason="transformers is not installed (requirements-torch.txt)")

from torch.nn.attention.bias import causal_lower_right, causal_upper_left  # noqa: E402

from models.lab.measure.masks import MaskError  # noqa: E402
from models.lab.measure.torch_sdpa import (  # noqa: E402
    Record,
    register,
    scaled_dot_product_attention,
)
from models.lab.methods.dense import Dense  # noqa: E402
from models.lab.methods.first import FirstSofa  # noqa: E402
from models.lab.methods.method import Call, Method  # noqa: E402
from models.lab.methods.sofa import Sofa  # noqa: E402

SDPA = torch.nn.functional.scaled_dot_product_attention
KEPT = FirstSofa(quota=64, radius_nats=None)
"""Every pair is selected, in the machine's arithmetic."""
EVERY = Sofa(quota=64)
"""The same in bands; ALL: without scores."""
ALL = Sofa(dense_layers=tuple(range(4)))
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


def banded(left, rows, window, sinks=0):
    """padding() in a sliding window, with so many first keys of each sequence beside it."""
    mask = padding(left, rows)
    mask &= ~torch.ones(rows, rows, dtype=torch.bool).tril(-window) | (torch.arange(rows) < sinks)
    if sinks:
        mask[1, :, :, left : left + sinks] = padding(left, rows)[1, :, :, left : left + sinks]
    return mask


@pytest.mark.parametrize("mask", [
    banded(0, 90, 40), banded(13, 90, 40), banded(3, 90, 33, sinks=4), banded(0, 90, 1),
    banded(0, 90, 40) & (torch.arange(90) < 70), torch.where(banded(2, 90, 50), 0.0, -torch.inf),
    banded(0, 90, 40)[..., -7:, :], banded(0, 90, 40, sinks=2)[..., -1:, :],
    # A window around the rows, and rows of which half see nothing more.
    torch.ones(90, 90, dtype=torch.bool).tril(20).triu(-20)])
def test_windows_equal_torch(mask):
    q, k, v = tensors(rows=90, keys=90)
    q = q[..., -mask.shape[-2] :, :]
    arguments = dict(attn_mask=mask, enable_gqa=True)
    place = dict(layer=0, layers=1)
    want = SDPA(q, k, v, **arguments)
    pairs = 4 * int((mask == 0 if mask.dtype == torch.float32 else mask).expand(
        2, 1, -1, -1).sum())
    for method, most in ((Dense(), 1e-6), (EVERY, ERROR), (ALL, ERROR)):
        record = Record(method)
        got = scaled_dot_product_attention(q, k, v, **arguments, **place, method=record)
        assert error(got, want) < most
        assert record.counts.selected == record.counts.visible == pairs
    record = Record(Sofa(tau=0.02))
    got = scaled_dot_product_attention(3 * q, k, v, **arguments, method=record)
    assert record.counts.visible == pairs
    if mask.dtype != torch.bool or mask.sum(-1).max() > 32:
        assert record.counts.keep < 0.8
    assert error(got, SDPA(3 * q, k, v, **arguments)) < 0.5


def test_a_window_needs_a_method_that_has_it():
    q, k, v = tensors()
    with pytest.raises(MaskError, match="sliding window, which the method sofa-first does not do"):
        scaled_dot_product_attention(q, k, v, banded(0, 20, 5), enable_gqa=True, method=KEPT)


def test_shapes_of_torch():
    q, k, v = tensors(kv_heads=4, rows=7, keys=12)
    for part in (lambda x: x, lambda x: x[0], lambda x: x.reshape(2, 1, *x.shape[1:])):
        for causal in (True, False):
            want = SDPA(part(q), part(k), part(v), is_causal=causal)
            got = scaled_dot_product_attention(part(q), part(k), part(v), is_causal=causal,
                                               method=Dense())
            assert got.shape == want.shape and torch.allclose(got, want, atol=2e-6)


def test_causal_biases_of_torch():
    """Their elements are not set: a shape and a variant say all."""
    q, k, v = tensors(kv_heads=4, rows=7, keys=12)
    for make in (causal_upper_left, causal_lower_right):
        got = scaled_dot_product_attention(q, k, v, make(7, 12), method=Dense())
        assert torch.allclose(got, SDPA(q, k, v, make(7, 12)), atol=2e-6)
    with pytest.raises(MaskError, match="attn_mask is a causal bias of 7 x 11, legal: 7 x 12"):
        scaled_dot_product_attention(q, k, v, causal_lower_right(7, 11))


def test_a_row_by_itself_is_a_step_only_where_that_is_said():
    q, k, v = tensors(1, 2, 2, 1, 100)
    q *= 3
    got = {name: scaled_dot_product_attention(q, k, v, mask, method=Sofa(tau=0.05))
           for name, mask in (("none", None), ("mask", torch.ones(1, 100, dtype=torch.bool)),
                              ("step", causal_lower_right(1, 100)))}
    for name, causal in (("none", False), ("mask", False), ("step", True)):
        call = Call(*(x[0].numpy() for x in (q, k, v)), causal=causal)
        done = Sofa(tau=0.05).attend(call)
        assert (got[name][0].numpy() == done.out).all() and done.counts.keep < 0.5
    assert (got["none"] != got["step"]).any()


EMPTY = [(2, 3, 0, 4, 8), (2, 3, 4, 0, 8), (2, 0, 4, 4, 8), (0, 3, 4, 4, 8), (2, 3, 4, 4, 0),
         (2, 3, 0, 0, 8), (0, 0, 0, 0, 0)]
"""Batch, heads, rows, keys, d."""


@pytest.mark.parametrize("shape", EMPTY)
@pytest.mark.parametrize("arguments", [
    {}, {"is_causal": True}, {"enable_gqa": True}, {"scale": 0.5}, {"attn_mask": torch.bool},
    {"attn_mask": torch.float32}])
def test_empty_tensors(shape, arguments):
    size, heads, rows, keys, d = shape
    q, k, v = tensors(size, heads, heads, rows, keys, d, dtype=torch.float16)
    if "attn_mask" in arguments:
        arguments = {"attn_mask": torch.zeros(rows, keys, dtype=arguments["attn_mask"])}
    want = SDPA(q, k, v, **arguments)
    record = Record(FirstSofa())
    got = scaled_dot_product_attention(q, k, v, method=record, **arguments)
    assert got.shape == want.shape and got.dtype == want.dtype and (got == want).all()
    assert record.counts.visible == 0
    with pytest.raises(ValueError, match="legal: what broadcasts to"):
        scaled_dot_product_attention(q, k, v, torch.ones(2, rows + 2, keys + 2))


def test_scale_is_applied_in_float32():
    q = torch.full((1, 1, 1, 8), 3e4, dtype=torch.float16)
    k = torch.full((1, 1, 2, 8), 1e-3, dtype=torch.float16)
    k[0, 0, 1] = -1e-3
    v = torch.tensor([1.0, 3.0], dtype=torch.float16)[None, None, :, None].expand(k.shape)
    for scale in (1.0, 1e-3, 0.0, -1.0):
        want = SDPA(q, k, v, scale=scale)
        got = scaled_dot_product_attention(q, k, v, scale=scale, method=Dense())
        assert torch.allclose(got, want, atol=2e-3), scale
    assert (scaled_dot_product_attention(q, k, v, scale=1.0, method=KEPT) == 1).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_masks_and_values_at_the_ends_of_half_precision(dtype):
    """Entries as the type rounds them, and outputs as large as its largest number."""
    q, k, v = tensors(dtype=dtype)
    most = torch.finfo(dtype).max
    v = torch.where(v > 0, most, -most).to(dtype)
    for hidden in (-1e4, torch.finfo(dtype).min, -torch.inf):
        mask = torch.where(padding(3), 0.0, hidden).to(dtype)
        mask[1, :, :3, 0] = 0
        want = SDPA(*(x.double() for x in (q, k, v, mask)), enable_gqa=True)
        got = scaled_dot_product_attention(q, k, v, mask, enable_gqa=True, method=Dense())
        assert torch.isfinite(got).all()
        assert error(got, want) < 8 * torch.finfo(dtype).eps


@pytest.mark.parametrize("dtype, hidden", [
    (torch.float32, -1e4), (torch.float32, -1e5), (torch.float32, -1e9),
    (torch.float32, torch.finfo(torch.float32).min), (torch.float32, -torch.inf),
    (torch.float16, -1e4), (torch.float16, torch.finfo(torch.float16).min),
    (torch.float16, -torch.inf), (torch.bfloat16, -1e4), (torch.bfloat16, -torch.inf),
    (torch.bfloat16, torch.finfo(torch.bfloat16).min), (torch.bool, False)])
def test_rows_whose_keys_are_all_hidden(dtype, hidden):
    """Left padding hides all keys of rows 0 .. 2, row 4 of the other sequence sees none either."""
    q, k, v = tensors()
    mask = padding(3)
    mask[0, :, 4] = False
    if dtype != torch.bool:
        mask = torch.where(mask, 0.0, hidden).to(dtype)
        q, k, v = (x.to(dtype) for x in (q, k, v))
    float_mask = mask if mask.dtype == torch.bool else mask.float()
    want = SDPA(q.float(), k.float(), v.float(), float_mask, enable_gqa=True)
    bound = {torch.float32: 3e-3, torch.float16: 3e-3, torch.bfloat16: 1e-2, torch.bool: 1e-5}
    for method, more in ((Dense(), 0), (KEPT, ERROR)):
        got = scaled_dot_product_attention(q, k, v, mask, enable_gqa=True, method=method)
        for rows in (got[1, :, :3], want[1, :, :3]), (got[0, :, 4], want[0, :, 4]), (got, want):
            if rows[1].any():
                assert error(*rows) < bound[dtype] + more
            else:
                assert not rows[0].any()
    mean = v.float().repeat_interleave(2, 1)[1].mean(1)[:, None].expand(-1, 3, -1)
    assert (error(want[1, :, :3], mean) < 1e-3) == (-torch.inf < hidden < -1e8)


def test_rows_between_scores_and_mean_are_refused():
    q, k, v = tensors()
    mask = torch.full((20, 20), -1e9)
    with pytest.raises(MaskError, match=r"hides every key of row 0 by -1e\+09, which rounds its"):
        scaled_dot_product_attention(q * 100, k, v, mask, enable_gqa=True)
    with pytest.raises(MaskError, match="dtype torch.float64, legal: bool, float32, float16"):
        scaled_dot_product_attention(q, k, v, mask.double(), enable_gqa=True)


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
@pytest.mark.parametrize("method", [Dense(), FirstSofa(quota=4), None])
def test_compiled_functions(method, backend):
    def double(q, k, v):
        return 2 * scaled_dot_product_attention(q + 1, k, v, is_causal=True, method=record) - 1

    q, k, v = tensors(kv_heads=4)
    record = method and Record(method)
    want = double(q, k, v)
    for _ in range(2):
        assert (torch.compile(double, backend=backend)(q, k, v) == want).all()
    if record:
        assert record.counts.visible == 3 * 2 * 4 * 20 * 21 // 2
    torch._dynamo.reset()
    with pytest.raises(Exception, match="runs in numpy, outside of graphs; legal: fullgraph=Fal"):
        torch.compile(double, backend=backend, fullgraph=True)(q, k, v)
    torch._dynamo.reset()


@pytest.mark.filterwarnings("ignore:.torch.jit")
def test_traced_functions_are_refused():
    class Module(torch.nn.Module):
        def forward(self, *qkv):
            return scaled_dot_product_attention(*qkv)

    inputs = tuple(tensors(kv_heads=4))
    for trace in (torch.jit.trace, torch.export.export):
        with pytest.raises(ValueError, match="traced by torch.jit or torch.export, legal: eager"):
            trace(Module(), inputs)


@pytest.mark.parametrize("place, message", [
    ((3, 3), "layer = 3, legal: integer 0..2"), ((-1, 2), "layer = -1, legal: integer 0..1"),
    ((0.5, 2), "layer = 0.5, legal: integer 0..1"), ((0, 0), "layers = 0, legal: integer 1.."),
    ((0, None), "layers = None, legal: both or none"), ((None, 2), "layer = None, layers = 2")])
def test_refused_places(place, message):
    q, k, v = tensors(kv_heads=4)
    with pytest.raises(ValueError, match=message):
        scaled_dot_product_attention(q, k, v, layer=place[0], layers=place[1])


def test_places_of_single_calls():
    q, k, v = tensors(kv_heads=4)
    tally = Tally([])
    record = Record(tally)
    for layer in (0, 1, 0, None, None):
        scaled_dot_product_attention(q[:1], k[:1], v[:1], method=record, layer=layer,
                                     layers=layer if layer is None else 2)
    assert tally.seen == [[(0, 2), (1, 2)], [(0, 2)], [(None, None)], [(None, None)]]
    with pytest.raises(ValueError, match="layer is not known and the method needs it"):
        scaled_dot_product_attention(q, k, v, method=FirstSofa(dense_layers=(0,)))


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
    (dict(scale=float("nan")), r"scale = nan, legal: finite, and query \* scale"),
    (dict(scale=1e39), r"scale = 1e\+39, legal: finite, and query \* scale"),
    (dict(method="sofa"), "method = 'sofa', legal: a models.lab.methods.method.Method"),
    (dict(attn_mask=torch.full((20, 20), torch.nan)), "adds biases to scores, legal entries: 0"),
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


def albert(attention):
    torch.manual_seed(6)
    config = transformers.AlbertConfig(
        vocab_size=50, embedding_size=16, hidden_size=64, intermediate_size=96,
        num_hidden_layers=3, num_attention_heads=4, initializer_range=0.3,
        attn_implementation=attention)
    return transformers.AlbertModel(config).eval()


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
    register(FirstSofa(quota=1, radius_nats=0.5), "sparse-test")
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


WINDOW = 40


def windowed(kind, attention):
    """A model with three layers: layers 0 and 1 have a window, layer 2 has none (Gemma 3); all of
    them have (Mistral); the last two have (Qwen 2); layer 1 and 2 have one around each row
    (ModernBERT)."""
    torch.manual_seed(3)
    sizes = dict(vocab_size=50, hidden_size=64, intermediate_size=96, num_hidden_layers=3,
                 num_attention_heads=4, initializer_range=0.3, attn_implementation=attention)
    causal = dict(num_key_value_heads=2, sliding_window=WINDOW)
    if kind == "gemma3":
        made = transformers.Gemma3ForCausalLM(transformers.Gemma3TextConfig(
            **sizes, **causal, head_dim=16, query_pre_attn_scalar=16,
            layer_types=["sliding_attention"] * 2 + ["full_attention"]))
    elif kind == "mistral":
        made = transformers.MistralForCausalLM(transformers.MistralConfig(**sizes, **causal))
    elif kind == "qwen2":
        made = transformers.Qwen2ForCausalLM(transformers.Qwen2Config(
            **sizes, **causal, use_sliding_window=True, max_window_layers=1))
    else:
        tokens = {f"{name}_token_id": 0 for name in ("pad", "bos", "eos", "cls", "sep")}
        made = transformers.ModernBertModel(transformers.ModernBertConfig(
            **sizes, **tokens, local_attention=2 * 20, global_attn_every_n_layers=3))
    return made.eval()


WINDOWS = {"gemma3": (40, 40, 0), "mistral": (40, 40, 40), "qwen2": (0, 40, 40),
           "modernbert": (0, 41, 41)}
"""Windows of the layers."""


@dataclass(frozen=True)
class Calls(Method):
    """Exact attention that notes layer, window and rows of each call."""

    seen: list
    windows = True

    def attend(self, call):
        self.seen.append((call.layer, call.window, call.q.shape[1]))
        return Dense().attend(call)


@pytest.mark.parametrize("kind", WINDOWS)
@pytest.mark.parametrize("side", [None, "left", "right"])
def test_models_with_windows(kind, side):
    ids = torch.randint(1, 50, (2, 90), generator=torch.Generator().manual_seed(5))
    used = torch.ones(2, 90, dtype=torch.bool)
    if side:
        used[1, slice(0, 11) if side == "left" else slice(79, 90)] = False
    want = last_state(windowed(kind, "sdpa"), ids, used.long())[used]
    calls = Calls([])
    register(calls, "calls-test")
    dense = last_state(windowed(kind, "calls-test"), ids, used.long())[used]
    assert error(dense, want) < 1e-5
    assert {(layer, window) for layer, window, rows in calls.seen if rows > 11} == set(
        enumerate(WINDOWS[kind]))
    for method, most in ((EVERY, 5 * ERROR), (ALL, 5 * ERROR), (Sofa(tau=0.004), 0.2)):
        record = register(method, "sofa-test")
        got = last_state(windowed(kind, "sofa-test"), ids, used.long())[used]
        assert 0 < error(got, want) < most
        assert (record.counts.keep == 1) == (method in (EVERY, ALL))


@pytest.mark.parametrize("kind", ["gemma3", "mistral", "qwen2"])
@pytest.mark.parametrize("cache", ["dynamic", "static"])
def test_generation_in_a_window(kind, cache):
    """A prompt longer than the window, then steps over the keys in it, 40."""
    ids = torch.randint(1, 50, (1, 60), generator=torch.Generator().manual_seed(7))
    done, calls = [], Calls([])
    register(calls, "calls-test")
    register(EVERY, "every-test")
    with torch.no_grad():
        for name in ("sdpa", "calls-test", "every-test"):
            done.append(windowed(kind, name).generate(
                ids, max_new_tokens=4, do_sample=False, cache_implementation=cache))
    assert done[0].shape == (1, 64)
    assert (done[0] == done[1]).all() and (done[0] == done[2]).all()
    prompt = [(layer, window, 60) for layer, window in enumerate(WINDOWS[kind])]
    assert calls.seen == prompt + 3 * [(layer, 0, 1) for layer in range(3)]


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
    method = FirstSofa(quota=(64, 1, 1), radius_nats=None, dense_layers=(2,))
    record = register(method, "layers-test")
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


def test_compiled_model():
    """Layers, passes and results as in eager mode."""
    record = register(FirstSofa(quota=4, dense_layers=(1,)), "compiled-test")
    model = albert("compiled-test")
    want, once = last_state(model, batch()), record.counts.selected
    compiled = torch.compile(model, backend="eager")
    for number in range(2, 4):
        assert torch.allclose(last_state(compiled, batch()), want, atol=1e-6)
        assert record.counts.selected == number * once
    tally = Tally([])
    register(tally, "compiled-test")
    for _ in range(2):
        last_state(compiled, batch())
    assert tally.seen == [[(0, 3), (1, 3), (2, 3)]] * 4
    torch._dynamo.reset()


def test_the_verilog_behind_a_model(capsys):
    """A model's attention on the compiled machine: the logits of the model engine, and a bar."""
    tokens, method = torch.arange(24)[None], Sofa("tiny", bc=16)
    logits = {}
    for engine in ("model", "rtl"):
        record = register(replace(method, engine=engine), "test-engine")
        with torch.no_grad():
            logits[engine] = llama("test-engine")(tokens).logits
        assert (record.counts.cycles > 0) == ("3/3" in capsys.readouterr().err) == (engine == "rtl")
    assert torch.equal(logits["rtl"], logits["model"]) and logits["rtl"].isfinite().all()
