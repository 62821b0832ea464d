# SPDX-License-Identifier: Apache-2.0
"""sofa_burst_split: every start within a page, every length, hold, and one burst a cycle."""

import random

import cocotb
import pytest
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge

from tb.common.scoreboard import same
from tb.common.signals import KnownReader, reader, writer
from tb.runner import CLOCK_PERIOD_NS, BuildError, build, parameters, run


def expected(addr, beats, n):
    """Return the bursts (address, beats) of a request, by walking its words one by one."""
    bursts = []
    for i in range(beats):
        word = addr + i * n
        if not bursts or word % 4096 == 0:
            bursts.append([word, 0])
        bursts[-1][1] += 1
    return [tuple(b) for b in bursts]


class TB:
    """Offers requests (address, beats, tag) and checks the bursts which come out."""

    def __init__(self, dut):
        self.dut, self.n = dut, parameters()["BUS_BYTES"]
        self.addr_w = len(dut.s_addr)
        cocotb.start_soon(Clock(dut.clk, CLOCK_PERIOD_NS, unit="ns").start())

    async def run(self, requests, idle=0.0, backpressure=0.0, hold=0.0):
        """Push all requests through; returns (cycles used, bursts checked)."""
        dut, edge = self.dut, RisingEdge(self.dut.clk)
        valid, ready = reader(dut.m_valid), reader(dut.s_ready)
        start, end = reader(dut.start), reader(dut.start_end)
        burst = [KnownReader(h) for h in (dut.m_addr, dut.m_len, dut.m_tag)]
        length = KnownReader(dut.start_len)
        put = {n: writer(getattr(dut, n)) for n in ("s_valid", "m_ready", "hold")}
        dut.rst.value = 1
        for p in put.values():
            p("0")
        for _ in range(2):
            await edge
        dut.rst.value = 0
        want = [(a, b, t) for addr, beats, t in requests for a, b in expected(addr, beats, self.n)]
        todo, offered, got, started = list(requests), False, [], []
        held = first = None
        cycle, taking, holding = 0, False, False
        while len(got) < len(want):
            await edge
            cycle += 1
            assert cycle < 20 * len(want) + 100, "no progress"
            now = [read() for read in burst] if valid() == "1" else None
            assert held is None or now == held, "a waiting burst changed"
            assert not (holding and start() == "1"), "started in spite of hold"
            if start() == "1":
                started.append((length(), end()))
            held = now if not taking else None
            if now and taking:
                first = cycle if first is None else first
                got.append((now[0], now[1] + 1, now[2]))
            if offered and ready() == "1":
                offered = False
                todo.pop(0)
            if not offered and todo and random.random() >= idle:
                offered = True
                dut.s_addr.value, dut.s_beats.value, dut.s_tag.value = todo[0]
            taking = random.random() >= backpressure
            holding = random.random() < hold
            put["s_valid"]("1" if offered else "0")
            put["m_ready"]("1" if taking else "0")
            put["hold"]("1" if holding else "0")
        same("bursts", want, got)
        assert len(want) >= len(requests), "fewer bursts than requests"
        same("beats of the bursts", [b for _, b, _ in want], [le + 1 for le, _ in started])
        same("last bursts", len(requests), sum(e == "1" for _, e in started))
        return cycle - first + 1, len(want)

    def request(self, offset, beats):
        """Return a request which starts ``offset`` bytes into a random page."""
        page = random.getrandbits(self.addr_w - 12) << 12
        return (page + offset) % (1 << self.addr_w), beats, random.getrandbits(2)


@cocotb.test()
async def every_start(dut):
    """Every word of a page as the start, with lengths around the boundary; full rate."""
    tb = TB(dut)
    words, requests = 4096 // tb.n, []
    for word in range(words):
        for beats in {1, 2, words - word, words - word + 1, random.randint(1, 64)}:
            if 0 < beats <= min(words, 255):
                requests.append(tb.request(word * tb.n, beats))
    # The last page has nothing behind it.
    requests = [r for r in requests if r[0] >> 12 != (1 << tb.addr_w - 12) - 1]
    cycles, bursts = await tb.run(requests)
    assert cycles == bursts > words, "not one burst per cycle"


@cocotb.test()
@cocotb.parametrize(idle=[0.0, 0.5], backpressure=[0.0, 0.6], hold=[0.0, 0.5])
async def random_requests(dut, idle, backpressure, hold):
    tb = TB(dut)
    requests = [tb.request(random.randrange(4096 // tb.n) * tb.n, random.randint(1, 8))
                for _ in range(150)]
    await tb.run([r for r in requests if r[0] >> 12 != (1 << tb.addr_w - 12) - 1],
                 idle, backpressure, hold)


@pytest.mark.parametrize("bus_bytes,addr_w", [(8, 32), (64, 48)])
def test_burst_split(sim, seed, bus_bytes, addr_w):
    run("sofa_burst_split", __name__, {"BUS_BYTES": bus_bytes, "ADDR_W": addr_w}, sim, seed=seed)


@pytest.mark.parametrize("parameters", [{"ADDR_W": 12}, {"BUS_BYTES": 4}, {"BUS_BYTES": 24}])
def test_illegal_parameters_are_refused(sim, parameters):
    with pytest.raises(BuildError, match="illegal_parameter_sofa_burst_split"):
        build("sofa_burst_split", parameters, sim)
