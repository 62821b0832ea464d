# SPDX-License-Identifier: Apache-2.0
"""What the tests of the sequencer share: jobs and their descriptors, the commands that they must
give, and the neighbours of the sequencer."""

from __future__ import annotations

import random
from collections import deque

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge

from models import regs
from models.config import Config
from models.tiling import block_tiles, blocks, pack_td, unpack_td
from tb.common.scoreboard import Scoreboard
from tb.common.signals import moment
from tb.common.stream import StreamSink, pattern
from tb.runner import CLOCK_PERIOD_NS, parameters

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
          "rd_err_protocol", "wr_err_protocol", "rd_wait", "rd_move", "wr_wait", "wr_move",
          "timeout",
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
        self.board = Scoreboard(dut._log)
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
        """Compare the commands behind ``marks`` with those of ``jobs``; returns their number. The
        earliest wrong command of all kinds is shown."""
        want = [[], [], []]
        for job in jobs:
            for all_commands, commands in zip(want, expected_commands(job, self.cfg),
                                              strict=True):
                all_commands += commands
        kinds = {"Q command": self.qc, "tile command": self.tc, "code command": self.wc}
        got = [sink.items[mark:] for sink, mark in zip(kinds.values(), marks, strict=True)]
        wrong = [(sink.times[mark + i], name, i, wanted, have)
                 for (name, sink), mark, commands, taken
                 in zip(kinds.items(), marks, want, got, strict=True)
                 for i, (wanted, have) in enumerate(zip(commands, taken, strict=False))
                 if wanted != have]
        if wrong:
            time, name, i, wanted, have = min(wrong, key=lambda entry: entry[0])
            self.board.compare_fields(name, flat(wanted), flat(have), where={"number": i},
                                      when=moment(time))
        counts = [len(commands) for commands in want]
        self.board.compare("commands", counts, [len(taken) for taken in got], axes=("kind",),
                           where={"kind": list(kinds)})
        return sum(counts)


def flat(command):
    """The fields of a command, those of its tile descriptor one by one."""
    fields = {name: value for name, value in command.items() if name != "td"}
    td = unpack_td(command["td"]) if "td" in command else {}
    return fields | {f"td.{name}": value for name, value in td.items()}


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
