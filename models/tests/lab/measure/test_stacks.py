# SPDX-License-Identifier: Apache-2.0
"""Layers of models of transformers, tiny and random: number, count and pass of every call."""

import copy
import pickle
import threading
from dataclasses import dataclass

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed (requirements-torch.txt)")
T = pytest.importorskip(
    "transformers", reason="transformers is not installed (requirements-torch.txt)")

from models.lab.measure.stacks import pattern  # noqa: E402
from models.lab.measure.torch_sdpa import register  # noqa: E402
from models.lab.methods.dense import Dense  # noqa: E402
from models.lab.methods.first import FirstSofa  # noqa: E402
from models.lab.methods.method import Method  # noqa: E402
from models.lab.peers.spatten import SpAtten  # noqa: E402

NAME = "stacks-test"
SIZES = dict(hidden_size=32, intermediate_size=32, num_hidden_layers=3, num_attention_heads=4)
IMAGE = dict(image_size=8, patch_size=4, **SIZES)
TEXT = dict(vocab_size=20, bos_token_id=1, eos_token_id=2, pad_token_id=0)
PAIR = dict(**TEXT, d_model=32, encoder_layers=3, decoder_layers=2, encoder_attention_heads=4,
            decoder_attention_heads=4, encoder_ffn_dim=32, decoder_ffn_dim=32,
            decoder_start_token_id=1)
TOWERS = dict(text_config=dict(**TEXT, **SIZES), vision_config={**IMAGE, "num_hidden_layers": 2})


def pixels(batch=1):
    return {"pixel_values": torch.randn(batch, 3, 8, 8)}


def words(batch=1):
    return {"input_ids": torch.randint(3, 20, (batch, 6))}


def both(batch=1):
    return {**pixels(batch), **words(batch)}


def speech(batch=1):
    return {"input_features": torch.randn(batch, 8, 20),
            "decoder_input_ids": words(batch)["input_ids"]}


def with_encoder(batch=1):
    return {**words(batch), "encoder_hidden_states": torch.randn(batch, 5, 32)}


MODELS = {
    "vit": (T.ViTForImageClassification, T.ViTConfig(**IMAGE), pixels, [3]),
    "deit": (T.DeiTModel, T.DeiTConfig(**IMAGE), pixels, [3]),
    "dinov2": (T.Dinov2Model, T.Dinov2Config(**IMAGE), pixels, [3]),
    "vit_mae": (T.ViTMAEForPreTraining, T.ViTMAEConfig(
        **IMAGE, decoder_hidden_size=32, decoder_num_hidden_layers=2, decoder_intermediate_size=32,
        decoder_num_attention_heads=4), pixels, [3, 2]),
    "siglip": (T.SiglipModel, T.SiglipConfig(**TOWERS), both, [2, 3]),
    "clip": (T.CLIPModel, T.CLIPConfig(**TOWERS), both, [2, 3]),
    "distilbert": (T.DistilBertModel, T.DistilBertConfig(
        **TEXT, dim=32, hidden_dim=32, n_layers=3, n_heads=4), words, [3]),
    "albert": (T.AlbertModel, T.AlbertConfig(**TEXT, embedding_size=16, **SIZES), words, [3]),
    "albert, groups": (T.AlbertForMaskedLM, T.AlbertConfig(
        **TEXT, embedding_size=16, num_hidden_groups=2, inner_group_num=2, **SIZES), words, [6]),
    "bert": (T.BertModel, T.BertConfig(**TEXT, **SIZES), words, [3]),
    "bart": (T.BartModel, T.BartConfig(**PAIR), words, [3, 2, 2]),
    "whisper": (T.WhisperModel, T.WhisperConfig(
        **PAIR, num_mel_bins=8, max_source_positions=10), speech, [3, 2, 2]),
    "llama": (T.LlamaForCausalLM, T.LlamaConfig(**TEXT, num_key_value_heads=2, **SIZES), words,
              [3]),
    "gpt2": (T.GPT2Model, T.GPT2Config(
        **TEXT, n_embd=32, n_layer=3, n_head=4, add_cross_attention=True), with_encoder, [3, 3]),
}
"""Class, config, inputs, and the layers of its stacks in order of their first calls."""


def make(name):
    kind, config = MODELS[name][:2]
    torch.manual_seed(1)
    return kind._from_config(copy.deepcopy(config), attn_implementation=NAME).eval()


def run(model, name, batch=1):
    with torch.no_grad():
        return model(**MODELS[name][2](batch))


@dataclass(frozen=True)
class Tally(Method):
    """Notes the layers that each session sees; raises in a layer when told to."""

    seen: list
    fail: set

    def start(self):
        layers = []
        self.seen.append(layers)

        def call(call):
            layers.append((call.layer, call.layers))
            if call.layer in self.fail:
                raise KeyboardInterrupt
            return Dense().attend(call)

        return call


def tally():
    method = Tally([], set())
    register(method, NAME)
    return method


def passes(*stacks):
    """What a Tally notes of one forward."""
    return [[(i, layers) for i in range(layers)] for layers in stacks]


@pytest.mark.parametrize("name", MODELS)
def test_layers_of_models(name):
    method, model = tally(), make(name)
    for _ in range(2):
        run(model, name)
    assert method.seen == 2 * passes(*MODELS[name][3])


@pytest.mark.parametrize("name", ["vit", "albert", "bart", "whisper"])
def test_methods_that_go_by_layers(name):
    record = register(SpAtten(), NAME)
    run(make(name), name, 2)
    assert 0.1 < record.counts.keep < 0.8
    counts = []
    for layers in ((), (0,)):
        record = register(FirstSofa(quota=1, radius_nats=0.5, dense_layers=layers), NAME)
        run(make(name), name)
        counts.append(record.counts)
    sparse, dense = counts
    # One key a row (there is one tile), but every pair in layer 0 of every stack.
    assert sparse.selected < dense.selected < dense.visible == sparse.visible
    if len(MODELS[name][3]) == 1:
        assert 3 * dense.selected == 2 * sparse.selected + dense.visible


@pytest.mark.parametrize("name", ["albert", "vit", "bart"])
@pytest.mark.parametrize("layer", [0, 1])
def test_a_forward_that_was_interrupted(name, layer):
    method, model = tally(), make(name)
    method.fail.add(layer)
    with pytest.raises(KeyboardInterrupt):
        run(model, name)
    method.fail.clear()
    method.seen.clear()
    run(model, name)
    assert method.seen == passes(*MODELS[name][3])


def test_models_that_share_a_name_keep_apart():
    """Two models take turns, a copy and a pickled one count for themselves."""
    method, model = tally(), make("albert")
    run(model, "albert")
    others = [make("vit"), copy.deepcopy(model), pickle.loads(pickle.dumps(model))]
    method.seen.clear()
    for _ in range(2):
        run(model, "albert")
        for other in others:
            run(other, "vit" if other is others[0] else "albert")
    assert method.seen == 8 * passes(3)


def test_parts_of_a_batch_and_of_a_model():
    method, model = tally(), make("clip")
    for _ in range(2):
        with torch.no_grad():
            model.vision_model(**pixels())
    with torch.no_grad():
        for part in torch.randn(3, 3, 8, 8).split(2):
            model(**{**words(1), "pixel_values": part})
    # A session a sequence.
    assert method.seen == passes(2, 2) + passes(2, 2, 3) + passes(2, 3)


def test_threads_keep_apart():
    """Another thread runs the model between two layers of this one."""
    method, model = tally(), make("vit")
    run(model, "vit")
    other = threading.Thread(target=run, args=(model, "vit"))

    def switch(*_):
        hook.remove()
        other.start()
        other.join()

    first = next(m for n, m in model.named_modules() if n.endswith(".0.attention"))
    hook = first.register_forward_hook(switch)
    method.seen.clear()
    run(model, "vit")
    assert method.seen == 2 * passes(3)


def test_checkpointing_and_one_model_in_another():
    method, model = tally(), make("bert")
    model.activation_checkpointing_enable()

    class Twice(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = model

        def forward(self, **inputs):
            self.inner(**inputs)
            return self.inner(**inputs)

    run(Twice(), "bert")
    assert method.seen == 2 * passes(3)


def test_generation_begins_a_pass_a_token():
    method, model = tally(), T.BartForConditionalGeneration._from_config(
        copy.deepcopy(MODELS["bart"][1]), attn_implementation=NAME).eval()
    with torch.no_grad():
        model.generate(**words(), max_new_tokens=3, min_new_tokens=3, do_sample=False, num_beams=1)
    assert method.seen == passes(3) + 3 * passes(2, 2)


class Plain(torch.nn.Module):
    """Attentions one after the other in a module of a user's own."""

    def __init__(self, parts, order):
        super().__init__()
        for i, part in enumerate(parts):
            self.add_module(f"part{i}", part)
        self.order = order

    def forward(self, x):
        for part in self.order(self):
            x = x + part(x)[0]
        return x


def attention():
    from transformers.models.vit.modeling_vit import ViTAttention
    config = copy.deepcopy(MODELS["vit"][1])
    config._attn_implementation = NAME
    return ViTAttention(config)


def three(plain):
    """The parts by name."""
    return [plain.part0, plain.part1, plain.part2]


UNKNOWN = {
    "one part, called three times": lambda: Plain([attention()], lambda m: [m.part0] * 3),
    "three parts without an index": lambda: Plain([attention() for _ in range(3)], three)}


@pytest.mark.parametrize("name", UNKNOWN)
def test_numbers_that_nobody_knows_are_asked_for(name):
    x, plain = torch.randn(1, 5, 32), UNKNOWN[name]().eval()
    with torch.no_grad():
        record = register(FirstSofa(quota=1, radius_nats=0.5), NAME)
        plain(x)
        assert record.counts.keep < 0.7
        for method in (FirstSofa(dense_layers=(0,)), SpAtten()):
            register(method, NAME)
            with pytest.raises(ValueError, match="layer is not known and the method needs it, leg"):
                plain(x)


def test_numbers_of_modules_of_a_users_own():
    x = torch.randn(1, 5, 32)
    with torch.no_grad():
        numbered = Plain([attention() for _ in range(3)], three).eval()
        for i, part in enumerate(three(numbered)):
            part.layer_idx = i
        method = tally()
        numbered(x)
        assert method.seen == passes(3)
        shared = Plain([torch.nn.ModuleList([attention()] * 3)], lambda m: m.part0).eval()
        for _ in range(2):
            shared(x)
        assert method.seen == 3 * passes(3)
        # Of a layer by itself nobody knows which it is.
        method.seen.clear()
        block = next(m for m in make("vit").modules() if type(m).__name__ == "ViTLayer")
        block(x)
        assert method.seen == [[(None, None)]]
        # Outside of a model there is the module's own number, or none.
        method.seen.clear()
        numbered.part1(x)
        del numbered.part1.layer_idx
        numbered.part1(x)
        assert method.seen == [[(1, 3)], [(None, None)]]


@pytest.mark.parametrize("path, stack", [
    ("encoder.layer.11.attention", "encoder.layer.*.attention"),
    ("layers.3.self_attn.1", "layers.*.self_attn.*"),
    ("stage2.blocks.7.attn1", "stage*.blocks.*.attn1"),
    ("attn1", "attn1"), ("0", "*"), ("v2.attn", "v2.attn")])
def test_paths(path, stack):
    assert pattern(path) == stack
