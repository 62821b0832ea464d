# SPDX-License-Identifier: Apache-2.0
"""Host driver against a stand-in that decodes what it left in memory."""

from __future__ import annotations

import numpy as np
import pytest

from models import head, rope
from models.config import Config, ConfigError
from models.driver.accelerator import Accelerator, AsyncAccelerator
from models.driver.images import table_image
from models.driver.limits import Speed, layer_limit
from models.driver.model import Machine, ModelTransport
from models.driver.transport import Memory, Transport
from models.layer import plan_layer, run_layer
from models.plan import plan
from models.spec import registers as regs

CONFIGS = [Config.from_name(name) for name in ("tiny", "small", "paper")]
WAYS = [{}, {"blend": False}, {"select": head.SORT, "quota": 3, "radius_nats": 5.0},
        {"select": head.SORT}, {"select": head.DENSE}, {"snap": 2, "interleaved": False}]


def driver(cfg, padding=0):
    """A driver without a machine."""
    transport = Transport()
    transport.cfg, transport.memory = cfg, Memory(np.zeros(1 << 23, np.uint8))
    return AsyncAccelerator(transport, padding=padding)


def tensors(cfg, rng, heads, kv_heads, rows, keys):
    d = 16 if cfg.D_MAX > 16 else 8
    return (rng.normal(size=(heads, rows, d)), *rng.normal(size=(2, kv_heads, keys, d)))


@pytest.mark.parametrize("cfg", CONFIGS, ids=lambda c: c.name)
@pytest.mark.parametrize("settings", WAYS, ids=str)
def test_jobs(cfg, settings):
    rng = np.random.default_rng(1)
    for causal, padding in ((False, 0), (True, 2)):
        q, k, v = tensors(cfg, rng, 4, 2, cfg.ROWS + 3, 37)
        numbers, job = plan(q, k, v, cfg, causal=causal, **settings)
        acc = driver(cfg, padding)
        one = acc.describe(numbers, job)
        assert set(one.fields) <= set(regs.OFFSETS)
        assert [line for line in acc.memory.dump(one.fields["O_BASE_LO"], 64)] == [0xA5] * 64
        machine = Machine(acc.memory, cfg)
        machine.run(acc.chain([one.fields]))
        where = (one.fields["O_BASE_LO"], one.fields["O_ROW_STRIDE"], one.fields["O_HEAD_STRIDE"])
        want = head.run_job(numbers.q, numbers.k, numbers.v, numbers.k8, numbers.means, job, cfg)
        assert machine.jobs == 1
        assert np.array_equal(acc.gather(*where, numbers.q.shape), want.out) and want.out.any()
        outside = acc.outside(*where, numbers.q.shape)
        assert (outside == 0xA5).all() and bool(len(outside)) == bool(padding)


@pytest.mark.parametrize("cfg", CONFIGS[:2], ids=lambda c: c.name)
@pytest.mark.parametrize("mode", [rope.OFF, rope.INTERLEAVED, rope.HALF])
def test_layers(cfg, mode):
    rng = np.random.default_rng(2)
    for settings, there in (({}, False), ({"causal": True}, True), ({"select": head.SORT}, False),
                            ({"select": head.DENSE, "causal": True}, True)):
        d, h, keys = 8, 24, 40
        layer = plan_layer(rng.normal(size=(keys, h)), *rng.normal(size=(2, 3, h, d)),
                           rng.normal(size=(6, cfg.ROWS + 2, d)), cfg, mode=mode,
                           rope_theta=1e3 if mode else 0.0, **settings)
        assert len({*layer.kp_bias.tolist(), *layer.kp_exp.tolist(), *layer.kg_shift_k.tolist(),
                    *layer.kg_shift_v.tolist()}) > 1
        acc, valid = driver(cfg, 1), rng.random((3, keys)) < 0.3 if there else None
        want = run_layer(layer, cfg, valid)
        placed = acc.place_layer(layer, (want.k, want.v, valid) if there else None)
        jobs = acc.describe_layer(layer, placed, load=there)
        machine = Machine(acc.memory, cfg)
        machine.run(acc.chain(jobs))
        assert machine.jobs == len(jobs) == 2
        done = acc.gather_layer(layer, placed, {})
        assert np.array_equal(done.out, want.out) and np.array_equal(done.k8, want.k8)
        assert np.array_equal(done.valid, want.valid_image(cfg))
        for made, got in ((want.k, done.k), (want.v, done.v)):
            assert np.array_equal(got, np.where(want.valid[:, :, None], made, done.untouched))
        assert layer_limit(layer, cfg, Speed()).cycles > layer_limit(layer, cfg, Speed()).bound > 0


def test_entries_by_hand():
    cfg = CONFIGS[0]
    job = head.Job(8, 16, (head.HeadTable(0x1234, 7, 3, -146, None),
                           head.HeadTable(65535, 47, 0, 0, 5)))
    first, second = table_image(job, cfg)[:, 0]
    assert bytes(first).hex() == "34120703" + "6eff0000" + "ff3f0000" + "00000000"
    assert bytes(second).hex() == "ffff2f00" + "00000000" + "05000000" + "00000000"
    made = table_image(job, cfg, [(7, 40), (0, 33)])[:, 0]
    assert [bytes(one[6:8]).hex() for one in made] == ["0728", "0021"]
    assert [bytes(one[6:8]).hex() for one in table_image(job, cfg, [(7, 40)])[:, 0]] == ["0728"] * 2
    with pytest.raises(ConfigError, match="coarse is given"):
        table_image(head.Job(8, 16, (head.HeadTable(1, 1, coarse=-1),)), cfg)


def test_registers_by_hand():
    cfg = CONFIGS[0]
    x = np.random.default_rng(3).normal(size=(2, 9, 8))
    numbers, job = plan(x, x[:1], x[:1], cfg, causal=True, band=3, fall=0.25, snap=2)
    fields = driver(cfg).describe(numbers, job).fields
    assert fields["MODE"] == 1 << 11 | 2 << 3 | 1 << 1
    assert (fields["BAND"], fields["FALL"]) == (3, 64)
    assert fields["HT_HEAD_STRIDE"] == 16 and fields["VM_ROW_STRIDE"] == 16
    assert fields["VM_HEAD_STRIDE"] == 3 * 16
    numbers, job = plan(x, x[:1], x[:1], cfg, select=head.SORT)
    assert driver(cfg).describe(numbers, job).fields["MODE"] == 1 << 10


def test_without_an_event_loop():
    """Accelerator has what AsyncAccelerator has; its coroutines are run, what is set arrives."""
    acc = Accelerator(ModelTransport(CONFIGS[0], memory_bytes=1 << 16))
    q, k, v = np.random.default_rng(4).normal(size=(3, 1, 9, 8))
    numbers, job = plan(q, k, v, acc.cfg)
    tight = acc.describe(numbers, job).fields["Q_ROW_STRIDE"]
    acc.padding = 2
    assert acc.describe(numbers, job).fields["Q_ROW_STRIDE"] == tight + 2 * acc.cfg.BUS_BYTES
    want = head.run_job(numbers.q, numbers.k, numbers.v, numbers.k8, numbers.means, job, acc.cfg)
    assert np.array_equal(acc.run(numbers, job).out, want.out)
    assert "attention" in dir(acc) and "Run one job" in acc.run.__doc__
    with pytest.raises(AttributeError, match="no_such"):
        acc.no_such()
    with pytest.raises(AttributeError, match="_driver"):
        _ = object.__new__(Accelerator).cfg
