"""The exact tier on a server that all workers share. While it is away, each worker goes on with a tier of its own."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import msgspec

from asahi_kernel.builtins.memory_tier import MemoryTier
from asahi_kernel.errors import Unavailable
from asahi_kernel.identity import new_id
from asahi_kernel.repositories.subjects import subject_of
from asahi_kernel.room import bound_of
from asahi_kernel.tiers import CacheRow, TierStats, preview
from asahi_kernel.types import Hit
from asahi_kernel.vault import Unsealable
from asahi_kernel.wanting import exact_life
from asahi_redis.link import Away
from asahi_redis.scripts import EVICT, PUT, TRIM, TURN
from asahi_redis.space import Entry, Space, generation_key, of_org, oldest, seal, sealed, split, unseal

if TYPE_CHECKING:
    from asahi_kernel.gateway import Gateway
    from asahi_kernel.types import Completion, Principal, Request
    from asahi_kernel.vault import Sealer
    from asahi_redis.link import Link

log = logging.getLogger(__name__)
T = TypeVar("T")

#: Most questions under way whose generation is remembered; most entries whose hits wait to be told.
_MOST_EXPECTED = 16_384
_PAGE = 200
#: The longest life that an org may wish for its answers: what is younger may be alive.
_LONGEST_S = 8_760 * 3_600
#: Holdings up to this size are counted, larger ones estimated from so many.
_SAMPLE = 1_000
#: As many go in one step at most.
_SHED = 1_000
#: What an entry weighs in the server beside its value: its names, and its places in the index and among the sizes.
_AROUND = 600


class RedisTier:
    """An org's entries are those of its present generation, a number that `clear` replaces: what was asked before and
    is answered after it is not kept. Every look-up reads the number and the entry in one command."""

    exact = True
    guarded = True
    tier: Literal[1, 2, 3] = 1

    def __init__(self, link: Link, gateway: Gateway, prefix: str) -> None:
        self._link = link
        self._client = client = link.client
        self._keyring = gateway.keyring
        self._settings = gateway.settings.cache
        self._prefix = prefix
        self._life = exact_life(gateway, self._settings.ttl_seconds)
        self._bound = bound_of(gateway)
        self._spare = MemoryTier(self._settings, life=self._life)
        self._spaces: dict[str, Space] = {}
        self._expected: OrderedDict[bytes, str] = OrderedDict()
        self._untold: dict[tuple[Space, str], tuple[int, int]] = {}
        self._sweeps: set[asyncio.Task[None]] = set()
        scripts = (PUT, EVICT, TURN, TRIM)
        self._put, self._evict, self._turn, self._trim = (client.register_script(text) for text in scripts)
        link.on_return.append(self._drop_spare)

    @property
    def resting(self) -> bool:
        """Whether the server is away or takes no writes."""
        return not (self._link.up and self._link.writable)

    async def get(self, key: bytes, request: Request, principal: Principal) -> Hit | None:
        org, name = principal.org, key.hex()
        try:
            space, blob = await self._link.ask(lambda: self._find(org, name))
        except Away:
            return await self._spare.get(key, request, principal)
        entry = (
            None if blob is None else self._read(org, name, blob, await self._keyring.opening_soon(org, sealed(blob)))
        )
        now = _now()
        if entry is None or entry.expires <= now:
            self._remember(key, space.generation)
            return await self._spare.get(key, request, principal) if len(self._spare) else None
        self._count((space, name), entry.expires)
        return Hit(
            completion=entry.completion,
            tier=1,
            entry_id=entry.entry_id,
            age_s=(now - entry.created) / 1e3,
            user=entry.user,
            expires_in_s=(entry.expires - now) / 1e3,
        )

    async def put(self, key: bytes, request: Request, principal: Principal, completion: Completion) -> None:
        org, name, begun = principal.org, key.hex(), self._expected.pop(key, None)
        sealer = await self._keyring.sealing_soon(org, subject_of(org, principal.user))
        if sealer is None:
            return
        jitter = 1 + random.uniform(-self._settings.ttl_jitter, self._settings.ttl_jitter)
        lives = int(self._life(org) * jitter * 1e3)
        now = _now()
        entry = Entry(
            entry_id=new_id(),
            completion=completion,
            created=now,
            expires=now + lives,
            user=principal.user,
            query=preview(request),
            document_id=request.document.id if request.document else None,
        )
        blob = seal(sealer, org, name, entry)

        async def store() -> None:
            space = await self._current(org) if begun is None else Space(self._prefix, org, begun)
            keys = (space.entry(name), space.index, generation_key(self._prefix, org), *space.sizes)
            eldest = oldest(max(_LONGEST_S, self._settings.ttl_seconds) * (1 + self._settings.ttl_jitter))
            told = (space.generation, blob, entry.entry_id, name, lives, eldest, now, space.entry(""), _AROUND)
            await self._put(keys, (*told, int(self._bound(org))))

        try:
            await self._link.ask(store, writes=True)
        except Away:
            await self._spare.put(key, request, principal, completion)

    async def expect(self, key: bytes, principal: Principal) -> None:
        self._keyring.expect(principal.org, subject_of(principal.org, principal.user))
        with suppress(Away):
            self._remember(key, (await self._link.ask(lambda: self._current(principal.org))).generation)

    async def claim(self, key: bytes, principal: Principal, seconds: float) -> bool:
        async def take() -> bool:
            space = await self._current(principal.org)
            self._remember(key, space.generation)
            return bool(await self._client.set(space.claim(key.hex()), b"1", nx=True, px=max(1, int(seconds * 1e3))))

        try:
            return await self._link.ask(take, writes=True)
        except Away:
            return False

    async def clear(self, org: str) -> int:
        """Over at once, for all workers; the memory is given back behind the caller's back."""
        await self._spare.clear(org)

        async def turn() -> int:
            key = generation_key(self._prefix, org)
            old = await self._turn((key,), (_now(),)) if self._link.writable else await self._client.getdel(key)
            if old is None:
                return 0
            return int(await self._client.zcard(Space(self._prefix, org, old.decode()).index))

        cleared = await self._told(turn, frees=True)
        self._spaces.pop(org, None)
        task = asyncio.get_running_loop().create_task(self._unlink(org))
        self._sweeps.add(task)
        task.add_done_callback(self._sweeps.discard)
        return cleared

    async def evict(self, org: str, entry_id: str) -> bool:
        gone = await self._spare.evict(org, entry_id)

        async def remove() -> bool:
            space = await self._current(org)
            found = await self._client.zrangebylex(space.index, f"[{entry_id}", f"[{entry_id}~")
            names = [name for one, name in split(found) if one == entry_id]
            keys = [(space.entry(name), space.index, space.hits(name), *space.sizes) for name in names]
            done = [await self._evict(each, (entry_id, name)) for each, name in zip(keys, names, strict=True)]
            return any(done)

        return await self._told(remove, frees=True) or gone

    async def expire(self) -> int:
        """The server does that by itself; what is left in this process is removed."""
        return await self._spare.expire()

    async def sweep(self, org: str) -> int:
        gone = await self._spare.sweep(org)
        space = await self._told(lambda: self._current(org))
        async for page in self._pages(space, None):
            alive = {entry_id for entry_id, _, _, _ in await self._load(space, page)}
            if dead := [f"{one}{name}" for one, name in page if one not in alive]:
                await self._told(partial(self._client.zrem, space.index, *dead), frees=True)
                gone += len(dead)
        return gone

    async def trim(self, org: str) -> int:
        """Keep another bound than before."""

        async def shed() -> int:
            number = await self._client.get(generation_key(self._prefix, org))
            if number is None:
                return 0
            space = Space(self._prefix, org, number.decode())
            keys = (space.entry(""), space.index, generation_key(self._prefix, org), *space.sizes)
            told = (space.generation, _now(), space.entry(""), int(self._bound(org)))
            gone, last = 0, _SHED
            while last == _SHED:
                last = int(await self._trim(keys, told))
                gone += last
            return gone

        return await self._told(shed, frees=True)

    async def entries(self, org: str) -> Sequence[str]:
        return [row.entry_id async for row in self.rows(org)]

    async def rows(self, org: str, before: str | None = None) -> AsyncIterator[CacheRow]:
        space = await self._told(lambda: self._current(org))
        async for page in self._pages(space, before):
            for entry_id, name, blob, hits in await self._load(space, page):
                entry = await self._shown(org, name, blob)
                if entry is not None and entry.entry_id == entry_id and entry.expires > _now():
                    yield _row(entry, name, len(blob), hits + self._untold.get((space, name), (0, 0))[0])

    async def stats(self, org: str) -> TierStats:
        if not self._link.up:
            return await self._spare.stats(org)
        space = await self._told(lambda: self._current(org))

        async def measure() -> TierStats:
            held = int(await self._client.zcard(space.index))
            members = await self._client.zrandmember(space.index, _SAMPLE) if held else []
            pipeline = self._client.pipeline(transaction=False)
            for _, name in split(members):
                pipeline.strlen(space.entry(name))
            sizes = [int(size) for size in await pipeline.execute() if size] if members else []
            share = held / len(members) if members else 0.0
            return TierStats(round(len(sizes) * share), round(sum(sizes) * share), "redis")

        return await self._told(measure)

    async def tell(self) -> None:
        """Add the hits of this process to those of the others, and say when they were. What cannot be told is dropped:
        they are no promise."""
        untold, self._untold = self._untold, {}
        if not untold:
            return

        async def add() -> None:
            pipeline = self._client.pipeline(transaction=False)
            for (space, name), (count, expires) in untold.items():
                pipeline.incrby(space.hits(name), count)
                pipeline.pexpireat(space.hits(name), expires)
                pipeline.zadd(space.sizes[0], {name: _now()}, xx=True)
            await pipeline.execute()

        with suppress(Away):
            await self._link.ask(add, writes=True)

    async def close(self) -> None:
        for task in tuple(self._sweeps):
            task.cancel()
        await asyncio.gather(*self._sweeps, return_exceptions=True)
        await self.tell()

    async def _find(self, org: str, name: str) -> tuple[Space, bytes | None]:
        """The entry in the present generation, which the same command confirms."""
        space = self._spaces.get(org)
        for _ in range(3):
            if space is None:
                space = await self._current(org)
            number, blob = await self._client.mget(generation_key(self._prefix, org), space.entry(name))
            if number is not None and number.decode() == space.generation:
                return space, blob
            space = None
        raise Away

    async def _current(self, org: str) -> Space:
        """The org's present generation, begun if there is none."""
        key = generation_key(self._prefix, org)
        number = await self._client.get(key)
        if number is None:
            await self._link.ask(partial(self._client.set, key, _now(), nx=True), writes=True)
            number = await self._client.get(key)
        if number is None:
            raise Away
        space = self._spaces[org] = Space(self._prefix, org, number.decode())
        return space

    async def _unlink(self, org: str) -> None:
        """Remove what generations before the present one left, also those whose sweep never came to its end."""
        try:
            number = await self._client.get(generation_key(self._prefix, org))
            present = Space(self._prefix, org, "none" if number is None else number.decode()).root
            async for page in self._scan(of_org(self._prefix, org)):
                if stale := [key for key in page if not key.decode().startswith(f"{present}:")]:
                    await self._client.unlink(*stale)
        except Exception as error:  # noqa: BLE001 - they end by themselves with their time to live
            log.warning("what was cleared could not be removed yet (%s); it cannot be read", type(error).__name__)

    async def _scan(self, pattern: str) -> AsyncIterator[list[bytes]]:
        cursor: Any = 0
        while True:
            cursor, page = await self._client.scan(cursor, match=pattern, count=_SAMPLE)
            yield page
            if not cursor:
                return

    async def _pages(self, space: Space, before: str | None) -> AsyncIterator[list[tuple[str, str]]]:
        upper = "+" if before is None else f"({before}"
        while True:
            found = await self._told(partial(self._client.zrevrangebylex, space.index, upper, "-", 0, _PAGE))
            if not found:
                return
            yield split(found)
            upper = f"({found[-1].decode()}"

    async def _load(self, space: Space, page: Sequence[tuple[str, str]]) -> list[tuple[str, str, bytes, int]]:
        """Entry id, key, value and hits of those that are still what the index says."""
        keys = [key for _, name in page for key in (space.entry(name), space.hits(name))]
        values = await self._told(lambda: self._client.mget(keys))
        return [
            (entry_id, name, blob, int(hits or 0))
            for (entry_id, name), blob, hits in zip(page, values[::2], values[1::2], strict=True)
            if blob is not None and blob.startswith(entry_id.encode())
        ]

    async def _shown(self, org: str, name: str, blob: bytes) -> Entry | None:
        """Raises `Unavailable` while the entry's key cannot be looked up: that is no reason to leave it out."""
        try:
            return self._read(org, name, blob, await self._keyring.opening(org, sealed(blob)))
        except Unsealable:
            return None

    def _read(self, org: str, name: str, blob: bytes, sealer: Sealer | None) -> Entry | None:
        """The entry; one whose key is not to be had, or that another version wrote, is none."""
        try:
            return None if sealer is None else unseal(sealer, org, name, blob)
        except (Unsealable, msgspec.DecodeError):
            return None

    def _remember(self, key: bytes, generation: str) -> None:
        self._expected.setdefault(key, generation)
        if len(self._expected) > _MOST_EXPECTED:
            self._expected.popitem(last=False)

    def _count(self, place: tuple[Space, str], expires: int) -> None:
        count, _ = self._untold.get(place, (0, 0))
        if count or len(self._untold) < _MOST_EXPECTED:
            self._untold[place] = (count + 1, expires)

    async def _told(self, work: Callable[[], Awaitable[T]], *, frees: bool = False) -> T:
        """For people who manage the cache: that the server is away is an answer, and nothing else would be true."""
        try:
            return await self._link.ask(work, writes=frees, frees=frees)
        except Away:
            raise Unavailable("the cache's server cannot be reached; ask again", retry_after=5) from None

    async def _drop_spare(self) -> None:
        """What was kept meanwhile may have been cleared elsewhere by the next time it is needed."""
        self._spare = MemoryTier(self._settings, life=self._life)


def _row(entry: Entry, name: str, size: int, hits: int) -> CacheRow:
    return CacheRow(
        tier=1,
        key=name,
        entry_id=entry.entry_id,
        completion=entry.completion,
        size_bytes=size,
        created_at=datetime.fromtimestamp(entry.created / 1e3, UTC),
        expires_at=datetime.fromtimestamp(entry.expires / 1e3, UTC),
        hits=hits,
        query=entry.query,
        user=entry.user,
        document_id=entry.document_id,
    )


def _now() -> int:
    return time.time_ns() // 1_000_000
