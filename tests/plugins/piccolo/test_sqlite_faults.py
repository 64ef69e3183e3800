"""A file that is locked, full or no database: told as such, nothing half-written, usable again without a restart."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.plugins.piccolo.kit import assert_books_are_whole, batch, opened, sqlite

from asahi_kernel import ConfigError
from asahi_kernel.errors import Unavailable

pytestmark = pytest.mark.anyio


def other(folder: Path) -> sqlite3.Connection:
    return sqlite3.connect(folder / "data/asahi.db", isolation_level=None)


async def test_another_writer_delays_and_readers_read_on(tmp_path: Path) -> None:
    async with opened(sqlite(tmp_path, statement_timeout_ms=300)) as storage:
        first, second = batch(3), batch(3)
        await storage.books.post(first)
        with closing(other(tmp_path)) as holder:
            holder.execute("BEGIN IMMEDIATE")
            for use in (storage.books.post(second), storage.ping()):
                with pytest.raises(Unavailable) as caught:
                    await use
                assert caught.value.code == "storage_unavailable"
            assert await storage.events.find("here", first[0].event.request_id) == first[0].event
            holder.execute("ROLLBACK")
        await storage.ping()
        await storage.books.post(second)
        await assert_books_are_whole(storage, "here", [*first, *second])


async def test_a_full_disk_refuses_whole_batches_and_is_told_until_there_is_room(tmp_path: Path) -> None:
    async with opened(sqlite(tmp_path)) as storage:
        first, second = batch(3), batch(2_000)
        await storage.books.post(first)
        worker = storage._database._writer
        (pages,) = await worker.do(lambda connection: connection.execute("PRAGMA page_count").fetchone(), None)
        await worker.do(lambda connection: connection.execute(f"PRAGMA max_page_count = {pages + 20}"), None)
        for _ in range(2):
            with pytest.raises(Unavailable, match="SQLITE_FULL"):
                await storage.books.post(second)
        await assert_books_are_whole(storage, "here", first)
        await worker.do(lambda connection: connection.execute("PRAGMA max_page_count = 1000000"), None)
        await storage.ping()
        await storage.books.post(second)
        await assert_books_are_whole(storage, "here", [*first, *second])


async def test_the_file_is_for_its_owner_only_and_survives(tmp_path: Path) -> None:
    posted = batch(4)
    async with opened(sqlite(tmp_path)) as storage:
        await storage.books.post(posted)
        for path in [tmp_path / "data", *(tmp_path / "data").iterdir()]:
            assert not stat.S_IMODE(path.stat().st_mode) & 0o077, path
    async with opened(sqlite(tmp_path)) as storage:
        await assert_books_are_whole(storage, "here", posted)


async def test_a_read_that_takes_too_long_is_interrupted(tmp_path: Path) -> None:
    from asahi_piccolo.database import Statement

    endless = Statement("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT COUNT(*) FROM n")
    async with opened(sqlite(tmp_path, statement_timeout_ms=200)) as storage:
        begun = time.monotonic()
        with pytest.raises(Unavailable, match="took too long"):
            await storage._database.fetch(endless)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await storage._database.fetch(endless)
        assert time.monotonic() - begun < 10
        assert (await storage.events.totals("here", None)).requests == 0


async def test_a_cancelled_writer_leaves_nothing_and_holds_nothing(tmp_path: Path) -> None:
    async with opened(sqlite(tmp_path)) as storage:
        posted = batch(3_000)
        for delay_s in (0.0, 0.01, 0.05, 0.1):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(delay_s):
                    await storage.books.post(posted)
        assert (await storage.events.totals("here", None)).requests in {0, 3_000}
        await storage.books.post(posted)
        await assert_books_are_whole(storage, "here", posted)


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ({"path": ":memory:"}, "storage: memory"),
        ({"path": "/proc/none/asahi.db"}, "cannot be made"),
        ({"path": "a\x00b"}, "no NUL"),
    ],
)
async def test_an_impossible_path_stops_the_start(table: dict[str, Any], told: str) -> None:
    from asahi_piccolo.config import SqliteConfig

    with pytest.raises(ConfigError, match=told):
        async with opened(SqliteConfig(**table)):
            pass


async def test_a_file_that_is_something_else_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/asahi.db").write_bytes(os.urandom(4_096))
    with pytest.raises(ConfigError, match="not an SQLite database"):
        async with opened(sqlite(tmp_path)):
            pass
