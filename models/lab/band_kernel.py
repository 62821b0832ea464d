# SPDX-License-Identifier: Apache-2.0
"""The compiled loop of models.lab.bands, one pass a cycle; it needs numba, an optional extra."""

from __future__ import annotations

import numba
import numpy as np


@numba.njit(cache=True, nogil=True)
def simulate(
    band_turn, band_block, turn_slots, turn_key, turn_selects, block_rows, want, beats, k8_beats,
    score_cycles, latency, write_latency, sads_latency, k8_bufs, mask_tiles, landing, fifo, places,
    o_places, flush_cost, least, dense, busy,
):
    """Cycles of a job.

    band_turn, band_block, turn_key int64 [.. + 1]: first turn and block of each band, first key
    of each turn; turn_slots, turn_selects [turns]; block_rows [blocks]; want int64 [keys, units],
    rows of each unit that want a key in order of issue. beats: of a 16-bit vector; k8_beats: of an
    8-bit one; score_cycles [turns]: DLZS for one block; places, o_places: blocks in the Q and O
    stores; busy int64 [6] is written: dlzs, units (sum over units), read bus, write bus, cycles of
    units without a key, cycles in which the oldest key of the landing buffer waits for a unit.
    """
    bands, turns, keys, units = len(band_turn) - 1, len(turn_slots), len(want), want.shape[1]
    blocks = len(block_rows)
    band_of_turn = np.empty(turns, np.int64)
    for b in range(bands):
        band_of_turn[band_turn[b] : band_turn[b + 1]] = b
    far = 1 << 60
    q_ready = np.full(blocks, far)
    k8_ready = np.full(turns, far)
    mask_ready = np.full(turns, far)
    key_ready = np.full(keys, far)
    # Read bus: next item of each client, beats of it that are left.
    q_at, q_left, q_open = 0, 0, False
    k8_at, k8_left, k8_open, k8_used = 0, 0, False, 0
    kv_at, kv_left = 0, 0
    turn = 0
    # DLZS: turn, block of its band, cycles left.
    s_turn, s_block, s_left, masks = 0, 0, 0, 0
    r_turn, r_key = 0, 0
    sent, send_left = 0, 0
    free_places, o_free, o_band = places, o_places, -1
    queue = np.zeros((units, fifo), np.int64)  # keys
    head = np.zeros(units, np.int64)
    used = np.zeros(units, np.int64)
    left = np.zeros(units, np.int64)
    debt = np.zeros(units)
    pending = np.zeros(bands, np.int64)  # rows-with-key pairs of units that are not done
    band_of_key = np.empty(keys, np.int64)
    for t in range(turns):
        band_of_key[turn_key[t] : turn_key[t + 1]] = band_of_turn[t]
    for i in range(keys):
        for u in range(units):
            if want[i, u]:
                pending[band_of_key[i]] += 1
    f_band, f_block, f_left = 0, 0, -1
    # More than any order of the work can take.
    limit = (10 + turns + blocks + keys) * (1000 + latency + want.sum() * beats)
    now = 0
    while f_band < bands:
        # Flush: a band whose keys are all done; a beat a cycle, its work shared by all units.
        if f_left < 0 and pending[f_band] == 0 and r_turn >= band_turn[f_band + 1]:
            f_block = band_block[f_band]
            free_places += band_block[f_band + 1] - f_block
            f_left = block_rows[f_block] * beats
        if f_left > 0:
            f_left -= 1
            busy[3] += 1
            for u in range(units):
                debt[u] += flush_cost / units
        if f_left == 0:
            o_free += 1
            f_block += 1
            if f_block == band_block[f_band + 1]:
                f_band += 1
                f_left = -1
            else:
                f_left = block_rows[f_block] * beats
        # Units: one beat of a pair a cycle.
        for u in range(units):
            if debt[u] >= 1:
                debt[u] -= 1
                busy[1] += 1
                continue
            if left[u] == 0 and used[u]:
                left[u] = max(want[queue[u, head[u]], u] * beats, least)
            if left[u]:
                left[u] -= 1
                busy[1] += 1
                if left[u] == 0:
                    pending[band_of_key[queue[u, head[u]]]] -= 1
                    head[u] = (head[u] + 1) % fifo
                    used[u] -= 1
            else:
                busy[4] += 1
        # Landing buffer: its oldest key leaves when every unit that wants it has room.
        if send_left:
            send_left -= 1
        if send_left == 0 and sent < r_key and key_ready[sent] <= now:
            room = True
            for u in range(units):
                if want[sent, u] and used[u] == fifo:
                    room = False
            if room:
                for u in range(units):
                    if want[sent, u]:
                        queue[u, (head[u] + used[u]) % fifo] = sent
                        used[u] += 1
                sent += 1
                send_left = beats
            else:
                busy[5] += 1
        # RASS: a key a cycle into a free place of the landing buffer.
        if r_turn < turns:
            if not turn_selects[r_turn]:
                r_turn += 1
            elif mask_ready[r_turn] <= now:
                # The first key of a band needs places for all of its O.
                b = band_of_turn[r_turn]
                if o_band < b and o_free >= band_block[b + 1] - band_block[b]:
                    o_free -= band_block[b + 1] - band_block[b]
                    o_band = b
                if o_band == b and r_key < turn_key[r_turn + 1]:
                    if r_key - sent < landing:
                        r_key += 1
                elif o_band == b:
                    masks -= band_block[b + 1] - band_block[b]
                    r_turn += 1
        # DLZS and SADS: a tile, block after block.
        if s_left:
            s_left -= 1
            busy[0] += 1
            if s_left == 0:
                s_block += 1
        if s_left == 0 and s_turn < turns:
            b = band_of_turn[s_turn]
            size = band_block[b + 1] - band_block[b]
            if s_block == size:
                mask_ready[s_turn] = now + sads_latency
                if not dense:
                    k8_used -= 1
                s_turn, s_block = s_turn + 1, 0
            if s_turn < turns:
                b = band_of_turn[s_turn]
                block = band_block[b] + s_block
                room = not turn_selects[s_turn] or masks < mask_tiles
                if q_ready[block] <= now and (dense or k8_ready[s_turn] <= now) and room:
                    s_left = score_cycles[s_turn]
                    if turn_selects[s_turn]:
                        masks += 1
        # Read bus: one beat a cycle; Q first, then K8 and keys in turn.
        if not q_open and q_at < blocks and free_places:
            free_places -= 1
            q_open, q_left = True, block_rows[q_at] * beats
        if not dense and not k8_open and k8_at < turns and k8_used < k8_bufs:
            k8_used += 1
            k8_open, k8_left = True, turn_slots[k8_at] * k8_beats
        if kv_left == 0 and kv_at < r_key:
            kv_left = 2 * beats
        client = -1
        if q_open and not (k8_open and now % 4):
            client = 0
        elif k8_open and (kv_left == 0 or turn == 0):
            client = 1
        elif kv_left:
            client = 2
        elif q_open:
            client = 0
        if client >= 0:
            busy[2] += 1
        if client == 0:
            q_left -= 1
            if q_left == 0:
                q_ready[q_at] = now + latency
                q_at += 1
                q_open = False
        elif client == 1:
            k8_left -= 1
            turn = 1
            if k8_left == 0:
                k8_ready[k8_at] = now + latency
                k8_at += 1
                k8_open = False
        elif client == 2:
            kv_left -= 1
            turn = 0
            if kv_left == 0:
                key_ready[kv_at] = now + latency
                kv_at += 1
        now += 1
        if now > limit:
            return -1
    return now + write_latency
