"""SQLite: one thread that writes, a few that read, each with a connection of its own; WAL, so neither waits for the
other. Several processes may share the file: a writer holds it from the first word of its transaction."""

from __future__ import annotations

import asyncio
import os
import re
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from asahi_piccolo.database import Gate, Lock, Row, Statement, Value, unavailable
from asahi_piccolo.failures import sqlite_failures

T = TypeVar("T")
_READERS = 4
_PING_MS = 1_000
_BEGIN = "BEGIN IMMEDIATE"
_TRIES, _PAUSE_S = 50, 0.1
_PRAGMAS = (
    "journal_mode=WAL",
    "synchronous=FULL",
    "foreign_keys=ON",
    "temp_store=MEMORY",
    "cache_size=-32000",
    "secure_delete=ON",
)


class Sqlite:
    """A file. It is opened when first needed, and opened again after a fault of the disk."""

    def __init__(self, path: str, timeout_ms: int, gate: Gate) -> None:
        self._gate = gate
        self._timeout_s = timeout_ms / 1e3
        self._writer = _Worker(path, timeout_ms)
        self._writing = asyncio.Lock()
        self._readers: asyncio.Queue[_Worker] = asyncio.Queue()
        self._all = [self._writer, *(_Worker(path, timeout_ms) for _ in range(_READERS))]
        for reader in self._all[1:]:
            self._readers.put_nowait(reader)
        self._doubtful = False

    async def fetch(self, statement: Statement, *values: Value) -> Sequence[Row]:
        self._gate.check()
        try:
            async with asyncio.timeout(self._timeout_s):
                reader = await self._readers.get()
        except TimeoutError:
            raise unavailable("all connections to the database are in use") from None
        try:
            return await reader.do(lambda connection: _fetch(connection, statement, values), self._timeout_s)
        finally:
            self._readers.put_nowait(reader)

    @asynccontextmanager
    async def transaction(self, lock: Lock | None = None) -> AsyncIterator[_Session]:
        self._gate.check()
        async with self._turn():
            try:
                await self._writer.do(lambda connection: connection.execute(_BEGIN), None)
                yield _Session(self._writer)
                await self._writer.do(lambda connection: connection.execute("COMMIT"), None)
            except BaseException as error:
                self._doubtful = self._doubtful or isinstance(error, Exception)
                await asyncio.shield(self._undo())
                raise

    async def ping(self) -> None:
        """After a failed write this writes too: a full disk can be read as if nothing were wrong."""
        self._gate.check()
        async with self._turn():
            await self._writer.do(_touch if self._doubtful else _probe, None)
            self._doubtful = False

    async def scrub(self, afresh: Statement | None = None) -> bool:
        """Deleted cells are overwritten as they go; the log of changes still holds them until it is emptied, for which
        no reader may be under way."""
        for _ in range(_TRIES):
            async with self._turn():
                if not await self._writer.do(_truncate, None):
                    return True
            await asyncio.sleep(_PAUSE_S)
        raise unavailable("the database's log of changes is in use")

    async def close(self) -> None:
        for worker in self._all:
            await worker.close()

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """The writer's thread to oneself. The lock is given back only once that thread is idle."""
        try:
            async with asyncio.timeout(self._timeout_s * 2):
                await self._writing.acquire()
        except TimeoutError:
            raise unavailable("the database file is busy") from None
        try:
            yield
        finally:
            self._writing.release()

    async def _undo(self) -> None:
        with suppress(Exception):
            await self._writer.do(_rollback, None)


class _Session:
    def __init__(self, worker: _Worker) -> None:
        self._worker = worker

    async def fetch(self, statement: Statement, *values: Value) -> Sequence[Row]:
        return await self._worker.do(lambda connection: _fetch(connection, statement, values), None)

    async def run(self, statement: Statement, *values: Value) -> int:
        text, bound = _text(statement), [_bind(each) for each in values]
        return await self._worker.do(lambda connection: connection.execute(text, bound).rowcount, None)

    async def many(self, statement: Statement, rows: Sequence[Sequence[Value]]) -> None:
        text = _text(statement)
        await self._worker.do(lambda connection: connection.executemany(text, _bound(rows)), None)

    async def load(self, table: str, columns: Sequence[str], rows: Iterable[Sequence[Value]]) -> None:
        text = _insertion(table, tuple(columns))
        await self._worker.do(lambda connection: connection.executemany(text, _bound(rows)), None)


class _Worker:
    """A thread and its connection. What was begun is waited for, so that the connection is never used twice."""

    def __init__(self, path: str, timeout_ms: int) -> None:
        self._path = path
        self._timeout_ms = timeout_ms
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="asahi-sqlite")
        self._connection: sqlite3.Connection | None = None

    async def do(self, work: Callable[[sqlite3.Connection], T], timeout_s: float | None) -> T:
        """Run in the thread; a statement that takes longer is interrupted."""
        running = asyncio.get_running_loop().run_in_executor(self._thread, self._run, work)
        try:
            done, _ = await asyncio.wait({running}, timeout=timeout_s)
        except asyncio.CancelledError:
            await self._interrupt(running)
            raise
        if not done:
            await self._interrupt(running)
            raise unavailable("the database took too long")
        return running.result()

    async def close(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, self._close)
        self._thread.shutdown(wait=False)

    async def _interrupt(self, running: asyncio.Future[Any]) -> None:
        if self._connection is not None:
            self._connection.interrupt()
        await asyncio.wait({running})
        if not running.cancelled():
            running.exception()

    def _run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        with sqlite_failures():
            try:
                if self._connection is None:
                    self._connection = _connect(self._path, self._timeout_ms)
                return work(self._connection)
            except sqlite3.OperationalError as error:
                if getattr(error, "sqlite_errorname", "").startswith(("SQLITE_IOERR", "SQLITE_CANTOPEN")):
                    self._close()
                raise

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def make_file(path: str) -> None:
    """The file and its folder, for its owner's eyes only; what is there already stays as it is."""
    place = Path(path)
    place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with suppress(FileExistsError):
        os.close(os.open(place, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))


def _connect(path: str, timeout_ms: int) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=timeout_ms / 1e3, isolation_level=None, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    for pragma in _PRAGMAS:
        connection.execute("PRAGMA " + pragma)
    return connection


def _fetch(connection: sqlite3.Connection, statement: Statement, values: Sequence[Value]) -> Sequence[Row]:
    rows = connection.execute(_text(statement), [_bind(each) for each in values]).fetchall()
    return [dict(row) for row in rows]


def _rollback(connection: sqlite3.Connection) -> None:
    if connection.in_transaction:
        connection.execute("ROLLBACK")


def _truncate(connection: sqlite3.Connection) -> int:
    """Whether somebody was in the way."""
    return int(connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0])


def _probe(connection: sqlite3.Connection) -> None:
    """Whether the file can be written now: nobody holds it, and it is not read-only."""
    connection.execute(_BEGIN)
    connection.execute("ROLLBACK")


def _touch(connection: sqlite3.Connection) -> None:
    connection.execute(_BEGIN)
    try:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        connection.execute("PRAGMA user_version = 1" if version == 0 else "PRAGMA user_version = 0")
        connection.execute("COMMIT")
    finally:
        _rollback(connection)


@lru_cache(maxsize=1_000)
def _numbered(text: str) -> str:
    return re.sub(r"\$(\d+)", r"?\1", text)


def _text(statement: Statement) -> str:
    return _numbered(statement.sqlite or statement.postgres)


@lru_cache(maxsize=100)
def _insertion(table: str, columns: tuple[str, ...]) -> str:
    """From names that stand in the code, never from values."""
    names = ", ".join(f'"{column}"' for column in columns)
    places = ", ".join("?" for _ in columns)
    return " ".join(("INSERT INTO", table, f"({names})", f"VALUES ({places})"))


def _bound(rows: Iterable[Sequence[Value]]) -> list[list[Value]]:
    return [[_bind(value) for value in row] for row in rows]


def _bind(value: Value) -> Value:
    """Times as UTC text of one width, so that they sort; a list as JSON, for `json_each`."""
    kind = type(value)
    if kind is datetime:
        return stamp(value)
    if kind is list or kind is tuple:
        import msgspec

        return msgspec.json.encode([_bind(each) for each in value]).decode()
    return value


def stamp(moment: datetime) -> str:
    """A time as it stands in the file."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")
