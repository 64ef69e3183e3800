"""Retries: how long to wait, and how many all of a tenant's requests may have together."""

from __future__ import annotations

import random
from collections import OrderedDict
from collections.abc import Callable

from asahi_kernel.clock import monotonic

_SHARE = 0.1
_PER_SECOND = 1.0
_CAP = 10.0
_MAX_BUCKETS = 10_000


class RetryBudget:
    """Attempts beyond the first, per (org, provider): 10 % of requests plus one a second, at most ten saved up."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._buckets: OrderedDict[tuple[str, str], tuple[float, float]] = OrderedDict()

    def deposit(self, org: str, provider: str) -> None:
        """A request begins: it earns a tenth of a retry."""
        self._put(org, provider, self._balance(org, provider) + _SHARE)

    def withdraw(self, org: str, provider: str) -> bool:
        """Ask for one retry."""
        balance = self._balance(org, provider)
        self._put(org, provider, balance - 1 if balance >= 1 else balance)
        return balance >= 1

    def _balance(self, org: str, provider: str) -> float:
        balance, at = self._buckets.get((org, provider), (_CAP, self._clock()))
        return min(_CAP, balance + (self._clock() - at) * _PER_SECOND)

    def _put(self, org: str, provider: str, balance: float) -> None:
        self._buckets[org, provider] = (min(_CAP, balance), self._clock())
        self._buckets.move_to_end((org, provider))
        if len(self._buckets) > _MAX_BUCKETS:
            self._buckets.popitem(last=False)


def backoff(attempt: int, base_s: float, cap_s: float, retry_after: float | None) -> float:
    """Seconds to wait before attempt `attempt` + 1 (1 is the first): full jitter, exponential; the vendor's own
    `Retry-After` wins, with up to 10 % on top so that callers do not return together."""
    if retry_after is not None:
        return retry_after * (1 + random.random() / 10)
    return random.random() * min(cap_s, base_s * float(2 ** (attempt - 1)))
