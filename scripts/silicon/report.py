# SPDX-License-Identifier: Apache-2.0
"""Tables, picture and budgets from the results of a configuration (scripts/silicon/machine.py)."""

from __future__ import annotations

LIMIT = 30.0
"""Longest path allowed, FO4."""
FAIR = 0.614
"""Area in 28 nm for one in Nangate45: that of NAND2, .49 over .798 um2."""


def total(block: dict) -> float:
    """Area of all instances of a block, um2."""
    return block["area"] * block["instances"]


def stage(name: str, block: dict) -> str:
    """The stage to which a block belongs: the second word of its module's name."""
    words = block["module"].split("_")
    if words[0] == "sofa" and len(words) > 1:
        return {"axi": "fetch", "rope": "kvgen"}.get(words[1], words[1])
    return "top"


def longest(got: dict, name: str, kind: str) -> dict | None:
    """The worst path of a kind."""
    paths = got["blocks"][name]["paths"].get(kind)
    return paths[0] if paths else None


def text(got: dict) -> str:
    """The table that is printed."""
    unit = got["fo4_ns"]
    lines = [f"{'block':18} {'inst':>5} {'um2 each':>10} {'um2 all':>10} {'regs':>6} "
             f"{'reg-reg':>7} {'in':>5} {'out':>5}  worst register to register"]

    def fo4(path):
        return f"{path['ns'] / unit:.1f}" if path else "-"

    for name, block in sorted(got["blocks"].items(), key=lambda b: -total(b[1])):
        worst = longest(got, name, "reg-reg")
        inside = f"{worst['start']} -> {worst['end']}" if worst else ""
        lines.append(f"{name:18} {block['instances']:5} {block['area']:10.0f} {total(block):10.0f} "
                     f"{block['registers']:6} {fo4(worst):>7} {fo4(longest(got, name, 'in')):>5} "
                     f"{fo4(longest(got, name, 'out')):>5}  {inside}")
    area = sum(map(total, got["blocks"].values()))
    bits = sum(w * b * n * k["instances"] for k in got["blocks"].values()
               for w, b, n in k["memories"])
    lines.append(f"logic {area:.0f} um2, {area * FAIR / 1e6:.3f} mm2 at 28 nm; memories "
                 f"{bits / 8192:.1f} KiB; FO4 {unit * 1000:.1f} ps")
    return "\n".join(lines)
