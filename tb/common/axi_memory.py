# SPDX-License-Identifier: Apache-2.0
"""AXI4 slave memory with latency, back-pressure, reordering, faults and a protocol checker."""

from __future__ import annotations

import random
from collections import deque

import numpy as np
from cocotb.triggers import Event, First, RisingEdge
from cocotb_bus.monitors import BusMonitor

from tb.common import coverage
from tb.common.address_map import AddressMap
from tb.common.axi_channels import (
    OKAY,
    RESPONSE_TEXTS,
    AxiStatistics,
    Burst,
    Channel,
    Response,
    hex_text,
    span_of,
)
from tb.common.axi_faults import POISON, STRAY, AxiFaults
from tb.common.signals import CycleCounter, brief, reader, signal_name

# Cycles without any work after which the coroutine sleeps until a valid signal moves. Going to
# sleep and waking up costs about as much as 15 idle cycles.
_IDLE_BEFORE_SLEEP = 24

class AxiProtocolError(AssertionError):
    """The master broke a rule of AXI4, or one of the limits stated in ``AxiMemory``."""


class AxiMemory(AxiFaults, BusMonitor):
    """AXI4 slave on signals ``<name>_arvalid`` ..., with a numpy array behind it.

    INCR bursts of full bus width only. IDs, ``*size`` and ``*burst`` may be missing, and so may
    all read or all write channels. Memory is changed by each write beat when it is taken and
    looked up for each read beat when it is offered. Callbacks added with ``add_callback`` get
    ``(direction, address, beats, id, response)`` of each finished burst, direction being
    "read" or "write".

    Args:
        entity: simulator handle which has the signals.
        name: prefix of the signals without the underscore, e.g. "m_axi".
        clock: handle of the clock.
        reset: handle of the synchronous, active high reset, or None. While it is high all
            bursts are forgotten and every valid and ready is low.
        size: bytes of memory, a multiple of the bus width.
        base: address of the first byte, a multiple of 4096.
        data: uint8 array to use instead of a new one; lets several ports share one memory.
        read_latency: cycles from the edge which takes AR to the edge at which the first RVALID
            can be sampled: an int of at least 1 or an inclusive range (low, high).
        write_latency: the same from the last W beat (or AW when that is later) to BVALID.
        ar_stall, aw_stall, w_stall: probability that ARREADY, AWREADY, WREADY is low in a cycle.
        r_gap, b_gap: probability that RVALID, BVALID stays low in a cycle which could have it.
        reorder: bursts of different IDs may overtake each other, chosen at random.
        interleave: with reorder, read beats of different IDs may also mix.
        early_w: take write data before its address; otherwise WREADY waits for AW.
        max_reads, max_writes: bursts accepted but not answered; ARREADY, AWREADY wait at them.
        faults: list of (first address, last address, "read" or "write", "SLVERR" or "DECERR").
            May be changed during the run. Faulty read beats carry 0xE7 bytes, faulty write
            beats change nothing; a write burst answers with its worst beat.
        dead: channel ("ar", "r", "aw", "w" or "b") -> transfers which it still makes; then its
            ready or valid stays low. A dict, which may be changed during the run. While it has
            an entry, the master may drop or change what it offers.
        rlast: "right", or "never" or "always", how RLAST is driven. May be changed during the run.
        allow_unaligned: accept start addresses inside a bus word.
        record: keep ``reads`` and ``writes``, lists of (address, beats, id) in order of
            acceptance.
        detect_double_reads: keep ``double_reads``, a list of (address, id) of the bus words
            which were read before (see ``forget_reads``).
        seed: seed of everything random here.
        strict: raise AxiProtocolError for a broken rule, which fails the test. Otherwise the
            texts are only collected in ``errors``.

    Raises:
        ValueError: an argument is out of range.
        AxiProtocolError: later, from the background task, on a broken rule: unknown value,
            burst across 4 KiB, size or burst type not supported, unaligned start, WLAST at the
            wrong beat, valid dropped or payload changed before ready.
    """

    def __init__(self, entity, name, clock, reset=None, *, size=1 << 20, base=0, data=None,
                 read_latency=1, write_latency=1, ar_stall=0.0, aw_stall=0.0, w_stall=0.0,
                 r_gap=0.0, b_gap=0.0, reorder=False, interleave=False, early_w=True,
                 max_reads=256, max_writes=256, faults=(), dead=(), rlast="right",
                 allow_unaligned=False, record=False, detect_double_reads=False, seed=0,
                 strict=True, callback=None):
        self._has_read = hasattr(entity, f"{name}_arvalid")
        self._has_write = hasattr(entity, f"{name}_awvalid")
        if not (self._has_read or self._has_write):
            raise ValueError(f"no {name}_arvalid and no {name}_awvalid in {entity._name}")
        self._signals, self._optional_signals = [], []
        if self._has_read:
            self._signals += ["araddr", "arlen", "arvalid", "arready",
                              "rdata", "rresp", "rlast", "rvalid", "rready"]
            self._optional_signals += ["arid", "arsize", "arburst", "rid"]
        if self._has_write:
            self._signals += ["awaddr", "awlen", "awvalid", "awready",
                              "wdata", "wstrb", "wlast", "wvalid", "wready",
                              "bresp", "bvalid", "bready"]
            self._optional_signals += ["awid", "awsize", "awburst", "bid"]
        super().__init__(entity, name, clock, reset=reset, callback=callback)

        wide = self.bus.rdata if self._has_read else self.bus.wdata
        self._n = n = len(wide) // 8
        if n & (n - 1) or not n or len(wide) % 8:
            raise ValueError(f"{signal_name(wide)} is {len(wide)} bits wide, not 8 * 2^k")
        if base % 4096:
            raise ValueError(f"base {base:#x} is not a multiple of 4096")
        self.base = base
        self._data = np.zeros(size, np.uint8) if data is None else data
        if self._data.dtype != np.uint8 or self._data.ndim != 1 or len(self._data) % n:
            raise ValueError(f"memory must be a flat uint8 array of a multiple of {n} bytes")
        self._view = memoryview(self._data)
        self.map = AddressMap(base, len(self._data))

        self.behave(read_latency=read_latency, write_latency=write_latency, ar_stall=ar_stall,
                    aw_stall=aw_stall, w_stall=w_stall, r_gap=r_gap, b_gap=b_gap, reorder=reorder,
                    interleave=interleave, early_w=early_w, max_reads=max_reads,
                    max_writes=max_writes)
        self._plan_faults(faults, dead, rlast)
        self.allow_unaligned = allow_unaligned
        self.strict, self.errors = strict, []
        self.record, self.reads, self.writes = record, [], []
        self.double_reads = []
        self._seen = np.zeros(len(self._data) // n, bool) if detect_double_reads else None
        self.reseed(seed)
        self.stats = AxiStatistics()
        self._counter = CycleCounter(clock)
        # Number of the latest rising edge of the clock.
        self.cycle = -1

        self._strobe_masks = {"1" * n: None}
        self._data_format = f"0{8 * n}b"
        self._poison = format(int.from_bytes(bytes([POISON]) * n, "little"), self._data_format)
        self._wake = Event()
        self._forget()

    def _sample(self):
        """Answer the points of coverage that are about the bus."""
        for direction, names, bursts in (
                ("read", coverage.READS, self.stats.read_bursts_by_id),
                ("write", coverage.WRITES, self.stats.write_bursts_by_id)):
            for number, count in bursts.items():
                coverage.hit("bus.id", f"{direction} {names[number]}", count)
        for name, channel in (("ar", self._ar), ("aw", self._aw), ("w", self._w)):
            coverage.hit("bus.waits", name, channel is not None and channel.waited)

    # -----------------------------------------------------------------------------------------
    # Use from a test
    # -----------------------------------------------------------------------------------------
    @property
    def data(self):
        """The memory, a uint8 array of ``size`` elements; ``map`` has their addresses."""
        return self._data

    def load(self, address, values):
        """Copy the bytes of ``values`` (bytes or any array, little endian) to ``address``.

        Raises:
            IndexError: the range is outside the memory.
        """
        if not isinstance(values, (bytes, bytearray)):
            values = np.ascontiguousarray(values)
            values = values.astype(values.dtype.newbyteorder("<"), copy=False).tobytes()
        start = self._offset(address, len(values))
        self._data[start : start + len(values)] = np.frombuffer(values, np.uint8)

    def dump(self, address, count, dtype=np.uint8):
        """Return a copy of ``count`` elements of ``dtype`` (little endian) from ``address``.

        Raises:
            IndexError: the range is outside the memory.
        """
        dtype = np.dtype(dtype).newbyteorder("<")
        start = self._offset(address, count * dtype.itemsize)
        raw = self._data[start : start + count * dtype.itemsize].tobytes()
        return np.frombuffer(raw, dtype).copy()

    def _offset(self, address, count):
        start = self.map.offset(address, count)
        if start is None:
            raise IndexError(f"{count} bytes at {address:#x} are outside the memory {self.map}")
        return start

    def restart(self):
        """Forget every burst, as a reset of the interconnect does, and serve all channels rightly
        again."""
        self._no_dead_or_upset()
        self._quiet()

    def behave(self, *, read_latency=1, write_latency=1, ar_stall=0.0, aw_stall=0.0, w_stall=0.0,
               r_gap=0.0, b_gap=0.0, reorder=False, interleave=False, early_w=True,
               max_reads=256, max_writes=256):
        """Serve from now on as these arguments of the class say. Nothing may be outstanding.

        Raises:
            ValueError: an argument is out of range.
        """
        self._read_latency = span_of("read_latency", read_latency)
        self._write_latency = span_of("write_latency", write_latency)
        chances = {"ar_stall": ar_stall, "aw_stall": aw_stall, "w_stall": w_stall,
                   "r_gap": r_gap, "b_gap": b_gap}
        for key, value in chances.items():
            if not 0 <= value < 1:
                raise ValueError(f"{key}={value} is not in 0 <= p < 1")
            setattr(self, key, value)
        if interleave and not reorder:
            raise ValueError("interleave needs reorder")
        self.reorder, self.interleave, self.early_w = reorder, interleave, early_w
        self.max_reads, self.max_writes = max_reads, max_writes

    def reseed(self, seed):
        """Begin the sequence of a seed."""
        # The name keeps it apart from others of the same seed.
        self._rng = random.Random(f"{self.name} {seed}")

    def forget_reads(self):
        """Start the search for double reads anew, e.g. at the beginning of a job."""
        if self._seen is not None:
            self._seen[:] = False
        self.double_reads.clear()

    @property
    def outstanding_reads(self):
        """Number of read bursts accepted and not finished."""
        return self._reads_open

    @property
    def outstanding_writes(self):
        """Number of write bursts accepted and not answered."""
        return self._writes_open

    @property
    def idle(self):
        """Whether no burst, early write data or response is pending."""
        return not (self._reads_open or self._writes_open or self._early)

    # -----------------------------------------------------------------------------------------
    # State
    # -----------------------------------------------------------------------------------------
    def _forget(self):
        """Drop every burst. Outputs are driven by the caller."""
        self._read_order, self._write_order = deque(), deque()
        self._read_ids, self._write_ids = {}, {}
        self._reads_open = self._writes_open = 0
        self._read_now = self._write_now = None
        self._to_write = deque()
        self._early = deque()
        self._beat = self._answer = None
        self._forget_strays()

    def _fail(self, message):
        message = f"{self.name}, cycle {self.cycle}: {message}"
        self.errors.append(message)
        if self.strict:
            raise AxiProtocolError(message)
        self.log.warning(message)

    def _latency(self, span):
        low, high = span
        return low if low == high else self._rng.randint(low, high)

    # -----------------------------------------------------------------------------------------
    # Requests
    # -----------------------------------------------------------------------------------------
    def _accept(self, channel, direction):
        """Check the request on ``channel`` and return its burst, or None when it is unusable."""
        values = {}
        for field, text in zip(channel.fields, channel.take(), strict=True):
            key = field._name.rsplit("_", 1)[-1].lower()[2:]
            try:
                values[key] = int(text, 2)
            except ValueError:
                self._fail(f"{signal_name(field)} is unknown: {text}")
                return None
            if key == "id":
                values["id_text"] = text
        n = self._n
        address, beats = values["addr"], values["len"] + 1
        where = f"{signal_name(channel.valid_handle)[:-5]}addr={address:#x} len={beats - 1}"
        if values.get("size", n.bit_length() - 1) != n.bit_length() - 1:
            self._fail(f"{where}: size {values['size']} is not the bus width of {n} bytes")
        if values.get("burst", 1) != 1:
            self._fail(f"{where}: burst type {values['burst']} is not INCR (1)")
        if address % n and not self.allow_unaligned:
            self._fail(f"{where}: start is not aligned to {n} bytes")
        start = address & -n
        if start % 4096 + beats * n > 4096:
            self._fail(f"{where}: {beats} beats of {n} bytes cross a 4 KiB boundary")

        burst = Burst()
        burst.address, burst.beats, burst.left, burst.bytes = address, beats, beats, 0
        burst.id, burst.id_text = values.get("id", 0), values.get("id_text")
        burst.pos = self.map.offset(start, beats * n)
        if burst.pos is None:
            # Some beats may be there; all of them are in one page.
            inside = (self.map.offset(start + i * n, n) for i in range(beats))
            burst.pos = next((at - i * n for i, at in enumerate(inside) if at is not None), 0)
        burst.response = OKAY
        burst.responses = self._faults_of(start, beats, direction)
        return burst

    def _accept_read(self):
        burst = self._accept(self._ar, "read")
        if burst is None:
            return
        burst.ready_at = self.cycle + self._latency(self._read_latency) - 1
        self._reads_open += 1
        self.stats.max_reads = max(self.stats.max_reads, self._reads_open)
        if self.record:
            self.reads.append((burst.address, burst.beats, burst.id))
        if self._seen is not None and burst.responses is None:
            first = burst.pos // self._n
            words = self._seen[first : first + burst.beats]
            for index in np.flatnonzero(words):
                at = (burst.address & -self._n) + int(index) * self._n
                self.double_reads.append((at, burst.id))
            words[:] = True
        if self.reorder:
            self._read_ids.setdefault(burst.id, deque()).append(burst)
        else:
            self._read_order.append(burst)

    def _accept_write(self):
        burst = self._accept(self._aw, "write")
        if burst is None:
            return
        self._writes_open += 1
        self.stats.max_writes = max(self.stats.max_writes, self._writes_open)
        if self.record:
            self.writes.append((burst.address, burst.beats, burst.id))
        self._to_write.append(burst)
        while self._early and self._to_write:
            self._write_beat(*self._early.popleft())

    # -----------------------------------------------------------------------------------------
    # Write data
    # -----------------------------------------------------------------------------------------
    def _write_beat(self, data, strobe, last):
        """Store one beat (texts) of the oldest burst which still misses data."""
        burst = self._to_write[0]
        n, at, index = self._n, burst.pos, burst.beats - burst.left
        address = (burst.address & -n) + index * n
        burst.left -= 1
        burst.pos = at + n
        if last != ("0" if burst.left else "1"):
            self._fail(f"{signal_name(self.bus.wlast)} is {last} at beat {index} of "
                       f"{burst.beats}, write to {burst.address:#x} at {address:#x}")
        response = burst.responses[index] if burst.responses else OKAY
        mask = self._strobe_masks.get(strobe, 0)
        if mask is None:
            count = n
        else:
            mask, count = self._strobe_mask(strobe, address)
        if index == 0 and burst.address % n and "1" in strobe[n - burst.address % n :]:
            self._fail(f"{signal_name(self.bus.wstrb)} {hex_text(strobe)} writes below the start "
                       f"address {burst.address:#x}")
        try:
            value = int(data, 2)
        except ValueError:
            value = self._known_part(data, mask, address)
        if response == OKAY:
            if mask is not None:
                old = int.from_bytes(self._view[at : at + n], "little")
                value = (old & ~mask) | (value & mask)
            self._view[at : at + n] = value.to_bytes(n, "little")
        elif response > burst.response:
            burst.response = response
        burst.bytes += count
        self.stats.write_beats += 1
        self.stats.write_bytes += count
        if not burst.left:
            self._to_write.popleft()
            burst.ready_at = self.cycle + self._latency(self._write_latency) - 1
            if self.reorder:
                self._write_ids.setdefault(burst.id, deque()).append(burst)
            else:
                self._write_order.append(burst)

    def _strobe_mask(self, strobe, address):
        """Return (mask over the data bits, number of bytes) of a WSTRB text."""
        mask = self._strobe_masks.get(strobe)
        if mask is None:
            if strobe.strip("01"):
                self._fail(f"{signal_name(self.bus.wstrb)} is unknown: {strobe}, write beat at "
                           f"{address:#x}")
                return 0, 0
            mask = int("".join("ff" if s == "1" else "00" for s in strobe), 16)
            self._strobe_masks[strobe] = mask
        return mask, strobe.count("1")

    def _known_part(self, data, mask, address):
        """Return data with unknown bits as 0. Only lanes without strobe may have such bits."""
        unknown = int("".join("0" if b in "01" else "1" for b in data), 2)
        if mask is None or unknown & mask:
            self._fail(f"{signal_name(self.bus.wdata)} is unknown in a strobed byte: "
                       f"{brief(data)}, write beat at {address:#x}")
        return int("".join(b if b in "01" else "0" for b in data), 2)

    # -----------------------------------------------------------------------------------------
    # Choice of the next burst to answer
    # -----------------------------------------------------------------------------------------
    def _choose(self, order, by_id):
        """Return the burst to serve now, left in its queue, or None."""
        cycle = self.cycle
        if not self.reorder:
            return order[0] if order and order[0].ready_at <= cycle else None
        due = [queue[0] for queue in by_id.values() if queue and queue[0].ready_at <= cycle]
        if not due:
            return None
        return due[0] if len(due) == 1 else self._rng.choice(due)

    def _remove(self, burst, order, by_id):
        (by_id[burst.id] if self.reorder else order).popleft()

    def _finish(self, burst, direction):
        stats = self.stats
        if direction == "read":
            self._reads_open -= 1
            stats.read_bursts += 1
            bursts, total = stats.read_bursts_by_id, stats.read_bytes_by_id
        else:
            self._writes_open -= 1
            stats.write_bursts += 1
            bursts, total = stats.write_bursts_by_id, stats.write_bytes_by_id
        bursts[burst.id] = bursts.get(burst.id, 0) + 1
        total[burst.id] = total.get(burst.id, 0) + burst.bytes
        if self._callbacks:
            self._recv((direction, burst.address, burst.beats, burst.id, burst.response))

    # -----------------------------------------------------------------------------------------
    # The one coroutine
    # -----------------------------------------------------------------------------------------
    def _connect(self):
        """Make the accessors of all signals."""
        bus = self.bus
        self._reset_text = reader(self._reset) if self._reset is not None else lambda: "0"
        self._watch = [] if self._reset is None else [self._reset]
        self._ar = self._aw = self._w = self._r_out = self._b_out = None
        if self._has_read:
            self._ar = Channel(self._fail, bus, "ar", ("id", "addr", "len", "size", "burst"))
            self._r_out = Response(bus, "r", ("data", "id", "resp", "last"))
            self._watch.append(self._ar.valid_handle)
        if self._has_write:
            self._aw = Channel(self._fail, bus, "aw", ("id", "addr", "len", "size", "burst"))
            self._w = Channel(self._fail, bus, "w", ("data", "strb", "last"))
            self._b_out = Response(bus, "b", ("id", "resp"))
            self._watch += [self._aw.valid_handle, self._w.valid_handle]
        # IDs mean clients only in the design.
        if self.entity._name.startswith("sofa"):
            coverage.at_end(self._sample)

    async def _monitor_recv(self):
        self._connect()
        edge = RisingEdge(self.clock)
        # Valid must be known from the start; the sampled reset decides at the first edge.
        self._quiet()
        in_reset = self._reset_text
        idle_cycles = 0
        while True:
            await edge
            self.cycle += 1
            if in_reset() != "0":
                self._quiet()
                await self._reset_low()
                continue
            busy = bool(self._reads_open or self._writes_open or self._early)
            if busy:
                self.stats.busy_cycles += 1
            if self._ar is not None:
                busy |= self._step_read()
            if self._aw is not None:
                busy |= self._step_write()
            if busy:
                idle_cycles = 0
                continue
            idle_cycles += 1
            if idle_cycles >= _IDLE_BEFORE_SLEEP:
                idle_cycles = 0
                await First(*(handle.value_change for handle in self._watch), self._wake.wait())
                self._wake.clear()
                self.cycle = self._counter.now()

    def _quiet(self):
        """Forget everything and drive all valids and readies low."""
        self._forget()
        for channel in (self._ar, self._aw, self._w):
            if channel is not None:
                channel.held = None
                channel.drive(False)
        for out in (self._r_out, self._b_out):
            if out is not None:
                out.drive_valid(False)

    async def _reset_low(self):
        """Wait until reset is low."""
        while self._reset_text() != "0":
            await self._reset.value_change
        self.cycle = self._counter.now()

    def _step_read(self):
        """One edge of AR and R. Returns whether anything was or is going on."""
        ar, out, stats = self._ar, self._r_out, self.stats
        valid = ar.valid()
        if valid == "1":
            if ar.ready:
                self._spend("ar")
                self._accept_read()
            else:
                ar.wait()
                if self.dead or self._upsets:
                    ar.held = None
        elif ar.held is not None or valid != "0":
            ar.idle(valid)

        burst = self._beat
        if burst is not None:
            taken = out.ready()
            if taken != "1":
                if taken != "0":
                    self._fail(f"{signal_name(self.bus.rready)} is unknown, read of "
                               f"{getattr(burst, 'address', 0):#x}")
                stats.read_stalls += 1
                self._ready_for_read()
                return True
            self._beat = None
            if burst is not STRAY:
                n = self._n
                stats.read_beats += 1
                stats.read_bytes += n
                burst.bytes += n
                if not burst.left:
                    self._finish(burst, "read")
        self._ready_for_read()
        if self._stray_reads:
            self._beat = STRAY
            number, last = self._stray_reads.popleft()
            for field, text in (("id", number), ("last", last), ("data", self._poison),
                                ("resp", RESPONSE_TEXTS[OKAY])):
                out.drive(field, text)
            out.drive_valid(True)
            return True
        if not self._reads_open:
            out.drive_valid(False)
            return valid == "1"

        burst = self._read_now
        if burst is None or self.interleave:
            burst = self._choose(self._read_order, self._read_ids)
        if self._stopped("r", burst is not None):
            burst = None
        if burst is None or (self.r_gap and self._rng.random() < self.r_gap):
            out.drive_valid(False)
            return True
        self._offer_read(burst)
        return True

    def _offer_read(self, burst):
        """Drive the next beat of ``burst`` on R."""
        out, at, n = self._r_out, burst.pos, self._n
        burst.left -= 1
        burst.pos = at + n
        response = OKAY
        if burst.responses is not None:
            response = burst.responses[burst.beats - burst.left - 1]
            burst.response = max(burst.response, response)
        response, number, other_last = self._answer_of("r", burst, response)
        if response == OKAY:
            text = format(int.from_bytes(self._view[at : at + n], "little"), self._data_format)
        else:
            text = self._poison
        out.drive("data", text)
        out.drive("resp", RESPONSE_TEXTS[response])
        if number is not None:
            out.drive("id", number)
        self._beat = burst
        last = not burst.left
        if last:
            self._read_now = None
            self._remove(burst, self._read_order, self._read_ids)
        else:
            self._read_now = burst
        if self.rlast != "right":
            last = self.rlast == "always"
        out.drive("last", "01"[last ^ other_last])
        out.drive_valid(True)

    def _step_write(self):
        """One edge of AW, W and B. Returns whether anything was or is going on."""
        aw, w, out, stats = self._aw, self._w, self._b_out, self.stats
        active = False
        valid = aw.valid()
        if valid == "1":
            active = True
            if aw.ready:
                self._spend("aw")
                self._accept_write()
            else:
                aw.wait()
                if self.dead or self._upsets:
                    aw.held = None
        elif aw.held is not None or valid != "0":
            aw.idle(valid)

        valid = w.valid()
        if valid == "1":
            active = True
            if w.ready:
                self._spend("w")
                beat = w.take()
                if self._to_write:
                    self._write_beat(*beat)
                else:
                    self._early.append(beat)
            else:
                stats.write_stalls += 1
                w.wait()
                if self.dead or self._upsets:
                    w.held = None
        elif w.held is not None or valid != "0":
            w.idle(valid)

        burst = self._answer
        if burst is not None:
            active = True
            taken = out.ready()
            if taken == "1":
                self._answer = None
                if burst is not STRAY:
                    self._finish(burst, "write")
            elif taken != "0":
                self._fail(f"{signal_name(self.bus.bready)} is unknown, write to "
                           f"{getattr(burst, 'address', 0):#x}")
        if self._answer is None and self._stray_writes:
            active = True
            self._answer = STRAY
            out.drive("id", self._stray_writes.popleft())
            out.drive("resp", RESPONSE_TEXTS[OKAY])
            out.drive_valid(True)
        elif self._answer is None:
            burst = self._choose(self._write_order, self._write_ids)
            if self._stopped("b", burst is not None):
                burst = None
            if burst is None or (self.b_gap and self._rng.random() < self.b_gap):
                out.drive_valid(False)
            else:
                self._remove(burst, self._write_order, self._write_ids)
                self._answer = burst
                response, number, _ = self._answer_of("b", burst, burst.response)
                out.drive("resp", RESPONSE_TEXTS[response])
                if number is not None:
                    out.drive("id", number)
                out.drive_valid(True)
        self._drive_ready("aw", aw, self.aw_stall, self._writes_open < self.max_writes)
        self._drive_ready("w", w, self.w_stall, self.early_w or bool(self._to_write))
        return active or bool(self._writes_open or self._early)

    def _ready_for_read(self):
        self._drive_ready("ar", self._ar, self.ar_stall, self._reads_open < self.max_reads)

    def _drive_ready(self, name, channel, stall, able):
        if self._upsets or self.dead:
            able = not self._stopped(name, channel.valid() == "1") and able
        channel.drive(able and not (stall and self._rng.random() < stall))
