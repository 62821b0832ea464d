# SPDX-License-Identifier: Apache-2.0
"""sofa_sufa_unit: pairs, flush and output of a unit against models/sufa.py, and its rates.

Every value is compared: z, p, m, dm and l of each pair in the order of issue; l, R', o' of the
flush; the beats of the output with their tags.
"""

from __future__ import annotations

import cocotb
import numpy as np
import pytest
from cocotb.triggers import RisingEdge

from models import sufa
from tb.runner import BuildError, build, run
from tb.runner import seed as sim_seed
from tb.sufa.unit_bench import Bench, Block, End, Key

SCALE = (23170, 21)


def vectors(bench, shape, spread=None):
    """Random int16, small or spread over the whole range, some of them at its ends."""
    rng = bench.np_rng
    spread = spread or int(rng.choice([300, 5000, 32767]))
    x = rng.integers(-spread, spread + 1, shape)
    ends = rng.random(shape) < 0.02
    return np.where(ends, rng.choice([-32768, 32767], shape), x)


def new_block(bench, d, place, q_place, rows=None, **options):
    """A block with random Q, scale, f and mean; f is 1 for some rows."""
    rng, one = bench.np_rng, 1 << bench.f_frac
    rows = bench.rows_u if rows is None else rows
    f = rng.integers(0, one + 1, bench.rows_u)
    f = np.where(rng.random(bench.rows_u) < 0.3, one, f)
    vm_w = int(rng.choice([4, 8, 8, 16]))
    top = 1 << (vm_w - 1)
    values = {
        "q": vectors(bench, (bench.rows_u, d)), "rows": rows,
        "scale": (int(rng.integers(1 << 14, 1 << 16)), int(rng.integers(14, 26))), "f": f,
        "mean": rng.integers(-top, top, d), "vm_w": vm_w, **options}
    return Block(place=place, q_place=q_place, **values)


def new_key(bench, d, wants, **options):
    """A random key that the rows of ``wants`` [PLACES_O, ROWS_U] want."""
    values = {"k": vectors(bench, d), "v": vectors(bench, d), **options}
    return Key(wants=np.asarray(wants, bool), **values)


def no_rows(bench):
    return np.zeros((bench.places_o, bench.rows_u), bool)


def random_program(bench, d, parts, keys, density=None):
    """Parts of some blocks in the next places, with keys for them; ends in the order of blocks, the
    last ones behind keys of the next part where places are left. Some blocks have few rows or
    none, some rows no key."""
    rng = bench.rng
    nq, no = bench.places(d)
    program, serial, late = [], 0, []
    for _ in range(parts):
        count = rng.randint(1, max(1, min(no, nq) - len(late)))
        live = []
        for _ in range(count):
            rows = bench.rows_u if rng.random() < 0.6 else rng.randint(0, bench.rows_u)
            live.append(new_block(bench, d, serial % no, serial % nq, rows))
            serial += 1
        program += live
        silent = bench.np_rng.random((bench.places_o, bench.rows_u)) < 0.1
        for n in range(rng.randint(keys // 2, keys)):
            wants, share = no_rows(bench), density or rng.choice([0.0, 0.1, 0.5, 0.9, 1.0])
            for block in live:
                row = bench.np_rng.random(bench.rows_u) < share
                wants[block.place] = row & (np.arange(bench.rows_u) < block.rows)
            program.append(new_key(bench, d, wants & ~silent))
            if late and n == keys // 4:
                program += late
                late = []
        program += late
        ends = [End(block) for block in live]
        cut = rng.randint(0, len(ends)) if len(live) < min(no, nq) else len(ends)
        program += ends[:cut]
        late = ends[cut:]
    return program + late


def finish(bench):
    assert bench.board.finish("pairs", "l", "r", "o'", "out") > 100


@cocotb.test()
async def one_pair(dut):
    """One row, one key, one beat."""
    bench = Bench(dut, sim_seed())
    await bench.reset()
    d = max(8, bench.w)
    block = new_block(bench, d, 0, 1, 1)
    wants = no_rows(bench)
    wants[0, 0] = True
    stats = await bench.run([block, new_key(bench, d, wants), End(block)], d)
    dut._log.info("pair %s, output %s", stats["busy"], stats["out"])
    assert bench.board.finish("pairs", "l", "r", "o'", "out") >= 10 + 2 * d


@cocotb.test()
async def random_programs(dut):
    """Random d, keys, masks, several bands in the same places; idle writers, slow receiver."""
    bench = Bench(dut, sim_seed())
    await bench.reset()
    sizes = sorted({8, 2 * bench.w, bench.d_max, bench.rng.randrange(8, bench.d_max + 1, 8)})
    overlap = 0
    for d in sizes:
        for idle, hold in ((0, 0), (0.5, 0), (0, 0.7), (0.3, 0.9)):
            program = random_program(bench, d, 4, 12 if d < bench.d_max else 6)
            stats = await bench.run(program, d, idle=idle, hold=hold)
            overlap += stats["overlap"]
    assert overlap > 0, "no pair was computed beside a flush"
    assert bench.early > 0, "no Q came before its place of O was free"
    finish(bench)


def dense_keys(bench, d, block, n, rows, **options):
    """n keys that the first rows of a block want."""
    wants = no_rows(bench)
    wants[block.place, :rows] = True
    return [new_key(bench, d, wants, **options) for _ in range(n)]


def one_key_that_leaves(rest, cfg):
    """(score, values of v): with a single key of that score, in log2 units, o' * R of these values
    is ``rest`` modulo 2^15."""
    v = np.arange(-32768, 32768)
    for score in range(1024):
        state = sufa.start(1, v.size)
        sufa.keys(state, np.array([[256]]), np.array([[score]]), v[None], np.array([[True]]), 1, 0,
                  cfg)
        _, o, r = sufa.normalised(state, cfg)
        values = v[o[0] * r[0] % 32768 == rest]
        if values.size:
            return score, values
    raise AssertionError(f"no key leaves {rest}")


@cocotb.test()
async def extremes(dut):
    """Ends of q, k, v, m, f and mean; scores that rise, fall, jump; saturated output."""
    bench = Bench(dut, sim_seed())
    await bench.reset()
    rng, one, rows = bench.np_rng, 1 << bench.f_frac, bench.rows_u
    n = 12

    def ordered(scores, scale, d, v=None, f=None, mean=0, q_value=256):
        """Block whose row r meets the scores (units of q_value*256 a key), in that order."""
        q = np.zeros((rows, d), np.int64)
        q[:, 0] = np.minimum(32767, q_value * (1 + np.arange(rows) % 3))
        f = rng.integers(0, one + 1, rows) if f is None else np.full(rows, f)
        block = new_block(bench, d, 0, 0, q=q, scale=scale, f=f, mean=np.full(d, mean), vm_w=8)
        keys = dense_keys(bench, d, block, n, rows)
        for key, score in zip(keys, np.resize(scores, n), strict=True):
            key.k = np.zeros(d, np.int64)
            key.k[0] = score
            if v is not None:
                key.v = np.full(d, v)
        return [block, *keys, End(block)]

    updates = 0
    for scale in ((1, 0), (64, 0), (65535, 20), (65535, 47), (0, 0)):
        program = []
        for d in (8,):
            for scores in (np.arange(n) * 40, np.arange(n)[::-1] * 40, [0] * (n - 1) + [32767],
                           2 ** (np.arange(n) % 15), [77] * n, [-32768, 32767]):
                program += ordered(scores, scale, d)
            program += ordered([-32768, 32767], scale, d, q_value=32767)
            program += ordered([32767], scale, d, 32767, one, 0)
            program += ordered([-32768], scale, d, -32768, one - 1, -128, 32767)
            # The rounded reciprocal of the smallest sum overshoots: the output saturates.
            program += ordered([5], scale, d, -32768, one, -128)
            program += ordered([5], scale, d, 32767, one // 2, 127)
            program += ordered([5], scale, d, -32768, 0, -128)
        updates += (await bench.run(program, d))["maxupd"]
    assert updates > 8 * rows

    # o' beyond 32767: every product with a weight up to 128 is rounded up a little, so that o grows
    # faster than l; l is just below a power of two.
    small = next(z for z in range(-8 * 1024, 0)
                 if sufa.weight(np.int64(z), np.int64(1), bench.cfg) == 127)
    scores = [0, *[-7 * 1024] * 895, small]
    block = new_block(bench, 8, 0, 0, q=np.full((rows, 8), 256), scale=(1, 0),
                      f=np.full(rows, one), mean=np.zeros(8, np.int64))
    keys = dense_keys(bench, 8, block, len(scores), 1, v=np.full(8, 32767))
    for key, score in zip(keys, scores, strict=True):
        key.k = np.zeros(8, np.int64)
        key.k[0] = score
    await bench.run([block, *keys, End(block)], 8)
    assert block.trace.l_final[0] == (1 << 17) - 1 and (block.trace.o_final[0] == 32767).all()

    # l beyond half of its range, by weights that are the largest; o falls with each of them.
    scores = [0, *[2047] * (bench.keys_max // 2 + 4)]
    block = new_block(bench, 8, 0, 0, 1, q=np.full((rows, 8), 256), scale=(1, 0))
    keys = dense_keys(bench, 8, block, len(scores), 1, v=np.full(8, -32768))
    for key, score in zip(keys, scores, strict=True):
        key.k = np.zeros(8, np.int64)
        key.k[0] = score
    await bench.run([block, *keys, End(block)], 8)
    assert block.trace.l_final[0] >> (bench.l_w - 1) == 1

    # Output exactly at the half, and one below it.
    for rest in (16383, 16384):
        score, values = one_key_that_leaves(rest, bench.cfg)
        block = new_block(bench, 8, 0, 0, q=np.full((rows, 8), 256), scale=(1, 0),
                          f=np.full(rows, one), mean=np.zeros(8, np.int64))
        key, = dense_keys(bench, 8, block, 1, rows, k=np.eye(8, dtype=np.int64)[0] * score,
                          v=np.resize(values, 8))
        await bench.run([block, key, End(block)], 8)

    # Longest vectors of the largest products.
    d = bench.d_max
    for scale in ((65535, 20), (65535, 47), (65535, 0)):
        ends = [rng.choice([-32768, 32767], (3, rows, d)), np.full((3, rows, d), -32768)]
        for q, k, v in ends:
            block = new_block(bench, d, 1, 1, q=q, scale=scale)
            keys = dense_keys(bench, d, block, 4, rows)
            for i, key in enumerate(keys):
                key.k, key.v = k[i % rows], v[i % rows]
            await bench.run([block, *keys, End(block)], d)
    finish(bench)


@cocotb.test()
async def rates(dut):
    """Exact cycles: dense keys, one row that wants every key, two rows in turn, the first beat."""
    bench = Bench(dut, sim_seed())
    await bench.reset()
    rows = bench.rows_u
    for d in sorted({8, 2 * bench.w, min(4 * bench.w, bench.d_max), bench.d_max}):
        c = bench.c(d)
        block = new_block(bench, d, 0, 0)

        # All rows: every cycle serves a pair, from the first to the last.
        n = 24
        stats = await bench.run([block, *dense_keys(bench, d, block, n, rows), End(block)], d)
        busy = stats["busy"]
        assert len(busy) == n * rows * c
        # Two rows keep the unit busy when the third cycle of a row is the next one of its own.
        lost = busy[-1] - busy[0] + 1 - len(busy)
        slow = max(0, 3 - rows * c) * (n - 1) + max(0, 2 - rows) * 2 * c * n
        assert lost == slow, f"d {d}: {lost} cycles lost in {len(busy)}, expected {slow}"

        # One row takes every key: the broadcast needs 2c cycles, the row 3.
        block = new_block(bench, d, 1, 1)
        stats = await bench.run([block, *dense_keys(bench, d, block, n, 1), End(block)], d)
        gaps = np.diff(stats["busy"][::c])
        assert len(gaps) == n - 1 and (gaps == max(3, 2 * c)).all(), f"d {d}: {gaps}"

        # Two rows in turn.
        block = new_block(bench, d, 1, 0)
        keys = dense_keys(bench, d, block, n, 1)
        for key in keys[::2]:
            key.wants = np.roll(key.wants, 1, axis=1)
        stats = await bench.run([block, *keys, End(block)], d)
        gaps = np.diff(stats["busy"][::c])
        assert (gaps == 2 * c).all(), f"d {d}: {gaps}"
        dut._log.info("d %d, c %d: dense, one row and two rows as expected", d, c)

        # Flush of a block with nothing beside it, by the receiver's room and four rows under way.
        block = new_block(bench, d, 0, 0)
        stats = await bench.run([block, *dense_keys(bench, d, block, 2, rows), End(block)], d)
        first = stats["out"][0] - stats["busy"][-1]
        dut._log.info("d %d: flush of %d rows %d cycles, first beat %d after the last pair", d,
                      rows, stats["out"][-1] - stats["out"][0], first)
        tree = bench.w.bit_length() // 2
        assert first == 2 * c + 54 + 2 * tree
    bench.board.finish("pairs", "l", "r", "o'", "out")


@cocotb.test()
async def flush_beside_pairs(dut):
    """Pairs of one place go on while another is flushed to a receiver that is slow."""
    bench = Bench(dut, sim_seed())
    await bench.reset()
    for d in sorted({8, 2 * bench.w}):
        first, second = new_block(bench, d, 0, 0), new_block(bench, d, 1, 1)
        program = [first, second, *dense_keys(bench, d, first, 3, bench.rows_u), End(first)]
        program += dense_keys(bench, d, second, 40, bench.rows_u)
        # Parts of the same places again.
        third = new_block(bench, d, 0, 0)
        program += [third, *dense_keys(bench, d, third, 3, 1), End(second), End(third)]
        stats = await bench.run(program, d, hold=0.8)
        busy, c = np.array(stats["busy"]), bench.c(d)
        beats = first.rows * c
        between = ((busy > stats["out"][0]) & (busy < stats["out"][beats - 1])).sum()
        assert between >= beats, f"d {d}: {between} cycles of pairs beside the flush"
        # Rows wait 2 cycles before a row of the flush, and one for its question where c = 1. Of the
        # third block one row alone takes 3 keys.
        rows = len(stats["out"]) // c
        dut._log.info("d %d: flush of %d rows took %d cycles and made rows wait %d", d, rows,
                      stats["flush"], stats["stall"])
        assert stats["stall"] <= (2 + (c == 1)) * rows + 2 * max(0, 3 - c)
    finish(bench)


@cocotb.test()
async def queue_full_and_empty(dut):
    """The queue takes FIFO keys, or as many as its beats hold, and then waits; nothing is lost."""
    bench = Bench(dut, sim_seed())
    await bench.reset()
    for d in sorted({8, bench.d_max}):
        c = bench.c(d)
        nq, no = bench.places(d)
        count = min(nq, no)
        blocks = [new_block(bench, d, i, i) for i in range(count)]
        keys = dense_keys(bench, d, blocks[0], 3 * bench.fifo, bench.rows_u)
        for key in keys:
            key.wants[:count] = True
        # Once the queue is full, keys that nobody wants pass by between the others.
        program = keys[:2 * bench.fifo]
        for key in keys[2 * bench.fifo:]:
            program += [key, new_key(bench, d, no_rows(bench))]
        stats = await bench.run([*blocks, *program, *(End(b) for b in blocks)], d)
        # Keys that came and whose last row has not read K: the queue, the one that is
        # read from it, and two at the issue.
        ends = stats["busy"][count * bench.rows_u * c - 1::count * bench.rows_u * c]
        peak = max(i + 1 - sum(e < t for e in ends) for i, t in enumerate(stats["taken"]))
        dut._log.info("d %d: up to %d keys, waited %d cycles", d, peak, stats["full"])
        room = bench.kv_words // c
        # V stays some 20 cycles longer than K.
        least = min(bench.fifo + 3, room - (room < bench.fifo + 3 + 24 // c))
        assert stats["full"] > 0 and least <= peak <= min(bench.fifo + 3, room)
    finish(bench)


@cocotb.test()
async def reset_in_the_middle(dut):
    """A program that is dropped by rst at any time leaves nothing behind."""
    bench = Bench(dut, sim_seed())
    for _ in range(4):
        await bench.reset()
        d = 16
        task = cocotb.start_soon(bench.run(random_program(bench, d, 3, 8), d))
        for _ in range(bench.rng.randint(60, 600)):
            if task.done():
                break
            await RisingEdge(dut.clk)
        for each in (task, *bench.tasks):
            each.cancel()
        await bench.reset()
        await bench.run(random_program(bench, d, 1, 6, 0.7), d)
    assert bench.board.compared["out"] > 0 and bench.board.total > 100


@cocotb.test()
async def reset_of_one_cycle(dut):
    """rst for a single cycle, in each cycle of a program in turn: two rows, a key, their flush."""
    bench = Bench(dut, sim_seed())
    await bench.reset()
    d = min(4 * bench.w, bench.d_max)

    def program(rows):
        block = new_block(bench, d, 0, 0, rows)
        return [block, *dense_keys(bench, d, block, 1, rows), End(block)]

    cycles = (await bench.run(program(2), d))["cycles"]
    for cycle in range(cycles + 4):
        task = cocotb.start_soon(bench.run(program(2), d))
        for _ in range(cycle):
            await RisingEdge(dut.clk)
        for each in (task, *bench.tasks):
            each.cancel()
        await bench.reset(1)
        await bench.run(program(1), d)
    assert bench.board.finish("pairs", "l", "r", "o'", "out") > 100


def unit_parameters(config, **extra):
    """Parameters of the unit in a configuration of models/spec/configs.py."""
    w = config["BUS_BYTES"] // 2
    rows_u, c_max = w // 2, config["D_MAX"] // w
    p = {"W": w, "ROWS_U": rows_u, "PLACES_Q": 6, "PLACES_O": 4, "D_MAX": config["D_MAX"],
         "Q_WORDS": 3 * rows_u * c_max, "O_WORDS": 2 * rows_u * c_max,
         "KEYS_MAX": config["KEYS_MAX"], "FIFO": 6 if w == 4 else 16,
         "KV_WORDS": 32 if w == 4 else 64, "CREDITS": 2 * c_max}
    return {**p, **extra}


@pytest.mark.configs("tiny", "small")
@pytest.mark.slow_on("icarus", "small")
def test_unit(sim, config, seed):
    run("sofa_sufa_unit", __name__, unit_parameters(config), sim, seed=seed)


@pytest.mark.slow_on("verilator")
@pytest.mark.parametrize("extra", [{"F_FRAC": 12, "FIFO": 5},
                                   {"F_FRAC": 4, "FIFO": 12, "KEYS_MAX": 64, "Q_WORDS": 300}])
def test_other_widths(sim, seed, extra):
    """Beats that d does not fill, other fractions of f, an odd number of places of Q, two of O, a
    memory of Q larger than its places."""
    p = {"W": 16, "ROWS_U": 4, "PLACES_Q": 3, "PLACES_O": 2, "D_MAX": 64, "Q_WORDS": 40,
         "O_WORDS": 32, "KEYS_MAX": 65536, "KV_WORDS": 32, "CREDITS": 5, **extra}
    run("sofa_sufa_unit", __name__, p, sim, seed=seed,
        testcase=["one_pair", "random_programs", "queue_full_and_empty", "flush_beside_pairs"])


@pytest.mark.slow
@pytest.mark.configs("paper")
@pytest.mark.sims("verilator")
def test_unit_paper(sim, config, seed):
    run("sofa_sufa_unit", __name__, unit_parameters(config), sim, seed=seed)


def test_builds_without_taps(sim):
    build("sofa_sufa_unit", {"W": 4, "ROWS_U": 2, "D_MAX": 16, "TAPS": 0}, sim)


@pytest.mark.parametrize("bad", [{"W": 2}, {"ROWS_U": 3}, {"PLACES_O": 3}, {"D_MAX": 24},
                                 {"O_WORDS": 7}, {"KV_WORDS": 4}, {"F_FRAC": 3}, {"CREDITS": 3}])
def test_illegal_parameters_are_refused(sim, bad):
    p = {"W": 4, "ROWS_U": 2, "D_MAX": 16, **bad}
    # Verilator stops at those of the parts first.
    name = "illegal_parameter_sofa_sufa_" + ("unit" if sim == "icarus" else "")
    with pytest.raises(BuildError, match=name):
        build("sofa_sufa_unit", p, sim)
