# SPDX-License-Identifier: Apache-2.0
"""Whole heads and jobs: the stage models put together in the order of the machine.

A head is walked band by band. In a job that selects by the row's sum, the tiles of a band come in
the order 0 (counted), 1, 2 .. (selected and counted), 0 (selected); in the other jobs 0, 1, 2 ..
Within a tile SU-FA takes the keys in slot order, each by all rows that want it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from . import dlzs, sads, sufa
from .config import Config, ConfigError, check
from .tiling import (
    Band,
    Block,
    allowed,
    bands,
    exact_rows,
    mean_span,
    seen_keys,
)

STREAMS = ("q", "k8", "k", "v", "o", "w", "r", "x", "wb")
"""Memory streams, named as in the counters: k8 also reads X8 in a predict job, w reads weight
codes, r RoPE rows for the prediction, x what KVGEN needs, wb writes K8, K, V and VB."""


@dataclass
class Stats:
    """Counts over tiles, blocks, heads; they add up with ``+``.

    selected, visible    (row, key) pairs used / that the mask allows
    slots, union, phases per tile: keys in the tile, keys some row selected, phases
    nsteps, generated, reused   per phase: pair steps, keys made, keys read from memory
    tiles_per_block, rows_per_block   lists, in job order
    max_updates          references raised within a block
    vectors              vectors moved, per stream; a vector is a row of a matrix, the codes of a
                         chunk for a group of tokens, a word of W or the VB bits of a KV head
    bytes                whole beats of those vectors, bytes, per stream
    """

    selected: int = 0
    visible: int = 0
    slots: list[int] = field(default_factory=list)
    union: list[int] = field(default_factory=list)
    phases: list[int] = field(default_factory=list)
    nsteps: list[int] = field(default_factory=list)
    generated: list[int] = field(default_factory=list)
    reused: list[int] = field(default_factory=list)
    tiles_per_block: list[int] = field(default_factory=list)
    rows_per_block: list[int] = field(default_factory=list)
    max_updates: int = 0
    vectors: dict[str, int] = field(default_factory=lambda: dict.fromkeys(STREAMS, 0))
    bytes: dict[str, int] = field(default_factory=lambda: dict.fromkeys(STREAMS, 0))

    @property
    def keep(self) -> float:
        """Share of the visible pairs that were used."""
        return self.selected / self.visible if self.visible else 0.0

    @property
    def bytes_read(self) -> int:
        """Bytes of all read streams."""
        return sum(n for name, n in self.bytes.items() if name not in ("o", "wb"))

    @property
    def bytes_written(self) -> int:
        """Bytes of all written streams."""
        return self.bytes["o"] + self.bytes["wb"]

    def move(self, stream: str, vectors: int, beats: int, cfg: Config) -> None:
        """Count vectors of so many beats each on a stream."""
        self.vectors[stream] += vectors
        self.bytes[stream] += vectors * beats * cfg.BUS_BYTES

    def __add__(self, other: Stats) -> Stats:
        total = Stats()
        for name in vars(self):
            a, b = getattr(self, name), getattr(other, name)
            if isinstance(a, dict):
                setattr(total, name, {key: a[key] + b[key] for key in a})
            else:
                setattr(total, name, a + b)
        return total


class KeySource:
    """K and V of one KV head, int16 [keys, d], and which of them exist in memory.

    claimed: bool [keys], the keys that exist, changed in place as more are made; None: all do.
    """

    def __init__(self, k: np.ndarray, v: np.ndarray, claimed: np.ndarray | None = None):
        self.k, self.v = k, v
        self.claimed = np.ones(len(k), bool) if claimed is None else claimed

    def claim(self, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(keys that have to be made, keys that are read) of the wanted ones, in their order;
        from now on they all exist."""
        here = self.claimed[keys]
        self.claimed[keys] = True
        return keys[~here], keys[here]


def check_array(name: str, x, dtype, axes: int, d: int) -> None:
    """ConfigError unless x is an array of so many axes and this type, whose last axis has length
    d, that of the job."""
    if not isinstance(x, np.ndarray) or x.ndim != axes or x.dtype != dtype:
        found = f"{x.dtype} {x.shape}" if isinstance(x, np.ndarray) else type(x).__name__
        raise ConfigError(f"{name} is {found}, legal: {np.dtype(dtype)}, {axes} axes")
    if x.shape[-1] != d:
        raise ConfigError(f"{name} has d = {x.shape[-1]}, the job has d = {d}")


def check_shapes(q, k, v, k8, job: Job, cfg: Config, leading: int) -> None:
    """Refuse arrays that do not fit each other, the job or the configuration."""
    for name, x, dtype in (("q", q, np.int16), ("k", k, np.int16), ("v", v, np.int16),
                           ("k8", k8, np.int8)):
        if x is None and name == "k8" and job.dense:
            continue
        check_array(name, x, dtype, leading + 2, job.d)
    for name, x in (("v", v), ("k8", k8)):
        if x is not None and x.shape != k.shape:
            raise ConfigError(f"{name} has shape {x.shape}, legal: that of k, {k.shape}")
    check("query rows", q.shape[-2], 1, 65536)
    check("keys", k.shape[-2], 1, cfg.KEYS_MAX)

SUM, SORT, DENSE = 0, 1, 2
"""How a job selects: values of Job.select."""


LEAST_TAU = 32
"""Octaves that a threshold may lie below 1."""

MOST_FALL = 255
"""Largest Job.fall, in 1/256."""


@dataclass(frozen=True)
class HeadTable:
    """What a query head has of its own.

    scale_m, scale_shift   from dot products to log2 units (models.sufa.log2_score)
    octave    log2 of the predicted score units of a factor 2, 0..SC_W-1 (sum)
    tau       log2 of the threshold with LOG_FRAC fraction bits, 0 or less: the least share of the
              row's predicted softmax of a key that is kept, at 1024 visible keys (sum)
    radius    predicted score units below the row's maximum; None: no limit (sort)
    coarse    as tau, the least share of a coarse key, tau or less; None: no coarse keys (sum)
    """

    scale_m: int
    scale_shift: int
    octave: int = 0
    tau: int = 0
    radius: int | None = None
    coarse: int | None = None


@dataclass(frozen=True)
class Job:
    """Run-time settings of a job; table: one entry for each query head.

    bc      keys of a tile; band: row blocks of a band
    select  SUM, SORT or DENSE; quota: keys that a row may take from a tile (sort)
    blend   the mean of V stands in for what is dropped, else f = 1 (sum)
    fall    exponent in 1/256 with which tau falls with the length of the visible prefix (sum)
    offset  position of query row 0 among the keys (causal)
    window  newest keys that a row sees, its own among them, 0: all; sinks: first keys, which it
            sees as well, at most bc (causal)
    share   the query heads of a KV head, which have few rows, share blocks: at most ROWS rows
            together, equal entries of the table. No number depends on it.
    """

    d: int
    bc: int
    table: tuple[HeadTable, ...]
    band: int = 1
    select: int = SUM
    quota: int = 1
    fall: int = 0
    snap: int = dlzs.FLOOR
    causal: bool = False
    offset: int = 0
    interleaved: bool = True
    blend: bool = True
    share: bool = False
    window: int = 0
    sinks: int = 0

    def checked(self, cfg: Config) -> Job:
        """This job when every field is legal for the configuration, else ConfigError."""
        cfg.check_d(self.d)
        cfg.check_bc(self.bc)
        cfg.check_snap(self.snap)
        check("select", self.select, SUM, DENSE)
        check("quota", self.quota, 1, cfg.BC_MAX)
        check("fall", self.fall, 0, MOST_FALL)
        check("offset", self.offset, 0, 65535)
        check("window", self.window, 0, cfg.KEYS_MAX if self.causal else 0)
        check("sinks", self.sinks, 0, self.bc if self.window else 0)
        check("band", self.band, 1, 1 if self.share else cfg.places(self.d))
        for entry in self.table:
            check("scale_m", entry.scale_m, 0, 65535)
            check("scale_shift", entry.scale_shift, 0, 47)
            check("octave", entry.octave, 0, cfg.SC_W - 1)
            check("tau", entry.tau, -(LEAST_TAU << cfg.LOG_FRAC), 0)
            if entry.coarse is not None:
                check("coarse", entry.coarse, -(LEAST_TAU << cfg.LOG_FRAC), entry.tau)
                if not self.blend:
                    raise ConfigError(f"coarse = {entry.coarse}, legal: None without blend")
            if entry.radius is not None:
                check("radius", entry.radius, 0, cfg.RADIUS_INF)
        return self

    @property
    def dense(self) -> bool:
        """Whether every visible key is used."""
        return self.select == DENSE

    def visible(self, rows: int, keys: int) -> int:
        """Pairs of a query row and a key that it sees, of one head."""
        if not self.causal:
            return rows * keys
        return int(seen_keys(self.offset + np.arange(rows), keys, self.window, self.sinks).sum())

    def bands(self, rows: int, keys: int, cfg: Config) -> list[Band]:
        """The bands of a head of this job."""
        return bands(rows, keys, self.bc, self.band, cfg, causal=self.causal, offset=self.offset,
                     interleaved=self.interleaved, window=self.window, sinks=self.sinks)


@dataclass
class Selected:
    """What a block takes of the tiles of its band.

    masks    bool [n, tile.n] per tile, pairs selected
    f, g     int64 [n], kept and coarse share
    weights  int64 [n, tile.n] per tile, of coarse pairs, 0 of others (models.sads.tail), and
             peaks int64 [n], to which they are relative; empty without coarse keys
    sums     state of the rows at the end (sum)
    """

    masks: list[np.ndarray]
    f: np.ndarray
    g: np.ndarray
    weights: list[np.ndarray] = field(default_factory=list)
    peaks: list[np.ndarray] = field(default_factory=list)
    sums: sads.Sums | None = None


@dataclass
class BlockResult:
    """One block of a head.

    out     int16 [n, d]
    chosen  what it takes of the tiles
    scores  int64 [n, tile.n] per tile, predicted; empty when dense
    trace   intermediates of the formal path, when asked for
    updates references raised; rises: coarse sums shifted
    """

    block: Block
    out: np.ndarray
    chosen: Selected
    scores: list[np.ndarray]
    trace: sufa.Trace | None = None
    updates: int = 0
    rises: int = 0


@dataclass
class HeadResult:
    """One head. out int16 [rows, d]; selected, coarse bool [rows, keys]; f, g int64 [rows]."""

    out: np.ndarray
    selected: np.ndarray
    coarse: np.ndarray
    f: np.ndarray
    g: np.ndarray
    bands: list[Band]
    blocks: list[BlockResult] = field(default_factory=list)


def select(
    score: list[np.ndarray], seen: list[np.ndarray], block: Block, entry: HeadTable, job: Job,
    cfg: Config,
) -> Selected:
    """What a block takes.

    score int [n, slots] and seen bool of each tile of its band; score is not looked at when dense.
    """
    whole, none = np.full(block.n, 1 << cfg.F_FRAC), np.zeros(block.n, np.int64)
    if job.dense:
        return Selected([tile.copy() for tile in seen], whole, none)
    if job.select == SORT:
        run_max, masks = None, []
        for value, tile in zip(score, seen, strict=True):
            chosen, run_max = sads.select_tile(value, tile, run_max, job.quota, entry.radius, cfg)
            masks.append(chosen.mask)
        return Selected(masks, whole, none)
    tau = sads.block_threshold(entry.tau, job.fall, block.length, cfg)
    everything = exact_rows(block.row, block.n, job.causal, job.offset)
    level = [sads.levels(value, entry.octave, cfg.LEVEL_W) for value in score]
    has_tail = entry.coarse is not None
    lower = sads.block_threshold(entry.coarse, job.fall, block.length, cfg) if has_tail else None
    sums = sads.start(block.n)
    sads.count(sums, level[0], seen[0], *np.zeros((2, *seen[0].shape), bool), cfg)
    chosen = Selected(list(seen), whole, none)
    if has_tail:
        chosen.weights, chosen.peaks = ([None] * len(seen) for _ in range(2))
    for t in order(len(seen), job):
        # t tiles have been counted; all of them when tile 0 is selected from.
        ratio = sads.extrapolation(len(seen), t or len(seen), cfg)
        least = np.where(everything, sads.EVERY, sads.limit(sums, ratio, tau, cfg))
        mask = chosen.masks[t] = seen[t] & (level[t] >= least[:, None])
        coarse = np.zeros_like(mask)
        if has_tail:
            weight = sads.tail(sums, level[t], seen[t] & ~mask, ratio, lower, cfg)
            chosen.weights[t], chosen.peaks[t], coarse = weight, sums.peak, weight > 0
        if t:
            sads.count(sums, level[t], seen[t], mask, coarse, cfg)
        else:
            sads.count_last(sums, level[0], mask, coarse, cfg)
    chosen.sums = sums
    if job.blend:
        chosen.f, chosen.g = sads.shares(sums, everything, cfg)
    return chosen


def order(tiles: int, job: Job) -> list[int]:
    """Numbers of a band's tiles in the order in which SU-FA takes them."""
    return [*range(1, tiles), 0] if job.select == SUM else list(range(tiles))


def turns(tiles: int, job: Job) -> list[tuple[int, bool]]:
    """(number of a tile, whether it is selected from) of a band, in the order of scoring."""
    counted = [(0, False)] if job.select == SUM else []
    return counted + [(t, True) for t in order(tiles, job)]


@dataclass(frozen=True)
class Part:
    """A band of those query heads of KV head ``kv`` that walk its tiles together."""

    kv: int
    band: Band
    heads: range

    def blocks(self, job: Job) -> int:
        """Blocks of the machine that work on each of its tiles."""
        return 1 if job.share else len(self.heads) * len(self.band.blocks)

    def wanted(self, selected: np.ndarray) -> np.ndarray:
        """bool [keys]: keys that some row of the part takes; selected bool [heads, rows, keys]."""
        rows = slice(self.band.row, self.band.row + self.band.n)
        return selected[self.heads.start : self.heads.stop, rows].any(axis=(0, 1))


def parts(heads: int, kv_heads: int, rows: int, keys: int, job: Job, cfg: Config) -> list[Part]:
    """What a job works on, in its order: KV head after KV head; of each the bands; of each the
    query heads of the group, as many together as the stores have places for."""
    group = heads // kv_heads
    together = group if job.share else max(1, min(group, cfg.places(job.d) // job.band))
    split = job.bands(rows, keys, cfg)
    return [
        Part(kv, band, range(at, min(at + together, (kv + 1) * group)))
        for kv in range(kv_heads)
        for band in split
        for at in range(kv * group, (kv + 1) * group, together)
    ]


def run_block(
    q: np.ndarray, k: np.ndarray, v: np.ndarray, k8: np.ndarray | None, mean: np.ndarray,
    band: Band, block: Block, entry: HeadTable, job: Job, cfg: Config, trace: bool = False,
) -> BlockResult:
    """One block: q int16 [n, d] its queries; k, v int16, k8 int8 [keys, d]; mean int [d]."""
    seen = [allowed(tile, band, block) for tile in band.tiles]
    scores = []
    if not job.dense:
        codes = dlzs.encode(q, job.snap)
        scores = [dlzs.scores(codes, k8[tile.keys], cfg) for tile in band.tiles]
    chosen = select(scores, seen, block, entry, job, cfg)
    state, record = sufa.start(*q.shape), sufa.Trace() if trace else None
    tail = sufa.start_tail(*q.shape)
    for t in order(len(seen), job):
        keys = band.tiles[t].keys
        sufa.keys(state=state, q=q, k=k[keys], v=v[keys], wanted=chosen.masks[t],
                  scale_m=entry.scale_m, scale_shift=entry.scale_shift, cfg=cfg, trace=record)
        if chosen.weights:
            sufa.coarse(tail, chosen.peaks[t], chosen.weights[t], sufa.cut(v[keys], cfg.VC_W), cfg)
    out = sufa.finish(state, chosen.f, mean, cfg, record, tail, chosen.g)
    return BlockResult(block, out, chosen, scores, record, state.updates, tail.rises)


def run_head(
    q: np.ndarray, k: np.ndarray, v: np.ndarray, k8: np.ndarray | None, means: np.ndarray,
    entry: HeadTable, job: Job, cfg: Config, trace: bool = False,
) -> HeadResult:
    """One head: q int16 [rows, d]; k, v int16, k8 int8 [keys, d] (k8 may be None when dense);
    means int [blocks, d]."""
    split = job.bands(len(q), len(k), cfg)
    selected, coarse = np.zeros((2, len(q), len(k)), bool)
    done = []
    for band in split:
        for block in band.blocks:
            rows = slice(block.row, block.row + block.n)
            done.append(run_block(q=q[rows], k=k, v=v, k8=k8, mean=means[block.row // cfg.ROWS],
                                  band=band, block=block, entry=entry, job=job, cfg=cfg,
                                  trace=trace))
            chosen = done[-1].chosen
            for t, tile in enumerate(band.tiles):
                selected[rows, tile.keys] = chosen.masks[t]
                if chosen.weights:
                    coarse[rows, tile.keys] = chosen.weights[t] > 0
    return HeadResult(np.concatenate([b.out for b in done]), selected, coarse,
                      np.concatenate([b.chosen.f for b in done]),
                      np.concatenate([b.chosen.g for b in done]), split, done)


def check_arrays(q, k, v, k8, means, job: Job, cfg: Config) -> None:
    """Refuse arrays that do not fit each other, the job or the configuration."""
    check_shapes(q, k, v, k8, job, cfg, 1)
    check_array("means", means, np.int16, 3, job.d)
    if not len(k) or len(q) % len(k):
        raise ConfigError(f"heads = {len(q)}, legal: multiple of kv_heads = {len(k)}")
    if len(job.table) != len(q):
        raise ConfigError(f"table has {len(job.table)} entries, legal: one for each of {len(q)} "
                          f"heads")
    group = len(q) // len(k)
    if job.share:
        check("query rows * heads / kv_heads", q.shape[1] * group, 1, cfg.ROWS)
        for h, entry in enumerate(job.table):
            if entry != job.table[h // group * group]:
                raise ConfigError(f"table of query head {h} differs from that of head "
                                  f"{h // group * group}, legal: equal where heads share blocks")
    if job.window and job.offset + q.shape[1] - job.window >= k.shape[1]:
        raise ConfigError(f"window = {job.window}, legal: {job.offset + q.shape[1]} - keys + 1 and "
                          f"above, so that the last row sees one of {k.shape[1]} keys")
    blocks = -(-q.shape[1] // cfg.ROWS)
    if means.shape[:2] != (len(k), blocks):
        raise ConfigError(f"means has shape {means.shape}, legal: [{len(k)}, {blocks}, {job.d}]")
    top = 1 << (cfg.VM_W - 1)
    if means.size and (means.min() < -top or means.max() >= top):
        raise ConfigError(f"means reach from {means.min()} to {means.max()}, legal: {-top}.."
                          f"{top - 1}")


@dataclass
class JobResult:
    """All heads of a job. out int16 [heads, rows, d]; selected, coarse bool [heads, rows, keys],
    pairs of the formal path and of the coarse tail; f, g int64 [heads, rows], the shares of both;
    updates: references raised; rises: coarse sums shifted."""

    out: np.ndarray
    selected: np.ndarray
    coarse: np.ndarray
    f: np.ndarray
    g: np.ndarray
    updates: int
    rises: int
    heads: list[HeadResult] = field(default_factory=list)


def run_job(
    q: np.ndarray, k: np.ndarray, v: np.ndarray, k8: np.ndarray | None, means: np.ndarray,
    job: Job, cfg: Config, trace: bool = False,
) -> JobResult:
    """All heads: q int16 [heads, rows, d]; k, v int16, k8 int8 [kv_heads, keys, d]; means int16
    [kv_heads, blocks, d], the mean of V for each block of ROWS rows. Query head h reads KV head
    h // (heads/kv_heads)."""
    check_arrays(q, k, v, k8, means, job.checked(cfg), cfg)
    group = len(q) // len(k)
    heads = [
        run_head(q=q[h], k=k[h // group], v=v[h // group],
                 k8=None if k8 is None else k8[h // group], means=means[h // group],
                 entry=job.table[h], job=job, cfg=cfg, trace=trace)
        for h in range(len(q))
    ]
    stacked = (np.stack([getattr(h, name) for h in heads])
               for name in ("out", "selected", "coarse", "f", "g"))
    counted = (sum(getattr(b, name) for h in heads for b in h.blocks)
               for name in ("updates", "rises"))
    return JobResult(*stacked, *counted, heads)


def rounded_mean(total: np.ndarray, keys: int, bits: int) -> np.ndarray:
    """total / keys in units of 2**(16 - bits), int16, halves rounded up, saturated."""
    top, unit = 1 << (bits - 1), keys << (16 - bits)
    return np.clip((2 * total + unit) // (2 * unit), -top, top - 1).astype(np.int16)


def means_of(
    x: np.ndarray, rows: int, job: Job, cfg: Config, bits: int | None = None
) -> np.ndarray:
    """Means for each block, int16 [n, blocks, d], of x int16 [n, keys, d] over tiling.mean_span, in
    units of 2**(16 - bits), halves rounded up. V and VM_W bits, the default: what blends in."""
    bits = cfg.VM_W if bits is None else bits
    total = np.cumsum(np.asarray(x, np.int64), axis=1)
    total = np.pad(total, ((0, 0), (1, 0), (0, 0)))
    spans = [mean_span(row, x.shape[1], job.causal, job.offset, job.window)
             for row in range(0, rows, cfg.ROWS)]
    return np.stack([rounded_mean(total[:, g] - total[:, f], g - f, bits) for f, g in spans],
                    axis=1)
