# SPDX-License-Identifier: Apache-2.0
"""Compiled loops of models.second.fast; they need numba, an optional extra.

Formats as in models.second.sads and sufa, row by row in place of step by step: every row has an
order of its own, so rows and heads need no padding. models.second.fast checks the arguments.
"""

from __future__ import annotations

import numba
import numpy as np

from models.fast_kernels import UNROLL, log2_score, predict_row, select_row, weight

_jit = numba.njit(cache=True, nogil=True)


@_jit
def _lead(x):
    """Place of the leading one of an integer from 1 on."""
    place = 0
    while x >> (place + 1):
        place += 1
    return place


@_jit
def _count(level, seen, least, peak, total, kept, some, sum_frac):
    """Add one row's part of a tile, level int64 [seen], word by word of 4; keys at or above
    ``least`` are kept. Returns (peak, total, kept, some): some: a key has been counted."""
    for first in range(0, seen, 4):
        last = min(first + 4, seen)
        risen = peak if some else level[first]
        for b in range(first, last):
            risen = max(risen, level[b])
        if some and risen > peak:
            shift = min(risen - peak, 63)
            total >>= shift
            kept >>= shift
        peak, some = risen, True
        for b in range(first, last):
            below = peak - level[b]
            if below <= sum_frac:
                weight = (1 << sum_frac) >> below
                total += weight
                if level[b] >= least:
                    kept += weight
    return peak, total, kept, some


@_jit
def _least(peak, total, ratio, tau, sum_frac, log_frac, ratio_frac):
    """models.second.sads.limit of a row that has seen a key."""
    one = 1 << sum_frac
    x = ((total - one) * ratio >> ratio_frac) + one
    lead = _lead(x)
    log = (lead << log_frac) + (((x << log_frac) >> lead) & ((1 << log_frac) - 1))
    lim = log + tau - (sum_frac << log_frac)
    return min(peak - (-lim >> log_frac), peak)


@_jit
def _take(level, seen, least, k0, step, used, order, length):
    """Append the keys of a tile that reach ``least``; returns the new length."""
    for b in range(seen):
        if level[b] >= least:
            key = k0 + b * step
            used[key] = True
            order[length] = key
            length += 1
    return length


@_jit
def _sum_row(score, limit, tile_k0, tile_step, tile_n, octave, tau, everything, sum_frac, log_frac,
             ratio_frac, level, used, order):
    """Selection by the row's sum over the tiles of its band: used bool [N], order int64: keys in
    order of issue. Returns (keys, P, T)."""
    every = -(1 << 41)
    tiles = len(tile_k0)
    peak, total, kept, some = 0, 0, 0, False
    length = 0
    for turn in range(tiles + 1):
        t = turn % tiles
        k0, step = tile_k0[t], tile_step[t]
        seen = 0 if limit <= k0 else min(tile_n[t], (limit - k0 + step - 1) // step)
        for b in range(seen):
            level[b] = score[k0 + b * step] >> octave
        if turn == 0:
            peak, total, kept, some = _count(level, seen, 1 << 41, peak, total, kept, some,
                                             sum_frac)
            continue
        last = turn == tiles
        ratio = 1 << ratio_frac if last else (tiles << ratio_frac) // turn
        least = every
        if some and not everything:
            least = _least(peak, total, ratio, tau, sum_frac, log_frac, ratio_frac)
        length = _take(level, seen, least, k0, step, used, order, length)
        if last:
            for b in range(seen):
                if level[b] >= least and peak - level[b] <= sum_frac:
                    kept += (1 << sum_frac) >> (peak - level[b])
        else:
            peak, total, kept, some = _count(level, seen, least, peak, total, kept, some, sum_frac)
    return length, total, kept


@_jit
def _sort_row(score, limit, tile_k0, tile_step, tile_n, quota, radius, best, slots, used, order):
    """Quota and radius over the tiles of a row's band, as _sum_row. Returns the keys."""
    top = -(1 << 62)
    length = 0
    for t in range(len(tile_k0)):
        k0, step = tile_k0[t], tile_step[t]
        count, top = select_row(score, k0, step, tile_n[t], limit, top, min(quota, tile_n[t]),
                                radius, best, slots)
        for p in range(count):
            used[k0 + slots[p] * step] = True
        for b in range(tile_n[t]):
            if used[k0 + b * step]:
                order[length] = k0 + b * step
                length += 1
    return length


@_jit
def _formal_row(q, k, v, order, length, multiplier, shift, drop, guard, z_frac, half, mantissa, o):
    """SU-FA of one row over the keys order[:length]; o int64 [d] is added to from 0. Returns
    (l, references raised)."""
    d = len(q)
    top = 1 << (15 + z_frac)
    rounding = (1 << half) >> 1
    m, l, updates = 0, 0, 0
    o[:] = 0
    for i in range(length):
        vv = v[order[i]]
        z = log2_score(q, k[order[i]], multiplier, shift, drop, top)
        e_new = (z >> z_frac) + 1
        if i == 0:
            m = e_new
        elif e_new > m + guard:
            rise = min(e_new - m, 63)
            m = e_new
            updates += 1
            l >>= rise
            for e in range(d):
                o[e] >>= rise
        p = weight(z - (m << z_frac), guard, z_frac, mantissa)
        if p == 0:
            continue
        l += p
        for e in range(d):
            o[e] += (p * vv[e] + rounding) >> half
    return l, updates


@_jit
def head(q, k, v, codes, x, chunk, limits, band_rows, band_tiles, tile_k0, tile_step, tile_n,
         select, octave, taus, everything, sum_frac, log_frac, ratio_frac, quota, radius,
         multiplier, shift, drop, guard, z_frac, half, mantissa, o, l, total, kept, selected):
    """A head, row by row; returns the references raised.

    q int16 [R, d], k and v int16 [N, d]; codes int64 [R, d] and x as in fast_kernels.scores
    (unused when dense); limits int64 [R]: keys that a row may see; band_rows, band_tiles int64
    [bands+1]: first row and first tile of each band; tile_* int64 [T]; select: models.second.head;
    taus int64 [R], everything bool [R].

    Written: o int64 [R, d], l, total, kept int64 [R], selected bool [R, N].
    """
    d, keys = q.shape[1], len(k)
    where = np.empty(2 * d + UNROLL, np.int64)
    term_shift, flip = np.empty_like(where), np.empty_like(where)
    part = np.empty_like(x[0])
    score = np.empty(keys, np.int32)
    order = np.empty(keys, np.int64)
    most = tile_n.max()
    level = np.empty(most, np.int64)
    slots, best = np.empty(most, np.int16), np.empty(most, np.int32)
    updates = 0
    for i in range(len(band_rows) - 1):
        tiles = slice(band_tiles[i], band_tiles[i + 1])
        k0, step, n = tile_k0[tiles], tile_step[tiles], tile_n[tiles]
        for r in range(band_rows[i], band_rows[i + 1]):
            limit, used = limits[r], selected[r]
            total[r] = kept[r] = 0
            length = 0
            if select == 2:
                for t in range(len(k0)):
                    for b in range(n[t]):
                        key = k0[t] + b * step[t]
                        if key < limit:
                            used[key] = True
                            order[length] = key
                            length += 1
            else:
                predict_row(codes[r], x, limit, chunk, where, term_shift, flip, part, score)
                if select == 0:
                    length, total[r], kept[r] = _sum_row(
                        score, limit, k0, step, n, octave, taus[r], everything[r], sum_frac,
                        log_frac, ratio_frac, level, used, order)
                else:
                    length = _sort_row(score, limit, k0, step, n, quota, radius, best, slots, used,
                                       order)
            l[r], raised = _formal_row(q[r], k, v, order, length, multiplier, shift, drop, guard,
                                       z_frac, half, mantissa, o[r])
            updates += raised
    return updates
