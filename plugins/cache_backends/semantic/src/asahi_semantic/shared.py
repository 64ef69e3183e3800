"""The stock in a store that all workers share: an entry lies there whole, sealed, as the payload of its vector."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from asahi_kernel.identity import first_id
from asahi_kernel.vault import Unsealable
from asahi_semantic.entries import Entries, Entry, Record, row_of
from asahi_semantic.sealing import key_of, seal, unseal

if TYPE_CHECKING:
    from asahi_kernel import Match
    from asahi_kernel.keyring import Keyring
    from asahi_kernel.tiers import CacheRow
    from asahi_kernel.vault import Sealer
    from asahi_kernel.vector_stores import SharedStore
    from asahi_semantic.keeping import Keeper
    from asahi_semantic.parts import Parts, Place
    from asahi_semantic.stock import Detach
    from asahi_semantic.tenant import Tenant

log = logging.getLogger(__name__)

#: Entries that need not be fetched and unsealed again, answers whose record is known, entries that are not to be served
#: although the store may still have them.
_CACHED, _RECORDS, _FORGOTTEN = 10_000, 50_000, 10_000
_PAGE = 200
#: A larger entry is not kept: each look-up fetches several.
_LARGEST = 64 << 10


class SharedStock:
    """What the store does not have any more is gone for every worker at once: nothing is served that it did not just
    give. This process only remembers what it has unsealed, and what it has found out about answers. `life_s` is the
    longest that an entry lives, `bound` the bytes that an org may have there."""

    def __init__(
        self,
        store: SharedStore,
        parts: Parts,
        keeper: Keeper,
        keyring: Keyring,
        clock: Callable[[], float],
        *,
        life_s: float,
        most: int,
        bound: Callable[[str], float],
        detach: Detach | None = None,
    ) -> None:
        self._store, self._parts, self._keeper, self._keyring, self._clock = store, parts, keeper, keyring, clock
        self._life_s, self._most, self._bound, self._detach = life_s, most, bound, detach
        self._entries = Entries(_CACHED)
        self._records: OrderedDict[tuple[str, str], Record] = OrderedDict()
        self._forgotten: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._touched: dict[str, set[str]] = {}

    def exact(self, org: str, alias: bytes) -> Entry | None:
        """The store must be asked: another worker may have been told to forget it."""
        return None

    async def near(self, org: str, place: Place, limit: int) -> Sequence[tuple[Entry, float]]:
        self._touched.setdefault(org, set())
        found = await self._parts.nearest(place, limit)
        entries = [(await self._opened(org, match), match.score) for match in found]
        return [(entry, score) for entry, score in entries if entry is not None]

    def has(self, entry: Entry) -> bool:
        return (entry.org, entry.entry_id) not in self._forgotten

    def record(self, org: str, answer: str) -> Record:
        found = self._records.setdefault((org, answer), Record())
        self._records.move_to_end((org, answer))
        while len(self._records) > _RECORDS:
            self._records.popitem(last=False)
        return found

    def used(self, entry: Entry) -> None:
        self._entries.used(entry, self._clock())
        self._touched.setdefault(entry.org, set()).add(entry.entry_id)

    async def keep(self, entry: Entry, place: Place) -> None:
        key = await key_of(self._keyring, entry)
        payload = b"" if key is None else seal(key, entry)
        if not 0 < len(payload) <= _LARGEST:
            return
        self._entries.add(entry)
        work = self._parts.upsert(place, entry.entry_id, payload)
        if self._detach is None:
            await work
        else:
            self._detach(work)

    async def evict(self, org: str, entry_id: str) -> bool:
        self._keeper.tell(org, entry_id)
        if (entry := self._forget(org, entry_id)) is not None:
            entry.record.wrong += 1
        return bool(await self._parts.delete(self._parts.namespace(org), [entry_id]))

    async def clear(self, org: str) -> int:
        self._keeper.tell_all(org, self._clock())
        for entry in self._entries.of(org):
            self._entries.drop(entry)
        return await self._parts.clear(self._parts.namespace(org))

    async def hear(self, org: str, entry_id: str | None, moment: float) -> None:
        if entry_id is not None:
            self._forget(org, entry_id)
            return
        gone = [entry for entry in self._entries.of(org) if entry.created <= moment and self._entries.drop(entry)]
        if gone:
            await self._parts.delete(self._parts.namespace(org), [entry.entry_id for entry in gone])

    async def expire(self) -> int:
        """Delete what is too old everywhere, and the least recently used of orgs that have too much."""
        gone = sum([await self.trim(org) for org in tuple(self._touched)])
        await self._keeper.tidy(0, lambda org, entry_id: False)
        return gone

    async def trim(self, org: str) -> int:
        namespace, ids = self._parts.namespace(org), self._touched.get(org)
        if ids:
            self._touched[org] = set()
            await self._store.touch(namespace, list(ids))
        oldest = first_id(datetime.fromtimestamp(max(0.0, self._clock() - self._life_s), UTC))
        return await self._store.trim(namespace, oldest, self._most, int(min(self._bound(org), 1 << 62)))

    async def sweep(self, org: str) -> int:
        gone = 0
        async for page in self._pages(org, None):
            opened = [(key, await self._shown(org, key, payload)) for key, payload in page]
            if dead := [key for key, entry in opened if entry is None or entry.expires <= self._clock()]:
                gone += await self._store.delete(self._parts.namespace(org), dead)
        return gone

    async def ids(self, org: str) -> Sequence[str]:
        return [key async for page in self._pages(org, None) for key, _ in page]

    async def rows(self, org: str, before: str | None) -> AsyncIterator[CacheRow]:
        async for page in self._pages(org, before):
            for key, payload in page:
                entry = await self._shown(org, key, payload)
                if entry is not None and self.has(entry):
                    yield row_of(entry, self._entries.hits(entry))

    async def sizes(self, org: str) -> tuple[int, int]:
        return await self._store.sizes(self._parts.namespace(org))

    def held(self) -> tuple[int, int]:
        return self._entries.held()

    async def scrub(self) -> None:
        await self._keeper.tidy(0, lambda org, entry_id: False, always=True)

    async def load(self, tenant: Callable[[str], Tenant]) -> None:
        """What was learnt. Entries in the file are from before the store was shared."""
        async for _ in self._keeper.load(tenant):
            pass

    async def _pages(self, org: str, before: str | None) -> AsyncIterator[Sequence[tuple[str, bytes]]]:
        while page := await self._store.page(self._parts.namespace(org), before, _PAGE):
            yield page
            before = page[-1][0]
            await asyncio.sleep(0)

    async def _opened(self, org: str, match: Match) -> Entry | None:
        if (org, match.key) in self._forgotten:
            return None
        known = self._entries.find(org, match.key)
        if known is None and (key := await self._keyring.opening_soon(org, match.payload)) is not None:
            known = self._unsealed(key, org, match.key, match.payload)
            if known is not None:
                self._entries.add(known)
        return known

    async def _shown(self, org: str, key: str, payload: bytes) -> Entry | None:
        """Raises `Unavailable` while the entry's key cannot be looked up: that is no reason to leave it out."""
        try:
            return self._unsealed(await self._keyring.opening(org, payload), org, key, payload)
        except Unsealable:
            return None

    def _unsealed(self, sealer: Sealer, org: str, key: str, payload: bytes) -> Entry | None:
        """None for what another org, another key or another version has sealed."""
        try:
            return unseal(sealer, org, key, payload, partial(self.record, org))
        except Exception as error:  # noqa: BLE001 - whatever it is, it is no entry of this org
            self._parts.note("entry")
            log.warning("an entry of the shared store cannot be opened (%s)", type(error).__name__)
            return None

    def _forget(self, org: str, entry_id: str) -> Entry | None:
        self._forgotten[org, entry_id] = None
        while len(self._forgotten) > _FORGOTTEN:
            self._forgotten.popitem(last=False)
        entry = self._entries.find(org, entry_id)
        if entry is not None:
            self._entries.drop(entry)
        return entry
