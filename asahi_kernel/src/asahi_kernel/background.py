"""Work beside the requests, from when a plugin opens until it closes."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress

from asahi_kernel.lines import CHANGE

log = logging.getLogger(__name__)

_repeated: list[Callable[[], Awaitable[None]]] = []


@asynccontextmanager
async def running(work: Coroutine[object, object, None]) -> AsyncIterator[None]:
    """Run `work` beside the block; it is cancelled, and waited for, at the end."""
    task = asyncio.get_running_loop().create_task(work)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@asynccontextmanager
async def repeated(
    name: str, act: Callable[[], Awaitable[object]], seconds: float, faults: Counter[str]
) -> AsyncIterator[None]:
    """Await `act` every so many seconds beside the block. A time that fails is counted in `faults` under `name`, and
    the next one comes all the same; the log has the first that fails, and the first that goes well again."""

    failing = False

    async def once() -> None:
        nonlocal failing
        try:
            await act()
        except Exception as error:  # noqa: BLE001 - nothing waits for it, and the next time may go well
            faults[name] += 1
            if not failing:
                log.warning("%s failed (%s)", name, type(error).__name__, extra=CHANGE)
            failing = True
        else:
            if failing:
                log.warning("%s works again", name, extra=CHANGE)
            failing = False

    async def work() -> None:
        while True:
            await asyncio.sleep(seconds)
            await once()

    _repeated.append(once)
    try:
        async with running(work()):
            yield
    finally:
        _repeated.remove(once)


async def repeat_now() -> None:
    """Do once what is repeated in this process, for who has moved the clock and cannot wait."""
    for once in tuple(_repeated):
        await once()
