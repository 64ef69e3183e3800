"""The store: one index, a namespace in every call, and no question that takes longer than it may."""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from pinecone import AsyncIndex, AsyncPinecone
from pinecone.errors.exceptions import PineconeError

from asahi_kernel.errors import Unavailable
from asahi_kernel.types import Match

if TYPE_CHECKING:
    from asahi_kernel.types import Vector
    from asahi_pinecone.config import StoreConfig

T = TypeVar("T")

#: A request may have 2 MB; fifty vectors of 1,024 dimensions are about one.
_BATCH = 50
#: What a call may take by itself, once nobody waits for it any more.
_CALL_S = 10.0


class PineconeStore:
    """Vectors shorter than the index are filled up with zeros; longer ones are a `ValueError`."""

    def __init__(self, config: StoreConfig) -> None:
        self._config = config
        self._timeout_s = config.timeout_ms / 1e3
        self._index: Any = None
        self._dimension = 0
        self._finding = asyncio.Lock()
        self._calls: set[asyncio.Task[Any]] = set()

    async def upsert(self, namespace: str, key: str, vector: Vector, payload: bytes) -> None:
        await self.upsert_many(namespace, [(key, vector, payload)])

    async def upsert_many(self, namespace: str, rows: Sequence[tuple[str, Vector, bytes]]) -> None:
        """In batches, each within the time. Of two rows with one key the later counts."""
        kept = list({key: (key, vector, payload) for key, vector, payload in rows}.values())
        for start in range(0, len(kept), _BATCH):
            await self._ask(self._writing(namespace, kept[start : start + _BATCH]))

    async def nearest(self, namespace: str, vector: Vector, limit: int) -> Sequence[Match]:
        async def query(index: Any) -> Any:
            filled = self._filled(vector)
            return await index.query(top_k=limit, vector=filled, namespace=namespace, include_metadata=True)

        found = await self._ask(query)
        return [Match(key=each.id, score=each.score, payload=_payload(each.metadata)) for each in found.matches]

    async def delete(self, namespace: str, keys: Sequence[str] | None = None) -> int:
        """How many there were, which is asked first: the vendor does not say."""

        async def delete_all(index: Any) -> int:
            held = await self._held(index, namespace)
            if held:
                await index.delete(delete_all=True, namespace=namespace)
            return held

        async def delete_some(index: Any) -> int:
            found = await index.fetch(ids=list(keys or ()), namespace=namespace)
            if found.vectors:
                await index.delete(ids=list(found.vectors), namespace=namespace)
            return len(found.vectors)

        if keys is None:
            return await self._ask(delete_all)
        return await self._ask(delete_some) if keys else 0

    async def count(self, namespace: str) -> int:
        """How many vectors a namespace holds, as far as the vendor has counted."""
        return await self._ask(lambda index: self._held(index, namespace))

    async def close(self) -> None:
        for call in tuple(self._calls):
            call.cancel()
        await asyncio.gather(*self._calls, return_exceptions=True)
        if self._index is not None:
            await self._index.close()

    def _writing(self, namespace: str, rows: Sequence[tuple[str, Vector, bytes]]) -> Callable[[Any], Awaitable[Any]]:
        async def write(index: Any) -> None:
            vectors = [
                {"id": key, "values": self._filled(vector), "metadata": {"payload": base64.b64encode(payload).decode()}}
                for key, vector, payload in rows
            ]
            await index.upsert(vectors=vectors, namespace=namespace)

        return write

    async def _ask(self, work: Callable[[Any], Awaitable[T]]) -> T:
        """What `work` gives, within the time. The call itself is never cancelled: its client's pool would not survive
        that (encode/httpcore#1093)."""

        async def call() -> T:
            return await work(await self._found())

        task = asyncio.get_running_loop().create_task(call())
        self._calls.add(task)
        task.add_done_callback(self._ended)
        try:
            async with asyncio.timeout(self._timeout_s):
                return await asyncio.shield(task)
        except (PineconeError, TimeoutError) as error:
            if isinstance(error, ValueError):
                raise
            raise Unavailable(f"the vector store failed ({type(error).__name__})", retry_after=1) from None

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._calls.discard(task)
        if not task.cancelled():
            task.exception()

    async def _found(self) -> Any:
        """The index, looked up when it is first asked, with the length of its vectors."""
        async with self._finding:
            if self._dimension:
                return self._index
            if self._index is None:
                self._index = AsyncIndex(
                    host=self._config.host or await self._host(),
                    api_key=self._config.api_key.reveal(),
                    timeout=_CALL_S,
                )
            stats = await self._index.describe_index_stats()
            self._dimension = int(stats.dimension)
            return self._index

    async def _host(self) -> str:
        key = self._config.api_key.reveal()
        async with AsyncPinecone(api_key=key, host=self._config.controller, timeout=_CALL_S) as client:
            return str((await client.indexes.describe(self._config.index_name)).host)

    async def _held(self, index: Any, namespace: str) -> int:
        summary = (await index.describe_index_stats()).namespaces.get(namespace)
        return int(summary.vector_count) if summary else 0

    def _filled(self, vector: Vector) -> list[float]:
        missing = self._dimension - len(vector)
        if missing < 0:
            raise ValueError(f"a vector of {len(vector)} dimensions does not fit into {self._dimension}")
        return [*map(float, vector), *(0.0,) * missing]


@asynccontextmanager
async def opened(config: StoreConfig) -> AsyncIterator[PineconeStore]:
    """Nothing is asked yet."""
    store = PineconeStore(config)
    try:
        yield store
    finally:
        await store.close()


def _payload(metadata: Any) -> bytes:
    try:
        return base64.b64decode(str((metadata or {}).get("payload", "")), validate=True)
    except binascii.Error:
        return b""
