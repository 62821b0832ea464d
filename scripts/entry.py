# SPDX-License-Identifier: Apache-2.0
"""What the command lines of scripts/ import before anything that takes long: Ctrl-C, and a file
system that refuses to be written, end them with one sentence instead of a traceback.

After Ctrl-C a process ends as its caller expects, killed by SIGINT: exit code 130 in a shell.
"""

from __future__ import annotations

import errno
import sys
from pathlib import Path

REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT)


def explain(kind, error, traceback) -> None:
    """Takes the place of sys.excepthook."""
    name = Path(sys.argv[0]).name
    if issubclass(kind, KeyboardInterrupt):
        print(f"\n{name}: interrupted", file=sys.stderr)
    elif issubclass(kind, OSError) and error.errno in REFUSED:
        print(f"{name}: {error.filename or 'cannot write'}: {error.strerror}", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, traceback)


sys.excepthook = explain
