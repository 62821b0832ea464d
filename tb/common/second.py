# SPDX-License-Identifier: Apache-2.0
"""Host driver of the second machine: integers of models.second in, numpy arrays and counters out.

    acc = Accelerator(dut, cfg)                # cfg: models.second.config.Config
    await acc.reset()
    done = await acc.run(numbers, job)         # models.second.plan.plan
    layer = await acc.run_layer(plan)          # models.second.layer.plan_layer

A layer is a chain of two jobs for each KV head, key prediction and attention, since what turns sums
into keys and values belongs to a KV head. Buffers, registers and descriptors otherwise as in
tb.common.accelerator; the table of heads and the means of V: docs/organisation.md.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from models import dlzs, regs
from models.bounds import Bound, generation_bound, prediction_bound, weight_bound
from models.config import ConfigError
from models.layer import chunk_beats, valid_beats
from models.sads import reach
from models.second.config import Config
from models.second.head import DENSE, SORT, SUM, Job, parts, turns
from models.second.layer import LayerPlan, mean_tokens
from models.second.plan import Numbers, plan
from tb.common import accelerator
from tb.common.accelerator import Descriptor, Done, buffer_fields
from tb.common.limits import TILE, TOKEN, Limit, Speed, limit_of
from tb.common.states import instances, state_names

ENTRY_BYTES = 16
"""Bytes of an entry of the table of heads."""

ENTRY = np.dtype([("scale_m", "<u2"), ("scale_shift", "u1"), ("octave", "u1"), ("tau", "<i2"),
                  ("zero", "<u2"), ("radius", "<u4"), ("rest", "<u4")])
"""An entry of the table of heads."""

SHARED = {"ht": "x8", "vm": "wc"}
"""Buffer of attention jobs -> the buffer of predict jobs whose registers it has."""


def table_image(job: Job, cfg: Config) -> np.ndarray:
    """The table of heads, uint8 [heads, 1, ENTRY_BYTES]."""
    if any(entry.coarse is not None for entry in job.table):
        raise ConfigError("coarse is given, legal: None in jobs of the machine")
    rows = [(e.scale_m, e.scale_shift, e.octave, e.tau, 0, reach(e.radius, cfg), 0)
            for e in job.table]
    return np.array(rows, ENTRY).view(np.uint8).reshape(len(rows), 1, ENTRY_BYTES)


def blends(job: Job) -> bool:
    """Whether the mean of V stands in for what is dropped."""
    return job.select == SUM and job.blend


def means_image(means: np.ndarray, cfg: Config) -> np.ndarray:
    """VM in memory, int16 [kv_heads, blocks, d], of means in VM_W bits."""
    return (means.astype(np.int64) << (16 - cfg.VM_W)).astype(np.int16)


def layer_of_head(plan: LayerPlan, kv: int) -> LayerPlan:
    """The layer of one KV head and the query heads of its group; its registers are numbers."""
    group = plan.heads // plan.kv_heads
    own = slice(kv * group, (kv + 1) * group)
    only = slice(kv, kv + 1)
    arrays = {name: getattr(plan, name)[only] for name in ("codes", "wk", "wv", "sk8", "sk", "sv")}
    numbers = {name: int(getattr(plan, name)[kv])
               for name in ("kp_exp", "kp_bias", "kp_shift", "kg_shift_k", "kg_shift_v")}
    return replace(plan, q=plan.q[own], sq=plan.sq[own],
                   job=replace(plan.job, table=plan.job.table[own]), **arrays, **numbers)


class Accelerator(accelerator.Accelerator):
    """The second machine behind the signals of ``dut`` (``sofa``), with its memory.

    Args:
        cfg: its configuration; reset() compares it with the capabilities.
        others: those of tb.common.accelerator.Accelerator.
    """

    def __init__(self, dut, cfg: Config, **others):
        super().__init__(dut, **others)
        self._built = cfg

    def configured(self, capabilities) -> Config:
        """The configuration given, when the core says the same."""
        wrong = {name: value for name, value in capabilities.items()
                 if value != getattr(self._built, name)}
        assert not wrong, f"capabilities {wrong} are not those of {self._built}"
        return self._built

    # -----------------------------------------------------------------------------------------
    # Jobs
    # -----------------------------------------------------------------------------------------
    def describe(self, numbers: Numbers, job: Job) -> Descriptor:
        """Place the arrays, the table of heads and an output buffer in memory, and return the
        descriptor of the job."""
        heads, rows, d = numbers.q.shape
        placed = {"q": self.place(numbers.q), "k8": self.place(numbers.k8),
                  "k": self.place(numbers.k), "v": self.place(numbers.v),
                  "o": self.reserve(numbers.q.shape), "ht": self.place_table(job)}
        if blends(job):
            placed["vm"] = self.place(means_image(numbers.means, self.cfg))
        fields = self.attention_fields(job, heads, rows, len(numbers.k), numbers.k.shape[1])
        return Descriptor(fields | named_fields(placed), rows, heads, d)

    def place_table(self, job: Job):
        """Place the table of heads; returns (address, head stride, head stride)."""
        address, _, head = self.place(table_image(job, self.cfg))
        return address, head, head

    def attention_fields(self, job: Job, heads, rows, kv_heads, keys):
        """Registers of an attention job except its buffers."""
        return {
            "MODE": (int(job.select == DENSE) << regs.MODE_DENSE_LSB
                     | int(job.causal) << regs.MODE_CAUSAL_LSB
                     | int(not job.interleaved) << regs.MODE_CONTIGUOUS_LSB
                     | job.snap << regs.MODE_SNAP_LSB
                     | int(job.select == SORT) << regs.MODE_SORT_LSB
                     | int(blends(job)) << regs.MODE_BLEND_LSB),
            "HEAD_DIM": job.d, "QUERY_ROWS": rows, "KEYS": keys, "HEADS": heads,
            "KV_HEADS": kv_heads, "CAUSAL_OFFSET": job.offset, "TILE_KEYS": job.bc,
            "QUOTA": job.quota, "BAND": job.band, "FALL": job.fall, "RESERVED": 0,
            "NEXT_LO": 0, "NEXT_HI": 0,
        }

    def code_image(self, plan: LayerPlan):
        """WC in memory, chunks of a KV head after those of the one before."""
        return np.concatenate([layer_of_head(plan, kv).code_image(self.cfg)
                               for kv in range(plan.kv_heads)])

    def place_layer(self, plan: LayerPlan, there=None):
        """As in the first machine, with the table of heads and the mean rows of X."""
        placed = super().place_layer(plan, there)
        placed["ht"] = self.place_table(plan.job)
        if blends(plan.job):
            placed["vm"] = self.place(plan.xm[None])
        return placed

    def describe_layer(self, plan: LayerPlan, placed, *, load=False):
        """Registers of the jobs of a layer: key prediction and attention of each KV head."""
        jobs = []
        for kv in range(plan.kv_heads):
            one, own = layer_of_head(plan, kv), self.placed_of_head(plan, placed, kv)
            predict, attend = super().describe_layer(one, own, load=load)
            table = {name: own[name] for name in SHARED if name in own}
            jobs += [predict, attend | named_fields(table)]
        return jobs

    def placed_of_head(self, plan: LayerPlan, placed, kv):
        """Where the buffers of a KV head and of its query heads begin."""
        group = plan.heads // plan.kv_heads
        chunks = len(layer_of_head(plan, kv).code_image(self.cfg))
        heads = {"q": group, "o": group, "ht": group, "wc": chunks,
                 **dict.fromkeys(("k8", "k", "v", "w", "vb"), 1)}
        return {name: (address + kv * heads.get(name, 0) * head, row, head)
                for name, (address, row, head) in placed.items()}

    async def run(self, numbers: Numbers, job: Job, limit: int | Limit | None = None) -> Done:
        """Run one job and return int16 [heads, rows, d]; it may take ``limit`` cycles, by default
        what job_limit gives."""
        descriptor = self.describe(numbers, job)
        await self.start(descriptor)
        return await self.finish(descriptor, limit or self.job_limit(numbers, job))

    async def attention(self, q, k, v, **settings) -> Done:
        """Attention of float arrays q [heads, rows, d], k, v [kv_heads, keys, d], as one job;
        ``settings`` are those of models.second.plan.plan."""
        numbers, job = plan(q, k, v, self.cfg, **settings)
        done = await self.run(numbers, job)
        return Done(done.out * numbers.out_scale, done.counters)

    def job_limit(self, numbers: Numbers, job: Job) -> Limit:
        """Cycles that a job may take."""
        heads, rows, _ = numbers.q.shape
        return job_limit(heads, len(numbers.k), rows, numbers.k.shape[1], job, self.cfg,
                         self.memory_options)

    def layer_limit(self, plan: LayerPlan) -> Limit:
        """Cycles that the chain of a layer may take."""
        return layer_limit(plan, self.cfg, self.memory_options)

    def machines(self):
        """Yield (module, register, handle) of every state machine of the core."""
        def below(module, handle):
            for register in state_names().get(module, ()):
                if hasattr(handle, register):
                    yield module, register, getattr(handle, register)
            for instance, name in instances(module).items():
                if hasattr(handle, instance):
                    yield from below(name, getattr(handle, instance))

        yield from below("sofa", getattr(self.dut, "g_core", self.dut))


def named_fields(placed):
    """Registers of buffers, name -> (address, row, head stride), those of SHARED included."""
    return buffer_fields({SHARED.get(name, name): where for name, where in placed.items()})


# ---- cycles -------------------------------------------------------------------------------------


def attention_bound(heads, kv_heads, rows, keys, job: Job, cfg: Config) -> tuple[Bound, int, int]:
    """(bound when every row takes every key of its tiles and every key is read, turns and blocks,
    vectors read)."""
    c, units = cfg.beats16(job.d), 2 * cfg.ROWS // cfg.QE
    dlzs_cycles = work = beats = steps = vectors = 0
    walk = parts(heads, kv_heads, rows, keys, job, cfg)
    for part in walk:
        blocks, own = len(part.heads) * len(part.band.blocks), len(part.heads) * part.band.n
        for t, selects in turns(len(part.band.tiles), job):
            n = part.band.tiles[t].n
            steps += blocks
            if not job.dense:
                dlzs_cycles += blocks * -(-n // cfg.COLS) * job.d
                beats += n * cfg.beats8(job.d)
                vectors += n
            if selects:
                # A key takes a unit some cycles whatever its rows.
                work += n * (own * c // units + 8 * blocks)
                beats += 2 * n * c
                vectors += 2 * n
        steps += blocks
    vectors += heads * rows + mean_tokens(walk, job)
    beats += (heads * rows + mean_tokens(walk, job)) * c
    # The flush of a row takes a few cycles for each beat.
    work += 4 * heads * rows * c
    return (Bound(dlzs=dlzs_cycles, sufa=work, dram=beats, write=heads * rows * c), steps,
            vectors)


def job_limit(heads, kv_heads, rows, keys, job: Job, cfg: Config, memory: dict) -> Limit:
    """Limit of an attention job; memory: arguments of AxiMemory."""
    speed = Speed.of(memory)
    bound, steps, vectors = attention_bound(heads, kv_heads, rows, keys, job, cfg)
    return limit_of(bound, steps * TILE + vectors * (4 + speed.latency // 16), vectors,
                    heads * rows, speed, max(bound.dlzs, bound.write))


def layer_limit(plan: LayerPlan, cfg: Config, memory: dict) -> Limit:
    """Limit of the chain of a layer; memory: arguments of AxiMemory."""
    speed = Speed.of(memory)
    job, rows = plan.job, plan.q.shape[1]
    bound, steps, vectors = attention_bound(plan.heads, plan.kv_heads, rows, plan.keys, job, cfg)
    tokens = plan.kv_heads * plan.keys + mean_tokens(
        parts(plan.heads, plan.kv_heads, rows, plan.keys, job, cfg), job)
    bound += generation_bound(tokens, plan, cfg) + Bound(
        dram=plan.kv_heads * weight_bound(plan, cfg),
        write=plan.kv_heads * valid_beats(plan.keys, cfg))
    groups = predict = chunks = 0
    for kv in range(plan.kv_heads):
        one = layer_of_head(plan, kv)
        predict += prediction_bound(one, cfg)
        for rows_ in dlzs.chunks(1, plan.d, cfg):
            codes, table, out = chunk_beats(rows_, plan.h, plan.d, plan.mode, cfg)
            chunks += 1
            groups += -(-plan.keys // cfg.COLS)
            bound += Bound(dram=-(-plan.keys // cfg.COLS) * codes
                           + plan.keys * (cfg.beats8(plan.h) + table), write=plan.keys * out)
    read = vectors + bound.dram // 16 + 4 * tokens + 2 * chunks * plan.keys
    waits = (steps + groups) * (TILE + 2 * speed.latency) + (
        tokens + chunks * plan.keys) * (TOKEN + speed.latency)
    return limit_of(bound, waits, read, bound.write, speed, predict + bound.dlzs, predict)
