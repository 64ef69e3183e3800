"""Leasing: where money and counts are held so that all workers see them: in the shared counter, else in storage."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from asahi_kernel import clock
from asahi_kernel.asking import note_fault
from asahi_kernel.background import repeated
from asahi_kernel.errors import ConfigError, Unavailable
from asahi_kernel.protocols import LocalPart
from asahi_kernel.repositories import Governing
from asahi_kernel.repositories.budgets import Ask, Budget, LeaseCounter, Window
from asahi_limits.seeding import spent_of
from asahi_limits.slices import Slices

if TYPE_CHECKING:
    from asahi_kernel.gateway import Gateway
    from asahi_kernel.repositories.budgets import Budgets, Settlement

log = logging.getLogger("asahi.limits")

_STORAGE_S = 3.0
#: How long a storage that answered before may take for a lease, and how long it is left alone when it did not.
_WAIT_S, _REST_S = 0.5, 1.0
#: A storage that has answered nothing for so long is away.
_AWAY_S = 2.0
_SWEEP_S = 1.0
_WINDOWS = 100_000


class Leases:
    """What holds in every worker. `counter` is None where storage itself leases. A counter may lose what it knew; what
    it says is raised to what the books say, once for each window that this worker meets."""

    def __init__(self, gateway: Gateway, budgets: Budgets, counter: LeaseCounter | None) -> None:
        self._gateway = gateway
        self._budgets = budgets
        self._counter = counter
        self._seeded: dict[tuple[str, str, datetime], asyncio.Lock | None] = {}
        self._owed: dict[tuple[str, str], int] = {}
        self._slices = Slices()
        self._resting = 0.0
        self._answered = 0.0

    @property
    def budgets(self) -> Budgets:
        """The budgets of the orgs."""
        return self._budgets

    @property
    def stored(self) -> bool:
        """Whether a budget must be in storage to be leased from."""
        return self._counter is None

    async def reserve(
        self,
        org: str,
        request_id: str,
        amount: int,
        asks: Sequence[Ask],
        lease_until: datetime,
        budgets: Sequence[Budget],
        *,
        strict: bool = True,
    ) -> str | None:
        """Hold in all or in none; the id of the budget that it does not fit into.

        While storage is away, from this worker's slice of each limit. A storage that is only slow is not away: it has
        answered something within two seconds, and then who does not get an answer in time is refused with
        `Unavailable`, unless not `strict`. So is who does not fit into the slice. Nothing is dispatched then.
        """
        now = time.monotonic()
        if now >= self._resting:
            try:
                async with asyncio.timeout(_WAIT_S if self._answered else _STORAGE_S):
                    await self._seed(org, asks, budgets)
                    refused = await self._place.reserve(org, request_id, amount, asks, lease_until)
                self._answered = time.monotonic()
            except Exception:  # noqa: BLE001 - whatever it is, storage cannot say now
                note_fault(self._gateway, "limits", "leases")
                if strict and time.monotonic() - self._answered < _AWAY_S:
                    raise _unknown() from None
                self._resting = now + _REST_S
            else:
                return refused
        if self._slices.reserve(org, request_id, amount, asks, lease_until):
            return None
        raise _unknown()

    async def keep(self, budget: Budget) -> Budget:
        """Have storage know a limit that is no budget of anybody's."""
        try:
            async with asyncio.timeout(_STORAGE_S):
                return await self._budgets.save(budget)
        except Exception as error:
            note_fault(self._gateway, "limits", "leases")
            raise _unknown() from error

    async def settle(self, org: str, request_id: str, cost: int) -> Settlement:
        """Charge what was really billed. What cannot be charged now is owed, and charged with a later sweep."""
        if self._slices.holds(org, request_id):
            return self._slices.settle(org, request_id, cost)
        try:
            settled = await self._place.settle(org, request_id, cost)
        except BaseException:
            if self._counter is None:
                self._owed[org, request_id] = cost
            raise
        self._answered = time.monotonic()
        return settled

    async def windows(self, org: str, asks: Sequence[Ask]) -> Sequence[Window]:
        """What each has spent and holds."""
        try:
            async with asyncio.timeout(_STORAGE_S):
                return await self._place.windows(org, asks)
        except Exception as error:
            note_fault(self._gateway, "limits", "leases")
            raise _unknown() from error

    async def sweep(self) -> int:
        """Charge what is owed, then give back what dead holders hold. A counter sees to both by itself."""
        if self._counter is not None:
            return 0
        await self._slices.pay(self._budgets)
        for (org, request_id), cost in list(self._owed.items()):
            await self._budgets.settle(org, request_id, cost)
            self._owed.pop((org, request_id), None)
        expired = await self._budgets.expire(clock.now())
        self._answered = time.monotonic()
        return expired

    @property
    def _place(self) -> Budgets | LeaseCounter:
        return self._budgets if self._counter is None else self._counter

    async def _seed(self, org: str, asks: Sequence[Ask], budgets: Sequence[Budget]) -> None:
        """Whoever meets a window first asks the books what it has spent; the others wait for that."""
        by_id = {budget.budget_id: budget for budget in budgets}
        for ask in asks:
            place = (org, ask.budget_id, ask.window_start)
            lock = self._seeded.setdefault(place, asyncio.Lock())
            if lock is None:
                continue
            async with lock:
                if self._seeded[place] is not None:
                    await self._raise(org, ask, await spent_of(self._gateway, by_id[ask.budget_id], ask.window_start))
                    self._seeded[place] = None
        if len(self._seeded) > _WINDOWS:
            self._seeded = {place: lock for place, lock in self._seeded.items() if lock is not None}

    async def _raise(self, org: str, ask: Ask, spent: int) -> None:
        """A counter is raised to that sum. In storage it is a charge with an id of its own: whichever worker is first,
        it is entered once, also where it is nothing. Whoever comes later would else charge what the first one's
        requests have charged themselves."""
        if self._counter is not None:
            if spent:
                window = Window(budget_id=ask.budget_id, window_start=ask.window_start, spent=spent)
                await self._counter.raise_spent(org, [window])
            return
        name = f"{ask.budget_id} {ask.window_start.isoformat()}"
        entry = f"s{hashlib.sha256(name.encode()).hexdigest()[:25]}"
        free = Ask(budget_id=ask.budget_id, window_start=ask.window_start, limit=None)
        await self._budgets.reserve(org, entry, 0, [free], clock.now() + timedelta(minutes=1))
        await self._budgets.settle(org, entry, spent)


@asynccontextmanager
async def leasing(gateway: Gateway) -> AsyncIterator[Leases]:
    """One for all policies of a gateway, with a sweep of what dead holders hold."""
    known = gateway.shared.get("limits.leases")
    if isinstance(known, Leases):
        yield known
        return
    async with AsyncExitStack() as stack:
        leases = gateway.shared["limits.leases"] = leases_of(gateway)
        stack.callback(gateway.shared.pop, "limits.leases", None)
        await stack.enter_async_context(repeated("limits.sweep", leases.sweep, _SWEEP_S, gateway.faults))
        yield leases


def leases_of(gateway: Gateway) -> Leases:
    """The shared counter leases if there is one; a counter of this process only where nothing else is shared."""
    storage, counter = gateway.storage, gateway.counter
    if not isinstance(storage, Governing):
        raise ConfigError(f"budgets and quotas need a storage that keeps them, and {storage.name!r} does not")
    alone = isinstance(counter, LocalPart)
    usable = isinstance(counter, LeaseCounter) and (not alone or storage.name == "memory")
    return Leases(gateway, storage.budgets, counter if usable and isinstance(counter, LeaseCounter) else None)


def _unknown() -> Unavailable:
    return Unavailable("what is left of a limit cannot be known now", code="storage_unavailable", retry_after=5)
