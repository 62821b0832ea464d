# SPDX-License-Identifier: Apache-2.0
"""Sources, sinks and monitors of valid/ready streams with one or several data fields.

An item is an unsigned int when a stream has one field, else a dict of field name -> int.
With ``bus_separator=""`` a name such as "m_axi_r" reaches ``m_axi_rvalid``, ``m_axi_rdata``.
Patterns (for idle cycles of a source or back-pressure of a sink) are iterators of
``(on, off)``: that many cycles willing, then that many not; see ``pattern()``.
"""

from __future__ import annotations

import random
import re

from cocotb.triggers import Event, First, RisingEdge, Timer
from cocotb.utils import get_sim_time
from cocotb_bus.drivers import ValidatedBusDriver
from cocotb_bus.monitors import BusMonitor

from tb.common.signals import CycleCounter, brief, moment, reader, signal_name, to_int, writer

# Cycles with valid low after which a coroutine sleeps until valid moves: waking up from a sleep
# costs as much as a few cycles.
_IDLE_BEFORE_SLEEP = 4


class StreamError(AssertionError):
    """The design broke the rules of a valid/ready stream."""


def pattern(probability, seed=0, burst=4):
    """Yield random ``(on, off)`` for a source or sink which is off in that share of cycles.

    Args:
        probability: share of cycles off, 0 <= p < 1.
        seed: seed of the sequence.
        burst: mean number of cycles of an off phase, at least 1.
    """
    if not 0 <= probability < 1:
        raise ValueError(f"probability {probability} is not in 0 <= p < 1")
    rng = random.Random(seed)
    if not probability:
        while True:
            yield 1 << 30, 0
    mean_on = burst * (1 - probability) / probability
    if mean_on < 1:
        burst, mean_on = burst / mean_on, 1
    while True:
        yield _geometric(rng, mean_on), _geometric(rng, burst)


def _geometric(rng, mean):
    """Return a random count of at least 1 with the given mean."""
    count = 1
    while rng.random() > 1 / mean:
        count += 1
    return count


class Willing:
    """Steps through a pattern one cycle at a time; without a pattern always willing."""

    def __init__(self, source):
        self._source = iter(source) if source is not None else None
        self._on, self._off = 0, 0

    @property
    def always(self):
        """Whether every cycle is an on cycle."""
        return self._source is None

    def step(self):
        """Return whether the next cycle is an on cycle."""
        if self._source is None:
            return True
        while not self._on and not self._off:
            self._on, self._off = next(self._source, (1 << 62, 0))
        if self._on:
            self._on -= 1
            return True
        self._off -= 1
        return False


class StreamSource(ValidatedBusDriver):
    """Drives ``<name>_valid`` and its fields, waits for ``<name>_ready``.

    Full rate is one item a cycle for items queued with ``append()``. Reset drops valid and all
    queued items, and lets ``send()`` return.

    Args:
        entity: simulator handle which has the signals.
        name: prefix without the underscore; field ``data`` is ``<name>_data``.
        clock: handle of the clock.
        reset: handle of the active high reset or None.
        fields: names of the data fields.
        idle: pattern of the cycles in which a new item may be offered, or None for all.
        junk: drive random bits on the fields while valid is low, so that a design which looks
            at them then fails. Otherwise they keep the last item.
        seed: seed of the junk.
    """

    def __init__(self, entity, name, clock, reset=None, *, fields=("data",), idle=None,
                 junk=True, seed=0, bus_separator="_"):
        self._fields = list(fields)
        self._signals = ["valid", "ready", *self._fields]
        super().__init__(entity, name, clock, bus_separator=bus_separator)
        self._willing = Willing(idle)
        self._reset = reader(reset) if reset is not None else lambda: "0"
        # The name keeps this sequence apart from others of the same seed.
        self._rng = random.Random(f"{name} {seed}") if junk else None
        self._drained = Event()
        self._running = False
        self._put = [writer(getattr(self.bus, f)) for f in self._fields]
        self._widths = [len(getattr(self.bus, f)) for f in self._fields]
        self._put_valid = writer(self.bus.valid)
        self._ready = reader(self.bus.ready)
        # Number of items taken since construction.
        self.sent = 0
        self._shown = [None] * len(self._fields)
        self._valid = None
        self._show([format(0, f"0{w}b") for w in self._widths], False)

    def append(self, transaction, callback=None, event=None, **kwargs):
        """Queue ``transaction`` (an item). See ``cocotb_bus.drivers.Driver.append``.

        Raises:
            ValueError: a value does not fit its field (mask negative ones first).
        """
        self._texts(transaction)
        super().append(transaction, callback, event, **kwargs)

    def extend(self, items):
        """Queue all ``items``."""
        for item in items:
            self.append(item)

    async def send(self, transaction, sync=True, **kwargs):
        """Queue ``transaction`` (an item) and return when it was taken or dropped by reset."""
        done = Event()
        self.append(transaction, event=done)
        await done.wait()

    @property
    def empty(self):
        """Whether every queued item was taken."""
        return not self._sendQ and not self._running

    async def drain(self):
        """Return when every queued item was taken."""
        while not self.empty:
            self._drained.clear()
            await self._drained.wait()

    def _texts(self, item):
        values = _values(item, self._fields)
        for value, width, field in zip(values, self._widths, self._fields, strict=True):
            if value < 0 or value >> width:
                raise ValueError(f"{self.name}_{field}: {value} does not fit {width} bits")
        return [format(v, f"0{w}b") for v, w in zip(values, self._widths, strict=True)]

    def _show(self, texts, valid):
        """Drive fields and valid, writing only what changes."""
        for index, text in enumerate(texts):
            if text != self._shown[index]:
                self._shown[index] = text
                self._put[index](text)
        if valid != self._valid:
            self._valid = valid
            self._put_valid("1" if valid else "0")

    def _rest(self):
        texts = self._shown
        if self._valid and self._rng is not None:
            texts = [format(self._rng.getrandbits(w), f"0{w}b") for w in self._widths]
        self._show(texts, False)

    async def _send_thread(self):
        edge = RisingEdge(self.clock)
        while True:
            while not self._sendQ:
                self._pending.clear()
                await self._pending.wait()
            self._running = True
            await edge
            offered = None
            # Each turn starts just after an edge and decides the cycle which begins there.
            while True:
                if self._reset() != "0":
                    self._drop(offered)
                    self._rest()
                    break
                if offered is None and self._sendQ and self._willing.step():
                    offered = self._sendQ.popleft()
                    self._show(self._texts(offered[0]), True)
                elif offered is None:
                    self._rest()
                    if not self._sendQ:
                        break
                await edge
                if offered is not None and self._reset() == "0" and self._taken():
                    self.sent += 1
                    _release(offered)
                    offered = None
            self._running = False
            self._drained.set()

    def _taken(self):
        text = self._ready()
        if text not in ("0", "1"):
            raise StreamError(f"{signal_name(self.bus.ready)} is unknown while valid is high")
        return text == "1"

    def _drop(self, offered):
        for entry in [offered, *self._sendQ]:
            if entry is not None and entry[2]:
                entry[2].set()
        self._sendQ.clear()


def _release(entry):
    item, callback, event, _ = entry
    if event:
        event.set()
    if callback:
        callback(item)


def _values(item, fields):
    """Return the ints of ``item`` in the order of ``fields``."""
    if isinstance(item, dict):
        if set(item) != set(fields):
            raise ValueError(f"item has fields {sorted(item)}, the stream has {sorted(fields)}")
        return [int(item[f]) for f in fields]
    if len(fields) != 1:
        raise ValueError(f"item must be a dict of {fields}")
    return [int(item)]


class _Recorder(BusMonitor):
    """Common part of sink and monitor: captured items with their cycle numbers."""

    def __init__(self, entity, name, clock, reset, fields, callback, bus_separator):
        super().__init__(entity, name, clock, reset=reset, callback=callback,
                         bus_separator=bus_separator)
        self._fields = list(fields)
        # Items in order of capture; stays empty when there are callbacks.
        self.items = []
        # Number of items captured, also with callbacks, and the simulation time (steps) of each.
        self.count = 0
        self.times = []
        self._counter = CycleCounter(clock)
        self._arrival = Event()
        self._reset_text = reader(reset) if reset is not None else lambda: "0"
        self._valid = reader(self.bus.valid)
        self._get = [reader(getattr(self.bus, f)) for f in self._fields]

    @property
    def cycles(self):
        """List of the cycle number of each item; 0 is the first edge after construction."""
        return [self._counter.at(t) for t in self.times]

    def moment(self, number):
        """Cycle and time at which item ``number`` came, for a message (``signals.moment``)."""
        return moment(self.times[number])

    @property
    def cycle(self):
        """Number of the latest edge, as counted in ``cycles``."""
        return self._counter.now()

    async def wait(self, count, timeout=None):
        """Return when ``count`` items were captured since construction.

        Raises:
            StreamError: ``timeout`` cycles passed first.
        """
        limit = None
        if timeout is not None:
            period = await self._counter.period()
            limit = Timer(timeout * period, "step")
        while self.count < count:
            self._arrival.clear()
            if limit is None:
                await self._arrival.wait()
            elif await First(self._arrival.wait(), limit) is limit:
                raise StreamError(f"{self.name}: {self.count} of {count} items came within "
                                  f"{timeout} cycles")

    def _texts(self):
        return [read() for read in self._get]

    def _capture(self, texts):
        try:
            values = [to_int(t) for t in texts]
        except ValueError:
            for field, text in zip(self._fields, texts, strict=True):
                if text.strip("01"):
                    handle = getattr(self.bus, field)
                    raise StreamError(f"{signal_name(handle)} is unknown in item {self.count}: "
                                      f"{brief(text)}") from None
        item = values[0] if len(values) == 1 else dict(zip(self._fields, values, strict=True))
        self.count += 1
        self.times.append(get_sim_time("step"))
        if self._callbacks:
            self._recv(item)
        else:
            self.items.append(item)
        self._arrival.set()


class StreamSink(_Recorder):
    """Takes items from ``<name>_valid`` and its fields, driving ``<name>_ready``.

    Checks that a waiting valid neither drops nor changes its fields, and that nothing is
    unknown. Ready is low during reset. Without back-pressure it sleeps while valid is low.

    Args:
        entity: simulator handle which has the signals.
        name: prefix without the underscore; field ``data`` is ``<name>_data``.
        clock: handle of the clock.
        reset: handle of the active high reset or None.
        fields: names of the data fields.
        backpressure: pattern of the cycles with ready high, or None for all.
        callback: called with each item, which is then not kept in ``items``.
    """

    def __init__(self, entity, name, clock, reset=None, *, fields=("data",), backpressure=None,
                 callback=None, bus_separator="_"):
        self._signals = ["valid", "ready", *fields]
        super().__init__(entity, name, clock, reset, fields, callback, bus_separator)
        self._willing = Willing(backpressure)
        self._put_ready = writer(self.bus.ready)
        self._ready = None
        self._drive(False)

    def _drive(self, ready):
        if ready != self._ready:
            self._ready = ready
            self._put_ready("1" if ready else "0")

    async def _monitor_recv(self):
        edge = RisingEdge(self.clock)
        held, quiet = None, 0
        while True:
            await edge
            if self._reset_text() != "0":
                held = None
                self._drive(False)
                while self._reset_text() != "0":
                    await self._reset.value_change
                continue
            valid = self._valid()
            if valid == "1":
                quiet = 0
                texts = self._texts()
                if held is not None and texts != held:
                    self._changed(held, texts)
                held = None if self._ready else texts
                if self._ready:
                    self._capture(texts)
            elif valid != "0":
                raise StreamError(f"{signal_name(self.bus.valid)} is unknown")
            elif held is not None:
                raise StreamError(f"{signal_name(self.bus.valid)} dropped before ready")
            else:
                quiet += 1
            self._drive(self._willing.step())
            if quiet >= _IDLE_BEFORE_SLEEP and self._willing.always:
                await self.bus.valid.value_change

    def _changed(self, held, texts):
        for field, old, new in zip(self._fields, held, texts, strict=True):
            if old != new:
                raise StreamError(f"{signal_name(getattr(self.bus, field))} changed while valid "
                                  f"waited for ready: {brief(old)} became {brief(new)}")


class StreamMonitor(_Recorder):
    """Captures items without driving anything; for taps.

    An item is captured at each edge with ``<name>_valid`` (any bit of it) high and, when the
    stream has ``<name>_ready`` and ``use_ready`` is set, that high as well. Nothing runs while
    valid is low.

    Args:
        entity: simulator handle which has the signals.
        name: prefix without the underscore; field ``data`` is ``<name>_data``.
        clock: handle of the clock.
        reset: handle of the active high reset or None; nothing is captured while it is high.
        fields: names of the data fields; may contain "valid" when that is a vector.
        use_ready: a transfer needs ready.
        callback: called with each item, which is then not kept in ``items``.
        unknown_as: a ``random.Random`` that replaces unknown bits of the fields, for buses with
            parts that mean nothing: a checker that looks at such a bit then sees noise. None:
            unknown bits are an error.
    """

    def __init__(self, entity, name, clock, reset=None, *, fields=("data",), use_ready=False,
                 callback=None, bus_separator="_", unknown_as=None):
        self._signals = list(dict.fromkeys(["valid", *fields, *(["ready"] if use_ready else [])]))
        self._noise = unknown_as
        super().__init__(entity, name, clock, reset, fields, callback, bus_separator)
        self._ready = reader(self.bus.ready) if use_ready else lambda: "1"

    def _texts(self):
        texts = super()._texts()
        if self._noise is None:
            return texts
        return [re.sub("[^01]", lambda _: self._noise.choice("01"), t) if t.strip("01") else t
                for t in texts]

    async def _monitor_recv(self):
        edge = RisingEdge(self.clock)
        moved = self.bus.valid.value_change
        quiet = 0
        while True:
            await edge
            valid = self._valid()
            if "1" in valid:
                quiet = 0
                if self._reset_text() == "0" and self._ready() == "1":
                    self._capture(self._texts())
                continue
            if valid.strip("0") and self._reset_text() == "0":
                raise StreamError(f"{signal_name(self.bus.valid)} is unknown: {valid}")
            quiet += 1
            if quiet >= _IDLE_BEFORE_SLEEP:
                await moved
