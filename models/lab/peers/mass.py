# SPDX-License-Identifier: Apache-2.0
"""What rules on a share of the mass have in common."""

from __future__ import annotations

import numpy as np

from ..methods.method import top_k


def least_set(mass: np.ndarray, need: np.ndarray) -> np.ndarray:
    """bool like mass [.., S], which is 0 and above: the fewest entries of each row, the largest
    first, whose sum reaches need [.., 1]; of equal ones the lower index. None where need is not
    above 0, all that are above 0 where these do not reach it."""
    if mass.ndim > 2:
        # One head at a time stays in the cache.
        return np.stack([least_set(*head) for head in zip(mass, need, strict=True)])
    ordered = np.sort(mass, axis=-1)[..., ::-1].astype(np.float64)
    before = np.cumsum(ordered, axis=-1) - ordered
    return top_k(mass, mass > 0, ((before < need) & (ordered > 0)).sum(axis=-1))
