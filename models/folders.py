# SPDX-License-Identifier: Apache-2.0
"""Where this package keeps what it fetches or makes once."""

from __future__ import annotations

import os
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent


def cache(name: str) -> Path:
    """A folder for it: build/NAME of a checkout; installed, NAME below $XDG_CACHE_HOME/sofa, which
    is ~/.cache/sofa where nothing is said."""
    if (PACKAGE.parent / "rtl").is_dir():
        return PACKAGE.parent / "build" / name
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sofa" / name
