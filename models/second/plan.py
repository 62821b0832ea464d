# SPDX-License-Identifier: Apache-2.0
"""Float tensors and settings in natural units to the integers and the table of a job.

Every head has scales of its own: Q for each query head, K and V for each KV head. Q's is chosen so
that an octave, a factor of 2 in the softmax, is a power of two of predicted score units; that
costs up to one bit of Q's 16.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from models.config import ConfigError
from models.dlzs import FLOOR, TWO_TERM
from models.quantise import log2_multiplier, quantise, radius_to_int, score_unit
from models.second.config import Config
from models.second.head import DENSE, SORT, SUM, HeadTable, Job, means_of

TAU = {FLOOR: (2.0**-9.25, 0.0), TWO_TERM: (2.0**-8.69, 0.35)}
"""Snap rule -> (threshold, exponent of its fall with the visible length)."""


@dataclass(frozen=True)
class Numbers:
    """Integers of a job, value = integer * scale: q int16 [heads, rows, d]; k, v int16, k8 int8
    [kv_heads, keys, d]; means int16 [kv_heads, blocks, d]; sq [heads], sk, sv, sk8 [kv_heads]."""

    q: np.ndarray
    k: np.ndarray
    v: np.ndarray
    k8: np.ndarray
    means: np.ndarray
    sq: np.ndarray
    sk: np.ndarray
    sv: np.ndarray
    sk8: np.ndarray

    @property
    def out_scale(self) -> np.ndarray:
        """Scale of the output of each query head, [heads, 1, 1]."""
        return np.repeat(self.sv, len(self.q) // len(self.k))[:, None, None]


def heads_quantised(x: np.ndarray, bits: int) -> tuple[np.ndarray, np.ndarray]:
    """quantise() of each head of x [heads, length, d]: integers, scales [heads]."""
    done = [quantise(head, bits) for head in x]
    return np.stack([a for a, _ in done]), np.array([s for _, s in done])


def octave_scale(
    q: np.ndarray, sk8: float, snap: int, cfg: Config
) -> tuple[np.ndarray, float, int]:
    """(q in 16 bits, its scale, log2 of the score units of an octave) of a query head; sk8: scale
    of its 8-bit keys."""
    d = q.shape[-1]
    _, sq = quantise(q, 16)
    units = math.log(2) / score_unit(sq, sk8, d, snap, cfg)
    # A coarser Q makes an octave smaller: down to the next power of two.
    octave = min(max(math.floor(math.log2(units)), 0), cfg.SC_W - 1)
    if units >= 2.0**octave:
        sq *= units / 2.0**octave
    return np.rint(np.asarray(q, np.float64) / sq).astype(np.int16), sq, octave


def plan(
    q, k, v, cfg: Config, *, causal: bool = False, offset: int | None = None,
    bc: int | None = None, band: int | None = None, select: int = SUM, tau: float | None = None,
    fall: float | None = None, quota: int | None = None, radius_nats: float | None = None,
    snap: int = FLOOR, interleaved: bool = True,
) -> tuple[Numbers, Job]:
    """Quantise float q [heads, rows, d], k, v [kv_heads, keys, d] and make the job for them.

    Args:
        offset: position of query row 0; default: the last query sees every key.
        bc: keys in a tile; default BC_MAX.
        band: row blocks of a band; default: as many as the stores hold beside each other with all
            query heads of a group, at least 1, no more than there are.
        tau, fall: threshold and the exponent of its fall; default TAU of the snap rule.
        quota, radius_nats: of a job that sorts; default a quarter of a tile, and no radius.
    """
    q, k, v = (np.asarray(x, np.float64) for x in (q, k, v))
    heads, rows, d = q.shape
    group = heads // len(k)
    if tau is None or fall is None:
        if snap not in TAU and select == SUM:
            raise ConfigError(f"snap = {snap} has no default threshold, legal: tau and fall given")
        default = TAU.get(snap, (1.0, 0.0))
        tau, fall = default[0] if tau is None else tau, default[1] if fall is None else fall
    if not 0 < tau <= 1:
        raise ConfigError(f"tau = {tau}, legal: above 0, up to 1")
    k16, sk = heads_quantised(k, 16)
    v16, sv = heads_quantised(v, 16)
    k8, sk8 = heads_quantised(k, 8)
    q16, sq, table = [], [], []
    for h in range(heads):
        kv = h // group
        number, scale, octave = octave_scale(q[h], sk8[kv], snap, cfg)
        scale_m, shift = log2_multiplier(scale, sk[kv], d, cfg)
        q16.append(number)
        sq.append(scale)
        radius = None
        if select == SORT:
            radius = radius_to_int(radius_nats, scale, sk8[kv], d, snap, cfg)
        table.append(HeadTable(scale_m, shift, octave, round(math.log2(tau) * 2**cfg.LOG_FRAC),
                               radius))
    bc = cfg.BC_MAX if bc is None else bc
    if offset is None:
        offset = max(k.shape[1] - rows, 0) if causal else 0
    if band is None:
        band = min(max(cfg.places(d) // group, 1), -(-rows // cfg.ROWS))
    job = Job(d=d, bc=bc, table=tuple(table), band=band, select=select,
              quota=max(bc // 4, 1) if quota is None else quota, fall=round(fall * 256),
              snap=snap, causal=causal, offset=offset, interleaved=interleaved).checked(cfg)
    means = means_of(v16, rows, job, cfg)
    return Numbers(np.stack(q16), k16, v16, k8, means, np.array(sq), sk, sv, sk8), job


__all__ = ["DENSE", "SORT", "SUM", "Numbers", "plan"]
