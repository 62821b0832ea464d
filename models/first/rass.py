# SPDX-License-Identifier: Apache-2.0
"""RASS: the order in which the keys of a tile's union enter the K and V buffers, bit-exact.

A tile whose union does not fit the KV_SLOTS key slots of a buffer runs in phases. Keys that many
rows share go first, keys that would overload a row in this phase wait for the next one, and no
key is loaded twice. Source: docs/models.md, the first machine; the scheme is that of the SOFA
paper.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..config import clog2
from ..sads import Selection
from .config import Config


@dataclass(frozen=True)
class Phase:
    """One filling of a K and V buffer.

    keys   int64 [m], tile slot that buffer slot s stands for
    mask   bool [m], buffer slots that are loaded
    lists  Selection with buffer slots, n = m
    """

    keys: np.ndarray
    mask: np.ndarray
    lists: Selection

    @property
    def loaded(self) -> np.ndarray:
        """Tile slots that are loaded, in buffer order."""
        return self.keys[self.mask]

    @property
    def nsteps(self) -> int:
        """Pair steps of the phase."""
        return self.lists.nsteps

    @property
    def counts(self) -> np.ndarray:
        """Keys that each row uses in the phase, int64 [R]."""
        return self.lists.valid.sum(axis=1)

    @property
    def mask_word(self) -> int:
        """The mask as the hardware's bit vector, bit s = buffer slot s."""
        return sum(1 << int(s) for s in np.flatnonzero(self.mask))


def needs(selection: Selection) -> np.ndarray:
    """bool [R, n]: row r selected slot b."""
    hit = np.zeros((len(selection.slots), selection.n), bool)
    row, position = np.nonzero(selection.valid)
    hit[row, selection.slots[row, position]] = True
    return hit


def key_order(need: np.ndarray, cfg: Config) -> np.ndarray:
    """Slots of the union, those that most rows need first; need bool [R, n].

    Counts are compared in at most 17 levels, equal levels go by slot.
    """
    level = need.sum(axis=0) >> max(0, clog2(cfg.ROWS) - 4)
    order = np.argsort(-level, kind="stable")
    return order[need.any(axis=0)[order]]


def _phase(selection: Selection, keys: np.ndarray) -> Phase:
    """The phase that holds these tile slots: every row's entries among them, best first."""
    place = np.full(selection.n, -1, np.int64)
    place[keys] = np.arange(len(keys))
    slots = place[selection.slots]
    valid = selection.valid & (slots >= 0)
    # A stable sort brings the valid entries to the front without changing their order.
    order = np.argsort(~valid, axis=1, kind="stable")
    slots, valid = (np.take_along_axis(a, order, axis=1) for a in (slots, valid))
    lists = Selection(np.where(valid, slots, 0), valid, len(keys))
    return Phase(np.asarray(keys, np.int64), np.ones(len(keys), bool), lists)


def schedule(selection: Selection, cfg: Config) -> list[Phase]:
    """The phases of one tile, in order; at least one, which may be empty."""
    if cfg.KV_SLOTS == cfg.BC_MAX:
        return [Phase(np.arange(selection.n), selection.union, selection)]
    need = needs(selection)
    waiting = key_order(need, cfg)
    if not len(waiting):
        return [_phase(selection, waiting)]
    need = need.astype(np.int64)
    phases = []
    while len(waiting):
        more = -(-len(waiting) // cfg.KV_SLOTS)
        cap = -(-int(need[:, waiting].sum(axis=1).max()) // more)
        cap += cap & 1  # the formal path takes keys in pairs
        count = np.zeros(len(need), np.int64)
        taken, rejected = [], []
        for key in waiting:
            if len(taken) == cfg.KV_SLOTS:
                break
            column = need[:, key]
            barred = bool((column * (count >= cap)).any())
            if not barred or len(rejected) == (more - 1) * cfg.KV_SLOTS:
                taken.append(key)
                count += column
            else:
                rejected.append(key)
        waiting = waiting[~np.isin(waiting, taken)]
        phases.append(_phase(selection, np.array(taken)))
    return phases


def left_to_right(selection: Selection, cfg: Config) -> list[Phase]:
    """Baseline: the union in slot order, KV_SLOTS keys a phase."""
    keys = np.flatnonzero(selection.union)
    starts = range(0, max(len(keys), 1), cfg.KV_SLOTS)
    return [_phase(selection, keys[s : s + cfg.KV_SLOTS]) for s in starts]


def balance(phases: list[Phase]) -> float:
    """Mean over rows / largest row of the keys used, over all phases, 0..1: the share of the pair
    lanes that do work. 1 where nothing is used."""
    used = sum(int(p.counts.sum()) for p in phases)
    room = sum(len(p.counts) * int(p.counts.max(initial=0)) for p in phases)
    return used / room if room else 1.0
