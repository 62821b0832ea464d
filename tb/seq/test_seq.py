# SPDX-License-Identifier: Apache-2.0
"""Sequencer: descriptor checks, order and content of the commands, error and reset paths."""

from __future__ import annotations

import random

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge, Timer

from models import regs
from models.config import Config
from models.tiling import block_tiles, blocks, unpack_td
from tb.common.stream import StreamSink, pattern
from tb.runner import CLOCK_PERIOD_NS, parameters, run

BUFFERS = ("q", "k8", "k", "v", "o")
INPUTS = ("soft_reset", "start", "blk_done", "rd_err_valid", "wr_err_valid", "rd_err_stream",
          "rd_err_resp", "wr_err_resp")


def legal_job(cfg, rng, small=False, kv_heads=None):
    """A random legal job: scalars by port name, and base/stride/hstride lists in BUFFERS order.

    kv_heads: default random; given, there are two query heads for each.
    """
    bus = cfg.BUS_BYTES
    job = {
        "d": 8 * rng.randint(1, cfg.D_MAX // 8),
        "rows": rng.randint(1, 6 if small else min(cfg.KEYS_MAX, 5 * cfg.ROWS)),
        "keys": rng.randint(1, 6 if small else min(cfg.KEYS_MAX, 6 * cfg.BC_MAX)),
        "kv_heads": kv_heads or rng.randint(1, 3),
        "offset": rng.randrange(cfg.KEYS_MAX // 4),
        "bc": 1 << rng.randint((max(cfg.COLS, 4) - 1).bit_length(), cfg.SLOT_W),
        "quota": rng.randint(1, cfg.BC_MAX),
        "radius": rng.getrandbits(cfg.SC_W),
        "scale_m": rng.randint(1, 65535),
        "scale_shift": rng.randint(0, 47),
    }
    job["heads"] = job["kv_heads"] * (2 if kv_heads else rng.randint(1, 3))
    job["causal"], job["contiguous"], job["dense"] = (rng.randrange(2) for _ in range(3))
    job["snap"] = rng.randrange(3 if cfg.TWO_TERM else 2)
    job["base"], job["stride"], job["hstride"] = [], [], []
    at = 4096
    for name in BUFFERS:
        beats = cfg.beats8(job["d"]) if name == "k8" else cfg.beats16(job["d"])
        count = job["rows"] if name in "qo" else job["keys"]
        heads = job["heads"] if name in "qo" else job["kv_heads"]
        stride = bus * (beats + rng.choice((0, 0, 1, 5)))
        hstride = stride * count + bus * rng.choice((0, 3))
        job["base"].append(at)
        job["stride"].append(stride)
        job["hstride"].append(hstride)
        at += hstride * heads + bus * rng.choice((0, 0, 7))
    return job


class TB:
    """Clock, job inputs and command sinks of one sequencer."""

    def __init__(self, dut, backpressure=0.0, seed=0):
        self.dut = dut
        self.cfg = Config.from_parameters(
            {k: v for k, v in parameters().items() if k not in ("BC_MIN", "SC_W")}
            | {"COLS": parameters()["BC_MIN"]})
        cocotb.start_soon(Clock(dut.clk, CLOCK_PERIOD_NS, unit="ns").start())
        stall = (lambda s: pattern(backpressure, seed + s)) if backpressure else (lambda s: None)
        self.qc = StreamSink(dut, "qc", dut.clk, dut.rst, fields=("addr", "rows"),
                             backpressure=stall(1))
        self.tc = StreamSink(dut, "tc", dut.clk, dut.rst, fields=("k8addr", "k8inc", "td"),
                             backpressure=stall(2))

    async def reset(self):
        for name in INPUTS:
            getattr(self.dut, name).value = 0
        self.dut.rd_idle.value = 1
        self.dut.wr_idle.value = 1
        self.dut.rst.value = 1
        for _ in range(3):
            await RisingEdge(self.dut.clk)
        self.dut.rst.value = 0

    def load(self, job, **changes):
        """Drive the job's ports; ``changes`` override scalars, or (list name, index) -> value."""
        job = {**job, **{k: v for k, v in changes.items()}}
        mode = (job["dense"] << regs.MODE_DENSE_LSB | job["causal"] << regs.MODE_CAUSAL_LSB
                | job["contiguous"] << regs.MODE_CONTIGUOUS_LSB | job["snap"] << regs.MODE_SNAP_LSB
                | job.get("mode_extra", 0))
        self.dut.job_mode.value = mode
        for name in ("d", "rows", "keys", "heads", "kv_heads", "offset", "bc", "quota", "radius",
                     "scale_m", "scale_shift"):
            getattr(self.dut, f"job_{name}").value = job[name]
        for name, width in (("base", 48), ("stride", 32), ("hstride", 32)):
            getattr(self.dut, f"job_{name}").value = sum(
                v << (width * i) for i, v in enumerate(job[name]))

    async def pulse(self, name):
        getattr(self.dut, name).value = 1
        await RisingEdge(self.dut.clk)
        getattr(self.dut, name).value = 0

    async def result(self, limit=20000):
        """Wait for the end of a job; returns (code, info), code 0 for done."""
        for _ in range(limit):
            await RisingEdge(self.dut.clk)
            if self.dut.err_valid.value == 1:
                return int(self.dut.err_code.value), int(self.dut.err_info.value)
            if self.dut.done.value == 1:
                return 0, 0
        raise AssertionError("the sequencer never finished")


def expected_commands(job, cfg):
    """The (Q commands, tile commands) of a job, as dicts of port fields."""
    base, stride, hstride = (dict(zip(BUFFERS, job[n], strict=True))
                             for n in ("base", "stride", "hstride"))
    queries, tiles = [], []
    for head in range(job["heads"]):
        kv = head // (job["heads"] // job["kv_heads"])
        for row, n in blocks(job["rows"], cfg):
            queries.append({"addr": base["q"] + head * hstride["q"] + row * stride["q"],
                            "rows": n})
            for t in block_tiles(row, n, job["keys"], job["bc"], causal=bool(job["causal"]),
                                 offset=job["offset"], interleaved=not job["contiguous"]):
                at = {b: base[b] + kv * hstride[b] + t.k0 * stride[b] for b in ("k8", "k", "v")}
                td = t.descriptor(
                    kaddr=at["k"], vaddr=at["v"], kinc=t.kstep * stride["k"],
                    vinc=t.kstep * stride["v"],
                    oaddr=base["o"] + head * hstride["o"] + row * stride["o"])
                tiles.append({"k8addr": at["k8"], "k8inc": t.kstep * stride["k8"], "td": td})
    return queries, tiles


@cocotb.test()
async def commands(dut):
    """Random jobs: every command equals the tiling model's, in order, under back-pressure."""
    tb = TB(dut, backpressure=0.4, seed=random.getrandbits(30))
    await tb.reset()
    compared = 0
    for _ in range(12):
        job = legal_job(tb.cfg, random)
        queries, tiles = expected_commands(job, tb.cfg)
        q0, t0 = len(tb.qc.items), len(tb.tc.items)
        tb.load(job)
        await tb.pulse("start")
        cocotb.start_soon(finish_from(tb, q0, len(queries)))
        assert await tb.result(200000) == (0, 0)
        assert tb.qc.items[q0:] == queries
        got = tb.tc.items[t0:]
        assert len(got) == len(tiles)
        for i, (have, want) in enumerate(zip(got, tiles, strict=True)):
            assert have == want, (i, unpack_td(have["td"]), unpack_td(want["td"]), have, want)
        compared += len(queries) + len(tiles)
    assert compared > 100


async def finish_from(tb, start, count):
    for i in range(count):
        await tb.qc.wait(start + i + 1, timeout=200000)
        await RisingEdge(tb.dut.clk)
        await tb.pulse("blk_done")


def illegal_changes(cfg, job):
    """List of (what, change of the job, expected code, expected info)."""
    bus, top = cfg.BUS_BYTES, 1 << cfg.ADDR_W
    cases = [("d", v, regs.ERR_HEAD_DIM) for v in (0, 4, 12, cfg.D_MAX + 8, 1 << 31)]
    cases += [("rows", v, regs.ERR_QUERY_ROWS) for v in (0, cfg.KEYS_MAX + 1)]
    cases += [("keys", v, regs.ERR_KEYS) for v in (0, cfg.KEYS_MAX + 1)]
    cases += [("heads", v, regs.ERR_HEADS) for v in (0, 1025)]
    cases += [("kv_heads", v, regs.ERR_KV_HEADS) for v in (0, job["heads"] + 1)]
    cases += [("offset", cfg.KEYS_MAX, regs.ERR_CAUSAL_OFFSET)]
    low = max(cfg.COLS, 4)
    cases += [("bc", v, regs.ERR_TILE_KEYS) for v in (0, low // 2, low + 1, 2 * cfg.BC_MAX)]
    cases += [("quota", v, regs.ERR_QUOTA) for v in (0, cfg.BC_MAX + 1)]
    cases += [("radius", 1 << cfg.SC_W, regs.ERR_RADIUS)]
    cases += [("scale_shift", 48, regs.ERR_SCALE_SHIFT)]
    cases += [("scale_m", v, regs.ERR_SCALE_MULT) for v in (0, 65536)]
    cases += [("snap", v, regs.ERR_SNAP) for v in ((3,) if cfg.TWO_TERM else (2, 3))]
    cases += [("mode_extra", 1 << 31, regs.ERR_MODE)]
    cases = [(name, {name: v}, code, 0) for name, v, code in cases]
    cases.append(("heads not a multiple", {"heads": 5, "kv_heads": 2}, regs.ERR_KV_HEADS, 0))
    for i, name in enumerate(BUFFERS):
        def change(field, value, i=i, more=None):
            values = list(job[field])
            values[i] = value
            return {field: values, "dense": 0, **(more or {})}

        cases += [
            (f"{name} base", change("base", job["base"][i] + bus // 2), regs.ERR_BASE_ALIGN, i),
            (f"{name} stride", change("stride", job["stride"][i] + 4), regs.ERR_STRIDE_ALIGN, i),
            (f"{name} head stride", change("hstride", job["hstride"][i] + bus // 2),
             regs.ERR_HEAD_STRIDE_ALIGN, i),
            (f"{name} stride 0", change("stride", 0), regs.ERR_STRIDE_SMALL, i),
            (f"{name} head stride 0", change("hstride", 0),
             regs.ERR_HEAD_STRIDE_SMALL, i),
            (f"{name} end", change("base", top - bus, more={"rows": 3, "keys": 3}),
             regs.ERR_ADDR_RANGE, i),
        ]
        if name != "o":
            cases.append((f"{name} overlap", change("base", job["base"][4]),
                          regs.ERR_OVERLAP, i))
    return cases


@cocotb.test()
async def illegal_fields(dut):
    """Each illegal field gives its code and buffer, moves nothing, and leaves a usable core."""
    tb = TB(dut)
    await tb.reset()
    job = legal_job(tb.cfg, random, small=True, kv_heads=2)
    tried = 0
    for what, change, code, info in illegal_changes(tb.cfg, job):
        before = len(tb.qc.items) + len(tb.tc.items)
        tb.load(job, **change)
        await tb.pulse("start")
        assert await tb.result() == (code, info), f"{what}: {change}"
        assert len(tb.qc.items) + len(tb.tc.items) == before, f"{what} issued commands"
        await RisingEdge(dut.clk)
        assert dut.busy.value == 0
        tried += 1
    assert tried > 40
    # dense mode does not read K8, so its fields do not matter there
    values = list(job["base"])
    values[1] += 1
    tb.load(job, base=values, dense=1)
    queries, _ = expected_commands(job, tb.cfg)
    await tb.pulse("start")
    cocotb.start_soon(finish_from(tb, len(tb.qc.items), len(queries)))
    assert await tb.result() == (0, 0)


@cocotb.test()
async def faults(dut):
    """Bus errors and soft reset halt, wait for idle masters, clear the stages and report."""
    tb = TB(dut)
    await tb.reset()
    cases = [("rd", stream, resp) for stream in range(4) for resp in (2, 3)]
    cases += [("wr", 0, 2), ("wr", 0, 3), ("soft", 0, 0)]
    for kind, stream, resp in cases:
        job = legal_job(tb.cfg, random)
        tb.load(job)
        await tb.pulse("start")
        for _ in range(random.randint(60, 120)):
            await RisingEdge(dut.clk)
        dut.rd_idle.value = 0
        dut.wr_idle.value = 0
        if kind == "soft":
            await tb.pulse("soft_reset")
            want = (regs.ERR_ABORTED, 0)
        elif kind == "rd":
            dut.rd_err_stream.value = stream
            dut.rd_err_resp.value = resp
            await tb.pulse("rd_err_valid")
            want = (regs.ERR_READ_SLVERR if resp == 2 else regs.ERR_READ_DECERR, stream)
        else:
            dut.wr_err_resp.value = resp
            await tb.pulse("wr_err_valid")
            want = (regs.ERR_WRITE_SLVERR if resp == 2 else regs.ERR_WRITE_DECERR, 4)
        await RisingEdge(dut.clk)
        await RisingEdge(dut.clk)
        for _ in range(40):
            await RisingEdge(dut.clk)
            assert dut.halt.value == 1 and dut.stage_rst.value == 0 and dut.busy.value == 1
        dut.rd_idle.value = 1
        for _ in range(30):
            await RisingEdge(dut.clk)
            assert dut.stage_rst.value == 0
        dut.wr_idle.value = 1
        cleared = 0
        while dut.err_valid.value == 0:
            await RisingEdge(dut.clk)
            cleared += int(dut.stage_rst.value)
        assert (int(dut.err_code.value), int(dut.err_info.value)) == want, (kind, stream, resp)
        assert cleared >= 4
        await RisingEdge(dut.clk)
        await Timer(1, unit="ns")
        assert dut.busy.value == 0
        # the next job runs
        job = legal_job(tb.cfg, random, small=True)
        queries, _ = expected_commands(job, tb.cfg)
        start = len(tb.qc.items)
        tb.load(job)
        await tb.pulse("start")
        cocotb.start_soon(finish_from(tb, start, len(queries)))
        assert await tb.result() == (0, 0)
        assert tb.qc.items[start:] == queries


def test_seq(sim, config, seed):
    cfg = Config.from_name(config.name)
    names = ("ROWS", "D_MAX", "BC_MAX", "BUS_BYTES", "KEYS_MAX", "ADDR_W", "TWO_TERM")
    run("seq", __name__, {**{n: getattr(cfg, n) for n in names},
                          "BC_MIN": max(cfg.COLS, 4), "SC_W": cfg.SC_W}, sim, seed=seed)
