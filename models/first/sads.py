# SPDX-License-Identifier: Apache-2.0
"""SADS: the lists of a dense tile; those by quota and radius are of models.sads.select_tile."""

from __future__ import annotations

import numpy as np

from ..sads import Selection


def dense_tile(allowed: np.ndarray) -> Selection:
    """All allowed slots in slot order, list position = slot; allowed bool [R, n]."""
    allowed = np.asarray(allowed, bool)
    slots = np.broadcast_to(np.arange(allowed.shape[1]), allowed.shape)
    return Selection(np.where(allowed, slots, 0), allowed.copy(), allowed.shape[1])
