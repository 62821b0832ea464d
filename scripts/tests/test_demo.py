# SPDX-License-Identifier: Apache-2.0
"""The model of the demo, on a small net with random weights and the compiled `tiny`."""

from types import SimpleNamespace

import numpy as np
import pytest

from models.tests.lab.methods.test_rtl import spoil
from models.tests.test_nets import tiny_minilm
from scripts import demo, demo_model

WORDS = 15
"""Words of a text that the small net reads; it has 16 positions."""


class Tokenizer:
    """A number below 20 for each word."""

    def encode(self, text, add_special_tokens=True):
        return SimpleNamespace(ids=[sum(map(ord, word)) % 20 for word in text.split()[:WORDS]])

    def token_to_id(self, token):
        return len(token)


def net_of(width):
    """Two heads of width / 2."""
    made = tiny_minilm(width)
    made.tokenizer = Tokenizer()
    return made


@pytest.fixture
def net(monkeypatch):
    monkeypatch.setattr(demo_model, "TOKENS", 12)
    return net_of(16)


def test_table(net, capsys):
    demo_model.run("tiny", net, tau=2.0**-32)
    *rows, end = capsys.readouterr().out.splitlines()[2:]
    assert [row[: len(q)] for row, q in zip(rows, demo_model.QUESTIONS, strict=True)] == list(
        demo_model.QUESTIONS)
    for row in rows:
        page, cosine, dense, other = row.split()[-4:]
        assert page == dense in demo_model.PAGES
        assert float(cosine) == pytest.approx(float(other), abs=0.02)
    texts = len(demo_model.PAGES) + len(demo_model.QUESTIONS)
    assert f"{texts} texts" in end and f"all {2 * texts} attentions of 2 heads bit-exact" in end
    assert 0.9 < float(end.split("keep ")[1].split(",")[0]) <= 1


def test_a_wrong_value_ends_it(net, monkeypatch):
    spoil(monkeypatch)
    with pytest.raises(demo_model.DemoError, match="head 1, row 2, element 3: the Verilog gives"):
        demo_model.run("tiny", net)


def test_what_it_cannot_do(net, capsys, monkeypatch):
    with pytest.raises(demo_model.DemoError, match="d = 32, legal: "):
        demo_model.run("tiny", net_of(64))
    monkeypatch.setattr(demo_model, "run", lambda *_, **settings: print("ran", settings["snap"]))
    assert demo.main(["--cases", "model", "--snap", "nearest"]) == 0
    assert "ran nearest" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="no case contains 'gpt'; there are .* and model"):
        demo.main(["--cases", "gpt"])


def test_prose_without_pictures():
    for page in demo_model.PAGES:
        words = demo_model.words_of(page)
        assert len(words.split()) > demo_model.TOKENS and "```" not in words
    pages = np.eye(len(demo_model.PAGES))
    assert demo_model.nearest(0.5 * pages[3], pages) == (demo_model.PAGES[3], 0.5)
