"""Several processes write one database: nothing is doubled and no chain forks."""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.plugins.piccolo.kit import BOOK, opened, postgres, sqlite

from asahi_kernel.ledger import Head, fault

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
