"""ST-8: names, ids and filters are data: 500 hostile ones find what is theirs, and the statements do not change."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
from tests.plugins.piccolo.kit import batch, opened, postgres, sqlite

from asahi_kernel.errors import Unstorable
from asahi_kernel.records import EventQuery
from asahi_kernel.testing.storage_contract import claim

pytestmark = pytest.mark.anyio

_SEEDS = (
    "' OR 1=1 --",
    "'; DROP TABLE inference_events; --",
    "$1",
    "?1",
    "%s",
    "{0}",
    "${jndi}",
    "{{7*7}}",
    '"',
    "`",
    "\\",
    "%",
    "_",
    "*",
    "null",
    "NULL",
    "-1",
    "../x",
    "a\nb",
    "a'||'b",
    "] }",
    "Ａcme",
    "\u202e",
    "\u200b",
    "0x41",
)
_ENDS = (
    *("", " ", "'", '"', ";", "--", "/*", "*/", ")", "("),
    *("\\'", "::text", " UNION SELECT 1", "$$", "\t", "#", "~", "$[0]", "[]", "{}"),
)
HOSTILE = [f"{seed}{end}" for seed, end in itertools.product(_SEEDS, _ENDS)]


@pytest.mark.parametrize("engine", ["sqlite", "postgres"])
async def test_hostile_values_are_only_values(engine: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    assert len(HOSTILE) == 500
    place = sqlite(tmp_path) if engine == "sqlite" else postgres(request.getfixturevalue("fresh_database_url"))
    async with opened(place) as storage:
        bystanders = batch(10, "bystander")
        await storage.books.post(bystanders)
        shapes = _recorded(storage)
        await _use(storage, "harmless")
        before = set(shapes)
        assert before
        for hostile in HOSTILE:
            await _use(storage, hostile)
        assert set(shapes) == before
        assert (await storage.events.totals("bystander", None)).requests == 10
        assert set(await storage.retention.orgs()) == {"bystander", "harmless", *HOSTILE}


async def _use(storage: Any, value: str) -> None:
    """Every place that takes a text from outside, as org, id, filter and content."""
    fields = {"user_id": value, "key_id": value, "model_selected": value, "workflow_id": value, "task_type": value}
    (mine,) = batch(1, value, **fields, tags={value: value}, saved_by={value: 18}, client_request_id=value)
    assert await storage.books.post([mine]) == 1
    assert await storage.events.find(value, mine.event.request_id) == mine.event
    assert await storage.events.find(value, value) is None
    assert await storage.decisions.find(value, value) is None
    query = EventQuery(model=value, user_id=value, key_id=value, workflow_id=value, status="ok", tier=0)
    assert list(await storage.events.newest(value, query)) == [mine.event]
    assert {each.org_id for each in await storage.events.newest(value, EventQuery(before=value))} <= {value}
    totals = await storage.events.totals(value, None)
    assert (totals.requests, totals.saved_by, totals.cost_by_model) == (1, {value: 18}, {value: 12})
    assert [entry.org_id async for entry in storage.ledger.entries(value)] == [value]
    assert await storage.prices.find(value) is None
    assert await storage.idempotency.claim(claim(org_id=value, key=value)) is None
    await storage.idempotency.release(claim(org_id=value, key=value))


def _recorded(storage: Any) -> list[str]:
    """The text of every statement from now on."""
    seen: list[str] = []
    database = storage._database
    fetch = database.fetch

    async def recording(statement: Any, *values: Any) -> Any:
        seen.append(statement.sqlite or statement.postgres)
        return await fetch(statement, *values)

    database.fetch = recording
    return seen


async def test_a_nul_in_a_look_up_is_no_fault_of_ours(fresh_database_url: str, tmp_path: Path) -> None:
    async with opened(sqlite(tmp_path)) as storage:
        assert await storage.events.find("a\x00", "b\x00") is None
    async with opened(postgres(fresh_database_url)) as storage:
        with pytest.raises(Unstorable):
            await storage.events.find("a\x00", "b\x00")
