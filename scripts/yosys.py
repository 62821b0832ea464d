# SPDX-License-Identifier: Apache-2.0
"""Yosys, which pyosys brings as a library, on a file of its commands.

    .venv/bin/python scripts/yosys.py SCRIPT

Names in the script count from the folder that this runs in. The exit code is 1 where Yosys ends
with an error.
"""

from __future__ import annotations

import sys
from pathlib import Path


def command(script: Path) -> list[str]:
    """The command that runs a script."""
    return [sys.executable, __file__, str(script)]


def main() -> int:
    """Run the script that the command line names."""
    from pyosys import libyosys

    libyosys.run_pass(f"script {sys.argv[1]}", libyosys.Design())
    return 0


if __name__ == "__main__":
    sys.exit(main())
