"""A sliding-window counter in this process, which leases money too."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from asahi_kernel.builtins.memory_leases import MemoryLeases
from asahi_kernel.clock import monotonic, now
from asahi_kernel.repositories.budgets import Ask, Settlement, Window
from asahi_kernel.types import Allowance

#: How long after its lease a request may still be settled.
_LATEST = timedelta(days=1)


class _Taken:
    """What was taken under one name, by time, and its sum."""

    __slots__ = ("parts", "total")

    def __init__(self) -> None:
        self.parts: deque[tuple[float, int]] = deque()
        self.total = 0

    def since(self, start: float) -> int:
        """What counts still."""
        while self.parts and self.parts[0][0] <= start:
            self.total -= self.parts.popleft()[1]
        return self.total

    def add(self, now: float, amount: int) -> None:
        if amount:
            self.parts.append((now, amount))
            self.total += amount


class MemoryCounter:
    """Counts are exact within one process. Windows slide: what was taken counts for `seconds` from its moment."""

    local = True

    def __init__(
        self,
        clock: Callable[[], float] = monotonic,
        today: Callable[[], datetime] = now,
    ) -> None:
        self._clock = clock
        self._today = today
        self._leases = MemoryLeases()
        self._expired = 0.0
        self._taken: dict[tuple[str, str], _Taken] = {}

    async def take(self, org: str, key: str, amount: int, limit: int, seconds: int) -> Allowance:
        now = self._clock()
        taken = self._taken.get((org, key))
        if taken is None:
            taken = self._taken[org, key] = _Taken()
        used = taken.since(now - seconds)
        if used + amount > limit:
            wait_s = self._wait_s(taken.parts, used + amount - limit, now, seconds)
            return Allowance(False, max(0, limit - used), wait_s)
        taken.add(now, amount)
        return Allowance(True, limit - used - amount)

    async def reserve(
        self, org: str, request_id: str, amount: int, asks: Sequence[Ask], lease_until: datetime
    ) -> str | None:
        self._expire()
        return self._leases.reserve(org, request_id, amount, asks, lease_until)

    async def settle(self, org: str, request_id: str, cost: int) -> Settlement:
        self._expire()
        return self._leases.settle(org, request_id, cost)

    async def release(self, org: str, request_id: str) -> int:
        return self._leases.release(org, request_id)

    async def windows(self, org: str, asks: Sequence[Ask]) -> Sequence[Window]:
        self._expire()
        return self._leases.windows(org, asks)

    async def raise_spent(self, org: str, windows: Sequence[Window]) -> None:
        self._leases.raise_spent(org, windows)

    def _expire(self) -> None:
        """Ten times a second at most: it looks at every hold."""
        now = self._clock()
        if now - self._expired >= 0.1:
            self._expired = now
            self._leases.expire(self._today())
            self._leases.forget(self._today() - _LATEST)

    def _wait_s(self, taken: deque[tuple[float, int]], excess: int, now: float, seconds: int) -> float:
        for at, amount in taken:
            excess -= amount
            if excess <= 0:
                return max(0.001, at + seconds - now)
        return float(seconds)
