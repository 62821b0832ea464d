# SPDX-License-Identifier: Apache-2.0
"""What each trained model is measured by: its inputs, its outputs, and the loss between two.

net        loss (mean over samples)                                     a sample
smollm2    rise of the next-token cross-entropy, nats                   about SE_TOKENS tokens
gemma3     the same                                                     the same
minilm     1 - cosine of the text embedding to the dense one            a paragraph of S tokens
whisper    relative L2 error of the encoder's output                    a second of speech
lightglue  share of matches that only one of the two models finds       a match of either

The standard error of the loss takes the samples as independent. Neighbouring tokens and frames are
not, which is why a sample is the mean over some of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...nets import lightglue, sources, whisper
from ...nets.common import Hook, LanguageModel, fidelity
from ...nets.gemma3 import Gemma3
from ...nets.minilm import MiniLM
from ...nets.smollm2 import SmolLM2
from ...nets.sources import PACKAGES, PHOTOS, VOICE_RATE, NetError, read_text, read_voice

SE_TOKENS = 64
PARAGRAPHS = 12
"""Paragraphs of a text that minilm embeds; each is also searched for its nearest neighbour among
the others."""
CALIBRATION_PARAGRAPHS = 4

VOICE_CUT = 2.8
"""Seconds after which the recorded voice is evaluated; before, it calibrates. A pause lies there,
after VOICE_WORDS tokens of whisper.TRANSCRIPT."""
VOICE_WORDS = 5
FRAMES = 50
"""Encoder outputs a second."""

Start = Callable[[], Hook]
"""Makes the attention of one pass through a model."""


@dataclass(frozen=True)
class Case:
    """What a net is run on. text: a name of models.nets.sources or a path of a UTF-8 file, for
    whisper "voice", for lightglue "photos"; length: tokens, frames or keypoints of a pass; part:
    which stretch of the text, from 0."""

    net: str
    text: str
    length: int
    part: int = 0

    def __str__(self) -> str:
        return f"{self.net} {Path(self.text).name} S={self.length}" + (
            f" part {self.part}" if self.part else "")


class Subject:
    """A net with its loss. unit: of the loss, as tables print it."""

    name = ""
    unit = ""
    modules: tuple[str, ...] = ()
    """Modules of the net beside this one, for cache keys."""

    def __init__(self, cache: Path):
        self.cache = cache

    @classmethod
    def source(cls, case: Case) -> dict:
        """SHA-256 of the package of the net and of the text."""
        return {"net": PACKAGES[cls.name].sha256, "text": text_digest(case.text)}

    def inputs(self, case: Case) -> list:
        """The passes of a case."""
        raise NotImplementedError

    def calibration(self, case: Case) -> list:
        """Passes for methods that learn, none of them evaluated in the case."""
        raise NotImplementedError

    def run(self, inputs: list, start: Start | None) -> dict[str, np.ndarray]:
        """Outputs of the passes; start None: dense."""
        raise NotImplementedError

    def compare(self, dense: dict, got: dict) -> dict:
        """{"loss", "samples" (whose mean is the loss), "extra": {name: number}}."""
        raise NotImplementedError


def text_digest(text: str) -> str:
    """SHA-256 of the package that a text comes from, or of a file."""
    if text in PACKAGES:
        return PACKAGES[text].sha256
    path = Path(text)
    if not path.is_file():
        raise NetError(f"no text {text!r}: give a name of models/nets/sources.py or a file")
    return hashlib.sha256(path.read_bytes()).hexdigest()


def measured(samples: np.ndarray, **extra: float) -> dict:
    """The form that compare returns."""
    return {"loss": float(np.mean(samples)), "samples": [float(x) for x in samples],
            "extra": {name: float(value) for name, value in extra.items()}}


def blocks(values: np.ndarray, size: int) -> np.ndarray:
    """Means over about ``size`` values in a row; block sizes differ by at most one."""
    parts = np.array_split(values, max(1, round(len(values) / size)))
    return np.array([part.mean() for part in parts])


class Language(Subject):
    """SmolLM2: one pass over tokens [part * 2 * S, + S); the S after them are for calibration."""

    name = "smollm2"
    unit = "nat"
    modules = (SmolLM2.__module__, sources.__name__)
    kind: type[LanguageModel] = SmolLM2

    def __init__(self, cache: Path):
        super().__init__(cache)
        self.net = self.kind(cache)

    def _tokens(self, case: Case, offset: int) -> list:
        text = read_text(case.text, self.cache)
        return [self.net.encode(text, case.part * 2 * case.length + offset, case.length)]

    def inputs(self, case: Case) -> list:
        return self._tokens(case, 0)

    def calibration(self, case: Case) -> list:
        return self._tokens(case, case.length)

    def run(self, inputs: list, start: Start | None) -> dict[str, np.ndarray]:
        passes = [self.net.losses(tokens, start() if start else None) for tokens in inputs]
        return {"losses": np.concatenate(passes)}

    def compare(self, dense: dict, got: dict) -> dict:
        rise = got["losses"] - dense["losses"]
        return measured(blocks(rise, SE_TOKENS), dense=dense["losses"].mean())


class Gemma(Language):
    """Gemma 3, likewise. The mark that begins a text is one of the S tokens."""

    name = "gemma3"
    modules = (Gemma3.__module__, sources.__name__)
    kind = Gemma3


class Embedding(Subject):
    """MiniLM: PARAGRAPHS passes of S tokens each; CALIBRATION_PARAGRAPHS after them."""

    name = "minilm"
    unit = "1 - cosine"
    modules = (MiniLM.__module__, sources.__name__)

    def __init__(self, cache: Path):
        super().__init__(cache)
        self.net = MiniLM(cache)

    def _paragraphs(self, case: Case, first: int, number: int) -> list:
        text = read_text(case.text, self.cache)
        step = case.length - 2  # encode adds two special tokens
        first += case.part * (PARAGRAPHS + CALIBRATION_PARAGRAPHS)
        return [self.net.encode(text, (first + i) * step, case.length) for i in range(number)]

    def inputs(self, case: Case) -> list:
        return self._paragraphs(case, 0, PARAGRAPHS)

    def calibration(self, case: Case) -> list:
        return self._paragraphs(case, PARAGRAPHS, CALIBRATION_PARAGRAPHS)

    def run(self, inputs: list, start: Start | None) -> dict[str, np.ndarray]:
        return {"vectors": np.stack([self.net.embed(tokens, start() if start else None)
                                     for tokens in inputs])}

    def compare(self, dense: dict, got: dict) -> dict:
        a, b = dense["vectors"], got["vectors"]
        return measured(1 - (a * b).sum(axis=1), neighbour=(nearest(a) == nearest(b)).mean())


def nearest(vectors: np.ndarray) -> np.ndarray:
    """Index of the other unit vector with the largest cosine, for each of [N, D]."""
    cosine = vectors @ vectors.T
    np.fill_diagonal(cosine, -np.inf)
    return cosine.argmax(axis=1)


class Audio(Subject):
    """Whisper's encoder on the recorded voice after VOICE_CUT; the voice before calibrates. Frames
    without voice are run, as the model always is, but not measured.

    extra: cosine of the frames; rise of the cross-entropy of what is said, nats
    """

    name = "whisper"
    unit = "relative L2 error"
    modules = (whisper.__name__, sources.__name__)

    def __init__(self, cache: Path):
        super().__init__(cache)
        self.net = whisper.Whisper(cache)

    def _voice(self, case: Case) -> tuple[np.ndarray, np.ndarray]:
        if (case.text, case.length, case.part) != ("voice", FRAMES * whisper.SECONDS, 0):
            raise NetError(f"{case}: whisper has the case voice S={FRAMES * whisper.SECONDS} only")
        voice = read_voice(self.cache)
        cut = round(VOICE_CUT * VOICE_RATE)
        return voice[:cut], voice[cut:]

    def inputs(self, case: Case) -> list:
        return [self._voice(case)[1]]

    def calibration(self, case: Case) -> list:
        return [self._voice(case)[0]]

    def run(self, inputs: list, start: Start | None) -> dict[str, np.ndarray]:
        [voice] = inputs
        encoded = self.net.forward(whisper.log_mel(voice), start() if start else None)
        words = self.net.transcript_loss(encoded, whisper.TRANSCRIPT[VOICE_WORDS:])
        return {"frames": encoded[: len(voice) * FRAMES // VOICE_RATE], "words": np.array(words)}

    def compare(self, dense: dict, got: dict) -> dict:
        error, cosine = fidelity(got["frames"], dense["frames"])
        return measured(blocks(error, FRAMES), cosine=cosine.mean(),
                        words=got["words"] - dense["words"])


class Vision(Subject):
    """LightGlue on a photograph and its second view; the other photograph calibrates.

    extra: precision and recall of the matches against the dense ones
    """

    name = "lightglue"
    unit = "share of matches that differ"
    modules = (lightglue.__name__, sources.__name__)

    def __init__(self, cache: Path):
        super().__init__(cache)
        self.net = lightglue.LightGlue(cache)

    def _scene(self, case: Case, photo: str) -> list:
        if (case.text, case.part) != ("photos", 0):
            raise NetError(f"{case}: lightglue has the text photos only")
        return [self.net.scene(photo, case.length)]

    def inputs(self, case: Case) -> list:
        return self._scene(case, PHOTOS[0])

    def calibration(self, case: Case) -> list:
        return self._scene(case, PHOTOS[1])

    def run(self, inputs: list, start: Start | None) -> dict[str, np.ndarray]:
        [pair] = inputs
        attend = lightglue.streams(start) if start else None
        return {"matches": self.net.match(pair, attend)}

    def compare(self, dense: dict, got: dict) -> dict:
        a, b = ({tuple(m) for m in x["matches"].tolist()} for x in (dense, got))
        differ = [match not in a or match not in b for match in sorted(a | b)]
        precision, recall = lightglue.agreement(got["matches"], dense["matches"])
        return measured(np.array(differ or [True], float), precision=precision, recall=recall)


SUBJECTS: dict[str, type[Subject]] = {
    s.name: s for s in (Language, Gemma, Embedding, Audio, Vision)}
