# SPDX-License-Identifier: Apache-2.0
"""Host driver of the core: numpy arrays in, numpy arrays and counters out.

    acc = Accelerator(dut)
    await acc.reset()
    done = await acc.attention(q, k, v, causal=True, quota=8, radius_nats=6.0)
    done.out            # float [heads, rows, d]
    done.counters       # name -> count

It does what driver software would do: quantises, places the buffers in memory, writes the
registers, starts, waits for the interrupt and reads results and counters back.
"""

from __future__ import annotations

from dataclasses import dataclass

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import First, RisingEdge, Timer

from models import regs
from models.config import Config, ConfigError
from models.head import Job
from models.plan import plan
from tb.common.axi_memory import AxiMemory
from tb.common.axil_master import AxiLiteMaster
from tb.runner import CLOCK_PERIOD_NS

BUFFERS = ("q", "k8", "k", "v", "o")


class AcceleratorError(Exception):
    """The core ended a job with an error. ``code`` and ``info`` are those of register ERROR."""

    def __init__(self, code, info):
        super().__init__(f"error {code} ({regs.error_text(code)}), info {info}")
        self.code, self.info = code, info


class AcceleratorTimeout(AssertionError):
    """The core did not finish a job in time."""


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


class Accelerator:
    """The core behind the signals of ``dut`` (``sofa_top`` or ``sofa_tb``), with its memory.

    Args:
        dut: simulator handle.
        memory_bytes: size of the memory.
        memory: arguments of ``AxiMemory`` (latency, stalls, faults ...).
        axil_gap: largest number of random idle cycles in register accesses.
        seed: seed of the memory's and the register bus's randomness.
        padding: extra bus words between vectors and between heads, to exercise strides.
    """

    def __init__(self, dut, *, memory_bytes=1 << 24, memory=None, axil_gap=0, seed=0, padding=0):
        self.dut = dut
        cocotb.start_soon(Clock(dut.clk, CLOCK_PERIOD_NS, unit="ns").start())
        options = {"read_latency": 100, "write_latency": 20, **(memory or {})}
        self.memory = AxiMemory(dut, "m_axi", dut.clk, dut.rst, size=memory_bytes, seed=seed,
                                **options)
        self.registers = AxiLiteMaster(dut, "s_axil", dut.clk, dut.rst, gap=axil_gap, seed=seed)
        self.padding = padding
        self.cfg: Config | None = None
        self._free = 0

    async def reset(self):
        """Reset the core, read its capabilities, enable its interrupt."""
        self.dut.rst.value = 1
        for _ in range(4):
            await RisingEdge(self.dut.clk)
        self.dut.rst.value = 0
        await RisingEdge(self.dut.clk)
        identity = await self.read("ID")
        if identity != regs.ID_VALUE:
            raise AcceleratorError(0, identity)
        names = ("ROWS", "COLS", "D_MAX", "BC_MAX", "BUS_BYTES", "KEYS_MAX", "ADDR_W",
                 "SC_FRAC", "TWO_TERM")
        self.cfg = Config.from_parameters({n: await self.read(f"CAP_{n}") for n in names})
        await self.write("IRQ_ENABLE", 3)

    async def read(self, name):
        """Return the register called ``name``."""
        return await self.registers.read(regs.OFFSETS[name])

    async def write(self, name, value):
        """Write the register called ``name``."""
        await self.registers.write(regs.OFFSETS[name], value)

    # -----------------------------------------------------------------------------------------
    # Memory
    # -----------------------------------------------------------------------------------------
    def free_all(self):
        """Forget every allocation; the content of the memory stays."""
        self._free = 0

    def allocate(self, count):
        """Return the address of ``count`` bytes, aligned to the bus width."""
        bus = self.cfg.BUS_BYTES
        address = self._free
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

    def gather(self, address, row, head, shape):
        """Copy int16 [heads, rows, d] from memory."""
        heads, rows, d = shape
        image = self.memory.dump(address, heads * head).reshape(heads, head)
        lines = image[:, : rows * row].reshape(heads, rows, row)[:, :, : 2 * d]
        return np.ascontiguousarray(lines).view("<i2").reshape(shape).astype(np.int16)

    # -----------------------------------------------------------------------------------------
    # Jobs
    # -----------------------------------------------------------------------------------------
    def describe(self, q, k, v, k8, job: Job) -> Descriptor:
        """Place the int arrays q [heads, rows, d], k, v, k8 [kv_heads, keys, d] and an output
        buffer in memory, and return the descriptor of the job."""
        heads, rows, d = q.shape
        if k8 is None:
            k8 = np.zeros(k.shape, np.int8)
        placed = {"q": self.place(q), "k8": self.place(k8), "k": self.place(k),
                  "v": self.place(v)}
        row, head, total = self._strides(heads, rows, 2 * d)
        placed["o"] = (self.allocate(total), row, head)
        # Bytes that the core must not leave unwritten, nor write outside the output.
        self.memory.load(placed["o"][0], np.full(total, 0xA5, np.uint8))
        fields = {
            "MODE": (int(job.dense) << regs.MODE_DENSE_LSB
                     | int(job.causal) << regs.MODE_CAUSAL_LSB
                     | int(not job.interleaved) << regs.MODE_CONTIGUOUS_LSB
                     | job.snap << regs.MODE_SNAP_LSB),
            "HEAD_DIM": d, "QUERY_ROWS": rows, "KEYS": k.shape[1], "HEADS": heads,
            "KV_HEADS": len(k), "CAUSAL_OFFSET": job.offset, "TILE_KEYS": job.bc,
            "QUOTA": job.quota,
            "RADIUS": self.cfg.RADIUS_INF if job.radius is None else job.radius,
            "SCALE_MULT": job.scale_m, "SCALE_SHIFT": job.scale_shift,
        }
        for name, (address, row, head) in placed.items():
            up = name.upper()
            fields |= {f"{up}_BASE_LO": address & 0xFFFFFFFF, f"{up}_BASE_HI": address >> 32,
                       f"{up}_ROW_STRIDE": row, f"{up}_HEAD_STRIDE": head}
        return Descriptor(fields, rows, heads, d)

    async def start(self, descriptor: Descriptor):
        """Write the registers of a job and start it."""
        for name, value in descriptor.fields.items():
            await self.write(name, value)
        await self.write("CTRL", 1 << regs.CTRL_START_LSB)

    async def wait(self, limit=1_000_000):
        """Wait for the interrupt, at most ``limit`` cycles, and acknowledge it.

        Raises:
            AcceleratorError: the job ended with an error.
            AcceleratorTimeout: there was no interrupt.
        """
        if self.dut.irq.value == 0:
            timeout = Timer(limit * CLOCK_PERIOD_NS, unit="ns")
            if await First(RisingEdge(self.dut.irq), timeout) is timeout:
                raise AcceleratorTimeout(f"no interrupt within {limit} cycles")
            await RisingEdge(self.dut.clk)
        status = await self.read("STATUS")
        await self.write("IRQ_STATUS", 3)
        if status >> regs.STATUS_ERROR_LSB & 1:
            error = await self.read("ERROR")
            raise AcceleratorError(error & 0xFF, error >> 8 & 0xFF)
        if not status >> regs.STATUS_DONE_LSB & 1:
            raise AcceleratorError(0, status)

    async def counters(self):
        """Return all performance counters, name -> value."""
        return {name: await self.read(f"CNT_{name}") for name in regs.COUNTERS}

    async def finish(self, descriptor: Descriptor, limit=1_000_000) -> Done:
        """Wait for a started job and return its output and counters."""
        await self.wait(limit)
        fields = descriptor.fields
        out = self.gather(fields["O_BASE_LO"] | fields["O_BASE_HI"] << 32,
                          fields["O_ROW_STRIDE"], fields["O_HEAD_STRIDE"],
                          (descriptor.heads, descriptor.rows, descriptor.d))
        return Done(out, await self.counters())

    async def run(self, q, k, v, k8, job: Job, limit=1_000_000) -> Done:
        """Run one job on int arrays (see ``describe``) and return int16 [heads, rows, d]."""
        descriptor = self.describe(q, k, v, k8, job)
        await self.start(descriptor)
        return await self.finish(descriptor, limit)

    async def attention(self, q, k, v, **settings) -> Done:
        """Attention of float arrays q [heads, rows, d], k, v [kv_heads, keys, d].

        ``settings`` are those of ``models.plan.plan``: causal, offset, bc, quota, radius_nats,
        snap, dense, interleaved.
        """
        numbers, job = plan(q, k, v, self.cfg, **settings)
        done = await self.run(numbers.q, numbers.k, numbers.v, numbers.k8, job)
        return Done(done.out * numbers.sv, done.counters)
