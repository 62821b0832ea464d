# SPDX-License-Identifier: Apache-2.0
"""SOFA and dense attention as Methods.

    method = Sofa(quota=16, radius_nats=6.0, dense_layers=(0,))
    done = method.start()(call)

What the machine supports runs bit-exactly: each query head is a job, with a scale of its own for Q
and those of its KV head for K, K8 and V, through models.fast or, without numba, through
models.head; both give the same integers. Heads share what they read as in one job. `threshold`,
`exchange` and `min_keys` change the selection in ways that the machine cannot yet; the formal path
over the changed lists is the machine's (models.lab.lists).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from models import dlzs, fast, head, layer, plan, rope
from models.config import Config, ConfigError, check
from models.lab import lists
from models.lab.counts import Counts
from models.lab.machine import SNAPS, Machine
from models.lab.method import Attended, Call, Method, count_formal, softmax_over
from models.quantise import Peaks, Quantised, check_finite
from models.tiling import blocks, visible


@dataclass(frozen=True)
class Dense(Method):
    """Exact attention over every visible pair, float32; the counts are those of plain attention."""

    name = "dense"

    def attend(self, call: Call) -> Attended:
        """One layer."""
        mask = np.broadcast_to(call.mask(), (len(call.q), *call.mask().shape))
        counts = Counts()
        count_formal(counts, call, mask)
        return Attended(softmax_over(call.logits(), mask, call.shared(call.v)), mask, counts)


@dataclass(frozen=True)
class Calibration(Dense):
    """Exact attention that notes how large Q, K and V of each layer and head are, for Sofa(peaks).

    percentile: share of a head's absolute values in a Call that its peak covers, above 0 up to 100;
    a peak is the largest of all Calls of the layer. Stacks of a model share their numbers
    (models.lab.stacks) and so these peaks.
    """

    percentile: float = 100.0
    seen: dict[int, tuple[np.ndarray, ...]] = field(default_factory=dict, repr=False,
                                                    compare=False)

    name = "calibration"

    def __post_init__(self) -> None:
        if not 0 < self.percentile <= 100:
            raise ConfigError(f"percentile = {self.percentile}, legal: above 0, up to 100")

    def attend(self, call: Call) -> Attended:
        """One layer."""
        for name in "qkv":
            check_finite(name, getattr(call, name))
        new = tuple(np.percentile(np.abs(x).reshape(len(x), -1), self.percentile, axis=1)
                    for x in (call.q, call.k, call.v))
        layer, _ = call.place()
        old = self.seen.get(layer, new)
        if [len(x) for x in old] != [len(x) for x in new]:
            raise ConfigError(f"layer {layer} has {len(new[0])} query and {len(new[1])} KV "
                              f"heads, legal: {len(old[0])} and {len(old[1])}, as before; stacks "
                              f"of unlike heads need a Calibration each")
        self.seen[layer] = tuple(map(np.maximum, old, new))
        return super().attend(call)

    def peaks(self) -> dict[int, Peaks]:
        """Peaks of every layer so far."""
        return {layer: Peaks(*parts) for layer, parts in self.seen.items()}


@dataclass(frozen=True)
class Sofa(Machine):
    """This machine; see Machine for the settings that are not told here.

    quota         keys a row may take from a tile (None: a quarter, bc: all); radius_nats: keys
                  further below the row's best are dropped (None: none); both may differ by layer
    threshold     least share of the row's predicted softmax that a key must have, above 0, below
                  1; None: none
    threshold, exchange, min_keys   see models.lab.lists; lists longer than a buffer run in one
                  phase then

    Counts: masked pairs cost nothing. predict: a leading-one detector for each element of Q; for
    each pair and element one shift of the key (two with two-term codes) and as many additions;
    with two phases the same for each element of X8 and of a coded weight, and RoPE. select:
    comparisons of the passes of the 16-to-4 core that a row needs in a tile, and of exchange
    passes, and what a threshold takes (models.lab.lists); choosing keys for min_keys is not
    counted. compute: products and additions as in count_formal; one exp a pair; a pair step
    compares twice, for the larger of its two scores and against the reference; a raised reference
    shifts d + 1 sums; one division a row and a product for each output element. Bytes are whole
    beats: Q, K8 of every slot of a tile, K and V that a block needs, O; with two phases X8, codes,
    RoPE table and K8 written.
    """

    quota: int | None | tuple[int | None, ...] = 16
    radius_nats: float | None | tuple[float | None, ...] = 6.0
    threshold: float | None = None
    min_keys: int = 0
    exchange: int = 0

    name = "sofa"

    def __post_init__(self) -> None:
        super().__post_init__()
        check("min_keys", self.min_keys, 0, 65536)
        check("exchange", self.exchange, 0, 64)
        for value in self.quota if isinstance(self.quota, tuple) else (self.quota,):
            if value is not None:
                check("quota", value, 1, self.machine().BC_MAX)
        radii = self.radius_nats if isinstance(self.radius_nats, tuple) else (self.radius_nats,)
        for value in radii:
            if value is not None and not value >= 0:
                raise ConfigError(f"radius_nats = {value}, legal: 0 and above, or None")
        if self.threshold is not None and not 0 < self.threshold < 1:
            raise ConfigError(f"threshold = {self.threshold}, legal: above 0, below 1, or None")

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
        changed = not job.dense and (self.threshold or self.exchange or self.min_keys)
        out = np.empty(call.q.shape, np.float32)
        selected = np.empty((len(heads), rows, keys), bool)
        before = np.empty_like(selected) if changed else selected
        steps = updates = 0
        for h, (numbers, own) in enumerate(heads):
            own_out, before[h], more, raised = _run(numbers, own, cfg)
            if changed:
                own_out, selected[h], more, raised = self._change(numbers, own, cfg, before[h])
            out[h] = own_out[0] * numbers.sv
            steps, updates = steps + more, updates + raised
        compared = 0 if job.dense else lists.core_comparisons(before, job, cfg)
        if changed:
            compared += self.exchange * lists.exchange_comparisons(before, job, cfg)
        if changed and self.threshold:
            lists.count_threshold(counts, before, job, cfg)
        counts.add("select", f"cmp{cfg.SC_W}", compared)
        self._count(counts, call, job, cfg, selected, steps, updates)
        return Attended(out, selected, counts)

    def _change(self, numbers: Quantised, job: head.Job, cfg: Config, selected: np.ndarray):
        """What _run gives for a job of one head after the changes of models.lab.lists; selected
        bool [rows, keys]: the machine's, which loses the keys below the threshold in place."""
        chosen = selected[None]
        if self.threshold:
            octave = lists.octave_units(numbers.sq, numbers.sk8, job.d, job.snap, cfg)
            chosen = lists.thresholded(numbers, numbers.k8, job, cfg, chosen, octave,
                                       self.threshold)
            selected[:] = chosen[0]
        return lists.run(numbers, numbers.k8, job, cfg, chosen, self.exchange, self.min_keys)

    def _count(self, counts: Counts, call: Call, job: head.Job, cfg: Config,
               selected: np.ndarray, steps: int, updates: int) -> None:
        """Add the scores and the formal path of one attention to the counts; see the class."""
        heads, rows, d = call.q.shape
        pairs, seen = np.count_nonzero(selected), np.count_nonzero(call.mask()) * heads
        counts.visible += seen
        counts.selected += pairs
        slots = 0
        if not job.dense:
            terms = 2 if job.snap == dlzs.TWO_TERM else 1
            counts.add("predict", "lz16", call.q.size)
            counts.add("predict", f"shift{8 + cfg.SC_FRAC}", terms * seen * d)
            counts.add("predict", f"add{cfg.SC_W}", terms * seen * d)
            slots = heads * sum(visible(r, n, call.k.shape[1], job.causal, job.offset)
                                for r, n in blocks(rows, cfg))
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
    if fast.available():
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


def layer_inputs(call: Call) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Float64 x [keys, H], wk and wv [kv_heads, H, d] that make K of a call before RoPE, and V but
    for its bias.

    ConfigError where the call does not say what its keys are made of. A bias of K counts only
    with RoPE, where it is one more channel of X (models.layer.with_bias).
    """
    p = call.projection
    if p is None:
        raise ConfigError(f"phases = 2 needs what keys are made of, and layer {call.layer} has no "
                          f"projection, legal: phases = 1")
    keys, d = call.k.shape[1:]
    x, wk, wv = (np.asarray(a, np.float64) for a in (p.x, p.wk, p.wv))
    if len(x) != keys or not wk.shape == wv.shape == (len(call.k), x.shape[1], d):
        raise ConfigError(f"projection has x {x.shape}, wk {wk.shape}, wv {wv.shape}, legal: "
                          f"[{keys}, H], [{len(call.k)}, H, {d}] twice")
    for name, array in (("x", x), ("wk", wk), ("wv", wv)):
        check_finite(f"projection's {name}", array)
    if p.rope_mode and np.any(p.bk):
        return layer.with_bias(x, wk, wv, p.bk, np.zeros_like(p.bk))
    return x, wk, wv


def count_prediction(counts: Counts, call: Call, h: int, cfg: Config) -> None:
    """Add what the prediction of the keys of a call from h channels of X costs."""
    mode = call.projection.rope_mode
    counts.add("predict", f"shift{8 + cfg.SC_FRAC}", call.k.size * h)
    counts.add("predict", f"add{cfg.SC_W}", call.k.size * h)
    if mode:
        counts.add("predict", "mul16x16", 2 * call.k.size)
        counts.add("predict", "add32", call.k.size)
    kv_heads, keys, d = call.k.shape
    stats = layer.prediction_stats(keys, kv_heads, h, d, mode, cfg)
    for stream, name in (("x8", "k8"), ("codes", "w"), ("rope", "r"), ("k8_write", "wb")):
        counts.move(stream, stats.bytes[name])


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
