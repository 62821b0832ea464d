# SPDX-License-Identifier: Apache-2.0
"""fetch_arb: one grant whenever anybody asks, the stated shares, nobody starves."""

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
        dut.req.value = dut.take.value = dut.q_urgent.value = dut.v_first.value = 0
        await RisingEdge(dut.clk)
        await RisingEdge(dut.clk)
        dut.rst.value = 0

    async def grants(self, cycles, req, urgent=0, v_first=0):
        """Return the grants of ``cycles`` cycles of constant requests, all taken."""
        out = []
        for _ in range(cycles):
            out.append(await self.step(req, 1, urgent, v_first))
        return out

    async def step(self, req, take, urgent, v_first):
        dut = self.dut
        dut.req.value, dut.take.value = req, take and req != 0
        dut.q_urgent.value, dut.v_first.value = urgent, v_first
        await ReadOnly()
        grant = int(dut.grant.value)
        await RisingEdge(dut.clk)
        return grant


@cocotb.test()
async def shares(dut):
    """Who gets how many of 72 grants, with the same requests all the time."""
    tb, counted = TB(dut), 0
    for req, urgent, v_first, want in (
            (Q | K8 | K | V, 0, 0, {Q: 9, K8: 31.5, K: 31.5, V: 0}),
            (Q | K8 | K | V, 1, 1, {Q: 24, K8: 24, K: 0, V: 24}),
            (K8 | V, 0, 0, {Q: 0, K8: 36, K: 0, V: 36}),
            (K | V, 0, 1, {Q: 0, K8: 0, K: 0, V: 72}),
            (K | V, 0, 0, {Q: 0, K8: 0, K: 72, V: 0}),
            (Q | K, 0, 1, {Q: 9, K8: 0, K: 63, V: 0}),
            (Q, 0, 0, {Q: 72, K8: 0, K: 0, V: 0}),
            (ALL, 1, 0, {Q: 72 / 7, K8: 72 / 7, K: 72 / 7, V: 0, W: 72 / 7, D: 72 / 7}),
            (ALL, 0, 1, {Q: 72 / 13, K8: 144 / 13, V: 144 / 13, R: 144 / 13, X: 144 / 13}),
            (K8 | W, 0, 0, {K8: 36, W: 36, Q: 0, D: 0}),
            (K8 | K | X | D, 0, 0, {K8: 18, K: 18, X: 18, D: 18}),
            (Q | W, 0, 0, {Q: 9, W: 63}),
            (R, 0, 0, {R: 72})):
        await tb.reset()
        got = await tb.grants(72, req, urgent, v_first)
        for client, share in want.items():
            assert abs(got.count(client) - share) <= 1, (req, urgent, v_first, client, got)
            counted += 1
    assert counted == 50


@cocotb.test()
async def random_requests(dut):
    """One grant, to one who asks; it stays while not taken; the wait of each is bounded."""
    tb = TB(dut)
    await tb.reset()
    waits, served = dict.fromkeys((Q, K8, K | V, *STREAMS), 0), 0
    req = urgent = v_first = 0
    last = None
    for _ in range(4000):
        take = random.random() < 0.7
        if last is None:
            req |= random.getrandbits(8) & random.choice((ALL, ALL, Q | K8 | K | V, W | R | X | D))
            urgent, v_first = random.getrandbits(1), random.getrandbits(1)
        grant = await tb.step(req, take, urgent, v_first)
        assert (grant != 0) == (req != 0) and grant & req == grant and grant & (grant - 1) == 0
        assert last is None or grant == last, "the grant changed while nothing was taken"
        if grant & (K | V) and req & K and req & V:
            assert grant == (V if v_first else K)
        last = grant if grant and not take else None
        if grant and take:
            served += 1
            for client in waits:
                waits[client] = 0 if grant & client or not req & client else waits[client] + 1
                assert waits[client] <= (13 if client == Q else 6), f"client {client} starves"
            req &= ~grant
    assert served > 1500


@cocotb.test()
async def without_streams(dut):
    """As long as no stream asks, grants follow the rule of the three parties alone."""
    tb = TB(dut)
    await tb.reset()
    # Who is asked first after a turn of the gather, K8, Q.
    after = {K | V: (K8, Q, K | V), K8: (Q, K | V, K8), Q: (K | V, K8, Q)}
    turn, age, compared = K | V, 0, 0
    for _ in range(3000):
        req = random.choice((0, 15, 15, random.getrandbits(4)))
        urgent, v_first = random.random() < 0.2, random.getrandbits(1)
        take = random.random() < 0.8
        asking = {K | V: req & (K | V), K8: req & K8,
                  Q: req & Q and (urgent or age == 7 or req == Q)}
        want, party = 0, next((p for p in after[turn] if asking[p]), None)
        if party == K | V:
            want = V if req & V and (v_first or not req & K) else K
        elif party:
            want = party
        assert await tb.step(req, take, urgent, v_first) == want
        if want and take:
            turn, compared = party, compared + 1
            age = 0 if party == Q else min(age + bool(req & Q), 7)
    assert compared > 1500


def test_fetch_arb(sim, seed):
    run("fetch_arb", __name__, {}, sim, seed=seed)
