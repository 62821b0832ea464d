# SPDX-License-Identifier: Apache-2.0
"""What the tests of command lines need of the process they run in."""

import signal

import pytest


@pytest.fixture(autouse=True)
def _hears_ctrl_c():
    """A background job of a shell ignores SIGINT, and so would all that is started from here."""
    before = signal.getsignal(signal.SIGINT)
    if before == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
