# SPDX-License-Identifier: Apache-2.0
"""A bar on stderr that shows how far a pass through a model is, layer by layer."""

from __future__ import annotations

from tqdm import tqdm

from ..methods.counts import Counts
from ..methods.method import Call


class Progress:
    """One bar a pass: a layer that is not above the one before, and not the same, begins one. Calls
    that do not know their layer show nothing."""

    def __init__(self, name: str):
        self.name, self._bar, self._layer = name, None, None

    def tell(self, call: Call, counts: Counts) -> None:
        """A call has been attended; counts: all so far."""
        if call.layer is None:
            return
        if self._layer is None or call.layer < self._layer:
            self._bar = tqdm(total=call.layers, desc=self.name, unit="layer")
        self._layer = call.layer
        if self._bar is not None:
            self._bar.set_postfix_str(f"{counts.cycles} cycles" if counts.cycles else "", False)
            self._bar.update(call.layer + 1 - self._bar.n)
            if call.layer + 1 == call.layers:
                self._bar.close()
                self._bar = None
