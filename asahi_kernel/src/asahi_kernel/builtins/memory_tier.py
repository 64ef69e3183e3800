"""The exact tier in this process: least recently used entries go first, bounded by bytes and by entries."""

from __future__ import annotations

import random
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime
from typing import Literal

from msgspec import Struct

from asahi_kernel import clock
from asahi_kernel.clock import monotonic
from asahi_kernel.identity import new_id
from asahi_kernel.settings import Cache
from asahi_kernel.tiers import CacheRow, TierStats, preview
from asahi_kernel.types import Completion, Hit, Principal, Request

#: What an entry costs besides its text: key, Struct, completion, usage, two dictionary slots.
_OVERHEAD = 1_200


class _Entry(Struct):
    entry_id: str
    org: str
    user: str | None
    completion: Completion
    size: int
    created: float
    expires: float
    query: str = ""
    document_id: str | None = None
    hits: int = 0


class MemoryTier:
    """Entries live for `ttl_seconds`, or as `life` says for their org, jittered so that they do not all expire
    together; expiry is checked on read."""

    local = True
    exact = True
    tier: Literal[1, 2, 3]

    def __init__(
        self,
        settings: Cache,
        clock: Callable[[], float] = monotonic,
        tier: Literal[1, 2, 3] = 1,
        life: Callable[[str], float] | None = None,
    ) -> None:
        self.tier = tier
        self._settings = settings
        self._clock = clock
        self._life = life or (lambda org: settings.ttl_seconds)
        self._entries: OrderedDict[bytes, _Entry] = OrderedDict()
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    def held(self) -> tuple[int, int]:
        """Entries and bytes, of all orgs together."""
        return len(self._entries), self.bytes

    async def get(self, key: bytes, request: Request, principal: Principal) -> Hit | None:
        entry = self._entries.get(key)
        if entry is None or entry.org != principal.org:
            return None
        now = self._clock()
        if entry.expires <= now:
            self._drop(key)
            return None
        self._entries.move_to_end(key)
        entry.hits += 1
        return Hit(
            completion=entry.completion,
            tier=self.tier,
            entry_id=entry.entry_id,
            age_s=now - entry.created,
            user=entry.user,
            expires_in_s=entry.expires - now,
        )

    async def put(self, key: bytes, request: Request, principal: Principal, completion: Completion) -> None:
        if key in self._entries:
            self._drop(key)
        query = preview(request)
        size = _size(completion) + _width(query)
        if size > self._settings.max_bytes:
            return
        now = self._clock()
        jitter = 1 + random.uniform(-self._settings.ttl_jitter, self._settings.ttl_jitter)
        self._entries[key] = _Entry(
            entry_id=new_id(),
            org=principal.org,
            user=principal.user,
            completion=completion,
            size=size,
            created=now,
            expires=now + self._life(principal.org) * jitter,
            query=query,
            document_id=request.document.id if request.document else None,
        )
        self.bytes += size
        while self.bytes > self._settings.max_bytes or len(self._entries) > self._settings.max_entries:
            self._drop(next(iter(self._entries)))

    async def clear(self, org: str) -> int:
        return self._drop_all(lambda entry: entry.org == org)

    async def evict(self, org: str, entry_id: str) -> bool:
        return bool(self._drop_all(lambda entry: entry.entry_id == entry_id and entry.org == org))

    async def expire(self) -> int:
        now = self._clock()
        return self._drop_all(lambda entry: entry.expires <= now)

    async def entries(self, org: str) -> Sequence[str]:
        return [entry.entry_id for entry in self._entries.values() if entry.org == org]

    async def rows(self, org: str, before: str | None = None) -> AsyncIterator[CacheRow]:
        own = [(entry.entry_id, key) for key, entry in self._entries.items() if entry.org == org]
        lag = clock.timestamp() - self._clock()
        for entry_id, key in sorted(own, reverse=True):
            entry = self._entries.get(key)
            if entry is None or entry.entry_id != entry_id or (before is not None and entry_id >= before):
                continue
            yield CacheRow(
                tier=self.tier,
                key=key.hex(),
                entry_id=entry_id,
                completion=entry.completion,
                size_bytes=entry.size,
                created_at=datetime.fromtimestamp(entry.created + lag, UTC),
                expires_at=datetime.fromtimestamp(entry.expires + lag, UTC),
                hits=entry.hits,
                query=entry.query,
                user=entry.user,
                document_id=entry.document_id,
            )

    async def sweep(self, org: str) -> int:
        now = self._clock()
        return self._drop_all(lambda entry: entry.org == org and entry.expires <= now)

    async def stats(self, org: str) -> TierStats:
        sizes = [entry.size for entry in self._entries.values() if entry.org == org]
        return TierStats(len(sizes), sum(sizes), "memory")

    def _drop_all(self, doomed: Callable[[_Entry], bool]) -> int:
        keys = [key for key, entry in self._entries.items() if doomed(entry)]
        for key in keys:
            self._drop(key)
        return len(keys)

    def _drop(self, key: bytes) -> None:
        self.bytes -= self._entries.pop(key).size


def _size(completion: Completion) -> int:
    size = _width(completion.text)
    size += sum(len(call.arguments) + len(call.name) + 200 for call in completion.tool_calls)
    return size + len(completion.message) + len(completion.choice) + _OVERHEAD


def _width(text: str) -> int:
    """Bytes in memory: a text that is not ASCII takes up to four bytes a character."""
    return len(text) if text.isascii() else 4 * len(text)
