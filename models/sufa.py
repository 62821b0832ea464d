# SPDX-License-Identifier: Apache-2.0
"""SU-FA, the formal path: softmax over the selected keys, two keys of every row at a time.

Bit-exact, vectorised over rows; every intermediate fits int64 (the widest is the scaled score,
31 + 16 bits). Source: docs/models.md, the first machine; docs/architecture.md section 5.4.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from models.config import Config, ConfigError, check
from models.exp2 import mantissa
from models.sads import Selection


@dataclass
class State:
    """What a block keeps between tiles. R rows, head dimension d.

    m     int64 [R], reference exponent, an integer power of two
    l     int64 [R], sum of weights, 16 - GUARD fraction bits
    o     int64 [R, d], weighted sum of V, O_FRAC fraction bits
    seen  bool [R], m is set (some key was used)
    """

    m: np.ndarray
    l: np.ndarray  # noqa: E741  (the name in the paper and in the RTL)
    o: np.ndarray
    seen: np.ndarray
    updates: int = 0


@dataclass
class Trace:
    """Intermediates of a block, in the order of the pair steps; one array per step.

    z, p, valid  [R, 2] scores in log2 units, weights, entry validity (z of an invalid entry has
                 no meaning; p is 0)
    m, dm        [R] reference and its rise, after the step. m of a row without a key yet is 0
    l            [R] sum of weights after the step
    o_final, l_final, r_final   o' [R, d], l [R], R [R] of the flush
    """

    z: list = field(default_factory=list)
    p: list = field(default_factory=list)
    valid: list = field(default_factory=list)
    m: list = field(default_factory=list)
    dm: list = field(default_factory=list)
    l: list = field(default_factory=list)  # noqa: E741
    o_final: np.ndarray | None = None
    l_final: np.ndarray | None = None
    r_final: np.ndarray | None = None


def start(rows: int, d: int) -> State:
    """State at the start of a block."""
    return State(
        m=np.zeros(rows, np.int64),
        l=np.zeros(rows, np.int64),
        o=np.zeros((rows, d), np.int64),
        seen=np.zeros(rows, bool),
    )


def log2_score(s: np.ndarray, scale_m: int, scale_shift: int, cfg: Config) -> np.ndarray:
    """Exact dot products s to log2 units with Z_FRAC fraction bits, saturated to Z_W bits."""
    top = 1 << (cfg.Z_W - 1)
    z = ((np.asarray(s, np.int64) >> cfg.S_DROP) * scale_m) >> scale_shift
    return np.clip(z, -top, top - 1)


def weight(z: np.ndarray, m: np.ndarray, cfg: Config) -> np.ndarray:
    """2**(z - m) with 16 - GUARD fraction bits, 16 bits; z - m < GUARD."""
    diff = z - (m << cfg.Z_FRAC)
    whole = diff >> cfg.Z_FRAC
    mant = mantissa(diff & ((1 << cfg.Z_FRAC) - 1), cfg.Z_FRAC)
    shift = cfg.GUARD - 1 - whole
    kept = np.clip(shift, 1, 17)
    rounded = (mant + (1 << (kept - 1))) >> kept
    return np.where(shift == 0, mant, np.where(shift >= 17, 0, rounded))


def reference(
    m: np.ndarray, seen: np.ndarray, e: np.ndarray, cfg: Config
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(reference, its rise dm, bool: raised) of rows after a step whose largest score z has
    e = floor(z) + 1: the first step sets it to e, a later one does where e > m + GUARD."""
    raised = seen & (e > m + cfg.GUARD)
    return np.where(raised | ~seen, e, m), np.where(raised, e - m, 0), raised


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


def _check_ranges(state: State, cfg: Config) -> None:
    """Fail when l or o no longer fit the widths of the hardware."""
    top = 1 << (cfg.O_W - 1)
    if (state.l >> cfg.L_W).any() or state.o.min() < -top or state.o.max() >= top:
        raise ConfigError(
            f"l or o left its {cfg.L_W} / {cfg.O_W} bits: more keys used than KEYS_MAX = "
            f"{cfg.KEYS_MAX}"
        )


def reciprocal(total: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(bits, r) of sums from 1 on: their bit lengths, and 2**(15 + bits) / total, 16 bits."""
    # Below 2**53 an integer is exact in float64, so frexp gives its true bit length.
    bits = np.frexp(total.astype(np.float64))[1].astype(np.int64)
    top = np.where(bits >= 16, total >> np.maximum(bits - 16, 0), total << np.maximum(16 - bits, 0))
    return bits, np.minimum(65535, (1 << 31) // top)


def normalised(state: State, cfg: Config) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(bool [R] rows that used a key, o' int64 [R, d], reciprocal R int64 [R]): o'*R / 2**15 is the
    output. o' and R of a row without a key have no meaning."""
    some = state.l > 0
    bits, r = reciprocal(np.where(some, state.l, 1 << 15))
    drop = bits - (16 - cfg.GUARD - cfg.O_FRAC) - 1
    # A row's last reference came with a weight of 1/2 at least, so that bits >= 16 - GUARD.
    assert (drop >= 0).all(), "O_FRAC + GUARD leave no bit to round away"
    return some, sat16(((state.o >> drop[:, None]) + 1) >> 1), r


def finish(state: State, cfg: Config, trace: Trace | None = None) -> np.ndarray:
    """Normalise: int16 [R, d] output of the block; rows that used no key give 0."""
    some, o, r = normalised(state, cfg)
    out = sat16((o * r[:, None] + 16384) >> 15)
    o, r = np.where(some[:, None], o, 0), np.where(some, r, 0)
    if trace is not None:
        trace.o_final, trace.l_final, trace.r_final = o, state.l.copy(), r
    return np.where(some[:, None], out, 0).astype(np.int16)


def sat16(x: np.ndarray) -> np.ndarray:
    """x within -32768..32767."""
    return np.clip(x, -32768, 32767)
