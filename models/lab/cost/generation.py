# SPDX-License-Identifier: Apache-2.0
"""KVGEN in the cycle model: look-up of keys, reads of X and weights, groups of tokens.

Part of pipeline.py; docs/kvgen.md has the latencies. Tokens are numbered over all phases
in job order. Left out: a claimed key that waits until it is written, and turns of made vectors
with O on the write bus, which queue instead.
"""

from __future__ import annotations

from ... import kvgen
from ...bounds import weight_bound
from ...first.layer import LayerPlan
from ...layer import valid_beats

NEVER = float("inf")

TOKEN_QUEUE = 20
"""Tokens that wait between the look-up and the read of X."""


class Generation:
    """The tokens of one job; ``pipe`` is its Pipeline. Times that depend on what is not known yet
    are None."""

    def __init__(self, pipe, plan: LayerPlan):
        self.pipe, self.plan = pipe, plan
        work, cfg = pipe.work, pipe.cfg
        self.x_beats = cfg.beats16(plan.h) + (pipe.beats16 if plan.mode else 0)
        self.group = kvgen.group_tokens(plan.h, plan.d, cfg)
        self.passes = -(-2 * plan.d // cfg.ROWS)
        self.weights = weight_bound(plan, cfg)
        per_head = pipe.blocks // work.kv_heads
        # Phases that begin a KV head.
        self.head_first = {pipe.first_phase[t] for t, opens in enumerate(pipe.opens)
                           if opens and pipe.block_of[t] % per_head == 0}
        self.token_end, count = [], 0
        for n in work.made:
            count += n
            self.token_end.append(count)
        self.put = []            # time at which each known token is queued
        self.front_free = 0.0
        self.looking = {}        # phase -> end of its look-up, its tokens' queue apart
        self.loaded = 0          # tokens whose X was granted
        self.x_granted = []      # per token
        self.token_made = []     # per token: its vectors are in the ring
        self.fill = 0            # tokens in the open group
        self.fill_at = 0.0       # their X is there
        self.array_free = [0.0, 0.0]  # ends of the two latest groups
        self.drain_free = 0.0
        self.weights_due = None  # phase whose head's weights are to be read, and from when on
        self.weights_at = {}     # phase -> weights of its head are there

    def look_up(self, p: int) -> float | None:
        """End of the look-up of a phase's keys, None while unknown."""
        made, read = self.pipe.work.made[p], self.pipe.work.read[p]
        if p not in self.looking:
            start = max(self.pipe.ready[p], self.front_free)
            bufs = self.pipe.cfg.KV_BUFS
            if p >= bufs:
                if self.pipe.k_out[p - bufs] is None or self.pipe.v_out[p - bufs] is None:
                    return None
                start = max(start, self.pipe.k_out[p - bufs] + 1, self.pipe.v_out[p - bufs] + 1)
            if p in self.head_first:
                if p not in self.weights_at:
                    quiet = self.quiet(p)
                    if quiet is not None and self.weights_due is None:
                        self.weights_due = p, max(start, quiet)
                    return None
                start = max(start, self.weights_at[p] + 7)
            self.put += [start + 6 + 4 * i for i in range(1, made + 1)]
            self.looking[p] = start + (6 + 2 * read + 4 * made if made or read else 3)
        end = self.looking[p]
        if made:
            # The last tokens find room in the queue once earlier ones have left it.
            before = self.token_end[p] - TOKEN_QUEUE
            if before > 0:
                if len(self.x_granted) < before:
                    return None
                end = max(end, self.x_granted[before - 1] + 4)
        self.front_free = end
        return end

    def quiet(self, p: int) -> float | None:
        """When memory has all vectors made before phase p, and the bitmap."""
        made = self.token_end[p - 1] if p else 0
        if not made:
            return self.front_free
        if len(self.token_made) < made:
            return None
        return self.pipe.write_free + self.pipe.memory.write_latency * 2 + 10

    def made_at(self, p: int) -> float | None:
        """When all vectors made for a phase are in the rings."""
        end = self.token_end[p]
        return self.token_made[end - 1] if len(self.token_made) >= end else None

    def x_start(self, now: float) -> tuple[float, float]:
        """(next moment at which X may be asked for or a group closed, beats asked for now)."""
        if self.weights_due:
            if self.weights_due[1] > now:
                return self.weights_due[1], 0.0
            return NEVER, float(self.weights)
        known = len(self.put) - self.loaded
        if known:
            # Rows of two groups have room: one at work, one being filled.
            at = max(self.put[self.loaded], self.array_free[0])
            if self.fill == 0 or at <= max(self.fill_at, now):
                if at > now:
                    return at, 0.0
                return NEVER, float(self.x_beats)
        if self.fill:
            if self.fill_at > now:
                return self.fill_at, 0.0
            self._close_group()
            self.pipe.advance()
            return now, 0.0
        return NEVER if not known else max(self.put[self.loaded], self.array_free[0]), 0.0

    def x_done(self, now: float, done: float) -> None:
        """A token's X, or a head's weights, are granted."""
        if self.weights_due:
            self.weights_at[self.weights_due[0]] = done
            self.weights_due = None
            return
        self.x_granted.append(now)
        self.loaded += 1
        self.fill += 1
        self.fill_at = done
        if self.fill == self.group:
            self._close_group()

    def _close_group(self) -> None:
        """The open group goes to the array, its vectors to the rings and to memory."""
        plan, n = self.plan, self.fill
        pairs = n * plan.d
        start = max(self.fill_at + 2, self.array_free[1])
        cycles = self.passes * max(plan.h, -(-pairs // self.passes))
        end = start + cycles
        self.pipe.busy["kvgen"] += self.passes * plan.h
        self.array_free = [self.array_free[1], end]
        for _ in range(n):
            self.drain_free = max(self.drain_free, end) + plan.d
            self.token_made.append(self.drain_free + 20)
        beats = 2 * n * self.pipe.beats16
        self.pipe.write_free = max(self.pipe.write_free, self.drain_free + 20 - beats) + beats
        self.fill = 0
        if len(self.token_made) == self.token_end[-1]:
            self.pipe.write_free += valid_beats(plan.keys, self.pipe.cfg)
