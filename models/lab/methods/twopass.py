# SPDX-License-Identifier: Apache-2.0
"""Sofa with two passes over a tile's scores: what its single pass gives away.

    done = TwoPass(tau=2**-8.69).start()(call)

A tile's own keys are counted before its limit is fixed, those of tile 0 as well, so no tile is
scored twice at the end and every limit knows one tile more. A machine would have to hold the scores
of a tile until then. Scores and sums are those of models.sads, in numpy; attention over the
selected keys is float32, with the machine's means of V.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ... import dlzs, head, plan, sads
from ...config import Config, ConfigError
from ...tiling import allowed
from .counts import Counts
from .machine import SNAPS
from .method import Attended, Call, softmax_over
from .rules import blended, keeps_everything
from .sofa import Sofa


def select(
    score: list[np.ndarray], seen: list[np.ndarray], tau: int, everything: np.ndarray, cfg: Config
) -> tuple[list[np.ndarray], np.ndarray]:
    """(masks bool [n, slots] of each tile, f int64 [n]) of a block: score int [n, slots] in octaves
    and seen bool of each tile; tau: models.sads.block_threshold; everything bool [n]."""
    sums, masks = sads.start(len(everything)), []
    for t, (level, tile) in enumerate(zip(score, seen, strict=True)):
        sads.count(sums, level, tile, *np.zeros((2, *tile.shape), bool), cfg)
        ratio = sads.extrapolation(len(score), t + 1, cfg)
        least = np.where(everything, sads.EVERY, sads.limit(sums, ratio, tau, cfg))
        masks.append(tile & (level >= least[:, None]))
        sums.kept = sums.kept + sads.weights(level, masks[-1], sums.peak, cfg).sum(axis=1)
    return masks, sads.shares(sums, everything, cfg)[0]


@dataclass(frozen=True)
class TwoPass(Sofa):
    """Settings of Sofa but for phases = 2, coarse keys, quota, radius and dense layers, which it
    does not have. Counts as Sofa, the second look at the scores left out."""

    name = "sofa-two-pass"

    def __post_init__(self) -> None:
        super().__post_init__()
        given = self.coarse, self.quota, self.radius_nats
        if self.phases != 1 or self.dense_layers or given != (None, None, None):
            raise ConfigError("sofa-two-pass: phases, coarse, quota, radius_nats or dense_layers "
                              "given, legal: none of them")

    def attend(self, call: Call) -> Attended:
        """One layer."""
        self.check_call(call)
        cfg, counts, whole = self.machine(), Counts(), keeps_everything(call)
        numbers, job = plan.plan(
            call.q, call.k, call.v, cfg, peaks=self.scales(call), causal=call.causal,
            bc=self.setting("bc", call), band=self.band, tau=self.setting("tau", call),
            fall=self.setting("fall", call), snap=SNAPS[self.snap], interleaved=self.interleaved,
            blend=self.blend)
        rows, keys = call.q.shape[1], call.k.shape[1]
        selected = np.zeros((len(call.q), rows, keys), bool)
        f = np.empty((len(call.q), rows), np.int64)
        for h, entry in enumerate(job.table):
            codes, k8 = dlzs.encode(numbers.q[h], job.snap), numbers.k8[h // call.group]
            for band in job.bands(rows, keys, cfg):
                for block in band.blocks:
                    mine = slice(block.row, block.row + block.n)
                    tau = sads.block_threshold(entry.tau, job.fall, block.length, cfg)
                    masks, f[h, mine] = select(
                        [sads.levels(dlzs.scores(codes[mine], k8[tile.keys], cfg), entry.octave,
                                     cfg.LEVEL_W)
                         for tile in band.tiles],
                        [allowed(tile, band, block) for tile in band.tiles], tau, whole[mine], cfg)
                    for tile, mask in zip(band.tiles, masks, strict=True):
                        selected[h][mine, tile.keys] = mask
        out = softmax_over(call.logits(), selected, call.shared(call.v))
        if self.blend:
            means = numbers.means * (numbers.sv[:, None, None] * 2.0 ** (16 - cfg.VM_W))
            out = blended(call, out, f / 2.0**cfg.F_FRAC, means, cfg.ROWS)
        self._count(counts, call, job, cfg, head.JobResult(
            out, selected, np.zeros_like(selected), f, np.zeros_like(f), 0, 0))
        return Attended(out.astype(np.float32), selected, counts)
