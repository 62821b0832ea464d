# SPDX-License-Identifier: Apache-2.0
"""AXI4-Lite master for register access."""

from __future__ import annotations

import random

from cocotb.triggers import Lock, RisingEdge
from cocotb_bus.drivers import BusDriver

from tb.common.signals import reader, signal_name, writer

_NAMES = {"00": "OKAY", "01": "EXOKAY", "10": "SLVERR", "11": "DECERR"}


class AxiLiteError(Exception):
    """A transfer was answered with an error. ``response`` is its name, e.g. "SLVERR"."""

    def __init__(self, message, response):
        super().__init__(message)
        self.response = response


class AxiLiteTimeout(AssertionError):
    """The slave did not answer in time."""


class AxiLiteMaster(BusDriver):
    """Master on signals ``<name>_awaddr`` ...; ``awprot`` and ``arprot`` may be missing.

    One transfer at a time in each direction; concurrent callers wait for each other.

    Args:
        entity: simulator handle which has the signals.
        name: prefix of the signals without the underscore, e.g. "s_axil".
        clock: handle of the clock.
        reset: handle of the active high reset or None. Transfers wait until it is low.
        gap: largest number of random idle cycles before each of AW, W, AR and before BREADY and
            RREADY. 0 starts AW and W together and has the response readies high already.
        timeout: cycles after which a transfer raises AxiLiteTimeout.
        seed: seed of the gaps.
    """

    _signals = ["awaddr", "awvalid", "awready", "wdata", "wstrb", "wvalid", "wready",
                "bresp", "bvalid", "bready", "araddr", "arvalid", "arready",
                "rdata", "rresp", "rvalid", "rready"]
    _optional_signals = ["awprot", "arprot"]

    def __init__(self, entity, name, clock, reset=None, *, gap=0, timeout=1000, seed=0):
        super().__init__(entity, name, clock)
        self.gap, self.timeout = gap, timeout
        self.reseed(seed)
        self._reset = reader(reset) if reset is not None else lambda: "0"
        self._write_lock, self._read_lock = Lock(), Lock()
        self._edge = RisingEdge(clock)
        self._get = {s: reader(getattr(self.bus, s))
                     for s in ("awready", "wready", "arready", "bvalid", "bresp",
                               "rvalid", "rresp", "rdata")}
        self._put = {}
        for signal in ("awaddr", "awvalid", "awprot", "wdata", "wstrb", "wvalid", "bready",
                       "araddr", "arvalid", "arprot", "rready"):
            if hasattr(self.bus, signal):
                self._put[signal] = writer(getattr(self.bus, signal))
                self._drive(signal, 0)

    def reseed(self, seed):
        """Begin the sequence of gaps of a seed."""
        # The name keeps it apart from others of the same seed.
        self._rng = random.Random(f"{self.name} {seed}")

    def _drive(self, signal, value):
        self._put[signal](format(value, f"0{len(getattr(self.bus, signal))}b"))

    def _pause(self):
        return self._rng.randint(0, self.gap) if self.gap else 0

    def _bit(self, signal):
        """Return whether a slave output is 1. Unknown is an error."""
        text = self._get[signal]()
        if text not in ("0", "1"):
            raise AssertionError(f"{signal_name(getattr(self.bus, signal))} is unknown")
        return text == "1"

    async def write(self, address, value, strb=None):
        """Write ``value`` to byte address ``address``.

        Args:
            address: byte address.
            value: unsigned word.
            strb: byte strobes, default all (0xF on a 32-bit bus).

        Raises:
            AxiLiteError: response was not OKAY.
            AxiLiteTimeout: no response in time.
            AssertionError: the slave broke the protocol or drove unknown values.
        """
        if strb is None:
            strb = (1 << len(self.bus.wstrb)) - 1
        async with self._write_lock:
            requests = [("aw", {"awaddr": address}), ("w", {"wdata": value, "wstrb": strb})]
            texts = await self._transfer(requests, "b", ("bresp",), f"write {address:#x}")
        self._check(texts[0], f"write of {value:#x} to {address:#x}")

    async def read(self, address):
        """Return the word at byte address ``address`` as an unsigned int.

        Raises: as ``write()``.
        """
        async with self._read_lock:
            requests = [("ar", {"araddr": address})]
            texts = await self._transfer(requests, "r", ("rresp", "rdata"), f"read {address:#x}")
        self._check(texts[0], f"read of {address:#x}")
        if texts[1].strip("01"):
            raise AssertionError(
                f"{signal_name(self.bus.rdata)} is unknown: {texts[1]} (read of {address:#x})")
        return int(texts[1], 2)

    def _check(self, response, what):
        name = _NAMES.get(response)
        if name is None:
            raise AssertionError(f"{self.name}: {what}: response is unknown: {response}")
        if name != "OKAY":
            raise AxiLiteError(f"{self.name}: {what}: {name}", name)

    async def _transfer(self, requests, answer, fields, what):
        """Offer all requests, take the answer and return its fields as texts."""
        while True:
            await self._edge
            if self._reset() == "0":
                break
        delay = {name: self._pause() for name, _ in requests}
        ready_delay = self._pause()
        left = dict(requests)
        offered = set()
        ready, held = False, None
        answered = None
        for _ in range(self.timeout):
            # After an edge: offer what is due, then look at the next edge.
            for name, payload in left.items():
                if name not in offered and not delay[name]:
                    offered.add(name)
                    for signal, value in payload.items():
                        self._drive(signal, value)
                    self._drive(f"{name}valid", 1)
                elif delay[name]:
                    delay[name] -= 1
            if not ready and answered is None and not ready_delay:
                ready = True
                self._drive(f"{answer}ready", 1)
            ready_delay -= ready_delay > 0
            await self._edge
            if self._reset() != "0":
                self._quiet(requests, answer)
                raise AxiLiteError(f"{self.name}: {what}: reset came during the transfer", "RESET")
            for name in [n for n in left if n in offered]:
                if self._bit(f"{name}ready"):
                    del left[name]
                    self._drive(f"{name}valid", 0)
            valid = answered is None and self._bit(f"{answer}valid")
            now = [self._get[f]() for f in fields] if valid else None
            if held is not None and now != held:
                raise AssertionError(f"{self.name}: {what}: {answer.upper()} response changed or "
                                     f"dropped before ready: {held} became {now}")
            if valid:
                if left:
                    raise AssertionError(f"{self.name}: {what}: {answer}valid before "
                                         f"{'/'.join(left)} was taken")
                held = now
                if ready:
                    self._drive(f"{answer}ready", 0)
                    return now
        self._quiet(requests, answer)
        waits = [f"{n}ready" for n in left] or [f"{answer}valid"]
        raise AxiLiteTimeout(f"{self.name}: {what}: no {', '.join(waits)} within "
                             f"{self.timeout} cycles")

    def _quiet(self, requests, answer):
        for name, _ in requests:
            self._drive(f"{name}valid", 0)
        self._drive(f"{answer}ready", 0)
