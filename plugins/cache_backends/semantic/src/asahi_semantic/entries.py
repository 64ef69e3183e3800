"""The entries: answers with what the guards must know of their questions, found by id, by exact text, and by org."""

from __future__ import annotations

from collections import OrderedDict
from datetime import UTC, datetime

from msgspec import Struct

from asahi_kernel import Completion
from asahi_kernel.tiers import PREVIEW, CacheRow
from asahi_semantic.facts import Facts, unpack

#: A vector of 256 floats and in the index, the entry, its completion and its places in four dictionaries.
_AROUND = 3_100


class Record(Struct):
    """What was found out about one answer, shared by all entries that have it."""

    right: float = 0.0
    wrong: float = 0.0


class Entry(Struct, frozen=True, kw_only=True, gc=False):
    """One question and its answer. Entries whose answers were found equal have one `answer`; times are in seconds since
    the epoch. `packed` are the facts of the text, which as objects would take most of the memory;
    `context` was put before the text where it was embedded."""

    entry_id: str
    org: str
    user: str | None
    namespace: str
    frame: bytes
    alias: bytes
    text: str
    packed: bytes
    task: str
    answer: str
    completion: Completion
    created: float
    expires: float
    record: Record
    context: str = ""

    @property
    def facts(self) -> Facts:
        """What the guards look at."""
        return unpack(self.packed)


class Holding:
    """The entries of one org in order of use, and their bytes."""

    def __init__(self) -> None:
        self.entries: OrderedDict[str, Entry] = OrderedDict()
        self.bytes = 0


class Entries:
    """At most `most` for each org: the least recently used go first."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._orgs: dict[str, Holding] = {}
        self._aliases: dict[tuple[str, bytes], str] = {}
        self._uses: dict[str, tuple[int, float]] = {}

    def __len__(self) -> int:
        return sum(len(each.entries) for each in self._orgs.values())

    def orgs(self) -> tuple[str, ...]:
        return tuple(self._orgs)

    def held(self, org: str | None = None) -> tuple[int, int]:
        """Entries and bytes of an org, or of all."""
        found = list(self._orgs.values()) if org is None else [self._orgs[org]] if org in self._orgs else []
        return sum(len(each.entries) for each in found), sum(each.bytes for each in found)

    def ids(self, org: str) -> tuple[str, ...]:
        """Of an org's entries, the least recently used first."""
        held = self._orgs.get(org)
        return tuple(held.entries) if held else ()

    def of(self, org: str) -> tuple[Entry, ...]:
        held = self._orgs.get(org)
        return tuple(held.entries.values()) if held else ()

    def add(self, entry: Entry) -> list[Entry]:
        """Keep an entry; gives those that had to go for it, a former one of the same text included."""
        out = [former] if (former := self.exact(entry.org, entry.alias)) is not None else []
        if out:
            self.drop(out[0])
        held = self._orgs.setdefault(entry.org, Holding())
        held.entries[entry.entry_id] = entry
        held.bytes += size(entry)
        self._aliases[entry.org, entry.alias] = entry.entry_id
        while len(held.entries) > self._most:
            out.append(next(iter(held.entries.values())))
            self.drop(out[-1])
        return out

    def find(self, org: str, entry_id: str) -> Entry | None:
        """An entry of this org and no other."""
        held = self._orgs.get(org)
        entry = held.entries.get(entry_id) if held else None
        return entry if entry is not None and entry.org == org else None

    def exact(self, org: str, alias: bytes) -> Entry | None:
        """The entry of exactly this text in this frame."""
        entry_id = self._aliases.get((org, alias))
        return None if entry_id is None else self.find(org, entry_id)

    def holds(self, namespace: str, entry_id: str) -> bool:
        """Whether an entry is there, of an org that the namespace may be of."""
        return any(entry_id in held.entries for org, held in self._orgs.items() if namespace.startswith(f"{org}:"))

    def used(self, entry: Entry, now: float) -> None:
        held = self._orgs.get(entry.org)
        if held is not None and entry.entry_id in held.entries:
            held.entries.move_to_end(entry.entry_id)
            self._uses[entry.entry_id] = self.hits(entry) + 1, now

    def hits(self, entry: Entry) -> int:
        """How often it was served by this process."""
        return self._uses.get(entry.entry_id, (0, 0.0))[0]

    def eldest(self, org: str) -> float | None:
        """When the least recently used entry was used, or made."""
        held = self._orgs.get(org)
        if held is None or not held.entries:
            return None
        entry = next(iter(held.entries.values()))
        return self._uses.get(entry.entry_id, (0, entry.created))[1]

    def drop(self, entry: Entry) -> bool:
        """Forget an entry."""
        held = self._orgs.get(entry.org)
        if held is None or held.entries.pop(entry.entry_id, None) is None:
            return False
        held.bytes -= size(entry)
        self._uses.pop(entry.entry_id, None)
        if self._aliases.get((entry.org, entry.alias)) == entry.entry_id:
            del self._aliases[entry.org, entry.alias]
        if not held.entries:
            del self._orgs[entry.org]
        return True


def size(entry: Entry) -> int:
    """Bytes that an entry takes in memory, by estimate: its texts, its vector, and what Python needs around them."""
    completion = entry.completion
    texts = (entry.text, completion.text)
    told = sum(len(text) if text.isascii() else 4 * len(text) for text in texts)
    return told + len(completion.message) + len(completion.choice) + len(entry.packed) + _AROUND


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
