# SPDX-License-Identifier: Apache-2.0
"""From float tensors and settings in natural units to the integers and the job of the machine."""

from __future__ import annotations

from models.config import Config
from models.dlzs import FLOOR
from models.head import Job
from models.quantise import Quantised, quantise_attention


def plan(q, k, v, cfg: Config, *, causal=False, offset=None, bc=None, quota=None,
         radius_nats=None, snap=FLOOR, dense=False, interleaved=True) -> tuple[Quantised, Job]:
    """Quantise float q [heads, rows, d], k, v [kv_heads, keys, d] and make the job for them.

    Args:
        causal: query i sees the keys up to position offset + i.
        offset: position of query row 0; default: the last query sees every key.
        bc: keys in a tile; default BC_MAX.
        quota: keys a row may take from a tile; default a quarter of them.
        radius_nats: keys further below the row's best are dropped; None: none are.
        snap: how Q is coded for the prediction (models.dlzs).
        dense: use every visible key.
        interleaved: tiles take every Tc-th key instead of neighbours.
    """
    numbers = quantise_attention(q, k, v, cfg)
    bc = cfg.BC_MAX if bc is None else bc
    if offset is None:
        offset = max(k.shape[-2] - q.shape[-2], 0) if causal else 0
    job = Job(d=q.shape[-1], scale_m=numbers.scale_m, scale_shift=numbers.scale_shift, bc=bc,
              quota=max(bc // 4, 1) if quota is None else quota,
              radius=numbers.radius(radius_nats, snap, cfg), snap=snap, dense=dense,
              causal=causal, offset=offset, interleaved=interleaved)
    return numbers, job.checked(cfg)
