# SPDX-License-Identifier: Apache-2.0
"""The fetch stage against memory contents: every beat of rings and streams, errors, rates."""

import random

import cocotb
import pytest
from cocotb.triggers import RisingEdge

from tb.common.signals import reader
from tb.common.stream import Willing
from tb.fetch.bench import BASE, CLIENTS, PART, PROTOCOL, RINGS, STREAMS, TB
from tb.runner import BuildError, build, run

MEMORIES = {
    "fast": {},
    "slow": {"read_latency": (20, 60), "ar_stall": 0.3, "r_gap": 0.2},
    "mixed": {"read_latency": (1, 80), "reorder": True, "interleave": True},
    "worst": {"read_latency": (1, 40), "reorder": True, "interleave": True, "ar_stall": 0.6,
              "r_gap": 0.5},
}


async def settle(dut, cycles):
    for _ in range(cycles):
        await RisingEdge(dut.clk)


@cocotb.test()
@cocotb.parametrize(memory=list(MEMORIES), idle=[0.0, 0.5])
async def random_jobs(dut, memory, idle):
    """Jobs with random shapes, with no reset between them."""
    tb = TB(dut, idle=idle, backpressure=idle, **MEMORIES[memory])
    await tb.reset()
    edges = [8, tb.d_max, tb.d_max // 2, tb.d_max - 8, random.randrange(8, tb.d_max + 1, 8)]
    for number, d in enumerate(random.sample(edges, 3) if tb.d_max > 16 else [8, 16, 8]):
        tb.config(d, dense=number == 1, predict=number == 2)
        for ring in tb.rings.values():
            ring.hold = (lambda c: 0) if number == 2 else (lambda c: random.randrange(60))
        tb.random_work(blocks=3, tiles=3)
        await tb.finish()
    crossed = sum(a % 4096 + b * tb.bus_bytes == 4096 for a, b, _ in tb.memory.reads)
    dut._log.info("compared %d beats, %d bursts end at 4 KiB", tb.compared, crossed)
    assert tb.compared > 100 and min(tb.arrived.values()) > 0


@cocotb.test()
@cocotb.parametrize(memory=list(MEMORIES), idle=[0.0, 0.5])
async def random_streams(dut, memory, idle):
    """Streams alone: runs of any length, neighbours, a page of the memory again and again."""
    tb = TB(dut, idle=idle, backpressure=idle, **MEMORIES[memory])
    await tb.reset()
    for i, stream in enumerate(tb.streams.values()):
        for _ in range(30):
            stream.ask(random.choice([1, 1, 2, 3, random.randint(1, 40)]))
        stream.ask(300)
        at = BASE + (4 + i) * PART + 4096 - tb.bus_bytes
        for _ in range(5):
            stream.ask(2, at)
    await tb.finish()
    assert all(n > 330 for n in tb.arrived.values() if n) and tb.compared > 4 * 330
    assert all(b == 1 for _, b, _ in tb.memory.reads)


@cocotb.test()
async def page_crossings(dut):
    """Vectors of every stream across a 4 KiB boundary, the cut before every beat."""
    tb = TB(dut, **MEMORIES["mixed"])
    await tb.reset()
    tb.config(tb.d_max)
    n, cuts = tb.bus_bytes, tb.wide + 1
    for cut in range(cuts):
        tb.place = lambda stream, *_, c=cut: (BASE + 4096 * (1 + RINGS.index(stream)) - c * n,
                                              4096)
        tb.config(tb.d_max)
        tb.load_q(min(tb.rows, 8))
        tb.load_k8(min(tb.bc, 8))
        tb.gather(range(0, tb.kv_slots, 3))
        await tb.finish()
    split = [s for a, b, s in tb.memory.reads if s != 1 and b < tb.wide]
    vectors = min(tb.rows, 8) + 2 * len(range(0, tb.kv_slots, 3))
    assert len(split) == 2 * (tb.wide - 1) * vectors
    assert sum(b == tb.narrow for _, b, s in tb.memory.reads if s == 1) >= 2


@cocotb.test()
@cocotb.parametrize(stream=CLIENTS, response=["SLVERR", "DECERR"])
async def faults(dut, stream, response):
    """Each error is reported; halt drains; after reset a good job runs."""
    tb = TB(dut, **MEMORIES["mixed"])
    await tb.reset()
    tb.config(tb.d_max)
    tb.random_work(blocks=2, tiles=2)
    tb.gather(range(tb.kv_slots))
    if stream in RINGS:
        want = random.choice([e for e in tb.rings[stream].expect if e.lanes]).lanes.values()
    else:
        tb.streams[stream].ask(20)
        want = random.sample(list(tb.streams[stream].expect), 3)
    for address in want:
        tb.memory.add_fault(address, address, "read", response)
    for user in (tb.rings | tb.streams).values():
        user.check = False
    for _ in range(5000):
        await RisingEdge(dut.clk)
        if tb.errors:
            break
    expected = [(CLIENTS.index(stream), {"SLVERR": 2, "DECERR": 3}[response])]
    assert tb.errors[:1] == expected
    dut.halt.value = 1
    await settle(dut, 2)
    bursts, held = len(tb.memory.reads), int(dut.m_axi_arvalid.value)
    await drained(dut, tb)
    assert len(tb.memory.reads) - bursts <= held, "AR started during halt"
    assert set(tb.errors) == set(expected)

    tb.memory.faults.clear()
    await tb.reset()
    for user in (tb.rings | tb.streams).values():
        user.check = True
    tb.config(8)
    tb.random_work(blocks=2, tiles=2)
    await tb.finish()
    assert tb.compared > 0


async def drained(dut, tb):
    """Wait for idle; check that it stays and that nothing is written."""
    await settle(dut, 3)
    before = sum(tb.arrived.values())
    for _ in range(3000):
        await RisingEdge(dut.clk)
        if int(dut.idle.value):
            break
    for _ in range(20):
        assert int(dut.idle.value) == 1 and not int(dut.m_axi_arvalid.value) and tb.memory.idle
        await RisingEdge(dut.clk)
    assert sum(tb.arrived.values()) == before, "data was not dropped"


@cocotb.test()
async def stray_beats(dut):
    """A beat that nobody asked for is reported and reaches nobody: at rest, before its AR is taken,
    and on the other IDs while data comes; no reset is needed."""
    tb = TB(dut, read_latency=20)
    await tb.reset()
    tb.config(tb.d_max)
    for number in range(8):
        tb.memory.stray_read(number, last=number % 2)
    await settle(dut, 20)
    assert tb.errors == [(number, PROTOCOL) for number in range(8)]
    assert not any(tb.arrived.values()) and int(dut.idle.value) == 1

    tb.errors.clear()
    tb.memory.dead["ar"] = 0
    await settle(dut, 3)
    tb.streams["x"].ask(5)
    tb.load_q(1)
    await settle(dut, 10)
    assert int(dut.m_axi_arvalid.value) == 1
    for name in ("x", "q"):
        tb.memory.stray_read(CLIENTS.index(name))
    await settle(dut, 10)
    assert sorted(tb.errors) == [(0, PROTOCOL), (6, PROTOCOL)] and not any(tb.arrived.values())
    tb.memory.dead.clear()
    tb.errors.clear()
    await tb.finish()

    tb.load_k8(tb.bc)
    tb.streams["w"].ask(60)
    for _ in range(20):
        await settle(dut, 3)
        tb.memory.stray_read(random.choice((0, 2, 3, 5, 6, 7)))
    await settle(dut, 3)
    assert len(tb.errors) == 20 and {kind for _, kind in tb.errors} == {PROTOCOL}
    tb.errors.clear()
    await tb.finish()
    assert tb.compared == 5 + tb.wide + tb.bc * tb.narrow + 60


@cocotb.test()
@cocotb.parametrize(rlast=["never", "always"], client=["k", "x"])
async def wrong_last(dut, rlast, client):
    """RLAST missing, or too early, is reported with its stream; halt drains all the same."""
    tb = TB(dut, **MEMORIES["mixed"])
    await tb.reset()
    tb.config(tb.d_max)
    tb.memory.rlast = rlast
    if client == "k":
        # Also across a page.
        tb.place = lambda *_: (BASE + 4096 - tb.bus_bytes, 4096)
        tb.gather(range(3))
    else:
        tb.streams["x"].ask(3)
    await settle(dut, 2)
    while not (int(dut.idle.value) and tb.memory.idle and sum(tb.arrived.values()) >= 3):
        await RisingEdge(dut.clk)
    await settle(dut, 3)
    ends = 3 if client == "x" else 2 * 6
    beats = sum(beats for _, beats, _ in tb.memory.reads)
    assert len(tb.memory.reads) == ends and beats == sum(tb.arrived.values())
    assert len(tb.errors) == (ends if rlast == "never" else beats - ends)
    assert {kind for _, kind in tb.errors} <= {PROTOCOL}
    assert {number for number, _ in tb.errors} <= {6} if client == "x" else {2, 3}

    await tb.reset()
    tb.config(tb.d_max)
    for user in (tb.rings | tb.streams).values():
        user.check = False
    tb.random_work(blocks=2, tiles=2)
    await settle(dut, random.randrange(20, 200))
    dut.halt.value = 1
    await drained(dut, tb)

    tb.memory.rlast = "right"
    await tb.reset()
    for user in (tb.rings | tb.streams).values():
        user.check = True
    tb.config(8)
    tb.random_work(blocks=1, tiles=2)
    await tb.finish()


@cocotb.test()
async def halt_anywhere(dut):
    """halt at random moments: idle comes, nothing is written any more, a new job is clean."""
    tb = TB(dut, **MEMORIES["worst"])
    for _ in range(12):
        await tb.reset()
        tb.config(random.randrange(8, tb.d_max + 1, 8))
        tb.random_work(blocks=3, tiles=3)
        await settle(dut, random.randrange(1, 300))
        dut.halt.value = 1
        await drained(dut, tb)
    await tb.reset()
    tb.config(tb.d_max)
    tb.random_work(blocks=2, tiles=2)
    await tb.finish()
    assert tb.compared > 0


@cocotb.test()
async def k_runs_ahead_of_v(dut):
    """Without any V release, K of KV_BUFS further tiles arrives."""
    tb = TB(dut)
    await tb.reset()
    tb.config(tb.d_max)
    tb.rings["k"].hold = lambda c: 0
    tb.rings["v"].hold = lambda c: None
    for _ in range(4 * tb.kv_bufs):
        tb.gather([1, 2, tb.bc - 1])
    await settle(dut, 500)
    assert tb.rings["v"].committed == tb.kv_bufs
    assert tb.rings["k"].committed == 2 * tb.kv_bufs
    assert int(dut.ev_stall.value) == 1 and tb.compared > 0


@cocotb.test()
@cocotb.parametrize(keeper=[0, 1])
async def no_start_without_a_buffer(dut, keeper):
    """Rings which a consumer never releases are filled once; nothing more is read."""
    tb = TB(dut)
    await tb.reset()
    tb.config(tb.d_max)
    for ring in tb.rings.values():
        # Only the Q ring has a second consumer.
        ring.hold = lambda c, r=ring: None if len(r.give) == 1 or c == keeper else 0
    for stream in tb.streams.values():
        stream.willing = Willing(iter([(0, 1 << 30)]))
        stream.ask(300)
    for _ in range(5):
        tb.load_q(tb.rows)
        tb.load_k8(tb.bc, first=True)
        tb.gather(range(tb.kv_slots))
    await settle(dut, 400 + 10 * tb.bc * tb.wide + 8 * tb.rows * tb.wide)
    for ring in tb.rings.values():
        assert ring.committed == ring.bufs
    for name in STREAMS:
        assert tb.arrived[name] == tb.depths[name], f"{name} does not fill its FIFO once"
    assert int(dut.idle.value) == 1 and tb.compared > 0


@cocotb.test()
@cocotb.parametrize(ring=RINGS)
async def stalls(dut, ring):
    """ev_stall: a command waits for a buffer of this ring alone, in every cycle and not longer."""
    tb = TB(dut)
    await tb.reset()
    tb.config(8)
    for name, user in tb.rings.items():
        user.hold = lambda c, name=name: None if name == ring else 0
    ask = {"q": lambda: tb.load_q(tb.rows), "k8": lambda: tb.load_k8(tb.bc, first=True),
           "k": lambda: tb.gather([0, tb.bc - 1]), "v": lambda: tb.gather([0, tb.bc - 1])}[ring]
    stall, user = reader(dut.ev_stall), tb.rings[ring]
    for _ in range(user.bufs):
        ask()
    await settle(dut, 100 + 2 * tb.bc + 2 * tb.rows)
    assert user.committed == user.bufs and stall() == "0"
    ask()
    await settle(dut, 20)
    for _ in range(20):
        assert stall() == "1"
        await RisingEdge(dut.clk)
    for due in user.due:
        due.append(0)
    await settle(dut, 100 + 2 * tb.bc + 2 * tb.rows)
    assert user.committed == user.bufs + 1 and stall() == "0"


RATES = [*RINGS, "all", "all_half_d"]


@cocotb.test()
@cocotb.parametrize(stream=RATES)
async def bus_utilisation(dut, stream):
    """Share of cycles with a beat while there is always work and consumers release at once."""
    stream, half = stream.removesuffix("_half_d"), stream.endswith("_half_d")
    # Two buffers of the smallest configuration hold too few beats to hide 100 cycles.
    latency = 100 if dut.m_axi_rdata.value.range.left >= 127 else 10
    tb = TB(dut, read_latency=latency)
    await tb.reset()
    tb.config(tb.d_max // 2 if half else tb.d_max)
    for ring in tb.rings.values():
        ring.hold = lambda c: 0
    for number in range(12):
        if stream == "q" or stream == "all" and number % 4 == 0:
            tb.load_q(tb.rows)
        if stream in ("k8", "all"):
            tb.load_k8(tb.bc, first=number % 4 == 0)
        if stream in ("k", "v", "all"):
            tb.gather(range(tb.kv_slots) if number % 2 else range(0, tb.kv_slots, 2))
    await tb.finish(60000)
    # The last buffers have nothing behind them.
    cycles = tb.beat_cycles[: -2 * tb.bc * tb.narrow]
    rate = len(cycles) / (cycles[-1] - cycles[0] + 1)
    dut._log.info("%s: %.4f beats a cycle in %d beats, latency %d", stream, rate, len(cycles),
                  latency)
    assert len(cycles) > 100 and rate >= 0.95


@cocotb.test()
@cocotb.parametrize(stream=["w", "x", "r", "w_short"])
async def stream_rates(dut, stream):
    """One stream alone at 100 cycles of latency; short: commands of one to four words."""
    tb = TB(dut, read_latency=100)
    await tb.reset()
    name, short = stream[0], stream.endswith("short")
    for _ in range(400 if short else 4):
        tb.streams[name].ask(random.randint(1, 4) if short else 250)
    await tb.finish()
    words, depth = len(tb.beat_cycles), tb.depths[name]
    cycles = tb.beat_cycles[-1] - tb.beat_cycles[0] + 1
    dut._log.info("%s: %d words in %d cycles", stream, words, cycles)
    # A word's room is asked for again after the latency and six cycles inside.
    turns, rest = divmod(words - 1, depth)
    assert words > 800 and cycles == (turns * max(depth, 106) + rest + 1)


@cocotb.test()
@cocotb.parametrize(r=[0, 1])
async def predict_rate(dut, r):
    """Weight codes, tiles of one-beat K8 vectors (and R rows) together: the bus is full."""
    tb = TB(dut, read_latency=100)
    await tb.reset()
    tb.config(tb.d_max, predict=True)
    tb.rings["k8"].hold = lambda c: 0
    n = tb.bc // 4
    for number in range(40):
        tb.load_k8(n, first=number % 4 == 0)
        tb.streams["w"].ask(64)
        if r:
            tb.streams["r"].ask(tb.wide)
    await tb.finish()
    assert tb.arrived["k8"] == 40 * n and tb.arrived["w"] == 40 * 64
    beats, cycles = len(tb.beat_cycles), tb.beat_cycles[-1] - tb.beat_cycles[0] + 1
    dut._log.info("%d beats in %d cycles, %s", beats, cycles, tb.arrived)
    assert beats / cycles >= 0.97


@cocotb.test()
async def turns(dut):
    """Everybody asks: the streams get their turn after one grant of each of the others."""
    tb = TB(dut)
    await tb.reset()
    # Vectors of one burst, on a small bus even of one beat.
    tb.place = lambda stream, *_: (BASE + PART * CLIENTS.index(stream), 64)
    tb.config(8)
    for ring in tb.rings.values():
        ring.hold = lambda c: 0
    for t in range(8):
        tb.load_q(tb.rows)
        tb.load_k8(tb.bc, first=t == 0)
        for _ in range(tb.bc // tb.kv_slots):
            tb.gather(range(tb.kv_slots))
    for stream in tb.streams.values():
        stream.ask(4 * tb.bc)
    await tb.finish()
    ids = [i for _, _, i in tb.memory.reads]
    gaps = {}
    for name in ("w", "x"):
        at = [n for n, i in enumerate(ids) if i == CLIENTS.index(name)]
        gaps[name] = [b - a for a, b in zip(at, at[1:], strict=False)]
        # Its FIFO never runs out of room here, so it asks all the time.
        assert max(gaps[name]) <= 7, f"{name} waits {max(gaps[name])} grants"
    # All seven parties are in the race for a while.
    assert max(gaps["w"]) >= 6 and len(gaps["w"]) == 4 * tb.bc - 1
    first = ids[: 10 * tb.bc]
    shares = {n: first.count(i) / len(first) for i, n in enumerate(CLIENTS)}
    dut._log.info("shares of the first %d requests: %s", len(first), shares)
    assert min(shares.values()) > 0


@cocotb.test()
async def one_burst_per_cycle(dut):
    """Vectors of one or two beats: AR is taken in every cycle."""
    tb = TB(dut, read_latency=30)
    await tb.reset()
    tb.config(8)
    taken = []

    async def watch():
        valid, ready = reader(dut.m_axi_arvalid), reader(dut.m_axi_arready)
        while True:
            await RisingEdge(dut.clk)
            if valid() == "1" and ready() == "1":
                taken.append(tb.cycle)

    cocotb.start_soon(watch())
    # No page boundary in the way.
    tb.place = lambda stream, lanes, size: (BASE + 4096 * RINGS.index(stream), 64)
    tb.config(8)
    tb.load_q(tb.rows)
    tb.load_k8(tb.bc)
    tb.gather(range(tb.kv_slots))
    await tb.finish()
    vectors = tb.rows + tb.bc + 2 * tb.kv_slots
    assert len(taken) == vectors
    # All but the ends, where a walk of its own starts up or is left over.
    longest = max(sum(1 for t in taken if start <= t < start + vectors // 2)
                  for start in range(taken[0], taken[-1]))
    assert longest == vectors // 2


@cocotb.test()
async def gather_order(dut):
    """V of a tile is asked for before K of the next tile is complete."""
    tb = TB(dut)
    await tb.reset()
    tb.config(tb.d_max)
    for ring in tb.rings.values():
        ring.hold = lambda c: 0
    for _ in range(6):
        tb.gather(range(tb.kv_slots))
    await tb.finish()
    k, v = tile_ends(tb, 2), tile_ends(tb, 3)
    assert len(k) == len(v) == 6
    for t in range(5):
        assert k[t] < v[t] < k[t + 1]


def tile_ends(tb, stream):
    """Return the position, in order of all bursts, of each tile's last burst of ``stream``."""
    ends, beats = [], 0
    for i, (_, count, s) in enumerate(tb.memory.reads):
        beats += count if s == stream else 0
        if s == stream and beats % (tb.kv_slots * tb.wide) == 0:
            ends.append(i)
    return ends


@cocotb.test()
@cocotb.parametrize(urgent=[0, 1], predict=[0, 1])
async def share_of_q(dut, urgent, predict):
    """Q gets little of a busy bus, and its turn when K8 has reached its block.

    The blocks of a predict job before, which have no Q, must not count.
    """
    tb = TB(dut)
    await tb.reset()
    tb.config(8, predict=True)
    for _ in range(3 * predict):
        tb.load_k8(4, first=True)
    await tb.finish()
    tb.memory.reads.clear()
    tb.arrived = dict.fromkeys(tb.arrived, 0)
    # One burst per vector: none crosses a page.
    tb.place = lambda stream, *_: (BASE + PART * RINGS.index(stream), 512)
    tb.config(tb.d_max)
    for ring in tb.rings.values():
        ring.hold = lambda c: 0
    for t in range(8):
        tb.load_k8(tb.bc, first=urgent and t == 0)
        for _ in range(tb.bc // tb.kv_slots):
            tb.gather(range(tb.kv_slots))
    await settle(dut, 12)
    tb.load_q(min(tb.rows, 8))
    await tb.finish()
    at = [i for i, (_, _, s) in enumerate(tb.memory.reads) if s == 0]
    share = (len(at) - 1) / (at[-1] - at[0])
    assert 0.30 <= share <= 0.36 if urgent else 0.11 <= share <= 0.14, share


# Cycles from the edge that takes a command to the one that can take its first AR.
AR_LATENCY = {"qc": 3, "tc": 3, "u": 6, "x_c": 3}
# From R to a word of a stream.
STREAM_LATENCY = 3


@cocotb.test()
async def exact_latency(dut):
    """Cycles from a command to AR, from R to the write port, from there to the commit."""
    tb = TB(dut, read_latency=10)
    await tb.reset()
    # No page boundary in the way.
    tb.place = lambda stream, *_: (BASE + PART * RINGS.index(stream), 64)
    tb.config(8)

    signals = {"qc": ("qc_valid", "qc_ready"), "tc": ("tc_valid", "tc_ready"),
               "u": ("u_valid", "u_ready"), "x_c": ("x_c_valid", "x_c_ready"),
               "ar": ("m_axi_arvalid", "m_axi_arready"),
               "r": ("m_axi_rvalid", "m_axi_rready")}
    seen = {name: [] for name in signals}

    async def watch():
        pairs = {n: [reader(getattr(dut, s)) for s in pair] for n, pair in signals.items()}
        while True:
            await RisingEdge(dut.clk)
            for name, (valid, ready) in pairs.items():
                if valid() == "1" and ready() == "1":
                    seen[name].append(tb.cycle)

    cocotb.start_soon(watch())
    await settle(dut, 5)
    work = {"qc": lambda: tb.load_q(1), "tc": lambda: tb.load_k8(1), "u": lambda: tb.gather([3]),
            "x_c": lambda: tb.streams["x"].ask(1)}
    for name, ask in work.items():
        first, ask = len(seen["ar"]), ask()
        await settle(dut, 40)
        assert seen["ar"][first] - seen[name][0] == AR_LATENCY[name]
        assert tb.beat_cycles[-1] - seen["r"][-1] == 1
    for ring in tb.rings.values():
        assert ring.commit_cycles[0] - ring.write_cycle == 1
    assert tb.streams["x"].taken == [seen["r"][-1] + STREAM_LATENCY]
    assert len(seen["ar"]) == 5 and tb.compared > 0


PARAMETERS = ("ROWS", "D_MAX", "BC_MAX", "KV_SLOTS", "BUS_BYTES")


@pytest.mark.slow_on("icarus", "small")
@pytest.mark.configs("tiny", "small")
def test_fetch(sim, config, seed):
    run("fetch", __name__, config.pick(*PARAMETERS), sim, seed=seed)


def test_fetch_shallow(sim, seed):
    """Few outstanding requests, short FIFOs, three and four buffers, a wide bus."""
    run("fetch", __name__, {"ROWS": 16, "D_MAX": 32, "BC_MAX": 64, "KV_SLOTS": 32,
                            "BUS_BYTES": 32, "K8_BUFS": 4, "KV_BUFS": 3, "OUTSTANDING": 4,
                            "W_DEPTH": 4, "R_DEPTH": 8, "X_DEPTH": 256, "D_DEPTH": 4}, sim,
        seed=seed,
        testcase=[*(f"random_jobs/memory={m}/idle=0.0" for m in MEMORIES), "halt_anywhere",
                  *(f"random_streams/memory={m}/idle=0.5" for m in MEMORIES),
                  "k_runs_ahead_of_v", "page_crossings", "no_start_without_a_buffer/keeper=0"])


@pytest.mark.configs("paper")
@pytest.mark.sims("verilator")
def test_fetch_paper(sim, config, seed):
    run("fetch", __name__, config.pick(*PARAMETERS), sim, seed=seed,
        testcase=[*(f"bus_utilisation/stream={s}" for s in RATES),
                  "predict_rate/r=0", "predict_rate/r=1", "stream_rates/stream=w",
                  "stream_rates/stream=x",
                  *(f"random_jobs/memory={m}/idle=0.5" for m in MEMORIES)])


@pytest.mark.parametrize("parameters", [
    {"ROWS": 4, "BUS_BYTES": 16}, {"ROWS": 24}, {"D_MAX": 8, "BUS_BYTES": 8}, {"D_MAX": 512},
    {"BC_MAX": 8, "BUS_BYTES": 16}, {"BC_MAX": 128}, {"BUS_BYTES": 128}, {"ADDR_W": 49},
    {"KV_BUFS": 1}, {"KV_BUFS": 5}, {"K8_BUFS": 1}, {"OUTSTANDING": 3}, {"OUTSTANDING": 512},
    {"KV_SLOTS": 8, "BUS_BYTES": 32}, {"KV_SLOTS": 64, "BC_MAX": 32}, {"KV_SLOTS": 24},
    {"W_DEPTH": 2}, {"R_DEPTH": 512}, {"X_DEPTH": 100}, {"D_DEPTH": 0}])
def test_illegal_parameters_are_refused(sim, parameters):
    with pytest.raises(BuildError, match="illegal_parameter_"):
        build("fetch", parameters, sim)
