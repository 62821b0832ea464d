# SPDX-License-Identifier: Apache-2.0
"""Organisations of selection and of the pair lanes: what each keeps, what it pays, what it needs.

    org = Organisation(quota=16, radius=6.0, share=8)
    guess = predict(call, org.snap, cfg)            # integer DLZS scores, once per snap rule
    picked = choose(guess, org, cfg)                # bool [Hq, R, S] and counts of every tile
    base = Truth.of(call).quality(picked.selected)  # keep, mass, error
    row = measure(call, picked, org, cfg, base)     # and steps, vectors, cycles
    hardware(org, cfg)                              # multiplexers, adders, buffers

``Organisation`` is a Method as well, so whole models can be evaluated with it.

Which keys a row takes: the reference's DLZS (models.dlzs) and SADS (models.sads). How lanes are
bound to rows (docs/costs.md): every row has two pair lanes; ``share`` rows pool theirs, so that a
lane serves any row of its group; ``carry`` lets work of a tile be finished during the next tiles;
``heads`` makes a block of the rows of so many query heads of one KV head.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from models import dlzs, sads
from models.config import Config, ConfigError, check, clog2
from models.head import Job
from models.lab.counts import Counts
from models.lab.cycles import Memory, Work, layer_cycles
from models.lab.lists import WEIGHT_BITS, above_threshold, octave_units
from models.lab.method import Attended, Call, Method, count_formal, softmax_over
from models.quantise import quantise, radius_to_int
from models.tiling import block_tiles

LAYOUTS = ("interleaved", "contiguous", "recent")
"""Which keys form a tile: every Tc-th; neighbours; first the tiles likely to hold the maximum, made
of the SINK first keys and the block's own positions, then the others interleaved."""

ANCHORS = ("max", "sum")
"""What a radius is measured from."""

SINK = 4
"""First keys of the text, which many rows of language models rate highest."""

LANES = 2
"""Keys that a row's lanes take in a step."""

BLOCK = 1 << 20
"""``carry`` of rows that are decoupled over the whole block."""


@dataclass(frozen=True)
class Organisation(Method):
    """quota     keys a row takes from a tile, 1..bc
    radius    nats below what ``anchor`` says, None: no clipping; one for all heads, or one for each
    anchor    "max": the row's running maximum; "sum": the logarithm of the row's predicted softmax
              sum, so that exp(-radius) is the threshold of models.lab.lists
    snap      how Q is coded (models.dlzs); dlzs.TWO_TERM is the two-term cell
    bc, layout   keys in a tile, which ones (LAYOUTS)
    exchange  best rejected keys that a row takes along into the next tile, 0: none
    share     rows whose lanes are pooled, a power of two
    carry     following tiles during which a tile's work may be finished, 0: none
    heads     query heads of a KV head whose rows make a block together
    """

    quota: int = 16
    radius: float | tuple[float, ...] | None = None
    anchor: str = "max"
    snap: int = dlzs.FLOOR
    bc: int = 64
    layout: str = "interleaved"
    exchange: int = 0
    share: int = 1
    carry: int = 0
    heads: int = 1

    name = "organisation"

    def __post_init__(self) -> None:
        check("bc", self.bc, 4, 64, pow2=True)
        check("quota", self.quota, 1, self.bc)
        check("exchange", self.exchange, 0, self.bc)
        check("share", self.share, 1, 128, pow2=True)
        check("carry", self.carry, 0, BLOCK)
        check("heads", self.heads, 1, 128)
        if self.layout not in LAYOUTS:
            raise ConfigError(f"layout = {self.layout!r}, legal: {', '.join(LAYOUTS)}")
        if self.anchor not in ANCHORS:
            raise ConfigError(f"anchor = {self.anchor!r}, legal: {', '.join(ANCHORS)}")
        if self.anchor == "sum" and isinstance(self.radius, tuple):
            raise ConfigError(f"radius = {self.radius}, legal with anchor sum: one for all heads")

    def attend(self, call: Call) -> Attended:
        """Exact attention over the selected pairs, float32; counts of the formal path only."""
        cfg = Config.from_name("paper")
        picked = choose(predict(call, self.snap, cfg), self, cfg)
        counts = Counts()
        count_formal(counts, call, picked.selected)
        out = softmax_over(call.logits(), picked.selected, call.shared(call.v))
        return Attended(out, picked.selected, counts)


@dataclass(frozen=True)
class Predicted:
    """scores int32 [Hq, R, S]; mask bool [R, S]; sq, sk8: scales of Q and of the 8-bit K."""

    scores: np.ndarray
    mask: np.ndarray
    sq: float
    sk8: float
    d: int
    snap: int
    group: int


def predict(call: Call, snap: int, cfg: Config) -> Predicted:
    """DLZS scores of all heads of a layer, with one scale for each tensor as the machine has."""
    q16, sq = quantise(call.q, 16)
    k8, sk8 = quantise(call.k, 8)
    scores = np.stack([
        dlzs.scores(dlzs.encode(q, snap), k8[h // call.group], cfg).astype(np.int32)
        for h, q in enumerate(q16)
    ])
    return Predicted(scores, call.mask(), sq, sk8, call.d, snap, call.group)


@dataclass
class Tally:
    """One block. counts int64 [rows, tiles], keys that each row takes in each tile's turn; slots,
    union [tiles]: keys of the tile, distinct keys taken."""

    counts: np.ndarray
    slots: np.ndarray
    union: np.ndarray


@dataclass
class Picked:
    """selected bool [Hq, R, S]; blocks: their tallies, in the order of the machine."""

    selected: np.ndarray
    blocks: list[Tally] = field(default_factory=list)


def layout_tiles(org: Organisation, row: int, n: int, mask: np.ndarray) -> list[np.ndarray]:
    """Keys of every tile of the block of rows row .. row+n-1; mask bool [R, S]."""
    rows, keys = mask.shape
    length = int(np.flatnonzero(mask[row + n - 1])[-1]) + 1
    if org.layout != "recent":
        tiles = block_tiles(0, n, length, org.bc, interleaved=org.layout == "interleaved")
        return [t.keys for t in tiles]
    recent = np.arange(max(SINK, length - n), length)
    first = np.concatenate([np.arange(min(SINK, length)), recent])[::-1]
    rest = np.arange(SINK, max(SINK, length - n))
    count = -(-len(rest) // org.bc)
    likely = [np.sort(first[i : i + org.bc]) for i in range(0, len(first), org.bc)]
    return likely + [rest[t::count] for t in range(count)]


def choose(guess: Predicted, org: Organisation, cfg: Config) -> Picked:
    """The selection of an organisation and what it asks of the lanes in every tile."""
    heads, rows, keys = guess.scores.shape
    if guess.group % org.heads:
        raise ConfigError(f"heads = {org.heads}, legal: a divisor of the {guess.group} query "
                          "heads that share K and V")
    if org.snap != guess.snap:
        raise ConfigError(f"snap = {org.snap}, the scores were predicted with {guess.snap}")
    given = org.radius if isinstance(org.radius, tuple) else (org.radius,) * heads
    if len(given) != heads:
        raise ConfigError(f"radius has {len(given)} entries, legal: one for each of {heads} heads")
    radius = np.array([
        radius_to_int(r if org.anchor == "max" else None, guess.sq, guess.sk8, guess.d, guess.snap,
                      cfg) for r in given])
    picked = Picked(np.zeros(guess.scores.shape, bool))
    per = cfg.ROWS // org.heads
    parts: list[list[Tally]] = [[] for _ in range(heads // org.heads)]
    for row in range(0, rows, per):
        n = min(per, rows - row)
        taken = [[] for _ in parts]
        union = [[] for _ in parts]
        slots = []
        turns = _select_block(guess, org, row, n, radius, picked.selected, cfg)
        for tile, count, keys_used in turns:
            slots.append(tile)
            for i in range(len(parts)):
                own = slice(i * org.heads, (i + 1) * org.heads)
                # Rows of the same position lie side by side.
                taken[i].append(count[own].T.reshape(-1))
                union[i].append(int(keys_used[own].any(axis=0).sum()))
        for i, part in enumerate(parts):
            part.append(Tally(np.stack(taken[i], axis=1), np.array(slots), np.array(union[i])))
    picked.blocks = [tally for part in parts for tally in part]
    return picked


def _select_block(guess, org, row, n, radius, selected, cfg):
    """Yield (slots, keys taken [Hq, n], used bool [Hq, S]) of each tile; fills ``selected``."""
    heads, _, keys = guess.scores.shape
    score = guess.scores[:, row : row + n].reshape(heads * n, keys)
    allowed = np.broadcast_to(guess.mask[row : row + n], (heads, n, keys)).reshape(-1, keys)
    head = np.repeat(np.arange(heads), n)
    same = bool((radius == radius[0]).all())
    chosen = np.zeros((heads * n, keys), bool)
    waiting = (np.full((heads * n, org.exchange), sads.NO_MAX, np.int64),
               np.zeros((heads * n, org.exchange), np.int64))
    run_max = None
    tiles = layout_tiles(org, row, n, guess.mask)
    if org.anchor == "sum" and org.radius is not None:
        index = np.full((len(tiles), max(map(len, tiles))), -1)
        for line, tile in zip(index, tiles, strict=True):
            line[: len(tile)] = tile
        units = octave_units(guess.sq, guess.sk8, guess.d, guess.snap, cfg)
        # The row's maximum so far is always among them.
        allowed = above_threshold(score, allowed, index, units, math.exp(-org.radius))
    for tile in tiles:
        if not org.exchange and same:
            got, run_max = sads.select_tile(score[:, tile], allowed[:, tile], run_max, org.quota,
                                            int(radius[0]), cfg)
            good, key = got.valid, tile[got.slots]
        else:
            value = np.where(allowed[:, tile], score[:, tile].astype(np.int64), sads.NO_MAX)
            peak = value.max(axis=1)
            run_max = peak if run_max is None else np.maximum(run_max, peak)
            good, key, waiting = _take_best(value, tile, waiting, run_max - radius[head], org)
        line, place = np.nonzero(good)
        used = np.zeros((heads, keys), bool)
        used[head[line], key[line, place]] = True
        chosen[line, key[line, place]] = True
        yield len(tile), good.sum(axis=1).reshape(heads, n), used
    selected[:, row : row + n] = chosen.reshape(heads, n, keys)


def _take_best(value, tile, waiting, least, org):
    """The best ``quota`` of a tile's keys and those that wait, as far as they reach ``least``.

    value int64 [M, n], NO_MAX where masked; waiting: (scores, keys) [M, exchange] left over from
    the tiles before. Returns (taken bool [M, P], keys [M, P], the new waiting).
    """
    value = np.concatenate([value, waiting[0]], axis=1)
    key = np.concatenate([np.broadcast_to(tile, (len(value), len(tile))), waiting[1]], axis=1)
    order = np.argsort(-value, axis=1, kind="stable")[:, : org.quota + org.exchange]
    value, key = (np.take_along_axis(a, order, axis=1) for a in (value, key))
    good = (value > sads.NO_MAX) & (value >= least[:, None])
    good[:, org.quota :] = False
    left = np.full_like(waiting[0], sads.NO_MAX), np.zeros_like(waiting[1])
    found = value.shape[1] - org.quota
    if found > 0:
        left[0][:, :found], left[1][:, :found] = value[:, org.quota :], key[:, org.quota :]
    return good, key, left


def paid_steps(counts: np.ndarray, share: int = 1, carry: int = 0) -> np.ndarray:
    """Steps of every tile, int64 [tiles], of counts [rows, tiles].

    A step gives each group of ``share`` rows LANES*share keys. Work of a tile may also take free
    places of the next ``carry`` tiles' steps. The steps are the fewest with which all work finds a
    place: from the last tile backwards, each pays what later ones leave, using the farthest first,
    which no earlier tile reaches. A machine, which sees only the next tiles, pays as much or more.
    """
    rows, tiles = counts.shape
    groups = -(-rows // share)
    work = np.zeros((groups * share, tiles), np.int64)
    work[:rows] = counts
    work = work.reshape(groups, share, tiles).sum(axis=1)
    room = LANES * share
    steps = np.zeros(tiles, np.int64)
    free = np.zeros((groups, tiles), np.int64)
    for t in range(tiles - 1, -1, -1):
        left = work[:, t].copy()
        for u in range(min(t + carry, tiles - 1), t, -1):
            moved = np.minimum(left, free[:, u])
            left -= moved
            free[:, u] -= moved
        steps[t] = (-(-left // room)).max()
        free[:, t] = steps[t] * room - left
    return steps


@dataclass(frozen=True)
class Measured:
    """One organisation on one layer; Measured add up with ``+`` (weights: pairs, rows).

    visible, selected   pairs
    rows, mass          query rows, sum of the softmax mass that they retain
    error, power        squared error of the output against dense attention, squared output
    steps, slots        pair steps paid, key places they offer (LANES * ROWS a step)
    vectors             K (and as many V) vectors read
    cycles              of the attention job (models/lab/cycles.py)
    """

    visible: int = 0
    selected: int = 0
    rows: int = 0
    mass: float = 0.0
    error: float = 0.0
    power: float = 0.0
    steps: int = 0
    slots: int = 0
    vectors: int = 0
    cycles: int = 0

    def __add__(self, other: Measured) -> Measured:
        return Measured(*(a + b for a, b in zip(vars(self).values(), vars(other).values(),
                                                strict=True)))

    @property
    def keep(self) -> float:
        """Share of the visible pairs used."""
        return self.selected / self.visible

    @property
    def lost(self) -> float:
        """Softmax mass not retained, mean over rows."""
        return 1 - self.mass / self.rows

    @property
    def relative_error(self) -> float:
        """Relative L2 error of the output against dense attention."""
        return (self.error / self.power) ** 0.5

    @property
    def useful(self) -> float:
        """Share of the key places of the paid steps that held a key."""
        return self.selected / self.slots if self.slots else 1.0


@dataclass(frozen=True)
class Truth:
    """Exact attention of a layer: p float32 [Hq, R, S], softmax over the visible keys; out."""

    p: np.ndarray
    out: np.ndarray
    v: np.ndarray
    pairs: int

    @classmethod
    def of(cls, call: Call) -> Truth:
        """All heads of a layer."""
        mask = call.mask()
        p = call.logits()
        p[:, ~mask] = -np.inf
        p -= p.max(axis=2, keepdims=True)
        np.exp(p, out=p)
        p /= p.sum(axis=2, keepdims=True)
        v = call.shared(call.v)
        return cls(p, np.matmul(p, v), v, int(mask.sum()) * len(p))

    def quality(self, selected: np.ndarray) -> Measured:
        """The fields of Measured that depend on the selection alone."""
        mass = error = 0.0
        for p, out, v, used in zip(self.p, self.out, self.v, selected, strict=True):
            p = p * used
            total = p.sum(axis=1, keepdims=True)
            mass += float(total.sum())
            sparse = p @ v / np.where(total > 0, total, 1)
            error += float(np.square(out - sparse, dtype=np.float64).sum())
        power = float(np.square(self.out, dtype=np.float64).sum())
        return Measured(self.pairs, int(selected.sum()), self.p.shape[0] * self.p.shape[1], mass,
                        error, power)


def work_of_blocks(picked: Picked, org: Organisation, kv_heads: int) -> Work:
    """What the machine would have to do, one phase a tile."""
    work = Work([], [], [], [], [], [], [], len(picked.selected) // org.heads, kv_heads)
    for block in picked.blocks:
        work.rows.append(len(block.counts))
        work.tiles.append(len(block.slots))
        work.slots += block.slots.tolist()
        work.nsteps += paid_steps(block.counts, org.share, org.carry).tolist()
        work.read += block.union.tolist()
    work.phases, work.made = [1] * len(work.slots), [0] * len(work.slots)
    return work


def measure(
    call: Call, picked: Picked, org: Organisation, cfg: Config, base: Measured,
    memory: Memory | None = None,
) -> Measured:
    """All of Measured; base: Truth.quality of the selection. Carrying takes one more K and V
    buffer, which the cycle model has too."""
    work = work_of_blocks(picked, org, len(call.k))
    job = Job(d=call.d, scale_m=0, scale_shift=0, bc=org.bc, quota=org.quota, causal=call.causal)
    steps = sum(work.nsteps)
    machine = cfg.replace(KV_BUFS=min(cfg.KV_BUFS + min(org.carry, 1), 4))
    cycles = layer_cycles(work, job, machine, memory).total
    return base + Measured(steps=steps, slots=steps * LANES * cfg.ROWS, vectors=sum(work.read),
                           cycles=cycles)


@dataclass(frozen=True)
class Hardware:
    """What an organisation needs, in the units of models/lab/counts.py.

    mux     two-way multiplexer bits
    logic   full-adder bits
    buffer  bits of memory
    """

    mux: int
    logic: int
    buffer: int

    @property
    def area(self) -> float:
        """All in full-adder bits. A multiplexer bit counts a third, a bit of memory with its share
        of the periphery a tenth (our decision, not measured: synthesis has the last word)."""
        return self.mux / 3 + self.logic + self.buffer / 10


def hardware(org: Organisation, cfg: Config) -> Hardware:
    """Prediction, sorting, pair lanes and their buffers, without Q, O, KVGEN, exp and division,
    which do not change. N = KV_SLOTS, R = ROWS, G = share, e = exchange, c = carry (BLOCK: the
    tiles of the longest block but one):

    mux     keys: 4 lanes of R rows (2 for K, 2 for V) pick 16 bits of one of N slots of the 1 + c
            buffers whose keys they may use, 64 R (N (1 + c) - 1);
            queries: the 2 R lanes of Q.K pick 16 bits of one of G rows, 32 R (G - 1);
            outputs: 26 bits of each of the 2 G lanes of a group are gated for every row, G > 1;
            prediction: R COLS shifters of 8 + SC_FRAC bits and 4 stages
    logic   products: 4 R multipliers of 16 x 16; outputs: every row adds the 2 G lanes that may
            work for it, 26 bits each, and o of O_W bits; prediction: R COLS adders of SC_W bits,
            two a cell with dlzs.TWO_TERM, whose second shift is one place more; sorting: 47
            comparators a row (docs/sads.md) of SC_W + 1 + SLOT_W bits, and e more for the
            rejected; with the anchor "sum" five adders of SC_W bits a row for the distance and the
            threshold and one for the sum, since scores come at one a row and cycle or less (d of
            COLS and more)
    buffer  K, V: 2 (KV_BUFS + c) tiles of N x D_MAX x 16; lists: 4 + c tiles of R x BC_MAX
            entries of 1 + SLOT_W bits, with clog2(G) that name the row of a lane's key and
            clog2(1+c) that name the buffer; rejected: R e entries of SC_W + clog2(KEYS_MAX) bits;
            with the anchor "sum" the scores of one more tile, which wait for their threshold
    """
    n, r, g, e = cfg.KV_SLOTS, cfg.ROWS, org.share, org.exchange
    c = min(org.carry, cfg.KEYS_MAX // org.bc - 1)
    cells = r * cfg.COLS
    mux = 64 * r * (n * (1 + c) - 1) + 32 * r * (g - 1) + cells * (8 + cfg.SC_FRAC) * 4
    mux += 26 * 2 * g * r if g > 1 else 0
    terms = 2 if org.snap == dlzs.TWO_TERM else 1
    logic = 4 * r * 256 + r * (26 * 2 * g + cfg.O_W) + cells * terms * cfg.SC_W
    logic += r * (47 + e) * (cfg.SC_W + 1 + cfg.SLOT_W)
    if org.anchor == "sum":
        logic += r * (5 * cfg.SC_W + WEIGHT_BITS + 1 + clog2(cfg.KEYS_MAX))
    entry = 1 + cfg.SLOT_W + clog2(g) + clog2(1 + c)
    buffer = (2 * (cfg.KV_BUFS + c) * n * cfg.D_MAX * 16 + (4 + c) * r * cfg.BC_MAX * entry
              + r * e * (cfg.SC_W + clog2(cfg.KEYS_MAX)))
    if org.anchor == "sum":
        buffer += r * cfg.BC_MAX * cfg.SC_W
    return Hardware(mux, logic, buffer)
