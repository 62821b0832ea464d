# SPDX-License-Identifier: Apache-2.0
"""sufa_qk_ctl: order of tiles, steps and elements; captures before sums are overwritten; rings."""

import random
from collections import deque

import cocotb
import pytest

from tb.runner import BuildError, build, parameters, run
from tb.sufa.control import Pins, random_blocks

OUTPUTS = ("q_release", "k_t_ready", "k_release", "t_valid", "l_rd", "l_rd_buf", "l_rd_word",
           "l_rd_odd", "rd_en", "rd_elem", "rd_qbuf", "rd_kbuf", "qk_ld", "qk_in_en", "qk_mul_en",
           "qk_acc_en", "qk_acc_first", "qk_cap", "cap_end", "end_only", "ev_busy", "ev_stall",
           "ev_starve")


class Job:
    """Tiles of some blocks: (number, buffers, steps, last), and what has to come of them."""

    def __init__(self, blocks, kv_bufs, d):
        self.tiles, self.reads, self.elems, self.caps = [], deque(), deque(), deque()
        number = 0
        for b, block in enumerate(blocks):
            for t, steps in enumerate(block):
                last = t == len(block) - 1
                self.tiles.append((steps, last))
                for s in range(steps):
                    self.reads.append(((number % 4, s // 2, s % 2), b))
                    self.elems.extend((e, b % 2, number % kv_bufs) for e in range(d))
                    self.caps.append(int(last and s == steps - 1))
                if last and not steps:
                    self.caps.append("end")
                number += 1


async def check(pins, blocks, d, rest):
    """Run blocks; ``rest`` is the share of cycles in which the neighbours rest."""
    p = parameters()
    await pins.reset()
    pins.put("cfg_d", d)
    job = Job(blocks, p["KV_BUFS"], d)
    offered = deque(job.tiles)
    q_sent = q_there = q_freed = k_freed = tiles = 0
    # Scores' registers: cycles until they are free; None while nothing is in them.
    hold = None
    stages = deque([(0, 0)] * 3)     # (element read, first) in the three stages behind the read
    open_sums = 0                    # steps in the accumulators that are not captured
    first_busy = last_busy = 0
    shown = False
    while job.caps or job.elems or k_freed < len(job.tiles):
        await pins.edge()
        assert pins.number < 60000, f"stuck: {len(job.elems)} elements, {len(job.caps)} captures"
        v = dict(zip(OUTPUTS, pins.known(*OUTPUTS), strict=True))
        take = hold is None or hold == 0
        if v["l_rd"]:
            want, block = job.reads.popleft()
            assert (v["l_rd_buf"], v["l_rd_word"], v["l_rd_odd"]) == want
            assert q_there > block, f"started block {block} without its Q"
        assert v["rd_en"] == v["ev_busy"]
        if v["rd_en"]:
            assert (v["rd_elem"], v["rd_qbuf"], v["rd_kbuf"]) == job.elems.popleft()
            last_busy = pins.number
            first_busy = first_busy or last_busy
        assert v["qk_ld"] == (v["rd_en"] and v["rd_elem"] == 0)
        # The enables follow the read; a sum starts anew only when the last one was captured.
        assert (v["qk_in_en"], v["qk_mul_en"]) == (stages[2][0], stages[1][0])
        assert (v["qk_acc_en"], v["qk_acc_en"] and v["qk_acc_first"]) == stages[0]
        if v["qk_cap"]:
            assert take, "captured over scores that are still needed"
            assert v["cap_end"] == job.caps.popleft()
            open_sums -= 1
        if v["qk_acc_en"] and v["qk_acc_first"]:
            assert open_sums == 0, "sums overwritten"
            open_sums = 1
        stages.popleft()
        stages.append((v["rd_en"], v["qk_ld"]))
        if v["end_only"]:
            assert hold is None and job.caps.popleft() == "end"
        if shown and v["k_t_ready"]:
            offered.popleft()
            tiles += 1
            assert v["t_valid"]
        else:
            assert not v["t_valid"]
        q_freed += v["q_release"]
        k_freed += v["k_release"]
        assert q_freed <= q_sent and k_freed <= tiles
        assert v["ev_busy"] + v["ev_stall"] + v["ev_starve"] <= 1
        # ---- next cycle ----
        # A commit counts from the cycle after its pulse.
        q_there = q_sent
        if hold is not None:
            hold = None if hold == 0 else hold - 1
        if v["qk_cap"]:
            hold = random.choice((0, 3, 4, 5, 7, 3 * d)) if rest else d - 2
        pins.put("hold_take", hold is None or hold == 0)
        # A promise: free at most 4 cycles after this one.
        pins.put("hold_soon", hold is None or hold <= 4)
        pins.put("end_ok", hold is None)
        if not shown or v["k_t_ready"]:
            shown = bool(offered) and random.random() >= rest
        pins.put("k_t_valid", shown)
        if shown:
            pins.put("k_t_nsteps", offered[0][0])
            pins.put("k_t_last", offered[0][1])
        pins.put("t_ready", random.random() >= rest / 2)
        send = q_sent < len(blocks) and q_sent - q_freed < 2 \
            and (not rest or random.random() < 1 / (3 * d))
        pins.put("q_commit", send)
        q_sent += send
    for _ in range(3):
        await pins.edge()
        q_freed += pins.one("q_release")
        pins.put("q_commit", 0)
    assert q_freed == len(blocks) and not job.reads and tiles == len(job.tiles)
    return last_busy - first_busy + 1


def new_pins(dut):
    return Pins(dut, ("rst", "cfg_d", "q_commit", "k_t_valid", "k_t_last", "k_t_nsteps",
                      "t_ready", "hold_take", "hold_soon", "end_ok"), OUTPUTS)


@cocotb.test()
async def random_tiles(dut):
    pins = new_pins(dut)
    for d in (8, 16):
        await check(pins, random_blocks(), d, 0.5)


@cocotb.test()
async def no_lost_cycle(dut):
    """With everything at hand, steps follow each other over tiles and blocks without a gap."""
    pins = new_pins(dut)
    for d in (8, 16):
        blocks = [[1, 2, 1], [3], [1], [2, 1]]
        assert await check(pins, blocks, d, 0) == d * sum(map(sum, blocks))


@pytest.mark.parametrize("bufs,bc", [(2, 16), (3, 64)])
def test_sufa_qk_ctl(sim, seed, bufs, bc):
    run("sufa_qk_ctl", __name__, {"D_MAX": 16, "BC_MAX": bc, "KV_BUFS": bufs}, sim, seed=seed)


@pytest.mark.parametrize("bad", [{"D_MAX": 20}, {"BC_MAX": 4}, {"KV_BUFS": 5}])
def test_illegal_parameters_are_refused(sim, bad):
    with pytest.raises(BuildError, match="illegal_parameter_sufa_qk_ctl"):
        build("sufa_qk_ctl", {"D_MAX": 16, "BC_MAX": 16, "KV_BUFS": 2, **bad}, sim)
