# SPDX-License-Identifier: Apache-2.0
"""Random jobs, layers and chains, each from one seed, told in a few words that can be made smaller.

    item = random_item(Config.from_name("tiny"), 1234)
    specs = item.specs(cfg)                       # for tb.system.simulate
    print(item)                                   # Python that makes the same item

An Item is a chain of Recipes, and how the memory behaves meanwhile. A Recipe tells shape, settings
and kinds of numbers of a job or layer. Its numbers come row by row from its seed, so that a recipe
with fewer rows, keys, elements or heads has the first ones of them (scripts/verify/shrink.py).
"""

from __future__ import annotations

import dataclasses
import random
from dataclasses import dataclass, field, replace

import numpy as np

from models import head, kvgen, rope
from models.config import Config, ConfigError
from tb.common.windows import random_window
from tb.system.simulate import JobSpec, LayerSpec

ROUGH_MEMORY = {"read_latency": (1, 60), "write_latency": (1, 30), "ar_stall": 0.2,
                "aw_stall": 0.2, "w_stall": 0.2, "r_gap": 0.2, "b_gap": 0.2,
                "reorder": True, "interleave": True}
"""A memory that does all that it may, arguments of AxiMemory."""

TENSORS = ("q", "k", "v", "x", "wk", "wv")


def outliers(x, rng):
    """A few large elements, a few large channels."""
    channels = np.where(rng.random(x.shape[1]) < 1 / 16, 20.0, 1.0)
    return x * np.where(rng.random(x.shape) < 0.02, 30.0, 1.0) * channels


def loud(x, rng):
    """Every row at a scale of its own."""
    return x * 2.0 ** rng.uniform(-12, 0, size=(len(x), 1))


def ramp(x, rng):
    """Each row a little more than the one before, in all elements."""
    return 0.05 * x + np.arange(1, len(x) + 1)[:, None] / 16


KINDS = {
    "normal": lambda x, rng: x,
    "outliers": outliers,
    "loud": loud,
    "ties": lambda x, rng: np.clip(np.rint(x), -1, 1),
    "equal": lambda x, rng: np.repeat(x[:1], len(x), axis=0),
    "zeros": lambda x, rng: 0 * x,
    "extremes": lambda x, rng: np.where(x < 0, -1.0, 1.0),
    "few": lambda x, rng: x * (rng.random((len(x), 1)) < 0.1),
    "rising": ramp,
    "falling": lambda x, rng: -ramp(x, rng),
}
"""Kind of numbers -> what makes it of normal ones [n, width]."""


@dataclass(frozen=True, repr=False)
class Recipe:
    """A job, or a layer where ``h``, its model dimension, is not 0.

    seed: of its numbers. rows, keys: of a head, from first_row, first_key of what the seed gives.
    group: query heads of a KV head. q_kind, kind: KINDS of Q, and of K and V or of X and its
    weights. spread: factor on Q. wild: integers and table of heads are any legal ones instead of
    those that the host makes of the tensors. mode, theta: of RoPE, in a layer. left: share of K and
    V that an earlier job left (None: none is looked for), in a layer. settings: those of
    models.plan.job_of.
    """

    seed: int = 0
    rows: int = 1
    keys: int = 1
    d: int = 8
    kv_heads: int = 1
    group: int = 1
    h: int = 0
    first_row: int = 0
    first_key: int = 0
    q_kind: str = "normal"
    kind: str = "normal"
    spread: float = 1.0
    wild: bool = False
    mode: int = rope.OFF
    theta: float = 1e3
    left: float | None = None
    settings: dict = field(default_factory=dict)

    def __repr__(self):
        return described(self)

    @property
    def heads(self) -> int:
        """Query heads."""
        return self.kv_heads * self.group

    def rng(self, *what) -> np.random.Generator:
        """The generator of a part of the numbers."""
        return np.random.default_rng([self.seed, *what])

    def tensor(self, name, heads, first, n, width, most) -> np.ndarray:
        """float [heads, n, width]: rows from ``first`` on of those of the seed; most: the largest
        width that there is, so that a row stays the same at every width."""
        kind = KINDS[self.q_kind if name == "q" else self.kind]
        made = []
        for h in range(heads):
            rng = self.rng(TENSORS.index(name), h)
            scale = rng.uniform(0.2, 2.0)
            x = kind(rng.normal(size=(first + n, most)), self.rng(TENSORS.index(name), h, 1))
            made.append(scale * x[first:, :width])
        return np.stack(made)

    def spec(self, cfg: Config, name: str = "") -> JobSpec | LayerSpec:
        """What simulate() takes; ConfigError where the host refuses it."""
        q = self.spread * self.tensor("q", self.heads, self.first_row, self.rows, self.d, cfg.D_MAX)
        if self.h:
            return self._layer(q, cfg, name)
        k, v = (self.tensor(t, self.kv_heads, self.first_key, self.keys, self.d, cfg.D_MAX)
                for t in "kv")
        spec = JobSpec.planned(name, q, k, v, cfg, **self.settings)
        n = spec.numbers
        head.check_arrays(n.q, n.k, n.v, n.k8, n.means, spec.job, cfg)
        return self._wild_job(spec, cfg) if self.wild else spec

    def _layer(self, q, cfg, name):
        x = self.tensor("x", 1, self.first_key, self.keys, self.h, cfg.H_MAX)[0]
        wk, wv = (self.tensor(t, self.kv_heads, 0, self.h, self.d, cfg.D_MAX)
                  for t in ("wk", "wv"))
        spec = LayerSpec.planned(name, x, wk, wv, q, cfg, mode=self.mode,
                                 rope_theta=self.theta if self.mode else 0.0, **self.settings)
        made = np.zeros((self.kv_heads, self.keys, self.d), np.int16)
        means = np.zeros((self.kv_heads, len(spec.plan.xm), self.d), np.int16)
        head.check_arrays(spec.plan.q, made, made, made.astype(np.int8), means, spec.job, cfg)
        if self.wild:
            spec = self._wild_layer(spec, cfg)
        if self.left is not None:
            spec.valid = self.rng(10).random((self.kv_heads, self.keys)) < self.left
        return spec

    def _wild_table(self, job, cfg):
        """The job with any legal entries; heads that share blocks have the same one."""
        rng, table = self.rng(11), []

        def any_of(low, high):
            return int(rng.choice([low, high, rng.integers(low, high + 1)], p=[0.15, 0.15, 0.7]))

        for h, entry in enumerate(job.table):
            if job.share and h % self.group:
                table.append(table[-1])
                continue
            near = int(np.clip(entry.scale_shift + rng.integers(-3, 4), 0, 47))
            table.append(replace(
                entry, scale_m=any_of(0, 65535),
                scale_shift=near if rng.random() < 0.7 else any_of(0, 47),
                octave=any_of(0, cfg.SC_W - 1), tau=any_of(-(head.LEAST_TAU << cfg.LOG_FRAC), 0),
                radius=None if entry.radius is None else any_of(0, cfg.RADIUS_INF)))
        return replace(job, table=tuple(table)).checked(cfg)

    def integers(self, number, like, bits, most, first=0) -> np.ndarray:
        """Signed integers of so many bits in the shape of ``like`` [heads, n, width] or [n, width]:
        all of them, the ends often; rows as of ``tensor``."""
        top, made = 1 << (bits - 1), []
        n, width = like.shape[-2:]
        for h in range(len(like) if like.ndim == 3 else 1):
            rng, size = self.rng(12, number, h), (first + n, most)
            x, ends = rng.integers(-top, top, size=size), rng.integers(0, 40, size=size)
            for end, value in enumerate((-top, top - 1, 0)):
                x[ends == end] = value
            made.append(x[first:, :width])
        return np.array(made, like.dtype).reshape(like.shape)

    def _wild_job(self, spec, cfg):
        n = spec.numbers
        numbers = replace(
            n, q=self.integers(0, n.q, 16, cfg.D_MAX, self.first_row),
            means=self.integers(4, n.means, cfg.VM_W, cfg.D_MAX),
            **{name: self.integers(1 + i, getattr(n, name), bits, cfg.D_MAX, self.first_key)
               for i, (name, bits) in enumerate((("k", 16), ("v", 16), ("k8", 8)))})
        return JobSpec(numbers, self._wild_table(spec.job, cfg), spec.name)

    def _wild_layer(self, spec, cfg):
        made, rng = spec.plan, self.rng(13)

        def any_of(low, high):
            # As many as there can be, so that a head keeps its own when there are fewer.
            return rng.integers(low, high + 1, size=64)[: self.kv_heads]

        d, h = cfg.D_MAX, cfg.H_MAX
        plan = replace(
            made, q=self.integers(0, made.q, 16, d, self.first_row),
            x=self.integers(1, made.x, 16, h, self.first_key),
            x8=self.integers(2, made.x8, 8, h, self.first_key),
            xm=self.integers(3, made.xm, 16, h), wk=self.integers(4, made.wk, 16, d),
            wv=self.integers(5, made.wv, 16, d),
            codes=self.integers(6, made.codes.astype(np.int8), 5, d).view(np.uint8) & 15,
            kp_exp=any_of(0, 8), kp_shift=any_of(0, 15), kp_bias=any_of(-32768, 32767),
            kg_shift_k=np.clip(made.kg_shift_k + any_of(-4, 4), 0, 40),
            kg_shift_v=np.clip(made.kg_shift_v + any_of(-4, 4), 0, 40),
            job=self._wild_table(made.job, cfg))
        return LayerSpec(plan, spec.name)


@dataclass(frozen=True, repr=False)
class Item:
    """Recipes that run as one chain, and how. memory: arguments of AxiMemory.behave; padding, gap:
    those of Accelerator; first: byte of the memory from which on the buffers are; registers: the
    first recipe, where it is a job, comes by the registers; seed: of the memory and of the bus of
    the registers."""

    recipes: tuple[Recipe, ...]
    memory: dict = field(default_factory=dict)
    padding: int = 0
    gap: int = 0
    first: int = 0
    registers: bool = True
    seed: int = 0

    def __repr__(self):
        return described(self)

    def specs(self, cfg: Config) -> list[JobSpec | LayerSpec]:
        """The jobs and layers of the chain."""
        return [recipe.spec(cfg, f"{'layer' if recipe.h else 'job'} {i}")
                for i, recipe in enumerate(self.recipes)]

    @property
    def jobs(self) -> int:
        """Descriptors."""
        return sum(2 if recipe.h else 1 for recipe in self.recipes)


def described(one) -> str:
    """Python that makes a Recipe or Item: its class with the fields that are not the default's."""
    parts = []
    for f in dataclasses.fields(one):
        value, default = getattr(one, f.name), f.default
        if default is dataclasses.MISSING and f.default_factory is not dataclasses.MISSING:
            default = f.default_factory()
        if default is dataclasses.MISSING or value != default:
            parts.append(f"{f.name}={value!r}")
    return f"{type(one).__name__}({', '.join(parts)})"


def random_settings(cfg: Config, rng, d, rows, keys) -> dict:
    """Random legal settings of models.plan.job_of."""
    low = max(cfg.COLS, 4).bit_length() - 1
    bc = 1 << int(rng.integers(low, cfg.SLOT_W + 1))
    select = int(rng.choice([head.SUM, head.SORT, head.DENSE], p=[0.65, 0.25, 0.1]))
    if not cfg.SORT and select == head.SORT:
        select = head.SUM
    causal, offset = bool(rng.integers(2)), int(rng.integers(0, min(cfg.KEYS_MAX, 2 * keys)))
    draw = random.Random(int(rng.integers(1 << 32)))
    window, sinks = random_window(draw, rows, keys, offset, bc, cfg) if causal else (0, 0)
    tau = float(2.0 ** -rng.uniform(1, 12))
    return dict(
        causal=causal, offset=offset, window=window, sinks=sinks, bc=bc,
        band=int(rng.integers(1, cfg.places(d) + 1)), select=select,
        tau=float(rng.choice([tau, 1.0, 2.0**-head.LEAST_TAU], p=[0.9, 0.05, 0.05])),
        fall=float(rng.choice([0, 0.35, 255 / 256])), quota=int(rng.integers(1, bc + 1)),
        radius_nats=None if rng.random() < 0.4 else float(rng.uniform(0, 10)),
        snap=int(rng.integers(0, 3 if cfg.TWO_TERM else 2)),
        interleaved=bool(rng.random() < 0.7), blend=bool(rng.random() < 0.8))


def size_of(rng, step, most) -> int:
    """A size up to ``most``: 1, at a multiple of ``step`` or beside one, or any."""
    n = int(rng.integers(1, most + 1))
    way = rng.random()
    if way < 0.4:
        n = step * -(-n // step) + int(rng.integers(-1, 2))
    return max(1, min(n, most)) if way < 0.9 else 1


def random_job(cfg: Config, rng, size=3, share=False) -> Recipe:
    """A random legal job on numbers of all kinds; ``size`` scales rows and keys. share: one with
    few rows, whose heads share blocks."""
    d = 8 * int(rng.integers(1, cfg.D_MAX // 8 + 1))
    kv_heads, group = int(rng.integers(1, 3)), int(rng.choice([1, 2, 3, 5], p=[0.3, 0.3, 0.3, 0.1]))
    rows = size_of(rng, cfg.ROWS, size * cfg.ROWS)
    keys = size_of(rng, cfg.BC_MAX, min(size * 2 * cfg.BC_MAX, cfg.KEYS_MAX))
    if share:
        kv_heads, group = int(rng.integers(1, 4)), int(rng.integers(1, cfg.ROWS + 1))
        rows = int(rng.integers(1, cfg.ROWS // group + 1))
    settings = random_settings(cfg, rng, d, rows, keys)
    if share:
        settings = {**settings, "share": True, "band": 1}
    return _legal(cfg, Recipe(
        int(rng.integers(1 << 32)), rows, keys, d, kv_heads, group, **_numbers(rng),
        settings=settings))


def random_layer(cfg: Config, rng, size=3, packed=False, share=False) -> Recipe:
    """A random legal layer on numbers of all kinds with d up to 64; ``size`` scales rows and keys.
    packed: one in whose attention job two tokens share a column of KVGEN's array. share: as of
    random_job."""
    d = h = 0
    while h == 0 or packed and not kvgen.packed(h, d, cfg):
        d = 8 * int(rng.integers(1, min(cfg.D_MAX, 64) // 8 + 1))
        most = min(cfg.H_MAX, cfg.WGT_WORDS // -(-2 * d // cfg.ROWS), 16 * size)
        if most >= 8:
            h = 8 * int(rng.integers(1, most // 8 + 1))
    keys = size_of(rng, cfg.BC_MAX, min(size * cfg.BC_MAX, cfg.KEYS_MAX))
    rows, kv_heads, group = (size_of(rng, cfg.ROWS, size * cfg.ROWS), int(rng.integers(1, 4)),
                             int(rng.integers(1, 3)))
    if share:
        group = int(rng.integers(1, cfg.ROWS + 1))
        rows = int(rng.integers(1, cfg.ROWS // group + 1))
    settings = random_settings(cfg, rng, d, rows, keys)
    if share:
        settings = {**settings, "share": True, "band": 1}
    return _legal(cfg, Recipe(
        int(rng.integers(1 << 32)), rows, keys, d, kv_heads, group, h, **_numbers(rng),
        mode=int(rng.integers(3)), theta=float(rng.choice([1e2, 1e5])),
        left=float(rng.random()) if rng.random() < 0.3 else None,
        settings=settings))


def _numbers(rng) -> dict:
    """Fields of a Recipe that say what its numbers are."""
    kinds = list(KINDS)
    usual = [0.5] + [0.5 / (len(kinds) - 1)] * (len(kinds) - 1)
    return {"q_kind": str(rng.choice(kinds, p=usual)), "kind": str(rng.choice(kinds, p=usual)),
            "spread": float(rng.choice([0.3, 1.0, 2.0, 12.0])), "wild": bool(rng.random() < 0.15)}


def _legal(cfg: Config, recipe: Recipe) -> Recipe:
    """The recipe, with a smaller spread where the host refuses the scores."""
    for factor in (1.0, 2.0**-3, 2.0**-8, 2.0**-20):
        one = replace(recipe, spread=recipe.spread * factor)
        try:
            one.spec(cfg)
        except ConfigError:
            continue
        return one
    return replace(recipe, q_kind="normal", kind="normal", spread=1.0)


def random_memory(rng) -> dict:
    """Arguments of AxiMemory.behave: of any latency, with or without stalls, order, and limits of
    what is outstanding."""
    latency = int(rng.choice([2, 20, 60, 150]))
    memory = {"read_latency": (1, latency), "write_latency": (1, int(rng.choice([2, 30, 100])))}
    if rng.random() < 0.3:
        memory = {"read_latency": latency, "write_latency": latency}
    if rng.random() < 0.65:
        for name in ("ar_stall", "aw_stall", "w_stall", "r_gap", "b_gap"):
            chance = float(rng.choice([0.0, 0.2, 0.5, 0.85], p=[0.55, 0.25, 0.15, 0.05]))
            if chance:
                memory[name] = chance
    if rng.random() < 0.6:
        memory |= {"reorder": True, "interleave": bool(rng.random() < 0.6)}
    if rng.random() < 0.3:
        memory["early_w"] = False
    for name in ("max_reads", "max_writes"):
        if rng.random() < 0.12:
            memory[name] = int(rng.choice([1, 2, 8]))
    return memory


def random_item(cfg: Config, seed: int) -> Item:
    """The item of a seed: three of four one job or layer, else a chain of up to four."""
    rng = np.random.default_rng([seed, *cfg.name.encode()])
    count = 1 if rng.random() < 0.75 else int(rng.integers(2, 5))
    # Blocks of paper are large.
    sizes = [1, 1, 2] if cfg.ROWS > 16 else [1, 3, 6]
    recipes = []
    for _ in range(count):
        size = int(rng.choice(sizes, p=[0.3, 0.6, 0.1])) if count == 1 else 1
        make = random_layer if rng.random() < 0.25 else random_job
        recipes.append(make(cfg, rng, size, share=rng.random() < 0.15))
    return Item(tuple(recipes), random_memory(rng), int(rng.choice([0, 0, 1, 3])),
                int(rng.choice([0, 2])), int(rng.integers(4096)) & -cfg.BUS_BYTES,
                bool(rng.integers(2)), seed)
