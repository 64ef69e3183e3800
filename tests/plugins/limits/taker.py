"""A process of its own that wants money: `python -m tests.plugins.limits.taker TREE COUNT HOW`.

It opens a gateway, says so, waits for a line, asks for ten cents COUNT times at once, and prints how often it got them.
Who is told to ask again does. HOW says what becomes of the money: `settle` charges it, `die` ends the process with it
in its hands, `reset` charges it too, and it is midnight after half of the requests.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from datetime import timedelta

from tests.kernel.kit import gateway_of

from asahi_kernel import clock
from asahi_kernel.errors import Exhausted, Unavailable
from asahi_kernel.identity import new_id
from asahi_kernel.testing import ASK, HERE
from asahi_limits import leasing
from asahi_limits.calendar import end_of

CENTS = 100_000_000


#: On a busy machine a storage that answers is not taken for one that is away: then each process has a slice of its own.
leasing._AWAY_S = 60.0


async def main(tree: str, count: int, how: str) -> None:
    async with gateway_of(json.loads(tree)) as gateway:
        policy = gateway.policies["budget"]
        await policy.admit(ASK, HERE)
        ids = [new_id() for _ in range(count)]

        async def take(request_id: str) -> bool:
            while True:
                try:
                    await policy.reserve(request_id, HERE, CENTS)
                except Exhausted:
                    return False
                except Unavailable:
                    await asyncio.sleep(0.2)
                else:
                    return True

        midnight = end_of("day", clock.now())
        if how == "reset":
            clock.move(midnight - timedelta(seconds=20))
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        got = await asyncio.gather(*map(take, ids[: count // 2]))
        if how == "reset":
            clock.move(midnight + timedelta(seconds=1))
        got += await asyncio.gather(*map(take, ids[count // 2 :]))
        print(sum(got), flush=True)
        if how == "die":
            os._exit(9)
        for request_id, taken in zip(ids, got, strict=True):
            if taken:
                await policy.settle(request_id, HERE, CENTS)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), sys.argv[3]))
