# SPDX-License-Identifier: Apache-2.0
"""Exact attention as a Method, and the same with a note of how large Q, K and V are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from ...balance import balance_of, balanced
from ...config import ConfigError
from ...quantise import Peaks, check_finite
from .counts import Counts
from .method import Attended, Call, Method, count_formal, softmax_over


@dataclass(frozen=True)
class Dense(Method):
    """Exact attention over every visible pair, float32; the counts are those of plain attention."""

    name = "dense"
    windows = True

    def attend(self, call: Call) -> Attended:
        """One layer."""
        mask = np.broadcast_to(call.mask(), (len(call.q), *call.mask().shape))
        counts = Counts()
        count_formal(counts, call, mask)
        return Attended(softmax_over(call.logits(), mask, call.shared(call.v)), mask, counts)


@dataclass(frozen=True)
class Calibration(Dense):
    """Exact attention that notes how large Q, K and V of each layer and head are, Machine.peaks,
    and the scales of their channels, Sofa.balance.

    percentile: share of a head's absolute values in a Call that its peak covers, above 0 up to 100;
    a peak is the largest of all Calls of the layer. Stacks of a model share their numbers
    (models.lab.measure.stacks) and so these peaks.

    balance: layer -> scales; the peaks are those of Q and K turned with them
    (models.balance), as Sofa with that balance wants them: both together need two passes,
    the second with Calibration(balance=first.balance_seen()).
    """

    percentile: float = 100.0
    seen: dict[int, tuple[np.ndarray, ...]] = field(default_factory=dict, repr=False,
                                                    compare=False)
    balance: Mapping[int, np.ndarray] = field(default_factory=dict)
    channels: dict[int, list[np.ndarray]] = field(default_factory=dict, repr=False, compare=False)

    name = "calibration"

    def __post_init__(self) -> None:
        if not 0 < self.percentile <= 100:
            raise ConfigError(f"percentile = {self.percentile}, legal: above 0, up to 100")

    def attend(self, call: Call) -> Attended:
        """One layer."""
        for name in "qkv":
            check_finite(name, getattr(call, name))
        layer, _ = call.place()
        q, k = call.q, call.k
        if self.balance:
            if layer not in self.balance:
                raise ConfigError(f"balance has no layer {layer}, legal: "
                                  f"{', '.join(map(str, self.balance))}")
            q, k = balanced(q, k, self.balance[layer])
        new = tuple(np.percentile(np.abs(x).reshape(len(x), -1), self.percentile, axis=1)
                    for x in (q, k, call.v))
        old = self.seen.get(layer, new)
        if [len(x) for x in old] != [len(x) for x in new]:
            raise ConfigError(f"layer {layer} has {len(new[0])} query and {len(new[1])} KV "
                              f"heads, legal: {len(old[0])} and {len(old[1])}, as before; stacks "
                              f"of unlike heads need a Calibration each")
        self.seen[layer] = tuple(map(np.maximum, old, new))
        self.channels.setdefault(layer, []).append(np.log(balance_of(call.q, call.k)))
        return super().attend(call)

    def peaks(self) -> dict[int, Peaks]:
        """Peaks of every layer so far."""
        return {layer: Peaks(*parts) for layer, parts in self.seen.items()}

    def balance_seen(self) -> dict[int, np.ndarray]:
        """Scales of every layer so far, [kv_heads, d]: geometric means over its Calls."""
        return {layer: np.exp(np.mean(logs, axis=0)) for layer, logs in self.channels.items()}
