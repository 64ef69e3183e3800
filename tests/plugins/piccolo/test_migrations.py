"""ST-1, F7: up, down and up again on both engines, with data, by many at once, and back from a failure."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import asyncpg
import pytest
from msgspec.structs import replace
from tests.plugins.piccolo.kit import assert_books_are_whole, batch, opened, postgres, sqlite

from asahi_kernel.records import Settled
from asahi_piccolo import migrating
from asahi_piccolo.config import PostgresConfig, SqliteConfig, StorageConfig
from asahi_piccolo.engines import engine_for
from asahi_piccolo.migrations import ALL
from asahi_piccolo.migrations.columns import maybe_big
from asahi_piccolo.sqlite import make_file

pytestmark = pytest.mark.anyio

#: Product 9.2.
TABLES = {
    "inference_events",
    "api_keys",
    "audit_entries",
    "org_policies",
    "compliance_profiles",
    "tenants",
    "org_settings",
    "budgets",
    "budget_windows",
    "budget_reservations",
    "audit_checkpoints",
    "data_keys",
    "logins",
    "provider_attempts",
    "decisions",
    "event_bodies",
    "usage_rollups",
    "idempotency_keys",
    "journal_offsets",
    "dead_letters",
    "price_versions",
    "savings_ledger",
    "semantic_entries",
    "semantic_labels",
    "quality_observations",
    "feedback",
    "alerts",
    "jobs",
    "agent_states",
    "agent_outputs",
    "swarm_runs",
    "agent_profiles",
    "erasures",
    "alert_rules",
}
IDS = tuple(module.ID for module in ALL)


@pytest.fixture(params=["sqlite", "postgres"])
def config(request: pytest.FixtureRequest, tmp_path: Path) -> StorageConfig:
    if request.param == "postgres":
        return postgres(request.getfixturevalue("fresh_database_url"))
    chosen = sqlite(tmp_path)
    make_file(chosen.path)
    return chosen


async def read(config: StorageConfig, sql: str) -> list[tuple[Any, ...]]:
    if isinstance(config, SqliteConfig):
        with closing(sqlite3.connect(config.path)) as connection:
            return connection.execute(sql).fetchall()
    assert config.url is not None
    connection = await asyncpg.connect(config.url.reveal())
    try:
        return [tuple(row) for row in await connection.fetch(sql)]
    finally:
        await connection.close()


async def schema(config: StorageConfig) -> list[tuple[Any, ...]]:
    """Every table, column, type and index."""
    if isinstance(config, SqliteConfig):
        return await read(config, "SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY 1, 2")
    columns = """SELECT table_name, column_name, data_type, character_maximum_length, is_nullable
        FROM information_schema.columns WHERE table_schema = 'public' ORDER BY 1, ordinal_position"""
    indexes = "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1"
    return [*await read(config, columns), *await read(config, indexes)]


def later(**fields: Any) -> Any:
    return SimpleNamespace(**{"ID": "9999", "CREATES": (), "INDEXES": (), **fields})


async def test_up_down_and_up_again_gives_the_same_schema(config: StorageConfig) -> None:
    engine = engine_for(config)
    assert await migrating.upgrade(engine) == IDS
    whole = await schema(config)
    for down in range(1, len(IDS) + 1):
        assert await migrating.downgrade(engine, down) == IDS[::-1][:down]
        assert await migrating.upgrade(engine) == IDS[-down:]
        assert await schema(config) == whole
    assert await migrating.upgrade(engine) == ()


async def test_every_table_is_there(config: StorageConfig) -> None:
    await migrating.upgrade(engine_for(config))
    for table in TABLES:
        assert await read(config, f"SELECT count(*) FROM {table}") == [(0,)]


async def test_money_is_whole_numbers_of_64_bits(fresh_database_url: str) -> None:
    config = postgres(fresh_database_url)
    await migrating.upgrade(engine_for(config))
    sql = "SELECT data_type FROM information_schema.columns WHERE column_name LIKE '%\\_nano' GROUP BY 1"
    assert await read(config, sql) == [("bigint",)]


async def test_data_survives_what_does_not_concern_it(config: StorageConfig) -> None:
    posted = batch(50)
    async with opened(config) as storage:
        await storage.books.post(posted)
    engine = engine_for(config)
    assert await migrating.downgrade(engine, 6) == ("0007", "0006", "0005", "0004", "0003", "0002")
    assert (await migrating.status(engine)).pending == ("0002", "0003", "0004", "0005", "0006", "0007")
    async with opened(config) as storage:
        await assert_books_are_whole(storage, "here", posted)


async def test_coarse_sums_of_what_is_there_are_those_that_are_kept_meanwhile(config: StorageConfig) -> None:
    sums = """SELECT org_id, granularity, bucket, user_id, key_id, model, task_type, agent_type, cache_tier, requests,
        hits, cost_nano, saved_nano, latency_us, saved_by FROM usage_rollups ORDER BY 1, 2, 3, 4, 5, 6, 7, 8, 9"""
    async with opened(config) as storage:
        await storage.books.post(batch(200))
    kept = await read(config, sums)
    assert {"day.u", "day.k", "day.a", "day.t"} <= {row[1] for row in kept}
    engine = engine_for(config)
    assert await migrating.downgrade(engine, 3) == ("0007", "0006", "0005")
    assert {row[1] for row in await read(config, sums)} == {"minute", "hour", "day", "mins", "hours", "days"}
    assert await migrating.upgrade(engine) == ("0005", "0006", "0007")
    assert await read(config, sums) == kept


async def test_of_what_is_long_past_only_the_sums_by_day_stay(config: StorageConfig) -> None:
    async with opened(config) as storage:
        await storage.books.post([aged(each, days=400) for each in batch(20)])
        await storage.retention.sweep("here", datetime.now(UTC))
    kept = await read(config, "SELECT granularity, sum(requests) FROM usage_rollups GROUP BY 1 ORDER BY 1")
    assert kept == [(name, 20) for name in ("day", "day.a", "day.k", "day.t", "day.u", "days")]


def aged(settled: Settled, days: int) -> Settled:
    moment = settled.event.timestamp - timedelta(days=days)
    return Settled(*(replace(each, timestamp=moment) for each in (settled.event, settled.decision)))


async def test_a_column_comes_and_goes_on_a_filled_table_and_old_code_runs_on(config: StorageConfig) -> None:
    posted = batch(20)
    engine = engine_for(config)
    newer = (*ALL, later(ADDS={"inference_events": {"carbon_nano": maybe_big()}}))
    async with opened(config) as storage:
        await storage.books.post(posted)
        assert await migrating.upgrade(engine, newer) == ("9999",)
        assert await read(config, "SELECT count(*) FROM inference_events WHERE carbon_nano IS NULL") == [(20,)]
        posted += batch(5)
        await storage.books.post(posted)
    async with opened(config) as storage:
        await assert_books_are_whole(storage, "here", posted)
    assert await migrating.downgrade(engine, 1, newer) == ("9999",)
    async with opened(config) as storage:
        await assert_books_are_whole(storage, "here", posted)


async def test_a_release_does_not_undo_what_a_newer_one_did(config: StorageConfig) -> None:
    engine = engine_for(config)
    await migrating.upgrade(engine, (*ALL, later()))
    assert (await migrating.status(engine)).unknown == ("9999",)
    with pytest.raises(LookupError):
        await migrating.downgrade(engine)
    assert await migrating.upgrade(engine) == ()


async def test_a_migration_that_fails_leaves_nothing(config: StorageConfig) -> None:
    engine = engine_for(config)
    broken = (*ALL, later(INDEXES=("CREATE INDEX halfway ON jobs (org_id)", "CREATE INDEX x ON no_such_table (id)")))
    await migrating.upgrade(engine)
    before = await schema(config)
    with pytest.raises(Exception, match="no_such_table"):
        await migrating.upgrade(engine, broken)
    assert await schema(config) == before
    assert await migrating.upgrade(engine) == ()


async def test_a_preview_changes_nothing_and_is_what_an_upgrade_does(fresh_database_url: str) -> None:
    config = postgres(fresh_database_url)
    engine = engine_for(config)
    sql = await migrating.preview(engine)
    assert await schema(config) == []
    connection = await asyncpg.connect(fresh_database_url)
    await connection.execute(sql)
    by_hand = await schema(config)
    await connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    await connection.close()
    await migrating.upgrade(engine)
    ours = [row for row in await schema(config) if not str(row[0]).startswith("migration")]
    assert by_hand == ours
    assert await migrating.preview(engine) == ""


@pytest.fixture
async def racers(config: StorageConfig) -> list[asyncio.subprocess.Process]:
    return [await _upgrade(config) for _ in range(4)]


async def _upgrade(config: StorageConfig) -> asyncio.subprocess.Process:
    import json
    import os
    import sys

    if isinstance(config, PostgresConfig):
        assert config.url is not None
        table = {"type": "postgres", "url": config.url.reveal()}
    else:
        table = {"type": "sqlite", "path": config.path}
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ASAHI_")}
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "asahi_kernel.cli", "db", "upgrade", "--json"),
        env={**kept, "ASAHI_STORAGE": json.dumps(table)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def test_four_processes_at_once_migrate_once(
    config: StorageConfig, racers: list[asyncio.subprocess.Process]
) -> None:
    import json

    told = [await each.communicate() for each in racers]
    assert [each.returncode for each in racers] == [0] * 4, told
    ran = [json.loads(out)["ran"] for out, _ in told]
    assert sorted(ran) == [[], [], [], list(IDS)]
    assert await read(config, "SELECT name FROM migration ORDER BY name") == [(each,) for each in IDS]
