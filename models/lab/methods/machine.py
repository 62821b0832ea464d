# SPDX-License-Identifier: Apache-2.0
"""What the Methods of this project's machines have in common: settings, their ranges, peaks, and
the counts of what both do alike."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import ClassVar

import numpy as np

from ... import dlzs, layer
from ...config import Config, ConfigError, check
from ...quantise import Peaks, check_finite
from ...tiling import Tile
from .counts import Counts
from .method import Call, Method

SNAPS = {name: value for value, name in dlzs.SNAPS.items()}
"""Name of a rule that codes Q -> register value."""

CORE = 12
"""New scores that a 16-to-4 core takes beside the four best so far (SOFA paper, SADS)."""

CORE_COMPARISONS = 42
"""Comparators of a core: three sorters of 4, then merges that keep 4 (docs/sads.md)."""

CLIP_COMPARISONS = 5
"""Comparisons of a pass beside the core: its four results with the radius, the row maximum."""


def each(setting) -> tuple:
    """The values of a setting that may differ by layer, without None."""
    values = setting if isinstance(setting, tuple) else (setting,)
    return tuple(value for value in values if value is not None)


def check_flag(name: str, value: object) -> None:
    """ConfigError for what is neither True nor False."""
    if not isinstance(value, bool | np.bool_):
        raise ConfigError(f"{name} = {value!r}, legal: True, False")


def check_sort(quota, radius_nats, cfg: Config) -> None:
    """ConfigError for a quota or a radius out of range, in any layer."""
    for value in each(quota):
        check("quota", value, 1, cfg.BC_MAX)
    for value in each(radius_nats):
        if not value >= 0:
            raise ConfigError(f"radius_nats = {value}, legal: 0 and above, or None")


@dataclass(frozen=True)
class Machine(Method):
    """A machine. A setting that may differ by layer is one value, or a tuple with one for every
    layer.

    config        a name of models/spec/configs.py; widths: fields of it to change, a mapping, for
                  instance {"SC_FRAC": 5}; kept as sorted (name, value) pairs
    snap          how Q is coded: "floor", "nearest" or "two-term" (sets TWO_TERM)
    phases        1: keys of the prediction are K rounded to 8 bits; 2: they are predicted from
                  Call.projection with 4-bit weight codes
    bc            keys in a tile, may differ by layer; None: 64, or the most that config can do
    interleaved   tiles take every Tc-th key instead of neighbours
    dense_layers  layers that use every visible pair, by number
    peaks         layer -> Peaks (models.quantise), a mapping; kept as sorted pairs: scales of every
                  head that do not hang on the data, see below; empty: the data's

    ConfigError, a ValueError, for a value out of range, and for scores beyond the machine
    (models.plan.check_scores).

    Scales. The largest element of a head's Q, K or V, whatever its row, becomes 32767, so every
    element of that head is off by up to peak/65534, and no head moves another. One token with
    values a thousand times the others' leaves those 6 bits, in the rows before it as well, although
    they do not see it. With peaks the scales are given beforehand (Calibration finds them): larger
    values saturate, so an outlier loses and the other tokens do not, and no element has a part in
    an output whose row does not see it. With phases = 2 the scales of X8 and of its codes are the
    data's all the same; they decide what is selected. Sofa then makes K and V of X,
    whose scales and theirs are the data's too.
    """

    config: str = "paper"
    widths: tuple[tuple[str, int], ...] | Mapping[str, int] = ()
    snap: str = "floor"
    phases: int = 1
    bc: int | tuple[int, ...] | None = None
    interleaved: bool = True
    dense_layers: tuple[int, ...] = ()
    peaks: tuple[tuple[int, Peaks], ...] | Mapping[int, Peaks] = ()

    parameters: ClassVar[type[Config]] = Config
    """Kind of the configuration."""

    def __post_init__(self) -> None:
        if self.snap not in SNAPS:
            raise ConfigError(f"snap = {self.snap!r}, legal: {', '.join(SNAPS)}")
        object.__setattr__(self, "widths", tuple(sorted(dict(self.widths).items())))
        if not isinstance(self.dense_layers, Iterable):
            raise ConfigError(f"dense_layers = {self.dense_layers!r}, legal: numbers of layers, "
                              f"for instance (0,)")
        if not isinstance(self.peaks, Mapping | tuple):
            raise ConfigError(f"peaks = {self.peaks!r}, legal: a mapping, layer -> Peaks")
        object.__setattr__(self, "dense_layers", tuple(self.dense_layers))
        check("phases", self.phases, 1, 2)
        check_flag("interleaved", self.interleaved)
        for number in self.dense_layers:
            check("dense_layers", number, 0, 65535)
        for number, given in dict(self.peaks).items():
            check("layer of peaks", number, 0, 65535)
            if not isinstance(given, Peaks):
                raise ConfigError(f"peaks of layer {number} = {given!r}, legal: Peaks")
        object.__setattr__(self, "peaks", tuple(sorted(dict(self.peaks).items())))
        cfg = self.machine()
        if self.bc is None:
            object.__setattr__(self, "bc", min(64, cfg.BC_MAX))
        for value in self.bc if isinstance(self.bc, tuple) else (self.bc,):
            cfg.check_bc(value)

    def machine(self) -> Config:
        """The configuration with the changed widths."""
        legal = {field.name for field in fields(self.parameters)} - {"name"}
        for name, _ in self.widths:
            if name not in legal:
                raise ConfigError(f"widths: no field {name!r}, legal: {', '.join(sorted(legal))}")
        two_term = {"TWO_TERM": 1} if self.snap == "two-term" else {}
        return self.parameters.from_name(self.config, **{**two_term, **dict(self.widths)})

    def setting(self, name: str, call: Call):
        """A setting of a layer."""
        value = getattr(self, name)
        if not isinstance(value, tuple):
            return value
        layer, layers = call.place()
        if len(value) != layers or not 0 <= layer < len(value):
            raise ConfigError(f"{name} has {len(value)} entries, legal: one for each of the "
                              f"{layers} layers of the model (this is layer {layer})")
        return value[layer]

    def scales(self, call: Call) -> Peaks | None:
        """Peaks of a layer; None: those of the data."""
        if not self.peaks:
            return None
        known, (layer, _) = dict(self.peaks), call.place()
        if layer not in known:
            raise ConfigError(f"peaks has no layer {layer}, legal: {', '.join(map(str, known))}")
        return known[layer]

    def dense(self, call: Call) -> bool:
        """Whether a layer uses every visible pair."""
        return bool(self.dense_layers) and call.place()[0] in self.dense_layers

    def check_call(self, call: Call) -> None:
        """ConfigError for a call that no job of the machine can do."""
        rows = call.q.shape[1]
        if call.causal and call.first < 0:
            most = call.first + rows
            raise ConfigError(f"{rows} causal query rows over {most} keys, legal: up to {most}")
        if call.window and not self.windows:
            raise ConfigError(f"window = {call.window}, legal: 0")


def layer_inputs(call: Call) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Float64 x [keys, H], wk and wv [kv_heads, H, d] that make K of a call before RoPE, and V but
    for its bias.

    ConfigError where the call does not say what its keys are made of. A bias of K counts only
    with RoPE, where it is one more channel of X (models.layer.with_bias).
    """
    p = call.projection
    if p is None:
        raise ConfigError(f"phases = 2 needs what keys are made of, and layer {call.layer} has no "
                          f"projection, legal: phases = 1")
    keys, d = call.k.shape[1:]
    x, wk, wv = (np.asarray(a, np.float64) for a in (p.x, p.wk, p.wv))
    if len(x) != keys or not wk.shape == wv.shape == (len(call.k), x.shape[1], d):
        raise ConfigError(f"projection has x {x.shape}, wk {wk.shape}, wv {wv.shape}, legal: "
                          f"[{keys}, H], [{len(call.k)}, H, {d}] twice")
    for name, array in (("x", x), ("wk", wk), ("wv", wv)):
        check_finite(f"projection's {name}", array)
    if p.rope_mode and np.any(p.bk):
        return layer.with_bias(x, wk, wv, p.bk, np.zeros_like(p.bk))
    return x, wk, wv


def count_scores(counts: Counts, call: Call, scored: int, snap: int, cfg: Config) -> None:
    """Add what the predicted scores of so many (row, key) pairs cost; snap: register value. A
    two-term code shifts 3 * K8, two bits more; that product is made once for a column's rows."""
    bits = 8 + cfg.SC_FRAC + 2 * (snap == dlzs.TWO_TERM)
    counts.add("predict", "lz16", call.q.size)
    counts.add("predict", f"shift{bits}", scored * call.d)
    counts.add("predict", f"add{cfg.SC_W}", scored * call.d)


def core_comparisons(
    selected: np.ndarray, seen: np.ndarray, tiles: list[Tile], quota: int
) -> int:
    """Comparisons of sorting the tiles of a stretch of rows: selected bool [heads, n, keys], seen
    bool [n, keys].

    A row needs, in every tile, passes of 4 keys until the quota is reached or a pass finds fewer
    than 4; a pass goes over all visible scores of the tile."""
    total = 0
    for tile in tiles:
        taken = selected[:, :, tile.keys].sum(axis=2)
        number = seen[:, tile.keys].sum(axis=1)
        passes = np.minimum(-(-np.minimum(quota, number) // 4), taken // 4 + 1)
        total += int((passes * (-(-number // CORE) * CORE_COMPARISONS + CLIP_COMPARISONS)).sum())
    return total


def count_prediction(counts: Counts, call: Call, h: int, cfg: Config) -> None:
    """Add what the prediction of the keys of a call from h channels of X costs."""
    mode = call.projection.rope_mode
    counts.add("predict", f"shift{8 + cfg.SC_FRAC}", call.k.size * h)
    counts.add("predict", f"add{cfg.SC_W}", call.k.size * h)
    if mode:
        counts.add("predict", "mul16x16", 2 * call.k.size)
        counts.add("predict", "add32", call.k.size)
    kv_heads, keys, d = call.k.shape
    stats = layer.prediction_stats(keys, kv_heads, h, d, mode, cfg)
    for stream, name in (("x8", "k8"), ("codes", "w"), ("rope", "r"), ("k8_write", "wb")):
        counts.move(stream, stats.bytes[name])
