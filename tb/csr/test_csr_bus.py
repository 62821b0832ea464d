# SPDX-License-Identifier: Apache-2.0
"""csr: AXI4-Lite channels that run on their own, as a pipelined master drives them.

Requests wait behind each other while answers are held up; addresses and data of writes lead each
other in every order. Every answer is compared, in order and in number."""

import random

import cocotb
import numpy as np
import pytest
from cocotb.triggers import ClockCycles, RisingEdge

from models.spec import registers as regs
from tb.csr.test_csr import START, build_parameters, kept, prepare
from tb.runner import run

OKAY, SLVERR = 0, 2
UNMAPPED = 0xFFC
WRITTEN = ("KEYS", "QUOTA", "K_BASE_HI")
"""Registers that the writes change; all others of the job keep their values."""


class Channel:
    """One AXI4-Lite channel: ``sent`` counts its transfers, ``taken`` keeps the payloads of a
    channel from the slave, each with its cycle. A valid that falls or a payload that changes
    before ready is an error."""

    def __init__(self, dut, name, fields, from_slave=False):
        def handles(signals):
            return [getattr(dut, f"s_axil_{name}{s}") for s in signals]

        self.dut, self.name = dut, name
        self.valid, self.ready = handles(("valid", "ready"))
        self.fields = handles(fields)
        self.sent, self.taken = 0, []
        cocotb.start_soon(self._watch(from_slave))

    async def _watch(self, from_slave):
        held, cycle = None, 0
        while True:
            await RisingEdge(self.dut.clk)
            cycle += 1
            now = [int(f.value) for f in self.fields] if int(self.valid.value) else None
            assert held is None or now == held, f"{self.name}: {held} became {now} before ready"
            held = now
            if now is not None and int(self.ready.value):
                held = None
                self.sent += 1
                if from_slave:
                    self.taken.append((now, cycle))

    async def send(self, items, gap):
        """Offer the payloads behind each other, each after ``gap()`` idle cycles."""
        for item in items:
            if idle := gap():
                self.valid.value = 0
                await ClockCycles(self.dut.clk, idle)
            for handle, value in zip(self.fields, item, strict=True):
                handle.value = value
            self.valid.value = 1
            await RisingEdge(self.dut.clk)
            while not int(self.ready.value):
                await RisingEdge(self.dut.clk)
        self.valid.value = 0

    async def accept(self, gap):
        """Raise ready for a cycle at a time, each after ``gap()`` cycles without it."""
        while True:
            if idle := gap():
                self.ready.value = 0
                await ClockCycles(self.dut.clk, idle)
            self.ready.value = 1
            await RisingEdge(self.dut.clk)

    async def answers(self, count, requests):
        """Wait for ``count`` answers, none before all of its ``requests``, and for no more."""
        for _ in range(40 * count + 200):
            await RisingEdge(self.dut.clk)
            for request in requests:
                assert self.sent <= request.sent, f"{self.name} before {request.name}"
            if len(self.taken) >= count:
                break
        await ClockCycles(self.dut.clk, 20)
        assert len(self.taken) == count, f"{self.name}: {len(self.taken)} answers, not {count}"
        return self.taken


def eager():
    return 0


def late():
    return 9


def rough():
    return random.choice((0, 0, 1, 2, 7))


GAPS = (eager, late, rough)


@cocotb.test()
async def reads_behind_each_other(dut):
    """Requests wait while answers are held up: data of every read once, in order, held still
    although the register counts; a read in 4 cycles when nobody waits."""
    tb = await prepare(dut)
    values = {name: random.getrandbits(32) & kept(name) for name in regs.JOB}
    for name, value in values.items():
        await tb.write(name, value)
    ar, r = Channel(dut, "ar", ("addr",)), Channel(dut, "r", ("resp", "data"), True)
    dut.busy.value = 1  # CNT_CYCLES counts
    compared = 0
    for gap in GAPS:
        for stall in GAPS:
            r.taken.clear()
            names = random.choices([*regs.JOB, "CNT_CYCLES", None], k=24)
            names[random.randrange(24)] = "CNT_CYCLES"
            accept = cocotb.start_soon(r.accept(stall))
            cocotb.start_soon(ar.send(
                [[UNMAPPED if n is None else regs.OFFSETS[n]] for n in names], gap))
            answers, before = await r.answers(len(names), (ar,)), 0
            accept.cancel()
            dut.s_axil_rready.value = 0
            for i, (name, ((resp, data), _)) in enumerate(zip(names, answers, strict=True)):
                where = f"read {i} of {name}, {gap.__name__}, {stall.__name__}: {data:#x}"
                assert resp == (SLVERR if name is None else OKAY), where
                if name == "CNT_CYCLES":
                    assert data > before, where
                    before = data
                else:
                    assert data == values.get(name, 0), where
                compared += 1
            if gap is stall is eager:
                assert set(np.diff([cycle for _, cycle in answers])) == {4}
    assert compared == 9 * 24 and await tb.read("KEYS") == values["KEYS"]


@cocotb.test()
async def writes_behind_each_other(dut):
    """Addresses lead data, data lead addresses, both wait while answers are held up: every write
    has its own effect and one answer, in order; one behind a start is refused; a write in 2 cycles
    when nobody waits."""
    tb = await prepare(dut)
    shadow = dict.fromkeys(regs.JOB, 0)
    aw, w = Channel(dut, "aw", ("addr",)), Channel(dut, "w", ("data", "strb"))
    b = Channel(dut, "b", ("resp",), True)
    compared = starts = 0
    for aw_gap in GAPS:
        for w_gap in GAPS:
            for stall in GAPS:
                b.taken.clear()
                words = [(random.choice([*WRITTEN, None]), random.getrandbits(32),
                          random.choice((0xF, 0xF, random.getrandbits(4)))) for _ in range(12)]
                run_at = random.randrange(24)  # in half of the rounds a start among them
                if run_at < len(words):
                    words[run_at] = ("CTRL", START, 0xF)
                want, active = [], False
                for name, value, strb in words:
                    legal = name == "CTRL" or (name is not None and not active)
                    want.append(OKAY if legal else SLVERR)
                    active |= name == "CTRL"
                    if legal and name != "CTRL":
                        mask = sum(0xFF << 8 * i for i in range(4) if strb >> i & 1)
                        shadow[name] = (shadow[name] & ~mask | value & mask) & kept(name)
                starts += active
                accept = cocotb.start_soon(b.accept(stall))
                cocotb.start_soon(aw.send([[UNMAPPED if n is None else regs.OFFSETS[n]]
                                           for n, _, _ in words], aw_gap))
                cocotb.start_soon(w.send([word[1:] for word in words], w_gap))
                answers = await b.answers(len(words), (aw, w))
                accept.cancel()
                dut.s_axil_bready.value = 0
                gaps = f"{aw_gap.__name__}, {w_gap.__name__}, {stall.__name__}"
                assert [resp for (resp,), _ in answers] == want, gaps
                await tb.check_ports(shadow)
                assert tb.starts == starts, gaps
                if active:
                    await tb.finish()
                if aw_gap is w_gap is stall is eager:
                    assert set(np.diff([cycle for _, cycle in answers])) == {2}
                compared += len(words)
    assert compared == 27 * 12 and starts
    await tb.write("KEYS", 3)
    await tb.expect("KEYS", 3)


@pytest.mark.configs("tiny")
@pytest.mark.sims("verilator")
def test_csr_bus(sim, config, seed):
    run("sofa_csr", __name__, build_parameters(config), sim, seed=seed)
