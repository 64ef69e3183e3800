"""CPU µs of one call and of one 50-chunk stream, for each client, as ratios within one run.

`python benchmarks/clients/cost.py`. All threads of this process count; the upstream is another process. The rounds of
the clients alternate, and the median round is shown.
"""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from statistics import median

import uvloop
from contestants import CONTESTANTS, Contestant
from upstream import body, upstream

from asahi_kernel.wire.sse import EventParser

ROUNDS, CALLS, STREAMS, AT_ONCE = 7, 2_000, 320, 32
ASKED = body("hello " * 50 + "[[fakeup: tokens=50]]")
PACED = body("hello " * 50 + "[[fakeup: tokens=48 pace_ms=2]]", stream=True)
RUSHED = body("hello " * 50 + "[[fakeup: tokens=48]]", stream=True)


def cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


async def call(client: Contestant) -> None:
    assert b"usage" in await client.whole(ASKED)


async def stream(client: Contestant, asked: bytes) -> None:
    parser, count = EventParser(), 0
    async for piece in client.pieces(asked):
        count += len(parser.feed(piece))
    assert count == 51, count


async def paced(client: Contestant) -> None:
    await stream(client, PACED)


async def rushed(client: Contestant) -> None:
    await stream(client, RUSHED)


async def cost_us(run: Callable[[Contestant], Awaitable[None]], client: Contestant, times: int) -> float:
    """CPU microseconds of one run, with many at once."""

    async def worker() -> None:
        for _ in range(times // AT_ONCE):
            await run(client)

    before = cpu_s()
    await asyncio.gather(*(worker() for _ in range(AT_ONCE)))
    return (cpu_s() - before) * 1e6 / (times // AT_ONCE * AT_ONCE)


RUNS = ((call, CALLS), (paced, STREAMS), (rushed, STREAMS))


async def main() -> None:
    figures: dict[tuple[str, str], list[float]] = {}
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(upstream())
        clients = {name: await stack.enter_async_context(open_(url, 100)) for name, open_ in CONTESTANTS.items()}
        for _ in range(ROUNDS):
            for name, client in clients.items():
                for run, times in RUNS:
                    figures.setdefault((name, run.__name__), []).append(await cost_us(run, client, times))
    print("| client | call | ratio | stream, a chunk every 2 ms | ratio | stream, at once | ratio |")
    print("|---|---|---|---|---|---|---|")
    middle = {key: median(values) for key, values in figures.items()}
    for name in CONTESTANTS:
        kinds = [run.__name__ for run, _ in RUNS]
        cells = (f"{middle[name, kind]:.0f} | {middle[name, kind] / middle['own', kind]:.1f}" for kind in kinds)
        print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    uvloop.run(main())
