# SPDX-License-Identifier: Apache-2.0
"""Random sliding windows of causal jobs."""

from __future__ import annotations

import random
from dataclasses import replace

from models.config import Config
from models.head import Job


def random_window(
    rng: random.Random, rows: int, keys: int, offset: int, bc: int, cfg: Config
) -> tuple[int, int]:
    """A legal (window, sinks) of a causal job, half of the time (0, 0): the smallest window with
    which the last row sees a key, one some tiles wider, or any."""
    least = max(1, offset + rows - keys + 1)
    if least > cfg.KEYS_MAX or rng.random() < 0.5:
        return 0, 0
    window = rng.choice((least, least + rng.randrange(3 * bc), rng.randint(least, cfg.KEYS_MAX)))
    return min(window, cfg.KEYS_MAX), rng.choice((0, 1, bc, rng.randint(0, bc)))


def with_window(job: Job, rows: int, keys: int, cfg: Config) -> Job:
    """The job, with a random window where it is causal."""
    if not job.causal:
        return job
    window, sinks = random_window(random, rows, keys, job.offset, job.bc, cfg)
    return replace(job, window=window, sinks=sinks)
