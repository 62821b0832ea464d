# SPDX-License-Identifier: Apache-2.0
"""The code of docs/driver.md runs as it stands."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import models

PAGE = Path(__file__).resolve().parents[3] / "docs" / "driver.md"


def test_code_of_the_page(monkeypatch):
    monkeypatch.setitem(sys.modules, "sofa", models)
    blocks, names = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.S), {}
    assert len(blocks) == 2
    for block in blocks:
        exec(block, names)
    assert names["done"].counters["CYCLES"] > 1000 and names["made"] > 0
    assert names["out"].shape == (2, 40, 16) and names["out"].any()
