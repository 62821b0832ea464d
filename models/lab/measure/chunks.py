# SPDX-License-Identifier: Apache-2.0
"""A pass taken apart as generation with a KV cache takes it: a prompt, then token after token.

    Chunks(Sofa(peaks=...), sizes=(512, 1))       # Method: a prompt of 512, then one by one
    decode(call, peaks, (512, 1), cfg, snap=TWO_TERM)    # the same by models.cache

Each chunk of rows is an attention of its own over the keys up to its last row, as every forward of
generate() is, so that its blocks and bands begin at its first row. In one pass over the whole
sequence that gives each row what it would get in generation (teacher forcing).

    .venv/bin/python -m models.lab.measure.chunks             # what decoding with SmolLM2 loses
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ... import fast, head
from ...cache import KVCache
from ...config import Config, ConfigError, check
from ...nets.sources import CACHE, NetError
from ...quantise import Peaks
from ..methods.dense import Calibration
from ..methods.method import Attended, Call, Method
from ..methods.sofa import Sofa
from .curves import percent, standard_error
from .grid import stretch_of
from .subjects import SE_TOKENS, Case, Language, blocks


def pieces(rows: int, sizes: tuple[int, ...]) -> Iterator[slice]:
    """Chunks of rows 0 .. rows-1: of the sizes in turn, the last of which goes on to the end."""
    first, number = 0, 0
    while first < rows:
        last = min(first + sizes[min(number, len(sizes) - 1)], rows)
        yield slice(first, last)
        first, number = last, number + 1


def part(call: Call, rows: slice) -> Call:
    """A chunk of a causal call: its rows over the keys up to its last one. ConfigError where that
    is before the first key."""
    if call.first < 0:
        most = call.first + call.q.shape[1]
        raise ConfigError(f"{call.q.shape[1]} causal query rows over {most} keys, legal: up to "
                          f"{most}")
    keys = min(call.first + rows.stop, call.k.shape[1])
    source = call.projection and replace(call.projection, x=call.projection.x[:keys])
    return replace(call, q=call.q[:, rows], k=call.k[:, :keys], v=call.v[:, :keys],
                   projection=source, past=call.first + rows.stop - keys)


def check_sizes(sizes) -> tuple[int, ...]:
    """The sizes of chunks as a tuple, or ConfigError."""
    sizes = tuple(sizes)
    check("number of sizes", len(sizes), 1, 65536)
    for size in sizes:
        check("size of a chunk", size, 1, 65536)
    return sizes


@dataclass(frozen=True)
class Chunks(Method):
    """A Method on causal calls in chunks; others it gets whole.

    method: a Method; sizes: rows of the first chunks, the last goes on to the end. Every chunk is a
    pass of its own through the model for a Method that keeps state from layer to layer.
    """

    method: Method = Sofa()
    sizes: tuple[int, ...] = (512, 1)

    name = "chunks"

    @property
    def windows(self) -> bool:
        """Whether calls may have a window."""
        return self.method.windows

    def __post_init__(self) -> None:
        object.__setattr__(self, "sizes", check_sizes(self.sizes))

    def start(self) -> Callable[[Call], Attended]:
        """A function for one pass through a model."""
        sessions: dict[int, Callable[[Call], Attended]] = {}

        def attend(call: Call) -> Attended:
            rows = call.q.shape[1]
            done = Attended(np.zeros(call.q.shape, np.float32),
                            np.zeros((len(call.q), rows, call.k.shape[1]), bool))
            chunks = pieces(rows, self.sizes) if call.causal else [slice(0, rows)]
            for number, chunk in enumerate(chunks):
                if number not in sessions:
                    sessions[number] = self.method.start()
                own = part(call, chunk) if call.causal else call
                got = sessions[number](own)
                done.out[:, chunk] = got.out
                done.selected[:, chunk, : own.k.shape[1]] = got.selected
                done.counts += got.counts
            return done

        return attend

    def attend(self, call: Call) -> Attended:
        """One layer by itself."""
        return self.start()(call)


def decode(call: Call, peaks: Peaks, sizes: tuple[int, ...], cfg: Config, **settings) -> Attended:
    """A causal call as a host with a KV cache does it: each chunk appends its keys, and what is
    before the first of them, to the integers that are there; no counts.

    peaks: the fixed scales; settings: those of models.cache.KVCache.job.
    """
    sizes = check_sizes(sizes)
    if not call.causal:
        raise ValueError("a call that is not causal, legal: causal, as the keys of a cache are")
    if call.past:
        raise ValueError(f"past = {call.past}, legal: 0, for a row's own key is in the cache")
    cache = KVCache(cfg, peaks, call.d)
    run = fast.run_job if fast.available() else head.run_job
    done = Attended(np.zeros(call.q.shape, np.float32),
                    np.zeros((len(call.q), *call.mask().shape), bool))
    for chunk in pieces(call.q.shape[1], sizes):
        own = part(call, chunk)
        cache.append(own.k[:, cache.keys :], own.v[:, cache.keys :])
        numbers, job = cache.job(own.q, window=call.window, sinks=call.sinks, **settings)
        got = run(numbers.q, numbers.k, numbers.v, numbers.k8, numbers.means, job, cfg)
        done.out[:, chunk] = got.out * numbers.out_scale
        done.selected[:, chunk, : cache.keys] = got.selected
    return done


# ---- What decoding loses -------------------------------------------------------------------------


class Tally:
    """A method in a pass; pairs, int [2]: selected and visible ones of the rows from ``first`` on,
    all layers and heads."""

    def __init__(self, method: Method, first: int):
        self.session, self.first, self.pairs = method.start(), first, np.zeros(2, np.int64)

    def __call__(self, call: Call) -> np.ndarray:
        done = self.session(call)
        self.pairs += (np.count_nonzero(done.selected[:, self.first :]),
                       np.count_nonzero(call.mask()[self.first :]) * len(call.q))
        return done.out


def measure(subject: Language, text: str, stretch: int, prompt: int, tokens: int) -> dict:
    """Of a stretch of a text: way -> (losses of the tokens after the prompt, float64 [tokens], in
    nats; pairs as in Tally)."""
    case = Case("smollm2", text, prompt + tokens, stretch)
    [ids], [other] = subject.inputs(case), subject.calibration(case)
    watch = Calibration()
    session = watch.start()
    subject.net.forward(other, lambda call: session(call).out)
    fixed, done = Sofa(peaks=watch.peaks()), {}
    # The prediction of the first token after the prompt comes from the prompt's last row.
    first = prompt - 1
    done["dense"] = subject.net.losses(ids)[first:], np.ones(2, np.int64)
    for name, method in (("a pass", Sofa()), ("a pass, fixed scales", fixed),
                         ("decoding", Chunks(Sofa(), (prompt, 1))),
                         ("decoding, fixed scales", Chunks(fixed, (prompt, 1)))):
        tally = Tally(method, prompt)
        done[name] = subject.net.losses(ids, tally)[first:], tally.pairs
        print(f"{case}: {name}", file=sys.stderr, flush=True)
    return done


def increase(rise: np.ndarray) -> str:
    """Increase of the perplexity by the mean of a rise in nats, with its standard error."""
    mean = rise.mean()
    return (f"{percent(mean):+.2f} ± "
            f"{100 * math.exp(mean) * standard_error(rise):.2f} %")


def main(arguments: list[str] | None = None) -> int:
    """Print the table; exit code 0, or 2 where it cannot be made."""
    parser = argparse.ArgumentParser(
        description="Perplexity of SmolLM2 on the tokens after a prompt: in one pass in blocks, "
        "and token by token as with a KV cache.")
    parser.add_argument("--text", default="novel:1,code:1,speech,drama",
                        help="names of models.nets.sources, :1 takes the second stretch")
    parser.add_argument("--prompt", type=int, default=512)
    parser.add_argument("--tokens", type=int, default=512, help="after the prompt")
    parser.add_argument("--cache", type=Path, default=CACHE,
                        help="folder of fetched packages")
    options = parser.parse_args(arguments)
    if options.prompt < 1 or options.tokens < 2 * SE_TOKENS:
        parser.error(f"legal: --prompt 1 or more, --tokens {2 * SE_TOKENS} or more")
    subject, ways = Language(options.cache), {}
    for name in options.text.split(","):
        try:
            done = measure(subject, *stretch_of(name), options.prompt, options.tokens)
        except (ValueError, NetError) as error:
            print(f"chunks: {error}", file=sys.stderr)
            return 2
        for way, got in done.items():
            ways.setdefault(way, []).append(got)
    losses = {way: np.concatenate([blocks(loss, SE_TOKENS) for loss, _ in of])
              for way, of in ways.items()}
    print(f"| {options.prompt} + {options.tokens} tokens | keep | perplexity | to dense | "
          f"to a pass |\n|---|---|---|---|---|")
    for way, of in ways.items():
        kept, seen = sum(pairs for _, pairs in of)
        fixed = ", fixed scales" if way.endswith("fixed scales") else ""
        row = [way, f"{100 * kept / seen:.2f} %", f"{math.exp(losses[way].mean()):.3f}"]
        row.append("" if way == "dense" else increase(losses[way] - losses["dense"]))
        row.append("" if not way.startswith("decoding")
                   else increase(losses[way] - losses[f"a pass{fixed}"]))
        print(f"| {' | '.join(row)} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
