"""The entries: answers with what the guards must know of their questions, found by id, by exact text, and by org."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice

from msgspec import Struct

from asahi_kernel import Completion
from asahi_kernel.tiers import PREVIEW, CacheRow
from asahi_semantic.facts import Facts

#: A vector of 256 floats, the entry, its facts, its completion and its places in four dictionaries.
_AROUND = 5_200


class Record(Struct):
    """What was found out about one answer, shared by all entries that have it."""

    right: float = 0.0
    wrong: float = 0.0


class Entry(Struct, frozen=True, kw_only=True):
    """One question and its answer. Entries whose answers were found equal have one `answer`; times are in seconds since
    the epoch."""

    entry_id: str
    org: str
    user: str | None
    namespace: str
    frame: bytes
    alias: bytes
    text: str
    facts: Facts
    task: str
    answer: str
    completion: Completion
    created: float
    expires: float
    record: Record


class Entries:
    """In order of use, at most `most` for each org: the least recently used go first."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._orgs: dict[str, OrderedDict[str, Entry]] = {}
        self._aliases: dict[tuple[str, bytes], str] = {}
        self._hits: dict[str, int] = {}

    def __len__(self) -> int:
        return sum(map(len, self._orgs.values()))

    def __iter__(self) -> Iterator[Entry]:
        for entries in self._orgs.values():
            yield from entries.values()

    def of(self, org: str) -> tuple[Entry, ...]:
        entries = self._orgs.get(org)
        return tuple(entries.values()) if entries else ()

    def add(self, entry: Entry) -> list[Entry]:
        """Keep an entry; gives those that had to go for it, a former one of the same text included."""
        out = [former] if (former := self.exact(entry.org, entry.alias)) is not None else []
        entries = self._orgs.setdefault(entry.org, OrderedDict())
        entries[entry.entry_id] = entry
        over = len(entries) - len(out) - self._most
        if over > 0:
            out += [each for each in islice(entries.values(), over) if each not in out]
        for each in out:
            self.drop(each)
        self._aliases[entry.org, entry.alias] = entry.entry_id
        return out

    def find(self, org: str, entry_id: str) -> Entry | None:
        """An entry of this org and no other."""
        entries = self._orgs.get(org)
        entry = entries.get(entry_id) if entries else None
        return entry if entry is not None and entry.org == org else None

    def exact(self, org: str, alias: bytes) -> Entry | None:
        """The entry of exactly this text in this frame."""
        entry_id = self._aliases.get((org, alias))
        return None if entry_id is None else self.find(org, entry_id)

    def used(self, entry: Entry) -> None:
        self._orgs[entry.org].move_to_end(entry.entry_id)
        self._hits[entry.entry_id] = self.hits(entry) + 1

    def hits(self, entry: Entry) -> int:
        """How often it was served by this process."""
        return self._hits.get(entry.entry_id, 0)

    def drop(self, entry: Entry) -> bool:
        """Forget an entry."""
        entries = self._orgs.get(entry.org, OrderedDict())
        if entries.pop(entry.entry_id, None) is None:
            return False
        self._hits.pop(entry.entry_id, None)
        if self._aliases.get((entry.org, entry.alias)) == entry.entry_id:
            del self._aliases[entry.org, entry.alias]
        if not entries:
            del self._orgs[entry.org]
        return True


def size(entry: Entry) -> int:
    """Bytes that an entry takes in memory, by estimate: its texts, its vector, and what Python needs around them."""
    texts = (entry.text, entry.completion.text)
    return sum(len(text) if text.isascii() else 4 * len(text) for text in texts) + _AROUND


def row_of(entry: Entry, hits: int) -> CacheRow:
    """As its org may see it."""
    return CacheRow(
        tier=2,
        key=entry.alias.hex(),
        entry_id=entry.entry_id,
        completion=entry.completion,
        size_bytes=size(entry),
        created_at=datetime.fromtimestamp(entry.created, UTC),
        expires_at=datetime.fromtimestamp(entry.expires, UTC),
        hits=hits,
        query=entry.text[:PREVIEW],
        user=entry.user,
    )
