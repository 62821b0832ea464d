# SPDX-License-Identifier: Apache-2.0
"""Attributes of the AXI4 masters: what every transfer says beside its address, on both channels."""

from __future__ import annotations

import cocotb
import pytest
from cocotb.triggers import RisingEdge

from tb.runner import run
from tb.system.test_errors import setup, small_layer

ATTRIBUTES = {"lock": 0, "cache": 0b0011, "prot": 0b010, "qos": 0}
"""Normal memory, bufferable, not cached; unprivileged, non-secure data; no priority."""


async def watch(dut, channel: str, seen: list) -> None:
    """Compare the attributes of every accepted address of ``channel``, "ar" or "aw"."""
    port = {name: getattr(dut, f"m_axi_{channel}{name}")
            for name in ("valid", "ready", *ATTRIBUTES)}
    while True:
        await RisingEdge(dut.clk)
        if port["valid"].value == 1 and port["ready"].value == 1:
            for name, want in ATTRIBUTES.items():
                got = int(port[name].value)
                assert got == want, f"m_axi_{channel}{name}: expected {want:#x}, got {got:#x}"
            seen.append(channel)


@cocotb.test()
async def attributes_of_transfers(dut):
    """A layer reads and writes; all its transfers have ATTRIBUTES."""
    acc, rng = setup(dut)
    await acc.reset()
    seen: list[str] = []
    watchers = [cocotb.start_soon(watch(dut, channel, seen)) for channel in ("ar", "aw")]
    await acc.run_layer(small_layer(acc.cfg, rng).plan)
    assert not any(w.done() for w in watchers)
    assert {"ar", "aw"} == set(seen), seen


@pytest.mark.configs("tiny")
@pytest.mark.sims("verilator")
def test_attributes(sim, config, seed):
    run("sofa", __name__, dict(config), sim, seed=seed)
