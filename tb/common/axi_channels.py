# SPDX-License-Identifier: Apache-2.0
"""Parts of AxiMemory: handshakes of the AXI4 channels, bursts, response codes and counters."""

from __future__ import annotations

from cocotb_bus.monitors import MonitorStatistics

from tb.common.signals import brief, reader, signal_name, writer

OKAY, EXOKAY, SLVERR, DECERR = range(4)
RESPONSES = {"OKAY": OKAY, "SLVERR": SLVERR, "DECERR": DECERR}
RESPONSE_TEXTS = ("00", "01", "10", "11")


class AxiStatistics(MonitorStatistics):
    """Counters of an AxiMemory since construction or ``reset()``.

    ``*_bursts``, ``*_beats`` and ``*_bytes`` are counted when the beat or the response is
    taken. ``read_bytes`` counts whole beats, ``write_bytes`` only strobed bytes.
    ``*_bursts_by_id`` and ``*_bytes_by_id`` map an ID to its share. ``max_reads`` and
    ``max_writes`` are the largest numbers of bursts accepted but not yet answered.
    ``busy_cycles`` counts the cycles in which any burst was outstanding, ``read_stalls`` those
    with RVALID high and RREADY low, ``write_stalls`` those with WREADY low and WVALID high.
    """

    def __init__(self):
        super().__init__()
        self.reset()

    def reset(self):
        """Set every counter to zero."""
        self.read_bursts = self.read_beats = self.read_bytes = 0
        self.write_bursts = self.write_beats = self.write_bytes = 0
        self.read_bursts_by_id, self.read_bytes_by_id = {}, {}
        self.write_bursts_by_id, self.write_bytes_by_id = {}, {}
        self.max_reads = self.max_writes = 0
        self.busy_cycles = self.read_stalls = self.write_stalls = 0


class Burst:
    """One accepted burst. ``pos`` is the byte offset in the memory of its next beat."""

    __slots__ = ("address", "id", "id_text", "beats", "left", "pos", "responses", "response",
                 "ready_at", "bytes")


class Channel:
    """Valid/ready state of one request channel and the check that a waiting valid stays."""

    def __init__(self, fail, bus, name, payload):
        self._fail = fail
        handle = getattr(bus, f"{name}valid")
        self.valid_handle = handle
        self.valid = reader(handle)
        self._set_ready = writer(getattr(bus, f"{name}ready"))
        self.fields = [getattr(bus, name + f) for f in payload if hasattr(bus, name + f)]
        self._readers = [reader(f) for f in self.fields]
        self.ready = None
        self.held = None
        # Whether valid ever waited for ready.
        self.waited = False

    def drive(self, ready):
        """Set ready, writing the signal only when it changes."""
        if ready != self.ready:
            self.ready = ready
            self._set_ready("1" if ready else "0")

    def idle(self, valid):
        """Check a cycle in which valid was not high. ``valid`` is its text."""
        if valid != "0":
            self._fail(f"{signal_name(self.valid_handle)} is unknown")
        if self.held is not None:
            shown = self._show(self.held)
            self.held = None
            self._fail(f"{signal_name(self.valid_handle)} dropped before ready; offered: {shown}")

    def wait(self):
        """Check a cycle in which valid was high and ready low."""
        now = [read() for read in self._readers]
        if self.held is not None and now != self.held:
            self._changed(now)
        self.held = now
        self.waited = True

    def take(self):
        """Return the payload texts of a transfer."""
        now = [read() for read in self._readers]
        if self.held is not None:
            if now != self.held:
                self._changed(now)
            self.held = None
        return now

    def _changed(self, now):
        for field, new, old in zip(self.fields, now, self.held, strict=True):
            if new != old:
                self._fail(f"{signal_name(field)} changed while valid waited for ready: "
                           f"{hex_text(old)} became {hex_text(new)}; "
                           f"offered: {self._show(self.held)}")

    def _show(self, texts):
        pairs = zip(self.fields, texts, strict=True)
        return ", ".join(f"{f._name}={hex_text(t)}" for f, t in pairs)


class Response:
    """Outputs of a response channel; a signal is written only when its value changes."""

    def __init__(self, bus, name, payload):
        self._set_valid = writer(getattr(bus, f"{name}valid"))
        self._valid = None
        self.ready = reader(getattr(bus, f"{name}ready"))
        fields = {f: getattr(bus, name + f) for f in payload if hasattr(bus, name + f)}
        self._writers = {f: writer(handle) for f, handle in fields.items()}
        self._last = dict.fromkeys(fields)
        # Known payload before the first transfer, so that an X in the design has another cause.
        for field, handle in fields.items():
            self.drive(field, "0" * len(handle))

    def drive_valid(self, valid):
        """Set valid."""
        if valid != self._valid:
            self._valid = valid
            self._set_valid("1" if valid else "0")

    def drive(self, field, text):
        """Set ``field``; one the bus does not have is ignored."""
        if self._last.get(field, text) != text:
            self._last[field] = text
            self._writers[field](text)


def hex_text(text):
    """Return the text of a signal in hexadecimal, or a short form of it when bits are unknown."""
    return hex(int(text, 2)) if not text.strip("01") else brief(text)


def span_of(name, value):
    """Return (low, high) of the latency option ``name``; raise ValueError when it is wrong."""
    low, high = (value, value) if isinstance(value, int) else value
    if not 1 <= low <= high:
        raise ValueError(f"{name}={value} is not an int of at least 1 or a range of such")
    return low, high
