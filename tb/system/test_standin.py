# SPDX-License-Identifier: Apache-2.0
"""Running and scoring of jobs, with the model in place of the simulator."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from models import head, rope
from models.config import Config
from models.driver.accelerator import AsyncAccelerator
from models.driver.model import Machine, ModelTransport
from models.spec import registers as regs
from tb.common.scoreboard import Scoreboard
from tb.common.turns import TURN
from tb.system.simulate import JobSpec, LayerSpec, run_specs
from tb.system.taps import TapScorer
from tb.system.test_taps import Emitter

CFG = Config.from_name("tiny")


class StandIn(AsyncAccelerator):
    """The driver with the model behind it, and what taps would show. wrong: byte of the first
    output row that is changed, or name of a counter that is one too large."""

    def __init__(self, spec, taps, wrong=None):
        super().__init__(ModelTransport(CFG, memory_bytes=1 << 21), padding=1)
        self.spec, self.taps, self.wrong = spec, taps, wrong

    def go(self, address, fields):
        Machine(self.memory, CFG).run(address)
        counters = dict.fromkeys(regs.COUNTERS, 0) | {"CYCLES": 10**6, "SADS_BUSY": 1}
        for emitter in self.emitters(fields):
            for tap, item in emitter.items:
                self.taps.feed(tap, item)
            for name, n in emitted(emitter).items():
                counters[name] += n
        return counters

    def emitters(self, fields):
        spec, cfg = self.spec, self.cfg
        want = spec.reference(cfg, trace=True)
        if isinstance(spec, JobSpec):
            n = spec.numbers
            yield Emitter(cfg, spec.job, n.q, n.k, n.v, n.means, want, fields[0])
            return
        exists = np.zeros(want.k.shape[:2], bool) if spec.valid is None else spec.valid.copy()
        result = head.JobResult(None, None, None, None, None, 0, 0, want.heads)
        yield Emitter(cfg=cfg, job=spec.job, q=spec.plan.q, k=want.k, v=want.v, means=want.means,
                      result=result, fields=fields[1], exists=exists, shifts=spec.plan.shifts)

    async def start(self, descriptor):
        fields = {**dict.fromkeys(regs.JOB, 0), **descriptor.fields}
        self.counters = self.go(self.chain([fields]), [fields])
        self.spoil(descriptor.fields["O_BASE_LO"])

    async def completed(self, jobs, limit):
        assert limit.cycles > limit.bound and jobs == 1
        return self.counters

    def describe_layer(self, plan, placed, *, load=False):
        self.fields = super().describe_layer(plan, placed, load=load)
        self.output = placed["o"][0]
        return self.fields

    async def run_chain(self, address, jobs, limit):
        fields = [{**dict.fromkeys(regs.JOB, 0), **own} for own in self.fields]
        counters = self.go(address, fields)
        counters["PREDICT"] = 1
        cfg, plan = self.cfg, self.spec.plan
        c, beats = cfg.beats16(plan.d), counters
        tokens, group = beats["GENERATED"], -(-plan.keys // cfg.COLS)
        means = beats["BEATS_X"]
        words = -(-2 * plan.d // cfg.ROWS) * plan.h * 2 * cfg.ROWS // cfg.BUS_BYTES
        valid = -(-plan.keys // (8 * cfg.BUS_BYTES))
        rope_beats = c if plan.mode else 0
        beats["BEATS_X"] = ((tokens + means) * cfg.beats16(plan.h) + tokens * rope_beats
                            + plan.kv_heads * (words + valid * (self.spec.valid is not None)))
        chunks = plan.kv_heads * -(-plan.d // cfg.ROWS)
        out = min(cfg.beats8(plan.d), cfg.ROWS)
        beats["BEATS_WB"] = 2 * tokens * c + plan.kv_heads * valid + chunks * plan.keys * out
        beats["BEATS_W"] = chunks * group * (1 + plan.h * cfg.ROWS // 2 // cfg.BUS_BYTES)
        beats["BEATS_R"] = chunks * plan.keys * rope_beats
        beats["BEATS_K8"] += chunks * plan.keys * cfg.beats8(plan.h)
        beats["BEATS_D"] += len(self.fields) * 256 // cfg.BUS_BYTES
        beats["KVGEN_BUSY"] = tokens + means
        self.spoil(self.output)
        return counters

    def spoil(self, output):
        if isinstance(self.wrong, int):
            self.memory.data[output - self.memory.base + self.wrong] ^= 1
        elif self.wrong:
            self.counters = getattr(self, "counters", {})
            self.counters[self.wrong] = self.counters.get(self.wrong, 0) + 1


def emitted(emitter) -> dict[str, int]:
    """Counters by what the taps have shown."""
    cfg, job, items = emitter.cfg, emitter.job, emitter.items

    def those(tap):
        return [item for name, item in items if name == tap]

    c = cfg.beats16(job.d)
    keys = [item for item in those("p") if item["kind"] == 0]
    read = [item for item in those("u") if not item["mean"]]
    turns = [(item["turn"] & 255, item["turn"] >> TURN["tile_last"][0] & 1)
             for item in those("t")]
    means = sum(item["kind"] == 1 for item in those("p")) if emitter.blends else 0
    rows = len(those("l"))
    blocks = len(those("f")) // 4
    units = set()
    number = -1
    for name, item in items:
        number += name == "p" and item["kind"] == 1
        if name == "l":
            units.add((number, item["valid"]))
    return {
        "TILES": len(turns), "BLOCKS": blocks,
        "SELECTED": sum(bin(item["mask"]).count("1") for item in those("m")),
        "UNION": len(keys), "GENERATED": len(keys) - len(read), "REUSED": len(read),
        "MAX_UPDATES": sum(b.updates for h in emitter.result.heads for b in h.blocks),
        "SUFA_BUSY": len(those("e")) * c, "SUFA_FLUSH": 2 * len(those("o")) + len(units) * c,
        "BEATS_Q": rows * c, "BEATS_O": rows * c, "BEATS_K": len(read) * c,
        "BEATS_V": (len(read) + (0 if emitter.generates else means)) * c,
        "BEATS_K8": 0 if job.dense else sum(n for n, last in turns if last) * cfg.beats8(job.d),
        "BEATS_D": blocks * 2, "BEATS_X": means if emitter.generates else 0,
    }


def job(**settings):
    rng = np.random.default_rng(4)
    return JobSpec.planned("a job", 2 * rng.normal(size=(4, 11, 16)),
                           *rng.normal(size=(2, 2, 40, 16)), CFG, **settings)


def layer(there, **settings):
    rng = np.random.default_rng(6)
    spec = LayerSpec.planned("a layer", rng.normal(size=(40, 24)),
                             *rng.normal(size=(2, 2, 24, 8)), rng.normal(size=(4, 9, 8)), CFG,
                             mode=rope.INTERLEAVED, rope_theta=1e3, **settings)
    spec.valid = rng.random((2, 40)) < 0.4 if there else None
    return spec


def run(spec, wrong=None):
    board = Scoreboard()
    taps = TapScorer(None, CFG, board)
    asyncio.run(run_specs(StandIn(spec, taps, wrong), [spec], board, taps, True))
    taps.finish()
    assert not taps.silent(board.compared)
    assert {"output", "counters", "around O"} <= set(board.compared)
    return board


@pytest.mark.parametrize("settings", [
    {}, {"causal": True}, {"blend": False}, {"select": head.SORT, "causal": True},
    {"select": head.DENSE}], ids=str)
def test_jobs_and_layers(settings):
    run(job(**settings))
    for there in (False, True):
        board = run(layer(there, **settings))
        assert {"predicted keys", "generated K", "valid bits", "around K8"} <= set(board.compared)


@pytest.mark.parametrize("wrong, text", [
    (0, "output: .*query row 0, head 0, element 0: bit 0"), (32, "around O: .*byte 0"),
    ("UNION", "counters: .*field UNION"), ("BEATS_V", "counters: .*field BEATS_V")])
def test_what_is_wrong_is_found(wrong, text):
    with pytest.raises(AssertionError, match=text):
        run(job(causal=True), wrong)
