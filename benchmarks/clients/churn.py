"""Cancellation churn: does a pool of ten survive twenty tasks cancelled at random moments?

`python benchmarks/clients/churn.py [seconds]`. Afterwards 20 of 20 calls must be served, nothing may be active upstream
or still be sent, and the file descriptors must not have grown.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
import time
from contextlib import suppress

import uvloop
from contestants import CONTESTANTS, Contestant, Open
from upstream import body

from asahi_kernel.testing import fakeup

LIMIT, TASKS = 10, 20


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


async def one(client: Contestant) -> None:
    text = f"hello [[fakeup: tokens=20 latency_ms={random.choice((0, 1, 5))} pace_ms={random.choice((0, 1))}]]"
    if random.random() < 0.5:
        await client.whole(body(text))
    else:
        async for _ in client.pieces(body(text, stream=True)):
            pass


async def churn(client: Contestant, seconds: float) -> tuple[int, int]:
    """Cancels until the time is up; (cancelled, served)."""
    cancelled = served = 0
    end = time.monotonic() + seconds

    async def worker() -> None:
        nonlocal cancelled, served
        while time.monotonic() < end:
            task = asyncio.ensure_future(one(client))
            await asyncio.sleep(random.random() ** 3 * 0.02)
            task.cancel()
            try:
                await task
                served += 1
            except asyncio.CancelledError:
                cancelled += 1
            except Exception as error:  # noqa: BLE001
                print("unexpected:", repr(error))

    await asyncio.gather(*(worker() for _ in range(TASKS)))
    return cancelled, served


async def trial(name: str, open_: Open, seconds: float) -> None:
    async with fakeup.running() as upstream:
        async with open_(upstream.url, LIMIT) as client:
            await client.whole(body("warm up"))
            before = descriptors()
            cancelled, served = await churn(client, seconds)
            await asyncio.sleep(0.5)
            booked = len(upstream.ledger)
            await asyncio.sleep(1)
            late = len(upstream.ledger) - booked
            active, open_now, held = upstream.active, upstream.connections, descriptors()
            alive = 0
            with suppress(TimeoutError):
                async with asyncio.timeout(10):
                    results = await asyncio.gather(
                        *(client.whole(body("hi")) for _ in range(20)), return_exceptions=True
                    )
                    alive = sum(isinstance(result, bytes) for result in results)
        await asyncio.sleep(0.2)
        after = descriptors()
    print(
        f"| {name} | {cancelled} cancelled, {served} served | {alive}/20 | {active} | {late} | {open_now} <= {LIMIT} "
        f"| {before} -> {held} -> {after} after close |",
        flush=True,
    )


async def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 20
    print(
        "| client | churn | served afterwards | active upstream | sent in the second after | connections "
        "| descriptors |\n|---|---|---|---|---|---|---|"
    )
    for name, open_ in CONTESTANTS.items():
        await trial(name, open_, seconds)


if __name__ == "__main__":
    uvloop.run(main())
