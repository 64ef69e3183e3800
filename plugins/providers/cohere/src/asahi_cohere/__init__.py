"""Cohere: chat over the v2 API as a provider, and embeddings, for Asahi."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from asahi_cohere.config import CohereConfig, CohereEmbedderConfig
from asahi_kernel import Factory, hookimpl

if TYPE_CHECKING:
    from asahi_kernel.gateway import Gateway
    from asahi_kernel.protocols import Embedder, Provider


@hookimpl
def register_providers() -> Iterable[Factory[Provider, Any]]:
    """One provider, `cohere`, for chat and embeddings."""
    return (Factory("cohere", CohereConfig, open_cohere),)


@hookimpl
def register_embedders() -> Iterable[Factory[Embedder, Any]]:
    """One embedder, `cohere`, for caches and searches of the gateway itself."""
    return (Factory("cohere", CohereEmbedderConfig, open_embedder),)


@asynccontextmanager
async def open_cohere(config: CohereConfig, gateway: Gateway) -> AsyncIterator[Provider]:
    """Opens the provider; its client is imported only now."""
    from asahi_cohere.provider import opened

    async with opened(config) as provider:
        yield provider


@asynccontextmanager
async def open_embedder(config: CohereEmbedderConfig, gateway: Gateway) -> AsyncIterator[Embedder]:
    """Opens the embedder; its client is imported only now."""
    from asahi_cohere.embedder import opened

    async with opened(config) as embedder:
        yield embedder
