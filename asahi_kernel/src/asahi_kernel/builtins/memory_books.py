"""Rollups, ledger and price versions in this process."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from datetime import datetime

import msgspec

from asahi_kernel.ledger import Book, Entry, Head, link
from asahi_kernel.records import Event
from asahi_kernel.rollups import BY_BUCKET, Dimension, Granularity, Key, Rollup, Span, Sums, group, merge


class MemoryRollups:
    """Minutes and hours are few enough here to be kept like days."""

    def __init__(self) -> None:
        self._sums: dict[tuple[str, Granularity], dict[Key, Sums]] = {}

    def merge(self, rollups: Sequence[Rollup]) -> None:
        """Add what a batch of events came to."""
        for rollup in rollups:
            shelf = self._sums.setdefault((rollup.key.org_id, rollup.key.granularity), {})
            merge(shelf.setdefault(rollup.key, Sums()), rollup.sums)

    def of(self, org: str, granularity: Granularity) -> Sequence[Rollup]:
        """All rollups of an org."""
        return [Rollup(key, sums) for key, sums in self._sums.get((org, granularity), {}).items()]

    def forget(self, org: str, user: str | None) -> int:
        """Add what a user, or anybody, came to to the sums that name nobody; how many sums named them."""
        moved = 0
        for (owner, _), shelf in self._sums.items():
            if owner != org:
                continue
            for key in [key for key in shelf if key.user_id and user in {None, key.user_id}]:
                sums = shelf.pop(key)
                merge(shelf.setdefault(msgspec.structs.replace(key, user_id=""), Sums()), sums)
                moved += 1
        return moved

    def naming(self, org: str, user: str | None) -> int:
        """How many sums name the user, or anybody."""
        keys = [key for (owner, _), shelf in self._sums.items() if owner == org for key in shelf]
        return sum(bool(key.user_id) and user in {None, key.user_id} for key in keys)

    async def between(
        self, org: str, granularity: Granularity, start: datetime, end: datetime
    ) -> AsyncIterator[Rollup]:
        for rollup in sorted(self.of(org, granularity), key=lambda each: each.key.bucket):
            if start <= rollup.key.bucket < end:
                yield rollup

    async def grouped(
        self,
        org: str,
        granularity: Granularity,
        spans: Sequence[Span],
        by: Collection[Dimension],
        *,
        detail: bool = False,
    ) -> Sequence[Rollup]:
        held = self.of(org, granularity)
        return [
            each
            for start, end in spans
            for each in group((one for one in held if start <= one.key.bucket < end), start, by, detail=detail)
        ]

    async def of_one(
        self,
        org: str,
        granularity: Granularity,
        span: Span,
        dimension: Dimension,
        value: str,
        *,
        detail: bool = False,
    ) -> Sequence[tuple[datetime, Sums]]:
        start, end = span
        held = (
            each
            for each in self.of(org, granularity)
            if start <= each.key.bucket < end and getattr(each.key, dimension) == value
        )
        found = group(held, start, BY_BUCKET, detail=detail)
        for each in found:
            each.sums.saved_by = {}
        return sorted(((each.key.bucket, each.sums) for each in found), key=lambda row: row[0])


class MemoryLedger:
    """The newest entries of each chain; the chain itself goes on counting."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._chains: dict[str, deque[Entry]] = {}
        self._heads: dict[str, Head] = {}

    def append(self, event: Event) -> None:
        """Link an event to its org's chain."""
        entry = link(self._heads.get(event.org_id, Head()), event)
        self._heads[event.org_id] = Head(entry.seq, entry.entry_hash)
        self._chains.setdefault(event.org_id, deque(maxlen=self._limit)).append(entry)

    async def entries(self, org: str, after: int = 0) -> AsyncIterator[Entry]:
        for entry in tuple(self._chains.get(org, ())):
            if entry.seq > after:
                yield entry

    async def heads(self) -> Mapping[str, Head]:
        return dict(self._heads)


class MemoryPrices:
    def __init__(self) -> None:
        self._books: dict[str, Book] = {}

    async def save(self, book: Book) -> None:
        self._books.setdefault(book.version, book)

    async def find(self, version: str) -> Book | None:
        return self._books.get(version)

    async def all(self) -> Sequence[Book]:
        return tuple(self._books.values())
