"""Budgets in this process."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from asahi_kernel.builtins.memory_leases import MemoryLeases
from asahi_kernel.repositories.budgets import Ask, Budget, Settlement, Window


class MemoryBudgets:
    """Nothing here waits, so each step is whole."""

    def __init__(self) -> None:
        self._budgets: dict[str, Budget] = {}
        self._leases = MemoryLeases()

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
        return self._leases.windows(org, [ask for ask in asks if ask.budget_id in own])

    async def reserve(
        self, org: str, request_id: str, amount: int, asks: Sequence[Ask], lease_until: datetime
    ) -> str | None:
        own = self._own(org)
        if foreign := sorted(ask.budget_id for ask in asks if ask.budget_id not in own):
            return foreign[0]
        return self._leases.reserve(org, request_id, amount, asks, lease_until)

    async def settle(self, org: str, request_id: str, cost: int) -> Settlement:
        return self._leases.settle(org, request_id, cost)

    async def release(self, org: str, request_id: str) -> int:
        return self._leases.release(org, request_id)

    async def expire(self, now: datetime) -> int:
        return self._leases.expire(now)

    def _own(self, org: str) -> set[str]:
        return {budget_id for budget_id, budget in self._budgets.items() if budget.org_id == org}


def _scope(budget: Budget) -> tuple[str, str, str, str]:
    return budget.org_id, budget.level, budget.subject, budget.window
