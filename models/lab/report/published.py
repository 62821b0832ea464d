# SPDX-License-Identifier: Apache-2.0
"""Figures that the SOFA paper prints of itself and eight other designs, for tables beside ours.

Source: H. Wang et al., "SOFA: A Compute-Memory Optimized Sparsity Accelerator via Cross-Stage
Coordinated Tiling", MICRO 2024, arXiv 2407.10416, Table II. The paper gathers them from each
design's own publication (tasks and losses differ) and scales them to 28 nm at 1 GHz; the latency
is that of the attention of Llama-7B, 137 GOP, scaled to 128 multipliers at 1 GHz.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Published:
    """One row of the table; None where the paper prints none.

    name       that of the design
    peer       its name in models.lab.peers.PEERS, "" for SOFA
    loss       loss of accuracy, %
    saved      computation of attention saved, %
    gops       throughput, counted in operations of dense attention, GOPS
    gops_w     GOPS/W of the device: core, memory interface and DRAM
    gops_mm2   GOPS/mm2
    llama_ms   attention of Llama-7B, ms
    """

    name: str
    peer: str
    loss: float
    saved: float
    gops: float
    gops_w: float | None
    gops_mm2: float
    llama_ms: float


TABLE_II = (
    Published("A3", "a3", 5.3, 40, 221, 300, 217, 622),
    Published("ELSA", "elsa", 2, 73, 1090, 1004, 1765, 252),
    Published("Sanger", "sanger", 0, 76, 2285, None, 522, 241),
    Published("DOTA", "dota", 0.8, 80, 4905, None, 683, 448),
    Published("Energon", "energon", 0.9, 77, 1153, 450, 709, 477),
    Published("DTATrans", "dtatrans", 0.74, 74, 1304, None, 1786, 652),
    Published("SpAtten (1/8)", "spatten", 0.9, 67, 360, 447, 474, 382),
    Published("FACT", "fact", 0, 79, 928, None, 154, 296),
    Published("SOFA", "", 0, 82, 24423, 7183, 4292, 45),
)
"""The paper's rows, in its order."""
