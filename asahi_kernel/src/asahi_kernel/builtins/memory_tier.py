"""The exact tier in this process: least recently used entries go first, bounded by bytes and by entries."""

from __future__ import annotations

import asyncio
import random
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from msgspec import Struct

from asahi_kernel import clock
from asahi_kernel.clock import monotonic
from asahi_kernel.identity import new_id
from asahi_kernel.settings import Cache
from asahi_kernel.tiers import CacheRow, TierStats, newest, preview
from asahi_kernel.types import Completion, Hit, Principal, Request

if TYPE_CHECKING:
    from asahi_kernel.room import Room

#: What an entry costs besides its text: key, Struct, completion, usage, three dictionary slots.
_OVERHEAD = 1_300
#: Entries that are looked at before others have their turn.
_LOOKED_AT = 2_000


class _Entry(Struct):
    entry_id: str
    org: str
    user: str | None
    completion: Completion
    size: int
    created: float
    used: float
    expires: float
    query: str = ""
    document_id: str | None = None
    hits: int = 0


class _Holding:
    """The keys of one org in order of use, and their bytes."""

    def __init__(self) -> None:
        self.keys: OrderedDict[bytes, None] = OrderedDict()
        self.bytes = 0


class MemoryTier:
    """Entries live for `ttl_seconds`, or as `life` says for their org, jittered so that they do not all expire
    together; expiry is checked on read. By itself the tier removes them `grace` seconds later."""

    local = True
    exact = True
    tier: Literal[1, 2, 3]

    def __init__(
        self,
        settings: Cache,
        clock: Callable[[], float] = monotonic,
        tier: Literal[1, 2, 3] = 1,
        life: Callable[[str], float] | None = None,
        room: Room | None = None,
        grace: Callable[[str], float] | None = None,
    ) -> None:
        self.tier = tier
        self._settings = settings
        self._clock = clock
        self._life = life or (lambda org: settings.ttl_seconds)
        self._room = room
        self._grace = grace or (lambda org: 0.0)
        self._entries: OrderedDict[bytes, _Entry] = OrderedDict()
        self._orgs: dict[str, _Holding] = {}
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
            if entry.expires <= now - self._grace(entry.org):
                self._drop(key)
            return None
        self._entries.move_to_end(key)
        self._orgs[entry.org].keys.move_to_end(key)
        entry.hits += 1
        entry.used = now
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
            used=now,
            expires=now + self._life(principal.org) * jitter,
            query=query,
            document_id=request.document.id if request.document else None,
        )
        self.bytes += size
        held = self._orgs.setdefault(principal.org, _Holding())
        held.keys[key] = None
        held.bytes += size
        while self.bytes > self._settings.max_bytes or len(self._entries) > self._settings.max_entries:
            self._drop(next(iter(self._entries)))
        if self._room is not None:
            await self._room.make(principal.org)

    async def clear(self, org: str) -> int:
        keys = self._of(org)
        for key in keys:
            self._drop(key)
        return len(keys)

    async def evict(self, org: str, entry_id: str) -> bool:
        key = next((key for key in self._of(org) if self._entries[key].entry_id == entry_id), None)
        if key is not None:
            self._drop(key)
        return key is not None

    async def expire(self) -> int:
        gone = 0
        for org in tuple(self._orgs):
            gone += await self._sweep(org, self._clock() - self._grace(org))
            if self._room is not None:
                await self._room.make(org)
        return gone

    async def entries(self, org: str) -> Sequence[str]:
        return [self._entries[key].entry_id for key in self._of(org)]

    async def rows(self, org: str, before: str | None = None) -> AsyncIterator[CacheRow]:
        keys = {self._entries[key].entry_id: key for key in self._of(org)}
        lag = clock.timestamp() - self._clock()
        async for entry_id in newest(keys.keys(), before):
            entry = self._entries.get(keys[entry_id])
            if entry is not None and entry.entry_id == entry_id:
                yield self._row(keys[entry_id], entry, lag)

    async def sweep(self, org: str) -> int:
        return await self._sweep(org, self._clock())

    async def _sweep(self, org: str, moment: float) -> int:
        keys, gone = self._of(org), 0
        for start in range(0, len(keys), _LOOKED_AT):
            for key in keys[start : start + _LOOKED_AT]:
                entry = self._entries.get(key)
                if entry is not None and entry.org == org and entry.expires <= moment:
                    self._drop(key)
                    gone += 1
            await asyncio.sleep(0)
        return gone

    async def stats(self, org: str) -> TierStats:
        return TierStats(len(self._of(org)), self.weighed(org), "memory")

    def weighed(self, org: str) -> int:
        """Bytes of an org."""
        held = self._orgs.get(org)
        return held.bytes if held is not None else 0

    def idle(self, org: str) -> float | None:
        """Seconds since the org's least recently used entry was used."""
        held = self._orgs.get(org)
        return self._clock() - self._entries[next(iter(held.keys))].used if held is not None else None

    async def shed(self, org: str) -> None:
        """Forget that entry."""
        if (held := self._orgs.get(org)) is not None:
            self._drop(next(iter(held.keys)))

    def _of(self, org: str) -> tuple[bytes, ...]:
        held = self._orgs.get(org)
        return tuple(held.keys) if held is not None else ()

    def _row(self, key: bytes, entry: _Entry, lag: float) -> CacheRow:
        return CacheRow(
            tier=self.tier,
            key=key.hex(),
            entry_id=entry.entry_id,
            completion=entry.completion,
            size_bytes=entry.size,
            created_at=datetime.fromtimestamp(entry.created + lag, UTC),
            expires_at=datetime.fromtimestamp(entry.expires + lag, UTC),
            hits=entry.hits,
            query=entry.query,
            user=entry.user,
            document_id=entry.document_id,
        )

    def _drop(self, key: bytes) -> None:
        entry = self._entries.pop(key)
        self.bytes -= entry.size
        held = self._orgs[entry.org]
        del held.keys[key]
        held.bytes -= entry.size
        if not held.keys:
            del self._orgs[entry.org]


def _size(completion: Completion) -> int:
    size = _width(completion.text)
    size += sum(len(call.arguments) + len(call.name) + 200 for call in completion.tool_calls)
    return size + len(completion.message) + len(completion.choice) + _OVERHEAD


def _width(text: str) -> int:
    """Bytes in memory: a text that is not ASCII takes up to four bytes a character."""
    return len(text) if text.isascii() else 4 * len(text)
