# SPDX-License-Identifier: Apache-2.0
"""sofa_fetch_arb: one grant whenever anybody asks, the stated shares, nobody starves."""

import random

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ReadOnly, RisingEdge

from tb.runner import CLOCK_PERIOD_NS, run

Q, K8, K, V, W, R, X, D = (1 << i for i in range(8))
STREAMS = (W, R, X, D)
ALL = 255


class TB:
    """Sets the inputs after an edge and reads the grant before the next."""

    def __init__(self, dut):
        self.dut = dut
        cocotb.start_soon(Clock(dut.clk, CLOCK_PERIOD_NS, unit="ns").start())

    async def reset(self):
        dut = self.dut
        dut.rst.value = 1
        dut.req.value = dut.take.value = dut.q_later.value = dut.k8_later.value = 0
        await RisingEdge(dut.clk)
        await RisingEdge(dut.clk)
        dut.rst.value = 0

    async def step(self, req, take, q_later, k8_later):
        dut = self.dut
        dut.req.value, dut.take.value = req, take and req != 0
        dut.q_later.value, dut.k8_later.value = q_later, k8_later
        await ReadOnly()
        grant = int(dut.grant.value)
        await RisingEdge(dut.clk)
        return grant


@cocotb.test()
async def shares(dut):
    """Who gets how many of 168 grants, with the same requests all the time."""
    tb, counted = TB(dut), 0
    for req, q_later, k8_later, want in (
            (Q | K8 | K, 0, 0, {Q: 56, K8: 56, K: 56}),
            (Q | K8 | V, 1, 0, {Q: 168 / 9, K8: 672 / 9, V: 672 / 9}),
            (Q | K8 | V, 0, 1, {K8: 168 / 9, Q: 672 / 9, V: 672 / 9}),
            # q_later wins.
            (Q | K8 | K, 1, 1, {Q: 168 / 9, K8: 672 / 9, K: 672 / 9}),
            # Without the other there is nobody to wait for.
            (Q | K, 1, 0, {Q: 84, K: 84}),
            (K8 | K, 0, 1, {K8: 84, K: 84}),
            (Q | K8, 1, 0, {Q: 21, K8: 147}),
            (Q | K8, 0, 1, {Q: 147, K8: 21}),
            (Q, 1, 1, {Q: 168}), (K8, 0, 1, {K8: 168}),
            # K before V.
            (K | V, 0, 0, {K: 168, V: 0}),
            (ALL, 0, 0, {Q: 24, K8: 24, K: 24, V: 0, W: 24, R: 24, X: 24, D: 24}),
            (ALL, 1, 0, {Q: 168 / 13, K8: 336 / 13, K: 336 / 13, R: 336 / 13, X: 336 / 13}),
            (ALL, 0, 1, {K8: 168 / 13, Q: 336 / 13, K: 336 / 13, W: 336 / 13, D: 336 / 13}),
            (K8 | W, 0, 0, {K8: 84, W: 84}), (R, 0, 0, {R: 168})):
        await tb.reset()
        got = [await tb.step(req, 1, q_later, k8_later) for _ in range(168)]
        for client, share in want.items():
            assert abs(got.count(client) - share) <= 1, (req, q_later, k8_later, client, got)
            counted += 1
    assert counted == 45


@cocotb.test()
async def random_requests(dut):
    """One grant, to one who asks; the wait of each is bounded, however the flags change."""
    tb = TB(dut)
    await tb.reset()
    waits, served = dict.fromkeys((Q, K8, K | V, *STREAMS), 0), 0
    req = q_later = k8_later = 0
    longest = dict.fromkeys(waits, 0)
    for _ in range(6000):
        take = random.random() < 0.7
        req |= random.getrandbits(8) & random.choice((ALL, ALL, Q | K8 | K | V, W | R | X | D))
        if random.random() < 0.2:
            q_later, k8_later = random.getrandbits(1), random.getrandbits(1)
        grant = await tb.step(req, take, q_later, k8_later)
        assert (grant != 0) == (req != 0) and grant & req == grant and grant & (grant - 1) == 0, \
            f"fetch_arb: expected one of {req:#010b}, got {grant:#010b}"
        assert not grant & V or not req & K, f"fetch_arb: V before K of {req:#010b}"
        if grant and take:
            served += 1
            for client in waits:
                waits[client] = 0 if grant & client or not req & client else waits[client] + 1
                longest[client] = max(longest[client], waits[client])
                bound = 13 if client in (Q, K8) else 6
                assert waits[client] <= bound, f"client {client} starves"
            req &= ~grant
    dut._log.info("longest waits %s", longest)
    assert served > 2500 and min(longest.values()) >= 5 and longest[Q] > 6 and longest[K8] > 6


@cocotb.test()
async def same_turns_after_every_reset(dut):
    """Whatever was granted before, turns and ages begin anew."""
    tb, first = TB(dut), {}
    for number in range(60):
        await tb.reset()
        flags = number & 1, number >> 1 & 1
        got = [await tb.step(ALL & ~V, 1, *flags) for _ in range(20)]
        assert first.setdefault(flags, got) == got, number
        later = random.getrandbits(1)
        for _ in range(random.randrange(26)):
            await tb.step(random.choice((ALL, Q | K8 | D)), 1, later, 1 - later)
    assert len({tuple(got) for got in first.values()}) == 3


def test_sofa_fetch_arb(sim, seed):
    run("sofa_fetch_arb", __name__, {}, sim, seed=seed)
