"""A sliding-window counter in this process, which leases money too."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

from asahi_kernel.builtins.memory_leases import MemoryLeases
from asahi_kernel.repositories.budgets import Ask, Settlement, Window
from asahi_kernel.types import Allowance

#: How long after its lease a request may still be settled.
_LATEST = timedelta(days=1)


class MemoryCounter:
    """Counts are exact within one process. Windows slide: what was taken counts for `seconds` from its moment."""

    local = True

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        today: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._clock = clock
        self._today = today
        self._leases = MemoryLeases()
        self._expired = 0.0
        self._taken: dict[tuple[str, str], deque[tuple[float, int]]] = {}

    async def take(self, org: str, key: str, amount: int, limit: int, seconds: int) -> Allowance:
        now = self._clock()
        taken = self._taken.setdefault((org, key), deque())
        while taken and taken[0][0] <= now - seconds:
            taken.popleft()
        used = sum(each for _, each in taken)
        if used + amount > limit:
            return Allowance(False, max(0, limit - used), self._wait_s(taken, used + amount - limit, now, seconds))
        if amount:
            taken.append((now, amount))
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
