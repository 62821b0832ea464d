# SPDX-License-Identifier: Apache-2.0
"""A whole layer from X: its integers and registers, and the reference result of its two jobs.

    plan = plan_layer(x, wk, wv, q, cfg, rope_theta=1e4, causal=True)     # float arrays
    result = run_layer(plan, cfg)                                         # bit-exact

The first job predicts K8 of all KV heads from X8 and 4-bit weight codes; the second is attention
that makes K and V of the selected keys when they are first wanted and reads them afterwards.
Source: docs/architecture.md section 10.

Biases. A bias of V shifts every output by itself, since weights of a row sum to 1: the host adds
it. A bias of K without RoPE adds the same to all scores of a row, which softmax does not see.
With RoPE it matters: `with_bias` then hides biases in the weights.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .. import dlzs, kvgen, rope
from ..head import KeySource, Stats
from ..layer import (
    SMOOTHING,
    LayerNumbers,
    LayerOutcome,
    check_layer,
    choose_shift,
    count_generation,
    plan_keys,
    predict_layer,
    project_layer,
    smooth,
)
from ..plan import check_scores, default_quota
from ..quantise import log2_multiplier, quantise, radius_to_int
from .config import Config
from .head import Job, head_of_blocks


@dataclass(frozen=True)
class LayerPlan(LayerNumbers):
    """models.layer.LayerNumbers with one register and scale for all heads; job: of
    models.first.head."""


@dataclass
class LayerResult(LayerOutcome):
    """models.layer.LayerOutcome: heads are those of models.first.head, whose blocks hold tiles,
    lists, phases and the keys that each phase made."""


# ---- planning ---------------------------------------------------------------------------------


def plan_layer(
    x: np.ndarray,
    wk: np.ndarray,
    wv: np.ndarray,
    q: np.ndarray,
    cfg: Config,
    *,
    rope_theta: float = 0.0,
    mode: int | None = None,
    causal: bool = False,
    offset: int | None = None,
    bc: int | None = None,
    quota: int | None = None,
    radius_nats: float | None = None,
    snap: int = dlzs.FLOOR,
    code_snap: int = dlzs.NEAREST,
    smoothing: float | None = SMOOTHING,
    dense: bool = False,
    interleaved: bool = True,
) -> LayerPlan:
    """Integers and registers for float x [keys, H], wk and wv [kv_heads, H, d], q [heads, rows, d].

    Args:
        rope_theta: base of the rotary embedding of K; q comes rotated. 0: there is none.
        mode: which dimensions rotate together (models.rope); default interleaved with a
            rope_theta.
        causal, offset, bc, quota, radius_nats, snap, dense, interleaved: as in models.plan.plan.
        code_snap: how Wk is coded, dlzs.FLOOR or NEAREST.
        smoothing: exponent of smooth(), None for all factors 1.
    """
    x, wk, wv, q = (np.asarray(a, np.float64) for a in (x, wk, wv, q))
    if mode is None:
        mode = rope.INTERLEAVED if rope_theta else rope.OFF
    check_layer(x, wk, wv, q, rope_theta, mode, cfg)
    keys, d = len(x), q.shape[-1]
    rt = rope.table(keys, d, rope_theta) if mode else None
    key_plan = plan_keys(x, wk, cfg, mode, rt, code_snap=code_snap, smoothing=smoothing)
    # Both kinds of weights count alike, however large their scales are.
    both = np.concatenate([w / (np.abs(w).max() or 1.0) for w in (wk, wv)])
    a = np.ones(x.shape[1]) if smoothing is None else smooth(x, both, smoothing)
    x16, sx = quantise(x * a, 16)
    wk16, swk = quantise(wk / a[:, None], 16)
    wv16, swv = quantise(wv / a[:, None], 16)
    sums_k = np.stack([kvgen.sums(x16, w) for w in wk16])
    shift_k = choose_shift(sums_k, mode, rt)
    shift_v = choose_shift(np.stack([kvgen.sums(x16, w) for w in wv16]), rope.OFF, None)
    q16, sq = quantise(q, 16)
    sk = sx * swk * 2.0**shift_k
    scale_m, scale_shift = log2_multiplier(sq, sk, d, cfg)
    bc = cfg.BC_MAX if bc is None else bc
    if offset is None:
        offset = max(keys - q.shape[1], 0) if causal else 0
    job = Job(d=d, scale_m=scale_m, scale_shift=scale_shift, bc=bc,
              quota=default_quota(bc) if quota is None else quota,
              radius=radius_to_int(radius_nats, sq, key_plan.sk8, d, snap, cfg), snap=snap,
              dense=dense, causal=causal, offset=offset, interleaved=interleaved).checked(cfg)
    check_scores(q16, rope.rotate_natural(kvgen.narrow(sums_k, shift_k), rt, mode), sq, sk,
                 scale_m, scale_shift, job, cfg)
    return LayerPlan(q=q16, x=x16, wk=wk16, wv=wv16, rt=rt, mode=mode, kg_shift_k=shift_k,
                     kg_shift_v=shift_v, job=job, smooth=a, sq=sq, sx=sx, sk=sk,
                     sv=swv * sx * 2.0**shift_v, **vars(key_plan))


# ---- running ----------------------------------------------------------------------------------


def run_layer(
    plan: LayerPlan, cfg: Config, valid: np.ndarray | None = None, trace: bool = False
) -> LayerResult:
    """Both jobs. valid: bool [kv_heads, keys], K and V that an earlier job has left in memory
    (VB_LOAD); None: there are none."""
    k8, predict = predict_layer(plan, cfg)
    k, v = project_layer(plan)
    load = valid is not None
    valid = np.array(valid, bool) if load else np.zeros(k.shape[:2], bool)
    group = plan.heads // plan.kv_heads
    sources = [KeySource(*parts) for parts in zip(k, v, valid, strict=True)]
    heads = [
        head_of_blocks(plan.q[h], sources[h // group], k8[h // group], plan.job, cfg, trace)
        for h in range(plan.heads)
    ]
    stats = Stats()
    for head in heads:
        stats += head.stats
    count_generation(stats, plan, load, cfg)
    order = [
        np.concatenate([
            new
            for head in heads[kv * group : (kv + 1) * group]
            for block in head.blocks
            for made in block.made
            for new in made
        ])
        for kv in range(plan.kv_heads)
    ]
    return LayerResult(k8=k8, k=k, v=v, valid=valid, order=order,
                       out=np.stack([h.out for h in heads]), heads=heads, predict=predict,
                       stats=stats)


# ---- what other ways of getting K and V would cost ----------------------------------------------


