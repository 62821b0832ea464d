# SPDX-License-Identifier: Apache-2.0
"""sofa_sads_core against models.sads.select_tile: random words with ties, holes and idle cycles."""

import random

import cocotb
import numpy as np
import pytest
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge

from models.config import Config
from models.sads import NO_MAX, select_tile
from tb.common.scoreboard import pack, same, same_signals, unpack
from tb.runner import CLOCK_PERIOD_NS, parameters, run

PASSES = 1500


class TB:
    """Moves words and their stage enables through the core, one call of step() per cycle."""

    def __init__(self, dut):
        self.dut = dut
        self.sc_w, self.slot_w = parameters()["SC_W"], parameters()["SLOT_W"]
        # Only its largest tile and its score width matter here.
        self.cfg = Config(ROWS=4, COLS=4, D_MAX=1 << self.sc_w - 8 - Config.SC_FRAC,
                          BC_MAX=1 << self.slot_w, BUS_BYTES=8, KEYS_MAX=64)
        # What is in stages s0..s4, and what left s4: (word, base, first, last, pass) or None.
        self.stages = [None] * 6
        self.compared = self.ties = self.full = 0
        cocotb.start_soon(Clock(dut.clk, CLOCK_PERIOD_NS, unit="ns").start())

    async def step(self, item=None):
        """One cycle; ``item`` (scores [12], mask [12], base, first, expected or None) enters."""
        dut = self.dut
        self.stages = [item, *self.stages[:5]]
        s0, s1, s2, s3, s4, done = self.stages
        dut.s0_en.value = s0 is not None
        dut.s1_en.value, dut.s2_en.value = s1 is not None, s2 is not None
        dut.s3_en.value, dut.s4_en.value = s3 is not None, s4 is not None
        # Random where not enabled: it must not matter.
        scores = np.random.randint(-(1 << self.sc_w - 1), 1 << self.sc_w - 1, 12)
        dut.in_scores.value = pack(scores if s0 is None else s0[0], self.sc_w)
        dut.in_mask.value = random.getrandbits(12) if s1 is None else pack(s1[1], 1)
        dut.s3_base.value = random.getrandbits(self.slot_w) if s3 is None else s3[2]
        dut.s4_first.value = random.getrandbits(1) if s4 is None else s4[3]
        if s4 is not None:
            scores, mask = s4[0], s4[1]
            # Offset binary; without a valid lane it is 0.
            want = int(scores[mask].max()) + (1 << self.sc_w - 1) if mask.any() else 0
            same_signals("sads_core", dut, word_max=want)
        if done is not None and done[4] is not None:
            self.check(*done[4])
        await FallingEdge(dut.clk)

    def check(self, slots, valid, scores):
        """Compare the running 4 best with slots, valid and scores [4]."""
        dut = self.dut
        got_valid = unpack(int(dut.best_valid.value), 4, 1).astype(bool)
        same("sads_core valid", valid.tolist(), got_valid.tolist())
        got = unpack(int(dut.best_slot.value), 4, self.slot_w)
        same("sads_core slots", slots[valid].tolist(), got[valid].tolist())
        got = unpack(int(dut.best_score.value), 4, self.sc_w) - (1 << self.sc_w - 1)
        same("sads_core scores", scores[valid].tolist(), got[valid].tolist())
        self.compared += 4
        self.full += bool(valid.all())
        self.ties += len(set(scores[valid])) < valid.sum()

    def make_pass(self):
        """A random pass: list of items for step()."""
        capacity = 1 << self.slot_w
        words = random.randint(1, -(-capacity // 12))
        n = min(words * 12, capacity)
        top = 1 << self.sc_w - 1
        spread = random.choice([1, 2, 4, top])
        middle = random.choice([0, spread - top, top - spread])
        scores = np.random.randint(middle - spread, middle + spread, (1, words * 12))
        scores = np.clip(scores, -top, top - 1)
        share = random.choice([0.0, 0.1, 0.3, 0.7, 1.0])
        allowed = np.random.random((1, words * 12)) < share
        if random.random() < 0.1:
            # The extreme scores on a valid lane.
            scores[0, random.randrange(n)], scores[0, random.randrange(n)] = -top, top - 1
        allowed[:, n:] = False
        best, _ = select_tile(scores[:, :n], allowed[:, :n], None, 4, self.cfg.RADIUS_INF,
                              self.cfg)
        slots, valid = best.slots[0], best.valid[0]
        values = np.where(valid, scores[0, slots], NO_MAX)
        expected = tuple(np.pad(x, (0, 4 - len(x))) for x in (slots, valid, values))
        return [(scores[0, i:i + 12], allowed[0, i:i + 12], i, i == 0,
                 expected if i == 12 * (words - 1) else None)
                for i in range(0, words * 12, 12)]


@cocotb.test()
async def random_passes(dut):
    np.random.seed(random.getrandbits(32))
    tb = TB(dut)
    await FallingEdge(dut.clk)
    for number in range(PASSES):
        idle = random.choice([0, 0, 0.5]) if number > 200 else 0
        for item in tb.make_pass():
            while random.random() < idle:
                await tb.step()
            await tb.step(item)
    for _ in range(6):
        await tb.step()
    assert tb.compared == 4 * PASSES
    assert tb.ties > PASSES // 10 and tb.full > PASSES // 10, (tb.ties, tb.full)


@pytest.mark.parametrize("sc_w,slot_w", [(15, 4), (15, 6), (18, 3)])
def test_sads_core(sim, seed, sc_w, slot_w):
    run("sofa_sads_core", __name__, {"SC_W": sc_w, "SLOT_W": slot_w}, sim, seed=seed)
