# SPDX-License-Identifier: Apache-2.0
"""The job of docs/integration.md on the simulated machine: its register accesses as the page prints
them, and what the handshakes between the stages do meanwhile.

``accesses()`` reads the page; the cocotb test below makes them, compares the output with the model,
and in Icarus, where every net can be read, writes ``handshakes.json`` into the folder of the run:
{net: [value of each cycle, or null]}. scripts/handshakes.py draws it.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

import cocotb
import numpy as np
from cocotb.triggers import ReadOnly, RisingEdge

from models import head
from models.config import Config
from models.driver.accelerator import FILLER
from models.driver.images import buffer_fields, means_image, table_image
from models.plan import plan
from tb.common.scoreboard import Scoreboard
from tb.driver.accelerator import Accelerator
from tb.runner import ROOT, parameters

PAGE = ROOT / "docs" / "integration.md"
ROWS, KEYS, D, TILE = 8, 16, 8, 4
"""Query rows, keys, head dimension and tile of the job: one head, tiles of few beats."""

BASES = {"q": 0x100000, "k8": 0x101000, "k": 0x102000, "v": 0x103000, "o": 0x104000,
         "ht": 0x105000, "vm": 0x106000}
"""Buffer -> address."""

LATENCY = 6
"""Cycles of the memory's reads and writes, so that the pictures are short."""



@dataclass(frozen=True)
class Figure:
    """A picture. nets: from top to bottom, "net", or "net:condition" where it means something under
    a condition only. shows: what it shows, (condition, n): the first cycle with it, the one before
    and n after. A condition is "net", "net=value", or several of them with & between."""

    nets: tuple[str, ...]
    shows: tuple[tuple[str, int], ...]


FIGURES = {
    "memory": Figure(
        ("m_axi_arvalid", "m_axi_arready", "m_axi_arid:m_axi_arvalid",
         "m_axi_araddr:m_axi_arvalid", "m_axi_arlen:m_axi_arvalid", "m_axi_rvalid",
         "m_axi_rready", "m_axi_rid:m_axi_rvalid", "m_axi_rlast:m_axi_rvalid",
         "m_axi_awvalid", "m_axi_awready", "m_axi_awid:m_axi_awvalid",
         "m_axi_awaddr:m_axi_awvalid", "m_axi_awlen:m_axi_awvalid", "m_axi_wvalid",
         "m_axi_wready", "m_axi_wlast:m_axi_wvalid", "m_axi_bvalid", "m_axi_bready",
         "m_axi_bid:m_axi_bvalid"),
        (("m_axi_arvalid", 2), ("m_axi_rvalid", 3), ("m_axi_awvalid", 4), ("m_axi_bvalid", 2))),
    "places": Figure(
        ("qc_valid", "qc_ready", "qc_rows:qc_valid", "q_wr_valid", "q_wr_place:q_wr_valid",
         "q_wr_row:q_wr_valid", "q_wr_beat:q_wr_valid", "q_commit", "q_commit_place:q_commit",
         "q_release_dlzs", "q_release_sufa"),
        (("qc_valid", 2), ("q_wr_valid", 4), ("q_commit", 2), ("q_release_dlzs", 1),
         ("q_release_sufa", 1))),
    "ring": Figure(
        ("tc_valid", "tc_ready", "tc_n:tc_valid", "k8_wr_valid", "k8_wr_buf:k8_wr_valid",
         "k8_wr_slot:k8_wr_valid", "k8_wr_beat:k8_wr_valid", "k8_commit", "k8_release"),
        (("tc_valid", 2), ("k8_wr_valid", 4), ("k8_commit", 3), ("k8_wr_valid&k8_wr_buf=1", 1),
         ("k8_release", 1))),
    "masks": Figure(
        ("m_valid", "m_ready", "m_first:m_valid", "m_last:m_valid", "m_mask:m_valid", "f_valid",
         "f_ready", "f_place:f_valid", "f_word:f_valid", "f_last:f_valid"),
        (("m_valid", 3), ("f_valid", 5))),
    "issue": Figure(
        ("p_valid", "p_ready", "p_kind:p_valid", "p_key:p_valid", "p_mask:p_valid",
         "p_place:p_valid", "p_rows:p_valid"),
        (("p_valid", 5), ("p_valid&p_kind=1", 3), ("p_valid&p_kind=3", 1))),
    "landing": Figure(
        ("u_valid", "u_ready", "u_mean:u_valid", "u_key:u_valid", "u_land:u_valid", "k_wr_valid",
         "k_wr_land:k_wr_valid", "k_wr_beat:k_wr_valid", "k_wr_last:k_wr_valid", "v_wr_valid",
         "v_wr_land:v_wr_valid", "v_wr_beat:v_wr_valid", "v_wr_last:v_wr_valid", "kv_valid"),
        (("u_valid", 3), ("k_wr_valid", 2), ("v_wr_valid", 3), ("kv_valid", 2))),
    "units": Figure(
        ("kv_valid", "kv_ready", "kv_first:kv_valid", "kv_end:kv_valid",
         "kv_mask:kv_valid&kv_first", "kv_end_place:kv_valid&kv_end",
         "kv_end_rows:kv_valid&kv_end"),
        (("kv_valid", 8), ("kv_valid&kv_end", 4))),
    "output": Figure(
        ("o_valid", "o_ready", "o_first:o_valid", "o_last:o_valid", "o_block_last:o_valid",
         "o_addr:o_valid&o_first", "q_release_sufa", "blk_done"),
        (("o_valid", 5), ("o_valid&o_block_last", 1), ("q_release_sufa", 1), ("blk_done", 1))),
}
"""Picture -> what it shows."""


def nets() -> list[str]:
    """Every net of a picture, once."""
    return list(dict.fromkeys(n for figure in FIGURES.values() for name in figure.nets
                              for n in re.findall(r"[a-z]\w+", name)))


def accesses() -> list[tuple[str, str, int]]:
    """What the page tells to do: ("write", register, value), ("read", register, expected value) or
    ("wait", "irq", 0), in order."""
    text = PAGE.read_text()
    lines = re.search(r"^```text\n(write .*?)^```$", text, re.M | re.S)[1].splitlines()
    found = []
    for line in lines:
        kind, name, *rest = line.split()
        found.append((kind, name, int(rest[0], 16) if kind != "wait" else 0))
    return found


def example(cfg: Config):
    """(Numbers, Job) of the page: random vectors, some keys much like a query."""
    rng = np.random.default_rng(14)
    q, k, v = (rng.normal(size=(1, n, D)) for n in (ROWS, KEYS, KEYS))
    return plan(2 * q, 2 * k, v, cfg, bc=TILE, band=2, tau=0.1, fall=0.0)


def fields(cfg: Config) -> dict[str, int]:
    """Registers of the page's job by the host driver: name -> value."""
    numbers, job = example(cfg)
    sizes = {"q": (2 * D, ROWS), "k8": (D, KEYS), "k": (2 * D, KEYS), "v": (2 * D, KEYS),
             "o": (2 * D, ROWS), "ht": (16, 1), "vm": (2 * D, ROWS // cfg.ROWS)}
    placed = {name: (BASES[name], row, row * rows) for name, (row, rows) in sizes.items()}
    base = Accelerator.attention_fields(None, job, 1, ROWS, 1, KEYS)
    return base | buffer_fields(placed)


@cocotb.test()
async def run_page(dut):
    """Do what the page says, compare O with the model, and note the handshakes."""
    cfg = Config.from_parameters(parameters())
    acc = Accelerator(dut, cfg, memory={"read_latency": LATENCY, "write_latency": LATENCY})
    await acc.reset()
    numbers, job = example(cfg)
    images = {"q": numbers.q, "k8": numbers.k8, "k": numbers.k, "v": numbers.v,
              "ht": table_image(job, cfg), "vm": means_image(numbers.means, cfg)}
    for name, array in images.items():
        acc.memory.load(BASES[name], np.ascontiguousarray(array).view(np.uint8).reshape(-1))
    acc.memory.load(BASES["o"], np.full(2 * D * ROWS, FILLER, np.uint8))

    core = getattr(dut, "g_core", None)
    handles = {n: getattr(dut if n.startswith("m_axi") else core, n)
               for n in nets() if hasattr(core, "k8_commit")}
    seen: dict[str, list] = {name: [] for name in handles}

    async def watch():
        while True:
            await RisingEdge(dut.clk)
            await ReadOnly()
            # What the next edge takes.
            for name, handle in handles.items():
                value = handle.value
                seen[name].append(int(value) if value.is_resolvable else None)

    for kind, name, value in accesses():
        if kind == "write":
            if name == "CTRL":
                watching = cocotb.start_soon(watch())
            await acc.write(name, value)
        elif kind == "wait":
            for _ in range(5000):
                await RisingEdge(dut.clk)
                if dut.irq.value == 1:
                    break
            else:
                raise AssertionError(f"no interrupt; {await acc.situation()}")
            watching.cancel()
        else:
            got = await acc.read(name)
            assert got == value, f"register {name}: expected {value:#x}, got {got:#x}"
    result = head.run_job(numbers.q, numbers.k, numbers.v, numbers.k8, numbers.means, job, cfg)
    board = Scoreboard(dut._log)
    out = acc.gather(BASES["o"], 2 * D, 2 * D * ROWS, numbers.q.shape)
    board.compare("output", result.out, out, axes=("head", "row", "element"), width=16)
    board.finish("output")
    dut.rst.value = 1
    for _ in range(2):
        await RisingEdge(dut.clk)
    for name in ("m_axi_arvalid", "m_axi_awvalid", "m_axi_wvalid", "irq"):
        assert getattr(dut, name).value == 0, f"{name} is up in reset"
    with open("handshakes.json", "w") as handle:
        json.dump(seen, handle)
