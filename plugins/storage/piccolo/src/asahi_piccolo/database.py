"""What both engines can do: read, and change in a transaction. Statements are fixed texts; values are only ever bound.

A statement is the same for both engines wherever their SQL is, with `$1` for the first value.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol, TypeAlias

from msgspec import Struct

from asahi_kernel.errors import Unavailable

Row: TypeAlias = Mapping[str, Any]
Value: TypeAlias = Any


class Statement(Struct, frozen=True):
    """A text for PostgreSQL, and one for SQLite where that one says it another way."""

    postgres: str
    sqlite: str = ""


class Lock(Struct, frozen=True):
    """A number that writers of one thing hold until their transaction ends. On SQLite any writer excludes all."""

    number: int


#: Whoever enters events: chains never fork, and what is already there can be seen before writing.
BOOKS = Lock(0x617361680001)
AUDIT = Lock(0x617361680002)


class Session(Protocol):
    """A transaction under way. Leaving it with an error undoes all of it."""

    async def fetch(self, statement: Statement, *values: Value) -> Sequence[Row]: ...
    async def run(self, statement: Statement, *values: Value) -> int:
        """How many rows were changed."""

    async def many(self, statement: Statement, rows: Sequence[Sequence[Value]]) -> None: ...
    async def load(self, table: str, columns: Sequence[str], rows: Iterable[Sequence[Value]]) -> None:
        """Many new rows, as fast as the engine can."""


class Database(Protocol):
    """One database. Raises `Unavailable` when it cannot be used now, and `Unstorable` for what it can never take."""

    async def fetch(self, statement: Statement, *values: Value) -> Sequence[Row]:
        """Read, by itself."""

    def transaction(self, lock: Lock | None = None) -> AbstractAsyncContextManager[Session]:
        """Change, all or nothing."""

    async def ping(self) -> None:
        """Raises `Unavailable` unless the database answers and takes writes."""

    async def scrub(self, afresh: Statement | None = None) -> bool:
        """Have the files forget what was deleted, as far as the engine can; `afresh` is what a server is told to write
        anew for it. False where that was not possible now."""

    async def close(self) -> None: ...


class Gate:
    """Closed until the schema is as it must be; says why meanwhile."""

    def __init__(self) -> None:
        self.reason = "storage is being opened"

    def open(self) -> None:
        """From now on statements go through."""
        self.reason = ""

    def check(self) -> None:
        """Raises `Unavailable` while closed."""
        if self.reason:
            raise unavailable(self.reason)


def unavailable(reason: str) -> Unavailable:
    """503: ask again, nothing is lost."""
    return Unavailable(reason, code="storage_unavailable", retry_after=1)
