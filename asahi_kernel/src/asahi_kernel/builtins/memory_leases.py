"""Leases of money in this process: what each window has spent and holds, and who holds it. Nothing here waits, so each
step is whole."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from heapq import heappop, heappush

import msgspec
from msgspec import Struct

from asahi_kernel.repositories.budgets import Ask, Settlement, Window


class _Hold(Struct):
    window_start: datetime
    amount: int
    lease_until: datetime
    state: str = "held"


class MemoryLeases:
    """The windows and holds of all orgs. Holds that were settled are forgotten with `forget`."""

    def __init__(self) -> None:
        self._windows: dict[tuple[str, str, datetime], Window] = {}
        self._holds: dict[tuple[str, str], dict[str, _Hold]] = {}
        self._ends: list[tuple[datetime, str, str]] = []
        self._olds: list[tuple[datetime, str, str]] = []

    def windows(self, org: str, asks: Sequence[Ask]) -> Sequence[Window]:
        """As they stand; one that nobody has asked yet is all zero."""
        return [self._window(org, ask.budget_id, ask.window_start) for ask in asks]

    def reserve(self, org: str, request_id: str, amount: int, asks: Sequence[Ask], lease_until: datetime) -> str | None:
        """Hold an amount in every window, or in none: the budget that it does not fit into."""
        holds = self._holds.get((org, request_id), {})
        more = {}
        for ask in sorted(asks, key=lambda each: each.budget_id):
            hold = holds.get(ask.budget_id)
            held = hold.amount if hold is not None and hold.state == "held" else 0
            window = self._window(org, ask.budget_id, ask.window_start)
            more[ask.budget_id] = added = max(0, amount - held)
            if added and ask.limit is not None and window.spent + window.held + added > ask.limit:
                return ask.budget_id
        for ask in asks:
            old = holds.get(ask.budget_id)
            if old is not None and old.state != "held":
                continue
            added = more[ask.budget_id]
            self._add(org, ask.budget_id, ask.window_start, held=added)
            amount_held = added + (old.amount if old is not None else 0)
            mine = self._holds.setdefault((org, request_id), {})
            mine[ask.budget_id] = _Hold(ask.window_start, amount_held, lease_until)
        for heap in (self._ends, self._olds):
            heappush(heap, (lease_until, org, request_id))
        return None

    def settle(self, org: str, request_id: str, cost: int) -> Settlement:
        """Charge the real cost, once; also when the lease is over."""
        found = {"held": 0, "expired": 0}
        for budget_id, hold in self._holds.get((org, request_id), {}).items():
            if hold.state in found:
                found[hold.state] += 1
                self._add(org, budget_id, hold.window_start, cost, -hold.amount if hold.state == "held" else 0)
                hold.state = "settled"
        return Settlement(found["held"], found["expired"])

    def release(self, org: str, request_id: str) -> int:
        """Give back without a charge; how many budgets held it."""
        holds = self._holds.get((org, request_id), {})
        return sum(self._give_back(org, budget_id, hold, "settled") for budget_id, hold in holds.items())

    def expire(self, now: datetime) -> int:
        """Give back what dead holders hold; how many holds there were."""
        gone = 0
        while self._ends and self._ends[0][0] <= now:
            _, org, request_id = heappop(self._ends)
            for budget_id, hold in self._holds.get((org, request_id), {}).items():
                if hold.lease_until <= now:
                    gone += self._give_back(org, budget_id, hold, "expired")
        return gone

    def forget(self, before: datetime) -> None:
        """Drop holds whose lease was over by then: nobody settles them any more."""
        while self._olds and self._olds[0][0] <= before:
            _, org, request_id = heappop(self._olds)
            holds = self._holds.get((org, request_id), {})
            if all(hold.lease_until <= before for hold in holds.values()):
                self._holds.pop((org, request_id), None)

    def raise_spent(self, org: str, windows: Collection[Window]) -> None:
        """What a window has spent is at least this."""
        for known in windows:
            now = self._window(org, known.budget_id, known.window_start)
            self._add(org, known.budget_id, known.window_start, max(0, known.spent - now.spent))

    def _give_back(self, org: str, budget_id: str, hold: _Hold, state: str) -> bool:
        if hold.state != "held":
            return False
        self._add(org, budget_id, hold.window_start, held=-hold.amount)
        hold.state = state
        return True

    def _window(self, org: str, budget_id: str, start: datetime) -> Window:
        return self._windows.get((org, budget_id, start), Window(budget_id=budget_id, window_start=start))

    def _add(self, org: str, budget_id: str, start: datetime, spent: int = 0, held: int = 0) -> None:
        old = self._window(org, budget_id, start)
        new = msgspec.structs.replace(old, spent=old.spent + spent, held=old.held + held)
        self._windows[org, budget_id, start] = new
