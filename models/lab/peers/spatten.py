# SPDX-License-Identifier: Apache-2.0
"""SpAtten (H. Wang, Z. Zhang, S. Han, HPCA 2021; public code mit-han-lab/spatten).

Per layer, over the tokens and heads that are still there:
- scores of the upper bits of K (``msb``); a row whose largest probability is below ``refetch``
  fetches the lower bits (``lsb``) too and is computed again;
- local value pruning: of each row only the floor(value_keep * keys) largest probabilities meet
  their V; the probabilities are not normalised again;
- the importance of a token grows by its probabilities, over heads, rows and layers; that of a
  head by the sum of |O|.
Before the next layer a quick-select keeps floor(share * tokens) of the most important tokens and
floor(share * heads) of the heads. Who is gone stays gone (cascade); O of a head that is gone is 0.

The defaults are those of the public trace of GPT-2 medium on WikiText-2: keys 8 + 4 bits, V of 8
bits, 0.3 of the values, at last 0.3 of the tokens and 10 of 16 heads. The publication fine-tunes.

Causal: the publication prunes a sequence once for all its rows (BERT) or anew for each token
that is generated (GPT-2). Here a pass prunes once for all rows, as in BERT; importance sums over
rows, so early keys, seen by more rows, gather more of it, and later rows have a say in what
earlier rows see. Queries of pruned tokens are computed all the same, so that every next-token
loss is defined, and a row always sees its own key, whose K and V are new. Grouped-query
attention: tokens are pruned in all heads alike, query heads one by one; a KV head goes when its
query heads are gone.

Selected are the pairs whose score was computed; fewer of them meet V.

Assumptions: shares fall by equal steps from 1 in the first 15 % of the layers (heads 30 %) to
their final value in the last; one scale a head and tensor; lower bits are cut off, not rounded;
Q has msb + lsb bits (the trace says 16 in DRAM, the multipliers take 12); values are chosen by
the final probabilities.

Counts: compute has the scores (those of a flat row twice), the softmax with a division a pair,
and the products with V; select the importance sums, one a pair and one an output element, and 3
comparisons an element of every quick-select. DRAM: rows of BLOCK share what they read of K and V;
Q and O of the heads left; k and k_lsb the upper and lower bits of K, the lower for the keys of
flat rows only; V for the pairs that meet it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ...config import check
from ..methods.counts import Counts
from ..methods.method import Attended, Call, Method, top_k, union_bytes
from .parts import (
    SELECT_COMPARISONS,
    check_range,
    check_shape,
    own_keys,
    part,
    probabilities,
    ramp,
    symmetric,
)


@dataclass(frozen=True)
class SpAtten(Method):
    """token_keep, head_keep: shares left in the last layer; value_keep: values of each row.

    msb, lsb     bits of K fetched at first and, when a row's largest probability is below
                 ``refetch``, after; value_bits: bits of V
    token_front, head_front    share of the layers that prune no token, no head
    """

    name = "spatten"
    token_keep: float = 0.3
    head_keep: float = 0.625
    value_keep: float = 0.3
    msb: int = 8
    lsb: int = 4
    refetch: float = 0.1
    value_bits: int = 8
    token_front: float = 0.15
    head_front: float = 0.3

    def __post_init__(self) -> None:
        for field in ("token_keep", "head_keep", "value_keep", "refetch", "token_front",
                      "head_front"):
            check_range(field, getattr(self, field), 0, 1)
        check("msb", self.msb, 2, 12)
        check("lsb", self.lsb, 0, 12)
        check("value_bits", self.value_bits, 2, 16)

    def start(self) -> Callable[[Call], Attended]:
        """One pass: the layers of one sequence, in their order."""
        return _Pass(self)

    def attend(self, call: Call) -> Attended:
        """One layer by itself: nothing is pruned before it."""
        return self.start()(call)

    @classmethod
    def sweep(cls) -> list[Method]:
        """Share of the tokens left at last, all heads kept."""
        return [cls(token_keep=t, value_keep=v, head_keep=1.0)
                for t, v in ((1.0, 1.0), (1.0, 0.5), (0.9, 0.5), (0.8, 0.4), (0.7, 0.4),
                             (0.5, 0.3), (0.3, 0.3), (0.15, 0.3), (0.05, 0.3))]


class _Pass:
    """Importance and survivors of one pass."""

    def __init__(self, settings: SpAtten) -> None:
        self.settings = settings
        self.shape: tuple[int, int] | None = None

    def __call__(self, call: Call) -> Attended:
        call.place()  # Refuses a call that does not say where in the schedule it is.
        counts = Counts()
        self._prune(call, counts)
        rows, mask = call.q.shape[1], call.mask()
        allowed = mask & self.tokens
        if call.causal:
            allowed[np.arange(rows), own_keys(call)] = True
        heads = np.flatnonzero(self.heads)
        p, flat, chosen, live = self._attend(call, allowed, heads)
        out = np.zeros(call.q.shape, np.float32)
        out[heads] = live
        selected = np.zeros((len(call.q), *mask.shape), bool)
        selected[heads] = allowed
        self.token_score += p.sum(axis=(0, 1), dtype=np.float64)
        self.head_score[heads] += np.abs(live).sum(axis=(1, 2), dtype=np.float64)
        counts.visible = int(mask.sum()) * len(call.q)
        counts.selected = int(allowed.sum()) * len(heads)
        self._count(counts, call, allowed, flat, chosen)
        return Attended(out, selected, counts)

    def _prune(self, call: Call, counts: Counts) -> None:
        """Survivors of this layer, from the importance that the layers before have gathered."""
        heads, keys = len(call.q), call.k.shape[1]
        if self.shape is None:
            self.shape = heads, keys
            self.tokens, self.heads = np.ones(keys, bool), np.ones(heads, bool)
            self.token_score, self.head_score = np.zeros(keys), np.zeros(heads)
            return
        s = self.settings
        check_shape(self.shape, call, s.name)
        for name, score, left, share in (
            ("tokens", self.token_score, self.tokens, ramp(call, s.token_front, s.token_keep)),
            ("heads", self.head_score, self.heads, ramp(call, s.head_front, s.head_keep)),
        ):
            number = max(1, part(share, len(left)))
            if number < left.sum():
                counts.add("select", "cmp16", SELECT_COMPARISONS * int(left.sum()))
                setattr(self, name, top_k(score, left, number))

    def _attend(self, call: Call, allowed: np.ndarray, heads: np.ndarray):
        """Probabilities, flat rows [heads, R], pairs that meet V and output of the live heads."""
        s = self.settings
        group = heads // call.group
        bits = s.msb + s.lsb
        q, sq = symmetric(call.q[heads], bits, (1, 2))
        k, sk = symmetric(call.k, bits, (1, 2))
        v, sv = symmetric(call.v, s.value_bits, (1, 2))
        scale = sq * sk[group] / np.float32(np.sqrt(call.d))
        upper = np.floor(k / (1 << s.lsb)) * (1 << s.lsb)
        p = probabilities((q @ upper[group].swapaxes(1, 2)) * scale, allowed)
        flat = (p.max(axis=-1) < s.refetch) & (s.lsb > 0)
        for h in np.flatnonzero(flat.any(axis=1)):
            again, kv = flat[h], group[h]
            score = (q[h, again] @ k[kv].T) * scale[h]
            p[h, again] = probabilities(score, allowed[again])
        if s.value_keep < 1:
            number = [max(1, part(s.value_keep, n)) for n in allowed.sum(axis=-1)]
            chosen = top_k(p, allowed, number)
        else:
            chosen = np.broadcast_to(allowed, p.shape)
        out = np.where(chosen, p, np.float32(0)) @ (v * sv)[group]
        return p, flat, chosen, out

    def _count(self, counts: Counts, call: Call, allowed, flat, chosen) -> None:
        """Add operations and bytes of the live heads."""
        s, d = self.settings, call.d
        heads, rows = flat.shape
        pairs, values = int(allowed.sum()) * heads, int(chosen.sum())
        again = int((flat * allowed.sum(axis=-1)).sum())
        bits = s.msb + s.lsb
        counts.add("compute", f"mul{bits}x{s.msb}", pairs * d)
        counts.add("compute", f"mul{bits}x{bits}", again * d)
        counts.add("compute", f"mul{bits}x{s.value_bits}", values * d)
        counts.add("compute", f"add{2 * bits}", (pairs + again + values) * d + pairs + again)
        for kind in ("cmp", "exp", "div"):
            counts.add("compute", f"{kind}{bits}", pairs + again)
        counts.add("compute", f"cmp{bits}", heads * rows)
        counts.add("select", "add16", pairs + heads * rows * d)
        if s.value_keep < 1:
            counts.add("select", f"cmp{bits}", SELECT_COMPARISONS * pairs)
        every = np.broadcast_to(allowed, (heads, *allowed.shape))
        counts.move("q", heads * rows * d * bits / 8)
        counts.move("k", union_bytes(call, every)[2] * d * s.msb / 8)
        counts.move("k_lsb", union_bytes(call, every & flat[..., None])[2] * d * s.lsb / 8)
        counts.move("v", union_bytes(call, chosen)[2] * d * s.value_bits / 8)
        counts.move("o", heads * rows * d * 2)
