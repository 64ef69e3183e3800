"""Budgets in this process."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec
from msgspec import Struct

from asahi_kernel.repositories.budgets import Ask, Budget, Settlement, Window


class _Hold(Struct):
    org: str
    window_start: datetime
    amount: int
    lease_until: datetime
    state: str = "held"


class MemoryBudgets:
    """Nothing here waits, so each step is whole."""

    def __init__(self) -> None:
        self._budgets: dict[str, Budget] = {}
        self._windows: dict[tuple[str, datetime], Window] = {}
        self._holds: dict[tuple[str, str], _Hold] = {}

    async def save(self, budget: Budget) -> Budget:
        for old in self._budgets.values():
            if _scope(old) == _scope(budget):
                budget = msgspec.structs.replace(budget, budget_id=old.budget_id)
        self._budgets[budget.budget_id] = budget
        return budget

    async def of_org(self, org: str) -> Sequence[Budget]:
        found = [budget for budget in self._budgets.values() if budget.org_id == org]
        return sorted(found, key=lambda budget: budget.budget_id)

    async def remove(self, org: str, budget_id: str) -> bool:
        if budget_id not in self._own(org):
            return False
        del self._budgets[budget_id]
        return True

    async def windows(self, org: str, asks: Sequence[Ask]) -> Sequence[Window]:
        own = self._own(org)
        return [self._window(ask.budget_id, ask.window_start) for ask in asks if ask.budget_id in own]

    async def reserve(
        self, org: str, request_id: str, amount: int, asks: Sequence[Ask], lease_until: datetime
    ) -> str | None:
        more = {}
        own = self._own(org)
        for ask in sorted(asks, key=lambda each: each.budget_id):
            hold = self._holds.get((request_id, ask.budget_id))
            held = hold.amount if hold is not None and hold.state == "held" else 0
            window = self._window(ask.budget_id, ask.window_start)
            more[ask.budget_id] = added = max(0, amount - held)
            if ask.budget_id not in own:
                return ask.budget_id
            if added and ask.limit is not None and window.spent + window.held + added > ask.limit:
                return ask.budget_id
        for ask in asks:
            old = self._holds.get((request_id, ask.budget_id))
            if old is not None and old.state != "held":
                continue
            added = more[ask.budget_id]
            self._add(ask.budget_id, ask.window_start, held=added)
            amount_held = added + (old.amount if old is not None else 0)
            self._holds[request_id, ask.budget_id] = _Hold(org, ask.window_start, amount_held, lease_until)
        return None

    async def settle(self, org: str, request_id: str, cost: int) -> Settlement:
        found = {"held": 0, "expired": 0}
        for budget_id, hold in self._of(org, request_id):
            if hold.state in found:
                found[hold.state] += 1
                self._add(budget_id, hold.window_start, cost, -hold.amount if hold.state == "held" else 0)
                hold.state = "settled"
        return Settlement(found["held"], found["expired"])

    async def release(self, org: str, request_id: str) -> int:
        return sum(self._give_back(budget_id, hold, "settled") for budget_id, hold in self._of(org, request_id))

    async def expire(self, now: datetime) -> int:
        dead = [(key[1], hold) for key, hold in self._holds.items() if hold.lease_until <= now]
        return sum(self._give_back(budget_id, hold, "expired") for budget_id, hold in dead)

    def _give_back(self, budget_id: str, hold: _Hold, state: str) -> bool:
        if hold.state != "held":
            return False
        self._add(budget_id, hold.window_start, held=-hold.amount)
        hold.state = state
        return True

    def _own(self, org: str) -> set[str]:
        return {budget_id for budget_id, budget in self._budgets.items() if budget.org_id == org}

    def _of(self, org: str, request_id: str) -> list[tuple[str, _Hold]]:
        return [(key[1], hold) for key, hold in self._holds.items() if key[0] == request_id and hold.org == org]

    def _window(self, budget_id: str, start: datetime) -> Window:
        return self._windows.get((budget_id, start), Window(budget_id=budget_id, window_start=start))

    def _add(self, budget_id: str, start: datetime, spent: int = 0, held: int = 0) -> None:
        old = self._window(budget_id, start)
        new = msgspec.structs.replace(old, spent=old.spent + spent, held=old.held + held)
        self._windows[budget_id, start] = new


def _scope(budget: Budget) -> tuple[str, str, str, str]:
    return budget.org_id, budget.level, budget.subject, budget.window
