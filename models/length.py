# SPDX-License-Identifier: Apache-2.0
"""The threshold from the length alone, for a model and text of which nothing else is known.

    tau_of(dlzs.TWO_TERM, 2048)           # 2**-9.14

A straight line in the logarithms of length and threshold, for each rule that codes Q. It was
chosen on one text (the first stretch of the novel, SmolLM2) so that perplexity rises by about 1 %;
`.venv/bin/python -m models.lab.report.lengths` fits it anew and shows what it costs on the others.
Source: our decision.
"""

from __future__ import annotations

import math

from .config import ConfigError
from .dlzs import FLOOR, TWO_TERM

TAU_LINE = {FLOOR: (-9.19, -0.45), TWO_TERM: (-8.69, -0.45)}
"""Snap rule -> (log2 of the threshold at 1024 keys, its slope over log2 of the keys)."""


def tau_of(snap: int, keys: int) -> float:
    """Threshold for ``keys`` keys, above 0 and at most 1; ConfigError for a snap rule that has no
    line or for keys below 1."""
    if snap not in TAU_LINE:
        raise ConfigError(f"snap = {snap} has no threshold by length, legal: "
                          f"{', '.join(map(str, TAU_LINE))}")
    if not 1 <= keys < math.inf:
        raise ConfigError(f"keys = {keys}, legal: 1 and above")
    offset, slope = TAU_LINE[snap]
    return min(1.0, 2.0 ** (offset + slope * math.log2(keys / 1024)))
