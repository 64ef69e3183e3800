"""D3, ST-4: a PostgreSQL that is down, frozen, killed or full costs no request and doubles none."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import asyncpg
import pytest
from tests.plugins.piccolo.kit import assert_books_are_whole, batch, opened, post_until_taken, postgres
from tests.servers.postgres import Postgres

from asahi_kernel import ConfigError
from asahi_kernel.errors import Unavailable
from asahi_piccolo import migrating
from asahi_piccolo import storage as storage_module

pytestmark = pytest.mark.anyio


def config(server: Postgres, **fields: int) -> Any:
    return postgres(server.url, statement_timeout_ms=500, **fields)


async def recovered(storage: Any) -> None:
    async with asyncio.timeout(20):
        while True:
            try:
                await storage.ping()
                return
            except Unavailable:
                await asyncio.sleep(0.05)


async def test_down_at_boot_it_serves_without_and_comes_by_itself(own_postgres: Postgres) -> None:
    assert own_postgres.server is not None
    own_postgres.server.stop()
    async with opened(config(own_postgres)) as storage:
        posted = batch(3)
        for use in (storage.ping(), storage.books.post(posted), storage.events.find("here", "x")):
            with pytest.raises(Unavailable) as caught:
                await use
            assert (caught.value.status, caught.value.code) == (503, "storage_unavailable")
        own_postgres.server.start()
        await recovered(storage)
        await post_until_taken(storage, posted)
        await assert_books_are_whole(storage, "here", posted)


async def test_a_frozen_server_is_hung_up_on_in_bounded_time(own_postgres: Postgres) -> None:
    assert own_postgres.server is not None
    async with opened(config(own_postgres)) as storage:
        first, second = batch(5), batch(5)
        await storage.books.post(first)
        own_postgres.server.freeze()
        for _ in range(2):
            begun = time.monotonic()
            with pytest.raises(Unavailable):
                await storage.books.post(second)
            with pytest.raises(Unavailable):
                await storage.ping()
            assert time.monotonic() - begun < 10
        own_postgres.server.resume()
        await recovered(storage)
        await post_until_taken(storage, second)
        await post_until_taken(storage, first)
        await assert_books_are_whole(storage, "here", [*first, *second])


async def test_killed_again_and_again_under_load_nothing_is_lost_or_doubled(own_postgres: Postgres) -> None:
    server = own_postgres.server
    assert server is not None
    batches = [batch(40) for _ in range(40)]
    done = 0
    # asyncpg may leave a future of its own behind when a connection breaks; nobody waits for that one.
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)

    async with opened(config(own_postgres)) as storage:

        async def post(mine: list) -> None:
            nonlocal done
            for posted in mine:
                await post_until_taken(storage, posted, 60)
                done += 1

        async def kill() -> None:
            for wanted in (5, 15, 25):
                while done < wanted:
                    await asyncio.sleep(0.001)
                server.kill()
                await asyncio.to_thread(server.start)

        await asyncio.gather(post(batches[::2]), post(batches[1::2]), kill())
        await assert_books_are_whole(storage, "here", [each for posted in batches for each in posted])


async def test_a_restart_is_survived_by_the_pool(own_postgres: Postgres) -> None:
    assert own_postgres.server is not None
    async with opened(config(own_postgres)) as storage:
        await storage.books.post(batch(1))
        await asyncio.gather(*[storage.ping() for _ in range(8)])
        await asyncio.to_thread(own_postgres.server.restart)
        assert (await storage.events.totals("here", None)).requests == 1


async def test_too_many_clients_is_a_503_and_passes(own_postgres: Postgres) -> None:
    """LiteLLM 34929: such an error was answered 401."""
    others = []
    async with opened(config(own_postgres)) as storage:
        while True:
            try:
                others.append(await asyncpg.connect(own_postgres.url, user="asahi"))
            except asyncpg.TooManyConnectionsError:
                break
        with pytest.raises(Unavailable):
            await asyncio.gather(*[storage.events.totals("here", None) for _ in range(10)])
        for other in others:
            await other.close()
        await recovered(storage)


async def test_a_slow_statement_ends_and_leaves_the_connection_usable(own_postgres: Postgres) -> None:
    async with opened(config(own_postgres)) as storage:
        blocker = await asyncpg.connect(own_postgres.url)
        async with blocker.transaction():
            await blocker.execute("LOCK TABLE inference_events IN ACCESS EXCLUSIVE MODE")
            with pytest.raises(Unavailable):
                await storage.events.find("here", "x")
            with pytest.raises(Unavailable):
                await storage.books.post(batch(1))
        await blocker.close()
        await storage.books.post(batch(1))


async def test_a_cancelled_reader_spoils_nothing(own_postgres: Postgres) -> None:
    async with opened(config(own_postgres, pool_size=2)) as storage:
        blocker = await asyncpg.connect(own_postgres.url)
        async with blocker.transaction():
            await blocker.execute("LOCK TABLE inference_events IN ACCESS EXCLUSIVE MODE")
            for _ in range(6):
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.05):
                        await storage.events.find("here", "x")
        await blocker.close()
        assert await storage.events.find("here", "x") is None


async def test_what_waiting_cannot_mend_stops_the_start(own_postgres: Postgres) -> None:
    missing = postgres(f"{own_postgres.url.rpartition('/')[0]}/no_such_database")
    with pytest.raises(ConfigError, match="no database of this name"):
        async with opened(missing):
            pass
    with pytest.raises(ConfigError, match=r"migrations 0001.* have not run; run 'asahi db upgrade'"):
        async with opened(postgres(own_postgres.url, migrate="check")):
            pass


async def test_manual_neither_migrates_nor_looks(own_postgres: Postgres) -> None:
    async with opened(postgres(own_postgres.url, migrate="manual")) as storage:
        with pytest.raises(Unavailable, match="run 'asahi db upgrade'"):
            await storage.events.find("here", "x")


async def test_a_migration_that_takes_long_does_not_keep_the_gateway_from_serving(
    own_postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process holds the lock of migrations, and perhaps never lets go."""
    monkeypatch.setattr(storage_module, "_PATIENCE_S", 0.3)
    holder = await asyncpg.connect(own_postgres.url)
    await holder.execute("SELECT pg_advisory_lock($1)", migrating._LOCK)
    begun = time.monotonic()
    async with opened(config(own_postgres)) as storage:
        assert time.monotonic() - begun < 8
        with pytest.raises(Unavailable, match="brought up to date"):
            await storage.ping()
        await holder.close()
        await recovered(storage)
        assert await storage.books.post(batch(1)) == 1
    holder = await asyncpg.connect(own_postgres.url)
    await holder.execute("SELECT pg_advisory_lock($1)", migrating._LOCK)
    async with opened(config(own_postgres)):
        pass
    await holder.close()


async def test_a_connection_that_dies_while_it_is_given_back_spoils_nothing(own_postgres: Postgres) -> None:
    """What was committed stays committed, and is told as such."""
    async with opened(config(own_postgres)) as storage:
        await storage.ping()
        pool = storage._database._pool

        class Dying:
            """The pool, but for one thing."""

            def __getattr__(self, name: str) -> Any:
                return getattr(pool, name)

            async def release(self, connection: Any, *, timeout: float) -> None:
                await pool.release(connection, timeout=timeout)
                raise asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation")

        storage._database._pool = Dying()
        posted = batch(2)
        assert await storage.books.post(posted) == 2
        assert await storage.events.find("here", posted[0].event.request_id) == posted[0].event
        await assert_books_are_whole(storage, "here", posted)
