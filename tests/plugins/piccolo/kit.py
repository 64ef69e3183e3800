"""What the storage tests share: a storage on either engine, requests whose money adds up, and proof that books are."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from asahi_kernel import Secret
from asahi_kernel.errors import Unavailable
from asahi_kernel.ledger import Head, digest, fault
from asahi_kernel.records import Settled
from asahi_kernel.rollups import GRANULARITIES, Sums, count, merge
from asahi_kernel.testing.storage_contract import BOOK, billed, settled
from asahi_kernel.vault import Vault
from asahi_piccolo.config import PostgresConfig, SqliteConfig, StorageConfig
from asahi_piccolo.storage import PiccoloStorage, open_storage

VAULT = Vault({"test": bytes(32)})


def sqlite(folder: Path, **fields: Any) -> SqliteConfig:
    return SqliteConfig(path=str(folder / "data/asahi.db"), **fields)


def postgres(url: str, **fields: Any) -> PostgresConfig:
    return PostgresConfig(url=Secret(url), **fields)


@asynccontextmanager
async def opened(config: StorageConfig) -> AsyncIterator[PiccoloStorage]:
    async with open_storage(config, VAULT) as storage:
        yield storage


def batch(size: int, org: str = "here", **fields: Any) -> list[Settled]:
    return settled(*[billed(org, **fields) for _ in range(size)])


async def post_until_taken(storage: PiccoloStorage, posted: Sequence[Settled], deadline_s: float = 30) -> None:
    """As the journal does: the same batch again until it is taken."""
    async with asyncio.timeout(deadline_s):
        while True:
            try:
                await storage.books.post(posted)
                return
            except Unavailable:
                await asyncio.sleep(0.05)


async def assert_books_are_whole(
    storage: PiccoloStorage, org: str, posted: Sequence[Settled], *, priced: bool = True
) -> None:
    """Every request once: as an event, in the sums of each granularity, and in one unbroken chain. `priced` requests
    also cost what `BOOK` says."""
    ids = sorted(each.event.request_id for each in posted)
    first = min(each.event.timestamp for each in posted).replace(hour=0, minute=0, second=0, microsecond=0)
    last = max(each.event.timestamp for each in posted).replace(microsecond=999_999)
    found = [event async for event in storage.events.between(org, first, last)]
    assert sorted(event.request_id for event in found) == ids
    assert {event.request_id: event for event in found} == {each.event.request_id: each.event for each in posted}
    by_hand = Sums()
    for event in found:
        count(by_hand, event)
    for granularity in GRANULARITIES:
        sums = Sums()
        async for rollup in storage.rollups.between(org, granularity, first, last):
            merge(sums, rollup.sums)
        assert sums == by_hand, granularity
    head = Head()
    chained = []
    async for entry in storage.ledger.entries(org):
        assert (entry.seq, entry.prev_hash, entry.entry_hash) == (head.seq + 1, head.entry_hash, digest(entry))
        assert not priced or fault(head, entry, BOOK) == ""
        head = Head(entry.seq, entry.entry_hash)
        chained.append(entry.request_id)
    assert sorted(chained) == ids
