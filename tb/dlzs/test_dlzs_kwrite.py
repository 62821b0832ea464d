# SPDX-License-Identifier: Apache-2.0
"""sofa_dlzs_kwrite: bytes of random parts of heads at their places, beats, strobes, and the
answers of each chunk, at every head dimension."""

from __future__ import annotations

import random
from collections import deque

import cocotb
import pytest
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge

from tb.common.scoreboard import same
from tb.common.stream import StreamSink, StreamSource, pattern
from tb.runner import CLOCK_PERIOD_NS, parameters, run

FIELDS = ("pair", "k8", "last", "end", "addr")


class TB:
    """Sends chunks, answers their beats late and compares everything."""

    def __init__(self, dut):
        self.dut, self.p = dut, parameters()
        cocotb.start_soon(Clock(dut.clk, CLOCK_PERIOD_NS, unit="ns").start())
        dut.rst.value, dut.x_done.value = 1, 0
        self.source = StreamSource(dut, "s", dut.clk, dut.rst, fields=FIELDS,
                                   idle=pattern(0.1, random.getrandbits(30)))
        self.sink = StreamSink(dut, "x", dut.clk, dut.rst, fields=("addr", "data", "strb"),
                               backpressure=pattern(0.2, random.getrandbits(30)))
        # Writes in order; the number of them up to the end of each chunk
        self.want, self.ends = [], deque()
        self.answered = self.dones = 0
        cocotb.start_soon(self._answer())

    async def _answer(self):
        while True:
            await RisingEdge(self.dut.clk)
            if self.dut.kp_done.value == 1:
                self.dones += 1
                end = self.ends.popleft()
                assert end <= self.answered, f"end after {self.answered} answers, needs {end}"
            late = self.answered < len(self.sink.items) and random.random() < 0.6
            self.dut.x_done.value = int(late)
            self.answered += late

    def head(self, d, half, first, count, end):
        """Queue ``count`` pairs of a head from ``first`` on."""
        pairs, bus = self.p["PAIRS"], self.p["BUS_BYTES"]
        addr = random.getrandbits(47 - 9) * 512 + random.randrange(512 // bus) * bus
        vector = {}
        for at in range(first, first + count, pairs):
            k8 = random.getrandbits(16 * pairs)
            for i in range(at, min(at + pairs, d // 2)):
                one = k8 >> 16 * (i - at) & 0xFFFF
                places = (i, i + d // 2) if half else (2 * i, 2 * i + 1)
                vector |= dict(zip(places, (one & 255, one >> 8), strict=True))
            self.source.append({"pair": at, "k8": k8, "last": int(at + pairs >= first + count),
                                "end": end, "addr": addr})
        for beat in range(-(-d // bus)):
            bytes_ = {x % bus: v for x, v in vector.items() if x // bus == beat}
            if bytes_:
                self.want.append({"addr": addr + beat * bus,
                                  "data": sum(v << 8 * x for x, v in bytes_.items()),
                                  "strb": sum(1 << x for x in bytes_)})
        if end:
            self.ends.append(len(self.want))

    async def finish(self):
        """Wait for the last answer and compare."""
        chunks = self.dones + len(self.ends)
        for _ in range(20 * len(self.want) + 1000):
            await RisingEdge(self.dut.clk)
            if not self.ends:
                break
        same("dlzs_kwrite chunks", chunks, self.dones)
        same("dlzs_kwrite writes", len(self.want), len(self.sink.items))
        for number, (want, got) in enumerate(zip(self.want, self.sink.items, strict=True)):
            same("dlzs_kwrite", want, got, write=number)


@cocotb.test()
async def places_of_bytes(dut):
    """Whole heads and parts of them, several heads in a chunk, both orders of pairs."""
    tb = TB(dut)
    pairs = tb.p["PAIRS"]
    dims = [*range(8, tb.p["D_MAX"] + 1, 8)]
    dims *= max(2, 16 // len(dims))
    random.shuffle(dims)
    for number, d in enumerate(dims):
        dut.cfg_d.value, dut.cfg_half.value = d, number % 2
        if not number:
            await RisingEdge(dut.clk)
            await RisingEdge(dut.clk)
            dut.rst.value = 0
        for chunk in range(2):
            heads = random.randint(1, 3)
            for head in range(heads):
                steps = -(-d // (2 * pairs))
                first = random.randrange(steps) if chunk else 0
                count = random.randint(1, steps - first) if chunk else steps
                tb.head(d, number % 2, first * pairs, count * pairs, int(head == heads - 1))
        await tb.finish()
    assert len(tb.want) > 50


@pytest.mark.parametrize("shape", [
    {"D_MAX": 16, "BUS_BYTES": 8, "PAIRS": 1}, {"D_MAX": 64, "BUS_BYTES": 64, "PAIRS": 4},
    pytest.param({"D_MAX": 256, "BUS_BYTES": 8, "PAIRS": 4},
                 marks=pytest.mark.slow_on("verilator"))],
    ids=lambda shape: "-".join(map(str, shape.values())))
def test_kwrite(sim, seed, shape):
    run("sofa_dlzs_kwrite", __name__, shape, sim, seed=seed)
