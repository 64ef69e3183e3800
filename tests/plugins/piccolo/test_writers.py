"""Several processes write one database: nothing is doubled and no chain forks."""

from __future__ import annotations

import asyncio
import random
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.plugins.piccolo.kit import BOOK, assert_books_are_whole, batch, opened, post_until_taken, postgres, sqlite

from asahi_kernel.ledger import Head, fault
from asahi_kernel.records import Event
from asahi_kernel.rollups import GRANULARITIES, Dimension, Sums, count
from asahi_kernel.testing.storage_contract import billed, settled

pytestmark = pytest.mark.anyio
ROOT = Path(__file__).parents[3]
PROCESSES, BATCHES, SIZE = 4, 12, 15


@pytest.mark.parametrize("engine", ["sqlite", "postgres"])
async def test_four_processes_post_each_batch_twice(
    engine: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    place = request.getfixturevalue("fresh_database_url") if engine == "postgres" else str(tmp_path)
    posters = [
        await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.plugins.piccolo.poster", place, str(BATCHES), str(SIZE)),
            cwd=ROOT,
            stderr=asyncio.subprocess.PIPE,
        )
        for _ in range(PROCESSES)
    ]
    told = [await each.communicate() for each in posters]
    assert [each.returncode for each in posters] == [0] * PROCESSES, told
    config = postgres(place) if engine == "postgres" else sqlite(tmp_path)
    async with opened(config) as storage:
        expected = PROCESSES * BATCHES * SIZE
        assert (await storage.events.totals("here", None)).requests == expected
        since = datetime.now(UTC) - timedelta(hours=5)
        assert (await storage.events.totals("here", since)).requests == expected
        head, seen = Head(), set()
        async for entry in storage.ledger.entries("here"):
            assert fault(head, entry, BOOK) == ""
            head = Head(entry.seq, entry.entry_hash)
            seen.add(entry.request_id)
        assert len(seen) == head.seq == expected


@pytest.mark.parametrize("engine", ["sqlite", "postgres"])
async def test_ten_thousand_mixed_requests_at_200_add_up_in_four_dimensions(
    engine: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """A12, ST-5, SV-4: the difference is 0, in nano-dollars."""
    dice = random.Random(5)
    now = datetime.now(UTC)
    posted = settled(*[mixed(dice, now) for _ in range(10_000)])
    config = postgres(request.getfixturevalue("fresh_database_url")) if engine == "postgres" else sqlite(tmp_path)
    async with opened(config) as storage:
        await asyncio.gather(*[post_until_taken(storage, posted[start::200], 100) for start in range(200)])
        await assert_books_are_whole(storage, "here", posted, priced=False)
        start = (now - timedelta(days=3)).replace(hour=0, minute=0, second=0, microsecond=0)
        for dimension, field in DIMENSIONS.items():
            by_hand: dict[Any, Sums] = {}
            for each in posted:
                count(by_hand.setdefault(getattr(each.event, field), Sums()), each.event)
            for granularity in GRANULARITIES:
                end = now + timedelta(days=1)
                told = await storage.rollups.grouped("here", granularity, [(start, end)], (dimension,), detail=True)
                assert {getattr(each.key, dimension): each.sums for each in told} == by_hand, (dimension, granularity)
        totals = await storage.events.totals("here", now - timedelta(hours=30))
        late = [each.event for each in posted if each.event.timestamp >= now - timedelta(hours=30)]
        assert (totals.requests, totals.cost) == (len(late), sum(event.cost or 0 for event in late))


DIMENSIONS: dict[Dimension, str] = {
    "user_id": "user_id",
    "model": "model_selected",
    "task_type": "task_type",
    "cache_tier": "cache_tier",
}


def mixed(dice: random.Random, now: datetime) -> Event:
    """Hits, failures, unknown prices and money of every size, over two days."""
    hit = dice.random() < 0.3
    cost = None if dice.random() < 0.05 else 0 if hit else dice.choice((1, 50, 10**6, 10**12)) * dice.randint(1, 99)
    baseline = 0 if cost is None else cost + dice.randint(0, 10**9)
    return billed(
        timestamp=now - timedelta(seconds=dice.random() * 172_800),
        user_id=f"user-{dice.randint(0, 6)}",
        model_selected=f"model-{dice.randint(0, 3)}",
        task_type=dice.choice(("faq", "coding", "legal")),
        status=dice.choice(("ok", "ok", "ok", "failed", "aborted")),
        cache_hit=hit,
        cache_tier=dice.randint(1, 3) if hit else 0,
        latency_ms=dice.lognormvariate(4, 1),
        quality_score=None if dice.random() < 0.2 else dice.random() * 5,
        cost=cost,
        baseline_cost=baseline,
        saved=0 if cost is None else baseline - cost,
        saved_by={} if cost is None else {"routing": baseline - cost},
        attempts=(),
        baseline_model=None,
        price_version=None,
    )


async def test_a_request_that_was_forgotten_is_not_entered_again(tmp_path: Path) -> None:
    """An old journal file comes back with its volume, after retention."""
    async with opened(sqlite(tmp_path)) as storage:
        old = batch(3)
        await storage.books.post(old)
        await storage.retention.sweep("here", datetime(2200, 1, 1, tzinfo=UTC))
        assert await storage.books.post([*old, *batch(1)]) == 1
        assert (await storage.events.totals("here", None)).requests == 4
        assert len([entry async for entry in storage.ledger.entries("here")]) == 4
