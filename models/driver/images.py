# SPDX-License-Identifier: Apache-2.0
"""What host software writes for the machine beside its tensors: descriptors, registers of buffers,
the table of heads, means of V.

Formats: docs/registers.md, docs/architecture.md.
"""

from __future__ import annotations

import numpy as np

from ..config import Config, ConfigError
from ..head import SUM, Job
from ..sads import reach
from ..spec import registers as regs

DESCRIPTOR_BYTES = 256
"""Size and alignment of a descriptor in memory."""

ENTRY = np.dtype([(name, kind) for name, kind, *_ in regs.HEAD_ENTRY])
"""An entry of the table of heads."""

ENTRY_BYTES = ENTRY.itemsize


def descriptor_image(fields):
    """The 256 bytes of a descriptor: job registers in the order of their offsets, 0 where
    ``fields`` (register name -> value) has none."""
    words = np.zeros(DESCRIPTOR_BYTES // 4, "<u4")
    for name, value in fields.items():
        words[(regs.OFFSETS[name] - regs.OFFSETS["MODE"]) // 4] = value
    return words.view(np.uint8)


def descriptor_fields(image) -> dict[str, int]:
    """Job registers, name -> value, of the 256 bytes of a descriptor."""
    words = np.ascontiguousarray(image).view("<u4").tolist()
    return {name: words[(regs.OFFSETS[name] - regs.OFFSETS["MODE"]) // 4] for name in regs.JOB}


def buffer_fields(placed):
    """Registers of buffers, name -> (address, row, head stride)."""
    fields = {}
    for name, (address, row, head) in placed.items():
        up = name.upper()
        fields |= {f"{up}_BASE_LO": address & 0xFFFFFFFF, f"{up}_BASE_HI": address >> 32,
                   f"{up}_ROW_STRIDE": row, f"{up}_HEAD_STRIDE": head}
    return fields


def table_image(job: Job, cfg: Config, shifts=((0, 0),)) -> np.ndarray:
    """The table of heads, uint8 [heads, 1, ENTRY_BYTES]. shifts: (of K, of V) of each KV head in
    jobs that make them."""
    if any(entry.coarse is not None for entry in job.table):
        raise ConfigError("coarse is given, legal: None in jobs of the machine")
    group = len(job.table) // len(shifts)
    rows = [(e.scale_m, e.scale_shift, e.octave, e.tau, *shifts[h // group], reach(e.radius, cfg),
             0) for h, e in enumerate(job.table)]
    return np.array(rows, ENTRY).view(np.uint8).reshape(len(rows), 1, ENTRY_BYTES)


def blends(job: Job) -> bool:
    """Whether the mean of V stands in for what is dropped."""
    return job.select == SUM and job.blend


def means_image(means: np.ndarray, cfg: Config) -> np.ndarray:
    """VM in memory, int16 [kv_heads, blocks, d], of means in VM_W bits."""
    return (means.astype(np.int64) << (16 - cfg.VM_W)).astype(np.int16)

