"""A storage in this process: complete, bounded, and gone at the end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime

import msgspec

from asahi_kernel.builtins.memory_books import MemoryLedger, MemoryPrices, MemoryRollups
from asahi_kernel.builtins.memory_budgets import MemoryBudgets
from asahi_kernel.builtins.memory_idempotency import MemoryIdempotency
from asahi_kernel.builtins.memory_purge import MemoryPurge
from asahi_kernel.builtins.memory_records import MemoryRows
from asahi_kernel.builtins.memory_shelf import Shelf
from asahi_kernel.records import DeadLetter, Decision, Event, EventQuery, Settled, Totals
from asahi_kernel.repositories import Repositories
from asahi_kernel.rollups import Rollup, add, gather

_DEAD_LETTERS = 1_000


class MemoryStorage:
    """Keeps the newest `max_events` requests and ledger entries of each org, and rollups over all of them."""

    name = "memory"

    def __init__(self, max_events: int) -> None:
        self._events: Shelf[Event] = Shelf(max_events)
        self._decisions: Shelf[Decision] = Shelf(max_events)
        self.rollups = MemoryRollups()
        self.ledger = MemoryLedger(max_events)
        self.prices = MemoryPrices()
        self.books = MemoryBooks(self._events, self._decisions, self.rollups, self.ledger)
        self.events = MemoryEvents(self._events, self.rollups)
        self.decisions = MemoryDecisions(self._decisions)
        self.retention = MemoryRetention(self._events, self._decisions)
        self.dead_letters = MemoryDeadLetters()
        self.idempotency = MemoryIdempotency()
        self.purge = MemoryPurge(self._events, self._decisions, self.rollups, self.idempotency)
        rows = MemoryRows()
        self.repositories = Repositories(rows)
        self.budgets = MemoryBudgets()
        self.together = rows.together

    async def ping(self) -> None:
        """Memory is always there."""


class MemoryBooks:
    """Nothing here waits, so a batch is entered whole."""

    def __init__(
        self, events: Shelf[Event], decisions: Shelf[Decision], rollups: MemoryRollups, ledger: MemoryLedger
    ) -> None:
        self._events = events
        self._decisions = decisions
        self._rollups = rollups
        self._ledger = ledger

    async def post(self, settled: Sequence[Settled]) -> int:
        new = []
        for each in settled:
            if self._events.put(each.event):
                self._decisions.put(each.decision)
                self._ledger.append(each.event)
                new.append(each.event)
        self._rollups.merge(gather(new))
        return len(new)


class MemoryEvents:
    def __init__(self, shelf: Shelf[Event], rollups: MemoryRollups) -> None:
        self._shelf = shelf
        self._rollups = rollups

    async def find(self, org: str, request_id: str) -> Event | None:
        return self._shelf.get(org, request_id)

    async def between(self, org: str, start: datetime, end: datetime) -> AsyncIterator[Event]:
        for event in sorted(self._shelf.of(org), key=lambda each: (each.timestamp, each.request_id)):
            if start <= event.timestamp < end:
                yield event

    async def newest(self, org: str, query: EventQuery) -> Sequence[Event]:
        found = [event for event in self._shelf.of(org) if _matches(event, query)]
        found.sort(key=lambda event: event.request_id, reverse=True)
        return found[: query.limit]

    async def totals(self, org: str, since: datetime | None) -> Totals:
        totals = Totals()
        if since is None:
            kept: Sequence[Rollup] = self._rollups.of(org, "day")
        else:
            kept = [each for each in gather(self._since(org, since)) if each.key.granularity == "day"]
        for rollup in kept:
            add(totals, rollup)
        return totals

    def _since(self, org: str, since: datetime) -> Sequence[Event]:
        return [event for event in self._shelf.of(org) if event.timestamp >= since]


class MemoryDecisions:
    def __init__(self, shelf: Shelf[Decision]) -> None:
        self._shelf = shelf

    async def find(self, org: str, request_id: str) -> Decision | None:
        return self._shelf.get(org, request_id)

    async def many(self, org: str, request_ids: Sequence[str]) -> Mapping[str, Decision]:
        found = {request_id: self._shelf.get(org, request_id) for request_id in request_ids}
        return {request_id: each for request_id, each in found.items() if each is not None}


class MemoryRetention:
    def __init__(self, events: Shelf[Event], decisions: Shelf[Decision]) -> None:
        self._events = events
        self._decisions = decisions

    async def orgs(self) -> Sequence[str]:
        return self._events.orgs()

    async def sweep(self, org: str, before: datetime) -> int:
        self._decisions.drop(org, before)
        return self._events.drop(org, before)


class MemoryDeadLetters:
    """The newest thousand."""

    def __init__(self) -> None:
        self._letters: list[DeadLetter] = []

    async def save(self, letters: Sequence[DeadLetter]) -> None:
        self._letters = [*self._letters, *letters][-_DEAD_LETTERS:]

    async def count(self) -> int:
        return len(self._letters)


#: Filters by the event's own field; the window and the cursor are looked at apart.
_FIELDS = {
    "model": "model_selected",
    "user_id": "user_id",
    "key_id": "key_id",
    "tier": "cache_tier",
    "status": "status",
    "workflow_id": "workflow_id",
}


def _matches(event: Event, query: EventQuery) -> bool:
    return (
        (query.start is None or event.timestamp >= query.start)
        and (query.end is None or event.timestamp < query.end)
        and (query.before is None or event.request_id < query.before)
        and all(
            wanted is None or wanted == getattr(event, _FIELDS[name])
            for name, wanted in msgspec.structs.asdict(query).items()
            if name in _FIELDS
        )
    )
