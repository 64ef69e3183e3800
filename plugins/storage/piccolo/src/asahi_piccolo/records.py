"""Records as rows. Statements are put together from names that stand in the code; values, the names that people give
among them, are only ever bound."""

from __future__ import annotations

import types
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Struct

from asahi_kernel.errors import Unstorable
from asahi_kernel.keyring import Erased
from asahi_kernel.repositories.records import EVERY, Shape, Where
from asahi_kernel.repositories.subjects import owner_of
from asahi_kernel.repositories.work import DataKeys
from asahi_piccolo.database import Database, Row, Session, Statement, Value
from asahi_piccolo.eventrows import moment

if TYPE_CHECKING:
    from asahi_kernel.keyring import Keyring
    from asahi_kernel.vault import Sealer

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
    """The records of any shape, over one runner; those without sealed fields need no keyring. In a session keys are
    looked up, and made, in its transaction."""

    def __init__(self, runner: Runner | Session, keyring: Keyring | None = None, *, session: bool = False) -> None:
        self._runner = runner
        self._keyring = keyring
        self._within = DataKeys(StoredRows(runner)) if session else None

    def of(self, shape: Shape[T]) -> StoredRecords[T]:
        """The records of a shape."""
        return StoredRecords(shape, self._runner, self._keyring, self._within)


class StoredRecords(Generic[T]):
    """Rows of one table; see `asahi_kernel.repositories.records`. What is empty needs no sealing."""

    def __init__(
        self, shape: Shape[T], runner: Runner | Session, keyring: Keyring | None, within: DataKeys | None
    ) -> None:
        self._shape = shape
        self._runner = runner
        self._keyring = keyring
        self._within = within
        self._fields = _fields(shape.record)
        self._documents = _documents(shape.record)

    async def add(self, record: T) -> bool:
        """Whether it is new."""
        return await self._runner.run(_adding(self._shape, replacing=False), *await self._row(record)) > 0

    async def add_all(self, records: Sequence[T]) -> None:
        """All or none."""
        rows = [await self._row(record) for record in records]
        if rows:
            await self._runner.load(self._shape.table, [self._column(name) for name in self._fields], rows)

    async def put(self, record: T) -> None:
        """Add or replace."""
        if not await self._runner.run(_adding(self._shape, replacing=True), *await self._row(record)):
            raise Unstorable(f"a record of {self._shape.table} is another's")

    async def change(self, org: str, where: Where, to: Where) -> int:
        """Set fields."""
        given = {"org_id": org, **where}
        sealed = await self._sealed(given, to)
        values = [self._encoded(name, value) for name, value in {**to, **sealed}.items()]
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
        return [await self._record(row) for row in await self._runner.fetch(statement, *bound)]

    async def anywhere(self, where: Where, *, limit: int = 1) -> Sequence[T]:
        """In any org."""
        condition, bound = self._where(where)
        statement = joined("SELECT * FROM", self._shape.table, condition, f"ORDER BY id LIMIT ${len(bound) + 1}")
        return [await self._record(row) for row in await self._runner.fetch(statement, *bound, limit)]

    async def walk(self, after: int = 0, limit: int = 100) -> Sequence[tuple[int, T]]:
        """In the order of their numbers."""
        statement = joined("SELECT * FROM", self._shape.table, "WHERE id > $1 ORDER BY id LIMIT $2")
        return [(row["id"], await self._record(row)) for row in await self._runner.fetch(statement, after, limit)]

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

    async def _row(self, record: T) -> list[Value]:
        values = msgspec.structs.asdict(record)
        values |= await self._sealed(values, values)
        return [self._encoded(name, values[name]) for name in self._fields]

    def _encoded(self, name: str, value: Value) -> Value:
        plain = value is None or self._fields[name] != "json"
        return value if plain else msgspec.json.encode(value).decode()

    async def _sealed(self, whose: Where, values: Where) -> dict[str, bytes]:
        """Those of the values that are to be sealed, sealed."""
        filled = [name for name in self._shape.sealed if values.get(name)]
        if not filled:
            return {}
        org, place, subject = whose["org_id"], self._place(whose), owner_of(self._shape, whose)
        assert self._keyring is not None
        sealer: Sealer = self._keyring.vault
        if subject is not None:
            sealer = await self._keyring.sealing(org, subject, self._within)
        return {name: sealer.seal(org, self._shape.table, name, place, values[name]) for name in filled}

    async def _unsealed(self, row: Row) -> dict[str, Any]:
        """What lies sealed, opened; what an erasure left as if it had never been set."""
        values: dict[str, Any] = {}
        for name in self._shape.sealed:
            blob = bytes(row[name] or b"")
            if not blob:
                values[name] = row[name] if row[name] is None else b""
                continue
            assert self._keyring is not None
            try:
                sealer = await self._keyring.opening(row["org_id"], blob, self._within)
            except Erased:
                values[name] = _default(self._shape.record, name)
            else:
                values[name] = sealer.unseal(row["org_id"], self._shape.table, name, self._place(row), blob)
        return values

    async def _record(self, row: Row) -> T:
        values: dict[str, Any] = await self._unsealed(row) if self._shape.sealed else {}
        for name, kind in self._fields.items():
            if name not in values:
                value = row[self._column(name)]
                values[name] = None if value is None else _DECODERS.get(kind, _same)(value)
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


def _default(record: Any, name: str) -> Any:
    return next(field.default for field in msgspec.structs.fields(record) if field.name == name)


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
