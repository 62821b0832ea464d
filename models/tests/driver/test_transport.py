# SPDX-License-Identifier: Apache-2.0
"""Memory, and coroutines without an event loop."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from models.driver.transport import BASE, Memory, Transport, TransportError, run


def test_memory():
    memory = Memory(np.zeros(64, np.uint8))
    memory.load(BASE + 3, np.array([[1, -2]], ">i2"))
    assert memory.dump(BASE + 3, 2, np.int16).tolist() == [1, -2]
    assert memory.data[:8].tolist() == [0, 0, 0, 1, 0, 254, 255, 0]
    memory.load(BASE + 62, b"ab")
    assert bytes(memory.dump(BASE + 62, 2)) == b"ab"
    part = memory.dump(BASE + 62, 1)
    part[0] = 0
    assert memory.data[62] == ord("a")
    for address, count in ((BASE - 1, 2), (BASE + 63, 2), (BASE + 64, 1)):
        with pytest.raises(IndexError, match=f"at {address:#x} are outside the memory 0x1000"):
            memory.load(address, bytes(count))
        with pytest.raises(IndexError, match="outside the memory"):
            memory.dump(address, count)


def test_run():
    async def inner():
        return 7

    async def outer():
        return await inner() + 1

    async def fails():
        await inner()
        raise KeyError("own")

    assert run(outer()) == 8
    with pytest.raises(KeyError, match="own"):
        run(fails())
    with pytest.raises(TransportError, match="waits for an event loop"):
        run(asyncio.sleep(0))


def test_interface():
    transport = Transport()
    for call in (transport.reset(), transport.read(0), transport.write(0, 0),
                 transport.interrupt(1)):
        with pytest.raises(NotImplementedError):
            run(call)
    assert run(transport.situation()) == "" and transport.speed.latency > 0
