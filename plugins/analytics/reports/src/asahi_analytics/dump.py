"""A dump: price books and ledger entries as JSON lines, all that a verification needs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec
from msgspec import Struct

from asahi_kernel.errors import Invalid
from asahi_kernel.ledger import Book, Entry
from asahi_kernel.protocols import Storage


class BookLine(Struct, frozen=True, tag="book"):
    """A price book."""

    book: Book


class EntryLine(Struct, frozen=True, tag="entry"):
    """A ledger entry."""

    entry: Entry


async def write(storage: Storage, orgs: list[str], out: BinaryIO) -> int:
    """Write the chains of these orgs and then the price books, which hold whatever came meanwhile; how many entries."""
    count = 0
    for org in orgs:
        async for entry in storage.ledger.entries(org):
            out.write(msgspec.json.encode(EntryLine(entry)) + b"\n")
            count += 1
    for book in await storage.prices.all():
        out.write(msgspec.json.encode(BookLine(book)) + b"\n")
    return count


class Dump:
    """A dump on disk. It is read in one pass for each org, so that its size does not matter."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.books: dict[str, Book] = {}
        orgs: dict[str, None] = {}
        for line in self._lines():
            if isinstance(line, BookLine):
                self.books[line.book.version] = line.book
            else:
                orgs[line.entry.org_id] = None
        self.orgs = list(orgs)

    async def entries(self, org: str) -> AsyncIterator[Entry]:
        """One org's chain, as it stands in the file."""
        for line in self._lines():
            if isinstance(line, EntryLine) and line.entry.org_id == org:
                yield line.entry

    def _lines(self) -> Iterator[BookLine | EntryLine]:
        decoder = msgspec.json.Decoder(BookLine | EntryLine)
        with self._path.open("rb") as file:
            for number, line in enumerate(file, 1):
                try:
                    yield decoder.decode(line)
                except msgspec.DecodeError as error:
                    raise Invalid(f"{self._path.name}, line {number}: {error}") from error
