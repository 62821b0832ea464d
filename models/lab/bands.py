# SPDX-License-Identifier: Apache-2.0
"""Cycle model of the second machine: bands of resident rows on key-stationary units.

    work = work_of(selected, job, cfg, kv_heads=3)      # models.second.head
    done = cycles(work, job, cfg)
    done.total, done.bound, done.ratio

Machine. U units of W = BUS_BYTES/2 elements; row r of a block belongs to unit r mod U; a pair takes
c = ceil(d/W) cycles of its unit. A band is the blocks of `Job.band` row blocks of as many query
heads of a KV group as the stores have places for. Its tiles are scored block after block, tile 0
twice (sum); masks wait in a ring; the union of a tile over the band is issued key by key, in slot
order, into a landing buffer, whose places are filled by the read bus and leave in order when every
unit that wants the key has room in its FIFO. When the units have done a band's keys, its places in
the Q store are free and its blocks are flushed one after the other, a beat of O a cycle, which
takes 2.5 unit cycles a beat. The next band's keys are issued when there are places for its O. One
read bus of a beat a cycle serves Q, K8 and keys, with latency.

Left out: collisions of a read-modify-write in a unit (1 % or less at 4 cycles), hand-over cycles
between blocks, made keys, bursts. The compiled loop needs numba.

``.venv/bin/python -m models.lab.bands`` prints a group of three captured heads on several sizes.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

import numpy as np

from models import workloads
from models.lab.cycles import Memory
from models.second import fast, plan
from models.second.config import Config
from models.second.head import DENSE, SORT, Job, parts, turns

FLUSH = 2.5
"""Unit cycles for a beat of output: o and l are read, o is scaled, the mean is blended in."""


@dataclass(frozen=True)
class Machine:
    """Sizes of what decouples the stages.

    unit_mults  multipliers of a unit for Q*K, as many for S*V (0: one beat)
    landing     keys in the landing buffer; fifo: keys a unit holds
    k8_bufs     K8 tiles; mask_tiles: tiles of one block whose masks the ring holds, at least
                a tile of a band
    least       cycles that a key takes at least in a unit
    q_places, o_places   blocks whose Q and whose O sums are resident (0: one and a half times what
                         Config.places says, and as many as it says); at least a band
    """

    unit_mults: int = 0
    landing: int = 64
    fifo: int = 16
    k8_bufs: int = 2
    mask_tiles: int = 16
    least: int = 4
    q_places: int = 0
    o_places: int = 0

    def places(self, job: Job, cfg: Config, band: int) -> tuple[int, int]:
        """(of Q, of O) for a job whose largest band has so many blocks."""
        held = cfg.places(job.d)
        return max(self.q_places or held * 3 // 2, band), max(self.o_places or held, band)

    def units(self, cfg: Config) -> int:
        """2 * ROWS multipliers for Q*K, as in the first machine, shared out to units."""
        return 2 * cfg.ROWS // (self.unit_mults or cfg.QE)


@dataclass
class Work:
    """What a job asks of the machine, in its order.

    band_turn, band_block, turn_key   first turn and block of each band, first key of each turn, and
                                      the end; a turn is a tile that is scored
    turn_slots, turn_selects          keys of the tile; whether it is selected from in this turn
    block_rows                        rows of each block
    want                              int [keys, units]: rows that want the key
    """

    band_turn: list[int]
    band_block: list[int]
    turn_key: list[int]
    turn_slots: list[int]
    turn_selects: list[bool]
    block_rows: list[int]
    want: np.ndarray

    @property
    def pairs(self) -> int:
        """Pairs of a row and a key."""
        return int(self.want.sum())


@dataclass
class Cycles:
    """total: cycles. bound: least cycles of each resource; busy: cycles each worked (units: mean);
    starved: mean cycles of a unit without a key; blocked: cycles in which keys wait for one."""

    total: int
    bound: dict[str, int]
    busy: dict[str, int]
    starved: int
    blocked: int

    @property
    def ratio(self) -> float:
        """Cycles over the largest bound."""
        return self.total / max(self.bound.values())


def work_of(
    selected: np.ndarray, job: Job, cfg: Config, kv_heads: int = 1, machine: Machine | None = None
) -> Work:
    """The work of selections bool [heads, rows, keys]."""
    machine = machine or Machine()
    units = machine.units(cfg)
    heads, rows, keys = selected.shape
    work = Work([0], [0], [0], [], [], [], np.zeros((0, units), np.int64))
    wanted = []
    for part in parts(heads, kv_heads, rows, keys, job, cfg):
        band, own = part.band, selected[part.heads.start : part.heads.stop]
        some = slice(band.row, band.row + band.n)
        unit = np.arange(band.row, band.row + band.n) % units
        # Rows of a unit that want each key.
        hits = np.zeros((units, keys), np.int64)
        for u in range(units):
            hits[u] = own[:, some][:, unit == u].sum(axis=(0, 1))
        for t, selects in turns(len(band.tiles), job):
            slots = band.tiles[t].keys
            if selects:
                union = slots[hits[:, slots].any(axis=0)]
                wanted.append(hits[:, union].T)
            work.turn_slots.append(len(slots))
            work.turn_selects.append(selects)
            work.turn_key.append(work.turn_key[-1] + (len(union) if selects else 0))
        work.band_turn.append(len(work.turn_slots))
        work.block_rows += [block.n for _ in part.heads for block in band.blocks]
        work.band_block.append(len(work.block_rows))
    if wanted:
        work.want = np.concatenate(wanted)
    return work


def bound_of(work: Work, job: Job, cfg: Config, machine: Machine | None = None) -> dict[str, int]:
    """Least cycles of DLZS, the units, the read bus and the write bus, each alone."""
    machine = machine or Machine()
    units = machine.units(cfg)
    c = -(-job.d // (machine.unit_mults or cfg.QE))
    dense = job.dense
    blocks = np.repeat(np.diff(work.band_block), np.diff(work.band_turn))
    score = -(-np.array(work.turn_slots) // cfg.COLS) * job.d
    rows = sum(work.block_rows)
    return {
        "dlzs": 0 if dense else int((blocks * score).sum()),
        "units": int((work.pairs * c + FLUSH * rows * cfg.beats16(job.d)) / units),
        "read": (0 if dense else sum(work.turn_slots) * cfg.beats8(job.d))
        + (2 * len(work.want) + rows) * cfg.beats16(job.d),
        "write": rows * cfg.beats16(job.d),
    }


def cycles(
    work: Work, job: Job, cfg: Config, machine: Machine | None = None, memory: Memory | None = None
) -> Cycles:
    """Cycles of the job."""
    from models.lab.band_kernel import simulate

    machine, memory = machine or Machine(), memory or Memory()
    dense = job.dense
    score = -(-np.array(work.turn_slots) // cfg.COLS) * job.d
    band = int(np.diff(work.band_block).max())
    busy = np.zeros(6, np.int64)
    beats = -(-job.d // (machine.unit_mults or cfg.QE))
    total = simulate(
        *(np.array(x) for x in (work.band_turn, work.band_block, work.turn_slots, work.turn_key,
                                work.turn_selects, work.block_rows)),
        np.ascontiguousarray(work.want), beats, cfg.beats8(job.d),
        np.ones_like(score) if dense else score, memory.latency, memory.write_latency,
        16, machine.k8_bufs, max(machine.mask_tiles, band), machine.landing, machine.fifo,
        *machine.places(job, cfg, band), FLUSH, machine.least, dense,
        busy)
    if total < 0:
        raise RuntimeError("the machine waits for ever: a model of its stages is wrong")
    units = machine.units(cfg)
    names = ("dlzs", "units", "read", "write")
    share = [int(busy[0]), int(busy[1]) // units, int(busy[2]), int(busy[3])]
    return Cycles(int(total), bound_of(work, job, cfg, machine),
                  dict(zip(names, share, strict=True)), int(busy[4]) // units, int(busy[5]))


SIZES = {
    "default": Machine(),
    "4 places of Q": Machine(q_places=4),
    "5 places of Q": Machine(q_places=5),
    "6 places of Q, 6 of O": Machine(o_places=6),
    "128 keys landing": Machine(landing=128),
    "32 keys landing": Machine(landing=32),
    "FIFO of 32 keys": Machine(fifo=32),
    "FIFO of 8 keys": Machine(fifo=8),
    "4 K8 buffers": Machine(k8_bufs=4),
    "32 tiles of masks": Machine(mask_tiles=32),
    "8 tiles of masks": Machine(mask_tiles=8),
    "4 units of 64": Machine(unit_mults=64),
}


def main(name: str = "smollm2_novel_s1024_l05") -> int:
    """Print cycles and bounds of a captured case under three ways to select; 0."""
    case = workloads.load_case(name)
    cfg = Config.from_name("paper").replace(TWO_TERM=1)
    for title, settings in (("sum, two-term", {}),
                            ("quota 16, radius 6, floor", {
                                "snap": 0, "select": SORT, "quota": 16, "radius_nats": 6.0}),
                            ("dense", {"select": DENSE})):
        numbers, job = plan.plan(case.q, case.k, case.v, cfg, causal=case.causal,
                                 **{"snap": 2, **settings})
        got = fast.run_job(numbers.q, numbers.k, numbers.v, numbers.k8, numbers.means, job, cfg)
        for size, machine in SIZES.items():
            work = work_of(got.selected, job, cfg, len(numbers.k), machine)
            done = cycles(work, job, cfg, machine)
            if size == "default":
                bounds = ", ".join(f"{key} {n}" for key, n in done.bound.items())
                print(f"{title}: {work.pairs} pairs, {len(work.want)} keys; bounds {bounds}")
            print(f"  {size:22} {done.total:7} cycles, {done.ratio:.3f} of the largest bound")
            if job.dense:
                break
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
