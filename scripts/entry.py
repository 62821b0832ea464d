# SPDX-License-Identifier: Apache-2.0
"""How the command lines of scripts/ end when they cannot go on: after Ctrl-C, and where the file
system refuses to be written, with one sentence instead of a traceback.

    from scripts import entry

    entry.install()         # before the imports that take long

After Ctrl-C a process ends as its caller expects, killed by SIGINT: exit code 130 in a shell.
"""

from __future__ import annotations

import errno
import functools
import sys
from pathlib import Path

REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.ENOTDIR,
           errno.EISDIR, errno.EEXIST)


def explain(name: str, kind, error, traceback) -> None:
    """Print the sentence of the command ``name``; takes the place of sys.excepthook."""
    if issubclass(kind, KeyboardInterrupt):
        print(f"\n{name}: interrupted", file=sys.stderr)
    elif issubclass(kind, OSError) and error.errno in REFUSED:
        print(f"{name}: {error.filename or 'cannot write'}: {error.strerror}", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, traceback)


def install(name: str = "") -> None:
    """Do so from here on, under the name of the program that runs or another one."""
    sys.excepthook = functools.partial(explain, name or Path(sys.argv[0]).name)
