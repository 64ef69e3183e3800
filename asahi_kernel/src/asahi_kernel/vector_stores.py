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
