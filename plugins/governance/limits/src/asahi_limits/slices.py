"""Slices: what a worker may hand out by itself while storage is away: a small share of each limit, charged later."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import msgspec

from asahi_kernel import clock
from asahi_kernel.builtins.memory_leases import MemoryLeases
from asahi_kernel.identity import new_id
from asahi_kernel.repositories.budgets import Ask, Settlement

if TYPE_CHECKING:
    from asahi_kernel.repositories.budgets import Budgets

#: The share of a limit that each worker may use: overspending in an outage is at most that for each of them.
SHARE = 0.02
_DAY = timedelta(days=1)


class Slices:
    """Leases of this process alone. What was spent from them is owed to storage, each sum under an id of its own, so
    that it is entered once however often it is tried."""

    def __init__(self) -> None:
        self._leases = MemoryLeases()
        self._asks: dict[tuple[str, str], tuple[Ask, ...]] = {}
        self._owed: dict[str, tuple[str, Ask, int]] = {}

    def reserve(self, org: str, request_id: str, amount: int, asks: Sequence[Ask], lease_until: datetime) -> bool:
        """Whether it fits into this worker's share of every limit."""
        now = clock.now()
        self._leases.expire(now)
        self._leases.forget(now - _DAY)
        shares = [each if each.limit is None else _share(each, each.limit) for each in asks]
        if self._leases.reserve(org, request_id, amount, shares, lease_until) is not None:
            return False
        self._asks[org, request_id] = tuple(asks)
        return True

    def holds(self, org: str, request_id: str) -> bool:
        """Whether a request was let in from here."""
        return (org, request_id) in self._asks

    def settle(self, org: str, request_id: str, cost: int) -> Settlement:
        """Charge it here, and owe it to storage."""
        asks = self._asks.pop((org, request_id))
        settled = self._leases.settle(org, request_id, cost)
        if cost:
            self._owed |= {new_id(): (org, each, cost) for each in asks}
        return settled

    async def pay(self, budgets: Budgets) -> None:
        """Enter what is owed; what cannot be entered stays owed."""
        for entry, (org, ask, cost) in list(self._owed.items()):
            free = msgspec.structs.replace(ask, limit=None)
            await budgets.reserve(org, entry, 0, [free], clock.now() + timedelta(minutes=1))
            await budgets.settle(org, entry, cost)
            del self._owed[entry]


def _share(ask: Ask, limit: int) -> Ask:
    return msgspec.structs.replace(ask, limit=max(1, int(limit * SHARE)))
