# SPDX-License-Identifier: Apache-2.0
"""The first machine as a Method: quota and radius in every tile, rows in lockstep.

    method = FirstSofa(quota=16, radius_nats=6.0, dense_layers=(0,))
    done = method.start()(call)

Bit-exact: each query head is a job, with a scale of its own for Q and those of its KV head for K,
K8 and V, through models.fast or, without numba, through models.head; both give the same integers.
Heads share what they read as in one job.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ... import dlzs, layer, rope
from ...fast import available
from ...first import fast, head, plan
from ...first.config import Config
from ...quantise import Quantised
from ...tiling import block_tiles, blocks
from .counts import Counts
from .machine import (
    SNAPS,
    Machine,
    check_sort,
    core_comparisons,
    count_prediction,
    count_scores,
    layer_inputs,
)
from .method import Attended, Call, Method


@dataclass(frozen=True)
class FirstSofa(Machine):
    """The first machine; see Machine for the settings that are not told here.

    quota         keys a row may take from a tile (None: a quarter, bc: all); radius_nats: keys
                  further below the row's best are dropped (None: none); both may differ by layer

    Counts: masked pairs cost nothing. predict: a leading-one detector for each element of Q; for
    each pair and element one shift of the key (two with two-term codes) and as many additions;
    with two phases the same for each element of X8 and of a coded weight, and RoPE. select:
    comparisons of the passes of the 16-to-4 core that a row needs in a tile. compute: products and
    additions as in count_formal; one exp a pair; a pair step compares twice, for the larger of its
    two scores and against the reference; a raised reference shifts d + 1 sums; one division a row
    and a product for each output element. Bytes are whole beats: Q, K8 of every slot of a tile, K
    and V that a block needs, O; with two phases X8, codes, RoPE table and K8 written.
    """

    quota: int | None | tuple[int | None, ...] = 16
    radius_nats: float | None | tuple[float | None, ...] = 6.0

    name = "sofa-first"
    parameters = Config

    def __post_init__(self) -> None:
        super().__post_init__()
        check_sort(self.quota, self.radius_nats, self.machine())

    def attend(self, call: Call) -> Attended:
        """One layer."""
        cfg, snap = self.machine(), SNAPS[self.snap]
        rows, keys = call.q.shape[1], call.k.shape[1]
        self.check_call(call)
        radius = self.setting("radius_nats", call)
        heads = plan.plan_heads(
            call.q, call.k, call.v, cfg, peaks=self.scales(call), causal=call.causal,
            bc=self.setting("bc", call), quota=self.setting("quota", call), radius_nats=radius,
            snap=snap, interleaved=self.interleaved,
            dense=self.dense(call))
        # Jobs of a layer differ in scale and radius alone.
        job, counts = heads[0][1], Counts()
        if self.phases == 2 and not job.dense:
            heads = _predicted(heads, call, radius, cfg, counts)
        out = np.empty(call.q.shape, np.float32)
        selected = np.empty((len(heads), rows, keys), bool)
        steps = updates = 0
        for h, (numbers, own) in enumerate(heads):
            own_out, selected[h], more, raised = _run(numbers, own, cfg)
            out[h] = own_out[0] * numbers.sv
            steps, updates = steps + more, updates + raised
        self._count(counts, call, job, cfg, selected, steps, updates)
        return Attended(out, selected, counts)

    def _count(self, counts: Counts, call: Call, job: head.Job, cfg: Config,
               selected: np.ndarray, steps: int, updates: int) -> None:
        """Add the scores and the formal path of one attention to the counts; see the class."""
        heads, rows, d = call.q.shape
        mask = call.mask()
        pairs, seen = np.count_nonzero(selected), np.count_nonzero(mask) * heads
        counts.visible += seen
        counts.selected += pairs
        slots = comparisons = 0
        if not job.dense:
            count_scores(counts, call, seen, job.snap, cfg)
            for r, n in blocks(rows, cfg):
                tiles = block_tiles(r, n, call.k.shape[1], job.bc, causal=job.causal,
                                    offset=job.offset, interleaved=job.interleaved)
                slots += heads * sum(tile.n for tile in tiles)
                comparisons += core_comparisons(selected[:, r : r + n], mask[r : r + n], tiles,
                                                job.quota)
            counts.add("select", f"cmp{cfg.SC_W}", comparisons)
        counts.add("compute", "mul16x16", 2 * pairs * d + heads * rows * d)
        counts.add("compute", "add32", 2 * pairs * d)
        counts.add("compute", "cmp16", 2 * steps)
        counts.add("compute", "exp16", pairs)
        counts.add("compute", "shift32", updates * (d + 1))
        counts.add("compute", "div32", heads * rows)
        union = sum(np.count_nonzero(selected[:, r : r + n].any(axis=1))
                    for r, n in blocks(rows, cfg))
        vector = cfg.beats16(d) * cfg.BUS_BYTES
        for stream, size in (("q", heads * rows * vector), ("k", union * vector),
                             ("v", union * vector), ("o", heads * rows * vector),
                             ("k8", slots * cfg.beats8(d) * cfg.BUS_BYTES)):
            counts.move(stream, size)

    @classmethod
    def sweep(cls) -> list[Method]:
        """From nearly dense to very sparse, one phase."""
        pairs = ((64, 9.0), (32, 8.0), (24, 7.0), (16, 7.0), (16, 6.0), (12, 6.0), (12, 5.0),
                 (8, 5.0), (8, 4.0), (4, 4.0), (4, 3.0), (2, 2.0))
        return [cls(quota=quota, radius_nats=radius) for quota, radius in pairs]


def _run(numbers: Quantised, job: head.Job, cfg: Config) -> tuple[np.ndarray, np.ndarray, int, int]:
    """(out int16, selected, pair steps that rows used, max updates) of a job."""
    arrays = (numbers.q, numbers.k, numbers.v, numbers.k8, job, cfg)
    if available():
        got = fast.run_job(*arrays)
        return got.out, got.selected, got.row_steps, got.stats.max_updates
    got = head.run_job(*arrays)
    phases = (p for h in got.heads for b in h.blocks for tile in b.phases for p in tile)
    steps = sum(int((-(-p.counts // 2)).sum()) for p in phases)
    return got.out, np.stack([h.selected for h in got.heads]), steps, got.stats.max_updates


def _predicted(
    heads: list[tuple[Quantised, head.Job]], call: Call, radius: float | None, cfg: Config,
    counts: Counts,
) -> list[tuple[Quantised, head.Job]]:
    """The jobs with the keys of the two-phase prediction for K8."""
    k8, sk8 = predicted_keys(call, cfg, counts)
    done = []
    for h, (numbers, job) in enumerate(heads):
        kv = h // call.group
        numbers = replace(numbers, k8=k8[kv : kv + 1], sk8=float(sk8[kv]))
        done.append((numbers, replace(job, radius=numbers.radius(radius, job.snap, cfg))))
    return done


def predicted_keys(call: Call, cfg: Config, counts: Counts) -> tuple[np.ndarray, np.ndarray]:
    """K8 int8 [kv_heads, keys, d] of the two-phase prediction and its scales, float64 [kv_heads];
    adds what it costs. ConfigError as layer_inputs."""
    x, wk, _ = layer_inputs(call)
    p, (keys, d) = call.projection, call.k.shape[1:]
    rt = rope.table(keys, d, p.rope_theta) if p.rope_mode else None
    made = layer.plan_heads_keys(x, wk, cfg, p.rope_mode, rt)
    k8 = np.stack([
        dlzs.predict_keys(one.x8, one.codes[0], cfg, one.kp_exp, one.kp_bias, one.kp_shift,
                          p.rope_mode, rt)
        for one in made
    ])
    count_prediction(counts, call, x.shape[1], cfg)
    return k8, np.array([one.sk8 for one in made])
