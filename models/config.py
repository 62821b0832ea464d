# SPDX-License-Identifier: Apache-2.0
"""Parameters of the machine, their legal ranges and the widths derived from them.

Names are those of the Verilog parameters, so that ``cfg.ROWS`` here is ``ROWS`` there.
Source: docs/architecture.md section 2.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import ClassVar, Self

from .spec.configs import CONFIGS

ADDRESS_W = 48
"""Width of addresses in stage ports and in the tile descriptor, bits."""


class ConfigError(ValueError):
    """A parameter outside its legal range; the message names the field and the range."""


def clog2(value: int) -> int:
    """Smallest w with 2**w >= value (0 for 1)."""
    return (int(value) - 1).bit_length()


def is_pow2(value: int) -> bool:
    """True for 1, 2, 4, 8 ..."""
    return value > 0 and value & (value - 1) == 0


def check(name: str, value: object, low: int, high: int, pow2: bool = False) -> int:
    """Return value when it is an integer in low..high (and a power of two), else ConfigError."""
    kind = "power of two" if pow2 else "integer"
    legal = f"{kind} {low}..{high}"
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise ConfigError(f"{name} = {value!r}, legal: {legal}")
    number = value.__index__()
    if not low <= number <= high or (pow2 and not is_pow2(number)):
        raise ConfigError(f"{name} = {number}, legal: {legal}")
    return number


@dataclass(frozen=True)
class Sizes:
    """Sizes that both machines have. The first group are Verilog parameters, the second fixed
    constants.

    ROWS        query rows in parallel
    COLS        keys predicted in parallel
    D_MAX       largest head dimension, elements
    BC_MAX      largest tile, keys
    BUS_BYTES   AXI data bytes in a beat
    KEYS_MAX    largest number of keys
    ADDR_W      AXI address bits
    SC_FRAC     fraction bits of a prediction term
    TWO_TERM    1: prediction cells add the bit after the leading one
    K8_BUFS     K8 tile buffers
    H_MAX       largest model dimension, elements
    KG_TOK      tokens that KVGEN projects in parallel
    WGT_WORDS   KVGEN weight memory, words of ROWS x 16 bits
    ROPE_PAIRS  pairs that the K^ path rotates in a cycle

    GUARD       powers of two a weight may exceed 1.0 before the reference moves up
    Z_FRAC      fraction bits of a score in log2 units
    O_FRAC      fraction bits of the output accumulator
    S_DROP      low bits of the exact dot product dropped before it is scaled
    The constants are fields only so that scripts/recall.py can sweep them; RTL has the defaults.
    """

    ROWS: int
    COLS: int
    D_MAX: int
    BC_MAX: int
    BUS_BYTES: int
    KEYS_MAX: int
    ADDR_W: int = 40
    SC_FRAC: int = 2
    TWO_TERM: int = 0
    K8_BUFS: int = 2
    H_MAX: int = 1024
    KG_TOK: int = 1
    WGT_WORDS: int = 4608
    ROPE_PAIRS: int = 1
    GUARD: int = 1
    Z_FRAC: int = 10
    O_FRAC: int = 7
    S_DROP: int = 8
    name: str = ""

    MOST_COLS: ClassVar[int] = 32
    """Legal COLS end here."""
    PASSED: ClassVar[frozenset[str]] = frozenset()
    """Verilog parameters that mean nothing here."""

    def __post_init__(self) -> None:
        check("BUS_BYTES", self.BUS_BYTES, 8, 64, pow2=True)
        check("ROWS", self.ROWS, self.BUS_BYTES // 2, 128, pow2=True)
        check("BC_MAX", self.BC_MAX, self.BUS_BYTES, 64, pow2=True)
        check("COLS", self.COLS, 4, min(self.BC_MAX, self.MOST_COLS), pow2=True)
        check("D_MAX", self.D_MAX, max(16, self.BUS_BYTES), 256, pow2=True)
        check("KEYS_MAX", self.KEYS_MAX, 64, 65536, pow2=True)
        check("ADDR_W", self.ADDR_W, 32, 48)
        check("SC_FRAC", self.SC_FRAC, 0, 8)
        check("TWO_TERM", self.TWO_TERM, 0, 1)
        check("K8_BUFS", self.K8_BUFS, 2, 4)
        check("H_MAX", self.H_MAX, 64, 4096, pow2=True)
        check("KG_TOK", self.KG_TOK, 1, 4 if self.ROWS >= self.BUS_BYTES else 1, pow2=True)
        check("WGT_WORDS", self.WGT_WORDS, 64, 65536)
        check("ROPE_PAIRS", self.ROPE_PAIRS, 1, self.ROWS // 2, pow2=True)
        check("GUARD", self.GUARD, 0, 6)
        check("Z_FRAC", self.Z_FRAC, 6, 16)
        check("O_FRAC", self.O_FRAC, 1, 14 - self.GUARD)
        check("S_DROP", self.S_DROP, 0, 16)

    @classmethod
    def from_parameters(cls, parameters: dict, name: str = "") -> Self:
        """Make one from Verilog parameters (name -> int); names it lacks get defaults, those of
        PASSED are passed over."""
        known = {f.name for f in dataclasses.fields(cls)} - {"name"}
        unknown = sorted(set(parameters) - known - cls.PASSED)
        if unknown:
            raise ConfigError(f"no parameter {unknown[0]!r}; know {', '.join(sorted(known))}")
        return cls(**{n: v for n, v in parameters.items() if n in known}, name=name)

    @classmethod
    def from_name(cls, name: str, **changes: int) -> Self:
        """One of the supported sets of models/spec/configs.py (tiny, small, paper), with some
        parameters changed before those that follow from others are made."""
        sets = cls.parameter_sets()
        if name not in sets:
            raise ConfigError(f"no configuration {name!r}; know {', '.join(sets)}")
        return cls.from_parameters(cls.changed(sets[name], changes), name)

    @staticmethod
    def parameter_sets() -> dict[str, dict[str, int]]:
        """Name -> Verilog parameters of the supported sets."""
        return CONFIGS

    @staticmethod
    def changed(parameters: dict[str, int], changes: dict[str, int]) -> dict[str, int]:
        """Verilog parameters with some of them changed."""
        return {**parameters, **changes}

    def replace(self, **changes: int) -> Self:
        """A copy with some fields changed, checked again."""
        return dataclasses.replace(self, **changes)

    # ---- derived widths, bits -----------------------------------------------------------------
    @property
    def SLOT_W(self) -> int:
        """Slot number within a tile."""
        return clog2(self.BC_MAX)

    @property
    def SC_W(self) -> int:
        """Predicted score, signed; also the radius, unsigned."""
        return 8 + self.SC_FRAC + clog2(self.D_MAX)

    @property
    def CODE_W(self) -> int:
        """Q code."""
        return 5 + self.TWO_TERM

    @property
    def S_W(self) -> int:
        """Exact dot product, signed."""
        return 32 + clog2(self.D_MAX)

    @property
    def Z_W(self) -> int:
        """Score in log2 units, signed, Z_FRAC fraction bits (16 integer bits)."""
        return 16 + self.Z_FRAC

    @property
    def P_W(self) -> int:
        """Weight of a key, unsigned with 16 - GUARD fraction bits."""
        return 16

    @property
    def L_W(self) -> int:
        """Sum of the weights of a row, unsigned."""
        return self.P_W + clog2(self.KEYS_MAX)

    @property
    def O_W(self) -> int:
        """Output accumulator, signed, O_FRAC fraction bits."""
        return 16 + self.GUARD + clog2(self.KEYS_MAX) + self.O_FRAC

    # ---- derived counts -----------------------------------------------------------------------
    @property
    def QE(self) -> int:
        """16-bit elements in a beat."""
        return self.BUS_BYTES // 2

    @property
    def KE(self) -> int:
        """8-bit elements in a beat."""
        return self.BUS_BYTES

    @property
    def RADIUS_INF(self) -> int:
        """Radius that never drops a key."""
        return (1 << self.SC_W) - 1

    @property
    def header_bytes(self) -> int:
        """Header of a chunk of weight codes (docs/architecture.md 10.1)."""
        return max(self.ROWS // 2, self.BUS_BYTES)

    def code_beats(self, h: int) -> int:
        """Beats of a chunk of weight codes of h elements."""
        return (self.header_bytes + h * self.ROWS // 2) // self.BUS_BYTES

    def beats16(self, d: int) -> int:
        """Beats of one vector of d 16-bit elements."""
        return -(-2 * d // self.BUS_BYTES)

    def beats8(self, d: int) -> int:
        """Beats of one vector of d 8-bit elements."""
        return -(-d // self.BUS_BYTES)

    def check_d(self, d: int) -> int:
        """Return d when it is a legal head dimension."""
        check("d", d, 8, self.D_MAX)
        if d % 8:
            raise ConfigError(f"d = {d}, legal: multiple of 8, 8..{self.D_MAX}")
        return int(d)

    def check_bc(self, bc: int) -> int:
        """Return bc when it is a legal tile size of a job."""
        return check("bc", bc, max(self.COLS, 4), self.BC_MAX, pow2=True)

    def check_snap(self, snap: int) -> int:
        """Return snap when this configuration can do it."""
        check("snap", snap, 0, 2)
        if snap == 2 and not self.TWO_TERM:
            raise ConfigError("snap = 2 (two-term) needs TWO_TERM = 1")
        return int(snap)


@dataclass(frozen=True)
class Config(Sizes):
    """One configuration of the machine: Sizes, and

    SUM_FRAC    fraction bits of a row's sums of weights: a key further below the row's peak than so
                many octaves adds nothing
    LEVEL_W     bits of the level of a key, its predicted score in octaves, signed
    LOG_FRAC    fraction bits of a logarithm and of the threshold, in octaves
    RATIO_FRAC  fraction bits of (tiles of the band) / (tiles counted)
    F_FRAC      fraction bits of the kept share f
    VM_W        bits of an element of the mean of V, in V's scale: value * 2**(16 - VM_W)
    VC_W        bits of an element of V of a coarse key, likewise
    CV_FRAC     fraction bits of the coarse sums; a key further below the row's peak than so many
                octaves is not coarse
    STORE_BEATS beats of Q, and of O sums, that the stores of resident rows hold (0: two blocks of
                the largest head dimension)
    PLACES      most blocks that they hold (0: as many as fit, which no Verilog has)
    LAND        keys in the landing buffer
    LAND_BEATS  beats of their K and V (0: four keys of the largest head dimension)
    FIFO        keys in the queue of a unit
    SORT        1: there are sort cores and a score buffer
    """

    SUM_FRAC: int = 12
    LEVEL_W: int = 10
    LOG_FRAC: int = 4
    RATIO_FRAC: int = 8
    F_FRAC: int = 8
    VM_W: int = 8
    VC_W: int = 4
    CV_FRAC: int = 12
    STORE_BEATS: int = 0
    PLACES: int = 0
    LAND: int = 16
    LAND_BEATS: int = 0
    FIFO: int = 16
    SORT: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.PLACES:
            check("PLACES", self.PLACES, 2, 8, pow2=True)
        block = self.ROWS * self.beats16(self.D_MAX)
        if self.STORE_BEATS == 0:
            object.__setattr__(self, "STORE_BEATS", 2 * block)
        most = min(self.PLACES * block, 256 * self.ROWS) if self.PLACES else 1 << 16
        check("STORE_BEATS", self.STORE_BEATS, 2 * block, most)
        check("LAND", self.LAND, 4, 64, pow2=True)
        key = 2 * self.beats16(self.D_MAX)
        if self.LAND_BEATS == 0:
            object.__setattr__(self, "LAND_BEATS", 4 * key)
        check("LAND_BEATS", self.LAND_BEATS, 2 * key, 4096, pow2=True)
        check("FIFO", self.FIFO, 2, 64)
        check("SORT", self.SORT, 0, 1)
        check("SUM_FRAC", self.SUM_FRAC, 6, 16)
        check("LEVEL_W", self.LEVEL_W, 8, 12)
        check("LOG_FRAC", self.LOG_FRAC, 0, 6)
        check("RATIO_FRAC", self.RATIO_FRAC, 4, 12)
        check("F_FRAC", self.F_FRAC, 4, 12)
        check("VM_W", self.VM_W, 4, 16)
        check("VC_W", self.VC_W, 2, 8)
        check("CV_FRAC", self.CV_FRAC, 4, 16)

    @staticmethod
    def changed(parameters: dict[str, int], changes: dict[str, int]) -> dict[str, int]:
        """Verilog parameters with some of them changed; the stores hold as many of the largest
        blocks, the landing buffer as many of the largest keys as before."""
        made = {**parameters, **changes}
        before, after = (p["D_MAX"] // p["BUS_BYTES"] for p in (parameters, made))
        for name, rows in (("STORE_BEATS", made["ROWS"] / parameters["ROWS"]), ("LAND_BEATS", 1)):
            if name not in changes:
                made[name] = math.ceil(parameters[name] * rows * after / before)
        return made

    @property
    def SUM_W(self) -> int:
        """Sum of weights of a row, unsigned: KEYS_MAX weights of up to 1.0 each."""
        return self.SUM_FRAC + 1 + clog2(self.KEYS_MAX)

    @property
    def CW_W(self) -> int:
        """Sum of a row's coarse weights, unsigned: fewer than KEYS_MAX of up to 1/2 each, since the
        peak is kept."""
        return self.CV_FRAC - 1 + clog2(self.KEYS_MAX)

    @property
    def CV_W(self) -> int:
        """Coarse sum of an element of V, signed: weights times up to 2**(VC_W - 1)."""
        return self.CW_W + self.VC_W

    def places(self, d: int) -> int:
        """Blocks of ROWS rows that the stores hold at head dimension d."""
        fit = self.STORE_BEATS // (self.ROWS * self.beats16(d))
        return min(fit, self.PLACES) if self.PLACES else fit
