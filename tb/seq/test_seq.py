# SPDX-License-Identifier: Apache-2.0
"""Sequencer: descriptor checks, order and content of the commands, chains, errors and resets."""

from __future__ import annotations

import random
from collections import deque

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge, Timer

from models import regs
from models.config import Config
from models.tiling import block_tiles, blocks, pack_td, unpack_td
from tb.common.stream import StreamSink, pattern
from tb.runner import CLOCK_PERIOD_NS, parameters, run

BUFFERS = tuple(name.lower() for name in regs.BUFFERS)
KINDS = ("cached", "generate", "predict")
# Buffers without head and without row strides.
NO_HEADS, NO_ROWS = ("x8", "x", "rt"), ("wc", "w", "vb")
SCALARS = {"d": "HEAD_DIM", "rows": "QUERY_ROWS", "keys": "KEYS", "heads": "HEADS",
           "kv_heads": "KV_HEADS", "offset": "CAUSAL_OFFSET", "bc": "TILE_KEYS",
           "quota": "QUOTA", "radius": "RADIUS", "scale_m": "SCALE_MULT",
           "scale_shift": "SCALE_SHIFT", "model_dim": "MODEL_DIM", "kp_exp": "KP_EXP",
           "kp_bias": "KP_BIAS", "kp_shift": "KP_SHIFT", "kg_shift_k": "KG_SHIFT_K",
           "kg_shift_v": "KG_SHIFT_V"}
"""Scalar of a job (and port job_<name>) -> register."""

MODE_BITS = ("DENSE", "CAUSAL", "CONTIGUOUS", "SNAP", "GENERATE", "PREDICT", "ROPE", "VB_LOAD")
INPUTS = ("soft_reset", "start", "start_chain", "blk_done", "kp_done", "kv_done", "rd_err_valid",
          "wr_err_valid", "rd_err_stream", "rd_err_resp", "wr_err_id", "wr_err_resp",
          "d_c_ready", "d_d_valid", "d_d_data")
WORD = 0xFFFFFFFF


def used(job):
    """Names of the buffers that a job uses."""
    if job["predict"]:
        return ("k8", "x8", "wc") + (("rt",) if job["rope"] else ())
    names = ("q", "k", "v", "o") + (() if job["dense"] else ("k8",))
    if job["generate"]:
        names += ("x", "w", "vb") + (("rt",) if job["rope"] else ())
    return names


def written(job):
    """Names of the buffers that a job writes, in the order of their numbers."""
    if job["predict"]:
        return ("k8",)
    return ("k", "v", "o", "vb") if job["generate"] else ("o",)


def chunks(job, cfg):
    """Chunks of a predict job: list of (first head, chunk within the head, used rows)."""
    d, rows, heads = job["d"], cfg.ROWS, job["kv_heads"]
    if d <= rows:
        fit = rows // d
        return [(h, 0, min(fit, heads - h) * d) for h in range(0, heads, fit)]
    return [(h, c, min(rows, d - c * rows)) for h in range(heads) for c in range(-(-d // rows))]


def shape(name, job, cfg):
    """(heads, vectors of a head, bytes of a vector in whole beats) of buffer ``name``."""
    d, dim, keys, heads = job["d"], job["model_dim"], job["keys"], job["kv_heads"]
    heads, count, size = {
        "q": (job["heads"], job["rows"], 2 * d), "o": (job["heads"], job["rows"], 2 * d),
        "k8": (heads, keys, d), "k": (heads, keys, 2 * d), "v": (heads, keys, 2 * d),
        "x8": (1, keys, dim), "wc": (None, 1, dim * cfg.ROWS // 2), "x": (1, keys, 2 * dim),
        "w": (heads, 1, -(-2 * d // cfg.ROWS) * dim * 2 * cfg.ROWS), "rt": (1, keys, 2 * d),
        "vb": (heads, 1, -(-keys // 8)),
    }[name]
    if heads is None:
        heads = len(chunks(job, cfg))
    return heads, count, -(-size // cfg.BUS_BYTES) * cfg.BUS_BYTES


def end(name, job, cfg):
    """Address behind the last vector of buffer ``name``."""
    heads, count, size = shape(name, job, cfg)
    i = BUFFERS.index(name)
    return job["base"][i] + (heads - 1) * job["hstride"][i] + (count - 1) * job["stride"][i] + size


def legal_job(cfg, rng, kind="cached", small=False, kv_heads=None):
    """A random legal job: scalars by port name, mode bits, and base/stride/hstride lists.

    Values that the kind of job does not use are random. kv_heads: default random; given, there
    are two query heads for each and no row or key alone.
    """
    bus = cfg.BUS_BYTES
    least = 3 if kv_heads else 1
    job = {
        "d": 8 * rng.randint(1, cfg.D_MAX // 8),
        "rows": rng.randint(least, 6 if small else min(cfg.KEYS_MAX, 5 * cfg.ROWS)),
        "keys": rng.randint(least, 6 if small else min(cfg.KEYS_MAX, 6 * cfg.BC_MAX)),
        "kv_heads": kv_heads or rng.randint(1, 3),
        "offset": rng.randrange(cfg.KEYS_MAX // 4),
        "bc": 1 << rng.randint((max(cfg.COLS, 4) - 1).bit_length(), cfg.SLOT_W),
        "quota": rng.randint(1, cfg.BC_MAX),
        "radius": rng.getrandbits(cfg.SC_W),
        "scale_m": rng.randint(1, 65535),
        "scale_shift": rng.randint(0, 47),
        "kp_exp": rng.randint(0, 8), "kp_bias": rng.randint(-32768, 32767) & WORD,
        "kp_shift": rng.randint(0, 15),
        "kg_shift_k": rng.randint(0, 40), "kg_shift_v": rng.randint(0, 40), "next": 0,
    }
    for name in ("dense", "causal", "contiguous", "vb_load"):
        job[name] = rng.randrange(2)
    job["snap"] = rng.randrange(3 if cfg.TWO_TERM else 2)
    job["rope"] = rng.randrange(3)
    job["generate"], job["predict"] = int(kind == "generate"), int(kind == "predict")
    if kind == "predict":
        job["keys"] = rng.randint(least, 6 if small else 4 * cfg.COLS)
        job["kv_heads"] = kv_heads or rng.randint(1, 8)
        job["dense"] = 0
    job["vb_load"] &= job["generate"]
    job["heads"] = job["kv_heads"] * (2 if kv_heads else rng.randint(1, 3))
    most = min(cfg.H_MAX, 256 if kind == "predict" else cfg.H_MAX)
    if kind == "generate":
        most = min(most, cfg.WGT_WORDS // -(-2 * job["d"] // cfg.ROWS))
    job["model_dim"] = rng.choice((8 * rng.randint(1, most // 8), most // 8 * 8))
    job["base"], job["stride"], job["hstride"] = [], [], []
    at = 4096
    for name in BUFFERS:
        heads, count, size = shape(name, job, cfg)
        stride = size + bus * rng.choice((0, 0, 1, 5))
        hstride = (size if name in NO_ROWS else stride * count) + bus * rng.choice((0, 3))
        here = at
        at += hstride * heads + bus * rng.choice((0, 0, 7))
        if name in NO_ROWS:
            stride = rng.getrandbits(32)
        if name in NO_HEADS:
            hstride = rng.getrandbits(32)
        if name not in used(job):
            here, stride, hstride = rng.getrandbits(48), rng.getrandbits(32), rng.getrandbits(32)
        job["base"].append(here)
        job["stride"].append(stride)
        job["hstride"].append(hstride)
    unused = {"cached": ("model_dim", "kp_exp", "kp_bias", "kp_shift", "kg_shift_k", "kg_shift_v"),
              "generate": ("kp_exp", "kp_bias", "kp_shift"),
              "predict": ("rows", "heads", "offset", "bc", "quota", "radius", "scale_m",
                          "scale_shift", "kg_shift_k", "kg_shift_v")}
    for name in unused[kind]:
        job[name] = rng.getrandbits(32)
    return job


def words(job):
    """The 64 words of a descriptor."""
    values = {register: job[name] for name, register in SCALARS.items()}
    values["MODE"] = job.get("mode_extra", 0) + sum(
        job[name.lower()] << getattr(regs, f"MODE_{name}_LSB") for name in MODE_BITS)
    values |= {"NEXT_LO": job["next"] & WORD, "NEXT_HI": job["next"] >> 32}
    for i, name in enumerate(regs.BUFFERS):
        values |= {f"{name}_BASE_LO": job["base"][i] & WORD,
                   f"{name}_BASE_HI": job["base"][i] >> 32,
                   f"{name}_ROW_STRIDE": job["stride"][i],
                   f"{name}_HEAD_STRIDE": job["hstride"][i]}
    return [values[name] for name in regs.JOB]


class TB:
    """Clock, job registers, command sinks, memory of descriptors and the stages' answers.

    hold: stop the answers (blk_done, kp_done, kv_done). memory: address -> 64 words.
    waiting: answers owed, by port. loads: addresses of the descriptors read. rate: share of the
    cycles in which stages and memory go on.
    """

    def __init__(self, dut, backpressure=0.0, seed=0, rate=None):
        self.dut = dut
        self.cfg = Config.from_parameters(
            {k: v for k, v in parameters().items() if k not in ("BC_MIN", "SC_W")})
        cocotb.start_soon(Clock(dut.clk, CLOCK_PERIOD_NS, unit="ns").start())
        stall = (lambda s: pattern(backpressure, seed + s)) if backpressure else (lambda s: None)
        self.qc = StreamSink(dut, "qc", dut.clk, dut.rst, fields=("addr", "rows"),
                             backpressure=stall(1))
        self.tc = StreamSink(dut, "tc", dut.clk, dut.rst, fields=("k8addr", "k8inc", "td"),
                             backpressure=stall(2))
        self.wc = StreamSink(dut, "w_c", dut.clk, dut.rst, fields=("addr", "beats"),
                             backpressure=stall(3))
        self.words = [0] * len(regs.JOB)
        self.memory, self.loads = {}, []
        self.hold = False
        self.rate = rate or (0.5 if backpressure else 1.0)
        self.waiting = dict.fromkeys(("blk_done", "kp_done", "kv_done"), 0)
        self.jobs = self.dones = 0

    async def reset(self):
        for name in INPUTS:
            getattr(self.dut, name).value = 0
        self.dut.rd_idle.value = 1
        self.dut.wr_idle.value = 1
        self.apply()
        self.dut.rst.value = 1
        for _ in range(3):
            await RisingEdge(self.dut.clk)
        self.dut.rst.value = 0
        cocotb.start_soon(self._stages())
        cocotb.start_soon(self._descriptors())

    def issued(self):
        """Number of commands of any kind so far."""
        return sum(len(s.items) for s in (self.qc, self.tc, self.wc)) + len(self.loads)

    async def _stages(self):
        """What the stages answer to the commands, late; and a count of the ends of jobs."""
        dut, waiting = self.dut, self.waiting
        last, kv_last = 1 << 17, 1 << 280
        while True:
            await RisingEdge(dut.clk)
            if dut.stage_rst.value == 1:
                waiting.update(dict.fromkeys(waiting, 0))
            self.dones += int(dut.done.value)
            if dut.job_done.value == 1:
                self.jobs += 1
                assert not any(waiting.values()), f"job ended before its answers {waiting}"
            for name in waiting:
                now = waiting[name] > 0 and not self.hold and random.random() < self.rate
                waiting[name] -= now
                getattr(dut, name).value = int(now)
            if dut.qc_valid.value == 1 and dut.qc_ready.value == 1:
                waiting["blk_done"] += 1
            if dut.tc_valid.value == 1 and dut.tc_ready.value == 1:
                td, mode = int(dut.tc_td.value), int(dut.job_mode.value)
                if mode >> regs.MODE_PREDICT_LSB & 1:
                    waiting["kp_done"] += bool(td & last)
                elif mode >> regs.MODE_GENERATE_LSB & 1:
                    waiting["kv_done"] += bool(td & kv_last)

    async def _descriptors(self):
        """The stream of descriptors, from ``memory``, and the registers that they go to."""
        dut, bus = self.dut, self.cfg.BUS_BYTES
        beats, command = deque(), 0
        while True:
            await RisingEdge(dut.clk)
            if dut.d_wr_valid.value == 1:
                self.words[int(dut.d_wr_word.value)] = int(dut.d_wr_data.value)
                self.apply()
            if dut.d_d_valid.value == 1 and dut.d_d_ready.value == 1:
                beats.popleft()
            if command and dut.d_c_valid.value == 1:
                address = int(dut.d_c_addr.value)
                assert int(dut.d_c_beats.value) == 256 // bus
                assert not beats, "a descriptor was not read to its end"
                self.loads.append(address)
                image = b"".join(w.to_bytes(4, "little") for w in self.memory[address])
                beats.extend(int.from_bytes(image[i: i + bus], "little")
                             for i in range(0, 256, bus))
            if dut.stage_rst.value == 1:
                beats.clear()
            command = random.random() < self.rate
            valid = bool(beats) and (dut.d_d_valid.value == 1 or random.random() < self.rate)
            dut.d_c_ready.value = int(command)
            dut.d_d_valid.value = int(valid)
            dut.d_d_data.value = beats[0] if valid else random.getrandbits(8 * bus)

    def apply(self):
        """Drive the job's ports from ``words``."""
        value = dict(zip(regs.JOB, self.words, strict=True))
        dut = self.dut
        dut.job_mode.value = value["MODE"]
        for name, register in SCALARS.items():
            getattr(dut, f"job_{name}").value = value[register]
        dut.job_next.value = value["NEXT_HI"] << 32 | value["NEXT_LO"]
        for port, width, get in (
                ("base", 48, lambda b: value[f"{b}_BASE_HI"] << 32 | value[f"{b}_BASE_LO"]),
                ("stride", 32, lambda b: value[f"{b}_ROW_STRIDE"]),
                ("hstride", 32, lambda b: value[f"{b}_HEAD_STRIDE"])):
            getattr(dut, f"job_{port}").value = sum(
                get(b) << (width * i) for i, b in enumerate(regs.BUFFERS))

    def load(self, job, **changes):
        """Put a job, with ``changes``, into the registers."""
        self.words = words({**job, **changes})
        self.apply()

    async def pulse(self, name):
        getattr(self.dut, name).value = 1
        await RisingEdge(self.dut.clk)
        getattr(self.dut, name).value = 0

    async def result(self, limit=200000):
        """Wait for the end of a job; returns (code, info), code 0 for done."""
        for _ in range(limit):
            await RisingEdge(self.dut.clk)
            if self.dut.err_valid.value == 1:
                return int(self.dut.err_code.value), int(self.dut.err_info.value)
            if self.dut.done.value == 1:
                return 0, 0
        raise AssertionError("the sequencer never finished")

    async def run(self, job, start="start"):
        """Run a job and compare its commands; returns their number."""
        marks = [len(s.items) for s in (self.qc, self.tc, self.wc)]
        self.load(job)
        await self.pulse(start)
        assert await self.result() == (0, 0)
        await RisingEdge(self.dut.clk)
        return self.compare(marks, [job])

    def compare(self, marks, jobs):
        """Compare the commands behind ``marks`` with those of ``jobs``; returns their number."""
        want = [[], [], []]
        for job in jobs:
            for all_commands, commands in zip(want, expected_commands(job, self.cfg),
                                              strict=True):
                all_commands += commands
        number = 0
        for sink, mark, commands in zip((self.qc, self.tc, self.wc), marks, want, strict=True):
            got = sink.items[mark:]
            assert len(got) == len(commands), sink
            for i, (have, wanted) in enumerate(zip(got, commands, strict=True)):
                assert have == wanted, (i, have, wanted, *(
                    unpack_td(c["td"]) for c in (have, wanted) if "td" in c))
            number += len(got)
        return number


def expected_commands(job, cfg):
    """The Q, tile and code commands of a job, as dicts of port fields."""
    base, stride, hstride = (dict(zip(BUFFERS, job[n], strict=True))
                             for n in ("base", "stride", "hstride"))
    queries, tiles, codes = [], [], []
    if job["predict"]:
        dim, bus = job["model_dim"], cfg.BUS_BYTES
        for token in range(0, job["keys"], cfg.COLS):
            for index, (head, sub, rows) in enumerate(chunks(job, cfg)):
                codes.append({"addr": base["wc"] + index * hstride["wc"],
                              "beats": -(-dim * cfg.ROWS // 2 // bus)})
                for at in range(0, dim, bus):
                    td = pack_td(
                        n=min(cfg.COLS, job["keys"] - token), rows=rows, first=at == 0,
                        last=at + bus >= dim, rel=min(bus, dim - at), kstep=sub,
                        kaddr=base["k8"] + head * hstride["k8"] + token * stride["k8"],
                        vaddr=base["rt"] + token * stride["rt"] & (1 << 48) - 1)
                    tiles.append({"k8addr": base["x8"] + token * stride["x8"] + at,
                                  "k8inc": stride["x8"], "td": td})
        return queries, tiles, codes
    group = job["heads"] // job["kv_heads"]
    for head in range(job["heads"]):
        kv = head // group
        for row, n in blocks(job["rows"], cfg):
            queries.append({"addr": base["q"] + head * hstride["q"] + row * stride["q"],
                            "rows": n})
            here = block_tiles(row, n, job["keys"], job["bc"], causal=bool(job["causal"]),
                               offset=job["offset"], interleaved=not job["contiguous"])
            for i, t in enumerate(here):
                at = {b: base[b] + kv * hstride[b] + t.k0 * stride[b] & (1 << 48) - 1
                      for b in ("k8", "k", "v")}
                td = t.descriptor(
                    kaddr=at["k"], vaddr=at["v"], kinc=t.kstep * stride["k"],
                    vinc=t.kstep * stride["v"],
                    oaddr=base["o"] + head * hstride["o"] + row * stride["o"])
                new = head % group == 0 and row == 0 and i == 0
                last = (head % group == group - 1 and row + n == job["rows"]
                        and i == len(here) - 1)
                td |= t.k0 << 262 | new << 279 | last << 280
                tiles.append({"k8addr": at["k8"], "k8inc": t.kstep * stride["k8"] & WORD,
                              "td": td})
    return queries, tiles, codes


@cocotb.test()
@cocotb.parametrize(kind=list(KINDS))
async def commands(dut, kind):
    """Random jobs: every command equals that of the plain walk, in order, under back-pressure."""
    tb = TB(dut, backpressure=0.4, seed=random.getrandbits(30))
    await tb.reset()
    compared = 0
    for _ in range(8):
        compared += await tb.run(legal_job(tb.cfg, random, kind))
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
        _, tiles, codes = expected_commands(job, tb.cfg)
        seen = len(tb.tc.items)
        await tb.tc.wait(seen + len(tiles), timeout=20000)
        for _ in range(20):
            await RisingEdge(dut.clk)
        owed = {"cached": ("blk_done",), "generate": ("blk_done", "kv_done"),
                "predict": ("kp_done",)}[kind]
        assert {n for n, count in tb.waiting.items() if count} == set(owed)
        # One answer late, all others given.
        late = random.choice(owed)
        tb.hold, kept = False, tb.waiting[late]
        tb.waiting[late] -= 1
        for _ in range(kept + 300):
            await RisingEdge(dut.clk)
            assert dut.busy.value == 1 and dut.done.value == 0
        tb.waiting[late] += 1
        assert await tb.result(20) == (0, 0)
        if kind == "predict":
            assert tb.waiting["kp_done"] == 0 and codes
    assert tb.jobs == 4


def illegal_changes(cfg, job):
    """List of (what, change of the job, expected code, expected info) for the kind of ``job``."""
    bus, top = cfg.BUS_BYTES, 1 << cfg.ADDR_W
    predict, generate = job["predict"], job["generate"]
    cases = [("d", v, regs.ERR_HEAD_DIM) for v in (0, 4, 12, cfg.D_MAX + 8, 1 << 31)]
    cases += [("keys", v, regs.ERR_KEYS) for v in (0, cfg.KEYS_MAX + 1)]
    cases += [("snap", v, regs.ERR_SNAP) for v in ((3,) if cfg.TWO_TERM else (2, 3))]
    cases += [("mode_extra", 1 << b, regs.ERR_MODE) for b in (10, 31)]
    cases += [("rope", 3, regs.ERR_ROPE)]
    cases += [("next", v, regs.ERR_NEXT) for v in (4, 128, top, 1 << 47) if v == 4 or v % 256
              or v >= top]
    if predict:
        cases += [("kv_heads", v, regs.ERR_KV_HEADS) for v in (0, 1025)]
        cases += [("kp_exp", v, regs.ERR_KP_EXP) for v in (9, 1 << 31)]
        cases += [("kp_bias", v, regs.ERR_KP_BIAS) for v in (1 << 15, WORD - (1 << 15), 1 << 31)]
        cases += [("kp_shift", v, regs.ERR_KP_SHIFT) for v in (16, 1 << 30)]
        cases += [(n, 1, regs.ERR_KIND) for n in ("dense", "generate", "vb_load")]
    else:
        low = max(cfg.COLS, 4)
        cases += [("rows", v, regs.ERR_QUERY_ROWS) for v in (0, cfg.KEYS_MAX + 1)]
        cases += [("heads", v, regs.ERR_HEADS) for v in (0, 1025)]
        cases += [("kv_heads", v, regs.ERR_KV_HEADS) for v in (0, job["heads"] + 1)]
        cases += [("offset", cfg.KEYS_MAX, regs.ERR_CAUSAL_OFFSET)]
        cases += [("bc", v, regs.ERR_TILE_KEYS) for v in (0, low // 2, low + 1, 2 * cfg.BC_MAX)]
        cases += [("quota", v, regs.ERR_QUOTA) for v in (0, cfg.BC_MAX + 1)]
        cases += [("radius", 1 << cfg.SC_W, regs.ERR_RADIUS)]
        cases += [("scale_shift", 48, regs.ERR_SCALE_SHIFT)]
        cases += [("scale_m", v, regs.ERR_SCALE_MULT) for v in (0, 65536)]
    if generate:
        cases += [(n, v, code) for n, code in (("kg_shift_k", regs.ERR_KG_SHIFT_K),
                                               ("kg_shift_v", regs.ERR_KG_SHIFT_V))
                  for v in (41, 1 << 31)]
    elif not predict:
        cases += [("vb_load", 1, regs.ERR_KIND)]
    if predict or generate:
        cases += [("model_dim", v, regs.ERR_MODEL_DIM) for v in (0, 4, 20, cfg.H_MAX + 8, 1 << 31)]
    cases = [(name, {name: v}, code, 0) for name, v, code in cases]
    if not predict:
        cases.append(("heads not a multiple", {"heads": 5, "kv_heads": 2}, regs.ERR_KV_HEADS, 0))
    if generate:
        passes = -(-2 * cfg.D_MAX // cfg.ROWS)
        over = cfg.WGT_WORDS // passes // 8 * 8 + 8
        cases.append(("weights", {"d": cfg.D_MAX, "model_dim": over}, regs.ERR_WEIGHTS, 0))
    for name in used(job):
        i = BUFFERS.index(name)
        heads, _, size = shape(name, job, cfg)

        def change(field, value, i=i):
            values = list(job[field])
            values[i] = value
            return {field: values}

        cases += [(f"{name} base", change("base", job["base"][i] + bus // 2),
                   regs.ERR_BASE_ALIGN, i),
                  (f"{name} end", change("base", top - bus), regs.ERR_ADDR_RANGE, i)]
        if name not in NO_ROWS:
            cases += [(f"{name} stride", change("stride", job["stride"][i] + 4),
                       regs.ERR_STRIDE_ALIGN, i),
                      (f"{name} stride small", change("stride", size - bus),
                       regs.ERR_STRIDE_SMALL, i),
                      (f"{name} span", change("stride", (1 << 32) - bus), regs.ERR_ADDR_RANGE, i)]
        if name not in NO_HEADS:
            assert heads > 1
            cases += [(f"{name} head stride", change("hstride", job["hstride"][i] + bus // 2),
                       regs.ERR_HEAD_STRIDE_ALIGN, i),
                      (f"{name} head stride small", change("hstride", size - bus),
                       regs.ERR_HEAD_STRIDE_SMALL, i)]
        for other in written(job):
            # The later of two in the order of the check is named.
            if other != name and (name not in written(job) or BUFFERS.index(other) < i):
                cases += [(f"{name} at {other}",
                           change("base", job["base"][BUFFERS.index(other)]),
                           regs.ERR_OVERLAP, i),
                          (f"{name} at the end of {other}",
                           change("base", end(other, job, cfg) - bus), regs.ERR_OVERLAP, i),
                          (f"{name} ends in {other}",
                           change("base", job["base"][BUFFERS.index(other)]
                                  - (end(name, job, cfg) - job["base"][i]) + bus),
                           regs.ERR_OVERLAP, i)]
    return cases


@cocotb.test()
@cocotb.parametrize(kind=list(KINDS))
async def illegal_fields(dut, kind):
    """Each illegal field gives its code and buffer, moves nothing, and leaves a usable core."""
    tb = TB(dut)
    await tb.reset()
    job = legal_job(tb.cfg, random, kind, small=True, kv_heads=3)
    # Room below the first buffer for those that are moved there.
    job = legal_again(job, tb.cfg, dense=0, rope=1)
    await tb.run(job)
    tried = 0
    for what, change, code, info in illegal_changes(tb.cfg, job):
        before = tb.issued()
        tb.load(job, **change)
        await tb.pulse("start")
        assert await tb.result() == (code, info), f"{what}: {change}"
        assert tb.issued() == before, f"{what} issued commands"
        await RisingEdge(dut.clk)
        assert dut.busy.value == 0
        tried += 1
    assert tried > 30 and tb.jobs == 1
    await tb.run(legal_job(tb.cfg, random, kind, small=True))


def legal_again(job, cfg, **changes):
    """The job with other mode bits, all its buffers behind each other with free space between."""
    job = {**job, **changes}
    bus, at = cfg.BUS_BYTES, 1 << 24
    for name in BUFFERS:
        i = BUFFERS.index(name)
        if name in used(job):
            heads, count, size = shape(name, job, cfg)
            job["base"][i] = at
            if name not in NO_ROWS:
                job["stride"][i] = size + bus
            if name not in NO_HEADS:
                job["hstride"][i] = (size + bus) * count
            at += (size + bus) * count * heads + (1 << 20)
    return job


@cocotb.test()
async def extreme_legal_fields(dut):
    """The ends of the legal ranges are accepted; buffers may touch each other and the top."""
    tb = TB(dut)
    await tb.reset()
    cfg, top = tb.cfg, 1 << tb.cfg.ADDR_W
    small = {"keys": 3, "kv_heads": 1}
    ends = [("cached", {"rows": 1, "heads": 1, **small, "offset": cfg.KEYS_MAX - 1,
                        "radius": (1 << cfg.SC_W) - 1, "scale_m": 65535, "scale_shift": 47,
                        "quota": cfg.BC_MAX}),
            ("predict", {"kp_exp": 8, "kp_bias": 0xFFFF8000, "kp_shift": 15, **small}),
            ("predict", {"kp_exp": 0, "kp_bias": 0x7FFF, "kp_shift": 0, "kv_heads": 1024,
                         "d": 8, "keys": 1, "model_dim": 8}),
            ("predict", {"d": cfg.D_MAX, "model_dim": cfg.H_MAX, **small}),
            ("generate", {"kg_shift_k": 40, "kg_shift_v": 40, "rows": 2, "heads": 1, **small}),
            ("generate", {"d": cfg.D_MAX, "rows": 2, "heads": 2, **small, "model_dim": min(
                cfg.H_MAX, cfg.WGT_WORDS // -(-2 * cfg.D_MAX // cfg.ROWS) // 8 * 8)})]
    for kind, changes in ends:
        job = legal_again(legal_job(cfg, random, kind, small=True), cfg, **changes)
        # Buffers directly behind each other, the last one ends at the top of the memory.
        at = top
        for name in reversed(BUFFERS):
            if name in used(job):
                i = BUFFERS.index(name)
                at -= end(name, job, cfg) - job["base"][i]
                job["base"][i] = at
        await tb.run(job)
    assert tb.jobs == len(ends)


@cocotb.test()
@cocotb.parametrize(backpressure=[0.0, 0.5])
async def chains(dut, backpressure):
    """Chains of random jobs, from the registers and from memory: commands, JOBS, one end."""
    tb = TB(dut, backpressure, seed=random.getrandbits(30))
    await tb.reset()
    for length in (1, 2, 5, 4):
        jobs = [legal_job(tb.cfg, random, random.choice(KINDS), small=random.random() < 0.6)
                for _ in range(length)]
        places = random.sample(range(1, 1 << (tb.cfg.ADDR_W - 8)), length)
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
        marks = [len(s.items) for s in (tb.qc, tb.tc, tb.wc)]
        tb.jobs, tb.dones, tb.loads = 0, 0, []
        ended = cocotb.start_soon(tb.result())
        await tb.pulse(start)
        while not ended.done():
            await RisingEdge(dut.clk)
            if not ended.done():
                assert dut.busy.value == 1 or tb.jobs == length or dut.done.value == 1
        assert ended.result() == (0, 0)
        await RisingEdge(dut.clk)
        assert (tb.jobs, tb.dones) == (length, 1) and dut.busy.value == 0
        assert tb.loads == [256 * p for p in places]
        assert tb.words == words(jobs[-1])
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
        want = {"field": (regs.ERR_HEAD_DIM, 0), "next": (regs.ERR_NEXT, 0),
                "read slverr": (regs.ERR_READ_SLVERR, 7),
                "read decerr": (regs.ERR_READ_DECERR, 7)}[kind]
        if kind == "field":
            jobs[bad]["d"] += 4
        elif kind == "next":
            jobs[bad]["next"] += random.choice((8, 128, 1 << cfg.ADDR_W))
        tb.memory = {256 * (i + 1): words(job) for i, job in enumerate(jobs)}
        tb.load(legal_job(cfg, random), next=256)
        marks = [len(s.items) for s in (tb.qc, tb.tc, tb.wc)]
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
        assert dut.busy.value == 0
        checked += 1
        await tb.run(legal_job(cfg, random, small=True))
    assert checked == 8
    for value in (0, 4, 255, 1 << cfg.ADDR_W):
        before = tb.issued()
        tb.load(legal_job(cfg, random), next=value)
        await tb.pulse("start_chain")
        assert await tb.result(10) == (regs.ERR_NEXT, 0)
        assert tb.issued() == before


async def stopped(tb, want, why):
    """Check the end of a job after a fault: halt, idle masters, reset of the stages, report."""
    dut = tb.dut
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
    for _ in range(40):
        if dut.err_valid.value == 1:
            break
        await RisingEdge(dut.clk)
        cleared += int(dut.stage_rst.value)
    assert (int(dut.err_code.value), int(dut.err_info.value)) == want, why
    assert cleared >= 4
    await RisingEdge(dut.clk)
    await Timer(1, unit="ns")
    assert dut.busy.value == 0


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
            want = (regs.ERR_ABORTED, 0)
        elif kind == "rd":
            dut.rd_err_stream.value = stream
            dut.rd_err_resp.value = resp
            await tb.pulse("rd_err_valid")
            want = (regs.ERR_READ_SLVERR if resp == 2 else regs.ERR_READ_DECERR, stream)
        else:
            dut.wr_err_id.value = stream
            dut.wr_err_resp.value = resp
            await tb.pulse("wr_err_valid")
            want = (regs.ERR_WRITE_SLVERR if resp == 2 else regs.ERR_WRITE_DECERR, stream)
        await stopped(tb, want, (kind, stream, resp))
        # the next job runs
        tb.hold = False
        await tb.run(legal_job(tb.cfg, random, random.choice(KINDS), small=True))
    assert tb.jobs == len(cases)


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
        await stopped(tb, (regs.ERR_ABORTED, 0), delay)
        tb.hold = False
        marks = [len(s.items) for s in (tb.qc, tb.tc, tb.wc)]
        tb.load(job, next=512)
        await tb.pulse("start_chain")
        assert await tb.result() == (0, 0)
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
        check = 29 + 5 * len(used(job))
        if kind == "predict":
            fit = max(1, tb.cfg.ROWS // job["d"])
            last = 0 if job["d"] > tb.cfg.ROWS else (job["kv_heads"] - 1) % fit
            assert await count("tc_valid") == check + 1 + fit + -(-job["kv_heads"] // fit) + last
        else:
            assert await count("qc_valid") == check + job["heads"] // job["kv_heads"]
            assert await count("tc_valid") == 8
        assert await tb.result() == (0, 0)
        measured += 1
    tb.memory[256] = words(job)
    tb.load(job, next=256)
    await tb.pulse("start_chain")
    load = await count("d_wr_valid")
    while int(dut.d_wr_word.value) != 63 and load < 1000:
        await RisingEdge(dut.clk)
        load += 1
    # The memory answers at once.
    assert load == 66 + 256 // tb.cfg.BUS_BYTES
    assert await tb.result() == (0, 0)
    assert measured == 9


def test_seq(sim, config, seed):
    cfg = Config.from_name(config.name)
    names = ("ROWS", "COLS", "D_MAX", "BC_MAX", "BUS_BYTES", "KEYS_MAX", "ADDR_W", "TWO_TERM",
             "H_MAX")
    # One word less than the largest job of the smallest configuration needs.
    run("seq", __name__, {**{n: getattr(cfg, n) for n in names}, "BC_MIN": max(cfg.COLS, 4),
                          "WGT_WORDS": cfg.WGT_WORDS - 1, "SC_W": cfg.SC_W}, sim, seed=seed)
