# SPDX-License-Identifier: Apache-2.0
"""The passes of models/nets on tiny random weights, against plain loops in float64; the hook."""

import math
import sys

import numpy as np
import pytest

from models import rope, workloads
from models.lab.methods.method import Call
from models.nets import NETS, Gemma3, MiniLM, SmolLM2, Whisper, common, gemma3, smollm2, whisper
from models.nets.common import ROWS, apply, dense, fidelity, gelu
from models.nets.sources import NetError

TOKENS = np.array([3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5])


class Weights:
    """Random weights that are remembered by name."""

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)
        self.by_name = {}

    def add(self, name, *shape, scale=0.5):
        self.by_name[name] = (self.rng.standard_normal(shape) * scale).astype(np.float32)

    def linear(self, name, out, into, bias=True):
        self.add(f"{name}.weight", out, into)
        if bias:
            self.add(f"{name}.bias", out)

    def norm(self, name, width):
        self.add(f"{name}.weight", width, scale=1.0)
        self.add(f"{name}.bias", width)


def tiny_smollm2():
    """Two layers, width 12, 6 query heads and 2 KV heads of d = 4, 20 tokens."""
    w = Weights(1)
    w.add("token_embd", 20, 12, scale=1.0)
    w.add("output_norm", 12)
    for i in range(2):
        for name, shape in (("attn_norm", (12,)), ("attn_q", (24, 12)), ("attn_k", (8, 12)),
                            ("attn_v", (8, 12)), ("attn_output", (12, 24)), ("ffn_norm", (12,)),
                            ("ffn_gate", (16, 12)), ("ffn_up", (16, 12)), ("ffn_down", (12, 16))):
            w.add(f"blk.{i}.{name}", *shape)
    return SmolLM2(parts=(smollm2.Config(2, 6, 2, 100.0, 1e-5), w.by_name, None))


def tiny_gemma3(window=16):
    """Two layers, the second without a window, width 12, 4 query heads on 2 KV heads of d = 4."""
    w = Weights(4)
    w.add("token_embd", 20, 12, scale=1.0)
    w.add("output_norm", 12)
    for i in range(2):
        for name, shape in (("attn_norm", (12,)), ("attn_q", (16, 12)), ("attn_k", (8, 12)),
                            ("attn_v", (8, 12)), ("attn_output", (12, 16)), ("attn_q_norm", (4,)),
                            ("attn_k_norm", (4,)), ("post_attention_norm", (12,)),
                            ("ffn_norm", (12,)), ("ffn_gate", (10, 12)), ("ffn_up", (10, 12)),
                            ("ffn_down", (12, 10)), ("post_ffw_norm", (12,))):
            w.add(f"blk.{i}.{name}", *shape, scale=1.0)
    config = gemma3.Config(2, 4, 2, 300.0, window, 1e-6, window_theta=20.0, pattern=2)
    return Gemma3(parts=(config, w.by_name, None))


def tiny_minilm(width=8):
    """Two layers, two heads, 20 tokens, 16 positions."""
    w = Weights(2)
    w.add("embeddings.word_embeddings.weight", 20, width)
    w.add("embeddings.position_embeddings.weight", 16, width)
    w.add("embeddings.token_type_embeddings.weight", 2, width)
    w.norm("embeddings.LayerNorm", width)
    for i in range(2):
        base = f"encoder.layer.{i}"
        for part in ("self.query", "self.key", "self.value", "output.dense"):
            w.linear(f"{base}.attention.{part}", width, width)
        w.norm(f"{base}.attention.output.LayerNorm", width)
        w.linear(f"{base}.intermediate.dense", 10, width)
        w.linear(f"{base}.output.dense", width, 10)
        w.norm(f"{base}.output.LayerNorm", width)
    config = {"num_hidden_layers": 2, "num_attention_heads": 2, "layer_norm_eps": 1e-12}
    return MiniLM(parts=(config, w.by_name, None))


def tiny_whisper():
    """Width 8, two heads of d = 4, two encoder layers and one decoder layer, 11 positions."""
    w = Weights(3)
    w.add("encoder.conv1.weight", 8, whisper.MELS, 3, scale=0.1)
    w.add("encoder.conv1.bias", 8)
    w.add("encoder.conv2.weight", 8, 8, 3)
    w.add("encoder.conv2.bias", 8)
    w.add("encoder.positional_embedding", 11, 8)
    w.add("decoder.positional_embedding", 16, 8)
    w.add("decoder.token_embedding.weight", whisper.NO_TIMES + 2, 8)
    w.norm("encoder.ln_post", 8)
    w.norm("decoder.ln", 8)
    blocks = [("encoder.blocks.0", ("attn",)), ("encoder.blocks.1", ("attn",)),
              ("decoder.blocks.0", ("attn", "cross_attn"))]
    for block, kinds in blocks:
        for kind in kinds:
            w.norm(f"{block}.{kind}_ln", 8)
            for part in ("query", "key", "value", "out"):
                w.linear(f"{block}.{kind}.{part}", 8, 8, bias=part != "key")
        w.norm(f"{block}.mlp_ln", 8)
        w.linear(f"{block}.mlp.0", 12, 8)
        w.linear(f"{block}.mlp.2", 8, 12)
    dims = {"n_audio_layer": 2, "n_audio_head": 2, "n_text_layer": 1, "n_text_head": 2}
    return Whisper(parts=(dims, w.by_name))


MEL = np.random.default_rng(5).standard_normal((whisper.MELS, 22)).astype(np.float32)

TINY = {"smollm2": (tiny_smollm2, TOKENS), "gemma3": (tiny_gemma3, TOKENS),
        "minilm": (tiny_minilm, TOKENS), "whisper": (tiny_whisper, MEL)}


@pytest.fixture(params=TINY)
def tiny(request):
    """Each tiny net with an input of 11 rows."""
    make, given = TINY[request.param]
    return make(), given


# ---- plain implementations --------------------------------------------------------------------


def plain_attention(q, k, v, causal):
    """q [Hq, R, d], k and v [Hkv, S, d] -> [R, Hq * d], pair by pair."""
    heads, rows, d = q.shape
    group, shift = heads // len(k), k.shape[1] - rows
    out = np.zeros((rows, heads * v.shape[2]))
    for h in range(heads):
        for i in range(rows):
            keys = range(i + shift + 1 if causal else k.shape[1])
            weight = [math.exp(q[h, i] @ k[h // group, j] / math.sqrt(d)) for j in keys]
            for j in keys:
                share = weight[j] / sum(weight)
                out[i, h * v.shape[2] : (h + 1) * v.shape[2]] += share * v[h // group, j]
    return out


def plain_gelu(x):
    return np.array([t * (1 + math.erf(t / math.sqrt(2))) / 2 for t in x.ravel()]).reshape(x.shape)


def plain_norm(x, weight, bias, eps):
    rows = [(row - row.mean()) / math.sqrt(row.var() + eps) for row in x]
    return np.array(rows) * weight + bias


def heads_of(x, n):
    return np.stack(np.split(x, n, axis=1))


def turned(x, theta, half=False):
    """Pairs as complex numbers, turned by their frequency for each position; pairs are neighbours
    or, half, elements half a vector apart."""
    length, d = x.shape[-2:]
    one, two = (x[..., : d // 2], x[..., d // 2 :]) if half else (x[..., 0::2], x[..., 1::2])
    pairs = (one + 1j * two) * np.exp(
        1j * np.outer(np.arange(length), theta ** (-np.arange(0, d, 2) / d)))
    if half:
        return np.concatenate([pairs.real, pairs.imag], axis=-1)
    return np.stack([pairs.real, pairs.imag], axis=-1).reshape(x.shape)


def doubles(net):
    return {name: array.astype(np.float64) for name, array in net.weights.items()}


def plain_smollm2(net, tokens):
    w = doubles(net)

    def norm(x, weight):
        return np.array([row / math.sqrt(np.mean(row**2) + net.eps) for row in x]) * weight

    h = w["token_embd"][tokens]
    for i in range(2):
        b = f"blk.{i}."
        x = norm(h, w[b + "attn_norm"])
        q, k = (turned(heads_of(x @ w[b + f"attn_{name}"].T, n), 100.0)
                for name, n in (("q", 6), ("k", 2)))
        v = heads_of(x @ w[b + "attn_v"].T, 2)
        h = h + plain_attention(q, k, v, True) @ w[b + "attn_output"].T
        x = norm(h, w[b + "ffn_norm"])
        gate = x @ w[b + "ffn_gate"].T
        h = h + (gate / (1 + np.exp(-gate)) * (x @ w[b + "ffn_up"].T)) @ w[b + "ffn_down"].T
    return norm(h, w["output_norm"])


def plain_gemma3(net, tokens):
    w = doubles(net)

    def norm(x, weight):
        flat = [row / math.sqrt(np.mean(row**2) + 1e-6) * weight
                for row in x.reshape(-1, len(weight))]
        return np.array(flat).reshape(x.shape)

    h = w["token_embd"][tokens] * math.sqrt(12)
    for i, theta in enumerate((20.0, 300.0)):
        b = f"blk.{i}."
        x = norm(h, w[b + "attn_norm"])
        q, k = (turned(norm(heads_of(x @ w[b + f"attn_{name}"].T, n), w[b + f"attn_{name}_norm"]),
                       theta, half=True) for name, n in (("q", 4), ("k", 2)))
        v = heads_of(x @ w[b + "attn_v"].T, 2)
        mixed = plain_attention(q, k, v, True) @ w[b + "attn_output"].T
        h = h + norm(mixed, w[b + "post_attention_norm"])
        x = norm(h, w[b + "ffn_norm"])
        gate = x @ w[b + "ffn_gate"].T
        gate *= 1 / (1 + np.exp(-2 * math.sqrt(2 / math.pi) * (gate + 0.044715 * gate**3)))
        h = h + norm((gate * (x @ w[b + "ffn_up"].T)) @ w[b + "ffn_down"].T,
                     w[b + "post_ffw_norm"])
    return norm(h, w["output_norm"])


def plain_minilm(net, tokens):
    w = doubles(net)

    def linear(name, x):
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    def norm(name, x):
        return plain_norm(x, w[f"{name}.weight"], w[f"{name}.bias"], net.eps)

    e = "embeddings."
    h = w[e + "word_embeddings.weight"][tokens] + w[e + "token_type_embeddings.weight"][0]
    h = norm(e + "LayerNorm", h + w[e + "position_embeddings.weight"][: len(tokens)])
    for i in range(2):
        b = f"encoder.layer.{i}."
        q, k, v = (heads_of(linear(f"{b}attention.self.{part}", h), 2)
                   for part in ("query", "key", "value"))
        mixed = linear(b + "attention.output.dense", plain_attention(q, k, v, False))
        h = norm(b + "attention.output.LayerNorm", h + mixed)
        x = plain_gelu(linear(b + "intermediate.dense", h))
        h = norm(b + "output.LayerNorm", h + linear(b + "output.dense", x))
    return h


def plain_whisper(net, mel):
    w = doubles(net)

    def linear(name, x):
        return x @ w[f"{name}.weight"].T + w.get(f"{name}.bias", 0)

    def norm(name, x):
        return plain_norm(x, w[f"{name}.weight"], w[f"{name}.bias"], 1e-5)

    x = mel.astype(np.float64)
    for name, stride in (("encoder.conv1", 1), ("encoder.conv2", 2)):
        weight, length = w[f"{name}.weight"], x.shape[1]
        y = np.tile(w[f"{name}.bias"][:, None], (1, length // stride))
        for t in range(length // stride):
            for tap in range(3):
                if 0 <= t * stride + tap - 1 < length:
                    y[:, t] += weight[:, :, tap] @ x[:, t * stride + tap - 1]
        x = plain_gelu(y)
    h = x.T + w["encoder.positional_embedding"]
    for i in range(2):
        b = f"encoder.blocks.{i}."
        x = norm(b + "attn_ln", h)
        q, k, v = (heads_of(linear(f"{b}attn.{part}", x), 2) for part in ("query", "key", "value"))
        h = h + linear(b + "attn.out", plain_attention(q, k, v, False))
        h = h + linear(b + "mlp.2", plain_gelu(linear(b + "mlp.0", norm(b + "mlp_ln", h))))
    return norm("encoder.ln_post", h)


PLAIN = {"smollm2": plain_smollm2, "gemma3": plain_gemma3, "minilm": plain_minilm,
         "whisper": plain_whisper}


# ---- forward passes and the hook --------------------------------------------------------------


def test_forward_equals_plain(tiny):
    net, given = tiny
    out = net.forward(given)
    want = PLAIN[net.name](net, given)
    assert out.dtype == np.float32 and out.shape == (11, want.shape[1])
    np.testing.assert_allclose(out, want, atol=2e-5 * np.abs(want).max())


def test_hook_sees_every_layer_once_in_order(tiny):
    net, given = tiny
    calls = []

    def attend(call):
        calls.append(call)
        return dense(call)

    assert np.array_equal(net.forward(given, attend), net.forward(given))
    assert [(call.layer, call.layers) for call in calls] == [(0, 2), (1, 2)]
    for call in calls:
        assert call.q.shape == (net.n_heads, 11, 4)
        assert call.k.shape == call.v.shape == (net.n_kv, 11, 4)
        assert call.causal is net.causal
        assert {call.q.dtype, call.k.dtype, call.v.dtype} == {np.dtype(np.float32)}


def test_projection_makes_q_k_v(tiny):
    net, given = tiny
    calls = []
    net.forward(given, lambda call: (calls.append(call), dense(call))[1])
    for call in calls:
        p = call.projection
        if net.name == "gemma3":  # its keys are not linear in x
            assert p is None
            continue
        assert p.rope_mode == (rope.INTERLEAVED if net.name == "smollm2" else rope.OFF)
        for made, w, b, turns in ((call.q, p.wq, p.bq, True), (call.k, p.wk, p.bk, True),
                                  (call.v, p.wv, p.bv, False)):
            for head in range(len(made)):
                again = p.x @ w[head] + b[head]
                again = workloads.rope(again, p.rope_theta) if turns else again
                np.testing.assert_allclose(made[head], again, atol=1e-5)


def test_replaced_attention_changes_the_output(tiny):
    net, given = tiny
    out = net.forward(given, lambda call: np.zeros_like(call.q))
    assert np.abs(out - net.forward(given)).max() > 0.01


def test_wrong_shape_is_refused(tiny):
    net, given = tiny
    with pytest.raises(ValueError, match=r"layer 0: attend returned shape \[\d, 10, 4\], legal"):
        net.forward(given, lambda call: call.q[:, 1:])


def test_inputs_of_wrong_length_are_refused():
    for make, limit in ((tiny_smollm2, 8192), (tiny_gemma3, 16), (tiny_minilm, 512)):
        for length in (0, limit + 1):
            with pytest.raises(ValueError, match=f"{length} tokens, legal: 1..{limit}"):
                make().forward(np.zeros(length, int))
    for shape in ((80, 24), (79, 22)):
        with pytest.raises(ValueError, match=r"mel has shape .*, legal: \[80, 2..22\]"):
            tiny_whisper().forward(np.zeros(shape, np.float32))


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("rows", [1, ROWS, ROWS + 5])
def test_dense_equals_plain(rows, causal):
    rng = np.random.default_rng(rows)
    q = rng.standard_normal((2, rows, 4), np.float32) * 3
    k, v = (rng.standard_normal((1, ROWS + 9, n), np.float32) for n in (4, 3))
    call = Call(q, k, v, causal)
    want = plain_attention(*(a.astype(np.float64) for a in (q, k, v)), causal)
    np.testing.assert_allclose(apply(None, call), want, atol=1e-5)


def test_gelu_equals_error_function():
    x = np.linspace(-6, 6, 1001, dtype=np.float32)
    np.testing.assert_allclose(gelu(x), plain_gelu(x), atol=1e-6)


def test_fidelity_by_hand():
    error, cosine = fidelity(np.array([[3.0, 4], [0, 2], [0, 0]]), np.array([[3.0, 4], [2, 0],
                                                                           [0, 1]]))
    np.testing.assert_allclose(error, [0, math.sqrt(2), 1])
    np.testing.assert_allclose(cosine, [1, 0, 0])


# ---- language models --------------------------------------------------------------------------


@pytest.fixture(params=[tiny_smollm2, lambda: tiny_gemma3(600)], ids=["smollm2", "gemma3"])
def language(request):
    """Each tiny language model."""
    return request.param()


@pytest.mark.parametrize("rows", [1, 5, 300])
def test_losses_are_cross_entropies(monkeypatch, language, rows):
    net = language
    monkeypatch.setattr(common, "LOGITS", 20 * rows + 19)  # that many rows and a bit at a time
    tokens = np.random.default_rng(6).integers(0, 20, 19)
    logits = net.forward(tokens) @ net.embedding.T
    want = [np.log(np.exp(row.astype(np.float64)).sum()) - row[token]
            for row, token in zip(logits, tokens[1:], strict=False)]
    each = net.losses(tokens)
    assert each.shape == (18,)
    np.testing.assert_allclose(each, want, atol=1e-5)
    assert net.loss(tokens) == pytest.approx(np.mean(want), abs=1e-5)
    assert net.loss(tokens, start=13) == pytest.approx(np.mean(want[13:]), abs=1e-5)
    with pytest.raises(ValueError, match="start = 10, legal: 0..9"):
        net.loss(TOKENS, start=10)


def test_future_tokens_do_not_matter(language):
    changed = TOKENS.copy()
    changed[6:] = 7
    assert np.array_equal(language.losses(TOKENS)[:5], language.losses(changed)[:5])


# ---- Gemma 3 ----------------------------------------------------------------------------------


def test_gemma3_says_why_it_refuses_long_inputs():
    with pytest.raises(ValueError, match="17 tokens, legal: 1..16, the window"):
        tiny_gemma3().losses(np.zeros(17, int))


def test_gemma3_takes_tokens_of_its_vocabulary():
    net = tiny_gemma3()
    top = len(net.embedding) - 1
    for tokens in ([-1, 2], [1, top + 1]):
        with pytest.raises(ValueError, match=f"tokens .*, legal: 0..{top}"):
            net.forward(np.array(tokens))


@pytest.mark.parametrize("length", [0, -3])
def test_gemma3_encodes_no_fewer_than_a_token(length):
    """The mark that begins a text counts."""
    with pytest.raises(NetError, match=f"gemma3: {length} tokens, legal: 1 and more"):
        tiny_gemma3().encode("a", 0, length)


SCORES = {"a": 0, "b": 0, "c": 0, "\u2581": 0, "ab": -2, "bc": -1, "abc": -3, "\u2581a": -5,
          "aa": -4, "aab": -6, "\u2581\u2581": -7}
"""Pieces of a small vocabulary; of bytes it has those of the letter x."""


def gguf_fields():
    """The fields of SCORES as a GGUF file has them."""
    table = [("<bos>", gemma3.CONTROL, -1000.0), ("\n\n", gemma3.USER, -1000.0),
             ("  ", gemma3.USER, -1000.0), ("<0x78>", gemma3.BYTE, 0.0),
             *((piece, 1, float(score)) for piece, score in SCORES.items())]
    fields = dict(zip(("tokens", "token_type", "scores"), zip(*table, strict=True), strict=True))
    return lambda key: list(fields[key.removeprefix("tokenizer.ggml.")])


def plain_pieces(text):
    """The best pair joined, the first of several, until none is left."""
    parts = list(text.replace(" ", "\u2581"))
    while True:
        pairs = [(-SCORES[a + b], i) for i, (a, b) in enumerate(zip(parts, parts[1:], strict=False))
                 if a + b in SCORES]
        if not pairs:
            return parts
        i = min(pairs)[1]
        parts[i : i + 2] = [parts[i] + parts[i + 1]]


def test_gemma3_tokenizer():
    pytest.importorskip("tokenizers", reason="needs scripts/setup.sh capture")
    tokenizer = gemma3.make_tokenizer(gguf_fields())
    rng = np.random.default_rng(10)
    for length in range(1, 40):
        text = "".join(rng.choice(list("abc "), length, p=[0.4, 0.25, 0.25, 0.1]))
        while "  " in text:  # a token of its own, below
            text = text.replace("  ", " ")
        assert tokenizer.encode(text).tokens == plain_pieces(text)
    by_hand = {"aabc": ["a", "abc"], "xa": ["<0x78>", "a"], "a\n\nb": ["a", "\n\n", "b"],
               "a  bc": ["a", "  ", "bc"], "a a": ["a", "\u2581a"]}
    for text, want in by_hand.items():
        assert tokenizer.encode(text).tokens == want
    net = Gemma3(parts=(tiny_gemma3().config, tiny_gemma3().weights, tokenizer))
    ids = tokenizer.encode("ab c abc").ids
    assert net.encode("ab c abc", 0, 3).tolist() == [0, *ids[:2]]
    assert net.encode("ab c abc", 1, 3).tolist() == [0, *ids[1:3]]
    with pytest.raises(NetError, match="the text has 5 tokens, 6 are wanted"):
        net.encode("ab c abc", 0, 7)


# ---- MiniLM -----------------------------------------------------------------------------------


def test_embedding_is_the_unit_mean():
    net = tiny_minilm()
    mean = net.forward(TOKENS).mean(axis=0)
    np.testing.assert_allclose(net.embed(TOKENS), mean / np.sqrt((mean**2).sum()), atol=1e-6)


# ---- Whisper ----------------------------------------------------------------------------------


def test_mel_of_a_tone():
    time = np.arange(16000) / 16000
    mel = whisper.log_mel(np.sin(2 * np.pi * 1000 * time).astype(np.float32))
    assert mel.shape == (80, 3000) and mel.dtype == np.float32
    # 1000 Hz is 15 mel of 45.245 in all (8000 Hz), band b is centred at (b + 1) / 81 of them.
    assert mel[:, 50].argmax() == round(15 / (15 + math.log(8) / math.log(6.4) * 27) * 81) - 1
    assert np.ptp(mel) == pytest.approx(2)
    assert np.all(mel[:, 200:] == mel.min())  # silence after the tone


@pytest.mark.parametrize("frame", [0, 7])
def test_mel_frame_by_a_plain_fourier_sum(frame):
    rng = np.random.default_rng(8)
    audio = rng.standard_normal(2000).astype(np.float32)
    # Samples before the start are the first ones mirrored.
    piece = audio[np.abs(np.arange(frame * 160 - 200, frame * 160 + 200))].astype(np.float64)
    window = np.sin(np.pi * np.arange(400) / 400) ** 2
    power = np.array([
        abs(sum(piece * window * np.exp(-2j * np.pi * k * np.arange(400) / 400))) ** 2
        for k in range(201)
    ])
    log = np.log10(whisper.mel_bank().astype(np.float64) @ power)
    np.testing.assert_allclose(whisper.log_mel(audio)[:, frame], (log + 4) / 4, atol=1e-5)


def test_mel_bands_have_unit_area():
    bank = whisper.mel_bank()
    assert bank.shape == (80, 201) and bank.min() == 0
    # The sum over bins of 8000 / 200 Hz is the area once a triangle spans several bins.
    np.testing.assert_allclose(bank[60:].sum(axis=1) * 40, 1, atol=0.05)


def test_transcript_loss_and_greedy_tokens():
    net = tiny_whisper()
    encoded = net.forward(MEL)
    memory = net.memory(encoded)
    words = net.weights["decoder.token_embedding.weight"].astype(np.float64)
    heard = net.transcribe(encoded, limit=5)
    prompt = [whisper.START, whisper.NO_TIMES]
    for i, token in enumerate(heard):
        state = net.text_states(memory, np.array(prompt + heard[:i]))[-1]
        assert token == (words[: whisper.END + 1] @ state).argmax() != whisper.END
    said = [11, 5]
    losses = []
    for i, token in enumerate([*said, whisper.END]):
        logits = words @ net.text_states(memory, np.array(prompt + said[:i]))[-1]
        losses.append(np.log(np.exp(logits).sum()) - logits[token])
    assert net.transcript_loss(encoded, said) == pytest.approx(np.mean(losses), abs=1e-5)


# ---- the table --------------------------------------------------------------------------------


def test_table_names_the_nets():
    assert {name: net.name for name, net in NETS.items()} == {n: n for n in NETS}


@pytest.mark.parametrize(("net", "package"), [("smollm2", "gguf"), ("smollm2", "tokenizers"),
                                              ("gemma3", "gguf"), ("gemma3", "tokenizers"),
                                              ("minilm", "safetensors"), ("minilm", "tokenizers")])
def test_missing_package_is_one_sentence(monkeypatch, tmp_path, net, package):
    for name in ("gguf", "tokenizers", "safetensors", "safetensors.numpy"):
        there = name.split(".")[0] != package
        monkeypatch.setitem(sys.modules, name, sys.modules[__name__] if there else None)
    with pytest.raises(NetError, match=rf"^{net} needs the package {package}, .*setup.sh capture"):
        NETS[net](tmp_path)
