# SPDX-License-Identifier: Apache-2.0
"""Parameters of the first machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ..config import Sizes, check


@dataclass(frozen=True)
class Config(Sizes):
    """One configuration: Sizes, and

    EXP_ROWS    rows that share one exp unit (0: the largest of up to 16)
    DIV_ROWS    rows that share one divider (0: the largest of up to 32)
    KV_BUFS     K and V buffers
    KV_SLOTS    key slots of a K or V buffer (0: BC_MAX)
    """

    SC_FRAC: int = 3
    EXP_ROWS: int = 0
    DIV_ROWS: int = 0
    KV_BUFS: int = 2
    KV_SLOTS: int = 0

    MOST_COLS: ClassVar[int] = 64
    PASSED: ClassVar[frozenset[str]] = frozenset({
        "PLACES", "STORE_BEATS", "LAND", "LAND_BEATS", "FIFO", "SORT", "SUM_FRAC", "LOG_FRAC",
        "RATIO_FRAC", "F_FRAC", "VM_W"})

    header_bytes: ClassVar[int] = 0
    """Chunks of weight codes have no header."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.EXP_ROWS == 0:
            object.__setattr__(self, "EXP_ROWS", min(16, self.ROWS))
        if self.DIV_ROWS == 0:
            object.__setattr__(self, "DIV_ROWS", min(32, self.ROWS))
        check("EXP_ROWS", self.EXP_ROWS, 2, self.ROWS, pow2=True)
        check("DIV_ROWS", self.DIV_ROWS, self.EXP_ROWS, self.ROWS, pow2=True)
        check("KV_BUFS", self.KV_BUFS, 2, 4)
        if self.KV_SLOTS == 0:
            object.__setattr__(self, "KV_SLOTS", self.BC_MAX)
        check("KV_SLOTS", self.KV_SLOTS, max(self.BUS_BYTES // 2, 8), self.BC_MAX, pow2=True)
