# SPDX-License-Identifier: Apache-2.0
"""sofa_fetch against memory contents: every beat of places, tiles, keys and streams, errors,
order, rates."""

import random

import cocotb
import pytest
from cocotb.triggers import RisingEdge

from tb.common.scoreboard import same, same_signals
from tb.common.signals import reader
from tb.common.stream import Willing
from tb.fetch.bench import BASE, CLIENTS, PART, PROTOCOL, STREAMS, TB, VECTORS
from tb.runner import BuildError, build, parameters, run

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
    """Jobs with random shapes and numbers of places, with no reset between them."""
    tb = TB(dut, idle=idle, backpressure=idle, **MEMORIES[memory])
    await tb.reset()
    edges = [8, tb.d_max, tb.d_max // 2, tb.d_max - 8, random.randrange(8, tb.d_max + 1, 8)]
    for number, d in enumerate(random.sample(edges, 4)):
        await tb.next_job(d, predict=number == 2)
        longest = 1 if number == 3 else 60
        tb.q.hold = lambda c, n=longest: random.randrange(5 * n)
        tb.k8.hold = lambda c, n=longest: random.randrange(n)
        tb.kv.hold = lambda n=longest: random.randrange(n)
        # Of one kind each: predicted keys have no Q, dense jobs no tiles.
        tb.random_work(blocks=0 if number == 2 else random.randint(3, 7),
                       tiles=0 if number == 1 else 6, keys=60)
        await tb.finish()
    crossed = sum(a % 4096 + b * tb.bus_bytes == 4096 for a, b, _ in tb.memory.reads)
    dut._log.info("compared %d beats, %d bursts end at 4 KiB", tb.compared, crossed)
    assert tb.compared > 100 and min(tb.arrived.values()) > 0


@cocotb.test()
@cocotb.parametrize(memory=["worst"], idle=[0.0, 0.5])
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
    """Vectors of every client across a 4 KiB boundary, the cut before every beat."""
    tb = TB(dut, **MEMORIES["mixed"])
    await tb.reset()
    tb.config(tb.d_max)
    n, cuts = tb.bus_bytes, tb.wide + 1
    for cut in range(cuts):
        tb.place = lambda client, *_, c=cut: (BASE + 4096 * (1 + VECTORS.index(client)) - c * n,
                                              4096)
        tb.config(tb.d_max)
        tb.load_q(min(tb.rows, 8))
        tb.load_k8(min(tb.bc, 8))
        for _ in range(4):
            tb.read_key()
        await tb.finish()
    split = [s for a, b, s in tb.memory.reads if s != 1 and b < tb.wide]
    assert len(split) == 2 * (tb.wide - 1) * (min(tb.rows, 8) + 2 * 4)
    assert sum(b == tb.narrow for _, b, s in tb.memory.reads if s == 1) >= 2


@cocotb.test()
@cocotb.parametrize(stride=["k", "v"])
async def addresses(dut, stride):
    """Keys at the ends of the product's range, one bit of key and stride at a time."""
    tb = TB(dut)
    await tb.reset()
    tb.config(8)
    tb.kv.hold = lambda: 0
    for bit in range(2, 32):
        values = [1 << bit & -tb.bus_bytes or tb.bus_bytes, (1 << 32) - tb.bus_bytes]
        tb.strides = values if stride == "k" else values[::-1]
        dut.cfg_k_stride.value, dut.cfg_v_stride.value = tb.strides
        for key in (1 << bit % 17, (1 << 17) - 1):
            tb.read_key(key=key)
        tb.read_key(mean=True)
        await tb.finish()
    assert tb.kv.done == 90 and tb.arrived["k"] == 60 * tb.wide


@cocotb.test()
async def slot_addresses(dut):
    """Slots of a tile up to 4 GiB apart, one bit of their distance at a time."""
    tb = TB(dut)
    await tb.reset()
    tb.config(8)
    n, size, tiles = 3, tb.bus_bytes, 0
    assert tb.narrow == 1, "slots across a page"
    for bit in range(size.bit_length() - 1, 32):
        for inc in sorted({1 << bit, (2 << bit) - size}):
            # Nothing but the slots is there.
            first = BASE + random.randrange(0, 1 << 16, size)
            at = random.sample(range(0, PART, size), n)
            tb.memory.map.clear()
            for slot, offset in enumerate(at):
                tb.memory.map.window(first + slot * inc, size, offset)
            tb.k8.expect.append(({slot: BASE + o for slot, o in enumerate(at)}, tb.narrow, []))
            tb.tc.append({"addr": tb.junk(first), "inc": inc, "n": n})
            await tb.finish()
            tiles += 1
    same("fetch beats compared", tiles * n, tb.compared)
    assert tiles > 50


@cocotb.test()
@cocotb.parametrize(stream=CLIENTS, response=["SLVERR", "DECERR"])
async def faults(dut, stream, response):
    """Each error is reported; halt drains; after reset a good job runs."""
    tb = TB(dut, **MEMORIES["mixed"])
    await tb.reset()
    tb.config(tb.d_max)
    tb.random_work(blocks=2, tiles=2)
    tb.streams["d"].ask(1)
    want = {"q": lambda: tb.q.expect[-1][0].values(), "k8": lambda: tb.k8.expect[-1][0].values(),
            **{n: lambda n=n: [at[n] for _, at in tb.kv.wanted if n in at] for n in "kv"}}
    want = want.get(stream, lambda: list(tb.streams[stream].expect))()
    for address in want:
        tb.memory.add_fault(address, address, "read", response)
    tb.checks(False)
    for _ in range(5000):
        await RisingEdge(dut.clk)
        if tb.errors:
            break
    expected = [(CLIENTS.index(stream), {"SLVERR": 2, "DECERR": 3}[response])]
    same("fetch errors", expected, tb.errors[:1])
    dut.halt.value = 1
    await settle(dut, 2)
    bursts, held = len(tb.memory.reads), int(dut.m_axi_arvalid.value)
    await drained(dut, tb)
    assert len(tb.memory.reads) - bursts <= held, "AR started during halt"
    same("fetch errors", set(expected), set(tb.errors))

    tb.memory.faults.clear()
    await tb.reset()
    tb.checks(True)
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
        same_signals("fetch", dut, idle=1, m_axi_arvalid=0)
        assert tb.memory.idle, "fetch is idle, its memory is not"
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
    same("fetch errors", [(number, PROTOCOL) for number in range(8)], tb.errors)
    same("fetch", dict.fromkeys(CLIENTS, 0), tb.arrived)
    same_signals("fetch", dut, idle=1)

    tb.errors.clear()
    tb.memory.dead["ar"] = 0
    await settle(dut, 3)
    tb.streams["x"].ask(5)
    tb.load_q(1)
    await settle(dut, 10)
    same_signals("fetch", dut, m_axi_arvalid=1)
    for name in ("x", "q"):
        tb.memory.stray_read(CLIENTS.index(name))
    await settle(dut, 10)
    same("fetch errors", [(0, PROTOCOL), (6, PROTOCOL)], sorted(tb.errors))
    same("fetch", dict.fromkeys(CLIENTS, 0), tb.arrived)
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
@cocotb.parametrize(rlast=["never", "always"], client=["kv", "x"])
async def wrong_last(dut, rlast, client):
    """RLAST missing, or too early, is reported with its stream; halt drains all the same."""
    tb = TB(dut, **MEMORIES["mixed"])
    await tb.reset()
    tb.config(tb.d_max)
    tb.memory.rlast = rlast
    if client == "kv":
        # Also across a page.
        tb.place = lambda *_: (BASE + 4096 - tb.bus_bytes, 4096)
        for _ in range(3):
            tb.read_key()
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
    tb.checks(False)
    tb.random_work(blocks=2, tiles=2)
    await settle(dut, random.randrange(20, 200))
    dut.halt.value = 1
    await drained(dut, tb)

    tb.memory.rlast = "right"
    await tb.reset()
    tb.checks(True)
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
@cocotb.parametrize(memory=["fast", "worst"])
async def reset_anywhere(dut, memory):
    """rst, also for one cycle, at random moments: what was on its way reaches nobody, a new job is
    exact."""
    tb = TB(dut, **MEMORIES[memory])
    await tb.reset()
    caught = tries = 0
    # Until some resets of one cycle met a beat.
    while tries < 10 or (caught < 3 and tries < 100):
        tries += 1
        tb.config(random.randrange(8, tb.d_max + 1, 8))
        tb.random_work(blocks=3, tiles=3)
        await settle(dut, random.randrange(1, 200))
        caught += await tb.reset(random.choice((1, 1, 2)))
        tb.config(random.randrange(8, tb.d_max + 1, 8))
        tb.random_work(blocks=1, tiles=1, keys=3)
        await tb.finish()
    assert caught >= 3 and tb.compared > 0


@cocotb.test()
async def order_behind_a_reset(dut):
    """Two tiles are there, then a reset of one cycle with commands right behind it: K8 goes first,
    as when no tile was there."""
    tb = TB(dut)
    await tb.reset()
    # One burst per vector: none crosses a page.
    tb.place = lambda client, *_: (BASE + PART * CLIENTS.index(client), 64)
    tb.config(8)
    tb.k8.hold = lambda c: None
    for _ in range(2):
        tb.load_k8(1)
    await tb.finish()
    same("fetch slots filled", 2, tb.k8.ring.filled)
    tb.memory.reads.clear()
    dut.rst.value = 1
    await RisingEdge(dut.clk)
    # By hand, since the sources begin a cycle later.
    q_at, k8_at = (tb.place(n)[0] for n in ("q", "k8"))
    offer = {"rst": 0, "qc_valid": 1, "qc_addr": q_at, "qc_rows": 1, "tc_valid": 1,
             "tc_addr": k8_at, "tc_inc": 64, "tc_n": 1}
    before = {n: getattr(dut, n).value for n in offer if n != "rst"}
    for name, value in offer.items():
        getattr(dut, name).value = value
    await RisingEdge(dut.clk)
    same_signals("fetch", dut, rst=0, qc_ready=1, tc_ready=1)
    for name, value in before.items():
        getattr(dut, name).value = value
    scale = {"scale_m": random.getrandbits(16), "scale_shift": random.getrandbits(6)}
    tb.q.expect.append(({0: q_at}, tb.wide, list(scale.values())))
    tb.qs.append(scale)
    tb.k8.expect.append(({0: k8_at}, tb.narrow, []))
    await tb.finish()
    same("fetch order of IDs", [CLIENTS.index(n) for n in ("k8", "q")],
         [i for _, _, i in tb.memory.reads])


@cocotb.test()
@cocotb.parametrize(keeper=[0, 1])
async def no_start_without_a_place(dut, keeper):
    """Places that one consumer never releases are filled once, as many as the head dimension
    allows; nothing more is read."""
    tb = TB(dut)
    dims = [8, tb.d_max // 2, 3 * tb.d_max // 4, tb.d_max]
    seen = set()
    for d in dims:
        await tb.reset()
        tb.config(d)
        tb.q.hold = lambda c: None if c == keeper else 0
        tb.k8.hold = lambda c: None
        for stream in tb.streams.values():
            stream.willing = Willing(iter([(0, 1 << 30)]))
            stream.ask(300)
        for _ in range(tb.q.ring.slots + 2):
            tb.load_q(tb.rows)
        for _ in range(tb.k8.ring.slots + 2):
            tb.load_k8(tb.bc)
        await settle(dut, 500 + 6 * tb.bc * tb.wide + 8 * tb.rows * tb.wide)
        for store in (tb.q, tb.k8):
            same("fetch slots filled", store.ring.slots, store.ring.filled, d=d, client=store.name)
        assert 2 <= tb.q.ring.slots <= tb.p["PLACES"]
        for name in STREAMS:
            assert tb.arrived[name] == tb.depths[name], f"{name} does not fill its FIFO once"
        same_signals("fetch", dut, idle=1, ev_stall=1)
        seen.add(tb.q.ring.slots)
    dut._log.info("places: %s", seen)
    assert len(seen) > 1 and tb.compared > 0


@cocotb.test()
@cocotb.parametrize(client=["q", "k8"])
async def stalls(dut, client):
    """ev_stall: a command waits for a place, in every cycle and not longer."""
    tb = TB(dut)
    await tb.reset()
    tb.config(8)
    store = {"q": tb.q, "k8": tb.k8}[client]
    ask = {"q": lambda: tb.load_q(tb.rows), "k8": lambda: tb.load_k8(tb.bc)}[client]
    store.hold = lambda c: None
    for _ in range(store.ring.slots):
        ask()
    await settle(dut, 100 + 4 * tb.bc + 8 * tb.rows)
    same("fetch slots filled", store.ring.slots, store.ring.filled, client=client)
    same_signals("fetch", dut, ev_stall=0)
    ask()
    await settle(dut, 20)
    for _ in range(20):
        same_signals("fetch", dut, ev_stall=1)
        await RisingEdge(dut.clk)
    for due in store.due:
        due.append(0)
    await settle(dut, 100 + 2 * tb.bc + 2 * tb.rows)
    same("fetch slots filled", store.ring.slots + 1, store.ring.filled, client=client)
    same_signals("fetch", dut, ev_stall=0)


RATES = ["q", "k8", "kv", "all", "all_half_d"]


@cocotb.test()
@cocotb.parametrize(stream=RATES)
async def bus_utilisation(dut, stream):
    """Share of cycles with a beat while there is always work and consumers release at once."""
    stream, half = stream.removesuffix("_half_d"), stream.endswith("_half_d")
    # The places of the smallest configuration hold too few beats to hide 100 cycles.
    latency = 100 if dut.m_axi_rdata.value.range.left >= 127 else 10
    tb = TB(dut, read_latency=latency)
    await tb.reset()
    tb.config(tb.d_max // 2 if half else tb.d_max)
    tb.q.hold = tb.k8.hold = lambda c: 0
    tb.kv.hold = lambda: 0
    for number in range(12):
        if stream == "q" or stream == "all" and number % 4 == 0:
            tb.load_q(tb.rows)
        if stream in ("k8", "all"):
            tb.load_k8(tb.bc)
        for _ in range(tb.bc if stream in ("kv", "all") else 0):
            tb.read_key()
    await tb.finish(60000)
    # The last ones have nothing behind them.
    cycles = tb.beat_cycles[: -2 * tb.bc * tb.narrow]
    rate = len(cycles) / (cycles[-1] - cycles[0] + 1)
    dut._log.info("%s: %.4f beats a cycle in %d beats, latency %d", stream, rate, len(cycles),
                  latency)
    assert len(cycles) > 100 and rate >= 0.95


@cocotb.test(skip=parameters().get("LAND") != 64)
@cocotb.parametrize(c=[1, 2, 4])
async def key_rate(dut, c):
    """Keys alone, 64 landing places (256 beats at most) that are free at once, 100 cycles of
    latency: data in every cycle, with one beat a vector also a request."""
    tb = TB(dut, read_latency=100)
    await tb.reset()
    tb.config(c * tb.bus_bytes // 2)
    tb.kv.hold = lambda: 0
    tb.kv.places = min(64, 256 // (2 * c))
    # No page boundary in the way.
    size = c * tb.bus_bytes
    tb.place = lambda client, *_: (BASE + PART * CLIENTS.index(client)
                                   + random.randrange(0, PART, size), 0)
    keys = 400
    for _ in range(keys):
        tb.read_key()
    await tb.finish()
    cycles = tb.beat_cycles[-1] - tb.beat_cycles[0] + 1
    dut._log.info("%d keys of %d + %d beats: %d cycles, %.4f beats a cycle", keys, c, c, cycles,
                  len(tb.beat_cycles) / cycles)
    assert tb.wide == c and len(tb.beat_cycles) == 2 * c * keys == len(tb.memory.reads) * c
    same("fetch cycles", 2 * c * keys, cycles, d=tb.d)


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
    tb.k8.hold = lambda c: 0
    n = tb.bc // 4
    for _ in range(40):
        tb.load_k8(n)
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
    tb.place = lambda client, *_: (BASE + PART * CLIENTS.index(client), 64)
    tb.config(8)
    tb.q.hold = tb.k8.hold = lambda c: 0
    tb.kv.hold = lambda: 0
    for _ in range(8):
        tb.load_q(tb.rows)
        tb.load_k8(tb.bc)
    for _ in range(8 * tb.bc):
        tb.read_key()
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


async def come_and_go(tb, store, ask):
    """Two blocks or tiles come and are released, the first in the cycle in which the last beat of
    the second is written."""
    store.hold = lambda c: None
    start = tb.cycle
    ask()
    await tb.finish()
    took = store.write_cycle - start
    start = tb.cycle
    ask()
    # Seen a cycle after it is due.
    for due in store.due:
        due.append(start + took - 1)
    await tb.finish()
    same("fetch cycle of the last beat", start + took, store.write_cycle, client=store.name)
    for due in store.due:
        due.append(0)
    await tb.finish()
    same("fetch slots released", store.ring.filled, store.ring.released, client=store.name)


@cocotb.test()
@cocotb.parametrize(tiles=[0, 1], blocks=[0, 1], before=[0, 1])
async def q_and_k8(dut, tiles, blocks, before):
    """With so many tiles and blocks held by dlzs, who of Q and K8 goes first on a busy bus; before:
    others have come and gone."""
    # All requests are made before anything arrives.
    tb = TB(dut, read_latency=300)
    await tb.reset()
    # One burst per vector: none crosses a page.
    tb.place = lambda client, *_: (BASE + PART * CLIENTS.index(client), 64)
    tb.config(8)
    if before:
        await come_and_go(tb, tb.q, lambda: tb.load_q(1))
        await come_and_go(tb, tb.k8, lambda: tb.load_k8(1))
    tb.q.hold = tb.k8.hold = lambda c: None
    tb.kv.hold = lambda: 0
    more = min(tb.q.ring.slots - 1, tb.bc // tb.rows)
    for _ in range(blocks):
        tb.load_q(1)
    for _ in range(tiles):
        tb.load_k8(1)
    await tb.finish()
    same("fetch", [blocks, tiles], [s.ring.filled - s.ring.released for s in (tb.q, tb.k8)],
         field="blocks, tiles")
    tb.memory.reads.clear()
    tb.arrived = dict.fromkeys(tb.arrived, 0)
    for _ in range(4 * tb.bc):
        tb.read_key()
    tb.streams["w"].ask(100)
    await settle(dut, 8)
    for _ in range(more):
        tb.load_q(tb.rows)
    tb.load_k8(more * tb.rows)
    await tb.finish()
    share = {}
    for name in ("q", "k8"):
        at = [i for i, (_, _, s) in enumerate(tb.memory.reads) if s == CLIENTS.index(name)]
        assert len(at) == more * tb.rows
        share[name] = at[-1]
    first = {(0, 0): None, (0, 1): "k8", (1, 0): "q", (1, 1): None}[tiles, blocks]
    dut._log.info("tiles %d, blocks %d: last request at %s", tiles, blocks, share)
    if first is None:
        # Turn by turn; Q loses one between blocks.
        assert abs(share["q"] - share["k8"]) <= 6, share
    else:
        assert share.pop(first) + more * tb.rows // 2 < share.popitem()[1], "not first"


@cocotb.test(skip=parameters().get("K8_BUFS", 2) < 3)
async def q_before_far_tiles(dut):
    """With two tiles at hand, blocks held or not, Q goes before a third tile."""
    tb = TB(dut)
    await tb.reset()
    tb.place = lambda client, *_: (BASE + PART * CLIENTS.index(client), 512)
    tb.config(8)
    tb.q.hold = tb.k8.hold = lambda c: None
    tb.load_q(1)
    for _ in range(2):
        tb.load_k8(1)
    await tb.finish()
    tb.memory.reads.clear()
    tb.arrived = dict.fromkeys(tb.arrived, 0)
    tb.load_q(tb.rows)
    tb.load_k8(tb.rows)
    await tb.finish()
    assert tb.rows < 7, "K8 has a turn after seven of Q"
    same("fetch order of IDs", [0] * tb.rows + [1] * tb.rows, [i for _, _, i in tb.memory.reads])


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
    tb.place = lambda client, *_: (BASE + 4096 * VECTORS.index(client), 64)
    tb.config(8)
    keys = tb.land // 2
    tb.load_q(tb.rows)
    tb.load_k8(tb.bc)
    for _ in range(keys):
        tb.read_key()
    await tb.finish()
    vectors = tb.rows + tb.bc + 2 * keys
    assert len(taken) == vectors
    # All but the ends.
    longest = max(sum(1 for t in taken if start <= t < start + vectors // 2)
                  for start in range(taken[0], taken[-1]))
    assert longest == vectors // 2


@cocotb.test()
async def key_order(dut):
    """K, then V of a key, key after key; a mean has no K."""
    tb = TB(dut)
    await tb.reset()
    tb.place = lambda client, *_: (BASE + PART * CLIENTS.index(client), 64)
    tb.config(8)
    for number in range(12):
        tb.read_key(mean=number % 3 == 2)
    await tb.finish()
    same("fetch order of IDs", [2, 3, 2, 3, 3] * 4, [i for _, _, i in tb.memory.reads])


# Cycles from the edge that takes a command to the one that can take its first AR.
AR_LATENCY = {"qc": 3, "tc": 3, "u": 7, "x_c": 3}
# From R to a word of a stream.
STREAM_LATENCY = 3


@cocotb.test()
async def exact_latency(dut):
    """Cycles from a command to AR, from R to the write port, from there to the commit."""
    tb = TB(dut, read_latency=10)
    await tb.reset()
    # No page boundary in the way.
    tb.place = lambda client, *_: (BASE + PART * CLIENTS.index(client), 64)
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
    work = {"qc": lambda: tb.load_q(1), "tc": lambda: tb.load_k8(1), "u": tb.read_key,
            "x_c": lambda: tb.streams["x"].ask(1)}
    for name, ask in work.items():
        first, ask = len(seen["ar"]), ask()
        await settle(dut, 40)
        same("fetch cycles to AR", AR_LATENCY[name], seen["ar"][first] - seen[name][0], client=name)
        same("fetch cycles from R", 1, tb.beat_cycles[-1] - seen["r"][-1], client=name)
    for store in (tb.q, tb.k8):
        same("fetch cycles to commit", 1, store.commit_cycles[0] - store.write_cycle, client=name)
    same("fetch cycles of a word", [seen["r"][-1] + STREAM_LATENCY], tb.streams["x"].taken)
    assert len(seen["ar"]) == 5 and tb.compared > 0


PARAMETERS = ("ROWS", "D_MAX", "BC_MAX", "BUS_BYTES", "K8_BUFS", "PLACES", "STORE_BEATS", "LAND")


@pytest.mark.slow_on("icarus", "small")
@pytest.mark.configs("tiny", "small")
def test_sofa_fetch(sim, config, seed):
    run("sofa_fetch", __name__, config.pick(*PARAMETERS), sim, seed=seed)


def test_sofa_fetch_rates(sim, seed):
    """64 landing places on a small bus, three tiles, four, five or all of eight places."""
    run("sofa_fetch", __name__, {"ROWS": 4, "D_MAX": 16, "BC_MAX": 16, "BUS_BYTES": 8,
                                 "K8_BUFS": 3, "PLACES": 8, "STORE_BEATS": 64, "LAND": 64},
        sim, seed=seed,
        testcase=[*(f"key_rate/c={c}" for c in (1, 2, 4)), "q_before_far_tiles",
                  "random_jobs/memory=mixed/idle=0.0", "no_start_without_a_place/keeper=0",
                  "no_start_without_a_place/keeper=1"])


def test_sofa_fetch_most_rows(sim, seed):
    """Blocks of 128 rows."""
    run("sofa_fetch", __name__, {"ROWS": 128, "D_MAX": 16, "BC_MAX": 8, "BUS_BYTES": 8,
                                 "K8_BUFS": 2, "PLACES": 2, "STORE_BEATS": 1024, "LAND": 4},
        sim, seed=seed, testcase=["one_burst_per_cycle", "stalls/client=q"])


@pytest.mark.slow_on("verilator")
def test_sofa_fetch_shallow(sim, seed):
    """Few outstanding requests, short FIFOs, four buffers, two places, a wide bus."""
    run("sofa_fetch", __name__, {"ROWS": 16, "D_MAX": 32, "BC_MAX": 64, "BUS_BYTES": 32,
                                 "K8_BUFS": 4, "PLACES": 2, "STORE_BEATS": 64, "LAND": 4,
                                 "OUTSTANDING": 4, "W_DEPTH": 4, "R_DEPTH": 8, "X_DEPTH": 256,
                                 "D_DEPTH": 4}, sim, seed=seed,
        testcase=[*(f"random_jobs/memory={m}/idle=0.0" for m in MEMORIES), "halt_anywhere",
                  "random_streams/memory=worst/idle=0.5", "page_crossings"])


@pytest.mark.configs("paper")
@pytest.mark.sims("verilator")
def test_sofa_fetch_paper(sim, config, seed):
    run("sofa_fetch", __name__, config.pick(*PARAMETERS), sim, seed=seed,
        testcase=[*(f"bus_utilisation/stream={s}" for s in RATES),
                  *(f"key_rate/c={c}" for c in (2, 4)),
                  "predict_rate/r=0", "predict_rate/r=1", "stream_rates/stream=w",
                  *(f"random_jobs/memory={m}/idle=0.5" for m in MEMORIES)])


@pytest.mark.parametrize("parameters", [
    {"ROWS": 4, "BUS_BYTES": 16}, {"ROWS": 24}, {"D_MAX": 8, "BUS_BYTES": 8}, {"D_MAX": 512},
    {"BC_MAX": 8, "BUS_BYTES": 16}, {"BC_MAX": 128}, {"BUS_BYTES": 128}, {"ADDR_W": 49},
    {"K8_BUFS": 1}, {"K8_BUFS": 5}, {"PLACES": 1}, {"PLACES": 6}, {"PLACES": 16},
    {"STORE_BEATS": 255}, {"LAND": 2}, {"LAND": 48}, {"LAND": 128}, {"OUTSTANDING": 3},
    {"OUTSTANDING": 512}, {"W_DEPTH": 2}, {"R_DEPTH": 512}, {"X_DEPTH": 100}, {"D_DEPTH": 0}])
def test_illegal_parameters_are_refused(sim, parameters):
    with pytest.raises(BuildError, match="illegal_parameter_"):
        build("sofa_fetch", parameters, sim)
