# SPDX-License-Identifier: Apache-2.0
"""What an AxiMemory does wrong when a test asks for it: errors, silence, spoiled transfers."""

from __future__ import annotations

from collections import deque

from tb.common.axi_channels import DECERR, OKAY, RESPONSES

POISON = 0xE7
"""Every byte of a read beat which is answered with an error or is not owed."""

STRAY = object()
"""Stands for the burst of a beat or response which nobody asked for."""

CHANNELS = ("ar", "r", "aw", "w", "b")


class AxiFaults:
    """The part of AxiMemory that plans faults and says, transfer by transfer, which happen.

    ``faults``, ``dead`` and ``rlast`` are the arguments of AxiMemory of these names and may be
    changed during the run. ``spoiled`` is the ID of the last beat or answer that ``upset`` spoiled.
    """

    def _plan_faults(self, faults, dead, rlast):
        """Take the arguments of AxiMemory of these names.

        Raises:
            ValueError: one of them has a form that there is not.
        """
        for fault in faults:
            _check_fault(*fault)
        _check_dead(dict(dead), rlast)
        self.faults, self.dead, self.rlast = list(faults), dict(dead), rlast
        # Channel -> [transfers before it, kind, value].
        self._upsets, self.spoiled = {}, None

    def _forget_strays(self):
        """Drop what ``stray_read`` and ``stray_write`` have not sent yet."""
        self._stray_reads, self._stray_writes = deque(), deque()

    # -----------------------------------------------------------------------------------------
    # Use from a test
    # -----------------------------------------------------------------------------------------
    def add_fault(self, first, last, direction, response):
        """Answer beats touching addresses ``first``..``last`` with ``response``."""
        _check_fault(first, last, direction, response)
        self.faults.append((first, last, direction, response))

    def stray_read(self, number, last=True):
        """Send a read beat which nobody asked for, with RID ``number``, 0xE7 bytes and OKAY,
        before everything else on R."""
        self._stray_reads.append((self._id_text("r", number), "01"[last]))
        self._wake.set()

    def stray_write(self, number):
        """Send a write response OKAY which nobody asked for, with BID ``number``, before everything
        else on B."""
        self._stray_writes.append(self._id_text("b", number))
        self._wake.set()

    def upset(self, channel, after, kind, value=0):
        """Spoil a single transfer of a channel, the one that follows ``after`` others from now on.

        kind: "late", of any channel: it comes ``value`` cycles later, and with it all behind it
        (where ready is up already, the one after it).
        Of "r" and "b": "SLVERR", "DECERR"; "id": it carries the ID ``value`` instead of its own. Of
        "r": "last": RLAST is the other way round. Until then an earlier upset of the channel is
        forgotten; ``upsets`` has those that have not begun. ``spoiled`` is the ID of the last beat
        or answer to which that happened. While there is one, the master may drop or change what it
        offers.

        Raises:
            ValueError: there is no such upset.
        """
        _check_upset(channel, after, kind)
        self._upsets[channel] = [after, kind, value]

    @property
    def upsets(self):
        """Channels whose upset has not begun."""
        return {channel for channel, (left, kind, _) in self._upsets.items()
                if left or kind != "late"}

    # -----------------------------------------------------------------------------------------
    # Asked by AxiMemory
    # -----------------------------------------------------------------------------------------
    def _no_dead_or_upset(self):
        """Serve all channels rightly again. Faults of addresses stay."""
        self.dead, self.rlast = {}, "right"
        self._upsets.clear()

    def _faults_of(self, start, beats, direction):
        """Return the response of each beat, or None when all are OKAY."""
        n, end = self._n, start + beats * self._n
        inside = self.map.offset(start, beats * n) is not None
        hits = [f for f in self.faults if f[2] == direction and f[0] < end and f[1] >= start]
        if inside and not hits:
            return None
        responses = []
        for first in range(start, end, n):
            answer = OKAY
            for low, high, _, response in hits:
                if low < first + n and high >= first:
                    answer = max(answer, RESPONSES[response])
            if self.map.offset(first, n) is None:
                answer = DECERR
            responses.append(answer)
        return responses

    def _stopped(self, channel, due):
        """Whether ``channel`` has made its last transfer, or its next one is late; due: it could be
        made now."""
        if self._upsets:
            left, kind, cycles = self._upsets.get(channel, (1, None, 0))
            if left == 0 and kind == "late":
                if cycles:
                    self._upsets[channel][2] -= due
                    return True
                del self._upsets[channel]
        return bool(self.dead) and self.dead.get(channel, 1) <= 0

    def _spend(self, channel):
        """Count a transfer of ``channel`` which ``dead`` may limit; returns (kind, value) where it
        is the one that is spoiled, else (None, 0)."""
        if channel in self.dead:
            self.dead[channel] -= 1
        if channel in self._upsets:
            left, kind, value = self._upsets[channel]
            if left:
                self._upsets[channel][0] -= 1
            elif kind != "late":
                del self._upsets[channel]
                return kind, value
        return None, 0

    def _answer_of(self, channel, burst, response):
        """Count a transfer of "r" or "b" that answers ``burst`` with ``response``; returns
        (response, text of its ID or None, whether its RLAST is the other way round)."""
        kind, value = self._spend(channel)
        number = burst.id_text
        if kind is None:
            return response, number, False
        self.spoiled = burst.id
        if kind == "id" and number is not None:
            number = self._id_text(channel, value)
        return RESPONSES.get(kind, response), number, kind == "last"

    def _id_text(self, channel, number):
        """Text of an ID on a channel."""
        return format(number, f"0{len(getattr(self.bus, f'{channel}id'))}b")


def _check_dead(dead, rlast):
    for channel, count in dead.items():
        if channel not in CHANNELS or count < 0:
            raise ValueError(f"dead {channel!r}: {count} is not ar, r, aw, w or b: 0 or more")
    if rlast not in ("right", "never", "always"):
        raise ValueError(f"rlast={rlast!r} is not 'right', 'never' or 'always'")


def _check_fault(first, last, direction, response):
    if first > last or direction not in ("read", "write") or response not in ("SLVERR", "DECERR"):
        raise ValueError(f"fault {(first, last, direction, response)} is not (first, last, "
                         f"'read'|'write', 'SLVERR'|'DECERR')")


def _check_upset(channel, after, kind):
    kinds = {"r": ("late", "SLVERR", "DECERR", "id", "last"),
             "b": ("late", "SLVERR", "DECERR", "id")}.get(channel, ("late",))
    if channel not in CHANNELS or after < 0:
        raise ValueError(f"upset of {channel!r} after {after} is not of ar, r, aw, w or b after 0 "
                         f"or more")
    if kind not in kinds:
        raise ValueError(f"upset {kind!r} of {channel!r} is not one of {', '.join(kinds)}")
