"""Single-flight: identical requests of one tenant that are under way together are paid for once."""

from __future__ import annotations

import asyncio

from asahi_kernel.types import Completion


class Flights:
    """Calls under way by fingerprint. The fingerprint holds the tenant, so tenants never share a flight."""

    def __init__(self) -> None:
        self._flights: dict[bytes, Flight] = {}

    async def follow(self, key: bytes) -> Completion | None:
        """The answer of the identical call under way; None when there is none, or when its leader failed."""
        flight = self._flights.get(key)
        return None if flight is None else await flight.landed()

    def lead(self, key: bytes) -> Flight:
        """Be the one that pays. Followers get what `land` is given, or None if the block ends without it."""
        return Flight(self._flights, key)


class Flight:
    """One call under way, from entering its block to leaving it."""

    def __init__(self, flights: dict[bytes, Flight], key: bytes) -> None:
        self._flights = flights
        self._key = key
        self._followers: list[asyncio.Future[Completion | None]] = []

    def __enter__(self) -> Flight:
        self._flights.setdefault(self._key, self)
        return self

    def __exit__(self, *_: object) -> None:
        if self._flights.get(self._key) is self:
            del self._flights[self._key]
        self.land(None)

    async def landed(self) -> Completion | None:
        """Wait for the leader."""
        follower: asyncio.Future[Completion | None] = asyncio.get_running_loop().create_future()
        self._followers.append(follower)
        return await follower

    def land(self, completion: Completion | None) -> None:
        """Tell the followers that wait now; who comes later finds the answer in the cache."""
        for follower in self._followers:
            if not follower.done():
                follower.set_result(completion)
        self._followers.clear()
