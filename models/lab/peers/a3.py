# SPDX-License-Identifier: Apache-2.0
"""A3: greedy candidate search in sorted columns of K (Ham et al., HPCA 2020, arXiv 2002.10941).

Rule, from the publication: every column of K [n, d] is sorted once. For a query, each column has a
pointer to its largest and one to its smallest product q_c * K[., c]. In each of M iterations
the largest product of all columns is added to the greedy score of its key and its pointer advances,
then likewise the smallest product. Candidates are the keys with a positive greedy score; their
exact scores s are computed, and those with s >= s_max + ln(T) enter softmax and output.

Assumptions (recalled or ours):
- the smallest product of an iteration is skipped while the sum of all products added so far is
  negative; an iteration adds its largest product whatever its sign;
- conservative M = n/2, T = 5 %; aggressive M = n/8, T = 10 %;
- words of 9 bits (sign, 4 integer, 4 fraction bits); the binary point was chosen for the models of
  the publication, so here Q, K and V have one symmetric scale a head and tensor, in the search
  and in the exact stage, where such words cost visible accuracy; sums and exp are exact;
- equal products: the lower column, in it the lower key, first;
- a row without a candidate takes the key of the largest greedy score.

Causal masks and grouped-query attention are not treated: here n is the number of keys that the row
sees, M = ceil(iterations * n) up to n * d, and keys that it does not see are absent from its
columns, at no cost; K is sorted once for all query heads that share it.

The search is modelled exactly without its loop over single products: the largest products come out
in descending order whatever happens to the smallest ones, so both streams are made first, for all
heads and a block of rows at once, and the rule of skipping is applied to them afterwards.

Operations: sorting, n * ceil(log2 n) comparisons a column; search, a multiplication for each new
product, a tournament over the d columns for each product taken (d - 1 comparisons at first,
ceil(log2 d) for each next), two additions (greedy score, running sum); selection, a comparison
a visible key and one a candidate; exact scores of all candidates, the rest for the kept ones.

DRAM: K, V and the sorted columns (a word and a 2-byte key number each) of a head are read once into
memories on chip (the publication's hold n = 320; here any n fits), Q and O once; the sorted columns
are written once. Words take whole bytes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ..methods.counts import Counts
from ..methods.method import Attended, Call, Method, count_pairs, softmax_over
from .arith import at_least_best, element_bytes, narrowed, transposed
from .parts import symmetric

BLOCK_ROWS = 256
"""Rows that the model searches together; the arrays of a block fit the caches."""


def sorted_columns(k: np.ndarray) -> np.ndarray:
    """Key numbers int32 [2, Hkv, d, n]: of each column of k [Hkv, n, d], largest first and
    smallest first; equal values: the lower key first."""
    columns = transposed(k)
    return np.stack([np.argsort(sign * columns, axis=-1, kind="stable") for sign in (-1, 1)]
                    ).astype(np.int32)


def largest_products(q, k, order, steps, last):
    """The largest products of each row in descending order: (value, key), each [T, H*R].

    q int64 [H, R, d]; k int64 [Hkv, n, d]; order int32 [2, Hkv, d, n] as in sorted_columns;
    steps int64 [R]: how many; last int64 [R]: keys above it do not exist for the row.
    T = max(steps); entries past a row's steps have no meaning.
    """
    heads, rows, d = q.shape
    kv_heads, n, _ = k.shape
    # A state word is a product over the number of its column, so that one maximum gives both.
    shift = max(1, (d - 1).bit_length())
    peak = int(np.abs(q).max(initial=0)) * int(np.abs(k).max(initial=0))
    word = np.int32 if peak << shift < 1 << 30 else np.int64
    lowest = np.iinfo(word).min
    mask = (1 << shift) - 1
    # Every column ends with a key n that no row has.
    key = np.full((2, kv_heads, d, n + 1), n, np.int32)
    key[..., :n] = order
    value = np.zeros(key.shape, word)
    value[..., :n] = np.take_along_axis(transposed(k)[None], order, axis=-1)
    key, value = key.ravel(), value.ravel()

    q = np.ascontiguousarray(q.reshape(-1, d).T.astype(word))
    lanes = q.shape[1]
    lane = np.arange(lanes)
    kv_head = lane // rows // (heads // kv_heads)
    column = np.arange(d)[:, None]
    pointer = ((((q < 0) * kv_heads + kv_head) * d + column) * (n + 1)).ravel()
    q = q.ravel()
    low = (d - 1 - column).astype(word)
    state = ((q * value[pointer]).reshape(d, lanes) << shift) + low
    flat = state.ravel()
    steps, last = np.tile(steps, heads), np.tile(last, heads)
    most = int(steps.max())
    values = np.zeros((most + 1, lanes), word)
    keys = np.zeros((most + 1, lanes), np.int32)
    count = np.zeros(lanes, np.int64)
    turn = 0
    while turn % 8 or (count < steps).any():
        turn += 1
        top = state.max(axis=0)
        tail = top & mask
        at = (d - 1 - tail) * lanes + lane
        here = pointer[at]
        found = key[here]
        place = count * lanes + lane
        values.ravel()[place] = top >> shift
        keys.ravel()[place] = found
        count += found <= last
        np.minimum(count, most, out=count)
        # A row with nothing left stays at the end of a column.
        here += found < n
        pointer[at] = here
        flat[at] = np.where(key[here] < n, ((value[here] * q[at]) << shift) + tail, lowest)
    return values[:most], keys[:most]


def smallest_used(large: np.ndarray, small: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """How many of its smallest products each row adds, int64 [N]: large, small [T, N] in the order
    in which they are taken, steps [N]."""
    total = np.zeros(len(steps), np.int64)
    used = np.zeros(len(steps), np.int64)
    lane = np.arange(len(steps))
    for t in range(len(large)):
        live = t < steps
        total += np.where(live, large[t], 0)
        take = live & (total >= 0)
        total += np.where(take, small[used, lane], 0)
        used += take
    return used


def row_blocks(rows: int, keys: int, causal: bool) -> Iterator[tuple[int, int, int]]:
    """(first row, end, keys that some row of it sees). Causal blocks at most double the number of
    keys, so that a row meets few that it does not see."""
    start = 0
    while start < rows:
        size = BLOCK_ROWS
        if causal:
            size = min(size, max(8, keys - rows + start))
        end = min(start + size, rows)
        yield start, end, keys - rows + end if causal else keys
        start = end


@dataclass(frozen=True)
class A3(Method):
    """iterations: M as a share of the visible keys; threshold: T, 0 (all candidates) to 1;
    bits: of a word, 2 to 16."""

    iterations: float = 0.5
    threshold: float = 0.05
    bits: int = 9

    name = "a3"

    def __post_init__(self):
        if not self.iterations > 0:
            raise ValueError(f"iterations = {self.iterations}, legal: above 0")
        if not 0 <= self.threshold <= 1:
            raise ValueError(f"threshold = {self.threshold}, legal: 0 to 1")
        if not 2 <= self.bits <= 16:
            raise ValueError(f"bits = {self.bits}, legal: 2 to 16")

    def search(self, call: Call) -> tuple[np.ndarray, np.ndarray]:
        """(greedy scores float64 [Hq, R, S], in units of the codes' products, 0 where masked;
        products taken int64 [Hq, R])."""
        q, k = (symmetric(x, self.bits, (1, 2))[0].astype(np.int64) for x in (call.q, call.k))
        heads, rows, d = q.shape
        kv_heads, keys, _ = k.shape
        visible = call.mask().sum(axis=1)
        steps = np.minimum(np.ceil(self.iterations * visible).astype(np.int64), visible * d)
        order = sorted_columns(k)
        greedy = np.zeros((heads, rows, keys))
        taken = np.zeros((heads, rows), np.int64)
        for start, end, n in row_blocks(rows, keys, call.causal):
            block = q[:, start:end]
            part = order[order < n].reshape(2, kv_heads, d, n)
            own = steps[start:end], visible[start:end] - 1
            large, large_keys = largest_products(block, k[:, :n], part, *own)
            small, small_keys = largest_products(-block, k[:, :n], part, *own)
            limit = np.tile(own[0], heads)
            used = smallest_used(large, -small, limit)
            lane = np.arange(len(limit))
            turns = np.arange(len(large))[:, None]
            score = np.zeros(len(limit) * n)
            for sign, value, key, number in ((1, large, large_keys, limit),
                                             (-1, small, small_keys, used)):
                live = turns < number
                score += np.bincount((lane * n + key)[live], sign * value[live], len(score))
            greedy[:, start:end, :n] = score.reshape(heads, end - start, n)
            taken[:, start:end] = (limit + used).reshape(heads, -1)
        return greedy, taken

    def attend(self, call: Call) -> Attended:
        greedy, taken = self.search(call)
        mask = call.mask()
        candidates = at_least_best((greedy > 0) & mask, greedy, mask)
        low = narrowed(call, self.bits)
        logits = low.logits()
        top = np.where(candidates, logits, -np.inf).max(axis=-1, keepdims=True)
        margin = np.float32(math.log(self.threshold)) if self.threshold else -np.inf
        selected = candidates & (logits >= top + margin)
        out = softmax_over(logits, selected, low.shared(low.v))
        return Attended(out, selected, self.count(call, candidates, selected, int(taken.sum())))

    def count(self, call: Call, candidates: np.ndarray, selected: np.ndarray, taken: int) -> Counts:
        """Operations and bytes, see the head of this file; taken: products of the search."""
        counts, d, bits = Counts(), call.d, self.bits
        heads, rows, keys = selected.shape
        columns = len(call.k) * d
        counts.add("predict", f"cmp{bits}", columns * keys * math.ceil(math.log2(max(keys, 2))))
        counts.add("predict", f"mul{bits}x{bits}", taken + 2 * d * heads * rows)
        counts.add("predict", f"cmp{2 * bits}",
                   taken * math.ceil(math.log2(d)) + 2 * (d - 1) * heads * rows)
        counts.add("predict", f"add{2 * bits}", 2 * taken)
        found = int(candidates.sum())
        counts.add("select", f"cmp{2 * bits}", int(call.mask().sum()) * heads + found)
        count_pairs(counts, call, selected, bits)
        rejected = found - int(selected.sum())
        counts.add("compute", f"mul{bits}x{bits}", rejected * d)
        counts.add("compute", f"add{2 * bits}", rejected * d)
        counts.add("compute", f"cmp{bits}", rejected)
        size = element_bytes(bits)
        for stream, vectors in (("q", call.q), ("k", call.k), ("v", call.v), ("o", call.q)):
            counts.move(stream, vectors.size * size)
        for stream in ("sorted written", "sorted read"):
            counts.move(stream, call.k.size * (size + 2))
        return counts

    @classmethod
    def sweep(cls) -> list[Method]:
        return [cls(m, t) for m, t in (
            (2, 0.001), (1, 0.005), (0.5, 0.01), (0.5, 0.05), (0.25, 0.07), (0.125, 0.1),
            (0.0625, 0.15), (0.03125, 0.2))]
