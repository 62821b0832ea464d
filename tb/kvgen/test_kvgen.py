# SPDX-License-Identifier: Apache-2.0
"""The KVGEN stage between stand-ins of its neighbours, against models/kvgen.py."""

import random

import cocotb
import pytest

from tb.kvgen.bench import TB, Speed
from tb.runner import run

NAMES = ("ROWS", "D_MAX", "BC_MAX", "KV_SLOTS", "BUS_BYTES", "KEYS_MAX", "H_MAX", "KG_TOK",
         "WGT_WORDS")


def h_legal(tb, d, largest=64):
    """A random model dimension whose weights fit."""
    passes = -(-2 * d // tb.cfg.ROWS)
    top = min(largest, tb.cfg.H_MAX, tb.cfg.WGT_WORDS // passes)
    return 8 * random.randint(1, top // 8)


@cocotb.test()
async def thin(dut):
    """A few keys, fast neighbours."""
    tb = TB(dut)
    tb.new_job(8, 16, 0, 12)
    await tb.reset()
    tb.ask_random(2, share=1.0)
    await tb.finish()
    assert tb.compared


@cocotb.test()
async def jobs(dut):
    """Random jobs of every head dimension and rope mode, slow neighbours."""
    tb = TB(dut)
    first = True
    dims = list(range(8, tb.cfg.D_MAX + 1, 8))
    cases = [(d, m) for d in dims for m in (0, 1, 2)]
    if len(cases) > 9:
        cases = [(d, random.randrange(3)) for d in dims[:2] + random.sample(dims[2:], 4)]
        cases += [(tb.cfg.D_MAX, 2), (random.choice(dims), 2), (random.choice(dims), 1)]
    for d, mode in cases:
        tb.speed = Speed.slow()
        tb.new_job(d, h_legal(tb, d), mode, random.randint(1, 60), random.randint(1, 3),
                   shift=random.choice([None, 0, 40, 30]))
        await (tb.reset() if first or random.random() < 0.5 else tb.next_job())
        first = False
        tb.ask_random(2)
        await tb.finish()
    assert tb.compared > 300


def params(config):
    return config.pick(*NAMES)


@pytest.mark.configs("tiny", "small")
def test_thin(sim, config, seed):
    run("kvgen", __name__, params(config), sim, testcase="thin", seed=seed)


@pytest.mark.configs("tiny", "small")
def test_jobs(sim, config, seed):
    run("kvgen", __name__, params(config), sim, testcase="jobs", seed=seed)
