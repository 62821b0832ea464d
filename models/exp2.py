# SPDX-License-Identifier: Apache-2.0
"""Piecewise linear 2**f for f in 0..1, and the Verilog header that carries its tables.

The tables have one source, fit() below. ``.venv/bin/python -m models.exp2`` writes them to
rtl/include/sofa_exp2.vh; a test compares the committed header with what this module writes.
Source of the format: docs/architecture.md section 5.4, step 4.
"""

from __future__ import annotations

import functools
import sys
from pathlib import Path

import numpy as np

SEGMENTS = 64
BASE_W = 16
"""Width of a base: 2**f in 1.15, 32768..65535."""
SLOPE_W = 10
"""Width of a slope: rise over one segment of 1/64, in units of 2**-15."""

HEADER = Path(__file__).resolve().parents[1] / "rtl" / "include" / "sofa_exp2.vh"


@functools.cache
def fit() -> tuple[np.ndarray, np.ndarray]:
    """Tables (base, slope), int64 [64]: the least largest error at the 16 points of a segment.

    A search over the few integers around the chord; among equals the smallest base, then the
    smallest slope. base >= 32768 keeps the leading one of the mantissa in place.
    """
    base, slope = np.zeros(SEGMENTS, np.int64), np.zeros(SEGMENTS, np.int64)
    for i in range(SEGMENTS):
        exact = 2.0 ** ((i + np.arange(16) / 16) / SEGMENTS + 15)
        rise = round(2.0 ** ((i + 1) / SEGMENTS + 15) - exact[0])
        best = None
        for b in range(max(32768, round(exact[0]) - 3), round(exact[0]) + 4):
            for s in range(rise - 6, rise + 7):
                got = b + ((s * np.arange(16) + 8) >> 4)
                # Rounded, so that the choice does not hang on the last bit of a platform's pow.
                worst = round(float(np.abs(got - exact).max()), 6)
                if best is None or worst < best[0]:
                    best = (worst, b, s)
        _, base[i], slope[i] = best
    base.flags.writeable = slope.flags.writeable = False
    return base, slope


def mantissa(f: np.ndarray, z_frac: int = 10) -> np.ndarray:
    """2**f in 1.15 (32768..65535), int64, for fractions f of z_frac >= 6 bits."""
    base, slope = fit()
    f = np.asarray(f, np.int64)
    low = z_frac - 6
    segment, rest = f >> low, f & ((1 << low) - 1)
    half = 1 << (low - 1) if low else 0
    return base[segment] + ((slope[segment] * rest + half) >> low)


def concat(table: np.ndarray, width: int) -> str:
    """A Verilog constant with entry 0 in the low bits, 4 bits a digit."""
    word = sum(int(v) << (width * i) for i, v in enumerate(table))
    bits = width * len(table)
    return f"{bits}'h{word:0{bits // 4}x}"


def header() -> str:
    """Text of rtl/include/sofa_exp2.vh."""
    base, slope = fit()
    return "\n".join(
        [
            "// SPDX-License-Identifier: Apache-2.0",
            "// Tables of 2**f (docs/architecture.md section 5.4). Written by models/exp2.py;",
            "// make changes there.  Entry i, of 64, covers f = i/64 .. (i+1)/64:",
            f"//   base[i]  = `SOFA_EXP2_BASE[{BASE_W}*i +: {BASE_W}]    2**f in 1.15",
            f"//   slope[i] = `SOFA_EXP2_SLOPE[{SLOPE_W}*i +: {SLOPE_W}]   rise over the entry",
            "// Use them to set a localparam of the same width; a macro itself has no bit select.",
            "`ifndef SOFA_EXP2_VH",
            "`define SOFA_EXP2_VH",
            f"`define SOFA_EXP2_BASE_W {BASE_W}",
            f"`define SOFA_EXP2_SLOPE_W {SLOPE_W}",
            f"`define SOFA_EXP2_BASE {concat(base, BASE_W)}",
            f"`define SOFA_EXP2_SLOPE {concat(slope, SLOPE_W)}",
            "`endif",
            "",
        ]
    )


def main(arguments: list[str]) -> int:
    """Write the header to the path given, or to its place in the tree."""
    if len(arguments) > 1 or any(a.startswith("-") for a in arguments):
        print("usage: .venv/bin/python -m models.exp2 [path]", file=sys.stderr)
        return 2
    path = Path(arguments[0]) if arguments else HEADER
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(header())
    print(f"wrote {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
