"""Revocations, told to every worker: a count in the shared counter that each looks at twice a second."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING

from asahi_access.failing import NOBODY
from asahi_kernel.background import repeated
from asahi_kernel.protocols import Counter

if TYPE_CHECKING:
    from asahi_kernel.gateway import Gateway
    from asahi_kernel.plugins import Plugins

_LOOK_S = 0.5
_KEPT_S = 300
_MOST = 2**31 - 1


async def tell(counter: Counter | None) -> None:
    """A key changed: whoever remembers keys looks them up again. Without a shared counter nobody else is told."""
    if counter is not None:
        await counter.take(NOBODY, "revoked", 1, _MOST, _KEPT_S)


def listening(counter: Counter, doubt: Callable[[], None], gateway: Gateway) -> AbstractAsyncContextManager[None]:
    """Call `doubt` whenever the count is another one; also when old ones leave it, or the server comes back."""
    seen = _MOST

    async def look() -> None:
        nonlocal seen
        left = (await counter.take(NOBODY, "revoked", 0, _MOST, _KEPT_S)).remaining
        if left != seen:
            seen = left
            doubt()

    return repeated("auth.revocations", look, _LOOK_S, gateway.faults)


def shared_counter(gateway: Gateway) -> Counter | None:
    """The counter, if other processes have the same one."""
    return None if _kind(gateway) == "memory" else gateway.counter


@asynccontextmanager
async def counting(gateway: Gateway, plugins: Plugins) -> AsyncIterator[Counter | None]:
    """The shared counter for a command, which opens nothing else."""
    from asahi_kernel.config import choose

    if _kind(gateway) == "memory":
        yield None
        return
    given = gateway.settings.counter
    table = {"type": given} if isinstance(given, str) else given
    factory, config = choose("counter", "counter", table, plugins.catalogue("counters"))
    async with factory.open(config, gateway) as counter:
        yield counter


def _kind(gateway: Gateway) -> object:
    counter = gateway.settings.counter
    return counter if isinstance(counter, str) else counter.get("type")
