# SPDX-License-Identifier: Apache-2.0
"""sofa_sufa_exp: every fraction at every whole part, rises of m, scaling, means and questions.

A score reaches the unit without its 8 low bits (`sd`); z = saturate((sd * M) >>> shift). With
M = 1 and shift = 0, z = sd. Events are (kind, row, sd); every output is compared in its cycle.
"""

import random

import cocotb
import numpy as np
import pytest
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge

from models import sufa
from models.config import Config
from tb.common import samples
from tb.common.scoreboard import same
from tb.common.signals import reader, writer
from tb.runner import CLOCK_PERIOD_NS, BuildError, build, parameters, run
from tb.runner import seed as sim_seed

LATENCY = 10
HAZARD = 3
"""A row may come again after so many cycles."""
MEAN_P = 512


class Unit:
    """Issues events and compares what comes out."""

    def __init__(self, dut):
        p = parameters()
        self.dut, self.all, self.sd_w = dut, p["ALL"], p["SD_W"]
        self.cfg = Config(4, 4, 16, 16, 8, 256)
        names = ("rst", "in_pair", "in_mean", "in_ask", "in_idx", "in_some", "in_sd",
                 "in_scale_m", "in_scale_shift")
        self._put = {n: (writer(getattr(dut, n)), len(getattr(dut, n))) for n in names}
        self._get = {n: reader(getattr(dut, n)) for n in (
            "out_p", "out_dm", "ask_valid", "ask_l", "ev_upd", "tap_valid", "tap_idx", "tap_z",
            "tap_p", "tap_m", "tap_dm", "tap_l")}
        self.compared = self.updates = self.ups = 0
        cocotb.start_soon(Clock(dut.clk, CLOCK_PERIOD_NS, unit="ns").start())

    def put(self, name, value):
        write, width = self._put[name]
        write(format(int(value) & ((1 << width) - 1), f"0{width}b"))

    def get(self, name, width=0):
        """Value of an output; signed when width is given."""
        value = int(self._get[name](), 2)
        return value - (1 << width) if width and value >> (width - 1) else value

    async def reset(self):
        for name in self._put:
            self.put(name, 0)
        self.put("rst", 1)
        for _ in range(2):
            await RisingEdge(self.dut.clk)
        self.put("rst", 0)
        self.m = np.zeros(self.all, np.int64)
        self.l = np.zeros(self.all, np.int64)  # noqa: E741  (the name in the specification)
        self.seen = np.zeros(self.all, bool)

    def expect(self, kind, idx, sd, scale):
        """What an event gives: steps 1 and 2 of the formal path of docs/second.md."""
        if kind == "ask":
            total, self.seen[idx] = int(self.l[idx]) if self.seen[idx] else 0, False
            return {"l": total}
        if kind == "mean":
            return {"p": MEAN_P}
        z = sufa.log2_score(np.int64(sd) << 8, *scale, self.cfg)
        e, dm = (int(z) >> self.cfg.Z_FRAC) + 1, 0
        if not self.seen[idx]:
            self.m[idx], self.l[idx] = e, 0
        elif e > self.m[idx] + self.cfg.GUARD:
            dm, self.m[idx] = e - int(self.m[idx]), e
            self.updates += 1
        self.seen[idx] = True
        dm = min(63, dm)
        p = int(sufa.weight(z, self.m[idx], self.cfg))
        self.l[idx] = (self.l[idx] >> dm) + p
        return {"p": p, "dm": dm, "z": int(z), "m": int(self.m[idx]), "l": int(self.l[idx]),
                "idx": idx}

    async def run(self, events, scale):
        """One event a cycle, None for an idle one; in front of a pair its scale."""
        pipe, weights = [None] * (LATENCY + 2), []
        events = [None, *events, *[None] * (LATENCY + 2)]
        for event, after in zip(events, [*events[1:], None], strict=True):
            early = scale if after and after[0] == "pair" else (random.getrandbits(16),
                                                                random.getrandbits(6))
            self.put("in_scale_m", early[0])
            self.put("in_scale_shift", early[1])
            kind, idx, sd = event or (None, random.randrange(self.all), 0)
            for name in ("pair", "mean", "ask"):
                self.put(f"in_{name}", kind == name)
            self.put("in_idx", idx)
            self.put("in_some", self.seen[idx])
            self.put("in_sd", sd if kind == "pair" else random.getrandbits(self.sd_w))
            want = self.expect(kind, idx, sd, scale) if kind else None
            if kind == "pair":
                weights.append(want["p"])
            await RisingEdge(self.dut.clk)
            pipe = [(kind, want), *pipe[:-1]]
            self._sample(pipe)
        same("sufa_exp", self.updates, self.ups, field="ev_upd")
        samples.weights(weights, self.cfg)

    def _sample(self, pipe):
        self.ups += self.get("ev_upd")
        kind, want = pipe[LATENCY] or (None, None)
        same("sufa_exp", kind == "ask", bool(self.get("ask_valid")), field="ask_valid")
        if kind == "ask":
            same("sufa_exp", want["l"], self.get("ask_l"), field="ask_l")
            self.compared += 1
        elif kind:
            got = {"p": self.get("out_p"), "dm": self.get("out_dm")}
            part = {n: want[n] for n in got if n in want}
            same("sufa_exp", part, got)
        kind, want = pipe[LATENCY + 1] or (None, None)
        same("sufa_exp", kind == "pair", bool(self.get("tap_valid")), field="tap_valid")
        if kind == "pair":
            got = {"p": self.get("tap_p"), "dm": self.get("tap_dm"), "z": self.get("tap_z", 26),
                   "m": self.get("tap_m", 17), "l": self.get("tap_l"), "idx": self.get("tap_idx")}
            same("sufa_exp tap", want, got)
            self.compared += len(want)


@cocotb.test()
async def every_fraction(dut):
    """All 1024 fractions at whole parts that keep, round and lose bits, and above m."""
    unit = Unit(dut)
    for whole in (unit.cfg.GUARD - 1, -1, -2, -7, -14, -15, -16, -17, -18, -2000):
        await unit.reset()
        base = [random.randint(-20000, 20000) * 1024 for _ in range(unit.all)]
        low, high = -(1 << 25), (1 << 25) - 1
        events = [("pair", r, max(low, base[r] - 1)) for r in range(unit.all)]
        for f in range(1024):
            row = f % unit.all
            events.append(("pair", row, min(high, max(low, base[row] + whole * 1024 + f))))
        await unit.run(events, (1, 0))
    assert unit.compared > 10 * 1024


@cocotb.test()
async def random_walks(dut):
    """Random scores, rises up to the ends of the range, rows as close as they may come, beside
    means and questions."""
    unit = Unit(dut)
    rng = np.random.default_rng(sim_seed())
    top = 1 << (unit.sd_w - 1)
    for scale in ((1, 0), (65535, 0), (65535, 47), (23170, 12), (0, 5), (40000, 20)):
        await unit.reset()
        events, last = [], {}
        for n in range(600):
            reach = top >> int(rng.integers(0, unit.sd_w - 1))
            sd = int(rng.integers(-reach, reach))
            sd = int(rng.choice([-top, top - 1])) if rng.random() < 0.05 else sd
            kind = str(rng.choice(["pair", "pair", "pair", "pair", "mean", "ask", "idle"]))
            row = int(rng.integers(0, unit.all))
            if kind == "idle" or n - last.get(row, -HAZARD) < HAZARD:
                events.append(None)
                continue
            if kind == "pair":
                last[row] = n
            events.append((kind, row, sd))
        await unit.run(events, scale)
    assert unit.updates > 100 and unit.compared > 1000


@pytest.mark.parametrize("rows", [
    4, pytest.param(64, marks=[pytest.mark.slow_on("verilator"), pytest.mark.slow_on("icarus")])])
def test_sufa_exp(sim, seed, rows):
    run("sofa_sufa_exp", __name__, {"ALL": rows, "SD_W": 31, "L_W": 28}, sim, seed=seed)


@pytest.mark.parametrize("bad", [{"ALL": 6}, {"SD_W": 33}, {"L_W": 16}])
def test_illegal_parameters_are_refused(sim, bad):
    p = {"ALL": 4, "SD_W": 28, "L_W": 28, **bad}
    with pytest.raises(BuildError, match="illegal_parameter_sofa_sufa_exp"):
        build("sofa_sufa_exp", p, sim)
