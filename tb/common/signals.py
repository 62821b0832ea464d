# SPDX-License-Identifier: Apache-2.0
"""Cheap access to signals from coroutines which wake in every clock cycle.

Sampling rule of every model in this folder: signals are read right after ``RisingEdge(clk)``
and written in the same wake-up, nothing awaits ReadOnly. With a clock driven by cocotb, a read
there returns the value from just before the edge, also for combinational outputs, because
whatever was written after the previous edge has settled long ago. A write takes effect after
the edge, as a non-blocking assignment does. So a valid/ready pair sampled at an edge is exactly
what the registers of the design see at that edge, also where the design computes its ready
from our valid (or the other way round) within the cycle.

``handle.value`` builds a LogicArray for each read and checks ranges for each write: 0.7 us for
one bit, 6 us for 512 bits. The functions here go to cocotb's simulator handle instead (0.15 us
and 1.6 us), and to the public interface where a cocotb release lacks it.
"""

from __future__ import annotations

import cocotb
import numpy as np
from cocotb.triggers import RisingEdge
from cocotb.utils import get_sim_time, get_time_from_sim_steps

from tb.runner import CLOCK_PERIOD_NS

try:
    from cocotb.handle import _GPISetAction, _schedule_write

    _DEPOSIT = _GPISetAction.DEPOSIT
except ImportError:
    _schedule_write = None


def reader(handle):
    """Return a function which returns the value of ``handle`` as text, MSB first.

    Characters other than 0 and 1 stand for unknown or undriven bits.
    """
    raw = getattr(getattr(handle, "_handle", None), "get_signal_val_binstr", None)
    return raw if raw is not None else lambda: str(handle.value)


def writer(handle):
    """Return a function which schedules a write of text (MSB first, all bits) to ``handle``.

    The write is ordered and delayed as ``handle.value = text`` is. It must not be called in
    the ReadOnly phase.
    """
    raw = getattr(getattr(handle, "_handle", None), "set_signal_val_binstr", None)
    if raw is None or _schedule_write is None:
        return lambda text: setattr(handle, "value", text)
    return lambda text: _schedule_write(handle, raw, _DEPOSIT, text)


def signal_name(handle):
    """Return the hierarchical name of ``handle`` for messages."""
    return getattr(handle, "_path", None) or handle._name


def to_int(text):
    """Return the unsigned int of a value read as text.

    Raises:
        ValueError: it has unknown bits.
    """
    if len(text) < 4096:
        return int(text, 2)
    # int() costs 0.8 ns a bit, this 0.2 ns.
    codes = np.frombuffer(text.encode(), np.uint8)
    if (codes >> 1 != ord("0") >> 1).any():
        raise ValueError("unknown bits")
    # Bytes start at the LSB, so the first one may have fewer bits.
    bits = np.zeros(-len(codes) % 8 + len(codes), np.uint8)
    bits[-len(codes) % 8 :] = codes & 1
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


class KnownReader:
    """Reads ``handle`` as an unsigned int when called.

    Raises:
        AssertionError: the value has unknown bits; the text names the signal.
    """

    def __init__(self, handle):
        self._read = reader(handle)
        self._handle = handle

    def __call__(self):
        text = self._read()
        try:
            return to_int(text)
        except ValueError:
            raise AssertionError(f"{signal_name(self._handle)} is unknown: {brief(text)}") from None


def brief(text, limit=72):
    """Return ``text`` cut to ``limit`` characters for a message."""
    return text if len(text) <= limit else f"{text[:limit]}... ({len(text)} bits)"


def moment(time=None):
    """Return e.g. "cycle 1234 (12340 ns)" for the simulation time ``time`` (steps) or for now.

    The cycle counts periods of CLOCK_PERIOD_NS from the start of the simulation, as wave viewers
    do. "" outside a simulation.
    """
    if not cocotb.is_simulation:
        return ""
    time_ns = get_time_from_sim_steps(get_sim_time("step") if time is None else time, "ns")
    return f"cycle {int(time_ns / CLOCK_PERIOD_NS)} ({time_ns:.12g} ns)"


class CycleCounter:
    """Numbers the rising edges of ``clock`` by simulation time, at no cost per cycle.

    Edge 0 is the first one after construction. The clock must keep its period.
    """

    def __init__(self, clock):
        self._clock = clock
        self._start = self._period = None
        self._task = cocotb.start_soon(self._measure())

    async def _measure(self):
        await RisingEdge(self._clock)
        start = get_sim_time("step")
        await RisingEdge(self._clock)
        self._period = get_sim_time("step") - start
        self._start = start

    async def period(self):
        """Return the period of the clock in simulation steps."""
        if self._period is None:
            await self._task
        return self._period

    def at(self, time):
        """Return the number of the edge at ``time`` (steps), 0 before the second edge."""
        if self._start is None:
            return 0
        return (time - self._start) // self._period

    def now(self):
        """Return the number of the latest edge."""
        return self.at(get_sim_time("step"))
