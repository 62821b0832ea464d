# SPDX-License-Identifier: Apache-2.0
"""sufa: random and hostile lists, several blocks and tiles, every tap and output bit for bit."""

import cocotb
import numpy as np
import pytest

from tb.runner import BuildError, build, run
from tb.runner import seed as sim_seed
from tb.sufa.bench import Bench, BlockJob, TileJob, lists_from, random_lists

# Scale and shift that spread the z of random int16 data over some ten powers of two.
SCALE = (3000, 21)


def random_block(bench, d, shapes, *, rows=None, bits=16, density=1.0, oaddr=0):
    """A block of random data; shapes: (n, quota) of each tile."""
    cfg, rng = bench.cfg, bench.np_rng
    rows = cfg.ROWS if rows is None else rows
    top = 1 << (bits - 1)
    tiles = []
    for n, quota in shapes:
        k, v = (rng.integers(-top, top, (n, d)) for _ in range(2))
        tiles.append(TileJob(k, v, random_lists(bench.rng, rows, cfg.ROWS, n, quota, density)))
    return BlockJob(rng.integers(-top, top, (rows, d)), tiles, oaddr=oaddr)


def random_shapes(bench, tiles, most=None):
    """Shapes of some tiles: 1..BC_MAX slots, quotas 0..most, odd ones included."""
    cfg = bench.cfg
    most = most or cfg.BC_MAX
    return [(bench.rng.randint(1, cfg.BC_MAX), bench.rng.randint(0, most)) for _ in range(tiles)]


def new_bench(dut):
    return Bench(dut, sim_seed())


def finish(bench, blocks):
    """Every tap was compared, and as many outputs as there are."""
    d = blocks[0].q.shape[1]
    bench.board.finish("exp", "o'", "l", "r", "out")
    assert bench.board.compared["out"] == len(blocks) * d * bench.cfg.ROWS


@cocotb.test()
async def random_jobs(dut):
    """Blocks of random shape at several d, with idle, backpressure and late V crossed."""
    bench = new_bench(dut)
    await bench.reset()
    jobs = ((8, 0, 0, 0), (8, 0.3, 0.7, 30), (16, 0, 0.9, 0), (16, 0.5, 0, 60),
            (min(24, bench.cfg.D_MAX), 0, 0.3, 0), (bench.cfg.D_MAX, 0, 0, 0))
    for d, idle, hold, late_v in jobs:
        blocks = [random_block(bench, d, random_shapes(bench, tiles, 8),
                               rows=bench.rng.randint(1, bench.cfg.ROWS),
                               density=bench.rng.choice((1.0, 0.6)),
                               oaddr=bench.rng.getrandbits(48))
                  for tiles in (2, 1, 3)]
        # Quotas may all be zero by chance; here some steps are certain.
        blocks.append(random_block(bench, d, [(bench.cfg.BC_MAX, 7)]))
        await bench.run(blocks, d, *SCALE, idle=idle, hold=hold, late_v=late_v)
    bench.board.finish("exp", "o'", "l", "r", "out")


@cocotb.test()
async def empty_tiles_and_rows(dut):
    """Tiles without steps at every place of a block, blocks without any, rows without a key."""
    bench = new_bench(dut)
    await bench.reset()
    cfg, d = bench.cfg, 16
    n = cfg.BC_MAX
    for hold in (0, 0.9):
        blocks = [random_block(bench, d, shapes, oaddr=64 * i) for i, shapes in enumerate((
            [(n, 0)], [(n, 3)], [(n, 0), (n, 0)], [(n, 0), (n, 2)], [(n, 5), (n, 0)],
            [(n, 0), (3, 1), (n, 0), (n, 4), (n, 0), (n, 0)], [(n, 0)], [(n, 0)], [(1, 1)]))]
        # Rows that select nothing anywhere, and rows that start late.
        sparse = random_block(bench, d, [(n, 3), (n, 3), (n, 3)])
        for t, tile in enumerate(sparse.tiles):
            valid = tile.lists.valid.copy()
            valid[0] = False
            valid[1] &= t == 2
            valid[2, 0] = False
            tile.lists = lists_from(tile.lists.slots, valid, n)
        await bench.run([*blocks, sparse], d, *SCALE, hold=hold)
        assert not sparse.out[0].any() and sparse.out[1].any()
    assert bench.board.finish("exp", "o'", "l", "r", "out") > 1000


@cocotb.test()
async def hostile_orders(dut):
    """Ascending, maximum last, jumps above the guard bits, all equal, extreme values."""
    bench = new_bench(dut)
    await bench.reset()
    cfg = bench.cfg
    d, n = 8, min(cfg.BC_MAX, 12)
    rng = bench.np_rng

    def ordered(scores, q_value=256, v=None):
        """One block whose row r meets the scores (units of q_value*256 per key) in that order."""
        k = np.zeros((n, d), np.int64)
        k[:, 0] = np.resize(scores, n)
        lists = lists_from(np.tile(np.arange(n), (cfg.ROWS, 1)),
                           np.ones((cfg.ROWS, n), bool), n)
        q = np.zeros((cfg.ROWS, d), np.int64)
        q[:, 0] = np.minimum(32767, q_value * (1 + np.arange(cfg.ROWS) % 3))
        v = rng.integers(-32768, 32768, (n, d)) if v is None else v
        return BlockJob(q, [TileJob(k, v, lists)])

    full = np.ones((n, d), np.int64)
    sorts = [
        ordered(np.arange(n) * 40),                       # ascending
        ordered(np.arange(n)[::-1] * 40),                 # descending, as intended
        ordered([0] * (n - 1) + [32767]),                 # maximum last
        ordered(2 ** (np.arange(n) % 15)),                # jumps far above the guard bits
        ordered([77] * n),                                # all equal
        ordered([-32768, 32767] * (n // 2), 32767),       # from one end to the other
        ordered([-32768] * n, 32767, v=-32768 * full),    # all at the low end, V too
        ordered([32767] * n, 32767, v=32767 * full),
        ordered([5] * n, v=-32768 * full),
    ]
    updates = 0
    for scale in ((1, 0), (64, 0), (65535, 20), (0, 0)):
        stats = await bench.run([BlockJob(b.q, b.tiles) for b in sorts], d, *scale)
        updates += stats["maxupd"]
    assert updates > 8 * cfg.ROWS

    # Longest vectors of the largest products.
    d = cfg.D_MAX
    extreme = random_block(bench, d, [(n, 4), (n, 3)])
    for tile in extreme.tiles:
        tile.k = rng.choice([-32768, 32767], (n, d))
        tile.v = rng.choice([-32768, 32767], (n, d))
    extreme.q = rng.choice([-32768, 32767], (cfg.ROWS, d))
    lowest = random_block(bench, d, [(n, 2)])
    lowest.q[:] = lowest.tiles[0].k[:] = -32768
    for scale in ((65535, 20), (65535, 47)):
        await bench.run([BlockJob(b.q, b.tiles) for b in (extreme, lowest)], d, *scale)
    bench.board.finish("exp", "o'", "l", "r", "out")


@cocotb.test()
async def steps_back_to_back(dut):
    """QK works in every cycle of a block and needs exactly d cycles a step."""
    bench = new_bench(dut)
    await bench.reset()
    cfg = bench.cfg
    for d in sorted({cfg.D_MAX, 2 * cfg.EXP_ROWS if cfg.EXP_ROWS > 8 else cfg.D_MAX}):
        # Tiles with as many steps as their K beats need cycles, and odd numbers of them.
        per_tile = -(-cfg.BC_MAX * cfg.beats16(d) // d) + 1
        block = random_block(bench, d, [(cfg.BC_MAX, 2 * per_tile + extra)
                                        for extra in (0, 1, -1, 2)])
        stats = await bench.run([block], d, *SCALE)
        steps, busy = stats["steps"], stats["busy"]
        assert len(busy) == steps * d
        assert busy[-1] - busy[0] + 1 == steps * d, f"{busy[-1] - busy[0] + 1} != {steps} * {d}"
        # SV runs a step and the exp latency behind, then flushes.
        tail = stats["out"][0] - busy[-1]
        assert tail == 2 * cfg.EXP_ROWS + max(d, cfg.DIV_ROWS + 16) + d + 22, tail
        dut._log.info("d %d: %d steps, QK %d cycles, output ends %d later", d, steps,
                      len(busy), tail)
    bench.board.finish("exp", "out")


@cocotb.test()
async def short_vectors(dut):
    """Where the exp units are the bound, a step takes 2*EXP_ROWS cycles, at most 4 more for
    groups so small that their own latency counts."""
    bench = new_bench(dut)
    await bench.reset()
    cfg = bench.cfg
    for d in (8, 16, 24):
        if d > cfg.D_MAX:
            continue
        stats = await bench.run([random_block(bench, d, [(16, 16)])], d, *SCALE)
        gaps = np.diff(stats["busy"][::d])
        dut._log.info("d %d: steps start %s cycles apart", d, gaps)
        slack = 0 if cfg.EXP_ROWS >= 16 else 4
        assert len(gaps) == 7 and gaps.max() <= max(d, 2 * cfg.EXP_ROWS + slack)
    bench.board.finish("exp", "out")


@cocotb.test()
async def blocks_back_to_back(dut):
    """Blocks follow each other as fast as SV and flush can: (steps + 1)*d + 3 cycles, more only
    where the last step is too short to hide the dividers."""
    bench = new_bench(dut)
    await bench.reset()
    cfg = bench.cfg
    d = cfg.D_MAX
    per_tile = -(-cfg.BC_MAX * cfg.beats16(d) // d) + 1
    blocks = [random_block(bench, d, [(cfg.BC_MAX, 2 * per_tile)] * 2) for _ in range(4)]
    stats = await bench.run(blocks, d, *SCALE)
    steps = 2 * per_tile
    gaps = np.diff(stats["out"])
    dut._log.info("d %d: %d steps a block, blocks end %s cycles apart", d, steps, gaps)
    assert (gaps == (steps - 1) * d + max(d, cfg.DIV_ROWS + 16) + d + 3).all()
    finish(bench, blocks)


@cocotb.test()
async def reset_in_the_middle(dut):
    """A job that is dropped by rst at any time leaves nothing behind."""
    bench = new_bench(dut)
    cfg = bench.cfg
    for _ in range(4):
        await bench.reset()
        d = cfg.D_MAX
        blocks = [random_block(bench, d, random_shapes(bench, 2, 6)) for _ in range(2)]
        task = cocotb.start_soon(bench.run(blocks, d, *SCALE))
        for _ in range(bench.rng.randint(20, 12 * d)):
            if task.done():
                break
            await cocotb.triggers.RisingEdge(dut.clk)
        task.cancel()
        for name, put in bench.put.items():
            if name.endswith(("valid", "commit")):
                put(0)
        await bench.reset()
        bench.in_block = False
        blocks = [random_block(bench, d, [(cfg.BC_MAX, 3)], oaddr=1)]
        await bench.run(blocks, d, *SCALE)
    assert bench.board.compared["out"] >= 4 * d * cfg.ROWS


def sufa_parameters(config, **extra):
    """Parameters of the stage in a configuration of scripts/configs.py."""
    return config.pick("ROWS", "D_MAX", "BC_MAX", "BUS_BYTES", "KEYS_MAX", **extra)


@pytest.mark.configs("tiny", "small")
def test_sufa(sim, config, seed):
    run("sufa", __name__, sufa_parameters(config), sim, seed=seed)


@pytest.mark.slow
@pytest.mark.configs("paper")
@pytest.mark.sims("verilator")
def test_sufa_paper(sim, config, seed):
    run("sufa", __name__, sufa_parameters(config), sim, seed=seed,
        testcase=["random_jobs", "empty_tiles_and_rows", "steps_back_to_back",
                  "blocks_back_to_back"])


@pytest.mark.parametrize("extra", [
    {"EXP_ROWS": 2, "DIV_ROWS": 2}, {"EXP_ROWS": 2, "DIV_ROWS": 4, "KV_BUFS": 3},
    {"ROWS": 8, "EXP_ROWS": 4, "DIV_ROWS": 8, "KV_BUFS": 4, "KEYS_MAX": 65536, "TAPS": 1},
])
def test_other_shares(extra, seed):
    """Other numbers of rows for each exp unit and divider, and of K/V buffers."""
    p = {"ROWS": 4, "D_MAX": 16, "BC_MAX": 16, "BUS_BYTES": 8, "KEYS_MAX": 256, **extra}
    run("sufa", __name__, p, "verilator", seed=seed,
        testcase=["random_jobs", "empty_tiles_and_rows", "steps_back_to_back"])


def test_builds_without_taps(sim):
    build("sufa", {"ROWS": 8, "D_MAX": 16, "BC_MAX": 16, "BUS_BYTES": 8, "KEYS_MAX": 256,
                   "EXP_ROWS": 2, "DIV_ROWS": 4, "TAPS": 0}, sim)


@pytest.mark.parametrize("bad", [{"EXP_ROWS": 1}, {"DIV_ROWS": 2}, {"ROWS": 2}, {"D_MAX": 8},
                                 {"BC_MAX": 24}])
def test_illegal_parameters_are_refused(sim, bad):
    p = {"ROWS": 4, "D_MAX": 16, "BC_MAX": 16, "BUS_BYTES": 8, "KEYS_MAX": 256, **bad}
    with pytest.raises(BuildError, match="illegal_parameter_"):
        build("sufa", p, sim)
