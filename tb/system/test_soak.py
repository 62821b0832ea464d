# SPDX-License-Identifier: Apache-2.0
"""Some seeds of the soak test (scripts/soak.py), and those that once found something."""

from __future__ import annotations

import pytest

from models.config import Config
from tb.system.random_jobs import random_item
from tb.system.soak import check


@pytest.mark.configs("tiny", "small")
@pytest.mark.slow_on("icarus")
def test_seeds(sim, config, seed):
    """Random jobs, layers and chains, one after another on a memory that changes from one to the
    next; seeds that `make soak` does not have."""
    cfg = Config.from_name(config.name)
    count = {"tiny": 24, "small": 6}[config.name] // (1 if sim == "verilator" else 6)
    check([random_item(cfg, 10**6 * (seed + 1) + i) for i in range(count)], config.name, sim, seed)
