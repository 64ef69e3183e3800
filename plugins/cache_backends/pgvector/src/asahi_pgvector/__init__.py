"""A vector store in PostgreSQL with pgvector."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from asahi_kernel import Factory, hookimpl
from asahi_pgvector.config import StoreConfig

if TYPE_CHECKING:
    from asahi_kernel.gateway import Gateway
    from asahi_kernel.protocols import VectorStore


@hookimpl
def register_vector_stores() -> Iterable[Factory[VectorStore, Any]]:
    """`vector_stores: {pgvector: {…}}`."""
    return (Factory("pgvector", StoreConfig, open_store),)


@asynccontextmanager
async def open_store(config: StoreConfig, gateway: Gateway) -> AsyncIterator[VectorStore]:
    """The driver is imported here, not before."""
    from asahi_pgvector.store import opened

    async with opened(config) as store:
        yield store
