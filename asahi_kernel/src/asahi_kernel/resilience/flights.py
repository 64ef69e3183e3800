"""Single-flight: identical requests of one tenant that are under way together are paid for once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from asahi_kernel.types import Completion


class Flights:
    """Calls under way by fingerprint. The fingerprint holds the tenant, so tenants never share a flight."""

    def __init__(self) -> None:
        self._flights: dict[bytes, asyncio.Future[Completion | None]] = {}

    async def follow(self, key: bytes) -> Completion | None:
        """The answer of the identical call under way; None when there is none, or when its leader failed."""
        flight = self._flights.get(key)
        return None if flight is None else await asyncio.shield(flight)

    @contextmanager
    def lead(self, key: bytes) -> Iterator[Flight]:
        """Be the one that pays. Followers get what `land` is given, or None if the block ends without it."""
        flight = Flight()
        mine = key not in self._flights
        if mine:
            self._flights[key] = flight.landed
        try:
            yield flight
        finally:
            if mine:
                del self._flights[key]
            flight.land(None)


class Flight:
    """One call under way."""

    def __init__(self) -> None:
        self.landed: asyncio.Future[Completion | None] = asyncio.get_running_loop().create_future()

    def land(self, completion: Completion | None) -> None:
        """Tell the followers; only the first call counts."""
        if not self.landed.done():
            self.landed.set_result(completion)
