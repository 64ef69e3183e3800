"""Records as rows. Statements are put together from names that stand in the code; values, the names that people give
among them, are only ever bound."""

from __future__ import annotations

import types
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, Generic, Protocol, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Struct

from asahi_kernel.errors import Unstorable
from asahi_kernel.repositories.records import EVERY, Shape, Where
from asahi_piccolo.database import Database, Row, Session, Statement, Value
from asahi_piccolo.eventrows import moment
from asahi_piccolo.keeping import Sealer

T = TypeVar("T", bound=Struct)


class Runner(Protocol):
    """Runs statements: each in a transaction of its own, or all in one that is under way."""

    async def fetch(self, statement: Statement, *values: Value) -> Sequence[Row]: ...
    async def run(self, statement: Statement, *values: Value) -> int: ...
    async def load(self, table: str, columns: Sequence[str], rows: Iterable[Sequence[Value]]) -> None: ...


class Alone:
    """Each statement by itself."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def fetch(self, statement: Statement, *values: Value) -> Sequence[Row]:
        """Read."""
        return await self._database.fetch(statement, *values)

    async def run(self, statement: Statement, *values: Value) -> int:
        """Change."""
        async with self._database.transaction() as session:
            return await session.run(statement, *values)

    async def load(self, table: str, columns: Sequence[str], rows: Iterable[Sequence[Value]]) -> None:
        """Add many."""
        async with self._database.transaction() as session:
            await session.load(table, columns, rows)


class StoredRows:
    """The records of any shape, over one runner."""

    def __init__(self, runner: Runner | Session, sealer: Sealer) -> None:
        self._runner = runner
        self._sealer = sealer

    def of(self, shape: Shape[T]) -> StoredRecords[T]:
        """The records of a shape."""
        return StoredRecords(shape, self._runner, self._sealer)


class StoredRecords(Generic[T]):
    """Rows of one table; see `asahi_kernel.repositories.records`."""

    def __init__(self, shape: Shape[T], runner: Runner | Session, sealer: Sealer) -> None:
        self._shape = shape
        self._runner = runner
        self._sealer = sealer
        self._fields = _fields(shape.record)
        self._documents = _documents(shape.record)

    async def add(self, record: T) -> bool:
        """Whether it is new."""
        return await self._runner.run(_adding(self._shape, replacing=False), *self._row(record)) > 0

    async def add_all(self, records: Sequence[T]) -> None:
        """All or none."""
        rows = [self._row(record) for record in records]
        if rows:
            await self._runner.load(self._shape.table, [self._column(name) for name in self._fields], rows)

    async def put(self, record: T) -> None:
        """Add or replace."""
        if not await self._runner.run(_adding(self._shape, replacing=True), *self._row(record)):
            raise Unstorable(f"a record of {self._shape.table} is another's")

    async def change(self, org: str, where: Where, to: Where) -> int:
        """Set fields."""
        given = {"org_id": org, **where}
        row = self._place(given) if self._shape.sealed & set(to) else ""
        values = [self._encoded(org, row, name, value) for name, value in to.items()]
        sets = ", ".join(f"{self._quoted(name)} = ${number}" for number, name in enumerate(to, 1))
        condition, bound = self._where(given, len(values))
        statement = joined("UPDATE", self._shape.table, "SET", sets, condition)
        return await self._runner.run(statement, *values, *bound)

    async def remove(self, org: str, where: Where) -> int:
        """Forget."""
        condition, bound = self._where({"org_id": org, **where})
        return await self._runner.run(joined("DELETE FROM", self._shape.table, condition), *bound)

    async def find(self, org: str, where: Where, *, last: bool = True) -> T | None:
        """The last or first."""
        found = await self.select(org, where, limit=1, newest=last)
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
        """In order."""
        condition, bound = self._where({"org_id": org, **where})
        order = self._quoted(self._shape.order)
        for comparison, edge in ((">=", since), ("<", before)):
            if edge is not None:
                bound.append(edge)
                condition = f"{condition} AND {order} {comparison} ${len(bound)}"
        way = "DESC" if newest else "ASC"
        bound.append(limit)
        ending = f"ORDER BY {order} {way}, id {way} LIMIT ${len(bound)}"
        statement = joined("SELECT * FROM", self._shape.table, condition, ending)
        return [self._record(row) for row in await self._runner.fetch(statement, *bound)]

    async def anywhere(self, where: Where, *, limit: int = 1) -> Sequence[T]:
        """In any org."""
        condition, bound = self._where(where)
        statement = joined("SELECT * FROM", self._shape.table, condition, f"ORDER BY id LIMIT ${len(bound) + 1}")
        return [self._record(row) for row in await self._runner.fetch(statement, *bound, limit)]

    async def walk(self, after: int = 0, limit: int = 100) -> Sequence[tuple[int, T]]:
        """In the order of their numbers."""
        statement = joined("SELECT * FROM", self._shape.table, "WHERE id > $1 ORDER BY id LIMIT $2")
        return [(row["id"], self._record(row)) for row in await self._runner.fetch(statement, after, limit)]

    async def expire(self, field: str, moment: datetime) -> int:
        """In every org."""
        condition = f"WHERE {self._quoted(field)} <= $1"
        return await self._runner.run(joined("DELETE FROM", self._shape.table, condition), moment)

    def _where(self, where: Where, offset: int = 0) -> tuple[str, list[Value]]:
        parts, bound = [], []
        for name, value in where.items():
            if value is None:
                parts.append(f"{self._quoted(name)} IS NULL")
            else:
                bound.append(value)
                parts.append(f"{self._quoted(name)} = ${offset + len(bound)}")
        return (f"WHERE {' AND '.join(parts)}" if parts else "", bound)

    def _column(self, name: str) -> str:
        return _column(self._shape, name)

    def _quoted(self, name: str) -> str:
        if name not in self._fields:
            raise KeyError(name)
        return f'"{self._column(name)}"'

    def _row(self, record: T) -> list[Value]:
        values = msgspec.structs.asdict(record)
        place = self._place(values) if self._shape.sealed else ""
        return [self._encoded(values["org_id"], place, name, values[name]) for name in self._fields]

    def _encoded(self, org: str, row: str, name: str, value: Value) -> Value:
        if value is None:
            return None
        if name in self._shape.sealed:
            return self._sealer.seal(org, self._shape.table, name, row, value)
        return msgspec.json.encode(value).decode() if self._fields[name] == "json" else value

    def _record(self, row: Row) -> T:
        values: dict[str, Any] = {}
        place = self._place(row) if self._shape.sealed else ""
        for name, kind in self._fields.items():
            value = row[self._column(name)]
            if value is None:
                values[name] = None
            elif name in self._shape.sealed:
                values[name] = self._sealer.unseal(row["org_id"], self._shape.table, name, place, bytes(value))
            else:
                values[name] = _DECODERS.get(kind, _same)(value)
        for name, decode in self._documents.items():
            if values[name] is not None:
                values[name] = decode(values[name])
        return self._shape.record(**values)

    def _place(self, values: Where) -> str:
        return ":".join(str(values[name]) for name in self._shape.identity)


def _same(value: Value) -> Value:
    return value


_DECODERS: dict[str, Callable[[Value], Value]] = {"moment": moment, "fact": bool, "bytes": bytes, "real": float}


@lru_cache
def _fields(record: Any) -> dict[str, str]:
    """Field → how it stands in a row."""
    hints = get_type_hints(record)
    return {name: _kind(hints[name]) for name in record.__struct_fields__}


@lru_cache
def _documents(record: Any) -> dict[str, Callable[[Any], Any]]:
    hints = get_type_hints(record)
    return {name: msgspec.json.Decoder(hints[name]).decode for name, kind in _fields(record).items() if kind == "json"}


def _kind(hint: Any) -> str:
    if get_origin(hint) in (Union, types.UnionType):
        (hint,) = [each for each in get_args(hint) if each is not type(None)]
    kinds = {datetime: "moment", bool: "fact", bytes: "bytes", float: "real"}
    if hint in kinds:
        return kinds[hint]
    return "plain" if hint in (str, int) or (get_origin(hint) is not None and _literal(hint)) else "json"


def _literal(hint: Any) -> bool:
    return all(isinstance(each, str) for each in get_args(hint))


def _column(shape: Shape[Any], name: str) -> str:
    return f"{name}_nano" if name in shape.money else name


@lru_cache
def _adding(shape: Shape[Any], *, replacing: bool) -> Statement:
    record: Any = shape.record
    fields = list(_fields(record))
    columns = [f'"{_column(shape, name)}"' for name in fields]
    places = ", ".join(f"${number}" for number in range(1, len(columns) + 1))
    conflict = "ON CONFLICT DO NOTHING"
    if replacing:
        sets = ", ".join(f"{each} = EXCLUDED.{each}" for each in columns)
        same_org = f"{shape.table}.org_id = EXCLUDED.org_id"
        conflict = f"ON CONFLICT ({', '.join(shape.identity)}) DO UPDATE SET {sets} WHERE {same_org}"
    return joined("INSERT INTO", shape.table, f"({', '.join(columns)})", f"VALUES ({places})", conflict)


def joined(*parts: str) -> Statement:
    """A statement of names and words that stand in the code."""
    return Statement(" ".join(part for part in parts if part))
