"""Budgets: limits in money, what they have spent and hold in each window, and the holds of requests under way."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Literal, Protocol

from msgspec import Struct


class Budget(Struct, frozen=True, kw_only=True):
    """A limit in nUSD. `subject` is the user or key; for the org itself it is the org's id."""

    budget_id: str
    org_id: str
    level: Literal["org", "user", "key"]
    subject: str
    window: Literal["request", "day", "month"]
    limit: int
    action: Literal["refuse", "warn"] = "refuse"
    alert_at: tuple[float, ...] = (0.5, 0.8, 1.0)
    created_by: str | None = None


class Window(Struct, frozen=True, kw_only=True):
    """What a budget has spent and holds, in nUSD, since the start of one of its windows."""

    budget_id: str
    window_start: datetime
    spent: int = 0
    held: int = 0


class Ask(Struct, frozen=True, kw_only=True):
    """One budget that a request must fit into. `limit` None never refuses."""

    budget_id: str
    window_start: datetime
    limit: int | None


class Settlement(Struct, frozen=True):
    """How a request was settled: `held` budgets in time, `late` ones after their lease had expired."""

    held: int = 0
    late: int = 0


class Budgets(Protocol):
    """Every step is one transaction, over all processes: a cap is a cap."""

    async def save(self, budget: Budget) -> Budget:
        """In place of one of the same org, level, subject and window, whose id it then keeps."""

    async def of_org(self, org: str) -> Sequence[Budget]: ...
    async def remove(self, org: str, budget_id: str) -> bool: ...
    async def windows(self, org: str, asks: Sequence[Ask]) -> Sequence[Window]:
        """Of the org's own budgets; one that nobody has asked yet is all zero."""

    async def reserve(
        self, org: str, request_id: str, amount: int, asks: Sequence[Ask], lease_until: datetime
    ) -> str | None:
        """Hold an amount in every budget, or in none: the id of the one that it does not fit into. Again for the same
        request, it holds the larger amount."""

    async def settle(self, org: str, request_id: str, cost: int) -> Settlement:
        """Charge the real cost to every budget that the request held, once; also when its lease is over."""

    async def release(self, org: str, request_id: str) -> int:
        """Give back without a charge; how many budgets held it."""

    async def expire(self, now: datetime) -> int:
        """Give back what dead holders hold; how many holds there were."""
