# SPDX-License-Identifier: Apache-2.0
"""SOFA as a Method: keys are selected by their share of the row's sum, and the mean
of V stands in for the rest (docs/second.md).

    method = Sofa(tau=2**-9)
    done = method.start()(call)

A layer is one job, bit-exact, through models.fast or, without numba, models.head;
with phases = 2 models.layer makes K, V and the means from X as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ... import fast, head, layer, plan
from ...balance import additions
from ...config import Config, ConfigError, check
from ...driver import compiled
from . import rtl
from .counts import Counts
from .machine import (
    SNAPS,
    Machine,
    check_flag,
    check_sort,
    core_comparisons,
    count_prediction,
    count_scores,
    each,
    layer_inputs,
)
from .method import Attended, Call, Method

ENGINES = ("model", "rtl")


@dataclass(frozen=True)
class Sofa(Machine):
    """The second machine; see Machine for the settings that are not told here.

    widths        fields of models.config.Config
    band          row blocks of a band, None: what the stores hold
    tau, fall     threshold at 1024 visible keys, and the exponent with which it falls with their
                  number; None: those of the snap rule (models.plan.TAU); may differ by layer
    coarse        least share of a coarse key, a dropped key that adds V of VC_W bits with its
                  predicted weight, up to tau; None: there are none; may differ by layer; with
                  phases = 1 only
    blend         the mean of V stands in for what is dropped
    balance       Q and K are turned before they are quantised (models.balance): True, with
                  scales of the channels from the data; layer -> scales [kv_heads, d], a mapping,
                  kept as sorted pairs of tuples; False: not. With peaks, which are then those of
                  the turned tensors, a mapping or False (models.lab.methods.dense.Calibration finds
                  both); with phases = 1 only
    quota, radius_nats   in the place of all that, when one is given: keys a row may take from a
                  tile, and how far below the row's best they may be (the first machine's rule;
                  None: a quarter of the tile, and any); may differ by layer
    engine        "model"; or "rtl": every call runs on the compiled Verilog as well, its output is
                  returned after a comparison with the model's, bit for bit, and Counts.cycles says
                  how long it took (models.lab.methods.rtl); without coarse

    Counts: masked pairs cost nothing. predict: a leading-one detector for each element of Q; for
    each pair and element one shift of the key (two with two-term codes) and as many additions,
    twice for a tile that is scored twice. select: for each scored pair a comparison and a decoder
    (priced as a shift of SUM_FRAC + 1 bits), an addition to P and one to T; for each row and tile
    the two shifts of the sums, a leading one, and the product of P and the ratio; in their place
    with quota and radius the comparisons of the sort cores
    (models.lab.methods.machine.core_comparisons). compute: as
    models.lab.methods.method.count_formal, with one comparison a pair, a product for each output
    element, and another one where the mean of V is blended in; with two phases the projection of
    the means. With balance (predict) a product and log2(d) additions for each element of Q and K,
    which are the host's. Bytes are whole beats: Q, K8 of every tile of a band as often as it is
    scored, K and V of the union of a band, O, the means or, with two phases, mean rows of X. How K
    and V of keys are made is not counted, as with every Method.

    The coarse tail. select: one more comparison and addition for each scored pair, one more shift
    for each row and tile. compute: for each coarse pair an addition of CW_W bits, which occurs
    nowhere else (`coarse_pairs` reads it), and for each element of V a shift of CV_FRAC + VC_W bits
    and an addition of CV_W; the shifts of the sums; a product for each output element and a
    reciprocal for each row. Bytes (v_coarse): VC_W bits of V of the coarse keys of a band. Pairs
    selected, and keep, are those of the formal path.
    """

    snap: str = "two-term"
    band: int | None = None
    tau: float | None | tuple[float | None, ...] = None
    fall: float | None | tuple[float | None, ...] = None
    coarse: float | None | tuple[float | None, ...] = None
    blend: bool = True
    balance: bool | tuple[tuple[int, tuple], ...] | Mapping[int, np.ndarray] = False
    quota: int | None | tuple[int | None, ...] = None
    radius_nats: float | None | tuple[float | None, ...] = None
    engine: str = "model"

    name = "sofa"
    windows = True
    parameters = Config

    def __post_init__(self) -> None:
        super().__post_init__()
        cfg = self.machine()
        check_flag("blend", self.blend)
        if self.engine not in ENGINES:
            raise ConfigError(f"engine = {self.engine!r}, legal: {', '.join(ENGINES)}")
        if self.engine == "rtl":
            if self.coarse is not None:
                raise ConfigError(f"coarse = {self.coarse} with engine = 'rtl', legal: None")
            compiled.parameters(cfg)
        if self.band is not None:
            check("band", self.band, 1, cfg.places(8))
        for name in ("tau", "coarse"):
            for value in each(getattr(self, name)):
                plan.check_share(name, value)
        if self.coarse is not None and not self.blend:
            raise ConfigError(f"coarse = {self.coarse}, legal: None without blend")
        if self.coarse is not None and self.phases == 2:
            raise ConfigError(f"coarse = {self.coarse}, legal: None with phases = 2")
        if not isinstance(self.balance, bool):
            self._keep_balance()
        elif self.balance and self.peaks:
            raise ConfigError("balance = True with peaks, legal: False, or layer -> scales")
        if self.balance and self.phases == 2:
            raise ConfigError("balance with phases = 2, legal: False, for the machine makes K")
        for value in each(self.fall):
            plan.check_fall(value)
        check_sort(self.quota, self.radius_nats, cfg)

    def _keep_balance(self) -> None:
        """Make the scales of the layers hashable."""
        try:
            given = {number: tuple(tuple(map(float, of)) for of in scales)
                     for number, scales in dict(self.balance).items()}
        except (TypeError, ValueError) as error:
            raise ConfigError(f"balance = {self.balance!r}, legal: True, False, or a mapping, "
                              f"layer -> scales [kv_heads, d]") from error
        for number in given:
            check("layer of balance", number, 0, 65535)
        object.__setattr__(self, "balance", tuple(sorted(given.items())) or False)

    def balance_of(self, call: Call):
        """What models.plan.plan takes as balance in a layer."""
        if isinstance(self.balance, bool):
            return self.balance
        known, (number, _) = dict(self.balance), call.place()
        if number not in known:
            raise ConfigError(f"balance has no layer {number}, legal: {', '.join(map(str, known))}")
        return np.array(known[number])

    def attend(self, call: Call) -> Attended:
        """One layer."""
        self.check_call(call)
        cfg, counts = self.machine(), Counts()
        dense = self.dense(call)
        quota, radius = self.setting("quota", call), self.setting("radius_nats", call)
        sorts = quota is not None or radius is not None
        settings = dict(
            causal=call.causal, bc=self.setting("bc", call), band=self.band,
            select=head.DENSE if dense else head.SORT if sorts else head.SUM,
            tau=self.setting("tau", call), coarse=self.setting("coarse", call),
            fall=self.setting("fall", call), quota=quota, radius_nats=radius,
            snap=SNAPS[self.snap], interleaved=self.interleaved, blend=self.blend,
            offset=call.first if call.causal else None, window=call.window, sinks=call.sinks)
        run, peaks = fast.run_job if fast.available() else head.run_job, self.scales(call)
        if self.phases == 2 and not dense:
            x, wk, wv = layer_inputs(call)
            p = call.projection
            made = layer.plan_layer(
                x, wk, wv, call.q, cfg, rope_theta=p.rope_theta, mode=p.rope_mode,
                q_peaks=None if peaks is None else peaks.q, **settings)
            done, job = layer.run_layer(made, cfg, run=run), made.job
            out = done.out
            if self.engine == "rtl":
                out, counts.cycles = rtl.run_layer(made, cfg, done)
            # The host adds the bias of V.
            out = out * made.out_scale + call.shared(p.bv)[:, None]
            count_prediction(counts, call, made.h, cfg)
            self._count(counts, call, job, cfg, done, made.h)
        else:
            numbers, job = plan.plan(call.q, call.k, call.v, cfg, peaks=peaks,
                                     balance=self.balance_of(call), **settings)
            done = run(numbers.q, numbers.k, numbers.v, numbers.k8, numbers.means, job, cfg)
            out = done.out
            if self.engine == "rtl":
                out, counts.cycles = rtl.run_job(numbers, job, cfg, done)
            out = out * numbers.out_scale
            self._count(counts, call, job, cfg, done)
            if self.balance:
                vectors = call.q.size + call.k.size
                counts.add("predict", "mul16x16", vectors)
                counts.add("predict", "add32", vectors * additions(call.d))
            if job.select == head.SUM and any(entry.coarse is not None for entry in job.table):
                self._count_tail(counts, call, job, cfg, done)
        return Attended(out.astype(np.float32), done.selected, counts)

    def _count(self, counts: Counts, call: Call, job: head.Job, cfg: Config,
               done: head.JobResult | layer.LayerResult, h: int | None = None) -> None:
        """Add what the job costs; see the class. h: channels of X that the means are made of."""
        heads, rows, d = call.q.shape
        kv_heads, keys = call.k.shape[:2]
        mask = call.mask()
        pairs = np.count_nonzero(done.selected)
        counts.visible += np.count_nonzero(mask) * heads
        counts.selected += pairs
        scored = steps = slots = union = means = comparisons = 0
        for part in head.parts(heads, kv_heads, rows, keys, job, cfg):
            band, own = part.band, slice(part.heads.start, part.heads.stop)
            stretch = slice(band.row, band.row + band.n)
            seen, n = mask[stretch], len(part.heads)
            for t, _ in head.turns(len(band.tiles), job):
                tile = band.tiles[t]
                scored += np.count_nonzero(seen[:, tile.keys]) * n
                steps += band.n * n
                slots += tile.n
            if job.select == head.SORT:
                comparisons += core_comparisons(done.selected[own, stretch], seen, band.tiles,
                                                job.quota)
            union += np.count_nonzero(part.wanted(done.selected))
            means += len(band.blocks)
        if not job.dense:
            count_scores(counts, call, scored, job.snap, cfg)
        if job.select == head.SORT:
            counts.add("select", f"cmp{cfg.SC_W}", comparisons)
        elif job.select == head.SUM:
            counts.add("select", f"cmp{cfg.LEVEL_W}", scored)
            counts.add("select", f"shift{cfg.SUM_FRAC + 1}", scored)
            counts.add("select", f"add{cfg.SUM_W}", 2 * scored)
            counts.add("select", f"shift{cfg.SUM_W}", 2 * steps)
            counts.add("select", f"lz{cfg.SUM_W}", steps)
            counts.add("select", f"mul{cfg.SUM_W}x{cfg.RATIO_FRAC}", steps)
        blended = job.select == head.SUM and job.blend
        outputs = heads * rows * d
        counts.add("compute", "mul16x16", 2 * pairs * d + (1 + blended) * outputs)
        counts.add("compute", "add32", 2 * pairs * d + blended * outputs)
        counts.add("compute", "cmp16", pairs)
        counts.add("compute", "exp16", pairs)
        counts.add("compute", "shift32", done.updates * (d + 1))
        counts.add("compute", "div32", heads * rows)
        vector = cfg.beats16(d) * cfg.BUS_BYTES
        small = cfg.beats8(d) * cfg.BUS_BYTES
        mean = small if h is None else cfg.beats16(h) * cfg.BUS_BYTES
        if h is not None and blended:
            counts.add("compute", "mul16x16", means * h * d)
            counts.add("compute", "add32", means * h * d)
        for stream, size in (("q", heads * rows * vector), ("k", union * vector),
                             ("v", union * vector), ("o", heads * rows * vector),
                             ("k8", 0 if job.dense else slots * small),
                             ("mean", means * mean if blended else 0)):
            counts.move(stream, size)

    def _count_tail(self, counts: Counts, call: Call, job: head.Job, cfg: Config,
                    done: head.JobResult) -> None:
        """Add what the coarse keys of the job cost."""
        heads, rows, d = call.q.shape
        kv_heads, keys = call.k.shape[:2]
        mask, pairs = call.mask(), np.count_nonzero(done.coarse)
        scored = steps = union = 0
        for part in head.parts(heads, kv_heads, rows, keys, job, cfg):
            band, n = part.band, len(part.heads)
            seen = mask[band.row : band.row + band.n]
            for t, _ in head.turns(len(band.tiles), job):
                scored += np.count_nonzero(seen[:, band.tiles[t].keys]) * n
                steps += band.n * n
            union += np.count_nonzero(part.wanted(done.coarse))
        counts.add("select", f"cmp{cfg.LEVEL_W}", scored)
        counts.add("select", f"add{cfg.SUM_W}", scored)
        counts.add("select", f"shift{cfg.SUM_W}", steps)
        counts.add("compute", f"add{cfg.CW_W}", pairs)
        counts.add("compute", f"shift{cfg.CV_FRAC + cfg.VC_W}", pairs * d)
        counts.add("compute", f"add{cfg.CV_W}", pairs * d)
        counts.add("compute", f"shift{cfg.CV_W}", done.rises * (d + 1))
        counts.add("compute", "mul16x16", heads * rows * d)
        counts.add("compute", "add32", heads * rows * d)
        counts.add("compute", "div32", heads * rows)
        beats = -(-d * cfg.VC_W // (8 * cfg.BUS_BYTES))
        counts.move("v_coarse", union * beats * cfg.BUS_BYTES)

    def coarse_pairs(self, ops: dict[str, dict[str, int]]) -> int:
        """Coarse pairs in operations that this method has counted (Counts.ops)."""
        return ops["compute"].get(f"add{self.machine().CW_W}", 0)

    @classmethod
    def sweep(cls) -> list[Method]:
        """From many keys to few: thresholds half an octave apart."""
        return [cls(tau=2.0 ** -(e / 2)) for e in range(24, 11, -1)]
