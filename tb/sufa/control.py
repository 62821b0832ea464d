# SPDX-License-Identifier: Apache-2.0
"""Pins of a small control module, one wake-up a cycle: what the tests of the controllers share."""

import random

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge

from tb.common.signals import reader, writer
from tb.runner import CLOCK_PERIOD_NS, parameters


class Pins:
    """Drives inputs and reads outputs right after rising edges (see tb/common/signals.py).

    An input put after an edge, and the combinational outputs it leads to, belong to the cycle
    that the next edge ends.
    """

    def __init__(self, dut, inputs, outputs):
        self.dut = dut
        self._put = {n: (writer(getattr(dut, n)), len(getattr(dut, n))) for n in inputs}
        self._get = {n: reader(getattr(dut, n)) for n in outputs}
        for name in inputs:
            self.put(name, 0)
        self.number = 0
        cocotb.start_soon(Clock(dut.clk, CLOCK_PERIOD_NS, unit="ns").start())

    def put(self, name, value):
        """Drive an input from this edge on."""
        write, width = self._put[name]
        write(format(int(value), f"0{width}b"))

    def known(self, *names):
        """Values of outputs just before the latest edge; None where a bit is unknown."""
        texts = [self._get[n]() for n in names]
        return [None if t.strip("01") else int(t, 2) for t in texts]

    def one(self, name):
        """Value of one output just before the latest edge; None where a bit is unknown."""
        return self.known(name)[0]

    async def edge(self):
        """Go to the next rising edge."""
        await RisingEdge(self.dut.clk)
        self.number += 1

    async def reset(self):
        """Reset for 2 cycles."""
        self.put("rst", 1)
        await self.edge()
        await self.edge()
        self.put("rst", 0)
        await self.edge()
        self.number = 0


def random_blocks():
    """Pair steps of each tile of 28 blocks, up to a full tile; tiles and blocks without any too."""
    most = parameters()["BC_MAX"] // 2
    blocks = [[random.choice((0, 0, 1, 2, 3, most)) for _ in range(random.randint(1, 4))]
              for _ in range(25)]
    return [*blocks, [0], [0, 0], [1]]
