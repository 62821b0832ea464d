# SPDX-License-Identifier: Apache-2.0
"""Passes in chunks: the same rows as jobs of their own, by plan and by the host's cache."""

from dataclasses import dataclass

import numpy as np
import pytest

from models import workloads
from models.config import Config, ConfigError
from models.dlzs import TWO_TERM
from models.lab.measure import chunks
from models.lab.measure.chunks import Chunks, decode, pieces
from models.lab.methods.dense import Calibration, Dense
from models.lab.methods.first import FirstSofa
from models.lab.methods.method import Attended, Call, Method, Projection
from models.lab.methods.rules import Rule
from models.lab.methods.sofa import Sofa
from models.lab.peers import (
    A3,
    DTATrans,
    Energon,
    Isscc22,
    Pade,
    Sanger,
    SpAtten,
    Twilight,
    XAttention,
)
from models.nets.sources import read_text


def captured(rows=None):
    """A captured layer of SmolLM2, 257 tokens; the last rows of it."""
    case = workloads.load_case("smollm2_novel_s0257_l00")
    q, k, v = (np.asarray(x, np.float32) for x in (case.q, case.k, case.v))
    return Call(q if rows is None else q[:, -rows:], k, v, True, 0, 1)


def test_pieces_by_hand():
    def sizes(rows, given):
        return [(part.start, part.stop) for part in pieces(rows, given)]

    assert sizes(7, (4, 1)) == [(0, 4), (4, 5), (5, 6), (6, 7)]
    assert sizes(7, (3,)) == [(0, 3), (3, 6), (6, 7)]
    assert sizes(7, (2, 3, 1, 9)) == [(0, 2), (2, 5), (5, 6), (6, 7)]
    assert sizes(3, (4, 1)) == [(0, 3)] and sizes(0, (4, 1)) == []


@pytest.mark.parametrize("rows", [None, 20])
def test_the_hosts_cache_does_what_plans_do(rows):
    """Also where keys are there before the first row."""
    call, watch = captured(rows), Calibration(percentile=99.9)
    watch.attend(captured())
    cfg = Config.from_name("paper").replace(TWO_TERM=1)
    sizes = (240 if rows is None else 3, 1, 4, 1)
    cached = decode(call, watch.peaks()[0], sizes, cfg, snap=TWO_TERM)
    method = Sofa(peaks=watch.peaks())
    done = Chunks(method, sizes).attend(call)
    assert np.array_equal(cached.out, done.out) and (cached.selected == done.selected).all()
    assert 0 < done.counts.keep < 0.9 and done.counts.selected == done.selected.sum()
    assert done.counts.visible == call.mask().sum() * len(call.q)
    # The last rows are steps at positions 252 and on; in one piece they are of other blocks.
    last = Call(call.q[:, -1:], call.k, call.v, True, 0, 1)
    assert np.array_equal(method.attend(last).out, done.out[:, -1:])
    assert not np.array_equal(method.attend(call).out, done.out)


def test_exact_attention_does_not_hang_on_chunks():
    call = captured()
    done, want = Chunks(Dense(), (100, 30, 1)).attend(call), Dense().attend(call)
    assert np.allclose(done.out, want.out, atol=1e-6) and (done.selected == want.selected).all()
    assert done.counts.selected == done.counts.visible == want.counts.visible


@dataclass(frozen=True)
class Notes(Method):
    """Notes rows, keys, X and causal of the calls of each session."""

    seen: list

    def start(self):
        session = []
        self.seen.append(session)

        def attend(call):
            x = None if call.projection is None else len(call.projection.x)
            session.append((call.layer, call.q.shape[1], call.k.shape[1], x, call.causal))
            return Attended(call.q * 2, np.ones((len(call.q), *call.mask().shape), bool))

        return attend


def test_calls_of_chunks_and_their_state():
    """A chunk is a pass of its own through the layers; what is not causal has none."""
    x, notes = np.ones((2, 5, 8), np.float32), Notes([])
    weights = np.zeros((2, 5, 8), np.float32)
    source = Projection(x[0], *[weights] * 3, *[weights[:, 0]] * 3)
    session = Chunks(notes, (3, 1)).start()
    for layer in range(2):
        done = session(Call(x, x, x, True, layer, 2, source))
        assert (done.out == 2).all() and done.selected[:, 3].tolist() == [[True] * 4 + [False]] * 2
    session(Call(x[:, :1], x, x, False, 1, 2))
    assert notes.seen == [
        [(0, 3, 3, 3, True), (1, 3, 3, 3, True), (1, 1, 5, None, False)],
        [(0, 1, 4, 4, True), (1, 1, 4, 4, True)], [(0, 1, 5, 5, True), (1, 1, 5, 5, True)]]


@pytest.mark.parametrize("method", [
    FirstSofa(quota=8, radius_nats=4.0), FirstSofa(snap="two-term", interleaved=False),
    Rule(threshold=0.01), A3(), SpAtten(), Sanger(), Isscc22(), Energon(), DTATrans(), Twilight(),
    Pade(), Dense()], ids=lambda method: method.name)
def test_a_step_of_other_methods_is_the_row_itself(method):
    """Causal or not, a row that sees all keys selects the same; the first machine's and the peers'
    outputs are the same, too."""
    rng = np.random.default_rng(0)
    q, k, v = (rng.normal(size=s).astype(np.float32) for s in ((4, 1, 16), *[(2, 300, 16)] * 2))
    step, row = (method.start()(Call(3 * q, k, v, causal, 0, 2)) for causal in (True, False))
    assert np.array_equal(step.out, row.out) and (step.selected == row.selected).all()
    assert step.counts == row.counts


def test_a_step_of_methods_that_go_by_position():
    """The second machine's mean of V ends at a multiple of 32; XAttention keeps the first block and
    that of the row, which without a position is the first."""
    rng = np.random.default_rng(0)
    q, k, v = (rng.normal(size=s).astype(np.float32) for s in ((4, 1, 16), *[(2, 300, 16)] * 2))
    calls = [Call(3 * q, k, v, causal, 0, 2) for causal in (True, False)]
    step, row = (Sofa().attend(call) for call in calls)
    assert (step.selected == row.selected).all() and not np.array_equal(step.out, row.out)
    step, row = (XAttention(block=16, threshold=0.01).attend(call).selected for call in calls)
    assert step[:, 0, [*range(16), *range(288, 300)]].all() and not row[:, 0, 288:].all()


@pytest.mark.parametrize("sizes, words", [
    ((), "number of sizes = 0, legal: integer 1.."), ((4, 0), "size of a chunk = 0, legal: "),
    ((2.5,), "size of a chunk = 2.5, legal: ")])
def test_refused_sizes(sizes, words):
    with pytest.raises(ConfigError, match=words):
        Chunks(Dense(), sizes)
    with pytest.raises(ConfigError, match=words):
        decode(captured(), None, sizes, Config.from_name("paper"))


def test_more_rows_than_keys_are_refused():
    """Their first chunks would end before the first key."""
    call = Call(*(np.ones((1, n, 8), np.float32) for n in (7, 4, 4)), causal=True)
    with pytest.raises(ConfigError, match="7 causal query rows over 4 keys, legal: up to 4"):
        chunks.Chunks(Rule(), (1,)).attend(call)


def test_texts_that_are_not_there(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(chunks, "Language", lambda cache: None)
    monkeypatch.setattr(chunks, "measure", lambda _, text, *others: read_text(text, tmp_path))
    assert chunks.main(["--text", "/nowhere:x"]) == 2
    assert capsys.readouterr().err.startswith("chunks: no text '/nowhere:x'")


def test_a_cache_is_causal():
    call = captured()
    with pytest.raises(ValueError, match="a call that is not causal, legal: causal"):
        decode(Call(call.q, call.k, call.v), None, (1,), Config.from_name("paper"))


class Toy:
    """A causal layer over random vectors; the loss of a token hangs on the row before it."""

    def forward(self, tokens, attend):
        x = np.random.default_rng(1).normal(size=(2, 300, 16)).astype(np.float32)
        x = x[:, tokens]
        return attend(Call(3 * x, x, x, True, 0, 1)).sum(axis=(0, 2))

    def losses(self, tokens, attend=None):
        hidden = self.forward(tokens, attend or (lambda call: Dense().attend(call).out))
        return np.abs(hidden[:-1]) / 4


class Subject:
    def __init__(self, cache):
        self.net = Toy()

    def inputs(self, case):
        return [np.arange(case.part, case.part + case.length)]

    calibration = inputs


def test_table_of_decoding(monkeypatch, capsys):
    monkeypatch.setattr(chunks, "Language", Subject)
    assert chunks.main(["--text", "a,a:3", "--prompt", "60", "--tokens", "128"]) == 0
    head, _, *rows = capsys.readouterr().out.splitlines()
    cells = {row.split(" | ")[0].strip("| "): row.strip("| ").split(" | ") for row in rows}
    assert head.startswith("| 60 + 128 tokens | keep | perplexity") and len(cells) == 5
    # The losses of the 128 tokens after the prompt, the first of which follows its last row.
    losses = [Toy().losses(np.arange(part, part + 188))[59:] for part in (0, 3)]
    assert all(len(x) == 128 for x in losses)
    want = np.exp(np.mean([[x[:64].mean(), x[64:].mean()] for x in losses]))
    assert float(cells["dense"][2]) == pytest.approx(want, abs=1e-3)
    # Kept pairs of the rows after the prompt, both texts together.
    kept = seen = 0
    for part in (0, 3):
        x = np.random.default_rng(1).normal(size=(2, 300, 16)).astype(np.float32)
        x = x[:, part : part + 188]
        call = Call(3 * x, x, x, True, 0, 1)
        kept += Chunks(Sofa(), (60, 1)).attend(call).selected[:, 60:].sum()
        seen += 2 * sum(range(61, 189))
    assert cells["decoding"][1] == f"{100 * kept / seen:.2f} %"
    assert cells["decoding, fixed scales"][4] not in ("", cells["decoding"][3])


def test_refused_arguments(capsys):
    for given in (["--prompt", "0"], ["--tokens", "100"]):
        with pytest.raises(SystemExit):
            chunks.main(given)
        assert "legal: --prompt 1 or more, --tokens 128 or more" in capsys.readouterr().err
