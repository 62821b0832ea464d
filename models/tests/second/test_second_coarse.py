# SPDX-License-Identifier: Apache-2.0
"""The coarse tail: a row worked by hand, the sums key by key, softmax and blend in float64."""

import numpy as np
import pytest

from models import dlzs, oracle, workloads
from models.config import ConfigError
from models.second import head, plan, sads, sufa
from models.second.config import Config

TINY = Config.from_name("tiny")
PAPER = Config.from_name("paper").replace(TWO_TERM=1)
CAUSAL = next(c for c in workloads.list_cases() if "smollm2" in c and "_s0128_" in c)


def test_a_row_by_hand():
    """The row of docs/second.md, tau = -3 and coarse = -5 octaves, two elements of V."""
    tau, lower = -3 << TINY.LOG_FRAC, -5 << TINY.LOG_FRAC
    level = [np.array([x]) for x in ([3, 1, 0, -2], [2, 1, 5, -9], [3, 2, 4, 5])]
    v = [np.array(x, np.int16) for x in (
        [[0, 1], [7, 2], [-8, 3], [1, 4]], [[1, 5], [-3, 6], [2, 7], [5, 0]],
        [[4, 1], [6, 2], [-1, 3], [3, 4]])]
    none = np.zeros((1, 4), bool)
    sums, tail = sads.start(1), sufa.start_tail(1, 2)
    sads.count(sums, level[0], ~none, none, none, TINY)
    got = []
    for t, ratio in ((1, 768), (2, 384), (0, 256)):
        kept = level[t] >= sads.limit(sums, ratio, tau, TINY)[:, None]
        weight = sads.tail(sums, level[t], ~kept, ratio, lower, TINY)
        sufa.coarse(tail, sums.peak, weight, v[t], TINY)
        got.append((kept[0].tolist(), weight[0].tolist(), tail.w[0], tail.v[0].tolist()))
        if t:
            sads.count(sums, level[t], ~none, kept, weight > 0, TINY)
        else:
            sads.count_last(sums, level[t], kept, weight > 0, TINY)
    # Tile 1, R = 3: key 1 is coarse with 2**(1 - 3). Tile 2, R = 5: shift by 2; key 1 with 2**-3.
    # Tile 0, R = 5: its first two keys with 2**-2 and 2**-4; key 2 lies below ceil(1 11/16).
    assert got == [
        ([True, False, True, False], [0, 1024, 0, 0], 1024, [-3072, 6144]),
        ([True, False, True, True], [0, 512, 0, 0], 768, [-768 + 3072, 1536 + 1024]),
        ([False] * 4, [1024, 0, 0, 0], 1792, [2304, 2560 + 1024]),
    ] or got
    print(got, sums)
