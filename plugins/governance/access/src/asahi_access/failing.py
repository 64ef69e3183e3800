"""Failed authentications: counted by address, so that guessing is slow for whoever guesses and for nobody else."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address, ip_network

from asahi_kernel.clock import monotonic
from asahi_kernel.errors import Exhausted
from asahi_kernel.protocols import Counter

_WINDOW_S = 60
_ADDRESSES = 50_000
#: The counters' org of what belongs to none. No org can have this name.
NOBODY = "~auth"


class Failures:
    """At most `limit` a minute from one address; of IPv6 the network of 64 bits, which is one customer's.

    Counted here, and over all workers where `shared` is given. Keys that are known already are never asked about here,
    so that a neighbour behind the same address locks nobody out.
    """

    def __init__(self, limit: int, shared: Counter | None = None, clock: Callable[[], float] = monotonic) -> None:
        self._limit = limit
        self._shared = shared
        self._clock = clock
        self._failed: OrderedDict[str, deque[float]] = OrderedDict()

    async def check(self, address: str | None) -> None:
        """Raises `Exhausted` while the address has failed too often."""
        place = _place(address)
        failed = self._recent(place)
        if len(failed) >= self._limit:
            raise _exhausted(failed[0] + _WINDOW_S - self._clock())
        if self._shared is not None:
            left = await self._shared.take(NOBODY, f"failed:{place}", 0, self._limit, _WINDOW_S)
            if not left.remaining:
                raise _exhausted(left.retry_after or _WINDOW_S)

    async def count(self, address: str | None) -> int:
        """One more; how many there were in the last minute, as far as is known here."""
        place = _place(address)
        failed = self._recent(place)
        failed.append(self._clock())
        self._failed[place] = failed
        self._failed.move_to_end(place)
        if len(self._failed) > _ADDRESSES:
            self._failed.popitem(last=False)
        if self._shared is not None:
            left = await self._shared.take(NOBODY, f"failed:{place}", 1, self._limit, _WINDOW_S)
            return max(len(failed), self._limit - left.remaining)
        return len(failed)

    def _recent(self, place: str) -> deque[float]:
        failed = self._failed.get(place) or deque(maxlen=self._limit)
        while failed and failed[0] <= self._clock() - _WINDOW_S:
            failed.popleft()
        return failed


def _place(address: str | None) -> str:
    if address is None:
        return "-"
    found = ip_address(address)
    if not isinstance(found, IPv6Address):
        return address
    return str(found.ipv4_mapped or ip_network((int(found) >> 64 << 64, 64)))


def _exhausted(seconds: float) -> Exhausted:
    return Exhausted("too many failed authentications from this address; wait a minute", retry_after=max(1.0, seconds))
