"""Records in this process, with blocks of changes that are kept or undone together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from itertools import count, islice
from typing import Any, Generic, TypeAlias, TypeVar, cast

import msgspec
from msgspec import Struct

from asahi_kernel.errors import Unstorable
from asahi_kernel.repositories import Repositories
from asahi_kernel.repositories.records import EVERY, Shape, Where

T = TypeVar("T", bound=Struct)
_Undo: TypeAlias = list[tuple["_Table", Any, Any]]
_ABSENT = object()


class _Table(dict[Any, Any]):
    """Rows by identity. `lasts` knows the last row of each org where nothing was taken away since: chains ask for it
    with every entry."""

    def __init__(self) -> None:
        super().__init__()
        self.lasts: dict[str, Any] = {}


class MemoryRows:
    """Every shape's rows."""

    def __init__(self) -> None:
        self._tables: dict[str, _Table] = {}
        self._numbers = count()
        self._turn = asyncio.Lock()

    def of(self, shape: Shape[T], undo: _Undo | None = None) -> MemoryRecords[T]:
        """The records of a shape; what is changed through them can be undone by `undo`."""
        return MemoryRecords(shape, self._tables.setdefault(shape.table, _Table()), self._numbers, undo)

    @asynccontextmanager
    async def together(self) -> AsyncIterator[Repositories]:
        """Blocks take turns, and undo their own changes alone."""
        undo: _Undo = []
        async with self._turn:
            try:
                yield Repositories(_Block(self, undo))
            except BaseException:
                for table, key, old in reversed(undo):
                    table.lasts.clear()
                    if old is _ABSENT:
                        table.pop(key, None)
                    else:
                        table[key] = old
                raise


class _Block:
    def __init__(self, rows: MemoryRows, undo: _Undo) -> None:
        self._rows = rows
        self._undo = undo

    def of(self, shape: Shape[T]) -> MemoryRecords[T]:
        return self._rows.of(shape, self._undo)


class MemoryRecords(Generic[T]):
    """One shape's rows, by identity. Nothing here waits, so each step is whole."""

    def __init__(self, shape: Shape[T], table: _Table, numbers: count[int], undo: _Undo | None) -> None:
        self._shape = shape
        self._table = table
        self._numbers = numbers
        self._undo = undo

    async def add(self, record: T) -> bool:
        key = self._key(record)
        if key in self._table:
            return False
        self._set(key, record)
        return True

    async def add_all(self, records: Sequence[T]) -> None:
        keys = [self._key(record) for record in records]
        if len(set(keys)) < len(keys) or any(key in self._table for key in keys):
            raise Unstorable(f"a record of {self._shape.table} is there already")
        for key, record in zip(keys, records, strict=True):
            self._set(key, record)

    async def put(self, record: T) -> None:
        key = self._key(record)
        old = self._table.get(key)
        if old is not None and _org(old) != _org(record):
            raise Unstorable(f"a record of {self._shape.table} is another's")
        self._set(key, record)

    async def change(self, org: str, where: Where, to: Where) -> int:
        found = self._matching(org, where)
        for key, record in found:
            self._set(key, msgspec.structs.replace(record, **to))
        return len(found)

    async def remove(self, org: str, where: Where) -> int:
        found = self._matching(org, where)
        for key, _ in found:
            self._set(key, _ABSENT)
        return len(found)

    async def find(self, org: str, where: Where, *, last: bool = True) -> T | None:
        if last and not where and org in self._table.lasts:
            return cast("T", self._table.lasts[org])
        found = await self.select(org, where, limit=1, newest=last)
        if last and not where and found:
            self._table.lasts[org] = found[0]
        return found[0] if found else None

    async def select(
        self,
        org: str,
        where: Where = EVERY,
        *,
        since: datetime | int | str | None = None,
        before: datetime | int | str | None = None,
        limit: int = 100,
        newest: bool = True,
    ) -> Sequence[T]:
        found = [
            (order, record)
            for order, record in ((self._order(record), record) for _, record in self._matching(org, where))
            if (since is None or order >= since) and (before is None or order < before)
        ]
        found.sort(key=lambda each: each[0])
        if newest:
            found.reverse()
        return [record for _, record in found[:limit]]

    async def anywhere(self, where: Where, *, limit: int = 1) -> Sequence[T]:
        return [record for _, record in self._matching(None, where)[:limit]]

    async def walk(self, after: int = 0, limit: int = 100) -> Sequence[tuple[int, T]]:
        return list(enumerate(islice(self._table.values(), after, after + limit), after + 1))

    async def expire(self, field: str, moment: datetime) -> int:
        old = [key for key, record in self._table.items() if getattr(record, field) <= moment]
        for key in old:
            self._set(key, _ABSENT)
        return len(old)

    def _matching(self, org: str | None, where: Where) -> list[tuple[Any, T]]:
        return [
            (key, record)
            for key, record in self._table.items()
            if (org is None or _org(record) == org)
            and all(getattr(record, name) == value for name, value in where.items())
        ]

    def _key(self, record: T) -> Any:
        identity = self._shape.identity
        return tuple(getattr(record, name) for name in identity) if identity else next(self._numbers)

    def _order(self, record: T) -> Any:
        return getattr(record, self._shape.order)

    def _set(self, key: Any, record: Any) -> None:
        if self._undo is not None:
            self._undo.append((self._table, key, self._table.get(key, _ABSENT)))
        if record is _ABSENT or key in self._table:
            self._table.lasts.clear()
        else:
            known = self._table.lasts.get(_org(record))
            if known is not None and self._order(record) >= self._order(known):
                self._table.lasts[_org(record)] = record
        if record is _ABSENT:
            self._table.pop(key, None)
        else:
            self._table[key] = record


def _org(record: Any) -> str:
    return cast("str", record.org_id)
