# SPDX-License-Identifier: Apache-2.0
"""ring_credit and tile_commit against counters and a list."""

import random
from collections import deque

import cocotb
import pytest
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge

from tb.runner import CLOCK_PERIOD_NS, BuildError, build, parameters, run


@cocotb.test()
async def credits(dut):
    """avail and index against a count of buffers, under all mixes of take and free."""
    bufs = parameters()["BUFS"]
    cocotb.start_soon(Clock(dut.clk, CLOCK_PERIOD_NS, unit="ns").start())
    dut.rst.value, dut.take.value, dut.free.value = 1, 0, 0
    for _ in range(2):
        await FallingEdge(dut.clk)
    dut.rst.value = 0
    used = taken = full = both = 0
    for step in range(1200):
        bias = (0.2, 0.5, 0.9)[step // 400]
        assert int(dut.avail.value) == (used < bufs)
        assert int(dut.index.value) == taken % bufs
        take = used < bufs and random.random() < bias
        free = used > 0 and random.random() < 0.5
        dut.take.value, dut.free.value = take, free
        used, taken = used + take - free, taken + take
        full, both = full + (used == bufs), both + (take and free)
        await FallingEdge(dut.clk)
    assert taken > 200 and full > 50 and both > 50


@pytest.mark.parametrize("bufs", [2, 3])
def test_ring_credit(sim, seed, bufs):
    run("ring_credit", __name__, {"BUFS": bufs}, sim, testcase="credits", seed=seed)


@cocotb.test()
async def commits(dut):
    """Tiles leave in order, empty ones at once behind those before, others after their data."""
    depth, width = parameters()["DEPTH"], parameters()["WIDTH"]
    cocotb.start_soon(Clock(dut.clk, CLOCK_PERIOD_NS, unit="ns").start())
    dut.rst.value = 1
    dut.put.value = dut.put_empty.value = dut.put_data.value = 0
    dut.done.value = dut.t_ready.value = 0
    for _ in range(2):
        await FallingEdge(dut.clk)
    dut.rst.value = 0
    await FallingEdge(dut.clk)
    stored, passed, empties, waited = deque(), 0, 0, 0
    for step in range(3000):
        ready = random.random() < (0.9 if step % 1000 < 500 else 0.3)
        # Data of a tile comes only when that of all tiles before it has come.
        missing = [t for t in stored if not t["done"]]
        valid = bool(stored) and stored[0]["done"]
        assert int(dut.t_valid.value) == valid
        assert int(dut.put_ready.value) == (len(stored) < depth)
        if valid:
            assert int(dut.t_data.value) == stored[0]["data"]
        tile = None
        if len(stored) < depth and random.random() < 0.5:
            tile = {"data": random.getrandbits(width), "empty": random.random() < 0.3}
            tile["done"] = tile["empty"]
        done = bool(missing) and random.random() < 0.4
        dut.put.value = tile is not None
        dut.put_empty.value = tile["empty"] if tile else random.getrandbits(1)
        dut.put_data.value = tile["data"] if tile else random.getrandbits(width)
        dut.done.value, dut.t_ready.value = done, ready
        if valid and ready:
            empties += stored.popleft()["empty"]
            passed += 1
        waited += bool(stored) and not stored[0]["done"]
        if done:
            missing[0]["done"] = True
        if tile:
            stored.append(tile)
        await FallingEdge(dut.clk)
    assert passed > 300 and empties > 50 and waited > 100


@pytest.mark.parametrize("depth,width", [(2, 1), (4, 270)])
def test_tile_commit(sim, seed, depth, width):
    run("tile_commit", __name__, {"DEPTH": depth, "WIDTH": width}, sim, testcase="commits",
        seed=seed)


def test_illegal_parameters_are_refused(sim):
    for module, bad in (("ring_credit", {"BUFS": 5}), ("tile_commit", {"DEPTH": 9}),
                        ("axi_read_track", {"OUTSTANDING": 24}), ("owed_count", {"WIDTH": 0})):
        with pytest.raises(BuildError, match=f"illegal_parameter_{module}"):
            build(module, bad, sim)
