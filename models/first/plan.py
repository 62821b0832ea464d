# SPDX-License-Identifier: Apache-2.0
"""From float tensors and settings in natural units to the integers and the job of the machine."""

from __future__ import annotations

from ..dlzs import FLOOR
from ..plan import check_scores, default_quota
from ..quantise import Peaks, Quantised, quantise_attention, quantise_heads
from .config import Config
from .head import Job


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
    return _job(numbers=quantise_attention(q, k, v, cfg), name="", cfg=cfg, causal=causal,
                offset=offset, bc=bc, quota=quota, radius_nats=radius_nats, snap=snap, dense=dense,
                interleaved=interleaved)


def plan_heads(q, k, v, cfg: Config, *, peaks: Peaks | None = None, causal=False, offset=None,
               bc=None, quota=None, radius_nats=None, snap=FLOOR, dense=False, interleaved=True
               ) -> list[tuple[Quantised, Job]]:
    """plan with a job and scales for each query head: (numbers, job) of each, numbers as
    models.quantise.quantise_heads gives them, which also says what peaks are."""
    return [
        _job(numbers=numbers, name=f"query head {h}: ", cfg=cfg, causal=causal, offset=offset,
             bc=bc, quota=quota, radius_nats=radius_nats, snap=snap, dense=dense,
             interleaved=interleaved)
        for h, numbers in enumerate(quantise_heads(q, k, v, cfg, peaks))
    ]


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
    check_scores(q=q, k=k, sq=numbers.sq, sk=numbers.sk, scale_m=job.scale_m,
                 scale_shift=job.scale_shift, job=job, cfg=cfg, name=name)
    return numbers, job


