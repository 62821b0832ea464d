# SPDX-License-Identifier: Apache-2.0
"""The KVGEN stage between stand-ins of its neighbours: every item and beat
that the units get, memory and traffic, against models/layer.py and models/kvgen.py."""

import random

import cocotb
import pytest
from cocotb.triggers import RisingEdge

from models.spec.configs import CONFIGS
from tb.common.scoreboard import same
from tb.common.signals import reader
from tb.kvgen.bench import TB, Speed
from tb.runner import BuildError, build, run

NAMES = ("ROWS", "D_MAX", "BUS_BYTES", "KEYS_MAX", "PLACES", "LAND", "LAND_BEATS", "H_MAX",
         "KG_TOK", "WGT_WORDS")
# Packed groups, beats that d does not fill, places that are not a power of two, wide means; the
# other ends of the parameters.
SHAPES = {
    "wide": {"ROWS": 32, "D_MAX": 64, "BUS_BYTES": 32, "KEYS_MAX": 16384, "PLACES": 2, "LAND": 32,
             "LAND_BEATS": 64, "H_MAX": 128, "KG_TOK": 1, "WGT_WORDS": 256, "ADDR_W": 48,
             "VM_W": 5},
    "flat": {"ROWS": 64, "D_MAX": 16, "BUS_BYTES": 8, "KEYS_MAX": 64, "PLACES": 8, "LAND": 4,
             "LAND_BEATS": 16, "H_MAX": 128, "KG_TOK": 4, "WGT_WORDS": 128, "ADDR_W": 32,
             "VM_W": 16},
}


def h_legal(tb, d, largest=64):
    """A random model dimension whose weights fit."""
    passes = -(-2 * d // tb.cfg.ROWS)
    top = min(largest, tb.cfg.H_MAX, tb.cfg.WGT_WORDS // passes)
    return 8 * random.randint(1, top // 8)


def compared(tb):
    """Numbers of elements that the units got."""
    return tb.board.compared.get("vectors", 0)


@cocotb.test()
async def read(dut):
    """Keys and means that exist: any order of fetch, any d, slow neighbours; with and without
    means. The projection rests."""
    tb = TB(dut)
    dims = list(range(8, tb.cfg.D_MAX + 1, 8))
    for i in range(6):
        tb.speed = Speed() if i == 0 else Speed.slow()
        d = dims[-1] if i == 1 else random.choice(dims)
        tb.new_job(d, 8, random.randrange(3), random.randint(10, 60), 2, generate=False,
                   mean=i != 2)
        await tb.start(i == 0)
        tb.ask_random(2)
        await tb.finish()
        assert not tb.at["busy"] and tb.at["reused"]
    assert compared(tb) > 1000


@cocotb.test()
async def read_rate(dut):
    """Memory that gives a beat a cycle, as late as the places can hide: so does the stage, keys and
    ends without a gap, also where every key is looked up."""
    tb = TB(dut)
    tb.in_order = True
    exact = 0
    cases = [(d, generate) for d in (8, 16, tb.cfg.D_MAX) for generate in (False, True)]
    for i, (d, generate) in enumerate(cases):
        tb.new_job(d, 8, 0, 64, generate=generate, vb_load=generate, have=1.0, mean=not generate)
        # A place is taken from its request until its last beat is sent; an end has half a place.
        hidden = (tb.places - 2) * tb.beats - 8
        latency = max(2, min(hidden, 20))
        tb.speed = Speed(gather_latency=(latency, latency))
        await tb.start(i == 0)
        tb.begin()
        tb.ask(0, range(64))
        for block in range(tb.job.blocks):
            tb.end(0, block)
        tb.finish_head()
        await tb.finish()
        at = tb.units.at
        total = (2 * 64 + tb.job.blocks) * tb.beats
        assert len(at) == total and not tb.at["gen"]
        dut._log.info("d %d: %d beats in %d cycles, latency %d, %d places, look-ups: %d", d, total,
                      at[-1] - at[0] + 1, latency, tb.places, generate)
        if latency <= hidden:
            assert at[-1] - at[0] + 1 == total
            exact += 1
    # Four places of the smallest vectors are too few.
    assert exact >= 2 or tb.p["LAND"] == 4, f"only {exact} runs without a gap"


@cocotb.test()
async def read_latency(dut):
    """An item to its request to fetch; the last beat written to the units."""
    tb = TB(dut)
    tb.new_job(16, 8, 0, 8, generate=False)
    await tb.start(True)
    p_valid, u_valid = reader(dut.p_valid), reader(dut.u_valid)
    tb.ask(0, [3])
    while p_valid() != "1":
        await RisingEdge(tb.clk)
    start = tb.cycle
    while u_valid() != "1":
        await RisingEdge(tb.clk)
    same("kvgen cycles to the request", 2, tb.cycle - start)
    await tb.finish()
    # The beat is driven in the cycle after it was decided.
    same("kvgen cycles to the beat", 3, tb.units.at[0] - tb.gather.last - 1)


@cocotb.test()
async def full(dut):
    """Units that stop: as many keys are asked for as there are places, and all of them leave
    without a gap when the units go on."""
    tb = TB(dut)
    for i, d in enumerate((8, 16, tb.cfg.D_MAX, tb.cfg.D_MAX - 8)):
        tb.new_job(d, 8, 0, 64, generate=False)
        await tb.start(i == 0)
        tb.units.blocked = True
        keys = random.sample(range(64), 20 + tb.places)
        tb.ask(0, keys)
        for _ in range(40 + 4 * tb.places * tb.beats):
            await RisingEdge(tb.clk)
        same("kvgen keys asked for", tb.places, tb.gather.taken)
        tb.units.blocked = False
        await tb.finish()
        at = tb.units.at[: 2 * tb.places * tb.beats]
        same("kvgen cycles of the beats", len(at), at[-1] - at[0] + 1)


@cocotb.test()
async def jobs(dut):
    """Random jobs that make keys, of many head dimensions, in all rope modes, slow neighbours; keys
    made and read, means from X."""
    tb = TB(dut)
    dims = list(range(8, tb.cfg.D_MAX + 1, 8))
    cases = [(d, m) for d in dims for m in (0, 1, 2)]
    if len(cases) > 6:
        cases = [(8, random.randrange(3)), (24, 2), (dims[-1], 2), (random.choice(dims), 1),
                 (random.choice(dims), 0)]
    random.shuffle(cases)
    for i, (d, mode) in enumerate(cases):
        tb.speed = Speed.slow()
        # Few keys may lie very far apart.
        keys = random.randint(1, 3) if i % 3 == 2 else random.randint(8, 40)
        tb.new_job(d, h_legal(tb, d), mode, keys, random.randint(1, 3),
                   mean=random.random() < 0.8, shift=random.choice([None, None, 0, 30, 40]))
        await tb.start(i == 0 or random.random() < 0.3)
        tb.ask_random(2)
        await tb.finish()
    assert compared(tb) > 2000 and tb.heads_done == tb.job.heads


@cocotb.test()
async def loaded(dut):
    """Heads that load their bitmap make only what is missing; then the same job goes on twice."""
    tb = TB(dut, Speed.slow())
    d = 8 * random.randint(1, tb.cfg.D_MAX // 8)
    keys = random.randint(30, min(150, tb.cfg.KEYS_MAX))
    tb.new_job(d, h_legal(tb, d, 16), random.randrange(3), keys, 3, vb_load=True, have=0.5)
    for turn in range(3):
        if turn:
            tb.continue_job()
        await tb.start(turn == 0)
        tb.ask_random(1, share=(0.2, 0.7, 1.0)[turn])
        await tb.finish()
    assert all(have.all() for have in tb.job.have) and tb.at["reused"]


@cocotb.test()
async def at_once(dut):
    """A key is wanted again right behind its first use: it is read when memory has it, and the
    group of its token does not wait for more."""
    tb = TB(dut, Speed(answer=(1, 60)))
    for i in range(4):
        tb.new_job(random.choice([8, 16, tb.cfg.D_MAX]), 8, random.randrange(3), 24)
        await tb.start(i == 0)
        tb.begin()
        for key in range(24):
            for _ in range(random.randint(1, 3)):
                tb.ask(0, [key])
        tb.finish_head()
        await tb.finish()
        assert len(tb.at["reused"]) == tb.read_keys > 0


@cocotb.test()
async def crowded(dut):
    """Made and read keys mixed, more than places, units that pause for long: nothing waits in a
    circle, and every beat is right."""
    tb = TB(dut)
    for i in range(6):
        tb.speed = Speed(take=(0.1, 0.9, 1.0)[i % 3], fill=(0.3, 1.0)[i % 2], answer=(1, 80),
                         hold=(0, 300)[i // 3], pause=(0, 400)[i % 2],
                         gather_latency=(2, random.choice([5, 60])))
        d = random.choice([8, 16, tb.cfg.D_MAX])
        tb.new_job(d, 8, random.randrange(3), min(64, tb.cfg.KEYS_MAX), vb_load=True, have=0.6)
        await tb.start(i == 0)
        tb.ask_random(1, share=1.0)
        await tb.finish()


@cocotb.test()
async def most_keys(dut):
    """As many keys as there may be, some of them used, the last one too: made, and read again."""
    tb = TB(dut)
    keys = tb.cfg.KEYS_MAX
    tb.new_job(8, 8, 0, keys, vb_load=True, have=0.5)
    await tb.start(True)
    tb.begin()
    chosen = random.sample(range(keys - 1), 20)
    tb.ask(0, [*chosen, keys - 1])
    tb.ask(0, chosen[:5])
    tb.finish_head()
    await tb.finish()
    assert tb.at["gen"] and tb.read_keys


@cocotb.test()
async def extremes(dut):
    """The largest sums that there are, with shifts that keep, and that saturate; means at both ends
    of their range."""
    tb = TB(dut)
    d = 8
    passes = -(-2 * d // tb.cfg.ROWS)
    h = min(tb.cfg.H_MAX, tb.cfg.WGT_WORDS // passes // 8 * 8)
    top = 30 + (h - 1).bit_length()
    ends = set()
    for i, shift in enumerate((top - 14, top - 16, top - 15)):
        tb.new_job(d, h, random.randrange(3), 8, shift=shift, extreme=True, blocks=6)
        await tb.start(i == 0)
        tb.begin()
        tb.ask(0, range(8))
        for block in range(6):
            tb.end(0, block)
        tb.finish_head()
        await tb.finish()
        ends |= {int(tb.job.means[0].min()), int(tb.job.means[0].max())}
    assert {-32768, 32768 - (1 << 16 - tb.cfg.VM_W)} <= ends


@cocotb.test()
async def groups(dut):
    """Fast neighbours: tokens fill whole groups, of keys and of means, and the array always
    works or waits for the drain."""
    tb = TB(dut)
    for i, (d, h) in enumerate(((8, 8), (8, 64), (16, 64), (tb.cfg.D_MAX, 40))):
        if h * -(-2 * d // tb.cfg.ROWS) > tb.cfg.WGT_WORDS:
            continue
        tb.new_job(d, h, random.randrange(3), 32, blocks=4 * tb.cfg.KG_TOK)
        await tb.start(i == 0)
        tb.begin()
        tb.ask(0, range(32))
        for block in range(tb.job.blocks):
            tb.end(0, block)
        tb.finish_head()
        await tb.finish()
        tokens, work = 32 + tb.job.blocks, tb.passes * h
        least = -(-tokens // tb.group)
        n = len(tb.at["busy"]) // work
        dut._log.info("d %d h %d: %d tokens in %d groups of up to %d, %d cycles, %d places", d, h,
                      tokens, n, tb.group, tb.at["busy"][-1] - tb.at["busy"][0] + 1, tb.places)
        if tb.places >= 3 * tb.group and work >= 16 * tb.group:
            assert n <= least + 1


@cocotb.test()
async def kinds(dut):
    """Jobs that read and jobs that make follow each other without rst."""
    tb = TB(dut)
    for i, generate in enumerate((False, True, False, True)):
        tb.speed = Speed.slow()
        d = random.choice([8, 16, tb.cfg.D_MAX])
        tb.new_job(d, 8, 2, 30, 2, generate=generate)
        await tb.start(i == 0)
        before = compared(tb)
        tb.ask_random(2)
        await tb.finish()
        assert compared(tb) > before


@cocotb.test()
async def abort(dut):
    """rst at random times; the job after it is not disturbed."""
    tb = TB(dut)
    for i in range(6):
        tb.speed = Speed.slow()
        tb.new_job(random.choice([8, 16]), h_legal(tb, 16), random.randrange(3), 40, 2,
                   generate=i % 3 != 2)
        await tb.start(True)
        tb.ask_random(1)
        for _ in range(random.choice([30, 300, 1500, 3000])):
            await RisingEdge(tb.clk)
        dut.rst.value = 1
        for _ in range(2):
            await RisingEdge(tb.clk)
        tb.speed = Speed.slow()
        tb.new_job(8, 16, random.randrange(3), 20, 2)
        await tb.start(True)
        tb.ask_random(1)
        await tb.finish()
    assert compared(tb) > 500


@cocotb.test()
async def reset_of_one_cycle(dut):
    """rst for one cycle while vectors that were made leave; the job after it is not disturbed."""
    tb, edge = TB(dut), RisingEdge(dut.clk)
    for _ in range(8):
        tb.new_job(16, h_legal(tb, 16), random.randrange(3), 40, 1)
        await tb.start(True)
        tb.ask_random(1, 1.0)
        beats = random.randint(1, 4)
        for _ in range(20_000):
            await edge
            beats -= str(dut.wb_valid.value) == str(dut.wb_ready.value) == "1"
            if not beats:
                break
        same("kvgen beats to come", 0, beats)
        dut.rst.value = 1
        await edge
        dut.rst.value = 0
        tb.new_job(8, 16, random.randrange(3), 20, 2)
        tb.configure()
        # Sources drop what is queued at an edge of the reset.
        await edge
        tb.ask_random(1)
        await tb.finish()
    assert compared(tb) > 500


@pytest.mark.slow_on("icarus")
@pytest.mark.configs("tiny", "small")
def test_sofa_kvgen(sim, config, seed):
    run("sofa_kvgen", __name__, config.pick(*NAMES), sim, seed=seed)


@pytest.mark.sims("verilator")
@pytest.mark.parametrize("shape", SHAPES)
def test_shapes(sim, seed, shape):
    run("sofa_kvgen", __name__, SHAPES[shape], sim, seed=seed)


@pytest.mark.parametrize("change", [{"KG_TOK": 3}, {"KG_TOK": 2}, {"PLACES": 3}, {"LAND": 12},
                                    {"LAND_BEATS": 8}, {"H_MAX": 100}, {"VM_W": 3}])
def test_illegal_parameters_are_refused(sim, change):
    with pytest.raises(BuildError, match="illegal_parameter_"):
        build("sofa_kvgen", {**CONFIGS["tiny"].pick(*NAMES), **change}, sim)


@pytest.mark.parametrize("module,change", [
    ("mac", {"ACC_W": 32}), ("requant", {"ACC_W": 46}), ("array", {"ROWS": 12}),
    ("load", {"KG_TOK": 3}), ("load", {"KG_TOK": 2, "PLACES": 8}), ("drain", {"D_MAX": 24}),
    ("order", {"PLACES": 6}), ("out", {"ADDR_W": 20}), ("wb", {"OPEN": 300}),
    ("valid", {"KEYS_MAX": 32}), ("wload", {"ROWS": 4}), ("address", {"KEY_W": 5})])
def test_illegal_parameters_of_parts_are_refused(sim, module, change):
    with pytest.raises(BuildError, match=f"illegal_parameter_sofa_kvgen_{module}"):
        build(f"sofa_kvgen_{module}", change, sim)
