# SPDX-License-Identifier: Apache-2.0
"""SmolLM2 over a text with every attention on the compiled Verilog.

    .venv/bin/python -m models.lab.measure.forward                   256 tokens, configuration paper
    .venv/bin/python -m models.lab.measure.forward --torch           the same in transformers
    .venv/bin/python -m models.lab.measure.forward --tokens 32 --layers 2

A pass with the models and one with the Verilog; prints what both gave. Exit code 0 where the logits
are equal, bit for bit. Weights and text come as scripts/evaluate.py gets them.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from ...config import ConfigError
from ...driver import TransportError
from ...nets.common import log_softmax_at
from ...nets.smollm2 import SmolLM2
from ...nets.sources import CACHE, NetError, read_text
from ..methods import rtl
from ..methods.counts import Counts
from ..methods.sofa import Sofa
from .progress import Progress

Pass = Callable[[Sofa], tuple[np.ndarray, Counts]]
"""Logits [tokens, vocabulary] of a pass with a method, and what it counted."""


def numpy_pass(net: SmolLM2, tokens: np.ndarray) -> Pass:
    """Passes through models.nets."""
    def run(method):
        counts, session, bar = Counts(), method.start(), Progress(method.engine)

        def attend(call):
            nonlocal counts
            done = session(call)
            counts += done.counts
            bar.tell(call, counts)
            return done.out

        return net.forward(tokens, attend) @ net.embedding.T, counts

    return run


NAMES = {"attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
         "attn_output": "self_attn.o_proj", "attn_norm": "input_layernorm",
         "ffn_norm": "post_attention_layernorm", "ffn_gate": "mlp.gate_proj",
         "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj"}
"""Matrices and vectors of a layer: name in the GGUF file -> name in transformers."""


def torch_pass(net: SmolLM2, tokens: np.ndarray) -> Pass:
    """Passes through transformers with the same weights."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from .torch_sdpa import register

    w = net.weights
    vocabulary, width = net.embedding.shape
    config = LlamaConfig(
        vocab_size=vocabulary, hidden_size=width, num_hidden_layers=net.n_layers,
        intermediate_size=len(w["blk.0.ffn_up"]), num_attention_heads=net.n_heads,
        num_key_value_heads=net.n_kv, head_dim=len(w["blk.0.attn_q"]) // net.n_heads,
        rms_norm_eps=net.eps, rope_parameters={"rope_type": "default", "rope_theta": net.theta},
        tie_word_embeddings=True, attn_implementation="sofa")
    state = {"model.embed_tokens.weight": net.embedding, "lm_head.weight": net.embedding,
             "model.norm.weight": w["output_norm"]}
    for layer in range(net.n_layers):
        for short, name in NAMES.items():
            x = w[f"blk.{layer}.{short}"]
            if short in ("attn_q", "attn_k"):
                # Pairs of RoPE are neighbours in the file, halves of a head in transformers.
                pairs = config.head_dim // 2
                x = x.reshape(-1, pairs, 2, width).swapaxes(1, 2).reshape(x.shape)
            state[f"model.layers.{layer}.{name}.weight"] = x

    def run(method):
        record = register(method, "sofa", progress=True)
        model = LlamaForCausalLM(config).eval()
        model.load_state_dict({name: torch.tensor(x) for name, x in state.items()})
        with torch.no_grad():
            logits = model(torch.from_numpy(tokens)[None], use_cache=False).logits
        return logits[0].numpy(), record.counts

    return run


def loss(logits: np.ndarray, tokens: np.ndarray) -> float:
    """Mean next-token cross-entropy, nats."""
    return float(-log_softmax_at(logits[:-1].astype(np.float64), tokens[1:]).mean())


def compared(run: Pass, method: Sofa, tokens: np.ndarray, before: Callable[[], None]) -> bool:
    """Run with both engines and print what they gave; whether the logits are equal. before: called
    between them, outside of what is timed."""
    want, counts = run(replace(method, engine="model"))
    before()
    start = time.perf_counter()
    got, done = run(replace(method, engine="rtl"))
    seconds = time.perf_counter() - start
    equal = bool(np.array_equal(got, want)) and np.isfinite(want).all()
    print(f"loss {loss(want, tokens):.4f} nats with the models, {loss(got, tokens):.4f} with the "
          f"Verilog; {counts.keep:.1%} of the visible pairs")
    print(f"{done.cycles} cycles in {seconds:.0f} s, {done.cycles / seconds:.0f} a second, the "
          f"rest of the model included")
    print(f"logits {'equal' if equal else 'DIFFER'}, {want.size} of them")
    return bool(equal)


def parse(arguments) -> argparse.Namespace:
    """The command line."""
    title, _, rest = __doc__.partition("\n")
    parser = argparse.ArgumentParser(description=f"{title}\n{rest}",
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=256)
    parser.add_argument("--text", default="novel", help="of models/nets/sources.py, or a file")
    parser.add_argument("--config", default="paper", help="of models/spec/configs.py")
    parser.add_argument("--layers", type=int, help="only the first ones")
    parser.add_argument("--tau", type=float, help="threshold; default: of the snap rule")
    parser.add_argument("--torch", action="store_true", help="in transformers")
    parser.add_argument("--cache", type=Path, default=CACHE, help="folder of downloaded packages")
    options = parser.parse_args(arguments)
    for name, least in (("tokens", 2), ("layers", 1)):
        value = getattr(options, name)
        if value is not None and value < least:
            parser.error(f"--{name} {value}, legal: {least} or more")
    return options


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0, 1 where the logits differ, 2 where it cannot be done."""
    options = parse(arguments)
    try:
        method = Sofa(options.config, tau=options.tau, engine="rtl")
        net = SmolLM2(options.cache)
        net.n_layers = min(options.layers or net.n_layers, net.n_layers)
        tokens = net.encode(read_text(options.text, options.cache), 0, options.tokens)
        run = (torch_pass if options.torch else numpy_pass)(net, tokens)
        print(f"SmolLM2, {net.n_layers} layers, {len(tokens)} tokens of {options.text}, "
              f"configuration {options.config}")
        equal = compared(run, method, tokens, lambda: rtl.machine(method.machine()))
    except (ConfigError, NetError, TransportError, rtl.RtlError, ImportError) as error:
        print(f"forward: {error}", file=sys.stderr)
        return 2
    return 0 if equal else 1


if __name__ == "__main__":
    sys.exit(main())
