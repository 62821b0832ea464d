# SPDX-License-Identifier: Apache-2.0
"""Scores every value that one stage of the core hands to the next against the reference model.

The taps of ``sofa_tb`` show scores (DLZS), list words and tiles (SADS), phases and their list words
(RASS), the keys of a phase which are read and not made (KVGEN), scaled scores, weights and
reference exponents of each pair step (exp units of SU-FA), and the flush of each block. The first
wrong value raises an AssertionError which names stage, tile, query row, key and bit, so the stage
that made it is known.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np

from models.config import Config, clog2
from models.head import BlockResult, HeadResult, Job
from models.rass import Phase
from models.tiling import unpack_td
from tb.common.scoreboard import Scoreboard, unpack
from tb.common.stream import StreamMonitor

LANES = 12
"""Scores of a row in one score word."""
LIST_BUFFERS = 4
"""List buffers of SU-FA. SADS has as many where a tile is a phase, else those of RASS."""
RASS_BUFFERS = 2

STAGES = ("dlzs scores", "sads list", "sads tile", "rass list", "rass phase", "kvgen", "sufa z",
          "sufa p", "sufa m", "sufa dm", "sufa o", "sufa l", "sufa R")


@dataclass
class _Place:
    """One expected tile or phase: its block, its numbers within the block, and the head."""

    head: int
    block: BlockResult
    number: int
    part: int = 0

    @property
    def phase(self) -> Phase:
        return self.block.phases[self.number][self.part]

    @property
    def made(self) -> np.ndarray:
        return self.block.made[self.number][self.part]

    def where(self):
        return {"tile": self.number, "phase": self.part, "head": self.head, "row": self.block.row}


class TapScorer:
    """Watches the taps of ``sofa_tb`` and compares them with the results of ``expect()``.

    Args:
        dut: handle of sofa_tb.
        cfg: its configuration.
        scoreboard: where comparisons are counted.
    """

    def __init__(self, dut, cfg: Config, scoreboard: Scoreboard):
        self._cfg, self._sb = cfg, scoreboard
        # List buffer of the job's first tile: the ring goes on from one job to the next.
        self._ring, self._phase_ring = 0, 0
        self._buffers = LIST_BUFFERS if cfg.KV_SLOTS == cfg.BC_MAX else RASS_BUFFERS
        self._tiles, self._phases = [], []

        def watch(name, fields, callback):
            # Scores of unused slots and fields of invalid entries are unknown in Icarus.
            StreamMonitor(dut, name, dut.clk, dut.rst, fields=fields, callback=callback,
                          unknown_as=random)

        watch("tap_s", ("td", "scores"), self._score_word)
        watch("tap_l", ("buf", "word", "data"), self._list_word)
        watch("tap_t", ("td", "union", "nsteps", "nsel"), self._tile)
        watch("tap_pl", ("buf", "word", "data"), self._phase_word)
        watch("tap_p", ("td", "slots", "mask", "nsteps"), self._phase)
        watch("tap_g", ("mask",), self._gather)
        watch("tap_e", ("valid", "row", "za", "zb", "pa", "pb", "va", "vb", "m", "dm"), self._step)
        watch("tap_o", ("elem", "data", "sum", "rcp"), self._flush)

    def expect(self, job: Job, heads: list[HeadResult]):
        """The attention job that starts next, and the traced model's results of its heads."""
        self._ring = (self._ring + len(self._tiles)) % self._buffers
        self._phase_ring = (self._phase_ring + len(self._phases)) % LIST_BUFFERS
        self._job = job
        self._tiles, self._phases, self._steps, self._blocks = [], [], [], []
        self._at_score, self._word = 0, 0
        self._at_tile, self._words_seen = 0, {}
        self._at_phase, self._phase_words_seen, self._at_gather = 0, {}, 0
        self._at_step = np.zeros(self._cfg.ROWS // self._cfg.EXP_ROWS, int)
        self._at_block = 0
        for head, head_result in enumerate(heads):
            for block in head_result.blocks:
                self._blocks.append((head, block))
                self._tiles += [_Place(head, block, t) for t in range(len(block.tiles))]
                # step of the block -> its phase and its number within the phase
                step = 0
                for t, phases in enumerate(block.phases):
                    for p, phase in enumerate(phases):
                        place = _Place(head, block, t, p)
                        self._phases.append(place)
                        for i in range(phase.nsteps):
                            self._steps.append((place, step, i))
                            step += 1

    def finish(self):
        """Check that every expected value has been seen."""
        left = {
            "tiles at the scores": 0 if self._job.dense else len(self._tiles) - self._at_score,
            "tiles at the lists": len(self._tiles) - self._at_tile,
            "phases": len(self._phases) - self._at_phase,
            "gather orders": len(self._phases) - self._at_gather,
            "pair steps": int((len(self._steps) * self._cfg.EXP_ROWS - self._at_step).sum()),
            "blocks at the flush": len(self._blocks) - self._at_block,
        }
        assert not any(left.values()), f"taps ended early, still expected: {left}"

    # -----------------------------------------------------------------------------------------
    def _expected_tile(self, at, stage):
        assert at < len(self._tiles), f"{stage}: tile {at} came, {len(self._tiles)} expected"
        return self._tiles[at]

    def _check_td(self, stage, place, word, **changes):
        tile, got = place.block.tiles[place.number], unpack_td(word)
        names = ("n", "rows", "first", "last", "causal", "rel", "kstep")
        want = {f"td.{n}": int(changes.get(n, getattr(tile, n))) for n in names}
        self._sb.compare_fields(stage, want, {f"td.{n}": got[n] for n in names},
                                where=place.where())

    def _score_word(self, item):
        if self._job.dense:
            return
        cfg = self._cfg
        place = self._expected_tile(self._at_score, "dlzs scores")
        tile = place.block.tiles[place.number]
        groups = -(-cfg.COLS // LANES)
        first = self._word // groups * cfg.COLS + self._word % groups * LANES
        lanes = min(LANES, cfg.COLS - self._word % groups * LANES, max(tile.n - first, 0))
        if self._word == 0:
            self._check_td("dlzs scores", place, item["td"])
        got = unpack(item["scores"], cfg.ROWS * LANES, cfg.SC_W, True).reshape(cfg.ROWS, LANES)
        if lanes:
            keys = tile.keys[first : first + lanes]
            self._sb.compare(
                "dlzs scores", place.block.scores[place.number][:, first : first + lanes],
                got[: tile.rows, :lanes], axes=("row", "key"), width=cfg.SC_W,
                where={**place.where(), "key": keys})
        self._word += 1
        if self._word == -(-tile.n // cfg.COLS) * groups:
            self._word, self._at_score = 0, self._at_score + 1

    def _compare_word(self, stage, chosen, item, slot_w, place):
        """One list word of four entries a row against a Selection."""
        rows, first = self._cfg.ROWS, 4 * item["word"]
        got = unpack(item["data"], rows * 4, slot_w + 1).reshape(rows, 4)
        entry = np.where(got >> slot_w == 1, got, 0)
        want = np.zeros((rows, 4), np.int64)
        part = chosen.valid[:, first : first + 4]
        want[: part.shape[0], : part.shape[1]] = np.where(
            part, chosen.slots[:, first : first + 4] | 1 << slot_w, 0)
        self._sb.compare(stage, want, entry, axes=("row", "position"), width=slot_w + 1,
                         where={**place.where(), "position": first})

    @staticmethod
    def _check_words(stage, chosen, seen, place):
        """Every word with a valid entry was written."""
        used = np.flatnonzero(chosen.valid.any(axis=0)) if chosen.valid.shape[1] else ()
        missing = {int(p) // 4 for p in used} - seen
        assert not missing, f"{stage}: {place.where()}: words {sorted(missing)} never written"

    def _list_word(self, item):
        at = self._at_tile + (item["buf"] - self._ring - self._at_tile) % self._buffers
        place = self._expected_tile(at, "sads list")
        self._compare_word("sads list", place.block.lists[place.number], item, self._cfg.SLOT_W,
                           place)
        self._words_seen.setdefault(at, set()).add(item["word"])

    def _tile(self, item):
        place = self._expected_tile(self._at_tile, "sads tile")
        chosen = place.block.lists[place.number]
        self._check_td("sads tile", place, item["td"])
        self._sb.compare_fields("sads tile", {"union": chosen.union_word, "nsteps": chosen.nsteps,
                                              "nsel": chosen.nsel}, item, where=place.where())
        self._check_words("sads list", chosen, self._words_seen.pop(self._at_tile, set()), place)
        self._at_tile += 1

    def _expected_phase(self, at, stage):
        assert at < len(self._phases), f"{stage}: phase {at} came, {len(self._phases)} expected"
        return self._phases[at]

    def _phase_word(self, item):
        at = self._at_phase + (item["buf"] - self._phase_ring - self._at_phase) % LIST_BUFFERS
        place = self._expected_phase(at, "rass list")
        self._compare_word("rass list", place.phase.lists, item, clog2(self._cfg.KV_SLOTS), place)
        self._phase_words_seen.setdefault(at, set()).add(item["word"])

    def _phase(self, item):
        cfg, place = self._cfg, self._expected_phase(self._at_phase, "rass phase")
        phase, count = place.phase, len(place.block.phases[place.number])
        tile = place.block.tiles[place.number]
        self._check_td("rass phase", place, item["td"],
                       first=tile.first and place.part == 0,
                       last=tile.last and place.part == count - 1)
        self._sb.compare_fields("rass phase", {"mask": phase.mask_word, "nsteps": phase.nsteps},
                                item, where=place.where())
        slots = unpack(item["slots"], cfg.KV_SLOTS, cfg.SLOT_W)[: len(phase.mask)]
        self._sb.compare("rass phase", phase.loaded, slots[phase.mask], axes=("buffer slot",),
                         where=place.where())
        self._check_words("rass list", phase.lists,
                          self._phase_words_seen.pop(self._at_phase, set()), place)
        self._at_phase += 1

    def _gather(self, mask):
        place = self._expected_phase(self._at_gather, "kvgen")
        keys = place.block.tiles[place.number].keys[place.phase.keys]
        read = place.phase.mask & ~np.isin(keys, place.made)
        want = sum(1 << int(s) for s in np.flatnonzero(read))
        self._sb.compare_fields("kvgen", {"read mask": want}, {"read mask": mask},
                                where=place.where())
        self._at_gather += 1

    def _step(self, item):
        cfg = self._cfg
        units, shared = cfg.ROWS // cfg.EXP_ROWS, cfg.EXP_ROWS
        local = unpack(item["row"], units, 8)
        z = np.stack([unpack(item[f], units, cfg.Z_W, True) for f in ("za", "zb")], 1)
        p = np.stack([unpack(item[f], units, 16) for f in ("pa", "pb")], 1)
        m = unpack(item["m"], units, 17, True)
        dm = unpack(item["dm"], units, 6)
        ok = np.stack([unpack(item[f], units, 1) for f in ("va", "vb")], 1)
        for unit in np.flatnonzero(unpack(item["valid"], units, 1)):
            at = self._at_step[unit] // shared
            assert at < len(self._steps), f"sufa: step {at} came, {len(self._steps)} expected"
            place, step, in_tile = self._steps[at]
            self._at_step[unit] += 1
            row = unit * shared + int(local[unit])
            block, chosen = place.block, place.phase.lists
            where = {**place.where(), "row": block.row + row, "step": in_tile}
            rows = len(block.out)
            if row >= rows:
                self._sb.compare("sufa p", [0, 0], ok[unit], axes=("field",),
                                 where={**where, "field": ["va", "vb"]})
                continue
            trace = block.trace
            want = trace.valid[step][row]
            slots = chosen.slots[row, 2 * in_tile : 2 * in_tile + 2]
            where["key"] = block.tiles[place.number].keys[place.phase.keys[slots]]
            if len(slots) < 2:
                where["key"] = [*where["key"], -1]
            self._sb.compare("sufa p", want, ok[unit], axes=("key",),
                             where={**where, "field": "va, vb"})
            self._sb.compare("sufa z", np.where(want, trace.z[step][row], 0),
                             np.where(want, z[unit], 0), axes=("key",), width=cfg.Z_W,
                             where=where)
            self._sb.compare("sufa p", trace.p[step][row], p[unit], axes=("key",), width=16,
                             where=where)
            where.pop("key")
            if trace.l[step][row]:
                self._sb.compare("sufa m", trace.m[step][row], m[unit], width=17, where=where)
            self._sb.compare("sufa dm", min(63, trace.dm[step][row]), dm[unit], where=where)

    def _flush(self, item):
        cfg = self._cfg
        assert self._at_block < len(self._blocks), "sufa: a flush came, none expected"
        head, block = self._blocks[self._at_block]
        rows, d = block.out.shape
        elem = item["elem"]
        where = {"row": block.row, "head": head, "element": elem}
        self._sb.compare("sufa o", block.trace.o_final[:, elem],
                         unpack(item["data"], cfg.ROWS, 16, True)[:rows], axes=("row",), width=16,
                         where=where)
        if elem == 0:
            self._sb.compare("sufa l", block.trace.l_final,
                             unpack(item["sum"], cfg.ROWS, cfg.L_W)[:rows], axes=("row",),
                             width=cfg.L_W, where=where)
            self._sb.compare("sufa R", block.trace.r_final,
                             unpack(item["rcp"], cfg.ROWS, 16)[:rows], axes=("row",), width=16,
                             where=where)
        if elem == d - 1:
            self._at_block += 1
