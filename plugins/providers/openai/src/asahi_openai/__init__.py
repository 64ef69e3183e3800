"""OpenAI, and every host that speaks its chat wire, as a provider for Asahi."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from asahi_kernel import Factory, hookimpl
from asahi_openai.config import EmbedderConfig, OpenAIConfig

if TYPE_CHECKING:
    from asahi_kernel.gateway import Gateway
    from asahi_kernel.protocols import Embedder, Provider


@hookimpl
def register_providers() -> Iterable[Factory[Provider, Any]]:
    """One provider, `openai`, of which a configuration may hold several instances with different hosts."""
    return (Factory("openai", OpenAIConfig, open_openai),)


@hookimpl
def register_embedders() -> Iterable[Factory[Embedder, Any]]:
    """One embedder, `openai`: the texts are embedded by a host of its own table."""
    return (Factory("openai", EmbedderConfig, open_embedder),)


@asynccontextmanager
async def open_embedder(config: EmbedderConfig, gateway: Gateway) -> AsyncIterator[Embedder]:
    """Opens the embedder; its client is imported only now."""
    from asahi_openai.embedder import opened

    async with opened(config) as embedder:
        yield embedder


@asynccontextmanager
async def open_openai(config: OpenAIConfig, gateway: Gateway) -> AsyncIterator[Provider]:
    """Opens the provider; its client is imported only now."""
    from asahi_openai.provider import opened

    async with opened(config) as provider:
        yield provider
