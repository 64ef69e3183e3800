"""One timer per server that ends what takes too long, instead of one per request."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Protocol

from asahi_kernel.server.limits import EdgeLimits


class Watched(Protocol):
    """A connection as the watch sees it."""

    def sweep(self, now: float) -> None:
        """Ends the connection, or its request, if its time is up."""


class Watch:
    """Sweeps the connections of one server while there are any.

    uvicorn tells every connection of a shutdown, and tells nobody else; so the watch is also listed as a connection
    until then, which is how the application hears of the drain in a worker process too.
    """

    def __init__(self, connections: set[object], limits: EdgeLimits, drains: Iterable[Callable[[], None]]) -> None:
        self._connections = connections
        self._drains = tuple(drains)
        self._loop = asyncio.get_running_loop()
        self._interval = min(1.0, limits.header_timeout_s / 4, limits.body_timeout_s / 4, limits.write_timeout_s / 4)
        self._scheduled = False
        connections.add(self)

    def wake(self) -> None:
        """Starts sweeping unless it already does; called for every new connection."""
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_later(self._interval, self._sweep)

    def shutdown(self) -> None:
        """Called by uvicorn when the drain begins: leaves the list it waits for and tells who asked."""
        self._connections.discard(self)
        self._interval = min(self._interval, 0.1)
        self._scheduled = False
        self.wake()
        for drain in self._drains:
            drain()

    def _sweep(self) -> None:
        now = self._loop.time()
        watched: list[Watched] = [member for member in self._connections if member is not self]  # type: ignore[misc]
        for connection in watched:
            connection.sweep(now)
        self._scheduled = False
        if watched:
            self.wake()
