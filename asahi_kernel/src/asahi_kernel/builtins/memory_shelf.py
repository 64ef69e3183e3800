"""A shelf: the newest records of each org, by request id."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from datetime import datetime
from typing import Generic, TypeVar

from asahi_kernel.records import Decision, Event

T = TypeVar("T", Event, Decision)


class Shelf(Generic[T]):
    """Holds `limit` records of each org; the oldest go first."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._orgs: dict[str, OrderedDict[str, T]] = {}

    def put(self, record: T) -> bool:
        """Whether the record is new; one that is there already stays as it is."""
        shelf = self._orgs.setdefault(record.org_id, OrderedDict())
        if record.request_id in shelf:
            return False
        shelf[record.request_id] = record
        if len(shelf) > self._limit:
            shelf.popitem(last=False)
        return True

    def get(self, org: str, request_id: str) -> T | None:
        """A record of that org."""
        shelf = self._orgs.get(org)
        return None if shelf is None else shelf.get(request_id)

    def of(self, org: str) -> Sequence[T]:
        """All records of an org, in the order they came."""
        shelf = self._orgs.get(org)
        return [] if shelf is None else list(shelf.values())

    def orgs(self) -> Sequence[str]:
        """Whoever has records."""
        return sorted(org for org, shelf in self._orgs.items() if shelf)

    def change(self, record: T) -> None:
        """Put a record in the place of the one with its id, if that is there."""
        shelf = self._orgs.get(record.org_id)
        if shelf is not None and record.request_id in shelf:
            shelf[record.request_id] = record

    def clear(self, org: str) -> int:
        """Remove all of an org; how many there were."""
        return len(self._orgs.pop(org, ()))

    def drop(self, org: str, before: datetime) -> int:
        """Remove what is older; how many went."""
        old = [record.request_id for record in self.of(org) if record.timestamp < before]
        for request_id in old:
            del self._orgs[org][request_id]
        return len(old)
