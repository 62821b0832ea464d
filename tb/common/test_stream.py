# SPDX-License-Identifier: Apache-2.0
"""Stream source, sink and monitor through one register stage: data, rate, rules, reset."""

import random

import cocotb
import pytest
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, RisingEdge

from tb import runner
from tb.common.scoreboard import same_signals
from tb.common.signals import KnownReader, to_int
from tb.common.stream import StreamError, StreamMonitor, StreamSink, StreamSource, pattern
from tb.runner import CLOCK_PERIOD_NS, parameters, run

FIELDS = ("data", "tag")


class TB:
    """Source, stage, sink and monitors of both sides and of the tap."""

    def __init__(self, dut, idle=None, backpressure=None, sink=True):
        self.dut = dut
        cocotb.start_soon(Clock(dut.clk, CLOCK_PERIOD_NS, unit="ns").start())
        args = (dut.clk, dut.rst)
        self.source = StreamSource(dut, "s", *args, fields=FIELDS, idle=idle, seed=runner.seed())
        self.sink = sink and StreamSink(dut, "m", *args, fields=FIELDS, backpressure=backpressure)
        self.inputs = StreamMonitor(dut, "s", *args, fields=FIELDS, use_ready=True)
        self.tap = StreamMonitor(dut, "tap", *args, fields=("valid", "data"))
        self.rng = random.Random(runner.seed())
        dut.manual.value = dut.t_valid.value = dut.t_data.value = 0

    async def reset(self):
        self.dut.rst.value = 1
        await ClockCycles(self.dut.clk, 3)
        self.dut.rst.value = 0
        await RisingEdge(self.dut.clk)

    def items(self, count):
        sizes = parameters()
        return [{"data": self.rng.getrandbits(sizes["DATA_W"]),
                 "tag": self.rng.getrandbits(sizes["TAG_W"])} for _ in range(count)]


@cocotb.test()
@cocotb.parametrize(idle=[0.0, 0.3, 0.8], stall=[0.0, 0.3, 0.8])
async def data_arrives(dut, idle, stall):
    """Every item arrives once and in order; sink, monitor and tap agree."""
    tb = TB(dut, pattern(idle, runner.seed()), pattern(stall, runner.seed() + 1))
    await tb.reset()
    items = tb.items(400)
    for part in range(0, 400, 100):
        tb.source.extend(items[part : part + 100])
        await tb.source.drain()
        await ClockCycles(dut.clk, tb.rng.randrange(20))
    await tb.sink.wait(400, timeout=100)
    await ClockCycles(dut.clk, 3)
    assert tb.sink.items == tb.inputs.items == items
    assert tb.tap.items == [{"valid": 1 + 2 * (i["tag"] & 1), "data": i["data"]} for i in items]
    assert tb.tap.cycles == tb.sink.cycles
    gaps = [b - a for a, b in zip(tb.sink.cycles, tb.sink.cycles[1:], strict=False)]
    assert min(gaps) >= 1
    span = tb.sink.cycles[99] - tb.sink.cycles[0] + 1
    if idle == stall == 0:
        assert span == 100
    else:
        assert span > 100 / (1 - max(idle, stall)) * 0.5


@cocotb.test()
async def send_waits(dut):
    """send() returns when the item is taken; mixing it with append() keeps the order."""
    tb = TB(dut)
    await tb.reset()
    items = tb.items(9)
    for i in range(0, 9, 3):
        tb.source.append(items[i])
        await tb.source.send(items[i + 1])
        assert tb.source.sent == i + 2
        tb.source.append(items[i + 2])
        await tb.source.drain()
        await ClockCycles(dut.clk, 3 * i)
    await tb.sink.wait(9, timeout=10)
    assert tb.sink.items == items


@cocotb.test()
async def reset_drops_items(dut):
    tb = TB(dut)
    await tb.reset()
    tb.source.extend(tb.items(50))
    last = cocotb.start_soon(tb.source.send(tb.items(1)[0]))
    await ClockCycles(dut.clk, 20)
    await tb.reset()
    await last
    same_signals("source", dut, s_valid=0)
    assert tb.source.empty, "items of before the reset are left"
    assert 0 < tb.sink.count < 50
    before = tb.sink.count
    items = tb.items(5)
    tb.source.extend(items)
    await tb.sink.wait(before + 5, timeout=20)
    assert tb.sink.items[before:] == items


@cocotb.test()
async def junk_between_items(dut):
    """The fields change after an item, so that a late look at them is found."""
    tb = TB(dut)
    await tb.reset()
    changed = 0
    for item in tb.items(20):
        await tb.source.send(item)
        await ClockCycles(dut.clk, 2)
        changed += int(dut.s_data.value) != item["data"]
    assert changed > 15


@cocotb.test()
async def callbacks_get_items(dut):
    tb = TB(dut)
    got = []
    StreamMonitor(dut, "m", dut.clk, dut.rst, use_ready=True, callback=got.append)
    await tb.reset()
    items = tb.items(10)
    tb.source.extend(items)
    await tb.sink.wait(10, timeout=20)
    await ClockCycles(dut.clk, 1)
    assert got == [i["data"] for i in items]


@cocotb.test()
async def wrong_items_are_refused(dut):
    tb = TB(dut)
    for wrong in ({"data": -1, "tag": 0}, {"data": 0, "tag": 1 << len(dut.s_tag)}, {"data": 0}, 5):
        with pytest.raises(ValueError):
            tb.source.append(wrong)
    with pytest.raises(ValueError):
        next(pattern(1.0))
    await tb.reset()
    with pytest.raises(StreamError, match="0 of 1 items came within 10 cycles"):
        await tb.sink.wait(1, timeout=10)


@cocotb.test()
async def known_reader(dut):
    """KnownReader gives ints, and names a signal which has unknown bits."""
    await TB(dut).reset()
    dut.t_data.value = 5
    await ClockCycles(dut.clk, 2)
    assert KnownReader(dut.t_data)() == 5 and KnownReader(dut.rst)() == 0
    if cocotb.SIM_NAME.lower().startswith("icarus"):
        dut.t_data.value = "X" * len(dut.t_data)
        await ClockCycles(dut.clk, 2)
        with pytest.raises(AssertionError, match="t_data is unknown"):
            KnownReader(dut.t_data)()


async def broken(dut, behave):
    """Run ``behave(dut)`` as the source of a sink which never takes anything."""
    TB(dut, backpressure=iter([(0, 1 << 30)]))
    dut.rst.value = 1
    dut.manual.value = 1
    await ClockCycles(dut.clk, 3)
    dut.rst.value = 0
    await ClockCycles(dut.clk, 3)
    dut.t_valid.value = 1
    await ClockCycles(dut.clk, 2)
    behave(dut)
    await ClockCycles(dut.clk, 3)


# These fail by their background task, so each needs a test of its own.
@cocotb.test(expect_error=StreamError)
async def dropped_valid_is_found(dut):
    await broken(dut, lambda dut: setattr(dut.t_valid, "value", 0))


@cocotb.test(expect_error=StreamError)
async def changed_data_is_found(dut):
    await broken(dut, lambda dut: setattr(dut.t_data, "value", 1))


@cocotb.test()
async def patient_source_is_fine(dut):
    await broken(dut, lambda dut: None)


@cocotb.test(expect_error=StreamError,
             skip=getattr(cocotb, "SIM_NAME", "").lower().startswith("verilator"))
async def unknown_data_is_found(dut):
    tb = TB(dut)
    await tb.reset()
    dut.manual.value = 1
    dut.t_data.value = "X" * len(dut.t_data)
    dut.t_valid.value = 1
    await ClockCycles(dut.clk, 3)


def test_wide_texts_become_ints(seed):
    rng = random.Random(seed)
    for width in (1, 64, 4095, 4096, 4097, 4099, 30720, 30727):
        for value in (0, 1, (1 << width) - 1, rng.getrandbits(width)):
            text = format(value, f"0{width}b")
            assert to_int(text) == value
        for bad in "xXzZuU-":
            at = rng.randrange(width)
            with pytest.raises(ValueError):
                to_int(text[:at] + bad + text[at + 1 :])


def test_pattern_has_the_asked_share():
    for probability in (0.1, 0.5, 0.9):
        source, on, off = pattern(probability, 1), 0, 0
        for _ in range(5000):
            a, b = next(source)
            assert a >= 1 and b >= 1
            on, off = on + a, off + b
        assert abs(off / (on + off) - probability) < 0.05


@pytest.mark.parametrize("data_w", [16, 300])
def test_stream(sim, seed, data_w):
    run("stream_stage", __name__, {"DATA_W": data_w, "TAG_W": 4}, sim, seed=seed)
