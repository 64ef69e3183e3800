"""A3, ST-7: rows that the database can never take become dead letters, and no other row is lost."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from tests.plugins.piccolo.kit import assert_books_are_whole, batch, opened, postgres, sqlite

from asahi_kernel.errors import Unavailable, Unstorable
from asahi_kernel.journal.applying import Applier
from asahi_kernel.records import Settled

pytestmark = pytest.mark.anyio
NUL = "one\x00two"


async def applied(storage: Any, posted: list[Settled]) -> Counter[str]:
    """As the journal applies them, again and again until it is done."""
    faults: Counter[str] = Counter()
    applier = Applier(storage, {}, faults, lambda letters: pytest.fail("a dead letter found no place"))
    for _ in range(50):
        if await applier.apply(posted):
            return faults
    raise AssertionError("never applied")


@pytest.mark.parametrize(
    "fields",
    [
        {"routing_reason": NUL},
        {"tags": {"a": NUL}},
        {"model_selected": "m" * 5_000},
        {"provider": "\ud800"},
        {"cost": 1 << 64},
        {"input_tokens": 1 << 40},
    ],
    ids=["nul", "nul in json", "long", "surrogate", "money", "tokens"],
)
async def test_a_value_postgres_cannot_take_is_told_as_such(fields: dict[str, Any], fresh_database_url: str) -> None:
    async with opened(postgres(fresh_database_url)) as storage:
        bad = batch(1, **fields)
        with pytest.raises(Unstorable) as caught:
            await storage.books.post([*batch(2), *bad])
        assert "two" not in str(caught.value)
        assert (await storage.events.totals("here", None)).requests == 0
        good = batch(40)
        faults = await applied(storage, [*good[:17], *bad, *good[17:]])
        assert faults["dead_letters"] == await storage.dead_letters.count() == 1
        await assert_books_are_whole(storage, "here", good)


@pytest.mark.parametrize("fields", [{"provider": "\ud800"}, {"cost": 1 << 64}], ids=["surrogate", "money"])
async def test_a_value_sqlite_cannot_take_is_told_as_such(fields: dict[str, Any], tmp_path: Path) -> None:
    async with opened(sqlite(tmp_path)) as storage:
        good, bad = batch(40), batch(1, **fields)
        faults = await applied(storage, [*good[:17], *bad, *good[17:]])
        assert faults["dead_letters"] == await storage.dead_letters.count() == 1
        await assert_books_are_whole(storage, "here", good)


@pytest.mark.parametrize("state", ["40P01", "23514", "53100", "XX000"])
async def test_rows_that_a_trigger_refuses_are_dead_letters(state: str, fresh_database_url: str) -> None:
    """LiteLLM 33873: one such row took the batch with it."""
    async with opened(postgres(fresh_database_url)) as storage:
        await storage.ping()
        connection = await asyncpg.connect(fresh_database_url)
        await connection.execute(
            f"""CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                IF NEW.provider = 'bad' THEN RAISE EXCEPTION 'no' USING ERRCODE = '{state}'; END IF; RETURN NEW;
            END $$;
            CREATE TRIGGER refuse BEFORE INSERT ON inference_events FOR EACH ROW EXECUTE FUNCTION refuse()"""
        )
        await connection.close()
        good, bad = batch(60), batch(3, provider="bad")
        with pytest.raises(Unstorable if state.startswith("23") else Unavailable):
            await storage.books.post([*good, *bad])
        faults = await applied(storage, [*good[:20], bad[0], *good[20:40], bad[1], bad[2], *good[40:]])
        assert faults["dead_letters"] == await storage.dead_letters.count() == 3
        await assert_books_are_whole(storage, "here", good)


async def test_dead_letters_lie_sealed(fresh_database_url: str) -> None:
    async with opened(postgres(fresh_database_url)) as storage:
        await applied(storage, batch(1, routing_reason=f"secret words {NUL}"))
        connection = await asyncpg.connect(fresh_database_url)
        payload = await connection.fetchval("SELECT payload FROM dead_letters")
        await connection.close()
        assert len(payload) > 300
        assert b"secret words" not in payload
