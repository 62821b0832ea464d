# SPDX-License-Identifier: Apache-2.0
"""Host driver of the machine: numpy arrays in, numpy arrays and counters out.

    acc = Accelerator(CompiledTransport(cfg))           # cfg: models.config.Config
    done = acc.attention(q, k, v, causal=True)          # float arrays
    done.out                                            # float [heads, rows, d]
    done.counters                                       # name -> count
    done = acc.run(*plan(q, k, v, cfg))                 # integers: models.plan.plan
    layer = acc.run_layer(plan_layer(x, wk, wv, q, cfg))    # models.layer.plan_layer

It does what driver software would do: places the buffers in memory, writes the registers or the
descriptors of a chain, starts, waits for the interrupt and reads results and counters back. A layer
is a chain of two jobs, key prediction and attention. AsyncAccelerator is the same for programs with
an event loop: its methods that wait for the machine are coroutines.
"""

from __future__ import annotations

import functools
import inspect
from dataclasses import dataclass

import numpy as np

from ..config import ConfigError
from ..head import DENSE, SORT, Job
from ..layer import LayerPlan, valid_beats
from ..plan import Numbers, plan
from ..spec import registers as regs
from .images import (
    DESCRIPTOR_BYTES,
    blends,
    buffer_fields,
    descriptor_image,
    means_image,
    table_image,
)
from .limits import Limit, job_limit, layer_limit
from .transport import Transport, TransportError, run

FILLER = 0xA5
"""Byte that output buffers hold before a job, to show what it leaves unwritten."""


class AcceleratorError(Exception):
    """The core ended a job with an error. ``code`` and ``info`` are those of register ERROR, and so
    are bits 0 and 1 of ``lost``, reads and writes that the core gave up: the memory's side needs a
    reset before the next job."""

    def __init__(self, code, info, lost=0):
        text = f"error {code} ({regs.error_text(code)}), info {info}"
        super().__init__(f"{text}, transfers lost {lost}" if lost else text)
        self.code, self.info, self.lost = code, info, lost


class AcceleratorTimeout(TimeoutError):
    """The core did not finish a job in time; the message says where it stands."""


@dataclass
class Descriptor:
    """What the registers of one job hold: ``fields`` register name -> value."""

    fields: dict[str, int]
    rows: int
    heads: int
    d: int


@dataclass
class Done:
    """Result of one job. out: int16, or float64 from ``attention()``, [heads, rows, d]."""

    out: np.ndarray
    counters: dict[str, int]


@dataclass
class LayerDone(Done):
    """Result of a layer. k8 int8, k and v int16 [kv_heads, keys, d]: what is in memory, where
    elements never written are ``untouched``; valid uint8 [kv_heads, bytes], the valid bits."""

    k8: np.ndarray
    k: np.ndarray
    v: np.ndarray
    valid: np.ndarray
    untouched: int


class AsyncAccelerator:
    """The machine behind a transport.

    Args:
        transport: models.driver.transport.Transport; its configuration is compared with the
            capabilities in reset(), which has to come first.
        padding: extra bus words between vectors and between heads, to exercise strides.
    """

    def __init__(self, transport: Transport, *, padding=0):
        self.transport, self.padding = transport, padding
        self._free = 0

    @property
    def cfg(self):
        """Configuration of the machine."""
        return self.transport.cfg

    @property
    def memory(self):
        """The transport's memory."""
        return self.transport.memory

    async def reset(self):
        """Reset the core, compare its capabilities with the configuration, enable its interrupt."""
        await self.transport.reset()
        identity = await self.read("ID")
        if identity != regs.ID_VALUE:
            raise AcceleratorError(0, identity)
        for name in (name for name in regs.OFFSETS if name.startswith("CAP_")):
            value, want = await self.read(name), getattr(self.cfg, name.removeprefix("CAP_"))
            if value != want:
                raise ConfigError(f"the core has {name} = {value}, the configuration {want}")
        await self.write("IRQ_ENABLE", 3)

    async def read(self, name):
        """Return the register called ``name``."""
        return await self.transport.read(regs.OFFSETS[name])

    async def write(self, name, value):
        """Write the register called ``name``."""
        await self.transport.write(regs.OFFSETS[name], value)

    # -----------------------------------------------------------------------------------------
    # Memory
    # -----------------------------------------------------------------------------------------
    def free_all(self, first=0):
        """Forget every allocation; the content of the memory stays. The next ones begin at byte
        ``first`` of it."""
        self._free = first

    def allocate(self, count, align=0):
        """Return the address of ``count`` bytes, aligned to the bus width or to ``align``."""
        bus = self.cfg.BUS_BYTES
        step = max(align, bus)
        address = -(-self._free // step) * step
        self._free = address
        self._free += -(-count // bus) * bus
        if self._free > len(self.memory.data):
            raise ConfigError(f"memory of {len(self.memory.data)} bytes is full: "
                              f"{self._free} needed")
        return self.memory.base + address

    def _strides(self, heads, rows, vector_bytes):
        """Row and head stride in bytes, and bytes of the whole buffer."""
        bus = self.cfg.BUS_BYTES
        row = (-(-vector_bytes // bus) + self.padding) * bus
        head = row * rows + self.padding * bus
        return row, head, head * heads

    def place(self, array):
        """Copy int array [heads, rows, d] to memory; returns (address, row, head stride)."""
        heads, rows, d = array.shape
        row, head, total = self._strides(heads, rows, d * array.itemsize)
        address = self.allocate(total)
        image = np.zeros((heads, head), np.uint8)
        lines = image[:, : rows * row].reshape(heads, rows, row)
        lines[:, :, : d * array.itemsize] = np.ascontiguousarray(array).view(np.uint8).reshape(
            heads, rows, -1)
        self.memory.load(address, image)
        return address, row, head

    def reserve(self, shape, kind=np.int16):
        """Room for [heads, rows, d] elements, full of FILLER; returns (address, row, head
        stride)."""
        heads, rows, d = shape
        row, head, total = self._strides(heads, rows, d * np.dtype(kind).itemsize)
        address = self.allocate(total)
        self.memory.load(address, np.full(total, FILLER, np.uint8))
        return address, row, head

    def outside(self, address, row, head, shape, kind=np.int16):
        """The bytes of a reserved buffer that belong to no beat of its vectors; see ``gather``."""
        heads, rows, d = shape
        bus = self.cfg.BUS_BYTES
        image = self.memory.dump(address, heads * head).reshape(heads, head)
        lines = image[:, : rows * row].reshape(heads, rows, row)
        used = -(-d * np.dtype(kind).itemsize // bus) * bus
        return np.concatenate([lines[:, :, used:].reshape(-1), image[:, rows * row :].reshape(-1)])

    def gather(self, address, row, head, shape, kind=np.int16):
        """Copy [heads, rows, d] elements of type ``kind`` from memory."""
        heads, rows, d = shape
        image = self.memory.dump(address, heads * head).reshape(heads, head)
        count = d * np.dtype(kind).itemsize
        lines = image[:, : rows * row].reshape(heads, rows, row)[:, :, :count]
        order = np.dtype(kind).newbyteorder("<")
        return np.ascontiguousarray(lines).view(order).reshape(shape).astype(kind)

    # -----------------------------------------------------------------------------------------
    # Jobs
    # -----------------------------------------------------------------------------------------
    def describe(self, numbers: Numbers, job: Job) -> Descriptor:
        """Place the arrays, the table of heads and an output buffer in memory, and return the
        descriptor of the job."""
        heads, rows, d = numbers.q.shape
        placed = {"q": self.place(numbers.q), "k8": self.place(numbers.k8),
                  "k": self.place(numbers.k), "v": self.place(numbers.v),
                  "o": self.reserve(numbers.q.shape), "ht": self.place_table(job)}
        if blends(job):
            placed["vm"] = self.place(means_image(numbers.means, self.cfg))
        fields = self.attention_fields(job, heads, rows, len(numbers.k), numbers.k.shape[1])
        return Descriptor(fields | buffer_fields(placed), rows, heads, d)

    def place_table(self, job: Job, shifts=((0, 0),)):
        """Place the table of heads; returns (address, head stride, head stride). shifts: see
        ``table_image``."""
        address, _, head = self.place(table_image(job, self.cfg, shifts))
        return address, head, head

    def attention_fields(self, job: Job, heads, rows, kv_heads, keys):
        """Registers of an attention job except its buffers."""
        return {
            "MODE": regs.word("MODE", DENSE=job.select == DENSE, CAUSAL=job.causal,
                              CONTIGUOUS=not job.interleaved, SNAP=job.snap,
                              SORT=job.select == SORT, BLEND=blends(job), SHARE=job.share),
            "HEAD_DIM": job.d, "QUERY_ROWS": rows, "KEYS": keys, "HEADS": heads,
            "KV_HEADS": kv_heads, "CAUSAL_OFFSET": job.offset, "TILE_KEYS": job.bc,
            "QUOTA": job.quota, "BAND": job.band, "FALL": job.fall,
            "WINDOW": regs.word("WINDOW", WINDOW=job.window, SINKS=job.sinks),
            "NEXT_LO": 0, "NEXT_HI": 0,
        }

    def place_layer(self, plan: LayerPlan, there=None):
        """Place a layer's tensors in memory and room for its results.

        there: (k, v int16 [kv_heads, keys, d], valid bool [kv_heads, keys]), what an earlier job
        left. Returns buffer name -> (address, row, head stride).
        """
        cfg, bus = self.cfg, self.cfg.BUS_BYTES
        codes, weights = plan.code_image(cfg), plan.weight_image(cfg)
        shape = (plan.kv_heads, plan.keys, plan.d)
        bits = valid_beats(plan.keys, cfg) * bus
        placed = {
            "q": self.place(plan.q), "x8": self.place(plan.x8[None]),
            "x": self.place(plan.x[None]), "wc": self.place(codes[:, None]),
            "w": self.place(weights.reshape(len(weights), 1, -1)),
            "k8": self.reserve(shape, np.int8), "k": self.reserve(shape),
            "v": self.reserve(shape), "vb": self.reserve((plan.kv_heads, 1, bits), np.uint8),
            "o": self.reserve(plan.q.shape),
        }
        if plan.mode:
            placed["rt"] = self.place(plan.rt[None])
        if there is not None:
            k, v, valid = there
            for name, array in (("k", k), ("v", v)):
                address, row, head = placed[name]
                for kv, key in zip(*np.nonzero(valid), strict=True):
                    self.memory.load(address + int(kv) * head + int(key) * row,
                                     array[kv, key].astype("<i2").view(np.uint8))
            packed = np.packbits(np.asarray(valid, bool), axis=1, bitorder="little")
            for kv, line in enumerate(packed):
                self.memory.load(placed["vb"][0] + kv * placed["vb"][2], line)
        placed["ht"] = self.place_table(plan.job, plan.shifts)
        if blends(plan.job):
            placed["vm"] = self.place(plan.xm[None])
        return placed

    def describe_layer(self, plan: LayerPlan, placed, *, load=False):
        """Registers of the two jobs of a layer, key prediction and attention. load: valid bits are
        read from memory at first."""
        rope = plan.mode << regs.lsb("MODE", "ROPE")
        predict = {
            "MODE": 1 << regs.lsb("MODE", "PREDICT") | rope, "HEAD_DIM": plan.d, "KEYS": plan.keys,
            "KV_HEADS": plan.kv_heads, "MODEL_DIM": plan.h,
            "NEXT_LO": 0, "NEXT_HI": 0,
        }
        attend = self.attention_fields(plan.job, plan.heads, plan.q.shape[1], plan.kv_heads,
                                        plan.keys)
        attend["MODE"] |= (1 << regs.lsb("MODE", "GENERATE") | rope
                           | int(load) << regs.lsb("MODE", "VB_LOAD"))
        attend["MODEL_DIM"] = plan.h
        names = (("x8", "wc", "rt", "k8"),
                 ("q", "k8", "k", "v", "o", "x", "w", "rt", "vb", "ht", "vm"))
        return [fields | buffer_fields({n: placed[n] for n in used if n in placed})
                for fields, used in zip((predict, attend), names, strict=True)]

    def chain(self, jobs):
        """Write descriptors of jobs (register name -> value each) to memory, each with the address
        of the next one; returns the address of the first."""
        first = self.allocate(len(jobs) * DESCRIPTOR_BYTES, DESCRIPTOR_BYTES)
        for i, fields in enumerate(jobs):
            following = first + (i + 1) * DESCRIPTOR_BYTES if i + 1 < len(jobs) else 0
            fields = {**fields, "NEXT_LO": following & 0xFFFFFFFF, "NEXT_HI": following >> 32}
            self.memory.load(first + i * DESCRIPTOR_BYTES, descriptor_image(fields))
        return first

    async def start(self, descriptor: Descriptor):
        """Write the registers of a job and start it."""
        for name, value in descriptor.fields.items():
            await self.write(name, value)
        await self.write("CTRL", 1 << regs.lsb("CTRL", "START"))

    async def start_chain(self, address):
        """Start the chain of descriptors at an address."""
        await self.write("NEXT_LO", address & 0xFFFFFFFF)
        await self.write("NEXT_HI", address >> 32)
        await self.write("CTRL", 1 << regs.lsb("CTRL", "START_CHAIN"))

    async def wait(self, limit: int | Limit = 1_000_000):
        """Wait for the interrupt, at most ``limit`` cycles, and acknowledge it.

        Raises:
            AcceleratorError: the job ended with an error.
            AcceleratorTimeout: there was no interrupt.
        """
        if not await self.transport.interrupt(limit.cycles if isinstance(limit, Limit) else limit):
            said = limit if isinstance(limit, Limit) else f"{limit} cycles"
            raise AcceleratorTimeout(f"no interrupt within {said}; {await self.situation()}")
        status = await self.read("STATUS")
        await self.write("IRQ_STATUS", 3)
        if status >> regs.lsb("STATUS", "ERROR") & 1:
            error = await self.read("ERROR")
            raise AcceleratorError(error & 0xFF, error >> regs.lsb("ERROR", "INFO") & 0xFF,
                                   error >> regs.lsb("ERROR", "READS_LOST") & 3)
        if not status >> regs.lsb("STATUS", "DONE") & 1:
            raise AcceleratorError(0, status)

    async def situation(self):
        """Where the core stands: what the transport knows, registers and counters, in one line."""
        parts = [text for text in [await self.transport.situation()] if text]
        try:
            for name in ("STATUS", "ERROR", "JOBS"):
                parts.append(f"{name} {await self.read(name):#x}")
            counts = {name: n for name, n in (await self.counters()).items() if n}
            parts.append("counters: " + ", ".join(f"{name} {n}" for name, n in counts.items()))
        except TransportError as error:
            parts.append(f"registers cannot be read: {error}")
        return "; ".join(parts)

    async def counters(self):
        """Return all performance counters, name -> value."""
        return {name: await self.read(f"CNT_{name}") for name in regs.COUNTERS}

    async def finish(self, descriptor: Descriptor, limit: int | Limit = 1_000_000) -> Done:
        """Wait for a started job and return its output and counters."""
        await self.wait(limit)
        fields = descriptor.fields
        out = self.gather(fields["O_BASE_LO"] | fields["O_BASE_HI"] << 32,
                          fields["O_ROW_STRIDE"], fields["O_HEAD_STRIDE"],
                          (descriptor.heads, descriptor.rows, descriptor.d))
        return Done(out, await self.counters())

    async def run(self, numbers: Numbers, job: Job, limit: int | Limit | None = None) -> Done:
        """Run one job and return int16 [heads, rows, d]; it may take ``limit`` cycles, by default
        what job_limit gives."""
        descriptor = self.describe(numbers, job)
        await self.start(descriptor)
        return await self.finish(descriptor, limit or self.job_limit(numbers, job))

    async def completed(self, jobs, limit: int | Limit = 1_000_000):
        """Wait for the end of so many jobs that were started; returns the counters of all."""
        await self.wait(limit)
        completed = await self.read("JOBS")
        if completed != jobs:
            raise AssertionError(f"{completed} jobs completed without an error, not {jobs}")
        return await self.counters()

    async def run_chain(self, address, jobs, limit: int | Limit = 1_000_000):
        """Run the chain of ``jobs`` descriptors at an address; returns the counters of all."""
        await self.start_chain(address)
        return await self.completed(jobs, limit)

    def job_limit(self, numbers: Numbers, job: Job) -> Limit:
        """Cycles that a job may take."""
        heads, rows, _ = numbers.q.shape
        return job_limit(heads, len(numbers.k), rows, numbers.k.shape[1], job, self.cfg,
                         self.transport.speed)

    def layer_limit(self, plan: LayerPlan) -> Limit:
        """Cycles that the chain of a layer may take."""
        return layer_limit(plan, self.cfg, self.transport.speed)

    async def run_layer(self, plan: LayerPlan, there=None,
                        limit: int | Limit | None = None) -> LayerDone:
        """Run a layer as a chain of jobs; there: see ``place_layer``, limit: see ``run``."""
        if limit is None:
            limit = self.layer_limit(plan)
        placed = self.place_layer(plan, there)
        jobs = self.describe_layer(plan, placed, load=there is not None)
        counters = await self.run_chain(self.chain(jobs), len(jobs), limit)
        return self.gather_layer(plan, placed, counters)

    def gather_layer(self, plan: LayerPlan, placed, counters) -> LayerDone:
        """What a layer placed so has left in memory."""
        shape = (plan.kv_heads, plan.keys, plan.d)
        bits = valid_beats(plan.keys, self.cfg) * self.cfg.BUS_BYTES
        return LayerDone(
            self.gather(*placed["o"], plan.q.shape), counters,
            self.gather(*placed["k8"], shape, np.int8), self.gather(*placed["k"], shape),
            self.gather(*placed["v"], shape),
            self.gather(*placed["vb"], (plan.kv_heads, 1, bits), np.uint8)[:, 0],
            int(np.array([FILLER, FILLER], np.uint8).view("<i2")[0]))

    async def attention(self, q, k, v, **settings) -> Done:
        """Attention of float arrays q [heads, rows, d], k, v [kv_heads, keys, d], as one job;
        ``settings`` are those of models.plan.plan."""
        numbers, job = plan(q, k, v, self.cfg, **settings)
        done = await self.run(numbers, job)
        return Done(done.out * numbers.out_scale, done.counters)


class Accelerator:
    """AsyncAccelerator for programs without an event loop: its methods and attributes, where those
    that are coroutines run to their end. Making one resets the machine. Arguments as there."""

    def __init__(self, transport: Transport, **options):
        vars(self)["_driver"] = AsyncAccelerator(transport, **options)
        run(self._driver.reset())

    def __setattr__(self, name, value):
        setattr(self._driver, name, value)

    def __getattr__(self, name):
        if name == "_driver":
            # Not made yet, as in a copy that begins.
            raise AttributeError(name)
        found = getattr(self._driver, name)
        if not inspect.iscoroutinefunction(found):
            return found

        @functools.wraps(found)
        def call(*args, **kwargs):
            return run(found(*args, **kwargs))

        return call

    def __dir__(self):
        return sorted({*super().__dir__(), *dir(self._driver)})
