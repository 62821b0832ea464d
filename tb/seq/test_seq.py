# SPDX-License-Identifier: Apache-2.0
"""sofa_seq: descriptor checks, order and content of commands and turns, chains, errors, resets."""

from __future__ import annotations

import random
from dataclasses import replace

import cocotb
import pytest
from cocotb.triggers import RisingEdge, Timer

from models import head as second
from models.config import Config
from models.spec import registers as regs
from models.spec.configs import CONFIGS
from tb.common.scoreboard import same, same_signals
from tb.common.turns import unpack_turn
from tb.runner import BuildError, build, parameters, run
from tb.seq.bench import (
    INDEX,
    KINDS,
    NO_ROWS,
    TB,
    end,
    entry,
    expected_commands,
    headed,
    legal_again,
    legal_job,
    pack_entry,
    shape,
    used,
    window_word,
    words,
    written,
)

AHEAD = 4
"""Blocks whose table entries are asked for before they are needed."""


@cocotb.test()
@cocotb.parametrize(kind=list(KINDS))
async def commands(dut, kind):
    """Random jobs: every command equals that of the plain walk, in order, under back-pressure."""
    tb = TB(dut, backpressure=0.4, seed=random.getrandbits(30))
    await tb.reset()
    compared = 0
    for _ in range(8):
        compared += await tb.run(legal_job(tb.cfg, random, kind, share=True))
    assert compared > 100 and tb.jobs == tb.dones == 8 and not tb.loads


@cocotb.test()
@cocotb.parametrize(kind=list(KINDS))
async def waits_for_every_answer(dut, kind):
    """A job ends behind the last of its answers, whichever that is."""
    tb = TB(dut)
    await tb.reset()
    for _ in range(4):
        job = legal_job(tb.cfg, random, kind, small=True)
        tb.hold = True
        tb.load(job)
        await tb.pulse("start")
        *_, turns, codes, _, _ = expected_commands(job, tb.cfg)
        seen = len(tb.tn.items)
        await tb.tn.wait(seen + len(turns), timeout=20000)
        for _ in range(20):
            await RisingEdge(dut.clk)
        owed = {"cached": ("blk_done",), "generate": ("blk_done", "kv_done"),
                "predict": ("kp_done",)}[kind]
        same("seq answers owed", set(owed), {n for n, count in tb.waiting.items() if count})
        # One answer late, all others given.
        late = random.choice(owed)
        tb.hold, kept = False, tb.waiting[late]
        tb.waiting[late] -= 1
        for _ in range(kept + 300):
            await RisingEdge(dut.clk)
            same_signals("seq", dut, busy=1, done=0)
        tb.waiting[late] += 1
        same("seq code, info", (0, 0), await tb.result(20))
        if kind == "predict":
            assert tb.waiting["kp_done"] == 0 and codes
    assert tb.jobs == 4


def illegal_changes(cfg, job):
    """List of (what, change of the job, expected code, expected info) for the kind of ``job``."""
    bus, top = cfg.BUS_BYTES, 1 << cfg.ADDR_W
    predict, generate = job["predict"], job["generate"]
    cases = [("d", v, regs.Err.HEAD_DIM) for v in (0, 4, 12, cfg.D_MAX + 8, 1 << 31)]
    cases += [("keys", v, regs.Err.KEYS) for v in (0, cfg.KEYS_MAX + 1)]
    cases += [("snap", v, regs.Err.SNAP) for v in ((3,) if cfg.TWO_TERM else (2, 3))]
    cases += [("mode_extra", 1 << b, regs.Err.MODE) for b in (13, 31)]
    cases += [("rope", 3, regs.Err.ROPE)]
    cases += [("next", v, regs.Err.NEXT) for v in (4, 128, top, 1 << 47) if v == 4 or v % 256
              or v >= top]
    if predict:
        cases += [("kv_heads", v, regs.Err.KV_HEADS) for v in (0, 1025)]
        cases += [(n, 1, regs.Err.KIND) for n in ("dense", "generate", "vb_load")]
    else:
        low = max(cfg.COLS, 4)
        cases += [("rows", v, regs.Err.QUERY_ROWS) for v in (0, cfg.KEYS_MAX + 1)]
        cases += [("heads", v, regs.Err.HEADS) for v in (0, 1025)]
        cases += [("kv_heads", v, regs.Err.KV_HEADS) for v in (0, job["heads"] + 1)]
        cases += [("offset", cfg.KEYS_MAX, regs.Err.CAUSAL_OFFSET)]
        cases += [("bc", v, regs.Err.TILE_KEYS) for v in (0, low // 2, low + 1, 2 * cfg.BC_MAX)]
        cases += [("band", v, regs.Err.BAND) for v in (0, cfg.places(job["d"]) + 1, 1 << 31)]
        cases += [("fall", v, regs.Err.FALL) for v in (256, 1 << 31)]
        least = job["offset"] + job["rows"] - job["keys"] + 1
        wide = max(1, least)
        cases += [("window", v, regs.Err.WINDOW)
                  for v in (window_word(cfg.KEYS_MAX + 1), window_word(0, 1), window_word(0, 127),
                            window_word(wide, job["bc"] + 1), 1 << 17, 1 << 23, 1 << 31,
                            *([window_word(least - 1)] if least > 1 else []))]
    if not (generate or predict):
        cases += [("vb_load", 1, regs.Err.KIND)]
    if predict or generate:
        cases += [("model_dim", v, regs.Err.MODEL_DIM) for v in (0, 4, 20, cfg.H_MAX + 8, 1 << 31)]
    cases = [(name, {name: v}, code, 0) for name, v, code in cases]
    if not predict and wide <= cfg.KEYS_MAX:
        cases.append(("window without causal", {"causal": 0, "window": window_word(wide)},
                      regs.Err.WINDOW, 0))
    kinds = (("dense", "sort"), ("dense", "blend"), ("sort", "blend"))
    cases += [(what, {"blend": 0, **dict.fromkeys(what, 1)}, regs.Err.KIND, 0) for what in kinds]
    if not parameters()["SORT"]:
        cases += [("sort", {"sort": 1, "blend": 0, "quota": 1}, regs.Err.SELECT, 0)]
    elif not predict:
        cases += [("quota", {"sort": 1, "blend": 0, "quota": v}, regs.Err.QUOTA, 0)
                  for v in (0, cfg.BC_MAX + 1)]
    if predict:
        cases.append(("share", {"share": 1}, regs.Err.KIND, 0))
    else:
        group = job["heads"] // job["kv_heads"]
        cases += [("share", {"share": 1, **change}, regs.Err.SHARE, 0)
                  for change in ({"rows": cfg.ROWS // group + 1, "band": 1},
                                 {"rows": cfg.KEYS_MAX, "band": 1}, {"rows": 1, "band": 2, "d": 8})]
    if not predict:
        cases.append(("heads not a multiple", {"heads": 5, "kv_heads": 2}, regs.Err.KV_HEADS, 0))
    if generate:
        passes = -(-2 * cfg.D_MAX // cfg.ROWS)
        over = cfg.WGT_WORDS // passes // 8 * 8 + 8
        cases.append(("weights", {"d": cfg.D_MAX, "model_dim": over, "band": 1},
                      regs.Err.WEIGHTS, 0))
    for name in used(job):
        i = INDEX[name]
        heads, count, size = shape(name, job, cfg)

        def change(field, value, i=i):
            values = list(job[field])
            values[i] = value
            return {field: values}

        cases += [(f"{name} base", change("base", job["base"][i] + bus // 2),
                   regs.Err.BASE_ALIGN, i),
                  (f"{name} end", change("base", top - bus), regs.Err.ADDR_RANGE, i)]
        if name not in NO_ROWS:
            cases += [(f"{name} stride", change("stride", job["stride"][i] + 4),
                       regs.Err.STRIDE_ALIGN, i),
                      (f"{name} stride small", change("stride", size - bus),
                       regs.Err.STRIDE_SMALL, i)]
            assert count > 1
            cases += [(f"{name} span", change("stride", (1 << 32) - bus), regs.Err.ADDR_RANGE, i)]
        if headed(name, job):
            assert heads > 1
            cases += [(f"{name} head stride", change("hstride", job["hstride"][i] + bus // 2),
                       regs.Err.HEAD_STRIDE_ALIGN, i),
                      (f"{name} head stride small", change("hstride", size - bus),
                       regs.Err.HEAD_STRIDE_SMALL, i)]
        for other in written(job):
            # The later of two in the order of the check is named.
            if other != name and (name not in written(job) or INDEX[other] < i):
                cases += [(f"{name} at {other}",
                           change("base", job["base"][INDEX[other]]),
                           regs.Err.OVERLAP, i),
                          (f"{name} at the end of {other}",
                           change("base", end(other, job, cfg) - bus), regs.Err.OVERLAP, i),
                          (f"{name} ends in {other}",
                           change("base", job["base"][INDEX[other]]
                                  - (end(name, job, cfg) - job["base"][i]) + bus),
                           regs.Err.OVERLAP, i)]
    return cases


@cocotb.test()
@cocotb.parametrize(kind=list(KINDS))
async def illegal_fields(dut, kind):
    """Each illegal field gives its code and buffer, moves nothing, and leaves a usable core."""
    tb = TB(dut)
    await tb.reset()
    job = legal_job(tb.cfg, random, kind, small=True, kv_heads=3)
    # Room below the first buffer for those that are moved there.
    blend = int(kind != "predict")
    # Several row blocks; several chunks.
    more = {"d": tb.cfg.D_MAX} if kind == "predict" else {"rows": 3 * tb.cfg.ROWS}
    job = legal_again(job, tb.cfg, dense=0, sort=0, blend=blend, rope=1, **more)
    await tb.run(job)
    tried = 0
    for what, change, code, info in illegal_changes(tb.cfg, job):
        before = tb.issued()
        tb.load(job, **change)
        await tb.pulse("start")
        assert await tb.result() == (code, info), f"{what}: {change}"
        assert tb.issued() == before, f"{what} issued commands"
        await RisingEdge(dut.clk)
        same_signals("seq", dut, busy=0)
        tried += 1
    assert tried > 30 and tb.jobs == 1
    await tb.run(legal_job(tb.cfg, random, kind, small=True))


@cocotb.test()
async def extreme_legal_fields(dut):
    """The ends of the legal ranges are accepted; buffers may touch each other and the top, and lie
    anywhere."""
    tb = TB(dut)
    await tb.reset()
    cfg, top = tb.cfg, 1 << tb.cfg.ADDR_W
    small = {"keys": 3, "kv_heads": 1}
    one = {"rows": 1, "heads": 1, **small}
    widest = min(cfg.H_MAX, cfg.WGT_WORDS // -(-2 * cfg.D_MAX // cfg.ROWS) // 8 * 8)
    sort = {"sort": parameters()["SORT"], "dense": 0, "blend": 0}
    ends = [("cached", {**one, "offset": cfg.KEYS_MAX - 1, **sort, "quota": cfg.BC_MAX,
                        "fall": 255, "band": cfg.places(cfg.D_MAX)}),
            ("cached", {**one, "offset": cfg.KEYS_MAX - 1, "causal": 1, "rows": cfg.KEYS_MAX}),
            ("cached", {**one, "rows": 2, "keys": cfg.KEYS_MAX}),
            ("cached", {**one, "causal": 1, "offset": 5, "bc": cfg.BC_MAX, "rows": 2,
                        "window": window_word(5, cfg.BC_MAX)}),
            ("cached", {**one, "causal": 1, "offset": cfg.KEYS_MAX - 3, "keys": cfg.KEYS_MAX,
                        "window": window_word(cfg.KEYS_MAX, 1)}),
            ("generate", {**one, "causal": 1, "offset": 2, "window": window_word(1)}),
            ("cached", {"rows": 1, "heads": cfg.ROWS, **small, "share": 1, "band": 1}),
            ("cached", {**one, "heads": 1024}),
            ("predict", {"kv_heads": 1024, "d": 8, "keys": 1, "model_dim": 8}),
            ("predict", {"d": cfg.D_MAX, "model_dim": cfg.H_MAX, **small}),
            ("predict", {"d": 8, "model_dim": 8, "keys": cfg.KEYS_MAX, "kv_heads": 1}),
            ("generate", {**one, "rows": 2}),
            ("generate", {**one, "heads": 1024, "kv_heads": 1024, "keys": 1}),
            ("cached", {**one, "heads": 96, "kv_heads": 48}),
            ("predict", {"kv_heads": 48, "d": cfg.D_MAX, "keys": 1, "model_dim": 8}),
            # As many tiles as there can be
            ("cached", {**one, "keys": cfg.KEYS_MAX, "bc": parameters()["BC_MIN"], "dense": 1,
                        "sort": 0, "blend": 0}),
            ("generate", {**one, "d": cfg.D_MAX, "heads": 2, "model_dim": widest, "band": 1})]
    for kind, changes in ends:
        job = legal_again(legal_job(cfg, random, kind, small=True), cfg, **changes)
        # Buffers directly behind each other, the last one ends at the top of the memory.
        at = top
        for name in sorted(used(job), key=INDEX.get, reverse=True):
            i = INDEX[name]
            at -= end(name, job, cfg) - job["base"][i]
            job["base"][i] = at
            if shape(name, job, cfg)[0] == 1:
                # The stride of a single head is never used.
                job["hstride"][i] = 0
        await tb.run(job)
    # Heads as far apart as they may be, those of a KV head in one block.
    job = legal_again(legal_job(cfg, random, small=True), cfg, rows=1, keys=3, kv_heads=2,
                      heads=2 * min(cfg.ROWS, 8), share=1, band=1)
    at = cfg.BUS_BYTES
    for name in sorted(used(job), key=INDEX.get):
        i = INDEX[name]
        if name in ("q", "o", "ht"):
            job["hstride"][i] = (1 << 32) - cfg.BUS_BYTES
        job["base"][i] = at
        at = end(name, job, cfg)
    await tb.run(job)
    for number in range(6):
        await tb.run(legal_job(cfg, random, KINDS[number % 2], wide=True))
    assert tb.jobs == len(ends) + 7


@cocotb.test()
@cocotb.parametrize(backpressure=[0.0, 0.5])
async def chains(dut, backpressure):
    """Chains of random jobs, from the registers and from memory: commands, JOBS, one end."""
    tb = TB(dut, backpressure, seed=random.getrandbits(30))
    await tb.reset()
    for length in (1, 2, 5, 4):
        jobs = [legal_job(tb.cfg, random, random.choice(KINDS), small=random.random() < 0.6,
                          share=True)
                for _ in range(length)]
        # One of them at the top of the memory.
        top = (1 << (tb.cfg.ADDR_W - 8)) - 1
        places = [*random.sample(range(1, top), length - 1), top]
        random.shuffle(places)
        for job, place, after in zip(jobs, places, [*places[1:], 0], strict=True):
            job["next"] = 256 * after
            tb.memory[256 * place] = words(job)
        start = random.choice(("start", "start_chain"))
        if start == "start":
            tb.load(jobs[0])
            places = places[1:]
        else:
            # Nothing but NEXT matters.
            tb.load(legal_job(tb.cfg, random), next=256 * places[0], d=random.getrandbits(32))
        marks = tb.marks()
        tb.jobs, tb.dones, tb.loads = 0, 0, []
        ended = cocotb.start_soon(tb.result())
        await tb.pulse(start)
        while not ended.done():
            await RisingEdge(dut.clk)
            if not ended.done():
                assert dut.busy.value == 1 or tb.jobs == length or dut.done.value == 1, \
                    "busy fell within a chain"
        same("seq code, info", (0, 0), ended.result())
        await RisingEdge(dut.clk)
        same("seq", [length, 1], [tb.jobs, tb.dones], field="jobs, ends")
        same_signals("seq", dut, busy=0)
        same("seq descriptors", [256 * p for p in places], tb.loads)
        same("seq registers", words(jobs[-1]), tb.words)
        assert tb.compare(marks, jobs) > 0
    assert tb.issued() > 50


@cocotb.test()
async def faults_in_a_chain(dut):
    """An illegal or unreadable descriptor, or an illegal NEXT, ends the chain where it stands."""
    tb = TB(dut)
    await tb.reset()
    cfg = tb.cfg
    checked = 0
    for kind in ("field", "next", "read slverr", "read decerr") * 2:
        length, bad = 3, random.randrange(3)
        jobs = [legal_job(cfg, random, random.choice(KINDS), small=True) for _ in range(length)]
        for i, job in enumerate(jobs):
            job["next"] = 256 * (i + 2) if i < length - 1 else 0
        want = {"field": (regs.Err.HEAD_DIM, 0), "next": (regs.Err.NEXT, 0),
                "read slverr": (regs.Err.READ_SLVERR, 7),
                "read decerr": (regs.Err.READ_DECERR, 7)}[kind]
        if kind == "field":
            jobs[bad]["d"] += 4
        elif kind == "next":
            jobs[bad]["next"] += random.choice((8, 128, 1 << cfg.ADDR_W))
        tb.memory = {256 * (i + 1): words(job) for i, job in enumerate(jobs)}
        tb.load(legal_job(cfg, random), next=256)
        marks = tb.marks()
        tb.jobs, tb.dones, tb.loads = 0, 0, []
        ended = cocotb.start_soon(tb.result())
        await tb.pulse("start_chain")
        if kind.startswith("read"):
            while len(tb.loads) <= bad:
                assert not ended.done(), "the chain ended before its descriptors were read"
                await RisingEdge(dut.clk)
            for _ in range(random.randint(0, 40)):
                await RisingEdge(dut.clk)
            dut.rd_err_stream.value = 7
            dut.rd_err_resp.value = 2 if kind == "read slverr" else 3
            await tb.pulse("rd_err_valid")
        assert await ended == want, kind
        assert (tb.jobs, tb.dones, len(tb.loads)) == (bad, 0, bad + 1), kind
        tb.compare(marks, jobs[:bad])
        await RisingEdge(dut.clk)
        same_signals("seq", dut, busy=0)
        checked += 1
        await tb.run(legal_job(cfg, random, small=True))
    assert checked == 8
    for value in (0, 4, 255, 1 << cfg.ADDR_W):
        before = tb.issued()
        tb.load(legal_job(cfg, random), next=value)
        await tb.pulse("start_chain")
        same("seq code, info", (regs.Err.NEXT, 0), await tb.result(10))
        assert tb.issued() == before


@cocotb.test()
async def endless_chain(dut):
    """A chain that comes back to itself runs until a soft reset."""
    tb = TB(dut)
    await tb.reset()
    jobs = [legal_job(tb.cfg, random, kind, small=True) for kind in ("predict", "generate")]
    for job, place, following in zip(jobs, (256, 512), (512, 256), strict=True):
        job["next"] = following
        tb.memory[place] = words(job)
    tb.load(jobs[0], next=256)
    await tb.pulse("start_chain")
    while len(tb.loads) < 7:
        await RisingEdge(dut.clk)
        same_signals("seq", dut, busy=1)
    await tb.pulse("soft_reset")
    same("seq code, info", (regs.Err.ABORTED, 0), await tb.result())
    same("seq descriptors", [256, 512] * 3 + [256], tb.loads)
    same("seq", [6, 0], [tb.jobs, tb.dones], field="jobs, ends")
    assert tb.compare([0] * 6, jobs * 3) > 0


async def stopped(tb, want, why):
    """Check the end of a job after a fault: halt, idle masters, reset of the stages, report."""
    dut = tb.dut
    await RisingEdge(dut.clk)
    await RisingEdge(dut.clk)
    for _ in range(40):
        await RisingEdge(dut.clk)
        same_signals("seq", dut, halt=1, stage_rst=0, busy=1)
    dut.rd_idle.value = 1
    for _ in range(30):
        await RisingEdge(dut.clk)
        same_signals("seq", dut, stage_rst=0)
    dut.wr_idle.value = 1
    # 16 cycles at rest; a shorter rest does not count.
    busy = random.choice((dut.rd_idle, dut.wr_idle))
    for resting in (13, 1, 16):
        busy.value = int(resting != 1)
        for _ in range(resting):
            await RisingEdge(dut.clk)
            same_signals("seq", dut, halt=1, stage_rst=0)
    cleared = 0
    for _ in range(40):
        if dut.err_valid.value == 1:
            break
        await RisingEdge(dut.clk)
        cleared += int(dut.stage_rst.value)
    assert (int(dut.err_code.value), int(dut.err_info.value)) == want, why
    assert cleared == 8, cleared
    await RisingEdge(dut.clk)
    await Timer(1, unit="ns")
    same_signals("seq", dut, busy=0)


@cocotb.test()
async def faults(dut):
    """Bus errors and soft reset halt, wait for idle masters, clear the stages and report."""
    tb = TB(dut)
    await tb.reset()
    cases = [("rd", stream, resp) for stream in range(8) for resp in (2, 3)]
    cases += [("wr", i, resp) for i in (0, 1) for resp in (2, 3)] + [("soft", 0, 0)] * 3
    for index, (kind, stream, resp) in enumerate(cases):
        tb.hold = True
        job = legal_job(tb.cfg, random, KINDS[index % 3])
        tb.load(job)
        await tb.pulse("start")
        for _ in range(random.randint(1, 200)):
            await RisingEdge(dut.clk)
        dut.rd_idle.value = 0
        dut.wr_idle.value = 0
        if kind == "soft":
            await tb.pulse("soft_reset")
            want = (regs.Err.ABORTED, 0)
        elif kind == "rd":
            dut.rd_err_stream.value = stream
            dut.rd_err_resp.value = resp
            await tb.pulse("rd_err_valid")
            want = (regs.Err.READ_SLVERR if resp == 2 else regs.Err.READ_DECERR, stream)
        else:
            dut.wr_err_id.value = stream
            dut.wr_err_resp.value = resp
            await tb.pulse("wr_err_valid")
            want = (regs.Err.WRITE_SLVERR if resp == 2 else regs.Err.WRITE_DECERR, stream)
        await stopped(tb, want, (kind, stream, resp))
        # the next job runs
        tb.hold = False
        await tb.run(legal_job(tb.cfg, random, random.choice(KINDS), small=True))
    assert tb.jobs == len(cases)


@cocotb.test()
async def protocol_faults(dut):
    """A beat or an answer that nobody asked for ends the job with its code and ID; at rest it does
    nothing."""
    tb = TB(dut)
    await tb.reset()
    cases = [("rd", "stream", i, regs.Err.READ_PROTOCOL) for i in (0, 7)]
    cases += [("wr", "id", i, regs.Err.WRITE_PROTOCOL) for i in (0, 1, 7)]
    for side, field, number, code in cases:
        getattr(dut, f"{side}_err_protocol").value = 1
        getattr(dut, f"{side}_err_resp").value = random.randrange(4)
        getattr(dut, f"{side}_err_{field}").value = number
        await tb.pulse(f"{side}_err_valid")
        for _ in range(5):
            await RisingEdge(dut.clk)
            same_signals("seq", dut, busy=0, err_valid=0)
        tb.hold = True
        tb.load(legal_job(tb.cfg, random))
        await tb.pulse("start")
        for _ in range(random.randint(1, 100)):
            await RisingEdge(dut.clk)
        await tb.pulse(f"{side}_err_valid")
        same("seq code, info", (code, number), await tb.result(100))
        same_signals("seq", dut, err_lost=0)
        getattr(dut, f"{side}_err_protocol").value = 0
        tb.hold = False
        await tb.run(legal_job(tb.cfg, random, small=True))
    assert tb.jobs == len(cases)


async def stuck(tb, **waits):
    """Start a job and let memory owe something: ``rd`` and ``wr`` give the wait bits."""
    tb.hold = True
    tb.load(legal_job(tb.cfg, random, random.choice(KINDS)))
    await tb.pulse("start")
    for _ in range(random.randint(1, 60)):
        await RisingEdge(tb.dut.clk)
    for side, bits in waits.items():
        getattr(tb.dut, f"{side}_wait").value = bits
        getattr(tb.dut, f"{side}_idle").value = 0


# Cycles from the last one of a wait that is too long to the edge that sees the masters halted.
HALT_LATENCY = 3


async def until_halt(tb, limit):
    """Cycles until the masters are seen halted, more than ``limit``: None."""
    for cycle in range(limit):
        if tb.dut.halt.value == 1:
            return cycle
        await RisingEdge(tb.dut.clk)
    return None


async def freed(tb):
    """The stages are in reset: the masters wait for nothing any more."""
    dut = tb.dut
    while dut.stage_rst.value == 0:
        await RisingEdge(dut.clk)
    for side in ("rd", "wr"):
        getattr(dut, f"{side}_wait").value = getattr(dut, f"{side}_move").value = 0
        getattr(dut, f"{side}_idle").value = 1
    tb.hold = False


@cocotb.test()
async def timeouts(dut):
    """TIMEOUT cycles without a move of a side that waits end the job, whatever the other side does;
    then the halt waits for the other side alone."""
    tb = TB(dut)
    await tb.reset()
    ran = 0
    for side, bits in (("rd", 1), ("rd", 2), ("rd", 3), ("wr", 1), ("wr", 2), ("wr", 4), ("wr", 7)):
        limit = random.choice((1, 2, 40))
        other = "wr" if side == "rd" else "rd"
        move = getattr(dut, f"{side}_move")
        dut.timeout.value = limit
        # Waits of ``limit`` cycles are allowed; the other side moves in every cycle.
        getattr(dut, f"{other}_move").value = 1
        move.value = 1
        await stuck(tb, **{side: bits, other: 1})
        for _ in range(4):
            move.value = 0
            same("seq cycles to the halt", None, await until_halt(tb, limit))
            await tb.pulse(f"{side}_move")
        same("seq cycles to the halt", limit + HALT_LATENCY, await until_halt(tb, limit + 10))
        for _ in range(60):
            await RisingEdge(dut.clk)
            same_signals("seq", dut, stage_rst=0, halt=1)
        # The other side comes to rest; in some of the rounds this one wakes up meanwhile.
        awake = ran % 3 == 2
        if awake:
            getattr(dut, f"{side}_wait").value = 0
            getattr(dut, f"{side}_idle").value = 1
        getattr(dut, f"{other}_wait").value = 0
        getattr(dut, f"{other}_idle").value = 1
        cocotb.start_soon(freed(tb))
        code = regs.Err.READ_TIMEOUT if side == "rd" else regs.Err.WRITE_TIMEOUT
        same("seq code, info", (code, bits), await tb.result(40))
        same_signals("seq", dut, err_lost=0 if awake else 1 if side == "rd" else 2)
        # None, or more than any wait here.
        dut.timeout.value = random.choice((0, 1 << 31, random.getrandbits(32) | 1 << 20))
        await tb.run(legal_job(tb.cfg, random, small=True))
        ran += 1
    assert tb.jobs == ran == 7


@cocotb.test()
async def ways_out_of_the_halt(dut):
    """Masters that never come to rest after a fault: the time-out or a second soft reset ends the
    halt; a soft reset is a first one where the fault was another; a limit may come late."""
    tb = TB(dut)
    await tb.reset()
    for first in ("soft_reset", "rd_err_valid"):
        for way in ("timeout", "soft_reset"):
            dut.rd_err_resp.value, dut.rd_err_stream.value = 2, 3
            await stuck(tb, rd=2, wr=5)
            await tb.pulse(first)
            if first != "soft_reset":
                await tb.pulse("soft_reset")
            for _ in range(100):
                await RisingEdge(dut.clk)
                same_signals("seq", dut, halt=1, stage_rst=0)
            if way == "timeout":
                dut.timeout.value = 30
            else:
                await tb.pulse("soft_reset")
                await RisingEdge(dut.clk)
                same_signals("seq", dut, stage_rst=1)
            cocotb.start_soon(freed(tb))
            want = (regs.Err.ABORTED, 0) if first == "soft_reset" else (regs.Err.READ_SLVERR, 3)
            same("seq code, info", want, await tb.result(60))
            same_signals("seq", dut, err_lost=3)
            dut.timeout.value = 0
            await tb.run(legal_job(tb.cfg, random, small=True))
    # Without a limit a job waits, until there is one.
    await stuck(tb, wr=4)
    same("seq cycles to the halt", None, await until_halt(tb, 300))
    dut.timeout.value = 20
    same("seq cycles to the halt", 20 + HALT_LATENCY, await until_halt(tb, 30))
    cocotb.start_soon(freed(tb))
    same("seq code, info", (regs.Err.WRITE_TIMEOUT, 4), await tb.result(40))
    assert tb.jobs == 4


@cocotb.test()
async def faults_at_the_end(dut):
    """A fault around the last cycle of a job: it ends once, as done or with the fault, and what
    comes after the end changes nothing."""
    tb = TB(dut)
    await tb.reset()
    seen = set()
    for kind in ("soft_reset", "rd_err_valid", "wr_err_valid"):
        for following in (0, 512):
            job = legal_job(tb.cfg, random, random.choice(KINDS), small=True)
            tb.memory[512] = words(job)
            job = {**job, "next": following}
            length = await tb.length(job)
            for early in range(6):
                tb.load(job)
                tb.jobs = tb.dones = 0
                await tb.pulse("start")
                for _ in range(length - early):
                    await RisingEdge(dut.clk)
                await tb.pulse(kind)
                errors = await tb.at_rest()
                want = tb.jobs == 1 + (following != 0)
                assert (tb.dones, errors) == (int(want), int(not want)), (kind, early)
                assert want or tb.jobs <= int(following != 0), (kind, early)
                seen.add((following, tb.jobs, errors))
    assert {(0, 1, 0), (0, 0, 1), (512, 0, 1), (512, 1, 1)} <= seen, seen


@cocotb.test()
async def soft_reset_in_a_load(dut):
    """A soft reset in every part of the reading of a descriptor; the next chain is whole."""
    # The sinks take every command at once: a reset may not surprise them in the middle of one.
    tb = TB(dut, rate=0.5)
    await tb.reset()
    length = 12 * 256 // tb.cfg.BUS_BYTES
    caught = {"command": 0, "words": 0}
    for delay in [*range(1, 8), *random.sample(range(8, length), 14)]:
        job = legal_job(tb.cfg, random, random.choice(KINDS), small=True)
        tb.memory[512] = words(job)
        tb.hold = True
        tb.load(job, next=512)
        before = len(tb.loads)
        await tb.pulse("start_chain")
        for _ in range(delay):
            await RisingEdge(dut.clk)
        caught["words" if len(tb.loads) > before else "command"] += 1
        dut.rd_idle.value = 0
        dut.wr_idle.value = 0
        await tb.pulse("soft_reset")
        await stopped(tb, (regs.Err.ABORTED, 0), delay)
        tb.hold = False
        marks = tb.marks()
        tb.load(job, next=512)
        await tb.pulse("start_chain")
        same("seq code, info", (0, 0), await tb.result())
        assert tb.compare(marks, [job])
    assert all(caught.values()), caught


@cocotb.test()
async def documented_times(dut):
    """Cycles from the start to the first commands, and of the reading of a descriptor."""
    tb = TB(dut)
    await tb.reset()

    async def count(signal):
        cycles = 0
        while getattr(dut, signal).value == 0:
            assert cycles < 1000, f"{signal} never came"
            await RisingEdge(dut.clk)
            cycles += 1
        return cycles

    measured = 0
    for kind in KINDS * 3:
        job = legal_job(tb.cfg, random, kind)
        tb.load(job)
        await tb.pulse("start")
        check = 30 + 7 * len(used(job))
        if kind == "predict":
            fit = max(1, tb.cfg.ROWS // job["d"])
            last = 0 if job["d"] > tb.cfg.ROWS else (job["kv_heads"] - 1) % fit
            expected = check + 1 + fit + -(-job["kv_heads"] // fit) + last
            same("seq cycles to tc", expected, await count("tc_valid"))
            same_signals("seq", dut, tn_valid=1)
        else:
            expected = check + job["heads"] // job["kv_heads"]
            same("seq cycles to the table", expected, await count("d_c_valid"))
            if not job["dense"]:
                same("seq cycles to tc", 10 + (job["window"] > 0), await count("tc_valid"))
        same("seq code, info", (0, 0), await tb.result())
        measured += 1
    tb.memory[256] = words(job)
    tb.load(job, next=256)
    await tb.pulse("start_chain")
    load = await count("d_wr_valid")
    while int(dut.d_wr_word.value) != 63 and load < 1000:
        await RisingEdge(dut.clk)
        load += 1
    # The memory answers at once.
    same("seq cycles of a descriptor", 66 + 256 // tb.cfg.BUS_BYTES, load)
    same("seq code, info", (0, 0), await tb.result())
    assert measured == 9


@cocotb.test()
async def entries_that_are_not_legal(dut):
    """Each illegal field of a table entry ends the job with the number of its head; what was given
    before is right, and the next job runs."""
    # The sinks take every command at once: a reset may not surprise them in the middle of one.
    tb = TB(dut, rate=0.5)
    await tb.reset()
    cfg, tried = tb.cfg, 0
    for field, values in {"scale_shift": (48, 255), "octave": (cfg.SC_W, 255),
                          "tau": (1, 32767, (-second.LEAST_TAU << cfg.LOG_FRAC) - 1, -32768),
                          "radius": (1 << cfg.SC_W, 1 << 31),
                          "shift of K": (1, 41, 255), "shift of V": (1, 41, 255)}.items():
        for value in values:
            # A shift of 1 has no meaning where nothing is made.
            kind = KINDS[0] if value == 1 else random.choice(KINDS[:2])
            job = legal_job(cfg, random, kind, small=True)
            job["heads"] = job["kv_heads"] * random.randint(1, 3)
            if not tried:
                job["heads"], job["kv_heads"] = 600, 2
            job = legal_again(job, cfg)
            head = random.choice((0, job["heads"] - 1, random.randrange(job["heads"])))
            at = job["base"][INDEX["ht"]] + head * job["hstride"][INDEX["ht"]]
            fields, shifts, _ = entry(at, cfg)
            shifts = list(shifts) if job["generate"] else [0, 0]
            if field.startswith("shift"):
                shifts[field.endswith("V")] = value
            else:
                fields = replace(fields, **{field: value})
            tb.entries = {at: pack_entry(fields, shifts, random)}
            queries, *_, scales, asked = expected_commands(job, cfg)
            marks = tb.marks()
            tb.load(job)
            await tb.pulse("start")
            assert await tb.result() == (regs.Err.HEAD_ENTRY, head % 256), (field, value)
            good = asked.index(at)
            # Q may be ahead of the entry, scales are not.
            taken = tb.qc.items[marks[0]:]
            assert good < len(taken) <= good + AHEAD and taken == queries[:len(taken)]
            same("seq scales", scales[:good], tb.qs.items[marks[4]:])
            tb.entries = {}
            await RisingEdge(dut.clk)
            same_signals("seq", dut, busy=0)
            await tb.run(legal_job(cfg, random, random.choice(KINDS), small=True))
            tried += 1
    assert tried == 16 == tb.jobs


def long_job(cfg, select, d=8):
    """A job of several parts with many tiles each, several blocks in each part."""
    job = legal_job(cfg, random, "cached", small=True)
    return legal_again(
        job, cfg, d=d, rows=5 * cfg.ROWS, keys=min(cfg.KEYS_MAX, 20 * job["bc"]), heads=6,
        kv_heads=2, causal=0, band=1, blend=0, dense=int(select == second.DENSE),
        sort=int(select == second.SORT), quota=1)


@cocotb.test()
async def streams_run_apart(dut):
    """Q, K8 and turns: each goes on while another is held, as far as it needs nothing of it and the
    queues reach."""
    tb = TB(dut)
    await tb.reset()
    cfg = tb.cfg

    async def rest(cycles=400):
        for _ in range(cycles):
            await RisingEdge(dut.clk)

    for select in (second.SUM, second.SORT if parameters()["SORT"] else second.SUM):
        job = long_job(cfg, select)
        queries, tiles, turns, *_ = expected_commands(job, cfg)
        blocks = min(3, cfg.places(8))
        start = tb.marks()

        def seen(start=start):
            return [now - then for now, then in zip(tb.marks(), start, strict=True)][:5]

        tb.load(job)
        tb.gates["tn"].open = False
        await tb.pulse("start")
        await rest()
        # K8 runs ahead of the turns by the queue, scales by the table, Q of the scales.
        q, tc, tn, _, qs = seen()
        assert tn == 0 and 8 <= tc <= 10 and cfg.PLACES <= qs <= 2 * cfg.PLACES + 1, seen()
        assert qs <= q <= qs + AHEAD, seen()
        # Every turn whose K8 is commanded comes, and no other one.
        tb.gates["tc"].open = False
        await RisingEdge(dut.clk)
        await RisingEdge(dut.clk)
        tb.gates["tn"].open = True
        await rest()
        _, tc, tn, *_ = seen()
        assert tn == tc * blocks, seen()
        # Scales held: the turns stop at the block whose scales wait; K8 and Q at the queue.
        tb.gates["qs"].open = False
        tb.gates["tc"].open = True
        await rest(6000)
        q, tc, tn, _, qs = seen()
        assert q < len(queries) and tn < len(turns) and tc < len(tiles) and qs < q <= qs + AHEAD
        # As many blocks have begun as have scales, and the one whose scales wait.
        begun = [unpack_turn(word)["start"] for word in tb.tn.items[start[2]:]]
        assert sum(begun) in (qs, qs + 1)
        tb.gates["qs"].open = True
        # Q held: scales and turns stop AHEAD blocks behind.
        tb.gates["qc"].open = False
        await rest(6000)
        q, _, tn, _, qs = seen()
        assert qs - AHEAD <= q <= qs < len(queries) and tn < len(turns), seen()
        tb.gates["qc"].open = True
        same("seq code, info", (0, 0), await tb.result())
        await RisingEdge(dut.clk)
        tb.compare(start, [job])
    # All turns of the only block are taken, its Q command is not: the job goes on.
    job = legal_again(long_job(cfg, second.SUM), cfg, rows=cfg.ROWS, heads=1, kv_heads=1)
    start = tb.marks()
    tb.gates["qc"].open = False
    tb.load(job)
    await tb.pulse("start")
    await tb.tn.wait(start[2] + len(expected_commands(job, cfg)[2]), timeout=5000)
    await rest(50)
    same_signals("seq", dut, busy=1)
    same("seq", [2, start[0]], [tb.jobs, len(tb.qc.items)], field="jobs, Q commands")
    tb.gates["qc"].open = True
    same("seq code, info", (0, 0), await tb.result())
    await RisingEdge(dut.clk)
    tb.compare(start, [job])
    assert tb.jobs == 3


@cocotb.test()
async def rate(dut):
    """With a slow memory for the table: turns of a part with one block come every few cycles, so
    that no stage waits for them; a part costs little more."""
    tb = TB(dut)
    await tb.reset()
    cfg = tb.cfg
    tb.latency = 60
    measured = 0
    for select in (second.SUM, second.DENSE):
        job = legal_job(cfg, random, "cached", small=True)
        keys = min(cfg.KEYS_MAX, 20 * job["bc"])
        job = legal_again(job, cfg, rows=3 * cfg.ROWS, keys=keys, heads=1, kv_heads=1, causal=0,
                          band=1, blend=0, dense=int(select == second.DENSE), sort=0)
        mark = len(tb.tn.items)
        await tb.run(job)
        times = tb.tn.cycles[mark:]
        tiles = -(-keys // job["bc"])
        per_part = tiles + (select == second.SUM)
        assert len(times) == 3 * per_part
        cycles = [b - a for a, b in zip(times, times[1:], strict=False)]
        bits = cfg.RATIO_FRAC + 1 + (cfg.KEYS_MAX // parameters()["BC_MIN"]).bit_length() - 1
        turn = 1 + -(-bits // 2)
        inner = [c for i, c in enumerate(cycles) if (i + 1) % per_part]
        outer = [c for i, c in enumerate(cycles) if not (i + 1) % per_part]
        # Turns that have queued up come in 2 cycles.
        assert min(inner) == 2 and max(inner) == turn and inner.count(turn) > 10, (inner, turn)
        # The last turn of a sum needs no division.
        assert max(outer) <= 13, outer
        measured += len(cycles)
    # Many blocks in a part: two cycles each.
    job = long_job(cfg, second.SUM)
    mark = len(tb.tn.items)
    await tb.run(job)
    times = tb.tn.cycles[mark:]
    gaps = [b - a for a, b in zip(times, times[1:], strict=False)]
    assert min(gaps) == 2 and gaps.count(2) > len(gaps) // 2
    assert measured > 50


NAMES = ("ROWS", "COLS", "D_MAX", "BC_MAX", "BUS_BYTES", "KEYS_MAX", "ADDR_W", "TWO_TERM", "H_MAX",
         "STORE_BEATS", "PLACES")


def simulate(sim, seed, cfg, **extra):
    # One word less than the largest job of the smallest configuration needs.
    run("sofa_seq", __name__, {**{n: getattr(cfg, n) for n in NAMES}, "BC_MIN": max(cfg.COLS, 4),
                               "WGT_WORDS": cfg.WGT_WORDS - 1, "SC_W": cfg.SC_W, "SORT": 1,
                               **extra}, sim, seed=seed)


def second_config(name):
    """The model's Config of a configuration."""
    known = ("LAND", "LAND_BEATS", "FIFO", "SORT")
    return Config.from_parameters({n: v for n, v in CONFIGS[name].items() if n not in known}, name)


@pytest.mark.sims("verilator")
def test_largest_parameters(sim, seed):
    """The ends of the legal ranges where they are widest."""
    p = {"ROWS": 128, "COLS": 4, "D_MAX": 256, "BC_MAX": 64, "BUS_BYTES": 8, "KEYS_MAX": 65536,
         "ADDR_W": 48, "TWO_TERM": 1, "H_MAX": 4096, "BC_MIN": 4, "WGT_WORDS": 65536, "SC_W": 19,
         "PLACES": 8, "STORE_BEATS": 16384, "SORT": 1}
    run("sofa_seq", __name__, p, sim, seed=seed, testcase="extreme_legal_fields")


@pytest.mark.slow_on("icarus", "small", "lean", "paper")
@pytest.mark.slow_on("verilator", "small", "lean", "paper")
def test_sofa_seq(sim, config, seed):
    simulate(sim, seed, second_config(config.name))


@pytest.mark.sims("verilator")
@pytest.mark.configs("tiny")
def test_other_parameters(sim, config, seed):
    """No sort cores; places of a number that is no power of two; other fractions."""
    cfg = second_config("tiny").replace(STORE_BEATS=48, PLACES=8, LOG_FRAC=0, RATIO_FRAC=5)
    simulate(sim, seed, cfg, SORT=0, LOG_FRAC=0, RATIO_FRAC=5)


@pytest.mark.parametrize("bad", [
    {"PLACES": 6}, {"PLACES": 1}, {"STORE_BEATS": 100}, {"SORT": 2}, {"COLS": 3}, {"LOG_FRAC": 7},
    {"RATIO_FRAC": 13}, {"SC_W": 33}], ids=lambda bad: "-".join(map(str, *bad.items())))
def test_illegal_parameters_are_refused(sim, bad):
    with pytest.raises(BuildError, match="illegal_parameter_sofa_seq"):
        build("sofa_seq", bad, sim)
