# SPDX-License-Identifier: Apache-2.0
"""Least cycles of prediction and generation: what no schedule of the stages can beat.

Source: docs/architecture.md section 10.8.
"""

from __future__ import annotations

from dataclasses import dataclass

from . import dlzs, kvgen
from .config import Config
from .layer import LayerNumbers, chunk_beats, weight_words


@dataclass(frozen=True)
class Bound:
    """Cycles of each resource; Bounds add up with ``+``.

    dlzs   prediction, ceil(n/COLS) * d for each tile
    sufa   formal path, ceil(min(quota, n)/2) * d for each tile (dense: ceil(n/2) * d)
    steps  formal path with the pair steps that a run really took over all phases, nsteps * d
    dram   beats read: Q, K8 of every slot, K and V of the keys that exist, what KVGEN needs
    kvgen  generation of K and V
    write  beats written: O, and K, V and their valid bits when they are made
    """

    dlzs: int = 0
    sufa: int = 0
    steps: int = 0
    dram: int = 0
    kvgen: int = 0
    write: int = 0

    def __add__(self, other: Bound) -> Bound:
        return Bound(*(a + b for a, b in zip(self.parts(), other.parts(), strict=True)))

    def parts(self) -> tuple[int, int, int, int, int, int]:
        """(dlzs, sufa, steps, dram, kvgen, write)."""
        return self.dlzs, self.sufa, self.steps, self.dram, self.kvgen, self.write

    @property
    def planned(self) -> int:
        """Cycles when every row uses its whole quota: the largest part except steps."""
        return max(self.dlzs, self.sufa, self.dram, self.kvgen, self.write)

    @property
    def measured(self) -> int:
        """Cycles with the steps really taken: the largest part except sufa."""
        return max(self.dlzs, self.steps, self.dram, self.kvgen, self.write)


def generation_bound(tokens: int, plan: LayerNumbers, cfg: Config) -> Bound:
    """K and V of so many tokens: array, reads of X and RT, write-back. Weights are not in it."""
    passes = -(-2 * plan.d // cfg.ROWS)
    # A group of tokens takes H cycles a pass, or longer to move its results out.
    group = passes * max(plan.h, cfg.ROWS * cfg.KG_TOK // 2)
    table = cfg.beats16(plan.d) if plan.mode else 0
    return Bound(
        kvgen=tokens * group // kvgen.group_tokens(plan.h, plan.d, cfg),
        dram=tokens * (cfg.beats16(plan.h) + table),
        write=tokens * 2 * cfg.beats16(plan.d),
    )


def prediction_bound(plan: LayerNumbers, cfg: Config) -> int:
    """Cycles of the job that predicts K8: for every group of COLS tokens and every chunk the
    larger of H array cycles, beats read and beats written."""
    total = 0
    for rows in dlzs.chunks(plan.kv_heads, plan.d, cfg):
        codes, table, out = chunk_beats(rows, plan.h, plan.d, plan.mode, cfg)
        for first in range(0, plan.keys, cfg.COLS):
            n = min(cfg.COLS, plan.keys - first)
            total += max(plan.h, codes + n * (cfg.beats8(plan.h) + table), n * out)
    return total


def weight_bound(plan: LayerNumbers, cfg: Config) -> int:
    """Beats of the weights of one KV head."""
    return weight_words(plan.h, plan.d, cfg) * 2 * cfg.ROWS // cfg.BUS_BYTES
