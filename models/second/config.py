# SPDX-License-Identifier: Apache-2.0
"""Parameters of the second machine beside those of models.config, with their legal ranges."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from models import config
from models.config import check, clog2


@dataclass(frozen=True)
class Config(config.Config):
    """A configuration of models.config with the widths of selection and flush.

    SUM_FRAC    fraction bits of a row's sums of weights: a key further below the row's peak than so
                many octaves adds nothing
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

    MOST_COLS: ClassVar[int] = 32

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
