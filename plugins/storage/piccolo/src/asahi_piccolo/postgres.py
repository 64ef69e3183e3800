"""PostgreSQL: a pool that connects when first asked and again after every loss, and never waits without an end."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeVar

from asahi_kernel.errors import AsahiError
from asahi_piccolo.database import Gate, Lock, Row, Statement, Value, unavailable
from asahi_piccolo.failures import postgres_failures

if TYPE_CHECKING:
    from asyncpg import Connection, Pool

log = logging.getLogger(__name__)
T = TypeVar("T")
#: The server ends a statement by itself; a frozen one cannot, so we wait a little longer and then hang up.
_GRACE_S = 1.0
#: After a failed connection others are not tried for so long: a dead database costs each caller nothing.
_REST_S = 0.3
_IDLE_S = 300.0
#: Given up when the connection goes back to the pool.
_LOCK_TIMEOUT = "SET lock_timeout = 500"


class Postgres:
    """A database. Nothing is connected before the first statement."""

    def __init__(self, url: str, pool_size: int, timeout_ms: int, gate: Gate) -> None:
        self._url = url
        self._size = pool_size
        self._timeout_s = timeout_ms / 1e3
        self._gate = gate
        self._pool: Pool[Any] | None = None
        self._opening = asyncio.Lock()
        self._resting_until = 0.0

    async def fetch(self, statement: Statement, *values: Value) -> Sequence[Row]:
        """A read whose connection turns out to be dead is asked once more, on another."""
        self._gate.check()
        for last in (False, True):
            async with self._connection() as connection:
                try:
                    with postgres_failures():
                        found = await self._bounded(connection, connection.fetch(statement.postgres, *values))
                        return [dict(each) for each in found]
                except Exception:
                    if last or not _gone(connection):
                        raise
        raise AssertionError

    @asynccontextmanager
    async def transaction(self, lock: Lock | None = None) -> AsyncIterator[_Session]:
        self._gate.check()
        async with self._connection() as connection:
            session = _Session(connection, self)
            try:
                await session.begin(lock)
                yield session
            except BaseException:
                await asyncio.shield(session.undo())
                raise
            await session.commit()

    async def ping(self) -> None:
        await self.fetch(Statement("SELECT 1"))

    async def scrub(self, afresh: Statement | None = None) -> bool:
        """Rows that were deleted are taken out of the files by the server's own VACUUM; their bytes are written over
        as it needs the room, and at once where a table is written anew. Who reads the table for long, such as a backup,
        is not waited for: everybody else would wait behind us."""
        if afresh is None:
            return True
        try:
            async with self._connection() as connection:
                with postgres_failures():
                    await self._bounded(connection, connection.execute(_LOCK_TIMEOUT))
                    await self._bounded(connection, connection.execute(afresh.postgres))
        except AsahiError:
            log.warning("%s was not possible now: what an erasure removed may still lie in the files", afresh.postgres)
            return False
        return True

    async def close(self) -> None:
        if self._pool is not None:
            try:
                async with asyncio.timeout(_GRACE_S):
                    await self._pool.close()
            except TimeoutError:
                self._pool.terminate()

    async def _bounded(self, connection: Connection[Any], work: Coroutine[Any, Any, T]) -> T:
        """Hangs up on a server that does not answer. asyncpg itself would ask it, over a new connection, to stop."""
        running = asyncio.get_running_loop().create_task(work)
        try:
            done, _ = await asyncio.wait({running}, timeout=self._timeout_s + _GRACE_S)
        except asyncio.CancelledError:
            await _hang_up(connection, running)
            raise
        if not done:
            await _hang_up(connection, running)
            raise TimeoutError
        return running.result()

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Connection[Any]]:
        if time.monotonic() < self._resting_until:
            raise unavailable("the database cannot be reached")
        with postgres_failures():
            pool = await self._opened()
            connection: Any = await self._acquired(pool)
        try:
            yield connection
        finally:
            await asyncio.shield(_release(pool, connection, self._timeout_s))

    async def _acquired(self, pool: Pool[Any]) -> Any:
        try:
            return await pool.acquire(timeout=self._timeout_s)
        except TimeoutError:
            if pool.get_size() - pool.get_idle_size() >= self._size:
                raise unavailable("all connections to the database are in use") from None
            self._resting_until = time.monotonic() + _REST_S
            raise
        except Exception:
            self._resting_until = time.monotonic() + _REST_S
            raise

    async def _opened(self) -> Pool[Any]:
        if self._pool is None:
            async with self._opening:
                if self._pool is None:
                    self._pool = await self._new_pool()
        return self._pool

    async def _new_pool(self) -> Pool[Any]:
        import asyncpg

        settings = {"application_name": "asahi", "statement_timeout": str(round(self._timeout_s * 1e3))}
        return await asyncpg.create_pool(
            self._url,
            min_size=0,
            max_size=self._size,
            timeout=self._timeout_s,
            max_inactive_connection_lifetime=_IDLE_S,
            server_settings=settings,
        )


class _Session:
    def __init__(self, connection: Connection[Any], database: Postgres) -> None:
        self._connection = connection
        self._database = database
        self._transaction = connection.transaction()

    async def begin(self, lock: Lock | None) -> None:
        await self._do(lambda: self._transaction.start())
        if lock is not None:
            await self._do(lambda: self._connection.execute("SELECT pg_advisory_xact_lock($1)", lock.number))

    async def commit(self) -> None:
        await self._do(lambda: self._transaction.commit())

    async def undo(self) -> None:
        """A connection that is gone has undone it by itself, and one that cannot undo is hung up on."""
        if not _gone(self._connection):
            try:
                await self._do(lambda: self._transaction.rollback())
            except Exception:  # noqa: BLE001 - the first error is the one to tell
                _terminate(self._connection)

    async def fetch(self, statement: Statement, *values: Value) -> Sequence[Row]:
        found = await self._do(lambda: self._connection.fetch(statement.postgres, *values))
        return [dict(each) for each in found]

    async def run(self, statement: Statement, *values: Value) -> int:
        told = await self._do(lambda: self._connection.execute(statement.postgres, *values))
        count = told.rpartition(" ")[2]
        return int(count) if count.isdigit() else 0

    async def many(self, statement: Statement, rows: Sequence[Sequence[Value]]) -> None:
        if rows:
            await self._do(lambda: self._connection.executemany(statement.postgres, rows))

    async def load(self, table: str, columns: Sequence[str], rows: Iterable[Sequence[Value]]) -> None:
        names = list(columns)
        await self._do(lambda: self._connection.copy_records_to_table(table, columns=names, records=rows))

    async def _do(self, begin: Callable[[], Coroutine[Any, Any, T]]) -> T:
        with postgres_failures():
            return await self._database._bounded(self._connection, begin())


async def _hang_up(connection: Connection[Any], running: asyncio.Task[Any]) -> None:
    _terminate(connection)
    await asyncio.wait({running}, timeout=_GRACE_S)
    if not running.done():
        running.cancel()
    elif not running.cancelled():
        running.exception()


async def _release(pool: Pool[Any], connection: Connection[Any], timeout_s: float) -> None:
    """Give it back. One that dies just then leaves the pool by itself, and what was done on it before stays done."""
    with suppress(Exception):
        await pool.release(connection, timeout=timeout_s)


def _gone(connection: Connection[Any]) -> bool:
    """A connection that broke has left the pool by itself, and may then not even be asked."""
    import asyncpg

    try:
        return bool(connection.is_closed())
    except asyncpg.exceptions.InterfaceError:
        return True


def _terminate(connection: Connection[Any]) -> None:
    if not _gone(connection):
        connection.terminate()
