"""The store: a table, a namespace in every statement, and no question that takes longer than it may."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeVar

import asyncpg

from asahi_kernel.errors import ConfigError, Unavailable
from asahi_kernel.types import Match
from asahi_pgvector import statements
from asahi_pgvector.config import StoreConfig, url_of

if TYPE_CHECKING:
    from asahi_kernel.types import Vector

log = logging.getLogger(__name__)
T = TypeVar("T")

_PREPARE_S = 30.0
#: What a question over all of a namespace may take: no request waits for it.
_LONG_S = 30.0
#: What a row takes beside payload and vector, which is in the table and in the index.
_ROW = 200
#: How long the start waits to learn whether the table fits.
_START_S = 5.0


class PgVectorStore:
    """Vectors shorter than `dimension` are filled up with zeros; longer ones are a `ValueError`."""

    def __init__(self, pool: Any, dimension: int, timeout_s: float) -> None:
        self._pool = pool
        self.dimension = dimension
        self._timeout_s = timeout_s
        self._around = 2 * 4 * dimension + _ROW
        self._prepared = False
        self._preparing: asyncio.Task[None] | None = None

    async def upsert(self, namespace: str, key: str, vector: Vector, payload: bytes) -> None:
        await self.upsert_many(namespace, [(key, vector, payload)])

    async def upsert_many(self, namespace: str, rows: Sequence[tuple[str, Vector, bytes]]) -> None:
        """All of them, or none. Of two rows with one key the later counts."""
        if not rows:
            return
        given = {key: (self._written(vector), payload) for key, vector, payload in rows}
        vectors, payloads = zip(*given.values(), strict=True)
        await self._ask(lambda c: c.execute(statements.UPSERT, namespace, list(given), list(vectors), list(payloads)))

    async def nearest(self, namespace: str, vector: Vector, limit: int) -> Sequence[Match]:
        written = self._written(vector)
        rows = await self._ask(lambda c: c.fetch(statements.NEAREST, namespace, written, limit))
        return [Match(key=row["key"], score=row["score"], payload=row["payload"]) for row in rows]

    async def delete(self, namespace: str, keys: Sequence[str] | None = None) -> int:
        if keys is None:
            told = await self._ask(lambda c: c.execute(statements.DELETE_ALL, namespace), _LONG_S)
        else:
            told = await self._ask(lambda c: c.execute(statements.DELETE, namespace, list(keys)))
        return _counted(told)

    async def count(self, namespace: str) -> int:
        """How many vectors a namespace holds."""
        return int(await self._ask(lambda c: c.fetchval(statements.COUNT, namespace)))

    async def page(self, namespace: str, before: str | None, limit: int) -> Sequence[tuple[str, bytes]]:
        """Keys with their payloads, the highest below `before` first."""
        rows = await self._ask(lambda c: c.fetch(statements.PAGE, namespace, before, limit), _LONG_S)
        return [(row["key"], row["payload"]) for row in rows]

    async def touch(self, namespace: str, keys: Sequence[str]) -> None:
        """These rows were used now."""
        await self._ask(lambda c: c.execute(statements.TOUCH, namespace, list(keys)), _LONG_S)

    async def trim(self, namespace: str, oldest: str, rows: int, size: int) -> int:
        """Delete keys below `oldest`, then the least recently used past so many rows or bytes; how many went."""
        told = await self._ask(lambda c: c.execute(statements.OLDEST, namespace, oldest), _LONG_S)
        gone, (held, weight) = _counted(told), await self.sizes(namespace)
        if held > rows or weight > size:
            around = self._around
            told = await self._ask(lambda c: c.execute(statements.TRIM, namespace, around, rows, size), _LONG_S)
            gone += _counted(told)
        return gone

    async def sizes(self, namespace: str) -> tuple[int, int]:
        """Rows, and their bytes by estimate: payloads, and what a vector and its places take."""
        row = await self._ask(lambda c: c.fetchrow(statements.SIZES, namespace, self._around), _LONG_S)
        return int(row["entries"]), int(row["size"])

    async def prepare(self) -> None:
        """Make table and index; raises `ConfigError` when there is one of another dimension."""
        if self._prepared:
            return
        if self._preparing is None or self._preparing.done():
            self._preparing = asyncio.get_running_loop().create_task(self._prepare())
        await asyncio.shield(self._preparing)

    async def close(self) -> None:
        if self._preparing is not None:
            self._preparing.cancel()
            with suppress(BaseException):
                await self._preparing
        self._pool.terminate()

    async def _prepare(self) -> None:
        async with asyncio.timeout(_PREPARE_S), self._pool.acquire() as connection, connection.transaction():
            await connection.execute(statements.LOCK)
            await connection.execute(statements.EXTENSION)
            await connection.execute(statements.DIMENSION, self.dimension)
            await connection.execute(statements.TABLE)
            await connection.execute(statements.USED)
            await connection.execute(statements.INDEX)
            known = await connection.fetchval(statements.KNOWN)
        if known != self.dimension:
            raise ConfigError(
                f"vector_stores: asahi_vectors has {known} dimensions; set 'dimension', or drop the table"
            )
        self._prepared = True

    async def _ask(self, work: Callable[[Any], Awaitable[T]], seconds: float | None = None) -> T:
        try:
            async with asyncio.timeout(seconds or self._timeout_s):
                await self.prepare()
                return await self._on_a_connection(work)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
            log.debug("pgvector failed: %s", type(error).__name__)
            raise Unavailable(f"the vector store failed ({type(error).__name__})", retry_after=1) from None

    async def _on_a_connection(self, work: Callable[[Any], Awaitable[T]]) -> T:
        """One that failed, or that was given up on, is not waited for: the server may never answer again."""
        connection = await self._pool.acquire()
        try:
            return await work(connection)
        except BaseException:
            connection.terminate()
            raise
        finally:
            await self._pool.release(connection)

    def _written(self, vector: Vector) -> str:
        """As the database reads it."""
        missing = self.dimension - len(vector)
        if missing < 0:
            raise ValueError(f"a vector of {len(vector)} dimensions does not fit into {self.dimension}")
        return f"[{','.join(map(repr, map(float, (*vector, *(0.0,) * missing))))}]"


def _counted(told: object) -> int:
    """How many rows a statement says it changed."""
    return int(str(told).rpartition(" ")[2])


@asynccontextmanager
async def opened(config: StoreConfig) -> AsyncIterator[PgVectorStore]:
    """A database that is down delays the start by nothing that matters and does not stop it."""
    timeout_s = config.timeout_ms / 1e3
    pool = await asyncpg.create_pool(
        url_of(config), min_size=0, max_size=config.pool_size, timeout=_START_S, init=_iterate, statement_cache_size=100
    )
    store = PgVectorStore(pool, config.dimension, timeout_s)
    try:
        try:
            async with asyncio.timeout(_START_S):
                await store.prepare()
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
            log.warning("pgvector cannot be used yet (%s)", type(error).__name__)
        yield store
    finally:
        await store.close()


async def _iterate(connection: Any) -> None:
    await connection.execute(statements.ITERATE)
