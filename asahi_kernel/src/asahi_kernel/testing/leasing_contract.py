"""The contract of counters that lease money: see `LeaseCounter`."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

from asahi_kernel.identity import new_id
from asahi_kernel.repositories.budgets import Ask, LeaseCounter, Settlement, Window
from asahi_kernel.testing.contracts import CounterContract

DAY = timedelta(days=1)


class LeaseCounterContract(CounterContract):
    """What `CounterContract` asks, and leases."""

    def ask(self, budget_id: str = "b1", limit: int | None = 100) -> Ask:
        """Today's window."""
        return Ask(budget_id=budget_id, window_start=datetime(2026, 11, 26, tzinfo=UTC), limit=limit)

    async def state(self, subject: Any, *budgets: str, org: str = "here") -> list[tuple[int, int]]:
        """Spent and held."""
        windows = await subject.windows(org, [self.ask(each) for each in budgets or ("b1",)])
        return [(window.spent, window.held) for window in windows]

    async def reserve(self, subject: Any, request_id: str, amount: int, *asks: Ask, ends: Any = None) -> Any:
        """For a day, if nothing else is said."""
        until = ends or datetime.now(UTC) + DAY
        return await subject.reserve("here", request_id, amount, asks or [self.ask()], until)

    async def test_it_leases(self, subject: Any) -> None:
        assert isinstance(subject, LeaseCounter)

    async def test_a_cap_is_a_cap(self, subject: Any) -> None:
        asked = await asyncio.gather(*(self.reserve(subject, new_id(), 10) for _ in range(40)))
        assert sorted(map(str, asked)) == ["None"] * 10 + ["b1"] * 30
        assert await self.state(subject) == [(0, 100)]

    async def test_nested_caps_are_all_or_nothing(self, subject: Any) -> None:
        both = (self.ask("b2", 30), self.ask())
        assert await self.reserve(subject, "r1", 20, *both) is None
        assert await self.reserve(subject, "r2", 20, *both) == "b2"
        assert await self.state(subject, "b1", "b2") == [(0, 20), (0, 20)]
        assert await subject.settle("here", "r1", 25) == Settlement(2, 0)
        assert await subject.settle("here", "r1", 25) == Settlement(0, 0)
        assert await self.state(subject, "b1", "b2") == [(25, 0), (25, 0)]

    async def test_a_second_candidate_holds_the_larger_amount(self, subject: Any) -> None:
        for amount, held in ((30, 30), (20, 30), (50, 50)):
            assert await self.reserve(subject, "r1", amount) is None
            assert await self.state(subject) == [(0, held)]
        assert await self.reserve(subject, "r1", 101) == "b1"
        assert await subject.release("here", "r1") == 1
        assert await subject.release("here", "r1") == 0
        assert await self.state(subject) == [(0, 0)]

    async def test_a_dead_holders_lease_ends_and_a_late_charge_counts_once(self, subject: Any) -> None:
        await self.reserve(subject, "alive", 40)
        await self.reserve(subject, "dead", 60, ends=datetime.now(UTC) + timedelta(seconds=0.2))
        assert await self.reserve(subject, "next", 10) == "b1"
        await asyncio.sleep(0.4)
        assert await self.state(subject) == [(0, 40)]
        assert await self.reserve(subject, "next", 60) is None
        assert await subject.settle("here", "dead", 7) == Settlement(0, 1)
        assert await subject.settle("here", "dead", 7) == Settlement(0, 0)
        assert await self.state(subject) == [(7, 100)]

    async def test_orgs_neither_hold_nor_settle_for_each_other(self, subject: Any) -> None:
        await self.reserve(subject, "r1", 9)
        assert await subject.settle("there", "r1", 9) == Settlement(0, 0)
        assert await subject.release("there", "r1") == 0
        assert await self.state(subject, org="there") == [(0, 0)]
        assert await self.state(subject) == [(0, 9)]

    async def test_without_a_limit_nothing_is_refused_and_all_is_counted(self, subject: Any) -> None:
        assert await self.reserve(subject, "r1", 10**15, self.ask(limit=None)) is None
        await subject.settle("here", "r1", 10**15 + 1)
        assert await self.state(subject) == [(10**15 + 1, 0)]

    async def test_windows_of_one_budget_count_apart(self, subject: Any) -> None:
        tomorrow = Ask(budget_id="b1", window_start=datetime(2026, 11, 27, tzinfo=UTC), limit=100)
        assert await self.reserve(subject, "r1", 100) is None
        assert await self.reserve(subject, "r2", 100, tomorrow) is None

    async def test_what_was_lost_is_made_up_for(self, subject: Any) -> None:
        window = Window(budget_id="b1", window_start=self.ask().window_start, spent=95)
        for _ in range(2):
            await subject.raise_spent("here", [window])
        assert await self.state(subject) == [(95, 0)]
        assert await self.reserve(subject, "r1", 6) == "b1"
        assert await self.reserve(subject, "r1", 5) is None
