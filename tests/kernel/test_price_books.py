"""Price books lie beside the journal until storage has them."""

import asyncio
import errno
from collections import Counter

import pytest
from msgspec.structs import replace
from tests.kernel.kit import gateway_of

from asahi_kernel.journal import Journal, Receipt
from asahi_kernel.journal.books import BookShelf
from asahi_kernel.ledger import Book
from asahi_kernel.records import Settled
from asahi_kernel.settings import Journal as Settings
from asahi_kernel.testing.samples import decision, event

pytestmark = pytest.mark.anyio
BOOK = Book(version="none", effective_from="2026-01-01", source="test", prices={})


def settled(**fields):
    one = event(**fields)
    return Settled(one, decision(one))


async def test_prices_that_storage_never_saw_come_with_what_was_charged_by_them(tmp_path, monkeypatch):
    """Storage is away for the whole life of a process, and the next one has other prices."""
    old, new = (replace(BOOK, version=version) for version in ("2026-a", "2026-b"))
    settings = Settings(mode="durable", dir=str(tmp_path))
    async with gateway_of() as gateway:

        async def down(*args):
            raise OSError("down")

        with monkeypatch.context() as broken:
            broken.setattr(gateway.storage.books, "post", down)
            broken.setattr(gateway.storage.prices, "save", down)
            first = Journal(gateway.storage, {}, Counter(), settings)
            await first.open(old)
            receipt = Receipt()
            first.add(receipt, settled(price_version=old.version))
            await first.kept(receipt)
            await first.close()
        (tmp_path / "torn.book").write_bytes(b"\xff")
        later = Journal(gateway.storage, {}, Counter(), settings)
        await later.open(new)
        while not later.recovered:
            await asyncio.sleep(0.01)
        await later.close()
        assert await gateway.storage.prices.find(old.version) == old
        assert await gateway.storage.prices.find(new.version) == new
        assert [path.name for path in tmp_path.glob("*.book")] == ["torn.book"]


async def test_a_disk_that_takes_no_book_stops_nobody(tmp_path, monkeypatch):
    def full(*args):
        raise OSError(errno.ENOSPC, "no space left on device")

    monkeypatch.setattr(BookShelf, "put", full)
    async with gateway_of() as gateway:
        told = Counter()
        journal = Journal(gateway.storage, {}, told, Settings(mode="buffered", dir=str(tmp_path)))
        await journal.open(BOOK)
        journal.add(Receipt(), settled())
        await journal.close()
        assert told["journal.book"] == 1
        assert await gateway.storage.prices.find(BOOK.version) == BOOK
