# SPDX-License-Identifier: Apache-2.0
"""SU-FA, the formal path: softmax over the selected keys, two keys of every row at a time.

Bit-exact, vectorised over rows; every intermediate fits int64 (the widest is the scaled score,
31 + 16 bits). Source: docs/models.md, the first machine.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ..config import check
from ..sads import Selection
from ..sufa import (
    State,
    Steps,
    _check_ranges,
    log2_score,
    normalised,
    reference,
    sat16,
    weight,
)
from .config import Config


@dataclass
class Trace(Steps):
    """A step for two keys of every row.

    z, p, valid  [R, 2], valid: entry validity (z of an invalid entry has no meaning; p is 0); m,
    dm, l        [R]; m of a row without a key yet is 0
    """

    valid: list = field(default_factory=list)


def tile(
    state: State,
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    lists: Selection,
    scale_m: int,
    scale_shift: int,
    cfg: Config,
    trace: Trace | None = None,
) -> int:
    """Run the pair steps of one tile; updates state in place and returns the max updates.

    q int16 [R, d]; k, v int16 [n, d] by slot (slots outside the union are not looked at);
    lists: the tile's Selection for the R rows.
    """
    check("scale_m", scale_m, 0, 65535)
    check("scale_shift", scale_shift, 0, 47)
    steps = lists.nsteps
    if steps == 0:
        return 0
    rows = np.arange(len(q))
    slots, valid = lists.slots[:, : 2 * steps], lists.valid[:, : 2 * steps]
    if slots.shape[1] < 2 * steps:
        slots, valid = (np.pad(a, ((0, 0), (0, 1))) for a in (slots, valid))
    slots = np.where(valid, slots, 0)
    # d * 2**30 < 2**53, so the product is exact in float64.
    exact = (q.astype(np.float64) @ k.astype(np.float64).T).astype(np.int64)
    z_all = log2_score(np.take_along_axis(exact, slots, axis=1), scale_m, scale_shift, cfg)
    half = (16 - cfg.GUARD) - cfg.O_FRAC
    rounding = (1 << half) >> 1
    v = v.astype(np.int64)
    lowest = -(1 << 40)
    updates = 0
    for i in range(steps):
        z, ok = z_all[:, 2 * i : 2 * i + 2], valid[:, 2 * i : 2 * i + 2]
        some = ok.any(axis=1)
        e = (np.where(ok, z, lowest).max(axis=1) >> cfg.Z_FRAC) + 1
        # A row without a key in this step keeps its reference.
        e = np.where(some, e, state.m)
        state.m, dm, rise = reference(state.m, state.seen, e, cfg)
        state.seen |= some
        updates += int(rise.sum())
        p = np.where(ok, weight(z, state.m[:, None], cfg), 0)
        shift = np.minimum(dm, 63)
        if rise.any():
            state.l >>= shift
            state.o[rise] >>= shift[rise, None]
        state.l += p.sum(axis=1)
        a, b = slots[:, 2 * i], slots[:, 2 * i + 1]
        state.o += (p[:, :1] * v[a] + p[:, 1:] * v[b] + rounding) >> half
        if trace is not None:
            for name, value in (("z", z), ("p", p), ("valid", ok), ("m", state.m), ("dm", dm),
                                ("l", state.l)):
                getattr(trace, name).append(value.copy())
    state.updates += updates
    assert rows.size == state.l.size
    _check_ranges(state, cfg)
    return updates


def finish(state: State, cfg: Config, trace: Trace | None = None) -> np.ndarray:
    """Normalise: int16 [R, d] output of the block; rows that used no key give 0."""
    some, o, r = normalised(state, cfg)
    out = sat16((o * r[:, None] + 16384) >> 15)
    o, r = np.where(some[:, None], o, 0), np.where(some, r, 0)
    if trace is not None:
        trace.o_final, trace.l_final, trace.r_final = o, state.l.copy(), r
    return np.where(some[:, None], out, 0).astype(np.int16)


