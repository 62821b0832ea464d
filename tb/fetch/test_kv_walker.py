# SPDX-License-Identifier: Apache-2.0
"""kv_walker and find_first: one request per set bit, in order, none for the others."""

import random

import cocotb
import pytest
from cocotb.clock import Clock
from cocotb.triggers import ReadOnly, RisingEdge, Timer

from tb.common.signals import KnownReader, reader, writer
from tb.common.stream import Willing, pattern
from tb.runner import CLOCK_PERIOD_NS, BuildError, build, parameters, run


@cocotb.test()
@cocotb.parametrize(backpressure=[0.0, 0.5])
async def walks(dut, backpressure):
    """Random and extreme masks, tile slots, bases and increments, back to back."""
    p = parameters()
    slots, width, addr_w = p["SLOTS"], p["TILE_W"], len(dut.req_addr)
    cocotb.start_soon(Clock(dut.clk, CLOCK_PERIOD_NS, unit="ns").start())
    edge = RisingEdge(dut.clk)
    willing = Willing(pattern(backpressure, random.getrandbits(32)) if backpressure else None)
    valid, ready = reader(dut.req_valid), reader(dut.ready)
    request = [KnownReader(h) for h in (dut.req_addr, dut.req_slot, dut.req_buf, dut.req_last)]
    put_ready, put_load = writer(dut.req_ready), writer(dut.load)
    masks = [0, 1, 1 << slots - 1, (1 << slots) - 1, 0, 0b1010 % (1 << slots), 0]
    masks += [random.getrandbits(slots) & random.getrandbits(slots) for _ in range(40)]
    want, got, taking, loads, loading = [], [], False, [], False
    dut.rst.value = 1
    put_load("0")
    put_ready("0")
    await edge
    await edge
    dut.rst.value = 0
    cycle = 0
    while masks or loading or len(got) < len(want):
        await edge
        cycle += 1
        assert cycle < 10000, "no progress"
        if taking and valid() == "1":
            got.append((*(read() for read in request), cycle))
        # A load takes effect a cycle later; offer the next one when ready was seen after it.
        was_loading, loading = loading, False
        if masks and ready() == "1" and not was_loading:
            mask, loading = masks.pop(0), True
            base, inc = random.getrandbits(addr_w), random.getrandbits(32)
            buf = random.getrandbits(2)
            dut.load_base.value, dut.load_inc.value = base, inc
            # Tile slots in any order, also twice.
            tile = [random.getrandbits(width) for _ in range(slots)]
            dut.load_mask.value, dut.load_buf.value = mask, buf
            dut.load_slots.value = sum(b << s * width for s, b in enumerate(tile))
            chosen = [s for s in range(slots) if mask >> s & 1]
            want += [((base + tile[s] * inc) % (1 << addr_w), s, buf, int(s == chosen[-1]))
                     for s in chosen]
            loads.append((cycle, len(want) - len(chosen), len(chosen)))
        put_load("1" if loading else "0")
        taking = willing.step()
        put_ready("1" if taking else "0")
    assert [g[:4] for g in got] == want and len(want) > 2 * slots
    if not backpressure:
        for start, index, count in loads:
            # Loaded at the edge after ``start``; then first set bit, product, sum.
            assert [g[4] for g in got[index : index + count]] == \
                [start + 5 + i for i in range(count)]


@pytest.mark.parametrize("slots,tile_w,addr_w", [(8, 3, 32), (16, 6, 40), (64, 6, 48)])
def test_kv_walker(sim, seed, slots, tile_w, addr_w):
    run("kv_walker", __name__, {"SLOTS": slots, "TILE_W": tile_w, "ADDR_W": addr_w}, sim, seed=seed,
        testcase=["walks/backpressure=0.0", "walks/backpressure=0.5"])


@cocotb.test()
async def lowest_bit(dut):
    """All masks of 8 bits; every lowest bit of wide ones."""
    width = parameters()["WIDTH"]
    masks = range(1, 256) if width == 8 else [
        (random.getrandbits(width) | 1) << b & (1 << width) - 1 for b in range(width)
        for _ in range(4)]
    for mask in masks:
        dut.mask.value = mask
        await Timer(1, "ns")
        await ReadOnly()
        assert int(dut.index.value) == (mask & -mask).bit_length() - 1
        await Timer(1, "ns")
    assert len(masks) >= 255


@pytest.mark.parametrize("width", [8, 64])
def test_find_first(sim, seed, width):
    run("find_first", __name__, {"WIDTH": width}, sim, testcase="lowest_bit", seed=seed)


def test_illegal_parameters_are_refused(sim):
    with pytest.raises(BuildError, match="illegal_parameter_find_first"):
        build("find_first", {"WIDTH": 12}, sim)
    with pytest.raises(BuildError, match="illegal_parameter_kv_walker"):
        build("kv_walker", {"SLOTS": 16, "TILE_W": 3}, sim)
