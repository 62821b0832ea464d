# SPDX-License-Identifier: Apache-2.0
"""Registers of the model, and what ends its jobs. Jobs that end well: tb/driver/test_driver.py."""

from __future__ import annotations

import numpy as np
import pytest

from models.config import Config, ConfigError
from models.driver import Accelerator, AcceleratorError, ModelTransport, TransportError
from models.driver.transport import run
from models.plan import plan
from models.spec import registers as regs

CFG = Config.from_name("tiny")
AT = regs.OFFSETS
START, CHAIN, SOFT_RESET = (1 << bit for bit in (
    regs.lsb("CTRL", "START"), regs.lsb("CTRL", "START_CHAIN"), regs.lsb("CTRL", "SOFT_RESET")))


def test_registers():
    machine = ModelTransport(CFG)
    assert run(machine.read(AT["ID"])) == regs.ID_VALUE
    assert run(machine.read(AT["VERSION"])) == regs.VERSION_VALUE
    assert run(machine.read(AT["CAP_SC_W"])) == CFG.SC_W == 14
    assert run(machine.read(AT["TIMEOUT"])) == regs.TIMEOUT_RESET
    run(machine.write(AT["ID"], 5))
    assert run(machine.read(AT["ID"])) == regs.ID_VALUE
    run(machine.write(AT["KEYS"], 0xFFFFFFFF))
    assert run(machine.read(AT["KEYS"])) == (1 << regs.BY_NAME["KEYS"].used) - 1
    run(machine.write(AT["X8_BASE_HI"], 9))
    assert run(machine.read(AT["HT_BASE_HI"])) == 9
    run(machine.reset())
    assert run(machine.read(AT["KEYS"])) == regs.BY_NAME["KEYS"].reset
    for offset in (0x1000, 0x05C, 2):
        with pytest.raises(TransportError, match="SLVERR"):
            run(machine.read(offset))
    for bits in (START | CHAIN, START | SOFT_RESET, START | CHAIN | SOFT_RESET):
        with pytest.raises(TransportError, match="SLVERR"):
            run(machine.write(AT["CTRL"], bits))
    run(machine.write(AT["CTRL"], SOFT_RESET))
    assert run(machine.read(AT["STATUS"])) == 0


def job(seed=1, **settings):
    q, k, v = np.random.default_rng(seed).normal(size=(3, 2, 9, 8))
    return plan(q, k, v, CFG, **settings)


def test_interrupt():
    machine = ModelTransport(CFG)
    acc = Accelerator(machine)
    acc.write("IRQ_ENABLE", 1 << regs.lsb("IRQ_ENABLE", "ERROR"))
    one = acc.describe(*job())
    acc.start(one)
    assert not run(machine.interrupt(10))
    assert acc.read("STATUS") == 1 << regs.lsb("STATUS", "DONE") and acc.read("JOBS") == 1
    acc.write("IRQ_ENABLE", 3)
    assert run(machine.interrupt(10)) and acc.read("IRQ_STATUS") == 1
    acc.write("IRQ_STATUS", 1)
    assert not run(machine.interrupt(10))
    with pytest.raises(TimeoutError, match="no interrupt within 10 cycles; STATUS 0x2; .*JOBS 0x1; "
                                           "counters: .*TILES 12"):
        acc.wait(10)


def test_what_ends_a_job():
    acc = Accelerator(ModelTransport(CFG, memory_bytes=1 << 16))
    end = acc.memory.base + len(acc.memory.data)
    for name, code, info in (("Q", regs.Err.READ_DECERR, 0), ("K8", regs.Err.READ_DECERR, 1),
                             ("K", regs.Err.READ_DECERR, 2), ("V", regs.Err.READ_DECERR, 3),
                             ("VM", regs.Err.READ_DECERR, 3), ("HT", regs.Err.READ_DECERR, 7),
                             ("O", regs.Err.WRITE_DECERR, 0)):
        acc.free_all()
        numbers, one = job()
        placed = acc.describe(numbers, one)
        placed.fields |= {f"{name}_BASE_LO": end}
        acc.start(placed)
        with pytest.raises(AcceleratorError) as caught:
            acc.finish(placed)
        assert (caught.value.code, caught.value.info) == (code, info), name
        assert acc.read("JOBS") == 0
    for name, value, text in (("BAND", 9, "band = 9"), ("TILE_KEYS", 5, "bc = 5"),
                              ("Q_BASE_LO", 0x1001, "Q at 0x1001, legal: multiples of 8")):
        acc.free_all()
        placed = acc.describe(*job())
        placed.fields[name] = value
        with pytest.raises(ConfigError, match=text):
            acc.start(placed)
    with pytest.raises(ConfigError, match="memory of 65536 bytes is full"):
        acc.allocate(1 << 17)


def test_configurations_are_compared():
    machine = ModelTransport(CFG)
    machine.cfg = CFG.replace(KEYS_MAX=128)
    machine._clear = lambda: None
    with pytest.raises(ConfigError, match="CAP_KEYS_MAX = 256, the configuration 128"):
        Accelerator(machine)
    machine._values["ID"] = 1
    with pytest.raises(AcceleratorError):
        Accelerator(machine)
