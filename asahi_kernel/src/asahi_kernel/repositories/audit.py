"""The audit log: one hash chain for each org, and the signed sizes of both logs."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec
from msgspec import Struct

from asahi_kernel.ledger import GENESIS, Head
from asahi_kernel.repositories.records import Rows, Shape

_CHUNK = 1_000
#: Small, so that others get their turn between two of them.
_PAGE = 200


class AuditEntry(Struct, frozen=True, kw_only=True):
    """One thing that somebody did. `details` are texts, whole numbers and truths, never keys, prompts or secrets, and
    may be emptied in time: the chain rests on `details_hash`. Who did it, from where and to what may be erased: the
    chain rests on `actor_hash` and `resource_hash`, which nobody can guess back once their salts are gone. `append`
    fills in `seq`, salts and hashes."""

    entry_id: str
    timestamp: datetime
    org_id: str
    user_id: str
    action: str
    resource: str
    details: Mapping[str, Any] = {}
    ip_address: str | None = None
    user_agent: str | None = None
    result: Literal["success", "denied", "error"] = "success"
    data_classification: Literal["public", "internal", "confidential", "restricted"] = "internal"
    seq: int = 0
    actor_salt: str | None = None
    actor_hash: str | None = None
    resource_salt: str | None = None
    resource_hash: str | None = None
    details_hash: str = ""
    prev_hash: str = ""
    entry_hash: str = ""


class Checkpoint(Struct, frozen=True, kw_only=True):
    """A signed size and root of a log. It belongs to no org, so `org_id` is empty."""

    log: str
    size: int
    root: str
    signed_at: datetime
    key_id: str
    signature: str
    org_id: str = ""


class AuditQuery(Struct, frozen=True, kw_only=True):
    """Which entries to list, newest first: those in `[start, end)` that match. `before` is the `seq` that the previous
    page ended with."""

    action: str | None = None
    user_id: str | None = None
    result: str | None = None
    start: datetime | None = None
    end: datetime | None = None
    before: int | None = None
    limit: int = 100


#: Stands in the place of what was erased. No user and no resource is called so.
ERASED = "[erased]"
#: What is not in an entry's hash: it has hashes of its own, or is the hash. The second is for entries of before actors
#: and resources had one.
_APART = frozenset(
    {"details", "entry_hash", "actor_salt", "resource_salt", "user_id", "ip_address", "user_agent", "resource"}
)
_ONCE_APART = frozenset({"details", "entry_hash", "actor_salt", "resource_salt", "actor_hash", "resource_hash"})

AUDIT = Shape(table="audit_entries", record=AuditEntry, identity=("entry_id",), order="seq")
CHECKPOINTS = Shape(table="audit_checkpoints", record=Checkpoint, identity=("log", "size"), order="size")


def link(head: Head, entry: AuditEntry) -> AuditEntry:
    """The entry as the next of a chain."""
    salts = secrets.token_hex(16), secrets.token_hex(16)
    salted = msgspec.structs.replace(entry, actor_salt=salts[0], resource_salt=salts[1])
    linked = msgspec.structs.replace(
        salted,
        actor_hash=actor_digest(salted),
        resource_hash=resource_digest(salted),
        timestamp=entry.timestamp.astimezone(UTC),
        seq=head.seq + 1,
        prev_hash=head.entry_hash,
        details_hash=_sha256(entry.details),
        entry_hash="",
    )
    return msgspec.structs.replace(linked, entry_hash=digest(linked))


def digest(entry: AuditEntry) -> str:
    """SHA-256 over all fields but the hash itself, as JSON with sorted keys; details, actor and resource by their
    hashes alone."""
    apart = _APART if entry.actor_hash is not None else _ONCE_APART
    return _sha256({name: getattr(entry, name) for name in entry.__struct_fields__ if name not in apart})


def actor_digest(entry: AuditEntry) -> str:
    """SHA-256 over who did it and from where, under the entry's salt."""
    return _sha256([entry.actor_salt, entry.user_id, entry.ip_address, entry.user_agent])


def fault(head: Head, entry: AuditEntry) -> str:
    """What is wrong with an entry that should follow `head`, or nothing."""
    if entry.seq != head.seq + 1:
        return f"entry {entry.seq} follows {head.seq}: entries are missing or doubled"
    if entry.prev_hash != head.entry_hash:
        return f"entry {entry.seq} does not link to the entry before it"
    if digest(entry) != entry.entry_hash:
        return f"entry {entry.seq} was changed: its hash does not fit its content"
    if entry.details and _sha256(entry.details) != entry.details_hash:
        return f"entry {entry.seq} was changed: its details do not fit their hash"
    if entry.actor_hash is not None and not _erased(entry) and actor_digest(entry) != entry.actor_hash:
        return f"entry {entry.seq} was changed: its actor does not fit the hash"
    if entry.resource_hash is not None and not _aimless(entry) and resource_digest(entry) != entry.resource_hash:
        return f"entry {entry.seq} was changed: its resource does not fit the hash"
    return ""


def resource_digest(entry: AuditEntry) -> str:
    """SHA-256 over what it was done to, under the entry's other salt."""
    return _sha256([entry.resource_salt, entry.resource])


class Audit:
    """Entries and checkpoints. Append within `together`: blocks take turns, so a chain never forks."""

    def __init__(self, rows: Rows) -> None:
        self._entries = rows.of(AUDIT)
        self._checkpoints = rows.of(CHECKPOINTS)

    async def append(self, entries: Sequence[AuditEntry]) -> Sequence[AuditEntry]:
        """Link entries of any orgs, in this order, and keep them; as they were kept."""
        heads: dict[str, Head] = {}
        kept = []
        for entry in entries:
            if entry.org_id not in heads:
                heads[entry.org_id] = await self.head(entry.org_id)
            linked = link(heads[entry.org_id], entry)
            heads[entry.org_id] = Head(linked.seq, linked.entry_hash)
            kept.append(linked)
        await self._entries.add_all(kept)
        return kept

    async def has(self, entry: AuditEntry) -> bool:
        """Whether it was appended."""
        return bool(await self._entries.anywhere({"entry_id": entry.entry_id}))

    async def head(self, org: str) -> Head:
        """Where the org's chain ends."""
        last = await self._entries.find(org, {})
        return Head() if last is None else Head(last.seq, last.entry_hash)

    async def query(self, org: str, query: AuditQuery) -> Sequence[AuditEntry]:
        """A page. Times are looked at here, since the chain is in their order."""
        wanted = {"action": query.action, "user_id": query.user_id, "result": query.result}
        where = {name: value for name, value in wanted.items() if value is not None}
        found: list[AuditEntry] = []
        before = query.before
        while len(found) < query.limit:
            page = await self._entries.select(org, where, before=before, limit=_CHUNK)
            found += [each for each in page if _within(each.timestamp, query)]
            if len(page) < _CHUNK or (query.start is not None and page[-1].timestamp < query.start):
                break
            before = page[-1].seq
        return found[: query.limit]

    async def entries(self, org: str, after: int = 0) -> AsyncIterator[AuditEntry]:
        """In the order of the chain, in bounded memory."""
        while page := await self._entries.select(org, since=after + 1, limit=_CHUNK, newest=False):
            for entry in page:
                yield entry
            after = page[-1].seq

    async def everything(self, after: int = 0) -> AsyncIterator[tuple[int, AuditEntry]]:
        """Every org's entries in the order they were appended, each with its place, to go on after; in bounded
        memory."""
        while page := await self._entries.walk(after, _PAGE):
            for place, entry in page:
                yield place, entry
            after = page[-1][0]

    async def verify_chain(self, org: str) -> str:
        """The first fault of the org's chain, or nothing."""
        head = Head(0, GENESIS)
        async for entry in self.entries(org):
            if told := fault(head, entry):
                return told
            head = Head(entry.seq, entry.entry_hash)
        return ""

    async def empty_details(self, org: str, before: datetime) -> int:
        """Forget the details of old entries; their links stay and verify."""
        emptied = 0
        async for entry in self.entries(org):
            if entry.timestamp >= before:
                break
            if entry.details:
                emptied += await self._entries.change(org, {"entry_id": entry.entry_id}, {"details": {}})
        return emptied

    async def erase(self, org: str, user: str | None = None) -> int:
        """Forget who did what a user did, and the resources and details that name the user, or all of the org's; how
        many entries. The chain still verifies."""
        erased = 0
        async for entry in self.entries(org):
            to: dict[str, Any] = {}
            if entry.actor_hash is not None and (user is None or entry.user_id == user) and not _erased(entry):
                to |= {"user_id": ERASED, "actor_salt": "", "ip_address": None, "user_agent": None}
            if (
                entry.resource_hash is not None
                and not _aimless(entry)
                and (user is None or _names(entry.resource, user))
            ):
                to |= {"resource": ERASED, "resource_salt": ""}
            if entry.details and (user is None or _names(entry.details, user)):
                to["details"] = {}
            if to:
                erased += await self._entries.change(org, {"entry_id": entry.entry_id}, to)
        return erased

    async def checkpoint(self, checkpoint: Checkpoint) -> bool:
        """Keep a signed size; False when there is one of that log and size."""
        return await self._checkpoints.add(checkpoint)

    async def checkpoints(self, log: str, limit: int = 100) -> Sequence[Checkpoint]:
        """Largest first."""
        return await self._checkpoints.select("", {"log": log}, limit=limit)


def _names(value: Any, user: str) -> bool:
    """Whether a text in it is the user's name, or holds it as a word of its own: `ann` is not in `annual`."""
    if isinstance(value, Mapping):
        return any(_names(each, user) for pair in value.items() for each in pair)
    if isinstance(value, list | tuple):
        return any(_names(each, user) for each in value)
    return isinstance(value, str) and re.search(rf"(?<![\w-]){re.escape(user)}(?![\w-])", value) is not None


def _erased(entry: AuditEntry) -> bool:
    return (entry.user_id, entry.actor_salt, entry.ip_address, entry.user_agent) == (ERASED, "", None, None)


def _aimless(entry: AuditEntry) -> bool:
    return (entry.resource, entry.resource_salt) == (ERASED, "")


def _within(moment: datetime, query: AuditQuery) -> bool:
    return (query.start is None or moment >= query.start) and (query.end is None or moment < query.end)


def _sha256(value: Any) -> str:
    return hashlib.sha256(msgspec.json.encode(value, order="sorted")).hexdigest()
