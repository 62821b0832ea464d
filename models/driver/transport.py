# SPDX-License-Identifier: Apache-2.0
"""How a host reaches the machine: its registers, its memory, its interrupt.

Accelerator drives the machine through a Transport, whatever lies behind it: the bit-accurate model
(model.py), the compiled Verilog (compiled.py), a simulation by cocotb (tb/driver of the
repository), or the bus of a chip.
"""

from __future__ import annotations

import numpy as np

from ..config import Config
from .limits import Speed

BASE = 0x1000
"""Address of the first byte of a memory where nothing is said. NEXT = 0 ends a chain, so no
descriptor may lie at 0."""


class TransportError(Exception):
    """A register could not be read or written, or the machine behind a transport not be made."""


class Memory:
    """Bytes from address ``base`` on: ``data``, a uint8 array."""

    def __init__(self, data: np.ndarray, base: int = BASE):
        self.data, self.base = data, base

    def _offset(self, address, count):
        start = address - self.base
        if start < 0 or start + count > len(self.data):
            raise IndexError(f"{count} bytes at {address:#x} are outside the memory "
                             f"{self.base:#x}..{self.base + len(self.data) - 1:#x}")
        return start

    def load(self, address: int, values) -> None:
        """Copy the bytes of ``values`` (bytes or any array, little endian) to ``address``;
        IndexError outside the memory."""
        if not isinstance(values, bytes | bytearray):
            values = np.ascontiguousarray(values)
            values = values.astype(values.dtype.newbyteorder("<"), copy=False).tobytes()
        start = self._offset(address, len(values))
        self.data[start : start + len(values)] = np.frombuffer(values, np.uint8)

    def dump(self, address: int, count: int, dtype=np.uint8) -> np.ndarray:
        """A copy of ``count`` elements of ``dtype`` (little endian) from ``address``; IndexError
        outside the memory."""
        dtype = np.dtype(dtype).newbyteorder("<")
        start = self._offset(address, count * dtype.itemsize)
        return self.data[start : start + count * dtype.itemsize].copy().view(dtype)


class Transport:
    """What a way to the machine has to do. Addresses count bytes.

    cfg     configuration of the machine behind it
    memory  with ``base`` (address of its first byte), ``data`` (its length is that of the memory),
            ``load`` and ``dump`` as those of Memory: what host and machine share
    speed   of that memory (limits.py)

    Registers, interrupt and reset may have to wait for the machine and are coroutines.
    """

    cfg: Config
    memory: Memory
    speed: Speed = Speed()

    async def reset(self) -> None:
        """Reset the machine; its registers get the values after reset, memory stays."""
        raise NotImplementedError

    async def read(self, offset: int) -> int:
        """The register at a byte offset, 32 bits unsigned; TransportError where it gives none."""
        raise NotImplementedError

    async def write(self, offset: int, value: int) -> None:
        """Write 32 bits to the register at a byte offset; TransportError where it is refused."""
        raise NotImplementedError

    async def interrupt(self, limit: int) -> bool:
        """Wait until the interrupt is high, at most ``limit`` cycles of the machine's clock;
        whether it is."""
        raise NotImplementedError

    async def situation(self) -> str:
        """What is known of where the machine stands, beside its registers, for a message."""
        return ""


def run(coroutine):
    """Run a coroutine to its end and return its value, without an event loop. It may await nothing
    but methods of a Transport that do not wait outside of themselves; TransportError otherwise."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value
    coroutine.close()
    raise TransportError("this transport waits for an event loop: await the methods of "
                         "AsyncAccelerator in it")
