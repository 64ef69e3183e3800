"""A vector store in Pinecone, over its official SDK."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from asahi_kernel import Factory, hookimpl
from asahi_pinecone.config import StoreConfig

if TYPE_CHECKING:
    from asahi_kernel.gateway import Gateway
    from asahi_kernel.protocols import VectorStore


@hookimpl
def register_vector_stores() -> Iterable[Factory[VectorStore, Any]]:
    """`vector_stores: {pinecone: {…}}`."""
    return (Factory("pinecone", StoreConfig, open_store),)


@asynccontextmanager
async def open_store(config: StoreConfig, gateway: Gateway) -> AsyncIterator[VectorStore]:
    """The SDK is imported here, not before."""
    from asahi_pinecone.store import opened

    async with opened(config) as store:
        yield store
