# SPDX-License-Identifier: Apache-2.0
"""sofa_dlzs_wcodes: chunks of codes from beats to words, at every number of beats a word or words a
beat, with pauses on both sides and resets in the middle."""

import random

import cocotb
import pytest
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, Timer

from tb.common.scoreboard import same, unpack
from tb.runner import CLOCK_PERIOD_NS, BuildError, build, parameters, run

TOP = "sofa_dlzs_wcodes"


class Chunk:
    """A header and so many words, as beats of memory and as what the array gets."""

    def __init__(self, words):
        p = parameters()
        rows, beat = p["ROWS"], 8 * p["BUS_BYTES"]
        entries = [random.getrandbits(32) for _ in range(max(1, rows // 8))]
        codes = [[random.getrandbits(4) for _ in range(rows)] for _ in range(words)]
        self.numbers = [(e >> 16) << 4 | e >> 4 & 15 for e in entries]
        self.words = [[self.code(c, entries[r // 8] & 15) for r, c in enumerate(word)]
                      for word in codes]
        self.beats = self.cut(entries, 32, beat) + self.cut(sum(codes, []), 4, beat)

    @staticmethod
    def cut(numbers, width, beat):
        """Numbers of so many bits side by side, in whole beats."""
        bits = sum(n << i * width for i, n in enumerate(numbers))
        count = -(-len(numbers) * width // beat)
        return [bits >> i * beat & ((1 << beat) - 1) for i in range(count)]

    @staticmethod
    def code(code, exp):
        """{sign, e} becomes {sign, e + min(exp, 8)}, or 0 where e is."""
        sign, e = code >> 3, code & 7
        return (sign << 4 | e + min(exp, 8)) if e else 0


@cocotb.test()
async def chunks(dut):
    """Chunks of 8 to 40 words. Beats and words wait for each other, or never; a reset may come
    anywhere, and the next beat is a header then."""
    p = parameters()
    rows, width = p["ROWS"], 5 + p["TWO_TERM"]
    cocotb.start_soon(Clock(dut.clk, CLOCK_PERIOD_NS, unit="ns").start())
    dut.rst.value, dut.s_valid.value, dut.m_ready.value, dut.m_last.value = 1, 0, 0, 0
    for _ in range(2):
        await FallingEdge(dut.clk)
    compared = held = resets = 0
    while compared < 400 or held < 100 or resets < 10:
        chunk = Chunk(8 * random.randint(1, 5))
        beat = word = 0
        coming, going = (random.choice((1.0, 0.6, 0.2)) for _ in range(2))
        stop = random.randrange(len(chunk.beats)) if random.random() < 0.2 else None
        while word < len(chunk.words):
            rst = beat == stop
            more = beat < len(chunk.beats) and random.random() < coming
            ready = random.random() < going
            dut.rst.value, dut.s_valid.value, dut.m_ready.value = int(rst), int(more), int(ready)
            dut.s_data.value = chunk.beats[beat] if more else random.getrandbits(len(dut.s_data))
            dut.m_last.value = int(word == len(chunk.words) - 1)
            await Timer(1, unit="ns")
            if int(dut.m_valid.value):
                got = unpack(int(dut.m_code.value), rows, width).tolist()
                same("dlzs_wcodes", chunk.words[word], got, word=word)
                numbers = unpack(int(dut.m_numbers.value), len(chunk.numbers), 20).tolist()
                same("dlzs_wcodes numbers", chunk.numbers, numbers, word=word)
                compared += 1
                held += not ready
                word += ready
            beat += more and int(dut.s_ready.value)
            await FallingEdge(dut.clk)
            if rst:
                resets += 1
                break
    dut.rst.value = 0


@pytest.mark.parametrize("rows, bus_bytes, two_term", [
    # A word is a quarter of a beat, a beat, two beats, eight. A build for Verilator takes longer
    # than the test.
    (32, 64, 1), (128, 8, 1), *(pytest.param(rows, 8, 0, marks=pytest.mark.slow_on("verilator"))
                                for rows in (16, 32))])
def test_sofa_dlzs_wcodes(sim, seed, rows, bus_bytes, two_term):
    run(TOP, __name__, {"ROWS": rows, "BUS_BYTES": bus_bytes, "TWO_TERM": two_term}, sim, seed=seed)


@pytest.mark.parametrize("bad", [{"ROWS": 2}, {"ROWS": 256}, {"BUS_BYTES": 4}, {"BUS_BYTES": 128}],
                         ids=str)
def test_illegal_parameters_are_refused(sim, bad):
    with pytest.raises(BuildError, match=f"illegal_parameter_{TOP}"):
        build(TOP, {"ROWS": 128, "BUS_BYTES": 8, **bad}, sim)
