# SPDX-License-Identifier: Apache-2.0
"""Shows that the trained models are read right: what they are known to do, they do here.

    .venv/bin/python -m models.nets.check [--net smollm2] [--cache FOLDER]

The exit code is the verdict.
"""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path

import numpy as np

from . import NETS, lightglue, whisper
from .sources import CACHE, PACKAGES, PHOTOS, NetError, read_text, read_voice

LOSS_LENGTH = 512
LOSS_WINDOWS = 4
LOSS_EXPECTED = {
    "novel": (3.6, 4.5),
    "speech": (3.0, 4.0),
    "code": (1.8, 2.8),
    "drama": (3.4, 4.4),
}
"""Plausible next-token loss of both language models, nats, mean over LOSS_WINDOWS stretches of
LOSS_LENGTH tokens.

Single stretches of the novel vary from 3.3 to 4.9. The wrong RoPE pairs give 5.5 and more.
"""

SENTENCES = (
    "The weather is lovely today.",
    "It's so sunny outside!",
    "He drove to the stadium.",
)
SIMILARITY_EXPECTED = {(0, 1): 0.6660, (0, 2): 0.1046, (1, 2): 0.1411}
"""Cosine similarities that the Sentence Transformers documentation prints for this model."""

TORCH_ERROR = 1e-4
"""Largest difference of Whisper's encoder from the same made of torch's own functions, as a share
of the largest output."""

MATCHES = {"china": 900, "flower": 800}
"""Least number of matches between a photograph and its second view."""


class Verdicts:
    """Prints figures beside the range they must lie in, and counts those that do not."""

    def __init__(self):
        self.failed = 0

    def __call__(self, what: str, figure: float, low: float, high: float) -> None:
        good = low <= figure <= high
        self.failed += not good
        word = "ok" if good else "WRONG"
        print(f"{what:52s} {figure:9.4g}  expected {low:.4g}..{high:.4g}  {word}", flush=True)


def check_language(net, cache: Path, verdict: Verdicts) -> None:
    """Next-token loss on every text, and that the wrong rotary pairs spoil it."""
    right = net.rope_pairs
    wrong = "half" if right == "interleaved" else "interleaved"
    for text, (low, high) in LOSS_EXPECTED.items():
        words = read_text(text, cache)
        windows = [net.encode(words, i * LOSS_LENGTH, LOSS_LENGTH) for i in range(LOSS_WINDOWS)]
        figures = {}
        for pairs in (wrong, right):
            net.rope_pairs = pairs
            figures[pairs] = [net.loss(window) for window in windows]
        each = " ".join(f"{figure:.2f}" for figure in figures[right])
        verdict(f"{net.name} loss, {text} ({each})", np.mean(figures[right]), low, high)
        # The wrong RoPE must show, or this check would not see a wrong load.
        verdict(f"  with {wrong} RoPE pairs", np.mean(figures[wrong]), high + 1, math.inf)


def check_minilm(net, cache: Path, verdict: Verdicts) -> None:
    """Similarities of sentences that the model's documentation prints."""
    vectors = [net.sentence(sentence) for sentence in SENTENCES]
    for (i, j), expected in SIMILARITY_EXPECTED.items():
        figure = float(vectors[i] @ vectors[j])
        verdict(f"minilm similarity {i},{j}", figure, expected - 5e-4, expected + 5e-4)


def check_whisper(net, cache: Path, verdict: Verdicts) -> None:
    """The decoder hears the words that are spoken; the encoder equals torch's, if it is there."""
    mel = whisper.log_mel(read_voice(cache))
    encoded = net.forward(mel)
    heard = net.transcribe(encoded)
    verdict("whisper transcript is right", heard == list(whisper.TRANSCRIPT), 1, 1)
    verdict("whisper transcript loss", net.transcript_loss(encoded), 0, 0.5)
    silence = net.forward(whisper.log_mel(np.zeros(1, np.float32)))
    verdict("  of silence", net.transcript_loss(silence), 2, math.inf)
    try:
        reference = torch_encoder(net, mel)
    except ImportError:
        print("torch is not installed: the comparison with it is left out")
        return
    error = np.abs(encoded - reference).max() / np.abs(reference).max()
    verdict("whisper encoder, difference from torch", error, 0, TORCH_ERROR)


def torch_encoder(net, mel: np.ndarray) -> np.ndarray:
    """Whisper's encoder made of torch's convolution, norm, GELU and attention, [S, D]."""
    import torch
    from torch.nn import functional

    w = {name: torch.from_numpy(array) for name, array in net.weights.items()}

    def linear(name, x):
        return functional.linear(x, w[f"{name}.weight"], w.get(f"{name}.bias"))

    def norm(name, x):
        return functional.layer_norm(x, x.shape[-1:], w[f"{name}.weight"], w[f"{name}.bias"])

    def heads(x):
        return x.unflatten(1, (net.n_heads, -1)).transpose(0, 1)

    x = torch.from_numpy(mel)
    for name, stride in (("encoder.conv1", 1), ("encoder.conv2", 2)):
        x = functional.conv1d(x, w[f"{name}.weight"], w[f"{name}.bias"], stride, 1)
        x = functional.gelu(x)
    h = x.T + w["encoder.positional_embedding"]
    for number in range(net.n_layers):
        block = f"encoder.blocks.{number}"
        x = norm(f"{block}.attn_ln", h)
        q, k, v = (heads(linear(f"{block}.attn.{part}", x)) for part in ("query", "key", "value"))
        mixed = functional.scaled_dot_product_attention(q, k, v)
        h = h + linear(f"{block}.attn.out", mixed.transpose(0, 1).flatten(1))
        x = functional.gelu(linear(f"{block}.mlp.0", norm(f"{block}.mlp_ln", h)))
        h = h + linear(f"{block}.mlp.2", x)
    return norm("encoder.ln_post", h).numpy()


def check_lightglue(net, cache: Path, verdict: Verdicts) -> None:
    """Matches of photographs with a second view whose geometry is known."""
    scenes = {photo: net.scene(photo) for photo in PHOTOS}
    for photo, pair in scenes.items():
        matches = net.match(pair)
        verdict(f"lightglue matches, {photo}", len(matches), MATCHES[photo], math.inf)
        verdict("  share within 3 pixels", lightglue.correct(matches, pair).mean(), 0.98, 1)
    strangers = tuple(scenes[photo][0] for photo in PHOTOS)
    verdict("lightglue matches, two different photographs", len(net.match(strangers)), 0, 40)


CHECKS = {
    "smollm2": check_language,
    "gemma3": check_language,
    "minilm": check_minilm,
    "whisper": check_whisper,
    "lightglue": check_lightglue,
}


def main(argv: list[str] | None = None) -> int:
    """Check the chosen nets; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--net", choices=[*NETS, "all"], default="all",
                        help="all: those without terms of their own (Package.terms)")
    parser.add_argument("--cache", type=Path, default=CACHE, help="folder of downloaded packages")
    args = parser.parse_args(argv)
    verdict = Verdicts()
    try:
        free = [name for name in NETS if not PACKAGES[name].terms]
        for name in free if args.net == "all" else [args.net]:
            CHECKS[name](NETS[name](args.cache), args.cache, verdict)
    except (NetError, OSError) as exc:
        print(f"models.nets.check: {exc}", file=sys.stderr)
        return 1
    if verdict.failed:
        print(f"models.nets.check: {verdict.failed} figures out of range", file=sys.stderr)
    return int(verdict.failed > 0)


if __name__ == "__main__":
    sys.exit(main())
