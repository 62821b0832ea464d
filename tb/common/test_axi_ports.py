# SPDX-License-Identifier: Apache-2.0
"""AxiMemory on ports with one direction and no IDs, sharing one memory; cost of a wide tap."""

import random
import time

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, RisingEdge, Timer

from tb import runner
from tb.common.axi_memory import AxiMemory
from tb.common.scoreboard import Scoreboard, same_signals, unpack
from tb.common.stream import StreamMonitor
from tb.runner import CLOCK_PERIOD_NS, parameters, run


async def start(dut):
    """Start the clock and come out of reset with all inputs low."""
    cocotb.start_soon(Clock(dut.clk, CLOCK_PERIOD_NS, unit="ns").start())
    for name in ("rd_arvalid", "rd_rready", "wr_awvalid", "wr_wvalid", "wr_bready", "tap_valid"):
        getattr(dut, name).value = 0
    dut.rst.value = 1
    await ClockCycles(dut.clk, 3)
    dut.rst.value = 0
    await RisingEdge(dut.clk)


@cocotb.test()
async def two_ports_share_a_memory(dut):
    """Words written through one port, at unaligned starts too, are read through the other."""
    n = len(dut.rd_rdata) // 8
    data = np.zeros(1 << 16, np.uint8)
    options = {"data": data, "base": 0x1000, "allow_unaligned": True, "seed": runner.seed()}
    reader = AxiMemory(dut, "rd", dut.clk, dut.rst, read_latency=(1, 9), **options)
    writer = AxiMemory(dut, "wr", dut.clk, dut.rst, w_stall=0.3, write_latency=(1, 9), **options)
    await start(dut)
    rng, board, expected = random.Random(runner.seed()), Scoreboard(dut._log), data.copy()
    edge = RisingEdge(dut.clk)

    async def until(handle):
        await edge
        while not int(handle.value):
            await edge

    for _ in range(60):
        skip = rng.randrange(n) if rng.random() < 0.5 else 0
        offset = rng.randrange(len(data) // n) * n
        payload = rng.randbytes(n)
        strobe = rng.getrandbits(n) >> skip << skip
        dut.wr_awaddr.value, dut.wr_awlen.value, dut.wr_awvalid.value = 0x1000 + offset + skip, 0, 1
        await until(dut.wr_awready)
        dut.wr_awvalid.value = 0
        dut.wr_wdata.value, dut.wr_wstrb.value = int.from_bytes(payload, "little"), strobe
        dut.wr_wlast.value = dut.wr_wvalid.value = 1
        await until(dut.wr_wready)
        dut.wr_wvalid.value = 0
        dut.wr_bready.value = 1
        await until(dut.wr_bvalid)
        dut.wr_bready.value = 0
        for i in range(n):
            if strobe >> i & 1:
                expected[offset + i] = payload[i]

        dut.rd_araddr.value, dut.rd_arlen.value, dut.rd_arvalid.value = 0x1000 + offset + skip, 0, 1
        await until(dut.rd_arready)
        dut.rd_arvalid.value = 0
        dut.rd_rready.value = 1
        await until(dut.rd_rvalid)
        dut.rd_rready.value = 0
        same_signals("read port", dut, rd_rlast=1, rd_rresp=0)
        board.compare("read", expected[offset : offset + n], unpack(int(dut.rd_rdata.value), n, 8),
                      axes=("byte",), width=8)
    board.compare("memory", expected, data, axes=("byte",))
    # The ports count in the same edge in which this test resumes.
    await edge
    assert reader.stats.read_bursts == writer.stats.write_bursts == 60
    assert reader.stats.read_bursts_by_id == {0: 60} and reader.stats.write_bursts == 0
    board.finish("read", "memory")


@cocotb.test()
async def wide_tap(dut):
    """A tap delivers its words, and costs nothing while valid is low. Logs the cost."""
    bits = len(dut.tap_data)
    monitor = StreamMonitor(dut, "tap", dut.clk, dut.rst)
    await start(dut)
    words = [random.Random(i).getrandbits(bits) for i in range(4)]
    for word in words:
        dut.tap_data.value, dut.tap_valid.value = word, 1
        await RisingEdge(dut.clk)
    dut.tap_valid.value = 0
    await ClockCycles(dut.clk, 20)
    assert monitor.items == words
    costs = []
    for valid in (0, 1):
        dut.tap_valid.value = valid
        begin = time.process_time()
        await Timer(1000 * CLOCK_PERIOD_NS, unit="ns")
        costs.append((time.process_time() - begin) / 1000 * 1e6)
        await RisingEdge(dut.clk)
    dut._log.info("tap of %d bits: %.1f us per cycle with valid low, %.1f us high", bits, *costs)
    assert monitor.count >= 4 + 999
    assert bits == parameters().get("WORD_W", bits)


def test_axi_ports(sim, seed):
    results = run("axi_pins", __name__, {"DATA_W": 1024, "WORD_W": 30720}, sim, seed=seed)
    for line in (results / "sim.log").read_text().splitlines():
        if " us" in line:
            print(line.split("axi_pins", 1)[-1].strip())
