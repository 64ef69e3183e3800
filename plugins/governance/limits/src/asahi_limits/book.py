"""The book: which budgets bind whom, as they are now. Looked up once a second for each org that asks."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from msgspec import Struct

from asahi_kernel.errors import Unavailable
from asahi_kernel.repositories.budgets import Budget
from asahi_limits.seeding import POLICY, REQUESTS

if TYPE_CHECKING:
    from asahi_kernel.repositories.budgets import Budgets
    from asahi_kernel.repositories.rules import OrgPolicy
    from asahi_kernel.types import Principal

_FRESH_S, _KEPT_S, _STORAGE_S = 1.0, 300.0, 2.0
#: A frozen storage keeps nobody waiting longer than this for what is known already.
_WAIT_S = 0.25
_ORGS = 10_000


class _Page(Struct):
    budgets: Sequence[Budget]
    at: float
    tried: float


class Book:
    """While storage is away the last page is believed for five minutes; without one nobody is let through."""

    def __init__(self, budgets: Budgets, clock: Callable[[], float] = time.monotonic) -> None:
        self._budgets = budgets
        self._clock = clock
        self._pages: dict[str, _Page] = {}
        self._looking: dict[str, asyncio.Task[_Page]] = {}

    async def read(self, org: str) -> Sequence[Budget]:
        """The org's budgets. Raises `Unavailable`."""
        page = self._pages.get(org)
        if page is None or self._clock() - page.at >= _KEPT_S:
            return (await asyncio.shield(self._start(org))).budgets
        if self._clock() - page.tried >= _FRESH_S:
            page.tried = self._clock()
            with suppress(Unavailable, TimeoutError):
                async with asyncio.timeout(_WAIT_S):
                    page = await asyncio.shield(self._start(org))
        return page.budgets

    def known(self, org: str) -> Sequence[Budget]:
        """What was last read."""
        page = self._pages.get(org)
        return page.budgets if page is not None else ()

    def forget(self, org: str) -> None:
        """It was changed here."""
        self._pages.pop(org, None)

    def _start(self, org: str) -> asyncio.Task[_Page]:
        """Callers for one org wait for one look."""
        task = self._looking.get(org)
        if task is None:
            task = self._looking[org] = asyncio.get_running_loop().create_task(self._look(org))
            task.add_done_callback(lambda done: self._done(org, done))
        return task

    def _done(self, org: str, task: asyncio.Task[_Page]) -> None:
        self._looking.pop(org, None)
        if not task.cancelled():
            task.exception()

    async def _look(self, org: str) -> _Page:
        now = self._clock()
        try:
            async with asyncio.timeout(_STORAGE_S):
                found = [each for each in await self._budgets.of_org(org) if each.subject not in {POLICY, REQUESTS}]
        except Exception as error:
            raise Unavailable(
                "the budgets of this organisation cannot be looked up", code="storage_unavailable", retry_after=5
            ) from error
        if len(self._pages) >= _ORGS:
            self._pages.clear()
        page = self._pages[org] = _Page(found, now, now)
        return page


def of_policy(policy: OrgPolicy) -> list[Budget]:
    """The money limits of a policy are budgets of the org under another name."""
    limits = (
        ("request", policy.max_cost_per_request),
        ("day", policy.max_cost_per_day),
        ("month", policy.max_cost_per_month),
    )
    return [
        Budget(
            budget_id=f"p{window[0]}{hashlib.sha256(policy.org_id.encode()).hexdigest()[:24]}",
            org_id=policy.org_id,
            level="org",
            subject=POLICY,
            window=window,  # type: ignore[arg-type]
            limit=limit,
        )
        for window, limit in limits
        if limit is not None
    ]


def concerning(budgets: Sequence[Budget], principal: Principal) -> list[Budget]:
    """Those that a request of this caller must fit into."""
    subjects = {"user": principal.user, "key": principal.key_id}
    return [each for each in budgets if each.level == "org" or subjects[each.level] == each.subject]
