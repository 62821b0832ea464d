# SPDX-License-Identifier: Apache-2.0
"""The KVGEN stage between stand-ins of its neighbours, against models/kvgen.py."""

import random
from collections import Counter

import cocotb
import pytest
from cocotb.triggers import RisingEdge

from models.tiling import block_tiles
from tb.common.signals import reader
from tb.kvgen.bench import TB, Speed
from tb.runner import BuildError, build, run

NAMES = ("ROWS", "D_MAX", "BC_MAX", "KV_SLOTS", "BUS_BYTES", "KEYS_MAX", "H_MAX", "KG_TOK",
         "WGT_WORDS")
# Shapes that the configurations do not have: four tokens and part of a beat in a row of X; more
# lanes than outputs; a beat as wide as the array.
SHAPES = {
    "wide": {"ROWS": 32, "D_MAX": 64, "BC_MAX": 64, "KV_SLOTS": 32, "BUS_BYTES": 32,
             "KEYS_MAX": 512, "H_MAX": 64, "KG_TOK": 4, "WGT_WORDS": 256, "ADDR_W": 48,
             "KV_BUFS": 3},
    "flat": {"ROWS": 64, "D_MAX": 16, "BC_MAX": 8, "KV_SLOTS": 8, "BUS_BYTES": 8, "KEYS_MAX": 64,
             "H_MAX": 128, "KG_TOK": 2, "WGT_WORDS": 128, "ADDR_W": 32, "KV_BUFS": 4},
    "long": {"ROWS": 32, "D_MAX": 256, "BC_MAX": 64, "KV_SLOTS": 64, "BUS_BYTES": 64,
             "KEYS_MAX": 1024, "H_MAX": 64, "KG_TOK": 1, "WGT_WORDS": 1024},
}
# Shapes for packed jobs, whose rates the reads of X do not limit.
PACKED = {
    "two": {"ROWS": 32, "D_MAX": 16, "BC_MAX": 16, "KV_SLOTS": 16, "BUS_BYTES": 16,
            "KEYS_MAX": 256, "H_MAX": 128, "KG_TOK": 2, "WGT_WORDS": 128},
    "four": {"ROWS": 32, "D_MAX": 32, "BC_MAX": 32, "KV_SLOTS": 32, "BUS_BYTES": 32,
             "KEYS_MAX": 256, "H_MAX": 512, "KG_TOK": 4, "WGT_WORDS": 640},
}


def h_legal(tb, d, largest=64):
    """A random model dimension whose weights fit."""
    passes = -(-2 * d // tb.cfg.ROWS)
    top = min(largest, tb.cfg.H_MAX, tb.cfg.WGT_WORDS // passes)
    return 8 * random.randint(1, top // 8)


@cocotb.test()
async def jobs(dut):
    """Random jobs of many head dimensions, in all rope modes, slow neighbours."""
    tb = TB(dut)
    dims = list(range(8, tb.cfg.D_MAX + 1, 8))
    cases = [(d, m) for d in dims for m in (0, 1, 2)]
    if len(cases) > 9:
        cases = [(d, random.randrange(3)) for d in random.sample(dims, 3)]
        cases += [(8, random.randrange(3)), (24, 2), (dims[-1], 2), (random.choice(dims), 2),
                  (random.choice(dims), 1)]
    random.shuffle(cases)
    for i, (d, mode) in enumerate(cases):
        tb.speed = Speed.slow()
        tb.new_job(d, h_legal(tb, d), mode, random.randint(1, min(60, tb.cfg.KEYS_MAX)),
                   random.randint(1, 3), shift=random.choice([None, None, 0, 30, 40]))
        await (tb.reset() if i == 0 or random.random() < 0.3 else tb.next_job())
        tb.ask_random(2)
        await tb.finish()
    assert tb.compared > 300


@cocotb.test()
async def cached(dut):
    """Heads that load their bitmap make only what is missing; then the same job goes on twice."""
    tb = TB(dut, Speed.slow())
    d = 8 * random.randint(1, tb.cfg.D_MAX // 8)
    keys = random.randint(1, min(150, tb.cfg.KEYS_MAX))
    tb.new_job(d, h_legal(tb, d, 16), random.randrange(3), keys, 3, vb_load=True, have=0.5)
    await tb.reset()
    for turn in range(3):
        if turn:
            tb.continue_job()
            await tb.next_job()
        tb.ask_random(1, share=(0.2, 0.7, 1.0)[turn])
        await tb.finish()
    assert all(len(have) == keys for have in tb.job.have) and tb.reuse


@cocotb.test()
async def mixed(dut):
    """Half of the keys exist: beats of both kinds meet at the write ports; write-back pauses."""
    tb = TB(dut)
    for turn in range(6):
        tb.speed = Speed(fill=(0.3, 0.9)[turn % 2], answer=(1, 20), pause=(0, 400)[turn // 3])
        d = random.choice([8, 16, tb.cfg.D_MAX])
        keys = min(6 * tb.cfg.KV_SLOTS, tb.cfg.KEYS_MAX)
        tb.new_job(d, 8, random.randrange(3), keys, vb_load=True, have=0.6)
        await (tb.next_job() if turn else tb.reset())
        tb.ask_random(1, share=1.0)
        await tb.finish()


@cocotb.test()
async def at_once(dut):
    """A key is wanted again in the phase after its first one: it is read when memory has it."""
    tb = TB(dut, Speed(answer=(1, 60)))
    keys = tb.cfg.BC_MAX
    tb.new_job(random.choice([8, 16, tb.cfg.D_MAX]), 8, random.randrange(3), keys)
    await tb.reset()
    tile = block_tiles(0, 1, keys, tb.cfg.BC_MAX)[0]
    parts = [part for b in range(0, keys, 2) for part in ([b], [b], [b, b + 1])]
    for i, part in enumerate(parts):
        for phase in tb.phases_of_tile(0, tile, part, i == 0, i == len(parts) - 1, whole=True):
            tb.ask(phase)
    await tb.finish()
    assert tb.reuse == keys


@cocotb.test()
async def last_beats(dut):
    """The write-back pauses before each of the last beats of a head, when all others were answered:
    the bitmap is saved behind them, and the head is complete behind the bitmap."""
    tb = TB(dut)
    tile = block_tiles(0, 1, tb.cfg.BC_MAX, tb.cfg.BC_MAX)[0]
    for d in (8, 16):
        beats = 2 * tb.cfg.beats16(d)
        for sent in range(beats + 1):
            tb.speed = Speed(pause_after=sent)
            tb.new_job(d, 8, 0, tb.cfg.BC_MAX)
            await tb.reset()
            for phase in tb.phases_of_tile(0, tile, [5], True, True):
                tb.ask(phase)
            start = tb.cycle
            await tb.finish()
            assert sent == 0 or tb.cycle - start > 300


@cocotb.test()
async def many_keys(dut):
    """As many keys as there can be, few of them used."""
    tb = TB(dut)
    keys = tb.cfg.KEYS_MAX - random.choice([0, 1, 37])
    tb.new_job(8, 8, 1, keys, 2, vb_load=True, have=0.1)
    await tb.reset()
    for head in range(2):
        tiles = block_tiles(0, 1, keys, tb.cfg.BC_MAX, interleaved=head == 1)
        for i, tile in enumerate(tiles):
            chosen = random.sample(range(tile.n), 1 + (i == len(tiles) - 1))
            for phase in tb.phases_of_tile(head, tile, chosen, i == 0, i == len(tiles) - 1):
                tb.ask(phase)
    await tb.finish()
    assert max(max(have) for have in tb.job.have) > keys // 2


@cocotb.test()
async def extremes(dut):
    """The largest sums that there are, with shifts that keep, and that saturate."""
    tb = TB(dut)
    d = 8
    passes = -(-2 * d // tb.cfg.ROWS)
    h = min(tb.cfg.H_MAX, tb.cfg.WGT_WORDS // passes // 8 * 8)
    top = 30 + (h - 1).bit_length()
    for shift in (top - 14, top - 16, top - 15):
        tb.new_job(d, h, random.randrange(3), 2 * tb.cfg.KG_TOK, shift=shift, extreme=True)
        await tb.reset()
        tb.ask_random(1, share=1.0)
        await tb.finish()
    assert tb.compared


@cocotb.test()
async def transparent(dut):
    """Without cfg_generate everything passes; jobs of both kinds follow each other."""
    tb = TB(dut)
    first = True
    for generate in (False, True, False, True):
        tb.speed = Speed.slow()
        tb.new_job(16, 8, 2, 40, 2, generate=generate)
        await (tb.reset() if first else tb.next_job())
        first = False
        before = tb.compared
        tb.ask_random(2)
        await tb.finish()
        assert tb.compared > before


@cocotb.test()
async def wires(dut):
    """Without cfg_generate the phase and the commits pass in the same cycle."""
    tb = TB(dut, Speed(phase=0.5, beat=0.5, gather=0.5, commit=0.5))
    tb.new_job(16, 8, 0, 40, generate=False)
    pairs = [(dut.p_valid, dut.u_valid), (dut.u_ready, dut.p_ready), (dut.p_mask, dut.u_mask),
             (dut.f_k_t_valid, dut.k_t_valid), (dut.k_t_ready, dut.f_k_t_ready),
             (dut.f_v_t_valid, dut.v_t_valid), (dut.v_t_ready, dut.f_v_t_ready),
             (dut.f_k_wr_valid, dut.k_wr_valid), (dut.f_v_wr_valid, dut.v_wr_valid)]
    pairs = [(reader(a), reader(b)) for a, b in pairs]
    await tb.reset()
    tb.ask_random(2)
    seen = [set() for _ in pairs]
    while any(tb.pending.values()):
        await RisingEdge(tb.clk)
        for values, (a, b) in zip(seen, pairs, strict=True):
            assert a() == b()
            values.add(a())
    await tb.finish()
    assert all(len(values) > 1 for values in seen)


@cocotb.test()
async def abort(dut):
    """rst at random times; the job after it is not disturbed."""
    tb = TB(dut)
    for _ in range(6):
        dut.rst.value = 1
        for _ in range(2):
            await RisingEdge(tb.clk)
        tb.speed = Speed.slow()
        tb.new_job(random.choice([8, 16]), h_legal(tb, 16), random.randrange(3), 40, 2)
        await tb.reset()
        tb.ask_random(1)
        for _ in range(random.choice([30, 300, 1500, 3000])):
            await RisingEdge(tb.clk)
        dut.rst.value = 1
        for _ in range(2):
            await RisingEdge(tb.clk)
        tb.speed = Speed.slow()
        tb.new_job(8, 16, random.randrange(3), 20, 2)
        await tb.reset()
        tb.ask_random(1)
        await tb.finish()
    assert tb.compared


@cocotb.test()
async def packed(dut):
    """Groups of all sizes, rows that just fit half of X's memory and rows that do not: one phase a
    head, so that the number of groups is known."""
    tb = TB(dut)
    cfg = tb.cfg
    top = cfg.H_MAX // 2
    dims = range(8, cfg.ROWS // 4 + 1, 8)
    cases = [(d, h, m) for d in dims for h in (8, top, top + 8) for m in (0, 1, 2)]
    random.shuffle(cases)
    for i, (d, h, mode) in enumerate(cases):
        tb.speed = Speed.slow() if random.random() < 0.5 else Speed()
        sizes = [n for n in range(1, 4 * cfg.KG_TOK + 2) if n <= cfg.KV_SLOTS]
        sizes = random.sample(sizes, min(3, len(sizes)))
        tb.new_job(d, h, mode, cfg.BC_MAX, len(sizes))
        assert tb.group == cfg.KG_TOK * (2 if h <= top else 1)
        await (tb.next_job() if i else tb.reset())
        tile = block_tiles(0, 1, cfg.BC_MAX, cfg.BC_MAX)[0]
        for head, n in enumerate(sizes):
            chosen = random.sample(range(tile.n), n)
            for phase in tb.phases_of_tile(head, tile, chosen, True, True, whole=True):
                tb.ask(phase)
        await tb.finish()
        assert tb.counts["busy"] == h * sum(-(-n // tb.group) for n in sizes)


def group_cycles(cfg, d, h, tokens):
    """Cycles of a whole group: each pass takes its H products or the drain of its pairs."""
    return sum(max(h, tokens * min(cfg.ROWS // 2, (2 * d - first) // 2))
               for first in range(0, 2 * d, cfg.ROWS))


async def rates(tb):
    """Fast neighbours: groups follow each other without a gap, across phases, too. Count, for each
    size of a group, how many jobs took exactly what they should."""
    cfg, exact = tb.cfg, Counter()
    top = cfg.H_MAX // 2
    for d, h in ((8, 8), (16, 8), (16, 64), (cfg.D_MAX, 8), (cfg.D_MAX, 40), (24, 24), (8, top),
                 (8, top + 8), (16, top + 8)):
        if d > cfg.D_MAX or h * -(-2 * d // cfg.ROWS) > cfg.WGT_WORDS:
            continue
        mode = random.randrange(3)
        keys = 4 * cfg.KV_SLOTS
        tb.new_job(d, h, mode, keys)
        await tb.reset()
        tiles = block_tiles(0, 1, keys, cfg.KV_SLOTS, interleaved=False)
        for i, tile in enumerate(tiles):
            for phase in tb.phases_of_tile(0, tile, range(tile.n), i == 0, i == len(tiles) - 1,
                                           whole=True):
                tb.ask(phase)
        await tb.finish()
        group = tb.group
        ends = tb.at["gen"][group - 1 :: group]
        gaps = {b - a for a, b in zip(ends[1:], ends[2:], strict=False)}
        expected = group_cycles(cfg, d, h, group)
        beats = group * (cfg.beats16(h) + (tb.beats if mode else 0))
        tb.dut._log.info(f"d {d} h {h} mode {mode}: {group} tokens every {sorted(gaps)}, "
                      f"expected {expected}, {beats} beats")
        assert len(ends) == keys // group
        bound = tb.passes * max(h, cfg.ROWS * cfg.KG_TOK // 2)
        # A bus of few bytes can need longer for the rows of a group, and their latency shows.
        assert max(gaps) <= max(bound, beats + 16)
        # A shorter group ends before the rows of the one after the next can be there.
        if expected >= max(16 * group, beats + 16):
            assert gaps == {expected}
            exact[group] += 1
            # From the second group to the last one the array always multiplies, or the drain is
            # the slower one and it stalls.
            work, busy = tb.passes * h, tb.at["busy"]
            seen = {n: sum(busy[work] <= c < busy[-work] for c in tb.at[n])
                    for n in ("stall", "starve")}
            if expected == work:
                assert seen == {"stall": 0, "starve": 0}
            else:
                assert seen["stall"] > 0
        assert tb.counts["busy"] == len(ends) * tb.passes * h
    return exact


@cocotb.test()
async def rate(dut):
    """Groups of KG_TOK tokens; larger ones, which may be too short to be exact, too."""
    tb = TB(dut)
    exact = await rates(tb)
    assert exact[tb.cfg.KG_TOK] >= 2


@cocotb.test()
async def rate_packed(dut):
    """Groups of both sizes."""
    tb = TB(dut)
    exact = await rates(tb)
    assert exact[tb.cfg.KG_TOK] >= 2 and exact[2 * tb.cfg.KG_TOK] >= 1


@cocotb.test()
async def latencies(dut):
    """Cycles from a phase to its offer to fetch: of known keys, and with the weights of a head."""
    tb = TB(dut)
    cfg = tb.cfg
    for d, h in ((8, 8), (16, 24)):
        tb.new_job(d, h, 0, cfg.KV_SLOTS, vb_load=False)
        await tb.reset()
        p_valid, u_valid = reader(dut.p_valid), reader(dut.u_valid)
        tile = block_tiles(0, 1, cfg.KV_SLOTS, cfg.KV_SLOTS)[0]
        counts = [0, cfg.KV_SLOTS, 0, 1, 3, cfg.KV_SLOTS]
        for i, n in enumerate(counts):
            for phase in tb.phases_of_tile(0, tile, range(n), i == 0, False, whole=True):
                tb.ask(phase)
            while p_valid() != "1":
                await RisingEdge(tb.clk)
            start = tb.cycle
            while u_valid() != "1":
                await RisingEdge(tb.clk)
            taken = tb.cycle - start
            dut._log.info(f"d {d} h {h} phase of {n} keys: {taken} cycles to u_valid")
            if i == 0:
                weights = tb.passes * h * 2 * cfg.ROWS // tb.bus
                assert taken == weights + 7
            elif i > 1:
                assert taken == (3 if n == 0 else 6 + 2 * n)
            while any(tb.pending.values()) or int(dut.idle.value) == 0:
                await RisingEdge(tb.clk)
            for _ in range(8):
                await RisingEdge(tb.clk)


@cocotb.test()
async def starves(dut):
    """ev_starve: from a lone token's entry into the queue until the array begins, as much longer as
    memory is slower. Weights and phases without keys cost none."""
    tb = TB(dut)
    tile = block_tiles(0, 1, tb.cfg.BC_MAX, tb.cfg.BC_MAX)[0]
    for mode in (0, 2):
        starved = []
        for slower in (0, 1, 50):
            tb.speed = Speed(latency=(1 + slower, 1 + slower))
            tb.new_job(16, 8, mode, tb.cfg.BC_MAX, 2)
            await tb.reset()
            for head, chosen in ((0, []), (1, [3])):
                for phase in tb.phases_of_tile(head, tile, chosen, True, True):
                    tb.ask(phase)
            await tb.finish()
            cycles = tb.at["starve"]
            # Elements are multiplied two cycles after they were asked for.
            assert cycles == list(range(cycles[0], tb.at["busy"][0] - 2))
            starved.append(len(cycles) - slower)
        # The table row is asked for three cycles after the row of X.
        beats = max(tb.cfg.beats16(8), 3) + tb.beats if mode else tb.cfg.beats16(8)
        assert starved == [5 + beats] * 3


TESTS = ["jobs", "cached", "mixed", "at_once", "many_keys", "extremes", "transparent", "abort",
         "rate"]


@pytest.mark.slow_on("icarus", "small")
@pytest.mark.configs("tiny", "small")
@pytest.mark.parametrize("case", [*TESTS, "wires", "latencies", "starves", "last_beats"])
def test_kvgen(sim, config, seed, case):
    run("kvgen", __name__, config.pick(*NAMES), sim, testcase=case, seed=seed)


@pytest.mark.sims("verilator")
@pytest.mark.parametrize("case", TESTS)
@pytest.mark.parametrize("shape", SHAPES)
def test_shapes(sim, seed, shape, case):
    run("kvgen", __name__, SHAPES[shape], sim, testcase=case, seed=seed)


def test_shape_icarus(seed):
    run("kvgen", __name__, SHAPES["wide"], "icarus", testcase="jobs", seed=seed)


def test_packed_icarus(seed):
    run("kvgen", __name__, PACKED["two"], "icarus", testcase="packed", seed=seed)


@pytest.mark.sims("verilator")
@pytest.mark.parametrize("case", [*TESTS, "packed", "rate_packed"])
@pytest.mark.parametrize("shape", PACKED)
def test_packed(sim, seed, shape, case):
    run("kvgen", __name__, PACKED[shape], sim, testcase=case, seed=seed)


@pytest.mark.parametrize("change", [{"KG_TOK": 3}, {"KG_TOK": 2, "ROWS": 4}, {"KV_BUFS": 5},
                                    {"KV_SLOTS": 4}, {"H_MAX": 100}])
def test_illegal_parameters_are_refused(sim, change):
    tiny = {"ROWS": 4, "D_MAX": 16, "BC_MAX": 16, "KV_SLOTS": 8, "BUS_BYTES": 8, "KEYS_MAX": 256,
            "H_MAX": 64, "KG_TOK": 1, "WGT_WORDS": 512}
    with pytest.raises(BuildError, match="illegal_parameter_kvgen"):
        build("kvgen", {**tiny, **change}, sim)
