"""What runs beside the requests goes on after a failure, and ends with its plugin."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from asahi_kernel.background import repeated

pytestmark = pytest.mark.anyio


async def test_a_time_that_fails_is_counted_and_the_next_one_comes():
    faults: Counter[str] = Counter()
    again = asyncio.Event()
    calls = 0

    async def act() -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise OSError("no space left on device")
        again.set()

    async with repeated("cache.sweep", act, 0.001, faults):
        await asyncio.wait_for(again.wait(), 10)
    assert faults == {"cache.sweep": 1}
    ended = calls
    await asyncio.sleep(0.01)
    assert calls == ended
