"""The policy `quota`: how many requests an org may make in a day by its policy and its plan, hits included."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from asahi_kernel import clock
from asahi_kernel.errors import Exhausted
from asahi_kernel.identity import new_id
from asahi_kernel.repositories.budgets import Ask, Budget
from asahi_limits.calendar import end_of, start_of
from asahi_limits.seeding import REQUESTS

if TYPE_CHECKING:
    from asahi_kernel.gateway import Gateway
    from asahi_kernel.standing import Standing
    from asahi_kernel.types import Principal, Request
    from asahi_limits.leasing import Leases

#: A worker takes this share of a quota at a time, so that it need not ask for each request; at most so many.
_SHARE, _MOST = 200, 50
_ORGS = 10_000


class _Bundle:
    """What a worker has taken of one org's day, and not used yet."""

    def __init__(self, day: datetime, limit: int) -> None:
        self.day = day
        self.limit = limit
        self.left = 0
        self.lock = asyncio.Lock()


class Quota:
    """Takes requests of the shared day in small bundles: never one too many, and at the end of a quota one by one. What
    a worker that dies had not used of its bundle is lost to the org, never doubled."""

    def __init__(self, gateway: Gateway, leases: Leases) -> None:
        self._gateway = gateway
        self._leases = leases
        self._bundles: dict[str, _Bundle] = {}
        self._made: set[str] = set()

    async def admit(self, request: Request, principal: Principal) -> Request:
        """Raises `Exhausted` when the day's requests are used up."""
        limit = self._limit(await self._gateway.standings.of(principal.org))
        if limit is not None:
            await self._take(principal.org, limit)
        return request

    def _limit(self, standing: Standing) -> int | None:
        """What the org's policy says, and no more than its plan."""
        plan = self._gateway.settings.tenants.plan(standing.tenant.plan) if standing.tenant is not None else None
        limits = [standing.policy.max_requests_per_day, plan.requests_per_day if plan is not None else None]
        return min((each for each in limits if each is not None), default=None)

    async def _take(self, org: str, limit: int) -> None:
        now = clock.now()
        day = start_of("day", now)
        bundle = self._bundles.get(org)
        if bundle is None or bundle.day != day or bundle.limit != limit:
            if len(self._bundles) >= _ORGS:
                self._bundles.clear()
            bundle = self._bundles[org] = _Bundle(day, limit)
        if bundle.left:
            bundle.left -= 1
            return
        async with bundle.lock:
            if not bundle.left:
                bundle.left = await self._fetch(org, limit, day)
            bundle.left -= 1

    async def _fetch(self, org: str, limit: int, day: datetime) -> int:
        """Take some of the shared day, for good."""
        budget = await self._budget(org, limit)
        ask = Ask(budget_id=budget.budget_id, window_start=day, limit=limit)
        for count in dict.fromkeys((max(1, min(_MOST, limit // _SHARE)), 1)):
            bundle_id = new_id()
            until = clock.now() + timedelta(minutes=1)
            refused = await self._leases.reserve(org, bundle_id, count, [ask], until, [budget], strict=False)
            if refused is None:
                await self._leases.settle(org, bundle_id, count)
                return count
        resets = end_of("day", day)
        assert resets is not None
        self._gateway.faults["rate.limited.day"] += 1
        raise Exhausted(
            f"organisation {org!r} may make {limit} requests a day, and has",
            code="quota_exceeded",
            retry_after=(resets - clock.now()).total_seconds(),
            details={"limit": limit, "used": limit, "resets_at": resets.isoformat()},
        )

    async def _budget(self, org: str, limit: int) -> Budget:
        """A storage leases from what it knows only: the quota is a row there, like a budget."""
        budget = Budget(
            budget_id=f"q-{_short(org)}", org_id=org, level="org", subject=REQUESTS, window="day", limit=limit
        )
        if self._leases.stored and org not in self._made:
            budget = await self._leases.keep(budget)
            self._made.add(org)
        return budget


def _short(org: str) -> str:
    """24 letters for any org: the id of a budget has at most 26."""
    import hashlib

    return hashlib.sha256(org.encode()).hexdigest()[:24]
