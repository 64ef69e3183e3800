"""Seeding: what the books say that a window has spent."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from asahi_kernel import clock
from asahi_kernel.protocols import GroupingRollups

if TYPE_CHECKING:
    from asahi_kernel.gateway import Gateway
    from asahi_kernel.repositories.budgets import Budget
    from asahi_kernel.rollups import Rollup

#: Subjects of budgets that a policy makes: no user, key or org can be called so.
POLICY, REQUESTS = "#policy", "#requests"


async def spent_of(gateway: Gateway, budget: Budget, start: datetime) -> int:
    """nUSD, or requests for a quota, since the start of the window, by hourly sums: the org's, the user's or the
    key's."""
    if budget.window == "request" or not isinstance(gateway.storage.rollups, GroupingRollups):
        return 0
    await gateway.journal.catch_up()
    now = clock.now()
    by = {"user": {"user_id"}, "key": {"key_id"}}.get(budget.level, set())
    rows = await gateway.storage.rollups.grouped(budget.org_id, "hour", ((start, now + timedelta(hours=1)),), by)  # type: ignore[arg-type]
    return sum(_of(row, budget) for row in rows if _concerns(row, budget))


def _concerns(row: Rollup, budget: Budget) -> bool:
    if budget.level == "user":
        return row.key.user_id == budget.subject
    return budget.level == "org" or row.key.key_id == budget.subject


def _of(row: Rollup, budget: Budget) -> int:
    if budget.subject == REQUESTS:
        return row.sums.requests
    return row.sums.cost + row.sums.overhead_cost
