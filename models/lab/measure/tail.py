# SPDX-License-Identifier: Apache-2.0
"""What a coarse tail costs and saves on the second machine: cycles, bus and area.

    .venv/bin/python -m models.lab.measure.tail                  # captured heads
    .venv/bin/python -m models.lab.measure.tail --net 1024       # all layers of SmolLM2

A machine with the tail has fewer units and, beside them, lanes that add V of VC_W bits, shifted, to
the coarse sums (models.sufa.coarse): a coarse pair takes d lane cycles. V of VC_W bits of
every key that is coarse for a row of the band is one more read. Cycles are those of
models.lab.cost.bands with so many units, at least those that the lanes take; reads of coarse V are
left out of them and stand in the bound of the bus.

Area is counted in full-adder bits of models.lab.methods.counts, a memory bit as a tenth of one.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ... import fast, plan, workloads
from ...config import Config
from ...dlzs import TWO_TERM
from ...head import Job, JobResult, parts
from ...nets.common import dense
from ...nets.smollm2 import SmolLM2
from ...nets.sources import CACHE, NetError, read_text
from ..cost.bands import Machine, bound_of, cycles, work_of
from ..methods.counts import price
from .grid import stretch_of

TAU, COARSE = 2.0**-6.5, 2.0**-10
"""Thresholds of the tail."""

LANES = 512
"""Elements of coarse sums that are added in a cycle."""

UNITS = (4, 8, 12)
"""Units of the machines that are compared."""

COLUMNS = ("exact", "coarse", "DLZS", "read bus", "lanes",
           *(f"{what} of {n} units" for what in ("bound", "cycles") for n in UNITS))

MEMORY_BIT = 0.1
"""Full adders that a memory bit is worth."""


@dataclass(frozen=True)
class Few(Machine):
    """A machine with ``number`` units of a beat."""

    number: int = 4

    def units(self, cfg: Config) -> int:
        """Units, whatever the rows."""
        return self.number


def coarse_beats(got: JobResult, job: Job, cfg: Config, kv_heads: int) -> int:
    """Beats of coarse V that a job reads, whole beats for each key of a band."""
    heads, rows, keys = got.coarse.shape
    union = sum(np.count_nonzero(part.wanted(got.coarse))
                for part in parts(heads, kv_heads, rows, keys, job, cfg))
    return union * -(-job.d * cfg.VC_W // (8 * cfg.BUS_BYTES))


def unit_area(cfg: Config) -> float:
    """Full-adder bits of the arithmetic of a unit and of its FIFO of 16 keys."""
    element = 2 * price("mul16x16") + price("add32") + price(f"shift{cfg.O_W}") + price(
        f"add{cfg.O_W}")
    fifo = 16 * 2 * 16 * 64 * MEMORY_BIT
    return cfg.QE * element + price("exp16") + fifo


def tail_area(
    cfg: Config, lanes: int, d: int, machine: Machine | None = None
) -> dict[str, float]:
    """Full-adder bits of what a tail adds.

    lanes   shift of V, shift of the sum, addition
    SADS    of each row: a second comparison for 4 keys, the sum C
    codes   4 bits for each row and key, the distance below the peak, where a mask has one
    sums    of all rows whose O is resident
    """
    machine = machine or Machine()
    lane = price(f"shift{cfg.CV_FRAC + cfg.VC_W}") + price(f"shift{cfg.CV_W}") + price(
        f"add{cfg.CV_W}")
    row = 4 * price(f"cmp{cfg.LEVEL_W}") + price(f"add{cfg.SUM_W}") + price(f"shift{cfg.SUM_W}")
    resident = int(cfg.places(d) * machine.o_stores) * cfg.ROWS
    return {
        "lanes": lanes * lane, "SADS": cfg.ROWS * row,
        "codes": 3 * machine.mask_tiles * cfg.ROWS * cfg.BC_MAX * MEMORY_BIT,
        "sums": resident * (d * cfg.CV_W + cfg.CW_W) * MEMORY_BIT,
    }


def figures(
    q: np.ndarray, k: np.ndarray, v: np.ndarray, causal: bool, cfg: Config, **thresholds
) -> np.ndarray:
    """COLUMNS of a job of float tensors with two-term codes: pairs that are visible, exact and
    coarse, bounds, cycles; thresholds: tau and coarse of models.plan.job_of."""
    z, job = plan.plan(q, k, v, cfg, causal=causal, snap=TWO_TERM, **thresholds)
    got = fast.run_job(z.q, z.k, z.v, z.k8, z.means, job, cfg)
    heads, rows, keys = got.selected.shape
    visible = heads * (rows * (2 * keys - rows + 1) // 2 if causal else rows * keys)
    pairs = np.count_nonzero(got.coarse)
    lanes, units, total = pairs * job.d / LANES, [], []
    for machine in (Few(number=number) for number in UNITS):
        work = work_of(got.selected, job, cfg, len(z.k), machine)
        bound = bound_of(work, job, cfg, machine)
        units.append(bound["units"])
        total.append(max(cycles(work, job, cfg, machine).total, lanes))
    read = bound["read"] + coarse_beats(got, job, cfg, len(z.k))
    return np.array([visible, np.count_nonzero(got.selected), pairs, bound["dlzs"], read, lanes,
                     *units, *total])


def net_figures(length: int, text: str, cache: Path, cfg: Config, settings: list) -> np.ndarray:
    """figures of every setting, summed over the layers of SmolLM2 on a text, NAME:PART."""
    net, total = SmolLM2(cache), [0.0] * len(settings)
    name, part = stretch_of(text)

    def attend(call):
        for i, thresholds in enumerate(settings):
            total[i] = total[i] + figures(call.q, call.k, call.v, True, cfg, **thresholds)
        return dense(call)

    tokens = net.encode(read_text(name, cache), part * 2 * length, length)
    net.losses(tokens, attend)
    return np.array(total)


def main(arguments: list[str] | None = None) -> int:
    """Print the machine without and with a tail on captured cases or all of SmolLM2.

    Exit code 0, or 2 where it cannot be done.
    """
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("cases", nargs="*", help="captured cases; default: all")
    parser.add_argument("--tau", type=float, default=TAU)
    parser.add_argument("--coarse", type=float, default=COARSE)
    parser.add_argument("--one", type=float, help="tau without a tail; default: of the snap rule")
    parser.add_argument("--net", type=int, metavar="LENGTH", help="all of SmolLM2 instead")
    parser.add_argument("--text", default="novel:1")
    parser.add_argument("--cache", type=Path, default=CACHE, help="folder of downloaded packages")
    options = parser.parse_args(arguments)
    if options.net is not None and options.net < 2:
        parser.error(f"--net {options.net}: give 2 tokens or more")
    try:
        show(options)
    except (ValueError, NetError) as error:
        print(f"tail: {error}", file=sys.stderr)
        return 2
    return 0


def show(options: argparse.Namespace) -> None:
    """Print the tables."""
    cfg = Config.from_name("paper").replace(TWO_TERM=1)
    settings = [{"tau": options.one}, {"tau": options.tau, "coarse": options.coarse}]
    print("", *COLUMNS, sep=" | ")
    if options.net:
        done = net_figures(options.net, options.text, options.cache, cfg, settings)
        table = [(f"SmolLM2, {options.net} tokens of {options.text}", done)]
    else:
        table = []
        for name in options.cases or workloads.list_cases():
            case = workloads.load_case(name)
            table.append((name, [figures(case.q, case.k, case.v, case.causal, cfg, **thresholds)
                                 for thresholds in settings]))
    for name, done in table:
        for title, row in zip(("plain", "tail"), done, strict=True):
            shares = (f"{100 * n / row[0]:.2f} %" for n in row[1:3])
            print(f"{name}, {title}", *shares, *(f"{n:.0f}" for n in row[3:]), sep=" | ")
    print(f"area, thousand full-adder bits: a unit {unit_area(cfg) / 1e3:.0f}; of the tail "
          + ", ".join(f"{part} {area / 1e3:.0f}"
                      for part, area in tail_area(cfg, LANES, 64).items()))


if __name__ == "__main__":
    sys.exit(main())
