"""Single-flight: identical requests of one tenant that are under way together are paid for once."""

from __future__ import annotations

import asyncio

from asahi_kernel.types import Completion


class Flights:
    """Calls under way by fingerprint. The fingerprint holds the tenant, so tenants never share a flight."""

    def __init__(self) -> None:
        self._flights: dict[bytes, Flight] = {}

    async def follow(self, key: bytes, patience_s: float) -> Completion | None:
        """The answer of the identical call under way; None when there is none, none to be shared, or none in time.

        When a leader fails, the first of its followers to wake is told None and leads; the others follow that one.
        """
        if key not in self._flights:
            return None
        try:
            async with asyncio.timeout(patience_s):
                while (flight := self._flights.get(key)) is not None:
                    completion = await flight.landed()
                    if completion is not None or flight.ended:
                        return completion
        except TimeoutError:
            return None
        return None

    def under_way(self, key: bytes) -> bool:
        """Whether somebody pays for this now."""
        return key in self._flights

    def lead(self, key: bytes) -> Flight:
        """Be the one that pays, for the length of a `with` block."""
        return Flight(self._flights, key)


class Flight:
    """One call under way. `ended` means that it came to an end, perhaps with an answer that is not to be shared."""

    def __init__(self, flights: dict[bytes, Flight], key: bytes) -> None:
        self._flights = flights
        self._key = key
        self._followers: list[asyncio.Future[Completion | None]] = []
        self.ended = False

    def __enter__(self) -> Flight:
        self._flights.setdefault(self._key, self)
        return self

    def __exit__(self, *_: object) -> None:
        if self._flights.get(self._key) is self:
            del self._flights[self._key]
        self._tell(None)

    async def landed(self) -> Completion | None:
        """Wait for the leader."""
        follower: asyncio.Future[Completion | None] = asyncio.get_running_loop().create_future()
        self._followers.append(follower)
        return await follower

    def land(self, completion: Completion | None) -> None:
        """The call has ended: tell the followers that wait now. Who comes later finds the answer in the cache."""
        self.ended = True
        self._tell(completion)

    def _tell(self, completion: Completion | None) -> None:
        for follower in self._followers:
            if not follower.done():
                follower.set_result(completion)
        self._followers.clear()
