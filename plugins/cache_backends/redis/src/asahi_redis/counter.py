"""Counters that all workers share, and leases of money. While the server is away, each worker goes on with a slice of
every limit by itself, and what it spent is charged when the server is back."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec

from asahi_kernel.builtins.memory_counter import MemoryCounter
from asahi_kernel.identity import new_id
from asahi_kernel.repositories.budgets import Settlement, Window
from asahi_kernel.types import Allowance
from asahi_redis.counting_scripts import CHARGE, RAISE, RESERVE, SETTLE, TAKE, WINDOWS
from asahi_redis.link import Away
from asahi_redis.orgs import digest

if TYPE_CHECKING:
    from asahi_kernel.repositories.budgets import Ask
    from asahi_redis.config import CounterConfig
    from asahi_redis.link import Link

log = logging.getLogger(__name__)

_DAY_MS = 86_400_000
#: How long a window is kept after it was last touched: a month, and then some.
_KEPT_MS = 40 * _DAY_MS


class RedisCounter:
    """Every step is one script: nothing is checked first and done later."""

    def __init__(self, link: Link, config: CounterConfig, workers: int) -> None:
        self._link = link
        self._prefix = config.rate_limit_prefix
        self._share = config.slice_share
        self._workers = workers
        self._own = MemoryCounter()
        self._leased: dict[tuple[str, str], tuple[Ask, ...]] = {}
        self._unsettled: dict[tuple[str, str], int] = {}
        self._uncharged: Counter[str] = Counter()
        self._charging = asyncio.Lock()
        register = link.client.register_script
        self._take, self._reserve, self._settle = register(TAKE), register(RESERVE), register(SETTLE)
        self._windows, self._charge, self._raise = register(WINDOWS), register(CHARGE), register(RAISE)
        link.on_return.append(self._catch_up)

    async def take(self, org: str, key: str, amount: int, limit: int, seconds: int) -> Allowance:
        name = f"{self._prefix}:{digest(org)}:take:{key}"

        async def take() -> list[int]:
            return list(await self._take((name, f"{name}:sum"), (amount, limit, seconds * 1_000, new_id())))

        try:
            granted, used, wait_us = await self._link.ask(take, writes=True)
        except Away:
            share = max(limit // self._workers, min(amount, limit))
            return await self._own.take(org, key, amount, share, seconds)
        return Allowance(bool(granted), max(0, limit - used), wait_us / 1e6)

    async def reserve(
        self, org: str, request_id: str, amount: int, asks: Sequence[Ask], lease_until: datetime
    ) -> str | None:
        asks = sorted(asks, key=lambda each: each.budget_id)
        pairs = [part for ask in asks for part in (_field(ask), "" if ask.limit is None else str(ask.limit))]
        until = int(lease_until.timestamp() * 1e3)
        keys = [*self._leases(org, request_id), *(self._window(org, _field(ask)) for ask in asks)]

        async def reserve() -> int:
            return int(await self._reserve(keys, [*self._places(org), request_id, amount, until, _DAY_MS, *pairs]))

        try:
            refused = await self._link.ask(reserve, writes=True)
        except Away:
            return await self._reserve_here(org, request_id, amount, asks, lease_until)
        return asks[refused - 1].budget_id if refused else None

    async def settle(self, org: str, request_id: str, cost: int) -> Settlement:
        """While the server is away nobody can say what it held; it is charged as soon as it is back."""
        if (org, request_id) in self._leased:
            return await self._settle_here(org, request_id, cost)
        try:
            return await self._link.ask(lambda: self._settle_there(org, request_id, str(cost)), writes=True)
        except Away:
            self._unsettled[org, request_id] = cost
            return Settlement()

    async def release(self, org: str, request_id: str) -> int:
        """A lease on a server that is away ends by itself."""
        here = await self._own.release(org, request_id) if self._leased.pop((org, request_id), None) else 0
        try:
            there = await self._link.ask(lambda: self._settle_there(org, request_id, ""), writes=True)
        except Away:
            return here
        return max(here, there.held)

    async def windows(self, org: str, asks: Sequence[Ask]) -> Sequence[Window]:
        keys = [f"{self._root(org)}:leases", *(self._window(org, _field(ask)) for ask in asks)]

        async def read() -> list[bytes]:
            return list(await self._windows(keys, self._places(org)))

        try:
            numbers = [int(number) for number in await self._link.ask(read, writes=True)]
        except Away:
            return await self._own.windows(org, asks)
        pairs = zip(asks, numbers[::2], numbers[1::2], strict=True)
        return [
            Window(budget_id=ask.budget_id, window_start=ask.window_start, spent=spent, held=held)
            for ask, spent, held in pairs
        ]

    async def raise_spent(self, org: str, windows: Sequence[Window]) -> None:
        """Raises `Away` when the server is."""
        keys = [self._window(org, _field(window)) for window in windows]
        amounts = [window.spent for window in windows]
        if keys:
            await self._link.ask(lambda: self._raise(keys, [_KEPT_MS, *amounts]), writes=True)

    async def _reserve_here(
        self, org: str, request_id: str, amount: int, asks: Sequence[Ask], lease_until: datetime
    ) -> str | None:
        slices = [
            ask if ask.limit is None else msgspec.structs.replace(ask, limit=int(ask.limit * self._share))
            for ask in asks
        ]
        refused = await self._own.reserve(org, request_id, amount, slices, lease_until)
        if refused is None:
            self._leased[org, request_id] = tuple(asks)
        return refused

    async def _settle_here(self, org: str, request_id: str, cost: int) -> Settlement:
        asks = self._leased.pop((org, request_id))
        settled = await self._own.settle(org, request_id, cost)
        if settled != Settlement():
            self._uncharged.update({self._window(org, _field(ask)): cost for ask in asks})
        try:
            await self._link.ask(lambda: self._settle_there(org, request_id, ""), writes=True)
            await self._link.ask(self._catch_up, writes=True)
        except Away:
            log.debug("a lease of this worker is charged when redis is back")
        return settled

    async def _settle_there(self, org: str, request_id: str, cost: str) -> Settlement:
        held, late = await self._settle(self._leases(org, request_id), [*self._places(org), request_id, cost])
        return Settlement(held, late)

    async def _catch_up(self) -> None:
        """Charge what was spent meanwhile: each lease once, each sum under a name of its own."""
        async with self._charging:
            while self._unsettled:
                (org, request_id), cost = next(iter(self._unsettled.items()))
                await self._settle_there(org, request_id, str(cost))
                del self._unsettled[org, request_id]
            charged = dict(self._uncharged)
            if charged:
                keys = [f"{self._prefix}:charge:{new_id()}", *charged]
                await self._charge(keys, [_KEPT_MS, *charged.values()])
                self._uncharged.subtract(charged)
                self._uncharged = +self._uncharged

    def _root(self, org: str) -> str:
        return f"{self._prefix}:{digest(org)}"

    def _leases(self, org: str, request_id: str) -> tuple[str, str]:
        return f"{self._root(org)}:leases", f"{self._root(org)}:holds:{request_id}"

    def _places(self, org: str) -> tuple[str, str, int]:
        return f"{self._root(org)}:holds:", f"{self._root(org)}:window:", _KEPT_MS

    def _window(self, org: str, field: str) -> str:
        return f"{self._root(org)}:window:{field}"


def _field(ask: Ask | Window) -> str:
    """One window of one budget."""
    return f"{ask.budget_id}:{ask.window_start.astimezone(UTC).isoformat()}"
