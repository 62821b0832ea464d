# SPDX-License-Identifier: Apache-2.0
"""The second machine as a Method: keys are selected by their share of the row's sum, and the mean
of V stands in for the rest (models.second, docs/second.md).

    method = SumSofa(snap="two-term")
    done = method.start()(call)

A layer is one job, bit-exact, through models.second.fast or, without numba, models.second.head.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from models import dlzs
from models.config import ConfigError, check
from models.lab.counts import Counts
from models.lab.method import Attended, Call, Method
from models.lab.sofa import SNAPS, predicted_keys
from models.quantise import Peaks
from models.second import fast, head, plan
from models.second.config import Config


@dataclass(frozen=True)
class SumSofa(Method):
    """The second machine.

    config        a name of scripts/configs.py; widths: fields of models.second.config.Config to
                  change, a mapping; kept as sorted pairs
    snap          how Q is coded: "floor", "nearest" or "two-term" (sets TWO_TERM)
    phases        1: keys of the prediction are K rounded to 8 bits; 2: they are predicted from
                  Call.projection with 4-bit weight codes
    bc            keys in a tile; band: row blocks of a band, None: what the stores hold
    tau, fall     threshold at 1024 visible keys, and the exponent with which it falls with their
                  number; None: those of the snap rule (models.second.plan.TAU)
    blend         the mean of V stands in for what is dropped
    interleaved   tiles take every Tc-th key instead of neighbours
    dense_layers  layers that use every visible pair, by number
    peaks         layer -> models.quantise.Peaks, a mapping: scales that do not hang on the data

    ConfigError, a ValueError, for a value out of range, and for scores beyond the machine
    (models.plan.check_scores).

    Counts: masked pairs cost nothing. predict: a leading-one detector for each element of Q; for
    each pair and element one shift of the key (two with two-term codes) and as many additions,
    for the tile that is scored twice twice. select: for each scored pair a comparison and a decoder
    (priced as a shift of SUM_FRAC + 1 bits), an addition to P and one to T; for each row and tile
    the two shifts of the sums, a leading one, and the product of P and the ratio. compute: as
    models.lab.method.count_formal, with one comparison a pair, and two products for each output
    element. Bytes are whole beats: Q, K8 of every tile of a band (the first twice), K and V of the
    union of a band, O, the means.
    """

    config: str = "paper"
    widths: tuple[tuple[str, int], ...] | Mapping[str, int] = ()
    snap: str = "two-term"
    phases: int = 1
    bc: int = 64
    band: int | None = None
    tau: float | None = None
    fall: float | None = None
    blend: bool = True
    interleaved: bool = True
    dense_layers: tuple[int, ...] = ()
    peaks: tuple[tuple[int, Peaks], ...] | Mapping[int, Peaks] = ()

    name = "sofa-sum"

    def __post_init__(self) -> None:
        if self.snap not in SNAPS:
            raise ConfigError(f"snap = {self.snap!r}, legal: {', '.join(SNAPS)}")
        object.__setattr__(self, "widths", tuple(sorted(dict(self.widths).items())))
        object.__setattr__(self, "dense_layers", tuple(self.dense_layers))
        object.__setattr__(self, "peaks", tuple(sorted(dict(self.peaks).items())))
        check("phases", self.phases, 1, 2)
        for number in self.dense_layers:
            check("dense_layers", number, 0, 65535)
        self.machine().check_bc(self.bc)
        if self.tau is not None and not 0 < self.tau <= 1:
            raise ConfigError(f"tau = {self.tau}, legal: above 0, up to 1, or None")
        if self.fall is not None and not 0 <= self.fall < 1:
            raise ConfigError(f"fall = {self.fall}, legal: 0 and above, below 1, or None")

    def machine(self) -> Config:
        """The configuration with the changed widths."""
        cfg = Config.from_name(self.config)
        unknown = sorted(set(dict(self.widths)) - (set(vars(cfg)) - {"name"}))
        if unknown:
            raise ConfigError(f"widths: no field {unknown[0]!r}, legal: "
                              f"{', '.join(sorted(set(vars(cfg)) - {'name'}))}")
        two_term = {"TWO_TERM": 1} if self.snap == "two-term" else {}
        return cfg.replace(**{**two_term, **dict(self.widths)})

    def attend(self, call: Call) -> Attended:
        """One layer."""
        cfg, counts = self.machine(), Counts()
        rows, keys = call.q.shape[1], call.k.shape[1]
        if call.causal and rows > keys:
            raise ConfigError(f"{rows} causal query rows over {keys} keys, legal: up to {keys}")
        peaks = None
        if self.peaks:
            layer, known = call.place()[0], dict(self.peaks)
            if layer not in known:
                raise ConfigError(f"peaks has no layer {layer}, legal: "
                                  f"{', '.join(map(str, known))}")
            peaks = known[layer]
        dense = bool(self.dense_layers) and call.place()[0] in self.dense_layers
        predicted = None
        if self.phases == 2 and not dense:
            predicted = predicted_keys(call, cfg, counts)
        numbers, job = plan.plan(
            call.q, call.k, call.v, cfg, peaks=peaks, predicted=predicted, causal=call.causal,
            bc=self.bc, band=self.band, select=head.DENSE if dense else head.SUM, tau=self.tau,
            fall=self.fall, snap=SNAPS[self.snap], interleaved=self.interleaved, blend=self.blend)
        run = fast.run_job if fast.available() else head.run_job
        done = run(numbers.q, numbers.k, numbers.v, numbers.k8, numbers.means, job, cfg)
        self._count(counts, call, job, cfg, done)
        out = (done.out * numbers.out_scale).astype(np.float32)
        return Attended(out, done.selected, counts)

    def _count(self, counts: Counts, call: Call, job: head.Job, cfg: Config,
               done: head.JobResult) -> None:
        """Add what the job costs; see the class."""
        heads, rows, d = call.q.shape
        kv_heads, keys = call.k.shape[:2]
        mask, group = call.mask(), heads // kv_heads
        pairs = np.count_nonzero(done.selected)
        counts.visible += np.count_nonzero(mask) * heads
        counts.selected += pairs
        bands = job.bands(rows, keys, cfg)
        together = max(1, min(group, cfg.places(d) // job.band))
        parts = -(-group // together) * kv_heads
        slots = union = scored = tiles = 0
        for band in bands:
            own = slice(band.row, band.row + band.n)
            first = np.count_nonzero(mask[own][:, band.tiles[0].keys])
            scored += (np.count_nonzero(mask[own]) + first) * heads
            tiles += (len(band.tiles) + 1) * band.n * heads
            slots += (sum(t.n for t in band.tiles) + band.tiles[0].n) * parts
            for kv in range(kv_heads):
                for at in range(kv * group, (kv + 1) * group, together):
                    some = done.selected[at : min(at + together, (kv + 1) * group), own]
                    union += np.count_nonzero(some.any(axis=(0, 1)))
        if job.select != head.DENSE:
            terms = 2 if job.snap == dlzs.TWO_TERM else 1
            counts.add("predict", "lz16", call.q.size)
            counts.add("predict", f"shift{8 + cfg.SC_FRAC}", terms * scored * d)
            counts.add("predict", f"add{cfg.SC_W}", terms * scored * d)
            counts.add("select", f"cmp{cfg.SC_W}", scored)
            counts.add("select", f"shift{cfg.SUM_FRAC + 1}", scored)
            counts.add("select", f"add{cfg.SUM_W}", 2 * scored)
            counts.add("select", f"shift{cfg.SUM_W}", 2 * tiles)
            counts.add("select", f"lz{cfg.SUM_W}", tiles)
            counts.add("select", f"mul{cfg.SUM_W}x{cfg.RATIO_FRAC}", tiles)
        counts.add("compute", "mul16x16", 2 * pairs * d + 2 * heads * rows * d)
        counts.add("compute", "add32", 2 * pairs * d + heads * rows * d)
        counts.add("compute", "cmp16", pairs)
        counts.add("compute", "exp16", pairs)
        counts.add("compute", "shift32", done.updates * (d + 1))
        counts.add("compute", "div32", heads * rows)
        vector = cfg.beats16(d) * cfg.BUS_BYTES
        small = cfg.beats8(d) * cfg.BUS_BYTES
        dense = job.select == head.DENSE
        for stream, size in (("q", heads * rows * vector), ("k", union * vector),
                             ("v", union * vector), ("o", heads * rows * vector),
                             ("k8", 0 if dense else slots * small),
                             ("mean", 0 if dense else kv_heads * -(-rows // cfg.ROWS) * small)):
            counts.move(stream, size)

    @classmethod
    def sweep(cls) -> list[Method]:
        """From many keys to few: thresholds half an octave apart."""
        return [cls(tau=2.0 ** -(e / 2)) for e in range(24, 11, -1)]
