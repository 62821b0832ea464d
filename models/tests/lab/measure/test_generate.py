# SPDX-License-Identifier: Apache-2.0
"""generate() of transformers on the machine: a KV cache, chunks and drafts against passes whose
blocks have the same boundaries."""

from dataclasses import dataclass

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed (requirements-torch.txt)")
transformers = pytest.importorskip(
    "transformers", reason="transformers is not installed (requirements-torch.txt)")

from transformers.masking_utils import sdpa_mask  # noqa: E402

from models.dlzs import TWO_TERM  # noqa: E402
from models.lab.measure.chunks import Chunks, decode  # noqa: E402
from models.lab.measure.masks import MaskError  # noqa: E402
from models.lab.measure.torch_sdpa import decodes, register  # noqa: E402
from models.lab.methods.dense import Calibration, Dense  # noqa: E402
from models.lab.methods.method import Call, Method  # noqa: E402
from models.lab.methods.sofa import Sofa  # noqa: E402

LAYERS, PROMPT, STEPS = 2, 314, 12
"""Position 320 lies among the steps: there the mean of V and the number of tiles change."""

SETTINGS = dict(tau=0.006)


def llama(name, double=False):
    torch.manual_seed(3)
    config = transformers.LlamaConfig(
        vocab_size=60, hidden_size=64, intermediate_size=96, num_hidden_layers=LAYERS,
        num_attention_heads=4, num_key_value_heads=2, head_dim=32, initializer_range=0.2,
        attn_implementation=name, pad_token_id=0, eos_token_id=None, bos_token_id=None)
    model = transformers.LlamaForCausalLM(config).eval()
    return model.double() if double else model


def tokens(seed=5, length=PROMPT, size=1):
    return torch.randint(1, 60, (size, length), generator=torch.Generator().manual_seed(seed))


class Recorded:
    """A model on a Method that notes each attention: calls, of each forward, holds of each layer
    (query, key, value, out), float32 [batch, heads, rows, d].

    double: the model is in float64 and its attention in float32. A product of matrices then rounds
    the same row otherwise in another batch of rows, too, but far below the step of a float32.
    """

    def __init__(self, method, double=False):
        name = "recorded-test"
        self.record = register(method, f"{name}-inner")
        inner = transformers.AttentionInterface()[f"{name}-inner"]
        self.calls = []

        def forward(module, query, key, value, *others, **named):
            kind = query.dtype
            q, k, v = (x.float() for x in (query, key, value))
            out, _ = inner(module, q, k, v, *others, **named)
            if module.layer_idx == 0:
                self.calls.append([])
            self.calls[-1].append((q, k, v, out.transpose(1, 2)))
            return out.to(kind), None

        transformers.AttentionInterface.register(name, forward)
        transformers.AttentionMaskInterface.register(name, sdpa_mask)
        self.model = llama(name, double)

    def generate(self, ids, **settings):
        """(tokens, logits [steps, vocabulary]) of a greedy generation, its calls alone noted."""
        self.calls.clear()
        with torch.no_grad():
            done = self.model.generate(
                ids, max_new_tokens=STEPS, do_sample=False, return_dict_in_generate=True,
                output_logits=True, **settings)
        return done.sequences, torch.stack([x[0] for x in done.logits])

    def forward(self, ids, **settings):
        """The output of one forward, whose calls are noted beside those before."""
        with torch.no_grad():
            return self.model(ids, **settings)

    def layer(self, number, item=0):
        """(Call of the whole sequence, out [heads, rows, d]) of a layer, all forwards together:
        their rows in turn, over the keys of the last."""
        parts = [forward[number] for forward in self.calls]
        q, out = (np.concatenate([part[i][item].numpy() for part in parts], axis=1)
                  for i in (0, 3))
        k, v = (parts[-1][i][item].numpy() for i in (1, 2))
        return Call(q, k, v, True, number, LAYERS), out


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Of torch: the models are too small for more."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def peaks():
    """Of other tokens."""
    watch = Calibration()
    Recorded(watch).forward(tokens(seed=9))
    return watch.peaks()


@pytest.fixture(scope="module")
def machine(peaks):
    return Sofa(peaks=peaks, **SETTINGS)


@pytest.fixture(scope="module")
def generated(machine):
    """A float32 model that has generated, its tokens and logits."""
    run = Recorded(machine)
    return run, *run.generate(tokens())


def rows_of(call, first, last):
    """Rows first..last-1 as a call of their own, over the keys up to the last of them."""
    return Call(call.q[:, first:last], call.k[:, :last], call.v[:, :last], True, call.layer, LAYERS)


def test_attention_of_generate_is_that_of_blocks_with_its_boundaries(generated, machine, peaks):
    """Q, K and V of the whole sequence, rows 0 .. P-1 at once and the others one by one: the same
    outputs bit for bit, as jobs of the plan and by the host's cache in integers."""
    run, _, _ = generated
    assert len(run.calls) == STEPS and 0.05 < run.record.counts.keep < 0.5
    cfg = machine.machine()
    for number in range(LAYERS):
        call, out = run.layer(number)
        rows = PROMPT + STEPS - 1
        assert call.q.shape == (4, rows, 32) and call.k.shape == (2, rows, 32)
        edges = [0, *range(PROMPT, rows + 1)]
        jobs = [machine.attend(rows_of(call, a, b)).out
                for a, b in zip(edges, edges[1:], strict=False)]
        assert np.array_equal(np.concatenate(jobs, axis=1), out)
        whole = Chunks(machine, (PROMPT, 1)).attend(call)
        assert np.array_equal(whole.out, out)
        cached = decode(call, peaks[number], (PROMPT, 1), cfg, snap=TWO_TERM, tau=0.006)
        assert np.array_equal(cached.out, out)
        assert (cached.selected == whole.selected).all()
        # Blocks elsewhere give something else, and so does a step that is not causal.
        assert not np.array_equal(machine.attend(call).out, out)
        last = rows_of(call, rows - 1, rows)
        last = machine.attend(Call(last.q, last.k, last.v, False, number, LAYERS))
        assert not np.array_equal(last.out, out[:, -1:])


def test_logits_of_generate_are_those_of_steps_with_a_cache(generated, machine):
    """The same shapes in each forward: everything is the same bit for bit."""
    _, ids, logits = generated
    run = Recorded(machine)
    cache = transformers.DynamicCache(config=run.model.config)
    got = [run.forward(ids[:, :PROMPT], cache=cache, logits_to_keep=1).logits[0, -1]]
    got += [run.forward(ids[:, i : i + 1], cache=cache).logits[0, -1]
            for i in range(PROMPT, PROMPT + STEPS - 1)]
    assert (torch.stack(got) == logits).all()


def test_a_pass_over_the_whole_sequence_with_the_same_boundaries(machine):
    """One forward over all tokens, without a cache: every attention of every layer is that of the
    generation. A last row as a block of its own is enough only where all before it are
    those of the prompt's pass."""
    run = Recorded(machine, double=True)
    ids, logits = run.generate(tokens())
    want = [run.layer(number)[1] for number in range(LAYERS)]
    rows = PROMPT + STEPS - 1
    whole = Recorded(Chunks(machine, (PROMPT, 1)), double=True)
    got = whole.forward(ids[:, :rows], use_cache=False).logits[0, PROMPT - 1 :]
    for number in range(LAYERS):
        assert np.array_equal(whole.layer(number)[1], want[number])
    assert torch.allclose(got, logits.double(), rtol=1e-6, atol=1e-6)
    assert whole.record.counts.selected == run.record.counts.selected

    for last, layers in ((PROMPT, LAYERS), (rows - 1, 1)):
        alone = Recorded(Chunks(machine, (last, 1)), double=True)
        alone.forward(ids[:, : last + 1], use_cache=False)
        same = [np.array_equal(alone.layer(number)[1][:, last], want[number][:, last])
                for number in range(LAYERS)]
        assert same == [number < layers for number in range(LAYERS)]


def test_chunked_prefill(machine):
    """A prompt in chunks is a pass in these chunks; where bands begin with them, here each of one
    block of 128 rows, the pass itself."""
    single = Sofa(**SETTINGS, band=1, peaks=machine.peaks)
    run = Recorded(single, double=True)
    ids, _ = run.generate(tokens())
    at_once = [run.layer(number)[1] for number in range(LAYERS)]
    for size, same in ((128, True), (70, False)):
        chunked = Recorded(single, double=True)
        again, _ = chunked.generate(tokens(), prefill_chunk_size=size)
        assert [x[0][0].shape[2] for x in chunked.calls] == (
            [size] * (PROMPT // size) + [PROMPT % size] + [1] * (STEPS - 1))
        whole = Recorded(Chunks(single, (size,) * (PROMPT // size) + (PROMPT % size, 1)),
                         double=True)
        whole.forward(again[:, :-1], use_cache=False)
        outs = [chunked.layer(number)[1] for number in range(LAYERS)]
        for number in range(LAYERS):
            assert np.array_equal(outs[number], whole.layer(number)[1])
        assert all(map(np.array_equal, outs, at_once)) == same
        assert (again == ids).all() or not same


def test_padding_on_the_left(machine):
    """A sequence beside a longer one is what it is by itself: positions count its own keys."""
    alone = Recorded(machine, double=True)
    short = tokens(seed=6, length=70)
    want, _ = alone.generate(short)
    ids = torch.cat([torch.cat([torch.zeros(1, 30, dtype=torch.long), short], 1),
                     tokens(seed=7, length=100)])
    both = Recorded(machine, double=True)
    got, _ = both.generate(ids, attention_mask=(ids != 0).long())
    assert (got[:1, 30:] == want).all()
    for number in range(LAYERS):
        assert np.array_equal(both.layer(number)[1][:, 30:], alone.layer(number)[1])


@pytest.mark.parametrize("settings", [{"prompt_lookup_num_tokens": 3},
                                      {"cache_implementation": "static", "disable_compile": True}],
                         ids=["drafts", "static cache"])
def test_other_ways_to_generate(machine, settings):
    """Drafts that are checked in chunks of rows, and a cache with room to spare: what the forwards
    do is a pass in their chunks."""
    run = Recorded(machine)
    ids = tokens(seed=1, length=24).repeat(1, 4)
    run.generate(ids, **settings)
    static = "cache_implementation" in settings
    for step, forward in enumerate(run.calls):
        for number in range(LAYERS):
            q, k, v, out = (x[0].numpy() for x in forward[number])
            seen = ids.shape[1] + step if static else k.shape[1]
            assert (seen < k.shape[1]) == (static and step < STEPS - 1)
            call = Call(q, k[:, :seen], v[:, :seen], True, number, LAYERS)
            assert np.array_equal(machine.attend(call).out, out)
    rows = [forward[0][0].shape[2] for forward in run.calls[1:]]
    assert set(rows) == {1} if static else max(rows) > 1


@dataclass(frozen=True)
class Notes(Method):
    """Exact attention that notes (rows, keys, causal) of each call."""

    seen: list

    def attend(self, call):
        self.seen.append((call.q.shape[1], call.k.shape[1], call.causal))
        return Dense().attend(call)


def test_steps_in_a_sliding_window():
    """A window is the whole prefix of its last row."""
    def generate(name, length=10):
        torch.manual_seed(1)
        config = transformers.MistralConfig(
            vocab_size=60, hidden_size=32, intermediate_size=32, num_hidden_layers=1,
            num_attention_heads=2, num_key_value_heads=1, sliding_window=16, pad_token_id=0,
            eos_token_id=None, bos_token_id=None, initializer_range=0.3, attn_implementation=name)
        model = transformers.MistralForCausalLM(config).eval()
        with torch.no_grad():
            return model.generate(tokens(length=length), max_new_tokens=14, do_sample=False)

    notes = Notes([])
    register(notes, "notes-test")
    assert (generate("notes-test") == generate("sdpa")).all()
    assert notes.seen == [(10, 10, True)] + [(1, min(n, 16), True) for n in range(11, 24)]
    refused = "a sliding window, which the method Notes does not do, legal masks: none, causal"
    with pytest.raises(MaskError, match=refused):
        generate("notes-test", length=30)


def test_cross_attention_is_not_causal():
    """Steps of a decoder over an encoder's keys see a sequence that is not theirs."""
    notes = Notes([])
    register(notes, "notes-test")
    torch.manual_seed(1)
    config = transformers.BartConfig(
        vocab_size=60, d_model=32, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=32, decoder_ffn_dim=32,
        attn_implementation="notes-test", forced_eos_token_id=None, eos_token_id=None)
    model = transformers.BartForConditionalGeneration(config).eval()
    with torch.no_grad():
        model.generate(tokens(length=20), max_new_tokens=4, num_beams=1, do_sample=False)
    # The encoder, then self- and cross-attention of each step.
    assert notes.seen == [(20, 20, False)] + [
        call for n in range(1, 5) for call in ((1, n, True), (1, 20, False))]


def test_which_modules_decode():
    module = torch.nn.Module()
    assert not decodes(module, None) and decodes(module, True) and not decodes(module, False)
    module.is_causal = True
    assert decodes(module, None) and not decodes(module, False)
    module.is_cross_attention = True
    assert not decodes(module, None) and not decodes(module, True)
