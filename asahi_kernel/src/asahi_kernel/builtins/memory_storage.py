"""A storage in this process: complete, bounded, and gone at the end."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Generic, TypeVar

import msgspec

from asahi_kernel.builtins.memory_idempotency import MemoryIdempotency
from asahi_kernel.records import Decision, Event, Totals

T = TypeVar("T", Event, Decision)


class MemoryStorage:
    """Keeps the newest `max_events` requests of each org, and totals over all of them."""

    name = "memory"

    def __init__(self, max_events: int) -> None:
        self.events = MemoryEvents(max_events)
        self.decisions = MemoryDecisions(max_events)
        self.idempotency = MemoryIdempotency()

    async def ping(self) -> None:
        """Memory is always there."""


class _Shelf(Generic[T]):
    """The newest records of each org, by request id."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._orgs: dict[str, OrderedDict[str, T]] = {}

    def put(self, record: T) -> bool:
        shelf = self._orgs.setdefault(record.org_id, OrderedDict())
        if record.request_id in shelf:
            return False
        shelf[record.request_id] = record
        if len(shelf) > self._limit:
            shelf.popitem(last=False)
        return True

    def get(self, org: str, request_id: str) -> T | None:
        shelf = self._orgs.get(org)
        return None if shelf is None else shelf.get(request_id)

    def of(self, org: str) -> list[T]:
        shelf = self._orgs.get(org)
        return [] if shelf is None else list(shelf.values())


class MemoryEvents:
    def __init__(self, limit: int) -> None:
        self._shelf: _Shelf[Event] = _Shelf(limit)
        self._totals: dict[str, Totals] = {}

    async def save(self, events: Sequence[Event]) -> None:
        for event in events:
            if self._shelf.put(event):
                add(self._totals.setdefault(event.org_id, Totals()), event)

    async def find(self, org: str, request_id: str) -> Event | None:
        return self._shelf.get(org, request_id)

    async def between(self, org: str, start: datetime, end: datetime) -> AsyncIterator[Event]:
        for event in self._shelf.of(org):
            if start <= event.timestamp < end:
                yield event

    async def totals(self, org: str, since: datetime | None) -> Totals:
        if since is None:
            return msgspec.structs.replace(self._totals.get(org, Totals()))
        totals = Totals()
        for event in self._shelf.of(org):
            if event.timestamp >= since:
                add(totals, event)
        return totals


class MemoryDecisions:
    def __init__(self, limit: int) -> None:
        self._shelf: _Shelf[Decision] = _Shelf(limit)

    async def save(self, decisions: Sequence[Decision]) -> None:
        for decision in decisions:
            self._shelf.put(decision)

    async def find(self, org: str, request_id: str) -> Decision | None:
        return self._shelf.get(org, request_id)


def add(totals: Totals, event: Event) -> None:
    """Count one event. Its own model is credited; an unknown price counts as unpriced, never as zero."""
    totals.requests += 1
    totals.errors += event.status == "failed"
    totals.latency_ms += event.latency_ms
    totals.unpriced += event.cost is None
    cost = event.cost or 0
    totals.cost += cost
    totals.baseline_cost += event.baseline_cost
    totals.overhead_cost += event.overhead_cost
    totals.saved += event.saved
    if event.quality_score is not None:
        totals.quality += event.quality_score
        totals.quality_count += 1
    if event.model_selected:
        _count(totals.cost_by_model, event.model_selected, cost)
        _count(totals.requests_by_model, event.model_selected, 1)
    for technique, amount in event.saved_by.items():
        _count(totals.saved_by, technique, amount)
    if event.cache_hit:
        totals.cache_saved += event.saved
        totals.hits_by_tier[event.cache_tier] = totals.hits_by_tier.get(event.cache_tier, 0) + 1
    elif event.status == "ok":
        totals.misses += 1


def _count(counts: dict[str, int], name: str, amount: int) -> None:
    counts[name] = counts.get(name, 0) + amount
