# SPDX-License-Identifier: Apache-2.0
"""Trained models as numpy forward passes whose attention can be replaced.

    net = NETS["smollm2"]()
    tokens = net.encode(sources.read_text("novel"), 0, 1024)
    net.loss(tokens)                           # dense
    net.loss(tokens, attend)                   # attend(call) -> float32 [Hq, R, d], every layer

    sources     packages that carry models, texts, speech and photographs
    checkpoint  PyTorch checkpoints without PyTorch
    common      dense attention, the hook, layers that the models share
    check       shows that the models are read right: .venv/bin/python -m models.nets.check
    ggufs       weights and settings out of GGUF files
    smollm2, gemma3, minilm, whisper, lightglue (with disk): one model each
    minilm_int  MiniLM in integers: .venv/bin/python -m models.nets.minilm_int

Only numpy is needed to import the package; a model that needs more says so when it is made.
"""

from .gemma3 import Gemma3
from .lightglue import LightGlue
from .minilm import MiniLM
from .smollm2 import SmolLM2
from .whisper import Whisper

NETS = {"smollm2": SmolLM2, "gemma3": Gemma3, "minilm": MiniLM, "whisper": Whisper,
        "lightglue": LightGlue}
"""Short name -> class; the constructor takes the folder of downloaded packages."""
