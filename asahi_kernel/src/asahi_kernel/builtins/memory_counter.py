"""A sliding-window counter in this process."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from asahi_kernel.types import Allowance


class MemoryCounter:
    """Counts are exact within one process. Windows slide: what was taken counts for `seconds` from its moment."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
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

    def _wait_s(self, taken: deque[tuple[float, int]], excess: int, now: float, seconds: int) -> float:
        for at, amount in taken:
            excess -= amount
            if excess <= 0:
                return max(0.001, at + seconds - now)
        return float(seconds)
