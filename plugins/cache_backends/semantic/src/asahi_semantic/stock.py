"""The stock: what the tier holds, as entries with their vectors; here those that this process keeps by itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from asahi_kernel.tiers import CacheRow, newest
from asahi_semantic.entries import Entries, Entry, Record, row_of
from asahi_semantic.keeping import Keeper
from asahi_semantic.parts import Parts

if TYPE_CHECKING:
    from asahi_kernel.room import Room
    from asahi_semantic.parts import Place
    from asahi_semantic.tenant import Tenant

Detach: TypeAlias = Callable[[Coroutine[Any, Any, None]], object]
#: Entries that are looked at, or forgotten, before others have their turn.
_LOOKED_AT, _FORGOTTEN = 2_000, 100


class Stock(Protocol):
    """Every method that looks takes the org, and gives nothing of another."""

    def exact(self, org: str, alias: bytes) -> Entry | None: ...
    async def near(self, org: str, place: Place, limit: int) -> Sequence[tuple[Entry, float]]: ...
    def has(self, entry: Entry) -> bool: ...
    def record(self, org: str, answer: str) -> Record: ...
    def used(self, entry: Entry) -> None: ...
    async def keep(self, entry: Entry, place: Place) -> None: ...
    async def evict(self, org: str, entry_id: str) -> bool: ...
    async def clear(self, org: str) -> int: ...
    async def hear(self, org: str, entry_id: str | None, moment: float) -> None: ...
    async def expire(self) -> int: ...
    async def sweep(self, org: str) -> int: ...
    async def trim(self, org: str) -> int: ...
    async def ids(self, org: str) -> Sequence[str]: ...
    def rows(self, org: str, before: str | None) -> AsyncIterator[CacheRow]: ...
    async def sizes(self, org: str) -> tuple[int, int]: ...
    def held(self) -> tuple[int, int]: ...
    async def scrub(self) -> None: ...
    async def load(self, tenant: Callable[[str], Tenant]) -> None: ...


class OwnStock:
    """Of this process alone: other workers have entries of their own, and are told what to forget. While a former
    process' files are read, nothing is looked up or kept, and what is to be forgotten is only noted."""

    def __init__(
        self,
        entries: Entries,
        parts: Parts,
        keeper: Keeper,
        clock: Callable[[], float],
        *,
        detach: Detach | None = None,
        room: Room | None = None,
    ) -> None:
        self._entries, self._parts, self._keeper = entries, parts, keeper
        self._clock, self._detach, self._room = clock, detach, room
        self._whole = asyncio.Event()
        self._whole.set()

    def exact(self, org: str, alias: bytes) -> Entry | None:
        found = self._entries.exact(org, alias)
        return found if found is not None and found.expires > self._clock() else None

    async def near(self, org: str, place: Place, limit: int) -> Sequence[tuple[Entry, float]]:
        found = await self._parts.nearest(place, limit)
        entries = ((self._entries.find(org, match.key), match.score) for match in found)
        return [(entry, score) for entry, score in entries if entry is not None]

    def has(self, entry: Entry) -> bool:
        return self._entries.find(entry.org, entry.entry_id) is not None

    def record(self, org: str, answer: str) -> Record:
        return Record()

    def used(self, entry: Entry) -> None:
        self._entries.used(entry, self._clock())

    async def keep(self, entry: Entry, place: Place) -> None:
        body = await self._keeper.sealed(entry)
        gone = self._entries.add(entry)
        self._keeper.add(entry, body)
        work = self._parts.upsert(place, entry.entry_id, entry.org.encode())
        if self._parts.here or self._detach is None:
            await work
        else:
            self._detach(work)
        await self._erase(gone)
        if self._room is not None:
            await self._room.make(entry.org)

    async def evict(self, org: str, entry_id: str) -> bool:
        self._keeper.tell(org, entry_id)
        entry = self._entries.find(org, entry_id)
        if entry is None or not self._whole.is_set():
            return False
        entry.record.wrong += 1
        return await self._forget([entry]) == 1

    async def clear(self, org: str) -> int:
        self._keeper.tell_all(org, self._clock())
        return await self._forget(self._entries.of(org)) if self._whole.is_set() else 0

    async def hear(self, org: str, entry_id: str | None, moment: float) -> None:
        if entry_id is None:
            await self._forget([each for each in self._entries.of(org) if each.created <= moment])
        elif (entry := self._entries.find(org, entry_id)) is not None:
            await self._forget([entry])

    async def expire(self) -> int:
        gone = sum([await self.sweep(org) for org in self._entries.orgs()])
        if self._whole.is_set():
            await self._tidy()
        return gone

    async def sweep(self, org: str) -> int:
        if not self._whole.is_set():
            return 0
        ids, gone, now = self._entries.ids(org), 0, self._clock()
        for start in range(0, len(ids), _LOOKED_AT):
            found = (self._entries.find(org, entry_id) for entry_id in ids[start : start + _LOOKED_AT])
            gone += await self._forget([each for each in found if each is not None and each.expires <= now])
            await asyncio.sleep(0)
        return gone

    async def trim(self, org: str) -> int:
        """The room that all tiers of this process share sees to it."""
        return 0

    async def ids(self, org: str) -> Sequence[str]:
        await self._whole.wait()
        return list(self._entries.ids(org))

    async def rows(self, org: str, before: str | None) -> AsyncIterator[CacheRow]:
        await self._whole.wait()
        async for entry_id in newest(self._entries.ids(org), before):
            entry = self._entries.find(org, entry_id)
            if entry is not None:
                yield row_of(entry, self._entries.hits(entry))

    async def sizes(self, org: str) -> tuple[int, int]:
        return self._entries.held(org)

    def held(self) -> tuple[int, int]:
        return self._entries.held()

    def weighed(self, org: str) -> int:
        """Bytes of an org."""
        return self._entries.held(org)[1]

    def idle(self, org: str) -> float | None:
        """Seconds since the org's least recently used entry was used."""
        since = self._entries.eldest(org)
        return None if since is None else self._clock() - since

    async def shed(self, org: str) -> None:
        """Forget that entry."""
        for entry_id in self._entries.ids(org)[:1] if self._whole.is_set() else ():
            entry = self._entries.find(org, entry_id)
            if entry is not None:
                await self._forget([entry])

    async def scrub(self) -> None:
        await self._whole.wait()
        await self._tidy(always=True)

    async def load(self, tenant: Callable[[str], Tenant]) -> None:
        self._whole.clear()
        try:
            await self._parts.load()
            over: list[Entry] = []
            async for entry in self._keeper.load(tenant):
                if entry.expires > self._clock():
                    over += self._entries.add(entry)
                    await self._parts.restore(entry.namespace, entry.entry_id, entry.org, entry.context + entry.text)
            await self._parts.keep(self._entries.holds)
            for each in over:
                self._keeper.drop(each)
        finally:
            self._whole.set()

    async def _tidy(self, *, always: bool = False) -> None:
        def alive(org: str, entry_id: str) -> bool:
            return self._entries.find(org, entry_id) is not None

        await self._keeper.tidy(len(self._entries), alive, always=always)
        await self._parts.tidy(always=always)

    async def _forget(self, entries: Sequence[Entry]) -> int:
        dropped = [each for each in entries if self._entries.drop(each)]
        for start in range(0, len(dropped), _FORGOTTEN):
            await self._erase(dropped[start : start + _FORGOTTEN])
            if start:
                await asyncio.sleep(0)
        return len(dropped)

    async def _erase(self, entries: Iterable[Entry]) -> None:
        namespaces: dict[str, list[str]] = {}
        for each in entries:
            self._keeper.drop(each)
            namespaces.setdefault(each.namespace, []).append(each.entry_id)
        for namespace, keys in namespaces.items():
            await self._parts.delete(namespace, keys)
