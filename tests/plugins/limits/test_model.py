"""BU-2, A5: budgets of a key, a user and an org behave like their model, whatever happens in whatever order."""

from __future__ import annotations

import asyncio
import tempfile
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.plugins.piccolo.kit import opened, sqlite

from asahi_kernel.builtins.memory_budgets import MemoryBudgets
from asahi_kernel.repositories.budgets import Ask, Budget

DAY = datetime(2026, 11, 26, tzinfo=UTC)
CAPS = {"key": 40, "user": 70, "org": 100}
CASES = settings(
    max_examples=25, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
)


class Nested(RuleBasedStateMachine):
    """The model: what each level has spent, and who holds how much until when."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.now = DAY
        self.spent = dict.fromkeys(CAPS, 0)
        self.held: dict[str, tuple[int, datetime]] = {}
        self.expired: set[str] = set()
        self.over: set[str] = set()
        self.names = 0

    def place(self):
        return MemoryBudgets()

    @initialize()
    def begin(self) -> None:
        self.budgets = self.place()
        for level, cap in CAPS.items():
            budget = Budget(
                budget_id=f"b-{level}", org_id="here", level=level, subject=f"s-{level}", window="day", limit=cap
            )
            self.runner.run(self.budgets.save(budget))

    def asks(self) -> list[Ask]:
        return [Ask(budget_id=f"b-{level}", window_start=DAY, limit=cap) for level, cap in CAPS.items()]

    @rule(amount=st.integers(0, 45), seconds=st.integers(1, 50))
    def reserve(self, amount: int, seconds: int) -> None:
        self.names += 1
        name, until = f"r{self.names}", self.now + timedelta(seconds=seconds)
        refused = self.runner.run(self.budgets.reserve("here", name, amount, self.asks(), until))
        holding = sum(each for each, _ in self.held.values())
        full = [level for level, cap in CAPS.items() if amount and self.spent[level] + holding + amount > cap]
        assert (refused is not None) == bool(full)
        assert refused is None or refused.removeprefix("b-") in full
        if refused is None:
            self.held[name] = (amount, until)

    @precondition(lambda self: self.held or self.expired)
    @rule(data=st.data(), cost=st.integers(0, 60))
    def settle(self, data, cost: int) -> None:
        name = data.draw(st.sampled_from(sorted({*self.held, *self.expired})))
        told = self.runner.run(self.budgets.settle("here", name, cost))
        late = name in self.expired
        assert (told.held, told.late) == ((0, 3) if late else (3, 0))
        self.spent = {level: spent + cost for level, spent in self.spent.items()}
        self._end(name)

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def release(self, data) -> None:
        name = data.draw(st.sampled_from(sorted(self.held)))
        assert self.runner.run(self.budgets.release("here", name)) == 3
        self._end(name)

    @precondition(lambda self: self.over)
    @rule(data=st.data(), cost=st.integers(1, 60))
    def settle_again(self, data, cost: int) -> None:
        name = data.draw(st.sampled_from(sorted(self.over)))
        told = self.runner.run(self.budgets.settle("here", name, cost))
        assert (told.held, told.late) == (0, 0)

    @rule(seconds=st.integers(1, 60))
    def time_passes_and_the_dead_let_go(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)
        gone = {name for name, (_, until) in self.held.items() if until <= self.now}
        assert self.runner.run(self.budgets.expire(self.now)) == 3 * len(gone)
        for name in gone:
            del self.held[name]
        self.expired |= gone

    @invariant()
    def every_window_is_what_the_model_says(self) -> None:
        if hasattr(self, "budgets"):
            found = self.runner.run(self.budgets.windows("here", self.asks()))
            holding = sum(each for each, _ in self.held.values())
            assert {each.budget_id[2:]: (each.spent, each.held) for each in found} == {
                level: (spent, holding) for level, spent in self.spent.items()
            }

    def _end(self, name: str) -> None:
        self.held.pop(name, None)
        self.expired.discard(name)
        self.over.add(name)

    def teardown(self) -> None:
        self.runner.close()


class NestedInSqlite(Nested):
    """The same rules, held in rows."""

    def place(self):
        self.stack = AsyncExitStack()
        self.folder = tempfile.TemporaryDirectory()
        return self.runner.run(self.stack.enter_async_context(opened(sqlite(Path(self.folder.name))))).budgets

    def teardown(self) -> None:
        if hasattr(self, "stack"):
            self.runner.run(self.stack.aclose())
            self.folder.cleanup()
        super().teardown()


TestInMemory = Nested.TestCase
TestInMemory.settings = CASES
TestInRows = NestedInSqlite.TestCase
TestInRows.settings = settings(CASES, max_examples=6)
