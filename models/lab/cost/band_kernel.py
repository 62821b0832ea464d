# SPDX-License-Identifier: Apache-2.0
"""The compiled loop of bands.py, one pass a cycle; it needs numba, an optional extra."""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np

FAR = 1 << 60
"""A time that never comes."""

COMMIT = 20
"""Cycles from the last element out of KVGEN's drain to a full place of the landing buffer."""

TOKEN_QUEUE = 20
"""Tokens that wait for the read of their X."""

DLZS, SADS, UNITS, READ, WRITE, KVGEN, STARVED, BLOCKED, UNWRITTEN, HAZARD, GROUPS = range(11)
"""What is counted, cycles: stages and buses at work (units: all together), units without a key, the
oldest key of the landing buffer without room in a unit, the front at a vector that is not written,
units at a row that is still in flight; and groups of tokens."""


class Plan(NamedTuple):
    """int64 arrays of the work, in its order.

    band_turn, band_block [bands + 1]   first turn and block of each band
    band_head [bands], band_means       KV head; tokens of mean rows of X
    turn_key, turn_step [turns + 1]     first key and first step of each turn
    turn_k8, turn_selects [turns]       beats of K8 to read; whether keys are selected
    step_score, step_sads [steps]       cycles of DLZS and SADS for each block of each turn
    block_beats, block_read [blocks]    beats of O; of Q and the mean of V
    want, first, last [keys, units]     rows of a unit that want a key; the first and last of them
    key_token, key_after [keys]         token that makes it, -1: it is read; the token that made it
                                        for a band before, -1: none
    token_key, token_band [tokens]      key, -1: a mean row
    """

    band_turn: np.ndarray
    band_block: np.ndarray
    band_head: np.ndarray
    band_means: np.ndarray
    turn_key: np.ndarray
    turn_step: np.ndarray
    turn_k8: np.ndarray
    turn_selects: np.ndarray
    step_score: np.ndarray
    step_sads: np.ndarray
    block_beats: np.ndarray
    block_read: np.ndarray
    want: np.ndarray
    first: np.ndarray
    last: np.ndarray
    key_token: np.ndarray
    key_after: np.ndarray
    token_key: np.ndarray
    token_band: np.ndarray


class Sizes(NamedTuple):
    """Scalars of machine, job and memory: fields of bands.Machine and cycles.Memory;
    pair: cycles of a pair; vector: beats of a 16-bit vector; flush: unit cycles of a beat of O;
    kvgen: h, d, passes, group (tokens), x_beats (of a row of X), rt_beats (of a row of the RoPE
    table), weights (beats), bits (beats of the valid bits); h = 0: no key is made."""

    latency: int
    write_latency: int
    mask_latency: int
    k8_bufs: int
    mask_tiles: int
    landing: int
    fifo: int
    q_places: int
    o_places: int
    least: int
    hazard: int
    in_place: bool
    released: bool
    dense: bool
    pair: int
    vector: int
    flush: float
    h: int
    d: int
    passes: int
    group: int
    x_beats: int
    rt_beats: int
    weights: int
    bits: int


@numba.njit(cache=True, nogil=True)
def simulate(plan, size, busy):
    """Cycles of a job until the last write is answered, -1 when it never ends. plan: Plan; size:
    Sizes; busy int64 [GROUPS + 1] is added to."""
    band_turn, band_block, turn_key = plan.band_turn, plan.band_block, plan.turn_key
    want, key_token, token_key = plan.want, plan.key_token, plan.token_key
    bands, blocks, turns = len(plan.band_head), len(plan.block_beats), len(plan.turn_k8)
    keys, units = want.shape
    tokens = len(token_key)
    band_of_turn = np.empty(turns, np.int64)
    band_of_key = np.empty(keys, np.int64)
    for b in range(bands):
        band_of_turn[band_turn[b] : band_turn[b + 1]] = b
        band_of_key[turn_key[band_turn[b]] : turn_key[band_turn[b + 1]]] = b
    q_ready = np.full(blocks, FAR)
    k8_ready = np.full(turns, FAR)
    mask_ready = np.full(turns, FAR)
    key_ready = np.full(keys, FAR)
    # Units: queues of keys; pending: entries of a band's keys that are not done.
    queue = np.zeros((units, size.fifo), np.int64)
    head, used, left = np.zeros(units, np.int64), np.zeros(units, np.int64), np.zeros(units,
                                                                                      np.int64)
    row, row_at = np.full(units, -1), np.full(units, -FAR)
    debt = np.zeros(units)
    pending = np.zeros(bands, np.int64)
    for i in range(keys):
        for u in range(units):
            pending[band_of_key[i]] += want[i, u] > 0
    # Flush: band, block, beats left; places of O and Q, blocks whose O is being written.
    f_band, f_block, f_left = 0, 0, -1.0
    out_block, out_left = 0, 0
    flushed = 0
    q_free, o_free, o_band = size.q_places, size.o_places, -1
    # Landing buffer: keys issued, keys that left it.
    r_turn, r_key, sent, send_left = 0, 0, 0, 0
    # DLZS and SADS: turn, block of its band, cycles left; SADS: turn, blocks of it done.
    s_turn, s_block, s_left, s_done = 0, 0, 0, False
    z_left, masks = 0, 0
    # Read bus.
    q_at, q_left, q_open = 0, 0, False
    k8_at, k8_left, k8_open, k8_used = 0, 0, False, 0
    kv_at, kv_left, x_left, w_left, client = 0, 0, 0, 0, 0
    # KVGEN: tokens queued, read, begun, made, written; KV head of bitmap and weights.
    put, taken, begun, ready_at = 0, 0, 0, 0
    means_put = 0
    made_at = np.full(tokens, FAR)
    written_at = np.full(tokens, FAR)
    means_left = plan.band_means.copy()
    array_left, array_to, drain_free = 0, 0, 0
    wrote, wrote_left, quiet_at = 0, 0, 0
    kv_head, bits_left, w_ready = 0, 0, FAR
    kv_heads = plan.band_head[-1] + 1 if size.h else 0
    if size.h:
        w_left = size.weights
    means_seen = 0

    patience = size.latency + size.write_latency + size.mask_latency + 2 * COMMIT
    patience += 2 * size.group * size.d + 100
    now, moved_at = 0, 0
    while f_band < bands or out_block < blocks or kv_head < kv_heads or now < quiet_at:
        moved = False
        # KVGEN's array and drain.
        if array_left:
            array_left -= 1
            busy[KVGEN] += 1
            moved = True
            if array_left == 0:
                for t in range(begun, array_to):
                    drain_free = max(drain_free, now) + (size.d if token_key[t] >= 0
                                                         else size.d // 2)
                    made_at[t] = drain_free + COMMIT
                    if token_key[t] >= 0:
                        key_ready[token_key[t]] = made_at[t]
                begun = array_to
        while means_seen < tokens and made_at[means_seen] <= now:
            if token_key[means_seen] < 0:
                means_left[plan.token_band[means_seen]] -= 1
            means_seen += 1
        # Write bus: made vectors first, the valid bits of a KV head, O.
        free = True
        while wrote < tokens and token_key[wrote] < 0 and made_at[wrote] <= now:
            written_at[wrote] = now
            wrote += 1
        if wrote < tokens and made_at[wrote] <= now:
            wrote_left += 1
            if wrote_left == 2 * size.vector:
                written_at[wrote] = now + size.write_latency
                quiet_at = max(quiet_at, now + size.write_latency)
                wrote += 1
                wrote_left = 0
            free = False
        elif bits_left and quiet_at <= now:
            bits_left -= 1
            free = False
            if bits_left == 0:
                quiet_at = now + size.write_latency
                kv_head += 1
                w_left, w_ready = (size.weights if kv_head < kv_heads else 0), FAR
        if not free:
            busy[WRITE] += 1
            moved = True
        # Flush: a band whose keys are all done.
        if f_band < bands and f_left < 0 and pending[f_band] == 0 and means_left[f_band] == 0 and (
                r_turn >= band_turn[f_band + 1]):
            f_block = band_block[f_band]
            if not size.in_place:
                q_free += band_block[f_band + 1] - f_block
            f_left = plan.block_beats[f_block]
        if f_left > 0:
            # In place: as fast as the units can; else a beat a cycle, straight to the bus.
            beats = min(f_left, units / size.flush) if size.in_place else 1.0 * free
            f_left -= beats
            moved = True
            for u in range(units):
                debt[u] += beats * size.flush / units
            if not size.in_place and free:
                busy[WRITE] += 1
        if f_left == 0:
            o_free += 1
            f_block += 1
            flushed = f_block
            if not size.in_place:
                out_block = f_block
            if f_block == band_block[f_band + 1]:
                f_band += 1
                f_left = -1
            else:
                f_left = plan.block_beats[f_block]
        if size.in_place and free and out_block < flushed:
            out_left += 1
            busy[WRITE] += 1
            moved = True
            if out_left == plan.block_beats[out_block]:
                out_left = 0
                out_block += 1
                q_free += 1
        # Units: one beat of a pair a cycle.
        for u in range(units):
            if debt[u] >= 1:
                debt[u] -= 1
                busy[UNITS] += 1
                continue
            key = queue[u, head[u]]
            if left[u] == 0 and used[u]:
                if plan.first[key, u] == row[u] and now - row_at[u] < size.hazard:
                    busy[HAZARD] += 1
                    continue
                row[u] = plan.last[key, u]
                row_at[u] = now + (want[key, u] - 1) * size.pair
                left[u] = max(want[key, u] * size.pair, size.least)
            if left[u]:
                left[u] -= 1
                busy[UNITS] += 1
                moved = True
                if left[u] == 0:
                    pending[band_of_key[key]] -= 1
                    head[u] = (head[u] + 1) % size.fifo
                    used[u] -= 1
            else:
                busy[STARVED] += 1
        # Landing buffer: its oldest key leaves when every unit that wants it has room.
        if send_left:
            send_left -= 1
        if send_left == 0 and sent < r_key and key_ready[sent] <= now:
            room = True
            for u in range(units):
                if want[sent, u] and used[u] == size.fifo:
                    room = False
            if room:
                for u in range(units):
                    if want[sent, u]:
                        queue[u, (head[u] + used[u]) % size.fifo] = sent
                        used[u] += 1
                sent += 1
                send_left = size.vector
                moved = True
            else:
                busy[BLOCKED] += 1
        # RASS, a key a cycle into a free place of the landing buffer; a token where it is made.
        issued, stopped, ends = False, False, r_turn == turns
        if r_turn < turns:
            b = band_of_turn[r_turn]
            blocks_of = band_block[b + 1] - band_block[b]
            if not plan.turn_selects[r_turn]:
                r_turn += 1
                moved = True
            elif mask_ready[r_turn] <= now:
                ends = size.h > 0 and plan.band_head[b] != kv_head
                # The first key of a band needs places for all of its O.
                if o_band < b and o_free >= blocks_of and not ends:
                    o_free -= blocks_of
                    o_band = b
                    means_put = 0
                if o_band == b and means_put < plan.band_means[b]:
                    if put - taken < TOKEN_QUEUE:
                        put += 1
                        means_put += 1
                        issued = True
                elif o_band == b and r_key < turn_key[r_turn + 1]:
                    made, after = key_token[r_key] >= 0, plan.key_after[r_key]
                    unwritten = after >= 0 and written_at[after] > now
                    busy[UNWRITTEN] += unwritten
                    stopped = unwritten or r_key - sent >= size.landing
                    if not stopped and not (made and put - taken >= TOKEN_QUEUE):
                        put += made
                        r_key += 1
                        issued = True
                elif o_band == b:
                    masks -= blocks_of
                    r_turn += 1
                    moved = True
        moved = moved or issued
        # The end of a KV head: all is written, then its valid bits.
        if ends and kv_head < kv_heads and put == wrote and bits_left == 0:
            bits_left = size.bits
        # KVGEN: a group begins when it is full or nothing more is on its way to it.
        fill = taken - begun
        if array_left == 0 and fill and ready_at <= now and w_ready <= now:
            start = fill == size.group
            if not start and put == taken:
                # A front that is blocked sends nothing more.
                start = not issued and (size.released or not stopped)
            if start:
                array_left = size.passes * max(size.h, -(-fill * size.d // size.passes))
                array_to = taken
                busy[GROUPS] += 1
        # DLZS, block after block, and SADS, which takes the scores of a block that is done.
        if z_left:
            z_left -= 1
            busy[SADS] += 1
            moved = True
        if s_left:
            s_left -= 1
            busy[DLZS] += 1
            moved = True
            s_done = s_left == 0
        if s_done and z_left == 0:
            s_done = False
            z_left = plan.step_sads[plan.turn_step[s_turn] + s_block]
            s_block += 1
            b = band_of_turn[s_turn]
            if s_block == band_block[b + 1] - band_block[b]:
                mask_ready[s_turn] = now + z_left + size.mask_latency
                if not size.dense:
                    k8_used -= 1
                s_turn, s_block = s_turn + 1, 0
        if s_left == 0 and not s_done and s_turn < turns:
            b = band_of_turn[s_turn]
            room = not plan.turn_selects[s_turn] or masks < size.mask_tiles
            if room and q_ready[band_block[b] + s_block] <= now and (
                    size.dense or k8_ready[s_turn] <= now):
                s_left = plan.step_score[plan.turn_step[s_turn] + s_block]
                masks += plan.turn_selects[s_turn]
        # Read bus: one beat a cycle; Q, or K8, keys and X in turn.
        if not q_open and q_at < blocks and q_free:
            q_free -= 1
            q_open, q_left = True, plan.block_read[q_at]
        if not size.dense and not k8_open and k8_at < turns and k8_used < size.k8_bufs:
            k8_used += 1
            k8_open, k8_left = True, plan.turn_k8[k8_at]
        while kv_at < r_key and key_token[kv_at] >= 0:
            kv_at += 1
        if kv_left == 0 and kv_at < r_key:
            kv_left = 2 * size.vector
        # X of one group at work and of one that is being filled has room.
        filled = taken - (array_to if array_left else begun)
        if w_left == 0 and x_left == 0 and taken < put and filled < size.group:
            x_left = size.x_beats + (size.rt_beats if token_key[taken] >= 0 else 0)
        wants_x = w_left > 0 or x_left > 0
        pick = 0
        # Q of the band that is scored is urgent, after the K8 that is scored next; that of the band
        # after it fills gaps.
        urgent = q_at < blocks and s_turn < turns and q_at < band_block[band_of_turn[s_turn] + 1]
        if q_open and (not (k8_open and k8_at <= s_turn) if urgent else now % 8 == 0):
            pick = 4
        else:
            for turn in range(1, 4):
                one = (client + turn - 1) % 3 + 1
                if pick == 0 and ((one == 1 and k8_open) or (one == 2 and kv_left)
                                  or (one == 3 and wants_x)):
                    pick = one
            if pick:
                client = pick
            elif q_open:
                pick = 4
        if pick:
            busy[READ] += 1
            moved = True
        if pick == 4:
            q_left -= 1
            if q_left == 0:
                q_ready[q_at] = now + size.latency
                q_at += 1
                q_open = False
        elif pick == 1:
            k8_left -= 1
            if k8_left == 0:
                k8_ready[k8_at] = now + size.latency
                k8_at += 1
                k8_open = False
        elif pick == 2:
            kv_left -= 1
            if kv_left == 0:
                key_ready[kv_at] = now + size.latency
                kv_at += 1
        elif pick == 3:
            if w_left:
                w_left -= 1
                if w_left == 0:
                    w_ready = now + size.latency
            else:
                x_left -= 1
                if x_left == 0:
                    taken += 1
                    ready_at = now + size.latency
        now += 1
        if moved:
            moved_at = now
        elif now - moved_at > patience:
            return -1
    return now + (0 if size.h else size.write_latency)
