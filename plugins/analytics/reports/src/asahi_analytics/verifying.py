"""Verification of the savings ledger: from entries, price books and checkpoints alone, without the service."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterable, Mapping
from datetime import datetime

from msgspec import Struct

from asahi_analytics.checkpoints import Checkpoint, genuine
from asahi_kernel.ledger import Book, Entry, Head, fault
from asahi_kernel.pricing import price_version
from asahi_kernel.registry import reference_book

_HASHED = re.compile(r"([0-9a-f]{12})-(\d{4}-\d\d-\d\d)")
_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


class Finding(Struct, frozen=True, kw_only=True):
    """What a verification came to. `fault` names the first difference, or is empty; `checkpoints` were held against."""

    org: str
    entries: int
    saved: int
    head: Head
    checkpoints: int = 0
    fault: str = ""


def fault_of_books(books: Iterable[Book]) -> str:
    """A price book that is not what its version says, or nothing. Versions are a hash of the prices and a date; the
    reference prices are known by heart."""
    for book in books:
        if book.version == "reference-1":
            good = book.prices == reference_book().prices
        else:
            found = _HASHED.fullmatch(book.version)
            good = found is not None and price_version(book.prices.items()).startswith(found[1])
        if not good:
            return f"the price book {book.version} was changed: its prices do not fit its version"
    return ""


def fault_of_checkpoints(checkpoints: Iterable[Checkpoint], public: bytes) -> str:
    """A checkpoint that the holder of the key did not sign, or nothing."""
    for checkpoint in checkpoints:
        if not genuine(checkpoint, public):
            return (
                f"the checkpoint of {checkpoint.signed_at:%Y-%m-%d %H:%M:%S} UTC was changed, or another key signed it"
            )
    return ""


async def verify(
    org: str,
    entries: AsyncIterator[Entry],
    books: Mapping[str, Book],
    checkpoints: Iterable[Checkpoint] = (),
    since: datetime | None = None,
) -> Finding:
    """Recompute an org's chain; `books` and `checkpoints` must have been looked at before. With `since` it begins at
    the first entry of that time, whose link is taken on trust."""
    known = [each.heads[org] for each in checkpoints if org in each.heads]
    wanted: dict[int, str] = {}
    for signed in known:
        if wanted.setdefault(signed.seq, signed.entry_hash) != signed.entry_hash:
            twice = f"two checkpoints signed an entry {signed.seq} each: the chain was computed anew between them"
            return Finding(org=org, entries=0, saved=0, head=Head(), fault=twice)
    head, count, saved, begun = Head(), 0, 0, since is None
    async for entry in entries:
        if not begun:
            if since is not None and _time(entry.request_id) < since.timestamp():
                wanted.pop(entry.seq, None)
                continue
            head, begun = Head(entry.seq - 1, entry.prev_hash), True
        wrong = "it belongs to another org" if entry.org_id != org else fault(head, entry, _book(books, entry))
        if not wrong and wanted.pop(entry.seq, entry.entry_hash) != entry.entry_hash:
            wrong = f"entry {entry.seq} is not the one that a checkpoint signed: the chain was computed anew"
        if wrong:
            return Finding(org=org, entries=count, saved=saved, head=head, fault=wrong)
        head, count, saved = Head(entry.seq, entry.entry_hash), count + 1, saved + entry.saved
    short = f"the chain ends at {head.seq}, but a checkpoint signed entry {min(wanted)}" if wanted else ""
    return Finding(org=org, entries=count, saved=saved, head=head, checkpoints=len(known), fault=short)


def _book(books: Mapping[str, Book], entry: Entry) -> Book | None:
    return books.get(entry.price_version) if entry.price_version is not None else None


def _time(request_id: str) -> float:
    """The seconds since 1970 that a ULID begins with."""
    value = 0
    for letter in request_id[:10]:
        value = value << 5 | _ALPHABET.index(letter)
    return value / 1_000
