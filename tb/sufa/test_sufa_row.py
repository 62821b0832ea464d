# SPDX-License-Identifier: Apache-2.0
"""sufa_row alone: exact sums at the ends of the range, bank numbers, shifts, saturation.

The controls are driven stage by stage; the timing that sufa_qk_ctl and sufa_sv_ctl give them is
the matter of test_sufa.py.
"""

import random

import cocotb
import pytest
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge

from tb.runner import CLOCK_PERIOD_NS, BuildError, build, parameters, run

EDGES = (-32768, -32767, -1, 0, 1, 32767)


def sat16(x):
    return max(-32768, min(32767, x))


def value():
    """A 16-bit value, often at an end of the range."""
    return random.choice(EDGES) if random.random() < 0.3 else random.randint(-32768, 32767)


class TB:
    """Drives at the falling edge; keeps the expected output sums."""

    def __init__(self, dut):
        p = parameters()
        self.dut = dut
        self.d_max, self.slot_w, self.o_w = p["D_MAX"], p["SLOT_W"], p["O_W"]
        self.banks = 1 << self.slot_w
        self.compared = 0
        for name in ("qk_ld", "qk_in_en", "qk_mul_en", "qk_acc_en", "qk_cap", "w_wr", "sv_ld",
                     "sv_ld_p", "sv_ld_dm", "sv_in_en", "sv_fin_en", "sv_mul_en", "sv_sum_en",
                     "sv_sum_fin", "o_rd_en", "o_sh_en", "o_sh_first", "o_wr_en", "out_en",
                     "qk_acc_first"):
            getattr(dut, name).value = 0
        cocotb.start_soon(Clock(dut.clk, CLOCK_PERIOD_NS, unit="ns").start())

    async def pulse(self, *names, **values):
        """One cycle with the named controls high and some values set."""
        for name, v in values.items():
            handle = getattr(self.dut, name)
            handle.value = int(v) & ((1 << len(handle)) - 1)
        for name in names:
            getattr(self.dut, name).value = 1
        await FallingEdge(self.dut.clk)
        for name in names:
            getattr(self.dut, name).value = 0

    def same(self, name, want):
        handle = getattr(self.dut, name)
        got = int(handle.value)
        assert got == want & ((1 << len(handle)) - 1), f"{name}: expected {want}, got {got}"
        self.compared += 1

    def entries(self, slots, valid):
        return {f"ent_{x}": s | v << self.slot_w
                for x, s, v in zip("ab", slots, valid, strict=True)}

    async def dot(self, q, k, slots, valid):
        """A QK step; k[j][e] is what the bank of entry j gives."""
        await self.pulse("qk_ld", **self.entries(slots, valid))
        for e, qe in enumerate(q):
            for x, s in zip("ab", slots, strict=True):
                self.same(f"k_sel_{x}", (s + e) % self.banks)
            await self.pulse("qk_in_en", q=qe, k_a=k[0][e], k_b=k[1][e])
            await self.pulse("qk_mul_en")
            self.dut.qk_acc_first.value = e == 0
            await self.pulse("qk_acc_en")
        await self.pulse("qk_cap")
        for x, j in (("a", 0), ("b", 1)):
            exact = sum(a * b for a, b in zip(q, k[j], strict=True)) if valid[j] else 0
            self.same(f"s_{x}", exact >> 8)
        self.same("s_valid", valid[0] | valid[1] << 1)

    async def weigh(self, o, p, dm, v, slots, valid, first):
        """An SV step on the sums o (a list, updated)."""
        await self.pulse("w_wr", w_pa=p[0], w_pb=p[1], w_dm=dm)
        await self.pulse("sv_ld", "sv_ld_p", "sv_ld_dm", **self.entries(slots, valid))
        for e in range(len(o)):
            for x, s in zip("ab", slots, strict=True):
                self.same(f"v_sel_{x}", (s + e) % self.banks)
            await self.pulse("sv_in_en", "o_rd_en", v_a=v[0][e], v_b=v[1][e], o_rd_elem=e)
            self.dut.o_sh_first.value = first
            await self.pulse("sv_mul_en", "o_sh_en")
            await self.pulse("sv_sum_en")
            await self.pulse("o_wr_en", o_wr_elem=e)
            add = sum(p[j] * v[j][e] for j in range(2) if valid[j])
            o[e] = (0 if first else o[e] >> dm) + ((add + 128) >> 8)

    async def flush(self, o, r, drop):
        """Read, shift, round, multiply by r."""
        await self.pulse("w_wr", w_pa=r, w_pb=0, w_dm=drop)
        await self.pulse("sv_ld_p", "sv_ld_dm")
        self.dut.o_sh_first.value = 0
        for e, total in enumerate(o):
            await self.pulse("o_rd_en", o_rd_elem=e)
            await self.pulse("o_sh_en")
            await self.pulse("sv_fin_en")
            half = sat16(((total >> drop) + 1) >> 1)
            self.same("tap_o", half)
            self.same("tap_r", r)
            await self.pulse("sv_mul_en")
            await self.pulse("sv_sum_en", "sv_sum_fin")
            await self.pulse("out_en")
            self.same("out", sat16((half * r + 16384) >> 15))


@cocotb.test()
async def dot_products(dut):
    tb = TB(dut)
    await FallingEdge(dut.clk)
    d = tb.d_max
    for fill in (-32768, 32767):
        await tb.dot([fill] * d, [[-32768] * d, [32767] * d], (0, tb.banks - 1), (1, 1))
    for _ in range(12):
        n = random.choice((8, 16, d))
        await tb.dot([value() for _ in range(n)], [[value() for _ in range(n)] for _ in range(2)],
                     [random.randrange(tb.banks) for _ in range(2)],
                     random.choice(((1, 1), (1, 0), (0, 1), (0, 0))))
    assert tb.compared > 12 * 8


@cocotb.test()
async def weighted_sums_and_flush(dut):
    tb = TB(dut)
    await FallingEdge(dut.clk)
    d = 16
    for _ in range(4):
        o = [0] * d
        for step in range(8):
            v = [[value() for _ in range(d)] for _ in range(2)]
            dm = random.choice((0, 0, 1, 3, 17, 63)) if step else 5
            await tb.weigh(o, [random.choice((0, 1, 8192, 65535)) for _ in range(2)], dm, v,
                           [random.randrange(tb.banks) for _ in range(2)],
                           random.choice(((1, 1), (1, 0), (0, 0))), step == 0)
        for r, drop in ((32768, 5), (65535, 7), (49152, 12), (65535, tb.o_w - 17), (0, 24)):
            await tb.flush(o, r, drop)
    # Sums at the ends of the format saturate.
    for end in (-32768, 32767):
        o = [0] * d
        for step in range(12):
            await tb.weigh(o, [65535, 65535], 0, [[end] * d, [end] * d], (3, 4), (1, 1), step == 0)
        await tb.flush(o, 65535, 5)
    assert tb.compared > 4 * 5 * d


@pytest.mark.parametrize("d_max,slot_w,o_w", [(16, 4, 32), (128, 6, 36)])
def test_sufa_row(sim, seed, d_max, slot_w, o_w):
    run("sufa_row", __name__, {"D_MAX": d_max, "SLOT_W": slot_w, "O_W": o_w}, sim, seed=seed)


@pytest.mark.parametrize("bad", [{"D_MAX": 24}, {"SLOT_W": 7}, {"O_W": 20}])
def test_illegal_parameters_are_refused(sim, bad):
    with pytest.raises(BuildError, match="illegal_parameter_sufa_row"):
        build("sufa_row", {"D_MAX": 16, "SLOT_W": 4, "O_W": 32, **bad}, sim)
