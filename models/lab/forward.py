# SPDX-License-Identifier: Apache-2.0
"""SmolLM2 over a text with every attention on the compiled Verilog.

    .venv/bin/python -m models.lab.forward                    256 tokens, configuration paper
    .venv/bin/python -m models.lab.forward --torch            the same in transformers
    .venv/bin/python -m models.lab.forward --tokens 32 --layers 2

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

from ..config import ConfigError
from ..driver import TransportError
from ..nets.common import log_softmax_at
from ..nets.smollm2 import SmolLM2
from ..nets.sources import CACHE, NetError, read_text
from . import rtl
from .counts import Counts
from .progress import Progress
from .sofa import Sofa

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


def torch_pass(folder: Path, tokens: np.ndarray, layers: int | None) -> Pass:
    """Passes through transformers, which reads the same file."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    from .torch_sdpa import register

    file = {"gguf_file": SmolLM2.file}
    config = AutoConfig.from_pretrained(folder, **file)
    config.num_hidden_layers = layers or config.num_hidden_layers

    def run(method):
        record = register(method, "sofa", progress=True)
        model = AutoModelForCausalLM.from_pretrained(folder, config=config, dtype=torch.float32,
                                                     attn_implementation="sofa", **file)
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
        method = Sofa(options.config, tau=options.tau, engine="rtl",
                      bc=Sofa.parameters.from_name(options.config).BC_MAX)
        net = SmolLM2(options.cache)
        net.n_layers = min(options.layers or net.n_layers, net.n_layers)
        tokens = net.encode(read_text(options.text, options.cache), 0, options.tokens)
        run = torch_pass(options.cache, tokens, options.layers) if options.torch else numpy_pass(
            net, tokens)
        print(f"SmolLM2, {net.n_layers} layers, {len(tokens)} tokens of {options.text}, "
              f"configuration {options.config}")
        equal = compared(run, method, tokens, lambda: rtl.machine(method.machine()))
    except (ConfigError, NetError, TransportError, rtl.RtlError, ImportError) as error:
        print(f"forward: {error}", file=sys.stderr)
        return 2
    return 0 if equal else 1


if __name__ == "__main__":
    sys.exit(main())
