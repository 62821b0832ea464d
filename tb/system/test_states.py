# SPDX-License-Identifier: Apache-2.0
"""State machines thrown into states that they do not have, as radiation or a glitch of the supply
does: what brings the core back, and that the next job is right then."""

from __future__ import annotations

import random

import cocotb
import pytest
from cocotb.triggers import ClockCycles, RisingEdge

from models.driver.accelerator import AcceleratorError, AcceleratorTimeout
from models.spec import registers as regs
from tb.common.states import state_names
from tb.runner import run
from tb.system.test_errors import good_job, setup, small_layer

SOFT_RESET = 1 << regs.lsb("CTRL", "SOFT_RESET")

PIN_ONLY = ("sofa_seq 7",)
"""The sequencer is idle then while csr has a job that runs: nothing tells csr of an end."""


async def back_again(acc) -> str:
    """What ends a job that was hit: itself, a soft reset, or the pin."""
    for way in ("itself", "soft reset", "second soft reset"):
        if way != "itself":
            await acc.write("CTRL", SOFT_RESET)
        try:
            await acc.wait(3000)
        except AcceleratorTimeout:
            continue
        except AcceleratorError as error:
            if error.lost:
                acc.memory.restart()
        return way
    return "pin"


@cocotb.test()
async def states_that_do_not_exist(dut):
    """Every code that no state has, of every state machine, in the middle of a layer: it ends by
    itself or by a soft reset, of PIN_ONLY by the pin; then the next job is right."""
    acc, rng = setup(dut)
    await acc.reset()
    await acc.write("TIMEOUT", 500)
    acc.free_all()
    made = small_layer(acc.cfg, rng).plan
    first = acc.chain(acc.describe_layer(made, acc.place_layer(made)))
    await acc.run_chain(first, 2, 100_000)
    length, ways = await acc.read("CNT_CYCLES"), {}
    for module, register, handle in list(acc.machines()):
        known = state_names()[module][register]
        for code in sorted(set(range(1 << len(handle))) - set(known)):
            await acc.start_chain(first)
            await ClockCycles(dut.clk, random.randrange(50, length - 50))
            # Whatever it does meanwhile need not be AXI4.
            acc.memory.strict = False
            await RisingEdge(dut.clk)
            handle.value = code
            await ClockCycles(dut.clk, 1)
            way = await back_again(acc)
            dut._log.info("%s in state %d: back by %s", module, code, way)
            ways.setdefault(way, []).append(f"{module} {code}")
            if way == "pin" or not acc.memory.idle:
                await acc.reset()
                await acc.write("TIMEOUT", 500)
            acc.memory.strict = True
            assert acc.memory.idle and await good_job(acc, rng), f"{module} in state {code}"
    assert sum(map(len, ways.values())) > 10, ways
    assert set(ways.get("pin", ())) <= set(PIN_ONLY), ways


# Verilator lets nobody write registers, and here a cycle takes long.
@pytest.mark.slow
@pytest.mark.configs("tiny")
@pytest.mark.sims("icarus")
def test_states(sim, config, seed):
    run("sofa", __name__, dict(config), sim, seed=seed)
