# SPDX-License-Identifier: Apache-2.0
"""Pins of a small control module, one wake-up a cycle: what the tests of the controllers share."""

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge

from tb.common.signals import reader, writer
from tb.runner import CLOCK_PERIOD_NS


class Pins:
    """Inputs are attributes of ``put``; ``cycle()`` returns all outputs before the next edge.

    Inputs written after an edge and the outputs they lead to belong to the same cycle: call
    ``settle()`` in between to see combinational outputs of inputs just written.
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
        """Values of outputs just before the latest edge."""
        return [int(self._get[n](), 2) for n in names]

    def one(self, name):
        """Value of one output just before the latest edge."""
        return int(self._get[name](), 2)

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
