# SPDX-License-Identifier: Apache-2.0
"""Cycle model of the second machine: bands of resident rows on key-stationary units.

    work = work_of(selected, job, cfg, kv_heads=3)      # models.head
    done = cycles(work, job, cfg)
    done.total, done.bound, done.ratio

Machine. U units of W = BUS_BYTES/2 elements; row r of a block belongs to unit r mod U; a pair takes
c = ceil(d/W) cycles of its unit. A band is the blocks of `Job.band` row blocks of as many query
heads of a KV group as the stores have places for; where all rows of a group fit into one block,
they are one, token after token. Its tiles are scored block after block, tile 0 twice (sum); SADS
takes the scores of a block when it is done with those before. Masks wait in a ring; the union of a
tile over the band is issued key by key, in slot order (models.layer.issue), into a landing
buffer, whose places are filled by the read bus or KVGEN in any order and leave in order when every
unit that wants the key has room in its FIFO. When the units have done a band's keys, its places in
the Q store are free and its blocks are flushed one after the other, a beat of O a cycle, which
takes 2.5 unit cycles a beat. The next band's keys are issued when there are places for its O. One
read bus of a beat a cycle serves Q, K8, keys and X, with latency; one write bus made vectors, the
valid bits and O.

Layers from X (`plan`). A key that no band before has wanted is a token: its X is read, tokens are
projected in groups, K and V go to the landing place and to memory. A key that was made is read
when memory has answered; the front waits for it. The mean rows of a part are tokens before its
keys, with V alone. A group that is not full begins when no token is queued and the front issues
none; that the front is blocked, on a landing place or on a vector that is not written, counts so,
and write-back waits for neither landing buffer nor units, so no group waits for itself. Before all
that comes the job that predicts K8, as long as in cycles.py.

Left out: bursts, and hand-over cycles between stages (between tiles and blocks DLZS has none,
docs/dlzs.md). The compiled loop needs numba.

``.venv/bin/python -m models.lab.cost.bands --all`` prints all captured heads and layers,
``--sizes`` what other sizes change. models.lab.measure.explore has whole nets.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from ... import dlzs, fast, kvgen, layer, plan, rass, workloads
from ...bounds import weight_bound
from ...config import Config, ConfigError, check
from ...head import DENSE, SORT, SUM, HeadTable, Job, KeySource, Part, parts, turns
from ...layer import valid_beats, with_bias
from ...plan import default_quota
from ..methods.method import Call
from ..methods.sofa import Sofa
from .cycles import Memory, prediction_cycles
from .pipeline import FRONT

FLUSH = 2.5
"""Unit cycles for a beat of output: o and l are read, o is scaled, the mean is blended in."""

START = 65
"""Cycles from the start to the first request: registers and 7 buffers are checked (docs/seq.md)."""

LIMIT = 12
"""Cycles in which SADS makes the limit of a tile from the sums."""


@dataclass(frozen=True)
class Machine:
    """Sizes of what decouples the stages.

    unit_mults  multipliers of a unit for Q*K, as many for S*V (0: one beat)
    landing, land_beats   keys in the landing buffer, at most so many beats; fifo: keys a unit holds
    k8_bufs     K8 tiles; mask_tiles: tiles of one block whose masks the ring holds, at least
                a tile of a band
    least       cycles that a key takes at least in a unit; hazard: from a pair to the next one of
                the same row (looked at between the last row of a key and the first of the next)
    lanes       scores of a row that SADS takes a cycle (sum)
    q_stores, o_stores   blocks whose Q and whose O sums are resident, in what Config.places says
                         (rounded down); at least the blocks of a part
    in_place    the units flush into the places of Q, all at once, and the bus empties these
    packed      rows of all heads of a group share a block where they fit
    released    a group of tokens begins when the front is blocked (else the machine can wait for
                ever: tests show it)

    ConfigError for a size out of range.
    """

    unit_mults: int = 0
    landing: int = 64
    land_beats: int = 256
    fifo: int = 16
    k8_bufs: int = 3
    mask_tiles: int = 8
    least: int = 4
    hazard: int = 4
    lanes: int = 4
    q_stores: float = 1.0
    o_stores: float = 1.0
    in_place: bool = False
    packed: bool = True
    released: bool = True

    def __post_init__(self) -> None:
        check("unit_mults", self.unit_mults, 0, 256)
        for name in ("landing", "land_beats", "fifo", "k8_bufs", "mask_tiles", "lanes"):
            check(name, getattr(self, name), 1, 65536)
        # A longer wait for a row would look like a machine that stands still.
        for name in ("least", "hazard"):
            check(name, getattr(self, name), 1, 64)
        for name in ("q_stores", "o_stores"):
            if not 0 < getattr(self, name) <= 64:
                raise ConfigError(f"{name} = {getattr(self, name)}, legal: above 0, up to 64")

    def places(self, job: Job, cfg: Config, band: int) -> tuple[int, int]:
        """(of Q, of O) for a job whose largest band has so many blocks."""
        held = cfg.places(job.d)
        return max(int(held * self.q_stores), band), max(int(held * self.o_stores), band)

    def places_of_keys(self, vector: int) -> int:
        """Keys in the landing buffer, of vectors of so many beats."""
        return max(min(self.landing, self.land_beats // (2 * vector)), 1)

    def units(self, cfg: Config) -> int:
        """2 * ROWS multipliers for Q*K, as in the first machine, shared out to units."""
        check("unit_mults", self.unit_mults, 0, 2 * cfg.ROWS)
        return 2 * cfg.ROWS // (self.unit_mults or cfg.QE)

    def pair(self, d: int, cfg: Config) -> int:
        """Cycles of a pair in a unit."""
        return -(-d // (self.unit_mults or cfg.QE))


@dataclass
class Work:
    """What a job asks of the machine, in its order.

    band_turn, band_block, turn_key   first turn and block of each band, first key of each turn, and
                                      the end; a turn is a tile that is scored
    band_head, band_means             KV head of each band, mean rows of X that it projects
    turn_slots, turn_selects          keys of the tile; whether it is selected from in this turn
    sads                              cycles of SADS for each block of each turn
    block_rows                        rows of each block
    want, first, last                 int64 [keys, units]: rows that want the key, the first and the
                                      last of them (numbers within band and unit)
    made                              bool [keys]: made and not read
    after                             int64 [keys]: key of this list that made it, where it is read;
                                      -1: none
    """

    band_turn: list[int]
    band_block: list[int]
    band_head: list[int]
    band_means: list[int]
    turn_key: list[int]
    turn_slots: list[int]
    turn_selects: list[bool]
    sads: list[int]
    block_rows: list[int]
    want: np.ndarray
    first: np.ndarray
    last: np.ndarray
    made: np.ndarray
    after: np.ndarray

    @property
    def pairs(self) -> int:
        """Pairs of a row and a key."""
        return int(self.want.sum())

    @property
    def tokens(self) -> int:
        """Tokens that KVGEN projects: keys and mean rows."""
        return int(self.made.sum()) + sum(self.band_means)


@dataclass
class Cycles:
    """total: cycles, those of the job that predicts K8 (`predict`) among them. bound: least cycles
    of each resource; busy: cycles each worked (units: mean of all). starved: mean cycles of a unit
    without a key; blocked: cycles in which a key waits for room in a unit; unwritten: in which the
    front waits for write-back; hazard: mean cycles of a unit that waits for a row; groups: of
    tokens."""

    total: int
    predict: int
    bound: dict[str, int]
    busy: dict[str, int]
    starved: int
    blocked: int
    unwritten: int
    hazard: int
    groups: int

    @property
    def binds(self) -> str:
        """The resource of the largest bound."""
        return max(self.bound, key=self.bound.__getitem__)

    @property
    def ratio(self) -> float:
        """Cycles of the attention job over the largest bound."""
        return (self.total - self.predict) / max(self.bound.values())


def walk_of(heads: int, kv_heads: int, rows: int, keys: int, job: Job, cfg: Config,
            machine: Machine) -> list[tuple[Part, bool]]:
    """(part, whether it is one block) of a job; see Machine.packed."""
    group = heads // kv_heads
    if machine.packed and rows * group <= cfg.ROWS:
        band = job.bands(rows, keys, cfg)[0]
        return [(Part(kv, band, range(kv * group, (kv + 1) * group)), True)
                for kv in range(kv_heads)]
    return [(part, False) for part in parts(heads, kv_heads, rows, keys, job, cfg)]


def sads_cycles(taken: np.ndarray, n: int, job: Job, cfg: Config, machine: Machine) -> int:
    """Cycles of SADS for a block and a tile of n keys, of which the rows take so many: words and
    limit (sum), or passes of the sort core (docs/sads.md)."""
    if job.dense:
        return 0
    if job.select == SUM:
        return -(-n // machine.lanes) + LIMIT
    words = -(-n // cfg.COLS) * -(-cfg.COLS // 12)
    passes = min(-(-min(job.quota, n) // 4), int(taken.max()) // 4 + 1)
    return passes * (words + 6) + 4


def work_of(
    selected: np.ndarray, job: Job, cfg: Config, kv_heads: int = 1, machine: Machine | None = None,
    makes: bool = False,
) -> Work:
    """The work of selections bool [heads, rows, keys]; makes: K and V are made from X."""
    machine = machine or Machine()
    units = machine.units(cfg)
    heads, rows, keys = selected.shape
    walk = walk_of(heads, kv_heads, rows, keys, job, cfg, machine)
    sources = [KeySource(np.empty(keys), np.empty(keys), np.full(keys, not makes))
               for _ in range(kv_heads)]
    issued = iter(rass.issue(selected, [part for part, _ in walk], sources, job))
    maker = np.full((kv_heads, keys), -1)  # place in the list of the key that makes it
    none = np.zeros((0, units), np.int64)
    work = Work(band_turn=[0], band_block=[0], band_head=[], band_means=[], turn_key=[0],
                turn_slots=[], turn_selects=[], sads=[], block_rows=[], want=none, first=none,
                last=none, made=np.zeros(0, bool), after=np.zeros(0, np.int64))
    found = []
    for part, whole in walk:
        band = part.band
        own = selected[part.heads.start : part.heads.stop, band.row : band.row + band.n]
        blocks = [(block.row - band.row, block.n) for block in band.blocks]
        if whole:
            own = own.swapaxes(0, 1).reshape(1, -1, keys)  # row = token * heads + head
            blocks = [(0, own.shape[1])]
        flat = own.reshape(-1, keys)
        # Blocks begin at multiples of ROWS, and so of the units.
        unit = np.tile(np.arange(own.shape[1]) % units, len(own))
        hits, first, last = (np.zeros((units, keys), np.int64) for _ in range(3))
        for u in range(units):
            mine = flat[unit == u]
            if len(mine):
                hits[u] = mine.sum(axis=0)
                first[u], last[u] = mine.argmax(axis=0), len(mine) - 1 - mine[::-1].argmax(axis=0)
        taken = [one[row : row + n] for one in own for row, n in blocks]
        for t, selects in turns(len(band.tiles), job):
            slots = band.tiles[t].keys
            work.turn_slots.append(len(slots))
            work.turn_selects.append(selects)
            sorts = job.select == SORT
            work.sads += [sads_cycles(rows_[:, slots].sum(axis=1) if sorts else rows_, len(slots),
                                      job, cfg, machine) for rows_ in taken]
            union = slots[:0]
            if selects:
                turn = next(issued)
                union = np.sort(np.concatenate([turn.made, turn.read]))
                fresh = np.isin(union, turn.made)
                found.append((hits[:, union].T, first[:, union].T, last[:, union].T, fresh,
                              np.where(fresh, -1, maker[part.kv, union])))
                maker[part.kv, union[fresh]] = work.turn_key[-1] + np.flatnonzero(fresh)
            work.turn_key.append(work.turn_key[-1] + len(union))
        work.band_turn.append(len(work.turn_slots))
        work.block_rows += [n for _ in own for _, n in blocks]
        work.band_block.append(len(work.block_rows))
        work.band_head.append(part.kv)
        blends = job.select == SUM and job.blend
        work.band_means.append(len(band.blocks) if blends else 0)
    if found:
        work.want, work.first, work.last, work.made, work.after = map(np.concatenate, zip(*found,
                                                                                   strict=True))
    return work


def score_cycles(work: Work, job: Job, cfg: Config) -> np.ndarray:
    """Cycles of DLZS for each block of each turn, int64."""
    blocks = np.repeat(np.diff(work.band_block), np.diff(work.band_turn))
    return np.repeat(-(-np.array(work.turn_slots) // cfg.COLS) * job.d, blocks)


def k8_beats(work: Work, job: Job, cfg: Config) -> np.ndarray:
    """Beats of K8 that are read for each turn, int64."""
    beats = np.array(work.turn_slots) * cfg.beats8(job.d)
    return np.zeros_like(beats) if job.dense else beats


def q_beats(work: Work, job: Job, cfg: Config, makes: bool) -> np.ndarray:
    """Beats read for each block: Q and, with the first blocks of a part, the means of V, int64."""
    beats = np.array(work.block_rows) * cfg.beats16(job.d)
    if not makes:
        for at, n in zip(work.band_block, work.band_means, strict=False):
            beats[at : at + n] += cfg.beats8(job.d)
    return beats


def bound_of(
    work: Work, job: Job, cfg: Config, machine: Machine | None = None,
    source: layer.LayerPlan | None = None,
) -> dict[str, int]:
    """Least cycles of each resource alone. source: the plan of a layer from X."""
    machine = machine or Machine()
    units, c = machine.units(cfg), machine.pair(job.d, cfg)
    vector, rows = cfg.beats16(job.d), sum(work.block_rows)
    made = int(work.made.sum())
    bound = {
        "dlzs": 0 if job.dense else int(score_cycles(work, job, cfg).sum()),
        "sads": sum(work.sads),
        "units": int((work.pairs * c + FLUSH * rows * vector) / units),
        "read": int(k8_beats(work, job, cfg).sum() + 2 * (len(work.want) - made) * vector
                    + q_beats(work, job, cfg, source is not None).sum()),
        "write": rows * vector,
    }
    if source is not None:
        group, passes = kvgen.group_tokens(source.h, job.d, cfg), -(-2 * job.d // cfg.ROWS)
        bound["kvgen"] = work.tokens * passes * max(source.h, cfg.ROWS * cfg.KG_TOK // 2) // group
        bound["read"] += (work.tokens * cfg.beats16(source.h) + made * table_beats(source, cfg)
                          + source.kv_heads * weight_bound(source, cfg))
        bound["write"] += 2 * made * vector + source.kv_heads * valid_beats(source.keys, cfg)
    return bound


def table_beats(source: layer.LayerPlan, cfg: Config) -> int:
    """Beats of a row of the RoPE table; V of a mean row needs none."""
    return cfg.beats16(source.d) if source.mode else 0


def cycles(
    work: Work, job: Job, cfg: Config, machine: Machine | None = None, memory: Memory | None = None,
    source: layer.LayerPlan | None = None,
) -> Cycles:
    """Cycles of the job; with the plan of a layer from X of the chain of both jobs."""
    from . import band_kernel as kernel

    machine, memory = machine or Machine(), memory or Memory()
    band = int(np.diff(work.band_block).max())
    steps = np.repeat(np.diff(work.band_block), np.diff(work.band_turn))
    score = score_cycles(work, job, cfg)
    band_of_key = np.repeat(np.arange(len(work.band_head)),
                            np.diff(np.array(work.turn_key)[work.band_turn]))
    # Tokens: of each band the mean rows, then the keys that are made.
    means = np.array(work.band_means) * (source is not None)
    token = np.cumsum(work.made) - 1 + np.cumsum(means)[band_of_key]
    key_token = np.where(work.made, token, -1)
    token_key = np.full(int(means.sum() + work.made.sum()), -1)
    token_key[key_token[work.made]] = np.flatnonzero(work.made)
    own = np.bincount(band_of_key[work.made], minlength=len(means)) + means
    busy = np.zeros(kernel.GROUPS + 1, np.int64)
    vector, d = cfg.beats16(job.d), job.d
    arrays = kernel.Plan(*(np.ascontiguousarray(x, np.int64) for x in (
        work.band_turn, work.band_block, work.band_head, means, work.turn_key,
        np.cumsum([0, *steps]), k8_beats(work, job, cfg), work.turn_selects,
        np.ones_like(score) if job.dense else score, work.sads,
        np.array(work.block_rows) * vector, q_beats(work, job, cfg, source is not None),
        work.want, work.first, work.last, key_token,
        np.where(work.after >= 0, key_token[work.after], -1) if len(work.after) else work.after,
        token_key, np.repeat(np.arange(len(means)), own))))
    made = dict.fromkeys(("h", "d", "passes", "group", "x_beats", "rt_beats", "weights", "bits"), 0)
    if source is not None:
        made = {"h": source.h, "d": d, "passes": -(-2 * d // cfg.ROWS),
                "group": kvgen.group_tokens(source.h, d, cfg), "x_beats": cfg.beats16(source.h),
                "rt_beats": table_beats(source, cfg), "weights": weight_bound(source, cfg),
                "bits": valid_beats(source.keys, cfg)}
    q_places, o_places = machine.places(job, cfg, band)
    sizes = kernel.Sizes(
        latency=memory.latency + FRONT, write_latency=memory.write_latency, mask_latency=16,
        k8_bufs=machine.k8_bufs, mask_tiles=max(machine.mask_tiles, band),
        landing=machine.places_of_keys(vector), fifo=machine.fifo, q_places=q_places,
        o_places=o_places, least=machine.least, hazard=machine.hazard, in_place=machine.in_place,
        released=machine.released, dense=job.dense, pair=machine.pair(d, cfg), vector=vector,
        flush=FLUSH, **made)
    total = kernel.simulate(arrays, sizes, busy)
    if total < 0:
        raise RuntimeError("the machine waits for ever: a model of its stages is wrong")
    units = machine.units(cfg)
    predict = prediction_cycles(source, cfg, memory) if source is not None else 0
    names = {"dlzs": kernel.DLZS, "sads": kernel.SADS, "read": kernel.READ, "write": kernel.WRITE,
             "kvgen": kernel.KVGEN}
    shares = {name: int(busy[at]) for name, at in names.items()}
    return Cycles(total=START + int(total) + predict, predict=predict,
                  bound=bound_of(work, job, cfg, machine, source),
                  busy={**shares, "units": int(busy[kernel.UNITS]) // units},
                  starved=int(busy[kernel.STARVED]) // units, blocked=int(busy[kernel.BLOCKED]),
                  unwritten=int(busy[kernel.UNWRITTEN]), hazard=int(busy[kernel.HAZARD]) // units,
                  groups=int(busy[kernel.GROUPS]))


def job_of(call: Call, method: Sofa, dense: bool) -> Job:
    """The job of a layer as a Sofa makes it, with an empty table: selections are given."""
    cfg, rows = method.machine(), call.q.shape[1]
    sorts = any(method.setting(name, call) is not None for name in ("quota", "radius_nats"))
    bc = method.setting("bc", call)
    quota = method.setting("quota", call)
    band = method.band
    if band is None:
        band = plan.default_band(rows, call.d, call.group, cfg)
    return Job(d=call.d, bc=cfg.BC_MAX if dense else bc, table=(HeadTable(0, 0),) * len(call.q),
               band=band, select=DENSE if dense else SORT if sorts else SUM,
               quota=default_quota(bc) if quota is None else quota, causal=call.causal,
               offset=call.first if call.causal else 0, window=call.window, sinks=call.sinks,
               interleaved=method.interleaved, blend=method.blend).checked(cfg)


# ---- what it says of real heads ------------------------------------------------------------------

MODES = {
    "sum, two-term": {"snap": dlzs.TWO_TERM},
    "quota 16, radius 6": {"snap": dlzs.FLOOR, "select": SORT, "quota": 16, "radius_nats": 6.0},
    "dense": {"snap": dlzs.FLOOR, "select": DENSE},
}
"""Ways to select that are measured: title -> settings of models.plan.plan."""

SIZES = {
    "default": Machine(),
    "Q of 4 blocks": Machine(q_stores=0.67),
    "Q of 5 blocks": Machine(q_stores=0.84),
    "Q of 8 blocks": Machine(q_stores=1.34),
    "O of 4 blocks": Machine(o_stores=0.67),
    "O of 5 blocks": Machine(o_stores=0.84),
    "O of 8 blocks": Machine(o_stores=1.34),
    "O of 4, flush into Q": Machine(o_stores=0.67, in_place=True),
    "O of 5, flush into Q": Machine(o_stores=0.84, in_place=True),
    "flush into Q": Machine(in_place=True),
    "128 keys landing": Machine(landing=128, land_beats=512),
    "32 keys landing": Machine(landing=32),
    "16 keys landing": Machine(landing=16),
    "FIFO of 32 keys": Machine(fifo=32),
    "FIFO of 8 keys": Machine(fifo=8),
    "K8 ring of 2 tiles": Machine(k8_bufs=2),
    "K8 ring of 4 tiles": Machine(k8_bufs=4),
    "masks of 16 tiles": Machine(mask_tiles=16),
    "masks of 4 tiles": Machine(mask_tiles=4),
    "all of them large": Machine(q_stores=4, o_stores=4, landing=512, land_beats=2048, fifo=128,
                                 k8_bufs=8, mask_tiles=96),
    "4 units of 64": Machine(unit_mults=64),
    "no hazard": Machine(hazard=1),
    "a key in a cycle": Machine(least=1),
    "blocks of one head": Machine(packed=False),
}
"""Sizes that are compared on the captured heads; each changes the default in one point. Blocks are
those of d = 64."""


@dataclass
class Captured:
    """A job of a captured case and what it selects. rows: query rows; source: from X."""

    name: str
    mode: str
    selected: np.ndarray
    job: Job
    kv_heads: int
    source: layer.LayerPlan | None = None

    def work(self, cfg: Config, machine: Machine | None = None) -> Work:
        """What it asks of a machine."""
        return work_of(self.selected, self.job, cfg, self.kv_heads, machine,
                       self.source is not None)

    def cycles(self, cfg: Config, machine: Machine | None = None) -> Cycles:
        """Cycles on a machine."""
        return cycles(self.work(cfg, machine), self.job, cfg, machine, source=self.source)


def captured(cfg: Config, names: list[str] | None = None) -> Iterator[Captured]:
    """All committed heads, case by case, in every mode; committed layers from X; few rows: the last
    token of a captured case, and one of three heads that keep 4 % of 4096 keys at random."""
    for name in workloads.list_cases() if names is None else names:
        case = workloads.load_case(name)
        for mode, settings in MODES.items():
            numbers, job = plan.plan(case.q, case.k, case.v, cfg, causal=case.causal, **settings)
            got = fast.run_job(numbers.q, numbers.k, numbers.v, numbers.k8, numbers.means, job, cfg)
            yield Captured(name, mode, got.selected, job, len(numbers.k))
    if names is not None:
        return
    for name in workloads.list_layers():
        case = workloads.load_layer(name)
        for mode in ("sum, two-term", "quota 16, radius 6"):
            made = of_layer(case, cfg, **MODES[mode])
            done = layer.run_layer(made, cfg, run=fast.run_job)
            yield Captured(f"{name} from X", mode, done.selected, made.job, made.kv_heads, made)
    case = workloads.load_case(GROUP)
    mode = "sum, two-term"
    numbers, job = plan.plan(case.q[:, -1:], case.k, case.v, cfg, causal=True, **MODES[mode])
    got = fast.run_job(numbers.q, numbers.k, numbers.v, numbers.k8, numbers.means, job, cfg)
    yield Captured("its last token", mode, got.selected, job, len(numbers.k))
    selected = np.random.default_rng(1).random((3, 1, 4096)) < 0.04
    yield Captured("1 token x 3 heads, 4096 keys", mode, selected,
                   replace(job, offset=4095, table=job.table[:3]), 1)


def of_layer(case: workloads.Case, cfg: Config, **settings) -> layer.LayerPlan:
    """The plan of a committed layer from X; a bias of K without RoPE does not count."""
    p = case.projection
    x, wk, wv = (np.asarray(a, np.float64) for a in (p.x, p.wk, p.wv))
    if case.rope_theta and np.any(p.bk):
        x, wk, wv = with_bias(x, wk, wv, p.bk, np.zeros_like(p.bk))
    return layer.plan_layer(x, wk, wv, case.q, cfg, rope_theta=case.rope_theta, causal=case.causal,
                            **settings)


GROUP = "smollm2_novel_s1024_l05"
"""Three query heads on one KV head, causal 1024 x 1024, d = 64."""


def print_all(cfg: Config) -> None:
    """A line for each job; then means, and jobs beyond 1.2 times the bound + 1,000 cycles."""
    seen: dict[str, list[tuple[Captured, Cycles, Work]]] = {}
    for one in captured(cfg):
        work = one.work(cfg)
        done = cycles(work, one.job, cfg, source=one.source)
        kind = f"{one.mode}, from X" if one.source else one.mode
        seen.setdefault(kind, []).append((one, done, work))
        bounds = " ".join(f"{name} {n}" for name, n in done.bound.items())
        print(f"{one.name}, {one.mode}: {len(work.block_rows)} blocks, {work.pairs} pairs; "
              f"{bounds}; {done.total - done.predict} cycles"
              + (f" + {done.predict} of K8" if done.predict else "")
              + f", {done.ratio:.3f} of {done.binds}; units useful "
              f"{done.bound['units'] / max(done.busy['units'], 1):.2f}, hazard {done.hazard}"
              + (f", unwritten {done.unwritten}, groups of "
                 f"{work.tokens / done.groups:.2f}" if done.groups else ""), flush=True)
    for mode, jobs in seen.items():
        ratio = [done.ratio for one, done, work in jobs if len(work.block_rows) >= 4]
        binds = [(done.bound["units"] / max(done.busy["units"], 1), 1 / done.ratio)
                 for _, done, _ in jobs if done.binds == "units"]
        if not ratio:
            continue
        print(f"{mode}: {len(ratio)} jobs of 4 or more blocks, mean ratio {np.mean(ratio):.3f}, "
              f"largest {max(ratio):.3f}")
        if binds:
            useful, of_all = np.mean(binds, axis=0)
            print(f"    units bind {len(binds)}: {useful:.3f} of their busy cycles are useful, "
                  f"{of_all:.3f} of all")
        for one, done, work in jobs:
            attention, least = done.total - done.predict, max(done.bound.values())
            if len(work.block_rows) >= 4 and attention > 1.2 * least + 1000:
                print(f"    beyond: {one.name}, {attention} of {least}")


def print_sizes(cfg: Config) -> None:
    """Cycles with each of SIZES over those of the default: mean, least and largest of the jobs of a
    mode."""
    table: dict[str, dict[str, list[float]]] = {}
    for one in captured(cfg):
        base = one.cycles(cfg)
        base = base.total - base.predict
        kind = f"{one.mode}, from X" if one.source else one.mode
        kind = "few rows" if one.selected.shape[1] == 1 else kind
        for size, machine in SIZES.items():
            done = one.cycles(cfg, machine)
            table.setdefault(kind, {}).setdefault(size, []).append(
                (done.total - done.predict) / base)
    for kind, sizes in table.items():
        print(kind)
        for size, found in sizes.items():
            print(f"  {size:24} {np.mean(found):.3f} ({min(found):.3f} to {max(found):.3f})")


def main(argv: list[str] | None = None) -> int:
    """Print cycles and bounds of captured heads and layers; 0."""
    parser = argparse.ArgumentParser(description=main.__doc__.split(";")[0])
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--all", action="store_true", help="every job against its bounds")
    what.add_argument("--sizes", action="store_true", help="what other sizes change")
    args = parser.parse_args(argv)
    cfg = Config.from_name("paper").replace(TWO_TERM=1)
    if args.sizes:
        print_sizes(cfg)
    else:
        print_all(cfg)
    return 0


if __name__ == "__main__":
    sys.exit(main())
