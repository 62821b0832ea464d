# SPDX-License-Identifier: Apache-2.0
"""What the tests of sofa_seq share: jobs, their descriptors and tables of heads, the commands and
turn descriptors that they must give, and the neighbours of the sequencer."""

from __future__ import annotations

import random
from collections import deque

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge

from models import head as second
from models import sads
from models.config import Config
from models.spec import registers as regs
from models.tiling import exact_rows
from tb.common import samples
from tb.common.scoreboard import Scoreboard, same, same_signals
from tb.common.signals import moment
from tb.common.stream import StreamSink, pattern
from tb.common.turns import TURN, pack_turn, unpack_turn
from tb.common.windows import random_window
from tb.runner import CLOCK_PERIOD_NS, parameters

BUFFERS = tuple(name.lower() for name in regs.BUFFERS)
INDEX = {name: i for i, name in enumerate(BUFFERS)} | {"ht": 5, "vm": 6}
"""Number of a buffer; HT and VM are those of attention jobs in the places of X8 and WC."""

KINDS = ("cached", "generate", "predict")
NO_ROWS = ("wc", "w", "vb", "ht")
"""Buffers without a row stride."""

SCALARS = {"d": "HEAD_DIM", "rows": "QUERY_ROWS", "keys": "KEYS", "heads": "HEADS",
           "kv_heads": "KV_HEADS", "offset": "CAUSAL_OFFSET", "bc": "TILE_KEYS",
           "quota": "QUOTA", "band": "BAND", "fall": "FALL", "window": "WINDOW",
           "model_dim": "MODEL_DIM"}
"""Scalar of a job (and port job_<name>) -> register."""

ADDRESS = (1 << 48) - 1

MODE_BITS = ("DENSE", "CAUSAL", "CONTIGUOUS", "SNAP", "GENERATE", "PREDICT", "ROPE", "VB_LOAD",
             "SORT", "BLEND", "SHARE")
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
    names = ("q", "k", "v", "o", "ht") + (() if job["dense"] else ("k8",))
    names += ("vm",) if job["blend"] else ()
    if job["generate"]:
        names += ("x", "w", "vb") + (("rt",) if job["rope"] else ())
    return names


def headed(name, job):
    """Whether buffer ``name`` has a head stride."""
    return name not in ("x8", "x", "rt") and not (name == "vm" and job["generate"])


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
        "x8": (1, keys, dim), "x": (1, keys, 2 * dim),
        "wc": (None, 1, cfg.header_bytes + dim * cfg.ROWS // 2),
        "w": (heads, 1, -(-2 * d // cfg.ROWS) * dim * 2 * cfg.ROWS), "rt": (1, keys, 2 * d),
        "vb": (heads, 1, -(-keys // 8)), "ht": (job["heads"], 1, 16),
        "vm": (1, -(-job["rows"] // cfg.ROWS), 2 * dim) if job["generate"]
        else (heads, -(-job["rows"] // cfg.ROWS), 2 * d),
    }[name]
    if heads is None:
        heads = len(chunks(job, cfg))
    return heads, count, -(-size // cfg.BUS_BYTES) * cfg.BUS_BYTES


def end(name, job, cfg):
    """Address behind the last vector of buffer ``name``."""
    heads, count, size = shape(name, job, cfg)
    i = INDEX[name]
    return job["base"][i] + (heads - 1) * job["hstride"][i] + (count - 1) * job["stride"][i] + size


def legal_job(cfg, rng, kind="cached", small=False, kv_heads=None, share=False, wide=None):
    """A random legal job: scalars by port name, mode bits, and base/stride/hstride lists.

    Values that the kind of job does not use are random. kv_heads: default random; given, there
    are two query heads for each and no row or key alone. share: heads may share blocks. wide:
    buffers may lie anywhere, default random.
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
        "fall": rng.choice((0, 255, rng.randrange(256))),
        "next": 0, "window": 0,
    }
    for name in ("causal", "contiguous", "vb_load"):
        job[name] = rng.randrange(2)
    select = rng.choice((second.SUM, second.SUM, second.SORT if parameters()["SORT"]
                         else second.SUM, second.DENSE))
    job["dense"], job["sort"] = int(select == second.DENSE), int(select == second.SORT)
    job["blend"] = int(select == second.SUM and rng.random() < 0.7)
    job["quota"] = rng.randint(1, cfg.BC_MAX) if job["sort"] else rng.getrandbits(32)
    job["band"] = rng.randint(1, cfg.places(job["d"]))
    if rng.random() < 0.3:
        # Rows that keep all they see, and others.
        job["offset"] = rng.randrange(40)
    job["snap"] = rng.randrange(3 if cfg.TWO_TERM else 2)
    job["rope"] = rng.randrange(3)
    job["generate"], job["predict"] = int(kind == "generate"), int(kind == "predict")
    if kind == "predict":
        job["keys"] = rng.randint(least, 6 if small else 4 * cfg.COLS)
        job["kv_heads"] = kv_heads or rng.randint(1, 8)
        job["dense"] = job["blend"] = 0
        job["sort"] = rng.randrange(2) & parameters()["SORT"]
    job["vb_load"] &= job["generate"]
    job["heads"] = job["kv_heads"] * (2 if kv_heads else rng.randint(1, 2 if small else 7))
    job["share"], group = 0, job["heads"] // job["kv_heads"]
    if share and kind != "predict" and group <= cfg.ROWS and rng.random() < 0.25:
        job |= {"share": 1, "band": 1, "rows": rng.randint(1, cfg.ROWS // group)}
    if kind != "predict" and not small:
        # Turns of all blocks of a job, some thousands at most.
        while job["heads"] * -(-job["rows"] // cfg.ROWS) * -(-job["keys"] // job["bc"]) > 1500:
            job["keys"] = max(1, job["keys"] // 2)
            job["rows"] = max(1, job["rows"] * 3 // 4)
    if kind != "predict" and job["causal"]:
        job["window"] = window_word(*random_window(
            rng, job["rows"], job["keys"], job["offset"], job["bc"], cfg))
    most = min(cfg.H_MAX, 256 if kind == "predict" else cfg.H_MAX)
    if kind == "generate":
        most = min(most, cfg.WGT_WORDS // -(-2 * job["d"] // cfg.ROWS))
    job["model_dim"] = rng.choice((8 * rng.randint(1, most // 8), most // 8 * 8))
    job["base"], job["stride"], job["hstride"] = (
        [rng.getrandbits(bits) for _ in BUFFERS] for bits in (48, 32, 32))
    # Buffers near each other, or anywhere: at most twelve that take a 32nd each.
    wide = rng.random() < 0.5 if wide is None else wide
    span = 1 << rng.randrange(20, cfg.ADDR_W - 4)
    at = bus * rng.randrange((5 << cfg.ADDR_W - 3) // bus) if wide else 4096
    for name in sorted(used(job), key=INDEX.get):
        i = INDEX[name]
        heads, count, size = shape(name, job, cfg)
        stride = size + bus * rng.choice((0, 0, 1, 5))
        most = min(span // heads, 1 << 32)
        if wide and most // count > size:
            stride = rng.randrange(size, most // count, bus)
        hstride = (size if name in NO_ROWS else stride * count) + bus * rng.choice((0, 3))
        if wide and most > hstride:
            hstride = rng.randrange(hstride, most, bus)
        job["base"][i] = at
        at += max(hstride, stride * count) * heads + bus * rng.choice((0, 0, 7))
        if name not in NO_ROWS:
            job["stride"][i] = stride
        if headed(name, job):
            job["hstride"][i] = hstride
    unused = {"cached": ("model_dim",),
              "predict": ("rows", "heads", "offset", "bc", "quota", "band", "fall", "window")}
    for name in unused.get(kind, ()):
        job[name] = rng.getrandbits(32)
    return job


def legal_again(job, cfg, **changes):
    """The job with other fields, without a window where none is given, all its buffers behind each
    other with free space between."""
    job = {**job, "window": 0, **changes}
    job |= {n: list(job[n]) for n in ("base", "stride", "hstride")}
    bus, at = cfg.BUS_BYTES, 1 << 24
    for name in sorted(used(job), key=INDEX.get):
        i = INDEX[name]
        heads, count, size = shape(name, job, cfg)
        job["base"][i] = at
        if name not in NO_ROWS:
            job["stride"][i] = size + bus
        if headed(name, job):
            job["hstride"][i] = (size + bus) * count
        at += (size + bus) * count * heads + (1 << 20)
    return job


def window_word(window, sinks=0):
    """Register WINDOW."""
    return window << regs.lsb("WINDOW", "WINDOW") | sinks << regs.lsb("WINDOW", "SINKS")


def words(job):
    """The 64 words of a descriptor."""
    values = dict.fromkeys(regs.JOB, 0)
    values |= {register: job[name] for name, register in SCALARS.items()}
    values["MODE"] = job.get("mode_extra", 0) + sum(
        job[name.lower()] << regs.lsb("MODE", name) for name in MODE_BITS)
    values |= {"NEXT_LO": job["next"] & WORD, "NEXT_HI": job["next"] >> 32}
    for i, name in enumerate(regs.BUFFERS):
        values |= {f"{name}_BASE_LO": job["base"][i] & WORD,
                   f"{name}_BASE_HI": job["base"][i] >> 32,
                   f"{name}_ROW_STRIDE": job["stride"][i],
                   f"{name}_HEAD_STRIDE": job["hstride"][i]}
    return [values[name] for name in regs.JOB]


def entry(address, cfg):
    """The table entry at an address, its fields, its shifts of K and V and 16 bytes: random, the
    same at every call."""
    rng = random.Random(f"entry {address}")
    ends = rng.choice((0, 0, 1, 2))

    def pick(low, high):
        return (rng.randint(low, high), low, high)[ends]

    fields = second.HeadTable(
        scale_m=pick(0, 65535), scale_shift=pick(0, 47), octave=pick(0, cfg.SC_W - 1),
        tau=pick(-second.LEAST_TAU << cfg.LOG_FRAC, 0), radius=pick(0, cfg.RADIUS_INF))
    shifts = pick(0, 40), pick(0, 40)
    return fields, shifts, pack_entry(fields, shifts, rng)


def pack_entry(fields, shifts, rng):
    """The bytes of a table entry, random where nothing is."""
    return b"".join((
        fields.scale_m.to_bytes(2, "little"), bytes((fields.scale_shift, fields.octave)),
        fields.tau.to_bytes(2, "little", signed=True), bytes(shifts),
        fields.radius.to_bytes(4, "little"), rng.randbytes(4)))


class Gate:
    """A pattern of back-pressure that can be shut."""

    def __init__(self, pattern=None):
        self.pattern, self.open = pattern, True

    def __iter__(self):
        return self

    def __next__(self):
        if not self.open:
            return 0, 1
        return next(self.pattern) if self.pattern else (1, 0)


class TB:
    """Clock, job registers, command sinks, memory of descriptors and the stages' answers.

    hold: stop the answers (blk_done, kp_done, kv_done). memory: address -> 64 words; table
    entries are those of entry() but for ``entries``, address -> 16 bytes. waiting: answers owed, by
    port. loads, asked: addresses of the descriptors, of the table entries read. rate: share of the
    cycles in which stages and memory go on; latency: of the memory for table entries, cycles.
    gates: of the back-pressure of commands and turns. turns, queries: events counted.
    """

    def __init__(self, dut, backpressure=0.0, seed=0, rate=None):
        self.dut = dut
        self.cfg = Config.from_parameters(
            {k: v for k, v in parameters().items() if k not in ("BC_MIN", "SC_W", "SORT")})
        cocotb.start_soon(Clock(dut.clk, CLOCK_PERIOD_NS, unit="ns").start())
        stall = (lambda s: pattern(backpressure, seed + s)) if backpressure else (lambda s: None)
        self.gates = {name: Gate(stall(i)) for i, name in enumerate(("qc", "tc", "tn", "qs"))}
        self.qc = StreamSink(dut, "qc", dut.clk, dut.rst, backpressure=self.gates["qc"],
                             fields=("addr", "rows"))
        self.qs = StreamSink(dut, "qs", dut.clk, dut.rst, backpressure=self.gates["qs"],
                             fields=("scale_m", "scale_shift"))
        self.tc = StreamSink(dut, "tc", dut.clk, dut.rst, fields=("addr", "inc", "n"),
                             backpressure=self.gates["tc"])
        self.tn = StreamSink(dut, "tn", dut.clk, dut.rst, fields=("turn",),
                             backpressure=self.gates["tn"])
        self.wc = StreamSink(dut, "w_c", dut.clk, dut.rst, fields=("addr", "beats"),
                             backpressure=stall(3))
        self.kinds = {"Q command": self.qc, "tile command": self.tc, "turn": self.tn,
                      "code command": self.wc, "scales": self.qs}
        self.board = Scoreboard(dut._log)
        self.words = [0] * len(regs.JOB)
        self.memory, self.loads, self.entries, self.asked = {}, [], {}, []
        self.latency = 0
        self.turns = self.queries = 0
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
        return sum(len(s.items) for s in self.kinds.values()) + len(self.loads) + len(self.asked)

    def marks(self):
        """Where the commands of the next job begin."""
        return [*(len(s.items) for s in self.kinds.values()), len(self.asked)]

    async def _stages(self):
        """What the stages answer to the commands, late; and a count of the ends of jobs."""
        dut, waiting = self.dut, self.waiting
        last, kv_last = (1 << TURN[name][0] for name in ("final", "kvlast"))
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
            if dut.qs_valid.value == 1 and dut.qs_ready.value == 1:
                waiting["blk_done"] += 1
            self.turns += int(dut.ev_tile.value)
            self.queries += int(dut.ev_block.value)
            if dut.tn_valid.value == 1 and dut.tn_ready.value == 1:
                td, mode = int(dut.tn_turn.value), int(dut.job_mode.value)
                if mode >> regs.lsb("MODE", "PREDICT") & 1:
                    waiting["kp_done"] += bool(td & last)
                elif mode >> regs.lsb("MODE", "GENERATE") & 1:
                    waiting["kv_done"] += bool(td & kv_last)

    async def _descriptors(self):
        """The stream of descriptors and table entries, from ``memory`` and ``entries``, and the
        registers that the former go to."""
        dut, bus = self.dut, self.cfg.BUS_BYTES
        beats, command, cycle = deque(), 0, 0
        while True:
            await RisingEdge(dut.clk)
            cycle += 1
            if dut.d_wr_valid.value == 1:
                self.words[int(dut.d_wr_word.value)] = int(dut.d_wr_data.value)
                self.apply()
            if dut.d_d_valid.value == 1 and dut.d_d_ready.value == 1:
                beats.popleft()
            if command and dut.d_c_valid.value == 1:
                address, count = int(dut.d_c_addr.value), int(dut.d_c_beats.value)
                due = cycle
                if count == 256 // bus:
                    assert not beats, "a descriptor was not read to its end"
                    self.loads.append(address)
                    image = b"".join(w.to_bytes(4, "little") for w in self.memory[address])
                else:
                    same("seq beats of an entry", max(1, 16 // bus), count)
                    self.asked.append(address)
                    image = entry(address, self.cfg)[2]
                    if not int(dut.job_mode.value) >> regs.lsb("MODE", "GENERATE") & 1:
                        image = image[:6] + bytes(2) + image[8:]
                    image = self.entries.get(address, image)
                    image += random.randbytes(count * bus - 16)
                    due += self.latency
                beats.extend((due, int.from_bytes(image[i: i + bus], "little"))
                             for i in range(0, len(image), bus))
            if dut.stage_rst.value == 1:
                beats.clear()
            command = random.random() < self.rate
            here = bool(beats) and beats[0][0] <= cycle
            valid = here and (dut.d_d_valid.value == 1 or random.random() < self.rate)
            dut.d_c_ready.value = int(command)
            dut.d_d_valid.value = int(valid)
            dut.d_d_data.value = beats[0][1] if valid else random.getrandbits(8 * bus)

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

    async def at_rest(self, limit=20_000):
        """Wait until no job runs; returns the number of errors reported meanwhile."""
        errors = 0
        for _ in range(limit):
            await RisingEdge(self.dut.clk)
            errors += int(self.dut.err_valid.value)
            if self.dut.busy.value == 0:
                # The last pulses are counted an edge later.
                await RisingEdge(self.dut.clk)
                return errors
        raise AssertionError("the sequencer never came to rest")

    async def length(self, job, limit=20_000):
        """Run a legal job, and what follows it; returns the cycles from start to job_done."""
        self.load(job)
        await self.pulse("start")
        for cycles in range(limit):
            if self.dut.job_done.value == 1:
                same("seq errors", 0, await self.at_rest())
                return cycles
            await RisingEdge(self.dut.clk)
            same_signals("seq", self.dut, err_valid=0)
        raise AssertionError("the job never ended")

    async def result(self, limit=400_000):
        """Wait for the end of a job; returns (code, info), code 0 for done."""
        for _ in range(limit):
            await RisingEdge(self.dut.clk)
            if self.dut.err_valid.value == 1:
                code, info = int(self.dut.err_code.value), int(self.dut.err_info.value)
                samples.reason(code, info)
                return code, info
            if self.dut.done.value == 1:
                return 0, 0
        raise AssertionError("the sequencer never finished")

    async def run(self, job, start="start"):
        """Run a job and compare its commands; returns their number."""
        marks = self.marks()
        self.turns = self.queries = 0
        self.load(job)
        await self.pulse(start)
        same("seq code, info", (0, 0), await self.result())
        await RisingEdge(self.dut.clk)
        count = self.compare(marks, [job])
        attention = not job["predict"]
        want = [attention * (len(sink.items) - mark) for sink, mark in
                zip((self.qc, self.tn), (marks[0], marks[2]), strict=True)]
        self.board.compare("events", want, [self.queries, self.turns], axes=("event",))
        return count

    def compare(self, marks, jobs):
        """Compare the commands behind ``marks`` with those of ``jobs``; returns their number. The
        earliest wrong command of all kinds is shown."""
        want = [[] for _ in marks]
        for job in jobs:
            for all_commands, commands in zip(want, expected_commands(job, self.cfg),
                                              strict=True):
                all_commands += commands
        *marks, asked = marks
        *want, entries = want
        got = [sink.items[mark:] for sink, mark in zip(self.kinds.values(), marks, strict=True)]
        wrong = [(sink.times[mark + i], name, i, wanted, have)
                 for (name, sink), mark, commands, taken
                 in zip(self.kinds.items(), marks, want, got, strict=True)
                 for i, (wanted, have) in enumerate(zip(commands, taken, strict=False))
                 if wanted != have]
        if wrong:
            time, name, i, wanted, have = min(wrong, key=lambda entry: entry[0])
            wanted, have = ({"turn": c} if name == "turn" else c for c in (wanted, have))
            self.board.compare_fields(name, flat(wanted), flat(have), where={"number": i},
                                      when=moment(time))
        counts = [len(commands) for commands in want]
        self.board.compare("commands", counts, [len(taken) for taken in got], axes=("kind",),
                           where={"kind": list(self.kinds)})
        self.board.compare("table entries", entries, self.asked[asked:], axes=("number",))
        return sum(counts)


def flat(command):
    """The fields of a command, those of its turn descriptor one by one."""
    return unpack_turn(command["turn"]) if "turn" in command else command


def model_job(job, cfg):
    """The job as the models have it."""
    at = INDEX["ht"]
    table = tuple(entry(job["base"][at] + h * job["hstride"][at], cfg)[0]
                  for h in range(job["heads"]))
    select = second.DENSE if job["dense"] else second.SORT if job["sort"] else second.SUM
    return second.Job(
        d=job["d"], bc=job["bc"], table=table, band=job["band"], select=select,
        quota=job["quota"] if job["sort"] else 1, fall=job["fall"], snap=job["snap"],
        causal=bool(job["causal"]), offset=job["offset"], interleaved=not job["contiguous"],
        blend=bool(job["blend"]), share=bool(job["share"]),
        window=job["window"] >> regs.lsb("WINDOW", "WINDOW") & 0x1FFFF,
        sinks=job["window"] >> regs.lsb("WINDOW", "SINKS")).checked(cfg)


def expected_commands(job, cfg):
    """The Q, tile, turn and code commands and the scales of a job, as dicts of port fields or
    words, and the addresses of the table entries that it reads."""
    base, stride, hstride = ({name: job[n][i] for name, i in INDEX.items()}
                             for n in ("base", "stride", "hstride"))
    queries, tiles, turns, codes, scales, entries = [], [], [], [], [], []
    if job["predict"]:
        dim, bus = job["model_dim"], cfg.BUS_BYTES
        # Without RoPE nothing checks the base of RT: what an address cannot have is left out.
        address = (1 << cfg.ADDR_W) - 1
        for token in range(0, job["keys"], cfg.COLS):
            n = min(cfg.COLS, job["keys"] - token)
            for index, (head, sub, rows) in enumerate(chunks(job, cfg)):
                codes.append({"addr": base["wc"] + index * hstride["wc"],
                              "beats": cfg.code_beats(dim)})
                for at in range(0, dim, bus):
                    turns.append(pack_turn(
                        n=n, rows=rows, start=at == 0, final=at + bus >= dim, tile_last=1,
                        rel=min(bus, dim - at), kstep=sub,
                        kbase=base["k8"] + head * hstride["k8"] + token * stride["k8"],
                        vbase=base["rt"] + token * stride["rt"] & address))
                    tiles.append({"addr": base["x8"] + token * stride["x8"] + at,
                                  "inc": stride["x8"], "n": n})
        return queries, tiles, turns, codes, scales, entries
    model = model_job(job, cfg)
    count, seen = 0, set()
    parts = second.parts(job["heads"], job["kv_heads"], job["rows"], job["keys"], model, cfg)
    for part, after in zip(parts, [*parts[1:], None], strict=True):
        kv, band = part.kv, part.band
        new, ends = kv not in seen, after is None or after.kv != kv
        seen.add(kv)
        of_kv = base["ht"] + kv * (job["heads"] // job["kv_heads"]) * hstride["ht"]
        shifts = entry(of_kv, cfg)[1] if job["generate"] else (0, 0)
        # Heads that share a block are one, the first, with the rows of all.
        shared = len(part.heads) if job["share"] else 1
        here = [(head, block) for head in part.heads[::shared] for block in band.blocks]
        for head, block in here:
            entries.append(base["ht"] + head * hstride["ht"])
            queries.append({"addr": base["q"] + head * hstride["q"] + block.row * stride["q"],
                            "rows": block.n * shared})
            scales.append({"scale_m": model.table[head].scale_m,
                           "scale_shift": model.table[head].scale_shift})
        order = second.turns(len(band.tiles), model)
        for i, (t, selected) in enumerate(order):
            tile = band.tiles[t]
            if not job["dense"]:
                tiles.append({"addr": base["k8"] + kv * hstride["k8"] + tile.k0 * stride["k8"],
                              "inc": tile.kstep * stride["k8"] & WORD, "n": tile.n})
            for b, (head, block) in enumerate(here):
                own = model.table[head]
                exact = exact_rows(block.row, block.n, model.causal, model.offset).sum()
                first, last = i == 0, i == len(order) - 1
                mean = base["vm"] + block.row // cfg.ROWS * stride["vm"]
                turns.append(pack_turn(
                    n=tile.n, rows=block.n * shared, causal=job["causal"],
                    rel=(tile.k0 - (job["offset"] + block.row)) * shared,
                    mstep=tile.kstep * shared, window=tile.window * shared,
                    kstep=tile.kstep, k0=tile.k0,
                    place=(count + b) % cfg.places(job["d"]), start=first, final=last,
                    count=not selected, tile_last=b == len(here) - 1,
                    kvnew=new and first and b == 0, kvlast=ends and last and b == len(here) - 1,
                    exact=exact * shared if model.select == second.SUM else 0,
                    ratio=sads.extrapolation(len(band.tiles), min(i + 1, len(band.tiles)), cfg),
                    tau=sads.block_threshold(own.tau, model.fall, block.length, cfg),
                    octave=own.octave, radius=own.radius, kg_shift_k=shifts[0],
                    kg_shift_v=shifts[1],
                    kbase=base["k"] + kv * hstride["k"], vbase=base["v"] + kv * hstride["v"],
                    maddr=mean + (0 if job["generate"] else kv * hstride["vm"]) & ADDRESS,
                    oaddr=base["o"] + head * hstride["o"] + block.row * stride["o"]))
        count += len(here)
    return queries, tiles, turns, codes, scales, entries
