# SPDX-License-Identifier: Apache-2.0
"""From float tensors and settings in natural units to the integers and the job of the machine."""

from __future__ import annotations

import math

import numpy as np

from models.config import Config, ConfigError
from models.dlzs import FLOOR
from models.head import Job
from models.quantise import Peaks, Quantised, log2_factor, quantise_attention, quantise_heads
from models.sufa import log2_score

TOLERANCE = 0.125
"""Largest error of a difference of two scores that matter, binary orders: 9 % of a weight."""

REACH = 17
"""Binary orders below its row's best at which a key has no weight (16 bits and a guard bit)."""

CHUNK = 1 << 18
"""Scores that check_scores looks at together."""


def plan(q, k, v, cfg: Config, *, causal=False, offset=None, bc=None, quota=None,
         radius_nats=None, snap=FLOOR, dense=False, interleaved=True) -> tuple[Quantised, Job]:
    """Quantise float q [heads, rows, d], k, v [kv_heads, keys, d] and make the job for them, with
    one scale for all heads of each tensor.

    Args:
        causal: query i sees the keys up to position offset + i.
        offset: position of query row 0; default: the last query sees every key.
        bc: keys in a tile; default BC_MAX.
        quota: keys a row may take from a tile; default a quarter of them.
        radius_nats: keys further below the row's best are dropped; None: none are.
        snap: how Q is coded for the prediction (models.dlzs).
        dense: use every visible key.
        interleaved: tiles take every Tc-th key instead of neighbours.

    ConfigError for what the machine cannot compute; see check_scores.
    """
    return _job(quantise_attention(q, k, v, cfg), "", cfg, causal, offset, bc, quota, radius_nats,
                snap, dense, interleaved)


def plan_heads(q, k, v, cfg: Config, *, peaks: Peaks | None = None, causal=False, offset=None,
               bc=None, quota=None, radius_nats=None, snap=FLOOR, dense=False, interleaved=True
               ) -> list[tuple[Quantised, Job]]:
    """plan with a job and scales for each query head: (numbers, job) of each, numbers as
    models.quantise.quantise_heads gives them, which also says what peaks are."""
    return [
        _job(numbers, f"query head {h}: ", cfg, causal, offset, bc, quota, radius_nats, snap,
             dense, interleaved)
        for h, numbers in enumerate(quantise_heads(q, k, v, cfg, peaks))
    ]


def default_quota(bc: int) -> int:
    """Keys that a row may take from a tile where nothing is said: a quarter, at least 1."""
    return max(bc // 4, 1)


def _job(numbers: Quantised, name: str, cfg: Config, causal, offset, bc, quota, radius_nats, snap,
         dense, interleaved) -> tuple[Quantised, Job]:
    """The checked job for quantised tensors, with them; name: begins errors about scores."""
    q, k = numbers.q, numbers.k
    bc = cfg.BC_MAX if bc is None else bc
    if offset is None:
        offset = max(k.shape[-2] - q.shape[-2], 0) if causal else 0
    job = Job(d=q.shape[-1], scale_m=numbers.scale_m, scale_shift=numbers.scale_shift, bc=bc,
              quota=default_quota(bc) if quota is None else quota,
              radius=numbers.radius(radius_nats, snap, cfg), snap=snap, dense=dense,
              causal=causal, offset=offset, interleaved=interleaved).checked(cfg)
    check_scores(q, k, numbers.sq, numbers.sk, job, cfg, name)
    return numbers, job


def check_scores(
    q: np.ndarray, k: np.ndarray, sq: float, sk: float, job: Job, cfg: Config, name: str = ""
) -> None:
    """ConfigError where the machine's scores would not give a row's softmax; name begins it.

    q int16 [heads, rows, d], k int16 [kv_heads, keys, d] with their scales. The machine drops the
    S_DROP lowest bits of q.k and saturates scores beyond 2**(Z_W-1-Z_FRAC) binary orders. That
    changes nothing where the differences between the keys that matter, in truth or to the machine
    (those less than REACH below the best of the keys that the row sees), stay right to TOLERANCE;
    so this alone is refused. All pairs are looked at only where the scales allow such scores.
    """
    fraction, exponent = log2_factor(sq, sk, job.d, cfg)
    # More is as far out of range as this is.
    unit = math.ldexp(fraction, min(exponent, 200))
    order, limit = 1 << cfg.Z_FRAC, 1 << (cfg.Z_W - 1)
    step = unit * (1 << cfg.S_DROP)
    if not k.size or step <= TOLERANCE * order and job.d * 2.0**30 * unit + step + 1 < limit:
        return
    keys = k.shape[1]
    rows = max(CHUNK // keys, 1)
    for h in range(len(q)):
        columns = k[h // (len(q) // len(k))].astype(np.float64).T
        for first in range(0, q.shape[1], rows):
            # d * 2**30 < 2**53, so the products are exact.
            s = q[h, first : first + rows].astype(np.float64) @ columns
            true, got = s * unit, log2_score(s, job.scale_m, job.scale_shift, cfg)
            error = got - true
            if job.causal:
                last = job.offset + np.arange(first, first + len(s))
                hidden = np.arange(keys) > last[:, None]
            else:
                hidden = np.zeros(s.shape, bool)
            matters = np.zeros(s.shape, bool)
            for z in (true, got.astype(np.float64)):
                z = np.where(hidden, -np.inf, z)
                matters |= z > z.max(axis=1, keepdims=True) - REACH * order
            spread = (np.where(matters, error, -np.inf).max(axis=1)
                      - np.where(matters, error, np.inf).min(axis=1)) / order
            worst = int(spread.argmax())
            if spread[worst] > TOLERANCE:
                seen = true[worst, ~hidden[worst]] / order
                raise ConfigError(
                    f"{name}q.k of row {first + worst}{'' if len(q) == 1 else f' of head {h}'}: "
                    f"scores {seen.min():.4g} to {seen.max():.4g} binary orders in steps of "
                    f"{step / order:.2g} (scales sq = {sq:g}, sk = {sk:g}), legal: within "
                    f"+-{limit // order - 1} in steps up to {TOLERANCE}, or beyond where no "
                    f"difference that matters changes (here one is off by {spread[worst]:.2g})")
