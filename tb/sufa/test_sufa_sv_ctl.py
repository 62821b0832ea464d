# SPDX-License-Identifier: Apache-2.0
"""sufa_sv_ctl: order of steps and flushes, o read after written, weights, rings, o_* handshake."""

import random
from collections import deque

import cocotb
import pytest

from tb.runner import BuildError, build, parameters, run
from tb.sufa.control import Pins, random_blocks

OUTPUTS = ("t_ready", "v_t_ready", "v_release", "l_release", "l_rd", "l_rd_buf", "l_rd_word",
           "l_rd_odd", "rd_en", "rd_elem", "rd_vbuf", "w_start", "w_taken", "sv_ld", "sv_ld_p",
           "sv_ld_dm", "sv_in_en", "sv_fin_en", "sv_mul_en", "sv_sum_en", "sv_sum_fin", "o_rd_en",
           "o_rd_elem", "o_sh_en", "o_sh_first", "o_wr_en", "o_wr_elem", "out_en", "o_valid",
           "o_elem", "o_last", "o_addr", "o_rows", "tap_valid", "tap_elem")


class Rows:
    """What the rows would do, by name instead of by value.

    ``o[e]`` is the list of the steps summed up in element e; a flushed element carries what was
    read. Weights and entries are numbers of steps, "R" + block for reciprocals.
    """

    def __init__(self, d):
        self.o = [None] * d
        self.next = self.p = self.dm = self.sel = None
        self.v = self.o_rd = self.o_sh = self.x = self.prod = self.total = self.out = None

    def clock(self, c, v_word, entry):
        """One edge with controls c; v_word: (elem) of the V word present, entry: list word."""
        new = dict(self.__dict__)
        if c["sv_ld"]:
            new["sel"] = entry
        if c["sv_ld_p"]:
            new["p"] = self.next
        if c["sv_ld_dm"]:
            new["dm"] = self.next
        if c["sv_in_en"]:
            new["x"] = ("v", self.sel, v_word)
        elif c["sv_fin_en"]:
            new["x"] = ("o", self.o_sh)
        if c["sv_mul_en"]:
            new["prod"] = (self.x, self.p)
        if c["sv_sum_en"]:
            new["total"] = (self.prod, c["sv_sum_fin"])
        if c["o_rd_en"]:
            new["o_rd"] = (c["o_rd_elem"], self.o[c["o_rd_elem"]])
        if c["o_sh_en"]:
            old = () if c["o_sh_first"] else self.o_rd[1]
            new["o_sh"] = (self.o_rd[0], old, self.dm)
        if c["o_wr_en"]:
            (kind, sel, elem), p = self.total[0]
            assert kind == "v" and not self.total[1]
            e, old, dm = self.o_sh
            assert e == elem == c["o_wr_elem"], "sum of another element"
            assert sel == p == dm, f"entries of step {sel}, weights of {p}, shift of {dm}"
            new["o"] = list(self.o)
            new["o"][e] = (*old, sel)
        if c["out_en"]:
            assert self.total[1]
            new["out"] = self.total[0]
        self.__dict__.update(new)


async def check(pins, blocks, d, rest):
    """Run blocks (lists of steps of their tiles); returns the cycles between block ends."""
    bufs = parameters()["KV_BUFS"]
    await pins.reset()
    pins.put("cfg_d", d)
    tiles, lists, want_v, sums = deque(), deque(), deque(), []
    number = step = 0
    for b, block in enumerate(blocks):
        members = []
        for t, steps in enumerate(block):
            tiles.append((steps, t == len(block) - 1, random.getrandbits(48), b % 128 + 1))
            for s in range(steps):
                lists.append((number % 4, s // 2, s % 2))
                want_v.extend((e, number % bufs) for e in range(d))
                members.append(step)
                step += 1
            number += 1
        sums.append(tuple(members))
    ends = [(t[2], t[3]) for t in tiles if t[1]]
    # Sets of weights in the order in which they are made.
    sets = deque()
    for b, members in enumerate(sums):
        sets.extend((*members, f"R{b}"))
    rows = Rows(d)
    v_sent = v_freed = l_freed = 0
    v_word = entry = None
    entries = deque(range(step))
    # Cycles until the next set is made; None before the one before was taken.
    making, ready, block, elem, tap = None, False, 0, 0, 0
    waiting, o_ready, l_taken, gaps, last_end = None, False, False, [], 0
    while block < len(blocks):
        await pins.edge()
        assert pins.number < 90000, f"stuck in block {block}, element {elem}"
        v = dict(zip(OUTPUTS, pins.known(*OUTPUTS), strict=True))
        assert v["v_t_ready"] == 1
        if v["w_start"]:
            assert ready
            ready = False
        if v["o_valid"]:
            now = tuple(v[x] for x in ("o_elem", "o_last", "o_addr", "o_rows"))
            assert waiting in (None, now)
            waiting = None if o_ready else now
            if o_ready:
                assert now == (elem, int(elem == d - 1), *ends[block])
                (kind, (e, old, dm)), p = rows.out
                assert (kind, e, old, dm, p) == ("o", elem, sums[block], f"R{block}", f"R{block}")
                elem += 1
                if elem == d:
                    gaps.append(pins.number - last_end)
                    last_end, elem, block = pins.number, 0, block + 1
        else:
            assert waiting is None
        rows.clock(v, v_word, entry)
        if v["l_rd"]:
            assert not l_taken, "list memory read twice"
            assert (v["l_rd_buf"], v["l_rd_word"], v["l_rd_odd"]) == lists.popleft()
            entry = entries.popleft()
        if v["rd_en"]:
            assert (v["rd_elem"], v["rd_vbuf"]) == want_v.popleft()
            v_word = v["rd_elem"]
        v_freed += v["v_release"]
        l_freed += v["l_release"]
        assert v_freed <= v_sent
        if v["tap_valid"]:
            assert v["tap_elem"] == tap
            tap = (tap + 1) % d
        # ---- next cycle ----
        if v["w_taken"]:
            rows.next, making = None, None
        if making is None and sets:
            making = random.randrange(3 * d) if rest else d // 2
        elif making:
            making -= 1
        if making == 0 and rows.next is None:
            ready, rows.next = True, sets.popleft()
        pins.put("w_ready", ready)
        l_taken = rest and random.random() < 0.1
        pins.put("l_taken", l_taken)
        if v["t_ready"]:
            tiles.popleft()
        pins.put("t_valid", bool(tiles))
        if tiles:
            for name, value in zip(("nsteps", "last", "oaddr", "rows"), tiles[0], strict=True):
                pins.put(f"t_{name}", value)
        send = v_sent < number and v_sent - v_freed < bufs and random.random() >= rest
        pins.put("v_t_valid", send)
        v_sent += send
        o_ready = elem > 0 or random.random() >= rest
        pins.put("o_ready", o_ready)
    for _ in range(3):
        await pins.edge()
        l_freed, v_freed = l_freed + pins.one("l_release"), v_freed + pins.one("v_release")
    assert l_freed == v_freed == number and not lists and not want_v and not tiles
    return gaps


def new_pins(dut):
    return Pins(dut, ("rst", "cfg_d", "t_valid", "t_last", "t_nsteps", "t_oaddr", "t_rows",
                      "v_t_valid", "l_taken", "w_ready", "o_ready"), OUTPUTS)


@cocotb.test()
async def random_tiles(dut):
    pins = new_pins(dut)
    for d in (8, 16):
        await check(pins, random_blocks(), d, 0.6)


@cocotb.test()
async def no_lost_cycle(dut):
    """Steps follow each other without a gap; a flush takes d + 3 cycles."""
    pins = new_pins(dut)
    gaps = await check(pins, [[2, 1], [3], [1, 2], [3]], 16, 0)
    assert gaps[1:] == [4 * 16 + 3] * 3, gaps


@pytest.mark.parametrize("bufs,bc", [(2, 16), (3, 64)])
def test_sufa_sv_ctl(sim, seed, bufs, bc):
    run("sufa_sv_ctl", __name__, {"D_MAX": 16, "BC_MAX": bc, "KV_BUFS": bufs}, sim, seed=seed)


@pytest.mark.parametrize("bad", [{"D_MAX": 20}, {"BC_MAX": 4}, {"KV_BUFS": 5}])
def test_illegal_parameters_are_refused(sim, bad):
    with pytest.raises(BuildError, match="illegal_parameter_sufa_sv_ctl"):
        build("sufa_sv_ctl", {"D_MAX": 16, "BC_MAX": 16, "KV_BUFS": 2, **bad}, sim)
