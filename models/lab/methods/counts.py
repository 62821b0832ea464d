# SPDX-License-Identifier: Apache-2.0
"""Operations and DRAM bytes of a way to do attention, counted one by one and priced alike.

    counts = Counts()
    counts.add("predict", "mul4x4", pairs * d)
    counts.move("k", keys * d * 2)
    counts.cost()                      # full-adder bits, all stages

An operation is named by what it does and its operand bits. Its price is the number of one-bit
full adders of the plainest circuit that does it in a cycle, which needs no library of cells and is
the same for all systems that are compared:

    add<n>, cmp<n>     n
    shift<n>           n * log2(n) / 3, a barrel shifter; a two-way multiplexer bit counts a third
    lz<n>              n, leading-one detector
    mul<n>x<m>         n * m
    exp<n>             n * n: table and one interpolating multiply
    div<n>             n * n, an array divider
    xor<n>             n / 4: one gate a bit, where a full adder has about four

Source: our decision; the SOFA paper normalises its operations but does not print its prices.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field

STAGES = ("predict", "select", "compute")
"""predict: the cheap estimate of scores and what it needs; select: sorting, thresholds; compute:
exact scores, softmax and weighted sum over the selected pairs."""

_NAME = re.compile(r"(add|cmp|shift|lz|exp|div|xor)(\d+)|(mul)(\d+)x(\d+)")


def price(kind: str) -> float:
    """Full-adder bits of one operation; ValueError for a name that is not in the table above."""
    match = _NAME.fullmatch(kind)
    if not match:
        raise ValueError(f"no operation {kind!r}, legal: add8, mul16x16, shift16 and so on")
    op, n, mul, a, b = match.groups()
    if mul:
        return int(a) * int(b)
    n = int(n)
    return {"add": n, "cmp": n, "shift": n * math.log2(max(n, 2)) / 3, "lz": n, "exp": n * n,
            "div": n * n, "xor": n / 4}[op]


@dataclass
class Counts:
    """ops: stage -> operation -> how many; bytes: DRAM stream -> bytes; they add up with ``+``.

    visible, selected: (row, key) pairs that the mask allows / that the exact stage used.
    cycles: clock cycles of the jobs that ran on the compiled Verilog.
    """

    ops: dict[str, dict[str, int]] = field(default_factory=lambda: {s: {} for s in STAGES})
    bytes: dict[str, int] = field(default_factory=dict)
    visible: int = 0
    selected: int = 0
    cycles: int = 0

    def add(self, stage: str, kind: str, number: float) -> None:
        """Count ``number`` operations of a kind in a stage."""
        price(kind)
        row = self.ops[stage]
        row[kind] = row.get(kind, 0) + int(number)

    def move(self, stream: str, size: float) -> None:
        """Count bytes read or written on a DRAM stream: q, k, v, o, or a name of its own."""
        self.bytes[stream] = self.bytes.get(stream, 0) + int(size)

    @property
    def keep(self) -> float:
        """Share of the visible pairs that were used."""
        return self.selected / self.visible if self.visible else 0.0

    def cost(self, stage: str | None = None) -> float:
        """Price of all operations of a stage, None: of all stages, full-adder bits."""
        stages = STAGES if stage is None else (stage,)
        return sum(price(k) * n for s in stages for k, n in self.ops[s].items())

    @property
    def dram(self) -> int:
        """Bytes of all streams."""
        return sum(self.bytes.values())

    def __add__(self, other: Counts) -> Counts:
        total = Counts(visible=self.visible + other.visible,
                       selected=self.selected + other.selected,
                       cycles=self.cycles + other.cycles)
        for part in (self, other):
            for stage, kinds in part.ops.items():
                for kind, number in kinds.items():
                    total.add(stage, kind, number)
            for stream, size in part.bytes.items():
                total.move(stream, size)
        return total
