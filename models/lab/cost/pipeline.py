# SPDX-License-Identifier: Apache-2.0
"""Event simulation of an attention job, tile by tile: the engine behind models/lab/cost/cycles.py.

Every stage works on whole tiles (SU-FA, KVGEN and the gather: phases) in order, with the latencies
of the stages' documents (docs/seq.md, fetch.md, dlzs.md, sads.md, rass.md, kvgen.md, sufa.md,
store.md) and the finite rings of docs/architecture.md section 7. The read bus is shared as
fetch_arb shares it: parties with requests take turns vector by vector, which is treated as a
fluid (each gets an equal share of the grants). Granted vectors wait in one queue for memory, which
delivers one bus word a cycle; a queue that is empty costs the latency only.

Left out: single cycles of hand-over that hide behind others, bursts cut at 4 KiB, limits on
outstanding requests, turns of O and made vectors on the write bus (they queue instead).
"""

from __future__ import annotations

from ...config import clog2
from ...first.config import Config
from ...first.head import Job
from ...first.layer import LayerPlan
from .generation import NEVER, Generation

FRONT = 8
"""Cycles from the grant of a read to its commit besides the memory's latency: 3 to AR, the edges
of both channels, 1 to the write port, 1 to the commit."""


class Pipeline:
    """One attention job. ``work`` is a cycles.Work, ``memory`` a cycles.Memory, ``plan``
    the layer's when the job makes K and V. After ``run()``: ``total`` cycles and ``busy``, cycles
    a stage worked.
    """

    def __init__(self, work, job: Job, cfg: Config, memory, plan: LayerPlan | None = None):
        self.work, self.job, self.cfg, self.memory = work, job, cfg, memory
        d = job.d
        self.d = d
        self.tiles, self.phases, self.blocks = len(work.slots), len(work.nsteps), len(work.rows)
        self.whole = cfg.KV_SLOTS == cfg.BC_MAX
        self.groups = -(-cfg.COLS // 12)
        exp = 2 * cfg.EXP_ROWS
        self.step = max(d, exp if cfg.EXP_ROWS >= 16 else exp + 4)
        self.beats16, self.beats8 = cfg.beats16(d), cfg.beats8(d)
        self.block_of = [b for b, n in enumerate(work.tiles) for _ in range(n)]
        self.tile_of = [t for t, n in enumerate(work.phases) for _ in range(n)]
        self.first_phase, at = [], 0
        for n in work.phases:
            self.first_phase.append(at)
            at += n
        ends = self.block_of[1:] + [-1]
        self.closes = [a != b for a, b in zip(self.block_of, ends, strict=True)]
        self.opens = [True, *self.closes[:-1]]
        buffers = 4 + (0 if job.dense else 1) + (3 if plan else 0)
        buffers += 1 if plan and plan.mode else 0
        # docs/seq.md: first Q command.
        self.begin = 29 + 5 * buffers + work.heads // work.kv_heads
        self.busy = dict.fromkeys(
            ("dlzs", "sads", "rass", "kvgen", "sufa", "store", "bus"), 0.0)

        def unknown(n: int) -> list:
            return [None] * n

        t, p, b = self.tiles, self.phases, self.blocks
        self.q_commit, self.q_out_dlzs, self.q_out_sufa = unknown(b), unknown(b), unknown(b)
        self.q_granted = unknown(b)
        self.k8_commit, self.k8_out, self.k8_granted = unknown(t), unknown(t), unknown(t)
        self.scored, self.sorted = unknown(t), unknown(t)
        self.begun, self.listed = unknown(t), unknown(t)
        self.ready, self.taken = unknown(p), unknown(p)
        self.k_commit, self.v_commit = unknown(p), unknown(p)
        self.k_granted, self.v_granted, self.v_taken = unknown(p), unknown(p), unknown(p)
        self.k_out, self.v_out, self.list_out = unknown(p), unknown(p), unknown(p)
        self.stored = unknown(b)
        # Next item of each stage.
        self.at_q = self.at_k8 = self.at_dlzs = self.at_sads = self.at_rass = 0
        self.at_take = self.at_k = self.at_v = self.at_sufa = 0
        self.dlzs_free = self.rass_free = self.qk_free = self.sv_free = self.write_free = 0.0
        self.maker = Generation(self, plan) if plan else None

    # ---- memory -------------------------------------------------------------------------------

    def run(self) -> Pipeline:
        """Simulate to the end."""
        q = k8 = k = v = x = 0.0  # vectors left of the running walks
        now, backlog = 0.0, 0.0
        latency = self.memory.latency + FRONT
        b16, b8 = self.beats16, self.beats8
        dense = self.job.dense
        work, maker = self.work, self.maker
        self.advance()
        while self.at_sufa < self.phases:
            # Walks that may begin now, and the next moment at which another one may.
            soon = NEVER
            if not q and self.at_q < self.blocks:
                at = self._q_start()
                if at <= now:
                    q = float(work.rows[self.at_q])
                else:
                    soon = at
            if not k8 and self.at_k8 < self.tiles:
                at = self._k8_start()
                if at <= now:
                    if dense:
                        self.k8_granted[self.at_k8] = self.k8_commit[self.at_k8] = now + 1
                        self.at_k8 += 1
                        self.advance()
                        continue
                    k8 = float(work.slots[self.at_k8])
                elif at < soon:
                    soon = at
            if not k and self.at_k < self.phases:
                taken = self.taken[self.at_k]
                at = NEVER if taken is None else taken + 4
                if at <= now:
                    k = float(work.read[self.at_k])
                    if not k:
                        self._walk_done("k", now, now + 2)
                        continue
                elif at < soon:
                    soon = at
            if not v and self.at_v < self.phases:
                at = self._v_start()
                if at <= now:
                    v = float(work.read[self.at_v])
                    if not v:
                        self._walk_done("v", now, now + 2)
                        continue
                elif at < soon:
                    soon = at
            if maker and not x:
                at, x = maker.x_start(now)
                if at < soon:
                    soon = at
            use_v = v and (not k or self.at_v < self.at_k)
            use_k = k and not use_v
            parties = (1 if k or v else 0) + (1 if k8 else 0) + (1 if x else 0)
            urgent = q and self.at_k8 < self.tiles and self.block_of[self.at_k8] >= self.at_q
            if q and (urgent or not parties):
                share = rate_q = 1 / (parties + 1)
            elif q:
                rate_q, share = 0.125, 0.875 / parties
            elif parties:
                rate_q, share = 0.0, 1 / parties
            else:
                if soon is NEVER:
                    raise RuntimeError("the pipeline waits for nothing")
                backlog = max(0.0, backlog - (soon - now))
                now = soon
                continue
            span = soon - now
            if q:
                span = min(span, q / rate_q)
            for left in (k8, v if use_v else k, x):
                if left:
                    span = min(span, left / share)
            demand = (q and rate_q * b16) + (k8 and share * b8) + (x and share) + (
                (k or v) and share * b16)
            if demand >= 1:
                backlog += (demand - 1) * span
            else:
                backlog = max(0.0, backlog - (1 - demand) * span)
            self.busy["bus"] += demand * span
            now += span
            part = share * span + 1e-9
            done = now + latency + backlog
            if q:
                q -= rate_q * span + 1e-9
                if q <= 0:
                    q = 0.0
                    self.q_granted[self.at_q], self.q_commit[self.at_q] = now, done
                    self.at_q += 1
            if k8:
                k8 -= part
                if k8 <= 0:
                    k8 = 0.0
                    self.k8_granted[self.at_k8], self.k8_commit[self.at_k8] = now, done
                    self.at_k8 += 1
            if x:
                x -= part
                if x <= 0:
                    x = 0.0
                    maker.x_done(now, done)
            if use_v:
                v -= part
                if v <= 0:
                    v = 0.0
                    self._walk_done("v", now, done)
                    continue
            elif use_k:
                k -= part
                if k <= 0:
                    k = 0.0
                    self._walk_done("k", now, done)
                    continue
            self.advance()
        # The last answer of memory, to the interrupt.
        self.total = self.stored[-1] + self.memory.write_latency + 6
        if maker:
            self.total = max(self.total, maker.quiet(self.phases)) + 4
        return self

    def _q_start(self) -> float:
        """When Q of the next block may be asked for."""
        b = self.at_q
        at = self.begin + 1
        if b:
            at = self.q_granted[b - 1] + 2
        if b >= 2:
            if self.q_out_dlzs[b - 2] is None or self.q_out_sufa[b - 2] is None:
                return NEVER
            at = max(at, self.q_out_dlzs[b - 2] + 1, self.q_out_sufa[b - 2] + 1)
        return at

    def _k8_start(self) -> float:
        """When K8 of the next tile may be asked for."""
        t = self.at_k8
        at = self.begin + 9
        if t:
            at = self.k8_granted[t - 1] + (10 if self.opens[t] else 2)
        if t >= self.cfg.K8_BUFS:
            out = self.k8_out[t - self.cfg.K8_BUFS]
            if out is None:
                return NEVER
            at = max(at, out + 2)
        return at

    def _v_start(self) -> float:
        """When V of the next phase may be asked for."""
        p = self.at_v
        if self.taken[p] is None:
            return NEVER
        at = self.taken[p] + 2
        if p:
            at = max(at, self.v_granted[p - 1] + 1)
        if p >= self.cfg.KV_BUFS:
            out = self.v_out[p - self.cfg.KV_BUFS]
            if out is None:
                return NEVER
            at = max(at, out + 1)
        self.v_taken[p] = at
        return at + 3

    def _walk_done(self, which: str, granted: float, commit: float) -> None:
        """K or V of the next phase is granted; its data is complete at ``commit``."""
        if which == "k":
            p, self.at_k = self.at_k, self.at_k + 1
            self.k_granted[p], self.k_commit[p] = granted, commit
        else:
            p, self.at_v = self.at_v, self.at_v + 1
            self.v_granted[p], self.v_commit[p] = granted, commit
        self.advance()

    # ---- stages -------------------------------------------------------------------------------

    def advance(self) -> None:
        """Let every stage take the items whose times are known."""
        moved = True
        while moved:
            moved = self._dlzs() | self._sads() | self._rass() | self._take() | self._sufa()

    def _dlzs(self) -> bool:
        """Scores of the next tile: ceil(n/COLS) passes of d cycles."""
        t = self.at_dlzs
        if t == self.tiles or self.k8_commit[t] is None:
            return False
        b = self.block_of[t]
        if self.q_commit[b] is None or (t >= 2 and self.sorted[t - 2] is None):
            return False
        start = max(self.k8_commit[t] + 1, self.q_commit[b] + 2, self.dlzs_free)
        if self.job.dense:
            end, word = start + 1, start + 1
            self.busy["dlzs"] += 1
        else:
            cycles = -(-self.work.slots[t] // self.cfg.COLS) * self.d
            end, word = start + cycles, start + self.d + 3
            self.busy["dlzs"] += cycles
        if t >= 2:
            # Both score buffers are full: words wait, and the array with them.
            end += max(0.0, self.sorted[t - 2] - word)
        self.dlzs_free = end
        self.k8_out[t] = end + 1
        if self.closes[t]:
            self.q_out_dlzs[b] = end + 1
        self.scored[t] = end + 1 if self.job.dense else end + 3 + self.groups
        self.at_dlzs += 1
        return True

    def _steps_of_tile(self, t: int) -> int:
        """Pair steps of the tile's longest list before it is cut in phases, at most."""
        first = self.first_phase[t]
        steps = sum(self.work.nsteps[first : first + self.work.phases[t]])
        n = self.work.slots[t]
        return min(steps, -(-self.job.most(n) // 2))

    def _sads(self) -> bool:
        """Lists of the next tile: a pass over its words for every four keys of the quota, until
        no row finds four."""
        t = self.at_sads
        if t == self.tiles or self.scored[t] is None:
            return False
        start = self.scored[t]
        if t:
            start = max(start, self.sorted[t - 1])
        ring, given = (4, self.list_out) if self.whole else (2, self.listed)
        if t >= ring:
            if given[t - ring] is None:
                return False
            start = max(start, given[t - ring] + 1)
        n = self.work.slots[t]
        if self.job.dense:
            words, passes = 1, -(-n // 4)
        else:
            words = -(-n // self.cfg.COLS) * self.groups
            passes = -(-self.job.most(n) // 4)
            passes = min(passes, 2 * self._steps_of_tile(t) // 4 + 1)
        cycles = passes * (words + 6) + 4
        done = start + cycles
        if t:
            # The tile before has left.
            before = self.taken[t - 1] if self.whole else self.begun[t - 1]
            if before is None:
                return False
            done = max(done, before)
        self.busy["sads"] += cycles
        self.sorted[t] = done
        self.at_sads += 1
        return True

    def _rass(self) -> bool:
        """Lists of the next phase; where a buffer holds a whole tile, the stage is wires."""
        p = self.at_rass
        if p == self.phases:
            return False
        t = self.tile_of[p]
        if self.sorted[t] is None:
            return False
        if self.whole:
            self.begun[t] = self.sorted[t]
            self.ready[p] = self.sorted[t]
            self.at_rass += 1
            return True
        work, first = self.work, self.first_phase[t]
        steps, beyond = self._steps_of_tile(t), first + work.phases[t]
        waiting = sum(work.read[p:beyond]) + sum(work.made[p:beyond])
        if p == first and self.begun[t] is None:
            self.begun[t] = max(self.sorted[t], self.rass_free)
            cycles = -(-steps // 2) + waiting + clog2(self.cfg.BC_MAX) + 5 if waiting else 4
            self.rass_free = self.begun[t] + cycles
            self.busy["rass"] += cycles
        at = self.rass_free
        if p >= 4:
            if self.list_out[p - 4] is None:
                return False
            at = max(at, self.list_out[p - 4] + 1)
        if waiting:
            # Keys that the walk looks at: all that wait, since few phases are full before.
            looked = work.read[p] + work.made[p] if self.job.dense else waiting
            cycles = looked + 2 * steps + -(-work.nsteps[p] // 2) + 8
            self.busy["rass"] += cycles
            at += cycles
        self.ready[p] = self.rass_free = at
        if p + 1 == beyond:
            self.listed[t] = at
        self.at_rass += 1
        return True

    def _take(self) -> bool:
        """The gather takes the next phase: a free K buffer, its walk done, room for V's walk."""
        p, bufs = self.at_take, self.cfg.KV_BUFS
        if p == self.phases or self.ready[p] is None:
            return False
        at = self.ready[p] + 1
        if self.maker:
            looked = self.maker.look_up(p)
            if looked is None:
                return False
            at = looked + 1
        if p:
            if self.k_granted[p - 1] is None:
                return False
            at = max(at, self.k_granted[p - 1] + 1)
        if p >= bufs:
            if self.k_out[p - bufs] is None or self.v_taken[p - bufs] is None:
                return False
            at = max(at, self.k_out[p - bufs] + 1, self.v_taken[p - bufs] + 1)
        self.taken[p] = at
        self.at_take += 1
        return True

    def _sufa(self) -> bool:
        """Exact attention of the next phase; flush and store at the end of a block."""
        p = self.at_sufa
        if p == self.phases or self.k_commit[p] is None or self.v_commit[p] is None:
            return False
        k_there, v_there = self.k_commit[p], self.v_commit[p]
        if self.maker and self.work.made[p]:
            made = self.maker.made_at(p)
            if made is None:
                return False
            k_there, v_there = max(k_there, made), max(v_there, made)
        b = self.block_of[self.tile_of[p]]
        if self.q_commit[b] is None:
            return False
        n, step = self.work.nsteps[p], self.step
        start = max(self.qk_free, k_there + 1, self.q_commit[b] + 1)
        if n:
            sv = max(self.sv_free, v_there + 1, start + self.d + 2 * self.cfg.EXP_ROWS + 14)
            sv_end = sv + n * step
            # QK starts a step when the exp units have passed the scores two before it, which
            # need the place of the weights that SV takes.
            qk_end = max(start + n * step, sv_end - 3 * step + 2 * self.cfg.EXP_ROWS - 16)
            self.list_out[p] = sv_end - step + 1
        else:
            qk_end = start + 1
            sv_end = max(self.sv_free, v_there + 1, qk_end) + 1
            self.list_out[p] = sv_end
        self.busy["sufa"] += n * step
        self.k_out[p], self.v_out[p] = qk_end + 1, sv_end + 1
        self.qk_free, self.sv_free = qk_end, sv_end
        self.at_sufa += 1
        last = p + 1 == self.phases or self.tile_of[p + 1] != self.tile_of[p]
        if last and self.closes[self.tile_of[p]]:
            self.q_out_sufa[b] = qk_end + 1
            self._store(b, sv_end + max(0, self.cfg.DIV_ROWS + 16 - step))
        return True

    def _store(self, b: int, flush: float) -> None:
        """The block's output: d words from SU-FA, then its rows to memory."""
        beats = self.work.rows[b] * self.beats16
        # The one output buffer is read until its last row has left.
        flush = max(flush, self.write_free - 8)
        self.sv_free = flush + self.d + 3
        self.write_free = max(self.write_free, flush + self.d + 12) + beats
        self.busy["store"] += beats
        self.stored[b] = self.write_free
