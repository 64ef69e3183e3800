"""The policy `budget`: money is held in every budget that a request concerns, or in none, and settled exactly once."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from msgspec import Struct

from asahi_kernel import clock
from asahi_kernel.alerting import alert
from asahi_kernel.errors import Exhausted
from asahi_kernel.money import plain
from asahi_kernel.repositories.budgets import Ask, Budget
from asahi_limits.book import book_of, concerning, of_policy
from asahi_limits.calendar import end_of, start_of
from asahi_limits.leasing import Leases, leasing

if TYPE_CHECKING:
    from asahi_kernel.believing import Believed
    from asahi_kernel.gateway import Gateway
    from asahi_kernel.types import Principal, Request
    from asahi_limits.config import BudgetConfig

_WHOSE = {"org": "organisation", "user": "user", "key": "key"}


class _Hold(Struct, frozen=True):
    amount: int
    budgets: tuple[Budget, ...]


class BudgetPolicy:
    """Asks for nothing of an org without budgets. What was billed beyond what was held is charged all the same, and
    counted as overshoot; so is what comes after a lease has ended."""

    def __init__(
        self, gateway: Gateway, config: BudgetConfig, leases: Leases, book: Believed[Sequence[Budget]]
    ) -> None:
        self._gateway = gateway
        self._config = config
        self._leases = leases
        self.book = book
        self._holds: dict[str, _Hold] = {}
        self._looked: dict[str, float] = {}
        self._kept: set[str] = set()
        self._told: set[str] = set()

    async def admit(self, request: Request, principal: Principal) -> Request:
        """Only looks up what binds the caller, so that `binds` need not wait."""
        await self._gateway.standings.of(principal.org)
        await self.book.of(principal.org)
        return request

    def binds(self, principal: Principal) -> bool:
        """Whether any budget does."""
        return bool(self._concerning(principal))

    async def reserve(self, request_id: str, principal: Principal, amount: int) -> None:
        """Raises `Exhausted`, which names the budget that the request does not fit into."""
        now = clock.now()
        binding = self._concerning(principal)
        for each in binding:
            if each.window == "request" and each.action == "refuse" and amount > each.limit:
                self._gateway.faults[f"budget.refused.{each.level}"] += 1
                raise _refusal(each, amount, 0, now)
        summed = [each for each in binding if each.window != "request"]
        if summed:
            seconds = self._gateway.longest_s + self._config.lease_extra_s
            asks = [_ask(await self._stored(each), now) for each in summed]
            until = now + timedelta(seconds=seconds)
            refused = await self._leases.reserve(principal.org, request_id, amount, asks, until, summed)
            if refused is not None:
                await self._refuse(principal.org, refused, summed, amount, now)
        self._holds[request_id] = _Hold(amount, tuple(summed))

    async def settle(self, request_id: str, principal: Principal, cost: int) -> None:
        """Charge what was really billed, once."""
        hold = self._holds.pop(request_id, None)
        settled = await self._leases.settle(principal.org, request_id, cost)
        if settled.late:
            self._gateway.faults["budget.late"] += 1
        if hold is not None and cost > hold.amount:
            self._gateway.faults["budget.overshoot"] += 1
            for level in {each.level for each in hold.budgets}:
                self._gateway.faults[f"budget.overshoot_nano.{level}"] += cost - hold.amount
        if hold is not None and hold.budgets:
            await self._watch(principal.org, hold.budgets)

    def _concerning(self, principal: Principal) -> list[Budget]:
        policy = self._gateway.standings.known(principal.org).policy
        return concerning([*(self.book.known(principal.org) or ()), *of_policy(policy)], principal)

    async def _stored(self, budget: Budget) -> Budget:
        """A storage leases from what it knows only: the limits of a policy are rows there, like budgets."""
        if self._leases.stored and budget.subject.startswith("#") and budget.budget_id not in self._kept:
            await self._leases.keep(budget)
            self._kept.add(budget.budget_id)
        return budget

    async def _refuse(self, org: str, budget_id: str, budgets: Sequence[Budget], amount: int, now: datetime) -> None:
        budget = next(each for each in budgets if each.budget_id == budget_id)
        self._gateway.faults[f"budget.refused.{budget.level}"] += 1
        (window,) = await self._leases.windows(org, [_ask(budget, now)])
        raise _refusal(budget, amount, window.spent + window.held, now)

    async def _watch(self, org: str, budgets: Sequence[Budget]) -> None:
        """An alert for each share that a budget has reached, once in each of its windows."""
        now = clock.monotonic()
        if now - self._looked.get(org, 0.0) < self._config.alert_s:
            return
        self._looked[org] = now
        today = clock.now()
        for budget in budgets:
            windows = await self._leases.windows(org, [_ask(budget, today)])
            for window in windows:
                reached = [share for share in budget.alert_at if window.spent >= share * budget.limit]
                if reached:
                    self._tell(budget, max(reached), window.spent, window.window_start)

    def _tell(self, budget: Budget, share: float, spent: int, start: datetime) -> None:
        once = f"{budget.budget_id[:14]}{start:%y%m%d}{round(share * 1_000):05d}"
        if once in self._told:
            return
        self._told.add(once)
        alert(
            self._gateway,
            budget.org_id,
            "budget",
            f"budget.{budget.level}.{budget.subject}.{budget.window}.{round(100 * share)}",
            f"{_name(budget)} has spent ${plain(spent)} of ${plain(budget.limit)}: {share:.0%} reached",
            severity="critical" if share >= 1 else "warning",
            current=spent / 1e9,
            expected=budget.limit / 1e9,
            alert_id=once[:26],
        )


@asynccontextmanager
async def open_policy(config: BudgetConfig, gateway: Gateway) -> AsyncIterator[BudgetPolicy]:
    """The policy, whose book the routes use too."""
    async with leasing(gateway) as leases:
        policy = BudgetPolicy(gateway, config, leases, book_of(leases.budgets, gateway.faults))
        gateway.shared["limits.budget"] = policy
        yield policy


def _ask(budget: Budget, now: datetime) -> Ask:
    limit = budget.limit if budget.action == "refuse" else None
    return Ask(budget_id=budget.budget_id, window_start=start_of(budget.window, now), limit=limit)


def _name(budget: Budget) -> str:
    whose = budget.org_id if budget.subject.startswith("#") else budget.subject
    return f"the budget of {_WHOSE[budget.level]} {whose!r} for a {budget.window}"


def _refusal(budget: Budget, amount: int, used: int, now: datetime) -> Exhausted:
    resets = end_of(budget.window, now)
    return Exhausted(
        f"{_name(budget)} is ${plain(budget.limit)}, and this request may cost up to ${plain(amount)} beside "
        f"${plain(used)} spent and held",
        code="budget_exceeded",
        retry_after=(resets - now).total_seconds() if resets else None,
        details={
            "level": budget.level,
            "window": budget.window,
            "limit": budget.limit / 1e9,
            "used": used / 1e9,
            "needed": amount / 1e9,
            "resets_at": resets.isoformat() if resets else None,
        },
    )
