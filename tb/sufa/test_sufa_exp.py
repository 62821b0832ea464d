# SPDX-License-Identifier: Apache-2.0
"""sufa_exp: every fraction at every whole part, rises of m, scaling, freezes of the pipeline.

A score reaches the unit without its 8 low bits (`sd`); z = saturate((sd * M) >>> shift). With
M = 1 and shift = 0, z = sd.
"""

import random

import cocotb
import numpy as np
import pytest
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge

from models import sufa
from models.config import Config
from tb.common.signals import reader, writer
from tb.runner import CLOCK_PERIOD_NS, BuildError, build, parameters, run
from tb.runner import seed as sim_seed


class Unit:
    """Issues steps (all rows of the unit) and compares what comes out."""

    def __init__(self, dut):
        p = parameters()
        self.dut, self.rows = dut, p["EXP_ROWS"]
        self.sd_w, self.l_w = p["SD_W"], p["L_W"]
        self.cfg = Config(4, 4, 16, 16, 8, 256)
        names = ("rst", "en", "rd_valid", "rd_b", "rd_row", "rd_first", "s_data", "s_valid",
                 "scan_en", "scan_row", "cfg_scale_m", "cfg_scale_shift")
        self._put = {n: (writer(getattr(dut, n)), len(getattr(dut, n))) for n in names}
        self._get = {n: reader(getattr(dut, n)) for n in (
            "out_valid", "out_row", "out_pa", "out_pb", "out_dm", "scan_l", "ev_upd", "tap_za",
            "tap_zb", "tap_va", "tap_vb", "tap_m")}
        self.m = np.zeros(self.rows, np.int64)
        self.l = np.zeros(self.rows, np.int64)  # noqa: E741  (the name in the specification)
        self.seen = np.zeros(self.rows, bool)
        self.queue, self.compared, self.updates, self.ups = [], 0, 0, 0
        cocotb.start_soon(Clock(dut.clk, CLOCK_PERIOD_NS, unit="ns").start())

    def put(self, name, value):
        write, width = self._put[name]
        write(format(int(value), f"0{width}b"))

    def get(self, name, width=0):
        """Value of an output; signed when width is given."""
        value = int(self._get[name](), 2)
        return value - (1 << width) if width and value >> (width - 1) else value

    async def reset(self, scale_m, shift):
        for name in self._put:
            self.put(name, 0)
        self.put("rst", 1)
        self.put("cfg_scale_m", scale_m)
        self.put("cfg_scale_shift", shift)
        self.scale = scale_m, shift
        for _ in range(2):
            await RisingEdge(self.dut.clk)
        self.put("rst", 0)
        self.put("en", 1)
        self.was_en = True

    async def edge(self, freeze=0.0):
        """One cycle; sometimes frozen, which must change nothing."""
        while True:
            await RisingEdge(self.dut.clk)
            self._sample()
            self.was_en = random.random() >= freeze
            self.put("en", self.was_en)
            if self.was_en:
                return

    def _sample(self):
        self.ups += self.get("ev_upd")
        if self.get("out_valid"):
            want = self.queue.pop(0)
            ok = want[1:3]
            got = (self.get("out_row"), self.get("tap_va"), self.get("tap_vb"),
                   self.get("tap_za", 26) if ok[0] else 0,
                   self.get("tap_zb", 26) if ok[1] else 0, self.get("out_pa"),
                   self.get("out_pb"), self.get("tap_m", 17), self.get("out_dm"))
            assert got == want, f"row va vb za zb pa pb m dm: expected {want}, got {got}"
            self.compared += len(want)

    def expect(self, sd, valid, first):
        """Steps 2 to 5 of docs/architecture.md section 5.4 for arrays [rows, 2]."""
        if first:
            self.seen[:], self.l[:] = False, 0
        z = sufa.log2_score(np.asarray(sd, np.int64) << 8, *self.scale, self.cfg)
        for r in range(self.rows):
            dm = 0
            keys = [int(z[r, j]) for j in range(2) if valid[r, j]]
            if keys:
                e = (max(keys) >> 10) + 1
                if not self.seen[r]:
                    self.m[r] = e
                elif e > self.m[r] + self.cfg.GUARD:
                    dm, self.m[r] = e - self.m[r], e
                    self.updates += 1
                self.seen[r] = True
            dm = min(63, int(dm))
            p = [int(sufa.weight(z[r, j], self.m[r], self.cfg)) if valid[r, j] else 0
                 for j in range(2)]
            self.l[r] = (self.l[r] >> dm) + sum(p)
            m = int(self.m[r]) if self.seen[r] else 0
            zs = [int(z[r, j]) if valid[r, j] else 0 for j in range(2)]
            self.queue.append((r, *(int(v) for v in valid[r]), *zs, *p, m, dm))

    async def step(self, sd, valid, first, freeze=0.0):
        """Issue one step of all rows at full rate."""
        mask, data, flags = (1 << self.sd_w) - 1, 0, 0
        for r in range(self.rows):
            for j in range(2):
                # The register of an invalid entry may hold anything.
                value = int(sd[r, j]) if valid[r, j] else random.getrandbits(self.sd_w)
                data |= (value & mask) << (64 * r + 32 * j)
                flags |= int(valid[r, j]) << (2 * r + j)
        self.expect(sd, valid, first)
        self.put("s_data", data)
        self.put("s_valid", flags)
        self.put("rd_first", first)
        self.put("rd_valid", 1)
        for r in range(self.rows):
            self.put("rd_row", r)
            for b in range(2):
                self.put("rd_b", b)
                await self.edge(freeze)
        self.put("rd_valid", 0)
        # A row rests for some cycles between steps, as d >= 8.
        for _ in range(max(0, 8 - 2 * self.rows)):
            await self.edge(freeze)

    async def end(self):
        """Drain, then read the sums of all rows."""
        for _ in range(20):
            await self.edge()
        assert not self.queue
        self.put("scan_en", 1)
        for r in range(self.rows + 1):
            self.put("scan_row", min(r, self.rows - 1))
            await self.edge()
            if r:
                await_l = self.get("scan_l")
                assert await_l == int(self.l[r - 1]), f"l of row {r - 1}"
                self.compared += 1
        self.put("scan_en", 0)
        await self.edge()
        # The last m of each step shows in ev_upd one cycle after it was taken.
        assert self.ups == self.updates


def spread(values, rows):
    """Values as steps [n, rows, 2], the last ones repeated to fill up."""
    flat = np.resize(np.asarray(values, np.int64), -(-len(values) // (2 * rows)) * 2 * rows)
    return flat.reshape(-1, rows, 2)


@cocotb.test()
async def every_fraction(dut):
    """All 1024 fractions at whole parts that keep, round and lose bits, and above m."""
    unit = Unit(dut)
    await unit.reset(1, 0)
    rows = unit.rows
    every = np.ones((rows, 2), bool)
    base = np.array([random.randint(-30000, 30000) for _ in range(rows)]) * 1024
    for whole in (unit.cfg.GUARD - 1, -1, -2, -3, -7, -13, -14, -15, -16, -17, -18, -40, -2000):
        first = np.stack([base - 1, base - 5000], axis=1)
        await unit.step(first, every, True)
        assert (unit.m * 1024 == base).all()
        for block in spread(whole * 1024 + np.arange(1024), rows):
            clipped = np.clip(base[:, None] + block, -(1 << 25), (1 << 25) - 1)
            await unit.step(clipped, every, False)
        await unit.end()
    assert unit.compared > 13 * 1024


@cocotb.test()
async def random_walks(dut):
    """Random scores, validity, rises up to the ends of the range; frozen at random."""
    unit = Unit(dut)
    rng = np.random.default_rng(sim_seed())
    top = 1 << (unit.sd_w - 1)
    for scale in ((1, 0), (65535, 0), (65535, 47), (23170, 12), (0, 5), (40000, 20)):
        await unit.reset(*scale)
        for _ in range(3):
            for s in range(30):
                reach = top >> int(rng.integers(0, unit.sd_w - 1))
                sd = rng.integers(-reach, reach, (unit.rows, 2))
                ends = rng.random((unit.rows, 2)) < 0.05
                sd = np.where(ends, rng.choice([-top, top - 1], sd.shape), sd)
                await unit.step(sd, rng.random((unit.rows, 2)) < 0.8, s == 0, 0.2)
            await unit.end()
    assert unit.updates > 10 * unit.rows and unit.compared > 1000


@pytest.mark.parametrize("rows", [2, 16])
def test_sufa_exp(sim, seed, rows):
    run("sufa_exp", __name__, {"EXP_ROWS": rows, "SD_W": 31, "L_W": 28}, sim, seed=seed)


@pytest.mark.parametrize("bad", [{"EXP_ROWS": 3}, {"SD_W": 33}, {"L_W": 16}])
def test_illegal_parameters_are_refused(sim, bad):
    p = {"EXP_ROWS": 4, "SD_W": 28, "L_W": 28, **bad}
    with pytest.raises(BuildError, match="illegal_parameter_sufa_exp"):
        build("sufa_exp", p, sim)
