"""What a vector store may be able to do beyond its protocol."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from asahi_kernel.protocols import VectorStore

if TYPE_CHECKING:
    from asahi_kernel.types import Vector


@runtime_checkable
class BatchingStore(VectorStore, Protocol):
    """A vector store that takes many rows (key, vector, payload) at once. All of them or, on an error, perhaps some."""

    async def upsert_many(self, namespace: str, rows: Sequence[tuple[str, Vector, bytes]]) -> None: ...


@runtime_checkable
class CountingStore(VectorStore, Protocol):
    """A vector store that knows how many vectors a namespace holds."""

    async def count(self, namespace: str) -> int: ...


@runtime_checkable
class SharedStore(VectorStore, Protocol):
    """A vector store that other processes use too, and that gives payloads back as they came: what it holds is the
    truth for all of them. `page` gives keys with payloads, the highest below `before` first. `touch` says that rows
    were used. `trim` deletes keys below `oldest`, and the least recently used past so many rows or bytes; how many
    went. `sizes` are rows and bytes, which may take a while."""

    async def page(self, namespace: str, before: str | None, limit: int) -> Sequence[tuple[str, bytes]]: ...
    async def touch(self, namespace: str, keys: Sequence[str]) -> None: ...
    async def trim(self, namespace: str, oldest: str, rows: int, size: int) -> int: ...
    async def sizes(self, namespace: str) -> tuple[int, int]: ...
