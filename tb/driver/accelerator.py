# SPDX-License-Identifier: Apache-2.0
"""The host driver over a simulation by cocotb: AxiLiteMaster and AxiMemory behind its Transport.

    acc = Accelerator(dut, cfg)          # cfg: models.config.Config
    await acc.reset()
    done = await acc.attention(q, k, v, causal=True)
"""

from __future__ import annotations

import random
from dataclasses import fields

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import First, RisingEdge, Timer

from models.config import Config
from models.driver.accelerator import AcceleratorError, AsyncAccelerator
from models.driver.images import DESCRIPTOR_BYTES, descriptor_fields
from models.driver.limits import Speed
from models.driver.transport import Transport, TransportError
from tb.common import samples
from tb.common.address_map import Places
from tb.common.axi_memory import AxiMemory
from tb.common.axil_master import AxiLiteError, AxiLiteMaster, AxiLiteTimeout
from tb.common.states import instances, state_names
from tb.runner import CLOCK_PERIOD_NS, parameters

LATENCY = {"read_latency": 100, "write_latency": 20}
"""Cycles of the memory where nothing is said."""


def speed_of(options: dict) -> Speed:
    """Speed of a memory with these arguments of AxiMemory (name -> value)."""
    def longest(name):
        value = options.get(name, 1)
        return value if isinstance(value, int) else value[1]

    known = {f.name for f in fields(Speed)} & set(options)
    return Speed(longest("read_latency") + longest("write_latency"),
                 **{name: options[name] for name in known})


class CocotbTransport(Transport):
    """The signals of ``dut`` (``sofa``), with a clock. memory: AxiMemory, registers: AxiLiteMaster.

    Args: see Accelerator.
    """

    def __init__(self, dut, cfg: Config, *, memory_bytes=1 << 24, memory=None, axil_gap=0, seed=0):
        self.dut, self.cfg = dut, cfg
        cocotb.start_soon(Clock(dut.clk, CLOCK_PERIOD_NS, unit="ns").start())
        options = {**LATENCY, **(memory or {})}
        self.memory = AxiMemory(dut, "m_axi", dut.clk, dut.rst, size=memory_bytes, seed=seed,
                                **options)
        self.registers = AxiLiteMaster(dut, "s_axil", dut.clk, dut.rst, gap=axil_gap, seed=seed)
        self.speed = speed_of(options)

    def behave(self, memory=None, axil_gap=0, seed=0):
        """Arguments of the class that may change from job to job."""
        options = {**LATENCY, **(memory or {})}
        self.memory.behave(**options)
        self.memory.reseed(seed)
        self.registers.reseed(seed)
        self.registers.gap, self.speed = axil_gap, speed_of(options)

    async def reset(self):
        self.dut.rst.value = 1
        for _ in range(4):
            await RisingEdge(self.dut.clk)
        self.dut.rst.value = 0
        await RisingEdge(self.dut.clk)

    async def read(self, offset):
        try:
            return await self.registers.read(offset)
        except (AxiLiteError, AxiLiteTimeout) as error:
            raise TransportError(str(error)) from error

    async def write(self, offset, value):
        try:
            await self.registers.write(offset, value)
        except (AxiLiteError, AxiLiteTimeout) as error:
            raise TransportError(str(error)) from error

    async def interrupt(self, limit):
        if self.dut.irq.value == 1:
            return True
        timeout = Timer(limit * CLOCK_PERIOD_NS, unit="ns")
        came = await First(RisingEdge(self.dut.irq), timeout) is not timeout
        await RisingEdge(self.dut.clk)
        return came

    def machines(self):
        """Yield (module, register, handle) of every state machine of the core."""
        def below(module, handle):
            for register in state_names().get(module, ()):
                if hasattr(handle, register):
                    yield module, register, getattr(handle, register)
            for instance, name in instances(module).items():
                if hasattr(handle, instance):
                    yield from below(name, getattr(handle, instance))

        yield from below("sofa", getattr(self.dut, "g_core", self.dut))

    async def situation(self):
        """Bus and state machines."""
        states = []
        for module, register, handle in self.machines():
            value, names = handle.value, state_names()[module][register]
            known = value.is_resolvable and int(value) in names
            states.append(f"{module} {names[int(value)] if known else value}")
        waits = [name for name in ("ar", "r", "aw", "w", "b")
                 if getattr(self.dut, f"m_axi_{name}valid").value
                 and not getattr(self.dut, f"m_axi_{name}ready").value]
        return (f"bus: {', '.join(waits) or 'nothing'} waits for ready, memory owes "
                f"{self.memory.outstanding_reads} reads, {self.memory.outstanding_writes} writes; "
                f"states: {', '.join(states)}")


class Accelerator(AsyncAccelerator):
    """The machine behind the signals of ``dut`` (``sofa``), with its memory. What runs without an
    error, errors and counters answer points of functional coverage.

    Args:
        dut: simulator handle.
        cfg: its configuration; reset() compares it with the capabilities.
        memory_bytes: size of the memory.
        memory: arguments of ``AxiMemory`` (latency, stalls, faults ...).
        axil_gap: largest number of random idle cycles in register accesses.
        seed: seed of the memory's and the register bus's randomness.
        padding: extra bus words between vectors and between heads, to exercise strides.
        scatter: buffers lie anywhere in 2^ADDR_W bytes, at random, and there is no memory around
            them; the vectors of many a buffer lie far apart, with no memory between. Else one
            behind the other.
    """

    def __init__(self, dut, cfg: Config, *, padding=0, scatter=False, seed=0, **options):
        super().__init__(CocotbTransport(dut, cfg, seed=seed, **options), padding=padding)
        self.dut = dut
        self._rng = random.Random(seed)
        self._places = None
        if scatter:
            self._places = Places(self.memory.map, cfg.ADDR_W, cfg.BUS_BYTES, self._rng)
        # Buffer whose vectors lie far apart -> where the host reaches the same bytes
        self._dense: dict[int, tuple[int, int, int]] = {}
        # Registers of the jobs of the chain that runs
        self._started = []
        samples.machine(parameters(), cocotb.SIM_NAME)

    @property
    def registers(self) -> AxiLiteMaster:
        """The register bus."""
        return self.transport.registers

    def free_all(self, first=0):
        super().free_all(first)
        if self._places:
            self._places.clear()
        self._dense.clear()

    def allocate(self, count, align=0):
        address = super().allocate(count, align)
        if not self._places:
            return address
        # The place within a page, and so where bursts split, stays.
        bus = self.cfg.BUS_BYTES
        return self._places.place(address - self.memory.base, -(-count // bus) * bus,
                                  address % 4096)

    def _spread(self, dense, heads, rows, vector_bytes):
        """Another (address, row, head stride) for the vectors of the buffer ``dense``, far apart;
        or the same."""
        if not self._places or self._rng.random() < 0.5:
            return dense
        address, row, head = dense
        size = -(-vector_bytes // self.cfg.BUS_BYTES) * self.cfg.BUS_BYTES
        spread = self._places.spread(self.memory.map.offset(address, size), heads, rows, size, row,
                                     head, address % 4096)
        self._dense[spread[0]] = dense
        return spread

    def place(self, array):
        return self._spread(super().place(array), *array.shape[:2],
                            array.shape[2] * array.itemsize)

    def reserve(self, shape, kind=np.int16):
        return self._spread(super().reserve(shape, kind), *shape[:2],
                            shape[2] * np.dtype(kind).itemsize)

    def outside(self, address, row, head, shape, kind=np.int16):
        return super().outside(*self._dense.get(address, (address, row, head)), shape, kind)

    def gather(self, address, row, head, shape, kind=np.int16):
        return super().gather(*self._dense.get(address, (address, row, head)), shape, kind)

    def machines(self):
        """Yield (module, register, handle) of every state machine of the core."""
        return self.transport.machines()

    def behave(self, memory=None, padding=0, axil_gap=0, seed=0):
        """Arguments of the class that may change from job to job."""
        self.transport.behave(memory, axil_gap, seed)
        self.padding = padding

    async def start(self, descriptor):
        fields = descriptor.fields
        self._started = [fields, *self._jobs_at(fields["NEXT_LO"] | fields["NEXT_HI"] << 32)]
        await super().start(descriptor)

    async def start_chain(self, address):
        self._started = self._jobs_at(address)
        await super().start_chain(address)

    def _jobs_at(self, address):
        """Registers of the jobs of the chain at an address, as memory has them: up to one that is
        not in the memory, or comes again."""
        jobs = {}
        while (address and address not in jobs
               and self.memory.map.offset(address, DESCRIPTOR_BYTES) is not None):
            jobs[address] = descriptor_fields(self.memory.dump(address, DESCRIPTOR_BYTES))
            address = jobs[address]["NEXT_LO"] | jobs[address]["NEXT_HI"] << 32
        return list(jobs.values())

    async def wait(self, limit=1_000_000):
        try:
            await super().wait(limit)
        except AcceleratorError as error:
            if error.code:
                samples.error(error.code, error.info, error.lost)
            raise
        samples.chain(self._started, self.cfg)
        self._started = []

    async def counters(self):
        values = await super().counters()
        samples.counters(values)
        return values
