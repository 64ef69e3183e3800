"""The embedder and the vector store as the tier uses them: within their time, and with a stand-in while they fail."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from msgspec import Struct

from asahi_kernel import Match, PluginError, Vector
from asahi_kernel.money import count_tokens
from asahi_kernel.overhead import charge
from asahi_kernel.resilience.breaker import Breaker
from asahi_kernel.vector_stores import SharedStore
from asahi_semantic.embedder import LocalEmbedder
from asahi_semantic.store import NumpyStore

if TYPE_CHECKING:
    from asahi_kernel.protocols import Embedder, VectorStore

log = logging.getLogger(__name__)
T = TypeVar("T")

_PER = 1_000_000_000
#: Rows that the store missed while it was away; it gets them when it is back.
_OWED = 10_000


class Place(Struct, frozen=True):
    """A text's vector and the namespace it belongs to. `spare` says that it is the stand-in's."""

    namespace: str
    vector: Vector
    spare: bool = False


class Parts:
    """`price` is what the embedder's vendor asks, in nUSD per 1,000,000,000 tokens. `name`, the embedder's version and
    `context`, the kind of line that is put before texts, are in the namespace, so that vectors of different kinds never
    meet. The stand-ins are the local embedder and a store in memory; both take over only while the real ones fail."""

    def __init__(
        self,
        embedder: Embedder,
        store: VectorStore,
        local: LocalEmbedder,
        *,
        name: str = "local",
        store_name: str = "numpy",
        context: str = "",
        price: int = 0,
        embed_ms: int = 200,
        store_ms: int = 100,
        fault: Callable[[str], None] = lambda part: None,
        breakers: tuple[Breaker, Breaker] | None = None,
    ) -> None:
        self._embedder = embedder
        self._store = store
        self._local = local
        self._spare = NumpyStore(None)
        self._price = price
        self.name, self.store_name = name, store_name
        suffix = f"+{context}" if context else ""
        self._name = f"{name}:{getattr(embedder, 'version', '1')}{suffix}"
        self._stand_in = f"local:{local.version}{suffix}"
        self._embed_s, self._store_s = embed_ms / 1e3, store_ms / 1e3
        self._fault = fault
        self._embedding, self._storing = breakers or (Breaker(), Breaker())
        self._owed: dict[tuple[str, str], tuple[Vector, bytes] | None] = {}
        self.here = isinstance(embedder, LocalEmbedder) and isinstance(store, NumpyStore)

    @property
    def shared(self) -> SharedStore | None:
        """The store, if other workers use it too."""
        return self._store if isinstance(self._store, SharedStore) else None

    def namespace(self, org: str) -> str:
        """Of an org's vectors by the embedder."""
        return f"{org}:{self._name}"

    async def place(self, org: str, text: str) -> Place:
        """Where a text belongs. With the embedder away, where the stand-in puts it."""
        if self._embedder is self._local:
            return Place(self.namespace(org), tuple(self._local.vector(text).tolist()))
        vector = await self._ask("embedder", self._embedding, self._embed_s, partial(self._embed, text))
        if vector is not None:
            return Place(self.namespace(org), vector)
        return Place(f"{org}:{self._stand_in}", tuple(self._local.vector(text).tolist()), spare=True)

    async def _embed(self, text: str) -> Vector:
        """One vector of the right length, charged to the request."""
        (vector,) = await self._embedder.embed([text])
        if len(vector) != self._embedder.dimensions:
            raise PluginError(f"a vector of {len(vector)} numbers came, not {self._embedder.dimensions}")
        charge("semantic_cache", -(-count_tokens(text) * self._price // _PER))
        return tuple(vector)

    async def likeness(self, one: str, other: str) -> float:
        """The cosine of two texts by the local embedder, which costs nothing."""
        return float(self._local.vector(one) @ self._local.vector(other))

    async def nearest(self, place: Place, limit: int) -> Sequence[Match]:
        """The neighbours, from the stand-in while the store is away."""
        if not place.spare:
            found = await self._ask(
                "store",
                self._storing,
                self._store_s,
                lambda: self._store.nearest(place.namespace, place.vector, limit),
            )
            if found is not None:
                await self._settle()
                return found
        return await self._spare.nearest(place.namespace, place.vector, limit)

    async def upsert(self, place: Place, key: str, payload: bytes) -> None:
        """Keep a vector; the stand-in keeps it while the store is away, and the store gets it afterwards."""
        if not place.spare:
            put = self._ask(
                "store",
                self._storing,
                self._store_s,
                partial(_done, partial(self._store.upsert, place.namespace, key, place.vector, payload)),
            )
            if await put is not None:
                return
            self._owe(place.namespace, key, (place.vector, payload))
        await self._spare.upsert(place.namespace, key, place.vector, payload)

    def note(self, part: str) -> None:
        """Count that a part failed."""
        self._fault(part)

    async def load(self) -> None:
        """Let a store that keeps files here read them."""
        if isinstance(self._store, NumpyStore):
            await self._store.load()

    async def restore(self, namespace: str, key: str, org: str, text: str) -> None:
        """Make the vector of an entry anew, where both parts are local and the store lost it or keeps nothing."""
        if self.here and isinstance(self._store, NumpyStore) and not self._store.holds(namespace, key):
            place = await self.place(org, text)
            if place.namespace == namespace:
                await self._store.upsert(namespace, key, place.vector, org.encode())

    async def keep(self, alive: Callable[[str, str], bool]) -> None:
        """Let a store that keeps files here forget the vectors that belong to nothing."""
        own = self._name, self._stand_in
        if isinstance(self._store, NumpyStore):
            await self._store.keep(lambda namespace, key: not namespace.endswith(own) or alive(namespace, key))

    async def delete(self, namespace: str, keys: Sequence[str]) -> int:
        """Forget vectors in both; how many there were. What the store could not forget now it forgets later."""
        spared = await self._spare.delete(namespace, keys)
        work = partial(self._store.delete, namespace, keys)
        gone = await self._ask("store", self._storing, self._store_s, work)
        if gone is None:
            for key in keys:
                self._owe(namespace, key, None)
        return spared + (gone or 0)

    async def clear(self, namespace: str) -> int:
        """Forget all of a namespace, in both; how many there were. Raises what the store raises."""
        self._owed = {place: row for place, row in self._owed.items() if place[0] != namespace}
        return await self._spare.delete(namespace) + await self._store.delete(namespace)

    async def tidy(self, *, always: bool = False) -> None:
        """Take deleted vectors out of the files of a store that keeps files here."""
        if isinstance(self._store, NumpyStore):
            await self._store.tidy(all_of_it=always)

    def _owe(self, namespace: str, key: str, row: tuple[Vector, bytes] | None) -> None:
        if len(self._owed) < _OWED:
            self._owed[namespace, key] = row

    async def _settle(self) -> None:
        """The store is back: give it what it missed, a little with every look-up."""
        if not self._owed or self._storing.open:
            return
        for (namespace, key), row in list(self._owed.items())[:20]:
            if row is None:
                work: Callable[[], Awaitable[object]] = partial(self._store.delete, namespace, [key])
            else:
                work = partial(self._store.upsert, namespace, key, *row)
            paid = await self._ask("store", self._storing, self._store_s, partial(_done, work))
            if paid is None:
                return
            self._owed.pop((namespace, key), None)
            await self._spare.delete(namespace, [key])

    async def _ask(self, part: str, breaker: Breaker, seconds: float, work: Callable[[], Awaitable[T]]) -> T | None:
        """What a part gives within its time; nothing when it failed or rests after failures."""
        if not breaker.enter():
            return None
        try:
            async with asyncio.timeout(seconds):
                given = await work()
        except Exception as error:  # noqa: BLE001 - a broken part is a miss
            breaker.fail()
            self._fault(part)
            log.warning("the %s of the semantic cache failed: %s", part, type(error).__name__)
            return None
        except BaseException:
            breaker.leave()
            raise
        breaker.succeed()
        return given


async def _done(work: Callable[[], Awaitable[object]]) -> bool:
    await work()
    return True
