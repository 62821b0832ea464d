# SPDX-License-Identifier: Apache-2.0
"""Compiled loops of models.fast and models.first.fast; they need numba, an optional extra.

Arrays and formats as in models.dlzs, sads, rass and sufa. Shapes: R rows of a head, N keys, T
tiles of all blocks of a head one after the other, B slots of the largest tile. The callers check
the arguments. All stands in one file: numba compiles a function anew when its own file changes, not
when that of one it calls does.
"""

from __future__ import annotations

import numba
import numpy as np

UNROLL = 8
"""Terms that predict_row adds in one pass over the keys."""

_jit = numba.njit(cache=True, nogil=True)


@_jit
def _terms(codes, where, shift, flip):
    """What the cells of a row of codes int64 [d] add, zeros left out: row where[i] of x shifted
    right by shift[i], complemented if flip[i] is -1, all int64 [d+UNROLL]. Returns the terms,
    padded with the last row of x to a multiple of UNROLL."""
    d = len(codes)
    terms = 0
    for e in range(d):
        code = codes[e]
        exp = code & 15
        if exp == 0:
            continue
        row = e + d if code >> 5 & 1 else e
        where[terms], shift[terms], flip[terms] = row, 16 - exp, -(code >> 4 & 1)
        terms += 1
    while terms % UNROLL:
        where[terms], shift[terms], flip[terms] = -1, 0, 0
        terms += 1
    return terms


@_jit
def _add_terms(x, limit, where, shift, flip, first, last, part):
    """part[j] = sum of terms first .. last-1 for the keys 0 .. limit-1; a multiple of UNROLL."""
    part[:limit] = 0
    for i in range(first, last, UNROLL):
        x0, x1, x2, x3 = x[where[i]], x[where[i + 1]], x[where[i + 2]], x[where[i + 3]]
        x4, x5, x6, x7 = x[where[i + 4]], x[where[i + 5]], x[where[i + 6]], x[where[i + 7]]
        # The mask tells the compiler that 16-bit shifts are enough.
        s0, s1, s2, s3 = shift[i] & 15, shift[i + 1] & 15, shift[i + 2] & 15, shift[i + 3] & 15
        s4, s5, s6, s7 = shift[i + 4] & 15, shift[i + 5] & 15, shift[i + 6] & 15, shift[i + 7] & 15
        f0, f1, f2, f3 = flip[i], flip[i + 1], flip[i + 2], flip[i + 3]
        f4, f5, f6, f7 = flip[i + 4], flip[i + 5], flip[i + 6], flip[i + 7]
        for j in range(limit):
            part[j] += (
                ((x0[j] >> s0) ^ f0) + ((x1[j] >> s1) ^ f1)
                + ((x2[j] >> s2) ^ f2) + ((x3[j] >> s3) ^ f3)
                + ((x4[j] >> s4) ^ f4) + ((x5[j] >> s5) ^ f5)
                + ((x6[j] >> s6) ^ f6) + ((x7[j] >> s7) ^ f7)
            )


@_jit
def predict_row(codes, x, limit, chunk, where, shift, flip, part, out):
    """Predicted scores of a row of codes for the keys 0 .. limit-1 into out int32 [N].

    x: see fast.linear_keys; part like a row of it: work space; chunk: terms, a multiple of UNROLL,
    whose sum fits the width of x."""
    terms = _terms(codes, where, shift, flip)
    out[:limit] = 0
    for first in range(0, terms, chunk):
        _add_terms(x, limit, where, shift, flip, first, min(first + chunk, terms), part)
        for j in range(limit):
            out[j] += part[j]


@_jit
def _seen(k0, step, n, limit):
    """Slots of a tile that a row may use, the first ones: slot b is key k0 + b*step, 0 <= b < n,
    and the row sees the keys below limit."""
    return 0 if limit <= k0 else min(n, (limit - k0 + step - 1) // step)


@_jit
def _select_row(score, k0, step, n, limit, top, quota, radius, best, slots, hidden=0):
    """models.sads.select_tile of one row: slots[0..count-1], best first; returns (count, new
    maximum). Tile and limit as in _seen, less its first ``hidden`` slots; top: maximum of the tiles
    before."""
    visible = _seen(k0, step, n, limit)
    for b in range(hidden, visible):
        top = max(top, score[k0 + b * step])
    least = top - radius
    count = 0
    for b in range(hidden, visible):
        s = score[k0 + b * step]
        if s < least:
            continue
        if count == quota:
            # Equal scores: the lower slot, which is there already, stays.
            if s <= best[quota - 1]:
                continue
            i = quota - 1
        else:
            i = count
            count += 1
        while i > 0 and best[i - 1] < s:
            best[i], slots[i] = best[i - 1], slots[i - 1]
            i -= 1
        best[i], slots[i] = s, b
    return count, top


@_jit
def _schedule(slots, counts, rows, n, capacity, level_shift, need, phase_of, loaded, sizes):
    """RASS of one tile, models.rass.schedule: phase_of int64 [B] by slot, loaded int16 [B] slots
    in the order of loading, sizes int32 [phases]; returns the number of phases."""
    total = np.zeros(n, np.int64)
    need[:rows, :n] = 0
    for r in range(rows):
        for p in range(counts[r]):
            need[r, slots[r, p]] = 1
            total[slots[r, p]] += 1
    order = np.argsort(-(total >> level_shift), kind="mergesort")
    waiting = np.empty(n, np.int64)
    left = 0
    for b in order:
        if total[b] > 0:
            waiting[left] = b
            left += 1
    phases, position = 0, 0
    count = np.empty(rows, np.int64)
    while left:
        more = (left + capacity - 1) // capacity
        most = 0
        for r in range(rows):
            here = 0
            for i in range(left):
                here += need[r, waiting[i]]
            most = max(most, here)
        cap = (most + more - 1) // more
        cap += cap & 1
        count[:] = 0
        taken, rejected, kept = 0, 0, 0
        for i in range(left):
            b = waiting[i]
            barred = False
            if taken < capacity and rejected < (more - 1) * capacity:
                for r in range(rows):
                    if need[r, b] and count[r] >= cap:
                        barred = True
                        break
            if taken == capacity or barred:
                # Beyond a full phase no key is looked at any more, so the count may run on.
                rejected += 1
                waiting[kept] = b
                kept += 1
                continue
            for r in range(rows):
                count[r] += need[r, b]
            phase_of[b] = phases
            loaded[position] = b
            position += 1
            taken += 1
        sizes[phases] = taken
        phases += 1
        left = kept
    return max(phases, 1)


@_jit
def _log2_score(q, k, multiplier, shift, drop, top):
    """Score of a key in log2 units, -top .. top-1; q, k int16 [d]."""
    s = 0
    for e in range(len(q)):
        s += np.int64(np.int32(q[e]) * np.int32(k[e]))
    return min(max(((s >> drop) * multiplier) >> shift, -top), top - 1)


@_jit
def _weight(diff, guard, z_frac, mantissa):
    """2**diff for diff = z - m with z_frac fraction bits: models.sufa.weight."""
    mant = mantissa[diff & ((1 << z_frac) - 1)]
    right = guard - 1 - (diff >> z_frac)
    if right == 0:
        return mant
    return (mant + (1 << (right - 1))) >> right if right < 17 else 0


@_jit
def _reference(first, e, m, guard, l, o):
    """The reference of a row after a step whose largest score has exponent e, with l and o int64
    [d] scaled to it, o in place: returns (m, l, references raised); models.sufa.reference."""
    if first:
        return e, l, 0
    if e <= m + guard:
        return m, l, 0
    rise = min(e - m, 63)
    for i in range(len(o)):
        o[i] >>= rise
    return e, l >> rise, 1


@_jit
def _formal_row(q, k, v, pairs, length, multiplier, shift, drop, guard, z_frac, half, mantissa, o):
    """SU-FA of one row: pairs int64 [length], keys two by two, the second of a pair -1 for none. o
    int64 [d] is added to from 0; returns (l, references raised)."""
    d = len(q)
    top = 1 << (15 + z_frac)
    rounding = (1 << half) >> 1
    m, l, updates = 0, 0, 0
    o[:] = 0
    for i in range(0, length, 2):
        # An absent key has weight 0 and may be any vector.
        one, other = pairs[i], max(pairs[i + 1], 0)
        z = _log2_score(q, k[one], multiplier, shift, drop, top)
        z_other = -top
        if pairs[i + 1] >= 0:
            z_other = _log2_score(q, k[other], multiplier, shift, drop, top)
        m, l, raised = _reference(i == 0, (max(z, z_other) >> z_frac) + 1, m, guard, l, o)
        updates += raised
        a, b = _weight(z - (m << z_frac), guard, z_frac, mantissa), 0
        if pairs[i + 1] >= 0:
            b = _weight(z_other - (m << z_frac), guard, z_frac, mantissa)
        l += a + b
        va, vb = v[one], v[other]
        for e in range(d):
            o[e] += (a * va[e] + b * vb[e] + rounding) >> half
    return l, updates


@_jit
def head(q, k, v, codes, x, chunk, limits, block_rows, block_tiles, tile_k0, tile_step, tile_n,
         dense, quota, radius, capacity, level_shift, multiplier, shift, drop, guard, z_frac, half,
         mantissa, o, l, selected, updates, pairs, union, phases, nsteps, loaded, sizes):
    """A head: scores, lists, phases and the formal path, block by block.

    q int16 [R, d], k and v int16 [N, d]; codes int64 [R, d] and x as in predict_row (unused when
    dense); limits int64 [R]: keys that a row may see; block_rows, block_tiles int64 [blocks+1]:
    first row and first tile of each block; tile_* int64 [T]; capacity: key slots of a buffer, 0
    for one phase a tile with the lists as they are.

    Written: o int64 [R, d], l int64 [R], selected bool [R, N], updates int64 [blocks]; pairs
    int64 [blocks, 2]: (pairs used, pair steps that rows used); union, phases int64 [T]; nsteps,
    sizes int32 [T, phases] (sizes: keys loaded); loaded int16 [T, B], slots in order of loading.
    """
    d, width = q.shape[1], loaded.shape[1]
    where = np.empty(d + UNROLL, np.int64)
    term_shift, flip = np.empty_like(where), np.empty_like(where)
    part = np.empty_like(x[0])
    score = np.empty(len(k), np.int32)
    most_tiles, most_rows = 0, 0
    for i in range(len(block_rows) - 1):
        most_tiles = max(most_tiles, block_tiles[i + 1] - block_tiles[i])
        most_rows = max(most_rows, block_rows[i + 1] - block_rows[i])
    longest = width if dense else min(quota, width)
    slots = np.empty((most_tiles, most_rows, longest), np.int16)
    counts = np.empty((most_tiles, most_rows), np.int32)
    best = np.empty(longest, np.int32)
    need = np.empty((most_rows, width), np.int8)
    phase_of = np.zeros((most_tiles, width), np.int64)
    order = np.empty(most_tiles * (width + nsteps.shape[1]) + 2, np.int64)
    for i in range(len(block_rows) - 1):
        row, rows = block_rows[i], block_rows[i + 1] - block_rows[i]
        first, tiles = block_tiles[i], block_tiles[i + 1] - block_tiles[i]
        for r in range(rows):
            limit = limits[row + r]
            if not dense:
                predict_row(codes=codes[row + r], x=x, limit=limit, chunk=chunk, where=where,
                            shift=term_shift, flip=flip, part=part, out=score)
            top = -(1 << 62)
            for t in range(tiles):
                k0, step, n = tile_k0[first + t], tile_step[first + t], tile_n[first + t]
                if dense:
                    count = _seen(k0, step, n, limit)
                    for b in range(count):
                        slots[t, r, b] = b
                else:
                    count, top = _select_row(score=score, k0=k0, step=step, n=n, limit=limit,
                                             top=top, quota=quota, radius=radius, best=best,
                                             slots=slots[t, r])
                counts[t, r] = count
                for p in range(count):
                    selected[row + r, k0 + slots[t, r, p] * step] = True
        for t in range(tiles):
            n = tile_n[first + t]
            if capacity:
                phases[first + t] = _schedule(
                    slots=slots[t], counts=counts[t], rows=rows, n=n, capacity=capacity,
                    level_shift=level_shift, need=need, phase_of=phase_of[t],
                    loaded=loaded[first + t], sizes=sizes[first + t])
                union[first + t] = sizes[first + t].sum()
                continue
            hit = need[0]
            hit[:] = 0
            for r in range(rows):
                for p in range(counts[t, r]):
                    hit[slots[t, r, p]] = 1
            found = 0
            for b in range(n):
                if hit[b]:
                    loaded[first + t, found] = b
                    found += 1
            union[first + t], phases[first + t], sizes[first + t, 0] = found, 1, found
        for r in range(rows):
            length = 0
            for t in range(tiles):
                k0, step = tile_k0[first + t], tile_step[first + t]
                for phase in range(phases[first + t]):
                    start = length
                    for p in range(counts[t, r]):
                        b = slots[t, r, p]
                        if capacity == 0 or phase_of[t, b] == phase:
                            order[length] = k0 + b * step
                            length += 1
                    pairs[i, 0] += length - start
                    if (length - start) & 1:
                        order[length] = -1
                        length += 1
                    steps = (length - start) // 2
                    pairs[i, 1] += steps
                    nsteps[first + t, phase] = max(nsteps[first + t, phase], steps)
            l[row + r], new = _formal_row(q=q[row + r], k=k, v=v, pairs=order, length=length,
                                          multiplier=multiplier, shift=shift, drop=drop,
                                          guard=guard, z_frac=z_frac, half=half, mantissa=mantissa,
                                          o=o[row + r])
            updates[i] += new


# ---- models.sads and sufa, row by row --------------------------------


@_jit
def _lead(x):
    """Place of the leading one of an integer from 1 on."""
    place = 0
    while x >> (place + 1):
        place += 1
    return place


@_jit
def _share(below, sum_frac):
    """models.sads.weights of a key so many octaves below the peak."""
    return (1 << sum_frac) >> below if below <= sum_frac else 0


@_jit
def _hidden(k0, step, low, sinks):
    """Slots of a tile, the first ones, that lie before a row's window; none of those of sinks."""
    return 0 if k0 < sinks or k0 >= low else -(-(low - k0) // step)


@_jit
def _count(level, hidden, seen, least, lower, peak, total, kept, tail, some, sum_frac):
    """Add one row's part of a tile, level int64 [seen] from ``hidden`` on, word by word of 4; keys
    at or above ``least`` are kept, those below it at or above ``lower`` coarse. Returns (peak,
    total, kept, tail, some): tail: their sum, some: a key has been counted."""
    for word in range(hidden // 4 * 4, seen, 4):
        first, last = max(word, hidden), min(word + 4, seen)
        risen = peak if some else level[first]
        for b in range(first, last):
            risen = max(risen, level[b])
        if some and risen > peak:
            shift = min(risen - peak, 63)
            total >>= shift
            kept >>= shift
            tail >>= shift
        peak, some = risen, True
        for b in range(first, last):
            weight = _share(peak - level[b], sum_frac)
            total += weight
            if level[b] >= least:
                kept += weight
            elif level[b] >= lower:
                tail += weight
    return peak, total, kept, tail, some


@_jit
def _least(peak, total, ratio, tau, sum_frac, log_frac, ratio_frac):
    """models.sads.limit of a row that has seen a key."""
    one = 1 << sum_frac
    x = ((total - one) * ratio >> ratio_frac) + one
    lead = _lead(x)
    log = (lead << log_frac) + (((x << log_frac) >> lead) & ((1 << log_frac) - 1))
    lim = log + tau - (sum_frac << log_frac)
    return min(peak - (-lim >> log_frac), peak)


@_jit
def _take(level, hidden, seen, least, k0, step, used, order, length):
    """Append the keys of a tile that reach ``least``; returns the new length."""
    for b in range(hidden, seen):
        if level[b] >= least:
            key = k0 + b * step
            used[key] = True
            order[length] = key
            length += 1
    return length


@_jit
def _coarse_tile(level, hidden, seen, least, lower, peak, w, reference, k0, step, cv_frac, v,
                 coarse, cv):
    """models.sufa.coarse of one row and tile: the keys at or above ``lower`` and below
    ``least``, v int16 [N, d] cut; adds to cv int64 [d] and marks coarse bool [N]. w, reference:
    sum of weights and the peak to which both are relative. Returns (w, reference, shifted)."""
    shifted, some = 0, False
    for b in range(hidden, seen):
        if level[b] >= least or level[b] < lower:
            continue
        if not some:
            some = True
            shift = min(peak - reference, 63)
            if w and shift:
                shifted = 1
                w >>= shift
                for e in range(len(cv)):
                    cv[e] >>= shift
            reference = peak
        key = k0 + b * step
        coarse[key] = True
        left = cv_frac - (peak - level[b])
        w += 1 << left
        vv = v[key]
        for e in range(len(cv)):
            cv[e] += np.int64(vv[e]) << left
    return w, reference, shifted


@_jit
def _sum_row(score, limit, low, sinks, tile_k0, tile_step, tile_n, octave, top, tau, everything,
             sum_frac, log_frac, ratio_frac, level, used, order, has_tail, coarse_tau, cv_frac, v,
             coarse, cv):
    """Selection by the row's sum over the tiles of its band: used bool [N], order int64: keys in
    order of issue; levels are -top .. top-1; with has_tail the coarse keys, too, see _coarse_tile.
    Returns (keys, P, T, C, w, coarse sums shifted)."""
    every = -(1 << 41)
    tiles = len(tile_k0)
    peak, total, kept, tail, some = 0, 0, 0, 0, False
    w, reference, rises = 0, 0, 0
    length = 0
    for turn in range(tiles + 1):
        t = turn % tiles
        k0, step = tile_k0[t], tile_step[t]
        hidden, seen = _hidden(k0, step, low, sinks), _seen(k0, step, tile_n[t], limit)
        for b in range(hidden, seen):
            level[b] = max(-top, min(top - 1, score[k0 + b * step] >> octave))
        if turn == 0:
            peak, total, kept, tail, some = _count(
                level=level, hidden=hidden, seen=seen, least=1 << 41, lower=1 << 41, peak=peak,
                total=total, kept=kept, tail=tail, some=some, sum_frac=sum_frac)
            continue
        last = turn == tiles
        ratio = 1 << ratio_frac if last else (tiles << ratio_frac) // turn
        least = every
        if some and not everything:
            least = _least(peak, total, ratio, tau, sum_frac, log_frac, ratio_frac)
        length = _take(level=level, hidden=hidden, seen=seen, least=least, k0=k0, step=step,
                       used=used, order=order, length=length)
        lower = least
        if has_tail and some and not everything:
            lower = max(_least(peak, total, ratio, coarse_tau, sum_frac, log_frac, ratio_frac),
                        peak - cv_frac)
            w, reference, shifted = _coarse_tile(
                level=level, hidden=hidden, seen=seen, least=least, lower=lower, peak=peak, w=w,
                reference=reference, k0=k0, step=step, cv_frac=cv_frac, v=v, coarse=coarse, cv=cv)
            rises += shifted
        if last:
            for b in range(hidden, seen):
                if level[b] >= least:
                    kept += _share(peak - level[b], sum_frac)
                elif level[b] >= lower:
                    tail += _share(peak - level[b], sum_frac)
        else:
            peak, total, kept, tail, some = _count(
                level=level, hidden=hidden, seen=seen, least=least, lower=lower, peak=peak,
                total=total, kept=kept, tail=tail, some=some, sum_frac=sum_frac)
    return length, total, kept, tail, w, rises


@_jit
def _sort_row(score, limit, low, sinks, tile_k0, tile_step, tile_n, quota, radius, best, slots,
              used, order):
    """Quota and radius over the tiles of a row's band, as _sum_row. Returns the keys."""
    top = -(1 << 62)
    length = 0
    for t in range(len(tile_k0)):
        k0, step = tile_k0[t], tile_step[t]
        count, top = _select_row(score=score, k0=k0, step=step, n=tile_n[t], limit=limit, top=top,
                                 quota=quota, radius=radius, best=best, slots=slots,
                                 hidden=_hidden(k0, step, low, sinks))
        for p in range(count):
            used[k0 + slots[p] * step] = True
        for b in range(tile_n[t]):
            if used[k0 + b * step]:
                order[length] = k0 + b * step
                length += 1
    return length


@_jit
def _keys_row(q, k, v, order, length, multiplier, shift, drop, guard, z_frac, half, mantissa, o):
    """SU-FA of one row over the keys order[:length]; o int64 [d] is added to from 0. Returns
    (l, references raised)."""
    d = len(q)
    top = 1 << (15 + z_frac)
    rounding = (1 << half) >> 1
    m, l, updates = 0, 0, 0
    o[:] = 0
    for i in range(length):
        vv = v[order[i]]
        z = _log2_score(q, k[order[i]], multiplier, shift, drop, top)
        m, l, raised = _reference(i == 0, (z >> z_frac) + 1, m, guard, l, o)
        updates += raised
        p = _weight(z - (m << z_frac), guard, z_frac, mantissa)
        if p == 0:
            continue
        l += p
        for e in range(d):
            o[e] += (p * vv[e] + rounding) >> half
    return l, updates


@_jit
def head_of_bands(
    q, k, v, codes, x, chunk, limits, lows, sinks, band_rows, band_tiles, tile_k0, tile_step,
    tile_n, select, octave, top, taus, everything, sum_frac, log_frac, ratio_frac, quota, radius,
    multiplier, shift, drop, guard, z_frac, half, mantissa, o, l, total, kept, selected, has_tail,
    coarse_taus, cv_frac, v_cut, tail, w, cv, coarse,
):
    """A head, row by row; returns (references raised, coarse sums shifted).

    q int16 [R, d], k and v int16 [N, d]; codes int64 [R, d] and x as in predict_row (unused when
    dense); limits, lows int64 [R]: a row sees the keys lows .. limits-1 and, before
    them, those below sinks; band_rows, band_tiles int64 [bands+1]: first row and first tile of
    each band; tile_* int64 [T]; select: models.head; taus, coarse_taus int64 [R], everything bool
    [R]; has_tail: there are coarse keys, v_cut int16 [N, d] their V.

    Written: o int64 [R, d], l, total, kept, tail, w int64 [R], selected bool [R, N], and from 0 and
    False on cv int64 [R, d], coarse bool [R, N].
    """
    d, keys = q.shape[1], len(k)
    where = np.empty(d + UNROLL, np.int64)
    term_shift, flip = np.empty_like(where), np.empty_like(where)
    part = np.empty_like(x[0])
    score = np.empty(keys, np.int32)
    order = np.empty(keys, np.int64)
    most = tile_n.max()
    level = np.empty(most, np.int64)
    slots, best = np.empty(most, np.int16), np.empty(most, np.int32)
    updates = rises = 0
    for i in range(len(band_rows) - 1):
        tiles = slice(band_tiles[i], band_tiles[i + 1])
        k0, step, n = tile_k0[tiles], tile_step[tiles], tile_n[tiles]
        for r in range(band_rows[i], band_rows[i + 1]):
            limit, low, used = limits[r], lows[r], selected[r]
            total[r] = kept[r] = tail[r] = w[r] = 0
            length = 0
            if select == 2:
                for t in range(len(k0)):
                    for b in range(_hidden(k0[t], step[t], low, sinks),
                                   _seen(k0[t], step[t], n[t], limit)):
                        key = k0[t] + b * step[t]
                        used[key] = True
                        order[length] = key
                        length += 1
            else:
                predict_row(codes=codes[r], x=x, limit=limit, chunk=chunk, where=where,
                            shift=term_shift, flip=flip, part=part, out=score)
                if select == 0:
                    length, total[r], kept[r], tail[r], w[r], shifted = _sum_row(
                        score=score, limit=limit, low=low, sinks=sinks, tile_k0=k0, tile_step=step,
                        tile_n=n, octave=octave, top=top, tau=taus[r], everything=everything[r],
                        sum_frac=sum_frac, log_frac=log_frac, ratio_frac=ratio_frac, level=level,
                        used=used, order=order, has_tail=has_tail, coarse_tau=coarse_taus[r],
                        cv_frac=cv_frac, v=v_cut, coarse=coarse[r], cv=cv[r])
                    rises += shifted
                else:
                    length = _sort_row(score=score, limit=limit, low=low, sinks=sinks, tile_k0=k0,
                                       tile_step=step, tile_n=n, quota=quota, radius=radius,
                                       best=best, slots=slots, used=used, order=order)
            l[r], raised = _keys_row(q=q[r], k=k, v=v, order=order, length=length,
                                     multiplier=multiplier, shift=shift, drop=drop, guard=guard,
                                     z_frac=z_frac, half=half, mantissa=mantissa, o=o[r])
            updates += raised
    return updates, rises
